"""Logical block protection: its two checksums, and blocks that carry them (SSC-5 8.3.9)."""

from __future__ import annotations

import struct

import pytest
from vt_bench import Bench

from devtypes.vt.protection import METHODS, crc32c_protection, reed_solomon_crc
from scsiemu import asc
from scsiemu.sense import SenseKey
from scsiemu.testing.initiator import Result


def _protect(bench: Bench, method: int, *, write: bool = True, read: bool = True) -> Result:
    page = bytes((0x4A, 0xF0, 0, 28, method, 4 if method else 0, write << 7 | read << 6)) + bytes(25)
    return bench.do("MODE SELECT(10)", pf=1, data_out=bytes(3) + b"\x10" + bytes(4) + page)


def test_protection_checksums_are_the_known_ones() -> None:
    """CRC32C of the check string, bytes as in RFC 3720; the Reed-Solomon CRC of one byte is the generator itself."""
    assert crc32c_protection(b"123456789") == struct.pack("<I", 0xE3069283)
    assert reed_solomon_crc(b"\x01") == bytes.fromhex("38cf3801")
    assert reed_solomon_crc(b"\x02") == bytes.fromhex("70837002")
    assert reed_solomon_crc(b"\xff") == bytes.fromhex("763f76ff")
    assert reed_solomon_crc(b"abc" + reed_solomon_crc(b"abc")) == bytes(4)


@pytest.mark.parametrize("method", [1, 2])
def test_protection_goes_with_blocks_both_ways(method: int) -> None:
    """A WRITE brings the checksum behind the block, a READ gives it back; what is stored is the block alone."""
    bench = Bench()
    assert _protect(bench, method).good
    whole = bytes(METHODS[method].protect(b"hello"))
    assert bench.write(whole).good
    bench.rewind()
    assert bench.read(9).data == whole
    assert _protect(bench, 0, write=False, read=False).good
    bench.rewind()
    assert bench.read(5).data == b"hello"


def test_protection_wrong_checksum_is_refused() -> None:
    """A block whose checksum is wrong is not written: HARDWARE ERROR, with what was not in INFORMATION."""
    bench = Bench()
    assert _protect(bench, 2).good
    result = bench.write(b"helloXXXX")

    assert result.code == asc.with_key(asc.LOGICAL_BLOCK_GUARD_CHECK_FAILED, SenseKey.HARDWARE_ERROR)
    assert result.sense is not None
    assert result.sense.information == 9
    assert bench.where() == (0, 0, 0)


def test_protection_page_is_checked() -> None:
    """A method that there is not, or a length that is not its own, is INVALID FIELD IN PARAMETER LIST."""
    bench = Bench()
    assert _protect(bench, 7).code == asc.INVALID_FIELD_IN_PARAMETER_LIST
    assert _protect(bench, 0, write=True).code == asc.INVALID_FIELD_IN_PARAMETER_LIST

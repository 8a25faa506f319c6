"""Compression of blocks: both methods, what does not get smaller, what is damaged, what lies about its length."""

from __future__ import annotations

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from vt_bench import Bench

from devtypes.vt import compression
from devtypes.vt.compression import Incompressible, compress, decompress
from devtypes.vt.medium_layout import COMPRESSED_DEFLATE, COMPRESSED_ZSTD

METHODS = {"deflate": COMPRESSED_DEFLATE, "zstd": COMPRESSED_ZSTD}


@pytest.fixture(params=sorted(METHODS))
def method(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """The flag of a method; with deflate the package of the other is not installed."""
    if request.param == "zstd":
        pytest.importorskip("zstandard", reason="the extra zstd is not installed")
    else:
        monkeypatch.setattr(compression, "_ZSTD", None)
    return METHODS[request.param]


def test_compress_is_smaller_and_comes_back(method: int) -> None:
    """Zeros get small, by the method that is there, and come back."""
    packed, flag = compress(bytes(100_000))

    assert flag == method
    assert len(packed) < 1000
    assert decompress(packed, flag, 100_000) == bytes(100_000)


def test_compress_keeps_what_gets_no_smaller(method: int) -> None:
    """A block of a few bytes is kept as it is, without a flag."""
    assert compress(b"abc") == (b"abc", 0)


@given(st.binary(max_size=4096), st.sampled_from(sorted(METHODS.values())))
def test_decompress_any_bytes(data: bytes, flag: int) -> None:
    """Whatever is stored, what comes out has the length that the record says, or it is refused."""
    try:
        assert len(decompress(data, flag, 100)) == 100
    except Incompressible:
        pass


def test_decompress_bomb(method: int) -> None:
    """Data that would grow beyond the length of its record is refused, and not grown first."""
    packed, flag = compress(bytes(50_000_000))
    with pytest.raises(Incompressible):
        decompress(packed, flag, 1000)
    with pytest.raises(Incompressible):
        decompress(packed[:-4], flag, 50_000_000)


def test_decompress_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """A zstd block is refused where zstd is not installed; a deflate block is always read."""
    monkeypatch.setattr(compression, "_ZSTD", None)
    with pytest.raises(Incompressible, match="not installed"):
        decompress(b"x", COMPRESSED_ZSTD, 1)
    assert decompress(zlib.compress(bytes(64)), COMPRESSED_DEFLATE, 64) == bytes(64)


def test_drive_reads_every_kind_of_block(monkeypatch: pytest.MonkeyPatch) -> None:
    """One tape with a deflate, a zstd and a plain block: each is read, in fixed block mode by count, too."""
    bench = Bench(compression=True)
    wanted = [bytes([number]) * 1000 for number in range(3)]
    with monkeypatch.context() as patched:
        patched.setattr(compression, "_ZSTD", None)
        bench.write(wanted[0])
    bench.write(wanted[1])
    page = bytes.fromhex("0f0e 4080 00000003 00000003 00000000")     # DCE zero
    assert bench.do("MODE SELECT(6)", pf=1, data_out=bytes((0, 0, 0x10, 0)) + page).good
    bench.write(wanted[2])
    bench.rewind()
    assert [bench.read().data for _ in wanted] == wanted
    assert bench.do("MODE SELECT(6)", pf=1, data_out=bytes((0, 0, 0x10, 8, 0, 0, 0, 0, 0, 0)) + b"\x03\xe8").good
    bench.rewind()
    assert bench.do("READ(6)", fixed=1, transfer_length=3, data_in=3000).data == b"".join(wanted)

"""UNMAP, WRITE SAME, GET LBA STATUS and provisioning thresholds of the virtual disk."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vd_bench import Bench

from devtypes.vd.provisioning import LbaRange, lba_ranges
from scsiemu import asc
from scsiemu.io_requests import Extent, ExtentKind
from scsiemu.testing.initiator import Result

BLOCK = 512
CAPACITY = 2048


def unmap_list(*ranges: tuple[int, int], data_length: int | None = None, length: int | None = None) -> bytes:
    """An UNMAP parameter list (SBC-4 5.35.2)."""
    body = b"".join(struct.pack(">QI4x", *each) for each in ranges)
    return struct.pack(
        ">HH4x", len(body) + 6 if data_length is None else data_length, len(body) if length is None else length
    ) + body


def statuses(result: Result) -> list[tuple[int, int, int]]:
    """The descriptors of GET LBA STATUS: LBA, blocks, provisioning status."""
    assert result.good, result
    return [
        struct.unpack_from(">QIB", result.data, at) for at in range(8, len(result.data), 16)
    ]


def test_unmap_deallocates_and_reads_zeros() -> None:
    """Unmapped blocks are deallocated in the store's map and read as zeros (LBPRZ)."""
    bench = Bench()
    bench.write(0, b"a" * BLOCK * 32)

    assert bench.do("UNMAP", data_out=unmap_list((8, 16))).good

    assert bench.read(0, 32) == b"a" * 8 * BLOCK + bytes(16 * BLOCK) + b"a" * 8 * BLOCK
    assert statuses(bench.do("GET LBA STATUS(16)", lba=0))[:3] == [(0, 8, 0), (8, 16, 1), (24, 8, 0)]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", None),
        (bytes(7), asc.PARAMETER_LIST_LENGTH_ERROR),
        (bytes(8), None),
        (unmap_list((0, 0)), None),
        (unmap_list((CAPACITY, 0)), None),
        (unmap_list((CAPACITY, 1)), asc.LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE),
        (unmap_list((CAPACITY - 1, 2)), asc.LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE),
        (unmap_list(((1 << 64) - 1, 0xFFFFFFFF)), asc.LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE),
        (unmap_list((0, 1), (CAPACITY, 1)), asc.LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE),
    ],
)
def test_unmap_list_checks(data: bytes, code: Any) -> None:
    """Header and range checks; a list that is refused changes nothing (SBC-4 5.35)."""
    bench = Bench()
    bench.write(0, b"a" * BLOCK)

    result = bench.do("UNMAP", data_out=data)

    assert result.code == code
    assert bench.read(0) == b"a" * BLOCK


def test_unmap_partial_descriptor_ignored() -> None:
    """What does not fill a descriptor is ignored, by the lengths in the header and by the list's own (SBC-4 5.35.2)."""
    bench = Bench()
    bench.write(0, b"a" * BLOCK * 16)

    assert bench.do("UNMAP", data_out=unmap_list((0, 8), (8, 8), length=31)).good
    assert bench.read(0, 16) == bytes(8 * BLOCK) + b"a" * 8 * BLOCK
    assert bench.do("UNMAP", data_out=unmap_list((8, 8))[:-1]).good
    assert bench.read(8, 8) == b"a" * 8 * BLOCK


def test_unmap_limits() -> None:
    """MAXIMUM UNMAP LBA COUNT and BLOCK DESCRIPTOR COUNT are obeyed (SBC-4 6.6.4)."""
    bench = Bench(max_unmap_blocks=10, max_unmap_descriptors=2)

    assert bench.do("UNMAP", data_out=unmap_list((0, 5), (7, 5))).good
    assert bench.do("UNMAP", data_out=unmap_list((0, 5), (7, 6))).code == asc.INVALID_FIELD_IN_PARAMETER_LIST
    result = bench.do("UNMAP", data_out=unmap_list((0, 1), (1, 1), (2, 1)))
    assert result.code == asc.INVALID_FIELD_IN_PARAMETER_LIST


def test_unmap_without_limit() -> None:
    """MAXIMUM UNMAP LBA COUNT FFFFFFFFh is no limit: descriptors may have more together (SBC-4 6.6.4)."""
    bench = Bench(size=1 << 43)
    half = 1 << 31
    assert bench.do("INQUIRY", evpd=1, page_code=0xB0).data[20:24] == b"\xff" * 4

    assert bench.do("UNMAP", data_out=unmap_list((0, half), (half, half), (2 * half, half))).good


def test_write_same_to_the_end_from_behind_it() -> None:
    """NUMBER OF LOGICAL BLOCKS zero means to the last block: from behind that one there is none (SBC-4 5.51)."""
    bench = Bench()
    data = bytes(BLOCK)

    result = bench.do("WRITE SAME(16)", lba=2048, transfer_length=0, data_out=data)

    assert result.code == asc.LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE
    assert bench.do("WRITE SAME(16)", lba=2047, transfer_length=0, data_out=data).good


def test_unmap_anchor_and_thick() -> None:
    """ANCHOR is refused, for ANC_SUP is zero; a thick disk has no UNMAP at all."""
    assert Bench().do("UNMAP", anchor=1, data_out=unmap_list((0, 1))).code == asc.INVALID_FIELD_IN_CDB
    thick = Bench(thin=False)
    assert thick.do("UNMAP", data_out=unmap_list((0, 1))).code == asc.INVALID_COMMAND_OPERATION_CODE
    assert thick.do("INQUIRY", evpd=1, page_code=0xB2).data[4:] == bytes(4)
    assert not thick.do("READ CAPACITY(16)").data[14] & 0x80
    assert statuses(thick.do("GET LBA STATUS(16)")) == [(0, CAPACITY, 0)]


@pytest.mark.parametrize("name", ["WRITE SAME(10)", "WRITE SAME(16)"])
def test_write_same_fills(name: str) -> None:
    """One block goes to each of the range; zero blocks means all to the end (SBC-4 5.51)."""
    bench = Bench()

    assert bench.do(name, lba=3, transfer_length=5, data_out=b"q" * BLOCK).good
    assert bench.read(2, 7) == bytes(BLOCK) + b"q" * 5 * BLOCK + bytes(BLOCK)
    assert bench.do(name, lba=CAPACITY - 2, transfer_length=0, data_out=b"r" * BLOCK).good
    assert bench.read(CAPACITY - 3, 3) == bytes(BLOCK) + b"r" * 2 * BLOCK


def test_write_same_unmap_only_zeros() -> None:
    """UNMAP deallocates where the block is zeros, else the block is written: reading must return it (SBC-4 5.51)."""
    bench = Bench()
    bench.write(0, b"a" * BLOCK * 16)

    assert bench.do("WRITE SAME(16)", lba=0, transfer_length=8, unmap=1, data_out=bytes(BLOCK)).good
    assert bench.do("WRITE SAME(16)", lba=8, transfer_length=8, unmap=1, data_out=b"w" * BLOCK).good

    assert bench.read(0, 16) == bytes(8 * BLOCK) + b"w" * 8 * BLOCK
    assert statuses(bench.do("GET LBA STATUS(16)"))[:2] == [(0, 8, 1), (8, 8, 0)]


def test_write_same_ndob() -> None:
    """NDOB writes zeros without Data-Out (SBC-4 5.52)."""
    bench = Bench()
    bench.write(0, b"a" * BLOCK * 8)

    assert bench.do("WRITE SAME(16)", lba=1, transfer_length=2, ndob=1).good

    assert bench.read(0, 4) == b"a" * BLOCK + bytes(2 * BLOCK) + b"a" * BLOCK


@pytest.mark.parametrize(
    ("fields", "length", "code"),
    [
        ({"transfer_length": 1}, 256, asc.INVALID_FIELD_IN_COMMAND_INFORMATION_UNIT),
        ({"transfer_length": 1}, 1024, asc.INVALID_FIELD_IN_COMMAND_INFORMATION_UNIT),
        ({"transfer_length": 1}, 0, asc.INVALID_FIELD_IN_COMMAND_INFORMATION_UNIT),
        ({"transfer_length": 1, "anchor": 1, "unmap": 1}, 512, asc.INVALID_FIELD_IN_CDB),
        ({"transfer_length": 101}, 512, asc.INVALID_FIELD_IN_CDB),
        ({"transfer_length": 0}, 512, asc.INVALID_FIELD_IN_CDB),
        ({"transfer_length": 2, "lba": CAPACITY - 1}, 512, asc.LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE),
        ({"transfer_length": 0, "lba": CAPACITY + 1}, 512, asc.LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE),
    ],
)
def test_write_same_refusals(fields: dict[str, int], length: int, code: Any) -> None:
    """Length of Data-Out, ANCHOR, MAXIMUM WRITE SAME LENGTH and the range (SBC-4 5.51)."""
    result = Bench(max_write_same=100).do("WRITE SAME(16)", data_out=bytes(length), **fields)

    assert result.code == code


def test_write_same_unmap_on_thick() -> None:
    """LBPWS and LBPWS10 are zero on a thick disk: UNMAP is INVALID FIELD IN CDB."""
    result = Bench(thin=False).do("WRITE SAME(10)", transfer_length=1, unmap=1, data_out=bytes(BLOCK))

    assert result.code == asc.INVALID_FIELD_IN_CDB


def test_get_lba_status_starts_where_asked() -> None:
    """The first descriptor begins with the LBA asked for; past the end is refused (SBC-4 5.6)."""
    bench = Bench()
    bench.write(16, b"a" * BLOCK * 16)

    assert statuses(bench.do("GET LBA STATUS(16)", lba=20))[:2] == [(20, 12, 0), (32, CAPACITY - 32, 1)]
    assert bench.do("GET LBA STATUS(16)", lba=CAPACITY).code == asc.LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE


def test_get_lba_status_32_scans_so_far() -> None:
    """SCAN LENGTH bounds what is reported; the 32-byte form comes with type 2 protection (SBC-4 5.7)."""
    bench = Bench(pi_type=2)
    written = bytes(BLOCK * 16)
    assert bench.do("WRITE(32)", lba=16, transfer_length=16, data_out=written).good

    assert statuses(bench.do("GET LBA STATUS(32)", lba=20, scan_length=4)) == [(20, 4, 0)]


@pytest.mark.parametrize(("allocation", "descriptors"), [(24, 1), (40, 2), (4096, 3)])
def test_get_lba_status_room(allocation: int, descriptors: int) -> None:
    """As many descriptors as the allocation length has room for."""
    bench = Bench()
    bench.write(8, b"a" * BLOCK * 8)

    result = bench.do("GET LBA STATUS(16)", allocation_length=allocation)

    assert len(statuses(result)) == descriptors
    assert int.from_bytes(result.data[:4], "big") == len(result.data) - 4


def test_get_lba_status_of_a_huge_hole() -> None:
    """Counts stay within 32 bits, ranges follow each other."""
    bench = Bench(size=1 << 60)

    found = statuses(bench.do("GET LBA STATUS(16)", allocation_length=8 + 16 * 3))

    assert found == [(n * 0xFFFFFFFF, 0xFFFFFFFF, 1) for n in range(3)]


@settings(max_examples=200)
@given(
    lengths=st.lists(st.tuples(st.integers(1, 3000), st.booleans()), min_size=1, max_size=12),
    size=st.sampled_from([512, 520]),
)
def test_lba_ranges_against_bytes(lengths: list[tuple[int, bool]], size: int) -> None:
    """A block is mapped where any byte of it is data; ranges are whole, in order, without gap."""
    extents, offset = [], 0
    for length, data in lengths:
        extents.append(Extent(offset, length, ExtentKind.DATA if data else ExtentKind.HOLE))
        offset += length
    stop = offset // size * size
    mapped = [data for length, data in lengths for _ in range(length)]

    found = list(lba_ranges(tuple(extents), size, 0, stop))

    assert [each for r in found for each in range(r.lba, r.lba + r.blocks)] == list(
        range(sum(r.blocks for r in found))
    )
    flags = [r.mapped for r in found for _ in range(r.blocks)]
    assert flags == [any(mapped[n * size : (n + 1) * size]) for n in range(len(flags))]
    assert len(flags) >= stop // size - 1
    assert all(isinstance(r, LbaRange) for r in found)


def test_provisioning_log_page_counts_the_store() -> None:
    """Log page 0Ch tells used and available resources from the store's map, in threshold sets (SBC-4 6.4.6)."""
    bench = Bench(size=64 << 20)
    exponent = bench.do("INQUIRY", evpd=1, page_code=0xB2).data[4]
    bench.write(0, b"a" * BLOCK * 4096)

    page = bench.do("LOG SENSE", page_code=0x0C, pc=1).data

    total = (64 << 20) // BLOCK >> exponent
    used = 4096 >> exponent
    assert struct.unpack_from(">I", page, 8)[0] == total - used
    assert struct.unpack_from(">I", page, 20)[0] == used


def test_provisioning_threshold_reached() -> None:
    """An armed threshold gives THIN PROVISIONING SOFT THRESHOLD REACHED once when it is crossed (SBC-4 4.7.3.7)."""
    bench = Bench(size=64 << 20)
    sense = bench.do("MODE SENSE(10)", page_code=0x1C, subpage_code=0x02, dbd=1).data[8:]
    page = bytearray(sense)
    page[0] &= 0x7F
    page[24] |= 0x80                    # ENABLED of the second descriptor: used resources
    page[28:32] = (2).to_bytes(4, "big")
    assert bench.do("MODE SELECT(10)", pf=1, data_out=bytes(8) + bytes(page)).good

    bench.write(0, b"a" * BLOCK * 2048)
    assert bench.do("TEST UNIT READY").good
    bench.write(2048, b"a" * BLOCK * 2048)

    assert bench.do("TEST UNIT READY").code == asc.THIN_PROVISIONING_SOFT_THRESHOLD_REACHED
    bench.write(4096, b"a" * BLOCK * 2048)
    assert bench.do("TEST UNIT READY").good


def test_unmap_beside_other_nexus() -> None:
    """The list is checked before anything is unmapped, whoever sends it."""
    bench = Bench()
    other = bench.another()
    bench.write(0, b"a" * BLOCK)

    assert not other.command("UNMAP", data_out=unmap_list((0, 1), (1 << 40, 1))).good

    assert bench.read(0) == b"a" * BLOCK

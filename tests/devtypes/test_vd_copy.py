"""EXTENDED COPY(LID1) and RECEIVE COPY RESULTS of the virtual disk."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vd_bench import Bench, add_disk

from devtypes.vd import VirtualDisk
from scsiemu import asc
from scsiemu.sense import SenseKey
from scsiemu.target import Target
from scsiemu.testing.initiator import Initiator

BLOCK = 512


def cscd(disk: Any, *, nul: bool = False, kind: int = 0xE4) -> bytes:
    """An identification CSCD descriptor with the NAA designator of a disk (SPC-4 6.4.5.3)."""
    designator = disk.designators()[0]
    head = bytes((kind, nul << 5, 0, 0, designator.code_set, designator.type, 0, len(designator.data)))
    return head + designator.data.ljust(20, b"\0") + bytes((0, 0, 2, 0))


def segment(blocks: int, source_lba: int, target_lba: int, *, source: int = 0, target: int = 0, dc: int = 0) -> bytes:
    """A block to block segment descriptor (SPC-4 6.4.6.2)."""
    return struct.pack(">BBHHH2xHQQ", 2, dc << 1, 24, source, target, blocks, source_lba, target_lba)


def copy_list(
    cscds: list[bytes], segments: list[bytes], *, identifier: int = 1, usage: int = 0, inline: int = 0
) -> bytes:
    """An EXTENDED COPY parameter list (SPC-4 6.4.2)."""
    targets, rest = b"".join(cscds), b"".join(segments)
    return struct.pack(">BBH4xII", identifier, usage << 3, len(targets), len(rest), inline) + targets + rest


def test_copy_within_a_unit() -> None:
    """Block to block within one unit; COPY STATUS tells how it went (SPC-4 6.4, 6.20)."""
    bench = Bench()
    bench.write(0, b"c" * BLOCK * 16)

    assert bench.do("EXTENDED COPY(LID1)", data_out=copy_list([cscd(bench.disk)], [segment(16, 0, 100)])).good

    assert bench.read(99, 18) == bytes(BLOCK) + b"c" * 16 * BLOCK + bytes(BLOCK)
    status = bench.do("RECEIVE COPY STATUS(LID1)", list_identifier=1).data
    assert status == struct.pack(">IBHBI", 8, 1, 1, 0, 16 * BLOCK)


@settings(max_examples=25, deadline=None)
@given(source=st.integers(0, 60), target=st.integers(0, 60), blocks=st.integers(0, 60))
def test_copy_overlapping(source: int, target: int, blocks: int) -> None:
    """Overlapping ranges end as if the source had been read first."""
    bench = Bench()
    before = b"".join(bytes((n + 1,)) * BLOCK for n in range(120))
    bench.write(0, before)

    data = copy_list([cscd(bench.disk)], [segment(blocks, source, target)])
    assert bench.do("EXTENDED COPY(LID1)", data_out=data).good

    model = bytearray(before)
    model[target * BLOCK : (target + blocks) * BLOCK] = before[source * BLOCK : (source + blocks) * BLOCK]
    assert bench.read(0, 120) == model


def test_copy_reaches_a_threshold() -> None:
    """What a copy allocates counts as what a WRITE does: a provisioning threshold is told (SBC-4 4.7.3.7)."""
    bench = Bench(size=64 << 20)
    page = bytearray(bench.do("MODE SENSE(10)", page_code=0x1C, subpage_code=0x02, dbd=1).data[8:])
    page[0] &= 0x7F
    page[24] |= 0x80                    # ENABLED of the second descriptor: used resources
    page[28:32] = (2).to_bytes(4, "big")
    assert bench.do("MODE SELECT(10)", pf=1, data_out=bytes(8) + bytes(page)).good
    bench.write(0, b"a" * BLOCK * 2048)
    assert bench.do("TEST UNIT READY").good

    data = copy_list([cscd(bench.disk)], [segment(2048, 0, 2048)])
    assert bench.do("EXTENDED COPY(LID1)", data_out=data).good

    assert bench.do("TEST UNIT READY").code == asc.THIN_PROVISIONING_SOFT_THRESHOLD_REACHED


def test_copy_overlapping_more_than_a_piece() -> None:
    """The same where the copy is done in pieces."""
    bench = Bench(size=16 << 20)
    before = b"".join(n.to_bytes(2, "big") * 256 for n in range(8192))
    bench.write(0, before)

    data = copy_list([cscd(bench.disk)], [segment(8000, 0, 5)])
    assert bench.do("EXTENDED COPY(LID1)", data_out=data).good

    assert bench.read(5, 8000) == before[: 8000 * BLOCK]


def test_copy_between_units_of_different_blocks() -> None:
    """A copy to another unit that the nexus sees, 512-byte blocks to 4096-byte blocks; DC counts destination blocks."""
    bench = Bench()
    unit = add_disk(bench.target, 1, block_size=4096, pi_type=1, write_cache=False)
    bench.initiator.clear_attentions()
    bench.write(8, b"d" * BLOCK * 16)
    bench.initiator.clear_attentions()
    cscds = [cscd(bench.disk), cscd(unit.server)]

    data = copy_list(cscds, [segment(16, 8, 3, target=1), segment(1, 8, 9, target=1, dc=1)])
    assert bench.do("EXTENDED COPY(LID1)", data_out=data).good

    read = bench.do("READ(16)", lun=1, lba=3, transfer_length=2, data_in=8192)
    assert read.data == b"d" * 8192
    assert bench.do("READ(16)", lun=1, lba=9, transfer_length=1).data == b"d" * 4096
    inexact = copy_list(cscds, [segment(3, 8, 3, target=1)])
    result = bench.do("EXTENDED COPY(LID1)", data_out=inexact)
    assert result.code == asc.with_key(asc.UNEXPECTED_INEXACT_SEGMENT, SenseKey.COPY_ABORTED)


def test_copy_only_what_the_nexus_sees() -> None:
    """A designator of a unit outside the nexus' LUN map is not reachable (CVE-2020-28374)."""
    target = Target("iqn.2026-11.org.example:vd")
    seen, hidden = add_disk(target, 0), add_disk(target, 1)
    initiator = Initiator(target, luns={0: 0})
    server = hidden.server
    assert isinstance(server, VirtualDisk)

    for cscds in ([cscd(server), cscd(seen.server)], [cscd(seen.server), cscd(server)]):
        data = copy_list(cscds, [segment(1, 0, 8, target=1)])
        result = initiator.command("EXTENDED COPY(LID1)", data_out=data)
        assert result.code == asc.COPY_TARGET_DEVICE_NOT_REACHABLE


def test_copy_of_another_targets_unit() -> None:
    """A unit of another target is not reachable either."""
    bench = Bench()
    other = Target("iqn.2026-11.org.example:elsewhere")
    unit = add_disk(other)

    data = copy_list([cscd(unit.server)], [segment(1, 0, 8)])

    assert bench.do("EXTENDED COPY(LID1)", data_out=data).code == asc.COPY_TARGET_DEVICE_NOT_REACHABLE


@pytest.mark.parametrize("protected", ["write protect", "reservation", "ejected"])
def test_copy_destination_refuses(protected: str) -> None:
    """What would refuse a WRITE of the same nexus ends the copy, and nothing is written (SPC-4 5.17.7.4)."""
    bench = Bench()
    unit = add_disk(bench.target, 1, removable=True)
    bench.initiator.clear_attentions()
    disk = unit.server
    assert isinstance(disk, VirtualDisk)
    if protected == "write protect":
        disk.set_write_protect(True)
    elif protected == "ejected":
        disk.press_eject()
    else:
        assert bench.another().command("RESERVE(6)", lun=1).good

    data = copy_list([cscd(bench.disk), cscd(disk)], [segment(1, 0, 0, target=1)])
    result = bench.do("EXTENDED COPY(LID1)", data_out=data)

    assert result.code == asc.THIRD_PARTY_DEVICE_FAILURE
    status = bench.do("RECEIVE COPY STATUS(LID1)", list_identifier=1).data
    assert status[4] == 2
    details = bench.do("RECEIVE COPY FAILURE DETAILS(LID1)", list_identifier=1).data
    assert details[56] == 0x02
    assert details[60] & 0x7F in (0x70, 0x72)


@pytest.mark.parametrize("case", [
    "short header", "cut target", "cut segment", "many targets", "many segments", "target type", "segment type",
    "segment length", "inline", "usage", "identifier",
])
def test_copy_list_refusals(case: str) -> None:
    """The list is checked as a whole before anything is copied (SPC-4 6.4.2 to 6.4.6)."""
    bench = Bench()
    one, part = cscd(bench.disk), segment(1, 0, 8)
    whole = copy_list([one], [part])
    data, code = {
        "short header": (whole[:15], asc.PARAMETER_LIST_LENGTH_ERROR),
        "cut target": (whole[:47], asc.PARAMETER_LIST_LENGTH_ERROR),
        "cut segment": (whole[:-1], asc.PARAMETER_LIST_LENGTH_ERROR),
        "many targets": (copy_list([one] * 17, [part]), asc.TOO_MANY_TARGET_DESCRIPTORS),
        "many segments": (copy_list([one], [part] * 65), asc.TOO_MANY_SEGMENT_DESCRIPTORS),
        "target type": (copy_list([cscd(bench.disk, kind=0xE0)], [part]), asc.UNSUPPORTED_TARGET_DESCRIPTOR_TYPE_CODE),
        "segment type": (copy_list([one], [b"\x03" + part[1:]]), asc.UNSUPPORTED_SEGMENT_DESCRIPTOR_TYPE_CODE),
        "segment length": (copy_list([one], [part[:3] + b"\x17" + part[4:]]), asc.INVALID_FIELD_IN_PARAMETER_LIST),
        "inline": (copy_list([one], [part], inline=1), asc.INLINE_DATA_LENGTH_EXCEEDED),
        "usage": (copy_list([one], [part], usage=1), asc.INVALID_FIELD_IN_PARAMETER_LIST),
        "identifier": (copy_list([one], [part], usage=3), asc.INVALID_FIELD_IN_PARAMETER_LIST),
    }[case]
    bench.write(0, b"a" * BLOCK)

    assert bench.do("EXTENDED COPY(LID1)", data_out=data).code == code

    assert bench.read(8) == bytes(BLOCK)


@pytest.mark.parametrize(("data", "code"), [
    (lambda disk: copy_list([cscd(disk)], [segment(1, 0, 8, target=1)]), asc.UNREACHABLE_COPY_TARGET),
    (lambda disk: copy_list([cscd(disk, nul=True)], [segment(1, 0, 8)]), asc.UNREACHABLE_COPY_TARGET),
    (lambda disk: copy_list([], [segment(1, 0, 8)]), asc.UNREACHABLE_COPY_TARGET),
])
def test_copy_unreachable(data: Any, code: object) -> None:
    """Descriptor numbers and NUL are COPY ABORTED when a segment uses them."""
    bench = Bench()

    assert bench.do("EXTENDED COPY(LID1)", data_out=data(bench.disk)).code == code


@pytest.mark.parametrize(("source", "target"), [(2047, 0), (0, 2047), ((1 << 64) - 1, 0), (0, (1 << 64) - 1)])
def test_copy_beyond_end(source: int, target: int) -> None:
    """Ranges past the end end the copy with COPY ABORTED."""
    bench = Bench()

    result = bench.do("EXTENDED COPY(LID1)", data_out=copy_list([cscd(bench.disk)], [segment(2, source, target)]))

    assert result.sense is not None
    assert result.sense.code.key == SenseKey.COPY_ABORTED


def test_copy_results_belong_to_the_nexus() -> None:
    """An unknown list identifier is INVALID FIELD IN CDB; usage 10b keeps nothing; zero length copies nothing."""
    bench = Bench()
    data = copy_list([cscd(bench.disk)], [segment(1, 0, 8)], identifier=5)
    name = "RECEIVE COPY STATUS(LID1)"

    assert bench.do("EXTENDED COPY(LID1)").good
    assert bench.do("EXTENDED COPY(LID1)", data_out=data).good
    assert bench.do(name, list_identifier=5).good
    assert bench.do(name, list_identifier=6).code == asc.INVALID_FIELD_IN_CDB
    assert bench.another().command(name, list_identifier=5).code == asc.INVALID_FIELD_IN_CDB
    kept = copy_list([cscd(bench.disk)], [segment(1, 0, 8)], identifier=7, usage=2)
    assert bench.do("EXTENDED COPY(LID1)", data_out=kept).good
    assert bench.do(name, list_identifier=7).code == asc.INVALID_FIELD_IN_CDB


def test_operating_parameters_and_vpd_agree() -> None:
    """RECEIVE COPY OPERATING PARAMETERS and VPD page 8Fh tell the same limits and descriptors."""
    bench = Bench()

    data = bench.do("RECEIVE COPY OPERATING PARAMETERS").data
    page = bench.do("INQUIRY", evpd=1, page_code=0x8F).data

    assert int.from_bytes(data[:4], "big") == len(data) - 4
    assert data[8:16] == struct.pack(">HHI", 16, 64, 16 * 32 + 64 * 28)
    assert data[43:] == bytes((2, 0x02, 0xE4))
    assert data[8:16] in page
    assert bytes((0x84, 3, 0, 3, 4)) in page
    assert len(page) % 4 == 0

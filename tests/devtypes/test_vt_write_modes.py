"""What may be overwritten: append-only mode with ALLOW OVERWRITE, WORM cartridges (SSC-5 4.2.15, 4.2.16)."""

from __future__ import annotations

import pytest
from vt_bench import Bench

from scsiemu import asc
from scsiemu.sense import SenseCode
from scsiemu.testing.initiator import Result

OVERWRITE = asc.WORM_MEDIUM_OVERWRITE_ATTEMPTED


def append_only(bench: Bench, mode: int = 1) -> None:
    """Set WRITE MODE of the device configuration extension page."""
    page = bytes((0x50, 1, 0, 28, 0, mode << 4)) + bytes(26)
    assert bench.do("MODE SELECT(10)", pf=1, data_out=bytes(3) + b"\x10" + bytes(4) + page).good


def allow(bench: Bench, what: int, number: int = 0, partition: int = 0) -> Result:
    """ALLOW OVERWRITE."""
    return bench.do(
        "ALLOW OVERWRITE", allow_overwrite=what, partition=partition, logical_object_identifier=number
    )


@pytest.fixture(params=["append-only", "worm"])
def bench(request: pytest.FixtureRequest) -> Bench:
    """A tape with two blocks, a filemark, a block, two filemarks; only to be appended to, for either reason."""
    bench = Bench(worm=request.param == "worm")
    for step in ("one", "two", "", "three", "", ""):
        assert (bench.write(step.encode()) if step else bench.mark()).good
    if request.param == "append-only":
        append_only(bench)
    return bench


@pytest.mark.parametrize("number", [0, 1, 2, 3])
def test_append_only_blocks_stay(bench: Bench, number: int) -> None:
    """Anywhere before the filemarks at the end of data nothing is written, filemarked, or erased."""
    bench.do("LOCATE(10)", logical_object_identifier=number)
    assert bench.write(b"x").code == OVERWRITE
    assert bench.mark().code == OVERWRITE
    assert bench.do("ERASE(6)").code == OVERWRITE
    assert bench.where()[1] == number
    bench.rewind()
    assert bench.read().data == b"one"


def test_append_only_appends(bench: Bench) -> None:
    """At the end of data, and before the last of its filemarks, there is writing."""
    bench.do("LOCATE(10)", logical_object_identifier=4)
    assert bench.write(b"x").code == OVERWRITE
    bench.do("LOCATE(10)", logical_object_identifier=5)
    assert bench.write(b"four").good
    assert bench.where()[1] == 6
    assert bench.mark().good
    bench.do("SPACE(6)", code=3)
    assert bench.write(b"five").good


def test_append_only_format(bench: Bench) -> None:
    """FORMAT MEDIUM and SET CAPACITY would lose everything: refused, DATA PROTECT."""
    bench.rewind()
    refused = SenseCode(7, 0x30, 0x06) if bench.drive.tape.worm else OVERWRITE

    assert bench.do("FORMAT MEDIUM").code == refused
    assert bench.do("SET CAPACITY", capacity_proportion=0xFFFF).code == refused
    assert bench.read().data == b"one"


def test_allow_overwrite_once_where_it_says() -> None:
    """It is for the position that it names, which has to be where the tape stands, and for one write."""
    bench = Bench()
    assert allow(bench, 1).code == asc.ILLEGAL_COMMAND_WHEN_NOT_IN_APPEND_ONLY_MODE
    for block in (b"one", b"two", b"three"):
        bench.write(block)
    append_only(bench)
    bench.do("LOCATE(10)", logical_object_identifier=1)
    assert allow(bench, 1, 2).code == asc.with_key(asc.SEQUENTIAL_POSITIONING_ERROR, 5)
    assert allow(bench, 1, 1, partition=1).code == asc.with_key(asc.SEQUENTIAL_POSITIONING_ERROR, 5)
    assert allow(bench, 3, 1).code == asc.INVALID_FIELD_IN_CDB
    assert bench.write(b"x").code == OVERWRITE
    assert allow(bench, 1, 1).good
    assert bench.write(b"TWO").good
    bench.rewind()
    assert bench.write(b"x").code == OVERWRITE
    assert allow(bench, 1, 0).good
    assert allow(bench, 0).good                                     # taken back
    assert bench.write(b"x").code == OVERWRITE
    assert [bench.read().data for _ in range(2)] == [b"one", b"TWO"]


@pytest.mark.parametrize("what", ["FORMAT MEDIUM", "ERASE(6)"])
def test_allow_overwrite_of_everything(what: str) -> None:
    """ALLOW OVERWRITE 2 is for FORMAT MEDIUM, 1 at the beginning for ERASE."""
    bench = Bench()
    bench.write(b"one")
    append_only(bench)
    bench.rewind()
    assert bench.do(what).code == OVERWRITE
    assert allow(bench, 2 if what == "FORMAT MEDIUM" else 1).good
    assert bench.do(what).good
    assert bench.read().code == asc.END_OF_DATA_DETECTED


def test_allow_overwrite_does_not_help_a_worm() -> None:
    """A WORM cartridge stays as it is, whatever is allowed, and sets its TapeAlert flag."""
    bench = Bench(worm=True)
    bench.write(b"one")
    append_only(bench)
    bench.rewind()
    allow(bench, 1)

    assert bench.write(b"x").code == OVERWRITE
    assert bench.drive.alerts.active == {60}
    assert bench.do("MODE SENSE(6)", page_code=0x1D).data[12 + 2] & 1
    bench.do("LOAD UNLOAD")
    bench.do("LOAD UNLOAD", load=1)
    assert bench.read().data == b"one"


def test_append_only_ends_with_the_mode() -> None:
    """WRITE MODE 0 lets everything be overwritten again."""
    bench = Bench()
    bench.write(b"one")
    append_only(bench)
    append_only(bench, 0)
    bench.rewind()
    assert bench.write(b"ONE").good

"""FORMAT MEDIUM, partitions, SET CAPACITY."""

from __future__ import annotations

import pytest
from conformance import clause
from ssc_tape import (
    END,
    FILE,
    Tape,
    block,
    erase,
    format_medium,
    load,
    locate10,
    locate16,
    mode_select,
    read,
    read16,
    read_position,
    rewind,
    space,
    write16,
)

from scsiemu import asc


def partition_page(tape: Tape, additional: int, *, flags: int = 0x20, sizes: tuple[int, ...] = (1, 0xFFFF)) -> bytes:
    """The medium partition page that asks for partitions, sizes in MiB unless the flags say otherwise (IDP 20h)."""
    page = bytearray(tape.page(0x11))
    page[0] &= 0x7F
    page[3] = additional
    page[4] = flags | page[4] & 0x04 | 0x10          # POFM as it is; PSUM: megabytes
    for number in range((len(page) - 8) // 2):
        size = sizes[number] if number < len(sizes) else 0
        page[8 + 2 * number : 10 + 2 * number] = size.to_bytes(2, "big")
    return bytes(page)


def partitioned(tape: Tape, additional: int = 1) -> None:
    """Make partitions; afterwards at the beginning of partition 0."""
    if tape.page(0x11)[2] < additional:
        tape.unit.not_supported("too few partitions")
    data = bytes((0, 0, 0x10, 0)) + partition_page(tape, additional, sizes=(1,) * additional + (0xFFFF,))
    tape.unit.good(mode_select(len(data)), data)
    tape.unit.good(format_medium(1))


@pytest.fixture
def two(tape: Tape) -> Tape:
    """A tape with two partitions."""
    partitioned(tape)
    return tape


@clause("SSC-5 FORMAT MEDIUM")
def test_format_default(tape: Tape) -> None:
    """FORMAT 0 makes one partition, without data."""
    tape.lay(10, None)
    tape.unit.good(format_medium())
    tape.unit.good(space(END))

    assert tape.where() == (0, 0, 0)
    assert tape.partitions == 1


@clause("SSC-5 FORMAT MEDIUM")
def test_format_not_at_beginning(tape: Tape) -> None:
    """Anywhere but at the beginning of partition 0 it is refused: POSITION PAST BEGINNING OF MEDIUM; the data stays."""
    tape.lay(10, 10)
    tape.read(10)
    tape.unit.refused(format_medium(), asc.with_key(asc.POSITION_PAST_BEGINNING_OF_MEDIUM, 5))
    tape.unit.good(rewind())

    assert tape.read(10) == block(0, 10)


@clause("SSC-5 FORMAT MEDIUM")
def test_format_reserved(tape: Tape) -> None:
    """A FORMAT that there is not is refused."""
    tape.unit.refused(format_medium(7), asc.INVALID_FIELD_IN_CDB)


@clause("SSC-5 FORMAT MEDIUM")
def test_format_immediate(tape: Tape) -> None:
    """With IMMED it ends at once."""
    tape.lay(10)
    tape.unit.good(format_medium(immed=1))
    tape.settle()

    tape.stopped(read(10), asc.END_OF_DATA_DETECTED, data_in=10)


@clause("SSC-5 FORMAT MEDIUM")
def test_format_partitions(two: Tape) -> None:
    """FORMAT 1 makes the partitions of the medium partition page."""
    assert two.partitions == 2
    assert two.where() == (0, 0, 0)


@clause("SSC-5 Medium Partition mode page")
def test_partition_sizes(two: Tape) -> None:
    """Afterwards the page tells of the partitions that there are, with sizes."""
    page = two.page(0x11)

    assert page[3] == 1
    assert int.from_bytes(page[8:10], "big")
    assert int.from_bytes(page[10:12], "big")


@clause("SSC-5 FORMAT MEDIUM")
def test_format_back_to_one(two: Tape) -> None:
    """FORMAT 0 makes one partition of them."""
    two.unit.good(format_medium())

    assert two.partitions == 1
    two.unit.refused(locate10(0, partition=1), asc.INVALID_FIELD_IN_CDB)


@clause("SSC-5 Medium Partition mode page")
def test_partition_two_ways_refused(tape: Tape) -> None:
    """FDP, SDP and IDP: only one of them."""
    data = bytes((0, 0, 0x10, 0)) + partition_page(tape, 1, flags=0x60)

    tape.unit.refused(mode_select(len(data)), asc.INVALID_FIELD_IN_PARAMETER_LIST, data)


@clause("SSC-5 Medium Partition mode page")
def test_partition_too_many(tape: Tape) -> None:
    """More partitions than MAXIMUM ADDITIONAL PARTITIONS are refused."""
    most = tape.page(0x11)[2]
    data = bytes((0, 0, 0x10, 0)) + partition_page(tape, most + 1)

    tape.unit.refused(mode_select(len(data)), asc.INVALID_FIELD_IN_PARAMETER_LIST, data)


@clause("SSC-5 Medium Partition mode page")
def test_partition_most(tape: Tape) -> None:
    """As many as MAXIMUM ADDITIONAL PARTITIONS can be made, by SDP, which leaves sizes to the drive."""
    most = tape.page(0x11)[2]
    if not most:
        tape.unit.not_supported("no partitions")
    data = bytes((0, 0, 0x10, 0)) + partition_page(tape, most, flags=0x40, sizes=())
    tape.unit.good(mode_select(len(data)), data)
    tape.unit.good(format_medium(1))

    assert tape.partitions == most + 1
    tape.unit.good(locate10(0, partition=most))


@clause("SSC-5 LOCATE(10)")
def test_change_partition(two: Tape) -> None:
    """With CP the tape goes to another partition; READ POSITION tells of it in every form."""
    two.unit.good(locate10(0, partition=1))

    assert two.where() == (1, 0, 0)
    assert two.unit.good(read_position(0), data_in=20)[1] == 1


@clause("SSC-5 LOCATE(16)")
def test_change_partition16(two: Tape) -> None:
    """LOCATE(16) does, too, to an object, a file or the end of data of the other partition."""
    two.unit.good(locate10(0, partition=1))
    two.write(block(0, 10))
    two.mark()
    two.write(block(1, 10))
    for kind, number, expected in ((0, 1, (1, 1, 0)), (FILE, 1, (1, 2, 1)), (3, 0, (1, 3, 1))):
        two.unit.good(locate10(0, partition=0))
        two.unit.good(locate16(number, kind=kind, partition=1))
        assert two.where() == expected


@clause("SSC-5 4.2, partitions")
def test_partitions_are_apart(two: Tape) -> None:
    """What is written into one partition leaves the other alone."""
    two.write(block(0, 10))
    two.unit.good(locate10(0, partition=1))
    two.write(block(1, 20))
    two.mark()
    two.unit.good(locate10(0, partition=0))

    assert two.read(10) == block(0, 10)
    two.stopped(read(10), asc.END_OF_DATA_DETECTED, data_in=10)
    two.unit.good(locate10(0, partition=1))
    assert two.read(20) == block(1, 20)


@clause("SSC-5 REWIND")
def test_rewind_stays_in_partition(two: Tape) -> None:
    """REWIND goes to the beginning of the partition that the tape is in."""
    two.unit.good(locate10(0, partition=1))
    two.write(block(0, 10))
    two.unit.good(rewind())

    assert two.where() == (1, 0, 0)


@clause("SSC-5 SPACE(6)")
def test_space_end_stays_in_partition(two: Tape) -> None:
    """SPACE to the end of data is that of the partition."""
    two.write(block(0, 10))
    two.unit.good(locate10(0, partition=1))
    two.unit.good(space(END))

    assert two.where() == (1, 0, 0)


@clause("SSC-5 ERASE(6)")
def test_erase_stays_in_partition(two: Tape) -> None:
    """ERASE ends with the partition."""
    two.unit.good(locate10(0, partition=1))
    two.write(block(1, 20))
    two.unit.good(locate10(0, partition=0))
    two.unit.good(erase(long=1))
    two.unit.good(locate10(0, partition=1))

    assert two.read(20) == block(1, 20)


@clause("SSC-5 5.1, explicit addressing")
def test_explicit_partition(two: Tape) -> None:
    """READ(16) and WRITE(16) name the partition."""
    two.need(read16((0, 0), 0))
    two.unit.good(write16((1, 0), 10), block(3, 10))
    two.unit.good(write16((0, 0), 10), block(4, 10))

    assert two.unit.good(read16((1, 0), 10), data_in=10) == block(3, 10)
    assert two.unit.good(read16((0, 0), 10), data_in=10) == block(4, 10)


@clause("SSC-5 Device Configuration mode page")
def test_active_partition(two: Tape) -> None:
    """ACTIVE PARTITION of page 10h is where the tape is."""
    two.unit.good(locate10(0, partition=1))

    assert two.page(0x10)[3] == 1


@clause("SSC-5 LOAD UNLOAD")
def test_load_partition_zero(two: Tape) -> None:
    """A loaded volume stands at the beginning of partition 0, and its partitions are still there."""
    two.unit.good(locate10(0, partition=1))
    two.write(block(5, 30))
    two.unit.good(load(load=0))
    two.unit.good(load())
    two.settle()
    two.unit.attentions()

    assert two.where() == (0, 0, 0)
    two.unit.good(locate10(0, partition=1))
    assert two.read(30) == block(5, 30)


@clause("SSC-5 FORMAT MEDIUM")
def test_format_in_other_partition(two: Tape) -> None:
    """FORMAT MEDIUM at the beginning of another partition than 0 is refused."""
    two.unit.good(locate10(0, partition=1))

    two.unit.refused(format_medium(), asc.with_key(asc.POSITION_PAST_BEGINNING_OF_MEDIUM, 5))

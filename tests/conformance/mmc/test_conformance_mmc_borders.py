"""Format types of DVD-RW: full and quick, borders that grow and further ones, the intermediate state."""

from __future__ import annotations

import struct

import pytest
from conformance import clause
from mmc_drive import Drive, blank, blocks, close_track, disc, format_unit, read_10, read_format_capacities, read_toc

from scsiemu import asc

LIST = asc.INVALID_FIELD_IN_PARAMETER_LIST
ECC = 16
FULL, GROW, ADD, QUICK_GROW, QUICK_ADD, QUICK = 0x10, 0x11, 0x12, 0x13, 0x14, 0x15
ANY_STATE = {0x00, FULL, QUICK}


def rows(drive: Drive) -> tuple[tuple[int, int], dict[int, tuple[int, int]]]:
    """Blocks and descriptor type of the current capacity; blocks and type dependent parameter by format type."""
    data = drive.read(read_format_capacities())
    found = list(struct.iter_unpack(">II", data[4 : 4 + data[3]]))
    current, more = found[0], found[1:]
    return (current[0], current[1] >> 24 & 3), {word >> 26: (count, word & 0xFFFFFF) for count, word in more}


def formatted(drive: Drive, number: int, count: int) -> None:
    """FORMAT UNIT of a type that the drive has to list."""
    if number not in rows(drive)[1]:
        drive.unit.not_supported(f"format type {number:02x}")
    answer = drive.format(number, count, parameter=ECC)
    assert answer.good, answer
    drive.settle()


def most(drive: Drive, number: int) -> int:
    """Blocks that a format type offers."""
    return rows(drive)[1].get(number, (0, 0))[0]


@disc("dvd-rw")
@clause("MMC-6 6.23")
def test_formats_of_a_sequential_disc(drive: Drive) -> None:
    """A blank disc takes 00h, 10h and 15h with all of its blocks, and none that wants a border before."""
    (count, kind), types = rows(drive)

    assert kind == 1
    assert set(types) == ANY_STATE
    assert types[0x00] == (count, 2048)
    assert types[FULL] == types[QUICK] == (count, ECC)


@disc("dvd-rw")
@clause("MMC-6 6.23")
def test_formats_of_a_full_border(drive: Drive) -> None:
    """When all of the disc is formatted it is the current capacity, and growing is offered with no blocks."""
    count = most(drive, FULL)
    formatted(drive, FULL, count)
    current, types = rows(drive)

    assert current == (count, 2)
    assert types[GROW] == types[QUICK_GROW] == (0, ECC)
    assert ADD not in types
    assert QUICK_ADD not in types


@disc("dvd-rw")
@clause("MMC-6 6.23")
def test_formats_of_a_short_border(drive: Drive) -> None:
    """Behind a border that is shorter than the disc there is room to grow, and for another one."""
    count = most(drive, FULL)
    formatted(drive, FULL, 320)
    current, types = rows(drive)

    assert current == (320, 2)
    assert types[GROW] == types[QUICK_GROW] == (count - 320, ECC)
    assert 0 < types[QUICK_ADD][0] < count - 320
    assert types[ADD] == types[QUICK_ADD]


@disc("dvd-rw")
@clause("MMC-6 6.23")
def test_formats_of_the_intermediate_state(drive: Drive) -> None:
    """In the intermediate state the capacity is unknown (11b), and only types for any state are there."""
    formatted(drive, QUICK, 0)
    (_, kind), types = rows(drive)

    assert kind == 3
    assert set(types) == ANY_STATE
    assert drive.format(QUICK_GROW, 0, parameter=ECC).code == LIST
    assert drive.format(ADD, 320, parameter=ECC).code == LIST


@disc("dvd-rw")
@clause("MMC-5 6.5.4.2.10")
def test_quick_format_is_intermediate(drive: Drive) -> None:
    """15h with no blocks: profile 13h, the disc and its last session incomplete, the next writable address 0."""
    formatted(drive, QUICK, 0)
    found, track = drive.disc(), drive.track(1)

    assert drive.profile == 0x13
    assert (found.status, found.last_session, found.sessions) == (1, 1, 1)
    assert (track.next_valid, track.next, track.free) == (True, 0, most(drive, FULL))
    assert (track.packet, track.fixed, track.packet_size) == (True, True, ECC)


@disc("dvd-rw")
@clause("MMC-5 6.5.4.2.10")
def test_quick_format_grows_by_writing(drive: Drive) -> None:
    """In the intermediate state a border grows at its end, is overwritten before it, and closed by CLOSE SESSION."""
    formatted(drive, QUICK, 0)
    drive.written(0, blocks(32, 1))
    drive.written(32, blocks(16, 2))
    drive.written(16, blocks(16, 3))
    assert drive.write(64, blocks(16)).code == asc.INVALID_ADDRESS_FOR_WRITE
    assert drive.write(48, blocks(8)).code == asc.INVALID_PACKET_SIZE
    assert drive.track(1).next == 48
    drive.good(close_track(2))
    drive.settle()

    assert (drive.disc().status, drive.capacity()) == (2, 48)
    assert not drive.track(1).next_valid
    assert drive.read(read_10(0, 48), 48 * 2048) == blocks(16, 1) + blocks(16, 3) + blocks(16, 2)
    assert drive.write(48, blocks(16)).code == asc.LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE
    drive.written(32, blocks(16, 4))


@disc("dvd-rw")
@clause("MMC-5 6.5.4.2.10")
def test_quick_format_with_blocks(drive: Drive) -> None:
    """15h with blocks: so many are there, and read as zeros; behind them the border grows. They are rounded up."""
    formatted(drive, QUICK, 40)
    assert (drive.track(1).next, drive.capacity()) == (48, 48)
    assert drive.read(read_10(32, 16)) == bytes(16 * 2048)
    drive.written(48, blocks(16, 5))
    drive.good(close_track(2))

    assert drive.capacity() == 64


@disc("dvd-rw")
@clause("MMC-5 6.3.3.2.3")
def test_close_an_empty_border(drive: Drive) -> None:
    """A border in the intermediate state with nothing in it cannot be closed."""
    formatted(drive, QUICK, 0)

    drive.refused(close_track(2), asc.CURRENT_PROGRAM_AREA_IS_EMPTY, data_in=0)
    assert drive.disc().last_session == 1


@disc("dvd-rw")
@clause("MMC-5 6.5.4.2.6")
def test_grow_the_border(drive: Drive) -> None:
    """11h: the last border is so many blocks longer and complete; what was in it stays, what is new is zeros."""
    formatted(drive, FULL, 320)
    drive.written(304, blocks(16, 1))
    formatted(drive, GROW, 160)

    assert (drive.disc().status, drive.disc().sessions, drive.capacity()) == (2, 1, 480)
    assert drive.read(read_10(304, 32), 32 * 2048) == blocks(16, 1) + bytes(16 * 2048)
    drive.written(464, blocks(16, 2))


@pytest.mark.parametrize("count", [0, 64])
@disc("dvd-rw")
@clause("MMC-5 6.5.4.2.8")
def test_quick_grow_the_border(drive: Drive, count: int) -> None:
    """13h: the last border goes back into the intermediate state, perhaps longer; borders and tracks stay as many."""
    formatted(drive, FULL, 320)
    drive.written(0, blocks(16, 1))
    formatted(drive, QUICK_GROW, count)
    found = drive.disc()
    assert (found.status, found.last_session, found.sessions, found.last_in_last) == (1, 1, 1, 1)
    assert drive.track(1).next == 320 + count
    drive.written(320 + count, blocks(32, 2))
    drive.good(close_track(2))

    assert drive.capacity() == 352 + count
    assert drive.read(read_10(0, 16)) == blocks(16, 1)


@pytest.mark.parametrize("number", [GROW, QUICK_GROW, ADD, QUICK_ADD])
@disc("dvd-rw")
@clause("MMC-6 6.4")
def test_format_of_more_than_there_is(drive: Drive, number: int) -> None:
    """More blocks than READ FORMAT CAPACITIES offers are an invalid field."""
    formatted(drive, FULL, 320)
    if number not in rows(drive)[1]:
        drive.unit.not_supported(f"format type {number:02x}")

    assert drive.format(number, most(drive, number) + ECC, parameter=ECC).code == LIST
    assert drive.disc().status == 2


@disc("dvd-rw")
@clause("MMC-5 6.5.4.2.7")
def test_add_a_border(drive: Drive) -> None:
    """12h: a further border of so many blocks, complete; both are written, what is between them is not."""
    formatted(drive, FULL, 320)
    formatted(drive, ADD, 640)
    second = drive.track(2)
    assert (drive.disc().sessions, second.session, second.size, second.next_valid) == (2, 2, 640, False)
    assert second.start > 320
    assert drive.capacity() == second.start + 640
    drive.written(second.start, blocks(16, 2))
    drive.written(0, blocks(16, 1))

    assert drive.read(read_10(second.start, 16)) == blocks(16, 2)
    assert drive.write(320, blocks(16)).code == asc.INVALID_ADDRESS_FOR_WRITE
    assert drive.write(304, blocks(32)).code == asc.INVALID_ADDRESS_FOR_WRITE
    assert drive.format(ADD, 0, parameter=ECC).code == LIST


@disc("dvd-rw")
@clause("MMC-5 6.5.4.2.9")
def test_quick_add_a_border(drive: Drive) -> None:
    """14h: a further border in the intermediate state; the first one stays complete and can be overwritten."""
    formatted(drive, FULL, 320)
    formatted(drive, QUICK_ADD, 0)
    found, second = drive.disc(), drive.track(2)
    assert (found.status, found.last_session, found.sessions, found.first_in_last) == (1, 1, 2, 2)
    assert drive.capacity() == 320
    drive.written(second.next, blocks(32, 2))
    drive.written(16, blocks(16, 1))
    drive.good(close_track(2))

    assert drive.disc().status == 2
    assert drive.read(read_10(16, 16)) == blocks(16, 1)
    assert drive.read(read_10(second.start, 32)) == blocks(32, 2)
    assert drive.read(read_toc())[3] == 2


@disc("dvd-rw")
@clause("MMC-5 6.5.4.2.5")
def test_full_format_from_any_state(drive: Drive) -> None:
    """00h and 10h make one border of all of it, whatever there was; what was recorded is gone."""
    formatted(drive, FULL, 320)
    formatted(drive, QUICK_ADD, 0)
    formatted(drive, 0x00, most(drive, 0x00))
    assert (drive.disc().status, drive.disc().sessions, drive.capacity()) == (2, 1, most(drive, FULL))
    drive.written(0, blocks(16, 1))
    formatted(drive, FULL, 160)

    assert drive.capacity() == 160
    assert drive.read(read_10(0, 16)) == bytes(16 * 2048)


@disc("dvd-rw")
@clause("MMC-6 6.2")
def test_blank_the_intermediate_state(drive: Drive) -> None:
    """BLANK makes it sequential again."""
    formatted(drive, QUICK, 0)
    drive.written(0, blocks(16))
    drive.good(blank(1))
    drive.settle()

    assert (drive.profile, drive.disc().status) == (0x14, 0)


# --- CD-RW -----------------------------------------------------------------------------------------------------------


@disc("cd-rw")
@clause("MMC-6 6.23")
def test_formats_of_a_cd_rw(drive: Drive) -> None:
    """10h has packets of 32 blocks, and seven link blocks for each: fewer blocks than the disc."""
    (count, _), types = rows(drive)

    assert types[FULL] == (count // 39 * 32, 32)


@disc("cd-rw")
@clause("MMC-5 6.5.4.2.6")
def test_grow_a_cd_rw(drive: Drive) -> None:
    """A CD-RW that was formatted smaller than it can be grows by 11h; overwriting takes whole packets."""
    count = most(drive, FULL)
    formatted(drive, FULL, 320)
    drive.written(0, blocks(32, 1))
    formatted(drive, GROW, 64)

    assert (drive.capacity(), most(drive, GROW)) == (384, count - 384)
    drive.written(352, blocks(32, 2))
    assert drive.write(8, blocks(32)).code == asc.INVALID_PACKET_SIZE
    assert drive.read(read_10(0, 32)) == blocks(32, 1)


@disc("cd-rw")
@clause("MMC-2 6.1.5")
def test_format_code_7(drive: Drive) -> None:
    """The format code of old for CD-RW, 111b: all of the disc, with GROW more of it; no further session."""
    answer = drive.execute(format_unit(code=7), bytes((0, 0, 0, 8, 0, 0, 0, 0)) + (320).to_bytes(4, "big"))
    if answer.code == asc.INVALID_FIELD_IN_CDB:
        drive.unit.not_supported("format code 7")
    assert answer.good
    drive.settle()
    assert drive.capacity() == 320
    drive.good(format_unit(code=7), bytes((0, 0, 0, 8, 0x40, 0, 0, 0)) + (32).to_bytes(4, "big"))
    drive.settle()

    assert drive.capacity() == 352
    assert drive.execute(format_unit(code=7), bytes((0, 0, 0, 8, 0x80, 0, 0, 0)) + bytes(4)).code == LIST


@disc("dvd-rw")
@clause("MMC-6 6.4")
def test_format_code_7_is_for_cd_rw(drive: Drive) -> None:
    """On a DVD-RW it is an invalid field."""
    drive.invalid(format_unit(code=7), bytes((0, 0, 0, 8, *bytes(8))))

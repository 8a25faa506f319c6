"""BLANK and FORMAT UNIT, and what a medium refuses because of what it is."""

from __future__ import annotations

import struct

import pytest
from conformance import clause
from mmc_drive import (
    NOT_WRITABLE,
    Drive,
    blank,
    blocks,
    close_track,
    cue,
    disc,
    format_unit,
    read_10,
    reserve_track,
    send_cue_sheet,
    send_disc_structure,
    send_opc,
    synchronize_cache,
    write_10,
    write_12,
)

from scsiemu import asc
from scsiemu.sense import SenseCode

LIST = asc.INVALID_FIELD_IN_PARAMETER_LIST
FORMATTED = ("dvd+rw", "dvd-ram", "bd-re", "dvd-rw")
NUMBERS = {0x1A: 0x26, 0x12: 0x00, 0x43: 0x00, 0x14: 0x10, 0x13: 0x10, 0x41: 0x00}


def track(drive: Drive, lba: int, seed: int) -> int:
    """A track of 320 blocks; where the next one begins."""
    drive.written(lba, blocks(320, seed))
    drive.good(synchronize_cache())
    if not drive.track(drive.disc().last_in_last).blank:
        drive.good(close_track(1, drive.disc().last_in_last))
    return drive.track(0xFF).next


# --- BLANK -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [0, 1])
@disc("cd-rw", "dvd-rw")
@clause("MMC-6 6.2")
def test_blank_the_disc(drive: Drive, kind: int) -> None:
    """BLANK of all, or of the minimum: the disc is empty, its first address is written again."""
    drive.written(0, blocks(320))
    drive.good(synchronize_cache())
    drive.good(close_track(2))
    drive.good(blank(kind))
    drive.settle()

    assert drive.disc().status == 0
    drive.written(0, blocks(32, 1))


@disc("cd-rw")
@clause("MMC-6 6.2")
def test_blank_immediately(drive: Drive) -> None:
    """With IMMED the command ends at once; when the drive is ready again the disc is empty."""
    drive.written(0, blocks(320))
    drive.good(synchronize_cache())
    drive.good(blank(1, immed=1))
    drive.settle()

    assert drive.disc().status == 0


@disc("cd-rw")
@clause("MMC-6 6.2")
def test_blank_unclose(drive: Drive) -> None:
    """Type 101b opens the last session again: its tracks are there, the disc is incomplete."""
    drive.written(0, blocks(320))
    drive.good(synchronize_cache())
    drive.good(close_track(2))
    assert drive.disc().status == 2
    drive.good(blank(5))
    drive.settle()

    assert (drive.disc().status, drive.disc().last_session) == (1, 1)
    assert drive.track(1).size == 320
    drive.good(close_track(2))
    assert drive.read(read_10(0, 32)) == blocks(32)


@disc("cd-rw")
@clause("MMC-6 6.2")
def test_blank_session(drive: Drive) -> None:
    """Type 110b erases the last session: those before it stay."""
    drive.write_parameters(multi=3)
    drive.written(0, blocks(320))
    drive.good(synchronize_cache())
    drive.good(close_track(2))
    start = drive.track(0xFF).next
    drive.written(start, blocks(320))
    drive.good(synchronize_cache())
    drive.good(close_track(2))
    assert drive.disc().sessions == 3
    drive.good(blank(6))
    drive.settle()

    assert (drive.disc().status, drive.disc().sessions) == (1, 2)
    assert drive.track(0xFF).next == start
    assert drive.read(read_10(0, 32)) == blocks(32)


@disc("cd-rw")
@clause("MMC-6 6.2")
def test_blank_last_track(drive: Drive) -> None:
    """Type 010b erases the last track of the open session."""
    second = track(drive, 0, 1)
    track(drive, second, 2)
    drive.good(blank(2, 2))
    drive.settle()

    assert drive.track(0xFF).number == 2
    assert drive.track(0xFF).next == second


@disc("cd-rw")
@clause("MMC-6 6.2")
def test_blank_track_that_is_not_last(drive: Drive) -> None:
    """A track that others follow cannot be erased."""
    track(drive, track(drive, 0, 1), 2)

    drive.invalid(blank(2, 1))


@disc("cd-rw")
@clause("MMC-6 6.2")
def test_blank_unreserve(drive: Drive) -> None:
    """Type 011b gives back the room of a reserved track in which nothing was written."""
    drive.good(reserve_track(320))
    drive.good(blank(3, 1))
    drive.settle()

    assert drive.disc().status == 0
    assert not drive.track(1).reserved


@disc("cd-rw")
@clause("MMC-6 6.2")
def test_blank_track_tail(drive: Drive) -> None:
    """Type 100b erases from an address to the end of the last track, which goes on there."""
    track(drive, 0, 1)
    drive.good(blank(4, 160))
    drive.settle()
    drive.written(160, blocks(160, 2))
    drive.good(synchronize_cache())
    drive.good(close_track(2))

    assert drive.read(read_10(128, 64), 64 * 2048) == blocks(320, 1)[128 * 2048 : 160 * 2048] + blocks(32, 2)


@disc("cd-rw")
@clause("MMC-6 6.2")
def test_blank_reserved_type(drive: Drive) -> None:
    """Type 111b is reserved."""
    drive.invalid(blank(7))


@disc("dvd-rw")
@clause("MMC-6 6.2")
def test_blank_of_a_formatted_dvd_rw(drive: Drive) -> None:
    """BLANK makes a restricted overwrite disc a sequential one again: profile 14h."""
    assert drive.format(0x10, drive.formats()[0x10], parameter=16).good
    drive.settle()
    assert drive.profile == 0x13
    drive.good(blank(1))
    drive.settle()

    assert (drive.profile, drive.disc().status) == (0x14, 0)


@disc("cd-r", "dvd-r", "dvd+r", "dvd+rw", "dvd-ram", "bd-r", "bd-re", "cd-data")
@clause("MMC-6 6.2")
def test_blank_of_other_media(drive: Drive) -> None:
    """What is not CD-RW or DVD-RW cannot be blanked: CANNOT WRITE MEDIUM, INCOMPATIBLE FORMAT."""
    if drive.profile == 0x0A:
        drive.unit.not_supported("a disc that is no CD-RW is asked for")

    drive.refused(blank(0), NOT_WRITABLE, data_in=0)


# --- FORMAT UNIT -----------------------------------------------------------------------------------------------------


@disc(*FORMATTED)
@clause("MMC-6 6.4")
def test_format_capacity(drive: Drive) -> None:
    """After a format the capacity is that of its descriptor, and it is the current one of READ FORMAT CAPACITIES."""
    number = NUMBERS[drive.profile]
    count = drive.formats()[number]
    assert drive.format(number, count, parameter=16 if number == 0x10 else 0).good
    drive.settle()

    assert drive.capacity() == count
    data = drive.read(bytes((0x23, 0, 0, 0, 0, 0, 0, 0, 0xFC, 0)))
    assert (int.from_bytes(data[4:8], "big"), data[8] & 3) == (count, 2)


@disc(*FORMATTED)
@clause("MMC-6 6.4")
def test_format_unknown_type(drive: Drive) -> None:
    """A format type that the medium does not list is an invalid field of the parameter list."""
    number = next(each for each in (0x3F, 0x24, 0x20) if each not in drive.formats())

    assert drive.format(number, drive.capacity() or 16).code == LIST


@disc(*FORMATTED)
@clause("MMC-6 6.4")
def test_format_too_many_blocks(drive: Drive) -> None:
    """More blocks than its type has cannot be formatted; a DVD+RW does not look at the number."""
    number = NUMBERS[drive.profile]
    answer = drive.format(number, drive.formats()[number] + 32, parameter=16 if number == 0x10 else 0)

    assert answer.code == LIST if drive.profile != 0x1A else answer.good


@disc(*FORMATTED)
@clause("MMC-6 6.4.2")
def test_format_without_list(drive: Drive) -> None:
    """FMTDATA zero, and a format code that is not 001b, are invalid fields."""
    drive.invalid(format_unit(data=0))
    drive.invalid(format_unit(code=0), bytes(12))


@disc(*FORMATTED)
@clause("MMC-6 6.4.3")
def test_format_descriptor_length(drive: Drive) -> None:
    """The list has one descriptor of eight bytes: another length is refused."""
    word = struct.pack(">II", drive.capacity() or 16, NUMBERS[drive.profile] << 26)

    assert drive.execute(format_unit(), bytes((0, 0, 0, 16)) + word).code == LIST


@disc(*FORMATTED)
@clause("MMC-6 6.4.3")
def test_format_short_list(drive: Drive) -> None:
    """A list that ends in its descriptor is PARAMETER LIST LENGTH ERROR."""
    assert drive.execute(format_unit(), bytes((0, 0, 0, 8, 0, 0))).code == asc.PARAMETER_LIST_LENGTH_ERROR


@disc("bd-re")
@clause("MMC-6 6.4")
def test_format_spare_areas(drive: Drive) -> None:
    """Type 31h has no spare areas and more room than 00h and 30h, which have some."""
    formats = drive.formats()
    assert formats[0x31] > formats[0x00]
    assert drive.format(0x31, formats[0x31]).good
    drive.settle()

    assert drive.capacity() == formats[0x31]


@disc("dvd+rw", "bd-re")
@clause("MMC-6 6.4")
def test_format_erases(drive: Drive) -> None:
    """A medium that was not formatted is unreadable before and reads after; formatting again keeps it formatted."""
    number = NUMBERS[drive.profile]
    assert drive.format(number, drive.formats()[number]).good
    drive.settle()
    drive.written(0, blocks(32, 4))
    assert drive.format(number, drive.formats()[number]).good
    drive.settle()

    assert len(drive.read(read_10(0, 32))) == 32 * 2048
    drive.written(0, blocks(32, 5))


@disc("cd-r", "dvd-r", "dvd+r", "cd-data")
@clause("MMC-6 6.4")
def test_format_of_other_media(drive: Drive) -> None:
    """What cannot be formatted is refused: CANNOT FORMAT MEDIUM, or CANNOT WRITE MEDIUM where nothing is recorded."""
    code = drive.execute(format_unit(), bytes((0, 0, 0, 8, *bytes(8)))).code

    assert code in (asc.CANNOT_FORMAT_MEDIUM_INCOMPATIBLE_MEDIUM, NOT_WRITABLE)


@disc("dvd+rw", "bd-re")
@clause("MMC-6 6.4")
def test_write_before_format(drive: Drive) -> None:
    """A medium that is written anywhere needs a format first: MEDIUM NOT FORMATTED."""
    data = drive.read(bytes((0x23, 0, 0, 0, 0, 0, 0, 0, 0xFC, 0)))
    if data[8] & 3 != 1:
        drive.unit.not_supported("a medium that was never formatted is asked for")
    answer = drive.write(0, blocks(32))

    assert answer.code is not None
    assert (answer.code.asc, answer.code.ascq) == (0x30, 0x10)


# --- refusals --------------------------------------------------------------------------------------------------------

SHEET = cue((0x41, 1, 1, 0x10, 0), (0x41, 0xAA, 1, 0x10, 300))
WRITING: dict[str, tuple[bytes, bytes]] = {
    "WRITE(10)": (write_10(0, 1), bytes(2048)), "WRITE(12)": (write_12(0, 1), bytes(2048)),
    "RESERVE TRACK": (reserve_track(64), b""), "CLOSE TRACK": (close_track(1, 1), b""),
    "CLOSE SESSION": (close_track(2), b""), "SEND OPC INFORMATION": (send_opc(), b""), "BLANK": (blank(0), b""),
    "SEND CUE SHEET": (send_cue_sheet(len(SHEET)), SHEET),
    "SEND DISC STRUCTURE": (send_disc_structure(0xC0, 8), bytes(8)),
}


@pytest.mark.parametrize("name", WRITING)
@disc("cd-data", "dvd-rom", "bd-rom")
@clause("MMC-5 6.44")
def test_pressed_discs_refuse(drive: Drive, name: str) -> None:
    """A pressed disc is not written: CANNOT WRITE MEDIUM, INCOMPATIBLE FORMAT, ILLEGAL REQUEST."""
    if drive.profile in (0x09, 0x0A):
        drive.unit.not_supported("a pressed disc is asked for")
    cdb, data = WRITING[name]

    assert drive.execute(cdb, data).code == NOT_WRITABLE


@disc("dvd+r", "dvd+rw", "dvd-r", "bd-r")
@clause("MMC-5 6.33")
def test_cue_sheet_of_other_media(drive: Drive) -> None:
    """A cue sheet is for CDs: anything else is refused."""
    drive.refused(send_cue_sheet(len(SHEET)), NOT_WRITABLE, SHEET)


@pytest.mark.parametrize(("drive", "code"), [
    ("dvd+rw", asc.COMMAND_SEQUENCE_ERROR), ("dvd-ram", asc.COMMAND_SEQUENCE_ERROR),
], indirect=["drive"])
@clause("MMC-5 6.31")
def test_reserve_track_of_random_media(drive: Drive, code: SenseCode) -> None:
    """What is written anywhere has no tracks to reserve."""
    drive.refused(reserve_track(64), code, data_in=0)


@disc("none")
@clause("MMC-5 6.44")
def test_write_without_disc(drive: Drive) -> None:
    """Without a disc nothing is written: MEDIUM NOT PRESENT."""
    for cdb, data in WRITING.values():
        assert drive.execute(cdb, data).code == asc.MEDIUM_NOT_PRESENT_TRAY_CLOSED

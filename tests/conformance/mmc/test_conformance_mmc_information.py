"""What the drive tells of a disc: its state, its tracks, its structures, what it could be formatted to."""

from __future__ import annotations

import struct

import pytest
from conformance import clause
from mmc_drive import (
    NOT_FOR_THIS_MEDIUM,
    Drive,
    blocks,
    close_track,
    disc,
    lba_of,
    read_buffer_capacity,
    read_disc_information,
    read_disc_structure,
    read_format_capacities,
    read_track_information,
    synchronize_cache,
)

from scsiemu import asc

SEQUENTIAL = ("cd-r", "cd-rw", "dvd-r", "dvd-rw", "dvd-r-dl", "dvd+r", "dvd+r-dl", "bd-r")
RECORDABLE = (*SEQUENTIAL, "dvd-ram", "dvd+rw", "bd-re")
DVDS = ("dvd-rom", "dvd-r", "dvd-ram", "dvd-rw", "dvd-r-dl", "dvd+rw", "dvd+r", "dvd+r-dl")


# --- READ DISC INFORMATION -------------------------------------------------------------------------------------------


@disc("cd-data", "cd-audio", "dvd-rom", "bd-rom")
@clause("MMC-6 6.21.3")
def test_disc_information_of_pressed_discs(drive: Drive) -> None:
    """A pressed disc is finalised, its last session complete, and it cannot be erased."""
    told = drive.disc()

    assert (told.status, told.last_session) == (2, 3)
    assert (told.sessions, told.first_track) == (1, 1)
    assert not told.erasable or drive.profile == 0x0A


@disc(*SEQUENTIAL)
@clause("MMC-6 6.21.3")
def test_disc_information_of_blank_discs(drive: Drive) -> None:
    """A blank disc is empty, its one session too; track 1 is what will be written first."""
    told = drive.disc()

    assert (told.status, told.last_session) == (0, 0)
    assert (told.sessions, told.first_track, told.first_in_last, told.last_in_last) == (1, 1, 1, 1)


@disc(*RECORDABLE)
@clause("MMC-6 6.21.3")
def test_disc_information_erasable(drive: Drive) -> None:
    """ERASABLE is one for what can be written again."""
    assert drive.disc().erasable == (drive.profile in (0x0A, 0x12, 0x13, 0x14, 0x1A, 0x43))


@disc("cd-r", "cd-rw")
@clause("MMC-6 6.21.3")
def test_disc_information_times_of_a_blank_cd(drive: Drive) -> None:
    """Of a CD that is not complete: where the lead-in begins, where the lead-out begins at the latest."""
    told = drive.disc()

    assert told.lead_in[1] >= 90
    assert lba_of(told.lead_out[1:]) == drive.track(1).size


@disc("cd-data", "cd-mixed")
@clause("MMC-6 6.21.3")
def test_disc_information_times_of_a_complete_cd(drive: Drive) -> None:
    """Of a complete CD both are FF:FF:FF."""
    told = drive.disc()

    assert (told.lead_in[1:], told.lead_out[1:]) == (b"\xff" * 3, b"\xff" * 3)


@disc(*SEQUENTIAL)
@clause("MMC-6 6.21.3")
def test_disc_information_appendable(drive: Drive) -> None:
    """Once something is written the disc and its last session are incomplete."""
    drive.written(0, blocks(32))
    drive.good(synchronize_cache())

    assert (drive.disc().status, drive.disc().last_session) == (1, 1)


@clause("MMC-6 6.21.3")
def test_disc_information_length(drive: Drive) -> None:
    """DISC INFORMATION LENGTH counts what follows it; OPC tables, 8 bytes each, are counted in byte 33."""
    data = drive.read(read_disc_information())

    assert int.from_bytes(data[:2], "big") == len(data) - 2
    assert len(data) == 34 + 8 * data[33]


@clause("MMC-6 6.21.2")
def test_disc_information_allocation_length(drive: Drive) -> None:
    """ALLOCATION LENGTH cuts the data."""
    whole = drive.read(read_disc_information())
    for length in (0, 2, 7, 33):
        assert drive.read(read_disc_information(length=length)) == whole[:length]


@clause("MMC-6 6.21.2")
def test_disc_information_reserved_types(drive: Drive) -> None:
    """Data types above 010b are reserved."""
    for kind in range(3, 8):
        drive.invalid(read_disc_information(kind))


@disc("cd-r", "bd-r")
@clause("MMC-6 6.21.3")
def test_disc_information_track_resources(drive: Drive) -> None:
    """Data type 001b: how many tracks there may be, and are."""
    data = drive.read(read_disc_information(1))
    most, tracks, open_most, opened = struct.unpack(">4H", data[4:12])

    assert data[2] >> 5 == 1
    assert (tracks, opened) == (0, 0)
    assert most >= 99
    assert open_most >= 1


@disc("dvd+rw")
@clause("MMC-6 6.21.3")
def test_disc_information_background_format(drive: Drive) -> None:
    """BG FORMAT STATUS of a DVD+RW: 11b once it is formatted."""
    assert drive.format(0x26, drive.formats()[0x26]).good
    drive.settle()

    assert drive.read(read_disc_information())[7] & 3 == 3


# --- READ TRACK INFORMATION ------------------------------------------------------------------------------------------


@disc("cd-data", "cd-audio", "cd-mixed", "dvd-rom", "bd-rom")
@clause("MMC-5 6.27.3")
def test_track_information_of_complete_tracks(drive: Drive) -> None:
    """Each track of the TOC begins where the TOC says; no track of a finalised disc has a next writable address."""
    toc = drive.toc()
    for number, (_, lba) in toc.items():
        if number == 0xAA:
            continue
        track = drive.track(number)
        assert (track.number, track.start) == (number, lba)
        assert not track.next_valid
        assert not track.blank


@disc("cd-mixed")
@clause("MMC-5 6.27.2")
def test_track_information_by_address(drive: Drive) -> None:
    """By address the track is the one that holds it; the first block and the last one."""
    for number in drive.toc():
        if number != 0xAA:
            track = drive.track(number)
            for lba in (track.start, track.start + track.size - 1):
                assert drive.track(lba, kind=0) == track


@disc("cd-mixed", "dvd-rom")
@clause("MMC-5 6.27.2")
def test_track_information_by_session(drive: Drive) -> None:
    """By session the track is its first one; a session that is not there is an invalid field."""
    assert drive.track(1, kind=2) == drive.track(min(drive.toc()))
    drive.invalid(read_track_information(2, drive.disc().sessions + 1))


@disc("cd-data", "dvd-rom")
@clause("MMC-5 6.27.2")
def test_track_information_that_is_not_there(drive: Drive) -> None:
    """Tracks and addresses that are not there, and type 11b, are invalid fields."""
    drive.invalid(read_track_information(1, drive.disc().last_in_last + 1))
    drive.invalid(read_track_information(0, drive.capacity() + 20000))
    drive.invalid(read_track_information(3, 1))


@disc("cd-data", "dvd-rom")
@clause("MMC-5 6.27.2")
def test_track_information_no_invisible_track(drive: Drive) -> None:
    """A finalised disc has no invisible track FFh."""
    drive.invalid(read_track_information(1, 0xFF))


@disc(*SEQUENTIAL)
@clause("MMC-5 6.27.3")
def test_track_information_of_a_blank_disc(drive: Drive) -> None:
    """Track 1, the invisible one, is blank: NWA is valid and 0, all of it is free, nothing was recorded last."""
    track = drive.track(1)

    assert drive.track(0xFF) == track
    assert (track.number, track.session, track.blank, track.reserved) == (1, 1, True, False)
    assert (track.next_valid, track.next, track.last_valid) == (True, 0, False)
    assert track.free == track.size > 0


@disc(*SEQUENTIAL)
@clause("MMC-5 6.27.3")
def test_track_information_grows(drive: Drive) -> None:
    """What is written moves NWA and takes from the free blocks; the last recorded address is told."""
    before = drive.track(0xFF)
    drive.written(0, blocks(32))
    track = drive.track(0xFF)

    assert (track.next_valid, track.next) == (True, 32)
    assert track.free == before.free - 32
    assert (track.last_valid, track.last) == (True, 31)
    assert not track.blank


@disc("dvd+rw", "dvd-ram", "bd-re")
@clause("MMC-5 6.27.3")
def test_track_information_of_random_media(drive: Drive) -> None:
    """What is written anywhere is one track, of the size of the medium."""
    if 0 in drive.formats() or 0x26 in drive.formats():
        number = 0x26 if drive.profile == 0x1A else 0
        assert drive.format(number, drive.formats()[number]).good
        drive.settle()
    track = drive.track(1)

    assert (track.start, track.size) == (0, drive.capacity())
    assert not track.blank


@disc("cd-r")
@clause("MMC-5 6.27.2")
def test_track_information_open(drive: Drive) -> None:
    """OPEN one looks for the next track that is open, from the one that was asked for on."""
    drive.written(0, blocks(30))
    drive.good(synchronize_cache())

    assert drive.track(1).number == 1
    assert drive.track(1, opened=1).number == 2


@clause("MMC-5 6.27.2")
def test_track_information_allocation_length(drive: Drive) -> None:
    """ALLOCATION LENGTH cuts the data, whose length field counts what follows it."""
    whole = drive.read(read_track_information(1, 1))

    assert int.from_bytes(whole[:2], "big") == len(whole) - 2
    assert drive.read(read_track_information(1, 1, length=28)) == whole[:28]


# --- READ DISC STRUCTURE ---------------------------------------------------------------------------------------------


@disc(*DVDS)
@clause("MMC-6 6.22.3")
def test_disc_structure_physical(drive: Drive) -> None:
    """Format 00h: 2048 bytes with Book Type, number of layers, and the data area from 30000h."""
    data = drive.read(read_disc_structure(0))
    book = {0x10: 0, 0x12: 1, 0x11: 2, 0x15: 2, 0x13: 3, 0x14: 3, 0x1A: 9, 0x1B: 0xA, 0x2B: 0xE}[drive.profile]

    assert (int.from_bytes(data[:2], "big"), len(data)) == (2050, 2052)
    assert data[4] >> 4 == book
    assert data[6] >> 5 & 3 == (drive.profile in (0x15, 0x2B))
    assert int.from_bytes(data[9:12], "big") in (0x30000, 0x31000)


@disc(*DVDS)
@clause("MMC-6 6.22.3")
def test_disc_structure_copyright(drive: Drive) -> None:
    """Format 01h: no copy protection, no region is excluded."""
    assert drive.read(read_disc_structure(1))[:2] == bytes((0, 6))


@disc(*DVDS, "bd-r", "bd-rom")
@clause("MMC-6 6.22.3")
def test_disc_structure_list(drive: Drive) -> None:
    """Format FFh lists the formats, ascending; each that can be read is there with the length that the list has."""
    media = drive.profile >= 0x40
    data = drive.read(read_disc_structure(0xFF, media=media))
    rows = [(data[at], data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")) for at in range(4, len(data), 4)]

    assert [row[0] for row in rows] == sorted({row[0] for row in rows})
    for form, flags, length in rows:
        if flags & 0x40 and form != 0xFF:
            assert len(drive.read(read_disc_structure(form, media=media))) == length


@disc("bd-rom", "bd-r", "bd-re")
@clause("MMC-6 6.22.3")
def test_disc_structure_of_bd(drive: Drive) -> None:
    """Disc information of a BD: 4096 bytes of units that begin with DI."""
    data = drive.read(read_disc_structure(0, media=1))

    assert len(data) == 4100
    assert data[4:6] == b"DI"
    assert data[12:15] == {0x40: b"BDO", 0x41: b"BDR", 0x43: b"BDW"}[drive.profile]


@disc("cd-data")
@clause("MMC-6 6.22")
def test_disc_structure_of_a_cd(drive: Drive) -> None:
    """A CD has none of a DVD or BD: CANNOT READ MEDIUM, INCOMPATIBLE FORMAT, ILLEGAL REQUEST."""
    drive.refused(read_disc_structure(0), NOT_FOR_THIS_MEDIUM)
    drive.refused(read_disc_structure(0, media=1), NOT_FOR_THIS_MEDIUM)


@disc("dvd-rom")
@clause("MMC-6 6.22.2")
def test_disc_structure_invalid(drive: Drive) -> None:
    """A format, a layer or a media type that is not there: INVALID FIELD IN CDB; BD's structures are not a DVD's."""
    drive.invalid(read_disc_structure(0x77))
    drive.invalid(read_disc_structure(0, layer=2))
    drive.invalid(read_disc_structure(0, media=5))
    drive.refused(read_disc_structure(0, media=1), NOT_FOR_THIS_MEDIUM)


@disc("dvd-r", "dvd-rw")
@clause("MMC-6 6.22.3")
def test_disc_structure_pre_recorded(drive: Drive) -> None:
    """Format 0Eh is of DVD-R and DVD-RW: pre-recorded information, fields in ascending order."""
    data = drive.read(read_disc_structure(0x0E))

    assert data[4] == 1
    assert data[12] == 2


@disc("dvd+r", "dvd+rw")
@clause("MMC-6 6.22.3")
def test_disc_structure_adip(drive: Drive) -> None:
    """Format 11h is of the + family: ADIP, which begins as the physical format does."""
    adip, physical = drive.read(read_disc_structure(0x11)), drive.read(read_disc_structure(0))

    assert len(adip) == 260
    assert adip[4] >> 4 == physical[4] >> 4


@disc("dvd+r-dl", "dvd-r-dl")
@clause("MMC-6 6.22.3")
def test_disc_structure_layer_capacity(drive: Drive) -> None:
    """Format 20h of two layers: the capacity of layer 0, half of the disc; the physical format says where it ends."""
    data, physical = drive.read(read_disc_structure(0x20)), drive.read(read_disc_structure(0))
    begin, end = (int.from_bytes(physical[at : at + 4], "big") for at in (8, 16))

    assert int.from_bytes(data[8:12], "big") * 2 == drive.track(1).size
    assert end + 1 - begin == int.from_bytes(data[8:12], "big")


@disc("dvd+rw", "dvd-ram", "dvd+r")
@clause("MMC-6 6.22.3")
def test_disc_structure_write_protection(drive: Drive) -> None:
    """Format C0h: nothing is protected."""
    assert drive.read(read_disc_structure(0xC0)) == bytes((0, 6, 0, 0, 0, 0, 0, 0))


# --- READ FORMAT CAPACITIES, READ BUFFER CAPACITY --------------------------------------------------------------------


@disc("none")
@clause("MMC-6 6.23")
def test_format_capacities_without_disc(drive: Drive) -> None:
    """Without a disc: descriptor type 11b, no medium."""
    data = drive.read(read_format_capacities())

    assert (data[3], data[8] & 3) == (8, 3)


@disc("cd-r", "dvd+r", "dvd-r", "bd-r")
@clause("MMC-6 6.23")
def test_format_capacities_of_blank_discs(drive: Drive) -> None:
    """A blank disc is unformatted (01b); its capacity is what can be recorded."""
    data = drive.read(read_format_capacities())

    assert data[8] & 3 == 1
    assert int.from_bytes(data[4:8], "big") == drive.track(1).size


@disc("cd-data", "dvd-rom")
@clause("MMC-6 6.23")
def test_format_capacities_of_pressed_discs(drive: Drive) -> None:
    """A pressed disc is formatted (10b), of the capacity of READ CAPACITY, and nothing else can be made of it."""
    data = drive.read(read_format_capacities())

    assert (data[3], data[8] & 3) == (8, 2)
    assert int.from_bytes(data[4:8], "big") == drive.capacity()
    assert int.from_bytes(data[9:12], "big") == 2048


@pytest.mark.parametrize(("drive", "types"), [
    ("dvd-ram", {0x00}), ("dvd-rw", {0x10}), ("dvd+rw", {0x26}), ("bd-re", {0x00, 0x30, 0x31}), ("bd-r", {0x00, 0x32}),
], indirect=["drive"])
@clause("MMC-6 6.23")
def test_format_capacities_types(drive: Drive, types: set[int]) -> None:
    """Media that FORMAT UNIT takes list their format types, each of at least one block."""
    formats = drive.formats()

    assert types <= set(formats)
    assert all(formats.values())


@disc("cd-r", "dvd+r")
@clause("MMC-6 6.23")
def test_format_capacities_no_types(drive: Drive) -> None:
    """Write-once CDs and DVDs cannot be formatted."""
    assert drive.formats() == {}


@clause("MMC-6 6.17")
def test_buffer_capacity(drive: Drive) -> None:
    """Bytes of the buffer, of which no more is available than there is; or blocks."""
    length, size, free = struct.unpack(">HxxII", drive.read(read_buffer_capacity()))
    data = drive.read(read_buffer_capacity(block=1))

    assert length == 10
    assert 0 < free <= size
    assert data[3] & 1
    assert int.from_bytes(data[8:12], "big") == free // 2048


@disc("cd-r", "dvd+r")
@clause("MMC-6 6.21.3")
def test_disc_information_after_close(drive: Drive) -> None:
    """The session that was closed and its track are complete; the invisible track is gone from a finalised disc."""
    drive.written(0, blocks(32))
    drive.good(synchronize_cache())
    drive.good(close_track(6 if drive.profile == 0x1B else 2))

    assert (drive.disc().status, drive.disc().last_session, drive.disc().sessions) == (2, 3, 1)
    assert drive.execute(read_track_information(1, 0xFF), data_in=48).code == asc.INVALID_FIELD_IN_CDB

"""Mode pages, speeds, audio play, keys."""

from __future__ import annotations

import struct

import pytest
from conformance import clause
from mmc_drive import (
    NOT_FOR_THIS_MEDIUM,
    Drive,
    disc,
    get_performance,
    lba_of,
    mode_select,
    mode_sense,
    msf_of,
    pause_resume,
    play,
    play_msf,
    read_10,
    read_sub_channel,
    report_key,
    scan,
    send_key,
    set_cd_speed,
    set_streaming,
    write_10,
)

from scsiemu import asc

WRONG_MODE = asc.ILLEGAL_MODE_FOR_THIS_TRACK
RANGE = asc.LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE
LIST = asc.INVALID_FIELD_IN_PARAMETER_LIST
PLAYING, PAUSED, COMPLETED, NONE = 0x11, 0x12, 0x13, 0x15
STOP = bytes((0x4E, *bytes(9)))


# --- mode pages ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("page", "length"), [
    (0x01, 0x0A), (0x05, 0x32), (0x08, 0x0A), (0x0D, 0x06), (0x0E, 0x0E), (0x1A, None), (0x1C, 0x0A), (0x1D, 0x0A),
    (0x2A, None), (0x03, 0x06), (0x07, None),
])
@clause("MMC-6 7.2")
def test_mode_page_length(drive: Drive, page: int, length: int | None) -> None:
    """Each page of a CD drive is there, with its code and its PAGE LENGTH."""
    data = drive.page(page)

    assert (data[0] & 0x3F, len(data)) == (page, data[1] + 2)
    assert length is None or data[1] == length


@clause("SPC-5 7.5.1")
def test_mode_sense_all_pages(drive: Drive) -> None:
    """Page 3Fh returns every page, ascending, page 00h at most behind them."""
    data = drive.page(0x3F)
    codes = []
    at = 0
    while at < len(data):
        codes.append(data[at] & 0x3F)
        at += data[at + 1] + 2 if not data[at] & 0x40 else int.from_bytes(data[at + 2 : at + 4], "big") + 4

    assert at == len(data)
    assert {0x01, 0x05, 0x08, 0x0E, 0x1A, 0x1D, 0x2A} <= set(codes)
    assert codes == sorted(codes)


@clause("MMC-6 7.2")
def test_mode_sense_no_block_descriptor(drive: Drive) -> None:
    """A CD drive has no block descriptors: BLOCK DESCRIPTOR LENGTH is 0, DBD or not."""
    for dbd in (0, 8):
        cdb = bytearray(mode_sense(0x01))
        cdb[1] = dbd
        assert drive.read(bytes(cdb))[6:8] == bytes(2)


@clause("SPC-5 6.15")
def test_mode_sense_unknown_page(drive: Drive) -> None:
    """A page that is not there is an invalid field."""
    drive.invalid(mode_sense(0x3A))


@clause("SPC-5 6.15")
def test_mode_sense_data_length(drive: Drive) -> None:
    """MODE DATA LENGTH counts what follows it, whatever ALLOCATION LENGTH is."""
    whole = drive.read(mode_sense(0x2A))

    assert int.from_bytes(whole[:2], "big") == len(whole) - 2
    assert drive.read(mode_sense(0x2A, length=10)) == whole[:10]


@clause("SPC-5 6.15")
def test_mode_sense_changeable_values(drive: Drive) -> None:
    """Of page 05h the write type, of page 2Ah nothing can be changed."""
    assert drive.page(0x05, control=1)[2] & 0x0F == 0x0F
    assert not any(drive.page(0x2A, control=1)[2:])


@clause("SPC-5 6.13")
def test_mode_select_what_cannot_change(drive: Drive) -> None:
    """MODE SELECT of another value for an unchangeable field is refused."""
    page = bytearray(drive.page(0x2A))
    page[4] ^= 1

    assert drive.select(bytes(page)).code == LIST


@clause("SPC-5 6.13")
def test_mode_select_page_length(drive: Drive) -> None:
    """A wrong PAGE LENGTH is refused."""
    page = bytearray(drive.page(0x01))
    page[1] -= 1

    assert drive.select(bytes(page)).code == LIST


@clause("SPC-5 6.13")
def test_mode_select_truncated(drive: Drive) -> None:
    """A parameter list that ends inside a page is PARAMETER LIST LENGTH ERROR."""
    sent = bytes(8) + drive.page(0x01)[:6]

    assert drive.execute(mode_select(len(sent)), sent).code == asc.PARAMETER_LIST_LENGTH_ERROR


@clause("SPC-5 5.11")
def test_mode_select_is_told(drive: Drive) -> None:
    """Another nexus gets MODE PARAMETERS CHANGED."""
    other = drive.another()
    page = bytearray(drive.page(0x01))
    page[3] ^= 1
    assert drive.select(bytes(page)).good

    assert other.unit.attentions() == [asc.MODE_PARAMETERS_CHANGED]
    page[3] ^= 1
    drive.select(bytes(page))


@clause("MMC-6 7.5")
def test_write_parameters_reserved_values(drive: Drive) -> None:
    """Reserved write types, data block types, session formats and MULTI-SESSION 10b are refused."""
    for at, value in ((2, 0x45), (4, 7), (3, 0x85), (8, 0x33)):
        page = bytearray(drive.page(0x05))
        page[at] = value
        assert drive.select(bytes(page)).code == LIST, (at, value)


@clause("MMC-6 7.5")
def test_write_parameters_stay(drive: Drive) -> None:
    """What was set is what MODE SENSE returns."""
    drive.write_parameters(write_type=2, multi=3, block_type=10)
    page = drive.page(0x05)

    assert (page[2] & 0xF, page[3] >> 6, page[4] & 0xF) == (2, 3, 10)
    drive.write_parameters()


@disc("cd-r")
@clause("MMC-6 7.9")
def test_software_write_protect(drive: Drive) -> None:
    """SWPP of page 1Dh protects what is in the drive: LOGICAL UNIT SOFTWARE WRITE PROTECTED; DATA PROTECT."""
    page = bytearray(drive.page(0x1D))
    page[4] |= 1
    assert drive.select(bytes(page)).good
    code = drive.execute(write_10(0, 1), bytes(2048)).code
    page[4] &= 0xFE
    assert drive.select(bytes(page)).good

    assert code == asc.LOGICAL_UNIT_SOFTWARE_WRITE_PROTECTED
    drive.written(0, bytes(2048))


@clause("MMC-6 7.11")
def test_capabilities_page(drive: Drive) -> None:
    """Page 2Ah: CD-R, CD-RW, DVD are read, audio is played, the tray locks and ejects; its descriptors fill it."""
    page = drive.page(0x2A)

    assert page[2] & 0x0B == 0x0B
    assert page[4] & 1
    assert (page[6] >> 5, page[6] & 9) == (1, 9)
    assert len(page) == 32 + 4 * int.from_bytes(page[30:32], "big")


@clause("MMC-6 7.11")
def test_capabilities_speeds_descend(drive: Drive) -> None:
    """Write speeds are listed from fastest to slowest."""
    page = drive.page(0x2A)
    speeds = [int.from_bytes(page[at + 2 : at + 4], "big") for at in range(32, len(page), 4)]

    assert speeds == sorted(speeds, reverse=True)
    assert speeds[0] <= int.from_bytes(page[18:20], "big")


# --- speeds ----------------------------------------------------------------------------------------------------------


@disc("cd-r")
@clause("MMC-5 6.37")
def test_set_cd_speed(drive: Drive) -> None:
    """SET CD SPEED chooses the write speed that page 2Ah tells; FFFFh the fastest; what is between is rounded down."""
    page = drive.page(0x2A)
    speeds = [int.from_bytes(page[at + 2 : at + 4], "big") for at in range(32, len(page), 4)]
    for asked, expected in ((speeds[1], speeds[1]), (speeds[1] + 1, speeds[1]), (0xFFFF, speeds[0])):
        drive.good(set_cd_speed(0xFFFF, asked))
        assert int.from_bytes(drive.page(0x2A)[28:30], "big") == expected


@clause("MMC-5 6.37")
def test_set_cd_speed_rotation(drive: Drive) -> None:
    """Rotational controls above 01b are reserved."""
    for rotation in (2, 3):
        drive.invalid(set_cd_speed(0xFFFF, rotation=rotation))


@disc("cd-r", "dvd+rw", "bd-re")
@clause("MMC-6 6.7")
def test_get_performance_write_speeds(drive: Drive) -> None:
    """Type 3: descriptors of 16 bytes, and their length in the header counts all of them."""
    data = drive.read(get_performance(3))
    speeds = [int.from_bytes(data[at + 12 : at + 16], "big") for at in range(8, len(data), 16)]

    assert int.from_bytes(data[:4], "big") == len(data) - 4
    assert speeds
    assert speeds == sorted(speeds, reverse=True)


@disc("cd-r")
@clause("MMC-6 6.7")
def test_get_performance_maximum_number(drive: Drive) -> None:
    """MAXIMUM NUMBER OF DESCRIPTORS cuts them, and the length still tells of all."""
    whole, one = drive.read(get_performance(3)), drive.read(get_performance(3, count=1))

    assert one == whole[:24]
    assert drive.read(get_performance(3, count=0)) == whole[:8]


@disc("cd-data", "dvd-rom", "bd-rom")
@clause("MMC-6 6.7")
def test_get_performance_nominal(drive: Drive) -> None:
    """Type 0: ranges that begin at address 0 and end at the last one, with speeds above zero."""
    data = drive.read(get_performance(0, 0x10))
    rows = list(struct.iter_unpack(">IIII", data[8:]))

    assert data[4] & 3 == 0
    assert rows[0][0] == 0
    assert rows[-1][2] == drive.capacity() - 1
    assert all(row[1] and row[3] for row in rows)


@clause("MMC-6 6.7")
def test_get_performance_exceptions(drive: Drive) -> None:
    """With EXCEPT the header says so, and descriptors are of 6 bytes."""
    data = drive.read(get_performance(0, 0x11))

    assert data[4] & 1
    assert (len(data) - 8) % 6 == 0


@pytest.mark.parametrize("kind", [1, 2, 3, 4, 5])
@clause("MMC-6 6.7")
def test_get_performance_types(drive: Drive, kind: int) -> None:
    """Types 1 to 5 are there; a data type that is not zero is an invalid field for them."""
    data = drive.read(get_performance(kind))

    assert int.from_bytes(data[:4], "big") >= 4
    drive.invalid(get_performance(kind, 1))


@clause("MMC-6 6.7")
def test_get_performance_reserved_type(drive: Drive) -> None:
    """Types above 5 are reserved."""
    drive.invalid(get_performance(6))


@disc("cd-r", "dvd+r")
@clause("MMC-5 6.39")
def test_set_streaming(drive: Drive) -> None:
    """A performance descriptor sets speeds; RDD puts them back."""
    speeds = drive.read(get_performance(3))
    slowest = int.from_bytes(speeds[-4:], "big")
    sent = struct.pack(">BxxxIIIIII", 0, 0, 1000, slowest, 1000, slowest, 1000)
    drive.good(set_streaming(), sent)
    assert int.from_bytes(drive.page(0x2A)[28:30], "big") == slowest
    drive.good(set_streaming(), b"\x04" + sent[1:])

    assert int.from_bytes(drive.page(0x2A)[28:30], "big") > slowest


@clause("MMC-5 6.39")
def test_set_streaming_wrong(drive: Drive) -> None:
    """An end before the start and a time of zero are invalid; a short descriptor is a length error."""
    for row in ((0, 1000, 0, 1, 1, 1, 1), (0, 0, 1000, 1, 0, 1, 1), (0, 0, 1000, 1, 1, 1, 0)):
        drive.refused(set_streaming(), LIST, struct.pack(">BxxxIIIIII", *row))
    drive.refused(set_streaming(20), asc.PARAMETER_LIST_LENGTH_ERROR, bytes(20))
    drive.invalid(set_streaming(28, 1), bytes(28))


# --- audio play ------------------------------------------------------------------------------------------------------


def status(drive: Drive) -> int:
    """AUDIO STATUS."""
    return drive.read(read_sub_channel(0, subq=0))[1]


def position(drive: Drive) -> int:
    """The absolute address of READ SUB-CHANNEL."""
    return int.from_bytes(drive.read(read_sub_channel(1))[8:12], "big")


@disc("cd-audio", "cd-mixed")
@clause("MMC-4 6.15")
def test_play_audio(drive: Drive) -> None:
    """PLAY AUDIO(10) ends at once; audio status is 11h, the position is in what is played."""
    start, end = drive.audio_track()
    drive.good(play(start, end - start))

    assert status(drive) == PLAYING
    assert start <= position(drive) < end
    drive.good(STOP)


@disc("cd-audio")
@clause("MMC-4 6.16")
def test_play_audio_12(drive: Drive) -> None:
    """PLAY AUDIO(12) does the same."""
    drive.good(struct.pack(">BxIIxx", 0xA5, 100, 500))

    assert status(drive) == PLAYING
    drive.good(STOP)


@disc("cd-audio")
@clause("MMC-4 6.17")
def test_play_audio_msf(drive: Drive) -> None:
    """PLAY AUDIO MSF begins at its starting time."""
    drive.good(play_msf(msf_of(200), msf_of(900)))

    assert status(drive) == PLAYING
    assert 200 <= position(drive) < 900
    drive.good(STOP)


@disc("cd-audio")
@clause("MMC-4 6.17")
def test_play_audio_msf_wrong(drive: Drive) -> None:
    """What is no time and what goes backwards are invalid fields, what is not on the disc is out of range."""
    drive.invalid(play_msf((0, 60, 0), (0, 61, 0)))
    drive.invalid(play_msf((0, 4, 75), (0, 5, 0)))
    drive.invalid(play_msf(msf_of(500), msf_of(400)))
    drive.refused(play_msf(msf_of(0), msf_of(drive.capacity() + 1)), RANGE)


@disc("cd-audio")
@clause("MMC-4 6.15")
def test_play_audio_nothing(drive: Drive) -> None:
    """A length of 0 plays nothing and is no error."""
    drive.good(play(100, 0))

    assert status(drive) != PLAYING


@disc("cd-audio")
@clause("MMC-4 6.15")
def test_play_audio_past_the_end(drive: Drive) -> None:
    """A range that leaves the disc is refused."""
    end = drive.capacity()

    drive.refused(play(end, 1), RANGE)
    drive.refused(play(end - 10, 11), RANGE)


@disc("cd-mixed", "cd-data")
@clause("MMC-4 6.15")
def test_play_audio_of_data(drive: Drive) -> None:
    """A data track cannot be played: ILLEGAL MODE FOR THIS TRACK."""
    drive.refused(play(drive.data_track(), 10), WRONG_MODE)


@disc("dvd-rom")
@clause("MMC-4 6.15")
def test_play_audio_of_a_dvd(drive: Drive) -> None:
    """There is no audio play of other media."""
    drive.refused(play(0, 10), NOT_FOR_THIS_MEDIUM)


@disc("cd-audio")
@clause("MMC-4 6.14")
def test_pause_and_resume(drive: Drive) -> None:
    """PAUSE holds the position with audio status 12h; RESUME goes on."""
    drive.good(play(100, 800))
    drive.good(pause_resume(resume=0))
    assert status(drive) == PAUSED
    at = position(drive)
    assert position(drive) == at
    drive.good(pause_resume(resume=1))

    assert status(drive) == PLAYING
    assert position(drive) >= at
    drive.good(STOP)


@disc("cd-audio")
@clause("MMC-4 6.14")
def test_pause_twice(drive: Drive) -> None:
    """Pausing what is paused, and resuming what plays, is no error."""
    drive.good(play(100, 800))
    drive.good(pause_resume(resume=1))
    drive.good(pause_resume(resume=0))
    drive.good(pause_resume(resume=0))

    assert status(drive) == PAUSED
    drive.good(STOP)


@disc("cd-audio")
@clause("MMC-4 6.14")
def test_pause_without_play(drive: Drive) -> None:
    """Without play there is nothing to pause or to resume: COMMAND SEQUENCE ERROR."""
    drive.good(STOP)
    for resume in (0, 1):
        drive.refused(pause_resume(resume=resume), asc.COMMAND_SEQUENCE_ERROR)


@disc("cd-audio")
@clause("MMC-3 5.35")
def test_stop_play(drive: Drive) -> None:
    """STOP PLAY/SCAN ends playing; it is no error when nothing plays."""
    drive.good(play(100, 800))
    drive.good(STOP)
    assert status(drive) not in (PLAYING, PAUSED)

    drive.good(STOP)


@disc("cd-mixed")
@clause("MMC-4 6.15")
def test_play_audio_ends_by_reading(drive: Drive) -> None:
    """Reading moves the pick-up: playing ends."""
    start, end = drive.audio_track()
    drive.good(play(start, end - start))
    drive.read(read_10(drive.data_track()))

    assert status(drive) not in (PLAYING, PAUSED)


@disc("cd-audio")
@clause("MMC-3 5.32")
def test_scan(drive: Drive) -> None:
    """SCAN begins at an address, a time or a track; a reserved type is an invalid field."""
    minute, second, frame = msf_of(300)
    for start, kind in ((300, 0), (minute << 16 | second << 8 | frame, 1), (1, 2)):
        drive.good(scan(start, kind=kind))
        assert status(drive) == PLAYING
    drive.good(STOP)

    drive.invalid(scan(0, kind=3))
    drive.invalid(scan(77, kind=2))


@disc("cd-mixed")
@clause("SCSI-2 14.2.5")
def test_play_track_index(drive: Drive) -> None:
    """PLAY AUDIO TRACK/INDEX begins at an index of a track; a track that is not there is an invalid field."""
    drive.good(bytes((0x48, 0, 0, 0, 2, 1, 0, 3, 1, 0)))
    assert position(drive) >= drive.toc()[2][1]
    drive.good(STOP)

    drive.invalid(bytes((0x48, 0, 0, 0, 9, 1, 0, 9, 1, 0)))
    drive.invalid(bytes((0x48, 0, 0, 0, 3, 1, 0, 2, 1, 0)))


@disc("cd-mixed")
@clause("SCSI-2 14.2.6")
def test_play_track_relative(drive: Drive) -> None:
    """PLAY TRACK RELATIVE counts from index 1 of its track."""
    drive.good(struct.pack(">BxIBHx", 0x49, 20, 2, 50))
    start = drive.toc()[2][1]

    assert start + 20 <= position(drive) < start + 70
    drive.good(STOP)


@disc("cd-mixed")
@clause("MMC-4 6.29")
def test_read_sub_channel_position(drive: Drive) -> None:
    """Format 1: ADR and CONTROL, track, index, address on the disc and in the track, which agree."""
    start, end = drive.audio_track()
    drive.good(play(start + 10, end - start - 10))
    drive.good(pause_resume(resume=0))
    data = drive.read(read_sub_channel(1))
    timed = drive.read(read_sub_channel(1, msf=1))
    absolute, relative = struct.unpack(">II", data[8:16])
    drive.good(STOP)

    assert data[2:5] == bytes((0, 12, 1))
    assert (data[5] & 4, data[6], data[7]) == (0, 2, 1)
    assert absolute - relative == start
    assert (lba_of(timed[9:12]), lba_of(timed[13:16]) + 150) == (absolute, relative)


@disc("cd-mixed")
@clause("MMC-4 6.29")
def test_read_sub_channel_catalogue_number(drive: Drive) -> None:
    """Format 2: MCVAL and 13 digits."""
    data = drive.read(read_sub_channel(2))

    assert (len(data), data[2:5], data[8]) == (24, bytes((0, 20, 2)), 0x80)
    assert data[9:22].isdigit()


@disc("cd-mixed")
@clause("MMC-4 6.29")
def test_read_sub_channel_isrc(drive: Drive) -> None:
    """Format 3: the track, TCVAL and 12 characters where it has an ISRC, TCVAL zero where it has none."""
    first, second = drive.read(read_sub_channel(3, 2)), drive.read(read_sub_channel(3, 3))

    assert (first[4], first[6], first[8]) == (3, 2, 0)
    assert (second[6], second[8], len(second[9:21].decode().strip("\0"))) == (3, 0x80, 12)


@disc("cd-audio")
@clause("MMC-4 6.29")
def test_read_sub_channel_invalid(drive: Drive) -> None:
    """Reserved formats and a track that is not there are invalid fields; SUBQ zero asks for the header alone."""
    for kind in (0, 4, 0xF0):
        drive.invalid(read_sub_channel(kind))
    drive.invalid(read_sub_channel(3, 99))

    assert len(drive.read(read_sub_channel(1, subq=0))) == 4


@disc("dvd-rom")
@clause("MMC-4 6.29")
def test_read_sub_channel_of_a_dvd(drive: Drive) -> None:
    """Other media have no sub-channels."""
    drive.refused(read_sub_channel(1), NOT_FOR_THIS_MEDIUM)


# --- keys ------------------------------------------------------------------------------------------------------------


@disc("dvd-rom", "none")
@clause("MMC-5 6.29")
def test_report_key_region(drive: Drive) -> None:
    """Key format 08h is told without a disc, too: eight bytes, scheme 1, at most five changes."""
    data = drive.read(report_key(8))

    assert data[:4] == bytes((0, 6, 0, 0))
    assert (data[6], data[4] & 7 <= 5) == (1, True)


@disc("dvd-rom")
@clause("MMC-5 6.29")
def test_report_key_without_protection(drive: Drive) -> None:
    """A disc that is not protected has no key: KEY NOT PRESENT."""
    for form in (0, 4):
        drive.refused(report_key(form), asc.COPY_PROTECTION_KEY_EXCHANGE_FAILURE_KEY_NOT_PRESENT)


@disc("dvd-rom")
@clause("MMC-5 6.29")
def test_report_key_asf(drive: Drive) -> None:
    """Authentication has not succeeded: ASF is zero."""
    assert not drive.read(report_key(5))[7] & 1


@disc("cd-data")
@clause("MMC-5 6.29")
def test_report_key_of_a_cd(drive: Drive) -> None:
    """A CD has no CSS."""
    drive.refused(report_key(0), NOT_FOR_THIS_MEDIUM)


@clause("MMC-5 6.29")
def test_report_key_reserved(drive: Drive) -> None:
    """Key classes and formats that are not there are invalid fields."""
    drive.invalid(report_key(8, key_class=0x20))
    drive.invalid(report_key(0x30))


@disc("dvd-rom")
@clause("MMC-5 6.35")
def test_send_key_without_grant(drive: Drive) -> None:
    """A challenge without an authentication grant: KEY NOT ESTABLISHED."""
    drive.refused(send_key(1, 16), asc.COPY_PROTECTION_KEY_EXCHANGE_FAILURE_KEY_NOT_ESTABLISHED, bytes(16))

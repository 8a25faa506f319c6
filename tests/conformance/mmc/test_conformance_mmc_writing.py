"""Recording: track at once, session at once, packets, sequential media, tracks and sessions that close."""

from __future__ import annotations

import struct

import pytest
from conformance import clause
from mmc_drive import (
    BLANK_CHECK,
    RAW,
    Drive,
    blocks,
    close_track,
    cue,
    disc,
    lba_of,
    read_10,
    read_cd,
    read_toc,
    repair_track,
    reserve_track,
    send_cue_sheet,
    send_opc,
    start_stop,
    synchronize_cache,
    write_10,
    write_12,
)

from scsiemu import asc

WRONG_ADDRESS = asc.INVALID_ADDRESS_FOR_WRITE
SHEET = asc.INVALID_FIELD_IN_PARAMETER_LIST
SEQUENTIAL = ("cd-r", "cd-rw", "dvd-r", "dvd-rw", "dvd-r-dl", "dvd+r", "dvd+r-dl", "bd-r")
RANDOM = ("dvd+rw", "dvd-ram", "bd-re")


def finish(drive: Drive) -> None:
    """Nothing more can be recorded."""
    drive.good(synchronize_cache())
    drive.good(close_track(6 if drive.profile in (0x1B, 0x2B, 0x41) else 2))


# --- sequential media ------------------------------------------------------------------------------------------------


@disc(*SEQUENTIAL)
@clause("MMC-5 6.44")
def test_write_at_the_next_writable_address(drive: Drive) -> None:
    """Blocks go where the last ones ended; before it and behind it: INVALID ADDRESS FOR WRITE."""
    drive.written(0, blocks(32))
    for lba in (0, 31, 33, 1000):
        assert drive.write(lba, blocks(16)).code == WRONG_ADDRESS

    drive.written(32, blocks(32, 1))


@disc(*SEQUENTIAL)
@clause("MMC-5 6.44")
def test_write_and_read_back(drive: Drive) -> None:
    """What was written is read when the disc is finished, across the commands that wrote it."""
    drive.written(0, blocks(32, 1))
    drive.written(32, blocks(64, 2))
    finish(drive)

    assert drive.read(read_10(0, 96), 96 * 2048) == blocks(32, 1) + blocks(64, 2)


@disc("cd-r", "dvd+r")
@clause("MMC-5 6.45")
def test_write_12(drive: Drive) -> None:
    """WRITE(12) does what WRITE(10) does."""
    drive.good(write_12(0, 32), blocks(32))

    assert drive.track(0xFF).next == 32
    assert drive.execute(write_12(0, 1), blocks(1)).code == WRONG_ADDRESS


@disc("cd-r", "dvd+r", "bd-r")
@clause("MMC-5 6.44")
def test_write_nothing(drive: Drive) -> None:
    """TRANSFER LENGTH 0 writes nothing: the disc stays blank."""
    drive.good(write_10(0, 0))

    assert drive.disc().status == 0


@disc(*SEQUENTIAL)
@clause("MMC-5 6.44")
def test_write_more_than_there_is(drive: Drive) -> None:
    """A range that leaves the disc is refused, and nothing was written."""
    drive.written(0, blocks(32))
    free = drive.track(0xFF).free
    answer = drive.execute(write_12(32, free + 16), blocks(16))

    assert answer.code is not None
    assert drive.track(0xFF).free == free


@disc(*SEQUENTIAL)
@clause("MMC-6 6.14")
def test_read_what_was_not_written(drive: Drive) -> None:
    """A blank disc has no blocks: BLANK CHECK, or out of range."""
    assert drive.execute(read_10(0), data_in=2048).code in (BLANK_CHECK, asc.LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE)


@disc("dvd-r", "dvd-rw", "dvd+r", "bd-r")
@clause("MMC-6 4.4")
def test_write_fills_up_ecc_blocks(drive: Drive) -> None:
    """SYNCHRONIZE CACHE fills up the last ECC block with zeros: the next address is a multiple of its size."""
    size = 32 if drive.profile >= 0x40 else 16
    drive.written(0, blocks(5))
    drive.good(synchronize_cache())

    assert drive.last_track().next == size
    assert drive.read(read_10(0, size)) == blocks(5) + bytes((size - 5) * 2048)


@disc(*SEQUENTIAL)
@clause("MMC-6 6.3")
def test_finished_disc_refuses(drive: Drive) -> None:
    """A finalised disc takes neither blocks nor reservations, and closing it again is no error."""
    drive.written(0, blocks(32))
    finish(drive)
    assert drive.disc().status == 2

    assert drive.write(32, blocks(32)).code == WRONG_ADDRESS
    assert drive.execute(reserve_track(64)).code is not None
    drive.good(close_track(2))


@disc("cd-r", "dvd-r")
@clause("MMC-6 6.3")
def test_close_an_empty_disc(drive: Drive) -> None:
    """A session without a track cannot be closed."""
    assert drive.execute(close_track(2)).code is not None
    assert drive.disc().status == 0


@disc(*SEQUENTIAL)
@clause("MMC-6 6.3")
def test_close_track_ends_it(drive: Drive) -> None:
    """CLOSE TRACK: the track has no next writable address, and the next one begins behind it."""
    drive.written(0, blocks(32))
    drive.good(synchronize_cache())
    drive.good(close_track(1, 1))
    first, second = drive.track(1), drive.track(0xFF)

    assert (first.next_valid, first.size) == (False, 32)
    assert second.number == 2
    assert second.next >= 32
    drive.written(second.next, blocks(32))


@disc("cd-r", "dvd+r")
@clause("MMC-6 6.3")
def test_close_track_that_is_not_there(drive: Drive) -> None:
    """A track that is not there, and a reserved function, are invalid fields."""
    drive.written(0, blocks(16))
    drive.invalid(close_track(1, 9))
    drive.invalid(close_track(7))


@disc(*SEQUENTIAL)
@clause("MMC-6 4.3")
def test_second_session(drive: Drive) -> None:
    """With MULTI-SESSION 11b a closed session leaves the disc appendable: the next track belongs to session 2."""
    drive.write_parameters(multi=3)
    drive.written(0, blocks(32, 1))
    drive.good(synchronize_cache())
    drive.good(close_track(2))
    assert (drive.disc().status, drive.disc().last_session, drive.disc().sessions) == (1, 0, 2)
    start = drive.track(0xFF).next
    drive.written(start, blocks(32, 2))
    finish(drive)

    assert drive.track(2).session == 2
    assert drive.read(read_10(0, 32)) == blocks(32, 1)
    assert drive.read(read_10(start, 32)) == blocks(32, 2)


@disc("cd-r")
@clause("MMC-6 4.3")
def test_second_session_of_a_cd(drive: Drive) -> None:
    """It begins behind 11400 blocks of lead-out, lead-in and pause; the first lead-in points to it (B0h)."""
    drive.write_parameters(multi=3)
    drive.written(0, blocks(300))
    drive.good(synchronize_cache())
    drive.good(close_track(2))
    data = drive.read(read_toc(2))
    pointer = next(data[at : at + 11] for at in range(4, len(data), 11) if data[at + 3] == 0xB0)

    assert drive.track(0xFF).next == 300 + 11400
    assert pointer[1] >> 4 == 5
    assert lba_of(pointer[4:7]) == 300 + 11400


@disc("cd-r")
@clause("MMC-5 6.26.3")
def test_read_toc_of_two_sessions(drive: Drive) -> None:
    """Format 1 has the first track of the last complete session, format 0 the tracks of all."""
    drive.write_parameters(multi=3)
    drive.written(0, blocks(300))
    drive.good(synchronize_cache())
    drive.good(close_track(2))
    start = drive.track(0xFF).next
    drive.written(start, blocks(300))
    drive.good(synchronize_cache())
    assert drive.read(read_toc(1))[2:4] == bytes((1, 1))
    finish(drive)
    data = drive.read(read_toc(1))

    assert (data[3], data[6], int.from_bytes(data[8:12], "big")) == (2, 2, start)
    assert set(drive.toc()) == {1, 2, 0xAA}


@disc("cd-r", "cd-rw")
@clause("MMC-6 4.3")
def test_track_at_once_pause(drive: Drive) -> None:
    """SYNCHRONIZE CACHE ends a track that is written at once; the next one begins 150 blocks behind."""
    drive.written(0, blocks(300))
    drive.good(synchronize_cache())
    track = drive.track(0xFF)

    assert (track.number, track.next) == (2, 450)
    assert not drive.track(1).next_valid


@disc("cd-r")
@clause("MMC-6 4.3")
def test_track_at_once_audio(drive: Drive) -> None:
    """Track mode 0 with blocks of 2352 bytes makes an audio track, which is read bit-exact."""
    drive.write_parameters(block_type=0, track_mode=0)
    drive.written(0, blocks(40, 7, RAW), RAW)
    drive.written(40, blocks(300, 8, RAW), RAW)
    finish(drive)

    assert drive.toc()[1][0] & 4 == 0
    assert drive.read(read_cd(10, 30), 30 * RAW) == blocks(40, 7, RAW)[10 * RAW :]
    assert drive.execute(read_10(0), data_in=2048).code == asc.ILLEGAL_MODE_FOR_THIS_TRACK


@disc("cd-r")
@clause("MMC-6 4.3")
def test_track_at_once_other_mode_in_the_track(drive: Drive) -> None:
    """The form of a track is that of its first block: another one is ILLEGAL MODE FOR THIS TRACK."""
    drive.written(0, blocks(30))
    drive.write_parameters(block_type=0, track_mode=0)

    assert drive.write(30, blocks(10, 0, RAW), RAW).code == asc.ILLEGAL_MODE_FOR_THIS_TRACK


@disc("cd-r")
@clause("MMC-6 4.3")
def test_track_at_once_form_1(drive: Drive) -> None:
    """Data block type 10 writes sectors of form 1: mode 2 with the subheader of the write parameters."""
    drive.write_parameters(block_type=10)
    drive.written(0, blocks(300))
    finish(drive)
    sector = drive.read(read_cd(5, kind=4, flags=0xF8))

    assert sector[15] == 2
    assert sector[16:20] == sector[20:24]
    assert sector[24:2072] == blocks(6)[-2048:]


@disc("cd-rw", "cd-r")
@clause("MMC-6 4.3")
def test_test_write(drive: Drive) -> None:
    """TEST WRITE takes what a recording would, and nothing is recorded."""
    drive.write_parameters(test=1)
    drive.written(0, blocks(32))
    drive.written(32, blocks(32))
    assert drive.write(0, blocks(1)).code == WRONG_ADDRESS
    drive.good(synchronize_cache())
    drive.write_parameters()

    assert drive.disc().status == 0
    assert drive.track(0xFF).next == 0


@disc("cd-r", "cd-rw")
@clause("MMC-6 4.3")
def test_packets(drive: Drive) -> None:
    """In packet recording SYNCHRONIZE CACHE does not end the track: it goes on, and is told as packet."""
    drive.write_parameters(write_type=0)
    drive.written(0, blocks(32))
    drive.good(synchronize_cache())
    track = drive.track(1)
    assert (track.packet, track.next_valid) == (True, True)
    drive.written(track.next, blocks(32, 1))
    drive.good(synchronize_cache())
    drive.good(close_track(1, 1))

    assert not drive.track(1).next_valid


@disc("cd-rw")
@clause("MMC-6 4.3")
def test_packets_of_fixed_size(drive: Drive) -> None:
    """Fixed packets: READ TRACK INFORMATION has FP and the packet size."""
    drive.write_parameters(write_type=0, fixed=1, packet=32)
    drive.written(0, blocks(32))
    drive.good(synchronize_cache())
    track = drive.track(1)

    assert (track.packet, track.fixed, track.packet_size) == (True, True, 32)


# --- session at once -------------------------------------------------------------------------------------------------

DATA_SHEET = ((0x41, 0, 0, 0x14, -150), (0x41, 1, 0, 0x14, -150), (0x41, 1, 1, 0x10, 0), (0x41, 0xAA, 1, 0x14, 320))


def send(drive: Drive, *lines: tuple[int, int, int, int, int]) -> object:
    """SEND CUE SHEET; its sense code."""
    sheet = cue(*lines)
    return drive.execute(send_cue_sheet(len(sheet)), sheet).code


@disc("cd-r", "cd-rw")
@clause("MMC-5 6.33")
def test_session_at_once(drive: Drive) -> None:
    """When the last block of the cue sheet is there the session is closed by itself."""
    drive.write_parameters(write_type=2)
    assert send(drive, *DATA_SHEET) is None
    for lba in range(0, 320, 32):
        drive.written(lba, blocks(32, lba))
    drive.good(synchronize_cache())

    assert drive.disc().status == 2
    assert drive.toc() == {1: (4, 0), 0xAA: (4, 320)}
    assert drive.read(read_10(64, 32)) == blocks(32, 64)


@disc("cd-r")
@clause("MMC-5 6.33")
def test_session_at_once_needs_its_write_type(drive: Drive) -> None:
    """A cue sheet in track at once is COMMAND SEQUENCE ERROR, and so is a block in session at once without one."""
    assert send(drive, *DATA_SHEET) == asc.COMMAND_SEQUENCE_ERROR
    drive.write_parameters(write_type=2)

    assert drive.write(0, blocks(1)).code == asc.COMMAND_SEQUENCE_ERROR


@disc("cd-r")
@clause("MMC-5 6.33")
def test_session_at_once_order(drive: Drive) -> None:
    """Blocks come in the order of the cue sheet."""
    drive.write_parameters(write_type=2)
    assert send(drive, *DATA_SHEET) is None
    for lba in (-150, 1, 320):
        assert drive.write(lba, blocks(1)).code == WRONG_ADDRESS

    drive.written(0, blocks(32))
    assert drive.write(0, blocks(32)).code == WRONG_ADDRESS


@disc("cd-r")
@clause("MMC-5 6.33")
def test_session_at_once_multi_session(drive: Drive) -> None:
    """With MULTI-SESSION 11b a further session can follow."""
    drive.write_parameters(write_type=2, multi=3)
    assert send(drive, *DATA_SHEET) is None
    for lba in range(0, 320, 32):
        drive.written(lba, blocks(32))
    drive.good(synchronize_cache())

    assert (drive.disc().status, drive.disc().sessions) == (1, 2)


@disc("cd-r")
@clause("MMC-5 6.33")
def test_session_at_once_across_tracks(drive: Drive) -> None:
    """A command may cross from one track into the next while the blocks come in one form."""
    drive.write_parameters(write_type=2)
    assert send(
        drive, (0x01, 0, 0, 0x01, -150), (0x01, 1, 0, 0x01, -150), (0x01, 1, 1, 0, 0), (0x01, 2, 1, 0, 310),
        (0x01, 0xAA, 1, 0x01, 620),
    ) is None
    for lba in range(0, 620, 20):
        drive.written(lba, blocks(20, lba, RAW), RAW)
    drive.good(synchronize_cache())

    assert drive.toc() == {1: (0, 0), 2: (0, 310), 0xAA: (0, 620)}
    assert drive.read(read_cd(305, 10)) == blocks(20, 300, RAW)[5 * RAW : 15 * RAW]


@pytest.mark.parametrize("lines", [
    DATA_SHEET[:3],
    (*DATA_SHEET[:3], (0x41, 2, 1, 0x10, 200), (0x41, 0xAA, 1, 0x14, 100)),
    (*DATA_SHEET[:3], (0x41, 0xAA, 1, 0x14, 400000)),
    (*DATA_SHEET[:2], (0x41, 1, 1, 0x3F, 0), DATA_SHEET[3]),
    (*DATA_SHEET[:2], (0x41, 1, 1, 0x10, 0), (0x41, 3, 1, 0x10, 160), DATA_SHEET[3]),
    (*DATA_SHEET[:2], (0x45, 1, 1, 0x10, 0), DATA_SHEET[3]),
], ids=["no lead-out", "backwards", "too long", "data form", "track number", "ADR"])
@disc("cd-r")
@clause("MMC-5 6.33")
def test_cue_sheet_that_is_wrong(drive: Drive, lines: tuple[tuple[int, int, int, int, int], ...]) -> None:
    """A cue sheet that cannot be is INVALID FIELD IN PARAMETER LIST, and the disc stays blank."""
    drive.write_parameters(write_type=2)

    assert send(drive, *lines) == SHEET
    assert drive.disc().status == 0


@disc("cd-r")
@clause("MMC-5 6.33")
def test_cue_sheet_length(drive: Drive) -> None:
    """A cue sheet whose length is no multiple of eight is refused."""
    drive.write_parameters(write_type=2)

    assert drive.execute(send_cue_sheet(20), cue(*DATA_SHEET)[:20]).code is not None
    assert drive.disc().status == 0


# --- reserved tracks -------------------------------------------------------------------------------------------------


@disc("cd-r", "cd-rw", "dvd-r", "dvd+r", "bd-r")
@clause("MMC-5 6.31")
def test_reserve_track(drive: Drive) -> None:
    """A reserved track has its size and its own next writable address; the invisible one begins behind it."""
    drive.good(reserve_track(320))
    track, behind = drive.track(1), drive.track(0xFF)

    assert (track.reserved, track.blank, track.next_valid, track.next, track.size) == (True, True, True, 0, 320)
    assert (behind.number, behind.reserved) == (2, False)
    assert behind.start >= 320
    drive.written(behind.next, blocks(32, 2))
    drive.written(0, blocks(32, 1))


@disc("cd-r", "dvd+r")
@clause("MMC-5 6.31")
def test_reserve_track_size(drive: Drive) -> None:
    """No room, and more than there is, cannot be reserved."""
    drive.invalid(reserve_track(0))
    drive.invalid(reserve_track(drive.track(0xFF).free + 32))


@disc("cd-r", "dvd+r")
@clause("MMC-5 6.31")
def test_reserve_track_is_full(drive: Drive) -> None:
    """A range that leaves the reserved track is refused."""
    drive.good(reserve_track(320))
    drive.written(0, blocks(304))

    assert drive.write(304, blocks(32)).code is not None
    drive.written(304, blocks(16))


@disc("cd-r")
@clause("MMC-6 6.3")
def test_reserve_track_and_close(drive: Drive) -> None:
    """A session with a reserved track that is not full cannot be closed: EMPTY OR PARTIALLY WRITTEN RESERVED TRACK."""
    drive.good(reserve_track(320))

    drive.refused(close_track(2), asc.EMPTY_OR_PARTIALLY_WRITTEN_RESERVED_TRACK)
    drive.written(0, blocks(320))
    drive.good(synchronize_cache())
    drive.good(close_track(2))
    assert drive.disc().status == 2


@disc("cd-r", "dvd+r")
@clause("MMC-5 6.28")
def test_repair_track(drive: Drive) -> None:
    """A track that is not there cannot be repaired; one that is open needs none."""
    drive.invalid(repair_track(5))
    drive.good(reserve_track(320))

    drive.good(repair_track(1))


# --- around it -------------------------------------------------------------------------------------------------------


@disc(*SEQUENTIAL, *RANDOM)
@clause("MMC-5 6.36")
def test_send_opc(drive: Drive) -> None:
    """DOOPC calibrates; a table beside it, and one of a length that is none, are refused."""
    drive.good(send_opc())
    drive.refused(send_opc(8), asc.INVALID_FIELD_IN_CDB, bytes(8))
    drive.refused(send_opc(7, perform=0), asc.PARAMETER_LIST_LENGTH_ERROR, bytes(7))


@disc("cd-r", "dvd+r")
@clause("MMC-6 6.42")
def test_written_disc_goes_out_and_in(drive: Drive) -> None:
    """What was written is on the disc when the tray has opened and closed, and can be appended to."""
    drive.written(0, blocks(32, 1))
    drive.good(start_stop(loej=1))
    drive.good(start_stop(loej=1, start=1))
    drive.settle()

    assert drive.disc().status == 1
    drive.written(drive.track(0xFF).next, blocks(32, 2))


@disc("cd-rw")
@clause("SPC-5 5.14")
def test_write_reserved_by_another(drive: Drive) -> None:
    """While another nexus holds a reservation blocks, blanking and closing are RESERVATION CONFLICT."""
    other = drive.another()
    key = (5).to_bytes(8, "big")
    other.good(bytes((0x5F, 0, 0, 0, 0, 0, 0, 0, 24, 0)), bytes(8) + key + bytes(8))
    other.good(bytes((0x5F, 1, 3, 0, 0, 0, 0, 0, 24, 0)), key + bytes(16))
    statuses = {drive.write(0, blocks(1)).status, drive.execute(close_track(2)).status,
                drive.execute(struct.pack(">B11x", 0xA1)).status}
    other.good(bytes((0x5F, 3, 0, 0, 0, 0, 0, 0, 24, 0)), key + bytes(16))

    assert statuses == {0x18}

"""RAW recording: the host makes lead-in, sectors, Q and lead-out; sessions behind others, and others behind them."""

from __future__ import annotations

from binascii import crc_hqx

import pytest
from conformance import clause
from mmc_drive import (
    RAW,
    Drive,
    blocks,
    close_track,
    digits,
    disc,
    lba_of,
    msf_of,
    read_cd,
    read_toc,
    read_track_information,
    synchronize_cache,
)

from scsiemu import asc
from scsiemu.sense import SenseCode

PQ = 16                     # bytes of Q behind each sector, data block type 1
AT_ONCE = 900
LEAD_IN, LEAD_OUT = 4500, 6750
LENGTH = 300
RAW_MULTI_SESSION = 0x10    # of feature 002Eh


def raw(drive: Drive) -> None:
    """The write type, with P and Q."""
    if not drive.current(0x002E) or not drive.feature(0x002E).data[0] & 0x08:
        drive.unit.not_supported("RAW recording")
    drive.write_parameters(write_type=3, block_type=1, track_mode=0)


def multi_session(drive: Drive) -> None:
    """As `raw`, where sessions can follow each other."""
    raw(drive)
    if not drive.feature(0x002E).data[0] & RAW_MULTI_SESSION:
        drive.unit.not_supported("RAW multi-session")


def q_of(control: int, adr: int, number: int, point: int, running: bytes, where: bytes) -> bytes:
    """16 bytes of Q: CONTROL and ADR, TNO, POINT or INDEX, three bytes of time, zero, three bytes more, CRC."""
    q = bytes((control << 4 | adr, number, point)) + running + b"\0" + where
    return (q + (crc_hqx(q, 0) ^ 0xFFFF).to_bytes(2, "big")).ljust(PQ, b"\0")


def time(lba: int) -> bytes:
    """Minute, second and frame, as Q has them."""
    return bytes(digits(part) for part in msf_of(lba))


def send(drive: Drive, lba: int, rows: list[tuple[bytes, bytes]]) -> None:
    """Blocks of a sector and its Q, from an address on."""
    for at in range(0, len(rows), AT_ONCE):
        piece = b"".join(sector + q for sector, q in rows[at : at + AT_ONCE])
        drive.written(lba + at, piece, RAW + PQ)


def session(
    drive: Drive, number: int, sound: bytes, *, following: int | None, ends: SenseCode | None = None
) -> int:
    """A session of one track of sound, from the next writable address on; where the track begins.

    `following`: blocks behind the lead-out where B0h says that another session may begin; None: there is no B0h.
    `ends`: the sense code when all of it is there.
    """
    begin = drive.track(0xFF).next
    begin -= (begin >= 1 << 31) << 32
    pause = -150 if begin < 0 else begin + LEAD_IN
    start, end = pause + 150, pause + 150 + LENGTH
    silence = bytes(RAW)
    points = [
        (1, 0xA0, bytes(3), bytes((digits(number), 0, 0))), (1, 0xA1, bytes(3), bytes((digits(number), 0, 0))),
        (1, 0xA2, bytes(3), time(end)), (1, digits(number), bytes(3), time(start)),
    ]
    if following is not None:
        points.append((5, 0xB0, time(end + following), bytes(3)))
    lead_in = [
        (silence, q_of(0, adr, 0, point, running, where))
        for adr, point, running, where in (points[at % len(points)] for at in range(pause - begin))
    ]
    send(drive, begin, lead_in)
    rows = [(silence, q_of(0, 1, digits(number), 0, bytes(3), time(pause + at))) for at in range(150)]
    rows += [
        (sound[at * RAW : (at + 1) * RAW], q_of(0, 1, digits(number), 1, bytes(3), time(start + at)))
        for at in range(LENGTH)
    ]
    rows += [(silence, q_of(0, 1, 0xAA, 1, bytes(3), time(end + at))) for at in range(LEAD_OUT)]
    send(drive, pause, rows)
    assert drive.execute(synchronize_cache()).code == ends
    return start


@disc("cd-r", "cd-rw")
@clause("MMC-5 7.5.4")
def test_raw_begins_with_the_lead_in(drive: Drive) -> None:
    """The next writable address is that of the lead-in, a negative one on a blank disc; another one is refused."""
    raw(drive)
    begin = drive.track(0xFF).next
    lead_in = drive.disc().lead_in

    assert begin > 1 << 31
    assert begin - (1 << 32) == (lead_in[1] * 60 + lead_in[2]) * 75 + lead_in[3] - 450150
    assert drive.write(0, bytes(RAW + PQ), RAW + PQ).code == asc.INVALID_ADDRESS_FOR_WRITE


@pytest.mark.parametrize("block_type", [0, 8, 10])
@disc("cd-r")
@clause("MMC-5 7.5.4")
def test_raw_needs_q(drive: Drive, block_type: int) -> None:
    """Block types without Q, which the host has to make, are refused in RAW."""
    page = bytearray(drive.page(0x05))
    page[2] = page[2] & 0xF0 | 3
    page[4] = page[4] & 0xF0 | block_type

    assert drive.select(bytes(page)).code == asc.INVALID_FIELD_IN_PARAMETER_LIST


@disc("cd-r")
@clause("MMC-5 7.5.4")
def test_raw_session_is_final(drive: Drive) -> None:
    """Without a pointer to a further session in its lead-in the disc is final; the sound is as it came."""
    raw(drive)
    sound = blocks(LENGTH, 1, RAW)
    assert session(drive, 1, sound, following=None) == 0

    assert drive.disc().status == 2
    assert drive.toc() == {1: (0, 0), 0xAA: (0, LENGTH)}
    assert drive.read(read_cd(100, 20)) == sound[100 * RAW : 120 * RAW]


@disc("cd-r")
@clause("MMC-5 7.5.4")
def test_raw_session_with_a_pointer(drive: Drive) -> None:
    """With B0h the disc stays appendable: the next session begins behind lead-out, lead-in and pause."""
    multi_session(drive)
    session(drive, 1, blocks(LENGTH, 1, RAW), following=11400)
    drive.write_parameters()

    assert (drive.disc().status, drive.disc().sessions) == (1, 2)
    assert drive.track(0xFF).next == LENGTH + 11400


@disc("cd-r")
@clause("MMC-5 7.5.4")
def test_raw_session_behind_a_raw_one(drive: Drive) -> None:
    """A second RAW session begins with its lead-in behind the first one's lead-out; both are there."""
    multi_session(drive)
    session(drive, 1, blocks(LENGTH, 1, RAW), following=11400)
    assert drive.track(0xFF).next == LENGTH + LEAD_OUT
    assert lba_of(drive.disc().lead_in[1:]) == LENGTH + LEAD_OUT
    assert drive.read(read_track_information(1, 0))[8:12] == (LENGTH + LEAD_OUT).to_bytes(4, "big")
    start = session(drive, 2, blocks(LENGTH, 2, RAW), following=None)

    assert start == LENGTH + 11400
    assert (drive.disc().status, drive.disc().sessions) == (2, 2)
    assert drive.track(2).session == 2
    assert drive.read(read_toc(1))[3] == 2
    for number, lba in ((1, 0), (2, start)):
        assert drive.read(read_cd(lba + 50, 20)) == blocks(LENGTH, number, RAW)[50 * RAW : 70 * RAW]


@disc("cd-rw")
@clause("MMC-5 7.5.4")
def test_raw_session_behind_a_track_at_once(drive: Drive) -> None:
    """RAW follows what was recorded otherwise, and the other way round."""
    drive.write_parameters(multi=3)
    drive.written(0, blocks(300, 1))
    drive.good(synchronize_cache())
    drive.good(close_track(2))
    multi_session(drive)
    second = session(drive, 2, blocks(LENGTH, 2, RAW), following=6900)
    drive.write_parameters()
    third = drive.track(0xFF).next
    assert third == second + LENGTH + 6900
    drive.written(third, blocks(300, 3))
    drive.good(synchronize_cache())
    drive.good(close_track(2))

    assert drive.toc() == {1: (4, 0), 2: (0, second), 3: (4, third), 0xAA: (4, third + 300)}


@disc("cd-r")
@clause("MMC-5 7.5.4")
def test_raw_in_a_session_that_has_a_track(drive: Drive) -> None:
    """A session that was begun otherwise cannot be gone on with in RAW."""
    drive.written(0, blocks(300))
    drive.good(synchronize_cache())
    raw(drive)

    assert drive.write(drive.track(0xFF).next, bytes(RAW + PQ), RAW + PQ).code == asc.COMMAND_SEQUENCE_ERROR


@disc("cd-r")
@clause("MMC-5 7.5.4")
def test_raw_session_with_a_track_number_of_its_own(drive: Drive) -> None:
    """Tracks go on counting: a lead-in that begins with another number cannot be recorded, and nothing is."""
    multi_session(drive)
    session(drive, 1, blocks(LENGTH, 1, RAW), following=11400)
    session(
        drive, 1, blocks(LENGTH, 2, RAW), following=None, ends=asc.SESSION_FIXATION_ERROR_WRITING_LEAD_IN
    )

    assert (drive.disc().status, drive.disc().sessions) == (1, 2)

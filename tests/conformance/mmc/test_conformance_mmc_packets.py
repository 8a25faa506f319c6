"""Packet and incremental recording: variable and fixed packets of CDs, what links them, linking loss of DVD-R."""

from __future__ import annotations

import pytest
from conformance import clause
from mmc_drive import (
    Drive,
    blank,
    blocks,
    close_track,
    disc,
    edc_is_right,
    lba_of,
    q_is_right,
    q_of,
    read_10,
    read_cd,
    read_toc,
    reserve_track,
    start_stop,
    synchronize_cache,
)

from scsiemu import asc

WRONG_ADDRESS = asc.INVALID_ADDRESS_FOR_WRITE
LINK = 7                    # two of run-out, the link block, four of run-in


def variable(drive: Drive) -> None:
    """Variable packets, a further session may follow."""
    drive.write_parameters(write_type=0, multi=3)


def packet(drive: Drive, count: int, seed: int) -> int:
    """A packet of variable size; where it is."""
    lba = drive.track(0xFF).next
    drive.written(lba, blocks(count, seed))
    drive.good(synchronize_cache())
    return lba


@disc("cd-r", "cd-rw")
@clause("MMC-6 4.2")
def test_variable_packet_link(drive: Drive) -> None:
    """SYNCHRONIZE CACHE ends a packet; the next one begins behind seven blocks of run-out, link and run-in."""
    variable(drive)
    assert packet(drive, 20, 1) == 0
    track = drive.track(1)
    assert (track.packet, track.fixed, track.packet_size, track.next_valid) == (True, False, 0, True)
    assert track.next == 20 + LINK
    assert drive.write(20, blocks(1)).code == WRONG_ADDRESS

    assert packet(drive, 5, 2) == 27
    assert drive.track(1).next == 32 + LINK
    assert drive.track(1).free == track.free - 5 - LINK


@disc("cd-r", "cd-rw")
@clause("MMC-6 4.2")
def test_variable_packet_of_several_commands(drive: Drive) -> None:
    """Until the cache is synchronised WRITE commands make one packet; with nothing new no link follows."""
    variable(drive)
    drive.written(0, blocks(20, 1))
    drive.written(20, blocks(12, 2))
    assert drive.track(1).next == 32
    drive.good(synchronize_cache())
    drive.good(synchronize_cache())

    assert drive.track(1).next == 32 + LINK


def linked(drive: Drive) -> None:
    """Three packets of 20 blocks, their session closed: links at 20 and 47."""
    variable(drive)
    for seed in (1, 2, 3):
        packet(drive, 20, seed)
    drive.good(close_track(1, 1))
    drive.good(close_track(2))


@disc("cd-r")
@clause("MMC-6 6.14")
def test_read_packets(drive: Drive) -> None:
    """Packets are read as they were written; the track ends with the last one."""
    linked(drive)

    assert drive.track(1).size == 74
    assert drive.capacity() == 74
    for seed, lba in ((1, 0), (2, 27), (3, 54)):
        assert drive.read(read_10(lba, 20), 20 * 2048) == blocks(20, seed)


@disc("cd-r")
@clause("MMC-6 6.14")
def test_read_link_blocks(drive: Drive) -> None:
    """Between packets there is no user data: ILLEGAL MODE FOR THIS TRACK, for a range that reaches into it, too."""
    linked(drive)
    for lba in range(20, 27):
        drive.refused(read_10(lba), asc.ILLEGAL_MODE_FOR_THIS_TRACK)

    drive.refused(read_10(19, 2), asc.ILLEGAL_MODE_FOR_THIS_TRACK)
    drive.refused(read_10(50, 10), asc.ILLEGAL_MODE_FOR_THIS_TRACK)


@disc("cd-r")
@clause("MMC-6 6.19")
def test_read_cd_of_run_in_and_run_out(drive: Drive) -> None:
    """READ CD has them with the block indicator in the mode byte: 111b 110b, behind the link block 100b to 001b."""
    linked(drive)
    found = []
    for lba in (20, 21, 23, 24, 25, 26):
        sector = drive.read(read_cd(lba, flags=0xF8))
        assert lba_of(tuple(int(f"{byte:x}") for byte in sector[12:15])) == lba
        assert edc_is_right(sector[:2068])
        assert sector[16:2064] == bytes(2048)
        found.append(sector[15])

    assert found == [indicator << 5 | 1 for indicator in (7, 6, 4, 3, 2, 1)]
    assert drive.read(read_cd(27, flags=0xF8))[15] == 1


@disc("cd-r")
@clause("MMC-6 6.19")
def test_read_cd_of_a_link_block(drive: Drive) -> None:
    """The link block itself cannot be read."""
    linked(drive)

    assert drive.execute(read_cd(22), data_in=2048).code == asc.L_EC_UNCORRECTABLE_ERROR


@disc("cd-r")
@clause("MMC-6 6.3")
def test_next_track_behind_packets(drive: Drive) -> None:
    """CLOSE TRACK ends a track of packets with its last block; the next one has its pause of 150 blocks."""
    variable(drive)
    packet(drive, 320, 1)
    drive.good(close_track(1, 1))

    assert drive.track(1).size == 320
    assert packet(drive, 320, 2) == 320 + 150


@disc("cd-r")
@clause("MMC-6 4.2")
def test_packets_go_out_and_in(drive: Drive) -> None:
    """A disc that goes out and in goes on with a packet at the same address, in the same track."""
    variable(drive)
    packet(drive, 20, 1)
    drive.written(27, blocks(3, 2))
    drive.good(start_stop(loej=1))
    drive.good(start_stop(loej=1, start=1))
    drive.settle()
    variable(drive)

    assert drive.track(1).next == 30 + LINK
    assert packet(drive, 10, 3) == 37
    assert drive.disc().last_in_last == 1


@disc("cd-r", "cd-rw")
@clause("MMC-5 6.31")
def test_packets_in_a_reserved_track(drive: Drive) -> None:
    """A reserved track has packets as well; it is full when there is no room behind the link."""
    variable(drive)
    drive.good(reserve_track(320))
    drive.written(0, blocks(100, 1))
    drive.good(synchronize_cache())
    drive.refused(close_track(1, 1), asc.EMPTY_OR_PARTIALLY_WRITTEN_RESERVED_TRACK)
    assert drive.write(107, blocks(214)).code == asc.PACKET_DOES_NOT_FIT_IN_AVAILABLE_SPACE
    drive.written(107, blocks(210, 2))
    drive.good(synchronize_cache())
    drive.good(close_track(1, 1))

    assert drive.track(1).size == 317


@disc("cd-rw", "cd-r")
@clause("MMC-6 4.2")
def test_test_write_of_packets(drive: Drive) -> None:
    """TEST WRITE of packets takes addresses as real ones are, and leaves nothing."""
    drive.write_parameters(write_type=0, test=1)
    drive.written(0, blocks(20))
    drive.good(synchronize_cache())
    drive.written(27, blocks(20))
    drive.write_parameters()

    assert drive.disc().status == 0


@disc("cd-r")
@clause("MMC-6 6.3")
def test_sessions_of_packets(drive: Drive) -> None:
    """A session of packets is closed, and one at once follows; the other way round, too."""
    linked(drive)
    start = drive.track(0xFF).next
    assert start == 74 + 11400
    drive.write_parameters(multi=3)
    drive.written(start, blocks(300, 4))
    drive.good(synchronize_cache())
    drive.good(close_track(2))
    variable(drive)
    third = packet(drive, 30, 5)
    drive.good(close_track(1, 3))
    drive.good(close_track(2))

    assert third == start + 300 + 6900
    assert drive.read(read_10(third, 30), 30 * 2048) == blocks(30, 5)
    assert drive.read(read_10(27, 20), 20 * 2048) == blocks(20, 2)


# --- fixed packets ---------------------------------------------------------------------------------------------------


def fixed(drive: Drive, size: int = 32) -> None:
    """Packets of a fixed size."""
    drive.write_parameters(write_type=0, fixed=1, packet=size, multi=3)


@disc("cd-r", "cd-rw")
@clause("MMC-6 4.2")
def test_fixed_packets_are_addressed_without_links(drive: Drive) -> None:
    """Link blocks of fixed packets have no address: the next writable address is that behind the last packet."""
    fixed(drive)
    whole = drive.track(0xFF).free
    drive.written(0, blocks(64, 1))
    drive.good(synchronize_cache())
    track = drive.track(1)

    assert (track.packet, track.fixed, track.packet_size, track.next) == (True, True, 32, 64)
    assert track.size == whole // 39 * 32
    drive.written(64, blocks(32, 2))


@disc("cd-r", "cd-rw")
@clause("MMC-6 4.2")
def test_fixed_packets_are_filled_up(drive: Drive) -> None:
    """SYNCHRONIZE CACHE fills up a packet that is not whole with zeros."""
    fixed(drive)
    drive.written(0, blocks(40, 1))
    drive.good(synchronize_cache())
    assert drive.track(1).next == 64
    drive.good(close_track(1, 1))
    drive.good(close_track(2))

    assert drive.capacity() == 64
    assert drive.read(read_10(32, 32)) == blocks(40, 1)[32 * 2048 :] + bytes(24 * 2048)


@disc("cd-r")
@clause("MMC-6 4.2")
def test_time_of_fixed_packets(drive: Drive) -> None:
    """On the disc the links are there: headers and Q have the time, and the lead-out is behind them all."""
    fixed(drive)
    drive.written(0, blocks(96, 1))
    drive.good(synchronize_cache())
    drive.good(close_track(1, 1))
    drive.good(close_track(2))
    sector = drive.read(read_cd(70, flags=0xF8, channels=1))
    q = q_of(sector[2352:])

    assert lba_of(tuple(int(f"{byte:x}") for byte in sector[12:15])) == 70 + 2 * LINK
    assert q_is_right(q)
    assert lba_of(tuple(int(f"{byte:x}") for byte in q[7:10])) == 70 + 2 * LINK
    assert drive.toc()[0xAA][1] == 96 + 2 * LINK
    assert drive.track(0xFF).next == 96 + 2 * LINK + 11400
    assert drive.read(read_toc(3))[4 + 4 : 4 + 7] == bytes((0, 3, 35))      # PMA: where the track stops


@disc("cd-rw")
@clause("MMC-5 7.5.4")
def test_fixed_packets_need_a_size(drive: Drive) -> None:
    """FP without a packet size records nothing on a CD."""
    drive.write_parameters(write_type=0, fixed=1)

    assert drive.write(0, blocks(32)).code == asc.INVALID_PACKET_SIZE
    assert drive.disc().status == 0


@pytest.mark.parametrize("size", [0, 32])
@disc("cd-rw")
@clause("MMC-6 6.2")
def test_blank_tail_of_packets(drive: Drive, size: int) -> None:
    """Type 100b erases from where a packet begins; elsewhere the address is invalid."""
    fixed(drive, 32) if size else variable(drive)
    second = 32 if size else 32 + LINK
    for seed in (1, 2):
        drive.written(drive.track(0xFF).next, blocks(32, seed))
        drive.good(synchronize_cache())
    drive.invalid(blank(4, second + 1))
    drive.good(blank(4, second))
    drive.settle()
    assert drive.track(1).next == second
    drive.written(second, blocks(32, 3))
    drive.good(synchronize_cache())
    drive.good(close_track(1, 1))
    drive.good(close_track(2))

    assert drive.read(read_10(second, 32)) == blocks(32, 3)
    assert drive.read(read_10(0, 32)) == blocks(32, 1)


# --- DVD -------------------------------------------------------------------------------------------------------------


def incremental(drive: Drive, *, protected: int) -> None:
    """Incremental recording; `protected`: BUFE."""
    page = bytearray(drive.page(0x05))
    page[2] = protected << 6 | 0x20
    page[3] = 3 << 6 | 0x20 | 5
    page[5] = 16
    page[10:14] = (16).to_bytes(4, "big")
    answer = drive.select(bytes(page))
    assert answer.good, answer


@disc("dvd-r", "dvd-rw")
@clause("MMC-5 7.5.4")
def test_incremental_linking_loss(drive: Drive) -> None:
    """Without buffer underrun protection an ECC block is lost where recording stopped: the next address leaps."""
    incremental(drive, protected=0)
    drive.written(0, blocks(32, 1))
    drive.good(synchronize_cache())
    assert drive.track(1).next == 48
    assert drive.write(32, blocks(16)).code == WRONG_ADDRESS
    drive.written(48, blocks(16, 2))
    drive.good(synchronize_cache())
    drive.good(close_track(1, 1))

    assert drive.track(1).size == 64
    assert drive.read(read_10(16, 48), 48 * 2048) == blocks(32, 1)[16 * 2048 :] + bytes(16 * 2048) + blocks(16, 2)


@disc("dvd-r", "dvd-rw")
@clause("MMC-5 7.5.4")
def test_incremental_lossless_link(drive: Drive) -> None:
    """With BUFE linking loses nothing."""
    incremental(drive, protected=1)
    drive.written(0, blocks(32, 1))
    drive.good(synchronize_cache())

    assert drive.track(1).next == 32


@disc("dvd-r")
@clause("MMC-5 7.5.4")
def test_link_size_that_is_not_there(drive: Drive) -> None:
    """LS_V with a link size that feature 0021h does not have is refused."""
    sizes = drive.feature(0x0021).data[4:]
    page = bytearray(drive.page(0x05))
    page[2] = 0x20
    page[5] = next(size for size in (3, 4, 5) if size not in sizes)

    assert drive.select(bytes(page)).code == asc.INVALID_FIELD_IN_PARAMETER_LIST

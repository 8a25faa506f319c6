"""Recording on media that are written anywhere: overwriting, restricted overwrite, BD-R RRM, write protection."""

from __future__ import annotations

from conformance import clause
from mmc_drive import (
    Drive,
    blocks,
    close_track,
    disc,
    read_10,
    send_disc_structure,
    write_10,
    write_12,
    write_and_verify,
)

from scsiemu import asc

RANDOM = ("dvd+rw", "dvd-ram", "bd-re")


def formatted(drive: Drive) -> Drive:
    """Formatted without more spare areas than need be."""
    number = 0x26 if drive.profile == 0x1A else 0
    answer = drive.format(number, drive.formats()[number])
    assert answer.good, answer
    drive.settle()
    return drive


@disc(*RANDOM)
@clause("MMC-5 6.44")
def test_overwrite(drive: Drive) -> None:
    """Blocks are written anywhere, of any number, and again."""
    formatted(drive)
    drive.written(1000, blocks(7, 1))
    drive.written(1003, blocks(2, 2))
    drive.written(0, blocks(1, 3))

    expected = blocks(7, 1)[: 3 * 2048] + blocks(2, 2) + blocks(7, 1)[5 * 2048 :]
    assert drive.read(read_10(1000, 7)) == expected
    assert drive.read(read_10(0)) == blocks(1, 3)


@disc(*RANDOM)
@clause("MMC-5 6.44")
def test_overwrite_past_the_end(drive: Drive) -> None:
    """The last block can be written, and nothing behind it."""
    end = formatted(drive).capacity()
    drive.written(end - 1, blocks(1))

    drive.refused(write_10(end - 1, 2), asc.LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE, blocks(2))
    drive.refused(write_10(end, 1), asc.LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE, blocks(1))


@disc(*RANDOM)
@clause("MMC-5 6.46")
def test_write_and_verify(drive: Drive) -> None:
    """WRITE AND VERIFY writes, and reads it again."""
    formatted(drive)
    drive.good(write_and_verify(64, 16), blocks(16, 5))

    assert drive.read(read_10(64, 16)) == blocks(16, 5)


@disc(*RANDOM)
@clause("MMC-5 6.44")
def test_overwrite_force_unit_access(drive: Drive) -> None:
    """FUA is taken; in streaming it is an invalid field."""
    formatted(drive)
    drive.good(write_10(16, 16, fua=1), blocks(16, 6))

    assert drive.read(read_10(16, 16)) == blocks(16, 6)
    drive.refused(write_12(16, 16, fua=1, streaming=1), asc.INVALID_FIELD_IN_CDB, blocks(16))


@disc("dvd-rw")
@clause("MMC-6 4.4")
def test_restricted_overwrite(drive: Drive) -> None:
    """Restricted overwrite takes whole ECC blocks: anything else is INVALID PACKET SIZE."""
    assert drive.format(0x10, drive.formats()[0x10], parameter=16).good
    drive.settle()
    drive.written(32, blocks(16, 1))
    drive.written(32, blocks(32, 2))

    assert drive.write(8, blocks(16)).code == asc.INVALID_PACKET_SIZE
    assert drive.write(16, blocks(8)).code == asc.INVALID_PACKET_SIZE
    assert drive.read(read_10(32, 32)) == blocks(32, 2)


@disc("bd-r")
@clause("MMC-6 4.5")
def test_random_recording_once(drive: Drive) -> None:
    """A BD-R that is formatted for random recording is profile 42h: each cluster is written once, in any order."""
    assert drive.format(0x32, drive.formats()[0x32], subtype=1).good
    drive.settle()
    assert drive.profile == 0x42
    drive.written(320, blocks(32, 1))
    drive.written(0, blocks(32, 2))

    assert drive.write(320, blocks(32)).code == asc.INVALID_ADDRESS_FOR_WRITE
    assert drive.read(read_10(320, 32)) == blocks(32, 1)


@disc("dvd+rw")
@clause("MMC-6 6.3")
def test_close_of_random_media(drive: Drive) -> None:
    """Closing a DVD+RW ends nothing: it is written afterwards, too."""
    formatted(drive).written(0, blocks(16))
    drive.good(close_track(2))

    drive.written(0, blocks(16, 1))


@disc("dvd+rw")
@clause("MMC-5 6.34")
def test_persistent_write_protection(drive: Drive) -> None:
    """SEND DISC STRUCTURE C0h protects the disc: PERSISTENT WRITE PROTECT, until it is taken off again."""
    formatted(drive)
    drive.good(send_disc_structure(0xC0, 8), bytes((0, 6, 0, 0, 4, 0, 0, 0)))
    code = drive.write(0, blocks(16)).code
    drive.good(send_disc_structure(0xC0, 8), bytes((0, 6, 0, 0, 0, 0, 0, 0)))

    assert code == asc.PERSISTENT_WRITE_PROTECT
    drive.written(0, blocks(16))

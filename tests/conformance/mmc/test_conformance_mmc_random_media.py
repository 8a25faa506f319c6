"""Recording on media that are written anywhere: overwriting, restricted overwrite, BD-R RRM, write protection."""

from __future__ import annotations

import struct
from itertools import pairwise

from conformance import clause
from mmc_drive import (
    Drive,
    blocks,
    close_track,
    disc,
    get_performance,
    read_10,
    read_disc_structure,
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
    assert drive.format(0x32, drive.formats()[0x32], subtype=2).good
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


@disc("dvd+rw", "dvd-ram", "bd-re")
@clause("MMC-5 6.34")
def test_persistent_write_protection(drive: Drive) -> None:
    """PWP of SEND DISC STRUCTURE C0h protects the disc: PERSISTENT WRITE PROTECT, until it is taken off again."""
    formatted(drive)
    protected = bytes((0, 6, 0, 0, 2, 0, 0, 0))
    drive.good(send_disc_structure(0xC0, 8), protected)
    assert drive.read(read_disc_structure(0xC0, media=drive.profile >= 0x40)) == protected
    code = drive.write(0, blocks(32)).code
    drive.good(send_disc_structure(0xC0, 8), bytes((0, 6, 0, 0, 0, 0, 0, 0)))

    assert code == asc.PERSISTENT_WRITE_PROTECT
    drive.written(0, blocks(32))


# --- defect management ------------------------------------------------------------------------------------------------


@disc("dvd-ram", "bd-re")
@clause("MMC-6 6.7")
def test_defect_status(drive: Drive) -> None:
    """Type 2 has descriptors of 2048 bytes: first and last address, blocks for a bit. They follow each other from the
    starting address to the last block; of one maximum the length is that of all."""
    formatted(drive)
    last = drive.capacity() - 1
    for lba in (0, 4096):
        data = drive.read(get_performance(2, lba=lba))
        rows = [struct.unpack_from(">IIBB", data, at) for at in range(8, len(data), 2048)]

        assert int.from_bytes(data[:4], "big") == len(data) - 4
        assert (rows[0][0], rows[-1][1]) == (lba, last)
        assert all(before[1] + 1 == after[0] for before, after in pairwise(rows))
        assert {row[2] for row in rows} == {16 if drive.profile == 0x12 else 32}
        assert drive.read(get_performance(2, lba=lba, count=1))[: 8 + 2048] == data[: 8 + 2048]


@disc("dvd-ram", "bd-re")
@clause("MMC-6 6.7")
def test_defect_lists(drive: Drive) -> None:
    """Type 1 has data types 0 to 2: zones, primary and secondary defect list, rows of an address and a count of blocks.
    3 is an invalid field."""
    formatted(drive)
    for data_type in (0, 1, 2):
        data = drive.read(get_performance(1, data_type))
        rows = list(struct.iter_unpack(">II", data[8:]))

        assert int.from_bytes(data[:4], "big") >= 4 + 8 * len(rows)
        assert all(lba + count <= drive.capacity() and count for lba, count in rows)
    drive.invalid(get_performance(1, 3))


@disc("dvd-ram", "bd-re")
@clause("MMC-6 6.22.3")
def test_spare_area(drive: Drive) -> None:
    """Format 0Ah: no more spare blocks are unused than there are, whole clusters."""
    formatted(drive)
    media = int(drive.profile == 0x43)
    data = drive.read(read_disc_structure(0x0A, media=media))
    first, unused, whole = struct.unpack(">III", data[4:16])

    assert int.from_bytes(data[:2], "big") == 14
    assert unused <= whole
    assert {count % (32 if media else 16) for count in (first, unused, whole)} == {0}
    assert whole or first

"""Two layers: the capacity of layer 0, the middle area, layer jumps, and when it is too late to set them."""

from __future__ import annotations

import struct

import pytest
from conformance import clause
from mmc_drive import (
    BLANK_CHECK,
    Drive,
    blocks,
    close_track,
    disc,
    read_10,
    read_disc_structure,
    read_track_information,
    send_disc_structure,
    start_stop,
    synchronize_cache,
)

from scsiemu import asc

LIST = asc.INVALID_FIELD_IN_PARAMETER_LIST
BOUNDARY, MIDDLE, INTERVAL, MANUAL, REMAPPING = 0x20, 0x21, 0x22, 0x23, 0x24
LAYER_JUMP = 4              # WRITE TYPE


def send(drive: Drive, form: int, address: int) -> object:
    """SEND DISC STRUCTURE of a format with an address; its sense code."""
    return drive.execute(send_disc_structure(form, 12), struct.pack(">HxxII", 10, 0, address)).code


def settled(drive: Drive, form: int) -> tuple[bool, int]:
    """READ DISC STRUCTURE of a format: whether it can be set no more, and what it says."""
    data = drive.read(read_disc_structure(form))
    assert data[:4] == bytes((0, 10, 0, 0))
    return bool(data[4] & 0x80), int.from_bytes(data[8:12], "big")


@pytest.mark.parametrize(("drive", "form"), [("dvd+r-dl", BOUNDARY), ("dvd-r-dl", MIDDLE)], indirect=["drive"])
@clause("MMC-5 6.34")
def test_layer_0_is_made_smaller(drive: Drive, form: int) -> None:
    """Of a blank disc the capacity of layer 0 is set once: the disc has twice as much, and what was set is told."""
    whole = drive.track(1).size
    assert settled(drive, form) == (False, whole // 2)
    assert send(drive, form, 1600) is None

    assert settled(drive, form) == (True, 1600)
    assert (drive.track(1).size, drive.track(1).free) == (3200, 3200)
    assert send(drive, form, 800) == asc.COMMAND_SEQUENCE_ERROR
    physical = drive.read(read_disc_structure(0))
    assert int.from_bytes(physical[16:20], "big") == 0x30000 + 1599


@pytest.mark.parametrize(("drive", "form"), [("dvd+r-dl", BOUNDARY), ("dvd-r-dl", MIDDLE)], indirect=["drive"])
@clause("MMC-5 6.34")
def test_layer_0_is_rounded_up(drive: Drive, form: int) -> None:
    """What is no multiple of an ECC block becomes the next one."""
    assert send(drive, form, 1601) is None

    assert settled(drive, form)[1] == 1616


@pytest.mark.parametrize(("drive", "form"), [("dvd+r-dl", BOUNDARY), ("dvd-r-dl", MIDDLE)], indirect=["drive"])
@clause("MMC-5 6.34")
def test_layer_0_that_cannot_be(drive: Drive, form: int) -> None:
    """More than there is, and nothing at all, are invalid fields; a list that is too short has the wrong length."""
    half = drive.track(1).size // 2

    assert send(drive, form, half + 1) == LIST
    assert send(drive, form, 0) == LIST
    assert drive.execute(send_disc_structure(form, 8), bytes(8)).code == asc.PARAMETER_LIST_LENGTH_ERROR
    assert settled(drive, form) == (False, half)


@pytest.mark.parametrize(("drive", "form"), [
    ("dvd+r-dl", BOUNDARY), ("dvd-r-dl", MIDDLE), ("dvd-r-dl", INTERVAL),
], indirect=["drive"])
@clause("MMC-5 6.34")
def test_layers_of_a_recorded_disc(drive: Drive, form: int) -> None:
    """When something is recorded it is too late: COMMAND SEQUENCE ERROR."""
    drive.written(0, blocks(16))
    drive.good(synchronize_cache())

    assert send(drive, form, 1600) == asc.COMMAND_SEQUENCE_ERROR
    if form != INTERVAL:
        assert settled(drive, form)[0]


@pytest.mark.parametrize(("drive", "form"), [("dvd+r-dl", BOUNDARY), ("dvd-r-dl", MIDDLE)], indirect=["drive"])
@clause("MMC-5 6.44")
def test_record_on_both_layers(drive: Drive, form: int) -> None:
    """With a small layer 0 the disc is full when twice as much is recorded."""
    assert send(drive, form, 64) is None
    drive.written(0, blocks(96, 1))
    drive.good(synchronize_cache())
    assert drive.track(1).free == 32
    assert drive.write(96, blocks(48)).code is not None
    drive.written(96, blocks(32, 2))
    drive.good(synchronize_cache())

    assert drive.track(1).free == 0
    assert drive.read(read_10(80, 48), 48 * 2048) == blocks(96, 1)[80 * 2048 :] + blocks(32, 2)


@disc("dvd-r-dl")
@clause("MMC-5 6.34")
def test_jump_interval(drive: Drive) -> None:
    """22h: a layer jump block has so many blocks on each layer; track information has the next jump."""
    drive.write_parameters(write_type=LAYER_JUMP)
    assert send(drive, INTERVAL, 32) is None
    assert settled(drive, INTERVAL)[1] == 32
    drive.written(0, blocks(32, 1))
    middle = settled(drive, MIDDLE)[1]

    assert drive.track(1).next == 2 * middle - 32
    drive.written(2 * middle - 32, blocks(32, 2))
    assert drive.track(1).next == 32
    data = drive.read(read_track_information(1, 1))
    assert data[5] >> 6 == 2
    assert int.from_bytes(data[44:48], "big") == 32


@disc("dvd-r-dl")
@clause("MMC-5 6.34")
def test_manual_layer_jump(drive: Drive) -> None:
    """23h: the address of the last block before the jump; it can be set while the disc is recorded."""
    drive.write_parameters(write_type=LAYER_JUMP)
    drive.written(0, blocks(16, 1))
    assert send(drive, MANUAL, 47) is None
    drive.written(16, blocks(32, 2))
    middle = settled(drive, MIDDLE)[1]

    assert settled(drive, MANUAL)[1] == 47
    assert drive.track(1).next == 2 * middle - 48
    assert send(drive, MANUAL, 47) == asc.COMMAND_SEQUENCE_ERROR        # it goes on on layer 1


@disc("dvd-r-dl")
@clause("MMC-5 6.34")
def test_manual_layer_jump_that_cannot_be(drive: Drive) -> None:
    """An address that is recorded, or not on layer 0, is an invalid field."""
    drive.write_parameters(write_type=LAYER_JUMP)
    drive.written(0, blocks(32, 1))

    assert send(drive, MANUAL, 15) == LIST
    assert send(drive, MANUAL, settled(drive, MIDDLE)[1]) == LIST


@disc("dvd-r-dl")
@clause("MMC-5 6.34")
def test_layer_jump_with_a_small_layer_0(drive: Drive) -> None:
    """Layer jumps go to the opposite address of the layers as they were set."""
    assert send(drive, MIDDLE, 128) is None
    drive.write_parameters(write_type=LAYER_JUMP)
    assert send(drive, INTERVAL, 32) is None
    for lba, seed in ((0, 1), (224, 2), (32, 3), (192, 4), (64, 5)):
        drive.written(lba, blocks(32, seed))
    drive.good(close_track(2))
    drive.settle()

    for lba, seed in ((0, 1), (224, 2), (32, 3), (192, 4), (64, 5)):
        assert drive.read(read_10(lba, 32)) == blocks(32, seed)
    assert drive.execute(read_10(128), data_in=2048).code == BLANK_CHECK
    assert send(drive, MANUAL, 0) == asc.COMMAND_SEQUENCE_ERROR


@disc("dvd-r-dl")
@clause("MMC-5 6.44")
def test_first_write_past_the_jump(drive: Drive) -> None:
    """The first blocks of a disc do not cross the jump address either."""
    drive.write_parameters(write_type=LAYER_JUMP)
    assert send(drive, INTERVAL, 32) is None

    assert drive.write(0, blocks(48)).code == asc.INVALID_ADDRESS_FOR_WRITE
    drive.written(0, blocks(32))


@disc("dvd-r-dl")
@clause("MMC-5 6.3.3.2.3")
def test_close_before_the_other_layer(drive: Drive) -> None:
    """A session that is closed where layer 1 comes next has what is on layer 0, also after the disc was out."""
    drive.write_parameters(write_type=LAYER_JUMP)
    assert send(drive, INTERVAL, 32) is None
    drive.written(0, blocks(32, 7))
    drive.good(close_track(2))
    drive.settle()
    drive.good(start_stop(loej=1))
    drive.good(start_stop(loej=1, start=1))
    drive.settle()

    assert (drive.disc().status, drive.capacity()) == (2, 32)
    assert drive.read(read_10(0, 32)) == blocks(32, 7)


@disc("dvd-r-dl")
@clause("MMC-5 7.5.4")
def test_test_write_of_layer_jumps(drive: Drive) -> None:
    """TEST WRITE leaves no jump: the disc is blank, and a recording jumps as the first one does."""
    drive.write_parameters(write_type=LAYER_JUMP, test=1)
    assert send(drive, INTERVAL, 32) is None
    drive.written(0, blocks(32, 1))
    drive.written(drive.track(1).next, blocks(32, 2))
    drive.write_parameters()

    assert (drive.profile, drive.disc().status, drive.track(1).next) == (0x15, 0, 0)
    done, middle = settled(drive, MIDDLE)
    assert not done
    drive.write_parameters(write_type=LAYER_JUMP)
    drive.written(0, blocks(32, 3))
    assert drive.track(1).next == 2 * middle - 32


@pytest.mark.parametrize(("drive", "forms"), [
    ("dvd+r-dl", (MIDDLE, INTERVAL, MANUAL, REMAPPING)), ("dvd-r-dl", (BOUNDARY, REMAPPING)),
    ("dvd+r", (BOUNDARY, MIDDLE)), ("dvd-r", (MIDDLE, INTERVAL)),
], indirect=["drive"])
@clause("MMC-5 6.34")
def test_layer_structures_of_other_media(drive: Drive, forms: tuple[int, ...]) -> None:
    """A format that is not the medium's is an invalid field of the CDB, and is not listed as one that can be sent."""
    listed = drive.read(read_disc_structure(0xFF))
    sendable = {listed[at] for at in range(4, len(listed), 4) if listed[at + 1] & 0x80}

    for form in forms:
        assert form not in sendable
        assert send(drive, form, 64) == asc.INVALID_FIELD_IN_CDB

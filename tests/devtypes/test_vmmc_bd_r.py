"""BD-R: what FORMAT UNIT makes of a blank one, pseudo-overwrite, spare areas, and what the drive tells of each."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from test_vmmc_defects import Scratched
from test_vmmc_recording import BLANK, Burner
from vmmc_bench import BLOCK, image

from devtypes.vmmc.disc_format import stored_size
from devtypes.vmmc.profiles import KINDS
from iohandlers.memory import open_store
from scsiemu import asc

FULL = 12219392                                 # blocks of a disc of one layer
ROOM = 20000
LEAST, DEFAULT, MOST = 9472, 19328, 19776       # of one of ROOM: with large, default and small spare areas
WITH_OVERWRITE, SEQUENTIAL, RANDOM = 0, 1, 2    # sub-types
RESOURCES: dict[str, int] = {"data_type": 2, "allocation_length": 16}


class Recorder(Burner):
    """A drive with a blank BD-R."""

    def __init__(self, store: Any = None, *, blocks: int = ROOM) -> None:
        super().__init__("bd-r", blocks=blocks, store=store)

    def format(self, blocks: int, number: int, subtype: int) -> Any:
        """FORMAT UNIT; its sense code."""
        listed = bytes((0, 0, 0, 8)) + struct.pack(">II", blocks, number << 26 | subtype << 24)
        return self.do("FORMAT UNIT", fmtdata=1, format_code=1, data_out=listed).code

    def formats(self) -> list[tuple[int, int, int]]:
        """Current descriptor (its type), then format types: type, blocks, parameter."""
        data = self.data("READ FORMAT CAPACITIES", allocation_length=252)
        rows = list(struct.iter_unpack(">II", data[4:]))
        return [(rows[0][1] >> 24 & 3, rows[0][0], rows[0][1] & 0xFFFFFF)] + [
            (word >> 26, count, word & 0xFFFFFF) for count, word in rows[1:]
        ]

    def capacity(self) -> int:
        """READ CAPACITY's last address."""
        return int.from_bytes(self.data("READ CAPACITY")[:4], "big")

    def current(self) -> set[int]:
        """Features that are current."""
        data = self.data("GET CONFIGURATION", rt=1, allocation_length=4096)
        found, at = set(), 8
        while at < len(data):
            found.add(int.from_bytes(data[at : at + 2], "big"))
            at += 4 + data[at + 3]
        return found

    @property
    def profile(self) -> int:
        """The current profile."""
        return self.data("GET CONFIGURATION", allocation_length=8)[7]



def test_bd_r_formats_are_those_of_a_real_disc() -> None:
    """Default spare areas by 00h and 32h, then the largest and the smallest ones; a parameter tells spare clusters."""
    recorder = Recorder(blocks=FULL // 16)
    scaled = recorder.formats()

    assert scaled[0] == (1, FULL // 16 // 32 * 32, BLOCK)
    assert [number for number, _, _ in scaled[1:]] == [0x00, 0x32, 0x32, 0x32]
    for (_, blocks, _), real in zip(scaled[1:], (11826176, 11826176, 5796864, 12088320), strict=True):
        assert real // 16 - 64 <= blocks <= real // 16
        assert not blocks % 32
    assert scaled[1][2] == (scaled[0][1] - scaled[1][1]) // 32
    assert [parameter for _, _, parameter in scaled[2:]] == [0, 0, 0]


@pytest.mark.parametrize(("number", "blocks", "made"), [
    (0x00, 0, DEFAULT), (0x00, 64, DEFAULT), (0x32, DEFAULT, DEFAULT), (0x32, LEAST, LEAST), (0x32, MOST, MOST),
    (0x32, 16000, 16000), (0x32, 0xFFFFFFFF, DEFAULT),
])
@pytest.mark.parametrize("subtype", [WITH_OVERWRITE, SEQUENTIAL, RANDOM])
def test_bd_r_format(number: int, blocks: int, made: int, subtype: int) -> None:
    """Sub-type 00b is sequential recording with pseudo-overwrite, 01b without it, 10b random recording."""
    recorder = Recorder()
    assert recorder.format(blocks, number, subtype) is None

    assert recorder.profile == (0x42 if subtype == RANDOM else 0x41)
    assert (0x38 in recorder.current()) == (subtype == WITH_OVERWRITE)
    assert (0x25 in recorder.current()) == (subtype == RANDOM)          # write once, in any order
    assert 0x24 in recorder.current()
    assert recorder.formats() == [(2, made, BLOCK)]
    assert recorder.disc() == ((2, 3, 1) if subtype == RANDOM else (0, 0, 1))
    assert recorder.track(1)["size"] == made


def test_bd_r_format_is_refused() -> None:
    """Other sub-types, numbers of blocks that leave too few or too many spare clusters, and a second format."""
    recorder = Recorder()
    for blocks, number, subtype in (
        (0, 0, 3), (MOST + 32, 0x32, 0), (LEAST - 32, 0x32, 0), (MOST - 1, 0x32, 0), (0, 0x31, 0),
    ):
        assert recorder.format(blocks, number, subtype) == asc.INVALID_FIELD_IN_PARAMETER_LIST
    assert 0x23 in recorder.current()
    assert recorder.format(0, 0, SEQUENTIAL) is None
    assert 0x23 not in recorder.current()
    assert recorder.format(0, 0, SEQUENTIAL) == asc.CANNOT_FORMAT_MEDIUM_INCOMPATIBLE_MEDIUM


def test_bd_r_without_format() -> None:
    """Written as it comes from the shop it has no spare areas, and is formatted no more."""
    recorder = Recorder()
    assert recorder.write(0, image(32)) is None

    assert recorder.formats() == [(2, ROOM, BLOCK)]
    assert not {0x23, 0x24, 0x38} & recorder.current()
    assert recorder.format(0, 0, SEQUENTIAL) == asc.CANNOT_FORMAT_MEDIUM_INCOMPATIBLE_MEDIUM
    assert recorder.capacity() == 31


def test_bd_r_random_is_written_once() -> None:
    """A BD-R that was formatted for random recording takes each cluster once (profile 42h)."""
    recorder = Recorder()
    assert recorder.format(16000, 0x32, RANDOM) is None
    assert recorder.write(64, image(32)) is None
    assert recorder.write(64, image(32)) == asc.INVALID_ADDRESS_FOR_WRITE
    assert recorder.write(0, image(32)) is None


def test_bd_r_sequential_sessions() -> None:
    """Without pseudo-overwrite tracks and sessions follow each other; what is recorded is not written again."""
    recorder = Recorder()
    assert recorder.format(0, 0, SEQUENTIAL) is None
    assert recorder.write(0, image(64)) is None
    assert recorder.write(0, image(32)) == asc.INVALID_ADDRESS_FOR_WRITE
    assert recorder.close(1, 1) is None
    assert recorder.close(2) is None
    assert recorder.disc() == (1, 0, 2)
    assert recorder.capacity() == 63
    assert recorder.write(64, image(32)) is None
    assert recorder.close(1, 2) is None
    assert recorder.close(6) is None

    assert recorder.disc() == (2, 3, 2)
    assert recorder.data("READ(10)", lba=64, transfer_length=32) == image(32)


def test_bd_r_pseudo_overwrite() -> None:
    """What is recorded is replaced while clusters are spare; READ DISC INFORMATION counts them (MMC-6 4.5.3.6)."""
    recorder = Recorder()
    assert recorder.format(16000, 0x32, WITH_OVERWRITE) is None
    spare = (ROOM - 16000) // 32
    assert recorder.data("READ DISC INFORMATION", **RESOURCES) == struct.pack(">HBxIII", 14, 0x40, *[spare] * 3)
    recorder.drive.loaded.spares_used = spare - 3           # the others are used up
    assert recorder.write(0, image(96)) is None
    assert recorder.close(1, 1) is None
    assert recorder.write(40, image(8)) is None
    assert recorder.write(60, image(8)) is None
    assert recorder.write(40, image(1)) == asc.NO_DEFECT_SPARE_LOCATION_AVAILABLE
    assert recorder.write(90, image(8)) == asc.INVALID_ADDRESS_FOR_WRITE

    assert recorder.data("READ DISC INFORMATION", **RESOURCES)[4:8] == bytes(4)
    assert recorder.track(2)["next"] == 96
    before = image(64)
    expected = before[36 * BLOCK : 40 * BLOCK] + image(8) + before[48 * BLOCK : 60 * BLOCK] + image(8)
    assert recorder.data("READ(10)", lba=36, transfer_length=32) == expected


def test_bd_r_capacity_with_pseudo_overwrite() -> None:
    """Once something is recorded all of the user data area can be addressed; until then nothing."""
    recorder = Recorder()
    assert recorder.format(0, 0, WITH_OVERWRITE) is None
    assert recorder.capacity() == 0
    assert recorder.write(0, image(32)) is None
    assert recorder.close(1, 1) is None

    assert recorder.capacity() == DEFAULT - 1
    assert struct.unpack(">I", recorder.data("READ TOC/PMA/ATIP", allocation_length=20)[16:]) == (DEFAULT,)
    assert recorder.do("READ(10)", lba=32, transfer_length=1).code == BLANK
    assert recorder.do("READ(10)", lba=DEFAULT, transfer_length=1).code == asc.LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE


@pytest.mark.parametrize("subtype", [WITH_OVERWRITE, SEQUENTIAL])
def test_bd_r_defects_are_replaced(subtype: int) -> None:
    """With spare areas a cluster that cannot be written is replaced; another drive finds it. Without, it fails."""
    store = Scratched(stored_size(KINDS["bd-r"], ROOM))
    recorder = Recorder(store)
    assert recorder.format(0, 0, subtype) is None
    store.unwritable = {40, 64}
    assert recorder.write(0, image(32)) is None
    assert recorder.write(32, image(33)) is None
    recorder.sync()                                     # the cluster is filled up, at its spare place
    again = Recorder(store)

    expected = image(32) + image(33) + bytes(31 * BLOCK)
    assert again.data("READ(10)", lba=0, transfer_length=96, data_in=96 * BLOCK) == expected
    spare = again.data("READ DISC STRUCTURE", media_type=1, format=0x0A, allocation_length=64)
    assert struct.unpack(">III", spare[4:16]) == (0, ROOM - DEFAULT - 64, ROOM - DEFAULT)
    bare = Recorder(Scratched(stored_size(KINDS["bd-r"], ROOM)))
    bare.store.unwritable = {40}
    assert bare.write(0, image(64)) == asc.WRITE_ERROR


def test_bd_r_random_recording_finalized() -> None:
    """CLOSE SESSION with 110b ends random recording: nothing is written any more, also after a power cycle."""
    store = open_store(size=stored_size(KINDS["bd-r"], ROOM))
    recorder = Recorder(store)
    assert recorder.format(16000, 0x32, RANDOM) is None
    assert recorder.write(320, image(32)) is None
    assert recorder.close(6) is None

    for each in (recorder, Recorder(store)):
        assert each.write(640, image(32)) == asc.INVALID_ADDRESS_FOR_WRITE
        assert not {0x25, 0x41} & each.current()
        assert each.data("READ(10)", lba=320, transfer_length=30) == image(30)
        assert each.capacity() == 15999

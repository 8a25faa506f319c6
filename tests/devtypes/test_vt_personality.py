"""Kinds of drives: the shipped ones pass the kit, are captured as they are, and read what their generation reads."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from vt_bench import Bench, add_drive
from vt_store import perform

from devtypes.vt import NewCartridge, TapeMedium
from devtypes.vt.capture import capture_tape
from devtypes.vt.medium_layout import DATA_START
from devtypes.vt.personality import (
    Personality,
    encode_personality,
    load_personality,
    parse_personality,
    personality_names,
)
from iohandlers.memory import open_store
from scsiemu import asc
from scsiemu.io_requests import Store
from scsiemu.logical_unit import LogicalUnit
from scsiemu.services import Outcome
from scsiemu.target import Target
from scsiemu.testing.device_type_kit import check_device_type

NAMES = personality_names()


def test_personality_names() -> None:
    """LTO-5 to LTO-9, an older DLT and a DDS, and a generic one with everything."""
    assert set(NAMES) >= {"lto5", "lto6", "lto7", "lto8", "lto9", "dlt7000", "dds4", "generic"}


# Those that differ most; the generic one is tried in test_vt_kit.
@pytest.mark.parametrize("name", ["lto5", "lto9", "dlt7000"])
def test_personality_passes_the_kit(name: str) -> None:
    """It is a whole device: pages, lists and refusals agree."""
    def make(target: Target, lun: int = 0) -> LogicalUnit:
        return add_drive(target, lun, personality=load_personality(name))

    check_device_type(make)


def _captured(bench: Bench, name: str) -> Personality:
    capture = capture_tape(name)
    question = next(capture)
    while True:
        result = bench.initiator.execute(0, question.cdb, b"", question.data_in)
        try:
            question = capture.send(Outcome(result.status, data_in=result.data))
        except StopIteration as done:
            return parse_personality(done.value)


def _without_physics(personality: Personality) -> Personality:
    """What can be asked of a drive, in the order in which it is told."""
    default = Personality("", densities=personality.densities, media=personality.media)
    return replace(
        personality, wraps=default.wraps, speed=default.speed, load_seconds=default.load_seconds,
        unload_seconds=default.unload_seconds, stop_seconds=default.stop_seconds, rate=default.rate,
        without=tuple(sorted(personality.without)), log_pages_without=tuple(sorted(personality.log_pages_without)),
        media=tuple(sorted(personality.media, key=lambda each: each.medium_type)),
    )


@pytest.mark.parametrize("name", NAMES)
def test_personality_capture_finds_itself(name: str) -> None:
    """What is captured of a drive is its personality again, but for speeds and times."""
    personality = load_personality(name)
    captured = _captured(Bench(personality=personality), personality.name)

    assert _without_physics(captured) == _without_physics(personality)
    assert captured.density == personality.density
    for kind in ("data", "worm", "cleaning"):
        assert captured.medium(kind) == personality.medium(kind)


@pytest.mark.parametrize("name", NAMES)
def test_personality_text_round_trip(name: str) -> None:
    """The file of a personality is that personality."""
    assert parse_personality(encode_personality(load_personality(name))) == load_personality(name)


GOOD = {"name": "x", "densities": [{"code": 1}], "media": [{"medium_type": 0, "densities": [1]}]}


@pytest.mark.parametrize(
    "change",
    [
        {"densities": []}, {"media": []}, {"vendor": "NINELONGS"}, {"vendor": "é"}, {"densities": [{"code": 256}]},
        {"densities": [{"code": 1.5}]}, {"densities": [{"color": 1}]}, {"densities": 5}, {"colour": 1},
        {"most_partitions": 0}, {"most_partitions": "4"}, {"shortest_block": 0}, {"longest_block": 1 << 24},
        {"granularity": 17}, {"protection": [3]}, {"speed": 0}, {"load_seconds": -1}, {"wraps": True},
        {"media": [{"medium_type": 0, "kind": "paper"}]},
    ],
)
def test_personality_file_is_checked(change: dict[str, object]) -> None:
    """A member that cannot be is told in one sentence, when the file is read."""
    assert parse_personality(json.dumps(GOOD)).name == "x"
    with pytest.raises(ValueError, match=r"\S"):
        parse_personality(json.dumps({**GOOD, **change}))


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 100_000])
def test_personality_file_is_json(text: str) -> None:
    """What is no JSON object is refused."""
    with pytest.raises(ValueError, match=r"\S"):
        parse_personality(text)


def _cartridge(generation: int) -> Store:
    """A store with an LTO cartridge of a generation."""
    store = open_store(size=(1 << 20) + DATA_START)
    kind = load_personality(f"lto{generation}") if generation > 4 else load_personality("lto6")
    medium = next(each for each in kind.media if each.medium_type == generation * 16 + 8)

    new = NewCartridge(density=medium.densities[0], medium_type=medium.medium_type)
    perform(TapeMedium.format(store.capabilities, new), store)
    return store


@pytest.mark.parametrize(
    ("drive", "cartridge", "reads", "writes"),
    [(6, 6, True, True), (6, 5, True, True), (6, 4, True, False), (6, 7, False, False), (8, 7, True, True),
     (8, 6, False, False), (9, 8, True, True), (9, 7, False, False)],
)
def test_personality_generations(drive: int, cartridge: int, reads: bool, writes: bool) -> None:
    """LTO drives up to the seventh read two generations back and write one; later ones one back. Its density is that
    of the cartridge, formatted or not."""
    bench = Bench(personality=load_personality(f"lto{drive}"), store=_cartridge(cartridge))
    ready = bench.do("TEST UNIT READY")
    if not reads:
        assert ready.code == asc.CANNOT_READ_MEDIUM_INCOMPATIBLE_FORMAT
        return
    assert ready.good
    density = load_personality(f"lto{max(cartridge, 5)}").density.code if cartridge > 4 else 0x46
    assert bench.do("MODE SENSE(6)", page_code=0x3F).data[4] == density
    written = bench.write(b"x")
    if writes:
        assert written.good
        bench.rewind()
        assert bench.do("FORMAT MEDIUM").good
        assert bench.do("MODE SENSE(6)", page_code=0x3F).data[4] == density
    else:
        assert written.code == asc.with_key(asc.CANNOT_WRITE_MEDIUM_INCOMPATIBLE_FORMAT, 7)


def test_personality_partitions_as_ltfs_makes_them() -> None:
    """mkltfs gives the medium partition page back with one more partition, of 1 in the units that the drive tells: the
    index partition has 1 GB, the other one the rest."""
    bench = Bench(personality=load_personality("lto8"), size=4 << 30)
    page = bytearray(bench.do("MODE SENSE(10)", page_code=0x11, allocation_length=255).data)
    assert page[16 + 4] >> 3 & 3 == 3
    page[:2] = bytes(2)
    page[16 + 3] = 1                                    # additional partitions defined
    page[16 + 4] = 0x20 | page[16 + 4] & 0x1F           # IDP
    page[16 + 6] = 9
    page[16 + 8 :] = bytes((0, 1, 0xFF, 0xFF)) + bytes(len(page) - 28)
    assert bench.do("MODE SELECT(10)", pf=1, data_out=bytes(page)).good
    assert bench.do("FORMAT MEDIUM", format=1).good

    tape = bench.drive.tape
    assert tape.partitions == 2
    assert tape.size(0) == 10**9
    assert tape.size(1) > 3 * 10**9
    assert bench.do("MODE SENSE(10)", page_code=0x11, dbd=1, allocation_length=255).data[8 + 8 : 8 + 12] == bytes(
        (0, 1, 0, 4)
    )

"""A feature that is current is more than a bit: its commands and mode pages are there (MMC-6 5.3)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
from test_vmmc_bd_r import RANDOM, SEQUENTIAL, WITH_OVERWRITE
from test_vmmc_bd_r import Recorder as BdR
from test_vmmc_events import CHANGE, events
from test_vmmc_recording import Burner
from vmmc_bench import Bench

from devtypes.vmmc.profiles import KINDS, PROFILE_NAMES
from scsiemu import asc

SEQUENTIALLY = (
    "READ DISC INFORMATION", "READ TRACK INFORMATION", "WRITE(10)", "SYNCHRONIZE CACHE", "CLOSE TRACK/SESSION",
    "SEND OPC INFORMATION", "READ TOC/PMA/ATIP",
)
RANDOMLY = ("READ CAPACITY", "WRITE(10)", "WRITE AND VERIFY(10)", "VERIFY(10)", "SYNCHRONIZE CACHE")
# What a feature needs: commands that the drive then has.
COMMANDS: dict[int, tuple[str, ...]] = {
    0x0000: ("GET CONFIGURATION",),
    0x0001: (
        "GET CONFIGURATION", "GET EVENT STATUS NOTIFICATION", "INQUIRY", "MODE SELECT(10)", "MODE SENSE(10)",
        "REQUEST SENSE", "TEST UNIT READY",
    ),
    0x0002: ("GET CONFIGURATION", "GET EVENT STATUS NOTIFICATION"),
    0x0003: ("MECHANISM STATUS", "PREVENT ALLOW MEDIUM REMOVAL", "START STOP UNIT"),
    0x0004: ("READ DISC STRUCTURE", "SEND DISC STRUCTURE"),
    0x0010: ("READ CAPACITY", "READ(10)"),
    0x001E: ("READ CD", "READ CD MSF", "READ TOC/PMA/ATIP"),
    0x001F: ("READ(10)", "READ(12)", "READ DISC STRUCTURE", "READ TOC/PMA/ATIP"),
    0x0020: RANDOMLY,
    0x0021: (*SEQUENTIALLY, "RESERVE TRACK", "REPAIR TRACK"),
    0x0023: ("FORMAT UNIT", "READ FORMAT CAPACITIES", "REQUEST SENSE", "VERIFY(10)"),
    0x0025: RANDOMLY,
    0x0026: SEQUENTIALLY,
    0x0027: ("SET CD SPEED", "GET PERFORMANCE"),
    0x002A: ("FORMAT UNIT", "READ FORMAT CAPACITIES", "WRITE(10)", "CLOSE TRACK/SESSION", "READ DISC INFORMATION"),
    0x002B: (*SEQUENTIALLY, "RESERVE TRACK", "READ DISC STRUCTURE"),
    0x002C: (*SEQUENTIALLY, "BLANK", "FORMAT UNIT"),
    0x002D: (*SEQUENTIALLY, "BLANK"),
    0x002E: (*SEQUENTIALLY, "BLANK", "SEND CUE SHEET", "READ BUFFER CAPACITY"),
    0x002F: (*SEQUENTIALLY, "BLANK", "RESERVE TRACK", "READ BUFFER CAPACITY"),
    0x0033: (*SEQUENTIALLY, "SEND DISC STRUCTURE"),
    0x0037: ("BLANK",),
    0x003B: (*SEQUENTIALLY, "RESERVE TRACK", "READ DISC STRUCTURE"),
    0x0040: ("READ(10)", "READ(12)", "READ DISC STRUCTURE", "READ TOC/PMA/ATIP"),
    0x0041: ("WRITE(10)", "WRITE(12)", "SYNCHRONIZE CACHE", "CLOSE TRACK/SESSION", "READ DISC INFORMATION"),
    0x0100: ("START STOP UNIT", "GET EVENT STATUS NOTIFICATION"),
    0x0103: (
        "PLAY AUDIO(10)", "PLAY AUDIO(12)", "PLAY AUDIO MSF", "PAUSE/RESUME", "STOP PLAY/SCAN", "SCAN",
        "READ SUB-CHANNEL",
    ),
    0x0107: ("GET PERFORMANCE", "SET STREAMING", "SET CD SPEED", "READ BUFFER CAPACITY"),
}
# And mode pages.
PAGES: dict[int, tuple[int, ...]] = {
    0x0004: (0x1D,), 0x0010: (0x01,), 0x0020: (0x01,), 0x0021: (0x05,), 0x002D: (0x05,), 0x002E: (0x05,),
    0x002F: (0x05,), 0x0100: (0x1A,), 0x0103: (0x0E,), 0x0105: (0x1D,), 0x0107: (0x2A,),
}


def formatted(name: str) -> Burner:
    """A disc with the first format that it lists."""
    burner = Burner(name)
    format_first(burner)
    return burner


def format_first(burner: Burner) -> None:
    """FORMAT UNIT, by the first descriptor of READ FORMAT CAPACITIES that is one of a format."""
    row = burner.data("READ FORMAT CAPACITIES", allocation_length=252)[12:20]
    result = burner.do("FORMAT UNIT", fmtdata=1, format_code=1, data_out=bytes((0, 0, 0, 8)) + row)
    assert result.good, result


def bd_r(subtype: int) -> Burner:
    """A BD-R that was formatted."""
    recorder = BdR()
    assert recorder.format(recorder.formats()[1][1], 0, subtype) is None
    return recorder


def jumping() -> Burner:
    """A blank DVD-R DL that is going to be recorded with layer jumps."""
    burner = Burner("dvd-r-dl")
    burner.parameters(write_type=4)
    return burner


DISCS: dict[str, Callable[[], Bench]] = {
    **{name: partial(Bench, kind=name) for name, kind in KINDS.items() if kind.pressed},
    **{name: partial(Burner, name) for name, kind in KINDS.items() if not kind.pressed},
    **{f"{name} formatted": partial(formatted, name) for name in ("cd-rw", "dvd-rw", "dvd+rw", "bd-re")},
    "bd-r pseudo-overwrite": partial(bd_r, WITH_OVERWRITE), "bd-r sequential": partial(bd_r, SEQUENTIAL),
    "bd-r random": partial(bd_r, RANDOM), "dvd-r-dl jumping": jumping,
}


def features(bench: Bench, rt: int = 0, first: int = 0) -> dict[int, tuple[int, bytes]]:
    """Flags and data of features by their code."""
    data = bench.data("GET CONFIGURATION", rt=rt, starting_feature=first, allocation_length=4096)
    assert int.from_bytes(data[:4], "big") == len(data) - 4
    found, at = {}, 8
    while at < len(data):
        end = at + 4 + data[at + 3]
        found[int.from_bytes(data[at : at + 2], "big")] = (data[at + 2], data[at + 4 : end])
        at = end
    return found


@pytest.mark.parametrize("name", DISCS)
def test_features_current_have_their_commands(name: str) -> None:
    """Each command and each mode page that a current feature needs is there, whatever it says to a CDB of zeros."""
    current = features(DISCS[name](), rt=1)

    for code in current:
        for command in COMMANDS.get(code, ()):
            result = DISCS[name]().do(command)
            assert result.code != asc.INVALID_COMMAND_OPERATION_CODE, (hex(code), command)
        for page in PAGES.get(code, ()):
            assert DISCS[name]().do("MODE SENSE(10)", page_code=page, allocation_length=100).good, (hex(code), page)


@pytest.mark.parametrize("name", DISCS)
def test_features_bits(name: str) -> None:
    """Features ascend; one that persists is current; type 1 has the current ones, type 2 one alone or none; the profile
    list tells the one that is current."""
    bench = DISCS[name]()
    every, current = features(bench), features(bench, rt=1)

    assert list(every) == sorted(every)
    assert current == {code: row for code, row in every.items() if row[0] & 1}
    assert all(flags & 1 for flags, _ in every.values() if flags & 2)
    for code in (*every, 0x0005, 0xFF00):
        assert features(bench, rt=2, first=code) == {number: row for number, row in every.items() if number == code}
        assert list(features(bench, first=code)) == [number for number in every if number >= code]
    profiles = every[0][1]
    now = [profiles[at : at + 2] for at in range(0, len(profiles), 4) if profiles[at + 2] & 1]
    assert now == [bench.data("GET CONFIGURATION", allocation_length=8)[6:8]]
    assert len(profiles) == 4 * len(PROFILE_NAMES)


@pytest.mark.parametrize("name", DISCS)
def test_features_write_protect_as_the_medium(name: str) -> None:
    """SPWP is there with media whose persistent write protection SEND DISC STRUCTURE takes off."""
    bench = DISCS[name]()
    told = features(bench).get(0x0004, (0, b""))

    taken = bench.do("SEND DISC STRUCTURE", format=0xC0, parameter_list_length=8, data_out=bytes((0, 6, *bytes(6))))
    assert (told[0] & 1, told[1][0] >> 1 & 1) == (not name.endswith("-rom"), taken.good)


@pytest.mark.parametrize("name", DISCS)
def test_features_random_writable_once_formatted(name: str) -> None:
    """Random Writable is current with media that are written at any address, which none is before its format."""
    bench = DISCS[name]()
    current = features(bench, rt=1)

    written = bench.do("WRITE(10)", lba=64, transfer_length=32, data_out=bytes(32 * 2048)).good
    assert (0x0020 in current or 0x0025 in current or name == "cd-rw formatted") == written


# --- features that change with the disc in the drive ------------------------------------------------------------------


def test_features_change_with_the_format() -> None:
    """A DVD-RW that is formatted has another profile, one that is blanked its first one again: every nexus hears."""
    burner = Burner("dvd-rw")
    nexuses = (burner.initiator, burner.another())
    assert [events(each, CHANGE) for each in nexuses] == [[], []]

    format_first(burner)
    assert [events(each, CHANGE) for each in nexuses] == [["02000001"]] * 2
    assert burner.write(0, bytes(32 * 2048)) is None
    burner.sync()
    assert [events(each, CHANGE) for each in nexuses] == [[], []]
    assert burner.do("BLANK", type=1).good
    assert [events(each, CHANGE) for each in nexuses] == [["02000001"]] * 2


def test_features_change_when_a_disc_is_closed() -> None:
    """Nothing can be written any more: the writing features of a CD-R are current no longer."""
    burner = Burner("cd-r")
    assert burner.write(0, bytes(300 * 2048)) is None
    burner.sync()
    assert events(burner.initiator, CHANGE) == []

    assert burner.close(2) is None
    assert events(burner.initiator, CHANGE) == ["02000001"]


def test_features_change_with_write_protection() -> None:
    """A DVD+RW that is protected persistently is not writable, until that is taken off again."""
    burner = formatted("dvd+rw")
    events(burner.initiator, CHANGE)

    for bits in (2, 0):
        sent = bytes((0, 6, 0, 0, bits, 0, 0, 0))
        assert burner.do("SEND DISC STRUCTURE", format=0xC0, parameter_list_length=8, data_out=sent).good
        assert events(burner.initiator, CHANGE) == ["02000001"]


def test_features_change_with_software_write_protection() -> None:
    """While SWPP of mode page 1Dh is set nothing is written: features that write are not current."""
    burner = formatted("dvd+rw")
    before = features(burner, rt=1)
    events(burner.initiator, CHANGE)

    for bit, gone in ((1, {0x0020, 0x0023}), (0, set())):
        sent = bytes(8) + bytes((0x1D, 10, 0, 0, bit, 0, 1, 0x2C, 2, 0x58, 0, 0))
        assert burner.do("MODE SELECT(10)", pf=1, parameter_list_length=len(sent), data_out=sent).good
        assert events(burner.initiator, CHANGE) == ["02000001"]
        assert set(before) - set(features(burner, rt=1)) == gone


def test_features_change_with_the_write_type() -> None:
    """A blank DVD-R DL has the profile that the write type gives it."""
    burner = Burner("dvd-r-dl")
    burner.parameters(write_type=4)
    assert events(burner.initiator, CHANGE) == ["02000001"]

    burner.parameters(write_type=4, bufe=0)
    assert events(burner.initiator, CHANGE) == []

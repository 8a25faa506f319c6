"""Mode and log parameters, identifying information, timestamp, buffer, diagnostics: a unit of any device type."""

from __future__ import annotations

import struct

import pytest
from conformance import ConformanceUnit, clause
from spc_commands import log_sense, mode_pages, mode_sense, supported

from scsiemu import asc

ALL = 0x3F
CONTROL = 0x0A


def mode_select(*pages: bytes, flags: int = 0x10) -> tuple[bytes, bytes]:
    """MODE SELECT(10) and its list; bit PS of the pages is reserved there."""
    data = bytes(8) + b"".join(bytes((page[0] & 0x7F,)) + page[1:] for page in pages)
    return bytes((0x55, flags, 0, 0, 0, 0, 0)) + len(data).to_bytes(2, "big") + b"\0", data


def listed(unit: ConformanceUnit, control: int = 0) -> dict[tuple[int, int], bytes]:
    """All mode pages, by page and subpage code."""
    return mode_pages(unit.good(mode_sense(ALL, subpage=0xFF, control=control), data_in=4096))


# --- MODE SENSE --------------------------------------------------------------------------------------------------


@clause("SPC-5 6.14.1")
def test_mode_sense_each_page(unit: ConformanceUnit) -> None:
    """Each page alone is what it is among all."""
    found = listed(unit)

    assert found
    for (page, subpage), data in found.items():
        alone = unit.good(mode_sense(page, subpage=subpage), data_in=4096)
        assert mode_pages(alone) == {(page, subpage): data}


@clause("SPC-5 6.14.1")
def test_mode_sense_order(unit: ConformanceUnit) -> None:
    """Pages ascend, page 00h last; without subpages there are none."""
    found = list(listed(unit))
    plain = list(mode_pages(unit.good(mode_sense(ALL), data_in=4096)))
    without = [each for each in found if each[0]]

    assert without == sorted(without)
    assert plain == [each for each in found if each[1] == 0]


@clause("SPC-5 7.5.4, 7.5.5")
def test_mode_sense_header_lengths(unit: ConformanceUnit) -> None:
    """MODE DATA LENGTH counts what follows it, in both sizes, and the pages of both are the same."""
    short = unit.good(bytes((0x1A, 8, ALL, 0, 255, 0)), data_in=255)
    long = unit.good(mode_sense(ALL), data_in=4096)

    assert int.from_bytes(long[:2], "big") == len(long) - 2
    assert short[0] == len(long) - 8 + 4 - 1
    assert short[4:] == long[8:][: len(short) - 4]


@clause("SPC-5 4.2.5.6")
def test_mode_sense_cut(unit: ConformanceUnit) -> None:
    """ALLOCATION LENGTH cuts the data and nothing else."""
    whole = unit.good(mode_sense(ALL), data_in=4096)

    for length in (0, 1, 8, 9, len(whole) - 1):
        assert unit.good(mode_sense(ALL, length=length), data_in=4096) == whole[:length]


@clause("SPC-5 6.14.1.5")
def test_mode_sense_page_not_there(unit: ConformanceUnit) -> None:
    """A page that is not listed is an invalid field."""
    found = {page for page, _ in listed(unit)}
    absent = next(page for page in range(0x3E, 0, -1) if page not in found)

    unit.refused(mode_sense(absent), asc.INVALID_FIELD_IN_CDB, data_in=64)
    unit.refused(mode_sense(CONTROL, subpage=0xE0), asc.INVALID_FIELD_IN_CDB, data_in=64)


@pytest.mark.parametrize("control", [1, 2], ids=["changeable", "default"])
@clause("SPC-5 6.14.1.3, 6.14.1.4")
def test_mode_sense_page_control(unit: ConformanceUnit, control: int) -> None:
    """Changeable and default values are of the same pages, as long."""
    current, others = listed(unit), listed(unit, control)

    assert {each: len(data) for each, data in current.items()} == {each: len(data) for each, data in others.items()}


@clause("SPC-5 6.14.1.5")
def test_mode_sense_saved(unit: ConformanceUnit) -> None:
    """Saved values are there where a page says PS; where no page does they are SAVING PARAMETERS NOT SUPPORTED."""
    if any(data[0] & 0x80 for data in listed(unit).values()):
        assert set(listed(unit, 3)) == set(listed(unit))
    else:
        unit.refused(mode_sense(ALL, control=3), asc.SAVING_PARAMETERS_NOT_SUPPORTED, data_in=64)


# --- MODE SELECT -------------------------------------------------------------------------------------------------


@clause("SPC-5 6.12")
def test_mode_select_current(unit: ConformanceUnit) -> None:
    """The current values of every page that has something to change can be selected, and stay what they are."""
    current = listed(unit)
    chosen = [each for each, data in listed(unit, 1).items() if any(data[4 if each[1] else 2 :])]
    for each in chosen:
        cdb, data = mode_select(current[each])
        unit.good(cdb, data)

    assert listed(unit) == current


@clause("SPC-5 6.12, 5.8")
def test_mode_select_unchangeable(unit: ConformanceUnit) -> None:
    """A bit that cannot be changed and is changed is an invalid field of the list; nothing is changed."""
    current, changeable = listed(unit), listed(unit, 1)
    for each, data in current.items():
        head = 4 if each[1] else 2
        at = next((at for at in range(head, len(data)) if changeable[each][at] != 0xFF), None)
        if at is None:
            continue
        bit = next(1 << shift for shift in range(8) if not changeable[each][at] >> shift & 1)
        changed = data[:at] + bytes((data[at] ^ bit,)) + data[at + 1 :]
        cdb, text = mode_select(changed)
        answer = unit.execute(cdb, text)
        assert answer.code in (asc.INVALID_FIELD_IN_PARAMETER_LIST, asc.PARAMETER_LIST_LENGTH_ERROR), each

    assert listed(unit) == current


@clause("SPC-5 6.12")
def test_mode_select_nothing(unit: ConformanceUnit) -> None:
    """PARAMETER LIST LENGTH 0 is no error."""
    unit.good(bytes((0x55, 0x10, 0, 0, 0, 0, 0, 0, 0, 0)))
    unit.good(bytes((0x15, 0x10, 0, 0, 0, 0)))


@clause("SPC-5 6.11")
def test_mode_select_cut(unit: ConformanceUnit) -> None:
    """A list that ends within its header or a page is PARAMETER LIST LENGTH ERROR."""
    page = next(data for each, data in listed(unit).items() if any(data[2:]) and each[1] == 0)
    _, text = mode_select(page)
    for length in (4, 9, len(text) - 1):
        cdb = bytes((0x55, 0x10, 0, 0, 0, 0, 0)) + length.to_bytes(2, "big") + b"\0"
        unit.refused(cdb, asc.PARAMETER_LIST_LENGTH_ERROR, text[:length])


@clause("SPC-5 6.12")
def test_mode_select_page_not_there(unit: ConformanceUnit) -> None:
    """A page that the unit lacks is an invalid field of the list."""
    found = {page for page, _ in listed(unit)}
    absent = next(page for page in range(0x3E, 0, -1) if page not in found)
    cdb, text = mode_select(bytes((absent, 2, 0, 0)))

    unit.refused(cdb, asc.INVALID_FIELD_IN_PARAMETER_LIST, text)


@clause("SPC-5 6.12, 5.8")
def test_mode_select_attention(unit: ConformanceUnit) -> None:
    """Other nexuses hear MODE PARAMETERS CHANGED, once; who changed them does not. Resets bring the old ones back."""
    current, changeable = listed(unit), listed(unit, 1)
    chosen = next((
        (each, at, bit) for each, at, bit in (((CONTROL, 0), 2, 0x04), ((CONTROL, 0), 4, 0x08), ((0x1C, 0), 2, 0x04))
        if each in changeable and changeable[each][at] & bit
    ), None)
    if chosen is None:
        unit.not_supported("neither D_SENSE nor SWP nor TEST can be changed")
    each, at, bit = chosen
    other = unit.another()
    data = current[each]
    unit.good(*mode_select(data[:at] + bytes((data[at] ^ bit,)) + data[at + 1 :]))

    assert other.attentions() == [asc.MODE_PARAMETERS_CHANGED]
    assert unit.attentions() == []
    assert listed(other)[each][at] == data[at] ^ bit
    unit.good(*mode_select(data))
    assert listed(unit) == current
    other.attentions()


@clause("SPC-5 6.12")
def test_mode_select_save_refused(unit: ConformanceUnit) -> None:
    """SP=1 is an invalid field where nothing can be saved."""
    current = listed(unit)
    if any(data[0] & 0x80 for data in current.values()):
        return
    cdb, text = mode_select(current[CONTROL, 0], flags=0x11)
    unit.refused(cdb, asc.INVALID_FIELD_IN_CDB, text)


# --- LOG SENSE ---------------------------------------------------------------------------------------------------


def log_pages(unit: ConformanceUnit) -> list[tuple[int, int]]:
    """Page and subpage codes."""
    data = unit.good(log_sense(0, subpage=0xFF), data_in=4096)
    assert (data[0] & 0x7F, data[1]) == (0x40, 0xFF)
    assert int.from_bytes(data[2:4], "big") == len(data) - 4
    return [(data[at] & 0x3F, data[at + 1]) for at in range(4, len(data), 2)]


@clause("SPC-5 7.3.18")
def test_log_supported_pages(unit: ConformanceUnit) -> None:
    """Page 00h lists itself and ascends; with subpages it has the same pages, and each can be read."""
    data = unit.good(log_sense(0), data_in=4096)
    plain = list(data[4:])
    found = log_pages(unit)

    assert plain == sorted(set(plain))
    assert plain[0] == 0
    assert plain == sorted({page for page, subpage in found if subpage == 0})
    assert found == sorted(set(found))


@clause("SPC-5 7.3.2")
def test_log_each_page(unit: ConformanceUnit) -> None:
    """Each page says which it is and how long; its parameters follow each other to its end."""
    for page, subpage in log_pages(unit):
        data = unit.good(log_sense(page, subpage=subpage, length=0xFFFF), data_in=0xFFFF)
        assert data[0] & 0x3F == page
        assert data[1] == subpage
        assert bool(data[0] & 0x40) == bool(subpage)
        assert int.from_bytes(data[2:4], "big") == len(data) - 4
        if page == 0 or subpage == 0xFF:
            continue
        at, codes = 4, []
        while at < len(data):
            codes.append(int.from_bytes(data[at : at + 2], "big"))
            at += 4 + data[at + 3]
        assert at == len(data), (page, subpage)
        assert codes == sorted(set(codes))


@clause("SPC-5 4.2.5.6")
def test_log_sense_cut(unit: ConformanceUnit) -> None:
    """ALLOCATION LENGTH cuts."""
    whole = unit.good(log_sense(0), data_in=4096)

    for length in (0, 1, 4, 5):
        assert unit.good(log_sense(0, length=length), data_in=4096) == whole[:length]


@clause("SPC-5 6.9")
def test_log_sense_page_not_there(unit: ConformanceUnit) -> None:
    """A page that is not listed is an invalid field."""
    found = {page for page, _ in log_pages(unit)}
    absent = next(page for page in range(0x3E, 0, -1) if page not in found)

    unit.refused(log_sense(absent), asc.INVALID_FIELD_IN_CDB, data_in=64)


@clause("SPC-5 6.8")
def test_log_select_reset(unit: ConformanceUnit) -> None:
    """PCR=1 without a list resets what can be reset; with a list it is an invalid field."""
    unit.good(bytes((0x4C, 2, 0xC0, 0, 0, 0, 0, 0, 0, 0)))
    unit.refused(bytes((0x4C, 2, 0xC0, 0, 0, 0, 0, 0, 4, 0)), asc.INVALID_FIELD_IN_CDB, bytes(4))


# --- identifying information, timestamp, buffer, diagnostics -----------------------------------------------------


def identify_out(kind: int, length: int) -> bytes:
    """SET IDENTIFYING INFORMATION."""
    return bytes((0xA4, 0x06, 0, 0, 0, 0)) + length.to_bytes(4, "big") + bytes((kind << 1, 0))


def identify_in(kind: int) -> bytes:
    """REPORT IDENTIFYING INFORMATION."""
    return bytes((0xA3, 0x05, 0, 0, 0, 0)) + (1024).to_bytes(4, "big") + bytes((kind << 1, 0))


@clause("SPC-5 6.32, 6.44")
def test_identifying_information(unit: ConformanceUnit) -> None:
    """What was set is reported; others hear DEVICE IDENTIFIER CHANGED; length 0 takes it away."""
    if supported(unit, 0xA4, 6) != 3:
        return                                          # the command is optional: a unit needs somewhere to keep it
    other = unit.another()
    unit.good(identify_out(0, 5), b"shelf")

    assert other.attentions() == [asc.DEVICE_IDENTIFIER_CHANGED]
    assert other.good(identify_in(0), data_in=1024) == struct.pack(">2xH", 5) + b"shelf"
    unit.good(identify_out(0, 0))
    assert unit.good(identify_in(0), data_in=1024) == bytes(4)
    other.attentions()


@clause("SPC-5 6.32")
def test_identifying_information_types(unit: ConformanceUnit) -> None:
    """Type 1111111b lists types and longest lengths, the first of them 0; a type that is not listed is refused."""
    if supported(unit, 0xA3, 5) != 3:
        return
    data = unit.good(identify_in(0x7F), data_in=1024)
    types = {data[at] >> 1: int.from_bytes(data[at + 2 : at + 4], "big") for at in range(4, len(data), 4)}

    assert int.from_bytes(data[2:4], "big") == len(data) - 4
    assert types[0] >= 64
    unit.refused(identify_in(0x55), asc.INVALID_FIELD_IN_CDB, data_in=64)


@clause("SPC-5 6.37, 6.46")
def test_timestamp(unit: ConformanceUnit) -> None:
    """A timestamp that was set goes on from there, and others hear TIMESTAMP CHANGED; the origin says who set it."""
    other = unit.another()
    moment = 1_700_000_000_000
    unit.good(bytes((0xA4, 0x0F, 0, 0, 0, 0, 0, 0, 0, 12, 0, 0)), struct.pack(">4x6s2x", moment.to_bytes(6, "big")))
    data = unit.good(bytes((0xA3, 0x0F, 0, 0, 0, 0, 0, 0, 0, 12, 0, 0)), data_in=12)

    assert data[:2] == b"\x00\x0a"
    assert data[2] & 7 == 2
    assert 0 <= int.from_bytes(data[4:10], "big") - moment < 60_000
    assert other.attentions() == [asc.TIMESTAMP_CHANGED]


@clause("SPC-5 6.18, 6.49")
def test_buffer_round_trip(unit: ConformanceUnit) -> None:
    """What WRITE BUFFER put into the buffer READ BUFFER reads; mode 3 tells its size."""
    if supported(unit, 0x3B) != 3:
        unit.not_supported("it has no buffer")
    size = int.from_bytes(unit.good(bytes((0x3C, 3, 0, 0, 0, 0, 0, 0, 4, 0)), data_in=4)[1:4], "big")
    unit.good(bytes((0x3B, 2, 0, 0, 0, 0, 0, 0, 16, 0)), b"sixteen bytes...")

    assert size >= 16
    assert unit.good(bytes((0x3C, 2, 0, 0, 0, 0, 0, 0, 16, 0)), data_in=16) == b"sixteen bytes..."


@clause("SPC-5 6.40, 6.20")
def test_diagnostics(unit: ConformanceUnit) -> None:
    """The default self-test ends with GOOD; page 00h lists diagnostic pages, itself first."""
    unit.good(bytes((0x1D, 4, 0, 0, 0, 0)))
    data = unit.good(bytes((0x1C, 1, 0, 0, 64, 0)), data_in=64)

    assert data[0] == 0
    assert int.from_bytes(data[2:4], "big") == len(data) - 4
    assert data[4] == 0

"""Log pages, LOG SENSE and LOG SELECT."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from engine_spc_unit import PlainServer, World
from hypothesis import given, settings
from hypothesis import strategies as st

from scsiemu import asc
from scsiemu.log_pages import LogFormat, LogParameter, log_page, parse_log_parameters
from scsiemu.sense import CheckCondition, FieldPointer
from scsiemu.testing.initiator import Result


def non_medium(world: World, pc: int = 1) -> bytes:
    """The only parameter of page 06h."""
    return world.one.command("LOG SENSE", pc=pc, page_code=0x06).data[4:]


def field(result: Result) -> int:
    """The byte of the field pointer."""
    assert result.sense is not None
    assert isinstance(result.sense.specific, FieldPointer)
    return result.sense.specific.byte


def test_log_sense_supported_pages() -> None:
    """Page 00h and 00h/FFh list all pages in ascending order."""
    one = World().one

    assert one.command("LOG SENSE", pc=1).data == bytes.fromhex("80000007 00060e0f10192f")
    assert one.command("LOG SENSE", pc=1, subpage_code=0xFF).data == bytes.fromhex(
        "c0ff0010 0000 00ff 0600 0e00 0f00 1000 1900 2f00"
    )


def test_log_sense_subpages() -> None:
    """A page with subpages has a list of them at subpage FFh (SPC-5 7.3.18)."""

    class More(PlainServer):
        @log_page(0x0E, "Utilization", subpage=0x01)
        def log_utilization(self) -> Iterable[LogParameter]:
            return [LogParameter(0, bytes(2))]

    one = World(server=More()).one

    assert one.command("LOG SENSE", pc=1, page_code=0x0E, subpage_code=0xFF).data == bytes.fromhex(
        "ceff0006 0e00 0e01 0eff"
    )
    data = one.command("LOG SENSE", pc=1, page_code=0x0E, subpage_code=1).data
    assert data == bytes.fromhex("ce010006 0000 03020000")
    assert field(one.command("LOG SENSE", pc=1, page_code=0x0E, subpage_code=2)) == 3


def test_log_sense_page_control() -> None:
    """Cumulative values count, default ones are zero, thresholds are the largest ones."""
    world = World()
    world.server.counters.non_medium_errors = 5
    header = bytes.fromhex("0000 00 08")

    assert non_medium(world, 0b01) == header + (5).to_bytes(8, "big")
    assert non_medium(world, 0b11) == header + bytes(8)
    assert non_medium(world, 0b00) == non_medium(world, 0b10) == header + b"\xff" * 8


def test_log_sense_parameter_pointer() -> None:
    """Parameters start at PARAMETER POINTER; one past the last is refused (SPC-5 6.11)."""
    one = World().one
    whole = one.command("LOG SENSE", pc=1, page_code=0x10).data
    part = one.command("LOG SENSE", pc=1, page_code=0x10, parameter_pointer=20).data

    assert len(whole) == 4 + 20 * 20
    assert part == whole[:2] + (20).to_bytes(2, "big") + whole[-20:]
    assert field(one.command("LOG SENSE", pc=1, page_code=0x10, parameter_pointer=21)) == 5
    assert field(one.command("LOG SENSE", pc=1, parameter_pointer=1)) == 5


def test_log_sense_sp_and_unknown_page() -> None:
    """SP is refused, as nothing is saved; so is a page that is not there."""
    one = World().one

    assert field(one.command("LOG SENSE", pc=1, page_code=0x06, sp=1)) == 1
    assert field(one.command("LOG SENSE", pc=1, page_code=0x3E)) == 2


def test_log_sense_general_statistics() -> None:
    """Page 19h is made of the counters; the time base is a millisecond."""
    world = World()
    counters = world.server.counters
    counters.read_commands, counters.write_commands = 1, 2
    counters.blocks_read, counters.blocks_written, counters.write_seconds = 3, 4, 0.5
    world.target.advance(2.0)
    data = world.one.command("LOG SENSE", pc=1, page_code=0x19).data

    numbers = [int.from_bytes(data[at : at + 8], "big") for at in range(8, 72, 8)]
    assert numbers == [1, 2, 4, 3, 0, 500, 0, 0]
    assert data[72:84] == bytes.fromhex("0002 02 08") + (1500).to_bytes(8, "big")
    assert data[84:] == bytes.fromhex("0003 03 08 00000003 00000001")


@pytest.mark.parametrize("fields", [{"pcr": 1}, {"pcr": 1, "page_code": 0x06}, {"pc": 3}, {"pcr": 1, "page_code": 6,
                                    "subpage_code": 0xFF}])
def test_log_select_resets(fields: dict[str, int]) -> None:
    """PCR, or PC of default cumulative values, resets the pages that the CDB names; other nexuses hear of it."""
    world = World()
    world.server.counters.non_medium_errors = 5
    result = world.one.command("LOG SELECT", **fields)

    assert result.good
    assert world.server.counters.non_medium_errors == 0
    assert world.one.command("TEST UNIT READY").good
    assert world.two.command("TEST UNIT READY").code == asc.LOG_PARAMETERS_CHANGED


@pytest.mark.parametrize("fields", [{}, {"pc": 1}, {"pc": 2}, {"pcr": 1, "page_code": 0x19}])
def test_log_select_resets_nothing_else(fields: dict[str, int]) -> None:
    """Without PCR, or for another page, the counter stays."""
    world = World()
    world.server.counters.non_medium_errors = 5

    assert world.one.command("LOG SELECT", **fields).good
    assert world.server.counters.non_medium_errors == 5


def test_log_select_refuses_fields() -> None:
    """SP; an unknown page; PCR, page or subpage beside a parameter list."""
    one = World().one
    page = bytes.fromhex("0600000c 0000 0008 00000000 00000007")

    assert field(one.command("LOG SELECT", sp=1)) == 1
    assert field(one.command("LOG SELECT", pcr=1, page_code=0x3E)) == 2
    assert field(one.command("LOG SELECT", pcr=1, page_code=0x06, subpage_code=1)) == 3
    for fields, byte in (({"pcr": 1}, 1), ({"page_code": 6}, 2), ({"subpage_code": 6}, 3)):
        result = one.command("LOG SELECT", pc=1, data_out=page, **fields)
        assert result.code == asc.INVALID_FIELD_IN_CDB
        assert field(result) == byte


def test_log_select_sets_a_counter() -> None:
    """A cumulative value is set where the page allows; LOG SENSE reads it back."""
    world = World()
    result = world.one.command("LOG SELECT", pc=1, data_out=bytes.fromhex("0600000c 0000 0008 00000000 00000007"))

    assert result.good
    assert world.server.counters.non_medium_errors == 7
    assert world.two.command("TEST UNIT READY").code == asc.LOG_PARAMETERS_CHANGED


@pytest.mark.parametrize(
    ("page", "byte"),
    [
        ("1900000c 0000 0208 00000000 00000007", 4),    # cannot be set
        ("0600000c 0001 0008 00000000 00000007", 4),    # no such parameter
        ("0600000c 0000 0308 00000000 00000007", 6),    # another format
        ("06000008 0000 0004 00000007", 7),             # another length
        ("0600000c 0000 1008 00000000 00000007", 6),    # ETC
        ("06000009 0000 0008 0000000000", 4),           # the page length cuts the parameter
        ("0601000c 0000 0008 00000000 00000007", 0),    # a subpage without SPF
        ("3e00000c 0000 0008 00000000 00000007", 4),    # no such page
    ],
)
def test_log_select_refuses_lists(page: str, byte: int) -> None:
    """What cannot be set is INVALID FIELD IN PARAMETER LIST with the pointer at it, and nothing is set."""
    world = World()
    result = world.one.command("LOG SELECT", pc=1, data_out=bytes.fromhex(page))

    assert result.code == asc.INVALID_FIELD_IN_PARAMETER_LIST
    assert field(result) == byte
    assert world.server.counters.non_medium_errors == 0


def test_log_select_thresholds() -> None:
    """Threshold values of a counter cannot be set: INVALID FIELD IN CDB at PC."""
    result = World().one.command("LOG SELECT", pc=0, data_out=bytes.fromhex("0600000c 0000 0008 00000000 00000007"))

    assert result.code == asc.INVALID_FIELD_IN_CDB
    assert field(result) == 2


def test_log_select_application_client() -> None:
    """General usage parameters keep what an application client left; PC does not count for them."""
    world = World()
    text = b"backup of Monday".ljust(252, b"\0")
    result = world.one.command("LOG SELECT", data_out=bytes.fromhex("0f000100 0003 03 fc") + text)
    data = world.two.command("LOG SENSE", pc=1, page_code=0x0F, parameter_pointer=3).data  # first its attention

    assert result.good
    assert data == b""
    data = world.two.command("LOG SENSE", pc=1, page_code=0x0F, parameter_pointer=3).data
    assert data[4:8] == bytes.fromhex("000303fc")
    assert data[8:260] == text


def test_log_select_accounting_date() -> None:
    """Of page 0Eh the accounting date can be set, the counters cannot."""
    world = World()

    assert world.one.command("LOG SELECT", pc=1, data_out=bytes.fromhex("0e00000a 0002 0106") + b"202647").good
    assert world.one.command("LOG SENSE", pc=1, page_code=0x0E).data[8:14] == b"202647"
    both = bytes.fromhex("0e000012 0002 0106") + b"199901" + bytes.fromhex("0004 0304 00000001")
    result = world.one.command("LOG SELECT", pc=1, data_out=both)
    assert result.code == asc.INVALID_FIELD_IN_PARAMETER_LIST
    assert field(result) == 14
    assert world.one.command("LOG SENSE", pc=1, page_code=0x0E).data[8:14] == b"202647"


@given(st.binary(max_size=64))
@settings(max_examples=200, deadline=None)
def test_log_select_any_list(data: bytes) -> None:
    """Any bytes parse to parameters, or are refused."""
    try:
        found = parse_log_parameters(data)
    except CheckCondition:
        return
    assert all(offset + 4 + len(parameter.value) <= len(data) for _, _, offset, parameter in found)


def test_log_parameter_formats() -> None:
    """The parameter control byte is the format, with DU, TSD, ETC and TMC zero."""
    assert LogParameter(1, b"ab", LogFormat.ASCII_LIST).encode() == b"\0\1\1\2ab"
    assert LogParameter(1, b"ab", LogFormat.UNBOUNDED_COUNTER).encode() == b"\0\1\2\2ab"

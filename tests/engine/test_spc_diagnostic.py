"""SEND DIAGNOSTIC, RECEIVE DIAGNOSTIC RESULTS, self-tests."""

from __future__ import annotations

import pytest
from engine_spc_unit import PlainServer, World, no_store

from scsiemu import asc
from scsiemu.command import Command
from scsiemu.errors import IoFailed, IoFault
from scsiemu.sam import Status
from scsiemu.sense import FieldPointer

BACKGROUND_SHORT, BACKGROUND_EXTENDED, ABORT, FOREGROUND_SHORT = 1, 2, 4, 5


def results(world: World) -> list[bytes]:
    """The self-test results that are used, the last first."""
    data = world.one.command("LOG SENSE", pc=1, page_code=0x10).data[4:]
    values = [data[at + 4 : at + 20] for at in range(0, len(data), 20)]
    return [value for value in values if any(value)]


def server(error: Exception | None = None) -> PlainServer:
    """A unit whose self-test ends with an error."""
    plain = PlainServer()
    plain.test_error = error
    return plain


def test_send_diagnostic_default_self_test() -> None:
    """SELFTEST runs the test in the foreground and keeps its result as code 000b."""
    world = World()

    assert world.one.command("SEND DIAGNOSTIC", selftest=1).good
    assert [value[0] for value in results(world)] == [0x00] or results(world) == [bytes(4) + b"\xff" * 8 + bytes(4)]


def test_send_diagnostic_hours_are_those_since_power_on() -> None:
    """Self-test results have the unit's power on hours, whatever the clock said when it was switched on."""
    world = World()
    world.target.advance(10 * 3600.0)
    world.target.remove_unit(0)
    world.target.add_unit(0, PlainServer(), performer=no_store)
    world.one.clear_attentions()
    world.target.advance(13 * 3600.0 + 1)
    assert world.one.command("SEND DIAGNOSTIC", selftest=1).good

    assert int.from_bytes(results(world)[0][2:4], "big") == 3


def test_send_diagnostic_nothing() -> None:
    """All fields zero: no test, no error."""
    world = World()

    assert world.one.command("SEND DIAGNOSTIC").good
    assert results(world) == []


def test_send_diagnostic_background() -> None:
    """Background mode: GOOD at once, in progress until it ends, then its result; other commands go on."""
    world = World()
    assert world.one.command("SEND DIAGNOSTIC", self_test_code=BACKGROUND_EXTENDED).good
    during = results(world)[0][0]
    second = world.one.command("SEND DIAGNOSTIC", self_test_code=BACKGROUND_SHORT)
    ready = world.one.command("TEST UNIT READY").good
    for seconds in range(20):
        world.target.advance(seconds)

    assert during == 0x4F
    assert second.code == asc.LOGICAL_UNIT_NOT_READY_SELF_TEST_IN_PROGRESS
    assert ready
    assert results(world)[0][0] == 0x40


def test_send_diagnostic_abort() -> None:
    """Abort ends the background test with its own result; without one it is refused."""
    world = World()
    world.one.command("SEND DIAGNOSTIC", self_test_code=BACKGROUND_SHORT)
    aborted = world.one.command("SEND DIAGNOSTIC", self_test_code=ABORT)
    again = world.one.command("SEND DIAGNOSTIC", self_test_code=ABORT)

    assert aborted.good
    assert results(world)[0][0] == 0x21
    assert again.code == asc.INVALID_FIELD_IN_CDB
    assert again.sense is not None
    assert again.sense.specific == FieldPointer(1, 7)


def test_send_diagnostic_reset_aborts() -> None:
    """A logical unit reset ends the background test: aborted by other means."""
    world = World()
    world.one.command("SEND DIAGNOSTIC", self_test_code=BACKGROUND_SHORT)
    world.server.reset("logical unit reset")

    assert results(world)[0][0] == 0x22


def test_send_diagnostic_foreground_failure() -> None:
    """A test that fails ends the command with LOGICAL UNIT FAILED SELF-TEST; the log has the sense."""
    world = World(server=server(IoFailed(IoFault.MEDIUM, offset=77)))
    result = world.one.command("SEND DIAGNOSTIC", self_test_code=FOREGROUND_SHORT)

    assert result.status == Status.CHECK_CONDITION
    assert result.code == asc.LOGICAL_UNIT_FAILED_SELF_TEST
    value = results(world)[0]
    assert value[0] == 0xA4
    assert value[4:12] == (77).to_bytes(8, "big")
    assert value[12:15] == bytes((0x04, 0x3E, 0x03))


def test_send_diagnostic_keeps_twenty() -> None:
    """The log keeps the last twenty self-tests, the most recent first."""
    plain = server()
    plain.test_seconds = 0
    world = World(server=plain)
    for number in range(25):
        world.one.command("SEND DIAGNOSTIC", self_test_code=(5, 6)[number % 2])

    assert [value[0] for value in results(world)] == [0xA0, 0xC0] * 10


@pytest.mark.parametrize(
    ("fields", "data", "byte"),
    [
        ({"selftest": 1, "self_test_code": 1}, b"", 1), ({"self_test_code": 3}, b"", 1),
        ({"self_test_code": 7}, b"", 1), ({"self_test_code": 1, "pf": 1}, b"", 1),
        ({"selftest": 1}, bytes(4), 3), ({"self_test_code": 1}, bytes(4), 3), ({"pf": 0}, bytes(4), 1),
    ],
)
def test_send_diagnostic_refuses(fields: dict[str, int], data: bytes, byte: int) -> None:
    """Combinations that SPC-5 table 199 does not have are refused with the field pointer."""
    result = World().one.command("SEND DIAGNOSTIC", data_out=data, **fields)

    assert result.code == asc.INVALID_FIELD_IN_CDB
    assert result.sense is not None
    assert isinstance(result.sense.specific, FieldPointer)
    assert result.sense.specific.byte == byte


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (bytes(4), None), (bytes(3), asc.PARAMETER_LIST_LENGTH_ERROR), (bytes((0x3F, 0, 0, 0)), "field"),
        (bytes((0, 0, 0, 1, 0)), "field"), (bytes((0x40, 0, 0, 4)), asc.PARAMETER_LIST_LENGTH_ERROR),
    ],
)
def test_send_diagnostic_pages(data: bytes, code: object) -> None:
    """A diagnostic page must be there, be whole, and be supported."""

    class Paged(PlainServer):
        def diagnostic_page_codes(self) -> tuple[int, ...]:
            return (0x40,)

    result = World(server=Paged()).one.command("SEND DIAGNOSTIC", pf=1, data_out=data)

    assert result.code == (asc.INVALID_FIELD_IN_PARAMETER_LIST if code == "field" else code)


def test_receive_diagnostic_results() -> None:
    """PCV asks for a page; without it the page that SEND DIAGNOSTIC was about comes."""

    class Paged(PlainServer):
        sent = b""

        def diagnostic_page_codes(self) -> tuple[int, ...]:
            return (0x40,)

        def diagnostic_page(self, code: int) -> bytes:
            return bytes((code, 0, 0, len(self.sent))) + self.sent

        def send_diagnostic_page(self, command: Command, page: bytes) -> None:
            self.sent = page[4:]

    one = World(server=Paged()).one
    name = "RECEIVE DIAGNOSTIC RESULTS"

    assert one.command(name, pcv=1).data == bytes((0, 0, 0, 2, 0, 0x40))
    assert one.command(name).data == bytes((0, 0, 0, 2, 0, 0x40))
    assert one.command(name, pcv=1, page_code=0x41).code == asc.INVALID_FIELD_IN_CDB
    assert one.command("SEND DIAGNOSTIC", pf=1, data_out=b"\x40\0\0\3abc").good
    assert one.command(name).data == b"\x40\0\0\3abc"

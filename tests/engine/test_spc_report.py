"""REPORT SUPPORTED OPERATION CODES and TASK MANAGEMENT FUNCTIONS, timestamp, identifying information."""

from __future__ import annotations

import pytest
from engine_spc_unit import World

from scsiemu import asc
from scsiemu.sam import TaskManagementFunction
from scsiemu.sense import FieldPointer
from scsiemu.spc import SpcDeviceServer
from scsiemu.spc_inquiry import INQUIRY
from scsiemu.target import Target
from scsiemu.testing.initiator import Initiator, Result, StateDictionary

RSOC = "REPORT SUPPORTED OPERATION CODES"


def field(result: Result) -> int:
    """The byte of the field pointer."""
    assert result.sense is not None
    assert isinstance(result.sense.specific, FieldPointer)
    return result.sense.specific.byte


def test_report_supported_operation_codes_usage() -> None:
    """CDB usage data has ones where the device server looks, the opcode, and zeros where bits are reserved."""
    data = World().one.command(RSOC, reporting_options=1, requested_operation_code=0x12).data

    assert data == bytes.fromhex("0003 0006 12 01 ff ffff") + bytes((INQUIRY.usage(opcode=0x12)[5],))


def test_report_supported_operation_codes_timeouts() -> None:
    """RCTD adds a command timeouts descriptor to each command and sets CTDP."""
    one = World().one
    data = one.command(RSOC, reporting_options=1, requested_operation_code=0x1D, rctd=1).data
    every = one.command(RSOC, rctd=1).data

    assert data[1] == 0x83
    assert data[10:] == bytes.fromhex("000a 0000 00000000 0000003c")
    assert (len(every) - 4) % 20 == 0
    assert all(every[at + 5] & 2 for at in range(4, len(every), 20))


@pytest.mark.parametrize(
    ("option", "opcode", "action", "support"),
    [
        (1, 0x12, 0, 3), (1, 0x12, 9, 3), (1, 0xEE, 0, 1), (2, 0xA3, 0x0C, 3), (2, 0xA3, 0x1F, 1), (2, 0xEE, 0, 1),
        (3, 0x12, 0, 3), (3, 0x12, 1, 1), (3, 0xA3, 0x0C, 3), (3, 0xA3, 0x1F, 1), (3, 0xEE, 0, 1),
        (1, 0xA3, 0x0C, None), (2, 0x12, 0, None),
    ],
)
def test_report_supported_operation_codes_one(option: int, opcode: int, action: int, support: int | None) -> None:
    """SUPPORT by REPORTING OPTIONS; 001b refuses opcodes with service actions, 010b those without (SPC-5 table 305)."""
    result = World().one.command(
        RSOC, reporting_options=option, requested_operation_code=opcode, requested_service_action=action
    )

    if support is None:
        assert result.code == asc.INVALID_FIELD_IN_CDB
        assert field(result) == 3
    else:
        assert result.data[1] & 7 == support


def test_report_supported_operation_codes_reserved_options() -> None:
    """Reserved REPORTING OPTIONS are refused."""
    one = World().one

    for option in (4, 5, 6, 7):
        assert field(one.command(RSOC, reporting_options=option)) == 2


def test_report_supported_operation_codes_unavailable() -> None:
    """Without a state store identifying information does not exist, anywhere."""
    without, with_store = World().one, World(state=StateDictionary()).one

    for opcode, action in ((0xA3, 0x05), (0xA4, 0x06)):
        fields = {"reporting_options": 2, "requested_operation_code": opcode, "requested_service_action": action}
        assert without.command(RSOC, **fields).data[1] == 1
        assert with_store.command(RSOC, **fields).data[1] == 3
    assert without.command("REPORT IDENTIFYING INFORMATION").code == asc.INVALID_FIELD_IN_CDB


def test_report_supported_task_management_functions() -> None:
    """All functions of SAM-5 but the obsolete ones; REPD gives the long format."""
    one = World().one
    name = "REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS"

    assert one.command(name).data == bytes((0xFC, 0x07, 0, 0))
    assert one.command(name, repd=1).data == bytes((0xFC, 0x07, 0, 12)) + bytes(12)


def test_report_timestamp_from_power_on() -> None:
    """Never set, the timestamp counts milliseconds from power on, origin 000b."""
    world = World()
    world.target.advance(1.5)

    assert world.one.command("REPORT TIMESTAMP").data == bytes.fromhex("000a 00 00 0000000005dc 0000")


def test_set_timestamp() -> None:
    """SET TIMESTAMP is read back with origin 010b, goes on with the clock, and others hear of it."""
    world = World()
    value = 1_700_000_000_000
    result = world.one.command("SET TIMESTAMP", data_out=bytes(4) + value.to_bytes(6, "big") + bytes(2))
    world.target.advance(2.0)
    data = world.one.command("REPORT TIMESTAMP").data

    assert result.good
    assert data[2] == 0b010
    assert int.from_bytes(data[4:10], "big") == value + 2000
    assert world.two.command("TEST UNIT READY").code == asc.TIMESTAMP_CHANGED


def test_set_timestamp_lengths() -> None:
    """No parameter list is no change; a short one is PARAMETER LIST LENGTH ERROR."""
    one = World().one

    assert one.command("SET TIMESTAMP").good
    for length in range(1, 12):
        assert one.command("SET TIMESTAMP", data_out=bytes(length)).code == asc.PARAMETER_LIST_LENGTH_ERROR
    assert one.command("REPORT TIMESTAMP").data[2] == 0


def test_set_timestamp_too_late() -> None:
    """A TIMESTAMP whose first byte is greater than F0h is refused and changes nothing (SPC-5 6.50)."""
    one = World().one

    result = one.command("SET TIMESTAMP", data_out=bytes(4) + b"\xf1" + bytes(7))
    assert (result.code, field(result)) == (asc.INVALID_FIELD_IN_PARAMETER_LIST, 4)
    assert one.command("REPORT TIMESTAMP").data[2] == 0
    assert one.command("SET TIMESTAMP", data_out=bytes(4) + b"\xf0" + bytes(7)).good


def test_set_timestamp_is_allowed() -> None:
    """SCSIP of the control extension mode page is one, as SET TIMESTAMP is performed (SPC-5 6.50, 7.5.11)."""
    data = World().one.command("MODE SENSE(10)", page_code=0x0A, subpage_code=1).data

    assert data[-28] & 0x02


def test_set_timestamp_resets() -> None:
    """A hard reset makes the timestamp zero, a logical unit reset leaves it (SPC-5 5.3)."""
    world = World()
    world.server.set_timestamp(5)
    world.one.clear_attentions()
    world.server.reset("logical unit reset")
    kept = world.one.command("REPORT TIMESTAMP").data[4:10]
    world.server.reset("target reset")

    assert kept == (5).to_bytes(6, "big")
    assert world.one.command("REPORT TIMESTAMP").data[2:10] == bytes(8)


def test_set_timestamp_by_operator() -> None:
    """Set from outside of SCSI the origin is 011b and everyone hears of it."""
    world = World()
    world.server.set_timestamp(5)

    assert world.one.command("TEST UNIT READY").code == asc.TIMESTAMP_CHANGED
    assert world.one.command("REPORT TIMESTAMP").data[2] == 0b011


def test_set_identifying_information_outlives_the_process() -> None:
    """What was set is there after a restart; other nexuses get DEVICE IDENTIFIER CHANGED."""
    state = StateDictionary()
    world = World(state=state)
    assert world.one.command("SET IDENTIFYING INFORMATION", data_out=b"\1\2\3").good
    assert world.one.command("SET IDENTIFYING INFORMATION", information_type=2, data_out=b"rack 7\0").good
    again = World(state=state).one

    assert world.two.command("TEST UNIT READY").code == asc.DEVICE_IDENTIFIER_CHANGED
    assert again.command("REPORT IDENTIFYING INFORMATION").data == b"\0\0\0\3\1\2\3"
    assert again.command("REPORT IDENTIFYING INFORMATION", information_type=2).data == b"\0\0\0\7rack 7\0"
    assert again.command("REPORT IDENTIFYING INFORMATION", information_type=127).data == bytes.fromhex(
        "0000 0008 0000 0200 0400 0100"
    )


def test_set_identifying_information_refuses() -> None:
    """Unknown types, too much information, and text without its null are refused."""
    one = World(state=StateDictionary()).one
    name = "SET IDENTIFYING INFORMATION"

    assert field(one.command(name, information_type=1, data_out=b"x")) == 10
    assert field(one.command(name, data_out=bytes(513))) == 6
    assert field(one.command(name, information_type=2, data_out=bytes(257))) == 6
    result = one.command(name, information_type=2, data_out=b"text")
    assert result.code == asc.INVALID_FIELD_IN_PARAMETER_LIST
    assert one.command(name, data_out=b"").good
    assert field(one.command("REPORT IDENTIFYING INFORMATION", information_type=1)) == 10


def test_set_timestamp_outlives_the_process() -> None:
    """With a state store the clock goes on over a restart, by the time of day; a hard reset forgets that."""
    state = StateDictionary()

    def powered_on(now: float, epoch: float) -> Initiator:
        target = Target("iqn.2026-11.org.example:clock", now=now, epoch=epoch)
        target.add_unit(0, SpcDeviceServer(), state_performer=state)
        return Initiator(target)

    def shown(initiator: Initiator) -> tuple[int, int]:
        data = initiator.command("REPORT TIMESTAMP").data
        return data[2], int.from_bytes(data[4:10], "big")

    # 1,000 s of the clock are 51,000 s of the day; the initiator's clock is 7 s slow.
    first = powered_on(now=1000.0, epoch=-50_000.0)
    wanted = (51_000 - 7) * 1000
    assert first.command("SET TIMESTAMP", data_out=bytes(4) + wanted.to_bytes(6, "big") + bytes(2)).good
    assert shown(first) == (2, wanted)

    # Another process, 100 s later, whose clock begins at zero.
    second = powered_on(now=0.0, epoch=-51_100.0)
    assert shown(second) == (2, wanted + 100_000)
    second.target.manage(TaskManagementFunction.TARGET_COLD_RESET, second.nexus)
    assert state.kept == {}

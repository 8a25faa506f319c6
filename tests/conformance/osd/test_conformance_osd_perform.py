"""PERFORM SCSI COMMAND and PERFORM TASK MANAGEMENT FUNCTION. Nothing on the unit survives."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from conformance import ConformanceUnit
from osd_clauses import about
from osd_unit import OBJECT, Osd, pointer

from devtypes.osd.requests import capability
from scsiemu import asc
from scsiemu.object_requests import ObjectKind

CDB = asc.INVALID_FIELD_IN_CDB
PERFORM = "PERFORM SCSI COMMAND"
FUNCTION = "PERFORM TASK MANAGEMENT FUNCTION"
DEVICE, GLOBAL = 0x80 << 24, 0x40 << 24
INQUIRY = "120000002400"


def embedded(text: str) -> dict[str, int]:
    """A CDB as the field."""
    return {"scsi_command": int.from_bytes(bytes.fromhex(text).ljust(16, b"\0"), "big")}


@about("PERFORM SCSI COMMAND")
def test_perform_scsi_command_data_in(unit: ConformanceUnit, osd: Osd) -> None:
    """Data-In is that of the command, cut to its own allocation length."""
    plain = unit.good(bytes.fromhex(INQUIRY), data_in=36)

    assert osd.good(PERFORM, data_in=36, **embedded(INQUIRY)) == plain
    assert osd.good(PERFORM, data_in=36, **embedded("120000000500")) == plain[:5]


@about("PERFORM SCSI COMMAND")
def test_perform_scsi_command_data_out(unit: ConformanceUnit, osd: Osd) -> None:
    """Data-Out is that of the command, and does what it does: a reservation holds for performed commands, too."""
    other = Osd.__new__(Osd)
    other.unit, other.version = unit.another(), osd.version
    osd.good(PERFORM, data=struct.pack(">QQ8x", 0, 7), **embedded("5F000000000000001800"))
    osd.good(PERFORM, data=struct.pack(">QQ8x", 7, 0), **embedded("5F010300000000001800"))
    sent = other.request(PERFORM, **embedded("5A000A0000000000FF00"))
    other.unit.conflict(sent.cdb, b"", 255)
    osd.good(PERFORM, data=struct.pack(">QQ8x", 7, 0), **embedded("5F030000000000001800"))
    other.unit.good(sent.cdb, b"", 255)


@about("PERFORM SCSI COMMAND")
def test_perform_scsi_command_sense(unit: ConformanceUnit, osd: Osd) -> None:
    """Sense data is that of the command, the field pointer one into its own CDB."""
    assert pointer(osd.refused(PERFORM, CDB, data_in=36, **embedded("1201FF002400"))).byte == 2


@pytest.mark.parametrize("text", ["7F", "28", "FF"], ids=["object command", "READ(10)", "FFh"])
@about("PERFORM SCSI COMMAND")
def test_perform_scsi_command_unknown(unit: ConformanceUnit, osd: Osd, text: str) -> None:
    """Object commands, and what is no command of the unit, are refused at the field."""
    assert pointer(osd.refused(PERFORM, CDB, **embedded(text))).byte == 16


@pytest.mark.parametrize("name", [PERFORM, FUNCTION], ids=["command", "function"])
@about("PERFORM SCSI COMMAND", "PERFORM TASK MANAGEMENT FUNCTION", "capability format")
def test_perform_permission(unit: ConformanceUnit, osd: Osd, name: str) -> None:
    """The capability is one of the root, with DEV_MGMT and GLOBAL."""
    fields: dict[str, Any] = {"function": 2} if name == FUNCTION else embedded("00")
    for bits in (DEVICE, GLOBAL):
        allowed = capability(osd.version, ObjectKind.ROOT, 0, 0, permissions=bits)
        assert pointer(osd.refused(name, CDB, capability=allowed, **fields)).byte == 129
    allowed = capability(osd.version, ObjectKind.ROOT, 0, 0, permissions=DEVICE | GLOBAL)
    osd.good(name, capability=allowed, **fields)


@pytest.mark.parametrize("code", [0x01, 0x02, 0x04, 0x40], ids=hex)
@about("PERFORM TASK MANAGEMENT FUNCTION")
def test_perform_task_management_function(unit: ConformanceUnit, osd: Osd, code: int) -> None:
    """A function that hits no command is complete, and leaves objects as they are."""
    osd.write(b"stays")
    osd.good(FUNCTION, function=code, task_tag=0x12345678)

    assert osd.read(5) == b"stays"


@about("PERFORM TASK MANAGEMENT FUNCTION")
def test_perform_reset(unit: ConformanceUnit, osd: Osd) -> None:
    """LOGICAL UNIT RESET is heard of by every nexus."""
    other = unit.another()
    osd.good(FUNCTION, function=0x08)

    assert [each.asc for each in other.attentions()] == [0x29]
    unit.attentions()
    osd.good("READ", **OBJECT)


@about("PERFORM TASK MANAGEMENT FUNCTION")
def test_perform_function_unknown(unit: ConformanceUnit, osd: Osd) -> None:
    """Reserved functions, and QUERY TASK of a command that is not there, are refused at their fields."""
    assert pointer(osd.refused(FUNCTION, CDB, function=0x03)).byte == 16
    assert pointer(osd.refused(FUNCTION, CDB, function=0x80, task_tag=99)).byte == 24

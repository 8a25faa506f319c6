"""PERFORM SCSI COMMAND and PERFORM TASK MANAGEMENT FUNCTION, of both versions."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from osd_bench import COMMAND, PID, Osd, ticking

from devtypes.osd.capability import Permission
from devtypes.osd.requests import capability
from iohandlers.objects_memory import open_store
from scsiemu import asc
from scsiemu.io_requests import PENDING
from scsiemu.object_requests import ObjectKind
from scsiemu.sam import Status
from scsiemu.testing.initiator import Result


def embedded(text: str) -> int:
    """A CDB, as the field's number."""
    return int.from_bytes(bytes.fromhex(text).ljust(16, b"\0"), "big")


@pytest.mark.parametrize("version", [1, 2])
def test_perform_inquiry(version: int) -> None:
    """Data-In is the command's, cut to its own allocation length."""
    osd = Osd(version)
    plain = osd.initiator.execute(0, bytes.fromhex("120000002400")).data

    assert osd("PERFORM SCSI COMMAND", scsi_command=embedded("120000002400")).data == plain
    assert osd("PERFORM SCSI COMMAND", scsi_command=embedded("120000000500")).data == plain[:5]


def test_perform_refusals() -> None:
    """The command's own sense data; object commands and unknown ones are no commands here."""
    osd = Osd()

    result = osd("PERFORM SCSI COMMAND", scsi_command=embedded("1201FF002400"))
    assert (result.code, result.sense.specific.byte) == (asc.INVALID_FIELD_IN_CDB, 2)
    for text in ("7F", "28", "FF"):
        result = osd("PERFORM SCSI COMMAND", scsi_command=embedded(text))
        assert (result.code, result.sense.specific.byte) == (asc.INVALID_FIELD_IN_CDB, 16)


def test_perform_reserve() -> None:
    """Data-Out is the command's; a reservation that is made so holds, for performed commands too."""
    osd = Osd()
    register = struct.pack(">QQ", 0, 7) + bytes(8)
    assert osd("PERFORM SCSI COMMAND", register, scsi_command=embedded("5F000000000000001800")).good
    reserve = struct.pack(">QQ", 7, 0) + bytes(8)
    assert osd("PERFORM SCSI COMMAND", reserve, scsi_command=embedded("5F010300000000001800")).good
    other = Osd(of=osd)

    assert other("PERFORM SCSI COMMAND", scsi_command=embedded("5A000A0000000000FF00")).status == (
        Status.RESERVATION_CONFLICT
    )
    assert other("PERFORM SCSI COMMAND", scsi_command=embedded("120000002400")).good
    short = osd("PERFORM SCSI COMMAND", reserve[:4], scsi_command=embedded("5F010300000000001800"))
    assert short.code == asc.PARAMETER_LIST_LENGTH_ERROR


def test_perform_with_attributes() -> None:
    """Attributes of the root come behind the command's data; they cannot be set."""
    osd = Osd()
    words = (COMMAND, 100, 1, 0, 0, 0, 0)       # page form, at 256
    fields = {"cdbfmt": 2, "attributes": int.from_bytes(struct.pack(">7I", *words), "big")}
    data = osd("PERFORM SCSI COMMAND", scsi_command=embedded("120000002400"), **fields).data
    assert data[8:16] == b"SCSIEMU "
    assert data[36:256] == bytes(220)
    assert data[256:260] == COMMAND.to_bytes(4, "big")

    value = int.from_bytes(struct.pack(">IIH18s", 0x90000001, 9, 1, b"x"), "big")
    result = osd("PERFORM SCSI COMMAND", scsi_command=embedded("00"), cdbfmt=1, attributes=value)
    assert result.code == asc.INVALID_FIELD_IN_CDB


@pytest.mark.parametrize("version", [1, 2])
def test_perform_functions(version: int) -> None:
    """A function hits other commands, never the one that asks; what is not there is not found."""
    osd = Osd(version)

    def function(code: int, tag: int = 0) -> Result:
        return osd("PERFORM TASK MANAGEMENT FUNCTION", function=code, task_tag=tag)

    assert function(0x80, 99).code == asc.INVALID_FIELD_IN_CDB
    assert function(0x03).code == asc.INVALID_FIELD_IN_CDB
    for code in (0x01, 0x02, 0x04, 0x40):
        assert function(code).good
    assert function(0x08).good
    assert function(0x02).code == asc.BUS_DEVICE_RESET_FUNCTION_OCCURRED


class Late:
    """A store that keeps the answer of one command back."""

    def __init__(self) -> None:
        self.store = open_store(clock=ticking())
        self.capabilities = self.store.capabilities
        self.tag = -1
        self.kept: list[tuple[Any, Any]] = []

    def submit(self, request: Any, ticket: Any, /) -> Any:
        """The answer, or PENDING."""
        answer = self.store.submit(request, ticket)
        if ticket.tag != self.tag:
            return answer
        self.kept.append((ticket, answer))
        return PENDING


def test_perform_abort_task() -> None:
    """QUERY TASK finds a command that waits for the store; ABORT TASK is answered when that is gone."""
    late = Late()
    osd = Osd(store=late).formatted()
    late.tag = 1000
    cdb = osd.initiator.cdb("CREATE", partition_id=PID)
    waiting = osd.initiator.start(0, cdb, tag=1000)
    function = osd.initiator.cdb("PERFORM TASK MANAGEMENT FUNCTION", function=0x01, task_tag=1000)
    assert osd("PERFORM TASK MANAGEMENT FUNCTION", function=0x80, task_tag=1000).good
    abort = osd.initiator.start(0, function)
    while osd.initiator.turn():
        pass
    assert abort.result is waiting.result is None

    osd.target.complete(*late.kept[0])
    assert osd.initiator.finish(abort).good
    assert waiting.result is not None
    assert waiting.result.silent
    assert osd("PERFORM TASK MANAGEMENT FUNCTION", function=0x80, task_tag=1000).code == asc.INVALID_FIELD_IN_CDB


def test_perform_needs_permission() -> None:
    """The capability has to be one of the root, with DEV_MGMT and GLOBAL."""
    osd = Osd()
    allowed = capability(2, ObjectKind.ROOT, 0, 0, permissions=Permission.DEVICE_MANAGEMENT)
    both = capability(2, ObjectKind.ROOT, 0, 0, permissions=Permission.DEVICE_MANAGEMENT | Permission.GLOBAL)

    result = osd("PERFORM SCSI COMMAND", scsi_command=0, capability=allowed)
    assert (result.code, result.sense.specific.byte) == (asc.INVALID_FIELD_IN_CDB, 129)
    assert osd("PERFORM SCSI COMMAND", scsi_command=0, capability=both).good

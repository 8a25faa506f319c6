"""PERFORM SCSI COMMAND and PERFORM TASK MANAGEMENT FUNCTION (OSD-2 6): what every SCSI device does, asked for with a
capability.

The command is in bytes 16 to 31 of the CDB, zeros behind it; its Data-Out is the command's, its Data-In, status and
sense data are the answer. Any command of the unit but those of object storage can be performed. A function has its code
in byte 16 and the tag of the command that it is about in bytes 24 to 31; it hits other commands, never the one that
asks, and is answered with GOOD when it is complete. Which bytes the standard gives to these fields we could not check.
Attributes of the root can be got with both, not set: what was performed cannot be undone.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, Final

from devtypes.osd.base import OsdBase
from devtypes.osd.capability import Permission
from devtypes.osd.execution import Work
from devtypes.osd.layouts import OPCODE, osd_operation_at
from devtypes.osd.objects import ROOT
from scsiemu import asc
from scsiemu.cdb import CdbFields
from scsiemu.command import Command, Completion, Steps
from scsiemu.errors import IoFailed
from scsiemu.io_requests import DataOut, IoRequest
from scsiemu.operations import ReservationClass
from scsiemu.sam import Status
from scsiemu.sam import TaskManagementFunction as Function
from scsiemu.sam import TaskManagementResponse as Response
from scsiemu.sense import CheckCondition, FieldPointer
from scsiemu.task_manager import Manage

__all__ = ["PerformCommands"]

_COMMAND: Final = ("scsi_command?:128 _:160", "scsi_command?:128 _:160")
_FUNCTION: Final = ("function:8 _:56 task_tag:64 _:160", "function:8 _:56 task_tag:64 _:160")
_FUNCTIONS: Final = {
    0x01: Function.ABORT_TASK, 0x02: Function.ABORT_TASK_SET, 0x04: Function.CLEAR_TASK_SET,
    0x08: Function.LOGICAL_UNIT_RESET, 0x40: Function.CLEAR_ACA, 0x80: Function.QUERY_TASK,
}
_NEEDED: Final = Permission.DEVICE_MANAGEMENT | Permission.GLOBAL


class PerformCommands(OsdBase):
    """See the module."""

    @osd_operation_at((0x8F7E, 0x8F7C), "PERFORM SCSI COMMAND", _COMMAND, conflict=ReservationClass.ALWAYS)
    def osd_perform_scsi_command(self, command: Command, cdb: CdbFields) -> Steps:
        """Perform a command of SPC; its reservation class is what counts."""
        inner = Command(
            command.nexus, command.lun, cdb.scsi_command.to_bytes(16, "big"), command.tag,
            data_in_length=command.data_in_length,
        )
        inner.unit, inner.nexus_state = command.unit, command.nexus_state
        inner.prepare()
        self.recognize(inner)
        operation = inner.operation
        if operation is None or operation.opcode == OPCODE:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="scsi_command")
        given = b""
        length = 0
        if operation.parameter_list is not None:
            assert inner.fields is not None
            length = min(getattr(inner.fields, operation.parameter_list), operation.parameter_list_limit)

        def function(work: Work) -> bytes:
            nonlocal given
            if work.sets:
                raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="cdbfmt")
            given = work.data
            return b""

        allowed = yield from self.carry_out(command, cdb, ROOT, function, _NEEDED, data_length=length)
        if allowed.status:
            return allowed
        completion = yield from self._perform_inner(inner, given)
        if completion.status == Status.GOOD and allowed.data_in:
            completion.data_in = _joined(bytes(completion.data_in), bytes(allowed.data_in))
        return completion

    def _perform_inner(self, inner: Command, given: bytes) -> Generator[IoRequest[Any], Any, Completion]:
        """Perform a command by the requests of the one that it came in."""
        try:
            outcome = self.begin(inner)
            while not isinstance(outcome, Completion):
                inner.io_request = outcome
                answer: Any
                try:
                    # Its Data-Out has come and was checked already.
                    answer = given[: outcome.length] if isinstance(outcome, DataOut) else (yield outcome)
                except IoFailed as failure:
                    answer = failure
                outcome = self.resume(inner, answer)
        finally:
            self.close(inner)
        self.finish(inner, outcome)
        return outcome

    @osd_operation_at((0x8F7F, 0x8F7D), "PERFORM TASK MANAGEMENT FUNCTION", _FUNCTION)
    def osd_perform_task_management_function(self, command: Command, cdb: CdbFields) -> Steps:
        """Perform a task management function for the command's nexus."""
        function = _FUNCTIONS.get(cdb.function)
        if function is None:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="function")

        def nothing(work: Work) -> bytes:
            if work.sets:
                raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="cdbfmt")
            return b""

        allowed = yield from self.carry_out(command, cdb, ROOT, nothing, _NEEDED)
        if allowed.status:
            return allowed
        response = yield from Manage(function, cdb.task_tag)
        if function is Function.QUERY_TASK and response is not Response.FUNCTION_SUCCEEDED:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="task_tag")       # there is no such command
        if response is Response.FUNCTION_REJECTED:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="function")
        return allowed


def _joined(data: bytes, attributes: bytes) -> bytes:
    """Data-In of the command, and behind it the attributes at their offset, before which there are zeros."""
    if attributes[: len(data)].strip(b"\0"):
        raise CheckCondition(asc.INVALID_FIELD_IN_CDB, pointer=FieldPointer(60))
    return data + attributes[len(data) :]

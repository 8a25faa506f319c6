"""A request that the server has taken: its data by DMA, its end, its response with residuals.

    Data-Out   fetched when the device server asks for it, that is after all its checks
    Data-In    written when the command has ended, then the response

A task is the origin of its command in the engine. A DMA fault ends its command: the engine aborts it, the client gets
CHECK CONDITION with DATA PHASE ERROR, and ADAPTER FAIL in the CRQ element.

It does NOT: know the state of the connection (adapter.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from scsiemu import asc
from scsiemu.command import Command, Completion, DataOutRequest
from scsiemu.lun import encode
from scsiemu.sam import Status, TaskManagementFunction, TaskManagementResponse
from scsiemu.sense import Sense
from scsiemu.task_manager import ManagementResponse
from transports.vscsi.codes import CrqStatus, ResponseCode, ResponseFlags, Return, SolicitedNotification, SrpTask
from transports.vscsi.descriptors import Segment
from transports.vscsi.information_units import ResponseIu

if TYPE_CHECKING:
    from transports.vscsi.adapter import TargetAdapter

__all__ = ["FUNCTIONS", "Function", "Task", "unit_of"]

FUNCTIONS: Final[dict[int, TaskManagementFunction]] = {
    SrpTask.ABORT_TASK: TaskManagementFunction.ABORT_TASK,
    SrpTask.ABORT_TASK_SET: TaskManagementFunction.ABORT_TASK_SET,
    SrpTask.CLEAR_TASK_SET: TaskManagementFunction.CLEAR_TASK_SET,
    SrpTask.LUN_RESET: TaskManagementFunction.LOGICAL_UNIT_RESET,
    SrpTask.CLEAR_ACA: TaskManagementFunction.CLEAR_ACA,
}

_CODES: Final[dict[TaskManagementResponse, int]] = {
    TaskManagementResponse.FUNCTION_COMPLETE: ResponseCode.COMPLETE,
    TaskManagementResponse.FUNCTION_SUCCEEDED: ResponseCode.COMPLETE,
    TaskManagementResponse.FUNCTION_REJECTED: ResponseCode.FAILED,
    TaskManagementResponse.INCORRECT_LOGICAL_UNIT_NUMBER: ResponseCode.FIELDS_INVALID,
    TaskManagementResponse.TASK_DOES_NOT_EXIST: ResponseCode.COMPLETE,
    TaskManagementResponse.SERVICE_DELIVERY_FAILURE: ResponseCode.FAILED,
}

_FAULT_SENSE: Final = Sense(asc.DATA_PHASE_ERROR).encode(descriptor=False)

_LOGICAL_UNIT_METHOD: Final = 2
_ONE_LEVEL: Final = 0xFFFF_FFFF_FFFF


def unit_of(lun: int) -> int:
    """The LUN that the engine knows for the one of an information unit.

    Clients of virtual SCSI address by the logical unit method, 10b, bus and target: the fourteen bits are our number,
    so that unit 5 is bus 0, target 0, LUN 5. Other methods are left as they are.
    """
    if lun >> 62 == _LOGICAL_UNIT_METHOD and not lun & _ONE_LEVEL:
        return encode(lun >> 48 & 0x3FFF)
    return lun


class Task:
    """A SCSI command of a client.

    Args:
        adapter: whose.
        tag: of the SRP_CMD.
        address: of its information unit, where the response goes.
        data_out, data_in: the segments of its buffers.
        notification: SOLICITED NOTIFICATION of the SRP_CMD.

    Attributes:
        held: bytes of Data-Out that are counted for it.
        alive: its client still waits for it.
    """

    __slots__ = ("_adapter", "_address", "_data_in", "_data_out", "_fault", "_notification", "alive", "held", "tag")

    def __init__(
        self,
        adapter: TargetAdapter,
        tag: int,
        address: int,
        data_out: tuple[Segment, ...],
        data_in: tuple[Segment, ...],
        notification: int = 0,
    ) -> None:
        self.tag = tag
        self.held = 0
        self.alive = True
        self._adapter = adapter
        self._address = address
        self._data_out = data_out
        self._data_in = data_in
        self._notification = notification
        self._fault = False

    def data_out_request(self, request: DataOutRequest) -> None:
        """The device server wants Data-Out."""
        if not self.alive:
            return
        adapter = self._adapter
        # The window before the buffer: nothing is allocated for addresses that nobody can read.
        pieces = _pieces(self._data_out, request.offset, request.length)
        if not all(adapter.readable(address, length) for address, length in pieces):
            self._fail(request.command)
            return
        buffer = request.buffer
        at = 0
        for address, length in pieces:
            code = adapter.hypervisor.copy_into(adapter.unit, address, buffer[at : at + length])
            if code != Return.SUCCESS:
                self._fail(request.command)
                return
            at += length
        adapter.port.target.data_out(request.command)

    def _fail(self, command: Command) -> None:
        """Data-Out cannot be had: the command ends, and `complete` says why."""
        self._fault = True
        self._adapter.port.manage(
            TaskManagementFunction.ABORT_TASK, command.nexus, command.lun, tag=command.tag, origin=None
        )

    def complete(self, completion: Completion) -> None:  # hot
        """The command has ended."""
        adapter = self._adapter
        if self.held:
            adapter.port.released(self.held)
        if not self.alive:
            return
        adapter.forget(self)
        if completion.silent:
            if not self._fault:
                adapter.owed += 1       # its credit goes back with the next response
                return
            completion.status, completion.sense_data = Status.CHECK_CONDITION, _FAULT_SENSE
        command = completion.command
        response = ResponseIu(self.tag, completion.status, 0, 0, 0, 0, completion.sense_data)
        data = completion.data_in
        length = len(data)
        expected = command.data_in_length
        if length and expected:
            code = self._write(data if length <= expected else memoryview(data)[:expected])
            if code == Return.PERMISSION:
                adapter.partner_lost()
                return
            if code != Return.SUCCESS:
                self._fault = True
                length = 0
                response.status, response.sense = Status.CHECK_CONDITION, _FAULT_SENSE
        if length < expected:
            response.flags = ResponseFlags.DATA_IN_UNDER
            response.data_in_residual = expected - length
        elif length > expected:
            response.flags = ResponseFlags.DATA_IN_OVER
            response.data_in_residual = length - expected
        wanted, expected = completion.data_out_wanted, command.data_out_length
        if wanted < expected:
            response.flags |= ResponseFlags.DATA_OUT_UNDER
            response.data_out_residual = expected - wanted
        elif wanted > expected:
            response.flags |= ResponseFlags.DATA_OUT_OVER
            response.data_out_residual = wanted - expected
        status = CrqStatus.ADAPTER_FAIL if self._fault else CrqStatus.OK
        if self._notification:
            wanted = SolicitedNotification.UNSUCCESSFUL if response.status else SolicitedNotification.SUCCESSFUL
            response.notification = bool(self._notification & wanted)
        adapter.respond(self._address, response, status=status)

    def _write(self, data: bytes | bytearray | memoryview) -> int:  # hot
        """Write Data-In; the code of the first copy that fails."""
        adapter = self._adapter
        segments = self._data_in
        if segments[0].length >= len(data):
            return adapter.hypervisor.copy_out(adapter.unit, segments[0].address, data)
        view = memoryview(data)
        at = 0
        for address, length in _pieces(segments, 0, len(data)):
            code = adapter.hypervisor.copy_out(adapter.unit, address, view[at : at + length])
            if code != Return.SUCCESS:
                return code
            at += length
        return Return.SUCCESS


class Function:
    """A task management request; the origin that its answer is found by."""

    __slots__ = ("_adapter", "_address", "alive", "tag")

    def __init__(self, adapter: TargetAdapter, tag: int, address: int) -> None:
        self.tag = tag
        self.alive = True
        self._adapter = adapter
        self._address = address

    def answered(self, response: ManagementResponse) -> None:
        """The target has performed it."""
        if not self.alive:
            return
        self._adapter.forget(self)
        self._adapter.respond(self._address, ResponseIu(self.tag, response_code=_CODES[response.response]))


def _pieces(segments: tuple[Segment, ...], offset: int, length: int) -> list[tuple[int, int]]:
    """Addresses and lengths of `length` bytes of a buffer from `offset`. The segments are long enough."""
    found = []
    for address, size, _ in segments:
        if offset >= size:
            offset -= size
            continue
        count = min(size - offset, length)
        if not count:
            break
        found.append((address + offset, count))
        length -= count
        offset = 0
    return found

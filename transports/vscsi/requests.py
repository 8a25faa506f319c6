"""What a client has asked for, and how it ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from scsiemu.command import Buffer
from scsiemu.errors import RemoteProtocolError
from scsiemu.lun import unit_lun
from scsiemu.sam import STATUS_NAMES, Status, TaskManagementFunction, TaskManagementResponse
from transports.vscsi.codes import CrqStatus, ResponseCode, ResponseFlags, SrpTask
from transports.vscsi.descriptors import (
    NO_DATA,
    SEGMENT_LENGTH,
    TABLE_HEADER_LENGTH,
    DataDescriptor,
    Segment,
    direct,
    indirect,
)
from transports.vscsi.information_units import ResponseIu
from transports.vscsi.memory import ClientMemory

__all__ = ["FUNCTION_CODES", "FragmentRule", "Request", "Result", "VscsiError", "wire_lun"]

FUNCTION_CODES: Final[dict[TaskManagementFunction, int]] = {
    TaskManagementFunction.ABORT_TASK: SrpTask.ABORT_TASK,
    TaskManagementFunction.ABORT_TASK_SET: SrpTask.ABORT_TASK_SET,
    TaskManagementFunction.CLEAR_TASK_SET: SrpTask.CLEAR_TASK_SET,
    TaskManagementFunction.LOGICAL_UNIT_RESET: SrpTask.LUN_RESET,
    TaskManagementFunction.CLEAR_ACA: SrpTask.CLEAR_ACA,
}

_ANSWERS: Final[dict[int, TaskManagementResponse]] = {
    ResponseCode.COMPLETE: TaskManagementResponse.FUNCTION_COMPLETE,
    ResponseCode.FIELDS_INVALID: TaskManagementResponse.INCORRECT_LOGICAL_UNIT_NUMBER,
    ResponseCode.NOT_SUPPORTED: TaskManagementResponse.FUNCTION_REJECTED,
    ResponseCode.FAILED: TaskManagementResponse.SERVICE_DELIVERY_FAILURE,
}

_ALIGNMENT: Final = 16


class VscsiError(RemoteProtocolError):
    """A request ended without an answer of the device: refused by the port, aborted, or its partner is gone."""


@dataclass(slots=True)
class Result:
    """How a command ended.

    Args:
        status: one of `scsiemu.sam.Status`.
        sense: sense data, empty for none.
        data: Data-In.
        data_in_residual, data_out_residual: bytes that were offered and not used; negative: that many more were wanted.
    """

    status: int
    sense: bytes = b""
    data: bytes = b""
    data_in_residual: int = 0
    data_out_residual: int = 0

    @property
    def good(self) -> bool:
        """Status GOOD."""
        return self.status == Status.GOOD

    @property
    def residuals(self) -> tuple[int, int]:
        """Of Data-In and Data-Out."""
        return self.data_in_residual, self.data_out_residual

    def __str__(self) -> str:
        return f"{STATUS_NAMES.get(self.status, self.status)} {self.sense.hex()} {len(self.data)} bytes"


@dataclass(slots=True, frozen=True)
class FragmentRule:
    """How a client describes its buffers.

    Args:
        segment: bytes of the longest segment; 0: any length, so that one is enough.
        inline: descriptors that go into the information unit at most; the others are in a table in memory.
    """

    segment: int = 0
    inline: int = 10


class Request:
    """A command or a task management function of a client.

    Attributes:
        tag: of its information unit.
        result: of a command that has ended.
        answer: of a function that has ended.
        response: the SRP_RSP, where there was one.
        failure: why there is no result, empty for none.
        done: it has ended, one way or the other.
    """

    __slots__ = (
        "_buffer", "_data_in", "_size", "allocation", "answer", "data_out_length", "done", "failure", "function", "lun",
        "response", "result", "tag", "task_tag", "unit",
    )

    def __init__(self, lun: int, *, allocation: int = 0, data_out_length: int = 0) -> None:
        self.lun = lun
        self.allocation = allocation
        self.data_out_length = data_out_length
        self.tag = 0
        self.unit = 0                               # bus address of its information unit
        self.function: TaskManagementFunction | None = None
        self.task_tag = 0
        self.result: Result | None = None
        self.answer: TaskManagementResponse | None = None
        self.response: ResponseIu | None = None
        self.failure = ""
        self.done = False
        self._buffer = self._size = self._data_in = 0

    def place(
        self, memory: ClientMemory, data_out: Buffer, rule: FragmentRule, room: int
    ) -> _Descriptors | None:
        """Put Data-Out into memory; the descriptors, in `room` bytes of the information unit. None: not now."""
        out, in_ = self.data_out_length, self.allocation
        if not out and not in_:
            return NO_DATA, NO_DATA
        in_offset = out + _ALIGNMENT - 1 & -_ALIGNMENT
        tables = in_offset + in_ + _ALIGNMENT - 1 & -_ALIGNMENT
        size = tables
        if rule.segment:
            size += (-(-out // rule.segment) + -(-in_ // rule.segment)) * SEGMENT_LENGTH
        start = memory.allocate(size)
        if start is None:
            return None
        self._buffer, self._size, self._data_in = start, size, start + in_offset
        if out:
            memory.memory[start : start + out] = data_out
        if not rule.segment:
            return (
                direct(start, out) if out else NO_DATA,
                direct(self._data_in, in_) if in_ else NO_DATA,
            )
        if out and in_:
            room //= 2
        inline = min(rule.inline, (room - TABLE_HEADER_LENGTH) // SEGMENT_LENGTH)
        out_descriptor, table = _describe(memory, start, out, start + tables, rule.segment, inline)
        in_descriptor, _ = _describe(memory, self._data_in, in_, table, rule.segment, inline)
        return out_descriptor, in_descriptor

    def free(self, memory: ClientMemory) -> None:
        """Give its buffers back."""
        if self._size:
            memory.release(self._buffer, self._size)
            self._size = 0

    def complete(self, response: ResponseIu, crq_status: int, memory: ClientMemory) -> None:  # hot
        """The target has answered."""
        self.response = response
        self.done = True
        if self.function is not None:
            self.answer = _ANSWERS.get(response.response_code or 0, TaskManagementResponse.SERVICE_DELIVERY_FAILURE)
            return
        if response.response_code:
            self.failure = f"the port refused the request: response code {response.response_code:02X}h"
        if crq_status not in (CrqStatus.OK, CrqStatus.OK2):
            self.failure = f"the partner answered with CRQ status {crq_status:02X}h"
        if response.response_code:
            return
        flags = response.flags
        residual_in = residual_out = 0
        count = self.allocation
        if flags:
            if flags & ResponseFlags.DATA_IN_UNDER:
                residual_in = response.data_in_residual
                count = max(count - residual_in, 0)
            elif flags & ResponseFlags.DATA_IN_OVER:
                residual_in = -response.data_in_residual
            if flags & ResponseFlags.DATA_OUT_UNDER:
                residual_out = response.data_out_residual
            elif flags & ResponseFlags.DATA_OUT_OVER:
                residual_out = -response.data_out_residual
        data = bytes(memory.memory[self._data_in : self._data_in + count]) if count else b""
        self.result = Result(response.status, response.sense, data, residual_in, residual_out)

    def fail(self, reason: str) -> None:
        """It will not be answered."""
        self.failure = reason
        self.done = True

    def outcome(self) -> Result:
        """The result of a command that is done. Raises VscsiError where it ended without a status."""
        if self.failure or self.result is None:
            raise VscsiError(self.failure)
        return self.result

    def function_answer(self) -> TaskManagementResponse:
        """The answer to a function that is done. Raises VscsiError where there was none."""
        if self.answer is None:
            raise VscsiError(self.failure)
        return self.answer


_Descriptors = tuple[DataDescriptor, DataDescriptor]


def _describe(
    memory: ClientMemory, address: int, length: int, table: int, step: int, inline: int
) -> tuple[DataDescriptor, int]:
    """The descriptor of a buffer, and where the next table can be."""
    if not length:
        return NO_DATA, table
    if length <= step:
        return direct(address, length), table
    segments = tuple(Segment(at, min(step, address + length - at)) for at in range(address, address + length, step))
    everything = indirect(segments, table)
    raw = b"".join(direct(segment.address, segment.length).encode() for segment in segments)
    memory.memory[table : table + len(raw)] = raw
    if len(segments) <= inline:
        return everything, table + len(raw)
    return indirect(segments, table, inline=0), table + len(raw)


def wire_lun(lun: int) -> int:
    """The LUN field as clients of virtual SCSI write it: the logical unit method, where a plain number fits it."""
    if 0 <= lun < 1 << 14:
        return (0x8000 | lun) << 48
    return unit_lun(lun)

"""Requests of the guest that were taken: their data, their end, their response (Virtual I/O Device 1.2, 5.6.6).

    Data-Out   copied when the device server asks for it: from then on the guest cannot change it
    Data-In    written when the command has ended, behind the response

A request is the origin of its command in the engine, as `ControlTask` is that of a task management function.

It does NOT: know rings or the state of the connection (device.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from scsiemu import asc
from scsiemu.command import Completion, DataOutRequest
from scsiemu.sam import TaskManagementFunction, TaskManagementResponse
from scsiemu.task_manager import ManagementResponse
from transports.vhost.codes import Function, Response
from transports.vhost.layouts import encode_response
from transports.vhost.messages import VhostError
from transports.vhost.virtqueue import Chain, VirtQueue

if TYPE_CHECKING:
    from transports.vhost.device import VhostDevice

__all__ = ["FUNCTIONS", "ControlTask", "Request", "gather", "length_of", "scatter", "split"]

FUNCTIONS: Final[dict[int, TaskManagementFunction]] = {
    Function.ABORT_TASK: TaskManagementFunction.ABORT_TASK,
    Function.ABORT_TASK_SET: TaskManagementFunction.ABORT_TASK_SET,
    Function.CLEAR_ACA: TaskManagementFunction.CLEAR_ACA,
    Function.CLEAR_TASK_SET: TaskManagementFunction.CLEAR_TASK_SET,
    Function.I_T_NEXUS_RESET: TaskManagementFunction.I_T_NEXUS_RESET,
    Function.LOGICAL_UNIT_RESET: TaskManagementFunction.LOGICAL_UNIT_RESET,
    Function.QUERY_TASK: TaskManagementFunction.QUERY_TASK,
    Function.QUERY_TASK_SET: TaskManagementFunction.QUERY_TASK_SET,
}

_CODES: Final[dict[TaskManagementResponse, int]] = {
    TaskManagementResponse.FUNCTION_COMPLETE: Response.OK,
    TaskManagementResponse.FUNCTION_SUCCEEDED: Response.FUNCTION_SUCCEEDED,
    TaskManagementResponse.FUNCTION_REJECTED: Response.FUNCTION_REJECTED,
    TaskManagementResponse.INCORRECT_LOGICAL_UNIT_NUMBER: Response.INCORRECT_LUN,
    TaskManagementResponse.TASK_DOES_NOT_EXIST: Response.OK,
    TaskManagementResponse.SERVICE_DELIVERY_FAILURE: Response.FAILURE,
}

# First unit attention of a nexus whose unit or target was reset.
_RESETS: Final = (
    asc.POWER_ON_RESET_OR_BUS_DEVICE_RESET_OCCURRED, asc.SCSI_BUS_RESET_OCCURRED,
    asc.BUS_DEVICE_RESET_FUNCTION_OCCURRED,
)


class Request:
    """A SCSI command of the guest.

    Args:
        device: the connection.
        queue, chain: what is given back.
        target, lun: whom it is for.
        response: where the response goes.
        data_out, data_in: the buffers of its data.

    Attributes:
        alive: the driver still waits for it.
        held: bytes of Data-Out that are counted for it.
        fate: the response code if it is aborted.
    """

    __slots__ = (
        "alive", "chain", "data_in", "data_in_length", "data_out", "data_out_length", "device", "fate", "held", "lun",
        "queue", "response", "tag", "target",
    )

    def __init__(
        self,
        device: VhostDevice,
        queue: VirtQueue,
        chain: Chain,
        target: int,
        lun: int,
        tag: int,
        response: list[memoryview],
        data_out: list[memoryview],
        data_in: list[memoryview],
    ) -> None:
        self.device = device
        self.queue = queue
        self.chain = chain
        self.target = target
        self.lun = lun
        self.tag = tag
        self.response = response
        self.data_out = data_out
        self.data_in = data_in
        self.data_out_length = length_of(data_out)
        self.data_in_length = length_of(data_in)
        self.alive = True
        self.held = 0
        self.fate: int = Response.ABORTED

    def data_out_request(self, wanted: DataOutRequest) -> None:
        """The device server wants Data-Out (told by another transport of the target)."""
        self.device.port.fetch(self, wanted)

    def fill(self, wanted: DataOutRequest) -> None:
        """Copy Data-Out to where the device server wants it."""
        _, rest = split(self.data_out, wanted.offset)
        pieces, _ = split(rest, wanted.length)
        buffer = wanted.buffer
        at = 0
        for piece in pieces:
            buffer[at : at + len(piece)] = piece
            at += len(piece)
        self.device.port.targets[self.target].data_out(wanted.command)

    def complete(self, completion: Completion) -> None:  # hot
        """The command has ended."""
        device = self.device
        if self.held:
            device.port.released(self.held)
            self.held = 0
        if not self.alive:
            return
        if completion.silent:
            attentions = completion.command.nexus_state.attentions
            if attentions and attentions[0] in _RESETS:
                self.fate = Response.RESET          # by another nexus
            self.respond(encode_response(self.fate, residual=self.data_out_length + self.data_in_length,
                                         sense_size=device.sense_size))
            return
        data = completion.data_in
        have, room = len(data), self.data_in_length
        wanted, offered = completion.data_out_wanted, self.data_out_length
        residual = 0
        code: int = Response.OK
        if have > room or wanted > offered:
            code = Response.OVERRUN
            if have > room:
                data = memoryview(data)[:room]
                have = room
        residual = room - have + (offered - wanted if wanted < offered else 0)
        if have:
            scatter(self.data_in, data)
        self.respond(
            encode_response(code, completion.status, residual, completion.sense_data, completion.status_qualifier,
                            device.sense_size),
            have,
        )

    def respond(self, response: bytes, data_in: int = 0) -> None:  # hot
        """Give the buffers back with a response, behind which so many bytes of Data-In are."""
        self.alive = False
        scatter(self.response, response)
        self.device.give(self, self.queue, self.chain.head, len(response) + data_in)


class ControlTask:
    """A task management function of the guest; the origin that its answer is found by."""

    __slots__ = ("_chain", "_device", "_queue", "alive")

    def __init__(self, device: VhostDevice, queue: VirtQueue, chain: Chain) -> None:
        self._device = device
        self._queue = queue
        self._chain = chain
        self.alive = True

    def answered(self, response: ManagementResponse) -> None:
        """The target has performed it."""
        if self.alive:
            self.respond(bytes((_CODES[response.response],)))

    def respond(self, response: bytes) -> None:
        """Give the buffers back with a response."""
        self.alive = False
        scatter(self._chain.writable, response)
        self._device.give(self, self._queue, self._chain.head, len(response))


def length_of(pieces: Sequence[memoryview]) -> int:  # hot
    """Bytes in all."""
    return sum([len(piece) for piece in pieces])


def split(pieces: list[memoryview], length: int) -> tuple[list[memoryview], list[memoryview]]:  # hot
    """The first `length` bytes, and the rest. Raises VhostError where there are fewer."""
    if pieces and len(pieces[0]) == length:
        return pieces[:1], pieces[1:]
    first: list[memoryview] = []
    for number, piece in enumerate(pieces):
        if length <= len(piece):
            return [*first, piece[:length]], [piece[length:], *pieces[number + 1 :]]
        first.append(piece)
        length -= len(piece)
    if length:
        raise VhostError("a chain is too short for its request or response")
    return first, []


def gather(pieces: list[memoryview]) -> bytes:  # hot
    """A copy of all bytes."""
    return bytes(pieces[0]) if len(pieces) == 1 else b"".join(pieces)


def scatter(pieces: list[memoryview], data: bytes | bytearray | memoryview) -> None:  # hot
    """Write data into buffers that are long enough."""
    if len(pieces[0]) >= len(data):
        pieces[0][: len(data)] = data
        return
    view = memoryview(data)
    for piece in pieces:
        count = min(len(piece), len(view))
        piece[:count] = view[:count]
        view = view[count:]

"""A command on its way through the target, and its completion. The mutable objects of the hot path."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from scsiemu.sam import STATUS_NAMES, Status

if TYPE_CHECKING:
    from scsiemu.io_requests import IoRequest
    from scsiemu.logical_unit import NexusState
    from scsiemu.nexus import Nexus
    from scsiemu.operations import Operation
    from scsiemu.sense import Sense

__all__ = ["Buffer", "Command", "Completion", "DataOutRequest", "Steps", "TaskState"]

Buffer: TypeAlias = bytes | bytearray | memoryview

# A generator operation: yields requests, is sent their answers, returns the completion.
Steps: TypeAlias = "Generator[IoRequest[Any], Any, Completion]"


class TaskState:
    """States of a command in a task set (SAM-5 8.4, with what waits outside of the device server)."""

    NEW: Final = 0          # not yet seen by a task set
    DORMANT: Final = 1      # in the task set, held back by the rules for task attributes or by ACA
    ENABLED: Final = 2      # its operation is under way
    DATA_OUT: Final = 3     # enabled, waiting for the transport to bring data
    IO: Final = 4           # enabled, waiting for a store
    ABORTING: Final = 5     # aborted while a store is at work: ends when the store answers
    ENDED: Final = 6        # completed or aborted: nothing more happens


class Command:
    """A SCSI command as a transport received it, and its task while it lasts.

    Args:
        nexus: the I_T nexus it came through.
        lun: the LUN field, 8 bytes as a 64-bit big-endian integer.
        cdb: the whole CDB; bytes past the length of its layout are ignored (transports pad).
        tag: the transport's task tag; unique among the nexus' commands.
        attribute: one of `TaskAttribute`.
        data_out: Data-Out that came with the command, at most `data_out_length` bytes. A view is valid
            during the call of `Target.submit` only: who keeps it, copies it.
        data_out_length: how many bytes the initiator is ready to send.
        data_in_length: how many bytes the initiator is ready to receive.
        origin: whatever the transport wants to find again on the completion.
        priority: command priority (SAM-5 8.7), 0 where the transport has none.
    """

    __slots__ = (
        "attribute", "cdb", "data_in_length", "data_out", "data_out_length", "io_request", "lun", "nexus",
        "nexus_state", "operation", "origin", "parameter_list", "priority", "sequence", "state", "steps", "tag",
        "wanted",
    )

    def __init__(
        self,
        nexus: Nexus,
        lun: int,
        cdb: Buffer,
        tag: int = 0,
        attribute: int = 0,
        data_out: Buffer = b"",
        data_out_length: int = 0,
        data_in_length: int = 0,
        origin: object = None,
        priority: int = 0,
    ) -> None:
        self.nexus = nexus
        self.lun = lun
        self.cdb = cdb
        self.tag = tag
        self.attribute = attribute
        self.data_out = data_out
        self.data_out_length = data_out_length
        self.data_in_length = data_in_length
        self.origin = origin
        self.priority = priority
        # Below: owned by the task set and device server of the unit.
        self.state: int = TaskState.NEW
        self.sequence = 0                             # order of arrival in the task set
        self.wanted = 0                               # bytes of Data-Out that the operation asked for
        self.parameter_list: bytes = b""              # Data-Out of operations that declare one, complete
        self.operation: Operation | None = None       # the declaration, once it was dispatched
        self.steps: Steps | None = None               # the generator, where the operation is one
        self.io_request: IoRequest[Any] | None = None  # what is outstanding
        self.nexus_state: NexusState | None = None    # the unit's state for this nexus

    def __repr__(self) -> str:
        return f"Command(lun={self.lun:016x}, tag={self.tag:#x}, cdb={bytes(self.cdb).hex()}, state={self.state})"


class Completion:
    """How a command ended. Operations make it; the device server fills in the command.

    Args:
        data_in: what goes to the initiator, not yet cut to what it is ready to receive (the transport
            computes the residual from it).
        status: one of `Status`.
        sense: sense data as a value; encoded by the device server (D_SENSE decides the format).
        status_qualifier: SAM-5 5.3.2, 0 for none.

    Attributes:
        command: whose completion it is.
        sense_data: the encoded sense data, empty where there is none.
        data_out_wanted: how many bytes of Data-Out the device server wanted, for the residual.
    """

    __slots__ = ("command", "data_in", "data_out_wanted", "sense", "sense_data", "status", "status_qualifier")

    command: Command

    def __init__(
        self,
        data_in: Buffer = b"",
        status: int = Status.GOOD,
        sense: Sense | None = None,
        status_qualifier: int = 0,
    ) -> None:
        self.data_in = data_in
        self.status = status
        self.sense = sense
        self.status_qualifier = status_qualifier
        self.sense_data: bytes = b""
        self.data_out_wanted = 0

    def __repr__(self) -> str:
        name = STATUS_NAMES.get(self.status, f"{self.status:#04x}")
        return f"Completion({name}, data_in={len(self.data_in)} bytes, sense={self.sense})"


class DataOutRequest:
    """The device server asks for Data-Out that did not come with the command (becomes R2Ts, or a DMA read).

    The transport puts exactly `len(buffer)` bytes, starting with byte `offset` of the command's Data-Out, into
    `buffer`, then calls `Target.data_out(command)`. It must not touch the buffer after the command has ended.
    """

    __slots__ = ("buffer", "command", "offset")

    def __init__(self, command: Command, offset: int, buffer: memoryview) -> None:
        self.command = command
        self.offset = offset
        self.buffer = buffer

"""A command on its way through the target, and its completion. The mutable objects of the hot path."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from scsiemu.sam import STATUS_NAMES, Status

if TYPE_CHECKING:
    from scsiemu.cdb import CdbFields
    from scsiemu.io_requests import IoRequest
    from scsiemu.logical_unit import LogicalUnit, NexusState
    from scsiemu.nexus import Nexus
    from scsiemu.operations import Operation
    from scsiemu.sense import Sense

__all__ = ["Buffer", "Command", "Completion", "DataOutRequest", "Steps", "TaskState", "completion_of"]

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
        "allocation", "arrival", "attribute", "buffer", "cdb", "data_in_length", "data_out", "data_out_length",
        "emulation", "extent", "fields", "io_request", "lun", "naca", "nexus", "nexus_state", "operation", "origin",
        "parameter_list", "parting", "priority", "state", "steps", "tag", "unit", "wanted",
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
        self.origin = origin
        self.priority = priority
        self.renew(lun, cdb, tag, attribute, data_out, data_out_length, data_in_length)
        # Owned by the task set and device server of the unit. What only the slow path needs is set there.
        self.unit: LogicalUnit
        self.nexus_state: NexusState                  # the unit's state for this nexus

    def renew(
        self, lun: int, cdb: Buffer, tag: int, attribute: int, data_out: Buffer, data_out_length: int,
        data_in_length: int,
    ) -> None:
        """Make it the next command of its nexus, where `Target.execute` left it to its caller."""
        self.lun = lun
        self.cdb = cdb
        self.tag = tag
        self.attribute = attribute
        self.data_out = data_out
        self.data_out_length = data_out_length
        self.data_in_length = data_in_length
        self.state: int = TaskState.NEW
        self.wanted = 0                               # bytes of Data-Out that the operation asked for

    def prepare(self) -> None:
        """Set up what the slow path keeps in a command. Called once, before anything else touches it
        there."""
        self.operation: Operation | None = None       # the declaration, once it was dispatched
        self.fields: CdbFields | None = None          # its parsed CDB
        self.parameter_list: bytes = b""              # Data-Out of operations that declare one, complete
        self.steps: Steps | None = None               # the generator, where the operation is one
        self.emulation: Generator[IoRequest[Any], Any, Any] | None = None  # doing what the store lacks
        self.io_request: IoRequest[Any] | None = None  # what is outstanding
        self.buffer: bytearray | None = None          # Data-Out, or a piece of it, that did not come with it
        self.parting: Completion | None = None        # how it ends once the store lets go of it
        self.allocation = -1                          # bound on Data-In from the CDB, -1 for none
        self.arrival = 0                              # its place in the order of arrival, set by the task set
        self.naca = False                             # NACA bit of the CONTROL byte
        self.extent: tuple[int, int, bool] | None = None  # first block, end, writes: for ordering

    def __repr__(self) -> str:
        return f"Command(lun={self.lun:016x}, tag={self.tag:#x}, cdb={bytes(self.cdb).hex()}, state={self.state})"


class Completion:
    """How a command ended. Operations make it; the device server fills in the command.

    Args:
        data_in: what goes to the initiator, not yet cut to what it is ready to receive (the transport
            computes the residual from it). It does not change afterwards.
        status: one of `Status`.
        sense: sense data as a value; encoded by the device server (D_SENSE decides the format).
        status_qualifier: SAM-5 5.3.2, 0 for none.

    Attributes:
        command: whose completion it is.
        silent: the command was aborted and the initiator is told nothing (SAM-5 5.6): the transport only
            forgets the command, and throws away what still comes for it.
        sense_data: the encoded sense data, empty where there is none.
        data_out_wanted: how many bytes of Data-Out the device server wanted, for the residual.
    """

    __slots__ = (
        "command", "data_in", "data_out_wanted", "sense", "sense_data", "silent", "status", "status_qualifier",
    )

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
        self.silent = False

    def __repr__(self) -> str:
        name = STATUS_NAMES.get(self.status, f"{self.status:#04x}")
        return f"Completion({name}, data_in={len(self.data_in)} bytes, sense={self.sense})"


class DataOutRequest:
    """The device server asks for Data-Out that did not come with the command (becomes R2Ts, or a DMA read).

    The transport puts exactly `length` bytes, starting with byte `offset` of the command's Data-Out, into
    `buffer`, then calls `Target.data_out(command)`; after that another request for the same command may come.
    Nothing is allocated before `buffer` is asked for, so that a transport can hold requests back until it has
    memory for them. It must not touch the buffer after that call, or after the command has ended.
    """

    __slots__ = ("_base", "command", "length", "offset")

    def __init__(self, command: Command, base: int, offset: int, length: int) -> None:
        self.command = command
        self._base = base           # from here to `offset`: bytes that came with the command, which the buffer has too
        self.offset = offset
        self.length = length

    @property
    def buffer(self) -> memoryview:
        """Where the data goes: `length` bytes, the same ones at each call."""
        command = self.command
        come = self.offset - self._base
        if command.buffer is None:
            command.buffer = bytearray(come + self.length)
            command.buffer[:come] = command.data_out[self._base : self.offset]
        return memoryview(command.buffer)[come:]


def completion_of(command: Command, ended: Completion | Buffer) -> Completion:
    """What `Target.execute` returned, as a completion: Data-In alone is GOOD, with `Command.wanted` of Data-Out."""
    if isinstance(ended, Completion):
        completion = ended
    else:
        completion = Completion(ended)
        completion.data_out_wanted = command.wanted
    completion.command = command
    return completion

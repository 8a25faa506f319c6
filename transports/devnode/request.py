"""What passes between a device node and what executes its commands, as values and protocols.

A node turns an ioctl into a `ScsiTask`; a *host* (in the sense of a host bus adapter: `H` of H:C:T:L) executes it and
gives it back with an `Outcome`. The memory of the program that asked is a `Memory`.

It does NOT know Linux structures (abi.py), processes (supervisor.py) or targets (local_host.py).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Protocol

from scsiemu._value import value
from scsiemu.command import Buffer

__all__ = ["Host", "HostStatus", "Memory", "Outcome", "Refused", "ResetScope", "ScsiTask"]


class Refused(Exception):
    """A system call ends with an error number.

    Args:
        number: one of `errno`.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class HostStatus:
    """Host byte of Linux (include/scsi/scsi_status.h): what went wrong on the way to the unit."""

    OK: Final = 0x00
    NO_CONNECT: Final = 0x01
    BUS_BUSY: Final = 0x02
    TIME_OUT: Final = 0x03
    ABORT: Final = 0x05
    ERROR: Final = 0x07
    RESET: Final = 0x08


class ResetScope:
    """Values of SG_SCSI_RESET (include/scsi/sg.h)."""

    NOTHING: Final = 0
    DEVICE: Final = 1
    BUS: Final = 2
    HOST: Final = 3
    TARGET: Final = 4


class Memory(Protocol):
    """The memory of the program that made a system call. Addresses and lengths are whatever it said."""

    def read(self, address: int, length: int) -> bytes:
        """Exactly `length` bytes. Raises Refused(EFAULT)."""

    def write(self, address: int, data: Buffer) -> None:
        """Raises Refused(EFAULT)."""


@value
class Outcome:
    """How a command ended.

    Args:
        status: one of `sam.Status`.
        sense: sense data.
        data_in: what came, perhaps more than was asked for.
        data_out_residual: bytes of Data-Out that were not wanted.
        host_status: one of `HostStatus`; other than OK, the rest means nothing.
    """

    status: int = 0
    sense: Buffer = b""
    data_in: Buffer = b""
    data_out_residual: int = 0
    host_status: int = HostStatus.OK


class ScsiTask:
    """A command on its way.

    Attributes:
        unit: the address within its host: LUN, plain or 64-bit.
        outcome: None until it has ended.
        handle: of the host.
        origin: of whoever gave it to the host.
        started: seconds of the clock.
    """

    __slots__ = ("cdb", "data_in_length", "data_out", "handle", "origin", "outcome", "seconds", "started", "unit")

    def __init__(
        self, unit: int, cdb: bytes, data_out: bytes = b"", data_in_length: int = 0, seconds: float = 60.0
    ) -> None:
        self.unit = unit
        self.cdb = cdb
        self.data_out = data_out
        self.data_in_length = data_in_length
        self.seconds = seconds
        self.outcome: Outcome | None = None
        self.handle: object = None
        self.origin: object = None
        self.started = 0.0


class Host(Protocol):
    """Executes tasks. `start` may end one at once; others come out of `finished`, each once."""

    name: str

    def start(self, task: ScsiTask) -> None:
        """Execute it. Its outcome is set when it has ended at once."""

    def abort(self, task: ScsiTask) -> None:
        """Nobody waits for it any more; it does not come out of `finished`."""

    def reset(self, unit: int, scope: int) -> None:
        """Reset what `scope`, one of `ResetScope`, says. Raises Refused."""

    def finished(self) -> Iterable[ScsiTask]:
        """Tasks that ended later than in `start`."""

    def filenos(self) -> tuple[int, ...]:
        """What becomes readable when `ready` should be called."""

    def ready(self, fileno: int) -> None:
        """It is readable."""

    def deadline(self) -> float | None:
        """When `advance` wants to be called at the latest."""

    def advance(self, now: float) -> None:
        """The clock says `now`."""

    def close(self) -> None:
        """No more tasks."""

"""What the drivers for tapes and optical drives have in common: calls in, commands out, no I/O.

A call of a program on a node is a generator: it yields the tasks that it wants executed, one after the other, or
pauses, is sent the outcome of each, and returns the result of the call, or raises `Refused`. Whoever drives it
(driver_calls.py, or a test) executes the tasks.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Final, Protocol, TypeAlias, TypeVar

from scsiemu._value import value
from scsiemu.sam import Status
from scsiemu.sense import Sense, SenseKey, decode_sense
from transports.devnode.request import HostStatus, Memory, Outcome, ScsiTask

__all__ = ["ACCESS_MODE", "NONBLOCK", "READ_ONLY", "Answer", "Driver", "Pause", "Step", "Steps", "answer_of"]

# Flags of open(2), the same on both architectures.
ACCESS_MODE: Final = 0o3
READ_ONLY: Final = 0o0
NONBLOCK: Final = 0o4000

_Result = TypeVar("_Result")


@value
class Pause:
    """So many seconds without a command. Its outcome says nothing."""

    seconds: float


Step: TypeAlias = ScsiTask | Pause
Steps = Generator[Step, Outcome, _Result]


@value
class Answer:
    """An outcome as a driver looks at it.

    Args:
        good: GOOD, or CHECK CONDITION with a current RECOVERED ERROR that says nothing else.
        sense: None where there is none.
        data: Data-In.
    """

    good: bool
    sense: Sense | None
    data: bytes

    @property
    def key(self) -> int:
        """Sense key; NO SENSE where there is no sense data."""
        return self.sense.code.key if self.sense is not None else SenseKey.NO_SENSE

    @property
    def asc(self) -> tuple[int, int]:
        """ASC and ASCQ."""
        return (self.sense.code.asc, self.sense.code.ascq) if self.sense is not None else (0, 0)

    @property
    def residual(self) -> int | None:
        """INFORMATION, as signed as for stream commands; None where it is not valid."""
        found = self.sense.information if self.sense is not None else None
        if found is None:
            return None
        if found >= 1 << 63:
            return found - (1 << 64)
        return found - (1 << 32) if 1 << 31 <= found < 1 << 32 else found


def answer_of(outcome: Outcome) -> Answer:
    """Look at an outcome."""
    if outcome.host_status != HostStatus.OK:
        return Answer(False, None, b"")
    sense = decode_sense(bytes(outcome.sense)) if outcome.status == Status.CHECK_CONDITION else None
    # A command that brings a deferred error has not been executed, whatever the key (SPC-5 4.4.7).
    says_more = sense is not None and (sense.filemark or sense.eom or sense.ili or sense.deferred)
    recovered = sense is not None and sense.code.key == SenseKey.RECOVERED_ERROR and not says_more
    good = outcome.status in (Status.GOOD, Status.CONDITION_MET) or recovered
    return Answer(good, sense, bytes(outcome.data_in))


class Driver(Protocol):
    """What is behind the nodes of one unit, for all who open them. What returns `Steps` is a generator; see the module.

    One call after the other: the next begins when the one before has ended.

    Attributes:
        now: seconds of the monotonic clock, told before each step.
    """

    now: float

    def open(self, path: str, flags: int) -> Steps[object]:
        """open(2): what the driver keeps with the file. Raises Refused."""

    def read(self, handle: object, count: int, position: int | None) -> Steps[bytes]:
        """read(2); pread(2) where there is a position. Raises Refused."""

    def write(self, handle: object, data: bytes, position: int | None) -> Steps[int]:
        """write(2). Raises Refused."""

    def seek(self, handle: object, offset: int, whence: int) -> Steps[int]:
        """lseek(2). Raises Refused."""

    def synchronize(self, handle: object) -> Steps[None]:
        """fsync(2) and fdatasync(2). Raises Refused."""

    def ioctl(self, handle: object, memory: Memory, number: int, argument: int) -> Steps[int]:
        """ioctl(2) but those that the sg file has. Raises Refused."""

    def flush(self, handle: object) -> Steps[None]:
        """close(2) of the last descriptor. Raises Refused, which close(2) reports."""

    def release(self, handle: object) -> None:
        """The file is closed."""

    def attribute(self, path: str, name: str) -> str:
        """A file of that name in /sys that tells of a node and its driver's state (`Reported` of tree.py)."""

"""What a READ, READ REVERSE, WRITE or VERIFY asks for, and how far it has come: where residuals are counted."""

from __future__ import annotations

from scsiemu.command import Buffer
from scsiemu.nexus import Nexus

__all__ = ["Transfer"]


class Transfer:
    """A transfer of fixed blocks, or of one variable block.

    Attributes:
        is_fixed: blocks of one length; residuals count blocks, else bytes.
        count: of blocks.
        length: of each as it is transferred, bytes.
        quiet: SILI.
        reverse: towards the beginning of the partition.
        lengths_count: blocks of another length are told.
        wants_data: blocks go to the initiator.
        done: blocks that have been read or written.
        taken: bytes for the initiator.
        nexus: whose command it is: encryption keys may be its own.
        overflowed, guard_failed: why a WRITE stopped: no room, wrong protection information.
    """

    __slots__ = (
        "_pieces", "count", "done", "guard_failed", "is_fixed", "length", "lengths_count", "nexus", "overflowed",
        "quiet", "reverse", "taken", "wants_data",
    )

    def __init__(self, count: int, length: int, *, is_fixed: bool, quiet: bool = False) -> None:
        self.is_fixed = is_fixed
        self.count = count
        self.length = length
        self.quiet = quiet
        self.reverse = self.overflowed = self.guard_failed = False
        self.lengths_count = self.wants_data = True
        self.done = self.taken = 0
        self.nexus: Nexus | None = None
        self._pieces: list[Buffer] = []

    @classmethod
    def fixed(cls, count: int, length: int) -> Transfer:
        """So many blocks of one length."""
        return cls(count, length, is_fixed=True)

    @classmethod
    def variable(cls, length: int, *, quiet: bool = False) -> Transfer:
        """One block; none where its length is zero."""
        return cls(1 if length else 0, length, is_fixed=False, quiet=quiet)

    @property
    def residual(self) -> int:
        """INFORMATION: requested minus actual, in blocks or in bytes."""
        left = self.count - self.done
        return left if self.is_fixed else left * self.length

    def take(self, data: Buffer) -> None:
        """A block has been read; at most its length of it is for the initiator."""
        self.done += 1
        if self.wants_data:
            piece = data if len(data) <= self.length else data[: self.length]
            self._pieces.append(piece)
            self.taken += len(piece)

    @property
    def data(self) -> Buffer:
        """What was read, in the order in which it is transferred."""
        return self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)

    @property
    def so_far(self) -> bytes:
        """The same, to go with a CHECK CONDITION."""
        return bytes(self.data)

"""What makes a unit with `execute` alone a `scsiemu.services.Client`: each command has ended before the next begins."""

from __future__ import annotations

import select
from abc import ABC, abstractmethod

from scsiemu.sam import TaskManagementFunction
from scsiemu.services import Outcome

__all__ = ["ImmediateClient"]


class ImmediateClient(ABC):
    """See the module."""

    def __init__(self) -> None:
        self._ended: list[tuple[int, Outcome]] = []
        self._tag = 0

    @abstractmethod
    def execute(self, cdb: bytes, *, data_out: bytes = b"", data_in_length: int = 0) -> Outcome:
        """A command."""

    def begin(self, cdb: bytes, *, data_out: bytes = b"", data_in_length: int = 0) -> int:
        """A command, whose end `wait` tells."""
        self._tag += 1
        self._ended.append((self._tag, self.execute(cdb, data_out=data_out, data_in_length=data_in_length)))
        return self._tag

    def wait(self, wake: int) -> list[tuple[int, Outcome]]:
        """What has ended."""
        if not self._ended:
            select.select((wake,), (), ())
        ended, self._ended = self._ended, []
        return ended

    def manage(self, function: TaskManagementFunction, tag: int = 0) -> bool:
        """There is none."""
        return False

    def close(self) -> None:
        """Nothing more ends."""
        self._ended = []

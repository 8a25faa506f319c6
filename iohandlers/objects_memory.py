"""An object store in memory: that of `objects_sqlite` on a database without a file. Answers come at once."""

from __future__ import annotations

from collections.abc import Callable

from iohandlers._checks import refuse_unknown
from iohandlers._objects import SqliteObjects, system_clock

__all__ = ["open_store"]


def open_store(
    *, size: int = 1 << 40, clock: Callable[[], int] = system_clock, **unknown: object
) -> SqliteObjects:
    """Make an empty store that tells of `size` bytes. Nothing of it outlives the process."""
    refuse_unknown("objects_memory", unknown, ("size", "clock"))
    return SqliteObjects(None, clock, size)

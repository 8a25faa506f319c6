"""An object store in memory: that of `objects_sqlite` on a database without a file. Answers come at once."""

from __future__ import annotations

from collections.abc import Callable

from iohandlers._checks import refuse_unknown
from iohandlers.objects_sqlite import SqliteObjects
from iohandlers.objects_sqlite import open_store as open_objects

__all__ = ["open_store"]


def open_store(*, size: int = 1 << 40, clock: Callable[[], int] | None = None, **unknown: object) -> SqliteObjects:
    """Make an empty store that tells of `size` bytes. Nothing of it outlives the process."""
    refuse_unknown("objects_memory", unknown, ("size", "clock"))
    return open_objects(size=size, clock=clock)

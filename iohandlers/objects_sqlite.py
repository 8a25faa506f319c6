"""An object store in a folder: a SQLite database, and a file beside it for large data (see `_objects`)."""

from __future__ import annotations

from collections.abc import Callable

from iohandlers._checks import refuse_unknown
from iohandlers._objects import SqliteObjects, system_clock

__all__ = ["open_store"]


def open_store(
    *, path: str, size: int = 1 << 40, clock: Callable[[], int] = system_clock, **unknown: object
) -> SqliteObjects:
    """Open the store in a folder, which is made where it is not there.

    Args:
        size: total capacity in bytes that it tells of.
        clock: milliseconds since 1970.

    Raises OSError, and ValueError where it is no such folder or another server has it open.
    """
    refuse_unknown("objects_sqlite", unknown, ("path", "size", "clock"))
    return SqliteObjects(path, clock, size)

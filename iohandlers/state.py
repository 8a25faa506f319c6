"""The state store: named values that outlive the process (reservations with APTPL, saved mode pages ...), in
SQLite.

`SaveState` is answered when the value is on stable storage (synchronous=EXTRA, and each save is one
transaction), so a power loss finds the old value or the new one. Saving waits for the device, so a worker
thread does it; loading is answered at once while no save is under way. It is no byte store: it answers
LoadState and SaveState only.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from iohandlers._checks import bad_option, refuse_unknown
from iohandlers._file_open import sync_folder
from iohandlers._workers import Workers
from scsiemu.errors import IoFailed, IoFault
from scsiemu.io_requests import PENDING, IoRequest, LoadState, SaveState, StoreCapabilities, Ticket

__all__ = ["FILE_NAME", "StateStore", "open_store"]

FILE_NAME: Final = "state.sqlite"
_SCHEMA_VERSION: Final = 1
_BUSY_TIMEOUT: Final = 5.0      # seconds that a save waits for another process


def open_store(*, path: str | os.PathLike[str] | None = None, **unknown: object) -> StateStore:
    """Open the state in a folder, made with mode 0700 where there is none.

    Raises:
        ValueError: an option is wrong, or what is there is no state of ours.
        OSError: the folder or file cannot be used.
    """
    refuse_unknown("state", unknown, ("path",))
    if path is None or not os.fspath(path):
        raise bad_option("state", "path", "is missing")
    folder = Path(path)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except FileExistsError:
        raise NotADirectoryError(f"state store: {folder} is not a folder") from None
    except OSError as error:
        raise OSError(error.errno, f"state store: {folder} cannot be made: {error.strerror}") from error
    database = _open_database(folder / FILE_NAME)
    for place in (folder, folder.absolute().parent):
        sync_folder(place)
    return StateStore(database, folder / FILE_NAME)


def _open_database(path: Path) -> sqlite3.Connection:
    try:
        # Made first, so that its content was never readable for others.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
    except OSError as error:
        raise OSError(error.errno, f"state store: {path} cannot be opened: {error.strerror}") from error
    # The store itself sees to it that one thread at a time uses the connection.
    database = sqlite3.connect(path, timeout=_BUSY_TIMEOUT, isolation_level=None, check_same_thread=False)
    try:
        # FULL, and the folder too: without that a power loss right after the answer may bring back the old value.
        database.execute("PRAGMA synchronous=EXTRA")
        (version,) = database.execute("PRAGMA user_version").fetchone()
        if version not in (0, _SCHEMA_VERSION):
            raise ValueError(f"state store: {path} has version {version}, this program knows {_SCHEMA_VERSION}")
        (verdict,) = database.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise ValueError(f"state store: {path} is damaged; move it away to begin anew ({verdict})")
        database.execute(
            "CREATE TABLE IF NOT EXISTS state (key TEXT PRIMARY KEY, data BLOB NOT NULL) WITHOUT ROWID"
        )
        database.execute("SELECT key, data FROM state LIMIT 1").fetchall()
        database.execute(f"PRAGMA user_version={_SCHEMA_VERSION}")
    except sqlite3.DatabaseError as error:
        database.close()
        if isinstance(error, sqlite3.OperationalError) and "locked" in str(error):
            raise OSError(f"state store: {path} is in use by another process") from error
        raise ValueError(f"state store: {path} is damaged; move it away to begin anew ({error})") from error
    except ValueError:
        database.close()
        raise
    return database


class StateStore:
    """See the module. Made by `open_store`; owns the database."""

    def __init__(self, database: sqlite3.Connection, path: Path) -> None:
        self._database = database
        self._path = path
        self._closed = False
        # One worker, so saves are done in the order in which they came.
        self._workers: Workers[Ticket] = Workers("state-store", 1)
        self._left_over: list[tuple[Ticket, Any]] = []

    @property
    def capabilities(self) -> StoreCapabilities:
        return StoreCapabilities(size=0, volatile=False)

    def submit(self, request: IoRequest[Any], ticket: Ticket, /) -> Any:
        if self._closed:
            return IoFailed(IoFault.GONE, "the state store is closed")
        if isinstance(request, LoadState):
            if self._workers.outstanding:       # behind the saves
                self._workers.call(ticket, self._load, request.key)
                return PENDING
            try:
                return self._load(request.key)
            except IoFailed as failure:
                return failure
        if isinstance(request, SaveState):
            data = None if request.data is None else bytes(request.data)
            self._workers.call(ticket, self._save, request.key, data)
            return PENDING
        return IoFailed(IoFault.UNSUPPORTED, f"a state store has no {type(request).__name__}")

    def reap(self) -> Iterable[tuple[Ticket, Any | IoFailed]]:
        answers = self._left_over + self._workers.reap()
        self._left_over = []
        return answers

    def fileno(self) -> int | None:
        return self._workers.fileno()

    def close(self) -> None:
        """End it, after the saves that are under way; their answers are still there for `reap`."""
        if self._closed:
            return
        self._closed = True
        self._workers.stop()
        self._left_over = self._workers.reap()
        self._database.close()

    def _load(self, key: str) -> bytes | None:
        try:
            row = self._database.execute("SELECT data FROM state WHERE key = ?", (key,)).fetchone()
        except sqlite3.Error as error:
            raise self._failure(error) from error
        return None if row is None else bytes(row[0])

    def _save(self, key: str, data: bytes | None) -> None:
        try:
            if data is None:
                self._database.execute("DELETE FROM state WHERE key = ?", (key,))
            else:
                self._database.execute("INSERT OR REPLACE INTO state VALUES (?, ?)", (key, data))
        except sqlite3.Error as error:
            raise self._failure(error) from error

    def _failure(self, error: sqlite3.Error) -> IoFailed:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF     # the rest is the extended code
        fault = {sqlite3.SQLITE_FULL: IoFault.NO_SPACE, sqlite3.SQLITE_READONLY: IoFault.READ_ONLY}.get(
            code, IoFault.MEDIUM
        )
        return IoFailed(fault, f"{self._path}: {error}")

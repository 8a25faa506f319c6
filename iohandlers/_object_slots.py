"""Slots of 64 KiB in one file beside a database that says which are in use: where object data in large parts lies.

A slot is written once, while nothing that could come back after a crash refers to it: one that is given up waits until
the database is on stable storage before it is used again. Several objects may share a slot (copies); it is given up
when the last one does. Each reference has the checksum of what was written, so that data that a power loss took is
known as such. It does NOT give room back to the file system but at the end of the file.
"""

from __future__ import annotations

import os
import sqlite3
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Final

from scsiemu.command import Buffer
from scsiemu.errors import IoFailed, IoFault

__all__ = ["SLOT", "SLOT_SCHEMA", "Slots"]

SLOT: Final = 65536
_WAITING: Final = -1                # "uses" of a slot that was given up since the last flush
_MANY: Final = 1024
SLOT_SCHEMA: Final = """
create table if not exists slot(number integer primary key, uses integer);
create index if not exists slot_free on slot(number) where uses=0;
create index if not exists slot_waiting on slot(number) where uses=-1;
"""


class Slots:
    """See the module.

    Args:
        path: of the file, which is made where it is not there.
        execute: of the database's connection.

    Raises OSError.
    """

    def __init__(self, path: Path, execute: Callable[..., sqlite3.Cursor]) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._do = execute
        self._written = False
        self._freed = 0

    @property
    def many_freed(self) -> bool:
        """Whether so many slots wait for a flush that there should be one."""
        return self._freed >= _MANY

    def put(self, data: Buffer) -> tuple[int, int]:
        """Keep `SLOT` bytes in a slot; its number and the checksum. Raises OSError."""
        row = self._do("select number from slot where uses=0 order by number limit 1").fetchone()
        if row is not None:
            self._do("update slot set uses=1 where number=?", row)
        else:
            row = self._do("select coalesce(max(number), -1) + 1 from slot").fetchone()
            self._do("insert into slot values (?, 1)", row)
        (number,) = row
        view = memoryview(data)
        while view:
            view = view[os.pwrite(self._file, view, (number + 1) * SLOT - len(view)) :]
        self._written = True
        return number, zlib.crc32(data)

    def get(self, number: int, checksum: int) -> bytes:
        """What is in a slot. Raises OSError, and IoFailed where it is not what was put there."""
        data = os.pread(self._file, SLOT, number * SLOT)
        if len(data) < SLOT or zlib.crc32(data) != checksum:
            raise IoFailed(IoFault.MEDIUM, f"objects: slot {number} is damaged")
        return data

    def share(self, number: int, uses: int) -> None:
        """So many more refer to it."""
        self._do("update slot set uses=uses+? where number=?", (uses, number))

    def drop(self, number: int) -> None:
        """One that refers to it does so no more."""
        self._do(f"update slot set uses=case uses when 1 then {_WAITING} else uses-1 end where number=?", (number,))
        self._freed += 1

    def drop_all(self) -> None:
        """Nothing refers to any."""
        self._freed += self._do(f"update slot set uses={_WAITING} where uses>0").rowcount

    def sync(self) -> None:
        """What was put is on stable storage. Raises OSError."""
        if self._written:
            os.fdatasync(self._file)
            self._written = False

    def settle(self) -> None:
        """Everything in the database is on stable storage: slots that were given up are free."""
        if not self._do("update slot set uses=0 where uses=-1").rowcount:
            return
        self._freed = 0
        end = self._do("select coalesce(max(number), -1) + 1 from slot where uses!=0").fetchone()[0]
        self._do("delete from slot where number>=?", (end,))
        os.ftruncate(self._file, end * SLOT)

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)

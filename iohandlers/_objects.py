"""An object store in a folder: `objects.sqlite` has objects, attributes, memberships and the data of small objects,
`objects.data` beside it that of large ones (`_object_data`).

A transaction is one transaction of SQLite, and nothing that one refers to in the file is ever written over before
that is history: after a crash the effects of a command are there in whole or not at all. No name or number of a
request becomes part of a path: there are two files, of these names. Transactions run one after the other in a thread of
their own and answer PENDING.

Answered transactions survive the end of the process; they survive a power loss once a durable one or a Flush after
them was answered. Data of large objects that a power loss took before that is told as a medium error, never given out.
"""

from __future__ import annotations

import errno
import fcntl
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

from iohandlers._object_data import DATA_SCHEMA, SIGN, ObjectData
from iohandlers._object_slots import Slots
from iohandlers._workers import Workers
from scsiemu.errors import IoFailed, IoFault
from scsiemu.io_requests import PENDING, Flush, IoRequest, StoreCapabilities, Ticket
from scsiemu.object_requests import PRIVATE_PAGE, ObjectKind, Rollback, Transact

__all__ = ["SqliteObjects", "system_clock"]

_SCHEMA: Final = """
create table if not exists object(pid integer, oid integer, kind integer, length integer, pieces integer,
    primary key(pid, oid)) without rowid;
create index if not exists object_kind on object(pid, kind, oid);
create table if not exists attribute(pid integer, oid integer, page integer, number integer, value blob,
    primary key(pid, oid, page, number)) without rowid;
create table if not exists member(pid integer, cid integer, oid integer, number integer,
    primary key(pid, cid, oid)) without rowid;
create index if not exists member_oid on member(pid, oid, number);
create table if not exists tally(pid integer, kind integer, amount integer, primary key(pid, kind)) without rowid;
"""
# Tables of what is in partitions, and their columns behind the partition id; data is copied by itself.
_TABLES: Final = {
    "object": "oid, kind, length, pieces", "attribute": "oid, page, number, value", "member": "cid, oid, number",
    "tally": "kind, amount",
}


def system_clock() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


class SqliteObjects:
    """See the module.

    Args:
        path: of the folder, which is made where it is not there.
        clock: milliseconds since 1970.
        size: total capacity in bytes that it tells of.

    Raises OSError and ValueError.
    """

    def __init__(self, path: str, clock: Callable[[], int], size: int) -> None:
        folder = Path(path)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = (folder / "lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._lock.close()
            raise ValueError(f"{path} is open in another server") from None
        try:
            self._database = sqlite3.connect(
                folder / "objects.sqlite", isolation_level=None, check_same_thread=False
            )
            self._database.executescript(
                "pragma page_size=8192; pragma journal_mode=wal; pragma synchronous=normal; pragma cache_size=-16384;"
                + _SCHEMA + DATA_SCHEMA
            )
            self._slots = Slots(folder / "objects.data", self._database.execute)
            self._transaction = _Transaction(self._database, self._slots, clock)
            self._database.execute(
                "insert or ignore into object values (?, ?, ?, 0, 0)", (-SIGN, -SIGN, ObjectKind.ROOT)
            )
            self._flush()
        except sqlite3.Error as error:
            self._lock.close()
            raise ValueError(f"{path}: {error}") from None
        except OSError:
            self._lock.close()
            raise
        self._workers: Workers[Ticket] = Workers("objects", 1)
        self.capabilities = StoreCapabilities(size=size, volatile=True)
        self._closed = False

    def submit(self, request: IoRequest[Any], ticket: Ticket, /) -> Any:
        """Perform `Transact` and `Flush`."""
        if self._closed:
            return IoFailed(IoFault.GONE, "the store is closed")
        if isinstance(request, Transact):
            call: tuple[Any, ...] = (self._transact, request)
        elif isinstance(request, Flush):
            call = (self._flush,)
        else:
            return IoFailed(IoFault.UNSUPPORTED, f"an object store has no {request!r}")
        self._workers.call(ticket, *call)
        return PENDING

    def reap(self) -> Iterable[tuple[Ticket, Any | IoFailed]]:
        """Late answers."""
        return self._workers.reap()

    def fileno(self) -> int | None:
        """Readable when there are late answers."""
        return self._workers.fileno()

    def close(self) -> None:
        """Finish what was submitted, and close."""
        if self._closed:
            return
        self._closed = True
        self._workers.stop()
        self._database.close()
        self._slots.close()
        self._lock.close()

    def _transact(self, request: Transact[Any]) -> Any:
        database = self._database
        try:
            database.execute("begin immediate")
            try:
                answer = request.work(self._transaction)
                database.execute("commit")
            except Rollback as undone:
                database.execute("rollback")
                return undone.answer
            except BaseException:
                if database.in_transaction:
                    database.execute("rollback")
                raise
            if request.durable or self._slots.many_freed:
                self._flush()
        except OSError as error:
            fault = IoFault.NO_SPACE if error.errno in (errno.ENOSPC, errno.EDQUOT) else IoFault.MEDIUM
            raise IoFailed(fault, f"objects: {error.strerror}") from None
        except sqlite3.Error as error:
            full = "full" in str(error)
            raise IoFailed(IoFault.NO_SPACE if full else IoFault.MEDIUM, f"objects: {error}") from None
        return answer

    def _flush(self) -> None:
        # With synchronous=normal a checkpoint is what syncs the log and the database.
        self._slots.sync()
        self._database.execute("pragma wal_checkpoint(full)")
        self._slots.settle()


class _Transaction(ObjectData):
    """`ObjectTransaction` on the database."""

    def __init__(self, database: sqlite3.Connection, slots: Slots, clock: Callable[[], int]) -> None:
        super().__init__(database.execute, slots)
        self.clock = clock
        self.random = secrets.token_bytes
        self._changes: dict[int, int] = {}

    def changes(self, pid: int) -> int:
        return self._changes.get(pid, 0)

    def _changed(self, pid: int) -> None:
        self._changes[pid] = self._changes.get(pid, 0) + 1

    def erase(self) -> None:
        for pid in {0, *self._changes}:
            self._changed(pid)
        self.erase_data()
        for table in ("object", "attribute", "member", "tally"):
            self.do(f"delete from {table}")
        self.do("insert into object values (?, ?, ?, 0, 0)", (-SIGN, -SIGN, ObjectKind.ROOT))

    def kind(self, pid: int, oid: int) -> int | None:
        found: int | None = self.one("select kind from object where pid=? and oid=?", pid - SIGN, oid - SIGN)
        return found

    def create(self, pid: int, oid: int, kind: int) -> None:
        self._changed(0 if kind == ObjectKind.PARTITION else pid)
        self.do("insert into object values (?, ?, ?, 0, 0)", (pid - SIGN, oid - SIGN, kind))
        self.tally(0 if kind == ObjectKind.PARTITION else pid, kind, 1)

    def remove(self, pid: int, oid: int) -> None:
        kind = self.kind(pid, oid)
        assert kind is not None
        self._changed(0 if kind == ObjectKind.PARTITION else pid)
        self.truncate(pid, oid, 0)
        key = (pid - SIGN, oid - SIGN)
        self.do("delete from member where pid=? and cid=?", key)
        for table in ("object", "attribute", "member"):
            self.do(f"delete from {table} where pid=? and oid=?", key)
        self.tally(0 if kind == ObjectKind.PARTITION else pid, kind, -1)
        if kind == ObjectKind.PARTITION:
            self.do("delete from tally where pid=?", (pid - SIGN,))

    def objects(self, pid: int, kind: int, start: int, limit: int) -> list[int]:
        if start >> 64:                     # behind the highest id that there can be
            return []
        if kind == ObjectKind.PARTITION:
            rows = self.do(
                "select pid from object where oid=? and pid>=? and pid>? order by pid limit ?",
                (-SIGN, start - SIGN, -SIGN, limit),
            )
        else:
            rows = self.do(
                "select oid from object where pid=? and kind=? and oid>=? order by oid limit ?",
                (pid - SIGN, kind, start - SIGN, limit),
            )
        return [row[0] + SIGN for row in rows]

    def last(self, pid: int) -> int:
        if pid:
            found = self.one("select max(oid) from object where pid=?", pid - SIGN)
        else:
            found = self.one("select max(pid) from object")
        return 0 if found is None else found + SIGN

    def free(self, pid: int, start: int, number: int) -> int | None:
        if pid:
            rows = self.do(
                "select oid from object where pid=? and oid>=? order by oid", (pid - SIGN, start - SIGN)
            )
        else:
            rows = self.do("select pid from object where oid=? and pid>=? order by pid", (-SIGN, start - SIGN))
        for (taken,) in rows:
            if taken + SIGN - start >= number:
                break
            start = taken + SIGN + 1
        return start if start + number <= 1 << 64 else None

    def count(self, pid: int, kind: int, start: int = 0) -> int:
        if start:
            if kind == ObjectKind.PARTITION:
                which, values = "oid=? and pid>=?", (-SIGN, start - SIGN)
            else:
                which, values = "pid=? and oid>=?", (pid - SIGN, start - SIGN)
            return self.one(f"select count(*) from object where kind=? and {which}", kind, *values) or 0
        return self.one("select amount from tally where pid=? and kind=?", pid - SIGN, kind) or 0

    def attribute(self, pid: int, oid: int, page: int, number: int) -> bytes | None:
        found: bytes | None = self.one(
            "select value from attribute where pid=? and oid=? and page=? and number=?",
            pid - SIGN, oid - SIGN, page, number,
        )
        return found

    def attributes(self, pid: int, oid: int, page: int | None) -> list[tuple[int, int, bytes]]:
        first, end = (0, PRIVATE_PAGE) if page is None else (page, page + 1)
        return list(self.do(
            "select page, number, value from attribute where pid=? and oid=? and page>=? and page<? "
            "order by page, number",
            (pid - SIGN, oid - SIGN, first, end),
        ))

    def set_attribute(self, pid: int, oid: int, page: int, number: int, value: bytes | None) -> None:
        key = (pid - SIGN, oid - SIGN, page, number)
        if value is None:
            self.do("delete from attribute where pid=? and oid=? and page=? and number=?", key)
        else:
            self.do("insert or replace into attribute values (?, ?, ?, ?, ?)", (*key, value))

    def join(self, pid: int, cid: int, oid: int, number: int) -> None:
        self._changed(pid)
        self.do("insert or replace into member values (?, ?, ?, ?)", (pid - SIGN, cid - SIGN, oid - SIGN, number))

    def leave(self, pid: int, cid: int, oid: int) -> None:
        self._changed(pid)
        self.do("delete from member where pid=? and cid=? and oid=?", (pid - SIGN, cid - SIGN, oid - SIGN))

    def members(self, pid: int, cid: int, start: int, limit: int) -> list[int]:
        if start >> 64:
            return []
        rows = self.do(
            "select oid from member where pid=? and cid=? and oid>=? order by oid limit ?",
            (pid - SIGN, cid - SIGN, start - SIGN, limit),
        )
        return [row[0] + SIGN for row in rows]

    def member_count(self, pid: int, cid: int, start: int = 0) -> int:
        found: int = self.one(
            "select count(*) from member where pid=? and cid=? and oid>=?", pid - SIGN, cid - SIGN, start - SIGN
        )
        return found

    def memberships(self, pid: int, oid: int) -> list[tuple[int, int]]:
        rows = self.do(
            "select number, cid from member where pid=? and oid=? order by number", (pid - SIGN, oid - SIGN)
        )
        return [(number, cid + SIGN) for number, cid in rows]

    def copy_partition(self, pid: int, new: int) -> None:
        there, here = pid - SIGN, new - SIGN
        self._changed(0)
        self._changed(new)
        for table, columns in _TABLES.items():
            self.do(f"insert into {table} select ?, {columns} from {table} where pid=?", (here, there))
        self.copy_all_data(there, here)
        self.tally(0, ObjectKind.PARTITION, 1)

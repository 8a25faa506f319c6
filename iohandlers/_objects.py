"""An object store in one SQLite database: objects, attributes, memberships, and data in pieces of 4 KiB.

All of it, data too, is in the database, so that a transaction is one transaction of SQLite: after a crash the effects
of a command are there in whole or not at all. A piece that was never written is a hole and takes nothing. In a folder
the database is `objects.sqlite`; no name or number of a request becomes part of a path. Transactions run one after the
other in a thread of their own and answer PENDING. Without a folder the database is in memory, and answers come at
once.

Answered transactions survive the end of the process; they survive a power loss once a durable one or a Flush after
them was answered. It does NOT keep data of large objects in files beside the database.
"""

from __future__ import annotations

import fcntl
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

from iohandlers._workers import Workers
from scsiemu.command import Buffer
from scsiemu.errors import IoFailed, IoFault
from scsiemu.io_requests import PENDING, Extent, ExtentKind, Flush, IoRequest, StoreCapabilities, Ticket
from scsiemu.object_requests import PRIVATE_PAGE, ObjectKind, Rollback, Transact

__all__ = ["SqliteObjects", "system_clock"]

_PIECE: Final = 4096
_SIGN: Final = 1 << 63
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
create table if not exists piece(pid integer, oid integer, number integer, data blob, primary key(pid, oid, number));
"""
# Tables of what is in partitions, and their columns behind the partition id.
_TABLES: Final = {
    "object": "oid, kind, length, pieces", "attribute": "oid, page, number, value", "member": "cid, oid, number",
    "tally": "kind, amount", "piece": "oid, number, data",
}
_PIECES: Final = -1                 # "kind" of the tally of pieces


def system_clock() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


class SqliteObjects:
    """See the module.

    Args:
        path: of the folder, which is made where it is not there; None for a database in memory.
        clock: milliseconds since 1970.
        size: total capacity in bytes that it tells of.

    Raises OSError and ValueError.
    """

    def __init__(self, path: str | None, clock: Callable[[], int], size: int) -> None:
        place = ":memory:"
        self._lock: Any = None
        if path is not None:
            folder = Path(path)
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = (folder / "lock").open("w")
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                self._lock.close()
                raise ValueError(f"{path} is open in another server") from None
            place = str(folder / "objects.sqlite")
        try:
            self._database = sqlite3.connect(place, isolation_level=None, check_same_thread=False)
            self._database.executescript(
                "pragma page_size=8192; pragma journal_mode=wal; pragma synchronous=normal; pragma cache_size=-16384;"
                + _SCHEMA
            )
            self._transaction = _Transaction(self._database, clock)
            self._database.execute(
                "insert or ignore into object values (?, ?, ?, 0, 0)", (-_SIGN, -_SIGN, ObjectKind.ROOT)
            )
        except sqlite3.Error as error:
            if self._lock is not None:
                self._lock.close()
            raise ValueError(f"{path or 'memory'}: {error}") from None
        self._workers: Workers[Ticket] | None = Workers("objects", 1) if path is not None else None
        self.capabilities = StoreCapabilities(size=size, volatile=path is not None)
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
        if self._workers is not None:
            self._workers.call(ticket, *call)
            return PENDING
        try:
            return call[0](*call[1:])
        except IoFailed as failure:
            return failure

    def reap(self) -> Iterable[tuple[Ticket, Any | IoFailed]]:
        """Late answers."""
        return self._workers.reap() if self._workers is not None else ()

    def fileno(self) -> int | None:
        """Readable when there are late answers."""
        return self._workers.fileno() if self._workers is not None else None

    def close(self) -> None:
        """Finish what was submitted, and close."""
        if self._closed:
            return
        self._closed = True
        if self._workers is not None:
            self._workers.stop()
        self._database.close()
        if self._lock is not None:
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
            if request.durable:
                self._flush()
        except sqlite3.Error as error:
            full = "full" in str(error)
            raise IoFailed(IoFault.NO_SPACE if full else IoFault.MEDIUM, f"objects: {error}") from None
        return answer

    def _flush(self) -> None:
        # With synchronous=normal a checkpoint is what syncs the log and the database.
        if self._workers is not None:
            self._database.execute("pragma wal_checkpoint(full)")


class _Transaction:
    """`ObjectTransaction` on the database. 64-bit ids are kept with their order in SQLite's signed numbers."""

    def __init__(self, database: sqlite3.Connection, clock: Callable[[], int]) -> None:
        self._do = database.execute
        self.clock = clock
        self.random = secrets.token_bytes
        self.grain = _PIECE
        self._changes: dict[int, int] = {}

    def _one(self, text: str, *values: Any) -> Any:
        row = self._do(text, values).fetchone()
        return row[0] if row is not None else None

    def changes(self, pid: int) -> int:
        return self._changes.get(pid, 0)

    def _changed(self, pid: int) -> None:
        self._changes[pid] = self._changes.get(pid, 0) + 1

    def _tally(self, pid: int, kind: int, change: int) -> None:
        self._do(
            "insert into tally values (?, ?, ?) on conflict do update set amount = amount + excluded.amount",
            (pid - _SIGN, kind, change),
        )

    def erase(self) -> None:
        for pid in {0, *self._changes}:
            self._changed(pid)
        for table in ("object", "attribute", "member", "tally", "piece"):
            self._do(f"delete from {table}")
        self._do("insert into object values (?, ?, ?, 0, 0)", (-_SIGN, -_SIGN, ObjectKind.ROOT))

    def kind(self, pid: int, oid: int) -> int | None:
        found: int | None = self._one("select kind from object where pid=? and oid=?", pid - _SIGN, oid - _SIGN)
        return found

    def create(self, pid: int, oid: int, kind: int) -> None:
        self._changed(0 if kind == ObjectKind.PARTITION else pid)
        self._do("insert into object values (?, ?, ?, 0, 0)", (pid - _SIGN, oid - _SIGN, kind))
        self._tally(0 if kind == ObjectKind.PARTITION else pid, kind, 1)

    def remove(self, pid: int, oid: int) -> None:
        kind = self.kind(pid, oid)
        assert kind is not None
        self._changed(0 if kind == ObjectKind.PARTITION else pid)
        self.truncate(pid, oid, 0)
        key = (pid - _SIGN, oid - _SIGN)
        self._do("delete from member where pid=? and cid=?", key)
        for table in ("object", "attribute", "member"):
            self._do(f"delete from {table} where pid=? and oid=?", key)
        self._tally(0 if kind == ObjectKind.PARTITION else pid, kind, -1)
        if kind == ObjectKind.PARTITION:
            self._do("delete from tally where pid=?", (pid - _SIGN,))

    def objects(self, pid: int, kind: int, start: int, limit: int) -> list[int]:
        if kind == ObjectKind.PARTITION:
            rows = self._do(
                "select pid from object where oid=? and pid>=? and pid>? order by pid limit ?",
                (-_SIGN, start - _SIGN, -_SIGN, limit),
            )
        else:
            rows = self._do(
                "select oid from object where pid=? and kind=? and oid>=? order by oid limit ?",
                (pid - _SIGN, kind, start - _SIGN, limit),
            )
        return [row[0] + _SIGN for row in rows]

    def last(self, pid: int) -> int:
        if pid:
            found = self._one("select max(oid) from object where pid=?", pid - _SIGN)
        else:
            found = self._one("select max(pid) from object")
        return 0 if found is None else found + _SIGN

    def free(self, pid: int, start: int, number: int) -> int | None:
        if pid:
            rows = self._do(
                "select oid from object where pid=? and oid>=? order by oid", (pid - _SIGN, start - _SIGN)
            )
        else:
            rows = self._do("select pid from object where oid=? and pid>=? order by pid", (-_SIGN, start - _SIGN))
        for (taken,) in rows:
            if taken + _SIGN - start >= number:
                break
            start = taken + _SIGN + 1
        return start if start + number <= 1 << 64 else None

    def count(self, pid: int, kind: int, start: int = 0) -> int:
        if start:
            if kind == ObjectKind.PARTITION:
                which, values = "oid=? and pid>=?", (-_SIGN, start - _SIGN)
            else:
                which, values = "pid=? and oid>=?", (pid - _SIGN, start - _SIGN)
            return self._one(f"select count(*) from object where kind=? and {which}", kind, *values) or 0
        return self._one("select amount from tally where pid=? and kind=?", pid - _SIGN, kind) or 0

    def attribute(self, pid: int, oid: int, page: int, number: int) -> bytes | None:
        found: bytes | None = self._one(
            "select value from attribute where pid=? and oid=? and page=? and number=?",
            pid - _SIGN, oid - _SIGN, page, number,
        )
        return found

    def attributes(self, pid: int, oid: int, page: int | None) -> list[tuple[int, int, bytes]]:
        first, end = (0, PRIVATE_PAGE) if page is None else (page, page + 1)
        return list(self._do(
            "select page, number, value from attribute where pid=? and oid=? and page>=? and page<? "
            "order by page, number",
            (pid - _SIGN, oid - _SIGN, first, end),
        ))

    def set_attribute(self, pid: int, oid: int, page: int, number: int, value: bytes | None) -> None:
        key = (pid - _SIGN, oid - _SIGN, page, number)
        if value is None:
            self._do("delete from attribute where pid=? and oid=? and page=? and number=?", key)
        else:
            self._do("insert or replace into attribute values (?, ?, ?, ?, ?)", (*key, value))

    def join(self, pid: int, cid: int, oid: int, number: int) -> None:
        self._changed(pid)
        self._do("insert or replace into member values (?, ?, ?, ?)", (pid - _SIGN, cid - _SIGN, oid - _SIGN, number))

    def leave(self, pid: int, cid: int, oid: int) -> None:
        self._changed(pid)
        self._do("delete from member where pid=? and cid=? and oid=?", (pid - _SIGN, cid - _SIGN, oid - _SIGN))

    def members(self, pid: int, cid: int, start: int, limit: int) -> list[int]:
        rows = self._do(
            "select oid from member where pid=? and cid=? and oid>=? order by oid limit ?",
            (pid - _SIGN, cid - _SIGN, start - _SIGN, limit),
        )
        return [row[0] + _SIGN for row in rows]

    def member_count(self, pid: int, cid: int, start: int = 0) -> int:
        found: int = self._one(
            "select count(*) from member where pid=? and cid=? and oid>=?", pid - _SIGN, cid - _SIGN, start - _SIGN
        )
        return found

    def memberships(self, pid: int, oid: int) -> list[tuple[int, int]]:
        rows = self._do(
            "select number, cid from member where pid=? and oid=? order by number", (pid - _SIGN, oid - _SIGN)
        )
        return [(number, cid + _SIGN) for number, cid in rows]

    def copy_partition(self, pid: int, new: int) -> None:
        there, here = pid - _SIGN, new - _SIGN
        self._changed(0)
        self._changed(new)
        for table, columns in _TABLES.items():
            self._do(f"insert into {table} select ?, {columns} from {table} where pid=?", (here, there))
        self._tally(0, ObjectKind.PARTITION, 1)

    def copy_data(self, pid: int, oid: int, new_pid: int, new_oid: int) -> None:
        there, here = (pid - _SIGN, oid - _SIGN), (new_pid - _SIGN, new_oid - _SIGN)
        self._do("insert into piece select ?, ?, number, data from piece where pid=? and oid=?", (*here, *there))
        length, pieces = self._do("select length, pieces from object where pid=? and oid=?", there).fetchone()
        self._do("update object set length=?, pieces=? where pid=? and oid=?", (length, pieces, *here))
        self._tally(new_pid, _PIECES, pieces)

    # --- data

    def length(self, pid: int, oid: int) -> int:
        found: int = self._one("select length from object where pid=? and oid=?", pid - _SIGN, oid - _SIGN)
        return found

    def used(self, pid: int, oid: int) -> int:
        if not pid:
            pieces = self._one("select sum(amount) from tally where kind=?", _PIECES)
        elif not oid:
            pieces = self._one("select amount from tally where pid=? and kind=?", pid - _SIGN, _PIECES)
        else:
            pieces = self._one("select pieces from object where pid=? and oid=?", pid - _SIGN, oid - _SIGN)
        return (pieces or 0) * _PIECE

    def read(self, pid: int, oid: int, offset: int, length: int) -> bytes:
        data = bytearray(length)
        first = offset // _PIECE
        rows = self._do(
            "select number, data from piece where pid=? and oid=? and number>=? and number<?",
            (pid - _SIGN, oid - _SIGN, first, -(-(offset + length) // _PIECE)),
        )
        for number, piece in rows:
            at = number * _PIECE - offset
            low, high = max(0, -at), min(_PIECE, length - at)
            data[at + low : at + high] = piece[low:high]
        return bytes(data)

    def write(self, pid: int, oid: int, offset: int, data: Buffer) -> None:
        view = memoryview(data)
        end = offset + len(view)
        key = (pid - _SIGN, oid - _SIGN)
        at = offset
        fresh = 0
        while at < end:
            number, low = divmod(at, _PIECE)
            part = view[at - offset : at - offset + _PIECE - low]
            old = self._one("select data from piece where pid=? and oid=? and number=?", *key, number)
            fresh += old is None
            whole = bytearray(old if old is not None else _PIECE)
            whole[low : low + len(part)] = part
            self._do("insert or replace into piece values (?, ?, ?, ?)", (*key, number, bytes(whole)))
            at += len(part)
        self._do(
            "update object set length=max(length, ?), pieces=pieces+? where pid=? and oid=?", (end, fresh, *key)
        )
        self._tally(pid, _PIECES, fresh)

    def _drop(self, pid: int, oid: int, first: int, end: int) -> None:
        """Forget the pieces from `first` to before `end`."""
        key = (pid - _SIGN, oid - _SIGN)
        text = "delete from piece where pid=? and oid=? and number>=? and number<?"
        gone = self._do(text, (*key, first, end)).rowcount
        if gone:
            self._do("update object set pieces=pieces-? where pid=? and oid=?", (gone, *key))
            self._tally(pid, _PIECES, -gone)

    def truncate(self, pid: int, oid: int, length: int) -> None:
        old = self.length(pid, oid)
        if length < old:
            self.clear(pid, oid, length, old - length)
            self._drop(pid, oid, -(-length // _PIECE), _SIGN - 1)
        self._do("update object set length=? where pid=? and oid=?", (length, pid - _SIGN, oid - _SIGN))

    def clear(self, pid: int, oid: int, offset: int, length: int) -> None:
        end = offset + length
        first, last = -(-offset // _PIECE), end // _PIECE
        if first < last:
            self._drop(pid, oid, first, last)
            edges = [(offset, first * _PIECE), (last * _PIECE, end)]
        else:
            middle = min(first * _PIECE, end)
            edges = [(offset, middle), (middle, end)]
        for low, high in edges:
            number = low // _PIECE
            key = (pid - _SIGN, oid - _SIGN, number)
            if low < high and (old := self._one("select data from piece where pid=? and oid=? and number=?", *key)):
                base = number * _PIECE
                new = old[: low - base] + bytes(high - low) + old[high - base :]
                self._do("insert or replace into piece values (?, ?, ?, ?)", (*key, new))

    def extents(self, pid: int, oid: int, offset: int, limit: int) -> list[Extent]:
        end = self.length(pid, oid)
        found: list[Extent] = []
        at = start = offset     # from start to at is data not yet told
        rows = self._do(
            "select number from piece where pid=? and oid=? and number>=? order by number",
            (pid - _SIGN, oid - _SIGN, offset // _PIECE),
        )
        for (number,) in rows:
            low = max(number * _PIECE, offset)
            if low > at:
                found += [Extent(start, at - start, ExtentKind.DATA)] if at > start else []
                found.append(Extent(at, low - at, ExtentKind.HOLE))
                start = low
                if len(found) >= limit:
                    return found[:limit]
            at = min((number + 1) * _PIECE, end)
        if at > start:
            found.append(Extent(start, at - start, ExtentKind.DATA))
        if end > at:
            found.append(Extent(at, end - at, ExtentKind.HOLE))
        return found[:limit]

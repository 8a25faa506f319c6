"""The data of objects, in a database and a file beside it.

Data is in pieces of 4 KiB in the database. Where a whole aligned part of 64 KiB is written at once, it is a chunk: it
goes into a slot of the file (`_object_slots`), and the database keeps the number. A smaller write into a chunk
makes pieces that lie over it; what makes a hole in a chunk turns it into pieces first. What was never written is a hole
and takes nothing. Every method is called in a transaction of the database.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any, Final

from iohandlers._object_slots import SLOT, SLOT_SCHEMA, Slots
from scsiemu.command import Buffer
from scsiemu.io_requests import Extent, ExtentKind

__all__ = ["DATA_SCHEMA", "SIGN", "ObjectData"]

SIGN: Final = 1 << 63               # 64-bit ids are kept with their order in SQLite's signed numbers
_PIECE: Final = 4096
_EACH: Final = SLOT // _PIECE       # pieces of a chunk
_PIECES: Final = -1                 # "kind" of the tally of pieces
DATA_SCHEMA: Final = SLOT_SCHEMA + """
create table if not exists piece(pid integer, oid integer, number integer, data blob, primary key(pid, oid, number));
create table if not exists chunk(pid integer, oid integer, number integer, slot integer, checksum integer,
    primary key(pid, oid, number)) without rowid;
"""


class ObjectData:
    """See the module.

    Args:
        execute: of the database's connection.
        slots: the file.

    Attributes:
        do: `execute`.
        grain: bytes by which `used` grows and shrinks.
    """

    def __init__(self, execute: Callable[..., sqlite3.Cursor], slots: Slots) -> None:
        self.do = execute
        self.grain = _PIECE
        self._slots = slots

    def one(self, text: str, *values: Any) -> Any:
        """The first column of the first row, None where there is no row."""
        row = self.do(text, values).fetchone()
        return row[0] if row is not None else None

    def tally(self, pid: int, kind: int, change: int) -> None:
        """Count objects of a kind in a partition, or its pieces."""
        self.do(
            "insert into tally values (?, ?, ?) on conflict do update set amount = amount + excluded.amount",
            (pid - SIGN, kind, change),
        )

    # --- what `ObjectTransaction` says -------------------------------------------------------------------------

    def length(self, pid: int, oid: int) -> int:
        found: int = self.one("select length from object where pid=? and oid=?", pid - SIGN, oid - SIGN)
        return found

    def used(self, pid: int, oid: int) -> int:
        if not pid:
            pieces = self.one("select sum(amount) from tally where kind=?", _PIECES)
        elif not oid:
            pieces = self.one("select amount from tally where pid=? and kind=?", pid - SIGN, _PIECES)
        else:
            pieces = self.one("select pieces from object where pid=? and oid=?", pid - SIGN, oid - SIGN)
        return (pieces or 0) * _PIECE

    def read(self, pid: int, oid: int, offset: int, length: int) -> bytes:
        data = bytearray(length)
        key = (pid - SIGN, oid - SIGN)
        chunks = self.do(
            "select number, slot, checksum from chunk where pid=? and oid=? and number>=? and number<?",
            (*key, offset // SLOT, -(-(offset + length) // SLOT)),
        ).fetchall()
        for number, slot, checksum in chunks:
            _overlay(data, self._slots.get(slot, checksum), number * SLOT - offset)
        pieces = self.do(
            "select number, data from piece where pid=? and oid=? and number>=? and number<?",
            (*key, offset // _PIECE, -(-(offset + length) // _PIECE)),
        )
        for number, piece in pieces:
            _overlay(data, piece, number * _PIECE - offset)
        return bytes(data)

    def write(self, pid: int, oid: int, offset: int, data: Buffer) -> None:
        view = memoryview(data)
        end = offset + len(view)
        at = offset
        fresh = 0
        while at < end:
            size = SLOT if at % SLOT == 0 and end - at >= SLOT else min(_PIECE - at % _PIECE, end - at)
            part = view[at - offset : at - offset + size]
            fresh += self._put_chunk(pid, oid, at, part) if size == SLOT else self._put_piece(pid, oid, at, part)
            at += size
        self.do(
            "update object set length=max(length, ?), pieces=pieces+? where pid=? and oid=?",
            (end, fresh, pid - SIGN, oid - SIGN),
        )
        if fresh:
            self.tally(pid, _PIECES, fresh)

    def truncate(self, pid: int, oid: int, length: int) -> None:
        old = self.length(pid, oid)
        if length < old:
            self.clear(pid, oid, length, old - length)
            self._drop(pid, oid, -(-length // _PIECE), SIGN - 1)
        self.do("update object set length=? where pid=? and oid=?", (length, pid - SIGN, oid - SIGN))

    def clear(self, pid: int, oid: int, offset: int, length: int) -> None:
        if not length:
            return
        end = offset + length
        for edge in (offset, end):
            if edge % SLOT:
                self._explode(pid, oid, edge // SLOT)
        first, last = -(-offset // _PIECE), end // _PIECE
        if first < last:
            self._drop(pid, oid, first, last)
            edges = [(offset, first * _PIECE), (last * _PIECE, end)]
        else:
            middle = min(first * _PIECE, end)
            edges = [(offset, middle), (middle, end)]
        for low, high in edges:
            number = low // _PIECE
            key = (pid - SIGN, oid - SIGN, number)
            if low < high and (old := self.one("select data from piece where pid=? and oid=? and number=?", *key)):
                base = number * _PIECE
                new = old[: low - base] + bytes(high - low) + old[high - base :]
                self.do("insert or replace into piece values (?, ?, ?, ?)", (*key, new))

    def extents(self, pid: int, oid: int, offset: int, limit: int) -> list[Extent]:
        end = self.length(pid, oid)
        found: list[Extent] = []
        at = start = offset     # from start to at is data not yet told
        key = (pid - SIGN, oid - SIGN)
        rows = self.do(
            f"select number, 1 from piece where pid=? and oid=? and number>=? union all select number*{_EACH}, {_EACH} "
            "from chunk where pid=? and oid=? and number>=? order by 1",
            (*key, offset // _PIECE, *key, offset // SLOT),
        )
        for number, size in rows:
            low = max(number * _PIECE, offset)
            if low > at:
                found += [Extent(start, at - start, ExtentKind.DATA)] if at > start else []
                found.append(Extent(at, low - at, ExtentKind.HOLE))
                start = low
                if len(found) >= limit:
                    return found[:limit]
            at = max(at, min((number + size) * _PIECE, end))
        if at > start:
            found.append(Extent(start, at - start, ExtentKind.DATA))
        if end > at:
            found.append(Extent(at, end - at, ExtentKind.HOLE))
        return found[:limit]

    def copy_data(self, pid: int, oid: int, new_pid: int, new_oid: int) -> None:
        there, here = (pid - SIGN, oid - SIGN), (new_pid - SIGN, new_oid - SIGN)
        self.do("insert into piece select ?, ?, number, data from piece where pid=? and oid=?", (*here, *there))
        self.do(
            "insert into chunk select ?, ?, number, slot, checksum from chunk where pid=? and oid=?", (*here, *there)
        )
        self._share("pid=? and oid=?", here)
        length, pieces = self.do("select length, pieces from object where pid=? and oid=?", there).fetchone()
        self.do("update object set length=?, pieces=? where pid=? and oid=?", (length, pieces, *here))
        self.tally(new_pid, _PIECES, pieces)

    # --- for the rest of the transaction -----------------------------------------------------------------------

    def copy_all_data(self, there: int, here: int) -> None:
        """Give a partition all the data of another one. Its sizes and tallies are copied by others."""
        self.do("insert into piece select ?, oid, number, data from piece where pid=?", (here, there))
        self.do("insert into chunk select ?, oid, number, slot, checksum from chunk where pid=?", (here, there))
        self._share("pid=?", (here,))

    def erase_data(self) -> None:
        """Forget the data of all objects."""
        self._slots.drop_all()
        self.do("delete from chunk")
        self.do("delete from piece")

    # --- inside ------------------------------------------------------------------------------------------------

    def _share(self, which: str, values: tuple[int, ...]) -> None:
        """New rows refer to slots: each counts."""
        rows = self.do(f"select slot, count(*) from chunk where {which} group by slot", values).fetchall()
        for slot, uses in rows:
            self._slots.share(slot, uses)

    def _put_chunk(self, pid: int, oid: int, at: int, data: memoryview) -> int:
        """Keep a whole chunk; how many pieces more that is."""
        key = (pid - SIGN, oid - SIGN, at // SLOT)
        pieces = self._delete_pieces(pid, oid, at // _PIECE, at // _PIECE + _EACH)
        old = self.one("select slot from chunk where pid=? and oid=? and number=?", *key)
        if old is not None:
            self._slots.drop(old)
        self.do("insert or replace into chunk values (?, ?, ?, ?, ?)", (*key, *self._slots.put(data)))
        return 0 if old is not None else _EACH - pieces

    def _put_piece(self, pid: int, oid: int, at: int, part: memoryview) -> int:
        """Keep bytes of one piece; how many pieces more that is."""
        key = (pid - SIGN, oid - SIGN)
        number, low = divmod(at, _PIECE)
        fresh = 0
        old = self.one("select data from piece where pid=? and oid=? and number=?", *key, number)
        if old is None:
            chunk = self.do(
                "select slot, checksum from chunk where pid=? and oid=? and number=?", (*key, at // SLOT)
            ).fetchone()
            if chunk is None:
                fresh = 1
            elif len(part) < _PIECE:
                base = number % _EACH * _PIECE
                old = self._slots.get(*chunk)[base : base + _PIECE]
        whole = bytearray(old if old is not None else _PIECE)
        whole[low : low + len(part)] = part
        self.do("insert or replace into piece values (?, ?, ?, ?)", (*key, number, bytes(whole)))
        return fresh

    def _delete_pieces(self, pid: int, oid: int, first: int, end: int) -> int:
        """Forget the pieces from `first` to before `end`; how many there were."""
        text = "delete from piece where pid=? and oid=? and number>=? and number<?"
        return self.do(text, (pid - SIGN, oid - SIGN, first, end)).rowcount

    def _drop(self, pid: int, oid: int, first: int, end: int) -> None:
        """Forget pieces from `first` to before `end`, and the chunks that lie in them."""
        key = (pid - SIGN, oid - SIGN)
        chunks = self.do(
            "select number, slot from chunk where pid=? and oid=? and number>=? and number<?",
            (*key, -(-first // _EACH), end // _EACH),
        ).fetchall()
        gone = 0
        for number, slot in chunks:
            # What lies over a chunk was not counted beside it.
            self._delete_pieces(pid, oid, number * _EACH, (number + 1) * _EACH)
            self.do("delete from chunk where pid=? and oid=? and number=?", (*key, number))
            self._slots.drop(slot)
            gone += _EACH
        gone += self._delete_pieces(pid, oid, first, end)
        if gone:
            self.do("update object set pieces=pieces-? where pid=? and oid=?", (gone, *key))
            self.tally(pid, _PIECES, -gone)

    def _explode(self, pid: int, oid: int, number: int) -> None:
        """Turn a chunk into pieces."""
        key = (pid - SIGN, oid - SIGN)
        chunk = self.do(
            "select slot, checksum from chunk where pid=? and oid=? and number=?", (*key, number)
        ).fetchone()
        if chunk is None:
            return
        data = self._slots.get(*chunk)
        for part in range(_EACH):
            piece = data[part * _PIECE : (part + 1) * _PIECE]
            self.do("insert or ignore into piece values (?, ?, ?, ?)", (*key, number * _EACH + part, piece))
        self.do("delete from chunk where pid=? and oid=? and number=?", (*key, number))
        self._slots.drop(chunk[0])


def _overlay(data: bytearray, part: bytes, at: int) -> None:
    """Put a part at an offset that may lie before the data or behind its end."""
    low, high = max(0, -at), min(len(part), len(data) - at)
    if low < high:
        data[at + low : at + high] = part[low:high]

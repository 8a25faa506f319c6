"""An object store in memory: dictionaries, and a list of what to undo. Answers come at once.

Written apart from `objects_sqlite`, so that each checks the other (`check_object_store`). Data is in pieces of 4 KiB,
as there; a piece that was never written is a hole and takes nothing. Nothing outlives the process.
"""

from __future__ import annotations

import secrets
from bisect import bisect_left, insort
from collections.abc import Callable, Iterable
from typing import Any, Final

from iohandlers._checks import refuse_unknown
from iohandlers._objects import system_clock
from scsiemu.command import Buffer
from scsiemu.errors import IoFailed, IoFault
from scsiemu.io_requests import Extent, ExtentKind, Flush, IoRequest, StoreCapabilities, Ticket
from scsiemu.object_requests import PRIVATE_PAGE, ObjectKind, Rollback, Transact

__all__ = ["MemoryObjects", "open_store"]

_PIECE: Final = 4096
_NOTHING: Final = object()


def open_store(*, size: int = 1 << 40, clock: Callable[[], int] = system_clock, **unknown: object) -> MemoryObjects:
    """Make an empty store that tells of `size` bytes."""
    refuse_unknown("objects_memory", unknown, ("size", "clock"))
    return MemoryObjects(clock, size)


class MemoryObjects:
    """See the module. Args: milliseconds since 1970; total capacity in bytes that it tells of."""

    def __init__(self, clock: Callable[[], int], size: int) -> None:
        self.capabilities = StoreCapabilities(size=size, volatile=False)
        self._transaction = _Transaction(clock)
        self._closed = False

    def submit(self, request: IoRequest[Any], ticket: Ticket, /) -> Any:
        """Perform `Transact` and `Flush`."""
        if self._closed:
            return IoFailed(IoFault.GONE, "the store is closed")
        if isinstance(request, Flush):
            return None
        if not isinstance(request, Transact):
            return IoFailed(IoFault.UNSUPPORTED, f"an object store has no {request!r}")
        try:
            answer = request.work(self._transaction)
        except Rollback as undone:
            self._transaction.undo()
            return undone.answer
        except BaseException:
            self._transaction.undo()
            raise
        self._transaction.keep()
        return answer

    def reap(self) -> Iterable[tuple[Ticket, Any | IoFailed]]:
        """Nothing is late."""
        return ()

    def fileno(self) -> int | None:
        """Nothing to wait for."""
        return None

    def close(self) -> None:
        """Forget everything."""
        self._closed = True


class _Object:
    """An object: attributes by (page, number), pieces by number, members or memberships by id."""

    __slots__ = ("attributes", "kind", "length", "links", "pieces")

    def __init__(self, kind: int) -> None:
        self.kind = kind
        self.length = 0
        self.attributes: dict[tuple[int, int], bytes] = {}
        self.pieces: dict[int, bytes] = {}
        # Of a collection its members, of a user object its collections, each with the object's number for it.
        self.links: dict[int, int] = {}


class _Transaction:
    """`ObjectTransaction` on dictionaries; ids of the root are (0, 0), partitions are under (0, pid) in order."""

    def __init__(self, clock: Callable[[], int]) -> None:
        self.clock = clock
        self.random = secrets.token_bytes
        self.grain = _PIECE
        self._changes: dict[int, int] = {}
        self._undo: list[Callable[[], object]] = []
        self._objects: dict[tuple[int, int], _Object] = {(0, 0): _Object(ObjectKind.ROOT)}
        # Ascending: of a kind by (partition id, kind), of members by (partition id, collection id), which is larger.
        self._ids: dict[tuple[int, int], list[int]] = {}
        self._pieces: dict[int, int] = {}                   # by partition id

    def undo(self) -> None:
        """Take back what was done since the last `keep`."""
        while self._undo:
            self._undo.pop()()

    def keep(self) -> None:
        """What was done stays."""
        self._undo.clear()

    def _put(self, mapping: dict[Any, Any], key: Any, value: Any) -> None:
        """Set a key, or take it away by `_NOTHING`."""
        old = mapping.get(key, _NOTHING)
        self._undo.append(lambda: _replace(mapping, key, old))
        _replace(mapping, key, value)

    def changes(self, pid: int) -> int:
        return self._changes.get(pid, 0)

    def _changed(self, pid: int) -> None:
        self._changes[pid] = self._changes.get(pid, 0) + 1

    def _list(self, pid: int, kind: int, add: int | None = None, remove: int | None = None) -> None:
        ids = self._ids.setdefault((pid, kind), [])
        self._changed(pid)
        if add is not None:
            insort(ids, add)
            self._undo.append(lambda: ids.remove(add))
        if remove is not None:
            del ids[bisect_left(ids, remove)]
            self._undo.append(lambda: insort(ids, remove))

    # --- objects

    def erase(self) -> None:
        for pid in {0, *self._changes}:
            self._changed(pid)
        before = self._objects, self._ids, self._pieces
        self._undo.append(lambda: self._restore(*before))
        self._restore({(0, 0): _Object(ObjectKind.ROOT)}, {}, {})

    def _restore(self, objects: Any, ids: Any, pieces: Any) -> None:
        self._objects, self._ids, self._pieces = objects, ids, pieces

    def kind(self, pid: int, oid: int) -> int | None:
        found = self._objects.get((pid, oid))
        return found.kind if found is not None else None

    def create(self, pid: int, oid: int, kind: int) -> None:
        self._put(self._objects, (pid, oid), _Object(kind))
        self._list(*_place(pid, kind), add=pid if kind == ObjectKind.PARTITION else oid)

    def remove(self, pid: int, oid: int) -> None:
        gone = self._objects[pid, oid]
        self.truncate(pid, oid, 0)
        for other in list(gone.links):
            self.leave(pid, *((oid, other) if gone.kind == ObjectKind.COLLECTION else (other, oid)))
        self._put(self._objects, (pid, oid), _NOTHING)
        self._list(*_place(pid, gone.kind), remove=pid if gone.kind == ObjectKind.PARTITION else oid)

    def objects(self, pid: int, kind: int, start: int, limit: int) -> list[int]:
        ids = self._ids.get((pid, kind), [])
        first = bisect_left(ids, start)
        return ids[first : first + limit]

    def last(self, pid: int) -> int:
        kinds = (ObjectKind.COLLECTION, ObjectKind.USER) if pid else (ObjectKind.PARTITION,)
        return max((self._ids[pid, kind][-1] for kind in kinds if self._ids.get((pid, kind))), default=0)

    def free(self, pid: int, start: int, number: int) -> int | None:
        kinds = (ObjectKind.COLLECTION, ObjectKind.USER) if pid else (ObjectKind.PARTITION,)
        for taken in sorted(each for kind in kinds for each in self._ids.get((pid, kind), ()) if each >= start):
            if taken - start >= number:
                break
            start = taken + 1
        return start if start + number <= 1 << 64 else None

    def count(self, pid: int, kind: int, start: int = 0) -> int:
        ids = self._ids.get((pid, kind), [])
        return len(ids) - bisect_left(ids, start)

    def copy_partition(self, pid: int, new: int) -> None:
        self.create(new, 0, ObjectKind.PARTITION)
        for kind in (None, ObjectKind.COLLECTION, ObjectKind.USER):
            for oid in list(self._ids.get((pid, kind), ())) if kind is not None else [0]:
                source = self._objects[pid, oid]
                if kind is not None:
                    self.create(new, oid, kind)
                made = self._objects[new, oid]
                made.attributes = dict(source.attributes)
                made.links = dict(source.links)
                for member in self._ids.get((pid, oid), ()) if kind == ObjectKind.COLLECTION else ():
                    self._list(new, oid, add=member)
                self.copy_data(pid, oid, new, oid)

    # --- attributes and members

    def attribute(self, pid: int, oid: int, page: int, number: int) -> bytes | None:
        found = self._objects.get((pid, oid))
        return found.attributes.get((page, number)) if found is not None else None

    def attributes(self, pid: int, oid: int, page: int | None) -> list[tuple[int, int, bytes]]:
        found = self._objects.get((pid, oid))
        known = found.attributes if found is not None else {}
        first, end = (0, PRIVATE_PAGE) if page is None else (page, page + 1)
        return sorted((*key, data) for key, data in known.items() if first <= key[0] < end)

    def set_attribute(self, pid: int, oid: int, page: int, number: int, value: bytes | None) -> None:
        known = self._objects[pid, oid].attributes
        self._put(known, (page, number), _NOTHING if value is None else bytes(value))

    def join(self, pid: int, cid: int, oid: int, number: int) -> None:
        if oid not in self._objects[pid, cid].links:
            self._list(pid, cid, add=oid)
        self._put(self._objects[pid, cid].links, oid, number)
        self._put(self._objects[pid, oid].links, cid, number)

    def leave(self, pid: int, cid: int, oid: int) -> None:
        if oid in self._objects[pid, cid].links:
            self._list(pid, cid, remove=oid)
        self._put(self._objects[pid, cid].links, oid, _NOTHING)
        self._put(self._objects[pid, oid].links, cid, _NOTHING)

    def members(self, pid: int, cid: int, start: int, limit: int) -> list[int]:
        return self.objects(pid, cid, start, limit)

    def member_count(self, pid: int, cid: int, start: int = 0) -> int:
        return self.count(pid, cid, start)

    def memberships(self, pid: int, oid: int) -> list[tuple[int, int]]:
        found = self._objects[pid, oid]
        links = found.links if found.kind == ObjectKind.USER else {}
        return sorted((number, cid) for cid, number in links.items())

    # --- data

    def length(self, pid: int, oid: int) -> int:
        return self._objects[pid, oid].length

    def used(self, pid: int, oid: int) -> int:
        if not pid:
            return _PIECE * sum(self._pieces.values())
        return _PIECE * (len(self._objects[pid, oid].pieces) if oid else self._pieces.get(pid, 0))

    def _grow(self, found: _Object, length: int) -> None:
        old = found.length
        self._undo.append(lambda: setattr(found, "length", old))
        found.length = length

    def _piece(self, pid: int, found: _Object, number: int, data: bytes | None) -> None:
        change = (data is not None) - (number in found.pieces)
        self._put(found.pieces, number, _NOTHING if data is None else data)
        if change:
            self._put(self._pieces, pid, self._pieces.get(pid, 0) + change)

    def copy_data(self, pid: int, oid: int, new_pid: int, new_oid: int) -> None:
        source, made = self._objects[pid, oid], self._objects[new_pid, new_oid]
        for number, data in source.pieces.items():
            self._piece(new_pid, made, number, data)
        self._grow(made, source.length)

    def read(self, pid: int, oid: int, offset: int, length: int) -> bytes:
        pieces = self._objects[pid, oid].pieces
        first = offset // _PIECE
        numbers = range(first, -(-(offset + length) // _PIECE))
        whole = b"".join(pieces.get(number, _ZEROS) for number in numbers)
        return whole[offset - first * _PIECE :][:length]

    def write(self, pid: int, oid: int, offset: int, data: Buffer) -> None:
        found = self._objects[pid, oid]
        left = bytes(data)
        at = offset
        while left:
            number, low = divmod(at, _PIECE)
            part, left = left[: _PIECE - low], left[_PIECE - low :]
            old = found.pieces.get(number, _ZEROS)
            self._piece(pid, found, number, old[:low] + part + old[low + len(part) :])
            at += len(part)
        self._grow(found, max(found.length, at))

    def truncate(self, pid: int, oid: int, length: int) -> None:
        found = self._objects[pid, oid]
        if length < found.length:
            edge = length // _PIECE
            for number in [each for each in found.pieces if each * _PIECE >= length]:
                self._piece(pid, found, number, None)
            if edge in found.pieces:
                self._piece(pid, found, edge, found.pieces[edge][: length - edge * _PIECE].ljust(_PIECE, b"\0"))
        self._grow(found, length)

    def clear(self, pid: int, oid: int, offset: int, length: int) -> None:
        found, end = self._objects[pid, oid], offset + length
        for number in [each for each in found.pieces if offset < (each + 1) * _PIECE and each * _PIECE < end]:
            low, high = max(offset - number * _PIECE, 0), min(end - number * _PIECE, _PIECE)
            old = found.pieces[number]
            whole = (low, high) == (0, _PIECE)
            self._piece(pid, found, number, None if whole else old[:low] + bytes(high - low) + old[high:])

    def extents(self, pid: int, oid: int, offset: int, limit: int) -> list[Extent]:
        found = self._objects[pid, oid]
        runs: list[Extent] = []
        at = offset
        if offset >= found.length:
            return []
        for number in sorted(each for each in found.pieces if (each + 1) * _PIECE > offset):
            low, high = max(number * _PIECE, offset), min((number + 1) * _PIECE, found.length)
            if low > at:
                runs.append(Extent(at, low - at, ExtentKind.HOLE))
            if runs and runs[-1].kind == ExtentKind.DATA:
                low = runs.pop().offset
            runs.append(Extent(low, high - low, ExtentKind.DATA))
            at = high
        if at < found.length:
            runs.append(Extent(at, found.length - at, ExtentKind.HOLE))
        return runs[:limit]


_ZEROS: Final = bytes(_PIECE)


def _replace(mapping: dict[Any, Any], key: Any, value: Any) -> None:
    if value is _NOTHING:
        mapping.pop(key, None)
    else:
        mapping[key] = value


def _place(pid: int, kind: int) -> tuple[int, int]:
    """Under which partition an object is listed, and as what."""
    return (0 if kind == ObjectKind.PARTITION else pid), kind

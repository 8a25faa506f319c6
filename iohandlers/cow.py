"""A filter that never changes its next store: writes go to an overlay store (copy on write).

The overlay is a sparse file (or memory) of its own, in clusters of 4 KiB:

    byte 0         header: magic, version, cluster size, size of the base (`_HEADER`), padded to 4096 bytes
    byte 4096      map: one byte for each cluster (0 in the base, 1 in the overlay, 2 all zeros), padded to 4096
    after the map  data: cluster n at n * 4096

The map on disk changes only in Flush (and close), after the data it speaks of is on stable storage: what a
power loss finds is the state of some flush, or later. A Discard makes zeros whatever the base has there.
Changes that touch one cluster are carried out one after the other. It does NOT commit an overlay to its base,
nor notice that a base was changed under it (only that its size was).
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Generator, Iterable
from importlib.metadata import entry_points
from typing import Any, Final, TypeAlias, cast

from iohandlers._checks import bad_option, refusal, refuse_unknown
from iohandlers._filters import Readiness, ask
from scsiemu.command import Buffer
from scsiemu.errors import IoFailed, IoFault
from scsiemu.io_requests import (
    PENDING,
    Discard,
    Extent,
    ExtentKind,
    Extents,
    Flush,
    IoRequest,
    Read,
    Store,
    StoreCapabilities,
    Ticket,
    Write,
)

__all__ = ["CLUSTER", "CowStore", "open_store"]

CLUSTER: Final = 4096
_MAGIC: Final = b"scsiemu overlay\n"
_HEADER: Final = struct.Struct("<16sIIQ")       # magic, version, cluster size, size of the base
_VERSION: Final = 1
_PAGE: Final = 4096                             # clusters that one page of the map speaks of: 16 MiB
_BASE, _DATA, _ZERO = 0, 1, 2
_RUNS: Final = re.compile(rb"\x00+|\x01+|\x02+")
_UNIFORM: Final = tuple(bytes([state]) * _PAGE for state in (_BASE, _DATA, _ZERO))
_PAGES_AT_ONCE: Final = 1024                    # of the map, looked at for one Extents
_PATIENCE: Final = 60.0                         # seconds that close waits for an answer

# The steps of a request: which store is asked what, and what comes back.
_Steps: TypeAlias = Generator[tuple[Store, IoRequest[Any]], Any, Any]


def open_store(
    *,
    next_store: Store | None = None,
    path: str | os.PathLike[str] | None = None,
    overlay: Store | None = None,
    **unknown: object,
) -> CowStore:
    """Open an overlay over `next_store`, which is never written to and closed with it.

    Args:
        path: of the overlay file, created where there is none. Without it the overlay is in memory.
        overlay: a store to use for the overlay instead.
    """
    refuse_unknown("cow", unknown, ("next_store", "path", "overlay"))
    if next_store is None:
        raise bad_option("cow", "next_store", "is missing: what is the overlay over?")
    if path is not None and overlay is not None:
        raise bad_option("cow", "overlay", "and path= are two ways to say one thing")
    size = next_store.capabilities.size
    whole = _data_offset(size) + -(-size // CLUSTER) * CLUSTER
    if overlay is None:
        overlay = _open_by_name("memory", size=whole) if path is None else _open_by_name(
            "file", path=path, size=whole
        )
    try:
        _prepare(overlay, size, "the overlay" if path is None else os.fspath(path))
    except IoFailed as failure:
        overlay.close()
        raise OSError(f"cow store: {failure.message}") from failure
    except BaseException:
        overlay.close()
        raise
    return CowStore(next_store, overlay, size)


def _open_by_name(name: str, **options: Any) -> Store:
    """Another io handler, found as the program finds it: handlers do not import each other."""
    for entry in entry_points(group="scsiemu.iohandlers", name=name):
        return cast(Store, entry.load()(**options))     # what the entry point group promises
    raise ValueError(f"cow store: the io handler {name} is not installed")


def _prepare(overlay: Store, size: int, name: str) -> None:
    """Check the header of an overlay, or write that of a new one."""
    header = bytes(ask(overlay, Read(0, CLUSTER)))
    if not any(header):
        new = _HEADER.pack(_MAGIC, _VERSION, CLUSTER, size).ljust(CLUSTER, b"\0")
        ask(overlay, Write(0, CLUSTER, new))
        ask(overlay, Flush())
        return
    magic, version, cluster, base_size = _HEADER.unpack_from(header)
    if magic != _MAGIC:
        raise ValueError(f"cow store: {name} is not an overlay of ours")
    if (version, cluster) != (_VERSION, CLUSTER):
        raise ValueError(f"cow store: {name} has version {version}, cluster size {cluster}: unknown to us")
    if base_size != size:
        raise ValueError(f"cow store: {name} belongs to a base of {base_size} bytes, not {size}")


def _data_offset(size: int) -> int:
    return CLUSTER + -(-size // (CLUSTER * _PAGE)) * _PAGE


class _Job:
    """A request under way: its steps, and what nobody else may touch meanwhile (clusters, or the map on disk)."""

    __slots__ = ("first", "flush", "last", "steps", "ticket")

    def __init__(self, ticket: Ticket, steps: _Steps, first: int, last: int, *, flush: bool) -> None:
        self.ticket = ticket
        self.steps = steps
        self.first = first      # clusters [first, last), empty where it only reads
        self.last = last
        self.flush = flush

    def conflicts(self, other: _Job) -> bool:
        return (self.flush and other.flush) or max(self.first, other.first) < min(self.last, other.last)


class CowStore:
    """See the module. Made by `open_store`; owns both stores.

    Args:
        base: read, never written.
        overlay: with a header that was checked.
    """

    def __init__(self, base: Store, overlay: Store, size: int) -> None:
        self._base = base
        self._overlay = overlay
        self._size = size           # -1 once closed
        self._base_size = size
        self._closed = False
        self._capabilities = StoreCapabilities(
            size=size, discard=True, extents=True, volatile=True, block_size=CLUSTER
        )
        self._data_offset = _data_offset(size)
        self._punch = overlay.capabilities.discard
        # Pages of the map by number, as far as they were looked at. Uniform ones are shared, immutable objects.
        self._pages: dict[int, bytes | bytearray] = {}
        self._dirty: set[int] = set()
        self._running: set[_Job] = set()        # jobs that wait for a store, of those that exclude others
        self._reading = 0                       # jobs that wait for a store and exclude nobody
        self._waiting: list[_Job] = []          # jobs that wait for other jobs, in order
        self._left_over: list[tuple[Ticket, Any]] = []
        self._readiness = Readiness([base.fileno(), overlay.fileno()])

    @property
    def capabilities(self) -> StoreCapabilities:
        return self._capabilities

    def submit(self, request: IoRequest[Any], ticket: Ticket, /) -> Any:
        if isinstance(request, Read) and 0 <= request.offset <= self._size - request.length:
            number = request.offset // (CLUSTER * _PAGE)
            page_end = (number + 1) * CLUSTER * _PAGE
            if self._pages.get(number) is _UNIFORM[_BASE] and request.offset + request.length <= page_end:
                return self._base.submit(request, ticket)   # nothing near it was ever changed
        failure = refusal(request, size=self._size, read_only=False, closed=self._closed)
        if failure is not None:
            return failure
        job = self._plan(request, ticket)
        if job is None:
            return IoFailed(IoFault.UNSUPPORTED, f"a cow store has no {type(request).__name__}")
        if any(job.conflicts(other) for other in (*self._running, *self._waiting)):
            self._waiting.append(job)
            return PENDING
        return self._begin(job)

    def reap(self) -> Iterable[tuple[Ticket, Any | IoFailed]]:
        answers = self._left_over
        self._left_over = []
        for store in (self._base, self._overlay):
            for late, result in store.reap():
                job: object = late      # the ticket that both stores get, but for reads that are passed on
                if not isinstance(job, _Job):
                    answers.append((late, result))
                    continue
                answer = self._proceed(job, result)
                if answer is not PENDING:
                    self._end(job)
                    answers.append((job.ticket, answer))
        self._start_waiting(answers)
        return answers

    def fileno(self) -> int | None:
        return self._readiness.fileno()

    def close(self) -> None:
        """End it: what is under way is finished, the map written. Late answers are still there for `reap`."""
        if self._closed:
            return
        self._closed = True
        self._size = -1
        answers: list[tuple[Ticket, Any]] = []
        self._finish(answers)
        if self._dirty:
            job = _Job(cast(Ticket, self), self._flush(), 0, 0, flush=True)
            if self._begin(job) is PENDING:
                self._finish(answers)
        self._left_over = [(ticket, answer) for ticket, answer in answers if cast(object, ticket) is not self]
        self._readiness.close()
        self._overlay.close()
        self._base.close()
        self._left_over += self._base.reap()    # of reads that were passed on

    # -- jobs

    def _plan(self, request: IoRequest[Any], ticket: Ticket) -> _Job | None:
        if isinstance(request, Read):
            return _Job(ticket, self._read(request.offset, request.length), 0, 0, flush=False)
        if isinstance(request, Write) and request.data is not None:
            # The steps may end after the call, so they need bytes of their own.
            data = request.data if request.owned else bytes(request.data)
            first, last = request.offset // CLUSTER, -(-(request.offset + len(data)) // CLUSTER)
            return _Job(ticket, self._write(request.offset, data), first, last, flush=False)
        if isinstance(request, Flush):
            return _Job(ticket, self._flush(), 0, 0, flush=True)
        if isinstance(request, Discard):
            first, last = request.offset // CLUSTER, -(-(request.offset + request.length) // CLUSTER)
            return _Job(ticket, self._discard(request.offset, request.length), first, last, flush=False)
        if isinstance(request, Extents):
            steps = self._extents(request.offset, request.length, max(request.limit, 1))
            return _Job(ticket, steps, 0, 0, flush=False)
        return None

    def _begin(self, job: _Job) -> Any:
        answer = self._proceed(job, None)
        if answer is PENDING:
            if job.flush or job.first < job.last:
                self._running.add(job)
            else:
                self._reading += 1
        return answer

    def _proceed(self, job: _Job, answer: Any) -> Any:
        """Go on with a job until a store answers late or it ends: PENDING or its answer."""
        steps = job.steps
        try:
            while True:
                store, request = steps.throw(answer) if isinstance(answer, IoFailed) else steps.send(answer)
                answer = store.submit(request, cast(Ticket, job))   # opaque to stores
                if answer is PENDING:
                    return PENDING
        except StopIteration as stop:
            return stop.value
        except IoFailed as failure:
            return failure

    def _end(self, job: _Job) -> None:
        if job in self._running:
            self._running.remove(job)
        else:
            self._reading -= 1

    def _start_waiting(self, answers: list[tuple[Ticket, Any]]) -> None:
        """Begin the waiting jobs that nothing before them excludes any more."""
        waiting, self._waiting = self._waiting, []
        for job in waiting:
            if any(job.conflicts(other) for other in (*self._running, *self._waiting)):
                self._waiting.append(job)
                continue
            answer = self._begin(job)
            if answer is not PENDING:
                answers.append((job.ticket, answer))

    def _finish(self, answers: list[tuple[Ticket, Any]]) -> None:
        """Wait until no job is left."""
        while self._running or self._reading or self._waiting:
            if not self._readiness.wait(_PATIENCE):
                answers += [(job.ticket, IoFailed(IoFault.GONE, "the store is closed")) for job in self._waiting]
                return
            answers += self.reap()

    # -- the map

    def _load(self, first: int, last: int) -> _Steps:
        """Have the pages of the map for clusters [first, last)."""
        for number in range(first // _PAGE, -(-last // _PAGE)):
            if number in self._pages:
                continue
            page = bytes((yield self._overlay, Read(CLUSTER + number * _PAGE, _PAGE)))
            if page.translate(None, b"\x00\x01\x02"):
                where = number * _PAGE * CLUSTER
                raise IoFailed(IoFault.MEDIUM, "the map of the overlay is damaged", offset=where)
            if page in _UNIFORM:
                page = _UNIFORM[page[0]]
            self._pages.setdefault(number, page)    # another job may have been faster, and have changed it

    def _runs(self, offset: int, length: int) -> list[tuple[int, int, int]]:
        """(state, offset, length) of the parts of a range, of which the map is loaded."""
        runs: list[tuple[int, int, int]] = []
        end = offset + length
        while offset < end:
            number, place = divmod(offset // CLUSTER, _PAGE)
            page_start = number * _PAGE * CLUSTER
            stop = min(_PAGE, -(-(end - page_start) // CLUSTER))
            for match in _RUNS.finditer(self._pages[number], place, stop):
                run_end = min(end, page_start + match.end() * CLUSTER)
                runs.append((match.group()[0], offset, run_end - offset))
                offset = run_end
        return runs

    def _mark(self, first: int, last: int, state: int) -> None:
        """Set the state of clusters [first, last), of which the map is loaded."""
        while first < last:
            number, place = divmod(first, _PAGE)
            stop = min(_PAGE, place + last - first)
            page = self._pages[number]
            first += stop - place
            if page is _UNIFORM[state]:
                continue
            if stop - place == _PAGE:
                page = _UNIFORM[state]
            else:
                if isinstance(page, bytes):
                    page = bytearray(page)
                page[place:stop] = _UNIFORM[state][:stop - place]
            self._pages[number] = page
            self._dirty.add(number)

    # -- the steps of each request

    def _read(self, offset: int, length: int) -> _Steps:
        yield from self._load(offset // CLUSTER, -(-(offset + length) // CLUSTER))
        runs = self._runs(offset, length)
        if len(runs) == 1:
            return (yield from self._read_run(*runs[0]))
        parts: list[Buffer] = []
        for run in runs:
            parts.append((yield from self._read_run(*run)))
        return b"".join(parts)

    def _read_run(self, state: int, offset: int, length: int) -> _Steps:
        if state == _ZERO:
            return bytes(length)
        if state == _BASE:
            return (yield self._base, Read(offset, length))
        return (yield self._overlay, Read(self._data_offset + offset, length))

    def _write(self, offset: int, data: Buffer) -> _Steps:
        if not data:
            return
        end = offset + len(data)
        first, last = offset // CLUSTER, -(-end // CLUSTER)
        yield from self._load(first, last)
        # Clusters that get into the overlay are written whole: the rest comes from where it was.
        parts: list[Buffer] = [data]
        if offset % CLUSTER and self._state(first) != _DATA:
            parts.insert(0, (yield from self._read(first * CLUSTER, offset % CLUSTER)))
        if end % CLUSTER and self._state(last - 1) != _DATA:
            parts.append((yield from self._read(end, min(last * CLUSTER, self._base_size) - end)))
        whole = data if len(parts) == 1 else b"".join(parts)
        start = self._data_offset + (offset if parts[0] is data else first * CLUSTER)
        write = Write(start, len(whole), whole)
        write.owned = True
        yield self._overlay, write
        self._mark(first, last, _DATA)

    def _state(self, cluster: int) -> int:
        return self._pages[cluster // _PAGE][cluster % _PAGE]

    def _discard(self, offset: int, length: int) -> _Steps:
        end = offset + length
        first, last = -(-offset // CLUSTER), end // CLUSTER     # whole clusters
        if end == self._base_size:
            last = -(-end // CLUSTER)
        if first >= last:
            yield from self._write(offset, bytes(length))
            return
        if offset < first * CLUSTER:
            yield from self._write(offset, bytes(first * CLUSTER - offset))
        if end > last * CLUSTER:
            yield from self._write(last * CLUSTER, bytes(end - last * CLUSTER))
        yield from self._load(first, last)
        runs = self._runs(first * CLUSTER, (last - first) * CLUSTER)
        held = any(state == _DATA for state, _, _ in runs)
        self._mark(first, last, _ZERO)
        if self._punch and held:
            # Should the map not get to the disk, these clusters still read as zeros: safe at any time.
            start = self._data_offset + first * CLUSTER
            yield self._overlay, Discard(start, (last - first) * CLUSTER)

    def _flush(self) -> _Steps:
        # What is marked after this moment may speak of data that the first flush does not cover.
        changed = {number: bytes(self._pages[number]) for number in sorted(self._dirty)}
        self._dirty.clear()
        try:
            yield self._overlay, Flush()
            if not changed:
                return
            for number, page in changed.items():
                write = Write(CLUSTER + number * _PAGE, _PAGE, page)
                write.owned = True
                yield self._overlay, write
            yield self._overlay, Flush()
        except IoFailed:
            self._dirty.update(changed)
            raise

    def _extents(self, offset: int, length: int, limit: int) -> _Steps:
        extents: list[Extent] = []
        pages = -(-(offset + length) // (CLUSTER * _PAGE)) - offset // (CLUSTER * _PAGE)
        if pages > _PAGES_AT_ONCE:
            length = (offset // (CLUSTER * _PAGE) + _PAGES_AT_ONCE) * CLUSTER * _PAGE - offset
        yield from self._load(offset // CLUSTER, -(-(offset + length) // CLUSTER))
        for state, start, count in self._runs(offset, length):
            if state == _BASE and self._base.capabilities.extents:
                end = start + count
                while start < end and len(extents) < limit:
                    found = yield self._base, Extents(start, end - start, limit - len(extents))
                    extents += found
                    start = found[-1].offset + found[-1].length
            elif len(extents) < limit:
                extents.append(Extent(start, count, ExtentKind.HOLE if state == _ZERO else ExtentKind.DATA))
        return tuple(extents)

"""A sparse byte store in memory.

Kept as a map from chunk number to an immutable chunk of 4 KiB. So an aligned read is answered with the chunk
itself, a read is a snapshot that no later write can tear, equal chunks of a Fill are one object, and what was
never written costs nothing at any offset (2^64 blocks of 4160 bytes are fine). Answers at once, always.
Nothing outlives the process.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Final

from iohandlers._checks import check_size, refusal, refuse_unknown
from scsiemu.command import Buffer
from scsiemu.errors import IoFailed, IoFault
from scsiemu.io_requests import (
    Discard,
    Extent,
    ExtentKind,
    Extents,
    Fill,
    Flush,
    IoRequest,
    Read,
    Resize,
    StoreCapabilities,
    Ticket,
    Write,
)

__all__ = ["CHUNK", "MemoryStore", "open_store"]

CHUNK: Final = 4096
_SHIFT: Final = 12
_MASK: Final = CHUNK - 1
_ZERO_CHUNK: Final = bytes(CHUNK)
# What a read of never-written chunks is answered with, as far as it reaches.
_ZEROS: Final = memoryview(bytes(1 << 20))


def open_store(
    *, size: int | None = None, read_only: bool = False, limit: int | None = None, **unknown: object
) -> MemoryStore:
    """Make an empty store.

    Args:
        size: bytes.
        read_only: refuse everything that changes it (it is all zeros then).
        limit: bytes that may be allocated; a write beyond that fails for want of space. None: no limit.
    """
    refuse_unknown("memory", unknown, ("size", "read_only", "limit"))
    if limit is not None:
        limit = check_size("memory", limit)
    return MemoryStore(check_size("memory", size), read_only=read_only, limit=limit)


class MemoryStore:
    """See the module; the arguments are those of `open_store`."""

    def __init__(self, size: int, *, read_only: bool = False, limit: int | None = None) -> None:
        self._size = size
        self._read_only = read_only
        self._chunk_limit = None if limit is None else -(-limit // CHUNK)
        self._closed = False
        self._capabilities = StoreCapabilities(
            size=size, read_only=read_only, discard=True, fill=True, fua=True, extents=True, resize=True,
            volatile=False, block_size=CHUNK,
        )
        self._chunks: dict[int, bytes] = {}
        self._order: list[int] | None = []   # the chunk numbers sorted, None: to be sorted again

    @property
    def capabilities(self) -> StoreCapabilities:
        if self._capabilities.size != self._size:
            self._capabilities = replace(self._capabilities, size=max(self._size, 0))
        return self._capabilities

    @property
    def allocated(self) -> int:
        """Bytes of the chunks that were written."""
        return len(self._chunks) * CHUNK

    def submit(self, request: IoRequest[Any], ticket: Ticket, /) -> Any:  # hot
        cls = request.__class__
        if cls is Read:
            offset = request.offset     # type: ignore[attr-defined]  # a Read; isinstance costs more
            length = request.length     # type: ignore[attr-defined]  # see above
            start = offset & _MASK
            if start + length <= CHUNK and offset >= 0 and 0 <= length <= self._size - offset:
                chunk = self._chunks.get(offset >> _SHIFT)
                if chunk is None:
                    return _ZEROS[:length]
                return chunk if length == CHUNK else chunk[start:start + length]
        elif cls is Write and not self._read_only:
            offset = request.offset     # type: ignore[attr-defined]  # a Write; see above
            data = request.data         # type: ignore[attr-defined]  # too
            if data is not None and 0 <= offset <= self._size - len(data):
                return self._write(offset, data)
        failure = refusal(request, size=self._size, read_only=self._read_only, closed=self._closed)
        if failure is not None:
            return failure
        if isinstance(request, Read):
            return self._read(request.offset, request.length)
        if isinstance(request, Write):
            return None         # without data: those with it are written above, or refused
        if isinstance(request, Flush):
            return None
        if isinstance(request, Discard):
            return self._discard(request.offset, request.length)
        if isinstance(request, Fill):
            return self._fill(request.offset, request.length, request.pattern)
        if isinstance(request, Extents):
            return self._extents(request.offset, request.length, request.limit)
        if isinstance(request, Resize):
            return self._resize(request.size)
        return IoFailed(IoFault.UNSUPPORTED, f"a memory store has no {cls.__name__}")

    def reap(self) -> Iterable[tuple[Ticket, Any | IoFailed]]:
        return ()

    def fileno(self) -> int | None:
        return None

    def close(self) -> None:
        self._closed = True
        self._size = -1
        self._chunks.clear()
        self._order = []

    def _read(self, offset: int, length: int) -> Buffer:
        first, start = offset >> _SHIFT, offset & _MASK
        end = first + ((start + length + _MASK) >> _SHIFT)
        chunks = self._chunks
        parts = [chunks.get(index, _ZERO_CHUNK) for index in range(first, end)]
        if start:
            parts[0] = parts[0][start:]
        surplus = (end << _SHIFT) - offset - length
        if surplus:
            parts[-1] = parts[-1][:-surplus]
        return b"".join(parts)

    def _write(self, offset: int, data: Buffer) -> IoFailed | None:
        view = memoryview(data)
        length = len(view)
        index, start = offset >> _SHIFT, offset & _MASK
        chunks = self._chunks
        if self._chunk_limit is not None:
            failure = self._reserve(index, (offset + length + _MASK) >> _SHIFT)
            if failure is not None:
                return failure
        before = len(chunks)
        done = 0
        if start:
            done = min(CHUNK - start, length)
            old = chunks.get(index, _ZERO_CHUNK)
            chunks[index] = b"".join((old[:start], view[:done], old[start + done:]))
            index += 1
        while length - done >= CHUNK:
            chunks[index] = bytes(view[done:done + CHUNK])
            done += CHUNK
            index += 1
        if done < length:
            chunks[index] = b"".join((view[done:], chunks.get(index, _ZERO_CHUNK)[length - done:]))
        if len(chunks) != before:
            self._order = None
        return None

    def _reserve(self, first: int, end: int) -> IoFailed | None:
        """Whether the chunks that [first, end) still lacks may be allocated."""
        assert self._chunk_limit is not None
        wanted = sum(index not in self._chunks for index in range(first, end))
        if len(self._chunks) + wanted > self._chunk_limit:
            limit = self._chunk_limit * CHUNK
            return IoFailed(IoFault.NO_SPACE, f"the store may allocate {limit} bytes", offset=first * CHUNK)
        return None

    def _discard(self, offset: int, length: int) -> None:
        end = offset + length
        first, last = -(-offset // CHUNK), end // CHUNK     # whole chunks are [first, last)
        if first > last:                                    # inside one chunk
            self._erase(offset, length)
            return
        if first * CHUNK > offset:
            self._erase(offset, first * CHUNK - offset)
        if end > last * CHUNK:
            self._erase(last * CHUNK, end - last * CHUNK)
        chunks = self._chunks
        before = len(chunks)
        if last - first <= before:
            for index in range(first, last):
                chunks.pop(index, None)
        else:
            for index in [index for index in chunks if first <= index < last]:
                del chunks[index]
        if len(chunks) != before:
            self._order = None

    def _erase(self, offset: int, length: int) -> None:
        """Zero a part of one chunk; what is all zeros afterwards is deallocated."""
        index, start = offset >> _SHIFT, offset & _MASK
        old = self._chunks.get(index)
        if old is None:
            return
        new = b"".join((old[:start], _ZERO_CHUNK[:length], old[start + length:]))
        if new == _ZERO_CHUNK:
            del self._chunks[index]
            self._order = None
        else:
            self._chunks[index] = new

    def _fill(self, offset: int, length: int, pattern: bytes) -> IoFailed | None:
        period = len(pattern)
        if self._chunk_limit is not None:
            failure = self._reserve(offset >> _SHIFT, (offset + length + _MASK) >> _SHIFT)
            if failure is not None:
                return failure
        head = min(-offset & _MASK, length)
        self._write(offset, _repeat(pattern, 0, head))
        index = (offset + head) >> _SHIFT
        end = (offset + length) >> _SHIFT
        if index < end:
            repeated = _repeat(pattern, head % period, period + CHUNK)
            if CHUNK % period == 0:     # every chunk is the same object
                self._chunks.update(dict.fromkeys(range(index, end), repeated[:CHUNK]))
            else:
                phase = 0
                for number in range(index, end):
                    self._chunks[number] = repeated[phase:phase + CHUNK]
                    phase = (phase + CHUNK) % period
            self._order = None
        tail = max(offset + head, end << _SHIFT)
        self._write(tail, _repeat(pattern, (tail - offset) % period, offset + length - tail))
        return None

    def _extents(self, offset: int, length: int, limit: int) -> tuple[Extent, ...]:
        if self._order is None:
            self._order = sorted(self._chunks)
        order = self._order
        end = offset + length
        extents: list[Extent] = []
        place = bisect_left(order, offset >> _SHIFT)
        while offset < end and len(extents) < max(limit, 1):
            if place == len(order) or order[place] << _SHIFT > offset:
                stop = end if place == len(order) else min(end, order[place] << _SHIFT)
                kind = ExtentKind.HOLE
            else:
                run = place + 1
                while run < len(order) and order[run] == order[run - 1] + 1 and order[run] << _SHIFT < end:
                    run += 1
                stop = min(end, (order[run - 1] + 1) << _SHIFT)
                place = run
                kind = ExtentKind.DATA
            extents.append(Extent(offset, stop - offset, kind))
            offset = stop
        return tuple(extents)

    def _resize(self, size: int) -> None:
        if size < self._size:
            # What is cut off reads as zeros should the store grow again, to the end of its last chunk.
            self._discard(size, -(-self._size // CHUNK) * CHUNK - size)
        self._size = size


def _repeat(pattern: bytes, phase: int, length: int) -> bytes:
    """`length` bytes of the repeated pattern, from its byte `phase`."""
    return (pattern * ((phase + length) // len(pattern) + 1))[phase:phase + length]

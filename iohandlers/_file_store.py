"""The byte store of an open file: what `file` and `folder` are made of.

The loop never waits for a device: a read is tried with RWF_NOWAIT (a page-cache hit costs 2 us) and a miss
goes to a worker thread; so do flushes, discards, fills, maps and resizes. A write goes to the page cache
inline, except where that would wait: a partial page that is not cached, a range operation that holds the
file's lock, a kernel that throttles writers. Flushes and FUA writes that wait together share one fdatasync.

Answered writes survive this process at once and a power loss after Flush or with FUA. After an fdatasync that
failed every Flush and FUA write fails until the store is opened again. A file that becomes shorter behind our
back is an error (OUT_OF_RANGE), never a short answer. It does NOT do O_DIRECT, mmap or image formats.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable
from dataclasses import replace
from time import monotonic
from typing import Any, Final

from iohandlers._checks import refusal
from iohandlers._linux import (
    fallocate_punch,
    fallocate_zero,
    is_tmpfs,
    logical_block_size,
    zeroes_efficiently,
)
from iohandlers._workers import Workers
from scsiemu.command import Buffer
from scsiemu.errors import IoFailed, IoFault
from scsiemu.io_requests import (
    PENDING,
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

__all__ = ["FileStore"]

_PIECE: Final = 1 << 20             # longest single write of a fill
_PUNCH_PIECE: Final = 1 << 30       # longest single deallocation: others get at the file in between
_PAGE_MASK: Final = 4095
# An inline write that took longer was throttled: the next ones go to the workers for a while, longer if it happens
# again soon after. (A thread that has to wait for a processor looks the same; a write in a worker costs several times
# as much, so the first while is short.) Seconds.
_SLOW_WRITE: Final = 0.010
_FIRST_SLOW_PERIOD: Final = 0.05
_LAST_SLOW_PERIOD: Final = 1.0
# errno to fault; what is not listed is MEDIUM.
_FAULTS: Final[dict[int, str]] = {
    errno.ENOSPC: IoFault.NO_SPACE, errno.EDQUOT: IoFault.NO_SPACE, errno.EFBIG: IoFault.NO_SPACE,
    errno.EROFS: IoFault.READ_ONLY, errno.EACCES: IoFault.READ_ONLY, errno.EPERM: IoFault.READ_ONLY,
    errno.EBADF: IoFault.READ_ONLY, errno.ENXIO: IoFault.GONE, errno.ENODEV: IoFault.GONE,
    errno.EOPNOTSUPP: IoFault.UNSUPPORTED,
}


class _Late:
    """The ticket of a call in a worker, with what is to be done when it returns."""

    __slots__ = ("flush", "heavy", "ticket")

    def __init__(self, ticket: Ticket, *, flush: bool = False, heavy: bool = False) -> None:
        self.ticket = ticket
        self.flush = flush      # on success it is answered by the next flush
        self.heavy = heavy      # it holds the file's lock for long


class _FlushBatch:
    """The ticket of an fdatasync, and the tickets that it answers."""

    __slots__ = ("tickets",)

    def __init__(self, tickets: list[Ticket]) -> None:
        self.tickets = tickets


class FileStore:
    """See the module. Owns the descriptor.

    Args:
        backed: how many bytes the file must have; the rest of `size` reads as zeros.
    """

    def __init__(
        self, descriptor: int, path: str, *, size: int, backed: int, read_only: bool, workers: int
    ) -> None:
        self._descriptor = descriptor
        self._path = path
        self._size = size
        self._backed = backed
        self._read_only = read_only
        self._closed = False
        state = os.fstat(descriptor)
        self._regular = stat.S_ISREG(state.st_mode)
        in_memory = self._regular and is_tmpfs(descriptor)
        self._read_flags = 0 if in_memory else os.RWF_NOWAIT
        self._inline_reads = True
        self._alignment = 1 if self._regular else logical_block_size(descriptor)
        self._can_punch = not read_only and self._probe_punch(state)
        self._capabilities = StoreCapabilities(
            size=size, read_only=read_only, discard=self._can_punch, fill=True, fua=True, extents=self._regular,
            resize=self._regular, volatile=True, block_size=max(4096, self._alignment),
        )
        self._workers: Workers[_Late | _FlushBatch] = Workers("file-store", workers)
        self._flushing = False
        self._flush_waiting: list[Ticket] = []
        # Linux tells of a write that it lost once, and counts its pages as clean: success after that would be a lie.
        self._flush_failure: IoFailed | None = None
        self._heavy = 0                 # calls in workers that hold the file's lock for long
        self._slow_until = 0.0          # until then writes go to the workers
        self._slow_period = _FIRST_SLOW_PERIOD
        self._left_over: list[tuple[Ticket, Any]] = []

    @property
    def capabilities(self) -> StoreCapabilities:
        if self._capabilities.size != self._size:
            self._capabilities = replace(self._capabilities, size=max(self._size, 0))
        return self._capabilities

    def submit(self, request: IoRequest[Any], ticket: Ticket, /) -> Any:  # hot
        cls = request.__class__
        if cls is Read:
            offset = request.offset     # type: ignore[attr-defined]  # a Read; isinstance costs more
            length = request.length     # type: ignore[attr-defined]  # see above
            if 0 <= offset <= self._size - length and length >= 0:
                buffer = bytearray(length)
                done = 0
                if self._inline_reads:
                    try:
                        done = os.preadv(self._descriptor, (buffer,), offset, self._read_flags)
                        if done == length:
                            return buffer
                    except OSError as error:
                        if error.errno == errno.EOPNOTSUPP:     # a file system without RWF_NOWAIT
                            self._inline_reads = False
                        elif error.errno != errno.EAGAIN:
                            return self._failure(error, offset)
                self._workers.call(_Late(ticket), self._read_blocking, buffer, offset, done)
                return PENDING
        elif cls is Write:
            return self._write(request, ticket)     # type: ignore[arg-type]  # a Write
        return self._submit_other(request, ticket)

    def reap(self) -> Iterable[tuple[Ticket, Any | IoFailed]]:
        answers: list[tuple[Ticket, Any]] = self._left_over
        self._left_over = []
        for late, result in self._workers.reap():
            if isinstance(late, _FlushBatch):
                self._flushing = False
                answers += [(ticket, result) for ticket in late.tickets]
                continue
            self._heavy -= late.heavy
            if late.flush and result is None:
                self._join_flush(late.ticket)
            else:
                answers.append((late.ticket, result))
        if self._flush_waiting and not self._flushing:
            self._start_flush()
        return answers

    def fileno(self) -> int | None:
        return self._workers.fileno()

    def close(self) -> None:
        """End it. Waits for what the workers do; late answers not yet fetched are still there for `reap`."""
        if self._closed:
            return
        self._closed = True
        self._size = -1
        self._workers.stop()
        answers = list(self.reap())
        if self._flush_waiting:
            result: IoFailed | None = None
            try:
                self._sync()
            except IoFailed as failure:
                result = failure
            answers += [(ticket, result) for ticket in self._flush_waiting]
            self._flush_waiting = []
        self._left_over = answers
        os.close(self._descriptor)
        self._descriptor = -1

    # -- in the loop's thread

    def _write(self, request: Write, ticket: Ticket) -> Any:  # hot
        data = request.data
        offset = request.offset
        length = 0 if data is None else len(data)
        if data is None or self._read_only or not 0 <= offset <= self._size - length:
            return self._submit_other(request, ticket)
        started = monotonic()
        if (
            self._heavy
            or started < self._slow_until
            or ((offset | length) & _PAGE_MASK and self._waits_for_page(offset, length))
        ):
            kept = data if request.owned else bytes(data)
            self._workers.call(_Late(ticket, flush=request.fua), self._write_blocking, kept, offset)
            return PENDING
        try:
            written = os.pwrite(self._descriptor, data, offset)
            if written != length:
                self._write_blocking(memoryview(data)[written:], offset + written)
        except OSError as error:
            return self._failure(error, offset)
        except IoFailed as failure:
            return failure
        ended = monotonic()
        if ended - started > _SLOW_WRITE:
            again = started - self._slow_until < self._slow_period
            self._slow_period = min(2 * self._slow_period, _LAST_SLOW_PERIOD) if again else _FIRST_SLOW_PERIOD
            self._slow_until = ended + self._slow_period
        if request.fua:
            self._join_flush(ticket)
            return PENDING
        return None

    def _waits_for_page(self, offset: int, length: int) -> bool:
        """Whether writing this range must first read a page at either end from the device."""
        if not self._inline_reads or not self._read_flags:
            return False
        end = offset + length
        edges = [edge for edge in (offset, end) if edge & _PAGE_MASK]
        try:
            for edge in edges:
                os.preadv(self._descriptor, (bytearray(1),), edge & ~_PAGE_MASK, self._read_flags)
        except OSError as error:
            return error.errno == errno.EAGAIN
        return False

    def _submit_other(self, request: IoRequest[Any], ticket: Ticket) -> Any:
        failure = refusal(request, size=self._size, read_only=self._read_only, closed=self._closed)
        if failure is not None:
            return failure
        if isinstance(request, Flush):
            if self._read_only:
                return None
            self._join_flush(ticket)
            return PENDING
        if isinstance(request, Fill):
            pattern = request.pattern
            zeros = self._regular and request.length >= _PIECE and not any(pattern)
            function = self._zero_blocking if zeros else self._fill_blocking
            late = _Late(ticket, flush=request.fua, heavy=True)
            return self._begin_heavy(late, function, request.offset, request.length, pattern)
        if isinstance(request, Discard) and self._can_punch:
            late = _Late(ticket, heavy=True)
            return self._begin_heavy(late, self._discard_blocking, request.offset, request.length)
        if isinstance(request, Extents) and self._regular:
            self._workers.call(
                _Late(ticket), self._extents_blocking, request.offset, request.length, request.limit
            )
            return PENDING
        if isinstance(request, Resize) and self._regular:
            return self._begin_heavy(_Late(ticket, heavy=True), self._resize_blocking, request.size)
        return IoFailed(IoFault.UNSUPPORTED, f"{self._path} has no {type(request).__name__}")

    def _begin_heavy(self, late: _Late, function: Any, *arguments: Any) -> Any:
        self._heavy += 1
        self._workers.call(late, function, *arguments)
        return PENDING

    def _join_flush(self, ticket: Ticket) -> None:
        # A running fdatasync may have passed this write already: only one that starts later answers it.
        self._flush_waiting.append(ticket)
        if not self._flushing and not self._closed:
            self._start_flush()

    def _start_flush(self) -> None:
        if self._closed:
            return
        batch = _FlushBatch(self._flush_waiting)
        self._flush_waiting = []
        self._flushing = True
        self._workers.call(batch, self._sync)

    def _failure(self, error: OSError, offset: int | None = None) -> IoFailed:
        fault = _FAULTS.get(error.errno or 0, IoFault.MEDIUM)
        return IoFailed(fault, f"{self._path}: {error.strerror or error}", offset=offset)

    def _probe_punch(self, state: os.stat_result) -> bool:
        if not self._regular:
            return zeroes_efficiently(state.st_rdev)
        try:    # behind the end of the file: changes nothing, but tells
            fallocate_punch(self._descriptor, (state.st_size + _PAGE_MASK) & ~_PAGE_MASK, 4096)
        except OSError:
            return False
        return True

    # -- in worker threads: what these read of the store does not change meanwhile

    def _read_blocking(self, buffer: bytearray, offset: int, done: int) -> Buffer:
        view = memoryview(buffer)
        length = len(buffer)
        while done < length:
            try:
                count = os.preadv(self._descriptor, (view[done:],), offset + done)
            except OSError as error:
                raise self._failure(error, offset + done) from error
            if not count:
                if offset + done < min(self._backed, offset + length):
                    raise IoFailed(IoFault.OUT_OF_RANGE, f"{self._path} became shorter", offset=offset + done)
                break       # behind the end of a read-only file: zeros
            done += count
        return buffer

    def _write_blocking(self, data: Buffer, offset: int) -> None:
        view = memoryview(data)
        done = 0
        while done < len(view):
            try:
                done += os.pwrite(self._descriptor, view[done:], offset + done)
            except OSError as error:
                raise self._failure(error, offset + done) from error

    def _sync(self) -> None:
        # One at a time, so nobody else looks at the failure meanwhile.
        lost = self._flush_failure
        if lost is not None:
            raise IoFailed(lost.fault, f"{lost.message} (an earlier flush failed: open the store again)")
        try:
            os.fdatasync(self._descriptor)
        except OSError as error:
            self._flush_failure = self._failure(error)
            raise self._failure(error) from error

    def _fill_blocking(self, offset: int, length: int, pattern: bytes) -> None:
        repeated = pattern * max(1, min(_PIECE, length) // len(pattern))
        for start in range(offset, offset + length, len(repeated)):
            self._write_blocking(memoryview(repeated)[:offset + length - start], start)

    def _zero_blocking(self, offset: int, length: int, pattern: bytes) -> None:
        for start in range(offset, offset + length, _PUNCH_PIECE):
            piece = min(_PUNCH_PIECE, offset + length - start)
            try:
                fallocate_zero(self._descriptor, start, piece)
            except OSError as error:
                if error.errno != errno.EOPNOTSUPP:
                    raise self._failure(error, start) from error
                self._fill_blocking(start, piece, bytes(4096))

    def _discard_blocking(self, offset: int, length: int) -> None:
        end = offset + length
        first = min(end, -(-offset // self._alignment) * self._alignment)
        last = max(first, end // self._alignment * self._alignment)
        self._write_blocking(bytes(first - offset), offset)
        for start in range(first, last, _PUNCH_PIECE):
            try:
                fallocate_punch(self._descriptor, start, min(_PUNCH_PIECE, last - start))
            except OSError as error:
                raise self._failure(error, start) from error
        self._write_blocking(bytes(end - last), last)

    def _extents_blocking(self, offset: int, length: int, limit: int) -> tuple[Extent, ...]:
        end = offset + length
        extents: list[Extent] = []
        while offset < end and len(extents) < max(limit, 1):
            data = min(end, self._seek(offset, os.SEEK_DATA, end))
            if data > offset:
                extents.append(Extent(offset, data - offset, ExtentKind.HOLE))
                offset = data
                continue
            hole = min(end, self._seek(offset, os.SEEK_HOLE, end))
            extents.append(Extent(offset, hole - offset, ExtentKind.DATA))
            offset = hole
        return tuple(extents)

    def _seek(self, offset: int, whence: int, end: int) -> int:
        try:
            return os.lseek(self._descriptor, offset, whence)
        except OSError as error:
            if error.errno == errno.ENXIO:  # nothing but hole from here on
                return end
            raise self._failure(error, offset) from error

    def _resize_blocking(self, size: int) -> None:
        if size > (1 << 63) - 1:
            raise IoFailed(IoFault.NO_SPACE, f"{self._path} cannot become {size} bytes long")
        if size < self._size:
            self._size = self._backed = size
        try:
            os.ftruncate(self._descriptor, size)
        except OSError as error:
            raise self._failure(error) from error
        if not self._closed:
            self._size = self._backed = size

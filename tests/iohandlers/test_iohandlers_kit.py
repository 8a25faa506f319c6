"""The conformance kit finds what it is there to find: each planted bug fails it."""

from __future__ import annotations

import ast
import itertools
import os
from pathlib import Path

import pytest

from iohandlers import file, memory
from iohandlers.memory import MemoryStore
from scsiemu import registry
from scsiemu.errors import IoFailed, IoFault
from scsiemu.io_requests import PENDING, Discard, Extent, Extents, Fill, Flush, Read, Resize, Write
from scsiemu.testing.io_handler_kit import check_io_handler, check_read_only_io_handler


class StaleMemory(MemoryStore):
    """Reads of never-written bytes are not zeros."""

    def submit(self, request, ticket):
        answer = super().submit(request, ticket)
        if isinstance(request, Read) and isinstance(answer, memoryview) and len(answer):
            return b"\1" * len(answer)
        return answer


class OffByOneEnd(MemoryStore):
    """Lets a read reach one byte past the end."""

    def submit(self, request, ticket):
        if isinstance(request, Read) and request.offset + request.length == self.capabilities.size + 1:
            return bytes(request.length)
        return super().submit(request, ticket)


class ShortReads(MemoryStore):
    """Cuts long reads."""

    def submit(self, request, ticket):
        answer = super().submit(request, ticket)
        return answer[:65536] if isinstance(request, Read) and not isinstance(answer, IoFailed) else answer


class KeepsViews(MemoryStore):
    """Writes late, from the view that was valid during the call only."""

    def __init__(self, size):
        super().__init__(size)
        self.event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.late = []

    def submit(self, request, ticket):
        if isinstance(request, Write) and self.event >= 0:
            self.late.append((ticket, request))
            os.eventfd_write(self.event, 1)
            return PENDING
        return super().submit(request, ticket)

    def reap(self):
        late, self.late = self.late, []
        return [(ticket, super(KeepsViews, self).submit(request, ticket)) for ticket, request in late]

    def fileno(self):
        return self.event

    def close(self):
        super().close()
        if self.event >= 0:
            os.close(self.event)
            self.event = -1


class AnswersTwice(KeepsViews):
    """Answers late, and again."""

    def reap(self):
        return [answer for answer in super().reap() for _ in range(2)]


class DiscardTooMuch(MemoryStore):
    """Discards whole chunks where parts were asked for."""

    def submit(self, request, ticket):
        if isinstance(request, Discard) and request.length and request.offset >= 4096:
            request = Discard(request.offset & ~4095, min(-(-request.length // 4096) * 4096, 8192))
        return super().submit(request, ticket)


class DiscardNothing(MemoryStore):
    """Takes a discard and does nothing."""

    def submit(self, request, ticket):
        return None if type(request) is Discard and self.capabilities.size else super().submit(request, ticket)


class FillPhase(MemoryStore):
    """Begins the pattern anew at each chunk."""

    def submit(self, request, ticket):
        if isinstance(request, Fill) and len(request.pattern) == 3:
            request = Fill(request.offset, request.length, request.pattern[1:] + request.pattern[:1])
        return super().submit(request, ticket)


class ExtentsGap(MemoryStore):
    """Leaves the last byte out of its map."""

    def submit(self, request, ticket):
        answer = super().submit(request, ticket)
        if isinstance(request, Extents) and isinstance(answer, tuple):
            *rest, last = answer
            return (*rest, Extent(last.offset + 1, last.length, last.kind))
        return answer


class ExtentsLie(MemoryStore):
    """Says hole where there is data."""

    def submit(self, request, ticket):
        answer = super().submit(request, ticket)
        if isinstance(request, Extents) and isinstance(answer, tuple):
            return (Extent(request.offset, request.length, "hole"),)
        return answer


class ResizeStale(MemoryStore):
    """Growing brings back what shrinking cut off."""

    def submit(self, request, ticket):
        if isinstance(request, Resize) and request.size >= 0 and self.capabilities.size:
            self._size = request.size
            return None
        return super().submit(request, ticket)


class ServesClosed(MemoryStore):
    """Goes on after close."""

    def close(self):
        pass


class Leaks(MemoryStore):
    """Leaves a descriptor open."""

    def __init__(self, size):
        super().__init__(size)
        self.descriptor = os.open("/dev/null", os.O_RDONLY)
        leaked.append(self.descriptor)


class SwallowsFlush(file.FileStore):
    """Never answers a flush."""

    def _join_flush(self, ticket):
        pass


leaked: list[int] = []


@pytest.mark.parametrize(
    "broken",
    [
        StaleMemory, OffByOneEnd, ShortReads, KeepsViews, AnswersTwice, DiscardTooMuch, DiscardNothing, FillPhase,
        ExtentsGap, ExtentsLie, ResizeStale, ServesClosed, Leaks,
    ],
)
def test_kit_finds(broken):
    """Each broken store fails the kit."""
    try:
        with pytest.raises(AssertionError):
            check_io_handler(broken, examples=5)
    finally:
        while leaked:
            os.close(leaked.pop())


def test_kit_finds_lost_answer(tmp_path, monkeypatch):
    """An answer that never comes fails the kit after a bounded time."""
    monkeypatch.setattr("scsiemu.testing.io_handler_kit._PATIENCE", 0.2)
    monkeypatch.setattr(file, "FileStore", SwallowsFlush)
    names = itertools.count()

    with pytest.raises(AssertionError, match="no answer within"):
        check_io_handler(lambda size: file.open_store(path=tmp_path / f"{next(names)}", size=size), examples=5)


class WritesReadOnly(MemoryStore):
    """Says read-only, but takes a Fill."""

    def submit(self, request, ticket):
        return None if isinstance(request, Fill) else super().submit(request, ticket)


def test_kit_finds_read_only():
    """A read-only store that takes changes fails the kit."""
    with pytest.raises(AssertionError, match="not refused"):
        check_io_handler(
            lambda size: memory.open_store(size=size), read_only=lambda: WritesReadOnly(1 << 20, read_only=True),
            examples=5,
        )


def test_kit_unsupported_named():
    """A store may lack verbs: then it refuses them as UNSUPPORTED, and the engine emulates them."""

    class Bare(MemoryStore):
        @property
        def capabilities(self):
            whole = super().capabilities
            return type(whole)(size=whole.size, volatile=True)

        def submit(self, request, ticket):
            if self._size >= 0 and not isinstance(request, (Read, Write, Flush)):
                return IoFailed(IoFault.UNSUPPORTED, "only read, write and flush")
            return super().submit(request, ticket)

    check_io_handler(Bare, examples=5)


CONTENT = bytes(index * 7 % 251 for index in range(50_000))


class Pressed(MemoryStore):
    """A store that can only be read, as it should be."""

    def __init__(self):
        super().__init__(len(CONTENT), read_only=True)

    def submit(self, request, ticket):
        answer = super().submit(request, ticket)
        if isinstance(request, Read) and not isinstance(answer, IoFailed):
            return CONTENT[request.offset : request.offset + request.length]
        return answer


class PressedOtherwise(Pressed):
    """Has another byte somewhere."""

    def submit(self, request, ticket):
        answer = super().submit(request, ticket)
        if isinstance(request, Read) and isinstance(answer, bytes) and request.offset <= 40_000 < request.offset + len(
            answer
        ):
            answer = bytearray(answer)
            answer[40_000 - request.offset] ^= 1
        return answer


class PressedShort(Pressed):
    """Cuts long reads."""

    def submit(self, request, ticket):
        answer = super().submit(request, ticket)
        return answer[:4096] if isinstance(request, Read) and isinstance(answer, bytes) else answer


class PressedWritable(Pressed):
    """Takes a write."""

    def submit(self, request, ticket):
        return None if isinstance(request, Write) else super().submit(request, ticket)


class PressedEndless(Pressed):
    """Reads zeros past the end."""

    def submit(self, request, ticket):
        answer = super().submit(request, ticket)
        past = isinstance(request, Read) and isinstance(answer, IoFailed) and answer.fault == IoFault.OUT_OF_RANGE
        return bytes(request.length) if past and 0 <= request.offset < 1 << 30 else answer


class PressedUnclosed(Pressed):
    """Goes on after its end."""

    def close(self):
        pass


def test_kit_read_only_passes():
    """A store as it should be."""
    check_read_only_io_handler(Pressed, CONTENT)


@pytest.mark.parametrize(
    "broken", [PressedOtherwise, PressedShort, PressedWritable, PressedEndless, PressedUnclosed]
)
def test_kit_read_only_finds(broken):
    """Each broken store fails the kit."""
    with pytest.raises(AssertionError):
        check_read_only_io_handler(broken, CONTENT)


BYTES = {"check_io_handler", "check_read_only_io_handler"}
OBJECTS = {"check_object_store"}
# It keeps named values, and no bytes.
NO_STORE = {"state"}


@pytest.mark.parametrize("name", sorted(set(registry.names(registry.IOHANDLERS)) - NO_STORE))
def test_kit_is_run_by_every_handler(name):
    """A test module that uses the handler runs its kit."""
    run = set()
    for path in set(Path(__file__).parent.glob("test_*.py")) - {Path(__file__)}:
        tree = ast.parse(path.read_text())
        imported = {
            f"{node.module}.{alias.name}"
            for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names
        }
        if any(f".{name}." in f".{each}." for each in imported):
            run |= {
                node.func.id for node in ast.walk(tree)
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
            }

    assert run & (OBJECTS if name.startswith("objects_") else BYTES)

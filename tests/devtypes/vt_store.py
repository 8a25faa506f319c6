"""Stores for tests of cartridges: asked directly, with unflushed writes that a power cut may lose, with a bad spot."""

from __future__ import annotations

import random
from collections.abc import Generator
from typing import Any, TypeVar

from scsiemu.errors import IoFailed, IoFault
from scsiemu.io_requests import Discard, Flush, IoRequest, Read, StoreCapabilities, Write

__all__ = ["CutStore", "SpoiledStore", "perform"]

T = TypeVar("T")


def perform(steps: Generator[IoRequest[Any], Any, T], store: Any) -> T:
    """Have a store do what steps ask for; their value."""
    answer: Any = None
    while True:
        try:
            request = steps.throw(answer) if isinstance(answer, IoFailed) else steps.send(answer)
        except StopIteration as done:
            value: T = done.value
            return value
        answer = store.submit(request, None)


class CutStore:
    """A memory store that remembers what was written since the last flush.

    Attributes:
        reads, flushes: how many there were.
        read_bytes: how many bytes were read.
        unflushed: writes since the last flush, offset and data.
    """

    def __init__(self, size: int) -> None:
        self.durable = bytearray(size)
        self.unflushed: list[tuple[int, bytes]] = []
        self.now = bytearray(size)
        self.reads = self.flushes = self.read_bytes = 0
        self.capabilities = StoreCapabilities(size=size, discard=True)

    def submit(self, request: IoRequest[Any], ticket: Any) -> Any:
        """The performer."""
        if isinstance(request, Read):
            self.reads += 1
            self.read_bytes += request.length
            assert request.offset + request.length <= len(self.now)
            return bytes(self.now[request.offset : request.offset + request.length])
        if isinstance(request, Write):
            assert request.data is not None
            self._write(request.offset, bytes(request.data))
        elif isinstance(request, Discard):
            self._write(request.offset, bytes(request.length))
        else:
            assert isinstance(request, Flush)
            self.flushes += 1
            for offset, data in self.unflushed:
                self.durable[offset : offset + len(data)] = data
            self.unflushed.clear()
        return None

    def _write(self, offset: int, data: bytes) -> None:
        assert offset + len(data) <= len(self.now)
        self.now[offset : offset + len(data)] = data
        self.unflushed.append((offset, data))

    def cut(self, chance: random.Random | None = None, keep: int | None = None) -> CutStore:
        """What is there after a power cut.

        Args:
            chance: an arbitrary part of the unflushed writes is there, each whole, torn or not at all, in any order.
            keep: exactly so many bytes of the unflushed writes, in the order in which they were written.
        """
        after = CutStore(len(self.now))
        data = bytearray(self.durable)
        left = keep if keep is not None else 1 << 60
        writes = list(self.unflushed)
        if chance is not None:
            chance.shuffle(writes)
        for offset, piece in writes:
            length = min(left, len(piece))
            if chance is not None:
                length = chance.choice((0, len(piece), len(piece), chance.randrange(len(piece) + 1)))
            data[offset : offset + length] = piece[:length]
            left -= length
        after.now[:] = data
        after.durable[:] = data
        return after


class SpoiledStore(CutStore):
    """A memory store one byte of which cannot be read.

    Attributes:
        spoiled: where; nowhere while it is None.
        refused: reads that failed.
    """

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.spoiled: int | None = None
        self.refused = 0

    def submit(self, request: IoRequest[Any], ticket: Any) -> Any:
        """The performer."""
        if isinstance(request, Read) and self.spoiled in range(request.offset, request.offset + request.length):
            self.refused += 1
            return IoFailed(IoFault.MEDIUM)
        return super().submit(request, ticket)

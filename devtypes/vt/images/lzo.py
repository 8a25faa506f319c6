"""Decompression of LZO1X streams, as mhvtl compresses blocks. Follows the description of the stream in the Linux
kernel's documentation (staging/lzo.rst), version 0.

An instruction copies bytes that were put out before, then 0 to 3 literals that follow it; instructions below 16 mean
something else behind none, some or many literals. Nothing longer than what the caller expects is put out.
"""

from __future__ import annotations

from typing import Final

from scsiemu.command import Buffer

__all__ = ["LzoError", "decompress"]

_MANY: Final = 4                # a long run of literals came before
_FIRST: Final = 17
_END_DISTANCE: Final = 16384


class LzoError(ValueError):
    """The stream is damaged."""


class _Stream:
    """The bytes that come in, and those that went out."""

    def __init__(self, data: Buffer, most: int) -> None:
        self._data = bytes(data)
        self._at = 0
        self._most = most
        self.out = bytearray()

    def byte(self) -> int:
        if self._at >= len(self._data):
            raise LzoError("it ends too early")
        self._at += 1
        return self._data[self._at - 1]

    def length(self, field: int, bits: int) -> int:
        """A length of so many bits; zero says that it goes on in further bytes."""
        if field:
            return field
        total = (1 << bits) - 1
        while (more := self.byte()) == 0:
            total += 255
            if total > self._most:
                raise LzoError("it becomes too long")
        return total + more

    def literals(self, count: int) -> None:
        if self._at + count > len(self._data):
            raise LzoError("it ends too early")
        self.out += self._data[self._at : self._at + count]
        self._at += count
        self._check()

    def copy(self, distance: int, count: int) -> None:
        """Bytes from so far back; they may overlap with what they make."""
        begin = len(self.out) - distance
        if begin < 0:
            raise LzoError("it refers to what was before its beginning")
        if len(self.out) + count > self._most:
            raise LzoError("it becomes too long")
        while count > 0:
            piece = self.out[begin : begin + count]
            self.out += piece
            count -= len(piece)

    def _check(self) -> None:
        if len(self.out) > self._most:
            raise LzoError("it becomes too long")


def decompress(data: Buffer, most: int) -> bytes:
    """What a stream holds, `most` bytes at most. Raises LzoError."""
    stream = _Stream(data, most)
    state = 0
    code = stream.byte()
    if code > _FIRST:
        count = code - _FIRST
        stream.literals(count)
        state = min(count, _MANY)
        code = stream.byte()
    while True:
        if code < 16 and state == 0:
            stream.literals(3 + stream.length(code, 4))
            state = _MANY
        else:
            distance, count, state = _match(stream, code, state)
            if distance == _END_DISTANCE and 16 <= code < 32:
                return bytes(stream.out)
            stream.copy(distance, count)
            stream.literals(state)
        code = stream.byte()


def _match(stream: _Stream, code: int, state: int) -> tuple[int, int, int]:
    """Distance and length of what is to be copied, and how many literals follow."""
    if code >= 64:
        count = 5 + (code >> 5 & 3) if code >= 128 else 3 + (code >> 5 & 1)
        return (stream.byte() << 3) + (code >> 2 & 7) + 1, count, code & 3
    if code >= 16:
        count = 2 + (stream.length(code & 31, 5) if code >= 32 else stream.length(code & 7, 3))
        word = stream.byte() | stream.byte() << 8
        base = 1 if code >= 32 else _END_DISTANCE + ((code & 8) << 11)
        return base + (word >> 2), count, word & 3
    base, count = (2049, 3) if state == _MANY else (1, 2)
    return (stream.byte() << 2) + (code >> 2 & 3) + base, count, code & 3

"""A cue sheet with the files that it names, as one read-only byte store: what `devtypes.vmmc.cue` reads.

`scsiemu.media.CUE_MAGIC`, four bytes with the length of the sheet, the sheet, then its files one behind the other. In
FILE and CDTEXTFILE lines names are replaced by offset and length; of a WAVE file only the samples are there, and it is
BINARY then. A sheet comes from elsewhere: it can name regular files of its own folder and no others, whether by paths
or by symbolic links. Nothing is written.
"""

from __future__ import annotations

import os
import re
import stat
from bisect import bisect_right
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, cast

from iohandlers._checks import bad_option, refusal, refuse_unknown
from iohandlers._file_store import FileStore
from iohandlers._filters import Readiness
from scsiemu.errors import IoFailed, IoFault
from scsiemu.io_requests import PENDING, Flush, IoRequest, Read, StoreCapabilities, Ticket
from scsiemu.media import CUE_MAGIC, MOST_CUE_BYTES

__all__ = ["CueStore", "open_store"]

_MOST_FILES: Final = 200
_FILE: Final = re.compile(r'\s*(FILE|CDTEXTFILE)\s+(?:"([^"]*)"|(\S+))\s*(\S*)\s*', re.IGNORECASE)
_DIGITS: Final = 20                 # of offset and length: so the sheet's length does not depend on them
_WAVE_HEAD: Final = 1 << 16         # the samples begin within so many bytes


def open_store(*, path: str | os.PathLike[str] | None = None, workers: int = 2, **unknown: object) -> CueStore:
    """Open a cue sheet and its files; ValueError or OSError say in one sentence why not.

    Args:
        path: of the sheet.
        workers: how many threads at most wait for the device of a file.
    """
    refuse_unknown("cue", unknown, ("path", "workers"))
    if path is None or not os.fspath(path):
        raise bad_option("cue", "path", "is missing")
    sheet = Path(path)
    with sheet.open("rb") as file:
        text = file.read(MOST_CUE_BYTES // 2 + 1)
    if len(text) > MOST_CUE_BYTES // 2:
        raise ValueError(f"cue store: {sheet} is too long for a cue sheet")
    try:
        lines = text.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        lines = text.decode("latin-1").splitlines()
    folder = os.open(sheet.absolute().parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    parts: list[_Part] = []
    try:
        for number, line in enumerate(lines):
            words = line.split(maxsplit=1)
            if not words or words[0].upper() not in ("FILE", "CDTEXTFILE"):
                continue
            found = _FILE.fullmatch(line)
            if found is None or len(parts) >= _MOST_FILES:
                raise ValueError(f"cue store: line {number + 1} of {sheet} names no file, or one too many")
            kind = found[4].upper()
            part = _open(folder, found[2] or found[3] or "", kind, str(sheet), workers)
            part.line, part.word, part.kind = number, words[0].upper(), "BINARY" if kind == "WAVE" else kind
            parts.append(part)
    except BaseException:
        for part in parts:
            part.store.close()
        raise
    finally:
        os.close(folder)
    return CueStore(lines, parts)


class _Part:
    """A file: `length` bytes from `begin` of it are at `at` of the store. Its line of the sheet: number, word, kind."""

    __slots__ = ("at", "begin", "kind", "length", "line", "store", "word")

    def __init__(self, store: FileStore, begin: int, length: int) -> None:
        self.store = store
        self.begin = begin
        self.length = length
        self.at = self.line = 0
        self.word = self.kind = ""

    def text(self) -> str:
        """Its line of the sheet."""
        return f"{self.word} {self.at:0{_DIGITS}} {self.length:0{_DIGITS}} {self.kind}"


def _open(folder: int, name: str, kind: str, sheet: str, workers: int) -> _Part:
    """A file of the folder. Raises ValueError, OSError."""
    if not name or "/" in name or "\\" in name or "\0" in name or name in (".", ".."):
        raise ValueError(f"cue store: {sheet} names {name!r}: only files of its own folder can be")
    try:
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
        descriptor = os.open(name, flags, dir_fd=folder)
    except OSError as error:
        raise OSError(error.errno, f"cue store: {name!r}, which {sheet} names: {error.strerror}") from error
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ValueError(f"cue store: {name!r}, which {sheet} names, is no regular file")
        size = os.fstat(descriptor).st_size
        begin, length = (0, size) if kind != "WAVE" else _samples(os.pread(descriptor, _WAVE_HEAD, 0), size, name)
    except BaseException:
        os.close(descriptor)
        raise
    store = FileStore(descriptor, name, size=size, backed=size, read_only=True, workers=workers)
    return _Part(store, begin, length)


def _samples(head: bytes, size: int, name: str) -> tuple[int, int]:
    """Where the samples of a WAVE file are, and how many bytes. Raises ValueError where they are not those of a CD."""
    if head[:4] != b"RIFF" or head[8:12] != b"WAVE":
        raise ValueError(f"cue store: {name!r} is no WAVE file")
    at, right = 12, False
    while at + 8 <= len(head):
        chunk, length = head[at : at + 4], int.from_bytes(head[at + 4 : at + 8], "little")
        at += 8
        if chunk == b"fmt ":
            words = head[at : at + 16]
            right = words[:8] == bytes((1, 0, 2, 0)) + (44100).to_bytes(4, "little") and words[14:16] == b"\x10\0"
        elif chunk == b"data":
            if not right:
                raise ValueError(f"cue store: {name!r} is not of 44100 samples a second, two channels, 16 bits")
            return at, min(length, size - at)
        at += length + length % 2
    raise ValueError(f"cue store: {name!r} has no samples")


class _Gathering:
    """The ticket of a read that comes from several files, until all of its pieces are there."""

    def __init__(self, ticket: Ticket, pieces: int) -> None:
        self.ticket = ticket
        self.pieces: list[Any] = [PENDING] * pieces

    def result(self) -> Any:
        """The bytes, why there are none, or PENDING."""
        for piece in self.pieces:
            if piece is PENDING or isinstance(piece, IoFailed):
                return piece
        return b"".join(bytes(piece) for piece in self.pieces)


class _Piece:
    """The ticket of a piece."""

    def __init__(self, gathering: _Gathering, number: int) -> None:
        self.gathering = gathering
        self.number = number


class CueStore:
    """A sheet and its files. Made by `open_store`; owns the files."""

    def __init__(self, lines: list[str], parts: list[_Part]) -> None:
        self._parts = parts
        for part in parts:                      # as long as it will be
            lines[part.line] = part.text()
        at = len(CUE_MAGIC) + 4 + len("\n".join(lines).encode())
        for part in parts:
            part.at = at
            at += part.length
            lines[part.line] = part.text()
        text = "\n".join(lines).encode()
        self._head = CUE_MAGIC + len(text).to_bytes(4, "big") + text
        self._starts = [0, *(part.at for part in parts)]
        self._capabilities = StoreCapabilities(size=at, read_only=True, volatile=False)
        self._readiness = Readiness(part.store.fileno() for part in parts)
        self._closed = False

    @property
    def capabilities(self) -> StoreCapabilities:
        return self._capabilities

    def submit(self, request: IoRequest[Any], ticket: Ticket, /) -> Any:
        failure = refusal(request, size=self._capabilities.size, read_only=True, closed=self._closed)
        if failure is not None:
            return failure
        if isinstance(request, Flush):
            return None
        if not isinstance(request, Read):
            return IoFailed(IoFault.UNSUPPORTED, f"a cue sheet has no {type(request).__name__}")
        ranges = list(self._ranges(request.offset, request.length))
        if len(ranges) == 1:
            return self._read(*ranges[0], ticket)
        gathering = _Gathering(ticket, len(ranges))
        for number, (part, offset, length) in enumerate(ranges):
            piece = cast(Ticket, _Piece(gathering, number))         # opaque to stores
            gathering.pieces[number] = self._read(part, offset, length, piece)
        return gathering.result()

    def _ranges(self, offset: int, length: int) -> Iterable[tuple[int, int, int]]:
        """The parts of a range: number (0 is the sheet), offset there, length."""
        if not length:
            yield 0, 0, 0
        while length:
            part = bisect_right(self._starts, offset) - 1
            within = offset - self._starts[part]
            end = self._starts[part + 1] if part + 1 < len(self._starts) else self._capabilities.size
            some = min(length, end - offset)
            yield part, within, some
            offset += some
            length -= some

    def _read(self, part: int, offset: int, length: int, ticket: Ticket) -> Any:
        if not part:
            return self._head[offset : offset + length]
        found = self._parts[part - 1]
        return found.store.submit(Read(found.begin + offset, length), ticket)

    def reap(self) -> Iterable[tuple[Ticket, Any | IoFailed]]:
        answers: list[tuple[Ticket, Any]] = []
        for part in self._parts:
            for ticket, result in part.store.reap():
                if not isinstance(ticket, _Piece):
                    answers.append((ticket, result))
                    continue
                gathering = ticket.gathering
                told = isinstance(gathering.result(), IoFailed)
                gathering.pieces[ticket.number] = result
                whole = gathering.result()
                if whole is not PENDING and not told:
                    answers.append((gathering.ticket, whole))
        return answers

    def fileno(self) -> int | None:
        return self._readiness.fileno()

    def close(self) -> None:
        """End it. Late answers not yet fetched are still there for `reap`."""
        if not self._closed:
            self._closed = True
            self._readiness.close()
            for part in self._parts:
                part.store.close()

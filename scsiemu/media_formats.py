"""Formats of media in files, and how a program converts between them: what `scsiemu media` asks of plug-ins.

    tape = "devtypes.vt.images.native:TAPE"     # entry point of group scsiemu.media: a `MediaFormat`

A format reads a medium as a row of *pieces* and makes a medium of such a row. What the pieces are, the formats of one
*kind* agree upon (tape: blocks and filemarks; disc: tracks and sectors); the program hands them on. Readers and writers
open nothing: they are generators of store requests, so they serve any byte store. A format whose images are folders
has its files mounted by name (`scsiemu.media`).
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from typing import Any, ClassVar, Final, Protocol, TypeAlias, TypeVar

from scsiemu._value import value
from scsiemu.command import Buffer
from scsiemu.errors import IoFailed, IoFault
from scsiemu.io_requests import IoRequest, Read, Resize, StoreCapabilities, Write
from scsiemu.unit_options import UnitArgument, UnitOption

__all__ = [
    "Appender", "Asking", "Damage", "MediaFormat", "MediaReader", "MediaWriter", "Piece", "Scanner", "unusable",
]

T = TypeVar("T")

# What asks a store for things and comes to a T.
Asking: TypeAlias = Generator[IoRequest[Any], Any, T]

_TOGETHER: Final = 1 << 20


def unusable(message: str) -> IoFailed:
    """What a format raises for an image that it cannot read, or a medium that it cannot keep: one sentence."""
    return IoFailed(IoFault.MEDIUM, message)


class Piece:
    """A part of a medium, in the order in which it lies there.

    Attributes:
        counted: what such pieces are called where they are counted: `blocks`.
        size: bytes of user data in it.
    """

    __slots__ = ()

    counted: ClassVar[str] = ""

    @property
    def size(self) -> int:
        """Bytes of user data."""
        return 0


class Damage(Piece):
    """Something that cannot be read; reading goes on behind it."""

    __slots__ = ("text",)

    counted = "damaged"

    def __init__(self, text: str) -> None:
        self.text = text


class MediaReader(Protocol):
    """A medium that is read from its beginning to its end."""

    @property
    def facts(self) -> Mapping[str, Any]:
        """What is known without reading all of it: JSON values by name."""

    @property
    def total(self) -> int:
        """About how many bytes of the store there are to be read."""

    @property
    def done(self) -> int:
        """How many of them were."""

    def next(self) -> Asking[Piece | None]:
        """The next piece, None at the end. Raises IoFailed where nothing more can be read."""


class MediaWriter(Protocol):
    """A medium that is made. Without any piece it is blank."""

    def put(self, piece: Any) -> Asking[None]:
        """Add a piece. Raises IoFailed for one that the format cannot keep."""

    def finish(self) -> Asking[None]:
        """All was put: bring the medium to stable storage."""


@value
class MediaFormat:
    """A format.

    Args:
        kind: media are converted between formats of one kind: `tape`, `disc`.
        help: one line.
        suffixes: of files, with their points; for files that do not exist yet, and where contents do not say.
        recognise: whether a file that begins with these bytes and has so many in all is surely such an image.
        read: None where it only writes.
        write: None where it only reads. The store has `size` bytes and is zeros.
        size: bytes that the store of a new image has at first, for a source of so many bytes (0: a blank medium).
        options: of a new image; the subject of the argument is its name.
        read_options: of reading.
        files: names of the files where an image is a folder.
        blank: blank media can be made.
    """

    kind: str
    help: str
    suffixes: tuple[str, ...] = ()
    recognise: Callable[[bytes, int], bool] = lambda head, size: False
    read: Callable[[StoreCapabilities, UnitArgument], Asking[MediaReader]] | None = None
    write: Callable[[StoreCapabilities, UnitArgument], Asking[MediaWriter]] | None = None
    size: Callable[[UnitArgument, int], int] = lambda argument, source: _TOGETHER
    options: tuple[UnitOption, ...] = ()
    read_options: tuple[UnitOption, ...] = ()
    files: tuple[str, ...] = ()
    blank: bool = False


class Scanner:
    """Reads an image in order, many bytes at a time.

    Attributes:
        position: of the next byte.
        size: bytes of the image.
    """

    def __init__(self, size: int, position: int = 0) -> None:
        self.size = size
        self.position = position
        self._held: Buffer = b""
        self._base = 0

    def take(self, length: int) -> Asking[bytes]:
        """The next bytes, fewer at the end of the image."""
        length = min(length, self.size - self.position)
        at = self.position - self._base
        if not 0 <= at <= len(self._held) - length:
            wanted = min(max(length, _TOGETHER), self.size - self.position)
            self._held = yield from Read(self.position, wanted)
            self._base, at = self.position, 0
        self.position += length
        return bytes(memoryview(self._held)[at : at + length])

    def go_to(self, position: int) -> None:
        """Read on from there."""
        self.position = position


class Appender:
    """Writes an image of which nobody knows how long it will be: the store grows with it, and is cut at the end.

    Attributes:
        end: bytes appended.
    """

    def __init__(self, capabilities: StoreCapabilities) -> None:
        if not capabilities.resize:
            raise unusable("this format needs a regular file, whose length can change")
        self._size = capabilities.size
        self._pieces: list[Buffer] = []
        self._pending = 0
        self.end = 0

    def append(self, *pieces: Buffer) -> Asking[None]:
        """Put bytes behind all others."""
        for piece in pieces:
            self._pieces.append(piece)
            self._pending += len(piece)
            self.end += len(piece)
        if self._pending >= _TOGETHER:
            yield from self._put()

    def finish(self) -> Asking[None]:
        """Write what is left and cut the store."""
        yield from self._put()
        yield Resize(self.end)

    def _put(self) -> Asking[None]:
        if not self._pending:
            return
        if self.end > self._size:
            self._size = 2 * self.end
            yield Resize(self._size)
        data = b"".join(self._pieces)
        offset = self.end - self._pending
        self._pieces, self._pending = [], 0
        yield from Write(offset, len(data), data)

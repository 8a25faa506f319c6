"""Finding records of a partition: jump pointers, which make positioning O(log n) and appending O(1).

Each record points to the one before it, and to one further back that is chosen as in a skew-binary number (E. Myers,
"An applicative random-access stack", 1983): from the last record any other is reached by O(log n) steps, and
a new record needs but the last few links of the chain, which `Spine` keeps. Cutting the tape off behind any record
needs nothing at all: that record is the last one now. No index could disagree with the records.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from devtypes.vt.medium_layout import HEADER_SIZE, Asking, MediumUnusable, RecordHeader, Unusable, decode_header
from scsiemu.command import Buffer
from scsiemu.errors import IoFailed, IoFault
from scsiemu.io_requests import Read

__all__ = ["HeaderCache", "Spine", "find_mark", "find_object", "read_ahead", "read_header", "rebuild_spine"]

_CACHED: Final = 4096


class Spine:
    """The chain of jump pointers from the last record back to the beginning of the partition.

    Each link is object, filemarks and offset; the first stands for "before the first record" (object -1).
    """

    __slots__ = ("links",)

    def __init__(self, start: int) -> None:
        self.links: list[tuple[int, int, int]] = [(-1, 0, start)]

    def next_jump(self) -> tuple[int, int, int]:
        """What the jump pointer of the next record has to be: object, filemarks, offset."""
        links = self.links
        if len(links) >= 3 and links[-1][0] - links[-2][0] == links[-2][0] - links[-3][0]:
            return links[-3]
        return links[-1]

    def append(self, number: int, marks: int, offset: int) -> None:
        """A record was written behind the last one."""
        links = self.links
        if len(links) >= 3 and links[-1][0] - links[-2][0] == links[-2][0] - links[-3][0]:
            del links[-2:]
        links.append((number, marks, offset))


class HeaderCache:
    """Headers of records that searches came across, by offset. Bounded: the oldest goes."""

    def __init__(self) -> None:
        self._headers: dict[int, RecordHeader] = {}

    def get(self, offset: int) -> RecordHeader | None:
        """The header at an offset, where it is known."""
        return self._headers.get(offset)

    def add(self, header: RecordHeader) -> None:
        """Remember a header."""
        if len(self._headers) >= _CACHED:
            del self._headers[next(iter(self._headers))]
        self._headers[header.offset] = header

    def clear(self) -> None:
        """The records may have changed."""
        self._headers.clear()


_ReadHeader = Callable[[int], Asking[RecordHeader]]


def read_header(offset: int) -> Asking[RecordHeader]:
    """The header at an offset. Raises MediumUnusable where there is none."""
    data = yield from Read(offset, HEADER_SIZE)
    header = decode_header(data, offset)
    if header is None:
        raise MediumUnusable(Unusable.DAMAGED, f"there is no record at {offset}")
    return header


def read_ahead(offset: int, length: int, more: int) -> Asking[Buffer]:
    """Bytes of the store that are needed, and up to `more` behind them: fewer where those cannot be read.

    Raises:
        IoFailed: the store's own troubles, with what is needed.
    """
    while True:
        try:
            return (yield from Read(offset, length + more))
        except IoFailed as failure:
            if failure.fault != IoFault.MEDIUM or not more:
                raise
        more //= 2


def find_object(last: RecordHeader, number: int, read: _ReadHeader) -> Asking[RecordHeader]:
    """The record of a logical object, which is not behind `last`."""
    header = last
    while header.object != number:
        back = header.jump if header.jump_object >= number else header.previous
        header = yield from _step(header, back, read)
    return header


def find_mark(last: RecordHeader, mark: int, read: _ReadHeader) -> Asking[RecordHeader]:
    """The record of the filemark with this number, counted from 1, of at most `last.marks`."""
    header = last
    while not (header.is_mark and header.marks == mark):
        back = header.jump if header.jump_marks >= mark else header.previous
        header = yield from _step(header, back, read)
    return header


def rebuild_spine(last: RecordHeader, start: int, read: _ReadHeader) -> Asking[Spine]:
    """The spine of a partition whose last record this is."""
    links = []
    header = last
    while True:
        links.append((header.object, header.marks, header.offset))
        if header.jump_object < 0:
            break
        header = yield from _step(header, header.jump, read)
    spine = Spine(start)
    spine.links += reversed(links)
    return spine


def _step(header: RecordHeader, back: int, read: _ReadHeader) -> Asking[RecordHeader]:
    """The record at `back`, which must come before `header`: so a search ends whatever the store says."""
    earlier = yield from read(back)
    if earlier.object >= header.object or header.object == 0:
        raise MediumUnusable(Unusable.DAMAGED, f"the record at {header.offset} does not lead back")
    return earlier

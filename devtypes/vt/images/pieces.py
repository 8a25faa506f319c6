"""What every tape image is made of: blocks, filemarks, partitions; and what its readers have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scsiemu.command import Buffer
from scsiemu.media_formats import Piece, Scanner

__all__ = ["ScanningReader", "TapeBlock", "TapeMark", "TapePartition"]


class TapeBlock(Piece):
    """A logical block, as the initiator wrote it."""

    __slots__ = ("data",)

    counted = "blocks"

    def __init__(self, data: Buffer) -> None:
        self.data = data

    @property
    def size(self) -> int:
        """Bytes of the block."""
        return len(self.data)


class TapeMark(Piece):
    """A filemark."""

    __slots__ = ()

    counted = "filemarks"


class TapePartition(Piece):
    """The beginning of a further partition; the first one begins by itself."""

    __slots__ = ("number",)

    counted = "further_partitions"

    def __init__(self, number: int) -> None:
        self.number = number


class ScanningReader:
    """A reader that goes through an image from one end to the other.

    Attributes:
        facts: see `MediaReader`.
    """

    def __init__(self, scanner: Scanner, facts: Mapping[str, Any] | None = None) -> None:
        self._scanner = scanner
        self.facts: Mapping[str, Any] = facts or {}

    @property
    def total(self) -> int:
        """Bytes of the image."""
        return self._scanner.size

    @property
    def done(self) -> int:
        """Bytes of it that are behind the reader."""
        return self._scanner.position

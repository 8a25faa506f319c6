"""What every tape image is made of: blocks, filemarks, partitions."""

from __future__ import annotations

from scsiemu.command import Buffer
from scsiemu.media_formats import Piece

__all__ = ["TapeBlock", "TapeMark", "TapePartition"]


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

"""What cartridges are spoken of with: positions, blocks, records, and what a new cartridge is made with."""

from __future__ import annotations

from typing import Final, NamedTuple

from devtypes.vt.medium_layout import Attribute, RecordHeader
from scsiemu._value import value
from scsiemu.command import Buffer

__all__ = ["Block", "CartridgeKind", "NewCartridge", "Position", "Record", "record_of"]


class CartridgeKind:
    """What a cartridge is for."""

    DATA: Final = 0
    WORM: Final = 1
    CLEANING: Final = 2


class Position(NamedTuple):
    """Where on the tape: before the logical object `object` of a partition.

    Args:
        partition: its number.
        object: logical object identifier of what comes next.
        marks: filemarks before it.
        offset: of the next record in the store.
        previous: offset of the record before; the same as `offset` at the beginning of the partition.
    """

    partition: int
    object: int
    marks: int
    offset: int
    previous: int


class Block(NamedTuple):
    """A logical block to be written.

    Args:
        data: as it is stored.
        logical: bytes of the block as the initiator knows it.
        flags: what was done to the data.
    """

    data: Buffer
    logical: int
    flags: int = 0


class Record(NamedTuple):
    """A record that was read, and the positions before and behind it."""

    header: RecordHeader
    data: Buffer
    before: Position
    behind: Position


@value
class NewCartridge:
    """What a cartridge is made with.

    Args:
        kind: one of `CartridgeKind`.
        density: PRIMARY DENSITY CODE.
        medium_type: MEDIUM TYPE of the mode parameter header.
        attributes: of partition 0.
        partitions: their shares of the capacity, as any positive numbers.
        write_protected: the tab of the cartridge.
    """

    kind: int = CartridgeKind.DATA
    density: int = 0
    medium_type: int = 0
    attributes: tuple[Attribute, ...] = ()
    partitions: tuple[int, ...] = (1,)
    write_protected: bool = False


def record_of(partition: int, header: RecordHeader, data: Buffer) -> Record:
    """The record of a header and its data."""
    before = Position(partition, header.object, header.marks_before, header.offset, header.previous)
    behind = Position(partition, header.object + 1, header.marks, header.end, header.offset)
    return Record(header, data, before, behind)

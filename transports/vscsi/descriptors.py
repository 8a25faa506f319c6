"""Data buffer descriptors of SRP: where in the initiator's memory the data of a command lies.

    none        no buffer
    direct      one segment
    indirect    a table of segments: all of it in the information unit (inline), or in the initiator's memory, with
                perhaps its beginning in the information unit (external)

It does NOT: touch memory (dma.py). A table that has to be fetched is parsed by `parse_table`.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final, NamedTuple

from scsiemu.command import Buffer
from scsiemu.errors import RemoteProtocolError
from transports.vscsi.codes import BufferFormat

__all__ = [
    "NO_DATA", "SEGMENT_LENGTH", "TABLE_HEADER_LENGTH", "TABLE_LIMIT", "DataDescriptor", "DescriptorError", "Segment",
    "direct", "indirect", "parse_descriptor", "parse_table",
]

SEGMENT_LENGTH: Final = 16              # a direct descriptor
TABLE_HEADER_LENGTH: Final = 20         # an indirect descriptor without its partial list

# Segments in one table. A table is read at once, so it must have a bound that is ours.
TABLE_LIMIT: Final = 4096

_SEGMENT: Final = struct.Struct(">QII")
_HEADER: Final = struct.Struct(">QIII")


class DescriptorError(RemoteProtocolError):
    """A descriptor that says nothing usable: REQUEST FIELDS INVALID."""


class Segment(NamedTuple):
    """A memory descriptor.

    Args:
        address: virtual address, in virtual SCSI an address of the initiator's DMA window.
        length: bytes.
        handle: memory handle; virtual SCSI has only one window and ignores it.
    """

    address: int
    length: int
    handle: int = 0


# Not frozen, for speed; nobody changes one.
@dataclass(slots=True, unsafe_hash=True)
class DataDescriptor:
    """The descriptor of one direction.

    Args:
        format: one of `BufferFormat`.
        length: of the whole buffer, bytes.
        segments: those that are in the information unit.
        table: where the whole table is, of an indirect descriptor.
    """

    format: int = BufferFormat.NONE
    length: int = 0
    segments: tuple[Segment, ...] = ()
    table: Segment | None = None

    @property
    def complete(self) -> bool:
        """Whether `segments` are all there are."""
        return self.table is None or len(self.segments) * SEGMENT_LENGTH == self.table.length

    def encode(self) -> bytes:
        """Its bytes in an information unit."""
        parts = [_SEGMENT.pack(segment.address, segment.handle, segment.length) for segment in self.segments]
        if self.table is not None:
            parts.insert(0, _HEADER.pack(self.table.address, self.table.handle, self.table.length, self.length))
        return b"".join(parts)


NO_DATA: Final = DataDescriptor()


def direct(address: int, length: int) -> DataDescriptor:
    """A buffer of one segment."""
    return DataDescriptor(BufferFormat.DIRECT, length, (Segment(address, length),))


def indirect(segments: tuple[Segment, ...], table_address: int, *, inline: int | None = None) -> DataDescriptor:
    """A buffer of several segments.

    Args:
        segments: all of them.
        table_address: where the table of them is, or would be.
        inline: how many of them go into the information unit; None: all.
    """
    table = Segment(table_address, len(segments) * SEGMENT_LENGTH)
    length = sum(segment.length for segment in segments)
    return DataDescriptor(BufferFormat.INDIRECT, length, segments[:inline], table)


def parse_descriptor(data: Buffer, offset: int, kind: int, count: int) -> tuple[DataDescriptor, int]:
    """The descriptor at `offset` of an information unit, and where it ends.

    Args:
        kind: its format.
        count: DESCRIPTOR COUNT; means something to indirect descriptors alone.

    Raises DescriptorError.
    """
    if kind == BufferFormat.NONE:
        return NO_DATA, offset
    if kind == BufferFormat.DIRECT:
        end = offset + SEGMENT_LENGTH
        if end > len(data):
            raise DescriptorError("a direct descriptor ends behind the information unit")
        address, handle, length = _SEGMENT.unpack_from(data, offset)
        return DataDescriptor(BufferFormat.DIRECT, length, (Segment(address, length, handle),)), end
    if kind != BufferFormat.INDIRECT:
        raise DescriptorError(f"data buffer format {kind}")
    first = offset + TABLE_HEADER_LENGTH
    end = first + count * SEGMENT_LENGTH
    if end > len(data):
        raise DescriptorError("an indirect descriptor ends behind the information unit")
    address, handle, table_length, length = _HEADER.unpack_from(data, offset)
    total, odd = divmod(table_length, SEGMENT_LENGTH)
    if odd or count > total:
        raise DescriptorError(f"a table of {table_length} bytes with {count} descriptors in the information unit")
    if total > TABLE_LIMIT:
        raise DescriptorError(f"{total} descriptors, more than {TABLE_LIMIT}")
    segments = _segments(data, first, end)
    if count == total and sum(segment.length for segment in segments) != length:
        raise DescriptorError("the lengths of the descriptors are not the total length")
    return DataDescriptor(BufferFormat.INDIRECT, length, segments, Segment(address, table_length, handle)), end


def parse_table(data: Buffer, length: int) -> tuple[Segment, ...]:
    """The segments of a table that was fetched, which must make `length` bytes. Raises DescriptorError."""
    segments = _segments(data, 0, len(data))
    if sum(segment.length for segment in segments) != length:
        raise DescriptorError("the lengths of the descriptors are not the total length")
    return segments


def _segments(data: Buffer, start: int, end: int) -> tuple[Segment, ...]:
    view = memoryview(data)[start:end]
    return tuple(Segment(address, length, handle) for address, handle, length in _SEGMENT.iter_unpack(view))

"""The bytes of a cartridge: record headers and state slots of the native tape format (docs/tape-format.md).

A cartridge is two *state slots*, of which the valid one with the higher sequence number counts, then the partitions:
each a chain of *records*. All numbers are big-endian. Nothing here asks a store for anything; `medium` does.
"""

from __future__ import annotations

import struct
from collections.abc import Generator, Iterable
from typing import Any, Final, TypeAlias, TypeVar

from crc32c import crc32c

from scsiemu._value import value
from scsiemu.command import Buffer
from scsiemu.errors import IoFailed, IoFault
from scsiemu.io_requests import IoRequest

__all__ = [
    "ATTRIBUTE_SPACE", "COMPRESSED_DEFLATE", "COMPRESSED_ZSTD", "DATA_START", "ENCRYPTED", "FORMAT_VERSION",
    "HEADER_SIZE", "LONGEST_BLOCK", "MOST_PARTITIONS", "SLOT_SIZE", "Asking", "Attribute", "CartridgeState", "Kind",
    "MediumUnusable", "PartitionState", "RecordHeader", "Unusable", "decode_header", "decode_state", "encode_header",
    "encode_state",
]

T = TypeVar("T")

# What asks a store for things and comes to a T.
Asking: TypeAlias = Generator[IoRequest[Any], Any, T]

FORMAT_VERSION: Final = 1
SLOT_SIZE: Final = 1 << 16
DATA_START: Final = 2 * SLOT_SIZE
MOST_PARTITIONS: Final = 64                 # MAXIMUM ADDITIONAL PARTITIONS of the medium partition page has a byte
LONGEST_BLOCK: Final = (1 << 24) - 1        # TRANSFER LENGTH of READ(6) and READ(16) has three bytes
ATTRIBUTE_SPACE: Final = 48 << 10           # bytes of all attributes together, so that a state fits its slot

# Flags of a record: what was done to the data of a block, in the order in which it was done.
COMPRESSED_DEFLATE: Final = 0x01
COMPRESSED_ZSTD: Final = 0x02
ENCRYPTED: Final = 0x04

_RECORD_MAGIC: Final = b"\x9eTR1"
_STATE_MAGIC: Final = b"SCSITAPE"
_HEADER: Final = struct.Struct(">4sBBHIQQIIQQQQQII")
_HEADER_CRC: Final = struct.Struct(">I")
_STATE: Final = struct.Struct(">8sHHQIIQIBBBxIQQQQ")
_PARTITION: Final = struct.Struct(">QQIIQQQ")
_ATTRIBUTE: Final = struct.Struct(">BBHH")

HEADER_SIZE: Final = _HEADER.size + _HEADER_CRC.size


class Kind:
    """What a record is."""

    BLOCK: Final = 1        # a logical block
    FILEMARK: Final = 2


class Unusable:
    """Why a store cannot be used as a cartridge."""

    BLANK: Final = "blank"          # nothing was ever written: it can be formatted
    FOREIGN: Final = "foreign"      # it holds something else
    NEWER: Final = "newer"          # of a later version of the format
    DAMAGED: Final = "damaged"      # it was a cartridge, or contradicts itself


class MediumUnusable(IoFailed):
    """A store is not a cartridge that can be used.

    Args:
        why: one of `Unusable`.
        message: one sentence.
    """

    def __init__(self, why: str, message: str) -> None:
        super().__init__(IoFault.MEDIUM, message)
        self.why = why


class RecordHeader:
    """The header of a record, with where it was found. Treat as immutable.

    Attributes:
        kind: one of `Kind`.
        flags: of the data.
        volume, epoch: of the cartridge and partition when it was written: what is left of earlier times has others.
        object: logical object identifier: 0 for the first block or filemark of the partition.
        marks: filemarks up to this record, itself included.
        stored: bytes of the data in the store, behind the header.
        logical: bytes of the logical block.
        previous: offset of the record before, that of the partition where there is none.
        jump, jump_object, jump_marks: an earlier record (object -1: before the first), so chosen that any record is
            reached from the last one in O(log n) steps.
        before: bytes of all logical blocks before this record.
        data_crc: CRC32C of the stored data.
        offset: in the store.
    """

    __slots__ = (
        "before", "data_crc", "epoch", "flags", "jump", "jump_marks", "jump_object", "kind", "logical", "marks",
        "object", "offset", "previous", "stored", "volume",
    )

    def __init__(
        self, kind: int, flags: int, volume: int, epoch: int, number: int, marks: int, stored: int, logical: int,
        previous: int, jump: int, jump_object: int, jump_marks: int, before: int, data_crc: int, offset: int,
    ) -> None:
        self.kind = kind
        self.flags = flags
        self.volume = volume
        self.epoch = epoch
        self.object = number
        self.marks = marks
        self.stored = stored
        self.logical = logical
        self.previous = previous
        self.jump = jump
        self.jump_object = jump_object
        self.jump_marks = jump_marks
        self.before = before
        self.data_crc = data_crc
        self.offset = offset

    def __repr__(self) -> str:
        name = "filemark" if self.kind == Kind.FILEMARK else f"block of {self.logical}"
        return f"<record {self.object}: {name} at {self.offset}>"

    @property
    def end(self) -> int:
        """Offset behind the record: where the next one begins."""
        return self.offset + HEADER_SIZE + self.stored

    @property
    def is_mark(self) -> bool:
        """Whether it is a filemark."""
        return self.kind == Kind.FILEMARK

    @property
    def marks_before(self) -> int:
        """Filemarks before this record."""
        return self.marks - (self.kind == Kind.FILEMARK)


def encode_header(header: RecordHeader) -> bytes:
    """The bytes of a record header."""
    body = _HEADER.pack(
        _RECORD_MAGIC, header.kind, header.flags, 0, header.epoch, header.object, header.marks, header.stored,
        header.logical, header.previous, header.jump, header.jump_object + 1, header.jump_marks, header.before,
        header.volume, header.data_crc,
    )
    return body + _HEADER_CRC.pack(crc32c(body))


def decode_header(data: Buffer, offset: int, at: int = 0) -> RecordHeader | None:
    """The header at `at` in `data`, which was read at `offset` - `at`; None where there is none that is whole."""
    if at + HEADER_SIZE > len(data):
        return None
    view = memoryview(data)[at : at + HEADER_SIZE]
    (
        magic, kind, flags, _, epoch, number, marks, stored, logical, previous, jump, jump_object, jump_marks, before,
        volume, data_crc,
    ) = _HEADER.unpack_from(view)
    if magic != _RECORD_MAGIC or _HEADER_CRC.unpack_from(view, _HEADER.size)[0] != crc32c(view[: _HEADER.size]):
        return None
    return RecordHeader(
        kind, flags, volume, epoch, number, marks, stored, logical, previous, jump, jump_object - 1, jump_marks,
        before, data_crc, offset,
    )


@value
class PartitionState:
    """What a state slot says of a partition.

    Args:
        start, size: where it is in the store, bytes.
        epoch: of records written since the checkpoint.
        objects: logical objects up to the checkpoint.
        checkpoint: offset of the last of them; `start` where there is none.
    """

    start: int
    size: int
    epoch: int
    objects: int = 0
    checkpoint: int = 0


@value
class Attribute:
    """A medium auxiliary memory attribute (SPC-5 7.4).

    Args:
        identifier: ATTRIBUTE IDENTIFIER.
        format: FORMAT: 0 binary, 1 ASCII, 2 text.
        value: ATTRIBUTE VALUE.
    """

    identifier: int
    format: int
    value: bytes


@value
class CartridgeState:
    """What a state slot holds.

    Args:
        sequence: the higher one counts.
        volume: tells this format of this cartridge from what was in the store before.
        capacity: bytes of the store that the partitions share.
        density: PRIMARY DENSITY CODE of the last format.
        medium_type: MEDIUM TYPE of the mode parameter header.
        kind: 0 data, 1 WORM, 2 cleaning.
        write_protected: the tab of the cartridge.
        proportion: what SET CAPACITY left of the capacity, of 65535.
        loads, bytes_written, bytes_read, formats: over its life.
        partitions: at least one.
        attributes: by partition.
    """

    sequence: int
    volume: int
    capacity: int
    density: int
    medium_type: int
    kind: int
    write_protected: bool
    proportion: int
    loads: int
    bytes_written: int
    bytes_read: int
    formats: int
    partitions: tuple[PartitionState, ...]
    attributes: tuple[tuple[Attribute, ...], ...]


def encode_state(state: CartridgeState) -> bytes:
    """The bytes of a state slot, as long as they need to be."""
    parts = [
        _PARTITION.pack(p.start, p.size, p.epoch, 0, p.objects, p.checkpoint, 0) for p in state.partitions
    ]
    for number, attributes in enumerate(state.attributes):
        for attribute in attributes:
            head = _ATTRIBUTE.pack(number, attribute.format, attribute.identifier, len(attribute.value))
            parts += [head, attribute.value]
    body = b"".join(parts)

    def fixed(crc: int) -> bytes:
        return _STATE.pack(
            _STATE_MAGIC, FORMAT_VERSION, state.write_protected, state.sequence, _STATE.size + len(body), crc,
            state.capacity, state.volume, state.density, state.medium_type, state.kind,
            state.proportion << 16 | len(state.partitions), state.loads, state.bytes_written, state.bytes_read,
            state.formats,
        )

    whole = fixed(crc32c(fixed(0) + body)) + body
    assert len(whole) <= SLOT_SIZE
    return whole


def decode_state(slot: Buffer) -> CartridgeState | None:
    """The state in a slot, None where there is none that is whole.

    Raises:
        MediumUnusable: it is of a later version.
    """
    data = bytes(slot)
    (
        magic, version, protected, sequence, length, crc, capacity, volume, density, medium_type, kind, counts, loads,
        written, read, formats,
    ) = _STATE.unpack_from(data)
    if magic != _STATE_MAGIC or not _STATE.size <= length <= len(data):
        return None
    at_crc = 8 + 2 + 2 + 8 + 4
    if crc32c(data[:at_crc] + bytes(4) + data[at_crc + 4 : length]) != crc:
        return None
    if version > FORMAT_VERSION:
        raise MediumUnusable(Unusable.NEWER, f"the cartridge has version {version} of the format, not {FORMAT_VERSION}")
    number = counts & 0xFFFF
    at = _STATE.size
    partitions = []
    for _ in range(number):
        start, size, epoch, _, objects, checkpoint, _ = _PARTITION.unpack_from(data, at)
        partitions.append(PartitionState(start, size, epoch, objects, checkpoint))
        at += _PARTITION.size
    attributes = _decode_attributes(data[at:length], number)
    return CartridgeState(
        sequence, volume, capacity, density, medium_type, kind, bool(protected), counts >> 16, loads, written, read,
        formats, tuple(partitions), attributes,
    )


def _decode_attributes(data: bytes, partitions: int) -> tuple[tuple[Attribute, ...], ...]:
    """Attributes by partition; a checksum has said that they are whole."""
    found: list[list[Attribute]] = [[] for _ in range(partitions)]
    at = 0
    while at + _ATTRIBUTE.size <= len(data):
        number, form, identifier, length = _ATTRIBUTE.unpack_from(data, at)
        at += _ATTRIBUTE.size
        if number < partitions:
            found[number].append(Attribute(identifier, form, data[at : at + length]))
        at += length
    return tuple(_sorted(attributes) for attributes in found)


def _sorted(attributes: Iterable[Attribute]) -> tuple[Attribute, ...]:
    return tuple(sorted(attributes, key=lambda attribute: attribute.identifier))

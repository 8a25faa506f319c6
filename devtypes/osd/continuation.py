"""CDB continuation segments (OSD-2 5.2.5): what does not fit into a CDB, at the start of Data-Out.

A header of 40 bytes (format, the service action once more, an integrity check value), then descriptors: type, pad
length, length (of the body without the pad bytes, as the OSC target and Wireshark have it), body, pad bytes. Which
types a command takes is the command's declaration; each comes once at most, but for copy sources and user objects.
"""

from __future__ import annotations

import struct
from typing import Final

from scsiemu import asc
from scsiemu._value import value
from scsiemu.sense import CheckCondition, FieldPointer

__all__ = [
    "CONTINUATION_TYPES", "CopySource", "Criterion", "DescriptorType", "Segment", "check_length", "encode_segment",
    "parse_segment",
]

_HEADER: Final = 40
_ICV: Final = slice(8, 40)
_LEAST: Final = 48
_MOST_ENTRIES: Final = 65536


class DescriptorType:
    """CDB CONTINUATION DESCRIPTOR TYPE."""

    NO_MORE: Final = 0x0000
    SCATTER_GATHER: Final = 0x0001
    QUERY: Final = 0x0002
    USER_OBJECT: Final = 0x0100
    COPY_SOURCE: Final = 0x0101
    EXTENSION_CAPABILITIES: Final = 0xFFEE


CONTINUATION_TYPES: Final = (
    DescriptorType.SCATTER_GATHER, DescriptorType.QUERY, DescriptorType.USER_OBJECT, DescriptorType.COPY_SOURCE,
    DescriptorType.EXTENSION_CAPABILITIES,
)


@value
class Criterion:
    """One entry of a query list: an attribute, and the least and greatest value; empty for no bound."""

    page: int
    number: int
    least: bytes
    greatest: bytes


@value
class CopySource:
    """A user object to copy; `attributes`: those that an initiator set, too."""

    pid: int
    oid: int
    attributes: bool


@value
class Segment:
    """A parsed segment. Empty where a command has none.

    Args:
        length: bytes of Data-Out that it takes.
        ranges: (offset, bytes) of a scatter/gather list, None where there is none.
        criteria: of a query list, None where there is none.
        every: of a query list: all criteria have to match, not just one.
        objects: (partition id, object id) of user object descriptors.
        sources: of copy source descriptors.
        extensions: capabilities for other objects than that of the CDB, 104 bytes, each with the integrity check value
            that proves it, 32 bytes.
        integrity_check_value: 32 bytes.
    """

    length: int = 0
    ranges: tuple[tuple[int, int], ...] | None = None
    criteria: tuple[Criterion, ...] | None = None
    every: bool = False
    objects: tuple[tuple[int, int], ...] = ()
    sources: tuple[CopySource, ...] = ()
    extensions: tuple[tuple[bytes, bytes], ...] = ()
    integrity_check_value: bytes = bytes(32)


def check_length(length: int) -> None:
    """Refuse a CDB CONTINUATION LENGTH that no segment has. Raises CheckCondition."""
    if length % 8 or length < _LEAST:
        raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="cdb_continuation_length")


def parse_segment(raw: bytes, service_action: int, allowed: frozenset[int]) -> Segment:
    """A whole segment. Raises CheckCondition, the field pointer in Data-Out."""
    if raw[0] != 1:
        raise _wrong(0)
    if int.from_bytes(raw[2:4], "big") != service_action:
        raise _wrong(2)
    found: dict[int, list[bytes]] = {}
    at = _HEADER
    while at + 8 <= len(raw):
        kind, pad, length = struct.unpack_from(">HxBI", raw, at)
        if kind == DescriptorType.NO_MORE:
            break
        several = kind in (DescriptorType.USER_OBJECT, DescriptorType.COPY_SOURCE)
        if kind not in allowed or (kind in found and not several):
            raise _wrong(at)
        pad &= 7
        # Wireshark reads a length without the padding, others one with it: which it is, the sum tells.
        size = length if length % 8 else length - pad
        end = at + 8 + size + pad
        if (size + pad) % 8 or size < 0 or end > len(raw):
            raise _wrong(at + 4)
        found.setdefault(kind, []).append(raw[at + 8 : end - pad])
        at = end
    ranges = [_ranges(body) for body in found.get(DescriptorType.SCATTER_GATHER, ())]
    queries = [_query(body) for body in found.get(DescriptorType.QUERY, ())]
    return Segment(
        length=len(raw), ranges=ranges[0] if ranges else None,
        criteria=queries[0][1] if queries else None, every=bool(queries) and queries[0][0],
        objects=tuple(each for body in found.get(DescriptorType.USER_OBJECT, ()) for each in _objects(body)),
        sources=tuple(each for body in found.get(DescriptorType.COPY_SOURCE, ()) for each in _sources(body)),
        extensions=tuple(
            each for body in found.get(DescriptorType.EXTENSION_CAPABILITIES, ()) for each in _extensions(body)
        ),
        integrity_check_value=raw[_ICV],
    )


def encode_segment(service_action: int, descriptors: list[tuple[int, bytes]], icv: bytes = bytes(32)) -> bytes:
    """A segment of (type, body) descriptors, without padding the caller has to think of."""
    parts = [struct.pack(">BxH4x", 1, service_action), icv]
    for kind, body in descriptors:
        pad = -len(body) % 8
        parts.append(struct.pack(">HxBI", kind, pad, len(body)) + body + bytes(pad))
    return b"".join(parts).ljust(_LEAST, b"\0")


def _wrong(at: int) -> CheckCondition:
    return CheckCondition(asc.INVALID_FIELD_IN_PARAMETER_LIST, pointer=FieldPointer(at, in_cdb=False))


def _entries(body: bytes, form: str) -> list[tuple[int, ...]]:
    """Entries of one size. Raises CheckCondition."""
    size = struct.calcsize(form)
    if not body or len(body) % size or len(body) > size * _MOST_ENTRIES:
        raise CheckCondition(asc.PARAMETER_LIST_LENGTH_ERROR)
    return list(struct.iter_unpack(form, body))


def _ranges(body: bytes) -> tuple[tuple[int, int], ...]:
    return tuple((offset, length) for offset, length in _entries(body, ">QQ"))


def _objects(body: bytes) -> tuple[tuple[int, int], ...]:
    return tuple((pid, oid) for pid, oid in _entries(body, ">QQ"))


def _sources(body: bytes) -> tuple[CopySource, ...]:
    return tuple(CopySource(pid, oid, bool(flags & 1)) for pid, oid, flags, _ in _entries(body, ">QQBB2x"))


def _extensions(body: bytes) -> tuple[tuple[bytes, bytes], ...]:
    return tuple((body[at : at + 104], body[at + 104 : at + 136]) for at in _places(body, 136))


def _places(body: bytes, size: int) -> range:
    """Where entries begin. Raises CheckCondition."""
    if not body or len(body) % size:
        raise CheckCondition(asc.PARAMETER_LIST_LENGTH_ERROR)
    return range(0, len(body), size)


def _query(body: bytes) -> tuple[bool, tuple[Criterion, ...]]:
    """Query type and criteria. Raises CheckCondition."""
    short = CheckCondition(asc.PARAMETER_LIST_LENGTH_ERROR)
    if len(body) < 4:
        raise short
    kind = body[0] & 0xF
    if kind > 1:
        raise CheckCondition(asc.INVALID_FIELD_IN_PARAMETER_LIST)
    found = []
    at = 4
    while at + 4 <= len(body) and (length := int.from_bytes(body[at + 2 : at + 4], "big")):
        if at + 14 > len(body):
            raise short
        page, number, least = struct.unpack_from(">IIH", body, at + 4)
        middle = at + 14 + least
        if middle + 2 > len(body):
            raise short
        greatest = int.from_bytes(body[middle : middle + 2], "big")
        end = middle + 2 + greatest
        # Whether the length counts the four bytes that it ends is read in both ways.
        if end > len(body) or length not in (end - at, end - at - 4):
            raise short
        if page >= 0x30000000:
            raise CheckCondition(asc.INVALID_FIELD_IN_PARAMETER_LIST)   # no page of user objects
        found.append(Criterion(page, number, body[at + 14 : middle], body[middle + 2 : middle + 2 + greatest]))
        at = end
    return kind == 1, tuple(found)

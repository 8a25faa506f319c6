"""The attributes parameters of a CDB and the lists that they point to (OSD-2 5.2.4, 7.1): parsed and built.

Forms of GET/SET CDBFMT: 1 sets one attribute out of the CDB (OSD-2), 2 gets a page and sets an attribute, 3 gets and
sets lists. A list has a header of 4 bytes and unaligned entries in OSD-1, of 8 bytes and entries padded to 8 in OSD-2.
An attribute that is not there has length FFFFh in OSD-1, 0 in OSD-2.
"""

from __future__ import annotations

import struct
from typing import Final

from devtypes.osd.offsets import decode_offset
from scsiemu import asc
from scsiemu._value import value
from scsiemu.sense import CheckCondition, FieldPointer

__all__ = [
    "ALL",
    "CREATED",
    "MULTI_OBJECT",
    "Attribute",
    "AttributeParameters",
    "encode_created",
    "encode_get_list",
    "encode_list",
    "encode_set_list",
    "parse_get_list",
    "parse_parameters",
    "parse_set_list",
]

ALL: Final = 0xFFFFFFFF
_RETRIEVE: Final = 1
_VALUES: Final = 9
MULTI_OBJECT: Final = 0xE           # OSD-2: attributes of several objects
CREATED: Final = 0xF                # OSD-1: those of several objects that CREATE made
_MOST: Final = 65536


@value
class Attribute:
    """An attribute with its value; None where it is not there."""

    page: int
    number: int
    value: bytes | None


@value
class AttributeParameters:
    """Bytes 52 to 79 of a CDB.

    Args:
        form: GET/SET CDBFMT.
        get_page: page to get (form 2), 0 for none.
        get_length, get_offset: get list in Data-Out (form 3).
        allocation, retrieved_offset: room for what is got in Data-In.
        set_length, set_offset: set list (form 3) or value (form 2) in Data-Out.
        set_one: page and number of the attribute to set (forms 1 and 2).
        value: of form 1.
    """

    form: int
    get_page: int = 0
    get_length: int = 0
    get_offset: int = 0
    allocation: int = 0
    retrieved_offset: int = 0
    set_length: int = 0
    set_offset: int = 0
    set_one: tuple[int, int] | None = None
    value: bytes = b""

    @property
    def data_out_end(self) -> int:
        """How many bytes of Data-Out the lists reach to."""
        return max(
            self.get_offset + self.get_length if self.get_length else 0,
            self.set_offset + self.set_length if self.set_length else 0,
        )


def _offset(field: int, version: int, at: int) -> int:
    try:
        offset = decode_offset(field, version=version)
    except ValueError:
        offset = None
    if offset is None:
        raise CheckCondition(asc.INVALID_FIELD_IN_CDB, pointer=FieldPointer(at))
    return offset


def parse_parameters(form: int, field: int, *, version: int) -> AttributeParameters:
    """The attributes parameters. Raises CheckCondition."""
    raw = field.to_bytes(28, "big")
    words = struct.unpack(">7I", raw)
    if form == 0:
        if field:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, pointer=FieldPointer(52))
        return AttributeParameters(0)
    if form == 1 and version == 2:
        length = int.from_bytes(raw[8:10], "big")
        if length > 18:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, pointer=FieldPointer(60))
        if words[0] in (0, ALL):
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, pointer=FieldPointer(52))
        if words[1] == ALL:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, pointer=FieldPointer(56))
        return AttributeParameters(1, set_one=(words[0], words[1]), value=raw[10 : 10 + length])
    if form == 2:
        get_page, allocation, retrieved, set_page, number, length, at = words
        if get_page == ALL:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, pointer=FieldPointer(52))
        if set_page == ALL:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, pointer=FieldPointer(64))
        if set_page and number == ALL:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, pointer=FieldPointer(68))
        return AttributeParameters(
            2, get_page=get_page,
            allocation=allocation if get_page else 0,
            retrieved_offset=_offset(retrieved, version, 60) if get_page and allocation else 0,
            set_one=(set_page, number) if set_page else None,
            set_length=length if set_page else 0,
            set_offset=_offset(at, version, 76) if set_page and length else 0,
        )
    if form == 3:
        get_length, get_at, allocation, retrieved, set_length, set_at, rest = words
        if rest:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, pointer=FieldPointer(76))
        header = 8 if version == 2 else 4
        for length, at in ((get_length, 52), (set_length, 68)):
            if length and length < header:
                raise CheckCondition(asc.PARAMETER_LIST_LENGTH_ERROR, pointer=FieldPointer(at))
        return AttributeParameters(
            3,
            get_length=get_length, get_offset=_offset(get_at, version, 56) if get_length else 0,
            allocation=allocation if get_length else 0,
            retrieved_offset=_offset(retrieved, version, 64) if get_length and allocation else 0,
            set_length=set_length, set_offset=_offset(set_at, version, 72) if set_length else 0,
        )
    raise CheckCondition(asc.INVALID_FIELD_IN_CDB, pointer=FieldPointer(11, 5))


def _body(raw: bytes, kind: int, version: int) -> bytes:
    """What follows the header of a list; a list length of 0 means as far as the CDB says."""
    header = 8 if version == 2 else 4
    if len(raw) < header:
        raise CheckCondition(asc.PARAMETER_LIST_LENGTH_ERROR)
    if raw[0] & 0xF != kind:
        raise CheckCondition(asc.INVALID_FIELD_IN_PARAMETER_LIST, pointer=FieldPointer(0, 3, in_cdb=False))
    length = int.from_bytes(raw[4:8] if version == 2 else raw[2:4], "big")
    if length > len(raw) - header:
        raise CheckCondition(asc.PARAMETER_LIST_LENGTH_ERROR)
    return raw[header : header + length] if length else raw[header:]


def parse_get_list(raw: bytes, *, version: int) -> list[tuple[int, int]]:
    """(page, number) of a list of type 1. Raises CheckCondition."""
    body = _body(raw, _RETRIEVE, version)
    if len(body) % 8 or len(body) > 8 * _MOST:
        raise CheckCondition(asc.PARAMETER_LIST_LENGTH_ERROR)
    return list(struct.iter_unpack(">II", body))


def parse_set_list(raw: bytes, *, version: int) -> list[Attribute]:
    """The attributes of a list of type 9. Raises CheckCondition."""
    body = _body(raw, _VALUES, version)
    size = 16 if version == 2 else 10
    found = []
    at = 0
    while at < len(body):
        if at + size > len(body):
            raise CheckCondition(asc.PARAMETER_LIST_LENGTH_ERROR)
        page, number = struct.unpack_from(">II", body, at)
        length = int.from_bytes(body[at + size - 2 : at + size], "big")
        at += size
        if length == 0xFFFF and version == 1:
            length = 0
        if at + length > len(body):
            raise CheckCondition(asc.PARAMETER_LIST_LENGTH_ERROR)
        found.append(Attribute(page, number, body[at : at + length]))
        at += length + (-length % 8 if version == 2 else 0)
    return found


def encode_get_list(wanted: list[tuple[int, int]], *, version: int) -> bytes:
    """A list of type 1."""
    return encode_list(_RETRIEVE, b"".join(struct.pack(">II", *each) for each in wanted), version=version)


def encode_set_list(attributes: list[Attribute], *, version: int) -> bytes:
    """A list of type 9: what is to be set, or what was got."""
    parts = []
    for each in attributes:
        data = each.value or b""
        if version == 2:
            parts.append(struct.pack(">II6xH", each.page, each.number, len(data)) + data + bytes(-len(data) % 8))
        else:
            parts.append(_entry(each))
    return encode_list(_VALUES, b"".join(parts), version=version)


def encode_created(oid: int, attribute: Attribute) -> bytes:
    """An entry of a list of type Fh (OSD 7.1.3.4): as that of type 9, behind the id of the object."""
    return oid.to_bytes(8, "big") + _entry(attribute)


def _entry(attribute: Attribute) -> bytes:
    """An entry of OSD-1."""
    length = 0xFFFF if attribute.value is None else len(attribute.value)
    return struct.pack(">IIH", attribute.page, attribute.number, length) + (attribute.value or b"")


def encode_list(kind: int, body: bytes, *, version: int) -> bytes:
    """A list of a type, with its header."""
    if version == 2:
        return struct.pack(">B3xI", kind, len(body)) + body
    return struct.pack(">BxH", kind, min(len(body), 0xFFFF)) + body

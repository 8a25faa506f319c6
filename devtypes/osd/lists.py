"""Parameter data of LIST and LIST COLLECTION (OSD-2 6), and lists that go on over several commands.

A list that does not fit ends with a LIST IDENTIFIER and the id to go on with. Where the next command goes on with it,
LSTCHG tells whether objects or memberships of the partition have come or gone since the first, and how much there is
left is known without counting: a list in many pages costs what its ids cost. Lists are remembered until others have
pushed them out, or the unit ends; then the rest is counted, and LSTCHG is set, as nobody knows.
"""

from __future__ import annotations

import struct
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, TypeAlias

from devtypes.osd.attribute_lists import encode_set_list, parse_get_list
from devtypes.osd.execution import Work
from devtypes.osd.objects import ObjectRef
from scsiemu._value import value
from scsiemu.object_requests import ObjectKind

__all__ = ["HEADER", "ListRegister", "Listing", "list_data"]

HEADER: Final = 24
_MOST_LISTS: Final = 1024
_LSTCHG: Final = 0x02
_FORMATS: Final = {ObjectKind.PARTITION: 0x01, ObjectKind.COLLECTION: 0x11, ObjectKind.USER: 0x21}

_Key: TypeAlias = "tuple[int, int, int, int]"


@value
class Listing:
    """What is listed.

    Args:
        ref: the root, a partition or a collection.
        kind: of the objects that are listed.
        ids: asked with an id to begin with and how many at most.
        count: asked with an id to begin with: how many there are.
        attributes: those of each object come, too.
    """

    ref: ObjectRef
    kind: int
    ids: Callable[[Work, int, int], list[int]]
    count: Callable[[Work, int], int]
    attributes: bool


@value
class _Rest:
    """The rest of a list: its identifier, changes of the partition at its beginning and when `left` was known."""

    identifier: int
    began: int
    counted: int
    left: int


class ListRegister:
    """Lists that have not come to their end, by what is listed and the id to go on with."""

    def __init__(self) -> None:
        self._known: OrderedDict[_Key, _Rest] = OrderedDict()
        self._identifier = 0

    def find(self, key: _Key, identifier: int) -> _Rest | None:
        """The rest of a list; any that goes on at this place, where no identifier is given."""
        known = self._known.get(key)
        return known if known is not None and identifier in (0, known.identifier) else None

    def keep(self, key: _Key, before: _Rest | None, changes: int, left: int) -> int:
        """Remember the rest of a list; its LIST IDENTIFIER."""
        if before is None:
            self._identifier = self._identifier % 0xFFFFFFFF + 1
            before = _Rest(self._identifier, changes, changes, left)
        self._known[key] = _Rest(before.identifier, before.began, changes, left)
        self._known.move_to_end(key)
        if len(self._known) > _MOST_LISTS:
            self._known.popitem(last=False)
        return before.identifier


def list_data(work: Work, listing: Listing, register: ListRegister, most: int) -> bytes:
    """Parameter data of at most `most` bytes, which is no less than a header."""
    start, kind, ref = work.cdb.initial_object_id, listing.kind, listing.ref
    given = work.cdb.list_identifier if start else 0
    changes = work.tx.changes(ref.pid)
    rest = register.find((ref.pid, ref.oid, kind, start), given)
    left = rest.left if rest is not None and rest.counted == changes else listing.count(work, start)
    parts, following, size = _descriptors(work, listing, start, most)
    identifier = 0
    if following:
        identifier = register.keep((ref.pid, ref.oid, kind, following), rest, changes, left - len(parts))
    changed = bool(given) and (rest is None or rest.began != changes)
    # How long the whole would be; with attributes only what is here can be told.
    length = size - 8 if listing.attributes else 16 + 8 * left
    if work.version == 2:
        flags = (_FORMATS[kind] + listing.attributes) << 2
    else:
        # ROOT: the ids are partitions; COLTN: they are collections.
        flags = int(kind in (ObjectKind.PARTITION, ObjectKind.COLLECTION))
    head = struct.pack(">QQI3xB", length, following, identifier, flags | (_LSTCHG if changed else 0))
    return head + b"".join(parts)


def _descriptors(work: Work, listing: Listing, start: int, most: int) -> tuple[list[bytes], int, int]:
    """What fits, the id that does not any more (0 for none), and the bytes with the header."""
    raw = work.parameters
    wanted = []
    if listing.attributes:
        wanted = parse_get_list(work.data_out[raw.get_offset : raw.get_offset + raw.get_length], version=2)
    parts: list[bytes] = []
    size = HEADER
    for each in listing.ids(work, start, (most - HEADER) // 8 + 1):
        part = each.to_bytes(8, "big")
        if listing.attributes:
            root = listing.kind == ObjectKind.PARTITION
            member = ObjectRef(each, 0, listing.kind) if root else ObjectRef(listing.ref.pid, each, listing.kind)
            values = encode_set_list(work.collect(member, wanted), version=2)[8:]
            part += struct.pack(">4xI", len(values)) + values
        if size + len(part) > most:
            return parts, each, size
        parts.append(part)
        size += len(part)
    return parts, 0, size

"""The standard's attribute pages (OSD-2 7.1.3): what is computed, what is kept, and what an initiator may set.

Numbers are those of the OSD-2 tables; pages are named by what lies behind the base of their kind of object: 0
directory, 1 information, 2 quotas, 3 timestamps, 4 collections (of a user object), 5 policy and security. Pages from
base + 10000h to base + 2FFFFFFFh are an application's and take any attribute. Not here: error recovery, attributes
access pages.
"""

from __future__ import annotations

import struct
from typing import Final

from devtypes.osd.attribute_lists import Attribute
from devtypes.osd.objects import ObjectRef
from devtypes.osd.security import HMAC_SHA1
from devtypes.osd.tracking import collection_type, is_tracking, tracking_attributes
from scsiemu import asc
from scsiemu._value import value
from scsiemu.identity import Identity
from scsiemu.object_requests import ObjectKind, ObjectTransaction
from scsiemu.sense import CheckCondition, SenseCode

__all__ = [
    "ANY_PAGE", "APPLICATION_PAGES", "CURRENT_COMMAND", "DH_GROUP", "MOST_CONTINUATION", "POLICY_ACCESS_TAG", "Names",
    "created_time", "number_of", "page_attributes", "page_form", "pages", "set_attribute", "stamp",
]

CURRENT_COMMAND: Final = 0xFFFFFFFE
MOST_CONTINUATION: Final = 1 << 20  # bytes of a CDB continuation segment
DH_GROUP: Final = 14                # the group of RFC 3526 clause 3, by its number in RFC 3526
ANY_PAGE: Final = 0xF0000000
POLICY_ACCESS_TAG: Final = 0x40000001
APPLICATION_PAGES: Final = 0x10000
_BYPASS: Final = 0xFFFFFFFE
_TRACKING_PAGE: Final = 4           # of a collection
_KIND_NAMES: Final = {
    ObjectKind.ROOT: "Root", ObjectKind.PARTITION: "Partition", ObjectKind.COLLECTION: "Collection",
    ObjectKind.USER: "User Object",
}
_PAGE_NAMES: Final = {
    0: "Directory", 1: "Information", 2: "Quotas", 3: "Timestamps", 4: "Collections", 5: "Policy/Security",
}
_PAGES: Final = {
    ObjectKind.ROOT: (0, 1, 2, 3, 5), ObjectKind.PARTITION: (0, 1, 2, 3, 5), ObjectKind.COLLECTION: (0, 1, 3, 4, 5),
    ObjectKind.USER: (0, 1, 2, 3, 4, 5),
}
# What may be set: bytes of the value by number, None for any length.
_SETTABLE: Final[dict[tuple[int, int], dict[int, int | None]]] = {
    (ObjectKind.USER, 1): {9: None, 0x82: 8},
    (ObjectKind.USER, 2): {1: 8},
    (ObjectKind.USER, 5): {POLICY_ACCESS_TAG: 4},
    (ObjectKind.COLLECTION, 1): {9: None},
    (ObjectKind.COLLECTION, 5): {POLICY_ACCESS_TAG: 4},
    (ObjectKind.PARTITION, 1): {9: None},
    (ObjectKind.PARTITION, 2): {1: 8, 0x10001: 8, 0x10002: 8, 0x10081: 4},
    (ObjectKind.PARTITION, 3): {_BYPASS: 1},
    (ObjectKind.PARTITION, 5): {1: 1, 2: 6, 3: 6, POLICY_ACCESS_TAG: 4},
    (ObjectKind.ROOT, 1): {9: None},
    (ObjectKind.ROOT, 2): {1: 8, 0x10001: 8, 0x10002: 8, 0x10081: 4, 0x20002: 8},
    (ObjectKind.ROOT, 3): {_BYPASS: 1},
    (ObjectKind.ROOT, 5): {1: 1, 2: 6, 3: 6, 6: 1},
}
# Pages that can be got in page form: numbers and lengths in order (OSD-2).
_FORMS: Final[dict[tuple[int, int], tuple[tuple[int, int], ...]]] = {
    (ObjectKind.ROOT, 2): ((1, 8), (0x10001, 8), (0x10002, 8), (0x10081, 4), (0x20002, 8)),
    (ObjectKind.PARTITION, 2): ((1, 8), (0x10001, 8), (0x10002, 8), (0x10081, 4)),
    (ObjectKind.USER, 2): ((1, 8),),
    (ObjectKind.ROOT, 3): ((2, 6), (3, 6), (_BYPASS, 1)),
    (ObjectKind.PARTITION, 3): ((1, 6), (2, 6), (3, 6), (4, 6), (5, 6), (_BYPASS, 1)),
    (ObjectKind.COLLECTION, 3): ((1, 6), (2, 6), (3, 6), (4, 6), (5, 6)),
    (ObjectKind.USER, 3): ((1, 6), (2, 6), (3, 6), (4, 6), (5, 6)),
}
_MOST_COLLECTION_NUMBER: Final = 0xFFFFFF00


@value
class Names:
    """What the root information page tells of the unit.

    Args:
        identity: of the unit, complete.
        system_id: OSD SYSTEM ID, 20 bytes.
        capacity: TOTAL CAPACITY in bytes.
        methods: security methods that are supported: bit 0 NOSEC, bit 1 CAPKEY, ...
        method: the security method where no attribute says another.
    """

    identity: Identity
    system_id: bytes
    capacity: int
    methods: int = 1
    method: int = 0


def number_of(tx: ObjectTransaction, ref: ObjectRef, page: int, number: int) -> int | None:
    """A stored attribute as a number, None where it is not there."""
    found = tx.attribute(ref.pid, ref.oid, ref.page_base + page, number)
    return None if found is None else int.from_bytes(found, "big")


def created_time(tx: ObjectTransaction, ref: ObjectRef) -> int:
    """Milliseconds since 1970."""
    return number_of(tx, ref, 3, 1) or 0


def stamp(tx: ObjectTransaction, ref: ObjectRef, numbers: tuple[int, ...], now: int) -> None:
    """Set timestamps."""
    for number in numbers:
        if ref.kind != ObjectKind.ROOT or number in (2, 3):
            tx.set_attribute(ref.pid, ref.oid, ref.page_base + 3, number, now.to_bytes(6, "big"))


def pages(tx: ObjectTransaction, ref: ObjectRef) -> list[int]:
    """Numbers of the pages that an object has."""
    own = {ref.page_base + page for page in _PAGES[ref.kind]}
    if ref.kind == ObjectKind.COLLECTION and not is_tracking(tx, ref):
        own.remove(ref.page_base + _TRACKING_PAGE)
    return sorted(own | {page for page, _, _ in tx.attributes(ref.pid, ref.oid, None)})


def page_attributes(tx: ObjectTransaction, ref: ObjectRef, page: int, names: Names, now: int) -> dict[int, bytes]:
    """The attributes of a page, by number; empty for a page that the object does not have."""
    found = {number: data for _, number, data in tx.attributes(ref.pid, ref.oid, page)}
    kind = page - ref.page_base
    if kind not in _PAGES[ref.kind]:
        return found
    if ref.kind == ObjectKind.COLLECTION and kind == _TRACKING_PAGE and not is_tracking(tx, ref):
        return found
    found[0] = _identification(ref.kind, kind)
    if kind == 0:
        for each in pages(tx, ref):
            title = tx.attribute(ref.pid, ref.oid, each, 0)
            own = each - ref.page_base
            found[each] = _identification(ref.kind, own) if own in _PAGES[ref.kind] else (title or bytes(40))
    elif kind == 1:
        found |= _information(tx, ref, names, now)
    elif kind == 5 and ref.kind == ObjectKind.ROOT:
        found = _root_security(names) | found
    elif kind == _TRACKING_PAGE and ref.kind == ObjectKind.COLLECTION:
        found |= tracking_attributes(tx, ref)
    elif kind == 4:
        memberships = tx.memberships(ref.pid, ref.oid)
        found |= {number: cid.to_bytes(8, "big") for number, cid in memberships if number}
    return dict(sorted(found.items()))


def _identification(kind: int, page: int) -> bytes:
    """Attribute 0 of a page: vendor and page name (OSD-2)."""
    tracks = kind == ObjectKind.COLLECTION and page == _TRACKING_PAGE
    name = "Command Tracking" if tracks else _PAGE_NAMES[page]
    return b"INCITS".ljust(8) + f"T10 {_KIND_NAMES[kind]} {name}".encode().ljust(32)


def _root_security(names: Names) -> dict[int, bytes]:
    """What the root's policy/security page tells where nothing was set."""
    known = {1: bytes((names.method,)), 6: bytes((names.method,)), 7: names.methods.to_bytes(2, "big")}
    if names.methods > 1:
        known |= {0x80000000: bytes((HMAC_SHA1,)), 0x80000010: bytes((DH_GROUP,))}
    return known


def _information(tx: ObjectTransaction, ref: ObjectRef, names: Names, now: int) -> dict[int, bytes]:
    pid, oid = ref.pid, ref.oid
    used = tx.used(pid, oid).to_bytes(8, "big")
    match ref.kind:
        case ObjectKind.USER:
            return {
                1: pid.to_bytes(8, "big"), 2: oid.to_bytes(8, "big"), 0x81: used,
                0x82: tx.length(pid, oid).to_bytes(8, "big"),
            }
        case ObjectKind.COLLECTION:
            kind = bytes((collection_type(tx, ref),))
            return {1: pid.to_bytes(8, "big"), 2: oid.to_bytes(8, "big"), 0x0A: kind, 0x81: used}
        case ObjectKind.PARTITION:
            count = tx.count(pid, ObjectKind.USER) + tx.count(pid, ObjectKind.COLLECTION)
            return {1: pid.to_bytes(8, "big"), 0x81: used, 0xC1: count.to_bytes(8, "big")}
    identity = names.identity
    return {
        3: names.system_id,
        4: identity.vendor.ljust(8).encode(), 5: identity.product.ljust(16).encode(), 6: b"scsiemu".ljust(32),
        7: identity.revision.ljust(4).encode(), 8: identity.serial.encode(),
        0x0A: MOST_CONTINUATION.to_bytes(4, "big"), 0x80: names.capacity.to_bytes(8, "big"), 0x81: used,
        0xC0: tx.count(0, ObjectKind.PARTITION).to_bytes(8, "big"), 0x100: now.to_bytes(6, "big"),
        # Transactions come one after the other: isolation is strict, whichever method is asked for.
        0x110: b"\x02", 0x111: b"\x01\x02\x04\x05".ljust(32, b"\0"),
    }


def page_form(ref: ObjectRef, page: int, found: dict[int, bytes]) -> bytes | None:
    """A page in page form; None where it has none."""
    form = _FORMS.get((ref.kind, page - ref.page_base))
    if form is None:
        return None
    body = b"".join(found.get(number, bytes(length)).rjust(length, b"\0") for number, length in form)
    return struct.pack(">II", page, len(body)) + body


def set_attribute(
    tx: ObjectTransaction, ref: ObjectRef, wanted: Attribute, names: Names, wrong: SenseCode
) -> None:
    """Set an attribute, or delete it by an empty value.

    Args:
        wrong: what an attribute that may not be set is refused with.

    Raises CheckCondition.
    """
    page, number, data = wanted.page, wanted.number, wanted.value or b""
    kind = page - ref.page_base
    if page >= ANY_PAGE:
        if page >= CURRENT_COMMAND or number >= 0xFFFFFFFF:
            raise CheckCondition(wrong)
    elif not 0 <= kind < 0x30000000 or number == 0xFFFFFFFF:
        raise CheckCondition(wrong)
    elif kind < APPLICATION_PAGES:
        if ref.kind == ObjectKind.USER and kind == 4 and 1 <= number <= _MOST_COLLECTION_NUMBER:
            _set_membership(tx, ref, number, data, wrong)
            return
        lengths = _SETTABLE.get((ref.kind, kind), {})
        if number not in lengths:
            raise CheckCondition(wrong)
        length = lengths[number]
        if length is not None and len(data) not in ((length,) if number == 0x82 else (0, length)):
            raise CheckCondition(wrong)
        if kind == 5 and number in (1, 6) and data and not (data[0] < 16 and names.methods >> data[0] & 1):
            raise CheckCondition(wrong)                 # a security method that is not supported
        if (ref.kind, kind, number) == (ObjectKind.USER, 1, 0x82):
            new = int.from_bytes(data, "big")
            if new >= 1 << 63:
                raise CheckCondition(wrong)
            tx.truncate(ref.pid, ref.oid, new)
            return
    tx.set_attribute(ref.pid, ref.oid, page, number, data or None)


def _set_membership(tx: ObjectTransaction, ref: ObjectRef, number: int, data: bytes, wrong: SenseCode) -> None:
    """Write to the collections page: a membership is made, moved or ended (OSD-2)."""
    cid = int.from_bytes(data, "big")
    if len(data) not in (0, 8) or (cid and tx.kind(ref.pid, cid) != ObjectKind.COLLECTION):
        raise CheckCondition(wrong)
    if cid and is_tracking(tx, ObjectRef(ref.pid, cid, ObjectKind.COLLECTION)):
        raise CheckCondition(wrong)                     # its members are its own business
    old = {known: there for known, there in tx.memberships(ref.pid, ref.oid) if known}
    if number in old:
        tx.leave(ref.pid, old[number], ref.oid)
    if not cid:
        return
    if any(there == cid for other, there in old.items() if other != number):
        raise CheckCondition(wrong)                     # once in a collection
    partition = ObjectRef(ref.pid, 0, ObjectKind.PARTITION)
    limit = number_of(tx, partition, 2, 0x10081)
    if limit is not None and number not in old and len(old) >= limit:
        raise CheckCondition(asc.QUOTA_ERROR)
    tx.join(ref.pid, cid, ref.oid, number)

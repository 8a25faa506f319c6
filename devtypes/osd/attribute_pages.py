"""The standard's attribute pages (OSD-2 7.1.3): what is computed, what is kept, and what an initiator may set.

Numbers are those of the OSD-2 tables; pages are named by what lies behind the base of their kind of object: 0
directory, 1 information, 2 quotas, 3 timestamps, 4 collections (of a user object), attributes access (of a partition),
command tracking (of a tracking collection), 5 policy and security, 6 error recovery. Pages from base + 10000h to base +
2FFFFFFFh are an application's and take any attribute.

Of error recovery pages there is the identification alone: what does not fit together OBJECT STRUCTURE CHECK tells, and
nothing is repaired.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final

from devtypes.osd.attribute_lists import Attribute
from devtypes.osd.continuation import CONTINUATION_TYPES
from devtypes.osd.objects import PAGE_BASE, ObjectRef
from devtypes.osd.security import HMAC_SHA1
from devtypes.osd.tracking import EVERY_OBJECT, collection_type, is_tracking, tracking_attributes
from scsiemu import asc
from scsiemu._value import value
from scsiemu.identity import Identity
from scsiemu.object_requests import PRIVATE_PAGE, ObjectKind, ObjectTransaction
from scsiemu.sense import CheckCondition, SenseCode

__all__ = [
    "ACCESS_PAGE", "ANY_PAGE", "APPLICATION_PAGES", "CAPACITY", "CLOCK_OFFSET", "CURRENT_COMMAND", "DH_GROUP",
    "MOST_CONTINUATION", "NONCE_LIST_DEPTH", "NONCE_WINDOW", "POLICY_ACCESS_TAG", "USER_OBJECT_TAG", "Names", "clock",
    "clock_offset", "created_time", "number_of", "page_attributes", "page_form", "pages", "set_attribute", "stamp",
    "total_capacity",
]

CURRENT_COMMAND: Final = 0xFFFFFFFE
MOST_CONTINUATION: Final = 1 << 20  # bytes of a CDB continuation segment
NONCE_WINDOW: Final = 60_000        # milliseconds that a nonce may be older or newer, where no attribute says
NONCE_LIST_DEPTH: Final = 0xFFFF    # request nonces that are remembered
DH_GROUP: Final = 14                # the group of RFC 3526 clause 3, by its number in RFC 3526
ANY_PAGE: Final = 0xF0000000
POLICY_ACCESS_TAG: Final = 0x40000001
USER_OBJECT_TAG: Final = 0x40000002  # of a partition: the policy access tag of new user objects
APPLICATION_PAGES: Final = 0x10000
_BYPASS: Final = 0xFFFFFFFE
_TRACKING_PAGE: Final = 4           # of a collection
ACCESS_PAGE: Final = 4              # of a partition
_CLOCK: Final = 9                   # ADJUSTABLE CLOCK, of the root's policy/security page
CLOCK_OFFSET: Final = 4             # of the root's private page
CAPACITY: Final = 5                 # of the same: bytes that FORMAT OSD was asked for
_MOST_BRANCHES: Final = 255         # copies of copies of ...
_NO_LIMIT: Final = 0xFFFFFFFF
# Numbers of no attribute, for bits of page forms that tell which key identifiers are valid.
_KEYS_ABOVE, _WORKING_KEYS = -1, -2
_KIND_NAMES: Final = {
    ObjectKind.ROOT: "Root", ObjectKind.PARTITION: "Partition", ObjectKind.COLLECTION: "Collection",
    ObjectKind.USER: "User Object",
}
_PAGE_NAMES: Final = {
    0: "Directory", 1: "Information", 2: "Quotas", 3: "Timestamps", 4: "Collections", 5: "Policy/Security",
    6: "Error Recovery",
}
_FOURTH_NAMES: Final = {ObjectKind.COLLECTION: "Command Tracking", ObjectKind.PARTITION: "Attributes Access"}
_PAGES: Final = {
    ObjectKind.ROOT: (0, 1, 2, 3, 5, 6), ObjectKind.PARTITION: (0, 1, 2, 3, 4, 5, 6),
    ObjectKind.COLLECTION: (0, 1, 3, 4, 5, 6), ObjectKind.USER: (0, 1, 2, 3, 4, 5, 6),
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
    (ObjectKind.PARTITION, 5): {1: 1, 2: 6, 3: 6, POLICY_ACCESS_TAG: 4, USER_OBJECT_TAG: 4},
    (ObjectKind.ROOT, 1): {9: None},
    (ObjectKind.ROOT, 2): {1: 8, 0x10001: 8, 0x10002: 8, 0x10081: 4, 0x20002: 8},
    (ObjectKind.ROOT, 3): {_BYPASS: 1},
    (ObjectKind.ROOT, 5): {1: 1, 2: 6, 3: 6, 6: 1, _CLOCK: 6},
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
    (ObjectKind.ROOT, 5): (
        (1, 1), (6, 1), (7, 2), (_KEYS_ABOVE, 1), (2, 6), (3, 6), (0x7FFD, 7), (0x7FFE, 7),
        *((0x80000000 + at, 1) for at in range(32)),
    ),
    (ObjectKind.PARTITION, 5): (
        (1, 1), (2, 6), (3, 6), (4, 2), (5, 2), (POLICY_ACCESS_TAG, 4), (_KEYS_ABOVE, 1), (_WORKING_KEYS, 2),
        (0x7FFF, 7), *((0x8000 + at, 7) for at in range(16)),
    ),
    (ObjectKind.COLLECTION, 5): ((POLICY_ACCESS_TAG, 4),),
    (ObjectKind.USER, 5): ((POLICY_ACCESS_TAG, 4),),
}
_MOST_COLLECTION_NUMBER: Final = 0xFFFFFF00
# What a directory has of a page without attribute 0: no vendor, and this name.
_UNIDENTIFIED: Final = b"unidentified attributes page".rjust(36).ljust(40)


@value
class Names:
    """What the root information page tells of the unit.

    Args:
        identity: of the unit, complete.
        system_id: OSD SYSTEM ID, 20 bytes.
        capacity: the most bytes that TOTAL CAPACITY may be.
        methods: security methods that are supported: bit 0 NOSEC, bit 1 CAPKEY, ...
        method: the security method where no attribute says another.
        atomic: bytes of data or attributes that one command writes in whole or not at all.
    """

    identity: Identity
    system_id: bytes
    capacity: int
    methods: int = 1
    method: int = 0
    atomic: int = 16 << 20


def number_of(tx: ObjectTransaction, ref: ObjectRef, page: int, number: int) -> int | None:
    """A stored attribute as a number, None where it is not there."""
    found = tx.attribute(ref.pid, ref.oid, ref.page_base + page, number)
    return None if found is None else int.from_bytes(found, "big")


def clock(tx: ObjectTransaction) -> int:
    """Milliseconds since 1970 by the unit's clock, which the adjustable clock attribute sets."""
    return tx.clock() + clock_offset(tx)


def clock_offset(tx: ObjectTransaction) -> int:
    """How far it was set, in milliseconds."""
    return int.from_bytes(tx.attribute(0, 0, PRIVATE_PAGE, CLOCK_OFFSET) or b"", "big", signed=True)


def total_capacity(tx: ObjectTransaction, names: Names) -> int:
    """TOTAL CAPACITY: bytes that the unit was formatted with, which is never more than it has now."""
    asked = int.from_bytes(tx.attribute(0, 0, PRIVATE_PAGE, CAPACITY) or b"", "big")
    return min(asked or names.capacity, names.capacity)


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
    own = {ref.page_base + page for page in _PAGES[ref.kind] if ref.oid != EVERY_OBJECT or page < 2}
    if ref.kind == ObjectKind.COLLECTION and not is_tracking(tx, ref):
        own.remove(ref.page_base + _TRACKING_PAGE)
    return sorted(own | {page for page, _, _ in tx.attributes(ref.pid, ref.oid, None)})


def page_attributes(tx: ObjectTransaction, ref: ObjectRef, page: int, names: Names, now: int) -> dict[int, bytes]:
    """The attributes of a page, by number; empty for a page that the object does not have."""
    found = {number: data for _, number, data in tx.attributes(ref.pid, ref.oid, page)}
    kind = page - ref.page_base
    if kind not in _PAGES[ref.kind] or (ref.oid == EVERY_OBJECT and kind > 1):
        return found
    if ref.kind == ObjectKind.COLLECTION and kind == _TRACKING_PAGE and not is_tracking(tx, ref):
        return found
    found[0] = _identification(ref.kind, kind)
    if kind == 0:
        for each in pages(tx, ref):
            title = tx.attribute(ref.pid, ref.oid, each, 0)
            own = each - ref.page_base
            found[each] = _identification(ref.kind, own) if own in _PAGES[ref.kind] else (title or _UNIDENTIFIED)
    elif kind == 1:
        found |= _information(tx, ref, names, now)
    elif kind == 5 and ref.kind == ObjectKind.ROOT:
        found = _root_security(names) | found | {_CLOCK: now.to_bytes(6, "big")}
    elif kind == 5 and ref.kind == ObjectKind.PARTITION:
        found = _partition_security(tx, names) | found
    elif kind == _TRACKING_PAGE and ref.kind == ObjectKind.COLLECTION:
        found |= tracking_attributes(tx, ref)
    elif kind == 4 and ref.kind == ObjectKind.USER:
        memberships = tx.memberships(ref.pid, ref.oid)
        found |= {number: cid.to_bytes(8, "big") for number, cid in memberships if number}
    return dict(sorted(found.items()))


def _identification(kind: int, page: int) -> bytes:
    """Attribute 0 of a page: vendor and page name (OSD-2)."""
    name = _FOURTH_NAMES.get(kind, _PAGE_NAMES[page]) if page == 4 else _PAGE_NAMES[page]
    return b"INCITS".ljust(8) + f"T10 {_KIND_NAMES[kind]} {name}".encode().ljust(32)


def _root_security(names: Names) -> dict[int, bytes]:
    """What the root's policy/security page tells where nothing was set."""
    window = NONCE_WINDOW.to_bytes(6, "big")
    known = {1: bytes((names.method,)), 2: window, 3: window, 6: bytes((names.method,))}
    known[7] = names.methods.to_bytes(2, "big")
    known |= {0x80000000 + at: b"\0" for at in range(32)}       # none
    if names.methods > 1:
        known |= {0x80000000: bytes((HMAC_SHA1,)), 0x80000010: bytes((DH_GROUP,))}
    return known


def _partition_security(tx: ObjectTransaction, names: Names) -> dict[int, bytes]:
    """What a partition's policy/security page tells where nothing was set: what holds for it is the root's."""
    root = _root_security(names)
    base = PAGE_BASE[ObjectKind.ROOT] + 5
    above = {number: tx.attribute(0, 0, base, number) or root[number] for number in (1, 2, 3)}
    # No working key is ever frozen: while the list of nonces is full, commands are refused.
    return above | {4: NONCE_LIST_DEPTH.to_bytes(2, "big"), 5: bytes(2), POLICY_ACCESS_TAG: bytes(4)}


def _information(tx: ObjectTransaction, ref: ObjectRef, names: Names, now: int) -> dict[int, bytes]:
    pid, oid = ref.pid, ref.oid
    used = (tx.used(pid, oid) if oid != EVERY_OBJECT else 0).to_bytes(8, "big")
    # What objects take is what they use: there is nothing reserved for them.
    space = {0x81: used, 0xD1: used, 0xD2: bytes(8)}
    match ref.kind:
        case ObjectKind.USER:
            return {
                1: pid.to_bytes(8, "big"), 2: oid.to_bytes(8, "big"), 0x82: tx.length(pid, oid).to_bytes(8, "big"),
                **space,
            }
        case ObjectKind.COLLECTION:
            kind = bytes((collection_type(tx, ref),))
            return {1: pid.to_bytes(8, "big"), 2: oid.to_bytes(8, "big"), 0x0A: kind, 0x81: used}
        case ObjectKind.PARTITION:
            count = tx.count(pid, ObjectKind.USER) + tx.count(pid, ObjectKind.COLLECTION)
            # Copies are made at once, byte by byte: the methods and times of duplication are the default ones.
            methods = dict.fromkeys((0x200, 0x201, 0x300, 0x301), bytes(4))
            return {
                1: pid.to_bytes(8, "big"), 0x84: tx.grain.to_bytes(8, "big"), 0xC1: count.to_bytes(8, "big"), **space,
                **methods,
            }
    identity = names.identity
    return {
        3: names.system_id,
        4: identity.vendor.ljust(8).encode(), 5: identity.product.ljust(16).encode(), 6: b"scsiemu".ljust(32),
        7: identity.revision.ljust(4).encode(), 8: identity.serial.encode(),
        0x0A: MOST_CONTINUATION.to_bytes(4, "big"), 0x80: total_capacity(tx, names).to_bytes(8, "big"), 0x81: used,
        0xC0: tx.count(0, ObjectKind.PARTITION).to_bytes(8, "big"), 0x100: now.to_bytes(6, "big"),
        # Transactions come one after the other: isolation is strict, whichever method is asked for.
        0x110: b"\x02", 0x111: b"\x01\x02\x04\x05".ljust(32, b"\0"),
        # A command is one transaction, its data and its attributes.
        0x120: names.atomic.to_bytes(8, "big"), 0x121: (1).to_bytes(8, "big"), 0x122: names.atomic.to_bytes(8, "big"),
        0x123: b"\x01",
        0x1C1: _NO_LIMIT.to_bytes(4, "big"), 0x1C2: _NO_LIMIT.to_bytes(4, "big"),
        0x1CC: _MOST_BRANCHES.to_bytes(4, "big"),
        # Of methods and times of duplication there is the default; copies are not frozen; snapshots are refreshed.
        0x200: bytes(4), 0x300: bytes(4), 0x310: bytes(4), 0x311: b"\x01",
        **{0x7000000 + kind: MOST_CONTINUATION.to_bytes(4, "big") for kind in CONTINUATION_TYPES},
    }


def page_form(ref: ObjectRef, page: int, found: dict[int, bytes]) -> bytes | None:
    """A page in page form; None where it has none."""
    form = _FORMS.get((ref.kind, page - ref.page_base))
    if form is None:
        return None
    above, working = (0x7FFD, 0x7FFE) if ref.kind == ObjectKind.ROOT else (0x7FFF,), range(0x8000, 0x8010)
    bits = {_KEYS_ABOVE: _bits(found, above[::-1]).to_bytes(1, "big")}
    bits[_WORKING_KEYS] = _bits(found, working).to_bytes(2, "big")
    known = found | bits
    body = b"".join(known.get(number, bytes(length)).rjust(length, b"\0") for number, length in form)
    return struct.pack(">II", page, len(body)) + body


def _bits(found: dict[int, bytes], numbers: Sequence[int]) -> int:
    """Which attributes are there: bit 0 for the first."""
    return sum(1 << bit for bit, number in enumerate(numbers) if number in found)


def set_attribute(
    tx: ObjectTransaction, ref: ObjectRef, wanted: Attribute, names: Names, wrong: SenseCode
) -> None:
    """Set an attribute, or delete it by an empty value.

    Args:
        wrong: what an attribute that may not be set is refused with.

    Raises CheckCondition.
    """
    page, number, data = wanted.page, wanted.number, wanted.value or b""
    if ref.oid == EVERY_OBJECT:
        raise CheckCondition(wrong)
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
        if ref.kind == ObjectKind.PARTITION and kind == ACCESS_PAGE and number:
            if len(data) % 8:
                raise CheckCondition(wrong)             # pages and numbers that may be accessed
            tx.set_attribute(ref.pid, ref.oid, page, number, data or None)
            return
        lengths = _SETTABLE.get((ref.kind, kind), {})
        if number not in lengths:
            raise CheckCondition(wrong)
        length = lengths[number]
        if length is not None and len(data) not in ((length,) if number in (0x82, _CLOCK) else (0, length)):
            raise CheckCondition(wrong)
        if kind == 5 and number in (1, 6) and data and not (data[0] < 16 and names.methods >> data[0] & 1):
            raise CheckCondition(wrong)                 # a security method that is not supported
        if (ref.kind, kind, number) == (ObjectKind.ROOT, 5, _CLOCK):
            moved = int.from_bytes(data, "big") - tx.clock()
            tx.set_attribute(0, 0, PRIVATE_PAGE, CLOCK_OFFSET, moved.to_bytes(8, "big", signed=True))
            return
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

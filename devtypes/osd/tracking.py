"""Collections of all types (OSD-2): linked ones, whose members initiators set; tracking ones, of the objects of another
collection or of the matches of a query, with their command tracking page; and one spontaneous collection in every
partition, which nobody makes: `EVERY_OBJECT` has all user objects as members, so that commands about members and
queries are there for a whole partition. It has no attributes of its own and is in no list of collections. Which
spontaneous collections the standard has we could not check but for where their ids begin.
"""

from __future__ import annotations

from typing import Final

from devtypes.osd.objects import ObjectRef
from scsiemu.object_requests import PRIVATE_PAGE, ObjectKind, ObjectTransaction

__all__ = [
    "EVERY_OBJECT", "LINKED", "SPONTANEOUS", "TRACKING", "collection_type", "finish_tracking", "is_tracking",
    "kind_of", "member_count", "members", "set_type", "tracking_attributes",
]

LINKED: Final = 0x00
TRACKING: Final = 0x01
SPONTANEOUS: Final = 0xEF
EVERY_OBJECT: Final = 0x1082        # COLLECTION_OBJECT_ID
_TYPE: Final = 1
_ENDED: Final = 2
_PROCESSED: Final = 3


def kind_of(tx: ObjectTransaction, pid: int, oid: int) -> int | None:
    """As `ObjectTransaction.kind`, with the spontaneous collection."""
    if oid == EVERY_OBJECT:
        return ObjectKind.COLLECTION if pid and tx.kind(pid, 0) == ObjectKind.PARTITION else None
    return tx.kind(pid, oid)


def members(tx: ObjectTransaction, pid: int, cid: int, start: int, limit: int) -> list[int]:
    """As `ObjectTransaction.members`, of a collection of any type."""
    if cid == EVERY_OBJECT:
        return tx.objects(pid, ObjectKind.USER, start, limit)
    return tx.members(pid, cid, start, limit)


def member_count(tx: ObjectTransaction, pid: int, cid: int, start: int = 0) -> int:
    """As `ObjectTransaction.member_count`, of a collection of any type."""
    if cid == EVERY_OBJECT:
        return tx.count(pid, ObjectKind.USER, start)
    return tx.member_count(pid, cid, start)


def collection_type(tx: ObjectTransaction, ref: ObjectRef) -> int:
    """COLLECTION TYPE."""
    if ref.oid == EVERY_OBJECT:
        return SPONTANEOUS
    raw = tx.attribute(ref.pid, ref.oid, PRIVATE_PAGE, _TYPE)
    return LINKED if raw is None else raw[0]


def is_tracking(tx: ObjectTransaction, ref: ObjectRef) -> bool:
    """Whether it is a user tracking collection."""
    return collection_type(tx, ref) == TRACKING


def set_type(tx: ObjectTransaction, ref: ObjectRef, kind: int) -> None:
    """Keep the COLLECTION TYPE."""
    tx.set_attribute(ref.pid, ref.oid, PRIVATE_PAGE, _TYPE, bytes((kind,)))


def finish_tracking(tx: ObjectTransaction, ref: ObjectRef, service_action: int, processed: int) -> None:
    """A command was done with so many members of a collection: a tracking collection tells of it."""
    if is_tracking(tx, ref):
        tx.set_attribute(ref.pid, ref.oid, PRIVATE_PAGE, _ENDED, service_action.to_bytes(2, "big"))
        tx.set_attribute(ref.pid, ref.oid, PRIVATE_PAGE, _PROCESSED, processed.to_bytes(8, "big"))


def tracking_attributes(tx: ObjectTransaction, ref: ObjectRef) -> dict[int, bytes]:
    """Command tracking page: commands are done when they are answered, so none is ever active."""
    ended = tx.attribute(ref.pid, ref.oid, PRIVATE_PAGE, _ENDED)
    return {
        1: b"\x64" if ended else b"\0", 2: bytes(2), 3: ended or bytes(2),
        0x10: tx.member_count(ref.pid, ref.oid).to_bytes(8, "big"),
        0x11: tx.attribute(ref.pid, ref.oid, PRIVATE_PAGE, _PROCESSED) or bytes(8), 0x12: bytes(8), 0x13: bytes(8),
    }

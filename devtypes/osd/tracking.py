"""Types of collections, and what the command tracking page of a tracking collection tells (OSD-2)."""

from __future__ import annotations

from typing import Final

from devtypes.osd.objects import ObjectRef
from scsiemu.object_requests import PRIVATE_PAGE, ObjectTransaction

__all__ = ["LINKED", "TRACKING", "collection_type", "finish_tracking", "is_tracking", "set_type", "tracking_attributes"]

LINKED: Final = 0x00
TRACKING: Final = 0x01
_TYPE: Final = 1
_ENDED: Final = 2
_PROCESSED: Final = 3


def collection_type(tx: ObjectTransaction, ref: ObjectRef) -> int:
    """COLLECTION TYPE."""
    raw = tx.attribute(ref.pid, ref.oid, PRIVATE_PAGE, _TYPE)
    return LINKED if raw is None else raw[0]


def is_tracking(tx: ObjectTransaction, ref: ObjectRef) -> bool:
    """Whether it is a user tracking collection."""
    return collection_type(tx, ref) == TRACKING


def set_type(tx: ObjectTransaction, ref: ObjectRef, kind: int) -> None:
    """Keep the COLLECTION TYPE."""
    tx.set_attribute(ref.pid, ref.oid, PRIVATE_PAGE, _TYPE, bytes((kind,)))


def finish_tracking(tx: ObjectTransaction, ref: ObjectRef, service_action: int) -> None:
    """A command was done with every member of a tracking collection."""
    if is_tracking(tx, ref):
        count = tx.member_count(ref.pid, ref.oid).to_bytes(8, "big")
        tx.set_attribute(ref.pid, ref.oid, PRIVATE_PAGE, _ENDED, service_action.to_bytes(2, "big"))
        tx.set_attribute(ref.pid, ref.oid, PRIVATE_PAGE, _PROCESSED, count)


def tracking_attributes(tx: ObjectTransaction, ref: ObjectRef) -> dict[int, bytes]:
    """Command tracking page: commands are done when they are answered, so none is ever active."""
    ended = tx.attribute(ref.pid, ref.oid, PRIVATE_PAGE, _ENDED)
    return {
        1: b"\x64" if ended else b"\0", 2: bytes(2), 3: ended or bytes(2),
        0x10: tx.member_count(ref.pid, ref.oid).to_bytes(8, "big"),
        0x11: tx.attribute(ref.pid, ref.oid, PRIVATE_PAGE, _PROCESSED) or bytes(8), 0x12: bytes(8), 0x13: bytes(8),
    }

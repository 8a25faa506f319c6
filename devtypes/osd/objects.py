"""Objects and their ids: the root, partitions, collections, user objects."""

from __future__ import annotations

from typing import Final

from scsiemu import asc
from scsiemu._value import value
from scsiemu.object_requests import PRIVATE_PAGE, ObjectKind, ObjectTransaction
from scsiemu.sense import CheckCondition

__all__ = ["FIRST_ID", "PAGE_BASE", "ROOT", "ObjectRef", "free_ids"]

# Partitions, user objects and collections that initiators make are numbered from here.
FIRST_ID: Final = 0x10000

_NEXT_FREE: Final = 0x101           # of the private page of a partition, of the root for partitions

# Where the attribute pages of each kind begin.
PAGE_BASE: Final = {
    ObjectKind.USER: 0, ObjectKind.PARTITION: 0x30000000, ObjectKind.COLLECTION: 0x60000000,
    ObjectKind.ROOT: 0x90000000,
}


@value
class ObjectRef:
    """An object, by its ids and kind."""

    pid: int
    oid: int
    kind: int

    @property
    def page_base(self) -> int:
        """Number of its directory page."""
        return PAGE_BASE[self.kind]


ROOT: Final = ObjectRef(0, 0, ObjectKind.ROOT)


def free_ids(tx: ObjectTransaction, pid: int, number: int = 1) -> int:
    """The first of consecutive ids that are free in a partition (of partitions, where `pid` is 0): behind the highest
    one, and when that is the last there is, wherever there is room. Raises CheckCondition where there is none."""
    behind = max(tx.last(pid) + 1, FIRST_ID)
    if behind + number <= 1 << 64:
        return behind
    # The search goes on where the last one ended, so that it does not come by the same objects each time.
    start = int.from_bytes(tx.attribute(pid, 0, PRIVATE_PAGE, _NEXT_FREE) or b"", "big")
    first = tx.free(pid, max(start, FIRST_ID), number)
    if first is None:
        first = tx.free(pid, FIRST_ID, number)
    if first is None:
        raise CheckCondition(asc.SYSTEM_RESOURCE_FAILURE)
    tx.set_attribute(pid, 0, PRIVATE_PAGE, _NEXT_FREE, (first + number).to_bytes(9, "big"))
    return first

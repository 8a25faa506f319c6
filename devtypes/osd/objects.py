"""Objects and their ids: the root, partitions, collections, user objects."""

from __future__ import annotations

from typing import Final

from scsiemu._value import value
from scsiemu.object_requests import ObjectKind

__all__ = ["FIRST_ID", "PAGE_BASE", "ROOT", "ObjectRef"]

# Partitions, user objects and collections that initiators make are numbered from here.
FIRST_ID: Final = 0x10000

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

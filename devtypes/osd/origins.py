"""Where a partition came from: made by itself, a snapshot, a clone (OSD-2)."""

from __future__ import annotations

import struct
from typing import Final

from scsiemu._value import value
from scsiemu.object_requests import PRIVATE_PAGE, ObjectTransaction

__all__ = ["Origin", "origin", "set_origin"]

_NUMBER: Final = 0x100
_FORM: Final = struct.Struct(">BQQ")


@value
class Origin:
    """See the module.

    Args:
        kind: NONE, SNAPSHOT or CLONE.
        source: partition that it was copied from; it need not be there any more.
        depth: how many copies lie between it and a partition that was made by itself.
    """

    NONE = 0
    SNAPSHOT = 1
    CLONE = 2

    kind: int = NONE
    source: int = 0
    depth: int = 0


def origin(tx: ObjectTransaction, pid: int) -> Origin:
    """Of a partition, which need not be there."""
    raw = tx.attribute(pid, 0, PRIVATE_PAGE, _NUMBER)
    return Origin(*_FORM.unpack(raw)) if raw is not None else Origin()


def set_origin(tx: ObjectTransaction, pid: int, known: Origin | None) -> None:
    """Keep it, or forget it."""
    raw = None if known is None else _FORM.pack(known.kind, known.source, known.depth)
    tx.set_attribute(pid, 0, PRIVATE_PAGE, _NUMBER, raw)

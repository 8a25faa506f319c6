"""The virtual disk: a direct access block device (SBC-4), put together of its parts.

Not here: XOR commands, WRITE SCATTERED, zones, depopulation, ROD tokens.
"""

from __future__ import annotations

from typing import ClassVar, Final

from devtypes.vd.copy import ThirdPartyCopy
from devtypes.vd.defects import Defects
from devtypes.vd.shelved import ShelvedMedia

__all__ = ["VirtualDisk"]

_WRITERS: Final = (
    "WRITE(6)", "WRITE(10)", "WRITE(12)", "WRITE(16)", "WRITE(32)", "WRITE AND VERIFY(10)", "WRITE AND VERIFY(12)",
    "WRITE AND VERIFY(16)", "WRITE AND VERIFY(32)", "WRITE ATOMIC(16)", "WRITE STREAM(16)", "ORWRITE(16)",
    "COMPARE AND WRITE", "WRITE SAME(10)", "WRITE SAME(16)", "WRITE SAME(32)", "UNMAP", "REASSIGN BLOCKS",
)


class VirtualDisk(ShelvedMedia, ThirdPartyCopy, Defects):
    """A direct access block device. Args are those of `DiskBase`."""

    medium_writers: ClassVar[frozenset[str]] = frozenset(_WRITERS)

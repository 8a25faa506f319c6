"""The object storage device, OSD-1 and OSD-2, put together of its parts.

Both versions are one unit, told apart by the service action.
"""

from __future__ import annotations

from devtypes.osd.atomic_commands import AtomicCommands
from devtypes.osd.copy_commands import CopyCommands
from devtypes.osd.group_commands import GroupCommands
from devtypes.osd.key_commands import KeyCommands
from devtypes.osd.member_commands import MemberCommands
from devtypes.osd.object_commands import ObjectCommands
from devtypes.osd.perform_commands import PerformCommands

__all__ = ["ObjectStorageDevice"]


class ObjectStorageDevice(
    ObjectCommands, GroupCommands, MemberCommands, CopyCommands, PerformCommands, AtomicCommands, KeyCommands
):
    """An object storage device. Args are those of `OsdBase`."""

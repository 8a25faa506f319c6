"""The object storage device, OSD-1 and OSD-2, put together of its parts.

Both versions are one unit, told apart by the service action. Not here, and so refused by their service action: OBJECT
STRUCTURE CHECK, QUERY, GET and SET MEMBER ATTRIBUTES, user tracking collections, COPY USER OBJECTS, snapshots and
clones, READ MAPS AND COMPARE, PERFORM SCSI COMMAND, PERFORM TASK MANAGEMENT FUNCTION. Not
here, and so refused by their field: CDB continuation.
"""

from __future__ import annotations

from devtypes.osd.group_commands import GroupCommands
from devtypes.osd.key_commands import KeyCommands
from devtypes.osd.object_commands import ObjectCommands

__all__ = ["ObjectStorageDevice"]


class ObjectStorageDevice(ObjectCommands, GroupCommands, KeyCommands):
    """An object storage device. Args are those of `OsdBase`."""

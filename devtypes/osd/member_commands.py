"""Commands about all members of a collection, and tracking collections (OSD-2): CREATE USER TRACKING COLLECTION, QUERY,
GET and SET MEMBER ATTRIBUTES, REMOVE MEMBER OBJECTS.

Each is one transaction over all members, whatever their number: other commands wait for it. A tracking collection has
the members that its source had when it was made, or that queries matched; its command tracking page tells of the last
command that changed something. IMMED_TR, where there is such a page to tell of the command, lets the answer come
before the command is done: it never has to, and comes when all is done. Where there is none it is refused.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from devtypes.osd.attribute_pages import APPLICATION_PAGES, page_attributes
from devtypes.osd.base import OsdBase
from devtypes.osd.capability import Permission
from devtypes.osd.continuation import Criterion, DescriptorType
from devtypes.osd.execution import Order, Work
from devtypes.osd.group_commands import create_collection
from devtypes.osd.layouts import osd_operation
from devtypes.osd.objects import ObjectRef
from devtypes.osd.tracking import (
    TRACKING,
    finish_tracking,
    is_tracking,
    kind_of,
    member_count,
    members,
    set_type,
)
from scsiemu import asc
from scsiemu.cdb import CdbFields
from scsiemu.command import Command, Steps
from scsiemu.object_requests import ObjectKind
from scsiemu.operations import ReservationClass
from scsiemu.sense import CheckCondition, FieldPointer

__all__ = ["MemberCommands"]

_IDS: Final = "partition_id:64 object_id:64"
_MEMBERS: Final = (None, f"{_IDS} _:128 cdb_continuation_length:32")
_TRACKING: Final = (None, f"{_IDS} _:64 source_collection_id:64 cdb_continuation_length:32")
_QUERY: Final = (None, f"{_IDS} allocation_length:64 matches_collection_id:64 cdb_continuation_length:32")
_IMMED: Final = ("_:2 cdbfmt:2 _:4", "immed_tr _ cdbfmt:2 _:4")
_CRITERIA: Final = frozenset((DescriptorType.QUERY, DescriptorType.EXTENSION_CAPABILITIES))
_SOME: Final = 1024
_MOST_MEMBERS: Final = 1 << 20      # whose attributes one command sets or gets
_OBJECTS: Final = 0x21              # OBJECT DESCRIPTOR FORMAT: ids of user objects
# Of QUERY data: as Wireshark has it, and as in LIST the format is the last byte of it. The OSC target put it one byte
# behind, so that ids began at 13.
_HEADER: Final = 12


class MemberCommands(OsdBase):
    """See the module."""

    @osd_operation(0x14, "CREATE USER TRACKING COLLECTION", _TRACKING, byte_11=_IMMED)
    def osd_create_user_tracking_collection(self, command: Command, cdb: CdbFields) -> Steps:
        """A collection with the members of another one, or with none."""
        pid, source = cdb.partition_id, cdb.source_collection_id

        def function(work: Work) -> bytes:
            if source and kind_of(work.tx, pid, source) != ObjectKind.COLLECTION:
                raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="source_collection_id")
            create_collection(work)
            made = work.affected[0]
            set_type(work.tx, made, TRACKING)
            count = 0
            for oid in _members(work, source) if source else ():
                work.tx.join(pid, made.oid, oid, 0)
                count += 1
            finish_tracking(work.tx, made, cdb.service_action, count)
            return b""

        return self.carry_out(command, cdb, _collection(cdb), function, Permission.CREATE)

    @osd_operation(0x20, "QUERY", _QUERY, conflict=ReservationClass.SPECIAL, byte_11=_IMMED)
    def osd_query(self, command: Command, cdb: CdbFields) -> Steps:
        """Which members of a collection have attributes within bounds; they come as data, or into a collection."""
        if cdb.immed_tr and not cdb.matches_collection_id:
            raise _no_page()
        if not cdb.cdb_continuation_length:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="cdb_continuation_length")
        matches = cdb.matches_collection_id
        most = min(cdb.allocation_length, self.config.max_transfer)

        def function(work: Work) -> bytes:
            work.require(work.ref)
            into = ObjectRef(work.ref.pid, matches, ObjectKind.COLLECTION)
            if matches:
                work.check_extension(into, Permission.WRITE)
                there = work.tx.kind(into.pid, matches) == ObjectKind.COLLECTION
                if not there or not is_tracking(work.tx, into) or matches == work.ref.oid:
                    raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="matches_collection_id")
            found: list[bytes] = []
            count = seen = 0
            for oid in _members(work, work.ref.oid):
                seen += 1
                if not _matches(work, oid):
                    continue
                count += 1
                if matches:
                    work.tx.join(into.pid, matches, oid, 0)
                elif _HEADER + 8 * len(found) < most:
                    found.append(oid.to_bytes(8, "big"))
            if matches:
                finish_tracking(work.tx, into, cdb.service_action, seen)
            head = struct.pack(">Q3xB", 4 + 8 * (0 if matches else count), _OBJECTS << 2)
            return (head + b"".join(found))[:most]

        return self.carry_out(
            command, cdb, _collection(cdb), function, Permission.READ | Permission.QUERY, descriptors=_CRITERIA
        )

    @osd_operation(0x22, "GET MEMBER ATTRIBUTES", _MEMBERS, conflict=ReservationClass.SPECIAL, byte_11=_IMMED)
    def osd_get_member_attributes(self, command: Command, cdb: CdbFields) -> Steps:
        """Get, then set attributes of every member; a list of type Eh comes back."""
        return self._member_attributes(command, cdb, Permission.GET_ATTRIBUTES, Order.GET_FIRST)

    @osd_operation(0x23, "SET MEMBER ATTRIBUTES", _MEMBERS, byte_11=_IMMED)
    def osd_set_member_attributes(self, command: Command, cdb: CdbFields) -> Steps:
        """Set, then get attributes of every member."""
        return self._member_attributes(command, cdb, Permission.SET_ATTRIBUTES, Order.AFTER)

    def _member_attributes(self, command: Command, cdb: CdbFields, needed: int, order: str) -> Steps:
        if cdb.immed_tr and needed == Permission.GET_ATTRIBUTES:
            raise _no_page()                            # what is asked for has to come with the answer

        def function(work: Work) -> bytes:
            work.require(work.ref)
            _check_immediate(work)
            if member_count(work.tx, work.ref.pid, work.ref.oid) > _MOST_MEMBERS:
                raise CheckCondition(asc.SYSTEM_RESOURCE_FAILURE)
            pid = work.ref.pid
            work.affected = [ObjectRef(pid, oid, ObjectKind.USER) for oid in _members(work, work.ref.oid)]
            work.each = True
            if needed == Permission.SET_ATTRIBUTES:     # who only reads leaves no trace
                finish_tracking(work.tx, work.ref, cdb.service_action, len(work.affected))
            return b""

        # M_OBJECT: the capability is about many objects.
        return self.carry_out(command, cdb, _collection(cdb), function, needed | Permission.MULTI_OBJECT, order=order)

    @osd_operation(0x21, "REMOVE MEMBER OBJECTS", _MEMBERS, byte_11=_IMMED)
    def osd_remove_member_objects(self, command: Command, cdb: CdbFields) -> Steps:
        """Remove every user object that is a member of a collection; the collection stays."""

        def function(work: Work) -> bytes:
            pid, cid = work.ref.pid, work.ref.oid
            _check_immediate(work)
            count = 0
            while some := members(work.tx, pid, cid, 0, _SOME):
                for oid in some:
                    work.tx.remove(pid, oid)
                count += len(some)
            finish_tracking(work.tx, work.ref, cdb.service_action, count)
            return b""

        needed = Permission.REMOVE | Permission.MULTI_OBJECT
        return self.carry_out(command, cdb, _collection(cdb), function, needed, order=Order.BEFORE)


def _collection(cdb: CdbFields) -> ObjectRef:
    return ObjectRef(cdb.partition_id, cdb.object_id, ObjectKind.COLLECTION)


def _no_page() -> CheckCondition:
    """IMMED_TR where no command tracking page could tell how the command goes on."""
    return CheckCondition(asc.INVALID_FIELD_IN_CDB, pointer=FieldPointer(11, 7))


def _check_immediate(work: Work) -> None:
    if work.cdb.immed_tr and not is_tracking(work.tx, work.ref):
        raise _no_page()


def _members(work: Work, cid: int) -> Iterator[int]:
    """All members of a collection; it may lose those that have come."""
    start = 0
    while some := members(work.tx, work.ref.pid, cid, start, _SOME):
        yield from some
        start = some[-1] + 1
        if start >= 1 << 64:
            return


def _matches(work: Work, oid: int) -> bool:
    """Whether the attributes of a user object are within the bounds of the query; every one is for an empty list."""
    criteria = work.segment.criteria
    if not criteria:
        return True
    ref = ObjectRef(work.ref.pid, oid, ObjectKind.USER)
    within = (_within(work, ref, each) for each in criteria)
    return all(within) if work.segment.every else any(within)


def _within(work: Work, ref: ObjectRef, wanted: Criterion) -> bool:
    if wanted.page < APPLICATION_PAGES:
        found = page_attributes(work.tx, ref, wanted.page, work.names, work.now).get(wanted.number)
    else:
        found = work.tx.attribute(ref.pid, ref.oid, wanted.page, wanted.number)
    if not found:
        return False
    return (not wanted.least or found >= wanted.least) and (not wanted.greatest or found <= wanted.greatest)

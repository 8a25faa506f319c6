"""Copies (OSD-2): CREATE SNAPSHOT, CREATE CLONE, DETACH CLONE, REFRESH SNAPSHOT OR CLONE, RESTORE PARTITION FROM
SNAPSHOT, COPY USER OBJECTS; and what compares and checks: READ MAPS AND COMPARE, OBJECT STRUCTURE CHECK.

A snapshot is a partition that no command changes, a clone one that commands change; both begin as what their source was
at one moment, in one transaction that copies everything. Which fields of the CDB these commands have we could not
check: the partition of the command is at byte 16, the other one (of a new copy the requested id, of RESTORE the
snapshot) at byte 24. Long copies make others wait.
"""

from __future__ import annotations

from typing import Final

from devtypes.osd.attribute_pages import APPLICATION_PAGES, number_of
from devtypes.osd.base import OsdBase
from devtypes.osd.capability import Permission
from devtypes.osd.continuation import CopySource, DescriptorType
from devtypes.osd.execution import Work
from devtypes.osd.keys import KeyTree
from devtypes.osd.layouts import osd_operation
from devtypes.osd.object_commands import create_objects, map_data
from devtypes.osd.objects import FIRST_ID, PAGE_BASE, ROOT, ObjectRef, free_ids
from devtypes.osd.origins import Origin, origin, set_origin
from scsiemu import asc
from scsiemu.cdb import CdbFields
from scsiemu.command import Command, Steps
from scsiemu.io_requests import ExtentKind
from scsiemu.object_requests import PRIVATE_PAGE, ObjectKind, ObjectTransaction
from scsiemu.operations import ReservationClass
from scsiemu.sense import CheckCondition

__all__ = ["CopyCommands"]

_IDS: Final = "partition_id:64 object_id:64"
_PAIR: Final = (None, "partition_id:64 other_partition_id:64 _:128 cdb_continuation_length:32")
_ONE: Final = (None, "partition_id:64 _:192 cdb_continuation_length:32")
_COPY: Final = (None, f"{_IDS} _:128 cdb_continuation_length:32")
_MAPS: Final = (None, f"{_IDS} allocation_length:64 starting_byte_address:64 cdb_continuation_length:32")
_SOURCES: Final = frozenset((DescriptorType.COPY_SOURCE, DescriptorType.EXTENSION_CAPABILITIES))
_USER_OBJECTS: Final = frozenset((DescriptorType.USER_OBJECT, DescriptorType.EXTENSION_CAPABILITIES))
_MOST_DEPTH: Final = 255
_SOME: Final = 1024
_STEP: Final = 1 << 20
_PIECE: Final = 4096
_MOST_DESCRIPTORS: Final = 65536


class CopyCommands(OsdBase):
    """See the module."""

    @osd_operation(0x29, "CREATE SNAPSHOT", _PAIR)
    def osd_create_snapshot(self, command: Command, cdb: CdbFields) -> Steps:
        """A partition that stays as this one is now."""
        return self._create(command, cdb, Origin.SNAPSHOT)

    @osd_operation(0x28, "CREATE CLONE", _PAIR)
    def osd_create_clone(self, command: Command, cdb: CdbFields) -> Steps:
        """A partition that begins as this one is now."""
        return self._create(command, cdb, Origin.CLONE)

    def _create(self, command: Command, cdb: CdbFields, kind: int) -> Steps:
        wanted = cdb.other_partition_id

        def function(work: Work) -> bytes:
            tx, pid = work.tx, work.ref.pid
            work.require(work.ref)
            if wanted and (wanted < FIRST_ID or tx.kind(wanted, 0) is not None):
                raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="other_partition_id")
            depth = origin(tx, pid).depth + 1
            if depth > _MOST_DEPTH:
                raise CheckCondition(asc.SYSTEM_RESOURCE_FAILURE)
            new = wanted or free_ids(tx, 0)
            limit = number_of(tx, ROOT, 2, 0x20002)
            if limit is not None and tx.count(0, ObjectKind.PARTITION) >= limit:
                raise CheckCondition(asc.QUOTA_ERROR)
            tx.copy_partition(pid, new)
            # Keys are for one partition: those of the source are no keys of the copy.
            KeyTree.forget(tx, new)
            set_origin(tx, new, Origin(kind, pid, depth))
            work.check_capacity(new)
            work.affected = [ObjectRef(new, 0, ObjectKind.PARTITION)]
            return b""

        needed = Permission.CREATE | Permission.READ | Permission.WRITE
        return self.carry_out(command, cdb, _partition(cdb), function, needed, in_snapshots=True)

    @osd_operation(0x2A, "DETACH CLONE", _ONE)
    def osd_detach_clone(self, command: Command, cdb: CdbFields) -> Steps:
        """A clone becomes a partition by itself."""

        def function(work: Work) -> bytes:
            work.require(work.ref)
            if origin(work.tx, work.ref.pid).kind != Origin.CLONE:
                raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="partition_id")
            set_origin(work.tx, work.ref.pid, None)
            return b""

        return self.carry_out(command, cdb, _partition(cdb), function, Permission.WRITE)

    @osd_operation(0x2B, "REFRESH SNAPSHOT OR CLONE", _ONE)
    def osd_refresh_snapshot_or_clone(self, command: Command, cdb: CdbFields) -> Steps:
        """A copy becomes what its source is now."""

        def function(work: Work) -> bytes:
            work.require(work.ref)
            known = origin(work.tx, work.ref.pid)
            if known.kind == Origin.NONE or work.tx.kind(known.source, 0) != ObjectKind.PARTITION:
                raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="partition_id")
            _replace(work.tx, known.source, work.ref.pid)
            work.check_capacity(work.ref.pid)
            return b""

        needed = Permission.READ | Permission.WRITE
        return self.carry_out(command, cdb, _partition(cdb), function, needed, in_snapshots=True)

    @osd_operation(0x2C, "RESTORE PARTITION FROM SNAPSHOT", _PAIR)
    def osd_restore_partition_from_snapshot(self, command: Command, cdb: CdbFields) -> Steps:
        """A partition becomes what its snapshot is."""
        snapshot = cdb.other_partition_id

        def function(work: Work) -> bytes:
            work.require(work.ref)
            known = origin(work.tx, snapshot)
            if (known.kind, known.source) != (Origin.SNAPSHOT, work.ref.pid):
                raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="other_partition_id")
            _replace(work.tx, snapshot, work.ref.pid)
            work.check_capacity(work.ref.pid)
            return b""

        return self.carry_out(command, cdb, _partition(cdb), function, Permission.READ | Permission.WRITE)

    @osd_operation(0x13, "COPY USER OBJECTS", _COPY)
    def osd_copy_user_objects(self, command: Command, cdb: CdbFields) -> Steps:
        """New objects with the data of those that the copy source descriptors name, and perhaps their attributes."""
        if not cdb.cdb_continuation_length:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="cdb_continuation_length")

        def function(work: Work) -> bytes:
            sources = work.segment.sources
            if not sources or (len(sources) > 1 and work.ref.oid):
                raise CheckCondition(asc.INVALID_FIELD_IN_PARAMETER_LIST)
            for each in sources:
                if work.tx.kind(each.pid, each.oid) != ObjectKind.USER:
                    raise CheckCondition(asc.INVALID_FIELD_IN_PARAMETER_LIST)
                work.check_extension(ObjectRef(each.pid, each.oid, ObjectKind.USER), Permission.READ)
            create_objects(work, len(sources))
            for made, each in zip(work.affected, sources, strict=True):
                _copy_object(work, each, made)
            work.check_capacity(work.ref.pid)
            return b""

        needed = Permission.CREATE | Permission.WRITE | Permission.READ
        ref = ObjectRef(cdb.partition_id, cdb.object_id, ObjectKind.USER)
        return self.carry_out(command, cdb, ref, function, needed, descriptors=_SOURCES)

    @osd_operation(0x32, "READ MAPS AND COMPARE", _MAPS, conflict=ReservationClass.SPECIAL)
    def osd_read_maps_and_compare(self, command: Command, cdb: CdbFields) -> Steps:
        """Where a user object's data differs from that of another, as READ MAP tells what was written."""
        if not cdb.cdb_continuation_length:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="cdb_continuation_length")

        def function(work: Work) -> bytes:
            work.require(work.ref)
            if len(work.segment.objects) != 1:
                raise CheckCondition(asc.INVALID_FIELD_IN_PARAMETER_LIST)
            ((pid, oid),) = work.segment.objects
            if work.tx.kind(pid, oid) != ObjectKind.USER:
                raise CheckCondition(asc.INVALID_FIELD_IN_PARAMETER_LIST)
            other = ObjectRef(pid, oid, ObjectKind.USER)
            work.check_extension(other, Permission.READ)
            return _compare(work, other)

        ref = ObjectRef(cdb.partition_id, cdb.object_id, ObjectKind.USER)
        return self.carry_out(command, cdb, ref, function, Permission.READ, descriptors=_USER_OBJECTS)

    @osd_operation(0x00, "OBJECT STRUCTURE CHECK", _ONE, conflict=ReservationClass.SPECIAL)
    def osd_object_structure_check(self, command: Command, cdb: CdbFields) -> Steps:
        """Whether objects, members and sizes of a partition (of all, where the id is 0) fit together."""
        pid = cdb.partition_id

        def function(work: Work) -> bytes:
            start = pid
            if pid:
                work.require(work.ref)
                _check(work.tx, pid)
                return b""
            while some := work.tx.objects(0, ObjectKind.PARTITION, start, _SOME):
                for each in some:
                    _check(work.tx, each)
                start = some[-1] + 1
            return b""

        ref = _partition(cdb) if pid else ROOT
        return self.carry_out(command, cdb, ref, function, Permission.DEVICE_MANAGEMENT, in_snapshots=True)


def _partition(cdb: CdbFields) -> ObjectRef:
    return ObjectRef(cdb.partition_id, 0, ObjectKind.PARTITION)


def _replace(tx: ObjectTransaction, source: int, pid: int) -> None:
    """Make a partition a copy of another; its security stays its own."""
    pages = (PAGE_BASE[ObjectKind.PARTITION] + 5, PRIVATE_PAGE)
    kept = [each for page in pages for each in tx.attributes(pid, 0, page)]
    for kind in (ObjectKind.COLLECTION, ObjectKind.USER):
        while some := tx.objects(pid, kind, 0, _SOME):
            for oid in some:
                tx.remove(pid, oid)
    tx.remove(pid, 0)
    tx.copy_partition(source, pid)
    for copied in [each for page in pages for each in tx.attributes(pid, 0, page)]:
        tx.set_attribute(pid, 0, copied[0], copied[1], None)
    for each in kept:
        tx.set_attribute(pid, 0, *each)


def _copy_object(work: Work, source: CopySource, made: ObjectRef) -> None:
    length = work.tx.length(source.pid, source.oid)
    work.check_quotas(made, length)
    work.tx.copy_data(source.pid, source.oid, made.pid, made.oid)
    if source.attributes:
        for page, number, data in work.tx.attributes(source.pid, source.oid, None):
            if page >= APPLICATION_PAGES or (page, number) == (1, 9):
                work.tx.set_attribute(made.pid, made.oid, page, number, data)


def _check(tx: ObjectTransaction, pid: int) -> None:
    """Refuse a partition whose parts do not fit together."""
    used = objects = 0
    for kind in (ObjectKind.COLLECTION, ObjectKind.USER):
        start = 0
        while some := tx.objects(pid, kind, start, _SOME):
            objects += len(some)
            for oid in some:
                used += tx.used(pid, oid)
                if any(tx.kind(pid, cid) != ObjectKind.COLLECTION for _, cid in tx.memberships(pid, oid)):
                    raise CheckCondition(asc.UNRECOVERED_READ_ERROR)
            start = some[-1] + 1
            if start >= 1 << 64:
                break
    counted = tx.count(pid, ObjectKind.COLLECTION) + tx.count(pid, ObjectKind.USER)
    if (used, objects) != (tx.used(pid, 0), counted):
        raise CheckCondition(asc.UNRECOVERED_READ_ERROR)


def _compare(work: Work, other: ObjectRef) -> bytes:
    """Parameter data of READ MAPS AND COMPARE: descriptors of the ranges that differ, in whole pieces."""
    cdb, tx, ref = work.cdb, work.tx, work.ref
    ends = tx.length(ref.pid, ref.oid), tx.length(other.pid, other.oid)
    end = max(ends)
    found: list[tuple[int, int]] = []
    at = cdb.starting_byte_address
    while at < end and len(found) < _MOST_DESCRIPTORS:
        both = [_next(tx, each, at, limit, end) for each, limit in zip((ref, other), ends, strict=True)]
        length = min(size for _, size in both)
        if any(data for data, _ in both):
            length = min(length, _STEP)
            one, two = (_read(tx, each, at, length, limit) for each, limit in zip((ref, other), ends, strict=True))
            for low in range(0, length, _PIECE):
                if one[low : low + _PIECE] != two[low : low + _PIECE]:
                    _add(found, at + low, min(_PIECE, length - low))
        at += length
    behind = max(min(ends), cdb.starting_byte_address)         # what one has behind the other's end
    if behind < end and (not found or sum(found[-1]) < end):
        _add(found, behind, end - behind)
    return map_data(((1, start, size) for start, size in found), cdb.allocation_length)


def _next(tx: ObjectTransaction, ref: ObjectRef, at: int, limit: int, end: int) -> tuple[bool, int]:
    """Whether there is data at an offset, and for how many bytes what is said holds."""
    if at >= limit:
        return False, end - at
    (extent,) = tx.extents(ref.pid, ref.oid, at, 1)
    return extent.kind == ExtentKind.DATA, extent.length


def _read(tx: ObjectTransaction, ref: ObjectRef, at: int, length: int, limit: int) -> bytes:
    there = max(0, min(length, limit - at))
    return (tx.read(ref.pid, ref.oid, at, there) if there else b"").ljust(length, b"\0")


def _add(found: list[tuple[int, int]], at: int, size: int) -> None:
    """Another range that differs, joined to the one before it."""
    if found and sum(found[-1]) >= at and found[-1][0] <= at:
        found[-1] = (found[-1][0], max(sum(found[-1]), at + size) - found[-1][0])
    else:
        found.append((at, size))

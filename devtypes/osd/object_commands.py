"""Commands of user objects (OSD-2 6): create, read, write, append, punch, clear, flush, remove, map, attributes."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import Final

from devtypes.osd.attribute_pages import CURRENT_COMMAND, POLICY_ACCESS_TAG, USER_OBJECT_TAG, number_of
from devtypes.osd.base import OsdBase
from devtypes.osd.capability import Permission
from devtypes.osd.continuation import DescriptorType
from devtypes.osd.execution import Order, Work
from devtypes.osd.layouts import osd_operation
from devtypes.osd.objects import FIRST_ID, ObjectRef, free_ids
from scsiemu import asc
from scsiemu.cdb import CdbFields
from scsiemu.command import Command, Steps
from scsiemu.io_requests import Extent, ExtentKind
from scsiemu.object_requests import ObjectKind
from scsiemu.operations import ReservationClass
from scsiemu.sense import CheckCondition, FieldPointer, Sense, SenseKey

__all__ = ["ObjectCommands", "create_objects", "map_data"]

_IDS: Final = "partition_id:64 object_id:64"
_DATA: Final = (
    f"{_IDS} _:32 length:64 starting_byte_address:64",
    f"{_IDS} length:64 starting_byte_address:64 cdb_continuation_length:32",
)
_APPEND: Final = (f"{_IDS} _:32 length:64 _:64", f"{_IDS} length:64 _:64 cdb_continuation_length:32")
_CREATE: Final = (
    f"{_IDS} _:32 number_of_user_objects:16 _:112",
    f"{_IDS} number_of_user_objects:16 _:112 cdb_continuation_length:32",
)
_PLAIN: Final = (f"{_IDS} _:160", f"{_IDS} _:128 cdb_continuation_length:32")
_FLUSH: Final = "_:3 dpo? fua _ flush_scope:2"
_MAP: Final = f"{_IDS} allocation_length:64 starting_byte_address:64 map_type:16 _:16"
_RANGES: Final = frozenset((DescriptorType.SCATTER_GATHER,))
_STEP: Final = 1 << 20
_MOST_DESCRIPTORS: Final = 65536
_LONGEST: Final = 0xFFFFFFFF            # bytes of one descriptor of a map
_WRITTEN, _HOLE = 1, 2                  # types of descriptors


class ObjectCommands(OsdBase):
    """See the module."""

    @osd_operation(0x02, "CREATE", _CREATE)
    def osd_create(self, command: Command, cdb: CdbFields) -> Steps:
        """User objects, of the requested id or of ids that are free; attributes of each where there are several."""

        def function(work: Work) -> bytes:
            create_objects(work)
            if len(work.affected) > 1:
                # A page has no room for several objects, but that of the command is the same for all.
                if work.parameters.form == 2 and work.parameters.get_page not in (0, CURRENT_COMMAND):
                    raise CheckCondition(asc.INVALID_FIELD_IN_CDB, pointer=FieldPointer(52))
                work.each = work.parameters.form == 3
            return b""

        return self.carry_out(command, cdb, _user(cdb), function, Permission.CREATE)

    @osd_operation(0x12, "CREATE AND WRITE", _DATA)
    def osd_create_and_write(self, command: Command, cdb: CdbFields) -> Steps:
        """One user object with data."""

        def function(work: Work) -> bytes:
            create_objects(work)
            return _write(work, work.affected[-1], work.extents)

        needed = Permission.CREATE | Permission.WRITE
        return self.carry_out(
            command, cdb, _user(cdb), function, needed, data_length=cdb.length, extents=_extents(cdb),
            descriptors=_RANGES,
        )

    @osd_operation(0x05, "READ", _DATA, conflict=ReservationClass.SPECIAL)
    def osd_read(self, command: Command, cdb: CdbFields) -> Steps:
        """Data; past the logical length what there is, with RECOVERED ERROR."""
        if cdb.length > self.config.max_transfer:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="length")
        return self.carry_out(
            command, cdb, _user(cdb), _read, Permission.READ, extents=_extents(cdb), descriptors=_RANGES
        )

    @osd_operation(0x06, "WRITE", _DATA)
    def osd_write(self, command: Command, cdb: CdbFields) -> Steps:
        """Data at an offset; the object grows to its end."""

        def function(work: Work) -> bytes:
            work.require(work.ref)
            return _write(work, work.ref, work.extents)

        return self.carry_out(
            command, cdb, _user(cdb), function, Permission.WRITE, data_length=cdb.length, extents=_extents(cdb),
            descriptors=_RANGES,
        )

    @osd_operation(0x07, "APPEND", _APPEND)
    def osd_append(self, command: Command, cdb: CdbFields) -> Steps:
        """Data behind the logical length, which the current command page tells."""

        def function(work: Work) -> bytes:
            work.require(work.ref)
            work.append_address = work.tx.length(work.ref.pid, work.ref.oid)
            work.check_range(work.append_address, cdb.length)
            return _write(work, work.ref, ((work.append_address, cdb.length),))

        return self.carry_out(command, cdb, _user(cdb), function, Permission.APPEND, data_length=cdb.length)

    @osd_operation(0x04, "PUNCH", (None, _DATA[1]))
    def osd_punch(self, command: Command, cdb: CdbFields) -> Steps:
        """Take a range out; what lies behind it moves down."""
        return self.carry_out(command, cdb, _user(cdb), _punch, Permission.WRITE, extents=_extents(cdb))

    @osd_operation(0x09, "CLEAR", (None, _DATA[1]))
    def osd_clear(self, command: Command, cdb: CdbFields) -> Steps:
        """Zeros over a range; the object grows to its end."""
        return self.carry_out(command, cdb, _user(cdb), _clear, Permission.WRITE, extents=_extents(cdb))

    @osd_operation(0x08, "FLUSH", (f"{_IDS} _:160", _DATA[1]), options=_FLUSH)
    def osd_flush(self, command: Command, cdb: CdbFields) -> Steps:
        """Everything that was answered is on stable storage afterwards."""
        if cdb.flush_scope > 2:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="flush_scope")
        return self.carry_out(
            command, cdb, _user(cdb), _nothing, Permission.OBJECT_MANAGEMENT, durable=True, in_snapshots=True
        )

    @osd_operation(0x0A, "REMOVE", _PLAIN)
    def osd_remove(self, command: Command, cdb: CdbFields) -> Steps:
        """Remove a user object."""

        def function(work: Work) -> bytes:
            work.tx.remove(work.ref.pid, work.ref.oid)
            return b""

        return self.carry_out(command, cdb, _user(cdb), function, Permission.REMOVE, order=Order.BEFORE)

    @osd_operation(0x31, "READ MAP", (None, _MAP), conflict=ReservationClass.SPECIAL)
    def osd_read_map(self, command: Command, cdb: CdbFields) -> Steps:
        """Which ranges of a user object were written, and which are holes."""
        if cdb.map_type > 2:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="map_type")
        return self.carry_out(command, cdb, _user(cdb), _read_map, Permission.READ)


def _user(cdb: CdbFields) -> ObjectRef:
    return ObjectRef(cdb.partition_id, cdb.object_id, ObjectKind.USER)


def _extents(cdb: CdbFields) -> tuple[tuple[int, int], ...]:
    return ((cdb.starting_byte_address, cdb.length),)


def _nothing(work: Work) -> bytes:
    work.require(work.ref)
    return b""


def create_objects(work: Work, number: int = 0) -> bytes:
    """CREATE: consecutive ids, each with its timestamps and default quota; `number` of them, else as the CDB says."""
    pid, wanted = work.ref.pid, work.ref.oid
    tx = work.tx
    partition = ObjectRef(pid, 0, ObjectKind.PARTITION)
    work.require(partition)
    fields = dict(work.cdb.items())
    count = number or fields.get("number_of_user_objects", 1) or 1
    if wanted and (wanted < FIRST_ID or count > 1 or tx.kind(pid, wanted) is not None):
        raise CheckCondition(asc.INVALID_FIELD_IN_CDB, pointer=FieldPointer(24))
    first = wanted or free_ids(tx, pid, count)
    limit = number_of(tx, partition, 2, 0x10002)
    if limit is not None and tx.count(pid, ObjectKind.USER) + tx.count(pid, ObjectKind.COLLECTION) + count > limit:
        raise CheckCondition(asc.QUOTA_ERROR)
    # OSD-2: what the partition has is what new user objects begin with.
    inherited = [
        (*own, data) for own, its in (((2, 1), (2, 1)), ((5, POLICY_ACCESS_TAG), (5, USER_OBJECT_TAG)))
        if (data := tx.attribute(pid, 0, partition.page_base + its[0], its[1])) is not None
    ]
    work.affected = [ObjectRef(pid, oid, ObjectKind.USER) for oid in range(first, first + count)]
    for ref in work.affected:
        tx.create(pid, ref.oid, ObjectKind.USER)
        work.stamp(ref, 1, 2, 3, 4, 5)
        for each in inherited:
            tx.set_attribute(pid, ref.oid, *each)
    return b""


def _end(work: Work, offset: int, length: int) -> int:
    end = offset + length
    if end >= 1 << 63:
        raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="starting_byte_address")
    return end


def _write(work: Work, ref: ObjectRef, extents: tuple[tuple[int, int], ...]) -> bytes:
    work.check_quotas(ref, max(_end(work, offset, length) for offset, length in extents))
    data = memoryview(work.data)
    for offset, length in extents:
        if length:
            work.tx.write(ref.pid, ref.oid, offset, data[:length])
            data = data[length:]
    work.check_capacity(ref.pid)
    work.stamp(ref, 5)
    return b""


def _read(work: Work) -> bytes:
    work.require(work.ref)
    pid, oid = work.ref.pid, work.ref.oid
    end = work.tx.length(pid, oid)
    parts = []
    for offset, length in work.extents:
        there = max(0, min(length, end - offset))
        if there:
            parts.append(work.tx.read(pid, oid, offset, there))
        if there < length:
            # OSD-2: how many bytes were read is in the command-specific information.
            code = asc.with_key(asc.READ_PAST_END_OF_USER_OBJECT, SenseKey.RECOVERED_ERROR)
            work.sense = Sense(code, command_specific=sum(map(len, parts)))
            break
    work.stamp(work.ref, 4)
    return b"".join(parts)


def _punch(work: Work) -> bytes:
    work.require(work.ref)
    pid, oid = work.ref.pid, work.ref.oid
    offset, length = work.cdb.starting_byte_address, work.cdb.length
    old = work.tx.length(pid, oid)
    if offset + length > old:
        raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="length")
    at = offset + length
    while at < old and length:
        for extent in work.tx.extents(pid, oid, at, 256):       # holes move as holes
            at = extent.offset + extent.length
            if extent.kind == ExtentKind.HOLE:
                work.tx.clear(pid, oid, extent.offset - length, extent.length)
                continue
            for start in range(extent.offset, at, _STEP):
                part = work.tx.read(pid, oid, start, min(_STEP, at - start))
                work.tx.write(pid, oid, start - length, part)
    work.tx.truncate(pid, oid, old - length)
    work.stamp(work.ref, 5)
    return b""


def _clear(work: Work) -> bytes:
    work.require(work.ref)
    pid, oid = work.ref.pid, work.ref.oid
    offset, length = work.cdb.starting_byte_address, work.cdb.length
    end = _end(work, offset, length)
    work.check_quotas(work.ref, end)
    if end > work.tx.length(pid, oid):
        work.tx.truncate(pid, oid, end)
    work.tx.clear(pid, oid, offset, length)
    work.stamp(work.ref, 5)
    return b""


def _read_map(work: Work) -> bytes:
    work.require(work.ref)
    wanted = work.cdb.map_type
    rows = (
        (kind, extent.offset, extent.length) for extent in _extents_of(work, work.cdb.starting_byte_address)
        if wanted in (0, kind := _HOLE if extent.kind == ExtentKind.HOLE else _WRITTEN)
    )
    return map_data(rows, work.cdb.allocation_length)


def _extents_of(work: Work, at: int) -> Iterator[Extent]:
    """All extents of the command's object from an offset on."""
    while some := work.tx.extents(work.ref.pid, work.ref.oid, at, _MOST_DESCRIPTORS):
        yield from some
        at = some[-1].offset + some[-1].length


def map_data(rows: Iterable[tuple[int, int, int]], allocation: int) -> bytes:
    """Parameter data of READ MAP and READ MAPS AND COMPARE, as far as there is room: ADDITIONAL LENGTH is that of all.

    Args:
        rows: type, offset and length of each range. What one descriptor has no room for takes several.
    """
    room = min(max(allocation - 8, 0) // 16 + 1, _MOST_DESCRIPTORS)
    parts: list[bytes] = []
    count = 0
    for kind, at, left in rows:
        count += -(-left // _LONGEST)
        while left and len(parts) < room:
            part = min(left, _LONGEST)
            parts.append(struct.pack(">2xHIQ", kind, part, at))
            at += part
            left -= part
    return (struct.pack(">Q", 16 * count) + b"".join(parts))[:allocation]

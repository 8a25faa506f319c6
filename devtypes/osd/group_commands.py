"""Commands of the root, of partitions and of collections (OSD-2 6): format, create, remove, list, flush, attributes."""

from __future__ import annotations

from typing import Final

from devtypes.osd.attribute_pages import CAPACITY, CLOCK_OFFSET, number_of, stamp
from devtypes.osd.base import OsdBase
from devtypes.osd.capability import Permission
from devtypes.osd.config import OsdConfig
from devtypes.osd.execution import Order, Work
from devtypes.osd.keys import BOOT_EPOCH, MASTER
from devtypes.osd.layouts import osd_operation
from devtypes.osd.lists import HEADER, Listing, ListRegister, list_data
from devtypes.osd.objects import FIRST_ID, ROOT, ObjectRef, free_ids
from devtypes.osd.tracking import EVERY_OBJECT, is_tracking, member_count, members
from scsiemu import asc
from scsiemu.cdb import CdbFields
from scsiemu.command import Command, Steps
from scsiemu.identity import Identity
from scsiemu.object_requests import PRIVATE_PAGE, ObjectKind
from scsiemu.operations import ReservationClass
from scsiemu.sense import CheckCondition, FieldPointer

__all__ = ["GroupCommands", "create_collection", "create_partition"]

_IDS: Final = "partition_id:64 object_id:64"
_CONTINUATION: Final = "cdb_continuation_length:32"
_PARTITION: Final = ("partition_id:64 _:224", f"partition_id:64 _:192 {_CONTINUATION}")
_OBJECT: Final = (f"{_IDS} _:160", f"{_IDS} _:128 {_CONTINUATION}")
_FORMAT: Final = ("_:160 formatted_capacity:64 _:64", f"_:128 formatted_capacity:64 _:64 {_CONTINUATION}")
_ROOT: Final = ("_:288", f"_:256 {_CONTINUATION}")
_LIST: Final = (
    "partition_id:64 _:64 list_identifier?:32 allocation_length:64 initial_object_id:64",
    "partition_id:64 _:64 allocation_length:64 initial_object_id:64 list_identifier?:32",
)
_LIST_COLLECTION: Final = (
    f"{_IDS} list_identifier?:32 allocation_length:64 initial_object_id:64",
    f"{_IDS} allocation_length:64 initial_object_id:64 list_identifier?:32",
)
_LIST_11: Final = ("_:2 cdbfmt:2 _:4", "_ list_attr cdbfmt:2 sort_order:4")
_FLUSH: Final = "_:3 dpo? fua _ flush_scope:2"
_FCR: Final = "_:2 cdbfmt:2 _:3 fcr"


class GroupCommands(OsdBase):
    """See the module."""

    def __init__(self, config: OsdConfig | None = None, identity: Identity | None = None) -> None:
        super().__init__(config, identity)
        self._lists = ListRegister()

    @osd_operation(0x01, "FORMAT OSD", _FORMAT)
    def osd_format(self, command: Command, cdb: CdbFields) -> Steps:
        """Remove everything; the total capacity is what was asked for, for 0 all that there is."""

        def function(work: Work) -> bytes:
            if cdb.formatted_capacity > work.names.capacity:
                raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="formatted_capacity")
            # A new beginning with the keys that there are: who does not know them cannot have it back by formatting.
            kept = [
                (page, number, work.tx.attribute(0, 0, page, number))
                for page, number in (
                    (PRIVATE_PAGE, BOOT_EPOCH), (PRIVATE_PAGE, MASTER), (PRIVATE_PAGE, CLOCK_OFFSET),
                    (ROOT.page_base + 5, 0x7FFD),
                )
            ]
            work.tx.erase()
            for page, number, known in kept:
                work.tx.set_attribute(0, 0, page, number, known)
            if cdb.formatted_capacity:
                work.tx.set_attribute(0, 0, PRIVATE_PAGE, CAPACITY, cdb.formatted_capacity.to_bytes(8, "big"))
            stamp(work.tx, ROOT, (2, 3), work.now)
            return b""

        needed = Permission.OBJECT_MANAGEMENT | Permission.GLOBAL
        return self.carry_out(command, cdb, ROOT, function, needed, durable=True)

    @osd_operation(0x0B, "CREATE PARTITION", _PARTITION)
    def osd_create_partition(self, command: Command, cdb: CdbFields) -> Steps:
        """A partition of the requested id, or of one that is free."""
        return self.carry_out(command, cdb, _partition(cdb), create_partition, Permission.CREATE)

    @osd_operation(
        0x0C, "REMOVE PARTITION", _PARTITION, byte_11=("_:2 cdbfmt:2 _:4", "_:2 cdbfmt:2 _ remove_scope:3"),
    )
    def osd_remove_partition(self, command: Command, cdb: CdbFields) -> Steps:
        """Remove a partition that is empty, or with all that is in it."""
        scope = dict(cdb.items()).get("remove_scope", 0)
        if scope > 2:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="remove_scope")

        def function(work: Work) -> bytes:
            tx, pid = work.tx, work.ref.pid
            users, collections = tx.count(pid, ObjectKind.USER), tx.count(pid, ObjectKind.COLLECTION)
            # 0: empty only; 1: collections go, too; 2: everything.
            if (users and scope < 2) or (collections and scope < 1):
                raise CheckCondition(asc.PARTITION_OR_COLLECTION_CONTAINS_USER_OBJECTS)
            for kind in (ObjectKind.COLLECTION, ObjectKind.USER):
                while some := tx.objects(pid, kind, 0, 1024):
                    for oid in some:
                        tx.remove(pid, oid)
            tx.remove(pid, 0)
            return b""

        needed = Permission.REMOVE | (Permission.GLOBAL_REMOVE if scope else 0)
        return self.carry_out(
            command, cdb, _partition(cdb), function, needed, order=Order.BEFORE, in_snapshots=True
        )

    @osd_operation(0x15, "CREATE COLLECTION", _OBJECT)
    def osd_create_collection(self, command: Command, cdb: CdbFields) -> Steps:
        """A linked collection."""
        return self.carry_out(command, cdb, _collection(cdb), create_collection, Permission.CREATE)

    @osd_operation(0x16, "REMOVE COLLECTION", _OBJECT, byte_11=(_FCR, _FCR))
    def osd_remove_collection(self, command: Command, cdb: CdbFields) -> Steps:
        """Remove a collection: with FCR although it has members."""

        def function(work: Work) -> bytes:
            pid, cid = work.ref.pid, work.ref.oid
            if cid == EVERY_OBJECT:
                raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="object_id")
            # A tracking collection is a note about objects: it goes with the note.
            full = work.tx.member_count(pid, cid) and not is_tracking(work.tx, work.ref)
            if full and not cdb.fcr:
                raise CheckCondition(asc.PARTITION_OR_COLLECTION_CONTAINS_USER_OBJECTS)
            work.tx.remove(pid, cid)
            return b""

        return self.carry_out(command, cdb, _collection(cdb), function, Permission.REMOVE, order=Order.BEFORE)

    @osd_operation(0x03, "LIST", _LIST, conflict=ReservationClass.SPECIAL, byte_11=_LIST_11)
    def osd_list(self, command: Command, cdb: CdbFields) -> Steps:
        """The partitions of the unit, or the user objects of a partition."""
        pid = cdb.partition_id
        kind = ObjectKind.USER if pid else ObjectKind.PARTITION

        return self._list(command, cdb, _partition(cdb) if pid else ROOT, kind)

    @osd_operation(
        0x17, "LIST COLLECTION", _LIST_COLLECTION, conflict=ReservationClass.SPECIAL, byte_11=_LIST_11
    )
    def osd_list_collection(self, command: Command, cdb: CdbFields) -> Steps:
        """The members of a collection, or the collections of a partition."""
        if cdb.object_id:
            return self._list(command, cdb, _collection(cdb), ObjectKind.USER)
        return self._list(command, cdb, _partition(cdb), ObjectKind.COLLECTION)

    def _list(self, command: Command, cdb: CdbFields, ref: ObjectRef, kind: int) -> Steps:
        fields = dict(cdb.items())
        if fields.get("sort_order", 0):
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="sort_order")
        attributes = bool(fields.get("list_attr", 0))
        if attributes and cdb.cdbfmt != 3:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="cdbfmt")
        if 0 < cdb.allocation_length < HEADER:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="allocation_length")
        most = min(cdb.allocation_length, self.config.max_transfer)
        pid, cid = ref.pid, ref.oid

        def ids(work: Work, start: int, limit: int) -> list[int]:
            return members(work.tx, pid, cid, start, limit) if cid else work.tx.objects(pid, kind, start, limit)

        def count(work: Work, start: int) -> int:
            return member_count(work.tx, pid, cid, start) if cid else work.tx.count(pid, kind, start)

        listing = Listing(ref, kind, ids, count, attributes)

        def function(work: Work) -> bytes:
            work.require(ref)
            return list_data(work, listing, self._lists, most) if most else b""

        return self.carry_out(command, cdb, ref, function, Permission.READ)

    @osd_operation(0x0E, "GET ATTRIBUTES", _OBJECT, conflict=ReservationClass.SPECIAL)
    def osd_get_attributes(self, command: Command, cdb: CdbFields) -> Steps:
        """Get, then set attributes of any object."""
        return self._attributes(command, cdb, Permission.GET_ATTRIBUTES, Order.GET_FIRST)

    @osd_operation(0x0F, "SET ATTRIBUTES", _OBJECT)
    def osd_set_attributes(self, command: Command, cdb: CdbFields) -> Steps:
        """Set, then get attributes of any object."""
        return self._attributes(command, cdb, Permission.SET_ATTRIBUTES, Order.AFTER)

    def _attributes(self, command: Command, cdb: CdbFields, needed: int, order: str) -> Steps:
        # What kind of object it is, the store knows; until it is asked, the ids say what it may be.
        pid, oid = cdb.partition_id, cdb.object_id
        if not pid and oid:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="object_id")
        ref = ROOT if not pid else _partition(cdb) if not oid else ObjectRef(pid, oid, ObjectKind.USER)

        def function(work: Work) -> bytes:
            work.require(work.affected[-1])
            return b""

        return self.carry_out(command, cdb, ref, function, needed, order=order, any_kind=True)

    @osd_operation(0x1A, "FLUSH COLLECTION", _OBJECT, options=_FLUSH)
    def osd_flush_collection(self, command: Command, cdb: CdbFields) -> Steps:
        """Everything answered is on stable storage afterwards."""
        return self._flush(command, cdb, _collection(cdb))

    @osd_operation(0x1B, "FLUSH PARTITION", _PARTITION, options=_FLUSH)
    def osd_flush_partition(self, command: Command, cdb: CdbFields) -> Steps:
        """Everything answered is on stable storage afterwards."""
        return self._flush(command, cdb, _partition(cdb))

    @osd_operation(0x1C, "FLUSH OSD", _ROOT, options=_FLUSH)
    def osd_flush_osd(self, command: Command, cdb: CdbFields) -> Steps:
        """Everything answered is on stable storage afterwards."""
        return self._flush(command, cdb, ROOT)

    def _flush(self, command: Command, cdb: CdbFields, ref: ObjectRef) -> Steps:
        if cdb.flush_scope > 2:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="flush_scope")

        def function(work: Work) -> bytes:
            work.require(ref)
            return b""

        return self.carry_out(
            command, cdb, ref, function, Permission.OBJECT_MANAGEMENT, durable=True, in_snapshots=True
        )


def _partition(cdb: CdbFields) -> ObjectRef:
    return ObjectRef(cdb.partition_id, 0, ObjectKind.PARTITION)


def _collection(cdb: CdbFields) -> ObjectRef:
    return ObjectRef(cdb.partition_id, cdb.object_id, ObjectKind.COLLECTION)


def create_partition(work: Work) -> bytes:
    tx, wanted = work.tx, work.ref.pid
    if wanted and (wanted < FIRST_ID or tx.kind(wanted, 0) is not None):
        raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="partition_id")
    pid = wanted or free_ids(tx, 0)
    limit = number_of(tx, ROOT, 2, 0x20002)
    if limit is not None and tx.count(0, ObjectKind.PARTITION) >= limit:
        raise CheckCondition(asc.QUOTA_ERROR)
    ref = ObjectRef(pid, 0, ObjectKind.PARTITION)
    tx.create(pid, 0, ObjectKind.PARTITION)
    stamp(tx, ref, (1, 2, 3, 4, 5), work.now)
    for number in (1, 0x10001, 0x10002, 0x10081):
        # OSD-2: the root's quotas are the defaults of new partitions.
        default = tx.attribute(0, 0, ROOT.page_base + 2, number)
        if default is not None:
            tx.set_attribute(pid, 0, ref.page_base + 2, number, default)
    work.affected = [ref]
    return b""


def create_collection(work: Work) -> bytes:
    tx, pid, wanted = work.tx, work.ref.pid, work.ref.oid
    work.require(ObjectRef(pid, 0, ObjectKind.PARTITION))
    if wanted and (wanted < FIRST_ID or tx.kind(pid, wanted) is not None):
        raise CheckCondition(asc.INVALID_FIELD_IN_CDB, pointer=FieldPointer(24))
    cid = wanted or free_ids(tx, pid)
    limit = number_of(tx, ObjectRef(pid, 0, ObjectKind.PARTITION), 2, 0x10002)
    if limit is not None and tx.count(pid, ObjectKind.USER) + tx.count(pid, ObjectKind.COLLECTION) >= limit:
        raise CheckCondition(asc.QUOTA_ERROR)
    tx.create(pid, cid, ObjectKind.COLLECTION)
    work.affected = [ObjectRef(pid, cid, ObjectKind.COLLECTION)]
    work.stamp(work.affected[0], 1, 2, 3, 4, 5)
    return b""

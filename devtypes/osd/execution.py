"""One command as one transaction: capability, command function, attributes in the standard's order, Data-In (OSD-2
4.8).

`Work.run` is what a `Transact` calls. Whatever refuses, at whatever step, undoes everything that came before it. The
order of steps is the command's: its function, then set, then get attributes for most; set, get, function for those
that remove; get, then set for GET ATTRIBUTES.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Generator
from typing import Final, TypeAlias

from devtypes.osd.attribute_lists import (
    ALL,
    CREATED,
    MULTI_OBJECT,
    Attribute,
    AttributeParameters,
    encode_created,
    encode_list,
    encode_set_list,
    parse_get_list,
    parse_set_list,
)
from devtypes.osd.attribute_pages import (
    ACCESS_PAGE,
    ANY_PAGE,
    CURRENT_COMMAND,
    Names,
    clock,
    number_of,
    page_attributes,
    page_form,
    pages,
    set_attribute,
    stamp,
    total_capacity,
)
from devtypes.osd.capability import Permission, capability_refusal, check_capability, check_range, parse_capability
from devtypes.osd.continuation import Segment
from devtypes.osd.guard import Guard
from devtypes.osd.objects import PAGE_BASE, ROOT, ObjectRef
from devtypes.osd.origins import Origin, origin
from devtypes.osd.security import SecurityMethod, icv_length
from devtypes.osd.tracking import EVERY_OBJECT, kind_of
from scsiemu import asc
from scsiemu._value import value
from scsiemu.cdb import CdbFields
from scsiemu.object_requests import ObjectKind, ObjectTransaction, Rollback
from scsiemu.sam import Status
from scsiemu.sense import CheckCondition, FieldPointer, Sense, SenseCode

__all__ = ["Answer", "CommandFunction", "Order", "Work", "error_identification"]

_ALL_FUNCTIONS: Final = b"\xb0\x10\x30\x30"
_BYPASS_TIMESTAMPS: Final = 0x7F
_ENTRY: Final = 16
_MOST_VALUE: Final = 0xFFFE         # FFFFh is how OSD-1 lists tell that an attribute is not there
_KINDS: Final = 0x30000000           # attribute pages of each kind of object
_SECURITY_PAGE: Final = 5
_ACCESS_PAGE: Final = PAGE_BASE[ObjectKind.PARTITION] + ACCESS_PAGE
_MOST_SETS: Final = 1 << 20         # objects times attributes of one command


class Order:
    """When a command's attributes are set and got."""

    AFTER: Final = "after"      # function, set, get
    BEFORE: Final = "before"    # set, get, function
    GET_FIRST: Final = "get"    # get, set


@value
class Answer:
    """How a transaction ended: Data-In, and sense data of a recovered error."""

    data: bytes
    sense: Sense | None = None


CommandFunction: TypeAlias = "Callable[[Work], bytes]"


def error_identification(ref: ObjectRef, *, initiated: bool = False) -> bytes:
    """OSD error identification sense data descriptor (OSD-2): what was not begun, and the object."""
    return struct.pack(
        ">BB6x4s4sQQ", 0x06, 0x1E, bytes(4) if initiated else _ALL_FUNCTIONS, bytes(4), ref.pid, ref.oid
    )


class Work:
    """A command in its transaction. Used once.

    Args:
        version: 1 or 2.
        cdb: its fields.
        ref: the object of the capability.
        function: does the command; gives its Data-In.
        needed: permission bits of the function.
        segment: CDB continuation segment.
        data_out: all Data-Out that the command wants; behind the segment `data_length` bytes are the command's own.
        guard: proves who sent it.
        extents: of the data that it touches.
        any_kind: the object may be a collection as well as a user object.
        read_only: the nexus changes nothing, not even when something was accessed.
        writes: it may not be done in a snapshot.

    Attributes:
        affected: whose attributes are set; the last one's are got.
        sets: the attributes that are to be set.
        retrieved: attributes that come before those that were asked for.
        each: the attributes of all that are affected are got.
        extents: offset and length of each range of data.
        sense: of a recovered error.
    """

    def __init__(
        self,
        *,
        version: int,
        cdb: CdbFields,
        ref: ObjectRef,
        function: CommandFunction,
        order: str,
        needed: int,
        parameters: AttributeParameters,
        segment: Segment,
        data_out: bytes,
        data_length: int,
        guard: Guard,
        names: Names,
        limit: int,
        extents: tuple[tuple[int, int], ...],
        any_kind: bool,
        read_only: bool,
        writes: bool,
    ) -> None:
        self.version = version
        self.cdb = cdb
        self.ref = ref
        self.segment = segment
        self.data_out = data_out
        self.data = data_out[segment.length : segment.length + data_length]
        self.parameters = parameters
        self.names = names
        self.limit = limit
        self.affected = [ref]
        self.each = False
        self.append_address = 0
        self.sense: Sense | None = None
        self.tx: ObjectTransaction
        self.now = 0
        self._function = function
        self._order = order
        self._needed = needed
        self._own = data_out[: segment.length + data_length]
        self._guard = guard
        self.extents = extents
        self._any_kind = any_kind
        self._quiet = read_only         # no timestamps
        self._writes = writes
        self._got: bytes = b""
        self.sets: list[Attribute]
        self.retrieved: list[Attribute] = []
        self._wrong: SenseCode

    def run(self, tx: ObjectTransaction) -> Answer:
        """The whole command. Raises Rollback with the CheckCondition that refuses it."""
        self.tx = tx
        self.now = clock(tx)
        try:
            return self._run()
        except CheckCondition as refusal:
            raise Rollback(refusal) from None

    def _run(self) -> Answer:
        guard, parameters = self._guard, self.parameters
        guard.authenticate(self.tx, self.ref, self.names.system_id, self.now)
        guard.check_data_out(
            self.data_out, self._own, self._set_bytes(), self._slice(parameters.get_offset, parameters.get_length)
        )
        if self.segment.length:
            guard.check_segment(self._own[: self.segment.length])
        if self.ref.kind == ObjectKind.USER and self._any_kind:
            there = kind_of(self.tx, self.ref.pid, self.ref.oid)
            if there == ObjectKind.COLLECTION:
                self.ref = ObjectRef(self.ref.pid, self.ref.oid, there)
                self.affected = [self.ref]
        self.sets, self._wrong = self._parse_sets()
        check_capability(
            self.tx, guard.capability, self.ref, self._permissions(), version=self.version, now=self.now,
            boot_epoch=guard.boot.epoch, extents=self.extents,
        )
        self._check_access()
        if self.ref.pid and origin(self.tx, self.ref.pid).kind == Origin.SNAPSHOT:
            self._quiet = True
            if self._writes:
                raise CheckCondition(asc.WRITE_PROTECTED)
        used = self.tx.used(0, 0)
        data = b""
        if self._order == Order.BEFORE:
            self.require(self.ref)
            self._set()
            self._get(0)
            data = self._function(self)
        elif self._order == Order.GET_FIRST:
            data = self._function(self)
            self._get(0)
            self._set()
        else:
            data = self._function(self)
            self._set()
            self._get(self.tx.used(0, 0) - used)
        return Answer(self._assemble(data), self.sense)

    def _permissions(self) -> int:
        """Permission bits that the command needs, its attributes included."""
        needed = self._needed
        parameters = self.parameters
        if parameters.set_length or parameters.set_one:
            needed |= Permission.SET_ATTRIBUTES
        if any(
            (each.page < ANY_PAGE and each.page % _KINDS == _SECURITY_PAGE) or each.page == _ACCESS_PAGE
            for each in self.sets
        ):
            needed |= Permission.SECURITY
        if parameters.get_length or parameters.get_page not in (0, CURRENT_COMMAND):
            needed |= Permission.GET_ATTRIBUTES
        return needed

    def _check_access(self) -> None:
        """Refuse attributes that are not among those of the partition's attributes access page that the capability
        names by ALLOWED ATTRIBUTES ACCESS (OSD-2 7.1.3.19)."""
        capability, parameters = self._guard.capability, self.parameters
        which = capability.attributes_access if self.version == 2 and capability.format else 0
        if not which:
            return
        raw = self.tx.attribute(self.ref.pid, 0, _ACCESS_PAGE, which) if self.ref.pid else None
        allowed = set(struct.iter_unpack(">II", raw or b""))
        wanted = [(each.page, each.number) for each in self.sets]
        if parameters.get_page:
            wanted.append((parameters.get_page, ALL))
        if parameters.get_length:
            wanted += parse_get_list(
                self._slice(parameters.get_offset, parameters.get_length), version=self.version
            )
        for page, number in wanted:
            if page != CURRENT_COMMAND and not {(page, number), (page, ALL)} & allowed:
                raise capability_refusal(self.version, "attributes_access")

    def check_range(self, offset: int, length: int) -> None:
        """Refuse data that the capability does not reach, where the object alone says which it is."""
        check_range(self._guard.capability, ((offset, length),), version=self.version)

    def check_extension(self, ref: ObjectRef, needed: int) -> None:
        """Refuse an object beside that of the command, unless an extension capability of the segment allows it (OSD-2
        4.11.2). By NOSEC, where nobody vouches for anything, nothing has to."""
        guard = self._guard
        if guard.method == SecurityMethod.NOSEC:
            return
        for raw, proof in self.segment.extensions:
            if not guard.proves(self.tx, raw, proof, ref.pid, self.names.system_id):
                continue
            try:
                check_capability(
                    self.tx, parse_capability(raw, version=self.version), ref, needed, version=self.version,
                    now=self.now, boot_epoch=guard.boot.epoch, extents=(),
                )
            except CheckCondition:
                continue
            return
        raise capability_refusal(self.version, "allowed_oid")

    # --- for command functions ---------------------------------------------------------------------------------

    def require(self, ref: ObjectRef) -> None:
        """Refuse unless the object is there and of its kind; the pointer says which id is at fault."""
        if ref.kind == ObjectKind.ROOT:
            return
        if self.tx.kind(ref.pid, 0) != ObjectKind.PARTITION or ref.pid == 0:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, pointer=FieldPointer(16))
        if ref.kind != ObjectKind.PARTITION and kind_of(self.tx, ref.pid, ref.oid) != ref.kind:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, pointer=FieldPointer(24))

    def stamp(self, ref: ObjectRef, *numbers: int) -> None:
        """Set timestamps, unless the command or the object's partition bypasses them (OSD-2 5.2.10)."""
        if self.cdb.timestamps_control == _BYPASS_TIMESTAMPS or self._quiet or ref.oid == EVERY_OBJECT:
            return
        for owner in (ROOT, ObjectRef(ref.pid, 0, ObjectKind.PARTITION)):
            if number_of(self.tx, owner, 3, 0xFFFFFFFE):
                return
        stamp(self.tx, ref, numbers, self.now)

    def check_quotas(self, ref: ObjectRef, end: int) -> None:
        """Refuse what would make a user object reach past its maximum length (OSD-2)."""
        limit = number_of(self.tx, ref, 2, 1)
        if limit is not None and end > limit:
            raise CheckCondition(asc.QUOTA_ERROR)

    def check_capacity(self, pid: int) -> None:
        """Refuse when the partition or the unit now holds more than it may."""
        limit = number_of(self.tx, ObjectRef(pid, 0, ObjectKind.PARTITION), 2, 0x10001)
        if limit is not None and self.tx.used(pid, 0) > limit:
            raise CheckCondition(asc.QUOTA_ERROR)
        if self.tx.used(0, 0) > total_capacity(self.tx, self.names):
            raise CheckCondition(asc.QUOTA_ERROR)

    # --- attributes --------------------------------------------------------------------------------------------

    def _slice(self, at: int, length: int) -> bytes:
        return self.data_out[at : at + length] if length else b""

    def _set_bytes(self) -> bytes:
        return self._slice(self.parameters.set_offset, self.parameters.set_length)

    def _parse_sets(self) -> tuple[list[Attribute], SenseCode]:
        """What is to be set, and what a wrong one is refused with."""
        parameters = self.parameters
        if parameters.set_one is not None:
            data = self._set_bytes() if parameters.form == 2 else parameters.value
            return [Attribute(*parameters.set_one, data)], asc.INVALID_FIELD_IN_CDB
        if parameters.set_length:
            return parse_set_list(self._set_bytes(), version=self.version), asc.INVALID_FIELD_IN_PARAMETER_LIST
        return [], asc.INVALID_FIELD_IN_PARAMETER_LIST

    def _set(self) -> None:
        wanted, wrong = self.sets, self._wrong
        if not wanted:
            return
        if len(self.affected) * len(wanted) > _MOST_SETS:
            raise CheckCondition(asc.SYSTEM_RESOURCE_FAILURE)
        for ref in self.affected:
            self.require(ref)
            for each in wanted:
                if len(each.value or b"") > _MOST_VALUE:
                    raise CheckCondition(wrong)
                try:
                    if ref.kind == ObjectKind.USER and (each.page, each.number) == (1, 0x82):
                        self.check_quotas(ref, int.from_bytes(each.value or b"", "big"))
                    set_attribute(self.tx, ref, each, self.names, wrong)
                except CheckCondition as refusal:
                    # OSD-2: which attribute it was.
                    about = struct.pack(">BB6xII", 0x08, 14, each.page, each.number)
                    raise CheckCondition(
                        refusal.sense.code, descriptors=(error_identification(ref, initiated=True), about)
                    ) from None
            self.stamp(ref, 3)

    def _get(self, change: int) -> None:
        parameters = self.parameters
        if not parameters.allocation:
            return
        if self.each:
            self._got = self._get_each(change)
            return
        ref = self.affected[-1]
        self.require(ref)
        current = self._current(ref, change)
        if parameters.form == 2:
            page = parameters.get_page
            if page == CURRENT_COMMAND:
                got: bytes | None = self._current_page(current)
            else:
                got = page_form(ref, page, page_attributes(self.tx, ref, page, self.names, self.now))
            if got is None:
                raise CheckCondition(asc.INVALID_FIELD_IN_CDB, pointer=FieldPointer(52))
        else:
            raw = self._slice(parameters.get_offset, parameters.get_length)
            wanted = parse_get_list(raw, version=self.version)
            got = encode_set_list(self.retrieved + self.collect(ref, wanted, current), version=self.version)
        self._got = got[: parameters.allocation]
        if parameters.form != 2 or parameters.get_page != CURRENT_COMMAND:
            self.stamp(ref, 2)

    def _get_each(self, change: int) -> bytes:
        """A list of the attributes of each affected object, cut where the room ends: of type Eh (OSD-2 7.1.3.4), by
        objects with id and kind; in OSD-1, whose CREATE alone has it, of type Fh (OSD 7.1.3.4), an id with each entry.
        """
        parameters = self.parameters
        if parameters.form != 3:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="cdbfmt")
        wanted = parse_get_list(self._slice(parameters.get_offset, parameters.get_length), version=self.version)
        # What is told of the command is the same for all: of what it made last, or of the collection.
        about = self.affected[-1] if self.ref.kind == ObjectKind.USER else self.ref
        current = self._current(about, change)
        parts = []
        left = parameters.allocation
        for ref in self.affected:
            found = self.collect(ref, wanted, current)
            if self.version == 2:
                body = encode_set_list(found, version=2)[8:]
                parts.append(struct.pack(">QB5xH", ref.oid, ref.kind, min(len(body), 0xFFFF)) + body)
            else:
                parts.append(b"".join(encode_created(ref.oid, each) for each in found))
            self.stamp(ref, 2)
            left -= len(parts[-1])
            if parameters.allocation - left > self.limit:
                raise CheckCondition(asc.SYSTEM_RESOURCE_FAILURE)
            if left <= 0:
                break
        kind = MULTI_OBJECT if self.version == 2 else CREATED
        return encode_list(kind, b"".join(parts), version=self.version)[: parameters.allocation]

    def collect(
        self, ref: ObjectRef, wanted: list[tuple[int, int]], current: dict[int, bytes] | None = None
    ) -> list[Attribute]:
        """The attributes that a get list asks for; FFFFFFFFh is all numbers of a page, or the pages that have one."""
        known: dict[int, dict[int, bytes]] = {CURRENT_COMMAND: current or {}}
        return list(self._collect(ref, wanted, known))

    def _collect(
        self, ref: ObjectRef, wanted: list[tuple[int, int]], known: dict[int, dict[int, bytes]]
    ) -> Generator[Attribute, None, None]:
        everything: list[int] = []
        left = self.limit
        for page, number in wanted:
            if page == ALL and not everything:
                everything = pages(self.tx, ref)
            for each in everything if page == ALL else (page,):
                if each not in known:
                    known[each] = page_attributes(self.tx, ref, each, self.names, self.now)
                found = known[each]
                if page == ALL and number not in (ALL, *found):
                    continue                            # one number of every page that has it
                for one in tuple(found) if number == ALL else (number,):
                    data = found.get(one)
                    left -= _ENTRY + len(data or b"")
                    if left < 0:                        # asked for again and again: more than one command moves
                        raise CheckCondition(asc.SYSTEM_RESOURCE_FAILURE)
                    yield Attribute(each, one, data)

    def _current(self, ref: ObjectRef, change: int) -> dict[int, bytes]:
        """The current command attributes page (OSD-2)."""
        found = {
            0: b"INCITS".ljust(8) + b"T10 Current Command".ljust(32), 1: bytes(icv_length(self.version)),
            2: bytes((ref.kind,)), 3: ref.pid.to_bytes(8, "big"), 4: ref.oid.to_bytes(8, "big"),
            5: self.append_address.to_bytes(8, "big"), 6: change.to_bytes(8, "big", signed=True),
        }
        if self._guard.signs_responses:
            found[1] = self._guard.response(Status.GOOD, b"".join(found[number] for number in range(2, 7)))
        return found

    def _current_page(self, current: dict[int, bytes]) -> bytes:
        numbers = (3, 4, 5, 6) if self.version == 2 else (3, 4, 5)
        body = current[1] + current[2] + bytes(3) + b"".join(current[number] for number in numbers)
        return struct.pack(">II", CURRENT_COMMAND, len(body)) + body

    def _assemble(self, data: bytes) -> bytes:
        """Data-In: the command's data, zeros, what was got."""
        if not self._got:
            return self._guard.seal_data_in(data, b"", data)
        at = self.parameters.retrieved_offset
        if at < len(data):
            field = 60 if self.parameters.form == 2 else 64
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, pointer=FieldPointer(field))
        return self._guard.seal_data_in(data, self._got, data + bytes(at - len(data)) + self._got)

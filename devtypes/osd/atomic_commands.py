"""Atomic commands that the target of the Ohio Supercomputer Center had and no standard has: compare and swap, fetch and
add, conditional set attributes, general compare and swap. Only with the option `vendor-atomics`.

The first two work on attributes 1 and 2 of page 6h of a user object, 8 bytes each; their operands are the first bytes
of Data-Out, and the value from before comes in Data-In at the offset in bytes 40 to 47. The others work on any
attribute: the first entry of the set list is what it has to be, the second, of the same attribute, what it becomes; the
value from before is the first of the retrieved attributes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from devtypes.osd.attribute_lists import Attribute
from devtypes.osd.base import OsdBase
from devtypes.osd.capability import Permission
from devtypes.osd.execution import Work
from devtypes.osd.layouts import osd_operation
from devtypes.osd.objects import ObjectRef
from scsiemu import asc
from scsiemu.cdb import CdbFields
from scsiemu.command import Command, Steps
from scsiemu.object_requests import ObjectKind
from scsiemu.sense import CheckCondition

__all__ = ["AtomicCommands"]

_PAGE: Final = 6
_COMPARE_AND_SWAP: Final = 1
_FETCH_AND_ADD: Final = 2
_DATA: Final = (None, "partition_id:64 object_id:64 length:64 data_in_offset:64 cdb_continuation_length:32")
_OBJECT: Final = (None, "partition_id:64 object_id:64 _:128 cdb_continuation_length:32")


def _offered(server: AtomicCommands) -> bool:
    return server.config.vendor_atomics


class AtomicCommands(OsdBase):
    """See the module."""

    @osd_operation(0x0D, "COMPARE AND SWAP", _DATA, available=_offered)
    def osd_compare_and_swap(self, command: Command, cdb: CdbFields) -> Steps:
        """Operands: what it has to be, what it becomes."""

        def change(old: int, data: bytes) -> int:
            return int.from_bytes(data[8:16], "big") if old == int.from_bytes(data[:8], "big") else old

        return self._operate(command, cdb, _COMPARE_AND_SWAP, 16, change)

    @osd_operation(0x10, "FETCH AND ADD", _DATA, available=_offered)
    def osd_fetch_and_add(self, command: Command, cdb: CdbFields) -> Steps:
        """Operand: what is added, signed, modulo 2 to the 64th."""

        def change(old: int, data: bytes) -> int:
            return (old + int.from_bytes(data[:8], "big")) % (1 << 64)

        return self._operate(command, cdb, _FETCH_AND_ADD, 8, change)

    def _operate(
        self, command: Command, cdb: CdbFields, number: int, operands: int, change: Callable[[int, bytes], int]
    ) -> Steps:
        if cdb.length < 8:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="length")
        if cdb.data_in_offset > self.config.max_transfer:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="data_in_offset")

        def function(work: Work) -> bytes:
            work.require(work.ref)
            pid, oid = work.ref.pid, work.ref.oid
            old = work.tx.attribute(pid, oid, _PAGE, number) or bytes(8)
            new = change(int.from_bytes(old, "big"), work.data).to_bytes(8, "big")
            work.tx.set_attribute(pid, oid, _PAGE, number, new)
            return bytes(cdb.data_in_offset) + old

        needed = Permission.READ | Permission.WRITE
        return self.carry_out(command, cdb, _user(cdb), function, needed, data_length=operands)

    @osd_operation(0x11, "CONDITIONAL SET ATTRIBUTES", _OBJECT, available=_offered)
    def osd_conditional_set_attributes(self, command: Command, cdb: CdbFields) -> Steps:
        """The rest of the list is set where the first attribute was what it had to be."""
        return self._swap(command, cdb, conditional=True)

    @osd_operation(0x25, "GENERAL COMPARE AND SWAP", _OBJECT, available=_offered)
    def osd_general_compare_and_swap(self, command: Command, cdb: CdbFields) -> Steps:
        """The rest of the list is set in any case."""
        return self._swap(command, cdb, conditional=False)

    def _swap(self, command: Command, cdb: CdbFields, *, conditional: bool) -> Steps:
        if cdb.cdbfmt != 3:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="cdbfmt")

        def function(work: Work) -> bytes:
            work.require(work.ref)
            if len(work.sets) < 2:
                raise CheckCondition(asc.PARAMETER_LIST_LENGTH_ERROR)
            compare, swap, *rest = work.sets
            if (compare.page, compare.number) != (swap.page, swap.number):
                raise CheckCondition(asc.INVALID_FIELD_IN_PARAMETER_LIST)
            (old,) = work.collect(work.ref, [(compare.page, compare.number)])
            same = (old.value or b"") == (compare.value or b"")
            work.sets = [*([swap] if same else []), *(rest if same or not conditional else [])]
            work.retrieved = [Attribute(compare.page, compare.number, old.value)]
            return b""

        needed = Permission.GET_ATTRIBUTES | Permission.SET_ATTRIBUTES
        return self.carry_out(command, cdb, _user(cdb), function, needed)


def _user(cdb: CdbFields) -> ObjectRef:
    return ObjectRef(cdb.partition_id, cdb.object_id, ObjectKind.USER)

"""Recommended access order: GENERATE and RECEIVE RECOMMENDED ACCESS ORDER (SSC-5 4.2.26, 7.x).

An initiator sends the segments of the tape that it wants to read; the drive answers them in the order that moves the
tape least, along its serpentine. Segments have no geometry (UDS TYPE 000b). The list is of one nexus and lasts until
that asks anew, is lost, or the cartridge goes.
"""

from __future__ import annotations

import struct
from typing import Any, Final

from devtypes.vt import layouts
from devtypes.vt.encryption import Encryption
from devtypes.vt.layouts import tape_operation
from devtypes.vt.medium_layout import Asking
from scsiemu import asc
from scsiemu._value import value
from scsiemu.cdb import CdbFields
from scsiemu.command import Command, Completion, Steps
from scsiemu.io_requests import Sleep
from scsiemu.logical_unit import NexusState
from scsiemu.nexus import Nexus
from scsiemu.operations import DataDirection, ReservationClass
from scsiemu.sense import CheckCondition, FieldPointer

__all__ = ["AccessOrder", "Segment"]

_MOST_SEGMENTS: Final = 1024
_HEADER: Final = 8
_SEGMENT: Final = struct.Struct(">H3x10sBQQ")       # user data segment descriptor, 32 bytes
_LIMITS: Final = struct.Struct(">HH")          # UDS limits page
_IN_A_ROW: Final = 16                               # choices, before other units have their turn


class _Process:
    """PROCESS (SSC-5 table 33)."""

    AS_IT_IS: Final = 1
    REORDER: Final = 2


@value
class Segment:
    """A user data segment.

    Args:
        name: UDS NAME, 10 bytes of the initiator's.
        partition, first, last: logical objects.
    """

    name: bytes
    partition: int
    first: int
    last: int


class AccessOrder(Encryption):
    """The commands of recommended access orders.

    Attributes:
        access_orders: process and segments in order, by nexus.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        self.access_orders: dict[Nexus, tuple[int, list[Segment]]] = {}
        super().__init__(*args, **options)

    def nexus_lost(self, state: NexusState) -> None:
        self.access_orders.pop(state.nexus, None)
        super().nexus_lost(state)

    def unloaded(self) -> None:
        self.access_orders.clear()
        super().unloaded()

    @tape_operation(
        0xA4, "GENERATE RECOMMENDED ACCESS ORDER", layouts.GENERATE_RECOMMENDED_ACCESS_ORDER, service_action=0x1D,
        data=DataDirection.OUT, needs_ready=True, exclusive=True, parameter_list="parameter_list_length",
        recommended=1800, standard="SSC-5 7.2",
    )
    def generate_access_order(self, command: Command, cdb: CdbFields) -> Steps:
        """Take segments in; with PROCESS 010b put them into an order."""
        if cdb.process not in (_Process.AS_IT_IS, _Process.REORDER):
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="process")
        if cdb.uds_type:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="uds_type")
        if not cdb.parameter_list_length:
            return Completion()
        segments = self._parse_segments(command.parameter_list)
        if cdb.process == _Process.REORDER:
            segments = yield from self._ordered(segments)
        self.access_orders[command.nexus] = (cdb.process, segments)
        return Completion()

    def _parse_segments(self, data: bytes) -> list[Segment]:
        """The segments of a parameter list. Raises CheckCondition at the first that is not on the tape."""
        if len(data) < _HEADER:
            raise CheckCondition(asc.PARAMETER_LIST_LENGTH_ERROR)
        end = _HEADER + int.from_bytes(data[4:8], "big")
        if end > len(data):
            raise CheckCondition(asc.PARAMETER_LIST_LENGTH_ERROR)
        if (end - _HEADER) // _SEGMENT.size > _MOST_SEGMENTS:
            raise _invalid(4)
        found = []
        for at in range(_HEADER, end, _SEGMENT.size):
            if at + _SEGMENT.size > end:
                raise CheckCondition(asc.PARAMETER_LIST_LENGTH_ERROR)
            length, name, partition, first, last = _SEGMENT.unpack_from(data, at)
            if length != _SEGMENT.size - 2:
                raise _invalid(at)
            if partition >= self.tape.partitions:
                raise _invalid(at + 15)
            if first >= self.tape.end(partition).object:
                raise _invalid(at + 16)
            if last < first:
                raise _invalid(at + 24)
            found.append(Segment(name, partition, first, last))
        return found

    def _ordered(self, segments: list[Segment]) -> Asking[list[Segment]]:
        """Always go to the segment whose beginning is the nearest, along the tape."""
        left: list[tuple[Segment, tuple[int, float], tuple[int, float]]] = []
        for segment in segments:
            begin = yield from self._place(segment.partition, segment.first)
            end = yield from self._place(segment.partition, segment.last + 1)
            left.append((segment, begin, end))
        here = yield from self._place(*self.position[:2])
        found = []
        while left:
            index = min(range(len(left)), key=lambda each: _distance(here, left[each][1]))
            segment, _, here = left.pop(index)
            found.append(segment)
            if len(found) % _IN_A_ROW == 0:
                yield Sleep(0)
        return found

    def _place(self, partition: int, number: int) -> Asking[tuple[int, float]]:
        """Partition, and metres along the tape, of a logical object."""
        position = yield from self.tape.locate(partition, number)
        used = position.offset - self.tape.beginning(partition).offset
        return partition, self.physics.place(used, self.tape.size(partition))

    @tape_operation(
        0xA3, "RECEIVE RECOMMENDED ACCESS ORDER", layouts.RECEIVE_RECOMMENDED_ACCESS_ORDER, service_action=0x1D,
        data=DataDirection.IN, conflict=ReservationClass.READ, allocation="allocation_length", exclusive=True,
        standard="SSC-5 7.7",
    )
    def receive_access_order(self, command: Command, cdb: CdbFields) -> Completion:
        """The list, from RAO LIST OFFSET on; or with UDS_LIMITS how many segments of what size there may be."""
        if cdb.uds_type:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="uds_type")
        if cdb.uds_limits:
            return Completion(_LIMITS.pack(_MOST_SEGMENTS, _SEGMENT.size))
        process, segments = self.access_orders.get(command.nexus, (0, []))
        body = b"".join(
            _SEGMENT.pack(_SEGMENT.size - 2, each.name, each.partition, each.first, each.last) for each in segments
        )
        whole = bytes((process, 0, 0, 0)) + len(body).to_bytes(4, "big") + body
        if cdb.rao_list_offset > len(whole):
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="rao_list_offset")
        return Completion(whole[cdb.rao_list_offset :])


def _distance(one: tuple[int, float], other: tuple[int, float]) -> tuple[int, float]:
    """How far apart two places are: another partition is farther than anything in this one."""
    return (abs(one[0] - other[0]), abs(one[1] - other[1]))


def _invalid(byte: int) -> CheckCondition:
    return CheckCondition(asc.INVALID_FIELD_IN_PARAMETER_LIST, pointer=FieldPointer(byte, in_cdb=False))

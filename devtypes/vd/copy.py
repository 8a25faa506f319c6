"""Third-party copy: EXTENDED COPY(LID1) and what it left to ask for (SPC-4 6.4, 6.17 to 6.20, 7.8.17).

CSCD descriptors are identification descriptors (E4h), looked up among the units that the issuing nexus can see and
nowhere else; segments are block to block (02h). Copies end with their command: there is one at a time for each nexus.
Not here: held data, inline data, LID4, ROD tokens.
"""

from __future__ import annotations

import struct
from collections.abc import Generator
from typing import Any, Final

from devtypes.vd import layouts
from devtypes.vd.base import DiskBase
from scsiemu import asc
from scsiemu._value import value
from scsiemu.cdb import CdbFields
from scsiemu.command import Command, Completion, Steps
from scsiemu.errors import IoFailed
from scsiemu.io_requests import Elsewhere, Flush, IoRequest
from scsiemu.logical_unit import LogicalUnit, NexusState
from scsiemu.nexus import Nexus
from scsiemu.operations import DataDirection, ReservationClass, Result, operation
from scsiemu.sense import CheckCondition, FieldPointer, Sense, SenseCode, SenseKey
from scsiemu.vpd import Association, vpd_page

__all__ = ["CopyRecord", "Segment", "ThirdPartyCopy"]

_MAX_CSCDS: Final = 16
_MAX_SEGMENTS: Final = 64
_CSCD_SIZE: Final = 32
_SEGMENT_SIZE: Final = 28
_MAX_LIST: Final = _MAX_CSCDS * _CSCD_SIZE + _MAX_SEGMENTS * _SEGMENT_SIZE
_HEADER: Final = 16
_LIMIT: Final = 65536               # bytes of a parameter list that are looked at
_IDENTIFICATION: Final = 0xE4
_BLOCK_TO_BLOCK: Final = 0x02
_PIECE: Final = 1 << 20             # bytes that are copied at a time
_GRANULARITY: Final = 9             # of segments: 2 to this many bytes
_KEPT: Final = 16                   # results remembered for each nexus

_SEGMENT: Final = struct.Struct(">4xHH2xHQQ")
_NOTHING: Final = SenseCode(SenseKey.COPY_ABORTED, 0, 0)
_DISCARD: Final = 2                 # LIST ID USAGE (SPC-4 table 122)
_NO_LIST_ID: Final = 3


@value
class Segment:
    """A block to block segment descriptor.

    Args:
        source, destination: numbers of CSCD descriptors.
        blocks: to copy, of the source (or, with `of_destination`, the destination).
        source_lba, destination_lba: where from and where to.
    """

    source: int
    destination: int
    blocks: int
    source_lba: int
    destination_lba: int
    of_destination: bool


class CopyRecord:
    """What RECEIVE COPY RESULTS tells of a copy that has ended, or is under way."""

    __slots__ = ("bytes_copied", "done", "segments", "sense")

    def __init__(self) -> None:
        self.segments = 0
        self.bytes_copied = 0
        self.done = False
        self.sense: Sense | None = None


class ThirdPartyCopy(DiskBase):
    """The copy manager of a unit."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self.copies: dict[Nexus, dict[int, CopyRecord]] = {}
        super().__init__(*args, **options)

    def nexus_lost(self, state: NexusState) -> None:
        self.copies.pop(state.nexus, None)
        super().nexus_lost(state)

    # --- EXTENDED COPY -----------------------------------------------------------------------------------------

    @operation(
        0x83, "EXTENDED COPY(LID1)", layouts.EXTENDED_COPY, service_action=0x00, data=DataDirection.OUT,
        parameter_list="parameter_list_length", parameter_list_limit=_LIMIT, exclusive=True, standard="SPC-4 6.4",
    )
    def extended_copy(self, command: Command, cdb: CdbFields) -> Result:
        """Check the whole list, then copy segment by segment."""
        data = command.parameter_list
        if not cdb.parameter_list_length:
            return Completion()
        if len(data) < _HEADER:
            raise CheckCondition(asc.PARAMETER_LIST_LENGTH_ERROR)
        identifier, flags, cscd_length, segment_length, inline = struct.unpack_from(">BBH4xII", data)
        usage = flags >> 3 & 3
        if cscd_length + segment_length > _MAX_LIST or _HEADER + cscd_length + segment_length > len(data):
            raise CheckCondition(asc.PARAMETER_LIST_LENGTH_ERROR)
        if inline:
            raise CheckCondition(asc.INLINE_DATA_LENGTH_EXCEEDED)
        if flags & 0xC0 or usage == 1 or (usage == _NO_LIST_ID and identifier):
            raise _invalid(0 if usage == _NO_LIST_ID else 1)
        cscds = _cscd_list(data[_HEADER : _HEADER + cscd_length])
        start = _HEADER + cscd_length
        segments = _segment_list(data[start : start + segment_length], start)
        record = CopyRecord()
        if usage not in (_DISCARD, _NO_LIST_ID):
            records = self.copies.setdefault(command.nexus, {})
            records.pop(identifier, None)
            while len(records) >= _KEPT:
                del records[next(iter(records))]
            records[identifier] = record
        return self._copy_steps(command, cscds, segments, record)

    def _copy_steps(
        self, command: Command, cscds: list[bytes], segments: list[Segment], record: CopyRecord
    ) -> Steps:
        try:
            for segment in segments:
                yield from self._copy_segment(command, cscds, segment, record)
                record.segments += 1
        except CheckCondition as refusal:
            record.sense = refusal.sense
            raise
        except IoFailed:
            record.sense = Sense(asc.THIRD_PARTY_DEVICE_FAILURE)
            raise CheckCondition(asc.THIRD_PARTY_DEVICE_FAILURE) from None
        finally:
            record.done = True
        return Completion()

    def _copy_segment(
        self, command: Command, cscds: list[bytes], segment: Segment, record: CopyRecord
    ) -> Generator[IoRequest[Any], Any, None]:
        source = self._resolve(command, cscds, segment.source)
        target = self._resolve(command, cscds, segment.destination)
        from_disk, to_disk = _disk_of(source), _disk_of(target)
        counted = to_disk if segment.of_destination else from_disk
        length = segment.blocks * counted.block_size
        if length % from_disk.block_size or length % to_disk.block_size:
            raise CheckCondition(asc.with_key(asc.UNEXPECTED_INEXACT_SEGMENT, SenseKey.COPY_ABORTED))
        self._check_access(command, source, 0x28, segment.source_lba, length // from_disk.block_size)
        self._check_access(command, target, 0x2A, segment.destination_lba, length // to_disk.block_size)
        yield from self._move(source.unit, segment.source_lba, target.unit, segment.destination_lba, length, record)

    def _move(
        self, source: LogicalUnit, source_lba: int, target: LogicalUnit, target_lba: int, length: int,
        record: CopyRecord,
    ) -> Generator[IoRequest[Any], Any, None]:
        from_disk, to_disk = _disk(source), _disk(target)
        unit = max(from_disk.block_size, to_disk.block_size)
        # Overlapping ranges of one unit: backwards where the destination lies behind (SPC-4 6.4.6.2 asks for the
        # result of reading everything first only within a segment that fits a buffer; this gives it for all).
        backwards = source is target and source_lba < target_lba
        step = max(_PIECE // unit, 1) * unit
        common = from_disk.block_size * to_disk.block_size
        if from_disk.block_size != to_disk.block_size:
            step = -(-_PIECE // common) * common
        starts = range(0, length, step)
        for start in reversed(starts) if backwards else starts:
            size = min(step, length - start)
            first, blocks = source_lba + start // from_disk.block_size, size // from_disk.block_size
            data = bytes((yield from self._on(source, from_disk.read_blocks(first, blocks))))
            to = target_lba + start // to_disk.block_size
            tags = to_disk.generated_protection(_NO_FIELDS, data, to) if to_disk.pi_type else None
            yield from self._on(target, to_disk.write_blocks(to, data, tags, fua=False))
            record.bytes_copied += size
        if not to_disk.write_cache:
            yield from self._on(target, Flush())
        from_disk.counters.blocks_read += length // from_disk.block_size
        to_disk.counters.blocks_written += length // to_disk.block_size
        to_disk.allocation_changed()

    def _on(self, unit: LogicalUnit, steps: Any) -> Generator[IoRequest[Any], Any, Any]:
        """Steps of a unit's disk, with their requests sent to that unit's store."""
        iterator = iter(steps)
        if unit is self.unit:
            return (yield from iterator)
        answer: Any = None
        send = iterator.send
        while True:
            try:
                request = send(answer)
            except StopIteration as done:
                return done.value
            try:
                answer, send = (yield Elsewhere(unit, request)), iterator.send
            except IoFailed as failure:
                answer, send = failure, iterator.throw

    def _resolve(self, command: Command, cscds: list[bytes], number: int) -> NexusState:
        """The unit that a CSCD descriptor means, as the issuing nexus sees it."""
        if number >= len(cscds):
            raise CheckCondition(asc.UNREACHABLE_COPY_TARGET)
        cscd = cscds[number]
        if cscd[1] & 0x20:          # NUL: no device
            raise CheckCondition(asc.UNREACHABLE_COPY_TARGET)
        kind, length = cscd[5] & 0x0F, cscd[7]
        designator = cscd[8 : 8 + length]
        if cscd[5] >> 4 & 3 == Association.LOGICAL_UNIT and length <= 20:
            for state in command.nexus.units.values():
                server = state.unit.server
                if isinstance(server, DiskBase) and any(
                    each.type == kind and each.data == designator and each.code_set == cscd[4] & 0x0F
                    for each in server.designators()
                ):
                    return state
        raise CheckCondition(asc.COPY_TARGET_DEVICE_NOT_REACHABLE)

    def _check_access(self, command: Command, state: NexusState, opcode: int, lba: int, blocks: int) -> None:
        """What a READ or WRITE of the same nexus would be refused for ends the copy (SPC-4 5.17.7.4)."""
        disk = _disk_of(state)
        operations = disk.table.by_opcode[opcode]
        if lba + blocks > disk.blocks:
            raise CheckCondition(_NOTHING)
        if disk.not_ready() is not None:
            raise CheckCondition(asc.THIRD_PARTY_DEVICE_FAILURE)
        if disk.reserved and disk.conflicts(command, operations[0], _NO_FIELDS):
            raise CheckCondition(asc.THIRD_PARTY_DEVICE_FAILURE)
        if opcode == 0x2A and (state.read_only or disk.config.write_protect or disk.control.swp):
            raise CheckCondition(asc.THIRD_PARTY_DEVICE_FAILURE)

    # --- RECEIVE COPY RESULTS ----------------------------------------------------------------------------------

    @operation(
        0x84, "RECEIVE COPY STATUS(LID1)", layouts.RECEIVE_COPY, service_action=0x00, data=DataDirection.IN,
        conflict=ReservationClass.PERSISTENT_ALLOWED, allocation="allocation_length", standard="SPC-4 6.20",
    )
    def receive_copy_status(self, command: Command, cdb: CdbFields) -> Completion:
        """How a copy goes, or went."""
        record = self._record(command, cdb)
        status = 0 if not record.done else 1 if record.sense is None else 2
        units = 0
        count = record.bytes_copied
        while count > 0xFFFFFFFF:       # bytes, KiB, MiB ... (SPC-4 table 246)
            units, count = units + 1, count >> 10
        return Completion(struct.pack(">IBHBI", 8, status, record.segments, units, count))

    @operation(
        0x84, "RECEIVE COPY OPERATING PARAMETERS", layouts.RECEIVE_COPY, service_action=0x03, data=DataDirection.IN,
        conflict=ReservationClass.PERSISTENT_ALLOWED, allocation="allocation_length", standard="SPC-4 6.19",
    )
    def receive_copy_operating_parameters(self, command: Command, cdb: CdbFields) -> Completion:
        """The limits of the copy manager."""
        codes = bytes((_BLOCK_TO_BLOCK, _IDENTIFICATION))
        body = struct.pack(
            ">B3xHHIIIII2xHBBBB3xB", 0, _MAX_CSCDS, _MAX_SEGMENTS, _MAX_LIST, 0, 0, 0, 0, 0xFFFF, 1, _GRANULARITY,
            0, 0, len(codes),
        ) + codes
        return Completion(len(body).to_bytes(4, "big") + body)

    @operation(
        0x84, "RECEIVE COPY FAILURE DETAILS(LID1)", layouts.RECEIVE_COPY, service_action=0x04,
        data=DataDirection.IN, conflict=ReservationClass.PERSISTENT_ALLOWED, allocation="allocation_length",
        standard="SPC-4 6.18",
    )
    def receive_copy_failure_details(self, command: Command, cdb: CdbFields) -> Completion:
        """The sense data of a copy that failed."""
        record = self._record(command, cdb)
        if record.sense is None:
            return Completion(bytes(4))
        sense = record.sense.encode(descriptor=self.descriptor_sense)
        body = bytes(52) + struct.pack(">BxH", 0x02, len(sense)) + sense
        return Completion(len(body).to_bytes(4, "big") + body)

    def _record(self, command: Command, cdb: CdbFields) -> CopyRecord:
        record = self.copies.get(command.nexus, {}).get(cdb.list_identifier)
        if record is None:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="list_identifier")
        return record

    @vpd_page(0x8F, "Third-party copy", standard="SPC-4 7.8.17")
    def vpd_third_party_copy(self, command: Command) -> bytes:
        """The commands (from the operation table), the limits and the descriptors of the copy manager."""
        supported = b""
        for opcode in (0x83, 0x84):
            actions = bytes(each.service_action or 0 for each in self.table.by_opcode[opcode])
            supported += bytes((opcode, len(actions))) + actions
        codes = bytes((_BLOCK_TO_BLOCK, _IDENTIFICATION))
        return (
            _copy_descriptor(0x0001, bytes((len(supported),)) + supported)
            + _copy_descriptor(
                0x0004, struct.pack(">4xHHII12x", _MAX_CSCDS, _MAX_SEGMENTS, _MAX_LIST, 0)
            )
            + _copy_descriptor(0x0008, bytes((len(codes),)) + codes)
            + _copy_descriptor(0x8001, struct.pack(">IIIBB18x", 0xFFFF, 0xFFFF, 0, _GRANULARITY, 0))
        )


# Stands for the CDB of the READ or WRITE that a copy does on behalf of an initiator.
_NO_FIELDS: Final = CdbFields({})


def _disk_of(state: NexusState) -> DiskBase:
    return _disk(state.unit)


def _disk(unit: LogicalUnit) -> DiskBase:
    server = unit.server
    assert isinstance(server, DiskBase)
    return server


def _copy_descriptor(kind: int, body: bytes) -> bytes:
    """A third-party copy descriptor, padded to a multiple of four bytes."""
    body += bytes(-len(body) % 4)
    return struct.pack(">HH", kind, len(body)) + body


def _cscd_list(data: bytes) -> list[bytes]:
    """The CSCD descriptors, of which there may be too many or unknown ones."""
    count = len(data) // _CSCD_SIZE
    if count > _MAX_CSCDS:
        raise CheckCondition(asc.TOO_MANY_TARGET_DESCRIPTORS)
    if len(data) % _CSCD_SIZE:
        raise CheckCondition(asc.PARAMETER_LIST_LENGTH_ERROR)
    found = [data[at : at + _CSCD_SIZE] for at in range(0, len(data), _CSCD_SIZE)]
    # LU ID TYPE says how to read a LUN field; this kind of descriptor has none.
    if any(cscd[0] != _IDENTIFICATION for cscd in found):
        raise CheckCondition(asc.UNSUPPORTED_TARGET_DESCRIPTOR_TYPE_CODE)
    return found


def _segment_list(data: bytes, start: int) -> list[Segment]:
    """The segment descriptors."""
    found: list[Segment] = []
    at = 0
    while at < len(data):
        if len(found) == _MAX_SEGMENTS:
            raise CheckCondition(asc.TOO_MANY_SEGMENT_DESCRIPTORS)
        if data[at] != _BLOCK_TO_BLOCK:
            raise CheckCondition(asc.UNSUPPORTED_SEGMENT_DESCRIPTOR_TYPE_CODE)
        if at + _SEGMENT_SIZE > len(data):
            raise CheckCondition(asc.PARAMETER_LIST_LENGTH_ERROR)
        if int.from_bytes(data[at + 2 : at + 4], "big") != _SEGMENT_SIZE - 4:
            raise _invalid(start + at + 2)
        source, target, blocks, source_lba, target_lba = _SEGMENT.unpack_from(data, at)
        found.append(Segment(source, target, blocks, source_lba, target_lba, bool(data[at + 1] & 2)))
        at += _SEGMENT_SIZE
    return found


def _invalid(byte: int) -> CheckCondition:
    """INVALID FIELD IN PARAMETER LIST at a byte."""
    pointer = FieldPointer(byte, in_cdb=False)
    return CheckCondition(asc.INVALID_FIELD_IN_PARAMETER_LIST, pointer=pointer)

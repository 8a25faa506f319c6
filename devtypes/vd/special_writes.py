"""COMPARE AND WRITE, ORWRITE, WRITE ATOMIC, streams, and the cache commands (SBC-4 5.3, 5.9, 5.7, 5.33, 5.50, 5.53).

A stream is an identifier that is open: the store keeps all blocks alike, so it decides nothing about placement.
WRITE ATOMIC is one write to the store, exclusive in its range; against power loss it is as atomic as the store is.
"""

from __future__ import annotations

from typing import Any, Final

from devtypes.vd import layouts
from devtypes.vd.config import PI_SIZE
from devtypes.vd.protection import interleave
from devtypes.vd.read_write import ReadWrite
from scsiemu import asc
from scsiemu.cdb import CdbFields
from scsiemu.command import Buffer, Command, Completion, Steps
from scsiemu.io_requests import DataOut, Flush, Write
from scsiemu.operations import DataDirection, ReservationClass, Result, operation
from scsiemu.sam import Status
from scsiemu.sense import CheckCondition

__all__ = ["SpecialWrites"]

_RANGE: Final = ("lba", "transfer_length")
_OPEN: Final = 1
_CLOSE: Final = 2


class SpecialWrites(ReadWrite):
    """Writes that do more than write.

    Attributes:
        streams: identifiers of the open streams.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        self.streams: set[int] = set()
        super().__init__(*args, **options)

    @operation(
        0x89, "COMPARE AND WRITE", layouts.COMPARE_AND_WRITE, data=DataDirection.OUT, needs_ready=True,
        range=_RANGE, exclusive=True, standard="SBC-4 5.3",
    )
    def compare_and_write(self, command: Command, cdb: CdbFields) -> Result:
        """Write the second half of Data-Out where the medium has the first half; else MISCOMPARE."""
        lba, blocks = cdb.lba, cdb.transfer_length
        protect = self.check_protect(cdb, thirty_two=False)
        self.check_range(lba, blocks)
        if blocks > self.config.max_compare:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="transfer_length")
        if not blocks:
            # Data for whole blocks and a count of zero: a count that does not fit its field, whose data must not
            # be taken for written.
            if command.data_out_length >= 2 * self.block_size:
                raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="transfer_length")
            return Completion()
        size = 2 * blocks * (self.block_size + (PI_SIZE if protect else 0))
        # With half an operation's data there is nothing to compare or nothing to write (SAM-5 5.4.3).
        if command.data_out_length != size:
            raise CheckCondition(asc.INVALID_FIELD_IN_COMMAND_INFORMATION_UNIT)
        self.check_readable(lba, blocks)
        return self._compare_and_write_steps(cdb, protect, size)

    def _compare_and_write_steps(self, cdb: CdbFields, protect: int, size: int) -> Steps:
        lba, blocks = cdb.lba, cdb.transfer_length
        raw: Buffer = yield from DataOut(size)
        whole = bytes(raw)
        expected, wanted = whole[: size // 2], whole[size // 2 :]
        data, tags = self.split(cdb, protect, lba, blocks, wanted)
        stored = yield from self.read_blocks(lba, blocks)
        if self.pi_type:
            old_tags = yield from self.read_protection(lba, blocks)
            self.protection_check(cdb, protect, lba, blocks).check(stored, old_tags, self.block_size, lba)
            if protect:
                stored = interleave(stored, old_tags, self.block_size)
        self.counters.read_commands += 1
        self.counters.blocks_read += blocks
        self.compare(expected, stored)
        self.counters.write_commands += 1
        self.counters.blocks_written += blocks
        yield from self.write_blocks(lba, data, tags, fua=bool(cdb.fua) or not self.write_cache)
        self.allocation_changed()
        return Completion()

    @operation(
        0x8B, "ORWRITE(16)", layouts.ORWRITE_16, data=DataDirection.OUT, needs_ready=True, range=_RANGE,
        exclusive=True, standard="SBC-4 5.9",
    )
    def orwrite(self, command: Command, cdb: CdbFields) -> Result:
        """Write the OR of the medium's and the initiator's data."""
        protect = self.check_protect(cdb, thirty_two=False)
        self.check_transfer(cdb.lba, cdb.transfer_length)
        if not cdb.transfer_length:
            return Completion()
        self.check_readable(cdb.lba, cdb.transfer_length)
        self.counters.write_commands += 1
        self.counters.blocks_written += cdb.transfer_length
        return self._orwrite_steps(cdb, protect)

    def _orwrite_steps(self, cdb: CdbFields, protect: int) -> Steps:
        lba = cdb.lba
        data, _ = yield from self.receive(cdb, protect, lba, cdb.transfer_length)
        blocks = len(data) // self.block_size
        stored = yield from self.read_blocks(lba, blocks)
        if self.pi_type:
            old_tags = yield from self.read_protection(lba, blocks)
            self.protection_check(cdb, protect, lba, blocks).check(stored, old_tags, self.block_size, lba)
        merged = int.from_bytes(data, "big") | int.from_bytes(stored, "big")
        result = merged.to_bytes(len(data), "big")
        # The guard is that of the result, so the device server makes it (SBC-4 4.21.2).
        tags = self.generated_protection(cdb, result, lba) if self.pi_type else None
        yield from self.write_blocks(lba, result, tags, fua=bool(cdb.fua) or not self.write_cache)
        self.allocation_changed()
        return Completion()

    @operation(
        0x9C, "WRITE ATOMIC(16)", layouts.WRITE_ATOMIC_16, data=DataDirection.OUT, needs_ready=True,
        range=_RANGE, exclusive=True, standard="SBC-4 5.50",
    )
    def write_atomic(self, command: Command, cdb: CdbFields) -> Result:
        """All of the blocks or none. An atomic boundary is not supported: MAXIMUM ATOMIC BOUNDARY SIZE is zero."""
        config = self.config
        lba, blocks = cdb.lba, cdb.transfer_length
        self.check_protect(cdb, thirty_two=False)
        self.check_range(lba, blocks)
        if cdb.atomic_boundary:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="atomic_boundary")
        if blocks > config.max_atomic:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="transfer_length")
        if config.atomic_alignment and lba % config.atomic_alignment:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="lba")
        if config.atomic_granularity and blocks % config.atomic_granularity:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="transfer_length")
        size = self.block_size + (PI_SIZE if cdb.protect else 0)
        if command.data_out_length < blocks * size:     # a part would not be all or nothing
            raise CheckCondition(asc.INVALID_FIELD_IN_COMMAND_INFORMATION_UNIT)
        result = self.write_data(cdb, blocks, fua=bool(cdb.fua))
        if isinstance(result, Write):
            result.atom = result.length
        return result

    # --- streams -----------------------------------------------------------------------------------------------

    @operation(
        0x9A, "WRITE STREAM(16)", layouts.WRITE_STREAM_16, data=DataDirection.OUT, needs_ready=True,
        range=_RANGE, standard="SBC-4 5.53",
    )
    def write_stream(self, command: Command, cdb: CdbFields) -> Result:
        """WRITE that belongs to an open stream."""
        if cdb.stream_identifier not in self.streams:
            raise CheckCondition(asc.STREAM_NOT_OPEN, field="stream_identifier")
        return self.write_data(cdb, cdb.transfer_length, fua=bool(cdb.fua))

    @operation(
        0x9E, "STREAM CONTROL", layouts.STREAM_CONTROL, service_action=0x14, data=DataDirection.IN,
        needs_ready=True, allocation="allocation_length", standard="SBC-4 5.32",
    )
    def stream_control(self, command: Command, cdb: CdbFields) -> Completion:
        """Open a stream, whose identifier is assigned, or close one."""
        identifier = cdb.stream_identifier
        if cdb.stream_control == _OPEN:
            # Identifiers are less than MAXIMUM NUMBER OF STREAMS (SBC-4 6.6.5); 0 looks like none, so it comes last.
            free = [each for each in (*range(1, self.config.max_streams), 0) if each not in self.streams]
            if not free:
                raise CheckCondition(asc.with_key(asc.MAXIMUM_NUMBER_OF_STREAMS_OPEN, 0x05))
            identifier = free[0]
            self.streams.add(identifier)
        elif cdb.stream_control == _CLOSE:
            if identifier not in self.streams:
                raise CheckCondition(asc.STREAM_NOT_OPEN, field="stream_identifier")
            self.streams.remove(identifier)
            identifier = 0
        else:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="stream_control")
        return Completion(bytes((7, 0, 0, 0)) + identifier.to_bytes(2, "big") + bytes(2))

    @operation(
        0x9E, "GET STREAM STATUS", layouts.GET_STREAM_STATUS, service_action=0x16, data=DataDirection.IN,
        conflict=ReservationClass.PERSISTENT_ALLOWED, needs_ready=True, allocation="allocation_length",
        standard="SBC-4 5.8",
    )
    def get_stream_status(self, command: Command, cdb: CdbFields) -> Completion:
        """The open streams from an identifier on."""
        if cdb.stream_identifier > self.config.max_streams:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="stream_identifier")
        found = sorted(each for each in self.streams if each >= cdb.stream_identifier)
        body = b"".join(bytes(2) + each.to_bytes(2, "big") + bytes(4) for each in found)
        header = len(body).to_bytes(4, "big") + bytes(2) + len(self.streams).to_bytes(2, "big")
        return Completion(header + body)

    # --- cache -------------------------------------------------------------------------------------------------

    @operation(
        0x34, "PRE-FETCH(10)", layouts.PRE_FETCH_10, conflict=ReservationClass.READ, needs_ready=True,
        standard="SBC-4 5.10",
    )
    @operation(
        0x90, "PRE-FETCH(16)", layouts.PRE_FETCH_16, conflict=ReservationClass.READ, needs_ready=True,
        standard="SBC-4 5.11",
    )
    def pre_fetch(self, command: Command, cdb: CdbFields) -> Completion:
        """CONDITION MET: the store's cache has no size of ours, all blocks fit (SBC-4 5.10)."""
        self.check_range(cdb.lba, cdb.transfer_length)
        return Completion(status=Status.CONDITION_MET)

    @operation(
        0x35, "SYNCHRONIZE CACHE(10)", layouts.SYNCHRONIZE_CACHE_10, needs_ready=True, standard="SBC-4 5.33",
    )
    @operation(
        0x91, "SYNCHRONIZE CACHE(16)", layouts.SYNCHRONIZE_CACHE_16, needs_ready=True, standard="SBC-4 5.34",
    )
    def synchronize_cache(self, command: Command, cdb: CdbFields) -> Result:
        """Everything written goes to the medium; with IMMED the status comes before."""
        self.check_range(cdb.lba, cdb.transfer_length)
        if not cdb.immed:
            return Flush()
        self.unit.start_background(self.flush_steps(command.nexus), "synchronize cache")
        return Completion()

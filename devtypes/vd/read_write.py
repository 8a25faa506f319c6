"""READ, WRITE, VERIFY and WRITE AND VERIFY in all their sizes (SBC-4 5.11 to 5.14, 5.42 to 5.49).

The plain disk's READ(10), READ(16), WRITE(10) and WRITE(16) have fast forms, which leave every unusual case to the
ordinary ones. DPO is taken and has nothing to act on; RARC too: there is no retry that it could avoid.
"""

from __future__ import annotations

import struct
from collections.abc import Generator
from typing import Any, Final

from devtypes.vd import layouts
from devtypes.vd.base import DiskBase
from devtypes.vd.config import PI_SIZE
from devtypes.vd.protection import compare_protection, interleave, repeated_protection, separate
from scsiemu import asc
from scsiemu.cdb import CdbFields
from scsiemu.command import Buffer, Command, Completion, Steps
from scsiemu.io_requests import DataOut, Flush, IoRequest, Read, Write
from scsiemu.operations import DataDirection, ReservationClass, Result, operation
from scsiemu.sense import CheckCondition

__all__ = ["ReadWrite", "first_difference"]

_RW_10: Final = struct.Struct(">BBIBHB").unpack_from
_RW_16: Final = struct.Struct(">BBQIBB").unpack_from
_DPO: Final = 0x10
_DPO_FUA: Final = 0x18
_FUA: Final = 0x08

_SIX_BLOCKS: Final = 256            # TRANSFER LENGTH zero of the 6-byte forms (SBC-4 5.10)
_RANGE: Final = ("lba", "transfer_length")
_NO_GUARD: Final = 2                # PROTECT 010b


def _type_2(disk: DiskBase) -> bool:
    """SBC-4 5.14: the 32-byte forms are there for type 2 protection only."""
    return disk.config.pi_type == 2


class ReadWrite(DiskBase):
    """The medium access commands."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.fast_reads = frozenset((0x00, 0x28, 0x88))
        self.fast_operations[0x00] = self.fast_test_unit_ready
        self.fast_operations[0x28] = self.fast_read_10
        self.fast_operations[0x2A] = self.fast_write_10
        self.fast_operations[0x88] = self.fast_read_16
        self.fast_operations[0x8A] = self.fast_write_16

    # --- hot ---------------------------------------------------------------------------------------------------

    def fast_test_unit_ready(self, command: Command) -> Completion | None:  # hot
        """TEST UNIT READY, where the medium can be read."""
        cdb = command.cdb
        return None if not self.fast_read or len(cdb) < 6 or any(cdb[1:6]) else Completion()

    def fast_read_10(self, command: Command) -> IoRequest[Any] | None:  # hot
        """READ(10) without flags but DPO, of blocks that are there."""
        cdb = command.cdb
        if len(cdb) < 10 or not self.fast_read:
            return None
        _, flags, lba, group, blocks, control = _RW_10(cdb)
        if flags & ~_DPO or group or control or not 0 < blocks <= self.max_transfer or lba + blocks > self.blocks:
            return None
        counters = self.counters
        counters.read_commands += 1
        counters.blocks_read += blocks
        return Read(lba * self.block_size, blocks * self.block_size)

    def fast_read_16(self, command: Command) -> IoRequest[Any] | None:  # hot
        """READ(16) without flags but DPO, of blocks that are there."""
        cdb = command.cdb
        if len(cdb) < 16 or not self.fast_read:
            return None
        _, flags, lba, blocks, group, control = _RW_16(cdb)
        if flags & ~_DPO or group or control or not 0 < blocks <= self.max_transfer or lba + blocks > self.blocks:
            return None
        counters = self.counters
        counters.read_commands += 1
        counters.blocks_read += blocks
        return Read(lba * self.block_size, blocks * self.block_size)

    def fast_write_10(self, command: Command) -> IoRequest[Any] | None:  # hot
        """WRITE(10) without flags but DPO and FUA, to blocks that are there."""
        cdb = command.cdb
        if len(cdb) < 10 or not self.fast_write or command.nexus_state.read_only:
            return None
        _, flags, lba, group, blocks, control = _RW_10(cdb)
        if flags & ~_DPO_FUA or group or control:
            return None
        if not 0 < blocks <= self.max_transfer or lba + blocks > self.blocks:
            return None
        counters = self.counters
        counters.write_commands += 1
        counters.blocks_written += blocks
        size = self.block_size
        return Write(lba * size, blocks * size, None, not self.write_cache or flags & _FUA != 0, size)

    def fast_write_16(self, command: Command) -> IoRequest[Any] | None:  # hot
        """WRITE(16) without flags but DPO and FUA, to blocks that are there."""
        cdb = command.cdb
        if len(cdb) < 16 or not self.fast_write or command.nexus_state.read_only:
            return None
        _, flags, lba, blocks, group, control = _RW_16(cdb)
        if flags & ~_DPO_FUA or group or control:
            return None
        if not 0 < blocks <= self.max_transfer or lba + blocks > self.blocks:
            return None
        counters = self.counters
        counters.write_commands += 1
        counters.blocks_written += blocks
        size = self.block_size
        return Write(lba * size, blocks * size, None, not self.write_cache or flags & _FUA != 0, size)

    # --- READ --------------------------------------------------------------------------------------------------

    @operation(
        0x08, "READ(6)", layouts.READ_6, data=DataDirection.IN, conflict=ReservationClass.READ, needs_ready=True,
        range=_RANGE, standard="SBC-4 5.10",
    )
    def read_6(self, command: Command, cdb: CdbFields) -> Result:
        """READ without flags; TRANSFER LENGTH zero means 256 blocks."""
        return self._read(cdb, cdb.transfer_length or _SIX_BLOCKS, flush=False)

    @operation(
        0x28, "READ(10)", layouts.READ_10, data=DataDirection.IN, conflict=ReservationClass.READ,
        needs_ready=True, range=_RANGE, standard="SBC-4 5.11",
    )
    @operation(
        0xA8, "READ(12)", layouts.READ_12, data=DataDirection.IN, conflict=ReservationClass.READ,
        needs_ready=True, range=_RANGE, standard="SBC-4 5.12",
    )
    @operation(
        0x88, "READ(16)", layouts.READ_16, data=DataDirection.IN, conflict=ReservationClass.READ,
        needs_ready=True, range=_RANGE, standard="SBC-4 5.13",
    )
    @operation(
        0x7F, "READ(32)", layouts.READ_32, service_action=0x0009, data=DataDirection.IN,
        conflict=ReservationClass.READ, needs_ready=True, range=_RANGE, available=_type_2, standard="SBC-4 5.14",
    )
    def read(self, command: Command, cdb: CdbFields) -> Result:
        """READ."""
        # FUA: what a cache holds goes to the medium first (SBC-4 4.14.2).
        return self._read(cdb, cdb.transfer_length, flush=bool(cdb.fua) and self.write_cache)

    def _read(self, cdb: CdbFields, blocks: int, *, flush: bool) -> Result:
        protect = self.check_protect(cdb, thirty_two=cdb.opcode == 0x7F)
        lba = cdb.lba
        self.check_transfer(lba, blocks)
        self.check_readable(lba, blocks)
        if not blocks:
            return Completion()
        self.counters.read_commands += 1
        self.counters.blocks_read += blocks
        if not self.pi_type and not flush:
            return Read(lba * self.block_size, blocks * self.block_size)
        return self._read_steps(cdb, protect, lba, blocks, flush=flush)

    def _read_steps(self, cdb: CdbFields, protect: int, lba: int, blocks: int, *, flush: bool) -> Steps:
        if flush:
            yield from Flush()
        data = yield from self.read_blocks(lba, blocks)
        self.read_errors.bytes_processed += len(data)
        if not self.pi_type:
            return Completion(data)
        tags = yield from self.read_protection(lba, blocks)
        self.protection_check(cdb, protect, lba, blocks).check(data, tags, self.block_size, lba)
        return Completion(interleave(data, tags, self.block_size) if protect else data)

    # --- WRITE -------------------------------------------------------------------------------------------------

    @operation(
        0x0A, "WRITE(6)", layouts.WRITE_6, data=DataDirection.OUT, needs_ready=True, range=_RANGE,
        standard="SBC-4 5.41",
    )
    def write_6(self, command: Command, cdb: CdbFields) -> Result:
        """WRITE without flags; TRANSFER LENGTH zero means 256 blocks."""
        return self.write_data(cdb, cdb.transfer_length or _SIX_BLOCKS, fua=False)

    @operation(
        0x2A, "WRITE(10)", layouts.WRITE_10, data=DataDirection.OUT, needs_ready=True, range=_RANGE,
        standard="SBC-4 5.42",
    )
    @operation(
        0xAA, "WRITE(12)", layouts.WRITE_12, data=DataDirection.OUT, needs_ready=True, range=_RANGE,
        standard="SBC-4 5.43",
    )
    @operation(
        0x8A, "WRITE(16)", layouts.WRITE_16, data=DataDirection.OUT, needs_ready=True, range=_RANGE,
        standard="SBC-4 5.44",
    )
    @operation(
        0x7F, "WRITE(32)", layouts.WRITE_32, service_action=0x000B, data=DataDirection.OUT, needs_ready=True,
        range=_RANGE, available=_type_2, standard="SBC-4 5.45",
    )
    def write(self, command: Command, cdb: CdbFields) -> Result:
        """WRITE."""
        return self.write_data(cdb, cdb.transfer_length, fua=bool(cdb.fua))

    def write_data(self, cdb: CdbFields, blocks: int, *, fua: bool) -> Result:
        """Check a write completely, then ask for its data."""
        protect = self.check_protect(cdb, thirty_two=cdb.opcode == 0x7F)
        lba = cdb.lba
        self.check_transfer(lba, blocks)
        if not blocks:
            return Completion()
        self.counters.write_commands += 1
        self.counters.blocks_written += blocks
        through = fua or not self.write_cache
        if not (self.pi_type or self.unreadable or self.threshold_armed):
            size = self.block_size
            return Write(lba * size, blocks * size, None, fua=through, atom=size)
        return self._write_steps(cdb, protect, lba, blocks, fua=through)

    def _write_steps(self, cdb: CdbFields, protect: int, lba: int, blocks: int, *, fua: bool) -> Steps:
        data, tags = yield from self.receive(cdb, protect, lba, blocks)
        yield from self.write_blocks(lba, data, tags, fua=fua)
        self.write_errors.bytes_processed += len(data)
        self.allocation_changed()
        return Completion()

    def receive(
        self, cdb: CdbFields, protect: int, lba: int, blocks: int
    ) -> Generator[IoRequest[Any], Any, tuple[bytes, bytes | None]]:
        """Data-Out as user data and protection information, checked or made; whole blocks of what comes."""
        size = self.block_size + (PI_SIZE if protect else 0)
        raw: Buffer = yield from DataOut(blocks * size)
        return self.split(cdb, protect, lba, blocks, bytes(raw[: len(raw) // size * size]))

    def split(
        self, cdb: CdbFields, protect: int, lba: int, blocks: int, whole: bytes
    ) -> tuple[bytes, bytes | None]:
        """User data and protection information of whole blocks that were received, checked or made."""
        if not self.pi_type:
            return whole, None
        if not protect:
            return whole, self.generated_protection(cdb, whole, lba)
        data, tags = separate(whole, self.block_size)
        self.protection_check(cdb, protect, lba, blocks).check(data, tags, self.block_size, lba)
        return data, tags

    # --- WRITE AND VERIFY --------------------------------------------------------------------------------------

    @operation(
        0x2E, "WRITE AND VERIFY(10)", layouts.VERIFY_10, data=DataDirection.OUT, needs_ready=True, range=_RANGE,
        exclusive=True, standard="SBC-4 5.46",
    )
    @operation(
        0xAE, "WRITE AND VERIFY(12)", layouts.VERIFY_12, data=DataDirection.OUT, needs_ready=True, range=_RANGE,
        exclusive=True, standard="SBC-4 5.47",
    )
    @operation(
        0x8E, "WRITE AND VERIFY(16)", layouts.VERIFY_16, data=DataDirection.OUT, needs_ready=True, range=_RANGE,
        exclusive=True, standard="SBC-4 5.48",
    )
    @operation(
        0x7F, "WRITE AND VERIFY(32)", layouts.VERIFY_32, service_action=0x000C, data=DataDirection.OUT,
        needs_ready=True, range=_RANGE, exclusive=True, available=_type_2, standard="SBC-4 5.49",
    )
    def write_and_verify(self, command: Command, cdb: CdbFields) -> Result:
        """WRITE to the medium, then read it back; with BYTCHK 01b compare too. 10b and 11b are reserved."""
        protect = self.check_protect(cdb, thirty_two=cdb.opcode == 0x7F)
        if cdb.bytchk > 1:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="bytchk")
        self.check_transfer(cdb.lba, cdb.transfer_length)
        if not cdb.transfer_length:
            return Completion()
        self.counters.write_commands += 1
        self.counters.blocks_written += cdb.transfer_length
        return self._write_and_verify_steps(cdb, protect, cdb.lba, cdb.transfer_length)

    def _write_and_verify_steps(self, cdb: CdbFields, protect: int, lba: int, blocks: int) -> Steps:
        data, tags = yield from self.receive(cdb, protect, lba, blocks)
        yield from self.write_blocks(lba, data, tags, fua=True)
        stored = yield from self.read_blocks(lba, len(data) // self.block_size)
        self.verify_errors.bytes_processed += len(data)
        self.allocation_changed()
        if cdb.bytchk:
            self.compare(data, stored)
        return Completion()

    # --- VERIFY ------------------------------------------------------------------------------------------------

    @operation(
        0x2F, "VERIFY(10)", layouts.VERIFY_10, data=DataDirection.OUT, conflict=ReservationClass.READ,
        needs_ready=True, range=_RANGE, standard="SBC-4 5.36",
    )
    @operation(
        0xAF, "VERIFY(12)", layouts.VERIFY_12, data=DataDirection.OUT, conflict=ReservationClass.READ,
        needs_ready=True, range=_RANGE, standard="SBC-4 5.37",
    )
    @operation(
        0x8F, "VERIFY(16)", layouts.VERIFY_16, data=DataDirection.OUT, conflict=ReservationClass.READ,
        needs_ready=True, range=_RANGE, standard="SBC-4 5.38",
    )
    @operation(
        0x7F, "VERIFY(32)", layouts.VERIFY_32, service_action=0x000A, data=DataDirection.OUT,
        conflict=ReservationClass.READ, needs_ready=True, range=_RANGE, available=_type_2, standard="SBC-4 5.39",
    )
    def verify(self, command: Command, cdb: CdbFields) -> Result:
        """Read the medium (BYTCHK 00b), compare it with as much data (01b) or with one block (11b)."""
        protect = self.check_protect(cdb, thirty_two=cdb.opcode == 0x7F)
        if cdb.bytchk == 2:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="bytchk")
        self.check_transfer(cdb.lba, cdb.transfer_length)
        self.check_readable(cdb.lba, cdb.transfer_length)
        if not cdb.transfer_length:
            return Completion()
        return self._verify_steps(cdb, protect, cdb.lba, cdb.transfer_length)

    def _verify_steps(self, cdb: CdbFields, protect: int, lba: int, blocks: int) -> Steps:
        if self.write_cache:        # SBC-4 5.36: the medium is verified, so what a cache holds goes there first
            yield from Flush()
        expected: bytes | None = None
        if cdb.bytchk:
            size = self.block_size + (PI_SIZE if protect else 0)
            count = 1 if cdb.bytchk == 3 else blocks
            raw: Buffer = yield from DataOut(count * size)
            expected = bytes(raw)
            if len(expected) % size or (cdb.bytchk == 3 and not expected):
                raise CheckCondition(asc.INVALID_FIELD_IN_COMMAND_INFORMATION_UNIT)
            blocks = blocks if cdb.bytchk == 3 else len(expected) // size
        stored = yield from self.read_blocks(lba, blocks)
        self.verify_errors.bytes_processed += len(stored)
        tags = b""
        if self.pi_type:
            tags = yield from self.read_protection(lba, blocks)
            if expected is None or not protect:     # else what is received stands for it (SBC-4 5.36)
                self.protection_check(cdb, protect, lba, blocks).check(stored, tags, self.block_size, lba)
        if expected is not None:
            self._compare_received(cdb, protect, expected, stored, tags)
        return Completion()

    def _compare_received(self, cdb: CdbFields, protect: int, expected: bytes, stored: Buffer, tags: bytes) -> None:
        """The comparison of VERIFY: user data, and what PROTECT says of protection information (SBC-4 5.36)."""
        if not protect:
            # One block against all: its length divides theirs.
            self.compare(expected * (len(stored) // len(expected)) if cdb.bytchk == 3 else expected, stored)
            return
        data, received = separate(expected, self.block_size)
        blocks = len(stored) // self.block_size
        if cdb.bytchk == 3:
            data, received = data * blocks, repeated_protection(received, blocks, counts=self.pi_type != 3)
        self.protection_check(cdb, protect, cdb.lba, blocks).check(data, received, self.block_size, cdb.lba)
        self.compare(data, stored, between=PI_SIZE)
        owner = self.application_tag_owner
        compare_protection(
            received, tags, guard=protect != _NO_GUARD, application=owner, reference=not (self.pi_type == 3 and owner)
        )

    def compare(self, expected: bytes, stored: Buffer, *, between: int = 0) -> None:
        """Raises CheckCondition with MISCOMPARE; INFORMATION is the offset of the first byte that differs
        (SBC-4 4.18.1, 5.3), with so many bytes `between` the blocks."""
        if expected == stored:
            return
        offset = first_difference(expected, stored)
        offset += offset // self.block_size * between
        raise CheckCondition(asc.MISCOMPARE_DURING_VERIFY_OPERATION, information=offset)


def first_difference(left: Buffer, right: Buffer) -> int:
    """Offset of the first byte that differs of two buffers that do; found by halves, not byte by byte."""
    low, high = 0, min(len(left), len(right))
    one, other = memoryview(left), memoryview(right)
    while low + 1 < high:
        middle = (low + high) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle
    if low < min(len(left), len(right)) and one[low] == other[low]:
        return low + 1
    return low

"""READ, READ REVERSE, WRITE and WRITE FILEMARKS, 6 and 16 (SSC-5 clauses 5 and 6).

The 16-byte commands say where: the tape is positioned there first (explicit addressing). Fixed and variable blocks,
filemarks, end of data, early warning and the end of the partition end a command early; what was left is in INFORMATION.
"""

from __future__ import annotations

from typing import Any, Final

from devtypes.vt import layouts
from devtypes.vt.compression import COMPRESSED, Incompressible, compress, decompress
from devtypes.vt.config import LONGEST_TRANSFER
from devtypes.vt.layouts import tape_operation
from devtypes.vt.load import Loading
from devtypes.vt.medium_layout import HEADER_SIZE, Asking
from devtypes.vt.medium_values import Block, Position, Record
from devtypes.vt.protection import NO_PROTECTION, ProtectionMethod
from devtypes.vt.transfer import Transfer
from scsiemu import asc
from scsiemu.cdb import CdbFields
from scsiemu.command import Buffer, Command, Completion, Steps
from scsiemu.errors import IoFailed, IoFault
from scsiemu.io_requests import DataOut
from scsiemu.nexus import Nexus
from scsiemu.operations import DataDirection, Result
from scsiemu.sense import CheckCondition, SenseCode, SenseKey

__all__ = ["ReadWrite"]

_VOLUME_OVERFLOW: Final = asc.with_key(asc.END_OF_PARTITION_MEDIUM_DETECTED, SenseKey.VOLUME_OVERFLOW)
# ABORTED COMMAND is that of disks (SSC-5 4.2.19).
_GUARD_CHECK_FAILED: Final = asc.with_key(asc.LOGICAL_BLOCK_GUARD_CHECK_FAILED, SenseKey.HARDWARE_ERROR)
# Sense keys of a block that is there but cannot be had: the residual is told with them.
_UNREADABLE: Final = (SenseKey.MEDIUM_ERROR, SenseKey.DATA_PROTECT)


class ReadWrite(Loading):
    """The commands that transfer blocks.

    Attributes:
        protection_write, protection_read: methods of logical block protection of data that comes, and that goes.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        self.protection_write: ProtectionMethod = NO_PROTECTION
        self.protection_read: ProtectionMethod = NO_PROTECTION
        super().__init__(*args, **options)

    # --- blocks as they are stored; encryption is in a class behind this one -----------------------------------

    def seal(self, block: Block, number: int, nexus: Nexus | None) -> Block:
        """A block as it goes to the medium, to become this logical object. Raises CheckCondition."""
        return block

    def unseal(self, record: Record, nexus: Nexus | None) -> tuple[Buffer, int]:
        """Data and flags of a block as they were before `seal`. Raises CheckCondition."""
        return record.data, record.header.flags

    def block_of(self, record: Record, nexus: Nexus | None) -> Buffer:
        """The logical block of a record. Raises CheckCondition."""
        data, flags = self.unseal(record, nexus)
        if flags & COMPRESSED:
            try:
                data = decompress(data, flags, record.header.logical)
            except Incompressible:
                raise CheckCondition(asc.CANNOT_DECOMPRESS_USING_DECLARED_ALGORITHM) from None
        header = record.header
        self.counted.read(header.logical, header.stored, compressed=bool(flags & COMPRESSED))
        return data

    # --- where -------------------------------------------------------------------------------------------------

    def address(self, cdb: CdbFields) -> Asking[None]:
        """Position to what an explicit address names (SSC-5 5.1); nothing for the 6-byte forms."""
        number = getattr(cdb, "logical_object_identifier", None)
        if number is None:
            return
        if cdb.partition >= self.tape.partitions:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="partition")
        if (cdb.partition, number) == self.position[:2]:
            return
        yield from self.settle()
        position = yield from self.tape.locate(cdb.partition, number)
        yield from self.go_to(position)
        if self.position.object != number:
            raise self.end_of_data()

    def go_to(self, position: Position) -> Asking[None]:
        """Move the tape."""
        before = self.position
        self.position = position
        if position[:2] != before[:2]:
            self.counted.locates += 1
        if self.physics.active:
            start = self.tape.beginning(position.partition).offset
            origin = before.offset - start if before.partition == position.partition else 0
            yield from self.physics.move(origin, position.offset - start, self.tape.size(position.partition))

    def end_of_data(self, *, residual: int | None = None, data_in: bytes = b"") -> CheckCondition:
        """The refusal at the end of data; EOM where that is beyond early warning (SSC-5 6.4)."""
        eom = self.beyond_early_warning(self.position)
        return CheckCondition(asc.END_OF_DATA_DETECTED, information=residual, eom=eom, data_in=data_in)

    def fixed_length(self, cdb: CdbFields) -> int:
        """The length of fixed blocks, which has to be set (SSC-5 4.2.9)."""
        if not self.block_length:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="fixed")
        return self.block_length

    # --- READ and READ REVERSE ---------------------------------------------------------------------------------

    @tape_operation(
        0x08, "READ(6)", layouts.READ_6, data=DataDirection.IN, needs_ready=True, exclusive=True, recommended=1200,
        standard="SSC-5 6.4",
    )
    @tape_operation(
        0x88, "READ(16)", layouts.READ_16, data=DataDirection.IN, needs_ready=True, exclusive=True,
        recommended=1200, standard="SSC-5 5.4",
    )
    def read(self, command: Command, cdb: CdbFields) -> Result:
        """Blocks from the position on."""
        return self._read_steps(cdb, self._transfer(command, cdb), backward_bytes=False)

    @tape_operation(
        0x0F, "READ REVERSE(6)", layouts.READ_REVERSE_6, data=DataDirection.IN, needs_ready=True, exclusive=True,
        recommended=1200, standard="SSC-5 6.5",
    )
    @tape_operation(
        0x81, "READ REVERSE(16)", layouts.READ_REVERSE_16, data=DataDirection.IN, needs_ready=True, exclusive=True,
        recommended=1200, standard="SSC-5 5.5",
    )
    def read_reverse(self, command: Command, cdb: CdbFields) -> Result:
        """Blocks before the position, the last one first; with BYTORD the bytes of each in their order."""
        transfer = self._transfer(command, cdb)
        transfer.reverse = True
        return self._read_steps(cdb, transfer, backward_bytes=not cdb.bytord)

    def _transfer(self, command: Command, cdb: CdbFields) -> Transfer:
        """What a READ asks for. Raises CheckCondition where it cannot."""
        if cdb.fixed and cdb.sili:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="sili")
        if cdb.fixed:
            transfer = Transfer.fixed(cdb.transfer_length, self.fixed_length(cdb))
        else:
            transfer = Transfer.variable(cdb.transfer_length, quiet=bool(cdb.sili))
        if transfer.count * transfer.length > LONGEST_TRANSFER:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="transfer_length")
        transfer.nexus = command.nexus
        return transfer

    def _read_steps(self, cdb: CdbFields, transfer: Transfer, *, backward_bytes: bool) -> Steps:
        yield from self.address(cdb)
        before = self.counted.medium_read
        self.counters.read_commands += 1
        try:
            while transfer.done < transfer.count:
                data = yield from self.next_block(transfer)
                if backward_bytes:
                    data = bytes(data)[::-1]
                data = self.protection_read.protect(data)
                self.check_length(transfer, data)
                transfer.take(data)
        finally:
            moved = transfer.taken
            self.counters.blocks_read += moved
            self.count_on_cartridge(read=moved)
        yield from self.physics.transfer(self.counted.medium_read - before, self.unit.now)
        return Completion(transfer.data)

    def count_on_cartridge(self, *, read: int = 0, written: int = 0) -> None:
        """Add to what the cartridge has seen in its life."""
        if self.cartridge is not None:
            self.cartridge.bytes_read += read
            self.cartridge.bytes_written += written

    def next_block(self, transfer: Transfer) -> Asking[Buffer]:
        """The next block of a transfer, and move over it. Raises CheckCondition at whatever else is there."""
        start = self.position
        try:
            record = yield from self.next_record(transfer)
            if record is None:
                raise self._nothing_left(transfer)
            self.position = record.before if transfer.reverse else record.behind
            if record.header.is_mark:
                raise CheckCondition(
                    asc.FILEMARK_DETECTED, filemark=True, information=transfer.residual, data_in=transfer.so_far
                )
            return self.block_of(record, transfer.nexus)
        except IoFailed as failure:
            if failure.fault != IoFault.MEDIUM:
                raise
            yield from self._step_over(start, transfer)
            raise self._unreadable(asc.UNRECOVERED_READ_ERROR, transfer) from None
        except CheckCondition as refusal:
            sense = refusal.sense
            if sense.information is None and sense.code.key in _UNREADABLE:
                if sense.code.key == SenseKey.DATA_PROTECT:
                    self.position = start       # before it: with the right key it can be read (SSC-5 4.2.22.4)
                raise self._unreadable(sense.code, transfer) from None
            raise

    def next_record(self, transfer: Transfer) -> Asking[Record | None]:
        """What a transfer comes to next; None at the end of data or the beginning of the partition."""
        if transfer.reverse:
            return (yield from self.tape.read_before(self.position))
        return (yield from self.tape.read(self.position, (transfer.count - transfer.done) * transfer.length))

    def _step_over(self, start: Position, transfer: Transfer) -> Asking[None]:
        """Where the tape stands after a block that cannot be read: on its other side (SSC-5 6.4)."""
        tape = self.tape
        try:
            if transfer.reverse:
                self.position = yield from tape.locate(start.partition, start.object - 1)
            else:
                self.position = yield from tape.step_over(start)
        except IoFailed:
            self.position = start

    def _unreadable(self, code: SenseCode, transfer: Transfer) -> CheckCondition:
        """The refusal for a block that is damaged, encrypted or otherwise not to be had."""
        if code.key == SenseKey.MEDIUM_ERROR:
            self.media_error(reading=True)
        return CheckCondition(code, information=transfer.residual, data_in=transfer.so_far)

    def _nothing_left(self, transfer: Transfer) -> CheckCondition:
        """The refusal at the end of data, or at the beginning of the partition."""
        if not transfer.reverse:
            return self.end_of_data(residual=transfer.residual, data_in=transfer.so_far)
        return CheckCondition(
            asc.BEGINNING_OF_PARTITION_MEDIUM_DETECTED, eom=True, information=transfer.residual,
            data_in=transfer.so_far,
        )

    def check_length(self, transfer: Transfer, data: Buffer) -> None:
        """Raises CheckCondition with ILI for a block of another length, where that is to be told (SSC-5 6.4)."""
        difference = transfer.length - len(data)
        if not difference or not transfer.lengths_count:
            return
        code = asc.NO_ADDITIONAL_SENSE_INFORMATION
        if transfer.is_fixed:                   # blocks that were not read, this one among them
            raise CheckCondition(code, ili=True, information=transfer.residual, data_in=transfer.so_far)
        if transfer.quiet and (difference > 0 or not self.block_length):
            return
        cut = bytes(data[: transfer.length]) if transfer.wants_data else b""
        raise CheckCondition(code, ili=True, information=difference, data_in=cut)

    # --- WRITE -------------------------------------------------------------------------------------------------

    @tape_operation(
        0x0A, "WRITE(6)", layouts.WRITE_6, data=DataDirection.OUT, needs_ready=True, exclusive=True,
        recommended=1200, standard="SSC-5 6.12",
    )
    @tape_operation(
        0x8A, "WRITE(16)", layouts.WRITE_16, data=DataDirection.OUT, needs_ready=True, exclusive=True,
        recommended=1200, standard="SSC-5 5.11",
    )
    def write(self, command: Command, cdb: CdbFields) -> Steps:
        """Blocks at the position; what was behind it is gone."""
        transfer = self._write_transfer(command, cdb)
        self.check_writable(command)
        yield from self.address(cdb)
        if not transfer.count:
            return Completion()
        yield from self.check_overwrite()
        raw: Buffer = yield from DataOut(transfer.count * transfer.length)
        # What did not come into a buffer of the command's own is only there until the next request.
        data = raw if command.buffer is not None else bytes(raw)
        if not transfer.is_fixed and len(data) < transfer.length:
            raise CheckCondition(asc.INVALID_FIELD_IN_COMMAND_INFORMATION_UNIT)
        blocks = self._blocks(transfer, memoryview(data))
        yield from self._write_blocks(transfer, blocks)
        return Completion()

    def _write_transfer(self, command: Command, cdb: CdbFields) -> Transfer:
        """What a WRITE brings. Raises CheckCondition where its blocks are not of a length that there is."""
        if cdb.fixed:
            transfer = Transfer.fixed(cdb.transfer_length, self.fixed_length(cdb))
        else:
            transfer = Transfer.variable(cdb.transfer_length)
        kind = self.kind
        length = transfer.length - self.protection_write.length
        wrong = not kind.shortest_block <= length <= kind.longest_block or length % (1 << kind.granularity)
        if transfer.count and (wrong or transfer.count * transfer.length > LONGEST_TRANSFER):
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="transfer_length")
        transfer.nexus = command.nexus
        return transfer

    def _blocks(self, transfer: Transfer, data: memoryview) -> list[Block]:
        """The blocks of a WRITE as they are stored: those that came whole, and for which there is room."""
        length = transfer.length
        room = self.tape.room(self.position)
        found: list[Block] = []
        for at in range(0, len(data) - length + 1, length):
            try:
                plain = self.protection_write.check(data[at : at + length])
            except CheckCondition:
                # What came before it is written (SSC-5 4.2.19).
                transfer.guard_failed = True
                break
            packed, flags = compress(plain) if self.compressing else (plain, 0)
            number = self.position.object + len(found)
            block = self.seal(Block(packed, len(plain), flags), number, transfer.nexus)
            if not self.fits(room, len(block.data)):
                transfer.overflowed = True
                break
            room -= HEADER_SIZE + len(block.data)
            found.append(block)
        return found

    def _write_blocks(self, transfer: Transfer, blocks: list[Block]) -> Asking[None]:
        tape, before = self.tape, self.position
        if blocks:
            yield from tape.begin_writing(before)
            self.unsynced = True
            self.may_overwrite = None
            try:
                yield from tape.write(before, blocks)
            except IoFailed as failure:
                transfer.done = tape.end(before.partition).object - before.object
                raise self._write_failed(failure, transfer.residual) from None
            finally:                            # whatever was written before it failed or was aborted
                self.position = tape.end(before.partition)
            transfer.done = len(blocks)
            self._count_written(blocks)
            yield from self.physics.transfer(sum(len(block.data) for block in blocks), self.unit.now)
            if not self.buffered:
                yield from self.synchronize()
        if transfer.guard_failed:
            raise CheckCondition(_GUARD_CHECK_FAILED, information=transfer.residual)
        if transfer.overflowed:
            yield from self.synchronize()
            raise CheckCondition(_VOLUME_OVERFLOW, eom=True, information=transfer.residual)
        yield from self._warn(before)

    def _count_written(self, blocks: list[Block]) -> None:
        total = 0
        for block in blocks:
            self.counted.wrote(block.logical, len(block.data), compressed=self.compressing)
            total += block.logical
        self.counters.write_commands += 1
        self.counters.blocks_written += total
        self.count_on_cartridge(written=total)

    def _write_failed(self, failure: IoFailed, residual: int) -> Exception:
        """The refusal of a write that the store could not do; no room left there is the end of the medium."""
        if failure.fault == IoFault.NO_SPACE:
            return CheckCondition(_VOLUME_OVERFLOW, eom=True, information=residual)
        self.media_error(reading=False)
        if failure.fault == IoFault.MEDIUM:
            return CheckCondition(asc.WRITE_ERROR, information=residual)
        return failure

    def _warn(self, before: Position) -> Asking[None]:
        """Raises CheckCondition beyond early warning, and once on the way into the programmable zone (SSC-5 4.2.4)."""
        if self.beyond_early_warning(self.position):
            yield from self.synchronize()       # SEW: synchronize at early warning
            raise CheckCondition(asc.END_OF_PARTITION_MEDIUM_DETECTED, eom=True, information=0)
        if self.beyond_programmable_warning(self.position) and not self.beyond_programmable_warning(before):
            raise CheckCondition(asc.PROGRAMMABLE_EARLY_WARNING_DETECTED, eom=True, information=0)

    # --- WRITE FILEMARKS ---------------------------------------------------------------------------------------

    @tape_operation(
        0x10, "WRITE FILEMARKS(6)", layouts.WRITE_FILEMARKS_6, needs_ready=True, exclusive=True, recommended=1200,
        standard="SSC-5 6.13",
    )
    @tape_operation(
        0x80, "WRITE FILEMARKS(16)", layouts.WRITE_FILEMARKS_16, needs_ready=True, exclusive=True,
        recommended=1200, standard="SSC-5 5.12",
    )
    def write_filemarks(self, command: Command, cdb: CdbFields) -> Steps:
        """Filemarks at the position; without IMMED all that was written is on the medium then."""
        if cdb.immed and not self.buffered:     # SSC-5 6.13: nothing can be reported early in unbuffered mode
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="immed")
        count, before = cdb.filemark_count, self.position
        if count:
            self.check_writable(command)
        yield from self.address(cdb)
        left = 0
        if count:
            yield from self.check_overwrite()
            before = self.position
            left = yield from self._write_marks(count)
        if cdb.immed:
            self.start_behind(self.flush_steps(), "WRITE FILEMARKS")
        else:
            yield from self.tape.sync()
            self.unsynced = False
        if left:
            raise CheckCondition(_VOLUME_OVERFLOW, eom=True, information=left)
        if count:
            yield from self._warn(before)
        return Completion()

    def _write_marks(self, count: int) -> Asking[int]:
        """Write filemarks as long as there is room; how many are left."""
        tape, before = self.tape, self.position
        written = min(count, tape.room(before) // HEADER_SIZE)
        if written:
            yield from tape.begin_writing(before)
            self.unsynced = True
            self.may_overwrite = None
            try:
                yield from tape.write_marks(before, written)
            except IoFailed as failure:
                done = tape.end(before.partition).object - before.object
                raise self._write_failed(failure, count - done) from None
            finally:
                self.position = tape.end(before.partition)
            self.counted.marks_written += written
        return count - written

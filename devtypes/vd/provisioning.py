"""Logical block provisioning: UNMAP, WRITE SAME, GET LBA STATUS, thresholds (SBC-4 4.7, 5.6, 5.35, 5.51).

What is mapped and how much is used is what the store says; this module remembers neither. Unmapped blocks read as
zeros (LBPRZ 001b). Anchored blocks do not exist: ANCHOR is refused, ANC_SUP is zero.
"""

from __future__ import annotations

import struct
from collections.abc import Generator, Iterator
from itertools import islice
from typing import Any, Final

from devtypes.vd import layouts
from devtypes.vd.config import PI_SIZE
from devtypes.vd.protection import invert, separate
from devtypes.vd.special_writes import SpecialWrites
from scsiemu import asc
from scsiemu._value import value
from scsiemu.cdb import CdbFields
from scsiemu.command import Buffer, Command, Completion, Steps
from scsiemu.io_requests import DataOut, Discard, Extent, ExtentKind, Extents, Fill, Flush, IoRequest, Sleep
from scsiemu.operations import DataDirection, ReservationClass, Result, operation
from scsiemu.sense import CheckCondition, FieldPointer

__all__ = ["LbaRange", "Provisioning", "lba_ranges"]

_RANGE: Final = ("lba", "transfer_length")
_STATUS_DESCRIPTOR: Final = struct.Struct(">QIBB2x")
_UNMAP_DESCRIPTOR: Final = struct.Struct(">QI4x")
_MAPPED: Final = 0
_DEALLOCATED: Final = 1

_PIECE: Final = 8 << 20             # bytes that are filled before other commands get a turn
_SCAN_LIMIT: Final = 1024           # extents that are asked for at a time
_MAX_COUNT: Final = 0xFFFFFFFF      # NUMBER OF LOGICAL BLOCKS of a descriptor
_NO_LIMIT: Final = 0xFFFFFFFF       # MAXIMUM UNMAP LBA COUNT (SBC-4 6.6.4)
_UNPROTECTED: Final = b"\xff" * PI_SIZE


@value
class LbaRange:
    """Blocks of one kind, `blocks` from `lba`."""

    lba: int
    blocks: int
    mapped: bool


class Provisioning(SpecialWrites):
    """The commands of thin provisioning; WRITE SAME is there on thick disks too."""

    def is_thin(self) -> bool:
        """Logical block provisioning management is enabled (LBPME)."""
        return self.config.thin

    # --- UNMAP -------------------------------------------------------------------------------------------------

    @operation(
        0x42, "UNMAP", layouts.UNMAP, data=DataDirection.OUT, needs_ready=True, exclusive=True,
        parameter_list="parameter_list_length", available=is_thin, standard="SBC-4 5.35",
    )
    def unmap(self, command: Command, cdb: CdbFields) -> Result:
        """Deallocate the ranges of a list, which is checked as a whole before anything happens."""
        if cdb.anchor:      # SBC-4 5.35: ANC_SUP is zero
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="anchor")
        if not cdb.parameter_list_length:
            return Completion()
        return self._unmap_steps(list(self._unmap_list(command.parameter_list)))

    def _unmap_list(self, data: bytes) -> Iterator[tuple[int, int]]:
        """The ranges of an UNMAP parameter list. Raises CheckCondition."""
        if len(data) < 8:
            raise CheckCondition(asc.PARAMETER_LIST_LENGTH_ERROR)
        data_length, length = struct.unpack_from(">HH", data)
        # SBC-4 5.35.2: a descriptor that is cut is ignored, and so is what lies behind the list.
        usable = min(length, max(data_length - 6, 0), len(data) - 8)
        count = usable // _UNMAP_DESCRIPTOR.size
        if count > self.config.max_unmap_descriptors:
            raise _invalid_list(2)
        total = 0
        for number in range(count):
            at = 8 + number * _UNMAP_DESCRIPTOR.size
            lba, blocks = _UNMAP_DESCRIPTOR.unpack_from(data, at)
            total += blocks
            if total > self.config.max_unmap_blocks != _NO_LIMIT:
                raise _invalid_list(at + 8)
            if lba + blocks > self.blocks:
                raise CheckCondition(
                    asc.LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE, information=max(lba, self.blocks),
                    pointer=FieldPointer(at, in_cdb=False),
                )
            yield lba, blocks

    def _unmap_steps(self, ranges: list[tuple[int, int]]) -> Steps:
        for lba, blocks in ranges:
            if blocks:
                yield from self.deallocate(lba, blocks)
        self.allocation_changed()
        return Completion()

    def deallocate(self, lba: int, blocks: int) -> Generator[IoRequest[Any], Any, None]:
        """Deallocate a range and its protection information; both read as never written then."""
        yield from Discard(lba * self.block_size, blocks * self.block_size)
        if self.pi_type:
            yield from Discard(self.config.pi_offset + lba * PI_SIZE, blocks * PI_SIZE)
        self.mark_written(lba, blocks)

    # --- WRITE SAME --------------------------------------------------------------------------------------------

    @operation(
        0x41, "WRITE SAME(10)", layouts.WRITE_SAME_10, data=DataDirection.OUT, needs_ready=True, range=_RANGE,
        exclusive=True, standard="SBC-4 5.51",
    )
    @operation(
        0x93, "WRITE SAME(16)", layouts.WRITE_SAME_16, data=DataDirection.OUT, needs_ready=True, range=_RANGE,
        exclusive=True, standard="SBC-4 5.52",
    )
    @operation(
        0x7F, "WRITE SAME(32)", layouts.WRITE_SAME_32, service_action=0x000D, data=DataDirection.OUT,
        needs_ready=True, range=_RANGE, exclusive=True, standard="SBC-4 5.53",
        available=lambda disk: disk.config.pi_type == 2,
    )
    def write_same(self, command: Command, cdb: CdbFields) -> Result:
        """One block to a range, or the range deallocated."""
        protect = self.check_protect(cdb, thirty_two=cdb.opcode == 0x7F)
        blocks = self._same_range(cdb)
        ndob = bool(getattr(cdb, "ndob", 0))
        if cdb.anchor:      # SBC-4 table 164: ANC_SUP is zero
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="anchor")
        if cdb.unmap and not self.config.thin:      # SBC-4 5.51: LBPWS, LBPWS10 are zero
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="unmap")
        size = self.block_size + (PI_SIZE if protect else 0)
        self._check_same_length(command, cdb, size, ndob=ndob)
        if not blocks:
            return Completion()
        self.counters.write_commands += 1
        self.counters.blocks_written += blocks
        without_data = ndob or not command.data_out_length
        return self._write_same_steps(cdb, protect, blocks, size, without_data=without_data)

    def _same_range(self, cdb: CdbFields) -> int:
        """How many blocks; zero means all to the end (WSNZ is zero), within MAXIMUM WRITE SAME LENGTH."""
        self.check_range(cdb.lba, cdb.transfer_length or 1)
        blocks = cdb.transfer_length or self.blocks - cdb.lba
        if blocks > self.config.max_write_same:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="transfer_length")
        return int(blocks)

    def _check_same_length(self, command: Command, cdb: CdbFields, size: int, *, ndob: bool) -> None:
        """The Data-Out Buffer has one block, no more, no less. None with NDOB; and with UNMAP none is needed
        either, as what it would be compared with are zeros."""
        sent = command.data_out_length
        if ndob:
            return
        if sent != size and not (cdb.unmap and not sent):
            raise CheckCondition(asc.INVALID_FIELD_IN_COMMAND_INFORMATION_UNIT)

    def _write_same_steps(
        self, cdb: CdbFields, protect: int, blocks: int, size: int, *, without_data: bool
    ) -> Steps:
        lba = cdb.lba
        if without_data:        # SBC-4 5.52: NDOB stands for zeros, and for FFh in all of the protection information
            block, tags = bytes(self.block_size), _UNPROTECTED
        else:
            raw: Buffer = yield from DataOut(size)
            block, tags = bytes(raw), b""
            if protect:
                block, tags = separate(block, self.block_size)
                self.protection_check(cdb, protect, lba, 1).check(block, tags, self.block_size, lba)
        if cdb.unmap and not any(block) and tags in (b"", _UNPROTECTED):
            # SBC-4 5.51: unmap where reading then returns what writing would have left (LBPRZ).
            yield from self.deallocate(lba, blocks)
        else:
            yield from self.fill_blocks(lba, blocks, block)
            if self.pi_type:
                yield from self._fill_protection(cdb, lba, blocks, block, tags)
            if not self.write_cache:
                yield from Flush()
        self.mark_written(lba, blocks)
        self.allocation_changed()
        return Completion()

    def fill_blocks(self, lba: int, blocks: int, block: bytes) -> Generator[IoRequest[Any], Any, None]:
        """Write one block again and again, in pieces between which others get a turn."""
        step = max(_PIECE // self.block_size, 1)
        while blocks:
            count = min(step, blocks)
            yield from Fill(lba * self.block_size, count * self.block_size, block)
            lba += count
            blocks -= count
            if blocks:
                yield from Sleep(0)

    def _fill_protection(
        self, cdb: CdbFields, lba: int, blocks: int, block: bytes, tags: bytes
    ) -> Generator[IoRequest[Any], Any, None]:
        """Protection information of a WRITE SAME (SBC-4 5.51): received for the first block, with reference tags
        that count in types 1 and 2; or made for each."""
        own = tags or self.generated_protection(cdb, block, lba)
        counts = own != _UNPROTECTED and (self.pi_type == 1 or (self.pi_type == 2 and bool(tags)))
        first = int.from_bytes(own[4:8], "big")
        if not counts:
            yield from Fill(self.config.pi_offset + lba * PI_SIZE, blocks * PI_SIZE, invert(own))
            return
        step = _PIECE // PI_SIZE
        for start in range(0, blocks, step):
            numbers = range(start, min(start + step, blocks))
            piece = b"".join(own[:4] + (first + n & 0xFFFFFFFF).to_bytes(4, "big") for n in numbers)
            yield from self.write_protection(lba + start, piece)
            yield from Sleep(0)

    # --- GET LBA STATUS ----------------------------------------------------------------------------------------

    @operation(
        0x9E, "GET LBA STATUS(16)", layouts.GET_LBA_STATUS_16, service_action=0x12, data=DataDirection.IN,
        conflict=ReservationClass.READ, needs_ready=True, allocation="allocation_length",
        standard="SBC-4 5.6",
    )
    @operation(
        0x7F, "GET LBA STATUS(32)", layouts.GET_LBA_STATUS_32, service_action=0x0012, data=DataDirection.IN,
        conflict=ReservationClass.READ, needs_ready=True, allocation="allocation_length",
        # Optional everywhere; offered where an initiator has to know 32-byte CDBs anyway.
        standard="SBC-4 5.7", available=lambda disk: disk.config.pi_type == 2,
    )
    def get_lba_status(self, command: Command, cdb: CdbFields) -> Result:
        """What is mapped from an LBA on, as much as the allocation length has room for."""
        if cdb.report_type:         # SBC-4 table 62: only 00h, everything
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="report_type")
        if getattr(cdb, "element_identifier", 0):
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="element_identifier")
        if cdb.lba >= self.blocks:
            code = asc.LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE
            raise CheckCondition(code, field="lba", information=cdb.lba)
        room = max((cdb.allocation_length - 8) // _STATUS_DESCRIPTOR.size, 1)
        end = min(cdb.lba + (getattr(cdb, "scan_length", 0) or self.blocks), self.blocks)
        return self._lba_status_steps(cdb.lba, end, min(room, _SCAN_LIMIT))

    def _lba_status_steps(self, lba: int, end: int, limit: int) -> Steps:
        ranges: list[LbaRange] = []
        yield from self.scan(lba, end, ranges, limit)
        body = b"".join(
            _STATUS_DESCRIPTOR.pack(each.lba, each.blocks, _MAPPED if each.mapped else _DEALLOCATED, 0)
            for each in ranges
        )
        return Completion((len(body) + 4).to_bytes(4, "big") + bytes(4) + body)

    def scan(
        self, lba: int, end: int, ranges: list[LbaRange], limit: int
    ) -> Generator[IoRequest[Any], Any, None]:
        """Append the ranges of [lba, end) to `ranges`, neighbours merged, up to `limit` of them."""
        size = self.block_size
        at, stop = lba * size, end * size
        if not self.config.thin:
            ranges.extend(islice(_pieces(LbaRange(lba, end - lba, True)), limit))
            return
        while at < stop and len(ranges) <= limit:
            extents = yield from Extents(at, stop - at, _SCAN_LIMIT)
            found = list(lba_ranges(extents, size, at, stop))
            if not found:
                break
            for each in found:
                _append(ranges, each)
            at = (ranges[-1].lba + ranges[-1].blocks) * size
            del ranges[limit + 1 :]
        del ranges[limit:]

    def used_blocks(self) -> Generator[IoRequest[Any], Any, int]:
        """How many blocks are mapped, by the store's map of all of the disk."""
        used = 0
        at, stop = 0, self.blocks * self.block_size
        while at < stop:
            extents = yield from Extents(at, stop - at, _SCAN_LIMIT)
            used += sum(each.length for each in extents if each.kind != ExtentKind.HOLE)
            following = extents[-1].offset + extents[-1].length
            if following <= at:
                break
            at = following
        return -(-used // self.block_size)


def lba_ranges(extents: tuple[Extent, ...], size: int, at: int, stop: int) -> Iterator[LbaRange]:
    """Ranges of blocks from extents of bytes; a block of which any byte is data is mapped."""
    until = at                  # all before is reported; a multiple of the block size
    for extent in extents:
        end = min(extent.offset + extent.length, stop)
        mapped = extent.kind != ExtentKind.HOLE
        # A hole that ends within a block leaves that block to what follows.
        last = -(-end // size) * size if mapped else end // size * size
        if last > until:
            yield LbaRange(until // size, (last - until) // size, mapped)
            until = last


def _append(ranges: list[LbaRange], each: LbaRange) -> None:
    """Add a range, merged with the last one where both are of a kind."""
    if ranges and ranges[-1].mapped == each.mapped:
        last = ranges.pop()
        each = LbaRange(last.lba, last.blocks + each.blocks, each.mapped)
    ranges.extend(_pieces(each))


def _pieces(each: LbaRange) -> Iterator[LbaRange]:
    """A range as one or more whose counts fit their field."""
    lba, left = each.lba, each.blocks
    while left:
        count = min(left, _MAX_COUNT)
        yield LbaRange(lba, count, each.mapped)
        lba += count
        left -= count


def _invalid_list(byte: int) -> CheckCondition:
    """INVALID FIELD IN PARAMETER LIST at a byte."""
    return CheckCondition(
        asc.INVALID_FIELD_IN_PARAMETER_LIST, pointer=FieldPointer(byte, in_cdb=False)
    )

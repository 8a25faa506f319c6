"""Defects: their lists, REASSIGN BLOCKS, READ and WRITE LONG, BACKGROUND CONTROL (SBC-4 5.2, 5.19 to 5.24, 5.50).

The medium has no defects of its own (the primary list is empty); the grown list has what REASSIGN BLOCKS and FORMAT
UNIT gave. A long block is the user data, followed by its protection information where there is some; there is no
ECC. Marked blocks are remembered while the unit lasts.
"""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Generator
from typing import Any, Final

from devtypes.vd import layouts
from devtypes.vd.config import PI_SIZE
from devtypes.vd.protection import separate
from devtypes.vd.reports import DiskReports
from scsiemu import asc
from scsiemu.cdb import CdbFields
from scsiemu.command import Buffer, Command, Completion, Steps
from scsiemu.errors import IoFailed, IoFault
from scsiemu.io_requests import DataOut, Flush, IoRequest, Read
from scsiemu.operations import DataDirection, ReservationClass, Result, operation
from scsiemu.sense import CheckCondition, FieldPointer

__all__ = ["Defects"]

_SHORT_BLOCK: Final = 0             # DEFECT LIST FORMAT values (SBC-4 table 138)
_LONG_BLOCK: Final = 3
_LIST_LIMIT: Final = 65536          # bytes of a REASSIGN BLOCKS parameter list


class Defects(DiskReports):
    """The commands about defects and about single blocks with all that belongs to them."""

    @operation(
        0x37, "READ DEFECT DATA(10)", layouts.READ_DEFECT_DATA_10, data=DataDirection.IN,
        conflict=ReservationClass.READ, needs_ready=True, allocation="allocation_length", standard="SBC-4 5.19",
    )
    def read_defect_data_10(self, command: Command, cdb: CdbFields) -> Completion:
        """The lists asked for, short or long block format."""
        form = _format(cdb)
        body = self._defect_list(cdb, form)
        return _answer(cdb, struct.pack(">xBH", _list_flags(cdb, form), min(len(body), 0xFFFF)) + body)

    @operation(
        0xB7, "READ DEFECT DATA(12)", layouts.READ_DEFECT_DATA_12, data=DataDirection.IN,
        conflict=ReservationClass.READ, needs_ready=True, allocation="allocation_length", standard="SBC-4 5.20",
    )
    def read_defect_data_12(self, command: Command, cdb: CdbFields) -> Completion:
        """The lists asked for, from a descriptor on."""
        form = _format(cdb)
        size = 8 if form == _LONG_BLOCK else 4
        body = self._defect_list(cdb, form)[cdb.address_descriptor_index * size :]
        return _answer(cdb, struct.pack(">xBHI", _list_flags(cdb, form), 0, len(body)) + body)

    def _defect_list(self, cdb: CdbFields, form: int) -> bytes:
        if not cdb.req_glist:
            return b""
        size = 8 if form == _LONG_BLOCK else 4
        found = sorted(lba for lba in self.grown_defects if lba < min(self.blocks, 1 << size * 8))
        return b"".join(lba.to_bytes(size, "big") for lba in found)

    @operation(
        0x07, "REASSIGN BLOCKS", layouts.REASSIGN_BLOCKS, data=DataDirection.OUT, needs_ready=True,
        exclusive=True, standard="SBC-4 5.24",
    )
    def reassign_blocks(self, command: Command, cdb: CdbFields) -> Steps:
        """Blocks become grown defects. Their data is kept where it can be read, else they read as zeros."""
        raw: Buffer = yield from DataOut(min(command.data_out_length, _LIST_LIMIT))
        data = bytes(raw)
        if len(data) < 4:
            if not data:
                return Completion()
            raise CheckCondition(asc.PARAMETER_LIST_LENGTH_ERROR)
        # LONGLIST says how wide the length is, LONGLBA how wide an address is.
        length = int.from_bytes(data[0 if cdb.longlist else 2 : 4], "big")
        size = 8 if cdb.longlba else 4
        if length % size or len(data) < 4 + length:
            raise CheckCondition(asc.PARAMETER_LIST_LENGTH_ERROR)
        wanted = [int.from_bytes(data[at : at + size], "big") for at in range(4, 4 + length, size)]
        for number, lba in enumerate(wanted):
            if lba >= self.blocks:
                pointer = FieldPointer(4 + number * size, in_cdb=False)
                # None was reassigned, so the list is to be sent again from its first LBA on.
                raise CheckCondition(
                    asc.LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE, pointer=pointer, information=lba,
                    command_specific=self._first_left(wanted[0]),
                )
        for lba in wanted:
            try:
                block, tags = yield from self._recovered(lba)
                # Written in any case: a block that was unmapped is mapped from now on (SBC-4 5.24.1).
                yield from self.write_blocks(lba, block, tags if self.pi_type else None, fua=True)
            except IoFailed as failure:
                completion = self._failed(command, command.io_request or IoRequest(), failure)
                assert completion.sense is not None
                completion.sense = dataclasses.replace(completion.sense, command_specific=self._first_left(lba))
                return completion
            self.grown_defects.add(lba)
        self.allocation_changed()
        return Completion()

    def _first_left(self, lba: int) -> int:
        """COMMAND-SPECIFIC INFORMATION of REASSIGN BLOCKS: the first LBA not reassigned, all ones where it does not fit
        (SBC-4 5.24.1)."""
        return lba if self.descriptor_sense else min(lba, 0xFFFFFFFF)

    def _recovered(self, lba: int) -> Generator[IoRequest[Any], Any, tuple[bytes, bytes]]:
        """What a reassigned block has: its data, or zeros and FFh of protection information where it is lost."""
        lost = bytes(self.block_size), b"\xff" * PI_SIZE
        if lba in self.unreadable:
            return lost
        try:
            block = bytes((yield from self.read_blocks(lba, 1)))
            return block, (yield from self.read_protection(lba, 1)) if self.pi_type else b""
        except IoFailed as failure:
            if failure.fault != IoFault.MEDIUM:
                raise
            return lost

    # --- READ LONG and WRITE LONG ------------------------------------------------------------------------------

    @property
    def long_size(self) -> int:
        """Bytes of a block with all that belongs to it."""
        return self.block_size + (PI_SIZE if self.pi_type else 0)

    @operation(
        0x3E, "READ LONG(10)", layouts.READ_LONG_10, data=DataDirection.IN, conflict=ReservationClass.WRITE,
        needs_ready=True, standard="SBC-3 5.19",
    )
    @operation(
        0x9E, "READ LONG(16)", layouts.READ_LONG_16, service_action=0x11, data=DataDirection.IN,
        conflict=ReservationClass.WRITE, needs_ready=True, standard="SBC-3 5.20",
    )
    def read_long(self, command: Command, cdb: CdbFields) -> Result:
        """A block as it is kept, marked unreadable or not; with CORRCT marked blocks are errors."""
        if cdb.pblock and self.config.physical_exponent:    # a physical block is not one piece here
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="pblock")
        self.check_range(cdb.lba, 1)
        if not cdb.byte_transfer_length:
            return Completion()
        self._check_long(cdb)
        if cdb.correct:
            self.check_readable(cdb.lba, 1)
        return self._read_long_steps(cdb.lba)

    def _read_long_steps(self, lba: int) -> Steps:
        if self.write_cache:            # what the medium has is read, so what a cache holds goes there first
            yield from Flush()
        data = bytes((yield from Read(lba * self.block_size, self.block_size)))
        if self.pi_type:
            data += yield from self.read_protection(lba, 1)
        return Completion(data)

    def _check_long(self, cdb: CdbFields) -> None:
        """SBC-4 5.50: a wrong length is told with ILI and, in INFORMATION, how much it is off."""
        difference = cdb.byte_transfer_length - self.long_size
        if difference:
            raise CheckCondition(
                asc.INVALID_FIELD_IN_CDB, field="byte_transfer_length", information=difference, ili=True
            )

    @operation(
        0x3F, "WRITE LONG(10)", layouts.WRITE_LONG_10, data=DataDirection.OUT, needs_ready=True, standard="SBC-4 5.50",
    )
    @operation(
        0x9F, "WRITE LONG(16)", layouts.WRITE_LONG_16, service_action=0x11, data=DataDirection.OUT,
        needs_ready=True, standard="SBC-4 5.51",
    )
    def write_long(self, command: Command, cdb: CdbFields) -> Result:
        """WR_UNCOR marks a block as unreadable; else a block is written as it is to be kept."""
        if cdb.pblock and not (cdb.wr_uncor and not self.config.physical_exponent):
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="pblock")
        self.check_range(cdb.lba, 1)
        if cdb.wr_uncor and cdb.byte_transfer_length:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="byte_transfer_length")
        self.check_writable(command)
        if cdb.wr_uncor:
            self.unreadable.add(cdb.lba)
            self.refresh()
            return Completion()
        if not cdb.byte_transfer_length:
            return Completion()
        self._check_long(cdb)
        if command.data_out_length < self.long_size:
            raise CheckCondition(asc.INVALID_FIELD_IN_COMMAND_INFORMATION_UNIT)
        return self._write_long_steps(cdb.lba, cor_dis=bool(cdb.cor_dis))

    def _write_long_steps(self, lba: int, *, cor_dis: bool) -> Steps:
        raw: Buffer = yield from DataOut(self.long_size)
        data, tags = bytes(raw), None
        if self.pi_type:
            data, tags = separate(data, self.block_size)
        yield from self.write_blocks(lba, data, tags, fua=True)     # to the medium, whatever caches there are
        if cor_dis:     # a pseudo unrecovered error without correction (SBC-4 table 177)
            self.unreadable.add(lba)
            self.refresh()
        return Completion()

    # --- background --------------------------------------------------------------------------------------------

    @operation(
        0x9E, "BACKGROUND CONTROL", layouts.BACKGROUND_CONTROL, service_action=0x15, needs_ready=True,
        standard="SBC-4 5.2",
    )
    def background_control(self, command: Command, cdb: CdbFields) -> Completion:
        """There is no background work that host requests could start or put off, which both are free to ask."""
        if cdb.bo_ctl == 3:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="bo_ctl")
        return Completion()


def _format(cdb: CdbFields) -> int:
    """DEFECT LIST FORMAT of the answer: the one asked for, else ours."""
    asked: int = cdb.defect_list_format
    return asked if asked in (_SHORT_BLOCK, _LONG_BLOCK) else _SHORT_BLOCK


def _list_flags(cdb: CdbFields, form: int) -> int:
    """PLISTV, GLISTV and DEFECT LIST FORMAT."""
    plist: int = cdb.req_plist
    glist: int = cdb.req_glist
    return plist << 4 | glist << 3 | form


def _answer(cdb: CdbFields, data: bytes) -> Completion:
    """SBC-4 5.19.1: another format than the one asked for is told by RECOVERED ERROR, and the data goes out with it."""
    if _format(cdb) != cdb.defect_list_format:
        raise CheckCondition(asc.DEFECT_LIST_NOT_FOUND, data_in=data)
    return Completion(data)

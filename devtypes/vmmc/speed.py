"""How fast the drive is: GET PERFORMANCE, SET STREAMING, SET CD SPEED, SET READ AHEAD (MMC-5 6.8, 6.39, 6.37, 6.38).

Speeds are told, not kept to: data come as fast as they can.
"""

from __future__ import annotations

import struct
from typing import Final

from devtypes.vmmc import layouts
from devtypes.vmmc.borders import restricted
from devtypes.vmmc.defects import defective, is_managed
from devtypes.vmmc.disc import Disc
from devtypes.vmmc.profiles import Family
from devtypes.vmmc.structures import DiscStructures
from scsiemu import asc
from scsiemu.cdb import CdbFields
from scsiemu.command import Command, Completion
from scsiemu.operations import DataDirection, ReservationClass, operation
from scsiemu.sense import CheckCondition, FieldPointer

__all__ = ["READ_SPEEDS", "WRITE_SPEEDS", "Speeds"]

# kB/s, fastest first; as many as mode page 2Ah has room for.
WRITE_SPEEDS: Final = {
    Family.CD: (8467, 7056, 4234, 2822, 706),
    Family.DVD: (22160, 16620, 11080, 5540, 2770),
    Family.BD: (35968, 26976, 17984, 8992, 4496),
}
READ_SPEEDS: Final = {Family.CD: 8467, Family.DVD: 22160, Family.BD: 35968}
_FASTEST: Final = 0xFFFF
_REPLACED: Final = 2                # data type of unusable areas: the secondary defect list
_STATUS_SIZE: Final = 2048
_STATUS_BITS: Final = (_STATUS_SIZE - 10) * 8


class Speeds(DiscStructures):
    """Speeds. `read_speed`, `write_speed`: what was chosen, in kB/s; 0: the fastest of the medium."""

    read_speed = 0
    write_speed = 0

    def disc_arrives(self) -> None:
        super().disc_arrives()
        self.read_speed = self.write_speed = 0

    @property
    def family(self) -> str:
        """Of the disc; as of a CD without one."""
        return self.disc.kind.family if self.disc is not None else Family.CD

    def speeds_now(self) -> tuple[int, int]:
        """Read and write speed, kB/s."""
        most = WRITE_SPEEDS[self.family]
        return self.read_speed or READ_SPEEDS[self.family], self.write_speed or most[0]

    @operation(
        0xAC, "GET PERFORMANCE", layouts.GET_PERFORMANCE, data=DataDirection.IN, conflict=ReservationClass.READ,
        needs_ready=True, standard="MMC-6 6.7",
    )
    def get_performance(self, command: Command, cdb: CdbFields) -> Completion:
        """Types: 0 performance, 1 unusable areas, 2 defects, 3 write speeds, 4 defective blocks, 5 cache zones."""
        disc = self.loaded
        size, rows, header = 16, [], 0
        if cdb.type == 0:
            write = cdb.data_type >> 2 & 1
            exceptions = cdb.data_type & 3
            if exceptions == 3:
                raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="data_type")
            header = write << 1 | bool(exceptions)
            size = 6 if exceptions else 16
            if not exceptions:
                speed = self.speeds_now()[write]
                rows = [struct.pack(">IIII", 0, speed, max(self._end(disc) - 1, 0), speed)]
        elif cdb.data_type > (_REPLACED if cdb.type == 1 and is_managed(disc) else 0):
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="data_type")
        elif cdb.type == 1:
            size = 8
            if cdb.data_type == _REPLACED:
                rows = [struct.pack(">II", lba, disc.kind.blocks) for lba in defective(disc) if lba >= cdb.lba]
        elif cdb.type == 2:
            size = _STATUS_SIZE
            rows = _defect_status(disc, cdb.lba) if is_managed(disc) else []
        elif cdb.type == 3:
            rows = self._write_speeds(disc)
        elif cdb.type in (4, 5):
            size = 8
        else:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="type")
        told = rows[: cdb.descriptors]
        data = bytes((header, 0, 0, 0)) + b"".join(told)
        length = len(rows) * size + 4
        return Completion(length.to_bytes(4, "big") + data)

    def _end(self, disc: Disc) -> int:
        return self._room(disc) if disc.takes_data else disc.capacity_end

    @staticmethod
    def _room(disc: Disc) -> int:
        """Blocks that can be there: a formatted DVD-RW may grow."""
        return disc.whole if restricted(disc) else disc.capacity

    def _write_speeds(self, disc: Disc) -> list[bytes]:
        if disc.kind.pressed:
            return []
        read = READ_SPEEDS[disc.kind.family]
        # CAV for write: the rotation control is pure CLV, the end is exact.
        return [
            struct.pack(">BBBBIII", 0x02, 0, 0, 0, max(self._room(disc) - 1, 0), read, speed)
            for speed in WRITE_SPEEDS[disc.kind.family]
        ]

    @operation(
        0xB6, "SET STREAMING", layouts.SET_STREAMING, data=DataDirection.OUT,
        parameter_list="parameter_list_length", standard="MMC-5 6.39",
    )
    def set_streaming(self, command: Command, cdb: CdbFields) -> Completion:
        """Type 0, a performance descriptor of 28 bytes, type 5 a cache zone that is set nowhere."""
        if cdb.type == 5:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="type")
        if cdb.type:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="type")
        if not cdb.parameter_list_length:
            return Completion()
        data = command.parameter_list
        if len(data) < 28:
            raise CheckCondition(asc.PARAMETER_LIST_LENGTH_ERROR)
        flags, start, end, read_size, read_time, write_size, write_time = struct.unpack_from(">BxxxIIIIII", data)
        if end < start:
            raise _invalid(8)
        if flags & 0x04:                                            # RDD: back to defaults
            self.read_speed = self.write_speed = 0
            return Completion()
        for at, time in ((16, read_time), (24, write_time)):
            if not time:
                raise _invalid(at)
        self.read_speed = self._nearest_read(read_size * 1000 // read_time)
        self.write_speed = self._nearest_write(write_size * 1000 // write_time)
        return Completion()

    @operation(0xBB, "SET CD SPEED", layouts.SET_CD_SPEED, standard="MMC-5 6.37")
    def set_cd_speed(self, command: Command, cdb: CdbFields) -> Completion:
        """Read and write speed in kB/s; FFFFh is the fastest. What is not there is rounded down."""
        if cdb.rotation > 1:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="rotation")
        self.read_speed = 0 if cdb.read_speed == _FASTEST else self._nearest_read(cdb.read_speed)
        self.write_speed = 0 if cdb.write_speed == _FASTEST else self._nearest_write(cdb.write_speed)
        return Completion()

    def _nearest_read(self, speed: int) -> int:
        return min(max(speed, 1), READ_SPEEDS[self.family])

    def _nearest_write(self, speed: int) -> int:
        table = WRITE_SPEEDS[self.family]
        return next((each for each in table if each <= speed), table[-1])

    @operation(
        0xA7, "SET READ AHEAD", layouts.SET_READ_AHEAD, conflict=ReservationClass.READ, needs_ready=True,
        standard="MMC-5 6.38",
    )
    def set_read_ahead(self, command: Command, cdb: CdbFields) -> Completion:
        """Nothing is read ahead; the addresses have to be there."""
        end = max(self.loaded.capacity_end, 1)
        for name in ("trigger", "read_ahead"):
            if getattr(cdb, name) >= end:
                raise CheckCondition(asc.LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE, field=name)
        return Completion()


def _defect_status(disc: Disc, lba: int) -> list[bytes]:
    """A bit for each cluster from an address on, one where it is replaced; descriptors as many as it takes."""
    step = disc.kind.blocks
    rows = []
    for first in range(lba // step, disc.capacity // step, _STATUS_BITS):
        last = min(first + _STATUS_BITS, disc.capacity // step)
        bits = bytearray(_STATUS_BITS // 8)
        for at in range(last - first):
            if first + at in disc.replaced:
                bits[at // 8] |= 0x80 >> at % 8
        rows.append(struct.pack(">IIBB", first * step, last * step - 1, step, 0) + bits)
    return rows


def _invalid(byte: int) -> CheckCondition:
    return CheckCondition(asc.INVALID_FIELD_IN_PARAMETER_LIST, pointer=FieldPointer(byte, in_cdb=False))

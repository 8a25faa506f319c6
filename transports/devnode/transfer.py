"""From the structure of SG_IO to a task, and from its outcome to what the program gets back.

Order of checks, error numbers and what is written back are those of drivers/scsi/sg.c 3.5.36 (version 3) and of
block/bsg.c (version 4). Bidirectional commands and CDBs of up to 260 bytes are taken by version 4, which Linux had
until 5.1.

It does NOT do direct IO: that flag is ignored as where /proc/scsi/sg/allow_dio is 0.
"""

from __future__ import annotations

import errno
from abc import ABC, abstractmethod
from collections.abc import Sequence
from struct import iter_unpack
from typing import ClassVar, Final, Protocol, TypeAlias

from scsiemu.command import Buffer
from scsiemu.sam import Status
from transports.devnode.abi import (
    IOVEC_LIMIT,
    V3_SIZE,
    V4_SIZE,
    Direction,
    DriverStatus,
    Flags,
    Info,
    SgHeader,
    SgV4,
)
from transports.devnode.request import HostStatus, Memory, Refused, ScsiTask

__all__ = ["MOST_TRANSFER", "MappedBuffer", "Request", "V3Request", "V4Request", "begin_v3", "begin_v4"]

MOST_TRANSFER: Final = 32 << 20             # what the "adapter" can do, in bytes
_V3_LONGEST_CDB: Final = 252                # SG_MAX_CDB_SIZE
_V4_LONGEST_CDB: Final = 260
_SENSE_SIZE: Final = 96                     # SCSI_SENSE_BUFFERSIZE
_DEFAULT_SECONDS: Final = 60.0
_LONGEST_MILLISECONDS: Final = (1 << 31) - 1
_INDIRECT_DIRECTIONS: Final = frozenset((Direction.FROM_DEVICE, Direction.TO_FROM_DEVICE, Direction.UNKNOWN))

_Vector: TypeAlias = Sequence[tuple[int, int]]      # address and length of each piece


class MappedBuffer(Memory, Protocol):
    """The reserved buffer that a program has mapped, from address 0 on.

    Attributes:
        size: bytes.
    """

    size: int


class Request(ABC):
    """A task and the structure that it came from.

    Attributes:
        size: bytes of the structure.
    """

    __slots__ = ("task",)

    size: ClassVar[int]
    task: ScsiTask

    @property
    @abstractmethod
    def pack_id(self) -> int:
        """What the program calls it."""

    @property
    @abstractmethod
    def user_pointer(self) -> int:
        """What the program keeps with it."""

    @abstractmethod
    def finish(self, memory: Memory, address: int, *, now: float) -> None:
        """Write data, sense and the structure (to `address`). Raises Refused(EFAULT)."""

    def read_out(self, memory: Memory, address: int, count: int, *, now: float) -> int:
        """What read(2) of `count` bytes gets, and returns. Raises Refused."""
        if count < self.size:
            raise Refused(errno.EINVAL)
        self.finish(memory, address, now=now)
        return self.size


class V3Request(Request):
    """A request of version 3."""

    __slots__ = ("_mapped", "_vector", "header")

    size = V3_SIZE

    def __init__(
        self, header: SgHeader, task: ScsiTask, vector: _Vector, mapped: MappedBuffer | None = None
    ) -> None:
        self.header = header
        self.task = task
        self._vector = vector
        self._mapped = mapped

    @property
    def pack_id(self) -> int:
        """What the program calls it."""
        return self.header.pack_id

    @property
    def user_pointer(self) -> int:
        """What the program keeps with it."""
        return self.header.usr_ptr

    def finish(self, memory: Memory, address: int, *, now: float) -> None:                       # hot
        """Write data, sense and the structure. Raises Refused(EFAULT)."""
        header, task = self.header, self.task
        outcome = task.outcome
        assert outcome is not None
        header.duration = _milliseconds(now - task.started)
        data = outcome.data_in
        if task.data_in_length:
            count = min(len(data), task.data_in_length)
            header.resid = task.data_in_length - count
            if count and not header.flags & Flags.NO_TRANSFER:
                _scatter(self._mapped or memory, self._vector, data, count)
        elif task.data_out:
            header.resid = outcome.data_out_residual
        status = outcome.status
        if outcome.host_status != HostStatus.OK:
            header.host_status = outcome.host_status
        elif status:
            header.status = status
            header.masked_status = status >> 1 & 0x1F
            sense = outcome.sense
            if sense and header.mx_sb_len and header.sbp:
                count = _sense_length(sense, header.mx_sb_len)
                memory.write(header.sbp, sense[:count])
                header.sb_len_wr = count
                header.driver_status = DriverStatus.SENSE
        if header.masked_status or header.host_status or header.driver_status:
            header.info |= Info.CHECK
        memory.write(address, header.encode())


def begin_v3(memory: Memory, raw: bytes, unit: int, buffer: MappedBuffer | None = None) -> V3Request:     # hot
    """The request of a structure of 88 bytes, with CDB and Data-Out fetched. Raises Refused.

    Args:
        buffer: that of the file, where it is mapped: SG_FLAG_MMAP_IO transfers there.
    """
    header = SgHeader(raw)
    if header.interface_id != ord("S"):
        raise Refused(errno.ENOSYS)
    mapped = None
    if header.flags & Flags.MMAP_IO:
        mapped = buffer
        if mapped is None or header.dxfer_len > mapped.size:
            raise Refused(errno.ENOMEM)
        if header.flags & Flags.DIRECT_IO:
            raise Refused(errno.EINVAL)
    if not header.cmdp or not 6 <= header.cmd_len <= _V3_LONGEST_CDB:
        raise Refused(errno.EMSGSIZE)
    cdb = memory.read(header.cmdp, header.cmd_len)
    length = header.dxfer_len
    direction = header.dxfer_direction
    somewhere = header.dxferp or mapped is not None
    task = ScsiTask(unit, cdb, seconds=_seconds(header.timeout))
    if not length:
        # Linux looks at the length alone since 4.13: mtx sends commands without data as Data-Out, cdrdao with 0.
        return V3Request(header, task, ())
    if direction == Direction.TO_DEVICE:
        if not somewhere:
            raise Refused(errno.EINVAL)
    elif direction not in _INDIRECT_DIRECTIONS or (direction != Direction.FROM_DEVICE and not somewhere):
        raise Refused(errno.EINVAL)
    if length > MOST_TRANSFER:
        raise Refused(errno.EINVAL)
    vector = _vector(memory, header.dxferp, header.iovec_count, length) if mapped is None else ((0, length),)
    length = sum([count for _, count in vector])
    if not length:
        raise Refused(errno.EINVAL)
    if direction == Direction.TO_DEVICE:
        no_transfer = header.flags & Flags.NO_TRANSFER
        task.data_out = bytes(length) if no_transfer else _gather(mapped or memory, vector)
    else:
        task.data_in_length = length
    return V3Request(header, task, vector, mapped)


class V4Request(Request):
    """A request of version 4."""

    __slots__ = ("_vector", "header")

    size = V4_SIZE

    def __init__(self, header: SgV4, task: ScsiTask, vector: _Vector) -> None:
        self.header = header
        self.task = task
        self._vector = vector

    @property
    def pack_id(self) -> int:
        """What the program calls it."""
        return self.header.request_extra & 0x7FFFFFFF

    @property
    def user_pointer(self) -> int:
        """What the program keeps with it."""
        return self.header.usr_ptr

    def finish(self, memory: Memory, address: int, *, now: float) -> None:
        """Write data, sense and the structure. Raises Refused(EFAULT)."""
        header, task = self.header, self.task
        outcome = task.outcome
        assert outcome is not None
        header.duration = _milliseconds(now - task.started)
        count = min(len(outcome.data_in), task.data_in_length)
        header.din_resid = task.data_in_length - count
        header.dout_resid = outcome.data_out_residual
        if count:
            _scatter(memory, self._vector, outcome.data_in, count)
        if outcome.host_status != HostStatus.OK:
            header.transport_status = outcome.host_status
        elif outcome.status:
            header.device_status = outcome.status
            if outcome.status == Status.CHECK_CONDITION:
                header.driver_status = DriverStatus.SENSE
            if outcome.sense and header.response:
                header.response_len = min(len(outcome.sense), header.max_response_len, _SENSE_SIZE)
                memory.write(header.response, outcome.sense[: header.response_len])
        if header.device_status or header.transport_status or header.driver_status:
            header.info |= Info.CHECK
        memory.write(address, header.encode())


def begin_v4(memory: Memory, raw: bytes, unit: int) -> V4Request:
    """The request of a structure of 160 bytes, with CDB and Data-Out fetched. Raises Refused."""
    header = SgV4(raw)
    # Only protocol 0 (SCSI), subprotocol 0 (command).
    if header.guard != ord("Q") or header.protocol or header.subprotocol:
        raise Refused(errno.EINVAL)
    if not header.request or not 6 <= header.request_len <= _V4_LONGEST_CDB:
        raise Refused(errno.EINVAL)
    if header.dout_xfer_len > MOST_TRANSFER or header.din_xfer_len > MOST_TRANSFER:
        raise Refused(errno.EINVAL)
    cdb = memory.read(header.request, header.request_len)
    task = ScsiTask(unit, cdb, seconds=_seconds(header.timeout))
    vector: _Vector = ()
    if header.dout_xfer_len:
        out = _vector(memory, header.dout_xferp, header.dout_iovec_count, header.dout_xfer_len)
        task.data_out = _gather(memory, out)
    if header.din_xfer_len:
        vector = _vector(memory, header.din_xferp, header.din_iovec_count, header.din_xfer_len)
        task.data_in_length = sum(count for _, count in vector)
    return V4Request(header, task, vector)


def _vector(memory: Memory, address: int, count: int, length: int) -> _Vector:
    """The pieces of a buffer, cut to `length` bytes in all. Raises Refused."""
    if not count:
        return ((address, length),)
    if count > IOVEC_LIMIT:
        raise Refused(errno.EINVAL)
    pieces = []
    for base, size in iter_unpack("=QQ", memory.read(address, 16 * count)):
        if size >= 1 << 63:
            raise Refused(errno.EINVAL)
        size = min(size, length)
        if size:
            pieces.append((base, size))
        length -= size
    return pieces


def _gather(memory: Memory, vector: _Vector) -> bytes:
    if len(vector) == 1:
        return memory.read(*vector[0])
    return b"".join([memory.read(address, count) for address, count in vector])


def _scatter(memory: Memory, vector: _Vector, data: Buffer, count: int) -> None:
    view = memoryview(data)[:count]
    for address, size in vector:
        if not view:
            return
        memory.write(address, view[:size])
        view = view[size:]


def _sense_length(sense: Buffer, room: int) -> int:
    """What sg copies: as much as ADDITIONAL SENSE LENGTH promises, within the buffers of both."""
    promised = 8 + sense[7] if len(sense) > 7 else len(sense)
    return min(promised, room, _SENSE_SIZE, len(sense))


def _seconds(milliseconds: int) -> float:
    if not milliseconds:
        return _DEFAULT_SECONDS
    return min(milliseconds, _LONGEST_MILLISECONDS) / 1000


def _milliseconds(seconds: float) -> int:
    return min(max(0, int(seconds * 1000)), 0xFFFFFFFF)

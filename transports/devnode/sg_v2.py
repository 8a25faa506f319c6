"""Versions 1 and 2 of the sg interface: header, CDB and Data-Out in one write(2), header and Data-In in one read(2).

How long the CDB is says its operation code (SPC-2 4.3.3: the group), `twelve_byte` for groups 6 and 7, or
SG_NEXT_CMD_LEN. What is written behind it is Data-Out. A `reply_len` greater than the header asks for Data-In, and if
there is both, the driver takes the command for one that reads. Sense data are the first 16 bytes. There is no residual:
what the command did not send are zeros (or, where there was Data-Out too, its bytes).

Layout and rules as in include/scsi/sg.h and drivers/scsi/sg.c 3.5.36.
"""

from __future__ import annotations

import errno
from struct import Struct
from typing import Final

from scsiemu.sam import Status
from transports.devnode.abi import V2_SIZE, DriverStatus
from transports.devnode.request import HostStatus, Memory, Outcome, Refused, ScsiTask
from transports.devnode.transfer import MOST_TRANSFER, Request

__all__ = ["SHORTEST_V2", "V2Request", "begin_v2"]

SHORTEST_V2: Final = V2_SIZE + 6        # a header and the shortest CDB

_HEADER: Final = Struct("<iiiiI16s")
_CDB_LENGTHS: Final = (6, 10, 10, 12, 16, 12, 10, 10)       # by group
_FIRST_OF_GROUP_6: Final = 0xC0
_TWELVE: Final = 12
_SENSE_SIZE: Final = 16
_BUSY: Final = frozenset((HostStatus.NO_CONNECT, HostStatus.BUS_BUSY, HostStatus.TIME_OUT))


class V2Request(Request):
    """A request of version 1 or 2."""

    __slots__ = ("_pack_id", "_reply_length", "_twelve", "_written")

    size = V2_SIZE

    def __init__(self, task: ScsiTask, reply_length: int, pack_id: int, *, twelve: bool, written: bytes) -> None:
        self.task = task
        self._reply_length = reply_length
        self._pack_id = pack_id
        self._twelve = twelve
        self._written = written

    @property
    def pack_id(self) -> int:
        """What the program calls it."""
        return self._pack_id

    @property
    def user_pointer(self) -> int:
        """There is none in this structure."""
        return 0

    def finish(self, memory: Memory, address: int, *, now: float) -> None:
        """Write the whole reply."""
        self.read_out(memory, address, max(self._reply_length, V2_SIZE), now=now)

    def read_out(self, memory: Memory, address: int, count: int, *, now: float) -> int:
        """What read(2) of `count` bytes gets, and returns. Raises Refused: EIO where a failure does not fit."""
        outcome = self.task.outcome
        assert outcome is not None
        result = _result(outcome)
        if count < V2_SIZE:
            if result:
                raise Refused(errno.EIO)
            return 0
        memory.write(address, self._header(outcome, result))
        # A reply_len below the header's own size is returned as it is.
        count = min(count, self._reply_length)
        if count > V2_SIZE:
            length = self.task.data_in_length
            data = bytes(outcome.data_in[:length])
            data = (data + self._written[len(data) :]).ljust(length, b"\0")
            memory.write(address + V2_SIZE, data[: count - V2_SIZE])
        return count

    def _header(self, outcome: Outcome, result: int) -> bytes:
        status, driver, sense = 0, 0, b""
        if outcome.host_status == HostStatus.OK:
            status = outcome.status >> 1 & 0x1F
            if outcome.status == Status.CHECK_CONDITION:
                driver, sense = DriverStatus.SENSE, bytes(outcome.sense[:_SENSE_SIZE])
        bits = self._twelve | status << 1 | outcome.host_status << 6 | driver << 14
        return _HEADER.pack(self._reply_length, self._reply_length, self._pack_id, result, bits, sense)


def begin_v2(memory: Memory, address: int, count: int, unit: int, *, cdb_length: int, seconds: float) -> V2Request:
    """The request of a write(2) of `count` bytes, at least SHORTEST_V2. Raises Refused.

    Args:
        cdb_length: set by SG_NEXT_CMD_LEN; 0 for none.
        seconds: set by SG_SET_TIMEOUT.
    """
    _, reply_length, pack_id, _, bits, _ = _HEADER.unpack(memory.read(address, V2_SIZE))
    operation = memory.read(address + V2_SIZE, 1)[0]
    twelve = bool(bits & 1) and operation >= _FIRST_OF_GROUP_6
    length = cdb_length or (_TWELVE if twelve else _CDB_LENGTHS[operation >> 5])
    out_length = count - V2_SIZE - length
    if out_length < 0:
        raise Refused(errno.EIO)
    in_length = max(0, reply_length - V2_SIZE)
    if max(out_length, in_length) > MOST_TRANSFER:
        raise Refused(errno.ENOMEM)
    cdb = memory.read(address + V2_SIZE, length)
    written = memory.read(address + V2_SIZE + length, out_length) if out_length else b""
    if in_length:
        # The driver's buffer is as long as the longer of both.
        task = ScsiTask(unit, cdb, data_in_length=max(in_length, out_length), seconds=seconds)
    else:
        task = ScsiTask(unit, cdb, written, seconds=seconds)
    is_twelve = operation >= _FIRST_OF_GROUP_6 and length == _TWELVE
    return V2Request(task, reply_length, pack_id, twelve=is_twelve, written=written if in_length else b"")


def _result(outcome: Outcome) -> int:
    """The error number that the header has for what went wrong on the way to the unit."""
    host = outcome.host_status
    if host == HostStatus.OK:
        return 0
    if host in _BUSY:
        return errno.EBUSY
    if host == HostStatus.ERROR and not outcome.sense and outcome.status == Status.GOOD:
        return 0
    return errno.EIO

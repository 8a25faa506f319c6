"""An open file of /dev/sgN or /dev/bsg/H:C:T:L: what its ioctls, write and read do (drivers/scsi/sg.c, block/bsg.c).

A file keeps what a program has set, and its queue of requests: those under way and those that can be read. Commands are
executed by whoever calls: `begin`, `begin_read` and `ioctl` say what is to be done, `finish` what comes of it.

It does NOT know processes, or keep time.
"""

from __future__ import annotations

import errno
from typing import Final

from transports.devnode.abi import V2_SIZE, V3_SIZE, V4_SIZE, Ioctl, request_info, scsi_id
from transports.devnode.nodes import Node
from transports.devnode.request import Memory, Refused, ResetScope
from transports.devnode.sg_v2 import SHORTEST_V2, begin_v2
from transports.devnode.transfer import MOST_TRANSFER, MappedBuffer, Request, begin_v3, begin_v4

__all__ = ["SG_VERSION", "SgFile"]

SG_VERSION: Final = 30536               # 3.5.36: programs use version 3 of the interface
_BSG_VERSION: Final = 30527             # what SG_GET_VERSION_NUM says on other nodes
_QUEUE: Final = 16                      # SG_MAX_QUEUE
_TABLE_SIZE: Final = 128                # scatter-gather elements
_DEFAULT_RESERVED: Final = 32768
_DEFAULT_TIMEOUT: Final = 6000          # USER_HZ ticks: a minute
_LONGEST_CDB: Final = 252
_TICKS: Final = 100                     # USER_HZ
_ANY_PACK: Final = -1


class SgFile:
    """What belongs to one open(2).

    Args:
        node: whose file it is.
        writable: it was opened for writing.
        readable: it was opened for reading.

    Attributes:
        mapping: the reserved buffer, where the program has mapped it.
        pending: requests that were written and have not ended.
        ready: requests that have ended and can be read.
        last_cdb: where the CDB of the last SG_IO was, and how long: the next one's is likely to be there, too.
    """

    def __init__(self, node: Node, *, readable: bool = True, writable: bool = True) -> None:
        self.node = node
        self.is_sg = node.kind.name == "sg"
        self._only_v4 = node.kind.name == "bsg"
        self.readable = readable
        self.writable = writable
        self.pending: list[Request] = []
        self.ready: list[Request] = []
        self.last_cdb: tuple[int, int] | None = None
        self._timeout = _DEFAULT_TIMEOUT
        self.reserved = _DEFAULT_RESERVED
        self.mapping: MappedBuffer | None = None
        self._command_queue = 0
        self._force_pack_id = 0
        self._keep_orphan = 0
        self._next_cdb_length = 0
        self.reset_scope = ResetScope.NOTHING

    # --- SG_IO -------------------------------------------------------------------------------------------------

    def begin(self, memory: Memory, address: int) -> Request:                                     # hot
        """The request of SG_IO. Raises Refused."""
        unit = self.node.address.unit
        raw = memory.read(address, V3_SIZE)
        if raw[0] == 0x51 and raw[:4] == b"Q\0\0\0":
            return begin_v4(memory, raw + memory.read(address + V3_SIZE, V4_SIZE - V3_SIZE), unit)
        if self._only_v4:
            raise Refused(errno.EINVAL)
        self._command_queue = 1             # who uses version 3 gets it
        request = begin_v3(memory, raw, unit, self.mapping)
        self.last_cdb = (request.header.cmdp, request.header.cmd_len)
        return request

    # --- write and read ----------------------------------------------------------------------------------------

    def begin_write(self, memory: Memory, address: int, count: int) -> Request:
        """The request that is written; it is in `pending` now. Raises Refused."""
        if not self.writable:
            raise Refused(errno.EBADF)
        request = self._written_sg(memory, address, count) if self.is_sg else self._written_v4(memory, address, count)
        self.pending.append(request)
        return request

    def _written_sg(self, memory: Memory, address: int, count: int) -> Request:
        """Version 3 has a direction, below 0, where the older ones have reply_len."""
        if count < V2_SIZE:
            raise Refused(errno.EIO)
        raw = memory.read(address, V2_SIZE)
        if count >= V4_SIZE and raw[:12] == b"Q".ljust(12, b"\0"):
            return self._written_v4(memory, address, count)
        if not raw[7] & 0x80:
            return self._written_v2(memory, address, count)
        if count < V3_SIZE:
            raise Refused(errno.EINVAL)
        self._command_queue = 1             # who uses version 3 gets it
        self._want_room()
        return begin_v3(memory, memory.read(address, V3_SIZE), self.node.address.unit, self.mapping)

    def _written_v2(self, memory: Memory, address: int, count: int) -> Request:
        if count < SHORTEST_V2:
            raise Refused(errno.EIO)
        self._want_room()
        cdb_length, self._next_cdb_length = self._next_cdb_length, 0
        return begin_v2(
            memory, address, count, self.node.address.unit, cdb_length=cdb_length, seconds=self._timeout / _TICKS
        )

    def _written_v4(self, memory: Memory, address: int, count: int) -> Request:
        if count < V4_SIZE:
            raise Refused(errno.EINVAL)
        raw = memory.read(address, V4_SIZE)
        if raw[:4] != b"Q\0\0\0":
            raise Refused(errno.EINVAL)
        self._command_queue = 1
        self._want_room()
        return begin_v4(memory, raw, self.node.address.unit)

    def _want_room(self) -> None:
        """Raises Refused: one request at a time without SG_SET_COMMAND_Q, 16 with it."""
        if len(self.pending) + len(self.ready) >= (_QUEUE if self._command_queue else 1):
            raise Refused(errno.EDOM)

    def ended(self, request: Request) -> None:
        """A request that was written has ended."""
        self.pending.remove(request)
        self.ready.append(request)

    def wanted_pack(self, memory: Memory, address: int, count: int) -> int:
        """The pack_id that read(2) asks for; -1 for any. Raises Refused."""
        if not self.readable:
            raise Refused(errno.EBADF)
        if not self.is_sg:
            if count < V4_SIZE:
                raise Refused(errno.EINVAL)
            return _ANY_PACK
        if not self._force_pack_id or count < V2_SIZE:
            return _ANY_PACK
        raw = memory.read(address, min(count, V3_SIZE))
        if not raw[7] & 0x80:
            return int.from_bytes(raw[8:12], "little", signed=True)
        return int.from_bytes(raw[48:52], "little", signed=True) if count >= V3_SIZE else _ANY_PACK

    def take_ready(self, pack: int) -> Request | None:
        """The first request that has ended, or that has and has this pack_id; it is not in `ready` any more."""
        for request in self.ready:
            if pack == _ANY_PACK or request.pack_id == pack:
                self.ready.remove(request)
                return request
        return None

    # --- other ioctls ------------------------------------------------------------------------------------------

    def ioctl(self, memory: Memory, number: int, argument: int, *, now: float, opened: int = 1) -> int:
        """Any ioctl but SG_IO: what it returns. Raises Refused.

        After SG_SCSI_RESET `reset_scope` says what the caller has to reset.
        """
        self.reset_scope = ResetScope.NOTHING
        if number == Ioctl.SG_GET_TIMEOUT:
            return self._timeout
        answer = self._asked(number, now, opened)
        if answer is not None:
            memory.write(argument, answer)
            return 0
        if number in _SETTERS:
            self._set(number, int.from_bytes(memory.read(argument, 4), "little", signed=True))
            return 0
        raise Refused(errno.ENOTTY)

    def _asked(self, number: int, now: float, opened: int) -> bytes | None:
        """What an ioctl gives back through its pointer; None for one that does not."""
        address = self.node.address
        match number:
            case Ioctl.SCSI_GET_IDLUN:
                packed = address.target & 0xFF | (address.lun & 0xFF) << 8
                packed |= (address.channel & 0xFF) << 16 | (address.host & 0xFF) << 24
                return packed.to_bytes(4, "little") + address.host.to_bytes(4, "little")
            case Ioctl.SCSI_GET_BUS_NUMBER:
                return _int(address.host)
            case Ioctl.SG_GET_VERSION_NUM:
                return _int(SG_VERSION if self.is_sg else _BSG_VERSION)
            case Ioctl.SG_GET_RESERVED_SIZE:
                return _int(self.reserved)
            case Ioctl.SG_EMULATED_HOST:
                return _int(1)          # programs write around what drives of parallel buses had, if it is 0
            case Ioctl.SG_GET_COMMAND_Q:
                return _int(self._command_queue)
        return self._asked_sg(number, now, opened) if self.is_sg else None

    def _asked_sg(self, number: int, now: float, opened: int) -> bytes | None:
        address = self.node.address
        match number:
            case Ioctl.SG_GET_SCSI_ID:
                return scsi_id(
                    address.host, address.channel, address.target, address.lun & 0x7FFFFFFF, self.node.device_type
                )
            case Ioctl.SG_GET_LOW_DMA:
                return _int(0)
            case Ioctl.SG_GET_PACK_ID:
                return _int(self.ready[0].pack_id if self.ready else _ANY_PACK)
            case Ioctl.SG_GET_NUM_WAITING:
                return _int(len(self.ready))
            case Ioctl.SG_GET_SG_TABLESIZE:
                return _int(_TABLE_SIZE)
            case Ioctl.SG_GET_KEEP_ORPHAN:
                return _int(self._keep_orphan)
            case Ioctl.SG_GET_ACCESS_COUNT:
                return _int(opened)
            case Ioctl.BLKSECTGET:
                return _int(MOST_TRANSFER)
            case Ioctl.SG_GET_REQUEST_TABLE:
                return self._table(now)
        return None

    def _table(self, now: float) -> bytes:
        """16 of struct sg_req_info: what has ended, then what is under way."""
        rows = [(request, 2) for request in self.ready] + [(request, 1) for request in self.pending]
        table = b"".join(
            request_info(
                state, owned=False,
                problem=bool(request.task.outcome and request.task.outcome.status),
                pack_id=request.pack_id, usr_ptr=request.user_pointer,
                duration=max(0, int((now - request.task.started) * 1000)),
            )
            for request, state in rows
        )
        return table.ljust(_QUEUE * 24, b"\0")

    def _set(self, number: int, value: int) -> None:
        if not self.is_sg and number not in _BSG_SETTERS:
            raise Refused(errno.ENOTTY)
        match number:
            case Ioctl.SG_SET_TIMEOUT:
                if value < 0:
                    raise Refused(errno.EIO)
                self._timeout = value
            case Ioctl.SG_SET_RESERVED_SIZE:
                if value < 0:
                    raise Refused(errno.EINVAL)
                if self.mapping is not None:
                    raise Refused(errno.EBUSY)
                self.reserved = min(value, MOST_TRANSFER)
            case Ioctl.SG_SET_COMMAND_Q:
                self._command_queue = int(bool(value))
            case Ioctl.SG_SET_FORCE_PACK_ID:
                self._force_pack_id = int(bool(value))
            case Ioctl.SG_SET_KEEP_ORPHAN:
                self._keep_orphan = int(bool(value))
            case Ioctl.SG_NEXT_CMD_LEN:
                if value > _LONGEST_CDB:
                    raise Refused(errno.ENOMEM)
                self._next_cdb_length = max(0, value)
            case Ioctl.SG_SCSI_RESET:
                # 100h asks not to go on with the next larger scope, which is never done here.
                scope = value & ~0x100
                if not ResetScope.NOTHING <= scope <= ResetScope.TARGET:
                    raise Refused(errno.EINVAL)
                self.reset_scope = scope


_BSG_SETTERS: Final = frozenset({Ioctl.SG_SET_TIMEOUT, Ioctl.SG_SET_RESERVED_SIZE, Ioctl.SG_SET_COMMAND_Q})
_SETTERS: Final = _BSG_SETTERS | {
    Ioctl.SG_SET_FORCE_PACK_ID, Ioctl.SG_SET_FORCE_LOW_DMA, Ioctl.SG_SET_DEBUG, Ioctl.SG_SET_KEEP_ORPHAN,
    Ioctl.SG_NEXT_CMD_LEN, Ioctl.SG_SCSI_RESET,
}


def _int(value: int) -> bytes:
    return value.to_bytes(4, "little", signed=True)


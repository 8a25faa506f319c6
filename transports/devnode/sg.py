"""An open file of /dev/sgN or /dev/bsg/H:C:T:L: what its ioctls, write and read do (drivers/scsi/sg.c, block/bsg.c).

A file keeps what a program has set, and its queue of requests: those under way and those that can be read. Commands are
executed by whoever calls: `begin`, `begin_read` and `ioctl` say what is to be done, `finish` what comes of it.

It does NOT: know processes, keep time, or have version 1 and 2 of the write interface (struct sg_header): those get
ENOSYS.
"""

from __future__ import annotations

import errno
from typing import Final

from transports.devnode.abi import V3_SIZE, V4_SIZE, Ioctl, request_info, scsi_id
from transports.devnode.nodes import Node
from transports.devnode.request import Memory, Refused, ResetScope
from transports.devnode.transfer import MOST_TRANSFER, MappedBuffer, Request, begin_v3, begin_v4

__all__ = ["SG_VERSION", "SgFile"]

SG_VERSION: Final = 30536               # 3.5.36: programs use version 3 of the interface
_BSG_VERSION: Final = 30527             # what SG_GET_VERSION_NUM says on other nodes
_QUEUE: Final = 16                      # SG_MAX_QUEUE
_TABLE_SIZE: Final = 128                # scatter-gather elements
_DEFAULT_RESERVED: Final = 32768
_DEFAULT_TIMEOUT: Final = 6000          # USER_HZ ticks: a minute
_LONGEST_CDB: Final = 252
_HEADER_V2: Final = 36
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
    """

    def __init__(self, node: Node, *, readable: bool = True, writable: bool = True) -> None:
        self.node = node
        self.is_sg = node.kind.name == "sg"
        self._only_v4 = node.kind.name == "bsg"
        self.readable = readable
        self.writable = writable
        self.pending: list[Request] = []
        self.ready: list[Request] = []
        self._timeout = _DEFAULT_TIMEOUT
        self.reserved = _DEFAULT_RESERVED
        self.mapping: MappedBuffer | None = None
        self._command_queue = 0
        self._force_pack_id = 0
        self._keep_orphan = 0
        self._simple: dict[int, int] = {}
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
        return begin_v3(memory, raw, unit, self.mapping)

    # --- write and read ----------------------------------------------------------------------------------------

    def begin_write(self, memory: Memory, address: int, count: int) -> Request:
        """The request that is written; it is in `pending` now. Raises Refused."""
        if not self.writable:
            raise Refused(errno.EBADF)
        if count < _HEADER_V2 and self.is_sg:
            raise Refused(errno.EIO)
        wanted = V3_SIZE if self.is_sg else V4_SIZE
        if count < min(wanted, V3_SIZE):
            raise Refused(errno.EINVAL if not self.is_sg else errno.ENOSYS)
        raw = memory.read(address, V3_SIZE)
        unit = self.node.address.unit
        if raw[:4] == b"Q\0\0\0":
            if count < V4_SIZE:
                raise Refused(errno.EINVAL)
            raw += memory.read(address + V3_SIZE, V4_SIZE - V3_SIZE)
        elif not self.is_sg:
            raise Refused(errno.EINVAL)
        if len(self.pending) + len(self.ready) >= _QUEUE:
            raise Refused(errno.EDOM)
        if len(raw) > V3_SIZE:
            request: Request = begin_v4(memory, raw, unit)
        else:
            request = begin_v3(memory, raw, unit, self.mapping)
        self._command_queue = 1
        self.pending.append(request)
        return request

    def ended(self, request: Request) -> None:
        """A request that was written has ended."""
        self.pending.remove(request)
        self.ready.append(request)

    def wanted_pack(self, memory: Memory, address: int, count: int) -> int:
        """The pack_id that read(2) asks for; -1 for any. Raises Refused."""
        if not self.readable:
            raise Refused(errno.EBADF)
        if count < (V3_SIZE if self.is_sg else V4_SIZE):
            raise Refused(errno.EINVAL)
        if not self._force_pack_id or not self.is_sg:
            return _ANY_PACK
        return int.from_bytes(memory.read(address + 48, 4), "little", signed=True)

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


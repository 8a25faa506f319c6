"""The driver for optical drives: what open, read, write, lseek and close of /dev/srN do, in commands.

It is a block device without a page cache: each read is READ(10) of the blocks it touches, each write WRITE(10), where a
part of a block is read first. Its ioctls are in sr_ioctls.py and sr_more.py. Without O_NONBLOCK, open needs a disc;
with it, anything that opens is allowed, and what needs a disc fails later. The size is that of READ CAPACITY.
"""

from __future__ import annotations

import errno
from typing import Final

from scsiemu.sense import SenseKey
from transports.devnode.driver import ACCESS_MODE, NONBLOCK, READ_ONLY, Answer, Steps
from transports.devnode.request import Memory, Refused
from transports.devnode.sr_codes import DriveStatus
from transports.devnode.sr_ioctls import OpticalHandle
from transports.devnode.sr_more import MoreIoctls

__all__ = ["OpticalDrive"]

_EXCLUSIVE: Final = 0o200
_PIECE: Final = 1 << 20
_READ_10, _WRITE_10, _SYNCHRONIZE = 0x28, 0x2A, 0x35
_SEEK_SET, _SEEK_CURRENT, _SEEK_END = 0, 1, 2


class OpticalDrive(MoreIoctls):
    """The driver of one drive (a `Driver`)."""

    def open(self, path: str, flags: int) -> Steps[OpticalHandle]:
        """open(2). Raises Refused: ENOMEDIUM, EROFS, EBUSY."""
        if flags & _EXCLUSIVE and any(handle.exclusive for handle in self.users):
            raise Refused(errno.EBUSY)
        handle = OpticalHandle(exclusive=bool(flags & _EXCLUSIVE))
        status = yield from self.drive_status()
        ready = status == DriveStatus.DISC_OK
        if not flags & NONBLOCK:
            if status == DriveStatus.TRAY_OPEN and (yield from self.start_stop(3)).good:
                ready = (yield from self.drive_status()) == DriveStatus.DISC_OK
            if not ready:
                raise Refused(errno.ENOMEDIUM)
        if ready:
            yield from self.look_at_disc()
            if flags & ACCESS_MODE != READ_ONLY and not self.writable and not flags & NONBLOCK:
                raise Refused(errno.EROFS)
        if not flags & NONBLOCK and not self.locked:
            yield from self.lock_door(lock=True)
        self.users.append(handle)
        return handle

    def flush(self, handle: object) -> Steps[None]:
        """The last close(2): what was written goes to the disc, and the door is unlocked. Raises Refused."""
        assert isinstance(handle, OpticalHandle)
        failed = False
        try:
            yield from self.synchronize(handle)
        except Refused:
            failed = True
        if self.locked and len(self.users) == 1 and not self.keep_locked:
            yield from self.lock_door(lock=False)
        if failed:
            raise Refused(errno.EIO)

    def release(self, handle: object) -> None:
        """The file is closed."""
        self.users = [user for user in self.users if user is not handle]

    def attribute(self, path: str, name: str) -> str:
        """The size in /sys/block/srN, in units of 512 bytes."""
        return f"{self.size // 512}\n"

    def read(self, handle: object, count: int, position: int | None) -> Steps[bytes]:
        """read(2) and pread(2): less at the end of the disc, and where an error comes later. Raises Refused."""
        assert isinstance(handle, OpticalHandle)
        at = start = handle.position if position is None else position
        end = min(start + count, self.size)
        got = bytearray()
        while at < end:
            block, skip = divmod(at, self.block_size)
            blocks = -(-(min(end, at + _PIECE) - block * self.block_size) // self.block_size)
            answer = yield from self._blocks(_READ_10, block, blocks)
            data = answer.data[skip : skip + end - at]
            if not answer.good or not data:
                if got:
                    break
                raise Refused(errno.EIO)
            got += data
            at += len(data)
        if position is None:
            handle.position = at
        return bytes(got)

    def write(self, handle: object, data: bytes, position: int | None) -> Steps[int]:
        """write(2) and pwrite(2). Raises Refused: ENOSPC at the end of the disc, EIO."""
        assert isinstance(handle, OpticalHandle)
        at = start = handle.position if position is None else position
        if not self.writable:
            raise Refused(errno.EPERM)
        end = min(start + len(data), self.size)
        if data and at >= end:
            raise Refused(errno.ENOSPC)
        size = self.block_size
        while at < end:
            block, skip = divmod(at, size)
            stop = min(end, (block + _PIECE // size) * size)
            blocks = -(-(stop - block * size) // size)
            piece = data[at - start : stop - start]
            if skip or stop % size:
                old = yield from self._blocks(_READ_10, block, blocks)
                if not old.good:
                    raise Refused(errno.EIO)
                piece = old.data[:skip] + piece + old.data[skip + len(piece) : blocks * size]
            if not (yield from self._blocks(_WRITE_10, block, blocks, piece)).good:
                if at > start:
                    break
                raise Refused(errno.EIO)
            handle.written = True
            at = stop
        if position is None:
            handle.position = at
        return at - start

    def _blocks(self, operation: int, block: int, count: int, data: bytes = b"") -> Steps[Answer]:
        cdb = (operation, 0, *block.to_bytes(4, "big"), 0, *count.to_bytes(2, "big"))
        answer = yield from self.execute(cdb, data, 0 if data else count * self.block_size)
        if answer.key == SenseKey.UNIT_ATTENTION:
            answer = yield from self.execute(cdb, data, 0 if data else count * self.block_size)
        return answer

    def seek(self, handle: object, offset: int, whence: int) -> Steps[int]:
        """lseek(2). Raises Refused: EINVAL outside of the disc."""
        assert isinstance(handle, OpticalHandle)
        yield from ()
        if whence not in (_SEEK_SET, _SEEK_CURRENT, _SEEK_END):
            raise Refused(errno.EINVAL)
        to = offset + (0, handle.position, self.size)[whence]
        if not 0 <= to <= self.size:
            raise Refused(errno.EINVAL)
        handle.position = to
        return to

    def synchronize(self, handle: object) -> Steps[None]:
        """fsync(2) and fdatasync(2): what was written goes to the disc. Raises Refused: EIO."""
        assert isinstance(handle, OpticalHandle)
        if handle.written:
            handle.written = False
            if not (yield from self.execute((_SYNCHRONIZE,))).good:
                raise Refused(errno.EIO)

    def ioctl(self, handle: object, memory: Memory, number: int, argument: int) -> Steps[int]:
        """ioctl(2). Raises Refused."""
        assert isinstance(handle, OpticalHandle)
        return (yield from self.control(memory, number, argument))

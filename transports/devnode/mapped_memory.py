"""The reserved buffer of an sg file in shared memory: what mmap(2) of /dev/sgN gives, and SG_FLAG_MMAP_IO transfers to.

A descriptor of ours is a socket, which the kernel does not map. So it is made one of this memory before the kernel goes
on with mmap(2); inotify says when the last descriptor and mapping of it are gone, which is the close of the file.
"""

from __future__ import annotations

import errno
import os
from typing import Final

from scsiemu.command import Buffer
from transports.devnode.request import Refused
from transports.devnode.seccomp import watch_closing

__all__ = ["MappedMemory"]

_PAGE: Final = 4096


class MappedMemory:
    """The memory (a `Memory`, from address 0 on).

    Args:
        number: tells it from others.
        size: bytes.
        kept: a descriptor of ours of what the program had before; it is closed with this.

    Attributes:
        name: what the program's descriptors are called in /proc/PID/fd.
        closing: readable when the program has closed all of it.
    """

    def __init__(self, number: int, size: int, kept: int) -> None:
        self.size = size
        self.name = f"/memfd:scsiemu-{number} (deleted)"
        self.kept = kept
        self._fileno = os.memfd_create(f"scsiemu-{number}", os.MFD_CLOEXEC)
        os.ftruncate(self._fileno, -(-size // _PAGE) * _PAGE)
        self.closing = watch_closing(f"/proc/self/fd/{self._fileno}")

    def descriptor(self, flags: int) -> int:
        """A descriptor for the program. Once: the end of it is the end of all."""
        return os.open(f"/proc/self/fd/{self._fileno}", os.O_RDWR | os.O_CLOEXEC | flags)

    def read(self, address: int, length: int) -> bytes:
        """Exactly `length` bytes; zeros where the program has cut the memory. Raises Refused(EFAULT)."""
        self._check(address, length)
        return os.pread(self._fileno, length, address).ljust(length, b"\0")

    def write(self, address: int, data: Buffer) -> None:
        """Raises Refused(EFAULT)."""
        self._check(address, len(data))
        os.pwrite(self._fileno, data, address)

    def _check(self, address: int, length: int) -> None:
        if address + length > self.size:
            raise Refused(errno.EFAULT)

    def close(self) -> None:
        """Forget it; the program's mappings stay as they are."""
        for fileno in (self._fileno, self.closing, self.kept):
            os.close(fileno)

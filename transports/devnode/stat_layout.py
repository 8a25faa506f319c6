"""struct stat, struct statx and directory entries, as the kernel lays them out on each architecture."""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct
from typing import Final

from scsiemu._value import value

__all__ = ["FileStatus", "directory_entries", "stat_bytes", "statx_bytes"]

_STAT: Final = {
    # dev ino nlink mode uid gid pad rdev size blksize blocks, three times, reserved
    "x86_64": Struct("=QQQIIIIQqqqQQQQQQ24x"),
    # dev ino mode nlink uid gid rdev pad size blksize pad blocks, three times, reserved
    "aarch64": Struct("=QQIIIIQQqiiqQQQQQQ8x"),
}
_STATX: Final = Struct("=IIQIIIH2xQQQQ")
_BASIC_MASK: Final = 0x7FF             # STATX_BASIC_STATS
_BLOCK: Final = 4096


@value
class FileStatus:
    """What stat(2) says.

    Args:
        rdev: (major, minor) of a node.
        seconds: all three times.
    """

    mode: int
    inode: int
    uid: int
    gid: int
    size: int = 0
    rdev: tuple[int, int] = (0, 0)
    links: int = 1
    seconds: int = 0


def stat_bytes(status: FileStatus, architecture: str) -> bytes:
    """struct stat."""
    major, minor = status.rdev
    # The encoding of makedev(3).
    rdev = minor & 0xFF | (major & 0xFFF) << 8 | (minor & ~0xFF) << 12 | (major & ~0xFFF) << 32
    times = (status.seconds, 0) * 3
    if architecture == "x86_64":
        return _STAT[architecture].pack(
            0x5C, status.inode, status.links, status.mode, status.uid, status.gid, 0, rdev, status.size, _BLOCK, 0,
            *times,
        )
    return _STAT[architecture].pack(
        0x5C, status.inode, status.mode, status.links, status.uid, status.gid, rdev, 0, status.size, _BLOCK, 0, 0,
        *times,
    )


def statx_bytes(status: FileStatus) -> bytes:
    """struct statx, the same everywhere."""
    head = _STATX.pack(
        _BASIC_MASK, _BLOCK, 0, status.links, status.uid, status.gid, status.mode, status.inode, status.size, 0, 0
    )
    moment = status.seconds.to_bytes(8, "little") + bytes(8)
    major, minor = status.rdev
    numbers = b"".join(number.to_bytes(4, "little") for number in (major, minor, 0, 0x5C))
    return (head + moment * 4 + numbers).ljust(256, b"\0")


def directory_entries(entries: Sequence[tuple[str, int, int]], room: int, *, old: bool = False) -> tuple[bytes, int]:
    """Entries for getdents64(2), as many as there is room for, and how many those are.

    Args:
        entries: name, inode number and st_mode of each.
        old: for getdents(2), whose type is the last byte.
    """
    out = bytearray()
    count = 0
    for name, inode, mode in entries:
        raw = name.encode("utf-8", "surrogateescape")
        kind = mode >> 12
        head = 18 if old else 19
        length = head + len(raw) + (2 if old else 1)
        length += -length % 8
        if len(out) + length > room:
            break
        record = inode.to_bytes(8, "little") + bytes(8) + length.to_bytes(2, "little")
        if old:
            record = (record + raw).ljust(length - 1, b"\0") + bytes((kind,))
        else:
            record = (record + bytes((kind,)) + raw).ljust(length, b"\0")
        out += record
        count += 1
    return bytes(out), count

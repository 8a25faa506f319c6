"""System calls that Python 3.11 lacks (fallocate modes, fstatfs, timerfd), by ctypes. Not a store."""

from __future__ import annotations

import ctypes
import fcntl
import os
import struct
from typing import Final

__all__ = [
    "fallocate_punch", "fallocate_zero", "is_tmpfs", "logical_block_size", "timer_create", "timer_set",
    "zeroes_efficiently",
]

_libc: Final = ctypes.CDLL(None, use_errno=True)

_FALLOC_FL_KEEP_SIZE: Final = 0x01
_FALLOC_FL_PUNCH_HOLE: Final = 0x02
_FALLOC_FL_ZERO_RANGE: Final = 0x10
_TMPFS_MAGIC: Final = 0x01021994
_BLKSSZGET: Final = 0x1268
_CLOCK_MONOTONIC: Final = 1
_TFD_TIMER_ABSTIME: Final = 1


class _Timespec(ctypes.Structure):
    _fields_ = [("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long)]


class _Itimerspec(ctypes.Structure):
    _fields_ = [("interval", _Timespec), ("value", _Timespec)]


# off_t is 64 bits in 64-bit programs, and everywhere in the functions with 64 in their name.
_fallocate: Final = getattr(_libc, "fallocate64", None) or _libc.fallocate
_fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]


def fallocate_punch(descriptor: int, offset: int, length: int) -> None:
    """Deallocate a range, which then reads as zeros; OSError with EOPNOTSUPP where that can't be promised."""
    _checked(_fallocate(descriptor, _FALLOC_FL_PUNCH_HOLE | _FALLOC_FL_KEEP_SIZE, offset, length))


def fallocate_zero(descriptor: int, offset: int, length: int) -> None:
    """Make a range read as zeros and keep it allocated; OSError with EOPNOTSUPP where that can't be."""
    _checked(_fallocate(descriptor, _FALLOC_FL_ZERO_RANGE | _FALLOC_FL_KEEP_SIZE, offset, length))


def is_tmpfs(descriptor: int) -> bool:
    """Whether a file lives in memory, where no read waits for a device."""
    answer = ctypes.create_string_buffer(512)  # struct statfs is shorter; it begins with f_type, a long
    if _libc.fstatfs(descriptor, answer) != 0:
        return False
    return ctypes.c_ulong.from_buffer(answer).value & 0xFFFFFFFF == _TMPFS_MAGIC


def logical_block_size(descriptor: int) -> int:
    """The logical block size of a block device."""
    size: int = struct.unpack("i", fcntl.ioctl(descriptor, _BLKSSZGET, bytes(4)))[0]
    return size


def zeroes_efficiently(device: int) -> bool:
    """Whether block device number `device` has a command that zeroes a range: only then may it be punched."""
    folder = f"/sys/dev/block/{os.major(device)}:{os.minor(device)}"
    for queue in (f"{folder}/queue", f"{folder}/../queue"):  # a partition's queue is that of its disk
        try:
            with open(f"{queue}/write_zeroes_max_bytes", encoding="ascii") as attribute:
                return int(attribute.read()) > 0
        except (OSError, ValueError):
            continue
    return False


def timer_create() -> int:
    """A timerfd of the monotonic clock."""
    return _checked(_libc.timerfd_create(_CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC))


def timer_set(descriptor: int, when: float | None) -> None:
    """Make a timerfd readable at `when` of time.monotonic(); None: never."""
    nanoseconds = 0 if when is None else max(1, int(when * 1_000_000_000))  # 0 would disarm it
    setting = _Itimerspec(value=_Timespec(*divmod(nanoseconds, 1_000_000_000)))
    _checked(_libc.timerfd_settime(descriptor, _TFD_TIMER_ABSTIME, ctypes.byref(setting), None))


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result

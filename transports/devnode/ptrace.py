"""What of ptrace(2) is needed to answer system calls of a thread, and to have it make one of ours.

By ctypes. A thread is that of a number, seized; all but `seize` and `interrupt` want it stopped. An OSError is ESRCH
where it has died. It does NOT decide anything (tracing.py).
"""

from __future__ import annotations

import ctypes
import os
from struct import Struct
from typing import Final

from scsiemu._value import value

__all__ = [
    "ALL_THREADS", "EVENT_CLONES", "EVENT_EXEC", "EVENT_SECCOMP", "EVENT_STOP", "LAYOUTS", "Layout", "call_of",
    "child_of", "go_on", "interrupt", "keep_stopped", "registers", "run_to_call", "seize", "set_registers",
    "set_signal_mask", "signal_mask", "skip_call",
]

ALL_THREADS: Final = 0x40000000         # __WALL of waitpid(2)

_SYSCALL: Final = 24
_CONT: Final = 7
_GETREGSET: Final = 0x4204
_SETREGSET: Final = 0x4205
_SEIZE: Final = 0x4206
_INTERRUPT: Final = 0x4207
_LISTEN: Final = 0x4208
_GETEVENTMSG: Final = 0x4201
_GETSIGMASK: Final = 0x420A
_SETSIGMASK: Final = 0x420B
_GET_SYSCALL_INFO: Final = 0x420E

# Marked stops at system calls; children, threads and new programs traced; the filter's stops; none outlives us.
_OPTIONS: Final = 0x1 | 0x2 | 0x4 | 0x8 | 0x10 | 0x80 | 0x100000
EVENT_CLONES: Final = frozenset((1, 2, 3))
EVENT_EXEC: Final = 4
EVENT_SECCOMP: Final = 7
EVENT_STOP: Final = 128

_NT_PRSTATUS: Final = 1
_NT_ARM_SYSTEM_CALL: Final = 0x404
_CALL: Final = Struct("=B3xIQQ7Q")      # of a seccomp stop: operation, architecture, ip, sp, number, arguments
_MASK_SIZE: Final = 8


@value
class Layout:
    """Where things are in the registers of NT_PRSTATUS, by index of 64-bit words.

    Args:
        words: how many there are.
        number: of a call that is to be made.
        entered: number of the call that is on its way; -1 where that is no register.
        arguments: six of them.
        result: of a call.
        counter: program counter.
        instruction: bytes of the one that makes a call.
    """

    words: int
    number: int
    entered: int
    arguments: tuple[int, ...]
    result: int
    counter: int
    instruction: int


LAYOUTS: Final = {
    "x86_64": Layout(27, 10, 15, (14, 13, 12, 7, 9, 8), 10, 16, 2),
    "aarch64": Layout(34, 8, -1, (0, 1, 2, 3, 4, 5), 0, 32, 4),
}


class _Vector(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


_libc: Final = ctypes.CDLL(None, use_errno=True)
_ptrace = _libc.ptrace
_ptrace.restype = ctypes.c_long
_ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)


def _request(request: int, thread: int, address: int = 0, data: int = 0) -> int:
    found = int(_ptrace(request, thread, address, data))
    if found < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return found


def seize(thread: int) -> None:
    """Trace a thread that runs on. Raises OSError: EPERM where that is not allowed, or another traces it."""
    _request(_SEIZE, thread, 0, _OPTIONS)


def interrupt(thread: int) -> None:
    """Have it stop when it returns from the kernel. Raises OSError."""
    _request(_INTERRUPT, thread)


def go_on(thread: int, signal: int = 0) -> None:
    """Let it run, with a signal. Raises OSError."""
    _request(_CONT, thread, 0, signal)


def run_to_call(thread: int) -> None:
    """Let it run to where it enters, or leaves, a system call. Raises OSError."""
    _request(_SYSCALL, thread)


def keep_stopped(thread: int) -> None:
    """It was stopped by a signal, and so it stays until SIGCONT. Raises OSError."""
    _request(_LISTEN, thread)


def child_of(thread: int) -> int:
    """The new thread's number at a stop for clone; the old one's at a stop for exec. Raises OSError."""
    found = ctypes.c_ulong()
    _request(_GETEVENTMSG, thread, 0, ctypes.addressof(found))
    return found.value


def call_of(thread: int) -> tuple[int, tuple[int, ...]]:
    """Number and arguments of the call for which the filter has stopped it. Raises OSError."""
    buffer = ctypes.create_string_buffer(_CALL.size)
    _request(_GET_SYSCALL_INFO, thread, _CALL.size, ctypes.addressof(buffer))
    _, _, _, _, number, *arguments = _CALL.unpack(buffer)
    return number, tuple(arguments)


def registers(thread: int, layout: Layout) -> list[int]:
    """Raises OSError."""
    words = (ctypes.c_ulonglong * layout.words)()
    vector = _Vector(ctypes.addressof(words), ctypes.sizeof(words))
    _request(_GETREGSET, thread, _NT_PRSTATUS, ctypes.addressof(vector))
    return list(words)


def set_registers(thread: int, layout: Layout, found: list[int]) -> None:
    """Raises OSError."""
    words = (ctypes.c_ulonglong * layout.words)(*found)
    vector = _Vector(ctypes.addressof(words), ctypes.sizeof(words))
    _request(_SETREGSET, thread, _NT_PRSTATUS, ctypes.addressof(vector))


def skip_call(thread: int, layout: Layout, result: int) -> None:
    """At a stop of the filter: the call is not made, and has this result. Raises OSError."""
    found = registers(thread, layout)
    found[layout.result] = result & 0xFFFFFFFFFFFFFFFF
    if layout.entered >= 0:
        found[layout.entered] = 0xFFFFFFFFFFFFFFFF
    else:
        number = ctypes.c_int(-1)
        vector = _Vector(ctypes.addressof(number), ctypes.sizeof(number))
        _request(_SETREGSET, thread, _NT_ARM_SYSTEM_CALL, ctypes.addressof(vector))
    set_registers(thread, layout, found)


def signal_mask(thread: int) -> int:
    """The signals that it blocks. Raises OSError."""
    found = ctypes.c_ulonglong()
    _request(_GETSIGMASK, thread, _MASK_SIZE, ctypes.addressof(found))
    return found.value


def set_signal_mask(thread: int, mask: int) -> None:
    """Raises OSError."""
    wanted = ctypes.c_ulonglong(mask)
    _request(_SETSIGMASK, thread, _MASK_SIZE, ctypes.addressof(wanted))

"""The seccomp filter: which system calls come to us, as a classic BPF program over struct seccomp_data.

Calls that name a path always come: a filter cannot look at strings. Calls on descriptors come where the descriptor is
of the range that ours get, or one of 0, 1 and 2 (shells put ours there with dup2). The ioctls of sg come from any
descriptor. All else never leaves the kernel.

Where a descriptor of ours gets another number than those, the process gets a second filter, `build_descriptor_filter`,
which stops it for its tracer (tracing.py).

Programs of another architecture (32-bit), x32 calls and io_uring, which could get around the filter, get ENOSYS.
"""

from __future__ import annotations

import errno
from struct import pack
from typing import Final

from transports.devnode.syscalls import PATH_CALLS, Architecture

__all__ = ["build_descriptor_filter", "build_filter"]

_LOAD: Final = 0x20             # BPF_LD | BPF_W | BPF_ABS
_AND: Final = 0x54              # BPF_ALU | BPF_AND | BPF_K
_JUMP: Final = 0x05             # BPF_JMP | BPF_JA
_EQUAL: Final = 0x15            # BPF_JMP | BPF_JEQ | BPF_K
_AT_LEAST: Final = 0x35         # BPF_JMP | BPF_JGE | BPF_K
_RETURN: Final = 0x06           # BPF_RET | BPF_K

_ALLOW: Final = 0x7FFF0000
_NOTIFY: Final = 0x7FC00000
_TRACE: Final = 0x7FF00000
_ERROR: Final = 0x00050000

_NUMBER_AT: Final = 0
_ARCHITECTURE_AT: Final = 4
_X32_BIT: Final = 0x40000000
_AT_EMPTY_PATH: Final = 0x1000
_MAP_ANONYMOUS: Final = 0x20
_F_DUPFD: Final = 0
_F_DUPFD_CLOEXEC: Final = 1030

_ON_LOW_TOO: Final = (
    "read", "write", "readv", "writev", "pread64", "pwrite64", "preadv", "pwritev", "preadv2", "pwritev2", "fstat",
    "lseek", "fsync", "fdatasync",
)
_DUPLICATE: Final = ("dup", "dup2", "dup3")
_IN_RANGE: Final = ("close", "fchdir")
_ALWAYS: Final = ("getdents", "getdents64", "getcwd")
_WITH_EMPTY_PATH: Final = (("newfstatat", 3), ("statx", 2))


def build_filter(architecture: Architecture, first: int, end: int) -> bytes:
    """The program, 8 bytes an instruction. Descriptors from `first` to before `end` are ours."""
    numbers = architecture.numbers
    code = _Program()
    code.add(_LOAD, _ARCHITECTURE_AT)
    code.branch(_EQUAL, architecture.audit, no="foreign")
    code.add(_LOAD, _NUMBER_AT)
    code.branch(_AT_LEAST, _X32_BIT, yes="foreign")
    for name in (*_ON_LOW_TOO, *(name for name in _DUPLICATE if name in numbers)):
        code.branch(_EQUAL, numbers[name], yes="descriptor")
    code.branch(_EQUAL, numbers["mmap"], yes="mmap")
    code.branch(_EQUAL, numbers["ioctl"], yes="ioctl")
    code.branch(_EQUAL, numbers["fcntl"], yes="fcntl")
    for name in _IN_RANGE:
        code.branch(_EQUAL, numbers[name], yes="ours")
    for name, _ in _WITH_EMPTY_PATH:
        code.branch(_EQUAL, numbers[name], yes=name)
    code.branch(_EQUAL, numbers["io_uring_setup"], yes="foreign")
    special = {name for name, _ in _WITH_EMPTY_PATH}
    names = [call.name for call in PATH_CALLS if call.name in numbers and call.name not in special]
    for name in (*names, *(name for name in _ALWAYS if name in numbers)):
        code.branch(_EQUAL, numbers[name], yes="notify")
    code.add(_RETURN, _ALLOW)

    _add_empty_paths(code, otherwise="notify")
    code.label("ioctl")
    code.add(_LOAD, _argument(1))
    code.add(_AND, 0xFFFFFF00)
    code.branch(_EQUAL, 0x2200, yes="notify")
    code.add(_LOAD, _argument(1))
    code.add(_AND, 0xFFFFFFF8)
    code.branch(_EQUAL, 0x5380, yes="notify", no="descriptor")
    _add_fcntl_and_descriptor(code)
    code.branch(_AT_LEAST, end, yes="allow")
    code.branch(_AT_LEAST, first, yes="notify")
    code.branch(_AT_LEAST, 3, yes="allow", no="notify")
    code.label("ours")
    code.add(_LOAD, _argument(0))
    code.branch(_AT_LEAST, end, yes="allow")
    code.branch(_AT_LEAST, first, yes="notify", no="allow")
    code.label("mmap")
    code.add(_LOAD, _argument(3))
    code.add(_AND, _MAP_ANONYMOUS)
    code.branch(_EQUAL, _MAP_ANONYMOUS, yes="allow")
    code.add(_LOAD, _argument(4))
    code.branch(_AT_LEAST, end, yes="allow")
    code.branch(_AT_LEAST, first, yes="notify", no="allow")
    code.label("allow")
    code.add(_RETURN, _ALLOW)
    code.label("notify")
    code.add(_RETURN, _NOTIFY)
    code.label("foreign")
    code.add(_RETURN, _ERROR | errno.ENOSYS)
    return code.assemble()


def build_descriptor_filter(architecture: Architecture, number: int) -> bytes:
    """The program that stops calls on one descriptor, 8 bytes an instruction. What another filter notifies, it does."""
    numbers = architecture.numbers
    code = _Program()
    code.add(_LOAD, _ARCHITECTURE_AT)
    code.branch(_EQUAL, architecture.audit, no="allow")
    code.add(_LOAD, _NUMBER_AT)
    for name in (*_ON_LOW_TOO, *_DUPLICATE, *_IN_RANGE, "ioctl"):
        if name in numbers:
            code.branch(_EQUAL, numbers[name], yes="descriptor")
    code.branch(_EQUAL, numbers["fcntl"], yes="fcntl")
    for name, _ in _WITH_EMPTY_PATH:
        code.branch(_EQUAL, numbers[name], yes=name)
    code.add(_RETURN, _ALLOW)
    _add_empty_paths(code, otherwise="allow")
    _add_fcntl_and_descriptor(code)
    code.branch(_EQUAL, number, no="allow")
    code.add(_RETURN, _TRACE)
    code.label("allow")
    code.add(_RETURN, _ALLOW)
    return code.assemble()


def _add_empty_paths(code: _Program, *, otherwise: str) -> None:
    """Calls whose flags may say that they are about the descriptor, not about a path."""
    for name, flags in _WITH_EMPTY_PATH:
        code.label(name)
        code.add(_LOAD, _argument(flags))
        code.add(_AND, _AT_EMPTY_PATH)
        code.branch(_EQUAL, _AT_EMPTY_PATH, yes="descriptor", no=otherwise)


def _add_fcntl_and_descriptor(code: _Program) -> None:
    """Of fcntl(2) what duplicates; then, for it and all that branches there, the descriptor is loaded."""
    code.label("fcntl")
    code.add(_LOAD, _argument(1))
    code.branch(_EQUAL, _F_DUPFD, yes="descriptor")
    code.branch(_EQUAL, _F_DUPFD_CLOEXEC, no="allow")
    code.label("descriptor")
    code.add(_LOAD, _argument(0))


def _argument(number: int) -> int:
    """Where the low word of an argument is (both architectures are little-endian)."""
    return 16 + 8 * number


class _Program:
    """Instructions with labels. Conditional jumps reach 255 instructions, forward and backward by way of `ja`."""

    def __init__(self) -> None:
        self._code: list[tuple[int, int, str | None, str | None]] = []
        self._labels: dict[str, int] = {}

    def add(self, operation: int, operand: int) -> None:
        self._code.append((operation, operand, None, None))

    def branch(self, operation: int, operand: int, *, yes: str | None = None, no: str | None = None) -> None:
        self._code.append((operation, operand, yes, no))

    def label(self, name: str) -> None:
        self._labels[name] = len(self._code)

    def assemble(self) -> bytes:
        out = bytearray()
        for at, (operation, operand, yes, no) in enumerate(self._code):
            out += pack("=HBBI", operation, self._distance(at, yes), self._distance(at, no), operand)
        return bytes(out)

    def _distance(self, at: int, label: str | None) -> int:
        if label is None:
            return 0
        distance = self._labels[label] - at - 1
        assert 0 <= distance < 256, f"{label} is out of reach"
        return distance

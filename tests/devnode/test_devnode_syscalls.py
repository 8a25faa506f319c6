"""The table of system calls against the kernel's header, and the filter run by an interpreter of classic BPF."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from pathlib import Path
from struct import iter_unpack

import pytest

from transports.devnode.bpf import build_descriptor_filter, build_filter
from transports.devnode.syscalls import ARCHITECTURES, FILE_CALLS, PATH_CALLS, UNWATCHED

FIRST, END = 800, 1024
ALLOW, NOTIFY, ERROR, TRACE = 0x7FFF0000, 0x7FC00000, 0x50000, 0x7FF00000
HEADERS = {
    "x86_64": Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
    "aarch64": Path("/usr/include/asm-generic/unistd.h"),
}
# Words by which the calls that take a path are told from others, read off the manual's list of system calls.
TAKES_PATH = re.compile(
    r"open|creat|.*stat(at|x|fs)?|l?stat64|access|faccessat2?|readlink(at)?|.*xattr(at)?|chdir|chroot|mk(dir|nod)(at)?|"
    r"(sym)?link(at)?|unlink(at)?|rmdir|rename(at)?2?|f?chmod(at)?2?|l?chown|fchownat|truncate|utimes?|futimesat|"
    r"utimensat|inotify_add_watch|bind|connect|openat2?|execve(at)?|uselib|pivot_root|u?mount2?|mount_setattr|"
    r"open_tree(_attr)?|move_mount|fspick|swapo(n|ff)|acct|quotactl|name_to_handle_at|fanotify_mark|file_[gs]etattr"
)
BY_DESCRIPTOR = {
    "fstat", "fstatfs", "fchmod", "fgetxattr", "fsetxattr", "flistxattr", "fremovexattr", "ustat",
}


def header_numbers(name: str) -> dict[str, int]:
    """Numbers that the kernel's header gives."""
    if not HEADERS[name].exists():
        pytest.skip(f"no {HEADERS[name]}: package linux-libc-dev")
    found = re.findall(r"#define __NR(?:3264)?_(\w+) (\d+)", HEADERS[name].read_text())
    numbers = {call: int(number) for call, number in found}
    numbers.setdefault("newfstatat", numbers.get("fstatat", -1))
    return numbers


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_syscalls_numbers(name: str) -> None:
    """Every number is that of the kernel's header; calls that the header does not know yet have high numbers."""
    header = header_numbers(name)

    ours = ARCHITECTURES[name].numbers
    assert {call: number for call, number in ours.items() if call in header} == {
        call: header[call] for call in ours if call in header
    }
    assert [call for call, number in ours.items() if call not in header and number < 450] == []
    assert (header["seccomp"], header["munmap"]) == (ARCHITECTURES[name].seccomp, ARCHITECTURES[name].munmap)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_syscalls_with_paths_are_all_there(name: str) -> None:
    """No call of the kernel's header takes a path unwatched, but those for which a reason is given."""
    header = header_numbers(name)
    takes = {call for call in header if TAKES_PATH.fullmatch(call)} - BY_DESCRIPTOR

    watched = {call.name for call in PATH_CALLS} & set(ARCHITECTURES[name].numbers)
    ignored = {"fstatat", "statx_"} if name == "aarch64" else set()      # its name in the generic header
    assert takes - watched - set(UNWATCHED) - ignored == set()
    assert all(reason for reason in UNWATCHED.values())


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_syscalls_table_is_complete(name: str) -> None:
    """An architecture has numbers for all calls on descriptors but the old getdents."""
    assert set(FILE_CALLS) - set(ARCHITECTURES[name].numbers) <= {"getdents", "dup2"}


def decide(program: bytes, number: int, arguments: tuple[int, ...] = (), audit: int = 0) -> int:
    """What a filter returns."""
    data = number.to_bytes(4, "little") + audit.to_bytes(4, "little") + bytes(8)
    data += b"".join(argument.to_bytes(8, "little") for argument in (*arguments, 0, 0, 0, 0, 0, 0)[:6])
    code = list(iter_unpack("=HBBI", program))
    at = accumulator = 0
    while True:
        operation, yes, no, operand = code[at]
        at += 1
        if operation == 0x20:
            accumulator = int.from_bytes(data[operand : operand + 4], "little")
        elif operation == 0x54:
            accumulator &= operand
        elif operation == 0x15:
            at += yes if accumulator == operand else no
        elif operation == 0x35:
            at += yes if accumulator >= operand else no
        else:
            assert operation == 0x06
            return operand


def cases(name: str) -> Iterator[tuple[str, tuple[int, ...], int]]:
    """Calls, arguments, decisions."""
    for call in PATH_CALLS:
        if call.name in ARCHITECTURES[name].numbers:
            yield call.name, (), NOTIFY
    for call in ("read", "write", "readv", "pwritev2", "fstat", "lseek", "fsync", "fdatasync"):
        yield from ((call, (fd,), NOTIFY if fd < 3 or FIRST <= fd < END else ALLOW) for fd in (0, 2, 3, 799, 800, 1023,
                                                                                               1024))
    for call in ("dup", "dup3"):
        yield from ((call, (fd,), NOTIFY if fd < 3 or FIRST <= fd < END else ALLOW) for fd in (0, 3, 799, 800, 1024))
    yield from (("fcntl", (fd, command), NOTIFY) for fd, command in ((2, 0), (900, 1030)))
    yield from (("fcntl", (fd, command), ALLOW) for fd, command in ((2, 1), (3, 1030), (900, 3)))
    for call in ("close", "fchdir"):
        yield from ((call, (fd,), NOTIFY if FIRST <= fd < END else ALLOW) for fd in (0, 3, 799, 800, 1023, 1024))
    yield "ioctl", (5, 0x5401), ALLOW               # TCGETS
    yield "ioctl", (900, 0x5401), NOTIFY
    yield "ioctl", (5, 0x2285), NOTIFY              # SG_IO on a descriptor that was duplicated
    yield "ioctl", (5, 0x5382), NOTIFY
    yield "ioctl", (5, 0x1_0000_5401), ALLOW        # the upper half of an int argument means nothing
    yield "newfstatat", (5, 1, 1, 0x1000), ALLOW    # fstat as glibc has it
    yield "newfstatat", (900, 1, 1, 0x1000), NOTIFY
    yield "statx", (0, 1, 0x1000), NOTIFY
    yield "statx", (6, 1, 0x1000), ALLOW
    yield "mmap", (0, 4096, 1, 2, 900), NOTIFY
    yield "mmap", (0, 4096, 1, 2, 5), ALLOW
    yield "mmap", (0, 4096, 1, 0x22, 0xFFFFFFFF), ALLOW
    yield "getdents64", (5,), NOTIFY
    yield "getcwd", (), NOTIFY
    yield "io_uring_setup", (), ERROR | errno.ENOSYS


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_filter_decides(name: str) -> None:
    """Paths always come to us, descriptors by their number; all other calls are allowed."""
    architecture = ARCHITECTURES[name]
    program = build_filter(architecture, FIRST, END)

    wrong = [
        (call, arguments, hex(decision)) for call, arguments, wanted in cases(name)
        if (decision := decide(program, architecture.numbers[call], arguments, architecture.audit)) != wanted
    ]
    assert wrong == []
    others = set(range(500)) - set(architecture.numbers.values())
    assert {decide(program, number, (900,), architecture.audit) for number in others} == {ALLOW}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_descriptor_filter_decides(name: str) -> None:
    """The second filter stops calls on one descriptor, and nothing else."""
    architecture = ARCHITECTURES[name]
    numbers = architecture.numbers
    program = build_descriptor_filter(architecture, 3)

    def stops(call: str, *arguments: int) -> bool:
        return {TRACE: True, ALLOW: False}[decide(program, numbers[call], arguments, architecture.audit)]

    for call in ("read", "write", "readv", "pwritev2", "pread64", "fstat", "lseek", "ioctl", "dup", "dup3", "close"):
        assert [stops(call, fd) for fd in (2, 3, 4, 803)] == [False, True, False, False], call
    assert [stops("fcntl", 3, command) for command in (0, 1, 2, 3, 1030)] == [True, False, False, False, True]
    assert [stops("newfstatat", 3, 1, 1, flags) for flags in (0, 0x100, 0x1000)] == [False, False, True]
    assert [stops("statx", fd, 1, 0x1000) for fd in (3, 4)] == [True, False]
    assert not stops("openat", 3)
    assert decide(program, numbers["read"], (3,), 0x40000003) == ALLOW      # the first filter refuses it


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_filter_refuses_other_architectures(name: str) -> None:
    """32-bit and x32 calls could name a path unseen: they do not exist here."""
    architecture = ARCHITECTURES[name]
    program = build_filter(architecture, FIRST, END)

    assert decide(program, 5, (), 0x40000003) == ERROR | errno.ENOSYS
    assert decide(program, 0x40000002, (), architecture.audit) == ERROR | errno.ENOSYS

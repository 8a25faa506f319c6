"""Tape nodes under a command: what the driver's own tests cannot see, processes, descriptors and memory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from devnode_world import ROOT, needs_nodes

PRELUDE = """
import errno, fcntl, os, struct, sys, time
def op(fd, number, count=1):
    fcntl.ioctl(fd, 0x40086D01, struct.pack("=h2xi", number, count))
def place(fd):
    *_, file, block = struct.unpack("=qqqqqii", fcntl.ioctl(fd, 0x80306D02, bytes(48)))
    return file, block
def name(action, *arguments):
    try: return action(*arguments)
    except OSError as error: return errno.errorcode[error.errno]
nst = lambda flags=os.O_RDWR: os.open("/dev/nst0", flags)
"""


def run_tape(program: str, *, capacity: int = 1 << 30) -> list[str]:
    """Run a Python program that has a tape drive; its lines."""
    needs_nodes()
    done = subprocess.run(
        [sys.executable, str(Path(__file__).parent / "fake_tape.py"), str(capacity), sys.executable, "-c",
         PRELUDE + program],
        capture_output=True, text=True, check=False, timeout=60, cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_tape_blocks_and_filemarks() -> None:
    """Vectors are gathered into one block and scattered from it; close writes a filemark."""
    assert run_tape("""
fd = nst()
print(os.write(fd, b"first"), os.writev(fd, [b"sec", b"", b"ond"]), place(fd)); os.close(fd)
fd = nst(); print(place(fd)); op(fd, 6)
a, b = bytearray(3), bytearray(9)
print(os.read(fd, 100), os.readv(fd, [a, b]), bytes(a), bytes(b[:3]), os.read(fd, 9), place(fd))
print(name(os.lseek, fd, 0, 0), name(os.pread, fd, 9, 0))
""") == ["5 6 (0, 2)", "(1, 0)", "b'first' 6 b'sec' b'ond' b'' (1, 0)", "ESPIPE ESPIPE"]


def test_tape_one_user_at_a_time() -> None:
    """A second open is EBUSY, also after fork while a copy is open; and not after the last close."""
    assert run_tape("""
fd = nst(); print(name(nst))
if not (child := os.fork()):
    time.sleep(0.3); os._exit(0)
os.close(fd); print(name(nst)); os.waitpid(child, 0)
fd = nst(); os.dup2(fd, 0); os.close(fd); print(name(nst)); os.close(0)
fd = nst(); os.dup2(fd, 3); os.close(fd); print(name(nst)); os.dup2(3, 4); os.close(3); print(name(nst)); os.close(4)
fd = nst(); print(fd >= 800, name(os.dup2, fd, 1000))
""") == ["EBUSY", "EBUSY", "EBUSY", "EBUSY", "EBUSY", "True 1000"]


def test_tape_end_of_process_is_a_close() -> None:
    """A process that ends, or is killed, leaves its filemark, and /dev/st0 is rewound, before the next open."""
    assert run_tape("""
for last in (lambda: os._exit(0), lambda: os.kill(os.getpid(), 9)):
    if not (child := os.fork()):
        os.write(nst(), b"data"); last()
    os.waitpid(child, 0)
    fd = nst(); print(place(fd)); os.close(fd)
if not (child := os.fork()):
    os.open("/dev/st0", os.O_RDWR); os._exit(0)
os.waitpid(child, 0)
print(place(nst()))
""") == ["(1, 0)", "(2, 0)", "(0, 0)"]


def test_tape_bad_memory_and_access() -> None:
    """Pointers are EFAULT, the way of opening is heeded, and the drive goes on working."""
    assert run_tape("""
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
fd = nst(os.O_WRONLY); print(name(os.read, fd, 5), os.write(fd, b"x")); os.close(fd)
fd = nst(os.O_RDONLY); print(name(os.write, fd, b"x")); op(fd, 6)
for call in (lambda p: libc.read(fd, p, 9), lambda p: libc.ioctl(fd, ctypes.c_ulong(0x40086D01), p)):
    print(call(ctypes.c_void_p(8)), errno.errorcode[ctypes.get_errno()])
print(libc.writev(fd, ctypes.c_void_p(8), 3), libc.readv(fd, ctypes.c_void_p(8), 1 << 20), name(op, fd, 99))
op(fd, 6); print(os.read(fd, 9))
""") == ["EBADF 1", "EBADF", "-1 EFAULT", "-1 EFAULT", "-1 -1 ENOSYS", "b'x'"]


def test_tape_close_tells_its_error() -> None:
    """A filemark that does not fit any more is EIO of close(2); the drive can be opened again."""
    assert run_tape("""
fd = nst(); os.write(fd, bytes(80)); print(name(os.write, fd, b"x")); op(fd, 5, 0); print(name(os.close, fd))
fd = nst(); print(place(fd)[0])
""", capacity=100) == ["ENOSPC", "None", "0"]


def test_tape_in_sys() -> None:
    """What programs look for: the class, the links, the numbers of mode and rewinding in the minor."""
    assert run_tape("""
print(sorted(os.listdir("/sys/class/scsi_tape")))
print(open("/sys/class/scsi_tape/nst0a/dev").read().strip(), os.minor(os.stat("/dev/nst0m").st_rdev))
print(os.readlink("/sys/class/scsi_tape/st0/device/tape"), os.path.exists("/dev/nst1"))
print([line.split() for line in open("/proc/devices") if line.endswith(" st\\n")])
""") == [
        str(["nst0", "nst0a", "nst0l", "nst0m", "st0", "st0a", "st0l", "st0m"]), "9:224 192", "scsi_tape/st0 False",
        "[['9', 'st']]",
    ]

"""The node of an optical drive under a command: what the driver's own tests cannot see."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from devnode_world import ROOT, needs_nodes, run_python


def run_disc(*words: str, kind: str = "rom") -> list[str]:
    """Run a command that has an optical drive; its lines."""
    needs_nodes()
    done = subprocess.run(
        [sys.executable, str(Path(__file__).parent / "fake_disc.py"), kind, *words],
        capture_output=True, text=True, check=False, timeout=60, cwd=ROOT,
        env={
            **os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1",
            "LC_ALL": "C",
        },
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_optical_reads_and_seeks() -> None:
    """dd and cat read the disc; pread, lseek and preadv know positions; the links lead to the node."""
    assert run_disc("sh", "-c", """
dd if=/dev/sr0 bs=1000 skip=100 count=2 2>/dev/null | od -v -An -tx1 | tail -1
cat /dev/cdrom | wc -c; head -c 131072 /dev/scd0 | wc -c; stat -c '%F %t:%T' /dev/sr0; ls -l /dev/cdrom | cut -c1
""") == [" 31 31 31 31 31 31 31 31 31 31 31 31 31 31 31 31", "131072", "131072", "block special file b:0", "l"]
    assert run_disc(sys.executable, "-c", """
import errno, fcntl, os, struct
fd = os.open("/dev/sr0", os.O_RDONLY)
a, b = bytearray(2048), bytearray(3)
print(os.pread(fd, 3, 4095), os.preadv(fd, [a, b], 4096), bytes(b), os.lseek(fd, 0, 2), os.lseek(fd, 2048, 0))
print(os.read(fd, 1), struct.unpack("=Q", fcntl.ioctl(fd, 0x80081272, bytes(8))), fcntl.ioctl(fd, 0x5326, 0x7fffffff))
hdr = fcntl.ioctl(fd, 0x5382, bytes(8)); print(hdr[:4])
try: os.open("/dev/sr0", os.O_RDWR)
except OSError as error: print(errno.errorcode[error.errno])
""") == [r"b'\x01\x02\x02' 2051 b'\x03\x03\x03' 131072 2048", r"b'\x01' (131072,) 4", r"b'\x00\x00\x00\x00'", "EROFS"]


def test_optical_writes() -> None:
    """A disc that is written like a disk is; what another program reads is what was written."""
    assert run_disc("sh", "-c", """
printf hello | dd of=/dev/sr0 bs=5 seek=3 conv=notrunc 2>/dev/null; head -c 21 /dev/sr0 | od -An -c | head -1
dd if=/dev/zero of=/dev/sr0 bs=64k 2>&1 | grep -o 'No space left'
""", kind="ram") == [r"  \0  \0  \0  \0  \0  \0  \0  \0  \0  \0  \0  \0  \0  \0  \0   h", "No space left"]


def test_optical_is_synchronised() -> None:
    """fsync and fdatasync succeed on a disc, at any descriptor; a node without a driver refuses them."""
    assert run_disc(sys.executable, "-c", """
import errno, os
fd = os.open("/dev/sr0", os.O_RDWR)
os.write(fd, bytes(2048)); print(os.fsync(fd), os.fdatasync(fd))
os.dup2(fd, 2); print(os.fsync(2)); os.dup2(fd, 9); os.write(9, b"x"); print(os.fsync(9))
with open(__import__("tempfile").mkstemp()[1], "wb") as file: print(os.fsync(file.fileno())); os.unlink(file.name)
try: os.fsync(os.open("/dev/sg0", os.O_RDWR))
except OSError as error: print(errno.errorcode[error.errno])
""", kind="ram") == ["None None", "None", "None", "None", "EINVAL"]


def test_optical_in_sys() -> None:
    """What programs look for: block devices of /sys, /proc/devices, and what the drive can."""
    lines = run_disc("sh", "-c", """
cat /sys/class/block/sr0/dev /sys/block/sr0/removable /sys/block/sr0/device/type; tail -1 /proc/devices
grep -e name -e DVD: -e CD-RW /proc/sys/dev/cdrom/info
""")

    assert lines[:4] == ["11:0", "1", "5", " 11 sr"]
    assert [line.split() for line in lines[4:]] == [
        ["drive", "name:", "sr0"], ["Can", "write", "CD-RW:", "0"], ["Can", "read", "DVD:", "1"],
    ]


def test_optical_none() -> None:
    """Without a disc open is ENOMEDIUM, and with O_NONBLOCK the drive says so itself."""
    assert run_disc("sh", "-c", "cat /dev/sr0 2>&1 || true", kind="none") == [
        "cat: /dev/sr0: No medium found",
    ]


def test_optical_changes_of_ours() -> None:
    """CDROM_MEDIA_CHANGED of our own drive: at first, after ejecting, after loading; not after loading what is there.

    The time of CDROM_TIMED_MEDIA_CHANGE is of CLOCK_MONOTONIC.
    """
    assert run_python("""
import time
fd = os.open("/dev/sr0", os.O_RDONLY | os.O_NONBLOCK)
changed = lambda: fcntl.ioctl(fd, 0x5325, 0x7fffffff)
found = [changed(), changed()]
for number in (0x5319, 0x5309, 0x5319, 0x5319):     # CLOSETRAY, EJECT
    fcntl.ioctl(fd, number); found += ["in" if number == 0x5319 else "out", changed(), changed()]
print(*found)
at, later = struct.unpack("=qQ", fcntl.ioctl(fd, 0x5396, bytes(16)))
print(later, 0 <= time.monotonic() * 1000 - at < 60000)
""", units=("--optical", "8M,kind=cd-rom")) == "1 0 in 0 0 out 1 0 in 1 0 in 0 0\n1 True\n"


def test_optical_dvd_of_ours() -> None:
    """Our own drive through the driver: the layer of a DVD, its region, its volume; a CD has no structures."""
    program = """
def ask(number, given, size):
    data = bytearray(given.ljust(2056, b"\\0"))
    try: fcntl.ioctl(fd, number, data, True)
    except OSError as error: return errno.errorcode[error.errno]
    return bytes(data[:size])
fd = os.open("/dev/sr0", os.O_RDONLY)
layer = ask(0x5390, b"", 24)
print(layer if type(layer) is str else struct.unpack_from("=II", layer, 12))
print(ask(0x5392, b"\\x0a", 3), ask(0x530A, b"\\x40\\x30", 1), ask(0x5313, b"", 2), ask(0x5312, b"", 0))
"""
    dvd = run_python(program, units=("--optical", "8M,kind=dvd-rom,region=1"))
    disc = run_python(program, units=("--optical", "8M,kind=cd-rom"))

    assert dvd.splitlines() == ["(196608, 200703)", r"b'\xb1\xfe\x01' b'@' b'@0' b''"]
    assert disc.splitlines()[0] == "EIO"

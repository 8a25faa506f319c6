"""What the tests of device nodes share: a memory that is a dictionary, and commands run under `scsiemu exec`."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import pytest

from scsiemu.command import Buffer
from transports.devnode.nodes import UnitAddress, bsg_node, sg_node
from transports.devnode.request import Refused

ROOT = Path(__file__).parents[2]
ADDRESS = UnitAddress(0, 0, 0, 0, 0)
SG = sg_node(0, ADDRESS, 0)
BSG = bsg_node(0, ADDRESS, 0)

# Begins programs that run under the nodes: SG_IO by ctypes.
PRELUDE = '''
import ctypes, errno, fcntl, os, struct, sys
def header(cdb, length=0, direction=-1, buffer=0, sense=0, room=0, timeout=5000, flags=0, pack=0, iovecs=0):
    keep = ctypes.create_string_buffer(cdb, len(cdb))
    raw = struct.pack("=iiBBHIQQQIIi4xQ", 0x53, direction, len(cdb), room, iovecs, length, buffer,
                      ctypes.addressof(keep), sense, timeout, flags, pack, 0).ljust(88, b"\\0")
    found = bytearray(raw)
    header.keep = getattr(header, "keep", []) + [keep]
    return found
def sg_io(fd, hdr):
    try:
        fcntl.ioctl(fd, 0x2285, hdr, True)
    except OSError as error:
        return errno.errorcode[error.errno]
    return "ok"
def result(hdr):
    status, masked, _, sense, host, driver, resid, _, info = struct.unpack_from("=BBBBHHiII", hdr, 64)
    return dict(status=status, masked=masked, sense=sense, host=host, driver=driver, resid=resid, info=info)
'''


class FakeMemory:
    """One buffer at an address; everything else faults."""

    def __init__(self, size: int = 1 << 16, base: int = 0x10000) -> None:
        self.base = base
        self.bytes = bytearray(size)

    def read(self, address: int, length: int) -> bytes:
        """The bytes there."""
        at = self._offset(address, length)
        return bytes(self.bytes[at : at + length])

    def write(self, address: int, data: Buffer) -> None:
        """Put bytes there."""
        at = self._offset(address, len(data))
        self.bytes[at : at + len(data)] = data

    def _offset(self, address: int, length: int) -> int:
        at = address - self.base
        if at < 0 or at + length > len(self.bytes):
            raise Refused(errno.EFAULT)
        return at


def run_exec(
    *words: str,
    units: tuple[str, ...] = ("--disk", "8M"),
    timeout: float = 60.0,
    program: Sequence[str] = (sys.executable, "-m", "scsiemu.app.main"),
) -> subprocess.CompletedProcess[bytes]:
    """Run a command under `scsiemu exec`; `program` are the words of `scsiemu`."""
    needs_nodes()
    return subprocess.run(
        [*program, "exec", *units, "--", *words],
        capture_output=True, check=False, timeout=timeout, cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1"},
    )


def run_python(program: str, **options: object) -> str:
    """Run a Python program under the nodes; its output. It must end with 0."""
    done = run_exec(sys.executable, "-c", PRELUDE + program, **options)  # type: ignore[arg-type]  # as of run_exec
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


@lru_cache
def _works() -> str:
    done = subprocess.run(
        [sys.executable, "-m", "scsiemu.app.main", "exec", "--disk", "1M", "--", "true"],
        capture_output=True, text=True, check=False, timeout=60, cwd=ROOT,
    )
    return "" if done.returncode == 0 else done.stderr


def needs_nodes() -> None:
    """Skip where the kernel or the container does not allow it; in CI (CI=true) that is a failure."""
    why = _works()
    if why and os.environ.get("CI") != "true":
        pytest.skip(f"device nodes do not work here: {why.strip()}")
    assert not why

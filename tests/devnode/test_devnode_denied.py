"""Where the kernel or a container does not let us."""

from __future__ import annotations

import errno
import os
import subprocess
import sys

import pytest
from devnode_world import ROOT, needs_nodes

from transports.devnode.syscalls import ARCHITECTURES

DENIED = """
import ctypes, os, struct, sys
number, error = int(sys.argv[1]), int(sys.argv[2])
libc = ctypes.CDLL(None, use_errno=True)
rows = ((0x20, 0, 0, 0), (0x15, 0, 1, number), (0x06, 0, 0, 0x50000 | error), (0x06, 0, 0, 0x7FFF0000))
code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *row) for row in rows))
program = ctypes.create_string_buffer(struct.pack("=H6xQ", len(rows), ctypes.addressof(code)))
libc.prctl(38, 1, 0, 0, 0)
assert libc.prctl(22, 2, program, 0, 0) == 0
os.execv(sys.executable, [sys.executable, "-m", "scsiemu.app.main", "exec", "--disk", "1M", "--", "true"])
"""
ARCHITECTURE = ARCHITECTURES.get(os.uname().machine)
READ_MEMORY = {"x86_64": 310, "aarch64": 270}.get(os.uname().machine, 0)


@pytest.mark.skipif(ARCHITECTURE is None, reason="there is no table of its system calls")
@pytest.mark.parametrize(("call", "error", "said"), [
    ("seccomp", errno.EINVAL, "5.19"), ("seccomp", errno.ENOSYS, "seccomp"), ("seccomp", errno.EPERM, "seccomp"),
    ("seccomp", errno.EACCES, "seccomp"), ("memory", errno.EPERM, "memory"), ("memory", errno.ENOSYS, "memory"),
])
def test_exec_where_it_is_denied(call: str, error: int, said: str) -> None:
    """An old kernel, and containers that deny what is needed: one sentence that says what, exit code 3, no command."""
    needs_nodes()
    assert ARCHITECTURE is not None
    number = ARCHITECTURE.seccomp if call == "seccomp" else READ_MEMORY
    done = subprocess.run(
        [sys.executable, "-c", DENIED, str(number), str(error)], capture_output=True, text=True, check=False,
        timeout=60, cwd=ROOT,
    )

    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.count("\n") == 1
    assert said in done.stderr

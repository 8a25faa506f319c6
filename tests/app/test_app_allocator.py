"""The allocator of a serving process: counted in page faults, not timed."""

from __future__ import annotations

import subprocess
import sys

_PROGRAM = """
import resource
from scsiemu.app.allocator import keep_freed_memory

keep_freed_memory()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    buffers = [bytearray(1 << 20) for _ in range(4)]
    buffers.clear()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def test_allocator_keeps_large_buffers() -> None:
    """Eighty buffers of 1 MiB, one set after the other, fault each page in once, not twenty times."""
    command = [sys.executable, "-c", _PROGRAM]
    faults = int(subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout)

    assert faults < 3 * 4 * 256

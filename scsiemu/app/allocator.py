"""Memory of the process: what was freed is kept for the next large buffer.

glibc takes a buffer of 1 MiB from the kernel and gives it back when it is freed, so that each large transfer begins
with 256 page faults: they cost more than to read the data into it (bench/compare.py, the loads of 256 KiB and 1 MiB).
How much is kept is bounded, and what was never used is never there.
"""

from __future__ import annotations

import ctypes
from typing import Final

__all__ = ["keep_freed_memory"]

# <malloc.h>
_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3

_LARGEST_KEPT: Final = 32 << 20         # glibc's own limit for M_MMAP_THRESHOLD
_KEPT: Final = 64 << 20                 # bytes at the end of the heap


def keep_freed_memory() -> None:
    """Tell the C library, after what starting has left is given back; one that has no mallopt goes on as before."""
    library = ctypes.CDLL(None)
    mallopt = getattr(library, "mallopt", None)
    if mallopt is not None:
        library.malloc_trim(0)
        mallopt(_M_MMAP_THRESHOLD, _LARGEST_KEPT)
        mallopt(_M_TRIM_THRESHOLD, _KEPT)

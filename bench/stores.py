"""What one request costs in each store, against the bare system call.

    python bench/stores.py [FOLDER]

Finding (two virtual CPUs, ext4, CPython 3.11): a 4 KiB read of a cached file costs the file store 1.0 to 1.2 times
what a bare preadv with RWF_NOWAIT into a fresh bytearray costs, and the memory store a quarter of it.
"""

from __future__ import annotations

import os
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from iohandlers import cow, file, memory, null
from scsiemu.io_requests import Read, Write

SIZE = 64 << 20
BLOCK = 4096


def measure(name: str, call: Callable[[int], object], count: int = 50_000) -> None:
    """Print the best of five rounds."""
    best = float("inf")
    for _ in range(5):
        begin = time.perf_counter()
        for index in range(count):
            call(index)
        best = min(best, (time.perf_counter() - begin) / count)
    print(f"{name:28} {best * 1e6:8.2f} us")


def main() -> None:
    """Measure all of them."""
    folder = sys.argv[1] if len(sys.argv) > 1 else None
    blocks = SIZE // BLOCK
    offsets = [block * BLOCK for block in random.Random(1).sample(range(blocks), blocks)]
    reads = [Read(offset, BLOCK) for offset in offsets]
    writes = [Write(offset, BLOCK, os.urandom(BLOCK)) for offset in offsets]
    with tempfile.NamedTemporaryFile(dir=folder) as image:
        base = memory.open_store(size=SIZE)
        stores = {
            "file": file.open_store(path=image.name, size=SIZE), "memory": base, "null": null.open_store(size=SIZE),
            "cow": cow.open_store(next_store=base, overlay=memory.open_store(size=2 * SIZE)),
        }
        for name, store in stores.items():
            submit = store.submit
            measure(f"{name} write 4 KiB", lambda index, do=submit: do(writes[index % blocks], None))
            measure(f"{name} read 4 KiB", lambda index, do=submit: do(reads[index % blocks], None))
        descriptor = image.fileno()
        measure("bare preadv 4 KiB", lambda index: os.preadv(
            descriptor, (bytearray(BLOCK),), offsets[index % blocks], os.RWF_NOWAIT
        ))
        for store in stores.values():
            store.close()


if __name__ == "__main__":
    main()

"""What a command costs over the virtual SCSI loopback, against the engine alone.

    python bench/vscsi_loopback.py [--json]

Finding (two virtual CPUs, CPython 3.11, quiet): TEST UNIT READY takes 14 microseconds, a 4 KiB read 18 and a 4 KiB
write 20 for the whole round trip: the initiator's information unit, the server's queue, DMA, engine and store in
memory, response, the initiator's queue. That is 7 to 14 times what the engine alone takes for them. A MiB costs its
copies: 3 to 5 times the engine's one.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from devtypes.vd import DiskConfig, VirtualDisk
from iohandlers.memory import open_store
from scsiemu.command import Command
from scsiemu.target import Target
from transports.vscsi import loopback

TUR = bytes(6)
READ_4K = bytes.fromhex("28000000000800000800")
WRITE_4K = bytes.fromhex("2a000000000800000800")
READ_1M = bytes.fromhex("28000000000000080000")
WRITE_1M = bytes.fromhex("2a000000000000080000")
MEBIBYTE = 1 << 20


def measure(call: Callable[[], object], count: int) -> float:
    """Microseconds of a call, the best of seven rounds."""
    best = float("inf")
    for _ in range(7):
        begin = time.perf_counter()
        for _ in range(count):
            call()
        best = min(best, (time.perf_counter() - begin) / count)
    return best * 1e6


def main() -> None:
    """Measure, print."""
    store = open_store(size=64 << 20)
    target = Target("iqn.2026-11.example.scsiemu:bench")
    target.add_unit(0, VirtualDisk(DiskConfig.for_store(store.capabilities)), performer=store.submit)
    link = loopback(target)
    while link.execute(0, TUR).status:
        pass
    data, long = bytes(range(256)) * 16, bytes(MEBIBYTE)
    nexus = next(iter(target.nexuses))

    def alone(cdb: bytes, out: bytes, length: int) -> None:
        target.submit(Command(nexus, 0, cdb, 0, 0, out, len(out), length))
        target.completions.clear()

    found = {}
    for name, cdb, out, length, count in (
        ("TEST UNIT READY", TUR, b"", 0, 5000),
        ("read 4 KiB", READ_4K, b"", 4096, 5000),
        ("write 4 KiB", WRITE_4K, data, 0, 5000),
        ("read 1 MiB", READ_1M, b"", MEBIBYTE, 100),
        ("write 1 MiB", WRITE_1M, long, 0, 100),
    ):
        whole = measure(lambda cdb=cdb, out=out, length=length: link.execute(0, cdb, out, length), count)
        engine = measure(lambda cdb=cdb, out=out, length=length: alone(cdb, out, length), count)
        found[name] = {"loopback_us": round(whole, 2), "engine_us": round(engine, 2)}
        if "--json" not in sys.argv:
            print(f"{name:16} {whole:9.2f} us   the engine alone {engine:9.2f} us")
    if "--json" in sys.argv:
        print(json.dumps(found))
    link.close()


if __name__ == "__main__":
    main()

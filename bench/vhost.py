"""Commands a second over vhost-user-scsi: a process that serves, and the front end of this repository as the guest.

    python bench/vhost.py [--json]

Each request is kicked by an eventfd and answered by another, one at a time and 32 at a time. The front end is Python,
too, and takes its part of the time.

Finding (two virtual CPUs, CPython 3.11, nothing else on the machine): one at a time 6,000 TEST UNIT READY and 5,600
reads of 4 KiB a second, nearly all of it wake-ups of the two processes; 32 at a time 35,000 and 33,000.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from transports.vhost.front_end import FrontEnd

TUR = bytes(6)
READ_4K = bytes.fromhex("28000000000800000800")
SECONDS = 2.0


def measure(guest: FrontEnd, cdb: bytes, length: int, depth: int) -> float:
    """Commands a second, `depth` of them outstanding."""
    done = 0
    begin = time.perf_counter()
    while time.perf_counter() - begin < SECONDS:
        for handle in [guest.start(0, cdb, b"", length) for _ in range(depth)]:
            guest.finish(handle)
        done += depth
    return done / (time.perf_counter() - begin)


def main() -> None:
    """Serve, measure, print."""
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/vhost"
        command = [
            sys.executable, "-m", "scsiemu.app", "serve", "--disk", "64M", "--vhost", path, "--json",
            "--exit-with-parent",
        ]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            found = {}
            with FrontEnd(path) as guest:
                while guest.execute(0, TUR).status:
                    pass
                for name, cdb, length in (("TEST UNIT READY", TUR, 0), ("read 4 KiB", READ_4K, 4096)):
                    for depth in (1, 32):
                        found[f"{name}, depth {depth}"] = round(measure(guest, cdb, length, depth))
            process.terminate()
    if "--json" in sys.argv:
        print(json.dumps(found))
        return
    for name, rate in found.items():
        print(f"{name:26} {rate:8,} a second")


if __name__ == "__main__":
    main()

"""Latency of SG_IO TEST UNIT READY through a device node, as a ratio to a plain ioctl of the same process.

    .venv/bin/python bench/devnode.py [--rounds 7] [--count 5000]

The program that is measured is a Python one, under `scsiemu exec`: the plain ioctl is FIONREAD on a pipe, which the
filter lets pass. The rounds alternate. Printed: microseconds of each, medians, and their ratio; beside them what an
open(2) costs that comes to us and goes on in the kernel, against the same open outside.

Finding (2-core virtual machine, Linux 6.18, CPython 3.11, quiet): TEST UNIT READY 24 microseconds, plain ioctl 0.51,
ratio 48; SG_GET_VERSION_NUM 16; a notified open(2) 21.5 against 2.4. Of the 24 the program itself takes 4, the
supervisor 12 in Python and 8 in the kernel. Reading the CDB with the structure (where the last one was), arguments made
beforehand for process_vm_readv and Target.execute made that of 31.5, ratio 62, on the same machine.

Without SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP (before Linux 6.6) it was 130 to 170 where the two processes were on two
CPUs; bound to one (taskset), 33. A prototype whose unit was three lines of Python took 26 where an open took 4. poll
instead of epoll gains nothing.

fstat(2) of a node 23; at a descriptor number below ours, where the process is traced for it, 110 to 140: two wake-ups
that the kernel does not keep on one CPU.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]

INSIDE = """
import ctypes, fcntl, json, os, struct, sys, termios, time
rounds, count, nodes = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "nodes"
def per_call(action):
    start = time.perf_counter()
    for _ in range(count): action()
    return (time.perf_counter() - start) / count * 1e6
pipe = os.pipe()[0]
word = bytearray(4)
def plain(): fcntl.ioctl(pipe, termios.FIONREAD, word, True)
def opened(): os.close(os.open("/etc/hostname", os.O_RDONLY))
found = {"plain": [], "open": [], "tur": [], "version": [], "high": [], "low": []}
if nodes:
    sg = os.open("/dev/sg0", os.O_RDWR)
    cdb = ctypes.create_string_buffer(6)
    header = bytearray(struct.pack("=iiBBHIQQQIIi4xQ", 0x53, -1, 6, 0, 0, 0, 0, ctypes.addressof(cdb), 0, 5000, 0, 0,
                                   0).ljust(88, b"\\0"))
    def tur(): fcntl.ioctl(sg, 0x2285, header, True)
    def version(): fcntl.ioctl(sg, 0x2282, word, True)
    def high(): os.fstat(sg)
    def low(): os.fstat(9)
for _ in range(rounds):
    found["plain"].append(per_call(plain))
    found["open"].append(per_call(opened))
    if nodes:
        found["tur"].append(per_call(tur))
        found["version"].append(per_call(version))
        found["high"].append(per_call(high))
if nodes:
    os.dup2(sg, 9)
    for _ in range(rounds):
        found["low"].append(per_call(low))
assert not nodes or header[64] == 0
print(json.dumps(found))
"""


def measure(arguments: argparse.Namespace, *, nodes: bool) -> dict[str, float]:
    """Medians in microseconds."""
    command = [
        sys.executable, "-c", INSIDE, str(arguments.rounds), str(arguments.count), "nodes" if nodes else "native"
    ]
    if nodes:
        command = [sys.executable, "-m", "scsiemu.app.main", "exec", "--disk", "64M", "--", *command]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, env=environment)
    return {name: statistics.median(rounds) for name, rounds in json.loads(done.stdout).items() if rounds}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--count", type=int, default=5000)
    arguments = parser.parse_args()
    inside, outside = measure(arguments, nodes=True), measure(arguments, nodes=False)
    print(f"SG_IO TEST UNIT READY through a node  {inside['tur']:8.2f} us")
    print(f"SG_GET_VERSION_NUM through a node     {inside['version']:8.2f} us")
    print(f"plain ioctl of the same process       {inside['plain']:8.2f} us   (outside {outside['plain']:.2f})")
    print(f"ratio                                 {inside['tur'] / inside['plain']:8.1f}")
    print(f"fstat(2) of a node                    {inside['high']:8.2f} us   (at a low descriptor {inside['low']:.2f})")
    print(f"open(2), notified                     {inside['open']:8.2f} us   (outside {outside['open']:.2f})")


if __name__ == "__main__":
    main()

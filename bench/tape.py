"""A tape drive of ours and tgtd's, side by side: sequential writes and reads of 256 KiB blocks; and positions a second
on a tape of a million blocks.

    .venv/bin/python bench/tape.py [--rounds 7] [--seconds 0.4] [--blocks 1000000] [--positions 5000]

Both targets run at once on loopback, idle but for the one measured, each with a tape in a file of a tmpfs, so that no
disk is measured; the rounds alternate in random order. The load generator (bench/loadgen.c) sends one command at a
time, as tar and dd do: WRITE(6) of variable blocks from the beginning, then READ(6) of the first 32 MiB, repeated.
tgtd runs with `-t 1`, once with its defaults and once with data segments and first bursts of 256 KiB; the better of the
two counts. Printed: MB/s, medians, and the median ratio of the rounds; above 1 is better than tgtd.

Positions: LOCATE(16) of random logical objects over iSCSI, one at a time, by our initiator in this process; beside it
TEST UNIT READY by the same connection, which is what a round trip costs. tgtd has no LOCATE.

Needs cc, the package tgt, and root (tgtd).
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1]))

from servers import Server, TgtdProcess, compile_program

from transports.iscsi.client import Client, connect

ROOT: Final = Path(__file__).parents[1]
NAME: Final = "iqn.2026-11.bench:tape"
BLOCK: Final = 256 << 10
ROOM: Final = 4096                         # megabytes of a tape that is written to
READ_SPAN: Final = 32 << 20
SMALL: Final = 64                           # bytes of a block of the tape of many blocks
TOGETHER: Final = 4000                      # of them in a WRITE

TEST_UNIT_READY: Final = bytes(6)


class Tgtd(TgtdProcess):
    """A tgtd of our own with a tape."""

    def lun(self, store: str) -> int:
        return 1

    def __init__(self, folder: Path, *, tuned: bool) -> None:
        super().__init__(threads=1)
        self.name = "tgtd tuned" if tuned else "tgtd"
        image = folder / self.name.replace(" ", "-")
        subprocess.run(
            ["tgtimg", "--op", "new", "--device-type", "tape", "--barcode", "B00001", "--size", str(ROOM),
             "--type", "data", "--file", str(image), "--thin-provisioning"],
            check=True, capture_output=True,
        )
        self.must("new", "target", "--tid", "1", "-T", NAME)
        self.must(
            "new", "logicalunit", "--tid", "1", "--lun", "1", "--device-type", "tape", "--bstype", "ssc",
            "-b", str(image),
        )
        self.must("update", "logicalunit", "--tid", "1", "--lun", "1", "--params", "online=1")
        self.must("bind", "target", "--tid", "1", "-I", "ALL")
        if tuned:
            self.tune(1)


class Ours(Server):
    """Our drive, with a cartridge in a file."""

    name = "scsiemu"

    def lun(self, store: str) -> int:
        return 0

    def __init__(self, folder: Path, megabytes: int = ROOM) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "scsiemu.app.main", "serve", "--listen", "127.0.0.1:0", "--json",
             "--exit-with-parent", "--iqn", NAME, "--tape", f"{folder / 'ours'},size={megabytes}M"],
            stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)}, cwd="/",
        )
        assert self.process.stdout is not None
        told = json.loads(self.process.stdout.readline())
        self.url: str = told["units"][0]["url"]
        self.port = int(told["portals"][0].rpartition(":")[2])


def do(client: Client, cdb: bytes, data_out: bytes = b"", data_in: int = 0) -> Any:
    """A command that must end with GOOD."""
    result = client.execute(client.lun, cdb, data_out, data_in)
    if result.status:
        raise SystemExit(f"CDB {cdb.hex()}: status {result.status:02X}h, sense {bytes(result.sense).hex()}")
    return result


def ready(client: Client) -> None:
    """Take the unit attentions."""
    for _ in range(16):
        if not client.execute(client.lun, TEST_UNIT_READY).status:
            return
    raise SystemExit("the drive does not get ready")


def six(opcode: int, count: int, flags: int = 0) -> bytes:
    """A 6-byte CDB of a tape."""
    return bytes((opcode, flags)) + count.to_bytes(3, "big") + b"\0"


def seconds(work: Callable[[], None]) -> float:
    """How long it takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def one_pass(program: Path, server: Ours | Tgtd, length: float) -> tuple[float, float]:
    """Write, then read: bytes a second of each."""
    rates = []
    for operation, span in (("write", ROOM - 256 << 20), ("read", READ_SPAN)):
        done = subprocess.run(
            [str(program), "--port", str(server.port), "--target", NAME, "--lun", str(server.lun("tape")), "--tape",
             "--op", operation, "--size", str(BLOCK), "--span", str(span), "--seconds", str(length),
             "--warmup", "0.1"],
            capture_output=True, text=True, timeout=120, check=False,
        )
        if done.returncode:
            raise SystemExit(f"{server.name}: {done.stderr.strip() or done.stdout}")
        found = json.loads(done.stdout)
        if found["errors"]:
            raise SystemExit(f"{server.name}: {operation}: {done.stderr.strip()}")
        rates.append(found["operations"] * BLOCK / found["seconds"])
    return rates[0], rates[1]


def sequential(arguments: argparse.Namespace, folder: Path) -> None:
    """Ours against tgtd."""
    program = compile_program("loadgen", folder)
    servers: list[Ours | Tgtd] = []
    found: dict[str, list[tuple[float, float]]] = {}
    try:
        servers += [Ours(folder), Tgtd(folder, tuned=False), Tgtd(folder, tuned=True)]
        for _ in range(arguments.rounds):
            for server in random.sample(servers, len(servers)):
                found.setdefault(server.name, []).append(one_pass(program, server, arguments.seconds))
    finally:
        for server in servers:
            server.stop()
    for index, what in enumerate(("write", "read")):
        rates = {name: [passes[index] / 1e6 for passes in runs] for name, runs in found.items()}
        best = max((name for name in rates if name != Ours.name), key=lambda name: statistics.median(rates[name]))
        ratios = [ours / theirs for ours, theirs in zip(rates[Ours.name], rates[best], strict=True)]
        told = ", ".join(f"{name} {statistics.median(runs):.0f}" for name, runs in sorted(rates.items()))
        print(
            f"{what:5} 256 KiB blocks: {told} MB/s; ours / {best} {statistics.median(ratios):.2f}"
            f" ({min(ratios):.2f} to {max(ratios):.2f})"
        )


def positions(arguments: argparse.Namespace, folder: Path) -> None:
    """LOCATE on a tape of many blocks."""
    server = Ours(folder, 64 + arguments.blocks * (SMALL + 96) // 1_000_000)
    chance = random.Random(2)
    try:
        client = connect(server.url, timeout=120)
        ready(client)
        do(client, six(0x15, 12, flags=0x10), bytes((0, 0, 0x10, 8, 0, 0, 0, 0, 0)) + SMALL.to_bytes(3, "big"))
        left = arguments.blocks
        while left:
            count = min(left, TOGETHER)
            do(client, six(0x0A, count, flags=1), bytes(count * SMALL))
            left -= count
        do(client, six(0x10, 0))

        def locate() -> None:
            for _ in range(arguments.positions):
                number = chance.randrange(arguments.blocks)
                do(client, b"\x92\0\0\0" + number.to_bytes(8, "big") + bytes(4))

        def nothing() -> None:
            for _ in range(arguments.positions):
                do(client, TEST_UNIT_READY)

        rounds = [(seconds(locate), seconds(nothing)) for _ in range(arguments.rounds)]
        client.close()
    finally:
        server.stop()
    rate, floor = (statistics.median(arguments.positions / each[index] for each in rounds) for index in (0, 1))
    print(
        f"LOCATE(16) of random blocks of {arguments.blocks:,}: {rate:.0f} a second; TEST UNIT READY {floor:.0f}; "
        f"ratio {rate / floor:.2f}"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.4)
    parser.add_argument("--blocks", type=int, default=1_000_000)
    parser.add_argument("--positions", type=int, default=5000)
    parser.add_argument("--only", choices=("sequential", "positions"))
    arguments = parser.parse_args()
    for name, measure in (("sequential", sequential), ("positions", positions)):
        if arguments.only in (None, name):
            with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
                measure(arguments, Path(folder))


if __name__ == "__main__":
    main()

"""What a command costs as the work around it grows: sessions, LUNs, pending commands, registrants, dormant commands.

    .venv/bin/python bench/growth.py [--quick] [--write docs/bench]

Sessions and LUNs by the load generator over loopback, a server process each (CPU microseconds of the server for each
4 KiB read, schedstat); the others in the engine itself, time of submit to completion, least of some runs:

    pending       READ(10) of 4 KiB, beside so many that a store has not answered, a write of other blocks among them
    waiting       an ORDERED command ends and the next may start, with so many behind it
    same block    a WRITE ends and the next of the same block starts, with so many behind it
    registrants   READ(10) of a registrant under a reservation for all registrants, so many registered

Printed and drawn: microseconds. Flat is good; what grows with the logarithm too.
"""

from __future__ import annotations

import argparse
import gc
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))

from picture import lines
from servers import compile_program

from devtypes.vd.config import DiskConfig
from devtypes.vd.disk import VirtualDisk
from iohandlers import null
from scsiemu.command import Command
from scsiemu.io_requests import PENDING, Read
from scsiemu.logical_unit import LogicalUnit
from scsiemu.nexus import InitiatorPort, Nexus, TargetPort
from scsiemu.target import Target

BLOCKS = 1 << 24
PORT = TargetPort("port", 1)


def cdb_10(opcode: int, lba: int, blocks: int = 8) -> bytes:
    """READ(10) or WRITE(10)."""
    return bytes((opcode, 0)) + lba.to_bytes(4, "big") + b"\0" + blocks.to_bytes(2, "big") + b"\0"


class World:
    """A target with a disk; `holding` decides what its store answers later."""

    def __init__(self, limit: int = 20_000) -> None:
        self.target = Target("iqn.2026-11.bench:growth")
        self.store = null.open_store(size=BLOCKS * 512)
        self.holding = False
        self.held: list[tuple[Command, Any]] = []
        self.unit: LogicalUnit = self.target.add_unit(
            0, VirtualDisk(DiskConfig(capacity=BLOCKS)), performer=self.perform,
            capabilities=lambda: self.store.capabilities, limit=limit,
        )
        self.tag = 0

    def perform(self, request: Any, ticket: Command) -> Any:
        """Answer at once, or hold."""
        if self.holding:
            self.held.append((ticket, request))
            return PENDING
        return self.store.submit(request, ticket)

    def nexus(self, number: int) -> Nexus:
        """A nexus that has heard of everything."""
        identifier = bytes(8) + number.to_bytes(8, "big") + bytes(8)
        nexus = self.target.nexus_established(InitiatorPort(f"initiator{number}", identifier), PORT)
        for state in nexus.units.values():
            state.attentions.clear()
        return nexus

    def submit(self, nexus: Nexus, cdb: bytes, *, attribute: int = 0, data: bytes = b"", tag: int = 0) -> Command:
        """A command."""
        self.tag += 1
        command = Command(nexus, 0, cdb, tag or self.tag, attribute, data, len(data), 0 if data else 4096)
        self.target.submit(command)
        return command

    def finish_one(self) -> None:
        """The store answers what it has held longest."""
        ticket, request = self.held.pop(0)
        self.target.complete(ticket, bytes(request.length) if isinstance(request, Read) else None)

    def drain(self) -> int:
        """How many completions there are."""
        count = 0
        while self.target.next_completion() is not None:
            count += 1
        return count


def least(call: Callable[[], None], count: int, rounds: int = 7) -> float:
    """Microseconds of one call: the least mean of `count`."""
    best = float("inf")
    gc.disable()
    for _ in range(rounds):
        begin = time.perf_counter()
        for _ in range(count):
            call()
        best = min(best, (time.perf_counter() - begin) / count)
    gc.enable()
    return best * 1e6


def pending(number: int) -> float:
    """Reads beside pending commands."""
    world = World()
    nexus = world.nexus(0)
    world.holding = True
    world.submit(nexus, cdb_10(0x2A, BLOCKS - 8), data=bytes(4096))
    for index in range(number - 1):
        world.submit(nexus, cdb_10(0x28, index * 8))
    world.holding = False
    cdb = cdb_10(0x28, BLOCKS // 2)

    def one() -> None:
        world.submit(nexus, cdb)
        assert world.drain() == 1

    return least(one, 300)


def _in_turn(number: int, opcode: int, attribute: int) -> float:
    world = World()
    nexus = world.nexus(0)
    world.holding = True
    data = bytes(4096) if opcode == 0x2A else b""

    def one_more() -> None:
        world.submit(nexus, cdb_10(opcode, 0), attribute=attribute, data=data)

    def one() -> None:
        one_more()
        world.finish_one()
        assert world.drain() == 1

    for _ in range(number):
        one_more()
    return least(one, 200)


def waiting(number: int) -> float:
    """ORDERED commands one after the other."""
    return _in_turn(number, 0x28, 2)


def same_block(number: int) -> float:
    """Writes of the same block one after the other."""
    return _in_turn(number, 0x2A, 0)


def registrants(number: int) -> float:
    """Reads under a reservation."""
    world = World()
    nexuses = [world.nexus(index) for index in range(number)]
    for index, nexus in enumerate(nexuses):
        key = (index + 1).to_bytes(8, "big")
        world.submit(nexus, bytes((0x5F, 0x06, 0, 0, 0, 0, 0, 0, 24, 0)), data=bytes(8) + key + bytes(8))
    world.submit(
        nexuses[0], bytes((0x5F, 0x01, 0x08, 0, 0, 0, 0, 0, 24, 0)), data=(1).to_bytes(8, "big") + bytes(16)
    )
    assert world.drain() == number + 1
    assert world.unit.server.reserved
    for nexus in nexuses:
        for state in nexus.units.values():
            state.attentions.clear()
    cdb = cdb_10(0x28, 0)

    def one() -> None:
        world.submit(nexuses[-1], cdb)
        completion = world.target.next_completion()
        assert completion is not None
        assert not completion.status

    return least(one, 500)


def over_loopback(generator: Path, *, sessions: int, luns: int, seconds: float) -> float:
    """Server CPU for each 4 KiB read: `sessions` sessions in all, over `luns` LUNs."""
    command = [
        sys.executable, "-m", "scsiemu.app.main", "serve", "--listen", "127.0.0.1:0", "--json", "--exit-with-parent",
    ]
    for _ in range(luns):
        command += ["--disk", "64M,null"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1])
    try:
        assert server.stdout is not None
        url = json.loads(server.stdout.readline())["units"][0]["url"]
        host, name, _ = url.removeprefix("iscsi://").split("/")
        costs = []
        for _ in range(3):
            done = subprocess.run(
                [str(generator), "--port", host.rpartition(":")[2], "--target", name, "--lun", "0", "--pid",
                 str(server.pid), "--sessions", str(sessions), "--luns", str(luns), "--depth", "4", "--seconds",
                 str(seconds)],
                capture_output=True, text=True, check=True, timeout=120,
            )
            costs.append(json.loads(done.stdout)["cpu_us"])
        return float(min(costs))
    finally:
        server.terminate()
        server.wait(30)


def main() -> None:
    """Measure, print, draw."""
    parser = argparse.ArgumentParser(description="what a command costs as work grows")
    parser.add_argument("--quick", action="store_true", help="fewer points")
    parser.add_argument("--write", help="folder for growth.json and growth.svg")
    options = parser.parse_args()
    few = [1, 100, 1000] if options.quick else [1, 10, 100, 300, 1000]
    many = [*few, 10_000]
    with tempfile.TemporaryDirectory() as folder:
        generator = compile_program("loadgen", Path(folder))
        panels: list[tuple[str, str, list[tuple[float, float]]]] = []
        for heading, axis, counts, measure in (
            ("Sessions", "sessions, depth 4", few,
             lambda count: over_loopback(generator, sessions=count, luns=1, seconds=0.6)),
            ("LUNs", "LUNs, a session for each up to 100", few,
             lambda count: over_loopback(generator, sessions=min(count, 100), luns=count, seconds=0.6)),
            ("Pending commands", "pending in the store", many, pending),
            ("ORDERED commands", "waiting in order", many, waiting),
            ("Writes of one block", "waiting for each other", many, same_block),
            ("Registrants", "registered, all may read", few, registrants),
        ):
            points = []
            for count in counts:
                points.append((float(count), round(measure(count), 2)))
                print(f"{heading:20} {count:6d}  {points[-1][1]:8.2f} us", flush=True)
            panels.append((heading, axis, points))
    if options.write:
        target = Path(options.write)
        target.mkdir(parents=True, exist_ok=True)
        numbers = {heading: points for heading, _, points in panels}
        (target / "growth.json").write_text(json.dumps(numbers) + "\n")
        (target / "growth.svg").write_text(lines("Microseconds for one command", panels))


if __name__ == "__main__":
    main()

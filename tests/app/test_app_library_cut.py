"""A library's process is killed before every system call that changes its saved inventory: no cartridge is lost."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from devtypes.vmc import MediaChanger
from scsiemu.testing.served import ScsiTarget

pytestmark = [pytest.mark.oracle, pytest.mark.timeout(120)]

SLOT, DRIVE = 0x1000, 0x100
NAMES = ["A00001L8", "A00002L8", "A00003L8"]
# What sqlite changes files with.
CALLS = ("pwrite64", "fdatasync", "unlink")
MOST = 40

# A movement into a drive and an exchange; each is told once it has ended.
PROGRAM = f"""
import sys
from scsiemu.testing.served import ScsiTarget
with ScsiTarget("--library", sys.argv[1]) as target:
    move = {{"source_address": {SLOT}, "destination_address": {DRIVE}}}
    assert target.initiator.command("MOVE MEDIUM", **move).good
    print("moved", flush=True)
    exchange = {{
        "source_address": {SLOT + 1}, "first_destination_address": {SLOT + 2},
        "second_destination_address": {SLOT + 3},
    }}
    assert target.initiator.command("EXCHANGE MEDIUM", **exchange).good
    print("exchanged", flush=True)
"""

# Where the cartridges are before, after the movement, after the exchange.
STAGES = [
    {SLOT: NAMES[0], SLOT + 1: NAMES[1], SLOT + 2: NAMES[2]},
    {DRIVE: NAMES[0], SLOT + 1: NAMES[1], SLOT + 2: NAMES[2]},
    {DRIVE: NAMES[0], SLOT + 2: NAMES[1], SLOT + 3: NAMES[2]},
]


def places(option: str) -> dict[int, str]:
    """Where a library that is opened anew has its cartridges."""
    with ScsiTarget("--library", option) as target:
        server = next(unit.server for unit in target.target.units.values() if isinstance(unit.server, MediaChanger))
        return {address: volume.name for address, volume in sorted(server.inventory.volumes.items())}


@pytest.mark.parametrize("call", CALLS)
def test_library_killed_at_every_call(tmp_path: Path, require_tool: Callable[[str], str], call: str) -> None:
    """Whenever the process dies, what was told is kept, and what was under way is done or not done, whole."""
    strace = require_tool("strace")
    killed = 0
    for number in range(1, MOST):
        option = f"{tmp_path}/{number},drives=1,slots=4,create=3,capacity=1M"
        assert places(option) == STAGES[0]
        state = tmp_path / str(number) / ".scsiemu"
        (database,) = (path for path in state.iterdir() if path.is_file())
        done = subprocess.run(
            [strace, "-f", "-qqq", "-o", "/dev/null", "-P", str(database), "-P", f"{database}-journal",
             "-e", f"inject={call}:signal=KILL:when={number}", sys.executable, "-c", PROGRAM, option],
            capture_output=True, text=True, timeout=60, check=False,
        )
        told = len(done.stdout.split())
        after = places(option)
        if done.returncode == 0:
            assert (told, after) == (2, STAGES[2])
            break
        assert done.returncode in (-9, 137), done.stderr
        killed += 1
        assert after in STAGES[told : told + 2]
    else:
        raise AssertionError(f"{call} has no end")
    assert killed

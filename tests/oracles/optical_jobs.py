"""Scripts that work an optical drive by device nodes, several at once, each with a disc of its own."""

from __future__ import annotations

import math
import os
import shutil
import struct
import subprocess
import sys
import wave
from collections.abc import Callable
from pathlib import Path

from checked_by import program

sys.path.insert(0, str(Path(__file__).parents[1] / "devnode"))

from devnode_world import ROOT, needs_nodes  # the harness of the nodes' tests

__all__ = [
    "FRAMES", "GROW", "LOG", "READ_BACK", "WODIM", "Jobs", "Run", "needs_nodes", "run_jobs", "run_script", "wave_file",
    "waves",
]

FRAMES = 588                    # samples of a CD sector

# What scripts have in common: programs as they are called, what they say only where they fail, and reading back.
WODIM = "wodim dev=/dev/sg0 -s gracetime=2"
GROW = "growisofs -use-the-force-luke=notray"
LOG = "> log 2>&1 || cat log"
READ_BACK = "dd if=/dev/sr0 bs=64k 2>/dev/null | cmp -n $(stat -c %s one.iso) - one.iso && echo same\n"

# By a name of its own: the medium with options of the drive, and a script that has it.
Jobs = dict[str, tuple[str, str]]
Run = Callable[[Jobs], dict[str, list[str]]]


def waves(sectors: int) -> bytes:
    """Sound of so many sectors, which differ."""
    return b"".join(
        struct.pack("<hh", int(9000 * math.sin(at / 30)), at * 40503 % 16001 - 8000) for at in range(FRAMES * sectors)
    )


def wave_file(path: Path, samples: bytes) -> None:
    """A WAVE file as a CD needs it."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(44100)
        file.writeframes(samples)


def run_script(units: list[str], script: str, material: Path, place: Path) -> subprocess.Popen[str]:
    """A shell in a folder with the material that has units as device nodes; what it says goes into a pipe."""
    shutil.copytree(material, place, symlinks=True, dirs_exist_ok=True)
    return subprocess.Popen(
        [*program(), "exec", "--state", ".", *units, "--", "sh", "-c", script],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", cwd=place,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", "LC_ALL": "C"},
    )


def run_jobs(jobs: Jobs, material: Path, folder: Path) -> dict[str, list[str]]:
    """The lines that each script says, by name. Each has the material in its folder. Burning programs mostly wait."""
    needs_nodes()
    running = {}
    for name, (medium, script) in jobs.items():
        running[name] = run_script(["--optical", f"disc,blank={medium}"], script, material, folder / name)
    try:
        return {
            name: [line.strip() for line in process.communicate(timeout=100)[0].splitlines()]
            for name, process in running.items()
        }
    finally:
        for process in running.values():
            process.kill()

"""The examples are programs that work."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parents[2] / "examples"
SECONDS = 30


def test_example_embed() -> None:
    """The engine embedded in 15 lines answers INQUIRY, WRITE and READ."""
    ended = subprocess.run(
        [sys.executable, str(EXAMPLES / "embed.py")], cwd=EXAMPLES.parent, env=_environment(), capture_output=True,
        text=True, timeout=SECONDS, check=False,
    )

    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith("INQUIRY: SCSIEMU VIRTUAL DISK")
    assert ended.stdout.endswith("READ(10): hello\n")


def test_example_asyncio_disk() -> None:
    """The asyncio program serves a disk on a free port: another process reads its capacity."""
    process = subprocess.Popen(
        [sys.executable, "-u", str(EXAMPLES / "asyncio_disk.py"), str(SECONDS)], cwd=EXAMPLES.parent,
        env=_environment(), bufsize=0, stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        url = process.stdout.readline().decode().strip()
        ended = subprocess.run(
            [sys.executable, "-m", "scsiemu.app", "send", url, "25" + "00" * 9], capture_output=True, text=True,
            timeout=SECONDS, check=False,
        )
    finally:
        process.terminate()
        process.wait(SECONDS)
        process.stdout.close()

    assert (ended.returncode, ended.stderr) == (0, "")
    assert "READ CAPACITY(10): GOOD" in ended.stdout
    assert "returned logical block address: 131071" in ended.stdout


def _environment() -> dict[str, str]:
    """The examples need nothing but the packages: from this checkout where they are not installed."""
    return {"PYTHONPATH": str(EXAMPLES.parent), "PATH": "/usr/bin:/bin"}

"""Programs that look for drives find the node of an optical drive, and those of a tape drive."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "devnode"))

from devnode_world import ROOT, needs_nodes  # the harness of the nodes' tests

pytestmark = [pytest.mark.oracle, pytest.mark.timeout(120)]


@pytest.mark.parametrize(("drive", "words", "wanted"), [
    ("disc rom", "lsscsi -g", "[0:0:0:0]    cd/dvd  SCSIEMU  FAKE DISC        0001  /dev/sr0   /dev/sg0"),
    ("disc rom", "wodim -scanbus", "'SCSIEMU ' 'FAKE DISC       ' '0001' Removable CD-ROM"),
    ("disc rom", "wodim --devices", "dev='/dev/scd0'"),
    ("disc rom", "cdrskin --devices", "dev='/dev/sr0'  rw---- :  'SCSIEMU '  'FAKE DISC'"),
    ("disc none", "xorriso -devices", "-dev '/dev/sr0' rw---- :  'SCSIEMU ' 'FAKE DISC'"),
    ("tape 1000000", "lsscsi -g", "[0:0:0:0]    tape    SCSIEMU  FAKE TAPE        0001  /dev/st0   /dev/sg0"),
])
def test_scan_finds_drive(require_tool: Callable[[str], str], drive: str, words: str, wanted: str) -> None:
    """The line of the drive is in the list."""
    require_tool(words.split()[0])
    needs_nodes()
    kind, of = drive.split()
    done = subprocess.run(
        [sys.executable, str(ROOT / f"tests/devnode/fake_{kind}.py"), of, *words.split()],
        capture_output=True, text=True, check=False, timeout=60, cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", "LC_ALL": "C"},
    )

    assert wanted in done.stdout + done.stderr

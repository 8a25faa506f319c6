"""Conformance cases run against a target by its URL."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from scsiemu.testing.served import IscsiTarget

ROOT = Path(__file__).parents[2]


def test_conformance_by_url() -> None:
    """The SPC cases pass over iSCSI, too: the same ones that pass in this process."""
    with IscsiTarget() as served:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/conformance/spc",
             "--url", served.url],
            cwd=ROOT, capture_output=True, text=True, timeout=100, check=False,
        )

    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout
    assert "skipped" not in done.stdout

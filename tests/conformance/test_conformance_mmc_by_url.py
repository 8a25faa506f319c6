"""The MMC cases run against drives by their URL."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from scsiemu.testing.served import IscsiTarget

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(("option", "least"), [
    ("1M", 150), ("64M,blank=cd-rw", 35),
], ids=["cd-rom", "cd-rw"])
def test_conformance_mmc_by_url(option: str, least: int) -> None:
    """Over iSCSI the cases of the disc that is in the drive pass, the others are skipped: none fails."""
    with IscsiTarget("--optical", option) as served:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/conformance/mmc", "--url",
             served.url],
            cwd=ROOT, capture_output=True, text=True, timeout=100, check=False,
        )

    assert done.returncode == 0, done.stdout
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None
    assert int(passed[1]) >= least, done.stdout[-400:]

"""Conformance cases run against a target by its URL."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from scsiemu.testing.served import IscsiTarget

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("suite", "units"),
    [("spc", ()), ("ssc", ("--tape", "4M,early-warning=512K"))],
    ids=["spc", "ssc"],
)
def test_conformance_by_url(suite: str, units: tuple[str, ...]) -> None:
    """Cases pass over iSCSI, too: the same ones that pass in this process."""
    with IscsiTarget(*units) as served:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"tests/conformance/{suite}",
             "--url", served.url],
            cwd=ROOT, capture_output=True, text=True, timeout=100, check=False,
        )

    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout
    assert "skipped" not in done.stdout


def test_conformance_library_by_url(tmp_path: Path) -> None:
    """The SMC cases pass over iSCSI on a library that is a folder, with the drives that `--library` makes."""
    with IscsiTarget("--library", f"{tmp_path}/lib,slots=8,ports=2,create=4,capacity=1M") as served:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/conformance/smc",
             "--url", served.url],
            cwd=ROOT, capture_output=True, text=True, timeout=100, check=False,
        )

    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout
    assert "skipped" not in done.stdout

"""The OSD cases run against a target by its URL: extended CDBs and both directions at once go over iSCSI."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from devtypes.osd.security import initial_master_key
from scsiemu.testing.served import IscsiTarget

ROOT = Path(__file__).parents[2]
SECRET = b"root secret of the served unit"


def test_conformance_osd_by_url(tmp_path: Path) -> None:
    """The same cases pass as in this process, those of security and of the vendor's commands, too."""
    (tmp_path / "secret").write_text(SECRET.hex())
    master = initial_master_key(SECRET)
    with IscsiTarget("--osd", f"1G,vendor-atomics,root-secret={tmp_path / 'secret'}") as served:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/conformance/osd",
             "--url", served.url, "--osd-master-key", (master.authentication + master.generation).hex()],
            cwd=ROOT, capture_output=True, text=True, timeout=100, check=False,
        )

    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout
    assert "skipped" not in done.stdout

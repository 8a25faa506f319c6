"""`scsiemu personality`: list, show, check, and capture of a drive that is served."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from scsiemu.testing.served import IscsiTarget


def _personality(*words: str, code: int = 0) -> str:
    """The sub-command, to its end; what it printed, or said."""
    command = [sys.executable, "-m", "scsiemu.app", "personality", *words]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == code, ended.stderr
    return ended.stdout or ended.stderr


def test_personality_list_and_show() -> None:
    """What is listed can be shown, and what is shown is JSON; an unknown one is refused in a sentence."""
    assert json.loads(_personality("list", "--json"))["lto6"] == "LTO-6, full height: IBM ULT3580-TD6"
    assert json.loads(_personality("show", "lto6"))["product"] == "ULT3580-TD6"
    assert "there is no personality 'lto1'" in _personality("show", "lto1", code=2)


def test_personality_capture_and_use(tmp_path: Path) -> None:
    """A captured personality makes the same drive again; what is no tape drive has none."""
    with IscsiTarget("--tape", "1M,personality=lto6,product=MINE") as served:
        text = _personality("capture", served.url, "--name", "my drive")
    path = tmp_path / "mine.json"
    path.write_text(text)
    assert _personality("check", str(path)) == "my drive: IBM MINE\n"
    with IscsiTarget("--tape", f"1M,personality-file={path}") as served:
        assert json.loads(_personality("capture", served.url, "--name", "my drive")) == json.loads(text)
    with IscsiTarget("--disk", "1M") as served:
        assert "it is no tape drive" in _personality("capture", served.url, code=4)


def test_personality_check_refuses(tmp_path: Path) -> None:
    """What is wrong with a file is said in one sentence."""
    path = tmp_path / "bad.json"
    path.write_text('{"name": "x", "densities": [{"code": 1}], "media": [], "wings": 2}')
    assert _personality("check", str(path), code=4).endswith("it has no member 'wings'\n")
    path.write_text(_personality("show", "lto6").replace("READ(16)", "REED(16)"))
    assert "has no operation 'REED(16)'" in _personality("check", str(path), code=4)
    assert "No such file" in _personality("check", str(tmp_path / "none"), code=3)

"""What checked_by.json says comes from tests that there are, and is held against what is sent."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import checked_by
import pytest
from checked_by import Recording, claims, program
from test_oracle_sg3_tools import run_exec

FOLDER = Path(__file__).parent


@pytest.mark.parametrize("name", sorted({name.partition("[")[0] for name in claims()}))
def test_checked_by_source(name: str) -> None:
    """A recording is of a test or an inventory that still exists."""
    file, _, function = name.partition("::")

    assert f"def {function}(" in (FOLDER / file).read_text() if function else (FOLDER / file).exists()


@pytest.mark.oracle
def test_checked_by_records(
    recorder_folder: Path, require_tool: Callable[[str], str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What a program sends is recorded for it where it ended GOOD; a program that stays away fails the comparison."""
    require_tool("sg_turs")
    recording = Recording(recorder_folder)
    recording.begin()
    script = "sg_turs /dev/sg0; sg_turs /dev/sg0; sg_raw /dev/sg0 ee 0 0 0 0 0; sg_raw /dev/sg0 12 0 9 0 0 0"
    run_exec("sh", "-c", script, program=program())
    assert recording.found() == {"vd": {"sg_turs": ["00"]}}

    monkeypatch.setattr(checked_by, "FILE", tmp_path / "claims.json")
    monkeypatch.delenv("SCSIEMU_RECORD_CHECKED_BY", raising=False)
    checked_by.FILE.write_text(json.dumps({"test": {"vd": {"sg_turs": ["00"], "sg_inq": ["12"]}}}))
    with pytest.raises(AssertionError, match="sg_inq"):
        recording.end("test")
    recording.end("another test")
    monkeypatch.setenv("SCSIEMU_RECORD_CHECKED_BY", "1")
    recording.end("test")
    assert claims() == {"test": {"vd": {"sg_turs": ["00"]}}}

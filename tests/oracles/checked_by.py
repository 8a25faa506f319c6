"""Which foreign program checks which operation of which device type: recorded, kept in checked_by.json, held by tests.

    SCSIEMU_RECORD_CHECKED_BY=1 .venv/bin/python -m pytest -n0 tests/oracles

While a test of this folder runs, what it starts by `program()` notes the operations that foreign programs send and
that end GOOD (recorder.py). With the variable set that is what the file says from then on; without, a program that does
not send any more what the file says fails the test. From the file comes the column of README's support table. A new
test is recorded once it has run so, whatever device type it uses: nothing is to be written by hand.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

__all__ = ["FILE", "Recording", "claims", "program"]

FILE = Path(__file__).with_name("checked_by.json")
RECORDER = Path(__file__).with_name("recorder.py")
FOLDER = "SCSIEMU_RECORDER_FOLDER"

# Device type, to program, to operations.
Claims = dict[str, dict[str, list[str]]]


def program() -> list[str]:
    """The words that run `scsiemu`: with the recorder while a test of this folder runs."""
    folder = os.environ.get(FOLDER)
    if folder is None:
        return [sys.executable, "-m", "scsiemu.app.main"]
    return [sys.executable, str(RECORDER), folder]


def claims() -> dict[str, Claims]:
    """What the file says, by test."""
    found: dict[str, Claims] = json.loads(FILE.read_text())
    return found


class Recording:
    """What is sent while one test runs.

    Args:
        folder: where the recorders write.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def begin(self) -> None:
        """From now on."""
        for path in self._folder.iterdir():
            path.unlink()

    def found(self) -> Claims:
        """What was sent."""
        found: Claims = {}
        lines = {line for path in self._folder.iterdir() for line in path.read_text().splitlines()}
        for line in sorted(lines):
            name, device_type, operation = line.split()
            found.setdefault(device_type, {}).setdefault(name, []).append(operation)
        return found

    def end(self, test: str) -> None:
        """The test has passed: keep what was sent, or compare."""
        found = self.found()
        if os.environ.get("SCSIEMU_RECORD_CHECKED_BY"):
            kept = claims()
            kept.pop(test, None)
            if found:
                kept[test] = found
            rows = [f"{json.dumps(name)}: {json.dumps(claimed)}" for name, claimed in sorted(kept.items())]
            FILE.write_text("{\n" + ",\n".join(rows) + "\n}\n")
            return
        missing = [
            (device_type, name, operation)
            for device_type, programs in claims().get(test, {}).items()
            for name, operations in programs.items()
            for operation in operations
            if operation not in found.get(device_type, {}).get(name, ())
        ]
        assert not missing, f"{FILE.name} says that these are sent; if they need not be, record it anew: {missing}"

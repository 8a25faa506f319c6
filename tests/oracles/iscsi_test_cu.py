"""Runs libiscsi's iscsi-test-cu, one process for each of its tests, and tells a pass from a skip.

CUnit counts a test that skips itself as passed: the log decides. A test is SKIPPED when it says `[SKIPPED]` and asserts
nothing to speak of; `[SKIPPED] PERSISTENT RESERVE` after a test is the program tidying up, not the test.
"""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from enum import Enum

__all__ = ["Outcome", "TestRun", "list_tests", "run_test"]

PROGRAM = "iscsi-test-cu"

# Asserts that a test which skips itself still makes: the checks around the command that was refused.
SKIP_ASSERTS = 4


class Outcome(Enum):
    """What a run of a test came to."""

    PASSED = "passed"
    SKIPPED = "skipped"
    FAILED = "failed"


@dataclass(frozen=True)
class TestRun:
    """One test's run: its name (SUITE.TEST), outcome and log."""

    __test__ = False  # a record, not a test class

    name: str
    outcome: Outcome
    log: str


def list_tests() -> list[str]:
    """All tests as SUITE.TEST."""
    listing = subprocess.run([PROGRAM, "-l"], capture_output=True, text=True, timeout=30, check=False).stdout
    return re.findall(r"^ALL\.([^.\s]+\.[^.\s]+)$", listing, re.MULTILINE)


def run_test(
    name: str, url: str, *, second_url: str | None = None, sanitize: bool = True, seconds: int = 60
) -> TestRun:
    """Run one test against a unit whose data may be destroyed."""
    command = [PROGRAM, "-d", "-n", "-V", *(["-S"] if sanitize else []), "-t", f"ALL.{name}", url]
    if second_url is not None:
        command.append(second_url)
    try:
        finished = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired as expired:
        log = expired.stdout or b""
        text = log if isinstance(log, str) else log.decode(errors="replace")
        return TestRun(name, Outcome.FAILED, text + f"\n[no end after {seconds} s]")
    log = finished.stdout + finished.stderr
    return TestRun(name, judge(log, finished.returncode), log)


def judge(log: str, code: int) -> Outcome:
    """Passed, skipped or failed, by the log of a run."""
    summary = re.search(r"asserts\s+(\d+)\s+(\d+)\s+(\d+)\s+(\d+)", log)
    if code != 0 or summary is None:
        return Outcome.FAILED
    ran = re.search(r"tests\s+(\d+)\s+(\d+)\s+(\d+)\s+(\d+)", log)
    if ran is None or int(ran[2]) != 1:
        return Outcome.FAILED
    asserts, failed = int(summary[1]), int(summary[4])
    if failed or int(ran[4]):
        return Outcome.FAILED
    skips = [line for line in re.findall(r"\[SKIPPED\].*", log) if "PERSISTENT RESERVE" not in line]
    return Outcome.SKIPPED if skips and asserts <= SKIP_ASSERTS else Outcome.PASSED

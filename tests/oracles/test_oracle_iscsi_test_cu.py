"""libiscsi's iscsi-test-cu over five kinds of disk: nothing fails, and each of its tests really passes somewhere."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from iscsi_test_cu import Outcome, TestRun, list_tests, run_test
from served import serve

pytestmark = [pytest.mark.oracle, pytest.mark.timeout(600)]

SECRET = "correct-horse-battery"

INSTALLED = shutil.which("iscsi-test-cu") is not None
TESTS = list_tests() if INSTALLED else []
SUITES = list(dict.fromkeys(name.partition(".")[0] for name in TESTS)) or ["none found"]


@pytest.fixture(scope="module")
def disks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """URLs by kind of disk."""
    folder: Path = tmp_path_factory.mktemp("secrets")
    secret = folder / "secret"
    secret.write_text(SECRET)
    secret.chmod(0o600)
    image = folder / "image.raw"
    with (
        serve(
            "--disk", "128M", "--disk", "128M,removable", "--disk", "64M,ro", "--disk", "128M,block=4096",
            "--disk", f"{image},size=128M",
        ) as open_disks,
        serve("--disk", "64M", "--chap", f"tester:{secret}") as locked,
    ):
        kinds = dict(zip(("fixed", "removable", "read-only", "4096", "file"), open_disks.urls, strict=True))
        kinds["chap"] = locked.urls[0].replace("iscsi://", f"iscsi://tester%{SECRET}@")
        yield kinds


def test_iscsi_test_cu_is_complete(require_tool: Callable[[str], str]) -> None:
    """The installed program has the 230 tests of libiscsi 1.19: none is lost by a parser of ours."""
    require_tool("iscsi-test-cu")

    assert len(TESTS) >= 230


@pytest.mark.parametrize("suite", SUITES)
def test_iscsi_test_cu_suite(suite: str, disks: dict[str, str], require_tool: Callable[[str], str]) -> None:
    """Each test of the suite fails on no kind of disk and really passes on at least one."""
    require_tool("iscsi-test-cu")
    names = [name for name in TESTS if name.partition(".")[0] == suite]
    runs: dict[str, dict[str, TestRun]] = {name: {} for name in names}
    for name in names:
        for kind, url in disks.items():
            runs[name][kind] = run_test(name, url, second_url=url)

    failed = [
        f"{name} on {kind}:\n{run.log[-3000:]}"
        for name, kinds in runs.items() for kind, run in kinds.items() if run.outcome is Outcome.FAILED
    ]
    assert not failed, "\n".join(failed)
    never = [
        name for name, kinds in runs.items() if not any(run.outcome is Outcome.PASSED for run in kinds.values())
    ]
    assert never == []


def test_iscsi_test_cu_judge_sees_failure(require_tool: Callable[[str], str]) -> None:
    """A target that is not there is a failure to the judge, not a skip."""
    require_tool("iscsi-test-cu")
    run = run_test("TestUnitReady.Simple", f"iscsi://127.0.0.1:1/iqn.2026-11.none:{os.getpid()}/0", seconds=20)

    assert run.outcome is Outcome.FAILED

"""While tests of this folder run, what foreign programs send is recorded (checked_by.py)."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from checked_by import FOLDER, Recording
from optical_jobs import Run, needs_nodes, run_jobs


@pytest.fixture(scope="module", autouse=True)
def recorder_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where recorders write; told by the environment to what is started."""
    folder = tmp_path_factory.mktemp("recorded")
    os.environ[FOLDER] = str(folder)
    yield folder
    del os.environ[FOLDER]


@pytest.fixture
def on_drives(material: Path, tmp_path: Path) -> Run:
    """Run scripts, each with a drive and a folder of its own, in which is the material of its module, all at once; the
    lines that they say, by name."""
    needs_nodes()
    return lambda jobs: run_jobs(jobs, material, tmp_path)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Record the test itself, not what its module's fixtures do."""
    recording = Recording(Path(os.environ[FOLDER]))
    recording.begin()
    result = yield
    recording.end(item.nodeid.rpartition("/")[2])
    return result

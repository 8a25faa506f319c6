"""Runs conformance cases: against our own unit, or, with `--url`, against one somewhere else.

A suite is a folder with a conftest.py whose fixture `local_unit` makes our own unit, fresh for each case.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any

import pytest
from conformance import ConformanceUnit, RemoteUnit


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every case says what it proves, and by which clause."""
    for item in items:
        if "conformance" not in item.path.parts or not isinstance(item, pytest.Function):
            continue
        if "unit" not in item.fixturenames:
            continue
        if item.get_closest_marker("clause") is None or not (item.function.__doc__ or "").strip():
            raise pytest.UsageError(f"{item.nodeid}: a conformance case has a clause and a docstring")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, pytest.TestReport]:
    """Our own unit may not pass by skipping."""
    report: pytest.TestReport = yield
    if report.skipped and item.config.getoption("--url") is None and "unit" in getattr(item, "fixturenames", ()):
        report.outcome = "failed"
        report.longrepr = f"skipped on our own unit: {report.longrepr}"
    return report


@pytest.fixture
def unit(request: pytest.FixtureRequest) -> Iterator[ConformanceUnit]:
    """The unit under test."""
    url: str | None = request.config.getoption("--url")
    if url is None:
        yield request.getfixturevalue("local_unit")
        return
    remote = RemoteUnit(url)
    yield remote
    remote.close()

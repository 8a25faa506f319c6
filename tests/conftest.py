"""What all tests share: independent programs as judges."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable

import pytest
from hypothesis import settings
from missing_judge import missing_judge

# No test is a matter of time: a busy machine would fail examples that take hypothesis' 200 ms.
settings.register_profile("scsiemu", settings(), deadline=None)
settings.load_profile("scsiemu")

# A run in the background or under nohup inherits signals ignored, and so would the programs that tests signal.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--url`: here, since only this file is read before the command line."""
    parser.addoption("--url", help="run conformance cases against this unit: iscsi://host/target/lun")
    parser.addoption("--osd-master-key", help="of that unit: authentication and generation key, 80 hexadecimal digits")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What is slow comes first: at the end no worker waits for another that has only begun one of those."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.fixture(scope="session")
def require_tool() -> Callable[..., str]:
    """The path of an installed program. Without it the test is skipped, but in CI (CI=true) it fails.

    The name of the package that has it may follow, for the sentence that says so.
    """

    def find(name: str, package: str = "") -> str:
        path = shutil.which(name)
        if path is None:
            where = f" (package {package})" if package else ""
            message = f"{name}{where} is not installed: it is the independent judge of this test"
            missing_judge(message)
        return path

    return find

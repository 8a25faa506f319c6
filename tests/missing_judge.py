"""What happens where an independent program that judges us is not installed."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest

__all__ = ["missing_judge"]


def missing_judge(message: str) -> NoReturn:
    """Skip the test with this sentence, which names the package; in CI (CI=true) a missing judge is a failure."""
    if os.environ.get("CI") == "true":
        pytest.fail(message)
    pytest.skip(message)

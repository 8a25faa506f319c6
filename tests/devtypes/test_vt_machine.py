"""The drive against a model of a tape: 10^4 steps here; `vt_walk.py` walks further."""

from __future__ import annotations

import pytest
from vt_machine import walk


@pytest.mark.slow
def test_drive_is_a_tape() -> None:
    """Writes, filemarks, spaces, locates, overwrites, partitions and cuts of power: answers, positions and contents
    are those of the model in each of ten thousand steps."""
    assert walk(10_000, first_seed=5) >= 10_000

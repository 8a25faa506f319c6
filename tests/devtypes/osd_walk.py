"""Long histories of an object storage device against its model (`test_osd_model`), more than a test takes time for.

    python tests/devtypes/osd_walk.py [HISTORIES [STEPS]]

HISTORIES random ones (20) of up to STEPS commands and ends of the process (500) each. Tells how many
there were where all is the same, else the shortest history that is not.
"""

from __future__ import annotations

import sys
from time import monotonic

from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test
from test_osd_model import ObjectModel

__all__ = ["main"]


def main(histories: int, steps: int) -> None:
    """Walk, and say how far."""
    start, before = monotonic(), ObjectModel.steps
    run_state_machine_as_test(
        ObjectModel,
        settings=settings(
            max_examples=histories, stateful_step_count=steps, deadline=None, suppress_health_check=list(HealthCheck),
            database=None,
        ),
    )
    print(f"{ObjectModel.steps - before} commands and crashes, all the same, {monotonic() - start:.0f} seconds")


if __name__ == "__main__":
    words = sys.argv[1:]
    main(int(words[0]) if words else 20, int(words[1]) if words[1:] else 500)

"""The walk of `vt_machine`, as long as one likes, and a record of it.

    python tests/devtypes/vt_walk.py --steps 1000000 --seed 20261126 --record tests/devtypes/vt_walk.jsonl
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import hypothesis
from vt_machine import walk

__all__ = ["main"]

_TOLD = 20_000


def main() -> int:
    """Walk, record how it ended; 1 where the drive and the model differed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--steps", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1, help="of the first batch of walks; each takes the next one")
    parser.add_argument("--record", type=Path, help="file that gets a line about this run")
    options = parser.parse_args()
    began, done, seed, result = time.monotonic(), 0, options.seed, "same"
    while done < options.steps and result == "same":
        try:
            done += walk(min(_TOLD, options.steps - done), seed)
        except Exception as difference:
            print(difference, *getattr(difference, "__notes__", ()), sep="\n", file=sys.stderr)
            result = "differs"
        # More batches than this are never needed for so many steps.
        seed += 1000
        print(f"{done} steps, {time.monotonic() - began:.0f} seconds", file=sys.stderr)
    line = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"), "seed": options.seed, "steps": done, "result": result,
        "seconds": round(time.monotonic() - began), "python": platform.python_version(),
        "hypothesis": hypothesis.__version__,
    }
    print(json.dumps(line))
    if options.record is not None:
        with options.record.open("a", encoding="utf-8") as record:
            record.write(json.dumps(line) + "\n")
    return int(result != "same")


if __name__ == "__main__":
    sys.exit(main())

"""Drive a harness by coverage-guided fuzzing: `python -m fuzz.run NAME [LIBFUZZER OPTIONS]`, NAME one of `HARNESSES`.

Needs the package atheris (extra `fuzz`). Starts with the seeds in fuzz/seeds/NAME; what it finds it writes as crash-*
files, which become seeds and tests. `-max_total_time=60` ends it after a minute.
"""

from __future__ import annotations

import importlib
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

__all__ = ["HARNESSES", "harness", "main", "seeds"]

HARNESSES = ("framing", "login", "commands", "osd", "vhost", "http", "optical", "cue")


def harness(name: str) -> Callable[[bytes], None]:
    """The harness of that name."""
    found: Callable[[bytes], None] = getattr(importlib.import_module(f"fuzz.{name}"), f"fuzz_{name}")
    return found


def seeds(name: str) -> Path:
    """The folder of its seeds."""
    return Path(__file__).parent / "seeds" / name


def main(arguments: list[str]) -> int:
    """Fuzz until told to stop."""
    if len(arguments) < 2 or arguments[1] not in HARNESSES:
        print(f"usage: python -m fuzz.run {'|'.join(HARNESSES)} [libFuzzer options]", file=sys.stderr)
        return 2
    try:
        import atheris
    except ImportError:
        print("fuzz: the package atheris is missing: pip install 'scsiemu[fuzz]'", file=sys.stderr)
        return 3
    with atheris.instrument_imports(include=["scsiemu", "transports", "devtypes", "iohandlers"]):
        run = harness(arguments[1])
    # libFuzzer writes what it learns into the first folder: not into our seeds.
    with tempfile.TemporaryDirectory() as learnt:
        atheris.Setup([arguments[0], learnt, str(seeds(arguments[1])), *arguments[2:]], run)
        atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))

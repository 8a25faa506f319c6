"""A `scsiemu serve` of our own for the time of some tests."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

from checked_by import program

__all__ = ["Served", "serve"]


@dataclass(frozen=True)
class Served:
    """A running target: the URLs of its units by LUN, its portal as HOST:PORT, and its process."""

    urls: list[str]
    portal: str
    process: subprocess.Popen[str]


@contextlib.contextmanager
def serve(*options: str, seconds: float = 20) -> Iterator[Served]:
    """Run `scsiemu serve` on a free port of 127.0.0.1; it has ended when this has.

    A target that does not end cleanly within `seconds` of SIGTERM is a failure.
    """
    command = [
        *program(), "serve", "--listen", "127.0.0.1:0", "--json", "--exit-with-parent",
        *options,
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, f"no line from {command}: exit code {process.wait(seconds)}"
        told = json.loads(line)
        yield Served([unit["url"] for unit in told["units"]], told["portals"][0], process)
    finally:
        process.terminate()
        try:
            code = process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
        finally:
            if process.stdout is not None:
                process.stdout.close()
    assert code == 0, f"exit code {code} after SIGTERM"

"""How long `scsiemu serve` takes from its start to the listening line, and what it imports for that.

    .venv/bin/python bench/startup.py [--runs 15] [--imports 12]

Printed: fastest, median and slowest run; the interpreter alone, for comparison; the dearest imports by their own time.
The number of modules is bounded by tests/app/test_app_scale.py.

Finding (two virtual CPUs that others use, too; CPython 3.11): 244 ms at best, 286 ms at the median, a tenth of it the
bare interpreter. Nothing stands out: the dearest module takes 9 ms, making classes and layouts; asyncio is 30 ms in
all, importlib.metadata 16 ms. (Its list lacks what `import_module` brings: entry points and sub-commands themselves.)
"""

from __future__ import annotations

import argparse
import re
import statistics
import subprocess
import sys
import time

SERVE = ["-m", "scsiemu.app", "serve", "--listen", "127.0.0.1:0", "--json", "--exit-with-parent", "--disk", "128M"]


def to_first_line(words: list[str]) -> tuple[float, str]:
    """Seconds until a program prints its first line; what it said on stderr until it was ended."""
    begin = time.perf_counter()
    process = subprocess.Popen([sys.executable, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    line = process.stdout.readline()
    seconds = time.perf_counter() - begin
    process.terminate()
    _, said = process.communicate(timeout=30)
    if not line:
        raise SystemExit(f"it printed nothing: {said}")
    return seconds, said


def show(name: str, runs: list[float]) -> None:
    """One line of milliseconds."""
    fastest, middle, slowest = (each * 1000 for each in (min(runs), statistics.median(runs), max(runs)))
    print(f"{name:22} fastest {fastest:5.0f} ms   median {middle:5.0f} ms   slowest {slowest:5.0f} ms")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="start of scsiemu serve to its listening line")
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--imports", type=int, default=12, help="how many of the dearest imports are shown")
    options = parser.parse_args()
    served, bare = [], []
    for _ in range(options.runs):
        served.append(to_first_line(SERVE)[0])
        bare.append(to_first_line(["-c", "print(flush=True)"])[0])
    show("serve to first line", served)
    show("interpreter alone", bare)
    _, said = to_first_line(["-X", "importtime", *SERVE])
    times = [(int(own), name) for own, name in re.findall(r"import time:\s*(\d+) \|\s*\d+ \| +(\S+)", said)]
    print(f"{len(times)} modules imported, {sum(own for own, _ in times) / 1000:.0f} ms by their own account; dearest:")
    for own, name in sorted(times, reverse=True)[: options.imports]:
        print(f"  {own / 1000:6.1f} ms  {name}")


if __name__ == "__main__":
    main()

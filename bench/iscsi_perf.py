"""4 KiB random reads at queue depth 32 of a file-backed disk: ours and tgtd, side by side, by libiscsi's iscsi-perf.

    .venv/bin/python bench/iscsi_perf.py [--rounds 5] [--seconds 3] [--size 256]

Both targets run at once on loopback, idle but for the one measured; the rounds alternate in random order. Printed:
operations a second of each run, their medians, and the median ratio of the pairs. iscsi-perf is itself a limit: it uses
a core of its own at the rates that we reach, so the ratio is a lower bound. tgtd runs with `-t 1`, its best setting for
the page cache, and with its default of 16 threads; the better of the two counts. Needs the packages libiscsi-bin and
tgt, and root (tgtd).
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

NAME = "iqn.2026-11.bench:tgt"


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def sparse_file(path: Path, size: int) -> None:
    """A file full of data, in the page cache."""
    block = os.urandom(1 << 20)
    with path.open("wb") as file:
        for _ in range(size >> 20):
            file.write(block)


class Tgtd:
    """A tgtd of our own with one LUN on a file."""

    def __init__(self, image: Path, threads: int) -> None:
        self.port = free_port()
        self.control = random.randrange(1, 32000)
        self.process = subprocess.Popen(
            ["tgtd", "-f", "-t", str(threads), "-C", str(self.control), "--iscsi", f"portal=127.0.0.1:{self.port}"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        for _ in range(100):
            time.sleep(0.05)
            if self.admin("--op", "show", "--mode", "sys").returncode == 0:
                break
        self.admin("--op", "new", "--mode", "target", "--tid", "1", "-T", NAME)
        self.admin("--op", "new", "--mode", "logicalunit", "--tid", "1", "--lun", "1", "-b", str(image))
        self.admin("--op", "bind", "--mode", "target", "--tid", "1", "-I", "ALL")
        self.url = f"iscsi://127.0.0.1:{self.port}/{NAME}/1"

    def admin(self, *words: str) -> subprocess.CompletedProcess[bytes]:
        """tgtadm at this tgtd."""
        return subprocess.run(
            ["tgtadm", "-C", str(self.control), "--lld", "iscsi", *words], capture_output=True, check=False
        )

    def stop(self) -> None:
        """tgtd does not end on SIGTERM while it has targets."""
        self.process.kill()
        self.process.wait()


class Ours:
    """Our target with the same file."""

    def __init__(self, image: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "scsiemu.app.main", "serve", "--listen", "127.0.0.1:0", "--json",
             "--exit-with-parent", "--disk", str(image)],
            stdout=subprocess.PIPE, text=True,
        )
        assert self.process.stdout is not None
        self.url: str = json.loads(self.process.stdout.readline())["units"][0]["url"]

    def stop(self) -> None:
        """SIGTERM is enough."""
        self.process.terminate()
        self.process.wait(20)


def cpu_seconds(pid: int) -> float:
    """CPU time that all threads of a process have used."""
    return sum(
        int((task / "schedstat").read_text().split()[0]) / 1e9 for task in Path(f"/proc/{pid}/task").iterdir()
    )


def measure(url: str, pid: int, seconds: int) -> tuple[float, float]:
    """Operations a second by iscsi-perf's own count, and CPU microseconds of the server for each."""
    before = cpu_seconds(pid)
    process = subprocess.run(
        ["iscsi-perf", "-r", "-m", "32", "-b", "8", "-t", str(seconds), url],
        capture_output=True, text=True, timeout=seconds + 30, check=False,
    )
    used = cpu_seconds(pid) - before
    rates = [int(each) for each in re.findall(r"iops average (\d+)", process.stdout)]
    if not rates:
        raise SystemExit(f"iscsi-perf said no rate:\n{process.stdout}{process.stderr}")
    return float(rates[-1]), used / seconds / rates[-1] * 1e6


def main() -> None:
    """Run the rounds and print what came out."""
    parser = argparse.ArgumentParser(description="4 KiB random reads at depth 32: ours against tgtd")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--size", type=int, default=256, help="MiB")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        image = Path(folder) / "image.raw"
        sparse_file(image, options.size << 20)
        ours, one, sixteen = Ours(image), Tgtd(image, 1), Tgtd(image, 16)
        servers: dict[str, Ours | Tgtd] = {"scsiemu": ours, "tgtd -t 1": one, "tgtd -t 16": sixteen}
        runs: dict[str, list[tuple[float, float]]] = {name: [] for name in servers}
        try:
            for _ in range(options.rounds):
                for name in random.sample(list(servers), len(servers)):
                    runs[name].append(measure(servers[name].url, servers[name].process.pid, options.seconds))
        finally:
            for server in servers.values():
                server.stop()
    for name, rates in runs.items():
        middle = statistics.median(rate for rate, _ in rates)
        cpu = statistics.median(each for _, each in rates)
        listed = " ".join(f"{rate:.0f}" for rate, _ in rates)
        print(f"{name:10}  median {middle:8.0f} op/s  {cpu:6.2f} us CPU/op   runs: {listed}")
    for name in ("tgtd -t 1", "tgtd -t 16"):
        ratios = [mine / theirs for (mine, _), (theirs, _) in zip(runs["scsiemu"], runs[name], strict=True)]
        print(f"scsiemu / {name}: median {statistics.median(ratios):.2f} (from {min(ratios):.2f} to {max(ratios):.2f})")


if __name__ == "__main__":
    main()

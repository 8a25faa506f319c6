"""What an idle session costs the server: its private memory before and after, divided by the number of sessions.

    .venv/bin/python bench/sessions.py [--sessions 1000] [--commands 3]

Each session logs in (no digests, no CHAP), executes a few READ(10) of 64 KiB, then stays. Printed: KiB for each session
when it was only logged in, after its commands, and what is left when all have logged out.

Finding (CPython 3.11): before anybody logs in 20.5 MiB of its own, 31 MiB with the pages of files (the interpreter and
its libraries); 4.1 KiB for each of 1,000 sessions that are logged in, 4.8 KiB once they have read. Buffers are of the
loop, not of connections. What the kernel keeps for a socket is not counted.
"""

from __future__ import annotations

import argparse
import re
import resource
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from scsiemu.testing.served import IscsiTarget
from transports.iscsi.client import Client, connect

READ = b"\x28\0" + bytes(4) + b"\0\0\x80\0"
LENGTH = 128 * 512


def resident(pid: int) -> int:
    """KiB of a process that are in memory and its own."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return sum(int(size) for size in re.findall(r"^Private_\w+:\s+(\d+) kB", text, re.MULTILINE))


def mapped(pid: int) -> int:
    """KiB of a process that are in memory, those shared with others (files) among them."""
    found = re.search(r"^VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return int(found[1]) if found else 0


def allow_descriptors(count: int) -> None:
    """Sockets of our own for so many sessions."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count + 200
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard), hard))


def log_in(url: str, count: int) -> list[Client]:
    """So many sessions of as many initiator ports."""
    return [connect(url, isid=b"\x80" + number.to_bytes(5, "big")) for number in range(count)]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="memory of idle sessions")
    parser.add_argument("--sessions", type=int, default=1000)
    parser.add_argument("--commands", type=int, default=3)
    options = parser.parse_args()
    count = options.sessions
    allow_descriptors(count)
    limits = ("--max-sessions", str(count + 8))
    with IscsiTarget("--disk", "16M", *limits) as served:
        pid = served.process.pid
        idle_at_first, with_files = resident(pid), mapped(pid)
        for client in log_in(served.url, 8):
            client.execute(0, bytes(6))
            client.execute(0, READ, data_in_length=LENGTH)
            client.close()
        empty = resident(pid)
        clients = log_in(served.url, count)
        idle = resident(pid)
        for client in clients:
            client.execute(0, bytes(6))     # takes the unit attention of a new nexus
            for _ in range(options.commands):
                client.execute(0, READ, data_in_length=LENGTH)
        used = resident(pid)
        for client in clients:
            client.close()
        left = resident(pid)
    print(f"nobody has logged in: {idle_at_first} KiB of its own, {with_files} KiB with pages of files")
    print(f"server without sessions: {empty} KiB")
    for name, size in (("only logged in", idle), (f"after {options.commands} READs", used), ("all logged out", left)):
        print(f"{name:15} {(size - empty) / count:6.2f} KiB for each of {count} sessions")


if __name__ == "__main__":
    main()

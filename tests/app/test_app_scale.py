"""What a server costs: memory of idle sessions, modules that it loads before it listens.

bench/sessions.py and bench/startup.py print the numbers themselves.
"""

from __future__ import annotations

import contextlib
import re
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from scsiemu.testing.served import IscsiTarget
from transports.iscsi.client import connect

SECONDS = 60
SESSIONS = 1000
READ = b"\x28\0" + bytes(4) + b"\0\0\x80\0"


@contextlib.contextmanager
def descriptors(count: int) -> Iterator[None]:
    """So many more files of our own, where the system lets us."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < count + 200:
        pytest.skip(f"this process may open {hard} files only")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, count + 200), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def resident(pid: int) -> int:
    """Bytes of a process that are in memory and its own."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return 1024 * sum(int(size) for size in re.findall(r"^Private_\w+:\s+(\d+) kB", text, re.MULTILINE))


def test_idle_sessions_memory() -> None:
    """Each of 1,000 sessions that have read something and are idle costs less than 64 KiB."""
    with (
        descriptors(SESSIONS),
        IscsiTarget("--disk", "16M", "--max-sessions", str(SESSIONS)) as served,
        contextlib.ExitStack() as stack,
    ):
        before = resident(served.process.pid)
        clients = [
            stack.enter_context(connect(served.url, isid=b"\x80" + number.to_bytes(5, "big")))
            for number in range(SESSIONS)
        ]
        for client in clients:
            client.execute(0, bytes(6))     # takes the unit attention of a new nexus
            assert client.execute(0, READ, data_in_length=65536).status == 0
        after = resident(served.process.pid)

        assert all(client.session.logged_in for client in clients)
        assert (after - before) / SESSIONS < 64 << 10


def imported(*words: str) -> set[str]:
    """Modules that `scsiemu serve` has imported when it has listened and ended."""
    program = (
        "import atexit, sys\n"
        "atexit.register(lambda: print(*sys.modules, file=sys.stderr))\n"
        "from scsiemu.app.main import main\n"
        "sys.exit(main())\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, "serve", "--listen", "127.0.0.1:0", "--json", "--exit-with-parent", *words],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
    finally:
        process.terminate()
        _, said = process.communicate(timeout=SECONDS)
    assert line.startswith("{"), said
    return set(said.split())


def test_serve_imports() -> None:
    """What listening takes is imported, and little else: formats, kits and other stores are not there."""
    modules = imported("--disk", "128M")

    assert {"asyncio", "argparse", "devtypes.vd", "iohandlers.memory", "transports.iscsi.server"} <= modules
    unwanted = {
        "construct", "hypothesis", "sqlite3", "h11", "pytest", "http", "xml", "multiprocessing", "unittest", "pdb",
        "scsiemu.formats", "scsiemu.decode", "scsiemu.testing", "iohandlers.file", "iohandlers.state", "iohandlers.cow",
        "transports.iscsi.client", "transports.iscsi.initiator",
    }
    assert modules & unwanted == set()
    # 318 when this was written, with what the interpreter starts with. Each costs about half a millisecond.
    assert len(modules) < 350


@pytest.mark.parametrize(
    ("words", "module"),
    [(("--disk", "{}/img,size=1M"), "iohandlers.file"), (("--disk", "1M", "--state", "{}"), "iohandlers.state")],
    ids=["file", "state"],
)
def test_serve_imports_on_demand(tmp_path: Path, words: tuple[str, ...], module: str) -> None:
    """A store's module is imported when a unit asks for it."""
    assert module in imported(*(word.format(tmp_path) for word in words))

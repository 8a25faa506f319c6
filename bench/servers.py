"""Servers for the benches: ours, tgtd in its settings, the floor; and the C programs, compiled on the spot.

Each server is a process of its own on loopback, at a port that was free. All have the same LUNs: 1 null, 2 a file,
3 memory (for tgtd and the floor a file in a tmpfs), 4 another file (see `images`). Needs cc; for tgtd the package tgt,
and root.
"""

from __future__ import annotations

import json
import os
import random
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

__all__ = [
    "NAME", "SECRET", "USER", "Floor", "Ours", "Server", "Tgtd", "TgtdProcess", "compile_program", "images", "run_load",
]

HERE: Final = Path(__file__).parent
NAME: Final = "iqn.2026-11.bench:plain"
CHAP_NAME: Final = "iqn.2026-11.bench:chap"
DIGEST_NAME: Final = "iqn.2026-11.bench:digest"
USER: Final = "bench"
SECRET: Final = "0123456789abcdef"
LUNS: Final = {"null": 1, "file": 2, "memory": 3, "copied": 4}
MEMORY_SIZE: Final = 256 << 20


def compile_program(name: str, folder: Path) -> Path:
    """Compile bench/<name>.c into a folder."""
    program = folder / name
    subprocess.run(
        ["cc", "-O2", "-pthread", "-o", str(program), str(HERE / f"{name}.c")], check=True
    )
    return program


def images(folder: Path, size: int) -> dict[str, Path]:
    """The files of LUN 2 and 4, full of data and in the page cache, and one in a tmpfs.

    Their content is the same. "file" was written in pieces of 4 KiB, as a disk that was used; "copied" in pieces of
    1 MiB, as a copy of an image just made: there ext4 has large folios, and walks all buffers of one for each small
    write.
    """
    result = {
        "file": folder / "image.raw", "copied": folder / "copied.raw",
        "memory": Path("/dev/shm") / f"scsiemu-bench-{os.getpid()}",
    }
    block = memoryview(os.urandom(1 << 20))
    for kind, path in result.items():
        piece = 4096 if kind == "file" else len(block)
        with path.open("wb", buffering=0) as file:
            for at in range(0, MEMORY_SIZE if kind == "memory" else size, piece):
                file.write(block[at % len(block) :][:piece])
            os.fsync(file.fileno())
    return result


class Server:
    """A server under test.

    Attributes:
        name: in tables.
        pid: its process.
        port: where it listens.
    """

    name = ""
    process: subprocess.Popen[Any]
    port = 0

    @property
    def pid(self) -> int:
        """Its process."""
        return self.process.pid

    def target(self, kind: str) -> str:
        """The iSCSI name for plain, chap and digest loads."""
        return {"chap": CHAP_NAME, "digest": DIGEST_NAME}.get(kind, NAME)

    def load_port(self, store: str) -> int:
        """The port for loads of a store."""
        return self.port

    def load_pid(self, store: str) -> int:
        """The process that serves them."""
        return self.pid

    def lun(self, store: str) -> int:
        """Where a store is."""
        return LUNS[store]

    def stop(self) -> None:
        """End it. (tgtd does not end on SIGTERM while it has targets.)"""
        self.process.kill()
        self.process.wait()


class Ours(Server):
    """scsiemu, from a source tree."""

    def __init__(
        self, folder: Path, files: dict[str, Path], *, tree: Path | None = None, name: str = "scsiemu"
    ) -> None:
        self.name = name
        secret = folder / "secret"
        secret.write_text(SECRET + "\n")
        secret.chmod(0o600)
        disks = [
            "--disk", "64M,null", "--disk", "1G,null", "--disk", f"{files['file']},share",
            "--disk", f"{MEMORY_SIZE >> 20}M", "--disk", f"{files['copied']},share",
        ]
        environment = os.environ | {"PYTHONPATH": str(tree or HERE.parent)}
        started = time.monotonic()
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "scsiemu.app.main", "serve", "--listen", "127.0.0.1:0", "--json",
             "--exit-with-parent", "--iqn", NAME, *disks, "--target", CHAP_NAME, "--disk", "64M,null",
             "--chap", f"{USER}:{secret}"],
            stdout=subprocess.PIPE, text=True, env=environment, cwd="/",
        )
        assert self.process.stdout is not None
        portal = json.loads(self.process.stdout.readline())["portals"][0]
        self.start_seconds = time.monotonic() - started
        self.port = int(portal.rpartition(":")[2])

    def target(self, kind: str) -> str:
        return CHAP_NAME if kind == "chap" else NAME


class TgtdProcess(Server):
    """A tgtd of our own without targets: those are what a bench makes of it.

    Args:
        threads: I/O threads for each LUN; 16 is its default.
    """

    def __init__(self, threads: int) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self._control = random.randrange(1, 32000)
        self.process = subprocess.Popen(
            ["tgtd", "-f", "-t", str(threads), "-C", str(self._control), "--iscsi", f"portal=127.0.0.1:{self.port}"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        for _ in range(100):
            time.sleep(0.05)
            if self._admin("show", "sys") == 0:
                break

    def must(self, operation: str, mode: str, *words: str) -> None:
        """Have tgtadm do it. Raises SystemExit where it does not."""
        if self._admin(operation, mode, *words):
            raise SystemExit(f"tgtadm {operation} {mode} {' '.join(words)} failed")

    def update(self, tid: int, **parameters: str) -> None:
        """Set parameters of a target."""
        for key, value in parameters.items():
            self.must("update", "target", "--tid", str(tid), "-n", key, "-v", value)

    def tune(self, tid: int) -> None:
        """Data segments of 256 KiB instead of its default of 8 KiB, unsolicited data allowed."""
        self.update(tid, MaxRecvDataSegmentLength="262144", FirstBurstLength="262144", InitialR2T="No")

    def _admin(self, operation: str, mode: str, *words: str) -> int:
        return subprocess.run(
            ["tgtadm", "-C", str(self._control), "--lld", "iscsi", "--op", operation, "--mode", mode, *words],
            capture_output=True, check=False,
        ).returncode


class Tgtd(TgtdProcess):
    """A tgtd with the LUNs of the module.

    Args:
        threads: see `TgtdProcess`.
        tuned: see `TgtdProcess.tune`.
    """

    def __init__(self, files: dict[str, Path], threads: int, *, tuned: bool = False) -> None:
        super().__init__(threads)
        self.name = f"tgtd -t {threads}" + (" tuned" if tuned else "")
        for tid, name in enumerate((NAME, CHAP_NAME, DIGEST_NAME), 1):
            self.must("new", "target", "--tid", str(tid), "-T", name)
            self.must("new", "logicalunit", "--tid", str(tid), "--lun", "1", "-b", "null", "--bstype", "null")
            for store in ("file", "memory", "copied"):
                self.must("new", "logicalunit", "--tid", str(tid), "--lun", str(LUNS[store]), "-b", str(files[store]))
            self.must("bind", "target", "--tid", str(tid), "-I", "ALL")
        self.must("new", "account", "--user", USER, "--password", SECRET)
        self.must("bind", "account", "--tid", "2", "--user", USER)
        self.update(3, HeaderDigest="CRC32C", DataDigest="CRC32C")
        if tuned:
            self.tune(1)


class Floor(Server):
    """The least a target can do; one process for each store."""

    name = "floor"

    def __init__(self, program: Path, files: dict[str, Path]) -> None:
        self._processes: dict[str, tuple[subprocess.Popen[str], int]] = {}
        for store in LUNS:
            words = [] if store == "null" else ["--file", str(files[store])]
            process = subprocess.Popen(
                [str(program), *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            assert process.stdout is not None
            self._processes[store] = process, int(process.stdout.readline())

    def load_port(self, store: str) -> int:
        return self._processes[store][1]

    def load_pid(self, store: str) -> int:
        return self._processes[store][0].pid

    def stop(self) -> None:
        for process, _ in self._processes.values():
            process.kill()
            process.wait()


def run_load(program: Path, server: Server, store: str, kind: str, words: list[str]) -> dict[str, Any]:
    """Run the load generator against a server. Raises RuntimeError with what it said."""
    command = [
        str(program), "--port", str(server.load_port(store)), "--pid", str(server.load_pid(store)),
        "--target", server.target(kind), "--lun", str(server.lun(store)), *words,
    ]
    if kind == "chap":
        command += ["--chap", f"{USER}:{SECRET}"]
    if kind == "digest":
        command += ["--header-digest", "--data-digest"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode:
        raise RuntimeError(f"{server.name}: {done.stderr.strip() or done.stdout}")
    result: dict[str, Any] = json.loads(done.stdout)
    return result

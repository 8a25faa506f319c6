"""QEMU's block layer and libiscsi's small tools against a served disk."""

from __future__ import annotations

import contextlib
import json
import random
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from served import Served, serve

pytestmark = [pytest.mark.oracle, pytest.mark.timeout(300)]

MIB = 1 << 20


@pytest.fixture(scope="module")
def disks() -> Iterator[Served]:
    """A thin disk in memory, one with 4096-byte blocks, one more of the first's size."""
    with serve("--disk", "96M", "--disk", "64M,block=4096", "--disk", "96M") as served:
        yield served


def run(*command: str, seconds: float = 120, code: int = 0) -> str:
    """Run a program to its end; its output. Another exit code than `code` fails the test."""
    finished = subprocess.run(
        command, capture_output=True, text=True, errors="replace", timeout=seconds, check=False
    )
    output = finished.stdout + finished.stderr
    assert finished.returncode == code, f"{command}\n{output}"
    return output


def sparse_image(path: Path, size: int) -> None:
    """A raw image with data here and there."""
    source = random.Random(1)
    with path.open("wb") as file:
        file.truncate(size)
        for offset in range(0, size, 7 * MIB):
            file.seek(offset + 1234)
            file.write(source.randbytes(MIB // 2 + 17))


@pytest.mark.parametrize(("lun", "mib"), [(0, 96), (1, 64)])
def test_qemu_img_converts_both_ways(
    lun: int, mib: int, disks: Served, tmp_path: Path, require_tool: Callable[[str], str]
) -> None:
    """What qemu-img writes to the unit it reads back the same, through convert and through compare."""
    tool = require_tool("qemu-img")
    image, back = tmp_path / "image.raw", tmp_path / "back.qcow2"
    sparse_image(image, mib * MIB)
    url = disks.urls[lun]
    assert f"{mib} MiB" in run(tool, "info", url)
    run(tool, "convert", "-n", "-f", "raw", "-O", "raw", str(image), url)
    assert "identical" in run(tool, "compare", "-f", "raw", "-F", "raw", str(image), url)
    run(tool, "convert", "-f", "raw", "-O", "qcow2", url, str(back))

    assert "identical" in run(tool, "compare", "-f", "raw", "-F", "qcow2", str(image), str(back))


def test_qemu_img_creates_on_unit(disks: Served, require_tool: Callable[[str], str]) -> None:
    """qemu-img create puts a qcow2 on the unit, and check finds it whole."""
    tool = require_tool("qemu-img")
    run(tool, "create", "-f", "qcow2", disks.urls[2], "64M")

    assert "No errors" in run(tool, "check", "-f", "qcow2", disks.urls[2])


@pytest.mark.parametrize("options", [[], ["-w"], ["-w", "--flush-interval=64"]], ids=["read", "write", "flush"])
def test_qemu_img_bench(options: list[str], disks: Served, require_tool: Callable[[str], str]) -> None:
    """qemu-img bench keeps 32 requests in flight and ends well."""
    tool = require_tool("qemu-img")
    output = run(
        tool, "bench", "-f", "raw", "-c", "2000", "-d", "32", "-s", "4096", "-t", "none", *options, disks.urls[0]
    )

    assert "Run completed" in output


def test_qemu_io_zero_discard_unaligned(disks: Served, require_tool: Callable[[str], str]) -> None:
    """Pattern, zero and discard land where they should; unaligned writes touch nothing beside them."""
    tool = require_tool("qemu-io")
    commands = [
        "write -P 0xaa 0 8M", "write -z 1M 1M", "discard 3M 1M", "write -P 0x55 5000001 12345", "flush",
        "read -P 0xaa 0 1M", "read -P 0 1M 1M", "read -P 0xaa 2M 1M", "read -P 0 3M 1M", "read -P 0xaa 4M 805697",
        "read -P 0x55 5000001 12345", "read -P 0xaa 5012346 3376262",
    ]
    arguments = [word for command in commands for word in ("-c", command)]
    output = run(tool, "-f", "raw", "-d", "unmap", *arguments, disks.urls[2])

    assert "verification failed" not in output.lower()
    assert output.count("ops;") == len(commands) - 1


@contextlib.contextmanager
def nbd_export(tool: str, url: str, folder: Path) -> Iterator[str]:
    """The unit as an export of qemu-nbd: its URI."""
    socket = folder / "nbd.sock"
    server = subprocess.Popen(
        [tool, "-k", str(socket), "-t", "-f", "raw", "--cache=none", "--discard=unmap", "-e", "8", url]
    )
    try:
        for _ in range(200):
            if socket.exists():
                break
            time.sleep(0.05)
        yield f"nbd+unix:///?socket={socket}"
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(20)


def test_fio_verifies_through_qemu_nbd(disks: Served, tmp_path: Path, require_tool: Callable[[str], str]) -> None:
    """fio's crc32c verification finds every block as written, 32 in flight, mixed sizes."""
    nbd, fio = require_tool("qemu-nbd"), require_tool("fio")
    with nbd_export(nbd, disks.urls[0], tmp_path) as uri:
        output = run(
            fio, "--name=verify", "--ioengine=nbd", f"--uri={uri}", "--rw=randwrite",
            "--bsrange=512-64k", "--iodepth=32", "--size=48M", "--verify=crc32c", "--do_verify=1",
            "--verify_fatal=1", "--randrepeat=1", "--verify_state_save=0",
        )

    assert "err= 0" in output


def test_nbdcopy_through_qemu_nbd(tmp_path: Path, require_tool: Callable[[str], str]) -> None:
    """nbdcopy puts an image on the unit by several connections and fetches it; nbdinfo finds its holes as holes."""
    nbd = require_tool("qemu-nbd", "qemu-utils")
    copy, info = require_tool("nbdcopy", "libnbd-bin"), require_tool("nbdinfo", "libnbd-bin")
    image, back = tmp_path / "image.raw", tmp_path / "back.raw"
    sparse_image(image, 32 * MIB)
    with serve("--disk", "32M") as served, nbd_export(nbd, served.urls[0], tmp_path) as uri:
        told = json.loads(run(info, "--json", uri))["exports"][0]
        run(copy, "--connections=4", "--requests=32", "--flush", str(image), uri)
        run(copy, "--connections=4", uri, str(back))
        extents = json.loads(run(info, "--map", "--json", uri))

    assert told["export-size"] == 32 * MIB
    assert told["can_trim"]
    assert told["can_zero"]
    assert image.read_bytes() == back.read_bytes()
    assert sum(extent["length"] for extent in extents) == 32 * MIB
    for extent in extents:
        if extent["type"] != 0:         # a hole, or zeros, or both
            piece = image.read_bytes()[extent["offset"] : extent["offset"] + extent["length"]]
            assert not any(piece)
    holes = sum(extent["length"] for extent in extents if extent["type"] != 0)
    assert holes > 24 * MIB


def test_iscsi_ls_lists_units(disks: Served, require_tool: Callable[[str], str]) -> None:
    """iscsi-ls finds the target by discovery, and its units with type and size."""
    output = run(require_tool("iscsi-ls"), "-s", f"iscsi://{disks.portal}")

    assert len(re.findall(r"Lun:\d+\s+Type:DIRECT_ACCESS", output)) == 3


@pytest.mark.parametrize("page", [None, "0x00", "0x80", "0x83", "0xb0", "0xb1", "0xb2"])
def test_iscsi_inq_reads_page(page: str | None, disks: Served, require_tool: Callable[[str], str]) -> None:
    """iscsi-inq understands standard data and the VPD pages that it knows."""
    tool = require_tool("iscsi-inq")
    options = [] if page is None else ["-e", "1", "-c", str(int(page, 16))]
    output = run(tool, *options, disks.urls[0])

    assert output.strip()


def test_iscsi_perf_reads(disks: Served, require_tool: Callable[[str], str]) -> None:
    """iscsi-perf keeps reading until it is told to stop."""
    tool = require_tool("iscsi-perf")
    process = subprocess.Popen(
        [tool, "-r", "-m", "32", "-b", "8", "-t", "2", disks.urls[0]],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )
    try:
        output = process.communicate(timeout=30)[0]
    finally:
        process.kill()
        process.wait()

    assert re.search(r"iops", output), output

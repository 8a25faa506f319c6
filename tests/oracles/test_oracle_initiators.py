"""Initiators that are not libiscsi's tests: iPXE's in a machine's ROM, nmap's, QEMU's with its driver's options."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from missing_judge import missing_judge
from served import Served, serve
from test_oracle_qemu import run
from test_oracle_qemu_boot import BOOT_SECTOR, MAGIC, boot

pytestmark = [pytest.mark.oracle, pytest.mark.timeout(120)]

SECRET = "correct-horse-battery"
IPXE_ROM = Path("/usr/lib/ipxe/qemu/efi-virtio.rom")        # QEMU's default, for both kinds of firmware


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A disk that asks for CHAP."""
    secret = tmp_path_factory.mktemp("secrets") / "secret"
    secret.write_text(SECRET)
    secret.chmod(0o600)
    with serve("--disk", "64M", "--chap", f"tester:{secret}") as served:
        yield served


def target_of(served: Served) -> str:
    """The target's name."""
    return served.urls[0].split("/")[3]


def test_ipxe_boots(require_tool: Callable[[str], str], tmp_path: Path) -> None:
    """iPXE, an initiator and TCP of its own in the network card's ROM, runs the first sector, which reads another."""
    program = require_tool("qemu-system-x86_64")
    if not IPXE_ROM.exists():
        missing_judge(f"{IPXE_ROM} (package ipxe-qemu) is not installed: it is the independent judge of this test")
    image, script = tmp_path / "boot.img", tmp_path / "boot.ipxe"
    # Smaller than a cylinder of 255 heads and 63 sectors, iPXE gives it no geometry that INT 13h could read by.
    image.write_bytes(BOOT_SECTOR + MAGIC.ljust(512, b"\0") + bytes(32 << 20))
    with serve("--disk", str(image)) as served:
        port = served.portal.rpartition(":")[2]
        script.write_text(f"#!ipxe\nsanboot iscsi:10.0.2.2::{port}:0:{target_of(served)}\n")
        boot(
            [
                program, "-m", "128M", "-boot", "n", "-netdev", f"user,id=net,tftp={tmp_path},bootfile=/boot.ipxe",
                "-device", "virtio-net-pci,netdev=net",
            ],
            tmp_path,
        )


def test_many_units(require_tool: Callable[[str], str]) -> None:
    """iscsi-ls lists 260 units by the numbers of their URLs, and iscsi-inq reaches the last one."""
    list_tool, tool = require_tool("iscsi-ls"), require_tool("iscsi-inq")
    with serve(*("--disk", "64K") * 259, "--disk", "64K,serial=THE-LAST") as served:
        listed = re.findall(r"Lun:(\d+)", run(list_tool, "-s", f"iscsi://{served.portal}"))
        last = run(tool, "-e", "1", "-c", "128", served.urls[-1])

    assert listed == [url.rpartition("/")[2] for url in served.urls]
    assert "THE-LAST" in last


@pytest.mark.parametrize("device", ["scsi-hd", "scsi-block", "scsi-generic"])
def test_qemu_machine_boots(device: str, require_tool: Callable[[str], str], tmp_path: Path) -> None:
    """A machine whose disk is our unit: QEMU's own disk over it, or its CDBs passed through as they come."""
    program = require_tool("qemu-system-x86_64")
    image = tmp_path / "boot.img"
    image.write_bytes(BOOT_SECTOR + MAGIC.ljust(512, b"\0") + bytes(1 << 20))
    with serve("--disk", str(image)) as served:
        boot(
            [
                program, "-m", "64M", "-device", "virtio-scsi-pci", "-device", f"{device},drive=disk", "-blockdev",
                f"driver=iscsi,node-name=disk,transport=tcp,portal={served.portal},target={target_of(served)},lun=0",
            ],
            tmp_path,
        )


def test_nmap_discovers(locked: Served, require_tool: Callable[[str], str]) -> None:
    """nmap's iscsi-info finds target and portal by SendTargets, and tells whether a login needs a secret."""
    tool = require_tool("nmap")
    with serve("--disk", "1M") as free:
        told = {}
        for served in (free, locked):
            host, _, port = served.portal.rpartition(":")
            told[served.portal] = run(tool, "-n", "-Pn", "-p", port, "--script", "+iscsi-info", host)
            assert f"Address: {served.portal},1" in told[served.portal]
            assert target_of(served) in told[served.portal]

    assert "Authentication: NOT required" in told[free.portal]
    assert "Authentication: required" in told[locked.portal]


def test_nmap_guesses(locked: Served, require_tool: Callable[[str], str], tmp_path: Path) -> None:
    """nmap's iscsi-brute is let in with the right secret and with no other, though it counts CmdSN in a login."""
    tool = require_tool("nmap")
    (tmp_path / "users").write_text("tester\nanother\n")
    (tmp_path / "secrets").write_text(f"wrong-horse-battery\n{SECRET}\n{SECRET.upper()}\n")
    host, _, port = locked.portal.rpartition(":")
    output = run(
        tool, "-n", "-Pn", "-p", port, "--script", "+iscsi-brute", "--script-args",
        f"target={target_of(locked)},userdb={tmp_path}/users,passdb={tmp_path}/secrets", host,
    )

    assert re.findall(r"\S+ - Valid credentials", output) == [f"tester:{SECRET} - Valid credentials"]


@pytest.mark.parametrize("digest", ["none", "crc32c", "none-crc32c", "crc32c-none"])
def test_qemu_driver_options(digest: str, locked: Served, require_tool: Callable[[str], str]) -> None:
    """QEMU's driver by its options: CHAP, each choice of header digest, unmapping of zeroes, AIO."""
    tool = require_tool("qemu-io")
    options = (
        f"driver=iscsi,transport=tcp,portal={locked.portal},target={target_of(locked)},lun=0,user=tester,"
        f"password={SECRET},header-digest={digest},initiator-name=iqn.2008-11.org.linux-kvm:options,timeout=20,"
        "discard=unmap,detect-zeroes=unmap,cache.direct=on"
    )
    commands = [
        "write -P 0xaa 0 8M", "write -P 0 1M 1M", "write -z -u 2M 1M", "discard 3M 1M", "aio_write -P 0x55 4M 1M",
        "aio_write -P 0x66 5M 1M", "aio_flush", "flush", "read -P 0xaa 0 1M", "read -P 0 1M 3M", "read -P 0x55 4M 1M",
        "read -P 0x66 5M 1M", "read -P 0xaa 6M 2M",
    ]
    arguments = [word for command in commands for word in ("-c", command)]
    output = run(tool, *arguments, "--image-opts", options)

    assert "verification failed" not in output.lower()
    assert output.count("ops;") == len(commands) - 2


def test_qemu_storage_daemon(locked: Served, require_tool: Callable[[str], str], tmp_path: Path) -> None:
    """A qemu-storage-daemon with a secret object and header digests; fio verifies through it."""
    daemon, fio = require_tool("qemu-storage-daemon"), require_tool("fio")
    socket, ready = tmp_path / "nbd", tmp_path / "pid"
    process = subprocess.Popen([
        daemon, "--object", f"secret,id=secret,data={SECRET}",
        "--blockdev", f"driver=iscsi,node-name=disk,transport=tcp,portal={locked.portal},target={target_of(locked)},"
        "lun=0,user=tester,password-secret=secret,header-digest=crc32c,discard=unmap",
        "--nbd-server", f"addr.type=unix,addr.path={socket}",
        "--export", "type=nbd,id=export,node-name=disk,name=disk,writable=on",
        "--pidfile", str(ready),
    ])
    try:
        for _ in range(200):
            if ready.exists():
                break
            time.sleep(0.05)
        output = run(
            fio, "--name=verify", "--ioengine=nbd", f"--uri=nbd+unix:///disk?socket={socket}", "--rw=randwrite",
            "--bsrange=512-64k", "--iodepth=16", "--size=16M", "--verify=crc32c", "--verify_fatal=1",
            "--verify_state_save=0",
        )
    finally:
        process.terminate()
        process.wait(20)

    assert "err= 0" in output


def test_iscsi_swp(require_tool: Callable[[str], str]) -> None:
    """iscsi-swp turns software write protection on, which qemu-io then meets, and off."""
    tool, qemu_io = require_tool("iscsi-swp"), require_tool("qemu-io")
    with serve("--disk", "8M") as served:
        assert "SWP:0" in run(tool, served.urls[0])
        run(tool, "--swp=on", served.urls[0])
        assert "SWP:1" in run(tool, served.urls[0])
        protected = run(qemu_io, "-f", "raw", "-c", "write 0 512", served.urls[0], code=1)
        run(tool, "--swp=off", served.urls[0])
        written = run(qemu_io, "-f", "raw", "-c", "write 0 512", served.urls[0])

    assert re.search("read.only|write.protect", protected, re.IGNORECASE)
    assert "wrote 512/512" in written


@pytest.mark.parametrize(
    ("unit", "expected"),
    [("64M", ("131071", "512", "0", "1")), ("64M,block=4096", ("16383", "4096", "0", "1")),
     ("64M,physical=3,pi=1,lbprz=off", ("131071", "512", "3", "0"))],
)
def test_iscsi_readcapacity16(unit: str, expected: tuple[str, ...], require_tool: Callable[[str], str]) -> None:
    """iscsi-readcapacity16 tells last block, block length, physical exponent, LBPRZ."""
    tool = require_tool("iscsi-readcapacity16")
    with serve("--disk", unit) as served:
        output = run(tool, served.urls[0])
        size = run(tool, "-s", served.urls[0])

    found = re.search(
        r"ADDRESS:(\d+)\n.*BYTES:(\d+)\n.*\n.*EXPONENT:(\d+)\nLBPME:\d LBPRZ:(\d)", output
    )
    assert found is not None, output
    assert found.groups() == expected
    assert int(size) == 64 << 20

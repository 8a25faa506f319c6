"""Linux in QEMU: its drivers sd, st, sr, ch and sg, and programs on their nodes, judge every device type."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from guest_jobs import (
    DISK,
    DRIVERS,
    LIBRARY,
    OPTICAL,
    PATTERN,
    TAPE,
    TOOLS,
    check,
    check_disk,
    check_library,
    check_tape,
    disc_image,
)
from linux_guest import Step, boot, packages
from served import serve

from transports.iscsi.client import connect

pytestmark = [pytest.mark.oracle, pytest.mark.slow, pytest.mark.timeout(240)]

QEMU = "qemu-system-x86_64"
MACHINE = [
    QEMU, "-m", "256M", "-object", "memory-backend-memfd,id=mem,size=256M,share=on", "-numa", "node,memdev=mem",
]
# The same for every way in: page 83h and version descriptors (from byte 58), which tell of the transport, are not.
CDBS = {
    "INQUIRY": "120000003a00", "VPD 00h": "12010000ff00", "VPD 80h": "12018000ff00", "VPD 86h": "12018600ff00",
    "MODE SENSE": "5a003f0000000000ff00", "LOG SENSE": "4d004000000000010000",
    "REPORT LUNS": "a00000000000000001000000",
    "REPORT SUPPORTED OPERATION CODES": "a30c00000000000020000000",
}


def answer(url: str, lun: int, cdb: bytes) -> str:
    """What the same unit says over iSCSI, in hexadecimal; unit attentions taken before."""
    with connect(url) as client:
        for _ in range(3):
            client.execute(lun, bytes(6))
        return bytes(client.execute(lun, cdb, data_in_length=8192).data_in).hex()


def test_linux_vhost(require_tool: Callable[[str], str], tmp_path: Path) -> None:
    """Disks, tape, library, optical drive and object storage on a virtio-scsi adapter."""
    for tool in (QEMU, "genisoimage", *TOOLS):
        require_tool(tool)
    packages()
    path = tmp_path / "linux-vhost"
    raw = "".join(
        f"step 'raw {lun} {name}' eval '{{ ready {lun}; sg_raw -r 8192 -o - /dev/sg{lun} "
        f"{' '.join(re.findall('..', cdb))} 2>/dev/null; }} | hexdump -ve \"1/1 \\\"%02x\\\"\"; echo'\n"
        for lun in (0, 1, 2, 4, 5, 6, 7)
        for name, cdb in CDBS.items()
    )
    script = (
        "ready() { for i in 1 2 3; do sg_raw /dev/sg$1 0 0 0 0 0 0 >/dev/null 2>&1; done; }\n"
        "step lsscsi lsscsi -g\n" + raw + PATTERN + DISK + TAPE + LIBRARY + OPTICAL
    )
    with serve(
        "--vhost", str(path), "--disk", "64M", "--tape", "32M", "--optical", str(disc_image(tmp_path)),
        "--osd", ":memory:", "--library", f"{tmp_path}/library,drives=1,slots=4,ports=1,create=3,capacity=8M",
        "--disk", "64M,block=4096,pi=1", "--disk", "64M,removable,ro",
    ) as served:
        expected = {
            f"raw {lun} {name}": answer(served.urls[lun], lun, bytes.fromhex(cdb))
            for lun in (0, 1, 2, 4, 5, 6, 7)
            for name, cdb in CDBS.items()
        }
        steps = boot(
            [
                *MACHINE, "-chardev", f"socket,id=scsi,path={path}", "-device", "vhost-user-scsi-pci,chardev=scsi",
            ],
            script, tmp_path,
            modules={"scsi_mod": "scan=sync", **dict.fromkeys((*DRIVERS, "virtio_scsi"), "")},
            programs=TOOLS,
        )

    check(steps)
    check_disk(steps, "0:0:0:0")
    check_tape(steps, "0:0:0:1")
    check_names(steps["lsscsi"].text)
    check_library(steps, "0:0:0:4")
    check_formats(steps)
    assert steps["iso_read"].text == "from the disc"
    assert {name: steps[name].text for name in expected} == expected


def check_names(listed: str) -> None:
    """lsscsi has each unit with its device type, its names and the node of its driver."""
    found = [re.split(r"\s{2,}|(?<=\])\s+", line.strip()) for line in listed.splitlines()]
    assert [(line[0], line[1].split()[0], line[-2], line[-1]) for line in found[:8]] == [
        (f"[0:0:0:{lun}]", kind, node, f"/dev/sg{lun}")
        for lun, (kind, node) in enumerate((
            ("disk", "/dev/sda"), ("tape", "/dev/st0"), ("cd/dvd", "/dev/sr0"), ("osd", "-"), ("mediumx", "/dev/sch0"),
            ("tape", "/dev/st1"), ("disk", "/dev/sdb"), ("disk", "/dev/sdc"),
        ))
    ]
    names = ("DISK", "TAPE", "OPTICAL", "OBJECT STORAGE", "LIBRARY", "TAPE", "DISK", "DISK")
    for line, name in zip(listed.splitlines(), names, strict=False):
        assert re.search(rf" SCSIEMU +(VIRTUAL )?{name} +0001 ", line), line


def check_formats(steps: dict[str, Step]) -> None:
    """sd knows long blocks with protection information (which this adapter does not carry), and a read-only medium."""
    said = steps["dmesg"].text

    assert "sd 0:0:0:6: [sdb] 16384 4096-byte logical blocks: (67.1 MB/64.0 MiB)" in said
    assert "sd 0:0:0:6: [sdb] Disabling DIF Type 1 protection" in said
    assert "sd 0:0:0:7: [sdc] Write Protect is on" in said
    assert "sd 0:0:0:7: [sdc] Attached SCSI removable disk" in said
    assert re.search(r"^ +11 +0 +\d+ sr0$", steps["partitions"].text, re.MULTILINE)

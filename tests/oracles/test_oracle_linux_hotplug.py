"""Linux in QEMU judges events of vhost-user-scsi: units come, grow and go under its drivers, on a second adapter."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from linux_guest import Step, boot
from living_target import LivingTarget

pytestmark = [pytest.mark.oracle, pytest.mark.slow, pytest.mark.timeout(240)]

QEMU = "qemu-system-x86_64"
MACHINE = [
    QEMU, "-m", "256M", "-object", "memory-backend-memfd,id=mem,size=256M,share=on", "-numa", "node,memdev=mem",
]

SCRIPT = """
scan_hosts
# attached NODE TIMES: the driver has looked for partitions, too.
attached() { dmesg | grep -c "$1. Attached SCSI disk" | grep -qx $2; }
step before lsscsi -b
echo "=== want add"
step came wait_for 20 attached sdc 1
step size cat /sys/block/sdc/size
dd if=/dev/urandom of=/tmp/pattern bs=64k count=8
step write dd if=/tmp/pattern of=/dev/sdc bs=64k oflag=direct
echo "=== want grow"
step grown wait_for 20 grep -qx 16384 /sys/block/sdc/size
step write_behind dd if=/tmp/pattern of=/dev/sdc bs=64k seek=100 conv=fsync
echo 3 >/proc/sys/vm/drop_caches
step read eval 'for at in 0 100; do dd if=/dev/sdc bs=64k skip=$at count=8 | cmp - /tmp/pattern; done 2>/dev/null'
echo "=== want shrink"
step shrunk wait_for 20 grep -qx 8192 /sys/block/sdc/size
echo "=== want far"
step far_came wait_for 20 attached sdd 1
step both lsscsi -b
step attention sg_turs /dev/sdb
echo "=== want remove"
step gone wait_for 20 eval '! test -e /sys/block/sdc'
echo "=== want again"
step again wait_for 20 attached sdc 2
step again_size cat /sys/block/sdc/size
echo "=== want nothing"
step nothing wait_for 20 eval '! test -e /sys/block/sdc && ! test -e /sys/block/sdd'
step after lsscsi -b
step first_adapter dd if=/tmp/pattern of=/dev/sda bs=64k oflag=direct
step second_adapter dd if=/tmp/pattern of=/dev/sdb bs=64k oflag=direct
"""

TROUBLE = re.compile(
    r"error|fail|sense key|add\. sense|reset(?! occurred)|abort|time[d ]*out|offline|reject|invalid|bug", re.IGNORECASE
)
# sd means to flush what it has cached when a disk goes, which has gone already: Logical unit not supported.
GONE = re.compile(
    r"Synchronizing SCSI cache|Synchronize Cache\(10\) failed: Result: hostbyte=DID_OK driverbyte=DRIVER_OK"
    r"|Sense Key : Illegal Request|Add\. Sense: Logical unit not supported"
)


def listed(step: Step) -> list[list[str]]:
    """Address and node of each unit."""
    return [[line.split()[0], line.split()[-1]] for line in step.text.splitlines()]


def test_linux_hotplug(require_tool: Callable[..., str], tmp_path: Path) -> None:
    """Disks appear, change their size and disappear as the events of their adapter say; LUNs below and above 256."""
    require_tool(QEMU, "qemu-system-x86")
    require_tool("lsscsi")
    require_tool("sg_turs", "sg3-utils")
    machine = [*MACHINE]
    for number in range(2):
        machine += [
            "-chardev", f"socket,id=scsi{number},path={tmp_path}/vhost{number}",
            "-device", f"vhost-user-scsi-pci,chardev=scsi{number}",
        ]
    first, second = (
        LivingTarget(tmp_path / f"http{number}", "--disk", "32M", "--vhost", f"{tmp_path}/vhost{number}")
        for number in range(2)
    )
    with first, second:

        def nothing() -> None:
            second.remove(3)
            second.remove(300)

        steps = boot(
            machine, SCRIPT, tmp_path,
            modules={"scsi_mod": "scan=manual", "sd_mod": "", "sg": "", "virtio_pci": "", "virtio_scsi": ""},
            programs=["lsscsi", "sg_turs"],
            wanted={
                "add": lambda: second.add_disk(3, 8192), "grow": lambda: second.resize(3, 16384),
                "shrink": lambda: second.resize(3, 8192), "far": lambda: second.add_disk(300, 2048),
                "remove": lambda: second.remove(3), "again": lambda: second.add_disk(3, 4096), "nothing": nothing,
            },
        )

    attention = steps.pop("attention")
    assert "Reported luns data has changed" in attention.text
    assert {name: step for name, step in steps.items() if step.code} == {}
    assert first.said == second.said == ""
    assert [steps[name].text for name in ("size", "again_size")] == ["8192", "4096"]
    assert steps["read"].text == ""
    two = [["[0:0:0:0]", "/dev/sda"], ["[1:0:0:0]", "/dev/sdb"]]
    assert listed(steps["before"]) == listed(steps["after"]) == two
    # Linux keeps the addressing method, 01b for flat space, in its number of a unit.
    assert listed(steps["both"]) == [*two, ["[1:0:0:3]", "/dev/sdc"], [f"[1:0:0:{0x4000 | 300}]", "/dev/sdd"]]
    said = steps["dmesg"].text.partition("SCSI subsystem initialized")[2]
    assert said.count("sd 1:0:0:3: Capacity data has changed") == 2
    assert "sdc: detected capacity change from 8192 to 16384" in said
    assert "sdc: detected capacity change from 16384 to 8192" in said
    assert [line for line in said.splitlines() if TROUBLE.search(line) and not GONE.search(line)] == []

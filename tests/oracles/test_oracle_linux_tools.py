"""Programs for disks, tapes and optical drives on the real drivers' nodes, in a guest with Linux."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from guest_jobs import DRIVERS, HARMLESS, TROUBLE, disc_image
from linux_guest import Step, boot
from served import serve

pytestmark = [pytest.mark.oracle, pytest.mark.slow, pytest.mark.timeout(240)]

QEMU = "qemu-system-x86_64"
MACHINE = [
    QEMU, "-m", "256M", "-object", "memory-backend-memfd,id=mem,size=256M,share=on", "-numa", "node,memdev=mem",
]
TOOLS = [
    "sg_persist", "sg_format", "sdparm", "smartctl", "tapeinfo", "eject", "wodim", "cd-info", "setcd", "readom",
    "sg_raw", "sg_reset", "sg_turs", "sg_xcopy", "sg_dd", "sgm_dd", "sg_unmap", "sg_start", "sg_opcodes", "stenc",
]

DISK = """
wce() { sdparm --quiet --get=WCE /dev/sda | grep -o 'WCE *[01]'; cat /sys/block/sda/queue/write_cache; }
step register sg_persist --out --register --param-sark=abc /dev/sda
step reserve sg_persist --out --reserve --param-rk=abc --prout-type=5 /dev/sda
step holder sg_persist --in --read-full-status /dev/sda
step clear sg_persist --out --clear --param-rk=abc /dev/sda
step cleared sg_persist --in --read-keys /dev/sda
step no_cache sdparm --clear=WCE /dev/sda
echo 1 >/sys/block/sda/device/rescan
step wce_off wce
echo 'write back' >/sys/block/sda/device/scsi_disk/0:0:0:0/cache_type
step wce_on wce
step format sg_format --format --size=4096 --quick --wait /dev/sdb
echo 1 >/sys/block/sdb/device/rescan
step formatted cat /sys/block/sdb/size /sys/block/sdb/queue/logical_block_size
step smart smartctl -a /dev/sda
step selftest smartctl -t short /dev/sda
step tested wait_for 20 eval 'smartctl -l selftest /dev/sda | grep -q Completed'
step reset sg_reset --device /dev/sda
step after_reset sg_turs /dev/sda
cat /modules/* | head -c 65536 >/tmp/pattern
step write sg_dd if=/tmp/pattern of=/dev/sg0 bs=512
step xcopy sg_xcopy if=/dev/sg0 of=/dev/sg1 bs=512 count=128
step copy sg_xcopy if=/dev/sg0 of=/dev/sg0 seek=1000 bs=512 count=128
step mapped eval 'sgm_dd if=/dev/sg0 skip=1000 of=/tmp/copy bs=512 count=128 && cmp /tmp/copy /tmp/pattern'
step unmap sg_unmap --force --lba=1000 --num=128 /dev/sda
step zeros eval 'dd if=/dev/sda bs=512 skip=1000 count=128 iflag=direct 2>/dev/null | cmp -n 65536 - /dev/zero'
step opcodes sg_opcodes /dev/sda
step stop sg_start --stop /dev/sda
step stopped sg_turs /dev/sda
step start sg_start --start /dev/sda
"""

TAPE = """
step tapeinfo tapeinfo -f /dev/nst0
step smart_tape smartctl -a /dev/nst0
step stenc stenc -f /dev/nst0
"""

OPTICAL = """
step open eject /dev/sr0
step opened sg_turs /dev/sr0
step close eject -t /dev/sr0
step lock eject -i on /dev/sr0
step locked sg_start -v --eject /dev/sr0
step unlock eject -i off /dev/sr0
step speed eject -x 8 /dev/sr0
step capabilities wodim dev=/dev/sr0 -prcap
step burn wodim dev=/dev/sr0 -tao -data -pad speed=16 gracetime=2 /disc.iso
step reload eval 'eject /dev/sr0; eject -t /dev/sr0'
step disc cd-info --no-cddb /dev/sr0
step status setcd -i /dev/sr0
step size cat /sys/block/sr0/size
step mount mount -t iso9660 -o ro /dev/sr0 /mnt
step hello cat /mnt/hello
umount /mnt
step read readom dev=/dev/sr0 f=/tmp/back sectors=0-150
step compared eval 'cmp -n 307200 /tmp/back /disc.iso'
step blank wodim dev=/dev/sr0 blank=fast gracetime=2
step blanked wodim dev=/dev/sr0 -toc
step object_storage eval 'sg_raw /dev/sg4 7f 0 0 0 0 0 0 c0 88 01 $(yes 0 | head -n 190)'
"""

# What is asked for and is no trouble: sg_reset's work, and smartctl's defect list in a format that there is none of.
ASKED_FOR = re.compile(r"device reset$|Sense Key : Recovered Error|Add\. Sense: Defect list not found")


def check_disk_tools(steps: dict[str, Step]) -> None:
    """Reservations, mode pages, formatting, tests of the drive, resets, copies, as the kernel passes them on."""
    assert "Key=0xabc" in steps["holder"].text
    assert "<< Reservation holder >>" in steps["holder"].text
    assert "there are NO registered reservation keys" in steps["cleared"].text
    assert re.split(r"\s+", steps["wce_off"].text, maxsplit=2) == ["WCE", "0", "write through"]
    assert re.split(r"\s+", steps["wce_on"].text, maxsplit=2) == ["WCE", "1", "write back"]
    assert steps["formatted"].text.split() == ["32768", "4096"]
    assert "SMART Health Status: OK" in steps["smart"].text
    assert "Short Background Self Test has begun" in steps["selftest"].text
    assert "Bus device reset function occurred" in steps["after_reset"].text
    assert " a3        c        12    0,0    Report supported operation codes" in steps["opcodes"].text
    assert steps["stopped"].code == 2, "not ready"


def check_optical_tools(steps: dict[str, Step]) -> None:
    """Tray, lock and speed by ioctl; a CD-RW is burnt, mounted, read and blanked."""
    assert steps["opened"].code == 2, "not ready"
    assert re.search("medium removal prevented", steps["locked"].text, re.IGNORECASE)
    assert re.search(r"Current read  speed: +1416 kB/s", steps["capabilities"].text)
    assert "CD-ROM with ISO 9660 filesystem" in steps["disc"].text
    assert int(steps["size"].text) >= 600
    assert steps["hello"].text == "from the disc"
    assert steps["compared"].text == ""
    assert "Cannot read TOC" in steps["blanked"].text


def test_linux_tools(require_tool: Callable[[str], str], tmp_path: Path) -> None:
    """Disk, tape and disc tools; the log has nothing but what they asked for."""
    for tool in (QEMU, "genisoimage", *TOOLS):
        require_tool(tool)
    path = tmp_path / "linux-vhost"
    disc = disc_image(tmp_path).read_bytes()
    with serve(
        "--vhost", str(path), "--disk", "16M", "--disk", "16M", "--tape", "32M",
        "--optical", f"{tmp_path}/blank,blank=cd-rw", "--osd", ":memory:",
    ):
        steps = boot(
            [*MACHINE, "-chardev", f"socket,id=scsi,path={path}", "-device", "vhost-user-scsi-pci,chardev=scsi"],
            "scan_hosts\n" + DISK + TAPE + OPTICAL, tmp_path,
            modules={"scsi_mod": "scan=manual", **dict.fromkeys((*DRIVERS, "virtio_scsi"), "")},
            programs=TOOLS, files={"disc.iso": disc},
        )

    # An answer, or a refusal: the unit's; Linux itself has no room for the long CDBs of object storage.
    refused = {"after_reset", "stopped", "opened", "locked", "object_storage"}
    assert {name: step for name, step in steps.items() if step.code and name not in refused} == {}
    assert refused == {name for name in refused if steps[name].code}
    check_disk_tools(steps)
    assert re.search(r"Ready: yes.*BOP: yes", steps["tapeinfo"].text, re.DOTALL)
    assert "TapeAlert Supported" in steps["smart_tape"].text
    assert re.search(r"Drive Encryption: +off", steps["stenc"].text)
    check_optical_tools(steps)
    assert "Invalid argument" in steps["object_storage"].text
    said = steps["dmesg"].text.partition("SCSI subsystem initialized")[2].splitlines()
    harmless = re.compile(f"{HARMLESS.pattern}|{ASKED_FOR.pattern}")
    assert [line for line in said if TROUBLE.search(line) and not harmless.search(line)] == []

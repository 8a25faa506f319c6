"""Linux in QEMU: its drivers sd, st, sr, ch and sg, and programs on their nodes, judge every device type."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from linux_guest import Step, boot, packages
from served import serve

from transports.iscsi.client import connect

pytestmark = [pytest.mark.oracle, pytest.mark.slow, pytest.mark.timeout(240)]

QEMU = "qemu-system-x86_64"
MACHINE = [
    QEMU, "-m", "256M", "-object", "memory-backend-memfd,id=mem,size=256M,share=on", "-numa", "node,memdev=mem",
]
DRIVERS = ("sd_mod", "st", "sr_mod", "ch", "sg", "crc32c_generic", "ext4", "isofs", "virtio_pci")
TOOLS = [
    "lsscsi", "sg_inq", "sg_vpd", "sg_logs", "sg_modes", "sg_luns", "sg_raw", "mt", "mtx", "tar", "mkfs.ext4", "e2fsck",
    "blkdiscard",
]

# What a driver says when it does not like what it is told. No trouble: a new nexus is told of the power on; ch would
# like element descriptors to have parallel SCSI's addresses of drives.
TROUBLE = re.compile(
    r"error|fail|unaligned|asc[ =]|add\. sense|sense key|reset|abort|time[d ]*out|offline|hostbyte|reject|invalid"
    r"|incorrect|unsupported|unknown|warn|bug|corrupt|stall|not found", re.IGNORECASE,
)
HARMLESS = re.compile(
    r"Power-on or device reset occurred|\[ch0\] ID/LUN unknown"
)

# The same for every way in: page 83h and version descriptors (from byte 58), which tell of the transport, are not.
CDBS = {
    "INQUIRY": "120000003a00", "VPD 00h": "12010000ff00", "VPD 80h": "12018000ff00", "VPD 86h": "12018600ff00",
    "MODE SENSE": "5a003f0000000000ff00", "LOG SENSE": "4d004000000000010000",
    "REPORT LUNS": "a00000000000000001000000",
    "REPORT SUPPORTED OPERATION CODES": "a30c00000000000020000000",
}

PATTERN = """
dd if=/dev/urandom of=/tmp/pattern bs=64k count=64
step pattern eval 'sha256sum </tmp/pattern'
mkdir /tmp/tree
for i in 1 2 3 4 5; do head -c ${i}0001 /tmp/pattern >/tmp/tree/file$i; done
"""

DISK = """
step write dd if=/tmp/pattern of=/dev/sda bs=1M oflag=direct
step write_buffered dd if=/tmp/pattern of=/dev/sda bs=64k seek=100 conv=fsync
echo 3 >/proc/sys/vm/drop_caches
step read eval 'dd if=/dev/sda bs=128k count=32 2>/dev/null | sha256sum'
step read_direct eval 'dd if=/dev/sda bs=64k skip=100 count=64 iflag=direct 2>/dev/null | sha256sum'
step discard blkdiscard -o 0 -l 2M /dev/sda
step zeroes blkdiscard -z -o 2M -l 2M /dev/sda
step discarded eval "dd if=/dev/sda bs=1M count=4 iflag=direct 2>/dev/null | tr -d '\\\\000' | wc -c"
step fua cat /sys/block/sda/queue/fua
step mkfs mkfs.ext4 -q /dev/sda
step mount mount -t ext4 /dev/sda /mnt
step copy cp -r /tmp/pattern /tmp/tree /mnt
rm /mnt/tree/file1
step trim fstrim -v /mnt
step unmount umount /mnt
step fsck e2fsck -fn /dev/sda
step mount_again mount -t ext4 -o ro /dev/sda /mnt
step kept eval 'sha256sum </mnt/pattern'
umount /mnt
"""

TAPE = """
mt -f /dev/nst0 rewind
step mt_status mt -f /dev/nst0 status
step tar tar -b 20 -cf /dev/nst0 -C /tmp tree
step tar_second tar -b 40 -cf /dev/nst0 -C /tmp/tree file1 file2
mt -f /dev/nst0 rewind
step fsf mt -f /dev/nst0 fsf 1
step tar_list tar -b 40 -tf /dev/nst0
step eod mt -f /dev/nst0 eod
step eod_status mt -f /dev/nst0 status
step bsf mt -f /dev/nst0 bsfm 2
step bsf_status mt -f /dev/nst0 status
mt -f /dev/nst0 rewind
step tar_compare tar -b 20 -df /dev/nst0 -C /tmp
step setblk mt -f /dev/nst0 setblk 512
mt -f /dev/nst0 rewind
step fixed_write dd if=/tmp/pattern of=/dev/nst0 bs=64k
step weof mt -f /dev/nst0 weof 2
mt -f /dev/nst0 rewind
step fixed_read eval 'dd if=/dev/nst0 bs=64k 2>/dev/null | sha256sum'
step seek mt -f /dev/nst0 seek 3
step tell mt -f /dev/nst0 tell
step eject mt -f /dev/nst0 offline
"""

OTHERS = """
step mtx mtx -f /dev/sg4 status
step load mtx -f /dev/sg4 load 2 0
step loaded mtx -f /dev/sg4 status
step drive_tar tar -cf /dev/st1 -C /tmp tree
step drive_compare tar -df /dev/st1 -C /tmp
step drive_eject mt -f /dev/st1 offline
step unload mtx -f /dev/sg4 unload 2 0
step unloaded mtx -f /dev/sg4 status
step iso mount -t iso9660 -o ro /dev/sr0 /mnt
step iso_read cat /mnt/hello
step iso_end umount /mnt
step partitions cat /proc/partitions
"""


def check(steps: dict[str, Step], *expected_to_fail: str) -> None:
    """Every step has succeeded, and the kernel has nothing to complain of."""
    assert {name: step for name, step in steps.items() if step.code and name not in expected_to_fail} == {}
    said = steps["dmesg"].text.partition("SCSI subsystem initialized")[2].splitlines()
    assert [line for line in said if TROUBLE.search(line) and not HARMLESS.search(line)] == []


def check_disk(steps: dict[str, Step], name: str) -> None:
    """Every byte is where the guest wrote it, and what it discarded is zero. `name` is H:C:T:L of the disk."""
    said = steps["dmesg"].text

    assert f"sd {name}: [sda] 131072 512-byte logical blocks: (67.1 MB/64.0 MiB)" in said
    assert f"sd {name}: [sda] Write Protect is off" in said
    assert f"sd {name}: [sda] Write cache: enabled, read cache: enabled, supports DPO and FUA" in said
    assert steps["fua"].text == "1"
    assert len({steps[name].text for name in ("pattern", "read", "read_direct", "kept")}) == 1
    assert steps["discarded"].text == "0"
    trimmed = re.search(r"(\d+) bytes trimmed|\((\d+) bytes\) trimmed", steps["trim"].text)
    assert trimmed is not None, steps["trim"]
    assert int(trimmed[1] or trimmed[2]) > 32 << 20


def check_tape(steps: dict[str, Step], name: str) -> None:
    """st finds the marks, the end and the blocks that it wrote, in both block modes."""
    assert f"st {name}: Attached scsi tape st0" in steps["dmesg"].text
    assert f"st {name}: [st0] Block limits 1 - 16777215 bytes." in steps["dmesg"].text
    assert "File number=0, block number=0" in steps["mt_status"].text
    assert "BOT ONLINE" in steps["mt_status"].text
    assert steps["tar_list"].text.split() == ["file1", "file2"]
    assert "File number=2" in steps["eod_status"].text
    assert "EOD ONLINE" in steps["eod_status"].text
    assert "File number=1, block number=0" in steps["bsf_status"].text
    assert steps["tar_compare"].text == ""
    assert steps["fixed_read"].text == steps["pattern"].text
    assert steps["tell"].text == "At block 3."


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
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "hello").write_text("from the disc\n")
    iso = tmp_path / "disc.iso"
    subprocess.run(["genisoimage", "-quiet", "-R", "-o", iso, tmp_path / "tree"], check=True)
    path = tmp_path / "linux-vhost"
    raw = "".join(
        f"step 'raw {lun} {name}' eval '{{ ready {lun}; sg_raw -r 8192 -o - /dev/sg{lun} "
        f"{' '.join(re.findall('..', cdb))} 2>/dev/null; }} | hexdump -ve \"1/1 \\\"%02x\\\"\"; echo'\n"
        for lun in (0, 1, 2, 4, 5, 6, 7)
        for name, cdb in CDBS.items()
    )
    script = (
        "ready() { for i in 1 2 3; do sg_raw /dev/sg$1 0 0 0 0 0 0 >/dev/null 2>&1; done; }\n"
        "step lsscsi lsscsi -g\n" + raw + PATTERN + DISK + TAPE + OTHERS
    )
    with serve(
        "--vhost", str(path), "--disk", "64M", "--tape", "32M", "--optical", str(iso), "--osd", ":memory:",
        "--library", f"{tmp_path}/library,drives=1,slots=4,ports=1,create=3,capacity=8M",
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
    check_library(steps)
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


def check_library(steps: dict[str, Step]) -> None:
    """ch and mtx agree about the elements, and st writes the cartridge that the changer has brought."""
    assert "ch 0:0:0:4: Attached scsi changer ch0" in steps["dmesg"].text
    assert "1 Drives, 5 Slots ( 1 Import/Export )" in steps["mtx"].text
    assert "Data Transfer Element 0:Full (Storage Element 2 Loaded):VolumeTag = A00002L8" in steps["loaded"].text
    assert "Data Transfer Element 0:Empty" in steps["unloaded"].text
    assert steps["drive_compare"].text == ""


def check_formats(steps: dict[str, Step]) -> None:
    """sd knows long blocks with protection information (which this adapter does not carry), and a read-only medium."""
    said = steps["dmesg"].text

    assert "sd 0:0:0:6: [sdb] 16384 4096-byte logical blocks: (67.1 MB/64.0 MiB)" in said
    assert "sd 0:0:0:6: [sdb] Disabling DIF Type 1 protection" in said
    assert "sd 0:0:0:7: [sdc] Write Protect is on" in said
    assert "sd 0:0:0:7: [sdc] Attached SCSI removable disk" in said
    assert re.search(r"^ +11 +0 +\d+ sr0$", steps["partitions"].text, re.MULTILINE)

"""What a guest with Linux does with units of each type, whatever adapter they are on, and what must come of it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from linux_guest import Step

__all__ = [
    "DISK", "DRIVERS", "HARMLESS", "LIBRARY", "OPTICAL", "PATTERN", "TAPE", "TOOLS", "TROUBLE", "check", "check_disk",
    "check_library", "check_tape", "disc_image",
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
    r"Power-on or device reset occurred|\[ch0\] ID/LUN unknown|alua: transition timeout set to"
)

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

LIBRARY = """
step mtx mtx -f /dev/sg4 status
step load mtx -f /dev/sg4 load 2 0
step loaded mtx -f /dev/sg4 status
step drive_tar tar -cf /dev/st1 -C /tmp tree
step drive_compare tar -df /dev/st1 -C /tmp
step drive_eject mt -f /dev/st1 offline
step unload mtx -f /dev/sg4 unload 2 0
step unloaded mtx -f /dev/sg4 status
"""

OPTICAL = """
step iso mount -t iso9660 -o ro /dev/sr0 /mnt
step iso_read cat /mnt/hello
step iso_end umount /mnt
step partitions cat /proc/partitions
"""


def disc_image(folder: Path) -> Path:
    """An ISO image with a file `hello`, made by genisoimage."""
    (folder / "tree").mkdir()
    (folder / "tree" / "hello").write_text("from the disc\n")
    path = folder / "disc.iso"
    subprocess.run(["genisoimage", "-quiet", "-R", "-o", path, folder / "tree"], check=True)
    return path


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


def check_library(steps: dict[str, Step], name: str) -> None:
    """ch and mtx agree about the elements, and st writes the cartridge that the changer has brought."""
    assert f"ch {name}: Attached scsi changer ch0" in steps["dmesg"].text
    assert "1 Drives, 5 Slots ( 1 Import/Export )" in steps["mtx"].text
    assert "Data Transfer Element 0:Full (Storage Element 2 Loaded):VolumeTag = A00002L8" in steps["loaded"].text
    assert "Data Transfer Element 0:Empty" in steps["unloaded"].text
    assert steps["drive_compare"].text == ""

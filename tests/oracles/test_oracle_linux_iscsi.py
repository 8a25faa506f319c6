"""Linux in QEMU as an iSCSI initiator: its iscsi_tcp with open-iscsi's iscsid and iscsiadm judge the transport.

The guest reaches the target by QEMU's user network: 10.0.2.2 is the loopback of this machine, whose own name for the
portal, 127.0.0.1, is no use in there. So the records of discovered targets are made anew with that address.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from guest_jobs import (
    DISK,
    DRIVERS,
    HARMLESS,
    LIBRARY,
    OPTICAL,
    PATTERN,
    TAPE,
    TOOLS,
    TROUBLE,
    check_disk,
    check_library,
    check_tape,
    disc_image,
)
from linux_guest import Step, boot
from living_target import LivingTarget
from served import serve

pytestmark = [pytest.mark.oracle, pytest.mark.slow, pytest.mark.timeout(240)]

QEMU = "qemu-system-x86_64"
MACHINE = [QEMU, "-m", "256M", "-netdev", "user,id=net,ipv6=off", "-device", "virtio-net-pci,netdev=net,romfile="]
DAEMONS = ["iscsid", "iscsiadm"]
MODULES = {
    "scsi_mod": "scan=sync", **dict.fromkeys((*DRIVERS, "scsi_dh_alua", "virtio_net", "iscsi_tcp"), ""),
}
CHAP = {"user": "linux", "password": "initiator-secret"}
TARGET = {"user": "scsiemu", "password": "the-target-secret"}
DISCOVERY = {"user": "finder", "password": "discovery-secret"}

CONFIGURATION = f"""
iscsid.startup = /host/iscsid
discovery.sendtargets.auth.authmethod = CHAP
discovery.sendtargets.auth.username = {DISCOVERY["user"]}
discovery.sendtargets.auth.password = {DISCOVERY["password"]}
"""

START = """
ip link set lo up; ip link set eth0 up; ip addr add 10.0.2.15/24 dev eth0
mkdir -p /run/lock/iscsi /etc/iscsi/nodes /etc/iscsi/send_targets /var/lib/iscsi
step iscsid iscsid -c /etc/iscsi/iscsid.conf
node() { iscsiadm -m node -T $1 -p 10.0.2.2:PORT -o new; }
# set_to TARGET NAME VALUE...
set_to() {
    to=$1; shift
    while [ $# != 0 ]; do iscsiadm -m node -T $to -o update -n node.$1 -v $2 || return; shift 2; done
}
"""

# iscsid asks for digests, and then for more than the target gives.
LOG_IN = """
step discover iscsiadm -m discovery -t sendtargets -p 10.0.2.2:PORT
iscsiadm -m node -o delete
step new node iqn.2026-11.test:secret
step no_secret iscsiadm -m node -l
chap() { set_to iqn.2026-11.test:secret session.auth.authmethod CHAP session.auth.username LINUX \\
    session.auth.password $1 session.auth.username_in SCSIEMU session.auth.password_in $2; }
step wrong_chap chap no-such-secret-here TARGET_SECRET
step wrong_secret iscsiadm -m node -l
step mutual_chap chap SECRET not-of-this-target
step wrong_target iscsiadm -m node -l
step chap chap SECRET TARGET_SECRET
step digests set_to iqn.2026-11.test:secret conn[0].iscsi.HeaderDigest CRC32C conn[0].iscsi.DataDigest CRC32C \\
    session.iscsi.InitialR2T Yes session.iscsi.ImmediateData Yes session.iscsi.FirstBurstLength 16384 \\
    session.iscsi.MaxBurstLength 65536 conn[0].iscsi.MaxRecvDataSegmentLength 8192 session.iscsi.MaxOutstandingR2T 4
step login iscsiadm -m node -l
step found wait_for 20 test -e /dev/st1 -a -e /dev/sda -a -e /dev/sr0 -a -e /dev/sch0
step session iscsiadm -m session -P 2
step lsscsi lsscsi -g
step alua cat /sys/block/sda/device/dh_state /sys/block/sda/device/access_state
"""

LOG_OUT = """
step statistics iscsiadm -m session -s
step logout iscsiadm -m node -u
step after lsscsi
"""


def boot_initiator(
    folder: Path, port: str, script: str, *, programs: list[str],
    wanted: Mapping[str, Callable[[], object]] | None = None,
) -> dict[str, Step]:
    """Run the script in a guest whose initiator is set up."""
    return boot(
        MACHINE, (START + script).replace("PORT", port), folder,
        modules=MODULES, programs=[*DAEMONS, *programs], wanted=wanted,
        files={
            "etc/passwd": b"root:x:0:0:root:/:/bin/sh\n", "etc/iscsi/iscsid.conf": CONFIGURATION.encode(),
            "etc/iscsi/initiatorname.iscsi": b"InitiatorName=iqn.2026-11.test:linux-guest\n",
        },
    )


def secrets(folder: Path) -> dict[str, str]:
    """Options' values: users, each with a file of its secret."""
    found = {}
    for name, who in (("chap", CHAP), ("mutual", TARGET), ("discovery", DISCOVERY)):
        path = folder / name
        path.write_text(who["password"])
        path.chmod(0o600)
        found[name] = f"{who['user']}:{path}"
    return found


def number(text: str, name: str) -> int:
    """A statistic of iscsiadm."""
    found = re.search(rf"\b{name}: (\d+)", text)
    assert found is not None, text
    return int(found[1])


def test_linux_iscsi(require_tool: Callable[[str], str], tmp_path: Path) -> None:
    """Discovery, CHAP both ways, digests, small bursts and R2Ts; then every driver on a unit of its type."""
    for tool in (QEMU, "genisoimage", *TOOLS):
        require_tool(tool)
    user = secrets(tmp_path)
    with serve(
        "--discovery-chap", user["discovery"], "--iqn", "iqn.2026-11.test:open", "--disk", "1M",
        "--target", "iqn.2026-11.test:secret", "--chap", user["chap"], "--mutual-chap", user["mutual"],
        "--disk", "64M", "--tape", "32M", "--optical", str(disc_image(tmp_path)), "--osd", ":memory:",
        "--library", f"{tmp_path}/library,drives=1,slots=4,ports=1,create=3,capacity=8M",
    ) as served:
        port = served.portal.rpartition(":")[2]
        script = LOG_IN.replace("TARGET_SECRET", TARGET["password"]).replace("SECRET", CHAP["password"])
        script = script.replace("LINUX", CHAP["user"]).replace("SCSIEMU", TARGET["user"])
        steps = boot_initiator(
            tmp_path, port, script + PATTERN + DISK + TAPE + LIBRARY + OPTICAL + LOG_OUT, programs=TOOLS
        )

    # iscsiadm's: authorization failure, twice; the last time it is the initiator that does not go on.
    refused = {"no_secret": 24, "wrong_secret": 24, "wrong_target": 19}
    assert {name: step for name, step in steps.items() if step.code and name not in refused} == {}
    assert {name: steps[name].code for name in refused} == refused
    assert [line.split()[1] for line in steps["discover"].text.splitlines()] == [
        "iqn.2026-11.test:open", "iqn.2026-11.test:secret",
    ]
    negotiated = dict(re.findall(r"^\s*(\w+): (\S+)$", steps["session"].text, re.MULTILINE))
    wanted = {
        "HeaderDigest": "CRC32C", "DataDigest": "CRC32C", "InitialR2T": "Yes", "ImmediateData": "Yes",
        "FirstBurstLength": "16384", "MaxBurstLength": "65536", "MaxRecvDataSegmentLength": "8192",
        "MaxOutstandingR2T": "4",
    }
    assert {name: negotiated[name] for name in wanted} == wanted
    assert number(steps["statistics"].text, "r2t_pdus") > 100
    assert [number(steps["statistics"].text, name) for name in ("digest_err", "timeout_err", "tmfcmd_pdus")] == [0] * 3
    assert steps["alua"].text.split() == ["alua", "active/optimized"]
    assert steps["after"].text == ""
    host = steps["lsscsi"].text[1:].partition(":")[0]
    check_disk(steps, f"{host}:0:0:0")
    check_tape(steps, f"{host}:0:0:1")
    check_library(steps, f"{host}:0:0:4")
    assert steps["iso_read"].text == "from the disc"
    check_log(steps, r"detected conn error \(1020\)")        # refused logins


CHANGES = """
step new node iqn.2026-11.test:living
step digests set_to iqn.2026-11.test:living conn[0].iscsi.HeaderDigest CRC32C session.timeo.replacement_timeout 4
step login iscsiadm -m node -l
step found wait_for 20 test -e /sys/block/sda
step again iscsiadm -m session -r 1 --op new
step found_again wait_for 20 test -e /sys/block/sdb
step sessions lsscsi -b
cat /modules/* | head -c 2097152 >/tmp/pattern
step write dd if=/tmp/pattern of=/dev/sda bs=64k oflag=direct
step read eval 'dd if=/dev/sdb bs=64k count=32 iflag=direct 2>/dev/null | cmp - /tmp/pattern'
step register sg_persist --out --register --param-sark=abc /dev/sda
step reserve sg_persist --out --reserve --param-rk=abc --prout-type=1 /dev/sda
step holder sg_persist --in --read-full-status /dev/sdb
step conflict dd if=/tmp/pattern of=/dev/sdb bs=4k count=1 oflag=direct
step released sg_persist --out --clear --param-rk=abc /dev/sda
step free dd if=/tmp/pattern of=/dev/sdb bs=4k count=1 oflag=direct
step second_out iscsiadm -m session -r 2 -u
step one lsscsi -b

echo "=== want add"
step came wait_for 20 test -e /sys/block/sdb/size
step size cat /sys/block/sdb/size
echo "=== want grow"
step rescan iscsiadm -m session -R
step grown cat /sys/block/sdb/size
step mkfs mkfs.ext4 -q /dev/sdb
step mount mount -t ext4 /dev/sdb /mnt
step copy cp /tmp/pattern /mnt
umount /mnt
step fsck e2fsck -fn /dev/sdb
step delete eval 'echo 1 >/sys/block/sdb/device/delete'
echo "=== want remove"
step rescan_2 iscsiadm -m session -R
step removed lsscsi -b

state() { grep -qx $1 /sys/class/iscsi_session/session1/state; }
write() { dd if=/tmp/pattern of=/dev/sda bs=4k seek=$(($1 * 512)) oflag=direct; }
writes() { { for i in 1 2 3; do write $i || echo failed; done; } >/tmp/writes 2>&1 & }
written() { test "$(grep -c ^512.0.records.out /tmp/writes)" = 3 && ! grep -q failed /tmp/writes; }
part() { dd if=/dev/sda bs=4k skip=$(($1 * 512)) count=512 iflag=direct 2>/dev/null; }
same() { for i in 1 2 3; do part $i | cmp - /tmp/pattern || return; done; }
writes
step under_way wait_for 5 grep -q out /tmp/writes
echo "=== want restart"
step away wait_for 10 state FAILED
step back wait_for 20 state LOGGED_IN
step written wait_for 30 written
step same same

writes
step under_way_2 wait_for 5 grep -q out /tmp/writes
echo "=== want die"
step written_2 wait_for 30 written
step same_2 same
step reconnected iscsiadm -m session -P 1

echo "=== want stop"
step away_2 wait_for 20 state FAILED
step given_up eval '! dd if=/dev/sda of=/dev/null bs=4k count=1 iflag=direct'
step timed_out state FREE
echo "=== want start"
step back_3 wait_for 30 state LOGGED_IN
step same_3 wait_for 10 same
step logout iscsiadm -m node -u
step after lsscsi
"""

# What is meant to go wrong: a write against a reservation, connections, and what waited for one too long.
BROKEN = (
    r"\[sdb\] tag#\d+ FAILED Result: hostbyte=DID_OK|error, dev sdb, sector 0 op 0x1:\(WRITE\)|"
    r"detected conn error \(10(20|11)\)|session recovery timed out after 4 secs|rejecting I/O to offline device"
    r"|DID_TRANSPORT_(FAILFAST|DISRUPTED)|I/O error, dev sda, sector 0 op 0x0:\(READ\)"
)


def test_linux_iscsi_changes(require_tool: Callable[[str], str], tmp_path: Path) -> None:
    """Units come, grow and go; the target restarts, is killed, stays away too long; no write is lost."""
    for tool in (QEMU, "lsscsi", "sg_persist", "mkfs.ext4", "e2fsck"):
        require_tool(tool)
    options = ("--iqn", "iqn.2026-11.test:living", "--disk", f"{tmp_path}/image,size=32M")
    with LivingTarget(tmp_path / "http", *options) as living:

        def restart() -> None:
            living.stop()
            living.start()

        def die() -> None:
            living.kill()
            living.start()

        steps = boot_initiator(
            tmp_path, str(living.port), CHANGES, programs=["lsscsi", "sg_persist", "mkfs.ext4", "e2fsck"],
            wanted={
                "add": lambda: living.add_disk(3, 8192), "grow": lambda: living.resize(3, 16384),
                "remove": lambda: living.remove(3), "restart": restart, "die": die,
                "stop": living.stop, "start": living.start,
            },
        )

    assert steps.pop("conflict").code
    assert {name: step for name, step in steps.items() if step.code} == {}
    assert re.search(r"iqn\.2026-11\.test:linux-guest,i,0x[0-9a-f]{12}", steps["holder"].text)
    assert [step.text for name, step in steps.items() if name.startswith("same")] == [""] * 3
    assert len(steps["sessions"].text.splitlines()) == 2
    assert steps["read"].text == ""
    assert steps["size"].text == "8192"
    assert steps["grown"].text == "16384"
    assert [len(steps[name].text.splitlines()) for name in ("one", "removed", "after")] == [1, 1, 0]
    assert "Session State: LOGGED_IN" in steps["reconnected"].text
    # The target's request to log out is heeded in time: only the connection that broke is an error.
    assert steps["dmesg"].text.count("detected conn error") == 1
    check_log(steps, BROKEN)


def check_log(steps: dict[str, Step], more: str = "$^") -> None:
    """The kernel has nothing to complain of, but what is meant to go wrong."""
    said = steps["dmesg"].text.partition("SCSI subsystem initialized")[2].splitlines()
    meant = re.compile(f"{HARMLESS.pattern}|{more}")
    assert [line for line in said if TROUBLE.search(line) and not meant.search(line)] == []

"""The files that a program sees, and where paths lead in them."""

from __future__ import annotations

import errno

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transports.devnode.machine import AttachedUnit, build_tree, character_devices
from transports.devnode.nodes import UnitAddress, is_node_family
from transports.devnode.paths import may_be_ours, resolve
from transports.devnode.request import Refused
from transports.devnode.stat_layout import FileStatus, directory_entries, stat_bytes, statx_bytes
from transports.devnode.tree import Directory, Link, Special, Text, Tree

INQUIRY = bytes.fromhex("000006025b000002") + b"SCSIEMU VIRTUAL DISK    0001"
LINKS = {"/tmp/node": "/dev/sg0", "/tmp/dev": "/dev", "/tmp/loop": "loop", "/bin": "usr/bin"}


def tree(*, merged: bool = True) -> Tree:
    """Two units of a machine that has /dev, /proc and /sys, but no SCSI."""
    units = [AttachedUnit(UnitAddress(0, 0, 0, lun, lun), INQUIRY, "scsiemu") for lun in range(2)]
    here = ("/", "/dev", "/proc", "/sys", "/sys/bus", "/sys/class", "/sys/devices")
    return build_tree(units, exists=lambda path: merged and path in here, devices="Character devices:\n  1 mem\n\n")


TREE = tree()


@pytest.mark.parametrize(("path", "base", "expected"), [
    ("/dev/sg0", "/", "/dev/sg0"),
    ("sg0", "/dev", "/dev/sg0"),
    ("../dev//./sg1", "/tmp", "/dev/sg1"),
    ("/dev/bsg/../sg0", "/", "/dev/sg0"),
    ("/tmp/node", "/", "/dev/sg0"),
    ("/tmp/dev/bsg/0:0:0:1", "/", "/dev/bsg/0:0:0:1"),
    ("/sys/class/scsi_generic/sg1/dev", "/",
     "/sys/devices/scsiemu/host0/target0:0:0/0:0:0:1/scsi_generic/sg1/dev"),
    ("/sys/bus/scsi/devices/0:0:0:0/generic/device/model", "/",
     "/sys/devices/scsiemu/host0/target0:0:0/0:0:0:0/model"),
    ("/../../dev/sg0", "/", "/dev/sg0"),
    ("/bin/ls", "/", "/usr/bin/ls"),
])
def test_paths_resolve(path: str, base: str, expected: str) -> None:
    """As path_resolution(7) says, over our files and the machine's links."""
    assert resolve(path, base=base, follow=True, tree=TREE, readlink=LINKS.get) == expected


def test_paths_last_link_is_kept() -> None:
    """Without `follow` a link at the end is the answer; with a slash behind it it is followed."""
    def lead(path: str) -> str:
        return resolve(path, base="/", follow=False, tree=TREE, readlink=LINKS.get)

    assert lead("/tmp/node") == "/tmp/node"
    assert lead("/sys/class/scsi_generic/sg0") == "/sys/class/scsi_generic/sg0"
    assert lead("/sys/class/scsi_generic/sg0/").startswith("/sys/devices")


def test_paths_loop() -> None:
    """Links in a circle are ELOOP."""
    with pytest.raises(Refused) as caught:
        resolve("/tmp/loop", base="/", follow=True, tree=TREE, readlink=LINKS.get)

    assert caught.value.number == errno.ELOOP


NAMES = st.sampled_from(
    ["dev", "sg0", "sg7", "bsg", "0:0:0:0", "..", ".", "", "tmp", "node", "sys", "class", "scsi_host", "x"]
)


@settings(max_examples=200)
@given(st.lists(NAMES, max_size=6))
def test_paths_quick_look_never_misses(names: list[str]) -> None:
    """A path that the quick look calls the machine's leads to no file of ours, and to no name that a node could have,
    but by a link at its end."""
    path = ("/" + "/".join(names)).rstrip("/")
    found = resolve(path, base="/", follow=False, tree=TREE, readlink=LINKS.get)
    entry = TREE.find(found)
    ours = (entry is not None and not (isinstance(entry, Directory) and entry.merged)) or is_node_family(found)

    assert not ours or may_be_ours(path, TREE)


def test_tree_has_no_dangling_link() -> None:
    """Every link leads to something, every entry lies in a directory, all device numbers in /sys are those of nodes."""
    numbers = set()
    for path in TREE.paths():
        entry = TREE.find(path)
        if isinstance(entry, Link):
            found = resolve(path, base="/", follow=True, tree=TREE, readlink=lambda path: None)
            assert TREE.find(found) is not None, f"{path} -> {entry.target} -> {found}"
        if isinstance(entry, Text) and path.endswith("/dev"):
            numbers.add(entry.content.decode().strip())
        assert path == "/" or isinstance(TREE.find(path.rpartition("/")[0] or "/"), Directory), path
    nodes = [entry.node for path in TREE.paths() if isinstance(entry := TREE.find(path), Special)]

    assert numbers == {f"{node.kind.major}:{node.minor}" for node in nodes}


def test_tree_devices_by_number() -> None:
    """/sys/dev has every device by its number; from a node that is how eject finds out whether its medium comes out."""
    for index, kind in enumerate((0x00, 0x01, 0x05)):
        unit = AttachedUnit(UnitAddress(0, 0, 0, index, index), bytes((kind,)) + INQUIRY[1:], "scsiemu")
        made = build_tree([unit], exists=lambda path: False, devices="")
        for path in made.paths():
            if not isinstance(entry := made.find(path), Special):
                continue
            node = entry.node
            table = "block" if node.kind.block else "char"
            place = f"/sys/dev/{table}/{node.kind.major}:{node.minor}"
            found = resolve(place, base="/", follow=True, tree=made, readlink=lambda path: None)

            assert made.find(f"{found}/dev") == Text(f"{node.kind.major}:{node.minor}\n".encode())


def test_tree_cdrom_info() -> None:
    """A column for each drive, the last one first: its speed in units of 177 kB/s, and what page 2Ah says it can."""
    pages = (bytes((0x2A, 0x12, 0x3F, 0x00, 0xF1, 0x40, 0x29, 3)) + (8467).to_bytes(2, "big"), b"")
    units = [
        AttachedUnit(UnitAddress(0, 0, 0, lun, lun), b"\x05\x80" + INQUIRY[2:], "scsiemu", mechanism=page)
        for lun, page in enumerate(pages)
    ]
    info = build_tree(units, exists=lambda path: False, devices="").find("/proc/sys/dev/cdrom/info")
    assert isinstance(info, Text)
    rows = dict(line.split(":", 1) for line in info.content.decode().splitlines() if ":" in line)

    assert {name: rows[name].split() for name in ("drive name", "drive speed", "Can read DVD", "Can write DVD-R")} == {
        "drive name": ["sr1", "sr0"], "drive speed": ["0", "47"], "Can read DVD": ["0", "1"],
        "Can write DVD-R": ["0", "0"],
    }


def test_tree_hides_other_nodes() -> None:
    """Nodes that we have not are not there, whatever the machine has; its other files are its own."""
    assert TREE.hides("/dev/sg7")
    assert TREE.hides("/dev/bsg/5:0:0:0")
    assert TREE.hides("/sys/class/scsi_generic/sg7/dev")
    assert not TREE.hides("/dev/sda")
    assert not TREE.hides("/dev/sgx")
    assert not TREE.hides("/sys/class/net")


def test_tree_without_sysfs() -> None:
    """Where the machine has no /sys, ours is the whole of it."""
    assert TREE.find("/sys/class") == Directory(merged=True)
    assert tree(merged=False).find("/sys/class") == Directory()


def test_proc_devices_has_our_majors() -> None:
    """Our drivers come behind the machine's character devices, in place of its own lines."""
    text = character_devices("Character devices:\n  1 mem\n 21 sg\n250 bsg\n\nBlock devices:\n  8 sd\n")

    assert text == "Character devices:\n  1 mem\n  9 st\n 21 sg\n248 bsg\n\nBlock devices:\n  8 sd\n 11 sr\n"


def test_stat_layouts() -> None:
    """Fields are where the kernel has them (offsets of struct stat and struct statx)."""
    status = FileStatus(0o20600, 77, 5, 6, 8, (21, 300), 2, 9)
    x86, arm, statx = stat_bytes(status, "x86_64"), stat_bytes(status, "aarch64"), statx_bytes(status)

    def number(raw: bytes, at: int, size: int = 4) -> int:
        return int.from_bytes(raw[at : at + size], "little")

    assert (len(x86), len(arm), len(statx)) == (144, 128, 256)
    assert (number(x86, 8, 8), number(x86, 16, 8), number(x86, 24), number(x86, 28), number(x86, 48)) == (
        77, 2, 0o20600, 5, 8)
    assert number(x86, 40, 8) == number(arm, 32, 8) == 300 & 0xFF | 21 << 8 | (300 & ~0xFF) << 12
    assert (number(arm, 16), number(arm, 20), number(arm, 24), number(arm, 48), number(arm, 88)) == (
        0o20600, 2, 5, 8, 9)
    assert (number(statx, 16), number(statx, 28, 2), number(statx, 32, 8), number(statx, 40, 8)) == (2, 0o20600, 77, 8)
    assert (number(statx, 64, 8), number(statx, 128), number(statx, 132)) == (9, 21, 300)


def test_directory_entries_room() -> None:
    """Only whole entries, each a multiple of eight bytes."""
    rows = [("a", 1, 0o040755), ("0:0:0:0", 2, 0o020600), ("x" * 40, 3, 0o100444)]
    data, count = directory_entries(rows, 60)

    assert count == 2
    assert (len(data), data[18], data[19:21], data[24 + 18]) == (24 + 32, 4, b"a\0", 2)

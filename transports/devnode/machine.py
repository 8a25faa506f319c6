"""What a machine with our units looks like: the entries of /dev, /sys and /proc that programs look for.

Paths and contents are those of Linux 6: /sys/class/scsi_generic, /sys/class/scsi_device, /sys/class/scsi_host,
/sys/class/bsg, /sys/class/scsi_tape, /sys/bus/scsi/devices, /sys/dev, /proc/devices, /proc/scsi/scsi and
/proc/scsi/sg. Optical drives alone have block devices: /sys/block, /sys/class/block, /proc/sys/dev/cdrom/info.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from scsiemu._value import value
from transports.devnode.nodes import KINDS, Node, UnitAddress, bsg_node, sg_node, sr_node, st_nodes
from transports.devnode.sg import SG_VERSION
from transports.devnode.st_statistics import NAMES
from transports.devnode.tree import Directory, Entry, Link, Reported, Special, Text, Tree

__all__ = ["AttachedUnit", "build_tree", "character_devices"]

_ROOT: Final = "/sys/devices/scsiemu"
_MERGED: Final = (
    "/", "/dev", "/proc", "/proc/scsi", "/proc/sys", "/proc/sys/dev", "/sys", "/sys/block", "/sys/bus", "/sys/class",
    "/sys/class/block", "/sys/dev", "/sys/dev/block", "/sys/dev/char", "/sys/devices",
)
_TAPE, _OPTICAL, _CHANGER = 0x01, 0x05, 0x08
# Lines of /proc/sys/dev/cdrom/info: byte and bits of the capabilities page (MMC).
_ABILITIES: Final = (
    ("close tray", 6, 0x20), ("open tray", 6, 0x08), ("lock tray", 6, 0x01), ("read multisession", 4, 0x40),
    ("read MCN", 5, 0x40), ("play audio", 4, 0x01), ("write CD-R", 3, 0x01), ("write CD-RW", 3, 0x02),
    ("read DVD", 2, 0x08), ("write DVD-R", 3, 0x10), ("write DVD-RAM", 3, 0x20),
)
_MODE_BITS: Final = 0x60                # of a tape node's minor number
# Of a tape drive that nobody has opened.
_TAPE_ATTRIBUTES: Final = {
    "options": "0x00000107", "default_blksize": "-1", "default_density": "-1", "default_compression": "-1",
    "position_lost_in_reset": "0",
}
_DEVICE_TYPES: Final = (
    "Direct-Access    ", "Sequential-Access", "Printer          ", "Processor        ", "WORM             ",
    "CD-ROM           ", "Scanner          ", "Optical Device   ", "Medium Changer   ", "Communications   ",
    "Unknown          ", "Unknown          ", "RAID             ", "Enclosure        ", "Direct-Access-RBC",
    "Optical card     ", "Bridge controller", "Object storage   ",
)


@value
class AttachedUnit:
    """A unit that has nodes.

    Args:
        inquiry: its standard INQUIRY data, at least 36 bytes.
        host_name: name of the "driver" of its host.
        pages: VPD pages by number, those of 80h and 83h that it has.
        mechanism: of an optical drive: mode page 2Ah, where it has one.
        sectors: of an optical drive: size of its disc, in 512 bytes.
    """

    address: UnitAddress
    inquiry: bytes
    host_name: str
    pages: tuple[tuple[int, bytes], ...] = ()
    mechanism: bytes = b""
    sectors: int = 0

    @property
    def device_type(self) -> int:
        """PERIPHERAL DEVICE TYPE."""
        return self.inquiry[0] & 0x1F


def build_tree(units: Sequence[AttachedUnit], *, exists: Callable[[str], bool], devices: str) -> Tree:
    """The files for these units.

    Args:
        units: /dev/sg0 is the first.
        exists: whether the machine has a directory.
        devices: its /proc/devices, empty for none.
    """
    entries: dict[str, Entry] = {}
    for path in _MERGED:
        entries[path] = Directory(merged=exists(path))
    for path in (
        "/dev/bsg", "/proc/scsi/sg", "/sys/bus/scsi", "/sys/bus/scsi/devices", "/sys/bus/scsi/drivers",
        "/sys/class/bsg", "/sys/class/scsi_device", "/sys/class/scsi_generic", "/sys/class/scsi_host", _ROOT,
    ):
        entries[path] = Directory()
    hosts: dict[int, AttachedUnit] = {}
    tapes = optical = 0
    for index, unit in enumerate(units):
        hosts.setdefault(unit.address.host, unit)
        place = _add_unit(entries, index, unit)
        if unit.device_type == _TAPE:
            _add_tape(entries, place, st_nodes(index, tapes, unit.address, unit.device_type))
            tapes += 1
        elif unit.device_type == _OPTICAL:
            node = sr_node(index, optical, unit.address, unit.device_type)
            _add_optical(entries, place, node, unit.sectors)
            optical += 1
        elif unit.device_type == _CHANGER:
            entries.setdefault("/dev/changer", Link(f"sg{index}"))
    if optical:
        entries["/proc/sys/dev/cdrom"] = Directory()
        drives = [unit for unit in units if unit.device_type == _OPTICAL]
        entries["/proc/sys/dev/cdrom/info"] = Text(_cdrom_info(drives).encode())
    for number, unit in hosts.items():
        _add_host(entries, number, unit)
    entries["/proc/devices"] = Text(character_devices(devices).encode())
    entries["/proc/scsi/scsi"] = Text(_proc_scsi(units).encode())
    for name, text in _proc_sg(units).items():
        entries[f"/proc/scsi/sg/{name}"] = Text(text.encode())
    return Tree(entries)


def character_devices(devices: str) -> str:
    """A /proc/devices in which our drivers are, those of block devices, too."""
    lines = devices.splitlines() or ["Character devices:", "", "Block devices:"]
    names = {kind.name: kind for kind in KINDS.values() if not kind.block}
    kept = [line for line in lines if line.split()[1:] not in [[name] for name in names]]
    at = kept.index("") if "" in kept else len(kept)
    ours = [f"{kind.major:3d} {kind.name}" for kind in names.values()]
    blocks = [f"{kind.major:3d} {kind.name}" for kind in KINDS.values() if kind.block]
    rest = [line for line in kept[at:] if line not in blocks]
    return "\n".join((*kept[:at], *ours, *rest, *blocks)) + "\n"


def _add_tape(entries: dict[str, Entry], place: str, nodes: Sequence[Node]) -> None:
    """The nodes of a tape drive, and /sys/class/scsi_tape."""
    entries.setdefault("/sys/class/scsi_tape", Directory())
    for node in nodes:
        entries[node.path] = Special(node)
        name = node.path.rpartition("/")[2]
        _add_class(entries, place, "scsi_tape", name, f"{node.kind.major}:{node.minor}\n")
        mode_0 = not node.minor & _MODE_BITS
        entries[f"{place}/scsi_tape/{name}/defined"] = Reported(node, "defined", b"%d\n" % mode_0)
        for attribute, text in _TAPE_ATTRIBUTES.items():
            entries[f"{place}/scsi_tape/{name}/{attribute}"] = Reported(node, attribute, f"{text}\n".encode())
        entries[f"{place}/scsi_tape/{name}/stats"] = Directory()
        for statistic in NAMES:
            entries[f"{place}/scsi_tape/{name}/stats/{statistic}"] = Reported(node, statistic, b"0\n")
    entries[f"{place}/tape"] = Link(f"scsi_tape/{nodes[0].path.rpartition('/')[2]}")
    entries[f"{place}/driver"] = Link("/sys/bus/scsi/drivers/st")
    entries["/sys/bus/scsi/drivers/st"] = Directory()


def _add_optical(entries: dict[str, Entry], place: str, node: Node, sectors: int) -> None:
    """The node of an optical drive, and its block device in /sys."""
    name = node.path.rpartition("/")[2]
    entries[node.path] = Special(node)
    entries[f"/dev/scd{node.minor}"] = Link(name)
    entries.setdefault("/dev/cdrom", Link(name))
    _add_class(entries, place, "block", name, f"{node.kind.major}:{node.minor}\n")
    for attribute, text in {"ro": "0", "removable": "1", "range": "1", "capability": "119"}.items():
        entries[f"{place}/block/{name}/{attribute}"] = Text(f"{text}\n".encode())
    entries[f"{place}/block/{name}/size"] = Reported(node, "size", f"{sectors}\n".encode())
    entries[f"/sys/block/{name}"] = Link(f"..{place.removeprefix('/sys')}/block/{name}")
    entries[f"{place}/driver"] = Link("/sys/bus/scsi/drivers/sr")
    entries["/sys/bus/scsi/drivers/sr"] = Directory()


def _cdrom_info(drives: Sequence[AttachedUnit]) -> str:
    """/proc/sys/dev/cdrom/info: a column for each drive, the last one first; what they can is said by page 2Ah."""
    columns = [unit.mechanism.ljust(10, b"\0") for unit in reversed(drives)]
    names = "\t".join(f"sr{number}" for number in reversed(range(len(drives))))
    lines = ["CD-ROM information, Id: cdrom.c 3.20 2003/12/17", "", f"drive name:\t\t{names}"]
    # In units of 177 kB/s, as Linux divides.
    lines.append("drive speed:\t\t" + "\t".join(str(int.from_bytes(page[8:10], "big") // 177) for page in columns))
    lines.append("drive # of slots:\t" + "\t".join("1" for _ in columns))
    for name, at, bits in _ABILITIES:
        lines.append(f"Can {name}:\t\t" + "\t".join(str(int(bool(page[at] & bits))) for page in columns))
    return "\n".join(lines) + "\n\n\n"


def _add_unit(entries: dict[str, Entry], index: int, unit: AttachedUnit) -> str:
    """A unit of any type; its directory in /sys."""
    address = unit.address
    target = f"target{address.host}:{address.channel}:{address.target}"
    host_place = f"{_ROOT}/host{address.host}"
    place = f"{host_place}/{target}/{address}"
    generic = sg_node(index, address, unit.device_type)
    bsg = bsg_node(index, address, unit.device_type)
    entries[generic.path] = Special(generic)
    entries[bsg.path] = Special(bsg)
    entries[host_place] = Directory()
    entries[f"{host_place}/{target}"] = Directory()
    entries[place] = Directory()
    inquiry = unit.inquiry
    attributes = {
        "type": f"{unit.device_type}\n",
        "vendor": f"{_text(inquiry[8:16])}\n", "model": f"{_text(inquiry[16:32])}\n",
        "rev": f"{_text(inquiry[32:36])}\n",
        "scsi_level": f"{_level(inquiry)}\n", "state": "running\n", "queue_depth": "32\n", "queue_type": "simple\n",
        "timeout": "30\n", "device_blocked": "0\n", "device_busy": "0\n", "iocounterbits": "32\n",
        "uevent": "DEVTYPE=scsi_device\n",
    }
    for name, text in attributes.items():
        entries[f"{place}/{name}"] = Text(text.encode())
    entries[f"{place}/inquiry"] = Text(inquiry)
    for page, data in unit.pages:
        entries[f"{place}/vpd_pg{page:02x}"] = Text(data)
    entries[f"{place}/generic"] = Link(f"scsi_generic/sg{index}")
    entries[f"{place}/subsystem"] = Link("/sys/bus/scsi")
    _add_class(entries, place, "scsi_generic", f"sg{index}", f"{generic.kind.major}:{generic.minor}\n")
    _add_class(entries, place, "bsg", str(address), f"{bsg.kind.major}:{bsg.minor}\n")
    _add_class(entries, place, "scsi_device", str(address), None)
    entries[f"/sys/bus/scsi/devices/{address}"] = Link(f"../../../..{place}")
    entries[f"/sys/bus/scsi/devices/{target}"] = Link(f"../../../..{host_place}/{target}")
    entries[f"/sys/bus/scsi/devices/host{address.host}"] = Link(f"../../../..{host_place}")
    return place


def _add_class(entries: dict[str, Entry], place: str, kind: str, name: str, numbers: str | None) -> None:
    """A class device below a SCSI device, and the link to it in /sys/class."""
    folder = f"{place}/{kind}"
    entries[folder] = Directory()
    entries[f"{folder}/{name}"] = Directory()
    entries[f"{folder}/{name}/device"] = Link(f"../../../{place.rpartition('/')[2]}")
    entries[f"{folder}/{name}/subsystem"] = Link(f"/sys/class/{kind}")
    if numbers is not None:
        major, minor = numbers.strip().split(":")
        device = f"bsg/{name}" if kind == "bsg" else name
        entries[f"{folder}/{name}/dev"] = Text(numbers.encode())
        entries[f"{folder}/{name}/uevent"] = Text(f"MAJOR={major}\nMINOR={minor}\nDEVNAME={device}\n".encode())
        table = "block" if kind == "block" else "char"
        entries[f"/sys/dev/{table}/{major}:{minor}"] = Link(f"../..{folder.removeprefix('/sys')}/{name}")
    entries[f"/sys/class/{kind}/{name}"] = Link(f"../../..{folder}/{name}")


def _add_host(entries: dict[str, Entry], number: int, unit: AttachedUnit) -> None:
    place = f"{_ROOT}/host{number}"
    folder = f"{place}/scsi_host"
    entries[folder] = Directory()
    entries[f"{folder}/host{number}"] = Directory()
    entries[f"{folder}/host{number}/device"] = Link(f"../../../host{number}")
    for name, text in {
        "proc_name": unit.host_name, "unique_id": str(number), "host_busy": "0", "cmd_per_lun": "32", "can_queue": "32",
        "sg_tablesize": "128", "state": "running", "active_mode": "Initiator", "supported_mode": "Initiator",
    }.items():
        entries[f"{folder}/host{number}/{name}"] = Text(f"{text}\n".encode())
    entries[f"/sys/class/scsi_host/host{number}"] = Link(f"../../..{folder}/host{number}")


def _proc_scsi(units: Sequence[AttachedUnit]) -> str:
    lines = ["Attached devices:"]
    for unit in units:
        address, inquiry = unit.address, unit.inquiry
        lines.append(
            f"Host: scsi{address.host} Channel: {address.channel:02d} Id: {address.target:02d} Lun: {address.lun:02d}"
        )
        lines.append(f"  Vendor: {_text(inquiry[8:16])} Model: {_text(inquiry[16:32])} Rev: {_text(inquiry[32:36])}")
        kind = _DEVICE_TYPES[unit.device_type] if unit.device_type < len(_DEVICE_TYPES) else "Unknown          "
        lines.append(f"  Type:   {kind}                ANSI  SCSI revision: {inquiry[2]:02x}")
    return "\n".join(lines) + "\n"


def _proc_sg(units: Sequence[AttachedUnit]) -> dict[str, str]:
    rows = [
        f"{unit.address.host}\t{unit.address.channel}\t{unit.address.target}\t{unit.address.lun}\t"
        f"{unit.device_type}\t1\t32\t0\t1\n"
        for unit in units
    ]
    names = [
        "\t".join((_text(unit.inquiry[8:16]), _text(unit.inquiry[16:32]), _text(unit.inquiry[32:36]))) + "\n"
        for unit in units
    ]
    return {
        "allow_dio": "0\n", "def_reserved_size": "32768\n", "device_hdr":
        "host\tchan\tid\tlun\ttype\topens\tqdepth\tbusy\tonline\n", "devices": "".join(rows),
        "device_strs": "".join(names), "version": f"{SG_VERSION}\t3.5.36 [20140603]\n",
    }


def _text(raw: bytes) -> str:
    """A field of INQUIRY as Linux shows it: what is not printable is a space."""
    return "".join(chr(byte) if 0x20 <= byte < 0x7F else " " for byte in raw)


def _level(inquiry: bytes) -> int:
    """scsi_level of Linux: one more than VERSION where that is at least 2."""
    version = inquiry[2] & 0x07
    return version + 1 if version >= 2 else version

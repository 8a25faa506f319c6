"""Device nodes: which kinds there are, which paths belong to each, what stat(2) says of one.

The table `KINDS` says of each kind the family of paths that are its own, its major number, and whether it is a block
device. What a file of it does is in the driver of that name (`DRIVERS` of supervisor.py), or in sg.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from scsiemu._value import value

__all__ = [
    "KINDS", "Node", "NodeKind", "UnitAddress", "bsg_node", "is_node_family", "is_node_name", "sg_node",
    "sr_node", "st_nodes",
]

_ST_MAJOR: Final = 9
_SR_MAJOR: Final = 11
_SG_MAJOR: Final = 21
_BSG_MAJOR: Final = 248             # of the range for dynamic numbers; /proc/devices says it


@value
class UnitAddress:
    """H:C:T:L of a unit, and the same LUN as its host takes it.

    Args:
        lun: plain number, for people.
        unit: what `Host.start` is told.
    """

    host: int
    channel: int
    target: int
    lun: int
    unit: int

    def __str__(self) -> str:
        return f"{self.host}:{self.channel}:{self.target}:{self.lun}"


@value
class NodeKind:
    """A kind of node.

    Args:
        name: what /proc/devices calls it.
        major: major number.
        block: a block device; else a character device.
        family: matches every path that a node of this kind can have: the host's own are hidden there.
        directory: where nodes are, absolute.
    """

    name: str
    major: int
    block: bool
    family: re.Pattern[str]
    directory: str


@value
class Node:
    """A node.

    Args:
        path: absolute.
        minor: minor number.
        index: of its unit in the machine.
    """

    kind: NodeKind
    path: str
    minor: int
    address: UnitAddress
    device_type: int
    index: int

    @property
    def mode(self) -> int:
        """File type and permissions: the owner alone, who is the user."""
        return (0o060000 if self.kind.block else 0o020000) | 0o600


KINDS: Final[dict[str, NodeKind]] = {
    "st": NodeKind("st", _ST_MAJOR, False, re.compile(r"/dev/n?st[0-9]+[lma]?"), "/dev"),
    "sr": NodeKind("sr", _SR_MAJOR, True, re.compile(r"/dev/(?:sr|scd)[0-9]+"), "/dev"),
    "sg": NodeKind("sg", _SG_MAJOR, False, re.compile(r"/dev/sg[0-9]+"), "/dev"),
    "bsg": NodeKind("bsg", _BSG_MAJOR, False, re.compile(r"/dev/bsg/[0-9]+:[0-9]+:[0-9]+:[0-9]+"), "/dev/bsg"),
}

# Last components of node paths of the directory /dev.
_NAME: Final = re.compile(
    "|".join(kind.family.pattern.rpartition("/")[2] for kind in KINDS.values() if kind.directory == "/dev")
)
_FAMILY: Final = re.compile("|".join(kind.family.pattern for kind in KINDS.values()))
_in_family: Final[Callable[[str], object]] = _FAMILY.fullmatch


def is_node_family(path: str) -> bool:
    """Whether a path could be that of a node of ours, were there more of them."""
    return _in_family(path) is not None


def is_node_name(name: str) -> bool:                                                              # hot
    """Whether a node of /dev could be called that."""
    return _NAME.fullmatch(name) is not None


def st_nodes(index: int, number: int, address: UnitAddress, device_type: int) -> tuple[Node, ...]:
    """/dev/stN, /dev/nstN, and those of modes 1 to 3 (l, m, a).

    Args:
        number: of the tape among tapes; `index` is that of its unit.
    """
    high, low = number & ~0x1F, number & 0x1F
    return tuple(
        Node(KINDS["st"], f"/dev/{prefix}st{number}{suffix}", high << 3 | low | mode << 5 | stays, address,
             device_type, index)
        for stays, prefix in ((0, ""), (0x80, "n")) for mode, suffix in enumerate(("", "l", "m", "a"))
    )


def sr_node(index: int, number: int, address: UnitAddress, device_type: int) -> Node:
    """/dev/srN. Args as of `st_nodes`."""
    return Node(KINDS["sr"], f"/dev/sr{number}", number, address, device_type, index)


def sg_node(index: int, address: UnitAddress, device_type: int) -> Node:
    """/dev/sgN."""
    return Node(KINDS["sg"], f"/dev/sg{index}", index, address, device_type, index)


def bsg_node(index: int, address: UnitAddress, device_type: int) -> Node:
    """/dev/bsg/H:C:T:L."""
    return Node(KINDS["bsg"], f"/dev/bsg/{address}", index, address, device_type, index)

"""Device nodes: which kinds there are, which paths belong to each, what stat(2) says of one.

The table `KINDS` is the seam for tapes and optical drives: a kind names the family of paths that are its own, its
major number, and whether it is a block device. What a file of it does is chosen by the kind's name (`files.py`).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from scsiemu._value import value

__all__ = ["KINDS", "Node", "NodeKind", "UnitAddress", "bsg_node", "is_node_family", "sg_node"]

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
    "sg": NodeKind("sg", _SG_MAJOR, False, re.compile(r"/dev/sg[0-9]+"), "/dev"),
    "bsg": NodeKind("bsg", _BSG_MAJOR, False, re.compile(r"/dev/bsg/[0-9]+:[0-9]+:[0-9]+:[0-9]+"), "/dev/bsg"),
}

_FAMILY: Final = re.compile("|".join(kind.family.pattern for kind in KINDS.values()))
_in_family: Final[Callable[[str], object]] = _FAMILY.fullmatch


def is_node_family(path: str) -> bool:
    """Whether a path could be that of a node of ours, were there more of them."""
    return _in_family(path) is not None


def sg_node(index: int, address: UnitAddress, device_type: int) -> Node:
    """/dev/sgN."""
    return Node(KINDS["sg"], f"/dev/sg{index}", index, address, device_type, index)


def bsg_node(index: int, address: UnitAddress, device_type: int) -> Node:
    """/dev/bsg/H:C:T:L."""
    return Node(KINDS["bsg"], f"/dev/bsg/{address}", index, address, device_type, index)

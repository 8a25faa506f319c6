"""The files that a program sees beside those of the machine: /dev nodes, and what /sys and /proc say of SCSI.

A dictionary of absolute paths without symbolic links. A *merged* directory is one of the machine in which there is
more; all others are wholly ours, and hide what the machine may have there. What it looks like for given units is in
machine.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeAlias

from scsiemu._value import value
from transports.devnode.nodes import Node, is_node_family

__all__ = ["Directory", "Entry", "Link", "Reported", "Special", "Text", "Tree", "entry_mode"]

_DIRECTORY_MODE: Final = 0o040755
_LINK_MODE: Final = 0o120777
_FILE_MODE: Final = 0o100444


@value
class Directory:
    """A directory. Merged: it is there anyway, we add to it."""

    merged: bool = False


@value
class Text:
    """A file that can be read."""

    content: bytes


@value
class Reported:
    """A file that can be read, and tells of a drive's state at the time.

    Args:
        node: of the drive; its driver has the attribute.
        otherwise: what is said before the driver has been used.
    """

    node: Node
    attribute: str
    otherwise: bytes


@value
class Link:
    """A symbolic link."""

    target: str


@value
class Special:
    """A device node."""

    node: Node


Entry: TypeAlias = Directory | Text | Reported | Link | Special


def entry_mode(entry: Entry) -> int:
    """st_mode."""
    if isinstance(entry, Special):
        return entry.node.mode
    if isinstance(entry, Directory):
        return _DIRECTORY_MODE
    return _LINK_MODE if isinstance(entry, Link) else _FILE_MODE


class Tree:
    """The files by path.

    Attributes:
        names: the last components of all paths that are not merged directories: a path that ends otherwise can only
            be one of ours by way of a symbolic link.
        inodes: a number for each path.
    """

    def __init__(self, entries: Mapping[str, Entry]) -> None:
        self._entries = dict(entries)
        self.names = frozenset(
            path.rpartition("/")[2] for path, entry in self._entries.items()
            if not (isinstance(entry, Directory) and entry.merged)
        )
        self.inodes = {path: 0x5C5100000 + number for number, path in enumerate(sorted(self._entries), 1)}
        self._children: dict[str, dict[str, Entry]] = {
            path: {} for path, entry in self._entries.items() if isinstance(entry, Directory)
        }
        for path, entry in self._entries.items():
            parent, _, name = path.rpartition("/")
            if name:
                self._children[parent or "/"][name] = entry

    def find(self, path: str) -> Entry | None:
        """What is at a path without symbolic links; None for what is the machine's."""
        return self._entries.get(path)

    def children(self, path: str) -> Mapping[str, Entry]:
        """What is in a directory, without what a merged one has of the machine."""
        return self._children.get(path, {})

    def hides(self, path: str) -> bool:
        """Whether nothing is at a path although the machine may have something there."""
        if path in self._entries:
            return False
        if is_node_family(path):
            return True
        parent = path.rpartition("/")[0]
        while parent:
            entry = self._entries.get(parent)
            if entry is not None:
                return not (isinstance(entry, Directory) and entry.merged)
            parent = parent.rpartition("/")[0]
        return False

    def paths(self) -> tuple[str, ...]:
        """All paths, sorted."""
        return tuple(sorted(self._entries))

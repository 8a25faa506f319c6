"""Whether a path that a program names is one of ours: path resolution (path_resolution(7)) over our tree.

What the machine has in the way is asked for by a function; only symbolic links matter, as ours are the ends.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Final, TypeAlias

from transports.devnode.nodes import is_node_name
from transports.devnode.request import Refused
from transports.devnode.tree import Link, Tree

__all__ = ["LONGEST_PATH", "ReadLink", "may_be_ours", "resolve"]

LONGEST_PATH: Final = 4096              # PATH_MAX, with the null
_MOST_LINKS: Final = 40

# The target of a symbolic link of the machine, None for what is none.
ReadLink: TypeAlias = Callable[[str], str | None]

_DOTS: Final = frozenset(("", ".", ".."))


def may_be_ours(path: str, tree: Tree) -> bool:                                                  # hot
    """Whether a path could be ours without a symbolic link at its end: cheap, and never wrong with no.

    But for names that neither we nor any node have, in a directory of ours that a link within the path leads to.
    """
    name = path.rstrip("/").rpartition("/")[2]
    if name in tree.names or name in _DOTS or is_node_name(name):
        return True
    # In directories that are wholly ours nothing is the machine's.
    return "scsi" in path or "bsg" in path or name.count(":") == 3


def resolve(path: str, *, base: str, follow: bool, tree: Tree, readlink: ReadLink) -> str:
    """The absolute path without symbolic links (but for the last component, unless `follow`).

    Args:
        base: absolute, without symbolic links: what a relative path starts from.

    Raises Refused: too many links.
    """
    done = [] if path.startswith("/") else base.strip("/").split("/")
    done = [name for name in done if name]
    pending = path.split("/")[::-1]
    links = 0
    while pending:
        name = pending.pop()
        if not name or name == ".":
            continue
        if name == "..":
            if done:
                done.pop()
            continue
        here = "/" + "/".join((*done, name))
        if follow or pending:
            entry = tree.find(here)
            if entry is None:
                target = readlink(here)
            else:
                target = entry.target if isinstance(entry, Link) else None
            if target is not None:
                links += 1
                if links > _MOST_LINKS:
                    raise Refused(errno.ELOOP)
                if target.startswith("/"):
                    done = []
                pending += target.split("/")[::-1]
                continue
        done.append(name)
    return "/" + "/".join(done)

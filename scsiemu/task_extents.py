"""The blocks that commands touch, so that one can be asked for that overlaps another without a look at all of them.

Commands are kept by granules of 256 blocks that they reach into, readers and writers apart, in order of arrival. Those
that reach into many granules are few, and kept apart. So the cost depends on how many commands are at the same place,
not on how many there are.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from typing import Final, TypeAlias

from scsiemu.command import Command

__all__ = ["TaskExtents"]

_SHIFT: Final = 8               # a granule is 2**8 blocks
_WIDE: Final = 32               # a command that reaches into more granules is kept apart

_Group: TypeAlias = "OrderedDict[Command, None]"


class TaskExtents:
    """The extents of commands in a task set. Commands come in order of `arrival`."""

    __slots__ = ("_granules", "_wide", "_writers")

    def __init__(self) -> None:
        # By granule and by whether they write; the wide ones likewise.
        self._granules: tuple[dict[int, _Group], dict[int, _Group]] = ({}, {})
        self._wide: tuple[_Group, _Group] = (OrderedDict(), OrderedDict())
        self._writers = 0

    def add(self, command: Command, extent: tuple[int, int, bool]) -> None:
        """A command has come that touches [first, end), and writes or does not."""
        first, end, writes = extent
        self._writers += writes
        granules = _granules(first, end)
        if granules is None:
            self._wide[writes][command] = None
            return
        groups = self._granules[writes]
        for granule in granules:
            group = groups.get(granule)
            if group is None:
                groups[granule] = group = OrderedDict()
            group[command] = None

    def remove(self, command: Command, extent: tuple[int, int, bool]) -> None:
        """It has ended."""
        first, end, writes = extent
        self._writers -= writes
        granules = _granules(first, end)
        if granules is None:
            del self._wide[writes][command]
            return
        groups = self._granules[writes]
        for granule in granules:
            group = groups[granule]
            del group[command]
            if not group:
                del groups[granule]

    def conflict(self, command: Command, extent: tuple[int, int, bool], *, newest: bool) -> Command | None:
        """A command that came before this one, touches a block of it, where one of the two writes.

        Args:
            newest: look at the newest first; only for the newest command of all. Else at the oldest.
        """
        first, end, writes = extent
        if not (writes or self._writers):
            return None
        for group in self._groups_at(first, end, writes):
            for other in reversed(group) if newest else group:
                if other.arrival >= command.arrival:
                    if newest:
                        continue
                    break
                theirs = other.extent
                if theirs is not None and theirs[0] < end and first < theirs[1]:
                    return other
        return None

    def _groups_at(self, first: int, end: int, writes: bool) -> Iterator[_Group]:
        """Where those may be that conflict."""
        granules = _granules(first, end)
        for kind in (True, False) if writes else (True,):
            yield self._wide[kind]
            groups = self._granules[kind]
            if granules is None:
                yield from groups.values()
            else:
                for granule in granules:
                    if granule in groups:
                        yield groups[granule]


def _granules(first: int, end: int) -> Iterable[int] | None:
    """The granules of an extent; None where they are many."""
    low, high = first >> _SHIFT, end - 1 >> _SHIFT
    return range(low, high + 1) if high - low < _WIDE else None

"""Defect management of DVD-RAM and BD: clusters that cannot be written are replaced by spare ones (MMC-6 4.4, 4.5).

A cluster is an ECC block. Spare clusters are what a format leaves of the disc, and on DVD-RAM the primary spare area
before them, which is always there. A cluster is replaced as a whole, when it cannot be written, or not be read again by
WRITE AND VERIFY; pseudo-overwrite of a BD-R takes of them, too. Nothing is certified: a format forgets the
replacements, unless it is told to keep the list.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from devtypes.vmmc.disc import Asking, Disc, Track
from scsiemu import asc
from scsiemu.command import Buffer
from scsiemu.errors import IoFailed, IoFault
from scsiemu.io_requests import Read, Write
from scsiemu.sense import CheckCondition

__all__ = [
    "defective", "is_managed", "pieces", "spare_clusters", "spares_left", "store_managed", "supplementary_clusters",
    "verify_managed",
]

_BLOCK: Final = 2048
_MANAGED: Final = ("dvd-ram", "bd-re", "bd-r")


def supplementary_clusters(disc: Disc) -> int:
    """Spare clusters that the format has left."""
    return (disc.whole - disc.capacity) // disc.kind.blocks


def spare_clusters(disc: Disc) -> int:
    """All spare clusters."""
    return disc.primary + supplementary_clusters(disc)


def spares_left(disc: Disc) -> int:
    """Spare clusters that nothing has taken."""
    return spare_clusters(disc) - disc.spares_used


def is_managed(disc: Disc) -> bool:
    """Whether what cannot be written is replaced."""
    return disc.formatted and disc.kind.name in _MANAGED and spare_clusters(disc) > 0


def pieces(disc: Disc, lba: int, count: int) -> Iterator[tuple[int, int]]:
    """Runs of blocks as they are kept: where, how many."""
    if not disc.replaced:
        yield lba, count
        return
    step = disc.kind.blocks
    while count:
        cluster, within = divmod(lba, step)
        spare = disc.replaced.get(cluster)
        some = min(count, step - within)
        if spare is not None:
            yield _spare_lba(disc, spare) + within, some
        else:
            while some < count and (lba + some) // step not in disc.replaced:
                some = min(count, some + step)
            yield lba, some
        lba += some
        count -= some


def defective(disc: Disc) -> list[int]:
    """Addresses of the clusters that are replaced, in order."""
    return [cluster * disc.kind.blocks for cluster in sorted(disc.replaced)]


def store_managed(disc: Disc, track: Track, lba: int, data: Buffer) -> Asking[None]:
    """Blocks go to the store, or to spare clusters. Raises CheckCondition, IoFailed."""
    view = memoryview(data)
    done = 0
    for at, count in pieces(disc, lba, len(view) // _BLOCK):
        piece = view[done * _BLOCK : (done + count) * _BLOCK]
        try:
            yield from Write(track.place(at), len(piece), piece)
        except IoFailed as failure:
            if failure.fault != IoFault.MEDIUM:
                raise
            yield from _by_clusters(disc, track, lba + done, piece)
        done += count


def verify_managed(disc: Disc, track: Track, lba: int, data: Buffer) -> Asking[None]:
    """Blocks that were just written are read; what cannot be goes to spare clusters.

    Raises CheckCondition, IoFailed.
    """
    view = memoryview(data)
    step = disc.kind.blocks
    while view:
        count = min(len(view) // _BLOCK, step - lba % step)
        ((at, _),) = pieces(disc, lba, count)
        try:
            yield from Read(track.place(at), count * _BLOCK)
        except IoFailed as failure:
            if failure.fault != IoFault.MEDIUM:
                raise
            yield from _replace(disc, track, lba, view[: count * _BLOCK])
        view = view[count * _BLOCK :]
        lba += count


def _by_clusters(disc: Disc, track: Track, lba: int, data: memoryview) -> Asking[None]:
    """Somewhere in these blocks is a cluster that cannot be written: find and replace it."""
    step = disc.kind.blocks
    while data:
        count = min(len(data) // _BLOCK, step - lba % step)
        part, data = data[: count * _BLOCK], data[count * _BLOCK :]
        ((at, _),) = pieces(disc, lba, count)
        try:
            yield from Write(track.place(at), len(part), part)
        except IoFailed as failure:
            if failure.fault != IoFault.MEDIUM:
                raise
            yield from _replace(disc, track, lba, part)
        lba += count


def _replace(disc: Disc, track: Track, lba: int, part: memoryview) -> Asking[None]:
    """A spare cluster takes the place of the one that these blocks are in: with the others that it has."""
    step = disc.kind.blocks
    cluster, within = divmod(lba, step)
    after = within + len(part) // _BLOCK
    ((begin, _),) = pieces(disc, cluster * step, step)
    content = bytearray(step * _BLOCK)
    content[within * _BLOCK : after * _BLOCK] = part
    for first, last in ((0, within), (after, step)):
        if first < last:
            size = (last - first) * _BLOCK
            content[first * _BLOCK : last * _BLOCK] = yield from Read(track.place(begin + first), size)
    while disc.spares_used < spare_clusters(disc):
        spare = disc.spares_used
        disc.spares_used += 1
        try:
            yield from Write(track.place(_spare_lba(disc, spare)), len(content), content)
        except IoFailed as failure:             # it is defective itself
            if failure.fault != IoFault.MEDIUM:
                raise
        else:
            disc.replaced[cluster] = spare
            return
    raise CheckCondition(asc.NO_DEFECT_SPARE_LOCATION_AVAILABLE)


def _spare_lba(disc: Disc, spare: int) -> int:
    """Where a spare cluster begins, as an address behind those that there are."""
    step = disc.kind.blocks
    if spare < disc.primary:
        return disc.whole + spare * step
    return disc.capacity + (spare - disc.primary) * step

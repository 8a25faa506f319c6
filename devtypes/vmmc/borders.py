"""Restricted overwrite: what a formatted DVD-RW or CD-RW is made of, and how FORMAT UNIT changes it (MMC-5 6.5.4.2).

A formatted DVD-RW has borders (sessions) of one track each, which are written anywhere, whole ECC blocks at a time. The
last border may be in the intermediate state: it has no lead-out yet, and grows when it is written at its end. CLOSE
SESSION ends that. Which format types a medium takes depends on its state:

    state          types                    what they do
    sequential     00 10 15                 all of the disc becomes one border; 15: in the intermediate state
    complete       00 10 15 11 13 12 14     as above; 11, 13: the last border grows; 12, 14: a further one
    intermediate   00 10 15                 as above

11h and 12h leave the last border complete, 13h and 14h in the intermediate state. A CD-RW has one session of fixed
packets: 10h makes it, 11h makes it grow where it was made smaller than it can be. Link blocks of fixed packets have no
addresses, but need room: 7 blocks for each packet (`packets`).
"""

from __future__ import annotations

from typing import Final

from devtypes.vmmc.disc import Disc, Session, Track
from devtypes.vmmc.disc_format import native_track
from devtypes.vmmc.packets import fitting
from scsiemu import asc
from scsiemu.sense import CheckCondition

__all__ = [
    "ADD", "BORDER_GAP", "FULL", "GROW", "PACKETS", "QUICK", "QUICK_ADD", "QUICK_GROW", "add_border", "border_formats",
    "close_border", "extend", "grow_border", "open_border", "reopen", "restricted", "restricted_place", "room_after",
]

# Format types (MMC-5 6.5.4.2.5 to 6.5.4.2.10).
FULL: Final = 0x10
GROW: Final = 0x11
ADD: Final = 0x12
QUICK_GROW: Final = 0x13
QUICK_ADD: Final = 0x14
QUICK: Final = 0x15

PACKETS: Final = {"cd-rw": 32, "dvd-rw": 16}        # blocks of a packet, of what is written so once formatted
BORDER_GAP: Final = 28672                           # border-out and border-in, in blocks
_BLOCK: Final = 2048


def restricted(disc: Disc) -> bool:
    """Whether it is formatted, and written in whole packets."""
    return disc.random and disc.kind.name in PACKETS


def open_border(disc: Disc) -> Track | None:
    """The track of the border that is in the intermediate state."""
    if restricted(disc) and not disc.tracks[-1].complete:
        return disc.tracks[-1]
    return None


def border_formats(disc: Disc) -> tuple[tuple[int, int, int], ...]:
    """Format types that a CD-RW or DVD-RW takes now: type, blocks at most, type dependent parameter."""
    packet = PACKETS[disc.kind.name]
    if disc.kind.is_cd:
        most = fitting(disc.whole, packet)
        rows = [(FULL, most, packet)]
        if disc.random:
            rows.append((GROW, most - disc.tracks[-1].end, packet))
        return tuple(rows)
    whole = disc.whole - disc.whole % packet
    rows = [(0x00, whole, _BLOCK), (FULL, whole, packet), (QUICK, whole, packet)]
    if disc.random and open_border(disc) is None:
        more = whole - disc.tracks[-1].end
        rows += [(GROW, more, packet), (QUICK_GROW, more, packet)]
        if (following := room_after(disc)) > 0:
            rows += [(ADD, following, packet), (QUICK_ADD, following, packet)]
    return tuple(sorted(rows))


def room_after(disc: Disc) -> int:
    """Blocks that a further border could have."""
    return disc.whole - disc.whole % PACKETS[disc.kind.name] - _next_border(disc)


def _next_border(disc: Disc) -> int:
    end = disc.tracks[-1].end + BORDER_GAP
    return end + -end % disc.kind.blocks


def restricted_place(disc: Disc, lba: int, count: int) -> Track:
    """The track that blocks go to. Raises CheckCondition.

    Anywhere in a border; one in the intermediate state grows where it is written up to its end and past it.
    """
    growing = open_border(disc)
    if lba < 0 or lba + count > (disc.whole if growing is not None else disc.tracks[-1].end):
        raise CheckCondition(asc.LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE, field="lba")
    packet = PACKETS[disc.kind.name]
    if lba % packet or count % packet:
        raise CheckCondition(asc.INVALID_PACKET_SIZE)
    for track in disc.tracks:
        if track is growing and track.start <= lba <= track.next:
            return track
        if track.start <= lba and lba + count <= track.end:
            return track
    raise CheckCondition(asc.INVALID_ADDRESS_FOR_WRITE, field="lba")


def extend(disc: Disc, track: Track, end: int) -> None:
    """A border in the intermediate state is recorded up to `end`."""
    track.next = track.end = max(track.next, end)
    disc.capacity = track.end


def close_border(disc: Disc, track: Track) -> None:
    """The last border gets its lead-out."""
    track.complete = True
    disc.sessions.append(Session(track.session, track.number, track.number, track.end))


def reopen(disc: Disc) -> Track:
    """The last border goes back into the intermediate state."""
    disc.sessions.pop()
    disc.tracks[-1].complete = False
    return disc.tracks[-1]


def grow_border(disc: Disc, blocks: int, *, quick: bool) -> None:
    """The last border is so many blocks longer."""
    track = reopen(disc)
    extend(disc, track, track.end + blocks)
    if not quick:
        close_border(disc, track)


def add_border(disc: Disc, blocks: int, *, quick: bool) -> None:
    """A further border of so many blocks."""
    start = _next_border(disc)
    before = disc.tracks[-1]
    track = native_track(
        disc, before.number + 1, before.session + 1, start, start, "block", control=4, recorded=start, complete=False,
        packet=before.packet, incremental=True,
    )
    disc.tracks.append(track)
    extend(disc, track, start + blocks)
    if not quick:
        close_border(disc, track)

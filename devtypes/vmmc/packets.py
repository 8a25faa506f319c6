"""Packets on a CD: the link blocks between them, and what addresses mean with packets of fixed size.

Where the laser stops and starts again there are seven blocks that hold no data (Orange Book, parts II and III): two of
run-out, one link block, four of run-in. In packets of variable size they have addresses, and the next writable address
leaps over them. In packets of fixed size they have none (method 2): a track of n packets of p blocks ends n x p
addresses behind its start, and takes n x (p + 7) blocks of the disc.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Final

__all__ = ["LINK", "LINK_BLOCK", "fitting", "link_after", "link_block", "spread_to"]

LINK: Final = 7

# By place behind the last block of a packet: the block indicator, the upper three bits of the mode byte.
LINK_BLOCK: Final = 0b101
_INDICATORS: Final = (0b111, 0b110, LINK_BLOCK, 0b100, 0b011, 0b010, 0b001)


def fitting(blocks: int, packet: int) -> int:
    """Blocks of user data in whole packets of this size that so many blocks of the disc have room for."""
    return blocks // (packet + LINK) * packet


def spread_to(block: int, packet: int) -> int:
    """How far behind the start of a track of fixed packets a block is, link blocks counted."""
    return block + LINK * (block // packet)


def link_block(links: list[int], lba: int) -> int | None:
    """The block indicator of an address between two packets; None where it is in a packet.

    Args:
        links: addresses behind the packets of a track, ascending.
    """
    at = bisect_right(links, lba) - 1
    if at < 0 or lba >= links[at] + LINK:
        return None
    return _INDICATORS[lba - links[at]]


def link_after(links: list[int], lba: int, end: int) -> int:
    """Where the first link behind an address begins, `end` where none does before it."""
    at = bisect_right(links, lba)
    return min(links[at], end) if at < len(links) else end

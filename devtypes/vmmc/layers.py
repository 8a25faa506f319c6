"""Layer jump recording of DVD-R DL (MMC-6 4.4.4): where the next block goes, and what is recorded.

A layer jump block is a piece of layer 0 and, above it, the piece of layer 1 that ends where layer 0's piece begins. The
address opposite of n on layer 0 is 2M - 1 - n, M being the blocks of a layer. So the next writable address leaps: at
the jump address J of a block it becomes 2M - J, and when layer 1's piece is full it is J, where the next block begins.

SEND DISC STRUCTURE makes layer 0 of a disc smaller before it is recorded: then layer 1, which is never larger, is too.
"""

from __future__ import annotations

from typing import Final

from devtypes.vmmc.disc import Disc, Track
from scsiemu import asc
from scsiemu.sense import CheckCondition, FieldPointer

__all__ = [
    "LAYER_JUMP", "LAYER_STRUCTURES", "advance", "end_jumping", "is_jumping", "jump_address", "last_jump",
    "layers_are_settled", "recorded_ranges", "recorded_to", "set_layers",
]

LAYER_JUMP: Final = 0x16        # profile


def is_jumping(disc: Disc) -> bool:
    """Whether it is recorded so."""
    return disc.profile == LAYER_JUMP


def jump_address(disc: Disc, track: Track) -> int:
    """Where the piece that is written now ends."""
    middle = disc.capacity // 2
    if track.next >= middle:
        return 2 * middle - _begun(disc, 2)
    ends = [middle]
    if disc.jump_interval:
        ends.append(_begun(disc, 1) + disc.jump_interval)
    if disc.manual_jump:                        # of the last block before the jump
        behind = disc.manual_jump + 1
        behind += -behind % disc.kind.blocks
        if behind > track.next:
            ends.append(behind)
    return min(ends)


def last_jump(disc: Disc) -> int:
    """Address of the last jump to layer 1, 0 where there was none."""
    return disc.jumps[-1] if disc.jumps else 0


def advance(disc: Disc, track: Track, end: int) -> None:
    """Blocks up to `end` are recorded: the next writable address."""
    middle = disc.capacity // 2
    boundary = jump_address(disc, track)
    track.next = end
    if end < boundary:
        return
    if end <= middle and len(disc.jumps) < _MOST_JUMPS:
        disc.jumps.append(end)
        track.next = 2 * middle - end
    elif disc.jumps[-1] < middle:
        track.next = disc.jumps[-1]
    else:
        track.next = track.end          # full


def end_jumping(disc: Disc, track: Track) -> int:
    """The track ends: behind its last block. A jump after which nothing was recorded is none."""
    if disc.jumps and disc.jumps[-1] < disc.capacity // 2 and track.next == disc.capacity - disc.jumps[-1]:
        track.next = disc.jumps.pop()           # at the middle area both are the same address
    return max(up_to for _, up_to in recorded_ranges(disc, track))


def recorded_ranges(disc: Disc, track: Track) -> list[tuple[int, int]]:
    """What is recorded: from, up to."""
    middle = disc.capacity // 2
    if track.next >= track.end and not track.complete:
        return [(0, disc.capacity)]
    on_layer_1 = track.next >= middle
    whole = _begun(disc, 2 if on_layer_1 else 1)
    ranges = [(2 * middle - whole, 2 * middle)]
    if on_layer_1:
        ranges += [(0, disc.jumps[-1]), (2 * middle - disc.jumps[-1], track.next)]
    else:
        ranges.append((0, track.next))
    return [each for each in ranges if each[0] < each[1]]


def recorded_to(disc: Disc, track: Track, lba: int) -> int:
    """Behind the last block that is recorded without a gap from an address on; the address where nothing is."""
    for start, end in sorted(recorded_ranges(disc, track)):
        if start <= lba < end:
            lba = end
    return lba


def layers_are_settled(disc: Disc) -> bool:
    """Whether the capacity of layer 0 cannot be set any more: it was, or the disc is recorded."""
    return disc.capacity < disc.whole or not disc.blank


def set_layers(disc: Disc, form: int, address: int) -> None:
    """What SEND DISC STRUCTURE says of layers: one of `LAYER_STRUCTURES`.

    Raises CheckCondition: COMMAND SEQUENCE ERROR where it is too late, or an address that cannot be (MMC-5 6.34.3).
    """
    middle = disc.capacity // 2
    step = disc.kind.blocks
    recorded = max((track.next for track in disc.tracks), default=0)
    if form in (_BOUNDARY, _MIDDLE):
        address += -address % step              # what is no multiple of an ECC block is the next one
        _check(disc, late=layers_are_settled(disc), good=0 < address <= middle)
        disc.capacity = 2 * address
    elif form == _INTERVAL:
        address += -address % step
        _check(disc, late=not disc.blank, good=address <= middle)
        disc.jump_interval = address
    else:
        _check(disc, late=recorded >= middle, good=address == 0 or recorded <= address < middle)
        disc.manual_jump = address


def _check(disc: Disc, *, late: bool, good: bool) -> None:
    if disc.finalized or late:
        raise CheckCondition(asc.COMMAND_SEQUENCE_ERROR)
    if not good:
        raise CheckCondition(asc.INVALID_FIELD_IN_PARAMETER_LIST, pointer=FieldPointer(8, in_cdb=False))


_BOUNDARY, _MIDDLE, _INTERVAL, _MANUAL = 0x20, 0x21, 0x22, 0x23
# By format of SEND DISC STRUCTURE: whose it is.
LAYER_STRUCTURES: Final = {
    _BOUNDARY: "dvd+r-dl", _MIDDLE: "dvd-r-dl", _INTERVAL: "dvd-r-dl", _MANUAL: "dvd-r-dl",
}
_MOST_JUMPS: Final = 4096


def _begun(disc: Disc, back: int) -> int:
    """Where on layer 0 a layer jump block began: the jump before, counted back from the last."""
    return disc.jumps[-back] if len(disc.jumps) >= back else 0

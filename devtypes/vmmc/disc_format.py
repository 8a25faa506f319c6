"""The native format of discs that are recorded here: two copies of the disc's state, then a place for every sector.

    byte 0            state slot 0: magic, generation, length, CRC-32C, then the state as JSON (`_HEADER`)
    byte 256 KiB      state slot 1
    byte 512 KiB      sectors: that of address n at (n + 150) * 2448 on a CD, at n * 2048 on others
    behind them       the primary spare area of a DVD-RAM

A state is written to the slot that does not have the newest one, after the sectors that it speaks of are on stable
storage. So a cut at any byte leaves the state before or the one after; what was recorded since is not part of the disc,
and is recorded again at the same address. The sectors of a track are kept one behind the other from the place of its
first one, in the form that the track has (`disc.FORMS`).
"""

from __future__ import annotations

import json
import struct
from itertools import accumulate, pairwise
from typing import Any, Final

from crc32c import crc32c

from devtypes.vmmc.defects import spare_clusters, spares_left
from devtypes.vmmc.disc import CD_PREGAP, FORMS, Asking, Disc, DiscUnusable, Session, Track
from devtypes.vmmc.packets import LINK
from devtypes.vmmc.profiles import KINDS, PROFILE_NAMES, MediumKind
from scsiemu.io_requests import Flush, Read, StoreCapabilities, Write

__all__ = [
    "DATA_START", "decode", "encode", "make_blank", "make_random", "native_track", "open_native", "save", "stored_size",
]

_MAGIC: Final = b"SCSIEMU DISC 1\r\n"
_HEADER: Final = struct.Struct(">16sII")   # magic, generation, length; the check follows
_CHECK: Final = 4
_SLOT: Final = 256 << 10
_MOST_TEXT: Final = _SLOT - _HEADER.size - _CHECK
DATA_START: Final = 2 * _SLOT
_CD_STRIDE: Final = 2448
_BLOCK: Final = 2048
_LAYER_JUMP: Final = 0x16
_PRIMARY: Final = {"dvd-ram": 12800}        # blocks of the primary spare area of a disc of full size
_MOST_GAP: Final = 16
_TRACK_FIELDS: Final = (
    "number", "session", "start", "end", "control", "pregap", "next", "complete", "reserved", "packet", "isrc",
    "incremental", "gap",
)


def stored_size(kind: MediumKind, blocks: int) -> int:
    """Bytes of a store for a disc with so many blocks, and its primary spare area."""
    return _least_size(kind, blocks) + _primary_blocks(kind, blocks) * _BLOCK


def _least_size(kind: MediumKind, blocks: int) -> int:
    return DATA_START + ((blocks + CD_PREGAP) * _CD_STRIDE if kind.is_cd else blocks * _BLOCK)


def _primary_blocks(kind: MediumKind, blocks: int) -> int:
    """Blocks of the primary spare area of a disc with so many: in proportion, whole clusters."""
    return _PRIMARY.get(kind.name, 0) * blocks // kind.capacity // kind.blocks * kind.blocks


def _primary_clusters(disc: Disc, size: int) -> int:
    """What of the primary spare area a store of so many bytes has room for."""
    room = (size - _least_size(disc.kind, disc.whole)) // _BLOCK
    return min(_primary_blocks(disc.kind, disc.whole), max(room, 0)) // disc.kind.blocks


def native_track(
    disc: Disc, number: int, session: int, start: int, end: int, form: str, *, pregap: int = 0, **fields: Any
) -> Track:
    """A track of a disc that is recorded here; `pregap` blocks before `start` are kept too."""
    base = start - pregap
    offset = DATA_START + ((base + CD_PREGAP) * _CD_STRIDE if disc.kind.is_cd else base * _BLOCK)
    return Track(number, session, start, end, FORMS[form], base=base, offset=offset, pregap=pregap, **fields)


# --- the state as text --------------------------------------------------------------------------------------------


def encode(disc: Disc) -> bytes:
    """The state of a disc."""
    tracks = [
        {name: getattr(track, name) for name in _TRACK_FIELDS}
        | {"form": track.form.name, "indexes": list(track.indexes), "base": track.base, "links": _steps(track)}
        for track in disc.tracks
    ]
    sessions = [
        [each.number, each.first, each.last, each.lead_out, each.disc_type, each.next_start] for each in disc.sessions
    ]
    return json.dumps({
        "kind": disc.kind.name, "whole": disc.whole, "capacity": disc.capacity, "tracks": tracks, "sessions": sessions,
        "finalized": disc.finalized, "random": disc.random, "formatted": disc.formatted, "profile": disc.profile,
        "mcn": disc.mcn, "cd_text": disc.cd_text.hex(), "protected": disc.protected, "identifier": disc.identifier,
        "recorded": disc.recorded.hex(), "spare": spares_left(disc) if disc.overwrites else None,
        "jumps": disc.jumps, "jump_interval": disc.jump_interval, "manual_jump": disc.manual_jump,
        "replaced": sorted(disc.replaced.items()), "spares_used": disc.spares_used,
    }).encode()


def decode(text: bytes, size: int) -> Disc:
    """The disc of a state in a store of `size` bytes. Raises DiscUnusable for one that says impossible things."""
    try:
        return _decode(json.loads(text), size)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DiscUnusable(f"the state of the disc cannot be read: {error}") from None


def _decode(state: dict[str, Any], size: int) -> Disc:
    kind = KINDS[state["kind"]]
    whole = _number(state["whole"], 0, kind.capacity)
    capacity = _number(state["capacity"], 0, whole)
    if kind.pressed or _least_size(kind, whole) > size:
        raise ValueError("it is larger than its store")
    if state["profile"] not in PROFILE_NAMES:
        raise ValueError("there is no such profile")
    disc = Disc(
        kind, capacity, finalized=bool(state["finalized"]), random=bool(state["random"]),
        formatted=bool(state["formatted"]), profile=state["profile"], mcn=str(state["mcn"]),
        cd_text=bytes.fromhex(state["cd_text"]), protected=bool(state["protected"]),
        identifier=_number(state["identifier"], 0, 0xFFFFFFFF),
        overwrites=state.get("spare") is not None,
    )
    disc.whole = whole
    disc.primary = _primary_clusters(disc, size)
    disc.spares_used = _number(state.get("spares_used", 0), 0, spare_clusters(disc))
    if disc.overwrites:
        disc.spares_used = spare_clusters(disc) - _number(state["spare"], 0, spare_clusters(disc))
    for cluster, spare in state.get("replaced", ()):
        disc.replaced[_number(cluster, 0, capacity // kind.blocks - 1)] = _number(spare, 0, disc.spares_used - 1)
    if len(set(disc.replaced.values())) < len(disc.replaced):
        raise ValueError("a spare cluster replaces two")
    disc.recorded = bytearray.fromhex(state["recorded"])
    jumps = [_number(jump, 1, capacity // 2) for jump in state.get("jumps", ())]
    if jumps != sorted(set(jumps)):
        raise ValueError("layer jumps go back")
    disc.jumps = jumps
    for name in ("jump_interval", "manual_jump"):
        setattr(disc, name, _number(state.get(name, 0), 0, capacity))
    lowest = -CD_PREGAP if kind.is_cd else 0
    last = lowest
    for each in state["tracks"]:
        start = _number(each["start"], 0, capacity)
        base = _number(each["base"], max(last, lowest), start)
        end = _number(each["end"], start, capacity)
        track = native_track(
            disc, _number(each["number"], 1, 0xFFFF), _number(each["session"], 1, 0xFFFF), start, end, each["form"],
            pregap=start - base, control=_number(each["control"], 0, 15), recorded=_number(each["next"], base, end),
            complete=bool(each["complete"]), reserved=bool(each["reserved"]),
            packet=_number(each["packet"], 0, 0xFFFF), isrc=str(each["isrc"]), incremental=bool(each["incremental"]),
            indexes=tuple(_number(at, start, end) for at in each["indexes"]),
            links=[start + at for at in accumulate(_number(step, 1, capacity) for step in each.get("links", ()))],
            gap=_number(each.get("gap", 0), 0, _MOST_GAP),
        )
        if track.links and track.links[-1] + LINK > track.next:
            raise ValueError("a link is behind what is recorded")
        track.pregap = _number(each["pregap"], 0, start + CD_PREGAP)
        disc.tracks.append(track)
        last = end
    disc.sessions = [Session(*(_number(field, -1, 0xFFFFFF) for field in each)) for each in state["sessions"]]
    if disc.random and not disc.tracks:
        raise ValueError("it is formatted and has no track")
    if disc.profile == _LAYER_JUMP and not jumps and any(track.next >= capacity // 2 for track in disc.tracks):
        raise ValueError("layer 1 is recorded without a jump")
    for session in disc.sessions:
        if not disc.in_session(session.number) or session.lead_out > capacity:
            raise ValueError("a session is empty")
    return disc


def _steps(track: Track) -> list[int]:
    """The links of a track, each from the one before: short, for there may be many."""
    return [link - before for before, link in pairwise([track.start, *track.links])]


def _number(given: Any, least: int, most: int) -> int:
    if not isinstance(given, int) or not least <= given <= most:
        raise ValueError(f"{given!r} is not a number from {least} to {most}")
    return given


# --- in a store ---------------------------------------------------------------------------------------------------


def open_native(capabilities: StoreCapabilities) -> Asking[Disc | None]:
    """The disc that is kept in a store, None where there is none in this format. Raises DiscUnusable."""
    if capabilities.size < DATA_START:
        return None
    best: tuple[int, bytes] | None = None
    found = False
    for slot in (0, 1):
        head = bytes((yield from Read(slot * _SLOT, _HEADER.size)))
        magic, generation, length = _HEADER.unpack(head)
        if magic != _MAGIC or length > _MOST_TEXT:
            continue
        found = True
        rest = bytes((yield from Read(slot * _SLOT + _HEADER.size, _CHECK + length)))
        check, text = rest[:_CHECK], rest[_CHECK:]
        if crc32c(head + text).to_bytes(_CHECK, "big") == check and (best is None or generation > best[0]):
            best = (generation, text)
    if best is None:
        if found:
            raise DiscUnusable("neither copy of the state of the disc is whole")
        return None
    disc = decode(best[1], capabilities.size)
    disc.writable = not capabilities.read_only
    disc.generation = best[0]
    return disc


def save(disc: Disc) -> Asking[None]:
    """Bring a disc's state to stable storage, after everything that was recorded."""
    text = encode(disc)
    if len(text) > _MOST_TEXT:
        raise DiscUnusable("the state of the disc has become too long")
    yield from Flush()
    disc.generation += 1
    head = _HEADER.pack(_MAGIC, disc.generation, len(text))
    slot = disc.generation % 2
    record = head + crc32c(head + text).to_bytes(_CHECK, "big") + text
    yield from Write(slot * _SLOT, len(record), record)
    yield from Flush()


def make_random(disc: Disc, blocks: int, *, packet: int = 0) -> None:
    """The disc is formatted: all of it is one track that is written anywhere, `packet` blocks at a time (0: any)."""
    disc.capacity = blocks
    disc.formatted = disc.random = True
    form = "mode1" if disc.kind.is_cd else "block"
    disc.tracks = [native_track(
        disc, 1, 1, 0, blocks, form, control=4, recorded=blocks, packet=packet, incremental=bool(packet)
    )]
    disc.sessions = [Session(1, 1, 1, blocks)]


def make_blank(kind: MediumKind, capabilities: StoreCapabilities) -> Asking[Disc]:
    """A store becomes a blank disc, with as many blocks as it has room for. Raises DiscUnusable."""
    stride = _CD_STRIDE if kind.is_cd else _BLOCK
    room = (capabilities.size - DATA_START) // stride - (CD_PREGAP if kind.is_cd else 0)
    blocks = min(room, kind.capacity) // kind.blocks * kind.blocks
    while blocks > 0 and blocks + _primary_blocks(kind, blocks) > room:
        blocks -= kind.blocks
    if blocks < 16 * kind.blocks:
        raise DiscUnusable(f"{capabilities.size} bytes are too few for a {kind.title}")
    disc = Disc(kind, blocks, writable=True)
    disc.primary = _primary_clusters(disc, capabilities.size)
    if kind.name == "dvd-ram":                  # comes formatted from the shop
        make_random(disc, blocks)
    yield from save(disc)
    return disc

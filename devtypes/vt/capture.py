"""A personality from the answers of a tape drive: what `scsiemu personality capture` asks, and what it makes of it.

Nothing is asked that changes anything or moves the tape. Speeds and times cannot be asked: they stay as they are in a
personality that does not say. What a drive does not answer is taken for not there, but for what every drive has.
"""

from __future__ import annotations

import struct
from collections.abc import Generator
from typing import Any, Final

from devtypes.vt.drive import TapeDrive
from devtypes.vt.personality import (
    Density,
    MediumKind,
    Personality,
    encode_personality,
    parse_personality,
    personality_names,
    personality_text,
)
from scsiemu.log_pages import declared_log_pages
from scsiemu.operations import Operation, OperationTable
from scsiemu.personalities import Capture, PersonalityDeclaration, Question
from scsiemu.sam import Status
from scsiemu.services import Outcome
from scsiemu.spc_removal import RemovalPrevention
from scsiemu.vpd import declared_vpd_pages

__all__ = ["TAPE_PERSONALITIES", "capture_tape"]

_SEQUENTIAL_ACCESS: Final = 0x01
_MOST: Final = 0xFFFF
_DENSITY: Final = struct.Struct(">BBBH3sHHI8s8s20s")
_MEDIUM: Final = struct.Struct(">BBHB9sHH2x8s8s20s")
_OWN_MODE_PAGES: Final = (0x0100, 0x0AF0, 0x0F00, 0x1000, 0x1001, 0x1100, 0x1D00)
_TAPE_DATA_ENCRYPTION: Final = 0x20
# Operations that a personality says in another member.
_BY_ENCRYPTION: Final = "SECURITY PROTOCOL OUT"

_Asking = Generator[Question, Outcome, Any]


def capture_tape(name: str = "") -> Capture:
    """Ask a drive for its personality."""
    inquiry = yield from _ask("INQUIRY", allocation_length=96)
    if len(inquiry) < 36 or inquiry[0] & 0x1F != _SEQUENTIAL_ACCESS:
        raise ValueError("it is no tape drive")
    vendor, product, revision = (_text(inquiry[a:b]) for a, b in ((8, 16), (16, 32), (32, 36)))
    members: dict[str, Any] = {
        "name": name or f"{vendor} {product}", "vendor": vendor, "product": product, "revision": revision,
    }
    members |= yield from _limits()
    members["densities"] = yield from _densities()
    members["media"] = yield from _media(members["densities"])
    members |= yield from _vital_product_data()
    members |= yield from _modes()
    members |= yield from _pages_of_logs()
    members["without"] = yield from _operations()
    members["encryption"] = yield from _encryption()
    if not members["encryption"]:
        members["without"] = tuple(each for each in members["without"] if each != _BY_ENCRYPTION)
    return encode_personality(Personality(**members))


def _ask(operation: str, **fields: int) -> _Asking:
    """Data-In of an operation; empty where the drive refuses it."""
    declared = _NAMED[operation]
    if declared.service_action is not None:
        fields["service_action"] = declared.service_action
    length = fields.get(declared.allocation or "", 96)
    outcome = yield Question(declared.layout.build(opcode=declared.opcode, **fields), length)
    return outcome.data_in if outcome.status == Status.GOOD else b""


# --- what is asked ---------------------------------------------------------------------------------------------------

def _limits() -> _Asking:
    """READ BLOCK LIMITS."""
    data = yield from _ask("READ BLOCK LIMITS")
    if len(data) < 6:
        raise ValueError("it does not answer READ BLOCK LIMITS")
    longest = int.from_bytes(data[1:4], "big") or 0xFFFFFF          # zero: as long as the initiator likes
    return {
        "granularity": data[0] & 0x1F, "longest_block": longest,
        "shortest_block": int.from_bytes(data[4:6], "big") or 1,
    }


def _densities() -> _Asking:
    """REPORT DENSITY SUPPORT of the drive, the default first; or the density of MODE SENSE."""
    data = yield from _ask("REPORT DENSITY SUPPORT", allocation_length=_MOST)
    found: dict[int, Density] = {}
    default: int | None = None
    at = 4
    while at + _DENSITY.size <= len(data):
        code, _, flags, length, bits, width, tracks, capacity, organization, name, description = _DENSITY.unpack_from(
            data, at
        )
        found[code] = Density(
            code, _text(name), _text(organization), _text(description), int.from_bytes(bits, "big"), width, tracks,
            capacity, bool(flags & 0x80),
        )
        if flags & 0x20:
            default = code
        # DLV: LENGTH says how long this descriptor is.
        at += length + 5 if flags & 0x01 and length else _DENSITY.size
    if not found:
        mode = yield from _ask("MODE SENSE(6)", page_code=0x3F, allocation_length=255)
        if len(mode) < 12 or mode[3] < 8:
            raise ValueError("it tells no density")
        found[mode[4]] = Density(mode[4])
    return tuple(sorted(found.values(), key=lambda each: (each.code != default, not each.writable, -each.code)))


def _media(densities: tuple[Density, ...]) -> _Asking:
    """REPORT DENSITY SUPPORT with MEDIUM TYPE; or one kind of cartridge, which has all densities."""
    data = yield from _ask("REPORT DENSITY SUPPORT", medium_type=1, allocation_length=_MOST)
    found = []
    best_first = [density.code for density in densities]
    at = 4
    while at + _MEDIUM.size <= len(data):
        code, _, length, count, codes, width, meters, _, name, description = _MEDIUM.unpack_from(data, at)
        has = sorted(codes[: min(count, 9)], key=lambda each: best_first.index(each) if each in best_first else 99)
        words = f"{_text(name)} {_text(description)}".upper()
        kind = "worm" if "WORM" in words else "data" if has else "cleaning"
        found.append(MediumKind(code, _text(name), _text(description), tuple(has), width, meters, kind))
        at += length + 4
    if not found:
        return (MediumKind(0, densities=tuple(best_first)),)
    # The first of a kind is what a new cartridge becomes: that of the best density.
    return tuple(sorted(found, key=lambda each: best_first.index(each.densities[0]) if each.densities else 99))


def _vital_product_data() -> _Asking:
    """Which VPD pages there are, WORM, and the methods of logical block protection."""
    there = yield from _ask("INQUIRY", evpd=1, page_code=0, allocation_length=_MOST)
    codes = set(there[4:])
    capabilities = yield from _ask("INQUIRY", evpd=1, page_code=0xB0, allocation_length=255)
    protection = yield from _ask("INQUIRY", evpd=1, page_code=0xB5, allocation_length=255)
    worm, methods, at = False, [], 8
    if 0xB0 in codes and len(capabilities) > 4:
        worm = bool(capabilities[4] & 1)
    while 0xB5 in codes and at + 4 <= len(protection):
        methods.append(protection[at + 1])
        at += 1 + protection[at]
    own = {code for code in declared_vpd_pages(TapeDrive) if code >= 0xB0}
    if not methods:
        own.discard(0xB5)                       # it goes with the methods
    return {
        "worm": worm, "protection": tuple(each for each in methods if each in (1, 2)),
        "vpd_pages_without": tuple(sorted(own - codes)),
    }


def _modes() -> _Asking:
    """Which mode pages there are, compression, partitions."""
    data = yield from _ask("MODE SENSE(10)", dbd=1, page_code=0x3F, subpage_code=0xFF, allocation_length=_MOST)
    if not data:
        data = yield from _ask("MODE SENSE(10)", dbd=1, page_code=0x3F, allocation_length=_MOST)
    pages: dict[int, bytes] = {}
    at = 8 + int.from_bytes(data[6:8], "big")
    while at + 2 <= len(data):
        sub = bool(data[at] & 0x40)
        if sub and at + 4 > len(data):
            break
        length = int.from_bytes(data[at + 2 : at + 4], "big") + 4 if sub else data[at + 1] + 2
        pages[(data[at] & 0x3F) << 8 | (data[at + 1] if sub else 0)] = data[at : at + length]
        at += length
    compression, partition = pages.get(0x0F00, b""), pages.get(0x1100, b"")
    known = [code for code in _OWN_MODE_PAGES if code != 0x0AF0]        # that one goes with the methods of protection
    found: dict[str, Any] = {
        "compression": len(compression) > 2 and bool(compression[2] & 0x40),
        "most_partitions": min(partition[2] + 1, 64) if len(partition) > 2 else 1,
        "partition_units": partition[6] & 0x0F if len(partition) > 6 and partition[4] >> 3 & 3 == 3 else 0,
        "mode_pages_without": tuple(code for code in known if code not in pages),
    }
    if found["compression"]:
        found["compression_algorithm"] = int.from_bytes(compression[4:8], "big")
    return found


def _pages_of_logs() -> _Asking:
    """Which log pages there are."""
    data = yield from _ask("LOG SENSE", pc=1, allocation_length=_MOST)
    there = set(data[4:])
    own = {page for page, _ in declared_log_pages(TapeDrive).keys() - declared_log_pages(RemovalPrevention).keys()}
    return {"log_pages_without": tuple(sorted(own - there))}


def _operations() -> _Asking:
    """Which operations of tape drives there are not."""
    data = yield from _ask("REPORT SUPPORTED OPERATION CODES", allocation_length=1 << 16)
    if len(data) < 4:
        return ()
    there = set()
    at = 4
    while at + 8 <= len(data):
        flags = data[at + 5]
        action = int.from_bytes(data[at + 2 : at + 4], "big") if flags & 1 else None
        there.add((data[at], action))
        at += 20 if flags & 2 else 8
    return tuple(
        name for name, declared in _NAMED.items()
        if name not in _EVERYBODYS and (declared.opcode, declared.service_action) not in there
    )


def _encryption() -> _Asking:
    """Whether there is the tape data encryption protocol."""
    data = yield from _ask("SECURITY PROTOCOL IN", allocation_length=512)
    return _TAPE_DATA_ENCRYPTION in data[8 : 8 + int.from_bytes(data[6:8], "big")]


_NAMED: Final[dict[str, Operation]] = {declared.name: declared for declared in OperationTable(TapeDrive)}
# What every drive has here, and no personality can be without.
_EVERYBODYS: Final = frozenset(declared.name for declared in OperationTable(RemovalPrevention))


def _text(raw: bytes) -> str:
    return "".join(letter if " " <= letter <= "~" else "?" for letter in raw.decode("latin-1")).rstrip()


def _describe(text: str) -> str:
    personality = parse_personality(text)
    unknown = [name for name in personality.without if name not in _NAMED]
    if unknown:
        raise ValueError(f"a tape drive has no operation {unknown[0]!r} to be without")
    return f"{personality.name}: {personality.vendor} {personality.product}"


TAPE_PERSONALITIES: Final = PersonalityDeclaration(personality_names, personality_text, _describe, capture_tape)

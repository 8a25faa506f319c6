"""Commands of the SPC cases, and what their data has."""

from __future__ import annotations

import struct

from conformance import ConformanceUnit

__all__ = [
    "INQUIRY", "inquiry_page", "keys", "log_sense", "mode_pages", "mode_sense", "register", "release", "reserve",
    "reserve_in", "reserve_out", "supported",
]

INQUIRY = bytes((0x12, 0, 0, 0, 255, 0))


def inquiry_page(page: int, length: int = 0xFFFF) -> bytes:
    """INQUIRY for a vital product data page."""
    return bytes((0x12, 1, page)) + length.to_bytes(2, "big") + b"\0"


def mode_sense(page: int, *, control: int = 0, subpage: int = 0, length: int = 4096) -> bytes:
    """MODE SENSE(10) without block descriptors."""
    return bytes((0x5A, 8, control << 6 | page, subpage, 0, 0, 0)) + length.to_bytes(2, "big") + b"\0"


def mode_pages(data: bytes) -> dict[tuple[int, int], bytes]:
    """The pages in the data of MODE SENSE(10), by page and subpage code."""
    found = {}
    at = 8 + int.from_bytes(data[6:8], "big")
    while at < len(data):
        page, subpage, head = data[at] & 0x3F, 0, 2
        if data[at] & 0x40:
            subpage, head = data[at + 1], 4
        length = int.from_bytes(data[at + head - (1 if head == 2 else 2) : at + head], "big")
        found[page, subpage] = data[at : at + head + length]
        at += head + length
    assert at == len(data), "pages do not end with the data"
    return found


def log_sense(page: int, *, subpage: int = 0, length: int = 4096, pointer: int = 0) -> bytes:
    """LOG SENSE of current cumulative values."""
    return struct.pack(">BBBBBHHB", 0x4D, 0, 0x40 | page, subpage, 0, pointer, length, 0)


def reserve_in(action: int, length: int = 4096) -> bytes:
    """PERSISTENT RESERVE IN."""
    return struct.pack(">BB5xHB", 0x5E, action, length, 0)


def reserve_out(action: int, kind: int = 0, length: int = 24) -> bytes:
    """PERSISTENT RESERVE OUT."""
    return struct.pack(">BBB4xHB", 0x5F, action, kind, length, 0)


def keys(key: int, new: int = 0, flags: int = 0) -> bytes:
    """Its parameter list."""
    return struct.pack(">QQ4xB3x", key, new, flags)


def register(unit: ConformanceUnit, new: int, key: int = 0) -> None:
    """REGISTER that must end with GOOD."""
    unit.good(reserve_out(0), keys(key, new))


def reserve(unit: ConformanceUnit, kind: int, key: int) -> None:
    """RESERVE that must end with GOOD."""
    unit.good(reserve_out(1, kind), keys(key))


def release(unit: ConformanceUnit, kind: int, key: int) -> None:
    """RELEASE that must end with GOOD."""
    unit.good(reserve_out(2, kind), keys(key))


def supported(unit: ConformanceUnit, opcode: int, action: int | None = None) -> int:
    """SUPPORT of REPORT SUPPORTED OPERATION CODES for one command: 3 as in the standard."""
    option = 1 if action is None else 2
    cdb = struct.pack(">BBBBHIBB", 0xA3, 0x0C, option, opcode, action or 0, 4096, 0, 0)
    return unit.good(cdb, data_in=4096)[1] & 7

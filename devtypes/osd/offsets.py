"""The offset format of CDB fields (OSD-2 4.14): bits 31..28 a signed exponent e, bits 27..0 a mantissa m; the byte
offset is m shifted left by e + 8. OSD-2 allows e down to -5, so that offsets are multiples of 8; OSD-1 has no
negative ones.
"""

from __future__ import annotations

from typing import Final

__all__ = ["UNUSED", "decode_offset", "encode_offset"]

UNUSED: Final = 0xFFFFFFFF


def decode_offset(field: int, *, version: int) -> int | None:
    """The byte offset of a field; None for an unused field. Raises ValueError for an exponent out of range."""
    if field == UNUSED:
        return None
    exponent = field >> 28
    if version == 2 and exponent > 7:
        exponent -= 16
    shift = exponent + 8
    if shift < 3:
        raise ValueError(f"offset exponent {exponent}")
    return (field & 0x0FFFFFFF) << shift


def encode_offset(offset: int, *, version: int) -> int:
    """The field of an offset. Raises ValueError for one that cannot be written."""
    for shift in range(3 if version == 2 else 8, 16):
        if offset % (1 << shift):
            break
        if offset >> shift < 1 << 28:
            return (shift - 8 & 0xF) << 28 | offset >> shift
    raise ValueError(f"offset {offset} has no form in OSD-{version}")

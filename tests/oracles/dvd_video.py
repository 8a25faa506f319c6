"""A program stream that dvdauthor makes a DVD-Video of: half a second of nothing to see in each VOBU, PAL (ISO 13818).

A VOBU here is two packs of 2048 bytes: a navigation pack that dvdauthor fills in, and a group of 12 pictures, of each
the headers and a slice of no sense.
"""

from __future__ import annotations

__all__ = ["program_stream"]

_PACK = 2048
_CLOCK = 90_000
_PICTURES = 12
_RATE = 25
_MUX_RATE = 25_200
# System header: rate bound 10.08 Mbit/s; buffers of video, audio and the private streams.
_SYSTEM = bytes.fromhex("000001bb0012 80c4e1 00e17f b9e0e8 b8c020 bde03a bfe002")
# Sequence header of 720 x 576, 4:3, 25 pictures a second, and its extension: main profile at main level.
_SEQUENCE = bytes.fromhex("000001b3 2d0240 23 ffffe018 000001b5 148200010000")


def program_stream(vobus: int) -> bytes:
    """So many VOBUs."""
    return b"".join(_vobu(number) for number in range(vobus))


def _vobu(number: int) -> bytes:
    begin = number * _PICTURES * _CLOCK // _RATE
    navigation = _pack_header(begin) + _SYSTEM + b"\0\0\1\xbf\x03\xd4\0" + bytes(979) + b"\0\0\1\xbf\x03\xfa\1"
    pictures = b"\x81\x80\x05" + _time_stamp(begin + _CLOCK // 10) + _SEQUENCE + _group(number)
    video = _pack_header(begin + 300) + b"\0\0\1\xe0" + len(pictures).to_bytes(2, "big") + pictures
    room = _PACK - len(video) - 6
    padding = b"\0\0\1\xbe" + room.to_bytes(2, "big") + b"\xff" * room
    return navigation.ljust(_PACK, b"\0") + video + padding


def _pack_header(clock: int) -> bytes:
    """With the system clock reference: 33 bits in three pieces, marker bits between them."""
    reference = 1 << 46 | (clock >> 30) << 43 | 1 << 42 | (clock >> 15 & 0x7FFF) << 27 | 1 << 26
    reference |= (clock & 0x7FFF) << 11 | 1 << 10 | 1
    return b"\0\0\1\xba" + reference.to_bytes(6, "big") + (_MUX_RATE << 2 | 3).to_bytes(3, "big") + b"\xf8"


def _time_stamp(clock: int) -> bytes:
    return bytes((
        0x20 | clock >> 29 & 0xE | 1, clock >> 22 & 0xFF, clock >> 14 & 0xFE | 1, clock >> 7 & 0xFF,
        clock << 1 & 0xFE | 1,
    ))


def _group(number: int) -> bytes:
    """A closed group: an I picture, P pictures behind it."""
    seconds, pictures = divmod(number * _PICTURES, _RATE)
    code = (seconds // 60) << 20 | 1 << 19 | (seconds % 60) << 13 | pictures << 7 | 1 << 6
    parts = [b"\0\0\1\xb8" + code.to_bytes(4, "big")]
    for at in range(_PICTURES):
        header = at << 22 | (2 if at else 1) << 19 | 0xFFFF << 3
        parts.append(b"\0\0\1\0" + header.to_bytes(4, "big") + b"\x3c" * bool(at))
        parts.append(bytes.fromhex("000001b5 8fffff4180") + b"\0\0\1\1" + b"\x12\x34" * 20)
    return b"".join(parts)

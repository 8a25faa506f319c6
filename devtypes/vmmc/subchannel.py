"""Sub-channel Q, and P to W around it, computed from tracks (ECMA-130 clause 22, Red Book for MCN and ISRC).

Mode 1 tells the position; one sector of a hundred has the media catalogue number (mode 2) and one the ISRC of its
track (mode 3), where there are any. R to W are empty unless they are kept beside the sectors.
"""

from __future__ import annotations

from typing import Final

from devtypes.vmmc.disc import Disc, Track
from devtypes.vmmc.sector import bcd, lba_to_msf

__all__ = [
    "CHANNEL_BYTES", "LEAD_OUT", "crc_16", "formatted_of", "formatted_q", "interleaved", "interleaved_of", "isrc_of_q",
    "isrc_q", "mcn_of_q", "mcn_q", "pause", "position_q", "q_of_raw", "r_to_w", "sector_q",
]

CHANNEL_BYTES: Final = 96
LEAD_OUT: Final = 0xAA

_EACH: Final = 100
_MCN_AT: Final = 40
_ISRC_AT: Final = 90
# Each of eight bits of a byte as a byte of its own: what makes 12 bytes of a channel into 96.
_SPREAD: Final = tuple(bytes(byte >> (7 - bit) & 1 for bit in range(8)) for byte in range(256))


def crc_16(data: bytes) -> bytes:
    """The CRC of Q: x^16 + x^12 + x^5 + 1, inverted (ECMA-130 22.3.6)."""
    value = 0
    for byte in data:
        value ^= byte << 8
        for _ in range(8):
            value = value << 1 ^ (0x11021 if value & 0x8000 else 0)
    return (value ^ 0xFFFF).to_bytes(2, "big")


def position_q(disc: Disc, lba: int) -> bytes:
    """The 10 bytes of mode 1 for a sector, without CRC."""
    track = disc.track_at(lba)
    if track is None:
        # Behind the last track of a session: its lead-out.
        before = [each for each in disc.tracks if each.end <= lba]
        last = before[-1] if before else None
        control = last.control if last is not None else 0
        return _position(control, LEAD_OUT, 1, lba - last.end if last is not None else 0, lba)
    at = track.physical(lba)
    relative = at - track.start if lba >= track.start else track.start - 1 - lba
    return _position(track.control, bcd(track.number), track.index_of(lba), relative, at)


def _position(control: int, number: int, index: int, relative: int, lba: int) -> bytes:
    minute, second, frame = relative // 4500 % 100, relative // 75 % 60, relative % 75
    absolute = lba_to_msf(lba)
    return bytes((
        control << 4 | 1, number, bcd(index), bcd(minute), bcd(second), bcd(frame), 0, *(bcd(n) for n in absolute)
    ))


def mcn_q(disc: Disc, control: int, lba: int) -> bytes:
    """The 10 bytes of mode 2: the media catalogue number, 13 digits."""
    digits = [int(digit) for digit in disc.mcn.rjust(13, "0")] + [0, 0, 0]
    packed = bytes(digits[n] << 4 | digits[n + 1] for n in range(0, 16, 2))
    return bytes((control << 4 | 2,)) + packed[:8] + bytes((bcd(lba_to_msf(lba)[2]),))


def isrc_q(track: Track, lba: int) -> bytes:
    """The 10 bytes of mode 3: country and owner (5 characters of 6 bits), year and serial number (7 digits)."""
    letters = 0
    for character in track.isrc[:5]:
        letters = letters << 6 | (ord(character) - 0x30 & 0x3F)
    digits = "".join(c for c in track.isrc[5:] if c.isdigit()).ljust(7, "0")[:7]
    number = 0
    for digit in digits:
        number = number << 4 | int(digit)
    packed = (letters << 2 << 32 | number << 4).to_bytes(8, "big")
    return bytes((track.control << 4 | 3,)) + packed + bytes((bcd(lba_to_msf(lba)[2]),))


def mcn_of_q(q: bytes) -> str:
    """The media catalogue number of mode 2: 13 digits."""
    return q[1:8].hex()[:13]


def isrc_of_q(q: bytes) -> str:
    """The ISRC of mode 3: 12 characters."""
    packed = int.from_bytes(q[1:9], "big")
    letters = packed >> 34
    return "".join(chr(0x30 + (letters >> 6 * n & 0x3F)) for n in range(4, -1, -1)) + f"{packed >> 4 & 0xFFFFFFF:07x}"


def sector_q(disc: Disc, lba: int) -> bytes:
    """The 12 bytes of Q that a sector has, CRC and all."""
    track = disc.track_at(lba)
    turn = lba % _EACH
    if track is not None and lba >= track.start:
        if turn == _MCN_AT and disc.mcn:
            return _with_crc(mcn_q(disc, track.control, lba))
        if turn == _ISRC_AT and track.isrc:
            return _with_crc(isrc_q(track, lba))
    return _with_crc(position_q(disc, lba))


def _with_crc(q: bytes) -> bytes:
    return q + crc_16(q)


def pause(disc: Disc, lba: int) -> bool:
    """Whether channel P is one: in the pause before a track."""
    track = disc.track_at(lba)
    return track is not None and lba < track.start


def interleaved(disc: Disc, lba: int) -> bytes:
    """Raw P to W of a sector: 96 bytes, P in bit 7, Q in bit 6, R to W empty."""
    return interleaved_of(sector_q(disc, lba), top=0x80 if pause(disc, lba) else 0)


def interleaved_of(q: bytes, *, top: int = 0) -> bytes:
    """Raw P to W with these 12 bytes of Q; `top` is 80h where P is one."""
    return bytes(top | bit << 6 for byte in q for bit in _SPREAD[byte])


def formatted_q(disc: Disc, lba: int) -> bytes:
    """The 16 bytes of formatted Q (MMC-6 table 352): Q, padding, and P in the last byte's top bit."""
    return sector_q(disc, lba) + bytes((0, 0, 0, 0x80 if pause(disc, lba) else 0))


def formatted_of(channels: bytes) -> bytes:
    """The 16 bytes of formatted Q out of raw P to W: P is what most of its bits are."""
    ones = sum(byte >> 7 for byte in channels)
    return q_of_raw(channels) + bytes((0, 0, 0, 0x80 if 2 * ones > CHANNEL_BYTES else 0))


def q_of_raw(channels: bytes) -> bytes:
    """The 12 bytes of Q out of raw P to W."""
    number = 0
    for byte in channels:
        number = number << 1 | byte >> 6 & 1
    return number.to_bytes(12, "big")


def r_to_w(channels: bytes) -> bytes:
    """R to W out of raw P to W, the upper two bits zero."""
    return bytes(byte & 0x3F for byte in channels)

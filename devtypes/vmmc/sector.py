"""CD sectors of 2352 bytes: sync, header, EDC, ECC, scrambling (ECMA-130 clauses 14 to 20, annexes A and B).

What a medium keeps is user data; the rest of a sector is computed here when READ CD asks for it. Parity is computed
for all code words of a sector at once, by tables over whole rows. Nothing here corrects errors.
"""

from __future__ import annotations

from operator import itemgetter
from typing import Final

from scsiemu.command import Buffer

__all__ = [
    "AUDIO_SIZE", "FORM_2_SUBHEADER", "RAW_SIZE", "SYNC", "bcd", "compute_edc", "descramble", "from_bcd",
    "lba_to_msf", "mode_1_sector", "mode_2_sector", "msf_to_lba", "xa_sector",
]

RAW_SIZE: Final = 2352
AUDIO_SIZE: Final = RAW_SIZE
SYNC: Final = b"\x00" + b"\xff" * 10 + b"\x00"
FORM_2_SUBHEADER: Final = 0x20              # the form bit of the submode byte

_LEAD: Final = 150                          # frames before LBA 0 (00:02:00)
_WRAP: Final = 450150                       # MSF 90:00:00 to 99:59:74 are negative addresses
_NEGATIVE: Final = 90 * 60 * 75


def bcd(number: int) -> int:
    """0 to 99 as two decimal digits."""
    return number // 10 << 4 | number % 10


def from_bcd(digits: int) -> int:
    """The number of two decimal digits; nonsense gives nonsense."""
    return (digits >> 4) * 10 + (digits & 0xF)


def lba_to_msf(lba: int) -> tuple[int, int, int]:
    """Minute, second and frame of an address; negative ones below -150 count down from 99:59:74 (MMC-6 table 620)."""
    frames = lba + _LEAD if lba >= -_LEAD else lba + _WRAP
    return frames // 4500, frames // 75 % 60, frames % 75


def msf_to_lba(minute: int, second: int, frame: int) -> int:
    """The address of a minute, second and frame."""
    frames = (minute * 60 + second) * 75 + frame
    return frames - (_WRAP if frames >= _NEGATIVE else _LEAD)


# --- EDC: P(x) = (x^16 + x^15 + x^2 + 1)(x^16 + x^2 + x + 1), least significant bit first (ECMA-130 14.3) -----------


def _edc_table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = value >> 1 ^ (0xD8018001 if value & 1 else 0)
        table.append(value)
    return tuple(table)


_EDC: Final = _edc_table()


def compute_edc(data: Buffer) -> bytes:
    """The error detection code of the bytes, as recorded."""
    value = 0
    table = _EDC
    for byte in data:
        value = table[(value ^ byte) & 0xFF] ^ value >> 8
    return value.to_bytes(4, "little")


# --- ECC: two Reed-Solomon codes over GF(2^8), x^8 + x^4 + x^3 + x^2 + 1 (ECMA-130 annex A) -------------------------


def _multiply(left: int, right: int) -> int:
    product = 0
    while right:
        if right & 1:
            product ^= left
        left = left << 1 ^ (0x11D if left & 0x80 else 0)
        right >>= 1
    return product


_TIMES_2: Final = bytes(_multiply(byte, 2) for byte in range(256))
_TIMES_4: Final = bytes(_multiply(byte, 4) for byte in range(256))
_OVER_3: Final = bytes(next(x for x in range(256) if _multiply(x, 3) == byte) for byte in range(256))

_P_COLUMNS: Final = 86
_Q_WORDS: Final = 26
# Bytes of each Q code word in turn: for step m the 52 bytes of the 26 diagonals.
_Q_ORDER: Final = itemgetter(*(
    2 * ((44 * m + 43 * n) % 1118) + half for m in range(43) for n in range(_Q_WORDS) for half in (0, 1)
))


def _parity(rows: bytes, width: int) -> bytes:
    """The two parity rows of code words that stand in columns, `width` of them."""
    total = horner = bytes(width)
    for at in range(0, len(rows), width):
        row = int.from_bytes(rows[at : at + width], "big")
        total = (int.from_bytes(total, "big") ^ row).to_bytes(width, "big")
        horner = (int.from_bytes(horner.translate(_TIMES_2), "big") ^ row).to_bytes(width, "big")
    # The syndromes of the roots 1 and 2 are zero: p0 + p1 = total, 2 p0 + p1 = 4 horner.
    whole = int.from_bytes(total, "big")
    first = (whole ^ int.from_bytes(horner.translate(_TIMES_4), "big")).to_bytes(width, "big").translate(_OVER_3)
    return first + (int.from_bytes(first, "big") ^ whole).to_bytes(width, "big")


def _with_ecc(header: bytes, body: bytes) -> bytes:
    """`body` (2060 bytes behind the header) with P and Q parity; `header` as it counts for the code."""
    covered = header + body
    p = _parity(covered, _P_COLUMNS)
    q = _parity(bytes(_Q_ORDER(covered + p)), 2 * _Q_WORDS)
    return body + p + q


# --- whole sectors --------------------------------------------------------------------------------------------------


def _header(lba: int, mode: int) -> bytes:
    minute, second, frame = lba_to_msf(lba)
    return bytes((bcd(minute), bcd(second), bcd(frame), mode))


def mode_1_sector(lba: int, data: Buffer, indicator: int = 0) -> bytes:
    """A mode 1 sector of 2048 bytes of user data; `indicator`: the upper three bits of its mode byte (`packets`)."""
    header = _header(lba, indicator << 5 | 1)
    body = bytes(data) + compute_edc(SYNC + header + bytes(data)) + bytes(8)
    return SYNC + header + _with_ecc(header, body)


def mode_2_sector(lba: int, data: Buffer) -> bytes:
    """A formless mode 2 sector of 2336 bytes."""
    return SYNC + _header(lba, 2) + bytes(data)


def xa_sector(lba: int, data: Buffer) -> bytes:
    """A mode 2 sector with subheader: `data` is the subheader (8 bytes), then 2048 bytes (form 1) or 2324 (form 2)."""
    header = _header(lba, 2)
    if data[2] & FORM_2_SUBHEADER:
        body = bytes(data[:2332])
        return SYNC + header + body + compute_edc(body)
    body = bytes(data[:2056])
    # The header counts as zeros, so that a sector can be copied elsewhere (CD-ROM XA 4.6).
    return SYNC + header + _with_ecc(bytes(4), body + compute_edc(body))


def _scrambler() -> int:
    """Bytes 12 to 2351 of the scrambler's sequence, x^15 + x + 1 from 1 (ECMA-130 annex B)."""
    register = 1
    sequence = bytearray()
    for _ in range(RAW_SIZE - 12):
        byte = 0
        for bit in range(8):
            byte |= (register & 1) << bit
            register = register >> 1 | ((register ^ register >> 1) & 1) << 14
        sequence.append(byte)
    return int.from_bytes(sequence, "big")


_SCRAMBLER: Final = _scrambler()


def descramble(sector: Buffer) -> bytes:
    """A data sector from scrambled to plain, or back; the sync bytes stay."""
    plain = int.from_bytes(sector[12:RAW_SIZE], "big") ^ _SCRAMBLER
    return bytes(sector[:12]) + plain.to_bytes(RAW_SIZE - 12, "big")

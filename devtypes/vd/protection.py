"""Protection information of logical blocks: its CRC, how it is made and how it is checked (SBC-4 4.21).

The 8 bytes of a block are guard (CRC-16/T10-DIF of the user data), application tag and reference tag. One
protection information interval for each block (P_I_EXPONENT zero).
"""

from __future__ import annotations

import functools
import struct
from array import array
from typing import Final

from scsiemu import asc
from scsiemu._value import value
from scsiemu.command import Buffer
from scsiemu.sense import CheckCondition, SenseKey

__all__ = [
    "ProtectionCheck", "compare_protection", "crc_t10", "interleave", "invert", "make_protection",
    "repeated_protection", "separate",
]

_POLYNOMIAL: Final = 0x8BB7
_TAGS: Final = struct.Struct(">HHI")
_ESCAPE_APPLICATION: Final = 0xFFFF
_ESCAPE_REFERENCE: Final = 0xFFFFFFFF
_FAILED: Final = (
    asc.LOGICAL_BLOCK_GUARD_CHECK_FAILED, asc.LOGICAL_BLOCK_APPLICATION_TAG_CHECK_FAILED,
    asc.LOGICAL_BLOCK_REFERENCE_TAG_CHECK_FAILED,
)


@functools.cache
def _table() -> array[int]:
    """The CRC of every 16-bit word: one look-up for two bytes. Built when the first protected disk needs it."""
    by_byte = []
    for byte in range(256):
        crc = byte << 8
        for _ in range(8):
            crc = (crc << 1 ^ _POLYNOMIAL if crc & 0x8000 else crc << 1) & 0xFFFF
        by_byte.append(crc)
    return array("H", (
        by_byte[(by_byte[word >> 8] >> 8) ^ word & 0xFF] ^ (by_byte[word >> 8] << 8 & 0xFFFF)
        for word in range(0x10000)
    ))


def crc_t10(data: Buffer) -> int:
    """The guard of user data of an even number of bytes (SBC-4 4.21.4: polynomial 18BB7h, initial value 0)."""
    table = _table()
    crc = 0
    for word in struct.unpack(f">{len(data) // 2}H", data):
        crc = table[crc ^ word]
    return crc


def invert(data: Buffer) -> bytes:
    """Every bit inverted: how protection information is kept in the store."""
    return (int.from_bytes(data, "big") ^ (1 << len(data) * 8) - 1).to_bytes(len(data), "big")


def separate(data: Buffer, block_size: int) -> tuple[bytes, bytes]:
    """User data and protection information of blocks as they are transferred."""
    view = memoryview(data)
    whole = block_size + 8
    starts = range(0, len(view) // whole * whole, whole)
    return (
        b"".join(view[at : at + block_size] for at in starts),
        b"".join(view[at + block_size : at + whole] for at in starts),
    )


def interleave(data: Buffer, protection: Buffer, block_size: int) -> bytes:
    """Blocks as they are transferred, from user data and protection information."""
    view, tags = memoryview(data), memoryview(protection)
    pieces: list[memoryview] = []
    for number in range(len(view) // block_size):
        pieces.append(view[number * block_size : (number + 1) * block_size])
        pieces.append(tags[number * 8 : number * 8 + 8])
    return b"".join(pieces)


def make_protection(
    data: Buffer, block_size: int, *, pi_type: int, lba: int, application_tag: int, reference_tag: int | None = None
) -> bytes:
    """Protection information that the device server generates (SBC-4 table 13, WRPROTECT 000b).

    Args:
        reference_tag: of the first block where the CDB has one, else it follows from the type.
    """
    view = memoryview(data)
    result = bytearray()
    for number in range(len(view) // block_size):
        guard = crc_t10(view[number * block_size : (number + 1) * block_size])
        if reference_tag is not None:
            reference = reference_tag + number
        else:
            reference = lba + number if pi_type == 1 else _ESCAPE_REFERENCE
        result += _TAGS.pack(guard, application_tag, reference & 0xFFFFFFFF)
    return bytes(result)


def repeated_protection(first: bytes, blocks: int, *, counts: bool) -> bytes:
    """Protection information of one block for as many (SBC-4 5.51): with `counts` the reference tag goes up."""
    if not counts:
        return first * blocks
    guard, application, reference = _TAGS.unpack(first)
    return b"".join(_TAGS.pack(guard, application, reference + n & 0xFFFFFFFF) for n in range(blocks))


def compare_protection(
    received: bytes, stored: bytes, *, guard: bool, application: bool, reference: bool
) -> None:
    """Compare fields of protection information with those on the medium. Raises CheckCondition with MISCOMPARE and
    the code of the check (SBC-4 5.36)."""
    for ours, theirs in zip(_TAGS.iter_unpack(received), _TAGS.iter_unpack(stored), strict=True):
        for number, wanted in enumerate((guard, application, reference)):
            if wanted and ours[number] != theirs[number]:
                raise CheckCondition(asc.with_key(_FAILED[number], SenseKey.MISCOMPARE))


@value
class ProtectionCheck:
    """Which fields of protection information are checked, against what.

    Args:
        pi_type: 1 to 3.
        guard, application, reference: which fields.
        application_tag, application_mask: the expected tag; checked where the mask has ones.
        reference_tag: expected for the first block; the next blocks have the next numbers.
    """

    pi_type: int
    guard: bool
    application: bool
    reference: bool
    application_tag: int = 0
    application_mask: int = 0
    reference_tag: int = 0

    def check(self, data: Buffer, protection: Buffer, block_size: int, lba: int) -> None:
        """Check blocks from `lba` on. Raises CheckCondition with the LBA in INFORMATION (SBC-4 4.21.5)."""
        view = memoryview(data)
        for number, (guard, application, reference) in enumerate(_TAGS.iter_unpack(protection)):
            if self._escaped(application, reference):
                continue
            block = view[number * block_size : (number + 1) * block_size]
            if self.guard and guard != crc_t10(block):
                raise CheckCondition(asc.LOGICAL_BLOCK_GUARD_CHECK_FAILED, information=lba + number)
            if self.application and (application ^ self.application_tag) & self.application_mask:
                raise CheckCondition(asc.LOGICAL_BLOCK_APPLICATION_TAG_CHECK_FAILED, information=lba + number)
            if self.reference and reference != (self.reference_tag + number) & 0xFFFFFFFF:
                raise CheckCondition(asc.LOGICAL_BLOCK_REFERENCE_TAG_CHECK_FAILED, information=lba + number)

    def _escaped(self, application: int, reference: int) -> bool:
        """SBC-4 4.21.2: tags that switch the checks of a block off."""
        if application != _ESCAPE_APPLICATION:
            return False
        return self.pi_type != 3 or reference == _ESCAPE_REFERENCE

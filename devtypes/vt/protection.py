"""Logical block protection: a checksum behind each block on its way between application and drive (SSC-5 4.2.x, 8.3.9).

Method 1 is the Reed-Solomon CRC of ECMA-319 and its like, over GF(256); method 2 is CRC32C. Both have four bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from crc32c import crc32c

from scsiemu import asc
from scsiemu.command import Buffer
from scsiemu.sense import CheckCondition

__all__ = ["METHODS", "NO_PROTECTION", "ProtectionMethod", "crc32c_protection", "reed_solomon_crc"]


class ProtectionMethod:
    """No protection; the methods derive from it.

    Attributes:
        code: LOGICAL BLOCK PROTECTION METHOD.
        length: LOGICAL BLOCK PROTECTION INFORMATION LENGTH, bytes.
    """

    code = 0
    length = 0

    def protect(self, data: Buffer) -> Buffer:
        """The block with its protection information behind it."""
        return data

    def check(self, data: Buffer) -> Buffer:
        """The block without its protection information. Raises CheckCondition where that is wrong."""
        return data


class _Checksum(ProtectionMethod):
    """Four bytes of a checksum behind each block."""

    length = 4

    def __init__(self, code: int, checksum: Callable[[Buffer], bytes]) -> None:
        self.code = code
        self._checksum = checksum

    def protect(self, data: Buffer) -> Buffer:
        return b"".join((data, self._checksum(data)))

    def check(self, data: Buffer) -> Buffer:
        view = memoryview(data)
        block = view[: -self.length]
        if self._checksum(block) != view[-self.length :]:
            raise CheckCondition(asc.LOGICAL_BLOCK_GUARD_CHECK_FAILED)
        return block


def crc32c_protection(data: Buffer) -> bytes:
    """CRC32C as it goes behind a block: least significant byte first, as in an iSCSI digest."""
    return crc32c(data).to_bytes(4, "little")


def reed_solomon_crc(data: Buffer) -> bytes:
    """The Reed-Solomon CRC of a block, four bytes."""
    state = 0
    table = _RS_TABLE
    for byte in bytes(data):
        state = (state << 8 & 0xFFFFFFFF) ^ table[state >> 24 ^ byte]
    return state.to_bytes(4, "big")


def _multiply(left: int, right: int) -> int:
    """In GF(256) of x^8 + x^4 + x^3 + x^2 + 1."""
    product = 0
    while right:
        if right & 1:
            product ^= left
        left = left << 1 ^ (0x11D if left & 0x80 else 0)
        right >>= 1
    return product


def _power(exponent: int) -> int:
    """Of the primitive element."""
    result = 1
    for _ in range(exponent):
        result = _multiply(result, 2)
    return result


# The generator polynomial: x^4 + a^201 x^3 + a^246 x^2 + a^201 x + 1.
_GENERATOR: Final = (_power(201), _power(246), _power(201), 1)
_RS_TABLE: Final = tuple(
    int.from_bytes(bytes(_multiply(byte, coefficient) for coefficient in _GENERATOR), "big") for byte in range(256)
)

NO_PROTECTION: Final = ProtectionMethod()
METHODS: Final[dict[int, ProtectionMethod]] = {
    0: NO_PROTECTION, 1: _Checksum(1, reed_solomon_crc), 2: _Checksum(2, crc32c_protection),
}

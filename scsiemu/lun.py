"""Logical unit numbers in their 64-bit form (SAM-5 4.7).

Everywhere else in the engine a LUN is the eight bytes of the LUN field as one big-endian integer: LUN 1 is
0x0001000000000000. Here are its methods of addressing: how a number gets that form, and what a form says.

It does not know which logical units exist, and does not route by bus and target: a LUN of several levels is
explained, never resolved.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from scsiemu._value import value

__all__ = [
    "ACCESS_CONTROLS_W_LUN",
    "MANAGEMENT_PROTOCOL_W_LUN",
    "NOT_SPECIFIED",
    "REPORT_LUNS_W_LUN",
    "SECURITY_PROTOCOL_W_LUN",
    "TARGET_COMMANDS_W_LUN",
    "TARGET_LOG_PAGES_W_LUN",
    "WELL_KNOWN_NAMES",
    "AddressMethod",
    "LunAddress",
    "decode",
    "encode",
    "from_bytes",
    "is_well_known",
    "levels",
    "report_order",
    "to_bytes",
    "to_text",
    "unit_lun",
]

# SAM-5 4.7.11 and SPC-5 8: well-known logical units.
REPORT_LUNS_W_LUN: Final = 0xC101_0000_0000_0000
ACCESS_CONTROLS_W_LUN: Final = 0xC102_0000_0000_0000
TARGET_LOG_PAGES_W_LUN: Final = 0xC103_0000_0000_0000
SECURITY_PROTOCOL_W_LUN: Final = 0xC104_0000_0000_0000
MANAGEMENT_PROTOCOL_W_LUN: Final = 0xC105_0000_0000_0000
TARGET_COMMANDS_W_LUN: Final = 0xC106_0000_0000_0000

WELL_KNOWN_NAMES: Final[dict[int, str]] = {
    0x01: "REPORT LUNS",
    0x02: "ACCESS CONTROLS",
    0x03: "TARGET LOG PAGES",
    0x04: "SECURITY PROTOCOL",
    0x05: "MANAGEMENT PROTOCOL",
    0x06: "TARGET COMMANDS",
}

# SAM-5 4.7.7.5: logical unit not specified.
NOT_SPECIFIED: Final = 0xFFFF_FFFF_FFFF_FFFF


class AddressMethod:
    """Addressing methods (SAM-5 tables 11 and 15)."""

    PERIPHERAL: Final = "peripheral device"
    FLAT: Final = "flat space"
    LOGICAL_UNIT: Final = "logical unit"
    EXTENDED_FLAT: Final = "extended flat space"
    LONG_EXTENDED_FLAT: Final = "long extended flat space"
    WELL_KNOWN: Final = "well known logical unit"
    NOT_SPECIFIED: Final = "logical unit not specified"
    RESERVED: Final = "reserved extended"


@value
class LunAddress:
    """What the first level of a LUN says.

    Args:
        method: one of `AddressMethod`.
        number: the logical unit number, or the well-known number (W-LUN), or the value of a reserved method.
        bus: BUS IDENTIFIER or BUS NUMBER of the peripheral and logical unit methods.
        target: TARGET: where the peripheral method has a bus, or the logical unit method.
        length: bytes that this level takes.
    """

    method: str
    number: int
    bus: int = 0
    target: int = 0
    length: int = 2

    def __str__(self) -> str:
        if self.method == AddressMethod.NOT_SPECIFIED:
            return self.method
        if self.method == AddressMethod.WELL_KNOWN:
            name = WELL_KNOWN_NAMES.get(self.number, f"{self.number:02X}h")
            return f"{name} {self.method}"
        if self.method == AddressMethod.PERIPHERAL and self.bus:
            return f"{self.method}: bus {self.bus}, target {self.target}"
        if self.method == AddressMethod.LOGICAL_UNIT:
            return f"{self.method}: bus {self.bus}, target {self.target}, LUN {self.number}"
        return f"{self.method}: LUN {self.number}"


def encode(number: int, method: str | None = None) -> int:
    """The 64-bit form of a logical unit number of one level, by `method` or by the shortest that can hold it.

    Args:
        number: 0 and up; for WELL_KNOWN the low byte of the W-LUN (1 is REPORT LUNS).
        method: one of `AddressMethod`, but not LOGICAL_UNIT (whose bus and target a plain number lacks),
            NOT_SPECIFIED (a constant) or RESERVED.

    Raises:
        ValueError: the number does not fit.
    """
    for candidate, bits, prefix, shift in _METHODS:
        if method == candidate or (method is None and 0 <= number < 1 << bits):
            if not 0 <= number < 1 << bits:
                break
            return prefix << 56 | number << shift
    raise ValueError(f"LUN {number} does not fit the addressing method {method or 'of any kind'}")


# Method, bits of the number, first byte, where the number's low bit goes. Those for plain numbers come first.
_METHODS: Final = (
    (AddressMethod.PERIPHERAL, 8, 0x00, 48),
    (AddressMethod.FLAT, 14, 0x40, 48),
    (AddressMethod.EXTENDED_FLAT, 24, 0xD2, 32),
    (AddressMethod.LONG_EXTENDED_FLAT, 40, 0xE2, 16),
    (AddressMethod.WELL_KNOWN, 8, 0xC1, 48),
)


def unit_lun(number: int) -> int:
    """The 64-bit LUN that a person means by `number`: a plain number up to 2^40, or already a 64-bit LUN.

    Raises:
        ValueError: neither.
    """
    if 0 <= number < 1 << 40:
        return encode(number)
    if 1 << 48 <= number < 1 << 64:
        return number
    raise ValueError(f"{number:#x} is neither a logical unit number nor a 64-bit LUN")


def decode(lun: int) -> LunAddress:
    """What the first level of a 64-bit LUN says. Every LUN has an answer."""
    return _first_level(lun.to_bytes(8, "big"))


def levels(lun: int) -> tuple[LunAddress, ...]:
    """All levels of a LUN (SAM-5 4.7.4): further ones follow a bus of the peripheral or logical unit method.

    Trailing bytes that are not zero where no further level can be are not reported.
    """
    raw = lun.to_bytes(8, "big")
    found = [_first_level(raw)]
    at = found[0].length
    while at < 8 and _routes_on(found[-1]):
        address = _first_level(raw[at:].ljust(8, b"\0"))
        if address.length > 8 - at:
            # An extended form that has no room at this level.
            address = LunAddress(
                AddressMethod.RESERVED, int.from_bytes(raw[at + 1 :], "big"), length=8 - at
            )
        found.append(address)
        at += address.length
    return tuple(found)


def _routes_on(address: LunAddress) -> bool:
    """Whether the level addresses something below itself rather than a logical unit."""
    return address.method == AddressMethod.PERIPHERAL and address.bus != 0


def _first_level(raw: bytes) -> LunAddress:
    """The level at the start of `raw`, which has 8 bytes."""
    first = raw[0]
    method = first >> 6
    if method == 0:
        bus = first & 0x3F
        if bus:
            return LunAddress(AddressMethod.PERIPHERAL, 0, bus=bus, target=raw[1])
        return LunAddress(AddressMethod.PERIPHERAL, raw[1])
    if method == 1:
        return LunAddress(AddressMethod.FLAT, (first & 0x3F) << 8 | raw[1])
    if method == 2:
        return LunAddress(AddressMethod.LOGICAL_UNIT, raw[1] & 0x1F, bus=raw[1] >> 5, target=first & 0x3F)
    if raw == b"\xff" * 8:
        return LunAddress(AddressMethod.NOT_SPECIFIED, 0, length=8)
    # SAM-5 4.7.7.5: LENGTH says 1, 3, 5 or 7 bytes of value after the first byte.
    length = 2 * (first >> 4 & 3) + 1
    number = int.from_bytes(raw[1 : 1 + length], "big")
    name = _EXTENDED_METHODS.get(first, AddressMethod.RESERVED)
    return LunAddress(name, number, length=1 + length)


_EXTENDED_METHODS: Final = {
    0xC1: AddressMethod.WELL_KNOWN,
    0xD2: AddressMethod.EXTENDED_FLAT,
    0xE2: AddressMethod.LONG_EXTENDED_FLAT,
}


def is_well_known(lun: int) -> bool:
    """Whether a LUN is that of a well-known logical unit."""
    return lun >> 56 == 0xC1


def report_order(luns: Iterable[int]) -> list[int]:
    """LUNs in the order in which REPORT LUNS lists them.

    SPC-5 6.33 leaves the order open; ours is by number, so that LUN 0 comes first and well-known units last.
    """
    return sorted(set(luns))


def from_bytes(raw: bytes) -> int:
    """A LUN from its field: eight bytes, or the two of a single level. Raises ValueError for others."""
    if len(raw) not in (2, 8):
        raise ValueError(f"a LUN of {len(raw)} bytes")
    return int.from_bytes(raw.ljust(8, b"\0"), "big")


def to_bytes(lun: int) -> bytes:
    """The eight bytes of the LUN field."""
    return lun.to_bytes(8, "big")


def to_text(lun: int) -> str:
    """The shortest text that a person can read: `5`, `300`, `REPORT LUNS W-LUN`, else sixteen hex digits."""
    address = decode(lun)
    if address.method == AddressMethod.WELL_KNOWN and lun == encode(address.number, AddressMethod.WELL_KNOWN):
        return f"{WELL_KNOWN_NAMES.get(address.number, f'{address.number:02X}h')} W-LUN"
    if address.number < 1 << 40 and lun == encode(address.number):
        return str(address.number)
    return f"{lun:016x}"

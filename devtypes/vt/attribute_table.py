"""The attributes of medium auxiliary memory that there are: identifiers, formats, lengths (SPC-5 7.4, SSC-5 annex).

Device and medium attributes are made from state and cannot be written; host attributes are what initiators left. Vendor
specific host attributes (1400h to 17FFh) have any format and length.
"""

from __future__ import annotations

from typing import Final

from scsiemu._value import value

__all__ = ["ATTRIBUTES", "AttributeFormat", "AttributeKind", "HostRules", "attribute_kind"]

_VENDOR_FIRST: Final = 0x1400
_VENDOR_LAST: Final = 0x17FF
_LONGEST: Final = 4096                      # of a vendor specific host attribute, bytes


class AttributeFormat:
    """FORMAT field (SPC-5 table 374)."""

    BINARY: Final = 0
    ASCII: Final = 1
    TEXT: Final = 2


class HostRules:
    """Who may write an attribute."""

    READ_ONLY: Final = "read only"
    HOST: Final = "host"
    HOST_PER_PARTITION: Final = "host, each partition its own"


@value
class AttributeKind:
    """An attribute.

    Args:
        identifier: ATTRIBUTE IDENTIFIER.
        name: as in the standard.
        format: one of `AttributeFormat`; None for any.
        length: bytes; None where it may be up to `longest`.
        rules: one of `HostRules`.
        longest: where `length` is None.
    """

    identifier: int
    name: str
    format: int | None
    length: int | None
    rules: str = HostRules.READ_ONLY
    longest: int = 0

    @property
    def writable(self) -> bool:
        """Whether initiators may write it."""
        return self.rules != HostRules.READ_ONLY

    def takes(self, length: int) -> bool:
        """Whether a value may have this many bytes; none at all removes it."""
        return length == 0 or (length <= self.longest if self.length is None else length == self.length)


_BINARY, _ASCII, _TEXT = AttributeFormat.BINARY, AttributeFormat.ASCII, AttributeFormat.TEXT
_HOST, _EACH = HostRules.HOST, HostRules.HOST_PER_PARTITION

_TABLE: Final = (
    AttributeKind(0x0000, "REMAINING CAPACITY IN PARTITION", _BINARY, 8),
    AttributeKind(0x0001, "MAXIMUM CAPACITY IN PARTITION", _BINARY, 8),
    AttributeKind(0x0002, "TAPEALERT FLAGS", _BINARY, 8),
    AttributeKind(0x0003, "LOAD COUNT", _BINARY, 8),
    AttributeKind(0x0004, "MAM SPACE REMAINING", _BINARY, 8),
    AttributeKind(0x0005, "ASSIGNING ORGANIZATION", _ASCII, 8),
    AttributeKind(0x0006, "FORMATTED DENSITY CODE", _BINARY, 1),
    AttributeKind(0x0007, "INITIALIZATION COUNT", _BINARY, 2),
    AttributeKind(0x0009, "VOLUME CHANGE REFERENCE", _BINARY, 4),
    AttributeKind(0x020A, "DEVICE VENDOR/SERIAL NUMBER AT LAST LOAD", _ASCII, 40),
    AttributeKind(0x020B, "DEVICE VENDOR/SERIAL NUMBER AT LOAD-1", _ASCII, 40),
    AttributeKind(0x020C, "DEVICE VENDOR/SERIAL NUMBER AT LOAD-2", _ASCII, 40),
    AttributeKind(0x020D, "DEVICE VENDOR/SERIAL NUMBER AT LOAD-3", _ASCII, 40),
    AttributeKind(0x0220, "TOTAL MBYTES WRITTEN IN MEDIUM LIFE", _BINARY, 8),
    AttributeKind(0x0221, "TOTAL MBYTES READ IN MEDIUM LIFE", _BINARY, 8),
    AttributeKind(0x0222, "TOTAL MBYTES WRITTEN IN CURRENT/LAST LOAD", _BINARY, 8),
    AttributeKind(0x0223, "TOTAL MBYTES READ IN CURRENT/LAST LOAD", _BINARY, 8),
    AttributeKind(0x0400, "MEDIUM MANUFACTURER", _ASCII, 8),
    AttributeKind(0x0401, "MEDIUM SERIAL NUMBER", _ASCII, 32),
    AttributeKind(0x0402, "MEDIUM LENGTH", _BINARY, 4),
    AttributeKind(0x0403, "MEDIUM WIDTH", _BINARY, 4),
    AttributeKind(0x0404, "ASSIGNING ORGANIZATION", _ASCII, 8),
    AttributeKind(0x0405, "MEDIUM DENSITY CODE", _BINARY, 1),
    AttributeKind(0x0406, "MEDIUM MANUFACTURE DATE", _ASCII, 8),
    AttributeKind(0x0407, "MAM CAPACITY", _BINARY, 8),
    AttributeKind(0x0408, "MEDIUM TYPE", _BINARY, 1),
    AttributeKind(0x0409, "MEDIUM TYPE INFORMATION", _BINARY, 2),
    AttributeKind(0x0800, "APPLICATION VENDOR", _ASCII, 8, _HOST),
    AttributeKind(0x0801, "APPLICATION NAME", _ASCII, 32, _HOST),
    AttributeKind(0x0802, "APPLICATION VERSION", _ASCII, 8, _HOST),
    AttributeKind(0x0803, "USER MEDIUM TEXT LABEL", _TEXT, None, _HOST, 160),
    AttributeKind(0x0804, "DATE AND TIME LAST WRITTEN", _ASCII, 12, _HOST),
    AttributeKind(0x0805, "TEXT LOCALIZATION IDENTIFIER", _BINARY, 1, _HOST),
    AttributeKind(0x0806, "BARCODE", _ASCII, 32, _HOST),
    AttributeKind(0x0807, "OWNING HOST TEXTUAL NAME", _TEXT, None, _HOST, 80),
    AttributeKind(0x0808, "MEDIA POOL", _TEXT, None, _HOST, 160),
    AttributeKind(0x0809, "PARTITION USER TEXT LABEL", _ASCII, None, _EACH, 16),
    AttributeKind(0x080A, "LOAD/UNLOAD AT PARTITION", _BINARY, 1, _HOST),
    AttributeKind(0x080B, "APPLICATION FORMAT VERSION", _ASCII, None, _HOST, 16),
    AttributeKind(0x080C, "VOLUME COHERENCY INFORMATION", _BINARY, None, _EACH, 255),
    AttributeKind(0x0820, "MEDIUM GLOBALLY UNIQUE IDENTIFIER", _BINARY, 36, _HOST),
    AttributeKind(0x0821, "MEDIA POOL GLOBALLY UNIQUE IDENTIFIER", _BINARY, 36, _HOST),
)

ATTRIBUTES: Final[dict[int, AttributeKind]] = {kind.identifier: kind for kind in _TABLE}


def attribute_kind(identifier: int) -> AttributeKind | None:
    """The attribute of an identifier; None where there is none."""
    if _VENDOR_FIRST <= identifier <= _VENDOR_LAST:
        return AttributeKind(identifier, "HOST VENDOR SPECIFIC", None, None, HostRules.HOST, _LONGEST)
    return ATTRIBUTES.get(identifier)

"""TransportIDs: the names of initiator ports in parameter data (SPC-5 7.6.4).

`parse_transport_id` checks one and gives its canonical form, so that two TransportIDs of the same port are equal bytes:
iSCSI names and session identifiers in lower case, padding zero and as short as allowed. It does not know which ports
exist.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from scsiemu._value import value
from scsiemu.nexus import Protocol

__all__ = [
    "ISCSI_NAME_LIMIT", "TransportId", "TransportIdError", "canonical_transport_id", "iscsi_transport_id",
    "parse_transport_id",
]

# RFC 7143 4.2.7.1: bytes of an iSCSI name.
ISCSI_NAME_LIMIT: Final = 223

_SEPARATOR: Final = b",i,0x"
_ISID_DIGITS: Final = 12
_NAME_PREFIXES: Final = (b"iqn.", b"eui.", b"naa.")
_HEX: Final = frozenset(b"0123456789abcdef")

_SHORTEST: Final = 24           # all but iSCSI are exactly that long
_PORT_FORMAT: Final = 1         # iSCSI: format code 01b names a port, 00b a whole device

# Protocols with a fixed layout, to the bytes that are a name; the others are reserved (SPC-5 tables 502 to 508).
_NAME_BYTES: Final[dict[int, tuple[int, int]]] = {
    Protocol.FIBRE_CHANNEL: (8, 16),
    0x3: (8, 16),               # IEEE 1394
    Protocol.SRP: (8, 24),
    Protocol.SAS: (4, 12),
    0xA: (2, 4),                # SCSI over PCI Express
    Protocol.NONE: (1, 24),     # no standard: nexuses made inside a program, all bytes count
}


@value
class TransportId:
    """A TransportID that was checked.

    Args:
        canonical: its canonical form.
        length: bytes that it took in the parameter data.
        device_name: iSCSI name; empty for other protocols.
        names_device: it means all ports of that iSCSI device (format code 00b).
    """

    canonical: bytes
    length: int
    device_name: str = ""
    names_device: bool = False

    @property
    def protocol(self) -> int:
        """PROTOCOL IDENTIFIER."""
        return self.canonical[0] & 0x0F


class TransportIdError(ValueError):
    """Bytes that are no TransportID.

    Args:
        offset: of the byte at fault, from the start of the TransportID.
        bit: the bit at fault, where it is one.
        truncated: it goes on behind the end of the data.
    """

    def __init__(self, message: str, offset: int, bit: int | None = None, *, truncated: bool = False) -> None:
        super().__init__(message)
        self.offset = offset
        self.bit = bit
        self.truncated = truncated


def iscsi_transport_id(name: str, isid: bytes | None = None) -> bytes:
    """The canonical TransportID of an iSCSI initiator port, or of the whole device where there is no ISID (6 bytes).

    Raises ValueError for a name that is none.
    """
    encoded = name.lower().encode()
    if not 0 < len(encoded) <= ISCSI_NAME_LIMIT or b"\0" in encoded:
        raise ValueError(f"not an iSCSI name: {name!r}")
    if isid is None:
        return _build(0, encoded)
    return _build(_PORT_FORMAT, encoded + _SEPARATOR + isid.hex().rjust(_ISID_DIGITS, "0").encode())


def parse_transport_id(data: bytes) -> TransportId:
    """The TransportID at the start of `data`, which may go on behind it. Raises TransportIdError."""
    if len(data) < _SHORTEST:
        raise TransportIdError("shorter than any TransportID", 0, truncated=True)
    if data[0] & 0x30:
        raise TransportIdError("reserved bits in use", 0, 5 if data[0] & 0x20 else 4)
    protocol, format_code = data[0] & 0x0F, data[0] >> 6
    if protocol == Protocol.ISCSI:
        return _parse_iscsi(data, format_code)
    span = _NAME_BYTES.get(protocol)
    if span is None:
        raise TransportIdError("reserved protocol identifier", 0, 3)
    if format_code:
        raise TransportIdError("reserved format code", 0, 7)
    start, end = span
    canonical = data[:1] + bytes(start - 1) + data[start:end] + bytes(_SHORTEST - end)
    return TransportId(canonical, _SHORTEST)


@lru_cache(maxsize=4096)
def canonical_transport_id(transport_id: bytes) -> bytes:
    """The canonical form; what is no TransportID stays as it is (a transport of someone's own)."""
    try:
        parsed = parse_transport_id(transport_id)
    except TransportIdError:
        return transport_id
    return parsed.canonical if parsed.length == len(transport_id) else transport_id


def _build(format_code: int, text: bytes) -> bytes:
    """SPC-5 7.6.4.6: null-terminated, padded to a multiple of four, ADDITIONAL LENGTH at least 20."""
    length = max(20, len(text) + 1 + 3 & ~3)
    return bytes((format_code << 6 | Protocol.ISCSI, 0)) + length.to_bytes(2, "big") + text.ljust(length, b"\0")


def _parse_iscsi(data: bytes, format_code: int) -> TransportId:
    if format_code > _PORT_FORMAT:
        raise TransportIdError("reserved format code", 0, 7)
    additional = int.from_bytes(data[2:4], "big")
    if additional < 20 or additional % 4:
        raise TransportIdError("ADDITIONAL LENGTH is less than 20 or no multiple of 4", 2)
    if len(data) < 4 + additional:
        raise TransportIdError("ends before its ADDITIONAL LENGTH", 2, truncated=True)
    # The first null ends it, whatever ADDITIONAL LENGTH says.
    text, null, _ = data[4 : 4 + additional].partition(b"\0")
    if not null:
        raise TransportIdError("not null-terminated", 4 + additional - 1)
    name, separator, isid = text.partition(_SEPARATOR)
    if format_code == _PORT_FORMAT and not separator:
        raise TransportIdError("no separator before the initiator session identifier", 4)
    if format_code != _PORT_FORMAT and separator:
        raise TransportIdError("a port where a device is named", 4 + len(name))
    device_name = _check_name(name)
    if format_code != _PORT_FORMAT:
        return TransportId(iscsi_transport_id(device_name), 4 + additional, device_name, names_device=True)
    digits = isid.lower()
    if not 0 < len(digits) <= _ISID_DIGITS or not _HEX.issuperset(digits):
        raise TransportIdError("not an initiator session identifier", 4 + len(name) + len(_SEPARATOR))
    canonical = iscsi_transport_id(device_name, bytes.fromhex(digits.rjust(_ISID_DIGITS, b"0").decode()))
    return TransportId(canonical, 4 + additional, device_name)


def _check_name(name: bytes) -> str:
    """An iSCSI name (RFC 7143 4.2.7) in lower case."""
    if not 0 < len(name) <= ISCSI_NAME_LIMIT or not name.lower().startswith(_NAME_PREFIXES):
        raise TransportIdError("not an iSCSI name", 4)
    try:
        text = name.decode()
    except UnicodeDecodeError as error:
        raise TransportIdError("an iSCSI name is UTF-8", 4 + error.start) from None
    lowered = text.lower()
    if any(character <= " " or character in "\x7f," for character in lowered):
        raise TransportIdError("a character that iSCSI names cannot have", 4)
    if len(lowered.encode()) > ISCSI_NAME_LIMIT:
        raise TransportIdError("not an iSCSI name", 4)
    return lowered

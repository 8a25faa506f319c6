"""Messages of vhost-user: header {request, flags, size} and payloads, little-endian, as codecs of both sides.

Descriptors travel beside the bytes, with the header. It does NOT: read sockets, or know what a message means to a
device (device.py).
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from scsiemu.errors import RemoteProtocolError
from transports.vhost.codes import MessageFlags

__all__ = [
    "CONFIG_LIMIT", "HEADER_LENGTH", "PAYLOAD_LIMIT", "TABLE_LIMIT", "ConfigPayload", "Header", "Region",
    "RingAddresses", "RingState", "VhostError", "decode_config", "decode_header", "decode_region",
    "decode_ring_addresses", "decode_ring_state", "decode_table", "decode_u64", "encode_config", "encode_message",
    "encode_region", "encode_table", "encode_u64",
]

HEADER_LENGTH: Final = 12
PAYLOAD_LIMIT: Final = 1024             # bytes: the longest that we know is far below
TABLE_LIMIT: Final = 8                  # regions of SET_MEM_TABLE
CONFIG_LIMIT: Final = 256               # bytes of configuration space in a message

_HEADER: Final = struct.Struct("<III")
_U64: Final = struct.Struct("<Q")
_STATE: Final = struct.Struct("<II")
_ADDRESSES: Final = struct.Struct("<IIQQQQ")
_REGION: Final = struct.Struct("<QQQQ")
_CONFIG: Final = struct.Struct("<III")


class VhostError(RemoteProtocolError):
    """The front end, or the driver in its guest, broke the protocol: the connection ends."""


class Header(NamedTuple):
    """What a message begins with."""

    request: int
    flags: int
    size: int

    @property
    def need_reply(self) -> bool:
        """The front end waits for an acknowledgement."""
        return bool(self.flags & MessageFlags.NEED_REPLY)


def decode_header(data: bytes) -> Header:
    """Raises VhostError: another version, a reply, or a payload that is too long."""
    header = Header(*_HEADER.unpack(data))
    if header.flags & MessageFlags.VERSION_MASK != MessageFlags.VERSION:
        raise VhostError(f"version {header.flags & MessageFlags.VERSION_MASK} of vhost-user")
    if header.size > PAYLOAD_LIMIT:
        raise VhostError(f"a message of {header.size} bytes")
    return header


def encode_message(request: int, payload: bytes = b"", flags: int = 0) -> bytes:
    """A message with its header; `flags` beside the version."""
    return _HEADER.pack(request, flags | MessageFlags.VERSION, len(payload)) + payload


def _unpack(layout: struct.Struct, payload: bytes) -> tuple[int, ...]:
    if len(payload) != layout.size:
        raise VhostError(f"a payload of {len(payload)} bytes where {layout.size} belong")
    return layout.unpack(payload)


def decode_u64(payload: bytes) -> int:
    """A number. Raises VhostError."""
    return _unpack(_U64, payload)[0]


def encode_u64(number: int) -> bytes:
    """The payload of a number."""
    return _U64.pack(number)


class RingState(NamedTuple):
    """A number that is about a ring: its size, its base, whether it is enabled."""

    ring: int
    number: int

    def encode(self) -> bytes:
        """The payload."""
        return _STATE.pack(*self)


def decode_ring_state(payload: bytes) -> RingState:
    """Raises VhostError."""
    return RingState(*_unpack(_STATE, payload))


class RingAddresses(NamedTuple):
    """Where the parts of a ring are, as addresses of the front end's process."""

    ring: int
    flags: int
    descriptors: int
    used: int
    available: int
    log: int

    def encode(self) -> bytes:
        """The payload."""
        return _ADDRESSES.pack(*self)


def decode_ring_addresses(payload: bytes) -> RingAddresses:
    """Raises VhostError."""
    return RingAddresses(*_unpack(_ADDRESSES, payload))


class Region(NamedTuple):
    """A piece of guest memory: its guest physical address, bytes, address in the front end, place in its file."""

    guest: int
    size: int
    user: int
    offset: int


def _check_region(region: Region) -> Region:
    if not region.size or max(region.guest, region.user, region.offset) + region.size > 1 << 64:
        raise VhostError(f"a memory region of {region.size} bytes at {region.guest:#x}")
    return region


def decode_table(payload: bytes) -> tuple[Region, ...]:
    """The regions of SET_MEM_TABLE. Raises VhostError."""
    if len(payload) < _STATE.size:
        raise VhostError(f"a memory table of {len(payload)} bytes")
    count, _ = _STATE.unpack_from(payload)
    if not 0 < count <= TABLE_LIMIT or len(payload) < _STATE.size + count * _REGION.size:
        raise VhostError(f"a memory table of {count} regions in {len(payload)} bytes")
    return tuple(
        _check_region(Region(*_REGION.unpack_from(payload, _STATE.size + number * _REGION.size)))
        for number in range(count)
    )


def encode_table(regions: tuple[Region, ...]) -> bytes:
    """The payload of SET_MEM_TABLE."""
    return _STATE.pack(len(regions), 0) + b"".join(_REGION.pack(*region) for region in regions)


def decode_region(payload: bytes) -> Region:
    """The region of ADD_MEM_REG and REM_MEM_REG. Raises VhostError."""
    if len(payload) != _U64.size + _REGION.size:
        raise VhostError(f"a memory region of {len(payload)} bytes")
    return _check_region(Region(*_REGION.unpack_from(payload, _U64.size)))


def encode_region(region: Region) -> bytes:
    """Its payload."""
    return bytes(_U64.size) + _REGION.pack(*region)


class ConfigPayload(NamedTuple):
    """Bytes of configuration space."""

    offset: int
    flags: int
    data: bytes


def decode_config(payload: bytes) -> ConfigPayload:
    """Raises VhostError."""
    if len(payload) < _CONFIG.size:
        raise VhostError(f"a configuration message of {len(payload)} bytes")
    offset, size, flags = _CONFIG.unpack_from(payload)
    if size > CONFIG_LIMIT or len(payload) != _CONFIG.size + size or offset + size > CONFIG_LIMIT:
        raise VhostError(f"{size} bytes of configuration space at {offset}")
    return ConfigPayload(offset, flags, payload[_CONFIG.size :])


def encode_config(config: ConfigPayload) -> bytes:
    """Its payload."""
    return _CONFIG.pack(config.offset, len(config.data), config.flags) + config.data

"""Management datagrams of virtual SCSI: their header, and the buffers of ADAPTER INFO and CAPABILITIES.

A datagram is a header in the client's memory whose answer is the same header with a status, written over it; most
name a buffer that the server reads, fills in and writes back.

It does NOT: answer them (mad_server.py).
"""

from __future__ import annotations

import struct
from typing import Final

from scsiemu._value import value
from scsiemu.command import Buffer
from scsiemu.errors import RemoteProtocolError
from transports.vscsi.codes import OsType

__all__ = [
    "ADAPTER_INFO_LENGTH", "CAPABILITIES_LENGTH", "HEADER_LENGTH", "MAD_LENGTH", "AdapterInfo", "Capabilities",
    "Capability", "CapabilityFlags", "CapabilityType", "Mad", "MadError", "decode_adapter_info",
    "decode_capabilities", "decode_mad",
]

HEADER_LENGTH: Final = 16           # ENABLE FAST FAIL has nothing else
MAD_LENGTH: Final = 24              # with the address of a buffer
ADAPTER_INFO_LENGTH: Final = 148
CAPABILITIES_LENGTH: Final = 68     # before the list

_HEADER: Final = struct.Struct(">IHHQ")
_INFO: Final = struct.Struct(">8s96sIII8I")
_CAPABILITIES: Final = struct.Struct(">I32s32s")
_CAPABILITY: Final = struct.Struct(">IHHI")
_CAPABILITY_HEAD: Final = struct.Struct(">IHH")
_ADDRESS: Final = struct.Struct(">Q")
_MOST_CAPABILITIES: Final = 64


class MadError(RemoteProtocolError):
    """Bytes that are no management datagram, or not the buffer of one."""


@value
class Mad:
    """A management datagram.

    Args:
        type: one of `MadType`.
        tag: opaque.
        status: one of `MadStatus`, 0 in a request.
        length: bytes of the buffer.
        buffer: its bus address; None where the datagram has none.
    """

    type: int
    tag: int
    status: int = 0
    length: int = 0
    buffer: int | None = None

    def encode(self) -> bytes:
        """Its bytes."""
        head = _HEADER.pack(self.type, self.status, self.length, self.tag)
        return head if self.buffer is None else head + self.buffer.to_bytes(8, "big")


def decode_mad(data: Buffer) -> Mad:
    """A management datagram. Raises MadError."""
    if len(data) < HEADER_LENGTH:
        raise MadError(f"a management datagram of {len(data)} bytes")
    kind, status, length, tag = _HEADER.unpack_from(data)
    buffer = None
    if len(data) >= MAD_LENGTH:
        buffer = _ADDRESS.unpack_from(data, HEADER_LENGTH)[0]
    return Mad(kind, tag, status, length, buffer)


@value
class AdapterInfo:
    """What partners tell each other with ADAPTER INFO.

    Args:
        partition_name, partition_number: who.
        os_type: one of `OsType`.
        max_transfer: bytes of one command, for each of up to eight ports.
        srp_version: of the standard.
        mad_version: 1.
    """

    partition_name: str
    partition_number: int
    os_type: int = OsType.LINUX
    max_transfer: tuple[int, ...] = (0,)
    srp_version: str = "16.a"
    mad_version: int = 1

    def encode(self) -> bytes:
        """Its 148 bytes."""
        ports = (*self.max_transfer, *[0] * 8)[:8]
        return _INFO.pack(
            self.srp_version.encode()[:8], self.partition_name.encode()[:96], self.partition_number, self.mad_version,
            self.os_type, *ports,
        )


def decode_adapter_info(data: Buffer) -> AdapterInfo:
    """From its 148 bytes. Raises MadError."""
    if len(data) < ADAPTER_INFO_LENGTH:
        raise MadError(f"adapter info of {len(data)} bytes")
    version, name, number, mad_version, os_type, *ports = _INFO.unpack_from(data)
    return AdapterInfo(_text(name), number, os_type, tuple(ports), _text(version), mad_version)


class CapabilityFlags:
    """FLAGS of a capabilities buffer."""

    MIGRATED: Final = 1
    RECONNECT: Final = 2
    LIST_SUPPORTED: Final = 4
    LIST_DATA: Final = 8


class CapabilityType:
    """Types of capabilities."""

    MIGRATION: Final = 1
    RESERVE: Final = 2


@value
class Capability:
    """One capability of the list.

    Args:
        type: one of `CapabilityType`, or another.
        support: SERVER SUPPORT: 0 none, 1 yes, 2 yes and its data is valid.
        data: a number of its own: of RESERVE the kind (1: SCSI-2 reserve), of MIGRATION the class.
    """

    type: int
    support: int = 0
    data: int = 0


@value
class Capabilities:
    """The buffer of CAPABILITIES; `flags` are of `CapabilityFlags`."""

    flags: int
    name: str = ""
    location: str = ""
    entries: tuple[Capability, ...] = ()

    def encode(self) -> bytes:
        """Its bytes."""
        head = _CAPABILITIES.pack(self.flags, self.name.encode()[:32], self.location.encode()[:32])
        return head + b"".join(
            _CAPABILITY.pack(entry.type, _CAPABILITY.size, entry.support, entry.data) for entry in self.entries
        )


def decode_capabilities(data: Buffer) -> Capabilities:
    """From its bytes. Raises MadError for lengths that cannot be."""
    if len(data) < CAPABILITIES_LENGTH:
        raise MadError(f"capabilities of {len(data)} bytes")
    flags, name, location = _CAPABILITIES.unpack_from(data)
    found: list[Capability] = []
    at = CAPABILITIES_LENGTH
    while at + _CAPABILITY_HEAD.size <= len(data) and len(found) < _MOST_CAPABILITIES:
        kind, length, support = _CAPABILITY_HEAD.unpack_from(data, at)
        if length != _CAPABILITY.size or at + length > len(data):
            raise MadError(f"a capability of {length} bytes")
        found.append(Capability(kind, support, _CAPABILITY.unpack_from(data, at)[3]))
        at += length
    return Capabilities(flags, _text(name), _text(location), tuple(found))


def _text(raw: bytes) -> str:
    """Text that ends with the first null; what is not ASCII becomes escapes."""
    return raw.partition(b"\0")[0].decode("ascii", "backslashreplace")

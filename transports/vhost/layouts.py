"""Requests, responses and events of virtio-scsi (Virtual I/O Device 1.2, 5.6.6), and its LUNs and configuration space.

Both sides' codecs by precompiled structs; their readable form is scsiemu/formats/virtio_scsi.py.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from scsiemu.lun import REPORT_LUNS_W_LUN
from transports.vhost.codes import ControlType

__all__ = [
    "CDB_SIZE", "CONFIG_LENGTH", "EVENT_LENGTH", "REQUEST_HEADER", "RESPONSE_HEADER", "SENSE_SIZE", "Configuration",
    "ControlRequest", "Event", "RequestHeader", "decode_configuration", "decode_control", "decode_event",
    "decode_notification_response", "decode_request", "decode_response", "encode_notification_response",
    "encode_response", "lun_field", "lun_of",
]

REQUEST_HEADER: Final = 19              # bytes before the CDB
RESPONSE_HEADER: Final = 12             # bytes before the sense data
CDB_SIZE: Final = 32                    # until the driver sets others
SENSE_SIZE: Final = 96
EVENT_LENGTH: Final = 16
CONFIG_LENGTH: Final = 36

_REQUEST: Final = struct.Struct("<8sQBBB")
_RESPONSE: Final = struct.Struct("<IIHBB")
_FUNCTION: Final = struct.Struct("<II8sQ")
_NOTIFICATION: Final = struct.Struct("<I8sI")
_NOTIFICATION_RESPONSE: Final = struct.Struct("<IB")
_EVENT: Final = struct.Struct("<I8sI")
_CONFIG: Final = struct.Struct("<IIIIIIIHHI")
_TYPE: Final = struct.Struct("<I")

_WELL_KNOWN_FIELD: Final = b"\xc1\x01" + bytes(6)


def lun_of(field: bytes) -> tuple[int, int] | None:  # hot
    """Target and LUN of a LUN field; None: it is not in the form of 5.6.6.1.

    The LUN is of one level; what follows it, zero by the standard, is kept so that such a LUN is nobody's.
    """
    if field[0] == 1:
        return field[1], int.from_bytes(field[2:], "big") << 16
    return (0, REPORT_LUNS_W_LUN) if field == _WELL_KNOWN_FIELD else None


def lun_field(target: int, lun: int) -> bytes:
    """The field of a LUN in the engine's form. Of single levels the flat space method is used (5.6.6.1).

    Raises ValueError where it has more than six bytes.
    """
    if lun & 0xFFFF:
        raise ValueError(f"LUN {lun:016x} has more than six bytes")
    if not lun >> 56 and not lun & 0xFFFF_FFFF_FFFF:
        lun |= 0x4000_0000_0000_0000
    return bytes((1, target)) + (lun >> 16).to_bytes(6, "big")


class RequestHeader(NamedTuple):
    """A request without its CDB."""

    lun: bytes
    tag: int
    attribute: int
    priority: int
    crn: int

    def encode(self, cdb: bytes) -> bytes:
        """With its CDB, which has the size that was agreed upon."""
        return _REQUEST.pack(*self) + cdb


def decode_request(data: bytes) -> tuple[RequestHeader, bytes]:  # hot
    """Header and CDB of at least nineteen bytes."""
    return RequestHeader(*_REQUEST.unpack_from(data)), data[REQUEST_HEADER:]


def encode_response(
    response: int, status: int = 0, residual: int = 0, sense: bytes = b"", qualifier: int = 0,
    sense_size: int = SENSE_SIZE,
) -> bytes:  # hot
    """A response; sense data is cut or padded to its size."""
    sense = sense[:sense_size]
    return _RESPONSE.pack(len(sense), min(residual, 0xFFFF_FFFF), qualifier, status, response) + sense.ljust(
        sense_size, b"\0"
    )


def decode_response(data: bytes) -> tuple[int, int, int, int, bytes]:
    """Response, status, residual, status qualifier, sense data."""
    length, residual, qualifier, status, response = _RESPONSE.unpack_from(data)
    return response, status, residual, qualifier, data[RESPONSE_HEADER : RESPONSE_HEADER + length]


class ControlRequest(NamedTuple):
    """A request of the control queue.

    Args:
        type: one of `ControlType`.
        lun: LUN field.
        function, tag: of task management.
        events: of asynchronous notification.
    """

    type: int
    lun: bytes
    function: int = 0
    tag: int = 0
    events: int = 0

    def encode(self) -> bytes:
        """Its bytes."""
        if self.type == ControlType.TASK_MANAGEMENT:
            return _FUNCTION.pack(self.type, self.function, self.lun, self.tag)
        return _NOTIFICATION.pack(self.type, self.lun, self.events)


def decode_control(data: bytes) -> ControlRequest | None:
    """None: it is too short, or of no known type."""
    if len(data) < _TYPE.size:
        return None
    (kind,) = _TYPE.unpack_from(data)
    if kind == ControlType.TASK_MANAGEMENT and len(data) >= _FUNCTION.size:
        _, function, lun, tag = _FUNCTION.unpack_from(data)
        return ControlRequest(kind, lun, function, tag)
    known = kind in (ControlType.NOTIFICATION_QUERY, ControlType.NOTIFICATION_SUBSCRIBE)
    if known and len(data) >= _NOTIFICATION.size:
        _, lun, events = _NOTIFICATION.unpack_from(data)
        return ControlRequest(kind, lun, events=events)
    return None


def encode_notification_response(events: int, response: int) -> bytes:
    """The answer to a query or subscription: the events that there are."""
    return _NOTIFICATION_RESPONSE.pack(events, response)


def decode_notification_response(data: bytes) -> tuple[int, int]:
    """Events, response."""
    events, response = _NOTIFICATION_RESPONSE.unpack_from(data)
    return events, response


class Event(NamedTuple):
    """What the event queue tells: type, LUN field, reason."""

    type: int
    lun: bytes = bytes(8)
    reason: int = 0

    def encode(self) -> bytes:
        """Its sixteen bytes."""
        return _EVENT.pack(*self)


def decode_event(data: bytes) -> Event:
    """Of sixteen bytes."""
    return Event(*_EVENT.unpack(data))


class Configuration(NamedTuple):
    """The configuration space (5.6.4). The driver may write `sense_size` and `cdb_size`."""

    num_queues: int
    seg_max: int
    max_sectors: int
    cmd_per_lun: int
    event_info_size: int = EVENT_LENGTH
    sense_size: int = SENSE_SIZE
    cdb_size: int = CDB_SIZE
    max_channel: int = 0
    max_target: int = 255
    max_lun: int = 16383

    def encode(self) -> bytes:
        """Its bytes."""
        return _CONFIG.pack(*self)


def decode_configuration(data: bytes) -> Configuration:
    """Of thirty-six bytes."""
    return Configuration(*_CONFIG.unpack(data))

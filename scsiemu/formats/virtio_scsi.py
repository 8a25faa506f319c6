"""Requests, responses and events of virtio-scsi, and messages of vhost-user, as construct definitions.

From the tables of Virtual I/O Device 1.2 (5.6.4, 5.6.6, 2.7.5) and of the vhost-user protocol; all little-endian. They
are the readable specification that the fast codecs in `transports/vhost` are tested against.

They do NOT check anything, and are never on the path of a command.
"""

from __future__ import annotations

from typing import Final

from construct import Array, Bytes, Int8ul, Int16ul, Int32ul, Int64ul, Padding, Struct, this

__all__ = [
    "CONFIGURATION", "DESCRIPTOR", "EVENT", "MEMORY_TABLE", "MESSAGE", "NOTIFICATION", "NOTIFICATION_RESPONSE",
    "REQUEST", "RESPONSE", "RING_ADDRESSES", "TASK_MANAGEMENT",
]

REQUEST: Final = Struct(
    "lun" / Bytes(8),
    "tag" / Int64ul,
    "task_attribute" / Int8ul,
    "priority" / Int8ul,
    "crn" / Int8ul,
    "cdb" / Bytes(32),
)

RESPONSE: Final = Struct(
    "sense_length" / Int32ul,
    "residual" / Int32ul,
    "status_qualifier" / Int16ul,
    "status" / Int8ul,
    "response" / Int8ul,
    "sense" / Bytes(96),
)

TASK_MANAGEMENT: Final = Struct(
    "type" / Int32ul,
    "subtype" / Int32ul,
    "lun" / Bytes(8),
    "tag" / Int64ul,
)

NOTIFICATION: Final = Struct("type" / Int32ul, "lun" / Bytes(8), "event_requested" / Int32ul)

NOTIFICATION_RESPONSE: Final = Struct("event_actual" / Int32ul, "response" / Int8ul)

EVENT: Final = Struct("event" / Int32ul, "lun" / Bytes(8), "reason" / Int32ul)

CONFIGURATION: Final = Struct(
    "num_queues" / Int32ul,
    "seg_max" / Int32ul,
    "max_sectors" / Int32ul,
    "cmd_per_lun" / Int32ul,
    "event_info_size" / Int32ul,
    "sense_size" / Int32ul,
    "cdb_size" / Int32ul,
    "max_channel" / Int16ul,
    "max_target" / Int16ul,
    "max_lun" / Int32ul,
)

DESCRIPTOR: Final = Struct("address" / Int64ul, "length" / Int32ul, "flags" / Int16ul, "next" / Int16ul)

MESSAGE: Final = Struct(
    "request" / Int32ul,
    "flags" / Int32ul,
    "size" / Int32ul,
    "payload" / Bytes(this.size),
)

RING_ADDRESSES: Final = Struct(
    "ring" / Int32ul,
    "flags" / Int32ul,
    "descriptors" / Int64ul,
    "used" / Int64ul,
    "available" / Int64ul,
    "log" / Int64ul,
)

MEMORY_TABLE: Final = Struct(
    "count" / Int32ul,
    Padding(4),
    "regions" / Array(this.count, Struct(
        "guest" / Int64ul, "size" / Int64ul, "user" / Int64ul, "offset" / Int64ul,
    )),
)

"""Numbers of vhost-user and of virtio-scsi (Virtual I/O Device 1.2, 2.7, 5.6 and 6)."""

from __future__ import annotations

from typing import Final

__all__ = [
    "CONTROL_QUEUE", "EVENT_QUEUE", "FIRST_REQUEST_QUEUE", "AttributeCode", "ControlType", "DescriptorFlags",
    "EventReason", "EventType", "Feature", "Function", "MessageFlags", "MessageRequest", "ProtocolFeature",
    "Response",
]

CONTROL_QUEUE: Final = 0
EVENT_QUEUE: Final = 1
FIRST_REQUEST_QUEUE: Final = 2


class MessageRequest:
    """Requests of the front end."""

    GET_FEATURES: Final = 1
    SET_FEATURES: Final = 2
    SET_OWNER: Final = 3
    RESET_OWNER: Final = 4
    SET_MEM_TABLE: Final = 5
    SET_VRING_NUM: Final = 8
    SET_VRING_ADDR: Final = 9
    SET_VRING_BASE: Final = 10
    GET_VRING_BASE: Final = 11
    SET_VRING_KICK: Final = 12
    SET_VRING_CALL: Final = 13
    SET_VRING_ERR: Final = 14
    GET_PROTOCOL_FEATURES: Final = 15
    SET_PROTOCOL_FEATURES: Final = 16
    GET_QUEUE_NUM: Final = 17
    SET_VRING_ENABLE: Final = 18
    GET_CONFIG: Final = 24
    SET_CONFIG: Final = 25
    RESET_DEVICE: Final = 34
    GET_MAX_MEM_SLOTS: Final = 36
    ADD_MEM_REG: Final = 37
    REM_MEM_REG: Final = 38


class MessageFlags:
    """Of a message's header."""

    VERSION: Final = 1
    VERSION_MASK: Final = 3
    REPLY: Final = 4
    NEED_REPLY: Final = 8


class Feature:
    """Feature bits as masks: of virtio-scsi, of rings, of vhost-user."""

    INOUT: Final = 1 << 0
    HOTPLUG: Final = 1 << 1
    CHANGE: Final = 1 << 2
    INDIRECT_DESC: Final = 1 << 28
    EVENT_IDX: Final = 1 << 29
    PROTOCOL_FEATURES: Final = 1 << 30
    VERSION_1: Final = 1 << 32


class ProtocolFeature:
    """Protocol feature bits of vhost-user, as masks."""

    MQ: Final = 1 << 0
    REPLY_ACK: Final = 1 << 3
    CONFIG: Final = 1 << 9
    RESET_DEVICE: Final = 1 << 13
    CONFIGURE_MEM_SLOTS: Final = 1 << 15


class DescriptorFlags:
    """Of a descriptor of a split ring (2.7.5)."""

    NEXT: Final = 1
    WRITE: Final = 2
    INDIRECT: Final = 4


class Response:
    """Response codes (5.6.6.1, 5.6.6.2)."""

    OK: Final = 0
    OVERRUN: Final = 1
    ABORTED: Final = 2
    BAD_TARGET: Final = 3
    RESET: Final = 4
    BUSY: Final = 5
    TRANSPORT_FAILURE: Final = 6
    TARGET_FAILURE: Final = 7
    NEXUS_FAILURE: Final = 8
    FAILURE: Final = 9
    FUNCTION_SUCCEEDED: Final = 10
    FUNCTION_REJECTED: Final = 11
    INCORRECT_LUN: Final = 12


class AttributeCode:
    """Task attributes of a request: not the numbers of other protocols."""

    SIMPLE: Final = 0
    ORDERED: Final = 1
    HEAD_OF_QUEUE: Final = 2
    ACA: Final = 3


class ControlType:
    """What the control queue is asked."""

    TASK_MANAGEMENT: Final = 0
    NOTIFICATION_QUERY: Final = 1
    NOTIFICATION_SUBSCRIBE: Final = 2


class Function:
    """Task management functions."""

    ABORT_TASK: Final = 0
    ABORT_TASK_SET: Final = 1
    CLEAR_ACA: Final = 2
    CLEAR_TASK_SET: Final = 3
    I_T_NEXUS_RESET: Final = 4
    LOGICAL_UNIT_RESET: Final = 5
    QUERY_TASK: Final = 6
    QUERY_TASK_SET: Final = 7


class EventType:
    """Of the event queue (5.6.6.3)."""

    NO_EVENT: Final = 0
    TRANSPORT_RESET: Final = 1
    ASYNC_NOTIFY: Final = 2
    PARAM_CHANGE: Final = 3
    EVENTS_MISSED: Final = 0x8000_0000


class EventReason:
    """Of a transport reset."""

    HARD: Final = 0
    RESCAN: Final = 1
    REMOVED: Final = 2

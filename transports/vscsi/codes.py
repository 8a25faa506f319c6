"""Numbers of SRP (rev 16a) and of IBM virtual SCSI: types, flags, formats, reasons, return codes.

Plain integers in namespaces, as in `scsiemu.sam`; the `*_NAMES` tables are for people.
"""

from __future__ import annotations

from typing import Final

__all__ = [
    "IU_LENGTH", "RETURN_NAMES", "BufferFormat", "CrqFormat", "CrqStatus", "CrqValid", "FormatMask", "Hcall",
    "InitFormat", "IuType", "LoginReason", "MadStatus", "MadType", "MessageStatus", "OsType", "ResponseCode",
    "ResponseFlags", "Return", "SolicitedNotification", "SrpTask",
    "TransportEvent",
]

# The longest information unit of virtual SCSI, bytes.
IU_LENGTH: Final = 256


class IuType:
    """TYPE, byte 0 of an information unit. Bit 7: from the target."""

    LOGIN_REQ: Final = 0x00
    TSK_MGMT: Final = 0x01
    CMD: Final = 0x02
    I_LOGOUT: Final = 0x03
    CRED_RSP: Final = 0x41
    AER_RSP: Final = 0x42
    T_LOGOUT: Final = 0x80
    CRED_REQ: Final = 0x81
    AER_REQ: Final = 0x82
    LOGIN_RSP: Final = 0xC0
    RSP: Final = 0xC1
    LOGIN_REJ: Final = 0xC2


class BufferFormat:
    """Data buffer descriptor formats, a nibble each way."""

    NONE: Final = 0
    DIRECT: Final = 1
    INDIRECT: Final = 2


class FormatMask:
    """REQUIRED and SUPPORTED BUFFER FORMATS of a login."""

    DIRECT: Final = 0x0002
    INDIRECT: Final = 0x0004
    ALL: Final = 0x0006


class LoginReason:
    """REASON of a login reject."""

    UNABLE_TO_ESTABLISH: Final = 0x00010000
    INSUFFICIENT_RESOURCES: Final = 0x00010001
    IU_LENGTH_TOO_LARGE: Final = 0x00010002
    UNABLE_TO_ASSOCIATE: Final = 0x00010003
    UNSUPPORTED_DESCRIPTOR_FORMAT: Final = 0x00010004
    MULTICHANNEL_UNSUPPORTED: Final = 0x00010005
    CHANNEL_LIMIT: Final = 0x00010006


class SolicitedNotification:
    """Byte 1 of a request: in which case bit 0 of byte 1 of the response is to be set."""

    SUCCESSFUL: Final = 0x02
    UNSUCCESSFUL: Final = 0x04


class SrpTask:
    """TASK MANAGEMENT FUNCTION of an SRP_TSK_MGMT."""

    ABORT_TASK: Final = 0x01
    ABORT_TASK_SET: Final = 0x02
    CLEAR_TASK_SET: Final = 0x04
    LUN_RESET: Final = 0x08
    CLEAR_ACA: Final = 0x40


class ResponseFlags:
    """Byte 18 of an SRP_RSP: what is valid in it, and how each residual is meant."""

    RESPONSE_VALID: Final = 0x01
    SENSE_VALID: Final = 0x02
    DATA_OUT_OVER: Final = 0x04
    DATA_OUT_UNDER: Final = 0x08
    DATA_IN_OVER: Final = 0x10
    DATA_IN_UNDER: Final = 0x20


class ResponseCode:
    """RSP_CODE, the last of the four bytes of response data."""

    COMPLETE: Final = 0x00
    FIELDS_INVALID: Final = 0x02
    NOT_SUPPORTED: Final = 0x04
    FAILED: Final = 0x05


class CrqValid:
    """Byte 0 of a CRQ element."""

    FREE: Final = 0x00
    MESSAGE: Final = 0x80
    INIT: Final = 0xC0
    TRANSPORT_EVENT: Final = 0xFF


class CrqFormat:
    """Byte 1 of a CRQ element that is a message."""

    SRP: Final = 0x01
    MAD: Final = 0x02
    MESSAGE_IN_CRQ: Final = 0x06


class InitFormat:
    """Byte 1 of an initialization message."""

    INIT: Final = 0x01
    INIT_COMPLETE: Final = 0x02


class TransportEvent:
    """Byte 1 of a transport event."""

    PARTNER_FAILED: Final = 0x01
    PARTNER_DEREGISTERED: Final = 0x02
    MIGRATED: Final = 0x06
    PREPARE_FOR_SUSPEND: Final = 0x09
    RESUMED: Final = 0x0A


class CrqStatus:
    """Byte 3 of a CRQ element that brings a response."""

    OK: Final = 0x00
    NON_RECOVERABLE: Final = 0x01
    VIOLATES_MAX_TRANSFER: Final = 0x02
    PARTNER_PANIC: Final = 0x03
    DEVICE_BUSY: Final = 0x08
    ADAPTER_FAIL: Final = 0x10
    OK2: Final = 0x99


class MessageStatus:
    """Byte 3 of a message that is in the CRQ element itself."""

    PING: Final = 0xF5
    PING_RESPONSE: Final = 0xF6


class MadType:
    """Types of management datagrams."""

    EMPTY_IU: Final = 1
    ERROR_LOG: Final = 2
    ADAPTER_INFO: Final = 3
    HOST_CONFIG: Final = 4
    CAPABILITIES: Final = 5
    ENABLE_FAST_FAIL: Final = 8


class MadStatus:
    """Status of a management datagram's response."""

    SUCCESS: Final = 0x00
    NOT_SUPPORTED: Final = 0xF1
    FAILED: Final = 0xF7


class OsType:
    """What runs in a partition, by its adapter info."""

    OS400: Final = 1
    LINUX: Final = 2
    AIX: Final = 3
    OPEN_FIRMWARE: Final = 4


class Hcall:
    """Numbers of hypervisor calls."""

    PUT_TCE: Final = 0x20
    REG_CRQ: Final = 0xFC
    FREE_CRQ: Final = 0x100
    VIO_SIGNAL: Final = 0x104
    SEND_CRQ: Final = 0x108
    COPY_RDMA: Final = 0x110
    ENABLE_CRQ: Final = 0x2B0


class Return:
    """Return codes of hypervisor calls."""

    SUCCESS: Final = 0
    CLOSED: Final = 2
    FUNCTION: Final = -2
    PARAMETER: Final = -4
    PERMISSION: Final = -11
    DROPPED: Final = -12
    SOURCE_PARM: Final = -13
    DEST_PARM: Final = -14
    RESOURCE: Final = -16


RETURN_NAMES: Final[dict[int, str]] = {
    Return.SUCCESS: "H_SUCCESS",
    Return.CLOSED: "H_CLOSED",
    Return.FUNCTION: "H_FUNCTION",
    Return.PARAMETER: "H_PARAMETER",
    Return.PERMISSION: "H_PERMISSION",
    Return.DROPPED: "H_DROPPED",
    Return.SOURCE_PARM: "H_SOURCE_PARM",
    Return.DEST_PARM: "H_DEST_PARM",
    Return.RESOURCE: "H_RESOURCE",
}

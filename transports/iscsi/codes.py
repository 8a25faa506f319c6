"""Numbers of iSCSI: opcodes, flags, stages, reasons and responses (RFC 7143 clause 11, RFC 7144); connection states.

Plain integers in namespaces, not enums: many are compared on the hot path.
"""

from __future__ import annotations

from typing import Final

__all__ = [
    "BHS_LENGTH",
    "NO_TAG",
    "AhsFlaw",
    "AsyncEvent",
    "ConnectionState",
    "Flags",
    "IscsiTaskAttribute",
    "LoginStage",
    "LogoutReason",
    "LogoutResponseCode",
    "Opcode",
    "RejectReason",
    "ScsiResponseCode",
    "SnackType",
    "TmfCode",
    "TmfResponseCode",
]

BHS_LENGTH: Final = 48
NO_TAG: Final = 0xFFFFFFFF                  # the reserved value of ITT and TTT


class Opcode:
    """Opcodes (RFC 7143 11.2.1.2), without the I bit."""

    NOP_OUT: Final = 0x00
    SCSI_COMMAND: Final = 0x01
    TASK_MANAGEMENT_REQUEST: Final = 0x02
    LOGIN_REQUEST: Final = 0x03
    TEXT_REQUEST: Final = 0x04
    DATA_OUT: Final = 0x05
    LOGOUT_REQUEST: Final = 0x06
    SNACK: Final = 0x10
    NOP_IN: Final = 0x20
    SCSI_RESPONSE: Final = 0x21
    TASK_MANAGEMENT_RESPONSE: Final = 0x22
    LOGIN_RESPONSE: Final = 0x23
    TEXT_RESPONSE: Final = 0x24
    DATA_IN: Final = 0x25
    LOGOUT_RESPONSE: Final = 0x26
    R2T: Final = 0x31
    ASYNC_MESSAGE: Final = 0x32
    REJECT: Final = 0x3F

    IMMEDIATE: Final = 0x40                 # the I bit beside it


class Flags:
    """Bits of byte 1, by PDU."""

    FINAL: Final = 0x80                     # F of most PDUs
    READ: Final = 0x40                      # SCSI Command
    WRITE: Final = 0x20
    ATTRIBUTE_MASK: Final = 0x07
    ACKNOWLEDGE: Final = 0x40               # Data-In: A
    CONTINUE: Final = 0x40                  # Login, Text: C
    TRANSIT: Final = 0x80                   # Login: T
    BIDI_OVERFLOW: Final = 0x10             # SCSI Response: o
    BIDI_UNDERFLOW: Final = 0x08            # SCSI Response: u
    OVERFLOW: Final = 0x04                  # SCSI Response, Data-In: O
    UNDERFLOW: Final = 0x02                 # SCSI Response, Data-In: U
    STATUS: Final = 0x01                    # Data-In: S


class IscsiTaskAttribute:
    """ATTR of the SCSI Command PDU (RFC 7143 11.3.1)."""

    UNTAGGED: Final = 0
    SIMPLE: Final = 1
    ORDERED: Final = 2
    HEAD_OF_QUEUE: Final = 3
    ACA: Final = 4


class TmfCode:
    """Task management functions (RFC 7143 11.5.1, RFC 7144 for 9 to 12)."""

    ABORT_TASK: Final = 1
    ABORT_TASK_SET: Final = 2
    CLEAR_ACA: Final = 3
    CLEAR_TASK_SET: Final = 4
    LOGICAL_UNIT_RESET: Final = 5
    TARGET_WARM_RESET: Final = 6
    TARGET_COLD_RESET: Final = 7
    TASK_REASSIGN: Final = 8
    QUERY_TASK: Final = 9
    QUERY_TASK_SET: Final = 10
    I_T_NEXUS_RESET: Final = 11
    QUERY_ASYNCHRONOUS_EVENT: Final = 12


class TmfResponseCode:
    """Response of the Task Management Function Response (RFC 7143 11.6.1, RFC 7144)."""

    FUNCTION_COMPLETE: Final = 0
    TASK_DOES_NOT_EXIST: Final = 1
    LUN_DOES_NOT_EXIST: Final = 2
    TASK_STILL_ALLEGIANT: Final = 3
    REASSIGNMENT_NOT_SUPPORTED: Final = 4
    FUNCTION_NOT_SUPPORTED: Final = 5
    AUTHORIZATION_FAILED: Final = 6
    FUNCTION_SUCCEEDED: Final = 7
    FUNCTION_REJECTED: Final = 255


class ScsiResponseCode:
    """Response of the SCSI Response PDU (RFC 7143 11.4.3)."""

    COMMAND_COMPLETED: Final = 0
    TARGET_FAILURE: Final = 1


class LoginStage:
    """CSG and NSG (RFC 7143 11.12.3)."""

    SECURITY: Final = 0
    OPERATIONAL: Final = 1
    FULL_FEATURE: Final = 3


class LogoutReason:
    """Reason codes of the Logout Request (RFC 7143 11.14.1)."""

    CLOSE_SESSION: Final = 0
    CLOSE_CONNECTION: Final = 1
    REMOVE_FOR_RECOVERY: Final = 2


class LogoutResponseCode:
    """Response of the Logout Response (RFC 7143 11.15.1)."""

    CLOSED: Final = 0
    CID_NOT_FOUND: Final = 1
    RECOVERY_NOT_SUPPORTED: Final = 2
    CLEANUP_FAILED: Final = 3


class SnackType:
    """Types of SNACK (RFC 7143 11.16.1)."""

    DATA_OR_R2T: Final = 0
    STATUS: Final = 1
    DATA_ACK: Final = 2
    R_DATA: Final = 3


class AsyncEvent:
    """AsyncEvent codes (RFC 7143 11.9.1)."""

    SCSI_EVENT: Final = 0
    LOGOUT_REQUEST: Final = 1
    DROP_CONNECTION: Final = 2
    DROP_ALL_CONNECTIONS: Final = 3
    NEGOTIATION_REQUEST: Final = 4
    TASK_TERMINATION: Final = 5             # FastAbort, RFC 7143 11.9.1
    VENDOR: Final = 255


class RejectReason:
    """Reason codes of Reject (RFC 7143 11.17.1)."""

    RESERVED: Final = 0x01
    DATA_DIGEST_ERROR: Final = 0x02
    SNACK_REJECT: Final = 0x03
    PROTOCOL_ERROR: Final = 0x04
    COMMAND_NOT_SUPPORTED: Final = 0x05
    IMMEDIATE_COMMAND_REJECT: Final = 0x06
    TASK_IN_PROGRESS: Final = 0x07
    INVALID_DATA_ACK: Final = 0x08
    INVALID_PDU_FIELD: Final = 0x09
    LONG_OPERATION_REJECT: Final = 0x0A
    NEGOTIATION_RESET: Final = 0x0B         # deprecated
    WAITING_FOR_LOGOUT: Final = 0x0C


class AhsFlaw:
    """What was found wrong in the AHS of a SCSI Command: bits, 0 is none."""

    MALFORMED: Final = 1                    # lengths do not add up, or a segment comes twice
    CDB_LENGTH: Final = 2                   # extended CDB without a byte beyond 16, or of more than 260
    UNKNOWN_TYPE: Final = 4                 # a segment type that we do not know: skipped


class ConnectionState:
    """Where a connection is."""

    LOGIN: Final = "login"
    FULL_FEATURE: Final = "full feature"
    CLOSING: Final = "closing"              # what is queued is sent, nothing more is taken
    CLOSED: Final = "closed"

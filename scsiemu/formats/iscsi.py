"""The PDUs of iSCSI as construct definitions: the readable form of RFC 7143 clause 11 (and RFC 7144).

`BHS[opcode]` is the layout of 48 bytes, `AHS` of the additional header segments, `pdu(...)` of a whole PDU on the wire.
They are the specification that the fast parser in `transports/iscsi` is tested against, and what decoders show.
They keep reserved bits, so that parse and build are inverse for every 48 bytes.

It does NOT: check digests or lengths, and is never on the path of a command.
"""

from __future__ import annotations

from typing import Any, Final

from construct import (
    Bit,
    BitsInteger,
    BitStruct,
    Bytes,
    GreedyRange,
    Int8ub,
    Int16ub,
    Int24ub,
    Int32ub,
    Int32ul,
    Int64ub,
    Pass,
    Struct,
    Switch,
    this,
)

__all__ = ["AHS", "BHS", "OPCODE_NAMES", "pdu"]

OPCODE_NAMES: Final[dict[int, str]] = {
    0x00: "NOP-Out",
    0x01: "SCSI Command",
    0x02: "SCSI Task Management Function Request",
    0x03: "Login Request",
    0x04: "Text Request",
    0x05: "SCSI Data-Out",
    0x06: "Logout Request",
    0x10: "SNACK Request",
    0x20: "NOP-In",
    0x21: "SCSI Response",
    0x22: "SCSI Task Management Function Response",
    0x23: "Login Response",
    0x24: "Text Response",
    0x25: "SCSI Data-In",
    0x26: "Logout Response",
    0x31: "Ready To Transfer",
    0x32: "Asynchronous Message",
    0x3F: "Reject",
}


def _bhs(flags: Any, bytes_2_and_3: Any, *words: Any) -> Any:
    """A BHS: byte 0, the flags of byte 1, bytes 2 and 3, the two lengths, bytes 8 to 47."""
    return Struct(
        "byte0" / BitStruct("reserved" / Bit, "immediate" / Bit, "opcode" / BitsInteger(6)),
        "flags" / flags,
        *bytes_2_and_3,
        "total_ahs_length" / Int8ub,
        "data_segment_length" / Int24ub,
        *words,
    )


_FINAL = BitStruct("final" / Bit, "reserved" / BitsInteger(7))
_FINAL_CONTINUE = BitStruct("final" / Bit, "continue_" / Bit, "reserved" / BitsInteger(6))
_LOGIN = BitStruct(
    "transit" / Bit, "continue_" / Bit, "reserved" / BitsInteger(2), "csg" / BitsInteger(2), "nsg" / BitsInteger(2)
)
_RESERVED_2 = ("reserved2" / Bytes(2),)
_LUN = "lun" / Int64ub
_ITT = "itt" / Int32ub
_TTT = "ttt" / Int32ub
_COMMAND_SNS = ("cmd_sn" / Int32ub, "exp_stat_sn" / Int32ub)
_STATUS_SNS = ("stat_sn" / Int32ub, "exp_cmd_sn" / Int32ub, "max_cmd_sn" / Int32ub)

BHS: Final[dict[int, Any]] = {
    0x00: _bhs(_FINAL, _RESERVED_2, _LUN, _ITT, _TTT, *_COMMAND_SNS, "reserved32" / Bytes(16)),
    0x01: _bhs(
        BitStruct("final" / Bit, "read" / Bit, "write" / Bit, "reserved" / BitsInteger(2), "attr" / BitsInteger(3)),
        ("priority_byte" / Int8ub, "reserved3" / Bytes(1)),
        _LUN, _ITT, "expected_data_transfer_length" / Int32ub, *_COMMAND_SNS, "cdb" / Bytes(16),
    ),
    0x02: _bhs(
        BitStruct("final" / Bit, "function" / BitsInteger(7)), _RESERVED_2,
        _LUN, _ITT, "referenced_task_tag" / Int32ub, *_COMMAND_SNS, "ref_cmd_sn" / Int32ub, "exp_data_sn" / Int32ub,
        "reserved40" / Bytes(8),
    ),
    0x03: _bhs(
        _LOGIN, ("version_max" / Int8ub, "version_min" / Int8ub),
        "isid" / Bytes(6), "tsih" / Int16ub, _ITT, "cid" / Int16ub, "reserved22" / Bytes(2), *_COMMAND_SNS,
        "reserved32" / Bytes(16),
    ),
    0x04: _bhs(_FINAL_CONTINUE, _RESERVED_2, _LUN, _ITT, _TTT, *_COMMAND_SNS, "reserved32" / Bytes(16)),
    0x05: _bhs(
        _FINAL, _RESERVED_2,
        _LUN, _ITT, _TTT, "reserved24" / Bytes(4), "exp_stat_sn" / Int32ub, "reserved32" / Bytes(4),
        "data_sn" / Int32ub, "buffer_offset" / Int32ub, "reserved44" / Bytes(4),
    ),
    0x06: _bhs(
        BitStruct("final" / Bit, "reason" / BitsInteger(7)), _RESERVED_2,
        "reserved8" / Bytes(8), _ITT, "cid" / Int16ub, "reserved22" / Bytes(2), *_COMMAND_SNS,
        "reserved32" / Bytes(16),
    ),
    0x10: _bhs(
        BitStruct("final" / Bit, "reserved" / BitsInteger(3), "type" / BitsInteger(4)), _RESERVED_2,
        _LUN, _ITT, _TTT, "reserved24" / Bytes(4), "exp_stat_sn" / Int32ub, "reserved32" / Bytes(8),
        "beg_run" / Int32ub, "run_length" / Int32ub,
    ),
    0x20: _bhs(_FINAL, _RESERVED_2, _LUN, _ITT, _TTT, *_STATUS_SNS, "reserved36" / Bytes(12)),
    0x21: _bhs(
        BitStruct(
            "final" / Bit, "reserved" / BitsInteger(2), "bidi_overflow" / Bit, "bidi_underflow" / Bit,
            "overflow" / Bit, "underflow" / Bit, "reserved0" / Bit,
        ),
        ("response" / Int8ub, "status" / Int8ub),
        "status_qualifier" / Int16ub, "reserved10" / Bytes(6), _ITT, "snack_tag" / Int32ub, *_STATUS_SNS,
        "exp_data_sn" / Int32ub, "bidi_residual_count" / Int32ub, "residual_count" / Int32ub,
    ),
    0x22: _bhs(
        _FINAL, ("response" / Int8ub, "reserved3" / Bytes(1)),
        "additional_response_information" / Bytes(3), "reserved11" / Bytes(5), _ITT, "reserved20" / Bytes(4),
        *_STATUS_SNS, "reserved36" / Bytes(12),
    ),
    0x23: _bhs(
        _LOGIN, ("version_max" / Int8ub, "version_active" / Int8ub),
        "isid" / Bytes(6), "tsih" / Int16ub, _ITT, "reserved20" / Bytes(4), *_STATUS_SNS,
        "status_class" / Int8ub, "status_detail" / Int8ub, "reserved38" / Bytes(10),
    ),
    0x24: _bhs(_FINAL_CONTINUE, _RESERVED_2, _LUN, _ITT, _TTT, *_STATUS_SNS, "reserved36" / Bytes(12)),
    0x25: _bhs(
        BitStruct(
            "final" / Bit, "acknowledge" / Bit, "reserved" / BitsInteger(3), "overflow" / Bit, "underflow" / Bit,
            "has_status" / Bit,
        ),
        ("reserved2" / Bytes(1), "status" / Int8ub),
        _LUN, _ITT, _TTT, *_STATUS_SNS, "data_sn" / Int32ub, "buffer_offset" / Int32ub, "residual_count" / Int32ub,
    ),
    0x26: _bhs(
        _FINAL, ("response" / Int8ub, "reserved3" / Bytes(1)),
        "reserved8" / Bytes(8), _ITT, "reserved20" / Bytes(4), *_STATUS_SNS, "reserved36" / Bytes(4),
        "time2wait" / Int16ub, "time2retain" / Int16ub, "reserved44" / Bytes(4),
    ),
    0x31: _bhs(
        _FINAL, _RESERVED_2,
        _LUN, _ITT, _TTT, *_STATUS_SNS, "r2t_sn" / Int32ub, "buffer_offset" / Int32ub,
        "desired_data_transfer_length" / Int32ub,
    ),
    0x32: _bhs(
        _FINAL, _RESERVED_2,
        _LUN, _ITT, "reserved20" / Bytes(4), *_STATUS_SNS, "async_event" / Int8ub, "async_vcode" / Int8ub,
        "parameter1" / Int16ub, "parameter2" / Int16ub, "parameter3" / Int16ub, "reserved44" / Bytes(4),
    ),
    0x3F: _bhs(
        _FINAL, ("reason" / Int8ub, "reserved3" / Bytes(1)),
        "reserved8" / Bytes(8), _ITT, "reserved20" / Bytes(4), *_STATUS_SNS, "data_sn" / Int32ub,
        "reserved40" / Bytes(8),
    ),
}

# AHSLength counts the bytes after AHSType, without padding: the extended CDB's reserved byte is one of them.
_SEGMENT = Struct(
    "ahs_length" / Int16ub,
    "ahs_type" / Int8ub,
    "content" / Switch(
        this.ahs_type,
        {
            1: Struct("reserved" / Bytes(1), "extended_cdb" / Bytes(this._.ahs_length - 1)),
            2: Struct("reserved" / Bytes(1), "bidi_read_length" / Int32ub),
        },
        default=Bytes(this.ahs_length),
    ),
    "padding" / Bytes((1 - this.ahs_length) % 4),
)

AHS: Final[Any] = GreedyRange(_SEGMENT)


def pdu(opcode: int, *, header_digest: bool = False, data_digest: bool = False) -> Any:
    """The layout of a whole PDU on the wire. Digests are numbers; data and padding are bytes."""
    crc = Int32ul
    length = this.bhs.data_segment_length
    return Struct(
        "bhs" / BHS[opcode],
        "ahs" / Bytes(this.bhs.total_ahs_length * 4),
        "header_digest" / (crc if header_digest else Pass),
        "data" / Bytes(length),
        "padding" / Bytes(-length % 4),
        "data_digest" / (Switch(length, {0: Pass}, default=crc) if data_digest else Pass),
    )

"""The information units of SRP, and the queue elements and datagrams of virtual SCSI, as construct definitions.

`IU[type]` is a whole information unit of SRP rev 16a (clause 5), `CRQ_ELEMENT` an element of a queue, `MAD` a
management datagram, `ADAPTER_INFO` and `CAPABILITIES` the buffers of two of them. They are the readable specification
that the fast codecs in `transports/vscsi` are tested against, and they keep reserved bytes, so that parse and build are
inverse.

They do NOT check anything, and are never on the path of a command.
"""

from __future__ import annotations

from typing import Any, Final

from construct import (
    Array,
    BitsInteger,
    BitStruct,
    Bytes,
    Const,
    Flag,
    GreedyRange,
    If,
    Int8ub,
    Int16ub,
    Int32sb,
    Int32ub,
    Int64ub,
    Pass,
    Struct,
    Switch,
    this,
)

__all__ = ["ADAPTER_INFO", "CAPABILITIES", "CRQ_ELEMENT", "IU", "IU_NAMES", "MAD", "MEMORY_DESCRIPTOR"]

IU_NAMES: Final[dict[int, str]] = {
    0x00: "SRP_LOGIN_REQ",
    0x01: "SRP_TSK_MGMT",
    0x02: "SRP_CMD",
    0x03: "SRP_I_LOGOUT",
    0x41: "SRP_CRED_RSP",
    0x42: "SRP_AER_RSP",
    0x80: "SRP_T_LOGOUT",
    0x81: "SRP_CRED_REQ",
    0x82: "SRP_AER_REQ",
    0xC0: "SRP_LOGIN_RSP",
    0xC1: "SRP_RSP",
    0xC2: "SRP_LOGIN_REJ",
}

MEMORY_DESCRIPTOR: Final = Struct("virtual_address" / Int64ub, "memory_handle" / Int32ub, "data_length" / Int32ub)

_TAG = "tag" / Int64ub
_DELTA = "request_limit_delta" / Int32sb
_NOTIFICATION = "solicited_notification" / Int8ub


def _iu(code: int, *fields: Any) -> Any:
    return Struct("type" / Const(code, Int8ub), *fields)


def _login_flags(name: str) -> Any:
    return BitStruct("immediate_data" / Flag, "reserved" / BitsInteger(5), name / BitsInteger(2))


def _tag_only(code: int) -> Any:
    return _iu(code, "reserved1" / Bytes(7), _TAG)


def _buffer(count: Any) -> Any:
    """A data buffer descriptor by its format."""
    return {
        0: Pass,
        1: MEMORY_DESCRIPTOR,
        2: Struct(
            "table" / MEMORY_DESCRIPTOR,
            "total_length" / Int32ub,
            "partial_list" / Array(count, MEMORY_DESCRIPTOR),
        ),
    }


IU: Final[dict[int, Any]] = {
    0x00: _iu(
        0x00, "reserved1" / Bytes(7), _TAG, "requested_iu_length" / Int32ub, "reserved20" / Bytes(4),
        "required_buffer_formats" / Int16ub,
        "flags" / _login_flags("multichannel_action"),
        "reserved27" / Bytes(1), "immediate_data_offset" / Int16ub, "reserved30" / Bytes(2),
        "initiator_port_identifier" / Bytes(16), "target_port_identifier" / Bytes(16),
    ),
    0x01: _iu(
        0x01, _NOTIFICATION, "reserved2" / Bytes(6), _TAG, "reserved16" / Bytes(4), "lun" / Int64ub,
        "reserved28" / Bytes(2), "function" / Int8ub, "reserved31" / Bytes(1), "task_tag" / Int64ub,
        "reserved40" / Bytes(8),
    ),
    0x02: _iu(
        0x02, _NOTIFICATION, "reserved2" / Bytes(3),
        "formats" / BitStruct("data_out" / BitsInteger(4), "data_in" / BitsInteger(4)),
        "data_out_count" / Int8ub, "data_in_count" / Int8ub, _TAG, "reserved16" / Bytes(4), "lun" / Int64ub,
        "reserved28" / Bytes(1), "attribute" / BitStruct("reserved" / BitsInteger(5), "code" / BitsInteger(3)),
        "reserved30" / Bytes(1),
        "additional_cdb_length" / BitStruct("words" / BitsInteger(6), "reserved" / BitsInteger(2)),
        "cdb" / Bytes(16), "additional_cdb" / Bytes(this.additional_cdb_length.words * 4),
        "data_out" / Switch(this.formats.data_out, _buffer(this._.data_out_count)),
        "data_in" / Switch(this.formats.data_in, _buffer(this._.data_in_count)),
    ),
    0x03: _tag_only(0x03),
    0x41: _tag_only(0x41),
    0x42: _tag_only(0x42),
    0x80: _iu(0x80, _NOTIFICATION, "reserved2" / Bytes(2), "reason" / Int32ub, _TAG),
    0x81: _iu(0x81, _NOTIFICATION, "reserved2" / Bytes(2), _DELTA, _TAG),
    0x82: _iu(
        0x82, _NOTIFICATION, "reserved2" / Bytes(2), _DELTA, _TAG, "reserved16" / Bytes(4), "lun" / Int64ub,
        "sense_length" / Int32ub, "reserved32" / Bytes(4), "sense" / Bytes(this.sense_length),
    ),
    0xC0: _iu(
        0xC0, "reserved1" / Bytes(3), _DELTA, _TAG, "max_initiator_iu_length" / Int32ub,
        "max_target_iu_length" / Int32ub, "supported_buffer_formats" / Int16ub,
        "flags" / _login_flags("multichannel_result"),
        "reserved27" / Bytes(25),
    ),
    0xC1: _iu(
        0xC1, _NOTIFICATION, "reserved2" / Bytes(2), _DELTA, _TAG, "reserved16" / Bytes(2),
        "flags" / BitStruct(
            "reserved" / BitsInteger(2), "diunder" / Flag, "diover" / Flag, "dounder" / Flag, "doover" / Flag,
            "snsvalid" / Flag, "rspvalid" / Flag,
        ),
        "status" / Int8ub, "data_out_residual" / Int32ub, "data_in_residual" / Int32ub, "sense_length" / Int32ub,
        "response_length" / Int32ub,
        "response_data" / If(this.flags.rspvalid, Bytes(this.response_length)),
        "sense" / If(this.flags.snsvalid, Bytes(this.sense_length)),
    ),
    0xC2: _iu(
        0xC2, "reserved1" / Bytes(3), "reason" / Int32ub, _TAG, "reserved16" / Bytes(8),
        "supported_buffer_formats" / Int16ub, "reserved26" / Bytes(6),
    ),
}

CRQ_ELEMENT: Final = Struct(
    "valid" / Int8ub, "format" / Int8ub, "reserved2" / Bytes(1), "status" / Int8ub, "timeout" / Int16ub,
    "iu_length" / Int16ub, "iu_data_pointer" / Int64ub,
)

MAD: Final = Struct(
    "type" / Int32ub, "status" / Int16ub, "length" / Int16ub, "tag" / Int64ub,
    "buffer" / If(this.type != 8, Int64ub),
)

ADAPTER_INFO: Final = Struct(
    "srp_version" / Bytes(8), "partition_name" / Bytes(96), "partition_number" / Int32ub, "mad_version" / Int32ub,
    "os_type" / Int32ub, "port_max_transfer" / Array(8, Int32ub),
)

CAPABILITIES: Final = Struct(
    "flags" / Int32ub, "name" / Bytes(32), "location" / Bytes(32),
    "list" / GreedyRange(
        Struct("type" / Int32ub, "length" / Int16ub, "server_support" / Int16ub, "data" / Bytes(this.length - 8))
    ),
)

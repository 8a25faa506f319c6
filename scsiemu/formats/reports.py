"""Parameter data of REPORT LUNS, REPORT SUPPORTED OPERATION CODES, REPORT TARGET PORT GROUPS (SPC-5 clause 6)."""

from __future__ import annotations

from construct import Bytes, GreedyRange, If, Int64ub, Struct, this

from scsiemu.formats._words import bits, flag, record, reserved, sized, u8, u16, u32

__all__ = [
    "ALL_OPERATION_CODES", "ALL_OPERATION_HEADER", "LUN_LIST", "LUN_LIST_HEADER", "ONE_OPERATION_CODE",
    "ONE_OPERATION_HEADER", "TARGET_PORT_GROUPS", "TARGET_PORT_GROUPS_HEADER", "TIMEOUTS",
]

LUN_LIST_HEADER = record("lun_list_length" / u32, reserved(32))

LUN_LIST = Struct(
    "header" / LUN_LIST_HEADER,
    "luns" / sized(this.header.lun_list_length, GreedyRange(Int64ub)),
)

# SPC-5 table 242: command timeouts descriptor.
TIMEOUTS = record(
    "descriptor_length" / u16, reserved(8), "command_specific" / u8,
    "nominal_command_processing_timeout" / u32, "recommended_command_timeout" / u32,
)

ALL_OPERATION_HEADER = record("command_data_length" / u32)

ALL_OPERATION_CODES = Struct(
    "header" / ALL_OPERATION_HEADER,
    "commands" / sized(
        this.header.command_data_length,
        GreedyRange(
            Struct(
                "header" / record(
                    "operation_code" / u8, reserved(8), "service_action" / u16, reserved(8),
                    reserved(1), "rwcdlp" / flag, "mlu" / bits(2), "cdlp" / bits(2), "ctdp" / flag,
                    "servactv" / flag,
                    "cdb_length" / u16,
                ),
                "timeouts" / If(this.header.ctdp, TIMEOUTS),
            )
        ),
    ),
)

ONE_OPERATION_HEADER = record(
    reserved(7), "rwcdlp" / flag, "ctdp" / flag, "mlu" / bits(2), "cdlp" / bits(2), "support" / bits(3),
    "cdb_size" / u16,
)

ONE_OPERATION_CODE = Struct(
    "header" / ONE_OPERATION_HEADER,
    "cdb_usage_data" / Bytes(this.header.cdb_size),
    "timeouts" / If(this.header.ctdp, TIMEOUTS),
)

_PORT_GROUP = Struct(
    "header" / record(
        "pref" / flag, "rtpg_fmt" / bits(3), "asymmetric_access_state" / bits(4),
        "t_sup" / flag, "o_sup" / flag, reserved(1), "lbd_sup" / flag, "u_sup" / flag, "s_sup" / flag,
        "an_sup" / flag, "ao_sup" / flag,
        "target_port_group" / u16, reserved(8), "status_code" / u8, "vendor_specific" / u8,
        "target_port_count" / u8,
    ),
    "target_ports" / Bytes(4 * this.header.target_port_count),
)

# Length only header (PARAMETER DATA FORMAT 0), SPC-5 6.35.
TARGET_PORT_GROUPS_HEADER = record("return_data_length" / u32)

TARGET_PORT_GROUPS = Struct(
    "header" / TARGET_PORT_GROUPS_HEADER,
    "target_port_groups" / sized(this.header.return_data_length, GreedyRange(_PORT_GROUP)),
)

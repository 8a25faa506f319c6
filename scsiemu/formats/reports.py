"""Parameter data of REPORT LUNS, REPORT SUPPORTED OPERATION CODES, REPORT TARGET PORT GROUPS (SPC-5 clause 6)."""

from __future__ import annotations

from construct import Bytes, FixedSized, GreedyRange, If, Int64ub, Struct, this

from scsiemu.formats._words import bits, flag, record, reserved, u8, u16, u32

__all__ = ["ALL_OPERATION_CODES", "LUN_LIST", "ONE_OPERATION_CODE", "TARGET_PORT_GROUPS", "TIMEOUTS"]

LUN_LIST = Struct(
    "header" / record("lun_list_length" / u32, reserved(32)),
    "luns" / FixedSized(this.header.lun_list_length, GreedyRange(Int64ub)),
)

# SPC-5 table 242: command timeouts descriptor.
TIMEOUTS = record(
    "descriptor_length" / u16, reserved(8), "command_specific" / u8,
    "nominal_command_processing_timeout" / u32, "recommended_command_timeout" / u32,
)

ALL_OPERATION_CODES = Struct(
    "header" / record("command_data_length" / u32),
    "commands" / FixedSized(
        this.header.command_data_length,
        GreedyRange(
            Struct(
                "header" / record(
                    "operation_code" / u8, reserved(8), "service_action" / u16, reserved(8),
                    reserved(1), "mlu" / bits(2), "cdlp" / bits(2), "rwcdlp" / flag, "ctdp" / flag,
                    "servactv" / flag,
                    "cdb_length" / u16,
                ),
                "timeouts" / If(this.header.ctdp, TIMEOUTS),
            )
        ),
    ),
)

ONE_OPERATION_CODE = Struct(
    "header" / record(
        reserved(7), "rwcdlp" / flag, "ctdp" / flag, "mlu" / bits(2), "cdlp" / bits(2), "support" / bits(3),
        "cdb_size" / u16,
    ),
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
TARGET_PORT_GROUPS = Struct(
    "header" / record("return_data_length" / u32),
    "target_port_groups" / FixedSized(this.header.return_data_length, GreedyRange(_PORT_GROUP)),
)

"""Parameter data of PERSISTENT RESERVE IN and OUT, and TransportIDs (SPC-5 6.16, 6.17, 7.6.4)."""

from __future__ import annotations

from typing import Final

from construct import (
    Bytes,
    GreedyBytes,
    GreedyRange,
    Int16ub,
    Int32ub,
    Int64ub,
    Padding,
    Prefixed,
    Struct,
    Switch,
    this,
)

from scsiemu.formats._words import bits, flag, raw, record, reserved, sized, u16, u32, u64

__all__ = [
    "FULL_STATUS",
    "READ_HEADER",
    "READ_KEYS",
    "READ_RESERVATION",
    "REGISTER_AND_MOVE_HEADER",
    "REGISTER_AND_MOVE_LIST",
    "REPORT_CAPABILITIES",
    "RESERVATION_TYPE_NAMES",
    "RESERVE_OUT_HEADER",
    "RESERVE_OUT_LIST",
    "TRANSPORT_ID",
]

RESERVATION_TYPE_NAMES: Final[dict[int, str]] = {
    0x1: "Write Exclusive",
    0x3: "Exclusive Access",
    0x5: "Write Exclusive - Registrants Only",
    0x6: "Exclusive Access - Registrants Only",
    0x7: "Write Exclusive - All Registrants",
    0x8: "Exclusive Access - All Registrants",
}

_TRANSPORT_HEADER = record("tpid_format" / bits(2), reserved(2), "protocol_identifier" / bits(4))

# SPC-5 7.6.4: 24 bytes, for iSCSI (5) as long as its name. The bytes of the other protocols stay as they are.
TRANSPORT_ID = Struct(
    "header" / _TRANSPORT_HEADER,
    "identifier" / Switch(
        this.header.protocol_identifier,
        {
            0x0: Struct("header" / record(reserved(56), "n_port_name" / u64, reserved(64))),
            0x4: Struct("header" / record(reserved(56), "initiator_port_identifier" / raw(16))),
            0x5: Struct(Padding(1), "iscsi_name" / Prefixed(Int16ub, GreedyBytes)),
            0x6: Struct("header" / record(reserved(24), "sas_address" / u64, reserved(96))),
        },
        default=Bytes(23),
    ),
)

READ_HEADER = record("prgeneration" / u32, "additional_length" / u32)

READ_KEYS = Struct(
    "header" / READ_HEADER,
    "reservation_keys" / sized(this.header.additional_length, GreedyRange(Int64ub)),
)

READ_RESERVATION = Struct(
    "header" / READ_HEADER,
    "reservations" / sized(
        this.header.additional_length,
        GreedyRange(
            record("reservation_key" / u64, reserved(40), "scope" / bits(4), "type" / bits(4), reserved(16))
        ),
    ),
)

REPORT_CAPABILITIES = record(
    "length" / u16,
    "rlr_c" / flag, reserved(2), "crh" / flag, "sip_c" / flag, "atp_c" / flag, reserved(1), "ptpl_c" / flag,
    "tmv" / flag, "allow_commands" / bits(3), reserved(3), "ptpl_a" / flag,
    "wr_ex_ar" / flag, "ex_ac_ro" / flag, "wr_ex_ro" / flag, reserved(1), "ex_ac" / flag, reserved(1),
    "wr_ex" / flag, reserved(1),
    reserved(7), "ex_ac_ar" / flag,
    reserved(16),
)

FULL_STATUS = Struct(
    "header" / READ_HEADER,
    "full_status_descriptors" / sized(
        this.header.additional_length,
        GreedyRange(
            Struct(
                "header" / record(
                    "reservation_key" / u64, reserved(32),
                    reserved(6), "all_tg_pt" / flag, "r_holder" / flag,
                    "scope" / bits(4), "type" / bits(4), reserved(32),
                    "relative_target_port_identifier" / u16,
                ),
                "transport_id" / Prefixed(Int32ub, TRANSPORT_ID),
            )
        ),
    ),
)

# PERSISTENT RESERVE OUT, all service actions but REGISTER AND MOVE; TransportIDs with SPEC_I_PT only.
RESERVE_OUT_HEADER = record(
    "reservation_key" / u64, "service_action_reservation_key" / u64, reserved(32),
    reserved(4), "spec_i_pt" / flag, "all_tg_pt" / flag, reserved(1), "aptpl" / flag, reserved(24),
)

RESERVE_OUT_LIST = Struct(
    "header" / RESERVE_OUT_HEADER,
    "transport_ids" / GreedyBytes,
)

REGISTER_AND_MOVE_HEADER = record(
    "reservation_key" / u64, "service_action_reservation_key" / u64, reserved(8),
    reserved(6), "unreg" / flag, "aptpl" / flag,
    "relative_target_port_identifier" / u16,
)

REGISTER_AND_MOVE_LIST = Struct(
    "header" / REGISTER_AND_MOVE_HEADER,
    "transport_id" / Prefixed(Int32ub, TRANSPORT_ID),
)

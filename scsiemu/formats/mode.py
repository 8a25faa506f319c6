"""Mode parameter lists: headers, block descriptors, pages (SPC-5 clause 7.5, SBC-4 6.5).

Pages 01, 02, 08, 0A with 0A/01, 0A/02, 1A, 1C with 1C/02 are laid out; the others are kept as bytes.
"""

from __future__ import annotations

from typing import Final

from construct import Check, Construct, GreedyBytes, GreedyRange, IfThenElse, Select, Struct, this

from scsiemu.formats._words import bits, flag, record, reserved, sized, u8, u16, u24, u32, u64

__all__ = [
    "LONG_BLOCK_DESCRIPTOR", "MODE_HEADER_6", "MODE_HEADER_10", "MODE_LIST_6", "MODE_LIST_10", "MODE_PAGE",
    "MODE_PAGES", "MODE_PAGE_NAMES", "SHORT_BLOCK_DESCRIPTOR",
]

# SPC-5 tables 453 and 454.
MODE_HEADER_6 = record(
    "mode_data_length" / u8, "medium_type" / u8, "device_specific_parameter" / u8, "block_descriptor_length" / u8,
)
MODE_HEADER_10 = record(
    "mode_data_length" / u16, "medium_type" / u8, "device_specific_parameter" / u8,
    reserved(7), "longlba" / flag, reserved(8), "block_descriptor_length" / u16,
)

# SBC-4 6.5.2.2 (block devices) and SPC-5 7.5.6.2: the first has 32 bits where the general one has DENSITY CODE
# and 24 bits; they agree on what follows.
SHORT_BLOCK_DESCRIPTOR = record("number_of_logical_blocks" / u32, reserved(8), "logical_block_length" / u24)
LONG_BLOCK_DESCRIPTOR = record("number_of_logical_blocks" / u64, reserved(32), "logical_block_length" / u32)

# (page code, subpage code) to what follows the page header.
MODE_PAGES: Final[dict[tuple[int, int], Construct]] = {
    (0x01, 0x00): record(
        "awre" / flag, "arre" / flag, "tb" / flag, "rc" / flag, "eer" / flag, "per" / flag, "dte" / flag,
        "dcr" / flag,
        "read_retry_count" / u8, reserved(24),
        "lbpere" / flag, reserved(7),
        "write_retry_count" / u8, reserved(8),
        "recovery_time_limit" / u16,
    ),
    (0x02, 0x00): record(
        "buffer_full_ratio" / u8, "buffer_empty_ratio" / u8, "bus_inactivity_limit" / u16,
        "disconnect_time_limit" / u16, "connect_time_limit" / u16, "maximum_burst_size" / u16,
        "emdp" / flag, "fair_arbitration" / bits(3), "dimm" / flag, "dtdc" / bits(3), reserved(8),
        "first_burst_size" / u16,
    ),
    (0x08, 0x00): record(
        "ic" / flag, "abpf" / flag, "cap" / flag, "disc" / flag, "size" / flag, "wce" / flag, "mf" / flag,
        "rcd" / flag,
        "demand_read_retention_priority" / bits(4), "write_retention_priority" / bits(4),
        "disable_prefetch_transfer_length" / u16, "minimum_prefetch" / u16, "maximum_prefetch" / u16,
        "maximum_prefetch_ceiling" / u16,
        "fsw" / flag, "lbcss" / flag, "dra" / flag, reserved(2), "sync_prog" / bits(2), "nv_dis" / flag,
        "number_of_cache_segments" / u8, "cache_segment_size" / u16, reserved(32),
    ),
    (0x0A, 0x00): record(
        "tst" / bits(3), "tmf_only" / flag, "dpicz" / flag, "d_sense" / flag, "gltsd" / flag, "rlec" / flag,
        "queue_algorithm_modifier" / bits(4), "nuar" / flag, "qerr" / bits(2), reserved(1),
        reserved(1), "rac" / flag, "ua_intlck_ctrl" / bits(2), "swp" / flag, reserved(3),
        "ato" / flag, "tas" / flag, "atmpe" / flag, "rwwp" / flag, reserved(1), "autoload_mode" / bits(3),
        reserved(16),
        "busy_timeout_period" / u16, "extended_self_test_completion_time" / u16,
    ),
    (0x0A, 0x01): record(
        reserved(5), "tcmos" / flag, "scsip" / flag, "ialuae" / flag,
        reserved(4), "initial_command_priority" / bits(4), "maximum_sense_data_length" / u8, reserved(8 * 25),
    ),
    (0x0A, 0x02): Struct(
        "header" / record(reserved(96)),
        "application_tag_descriptors" / GreedyRange(
            record(
                "last" / flag, reserved(7), reserved(40), "logical_block_application_tag" / u16,
                "logical_block_address" / u64, "logical_block_count" / u64,
            )
        ),
    ),
    (0x1A, 0x00): record(
        "pm_bg_precedence" / bits(2), reserved(5), "standby_y" / flag,
        reserved(4), "idle_c" / flag, "idle_b" / flag, "idle_a" / flag, "standby_z" / flag,
        "idle_a_condition_timer" / u32, "standby_z_condition_timer" / u32, "idle_b_condition_timer" / u32,
        "idle_c_condition_timer" / u32, "standby_y_condition_timer" / u32, reserved(8 * 15),
        "ccf_idle" / bits(2), "ccf_standby" / bits(2), "ccf_stopped" / bits(2), reserved(2),
    ),
    (0x1C, 0x00): record(
        "perf" / flag, reserved(1), "ebf" / flag, "ewasc" / flag, "dexcpt" / flag, "test" / flag,
        "ebackerr" / flag, "logerr" / flag,
        reserved(4), "mrie" / bits(4),
        "interval_timer" / u32, "report_count" / u32,
    ),
    (0x1C, 0x02): Struct(
        "header" / record(reserved(7), "situa" / flag, reserved(88)),
        "threshold_descriptors" / GreedyRange(
            record(
                "enabled" / flag, reserved(1), "threshold_type" / bits(3), "threshold_arming" / bits(3),
                "threshold_resource" / u8, reserved(16), "threshold_count" / u32,
            )
        ),
    ),
}
MODE_PAGE_NAMES: Final[dict[tuple[int, int], str]] = {
    (0x01, 0x00): "read-write error recovery",
    (0x02, 0x00): "disconnect-reconnect",
    (0x08, 0x00): "caching",
    (0x0A, 0x00): "control",
    (0x0A, 0x01): "control extension",
    (0x0A, 0x02): "application tag",
    (0x0A, 0x05): "I/O advice hints grouping",
    (0x1A, 0x00): "power condition",
    (0x1C, 0x00): "informational exceptions control",
    (0x1C, 0x02): "logical block provisioning",
}

_PAGE_0 = Struct(
    "header" / record("ps" / flag, "spf" / flag, "page_code" / bits(6), "page_length" / u8),
    "parameters" / sized(this.header.page_length, GreedyBytes),
)
_SUBPAGE = Struct(
    "header" / record(
        "ps" / flag, "spf" / flag, "page_code" / bits(6), "subpage_code" / u8, "page_length" / u16,
    ),
    "parameters" / sized(this.header.page_length, GreedyBytes),
)

# SPC-5 7.5.7: the SPF bit, second of the page, chooses between page_0 and sub_page format.
MODE_PAGE = Select(
    Struct("page" / _SUBPAGE, Check(this.page.header.spf)),
    Struct("page" / _PAGE_0, Check(lambda this: not this.page.header.spf)),
)

MODE_LIST_6 = Struct(
    "header" / MODE_HEADER_6,
    "block_descriptors" / sized(this.header.block_descriptor_length, GreedyRange(SHORT_BLOCK_DESCRIPTOR)),
    "pages" / GreedyRange(MODE_PAGE),
)

MODE_LIST_10 = Struct(
    "header" / MODE_HEADER_10,
    "block_descriptors" / sized(
        this.header.block_descriptor_length,
        IfThenElse(
            this.header.longlba, GreedyRange(LONG_BLOCK_DESCRIPTOR), GreedyRange(SHORT_BLOCK_DESCRIPTOR)
        ),
    ),
    "pages" / GreedyRange(MODE_PAGE),
)

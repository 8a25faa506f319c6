"""Standard INQUIRY data and vital product data pages (SPC-5 6.7 and 7.7, SBC-4 6.6).

VPD pages 00, 80, 83, 86, 87, 88, 8F and, for block devices, B0 to B3 and B7. Third-party copy
descriptors (8F) are kept as bytes but for their type.
"""

from __future__ import annotations

from typing import Final

from construct import (
    Construct,
    GreedyBytes,
    GreedyRange,
    Int8ub,
    Int16ub,
    Padding,
    Prefixed,
    Struct,
    this,
)

from scsiemu.formats._words import bits, flag, raw, record, reserved, sized, text, u8, u16, u32, u64

__all__ = ["DESIGNATOR", "STANDARD_INQUIRY", "VPD_HEADER", "VPD_NAMES", "VPD_OTHER", "VPD_PAGES"]

# SPC-5 table 151, as far as the version descriptors.
STANDARD_INQUIRY = record(
    "peripheral_qualifier" / bits(3), "peripheral_device_type" / bits(5),
    "rmb" / flag, "lu_cong" / flag, "hot_pluggable" / bits(2), reserved(4),
    "version" / u8,
    reserved(2), "normaca" / flag, "hisup" / flag, "response_data_format" / bits(4),
    "additional_length" / u8,
    "sccs" / flag, "acc" / flag, "tpgs" / bits(2), "threepc" / flag, reserved(2), "protect" / flag,
    reserved(1), "encserv" / flag, "vs" / flag, "multip" / flag, reserved(4),
    reserved(6), "cmdque" / flag, "vs_2" / flag,
    "t10_vendor_identification" / text(8),
    "product_identification" / text(16),
    "product_revision_level" / text(4),
    "vendor_specific" / raw(20),
    reserved(4), "clocking" / bits(2), "qas" / flag, "ius" / flag,
    reserved(8),
    *(f"version_descriptor_{number}" / u16 for number in range(1, 9)),
)

# SPC-5 table 572.
VPD_HEADER = record(
    "peripheral_qualifier" / bits(3), "peripheral_device_type" / bits(5), "page_code" / u8, "page_length" / u16,
)

# SPC-5 table 576.
DESIGNATOR = Struct(
    "header" / record(
        "protocol_identifier" / bits(4), "code_set" / bits(4),
        "piv" / flag, reserved(1), "association" / bits(2), "designator_type" / bits(4),
        reserved(8),
    ),
    "designator" / Prefixed(Int8ub, GreedyBytes),
)

_EXTENDED_INQUIRY = record(
    "activate_microcode" / bits(2), "spt" / bits(3), "grd_chk" / flag, "app_chk" / flag, "ref_chk" / flag,
    reserved(2), "uask_sup" / flag, "group_sup" / flag, "prior_sup" / flag, "headsup" / flag, "ordsup" / flag,
    "simpsup" / flag,
    reserved(4), "wu_sup" / flag, "crd_sup" / flag, "nv_sup" / flag, "v_sup" / flag,
    reserved(2), "no_pi_chk" / flag, "p_i_i_sup" / flag, reserved(3), "luiclr" / flag,
    reserved(3), "r_sup" / flag, "rtd_sup" / flag, "hssrelef" / flag, reserved(1), "cbcs" / flag,
    reserved(4), "multi_it_nexus_microcode_download" / bits(4),
    "extended_self_test_completion_minutes" / u16,
    "poa_sup" / flag, "hra_sup" / flag, "vsa_sup" / flag, "dms_valid" / flag, reserved(4),
    "maximum_supported_sense_data_length" / u8,
    "ibs" / flag, "ias" / flag, "sac" / flag, reserved(3), "nrd1" / flag, "nrd0" / flag,
    "maximum_inquiry_change_logs" / u16,
    "maximum_mode_page_change_logs" / u16,
    "dm_md" / u32, reserved(8 * 41),
)

_BLOCK_LIMITS = record(
    reserved(7), "wsnz" / flag,
    "maximum_compare_and_write_length" / u8,
    "optimal_transfer_length_granularity" / u16,
    "maximum_transfer_length" / u32,
    "optimal_transfer_length" / u32,
    "maximum_prefetch_length" / u32,
    "maximum_unmap_lba_count" / u32,
    "maximum_unmap_block_descriptor_count" / u32,
    "optimal_unmap_granularity" / u32,
    "ugavalid" / flag, "unmap_granularity_alignment" / bits(31),
    "maximum_write_same_length" / u64,
    "maximum_atomic_transfer_length" / u32,
    "atomic_alignment" / u32,
    "atomic_transfer_length_granularity" / u32,
    "maximum_atomic_transfer_length_with_atomic_boundary" / u32,
    "maximum_atomic_boundary_size" / u32,
)

_BLOCK_CHARACTERISTICS = record(
    "medium_rotation_rate" / u16,
    "product_type" / u8,
    "wabereq" / bits(2), "wacereq" / bits(2), "nominal_form_factor" / bits(4),
    reserved(2), "zoned" / bits(2), reserved(1), "bocs" / flag, "fuab" / flag, "vbuls" / flag,
    reserved(24),
    "depopulation_time" / u32,
    reserved(8 * 48),
)

_LOGICAL_BLOCK_PROVISIONING = Struct(
    "header" / record(
        "threshold_exponent" / u8,
        "lbpu" / flag, "lbpws" / flag, "lbpws10" / flag, "lbprz" / bits(3), "anc_sup" / flag, "dp" / flag,
        "minimum_percentage" / bits(5), "provisioning_type" / bits(3),
        "threshold_percentage" / u8,
    ),
    "provisioning_group_designator" / GreedyBytes,
)

_PORTS = Struct(
    "header" / record(reserved(16), "relative_port_identifier" / u16, reserved(16)),
    "initiator_port_transport_id" / Prefixed(Int16ub, GreedyBytes),
    Padding(2),
    "target_port_designators" / Prefixed(Int16ub, GreedyRange(DESIGNATOR)),
)


def _page(body: Construct) -> Construct:
    """A VPD page with this after its header; what the page length has beyond it is `more`."""
    return Struct(
        "header" / VPD_HEADER,
        "page" / sized(this.header.page_length, Struct("body" / body, "more" / GreedyBytes)),
    )


def _list(name: str, item: Construct) -> Construct:
    return Struct(name / GreedyRange(item))


# Page code to the whole page, header included.
VPD_PAGES: Final[dict[int, Construct]] = {
    0x00: _page(_list("supported_pages", Int8ub)),
    0x80: _page(Struct("unit_serial_number" / GreedyBytes)),
    0x83: _page(_list("designators", DESIGNATOR)),
    0x86: _page(_EXTENDED_INQUIRY),
    0x87: _page(
        _list(
            "mode_page_policies",
            record(
                reserved(2), "policy_page_code" / bits(6), "policy_subpage_code" / u8,
                "mlus" / flag, reserved(5), "mode_page_policy" / bits(2), reserved(8),
            ),
        )
    ),
    0x88: _page(_list("scsi_ports", _PORTS)),
    0x8F: _page(
        _list(
            "third_party_copy_descriptors",
            Struct("descriptor_type" / Int16ub, "data" / Prefixed(Int16ub, GreedyBytes)),
        )
    ),
    0xB0: _page(_BLOCK_LIMITS),
    0xB1: _page(_BLOCK_CHARACTERISTICS),
    0xB2: _page(_LOGICAL_BLOCK_PROVISIONING),
    0xB3: _page(
        record(reserved(32), "user_data_segment_size" / u32, "user_data_segment_multiplier" / u32)
    ),
    0xB7: _page(
        record(
            reserved(15), "rscs" / flag, "maximum_number_of_streams" / u16, "optimal_stream_write_size" / u16,
            "stream_granularity_size" / u32, reserved(8 * 50),
        )
    ),
}

# A page that is not laid out here.
VPD_OTHER: Final = _page(Struct("parameters" / GreedyBytes))

VPD_NAMES: Final[dict[int, str]] = {
    0x00: "supported VPD pages",
    0x80: "unit serial number",
    0x83: "device identification",
    0x86: "extended INQUIRY data",
    0x87: "mode page policy",
    0x88: "SCSI ports",
    0x8F: "third-party copy",
    0xB0: "block limits",
    0xB1: "block device characteristics",
    0xB2: "logical block provisioning",
    0xB3: "referrals",
    0xB7: "block limits extension",
}

"""Parameter data of block commands: READ CAPACITY, UNMAP, GET LBA STATUS (SBC-4 clause 5)."""

from __future__ import annotations

from typing import Final

from construct import GreedyRange, Struct, this

from scsiemu.formats._words import bits, flag, record, reserved, sized, u8, u16, u32, u64

__all__ = [
    "LBA_STATUS", "LBA_STATUS_HEADER", "PROVISIONING_STATUS_NAMES", "READ_CAPACITY_10", "READ_CAPACITY_16",
    "UNMAP_HEADER", "UNMAP_LIST",
]

READ_CAPACITY_10 = record("returned_logical_block_address" / u32, "logical_block_length" / u32)

READ_CAPACITY_16 = record(
    "returned_logical_block_address" / u64,
    "logical_block_length" / u32,
    reserved(2), "rc_basis" / bits(2), "p_type" / bits(3), "prot_en" / flag,
    "p_i_exponent" / bits(4), "logical_blocks_per_physical_block_exponent" / bits(4),
    "lbpme" / flag, "lbprz" / flag, "lowest_aligned_logical_block_address" / bits(14),
    reserved(128),
)

UNMAP_HEADER = record("unmap_data_length" / u16, "unmap_block_descriptor_data_length" / u16, reserved(32))

UNMAP_LIST = Struct(
    "header" / UNMAP_HEADER,
    "unmap_block_descriptors" / sized(
        this.header.unmap_block_descriptor_data_length,
        GreedyRange(
            record("unmap_logical_block_address" / u64, "number_of_logical_blocks" / u32, reserved(32))
        ),
    ),
)

# PARAMETER DATA LENGTH counts from byte 4.
LBA_STATUS_HEADER = record(
    "parameter_data_length" / u32, reserved(28), "completion_condition" / bits(3), "rtp" / flag,
)

LBA_STATUS = Struct(
    "header" / LBA_STATUS_HEADER,
    "lba_status_descriptors" / sized(
        lambda this: max(this.header.parameter_data_length - 4, 0),
        GreedyRange(
            record(
                "logical_block_address" / u64, "number_of_logical_blocks" / u32,
                reserved(4), "provisioning_status" / bits(4), "additional_status" / u8, reserved(16),
            )
        ),
    ),
)

PROVISIONING_STATUS_NAMES: Final[dict[int, str]] = {0: "mapped or unknown", 1: "deallocated", 2: "anchored"}

"""Sense data: fixed format and descriptor format with its descriptors (SPC-5 4.4).

Descriptors of SBC, SSC and OSD that are not here are kept as bytes.
"""

from __future__ import annotations

from construct import GreedyBytes, GreedyRange, Int8ub, Prefixed, Struct, Switch, this

from scsiemu.formats._words import bits, flag, record, reserved, u8, u16, u32, u64

__all__ = [
    "DESCRIPTOR_SENSE", "DESCRIPTOR_SENSE_HEADER", "FIELD_POINTER", "FIXED_SENSE", "PROGRESS", "SENSE_DESCRIPTOR",
]

# SPC-5 table 46; the sense key specific bytes as they are: the sense key says what they mean.
FIXED_SENSE = record(
    "valid" / flag, "response_code" / bits(7),
    reserved(8),
    "filemark" / flag, "eom" / flag, "ili" / flag, "sdat_ovfl" / flag, "sense_key" / bits(4),
    "information" / u32,
    "additional_sense_length" / u8,
    "command_specific_information" / u32,
    "additional_sense_code" / u8,
    "additional_sense_code_qualifier" / u8,
    "field_replaceable_unit_code" / u8,
    "sksv" / flag, "sense_key_specific" / bits(23),
)

# SPC-5 table 51: sense key specific data, ILLEGAL REQUEST.
FIELD_POINTER = record(
    "sksv" / flag, "command_data" / flag, reserved(2), "bpv" / flag, "bit_pointer" / bits(3), "field_pointer" / u16,
)

# SPC-5 table 53: sense key specific data, NO SENSE and NOT READY; of like form are actual retry counts.
PROGRESS = record("sksv" / flag, reserved(7), "progress_indication" / u16)

_STREAM = record(reserved(8), "filemark" / flag, "eom" / flag, "ili" / flag, reserved(5))
_BLOCK = record(reserved(8), reserved(2), "ili" / flag, reserved(5))

# SPC-5 4.4.2: by DESCRIPTOR TYPE, what follows ADDITIONAL LENGTH.
SENSE_DESCRIPTOR = Struct(
    "descriptor_type" / Int8ub,
    "data" / Prefixed(
        Int8ub,
        Switch(
            this.descriptor_type,
            {
                0x00: record("valid" / flag, reserved(7), reserved(8), "information" / u64),
                0x01: record(reserved(16), "command_specific_information" / u64),
                0x02: record(
                    reserved(16), "sksv" / flag, "sense_key_specific" / bits(23), reserved(8)
                ),
                0x03: record(reserved(8), "field_replaceable_unit_code" / u8),
                0x04: _STREAM,
                0x05: _BLOCK,
                0x06: record(                       # OSD object identification
                    reserved(48), "not_initiated_command_functions" / u32, "completed_command_functions" / u32,
                    "requested_partition_id" / u64, "requested_object_id" / u64,
                ),
                0x0A: record(                       # another progress indication
                    "another_sense_key" / u8, "another_additional_sense_code" / u8,
                    "another_additional_sense_code_qualifier" / u8, reserved(8), "another_progress_indication" / u16,
                ),
            },
            default=GreedyBytes,
        ),
    ),
)

# SPC-5 table 28.
DESCRIPTOR_SENSE_HEADER = record(
    reserved(1), "response_code" / bits(7),
    reserved(4), "sense_key" / bits(4),
    "additional_sense_code" / u8,
    "additional_sense_code_qualifier" / u8,
    "sdat_ovfl" / flag, reserved(23),
    "additional_sense_length" / u8,
)

DESCRIPTOR_SENSE = Struct(
    "header" / DESCRIPTOR_SENSE_HEADER,
    "descriptors" / GreedyRange(SENSE_DESCRIPTOR),
)


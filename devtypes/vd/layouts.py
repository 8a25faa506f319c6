"""The CDB layouts of the virtual disk (SBC-4 clause 5, SPC-4 6.4 for EXTENDED COPY). Fields are named alike where
they mean the same: `protect`, `lba`, `transfer_length`, so that one method serves several commands."""

from __future__ import annotations

from typing import Final

from scsiemu.cdb import CdbLayout

__all__ = [
    "BACKGROUND_CONTROL",
    "COMPARE_AND_WRITE",
    "EXTENDED_COPY",
    "FORMAT_UNIT",
    "GET_LBA_STATUS_16",
    "GET_LBA_STATUS_32",
    "GET_STREAM_STATUS",
    "ORWRITE_16",
    "PRE_FETCH_10",
    "PRE_FETCH_16",
    "READ_6",
    "READ_10",
    "READ_12",
    "READ_16",
    "READ_32",
    "READ_CAPACITY_10",
    "READ_CAPACITY_16",
    "READ_DEFECT_DATA_10",
    "READ_DEFECT_DATA_12",
    "READ_LONG_10",
    "READ_LONG_16",
    "READ_MEDIA_SERIAL_NUMBER",
    "REASSIGN_BLOCKS",
    "RECEIVE_COPY",
    "SANITIZE",
    "START_STOP_UNIT",
    "STREAM_CONTROL",
    "SYNCHRONIZE_CACHE_10",
    "SYNCHRONIZE_CACHE_16",
    "UNMAP",
    "VERIFY_10",
    "VERIFY_12",
    "VERIFY_16",
    "VERIFY_32",
    "WRITE_6",
    "WRITE_10",
    "WRITE_12",
    "WRITE_16",
    "WRITE_32",
    "WRITE_ATOMIC_16",
    "WRITE_LONG_10",
    "WRITE_LONG_16",
    "WRITE_SAME_10",
    "WRITE_SAME_16",
    "WRITE_SAME_32",
    "WRITE_STREAM_16",
]

_GROUP: Final = "_:2 group_number:6"
# Byte 1 of reads and writes. FUA_NV is obsolete: taken, not looked at. RELADR of SCSI-2 is not taken.
_READ_FLAGS: Final = "protect:3 dpo fua rarc fua_nv? _"
_WRITE_FLAGS: Final = "protect:3 dpo fua _ fua_nv? _"
_VERIFY_FLAGS: Final = "protect:3 dpo _ bytchk:2 _"
_SAME_FLAGS: Final = "protect:3 anchor unmap"
_PLAIN_FLAGS: Final = "protect:3 dpo fua _:3"
_HEAD_32: Final = f"opcode:8 control:8 _:32 {_GROUP} additional_cdb_length:8 service_action:16"
_TAIL_32: Final = (
    "_:8 lba:64 expected_reference_tag:32 expected_application_tag:16 application_tag_mask:16 transfer_length:32"
)


def _ten(flags: str) -> CdbLayout:
    return CdbLayout(f"opcode:8 {flags} lba:32 {_GROUP} transfer_length:16 control:8")


def _twelve(flags: str) -> CdbLayout:
    return CdbLayout(f"opcode:8 {flags} lba:32 transfer_length:32 {_GROUP} control:8")


def _sixteen(flags: str) -> CdbLayout:
    return CdbLayout(f"opcode:8 {flags} lba:64 transfer_length:32 {_GROUP} control:8")


def _thirty_two(flags: str) -> CdbLayout:
    return CdbLayout(f"{_HEAD_32} {flags} {_TAIL_32}")


READ_6: Final = CdbLayout("opcode:8 _:3 lba:21 transfer_length:8 control:8")
READ_10: Final = _ten(_READ_FLAGS)
READ_12: Final = _twelve(_READ_FLAGS)
READ_16: Final = _sixteen(_READ_FLAGS)
READ_32: Final = _thirty_two(_READ_FLAGS)
WRITE_6: Final = READ_6
WRITE_10: Final = _ten(_WRITE_FLAGS)
WRITE_12: Final = _twelve(_WRITE_FLAGS)
WRITE_16: Final = _sixteen(_WRITE_FLAGS)
WRITE_32: Final = _thirty_two(_WRITE_FLAGS)
VERIFY_10: Final = _ten(_VERIFY_FLAGS)          # also WRITE AND VERIFY
VERIFY_12: Final = _twelve(_VERIFY_FLAGS)
VERIFY_16: Final = _sixteen(_VERIFY_FLAGS)
VERIFY_32: Final = _thirty_two(_VERIFY_FLAGS)
ORWRITE_16: Final = _sixteen(_PLAIN_FLAGS)
COMPARE_AND_WRITE: Final = CdbLayout(
    f"opcode:8 {_PLAIN_FLAGS} lba:64 _:24 transfer_length:8 {_GROUP} control:8"
)
WRITE_ATOMIC_16: Final = CdbLayout(
    f"opcode:8 {_PLAIN_FLAGS} lba:64 atomic_boundary:16 transfer_length:16 {_GROUP} control:8"
)
WRITE_STREAM_16: Final = CdbLayout(
    f"opcode:8 {_PLAIN_FLAGS} lba:64 stream_identifier:16 transfer_length:16 {_GROUP} control:8"
)
STREAM_CONTROL: Final = CdbLayout(
    "opcode:8 _ stream_control:2 service_action:5 _:16 stream_identifier:16 _:32 allocation_length:32 _:8 control:8"
)
GET_STREAM_STATUS: Final = CdbLayout(
    "opcode:8 _:3 service_action:5 _:16 stream_identifier:16 _:32 allocation_length:32 _:8 control:8"
)
PRE_FETCH_10: Final = _ten("_:6 immed _")
PRE_FETCH_16: Final = _sixteen("_:6 immed _")
SYNCHRONIZE_CACHE_10: Final = _ten("_:5 sync_nv? immed _")
SYNCHRONIZE_CACHE_16: Final = _sixteen("_:5 sync_nv? immed _")
READ_CAPACITY_10: Final = CdbLayout("opcode:8 _:8 lba?:32 _:16 _:7 pmi? control:8")
READ_CAPACITY_16: Final = CdbLayout(
    "opcode:8 _:3 service_action:5 lba?:64 allocation_length:32 _:7 pmi? control:8"
)

GET_LBA_STATUS_16: Final = CdbLayout(
    "opcode:8 _:3 service_action:5 lba:64 allocation_length:32 report_type:8 control:8"
)
GET_LBA_STATUS_32: Final = CdbLayout(
    f"{_HEAD_32} report_type:8 _:8 lba:64 scan_length:32 element_identifier:32 allocation_length:32"
)
UNMAP: Final = CdbLayout(f"opcode:8 _:7 anchor _:32 {_GROUP} parameter_list_length:16 control:8")
WRITE_SAME_10: Final = _ten(f"{_SAME_FLAGS} _:3")
WRITE_SAME_16: Final = _sixteen(f"{_SAME_FLAGS} _:2 ndob")
WRITE_SAME_32: Final = _thirty_two(f"{_SAME_FLAGS} _:2 ndob")

FORMAT_UNIT: Final = CdbLayout(
    "opcode:8 fmtpinfo:2 longlist fmtdata cmplst defect_list_format:3 vendor?:8 interleave?:8 _:6 ffmt:2 control:8"
)
SANITIZE: Final = CdbLayout("opcode:8 immed _ ause service_action:5 _:40 parameter_list_length:16 control:8")
START_STOP_UNIT: Final = CdbLayout(
    "opcode:8 _:7 immed _:8 _:4 power_condition_modifier:4 power_condition:4 _ no_flush loej start control:8"
)
READ_DEFECT_DATA_10: Final = CdbLayout(
    "opcode:8 _:8 _:3 req_plist req_glist defect_list_format:3 _:32 allocation_length:16 control:8"
)
READ_DEFECT_DATA_12: Final = CdbLayout(
    "opcode:8 _:3 req_plist req_glist defect_list_format:3 address_descriptor_index:32 allocation_length:32 _:8 "
    "control:8"
)
REASSIGN_BLOCKS: Final = CdbLayout("opcode:8 _:6 longlba longlist _:24 control:8")
READ_LONG_10: Final = CdbLayout("opcode:8 _:5 pblock correct _ lba:32 _:8 byte_transfer_length:16 control:8")
READ_LONG_16: Final = CdbLayout(
    "opcode:8 _:3 service_action:5 lba:64 _:16 byte_transfer_length:16 _:6 pblock correct control:8"
)
WRITE_LONG_10: Final = CdbLayout("opcode:8 cor_dis wr_uncor pblock _:5 lba:32 _:8 byte_transfer_length:16 control:8")
WRITE_LONG_16: Final = CdbLayout(
    "opcode:8 cor_dis wr_uncor pblock service_action:5 lba:64 _:16 byte_transfer_length:16 _:8 control:8"
)
BACKGROUND_CONTROL: Final = CdbLayout("opcode:8 _:3 service_action:5 bo_ctl:2 _:6 bo_time:8 _:88 control:8")
READ_MEDIA_SERIAL_NUMBER: Final = CdbLayout("opcode:8 _:3 service_action:5 _:32 allocation_length:32 _:8 control:8")

EXTENDED_COPY: Final = CdbLayout("opcode:8 _:3 service_action:5 _:64 parameter_list_length:32 _:8 control:8")
RECEIVE_COPY: Final = CdbLayout(
    "opcode:8 _:3 service_action:5 list_identifier:8 _:56 allocation_length:32 _:8 control:8"
)

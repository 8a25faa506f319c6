"""The CDB layouts of the optical drive (MMC-6 clause 6; SCSI-2 clause 14 for two forms of PLAY).

SEND KEY and REPORT KEY share their opcodes with MAINTENANCE IN and OUT: their reserved byte 1 is service action 00h.
"""

from __future__ import annotations

from typing import Final

from scsiemu.cdb import CdbLayout

__all__ = [
    "BLANK", "CLOSE_TRACK_SESSION", "FORMAT_UNIT", "GET_CONFIGURATION", "GET_EVENT_STATUS_NOTIFICATION",
    "GET_PERFORMANCE", "LOAD_UNLOAD_MEDIUM", "MECHANISM_STATUS", "PAUSE_RESUME", "PLAY_AUDIO_10", "PLAY_AUDIO_12",
    "PLAY_AUDIO_MSF", "PLAY_AUDIO_TRACK_INDEX", "PLAY_TRACK_RELATIVE_10", "PLAY_TRACK_RELATIVE_12",
    "READ_10", "READ_12", "READ_BUFFER_CAPACITY", "READ_CAPACITY", "READ_CD", "READ_CD_MSF",
    "READ_DISC_INFORMATION", "READ_DISC_STRUCTURE", "READ_FORMAT_CAPACITIES", "READ_HEADER", "READ_SUB_CHANNEL",
    "READ_TOC", "READ_TRACK_INFORMATION", "REPAIR_TRACK", "REPORT_KEY", "RESERVE_TRACK", "SCAN", "SEEK_10",
    "SEND_CUE_SHEET", "SEND_DISC_STRUCTURE", "SEND_KEY", "SEND_OPC_INFORMATION", "SET_CD_SPEED", "SET_READ_AHEAD",
    "SET_STREAMING", "START_STOP_UNIT", "STOP_PLAY_SCAN", "SYNCHRONIZE_CACHE", "VERIFY_10", "VERIFY_12", "WRITE_10",
    "WRITE_12", "WRITE_AND_VERIFY_10",
]

_FLAGS: Final = "opcode:8 _:3 dpo fua _:3 lba:32"
_READ_CD_TAIL: Final = "sync header_codes:2 user_data edc_ecc c2:2 _ _:5 sub_channel:3 control:8"

FORMAT_UNIT: Final = CdbLayout("opcode:8 _:3 fmtdata cmplst format_code:3 vendor?:8 interleave:16 control:8")
START_STOP_UNIT: Final = CdbLayout(
    "opcode:8 _:7 immed _:8 _:6 format_layer:2 power_condition:4 _ fl loej start control:8"
)
READ_FORMAT_CAPACITIES: Final = CdbLayout("opcode:8 _:48 allocation_length:16 control:8")
READ_CAPACITY: Final = CdbLayout("opcode:8 _:8 lba:32 _:16 _:7 pmi control:8")
READ_10: Final = CdbLayout(f"{_FLAGS} _:8 transfer_length:16 control:8")
READ_12: Final = CdbLayout(f"{_FLAGS} transfer_length:32 streaming _:7 control:8")
WRITE_10: Final = READ_10
WRITE_12: Final = READ_12
SEEK_10: Final = CdbLayout("opcode:8 _:8 lba:32 _:24 control:8")
WRITE_AND_VERIFY_10: Final = CdbLayout("opcode:8 _:3 dpo _:2 bytchk _ lba:32 _:8 transfer_length:16 control:8")
VERIFY_10: Final = WRITE_AND_VERIFY_10
VERIFY_12: Final = CdbLayout("opcode:8 _:3 dpo _:2 bytchk _ lba:32 transfer_length:32 _:8 control:8")
SYNCHRONIZE_CACHE: Final = CdbLayout("opcode:8 _:6 immed _ lba:32 _:8 transfer_length:16 control:8")
READ_SUB_CHANNEL: Final = CdbLayout(
    "opcode:8 _:6 msf _ _ subq _:6 parameter_list:8 _:16 track:8 allocation_length:16 control:8"
)
READ_TOC: Final = CdbLayout(
    "opcode:8 _:6 msf _ _:4 format:4 _:24 track_session:8 allocation_length:16 control:8"
)
READ_HEADER: Final = CdbLayout("opcode:8 _:6 msf _ lba:32 _:8 allocation_length:16 control:8")
PLAY_AUDIO_10: Final = CdbLayout("opcode:8 _:8 lba:32 _:8 transfer_length:16 control:8")
PLAY_AUDIO_12: Final = CdbLayout("opcode:8 _:8 lba:32 transfer_length:32 _:8 control:8")
PLAY_AUDIO_MSF: Final = CdbLayout("opcode:8 _:16 start_m:8 start_s:8 start_f:8 end_m:8 end_s:8 end_f:8 control:8")
PLAY_AUDIO_TRACK_INDEX: Final = CdbLayout(
    "opcode:8 _:24 start_track:8 start_index:8 _:8 end_track:8 end_index:8 control:8"
)
PLAY_TRACK_RELATIVE_10: Final = CdbLayout("opcode:8 _:8 relative:32 track:8 transfer_length:16 control:8")
PLAY_TRACK_RELATIVE_12: Final = CdbLayout("opcode:8 _:8 relative:32 transfer_length:32 track:8 control:8")
PAUSE_RESUME: Final = CdbLayout("opcode:8 _:56 _:7 resume control:8")
STOP_PLAY_SCAN: Final = CdbLayout("opcode:8 _:64 control:8")
SCAN: Final = CdbLayout("opcode:8 _:3 direct _:4 start:32 _:24 type:2 _:6 _:8 control:8")
GET_CONFIGURATION: Final = CdbLayout(
    "opcode:8 _:6 rt:2 starting_feature:16 _:24 allocation_length:16 control:8"
)
GET_EVENT_STATUS_NOTIFICATION: Final = CdbLayout(
    "opcode:8 _:7 polled _:16 classes:8 _:16 allocation_length:16 control:8"
)
# Bit 4 of byte 1 is reserved; dvd+rw-mediainfo sets it where it means data type 2, and drives let it pass.
READ_DISC_INFORMATION: Final = CdbLayout(
    "opcode:8 _:3 mistaken_type?:1 _ data_type:3 _:40 allocation_length:16 control:8"
)
READ_TRACK_INFORMATION: Final = CdbLayout(
    "opcode:8 _:5 open address_type:2 address:32 _:8 allocation_length:16 control:8"
)
RESERVE_TRACK: Final = CdbLayout("opcode:8 _:6 rmz arsv high:24 size:32 control:8")
SEND_OPC_INFORMATION: Final = CdbLayout(
    "opcode:8 exclude_1? exclude_0? _:5 doopc _:40 parameter_list_length:16 control:8"
)
REPAIR_TRACK: Final = CdbLayout("opcode:8 _:7 immed _:16 track:16 _:24 control:8")
CLOSE_TRACK_SESSION: Final = CdbLayout("opcode:8 _:7 immed _:5 function:3 _:8 track:16 _:24 control:8")
READ_BUFFER_CAPACITY: Final = CdbLayout("opcode:8 _:7 block _:40 allocation_length:16 control:8")
SEND_CUE_SHEET: Final = CdbLayout("opcode:8 _:40 cue_sheet_size:24 control:8")
BLANK: Final = CdbLayout("opcode:8 _:3 immed _ type:3 address:32 _:40 control:8")
SEND_KEY: Final = CdbLayout(
    "opcode:8 _:3 service_action:5 _:32 _:8 key_class:8 parameter_list_length:16 agid:2 key_format:6 control:8"
)
REPORT_KEY: Final = CdbLayout(
    "opcode:8 _:3 service_action:5 lba:32 block_count:8 key_class:8 allocation_length:16 agid:2 key_format:6 control:8"
)
LOAD_UNLOAD_MEDIUM: Final = CdbLayout("opcode:8 _:7 immed _:16 _:6 loej start _:24 slot:8 _:16 control:8")
SET_READ_AHEAD: Final = CdbLayout("opcode:8 _:8 trigger:32 read_ahead:32 _:8 control:8")
GET_PERFORMANCE: Final = CdbLayout(
    "opcode:8 _:3 data_type:5 lba:32 _:16 descriptors:16 type:8 control:8"
)
READ_DISC_STRUCTURE: Final = CdbLayout(
    "opcode:8 _:4 media_type:4 address:32 layer:8 format:8 allocation_length:16 agid:2 _:6 control:8"
)
SET_STREAMING: Final = CdbLayout("opcode:8 _:56 type:8 parameter_list_length:16 control:8")
READ_CD_MSF: Final = CdbLayout(
    "opcode:8 _:3 sector_type:3 dap _ _:8 start_m:8 start_s:8 start_f:8 end_m:8 end_s:8 end_f:8 " + _READ_CD_TAIL
)
SET_CD_SPEED: Final = CdbLayout("opcode:8 _:6 rotation:2 read_speed:16 write_speed:16 _:40 control:8")
MECHANISM_STATUS: Final = CdbLayout("opcode:8 _:56 allocation_length:16 _:8 control:8")
READ_CD: Final = CdbLayout("opcode:8 _:3 sector_type:3 dap _ lba:32 transfer_length:24 " + _READ_CD_TAIL)
SEND_DISC_STRUCTURE: Final = CdbLayout(
    "opcode:8 _:4 media_type:4 _:40 format:8 parameter_list_length:16 _:8 control:8"
)

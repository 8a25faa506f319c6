"""The CDB layouts of a tape drive (SSC-5 clauses 5 to 7, SPC-5 for the commands of removable media and attributes).

Fields are named alike where they mean the same, so that one method serves the 6-byte form, which works where the tape
stands, and the 16-byte form of explicit addressing, which says where.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

from scsiemu.cdb import CdbLayout
from scsiemu.operations import ReservationClass, operation

__all__ = [
    "ALLOW_OVERWRITE", "ERASE_6", "ERASE_16", "FORMAT_MEDIUM", "GENERATE_RECOMMENDED_ACCESS_ORDER", "LOAD_UNLOAD",
    "LOCATE_10", "LOCATE_16", "READ_6", "READ_16", "READ_ATTRIBUTE", "READ_BLOCK_LIMITS", "READ_MEDIA_SERIAL_NUMBER",
    "READ_POSITION", "READ_REVERSE_6", "READ_REVERSE_16", "RECEIVE_RECOMMENDED_ACCESS_ORDER",
    "REPORT_DENSITY_SUPPORT", "REWIND", "SECURITY_PROTOCOL_IN", "SECURITY_PROTOCOL_OUT", "SET_CAPACITY", "SPACE_6",
    "SPACE_16", "VERIFY_6", "VERIFY_16", "WRITE_6", "WRITE_16", "WRITE_ATTRIBUTE", "WRITE_FILEMARKS_6",
    "WRITE_FILEMARKS_16", "tape_operation",
]

_F = TypeVar("_F", bound=Callable[..., Any])

# PARTITION NUMBER and LOGICAL OBJECT IDENTIFIER of explicit addressing (SSC-5 5.1).
_WHERE: Final = "partition:8 logical_object_identifier:64"

READ_6: Final = CdbLayout("opcode:8 _:6 sili fixed transfer_length:24 control:8")
READ_16: Final = CdbLayout(f"opcode:8 _:6 sili fixed _:8 {_WHERE} transfer_length:24 control:8")
READ_REVERSE_6: Final = CdbLayout("opcode:8 _:5 bytord sili fixed transfer_length:24 control:8")
READ_REVERSE_16: Final = CdbLayout(f"opcode:8 _:5 bytord sili fixed _:8 {_WHERE} transfer_length:24 control:8")
WRITE_6: Final = CdbLayout("opcode:8 _:7 fixed transfer_length:24 control:8")
WRITE_16: Final = CdbLayout(f"opcode:8 _:4 fcs lcs _ fixed _:8 {_WHERE} transfer_length:24 control:8")
VERIFY_6: Final = CdbLayout("opcode:8 _:2 vte vlbpm vbf immed bytcmp fixed verification_length:24 control:8")
VERIFY_16: Final = CdbLayout(
    f"opcode:8 _:2 vte vlbpm vbf immed bytcmp fixed _:8 {_WHERE} verification_length:24 control:8"
)
WRITE_FILEMARKS_6: Final = CdbLayout("opcode:8 _:7 immed filemark_count:24 control:8")
WRITE_FILEMARKS_16: Final = CdbLayout(f"opcode:8 _:4 fcs lcs _ immed _:8 {_WHERE} filemark_count:24 control:8")
ERASE_6: Final = CdbLayout("opcode:8 _:6 immed long _:24 control:8")
ERASE_16: Final = CdbLayout(f"opcode:8 _:4 fcs lcs immed long _:8 {_WHERE} _:24 control:8")

SPACE_6: Final = CdbLayout("opcode:8 _:4 code:4 count:24 control:8")
SPACE_16: Final = CdbLayout("opcode:8 _:4 code:4 _:16 count:64 parameter_length:16 _:8 control:8")
LOCATE_10: Final = CdbLayout(
    "opcode:8 _:5 bt cp immed _:8 logical_object_identifier:32 _:8 partition:8 control:8"
)
LOCATE_16: Final = CdbLayout(
    "opcode:8 _:2 dest_type:3 _ cp immed _:7 bam partition:8 logical_object_identifier:64 _:24 control:8"
)
REWIND: Final = CdbLayout("opcode:8 _:7 immed _:24 control:8")
READ_POSITION: Final = CdbLayout("opcode:8 _:3 service_action:5 _:40 allocation_length:16 control:8")

LOAD_UNLOAD: Final = CdbLayout("opcode:8 _:7 immed _:20 hold eot reten load control:8")
FORMAT_MEDIUM: Final = CdbLayout("opcode:8 _:6 verify immed _:4 format:4 transfer_length:16 control:8")
SET_CAPACITY: Final = CdbLayout("opcode:8 _:7 immed _:8 capacity_proportion:16 control:8")
ALLOW_OVERWRITE: Final = CdbLayout(f"opcode:8 _:12 allow_overwrite:4 {_WHERE} _:24 control:8")

READ_BLOCK_LIMITS: Final = CdbLayout("opcode:8 _:7 mloi _:24 control:8")
REPORT_DENSITY_SUPPORT: Final = CdbLayout("opcode:8 _:6 medium_type media _:40 allocation_length:16 control:8")
READ_MEDIA_SERIAL_NUMBER: Final = CdbLayout("opcode:8 _:3 service_action:5 _:32 allocation_length:32 _:8 control:8")

READ_ATTRIBUTE: Final = CdbLayout(
    "opcode:8 _:3 service_action:5 restricted?:24 logical_volume_number:8 _:8 partition:8 first_attribute:16 "
    "allocation_length:32 _:7 cache control:8"
)
WRITE_ATTRIBUTE: Final = CdbLayout(
    "opcode:8 _:7 wtc restricted?:24 logical_volume_number:8 _:8 partition:8 _:16 "
    "parameter_list_length:32 _:8 control:8"
)
SECURITY_PROTOCOL_IN: Final = CdbLayout(
    "opcode:8 security_protocol:8 security_protocol_specific:16 inc_512 _:15 allocation_length:32 _:8 control:8"
)
SECURITY_PROTOCOL_OUT: Final = CdbLayout(
    "opcode:8 security_protocol:8 security_protocol_specific:16 inc_512 _:15 transfer_length:32 _:8 control:8"
)
GENERATE_RECOMMENDED_ACCESS_ORDER: Final = CdbLayout(
    "opcode:8 _:3 service_action:5 _:5 process:3 _:5 uds_type:3 _:16 parameter_list_length:32 _:8 control:8"
)
RECEIVE_RECOMMENDED_ACCESS_ORDER: Final = CdbLayout(
    "opcode:8 uds_limits _:2 service_action:5 rao_list_offset:32 allocation_length:32 _:5 uds_type:3 control:8"
)


def tape_operation(
    opcode: int, name: str, layout: CdbLayout, *, nominal: int = 60, recommended: int = 600,
    conflict: str = ReservationClass.WRITE, standard: str = "SSC-5", **options: Any,
) -> Callable[[_F], _F]:
    """Declare an operation of a tape drive, which a personality may be without.

    Args:
        nominal, recommended: timeouts in seconds.
        options: further arguments of `operation`.
    """
    return operation(
        opcode, name, layout, available=lambda server: server.offers(name), nominal_timeout=nominal,
        recommended_timeout=recommended, conflict=conflict, standard=standard, **options,
    )

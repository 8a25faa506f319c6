"""The CDBs of a media changer (SMC-3 clause 6), as layouts."""

from __future__ import annotations

from typing import Final

from scsiemu.cdb import CdbLayout

__all__ = [
    "EXCHANGE_MEDIUM", "INITIALIZE_ELEMENT_STATUS", "INITIALIZE_ELEMENT_STATUS_WITH_RANGE", "MOVE_MEDIUM",
    "OPEN_CLOSE_IMPORT_EXPORT_ELEMENT", "POSITION_TO_ELEMENT", "READ_ELEMENT_STATUS", "REPORT_ELEMENT_INFORMATION",
    "REQUEST_VOLUME_ELEMENT_ADDRESS", "SEND_VOLUME_TAG",
]

INITIALIZE_ELEMENT_STATUS: Final = CdbLayout("opcode:8 _:32 control:8")
INITIALIZE_ELEMENT_STATUS_WITH_RANGE: Final = CdbLayout(
    "opcode:8 _:6 fast range starting_element_address:16 _:16 number_of_elements:16 _:8 control:8"
)
OPEN_CLOSE_IMPORT_EXPORT_ELEMENT: Final = CdbLayout("opcode:8 _:8 element_address:16 _:3 action_code:5 control:8")
POSITION_TO_ELEMENT: Final = CdbLayout(
    "opcode:8 _:8 medium_transport_element_address:16 destination_element_address:16 _:16 _:7 invert control:8"
)
MOVE_MEDIUM: Final = CdbLayout(
    "opcode:8 _:8 medium_transport_element_address:16 source_address:16 destination_address:16 _:16 _:7 invert "
    "control:8"
)
EXCHANGE_MEDIUM: Final = CdbLayout(
    "opcode:8 _:8 medium_transport_element_address:16 source_address:16 first_destination_address:16 "
    "second_destination_address:16 _:6 inv1 inv2 control:8"
)
READ_ELEMENT_STATUS: Final = CdbLayout(
    "opcode:8 _:3 voltag element_type_code:4 starting_element_address:16 number_of_elements:16 _:6 curdata dvcid "
    "allocation_length:24 _:8 control:8"
)
REQUEST_VOLUME_ELEMENT_ADDRESS: Final = CdbLayout(
    "opcode:8 _:3 voltag element_type_code:4 element_address:16 number_of_elements:16 _:8 allocation_length:24 _:8 "
    "control:8"
)
SEND_VOLUME_TAG: Final = CdbLayout(
    "opcode:8 _:4 element_type_code:4 element_address:16 _:8 _:3 send_action_code:5 _:16 parameter_list_length:16 _:8 "
    "control:8"
)
REPORT_ELEMENT_INFORMATION: Final = CdbLayout(
    "opcode:8 _:3 service_action:5 page_code:8 _:2 nev cdata element_type_code:4 _:16 starting_element_address:32 "
    "allocation_length:32 number_of_elements:8 control:8"
)

"""The device server that every device type derives from: the commands of SPC-5 for all types, in one class.

Each part is a module of its own (`spc_inquiry`, `spc_vpd`, `spc_mode`, `spc_exceptions`, `spc_log`,
`spc_diagnostic`, `spc_buffer`, `spc_report`, `spc_access_state`, `persistent_reserve`). Not here: REPORT and SET
PRIORITY, aliases, management and security protocols, READ and WRITE ATTRIBUTE, third-party copy.
"""

from __future__ import annotations

from scsiemu.persistent_reserve import ReservationOperations
from scsiemu.spc_access_state import AccessStateOperations
from scsiemu.spc_buffer import BufferOperations
from scsiemu.spc_diagnostic import DiagnosticOperations
from scsiemu.spc_exceptions import InformationalExceptions
from scsiemu.spc_report import IdentifyingInformationOperations, OperationCodeOperations, TimestampOperations

__all__ = ["SpcDeviceServer"]


class SpcDeviceServer(
    AccessStateOperations,
    ReservationOperations,
    IdentifyingInformationOperations,
    TimestampOperations,
    OperationCodeOperations,
    BufferOperations,
    DiagnosticOperations,
    InformationalExceptions,
):
    """What every device type has. Args are those of `InquiryOperations`."""

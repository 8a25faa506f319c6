"""Well known logical units: REPORT LUNS (C101h) and TARGET LOG PAGES (C103h) (SPC-5 clause 8).

Add them like any unit, with the 64-bit LUN. ACCESS CONTROLS and MANAGEMENT PROTOCOL are not here.
"""

from __future__ import annotations

from typing import ClassVar, Final

from scsiemu.spc_log import LogOperations
from scsiemu.spc_report import OperationCodeOperations
from scsiemu.spc_vpd import VpdPages

__all__ = ["REPORT_LUNS_LUN", "TARGET_LOG_PAGES_LUN", "ReportLunsUnit", "TargetLogPagesUnit"]

REPORT_LUNS_LUN: Final = 0xC101 << 48
TARGET_LOG_PAGES_LUN: Final = 0xC103 << 48


class ReportLunsUnit(VpdPages, OperationCodeOperations):
    """INQUIRY, REPORT LUNS, REQUEST SENSE, TEST UNIT READY and what reports them (SPC-5 8.2)."""

    peripheral_device_type: ClassVar[int] = 0x1E
    default_product: ClassVar[str] = "REPORT LUNS"


class TargetLogPagesUnit(VpdPages, OperationCodeOperations, LogOperations):
    """Log pages of the whole target (SPC-5 8.4). Those that there are, are the lists of pages; a subclass
    declares more."""

    peripheral_device_type: ClassVar[int] = 0x1E
    default_product: ClassVar[str] = "TARGET LOG PAGES"

"""The vital product data pages of a tape drive (SSC-5 8.4)."""

from __future__ import annotations

from typing import Any, Final

from devtypes.vt.logs import TapeLogs
from devtypes.vt.protection import METHODS
from devtypes.vt.tape_alert import TAPE_ALERT_COUNT
from scsiemu.command import Command
from scsiemu.media import Automation
from scsiemu.vpd import vpd_page

__all__ = ["TapeVpd"]

_SSC_4: Final = 0x0520                      # VERSION DESCRIPTOR, no version claimed (SPC-5 table 154)
_WORM: Final = 0x01


def _has(page: int) -> Any:
    """For `available`: the personality has the page."""
    return lambda drive: page not in drive.kind.vpd_pages_without


class TapeVpd(TapeLogs):
    """VPD pages."""

    def version_descriptors(self) -> tuple[int, ...]:
        return (_SSC_4,)

    @vpd_page(0xB0, "Sequential-access device capabilities", available=_has(0xB0), standard="SSC-5 8.4.2")
    def vpd_capabilities(self, command: Command) -> bytes:
        """WORM. There is no tape stream mirroring."""
        return bytes((_WORM if self.kind.worm else 0, 0))

    @vpd_page(0xB1, "Manufacturer-assigned serial number", available=_has(0xB1), standard="SSC-5 8.4.3")
    def vpd_manufacturer_serial(self, command: Command) -> bytes:
        """The drive's own, which is what page 80h says, too."""
        return self.identity.serial.encode()

    @vpd_page(0xB2, "TapeAlert supported flags", available=_has(0xB2), standard="SSC-5 8.4.4")
    def vpd_tape_alert(self, command: Command) -> bytes:
        """All flags can be set, by what happens or by TEST of the informational exceptions page."""
        return self.alerts.flags(range(1, TAPE_ALERT_COUNT + 1))

    @vpd_page(0xB3, "Automation device serial number", available=_has(0xB3), standard="SSC-5 8.4.5")
    def vpd_automation_serial(self, command: Command) -> bytes:
        """Of the library that the drive is in; empty where it is in none."""
        servers = (unit.server for unit in self.unit.target.units.values())
        library = next(
            (each for each in servers if isinstance(each, Automation) and each.element_of(self) is not None), None
        )
        return library.identity.serial.encode("ascii", "replace") if library is not None else b""

    @vpd_page(
        0xB5, "Logical block protection", standard="SSC-5 8.4.7",
        available=lambda drive: bool(drive.kind.protection) and _has(0xB5)(drive),
    )
    def vpd_logical_block_protection(self, command: Command) -> bytes:
        """The methods, each for blocks that are written and that are read."""
        return bytes(4) + b"".join(
            bytes((3, method, METHODS[method].length, 0xC0)) for method in sorted(self.kind.protection)
        )

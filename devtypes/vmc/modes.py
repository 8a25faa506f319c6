"""Mode pages and log pages of a media changer (SMC-3 7.1, 7.3). What they say follows from configuration and state."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from devtypes.vmc.config import ElementType
from devtypes.vmc.information import ElementInformation
from scsiemu.layout import PageLayout
from scsiemu.log_pages import LogFormat, LogParameter, log_page
from scsiemu.mode_pages import ModePage

__all__ = [
    "DEVICE_CAPABILITIES", "ELEMENT_ADDRESS_ASSIGNMENT", "TAPE_ALERT_FLAGS", "TRANSPORT_GEOMETRY", "ChangerPages",
]

ELEMENT_ADDRESS_ASSIGNMENT: Final = ModePage(
    0x1D, 0x00, "Element Address Assignment",
    PageLayout(
        "first_medium_transport:16 number_of_medium_transport:16 first_storage:16 number_of_storage:16 "
        "first_import_export:16 number_of_import_export:16 first_data_transfer:16 number_of_data_transfer:16 _:16"
    ),
    savable=False, standard="SMC-3 7.3.4",
)

# One medium transport element, which does not rotate.
TRANSPORT_GEOMETRY: Final = ModePage(
    0x1E, 0x00, "Transport Geometry Parameters", PageLayout("_:7 rotate member_number:8"), savable=False,
    standard="SMC-3 7.3.5",
)

# Volumes rest in every element but the medium transport one, and go from each of these to each.
DEVICE_CAPABILITIES: Final = ModePage(
    0x1F, 0x00, "Device Capabilities",
    PageLayout(
        "_:4 stor_dt stor_ie stor_st=1 stor_mt _:8 "
        "_:4 mt_dt mt_ie mt_st mt_mt _:4 st_dt st_ie st_st=1 st_mt _:4 ie_dt ie_ie ie_st ie_mt "
        "_:4 dt_dt dt_ie dt_st dt_mt _:32 "
        "_:4 mt_x_dt mt_x_ie mt_x_st mt_x_mt _:4 st_x_dt st_x_ie st_x_st=1 st_x_mt _:4 ie_x_dt ie_x_ie ie_x_st ie_x_mt "
        "_:4 dt_x_dt dt_x_ie dt_x_st dt_x_mt _:32"
    ),
    savable=False, standard="SMC-3 7.3.2",
)

# The flags that a library can set (SMC-3 annex A), by what sets them.
TAPE_ALERT_FLAGS: Final[dict[int, str]] = {
    16: "library door: it is open",
    17: "import/export door: it is open",
    22: "drive offline: the unit of a data transfer element is not there",
    24: "inventory: there are volumes for which no slot is free",
}
_TAPE_ALERT_COUNT: Final = 64

_STATISTICS: Final = (
    "moves", "picks", None, "places", None, "tags_read", "invalid_tags", "door_opens", "port_opens", "scans",
)


class ChangerPages(ElementInformation):
    """Mode and log pages."""

    def mode_page_declarations(self) -> list[ModePage]:
        transports, slots, ports, drives = self.config.ranges
        addresses = ELEMENT_ADDRESS_ASSIGNMENT.with_defaults(
            first_medium_transport=transports.first, number_of_medium_transport=transports.count,
            first_storage=slots.first, number_of_storage=slots.count,
            first_import_export=ports.first if ports.count else 0, number_of_import_export=ports.count,
            first_data_transfer=drives.first if drives.count else 0, number_of_data_transfer=drives.count,
        )
        kinds = [
            name for name, part in (("st", slots), ("ie", ports), ("dt", drives)) if part.count
        ]
        able = {f"stor_{kind}": 1 for kind in kinds}
        for source in kinds:
            for destination in kinds:
                able[f"{source}_{destination}"] = able[f"{source}_x_{destination}"] = 1
        return [
            *super().mode_page_declarations(), addresses, TRANSPORT_GEOMETRY,
            DEVICE_CAPABILITIES.with_defaults(**able),
        ]

    def _reset_statistics(self) -> None:
        self.counted.reset()

    @log_page(0x14, "Media changer statistics", reset="_reset_statistics", standard="SMC-3 7.2.4")
    def log_media_changer_statistics(self) -> Iterable[LogParameter]:
        """Movements, tags that were read, doors that were opened. Nothing is ever tried again."""
        return [
            LogParameter(
                code, (getattr(self.counted, name) if name else 0).to_bytes(4, "big"), LogFormat.UNBOUNDED_COUNTER,
                settable=False,
            )
            for code, name in enumerate(_STATISTICS)
        ]

    @property
    def active_alerts(self) -> frozenset[int]:
        """The TapeAlert flags that are set, by the state of the library now."""
        drives = self.config.range_of(ElementType.DATA_TRANSFER).addresses
        states = {
            16: self.door_open, 17: self.ports_open, 24: bool(self.homeless),
            22: any(self.drive(address) is None for address in drives),
        }
        return frozenset(flag for flag, active in states.items() if active)

    @log_page(0x2E, "TapeAlert", disable_save=False, standard="SMC-3 7.2.5")
    def log_tape_alert(self) -> Iterable[LogParameter]:
        """A flag is set as long as what it stands for lasts. DS is zero, as it was while it was reserved (SPC-3):
        software takes the first byte for the page code."""
        active = self.active_alerts
        return [
            LogParameter(flag, bytes((flag in active,)), settable=False) for flag in range(1, _TAPE_ALERT_COUNT + 1)
        ]

"""The mode pages of an optical drive (MMC-6 clause 7, MMC-3 5.5.10 for what was dropped since and is still asked for).

There are no block descriptors. Page 03h is there for those who ask for it; no disc of ours is Mount Rainier formatted.
What page 05h says holds for writing, SOTC of page 0Eh for audio play; speeds in page 2Ah are as SET CD SPEED has them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final

from devtypes.vmmc.information import BUFFER_SIZE
from devtypes.vmmc.keys import Keys
from devtypes.vmmc.raw import RAW_BLOCKS
from devtypes.vmmc.speed import READ_SPEEDS, WRITE_SPEEDS
from scsiemu.cdb import CdbFields
from scsiemu.layout import PageLayout
from scsiemu.mode_pages import ModeFieldRefused, ModePage
from scsiemu.spc_mode_pages import CONTROL_EXTENSION, DISCONNECT_RECONNECT

__all__ = [
    "CACHING", "CAPABILITIES", "CD_AUDIO_CONTROL", "CD_DEVICE_PARAMETERS", "MRW", "READ_WRITE_ERROR_RECOVERY",
    "TIMEOUT_AND_PROTECT", "VERIFY_ERROR_RECOVERY", "WRITE_PARAMETERS", "OpticalModes", "WriteType",
]


class WriteType:
    """WRITE TYPE of the write parameters page (MMC-6 table 653)."""

    PACKET: Final = 0
    TRACK_AT_ONCE: Final = 1
    SESSION_AT_ONCE: Final = 2
    RAW: Final = 3
    LAYER_JUMP: Final = 4


READ_WRITE_ERROR_RECOVERY: Final = ModePage(
    0x01, 0x00, "Read/Write Error Recovery",
    PageLayout("awre*=1 arre* tb* rc* _ per* dte* dcr* read_retry_count*:8=5 _:32 write_retry_count*:8=1 _:24"),
    standard="MMC-6 7.3",
)

MRW: Final = ModePage(
    0x03, 0x00, "MRW", PageLayout("_:8 _:7 lba_space _:32"), savable=False, standard="MMC-6 7.4",
)

WRITE_PARAMETERS: Final = ModePage(
    0x05, 0x00, "Write Parameters",
    PageLayout(
        "_ bufe*=1 ls_v* test_write* write_type*:4=1 multi_session*:2 fp* copy* track_mode*:4=5 _:4 "
        "data_block_type*:4=8 link_size*:8 _:8 _:2 host_application_code*:6 session_format*:8 _:8 packet_size*:32 "
        "audio_pause_length*:16=150 mcn*:128 isrc*:128 sub_header*:32"
    ),
    savable=False, standard="MMC-6 7.5",        # programs send it back with PS as they got it
)

VERIFY_ERROR_RECOVERY: Final = ModePage(
    0x07, 0x00, "Verify Error Recovery", PageLayout("_:5 per* dte* dcr* verify_retry_count*:8=5 _:64"),
    standard="MMC-3 5.5.13",
)

CACHING: Final = ModePage(
    0x08, 0x00, "Caching", PageLayout("_:5 wce*=1 _ rcd* _:72"), standard="MMC-6 7.6",
)

CD_DEVICE_PARAMETERS: Final = ModePage(
    0x0D, 0x00, "CD Device Parameters", PageLayout("_:8 _:4 inactivity_timer*:4 seconds:16=60 frames:16=75"),
    standard="MMC-3 5.5.5",
)

CD_AUDIO_CONTROL: Final = ModePage(
    0x0E, 0x00, "CD Audio Control",
    PageLayout(
        "_:5 immed=1 sotc* _ _:40 _:4 channel_0*:4=1 volume_0*:8=255 _:4 channel_1*:4=2 volume_1*:8=255 "
        "_:4 channel_2*:4 volume_2*:8 _:4 channel_3*:4 volume_3*:8"
    ),
    standard="MMC-6 7.7",
)

TIMEOUT_AND_PROTECT: Final = ModePage(
    0x1D, 0x00, "Timeout and Protect",
    PageLayout("_:16 _:4 g3enable tmoe disp swpp* _:8 group_1_timeout*:16=300 group_2_timeout*:16=600 _:16"),
    standard="MMC-6 7.9",
)

_SLOTS: Final = 5       # write speed descriptors: all pages are to fit into the 255 bytes of MODE SENSE(6)
CAPABILITIES: Final = ModePage(
    0x2A, 0x00, "CD/DVD Capabilities and Mechanical Status",
    PageLayout(
        "_:2 dvd_ram_read=1 dvd_r_read=1 dvd_rom_read=1 method_2=1 cd_rw_read=1 cd_r_read=1 "
        "_:2 dvd_ram_write=1 dvd_r_write=1 _ test_write=1 cd_rw_write=1 cd_r_write=1 "
        "buf=1 multi_session=1 mode_2_form_2=1 mode_2_form_1=1 digital_port_2 digital_port_1 composite audio_play=1 "
        "read_bar_code upc=1 isrc=1 c2_pointers=1 rw_deinterleaved=1 rw_supported=1 cdda_accurate=1 cdda_commands=1 "
        "loading_mechanism:3=1 _ eject=1 prevent_jumper lock_state lock=1 "
        "_:2 rw_in_lead_in side_change slot_selection disc_present separate_mute=1 separate_volume=1 "
        f"maximum_read_speed:16 volume_levels:16=256 buffer_size:16={BUFFER_SIZE >> 10} read_speed:16 _:8 "
        "_:2 length:2 lsbf rck bckf _ maximum_write_speed:16 write_speed:16 copy_management:16=1 _:24 _:6 rotation:2 "
        f"write_speed_selected:16 descriptors:16={_SLOTS} "
        + " ".join(f"_:16 speed_{number}:16" for number in range(_SLOTS))
    ),
    savable=False, standard="MMC-3 5.5.10",
)

# Data block types that there are (MMC-6 table 654): raw and with sub-channels, mode 1, mode 2 and its forms.
_LINK_SIZES: Final = (7, 16)            # of CD and DVD, as feature 0021h has them
_BLOCK_TYPES: Final = frozenset((0, 1, 2, 3, 8, 9, 10, 11, 12, 13))


class OpticalModes(Keys):
    """Mode pages."""

    has_long_descriptors: ClassVar[bool] = False

    def mode_page_declarations(self) -> list[ModePage]:
        pages = [
            page for page in super().mode_page_declarations()
            if page.key not in (CONTROL_EXTENSION.key, DISCONNECT_RECONNECT.key)
        ]
        return [
            *pages, READ_WRITE_ERROR_RECOVERY, MRW, WRITE_PARAMETERS, VERIFY_ERROR_RECOVERY, CACHING,
            CD_DEVICE_PARAMETERS, CD_AUDIO_CONTROL, TIMEOUT_AND_PROTECT, CAPABILITIES,
        ]

    def check_mode_page(self, page: ModePage, wanted: CdbFields) -> Mapping[str, int]:
        if page.key == WRITE_PARAMETERS.key:
            if wanted.write_type > WriteType.LAYER_JUMP:
                raise ModeFieldRefused("write_type")
            types = RAW_BLOCKS if wanted.write_type == WriteType.RAW else _BLOCK_TYPES
            if wanted.data_block_type not in types:
                raise ModeFieldRefused("data_block_type")
            if wanted.multi_session == 2:
                raise ModeFieldRefused("multi_session")
            if wanted.ls_v and wanted.link_size not in _LINK_SIZES:
                raise ModeFieldRefused("link_size")
            if wanted.session_format not in (0x00, 0x10, 0x20):
                raise ModeFieldRefused("session_format")
        return super().check_mode_page(page, wanted)

    def live_mode_fields(self, page: ModePage) -> Mapping[str, int]:
        if page.key == CAPABILITIES.key:
            return self._capabilities_now()
        return super().live_mode_fields(page)

    def _capabilities_now(self) -> dict[str, int]:
        family = self.family
        read, write = self.speeds_now()
        table = WRITE_SPEEDS[family]
        most = 0xFFFF
        speeds = {f"speed_{number}": min(speed, most) for number, speed in enumerate(table[:_SLOTS])}
        return {
            "lock_state": int(bool(self.preventing)), "maximum_read_speed": min(READ_SPEEDS[family], most),
            "read_speed": min(read, most), "maximum_write_speed": min(table[0], most), "write_speed": min(write, most),
            "write_speed_selected": min(write, most), "descriptors": min(len(table), _SLOTS), **speeds,
        }

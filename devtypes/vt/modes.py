"""The mode pages of a tape drive, the block descriptor, and what they do (SSC-5 8.3)."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import ClassVar, Final

from devtypes.vt.base import LoadState
from devtypes.vt.medium import TapeMedium
from devtypes.vt.protection import METHODS
from devtypes.vt.spacing import Spacing
from devtypes.vt.tape_alert import ALL_FLAGS, TAPE_ALERT_COUNT
from scsiemu import asc
from scsiemu.cdb import CdbFields
from scsiemu.command import Command
from scsiemu.layout import PageLayout
from scsiemu.mode_pages import ModeFieldRefused, ModeHeader, ModePage, PageControl
from scsiemu.sense import CheckCondition, FieldPointer
from scsiemu.spc_mode_pages import CONTROL, INFORMATIONAL_EXCEPTIONS_CONTROL

__all__ = [
    "CONTROL_DATA_PROTECTION", "DATA_COMPRESSION", "DEVICE_CONFIGURATION", "DEVICE_CONFIGURATION_EXTENSION",
    "MEDIUM_CONFIGURATION", "READ_WRITE_ERROR_RECOVERY", "TapeModes", "medium_partition",
]

READ_WRITE_ERROR_RECOVERY: Final = ModePage(
    0x01, 0x00, "Read-Write Error Recovery",
    PageLayout("_:2 tb _ eer per dte dcr read_retry_count*:8 _:32 write_retry_count*:8 _:24"),
    standard="SSC-5 8.3.5",
)

CONTROL_DATA_PROTECTION: Final = ModePage(
    0x0A, 0xF0, "Control Data Protection",
    PageLayout(
        "logical_block_protection_method*:8 _:2 logical_block_protection_information_length*:6 lbp_w* lbp_r* rbdp _:205"
    ),
    standard="SSC-5 8.3.9",
)

DATA_COMPRESSION: Final = ModePage(
    0x0F, 0x00, "Data Compression",
    PageLayout(
        "dce* dcc=1 _:6 dde=1 red:2 _:5 compression_algorithm:32 decompression_algorithm:32 _:32"
    ),
    standard="SSC-5 8.3.2",
)

DEVICE_CONFIGURATION: Final = ModePage(
    0x10, 0x00, "Device Configuration",
    PageLayout(
        "_:2 caf active_format:5 active_partition:8 write_object_buffer_full_ratio:8 read_object_buffer_empty_ratio:8 "
        "write_delay_time*:16 obr lois=1 rsmk avc socf:2 robo rew gap_size:8 "
        "eod_defined:3 eeg=1 sew=1 swp* baml bam object_buffer_size_at_early_warning:24 "
        "select_data_compression_algorithm*:8 wtre:2 oir rewind_on_reset:2 asocwp* perswp prmwp"
    ),
    standard="SSC-5 8.3.3",
)

DEVICE_CONFIGURATION_EXTENSION: Final = ModePage(
    0x10, 0x01, "Device Configuration Extension",
    PageLayout(
        "_:4 tarpf taser tarpc taplsd write_mode*:4 short_erase_mode:4 pews*:16 _:7 vcelbre _:184"
    ),
    standard="SSC-5 8.3.8",
)

MEDIUM_CONFIGURATION: Final = ModePage(
    0x1D, 0x00, "Medium Configuration",
    # Filemarks right before the end of data may be overwritten, but for the first of them: restriction 02h.
    PageLayout(
        "_:7 wormm _:8 worm_mode_label_restrictions:8 worm_mode_filemark_restrictions:8=2 _:208"
    ),
    standard="SSC-5 8.3.7",
)

_DESCRIPTOR: Final = struct.Struct(">BBHBBH")
_WRITE_PROTECTED: Final = 0x80
_SAME_DENSITY: Final = (0x00, 0x7F)         # default; no change from the previous density (SSC-5 8.3.1)
_MEBIBYTES: Final = 2                       # PSUM
_UNITS: Final = 3                           # as PARTITION UNITS says
_MEBIBYTE: Final = 1 << 20
_UNKNOWN_SIZE: Final = 0xFFFF


def medium_partition(partitions: int) -> ModePage:
    """The medium partition page of a drive with so many partitions; sizes in MiB until MODE SELECT says otherwise."""
    sizes = " ".join(f"partition_size_{number}*:16" for number in range(partitions))
    return ModePage(
        0x11, 0x00, "Medium Partition",
        PageLayout(
            f"maximum_additional_partitions:8={partitions - 1} additional_partitions_defined*:8 fdp* sdp* idp* "
            f"psum*:2=2 pofm=1 clear* addp* medium_format_recognition:8=3 _:4 partition_units*:4 _:8 {sizes}"
        ),
        savable=False, standard="SSC-5 8.3.4",
    )


class TapeModes(Spacing):
    """Mode pages and the block descriptor."""

    has_long_descriptors: ClassVar[bool] = False
    has_bare_mode_sense: ClassVar[bool] = True
    read_only_parameter: ClassVar[int] = _WRITE_PROTECTED

    def mode_page_declarations(self) -> list[ModePage]:
        kind = self.kind
        algorithm = kind.compression_algorithm if kind.compression else 0
        layout = CONTROL.layout
        # What the base class lets be changed, and what an insertion does.
        changeable = [
            field.name for field in layout.fields
            if field.name != "_" and any(
                left & right for left, right in zip(layout.mask(field.name), layout.changeable, strict=True)
            )
        ]
        # TapeAlert flags are polled, unless MODE SELECT has them reported.
        ours = {
            CONTROL.key: CONTROL.with_changeable(*changeable, "autoload_mode"),
            INFORMATIONAL_EXCEPTIONS_CONTROL.key: INFORMATIONAL_EXCEPTIONS_CONTROL.with_defaults(dexcpt=1),
        }
        pages = [ours.get(page.key, page) for page in super().mode_page_declarations()]
        compressing = int(self.config.compression)
        compression = DATA_COMPRESSION.with_defaults(
            dce=compressing, dcc=int(kind.compression), dde=int(kind.compression), compression_algorithm=algorithm,
            decompression_algorithm=algorithm,
        )
        pages += [
            READ_WRITE_ERROR_RECOVERY,
            compression if kind.compression else compression.with_changeable(),
            DEVICE_CONFIGURATION.with_defaults(select_data_compression_algorithm=compressing),
            DEVICE_CONFIGURATION_EXTENSION,
            medium_partition(kind.most_partitions),
            MEDIUM_CONFIGURATION,
        ]
        if kind.protection:
            pages.append(CONTROL_DATA_PROTECTION)
        return [page for page in pages if page.page * 256 + page.subpage not in kind.mode_pages_without]

    # --- what MODE SELECT may do -------------------------------------------------------------------------------

    def check_mode_page(self, page: ModePage, wanted: CdbFields) -> Mapping[str, int]:
        if page.key == CONTROL.key and wanted.autoload_mode > 2:
            raise ModeFieldRefused("autoload_mode")
        if page.key == CONTROL_DATA_PROTECTION.key:
            self._check_protection(wanted)
        elif page.key == DEVICE_CONFIGURATION.key and wanted.select_data_compression_algorithm > self.kind.compression:
            raise ModeFieldRefused("select_data_compression_algorithm")
        elif page.key == DEVICE_CONFIGURATION_EXTENSION.key and wanted.write_mode > 1:
            raise ModeFieldRefused("write_mode")
        elif page.page == 0x11:
            self._check_partitions(wanted)
        elif page.key == INFORMATIONAL_EXCEPTIONS_CONTROL.key and wanted.test:
            number = _signed(wanted.report_count)
            if abs(number) > TAPE_ALERT_COUNT and number != ALL_FLAGS:
                raise ModeFieldRefused("report_count")
        return super().check_mode_page(page, wanted)

    def _check_protection(self, wanted: CdbFields) -> None:
        """SSC-5 8.3.9: a method that there is, with its length; none has neither length nor LBP_W and LBP_R."""
        method = wanted.logical_block_protection_method
        if method and method not in self.kind.protection:
            raise ModeFieldRefused("logical_block_protection_method")
        if wanted.logical_block_protection_information_length != METHODS[method].length:
            raise ModeFieldRefused("logical_block_protection_information_length")
        if not method and wanted.lbp_w:
            raise ModeFieldRefused("lbp_w")
        if not method and wanted.lbp_r:
            raise ModeFieldRefused("lbp_r")

    def _check_partitions(self, wanted: CdbFields) -> None:
        """SSC-5 8.3.4: at most one of FDP, SDP and IDP."""
        if wanted.additional_partitions_defined >= self.kind.most_partitions:
            raise ModeFieldRefused("additional_partitions_defined")
        if wanted.fdp + wanted.sdp + wanted.idp > 1:
            raise ModeFieldRefused("sdp" if wanted.sdp else "idp")

    def mode_page_changed(self, page: ModePage, fields: CdbFields) -> None:
        super().mode_page_changed(page, fields)
        if page.key == CONTROL_DATA_PROTECTION.key:
            method = METHODS[fields.logical_block_protection_method]
            self.protection_write = method if fields.lbp_w else METHODS[0]
            self.protection_read = method if fields.lbp_r else METHODS[0]
        elif page.key == DATA_COMPRESSION.key:
            self._set_compressing(bool(fields.dce))
        elif page.key == DEVICE_CONFIGURATION.key:
            self._set_compressing(bool(fields.select_data_compression_algorithm))
            self.protected_modes = frozenset(
                name for name in ("swp", "asocwp", "perswp", "prmwp") if getattr(fields, name)
            )
        elif page.key == DEVICE_CONFIGURATION_EXTENSION.key:
            self.append_only = fields.write_mode == 1
            self.pew_size = fields.pews
            self.may_overwrite = None

    def _set_compressing(self, compressing: bool) -> None:
        """DCE and SELECT DATA COMPRESSION ALGORITHM say the same: whichever was set last counts for both."""
        if compressing == self.compressing:
            return
        self.compressing = compressing
        pages = self.mode_pages
        for page, name in ((DATA_COMPRESSION, "dce"), (DEVICE_CONFIGURATION, "select_data_compression_algorithm")):
            if page.key in pages.pages:
                pages.set(*page.key, **{name: int(compressing)})

    def test_exception(self, control: CdbFields) -> None:
        """TEST with a TEST FLAG NUMBER sets a TapeAlert flag, or clears it where that is negative (SSC-5 8.3.6)."""
        number = control.report_count
        if number:
            self.alerts.test(_signed(number))
        else:
            super().test_exception(control)

    def unloaded(self) -> None:
        """Associated write protection ends with the unloading (SSC-5 4.2.14.3)."""
        super().unloaded()
        if "asocwp" in self.protected_modes:
            self.set_mode_fields(*DEVICE_CONFIGURATION.key, asocwp=0)

    # --- values from state -------------------------------------------------------------------------------------

    def live_mode_fields(self, page: ModePage) -> Mapping[str, int]:
        if page.key == DEVICE_CONFIGURATION.key:
            return {"active_partition": self.position.partition if self.load_state == LoadState.READY else 0}
        if page.key == MEDIUM_CONFIGURATION.key:
            return {"wormm": int(self.cartridge is not None and self.cartridge.worm)}
        return super().live_mode_fields(page)

    def show_partitions(self, cartridge: TapeMedium) -> None:
        """The medium partition page tells of the medium that was loaded or formatted, until MODE SELECT changes it."""
        if (0x11, 0x00) not in self.mode_pages.pages:
            return
        exponent = self.kind.partition_units
        unit = 10**exponent if exponent else _MEBIBYTE
        sizes = {
            f"partition_size_{number}": min(-(-cartridge.size(number) // unit), _UNKNOWN_SIZE)
            if number < cartridge.partitions else 0
            for number in range(self.kind.most_partitions)
        }
        extra = min(cartridge.partitions - 1, self.kind.most_partitions - 1)
        self.mode_pages.set(
            0x11, additional_partitions_defined=extra, fdp=0, sdp=0, idp=0, clear=0, addp=0,
            psum=_UNITS if exponent else _MEBIBYTES, partition_units=exponent, **sizes,
        )

    def _threaded(self, cartridge: TapeMedium) -> None:
        super()._threaded(cartridge)
        self.show_partitions(cartridge)

    # --- header and block descriptor ---------------------------------------------------------------------------

    @property
    def medium_type(self) -> int:
        return self.cartridge.state.medium_type if self.cartridge is not None else 0

    @property
    def device_specific_parameter(self) -> int:
        """WP, BUFFERED MODE, SPEED zero (SSC-5 8.3.1)."""
        return (_WRITE_PROTECTED if self.write_protected else 0) | self.buffered << 4

    @property
    def _density(self) -> int:
        return self.cartridge.state.density if self.cartridge is not None else self.kind.density.code

    def block_descriptors(self, *, control: int, long: bool) -> bytes:
        """Density, number of blocks (zero: the rest of the partition), block length."""
        if control == PageControl.CHANGEABLE:
            return _DESCRIPTOR.pack(0xFF, 0, 0, 0, 0xFF, 0xFFFF)
        if control in (PageControl.DEFAULT, PageControl.SAVED):
            return _DESCRIPTOR.pack(self.kind.density.code, 0, 0, 0, 0, 0)
        length = self.block_length
        return _DESCRIPTOR.pack(self._density, 0, 0, 0, length >> 16, length & 0xFFFF)

    def check_mode_header(self, header: ModeHeader) -> bool:
        offset = 2 if header.offset == 4 else 3
        buffered, speed = header.device_specific >> 4 & 7, header.device_specific & 0xF
        if buffered > 1 or speed:
            raise _invalid(offset, 6 if buffered > 1 else 3)
        changes = buffered != self.buffered
        if header.block_descriptors:
            density, length = self._descriptor(header)
            changes |= length != self.block_length or density not in (*_SAME_DENSITY, self._density)
        return changes

    def apply_mode_header(self, header: ModeHeader, command: Command) -> None:
        self.buffered = header.device_specific >> 4 & 7
        if header.block_descriptors:
            _, self.block_length = self._descriptor(header)

    def _descriptor(self, header: ModeHeader) -> tuple[int, int]:
        """Density and block length of a MODE SELECT. Raises CheckCondition."""
        if len(header.block_descriptors) != _DESCRIPTOR.size:
            raise _invalid(header.offset)
        density, _, _, _, high, low = _DESCRIPTOR.unpack(header.block_descriptors)
        if density not in _SAME_DENSITY and self.kind.find_density(density) is None:
            raise _invalid(header.offset)
        length: int = high << 16 | low
        kind = self.kind
        fits = kind.shortest_block <= length <= kind.longest_block and not length % (1 << kind.granularity)
        if length and not fits:
            raise _invalid(header.offset + 5)
        return density, length

    def reset(self, kind: str) -> None:
        """SSC-5 4.2.12: block length and buffered mode are mode parameters, and revert."""
        self.block_length = 0
        self.buffered = 1
        super().reset(kind)


def _signed(number: int) -> int:
    """A field of 32 bits as a two's complement number."""
    return number - (1 << 32 if number >> 31 else 0)


def _invalid(byte: int, bit: int | None = None) -> CheckCondition:
    return CheckCondition(asc.INVALID_FIELD_IN_PARAMETER_LIST, pointer=FieldPointer(byte, bit, in_cdb=False))

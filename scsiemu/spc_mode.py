"""MODE SENSE and MODE SELECT, 6 and 10 (SPC-5 6.12 to 6.15), and the control mode page's effects.

The four sets of values and the parsing of lists are in `mode_pages`. A MODE SELECT takes effect as a whole or
not at all. With a state store pages can be saved: the record of all savable pages is replaced before GOOD;
without one, SP is refused and PS is zero.
"""

from __future__ import annotations

import functools
from collections.abc import Generator, Mapping
from typing import Any, ClassVar, Final

from scsiemu import asc
from scsiemu.cdb import CdbFields, CdbLayout
from scsiemu.command import Command, Completion, Steps
from scsiemu.io_requests import IoRequest, LoadState, SaveState
from scsiemu.mode_pages import (
    ModeFieldRefused,
    ModeHeader,
    ModePage,
    ModePages,
    PageControl,
    PageValues,
    parse_mode_parameters,
)
from scsiemu.operations import DataDirection, ReservationClass, operation
from scsiemu.sam import Status
from scsiemu.sense import CheckCondition, FieldPointer, Sense
from scsiemu.spc_mode_pages import (
    CONTROL,
    CONTROL_EXTENSION,
    DISCONNECT_RECONNECT,
    INFORMATIONAL_EXCEPTIONS_CONTROL,
    POWER_CONDITION,
)
from scsiemu.spc_vpd import VpdPages
from scsiemu.vpd import vpd_page

__all__ = ["MODE_SELECT_6", "MODE_SELECT_10", "MODE_SENSE_6", "MODE_SENSE_10", "ModeOperations"]

MODE_SENSE_6: Final = CdbLayout(
    "opcode:8 _:4 dbd _:3 pc:2 page_code:6 subpage_code:8 allocation_length:8 control:8"
)
MODE_SENSE_10: Final = CdbLayout(
    "opcode:8 _:3 llbaa dbd _:3 pc:2 page_code:6 subpage_code:8 _:24 allocation_length:16 control:8"
)
MODE_SELECT_6: Final = CdbLayout("opcode:8 _:3 pf _:2 rtd sp _:16 parameter_list_length:8 control:8")
MODE_SELECT_10: Final = CdbLayout("opcode:8 _:3 pf _:2 rtd sp _:40 parameter_list_length:16 control:8")

_CONTROL_FIELDS: Final = (
    "tst", "tmf_only", "dpicz", "d_sense", "rlec", "queue_algorithm_modifier", "nuar", "qerr", "ua_intlck_ctrl",
    "swp", "tas",
)


class ModeOperations(VpdPages):
    """The mode commands and the mode pages of all device types."""

    @functools.cached_property
    def mode_pages(self) -> ModePages:
        """Values of the unit's mode pages."""
        return ModePages(self.mode_page_declarations())

    def attached(self) -> None:
        """The control mode page begins to be obeyed."""
        super().attached()
        self.mode_pages_reverted()

    # Whether block descriptors have a long form (disks have; those of tape do not say where a block is).
    has_long_descriptors: ClassVar[bool] = True

    # What DEVICE-SPECIFIC PARAMETER has besides for a nexus that may not change the medium: WP, where there is one.
    read_only_parameter: ClassVar[int] = 0

    # Page code 00h asks for header and block descriptors alone, as drivers do that only want to know of those.
    has_bare_mode_sense: ClassVar[bool] = False

    # --- what device types answer
    # ------------------------------------------------------------------------------

    def mode_page_declarations(self) -> list[ModePage]:
        """The mode pages of the device type: those of the base class, changed or not, and more. Called once,
        when the first is needed (at the latest when the unit is attached)."""
        return [
            DISCONNECT_RECONNECT, CONTROL, CONTROL_EXTENSION, POWER_CONDITION, INFORMATIONAL_EXCEPTIONS_CONTROL,
        ]

    @property
    def medium_type(self) -> int:
        """MEDIUM TYPE field."""
        return 0

    @property
    def device_specific_parameter(self) -> int:
        """DEVICE-SPECIFIC PARAMETER field: WP (80h), DPOFUA (10h) of disks, BUFFERED MODE of tapes."""
        return 0

    def block_descriptors(self, *, control: int, long: bool) -> bytes:
        """Mode parameter block descriptors for a value of `PageControl`; `long`: initiator takes long
        ones."""
        return b""

    def check_mode_header(self, header: ModeHeader) -> bool:
        """Whether the header and block descriptors of a MODE SELECT change something. Changes nothing yet.

        Raises CheckCondition when it cannot be done. The default knows no changes.
        """
        same = header.block_descriptors in (
            b"", self.block_descriptors(control=PageControl.CURRENT, long=header.long)
        )
        if not same:
            pointer = FieldPointer(header.offset, in_cdb=False)
            raise CheckCondition(asc.INVALID_FIELD_IN_PARAMETER_LIST, pointer=pointer)
        return False

    def keep_mode_header(self, header: ModeHeader) -> Generator[IoRequest[Any], Any, None]:
        """Save what of a header is retained over power cycles without being asked for, before anything changes."""
        yield from ()

    def apply_mode_header(self, header: ModeHeader, command: Command) -> None:
        """Do what `check_mode_header` agreed to, for this MODE SELECT."""

    def live_mode_fields(self, page: ModePage) -> Mapping[str, int]:
        """Current values that state decides, not MODE SELECT (position of a lock, capabilities of a
        medium)."""
        return {}

    def check_mode_page(self, page: ModePage, wanted: CdbFields) -> Mapping[str, int]:
        """Look at the changeable fields of a MODE SELECT. Raises `ModeFieldRefused` for a value that the unit
        can't have, and returns those that it rounds."""
        if page.key == CONTROL.key:
            if wanted.tst > 1:
                raise ModeFieldRefused("tst")
            if wanted.queue_algorithm_modifier > 1:
                raise ModeFieldRefused("queue_algorithm_modifier")
            if wanted.qerr == 2:
                raise ModeFieldRefused("qerr")
            if wanted.ua_intlck_ctrl == 1:
                raise ModeFieldRefused("ua_intlck_ctrl")
        return {}

    def mode_page_changed(self, page: ModePage, fields: CdbFields) -> None:
        """A page has new current values, by MODE SELECT, reset or otherwise."""
        if page.key == CONTROL.key:
            for name in _CONTROL_FIELDS:
                setattr(self.control, name, getattr(fields, name))

    # --- state
    # -------------------------------------------------------------------------------------------------

    def set_mode_fields(self, page: int, subpage: int = 0, **values: int) -> None:
        """Set current values from within (an operator, another command). Everyone gets MODE PARAMETERS
        CHANGED."""
        before = self.mode_pages.current[page, subpage]
        self.mode_pages.set(page, subpage, **values)
        if self.mode_pages.current[page, subpage] != before:
            self.mode_page_changed(self.mode_pages.pages[page, subpage], self.mode_pages.fields(page, subpage))
            self.unit.attention(asc.MODE_PARAMETERS_CHANGED)

    def mode_pages_reverted(self) -> None:
        """All pages may have new current values: tell those who obey them."""
        for page in self.mode_pages.pages.values():
            self.mode_page_changed(page, self.mode_pages.fields(*page.key))

    def reset(self, kind: str) -> None:
        """SPC-5 6.12: after a logical unit reset, pages revert to saved values, or to defaults."""
        super().reset(kind)
        self.mode_pages.revert()
        self.mode_pages_reverted()

    def restore(self) -> Steps:
        """Load saved pages."""
        earlier = super().restore()
        if earlier is not None:
            yield from earlier
        if self.unit.has_state_store:
            record = yield from LoadState(self._mode_key)
            if record is not None:
                self.mode_pages.unpack(record)
                self.mode_pages_reverted()
        return Completion()

    @property
    def _mode_key(self) -> str:
        return f"{self.unit.state_prefix}mode pages"

    # --- MODE SENSE
    # --------------------------------------------------------------------------------------------

    @operation(
        0x1A, "MODE SENSE(6)", MODE_SENSE_6, data=DataDirection.IN, conflict=ReservationClass.READ,
        allocation="allocation_length", standby_allowed=True, standard="SPC-5 6.14",
    )
    def mode_sense_6(self, command: Command, cdb: CdbFields) -> Completion:
        """Mode parameters with the four-byte header, whose length field holds 255."""
        pages = self._sense_pages(cdb)
        blocks = b"" if cdb.dbd else self.block_descriptors(control=cdb.pc, long=False)
        length = 3 + len(blocks) + len(pages)
        if length > 0xFF:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="page_code")
        header = bytes((length, self.medium_type, self._device_specific(command), len(blocks)))
        return Completion(header + blocks + pages)

    @operation(
        0x5A, "MODE SENSE(10)", MODE_SENSE_10, data=DataDirection.IN, conflict=ReservationClass.READ,
        allocation="allocation_length", standby_allowed=True, standard="SPC-5 6.15",
    )
    def mode_sense_10(self, command: Command, cdb: CdbFields) -> Completion:
        """Mode parameters with the eight-byte header."""
        pages = self._sense_pages(cdb)
        long = bool(cdb.llbaa) and self.has_long_descriptors
        blocks = b"" if cdb.dbd else self.block_descriptors(control=cdb.pc, long=long)
        length = (6 + len(blocks) + len(pages)).to_bytes(2, "big")
        middle = bytes((self.medium_type, self._device_specific(command), bool(long and blocks), 0))
        return Completion(length + middle + len(blocks).to_bytes(2, "big") + blocks + pages)

    def _device_specific(self, command: Command) -> int:
        """DEVICE-SPECIFIC PARAMETER as the command's nexus finds it."""
        return self.device_specific_parameter | (self.read_only_parameter if command.nexus_state.read_only else 0)

    def _sense_pages(self, cdb: CdbFields) -> bytes:
        """The pages that a MODE SENSE asks for."""
        if cdb.pc == PageControl.SAVED and not self.unit.has_state_store:
            raise CheckCondition(asc.SAVING_PARAMETERS_NOT_SUPPORTED)
        if self.has_bare_mode_sense and not cdb.page_code and not cdb.subpage_code:
            return b""
        wanted = self.mode_pages.select(cdb.page_code, cdb.subpage_code)
        if not wanted:
            known = cdb.page_code == 0x3F or any(key[0] == cdb.page_code for key in self.mode_pages.pages)
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="subpage_code" if known else "page_code")
        savable = self.unit.has_state_store
        return b"".join(
            page.encode(
                self.mode_pages.values(cdb.pc, page, self.live_mode_fields(page)), ps=page.savable and savable
            )
            for page in wanted
        )

    # --- MODE SELECT
    # -------------------------------------------------------------------------------------------

    @operation(
        0x15, "MODE SELECT(6)", MODE_SELECT_6, data=DataDirection.OUT, conflict=ReservationClass.WRITE,
        parameter_list="parameter_list_length", exclusive=True, standby_allowed=True, standard="SPC-5 6.12",
    )
    @operation(
        0x55, "MODE SELECT(10)", MODE_SELECT_10, data=DataDirection.OUT, conflict=ReservationClass.WRITE,
        parameter_list="parameter_list_length", exclusive=True, standby_allowed=True, standard="SPC-5 6.13",
    )
    def mode_select(self, command: Command, cdb: CdbFields) -> Steps:
        """Check everything, save if asked to, then change everything."""
        if cdb.sp and not self.unit.has_state_store:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="sp")
        header, changes, rounded = self._selected(command, cdb)
        changes_header = header is not None and self.check_mode_header(header)
        wanted: PageValues = {**self.mode_pages.current, **changes}
        if cdb.sp:
            record = self.mode_pages.pack(wanted)
            yield from SaveState(self._mode_key, record)
        if header is not None and changes_header:
            yield from self.keep_mode_header(header)
        changed = [key for key, data in wanted.items() if data != self.mode_pages.current[key]]
        self.mode_pages.current = wanted
        if cdb.sp:
            self.mode_pages.saved = {**self.mode_pages.saved, **self._savable(wanted)}
        if header is not None and changes_header:
            self.apply_mode_header(header, command)
        for key in changed:
            self.mode_page_changed(self.mode_pages.pages[key], self.mode_pages.fields(*key))
        if changed or changes_header:
            self.unit.attention(asc.MODE_PARAMETERS_CHANGED, but=command.nexus)
        if rounded:
            return Completion(status=Status.CHECK_CONDITION, sense=Sense(asc.ROUNDED_PARAMETER))
        return Completion()

    def _selected(self, command: Command, cdb: CdbFields) -> tuple[ModeHeader | None, PageValues, bool]:
        """What a MODE SELECT wants: the header if there is one, new bytes of pages, whether a value is
        rounded."""
        data = command.parameter_list
        if cdb.rtd:  # SPC-5 6.12: all pages to their defaults; there is no parameter list and PF is ignored
            if cdb.parameter_list_length:
                raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="parameter_list_length")
            return None, dict(self.mode_pages.default), False
        if not cdb.parameter_list_length:
            return None, {}, False
        assert command.operation is not None
        ten = command.operation.opcode == 0x55
        header, changes, rounded = parse_mode_parameters(
            self.mode_pages, data, ten=ten, live=self.live_mode_fields, check=self.check_mode_page
        )
        if header.medium_type not in (0, self.medium_type):
            pointer = FieldPointer(2 if ten else 1, in_cdb=False)
            raise CheckCondition(asc.INVALID_FIELD_IN_PARAMETER_LIST, pointer=pointer)
        if changes and not cdb.pf:  # SPC-5 6.12: what follows would be vendor specific
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="pf")
        return header, changes, rounded

    def _savable(self, values: PageValues) -> PageValues:
        return {key: data for key, data in values.items() if self.mode_pages.pages[key].savable}

    # --- VPD
    # ---------------------------------------------------------------------------------------------------

    @vpd_page(0x87, "Mode page policy", standard="SPC-5 7.7.12")
    def vpd_mode_page_policy(self, command: Command) -> bytes:
        """Every page is shared by all nexuses, and by no other unit."""
        return b"".join(bytes((page, subpage, 0, 0)) for page, subpage in self.mode_pages.pages)

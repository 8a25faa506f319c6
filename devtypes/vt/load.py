"""Loading and unloading: LOAD UNLOAD, cartridges that a changer or an operator puts in and takes out (SSC-5 7.2).

Without a shelf the store is one cartridge, which never leaves: unloading takes it out of the drive's reach, LOAD
brings it back. With a shelf cartridges come by name (`scsiemu.media`), and a drive begins empty.
"""

from __future__ import annotations

from typing import Final

from devtypes.vt import layouts
from devtypes.vt.base import LoadState, TapeBase
from devtypes.vt.layouts import tape_operation
from devtypes.vt.medium import TapeMedium
from devtypes.vt.medium_layout import Asking, Attribute, MediumUnusable, Unusable
from devtypes.vt.medium_recovery import SMALLEST
from devtypes.vt.medium_values import CartridgeKind, NewCartridge
from devtypes.vt.physics import Physics
from scsiemu import asc
from scsiemu.cdb import CdbFields
from scsiemu.command import Command, Completion, Steps
from scsiemu.errors import IoFailed
from scsiemu.io_requests import StoreCapabilities
from scsiemu.logical_unit import BackgroundTask
from scsiemu.media import Mount, Unmount
from scsiemu.operations import Result
from scsiemu.sense import CheckCondition, SenseCode
from scsiemu.task_set import Alone

__all__ = ["Loading"]

_BARCODE: Final = 0x0806
_CLEANING_LABEL: Final = "CLN"              # how barcodes of cleaning cartridges begin
_CLEANINGS: Final = 50                      # that a cleaning cartridge is good for

# Why a store is no cartridge, as initiators are told.
_FAILURES: Final[dict[str, SenseCode]] = {
    Unusable.BLANK: asc.MEDIUM_NOT_FORMATTED,
    Unusable.FOREIGN: asc.CANNOT_READ_MEDIUM_INCOMPATIBLE_FORMAT,
    Unusable.NEWER: asc.CANNOT_READ_MEDIUM_INCOMPATIBLE_FORMAT,
    Unusable.DAMAGED: asc.MEDIUM_FORMAT_CORRUPTED,
}


class _AutoloadMode:
    """AUTOLOAD MODE of the control mode page (SPC-5 table 398): what an insertion does."""

    READY: Final = 0
    MEMORY_ONLY: Final = 1
    NOTHING: Final = 2


class Loading(TapeBase):
    """Cartridges in and out.

    Attributes:
        name: of the cartridge in the drive: its name on the shelf, or its barcode; None where there is none.
    """

    name: str | None = None

    # --- power on ----------------------------------------------------------------------------------------------

    def restore(self) -> Steps:
        """Without a shelf the cartridge is there when the drive is switched on, and loaded."""
        earlier = super().restore()
        if earlier is not None:
            yield from earlier
        if not self.config.shelf:
            self.name = self.config.barcode or "cartridge"
            yield from self._load_steps(hold=False)
        return Completion()

    # --- LOAD UNLOAD -------------------------------------------------------------------------------------------

    @tape_operation(
        0x1B, "LOAD UNLOAD", layouts.LOAD_UNLOAD, exclusive=True, recommended=900, standard="SSC-5 7.2",
    )
    def load_unload(self, command: Command, cdb: CdbFields) -> Result:
        """LOAD threads the tape, or with HOLD only makes the cartridge's memory accessible. Without LOAD it is
        unloaded: with HOLD it stays inside. RETEN winds it once, which changes nothing; EOT unloads at the end."""
        if cdb.load and cdb.eot:                # SSC-5 7.2: EOT is for unloading
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="eot")
        if cdb.hold and cdb.eot:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="hold")
        self._check_movable()
        if cdb.load:
            steps = self._load_by(command, hold=bool(cdb.hold))
        else:
            self._check_unload()
            steps = self._unload_by(hold=bool(cdb.hold))
        if not cdb.immed:
            return steps
        self.start_behind(steps, "LOAD UNLOAD")
        return Completion()

    def _check_movable(self) -> None:
        if self.load_state == LoadState.EMPTY:
            raise CheckCondition(asc.MEDIUM_NOT_PRESENT)
        if self.load_state in (LoadState.LOADING, LoadState.UNLOADING) or self.motion is not None:
            raise CheckCondition(asc.LOGICAL_UNIT_NOT_READY_OPERATION_IN_PROGRESS)

    def _check_unload(self) -> None:
        if self.preventing:
            self.alerts.set(10)
        self.check_not_prevented()

    def _load_by(self, command: Command | None, *, hold: bool) -> Steps:
        if self.load_state == LoadState.READY and not hold:
            # Loaded already: to the beginning (SSC-5 7.2).
            yield from self.settle()
            self.position = self.tape.beginning(0)
            return Completion()
        if self.load_state == LoadState.READY:
            yield from self._unthread_steps()
            self.load_state = LoadState.HELD
            return Completion()
        yield from self._load_steps(hold=hold)
        if self.load_state == LoadState.READY:
            self._tell_ready(but=command)
        return Completion()

    def _unload_by(self, *, hold: bool) -> Steps:
        if self.load_state in (LoadState.READY, LoadState.HELD):
            yield from self._unthread_steps()
            if not hold:
                yield from self._eject_steps()
            self.load_state = LoadState.HELD if hold else LoadState.EJECTED
        return Completion()

    # --- the steps ---------------------------------------------------------------------------------------------

    def _load_steps(self, *, hold: bool) -> Asking[None]:
        """From ejected or held to ready, or to held. What is wrong with the cartridge becomes `failure`."""
        before = self.load_state
        self.load_state = LoadState.LOADING
        try:
            if self.cartridge is None:
                self.failure = None
                yield from self._open_steps()
            if hold:
                self.load_state = LoadState.HELD
                return
            yield from self.physics.load()
            self.load_state = LoadState.READY
            if self.cartridge is not None:
                self._threaded(self.cartridge)
        finally:
            if self.load_state == LoadState.LOADING:    # stopped or failed on the way
                self.load_state = LoadState.EJECTED if before == LoadState.EMPTY else before

    def _open_steps(self) -> Asking[None]:
        """The cartridge in the store, mounted where there is a shelf."""
        if self.config.shelf:
            assert self.name is not None
            capabilities: StoreCapabilities = yield from Mount(self.name)
        else:
            found = self.unit.capabilities
            assert found is not None, "a tape drive needs a store that says what it can do"
            capabilities = found
        try:
            self.cartridge = yield from TapeMedium.open(capabilities)
        except MediumUnusable as unusable:
            if unusable.why == Unusable.BLANK and not capabilities.read_only and capabilities.size >= SMALLEST:
                self.cartridge = yield from TapeMedium.format(capabilities, self.new_cartridge())
            else:
                self.failure = _FAILURES[unusable.why]
                self.alerts.set(18 if unusable.why == Unusable.DAMAGED else 12)

    def new_cartridge(self) -> NewCartridge:
        """What a blank store becomes."""
        config, kind = self.config, self.kind
        barcode = (self.name if config.shelf else config.barcode) or ""
        cleaning = kind.medium("cleaning")
        if barcode.startswith(_CLEANING_LABEL) and cleaning is not None:
            return NewCartridge(CartridgeKind.CLEANING, 0, cleaning.medium_type, _barcode(barcode))
        medium = kind.medium("worm" if config.worm else "data")
        return NewCartridge(
            CartridgeKind.WORM if config.worm else CartridgeKind.DATA, kind.density.code,
            medium.medium_type if medium is not None else 0, _barcode(barcode), config.partitions,
        )

    def _threaded(self, cartridge: TapeMedium) -> None:
        """The tape is at its beginning."""
        self.position = cartridge.beginning(0)
        self.counters.load_unload_cycles += 1
        self.counted.loads += 1
        cartridge.loads += 1
        self.may_overwrite = None
        self.unsynced = False
        if cartridge.state.kind == CartridgeKind.CLEANING:
            self._clean(cartridge)
        elif self.kind.find_density(cartridge.state.density) is None:
            self.failure = asc.CANNOT_READ_MEDIUM_INCOMPATIBLE_FORMAT
            self.alerts.set(12)
        elif cartridge.worm and not self.kind.worm:
            self.failure = asc.INCOMPATIBLE_MEDIUM_INSTALLED
            self.alerts.set(12)

    def _clean(self, cartridge: TapeMedium) -> None:
        """A cleaning cartridge cleans when it is loaded, as often as it is good for."""
        self.failure = asc.CLEANING_CARTRIDGE_INSTALLED
        if cartridge.loads > _CLEANINGS:
            self.failure = asc.CLEANING_VOLUME_EXPIRED
            self.alerts.set(22)
            return
        self.alerts.set(11)
        self.cleaned()

    def _unthread_steps(self) -> Asking[None]:
        """From ready to held: all is on the medium."""
        if self.load_state != LoadState.READY:
            return
        self.load_state = LoadState.UNLOADING
        try:
            if self.cartridge is not None:
                yield from self.settle()
                self.leaving(self.cartridge)
                yield from self.cartridge.close()
            self.unsynced = False
            yield from self.physics.unload()
            self.load_state = LoadState.HELD
        finally:
            if self.load_state == LoadState.UNLOADING:
                self.load_state = LoadState.READY
        self.counters.start_stop_cycles += 1
        self.unloaded()

    def leaving(self, cartridge: TapeMedium) -> None:
        """The cartridge will be unthreaded: what is kept in its memory can be set now."""

    def unloaded(self) -> None:
        """The tape is not threaded any more: what belonged to it ends."""
        self.may_overwrite = None

    def _eject_steps(self) -> Asking[None]:
        """Let go of the cartridge."""
        if self.config.shelf:
            yield Unmount()
        self.cartridge = None
        self.failure = None
        self.alerts.clear(3, 4, 5, 6, 9, 11, 12, 18, 22, 60)

    def _tell_ready(self, *, but: Command | None = None) -> None:
        code = asc.NOT_READY_TO_READY_CHANGE_MEDIUM_MAY_HAVE_CHANGED
        self.unit.attention(code, but=but.nexus if but is not None else None)

    # --- a changer or an operator ------------------------------------------------------------------------------

    @property
    def medium(self) -> str | None:
        """The name of the cartridge inside, threaded or not; None where the drive is empty."""
        return self.name if self.load_state != LoadState.EMPTY else None

    def check_removal(self, command: Command) -> None:
        """Raises CheckCondition while the cartridge cannot be taken: prevented, in use, or not unloaded."""
        self.check_not_prevented()
        if self.load_state == LoadState.EMPTY:
            raise CheckCondition(asc.MEDIUM_SOURCE_ELEMENT_EMPTY)
        if self.load_state != LoadState.EJECTED:
            raise CheckCondition(asc.MEDIUM_REMOVAL_PREVENTED_BY_DATA_TRANSFER_ELEMENT)

    def check_insertion(self, command: Command) -> None:
        """Raises CheckCondition while there is a cartridge inside."""
        if self.load_state != LoadState.EMPTY:
            raise CheckCondition(asc.MEDIUM_DESTINATION_ELEMENT_FULL)

    def insert(self, name: str, *, by: Command | None = None) -> None:
        """A cartridge is put in: the drive loads it, as the autoload mode says."""
        assert self.load_state == LoadState.EMPTY
        self.name = name
        self.load_state = LoadState.EJECTED
        mode = self.mode_pages.fields(0x0A).autoload_mode
        if mode != _AutoloadMode.NOTHING:
            self.unit.start_background(self._insert_steps(hold=mode == _AutoloadMode.MEMORY_ONLY), "load")

    def _insert_steps(self, *, hold: bool) -> Steps:
        try:
            yield from self._load_steps(hold=hold)
        except IoFailed:
            self.failure = asc.MEDIA_LOAD_OR_EJECT_FAILED
            self.load_state = LoadState.READY
            return Completion()
        if self.load_state == LoadState.READY:
            self._tell_ready()
        return Completion()

    def remove(self, *, by: Command | None = None) -> str:
        """The cartridge is taken out; its name. `check_removal` was asked before."""
        name = self.name
        assert name is not None
        self.name = None
        self.load_state = LoadState.EMPTY
        return name

    def press_eject(self, *, force: bool = False) -> BackgroundTask:
        """An operator has the cartridge unloaded. See `scsiemu.media.AttendedDrive`."""
        return self.unit.start_background(self._eject_by_hand(force=force), "eject")

    def _eject_by_hand(self, *, force: bool) -> Steps:
        yield Alone()
        self._check_movable()
        if not force:
            self._check_unload()
        return (yield from self._unload_by(hold=False))

    def press_load(self) -> BackgroundTask:
        """An operator pushes the cartridge in that was unloaded."""
        return self.unit.start_background(self._load_by_hand(), "load")

    def _load_by_hand(self) -> Steps:
        yield Alone()
        self._check_movable()
        if self.load_state == LoadState.READY:
            return Completion()
        return (yield from self._load_by(None, hold=False))

    def set_write_protect(self, protected: bool) -> BackgroundTask:
        """An operator moves the tab of the cartridge in the drive."""
        return self.unit.start_background(self._protect_steps(protected), "write protect")

    def _protect_steps(self, protected: bool) -> Steps:
        yield Alone()
        self._check_movable()
        cartridge = self.cartridge
        if cartridge is None:
            raise CheckCondition(asc.MEDIUM_NOT_PRESENT)
        if cartridge.read_only:
            raise CheckCondition(asc.WRITE_PROTECTED)
        if cartridge.state.write_protected != protected:
            cartridge.protect(protected)
            self.unit.attention(asc.MODE_PARAMETERS_CHANGED)
            yield from cartridge.save()
        return Completion()

    @property
    def physics(self) -> Physics:
        """How long things take."""
        if self._physics is None:
            self._physics = Physics(self.kind, active=self.config.physics)
        return self._physics

    _physics: Physics | None = None


def _barcode(text: str) -> tuple[Attribute, ...]:
    """The attribute of a barcode; none where it is empty."""
    return (Attribute(_BARCODE, 1, text.encode("ascii", "replace")[:32].ljust(32)),) if text else ()

"""The commands that move tray and disc, and what the drive says of its mechanism (MMC-6 6.13, 6.9, 6.10, 6.42).

Also what a changer or an operator does by hand: `scsiemu.media.AttendedDrive`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Final

from devtypes.vmmc import layouts
from devtypes.vmmc.audio import AudioPlay, AudioStatus
from devtypes.vmmc.base import LOOK_EVERY, PowerState
from devtypes.vmmc.events import EventClass, MediaEvent
from devtypes.vmmc.tray import Input, TrayState
from scsiemu import asc
from scsiemu.cdb import CdbFields
from scsiemu.command import Command, Completion, Steps
from scsiemu.io_requests import Sleep
from scsiemu.logical_unit import BackgroundTask
from scsiemu.operations import DataDirection, ReservationClass, Result, operation
from scsiemu.sense import CheckCondition
from scsiemu.task_set import Alone

__all__ = ["TrayCommands"]

_PERSISTENT: Final = 2
_POWER_STATES: Final = {2: PowerState.IDLE, 3: PowerState.STANDBY, 5: PowerState.SLEEP}
_IDLE, _PLAYING, _SCANNING = 0, 1, 2        # mechanism state


class TrayCommands(AudioPlay):
    """Loading, ejecting, locking."""

    @operation(
        0x1B, "START STOP UNIT", layouts.START_STOP_UNIT, conflict=ReservationClass.WRITE, exclusive=True,
        standard="MMC-6 6.42",
    )
    def start_stop_unit(self, command: Command, cdb: CdbFields) -> Result:
        """Power conditions, turning the disc, and with LOEJ the tray."""
        if cdb.fl or cdb.format_layer:              # no hybrid discs
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="fl" if cdb.fl else "format_layer")
        if cdb.power_condition:
            state = _POWER_STATES.get(cdb.power_condition)
            if state is None:
                raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="power_condition")
            return self._then(lambda: self._enter(state))
        if cdb.loej and not cdb.start:
            self.check_not_prevented()
            return self._then(lambda: self._open_tray(command))
        if cdb.loej:
            return self._close_steps(command, wait=not cdb.immed)
        if cdb.start:
            sense = self.not_ready()
            if sense is not None and self.tray.state != TrayState.LOADING:
                raise CheckCondition(sense.code)
            self._enter(PowerState.ACTIVE)
            return Completion()
        return self._then(lambda: self._enter(PowerState.STANDBY))

    def _then(self, last: Callable[[], None]) -> Steps:
        """What was written goes to the disc first; what is to leave has left at the end."""
        self.stop_audio()
        yield from self.before_leaving()
        last()
        while self.tray.is_open and self.mounted:
            yield from Sleep(LOOK_EVERY)
        return Completion()

    def _open_tray(self, command: Command | None) -> None:
        self.put_in(Input.OPEN, by=command)

    def _close_steps(self, command: Command | None, *, wait: bool) -> Steps:
        if self.tray.is_open:
            self.put_in(Input.CLOSE, by=command)
        while wait and self.tray.state == TrayState.LOADING:
            yield from Sleep(LOOK_EVERY)
        return Completion()

    def _enter(self, state: int) -> None:
        """A power state. Events tell of it (MMC-6 table 277)."""
        if state != self.power_state:
            self.power_state = state
            self.tell(EventClass.POWER_MANAGEMENT, 1, state)

    @operation(
        0xA6, "LOAD/UNLOAD MEDIUM", layouts.LOAD_UNLOAD_MEDIUM, conflict=ReservationClass.WRITE, exclusive=True,
        standard="MMC-6 6.9",
    )
    def load_unload_medium(self, command: Command, cdb: CdbFields) -> Result:
        """A drive without a changer has one place, number 0."""
        if cdb.slot:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="slot")
        if cdb.loej and cdb.start:
            return self._close_steps(command, wait=not cdb.immed)
        if cdb.loej:
            self.check_not_prevented()
            return self._then(lambda: self._open_tray(command))
        return Completion()

    def prevent_allow(self, command: Command, cdb: CdbFields) -> Completion:
        """Prevention of a nexus, and the persistent one, which only its holder ends (MMC-6 6.13)."""
        held = self.preventing.get(command.nexus, 0)
        mode = cdb.prevent
        if mode & _PERSISTENT:
            others = [each for each, how in self.preventing.items() if how & _PERSISTENT and each is not command.nexus]
            if others:
                if mode & 1:
                    self.tell_control_requested()
                raise CheckCondition(asc.PERSISTENT_PREVENT_CONFLICT, field="prevent")
            if self.tray.is_open and mode & 1:
                raise CheckCondition(asc.MEDIUM_NOT_PRESENT_TRAY_OPEN)
        bit = _PERSISTENT if mode & _PERSISTENT else 1
        held = held | bit if mode & 1 else held & ~bit
        if held:
            self.preventing[command.nexus] = held
        else:
            self.preventing.pop(command.nexus, None)
        self.tell_control()
        return Completion()

    @operation(
        0xBD, "MECHANISM STATUS", layouts.MECHANISM_STATUS, data=DataDirection.IN, conflict=ReservationClass.ALWAYS,
        allocation="allocation_length", standard="MMC-6 6.10",
    )
    def mechanism_status(self, command: Command, cdb: CdbFields) -> Completion:
        """State of the mechanism, where the pick-up is; there are no slots."""
        playing = self.audio_status() == AudioStatus.PLAYING
        door = 0x10 if self.tray.is_open else 0
        place = max(self.audio_position(), 0) if playing else 0
        state = _SCANNING if self.scanning else _PLAYING if playing else _IDLE
        head = bytes((0, state << 5 | door))
        return Completion(head + place.to_bytes(3, "big") + bytes((0, 0, 0)))

    # --- by hand -----------------------------------------------------------------------------------------------

    def press_eject(self, *, force: bool = False) -> BackgroundTask:
        """The button in front: the tray opens, or, while that is prevented or the disc is being blanked, formatted or
        closed, hosts are asked. `force` is the hole beside it."""
        return self.unit.start_background(self._eject_by_hand(force=force), "eject")

    def _eject_by_hand(self, *, force: bool) -> Steps:
        yield Alone()
        prevented = bool(self.preventing) and not force
        if prevented or self.ongoing is not None:
            self.tell_media(MediaEvent.EJECT_REQUEST)
            self.tell_key()
        self._check_idle()
        if prevented:
            raise CheckCondition(asc.MEDIUM_REMOVAL_PREVENTED)
        if self.tray.is_open:
            return Completion()
        return (yield from self._then(lambda: self._open_tray(None)))

    def press_load(self) -> BackgroundTask:
        """The tray is pushed in, with the disc that the store is where it was begun without one."""
        return self.unit.start_background(self._load_by_hand(), "load")

    def _load_by_hand(self) -> Steps:
        yield Alone()
        self._check_idle()
        if not self.tray.has_disc and not self.config.shelf:
            self.insert(self.config.name)
        return (yield from self._close_steps(None, wait=True))

    def set_write_protect(self, protected: bool) -> BackgroundTask:
        """The operator protects what is put into the drive, and the disc in it; or lifts that."""
        return self.unit.start_background(self._protect_steps(protected), "write protect")

    def _protect_steps(self, protected: bool) -> Steps:
        yield Alone()
        self._check_idle()
        self.config = dataclasses.replace(self.config, write_protect=protected)
        if self.disc is not None and self.disc.protected != protected:
            yield from self.before_leaving()
            self.disc.protected = protected
            self.tell_features()
        return Completion()

    def _check_idle(self) -> None:
        if self.ongoing is not None:
            raise CheckCondition(self.ongoing.not_ready)

    @property
    def medium(self) -> str | None:
        """The name of the disc that is inside or on the tray; None where there is none."""
        return self.name if self.tray.has_disc else None

    def check_removal(self, command: Command) -> None:
        """Raises CheckCondition while the disc cannot be taken: prevented, or the tray is not out with it."""
        self.check_not_prevented()
        if not self.tray.has_disc:
            raise CheckCondition(asc.MEDIUM_SOURCE_ELEMENT_EMPTY)
        if not self.tray.is_open or self.mounted:
            raise CheckCondition(asc.MEDIUM_REMOVAL_PREVENTED_BY_DATA_TRANSFER_ELEMENT)

    def check_insertion(self, command: Command) -> None:
        """Raises CheckCondition while there is a disc already."""
        if self.tray.has_disc:
            raise CheckCondition(asc.MEDIUM_DESTINATION_ELEMENT_FULL)

    def insert(self, name: str, *, by: Command | None = None) -> None:
        """A disc is put in and the tray closes: it is read in, and every nexus but that of `by` hears of it."""
        self.name = name
        self.put_in(Input.PUT, by=by)
        self.put_in(Input.CLOSE, by=by)

    def remove(self, *, by: Command | None = None) -> str:
        """The disc is taken from the tray; its name. `check_removal` was asked before."""
        name = self.name
        assert name is not None
        self.put_in(Input.TAKE, by=by)
        self.name = None
        return name

"""The medium: its capacity, power, removal and change (SBC-4 5.17, 5.18, 5.31).

Operators insert, eject, resize and write protect through the methods; initiators hear of it by unit attentions.
"""

from __future__ import annotations

import dataclasses
import struct
from typing import Any, Final

from devtypes.vd import layouts
from devtypes.vd.geometry import Geometry
from scsiemu import asc
from scsiemu.cdb import CdbFields
from scsiemu.command import Command, Completion, Steps
from scsiemu.io_requests import Flush, Resize
from scsiemu.logical_unit import BackgroundTask
from scsiemu.operations import DataDirection, Operation, ReservationClass, Result, operation
from scsiemu.sense import CheckCondition, Sense
from scsiemu.task_set import Alone

__all__ = ["Medium", "PowerCondition"]

_CAPACITY_16: Final = struct.Struct(">QIBBH16x")
_LBPME: Final = 0x8000
_LBPRZ: Final = 0x4000


class PowerCondition:
    """POWER CONDITION of START STOP UNIT (SBC-4 table 99)."""

    START_VALID: Final = 0x0
    ACTIVE: Final = 0x1
    IDLE: Final = 0x2
    STANDBY: Final = 0x3
    LU_CONTROL: Final = 0x7
    FORCE_IDLE: Final = 0xA
    FORCE_STANDBY: Final = 0xB


_ENTERED: Final = {
    PowerCondition.ACTIVE: PowerCondition.ACTIVE,
    PowerCondition.IDLE: PowerCondition.IDLE, PowerCondition.FORCE_IDLE: PowerCondition.IDLE,
    PowerCondition.STANDBY: PowerCondition.STANDBY, PowerCondition.FORCE_STANDBY: PowerCondition.STANDBY,
}


class Medium(Geometry):
    """Commands about the medium as a whole.

    Attributes:
        power_transitions: how often each `PowerCondition` was entered, for its log page.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        self.power_transitions = dict.fromkeys(
            (PowerCondition.ACTIVE, PowerCondition.IDLE, PowerCondition.STANDBY), 0
        )
        self._stops = 0                 # that bring a cache to the medium first and have not ended
        super().__init__(*args, **options)

    @property
    def removable(self) -> bool:
        return self.config.removable

    def is_removable(self) -> bool:
        """For operations that only removable media have."""
        return self.config.removable

    # --- capacity ----------------------------------------------------------------------------------------------

    @operation(
        0x25, "READ CAPACITY(10)", layouts.READ_CAPACITY_10, data=DataDirection.IN,
        conflict=ReservationClass.ALWAYS, needs_ready=True, standard="SBC-4 5.17",
    )
    def read_capacity_10(self, command: Command, cdb: CdbFields) -> Completion:
        """The last LBA, FFFFFFFFh where it needs READ CAPACITY(16), and the block size."""
        return Completion(struct.pack(">II", min(self.blocks - 1, 0xFFFFFFFF), self.block_size))

    @operation(
        0x9E, "READ CAPACITY(16)", layouts.READ_CAPACITY_16, service_action=0x10, data=DataDirection.IN,
        conflict=ReservationClass.ALWAYS, needs_ready=True, allocation="allocation_length",
        standard="SBC-4 5.18",
    )
    def read_capacity_16(self, command: Command, cdb: CdbFields) -> Completion:
        """Capacity, protection, physical blocks, provisioning."""
        config = self.config
        protection = (config.pi_type - 1) << 1 | 1 if config.pi_type else 0
        zeros = _LBPRZ if config.promises_zeros else 0
        low = config.lowest_aligned | (_LBPME | zeros if config.thin else 0)
        return Completion(
            _CAPACITY_16.pack(self.blocks - 1, self.block_size, protection, config.physical_exponent, low)
        )

    # --- START STOP UNIT ---------------------------------------------------------------------------------------

    def conflict_class(self, command: Command, operation: Operation, cdb: CdbFields) -> str:
        """SBC-4, SPC-2 annex B: START STOP UNIT that only starts is let through by reservations."""
        if operation.opcode == 0x1B:
            harmless = cdb.start and not cdb.power_condition
            return ReservationClass.ALWAYS if harmless else ReservationClass.WRITE
        return super().conflict_class(command, operation, cdb)

    @operation(
        0x1B, "START STOP UNIT", layouts.START_STOP_UNIT, conflict=ReservationClass.SPECIAL, standard="SBC-4 5.31",
    )
    def start_stop_unit(self, command: Command, cdb: CdbFields) -> Result:
        """Power conditions; without one: start, stop, load, eject."""
        if cdb.power_condition_modifier:        # of idle and standby there are idle_a and standby_z alone
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="power_condition_modifier")
        if cdb.power_condition:
            # START and LOEJ are ignored then (SBC-4 5.31). LU_CONTROL has no timers to hand control to.
            entered = _ENTERED.get(cdb.power_condition)
            if entered is not None:
                self._check_no_stop()
                self._spin_up()
                self.enter_power_condition(entered)
            elif cdb.power_condition != PowerCondition.LU_CONTROL and not self.config.removable:
                # Obsolete or reserved. Removable disks take all of them: libiscsi's PwrCnd wants that of them.
                raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="power_condition")
            return Completion()
        if cdb.loej:
            self._check_removal()
        if cdb.start:
            self._check_no_stop()
            self._start(command, load=bool(cdb.loej))
            return Completion() if cdb.immed else self.settle_steps()
        if cdb.immed:
            self.stop(eject=bool(cdb.loej))
            if not cdb.no_flush:
                self.unit.start_background(self.flush_steps(command.nexus), "flush")
            return Completion()
        return self._stop_steps(eject=bool(cdb.loej), flush=not cdb.no_flush)

    def settle_steps(self) -> Steps:
        """Whatever has begun behind a START STOP UNIT without IMMED: it ends with that."""
        yield from ()
        return Completion()

    def _check_removal(self) -> None:
        """Whether LOEJ may load or eject: both are refused while any nexus prevents removal (SPC-5 6.16)."""
        if not self.config.removable:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="loej")
        self.check_not_prevented()

    def _check_no_stop(self) -> None:
        """Another power condition than the one that a command is on its way to is refused (SBC-4 5.31)."""
        if self._stops:
            raise CheckCondition(asc.LOGICAL_UNIT_NOT_READY_START_STOP_UNIT_COMMAND_IN_PROGRESS)

    def _start(self, command: Command, *, load: bool) -> None:
        if load and not self.present:
            self.load(by=command)
        self._spin_up()
        self.enter_power_condition(PowerCondition.ACTIVE)

    def _spin_up(self) -> None:
        """No longer stopped: any power condition that is asked for ends that (SBC-4 4.20)."""
        if self.stopped:
            self.stopped = False
            self.counters.start_stop_cycles += 1

    def _stop_steps(self, *, eject: bool, flush: bool) -> Steps:
        if flush and self.present:
            self._stops += 1
            try:
                yield from Flush()
            finally:
                self._stops -= 1
        self.stop(eject=eject)
        return (yield from self.settle_steps())

    def stop(self, *, eject: bool) -> None:
        """The medium is out of reach, or does not turn."""
        if eject:
            self.present = False
            self.counters.load_unload_cycles += 1
        elif self.config.stoppable:
            self.stopped = True
        self.refresh()

    def enter_power_condition(self, condition: int) -> None:
        """Change the power condition, by command or because the medium is accessed."""
        if condition != self.power_condition:
            self.power_condition = condition
            self.power_transitions[condition] += 1
        self.refresh()

    def refresh(self) -> None:
        super().refresh()
        if self.power_condition != PowerCondition.ACTIVE:
            self.fast_read = self.fast_write = False

    def check_access(self, command: Command, operation: Operation, cdb: CdbFields) -> None:
        super().check_access(command, operation, cdb)
        low = self.power_condition != PowerCondition.ACTIVE
        if low and operation.needs_ready and operation.range is not None:
            self.enter_power_condition(PowerCondition.ACTIVE)   # SBC-4 4.20: medium access wakes it

    def pollable_sense(self, command: Command) -> Sense | None:
        """A deferred error, progress, not ready conditions, low power by command (SPC-5 table 230)."""
        sense = self.take_deferred(command.nexus) or self.not_ready()
        if sense is not None:
            return sense
        if self.power_condition == PowerCondition.IDLE:
            return Sense(asc.IDLE_CONDITION_ACTIVATED_BY_COMMAND)
        if self.power_condition == PowerCondition.STANDBY:
            return Sense(asc.STANDBY_CONDITION_ACTIVATED_BY_COMMAND)
        return super().pollable_sense(command)

    # --- removal -----------------------------------------------------------------------------------------------

    @operation(
        0xAB, "READ MEDIA SERIAL NUMBER", layouts.READ_MEDIA_SERIAL_NUMBER, service_action=0x01,
        data=DataDirection.IN, conflict=ReservationClass.ALWAYS, needs_ready=True, allocation="allocation_length",
        available=is_removable, standard="SPC-5 6.30",
    )
    def read_media_serial_number(self, command: Command, cdb: CdbFields) -> Completion:
        """The serial number of the medium, padded to four bytes; length zero where it has none."""
        serial = self.config.medium_serial.encode("ascii", "replace")
        padded = serial + bytes(-len(serial) % 4)
        return Completion(len(padded).to_bytes(4, "big") + padded)

    def reset(self, kind: str) -> None:
        """Formats and sanitizes go on (SBC-4 4.11)."""
        self.streams.clear()
        super().reset(kind)

    # --- the operator ------------------------------------------------------------------------------------------

    def load(self, *, by: Command | None = None) -> None:
        """The medium is there. All nexuses (but that of a command which loads it) hear that it may have changed."""
        if self.present:
            return
        self.present = True
        self.stopped = False
        self.counters.load_unload_cycles += 1
        self.refresh()
        code = asc.NOT_READY_TO_READY_CHANGE_MEDIUM_MAY_HAVE_CHANGED
        self.unit.attention(code, but=by.nexus if by is not None else None)

    def press_eject(self, *, force: bool = False) -> BackgroundTask:
        """Take the medium out. See `scsiemu.media.AttendedDrive`."""
        return self.unit.start_background(self._eject_by_hand(force=force), "eject")

    def _eject_by_hand(self, *, force: bool) -> Steps:
        yield Alone()
        self._check_idle()
        if not force:
            self.check_not_prevented()
        return (yield from self._stop_steps(eject=True, flush=True)) if self.present else Completion()

    def press_load(self) -> BackgroundTask:
        """Put the medium in again."""
        return self.unit.start_background(self._load_by_hand(), "load")

    def _load_by_hand(self) -> Steps:
        yield Alone()
        self._check_idle()
        self.load()
        return (yield from self.settle_steps())

    def _check_idle(self) -> None:
        if not self.config.removable:
            raise CheckCondition(asc.MEDIUM_REMOVAL_PREVENTED)
        if self.ongoing is not None:
            raise CheckCondition(self.ongoing.not_ready)

    def set_write_protect(self, protected: bool) -> BackgroundTask:
        """Write protect the medium or lift that. The WP bit is a mode parameter."""
        return self.unit.start_background(self._protect_steps(protected), "write protect")

    def _protect_steps(self, protected: bool) -> Steps:
        yield Alone()
        if protected != self.config.write_protect:
            self.config = dataclasses.replace(self.config, write_protect=protected)
            self.refresh()
            self.unit.attention(asc.MODE_PARAMETERS_CHANGED)
        return Completion()

    def resize(self, capacity: int) -> BackgroundTask:
        """Give the disk another capacity; the store is resized first where it can be.

        Raises ValueError: not with protection information, which lies behind the blocks, not without a medium or during
        a format or sanitize operation.
        """
        if not self.present or self.ongoing is not None:
            raise ValueError("there is no medium" if not self.present else "a format or sanitize operation is going on")
        if self.config.pi_type:
            raise ValueError("a disk with protection information cannot be resized")
        return self.unit.start_background(self._resize_steps(capacity * self.block_size), "resize")

    def _resize_steps(self, size: int) -> Steps:
        yield Alone()                   # commands that were checked against the old capacity end first
        if not self.present or self.ongoing is not None or self.config.pi_type:
            raise CheckCondition(asc.LOGICAL_UNIT_NOT_READY_CAUSE_NOT_REPORTABLE)
        wanted = self.with_capacity(size // self.block_size, size)
        capabilities = self.unit.capabilities
        asked = capabilities is not None and capabilities.resize and capabilities.size != size
        self.blocks = min(self.blocks, wanted.capacity)     # HEAD OF QUEUE commands do not wait
        try:
            if asked:
                yield from Resize(size)
            yield from self.forget_geometry()
        finally:
            # Whatever became of the record, and if a reset ended this work: the size that the store has now counts.
            capabilities = self.unit.capabilities
            if not asked or (capabilities is not None and capabilities.size == size):
                self.unreadable = {block for block in self.unreadable if block < wanted.capacity}
                self.take_config(wanted)
            else:
                self.take_geometry()
        return Completion()

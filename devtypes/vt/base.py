"""The state of a tape drive and what its commands share: readiness, positions, zones near the end, write protection,
deferred errors (SSC-5 4.2).

The commands are in the mixins that `drive.TapeDrive` is made of.
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar, Final, NamedTuple

from devtypes.vt.config import TapeConfig
from devtypes.vt.counters import TapeCounters
from devtypes.vt.medium import TapeMedium
from devtypes.vt.medium_layout import HEADER_SIZE, Asking
from devtypes.vt.medium_values import Position
from devtypes.vt.tape_alert import TapeAlerts
from scsiemu import asc
from scsiemu.cdb import CdbFields
from scsiemu.command import Command, Completion, Steps
from scsiemu.errors import IoFailed, IoFault
from scsiemu.identity import Identity
from scsiemu.io_requests import Flush, IoRequest, Read
from scsiemu.logical_unit import BackgroundTask
from scsiemu.operations import Operation
from scsiemu.sense import CheckCondition, Sense, SenseCode, SenseKey
from scsiemu.spc_removal import RemovalPrevention

__all__ = ["LoadState", "MediaErrors", "TapeBase", "refusal_of"]

# Room that blocks leave for the filemarks that an application writes when the partition is full.
_MARKS_ROOM: Final = 16 * HEADER_SIZE
_MOST_EARLY_WARNING: Final = 64 << 20
_MEGABYTE: Final = 1_000_000
_ERRORS_UNTIL_CLEANING: Final = 3

# Performed whatever error is waiting to be told.
_TELLS_NOTHING: Final = frozenset((0x03, 0x12, 0xA0))


class MediaErrors(NamedTuple):
    """Unrecovered errors."""

    writing: int
    reading: int

    def more(self, *, reading: bool) -> MediaErrors:
        """One more."""
        return MediaErrors(self.writing + (not reading), self.reading + reading)


class LoadState:
    """Where the cartridge is (SSC-5 4.2.x, ADC-4 load states)."""

    EMPTY: Final = "empty"              # there is none
    EJECTED: Final = "ejected"          # it can be taken out
    HELD: Final = "held"                # inside, not threaded: its memory can be read
    LOADING: Final = "loading"
    READY: Final = "ready"
    UNLOADING: Final = "unloading"


# What commands that need the medium are refused with.
_NOT_READY: Final[dict[str, SenseCode]] = {
    LoadState.EMPTY: asc.MEDIUM_NOT_PRESENT,
    LoadState.EJECTED: asc.MEDIUM_NOT_PRESENT,
    LoadState.HELD: asc.MEDIUM_NOT_PRESENT_MEDIUM_AUXILIARY_MEMORY_ACCESSIBLE,
    LoadState.LOADING: asc.LOGICAL_UNIT_IS_IN_PROCESS_OF_BECOMING_READY,
    LoadState.UNLOADING: asc.LOGICAL_UNIT_NOT_READY_CAUSE_NOT_REPORTABLE,
}


class TapeBase(RemovalPrevention):
    """Base of the mixins of a tape drive.

    Args:
        config: what the drive is made of.
        identity: names of the unit; what is empty comes from the personality or is derived.

    Attributes:
        kind: the personality.
        load_state: one of `LoadState`.
        cartridge: what is loaded or held.
        failure: why a loaded cartridge cannot be used; None where it can.
        position: where the tape stands, while it is ready.
        block_length: of fixed blocks, 0 for variable ones only (mode parameter block descriptor).
        buffered: BUFFERED MODE.
        compressing: DCE.
        unsynced: blocks or filemarks were written that may be lost with the power.
        deferred: an error of a command that has ended, which the next one tells.
        motion: the additional sense code of what goes on after a command with IMMED.
        may_overwrite: the position or format that ALLOW OVERWRITE let be overwritten: (partition, object), or "format".
        append_only: WRITE MODE of the device configuration extension page.
        pew_size: PROGRAMMABLE EARLY WARNING SIZE in units of 10^6 bytes.
        mount_errors, life_errors: unrecovered ones with the cartridge since it was loaded, and in its life.
        errors_until_cleaning: so many more, and the drive asks to be cleaned.
        protected_modes: software write protection by mode pages: names of the bits that are set.
    """

    peripheral_device_type: ClassVar[int] = 0x01
    default_timeouts: ClassVar[tuple[int, int]] = (5, 60)
    default_product: ClassVar[str] = "VIRTUAL TAPE"

    def __init__(self, config: TapeConfig | None = None, identity: Identity | None = None) -> None:
        self.config = config or TapeConfig()
        self.kind = self.config.kind
        self.load_state: str = LoadState.EMPTY
        self.cartridge: TapeMedium | None = None
        self.failure: SenseCode | None = None
        self.position = Position(0, 0, 0, 0, 0)
        self.block_length = 0
        self.buffered = 1
        self.compressing = self.config.compression
        self.unsynced = False
        self.deferred: Sense | None = None
        self.motion: SenseCode | None = None
        self._behind: list[BackgroundTask] = []
        self.may_overwrite: tuple[int, int] | str | None = None
        self.append_only = False
        self.pew_size = 0
        self.protected_modes: frozenset[str] = frozenset()
        self.counted = TapeCounters()
        self.alerts = TapeAlerts(self._alerts_changed)
        self.mount_errors = MediaErrors(0, 0)
        self.life_errors = MediaErrors(0, 0)
        self.errors_until_cleaning = _ERRORS_UNTIL_CLEANING
        kind = self.kind
        given = identity or Identity()
        default = Identity()
        super().__init__(
            identity=dataclasses.replace(
                given,
                vendor=given.vendor if given.vendor != default.vendor else kind.vendor,
                product=given.product or kind.product,
                revision=given.revision if given.revision != default.revision else kind.revision,
            )
        )
        self.has_start_stop = True

    def offers(self, name: str) -> bool:
        """Whether the personality has an operation of this name."""
        return name not in self.kind.without

    @property
    def removable(self) -> bool:
        return True

    # --- readiness ---------------------------------------------------------------------------------------------

    @property
    def tape(self) -> TapeMedium:
        """The loaded cartridge, for commands that need it: `check_ready` has passed."""
        assert self.cartridge is not None
        return self.cartridge

    def not_ready(self) -> Sense | None:
        """Why the medium cannot be had; None where it can."""
        code = _NOT_READY.get(self.load_state) or self.failure
        if code is None and self.motion is not None:
            code = asc.LOGICAL_UNIT_NOT_READY_OPERATION_IN_PROGRESS
        return None if code is None else Sense(code)

    def check_loaded(self) -> None:
        """Raises CheckCondition where the medium cannot be had."""
        sense = self.not_ready()
        if sense is not None:
            raise refusal_of(sense)

    def check_ready(self, command: Command, operation: Operation, cdb: CdbFields) -> None:
        self.check_loaded()

    def check_access(self, command: Command, operation: Operation, cdb: CdbFields) -> None:
        """A deferred error ends the next command, which is not performed (SPC-5 4.4.7)."""
        if (self._behind or self.deferred) and operation.opcode not in _TELLS_NOTHING:
            sense = self._take_deferred()
            if sense is not None:
                raise refusal_of(sense)
        super().check_access(command, operation, cdb)

    def pollable_sense(self, command: Command) -> Sense | None:
        """A deferred error, then what goes on, then why the drive is not ready."""
        sense = self._take_deferred()
        if sense is not None:
            return sense
        if self.motion is not None:
            return Sense(asc.with_key(self.motion, SenseKey.NO_SENSE))
        return self.not_ready() or super().pollable_sense(command)

    # --- zones near the end of a partition ---------------------------------------------------------------------

    def early_warning(self, partition: int) -> int:
        """Bytes of a partition that lie behind its early warning position."""
        size = self.tape.size(partition)
        return min(self.config.early_warning or min(size // 10, _MOST_EARLY_WARNING), size)

    def beyond_early_warning(self, position: Position) -> bool:
        """Whether a position is between early warning and the end of the partition (SSC-5 4.2.4)."""
        return self.tape.room(position) < self.early_warning(position.partition)

    def beyond_programmable_warning(self, position: Position) -> bool:
        """Whether a position is in or behind the programmable early warning zone."""
        zone = self.early_warning(position.partition) + self.pew_size * _MEGABYTE
        return self.pew_size > 0 and self.tape.room(position) < zone

    def fits(self, room: int, stored: int) -> bool:
        """Whether a block of so many stored bytes may still be written."""
        return HEADER_SIZE + stored + _MARKS_ROOM <= room

    # --- writing -----------------------------------------------------------------------------------------------

    def check_writable(self, command: Command | None) -> None:
        """Raises CheckCondition where nothing may be written (SSC-5 4.2.14)."""
        tape = self.tape
        if self.config.write_protect or tape.read_only or (command is not None and command.nexus_state.read_only):
            raise self._protected(asc.HARDWARE_WRITE_PROTECTED if self.config.write_protect else asc.WRITE_PROTECTED)
        if tape.state.write_protected:
            raise self._protected(asc.WRITE_PROTECTED)
        if self.control.swp or "swp" in self.protected_modes:
            raise CheckCondition(asc.LOGICAL_UNIT_SOFTWARE_WRITE_PROTECTED)
        for name, code in _PROTECTING_BITS.items():
            if name in self.protected_modes:
                raise CheckCondition(code)
        density = self.kind.find_density(tape.state.density)
        if density is None or not density.writable:
            raise self._protected(asc.CANNOT_WRITE_MEDIUM_INCOMPATIBLE_FORMAT)

    def _protected(self, code: SenseCode) -> CheckCondition:
        self.alerts.set(9)                          # write protect
        return CheckCondition(asc.with_key(code, SenseKey.DATA_PROTECT))

    @property
    def write_protected(self) -> bool:
        """WP of the mode parameter header."""
        try:
            if self.cartridge is not None:
                self.check_writable(None)
        except CheckCondition:
            return True
        return self.config.write_protect

    def check_overwrite(self) -> Asking[None]:
        """Raises CheckCondition where writing at the position would overwrite what must stay (SSC-5 4.2.15, 4.2.16)."""
        tape, position = self.tape, self.position
        if not (tape.worm or self.append_only) or tape.at_end(position):
            return
        if not tape.worm and self.may_overwrite == (position.partition, position.object):
            return
        end = tape.end(position.partition)
        only_marks = end.object - position.object == end.marks - position.marks
        if only_marks and position.object:
            # Filemarks right before the end of data may be overwritten, but for the first of them.
            before = yield from tape.read_before(position)
            if before is not None and before.header.is_mark:
                return
        self.alerts.set(60 if tape.worm else 9)     # WORM medium: overwrite attempted; write protect
        raise CheckCondition(asc.WORM_MEDIUM_OVERWRITE_ATTEMPTED)

    def settle(self) -> Asking[None]:
        """Bring what earlier commands wrote to the medium, before the tape moves.

        Raises CheckCondition with a deferred error where it cannot be (SPC-5 4.4.7): they have ended with GOOD. That is
        told once; the command is not performed.
        """
        try:
            yield from self.synchronize()
        except IoFailed as failure:
            if failure.fault not in (IoFault.MEDIUM, IoFault.NO_SPACE):
                raise
            self.unsynced = False
            self.media_error(reading=False)
            raise refusal_of(Sense(asc.WRITE_ERROR, deferred=True)) from None

    def synchronize(self) -> Asking[None]:
        """Bring all that was written to the medium."""
        if self.unsynced:
            yield from self.tape.sync()
            self.unsynced = False

    # --- what goes on after a command --------------------------------------------------------------------------

    def perform(self, steps: Steps, *, immediate: bool, doing: SenseCode) -> Completion | Steps:
        """The steps themselves, or GOOD at once and the steps in the background.

        Args:
            doing: what REQUEST SENSE tells meanwhile.
        """
        if not immediate:
            return steps
        self.motion = doing
        self.start_behind(self._moving(steps), "IMMED")
        return Completion()

    def _moving(self, steps: Steps) -> Steps:
        """Steps while which other commands that need the medium are refused."""
        try:
            return (yield from steps)
        finally:
            self.motion = None

    def start_behind(self, steps: Steps, name: str) -> None:
        """Go on with steps whose failure is told by a later command."""
        self._behind = [task for task in self._behind if not task.done]
        self._behind.append(self.unit.start_background(steps, name))

    def flush_steps(self) -> Steps:
        """Background work: what was written goes to the medium."""
        yield Flush()
        return Completion()

    def _take_deferred(self) -> Sense | None:
        """The deferred error to be told now; the first of several."""
        for task in self._behind:
            completion = task.completion if task.done else None
            if completion is not None and completion.sense is not None and self.deferred is None:
                self.deferred = dataclasses.replace(completion.sense, deferred=True)
        self._behind = [task for task in self._behind if not task.done]
        sense, self.deferred = self.deferred, None
        return sense

    def io_failed(self, command: Command, request: IoRequest[Any], failure: IoFailed) -> Sense:
        if failure.fault == IoFault.MEDIUM:
            self.media_error(reading=isinstance(request, Read))
        return super().io_failed(command, request, failure)


    def media_error(self, *, reading: bool) -> None:
        """A block could not be read or written."""
        self.counted.failed(reading=reading)
        self.mount_errors = self.mount_errors.more(reading=reading)
        self.life_errors = self.life_errors.more(reading=reading)
        self.alerts.set(3)                          # hard error
        self.alerts.set(5 if reading else 6)        # read failure, write failure
        self.errors_until_cleaning -= 1
        if self.cleaning_needed:
            self.alerts.set(20)                     # clean now

    @property
    def cleaning_needed(self) -> bool:
        """Whether the heads are dirty: so they are taken to be after some errors."""
        return self.errors_until_cleaning <= 0

    def cleaned(self) -> None:
        """A cleaning cartridge was here."""
        self.errors_until_cleaning = _ERRORS_UNTIL_CLEANING
        self.counted.cleanings += 1
        self.alerts.clear(20)

    def _alerts_changed(self) -> None:
        """An active TapeAlert flag is an informational exception; one more is a new one (SSC-5 4.2.20)."""
        if self.alerts.active:
            self.exception = None
            self.informational_exception(asc.FAILURE_PREDICTION_THRESHOLD_EXCEEDED)
        elif self.exception == asc.FAILURE_PREDICTION_THRESHOLD_EXCEEDED:
            self.informational_exception(None)


# Bits of the device configuration page that protect, with what writes are then refused with (SSC-5 8.3.3).
_PROTECTING_BITS: Final[dict[str, SenseCode]] = {
    "asocwp": asc.ASSOCIATED_WRITE_PROTECT,
    "perswp": asc.PERSISTENT_WRITE_PROTECT,
    "prmwp": asc.PERMANENT_WRITE_PROTECT,
}


def refusal_of(sense: Sense) -> CheckCondition:
    """The refusal with this sense data."""
    refusal = CheckCondition(sense.code)
    refusal.sense = sense
    return refusal

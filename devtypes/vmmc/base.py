"""The state of an optical drive: tray, disc, removal, long operations, and the checks that its commands share.

Whether the drive is ready, what is in it and what keeps it busy is decided here and nowhere else. The commands are in
the mixins that `drive.OpticalDrive` is made of (MMC-6 4.1, 6.1).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from typing import Any, ClassVar, Final

from devtypes.vmmc.config import OpticalConfig
from devtypes.vmmc.disc import Asking, Disc, DiscUnusable
from devtypes.vmmc.opening import open_disc
from devtypes.vmmc.tray import Action, Input, Tray, TrayState
from scsiemu import asc
from scsiemu.cdb import CdbFields
from scsiemu.command import Command, Completion, Steps
from scsiemu.errors import IoFailed
from scsiemu.identity import Identity
from scsiemu.io_requests import IoRequest, Sleep
from scsiemu.media import Mount, Unmount
from scsiemu.nexus import Nexus
from scsiemu.operations import Operation
from scsiemu.sense import CheckCondition, Sense, SenseCode
from scsiemu.spc_removal import RemovalPrevention

__all__ = ["BLOCK", "LOOK_EVERY", "Ongoing", "OpticalBase", "PowerState"]

BLOCK: Final = 2048
LOOK_EVERY: Final = 0.01            # seconds, while something waits for the disc

# While a long operation is under way only these are performed (MMC-6 4.1.4): INQUIRY, REQUEST SENSE, REPORT LUNS,
# GET CONFIGURATION, GET EVENT STATUS NOTIFICATION, MODE SENSE, PREVENT ALLOW, READ DISC INFORMATION, STOP of a format,
# RSOC and its like.
_ALWAYS_PERFORMED: Final = frozenset((0x03, 0x12, 0x46, 0x4A, 0x1A, 0x5A, 0x1E, 0x51, 0xA0, 0xA3, 0x5C, 0xBD))
_MMC_6: Final = 0x04A0          # version descriptor


class PowerState:
    """Power status of the power management class (MMC-6 table 278)."""

    ACTIVE: Final = 1
    IDLE: Final = 2
    STANDBY: Final = 3
    SLEEP: Final = 4


class Ongoing:
    """An operation that goes on after its command has ended, or while it waits.

    Attributes:
        not_ready: the sense code that other commands get meanwhile.
        begun, seconds: on the target's clock; their ratio is the PROGRESS INDICATION.
    """

    __slots__ = ("begun", "not_ready", "seconds")

    def __init__(self, not_ready: SenseCode, begun: float, seconds: float) -> None:
        self.not_ready = not_ready
        self.begun = begun
        self.seconds = seconds

    def progress(self, now: float) -> int:
        """Of 65536."""
        if self.seconds <= 0:
            return 0xFFFF
        return max(0, min(int((now - self.begun) * 0x10000 / self.seconds), 0xFFFF))


class OpticalBase(RemovalPrevention):
    """Base of the mixins of an optical drive.

    Args:
        config: what the drive is made of.
        identity: names of the unit; what is empty is derived.

    Attributes:
        tray: tray and disc.
        disc: the disc, once it is ready.
        name: of the disc that is in the drive.
        ongoing: what keeps the drive busy.
        unreadable: why the disc in the drive cannot be read.
        mounted: the disc has left the shelf, or is about to, and is not back there yet.
        power_state: one of `PowerState`.
        event_queues: events by nexus and class (`events`).
    """

    peripheral_device_type: ClassVar[int] = 0x05
    # libscg, which wodim and readom are built on, writes the LUN into every CDB.
    lun_bits_ignored: ClassVar[bool] = True
    default_product: ClassVar[str] = "VIRTUAL OPTICAL"

    def __init__(self, config: OpticalConfig | None = None, identity: Identity | None = None, **options: Any) -> None:
        self.config = config or OpticalConfig()
        self.disc: Disc | None = None
        self.name: str | None = None if self.config.empty else self.config.name
        if self.config.tray_open:
            state = TrayState.OPEN_EMPTY if self.name is None else TrayState.OPEN_FULL
        else:
            state = TrayState.EMPTY
        self.tray = Tray(state)
        self.ongoing: Ongoing | None = None
        self.unreadable = ""
        self.power_state: int = PowerState.ACTIVE
        self.event_queues: dict[Nexus, dict[int, deque[bytes]]] = {}
        self._load_number = 0
        self.mounted = False
        super().__init__(identity=identity, **options)

    @property
    def removable(self) -> bool:
        return True

    def version_descriptors(self) -> tuple[int, ...]:
        return (_MMC_6,)

    # --- loading -----------------------------------------------------------------------------------------------

    def restore(self) -> Steps:
        """What is in the drive at power on is read in before the first command."""
        yield from super().restore()
        if self.name is not None and not self.tray.is_open:
            self.tray.put_in(Input.PUT)
            self._load_number += 1
            yield from self._load(self._load_number, tell=False)
        return Completion()

    def put_in(self, what: str, *, by: Command | None = None) -> None:
        """Move tray and disc, and do what follows, in the background. Removal was checked before."""
        action = self.tray.put_in(what)
        if action == Action.LOAD:
            self._load_number += 1
            self.unit.start_background(self._load(self._load_number, by=by), "load")
        elif action in (Action.LEAVE, Action.ABANDON):
            self._load_number += 1
            self.disc_leaves()
            self.disc = None
            if action == Action.LEAVE:          # else whoever reads it in lets go of it
                self.unit.start_background(self._let_go(), "unload")

    def _load(self, number: int, *, tell: bool = True, by: Command | None = None) -> Steps:
        """Read in the disc of the tray."""
        if self.config.load_seconds and tell:
            yield from Sleep(self.config.load_seconds)
        while self.mounted and number == self._load_number:     # the one before is still on its way out
            yield from Sleep(LOOK_EVERY)
        if number != self._load_number:
            return Completion()
        disc: Disc | None
        try:
            disc = yield from self._open()
            self.unreadable = ""
        except IoFailed as failure:
            disc = None
            self.unreadable = str(failure)
        if number != self._load_number:         # the tray has opened meanwhile
            return (yield from self._let_go())
        self.disc = disc
        self.tray.put_in(Input.FAILED if disc is None else Input.LOADED)
        self.disc_arrives()
        if tell:
            self.unit.attention(
                asc.NOT_READY_TO_READY_CHANGE_MEDIUM_MAY_HAVE_CHANGED, but=by.nexus if by is not None else None
            )
            self.medium_told()
        return Completion()

    def _open(self) -> Asking[Disc]:
        """The disc in the store. Raises IoFailed."""
        capabilities = self.unit.capabilities
        if self.config.shelf:
            assert self.name is not None
            self.mounted = True
            try:
                capabilities = yield from Mount(self.name)
            except IoFailed:
                self.mounted = False
                raise
        if capabilities is None:
            raise DiscUnusable("the store does not say what it is")
        return (yield from open_disc(capabilities, self.config))

    def _let_go(self) -> Steps:
        """The shelf has the disc again."""
        if self.mounted:
            try:
                yield from Unmount()
            finally:
                self.mounted = False
        return Completion()

    # --- what the mixins answer --------------------------------------------------------------------------------

    def before_leaving(self) -> Generator[IoRequest[Any], Any, None]:
        """What has to go to the store before the disc is out of reach."""
        yield from ()

    def disc_arrives(self) -> None:
        """`disc` is another one."""

    def disc_leaves(self) -> None:
        """`disc` is about to go."""

    def medium_told(self) -> None:
        """Tell of a medium that has arrived."""

    # --- readiness ---------------------------------------------------------------------------------------------

    def not_ready(self) -> Sense | None:
        """Why the drive is not ready; None where it is."""
        if self.ongoing is not None:
            return CheckCondition(self.ongoing.not_ready, progress=self.ongoing.progress(self.unit.now)).sense
        state = self.tray.state
        if state == TrayState.READY:
            return None
        if self.tray.is_open:
            return Sense(asc.MEDIUM_NOT_PRESENT_TRAY_OPEN)
        if state == TrayState.EMPTY:
            return Sense(asc.MEDIUM_NOT_PRESENT_TRAY_CLOSED)
        if state == TrayState.LOADING:
            return Sense(asc.LOGICAL_UNIT_IS_IN_PROCESS_OF_BECOMING_READY)
        return Sense(asc.CANNOT_READ_MEDIUM_UNKNOWN_FORMAT)

    def check_ready(self, command: Command, operation: Operation, cdb: CdbFields) -> None:
        sense = self.not_ready()
        if sense is not None:
            raise _refused(sense)
        self.power_state = PowerState.ACTIVE        # the disc is asked for: it turns

    def check_access(self, command: Command, operation: Operation, cdb: CdbFields) -> None:
        if self.ongoing is not None and operation.opcode not in _ALWAYS_PERFORMED:
            sense = self.not_ready()
            assert sense is not None
            raise _refused(sense)
        super().check_access(command, operation, cdb)

    def pollable_sense(self, command: Command) -> Sense | None:
        """Progress of what goes on, then why the drive is not ready."""
        sense = self.not_ready()
        return sense if sense is not None else super().pollable_sense(command)

    def remaining_tenths(self) -> int:
        """How long the drive will be busy, in tenths of a second."""
        if self.ongoing is None:
            return 0
        left = self.ongoing.begun + self.ongoing.seconds - self.unit.now
        return max(0, min(int(left * 10), 0xFFFF))

    @property
    def loaded(self) -> Disc:
        """The disc, for operations that need one and were let through."""
        assert self.disc is not None
        return self.disc

    @property
    def media_status(self) -> int:
        """Media status of events and MECHANISM STATUS: bit 0 the tray is open, bit 1 a medium is present."""
        return self.tray.is_open | (self.tray.has_disc and not self.tray.is_open) << 1


def _refused(sense: Sense) -> CheckCondition:
    """The refusal with this sense data."""
    refusal = CheckCondition(sense.code)
    refusal.sense = sense
    return refusal

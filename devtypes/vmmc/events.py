"""GET EVENT STATUS NOTIFICATION: a queue for each nexus and class (MMC-6 4.1.3, 6.6).

A nexus is told each event once. The lowest class that was asked for and has an event is reported; where none has, the
lowest class that was asked for, with event code 0 and what is so now. Asynchronous operation is not there.

Control of the drive, which the multi-initiator class tells of, is the persistent prevent state: a nexus that takes it
has control, one that is refused because of it requests control.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from devtypes.vmmc import layouts
from devtypes.vmmc.base import OpticalBase
from scsiemu import asc
from scsiemu.cdb import CdbFields
from scsiemu.command import Command, Completion
from scsiemu.logical_unit import NexusState
from scsiemu.nexus import Nexus
from scsiemu.operations import DataDirection, ReservationClass, operation
from scsiemu.sense import CheckCondition

__all__ = ["ControlEvent", "EventClass", "Events", "MediaEvent"]

_QUEUE: Final = 16              # events kept of a class for a nexus; the oldest goes
_NOTHING: Final = 0x80          # NEA


class EventClass:
    """NOTIFICATION CLASS (MMC-6 table 272)."""

    OPERATIONAL_CHANGE: Final = 1
    POWER_MANAGEMENT: Final = 2
    EXTERNAL_REQUEST: Final = 3
    MEDIA: Final = 4
    MULTI_INITIATOR: Final = 5
    DEVICE_BUSY: Final = 6


class MediaEvent:
    """Media status event codes (MMC-6 table 284)."""

    EJECT_REQUEST: Final = 1
    NEW_MEDIA: Final = 2
    MEDIA_REMOVAL: Final = 3
    MEDIA_CHANGED: Final = 4
    BACKGROUND_FORMAT_COMPLETED: Final = 5
    BACKGROUND_FORMAT_RESTARTED: Final = 6


class ControlEvent:
    """Multi-initiator event codes (MMC-6 table 286)."""

    REQUEST: Final = 1
    GRANT: Final = 2
    RELEASE: Final = 3


class _BusyStatus:
    """Device busy status (MMC-6 table 290)."""

    NOT_BUSY: Final = 0
    IMMEDIATE: Final = 2        # a command with IMMED is still performed


_CHANGED: Final = 1             # event code of the power management and device busy classes
_PERSISTENT: Final = 0x80       # removal is prevented persistently
_PREVENTED: Final = 1           # external request and multi-initiator status: another nexus has control
_LOW: Final = 1                 # priority of a request for control
_CLASSES: Final = range(EventClass.OPERATIONAL_CHANGE, EventClass.DEVICE_BUSY + 1)
_SUPPORTED: Final = sum(1 << number for number in _CLASSES)


class Events(OpticalBase):
    """Events of a drive."""

    _controller: Nexus | None = None        # who has control, as events have told

    def nexus_established(self, state: NexusState) -> None:
        """A new nexus has missed nothing."""
        self._queues_of(state.nexus)
        super().nexus_established(state)

    def nexus_lost(self, state: NexusState) -> None:
        self._queues.pop(state.nexus, None)
        super().nexus_lost(state)
        self.tell_control()

    def nexuses_preempted(self, nexuses: tuple[Nexus, ...]) -> None:
        super().nexuses_preempted(nexuses)
        self.tell_control()

    def reset(self, kind: str) -> None:
        super().reset(kind)
        self.tell_control()

    def _queues_of(self, nexus: Nexus) -> dict[int, deque[bytes]]:
        return self._queues.setdefault(nexus, {number: deque(maxlen=_QUEUE) for number in _CLASSES})

    @property
    def _queues(self) -> dict[Nexus, dict[int, deque[bytes]]]:
        return self.event_queues

    def tell(self, event_class: int, code: int, *parameters: int, but: Nexus | None = None) -> None:
        """An event for every nexus but one: its code, and the three bytes behind it (0 where not given)."""
        event = bytes((code, *parameters)).ljust(4, b"\0")
        for nexus in self.unit.nexus_states:
            if nexus is not but:
                self._queues_of(nexus)[event_class].append(event)

    @property
    def controller(self) -> Nexus | None:
        """The nexus that holds the persistent prevent state (MMC-6 6.13)."""
        return next((nexus for nexus, mode in self.preventing.items() if mode & 2), None)

    @property
    def _persistent_bit(self) -> int:
        return _PERSISTENT if self.controller is not None else 0

    def tell_control(self) -> None:
        """Where control has another holder now: every nexus but the one that acted hears of it."""
        before, now = self._controller, self.controller
        self._controller = now
        if before is not None and before is not now:
            self.tell(EventClass.MULTI_INITIATOR, ControlEvent.RELEASE, self._persistent_bit, but=before)
        if now is not None and before is not now:
            self.tell(EventClass.MULTI_INITIATOR, ControlEvent.GRANT, _PREVENTED | _PERSISTENT, but=now)

    def tell_control_requested(self) -> None:
        """A nexus was refused because another one has control: that one hears of it."""
        holder = self.controller
        assert holder is not None
        event = bytes((ControlEvent.REQUEST, _PERSISTENT, 0, _LOW))
        self._queues_of(holder)[EventClass.MULTI_INITIATOR].append(event)

    def tell_key(self) -> None:
        """A key of the drive was pressed; what it is for is not the external request class's part."""
        for nexus in self.unit.nexus_states:
            event = bytes((1, self._access_status(nexus), 0, 0))
            self._queues_of(nexus)[EventClass.EXTERNAL_REQUEST].append(event)

    def _access_status(self, nexus: Nexus) -> int:
        """Whether the drive is ready for a nexus, or another one has control."""
        another = self.controller not in (None, nexus)
        return self._persistent_bit | (_PREVENTED if another else 0)

    def tell_busy(self) -> None:
        """What goes on in the background has begun or ended."""
        self.tell(EventClass.DEVICE_BUSY, _CHANGED, *self._busy_status())

    def _busy_status(self) -> bytes:
        if self.ongoing is None:
            return bytes((_BusyStatus.NOT_BUSY, 0, 0))
        return bytes((_BusyStatus.IMMEDIATE,)) + self.remaining_tenths().to_bytes(2, "big")

    def medium_told(self) -> None:
        self.tell_media(MediaEvent.NEW_MEDIA)

    def disc_leaves(self) -> None:
        super().disc_leaves()
        self.tell_media(MediaEvent.MEDIA_REMOVAL)

    def tell_media(self, code: int) -> None:
        """A media event, and, where the medium came or went, the change of features."""
        self.tell(EventClass.MEDIA, code, self.media_status)
        if code in (MediaEvent.NEW_MEDIA, MediaEvent.MEDIA_REMOVAL):
            self.tell_change()

    def tell_change(self) -> None:
        """The drive has changed: other features are current."""
        self.tell(EventClass.OPERATIONAL_CHANGE, 2, self._persistent_bit, 0, 1)

    @operation(
        0x4A, "GET EVENT STATUS NOTIFICATION", layouts.GET_EVENT_STATUS_NOTIFICATION, data=DataDirection.IN,
        conflict=ReservationClass.ALWAYS, allocation="allocation_length", attention_exempt=True,
        standard="MMC-6 6.6",
    )
    def get_event_status_notification(self, command: Command, cdb: CdbFields) -> Completion:
        """The next event. One that is cut off before its descriptor's first bytes stays in the queue."""
        if not cdb.polled:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="polled")
        wanted = [number for number in _CLASSES if cdb.classes >> number & 1]
        if not wanted:
            return Completion(bytes((0, 2, _NOTHING, _SUPPORTED)))
        queues = self._queues_of(command.nexus)
        chosen = next((number for number in wanted if queues[number]), wanted[0])
        queue = queues[chosen]
        event = queue[0] if queue else self._now(chosen, command.nexus)
        if queue and cdb.allocation_length > 4:
            queue.popleft()
        return Completion(bytes((0, 2 + len(event), chosen, _SUPPORTED)) + event)

    def _now(self, event_class: int, nexus: Nexus) -> bytes:
        """The descriptor of a class without events: code 0 and how things are for a nexus."""
        if event_class == EventClass.MEDIA:
            return bytes((0, self.media_status, 0, 0))
        if event_class == EventClass.POWER_MANAGEMENT:
            return bytes((0, self.power_state, 0, 0))
        if event_class == EventClass.DEVICE_BUSY:
            return b"\0" + self._busy_status()
        if event_class == EventClass.OPERATIONAL_CHANGE:
            return bytes((0, self._persistent_bit, 0, 0))
        return bytes((0, self._access_status(nexus), 0, 0))

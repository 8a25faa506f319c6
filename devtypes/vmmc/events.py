"""GET EVENT STATUS NOTIFICATION: a queue for each nexus and class (MMC-6 4.1.3, 6.6).

A nexus is told each event once. The lowest class that was asked for and has an event is reported; where none has, the
lowest class that was asked for, with event code 0 and what is so now. Asynchronous operation is not there.
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

__all__ = ["EventClass", "Events", "MediaEvent"]

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


_CLASSES: Final = range(EventClass.OPERATIONAL_CHANGE, EventClass.DEVICE_BUSY + 1)
_SUPPORTED: Final = sum(1 << number for number in _CLASSES)


class Events(OpticalBase):
    """Events of a drive."""

    def nexus_established(self, state: NexusState) -> None:
        """A new nexus has missed nothing."""
        self._queues_of(state.nexus)
        super().nexus_established(state)

    def nexus_lost(self, state: NexusState) -> None:
        self._queues.pop(state.nexus, None)
        super().nexus_lost(state)

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
    def persistently_prevented(self) -> bool:
        """Whether a nexus holds the persistent prevent state (MMC-6 6.13)."""
        return any(mode & 2 for mode in self.preventing.values())

    def medium_told(self) -> None:
        self.tell_media(MediaEvent.NEW_MEDIA)

    def disc_leaves(self) -> None:
        super().disc_leaves()
        self.tell_media(MediaEvent.MEDIA_REMOVAL)

    def tell_media(self, code: int) -> None:
        """A media event, and, where the medium came or went, the change of features."""
        self.tell(EventClass.MEDIA, code, self.media_status)
        if code in (MediaEvent.NEW_MEDIA, MediaEvent.MEDIA_REMOVAL):
            # The drive has changed: features.
            self.tell(EventClass.OPERATIONAL_CHANGE, 2, 0x80 if self.persistently_prevented else 0, 0, 1)

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
        event = queue[0] if queue else self._now(chosen)
        if queue and cdb.allocation_length > 4:
            queue.popleft()
        return Completion(bytes((0, 2 + len(event), chosen, _SUPPORTED)) + event)

    def _now(self, event_class: int) -> bytes:
        """The descriptor of a class without events: code 0 and how things are."""
        if event_class == EventClass.MEDIA:
            return bytes((0, self.media_status, 0, 0))
        if event_class == EventClass.POWER_MANAGEMENT:
            return bytes((0, self.power_state, 0, 0))
        if event_class == EventClass.DEVICE_BUSY:
            busy = self.ongoing is not None
            return bytes((0, 1 if busy else 0)) + (self.remaining_tenths() if busy else 0).to_bytes(2, "big")
        if event_class == EventClass.OPERATIONAL_CHANGE:
            return bytes((0, 0x80 if self.persistently_prevented else 0, 0, 0))
        return bytes(4)

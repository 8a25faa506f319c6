"""What the event queue tells a guest of (Virtual I/O Device 1.2, 5.6.6.3): units come and go, parameters change.

    unit added, removed         transport reset event, reason RESCAN, REMOVED
    attention 2Ah, 3Fh          parameter change event with its ASC and ASCQ, beside the unit attention; but not
                                REPORTED LUNS DATA HAS CHANGED, for which there are the events above
    no buffer of the driver     the next event says that some were missed

It does NOT: reset anything, or tell of what has asynchronous notification for it (media events): guests poll those.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from scsiemu import asc
from scsiemu.events import AttentionEstablished
from scsiemu.lun import is_well_known
from scsiemu.nexus import Nexus
from transports.vhost.codes import EventReason, EventType
from transports.vhost.layouts import Event

__all__ = ["EventTeller"]

_CHANGES: Final = (0x2A, 0x3F)          # ASCs: parameters changed, target operating conditions have changed


class EventTeller:
    """What a connection was told of.

    Args:
        put: takes an event's bytes; False: the driver has no buffer for them.
        nexuses: of the connection, by the number of their targets.
    """

    def __init__(self, put: Callable[[bytes], bool], nexuses: tuple[Nexus, ...]) -> None:
        self._put = put
        self._nexuses = nexuses
        self._known = [set(nexus.units) for nexus in nexuses]
        self._missed = False

    def buffers_posted(self) -> None:
        """The driver has given buffers: tell it of what it missed."""
        if self._missed:
            self._tell(Event(EventType.NO_EVENT))

    def _tell(self, event: Event) -> None:
        if self._missed:
            event = event._replace(type=event.type | EventType.EVENTS_MISSED)
        self._missed = not self._put(event.encode())

    def inventory_changed(self, target: int, *, tell: bool) -> None:
        """Units were added or removed."""
        now, known = set(self._nexuses[target].units), self._known[target]
        self._known[target] = now
        for lun in sorted(now ^ known):
            if tell and not is_well_known(lun):
                reason = EventReason.RESCAN if lun in now else EventReason.REMOVED
                self._tell(Event(EventType.TRANSPORT_RESET, _field(target, lun), reason))

    def attention_established(self, target: int, event: AttentionEstablished) -> None:
        """Nexuses of a unit have a unit attention that they had not, perhaps ours among them."""
        code = event.code
        if code.asc not in _CHANGES or code == asc.REPORTED_LUNS_DATA_HAS_CHANGED:
            return
        for lun, state in self._nexuses[target].units.items():
            if state.unit is event.unit and code in state.attentions:
                self._tell(Event(EventType.PARAM_CHANGE, _field(target, lun), code.asc | code.ascq << 8))


def _field(target: int, lun: int) -> bytes:
    """The LUN field of an event, or the target's, where a LUN has no such form.

    In the addressing method of REPORT LUNS, peripheral device below 256: Linux takes the two bytes of an event for its
    number of the unit as they are, and would find the same unit again when it scans.
    """
    if lun & 0xFFFF:
        return bytes((1, target)) + bytes(6)
    return bytes((1, target)) + (lun >> 16).to_bytes(6, "big")

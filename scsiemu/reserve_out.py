"""What one PERSISTENT RESERVE OUT comes to: its parameter list, its conditions, the change that it makes (SPC-4 6.16).

The rules of each change are in `reservations`. Here the parameter list is read and refused, TransportIDs become I_T
nexuses. Nothing is changed here: `persistent_reserve` makes the change count.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from scsiemu import asc, reservations
from scsiemu.cdb import CdbFields
from scsiemu.logical_unit import LogicalUnit
from scsiemu.nexus import Nexus, Protocol
from scsiemu.reservations import ALL_REGISTRANTS, Change, PersistentReservations, Registrant, ReserveOutAction
from scsiemu.sam import Status
from scsiemu.sense import CheckCondition, FieldPointer, Refusal
from scsiemu.transport_id import TransportId, TransportIdError, canonical_transport_id, parse_transport_id

__all__ = ["ReserveOut", "at_every_port", "registrant_of"]

_BASIC_LENGTH: Final = 24
_IDS_AT: Final = 28                 # TransportIDs behind TRANSPORTID PARAMETER DATA LENGTH
_SPEC_I_PT: Final = 0x08
_ALL_TG_PT: Final = 0x04
_APTPL: Final = 0x01
_UNREG: Final = 0x02


class ReserveOut:
    """One PERSISTENT RESERVE OUT.

    Args:
        unit: it was sent to.
        nexus: it came through.
        cdb: its fields.
        data: its parameter list.
    """

    def __init__(self, unit: LogicalUnit, nexus: Nexus, cdb: CdbFields, data: bytes) -> None:
        self.unit = unit
        self.nexus = nexus
        self.sender = registrant_of(nexus)
        self.cdb = cdb
        self.data = data
        self.action: int = cdb.service_action
        self._check_length()
        self.key = int.from_bytes(data[:8], "big")
        self.new_key = int.from_bytes(data[8:16], "big")
        self.flags = data[20]

    def decide(self, state: PersistentReservations, *, lost: bool) -> Change:
        """The change to this state. `lost`: what was saved could not be restored. Raises Refusal."""
        if self.action == ReserveOutAction.REPLACE_LOST_RESERVATION:
            return self._replace_lost(lost=lost)
        if self.action not in (ReserveOutAction.REGISTER, ReserveOutAction.REGISTER_AND_IGNORE_EXISTING_KEY):
            reservations.check_key(state, self.sender, self.key)
        return _DECISIONS[self.action](self, state)

    def _check_length(self) -> None:
        """SPC-4 6.16.1: all that was announced, and 24 bytes but for REGISTER AND MOVE and SPEC_I_PT."""
        length = len(self.data)
        wrong = length != self.cdb.parameter_list_length or length < _BASIC_LENGTH
        if not wrong and self.action != ReserveOutAction.REGISTER_AND_MOVE:
            specifies_ports = bool(self.data[20] & _SPEC_I_PT)
            if specifies_ports and self.action != ReserveOutAction.REGISTER:
                raise _wrong(20, 3)
            wrong = not specifies_ports and length != _BASIC_LENGTH
        if wrong:
            raise CheckCondition(asc.PARAMETER_LIST_LENGTH_ERROR, field="parameter_list_length")

    def _register(self, state: PersistentReservations) -> Change:
        """REGISTER and REGISTER AND IGNORE EXISTING KEY (SPC-4 tables 67 to 69)."""
        everywhere = bool(self.flags & _ALL_TG_PT)
        nexuses = self._reached(self.sender)
        if self.action == ReserveOutAction.REGISTER:
            reservations.check_register_keys(state, nexuses, self.key)
        persists = self._persists(self.flags, byte=20)
        if self.flags & _SPEC_I_PT and self.sender in state.registrations:
            raise _wrong(20, 3)
        if not self.new_key:
            present = [nexus for nexus in nexuses if nexus in state.registrations]
            if not present:
                return Change(state)
            return reservations.unregister(state, self.sender, present, persists=persists)
        if self.flags & _SPEC_I_PT:
            nexuses += self._specified(state)
        return reservations.register(
            state, nexuses, self.new_key, all_target_ports=everywhere, persists=persists
        )

    def _reached(self, nexus: Registrant) -> list[Registrant]:
        """The nexuses that a registration of this one is for: itself, with ALL_TG_PT those at every port."""
        return at_every_port(self.unit, nexus) if self.flags & _ALL_TG_PT else [nexus]

    def _specified(self, state: PersistentReservations) -> list[Registrant]:
        """The nexuses that SPEC_I_PT adds; none of them may be registered (table 67, note b)."""
        data = self.data
        if len(data) < _IDS_AT or len(data) - _IDS_AT < int.from_bytes(data[24:28], "big"):
            raise CheckCondition(asc.PARAMETER_LIST_LENGTH_ERROR, field="parameter_list_length")
        end = _IDS_AT + int.from_bytes(data[24:28], "big")
        port = self.nexus.target_port
        found: list[Registrant] = []
        at = _IDS_AT
        while at < end:
            parsed = _parse(data[at:end], at, port.protocol, truncated_at=24)
            meant = self._meant(parsed, state)
            if not meant:
                raise _wrong(at)
            for transport_id in meant:
                reached = self._reached((transport_id, port.relative_identifier))
                if any(nexus in state.registrations for nexus in reached):
                    raise _wrong(at)
                found += reached
            at += parsed.length
        return found

    def _meant(self, parsed: TransportId, state: PersistentReservations) -> list[bytes]:
        """The initiator ports that a TransportID means: itself, or those of the device that we know (7.6.4.6)."""
        if not parsed.names_device:
            return [parsed.canonical]
        known = {registrant_of(nexus)[0] for nexus in self.unit.nexus_states}
        known.update(transport_id for transport_id, _ in state.registrations)
        return sorted(transport_id for transport_id in known if _device_name(transport_id) == parsed.device_name)

    def _reserve(self, state: PersistentReservations) -> Change:
        return reservations.reserve(state, self.sender, self.cdb.scope, self.cdb.type)

    def _release(self, state: PersistentReservations) -> Change:
        tell = not self.unit.server.control.nuar
        return reservations.release(state, self.sender, self.cdb.scope, self.cdb.type, tell=tell)

    def _clear(self, state: PersistentReservations) -> Change:
        return reservations.clear(state, self.sender)

    def _preempt(self, state: PersistentReservations) -> Change:
        return reservations.preempt(state, self.sender, self.new_key, self.cdb.scope, self.cdb.type)

    def _register_and_move(self, state: PersistentReservations) -> Change:
        """SPC-4 5.13.8, table 70; SCOPE and TYPE are ignored."""
        if not state.reservation_type:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="service_action")
        if state.reservation_type in ALL_REGISTRANTS or not state.is_holder(self.sender):
            raise Refusal(Status.RESERVATION_CONFLICT)
        if not self.new_key:
            raise _wrong(8)
        persists = self._persists(self.data[17], byte=17)
        destination = self._destination(state)
        if destination[0] == self.sender[0]:
            raise _wrong(24)
        return reservations.register_and_move(
            state, self.sender, destination, self.new_key,
            unregister_sender=bool(self.data[17] & _UNREG), persists=persists,
        )

    def _destination(self, state: PersistentReservations) -> Registrant:
        """The nexus that REGISTER AND MOVE names (SPC-4 6.16.4)."""
        data = self.data
        length = int.from_bytes(data[20:24], "big")
        if length > len(data) - _BASIC_LENGTH:
            raise CheckCondition(asc.PARAMETER_LIST_LENGTH_ERROR, field="parameter_list_length")
        if length < 24 or length % 4:
            raise _wrong(20)
        identifier = int.from_bytes(data[18:20], "big")
        ports = [port for port in self.unit.target.ports if port.relative_identifier == identifier]
        if not ports:
            raise _wrong(18)
        parsed = _parse(data[24 : 24 + length], 24, ports[0].protocol, truncated_at=20)
        meant = self._meant(parsed, state)
        # One nexus holds a reservation: a device with several ports does not name it.
        if len(meant) != 1 or parsed.length != length:
            raise _wrong(24)
        return (meant[0], identifier)

    def _replace_lost(self, *, lost: bool) -> Change:
        """SPC-4 5.13.11.3."""
        if not lost:
            raise CheckCondition(asc.INVALID_RELEASE_OF_PERSISTENT_RESERVATION)
        if self.key:
            raise _wrong(0)
        if not self.new_key:
            raise _wrong(8)
        if self.flags & _ALL_TG_PT:
            raise _wrong(20, 2)
        persists = self._persists(self.flags, byte=20)
        return reservations.replace_lost(
            self.sender, self.new_key, self.cdb.scope, self.cdb.type, persists=persists
        )

    def _persists(self, flags: int, *, byte: int) -> bool:
        """APTPL, which needs a state store."""
        if flags & _APTPL and not self.unit.has_state_store:
            raise _wrong(byte, 0)
        return bool(flags & _APTPL)


_DECISIONS: Final[dict[int, Callable[[ReserveOut, PersistentReservations], Change]]] = {
    ReserveOutAction.REGISTER: ReserveOut._register,
    ReserveOutAction.RESERVE: ReserveOut._reserve,
    ReserveOutAction.RELEASE: ReserveOut._release,
    ReserveOutAction.CLEAR: ReserveOut._clear,
    ReserveOutAction.PREEMPT: ReserveOut._preempt,
    ReserveOutAction.PREEMPT_AND_ABORT: ReserveOut._preempt,
    ReserveOutAction.REGISTER_AND_IGNORE_EXISTING_KEY: ReserveOut._register,
    ReserveOutAction.REGISTER_AND_MOVE: ReserveOut._register_and_move,
}


def registrant_of(nexus: Nexus) -> Registrant:
    """What a registration of that nexus is kept by."""
    transport_id, port = nexus.key
    return (canonical_transport_id(transport_id), port)


def at_every_port(unit: LogicalUnit, nexus: Registrant) -> list[Registrant]:
    """The same initiator port at every target port; the given nexus first."""
    ports = (port.relative_identifier for port in unit.target.ports)
    return [nexus, *((nexus[0], port) for port in ports if port != nexus[1])]


def _wrong(byte: int, bit: int | None = None) -> CheckCondition:
    """A field of the parameter list is wrong."""
    return CheckCondition(asc.INVALID_FIELD_IN_PARAMETER_LIST, pointer=FieldPointer(byte, bit, in_cdb=False))


def _parse(data: bytes, at: int, protocol: int, *, truncated_at: int) -> TransportId:
    """The TransportID at `at` of the parameter list, of a port's protocol. One that is cut off is the fault of the
    length field at `truncated_at`."""
    try:
        parsed = parse_transport_id(data)
    except TransportIdError as error:
        raise _wrong(truncated_at) if error.truncated else _wrong(at + error.offset, error.bit) from None
    if protocol not in (Protocol.NONE, parsed.protocol):
        raise _wrong(at, 3)
    return parsed


def _device_name(transport_id: bytes) -> str:
    """The iSCSI name in a canonical TransportID, empty for others."""
    try:
        return parse_transport_id(transport_id).device_name
    except TransportIdError:
        return ""

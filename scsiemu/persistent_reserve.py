"""The commands of reservations: PERSISTENT RESERVE IN and OUT (SPC-4 6.15, 6.16), RESERVE and RELEASE (SPC-2).

What each service action does to the reservations is in `reservations`; here are the parameter lists, who is told, and
what outlives a power loss: with APTPL the new state is saved before it counts and before GOOD. A registration belongs
to ports, so a nexus that comes back finds it again; a SPC-2 reservation ends with its nexus.
Third-party and extent reservations of SPC-2, optional there, are refused.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, Final, TypeVar

from scsiemu import asc, reservations
from scsiemu.cdb import CdbFields, CdbLayout
from scsiemu.command import Command, Completion, Steps
from scsiemu.device_server import DeviceServer
from scsiemu.errors import IoFailed, IoFault
from scsiemu.io_requests import IoRequest, LoadState, SaveState
from scsiemu.logical_unit import NexusState
from scsiemu.nexus import Nexus, Protocol
from scsiemu.operations import DataDirection, Operation, ReservationClass, operation
from scsiemu.reservations import (
    ALL_REGISTRANTS,
    NO_RESERVATIONS,
    REGISTRANTS_ONLY,
    REGISTRATION_LIMIT,
    SERVICE_ACTION_CONFLICTS,
    UNIT_RESERVATION_CONFLICTS,
    Change,
    Registrant,
    Registration,
    ReserveOutAction,
)
from scsiemu.sam import Status
from scsiemu.sense import CheckCondition, FieldPointer, Refusal, SenseKey
from scsiemu.task_set import AbortCommands
from scsiemu.transport_id import TransportId, TransportIdError, canonical_transport_id, parse_transport_id

__all__ = [
    "PERSISTENT_RESERVE_IN", "PERSISTENT_RESERVE_OUT", "RELEASE_6", "RELEASE_10", "RESERVE_6", "RESERVE_10",
    "ReservationOperations",
]

# SPC-2 7.21.2: a third party and extents are optional; the fields that only they use are not looked at.
RESERVE_6: Final = CdbLayout(
    "opcode:8 _:3 third_party third_party_device_id?:3 extent reservation_identification?:8 "
    "extent_list_length?:16 control:8"
)
RELEASE_6: Final = CdbLayout(
    "opcode:8 _:3 third_party third_party_device_id?:3 extent reservation_identification?:8 _:16 control:8"
)
RESERVE_10: Final = CdbLayout(
    "opcode:8 _:3 third_party _:2 long_id extent reservation_identification?:8 third_party_device_id?:8 _:24 "
    "parameter_list_length:16 control:8"
)
RELEASE_10: Final = RESERVE_10
PERSISTENT_RESERVE_IN: Final = CdbLayout("opcode:8 _:3 service_action:5 _:40 allocation_length:16 control:8")
PERSISTENT_RESERVE_OUT: Final = CdbLayout(
    "opcode:8 _:3 service_action:5 scope:4 type:4 _:16 parameter_list_length:32 control:8"
)

_OPCODE_IN: Final = 0x5E
_OPCODE_OUT: Final = 0x5F
_BASIC_LENGTH: Final = 24
_IDS_AT: Final = 28                 # TransportIDs behind TRANSPORTID PARAMETER DATA LENGTH
_ID_LIMIT: Final = 248              # bytes of the longest TransportID
_LIST_LIMIT: Final = _IDS_AT + REGISTRATION_LIMIT * _ID_LIMIT

# SPC-4 6.15.4: RLR_C, CRH, SIP_C, ATP_C; TMV and ALLOW COMMANDS 100b; all six types.
_CAPABILITIES: Final = 0x80 | 0x10 | 0x08 | 0x04
_TYPE_MASK_VALID: Final = 0x80 | 4 << 4
_TYPE_MASK: Final = bytes((0xEA, 0x01))

# Performed while the reservations are lost (SPC-4 5.13.5.2): INQUIRY, LOG SENSE, READ BUFFER, REPORT LUNS,
# REQUEST SENSE, WRITE BUFFER; REPORT TARGET PORT GROUPS and START STOP UNIT by their service action and START bit.
_ALLOWED_WHILE_LOST: Final = frozenset((0x12, 0x4D, 0x3C, 0xA0, 0x03, 0x3B))
_LOST: Final = asc.with_key(asc.PERSISTENT_RESERVATION_INFORMATION_LOST, SenseKey.DATA_PROTECT)

F = TypeVar("F", bound=Callable[..., Any])

_SERVICE_ACTION_NAMES: Final[dict[int, str]] = {
    number: name.replace("_", " ") for name, number in vars(ReserveOutAction).items() if not name.startswith("_")
}


def _reserve_out_operations(function: F) -> F:
    """Declare the method once for each service action."""
    for number, name in _SERVICE_ACTION_NAMES.items():
        operation(
            _OPCODE_OUT, f"PERSISTENT RESERVE OUT ({name})", PERSISTENT_RESERVE_OUT, service_action=number,
            data=DataDirection.OUT, conflict=ReservationClass.SPECIAL, parameter_list="parameter_list_length",
            parameter_list_limit=_LIST_LIMIT, standby_allowed=True, standard="SPC-4 6.16",
        )(function)
    return function


class ReservationOperations(DeviceServer):
    """Reservations of a unit.

    Attributes:
        persistent: registrations and the persistent reservation.
        unit_reservation: the nexus that RESERVE(6) or RESERVE(10) reserved the unit for.
        reservations_lost: saved reservations could not be restored; REPLACE LOST RESERVATION ends it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.persistent = NO_RESERVATIONS
        self.unit_reservation: Nexus | None = None
        self.reservations_lost = False

    def nexuses_preempted(self, nexuses: tuple[Nexus, ...]) -> None:
        """PREEMPT AND ABORT hit these nexuses: what they prevented is allowed again (SPC-4 5.13.11.2.6 h)."""

    # --- conflicts ---------------------------------------------------------------------------------------------

    def conflicts(self, command: Command, operation: Operation, cdb: CdbFields) -> bool:
        """Whether a reservation forbids an operation. Asked only while `reserved`."""
        if self.reservations_lost:
            self._check_lost(operation, cdb)
        if operation.opcode in (_OPCODE_IN, _OPCODE_OUT):
            # SPC-2 5.5.1: while RESERVE holds the unit they conflict for every nexus, even the one that holds it.
            return self.unit_reservation is not None or (
                operation.opcode == _OPCODE_OUT and self._action_conflicts(command, cdb.service_action)
            )
        reservation_class = operation.conflict
        if reservation_class == ReservationClass.SPECIAL:
            reservation_class = self.conflict_class(command, operation, cdb)
        holder = self.unit_reservation
        if holder is not None:
            return holder is not command.nexus and reservation_class in UNIT_RESERVATION_CONFLICTS
        if operation.opcode in (0x16, 0x17, 0x56, 0x57):
            return False    # they have rules of their own while there are registrations
        return self.persistent.conflicts(_registrant(command.nexus), reservation_class)

    def _action_conflicts(self, command: Command, service_action: int) -> bool:
        """SPC-4 table 66."""
        state, sender = self.persistent, _registrant(command.nexus)
        if not state.reservation_type or state.is_holder(sender):
            return False
        return service_action in SERVICE_ACTION_CONFLICTS[sender in state.registrations]

    def _check_lost(self, operation: Operation, cdb: CdbFields) -> None:
        """SPC-4 5.13.5.3.2: nothing else until the reservations are replaced."""
        action = operation.service_action
        allowed = (
            operation.opcode in _ALLOWED_WHILE_LOST
            or (operation.opcode, action) == (_OPCODE_OUT, ReserveOutAction.REPLACE_LOST_RESERVATION)
            or (operation.opcode, action) == (0xA3, 0x0A)
            or (operation.opcode == 0x1B and cdb.start and not cdb.power_condition)
        )
        if not allowed:
            raise CheckCondition(_LOST)

    def _reconsider(self) -> None:
        self.reserved = bool(
            self.unit_reservation is not None or self.persistent.reservation_type or self.reservations_lost
        )

    # --- what happens to reservations from outside -------------------------------------------------------------

    def restore(self) -> Steps | None:
        """Registrations that were to persist come back, PRGENERATION begins at zero (SPC-4 5.13.5.1)."""
        others = super().restore()
        return self._restore_reservations(others) if self.unit.has_state_store else others

    def _restore_reservations(self, others: Steps | None) -> Steps:
        try:
            saved = yield from LoadState(self._state_key)
            if saved is not None:
                self.persistent = reservations.decode_reservations(saved)
        except (IoFailed, ValueError):
            # SPC-4 5.13.5.3.2: they may have kept somebody out: nobody gets in until they are replaced.
            self.reservations_lost = True
        self._reconsider()
        if others is not None:
            yield from others
        return Completion()

    def nexus_lost(self, state: NexusState) -> None:
        """SPC-2 5.5.1: the reservation of a lost nexus ends. Registrations stay."""
        super().nexus_lost(state)
        if self.unit_reservation is state.nexus:
            self.unit_reservation = None
            self._reconsider()

    def reset(self, kind: str) -> None:
        """Any reset ends an SPC-2 reservation; only a power loss without APTPL ends registrations."""
        super().reset(kind)
        self.unit_reservation = None
        if kind == "power on" and not self.persistent.persists:
            self.persistent = NO_RESERVATIONS
        self._reconsider()

    @property
    def _state_key(self) -> str:
        return f"{self.unit.state_prefix}reservations"

    # --- RESERVE and RELEASE -----------------------------------------------------------------------------------

    @operation(0x16, "RESERVE(6)", RESERVE_6, conflict=ReservationClass.WRITE, standard="SPC-2 7.21")
    @operation(0x56, "RESERVE(10)", RESERVE_10, conflict=ReservationClass.WRITE, standard="SPC-2 7.22")
    def reserve(self, command: Command, cdb: CdbFields) -> Completion:
        """Reserve the unit for the nexus. Another nexus that holds it was found to conflict before."""
        _refuse_options(cdb)
        if not self._overridden(command):
            self.unit_reservation = command.nexus
            self._reconsider()
        return Completion()

    @operation(0x17, "RELEASE(6)", RELEASE_6, conflict=ReservationClass.ALWAYS, standard="SPC-2 7.16")
    @operation(0x57, "RELEASE(10)", RELEASE_10, conflict=ReservationClass.ALWAYS, standard="SPC-2 7.17")
    def release(self, command: Command, cdb: CdbFields) -> Completion:
        """Release the unit; who does not hold it, does nothing with GOOD status."""
        _refuse_options(cdb)
        if not self._overridden(command) and self.unit_reservation is command.nexus:
            self.unit_reservation = None
            self._reconsider()
        return Completion()

    def _overridden(self, command: Command) -> bool:
        """Whether persistent reservations make RESERVE and RELEASE a no-op for the nexus (SPC-4 5.13.3, CRH). Without
        that exception they conflict for every nexus while any is registered (SPC-2 5.5.1)."""
        state, sender = self.persistent, _registrant(command.nexus)
        if not state.registrations:
            return False
        shared = state.reservation_type in REGISTRANTS_ONLY | ALL_REGISTRANTS and sender in state.registrations
        if not shared and not state.is_holder(sender):
            raise Refusal(Status.RESERVATION_CONFLICT)
        return True

    # --- PERSISTENT RESERVE IN ---------------------------------------------------------------------------------

    @operation(
        _OPCODE_IN, "PERSISTENT RESERVE IN (READ KEYS)", PERSISTENT_RESERVE_IN, service_action=0,
        data=DataDirection.IN, conflict=ReservationClass.SPECIAL, allocation="allocation_length",
        standby_allowed=True, standard="SPC-4 6.15.2",
    )
    def read_keys(self, command: Command, cdb: CdbFields) -> Completion:
        """Every key, in the order of registration."""
        registrations = self.persistent.registrations.values()
        return self._read(b"".join(registration.key.to_bytes(8, "big") for registration in registrations))

    @operation(
        _OPCODE_IN, "PERSISTENT RESERVE IN (READ RESERVATION)", PERSISTENT_RESERVE_IN, service_action=1,
        data=DataDirection.IN, conflict=ReservationClass.SPECIAL, allocation="allocation_length",
        standby_allowed=True, standard="SPC-4 6.15.3",
    )
    def read_reservation(self, command: Command, cdb: CdbFields) -> Completion:
        """The reservation with its holder's key, zero for all registrants types."""
        state = self.persistent
        if not state.reservation_type:
            return self._read(b"")
        key = 0 if state.holder is None else state.registrations[state.holder].key
        return self._read(key.to_bytes(8, "big") + bytes((0, 0, 0, 0, 0, state.reservation_type, 0, 0)))

    @operation(
        _OPCODE_IN, "PERSISTENT RESERVE IN (REPORT CAPABILITIES)", PERSISTENT_RESERVE_IN, service_action=2,
        data=DataDirection.IN, conflict=ReservationClass.SPECIAL, allocation="allocation_length",
        standby_allowed=True, standard="SPC-4 6.15.4",
    )
    def report_capabilities(self, command: Command, cdb: CdbFields) -> Completion:
        """All there is; persistence through power loss with a state store only."""
        first = _CAPABILITIES | self.unit.has_state_store
        second = _TYPE_MASK_VALID | self.persistent.persists
        return Completion(bytes((0, 8, first, second)) + _TYPE_MASK + bytes(2))

    @operation(
        _OPCODE_IN, "PERSISTENT RESERVE IN (READ FULL STATUS)", PERSISTENT_RESERVE_IN, service_action=3,
        data=DataDirection.IN, conflict=ReservationClass.SPECIAL, allocation="allocation_length",
        standby_allowed=True, standard="SPC-4 6.15.5",
    )
    def read_full_status(self, command: Command, cdb: CdbFields) -> Completion:
        """A descriptor for each registered nexus; one with ALL_TG_PT for an initiator port that registered with it
        and is the same at every target port."""
        descriptors = []
        merged: set[bytes] = set()
        for nexus, registration in self.persistent.registrations.items():
            everywhere = self._everywhere(nexus, registration)
            if nexus[0] not in merged:
                descriptors.append(self._full_status(nexus, registration, everywhere=everywhere))
            if everywhere:
                merged.add(nexus[0])
        return self._read(b"".join(descriptors))

    def _everywhere(self, nexus: Registrant, registration: Registration) -> bool:
        state = self.persistent
        if not registration.all_target_ports:
            return False
        holder = state.is_holder(nexus)
        return all(
            state.registrations.get(other) == registration and state.is_holder(other) == holder
            for other in self._at_every_port(nexus)
        )

    def _full_status(self, nexus: Registrant, registration: Registration, *, everywhere: bool) -> bytes:
        """A full status descriptor (SPC-4 table 211)."""
        transport_id, port = nexus
        holder = self.persistent.is_holder(nexus)
        return b"".join((
            registration.key.to_bytes(8, "big"),
            bytes(4),
            bytes((everywhere << 1 | holder, self.persistent.reservation_type if holder else 0)),
            bytes(4),
            (0 if everywhere else port).to_bytes(2, "big"),
            len(transport_id).to_bytes(4, "big"),
            transport_id,
        ))

    def _read(self, body: bytes) -> Completion:
        """PRGENERATION, ADDITIONAL LENGTH and what it counts."""
        return Completion(self.persistent.generation.to_bytes(4, "big") + len(body).to_bytes(4, "big") + body)

    # --- PERSISTENT RESERVE OUT --------------------------------------------------------------------------------

    @_reserve_out_operations
    def persistent_reserve_out(self, command: Command, cdb: CdbFields) -> Steps:
        """Decide, save where it is to persist, let it count, tell the others, abort what is to be aborted."""
        data = command.parameter_list
        action: int = cdb.service_action
        self._check_length(data, cdb)
        change = yield from self._change(command, lambda: _DECISIONS[action](self, command, cdb, data))
        if action == ReserveOutAction.REPLACE_LOST_RESERVATION:
            self.reservations_lost = False
            self._reconsider()
        if action == ReserveOutAction.PREEMPT_AND_ABORT:
            nexuses = self._present(change.preempted)
            self.nexuses_preempted(nexuses)
            yield from AbortCommands(nexuses)
        return Completion()

    def _check_length(self, data: bytes, cdb: CdbFields) -> None:
        """SPC-4 6.16.1: 24 bytes but for REGISTER AND MOVE and SPEC_I_PT, and all that was announced."""
        action = cdb.service_action
        longer = action == ReserveOutAction.REGISTER_AND_MOVE or (len(data) > 20 and data[20] & 0x08)
        if len(data) != cdb.parameter_list_length or len(data) < _BASIC_LENGTH:
            raise CheckCondition(asc.PARAMETER_LIST_LENGTH_ERROR, field="parameter_list_length")
        if not longer and len(data) != _BASIC_LENGTH:
            raise CheckCondition(asc.PARAMETER_LIST_LENGTH_ERROR, field="parameter_list_length")
        if longer and action not in (ReserveOutAction.REGISTER_AND_MOVE, ReserveOutAction.REGISTER):
            raise _wrong(20, 3)     # SPEC_I_PT

    def _change(
        self, command: Command, decide: Callable[[], Change]
    ) -> Generator[IoRequest[Any], Any, Change]:
        """Make a change count, once it is saved if it has to be. A command that was performed while we waited for the
        state store makes us decide again; an abort or a late refusal has the state that counts saved again."""
        saved = False
        try:
            while True:
                base = self.persistent
                change = decide()
                if change.state is base or not (base.persists or change.state.persists):
                    break
                data = reservations.encode_reservations(change.state) if change.state.persists else None
                saved = True
                yield from SaveState(self._state_key, data)
                if self.persistent is base:
                    saved = False
                    break
        except IoFailed as failure:
            saved = False
            if failure.fault == IoFault.NO_SPACE:
                raise CheckCondition(asc.INSUFFICIENT_REGISTRATION_RESOURCES) from failure
            raise
        finally:
            if saved:
                self.unit.start_background(self._save_again(), "save reservations")
        self.persistent = change.state
        self._reconsider()
        told = dict(change.attentions)
        for nexus in self._present(tuple(told)):
            if nexus is not command.nexus:
                self.unit.attention(told[_registrant(nexus)], only=nexus)
        return change

    def _save_again(self) -> Steps:
        state = self.persistent
        yield from SaveState(
            self._state_key, reservations.encode_reservations(state) if state.persists else None
        )
        return Completion()

    def _present(self, registrants: tuple[Registrant, ...]) -> tuple[Nexus, ...]:
        """The nexuses that are logged in now among these."""
        wanted = frozenset(registrants)
        return tuple(nexus for nexus in self.unit.nexus_states if _registrant(nexus) in wanted)

    def _at_every_port(self, nexus: Registrant) -> list[Registrant]:
        """The same initiator port at every target port; the given nexus first."""
        ports = (port.relative_identifier for port in self.unit.target.ports)
        return [nexus, *((nexus[0], port) for port in ports if port != nexus[1])]

    def _persists(self, bit: int, *, byte: int) -> bool:
        """APTPL, which needs a state store."""
        if bit and not self.unit.has_state_store:
            raise _wrong(byte, 0)
        return bool(bit)

    # --- the decisions -----------------------------------------------------------------------------------------

    def _register(self, command: Command, cdb: CdbFields, data: bytes) -> Change:
        """REGISTER and REGISTER AND IGNORE EXISTING KEY (SPC-4 tables 67 to 69)."""
        state, sender = self.persistent, _registrant(command.nexus)
        key, new_key = _keys(data)
        all_target_ports = bool(data[20] & 0x04)
        nexuses = self._at_every_port(sender) if all_target_ports else [sender]
        if cdb.service_action == ReserveOutAction.REGISTER:
            reservations.check_register_keys(state, nexuses, key)
        persists = self._persists(data[20] & 0x01, byte=20)
        known = sender in state.registrations
        if data[20] & 0x08 and known:
            raise _wrong(20, 3)
        if not new_key:
            present = [nexus for nexus in nexuses if nexus in state.registrations]
            return reservations.unregister(state, sender, present, persists=persists) if present else Change(state)
        if data[20] & 0x08:
            for registrant in self._named_ports(command, data):
                nexuses += self._at_every_port(registrant) if all_target_ports else [registrant]
        return reservations.register(
            state, nexuses, new_key, all_target_ports=all_target_ports, persists=persists
        )

    def _named_ports(self, command: Command, data: bytes) -> list[Registrant]:
        """The TransportIDs of SPEC_I_PT, as nexuses with the port of the command (SPC-4 6.16.3)."""
        if len(data) < _IDS_AT or len(data) - _IDS_AT < int.from_bytes(data[24:28], "big"):
            raise CheckCondition(asc.PARAMETER_LIST_LENGTH_ERROR, field="parameter_list_length")
        end = _IDS_AT + int.from_bytes(data[24:28], "big")
        port = command.nexus.target_port
        all_target_ports = bool(data[20] & 0x04)
        found: dict[Registrant, None] = {}
        at = _IDS_AT
        while at < end:
            parsed = _transport_id(data[at:end], at, port.protocol, truncated_at=24)
            meant = self._ports_of(parsed)
            if not meant:
                raise _wrong(at)
            for transport_id in meant:
                registrant = (transport_id, port.relative_identifier)
                reached = self._at_every_port(registrant) if all_target_ports else [registrant]
                if any(nexus in self.persistent.registrations for nexus in reached):
                    raise _wrong(at)    # table 67, note b
                found[registrant] = None
            at += parsed.length
        return [registrant for registrant in found if registrant != _registrant(command.nexus)]

    def _ports_of(self, parsed: TransportId) -> tuple[bytes, ...]:
        """The initiator ports that a TransportID means: itself, or those of the device that are known (7.6.4.6)."""
        if not parsed.names_device:
            return (parsed.canonical,)
        known = {canonical_transport_id(nexus.initiator_port.transport_id) for nexus in self.unit.nexus_states}
        known.update(transport_id for transport_id, _ in self.persistent.registrations)
        return tuple(sorted(
            transport_id for transport_id in known if _device_name(transport_id) == parsed.device_name
        ))

    def _reserve(self, command: Command, cdb: CdbFields, data: bytes) -> Change:
        sender = self._checked_sender(command, data)
        return reservations.reserve(self.persistent, sender, cdb.scope, cdb.type)

    def _release(self, command: Command, cdb: CdbFields, data: bytes) -> Change:
        sender = self._checked_sender(command, data)
        tell = not self.control.nuar
        return reservations.release(self.persistent, sender, cdb.scope, cdb.type, tell=tell)

    def _clear(self, command: Command, cdb: CdbFields, data: bytes) -> Change:
        return reservations.clear(self.persistent, self._checked_sender(command, data))

    def _preempt(self, command: Command, cdb: CdbFields, data: bytes) -> Change:
        sender = self._checked_sender(command, data)
        return reservations.preempt(self.persistent, sender, _keys(data)[1], cdb.scope, cdb.type)

    def _register_and_move(self, command: Command, cdb: CdbFields, data: bytes) -> Change:
        """SPC-4 5.13.8, table 70; SCOPE and TYPE are ignored."""
        sender = self._checked_sender(command, data)
        state, new_key = self.persistent, _keys(data)[1]
        if not state.reservation_type:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="service_action")
        if state.reservation_type in ALL_REGISTRANTS or not state.is_holder(sender):
            raise Refusal(Status.RESERVATION_CONFLICT)
        if not new_key:
            raise _wrong(8)
        persists = self._persists(data[17] & 0x01, byte=17)
        destination = self._destination(data)
        if destination[0] == sender[0]:
            raise _wrong(24)
        return reservations.register_and_move(
            state, sender, destination, new_key, unregister_sender=bool(data[17] & 0x02), persists=persists
        )

    def _destination(self, data: bytes) -> Registrant:
        """The nexus that REGISTER AND MOVE names (SPC-4 6.16.4)."""
        length = int.from_bytes(data[20:24], "big")
        if length > len(data) - _BASIC_LENGTH:
            raise CheckCondition(asc.PARAMETER_LIST_LENGTH_ERROR, field="parameter_list_length")
        if length < 24 or length % 4:
            raise _wrong(20)
        identifier = int.from_bytes(data[18:20], "big")
        ports = [port for port in self.unit.target.ports if port.relative_identifier == identifier]
        if not ports:
            raise _wrong(18)
        parsed = _transport_id(data[24 : 24 + length], 24, ports[0].protocol, truncated_at=20)
        meant = self._ports_of(parsed)
        if len(meant) != 1 or parsed.length != length:
            raise _wrong(24)
        return (meant[0], identifier)

    def _replace_lost(self, command: Command, cdb: CdbFields, data: bytes) -> Change:
        """SPC-4 5.13.11.3."""
        if not self.reservations_lost:
            raise CheckCondition(asc.INVALID_RELEASE_OF_PERSISTENT_RESERVATION)
        key, new_key = _keys(data)
        if key:
            raise _wrong(0)
        if not new_key:
            raise _wrong(8)
        if data[20] & 0x04:
            raise _wrong(20, 2)
        persists = self._persists(data[20] & 0x01, byte=20)
        return reservations.replace_lost(
            _registrant(command.nexus), new_key, cdb.scope, cdb.type, persists=persists
        )

    def _checked_sender(self, command: Command, data: bytes) -> Registrant:
        sender = _registrant(command.nexus)
        reservations.check_key(self.persistent, sender, _keys(data)[0])
        return sender


_Decision = Callable[[ReservationOperations, Command, CdbFields, bytes], Change]

_DECISIONS: Final[dict[int, _Decision]] = {
    ReserveOutAction.REGISTER: ReservationOperations._register,
    ReserveOutAction.RESERVE: ReservationOperations._reserve,
    ReserveOutAction.RELEASE: ReservationOperations._release,
    ReserveOutAction.CLEAR: ReservationOperations._clear,
    ReserveOutAction.PREEMPT: ReservationOperations._preempt,
    ReserveOutAction.PREEMPT_AND_ABORT: ReservationOperations._preempt,
    ReserveOutAction.REGISTER_AND_IGNORE_EXISTING_KEY: ReservationOperations._register,
    ReserveOutAction.REGISTER_AND_MOVE: ReservationOperations._register_and_move,
    ReserveOutAction.REPLACE_LOST_RESERVATION: ReservationOperations._replace_lost,
}


def _registrant(nexus: Nexus) -> Registrant:
    """What a registration of that nexus is kept by."""
    transport_id, port = nexus.key
    return (canonical_transport_id(transport_id), port)


def _keys(data: bytes) -> tuple[int, int]:
    """RESERVATION KEY and SERVICE ACTION RESERVATION KEY."""
    return int.from_bytes(data[:8], "big"), int.from_bytes(data[8:16], "big")


def _wrong(byte: int, bit: int | None = None) -> CheckCondition:
    """A field of the parameter list is wrong."""
    return CheckCondition(asc.INVALID_FIELD_IN_PARAMETER_LIST, pointer=FieldPointer(byte, bit, in_cdb=False))


def _transport_id(data: bytes, at: int, protocol: int, *, truncated_at: int) -> TransportId:
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


def _refuse_options(cdb: CdbFields) -> None:
    """Third parties and extents (SPC-2 7.21.3, 7.21.2)."""
    for name, number in cdb.items():
        if name in ("third_party", "long_id", "extent", "parameter_list_length") and number:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field=name)

"""The commands of reservations: PERSISTENT RESERVE IN and OUT (SPC-4 6.15, 6.16), RESERVE and RELEASE (SPC-2).

What a PERSISTENT RESERVE OUT comes to is in `reserve_out` and `reservations`; here are the conflicts, who is told, and
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
from scsiemu.errors import IoFailed, IoFault
from scsiemu.identity import Identity
from scsiemu.io_requests import IoRequest, LoadState, SaveState
from scsiemu.logical_unit import NexusState
from scsiemu.nexus import Nexus
from scsiemu.operations import DataDirection, Operation, ReservationClass, operation
from scsiemu.reservations import (
    ALL_REGISTRANTS,
    NO_RESERVATIONS,
    REGISTRANTS_ONLY,
    REGISTRATION_LIMIT,
    SERVICE_ACTION_CONFLICTS,
    UNIT_RESERVATION_CONFLICTS,
    Change,
    PersistentReservations,
    Registrant,
    Registration,
    ReserveOutAction,
)
from scsiemu.reserve_out import ReserveOut, at_every_port, registrant_of
from scsiemu.sam import Status
from scsiemu.sense import CheckCondition, Refusal, SenseKey
from scsiemu.spc_inquiry import InquiryOperations
from scsiemu.task_set import AbortCommands

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
# As many of the longest TransportIDs (248 bytes) as may register.
_LIST_LIMIT: Final = 28 + REGISTRATION_LIMIT * 248

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


class ReservationOperations(InquiryOperations):
    """Reservations of a unit.

    Attributes:
        persistent: registrations and the persistent reservation.
        unit_reservation: the nexus that RESERVE(6) or RESERVE(10) reserved the unit for.
        reservations_lost: saved reservations could not be restored; REPLACE LOST RESERVATION ends it.
    """

    def __init__(self, *, identity: Identity | None = None) -> None:
        super().__init__(identity=identity)
        self.persistent = NO_RESERVATIONS
        self.unit_reservation: Nexus | None = None
        self.reservations_lost = False

    def nexuses_preempted(self, nexuses: tuple[Nexus, ...]) -> None:
        """PREEMPT AND ABORT hit these nexuses: what they prevented is allowed again (SPC-4 5.13.11.2.6 h)."""

    def reservations_changed(self, before: PersistentReservations, change: Change) -> None:
        """Registrations or the persistent reservation are others now."""

    # --- conflicts ---------------------------------------------------------------------------------------------

    def conflicts(self, command: Command, operation: Operation, cdb: CdbFields) -> bool:
        """Whether a reservation forbids an operation. Asked only while `reserved`."""
        if self.reservations_lost and not command.nexus_state.attentions:     # those are told before
            self._check_reservations_lost(operation, cdb)
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
        return self.persistent.conflicts(registrant_of(command.nexus), reservation_class)

    def _action_conflicts(self, command: Command, service_action: int) -> bool:
        """SPC-4 table 66."""
        state, sender = self.persistent, registrant_of(command.nexus)
        if not state.reservation_type or state.is_holder(sender):
            return False
        return service_action in SERVICE_ACTION_CONFLICTS[sender in state.registrations]

    def _check_reservations_lost(self, operation: Operation, cdb: CdbFields) -> None:
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

    def _note_reservations(self) -> None:
        self.reserved = bool(
            self.unit_reservation is not None or self.persistent.reservation_type or self.reservations_lost
        )

    # --- what happens to reservations from outside -------------------------------------------------------------

    def restore(self) -> Steps:
        """Registrations that were to persist come back, PRGENERATION begins at zero (SPC-4 5.13.5.1)."""
        earlier = super().restore()
        if earlier is not None:
            yield from earlier
        if self.unit.has_state_store:
            yield from self._restore_reservations()
        return Completion()

    def _restore_reservations(self) -> Generator[IoRequest[Any], Any, None]:
        try:
            saved = yield from LoadState(self._reservations_key)
            if saved is not None:
                self.persistent = reservations.decode_reservations(saved)
        except (IoFailed, ValueError):
            # SPC-4 5.13.5.3.2: they may have kept somebody out: nobody gets in until they are replaced.
            self.reservations_lost = True
        self._note_reservations()

    def nexus_lost(self, state: NexusState) -> None:
        """SPC-2 5.5.1: the reservation of a lost nexus ends. Registrations stay."""
        super().nexus_lost(state)
        if self.unit_reservation is state.nexus:
            self.unit_reservation = None
            self._note_reservations()

    def reset(self, kind: str) -> None:
        """Any reset ends an SPC-2 reservation; only a power loss without APTPL ends registrations."""
        super().reset(kind)
        self.unit_reservation = None
        if kind == "power on" and not self.persistent.persists:
            self.persistent = NO_RESERVATIONS
        self._note_reservations()

    @property
    def _reservations_key(self) -> str:
        return f"{self.unit.state_prefix}reservations"

    # --- RESERVE and RELEASE -----------------------------------------------------------------------------------

    @operation(0x16, "RESERVE(6)", RESERVE_6, conflict=ReservationClass.WRITE, standard="SPC-2 7.21")
    @operation(0x56, "RESERVE(10)", RESERVE_10, conflict=ReservationClass.WRITE, standard="SPC-2 7.22")
    def reserve_unit(self, command: Command, cdb: CdbFields) -> Completion:
        """Reserve the unit for the nexus. Another nexus that holds it was found to conflict before."""
        _refuse_options(cdb)
        if not self._has_no_effect(command):
            self.unit_reservation = command.nexus
            self._note_reservations()
        return Completion()

    @operation(0x17, "RELEASE(6)", RELEASE_6, conflict=ReservationClass.ALWAYS, standard="SPC-2 7.16")
    @operation(0x57, "RELEASE(10)", RELEASE_10, conflict=ReservationClass.ALWAYS, standard="SPC-2 7.17")
    def release_unit(self, command: Command, cdb: CdbFields) -> Completion:
        """Release the unit; who does not hold it, does nothing with GOOD status."""
        _refuse_options(cdb)
        if not self._has_no_effect(command) and self.unit_reservation is command.nexus:
            self.unit_reservation = None
            self._note_reservations()
        return Completion()

    def _has_no_effect(self, command: Command) -> bool:
        """Whether persistent reservations make RESERVE and RELEASE a no-op for the nexus (SPC-4 5.13.3, CRH). Without
        that exception they conflict for every nexus while any is registered (SPC-2 5.5.1)."""
        state, sender = self.persistent, registrant_of(command.nexus)
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
        return self._reservation_data(b"".join(registration.key.to_bytes(8, "big") for registration in registrations))

    @operation(
        _OPCODE_IN, "PERSISTENT RESERVE IN (READ RESERVATION)", PERSISTENT_RESERVE_IN, service_action=1,
        data=DataDirection.IN, conflict=ReservationClass.SPECIAL, allocation="allocation_length",
        standby_allowed=True, standard="SPC-4 6.15.3",
    )
    def read_reservation(self, command: Command, cdb: CdbFields) -> Completion:
        """The reservation with its holder's key, zero for all registrants types."""
        state = self.persistent
        if not state.reservation_type:
            return self._reservation_data(b"")
        key = 0 if state.holder is None else state.registrations[state.holder].key
        return self._reservation_data(key.to_bytes(8, "big") + bytes((0, 0, 0, 0, 0, state.reservation_type, 0, 0)))

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
            everywhere = self._registered_everywhere(nexus, registration)
            if nexus[0] not in merged:
                descriptors.append(self._full_status(nexus, registration, everywhere=everywhere))
            if everywhere:
                merged.add(nexus[0])
        return self._reservation_data(b"".join(descriptors))

    def _registered_everywhere(self, nexus: Registrant, registration: Registration) -> bool:
        state = self.persistent
        if not registration.all_target_ports:
            return False
        holder = state.is_holder(nexus)
        return all(
            state.registrations.get(other) == registration and state.is_holder(other) == holder
            for other in at_every_port(self.unit, nexus)
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

    def _reservation_data(self, body: bytes) -> Completion:
        """PRGENERATION, ADDITIONAL LENGTH and what it counts."""
        return Completion(self.persistent.generation.to_bytes(4, "big") + len(body).to_bytes(4, "big") + body)

    # --- PERSISTENT RESERVE OUT --------------------------------------------------------------------------------

    @_reserve_out_operations
    def persistent_reserve_out(self, command: Command, cdb: CdbFields) -> Steps:
        """Decide, save where it is to persist, let it count, tell the others, abort what is to be aborted."""
        action: int = cdb.service_action
        service = ReserveOut(self.unit, command.nexus, cdb, command.parameter_list)
        change = yield from self._change_reservations(
            command, lambda: service.decide(self.persistent, lost=self.reservations_lost)
        )
        if action == ReserveOutAction.REPLACE_LOST_RESERVATION:
            self.reservations_lost = False
            self._note_reservations()
        if action == ReserveOutAction.PREEMPT_AND_ABORT:
            nexuses = self._registered_nexuses(change.preempted)
            self.nexuses_preempted(nexuses)
            yield from AbortCommands(nexuses)
        return Completion()

    def _change_reservations(
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
                yield from SaveState(self._reservations_key, data)
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
                self.unit.start_background(self._save_reservations_again(), "save reservations")
        before, self.persistent = self.persistent, change.state
        self._note_reservations()
        self.reservations_changed(before, change)
        told = dict(change.attentions)
        for nexus in self._registered_nexuses(tuple(told)):
            if nexus is not command.nexus:
                self.unit.attention(told[registrant_of(nexus)], only=nexus)
        return change

    def _save_reservations_again(self) -> Steps:
        state = self.persistent
        yield from SaveState(
            self._reservations_key, reservations.encode_reservations(state) if state.persists else None
        )
        return Completion()

    def _registered_nexuses(self, registrants: tuple[Registrant, ...]) -> tuple[Nexus, ...]:
        """The nexuses that are logged in now among these."""
        wanted = frozenset(registrants)
        return tuple(nexus for nexus in self.unit.nexus_states if registrant_of(nexus) in wanted)


def _refuse_options(cdb: CdbFields) -> None:
    """Third parties and extents (SPC-2 7.21.3, 7.21.2)."""
    for name, number in cdb.items():
        if name in ("third_party", "long_id", "extent", "parameter_list_length") and number:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field=name)

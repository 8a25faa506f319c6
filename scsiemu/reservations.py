"""Reservations as values: what is registered, who holds what, what conflicts, and each change (SPC-4 5.13, SPC-2 5.5).

`PersistentReservations` is the whole state of persistent reservations of a unit and never changes: the functions give
the next state with the unit attentions due, or refuse. SPC-2 reservations are one holder, kept by `persistent_reserve`,
with their row in the conflict tables here. Nothing here knows CDBs, parameter lists or nexuses that come and go: an
I_T nexus is its canonical TransportID with a relative target port identifier.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final, TypeAlias

from scsiemu import asc
from scsiemu._value import value
from scsiemu.operations import ReservationClass
from scsiemu.sam import Status
from scsiemu.sense import CheckCondition, FieldPointer, Refusal, SenseCode

__all__ = [
    "ALL_REGISTRANTS", "NO_RESERVATIONS", "PERSISTENT_CONFLICTS", "REGISTRANTS_ONLY", "REGISTRATION_LIMIT",
    "RESERVATION_TYPE_NAMES", "SERVICE_ACTION_CONFLICTS", "UNIT_RESERVATION_CONFLICTS", "Change",
    "PersistentReservations", "Registrant", "Registration", "ReservationType", "ReserveOutAction",
    "check_key", "check_register_keys", "clear", "decode_reservations", "encode_reservations", "preempt", "register",
    "register_and_move", "release", "replace_lost", "reserve", "unregister",
]

REGISTRATION_LIMIT: Final = 1024

# Canonical TransportID, relative target port identifier.
Registrant: TypeAlias = tuple[bytes, int]


class ReservationType:
    """TYPE of a persistent reservation (SPC-4 table 205)."""

    WRITE_EXCLUSIVE: Final = 1
    EXCLUSIVE_ACCESS: Final = 3
    WRITE_EXCLUSIVE_REGISTRANTS_ONLY: Final = 5
    EXCLUSIVE_ACCESS_REGISTRANTS_ONLY: Final = 6
    WRITE_EXCLUSIVE_ALL_REGISTRANTS: Final = 7
    EXCLUSIVE_ACCESS_ALL_REGISTRANTS: Final = 8


RESERVATION_TYPE_NAMES: Final[dict[int, str]] = {
    ReservationType.WRITE_EXCLUSIVE: "Write Exclusive",
    ReservationType.EXCLUSIVE_ACCESS: "Exclusive Access",
    ReservationType.WRITE_EXCLUSIVE_REGISTRANTS_ONLY: "Write Exclusive - Registrants Only",
    ReservationType.EXCLUSIVE_ACCESS_REGISTRANTS_ONLY: "Exclusive Access - Registrants Only",
    ReservationType.WRITE_EXCLUSIVE_ALL_REGISTRANTS: "Write Exclusive - All Registrants",
    ReservationType.EXCLUSIVE_ACCESS_ALL_REGISTRANTS: "Exclusive Access - All Registrants",
}
REGISTRANTS_ONLY: Final = frozenset((5, 6))
ALL_REGISTRANTS: Final = frozenset((7, 8))


class ReserveOutAction:
    """Service actions of PERSISTENT RESERVE OUT (SPC-4 table 213)."""

    REGISTER: Final = 0
    RESERVE: Final = 1
    RELEASE: Final = 2
    CLEAR: Final = 3
    PREEMPT: Final = 4
    PREEMPT_AND_ABORT: Final = 5
    REGISTER_AND_IGNORE_EXISTING_KEY: Final = 6
    REGISTER_AND_MOVE: Final = 7
    REPLACE_LOST_RESERVATION: Final = 8


_WRITES: Final = frozenset((ReservationClass.WRITE,))
_ALL_ACCESS: Final = frozenset((ReservationClass.READ, ReservationClass.WRITE))
_NOTHING: Final[frozenset[str]] = frozenset()

# What conflicts for another nexus while RESERVE(6) or RESERVE(10) holds the unit (SPC-2 table 10).
UNIT_RESERVATION_CONFLICTS: Final = frozenset(
    (ReservationClass.PERSISTENT_ALLOWED, ReservationClass.READ, ReservationClass.WRITE)
)

# What conflicts for a nexus that is no holder: (type, whether it is registered) to classes (SPC-4 table 65).
PERSISTENT_CONFLICTS: Final[dict[tuple[int, bool], frozenset[str]]] = {
    (1, False): _WRITES, (1, True): _WRITES,
    (3, False): _ALL_ACCESS, (3, True): _ALL_ACCESS,
    (5, False): _WRITES, (5, True): _NOTHING,
    (6, False): _ALL_ACCESS, (6, True): _NOTHING,
    (7, False): _WRITES, (7, True): _NOTHING,
    (8, False): _ALL_ACCESS, (8, True): _NOTHING,
}

# Service actions of PERSISTENT RESERVE OUT that conflict while another nexus holds a persistent reservation, by
# whether the sender is registered (SPC-4 table 66).
SERVICE_ACTION_CONFLICTS: Final[dict[bool, frozenset[int]]] = {
    True: frozenset((ReserveOutAction.REGISTER_AND_MOVE, ReserveOutAction.RESERVE)),
    False: frozenset((
        ReserveOutAction.CLEAR, ReserveOutAction.PREEMPT, ReserveOutAction.PREEMPT_AND_ABORT,
        ReserveOutAction.REGISTER_AND_MOVE, ReserveOutAction.RELEASE, ReserveOutAction.REPLACE_LOST_RESERVATION,
        ReserveOutAction.RESERVE,
    )),
}


@value
class Registration:
    """The registration of one I_T nexus; `all_target_ports`: it came with ALL_TG_PT set."""

    key: int
    all_target_ports: bool = False


@value
class PersistentReservations:
    """Registrations of a unit and its persistent reservation.

    Args:
        registrations: in the order in which they were made.
        reservation_type: a `ReservationType`, 0 for no reservation.
        holder: None without reservation, and for the all registrants types, where every registrant holds it.
        generation: PRGENERATION.
        persists: APTPL of the last registration.
    """

    registrations: Mapping[Registrant, Registration]
    reservation_type: int = 0
    holder: Registrant | None = None
    generation: int = 0
    persists: bool = False

    def is_holder(self, nexus: Registrant) -> bool:
        """Whether that nexus is a persistent reservation holder (SPC-4 5.13.10)."""
        if self.reservation_type in ALL_REGISTRANTS:
            return nexus in self.registrations
        return self.reservation_type != 0 and nexus == self.holder

    def conflicts(self, nexus: Registrant, reservation_class: str) -> bool:
        """Whether the reservation forbids an operation of that class to that nexus."""
        if not self.reservation_type or self.is_holder(nexus):
            return False
        return reservation_class in PERSISTENT_CONFLICTS[self.reservation_type, nexus in self.registrations]

    def registered_with(self, key: int) -> tuple[Registrant, ...]:
        """The nexuses registered with a key."""
        return tuple(nexus for nexus, registration in self.registrations.items() if registration.key == key)


NO_RESERVATIONS: Final = PersistentReservations({})


@value
class Change:
    """What a service action comes to.

    Args:
        state: the next state.
        attentions: unit attentions due.
        preempted: the nexuses whose commands PREEMPT AND ABORT aborts.
    """

    state: PersistentReservations
    attentions: tuple[tuple[Registrant, SenseCode], ...] = ()
    preempted: tuple[Registrant, ...] = ()


def check_key(state: PersistentReservations, sender: Registrant, key: int) -> None:
    """Refuse what does not come from a registered nexus with its key (SPC-4 6.16.3)."""
    registration = state.registrations.get(sender)
    if registration is None or registration.key != key:
        raise Refusal(Status.RESERVATION_CONFLICT)


def check_register_keys(state: PersistentReservations, nexuses: Sequence[Registrant], key: int) -> None:
    """RESERVATION KEY of REGISTER (SPC-4 table 67): for the sender, who is first, its key, or zero where it has none;
    another nexus that ALL_TG_PT reaches must be unregistered or have the same key."""
    for number, nexus in enumerate(nexuses):
        registration = state.registrations.get(nexus)
        if registration is None:
            if not number and key:
                raise Refusal(Status.RESERVATION_CONFLICT)
        elif registration.key != key:
            raise Refusal(Status.RESERVATION_CONFLICT)


def register(
    state: PersistentReservations,
    nexuses: Iterable[Registrant],
    key: int,
    *,
    all_target_ports: bool,
    persists: bool,
) -> Change:
    """Register nexuses with a key, or change their keys; no reservation changes (SPC-4 5.13.7)."""
    registrations = dict(state.registrations)
    for nexus in nexuses:
        registrations[nexus] = Registration(key, all_target_ports)
    _check_limit(registrations)
    return Change(
        replace(state, registrations=registrations, generation=_following(state), persists=persists)
    )


def unregister(
    state: PersistentReservations, sender: Registrant, nexuses: Iterable[Registrant], *, persists: bool
) -> Change:
    """Remove registrations (SPC-4 5.13.11.2.3). A holder's reservation goes with it."""
    removed = set(nexuses)
    kept = _without(state, removed)
    attentions: tuple[tuple[Registrant, SenseCode], ...] = ()
    if state.reservation_type in REGISTRANTS_ONLY and state.holder in removed:
        attentions = _to(kept.registrations, sender, asc.RESERVATIONS_RELEASED)
    return Change(replace(kept, generation=_following(state), persists=persists), attentions)


def reserve(state: PersistentReservations, sender: Registrant, scope: int, reservation_type: int) -> Change:
    """Create a reservation (SPC-4 5.13.9). The holder may ask again for the same."""
    _check_type(scope, reservation_type)
    if state.reservation_type:
        if state.is_holder(sender) and state.reservation_type == reservation_type:
            return Change(state)
        raise Refusal(Status.RESERVATION_CONFLICT)
    return Change(_reserved(state, sender, reservation_type))


def release(
    state: PersistentReservations, sender: Registrant, scope: int, reservation_type: int, *, tell: bool
) -> Change:
    """Release the reservation (SPC-4 5.13.11.2.2); `tell`: with unit attentions, as NUAR says."""
    if not state.is_holder(sender):
        return Change(state)
    if scope or reservation_type != state.reservation_type:
        raise CheckCondition(asc.INVALID_RELEASE_OF_PERSISTENT_RESERVATION)
    attentions: tuple[tuple[Registrant, SenseCode], ...] = ()
    if tell and reservation_type in REGISTRANTS_ONLY | ALL_REGISTRANTS:
        attentions = _to(state.registrations, sender, asc.RESERVATIONS_RELEASED)
    return Change(replace(state, reservation_type=0, holder=None), attentions)


def clear(state: PersistentReservations, sender: Registrant) -> Change:
    """Remove the reservation and all registrations (SPC-4 5.13.11.2.7)."""
    attentions = _to(state.registrations, sender, asc.RESERVATIONS_PREEMPTED)
    cleared = PersistentReservations({}, generation=_following(state), persists=state.persists)
    return Change(cleared, attentions)


def preempt(
    state: PersistentReservations, sender: Registrant, key: int, scope: int, reservation_type: int
) -> Change:
    """PREEMPT (SPC-4 table 72): take the place of the holder that `key` means, or only remove registrations."""
    everybody = state.reservation_type in ALL_REGISTRANTS
    if state.reservation_type and not key and not everybody:
        raise CheckCondition(asc.INVALID_FIELD_IN_PARAMETER_LIST, pointer=FieldPointer(8, in_cdb=False))
    victims = tuple(state.registrations) if everybody and not key else state.registered_with(key)
    if not victims:
        raise Refusal(Status.RESERVATION_CONFLICT)
    takes = not key if everybody else state.holder is not None and state.registrations[state.holder].key == key
    if not takes:
        # 5.13.11.2.5: SCOPE and TYPE are ignored, and the sender may remove itself.
        kept = replace(_without(state, set(victims)), generation=_following(state))
        return Change(kept, _to(victims, sender, asc.REGISTRATIONS_PREEMPTED), victims)
    _check_type(scope, reservation_type)
    kept = replace(_without(state, set(victims) - {sender}), generation=_following(state))
    attentions = _to(victims, sender, asc.REGISTRATIONS_PREEMPTED)
    if reservation_type != state.reservation_type:
        attentions += _to(kept.registrations, sender, asc.RESERVATIONS_RELEASED)
    return Change(_reserved(kept, sender, reservation_type), attentions, victims)


def register_and_move(
    state: PersistentReservations,
    sender: Registrant,
    destination: Registrant,
    key: int,
    *,
    unregister_sender: bool,
    persists: bool,
) -> Change:
    """Register another nexus and make it the holder (SPC-4 5.13.8). The sender was found to be the holder."""
    registrations = dict(state.registrations)
    registrations[destination] = Registration(key)
    if unregister_sender:
        registrations.pop(sender, None)
    _check_limit(registrations)
    return Change(
        replace(
            state,
            registrations=registrations,
            holder=destination,
            generation=_following(state),
            persists=persists,
        )
    )


def replace_lost(sender: Registrant, key: int, scope: int, reservation_type: int, *, persists: bool) -> Change:
    """Begin anew after the loss of everything (SPC-4 5.13.11.3); PRGENERATION becomes zero."""
    _check_type(scope, reservation_type)
    state = PersistentReservations({sender: Registration(key)}, persists=persists)
    return Change(_reserved(state, sender, reservation_type))


# Saved form: magic, type, index of the holder (FFFFh: none), count; for each registration key, port, ALL_TG_PT, length
# of the TransportID and the TransportID; then a CRC-32 of all before.
_MAGIC: Final = b"SPR1"
_HEAD: Final = struct.Struct(">4sBHH")
_ENTRY: Final = struct.Struct(">QHBH")
_NOBODY: Final = 0xFFFF


def encode_reservations(state: PersistentReservations) -> bytes:
    """The bytes that outlive a power loss (SPC-4 5.13.5.1). PRGENERATION is not among them."""
    nexuses = list(state.registrations)
    holder = _NOBODY if state.holder is None else nexuses.index(state.holder)
    parts = [_HEAD.pack(_MAGIC, state.reservation_type, holder, len(nexuses))]
    for (transport_id, port), registration in state.registrations.items():
        parts.append(_ENTRY.pack(registration.key, port, registration.all_target_ports, len(transport_id)))
        parts.append(transport_id)
    body = b"".join(parts)
    return body + zlib.crc32(body).to_bytes(4, "big")


def decode_reservations(data: bytes) -> PersistentReservations:
    """The state after a power loss. Raises ValueError for anything that `encode_reservations` did not make."""
    body = data[:-4]
    if len(body) < _HEAD.size or zlib.crc32(body).to_bytes(4, "big") != data[-4:]:
        raise ValueError("the saved reservations are damaged")
    magic, reservation_type, holder, count = _HEAD.unpack_from(body)
    if magic != _MAGIC or reservation_type not in (0, *RESERVATION_TYPE_NAMES):
        raise ValueError("not saved reservations")
    registrations: dict[Registrant, Registration] = {}
    at = _HEAD.size
    for _ in range(count):
        if at + _ENTRY.size > len(body):
            raise ValueError("the saved reservations are cut off")
        key, port, all_target_ports, length = _ENTRY.unpack_from(body, at)
        at += _ENTRY.size + length
        registrations[body[at - length : at], port] = Registration(key, bool(all_target_ports))
    if at != len(body) or (holder != _NOBODY and holder >= len(registrations)):
        raise ValueError("the saved reservations contradict themselves")
    has_holder = reservation_type != 0 and reservation_type not in ALL_REGISTRANTS
    if has_holder != (holder != _NOBODY) or len(registrations) != count or (reservation_type and not count):
        raise ValueError("the saved reservations contradict themselves")
    return PersistentReservations(
        registrations, reservation_type, None if holder == _NOBODY else list(registrations)[holder], persists=True
    )


def _check_type(scope: int, reservation_type: int) -> None:
    """SCOPE and TYPE of a new reservation (SPC-4 6.15.3.3, 6.15.3.4): LU_SCOPE, one of the six."""
    if scope:
        raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="scope")
    if reservation_type not in RESERVATION_TYPE_NAMES:
        raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="type")


def _check_limit(registrations: Mapping[Registrant, Registration]) -> None:
    if len(registrations) > REGISTRATION_LIMIT:
        raise CheckCondition(asc.INSUFFICIENT_REGISTRATION_RESOURCES)


def _reserved(state: PersistentReservations, holder: Registrant, reservation_type: int) -> PersistentReservations:
    """The state with a reservation of that nexus (for all registrants types: of all of them)."""
    named = None if reservation_type in ALL_REGISTRANTS else holder
    return replace(state, reservation_type=reservation_type, holder=named)


def _without(state: PersistentReservations, removed: set[Registrant]) -> PersistentReservations:
    """The state without these registrations; a reservation that lost its last holder is gone (SPC-4 table 71)."""
    kept = {nexus: registration for nexus, registration in state.registrations.items() if nexus not in removed}
    if not kept or state.holder in removed:
        return replace(state, registrations=kept, reservation_type=0, holder=None)
    return replace(state, registrations=kept)


def _following(state: PersistentReservations) -> int:
    """PRGENERATION after a service action that counts: 32 bits that wrap (SPC-4 6.15.2)."""
    return state.generation + 1 & 0xFFFFFFFF


def _to(
    nexuses: Iterable[Registrant], sender: Registrant, code: SenseCode
) -> tuple[tuple[Registrant, SenseCode], ...]:
    """A unit attention for all of these but the nexus that did it."""
    return tuple((nexus, code) for nexus in nexuses if nexus != sender)

"""Persistent reservations and RESERVE(6): a unit of any type. Nobody is registered before a case, or after it."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import pytest
from conformance import ConformanceUnit, clause
from spc_commands import INQUIRY, keys, mode_sense, register, release, reserve, reserve_in, reserve_out

from scsiemu import asc

SEND_DIAGNOSTIC = bytes((0x1D, 4, 0, 0, 0, 0))
LOG_SELECT = bytes((0x4C, 0, 0xC0, 0, 0, 0, 0, 0, 0, 0))
TYPES = {1: "WE", 3: "EA", 5: "WE-RO", 6: "EA-RO", 7: "WE-AR", 8: "EA-AR"}
EVERY_TYPE = pytest.mark.parametrize("kind", TYPES, ids=TYPES.values())


@pytest.fixture
def pair(unit: ConformanceUnit) -> Iterator[tuple[ConformanceUnit, ConformanceUnit]]:
    """Two nexuses, registered with keys 1 and 2."""
    other = unit.another()
    register(unit, 1)
    register(other, 2)
    yield unit, other
    unit.attentions()
    unit.good(reserve_out(6), keys(0, 9))
    unit.good(reserve_out(3), keys(9))
    other.attentions()


def holder(unit: ConformanceUnit) -> tuple[int, int]:
    """Key and type of the reservation; zeros for none."""
    data = unit.good(reserve_in(1), data_in=4096)
    return (int.from_bytes(data[8:16], "big"), data[21] & 0xF) if len(data) > 8 else (0, 0)


def registered(unit: ConformanceUnit) -> list[int]:
    """The keys."""
    data = unit.good(reserve_in(0), data_in=4096)
    assert int.from_bytes(data[4:8], "big") == len(data) - 8
    return sorted(key for (key,) in struct.iter_unpack(">Q", data[8:]))


def generation(unit: ConformanceUnit) -> int:
    """PRGENERATION."""
    return int.from_bytes(unit.good(reserve_in(0), data_in=4096)[:4], "big")


@clause("SPC-5 6.15.2")
def test_read_keys_none(unit: ConformanceUnit) -> None:
    """Nobody has registered: no keys."""
    assert registered(unit) == []
    assert holder(unit) == (0, 0)


@clause("SPC-5 6.15.2")
def test_read_keys(unit: ConformanceUnit, pair: tuple[ConformanceUnit, ConformanceUnit]) -> None:
    """A key for each registered nexus, seen by all; the allocation length cuts."""
    assert registered(unit) == registered(pair[1]) == [1, 2]
    assert len(unit.good(reserve_in(0, 12), data_in=12)) == 12


@clause("SPC-5 6.16.2")
def test_register_again(unit: ConformanceUnit, pair: tuple[ConformanceUnit, ConformanceUnit]) -> None:
    """A registered nexus changes its key with the old one; another key is a conflict."""
    unit.conflict(reserve_out(0), keys(7, 8))
    register(unit, 5, key=1)

    assert registered(unit) == [2, 5]


@clause("SPC-5 6.16.2")
def test_register_not_registered(unit: ConformanceUnit) -> None:
    """Who is not registered has no key to give."""
    unit.conflict(reserve_out(0), keys(1, 2))

    assert registered(unit) == []


@clause("SPC-5 5.14.7")
def test_register_ignoring_key(unit: ConformanceUnit, pair: tuple[ConformanceUnit, ConformanceUnit]) -> None:
    """REGISTER AND IGNORE EXISTING KEY asks for no key."""
    unit.good(reserve_out(6), keys(0xBAD, 4))

    assert registered(unit) == [2, 4]


@clause("SPC-5 5.14.11.2.1")
def test_unregister(unit: ConformanceUnit, pair: tuple[ConformanceUnit, ConformanceUnit]) -> None:
    """Key zero ends a registration, and a reservation with it."""
    reserve(unit, 3, 1)
    register(unit, 0, key=1)

    assert registered(unit) == [2]
    assert holder(unit) == (0, 0)


@EVERY_TYPE
@clause("SPC-5 5.14.9")
def test_reserve(unit: ConformanceUnit, pair: tuple[ConformanceUnit, ConformanceUnit], kind: int) -> None:
    """READ RESERVATION tells key and type, of all registrants types no key; doing it again changes nothing."""
    reserve(unit, kind, 1)
    reserve(unit, kind, 1)

    assert holder(pair[1]) == (0 if kind in (7, 8) else 1, kind)


@clause("SPC-5 5.14.9")
def test_reserve_not_registered(unit: ConformanceUnit) -> None:
    """Without a registration, or with another key, it is a conflict."""
    unit.conflict(reserve_out(1, 3), keys(0))
    register(unit, 1)
    unit.conflict(reserve_out(1, 3), keys(2))
    register(unit, 0, key=1)


@clause("SPC-5 5.14.9")
def test_reserve_another_type(unit: ConformanceUnit, pair: tuple[ConformanceUnit, ConformanceUnit]) -> None:
    """The holder cannot have another type, another registrant nothing at all."""
    reserve(unit, 1, 1)
    unit.conflict(reserve_out(1, 3), keys(1))
    pair[1].conflict(reserve_out(1, 1), keys(2))

    assert holder(unit) == (1, 1)


@pytest.mark.parametrize("kind", [0, 2, 4, 9, 15])
@clause("SPC-5 6.15.3.4")
def test_reserve_type_refused(
    unit: ConformanceUnit, pair: tuple[ConformanceUnit, ConformanceUnit], kind: int
) -> None:
    """Types that are obsolete or reserved."""
    unit.refused(reserve_out(1, kind), asc.INVALID_FIELD_IN_CDB, keys(1))

    assert holder(unit) == (0, 0)


@EVERY_TYPE
@clause("SPC-5 5.14.1, table of allowed commands")
def test_conflict_stranger(
    unit: ConformanceUnit, pair: tuple[ConformanceUnit, ConformanceUnit], kind: int
) -> None:
    """Who is not registered may look in any case, and read parameters where writes alone are exclusive."""
    reserve(unit, kind, 1)
    stranger = unit.another("iqn.2026-11.org.example:third")
    stranger.good(INQUIRY, data_in=255)
    stranger.good(bytes((0xA0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0)), data_in=256)
    stranger.good(bytes((0x03, 0, 0, 0, 18, 0)), data_in=18)
    stranger.good(reserve_in(1), data_in=64)
    stranger.conflict(LOG_SELECT)
    stranger.conflict(SEND_DIAGNOSTIC)
    if kind in (3, 6, 8):
        stranger.conflict(mode_sense(0x3F), data_in=4096)
    else:
        stranger.good(mode_sense(0x3F), data_in=4096)


@EVERY_TYPE
@clause("SPC-5 5.14.1, table of allowed commands")
def test_conflict_registrant(
    unit: ConformanceUnit, pair: tuple[ConformanceUnit, ConformanceUnit], kind: int
) -> None:
    """Another registrant may do everything where the type is for registrants, else no more than anybody."""
    reserve(unit, kind, 1)
    if kind in (1, 3):
        pair[1].conflict(SEND_DIAGNOSTIC)
    else:
        pair[1].good(SEND_DIAGNOSTIC)
        pair[1].good(mode_sense(0x3F), data_in=4096)
    unit.good(SEND_DIAGNOSTIC)


@EVERY_TYPE
@clause("SPC-5 5.14.11.2.2")
def test_release(unit: ConformanceUnit, pair: tuple[ConformanceUnit, ConformanceUnit], kind: int) -> None:
    """The reservation ends; other registrants hear of it where the type was for registrants."""
    reserve(unit, kind, 1)
    release(unit, kind, 1)

    assert holder(unit) == (0, 0)
    assert pair[1].attentions() == ([asc.RESERVATIONS_RELEASED] if kind >= 5 else [])
    assert unit.attentions() == []


@clause("SPC-5 5.14.11.2.2")
def test_release_not_holder(unit: ConformanceUnit, pair: tuple[ConformanceUnit, ConformanceUnit]) -> None:
    """A registrant that holds nothing releases nothing, with GOOD."""
    reserve(unit, 5, 1)
    release(pair[1], 5, 2)

    assert holder(unit) == (1, 5)


@clause("SPC-5 5.14.11.2.2")
def test_release_another_type(unit: ConformanceUnit, pair: tuple[ConformanceUnit, ConformanceUnit]) -> None:
    """The holder has to name the type."""
    reserve(unit, 5, 1)
    unit.refused(reserve_out(2, 6), asc.INVALID_RELEASE_OF_PERSISTENT_RESERVATION, keys(1))

    assert holder(unit) == (1, 5)


@clause("SPC-5 5.14.11.2.6")
def test_clear(unit: ConformanceUnit, pair: tuple[ConformanceUnit, ConformanceUnit]) -> None:
    """CLEAR by any registrant ends all; the others hear RESERVATIONS PREEMPTED."""
    reserve(unit, 3, 1)
    pair[1].good(reserve_out(3), keys(2))

    assert unit.attentions() == [asc.RESERVATIONS_PREEMPTED]
    assert registered(unit) == []
    assert holder(unit) == (0, 0)
    assert pair[1].attentions() == []


@clause("SPC-5 5.14.11.2.4")
def test_preempt_holder(unit: ConformanceUnit, pair: tuple[ConformanceUnit, ConformanceUnit]) -> None:
    """PREEMPT with the holder's key takes the reservation, with the type that it names; the holder hears of it."""
    reserve(unit, 1, 1)
    pair[1].good(reserve_out(4, 3), keys(2, 1))

    assert unit.attentions() == [asc.REGISTRATIONS_PREEMPTED]
    assert registered(unit) == [2]
    assert holder(unit) == (2, 3)


@clause("SPC-5 5.14.11.2.3")
def test_preempt_registrant(unit: ConformanceUnit, pair: tuple[ConformanceUnit, ConformanceUnit]) -> None:
    """With another's key it takes away that registration and leaves the reservation."""
    reserve(unit, 1, 1)
    unit.good(reserve_out(4, 1), keys(1, 2))

    assert registered(unit) == [1]
    assert holder(unit) == (1, 1)
    assert pair[1].attentions() == [asc.REGISTRATIONS_PREEMPTED]


@clause("SPC-5 5.14.11.2.3")
def test_preempt_nobody(unit: ConformanceUnit, pair: tuple[ConformanceUnit, ConformanceUnit]) -> None:
    """A key that nobody has is a conflict; key zero is an invalid field."""
    reserve(unit, 1, 1)
    pair[1].conflict(reserve_out(4, 1), keys(2, 99))
    pair[1].refused(reserve_out(4, 1), asc.INVALID_FIELD_IN_PARAMETER_LIST, keys(2, 0))

    assert holder(unit) == (1, 1)


@clause("SPC-5 5.14.11.2.4")
def test_preempt_all_registrants(unit: ConformanceUnit, pair: tuple[ConformanceUnit, ConformanceUnit]) -> None:
    """Key zero preempts an all registrants reservation, and every other registration."""
    reserve(unit, 8, 1)
    pair[1].good(reserve_out(4, 3), keys(2, 0))

    assert registered(pair[1]) == [2]
    assert holder(pair[1]) == (2, 3)


@clause("SPC-5 5.14.11.2.5")
def test_preempt_and_abort(unit: ConformanceUnit, pair: tuple[ConformanceUnit, ConformanceUnit]) -> None:
    """It does what PREEMPT does."""
    reserve(unit, 1, 1)
    pair[1].good(reserve_out(5, 3), keys(2, 1))

    assert asc.REGISTRATIONS_PREEMPTED in unit.attentions()
    assert holder(unit) == (2, 3)


@clause("SPC-5 5.14.5")
def test_outlives_reset(unit: ConformanceUnit, pair: tuple[ConformanceUnit, ConformanceUnit]) -> None:
    """A LOGICAL UNIT RESET leaves registrations and reservation."""
    reserve(unit, 3, 1)
    unit.reset()
    unit.attentions()

    assert registered(unit) == [1, 2]
    assert holder(unit) == (1, 3)
    pair[1].attentions()
    pair[1].conflict(SEND_DIAGNOSTIC)


@clause("SPC-5 5.14.11.1")
def test_outlives_nexus(unit: ConformanceUnit, pair: tuple[ConformanceUnit, ConformanceUnit]) -> None:
    """Registration and reservation of a nexus that was lost stay, until another one preempts them."""
    third = unit.another("iqn.2026-11.org.example:third")
    register(third, 3)
    reserve(third, 3, 3)
    third.close()

    assert registered(unit) == [1, 2, 3]
    assert holder(unit) == (3, 3)
    unit.conflict(SEND_DIAGNOSTIC)
    unit.good(reserve_out(4, 1), keys(1, 3))

    assert registered(unit) == [1, 2]
    assert holder(unit) == (1, 1)


@clause("SPC-5 6.15.2")
def test_generation(unit: ConformanceUnit, pair: tuple[ConformanceUnit, ConformanceUnit]) -> None:
    """PRGENERATION counts what changes registrations, and neither RESERVE nor RELEASE nor what was refused."""
    start = generation(unit)
    reserve(unit, 1, 1)
    release(unit, 1, 1)
    unit.conflict(reserve_out(0), keys(7, 8))
    assert generation(unit) == start
    register(unit, 5, key=1)
    unit.good(reserve_out(6), keys(0, 6))
    unit.good(reserve_out(4, 1), keys(6, 2))
    assert generation(unit) == start + 3
    unit.good(reserve_out(3), keys(6))

    assert generation(unit) == start + 4


@pytest.mark.parametrize("length", [0, 8, 23, 25])
@clause("SPC-5 6.16.3")
def test_list_length(unit: ConformanceUnit, length: int) -> None:
    """The parameter list has 24 bytes, where it names no ports."""
    unit.refused(reserve_out(0, length=length), asc.PARAMETER_LIST_LENGTH_ERROR, keys(0, 1).ljust(25, b"\0")[:length])

    assert registered(unit) == []


@clause("SPC-5 6.16.1")
def test_service_action_refused(unit: ConformanceUnit) -> None:
    """Service actions that are reserved, out and in."""
    unit.refused(reserve_out(0x1F), asc.INVALID_FIELD_IN_CDB, keys(0, 1))
    unit.refused(reserve_in(0x1F), asc.INVALID_FIELD_IN_CDB, data_in=64)


@clause("SPC-5 6.15.4")
def test_report_capabilities(unit: ConformanceUnit) -> None:
    """8 bytes that say so, with a type mask that is valid, and each type in it can be had."""
    data = unit.good(reserve_in(2), data_in=64)
    mask = int.from_bytes(data[4:6], "little")

    assert len(data) == int.from_bytes(data[:2], "big") == 8
    assert data[3] & 0x80
    register(unit, 1)
    for bit, kind in ((1, 1), (3, 3), (5, 5), (6, 6), (7, 7), (8, 8)):
        answer = unit.execute(reserve_out(1, kind), keys(1))
        assert answer.good == bool(mask >> bit & 1), kind
        unit.execute(reserve_out(2, kind), keys(1))
    register(unit, 0, key=1)


@clause("SPC-5 6.15.5")
def test_read_full_status(unit: ConformanceUnit, pair: tuple[ConformanceUnit, ConformanceUnit]) -> None:
    """A descriptor for each registration: key, whether it holds, type, port, a transport id that ends where it says."""
    reserve(unit, 3, 1)
    data = unit.good(reserve_in(3), data_in=4096)
    found, at = {}, 8
    while at < len(data):
        key = int.from_bytes(data[at : at + 8], "big")
        length = int.from_bytes(data[at + 20 : at + 24], "big")
        found[key] = (data[at + 12] & 1, data[at + 13] & 0xF if data[at + 12] & 1 else 0)
        assert length >= 24
        at += 24 + length

    assert at == len(data) == 8 + int.from_bytes(data[4:8], "big")
    assert found == {1: (1, 3), 2: (0, 0)}


@clause("SPC-5 5.14.3")
def test_reserve6_conflicts_with_registrations(
    unit: ConformanceUnit, pair: tuple[ConformanceUnit, ConformanceUnit]
) -> None:
    """Where there are registrations RESERVE(6) is a conflict."""
    pair[1].conflict(bytes((0x16, 0, 0, 0, 0, 0)))


@clause("SPC-2 7.21")
def test_reserve6(unit: ConformanceUnit) -> None:
    """RESERVE(6) keeps others out until RELEASE(6)."""
    other = unit.another()
    unit.good(bytes((0x16, 0, 0, 0, 0, 0)))
    other.conflict(SEND_DIAGNOSTIC)
    other.conflict(bytes((0x16, 0, 0, 0, 0, 0)))
    other.good(bytes((0x17, 0, 0, 0, 0, 0)))
    other.conflict(SEND_DIAGNOSTIC)
    other.good(INQUIRY, data_in=255)
    unit.good(SEND_DIAGNOSTIC)
    unit.good(bytes((0x17, 0, 0, 0, 0, 0)))

    other.good(SEND_DIAGNOSTIC)


@clause("SPC-2 5.5.1")
def test_reserve6_ends_with_reset(unit: ConformanceUnit) -> None:
    """A LOGICAL UNIT RESET ends it."""
    other = unit.another()
    unit.good(bytes((0x16, 0, 0, 0, 0, 0)))
    other.reset()
    other.attentions()

    other.good(SEND_DIAGNOSTIC)
    unit.attentions()

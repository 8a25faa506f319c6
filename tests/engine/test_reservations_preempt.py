"""PREEMPT, PREEMPT AND ABORT, REGISTER AND MOVE, and what resets leave of persistent reservations."""

from __future__ import annotations

from dataclasses import replace

import pytest
from reservation_bench import CONFLICT, TYPES, Bench, asc

from scsiemu.sense import FieldPointer
from scsiemu.transport_id import iscsi_transport_id

RELEASED, PREEMPTED = asc.RESERVATIONS_RELEASED, asc.REGISTRATIONS_PREEMPTED
ALL_TG_PT, SPEC_I_PT, APTPL, UNREG = 0x04, 0x08, 0x01, 0x02


@pytest.fixture
def bench():
    return Bench()


@pytest.fixture
def three(bench):
    return tuple(bench.initiator(number) for number in (1, 2, 3))


def assert_list_field(result, byte, bit=None):
    """INVALID FIELD IN PARAMETER LIST with the field pointer there."""
    assert result.code == asc.INVALID_FIELD_IN_PARAMETER_LIST, result
    assert result.sense.specific == FieldPointer(byte, bit, in_cdb=False)


# --- PREEMPT ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("action", ["PREEMPT", "PREEMPT AND ABORT"])
@pytest.mark.parametrize("type", [1, 3, 5, 6])
def test_preempt_holder(three, action, type):
    """SPC-4 5.13.11.2.4.3: the holder's key: its registration goes, the sender holds the new type; the preempted hear
    REGISTRATIONS PREEMPTED, the others RESERVATIONS RELEASED where the type changed."""
    first, second, third = three
    first.hold(1, type)
    second.register(2)
    third.register(3)

    assert second.out(action, 2, 1, type=1).good
    assert (second.keys(), second.reservation(), second.generation()) == ([2, 3], (2, 1), 4)
    assert first.attentions() == [PREEMPTED]
    assert second.attentions() == []
    assert third.attentions() == ([] if type == 1 else [RELEASED])


@pytest.mark.parametrize("type", TYPES)
def test_preempt_registration(three, type):
    """SPC-4 5.13.11.2.5: a key that is not the holder's (any, for all registrants types): only these registrations go;
    scope and type are ignored."""
    first, second, third = three
    first.hold(1, type)
    second.register(2)
    third.register(3)

    assert second.out("PREEMPT", 2, 3, scope=5, type=0).good
    assert (second.keys(), second.reservation()) == ([1, 2], (0 if type in (7, 8) else 1, type))
    assert third.attentions() == [PREEMPTED]
    assert first.attentions() == second.attentions() == []


@pytest.mark.parametrize("type", [7, 8])
@pytest.mark.parametrize("new", [1, 7])
def test_preempt_all_registrants(three, type, new):
    """SPC-4 table 72: key zero under all registrants types: every other registration goes, the sender has the new."""
    first, second, third = three
    for number, peer in enumerate(three, 1):
        peer.register(number)
    assert first.out("RESERVE", 1, type=type).good

    assert second.out("PREEMPT", 2, 0, type=new).good
    assert (second.keys(), second.reservation()) == ([2], (0 if new == 7 else 2, new))
    assert first.attentions() == third.attentions() == [PREEMPTED]
    assert second.attentions() == []


@pytest.mark.parametrize("type", [1, 3, 5, 6])
def test_preempt_zero(three, type):
    """SPC-4 table 72: key zero under the other types: INVALID FIELD IN PARAMETER LIST at the key."""
    three[0].hold(1, type)
    three[1].register(2)

    assert_list_field(three[1].out("PREEMPT", 2, 0, type=1), 8)


@pytest.mark.parametrize("type", [0, *TYPES])
def test_preempt_unknown_key(three, type):
    """SPC-4 5.13.11.2.5: a key that nobody registered: RESERVATION CONFLICT, nothing changes."""
    if type:
        three[0].hold(1, type)
    three[1].register(2)
    before = three[1].generation()

    assert three[1].out("PREEMPT", 2, 99, type=1).status == CONFLICT
    assert three[1].generation() == before


def test_preempt_itself(three):
    """SPC-4 5.13.11.2.4.3: the holder may preempt itself: it stays registered with the new type; another nexus of the
    same key is removed."""
    first, second, third = three
    first.hold(1, 1)
    second.register(1)
    third.register(3)

    assert first.out("PREEMPT", 1, 1, type=3).good
    assert (first.keys(), first.reservation()) == ([1, 3], (1, 3))
    assert second.attentions() == [PREEMPTED]
    assert third.attentions() == [RELEASED]
    assert first.attentions() == []


def test_preempt_own_registration(three):
    """SPC-4 5.13.11.2.5: RESERVATION KEY and SERVICE ACTION RESERVATION KEY alike, not holding: it is unregistered
    too, without a unit attention for it."""
    first, second, third = three
    third.hold(3, 1)
    first.register(1)
    second.register(1)

    assert first.out("PREEMPT", 1, 1, type=1).good
    assert third.keys() == [3]
    assert first.attentions() == third.attentions() == []
    assert second.attentions() == [PREEMPTED]


@pytest.mark.parametrize("type", [7, 8])
def test_preempt_last_registrants(three, type):
    """SPC-4 table 71: an all registrants reservation ends with its last registration."""
    for peer in three[:2]:
        peer.register(1)
    assert three[0].out("RESERVE", 1, type=type).good

    assert three[0].out("PREEMPT", 1, 1, type=1).good
    assert (three[0].keys(), three[0].reservation()) == ([], None)


@pytest.mark.parametrize(("scope", "type"), [(1, 1), (0, 0), (0, 2), (0, 9)])
def test_preempt_bad_type(three, scope, type):
    """SPC-4 6.16.3: PREEMPT of a reservation needs a valid scope and type."""
    three[0].hold(1, 1)
    three[1].register(2)

    assert three[1].out("PREEMPT", 2, 1, scope=scope, type=type).code == asc.INVALID_FIELD_IN_CDB
    assert three[1].reservation() == (1, 1)


@pytest.mark.parametrize(("action", "aborts"), [("PREEMPT", False), ("PREEMPT AND ABORT", True)])
def test_preempt_and_abort_aborts(three, bench, action, aborts):
    """SPC-4 5.13.11.2.6: PREEMPT AND ABORT aborts the commands of every nexus registered with the key, whether it holds
    or not, and ends what they prevented; PREEMPT does neither. Nobody else's commands are touched."""
    first, second, third = three
    stranger = bench.initiator(4)
    first.hold(1, 1)
    second.register(2)
    third.register(1)
    waiting = {
        peer: peer.initiator.start(0, peer.initiator.cdb("WAIT")) for peer in (first, second, third, stranger)
    }
    assert second.out(action, 2, 1, type=1).good

    ended = {peer for peer, exchange in waiting.items() if exchange.result is not None}
    assert ended == ({first, third} if aborts else set())
    assert all(waiting[peer].result.silent for peer in ended)
    assert [set(nexuses) for nexuses in bench.server.preempted] == ([{first.nexus, third.nexus}] if aborts else [])
    expected = [PREEMPTED, asc.COMMANDS_CLEARED_BY_ANOTHER_INITIATOR] if aborts else [PREEMPTED]
    assert first.attentions() == third.attentions() == expected
    assert second.attentions() == stranger.attentions() == []


def test_preempt_and_abort_waits_for_the_store(three, bench):
    """SPC-4 5.13.11.2.6: GOOD comes after the aborted commands have ended, also those that a store works for; commands
    of the preempted nexus conflict from then on."""
    first, second, _ = three
    first.hold(1, 1)
    second.register(2)
    first.initiator.start(0, first.initiator.cdb("STORE"))
    ticket, _ = bench.target.next_io()
    data = (2).to_bytes(8, "big") + (1).to_bytes(8, "big") + bytes(8)
    cdb = second.initiator.cdb("PERSISTENT RESERVE OUT (PREEMPT AND ABORT)", type=3, data_out=data)
    preempt = second.initiator.start(0, cdb, data)
    while second.initiator.turn():
        pass
    assert preempt.result is None

    bench.target.complete(ticket, None)
    assert second.initiator.finish(preempt).good
    first.attentions()
    assert first.command("READ(6)").status == CONFLICT


def test_preempt_and_abort_itself_alone(three):
    """SPC-4 5.13.11.2.6: with its own key the command ends all others of its nexus, not itself."""
    first = three[0]
    first.hold(1, 1)
    waiting = first.initiator.start(0, first.initiator.cdb("WAIT"))

    assert first.out("PREEMPT AND ABORT", 1, 1, type=3).good
    assert waiting.result.silent
    assert first.attentions() == []
    assert first.reservation() == (1, 3)


# --- REGISTER AND MOVE -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("type", [1, 3, 5, 6])
@pytest.mark.parametrize("flags", [0, UNREG])
def test_register_and_move(three, type, flags):
    """SPC-4 5.13.8: the named nexus is registered with the key and holds the same reservation; the sender stays or,
    with UNREG, goes. No unit attention."""
    first, second, third = three
    first.hold(1, type)
    third.register(3)
    assert first.move(1, 2, second.transport_id, flags=flags).good

    assert sorted(second.keys()) == ([2, 3] if flags else [1, 2, 3])
    assert second.reservation() == (2, type)
    assert second.generation() == 3
    assert all(peer.attentions() == [] for peer in three)
    assert second.out("RELEASE", 2, type=type).good


def test_register_and_move_to_registered(bench):
    """SPC-4 5.13.8: the destination may be registered with another key, and at another target port."""
    first, second = bench.initiator(1), bench.initiator(2, port=2)
    first.hold(1, 3)
    second.register(9)

    assert first.move(1, 2, second.transport_id, port=2).good
    assert (first.keys(), first.reservation()) == ([1, 2], (2, 3))
    assert first.command("READ(6)").status == CONFLICT
    assert second.command("READ(6)").good


def test_register_and_move_refused(three):
    """SPC-4 table 70: no reservation: INVALID FIELD IN CDB; not the holder, all registrants: RESERVATION CONFLICT; key
    zero, own port, unknown port, bad TransportID: INVALID FIELD IN PARAMETER LIST."""
    first, second, third = three
    first.register(1)
    second.register(2)
    to = third.transport_id
    assert first.move(1, 3, to).code == asc.INVALID_FIELD_IN_CDB
    first.out("RESERVE", 1, type=7)
    assert first.move(1, 3, to).status == CONFLICT
    first.out("RELEASE", 1, type=7)
    first.out("RESERVE", 1, type=1)
    second.attentions()

    assert second.move(2, 3, to).status == CONFLICT
    assert_list_field(first.move(1, 0, to), 8)
    assert_list_field(first.move(1, 3, first.transport_id), 24)
    assert_list_field(first.move(1, 3, first.transport_id, port=2), 24)
    assert_list_field(first.move(1, 3, to, port=99), 18)
    assert_list_field(first.move(1, 3, to, flags=APTPL), 17, 0)
    assert_list_field(first.move(1, 3, to, length=20), 20)
    assert_list_field(first.move(1, 3, to, length=len(to) - 2), 20)
    assert_list_field(first.move(1, 3, to, length=len(to) - 4), 20)
    assert_list_field(first.move(1, 3, b"\x45" + b"\0\0\x14" + bytes(20)), 24 + 4)
    assert_list_field(first.move(1, 3, iscsi_transport_id("iqn.2026-11.org.example:nobody")), 24)
    assert first.move(1, 3, to, length=len(to) + 4).code == asc.PARAMETER_LIST_LENGTH_ERROR
    assert (first.keys(), first.reservation()) == ([1, 2], (1, 1))


# --- resets ----------------------------------------------------------------------------------------------------------


def test_generation_wraps(three, bench):
    """PRGENERATION is 32 bits that wrap."""
    three[0].register(1)
    bench.server.persistent = replace(bench.server.persistent, generation=0xFFFFFFFF)

    assert three[0].out("REGISTER", 1, 2).good
    assert three[0].generation() == 0


def test_replace_lost_nothing_lost(three):
    """SPC-4 5.13.11.3: where nothing was lost: INVALID RELEASE OF PERSISTENT RESERVATION."""
    three[0].hold(1, 1)

    result = three[0].out("REPLACE LOST RESERVATION", 0, 5, type=1)
    assert result.code == asc.INVALID_RELEASE_OF_PERSISTENT_RESERVATION
    assert three[0].reservation() == (1, 1)
    assert three[1].out("REPLACE LOST RESERVATION", 0, 5, type=1).status == CONFLICT

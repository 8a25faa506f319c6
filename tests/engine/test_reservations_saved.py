"""What outlives what: nexus loss, resets, power loss with and without APTPL, a state store that fails or is late."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reservation_bench import CONFLICT, Bench, StateDictionary, asc

from scsiemu.errors import IoFailed, IoFault
from scsiemu.io_requests import PENDING, LoadState, SaveState
from scsiemu.reservations import (
    ALL_REGISTRANTS,
    PersistentReservations,
    Registration,
    decode_reservations,
    encode_reservations,
)
from scsiemu.sam import TaskManagementFunction
from scsiemu.sense import SenseKey
from scsiemu.transport_id import iscsi_transport_id

APTPL = 0x01
LOST = asc.with_key(asc.PERSISTENT_RESERVATION_INFORMATION_LOST, SenseKey.DATA_PROTECT)

RESETS = [
    TaskManagementFunction.LOGICAL_UNIT_RESET, TaskManagementFunction.TARGET_WARM_RESET,
    TaskManagementFunction.TARGET_COLD_RESET,
]


class LateStore(StateDictionary):
    """Answers saves later, in order."""

    def __init__(self):
        super().__init__()
        self.waiting = []
        self.late = True

    def __call__(self, request, ticket, /):
        if isinstance(request, LoadState) or not self.late:
            return super().__call__(request, ticket)
        self.waiting.append((request, ticket))
        return PENDING

    def answer(self, bench, result=None):
        """Carry the oldest save out, or fail it."""
        request, ticket = self.waiting.pop(0)
        if result is None:
            super().__call__(request, ticket)
        bench.target.complete(ticket, result)


def start(peer, action, key, new=0, *, flags=0, type=0):
    """Send a PERSISTENT RESERVE OUT without waiting."""
    data = key.to_bytes(8, "big") + new.to_bytes(8, "big") + bytes(4) + bytes((flags, 0, 0, 0))
    cdb = peer.initiator.cdb(f"PERSISTENT RESERVE OUT ({action})", data_out=data, type=type)
    return peer.initiator.start(0, cdb, data)


def settle(peer):
    while peer.initiator.turn():
        pass


def restarted(store, number=1):
    """A new process on the same state: a bench and its n-th initiator."""
    bench = Bench(state=store)
    return bench, bench.initiator(number)


@pytest.mark.parametrize("function", RESETS)
def test_reserve_6_reset(function):
    """SPC-2 5.5.1: any reset ends RESERVE(6); SPC-4 5.13.5.1: persistent reservations stay."""
    bench = Bench()
    first, second = bench.initiator(1), bench.initiator(2)
    first.command("RESERVE(6)")
    bench.target.manage(function, second.nexus)
    second.attentions()
    assert second.command("TEST UNIT READY").good
    assert not bench.server.reserved

    second.hold(2, 3)
    bench.target.manage(function, first.nexus)
    first.attentions()
    assert first.command("READ(6)").status == CONFLICT
    second.attentions()
    assert second.reservation() == (2, 3)


@pytest.mark.parametrize("how", ["nexus loss", "I_T nexus reset"])
def test_reserve_6_nexus_loss(how):
    """SPC-2 5.5.1, SAM-5 6.3.4: RESERVE(6) ends with its nexus, and not with another's."""
    bench = Bench()
    first, second, third = (bench.initiator(number) for number in (1, 2, 3))
    first.command("RESERVE(6)")
    third.initiator.close()
    assert second.command("TEST UNIT READY").status == CONFLICT

    if how == "nexus loss":
        first.initiator.close()
    else:
        bench.target.manage(TaskManagementFunction.I_T_NEXUS_RESET, first.nexus)
    assert second.command("TEST UNIT READY").good


def test_aptpl_power_loss():
    """SPC-4 5.13.5.1: with APTPL registrations, type and holder outlive a power loss; PRGENERATION starts at zero."""
    store = StateDictionary()
    bench = Bench(state=store)
    first, second = bench.initiator(1), bench.initiator(2, port=2)
    first.register(1)
    second.register(2, flags=APTPL)
    assert second.out("RESERVE", 2, type=6).good

    again, stranger = restarted(store, number=3)
    assert stranger.command("READ(6)").status == CONFLICT
    assert (stranger.keys(), stranger.reservation(), stranger.generation()) == ([1, 2], (2, 6), 0)
    assert again.initiator(2, port=2).out("RELEASE", 2, type=6).good


@pytest.mark.parametrize("flags", [0, APTPL])
def test_aptpl_last_value_counts(flags):
    """SPC-4 5.13.5.1: the APTPL of the last registration, from whoever, decides for all of them."""
    store = StateDictionary()
    bench = Bench(state=store)
    bench.initiator(1).register(1, flags=APTPL ^ flags)
    bench.initiator(2).register(2, flags=flags)

    assert restarted(store)[1].keys() == ([1, 2] if flags else [])
    assert bool(store.kept) == bool(flags)


@pytest.mark.parametrize("action", ["RELEASE", "CLEAR", "PREEMPT", "REGISTER AND MOVE", "REGISTER"])
def test_aptpl_later_changes(action):
    """SPC-4 5.13.5.1: current and future registrations and the reservation are preserved: every change is saved."""
    store = StateDictionary()
    bench = Bench(state=store)
    first, second = bench.initiator(1), bench.initiator(2)
    first.register(1)
    second.register(2, flags=APTPL)
    first.out("RESERVE", 1, type=1)
    if action == "REGISTER AND MOVE":
        assert first.move(1, 7, second.transport_id, flags=3).good
    elif action == "PREEMPT":
        assert second.out(action, 2, 1, type=3).good
    else:
        assert first.out(action, 1, 0, type=1, flags=APTPL).good

    peer = restarted(store)[1]
    second.attentions()
    assert (peer.keys(), peer.reservation()) == (second.keys(), second.reservation())


def test_aptpl_saved_before_good():
    """Durability: the status waits for the state store, and until then nothing has changed for anybody."""
    store = LateStore()
    bench = Bench(state=store)
    first, second = bench.initiator(1), bench.initiator(2)
    exchange = start(first, "REGISTER", 0, 1, flags=APTPL)
    settle(first)
    assert exchange.result is None
    assert second.keys() == []

    store.answer(bench)
    settle(first)
    assert exchange.result.good
    assert second.keys() == [1]


@pytest.mark.parametrize(
    ("fault", "code"),
    [(IoFault.NO_SPACE, asc.INSUFFICIENT_REGISTRATION_RESOURCES), (IoFault.MEDIUM, asc.WRITE_ERROR)],
)
def test_aptpl_store_fails(fault, code):
    """A state store that is full or broken: the command fails and nothing has changed."""
    store = LateStore()
    bench = Bench(state=store)
    first, second = bench.initiator(1), bench.initiator(2)
    exchange = start(first, "REGISTER", 0, 1, flags=APTPL)
    store.answer(bench, IoFailed(fault))
    settle(first)

    assert exchange.result.code == code
    assert (second.keys(), second.generation(), store.kept) == ([], 0, {})


def test_aptpl_two_at_once():
    """SPC-4 5.13.1: service actions are indivisible: of two that wait for the store both count, in memory and saved."""
    store = LateStore()
    bench = Bench(state=store)
    first, second = bench.initiator(1), bench.initiator(2)
    one = start(first, "REGISTER", 0, 1, flags=APTPL)
    two = start(second, "REGISTER", 0, 2, flags=APTPL)
    while store.waiting:
        store.answer(bench)
    settle(first)

    assert one.result.good
    assert two.result.good
    assert (first.keys(), first.generation()) == ([1, 2], 2)
    store.late = False
    assert restarted(store)[1].keys() == [1, 2]


def test_aptpl_conflict_while_saving():
    """SPC-4 5.13.1: two RESERVE at once: one wins, the other conflicts, and what is saved is what the winner did."""
    store = LateStore()
    store.late = False
    bench = Bench(state=store)
    first, second = bench.initiator(1), bench.initiator(2)
    first.register(1, flags=APTPL)
    second.register(2, flags=APTPL)
    store.late = True
    one = start(first, "RESERVE", 1, type=1)
    two = start(second, "RESERVE", 2, type=3)
    while store.waiting:
        store.answer(bench)
    settle(first)

    assert one.result.good
    assert two.result.status == CONFLICT
    store.late = False
    assert restarted(store)[1].reservation() == first.reservation() == (1, 1)


def test_aptpl_aborted_while_saving():
    """An aborted command has changed nothing: what was saved for it is taken back."""
    store = LateStore()
    bench = Bench(state=store)
    first, second = bench.initiator(1), bench.initiator(2)
    exchange = start(first, "REGISTER", 0, 1, flags=APTPL)
    bench.target.manage(TaskManagementFunction.ABORT_TASK, first.nexus, 0, tag=exchange.command.tag)
    while store.waiting:
        store.answer(bench)
    settle(first)

    assert exchange.result.silent
    assert second.keys() == []
    assert store.kept == {}


_BAD_REPLACEMENTS = (
    {"key": 1, "new": 5}, {"new": 0}, {"new": 5, "flags": 0x04}, {"new": 5, "type": 2}, {"new": 5, "scope": 1},
)


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "fails"])
def test_reservations_lost(damage):
    """SPC-4 5.13.5.3.2: saved reservations that cannot be read: everything but a few commands ends with DATA PROTECT,
    PERSISTENT RESERVATION INFORMATION LOST, until REPLACE LOST RESERVATION."""
    store = StateDictionary()
    first = Bench(state=store).initiator(1)
    first.register(1, flags=APTPL)
    first.out("RESERVE", 1, type=3)
    (key, saved), = ((key, value) for key, value in store.kept.items() if key.endswith("reservations"))
    store.kept[key] = {
        "flip": saved[:9] + bytes((saved[9] ^ 1,)) + saved[10:], "cut": saved[:-1], "empty": b"", "fails": saved,
    }[damage]

    def failing(request, ticket, /):
        if damage == "fails" and isinstance(request, LoadState) and request.key == key:
            return IoFailed(IoFault.MEDIUM)
        return store(request, ticket)

    bench = Bench(state=failing)
    peer, other = bench.initiator(1), bench.initiator(2)
    for name in ("TEST UNIT READY", "READ(6)", "WRITE(6)", "RESERVE(6)", "PERSISTENT RESERVE IN (READ KEYS)", "LOOK"):
        assert peer.command(name).code == LOST, name
    assert peer.out("REGISTER", 0, 1).code == LOST
    bench.unit.attention(asc.MODE_PARAMETERS_CHANGED)       # what is pending is told before, once (SAM-5 5.3.3)
    assert [peer.command("LOOK").code for _ in range(2)] == [asc.MODE_PARAMETERS_CHANGED, LOST]
    for name in ("INQUIRY", "REPORT LUNS", "REQUEST SENSE"):
        assert peer.command(name).good, name
    for bad in _BAD_REPLACEMENTS:
        result = peer.out("REPLACE LOST RESERVATION", **{"type": 1, **bad})
        assert result.code.asc in (0x24, 0x26), bad
        assert peer.command("LOOK").code == LOST
    assert peer.out("REPLACE LOST RESERVATION", 0, 5, type=1, flags=APTPL).good
    assert (peer.keys(), peer.reservation(), peer.generation()) == ([5], (5, 1), 0)
    assert other.command("WRITE(6)").status == CONFLICT
    assert restarted(store, number=2)[1].reservation() == (5, 1)


REGISTRANTS = st.tuples(
    st.builds(
        iscsi_transport_id, st.from_regex(r"iqn\.[a-z0-9:]{1,20}", fullmatch=True), st.binary(min_size=6, max_size=6)
    ),
    st.integers(1, 65535),
)
REGISTRATIONS = st.builds(Registration, st.integers(1, (1 << 64) - 1), st.booleans())


@st.composite
def states(draw):
    """Any state that could be saved."""
    registrations = draw(st.dictionaries(REGISTRANTS, REGISTRATIONS, max_size=5))
    reservation_type = draw(st.sampled_from([0, 1, 3, 5, 6, 7, 8])) if registrations else 0
    named = reservation_type and reservation_type not in ALL_REGISTRANTS
    holder = draw(st.sampled_from(list(registrations))) if named else None
    return PersistentReservations(registrations, reservation_type, holder, persists=True)


@settings(max_examples=100)
@given(states())
def test_saved_reservations_round_trip(state):
    """Saved and restored is the same, in the same order."""
    restored = decode_reservations(encode_reservations(state))

    assert restored == state
    assert list(restored.registrations) == list(state.registrations)


@settings(max_examples=200)
@given(states(), st.data())
def test_saved_reservations_damage(state, data):
    """Cut or changed at any place, it is refused: a wrong reservation is never made of it."""
    saved = encode_reservations(state)
    at = data.draw(st.integers(0, len(saved) - 1))

    for damaged in (saved[:at], saved[:at] + bytes((saved[at] ^ data.draw(st.integers(1, 255)),)) + saved[at + 1 :]):
        with pytest.raises(ValueError, match="saved reservations"):
            decode_reservations(damaged)


def test_save_request_key():
    """The key of the saved state belongs to the unit of this target."""
    asked = []

    def store(request, ticket, /):
        asked.append(request)

    peer = Bench(state=store).initiator(1)
    peer.register(1, flags=APTPL)

    saves = [request for request in asked if isinstance(request, SaveState)]
    assert [request.key for request in saves] == [peer.bench.unit.state_prefix + "reservations"]

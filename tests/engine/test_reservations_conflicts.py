"""Which commands conflict with which reservation: the tables of SPC-4 and SPC-2, cell by cell, through the target."""

from __future__ import annotations

import pytest
from reservation_bench import CONFLICT, EXCLUSIVE_ACCESS, GOOD, TYPES, Bench, asc

READ_LIKE = ("READ(6)", "MODE SENSE(6)", "MODE SENSE(10)")
WRITE_LIKE = ("WRITE(6)", "MODE SELECT(6)", "SEND DIAGNOSTIC")
ALWAYS = ("INQUIRY", "REPORT LUNS", "REQUEST SENSE", "PERSISTENT RESERVE IN (READ KEYS)", "TEST UNIT READY")


def status(peer, name):
    """The status of a plain command; CHECK CONDITION means: got past the reservation."""
    fields = {"page_code": 0x0A} if name.startswith("MODE SENSE") else {}
    return peer.command(name, **fields).status


@pytest.mark.parametrize("type", TYPES)
@pytest.mark.parametrize("registered", [False, True])
def test_persistent_reservation_conflicts(type, registered):
    """SPC-4 table 65: what a nexus that is not the holder may do under each type, registered and not."""
    bench = Bench()
    holder, other = bench.initiator(1), bench.initiator(2)
    holder.hold(0x11, type)
    if registered:
        other.register(0x22)
    shut = type in (1, 3) or not registered
    reads = CONFLICT if shut and type in (3, 6, 8) else GOOD
    writes = CONFLICT if shut else GOOD

    for name in ALWAYS:
        assert status(other, name) == GOOD, name
    for name in READ_LIKE:
        assert status(other, name) == reads, name
    for name in WRITE_LIKE:
        assert (status(other, name) == CONFLICT) == (writes == CONFLICT), name
    for name in READ_LIKE + WRITE_LIKE + ALWAYS:
        assert status(holder, name) != CONFLICT, name


ACTIONS = {
    # service action: (registered, not registered) while another nexus holds the reservation
    "CLEAR": (GOOD, CONFLICT),
    "PREEMPT": (GOOD, CONFLICT),
    "PREEMPT AND ABORT": (GOOD, CONFLICT),
    "REGISTER": (GOOD, GOOD),
    "REGISTER AND IGNORE EXISTING KEY": (GOOD, GOOD),
    "REGISTER AND MOVE": (CONFLICT, CONFLICT),
    "RELEASE": (GOOD, CONFLICT),
    "RESERVE": (CONFLICT, CONFLICT),
}


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("type", [1, 3, 5, 6])
@pytest.mark.parametrize("registered", [False, True])
def test_persistent_reserve_out_conflicts(action, type, registered):
    """SPC-4 table 66: service actions under a reservation that another nexus holds."""
    bench = Bench()
    holder, other = bench.initiator(1), bench.initiator(2)
    holder.hold(0x11, type)
    key = 0
    if registered:
        other.register(0x22)
        key = 0x22
    if action == "REGISTER AND MOVE":
        result = other.move(key, 0x33, bench.initiator(3).transport_id)
    else:
        result = other.out(action, key, 0x11 if action.startswith("PREEMPT") else 0x33, type=type)

    assert result.status == ACTIONS[action][not registered]


def test_reserve_6_second_initiator():
    """SPC-2 5.5.1, table 10: under RESERVE(6) another nexus gets INQUIRY, REPORT LUNS, REQUEST SENSE and nothing that
    touches the unit: TEST UNIT READY, MODE SENSE, READ, WRITE and RESERVE conflict."""
    bench = Bench()
    first, second = bench.initiator(1), bench.initiator(2)
    assert first.command("RESERVE(6)").good

    for name in ("INQUIRY", "REPORT LUNS", "REQUEST SENSE", "RELEASE(6)", "RELEASE(10)"):
        assert status(second, name) == GOOD, name
    for name in ("TEST UNIT READY", *READ_LIKE, *WRITE_LIKE, "LOOK", "RESERVE(6)", "RESERVE(10)"):
        assert status(second, name) == CONFLICT, name
    for name in ("TEST UNIT READY", *READ_LIKE, "WRITE(6)", "RESERVE(6)", "RESERVE(10)"):
        assert status(first, name) == GOOD, name


@pytest.mark.parametrize("who", [1, 2])
def test_reserve_6_against_persistent_reserve(who):
    """SPC-2 5.5.1: while RESERVE holds the unit every PERSISTENT RESERVE IN and OUT conflicts, the holder's too."""
    bench = Bench()
    peers = {1: bench.initiator(1), 2: bench.initiator(2)}
    assert peers[1].command("RESERVE(10)").good

    assert peers[who].command("PERSISTENT RESERVE IN (READ KEYS)").status == CONFLICT
    assert peers[who].out("REGISTER", 0, 1).status == CONFLICT
    assert peers[1].command("RELEASE(6)").good
    assert peers[who].out("REGISTER", 0, 1).good


def test_release_6_not_holder():
    """SPC-2: RELEASE from a nexus that does not hold the reservation is GOOD and releases nothing."""
    bench = Bench()
    first, second = bench.initiator(1), bench.initiator(2)
    first.command("RESERVE(6)")

    assert second.command("RELEASE(6)").good
    assert second.command("TEST UNIT READY").status == CONFLICT
    assert first.command("RELEASE(10)").good
    assert second.command("TEST UNIT READY").good


@pytest.mark.parametrize(
    ("name", "field"),
    [
        *((f"{verb}(6)", field) for verb in ("RESERVE", "RELEASE") for field in ("third_party", "extent")),
        *(
            (f"{verb}(10)", field)
            for verb in ("RESERVE", "RELEASE")
            for field in ("third_party", "extent", "long_id", "parameter_list_length")
        ),
    ],
)
def test_reserve_options_refused(name, field):
    """SPC-2: third-party and extent reservations are optional: INVALID FIELD IN CDB at the bit that asks for them."""
    bench = Bench()
    peer = bench.initiator(1)
    layout = peer.initiator.operation(name).layout
    result = peer.command(name, **{field: 1})

    assert (result.code.asc, result.code.ascq) == (0x24, 0x00)
    assert result.sense.specific == layout.field(field).pointer
    assert bench.initiator(2).command("TEST UNIT READY").good


@pytest.mark.parametrize("name", ["RESERVE(6)", "RESERVE(10)", "RELEASE(6)", "RELEASE(10)"])
@pytest.mark.parametrize("type", TYPES)
def test_reserve_compatible_handling(name, type):
    """SPC-4 5.13.3 (CRH): a holder, or a registrant under a registrants type, gets GOOD and nothing changes; everyone
    else conflicts."""
    bench = Bench()
    holder, registered, stranger = (bench.initiator(number) for number in (1, 2, 3))
    holder.hold(0x11, type)
    registered.register(0x22)
    before = holder.reservation()

    assert holder.command(name).status == GOOD
    assert registered.command(name).status == (CONFLICT if type in (1, 3) else GOOD)
    assert stranger.command(name).status == CONFLICT
    assert holder.reservation() == before
    assert holder.command("TEST UNIT READY").good
    assert stranger.command("TEST UNIT READY").good


def test_reserve_registered_without_reservation():
    """SPC-2 5.5.1: with registrations and no persistent reservation, RESERVE and RELEASE conflict for every nexus."""
    bench = Bench()
    first, second = bench.initiator(1), bench.initiator(2)
    first.register(0x11)

    for peer in (first, second):
        assert peer.command("RESERVE(6)").status == CONFLICT
        assert peer.command("RELEASE(6)").status == CONFLICT
    assert first.out("REGISTER", 0x11, 0).good
    assert first.command("RESERVE(6)").good


def test_reservation_flag_for_the_fast_path():
    """`reserved` is true exactly while there is a reservation; registrations alone leave the fast path open."""
    bench = Bench()
    peer = bench.initiator(1)
    seen = [bench.server.reserved]
    for step in (
        lambda: peer.command("RESERVE(6)"), lambda: peer.command("RELEASE(6)"), lambda: peer.register(1),
        lambda: peer.out("RESERVE", 1, type=3), lambda: peer.out("RELEASE", 1, type=3),
        lambda: peer.out("RESERVE", 1, type=8), lambda: peer.out("REGISTER", 1, 0),
    ):
        step()
        seen.append(bench.server.reserved)

    assert seen == [False, True, False, False, True, False, True, False]


def test_conflict_before_unit_attention():
    """SAM-5 5.3.3: a reservation conflict comes before a unit attention that tells of no reset, which stays pending; a
    command that does not conflict tells it."""
    bench = Bench()
    holder, other = bench.initiator(1), bench.initiator(2)
    other.register(0x22)
    holder.hold(0x11, EXCLUSIVE_ACCESS)
    assert holder.out("PREEMPT", 0x11, 0x22, type=EXCLUSIVE_ACCESS).good

    assert [status(other, name) for name in ("READ(6)", "WRITE(6)", "MODE SELECT(6)")] == [CONFLICT] * 3
    assert other.command("TEST UNIT READY").code == asc.REGISTRATIONS_PREEMPTED
    assert other.command("TEST UNIT READY").good
    assert status(other, "READ(6)") == CONFLICT


@pytest.mark.parametrize("code", [
    asc.POWER_ON_RESET_OR_BUS_DEVICE_RESET_OCCURRED, asc.SCSI_BUS_RESET_OCCURRED, asc.I_T_NEXUS_LOSS_OCCURRED,
])
def test_reset_attention_before_conflict(code):
    """SAM-5 5.3.3: a unit attention that tells of a reset comes before a reservation conflict."""
    bench = Bench()
    holder, other = bench.initiator(1), bench.initiator(2)
    holder.hold(0x11, EXCLUSIVE_ACCESS)
    bench.unit.attention(code, only=other.nexus)

    assert other.command("READ(6)").code == code
    assert status(other, "READ(6)") == CONFLICT


@pytest.mark.parametrize("control", [0x01, 0x08, 0x20])
def test_conflict_before_invalid_fields(control):
    """SAM-5 5.3.3: a reservation conflict comes before what is wrong with a CDB."""
    bench = Bench()
    holder, other = bench.initiator(1), bench.initiator(2)
    holder.hold(0x11, EXCLUSIVE_ACCESS)

    assert other.command("READ(6)", control=control).status == CONFLICT
    assert holder.command("READ(6)", control=control).code == asc.INVALID_FIELD_IN_CDB

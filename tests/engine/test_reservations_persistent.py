"""PERSISTENT RESERVE IN and OUT, service action by service action, through the target."""

from __future__ import annotations

import pytest
from reservation_bench import CONFLICT, GOOD, TYPES, Bench, StateDictionary, asc

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


# --- PERSISTENT RESERVE IN -------------------------------------------------------------------------------------------


def test_read_keys_duplicates(three):
    """SPC-4 5.13.6.2: a key for every registered nexus, duplicates too, whatever the port."""
    for peer, key in zip(three, (7, 7, 9), strict=True):
        peer.register(key)

    assert three[0].keys() == [7, 7, 9]


def test_read_keys_truncated(three):
    """SPC-4 4.2.5.6: the allocation length cuts; ADDITIONAL LENGTH stays what it would be."""
    for peer in three:
        peer.register(5)
    for length in range(33):
        result = three[0].command("PERSISTENT RESERVE IN (READ KEYS)", allocation_length=length)
        assert result.status == GOOD
        assert len(result.data) == length
        assert result.data[4:8] == b"\0\0\0\x18"[: max(0, length - 4)]


@pytest.mark.parametrize("action", range(4, 32))
def test_persistent_reserve_in_service_action_range(three, action):
    """SPC-4 table 201: service actions from 4 on are reserved: INVALID FIELD IN CDB."""
    result = three[0].initiator.execute(0, bytes((0x5E, action, 0, 0, 0, 0, 0, 0, 255, 0)))

    assert result.code == asc.INVALID_FIELD_IN_CDB


@pytest.mark.parametrize(("state", "ptpl_c"), [(None, 0), (StateDictionary(), 1)])
def test_report_capabilities(state, ptpl_c):
    """SPC-4 6.15.4: everything is supported, all six types; PTPL_C only with a state store."""
    peer = Bench(state=state).initiator(1)

    data = peer.command("PERSISTENT RESERVE IN (REPORT CAPABILITIES)").data
    assert data == bytes((0, 8, 0x9C | ptpl_c, 0xC0, 0xEA, 0x01, 0, 0))


def test_report_capabilities_activated():
    """SPC-4 6.15.4: PTPL_A is the APTPL of the last registration."""
    peer = Bench(state=StateDictionary()).initiator(1)
    seen = []
    for flags in (APTPL, 0, APTPL):
        peer.register(1, flags=flags)
        seen.append(peer.command("PERSISTENT RESERVE IN (REPORT CAPABILITIES)").data[3] & 1)

    assert seen == [1, 0, 1]


@pytest.mark.parametrize("type", TYPES)
def test_read_reservation(three, type):
    """SPC-4 6.15.3: key, scope and type of the reservation; the key of all registrants types is zero."""
    assert three[0].reservation() is None
    three[0].hold(0x1234, type)

    assert three[1].reservation() == (0 if type in (7, 8) else 0x1234, type)


@pytest.mark.parametrize("type", TYPES)
def test_read_full_status(bench, type):
    """SPC-4 6.15.5: each nexus with key, R_HOLDER, type, port and TransportID; under all registrants types all hold."""
    first, second = bench.initiator(1), bench.initiator(2, port=2)
    first.hold(0x11, type)
    second.register(0x22)
    shared = type in (7, 8)

    assert second.full_status() == [
        (0x11, 1, type, 1, first.transport_id),
        (0x22, int(shared), type if shared else 0, 2, second.transport_id),
    ]


# --- parameter list --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [0, 1, 8, 16, 23, 25, 32])
@pytest.mark.parametrize("action", ["REGISTER", "RESERVE", "CLEAR", "PREEMPT AND ABORT", "REPLACE LOST RESERVATION"])
def test_persistent_reserve_out_list_length(three, action, length):
    """SPC-4 6.16.1: without SPEC_I_PT the list is 24 bytes long: PARAMETER LIST LENGTH ERROR, nothing happens."""
    result = three[0].out(action, data=b"\0" * length)

    assert result.code == asc.PARAMETER_LIST_LENGTH_ERROR
    assert three[0].generation() == 0


def test_persistent_reserve_out_short_data(three):
    """A list shorter than announced is not taken for a whole one."""
    result = three[0].out("REGISTER", data=bytes(23), parameter_list_length=24)

    assert result.code == asc.PARAMETER_LIST_LENGTH_ERROR


def test_persistent_reserve_out_huge_length(three):
    """4 GiB - 1 is refused before anything is fetched."""
    result = three[0].out("REGISTER", data=bytes(24), parameter_list_length=0xFFFFFFFF)

    assert result.code == asc.INVALID_FIELD_IN_CDB


@pytest.mark.parametrize(
    "action",
    ["RESERVE", "RELEASE", "CLEAR", "PREEMPT", "PREEMPT AND ABORT", "REGISTER AND IGNORE EXISTING KEY",
     "REPLACE LOST RESERVATION"],
)
def test_spec_i_pt_invalid(three, action):
    """SPC-4 6.16.3: SPEC_I_PT with any service action but REGISTER: INVALID FIELD IN PARAMETER LIST."""
    three[0].register(1)

    assert_list_field(three[0].out(action, 1, 1, type=1, flags=SPEC_I_PT, ids=b""), 20, 3)


@pytest.mark.parametrize("action", ["REGISTER", "REGISTER AND IGNORE EXISTING KEY"])
def test_aptpl_without_store(three, action):
    """SPC-4 6.16.3: APTPL where it is not supported: INVALID FIELD IN PARAMETER LIST."""
    assert_list_field(three[0].out(action, 0, 1, flags=APTPL), 20, 0)
    assert three[0].keys() == []


# --- REGISTER --------------------------------------------------------------------------------------------------------

REGISTER_TABLE = [
    # registered key, RESERVATION KEY, SERVICE ACTION RESERVATION KEY, status, keys after, generations
    (0, 0, 0, GOOD, [], 0),
    (0, 0, 5, GOOD, [5], 1),
    (0, 9, 0, CONFLICT, [], 0),
    (0, 9, 5, CONFLICT, [], 0),
    (7, 9, 0, CONFLICT, [7], 0),
    (7, 9, 5, CONFLICT, [7], 0),
    (7, 0, 5, CONFLICT, [7], 0),
    (7, 7, 0, GOOD, [], 1),
    (7, 7, 5, GOOD, [5], 1),
    (7, 7, 7, GOOD, [7], 1),
]


@pytest.mark.parametrize(("registered", "key", "new", "status", "keys", "generations"), REGISTER_TABLE)
def test_register_table(three, registered, key, new, status, keys, generations):
    """SPC-4 table 67, row by row; scope and type are ignored (5.13.7 c)."""
    if registered:
        three[0].register(registered)
    before = three[0].generation()

    assert three[0].out("REGISTER", key, new, scope=3, type=15).status == status
    assert three[0].keys() == keys
    assert three[0].generation() - before == generations


@pytest.mark.parametrize(
    ("registered", "new", "keys", "generations"), [(0, 0, [], 0), (0, 5, [5], 1), (7, 0, [], 1), (7, 5, [5], 1)]
)
def test_register_and_ignore_table(three, registered, new, keys, generations):
    """SPC-4 table 68: RESERVATION KEY is ignored."""
    if registered:
        three[0].register(registered)
    before = three[0].generation()

    assert three[0].out("REGISTER AND IGNORE EXISTING KEY", 0xBAD, new).good
    assert (three[0].keys(), three[0].generation() - before) == (keys, generations)


@pytest.mark.parametrize("type", TYPES)
@pytest.mark.parametrize("action", ["REGISTER", "REGISTER AND IGNORE EXISTING KEY"])
def test_unregister_holder(three, type, action):
    """SPC-4 5.13.11.2.3: a holder's reservation goes with its registration, but all registrants types stay while there
    is a registrant; the others hear RESERVATIONS RELEASED for registrants only types, the sender never."""
    first, second, third = three
    first.hold(1, type)
    second.register(2)

    assert first.out(action, 1, 0).good
    assert second.attentions() == ([RELEASED] if type in (5, 6) else [])
    assert first.attentions() == third.attentions() == []
    assert second.reservation() == ((0, type) if type in (7, 8) else None)
    assert second.out(action, 2, 0).good
    assert second.reservation() is None
    assert first.attentions() == second.attentions() == []


def test_register_key_of_holder(three):
    """SPC-4 5.13.7: a changed key changes no reservation; it reports the new key."""
    three[0].hold(1, 3)

    assert three[0].out("REGISTER", 1, 2).good
    assert three[1].reservation() == (2, 3)


def test_register_all_target_ports(bench):
    """SPC-4 6.16.3: ALL_TG_PT registers the initiator port at every target port, and unregisters it there."""
    here, there = bench.initiator(1), bench.initiator(1, port=2)
    assert here.out("REGISTER", 0, 5, flags=ALL_TG_PT).good

    assert here.keys() == [5, 5]
    assert here.full_status() == [(5, 2, 0, 0, here.transport_id)]
    assert there.out("RESERVE", 5, type=3).good
    assert here.command("READ(6)").status == CONFLICT
    assert here.full_status() == [(5, 0, 0, 1, here.transport_id), (5, 1, 3, 2, here.transport_id)]
    assert here.out("REGISTER", 5, 0, flags=ALL_TG_PT).good
    assert here.keys() == []
    assert here.reservation() is None


def test_register_all_target_ports_other_key(bench):
    """SPC-4 6.16.3: as if the request had come through each port: another key there conflicts, nothing happens."""
    here, there = bench.initiator(1), bench.initiator(1, port=2)
    there.register(9)

    assert here.out("REGISTER", 0, 5, flags=ALL_TG_PT).status == CONFLICT
    assert here.keys() == [9]
    assert here.out("REGISTER AND IGNORE EXISTING KEY", 0, 5, flags=ALL_TG_PT).good
    assert here.keys() == [5, 5]


def test_register_specified_ports(three):
    """SPC-4 table 67: SPEC_I_PT registers the sender and every named port with one key; one generation."""
    absent = iscsi_transport_id("iqn.2026-11.org.example:absent", b"\0\0\0\0\0\1")
    ids = three[1].transport_id + absent
    assert three[0].out("REGISTER", 0, 5, flags=SPEC_I_PT, ids=ids).good

    assert three[0].keys() == [5, 5, 5]
    assert three[0].generation() == 1
    assert [row[4] for row in three[0].full_status()] == [three[0].transport_id, three[1].transport_id, absent]
    assert three[1].out("RESERVE", 5, type=1).good
    assert three[1].attentions() == []


def test_register_specified_device(bench):
    """SPC-4 7.6.4.6: a TransportID of format 00b registers all known ports of that iSCSI device, if any."""
    first, second = bench.initiator(1), bench.initiator(2)
    name = "iqn.2026-11.org.example:host2"

    assert first.out("REGISTER", 0, 5, flags=SPEC_I_PT, ids=iscsi_transport_id(name)).good
    assert second.out("REGISTER", 5, 6).good
    unknown = iscsi_transport_id("iqn.2026-11.org.example:nobody")
    third = bench.initiator(3)
    assert_list_field(third.out("REGISTER", 0, 5, flags=SPEC_I_PT, ids=unknown), 28)


def test_register_specified_all_ports(bench):
    """SPC-4 table 69: SPEC_I_PT with ALL_TG_PT: every named initiator port at every target port."""
    first, second = bench.initiator(1), bench.initiator(2, port=2)
    assert first.out("REGISTER", 0, 5, flags=SPEC_I_PT | ALL_TG_PT, ids=second.transport_id).good

    assert first.keys() == [5] * 4
    assert [row[:2] for row in first.full_status()] == [(5, 2), (5, 2)]


def test_register_specified_refused(three):
    """SPC-4 table 67, notes b and c, 6.16.3: already registered, sender registered, bad or cut TransportIDs, lengths;
    no registration is made by any of them."""
    first, second, third = three
    second.register(2)
    good, flags = third.transport_id, SPEC_I_PT

    assert_list_field(first.out("REGISTER", 0, 5, flags=flags, ids=good + second.transport_id), 28 + len(good))
    assert_list_field(second.out("REGISTER", 2, 5, flags=flags, ids=good), 20, 3)
    assert_list_field(second.out("REGISTER", 2, 0, flags=flags, ids=good), 20, 3)
    assert_list_field(first.out("REGISTER", 0, 5, flags=flags, ids=good + b"\x85" + good[1:]), 28 + len(good), 7)
    assert_list_field(first.out("REGISTER", 0, 5, flags=flags, ids=good + good[:-4]), 24)
    assert_list_field(first.out("REGISTER", 0, 5, flags=flags, ids=b"\x06" + bytes(23)), 28, 3)
    head = bytes(8) + (5).to_bytes(8, "big") + bytes(4) + bytes((flags, 0, 0, 0))
    for tail in (b"", b"\0\0\0", (len(good) + 1).to_bytes(4, "big") + good, b"\xff" * 4 + good):
        assert first.out("REGISTER", data=head + tail).code == asc.PARAMETER_LIST_LENGTH_ERROR
    assert first.out("REGISTER", 9, 5, flags=flags, ids=b"junk").status == CONFLICT
    assert first.out("REGISTER", 0, 0, flags=flags, ids=b"junk").good
    assert first.keys() == [2]
    assert first.generation() == 1


def test_register_resources(bench):
    """SPC-4 5.13.7: past 1,024 registrations INSUFFICIENT REGISTRATION RESOURCES, and none is made."""
    first, second = bench.initiator(1), bench.initiator(2)
    names = [iscsi_transport_id(f"iqn.2026-11.org.example:{number}", bytes(6)) for number in range(1024)]

    result = first.out("REGISTER", 0, 5, flags=SPEC_I_PT, ids=b"".join(names))
    assert result.code == asc.INSUFFICIENT_REGISTRATION_RESOURCES
    assert first.keys() == []
    assert first.out("REGISTER", 0, 5, flags=SPEC_I_PT, ids=b"".join(names[1:])).good
    assert second.out("REGISTER", 0, 5).code == asc.INSUFFICIENT_REGISTRATION_RESOURCES
    assert len(first.keys()) == 1024
    assert first.out("REGISTER", 5, 6).good


def test_register_survives_nexus_loss(bench):
    """SPC-4 5.13.5.1: registration and reservation are kept by ports: a nexus that comes back has them."""
    first, second = bench.initiator(1), bench.initiator(2)
    first.hold(1, 3)
    first.initiator.close()

    assert second.command("READ(6)").status == CONFLICT
    assert second.reservation() == (1, 3)
    again = bench.initiator(1)
    assert again.command("WRITE(6)").good
    assert again.out("RELEASE", 1, type=3).good
    assert bench.initiator(1, port=2).out("RESERVE", 1, type=3).status == CONFLICT


# --- RESERVE, RELEASE, CLEAR -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("action", ["RESERVE", "RELEASE", "CLEAR", "PREEMPT", "PREEMPT AND ABORT", "REGISTER AND MOVE"])
@pytest.mark.parametrize("registered", [False, True])
def test_persistent_reserve_out_wrong_key(three, action, registered):
    """SPC-4 6.16.3, 5.13.7: from an unregistered nexus, or with another key than its own: RESERVATION CONFLICT."""
    three[1].register(2)
    if registered:
        three[0].register(1)
    if action == "REGISTER AND MOVE":
        assert three[0].move(2, 3, three[2].transport_id).status == CONFLICT
    else:
        assert three[0].out(action, 2, 2, type=1).status == CONFLICT


@pytest.mark.parametrize("type", TYPES)
@pytest.mark.parametrize("again", TYPES)
def test_reserve_again(three, type, again):
    """SPC-4 5.13.9: the holder may repeat its own reservation, with GOOD and no change; another type conflicts.
    RESERVE counts no generation."""
    three[0].hold(1, type)

    assert three[0].out("RESERVE", 1, type=again).status == (GOOD if again == type else CONFLICT)
    assert three[0].reservation() == (0 if type in (7, 8) else 1, type)
    assert three[0].generation() == 1


@pytest.mark.parametrize(
    ("scope", "type", "field"), [(0, 0, 4), (0, 2, 4), (0, 4, 4), (0, 9, 4), (0, 15, 4), (1, 1, 0), (2, 1, 0)]
)
def test_reserve_bad_type(three, scope, type, field):
    """SPC-4 6.15.3.3, 6.15.3.4: only LU_SCOPE and six types: INVALID FIELD IN CDB at SCOPE or TYPE."""
    three[0].register(1)
    result = three[0].out("RESERVE", 1, scope=scope, type=type)

    assert result.code == asc.INVALID_FIELD_IN_CDB
    assert result.sense.specific == FieldPointer(2, 7 - field)


@pytest.mark.parametrize("type", TYPES)
def test_release(three, type):
    """SPC-4 5.13.11.2.2: the reservation ends, registrations stay; every other registered nexus hears RESERVATIONS
    RELEASED for registrants only and all registrants types, nobody else and not the sender. No generation."""
    first, second, third = three
    first.hold(1, type)
    second.register(2)

    assert first.out("RELEASE", 1, type=type).good
    assert first.reservation() is None
    assert first.keys() == [1, 2]
    assert first.generation() == 2
    assert second.attentions() == ([RELEASED] if type >= 5 else [])
    assert first.attentions() == third.attentions() == []
    assert third.command("WRITE(6)").good


def test_release_no_attention(three, bench):
    """SPC-4 5.13.11.2.2 d: with NUAR one, a release establishes no unit attention."""
    three[0].hold(1, 5)
    three[1].register(2)
    bench.server.control.nuar = 1

    assert three[0].out("RELEASE", 1, type=5).good
    assert three[1].attentions() == []


@pytest.mark.parametrize("type", TYPES)
def test_release_mismatch(three, type):
    """SPC-4 5.13.11.2.2: the holder with another type or scope: INVALID RELEASE OF PERSISTENT RESERVATION."""
    three[0].hold(1, type)
    for scope, other in [(1, type), *((0, other) for other in range(16) if other != type)]:
        result = three[0].out("RELEASE", 1, scope=scope, type=other)
        assert result.code == asc.INVALID_RELEASE_OF_PERSISTENT_RESERVATION

    assert three[0].reservation() is not None


def test_release_not_holder(three):
    """SPC-4 5.13.11.2.2: a registered nexus that does not hold it, or no reservation: GOOD, nothing changes."""
    three[0].hold(1, 1)
    three[1].register(2)

    assert three[1].out("RELEASE", 2, type=1).good
    assert three[1].out("RELEASE", 2, type=15, scope=4).good
    assert three[1].reservation() == (1, 1)
    assert three[0].out("RELEASE", 1, type=1).good
    assert three[0].out("RELEASE", 1, type=1).good


@pytest.mark.parametrize("type", [0, *TYPES])
def test_clear(three, type):
    """SPC-4 5.13.11.2.7: all goes; every other registered nexus hears RESERVATIONS PREEMPTED. Any registered nexus may,
    scope and type are ignored."""
    first, second, third = three
    if type:
        first.hold(1, type)
    else:
        first.register(1)
    second.register(2)

    assert second.out("CLEAR", 2, scope=1, type=9).good
    assert (second.keys(), second.reservation(), second.generation()) == ([], None, 3)
    assert first.attentions() == [asc.RESERVATIONS_PREEMPTED]
    assert second.attentions() == third.attentions() == []

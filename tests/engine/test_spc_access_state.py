"""Target port groups and asymmetric access states."""

from __future__ import annotations

import pytest
from engine_spc_unit import World

from scsiemu import asc
from scsiemu.sam import Status
from scsiemu.sense import FieldPointer, SenseCode
from scsiemu.spc_access_state import AccessState


def descriptors(*states: tuple[int, int]) -> bytes:
    """A SET TARGET PORT GROUPS parameter list: state and group."""
    return bytes(4) + b"".join(bytes((state, 0)) + group.to_bytes(2, "big") for state, group in states)


def states(world: World) -> dict[int, tuple[int, int]]:
    """First byte and status code of each group."""
    data = world.one.command("REPORT TARGET PORT GROUPS").data[4:]
    return {int.from_bytes(data[at + 2 : at + 4], "big"): (data[at], data[at + 5]) for at in range(0, len(data), 12)}


def test_report_target_port_groups() -> None:
    """Each group with its state, what it supports, and its ports; the extended header on demand."""
    one = World().one
    groups = bytes.fromhex("00 8f 0001 00 00 00 01 0000 0001  00 8f 0002 00 00 00 01 0000 0002")

    assert one.command("REPORT TARGET PORT GROUPS").data == bytes((0, 0, 0, 24)) + groups
    assert one.command("REPORT TARGET PORT GROUPS", parameter_data_format=1).data == bytes(
        (0, 0, 0, 28, 0x10, 0, 0, 0)
    ) + groups
    result = one.command("REPORT TARGET PORT GROUPS", parameter_data_format=2)
    assert result.sense is not None
    assert result.sense.specific == FieldPointer(1, 7)


def test_set_target_port_groups() -> None:
    """States are set, all others hear of it, the status code tells how."""
    world = World()
    result = world.one.command("SET TARGET PORT GROUPS", data_out=descriptors((AccessState.STANDBY, 2)))

    assert result.good
    assert states(world) == {1: (0, 0), 2: (2, 1)}
    assert world.one.command("TEST UNIT READY").good
    assert world.two.command("TEST UNIT READY").code == asc.ASYMMETRIC_ACCESS_STATE_CHANGED


def test_set_target_port_groups_same_state() -> None:
    """Setting what is so already is no change."""
    world = World()

    assert world.one.command("SET TARGET PORT GROUPS", data_out=descriptors((0, 2))).good
    assert world.two.command("TEST UNIT READY").good


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (bytes(3), asc.PARAMETER_LIST_LENGTH_ERROR), (bytes(6), asc.PARAMETER_LIST_LENGTH_ERROR),
        (descriptors((0, 1), (0, 9)), asc.INVALID_FIELD_IN_PARAMETER_LIST),
        (descriptors((2, 1), (4, 2)), asc.INVALID_FIELD_IN_PARAMETER_LIST),
        (descriptors((2, 1), (0xF, 2)), asc.INVALID_FIELD_IN_PARAMETER_LIST),
        (descriptors((2, 1), (0x12, 2)), asc.INVALID_FIELD_IN_PARAMETER_LIST),
    ],
)
def test_set_target_port_groups_refuses(data: bytes, code: SenseCode) -> None:
    """A wrong descriptor refuses the whole list."""
    world = World()

    assert world.one.command("SET TARGET PORT GROUPS", data_out=data).code == code
    assert states(world) == {1: (0, 0), 2: (0, 0)}


@pytest.mark.parametrize(
    ("state", "allowed", "code"),
    [
        (AccessState.ACTIVE_NON_OPTIMIZED, {"INQUIRY", "TEST UNIT READY", "MODE SENSE(10)", "LOG SENSE"}, None),
        (AccessState.STANDBY, {"INQUIRY", "MODE SENSE(10)", "LOG SENSE"},
         asc.LOGICAL_UNIT_NOT_ACCESSIBLE_TARGET_PORT_IN_STANDBY_STATE),
        (AccessState.UNAVAILABLE, {"INQUIRY"}, asc.LOGICAL_UNIT_NOT_ACCESSIBLE_TARGET_PORT_IN_UNAVAILABLE_STATE),
        (AccessState.TRANSITIONING, {"INQUIRY"}, asc.LOGICAL_UNIT_NOT_ACCESSIBLE_ASYMMETRIC_ACCESS_STATE_TRANSITION),
    ],
)
def test_access_states(state: int, allowed: set[str], code: SenseCode | None) -> None:
    """What a state allows, by the port that the command came through (SPC-5 5.17.2.4)."""
    world = World()
    world.server.set_access_state(2, state, preferred=True)
    for initiator in (world.one, world.two):
        assert initiator.command("REQUEST SENSE").data[12:14] == bytes((0x2A, 0x06))
        for name in ("INQUIRY", "TEST UNIT READY", "MODE SENSE(10)", "LOG SENSE"):
            result = initiator.command(name, **({"page_code": 0x0A} if name.startswith("MODE") else {}))
            if initiator is world.one or name in allowed:
                assert result.good, name
            else:
                assert result.code == code
    assert states(world)[2] == (0x80 | state, 2)


def test_set_target_port_groups_out_of_unavailable() -> None:
    """From an unavailable port SET TARGET PORT GROUPS brings the port back."""
    world = World()
    world.server.set_access_state(2, AccessState.UNAVAILABLE)
    world.two.clear_attentions()

    assert world.two.command("SET TARGET PORT GROUPS", data_out=descriptors((0, 2))).good
    assert world.two.command("TEST UNIT READY").good


def test_access_state_behind_a_reservation() -> None:
    """A reservation conflict comes before the sense data of an access state (SAM-5 5.3.3)."""
    world = World()
    assert world.two.command("RESERVE(6)").good
    world.server.set_access_state(1, AccessState.STANDBY)
    world.one.clear_attentions()

    assert world.one.command("TEST UNIT READY").status == Status.RESERVATION_CONFLICT
    world.two.clear_attentions()
    assert world.two.command("RELEASE(6)").good
    assert world.one.command("TEST UNIT READY").code == asc.LOGICAL_UNIT_NOT_ACCESSIBLE_TARGET_PORT_IN_STANDBY_STATE


def test_access_state_closes_the_fast_path() -> None:
    """While a group is not active no operation takes its fast form; afterwards it does again."""
    world = World()
    fast = world.server.fast_operations
    world.server.set_access_state(2, AccessState.STANDBY)
    closed = world.server.fast_operations
    world.server.set_access_state(2, AccessState.ACTIVE_OPTIMIZED)

    assert closed == [None] * 256
    assert closed is not fast
    assert world.server.fast_operations is fast

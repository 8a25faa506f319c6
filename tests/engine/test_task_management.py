"""Task management functions: whom they hit, when they answer, what others learn (SAM-5 clause 7)."""

from __future__ import annotations

import pytest
from engine_bench_unit import Harness

from scsiemu import asc
from scsiemu.sam import Status
from scsiemu.sam import TaskManagementFunction as Function
from scsiemu.sam import TaskManagementResponse as Response

COMPLETE = Response.FUNCTION_COMPLETE


def test_abort_task_waits_for_store() -> None:
    """SAM-5 7.2: ABORT TASK answers after its effects: when the store has let go of the command."""
    harness = Harness()
    harness.read(0)
    harness.manage(Function.ABORT_TASK, tag=1)
    assert harness.responses() == []

    harness.answer(*harness.requests()[0])
    assert harness.responses() == [COMPLETE]
    assert harness.statuses() == [(1, None)]


def test_abort_task_of_nothing() -> None:
    """SAM-5 7.2: FUNCTION COMPLETE also where no such command is there."""
    harness = Harness()
    harness.manage(Function.ABORT_TASK, tag=99)

    assert harness.responses() == [COMPLETE]


def test_abort_task_set_spares_others() -> None:
    """SAM-5 7.3: ABORT TASK SET ends the commands of its own nexus only."""
    harness = Harness(nexuses=2)
    harness.read(0)
    harness.read(1, nexus=1)
    harness.manage(Function.ABORT_TASK_SET)
    for item in harness.requests():
        harness.answer(*item)

    assert harness.statuses() == [(1, None), (2, Status.GOOD)]
    assert harness.responses() == [COMPLETE]


def test_clear_task_set_tells_others() -> None:
    """SAM-5 7.5: CLEAR TASK SET ends all; others get COMMANDS CLEARED BY ANOTHER INITIATOR."""
    harness = Harness(nexuses=2)
    harness.read(0, nexus=1)
    harness.manage(Function.CLEAR_TASK_SET)
    harness.answer(*harness.requests()[0])

    assert harness.statuses() == [(1, None)]
    assert harness.nexuses[1].units[0].attentions == [asc.COMMANDS_CLEARED_BY_ANOTHER_INITIATOR]
    assert harness.nexuses[0].units[0].attentions == []


@pytest.mark.parametrize(
    ("function", "code", "everywhere"),
    [
        (Function.LOGICAL_UNIT_RESET, asc.BUS_DEVICE_RESET_FUNCTION_OCCURRED, False),
        (Function.TARGET_WARM_RESET, asc.SCSI_BUS_RESET_OCCURRED, True),
        (Function.TARGET_COLD_RESET, asc.POWER_ON_RESET_OR_BUS_DEVICE_RESET_OCCURRED, True),
    ],
)
def test_reset_reaches(function: Function, code: object, *, everywhere: bool) -> None:
    """SAM-5 6.3: a reset ends all commands and gives every nexus its attention, at the unit or at all units."""
    harness = Harness(nexuses=2, units=2)
    harness.read(0, nexus=1)
    harness.manage(function)
    harness.answer(*harness.requests()[0])

    assert harness.responses() == [COMPLETE]
    assert harness.statuses() == [(1, None)]
    for nexus in harness.nexuses:
        assert nexus.units[0].attentions == [code]
        assert nexus.units[1 << 48].attentions == ([code] if everywhere else [])


def test_nexus_reset_is_own() -> None:
    """SAM-5 7.6: I_T NEXUS RESET ends the nexus' commands at every unit; it alone gets the attention."""
    harness = Harness(nexuses=2, units=2)
    harness.read(0)
    harness.read(1, nexus=1)
    harness.manage(Function.I_T_NEXUS_RESET)
    for item in harness.requests():
        harness.answer(*item)

    assert harness.statuses() == [(1, None), (2, Status.GOOD)]
    assert harness.nexuses[0].units[1 << 48].attentions == [asc.I_T_NEXUS_LOSS_OCCURRED]
    assert harness.nexuses[1].units[0].attentions == []


def test_query_functions_answer() -> None:
    """SAM-5 7.8 to 7.10: FUNCTION SUCCEEDED means yes; QUERY ASYNCHRONOUS EVENT carries the attention."""
    harness = Harness()
    harness.manage(Function.QUERY_TASK, tag=1)
    harness.manage(Function.QUERY_TASK_SET)
    harness.read(0)
    harness.manage(Function.QUERY_TASK, tag=1)
    harness.manage(Function.QUERY_TASK_SET)
    assert harness.responses() == [COMPLETE, COMPLETE, Response.FUNCTION_SUCCEEDED, Response.FUNCTION_SUCCEEDED]

    harness.unit.attention(asc.MODE_PARAMETERS_CHANGED)
    harness.manage(Function.QUERY_ASYNCHRONOUS_EVENT)
    response = harness.target.next_management_response()
    assert response is not None
    assert (response.response, response.additional) == (Response.FUNCTION_SUCCEEDED, bytes((0x16, 0x2A, 0x01)))


def test_function_at_incorrect_lun() -> None:
    """SAM-5 7.1: a function at a LUN without a unit answers INCORRECT LOGICAL UNIT NUMBER."""
    harness = Harness()
    harness.manage(Function.ABORT_TASK_SET, lun=5)

    assert harness.responses() == [Response.INCORRECT_LOGICAL_UNIT_NUMBER]


def test_aborted_twice_ends_once() -> None:
    """Two resets at once: the command ends once and both answer after it."""
    harness = Harness()
    harness.read(0)
    harness.manage(Function.LOGICAL_UNIT_RESET)
    harness.manage(Function.TARGET_WARM_RESET)
    assert harness.responses() == []
    harness.answer(*harness.requests()[0])

    assert harness.responses() == [COMPLETE, COMPLETE]
    assert harness.statuses() == [(1, None)]


def test_late_data_out_of_aborted_is_dropped() -> None:
    """Data-Out that comes for a command aborted meanwhile changes nothing."""
    harness = Harness()
    command = harness.write(0)
    harness.requests()
    assert command.wanted == 512
    harness.manage(Function.ABORT_TASK, tag=1)
    harness.target.data_out(command)

    assert harness.requests() == []


@pytest.mark.parametrize("drain", [False, True])
def test_remove_unit_with_io(*, drain: bool) -> None:
    """A unit removed with I/O in flight: commands end as asked, others hear of the inventory, then it is gone."""
    harness = Harness(units=2)
    while harness.target.next_event():
        pass
    harness.read(0)
    harness.read(1)
    harness.target.remove_unit(0, drain=drain)
    assert [type(harness.target.next_event()).__name__ for _ in range(3)] == [
        "AttentionEstablished", "InventoryChanged", "NoneType",
    ]
    for item in harness.requests():
        harness.answer(*item)

    want = Status.GOOD if drain else Status.CHECK_CONDITION
    assert harness.statuses() == [(1, want), (2, want)]
    assert type(harness.target.next_event()).__name__ == "UnitRemoved"
    assert harness.nexuses[0].units[1 << 48].attentions == [asc.REPORTED_LUNS_DATA_HAS_CHANGED]
    harness.read(0)
    assert harness.completions()[0].sense_data[12:14] == bytes((0x25, 0))

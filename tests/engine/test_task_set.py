"""The order of commands in a task set, ACA, and the statuses of a full one (SAM-5 clause 8 and 5.9)."""

from __future__ import annotations

import pytest
from engine_bench_unit import SIX, TEN, Harness

from scsiemu import asc
from scsiemu.command import Completion, Steps
from scsiemu.io_requests import Read, Write
from scsiemu.sam import Status, TaskAttribute, TaskManagementFunction
from scsiemu.sense import decode_sense
from scsiemu.task_set import Alone

HOQ, ORDERED, ACA = TaskAttribute.HEAD_OF_QUEUE, TaskAttribute.ORDERED, TaskAttribute.ACA


def test_simple_runs_beside_simple() -> None:
    """SAM-5 8.6.2: SIMPLE commands that do not overlap may all be enabled at once."""
    harness = Harness()
    for lba in range(3):
        harness.read(lba)

    assert harness.started() == [1, 2, 3]


def test_ordered_waits_for_older() -> None:
    """SAM-5 8.6.3: ORDERED starts when everything older has ended, and holds what is younger."""
    harness = Harness()
    harness.read(0)
    harness.read(1, attribute=ORDERED)
    harness.read(2)

    assert harness.started() == [1]
    harness.answer(*harness.outstanding[0])
    assert harness.started() == [2]
    harness.answer(*harness.outstanding[0])
    assert harness.started() == [3]


def test_head_of_queue_passes_dormant() -> None:
    """SAM-5 8.6.4: HEAD OF QUEUE starts at once and goes before what is dormant."""
    harness = Harness()
    harness.read(0)
    harness.read(1, attribute=ORDERED)
    harness.read(2, attribute=HOQ)

    assert harness.started() == [1, 3]
    first, head = harness.outstanding
    harness.answer(*first)
    assert harness.started() == []
    harness.answer(*head)
    assert harness.started() == [2]


def test_overlapping_write_keeps_order() -> None:
    """QUEUE ALGORITHM MODIFIER 0000b: a read after an overlapping write of the nexus sees the write."""
    harness = Harness()
    harness.write(0, 4)
    harness.read(3, 2)
    harness.read(4, 1)

    assert [type(request) for _, request in harness.requests()] == [Write, Read]


def test_exclusive_is_not_interleaved() -> None:
    """A read-modify-write operation sees no write of its blocks between its steps."""
    harness = Harness()
    harness.submit(TEN.build(opcode=0x89, lba=0, transfer_length=1), out=b"n" * 512)
    harness.write(0)

    assert harness.started() == [1]
    harness.answer(*harness.outstanding[0])
    assert harness.started() == [1]
    harness.answer(*harness.outstanding[0])
    assert harness.started() == [2]


def test_full_set_tells_nexus() -> None:
    """SAM-5 5.3.1: TASK SET FULL for a nexus with commands in the set, BUSY for one without."""
    harness = Harness(nexuses=2)
    harness.unit.task_set.limit = 1
    harness.read(0)
    harness.read(1)
    harness.read(1, nexus=1)

    assert harness.statuses() == [(2, Status.TASK_SET_FULL), (3, Status.BUSY)]


def test_overlapped_tag_aborts_all() -> None:
    """SAM-5 5.11: a tag in use ends with OVERLAPPED COMMANDS ATTEMPTED and aborts the nexus' commands."""
    harness = Harness()
    harness.read(0)
    harness.read(1)
    harness.submit(TEN.build(opcode=0x28, transfer_length=1), tag=1)

    completion = harness.completions()[0]
    assert completion.command.tag == 1
    assert completion.sense is not None
    assert completion.sense.code == asc.OVERLAPPED_COMMANDS_ATTEMPTED
    for item in harness.requests():
        harness.answer(*item)
    assert harness.statuses() == [(1, None), (2, None)]


def test_aca_blocks_and_clears() -> None:
    """SAM-5 5.9: NACA with CHECK CONDITION makes an ACA; ACA ACTIVE till CLEAR ACA; others get BUSY."""
    harness = Harness(nexuses=2)
    harness.refuse(naca=1)
    harness.read(0)
    harness.read(0, nexus=1)
    harness.read(0, nexus=1, naca=1)
    assert harness.statuses() == [
        (1, Status.CHECK_CONDITION), (2, Status.ACA_ACTIVE), (3, Status.BUSY), (4, Status.ACA_ACTIVE),
    ]

    harness.manage(TaskManagementFunction.CLEAR_ACA)
    harness.read(0)
    assert harness.started() == [5]


def test_aca_command_runs_alone() -> None:
    """SAM-5 5.9.3: one command with the ACA attribute from the faulted nexus is performed during ACA."""
    harness = Harness()
    harness.read(7)
    harness.refuse(naca=1)
    harness.read(1, attribute=ACA)
    harness.read(2, attribute=ACA)

    assert harness.started() == [1, 3]
    assert harness.statuses() == [(2, Status.CHECK_CONDITION), (4, Status.ACA_ACTIVE)]
    harness.answer(*harness.outstanding[0])
    assert harness.statuses() == []
    harness.manage(TaskManagementFunction.CLEAR_ACA)
    harness.answer(*harness.outstanding[1])
    assert harness.statuses() == [(1, Status.GOOD), (3, None)]


def test_aca_for_functions_only() -> None:
    """SPC-5 7.5.10: with TMF_ONLY the faulted nexus has ACA ACTIVE for ACA commands too; CLEAR ACA ends it."""
    harness = Harness()
    harness.unit.server.control.tmf_only = 1
    harness.refuse(naca=1)
    harness.read(1, attribute=ACA)
    assert harness.statuses() == [(1, Status.CHECK_CONDITION), (2, Status.ACA_ACTIVE)]

    harness.manage(TaskManagementFunction.CLEAR_ACA)
    harness.read(1)
    assert harness.started() == [3]


def test_aca_attribute_without_aca() -> None:
    """SAM-5 8.6.5: the ACA attribute without an ACA condition is INVALID MESSAGE ERROR."""
    harness = Harness()
    harness.read(0, attribute=ACA)

    sense = decode_sense(harness.completions()[0].sense_data)
    assert sense is not None
    assert (sense.code.key, sense.code.asc) == (5, 0x49)


@pytest.mark.parametrize(("qerr", "aborted"), [(0, []), (1, [1, 2]), (3, [1])])
def test_qerr_aborts(qerr: int, aborted: list[int]) -> None:
    """SPC-5 7.5.10: QERR 00b aborts nothing, 01b the task set, 11b the commands of the nexus."""
    harness = Harness(nexuses=2)
    harness.unit.server.control.qerr = qerr
    harness.read(0)
    harness.read(1, nexus=1)
    harness.refuse()
    assert harness.statuses() == [(3, Status.CHECK_CONDITION)]

    for item in harness.requests():
        harness.answer(*item)
    assert [tag for tag, status in harness.statuses() if status is None] == aborted


def test_tas_tells_other_nexus() -> None:
    """SAM-5 5.6: with TAS another nexus' aborted command ends with TASK ABORTED and there is no attention."""
    harness = Harness(nexuses=2)
    harness.unit.server.control.tas = 1
    harness.read(0, nexus=1)
    harness.manage(TaskManagementFunction.CLEAR_TASK_SET)
    for item in harness.requests():
        harness.answer(*item)

    assert harness.statuses() == [(1, Status.TASK_ABORTED)]
    assert harness.nexuses[1].units[0].attentions == []


def test_tst_separates_nexuses() -> None:
    """SPC-5 7.5.10: with TST 001b ORDERED of one nexus does not wait for another."""
    harness = Harness(nexuses=2)
    harness.unit.server.control.tst = 1
    harness.read(0)
    harness.read(1, nexus=1, attribute=ORDERED)

    assert harness.started() == [1, 2]


def test_unit_attention_interlock_keeps() -> None:
    """SPC-5 7.5.10: UA_INTLCK_CTRL 10b reports an attention without clearing it."""
    harness = Harness(clear=False)
    harness.unit.server.control.ua_intlck_ctrl = 2
    for _ in range(2):
        harness.submit(SIX.build(opcode=0))

    assert [status for _, status in harness.statuses()] == [Status.CHECK_CONDITION] * 2


def test_unit_attention_interlock_establishes() -> None:
    """SPC-5 7.5.10: UA_INTLCK_CTRL 11b makes a unit attention of BUSY and its like."""
    harness = Harness(nexuses=2)
    harness.unit.server.control.ua_intlck_ctrl = 3
    harness.unit.task_set.limit = 1
    harness.read(0)
    harness.read(0, nexus=1)

    assert [(code.key, code.asc, code.ascq) for code in harness.nexuses[1].units[0].attentions] == [(6, 0x2C, 0x07)]


def test_broken_operation_answers() -> None:
    """An exception of ours is HARDWARE ERROR, INTERNAL TARGET FAILURE, and an event for the operator."""
    harness = Harness()
    harness.target.next_event()
    harness.submit(SIX.build(opcode=4))

    completion = harness.completions()[0]
    assert completion.sense is not None
    assert completion.sense.code == asc.INTERNAL_TARGET_FAILURE
    assert "planted" in str(harness.target.next_event())


# --- work that wants to be alone -------------------------------------------------------------------------------------


def alone() -> Steps:
    """Work that reads once it is alone."""
    yield Alone()
    yield Read(0, 512)
    return Completion()


def test_alone_waits_and_is_waited_for() -> None:
    """Commands that came before end first, what touches the medium and comes behind waits; others do not."""
    harness = Harness()
    harness.read(0)
    work = [harness.unit.start_background(alone(), name) for name in ("first", "second")]
    harness.write(9)
    harness.submit(bytes(6))
    assert harness.statuses() == [(3, Status.GOOD)]
    (reading,) = harness.requests()
    harness.answer(*reading)
    for task in work:
        (request,) = harness.requests()
        assert request[0] is task
        harness.answer(*request)
        assert task.done

    assert harness.started() == [2]
    harness.answer(*harness.outstanding[0])
    assert harness.statuses() == [(1, Status.GOOD), (2, Status.GOOD)]
    assert len(harness.unit.task_set) == 0


def test_alone_begins_at_once() -> None:
    """Where there is no command it does not wait; a reset ends it, and what waited goes on."""
    harness = Harness()
    task = harness.unit.start_background(alone(), "work")
    harness.write(9)
    (request,) = harness.requests()
    harness.manage(TaskManagementFunction.LOGICAL_UNIT_RESET)
    harness.answer(*request)

    assert (task.done, task.completion) == (True, None)
    assert harness.requests() == []
    assert len(harness.unit.task_set) == 0
    assert harness.responses()


def test_reset_of_work_that_an_aca_holds() -> None:
    """A reset ends work that an ACA condition holds: it does not go on when the condition is cleared with it."""
    harness = Harness()
    task = harness.unit.start_background(alone(), "work")
    (request,) = harness.requests()
    harness.refuse(naca=1)
    harness.answer(*request)
    harness.manage(TaskManagementFunction.LOGICAL_UNIT_RESET)

    assert (task.done, task.completion) == (True, None)
    assert harness.requests() == []
    assert len(harness.unit.task_set) == 0


def test_alone_during_aca() -> None:
    """An ACA condition holds it as it holds commands."""
    harness = Harness()
    task = harness.unit.start_background(alone(), "work")
    (request,) = harness.requests()
    harness.refuse(naca=1)
    harness.answer(*request)
    assert not task.done
    harness.manage(TaskManagementFunction.CLEAR_ACA)

    assert task.done

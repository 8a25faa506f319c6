"""Each command ends exactly once, whatever is interleaved (SAM-5 clause 8): hypothesis drives the whole target."""

from __future__ import annotations

from collections import Counter

from engine_bench_unit import SIX, TEN, Harness
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from scsiemu.command import Command, TaskState
from scsiemu.errors import IoFailed, IoFault
from scsiemu.sam import TaskAttribute, TaskManagementFunction

ATTRIBUTES = st.sampled_from(
    [TaskAttribute.SIMPLE] * 3 + [TaskAttribute.ORDERED, TaskAttribute.HEAD_OF_QUEUE, TaskAttribute.ACA]
)
NEXUSES = st.integers(0, 2)
CDBS = st.one_of(
    st.builds(
        lambda opcode, lba, count, naca: TEN.build(opcode=opcode, lba=lba, transfer_length=count, control=naca << 2),
        st.sampled_from([0x28, 0x2A, 0x89]), st.integers(0, 8), st.integers(0, 3), st.integers(0, 1),
    ),
    st.builds(lambda opcode, naca: SIX.build(opcode=opcode, control=naca << 2),
              st.sampled_from([0x00, 0x03]), st.integers(0, 1)),
    st.binary(min_size=6, max_size=16),
)


class TaskSetMachine(RuleBasedStateMachine):
    """Three initiators, two units, stores that answer late, in any order, or fail."""

    def __init__(self) -> None:
        super().__init__()
        self.harness = Harness(nexuses=3, units=2)
        self.submitted: list[Command] = []
        self.ended: Counter[int] = Counter()
        self.outstanding: list[tuple[Command, object]] = []
        self.wanted: list[Command] = []
        self.asked = self.answered = 0

    def collect(self) -> None:
        for completion in self.harness.completions():
            self.ended[id(completion.command)] += 1
            assert completion.command.state == TaskState.ENDED
        self.outstanding += self.harness.requests()
        while (request := self.harness.target.next_data_out_request()) is not None:
            request.buffer[:] = b"d" * request.length
            self.wanted.append(request.command)
        self.answered += len(self.harness.responses())

    @rule(cdb=CDBS, nexus=NEXUSES, attribute=ATTRIBUTES, lun=st.integers(0, 2), have=st.integers(0, 1024))
    def submit(self, cdb: bytes, nexus: int, attribute: int, lun: int, have: int) -> None:
        harness = self.harness
        harness.tag += 1
        command = Command(harness.nexuses[nexus], lun << 48, cdb, harness.tag, attribute, b"o" * have, 1024, 4096)
        self.submitted.append(command)
        harness.target.submit(command)
        self.collect()

    @precondition(lambda self: self.outstanding)
    @rule(data=st.data())
    def store_answers(self, data: st.DataObject) -> None:
        index = data.draw(st.integers(0, len(self.outstanding) - 1))
        command, request = self.outstanding.pop(index)
        if data.draw(st.booleans()):
            self.harness.answer(command, request)
        else:
            self.harness.target.complete(command, IoFailed(IoFault.MEDIUM, "planted"))
        self.collect()

    @precondition(lambda self: self.wanted)
    @rule()
    def data_comes(self) -> None:
        self.harness.target.data_out(self.wanted.pop(0))
        self.collect()

    @rule(
        function=st.sampled_from(list(TaskManagementFunction)), nexus=NEXUSES, lun=st.integers(0, 2),
        back=st.integers(0, 6),
    )
    def manage(self, function: TaskManagementFunction, nexus: int, lun: int, back: int) -> None:
        self.asked += 1
        self.harness.manage(function, nexus, lun, tag=max(0, self.harness.tag - back))
        self.collect()

    @rule(nexus=NEXUSES)
    def lose_nexus(self, nexus: int) -> None:
        self.harness.target.nexus_lost(self.harness.nexuses[nexus])
        self.harness.nexuses[nexus] = self.harness.establish(f"initiator{nexus}")
        self.collect()

    @rule(qerr=st.sampled_from([0, 1, 3]), tas=st.integers(0, 1), tst=st.integers(0, 1), lun=st.integers(0, 1))
    def change_control(self, qerr: int, tas: int, tst: int, lun: int) -> None:
        control = self.harness.units[lun].server.control
        if not self.harness.units[lun].task_set.commands:
            control.qerr, control.tas, control.tst = qerr, tas, tst

    @invariant()
    def ended_at_most_once(self) -> None:
        assert all(count == 1 for count in self.ended.values())
        for command in self.submitted:
            assert (command.state == TaskState.ENDED) == (self.ended[id(command)] == 1)

    def teardown(self) -> None:
        """Let everything finish: then each command has ended once and each function has answered."""
        for lun in (0, 1):
            for nexus in range(3):
                self.harness.manage(TaskManagementFunction.CLEAR_ACA, nexus, lun)
                self.asked += 1
        self.collect()
        # What waits behind an ACA condition may establish another one when it runs: so until nothing is left.
        while self.outstanding or self.wanted or any(unit.task_set.commands for unit in self.harness.units):
            if self.outstanding:
                self.harness.answer(*self.outstanding.pop(0))
            elif self.wanted:
                self.harness.target.data_out(self.wanted.pop(0))
            self.collect()
            for lun in (0, 1):
                for nexus in range(3):
                    self.harness.manage(TaskManagementFunction.CLEAR_ACA, nexus, lun)
                    self.asked += 1
            self.collect()
        self.ended_at_most_once()
        assert sum(self.ended.values()) == len(self.submitted)
        assert self.answered == self.asked
        assert all(not unit.task_set.commands for unit in self.harness.units)


TaskSetMachine.TestCase.settings = settings(max_examples=120, stateful_step_count=40, deadline=None)
TestTaskSetMachine = TaskSetMachine.TestCase

"""The task set against its rules written down plainly: with a look at every command, every time."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from scsiemu.command import Command, TaskState
from scsiemu.nexus import InitiatorPort, Nexus, TargetPort
from scsiemu.sam import Status, TaskAttribute
from scsiemu.task_set import ControlParameters, TaskSet

NEXUSES = [Nexus(InitiatorPort(f"initiator{number}", b""), TargetPort("port", 1)) for number in range(3)]
READ, WRITE = 0x28, 0x2A

EXTENTS = st.one_of(
    st.none(),
    st.tuples(st.integers(0, 6), st.integers(1, 4), st.booleans()),
    st.tuples(st.integers(0, 1000), st.integers(1, 700), st.booleans()),
    st.tuples(st.integers(0, 50000), st.just(1 << 40), st.booleans()),
)
COMMANDS = st.tuples(
    st.sampled_from(NEXUSES),
    st.sampled_from([TaskAttribute.SIMPLE] * 4 + [TaskAttribute.ORDERED, TaskAttribute.HEAD_OF_QUEUE]),
    EXTENTS,
)
STEPS = st.lists(
    st.one_of(
        COMMANDS, st.integers(0, 40), st.sampled_from(["tst", "fault", "clear"]),
    ),
    max_size=60,
)


def may_start(command: Command, alive: list[Command], tst: int, faulted: set[Nexus]) -> bool:
    """The table of task_set.py, and overlapping blocks in order."""
    if command.nexus in faulted or (faulted and not tst):
        return False
    if command.attribute == TaskAttribute.HEAD_OF_QUEUE:
        return True
    others = [other for other in alive if other is not command and (not tst or other.nexus is command.nexus)]
    older = [other for other in others if alive.index(other) < alive.index(command)]
    if any(other.attribute == TaskAttribute.HEAD_OF_QUEUE for other in others):
        return False
    if older and command.attribute == TaskAttribute.ORDERED:
        return False
    if any(other.attribute == TaskAttribute.ORDERED for other in older):
        return False
    return not any(overlap(other, command) for other in alive[: alive.index(command)])


def overlap(one: Command, other: Command) -> bool:
    if one.extent is None or other.extent is None or not (one.extent[2] or other.extent[2]):
        return False
    return one.extent[0] < other.extent[1] and other.extent[0] < one.extent[1]


@settings(max_examples=200, deadline=None)
@given(steps=STEPS)
def test_task_set_obeys_its_table(steps: list[object]) -> None:
    """At each moment exactly the commands have started that the rules let start, in order of arrival."""
    control = ControlParameters()
    task_set = TaskSet(control)
    alive: list[Command] = []
    for tag, step in enumerate(steps):
        if isinstance(step, int):
            if alive:
                gone = alive.pop(step % len(alive))
                task_set.remove(gone)
        elif step == "tst":
            control.tst = not control.tst
        elif step == "fault":
            task_set.faulted.add(NEXUSES[tag % 3])
        elif step == "clear":
            for nexus in list(task_set.faulted):
                task_set.clear_aca(nexus)
        else:
            assert isinstance(step, tuple)
            nexus, attribute, extent = step
            command = Command(nexus, 0, bytes((WRITE if extent and extent[2] else READ, *bytes(9))), tag, attribute)
            command.prepare()
            command.extent = None if extent is None else (extent[0], extent[0] + extent[1], extent[2])
            if task_set.admit(command) == Status.GOOD:
                alive.append(command)
        started = []
        while (command := task_set.next_startable()) is not None:
            assert may_start(command, alive, control.tst, task_set.faulted)
            assert command.state == TaskState.ENABLED
            started.append(alive.index(command))
        assert started == sorted(started)
        for command in alive:
            if command.state == TaskState.DORMANT:
                assert not may_start(command, alive, control.tst, task_set.faulted)
        assert task_set.of_nexuses(NEXUSES[:2]) == [each for each in alive if each.nexus in NEXUSES[:2]]
        assert len(task_set) == len(alive)

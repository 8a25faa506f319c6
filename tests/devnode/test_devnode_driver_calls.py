"""Calls in line for a drive, with a host whose tasks end when the test says so. No kernel."""

from __future__ import annotations

import errno
import os
import socket
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import cast

import pytest
from devnode_world import ADDRESS

from transports.devnode.descriptors import Descriptors, OpenFile
from transports.devnode.driver import Driver, Steps
from transports.devnode.driver_calls import DriverCalls, Line
from transports.devnode.nodes import st_nodes
from transports.devnode.request import Host, HostStatus, Outcome, Refused, ScsiTask
from transports.devnode.seccomp import Gone, Listener, Notification
from transports.devnode.tree import Special


class SlowHost:
    """Tasks stay until they are ended."""

    def __init__(self) -> None:
        self.tasks: list[ScsiTask] = []
        self.aborted: list[ScsiTask] = []

    def start(self, task: ScsiTask) -> None:
        """It takes its time."""
        self.tasks.append(task)

    def abort(self, task: ScsiTask) -> None:
        """Nobody waits any more."""
        self.aborted.append(task)

    def advance(self, now: float) -> None:
        """It needs no clock."""

    def filenos(self) -> tuple[int, ...]:
        """None."""
        return ()

    def finished(self) -> Iterable[ScsiTask]:
        """None by itself."""
        return ()


class Calls:
    """The calls of programs, and what they were answered; stands where the kernel would."""

    def __init__(self) -> None:
        self.host = SlowHost()
        self.dead: set[int] = set()
        self.answers: list[tuple[int, object]] = []
        self.drivers = DriverCalls(
            cast(Listener, self), {0: cast(Host, self.host)}, cast(Descriptors, None)    # what it uses of them
        )
        self.line: Line = self.drivers.line(0, 0, lambda unit: cast(Driver, EmptyDriver()))

    def is_valid(self, note: Notification) -> bool:
        """Whether the program lives."""
        return note.id not in self.dead

    def answer(self, note: Notification, value: int) -> None:
        """The call returns."""
        self.answers.append((note.id, value))

    def refuse(self, note: Notification, number: int) -> None:
        """The call fails."""
        self.answers.append((note.id, errno.errorcode[number]))

    def give(self, note: Notification, fileno: int, *, at: int, close_on_exec: bool) -> None:
        """The program gets a descriptor, and ends before anybody looks: nothing keeps it open."""

    def start(self, number: int, commands: int = 1, failed: list[int] | None = None) -> None:
        """A call of so many commands, by a program of its own; its result is their statuses, added."""
        def steps() -> Steps[int]:
            total = 0
            for _ in range(commands):
                outcome = yield ScsiTask(number, bytes(6))
                if outcome.host_status != HostStatus.OK:
                    raise Refused(errno.EIO)
                total += outcome.status
            return total

        note = Notification(number, number, 0, (0,) * 6)
        self.drivers.start(
            self.line, steps(), note, lambda result: result, failed=lambda: failed.append(number) if failed else None
        )

    def end(self, status: int = 0) -> None:
        """The last task ends."""
        task = self.host.tasks[-1]
        task.outcome = Outcome(status)
        assert self.drivers.finished(task)

    def started(self) -> list[int]:
        """Whose tasks the host got."""
        return [task.unit for task in self.host.tasks]


def test_calls_stand_in_line() -> None:
    """The second call begins when all commands of the first have ended."""
    calls = Calls()
    calls.start(1, commands=2)
    calls.start(2)
    calls.end(1)
    assert calls.started() == [1, 1]
    calls.end(2)
    assert (calls.started(), calls.answers) == ([1, 1, 2], [(1, 3)])
    calls.end(4)

    assert calls.answers == [(1, 3), (2, 4)]
    assert not calls.drivers.busy


def test_calls_of_the_dead_are_aborted() -> None:
    """Who dies in the middle of a command has it aborted; who dies in line is not begun."""
    calls = Calls()
    failed = [0]
    for number in (1, 2, 3):
        calls.start(number, failed=failed)
    calls.dead |= {1, 2}
    calls.drivers.look(now=0.0)

    assert [task.unit for task in calls.host.aborted] == [1]
    assert calls.started() == [1, 3]
    assert failed == [0, 1, 2]


def test_calls_take_no_longer_than_their_time() -> None:
    """A command that does not end is aborted at its time limit, and the call is EIO."""
    calls = Calls()
    calls.start(1)
    calls.drivers.look(now=calls.line.until - 1)
    assert calls.answers == []
    calls.drivers.look(now=calls.line.until)

    assert calls.answers == [(1, "EIO")]
    assert len(calls.host.aborted) == 1


def test_calls_whose_program_is_gone() -> None:
    """Where the memory is not there any more, the line goes on."""
    calls = Calls()

    def steps() -> Steps[int]:
        yield ScsiTask(1, bytes(6))
        raise Gone

    calls.drivers.start(calls.line, steps(), None, lambda result: pytest.fail("it has no result"))
    calls.start(2)
    calls.end()

    assert calls.started() == [1, 2]


def test_open_by_one_who_has_ended() -> None:
    """A program may be gone when its open(2) is answered: the file is known, and its end is seen as any other."""
    calls = Calls()
    descriptors = Descriptors(cast(Listener, calls), 900, 999)
    drivers = DriverCalls(cast(Listener, calls), {0: cast(Host, calls.host)}, descriptors)
    line = drivers.line(0, 0, lambda unit: cast(Driver, EmptyDriver()))
    known: list[OpenFile] = []
    entry = Special(st_nodes(0, 0, ADDRESS, 1)[0])
    drivers.open(line, Notification(1, os.getpid(), 0, (0,) * 6), entry.node.path, entry, os.O_RDWR, known.append)

    assert drivers.left() == known == descriptors.files()
    assert calls.answers == []
    descriptors.close()


def test_last_close_of_any_thread() -> None:
    """The last descriptor is closed by whichever thread of its process, and not while there is a copy of it."""
    calls = Calls()
    ours, theirs = socket.socketpair()
    name = f"socket:[{os.fstat(theirs.fileno()).st_ino}]"
    file = OpenFile("/dev/nst0", Special(st_nodes(0, 0, ADDRESS, 1)[0]), ours, name)
    file.handle = "opened"

    def is_last() -> bool:
        note = Notification(1, threading.get_native_id(), 0, (theirs.fileno(), 0, 0, 0, 0, 0))
        return calls.drivers.is_last(note, file)

    with ours, theirs, ThreadPoolExecutor(1) as other:
        assert is_last()
        assert other.submit(is_last).result()
        with theirs.dup():
            assert not is_last()
            assert not other.submit(is_last).result()


class EmptyDriver:
    """Opens."""

    now = 0.0

    def open(self, path: str, flags: int) -> Steps[object]:
        """Without a command."""
        yield from ()
        return path

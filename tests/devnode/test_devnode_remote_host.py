"""The host for units elsewhere, without a network: what its client is asked for, and how lost connections end."""

from __future__ import annotations

import select
from time import monotonic

import pytest
from immediate_client import ImmediateClient

from scsiemu.sam import TaskManagementFunction
from scsiemu.services import Outcome
from transports.devnode.remote_host import RemoteHost
from transports.devnode.request import HostStatus, Refused, ResetScope, ScsiTask


class Silent(ImmediateClient):
    """A unit that answers TEST UNIT READY alone; `broken` ends its connection."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[TaskManagementFunction, int]] = []
        self.able = True
        self.broken = False
        self.closed = False

    def execute(self, cdb: bytes, *, data_out: bytes = b"", data_in_length: int = 0) -> Outcome:
        """A command."""
        return Outcome(0)

    def begin(self, cdb: bytes, *, data_out: bytes = b"", data_in_length: int = 0) -> int:
        """A command: what is not TEST UNIT READY does not end."""
        if self.broken:
            raise ConnectionAbortedError
        tag = super().begin(cdb)
        if cdb[0]:
            self._ended.pop()
        return tag

    def manage(self, function: TaskManagementFunction, tag: int = 0) -> bool:
        """It is recorded."""
        self.asked.append((function, tag))
        return self.able

    def close(self) -> None:
        """Remember it."""
        self.closed = True


def finished(host: RemoteHost, count: int = 1) -> list[ScsiTask]:
    """So many tasks that have ended."""
    tasks: list[ScsiTask] = []
    until = monotonic() + 10
    while len(tasks) < count and monotonic() < until:
        if select.select(host.filenos(), (), (), 0.1)[0]:
            host.ready(host.filenos()[0])
        tasks += host.finished()
    return tasks


def status(task: ScsiTask) -> int:
    """Its host status."""
    assert task.outcome is not None
    return task.outcome.host_status


def test_remote_commands_overtake_each_other() -> None:
    """A command that does not end keeps no other from ending; its abort reaches the unit by its tag, and it is gone."""
    client = Silent()
    host = RemoteHost(lambda: client)
    slow, quick, later = ScsiTask(0, b"\x28" + bytes(9)), ScsiTask(0, bytes(6)), ScsiTask(0, bytes(6))
    host.start(slow)
    host.start(quick)
    assert finished(host) == [quick]
    host.abort(slow)
    host.start(later)

    assert finished(host) == [later]
    assert client.asked == [(TaskManagementFunction.ABORT_TASK, 1)]
    host.close()
    assert client.closed


def test_remote_reset_ends_all() -> None:
    """A reset that was done ends what is under way; one that was refused is EIO, and nothing has ended."""
    client = Silent()
    host = RemoteHost(lambda: client)
    task = ScsiTask(0, b"\x28" + bytes(9))
    host.start(task)
    client.able = False
    with pytest.raises(Refused):
        host.reset(0, ResetScope.DEVICE)
    client.able = True
    host.reset(0, ResetScope.TARGET)

    assert [status(task) for task in finished(host)] == [HostStatus.RESET]
    assert [function.name for function, _ in client.asked] == ["LOGICAL_UNIT_RESET", "TARGET_WARM_RESET"]
    host.close()


def test_remote_reset_of_the_host_is_another_session() -> None:
    """It ends the session, and what is under way in it."""
    clients = [Silent(), Silent()]
    waiting = list(clients)
    host = RemoteHost(lambda: waiting.pop(0))
    host.start(ScsiTask(0, b"\x28" + bytes(9)))
    host.reset(0, ResetScope.HOST)
    assert [status(task) for task in finished(host)] == [HostStatus.RESET]
    host.start(ScsiTask(0, bytes(6)))

    assert [status(task) for task in finished(host)] == [HostStatus.OK]
    assert (clients[0].closed, waiting) == (True, [])
    host.close()


def test_remote_connection_lost() -> None:
    """What is under way ends with DID_NO_CONNECT; the next command is sent by a new client."""
    clients = [Silent(), Silent()]
    waiting = list(clients)
    host = RemoteHost(lambda: waiting.pop(0))
    host.start(ScsiTask(0, b"\x28" + bytes(9)))
    host.start(ScsiTask(0, bytes(6)))
    assert len(finished(host)) == 1
    clients[0].broken = True
    host.start(ScsiTask(0, bytes(6)))
    assert [status(task) for task in finished(host, 2)] == [HostStatus.NO_CONNECT] * 2
    host.start(ScsiTask(0, bytes(6)))

    assert [status(task) for task in finished(host)] == [HostStatus.OK]
    host.close()


def test_remote_close_aborts_what_is_under_way() -> None:
    """Closing aborts at the unit, then logs out."""
    client = Silent()
    host = RemoteHost(lambda: client)
    host.start(ScsiTask(0, b"\x28" + bytes(9)))
    host.close()

    assert client.asked == [(TaskManagementFunction.ABORT_TASK, 1)]
    assert client.closed

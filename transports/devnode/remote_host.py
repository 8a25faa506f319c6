"""A host for a unit that a client is logged in to: a thread moves its bytes, so that nobody waits for a network.

Commands go out as they come, several at a time. One that nobody waits for any more is aborted at the unit. A client
that has lost its connection is replaced by a new one for the next command: `connect` is called again.
"""

from __future__ import annotations

import contextlib
import errno
import os
import queue
import select
import threading
from collections.abc import Callable, Iterable
from typing import Final

from scsiemu.sam import TaskManagementFunction
from scsiemu.services import Client
from scsiemu.services import Outcome as Ended
from transports.devnode.request import HostStatus, Outcome, Refused, ResetScope, ScsiTask

__all__ = ["RemoteHost"]

_RESETS: Final = {
    ResetScope.DEVICE: TaskManagementFunction.LOGICAL_UNIT_RESET,
    ResetScope.TARGET: TaskManagementFunction.TARGET_WARM_RESET,
    ResetScope.BUS: TaskManagementFunction.TARGET_WARM_RESET,
}
_RESET_SECONDS: Final = 10.0
_CLOSE_SECONDS: Final = 5.0


class RemoteHost:
    """See the module.

    Args:
        connect: logs in. Raises OSError.
    """

    name = "scsiemu_remote"

    def __init__(self, connect: Callable[[], Client]) -> None:
        self._done: queue.SimpleQueue[tuple[ScsiTask, Outcome]] = queue.SimpleQueue()
        self._event = _event()
        self._session = _Session(connect, self._ended)
        self._aborted: set[ScsiTask] = set()

    def start(self, task: ScsiTask) -> None:
        """Hand it to the thread."""
        self._session.order(lambda: self._session.begin(task))

    def abort(self, task: ScsiTask) -> None:
        """ABORT TASK, for which nobody waits."""
        self._aborted.add(task)
        self._session.order(lambda: self._session.abort(task))

    def reset(self, unit: int, scope: int) -> None:
        """Reset the unit, its target, or our session; waits for that. Raises Refused."""
        function = _RESETS.get(scope)
        answers: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._session.order(lambda: answers.put(self._session.reset(function)))
        try:
            done = answers.get(timeout=_RESET_SECONDS)
        except queue.Empty:
            done = False
        if not done:
            raise Refused(errno.EIO)

    def finished(self) -> Iterable[ScsiTask]:
        """Tasks that have ended."""
        tasks = []
        while not self._done.empty():
            task, outcome = self._done.get()
            if task in self._aborted:
                self._aborted.discard(task)
                continue
            task.outcome = outcome
            tasks.append(task)
        return tasks

    def filenos(self) -> tuple[int, ...]:
        """Readable when a task has ended."""
        return (self._event,)

    def ready(self, fileno: int) -> None:
        """A task has ended: `finished` has it."""
        os.eventfd_read(self._event)

    def deadline(self) -> float | None:
        """It needs no clock."""
        return None

    def advance(self, now: float) -> None:
        """It needs no clock."""

    def close(self) -> None:
        """Abort what is under way, and log out."""
        if self._session.close():
            os.close(self._event)

    def _ended(self, task: ScsiTask, outcome: Outcome) -> None:
        """Told by the thread, of each task once."""
        self._done.put((task, outcome))
        os.eventfd_write(self._event, 1)


class _Session:
    """The client, and the thread that alone uses it. Methods but `order` and `close` are called there.

    Args:
        ended: is told how each task has ended, once.
    """

    def __init__(self, connect: Callable[[], Client], ended: Callable[[ScsiTask, Outcome], None]) -> None:
        self._connect = connect
        self._ended = ended
        self._client: Client | None = connect()
        self._tasks: dict[int, ScsiTask] = {}
        self._orders: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()
        self._wake = _event()
        self._closing = False
        self._thread = threading.Thread(target=self._work, name="scsiemu remote unit", daemon=True)
        self._thread.start()

    def order(self, action: Callable[[], object]) -> None:
        """Have the thread do something."""
        self._orders.put(action)
        os.eventfd_write(self._wake, 1)

    def close(self) -> bool:
        """End the thread; whether it has ended in time."""
        self.order(self._stop)
        self._thread.join(timeout=_CLOSE_SECONDS)
        if self._thread.is_alive():
            return False
        os.close(self._wake)
        return True

    def begin(self, task: ScsiTask) -> None:
        """Send a command."""
        try:
            if self._client is None:
                self._client = self._connect()
            tag = self._client.begin(task.cdb, data_out=task.data_out, data_in_length=task.data_in_length)
        except OSError as error:
            self._end(task, HostStatus.NO_CONNECT)
            self._lost(error)
        else:
            self._tasks[tag] = task

    def abort(self, task: ScsiTask) -> None:
        """ABORT TASK, where it has not ended meanwhile."""
        tag = next((tag for tag, running in self._tasks.items() if running is task), None)
        if tag is None or self._client is None:
            return
        del self._tasks[tag]
        try:
            self._client.manage(TaskManagementFunction.ABORT_TASK, tag)
        except OSError as error:
            self._lost(error)
        self._end(task, HostStatus.ABORT)

    def reset(self, function: TaskManagementFunction | None) -> bool:
        """A reset, after which no task of ours is left; None for that of our own session. Whether it was done."""
        try:
            if self._client is None:
                self._client = self._connect()
            if function is not None:
                done = self._client.manage(function)
            else:
                self._client.close()
                self._client, done = None, True
        except OSError as error:
            self._lost(error)
            return False
        if done:
            self._end_all(HostStatus.RESET)
        return done

    def _stop(self) -> None:
        self._closing = True

    def _work(self) -> None:
        """The thread."""
        while not self._closing:
            try:
                if self._client is None:
                    select.select((self._wake,), (), ())
                else:
                    for tag, outcome in self._client.wait(self._wake):
                        if (task := self._tasks.pop(tag, None)) is not None:
                            self._succeeded(task, outcome)
            except OSError as error:
                self._lost(error)
            with contextlib.suppress(BlockingIOError):
                os.eventfd_read(self._wake)
            while not self._orders.empty():
                self._orders.get()()
        for task in list(self._tasks.values()):
            self.abort(task)
        if self._client is not None:
            self._client.close()

    def _succeeded(self, task: ScsiTask, outcome: Ended) -> None:
        residual = outcome.underflow if task.data_out and not task.data_in_length else 0
        self._ended(task, Outcome(outcome.status, outcome.sense, outcome.data_in, residual))

    def _end(self, task: ScsiTask, status: int) -> None:
        self._ended(task, Outcome(host_status=status))

    def _end_all(self, status: int) -> None:
        tasks, self._tasks = list(self._tasks.values()), {}
        for task in tasks:
            self._end(task, status)

    def _lost(self, error: OSError) -> None:
        """The connection is at its end."""
        client, self._client = self._client, None
        if client is not None:
            client.close()
        self._end_all(HostStatus.TIME_OUT if isinstance(error, TimeoutError) else HostStatus.NO_CONNECT)


def _event() -> int:
    return os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

"""A host for a unit that a blocking client is logged in to: a thread executes one task after the other.

A client that has lost its connection is replaced by a new one at the next task: `connect` is called again. Tasks cannot
be aborted at the unit, and resets are not passed on: a `Client` has no task management.
"""

from __future__ import annotations

import errno
import os
import queue
import threading
from collections.abc import Callable, Iterable

from scsiemu.services import Client
from transports.devnode.request import HostStatus, Outcome, Refused, ScsiTask

__all__ = ["BlockingHost"]


class BlockingHost:
    """See the module.

    Args:
        connect: logs in. Raises OSError.
    """

    name = "scsiemu_remote"

    def __init__(self, connect: Callable[[], Client]) -> None:
        self._connect = connect
        self._client: Client | None = connect()
        self._queue: queue.SimpleQueue[ScsiTask | None] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[tuple[ScsiTask, Outcome]] = queue.SimpleQueue()
        self._aborted: set[ScsiTask] = set()
        self._event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._thread = threading.Thread(target=self._work, name="scsiemu remote unit", daemon=True)
        self._thread.start()

    def start(self, task: ScsiTask) -> None:
        """Hand it to the thread."""
        self._queue.put(task)

    def abort(self, task: ScsiTask) -> None:
        """Its outcome will be thrown away."""
        self._aborted.add(task)

    def reset(self, unit: int, scope: int) -> None:
        """There is no way to ask for it."""
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
        """Log out, once the task that is under way has ended."""
        self._queue.put(None)
        self._thread.join(timeout=5.0)
        if not self._thread.is_alive():
            os.close(self._event)

    def _work(self) -> None:
        """The thread."""
        while (task := self._queue.get()) is not None:
            self._done.put((task, self._execute(task)))
            os.eventfd_write(self._event, 1)
        if self._client is not None:
            self._client.close()

    def _execute(self, task: ScsiTask) -> Outcome:
        try:
            if self._client is None:
                self._client = self._connect()
            found = self._client.execute(
                task.cdb, data_out=task.data_out, data_in_length=task.data_in_length
            )
        except TimeoutError:
            self._client = None
            return Outcome(host_status=HostStatus.TIME_OUT)
        except OSError:
            self._client = None
            return Outcome(host_status=HostStatus.NO_CONNECT)
        residual = found.underflow if task.data_out and not task.data_in_length else 0
        return Outcome(found.status, found.sense, found.data_in, residual)

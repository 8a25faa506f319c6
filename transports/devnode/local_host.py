"""A host for the units of a target in this process: one I_T nexus, tasks become commands."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from scsiemu.command import Command, Completion
from scsiemu.io_requests import Store
from scsiemu.lun import unit_lun
from scsiemu.nexus import InitiatorPort, Nexus, Protocol, TargetPort
from scsiemu.sam import TaskManagementFunction
from scsiemu.target import Target
from transports.devnode.request import HostStatus, Outcome, Refused, ResetScope, ScsiTask

__all__ = ["LocalHost", "TargetDriver"]

_NOTHING_TO_TELL: Final = Outcome()
_RESETS: Final = {
    ResetScope.DEVICE: TaskManagementFunction.LOGICAL_UNIT_RESET,
    ResetScope.TARGET: TaskManagementFunction.TARGET_WARM_RESET,
    ResetScope.BUS: TaskManagementFunction.TARGET_WARM_RESET,
    # A host that is reset logs in again: the nexus is lost, other initiators do not notice.
    ResetScope.HOST: TaskManagementFunction.I_T_NEXUS_RESET,
}


class TargetDriver:
    """Drives a target and its stores for all hosts that are joined to it.

    Args:
        stores: of its units.
        told: takes what happened in the target, after every turn.
    """

    def __init__(self, target: Target, stores: Sequence[Store], told: Callable[[Target], None]) -> None:
        self.target = target
        self.port = TargetPort(target.name, 1, 1, Protocol.NONE, target.name)
        self._stores = {fileno: store for store in stores if (fileno := store.fileno()) is not None}
        self.told = told
        target.add_port(self.port)

    def filenos(self) -> tuple[int, ...]:
        """Descriptors of stores whose answers come late."""
        return tuple(self._stores)

    def ready(self, fileno: int) -> None:
        """A store has answers."""
        for ticket, answer in self._stores[fileno].reap():
            self.target.complete(ticket, answer)
        self.settle()

    def settle(self) -> None:                                                                    # hot
        """Hand what has ended to the tasks that it belongs to."""
        target = self.target
        while (completion := target.next_completion()) is not None:
            task = completion.command.origin
            if not isinstance(task, ScsiTask):
                continue
            host = task.handle
            if not isinstance(host, LocalHost):
                continue                # aborted by us
            task.outcome = _outcome(task, completion)
            host.ended(task)
        while target.next_management_response() is not None:
            pass
        self.told(target)


class LocalHost:
    """One initiator port at a target.

    Args:
        driver: of the target; one of the hosts watches its stores.
        name: of the initiator port.
        transport_id: its TransportID.
        watches: this host's `filenos` are those of the stores.
    """

    name = "scsiemu"

    def __init__(self, driver: TargetDriver, name: str, transport_id: bytes, *, watches: bool) -> None:
        self._driver = driver
        self._target = driver.target
        self._watches = watches
        self._finished: list[ScsiTask] = []
        self._starting: ScsiTask | None = None
        self._tags: dict[ScsiTask, int] = {}
        self._tag = 0
        self._luns: dict[int, int] = {}
        self.nexus: Nexus = self._target.nexus_established(InitiatorPort(name, transport_id, name), driver.port)

    def start(self, task: ScsiTask) -> None:                                                     # hot
        """Execute it. Its outcome is set when it has ended at once."""
        self._tag = tag = self._tag % 0xFFFFFFFF + 1
        lun = self._luns.get(task.unit)
        if lun is None:
            lun = self._luns[task.unit] = unit_lun(task.unit)
        out = task.data_out
        command = Command(self.nexus, lun, task.cdb, tag, 0, out, len(out), task.data_in_length, task)
        target = self._target
        ended = target.execute(command)
        if ended is not None:
            if isinstance(ended, Completion):
                task.outcome = _outcome(task, ended)
            else:
                task.outcome = Outcome(0, b"", ended, max(0, len(out) - command.wanted))
            if target.completions:
                self._driver.settle()
            else:
                self._driver.told(target)
            return
        task.handle = self
        self._tags[task] = tag
        self._starting = task
        self._driver.settle()
        self._starting = None

    def ended(self, task: ScsiTask) -> None:
        """Told by the driver: the task has its outcome."""
        del self._tags[task]
        if task is not self._starting:
            self._finished.append(task)

    def abort(self, task: ScsiTask) -> None:
        """ABORT TASK."""
        tag = self._tags.pop(task, None)
        if tag is None:
            if task in self._finished:
                self._finished.remove(task)
            return
        task.handle = None
        self._target.manage(TaskManagementFunction.ABORT_TASK, self.nexus, unit_lun(task.unit), tag=tag)
        self._driver.settle()

    def reset(self, unit: int, scope: int) -> None:
        """Reset a unit, the target, or our nexus."""
        function = _RESETS.get(scope)
        if function is None:
            raise Refused(errno.EINVAL)
        self._target.manage(function, self.nexus, unit_lun(unit))
        self._driver.settle()

    def finished(self) -> Iterable[ScsiTask]:
        """Tasks that ended later than in `start`."""
        tasks, self._finished = self._finished, []
        return tasks

    def filenos(self) -> tuple[int, ...]:
        """Descriptors of stores."""
        return self._driver.filenos() if self._watches else ()

    def ready(self, fileno: int) -> None:
        """A store has answers."""
        self._driver.ready(fileno)

    def deadline(self) -> float | None:
        """When the target wants the time."""
        return self._target.deadline() if self._watches else None

    def advance(self, now: float) -> None:
        """Tell the target."""
        if self._target.advance(now):
            self._driver.settle()

    def close(self) -> None:
        """Log out."""
        self._target.nexus_lost(self.nexus)
        self._driver.settle()


def _outcome(task: ScsiTask, completion: Completion) -> Outcome:                                  # hot
    """How a command ended, as the task that it belongs to has it."""
    if not (completion.status or completion.data_in or completion.silent or task.data_out):
        return _NOTHING_TO_TELL
    if completion.silent:
        return Outcome(host_status=HostStatus.RESET)
    residual = len(task.data_out) - completion.data_out_wanted if task.data_out else 0
    return Outcome(completion.status, completion.sense_data, completion.data_in, max(0, residual))

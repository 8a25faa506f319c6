"""Runs the calls of programs on nodes with a driver: each is a generator (driver.py), whose tasks the host executes.

One call of a drive goes on at a time; the others wait in line, as at the lock of a Linux driver. A program that dies
has its task aborted, and the file that it leaves is closed like any other.
"""

from __future__ import annotations

import errno
import os
import select
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from time import monotonic
from typing import Any, Final, TypeAlias

from transports.devnode.descriptors import Descriptors, OpenFile
from transports.devnode.driver import Driver, Pause, Step, Steps
from transports.devnode.path_calls import GO_ON, LATER
from transports.devnode.request import Host, HostStatus, Outcome, Refused, ScsiTask
from transports.devnode.seccomp import Gone, Listener, Notification, ProcessMemory
from transports.devnode.sg import SgFile
from transports.devnode.tree import Reported, Special
from transports.devnode.working_directories import thread_group

__all__ = ["DriverCalls", "Line", "Vector"]

_PATIENCE_AT_END: Final = 30.0
_MOST_TRANSFER: Final = 32 << 20

Vector: TypeAlias = Sequence[tuple[int, int]]       # address and length of each piece


_Opened: TypeAlias = Callable[[OpenFile], None]


class _Run:
    """A call on its way."""

    def __init__(
        self, steps: Steps[Any], note: Notification | None, finish: Callable[[Any], int],
        failed: Callable[[], None] | None,
    ) -> None:
        self.steps = steps
        self.note = note
        self.finish = finish
        self.failed = failed


class Line:
    """A drive, and the calls that wait for it."""

    def __init__(self, driver: Driver, host: Host) -> None:
        self.driver = driver
        self.host = host
        self.runs: deque[_Run] = deque()
        self.task: ScsiTask | None = None
        self.until = 0.0


class DriverCalls:
    """All drives.

    Args:
        hosts: by the number in H:C:T:L.
    """

    def __init__(self, listener: Listener, hosts: Mapping[int, Host], descriptors: Descriptors) -> None:
        self._listener = listener
        self._descriptors = descriptors
        self._hosts = hosts
        self._lines: dict[tuple[int, int], Line] = {}
        self._waiting: dict[ScsiTask, Line] = {}
        self._paused: list[Line] = []

    @property
    def busy(self) -> bool:
        """Whether a call waits for a task, or for a while."""
        return bool(self._waiting or self._paused)

    def line(self, host: int, unit: int, make: Callable[[int], Driver]) -> Line:
        """That of a unit; all its nodes share one driver."""
        found = self._lines.get((host, unit))
        if found is None:
            found = self._lines[host, unit] = Line(make(unit), self._hosts[host])
        return found

    def start(
        self, line: Line, steps: Steps[Any], note: Notification | None, finish: Callable[[Any], int], *,
        failed: Callable[[], None] | None = None,
    ) -> int:
        """Run a call; LATER.

        Args:
            note: who is answered; None for nobody.
            finish: takes the result, and gives that of the system call.
            failed: called when the call is refused.
        """
        line.runs.append(_Run(steps, note, finish, failed))
        if len(line.runs) == 1:
            self._go_on(line, None)
        return LATER

    def report(self, entry: Reported) -> bytes:
        """What a file in /sys says of a drive now."""
        address = entry.node.address
        line = self._lines.get((address.host, address.unit))
        return entry.otherwise if line is None else line.driver.attribute(entry.node.path, entry.attribute).encode()

    # --- calls on files ----------------------------------------------------------------------------------------

    def open(self, line: Line, note: Notification, path: str, entry: Special, flags: int, opened: _Opened) -> int:
        """open(2); `opened` is told of the file."""
        def finish(handle: object) -> int:
            access = flags & os.O_ACCMODE
            sg = SgFile(entry.node, readable=access != os.O_WRONLY, writable=access != os.O_RDONLY)
            try:
                file = self._descriptors.open(
                    note, path, entry, sg=sg, nonblock=True, close_on_exec=bool(flags & os.O_CLOEXEC)
                )
            except BaseException:
                line.driver.release(handle)
                raise
            file.line, file.handle = line, handle
            opened(file)
            with suppress(OSError):     # whoever opened it has ended already, which is seen soon
                file.ours.send(b"\0")   # so that poll(2) always finds it ready
            return LATER

        return self.start(line, line.driver.open(path, flags), note, finish)

    def read(self, note: Notification, file: OpenFile, vector: Vector, position: int | None) -> int:
        """read(2) and its like."""
        line, handle = self._opened(file)
        if file.sg is not None and not file.sg.readable:
            raise Refused(errno.EBADF)

        def finish(data: bytes) -> int:
            memory = ProcessMemory(self._listener, note)
            at = 0
            for address, size in vector:
                if at < len(data):
                    memory.write(address, data[at : at + size])
                at += size
            return len(data)

        count = min(sum(size for _, size in vector), _MOST_TRANSFER)
        return self.start(line, line.driver.read(handle, count, position), note, finish)

    def write(self, note: Notification, file: OpenFile, vector: Vector, position: int | None) -> int:
        """write(2) and its like."""
        line, handle = self._opened(file)
        if file.sg is not None and not file.sg.writable:
            raise Refused(errno.EBADF)
        memory = ProcessMemory(self._listener, note)
        data = b""
        for address, size in vector:
            size = min(size, _MOST_TRANSFER - len(data))
            data += memory.read(address, size) if size else b""
        memory.make_sure()
        return self.start(line, line.driver.write(handle, data, position), note, _same)

    def seek(self, note: Notification, file: OpenFile, offset: int, whence: int) -> int:
        """lseek(2)."""
        line, handle = self._opened(file)
        return self.start(line, line.driver.seek(handle, offset, whence), note, _same)

    def synchronize(self, note: Notification, file: OpenFile) -> int:
        """fsync(2) and fdatasync(2)."""
        line, handle = self._opened(file)
        return self.start(line, line.driver.synchronize(handle), note, lambda _: 0)

    def ioctl(self, note: Notification, file: OpenFile, number: int, argument: int) -> int:
        """ioctl(2) but those of sg."""
        line, handle = self._opened(file)
        memory = ProcessMemory(self._listener, note)
        return self.start(line, line.driver.ioctl(handle, memory, number, argument), note, _same)

    def close_file(self, note: Notification | None, file: OpenFile) -> int:
        """close(2) of the last descriptor, or its end without one. An error is told, and the descriptor is dead."""
        line = file.line
        if line is None or file.handle is None:
            return GO_ON
        handle, file.handle = file.handle, None

        def finish(_: object) -> int:
            line.driver.release(handle)
            return GO_ON

        return self.start(
            line, line.driver.flush(handle), note, finish, failed=lambda: line.driver.release(handle)
        )

    def is_last(self, note: Notification, file: OpenFile) -> bool:
        """Whether close(2) closes the last descriptor."""
        number = note.arguments[0] & 0xFFFFFFFF
        return file.handle is not None and not _has_other_copies(file.name, thread_group(note.pid), number)

    def left(self) -> list[OpenFile]:
        """Files whose last descriptor is gone, though nobody has told us yet."""
        files = [file for file in self._descriptors.files() if file.handle is not None]
        poll = select.poll()
        for file in files:
            poll.register(file.ours.fileno(), select.POLLRDHUP)
        gone = {fileno for fileno, event in poll.poll(0) if event & (select.POLLRDHUP | select.POLLHUP)}
        return [file for file in files if file.ours.fileno() in gone]

    def _opened(self, file: OpenFile) -> tuple[Line, object]:
        if file.line is None or file.handle is None:
            raise Refused(errno.EBADF)
        return file.line, file.handle

    # --- tasks -------------------------------------------------------------------------------------------------

    def finished(self, task: ScsiTask) -> bool:
        """A task has its outcome; whether it was one of ours."""
        line = self._waiting.pop(task, None)
        if line is None:
            return False
        line.task = None
        self._go_on(line, task.outcome)
        return True

    def look(self, now: float) -> None:
        """End what nobody waits for, and what takes too long or long enough."""
        for line in list(self._paused):
            if self._is_dead(line.runs[0]):
                self._paused.remove(line)
                self._drop_dead(line)
                self._go_on(line, None)
            elif now >= line.until:
                self._paused.remove(line)
                self._go_on(line, Outcome())
        for task, line in list(self._waiting.items()):
            if self._is_dead(line.runs[0]):
                self._abort(task, HostStatus.ABORT)
            elif now >= line.until:
                self._abort(task, HostStatus.TIME_OUT)

    def close(self) -> None:
        """Close what is open, and wait until all calls have ended, but not for ever."""
        for file in self._descriptors.files():
            self.close_file(None, file)
        for line in self._paused:
            line.until = 0.0            # nobody is left who waits
        self.look(monotonic())
        until = monotonic() + _PATIENCE_AT_END
        while self._waiting and monotonic() < until:
            hosts = {id(line.host): line.host for line in self._waiting.values()}.values()
            filenos = {fileno: host for host in self._hosts.values() for fileno in host.filenos()}
            readable, _, _ = select.select(list(filenos), (), (), 0.01)
            for fileno in readable:
                filenos[fileno].ready(fileno)
            for host in hosts:
                host.advance(monotonic())
                for task in host.finished():
                    self.finished(task)
        for task in list(self._waiting):
            self._abort(task, HostStatus.ABORT)

    def _abort(self, task: ScsiTask, status: int) -> None:
        self._waiting[task].host.abort(task)
        task.outcome = Outcome(host_status=status)
        self.finished(task)

    def _go_on(self, line: Line, outcome: Outcome | None) -> None:
        """Carry on with the first call in line, and with the next ones when it has ended."""
        while line.runs:
            run = line.runs[0]
            task = self._step(line, run, outcome)
            if task is None:
                line.runs.popleft()
                self._drop_dead(line)
                outcome = None
                continue
            now = monotonic()
            if isinstance(task, Pause):
                line.until = now + task.seconds
                self._paused.append(line)
                return
            task.started = now
            line.host.advance(now)
            line.host.start(task)
            if task.outcome is None:
                line.task = task
                line.until = now + task.seconds
                self._waiting[task] = line
                return
            outcome = task.outcome

    def _drop_dead(self, line: Line) -> None:
        """Calls that stand in line and whose program has died are not begun."""
        while line.runs and self._is_dead(line.runs[0]):
            run = line.runs.popleft()
            run.steps.close()
            if run.failed is not None:
                run.failed()

    def _is_dead(self, run: _Run) -> bool:
        return run.note is not None and not self._listener.is_valid(run.note)

    def _step(self, line: Line, run: _Run, outcome: Outcome | None) -> Step | None:
        """The next task or pause; None where the call has ended and is answered."""
        line.driver.now = monotonic()
        try:
            # A generator that has not begun is sent None, whatever its type says of the others.
            return next(run.steps) if outcome is None else run.steps.send(outcome)
        except StopIteration as stop:
            found = stop.value
        except Refused as refused:
            self._refuse(run, refused.number)
            return None
        except Gone:
            if run.failed is not None:
                run.failed()
            return None
        try:
            result = run.finish(found)
        except Refused as refused:
            self._refuse(run, refused.number)
        except Gone:
            if run.failed is not None:
                run.failed()
        except OSError as error:
            self._refuse(run, error.errno or errno.EIO)
        else:
            if run.note is not None and result == GO_ON:
                self._listener.go_on(run.note)
            elif run.note is not None and result != LATER:
                self._listener.answer(run.note, result)
        return None

    def _refuse(self, run: _Run, number: int) -> None:
        if run.failed is not None:
            run.failed()
        if run.note is not None:
            self._listener.refuse(run.note, number)


def _same(result: int) -> int:
    return result


def _has_other_copies(name: str, pid: int, number: int) -> bool:
    """Whether an open file has another descriptor than this one, in any process that we can look into."""
    for process in os.listdir("/proc"):
        if not process.isdigit():
            continue
        try:
            for descriptor in os.listdir(f"/proc/{process}/fd"):
                mine = int(descriptor) == number and int(process) == pid
                if not mine and os.readlink(f"/proc/{process}/fd/{descriptor}") == name:
                    return True
        except OSError:
            continue
    return False

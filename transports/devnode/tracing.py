"""Descriptors of ours below our range: whoever puts one there is traced, and its calls on that number come to us.

The filter of a command (bpf.py) lets calls on low descriptors pass, for they are those of ordinary files. It cannot be
made stricter by way of the listener afterwards: a process can have one alone. But it can get a second filter whose
calls stop the thread for its tracer. So a process that has one of ours put at a low number with dup(2) and its like is
seized by ptrace(2), and made to give itself such a filter for this number: it and its children inherit that, and no
other process pays for it. A call that stops is a `Notification` with a `caller`, and goes the way of all others.

Not traced are: a process that another traces already (strace, gdb), and any where ptrace is forbidden.
"""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from struct import pack
from time import monotonic, sleep
from typing import Final

from transports.devnode import ptrace
from transports.devnode.bpf import build_descriptor_filter
from transports.devnode.request import Refused
from transports.devnode.seccomp import Notification
from transports.devnode.syscalls import Architecture

__all__ = ["Tracer"]

_GRACE: Final = 0.5
_CALL_STOP: Final = signal.SIGTRAP | 0x80
_ALL_SIGNALS: Final = 0xFFFFFFFFFFFFFFFF
_PAGE: Final = 4096
_READ_WRITE: Final = 3
_PRIVATE_ANONYMOUS: Final = 0x22
_SET_MODE_FILTER: Final = 1
_ALL_THREADS_TOO: Final = 1             # SECCOMP_FILTER_FLAG_TSYNC
_LOWEST: Final = 3                      # 0, 1 and 2 are watched by the filter of the command


class _Thread:
    """A thread that is traced.

    Attributes:
        covered: descriptor numbers for which it has a filter.
        wanted: a call of it is going to return one that needs a filter.
        call: for which it stands still.
    """

    __slots__ = ("call", "covered", "number", "wanted")

    def __init__(self, number: int, covered: frozenset[int]) -> None:
        self.number = number
        self.covered = covered
        self.wanted = False
        self.call: _StoppedCall | None = None


class _StoppedCall:
    """A call that waits for us in a stop of its thread."""

    def __init__(self, thread: _Thread, layout: ptrace.Layout) -> None:
        self._thread = thread
        self._layout = layout

    def answer(self, value: int) -> None:
        """The call returns `value`, below 0 an error."""
        with suppress(OSError):
            if self._leave():
                ptrace.skip_call(self._thread.number, self._layout, value)
                ptrace.go_on(self._thread.number)

    def go_on(self) -> None:
        """The kernel does what the call says."""
        with suppress(OSError):
            if self._leave():
                ptrace.go_on(self._thread.number)

    def is_there(self) -> bool:
        """Whether it still waits."""
        if self._thread.call is not self:
            return False
        try:
            ptrace.child_of(self._thread.number)
        except OSError:
            return False                # killed
        return True

    def _leave(self) -> bool:
        waits = self._thread.call is self
        self._thread.call = None if waits else self._thread.call
        return waits


class Tracer:
    """Traces threads; by waitpid(2) alone, so all of it belongs to one thread of ours.

    Args:
        first: where our range begins; numbers below it, but for 0, 1 and 2, are low.
        called: takes a call that stopped.
    """

    def __init__(self, architecture: Architecture, first: int, called: Callable[[Notification], None]) -> None:
        self._architecture = architecture
        self._layout = ptrace.LAYOUTS[architecture.name]
        self._first = first
        self._called = called
        self._threads: dict[int, _Thread] = {}

    def cover(self, thread: int) -> None:
        """A thread waits in a call that returns a descriptor of ours, low perhaps: see to that one.

        Raises Refused(EMFILE): its process cannot be traced.
        """
        try:
            while fresh := _living(thread) - self._threads.keys():
                for number in fresh:
                    if not _is_traced_by_us(number):        # it was begun by one of them meanwhile
                        ptrace.seize(number)
                    self._threads[number] = _Thread(number, frozenset())
            ptrace.interrupt(thread)
        except OSError:
            raise Refused(errno.EMFILE) from None
        self._threads[thread].wanted = True

    def look(self) -> None:
        """A child or a traced thread has changed: see which, and what there is to do."""
        found = True
        while found:
            found = False
            for thread in list(self._threads.values()):
                with suppress(OSError):         # it died in the middle: that is seen in the next round
                    found |= self._look_at(thread)

    def close(self) -> None:
        """End all that is traced: SIGTERM, a moment, SIGKILL. What waits gets ENOSYS."""
        def refuse(note: Notification) -> None:
            if note.caller is not None:
                note.caller.answer(-errno.ENOSYS)

        self._called = refuse
        self.look()
        for thread in list(self._threads.values()):
            if thread.call is not None:
                thread.call.answer(-errno.ENOSYS)
        for number, seconds in ((signal.SIGTERM, _GRACE), (signal.SIGKILL, 4 * _GRACE)):
            for one in self._threads:
                with suppress(ProcessLookupError):
                    os.kill(one, number)
            until = monotonic() + seconds
            while self._threads and monotonic() < until:
                self.look()
                sleep(0.002)

    def _look_at(self, thread: _Thread) -> bool:
        """Whether it had changed. Raises OSError."""
        try:
            number, status = os.waitpid(thread.number, os.WNOHANG | ptrace.ALL_THREADS)
        except ChildProcessError:
            self._drop(thread.number)
            return False
        if number:
            self._changed(thread, status)
        return bool(number)

    def _changed(self, thread: _Thread, status: int) -> None:
        if not os.WIFSTOPPED(status):
            self._drop(thread.number)
            return
        number, event = os.WSTOPSIG(status), status >> 16
        if event == ptrace.EVENT_SECCOMP:
            call, arguments = ptrace.call_of(thread.number)
            thread.call = _StoppedCall(thread, self._layout)
            self._called(Notification(0, thread.number, call, arguments, thread.call))
            return
        if event == ptrace.EVENT_STOP and thread.wanted:
            thread.wanted = False
            self._give_filter(thread)
        elif event == ptrace.EVENT_STOP and number != signal.SIGTRAP:
            ptrace.keep_stopped(thread.number)
            return
        elif event in ptrace.EVENT_CLONES:
            child = ptrace.child_of(thread.number)
            self._threads[child] = _Thread(child, thread.covered)
        elif event == ptrace.EVENT_EXEC and (former := ptrace.child_of(thread.number)) != thread.number:
            self._drop(former)
        ptrace.go_on(thread.number, number if not event and number != _CALL_STOP else 0)

    def _drop(self, number: int) -> None:
        thread = self._threads.pop(number, None)
        if thread is not None:
            thread.call = None

    # --- a filter for one more number --------------------------------------------------------------------------

    def _give_filter(self, thread: _Thread) -> None:
        """It has returned from its call, and runs on only after this. Raises OSError: it has died."""
        found = ptrace.registers(thread.number, self._layout)
        descriptor = _signed(found[self._layout.result])
        if not _LOWEST <= descriptor < self._first or descriptor in thread.covered:
            return
        mask = ptrace.signal_mask(thread.number)
        ptrace.set_signal_mask(thread.number, _ALL_SIGNALS)
        kept = list(found)
        if self._install(thread, found, build_descriptor_filter(self._architecture, descriptor)):
            for number in _living(thread.number) & self._threads.keys():
                self._threads[number].covered |= {descriptor}
        else:
            self._make(thread, found, "close", descriptor)
            kept[self._layout.result] = -errno.EMFILE & 0xFFFFFFFFFFFFFFFF
        ptrace.set_registers(thread.number, self._layout, kept)
        ptrace.set_signal_mask(thread.number, mask)

    def _install(self, thread: _Thread, found: list[int], program: bytes) -> bool:
        """Have it filter itself and the other threads of its process. Raises OSError."""
        page = self._make(thread, found, "mmap", 0, _PAGE, _READ_WRITE, _PRIVATE_ANONYMOUS, -1, 0)
        if -_PAGE < page < 0:
            return False
        with open(f"/proc/{thread.number}/mem", "r+b", buffering=0) as memory:
            memory.seek(page)
            memory.write(pack("=H6xQ", len(program) // 8, page + 16) + program)
        done = self._make(thread, found, "seccomp", _SET_MODE_FILTER, _ALL_THREADS_TOO, page)
        self._make(thread, found, "munmap", page, _PAGE)
        return done == 0

    def _make(self, thread: _Thread, found: list[int], name: str, *arguments: int) -> int:
        """Have it make a system call, by the instruction that made its last one: what that returns. Raises OSError."""
        layout = self._layout
        words = list(found)
        for at, argument in zip(layout.arguments, arguments, strict=False):
            words[at] = argument & 0xFFFFFFFFFFFFFFFF
        words[layout.number] = self._architecture.injected[name]
        words[layout.counter] -= layout.instruction
        if layout.entered >= 0:
            words[layout.entered] = 0xFFFFFFFFFFFFFFFF      # no call that could be begun again
        ptrace.set_registers(thread.number, layout, words)
        for _ in range(2):
            status = 0
            while not os.WIFSTOPPED(status) or os.WSTOPSIG(status) != _CALL_STOP:
                ptrace.run_to_call(thread.number)
                _, status = os.waitpid(thread.number, ptrace.ALL_THREADS)
                if not os.WIFSTOPPED(status):
                    self._drop(thread.number)
                    raise ProcessLookupError(errno.ESRCH, "killed")
        return _signed(ptrace.registers(thread.number, layout)[layout.result])


def _living(thread: int) -> set[int]:
    """The threads of its process that have not ended. Raises OSError."""
    numbers = (int(name) for name in os.listdir(f"/proc/{thread}/task"))
    return {number for number in numbers if _status(number, "State").partition(" ")[0] not in ("Z", "X", "")}


def _is_traced_by_us(thread: int) -> bool:
    return _status(thread, "TracerPid") == str(os.getpid())


def _status(thread: int, name: str) -> str:
    """A line of /proc/PID/status; empty where the thread is gone."""
    with suppress(OSError), open(f"/proc/{thread}/status", encoding="utf-8", errors="replace") as file:
        return next((line.partition(":")[2].strip() for line in file if line.startswith(f"{name}:")), "")
    return ""


def _signed(word: int) -> int:
    return word - (1 << 64) if word >> 63 else word

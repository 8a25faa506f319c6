"""Starts a command under the filter, and ends all of it again.

The order, for which no call is answered too early: fork; in the child no_new_privs, the filter, its listener to us by
a socket, exec. Between us and the command is a guard, a process that only waits for our end of a socket to be closed,
by us or by our death: then it ends the command and whatever that has left behind, and tells by its own exit code how
the command ended. Should the guard die first, the command dies with it, and the rest is ours to end.
"""

from __future__ import annotations

import array  # noqa: F401  # send_fds imports it: under the filter that would wait for us
import contextlib
import ctypes
import errno
import os
import resource
import signal
import socket
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from time import monotonic, sleep
from typing import Final

from transports.devnode.bpf import build_filter
from transports.devnode.request import Refused
from transports.devnode.seccomp import (
    Listener,
    Notification,
    ProcessMemory,
    install_filter,
    no_new_privileges,
    parent_death_signal,
    subreaper,
)
from transports.devnode.syscalls import ARCHITECTURES, Architecture

__all__ = ["CannotSupervise", "Launched", "architecture_here", "launch"]

_RANGE: Final = 224                 # descriptors of ours, below 1024: select(2) can have no higher ones
_TOP: Final = 1024
_LEAST_TOP: Final = 256
_GRACE: Final = 0.5
_REASONS: Final = {
    errno.EINVAL: "this kernel is too old: seccomp user notification as it is needed came with Linux 5.19",
    errno.ENOSYS: "the kernel has no seccomp, or the container hides it",
    errno.EPERM: "seccomp is not allowed here: a container's seccomp profile must allow seccomp(2)",
    errno.EACCES: "seccomp is not allowed here: a container's seccomp profile must allow seccomp(2)",
    errno.EBUSY: "another seccomp listener is at work already: scsiemu exec cannot run inside scsiemu exec",
}


class CannotSupervise(OSError):
    """The kernel or the container does not let us. Its text is one sentence."""


class Launched:
    """A command that was started.

    Args:
        pid: of it.
        guard: of its guard.
        control: while it is open the guard waits.

    Attributes:
        pidfd: readable when it has ended.
        status: a socket: closed when the command runs, an error number where it cannot be.
        first, end: descriptor numbers of ours.
    """

    def __init__(
        self, pid: int, guard: int, control: socket.socket, listener: Listener, status: socket.socket, first: int,
        end: int,
    ) -> None:
        self._guard = guard
        self._control = control
        self.listener = listener
        self.status = status
        self.first = first
        self.end = end
        self.pidfd = os.pidfd_open(pid)

    def exec_error(self) -> int:
        """Why the command cannot be run, as an error number; 0 where it runs."""
        try:
            text = self.status.recv(64)
        except OSError:
            return 0
        return int(text.split()[1]) if text else 0

    def signal(self, number: int) -> None:
        """Send it a signal."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.pidfd, number)

    def finish(self) -> int:
        """End it and what it has left running, close what belongs to it; its exit code, as shells have it."""
        self.signal(signal.SIGKILL)             # where we stop before it has ended
        # From here on calls of what is left fail with ENOSYS.
        self.listener.close()
        self.status.close()
        os.close(self.pidfd)
        return _end_guard(self._guard, self._control)


def architecture_here() -> Architecture:
    """The architecture of this machine. Raises CannotSupervise."""
    name = os.uname().machine
    found = ARCHITECTURES.get(name)
    if found is None:
        known = " and ".join(ARCHITECTURES)
        raise CannotSupervise(errno.ENOSYS, f"device nodes are known on {known}, not on {name}")
    return found


def launch(words: Sequence[str], environment: Mapping[str, str]) -> Launched:
    """Start a command. Raises CannotSupervise."""
    architecture = architecture_here()
    first, end = _descriptor_range()
    program = build_filter(architecture, first, end)
    subreaper()
    probe = ctypes.create_string_buffer(b"probe", 8)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    control, guarded = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    guard = os.fork()
    if not guard:
        control.close()
        ours.close()
        _guard(guarded, theirs, lambda: _child(theirs, architecture, program, words, environment, end))
    theirs.close()
    guarded.close()
    message, filenos, _, _ = socket.recv_fds(ours, 64, 1)
    if not filenos:
        _end_guard(guard, control)
        ours.close()
        number = int(message.split()[1]) if message else errno.EIO
        raise CannotSupervise(number, _REASONS.get(number, f"seccomp cannot be used: {os.strerror(number)}"))
    pid = int(message)
    launched = Launched(pid, guard, control, Listener(filenos[0]), ours, first, end)
    try:
        ProcessMemory(launched.listener, Notification(0, pid, 0, ())).read(ctypes.addressof(probe), 5)
    except Refused:
        launched.finish()
        raise CannotSupervise(
            errno.EPERM,
            "the kernel does not let us read the memory of a child (kernel.yama.ptrace_scope of 2 or 3, or a "
            "container without process_vm_readv)",
        ) from None
    ours.send(b"\0")
    return launched


def _guard(guarded: socket.socket, theirs: socket.socket, command: Callable[[], None]) -> None:
    """In the new process: never returns."""
    code = 127
    try:
        # What a terminal sends to all of us is not for the guard.
        kept = signal.pthread_sigmask(signal.SIG_SETMASK, signal.valid_signals())
        subreaper()
        pid = os.fork()
        if not pid:
            guarded.close()
            signal.pthread_sigmask(signal.SIG_SETMASK, kept)
            command()
        theirs.close()
        guarded.recv(1)
        code = _end_leftovers().get(pid, code)
    finally:
        os._exit(code)


def _end_guard(guard: int, control: socket.socket) -> int:
    """Let the guard end everything; the exit code of the command."""
    control.close()
    _, status = os.waitpid(guard, 0)
    _end_leftovers()                             # of a guard that was killed
    return _shell_code(status)


def _child(
    theirs: socket.socket, architecture: Architecture, program: bytes, words: Sequence[str],
    environment: Mapping[str, str], end: int,
) -> None:
    """In the new process: never returns."""
    try:
        parent_death_signal(signal.SIGKILL)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)
        signal.set_wakeup_fd(-1)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft < end:
            resource.setrlimit(resource.RLIMIT_NOFILE, (end, hard))
        no_new_privileges()
        listener = install_filter(architecture, program)
        socket.send_fds(theirs, [b"%d" % os.getpid()], [listener])
        os.close(listener)
        theirs.recv(1)                  # until we have been looked at
        os.execvpe(words[0], list(words), dict(environment))
    except OSError as error:
        with contextlib.suppress(OSError):
            theirs.send(b"error %d" % (error.errno or errno.EIO))
    finally:
        os._exit(127)


def _descriptor_range() -> tuple[int, int]:
    """Numbers below RLIMIT_NOFILE. Raises CannotSupervise."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    top = _TOP if hard == resource.RLIM_INFINITY else min(_TOP, hard)
    if top < _LEAST_TOP:
        raise CannotSupervise(errno.EMFILE, f"the limit of open files is {hard}: at least {_LEAST_TOP} are needed")
    return max(top - _RANGE, top // 2), top


def _end_leftovers() -> dict[int, int]:
    """End all children: SIGTERM, a moment, SIGKILL; their exit codes by pid, as shells have them."""
    codes: dict[int, int] = {}
    number, until = signal.SIGTERM, monotonic() + _GRACE
    told: set[int] = set()
    while _reap(codes):
        if number == signal.SIGTERM and monotonic() >= until:
            number = signal.SIGKILL
            told.clear()
        for pid in _children() - told:
            told.add(pid)
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        sleep(0.002)
    return codes


def _reap(codes: dict[int, int]) -> bool:
    """Note who has ended. False: there are no children any more."""
    try:
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return True
            codes[pid] = _shell_code(status)
    except ChildProcessError:
        return False


def _shell_code(status: int) -> int:
    """An exit code as shells have it."""
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _children() -> set[int]:
    """Our children, zombies too."""
    me = os.getpid()
    found = set()
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, IndexError):
            if int(path.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[1]) == me:
                found.add(int(path.parent.name))
    return found

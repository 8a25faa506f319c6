"""Starts a command under the filter, and ends all of it again.

The order, for which no call is answered too early: fork; in the child no_new_privs, the filter, its listener to us by
a socket, exec. The command dies with us; what it has left behind when it ends is ended, too.
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
from collections.abc import Mapping, Sequence
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

__all__ = ["CannotSupervise", "Launched", "architecture_here", "end_leftovers", "launch"]

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

    Attributes:
        pid: of it.
        pidfd: readable when it has ended.
        status: a socket: closed when the command runs, an error number where it cannot be.
        first, end: descriptor numbers of ours.
    """

    def __init__(self, pid: int, listener: Listener, status: socket.socket, first: int, end: int) -> None:
        self.pid = pid
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

    def close(self) -> None:
        """Close what belongs to it."""
        self.listener.close()
        self.status.close()
        os.close(self.pidfd)


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
    pid = os.fork()
    if not pid:
        _child(ours, theirs, architecture, program, words, environment, end)
    theirs.close()
    message, filenos, _, _ = socket.recv_fds(ours, 64, 1)
    if not filenos:
        os.waitpid(pid, 0)
        ours.close()
        number = int(message.split()[1]) if message else errno.EIO
        raise CannotSupervise(number, _REASONS.get(number, f"seccomp cannot be used: {os.strerror(number)}"))
    launched = Launched(pid, Listener(filenos[0]), ours, first, end)
    try:
        ProcessMemory(launched.listener, Notification(0, pid, 0, ())).read(ctypes.addressof(probe), 5)
    except Refused:
        launched.signal(signal.SIGKILL)
        os.waitpid(pid, 0)
        launched.close()
        raise CannotSupervise(
            errno.EPERM,
            "the kernel does not let us read the memory of a child (kernel.yama.ptrace_scope of 2 or 3, or a "
            "container without process_vm_readv)",
        ) from None
    ours.send(b"\0")
    return launched


def _child(
    ours: socket.socket, theirs: socket.socket, architecture: Architecture, program: bytes, words: Sequence[str],
    environment: Mapping[str, str], end: int,
) -> None:
    """In the new process: never returns."""
    try:
        ours.close()
        parent_death_signal(signal.SIGKILL)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)
        signal.set_wakeup_fd(-1)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft < end:
            resource.setrlimit(resource.RLIMIT_NOFILE, (end, hard))
        no_new_privileges()
        listener = install_filter(architecture, program)
        socket.send_fds(theirs, [b"listener"], [listener])
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


def end_leftovers() -> None:
    """End what the command left running: SIGTERM, a moment, SIGKILL, until no child of ours is left."""
    until = monotonic() + _GRACE
    for pid in _children():
        _kill(pid, signal.SIGTERM)
    while _children() and monotonic() < until:
        _reap()
        sleep(0.005)
    while left := _children():
        for pid in left:
            _kill(pid, signal.SIGKILL)
        _reap()
        sleep(0.001)


def _kill(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _reap() -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _children() -> list[int]:
    """Our children, zombies too."""
    me = os.getpid()
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, IndexError):
            if int(path.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[1]) == me:
                found.append(int(path.parent.name))
    return found

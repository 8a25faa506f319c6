"""Answers the system calls of a command: the loop, and the tasks of its nodes on their way.

One thread. A call is answered at once, or later when its task has ended; no call waits for another's task.

It does NOT start the command (launch.py), or know what a call means (path_calls.py, file_calls.py, sg.py).
"""

from __future__ import annotations

import errno
import os
import select
import socket
from collections.abc import Callable, Mapping
from functools import partial
from time import monotonic, time
from typing import Final

from scsiemu._value import value
from transports.devnode.abi import Ioctl
from transports.devnode.descriptors import Descriptors, OpenFile
from transports.devnode.driver import Driver
from transports.devnode.driver_calls import DriverCalls
from transports.devnode.file_calls import FileCalls, NodeCalls
from transports.devnode.mapped_memory import MappedMemory
from transports.devnode.path_calls import GO_ON, LATER, PathCalls
from transports.devnode.request import Host, HostStatus, Outcome, Refused, ResetScope, ScsiTask
from transports.devnode.seccomp import Gone, Listener, Notification, ProcessMemory, descriptor_of
from transports.devnode.sg import SgFile
from transports.devnode.sr import OpticalDrive
from transports.devnode.st import TapeDrive
from transports.devnode.syscalls import PATH_CALLS, Architecture
from transports.devnode.tracing import Tracer
from transports.devnode.transfer import Request
from transports.devnode.tree import Special, Tree
from transports.devnode.working_directories import WorkingDirectories

__all__ = ["DRIVERS", "Supervisor"]

_LOOK_SECONDS: Final = 0.05         # between looks whether those who wait are still there
_O_NONBLOCK: Final = os.O_NONBLOCK
_PAGE: Final = 4096
_NOT_TRACED: Final = (
    "a program may not have a device node at a descriptor from 3 up, as by `exec 3<`, because ptrace is forbidden or "
    "another traces it already: redirect the command itself (`dd < /dev/nst0`)"
)
_SG_NUMBERS: Final = 0x22           # second byte of the ioctls of sg
_SCSI_NUMBERS: Final = frozenset({Ioctl.SCSI_GET_IDLUN, Ioctl.SCSI_GET_BUS_NUMBER})

# Kinds of nodes that have a driver of their own, made for a unit.
DRIVERS: Final[Mapping[str, Callable[[int], Driver]]] = {"st": TapeDrive, "sr": OpticalDrive}


@value
class _Waiting:
    """A task that has not ended, and who is told.

    Args:
        note: the call that waits for it; None where it was written and will be read.
    """

    request: Request
    file: OpenFile
    host: Host
    until: float
    note: Notification | None
    address: int


@value
class _Reader:
    """A read(2) that waits for a request to end."""

    note: Notification
    file: OpenFile
    address: int
    count: int
    pack: int


class Supervisor(NodeCalls):
    """See the module.

    Args:
        hosts: by the number in H:C:T:L.
        first, end: descriptor numbers of ours.
        warn: takes a sentence for the user.
    """

    def __init__(
        self,
        tree: Tree,
        hosts: Mapping[int, Host],
        architecture: Architecture,
        listener: Listener,
        *,
        first: int,
        end: int,
        warn: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._hosts = hosts
        self._listener = listener
        self._descriptors = Descriptors(listener, first, end)
        self._drivers = DriverCalls(listener, hosts, self._descriptors)
        directories = WorkingDirectories()
        self._paths = PathCalls(
            tree, architecture, listener, self._descriptors, directories, self._open_node, self._drivers.report,
            now=int(time()),
        )
        files = FileCalls(
            tree, architecture, listener, self._descriptors, directories, self._paths, self, self._drivers
        )
        numbers = architecture.numbers
        self._handlers: dict[int, Callable[[Notification], int]] = {
            numbers[name]: handler for name, handler in files.handlers.items() if name in numbers
        }
        for call in PATH_CALLS:
            if call.name in numbers:
                self._handlers[numbers[call.name]] = partial(self._paths.handle, call)
        self._tracer = Tracer(architecture, first, self._handle)
        self._warn = warn
        self._waiting: dict[ScsiTask, _Waiting] = {}
        self._readers: list[_Reader] = []
        self._openers: list[tuple[Notification, str, Special, int]] = []
        self._epoll = select.epoll()
        self._watched: dict[int, Callable[[], None]] = {}
        self._look = 0.0
        self._ended = False
        self._warned = False

    # --- the loop ----------------------------------------------------------------------------------------------

    def run(self, others: Mapping[int, Callable[[], bool]]) -> None:
        """Answer calls until one of `others`, called when its descriptor is readable, says that it is over."""
        epoll = self._epoll
        listener = self._listener.fileno()
        self._watch(listener, self._call)
        for fileno, other in others.items():
            self._watch(fileno, partial(self._over, other))
        for host in self._hosts.values():
            for fileno in host.filenos():
                self._watch(fileno, partial(host.ready, fileno))
        self._ended = False
        watched = self._watched
        pending = False
        while not self._ended:
            for fileno, event in epoll.poll(self._patience(pending)):
                if fileno == listener:
                    if event & select.EPOLLHUP and not event & select.EPOLLIN:
                        epoll.unregister(listener)          # nobody is left who could call
                    else:
                        self._call()
                elif (action := watched.get(fileno)) is not None:
                    action()
                else:
                    self._socket(fileno)
            pending = bool(self._waiting or self._readers or self._openers) or self._drivers.busy
            if pending:
                self._see_to_tasks()

    def close(self) -> None:
        """End all tasks; the listener is closed by its owner."""
        for waiting in list(self._waiting.values()):
            self._abort(waiting)
        self._drivers.close()
        self._tracer.close()
        self._descriptors.close()
        self._paths.close()
        self._epoll.close()

    def _watch(self, fileno: int, action: Callable[[], None]) -> None:
        if fileno not in self._watched:
            self._epoll.register(fileno, select.EPOLLIN)
        self._watched[fileno] = action

    def unwatch(self, fileno: int) -> None:
        """Look at a descriptor no more."""
        if self._watched.pop(fileno, None) is not None:
            self._epoll.unregister(fileno)

    def _over(self, other: Callable[[], bool]) -> None:
        if other():
            self._ended = True

    def _patience(self, pending: bool) -> float:                                                 # hot
        """Seconds until something is to be looked at; -1 for whenever. Hosts whose time has come are told.

        Args:
            pending: somebody waits.
        """
        wait = _LOOK_SECONDS if pending else -1.0
        for host in self._hosts.values():
            deadline = host.deadline()
            if deadline is not None:
                now = monotonic()
                if deadline <= now:
                    host.advance(now)
                left = max(0.0, deadline - now)
                wait = left if wait < 0 else min(wait, left)
        return wait

    def _call(self) -> None:                                                                     # hot
        """Receive a call and answer it."""
        listener = self._listener
        try:
            note = listener.receive()
        except Gone:
            return
        self._handle(note)

    def _handle(self, note: Notification) -> None:                                               # hot
        listener = self._listener
        try:
            result = self._handlers[note.number](note)
        except Refused as refused:
            listener.refuse(note, refused.number)
            return
        except Gone:
            return
        except OSError as error:
            listener.refuse(note, error.errno or errno.EIO)
            return
        if result == GO_ON:
            listener.go_on(note)
        elif result != LATER:
            listener.answer(note, result)

    def children_changed(self) -> None:
        """SIGCHLD came: threads that are traced may have stopped."""
        self._tracer.look()

    def cover(self, note: Notification) -> None:
        """What the call returns is a descriptor of ours, perhaps below our range. Raises Refused."""
        try:
            self._tracer.cover(note.pid)
        except Refused:
            if not self._warned:
                self._warned = True
                self._warn(_NOT_TRACED)
            raise

    def _advance(self) -> None:
        now = monotonic()
        for host in self._hosts.values():
            deadline = host.deadline()
            if deadline is not None and deadline <= now:
                host.advance(now)

    # --- nodes -------------------------------------------------------------------------------------------------

    def _open_driver(self, make: Callable[[int], Driver], note: Notification, entry: Special, flags: int) -> int:
        for file in self._drivers.left():
            self._socket(file.ours.fileno())
        address = entry.node.address
        line = self._drivers.line(address.host, address.unit, make)
        return self._drivers.open(line, note, entry.node.path, entry, flags, self._opened)

    def _opened(self, file: OpenFile) -> None:
        self._epoll.register(file.ours.fileno(), select.EPOLLRDHUP)

    def _open_node(self, note: Notification, path: str, entry: Special, flags: int) -> int:
        make = DRIVERS.get(entry.node.kind.name)
        if make is not None:
            return self._open_driver(make, note, entry, flags)
        access = flags & os.O_ACCMODE
        exclusive = bool(flags & os.O_EXCL)
        if exclusive and access == os.O_RDONLY:
            raise Refused(errno.EPERM)
        others = [file for file in self._descriptors.files() if file.path == path]
        if (exclusive and others) or any(file.exclusive for file in others):
            if flags & _O_NONBLOCK:
                raise Refused(errno.EBUSY)
            self._openers.append((note, path, entry, flags))
            return LATER
        sg = SgFile(entry.node, readable=access != os.O_WRONLY, writable=access != os.O_RDONLY)
        file = self._descriptors.open(
            note, path, entry, sg=sg, nonblock=bool(flags & _O_NONBLOCK), close_on_exec=bool(flags & os.O_CLOEXEC)
        )
        file.exclusive = exclusive
        self._opened(file)
        return LATER

    def _socket(self, fileno: int) -> None:
        """The last descriptor of a file is closed: what goes on for it is aborted."""
        file = self._descriptors.of_socket(fileno)
        if file is None:
            return
        self._epoll.unregister(fileno)
        for waiting in list(self._waiting.values()):
            if waiting.file is file:
                self._abort(waiting)
        self._readers = [reader for reader in self._readers if reader.file is not file]
        self._drivers.close_file(None, file)
        self._descriptors.forget(file)
        openers, self._openers = self._openers, []
        for note, path, entry, flags in openers:
            self._try(note, partial(self._open_node, note, path, entry, flags))

    def ioctl(self, note: Notification, file: OpenFile) -> int:                                   # hot
        """ioctl(2) of a node. Raises Refused, Gone."""
        sg = file.sg
        assert sg is not None
        arguments = note.arguments
        number = arguments[1] & 0xFFFFFFFF
        if file.line is not None and number >> 8 & 0xFF != _SG_NUMBERS and number not in _SCSI_NUMBERS:
            return self._drivers.ioctl(note, file, number, arguments[2])
        if number == Ioctl.SG_IO:
            memory = ProcessMemory(self._listener, note, sg.last_cdb)
            request = sg.begin(memory, arguments[2])
            memory.make_sure()
            return self._start(request, file, note, memory, arguments[2])
        memory = ProcessMemory(self._listener, note)
        opened = sum(other.path == file.path for other in self._descriptors.files())
        result = sg.ioctl(memory, number, arguments[2], now=monotonic(), opened=opened)
        if sg.reset_scope != ResetScope.NOTHING:
            address = sg.node.address
            self._hosts[address.host].reset(address.unit, sg.reset_scope)
            self._collect()
        return result

    def map(self, note: Notification, file: OpenFile) -> int:
        """mmap(2) of an sg file: the kernel maps its reserved buffer. Raises Refused, Gone and OSError."""
        sg, length, number = file.sg, note.arguments[1], note.arguments[4] & 0xFFFFFFFF
        if sg is None or file.line is not None or not sg.is_sg:
            raise Refused(errno.ENODEV)
        if note.arguments[5]:
            raise Refused(errno.EINVAL)
        if length > -(-sg.reserved // _PAGE) * _PAGE:
            raise Refused(errno.ENOMEM)
        if isinstance(sg.mapping, MappedMemory):
            if os.readlink(f"/proc/{note.pid}/fd/{number}") != sg.mapping.name:
                raise Refused(errno.EBUSY)      # a copy that another process has from before
            return GO_ON
        mapping = self._descriptors.map(note, number, file, sg.reserved)
        sg.mapping = mapping

        def closed() -> None:
            self.unwatch(mapping.closing)
            sg.mapping = None
            self._descriptors.unmap(mapping)    # the last copy of the socket may go with it, which is the end

        self._watch(mapping.closing, closed)
        return GO_ON

    def _start(
        self, request: Request, file: OpenFile, note: Notification | None, memory: ProcessMemory, address: int
    ) -> int:                                                                                    # hot
        """Execute; 0 when it has ended at once and its answer is written, else LATER."""
        assert file.sg is not None
        task = request.task
        now = monotonic()
        task.started = now
        host = self._hosts[file.sg.node.address.host]
        host.advance(now)
        host.start(task)
        if task.outcome is None:
            self._waiting[task] = _Waiting(request, file, host, now + task.seconds, note, address)
        elif note is not None:
            request.finish(memory, address, now=now)
            return 0
        else:
            self._written_ended(file, request)
        return LATER

    def write(self, note: Notification, file: OpenFile, address: int, count: int) -> int:
        """write(2): begin a request. Raises Refused, Gone."""
        sg = file.sg
        assert sg is not None
        memory = ProcessMemory(self._listener, note)
        request = sg.begin_write(memory, address, count)
        try:
            memory.make_sure()
        except Gone:
            sg.pending.remove(request)
            raise
        self._start(request, file, None, memory, 0)
        return count if sg.is_sg else request.size

    def read(self, note: Notification, file: OpenFile, address: int, count: int) -> int:
        """read(2): a request that has ended. Raises Refused, Gone."""
        sg = file.sg
        assert sg is not None
        pack = sg.wanted_pack(ProcessMemory(self._listener, note), address, count)
        request = sg.take_ready(pack)
        if request is None:
            if _is_nonblocking(note):
                raise Refused(errno.EAGAIN)
            self._readers.append(_Reader(note, file, address, count, pack))
            return LATER
        return self._read_out(_Reader(note, file, address, count, pack), request)

    def _read_out(self, reader: _Reader, request: Request) -> int:
        _take_byte(reader.note, reader.file)
        memory = ProcessMemory(self._listener, reader.note)
        return request.read_out(memory, reader.address, reader.count, now=monotonic())

    def _written_ended(self, file: OpenFile, request: Request) -> None:
        """A request that was written can be read: poll(2) says so, and a reader that waits gets it."""
        assert file.sg is not None
        file.sg.ended(request)
        try:
            file.ours.send(b"\0")
        except OSError:
            return                  # closed, which is seen soon
        for reader in list(self._readers):
            if reader.file is file and (found := file.sg.take_ready(reader.pack)) is not None:
                self._readers.remove(reader)
                self._try(reader.note, partial(self._read_out, reader, found))

    # --- tasks on their way ------------------------------------------------------------------------------------

    def _see_to_tasks(self) -> None:
        """Collect what has ended; now and then look for those that nobody waits for, and that take too long."""
        self._advance()
        self._collect()
        now = monotonic()
        if now < self._look:
            return
        self._look = now + _LOOK_SECONDS
        self._drivers.look(now)
        for waiting in list(self._waiting.values()):
            if waiting.note is not None and not self._listener.is_valid(waiting.note):
                self._abort(waiting)
            elif now >= waiting.until:
                self._abort(waiting)
                waiting.request.task.outcome = Outcome(host_status=HostStatus.TIME_OUT)
                self._end(waiting)
        self._readers = [reader for reader in self._readers if self._listener.is_valid(reader.note)]
        self._openers = [opener for opener in self._openers if self._listener.is_valid(opener[0])]

    def _collect(self) -> None:
        for host in self._hosts.values():
            for task in host.finished():
                if self._drivers.finished(task):
                    continue
                waiting = self._waiting.pop(task, None)
                if waiting is not None:
                    self._end(waiting)

    def _end(self, waiting: _Waiting) -> None:
        """Its outcome is known: tell who waits."""
        note = waiting.note
        if note is None:
            self._written_ended(waiting.file, waiting.request)
            return

        def finish() -> int:
            waiting.request.finish(ProcessMemory(self._listener, note), waiting.address, now=monotonic())
            return 0

        self._try(note, finish)

    def _abort(self, waiting: _Waiting) -> None:
        self._waiting.pop(waiting.request.task, None)
        waiting.host.abort(waiting.request.task)

    def _try(self, note: Notification, action: Callable[[], int]) -> None:
        """Answer a call that waited."""
        try:
            result = action()
        except Refused as refused:
            self._listener.refuse(note, refused.number)
        except Gone:
            return
        except OSError as error:
            self._listener.refuse(note, error.errno or errno.EIO)
        else:
            if result != LATER:
                self._listener.answer(note, result)


def _is_nonblocking(note: Notification) -> bool:
    """O_NONBLOCK as it is now: fcntl(2) may have changed it."""
    try:
        with open(f"/proc/{note.pid}/fdinfo/{note.arguments[0] & 0xFFFFFFFF}", encoding="ascii") as file:
            flags = next(line.split()[1] for line in file if line.startswith("flags:"))
    except (OSError, StopIteration):
        return False
    return bool(int(flags, 8) & _O_NONBLOCK)


def _take_byte(note: Notification, file: OpenFile) -> None:
    """Take the byte that made the descriptor readable."""
    mapping = file.sg.mapping if file.sg is not None else None
    try:
        if isinstance(mapping, MappedMemory):
            copy = os.dup(mapping.kept)
        else:
            copy = descriptor_of(note.pid, note.arguments[0] & 0xFFFFFFFF)
        with socket.socket(fileno=copy) as end:
            end.recv(1, socket.MSG_DONTWAIT)
    except OSError:
        return

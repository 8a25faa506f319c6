"""Device nodes as the program uses them: units are added, then a command runs with their nodes.

    nodes = DeviceNodes()
    nodes.add_target(target, stores, initiators=2)      # units of a target in this process, by two initiator ports
    nodes.add_client(connect)                           # a unit elsewhere: an object with execute()
    code = nodes.run(["sg_inq", "/dev/sg0"], environment)

Like Linux when it finds units, it asks for REPORT LUNS' order of them, INQUIRY and two VPD pages, and takes the unit
attentions of a new nexus away.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
import socket
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from struct import unpack
from time import monotonic
from typing import Final

from scsiemu.io_requests import Store
from scsiemu.lun import decode
from scsiemu.nexus import Protocol
from scsiemu.sam import Status
from scsiemu.services import Client
from scsiemu.target import Target
from transports.devnode.launch import CannotSupervise, architecture_here, launch
from transports.devnode.local_host import LocalHost, TargetDriver
from transports.devnode.machine import AttachedUnit, build_tree
from transports.devnode.nodes import UnitAddress
from transports.devnode.remote_host import RemoteHost
from transports.devnode.request import Host, HostStatus, Outcome, ScsiTask
from transports.devnode.supervisor import Supervisor
from transports.devnode.tree import Tree

__all__ = ["NOT_EXECUTABLE", "NOT_FOUND", "DeviceNodes"]

NOT_EXECUTABLE: Final = 126         # as shells and env(1) have it
NOT_FOUND: Final = 127

_UNIT_ATTENTION: Final = 6
_MOST_ATTENTIONS: Final = 16
_INQUIRY: Final = bytes.fromhex("120000006000")
_PAGES: Final = (0x80, 0x83)
_OPTICAL: Final = 5
_MECHANISM: Final = bytes.fromhex("5a082a00000000008000")     # MODE SENSE(10) of the capabilities page
_READ_CAPACITY: Final = bytes.fromhex("25000000000000000000")
_PATIENCE: Final = 30.0


class DeviceNodes:
    """Units, and the command that sees them.

    Args:
        told: takes what happened in targets, after every turn: fetch `Target.next_event`.
        keep_attentions: leave the unit attentions of a new nexus to the command.
        warn: takes a sentence for the user while the command runs.
    """

    def __init__(
        self, *, told: Callable[[Target], None] = lambda target: None, keep_attentions: bool = False,
        warn: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._told = told
        self._warn = warn
        self._keep_attentions = keep_attentions
        self._hosts: dict[int, Host] = {}
        self._units: list[AttachedUnit] = []

    def add_target(self, target: Target, stores: Sequence[Store], *, initiators: int = 1) -> None:
        """Add a host for each initiator port, each with all units of the target."""
        driver = TargetDriver(target, stores, self._told)
        for number in range(initiators):
            host = LocalHost(
                driver, f"scsiemu-exec-{number}", _transport_id(number), watches=not number
            )
            place = self._add_host(host)
            for lun in sorted(target.units):
                self._add_unit(host, UnitAddress(place, 0, 0, decode(lun).number, lun))

    def add_client(self, connect: Callable[[], Client]) -> None:
        """Add a unit that a client is logged in to. Raises what `connect` raises."""
        host = RemoteHost(connect)
        self._add_unit(host, UnitAddress(self._add_host(host), 0, 0, 0, 0))

    def _add_host(self, host: Host) -> int:
        place = len(self._hosts)
        self._hosts[place] = host
        return place

    def _add_unit(self, host: Host, address: UnitAddress) -> None:
        if not self._keep_attentions:
            for _ in range(_MOST_ATTENTIONS):
                outcome = _execute(host, ScsiTask(address.unit, bytes(6)))
                if outcome.status != Status.CHECK_CONDITION or not _is_attention(outcome):
                    break
        inquiry = bytes(_execute(host, ScsiTask(address.unit, _INQUIRY, data_in_length=96)).data_in)
        pages = []
        for page in _PAGES:
            cdb = bytes((0x12, 1, page, 0, 0xFC, 0))
            outcome = _execute(host, ScsiTask(address.unit, cdb, data_in_length=0xFC))
            if outcome.status == Status.GOOD and outcome.data_in:
                pages.append((page, bytes(outcome.data_in)))
        mechanism, sectors = b"", 0
        if inquiry and inquiry[0] & 0x1F == _OPTICAL:
            outcome = _execute(host, ScsiTask(address.unit, _MECHANISM, data_in_length=128))
            data = bytes(outcome.data_in)
            if outcome.status == Status.GOOD and len(data) >= 8:
                mechanism = data[8 + int.from_bytes(data[6:8], "big") :]
            outcome = _execute(host, ScsiTask(address.unit, _READ_CAPACITY, data_in_length=8))
            if outcome.status == Status.GOOD and len(outcome.data_in) == 8:
                last, length = unpack(">II", outcome.data_in)
                sectors = (last + 1) * length // 512
        self._units.append(
            AttachedUnit(address, inquiry.ljust(36, b"\0"), host.name, tuple(pages), mechanism, sectors)
        )

    @property
    def node_paths(self) -> tuple[str, ...]:
        """/dev/sg0 and so on, in the order of the units."""
        return tuple(f"/dev/sg{index}" for index in range(len(self._units)))

    def tree(self) -> Tree:
        """The files that the command will see."""
        try:
            devices = Path("/proc/devices").read_text(encoding="ascii")
        except OSError:
            devices = ""
        return build_tree(self._units, exists=os.path.isdir, devices=devices)

    def run(self, words: Sequence[str], environment: Mapping[str, str]) -> int:
        """Run a command; its exit code. Raises OSError, one sentence, where the kernel does not let us."""
        if not hasattr(os, "pidfd_open"):
            raise CannotSupervise(errno.ENOSYS, "this Python has no pidfd_open")
        tree = self.tree()
        architecture = architecture_here()
        with _Signals() as signals:
            launched = launch(words, environment)
            supervisor = Supervisor(
                tree, self._hosts, architecture, launched.listener, first=launched.first, end=launched.end,
                warn=self._warn,
            )
            exec_errors: list[int] = []

            def started() -> bool:
                exec_errors.append(launched.exec_error())
                supervisor.unwatch(launched.status.fileno())
                return False

            def stopped() -> bool:
                for number in signals.take():
                    if number == signal.SIGCHLD:
                        supervisor.children_changed()
                    else:
                        launched.signal(number)
                return False

            try:
                supervisor.run({
                    launched.pidfd: lambda: True, launched.status.fileno(): started, signals.fileno(): stopped
                })
            finally:
                supervisor.close()
                code = launched.finish()
        if exec_errors and exec_errors[0]:
            return NOT_FOUND if exec_errors[0] == errno.ENOENT else NOT_EXECUTABLE
        return code

    def close(self) -> None:
        """Log out everywhere."""
        for host in self._hosts.values():
            host.close()


class _Signals:
    """SIGTERM, SIGHUP and SIGCHLD by a descriptor; SIGINT is for the command alone, which gets it from the terminal."""

    _NUMBERS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD)

    def __enter__(self) -> _Signals:
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        self._old_fileno = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        self._old = {number: signal.signal(number, lambda number, frame: None) for number in self._NUMBERS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._old_fileno)
        self._reader.close()
        self._writer.close()

    def fileno(self) -> int:
        """Readable when a signal came."""
        return self._reader.fileno()

    def take(self) -> list[int]:
        """The signals that came, each once, but SIGINT."""
        with contextlib.suppress(OSError):
            return sorted(set(self._reader.recv(1024)) - {signal.SIGINT})
        return []


def _execute(host: Host, task: ScsiTask) -> Outcome:
    """Execute before the command runs, and wait."""
    until = monotonic() + _PATIENCE
    host.advance(monotonic())
    host.start(task)
    while task.outcome is None and monotonic() < until:
        readable, _, _ = select.select(host.filenos(), (), (), 0.01)
        for fileno in readable:
            host.ready(fileno)
        host.advance(monotonic())
        for _ in host.finished():
            pass
    if task.outcome is None:
        host.abort(task)
        raise TimeoutError(errno.ETIMEDOUT, f"a unit does not answer within {_PATIENCE:g} seconds")
    if task.outcome.host_status != HostStatus.OK:
        raise ConnectionAbortedError(errno.ECONNABORTED, "the connection to a unit is lost")
    return task.outcome


def _is_attention(outcome: Outcome) -> bool:
    sense = bytes(outcome.sense)
    if not sense:
        return False
    at = 1 if sense[0] & 0x7F >= 0x72 else 2
    return len(sense) > at and sense[at] & 0x0F == _UNIT_ATTENTION


def _transport_id(number: int) -> bytes:
    """A TransportID of no protocol: 23 bytes that name the port (SPC-5 7.6.4)."""
    return bytes((Protocol.NONE,)) + f"scsiemu exec port {number}".encode().ljust(23, b"\0")[:23]

"""A client of virtual SCSI over a Unix socket: blocking, for tools and tests.

    with connect("/run/scsiemu/vscsi") as client:
        result = client.execute(0, cdb, allocation=96)

Its memory is a memfd, sealed so that the server need not fear it. Hypervisor calls are datagrams.

It does NOT: reconnect. After a violation the handshake begins anew by itself; after the server's end nothing does.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import socket
from time import monotonic
from types import TracebackType
from typing import Final, Self

from scsiemu.command import Buffer
from scsiemu.sam import TaskManagementFunction, TaskManagementResponse
from transports.vscsi.codes import IU_LENGTH, Hcall, Return
from transports.vscsi.dma import PAGE
from transports.vscsi.initiator import ClientAdapter, ClientState
from transports.vscsi.requests import FragmentRule, Request, Result, VscsiError
from transports.vscsi.wire import Call, Hello, Refusal, decode_return, decode_welcome

__all__ = ["Client", "connect"]

_MEMORY: Final = 32 << 20
_LONGEST: Final = 256
_SEALS: Final = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL


def connect(
    path: str,
    *,
    name: str = "client",
    identity: int = 0,
    memory: int = _MEMORY,
    iu_length: int = IU_LENGTH,
    rule: FragmentRule | None = None,
    events: bool = False,
    seconds: float = 30.0,
) -> Client:
    """Log in to the server at `path`. Raises OSError and VscsiError.

    Args:
        name: of our partition.
        identity: which initiator we are; 0: the server chooses.
        memory: bytes behind the window.
        rule: how buffers are described.
        events: leave the server an information unit for asynchronous events.
        seconds: for the login, and for each command.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        sock.settimeout(seconds)
        sock.connect(path)
        client = Client(
            sock, name=name, identity=identity, memory=memory, iu_length=iu_length, rule=rule or FragmentRule(),
            events=events, seconds=seconds,
        )
    except BaseException:
        sock.close()
        raise
    try:
        client.log_in()
    except BaseException:
        client.abandon()
        raise
    return client


class Client:
    """See `connect`.

    Attributes:
        adapter: the virtual adapter.
        calls: the hypervisor, by datagrams.
        sock: that they go over.
    """

    def __init__(
        self, sock: socket.socket, *, name: str, identity: int, memory: int, iu_length: int, rule: FragmentRule,
        events: bool, seconds: float,
    ) -> None:
        self.sock = sock
        self._seconds = seconds
        size = memory + PAGE - 1 & -PAGE
        descriptor = os.memfd_create("vscsi", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(descriptor, size)
            fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEALS)
            self._memory = mmap.mmap(descriptor, size)
            socket.send_fds(sock, [Hello(size, identity, name).encode()], [descriptor])
        finally:
            os.close(descriptor)
        welcome = decode_welcome(sock.recv(_LONGEST))
        if welcome.refusal != Refusal.NONE:
            raise VscsiError(f"the server refuses: {_REFUSALS.get(welcome.refusal, welcome.refusal)}")
        self.calls = _Calls(sock)
        self.adapter = ClientAdapter(
            self.calls, welcome.unit, memoryview(self._memory), name=name, number=identity & 0xFFFF_FFFF,
            iu_length=iu_length, rule=rule, events=events,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def log_in(self) -> None:
        """Register the queue and wait for the login."""
        self.adapter.start()
        end = monotonic() + self._seconds
        while self.adapter.state not in (ClientState.READY, ClientState.REJECTED):
            self._wait(end)
        if self.adapter.state == ClientState.REJECTED:
            raise VscsiError(f"the login was rejected, reason {self.adapter.reject_reason:08X}h")

    # --- commands ----------------------------------------------------------------------------------------------

    def execute(
        self, lun: int, cdb: bytes, data_out: Buffer = b"", allocation: int = 0, *, attribute: int = 0
    ) -> Result:
        """Execute a command. Raises VscsiError where it ended without a status, OSError where the server is gone."""
        return self.finish(self.start(lun, cdb, data_out, allocation, attribute=attribute))

    def start(
        self, lun: int, cdb: bytes, data_out: Buffer = b"", allocation: int = 0, *, attribute: int = 0
    ) -> Request:
        """Send a command; do not wait."""
        return self.adapter.execute(lun, cdb, data_out, allocation, attribute=attribute)

    def finish(self, request: Request) -> Result:
        """Wait until a command has ended."""
        self.wait(request)
        return request.outcome()

    def manage(
        self, function: TaskManagementFunction, lun: int = 0, *, task: Request | None = None
    ) -> TaskManagementResponse:
        """Perform a task management function."""
        request = self.start_function(function, lun, task=task)
        self.wait(request)
        return request.function_answer()

    def start_function(
        self, function: TaskManagementFunction, lun: int = 0, *, task: Request | None = None
    ) -> Request:
        """Send a task management function; do not wait."""
        return self.adapter.manage(function, lun, task=task)

    def wait(self, request: Request) -> None:
        """Wait until a request has ended."""
        end = monotonic() + self._seconds
        while not request.done:
            self._wait(end)

    def _wait(self, end: float) -> None:
        """Look into the queue, and wait for an interrupt if there is nothing in it."""
        if self.adapter.process():
            return
        self.sock.settimeout(max(end - monotonic(), 0.001))
        self.calls.receive()
        self.adapter.process()

    # --- the end -----------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Close the queue and the socket."""
        if self.sock.fileno() >= 0:
            try:
                self.adapter.close()
            except OSError:
                pass                    # the server was first
            self.sock.close()

    def abandon(self) -> None:
        """Break the connection, as the end of our process would."""
        self.sock.close()


class _Calls:
    """Hypervisor calls by datagrams."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def receive(self) -> int | None:
        """One datagram: the code of a call, None for an interrupt."""
        data = self._sock.recv(_LONGEST)
        if not data:
            raise ConnectionResetError("the server has closed the connection")
        return decode_return(data)

    def call(self, call: Call) -> int:
        """A call, and its code."""
        self._sock.send(call.encode())
        while True:
            code = self.receive()       # interrupts are not lost: who has called looks into the queue next
            if code is not None:
                return code

    def h_reg_crq(self, unit: int, address: int, size: int) -> int:
        """H_REG_CRQ."""
        return self.call(Call(Hcall.REG_CRQ, address, size))

    def h_free_crq(self, unit: int) -> int:
        """H_FREE_CRQ."""
        return self.call(Call(Hcall.FREE_CRQ))

    def h_enable_crq(self, unit: int) -> int:
        """H_ENABLE_CRQ."""
        return self.call(Call(Hcall.ENABLE_CRQ))

    def h_send_crq(self, unit: int, high: int, low: int) -> int:
        """H_SEND_CRQ. That the queue was closed is told by a transport event."""
        try:
            self._sock.send(high.to_bytes(8, "big") + low.to_bytes(8, "big"))
        except TimeoutError:
            return Return.DROPPED
        except OSError:
            return Return.CLOSED
        return Return.SUCCESS


_REFUSALS: Final = {
    Refusal.BAD_HELLO: "another protocol",
    Refusal.BAD_MEMORY: "it cannot map the memory",
    Refusal.IDENTITY_TAKEN: "another client has this identity",
    Refusal.TOO_MANY: "too many clients",
}

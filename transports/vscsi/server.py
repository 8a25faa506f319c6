"""Virtual SCSI over a Unix socket: an asyncio adapter. With client.py the only modules here that do I/O.

    transport = VscsiTransport(target, stores=[store])
    await transport.start("/run/scsiemu/vscsi")
    ...
    await transport.stop()

A client comes with a memfd, sealed against shrinking, as the memory behind its window: reading it cannot fault, and the
client never sees memory of ours. Interrupts are datagrams that are left out while the client has unread ones. The
socket is for its owner alone (0600), and clients have the identity that they claim: who may open the socket is trusted
with that.

It does NOT: decide anything of virtual SCSI (adapter.py), or run in more than the thread of its loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import mmap
import os
import socket
import stat
from collections.abc import Callable, Collection, Iterable
from typing import Final

from scsiemu import asc
from scsiemu.events import Event, InventoryChanged
from scsiemu.io_requests import Store
from scsiemu.sense import Sense
from scsiemu.target import Target
from transports._unix_sockets import listen_at_path
from transports._watched_stores import WatchedStores
from transports.vscsi.codes import Hcall, Return
from transports.vscsi.dma import PAGE, TCE_READ, TCE_WRITE, DmaWindow
from transports.vscsi.hypervisor import Hypervisor
from transports.vscsi.port import VscsiPort
from transports.vscsi.wire import (
    CALL_LENGTH,
    CRQ_LENGTH,
    HELLO_LENGTH,
    INTERRUPT,
    Call,
    Hello,
    Refusal,
    Welcome,
    WireError,
    decode_call,
    decode_hello,
    encode_return,
)

__all__ = ["VscsiTransport"]

_MEMORY_LIMIT: Final = 1 << 30          # bytes behind a client's window
_CLIENT_LIMIT: Final = 256
_HELLO_SECONDS: Final = 5.0
_DATAGRAMS: Final = 64                  # of one client in a turn
_LONGEST: Final = max(CALL_LENGTH, HELLO_LENGTH) + 1
_FIRST_BUS: Final = 0x1000_0001
_TICK: Final = 1.0
_INVENTORY_SENSE: Final = Sense(asc.REPORTED_LUNS_DATA_HAS_CHANGED).encode(descriptor=False)


class VscsiTransport:
    """Serves a target to client processes.

    Args:
        target: or a `VscsiPort` of one.
        stores: io handlers of its units: those with a `fileno()` answer late.
        report: takes lines for the operator.
        on_event: told what happened in the target.
        handed_over: called when stores have answered, or something was handed to the origins of other transports.
    """

    def __init__(
        self,
        target: Target | VscsiPort,
        *,
        stores: Iterable[Store] = (),
        report: Callable[[str], None] | None = None,
        on_event: Callable[[Event], None] | None = None,
        handed_over: Callable[[], None] | None = None,
    ) -> None:
        self.port = target if isinstance(target, VscsiPort) else VscsiPort(target)
        self.hypervisor = Hypervisor()
        self._stores = WatchedStores(stores, self._answered)
        self._report = report
        self._on_event = on_event
        self._handed_over = handed_over
        self._clients: dict[_Client, None] = {}
        self._listener: socket.socket | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._path = ""
        self._bus = _FIRST_BUS

    async def start(self, path: str) -> None:
        """Listen at a path. Raises OSError, also where somebody listens there already."""
        listener = listen_at_path(path, socket.SOCK_SEQPACKET)
        self._loop = loop = asyncio.get_running_loop()
        self._listener, self._path = listener, path
        loop.add_reader(listener, self._accept)
        self._stores.start(loop)
        self.tick()

    async def stop(self) -> None:
        """Log every client out and close."""
        loop = self._loop
        if loop is None:
            return
        assert self._listener is not None, "started"
        loop.remove_reader(self._listener)
        self._listener.close()
        with contextlib.suppress(OSError):
            os.unlink(self._path)
        for client in list(self._clients):
            client.close("")
        self._stores.stop()
        if self._timer is not None:
            self._timer.cancel()
        self._loop = None

    def _accept(self) -> None:
        assert self._loop is not None, "started"
        assert self._listener is not None, "started"
        try:
            sock, _ = self._listener.accept()
        except OSError:
            return
        sock.setblocking(False)
        if len(self._clients) >= _CLIENT_LIMIT:
            with contextlib.suppress(OSError):
                sock.send(Welcome(Refusal.TOO_MANY).encode())
            sock.close()
            return
        client = _Client(self, self._loop, sock)
        self._clients[client] = None

    def forget(self, client: _Client, reason: str) -> None:
        """Told by a client: it is closed."""
        self._clients.pop(client, None)
        if reason and self._report is not None:
            self._report(f"virtual SCSI client {client.name or '?'}: {reason}")

    def next_bus(self) -> int:
        """A bus number for a window."""
        self._bus += 1
        return self._bus

    def identity_for(self, wanted: int) -> int | None:
        """An identity for a client; None: it is taken."""
        taken = {client.identity for client in self._clients}
        if wanted:
            return None if wanted in taken or wanted >= 1 << 63 else wanted
        return next(number for number in range(1 << 63, 1 << 64) if number not in taken)

    # --- the world ---------------------------------------------------------------------------------------------

    def add_store(self, store: Store) -> None:
        """A unit was added live: watch its store, too."""
        self._stores.add(store)

    def remove_store(self, store: Store) -> None:
        """The store is going to be closed."""
        self._stores.remove(store)

    def _answered(self, targets: Collection[Target]) -> None:
        self.port.handed_over = True            # the unit may be another target's
        self.go_on()

    def go_on(self) -> None:
        """Something was done to the target: bring to the clients what came of it."""
        self.port.settle()
        if self.port.handed_over:
            self.port.handed_over = False
            if self._handed_over is not None:
                self._handed_over()
        for client in list(self._clients):
            client.interrupt()
        self._arm()

    def tick(self) -> None:
        """The clock."""
        loop = self._loop
        if loop is None:
            return
        self._timer = None
        self.port.advance(loop.time())
        while (event := self.port.target.next_event()) is not None:
            self.told(event)
            if self._on_event is not None:
                self._on_event(event)
        self.go_on()

    def told(self, event: Event) -> None:
        """Something happened in the target: tell clients that want to know."""
        if isinstance(event, InventoryChanged):
            for client in list(self._clients):
                client.tell_inventory_changed()

    def _arm(self) -> None:
        loop = self._loop
        if loop is None:
            return
        now = loop.time()
        deadline = self.port.deadline()
        when = now + _TICK if deadline is None else min(deadline, now + _TICK)
        if self._timer is not None:
            if self._timer.when() <= when:
                return
            self._timer.cancel()
        self._timer = loop.call_at(when, self.tick)

    def now(self) -> None:
        """Bring the target's clock up to date."""
        if self._loop is not None:
            self.port.target.advance(self._loop.time())


class _Client:
    """The socket and the memory of a client."""

    def __init__(self, transport: VscsiTransport, loop: asyncio.AbstractEventLoop, sock: socket.socket) -> None:
        self.identity = 0
        self.name = ""
        self._transport = transport
        self._loop = loop
        self._sock = sock
        self._memory: mmap.mmap | None = None
        self._view: memoryview | None = None
        self._window: DmaWindow
        self._unit = 0
        self._pending = False
        self._deadline: asyncio.TimerHandle | None = loop.call_later(_HELLO_SECONDS, self.close, "no greeting")
        loop.add_reader(sock, self._greeted)

    # --- greeting ----------------------------------------------------------------------------------------------

    def _greeted(self) -> None:
        """HELLO, and the memory."""
        try:
            data, descriptors, _, _ = socket.recv_fds(self._sock, _LONGEST, 4, socket.MSG_CMSG_CLOEXEC)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self.close(error.strerror or "connection lost")
            return
        try:
            self._greet(data, descriptors)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    def _greet(self, data: bytes, descriptors: list[int]) -> None:
        try:
            hello = decode_hello(data)
        except WireError as error:
            self._refuse(Refusal.BAD_HELLO, str(error))
            return
        self.name = hello.name
        memory = _map(descriptors[0], hello.size) if len(descriptors) == 1 else None
        if memory is None:
            self._refuse(Refusal.BAD_MEMORY, "no memory that is sealed against shrinking")
            return
        identity = self._transport.identity_for(hello.identity)
        if identity is None:
            memory.close()
            self._refuse(Refusal.IDENTITY_TAKEN, "another client has its identity")
            return
        self._attach(hello, identity, memory)

    def _attach(self, hello: Hello, identity: int, memory: mmap.mmap) -> None:
        transport = self._transport
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        self.identity = identity
        self._memory, self._view = memory, memoryview(memory)
        self._window = window = DmaWindow(transport.next_bus(), self._view)
        window.put_tce(0, TCE_READ | TCE_WRITE, count=hello.size // PAGE)
        self._unit, self._adapter = transport.port.attach(
            transport.hypervisor, window, name=hello.name, identity=identity
        )
        transport.hypervisor.on_interrupt(self._unit, self._mark)
        self._loop.remove_reader(self._sock)
        self._loop.add_reader(self._sock, self._readable)
        if self._send(Welcome(Refusal.NONE, self._unit, window.liobn).encode()):
            self._adapter.start()

    def _refuse(self, refusal: int, reason: str) -> None:
        with contextlib.suppress(OSError):
            self._sock.send(Welcome(refusal).encode())
        self.close(reason)

    # --- at work -----------------------------------------------------------------------------------------------

    def _readable(self) -> None:  # hot
        transport = self._transport
        sock = self._sock
        transport.now()
        for _ in range(_DATAGRAMS):
            try:
                data = sock.recv(_LONGEST)
            except (BlockingIOError, InterruptedError):
                break
            except OSError as error:
                self._lost(error.strerror or "connection lost")
                return
            if len(data) == CRQ_LENGTH:
                high, low = int.from_bytes(data[:8], "big"), int.from_bytes(data[8:], "big")
                transport.hypervisor.h_send_crq(self._unit, high, low)
                continue
            if not data:
                self._lost("")
                return
            try:
                call = decode_call(data)
            except WireError as error:
                self._lost(str(error))
                return
            self._adapter.process()     # in the order in which the client called
            if not self._send(encode_return(self._call(call))):
                return
        self._adapter.process()
        transport.go_on()

    def _call(self, call: Call) -> int:
        """A hypervisor call of this client's adapter, or on its window."""
        hypervisor = self._transport.hypervisor
        match call.number:
            case Hcall.REG_CRQ:
                return hypervisor.h_reg_crq(self._unit, call.first, call.second)
            case Hcall.FREE_CRQ:
                return hypervisor.h_free_crq(self._unit)
            case Hcall.ENABLE_CRQ:
                return hypervisor.h_enable_crq(self._unit)
            case Hcall.VIO_SIGNAL:
                return hypervisor.h_vio_signal(self._unit, call.first)
            case Hcall.PUT_TCE:
                done = self._window.put_tce(call.first, call.second, count=min(call.third, 1 << 32))
                return Return.SUCCESS if done else Return.PARAMETER
        return Return.FUNCTION

    def _mark(self) -> None:
        """Something has come into the client's queue, perhaps by another transport of the target."""
        if not self._pending:
            self._pending = True
            self._loop.call_soon(self.interrupt)

    def interrupt(self) -> None:  # hot
        """Tell the client if something has."""
        if self._pending and self._sock.fileno() >= 0:
            self._pending = False
            try:
                self._sock.send(INTERRUPT)
            except (BlockingIOError, InterruptedError):
                pass                    # it has unread ones, and will look into its queue after those
            except OSError as error:
                self._lost(error.strerror or "connection lost")

    def tell_inventory_changed(self) -> None:
        """REPORTED LUNS DATA HAS CHANGED, where the client has left something to tell it with."""
        if self._view is not None:
            self._adapter.report_event(0, _INVENTORY_SENSE)

    def _send(self, data: bytes) -> bool:
        try:
            self._sock.send(data)
        except OSError as error:
            self._lost(error.strerror or "connection lost")
            return False
        return True

    def _lost(self, reason: str) -> None:
        """The client's process is gone, or does not speak our language."""
        self.close(reason)
        self._transport.go_on()

    def close(self, reason: str) -> None:
        """End it. Twice does no harm."""
        if self._sock.fileno() < 0:
            return
        if self._deadline is not None:
            self._deadline.cancel()
        if self._view is not None:
            self._adapter.close()
            with contextlib.suppress(OSError):
                self._sock.send(INTERRUPT)      # there is the end in its queue
            self._transport.hypervisor.disconnect(self._unit)
            self._view = self._memory = None
            del self._window
        self._loop.remove_reader(self._sock)
        self._sock.close()
        self._transport.forget(self, reason)
        # The mapping goes with the last view of it.


def _map(descriptor: int, size: int) -> mmap.mmap | None:
    """A client's memory; None where it is not a memfd that keeps its size, or is too large."""
    if size % PAGE or not PAGE < size <= _MEMORY_LIMIT:
        return None
    try:
        seals = fcntl.fcntl(descriptor, fcntl.F_GET_SEALS)
        status = os.fstat(descriptor)
        if not seals & fcntl.F_SEAL_SHRINK or not stat.S_ISREG(status.st_mode) or status.st_size < size:
            return None
        return mmap.mmap(descriptor, size)
    except (OSError, ValueError):
        return None

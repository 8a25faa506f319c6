"""vhost-user over Unix sockets: an asyncio adapter. With front_end.py and service.py the only modules here that do I/O.

    transport = VhostTransport((target,), stores=[store])
    await transport.start("/run/scsiemu/vhost")
    ...
    await transport.stop()

The front end (QEMU) shares its guest's memory by descriptors, which must be memfds sealed against shrinking: else the
other side could have us killed by cutting the file. Rings are kicked by eventfds. Each connection is an initiator of
its own; the socket is for its owner alone (0600).

It does NOT: decide anything of the protocol (device.py), or run in more than the thread of its loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import mmap
import os
import socket
import stat
import sys
import threading
from collections.abc import Callable, Collection, Iterable
from typing import Final

from scsiemu.events import Event
from scsiemu.io_requests import Store
from scsiemu.target import Target
from transports._unix_sockets import listen_at_path
from transports._watched_stores import WatchedStores
from transports.vhost.device import VhostDevice
from transports.vhost.messages import HEADER_LENGTH, Header, Region, VhostError, decode_header
from transports.vhost.port import VhostLimits, VhostPort

__all__ = ["VhostTransport"]

_CONNECTION_LIMIT: Final = 32
_DESCRIPTORS: Final = 16                # that one message may bring: more are dropped by the kernel
_MESSAGES: Final = 32                   # of one connection in a turn
_SEND_LIMIT: Final = 1 << 16            # bytes of replies that wait for a front end
_TICK: Final = 1.0


class VhostTransport:
    """Serves targets to front ends.

    Args:
        targets: of the virtio-scsi bus, numbered in their order; or a `VhostPort` of them.
        stores: io handlers of their units: those with a `fileno()` answer late.
        report: takes lines for the operator.
        on_event: told what happened in a target.
        handed_over: called when stores have answered, or something was handed to the origins of other transports.
        limits: see `VhostLimits`.
    """

    def __init__(
        self,
        targets: tuple[Target, ...] | VhostPort,
        *,
        stores: Iterable[Store] = (),
        report: Callable[[str], None] | None = None,
        on_event: Callable[[Target, Event], None] | None = None,
        handed_over: Callable[[], None] | None = None,
        limits: VhostLimits | None = None,
    ) -> None:
        self.port = targets if isinstance(targets, VhostPort) else VhostPort(targets, limits=limits)
        self._stores = WatchedStores(stores, self._answered)
        self._report = report
        self._on_event = on_event
        self._handed_over = handed_over
        self._connections: dict[_Connection, None] = {}
        self._listeners: dict[str, socket.socket] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._fence = threading.Lock()

    async def start(self, *paths: str) -> None:
        """Listen at paths. Raises OSError, also where somebody listens there already."""
        if sys.byteorder != "little":
            raise OSError("vhost-user needs a little-endian machine here")
        self._loop = loop = asyncio.get_running_loop()
        for path in paths:
            listener = self._listeners[path] = listen_at_path(path)
            loop.add_reader(listener, self._accept, path, listener)
        self._stores.start(loop)
        self.tick()

    async def stop(self) -> None:
        """End every connection and close."""
        loop = self._loop
        if loop is None:
            return
        for path, listener in self._listeners.items():
            loop.remove_reader(listener)
            listener.close()
            with contextlib.suppress(OSError):
                os.unlink(path)
        self._listeners.clear()
        for connection in list(self._connections):
            connection.close("")
        self._stores.stop()
        if self._timer is not None:
            self._timer.cancel()
        self._loop = None

    def fence(self) -> None:  # hot
        """Order memory accesses before with those after: the lock's atomic operations do."""
        self._fence.acquire()
        self._fence.release()

    def _accept(self, path: str, listener: socket.socket) -> None:
        assert self._loop is not None, "started"
        try:
            sock, _ = listener.accept()
        except OSError:
            return
        sock.setblocking(False)
        if len(self._connections) >= _CONNECTION_LIMIT:
            sock.close()
            self.say(path, f"more than {_CONNECTION_LIMIT} connections")
            return
        # The lowest number that is free: the guest that comes again after another is the same initiator.
        taken = {connection.name for connection in self._connections}
        name = next(name for number in range(1, len(taken) + 2) if (name := f"{path},{number}") not in taken)
        self._connections[_Connection(self, self._loop, sock, name)] = None
        self.go_on()

    def say(self, name: str, reason: str) -> None:
        """A line for the operator."""
        if reason and self._report is not None:
            self._report(f"vhost-user {name}: {reason}")

    def forget(self, connection: _Connection) -> None:
        """Told by a connection: it is closed."""
        self._connections.pop(connection, None)
        self.go_on()

    # --- the world ---------------------------------------------------------------------------------------------

    def add_store(self, store: Store) -> None:
        """A unit was added live: watch its store, too."""
        self._stores.add(store)

    def remove_store(self, store: Store) -> None:
        """The store is going to be closed."""
        self._stores.remove(store)

    def _answered(self, targets: Collection[Target]) -> None:
        self.port.settle()
        self.go_on()

    def go_on(self) -> None:  # hot
        """Something was done to the targets: bring to others what came of it, and see to the clock."""
        self.port.settle()
        if self.port.handed_over:
            self.port.handed_over = False
            if self._handed_over is not None:
                self._handed_over()
        for target in self.port.targets:
            while (event := target.next_event()) is not None:
                self.port.told(target, event)
                if self._on_event is not None:
                    self._on_event(target, event)
        self._arm()

    def tick(self) -> None:
        """The clock."""
        loop = self._loop
        if loop is None:
            return
        self._timer = None
        self.port.advance(loop.time())
        self.go_on()

    def _arm(self) -> None:  # hot
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

    def now(self) -> None:  # hot
        """Bring the targets' clocks up to date."""
        if self._loop is not None:
            now = self._loop.time()
            for target in self.port.targets:
                target.advance(now)


class _Descriptor:
    """An eventfd that is ours."""

    __slots__ = ("number",)

    def __init__(self, number: int) -> None:
        self.number = number

    def fileno(self) -> int:
        return self.number


class _Connection:
    """A front end's socket, and the descriptors that came by it. The host of its device."""

    def __init__(
        self, transport: VhostTransport, loop: asyncio.AbstractEventLoop, sock: socket.socket, name: str
    ) -> None:
        self.name = name
        self._transport = transport
        self._loop = loop
        self._sock = sock
        self._kicks: dict[int, _Descriptor] = {}
        self._calls: dict[int, int] = {}
        self._header: Header | None = None
        self._received = b""
        self._descriptors: list[int] = []
        self._unsent = b""
        self._reading = True
        self._add_reader = getattr(loop, "add_fast_reader", loop.add_reader)
        self._remove_reader = getattr(loop, "remove_fast_reader", loop.remove_reader)
        self._device = VhostDevice(transport.port, self, name=name, fence=transport.fence)
        loop.add_reader(sock, self._readable)

    # --- messages ----------------------------------------------------------------------------------------------

    def _readable(self) -> None:
        self._transport.now()
        for _ in range(_MESSAGES):
            if self._sock.fileno() < 0 or not self._receive():
                break
        if self._sock.fileno() >= 0:
            self._pause()
            self._transport.go_on()

    def _pause(self) -> None:
        """Read no further message while a ring drains."""
        reading = self._device.draining is None and not self._unsent
        if reading != self._reading:
            self._reading = reading
            if reading:
                self._loop.add_reader(self._sock, self._readable)
            else:
                self._loop.remove_reader(self._sock)

    def _receive(self) -> bool:
        """Receive a part of a message, and handle it if it is whole. False: there is no more now."""
        if self._device.draining is not None:
            return False
        header = self._header
        wanted = (HEADER_LENGTH if header is None else header.size) - len(self._received)
        if wanted:
            try:
                data, descriptors, flags, _ = socket.recv_fds(
                    self._sock, wanted, _DESCRIPTORS, socket.MSG_CMSG_CLOEXEC
                )
            except (BlockingIOError, InterruptedError):
                return False
            except OSError as error:
                self.close(error.strerror or "connection lost")
                return False
            self._descriptors += descriptors
            if not data or flags & socket.MSG_CTRUNC or len(self._descriptors) > _DESCRIPTORS:
                self.close("" if not data else "too many descriptors")
                return False
            self._received += data
            if len(data) < wanted:
                return True
        try:
            if header is None:
                self._header = decode_header(self._received)
                self._received = b""
                return True
            self._handle(header)
        except VhostError as error:
            self.close(str(error))
            return False
        return True

    def _handle(self, header: Header) -> None:
        payload, self._received, self._header = self._received, b"", None
        descriptors, self._descriptors = self._descriptors, []
        try:
            self._device.handle(header, payload, descriptors)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    def send(self, data: bytes) -> None:
        """A reply. What the socket does not take waits, and no message is read meanwhile."""
        if self._sock.fileno() < 0:
            return
        if not self._unsent:
            try:
                data = data[self._sock.send(data) :]
            except (BlockingIOError, InterruptedError):
                pass
            except OSError as error:
                self.failed(error.strerror or "connection lost")
                return
            if data:
                self._loop.add_writer(self._sock, self._writable)
        self._unsent += data
        if len(self._unsent) > _SEND_LIMIT:
            self.failed("replies are not read")
        elif not self._reading and self._device.draining is None:
            self._loop.call_soon(self._go_on_reading)

    def _go_on_reading(self) -> None:
        if self._sock.fileno() >= 0:
            self._pause()

    def _writable(self) -> None:
        data, self._unsent = self._unsent, b""
        self._loop.remove_writer(self._sock)
        self.send(data)
        self._go_on_reading()

    # --- the device's host -------------------------------------------------------------------------------------

    def map(self, descriptor: int, region: Region) -> memoryview:
        """The bytes of a memory region."""
        end = region.offset + region.size
        try:
            status = os.fstat(descriptor)
            seals = fcntl.fcntl(descriptor, fcntl.F_GET_SEALS) if stat.S_ISREG(status.st_mode) else 0
            if not seals & fcntl.F_SEAL_SHRINK or status.st_size < end:
                raise ValueError("no memfd sealed against shrinking, or too short")
            return memoryview(mmap.mmap(descriptor, end))[region.offset :]
        except (OSError, ValueError, OverflowError) as error:
            raise VhostError(
                f"memory that cannot be mapped ({error}): QEMU needs -object memory-backend-memfd,share=on"
            ) from None

    def set_kick(self, index: int, descriptor: int) -> None:
        """Watch a ring's eventfd."""
        self.forget_kick(index)
        self._kicks[index] = kick = _Descriptor(_eventfd(descriptor))
        self._add_reader(kick, lambda: self._kicked(index, descriptor))

    def forget_kick(self, index: int) -> None:
        """Watch it no more."""
        kick = self._kicks.pop(index, None)
        if kick is not None:
            self._remove_reader(kick)
            os.close(kick.number)

    def set_call(self, index: int, descriptor: int | None) -> None:
        """The eventfd to interrupt the guest by."""
        old = self._calls.pop(index, None)
        if old is not None:
            os.close(old)
        if descriptor is not None:
            self._calls[index] = _eventfd(descriptor)

    def signal(self, index: int) -> None:  # hot
        """Interrupt the guest."""
        call = self._calls.get(index)
        if call is not None:
            try:
                os.eventfd_write(call, 1)
            except BlockingIOError:
                pass                    # it is as loud as can be
            except OSError as error:
                self.failed(error.strerror or "cannot signal")

    def _kicked(self, index: int, descriptor: int) -> None:  # hot
        transport = self._transport
        try:
            os.eventfd_read(descriptor)
        except BlockingIOError:
            return
        except OSError as error:
            self.close(error.strerror or "cannot read a kick")
            return
        transport.now()
        self._process(index)

    def _process(self, index: int) -> None:  # hot
        if self._sock.fileno() < 0:
            return
        try:
            self._device.process(index)
        except VhostError as error:
            self.close(str(error))
            return
        self._transport.go_on()

    def again(self, index: int) -> None:
        """A ring has more."""
        self._loop.call_soon(self._process, index)

    def woken(self) -> None:
        """Answers came by another connection or transport."""
        self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        if self._sock.fileno() >= 0:
            self._device.flush()
            self._transport.go_on()

    def failed(self, reason: str) -> None:
        """Close, but not while the device is at work."""
        self._loop.call_soon(self.close, reason)

    def close(self, reason: str) -> None:
        """End it. Twice does no harm."""
        if self._sock.fileno() < 0:
            return
        self._loop.remove_reader(self._sock)
        self._loop.remove_writer(self._sock)
        for index in list(self._kicks):
            self.forget_kick(index)
        self._sock.close()
        self._device.close()
        for descriptor in (*self._calls.values(), *self._descriptors):
            os.close(descriptor)
        self._calls.clear()
        self._descriptors.clear()
        self._transport.say(self.name, reason)
        self._transport.forget(self)
        # The mappings go with the last view of them.


def _eventfd(descriptor: int) -> int:
    """The same, made non-blocking. Raises VhostError, and closes it, where it is something else."""
    try:
        if os.readlink(f"/proc/self/fd/{descriptor}") == "anon_inode:[eventfd]":
            os.set_blocking(descriptor, False)
            return descriptor
    except OSError:
        pass
    os.close(descriptor)
    raise VhostError("a descriptor to kick or signal by that is no eventfd")

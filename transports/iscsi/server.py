"""The sockets of the iSCSI node: an asyncio adapter. The only module of the target's side that does I/O.

    transport = IscsiTransport(node, stores=[store])
    bound = await transport.start([("127.0.0.1", 0), ("::1", 0)])       # [(host, port), ...]
    ...
    await transport.stop()                                              # asks for logout, waits a little, closes

Raw non-blocking sockets with `loop.add_reader`: in a turn one receive for a connection, into a buffer that all share
(or straight into the buffer of a command, for Data-Out that comes in pieces), every whole PDU handled, one gathered
sendmsg after every few commands. Stores whose answers come late are told of by their file descriptor.

It does NOT: decide anything about iSCSI (connection.py), or run in more than the thread of its loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from collections.abc import Callable, Collection, Iterable
from functools import partial
from ipaddress import ip_address
from time import monotonic
from typing import Any, Final, TypeAlias

from scsiemu.events import Event
from scsiemu.io_requests import Store
from scsiemu.target import Target
from transports._watched_stores import WatchedStores
from transports.iscsi.connection import TargetConnection
from transports.iscsi.node import IscsiTarget, Portal, TargetNode

__all__ = ["IscsiTransport", "Report"]

# Told one line about a connection that has ended otherwise than by logout; never raw bytes of the peer.
Report: TypeAlias = Callable[[str], None]

# What is known of a listener: its portal group tag; host and port, None for a wildcard address.
_Listening: TypeAlias = tuple[int, tuple[str, int] | None]

_BUFFER_SIZE: Final = (256 + 64) * 1024     # the longest data segment that we declare, its header, and more
_IOVECS: Final = 1000                       # below IOV_MAX, 1024
_JOINED: Final = 8192                       # bytes that are copied together rather than gathered by the kernel
_AT_ONCE: Final = 16                        # commands between two sends: the initiator works while we do the next ones
_PUT_OFF: Final = 32768                     # bytes, up to which answers wait for those of other connections
_ACCEPT_PAUSE: Final = 0.2                  # seconds without accepting when descriptors are used up
_TICK: Final = 1.0                          # seconds between looks at the connections' deadlines
_REPORTS: Final = 10                        # lines about one address in a minute
_REPORTING_ADDRESSES: Final = 100           # addresses that have lines in a minute

_NO_RESOURCES: Final = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))


class IscsiTransport:
    """Serves a node over TCP.

    Args:
        node: what to serve.
        stores: io handlers of its units: those with a `fileno()` answer late.
        report: see `Report`.
        on_event: told what happened in targets.
    """

    def __init__(
        self,
        node: TargetNode,
        *,
        stores: Iterable[Store] = (),
        report: Report | None = None,
        on_event: Callable[[IscsiTarget, Event], None] | None = None,
    ) -> None:
        self.node = node
        self._stores = WatchedStores(stores, self._answered)
        self._report = report
        self._on_event = on_event
        self._reports: dict[str, int] = {}
        self._reports_until = 0.0
        self.buffer = memoryview(bytearray(_BUFFER_SIZE))      # all connections receive into it
        self._peers: dict[TargetConnection, _Peer] = {}
        self._listeners: dict[socket.socket, _Listening] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self.time: Callable[[], float] = lambda: 0.0
        self.add_reader: Callable[[socket.socket, Callable[[], None]], object] = _no_loop
        self.afterwards = _Afterwards()
        self.remove_reader: Callable[[socket.socket], object] = _no_loop
        self._timer: asyncio.TimerHandle | None = None
        self._empty: asyncio.Event | None = None

    # --- portals -----------------------------------------------------------------------------------------------

    async def start(self, portals: Iterable[tuple[str, int] | tuple[str, int, int]]) -> list[tuple[str, int]]:
        """Listen at these portals: host, port (0: the kernel chooses), and portal group tag (1 unless told).

        Returns host and port of each socket, in order; a name may stand for several. Raises OSError.
        """
        self._loop = loop = asyncio.get_running_loop()
        # asyncio's own loops have this clock, by a function more.
        self.time = monotonic if type(loop).time is asyncio.BaseEventLoop.time else loop.time
        # A loop of ours has a shorter way (scsiemu/app/loop.py); any other does as well.
        self.add_reader = getattr(loop, "add_fast_reader", loop.add_reader)
        self.remove_reader = getattr(loop, "remove_fast_reader", loop.remove_reader)
        self.afterwards = getattr(loop, "afterwards", self.afterwards)
        self._stores.start(loop)
        bound: list[tuple[str, int]] = []
        for portal in portals:
            host, port = portal[0], portal[1]
            group = portal[2] if len(portal) > 2 else 1
            infos = await _addresses(loop, host, port)
            for family, _, _, _, address in dict.fromkeys(infos):
                listener = _listen(family, address)
                name = listener.getsockname()
                bound.append((name[0], name[1]))
                local = (name[0].partition("%")[0], name[1])
                self.node.portals.append(Portal(*local, group))
                # Who comes to a wildcard address must be asked where it came to.
                self._listeners[listener] = group, None if ip_address(local[0]).is_unspecified else local
                self._accept_again(listener)
        self._tick()
        return bound

    def add_store(self, store: Store) -> None:
        """A unit was added live: watch its store too."""
        self._stores.add(store)

    def remove_store(self, store: Store) -> None:
        """The store is going to be closed."""
        self._stores.remove(store)

    def _answered(self, targets: Collection[Target]) -> None:
        for target in targets:
            self.node.settle_all(target)
        self.flush()

    async def stop(self) -> None:
        """Close the portals, ask for logout, close what is left after the node's `logout_seconds`."""
        loop = self._loop
        if loop is None:
            return
        for listener in self._listeners:
            self.remove_reader(listener)
            listener.close()
        self._listeners.clear()
        self.node.request_logout(loop.time())
        self.flush()
        if self._peers:
            self._empty = asyncio.Event()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._empty.wait(), self.node.limits.logout_seconds)
        for connection in list(self._peers):
            connection.drop("shutting down")
        self.flush()
        self._stores.stop()
        if self._timer is not None:
            self._timer.cancel()
        self._loop = None

    # --- connections -------------------------------------------------------------------------------------------

    def _accept(self, listener: socket.socket) -> None:
        """Somebody is there. If there are more, the next turn tells so: those before them are read in between."""
        loop = self._loop
        assert loop is not None
        try:
            sock, address = listener.accept()
        except OSError as error:
            if error.errno in _NO_RESOURCES:
                # Nobody gets in for a while; those who are in go on.
                self.remove_reader(listener)
                loop.call_later(_ACCEPT_PAUSE, self._accept_again, listener)
            return
        group, local = self._listeners[listener]
        try:
            sock.setblocking(False)
            if local is None:
                name = sock.getsockname()
                local = (name[0].partition("%")[0], name[1])
        except OSError:
            sock.close()
            return
        peer = address[0].partition("%")[0]
        connection = self.node.accept(peer=peer, local=local, now=self.time(), group=group)
        if connection is None:
            sock.close()
            self._tell(peer, "too many connections that have not logged in")
            return
        self._peers[connection] = _Peer(self, loop, sock, connection)

    def _accept_again(self, listener: socket.socket) -> None:
        if self._loop is not None and listener in self._listeners:
            self.add_reader(listener, partial(self._accept, listener))

    def gone(self, connection: TargetConnection) -> None:
        """Told by a peer: its socket is closed."""
        self._peers.pop(connection, None)
        connection.lost()
        if connection.close_reason != "logout":
            self._tell(connection.peer, connection.close_reason)
        if self._empty is not None and not self._peers:
            self._empty.set()

    def _tell(self, peer: str, text: str) -> None:
        """One line for the log, unless this address has had its share."""
        if self._report is None or self._loop is None:
            return
        now = self._loop.time()
        if now >= self._reports_until:
            self._reports.clear()
            self._reports_until = now + 60
        count = self._reports.get(peer, 0)
        if count < _REPORTS and (count or len(self._reports) < _REPORTING_ADDRESSES):
            self._reports[peer] = count + 1
            self._report(f"{peer}: {text}")

    def flush(self) -> None:                                                                    # hot
        """Send what there is to send, for every connection. To be called after anything was done to the targets."""
        self.send_dirty()
        self.arm()

    def send_dirty(self) -> None:                                                               # hot
        """Send what there is to send."""
        node = self.node
        peers = self._peers
        while node.dirty:
            for connection in node.take_dirty():
                peer = peers.get(connection)
                if peer is not None:
                    peer.send()

    # --- time --------------------------------------------------------------------------------------------------

    def _tick(self) -> None:
        loop = self._loop
        if loop is None:
            return
        self.node.advance(loop.time())
        while self._on_event is not None and (event := self.node.next_event()) is not None:
            self._on_event(*event)
        self._timer = None
        self.flush()

    def arm(self) -> None:
        """Have `_tick` called when a target or, to a second, a connection wants it."""
        loop = self._loop
        if loop is None:
            return
        now = loop.time()
        when = now + _TICK
        for entry in self.node.targets.values():
            deadline = entry.target.deadline()
            if deadline is not None and deadline < when:
                when = deadline
        timer = self._timer
        if timer is not None:
            if timer.when() <= when:
                return
            timer.cancel()
        self._timer = loop.call_at(when, self._tick)


class _Afterwards:
    """What a loop of ours has (scsiemu/app/loop.py), for any other."""

    calls: list[Callable[[], object]] | None = None


class _Peer:
    """The socket of a connection."""

    __slots__ = (
        "_connection", "_gather", "_loop", "_reading", "_receive", "_send", "_sock", "_transport", "_writing",
    )

    def __init__(
        self,
        transport: IscsiTransport,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket,
        connection: TargetConnection,
    ) -> None:
        self._transport = transport
        self._loop = loop
        self._sock = sock
        self._connection = connection
        self._reading = True
        self._writing = False
        self._receive = sock.recv_into
        self._gather = sock.sendmsg
        self._send = sock.send
        connection.at_once = _AT_ONCE
        transport.add_reader(sock, self._readable)

    def _readable(self) -> None:                                                                # hot
        connection = self._connection
        transport = self._transport
        buffer = transport.buffer
        session = connection.session
        target = session.target if session is not None else None
        if target is not None:
            now = transport.time()
            if not target.timers:
                target.now = now
            elif target.advance(now):
                transport.node.settle(target)
        connection.dirty = True         # it need not tell the node: what it has to send is sent here
        try:
            place = connection.wanted() if connection.sink_itt >= 0 else None
            if place is None:
                count = self._receive(buffer)
                if count:
                    connection.receive_data(buffer[:count])
            else:
                count = self._sock.recvmsg_into((place, buffer))[0]
                if count:
                    inside = min(count, len(place))
                    connection.received(inside, buffer[: count - inside])
        except (BlockingIOError, InterruptedError):
            connection.dirty = False
            return
        except OSError as error:
            self._lost(error.strerror or "connection lost")
            return
        if not count:
            self._lost("closed by the other side")
            return
        calls = transport.afterwards.calls
        if calls is not None and 0 < connection.queued <= _PUT_OFF and not connection.rest:
            calls.append(self._send_put_off)
        else:
            if connection.out or connection.deaf:
                self.send()
            while connection.rest:
                connection.proceed()
                self.send()
            connection.dirty = False
        if transport.node.dirty:
            transport.send_dirty()
        if target is None and connection.session is not None:
            target = connection.session.target          # logged in just now
        if target is not None and target.timers:
            transport.arm()

    def _send_put_off(self) -> None:                                                            # hot
        """Those whose answers come together are woken once."""
        self.send()
        self._connection.dirty = False

    def send(self) -> None:                                                                     # hot
        """Send what the connection has; close the socket if it has ended."""
        connection = self._connection
        out = connection.out
        if out and len(out) <= _IOVECS and self._reading and not (self._writing or connection.deaf):
            size = connection.queued
            try:
                # What a gathered send costs more is as much as the engine's part of a command: so little is joined.
                count = self._send(b"".join(out)) if size <= _JOINED else self._gather(out)
            except (BlockingIOError, InterruptedError):
                pass
            except OSError as error:
                self._lost(error.strerror or "connection lost")
                return
            else:
                connection.data_sent(count)
                if count == size:
                    return
        self._send_rest()

    def _send_rest(self) -> None:
        """Send in pieces; watch for the socket to take more, stop reading where too much waits, close at the end."""
        connection = self._connection
        blocked = False
        while connection.out and not blocked:
            out = connection.out
            size = connection.queued
            try:
                count = self._gather(out if len(out) <= _IOVECS else out[:_IOVECS])
            except (BlockingIOError, InterruptedError):
                blocked = True
                break
            except OSError as error:
                self._lost(error.strerror or "connection lost")
                return
            blocked = count < size and len(out) <= _IOVECS
            connection.data_sent(count)
        if connection.closed:
            self._lost(connection.close_reason)
            return
        if blocked != self._writing:
            self._writing = blocked
            if blocked:
                self._loop.add_writer(self._sock, self._writable)
            else:
                self._loop.remove_writer(self._sock)
        if connection.wants_data != self._reading:
            self._reading = connection.wants_data
            if self._reading:
                self._transport.add_reader(self._sock, self._readable)
            else:
                self._transport.remove_reader(self._sock)

    def _writable(self) -> None:
        self.send()
        self._transport.flush()

    def _lost(self, reason: str) -> None:
        self._transport.remove_reader(self._sock)
        if self._writing:
            self._loop.remove_writer(self._sock)
        self._sock.close()
        connection, transport = self._connection, self._transport
        target = connection.session.target if connection.session is not None else None
        connection.drop(reason)
        transport.gone(connection)
        # Its end may have let others go on.
        if transport.node.dirty:
            transport.send_dirty()
        if target is not None and target.timers:
            transport.arm()


def _no_loop(*arguments: object) -> None:
    """Before `start` there is nothing to watch a socket with."""


async def _addresses(loop: asyncio.AbstractEventLoop, host: str, port: int) -> list[Any]:
    """What to listen at, as getaddrinfo tells it. Raises OSError."""
    try:
        # Numbers need no thread to be looked up in, nor, as bytes, the tables of international names.
        return socket.getaddrinfo(
            host.encode("ascii") or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE | socket.AI_NUMERICHOST
        )
    except (socket.gaierror, UnicodeEncodeError):
        return await loop.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)


def _listen(family: int, address: object) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)      # Linux hands it down to what is accepted
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.setblocking(False)
        listener.bind(address)  # type: ignore[arg-type]  # what getaddrinfo gave
        listener.listen(1024)
    except OSError:
        listener.close()
        raise
    return listener

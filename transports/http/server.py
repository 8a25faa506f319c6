"""HTTP over Unix sockets and TCP: an asyncio adapter. With service.py the only module here that does I/O.

    transport = HttpTransport((target,), stores=[store])
    await transport.start(Listener(path="/run/scsiemu/http"))
    ...
    await transport.stop()

A Unix socket is for its owner alone (0600); over TCP every request must bring the token.

It does NOT: decide anything of the protocol (connection.py), encrypt, or run in more than the thread of its loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping
from typing import Any, Final

from scsiemu.events import Event
from scsiemu.io_requests import Store
from scsiemu.operations import OperationTable
from scsiemu.services import Listener, UnitControl
from scsiemu.target import Target
from transports._unix_sockets import listen_at_path
from transports._watched_stores import WatchedStores
from transports.http.connection import HttpConnection
from transports.http.port import HttpLimits, HttpPort

__all__ = ["HttpTransport"]

_TICK: Final = 1.0
_BACKLOG: Final = 64
_REFUSED: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 0\r\nRetry-After: 1\r\n\r\n"
)
# After the response the client may still be sending: closing at once could take the response away from it.
_LINGER: Final = 2.0


class HttpTransport:
    """Serves targets to clients of HTTP.

    Args:
        targets: in the order of their numbers.
        stores: io handlers of their units: those with a `fileno()` answer late.
        tables: see `HttpPort`.
        on_event: told what happened in a target.
        handed_over: called when stores have answered, or something was handed to the origins of other transports.
        token: that clients over TCP must know.
        control: adds, removes and changes units; None: clients cannot.
        limits: see `HttpLimits`.
    """

    def __init__(
        self,
        targets: tuple[Target, ...],
        *,
        stores: Iterable[Store] = (),
        tables: Mapping[str, OperationTable] | None = None,
        on_event: Callable[[Target, Event], None] | None = None,
        handed_over: Callable[[], None] | None = None,
        token: bytes = b"",
        control: UnitControl | None = None,
        limits: HttpLimits | None = None,
    ) -> None:
        self.port = HttpPort(targets, tables=tables, limits=limits, control=control, run=self._run)
        self._changes: set[asyncio.Task[None]] = set()
        self._stores = WatchedStores(stores, self._answered)
        self._on_event = on_event
        self._handed_over = handed_over
        self._token = token
        self._clients: dict[_Client, None] = {}
        self._servers: list[asyncio.Server] = []
        self._paths: list[str] = []
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def start(self, *listeners: Listener) -> tuple[Listener, ...]:
        """Listen; where, with real ports. Raises OSError, and ValueError for TCP without a token."""
        self._loop = loop = asyncio.get_running_loop()
        self.port.advance(loop.time())
        found = []
        for listener in listeners:
            if listener.path:
                sock = listen_at_path(listener.path)
                self._paths.append(listener.path)
                self._servers.append(await loop.create_unix_server(lambda: self._client(b""), sock=sock))
                found.append(listener)
                continue
            if not self._token:
                raise ValueError("HTTP over TCP needs a token")
            server = await loop.create_server(
                lambda: self._client(self._token), listener.host, listener.port, backlog=_BACKLOG
            )
            self._servers.append(server)
            found.append(Listener(listener.host, server.sockets[0].getsockname()[1]))
        self._stores.start(loop)
        self.tick()
        return tuple(found)

    async def stop(self) -> None:
        """End every connection and close."""
        loop, self._loop = self._loop, None
        if loop is None:
            return
        for server in self._servers:
            server.close()
        for path in self._paths:
            with contextlib.suppress(OSError):
                os.unlink(path)
        for client in list(self._clients):
            client.abort()
        for initiator in list(self.port.initiators):
            self.port.initiators.lose(initiator.name)
        self.port.settle()
        self._stores.stop()
        if self._timer is not None:
            self._timer.cancel()

    def _client(self, token: bytes) -> _Client:
        return _Client(self, token)

    def admit(self, client: _Client) -> bool:
        """Told by a client that has connected. False: there are too many."""
        if self._loop is None or len(self._clients) >= self.port.limits.connections:
            return False
        self._clients[client] = None
        return True

    def forget(self, client: _Client) -> None:
        """Told by a client that has gone."""
        self._clients.pop(client, None)
        self.go_on()

    def now(self) -> None:
        """Bring the clocks up to date."""
        if self._loop is not None:
            self.port.advance(self._loop.time())

    def add_store(self, store: Store) -> None:
        """A unit was added live: watch its store, too."""
        self._stores.add(store)

    def remove_store(self, store: Store) -> None:
        """The store is going to be closed."""
        self._stores.remove(store)

    def _answered(self, targets: Collection[Target]) -> None:
        self.go_on()

    def go_on(self) -> None:
        """Something was done to the targets: bring to others what came of it, and see to the clock."""
        self.port.settle()
        if self.port.handed_over:
            self.port.handed_over = False
            if self._handed_over is not None:
                self._handed_over()
        self._arm()

    def _run(self, work: Coroutine[Any, Any, Any], ended: Callable[[Any], None]) -> None:
        """Do what takes time, then tell what came of it. It goes on where nobody waits for it any more."""
        task = asyncio.ensure_future(self._run_change(work, ended))
        self._changes.add(task)
        task.add_done_callback(self._changes.discard)

    async def _run_change(self, work: Coroutine[Any, Any, Any], ended: Callable[[Any], None]) -> None:
        try:
            result = await work
        except (LookupError, ValueError) as error:
            result = error
        except Exception as error:
            # A bug: the client must not wait for ever, and the operator is to know.
            asyncio.get_running_loop().call_exception_handler({"message": "a change failed", "exception": error})
            result = error
        self.now()
        ended(result)
        self.go_on()

    def tick(self) -> None:
        """The clock."""
        if self._loop is None:
            return
        self._timer = None
        self.now()
        for client in list(self._clients):
            client.advance()
        for target in self.port.targets:
            while (event := target.next_event()) is not None:
                if self._on_event is not None:
                    self._on_event(target, event)
        self.go_on()

    def _arm(self) -> None:
        """Clients have whole seconds: a tick is soon enough. Targets want to be told in time."""
        loop = self._loop
        if loop is None:
            return
        when = loop.time() + _TICK
        deadline = self.port.deadline()
        if deadline is not None:
            when = min(when, deadline)
        if self._timer is not None:
            if self._timer.when() <= when:
                return
            self._timer.cancel()
        self._timer = loop.call_at(when, self.tick)


class _Client(asyncio.Protocol):
    """A connection and its socket."""

    def __init__(self, owner: HttpTransport, token: bytes) -> None:
        self._owner = owner
        self._token = token
        self._transport: asyncio.Transport
        self._connection: HttpConnection | None = None
        self._loop = asyncio.get_running_loop()
        self._flushing = False
        self._reading = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        # Not fuller than what is being sent: what waits is counted.
        transport.set_write_buffer_limits(high=0)
        if not self._owner.admit(self):
            transport.write(_REFUSED)
            transport.close()
            return
        self._owner.now()
        self._connection = HttpConnection(self._owner.port, self._woken, token=self._token)

    def data_received(self, data: bytes) -> None:
        self._receive(data)

    def eof_received(self) -> bool:
        self._receive(b"")
        return self._connection is not None         # closed by us, behind what is still to be sent

    def _receive(self, data: bytes) -> None:
        if self._connection is None:
            return
        self._owner.now()
        self._connection.receive_data(data)
        self._flush()
        self._owner.go_on()

    def _woken(self) -> None:
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        """Send what there is."""
        self._flushing = False
        connection, transport = self._connection, self._transport
        if connection is None:
            return
        while data := connection.data_to_send():
            transport.write(data)
            connection.unsent(transport.get_write_buffer_size())
        if connection.closing:
            self._finish()
        elif connection.reading != self._reading:
            self._reading = connection.reading
            (transport.resume_reading if self._reading else transport.pause_reading)()

    def _finish(self) -> None:
        """Close: all that is to be sent was written."""
        if self._transport.is_closing():
            return
        if self._transport.get_write_buffer_size():
            return                                  # resume_writing comes back here
        connection = self._connection
        if connection is not None:
            with contextlib.suppress(OSError, RuntimeError):
                if self._transport.can_write_eof():
                    self._transport.write_eof()
            self._loop.call_later(_LINGER, self._transport.abort)
            self._drop()

    def pause_writing(self) -> None:
        """Told by `unsent`."""

    def resume_writing(self) -> None:
        if self._connection is not None:
            self._owner.now()
            self._connection.unsent(0)
            self._flush()
            self._owner.go_on()

    def advance(self) -> None:
        """The clock."""
        if self._connection is not None:
            unsent = self._transport.get_write_buffer_size()
            self._connection.unsent(unsent)
            self._connection.advance()
            if self._connection.closing and unsent:
                # It does not read: or it would have been given more.
                if self._connection.deadline() is None:
                    self.abort()
                return
            self._flush()

    def abort(self) -> None:
        """End it at once."""
        self._transport.abort()
        self._drop()

    def connection_lost(self, error: Exception | None) -> None:
        self._drop()
        self._owner.forget(self)

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.closed()

"""A connection of HTTP/1.1 as its server sees it: bytes in, bytes out (RFC 9110, RFC 9112), by h11.

    connection = HttpConnection(port, woken, token=b"")
    connection.receive_data(data); send(connection.data_to_send())
    connection.advance(now); connection.deadline()
    connection.closed()

    state       waits for                   its time
    ----------  --------------------------  ----------------------------------------------------
    HEAD        a request                   idle_seconds; from its first byte on request_seconds; login_seconds
    CONTENT     the content of a request    the same
    WORK        the end of a command        the command's own
    CLOSING     the end of what is sent     send_seconds without progress

What has come of later requests waits while one is at work: responses are in the order of requests. A request that is
refused before its content has come ends the connection behind the response.

It does NOT: know what resources there are (resources.py), or how bytes travel (server.py).
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from enum import Enum
from http import HTTPStatus
from typing import Final

import h11

from transports.http.messages import (
    CONTENT_METHODS,
    Refusal,
    Request,
    Response,
    check_host,
    read_request,
    refusal_response,
)
from transports.http.port import HttpPort
from transports.http.resources import Call, Resource, find_resource

__all__ = ["HttpConnection"]

# Of JSON around Data-Out in base64.
_JSON_AROUND: Final = 8192


class _State(Enum):
    HEAD = 1
    CONTENT = 2
    WORK = 3
    CLOSING = 4


class HttpConnection:
    """One client.

    Args:
        port: has the targets.
        woken: called when there may be something to send that came by itself.
        token: what clients must know, empty for nothing.

    Attributes:
        closing: nothing is read any more; close it when all is sent.
        reading: more bytes are welcome.
    """

    def __init__(self, port: HttpPort, woken: Callable[[], None], *, token: bytes = b"") -> None:
        self.port = port
        self.closing = False
        self._woken = woken
        self._token = token
        self._login_until = port.now + port.limits.login_seconds if token else None
        self._h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=port.limits.head)
        self._state = _State.HEAD
        self._out = bytearray()
        self._ahead = 0                             # bytes that came while another request was at work
        self._since = port.now                      # of the state, or of the first byte of a request
        self._begun = False                         # a byte of the request has come
        self._head: tuple[Request, Resource] | None = None
        self._no_content = False                    # the request was HEAD
        self._content = bytearray()
        self._limit = 0
        self._held = 0                              # bytes that are counted for content and response
        self._call: Call | None = None
        self._unsent = 0                            # bytes that the socket did not take
        self._stalled = 0.0                         # when it last took some
        port.connections += 1

    @property
    def reading(self) -> bool:
        """Whether bytes are welcome: not too many ahead of a request that is at work or a response that is not read."""
        return self.closing or self._ahead < self.port.limits.ahead

    # --- bytes -------------------------------------------------------------------------------------------------

    def receive_data(self, data: bytes) -> None:
        """Bytes have come; none: the client sends no more."""
        if self.closing:
            return
        if not data and self._state is _State.WORK:
            # Who has sent everything and waits looks the same as who has gone: HTTP has no other sign.
            self._close()
            return
        if data and self._state is _State.HEAD and not self._begun:
            self._begun = True
            self._since = self.port.now
        if self._state is _State.WORK or self._unsent:
            self._ahead += len(data)
        self._h11.receive_data(data)
        self._go_on()

    def data_to_send(self) -> bytes:
        """What is to be sent now; `unsent` tells how it goes."""
        self._go_on()
        data = bytes(self._out)
        self._out.clear()
        return data

    def unsent(self, length: int) -> None:
        """So many bytes wait for the client to read."""
        if not self._unsent or length < self._unsent:
            self._stalled = self.port.now
        self._unsent = length
        if not length and self._state in (_State.HEAD, _State.CLOSING):
            self._release()
            self._go_on()

    def closed(self) -> None:
        """The connection is gone."""
        self._close()
        self._release()
        self.port.initiators.closed(self, self.port.now)
        self.port.connections -= 1

    # --- time --------------------------------------------------------------------------------------------------

    def deadline(self) -> float | None:
        """When `advance` wants to be called; None for whenever."""
        limits = self.port.limits
        if self._unsent:
            return self._stalled + limits.send_seconds
        if self._state is _State.WORK or self.closing:
            return None
        own = self._since + (limits.request_seconds if self._begun else limits.idle_seconds)
        return own if self._login_until is None else min(own, self._login_until)

    def advance(self) -> None:
        """The port's clock has moved."""
        deadline = self.deadline()
        if deadline is None or deadline > self.port.now:
            return
        if self._unsent or not self._begun:
            self._unsent = 0
            self._close()
        else:
            self._refuse(Refusal(HTTPStatus.REQUEST_TIMEOUT, "the request did not come whole in time"))

    # --- requests ----------------------------------------------------------------------------------------------

    def _go_on(self) -> None:
        """Take what has come, as far as that can be answered."""
        while self._state in (_State.HEAD, _State.CONTENT) and not self._unsent and not self._out:
            try:
                event = self._h11.next_event()
            except h11.RemoteProtocolError as error:
                self._refuse(Refusal(error.error_status_hint, "this is not HTTP/1.1"))
                return
            if event is h11.NEED_DATA:
                self._ahead = 0
                return
            if isinstance(event, h11.ConnectionClosed):
                self._close()
                return
            try:
                self._take(event)
            except Refusal as refusal:
                self._refuse(refusal)

    def _take(self, event: object) -> None:
        if isinstance(event, h11.Request):
            self._begin(event)
        elif isinstance(event, h11.Data):
            if len(self._content) + len(event.data) > self._limit:
                raise self._too_long()
            self._hold(len(self._content) + len(event.data))
            self._content += event.data
        elif isinstance(event, h11.EndOfMessage):
            self._finish()

    def _begin(self, event: h11.Request) -> None:
        """The head of a request: whatever can be refused is refused before its content comes."""
        self._begun = True
        self._no_content = event.method == b"HEAD"
        size = len(event.target) + sum(len(name) + len(text) + 4 for name, text in event.headers)
        if size > self.port.limits.head:
            # h11 looks at what is incomplete only.
            raise Refusal(
                HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"the head has at most {self.port.limits.head} bytes"
            )
        request = read_request(event.method, event.target, event.headers)
        if event.http_version >= b"1.1" or request.authority:
            check_host(request.authority)
        self._check_token(request)
        resource = find_resource(request.path)
        resource.check(request)
        expected = request.fields.get("expect")
        if expected is not None and expected.lower() != "100-continue":
            raise Refusal(HTTPStatus.EXPECTATION_FAILED, "100-continue is all that can be expected")
        self._limit = self.port.limits.max_transfer if request.content_type != "application/json" else (
            (self.port.limits.max_transfer + 2) // 3 * 4 + _JSON_AROUND
        )
        if request.method not in CONTENT_METHODS:
            self._limit = 0
        length = request.fields.get("content-length")
        if length is not None:
            if int(length) > self._limit:
                raise self._too_long()
            self._hold(int(length))
        elif request.method in CONTENT_METHODS and request.content_type and "transfer-encoding" not in request.fields:
            raise Refusal(HTTPStatus.LENGTH_REQUIRED, "how long is the content? Say so by Content-Length")
        if self._h11.they_are_waiting_for_100_continue:
            # Not by _send: it is no answer yet.
            self._out += self._h11.send(h11.InformationalResponse(status_code=100, headers=[])) or b""
        self._head = request, resource
        self._state = _State.CONTENT

    def _check_token(self, request: Request) -> None:
        if not self._token:
            return
        scheme, _, given = request.fields.get("authorization", "").partition(" ")
        proved = hmac.compare_digest(given.strip().encode("latin-1"), self._token)
        if scheme.lower() != "bearer" or not proved:
            raise Refusal(
                HTTPStatus.UNAUTHORIZED, "send the token: Authorization: Bearer TOKEN",
                fields=(("WWW-Authenticate", 'Bearer realm="scsiemu"'),),
            )

    def _too_long(self) -> Refusal:
        return Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the content has at most {self._limit} bytes here")

    def _hold(self, length: int) -> None:
        """Count this much content as held. Raises Refusal where others hold too much."""
        if length > self._held:
            if not self.port.reserve(length - self._held):
                raise Refusal(
                    HTTPStatus.SERVICE_UNAVAILABLE, "other requests hold the memory that this one asks for",
                    fields=(("Retry-After", "1"),),
                )
            self._held = length

    def _finish(self) -> None:
        """The request has come whole."""
        self._login_until = None
        assert self._head is not None, "a request has a head"
        request, resource = self._head
        content, self._content = bytes(self._content), bytearray()
        self._state = _State.WORK
        self._call = Call(self.port, resource, request, content, user=self, respond=self._respond)
        self._call.begin()
        self.port.settle()

    # --- responses ---------------------------------------------------------------------------------------------

    def _respond(self, response: Response) -> None:
        """The answer to the request at work."""
        self._call = None
        self._send(response)
        if self._h11.our_state is h11.MUST_CLOSE:
            self._close()
        else:
            self._h11.start_next_cycle()
            self._state = _State.HEAD
            self._begun = bool(self._h11.trailing_data[0])
            self._since = self.port.now
        self._woken()

    def _refuse(self, refusal: Refusal) -> None:
        """The answer to a request that has not come whole: the connection ends behind it."""
        response = refusal_response(refusal)
        if self._h11.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            self._send(Response(
                response.status, response.content, response.content_type, (*response.fields, ("Connection", "close"))
            ))
        self._close()

    def _send(self, response: Response) -> None:
        content = b"" if response.status == HTTPStatus.NO_CONTENT else response.content
        headers = [*response.fields, ("Cache-Control", "no-store"), ("X-Content-Type-Options", "nosniff")]
        date = self.port.date()
        if date is not None:
            headers.append(("Date", date))
        if response.status != HTTPStatus.NO_CONTENT:
            headers += [("Content-Type", response.content_type), ("Content-Length", str(len(content)))]
        head = h11.Response(
            status_code=int(response.status), reason=HTTPStatus(response.status).phrase, headers=headers
        )
        self._head = None
        self._out += self._h11.send(head) or b""
        if content and not self._no_content:
            self._out += self._h11.send(h11.Data(data=content)) or b""
        self._out += self._h11.send(h11.EndOfMessage()) or b""
        self._no_content = False
        self.port.responses[int(response.status)] += 1
        # The content of the request is done with; the response takes memory until it is sent.
        self._release()
        self._held = len(self._out)
        self.port.held += self._held

    def _release(self) -> None:
        self.port.release(self._held)
        self._held = 0

    def _close(self) -> None:
        """Read no more, and end what is at work."""
        self.closing = True
        self._state = _State.CLOSING
        self._content = bytearray()
        call, self._call = self._call, None
        if call is not None:
            call.abandon()
            self.port.settle()
        if not self._out and not self._unsent:
            self._release()

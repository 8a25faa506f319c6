"""One connection of the target: bytes in, buffers out, login, every PDU but SCSI commands (RFC 7143 clause 11).

    connection.receive_data(view)           # or: recv into connection.wanted(), connection.received(n)
    connection.out, connection.queued       # buffers for one gathered sendmsg, and their bytes
    connection.data_sent(n)
    connection.closing                      # close the socket once `out` is empty; connection.closed: now
    connection.lost()                       # the socket is gone: always called, once
    connection.advance(now), connection.deadline()

Nothing that the peer sends raises. ErrorRecoveryLevel 0: what cannot be answered with a Reject ends the connection.

    state            login request            other PDU
    ---------------  -----------------------  -----------------------------------------------
    login            answered by login.py     closed without a word (7.13)
    full feature     Reject, then closed      its method in `_METHODS`; what has none: Reject
    closing, closed  thrown away              thrown away

It does NOT: order commands (session.py), or know the clock but by `advance`.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from scsiemu import asc
from scsiemu.command import Buffer
from scsiemu.sense import Sense
from transports.iscsi.codes import BHS_LENGTH, AsyncEvent, ConnectionState, RejectReason
from transports.iscsi.framing import FramingError, PduReader, PlainCommand, gather
from transports.iscsi.login import LoginRefusal, LoginResult, LoginStatus, TargetLogin
from transports.iscsi.login_policy import ConnectionPolicy
from transports.iscsi.logout import log_out
from transports.iscsi.nop import receive_nop_out, send_nop_in
from transports.iscsi.pdu import (
    AsyncMessage,
    BadPdu,
    DataOut,
    LoginRequest,
    LogoutRequest,
    NopOut,
    Pdu,
    Reject,
    ScsiCommand,
    Snack,
    TaskManagementRequest,
    TextRequest,
)
from transports.iscsi.session import Session
from transports.iscsi.task_management import manage_tasks
from transports.iscsi.text_exchange import TextExchange, receive_text

if TYPE_CHECKING:
    from transports.iscsi.node import TargetNode

__all__ = ["TargetConnection"]

_MASK: Final = 0xFFFFFFFF
# Data segments shorter than this are put together in the reader's own buffer rather than received in place.
_IN_PLACE_MINIMUM: Final = 4096
_FEW: Final = 4                         # commands: less is not worth a system call of its own
_NO_COMMANDS: Final[list[PlainCommand]] = []


class TargetConnection:
    """The target's side of one TCP connection. Made by `TargetNode.accept`.

    Attributes:
        peer: the other side's address, empty for none.
        local: address and port that it came to.
        group: portal group tag.
        out: what to send, buffers of one PDU after the other.
        queued: bytes in `out`.
        deaf: nothing more is taken: closing or closed.
        dirty: it is in the node's list of those that have something to send.
        stat_sn: the next StatSN.
        max_send_data: how long a data segment we may send.
        plain_data_in: up to here Data-In is one PDU.
        digests: PDUs have one.
        sink_itt: the command whose buffer is being received into.
        at_once: after half of the commands that came together, or so many, `receive_data` leaves the rest for
            `proceed`, so that the answers can be sent meanwhile, if the initiator waits. 0, unless the transport
            sets it: leaves nothing.
        rest: `proceed` must be called before the next bytes are given, and before the buffer is used again.
        text: the text exchange, once there was a Text Request.
        nop_ttt: TTT of a NOP-In of ours that waits for its answer, 0 for none.
        close_reason: why it ends, for the log: never raw bytes of the peer.
    """

    __slots__ = (
        "_commands", "_counted", "_data_out_since", "_heard", "_last_heard", "_last_sent", "_limit_at", "_login",
        "_opened", "_part", "_reader", "_sent", "_sunk", "address", "at_once", "cid", "close_reason", "data_digest",
        "deaf", "digests", "dirty", "group", "header_digest", "local", "max_send_data", "node", "nop_ttt", "out",
        "peer", "plain_data_in", "queued", "rest", "session", "sink_itt", "stat_sn", "state", "text", "user",
    )

    def __init__(self, node: TargetNode, *, peer: str, local: tuple[str, int], group: int, now: float) -> None:
        self.node = node
        self.peer = peer
        self.local = local
        self.group = group
        self.address = _address(peer) if peer else None
        self.state = ConnectionState.LOGIN
        self.deaf = False
        self.close_reason = ""
        self.session: Session | None = None
        self.cid = 0
        self.user = ""
        self.out: list[Buffer] = []
        self.queued = 0
        self.dirty = False
        self.stat_sn = 0
        self.header_digest = False
        self.data_digest = False
        self.max_send_data = 8192
        self.plain_data_in = 0
        self.digests = False
        self.sink_itt = -1
        self.at_once = 0
        self._commands = _NO_COMMANDS       # cut off already, for `proceed`
        self._part = _FEW                   # and how many of them at a time
        self.rest = False
        self._sunk: Pdu | None = None
        self._reader = PduReader()
        self._login: TargetLogin | None = TargetLogin(ConnectionPolicy(self), node.login_limits)
        self.text: TextExchange | None = None
        self._counted = 0                   # bytes that the node counts as backlog
        self.nop_ttt = 0
        # Times. _heard and _sent are flags that `advance` turns into times: the hot path reads no clock.
        self._opened = now
        self._heard = self._sent = False
        self._last_heard = self._last_sent = now
        self._data_out_since: float | None = None
        self._limit_at: float | None = None             # closed then, whatever happens

    @property
    def closing(self) -> bool:
        """To be closed once `out` is empty."""
        return self.state == ConnectionState.CLOSING

    @property
    def closed(self) -> bool:
        """To be closed now."""
        return self.state == ConnectionState.CLOSED or (self.state == ConnectionState.CLOSING and not self.queued)

    @property
    def wants_data(self) -> bool:
        """Whether to read from the socket: not while more than the cap waits for it."""
        return self.queued <= self.node.limits.queued_bytes

    # --- bytes in ----------------------------------------------------------------------------------------------

    def receive_data(self, data: memoryview) -> None:                                           # hot
        """Take what came. `data` may be used again afterwards."""
        if self.deaf:
            return
        self._heard = True
        session = self.session
        if session is None or session.held:
            self._reader.feed(data)
            self._handle(_NO_COMMANDS)
        else:
            reader = self._reader
            commands = reader.plain_commands(data)
            if reader.empty and len(commands) <= _FEW:
                # Most often all that came is few commands, and all of them are plain.
                taken = session.plain_commands(commands)
                if taken == len(commands) or self.deaf:
                    return
                reader.put_back(commands[taken])
                commands = _NO_COMMANDS
            self._handle(commands)

    def proceed(self) -> None:                                                                 # hot
        """Go on with what `receive_data` left: see `rest`."""
        self.rest = False
        commands, self._commands = self._commands, _NO_COMMANDS
        if not self.deaf:
            self._handle(commands, part=self._part)

    def wanted(self) -> memoryview | None:
        """Where the next bytes may be received so that they need not be copied; None: anywhere."""
        if self.sink_itt < 0 or self.deaf:
            return None
        return self._reader.wants()

    def received(self, count: int, more: memoryview) -> None:
        """So many bytes were received into `wanted()`, and `more` after it."""
        self._heard = True
        self._reader.received(count)
        self._reader.feed(more)
        self._handle(_NO_COMMANDS)

    def _handle(self, commands: list[PlainCommand], part: int = 0) -> None:                     # hot
        """Handle every PDU that is there as a whole: `commands` are cut off already, `part` of them at a time."""
        reader, session = self._reader, self.session
        try:
            while True:
                if commands and session is not None:
                    count = len(commands)
                    if count > _FEW and not part:
                        part = count
                        if self.at_once and reader.acknowledged == self.stat_sn:
                            # The initiator has seen all that we sent, and waits: half, for it to work at meanwhile.
                            part = min(max(count + 1 >> 1, _FEW), self.at_once)
                        self._part = part
                    some = commands[:part] if count > _FEW and count > part else commands
                    taken = session.plain_commands(some)
                    if self.deaf:
                        return
                    if taken < len(some):
                        reader.put_back(some[taken])
                    elif taken < count:
                        self._commands = commands[taken:]
                        self.rest = True
                        return
                    elif reader.empty:
                        return
                pdu = reader.next_pdu()
                if pdu is None:
                    return
                if pdu.__class__ is ScsiCommand and session is not None and not pdu.data_digest_error:
                    session.scsi_command(pdu)
                else:
                    self._receive(pdu)
                    session = self.session
                if self.deaf:
                    return
                if session is not None and session.held:
                    self._release_held(session)
                commands, part = _NO_COMMANDS if session is None or session.held else reader.plain_commands(), 0
        except FramingError as error:
            self._framing_error(error)

    def _release_held(self, session: Session) -> None:
        while self.state == ConnectionState.FULL_FEATURE and (pdu := session.next_held()) is not None:
            if isinstance(pdu, ScsiCommand):
                session.scsi_command(pdu)
                if pdu.itt not in session.tasks and session.exp_cmd_sn == pdu.cmd_sn:
                    return              # rejected: its CmdSN is still missing
            else:
                self._receive(pdu)

    def _receive(self, pdu: Pdu) -> None:
        if self.state == ConnectionState.LOGIN:
            self._receive_login(pdu)
            return
        session = self.session
        assert session is not None
        if isinstance(pdu, DataOut):
            self._receive_data_out(session, pdu)
            return
        if pdu.data_digest_error:
            self.reject(RejectReason.DATA_DIGEST_ERROR, pdu)
            return
        method = _METHODS.get(pdu.__class__)
        if method is not None:
            method(self, session, pdu)
        elif isinstance(pdu, BadPdu):
            self.reject(pdu.reason, pdu)
        else:
            # A PDU that only targets send, or a login again (11.12: reason invalid).
            self.reject(RejectReason.PROTOCOL_ERROR, pdu)
            self.close_when_sent("a PDU that an initiator may not send")

    def _framing_error(self, error: FramingError) -> None:
        if self.state == ConnectionState.FULL_FEATURE and not error.header_digest:
            self._send_reject(error.reason, error.header)
            self.close_when_sent(str(error))
        elif self.state == ConnectionState.LOGIN and error.header[:1] == b"\x43" and self._login is not None:
            # Refused from the header alone: its text is not there.
            step = self._login.refuse(
                LoginRequest.from_bhs(error.header), LoginRefusal(LoginStatus.INITIATOR_ERROR, reason=str(error))
            )
            self.send(step.response)
            self.close_when_sent(str(error))
        else:
            self.drop(str(error))

    # --- login -------------------------------------------------------------------------------------------------

    def _receive_login(self, pdu: Pdu) -> None:
        login = self._login
        if login is None or not isinstance(pdu, LoginRequest):
            self.drop("a PDU before the login")         # 7.13: other PDUs end the connection without an answer
            return
        if self.node.accepting:
            step = login.receive(pdu)
        else:
            step = login.refuse(pdu, LoginRefusal(LoginStatus.SERVICE_UNAVAILABLE, reason="shutting down"))
        self.send(step.response)
        if step.result is not None:
            self._begin_full_feature(step.result)
        elif step.failed:
            self.close_when_sent(f"login refused: {step.reason}")

    def _begin_full_feature(self, result: LoginResult) -> None:
        assert self._login is not None
        self._login.close()
        self._login = None
        self.state = ConnectionState.FULL_FEATURE
        self.cid = result.cid
        self.user = result.user
        self.stat_sn = result.stat_sn
        reader = self._reader
        reader.header_digest = self.header_digest = result.parameters.header_digest != "None"
        reader.data_digest = self.data_digest = result.parameters.data_digest != "None"
        reader.max_data_segment_length = result.parameters.max_recv_data_segment_length
        reader.sink = self._sink
        self.parameters_changed()
        self.node.logged_in(self)

    def parameters_changed(self) -> None:
        """What may change in full feature phase has been negotiated."""
        assert self.session is not None
        parameters = self.session.parameters
        self.max_send_data = parameters.max_send_data_segment_length
        self.digests = self.header_digest or self.data_digest
        self.plain_data_in = min(self.max_send_data, parameters.max_burst_length)

    # --- Data-Out ----------------------------------------------------------------------------------------------

    def _sink(self, pdu: Pdu, length: int) -> memoryview | None:
        """Asked by the reader where a data segment goes that has not come as a whole."""
        if length < _IN_PLACE_MINIMUM or not isinstance(pdu, DataOut) or self.session is None:
            return None
        place = self.session.place(pdu, length)
        if place is not None:
            self._sunk = pdu
            self.sink_itt = pdu.itt
        return place

    def abandon_sink(self) -> None:
        """The command whose buffer is being received into has ended."""
        self._reader.abandon_sink()
        self.sink_itt = -1
        self._sunk = None

    def _receive_data_out(self, session: Session, pdu: DataOut) -> None:                        # hot
        in_place = pdu is self._sunk
        self._sunk = None
        self.sink_itt = -1
        if self._data_out_since is not None:
            self._data_out_since = self.node.now
        reason = session.data_out(pdu, in_place=in_place)
        if reason:
            self.reject(reason, pdu)

    def expect_data_out(self) -> None:
        """An R2T was sent."""
        if self._data_out_since is None:
            self._data_out_since = self.node.now

    # --- the other requests ------------------------------------------------------------------------------------

    def _receive_task_management(self, session: Session, pdu: TaskManagementRequest) -> None:
        if session.in_order(pdu, pdu.cmd_sn):
            manage_tasks(session, pdu)

    # --- sending -----------------------------------------------------------------------------------------------

    def next_stat_sn(self) -> int:
        """The StatSN for a PDU that takes one."""
        stat_sn = self.stat_sn
        self.stat_sn = (stat_sn + 1) & _MASK
        return stat_sn

    def send(self, pdu: Pdu) -> None:
        """Queue a PDU."""
        self.send_parts(pdu.bhs(), pdu.data)

    def send_parts(self, header: bytes, data: Buffer) -> None:
        """Queue a PDU of this header and data."""
        if self.state == ConnectionState.CLOSED:
            return
        self.queued += gather(self.out, header, data, self.header_digest, self.data_digest)
        if not self.dirty:
            self.mark_dirty()

    def mark_dirty(self) -> None:
        """There is something to send."""
        self.dirty = True
        self.node.mark_dirty(self)

    def data_sent(self, count: int) -> None:                                                    # hot
        """The socket has taken `count` bytes of `out`."""
        out = self.out
        self._sent = True
        if count == self.queued:
            out.clear()
            self.queued = 0
        else:
            self.queued -= count
            index = 0
            while count and count >= len(out[index]):
                count -= len(out[index])
                index += 1
            del out[:index]
            if count:
                out[0] = memoryview(out[0])[count:]
        if self.queued != self._counted:
            self._count_backlog()
        if self.session is not None and self.session.queue:
            self.node.pump(self.session)

    def _count_backlog(self) -> None:
        """What the socket has left counts for all connections together."""
        by, self._counted = self.queued - self._counted, self.queued
        self.node.backlog_changed(by)

    def reject(self, reason: int, pdu: Pdu) -> None:
        """Send a Reject for a PDU, with its header (11.17)."""
        self._send_reject(reason, pdu.bhs(data_length=len(pdu.data)))

    def _send_reject(self, reason: int, header: bytes) -> None:
        session = self.session
        assert session is not None
        self.send(
            Reject(
                reason=reason, stat_sn=self.next_stat_sn(), exp_cmd_sn=session.exp_cmd_sn,
                max_cmd_sn=session.max_cmd_sn, data=header[:BHS_LENGTH],
            )
        )

    def _send_async(self, session: Session, event: int, *, data: bytes = b"", parameter1: int = 0,
                    parameter2: int = 0, parameter3: int = 0) -> None:
        self.send(
            AsyncMessage(
                stat_sn=self.next_stat_sn(), exp_cmd_sn=session.exp_cmd_sn, max_cmd_sn=session.max_cmd_sn,
                async_event=event, parameter1=parameter1, parameter2=parameter2, parameter3=parameter3, data=data,
            )
        )

    def tell_inventory_changed(self) -> None:
        """SCSI asynchronous event: REPORTED LUNS DATA HAS CHANGED (11.9.1). Silent while much waits to be sent."""
        session = self.session
        if session is not None and self.state == ConnectionState.FULL_FEATURE and self.wants_data:
            sense = Sense(asc.REPORTED_LUNS_DATA_HAS_CHANGED).encode(descriptor=False)
            self._send_async(session, AsyncEvent.SCSI_EVENT, data=len(sense).to_bytes(2, "big") + sense)

    # --- the end -----------------------------------------------------------------------------------------------

    def request_logout(self, now: float) -> None:
        """The node shuts down: ask the initiator to log out, close when it has had its time."""
        if self.state != ConnectionState.FULL_FEATURE or self.session is None:
            self.drop("shutting down")
            return
        seconds = self.node.limits.logout_seconds
        self._limit_at = now + seconds
        # 11.9.1: Parameter3 is the time in which the Logout is expected.
        self._send_async(self.session, AsyncEvent.LOGOUT_REQUEST, parameter3=max(1, round(seconds)))

    def close_when_sent(self, reason: str) -> None:
        """Take nothing more; close the socket once `out` is empty."""
        if self.deaf:
            return
        self.deaf = True
        self.state = ConnectionState.CLOSING
        self.close_reason = self.close_reason or reason
        self._limit_at = self.node.now + self.node.limits.send_seconds
        self._end_session()
        if not self.dirty:
            self.mark_dirty()

    def drop(self, reason: str) -> None:
        """Close the socket now, without a word."""
        if self.state == ConnectionState.CLOSED:
            return
        ended = self.deaf
        self.deaf = True
        self.state = ConnectionState.CLOSED
        self.close_reason = self.close_reason or reason
        if not ended:
            self._end_session()
        self.out.clear()
        self.queued = 0
        if self._counted:
            self._count_backlog()
        if not self.dirty:
            self.mark_dirty()

    def lost(self, reason: str = "connection lost") -> None:
        """The socket is gone."""
        self.drop(reason)
        self.node.forget(self)
        # No cycle is left, so that memory does not wait for a collector.
        self.session = None
        self.text = None
        self._reader.sink = None

    def _end_session(self) -> None:
        if self._login is not None:
            self._login.close()
            self._login = None
        if self.session is not None:
            self.session.lost()
            self.node.forget_session(self.session)

    # --- time --------------------------------------------------------------------------------------------------

    def advance(self, now: float) -> None:
        """The clock says `now`."""
        if self._heard:
            self._heard = False
            self._last_heard = now
            if self.state == ConnectionState.FULL_FEATURE:
                self.nop_ttt = 0        # whatever came, somebody is there
        if self._sent or not self.queued:
            self._sent = False
            self._last_sent = now
        if self._data_out_since is not None and (self.session is None or not self.session.owed_data_out):
            self._data_out_since = None
        deadline = self._hard_deadline()
        if deadline is not None and now >= deadline[0]:
            self.drop(deadline[1])
        elif self._nop_due(now):
            send_nop_in(self)

    def deadline(self) -> float | None:
        """When `advance` wants to be called at the latest."""
        ends = []
        hard = self._hard_deadline()
        if hard is not None:
            ends.append(hard[0])
        interval = self.node.limits.nop_interval
        if interval and self.state == ConnectionState.FULL_FEATURE and not self.nop_ttt:
            ends.append(self._last_heard + interval)
        return min(ends, default=None)

    def _hard_deadline(self) -> tuple[float, str] | None:
        """When the connection ends if nothing happens, and why."""
        limits = self.node.limits
        ends: list[tuple[float, str]] = []
        if self._limit_at is not None:
            ends.append((self._limit_at, "it did not end in time"))
        if self.state == ConnectionState.LOGIN:
            ends.append((self._opened + limits.login_seconds, "no login in time"))
        if self.nop_ttt:
            ends.append((self._last_heard + limits.nop_interval + limits.nop_timeout, "no answer to NOP-In"))
        if self.queued:
            ends.append((self._last_sent + limits.send_seconds, "the socket took nothing"))
        if self._data_out_since is not None:
            ends.append((self._data_out_since + limits.data_out_seconds, "Data-Out did not come"))
        return min(ends, default=None)

    def _nop_due(self, now: float) -> bool:
        interval = self.node.limits.nop_interval
        waits = self.state != ConnectionState.FULL_FEATURE or self.nop_ttt
        return bool(interval and not waits and now >= self._last_heard + interval)


@lru_cache(maxsize=256)
def _address(peer: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """The peers of most connections are few."""
    return ipaddress.ip_address(peer.partition("%")[0])


_METHODS: Final[dict[type[Pdu], Callable[[TargetConnection, Session, Any], None]]] = {
    NopOut: receive_nop_out,
    ScsiCommand: lambda connection, session, pdu: session.scsi_command(pdu),
    TaskManagementRequest: TargetConnection._receive_task_management,
    TextRequest: receive_text,
    LogoutRequest: log_out,
    # 11.16: at ErrorRecoveryLevel 0 there is nothing to ask again for.
    Snack: lambda connection, session, pdu: connection.reject(RejectReason.SNACK_REJECT, pdu),
}

"""An iSCSI initiator's session with one connection, sans-IO: login, commands, task management, NOP, text, logout.

    session = InitiatorSession(LoginOffer("iqn.2026-01.org.example:me", target_name="iqn..."), isid=isid)
    send(session.take_output())
    session.receive_data(view)                  # raises InitiatorError for what a target may not send
    session.next_event()                        # LoggedIn, CommandDone, FunctionDone, ...
    tag = session.execute(lun, cdb, data_in_length=512)

Commands beyond the window of the target (MaxCmdSN) wait here. Data-In is kept as it comes: never more than the
command said that it is ready to receive.

It does NOT: recover from digest errors (ErrorRecoveryLevel 0), several connections in a session, or time anything.
"""

from __future__ import annotations

from collections import deque
from typing import Final, TypeAlias

from scsiemu._value import value
from scsiemu.command import Buffer
from scsiemu.errors import LocalProtocolError, RemoteProtocolError
from scsiemu.sam import TaskAttribute
from transports.iscsi import pdu as pdus
from transports.iscsi.chap import RandomBytes
from transports.iscsi.codes import NO_TAG, AsyncEvent, Flags, IscsiTaskAttribute, LogoutReason, TmfCode
from transports.iscsi.framing import PduReader, encode
from transports.iscsi.initiator_login import InitiatorLogin, LoginOffer
from transports.iscsi.keys import OperationalParameters
from transports.iscsi.text import TextBuffer, encode_text

__all__ = [
    "AsyncReceived", "CommandDone", "CommandResult", "FunctionDone", "InitiatorError", "InitiatorEvent",
    "InitiatorSession", "LoggedIn", "LoggedOut", "NopDone", "Rejected", "TextDone",
]

_MASK: Final = 0xFFFFFFFF
_HALF: Final = 1 << 31
_ATTRIBUTES: Final = {
    TaskAttribute.SIMPLE: IscsiTaskAttribute.SIMPLE,
    TaskAttribute.ORDERED: IscsiTaskAttribute.ORDERED,
    TaskAttribute.HEAD_OF_QUEUE: IscsiTaskAttribute.HEAD_OF_QUEUE,
    TaskAttribute.ACA: IscsiTaskAttribute.ACA,
}


class InitiatorError(RemoteProtocolError):
    """The target sent what it may not send: close the connection."""


@value
class CommandResult:
    """How a command ended.

    Args:
        status: one of `sam.Status`.
        sense: sense data, empty for none.
        data_in: what came.
        underflow, overflow: residual count of the transfer; of the Data-Out of a bidirectional command.
        bidi_underflow, bidi_overflow: residual count of the Data-In of a bidirectional command.
        response: the iSCSI response code, 0 where the command was completed at the target.
    """

    status: int
    sense: bytes = b""
    data_in: bytes = b""
    underflow: int = 0
    overflow: int = 0
    bidi_underflow: int = 0
    bidi_overflow: int = 0
    response: int = 0


@value
class LoggedIn:
    """Full feature phase."""

    parameters: OperationalParameters
    tsih: int


@value
class CommandDone:
    """A command has ended."""

    tag: int
    result: CommandResult


@value
class FunctionDone:
    """A task management function was answered with one of `TmfResponseCode`."""

    tag: int
    response: int
    additional: bytes = b""


@value
class NopDone:
    """The answer to a NOP-Out of ours."""

    tag: int
    data: bytes


@value
class TextDone:
    """The complete answer to a text request."""

    tag: int
    pairs: tuple[tuple[str, str], ...]


@value
class LoggedOut:
    """The logout was answered with one of `LogoutResponseCode`."""

    tag: int
    response: int


@value
class Rejected:
    """The target refused a PDU; `tag` is the ITT in its header."""

    tag: int
    reason: int
    header: bytes


@value
class AsyncReceived:
    """An asynchronous message; `data` is the sense data of a SCSI event."""

    event: int
    parameters: tuple[int, int, int]
    data: bytes


InitiatorEvent: TypeAlias = (
    LoggedIn | CommandDone | FunctionDone | NopDone | TextDone | LoggedOut | Rejected | AsyncReceived
)


class _Task:
    """A command under way."""

    __slots__ = ("data_in", "data_in_length", "data_out", "data_out_length", "lun", "pdu")

    def __init__(self, pdu: pdus.ScsiCommand, data_out: Buffer, data_out_length: int, data_in_length: int) -> None:
        self.pdu = pdu
        self.lun = pdu.lun
        self.data_out = memoryview(data_out)
        self.data_out_length = data_out_length
        self.data_in_length = data_in_length
        self.data_in = bytearray()


class InitiatorSession:
    """A session of an initiator.

    Args:
        offer: who we are and what we want.
        isid: 6 bytes.
        random_bytes: needed for mutual CHAP only.
        cmd_sn: of the first command.

    Attributes:
        parameters: what was negotiated.
        exp_cmd_sn, max_cmd_sn: the window, as the target said last.
        ended: the target closed the session (logout, or an asynchronous message that says so).
    """

    def __init__(
        self,
        offer: LoginOffer,
        *,
        isid: bytes,
        tsih: int = 0,
        random_bytes: RandomBytes | None = None,
        cmd_sn: int = 1,
    ) -> None:
        self._login: InitiatorLogin | None = InitiatorLogin(
            offer, isid=isid, tsih=tsih, cmd_sn=cmd_sn, random_bytes=random_bytes
        )
        self._reader = PduReader()
        self._events: deque[InitiatorEvent] = deque()
        self._out: list[Buffer] = []
        self._tasks: dict[int, _Task] = {}
        self._waiting: deque[pdus.Pdu] = deque()
        self._text: tuple[int, TextBuffer] | None = None
        self._next_itt = 1
        self._header_digest = self._data_digest = False
        self.parameters = self._login.parameters
        self.cmd_sn = cmd_sn
        self.exp_stat_sn = 0
        self.exp_cmd_sn = cmd_sn
        self.max_cmd_sn = cmd_sn
        self.ended = False
        self.send(self._login.start())

    # --- bytes -------------------------------------------------------------------------------------------------

    def take_output(self) -> list[Buffer]:
        """The buffers to send since the last call."""
        out, self._out = self._out, []
        return out

    def send(self, pdu: pdus.Pdu) -> None:
        """Send a PDU as it is: for tests of what a target does with odd ones."""
        self._out += encode(pdu, header_digest=self._header_digest, data_digest=self._data_digest)

    def receive_data(self, data: memoryview) -> None:
        """Take what came.

        Raises:
            LoginFailed, TextError, ChapFailed, InitiatorError, FramingError: give the connection up.
        """
        self._reader.feed(data)
        while (pdu := self._reader.next_pdu()) is not None:
            self._receive(pdu)

    def next_event(self) -> InitiatorEvent | None:
        """The next thing that happened."""
        return self._events.popleft() if self._events else None

    @property
    def logged_in(self) -> bool:
        """Whether commands may be sent."""
        return self._login is None

    # --- requests ----------------------------------------------------------------------------------------------

    def execute(
        self,
        lun: int,
        cdb: bytes,
        *,
        data_out: Buffer = b"",
        data_in_length: int = 0,
        data_out_length: int | None = None,
        attribute: int = TaskAttribute.SIMPLE,
        immediate: bool = False,
        priority: int = 0,
    ) -> int:
        """Send a command, or keep it until the window allows it. Returns its tag.

        Args:
            lun: 64-bit form.
            cdb: of any length; from 17 bytes on as an extended CDB.
            data_out_length: what to claim, len(data_out) unless told.
        """
        self._must_be_logged_in()
        out_length = len(data_out) if data_out_length is None else data_out_length
        flags = Flags.FINAL | _ATTRIBUTES[attribute]
        flags |= Flags.WRITE if out_length else 0
        flags |= Flags.READ if data_in_length else 0
        bidirectional = bool(out_length and data_in_length)
        pdu = pdus.ScsiCommand(
            flags=flags, priority_byte=priority << 4, lun=lun, itt=self._new_tag(),
            expected_data_transfer_length=out_length or data_in_length, cdb=cdb.ljust(16, b"\0"),
            read_length=data_in_length if bidirectional else None, immediate=immediate,
        )
        task = _Task(pdu, data_out, out_length, data_in_length)
        self._tasks[pdu.itt] = task
        parameters = self.parameters
        first = min(parameters.first_burst_length, len(data_out))
        if first and parameters.immediate_data:
            pdu.data = task.data_out[: min(first, parameters.max_send_data_segment_length)]
        if first > len(pdu.data) and not parameters.initial_r2t:
            pdu.flags &= ~Flags.FINAL
        self._request(pdu)
        return pdu.itt

    def manage(
        self, function: int, lun: int = 0, *, referenced: int = NO_TAG, ref_cmd_sn: int | None = None,
        immediate: bool = True,
    ) -> int:
        """Send a task management function, one of `TmfCode`. Returns its tag.

        Args:
            referenced: the tag of the command that it is about.
        """
        self._must_be_logged_in()
        task = self._tasks.get(referenced)
        if ref_cmd_sn is None:
            ref_cmd_sn = task.pdu.cmd_sn if task is not None else 0
        pdu = pdus.TaskManagementRequest(
            flags=Flags.FINAL | function, lun=lun, itt=self._new_tag(), referenced_task_tag=referenced,
            ref_cmd_sn=ref_cmd_sn, immediate=immediate,
        )
        self._request(pdu)
        if function == TmfCode.ABORT_TASK and task is not None and task.pdu in self._waiting:
            self._waiting.remove(task.pdu)
        return pdu.itt

    def nop(self, data: Buffer = b"", *, immediate: bool = False) -> int:
        """Ask for an echo."""
        self._must_be_logged_in()
        pdu = pdus.NopOut(itt=self._new_tag(), data=data, immediate=immediate)
        self._request(pdu)
        return pdu.itt

    def text(self, pairs: list[tuple[str, str]]) -> int:
        """Send a text request; its answer comes as a whole."""
        self._must_be_logged_in()
        data = encode_text(pairs)
        tag = self._new_tag()
        self._text = (tag, TextBuffer(max_length=1 << 24, max_pdus=1 << 16, max_keys=1 << 20, repeated=True))
        self._request(pdus.TextRequest(itt=tag, data=data))
        return tag

    def logout(self, reason: int = LogoutReason.CLOSE_SESSION, *, cid: int = 0) -> int:
        """Ask to end the session."""
        self._must_be_logged_in()
        pdu = pdus.LogoutRequest(flags=Flags.FINAL | reason, itt=self._new_tag(), cid=cid, immediate=True)
        self._request(pdu)
        return pdu.itt

    def forget(self, tag: int) -> None:
        """A command was aborted: nothing more comes for it."""
        self._tasks.pop(tag, None)

    def _must_be_logged_in(self) -> None:
        if self._login is not None:
            raise LocalProtocolError("there is no session yet")

    def _new_tag(self) -> int:
        tag = self._next_itt
        self._next_itt = tag % (NO_TAG - 1) + 1
        return tag

    def _request(self, pdu: pdus.Pdu) -> None:
        if pdu.immediate or not self._waiting:
            self._send_request(pdu)
        else:
            self._waiting.append(pdu)

    def _send_request(self, pdu: pdus.Pdu) -> None:
        """Send a request that takes a CmdSN, if the window is open."""
        if not pdu.immediate and not 0 <= (self.max_cmd_sn - self.cmd_sn) & _MASK < _HALF:
            self._waiting.append(pdu)
            return
        assert isinstance(
            pdu,
            pdus.ScsiCommand | pdus.TaskManagementRequest | pdus.NopOut | pdus.TextRequest | pdus.LogoutRequest,
        )
        pdu.cmd_sn = self.cmd_sn
        pdu.exp_stat_sn = self.exp_stat_sn
        if not pdu.immediate:
            self.cmd_sn = (self.cmd_sn + 1) & _MASK
        self.send(pdu)
        if isinstance(pdu, pdus.ScsiCommand) and not pdu.flags & Flags.FINAL:
            task = self._tasks[pdu.itt]
            end = min(self.parameters.first_burst_length, len(task.data_out))
            self._send_data_out(task, pdu.itt, NO_TAG, len(pdu.data), end)

    def _send_data_out(self, task: _Task, itt: int, ttt: int, offset: int, end: int) -> None:
        """Send one sequence of Data-Out PDUs."""
        piece = self.parameters.max_send_data_segment_length
        data_sn = 0
        while offset < end:
            until = min(offset + piece, end)
            self.send(
                pdus.DataOut(
                    flags=Flags.FINAL if until == end else 0, lun=task.lun if ttt != NO_TAG else 0, itt=itt, ttt=ttt,
                    exp_stat_sn=self.exp_stat_sn, data_sn=data_sn, buffer_offset=offset,
                    data=task.data_out[offset:until],
                )
            )
            data_sn += 1
            offset = until

    # --- answers -----------------------------------------------------------------------------------------------

    def _receive(self, pdu: pdus.Pdu) -> None:
        if pdu.data_digest_error:
            raise InitiatorError("data digest error")
        if self._login is not None:
            self._receive_login(self._login, pdu)
            return
        match pdu:
            case pdus.DataIn():
                self._receive_data_in(pdu)
            case pdus.R2T():
                self._take_numbers(pdu.stat_sn, pdu.exp_cmd_sn, pdu.max_cmd_sn, counts=False)
                self._receive_r2t(pdu)
            case pdus.ScsiResponse():
                self._take_numbers(pdu.stat_sn, pdu.exp_cmd_sn, pdu.max_cmd_sn)
                self._receive_response(pdu)
            case pdus.TaskManagementResponse():
                self._take_numbers(pdu.stat_sn, pdu.exp_cmd_sn, pdu.max_cmd_sn)
                self._events.append(FunctionDone(pdu.itt, pdu.response, pdu.additional_response_information))
            case pdus.NopIn():
                self._take_numbers(pdu.stat_sn, pdu.exp_cmd_sn, pdu.max_cmd_sn, counts=pdu.itt != NO_TAG)
                self._receive_nop_in(pdu)
            case pdus.TextResponse():
                self._take_numbers(pdu.stat_sn, pdu.exp_cmd_sn, pdu.max_cmd_sn)
                self._receive_text(pdu)
            case pdus.LogoutResponse():
                self._take_numbers(pdu.stat_sn, pdu.exp_cmd_sn, pdu.max_cmd_sn)
                self.ended = self.ended or not pdu.response
                self._events.append(LoggedOut(pdu.itt, pdu.response))
            case pdus.Reject():
                self._take_numbers(pdu.stat_sn, pdu.exp_cmd_sn, pdu.max_cmd_sn)
                header = bytes(pdu.data)
                self._events.append(Rejected(int.from_bytes(header[16:20], "big"), pdu.reason, header))
            case pdus.AsyncMessage():
                self._take_numbers(pdu.stat_sn, pdu.exp_cmd_sn, pdu.max_cmd_sn)
                self._receive_async(pdu)
            case _:
                raise InitiatorError(f"a target may not send opcode {pdu.OPCODE:#04x}")
        self._send_waiting()

    def _send_waiting(self) -> None:
        while self._waiting and 0 <= (self.max_cmd_sn - self.cmd_sn) & _MASK < _HALF:
            self._send_request(self._waiting.popleft())

    def _take_numbers(self, stat_sn: int, exp_cmd_sn: int, max_cmd_sn: int, *, counts: bool = True) -> None:
        """StatSN, where the PDU takes one, and the window, which never shrinks (RFC 7143 4.2.2.1)."""
        if counts:
            if stat_sn != self.exp_stat_sn:
                raise InitiatorError(f"StatSN {stat_sn}, expected {self.exp_stat_sn}")
            self.exp_stat_sn = (stat_sn + 1) & _MASK
        if (max_cmd_sn - exp_cmd_sn + 1) & _MASK >= _HALF:
            return
        if 0 < (max_cmd_sn - self.max_cmd_sn) & _MASK < _HALF:
            self.max_cmd_sn = max_cmd_sn
        if 0 < (exp_cmd_sn - self.exp_cmd_sn) & _MASK < _HALF:
            self.exp_cmd_sn = exp_cmd_sn

    def _receive_login(self, login: InitiatorLogin, pdu: pdus.Pdu) -> None:
        if not isinstance(pdu, pdus.LoginResponse):
            raise InitiatorError("no login response")
        request = login.receive(pdu)
        if request is not None:
            self.send(request)
            return
        self._login = None
        self.exp_stat_sn = login.exp_stat_sn
        self.cmd_sn = self.exp_cmd_sn = pdu.exp_cmd_sn
        self.max_cmd_sn = pdu.max_cmd_sn
        parameters = login.parameters
        reader = self._reader
        reader.header_digest = self._header_digest = parameters.header_digest != "None"
        reader.data_digest = self._data_digest = parameters.data_digest != "None"
        reader.max_data_segment_length = parameters.max_recv_data_segment_length
        self._events.append(LoggedIn(parameters, login.tsih))

    def _receive_data_in(self, pdu: pdus.DataIn) -> None:
        status = pdu.flags & Flags.STATUS
        self._take_numbers(pdu.stat_sn, pdu.exp_cmd_sn, pdu.max_cmd_sn, counts=bool(status))
        task = self._tasks.get(pdu.itt)
        if task is None:
            return                      # aborted meanwhile
        data, offset = pdu.data, pdu.buffer_offset
        end = offset + len(data)
        if end > task.data_in_length:
            raise InitiatorError("more Data-In than asked for")
        buffer = task.data_in
        if end > len(buffer):
            if offset > len(buffer) + self.parameters.max_burst_length:
                raise InitiatorError("a hole in Data-In")
            buffer.extend(bytes(end - len(buffer)))
        buffer[offset:end] = data
        if status:
            del self._tasks[pdu.itt]
            under, over = _residuals(pdu.flags, pdu.residual_count)
            result = CommandResult(pdu.status, b"", bytes(buffer), under, over)
            self._events.append(CommandDone(pdu.itt, result))

    def _receive_response(self, pdu: pdus.ScsiResponse) -> None:
        task = self._tasks.pop(pdu.itt, None)
        if task is None:
            return
        data = bytes(pdu.data)
        length = int.from_bytes(data[:2], "big")
        under, over = _residuals(pdu.flags, pdu.residual_count)
        bidi_under, bidi_over = _residuals(pdu.flags >> 2, pdu.bidi_residual_count)
        result = CommandResult(
            pdu.status, data[2 : 2 + length], bytes(task.data_in), under, over, bidi_under, bidi_over, pdu.response
        )
        self._events.append(CommandDone(pdu.itt, result))

    def _receive_r2t(self, pdu: pdus.R2T) -> None:
        task = self._tasks.get(pdu.itt)
        if task is None:
            return
        offset, length = pdu.buffer_offset, pdu.desired_data_transfer_length
        if not length or offset + length > len(task.data_out):
            raise InitiatorError("an R2T for data that there is not")
        self._send_data_out(task, pdu.itt, pdu.ttt, offset, offset + length)

    def _receive_nop_in(self, pdu: pdus.NopIn) -> None:
        if pdu.ttt != NO_TAG:
            # 11.19: it wants an answer; ours is immediate and takes no answer.
            answer = pdus.NopOut(lun=pdu.lun, itt=NO_TAG, ttt=pdu.ttt, immediate=True)
            answer.cmd_sn, answer.exp_stat_sn = self.cmd_sn, self.exp_stat_sn
            self.send(answer)
        elif pdu.itt != NO_TAG:
            self._events.append(NopDone(pdu.itt, bytes(pdu.data)))

    def _receive_text(self, pdu: pdus.TextResponse) -> None:
        if self._text is None or self._text[0] != pdu.itt:
            raise InitiatorError("a text response that nobody asked for")
        tag, buffer = self._text
        pairs = buffer.add(pdu.data, more=bool(pdu.flags & Flags.CONTINUE))
        if pairs is None or not pdu.flags & Flags.FINAL:
            request = pdus.TextRequest(lun=pdu.lun, itt=tag, ttt=pdu.ttt)
            self._request(request)
            return
        self._text = None
        self._events.append(TextDone(tag, tuple(pairs)))

    def _receive_async(self, pdu: pdus.AsyncMessage) -> None:
        data = bytes(pdu.data)
        sense = data[2 : 2 + int.from_bytes(data[:2], "big")]
        self.ended = self.ended or pdu.async_event in (AsyncEvent.DROP_CONNECTION, AsyncEvent.DROP_ALL_CONNECTIONS)
        parameters = (pdu.parameter1, pdu.parameter2, pdu.parameter3)
        self._events.append(AsyncReceived(pdu.async_event, parameters, sense))


def _residuals(flags: int, count: int) -> tuple[int, int]:
    """Underflow and overflow."""
    return (count if flags & Flags.UNDERFLOW else 0, count if flags & Flags.OVERFLOW else 0)

"""The server's virtual adapter: connection, login, credits and the way of requests and responses.

States and what they do with what comes; what is not in the table ends the connection (`disconnect`):

                     WAIT_CONNECTION    CONNECTED        SRP_PROCESSING
    INIT             answer, CONNECTED  -                -
    INIT COMPLETE    CONNECTED          ignore           ignore
    MAD              ignore             answer           answer
    SRP login        ignore             check, answer    reject: CHANNEL LIMIT
    SRP request      ignore             -                perform
    SRP response     ignore             -                take
    partner lost     wait again         wait again       wait again
    partner pauses   ignore             ignore           ignore

DOWN is the fourth state: no queue is registered. What the table cannot say: a request beyond the request limit, an
information unit whose length is 0 or more than was agreed, or that cannot be read or answered by DMA, and a second MAD
before the first is answered, are violations in every state. After a violation the queue is closed (the client is told
so by the hypervisor), registered again, and the handshake starts anew.

It does NOT: perform management datagrams (mad_server.py) or commands (tasks.py).
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from scsiemu.command import Command
from scsiemu.nexus import Nexus
from transports.vscsi.codes import (
    CrqFormat,
    CrqStatus,
    CrqValid,
    FormatMask,
    InitFormat,
    IuType,
    LoginReason,
    MessageStatus,
    ResponseCode,
    Return,
    TransportEvent,
)
from transports.vscsi.crq import CrqElement, CrqReceiver
from transports.vscsi.descriptors import DataDescriptor, DescriptorError, Segment, parse_table
from transports.vscsi.dma import TCE_READ
from transports.vscsi.hypervisor import Hypervisor
from transports.vscsi.information_units import (
    AerResponse,
    CommandIu,
    CreditResponse,
    InformationUnit,
    InitiatorLogout,
    InvalidFields,
    IuError,
    LoginReject,
    LoginRequest,
    LoginResponse,
    ResponseIu,
    TaskManagement,
    decode,
    decode_command,
)
from transports.vscsi.mad_server import MadServer
from transports.vscsi.tasks import FUNCTIONS, Function, Task, unit_of

if TYPE_CHECKING:
    from transports.vscsi.port import VscsiPort

__all__ = ["AdapterState", "TargetAdapter"]

_SHORTEST_LOGIN: Final = 64             # a login must fit into the information units that it asks for
_ATTRIBUTES: Final = frozenset((0, 1, 2, 4))
_VIOLATIONS_KEPT: Final = 16
_EARLY_DATA: Final = 65536              # bytes of Data-Out that are read before they are asked for


class AdapterState:
    """States of the server's adapter."""

    DOWN: Final = "down"
    WAIT_CONNECTION: Final = "wait for a connection"
    CONNECTED: Final = "connected"
    SRP_PROCESSING: Final = "SRP processing"


class _Input:
    """What can come."""

    INIT: Final = "init"
    INIT_COMPLETE: Final = "init complete"
    MAD: Final = "mad"
    LOGIN: Final = "login"
    REQUEST: Final = "request"
    RESPONSE: Final = "response"
    PARTNER_LOST: Final = "partner lost"
    PARTNER_PAUSES: Final = "partner pauses"


_W, _C, _S = AdapterState.WAIT_CONNECTION, AdapterState.CONNECTED, AdapterState.SRP_PROCESSING

# The table above: (state, input) to what is done.
_TABLE: Final[dict[tuple[str, str], str]] = {
    (_W, _Input.INIT): "answer init",
    (_W, _Input.INIT_COMPLETE): "connected",
    (_W, _Input.MAD): "ignore",
    (_W, _Input.LOGIN): "ignore",
    (_W, _Input.REQUEST): "ignore",
    (_W, _Input.RESPONSE): "ignore",
    (_W, _Input.PARTNER_LOST): "wait again",
    (_W, _Input.PARTNER_PAUSES): "ignore",
    (_C, _Input.INIT_COMPLETE): "ignore",
    (_C, _Input.MAD): "answer mad",
    (_C, _Input.LOGIN): "check login",
    (_C, _Input.PARTNER_LOST): "wait again",
    (_C, _Input.PARTNER_PAUSES): "ignore",
    (_S, _Input.INIT_COMPLETE): "ignore",
    (_S, _Input.MAD): "answer mad",
    (_S, _Input.LOGIN): "reject login",
    (_S, _Input.REQUEST): "perform",
    (_S, _Input.RESPONSE): "take response",
    (_S, _Input.PARTNER_LOST): "wait again",
    (_S, _Input.PARTNER_PAUSES): "ignore",
}

_INIT_INPUTS: Final = {InitFormat.INIT: _Input.INIT, InitFormat.INIT_COMPLETE: _Input.INIT_COMPLETE}
_EVENT_INPUTS: Final = {
    TransportEvent.PARTNER_FAILED: _Input.PARTNER_LOST,
    TransportEvent.PARTNER_DEREGISTERED: _Input.PARTNER_LOST,
    TransportEvent.MIGRATED: _Input.PARTNER_LOST,
    TransportEvent.PREPARE_FOR_SUSPEND: _Input.PARTNER_PAUSES,
    TransportEvent.RESUMED: _Input.PARTNER_PAUSES,
}
_IU_INPUTS: Final = {
    IuType.LOGIN_REQ: _Input.LOGIN,
    IuType.CMD: _Input.REQUEST,
    IuType.TSK_MGMT: _Input.REQUEST,
    IuType.I_LOGOUT: _Input.REQUEST,
    IuType.CRED_RSP: _Input.RESPONSE,
    IuType.AER_RSP: _Input.RESPONSE,
}


class TargetAdapter:
    """One virtual adapter: at most one client, one nexus. Made by `VscsiPort.attach`.

    Args:
        port: what it serves.
        hypervisor, unit: by whom, and as which adapter.
        memory: of its queue, at bus address 0.
        name, identity: of the client.

    Attributes:
        state: one of `AdapterState`.
        owed: credits that go back to the client with the next response.
        violations: of the client, the latest sixteen, for the operator.
    """

    def __init__(
        self, port: VscsiPort, hypervisor: Hypervisor, unit: int, memory: memoryview, *, name: str, identity: int
    ) -> None:
        self.port = port
        self.hypervisor = hypervisor
        self.unit = unit
        self.name = name
        self.identity = identity
        self.state: str = AdapterState.DOWN
        self.owed = 0
        self.violations: deque[str] = deque(maxlen=_VIOLATIONS_KEPT)
        self._memory = memory
        self._ring: CrqReceiver | None = None
        self._tasks: dict[Task | Function, None] = {}
        self._out: deque[tuple[int, int]] = deque()         # elements that found the client's queue full
        self._available = 0                                 # requests that the client may still send
        self._limit = 0                                     # requests that it may have outstanding
        self._iu_length = port.limits.iu_length
        self._nexus: Nexus | None = None
        self._mads = MadServer(self)

    # --- connection --------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Register the queue; greet the client if it is there."""
        code = self.hypervisor.h_reg_crq(self.unit, 0, len(self._memory))
        if code not in (Return.SUCCESS, Return.CLOSED):
            return
        self._ring = CrqReceiver(self._memory)
        self.state = AdapterState.WAIT_CONNECTION
        if code == Return.SUCCESS:
            self._send_init(InitFormat.INIT)

    def close(self, reason: int = 0) -> None:
        """Log the client out where it can be told, and close the queue."""
        if self.state == AdapterState.SRP_PROCESSING:
            self._mads.send_logout(reason)
        self._end()
        self.hypervisor.h_free_crq(self.unit)
        self._ring = None
        self.state = AdapterState.DOWN
        self.port.forget(self)

    def disconnect(self, reason: str) -> None:
        """The client broke the protocol: close the queue, and begin again."""
        self.violations.append(reason)
        self._end()
        self.hypervisor.h_free_crq(self.unit)
        self._ring = None
        self.state = AdapterState.DOWN
        self.start()

    def partner_lost(self) -> None:
        """The client is gone. Our queue stays for the next one."""
        self._end()
        self.state = AdapterState.WAIT_CONNECTION

    def _end(self) -> None:
        """What was under way ends without a word."""
        for task in self._tasks:
            task.alive = False
        self._tasks.clear()
        self._out.clear()
        self._mads.reset()
        self.owed = self._available = self._limit = 0
        nexus, self._nexus = self._nexus, None
        if nexus is not None:
            self.port.lose_nexus(nexus)

    # --- what comes --------------------------------------------------------------------------------------------

    def process(self) -> bool:  # hot
        """Take what is in the queue, and what the target answers. False: there was nothing."""
        if self._out:
            self.retry()
        moved = False
        while self._ring is not None and (element := self._ring.get()) is not None:
            moved = True
            self._take(element)
        if moved:
            self.port.settle()
        return moved

    def _take(self, element: CrqElement) -> None:  # hot
        valid, kind = element.valid, element.format
        if valid == CrqValid.MESSAGE:
            if kind == CrqFormat.SRP:
                self._take_iu(element)
            elif kind == CrqFormat.MAD:
                self._step(_Input.MAD, element)
            elif kind == CrqFormat.MESSAGE_IN_CRQ and element.status == MessageStatus.PING:
                answer = CrqElement(CrqValid.MESSAGE, CrqFormat.MESSAGE_IN_CRQ, MessageStatus.PING_RESPONSE)
                self._send_element(answer.encode())
            else:
                self.disconnect(f"a message of format {kind}")
            return
        inputs = {CrqValid.INIT: _INIT_INPUTS, CrqValid.TRANSPORT_EVENT: _EVENT_INPUTS}.get(valid, {})
        given = inputs.get(kind)
        if given is None:
            self.disconnect(f"an element {valid:02X}h {kind:02X}h")
            return
        self._step(given, element)

    def _step(self, given: str, element: CrqElement, unit: InformationUnit | None = None) -> None:
        """Do what the table says."""
        match _TABLE.get((self.state, given)):
            case "answer init":
                self.state = AdapterState.CONNECTED
                self._send_init(InitFormat.INIT_COMPLETE)
            case "connected":
                self.state = AdapterState.CONNECTED
            case "answer mad":
                self._mads.answer(element)
            case "check login" if isinstance(unit, LoginRequest):
                self._login(unit, element.iu_address)
            case "reject login" if isinstance(unit, LoginRequest):
                reason = self._login_fault(unit) or LoginReason.CHANNEL_LIMIT
                self._send_iu(element.iu_address, unit.tag, LoginReject(unit.tag, reason).encode())
            case "perform":
                self._perform(unit, element.iu_address)
            case "take response" if isinstance(unit, CreditResponse | AerResponse):
                if not self._mads.take_response(unit.tag):
                    self.disconnect("a response to nothing")
            case "wait again":
                self.partner_lost()
            case "ignore":
                pass
            case _:
                self.disconnect(f"{given} in state {self.state}")

    def fetch(self, element: CrqElement, longest: int) -> bytes | None:  # hot
        """The bytes that an element points to; None: they cannot be had, and the connection has ended."""
        length = element.iu_length
        if not 0 < length <= longest:
            self.disconnect(f"an information unit of {length} bytes")
            return None
        data = self.hypervisor.copy_in(self.unit, element.iu_address, length)
        if isinstance(data, int):
            if data == Return.PERMISSION:
                self.partner_lost()
            else:
                self.disconnect("an information unit outside of the window")
            return None
        return data

    def _take_iu(self, element: CrqElement) -> None:  # hot
        data = self.fetch(element, self._iu_length)
        if data is None:
            return
        if data[0] == IuType.CMD and self.state == AdapterState.SRP_PROCESSING:
            if not self._available:
                self.disconnect("more requests than the request limit")
                return
            try:
                unit = decode_command(data)
            except IuError as error:
                self.disconnect(str(error))
            except InvalidFields as error:
                self._available -= 1
                self._refuse(error.tag, element.iu_address)
            else:
                self._available -= 1
                self._command(unit, element.iu_address)
            return
        given = _IU_INPUTS.get(data[0])
        if given is None:
            self.disconnect(f"an information unit of type {data[0]:02X}h")
            return
        try:
            other = decode(data)
        except (IuError, InvalidFields) as error:
            self.disconnect(str(error))
            return
        self._step(given, element, other)

    # --- login -------------------------------------------------------------------------------------------------

    def _login(self, request: LoginRequest, address: int) -> None:
        reason = self._login_fault(request)
        if reason:
            self._send_iu(address, request.tag, LoginReject(request.tag, reason).encode())
            return
        limits = self.port.limits
        self._nexus = self.port.establish_nexus(self, request.initiator_port)
        if self._nexus is None:
            refusal = LoginReject(request.tag, LoginReason.UNABLE_TO_ESTABLISH)
            self._send_iu(address, request.tag, refusal.encode())
            return
        self._iu_length = request.max_iu_length
        self._available = self._limit = limits.request_limit
        self.state = AdapterState.SRP_PROCESSING
        response = LoginResponse(
            request.tag, limits.request_limit, request.max_iu_length, request.max_iu_length,
            request.formats & FormatMask.ALL,
        )
        self._send_iu(address, request.tag, response.encode())

    def _login_fault(self, request: LoginRequest) -> int:
        """The reason to reject a login, 0 for none."""
        if request.max_iu_length > self.port.limits.iu_length:
            return LoginReason.IU_LENGTH_TOO_LARGE
        if request.max_iu_length < _SHORTEST_LOGIN:
            return LoginReason.UNABLE_TO_ESTABLISH
        if any(request.initiator_port[:8]) or any(request.target_port[:8]):
            return LoginReason.UNABLE_TO_ASSOCIATE          # the identifier extensions
        if request.multichannel:
            return LoginReason.MULTICHANNEL_UNSUPPORTED
        if not request.formats & FormatMask.ALL or request.formats & ~FormatMask.ALL:
            return LoginReason.UNSUPPORTED_DESCRIPTOR_FORMAT
        return 0

    # --- requests ----------------------------------------------------------------------------------------------

    def _perform(self, unit: InformationUnit | None, address: int) -> None:
        """A request that is no command."""
        if isinstance(unit, InitiatorLogout):
            if self._tasks or self._out:
                self.disconnect("logout with work outstanding")
                return
            self._end()
            self.state = AdapterState.CONNECTED
            self._send_iu(address, unit.tag, unit.encode())
        elif isinstance(unit, TaskManagement):
            if not self._available:
                self.disconnect("more requests than the request limit")
                return
            self._available -= 1
            function = FUNCTIONS.get(unit.function)
            if function is None:
                self.respond(address, ResponseIu(unit.tag, response_code=ResponseCode.NOT_SUPPORTED))
                return
            pending = Function(self, unit.tag, address)
            self._tasks[pending] = None
            assert self._nexus is not None, "logged in"
            self.port.manage(function, self._nexus, unit_of(unit.lun), tag=unit.task_tag, origin=pending)

    def _command(self, unit: CommandIu, address: int) -> None:  # hot
        out, in_ = unit.data_out, unit.data_in
        limit = self.port.limits.max_transfer
        if out.length > limit or in_.length > limit:
            self._refuse(unit.tag, address, CrqStatus.VIOLATES_MAX_TRANSFER)
            return
        if unit.attribute not in _ATTRIBUTES:
            self._refuse(unit.tag, address)
            return
        out_segments, in_segments = out.segments, in_.segments
        if out.table is not None or in_.table is not None:
            tables = self._tables(unit, address)
            if tables is None:
                return
            out_segments, in_segments = tables
        data = b""
        if 0 < out.length <= _EARLY_DATA and len(out_segments) == 1:
            # A short buffer at once, which spares the device server to ask. Where it cannot be read nothing is lost:
            # whether that matters is seen when it is asked for.
            found = self.hypervisor.copy_in(self.unit, out_segments[0].address, out.length)
            if isinstance(found, bytes):
                data = found
        task = Task(self, unit.tag, address, out_segments, in_segments, unit.notification)
        self._tasks[task] = None
        assert self._nexus is not None, "logged in"
        self.port.target.submit(Command(
            self._nexus, unit_of(unit.lun), unit.cdb, unit.tag, unit.attribute, data, out.length, in_.length, task
        ))

    def _tables(self, unit: CommandIu, address: int) -> tuple[tuple[Segment, ...], tuple[Segment, ...]] | None:
        """All segments of a command, its tables fetched. None: the command has been refused."""
        try:
            return self._table(unit.data_out), self._table(unit.data_in)
        except DescriptorError:
            self._refuse(unit.tag, address)
        except _Unreachable:
            self._refuse(unit.tag, address, CrqStatus.ADAPTER_FAIL)
        return None

    def _table(self, descriptor: DataDescriptor) -> tuple[Segment, ...]:
        table = descriptor.table
        if table is None or descriptor.complete:
            return descriptor.segments
        data = self.hypervisor.copy_in(self.unit, table.address, table.length)
        if isinstance(data, int):
            raise _Unreachable
        return parse_table(data, descriptor.length)

    def readable(self, address: int, length: int) -> bool:
        """Whether the client lets us read there."""
        return self.hypervisor.may_copy(self.unit, address, length, TCE_READ)

    def forget(self, task: Task | Function) -> None:
        """Told by a task: it has ended, its response comes."""
        task.alive = False
        del self._tasks[task]

    # --- responses ---------------------------------------------------------------------------------------------

    def _refuse(self, tag: int, address: int, status: int = CrqStatus.OK) -> None:
        self.respond(address, ResponseIu(tag, response_code=ResponseCode.FIELDS_INVALID), status=status)

    def respond(self, address: int, response: ResponseIu, *, status: int = CrqStatus.OK) -> None:  # hot
        """Send a response, with the credits that go back."""
        delta = max(1 + self.owed, -self._available)
        self.owed += 1 - delta
        self._available += delta
        response.request_limit_delta = delta
        room = self._iu_length - 40
        if len(response.sense) > room:
            response.sense = response.sense[:room]
        self._send_iu(address, response.tag, response.encode(), status)

    def change_request_limit(self, by: int) -> None:
        """Let the client have more or fewer requests outstanding, at least one: told at once where it has left us an
        information unit, else with the next responses."""
        by = max(by, 1 - self._limit)
        self._limit += by
        delta = max(by, -self._available)
        if delta and self._mads.send_credits(delta):
            self._available += delta
            by -= delta
        self.owed += by

    def _send_iu(self, address: int, tag: int, data: bytes, status: int = CrqStatus.OK) -> None:
        self.send_response(CrqFormat.SRP, address, tag, data, status)

    def send_response(self, kind: int, address: int, tag: int, data: bytes, status: int = CrqStatus.OK) -> None:  # hot
        """Write a response over its request, and tell the client its tag."""
        code = self.hypervisor.copy_out(self.unit, address, data)
        if code == Return.SUCCESS:
            self._send(CrqValid.MESSAGE << 56 | kind << 48 | status << 32 | len(data), tag)
        elif code == Return.PERMISSION:
            self.partner_lost()
        else:
            self.disconnect("a response cannot be written")

    def _send_init(self, kind: int) -> None:
        self._send_element(CrqElement(CrqValid.INIT, kind).encode())

    def _send_element(self, element: bytes) -> None:
        self._send(int.from_bytes(element[:8], "big"), int.from_bytes(element[8:], "big"))

    def _send(self, high: int, low: int) -> None:  # hot
        if self._out:
            self._out.append((high, low))
            return
        code = self.hypervisor.h_send_crq(self.unit, high, low)
        if code == Return.DROPPED:
            self._out.append((high, low))
        elif code != Return.SUCCESS:
            self.partner_lost()

    def retry(self) -> None:
        """Send what found the client's queue full."""
        while self._out:
            code = self.hypervisor.h_send_crq(self.unit, *self._out[0])
            if code == Return.DROPPED:
                return
            if code != Return.SUCCESS:
                self.partner_lost()
                return
            self._out.popleft()

    @property
    def waiting(self) -> int:
        """Responses that found the client's queue full."""
        return len(self._out)

    def report_event(self, lun: int, sense: bytes) -> bool:
        """Tell the client of an asynchronous event. False: it has left us no information unit for that."""
        return self.state == AdapterState.SRP_PROCESSING and self._mads.send_event(lun, sense)

    def statistics(self) -> dict[str, object]:
        """Who the client is, and what it has under way."""
        return {
            "client": self.name,
            "state": self.state,
            "requests": len(self._tasks),
            "credits": self._available,
            "waiting": len(self._out),
            "fast fail": self._mads.fast_fail,
            "violations": list(self.violations),
        }


class _Unreachable(Exception):
    """A table of descriptors that the window does not reach."""


"""The client's virtual adapter, sans-IO: handshake, adapter info, login, requests within the request limit.

    client = ClientAdapter(hypervisor, unit, memory)
    client.start()
    request = client.execute(0, cdb, data_out=..., allocation=...)
    ... client.process()                    # whenever something may have come: takes what is in the queue
    request.done, request.result, request.failure

    state           what comes              what is done                                    next
    WAIT_INIT       INIT                    INIT COMPLETE, then as below                    INFO
    WAIT_INIT       INIT COMPLETE           ADAPTER INFO                                    INFO
    INFO            its answer              server says AIX: FAST FAIL, else login          FAST_FAIL or LOGIN
    FAST_FAIL       its answer              CAPABILITIES                                    CAPABILITIES
    CAPABILITIES    its answer              login                                           LOGIN
    LOGIN           SRP_LOGIN_RSP           requests that wait go out                       READY
    LOGIN           SRP_LOGIN_REJ           requests fail                                   REJECTED
    any             partner lost            requests fail                                   WAIT_INIT
    any             migrated                requests fail, enable the queue, INIT           WAIT_INIT

Two of the credits are kept for task management, as the client of Linux does it. The memory is the client's own: what a
server writes there is checked like any bytes of a peer.

It does NOT: wait, or know what time it is.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from scsiemu.command import Buffer
from scsiemu.errors import LocalProtocolError, RemoteProtocolError
from scsiemu.lun import decode as decode_lun
from scsiemu.lun import unit_lun
from scsiemu.sam import TaskManagementFunction, TaskManagementResponse
from transports.vscsi.codes import (
    IU_LENGTH,
    CrqFormat,
    CrqValid,
    InitFormat,
    MadStatus,
    MadType,
    OsType,
    Return,
    TransportEvent,
)
from transports.vscsi.crq import CrqElement, CrqReceiver
from transports.vscsi.hypervisor import ClientCalls
from transports.vscsi.information_units import (
    COMMAND_LENGTH,
    AerRequest,
    AerResponse,
    CommandIu,
    CreditRequest,
    CreditResponse,
    InformationUnit,
    LoginReject,
    LoginRequest,
    LoginResponse,
    TargetLogout,
    TaskManagement,
    decode,
    decode_response,
)
from transports.vscsi.mad import (
    AdapterInfo,
    Capabilities,
    Capability,
    CapabilityFlags,
    CapabilityType,
    Mad,
    decode_adapter_info,
    decode_mad,
)
from transports.vscsi.memory import QUEUE_LENGTH, ClientMemory
from transports.vscsi.requests import FUNCTION_CODES, FragmentRule, Request, wire_lun

__all__ = ["ClientAdapter", "ClientState"]

_KEPT_CREDITS: Final = 2
_OTHER_UNITS: Final = 6             # information units for management datagrams, functions and answers
_DIRECT: Final = FragmentRule()
_EVENT_LIMIT: Final = 256


class ClientState:
    """States of the client's adapter."""

    DOWN: Final = "down"
    WAIT_INIT: Final = "wait for initialization"
    INFO: Final = "adapter info"
    FAST_FAIL: Final = "fast fail"
    CAPABILITIES: Final = "capabilities"
    LOGIN: Final = "login"
    READY: Final = "ready"
    REJECTED: Final = "login rejected"


class ClientAdapter:
    """One virtual adapter of a client.

    Args:
        calls: the hypervisor.
        unit: address of the adapter.
        memory: what the window maps, from bus address 0.
        name, number: of our partition.
        iu_length: of information units that we ask for.
        depth: requests that we can have outstanding.
        rule: how buffers are described.
        port: our initiator port identifier; its first eight bytes are zero.
        events: leave the server an EMPTY IU for asynchronous events.

    Attributes:
        state: one of `ClientState`.
        server: what the server told of itself.
        reject_reason: of a rejected login.
        events: asynchronous events, the latest.
    """

    def __init__(
        self,
        calls: ClientCalls,
        unit: int,
        memory: memoryview,
        *,
        name: str = "client",
        number: int = 2,
        iu_length: int = IU_LENGTH,
        depth: int = 64,
        rule: FragmentRule = _DIRECT,
        port: bytes = bytes(16),
        events: bool = False,
    ) -> None:
        self.state: str = ClientState.DOWN
        self.rule = rule
        self.server: AdapterInfo | None = None
        self.reject_reason = 0
        self.events: deque[AerRequest] = deque(maxlen=_EVENT_LIMIT)
        self._calls = calls
        self._unit = unit
        self._name, self._number = name, number
        self._iu_length = iu_length
        self._port = port
        self._wants_events = events
        self._memory = ClientMemory(memory, iu_length=iu_length, units=depth + _OTHER_UNITS)
        self._answers = self._memory.take_unit() or 0
        self._depth = depth
        self._ring: CrqReceiver | None = None
        self._credits = 0
        self._tag = 0
        self._requests: dict[int, Request] = {}                             # outstanding, by tag
        self._waiting: deque[tuple[Request, bytes, Buffer, int]] = deque()  # with CDB, Data-Out, attribute
        self._others: dict[int, tuple[int, int, int]] = {}      # tags of MADs and login: unit, buffer, its length

    # --- connection --------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Register the queue; greet the server if it is there. Raises LocalProtocolError where that is refused."""
        code = self._calls.h_reg_crq(self._unit, 0, QUEUE_LENGTH)
        if code not in (Return.SUCCESS, Return.CLOSED):
            raise LocalProtocolError(f"H_REG_CRQ returned {code}")
        self._ring = CrqReceiver(self._memory.memory[:QUEUE_LENGTH])
        self.state = ClientState.WAIT_INIT
        if code == Return.SUCCESS:
            self._send_init(InitFormat.INIT)

    def close(self) -> None:
        """Close the queue: the server forgets us. What was outstanding fails."""
        if self._ring is not None:
            self._ring = None
            self._calls.h_free_crq(self._unit)
        self.state = ClientState.DOWN
        self._fail_all("the adapter was closed")

    def _fail_all(self, reason: str) -> None:
        for request in list(self._requests.values()):
            self._retire(request)
            request.fail(reason)
        while self._waiting:
            self._waiting.popleft()[0].fail(reason)
        for address, buffer, length in self._others.values():
            self._memory.give_unit(address)
            if length:
                self._memory.release(buffer, length)
        self._others.clear()
        self._credits = 0

    # --- requests ----------------------------------------------------------------------------------------------

    def execute(
        self, lun: int, cdb: bytes, data_out: Buffer = b"", allocation: int = 0, *, attribute: int = 0
    ) -> Request:  # hot
        """Send a command, now or when there are credits and memory.

        Args:
            lun: a plain number, or the 64-bit form.
            allocation: bytes of Data-In that there is room for.

        Raises LocalProtocolError where the memory can never hold its data, or the CDB is too long.
        """
        request = Request(wire_lun(lun), allocation=allocation, data_out_length=len(data_out))
        if len(data_out) + allocation > self._memory.capacity // 2 and not self._fits(request):
            raise LocalProtocolError(f"{len(data_out) + allocation} bytes of data do not fit into the window")
        if self._waiting or not self._try(request, cdb, data_out, attribute):
            if self.state in (ClientState.DOWN, ClientState.REJECTED):
                request.fail(f"the adapter is not connected: {self.state}")
            else:
                self._waiting.append((request, cdb, data_out, attribute))
        return request

    def _fits(self, request: Request) -> bool:
        """Whether it could be placed if nothing else were."""
        length = request.allocation + request.data_out_length
        tables = -(-length // self.rule.segment) * 16 + 64 if self.rule.segment else 64
        return length + tables <= self._memory.capacity

    def _try(self, request: Request, cdb: bytes, data_out: Buffer, attribute: int) -> bool:  # hot
        """Send a command if credits, information units and memory allow it."""
        if self._credits <= _KEPT_CREDITS or self.state != ClientState.READY or len(self._requests) >= self._depth:
            return False
        room = self._iu_length - COMMAND_LENGTH - max(0, len(cdb) - 13 & -4)
        placed = request.place(self._memory, data_out, self.rule, room)
        if placed is None:
            return False
        self._tag += 1
        request.tag = tag = self._tag
        try:
            data = CommandIu(tag, request.lun, cdb, placed[0], placed[1], attribute).encode()
        except ValueError as error:
            request.free(self._memory)
            raise LocalProtocolError(str(error)) from None
        if len(data) > self._iu_length:
            request.free(self._memory)
            raise LocalProtocolError(f"an information unit of {len(data)} bytes, more than {self._iu_length}")
        self._send_request(request, data)
        return True

    def _send_request(self, request: Request, data: bytes) -> None:  # hot
        address = self._memory.take_unit()
        if address is None:
            request.free(self._memory)
            request.fail("no information unit is free")
            return
        request.unit = address
        self._requests[request.tag] = request
        self._credits -= 1
        self._memory.memory[address : address + len(data)] = data
        code = self._calls.h_send_crq(self._unit, _SRP_MESSAGE | len(data), address)
        if code != Return.SUCCESS:
            self._retire(request)
            request.fail(f"H_SEND_CRQ returned {code}")

    def manage(self, function: TaskManagementFunction, lun: int = 0, *, task: Request | None = None) -> Request:
        """Send a task management function. What SRP has no code for is rejected at once.

        Args:
            task: of ABORT TASK.
        """
        request = Request(wire_lun(lun) if task is None else task.lun)
        request.function = function
        code = FUNCTION_CODES.get(function)
        if code is None:
            request.done = True
            request.answer = TaskManagementResponse.FUNCTION_REJECTED
            return request
        if task is not None:
            request.task_tag = task.tag
        if self.state != ClientState.READY or not self._credits:
            request.fail(f"no credit for task management: {self.state}")
            return request
        self._tag += 1
        request.tag = self._tag
        self._send_request(request, TaskManagement(self._tag, request.lun, code, request.task_tag).encode())
        return request

    def _retire(self, request: Request) -> None:
        """A request is outstanding no longer."""
        if self._requests.pop(request.tag, None) is not None:
            self._memory.give_unit(request.unit)
            request.free(self._memory)

    def _pump(self) -> None:
        """Send what waits."""
        while self._waiting:
            request, cdb, data_out, attribute = self._waiting[0]
            try:
                if not self._try(request, cdb, data_out, attribute):
                    return
            except LocalProtocolError as error:
                request.fail(str(error))
            self._waiting.popleft()

    # --- what comes --------------------------------------------------------------------------------------------

    def process(self) -> bool:  # hot
        """Take what is in the queue. False: there was nothing."""
        moved = False
        while self._ring is not None and (element := self._ring.get()) is not None:
            moved = True
            if element.valid == CrqValid.MESSAGE:
                self._take(element)
            elif element.valid == CrqValid.INIT:
                self._initialized(element.format)
            elif element.valid == CrqValid.TRANSPORT_EVENT:
                self._event(element.format)
        if moved and self._waiting:
            self._pump()
        return moved

    def _initialized(self, kind: int) -> None:
        if self.state != ClientState.WAIT_INIT:
            return
        if kind == InitFormat.INIT:
            self._send_init(InitFormat.INIT_COMPLETE)
        self.state = ClientState.INFO
        info = AdapterInfo(self._name, self._number, OsType.LINUX)
        self._send_mad(MadType.ADAPTER_INFO, info.encode())

    def _event(self, event: int) -> None:
        if event in (TransportEvent.PREPARE_FOR_SUSPEND, TransportEvent.RESUMED):
            return
        self.state = ClientState.WAIT_INIT
        if event == TransportEvent.MIGRATED:
            self._fail_all("the partition was migrated")
            self._calls.h_enable_crq(self._unit)
            self._send_init(InitFormat.INIT)
            return
        failed = event == TransportEvent.PARTNER_FAILED
        self._fail_all("the partner failed" if failed else "the partner closed its queue")

    def _take(self, element: CrqElement) -> None:  # hot
        request = self._requests.get(element.iu_address)
        if request is None:
            other = self._others.pop(element.iu_address, None)
            if other is not None:
                self._take_other(element, *other)
            return
        address = request.unit
        try:
            response = decode_response(self._memory.memory[address : address + min(element.iu_length, self._iu_length)])
        except RemoteProtocolError as error:
            self._retire(request)
            request.fail(str(error))
            return
        self._credits += response.request_limit_delta
        request.complete(response, element.status, self._memory)
        self._retire(request)
        if request.function is not None:
            self._managed(request)

    def _managed(self, function: Request) -> None:
        """A function has ended: what it aborted of ours gets no response."""
        if function.answer is not TaskManagementResponse.FUNCTION_COMPLETE:
            return
        kind = function.function
        if kind is TaskManagementFunction.CLEAR_ACA:
            return
        for request in list(self._requests.values()):
            if request.function is not None or request.tag > function.tag:
                continue
            if kind is TaskManagementFunction.ABORT_TASK:
                hit = request.tag == function.task_tag
            else:
                hit = _same_unit(request.lun, function.lun)
            if hit:
                self._retire(request)
                request.fail(f"aborted by {function.function.value if function.function else ''}")

    # --- management datagrams and login ---------------------------------------------------------------------------

    def _take_other(self, element: CrqElement, address: int, buffer: int, length: int) -> None:
        """The answer to a datagram or to the login."""
        memory = self._memory
        data = bytes(memory.memory[address : address + min(element.iu_length, self._iu_length)])
        content = bytes(memory.memory[buffer : buffer + length])
        memory.give_unit(address)
        if length:
            memory.release(buffer, length)
        try:
            if element.format == CrqFormat.MAD:
                self._take_mad(decode_mad(data), content)
            elif self.state == ClientState.LOGIN:
                self._logged_in(decode(data))
        except RemoteProtocolError as error:
            self.state = ClientState.REJECTED
            self._fail_all(str(error))

    def _take_mad(self, mad: Mad, content: bytes) -> None:
        if mad.type == MadType.EMPTY_IU:
            if mad.status == MadStatus.SUCCESS:
                self._take_event(decode(content[: mad.length]))
            return
        match self.state:
            case ClientState.INFO:
                if mad.status == MadStatus.SUCCESS:
                    self.server = decode_adapter_info(content)
                if self.server is not None and self.server.os_type == OsType.AIX:
                    self.state = ClientState.FAST_FAIL
                    self._send_mad(MadType.ENABLE_FAST_FAIL, None)
                    return
                self._login()
            case ClientState.FAST_FAIL:
                self.state = ClientState.CAPABILITIES
                wanted = Capabilities(
                    CapabilityFlags.LIST_SUPPORTED | CapabilityFlags.LIST_DATA, self._name, "",
                    (Capability(CapabilityType.MIGRATION, 1, 1), Capability(CapabilityType.RESERVE, 1, 1)),
                )
                self._send_mad(MadType.CAPABILITIES, wanted.encode())
            case ClientState.CAPABILITIES:
                self._login()

    def _take_event(self, unit: InformationUnit) -> None:
        """What the server sends on its own."""
        if isinstance(unit, AerRequest):
            self._credits += unit.request_limit_delta
            self.events.append(unit)
            self._send_answer(AerResponse(unit.tag).encode())
        elif isinstance(unit, CreditRequest):
            self._credits += unit.request_limit_delta
            self._send_answer(CreditResponse(unit.tag).encode())
        elif isinstance(unit, TargetLogout):
            self.state = ClientState.WAIT_INIT
            self._fail_all("the server has logged us out")
            return
        self._leave_unit()

    def _login(self) -> None:
        self.state = ClientState.LOGIN
        self._tag += 1
        request = LoginRequest(self._tag, self._iu_length, initiator_port=self._port)
        self._send_other(_SRP_MESSAGE, self._tag, request.encode(), 0, 0)

    def _logged_in(self, unit: InformationUnit) -> None:
        if isinstance(unit, LoginResponse):
            self._credits = unit.request_limit_delta
            self.state = ClientState.READY
            self._leave_unit()
            self._pump()
        else:
            self.reject_reason = unit.reason if isinstance(unit, LoginReject) else 0
            self.state = ClientState.REJECTED
            self._fail_all(f"the login was rejected: {self.reject_reason:08X}h")

    def _leave_unit(self) -> None:
        if self._wants_events:
            self._send_mad(MadType.EMPTY_IU, bytes(self._iu_length))

    def _send_mad(self, kind: int, content: bytes | None) -> None:
        """Send a datagram, with a buffer if it has one."""
        self._tag += 1
        buffer: int | None = None
        length = 0
        if content is not None:
            length = len(content)
            buffer = self._memory.allocate(length)
            if buffer is None:
                return
            self._memory.memory[buffer : buffer + length] = content
        mad = Mad(kind, self._tag, 0, length, buffer)
        self._send_other(_MAD_MESSAGE, self._tag, mad.encode(), buffer or 0, length)

    def _send_answer(self, data: bytes) -> None:
        """Send an information unit that gets no answer. Its place is free when the server sends the next event."""
        address = self._answers
        self._memory.memory[address : address + len(data)] = data
        self._calls.h_send_crq(self._unit, _SRP_MESSAGE | len(data), address)

    def _send_other(self, head: int, tag: int, data: bytes, buffer: int, length: int) -> None:
        address = self._memory.take_unit()
        if address is None:
            return
        self._others[tag] = address, buffer, length
        self._memory.memory[address : address + len(data)] = data
        self._calls.h_send_crq(self._unit, head | len(data), address)

    def _send_init(self, kind: int) -> None:
        self._calls.h_send_crq(self._unit, CrqValid.INIT << 56 | kind << 48, 0)

    def statistics(self) -> dict[str, object]:
        """Its state and what is under way."""
        return {
            "state": self.state,
            "credits": self._credits,
            "outstanding": len(self._requests),
            "waiting": len(self._waiting),
            "buffer_bytes": self._memory.used,
        }


_SRP_MESSAGE: Final = CrqValid.MESSAGE << 56 | CrqFormat.SRP << 48
_MAD_MESSAGE: Final = CrqValid.MESSAGE << 56 | CrqFormat.MAD << 48


def _same_unit(one: int, other: int) -> bool:
    """Whether two LUN fields say the same number, in whatever method."""
    return one == other or _number(one) == _number(other)


def _number(lun: int) -> int:
    if lun >> 62 == 2:
        return unit_lun(lun >> 48 & 0x3FFF)
    address = decode_lun(lun)
    return unit_lun(address.number) if not address.bus and address.number < 1 << 14 else lun

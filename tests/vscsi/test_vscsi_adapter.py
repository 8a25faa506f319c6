"""The server's adapter against a client driven by hand: handshake, login, credits, faults, datagrams."""

from __future__ import annotations

from typing import Any

import pytest
from vscsi_raw import DATA, MAPPED, PAGES, READ_ONLY, UNITS, Held, RawClient, mangled

from scsiemu.sense import decode_sense
from transports.vscsi.codes import (
    CrqFormat,
    CrqStatus,
    CrqValid,
    InitFormat,
    LoginReason,
    MadStatus,
    MadType,
    MessageStatus,
    OsType,
    ResponseCode,
    ResponseFlags,
    Return,
    SrpTask,
    TransportEvent,
)
from transports.vscsi.crq import CrqElement, CrqReceiver
from transports.vscsi.descriptors import DataDescriptor, Segment, direct, indirect
from transports.vscsi.dma import PAGE
from transports.vscsi.information_units import (
    AerRequest,
    AerResponse,
    CommandIu,
    CreditRequest,
    CreditResponse,
    InitiatorLogout,
    LoginReject,
    LoginRequest,
    LoginResponse,
    ResponseIu,
    TargetLogout,
    TaskManagement,
    decode,
)
from transports.vscsi.mad import (
    AdapterInfo,
    Capabilities,
    Capability,
    CapabilityFlags,
    CapabilityType,
    Mad,
    decode_adapter_info,
    decode_capabilities,
    decode_mad,
)
from transports.vscsi.port import VscsiLimits

READ_8 = bytes.fromhex("28000000000000000800000000000000")
WRITE_8 = bytes.fromhex("2a000000000000000800000000000000")
LENGTH = 8 * 512
OUTSIDE = MAPPED * PAGE


def login(**changes: Any) -> LoginRequest:
    """A login with changes."""
    return LoginRequest(**{"tag": 5, "max_iu_length": 256, **changes})


# --- connection ------------------------------------------------------------------------------------------------


def test_handshake_server_second() -> None:
    """The side that registers second greets; then the other answers."""
    client = RawClient()
    assert client.hypervisor.h_reg_crq(client.unit, 0, PAGE) == Return.CLOSED
    client.server.start()

    client.ring = CrqReceiver(memoryview(client.memory)[:PAGE])
    assert [(element.valid, element.format) for element in client.take()] == [(CrqValid.INIT, InitFormat.INIT)]
    client.again()
    assert client.server.state == "SRP processing"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"max_iu_length": 257}, LoginReason.IU_LENGTH_TOO_LARGE),
        ({"max_iu_length": 63}, LoginReason.UNABLE_TO_ESTABLISH),
        ({"initiator_port": b"\1" + bytes(15)}, LoginReason.UNABLE_TO_ASSOCIATE),
        ({"target_port": bytes(7) + b"\1" + bytes(8)}, LoginReason.UNABLE_TO_ASSOCIATE),
        ({"multichannel": 1}, LoginReason.MULTICHANNEL_UNSUPPORTED),
        ({"formats": 0}, LoginReason.UNSUPPORTED_DESCRIPTOR_FORMAT),
        ({"formats": 8}, LoginReason.UNSUPPORTED_DESCRIPTOR_FORMAT),
        ({"max_iu_length": 300, "multichannel": 1, "formats": 0}, LoginReason.IU_LENGTH_TOO_LARGE),
    ],
)
def test_login_rejected(changes: dict[str, Any], reason: int) -> None:
    """A login is checked in the order of its reasons; a better one may follow."""
    client = RawClient().connect()

    answer = client.ask(login(**changes))
    assert isinstance(answer, LoginReject)
    assert answer.reason == reason
    client.assert_no_nexus()
    assert isinstance(client.ask(login()), LoginResponse)


def test_login_accepted() -> None:
    """A login tells the request limit; the initiator port has the identity that the hypervisor knows."""
    client = RawClient(limits=VscsiLimits(request_limit=24)).connect()

    answer = client.ask(login(initiator_port=bytes(8) + b"guidguid"))
    assert answer == LoginResponse(5, 24, 256, 256, 6)
    port = list(client.target.nexuses)[-1].initiator_port
    assert port.transport_id == b"\4" + bytes(7) + (1).to_bytes(8, "big") + b"guidguid"


def test_login_twice() -> None:
    """A second login is rejected: there is one channel. The first goes on."""
    client = RawClient().login()

    answer = client.ask(login())
    assert isinstance(answer, LoginReject)
    assert answer.reason == LoginReason.CHANNEL_LIMIT
    assert client.execute(bytes(6)).status == 0


@pytest.mark.parametrize("unit", [CommandIu(1, 0, bytes(16)), TaskManagement(1, 0, 1), InitiatorLogout(1)])
def test_request_before_login(unit: Any) -> None:
    """A request before the login ends the connection."""
    client = RawClient().connect()

    client.post(unit.encode())
    client.assert_disconnected()


def test_messages_before_connection_are_ignored() -> None:
    """Before the handshake nothing is answered."""
    client = RawClient()
    client.server.start()
    client.hypervisor.h_reg_crq(client.unit, 0, PAGE)

    client.post(login().encode())
    client.post(Mad(MadType.ENABLE_FAST_FAIL, 1).encode(), kind=CrqFormat.MAD)
    assert not client.memory[0] & 0x80
    assert client.server.state == "wait for a connection"


@pytest.mark.parametrize(
    ("length", "data"),
    [(0, b"\2" * 64), (257, bytes(300)), (0xFFFF, b"\2" * 64), (47, b"\2" * 47), (8, b"\x99" * 8), (16, b"\xc1" * 16),
     (48, b"\2" + bytes(30) + b"\1" + bytes(16)), (16, b"\x42" + bytes(15)), (1, b"\0"), (63, bytes(63))],
)
def test_violation_information_unit(length: int, data: bytes) -> None:
    """A length of 0 or more than 256, a type that there is not, a truncated unit, an answer to nothing: the end."""
    client = RawClient().login()

    client.post(data, length=length)
    client.assert_disconnected()
    client.assert_untouched()


@pytest.mark.parametrize("address", [OUTSIDE, PAGES * PAGE, (1 << 64) - 16, OUTSIDE - 16, 1 << 40])
def test_violation_unit_outside_of_window(address: int) -> None:
    """An information unit that the window does not reach is never read."""
    client = RawClient().login()

    client.post(CommandIu(1, 0, bytes(16)).encode(), address=address)
    client.assert_disconnected()


def test_violation_response_cannot_be_written() -> None:
    """The response goes over the request; where that is read-only the connection ends."""
    client = RawClient().login()
    client.put(CommandIu(1, 0, bytes(16)).encode(), address=READ_ONLY)

    client.post(bytes(48), address=READ_ONLY)
    client.assert_disconnected()


@pytest.mark.parametrize(
    "element",
    [CrqElement(0x80, 3), CrqElement(0x80, 0), CrqElement(0xC0, 1), CrqElement(0xC0, 9), CrqElement(0x81, 1),
     CrqElement(0x80, 6, 0x55)],
)
def test_violation_element(element: CrqElement) -> None:
    """Elements that mean nothing, or come at the wrong time."""
    client = RawClient().login()

    client.send(element)
    client.assert_disconnected()


def test_ping() -> None:
    """A ping in the element is answered in the element."""
    client = RawClient().connect()

    client.send(CrqElement(CrqValid.MESSAGE, CrqFormat.MESSAGE_IN_CRQ, MessageStatus.PING))
    (element,) = client.take()
    assert element[:3] == (CrqValid.MESSAGE, CrqFormat.MESSAGE_IN_CRQ, MessageStatus.PING_RESPONSE)


def test_violation_request_limit() -> None:
    """A request beyond the request limit ends the connection, and the commands with it."""
    held = Held()
    client = RawClient(limits=VscsiLimits(request_limit=4)).login()
    client.target.units[0].performer = held
    for tag in range(4):
        client.post(CommandIu(tag, 0, READ_8, data_in=direct(DATA, LENGTH)).encode())
    assert client.take() == []
    assert len(held.kept) == 4

    client.post(TaskManagement(9, 0, SrpTask.ABORT_TASK, 1).encode())
    assert client.server.violations[-1] == "more requests than the request limit"
    client.assert_no_nexus()
    for _, ticket in held.kept:
        client.target.complete(ticket, bytes(LENGTH))   # type: ignore[arg-type]  # a ticket
    client.run()
    assert bytes(client.memory[DATA : DATA + LENGTH]) == bytes(LENGTH)
    assert client.target.units[0].statistics()["pending"] == 0


def test_request_limit_returns() -> None:
    """Each response gives its credit back, and a changed limit is told."""
    client = RawClient(limits=VscsiLimits(request_limit=2)).login()

    assert [client.execute(bytes(6)).request_limit_delta for _ in range(5)] == [1] * 5
    client.server.change_request_limit(3)
    assert client.execute(bytes(6)).request_limit_delta == 4
    assert client.server.statistics()["credits"] == 5
    client.server.change_request_limit(-9)
    deltas = [client.execute(bytes(6)).request_limit_delta for _ in range(3)]
    assert deltas == [-3, 1, 1]
    assert client.server.statistics()["credits"] == 1


def test_full_queue() -> None:
    """Responses that find the client's queue full wait, in order, and are tried again."""
    client = RawClient(limits=VscsiLimits(request_limit=400)).login()
    iu = CommandIu(0, 0, bytes(16))
    for tag in range(300):
        iu.tag = tag
        client.post(iu.encode(), address=client.put(iu.encode(), address=UNITS + tag * 64))
    assert client.server.waiting == 300 - 255
    assert client.port.deadline() is not None

    first = client.take()
    client.port.advance(client.port.deadline() or 0.0)
    rest = client.take()
    assert [element.iu_address for element in first + rest] == list(range(300))
    assert client.server.waiting == 0


def test_partner_failure_with_commands_in_flight() -> None:
    """A client that crashes loses its nexus; what the store still has ends without a word, and no buffer is kept."""
    held = Held()
    client = RawClient().login()
    client.target.units[0].performer = held
    long = 70_000 // 512 * 512
    cdb = WRITE_8[:7] + (long // 512).to_bytes(2, "big") + bytes(7)
    client.post(CommandIu(1, 0, cdb, direct(DATA, long)).encode())
    client.post(CommandIu(2, 0, READ_8, data_in=direct(DATA, LENGTH)).encode())
    assert client.port.statistics()["data_out_bytes"] == long

    client.hypervisor.fail(client.unit)
    client.run()
    client.assert_no_nexus()
    assert client.server.state == "wait for a connection"
    for _, ticket in list(held.kept):
        client.target.complete(ticket, None)            # type: ignore[arg-type]  # a ticket
    client.run()
    assert client.target.units[0].statistics()["pending"] == 0
    assert client.port.statistics()["data_out_bytes"] == 0


def test_partner_deregistered_and_back() -> None:
    """A client that frees its queue is gone; it may come again."""
    client = RawClient().login()

    assert client.hypervisor.h_free_crq(client.unit) == Return.SUCCESS
    client.run()
    client.assert_no_nexus()
    assert client.hypervisor.h_reg_crq(client.unit, 0, PAGE) == Return.SUCCESS
    client.ring = type(client.ring)(memoryview(client.memory)[:PAGE])
    client.send(CrqElement(CrqValid.INIT, InitFormat.INIT))
    client.take()
    assert isinstance(client.ask(login()), LoginResponse)


def test_logout() -> None:
    """A logout without work is answered; with work outstanding it ends the connection."""
    client = RawClient().login()
    assert client.ask(InitiatorLogout(3)) == InitiatorLogout(3)
    client.assert_no_nexus()
    assert isinstance(client.ask(login()), LoginResponse)
    client.execute(bytes(6))

    client.target.units[0].performer = Held()
    client.post(CommandIu(1, 0, READ_8, data_in=direct(DATA, LENGTH)).encode())
    client.post(InitiatorLogout(4).encode())
    client.assert_disconnected()


# --- data --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "descriptor",
    [
        direct(OUTSIDE, LENGTH),
        direct(OUTSIDE - 512, LENGTH),
        direct((1 << 64) - 8, LENGTH),
        direct(PAGES * PAGE - 1, LENGTH),
        indirect((Segment(DATA, 512), Segment(OUTSIDE, LENGTH - 512)), 0),
        indirect((Segment(DATA, LENGTH),), OUTSIDE, inline=0),
        indirect((Segment(DATA, LENGTH),), 1 << 63, inline=0),
    ],
)
@pytest.mark.parametrize("out", [True, False])
def test_dma_fault(descriptor: DataDescriptor, out: bool) -> None:
    """Data that the window does not reach: CRQ status 10h, no byte moved out of it, the connection lives."""
    client = RawClient().login()
    unit = CommandIu(9, 0, WRITE_8, descriptor) if out else CommandIu(9, 0, READ_8, data_in=descriptor)

    response, status = client.ask_with_status(unit)
    assert isinstance(response, ResponseIu)
    assert status == CrqStatus.ADAPTER_FAIL
    if response.response_code is None:
        sense = decode_sense(response.sense)
        assert sense is not None
        assert (sense.code.key, sense.code.asc) == (0xB, 0x4B)
    else:
        assert response.response_code == ResponseCode.FIELDS_INVALID
    client.assert_untouched()
    assert client.execute(bytes(6)).status == 0
    assert client.server.statistics()["requests"] == 0


def test_dma_fault_of_unwanted_data() -> None:
    """A buffer that nobody uses is not looked at: TEST UNIT READY with Data-Out from nowhere is good."""
    client = RawClient().login()

    response, status = client.ask_with_status(CommandIu(9, 0, bytes(16), direct(OUTSIDE, 99), direct(OUTSIDE, 55)))
    assert isinstance(response, ResponseIu)
    assert (status, response.status) == (0, 0)
    assert response.flags == ResponseFlags.DATA_OUT_UNDER | ResponseFlags.DATA_IN_UNDER
    assert (response.data_out_residual, response.data_in_residual) == (99, 55)


def test_dma_read_only_page() -> None:
    """Data-In into a page that may only be read is a fault; Data-Out from it is none."""
    client = RawClient().login()

    response, status = client.ask_with_status(CommandIu(9, 0, READ_8, data_in=direct(READ_ONLY, LENGTH)))
    assert status == CrqStatus.ADAPTER_FAIL
    response, status = client.ask_with_status(CommandIu(9, 0, WRITE_8, direct(READ_ONLY, LENGTH)))
    assert isinstance(response, ResponseIu)
    assert (status, response.status) == (0, 0)


def test_residuals_all_flags() -> None:
    """DOOVER, DOUNDER, DIOVER, DIUNDER with their counts."""
    client = RawClient().login()
    cases = (
        (CommandIu(1, 0, WRITE_8, direct(DATA, LENGTH + 7)), ResponseFlags.DATA_OUT_UNDER, 7, 0),
        (CommandIu(1, 0, WRITE_8, direct(DATA, LENGTH - 512)), ResponseFlags.DATA_OUT_OVER, 512, 0),
        (CommandIu(1, 0, READ_8, data_in=direct(DATA, LENGTH + 9)), ResponseFlags.DATA_IN_UNDER, 0, 9),
        (CommandIu(1, 0, READ_8, data_in=direct(DATA, 100)), ResponseFlags.DATA_IN_OVER, 0, LENGTH - 100),
        (CommandIu(1, 0, READ_8, direct(DATA, 3), direct(DATA, LENGTH)), ResponseFlags.DATA_OUT_UNDER, 3, 0),
        (CommandIu(1, 0, READ_8), ResponseFlags.DATA_IN_OVER, 0, LENGTH),
    )
    for unit, flags, out, in_ in cases:
        response = client.ask(unit)
        assert isinstance(response, ResponseIu)
        assert (response.flags, response.data_out_residual, response.data_in_residual) == (flags, out, in_), unit


@pytest.mark.parametrize(("asked", "good", "bad"), [(0, 0, 0), (2, 1, 0), (4, 0, 1), (6, 1, 1)])
def test_solicited_notification(asked: int, good: int, bad: int) -> None:
    """A response is solicited where the request says so for its outcome."""
    client = RawClient().login()

    for cdb, wanted in ((bytes(16), good), (b"\xee" + bytes(15), bad)):
        response = client.ask(CommandIu(1, 0, cdb, notification=asked))
        assert isinstance(response, ResponseIu)
        assert response.notification == wanted


def test_max_transfer() -> None:
    """More than the adapter info allows is refused with the CRQ status for that, and nothing is allocated."""
    client = RawClient(limits=VscsiLimits(max_transfer=LENGTH)).login()

    response, status = client.ask_with_status(CommandIu(9, 0, READ_8, data_in=direct(DATA, LENGTH + 1)))
    assert isinstance(response, ResponseIu)
    assert status == CrqStatus.VIOLATES_MAX_TRANSFER
    assert response.response_code == ResponseCode.FIELDS_INVALID
    assert client.execute(READ_8, data_in=direct(DATA, LENGTH)).flags == 0


@pytest.mark.parametrize(("offset", "byte"), [(5, 0x30), (5, 0x04), (5, 0x10), (29, 3), (29, 7)])
def test_command_fields_invalid(offset: int, byte: int) -> None:
    """Formats and attributes that there are not, descriptors behind the end: REQUEST FIELDS INVALID, for its tag."""
    client = RawClient().login()

    def change(raw: bytearray) -> None:
        raw[offset] = byte

    address = client.post(mangled(CommandIu(0x1234, 0, bytes(16)), change))
    (element,) = client.take()
    assert element.iu_address == 0x1234
    response = decode(bytes(client.memory[address : address + element.iu_length]))
    assert isinstance(response, ResponseIu)
    assert response.response_code == ResponseCode.FIELDS_INVALID
    assert client.execute(bytes(6)).request_limit_delta == 1


def test_table_with_other_total() -> None:
    """A table in memory whose lengths do not make the total length is refused."""
    client = RawClient().login()
    client.put(direct(DATA, 512).encode() + direct(DATA, 512).encode(), address=DATA)
    wrong = DataDescriptor(2, 1023, (), Segment(DATA, 32))

    response = client.execute(READ_8, data_in=wrong)
    assert response.response_code == ResponseCode.FIELDS_INVALID


def test_lun_forms() -> None:
    """The logical unit method, peripheral and flat: all mean unit 0; others have no unit."""
    client = RawClient().login()
    inquiry = bytes.fromhex("120000002400").ljust(16, b"\0")
    for lun, there in ((0x8000 << 48, True), (0x4000 << 48, True), (0, True), (0x8001 << 48, False),
                       (0x8100 << 48, False), (0x8000 << 48 | 1, False), (0xC000 << 48, False), ((1 << 64) - 1, False)):
        client.memory[DATA : DATA + 1] = b"\xff"
        response = client.ask(CommandIu(1, lun, inquiry, data_in=direct(DATA, 36)))
        assert isinstance(response, ResponseIu)
        assert response.status == 0
        assert (client.memory[DATA] == 0) == there, f"{lun:016x}"


def test_overlapped_tags() -> None:
    """A tag that is in use ends all commands of the nexus (SAM-5 5.11); the connection lives."""
    client = RawClient().login()
    client.target.units[0].performer = Held()
    client.post(CommandIu(5, 0, READ_8, data_in=direct(DATA, LENGTH)).encode())

    response = client.ask(CommandIu(5, 0, READ_8, data_in=direct(DATA, LENGTH)))
    assert isinstance(response, ResponseIu)
    assert response.sense[12:14] == b"\x4e\0"


@pytest.mark.parametrize(
    ("function", "lun", "code"),
    [(SrpTask.ABORT_TASK, 0, 0), (SrpTask.ABORT_TASK_SET, 0, 0), (SrpTask.CLEAR_TASK_SET, 0, 0),
     (SrpTask.CLEAR_ACA, 0, 0), (SrpTask.LUN_RESET, 0x8000 << 48, 0), (SrpTask.LUN_RESET, 7 << 48, 2),
     (0x55, 0, 4), (0, 0, 4)],
)
def test_task_management_codes(function: int, lun: int, code: int) -> None:
    """Functions, the LUN that is not there, the function that is not there."""
    client = RawClient().login()

    response = client.ask(TaskManagement(1, lun, function))
    assert isinstance(response, ResponseIu)
    assert (response.response_code, response.request_limit_delta, response.sense) == (code, 1, b"")


def test_aborted_command_gives_its_credit_back() -> None:
    """An aborted command has no response; its credit comes with that of the function."""
    client = RawClient().login()
    client.target.units[0].performer = Held()
    client.post(CommandIu(5, 0, WRITE_8, direct(DATA, LENGTH)).encode())
    client.post(CommandIu(6, 0, WRITE_8, direct(DATA, LENGTH)).encode())

    response = client.ask(TaskManagement(7, 0, SrpTask.ABORT_TASK, 6))
    assert isinstance(response, ResponseIu)
    assert (response.response_code, response.request_limit_delta) == (0, 2)


# --- management datagrams ----------------------------------------------------------------------------------------


def test_mad_adapter_info() -> None:
    """Each side tells the other who it is."""
    client = RawClient(limits=VscsiLimits(partition_name="vios", os_type=OsType.AIX)).connect()
    client.put(AdapterInfo("me", 9).encode(), address=DATA)

    answer = decode_mad(client.mad(Mad(MadType.ADAPTER_INFO, 4, length=148, buffer=DATA).encode()))
    assert answer == Mad(MadType.ADAPTER_INFO, 4, MadStatus.SUCCESS, 148, DATA)
    info = decode_adapter_info(client.memory[DATA : DATA + 148])
    assert (info.partition_name, info.os_type, info.srp_version, info.mad_version) == ("vios", OsType.AIX, "16.a", 1)
    assert info.max_transfer[0] == 16 << 20


def test_mad_capabilities() -> None:
    """What the server does not know loses its support, and the list its flag."""
    client = RawClient().connect()
    asked = Capabilities(
        CapabilityFlags.LIST_SUPPORTED | CapabilityFlags.LIST_DATA, "me", "here",
        (Capability(CapabilityType.MIGRATION, 1, 1), Capability(CapabilityType.RESERVE, 1, 1), Capability(77, 2, 5)),
    )
    raw = asked.encode()
    client.put(raw, address=DATA)

    answer = decode_mad(client.mad(Mad(MadType.CAPABILITIES, 4, length=len(raw), buffer=DATA).encode()))
    assert answer.status == MadStatus.SUCCESS
    told = decode_capabilities(client.memory[DATA : DATA + len(raw)])
    assert told.flags == CapabilityFlags.LIST_DATA
    assert [entry.support for entry in told.entries] == [0, 1, 0]


@pytest.mark.parametrize(
    ("mad", "status"),
    [
        (Mad(MadType.ENABLE_FAST_FAIL, 1), MadStatus.SUCCESS),
        (Mad(MadType.HOST_CONFIG, 1, 0, 64, DATA), MadStatus.NOT_SUPPORTED),
        (Mad(0x777, 1), MadStatus.NOT_SUPPORTED),
        (Mad(MadType.ERROR_LOG, 1, 0, 64, DATA), MadStatus.SUCCESS),
        (Mad(MadType.ERROR_LOG, 1, 0, 64, OUTSIDE), MadStatus.FAILED),
        (Mad(MadType.ADAPTER_INFO, 1, 0, 148, OUTSIDE - 100), MadStatus.FAILED),
        (Mad(MadType.ADAPTER_INFO, 1, 0, 148, READ_ONLY), MadStatus.FAILED),
        (Mad(MadType.ADAPTER_INFO, 1, 0, 147, DATA), MadStatus.FAILED),
        (Mad(MadType.ADAPTER_INFO, 1), MadStatus.FAILED),
        (Mad(MadType.CAPABILITIES, 1, 0, 68, READ_ONLY), MadStatus.FAILED),
        (Mad(MadType.CAPABILITIES, 1, 0, 0, DATA), MadStatus.FAILED),
    ],
)
def test_mad_status(mad: Mad, status: int) -> None:
    """Every datagram is answered over itself with a status; a buffer out of reach fails it and nothing else."""
    client = RawClient().login()

    assert decode_mad(client.mad(mad.encode())).status == status
    client.assert_untouched()
    assert client.execute(bytes(6)).status == 0


@pytest.mark.parametrize("length", [0, 1, 15, 257])
def test_mad_violation(length: int) -> None:
    """A datagram shorter than its header, or longer than there are, ends the connection."""
    client = RawClient().login()

    client.post(Mad(MadType.ENABLE_FAST_FAIL, 1).encode(), kind=CrqFormat.MAD, length=length)
    client.assert_disconnected()


def test_mad_empty_iu() -> None:
    """What the server sends on its own goes out in the EMPTY IU that was left with it, one at a time."""
    client = RawClient().login()
    empty = Mad(MadType.EMPTY_IU, 8, length=256, buffer=DATA).encode()
    assert not client.server.report_event(0, b"sense")
    client.post(empty, kind=CrqFormat.MAD)
    assert client.take() == []

    assert client.server.report_event(0, b"sense")
    (element,) = client.take()
    assert (element.format, element.iu_address) == (CrqFormat.MAD, 8)
    event = decode(client.memory[DATA : DATA + 64])
    assert isinstance(event, AerRequest)
    assert event.sense == b"sense"
    client.post(empty, kind=CrqFormat.MAD)
    assert not client.server.report_event(0, b"the last is not answered")
    client.post(AerResponse(event.tag).encode())
    client.server.change_request_limit(5)
    client.take()
    credit = decode(client.memory[DATA : DATA + 64])
    assert isinstance(credit, CreditRequest)
    assert credit.request_limit_delta == 5
    client.post(CreditResponse(credit.tag).encode())
    assert client.execute(bytes(6)).request_limit_delta == 1
    client.post(empty, kind=CrqFormat.MAD)
    assert decode_mad(client.mad(empty)).status == MadStatus.FAILED
    client.server.close(3)
    assert decode(client.memory[DATA : DATA + 64]) == TargetLogout(credit.tag + 1, 3)
    assert [element.valid for element in client.take()] == [CrqValid.MESSAGE, CrqValid.TRANSPORT_EVENT]


def test_suspend_events_change_nothing() -> None:
    """A client that pauses and resumes is the same client."""
    client = RawClient().login()
    for event in (TransportEvent.PREPARE_FOR_SUSPEND, TransportEvent.RESUMED):
        client.hypervisor.announce(client.unit, event)
        client.run()

    assert client.execute(bytes(6)).status == 0

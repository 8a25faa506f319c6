"""Queues, DMA windows, hypervisor calls, and the client's memory."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transports.vscsi.codes import CrqValid, Hcall, Return, TransportEvent
from transports.vscsi.crq import CrqElement, CrqReceiver, CrqSender
from transports.vscsi.dma import PAGE, TCE_READ, TCE_WRITE, DmaError, DmaWindow
from transports.vscsi.hypervisor import COPY_LIMIT, Hypervisor
from transports.vscsi.memory import ClientMemory

RW = TCE_READ | TCE_WRITE


def message(number: int) -> bytes:
    """An element with a number."""
    return CrqElement(CrqValid.MESSAGE, 1, iu_address=number).encode()


@given(st.lists(st.booleans(), max_size=120))
def test_crq_is_a_queue(puts: list[bool]) -> None:
    """Elements come out in the order in which they went in, round the ring, and none is overwritten."""
    memory = memoryview(bytearray(16 * 8))
    sender, receiver = CrqSender(memory), CrqReceiver(memory)
    model: list[int] = []
    for number, put in enumerate(puts):
        if put:
            assert sender.put(message(number)) == (len(model) < 7)
            if len(model) < 7:
                model.append(number)
        else:
            element = receiver.get()
            assert (element.iu_address if element else None) == (model.pop(0) if model else None)


def test_crq_keeps_room_for_an_event() -> None:
    """A queue full of messages still takes a transport event."""
    memory = memoryview(bytearray(16 * 4))
    sender = CrqSender(memory)

    assert [sender.put(message(number)) for number in range(5)] == [True, True, True, False, False]
    event = CrqElement(CrqValid.TRANSPORT_EVENT, TransportEvent.PARTNER_FAILED).encode()
    assert sender.put(event, event=True)
    assert not sender.put(event, event=True)
    assert bytes(memory[48:]) == event


PAGES = 8


@settings(max_examples=200)
@given(
    st.lists(st.tuples(st.integers(0, PAGES - 1), st.integers(0, 3)), min_size=PAGES, max_size=PAGES),
    st.integers(-10, (PAGES + 1) * PAGE), st.integers(0, 3 * PAGE), st.binary(min_size=1, max_size=3),
)
def test_dma_window_model(table: list[tuple[int, int]], address: int, length: int, seed: bytes) -> None:
    """Reads and writes go where the table says and nowhere else, or nowhere at all."""
    content = bytes(index * 7 % 251 for index in range(PAGES * PAGE))
    memory = bytearray(content)
    window = DmaWindow(1, memoryview(memory))
    for page, (real, access) in enumerate(table):
        assert window.put_tce(page * PAGE, real * PAGE | access)

    def real_addresses(access: int) -> list[int] | None:
        found = []
        for at in range(address, address + length):
            page = at // PAGE
            if not 0 <= page < PAGES or not table[page][1] & access:
                return None
            found.append(table[page][0] * PAGE + at % PAGE)
        return found

    readable, writable = real_addresses(TCE_READ), real_addresses(TCE_WRITE)
    if length and readable is None:
        with pytest.raises(DmaError):
            window.read(address, length)
    elif readable is not None:
        assert window.read(address, length) == bytes(content[at] for at in readable)
    data = (seed * (length // len(seed) + 1))[:length]
    if length and writable is None:
        with pytest.raises(DmaError):
            window.write(address, data)
        assert memory == content
    elif writable is not None:
        window.write(address, data)
        expected = bytearray(content)
        for at, byte in zip(writable, data, strict=True):
            expected[at] = byte
        # Two addresses may be one byte of memory: then the last one counts.
        assert memory == expected


def test_dma_window_refuses_tces() -> None:
    """A TCE of a page that is not there, or with other bits, or at a crooked address, changes nothing."""
    window = DmaWindow(1, memoryview(bytearray(4 * PAGE)), size=8 * PAGE)

    assert window.put_tce(0, RW, count=4)
    for address, tce, count in ((1, RW, 1), (8 * PAGE, RW, 1), (0, 4 * PAGE | RW, 1), (0, 8 | RW, 1), (-PAGE, RW, 1),
                                (PAGE, RW, 5), (0, RW, -1)):
        assert not window.put_tce(address, tce, count=count)
    assert window.read(0, 4 * PAGE) == bytes(4 * PAGE)
    assert window.put_tce(PAGE, 0)
    with pytest.raises(DmaError):
        window.read(0, PAGE + 1)


def pair() -> tuple[Hypervisor, int, int, DmaWindow, DmaWindow]:
    """A hypervisor with a pair of adapters of four pages each, all mapped."""
    hypervisor = Hypervisor()
    windows = [DmaWindow(bus, memoryview(bytearray(64 * PAGE))) for bus in (10, 20)]
    for window in windows:
        window.put_tce(0, RW, count=64)
    client, server = hypervisor.connect(*windows)
    return hypervisor, client, server, windows[0], windows[1]


def test_hcall_reg_crq_codes() -> None:
    """The first registers and is told that its partner has not; twice is H_RESOURCE; nonsense H_PARAMETER."""
    hypervisor, client, server, _, _ = pair()

    assert hypervisor.h_reg_crq(client, 100, PAGE) == Return.PARAMETER
    assert hypervisor.h_reg_crq(client, 0, 0) == Return.PARAMETER
    assert hypervisor.h_reg_crq(client, 64 * PAGE, PAGE) == Return.PARAMETER
    assert hypervisor.h_reg_crq(client, 0, PAGE) == Return.CLOSED
    assert hypervisor.h_reg_crq(client, 0, PAGE) == Return.RESOURCE
    assert hypervisor.h_reg_crq(server, 0, PAGE) == Return.SUCCESS
    assert hypervisor.h_reg_crq(99, 0, PAGE) == Return.PARAMETER


def test_hcall_send_crq_codes() -> None:
    """H_CLOSED without a partner's queue, H_DROPPED when it is full; nobody can forge a transport event."""
    hypervisor, client, server, _, window = pair()
    hypervisor.h_reg_crq(client, 0, PAGE)
    interrupts: list[int] = []
    hypervisor.on_interrupt(server, lambda: interrupts.append(1))

    assert hypervisor.h_send_crq(client, 0x80 << 56, 0) == Return.CLOSED
    hypervisor.h_reg_crq(server, 0, PAGE)
    assert hypervisor.h_send_crq(client, 0xFF << 56, 0) == Return.PARAMETER
    assert hypervisor.h_send_crq(client, 0x7F << 56, 0) == Return.PARAMETER
    codes = [hypervisor.h_send_crq(client, 0x80 << 56, number) for number in range(256)]
    assert codes == [Return.SUCCESS] * 255 + [Return.DROPPED]
    assert len(interrupts) == 255
    hypervisor.fail(client)
    assert window.read(255 * 16, 2) == bytes((0xFF, TransportEvent.PARTNER_FAILED))
    assert hypervisor.h_send_crq(client, 0x80 << 56, 0) == Return.CLOSED


def test_hcall_vio_signal() -> None:
    """A disabled interrupt is not given."""
    hypervisor, client, server, _, _ = pair()
    hypervisor.h_reg_crq(client, 0, PAGE)
    hypervisor.h_reg_crq(server, 0, PAGE)
    interrupts: list[int] = []
    hypervisor.on_interrupt(client, lambda: interrupts.append(1))

    assert hypervisor.h_vio_signal(client, 0) == Return.SUCCESS
    hypervisor.h_send_crq(server, 0x80 << 56, 0)
    assert interrupts == []
    assert hypervisor.h_vio_signal(client, 1) == Return.SUCCESS
    hypervisor.h_send_crq(server, 0x80 << 56, 0)
    assert interrupts == [1]
    assert hypervisor.h_vio_signal(client, 2) == Return.PARAMETER


def test_hcall_copy_rdma_codes() -> None:
    """Only the server reaches both windows; each side has its error; the partner's end is H_PERMISSION."""
    hypervisor, client, server, near, far = pair()
    assert hypervisor.h_copy_rdma(server, 16, 10, 0, 20, 0) == Return.PERMISSION
    hypervisor.h_reg_crq(client, 0, PAGE)
    near.write(2 * PAGE, b"from the client")

    assert hypervisor.h_copy_rdma(server, 15, 10, 2 * PAGE, 20, 3 * PAGE) == Return.SUCCESS
    assert far.read(3 * PAGE, 15) == b"from the client"
    assert hypervisor.h_copy_rdma(server, 16, 10, 64 * PAGE, 20, 0) == Return.SOURCE_PARM
    assert hypervisor.h_copy_rdma(server, 16, 20, 0, 10, 64 * PAGE - 8) == Return.DEST_PARM
    assert hypervisor.h_copy_rdma(server, 16, 11, 0, 20, 0) == Return.SOURCE_PARM
    assert hypervisor.h_copy_rdma(client, 16, 20, 0, 10, 0) == Return.SOURCE_PARM
    assert hypervisor.h_copy_rdma(client, 16, 10, 0, 20, 0) == Return.DEST_PARM
    assert hypervisor.h_copy_rdma(server, COPY_LIMIT + 1, 10, 0, 20, 0) == Return.PARAMETER
    assert hypervisor.copy_in(client, 0, 16) == Return.PERMISSION


def test_hcall_by_number() -> None:
    """Calls have numbers; others are H_FUNCTION, wrong arguments H_PARAMETER."""
    hypervisor, client, _, _, _ = pair()

    assert hypervisor.call(Hcall.REG_CRQ, client, 0, PAGE) == Return.CLOSED
    assert hypervisor.call(Hcall.PUT_TCE, 10, PAGE, 0) == Return.SUCCESS
    assert hypervisor.call(Hcall.PUT_TCE, 77, PAGE, 0) == Return.PARAMETER
    assert hypervisor.call(Hcall.FREE_CRQ, client) == Return.SUCCESS
    assert hypervisor.call(Hcall.FREE_CRQ) == Return.PARAMETER
    assert hypervisor.call(0x999) == Return.FUNCTION


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 5 * PAGE)), max_size=60))
def test_client_memory_buffers(steps: list[tuple[bool, int]]) -> None:
    """Buffers never overlap, and everything that was given back can be had again."""
    memory = ClientMemory(memoryview(bytearray(16 * PAGE)), iu_length=256, units=8)
    held: list[tuple[int, int]] = []
    for take, length in steps:
        if take:
            address = memory.allocate(length)
            if address is not None:
                assert 2 * PAGE <= address <= 16 * PAGE - length
                assert all(address + length <= other or other + size <= address for other, size in held)
                held.append((address, length))
        elif held:
            memory.release(*held.pop(length % len(held)))
    while held:
        memory.release(*held.pop())

    assert memory.allocate(memory.capacity) is not None

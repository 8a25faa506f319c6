"""The server's table of states, input by input; a client whose server is hostile; and neither does any I/O."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vscsi_raw import RawClient

from scsiemu.errors import LocalProtocolError
from scsiemu.sam import TaskManagementFunction
from scsiemu.testing.served import ScsiTarget
from transports import vscsi
from transports.vscsi.codes import CrqFormat, CrqValid, InitFormat, IuType, MadType, TransportEvent
from transports.vscsi.crq import CrqElement, CrqReceiver
from transports.vscsi.dma import PAGE, TCE_READ, TCE_WRITE, DmaWindow
from transports.vscsi.hypervisor import Hypervisor
from transports.vscsi.information_units import AerResponse, CommandIu, LoginRequest, TaskManagement
from transports.vscsi.initiator import ClientAdapter
from transports.vscsi.mad import Mad

W, C, S = "wait for a connection", "connected", "SRP processing"


def waiting() -> RawClient:
    """Both queues are there, no handshake yet."""
    client = RawClient()
    client.server.start()
    client.hypervisor.h_reg_crq(client.unit, 0, PAGE)
    client.ring = CrqReceiver(memoryview(client.memory)[:PAGE])
    return client


STATES: dict[str, Callable[[], RawClient]] = {
    W: waiting, C: lambda: RawClient().connect(), S: lambda: RawClient().login(),
}

INPUTS: dict[str, Callable[[RawClient], object]] = {
    "init": lambda client: client.send(CrqElement(CrqValid.INIT, InitFormat.INIT)),
    "init complete": lambda client: client.send(CrqElement(CrqValid.INIT, InitFormat.INIT_COMPLETE)),
    "mad": lambda client: client.post(Mad(MadType.ENABLE_FAST_FAIL, 1).encode(), kind=CrqFormat.MAD),
    "login": lambda client: client.post(LoginRequest(1, 256).encode()),
    "command": lambda client: client.post(CommandIu(1, 0, bytes(16)).encode()),
    "function": lambda client: client.post(TaskManagement(1, 0, 8).encode()),
    "response": lambda client: client.post(AerResponse(1).encode()),
    "lost": lambda client: client.hypervisor.h_free_crq(client.unit),
    "pause": lambda client: client.hypervisor.announce(client.unit, TransportEvent.PREPARE_FOR_SUSPEND),
}

# What each input leads to: the state afterwards, and how many elements come; None: the connection is ended.
OUTCOMES: dict[str, tuple[Any, Any, Any]] = {
    "init": ((C, 1), None, None),
    "init complete": ((C, 0), (C, 0), (S, 0)),
    "mad": ((W, 0), (C, 1), (S, 1)),
    "login": ((W, 0), (S, 1), (S, 1)),
    "command": ((W, 0), None, (S, 1)),
    "function": ((W, 0), None, (S, 1)),
    "response": ((W, 0), None, None),
    "lost": ((W, 0), (W, 0), (W, 0)),
    "pause": ((W, 0), (C, 0), (S, 0)),
}


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("given", INPUTS)
def test_adapter_table(state: str, given: str) -> None:
    """Every input in every state does what the table says."""
    client = STATES[state]()
    assert client.server.state == state

    INPUTS[given](client)
    client.run()
    outcome = OUTCOMES[given][(W, C, S).index(state)]
    elements = client.take()
    if outcome is None:
        assert [element.valid for element in elements] == [CrqValid.TRANSPORT_EVENT, CrqValid.INIT]
        assert client.server.state == W
        assert client.server.violations
    else:
        assert (client.server.state, len(elements)) == outcome
        assert not client.server.violations


IU_TYPES = st.sampled_from([getattr(IuType, name) for name in vars(IuType) if name.isupper()])
STEP = st.one_of(
    st.tuples(st.just("answer"), st.builds(lambda kind, rest: bytes((kind,)) + rest, IU_TYPES, st.binary(max_size=90))),
    st.tuples(st.just("answer"), st.binary(max_size=64)),
    st.tuples(st.just("element"), st.builds(
        CrqElement, st.sampled_from([0x80, 0xC0, 0xFF, 0x93]), st.integers(0, 10), st.integers(0, 255), st.just(0),
        st.integers(0, 0xFFFF), st.integers(0, 12),
    )),
    st.tuples(st.just("command"), st.integers(0, 5000)),
    st.tuples(st.just("function"), st.none()),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(STEP, max_size=30))
def test_client_with_hostile_server(steps: list[tuple[str, Any]]) -> None:
    """Whatever a server writes and sends, the client does not raise, and afterwards all of its memory is free."""
    hypervisor = Hypervisor()
    windows = [DmaWindow(bus, memoryview(bytearray(64 * PAGE))) for bus in (1, 2)]
    for window in windows:
        window.put_tce(0, TCE_READ | TCE_WRITE, count=64)
    unit, server = hypervisor.connect(*windows)
    memory = windows[0].views(0, 64 * PAGE, TCE_READ)[0]
    client = ClientAdapter(hypervisor, unit, memory, depth=4, events=True)
    client.start()
    hypervisor.h_reg_crq(server, 0, PAGE)
    ring = CrqReceiver(windows[1].views(0, PAGE, TCE_READ)[0])
    requests = []

    def send(element: CrqElement) -> None:
        raw = element.encode()
        hypervisor.h_send_crq(server, int.from_bytes(raw[:8], "big"), int.from_bytes(raw[8:], "big"))
        client.process()

    send(CrqElement(CrqValid.INIT, InitFormat.INIT))
    for kind, what in steps:
        if kind == "answer":
            asked = ring.get()
            if asked is not None and asked.valid == CrqValid.MESSAGE:
                data = windows[0].read(asked.iu_address, 16)
                tag = int.from_bytes(data[8:16], "big")
                answer = what if len(what) < 16 else what[:8] + data[8:16] + what[16:]
                windows[0].write(asked.iu_address, answer)
                send(CrqElement(CrqValid.MESSAGE, asked.format, iu_length=len(answer), iu_address=tag))
        elif kind == "element":
            send(what)
        elif kind == "command":
            requests.append(client.execute(0, bytes(6), bytes(what), what))
        else:
            requests.append(client.manage(TaskManagementFunction.LOGICAL_UNIT_RESET))
    client.close()

    assert all(request.done for request in requests)
    assert client.statistics() == {"state": "down", "credits": 0, "outstanding": 0, "waiting": 0, "buffer_bytes": 0}
    with pytest.raises(LocalProtocolError):
        client.execute(0, bytes(6), b"", 64 * PAGE)


FORBIDDEN = ("open", "socket.", "os.", "subprocess.", "mmap.", "fcntl.", "time.sleep", "import", "_thread.")


class Watch:
    """What the hook has seen while it was up; a hook cannot be taken away."""

    up = False
    seen: list[str] = []


def hook(event: str, arguments: tuple[Any, ...]) -> None:
    """Note forbidden events."""
    if Watch.up and event.startswith(FORBIDDEN):
        Watch.seen.append(f"{event} {arguments!r:.100}")


sys.addaudithook(hook)


def test_loopback_does_no_io() -> None:
    """Both sides and the hypervisor at work: nothing is opened, sent or asked of the system."""

    def work(here: ScsiTarget) -> None:
        with vscsi.loopback(here.target) as link:
            for _ in range(3):
                link.execute(0, bytes.fromhex("2a000000000000000800"), bytes(4096))
                link.execute(0, bytes.fromhex("28000000000000000800"), b"", 4096)
            link.manage(TaskManagementFunction.LOGICAL_UNIT_RESET)
            link.server.disconnect("for the test")
            link.run()
            link.execute(0, bytes(6))

    with ScsiTarget("--disk", "1M") as first:
        work(first)             # imports that happen once
    with ScsiTarget("--disk", "1M") as here:
        Watch.up = True
        try:
            work(here)
        finally:
            Watch.up = False

    assert Watch.seen == []

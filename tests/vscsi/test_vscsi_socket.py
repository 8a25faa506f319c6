"""The Unix socket: greetings, memory that is not trusted, clients that go, events."""

from __future__ import annotations

import fcntl
import os
import socket
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from vscsi_world import SocketBench

from devtypes.vd import DiskConfig, VirtualDisk
from scsiemu.errors import LocalProtocolError
from scsiemu.testing.served import ScsiTarget
from transports.vscsi import VscsiError
from transports.vscsi.client import Client
from transports.vscsi.codes import Hcall, Return
from transports.vscsi.dma import PAGE
from transports.vscsi.server import VscsiTransport
from transports.vscsi.wire import Call, Hello, Refusal, decode_return, decode_welcome

SIZE = 1 << 20
READ = bytes.fromhex("28000000000000000800")
SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW


@pytest.fixture
def here() -> Iterator[ScsiTarget]:
    """A target with a disk."""
    with ScsiTarget("--disk", "1M") as target:
        yield target


@pytest.fixture
def bench(here: ScsiTarget) -> Iterator[SocketBench]:
    """It is served."""
    served = SocketBench(here.target)
    yield served
    served.close()


def wait(condition: Callable[[], bool]) -> None:
    """Until the server's thread has done something."""
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


def memory(size: int = SIZE, seals: int = SEALS) -> int:
    """A memfd."""
    descriptor = os.memfd_create("test", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(descriptor, size)
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)
    return descriptor


def greet(bench: SocketBench, data: bytes, descriptors: list[int]) -> bytes:
    """Send a greeting; the answer, empty where the server only closes."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
        sock.settimeout(10)
        sock.connect(bench.path)
        try:
            socket.send_fds(sock, [data], descriptors)
            return sock.recv(256)
        except ConnectionResetError:
            return b""
        finally:
            for descriptor in descriptors:
                os.close(descriptor)


def good(client: Client) -> None:
    """It works."""
    while client.execute(0, bytes(6)).status:
        pass
    assert client.execute(0, READ, allocation=4096).data == bytes(4096)


def test_greeting_refused(bench: SocketBench, tmp_path: Path) -> None:
    """Another protocol, no memory, memory that can shrink, that is smaller than it says, that is a file or a pipe."""
    hello = Hello(SIZE, 1, "me").encode()
    file = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    os.ftruncate(file, SIZE)
    pipe, other = os.pipe()
    os.close(other)
    cases = (
        (b"x" * len(hello), [memory()], Refusal.BAD_HELLO),
        (hello[:-1], [memory()], Refusal.BAD_HELLO),
        (hello, [], Refusal.BAD_MEMORY),
        (hello, [memory(), memory()], Refusal.BAD_MEMORY),
        (hello, [memory(seals=0)], Refusal.BAD_MEMORY),
        (hello, [memory(seals=fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_WRITE)], Refusal.BAD_MEMORY),
        (hello, [memory(SIZE - PAGE)], Refusal.BAD_MEMORY),
        (hello, [file], Refusal.BAD_MEMORY),
        (hello, [pipe], Refusal.BAD_MEMORY),
        (Hello(SIZE + 1, 1, "me").encode(), [memory(2 * SIZE)], Refusal.BAD_MEMORY),
        (Hello(0, 1, "me").encode(), [memory()], Refusal.BAD_MEMORY),
        (Hello((1 << 64) - PAGE, 1, "me").encode(), [memory()], Refusal.BAD_MEMORY),
    )
    before = len(os.listdir("/proc/self/fd"))

    answers = [decode_welcome(greet(bench, data, descriptors)).refusal for data, descriptors, _ in cases]
    assert answers == [refusal for _, _, refusal in cases]
    wait(lambda: len(os.listdir("/proc/self/fd")) <= before - 1)
    with bench.connect(1) as client:
        good(client)


def test_identity_taken(bench: SocketBench) -> None:
    """Two clients cannot be one initiator; one that lets the server choose always gets in."""
    with bench.connect(1) as first, bench.connect(0) as second, bench.connect(0) as third:
        with pytest.raises(VscsiError, match="identity"):
            bench.connect(1)
        for client in (first, second, third):
            good(client)
    wait(lambda: len(bench.transport.port.target.nexuses) == 1)
    with bench.connect(1) as again:
        good(again)


@pytest.mark.parametrize("data", [b"x", bytes(15), bytes(17), bytes(31), bytes(33), bytes(200)])
def test_violation_datagram(bench: SocketBench, data: bytes) -> None:
    """A datagram that means nothing ends that client, and no other."""
    with bench.connect(1) as other, bench.connect(2) as client:
        client.sock.send(data)
        with pytest.raises((OSError, VscsiError)):
            good(client)
        good(other)
    assert any("datagram" in line for line in bench.reports)


def test_calls_of_a_stranger(bench: SocketBench) -> None:
    """Every number has an answer, whatever its arguments; the server's own calls are H_FUNCTION."""
    with bench.connect(1) as client:
        sock = client.sock
        top = (1 << 64) - 1
        codes = []
        for number in (0, Hcall.COPY_RDMA, Hcall.PUT_TCE, Hcall.REG_CRQ, Hcall.VIO_SIGNAL, 0xFFFF_FFFF):
            sock.send(Call(number, top, top, top).encode())
            while (code := decode_return(sock.recv(256))) is None:
                pass
            codes.append(code)
        assert codes == [
            Return.FUNCTION, Return.FUNCTION, Return.PARAMETER, Return.RESOURCE, Return.PARAMETER, Return.FUNCTION
        ]
        good(client)


def test_unmapped_page_is_a_fault(bench: SocketBench) -> None:
    """A page that the client takes out of its window is not reached any more, though it is still in the memory."""
    with bench.connect(1) as client:
        good(client)
        code = client.calls.call(Call(Hcall.PUT_TCE, 6 * PAGE, 0, SIZE // PAGE))
        assert code == Return.SUCCESS
        request = client.start(0, READ, allocation=4096)
        client.wait(request)
        assert request.failure == "the partner answered with CRQ status 10h"


def test_client_gone(bench: SocketBench) -> None:
    """A client that breaks off has no nexus any more."""
    client = bench.connect(1)
    good(client)
    client.abandon()
    wait(lambda: len(bench.transport.port.target.nexuses) == 1)
    with bench.connect(1) as again:
        good(again)


def test_server_stops(here: ScsiTarget) -> None:
    """A client whose server ends is told so by an error; the path is gone."""
    bench = SocketBench(here.target)
    client = bench.connect(1)
    good(client)
    bench.close()
    with pytest.raises((VscsiError, OSError, LocalProtocolError)):
        client.execute(0, bytes(6))
    client.close()
    assert not Path(bench.path).exists()
    assert len(here.target.nexuses) == 1


def test_socket_path(bench: SocketBench, here: ScsiTarget) -> None:
    """The socket is its owner's alone; one that somebody listens at is not taken away, one left over is."""
    assert stat.S_IMODE(os.stat(bench.path).st_mode) == 0o600
    with pytest.raises(OSError, match="in use"):
        bench.run(lambda: VscsiTransport(here.target).start(bench.path))
    left = bench.path + ".left"
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
        sock.bind(left)
    second = VscsiTransport(here.target)
    bench.run(lambda: second.start(left))
    bench.run(second.stop)
    assert not Path(left).exists()


def test_inventory_event(bench: SocketBench, here: ScsiTarget) -> None:
    """A client that left an information unit hears of a new unit by itself."""
    with bench.connect(1, events=True) as client:
        good(client)

        async def add() -> None:
            here.target.add_unit(5, VirtualDisk(DiskConfig.for_store(here.stores[0].capabilities)))

        bench.run(add)
        wait(lambda: bool(client.adapter.process() or client.adapter.events))
        assert client.adapter.events[0].sense[12:14] == b"\x3f\x0e"
        while client.execute(0, bytes(6)).status:
            pass


def test_cdb_too_long(bench: SocketBench) -> None:
    """An information unit has 256 bytes: a CDB that does not fit is the caller's mistake, told at once."""
    with bench.connect(1) as client:
        with pytest.raises(LocalProtocolError, match="256"):
            client.execute(0, b"\x7f" + bytes(235), b"x", 64)
        with pytest.raises(LocalProtocolError, match="CDB"):
            client.execute(0, b"\x7f" + bytes(300))
        good(client)

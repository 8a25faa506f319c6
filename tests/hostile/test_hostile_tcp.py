"""Hostile connections over TCP on loopback: floods, probes, resets, descriptors used up. Sessions go on meanwhile."""

from __future__ import annotations

import contextlib
import errno
import random
import socket
import struct
import time

import pytest
from iscsi_world import World, pattern, read, tur, write
from tcp_world import TcpWorld, served

from scsiemu.sam import Status
from transports.iscsi.client import connect
from transports.iscsi.node import NodeLimits


def raw(there: TcpWorld) -> socket.socket:
    """A TCP connection to the first portal."""
    return socket.create_connection(there.bound[0], 5)


def ends(sock: socket.socket, seconds: float) -> bool:
    """Whether the other side closes within that time."""
    sock.settimeout(seconds)
    try:
        while sock.recv(65536):
            pass
    except TimeoutError:
        return False
    except OSError:
        return True
    return True


@pytest.mark.parametrize(
    "data", [b"GET / HTTP/1.1\r\n\r\n", bytes.fromhex("160301020001000000"), b"", b"\x43", bytes(48), b"\xff" * 100000]
)
def test_f6_probe_is_closed_within_the_deadline(data: bytes) -> None:
    """F6, F10: whatever comes instead of a login, the connection ends with the login deadline at the latest."""
    with served(World(limits=NodeLimits(login_seconds=0.5))) as there, raw(there) as sock:
        with contextlib.suppress(OSError):
            sock.sendall(data)

        assert ends(sock, 4)
        with connect(there.url()) as client:
            client.execute(0, tur())
            assert client.execute(0, tur()).status == Status.GOOD


def test_f6_random_noise() -> None:
    """F6: noise on many connections: no exception, reports are few."""
    noise = random.Random(6)
    with served(World(limits=NodeLimits(login_seconds=0.5))) as there:
        for _ in range(50):
            with raw(there) as sock, contextlib.suppress(OSError):
                sock.sendall(noise.randbytes(4096))
                ends(sock, 2)
        with connect(there.url()) as client:
            client.execute(0, tur())
        reports = there.call(lambda: list(there.reports))
    assert 0 < len(reports) <= 10


def test_f11_flood_leaves_sessions_alone() -> None:
    """F11: connections beyond the cap are closed at once; a session goes on."""
    limits = NodeLimits(unauthenticated=16, unauthenticated_of_address=16)
    with served(World(limits=limits)) as there, connect(there.url()) as client:
        client.execute(0, tur())
        flood = [raw(there) for _ in range(100)]

        assert client.execute(0, tur()).status == Status.GOOD
        assert there.call(lambda: len(there.world.node.connections)) <= 17
        for sock in flood:
            sock.close()


def test_f11_connect_and_reset() -> None:
    """F11: connections that are reset as soon as they are made."""
    with served() as there:
        for _ in range(300):
            sock = raw(there)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            sock.close()
        with connect(there.url()) as client:
            client.execute(0, tur())
            assert client.execute(0, tur()).status == Status.GOOD


def test_f11_descriptors_used_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """F11: accept fails with EMFILE for a while: those inside go on, later others get in again."""
    with served() as there, connect(there.url()) as client:
        client.execute(0, tur())
        listener = next(iter(there.transport._listeners))
        failures = []

        class Exhausted:
            """A listener that cannot accept."""

            def accept(self) -> None:
                failures.append(1)
                raise OSError(errno.EMFILE, "Too many open files")

            def fileno(self) -> int:
                return listener.fileno()

        exhausted = Exhausted()
        there.call(lambda: there.transport._listeners.__setitem__(exhausted, (1, None)))
        there.call(lambda: there.transport._accept(exhausted))
        there.call(lambda: there.transport._listeners.pop(exhausted))
        assert failures
        assert client.execute(0, tur()).status == Status.GOOD

        there.call(lambda: there.transport._accept_again(listener))
        with connect(there.url()) as other:
            other.execute(0, tur())
            assert other.execute(0, tur()).status == Status.GOOD


@pytest.mark.parametrize("reset", [False, True], ids=["FIN", "RST"])
def test_c6_disconnect_during_commands(reset: bool) -> None:
    """C6: FIN or RST in the middle of writes and reads: nothing is left of the session."""
    world = World()
    with served(world) as there:
        for cut in (1, 47, 48, 1000, 70000, 300000):
            client = connect(there.url())
            client.session.execute(0, write(0, 600), data_out=pattern(600))
            client.session.execute(0, read(0, 600), data_in_length=307200)
            data = b"".join(bytes(part) for part in client.session.take_output())
            with contextlib.suppress(OSError):
                client._sock.sendall(data[:cut])
            if reset:
                client._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.abandon()
        for _ in range(100):
            if not there.call(lambda: len(world.node.connections)):
                break
            time.sleep(0.02)

        assert there.call(lambda: (len(world.node.sessions), len(world.target.nexuses))) == (0, 0)
        assert there.call(lambda: (len(world.unit.task_set), world.node.data_out_budget.used)) == (0, 0)

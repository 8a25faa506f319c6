"""The asyncio server and the blocking client on loopback addresses."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable
from time import monotonic

import pytest
from iscsi_world import IQN, World, pattern, read, tur, write
from tcp_world import served

from scsiemu.app.loop import ServingLoop
from scsiemu.sam import Status
from transports.iscsi.chap import ChapCredentials, ChapRequirement
from transports.iscsi.client import ClientError, connect, parse_url
from transports.iscsi.codes import AsyncEvent, TmfCode
from transports.iscsi.initiator import AsyncReceived, CommandDone
from transports.iscsi.initiator_login import LoginFailed
from transports.iscsi.keys import OperationalSettings
from transports.iscsi.node import NodeLimits

BOTH = (("127.0.0.1", 0), ("::1", 0))


def test_server_portals_ipv4_and_ipv6() -> None:
    """Several portals, ports chosen by the kernel; discovery tells of all of them."""
    with served(portals=BOTH) as there:
        assert [host for host, _ in there.bound] == ["127.0.0.1", "::1"]
        for index in range(2):
            with connect(there.url(index).rsplit("/iqn", 1)[0]) as client:
                assert client.discover() == {
                    IQN: [f"127.0.0.1:{there.bound[0][1]},1", f"[::1]:{there.bound[1][1]},1"]
                }


@pytest.mark.parametrize(("portal", "peer"), [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.2")])
def test_server_accepted_socket(portal: str, peer: str) -> None:
    """What is accepted does not wait to send (Nagle), does not block, and knows where it came to, wildcard or not."""
    with served(portals=((portal, 0),)) as there:
        port = there.bound[0][1]
        with socket.create_connection((peer, port)):
            end = monotonic() + 10
            while not there.call(lambda: list(there.transport._peers)) and monotonic() < end:
                pass
            ((connection, accepted),) = there.call(lambda: list(there.transport._peers.items()))
            assert connection.local == (peer, port)
            assert accepted._sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert not accepted._sock.getblocking()


def test_server_many_connections_at_once() -> None:
    """Connections that have all come before the first is accepted are all accepted."""
    with served(World(limits=NodeLimits(unauthenticated_of_address=40)), loop_factory=ServingLoop) as there:
        sockets: list[socket.socket] = []

        def come() -> None:
            sockets.extend(socket.create_connection(there.bound[0]) for _ in range(30))

        there.call(come)
        with connect(there.url()) as client:
            client.execute(0, tur())
            assert there.call(lambda: len(there.transport._peers)) == 31
        for each in sockets:
            each.close()


@pytest.mark.parametrize("options", ["", "?header_digest=crc32c&data_digest=crc32c"])
@pytest.mark.parametrize(
    "settings", [None, OperationalSettings(initial_r2t=True, immediate_data=False)], ids=["unsolicited", "R2T"]
)
def test_server_data_both_ways(options: str, settings: OperationalSettings | None) -> None:
    """Two megabytes are written and read back, Data-Out received in place."""
    data = pattern(4096)
    world = World(settings=settings)
    with served(world) as there, connect(there.url(options=options)) as client:
        client.execute(0, tur())

        assert client.execute(0, write(1, 4096), data).status == Status.GOOD
        assert client.execute(0, read(1, 4096), b"", len(data)).data_in == data
        assert client.ping(b"hello") == b"hello"
        assert client.manage(TmfCode.LOGICAL_UNIT_RESET) == 0


def test_server_partial_sends_are_exact() -> None:
    """A client with a small receive buffer that reads slowly gets every byte, while another is served."""
    with served() as there:
        there.world.medium[: 512 * 4096] = pattern(4096)
        with connect(there.url()) as slow, connect(there.url()) as other:
            slow.execute(0, tur())
            other.execute(0, tur())
            slow._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            tags = [slow.session.execute(0, read(0, 1024), data_in_length=1 << 19) for _ in range(20)]
            slow.flush(1e9)
            assert other.execute(0, read(0, 8), b"", 4096).data_in == pattern(8)

            results = {}
            while len(results) < len(tags):
                chunk = slow._sock.recv(30011)
                slow.session.receive_data(memoryview(chunk))
                while (event := slow.session.next_event()) is not None:
                    results[event.tag] = event.result.data_in
    assert all(results[tag] == pattern(1024) for tag in tags)


def test_server_answers_long_batches_in_pieces() -> None:
    """More commands in one receive than are answered at once: each is answered, in order, and others among them."""
    with served() as there, connect(there.url()) as client:
        there.world.medium[: 512 * 100] = pattern(100)
        client.execute(0, tur())
        tags = [client.session.execute(0, read(index, 1), data_in_length=512) for index in range(100)]
        client.flush(1e9)

        assert client.ping(b"behind them") == b"behind them"
        done = {event.tag: event.result.data_in for event in client.events if isinstance(event, CommandDone)}
    assert done == {tag: pattern(1, index) for index, tag in enumerate(tags)}


def test_server_chap_both_ways() -> None:
    """The URL's secret logs in, mutual CHAP with the target's; a wrong one does not."""
    mutual = ChapCredentials("target", b"target-secret-0")
    world = World(chap=ChapRequirement({"me": b"secret-secret-0"}, mutual=mutual))
    with served(world) as there:
        url = there.url().replace("iscsi://", "iscsi://me%secret-secret-0@")
        with connect(url) as client:
            client.execute(0, tur())
            assert client.execute(0, tur()).status == Status.GOOD
        with connect(url + "?target_user=target&target_password=target-secret-0"):
            pass
        with pytest.raises(LoginFailed):
            connect(url.replace("secret-secret-0", "secret-secret-1"))


def test_server_sleeping_store_is_not_waited_for() -> None:
    """While one session's command waits for its store, others are served; the store's answer arrives."""
    world = World()
    with served(world) as there, connect(there.url()) as one, connect(there.url()) as two:
        one.execute(0, tur())
        two.execute(0, tur())
        world.store.slow = True
        tag = one.session.execute(0, read(0, 1), data_in_length=512)
        one.flush(1e9)
        while not world.store.kept:
            pass
        world.store.slow = False

        assert two.execute(0, tur()).status == Status.GOOD

        def release() -> None:
            world.release()
            there.transport.flush()

        there.call(release)
        assert one.ping() == b""
        results = [event.result for event in one.events if isinstance(event, CommandDone) and event.tag == tag]
        assert [result.status for result in results] == [Status.GOOD]


def test_server_stop_asks_for_logout() -> None:
    """Clients are asked to log out, then their connections are closed within the time for it."""
    with served(World(limits=NodeLimits(logout_seconds=0.3))) as there:
        client = connect(there.url())
        there.stop()
        with pytest.raises(ClientError):
            client.ping()
        client.abandon()
        assert [event.event for event in client.events if isinstance(event, AsyncReceived)] == [
            AsyncEvent.LOGOUT_REQUEST
        ]


def test_server_many_sessions() -> None:
    """A hundred sessions at once, each with commands of its own."""
    with served() as there:
        clients = [connect(there.url()) for _ in range(100)]
        failures: list[int] = []

        def work(part: int) -> None:
            for number in range(part, 100, 4):
                client = clients[number]
                client.execute(0, tur())
                data = pattern(8, number)
                client.execute(0, write(number * 8, 8), data)
                if client.execute(0, read(number * 8, 8), b"", 4096).data_in != data:
                    failures.append(number)
                client.close()

        threads = [threading.Thread(target=work, args=(part,)) for part in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)

        assert failures == []
        assert there.world.medium[: 800 * 512] == b"".join(pattern(8, number) for number in range(100))


@pytest.mark.parametrize("loop_factory", [asyncio.new_event_loop, ServingLoop])
def test_server_requests_of_many_sessions_at_once(loop_factory: Callable[[], asyncio.AbstractEventLoop]) -> None:
    """Thirty requests are there when the server looks: reads, large ones, logouts, and connections that are gone."""
    with served(loop_factory=loop_factory) as there:
        clients = [connect(there.url()) for _ in range(30)]
        for client in clients:
            client.execute(0, tur())
        there.world.medium[: 128 * 512] = pattern(128, 7)
        deadline = monotonic() + 20
        ready = threading.Event()
        there.post(lambda: ready.wait(10))          # the server does not look meanwhile
        tags = {}
        for number, client in enumerate(clients):
            blocks = 128 if number % 5 == 1 else 8
            if number % 5 == 2:
                client.session.logout()
            else:
                tags[client] = client.session.execute(0, read(0, blocks), data_in_length=blocks * 512), blocks
            client.flush(deadline)
            if number % 5 == 3:
                client.abandon()
        ready.set()

        for number, client in enumerate(clients):
            if number % 5 in (0, 1, 4):
                tag, blocks = tags[client]
                while not (events := [client.session.next_event()])[0]:
                    client.step(deadline)
                assert isinstance(events[0], CommandDone)
                assert (events[0].tag, events[0].result.data_in) == (tag, pattern(128, 7)[: blocks * 512])
                client.close()
            elif number % 5 == 2:
                while not client.session.ended:
                    client.step(deadline)


@pytest.mark.parametrize(
    "url",
    ["http://x/", "iscsi://", "iscsi://h:99999/t/0", "iscsi://h/t/x", "iscsi://h/t/0?data_digest=md5", "h/t/0"],
)
def test_client_url_malformed(url: str) -> None:
    """A URL that is none is refused with a sentence."""
    with pytest.raises(ValueError, match=r".+"):
        parse_url(url)


def test_client_url_parts() -> None:
    """User, secret, host, port, target and LUN, as libiscsi writes them."""
    options = "target_user=t&target_password=p&data_digest=crc32c"
    url = parse_url(f"iscsi://me%s%40cret@[::1]:3261/iqn.2026-11.test:x/7?{options}")

    assert (url.host, url.port, url.target, url.lun) == ("::1", 3261, "iqn.2026-11.test:x", 7)
    assert parse_url("iscsi://h/t/255").lun == 255
    assert parse_url(f"iscsi://h/t/{0x4000 | 259}").lun == parse_url("iscsi://h/t/259").lun == 259
    assert url.chap == ChapCredentials("me", b"s%40cret")
    assert url.target_chap == ChapCredentials("t", b"p")
    assert (url.header_digest, url.data_digest) == (("None", "CRC32C"), ("CRC32C",))

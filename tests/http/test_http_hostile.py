"""Clients that mean ill: any bytes, in any pieces; more connections than allowed; sockets that are dropped."""

from __future__ import annotations

import json
import stat
import time
from collections.abc import Callable
from pathlib import Path

from http_world import COMMANDS, INQUIRY, READ_ONE, HttpBench, disk_target, encode, receive
from hypothesis import given, settings
from hypothesis import strategies as st

from fuzz.http import fuzz_http
from transports.http.port import HttpLimits

WORDS = st.sampled_from([
    b"GET ", b"POST ", b"HEAD ", b"DELETE ", b"/", b"/targets", COMMANDS.encode(), b"/targets/0/units/0/tmf",
    b"/metrics", b"/initiators/default", b"/operations", b" HTTP/1.1\r\n", b" HTTP/1.0\r\n", b"Host: localhost\r\n",
    b"\r\n", b"Content-Type: application/json\r\n", b"Content-Type: application/octet-stream\r\n",
    b"Content-Length: 24\r\n",
    b"Content-Length: 0\r\n", b"Transfer-Encoding: chunked\r\n", b"Expect: 100-continue\r\n", b"Connection: close\r\n",
    b'{"cdb": "000000000000"} ', b"5\r\n", b"0\r\n\r\n", b"?cdb=120000006000", b"&allocation=96", b"Upgrade: h2c\r\n",
    b'{"function": "LOGICAL UNIT RESET"}', b"SCSI-CDB: 28000000000000000100\r\n", b"SCSI-Initiator: x\r\n",
])


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 255), st.lists(st.one_of(WORDS, st.binary(max_size=8)), max_size=40))
def test_hostile_bytes(size: int, words: list[bytes]) -> None:
    """No bytes raise; however they are cut the same is answered, and nothing is left (the property of fuzz/http.py)."""
    fuzz_http(bytes((size,)) + b"".join(words))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_hostile_changes(data: st.DataObject) -> None:
    """Valid requests with a few bytes changed."""
    content = json.dumps({"cdb": INQUIRY, "allocation": 96}).encode()
    stream = bytearray(
        encode("POST", COMMANDS, content, fields={"Content-Type": "application/json"}) + encode("GET", "/targets")
    )
    for _ in range(data.draw(st.integers(1, 4))):
        stream[data.draw(st.integers(0, len(stream) - 1))] = data.draw(st.integers(0, 255))
    fuzz_http(bytes((data.draw(st.integers(0, 60)),)) + bytes(stream))


def wait(condition: Callable[[], bool]) -> None:
    """Until it is so."""
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_socket_is_its_owners() -> None:
    """The Unix socket is made for its owner alone, and goes with the server."""
    target, _ = disk_target()
    with HttpBench((target,)) as bench:
        assert stat.S_IMODE(Path(bench.path).stat().st_mode) == 0o600
    assert not Path(bench.path).exists()


def test_connections_are_bounded() -> None:
    """One too many is told to come again; those that are there go on."""
    target, _ = disk_target()
    with HttpBench((target,), limits=HttpLimits(connections=3)) as bench:
        there = [bench.socket() for _ in range(3)]
        for sock in there:
            sock.sendall(encode("GET", "/"))
            assert receive(sock).status == 200
        refused = bench.socket()
        assert receive(refused).status == 503
        assert refused.recv(1) == b""
        for sock in there:
            sock.sendall(encode("GET", "/"))
            assert receive(sock).status == 200
            sock.close()
        wait(lambda: bench.transport.port.connections == 0)
        with bench.socket() as sock:
            sock.sendall(encode("GET", "/"))
            assert receive(sock).status == 200


def test_refusal_reaches_who_is_sending() -> None:
    """A client that sends megabytes to where nothing is gets its answer all the same."""
    target, _ = disk_target()
    with HttpBench((target,)) as bench, bench.socket() as sock:
        sock.sendall(encode("POST", "/nowhere", fields={"Content-Length": "8000000"}))
        sock.sendall(bytes(1 << 20))
        assert receive(sock).status == 404


def test_half_closed_after_request() -> None:
    """A client that closes its half behind a GET gets the answer."""
    target, _ = disk_target()
    with HttpBench((target,)) as bench, bench.socket() as sock:
        sock.sendall(encode("GET", "/operations") + encode("GET", "/targets"))
        sock.shutdown(1)
        assert receive(sock).status == 200


def test_reader_goes_away() -> None:
    """Clients that go with a long response half read leave nothing behind."""
    target, store = disk_target(blocks=16384)
    with HttpBench((target,), (store,)) as bench:
        asked = json.dumps({"cdb": "28000000000000400000", "allocation": 8 << 20}).encode()
        fields = {"Content-Type": "application/json"}
        for _ in range(4):
            with bench.socket() as sock:
                sock.sendall(encode("POST", COMMANDS, asked, fields=fields))
                assert sock.recv(1000).startswith(b"HTTP/1.1 200")
        wait(lambda: bench.transport.port.connections == 0)
        assert bench.transport.port.held == 0


def test_dropped_at_work() -> None:
    """A socket that is closed while its command is in the store: the command ends, others go on."""
    target, store = disk_target()
    with HttpBench((target,), (store,)) as bench:
        with bench.socket() as sock:
            sock.sendall(encode("POST", f"{COMMANDS}?cdb=000000000000", b""))
            assert receive(sock).status == 200
            bench.call(store.hold)
            sock.sendall(encode("POST", f"{COMMANDS}?cdb={READ_ONE}", b""))
            wait(lambda: store.kept == 1)
        wait(lambda: bench.transport.port.connections == 0)
        bench.call(store.release)
        wait(lambda: target.units[0].statistics()["pending"] == 0)
        with bench.socket() as sock:
            sock.sendall(encode("POST", f"{COMMANDS}?cdb={READ_ONE}", b""))
            assert receive(sock).json["status"] == 0

"""HTTP/1.1 without sockets: framing, refusals, time, order."""

from __future__ import annotations

import json
from typing import Any

import pytest
from http_world import COMMANDS, INQUIRY, READ_ONE, Wire, disk_target, encode, wire

from scsiemu.target import Target
from transports.http.port import HttpLimits, HttpPort

JSON = {"Content-Type": "application/json"}
OCTETS = {"Content-Type": "application/octet-stream"}


def test_request_keep_alive() -> None:
    """Responses follow each other on a connection; each has the fields that caches and browsers need."""
    client, _ = wire()

    for _ in range(3):
        answer = client.request("GET", "/")
        assert answer.status == 200
        assert answer.json["targets"] == "/targets"
        assert answer.fields["date"] == "Fri, 02 Jan 1970 00:00:00 GMT"
        assert answer.fields["cache-control"] == "no-store"
    assert not client.connection.closing


def test_request_pipelined() -> None:
    """Requests that come together are answered in their order."""
    client, _ = wire()
    command = json.dumps({"cdb": INQUIRY, "allocation": 96}).encode()

    client.send(encode("GET", "/targets") + encode("POST", COMMANDS, command, fields=JSON) + encode("GET", "/"))

    assert "targets" in client.answer().json
    assert client.answer().json["status_name"] == "GOOD"
    assert client.answer().json["metrics"] == "/metrics"


@pytest.mark.parametrize("size", [1, 7, 100])
def test_request_in_pieces(size: int) -> None:
    """However bytes are cut, the same comes out."""
    client, _ = wire()
    data = encode("POST", COMMANDS, json.dumps({"cdb": INQUIRY}).encode(), fields=JSON)

    for at in range(0, len(data), size):
        assert client.received == b""
        client.send(data[at : at + size])

    assert client.answer().json["data_in"]["decoded"]["title"] == "standard INQUIRY data"


def test_request_chunked() -> None:
    """Content in chunks."""
    client, _ = wire()
    content = json.dumps({"cdb": INQUIRY}).encode()
    head = encode("POST", COMMANDS, fields={**JSON, "Transfer-Encoding": "chunked"})

    client.send(head + b"%x\r\n%b\r\n0\r\n\r\n" % (len(content), content))

    assert client.answer().json["status"] == 0


def test_head_is_get_without_content() -> None:
    """HEAD has the fields of GET."""
    client, _ = wire()
    got = client.request("GET", "/targets")
    told = client.request("HEAD", "/targets")

    assert told.content == b""
    assert told.fields == got.fields
    assert client.request("GET", "/").status == 200


def test_head_refused() -> None:
    """A HEAD that is refused has no content either."""
    client, _ = wire()
    told = client.request("HEAD", "/nowhere")

    assert (told.status, client.received) == (404, b"")
    assert client.connection.closing


def test_absolute_form() -> None:
    """A request target with an authority: it counts, not the Host field (RFC 9112 3.2.2)."""
    client, _ = wire()
    assert client.request("GET", "http://127.0.0.1:80/targets", fields={"Host": "example.org"}).status == 200
    assert client.request("GET", "http://example.org/targets").status == 421


@pytest.mark.parametrize("host", ["localhost", "localhost:80", "127.0.0.1:9", "[::1]:80", "[::1]", "LOCALHOST"])
def test_host_known(host: str) -> None:
    """Names that nobody looks up, and addresses."""
    assert wire()[0].request("GET", "/", fields={"Host": host}).status == 200


@pytest.mark.parametrize(
    "host",
    ["example.org", "localhost.example.org", "localhost:80@x", "127.0.0.1.example.org", "[::1", "localhost:x", ":"],
)
def test_host_unknown(host: str) -> None:
    """Any other name could be a rebound one."""
    answer = wire()[0].request("GET", "/", fields={"Host": host})

    assert answer.status == 421
    assert answer.fields["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("method", "path", "content", "fields", "status"),
    [
        ("GET", "/nowhere", None, {}, 404),
        ("GET", COMMANDS, None, {}, 405),
        ("PUT", "/targets", b"", {}, 405),
        ("OPTIONS", "/targets", None, {}, 405),
        ("POST", COMMANDS, b"{}", {"Content-Type": "text/plain"}, 415),
        ("POST", COMMANDS, b"{}", {"Content-Type": "application/x-www-form-urlencoded"}, 415),
        ("POST", "/targets/0/units/0/tmf", b"{}", OCTETS, 415),
        ("POST", COMMANDS, None, JSON, 411),
        ("POST", COMMANDS, b"x", {**JSON, "Content-Length": "999999999"}, 413),
        ("GET", "/", b"x", {}, 413),
        ("POST", COMMANDS, b"{}", {**JSON, "Expect": "miracle"}, 417),
        ("GET", "/" + "x" * 20_000, None, {}, 431),
        ("GET", "/", None, {"Cookie": "x" * 20_000}, 431),
        ("GET", "/", None, {"Host": ""}, 400),
        ("GET", "*", None, {}, 400),
        ("GET", "/%ff", None, {}, 400),
        ("GET", "/?a", None, {}, 400),
        ("POST", COMMANDS, b"{}", {**JSON, "Transfer-Encoding": "gzip"}, 501),
    ],
)
def test_request_refused(
    method: str, path: str, content: bytes | None, fields: dict[str, str], status: int
) -> None:
    """What is wrong with the head is told before the content comes, as problem details; then the connection ends."""
    client, _ = wire()
    answer = client.request(method, path, content, fields=fields)

    assert answer.status == status
    assert answer.json["status"] == status
    assert answer.json["detail"]
    assert answer.fields["content-type"] == "application/problem+json"
    assert answer.fields["connection"] == "close"
    assert client.connection.closing
    assert client.port.held == 0


@pytest.mark.parametrize(
    "path",
    [
        "/targets/iqn.2026-11.test:other", "/targets/1", "/targets/-1", "/targets/0/units/7", "/targets/0/units/0x0",
        "/targets/0/units/16384", "/initiators/nobody",
    ],
)
def test_nothing_of_that_name(path: str) -> None:
    """404 for what could be there; the connection goes on."""
    client, _ = wire()
    answer = client.request("GET", path)

    assert (answer.status, answer.fields["content-type"]) == (404, "application/problem+json")
    assert client.request("GET", "/").status == 200


def test_method_not_allowed_tells_methods() -> None:
    """405 has Allow."""
    assert wire()[0].request("GET", COMMANDS).fields["allow"] == "POST"
    assert wire()[0].request("POST", "/targets", b"").fields["allow"] == "GET, HEAD"
    assert wire()[0].request("POST", "/initiators/me", b"").fields["allow"] == "GET, DELETE, HEAD"


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{", b"[]", b"1", b"\xff", b'{"cdb": 1}', b'{"cdb": ""}', b'{"cdb": "0"}', b'{"cdb": "xx"}', b"{}",
        b'{"cdb": "00", "cdb": "00"}', b'{"cdb": "00", "more": 1}', b'{"cdb": "00", "allocation": -1}',
        b'{"cdb": "00", "allocation": true}', b'{"cdb": "00", "allocation": 1e3}', b'{"cdb": "00", "tag": 4294967296}',
        b'{"cdb": "00", "allocation": 8388609}', b'{"cdb": "00", "attribute": "simple"}',
        b'{"cdb": "00", "data_out": "###"}', b'{"cdb": "00", "data_out": "\xc3\xa4"}', b"[" * 100_000,
        b'{"cdb": ' + b"1" * 5000 + b"}", b'{"cdb": "' + b"00" * 261 + b'"}', b'{"cdb": "\\u0661\\u0661"}',
    ],
)
def test_command_not_understood(content: bytes) -> None:
    """Content that asks for no command is a bad request; the connection goes on."""
    client, _ = wire()
    answer = client.request("POST", COMMANDS, content, fields=JSON)

    assert answer.status == 400
    assert answer.json["detail"]
    assert client.request("GET", "/").status == 200
    assert client.port.held == 0


def test_expect_continue() -> None:
    """100 Continue before the content, where it is wanted; not before a refusal."""
    client, _ = wire()
    content = json.dumps({"cdb": INQUIRY}).encode()
    fields = {**JSON, "Expect": "100-continue", "Content-Length": str(len(content))}
    client.send(encode("POST", COMMANDS, fields=fields))

    assert client.received.startswith(b"HTTP/1.1 100")
    client.received = b""
    client.send(content)
    assert client.answer().status == 200

    client.send(encode("POST", "/nowhere", fields=fields))
    assert client.answer().status == 404


def test_not_http() -> None:
    """What is not HTTP is told so, once."""
    client, _ = wire()
    client.send(b"\x16\x03\x01 hello\r\n\r\n")

    assert client.answer().status == 400
    assert client.connection.closing
    client.send(encode("GET", "/"))
    assert client.received == b""


def test_http_1_0() -> None:
    """An old client is answered, and the connection ends."""
    client, _ = wire()
    client.send(b"GET /targets HTTP/1.0\r\n\r\n")

    assert client.answer().status == 200
    assert client.connection.closing


def test_connection_close_is_obeyed() -> None:
    """Connection: close."""
    client, _ = wire()

    assert client.request("GET", "/", fields={"Connection": "close"}).fields["connection"] == "close"
    assert client.connection.closing


@pytest.mark.parametrize(
    "given",
    ["", "Bearer", "Bearer wrong-token-wrong-token", "Basic secret-secret-secret", "Bearer secret-secret-secre\xe9"],
)
def test_token_missing(given: str) -> None:
    """Without the token nothing is told, not even what paths there are."""
    client, _ = wire(token=b"secret-secret-secret", ready=False)
    client.send(f"GET /nowhere HTTP/1.1\r\nHost: localhost\r\nAuthorization: {given}\r\n\r\n".encode("latin-1"))
    answer = client.answer()

    assert answer.status == 401
    assert answer.fields["www-authenticate"].startswith("Bearer")


def test_token_given() -> None:
    """With it everything is as without a token; the scheme's case does not matter."""
    client, _ = wire(token=b"secret-secret-secret", ready=False)

    assert client.request("GET", "/", fields={"Authorization": "bearer secret-secret-secret"}).status == 200


# --- time ------------------------------------------------------------------------------------------------------


def at(client: Wire, seconds: float) -> None:
    """The clock says so."""
    client.port.advance(seconds)
    client.connection.advance()
    client.fetch()


@pytest.mark.parametrize("sent", [b"G", b"GET / HTTP/1.1\r\nHost: localhost\r\n"])
def test_slow_head(sent: bytes) -> None:
    """A head that does not come whole in time: 408, and the end."""
    client, _ = wire()
    client.send(sent)
    at(client, 29.0)
    assert client.received == b""
    at(client, 30.0)

    assert client.answer().status == 408
    assert client.connection.closing


def test_slow_drip() -> None:
    """Single bytes do not prolong the time of a request."""
    client, _ = wire()
    client.send(encode("POST", COMMANDS, fields={**JSON, "Content-Length": "100"}))
    for second in range(30):
        at(client, float(second))
        client.send(b" ")
    assert client.received == b""
    assert client.port.held == 100

    at(client, 30.0)

    assert client.answer().status == 408
    assert client.connection.closing


def test_idle_connection() -> None:
    """One that asks for nothing is closed without a word."""
    client, _ = wire()
    at(client, 59.0)
    assert not client.connection.closing
    at(client, 60.0)

    assert client.connection.closing
    assert client.received == b""


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHost: localhost\r\n"])
def test_token_late(sent: bytes) -> None:
    """Who has not shown the token has ten seconds; who has, the time of others."""
    client, _ = wire(token=b"secret-secret-secret", ready=False)
    if sent:
        client.send(sent)
    at(client, 9.0)
    assert not client.connection.closing
    at(client, 10.0)
    assert client.connection.closing

    client, _ = wire(token=b"secret-secret-secret", ready=False)
    client.request("GET", "/", fields={"Authorization": "Bearer secret-secret-secret"})
    at(client, 59.0)
    assert not client.connection.closing


def test_unread_response() -> None:
    """A client that does not read is given nothing more, then it is dropped."""
    client, _ = wire()
    client.connection.receive_data(encode("GET", "/targets") * 3)
    first = client.connection.data_to_send()
    client.connection.unsent(len(first))

    assert first.count(b"HTTP/1.1 200") == 1
    assert client.connection.data_to_send() == b""
    client.port.advance(29.0)
    client.connection.unsent(len(first) - 1)        # progress
    client.port.advance(58.0)
    client.connection.advance()
    assert not client.connection.closing
    client.port.advance(59.0)
    client.connection.advance()
    assert client.connection.closing


def test_reading_ahead_is_bounded() -> None:
    """While a command is at work only so much of later requests is read."""
    client, store = wire()
    store.hold()
    client.send(encode("POST", f"{COMMANDS}?cdb={READ_ONE}", b"", fields={"SCSI-Initiator": "me"}))
    assert client.connection.reading
    client.send(encode("GET", "/") * 2000)

    assert not client.connection.reading
    assert client.received == b""
    store.release()
    for ticket, answer in store.reap():
        ticket.unit.target.complete(ticket, answer)
    client.port.settle()
    client.fetch()

    assert [client.answer().status for _ in range(2001)] == [200] * 2001
    assert client.connection.reading


# --- memory ----------------------------------------------------------------------------------------------------


def test_buffers_are_bounded() -> None:
    """What all commands together hold is bounded; who asks for more is told when to come again."""
    target, store = disk_target()
    port = HttpPort((target,), limits=HttpLimits(max_transfer=1 << 20, buffers=2 << 20))
    store.hold()
    clients = [Wire(port) for _ in range(4)]
    for client in clients[:2]:
        for _ in range(2):
            client.execute("000000000000", initiator="me")
        path = f"{COMMANDS}?cdb={READ_ONE}&allocation=1048576"
        client.send(encode("POST", path, b"", fields={"SCSI-Initiator": "me"}))
        assert client.received == b""
    refused = clients[2].request("POST", f"{COMMANDS}?cdb={READ_ONE}", b"", fields={"SCSI-Initiator": "me"})

    assert (refused.status, refused.fields["retry-after"]) == (503, "1")
    refused = clients[3].request("POST", COMMANDS, fields={**OCTETS, "Content-Length": "100000"})
    assert refused.status == 503
    for client in clients:
        client.connection.closed()
    store.release()
    reap(store, target)
    port.settle()
    assert port.held == 0
    assert port.connections == 0


def reap(store: Any, target: Target) -> None:
    """Late answers to the target."""
    for ticket, answer in store.reap():
        target.complete(ticket, answer)

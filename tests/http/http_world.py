"""Targets for tests of HTTP: connections without sockets, and a Unix socket that is served by a thread."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import tempfile
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from devtypes.vd import DiskConfig, VirtualDisk
from iohandlers.memory import open_store
from scsiemu._value import value
from scsiemu.io_requests import Store
from scsiemu.lun import unit_lun
from scsiemu.operations import OperationTable
from scsiemu.sam import TaskManagementFunction, TaskManagementResponse
from scsiemu.services import Listener
from scsiemu.target import Target
from scsiemu.testing.transport_kit import HeldStore
from scsiemu.well_known import REPORT_LUNS_LUN, ReportLunsUnit
from transports.http.connection import HttpConnection
from transports.http.port import HttpLimits, HttpPort
from transports.http.server import HttpTransport

T = TypeVar("T")

NAME = "iqn.2026-11.test:http"
COMMANDS = "/targets/0/units/0/commands"
INQUIRY = "120000006000"
READ_ONE = "28000000000000000100"
WRITE_ONE = "2a000000000000000100"


def disk_target(*, blocks: int = 2048) -> tuple[Target, HeldStore]:
    """A target with a disk as LUN 0, and its store, which can be held."""
    store = HeldStore(open_store(size=blocks * 512))
    # The clock began a day after 1970.
    target = Target(NAME, epoch=-86400.0)
    target.add_unit(
        0, VirtualDisk(DiskConfig.for_store(store.capabilities)), performer=store.submit,
        capabilities=lambda: store.capabilities,
    )
    target.add_unit(REPORT_LUNS_LUN, ReportLunsUnit())
    return target, store


@value
class Answer:
    """A response as it came."""

    status: int
    fields: dict[str, str]
    content: bytes

    @property
    def json(self) -> Any:
        """Its content."""
        return json.loads(self.content)


class Wire:
    """A client of a connection without sockets, which speaks bytes.

    Args:
        port: has the targets.
        token: that the connection asks for.
    """

    def __init__(self, port: HttpPort, *, token: bytes = b"") -> None:
        self.port = port
        self.woken = 0
        self.connection = HttpConnection(port, self._wake, token=token)
        self.received = b""

    def _wake(self) -> None:
        self.woken += 1

    def send(self, data: bytes) -> None:
        """Bytes to the server; what it answers is kept."""
        self.connection.receive_data(data)
        self.fetch()

    def fetch(self) -> None:
        """What the server sends by itself."""
        while data := self.connection.data_to_send():
            self.received += data
            self.connection.unsent(0)

    def answer(self, *, head: bool = False) -> Answer:
        """The next response that has come."""
        before, end, rest = self.received.partition(b"\r\n\r\n")
        assert end, f"no response: {self.received!r}"
        lines = before.decode().split("\r\n")
        fields = {name.lower(): text for name, _, text in (line.partition(": ") for line in lines[1:])}
        length = 0 if head else int(fields.get("content-length", "0"))
        assert len(rest) >= length
        self.received = rest[length:]
        return Answer(int(lines[0].split()[1]), fields, rest[:length])

    def request(
        self, method: str, path: str, content: bytes | None = None, *, fields: dict[str, str] | None = None,
    ) -> Answer:
        """A request and its response."""
        self.send(encode(method, path, content, fields=fields))
        return self.answer(head=method == "HEAD")

    def execute(self, cdb: str, *, initiator: str = "me", **members: Any) -> Any:
        """A command by JSON; the JSON that came."""
        content = json.dumps({"cdb": cdb, **members}).encode()
        answer = self.request(
            "POST", COMMANDS, content, fields={"Content-Type": "application/json", "SCSI-Initiator": initiator}
        )
        assert answer.status == 200, answer
        return answer.json


def encode(method: str, path: str, content: bytes | None = None, *, fields: dict[str, str] | None = None) -> bytes:
    """A request."""
    lines = [f"{method} {path} HTTP/1.1"]
    every = {"Host": "localhost", **(fields or {})}
    if content is not None:
        every.setdefault("Content-Length", str(len(content)))
    lines += [f"{name}: {text}" for name, text in every.items() if text]
    return "\r\n".join([*lines, "", ""]).encode() + (content or b"")


def wire(*, token: bytes = b"", ready: bool = True, limits: HttpLimits | None = None) -> tuple[Wire, HeldStore]:
    """A client of a disk; its unit attention is cleared."""
    target, store = disk_target()
    port = HttpPort((target,), tables={"vd": OperationTable(VirtualDisk)}, limits=limits)
    client = Wire(port, token=token)
    if ready:
        while client.execute("000000000000")["status"]:
            pass
    return client, store


# --- over a socket ---------------------------------------------------------------------------------------------


class HttpBench:
    """A Unix socket, served by a thread."""

    def __init__(
        self, targets: tuple[Target, ...], stores: Sequence[Store] = (), *, limits: HttpLimits | None = None
    ) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.path = str(Path(self.folder.name) / "http")
        self.transport = HttpTransport(targets, stores=stores, limits=limits)
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        asyncio.run_coroutine_threadsafe(self.transport.start(Listener(path=self.path)), self.loop).result(10)

    def __enter__(self) -> HttpBench:
        return self

    def __exit__(self, *what: object) -> None:
        self.close()

    def call(self, work: Callable[[], T]) -> T:
        """Do something in the thread of the loop."""

        async def run() -> T:
            return work()

        return asyncio.run_coroutine_threadsafe(run(), self.loop).result(10)

    def socket(self) -> socket.socket:
        """A connection."""
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(20)
        sock.connect(self.path)
        return sock

    def connect(self, number: int) -> HttpInitiator:
        """An initiator of that name."""
        return HttpInitiator(self, f"initiator-{number}")

    def go_on(self) -> None:
        """The thread does it."""

    def close(self) -> None:
        """End the server and its thread."""
        asyncio.run_coroutine_threadsafe(self.transport.stop(), self.loop).result(10)
        self.call(lambda: None)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)
        self.loop.close()
        self.folder.cleanup()


@value
class Result:
    """How a command ended, for the kit."""

    status: int
    sense: bytes
    data: bytes
    data_in_residual: int
    data_out_residual: int


class Sent:
    """A request on its way, on a connection of its own."""

    def __init__(self, sock: socket.socket, tag: int) -> None:
        self.sock = sock
        self.tag = tag


class HttpInitiator:
    """An initiator that speaks HTTP: a connection for each command under way."""

    def __init__(self, bench: HttpBench, name: str) -> None:
        self._bench = bench
        self._name = name
        self._idle: list[socket.socket] = []
        self._busy: dict[socket.socket, None] = {}
        self._tag = 0
        self._open = True

    def _send(self, method: str, path: str, content: Any = None) -> socket.socket:
        sock = self._idle.pop() if self._idle else self._bench.socket()
        self._busy[sock] = None
        fields = {"Content-Type": "application/json", "SCSI-Initiator": self._name}
        sock.sendall(encode(method, path, None if content is None else json.dumps(content).encode(), fields=fields))
        return sock

    def _receive(self, sock: socket.socket) -> Answer:
        answer = receive(sock)
        del self._busy[sock]
        self._idle.append(sock)
        return answer

    def start(self, lun: int, cdb: bytes, data_out: bytes = b"", allocation: int = 0) -> Sent:
        """Send a command."""
        self._tag += 1
        content = {
            "cdb": cdb.hex(), "data_out": base64.b64encode(data_out).decode(), "allocation": allocation,
            "tag": self._tag,
        }
        return Sent(self._send("POST", f"/targets/0/units/{unit_lun(lun):016x}/commands", content), self._tag)

    def finish(self, request: Sent) -> Result:
        """Wait for its end."""
        answer = self._receive(request.sock)
        assert answer.status == 200, answer
        found = answer.json
        sense = found["sense"]
        return Result(
            found["status"], bytes.fromhex(sense["hex"]) if sense else b"",
            base64.b64decode(found["data_in"]["base64"]), found["residual"]["data_in"], found["residual"]["data_out"],
        )

    def manage(
        self, function: TaskManagementFunction, lun: int = 0, *, task: Sent | None = None
    ) -> TaskManagementResponse:
        """Perform a task management function."""
        content: dict[str, Any] = {"function": function.value}
        if task is not None:
            content["tag"] = task.tag
        sent = self._send("POST", f"/targets/0/units/{unit_lun(lun):016x}/tmf", content)
        return TaskManagementResponse(self._receive(sent).json["response"])

    def abandon(self) -> None:
        """Break off: the name is forgotten a while after."""
        self._open = False
        for sock in (*self._busy, *self._idle):
            sock.close()

    def close(self) -> None:
        """Log out."""
        if self._open:
            self._receive(self._send("DELETE", f"/initiators/{self._name}"))
            self.abandon()


def receive(sock: socket.socket) -> Answer:
    """The next response."""
    with sock.makefile("rb") as stream:
        status = int(stream.readline().split()[1])
        fields = {}
        while (line := stream.readline().decode().strip()):
            name, _, text = line.partition(": ")
            fields[name.lower()] = text
        return Answer(status, fields, stream.read(int(fields.get("content-length", "0"))))

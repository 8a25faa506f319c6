"""Units added, removed and changed over HTTP: what is asked of the control, and how its answers are told."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from http_world import Wire, disk_target, encode

from devtypes.vd import DiskConfig, VirtualDisk
from iohandlers.memory import open_store
from scsiemu.logical_unit import LogicalUnit
from scsiemu.lun import unit_lun
from scsiemu.services import Conflict
from scsiemu.target import Target
from transports.http.port import HttpPort

JSON = {"Content-Type": "application/json"}
UNITS, UNIT = "/targets/0/units", "/targets/0/units/0"
DISK = b'{"lun": 5, "unit": "disk", "value": "1M"}'


class Control:
    """Does what it is asked for when the test says so.

    Attributes:
        asked: what it was asked for.
        error: raised instead of doing it.
    """

    def __init__(self, error: Exception | None = None) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self.error = error
        self.works: list[tuple[Coroutine[Any, Any, Any], Callable[[Any], None]]] = []

    async def add(self, target: Target, lun: int | None, option: str, text: str) -> LogicalUnit:
        """A disk."""
        self._ask("add", lun, option, text)
        return target.add_unit(lun or 0, VirtualDisk(DiskConfig.for_store(open_store(size=1 << 20).capabilities)))

    async def remove(self, target: Target, lun: int) -> None:
        """Nothing goes."""
        self._ask("remove", lun)

    async def resize(self, target: Target, lun: int, size: str) -> LogicalUnit:
        """Nothing grows."""
        self._ask("resize", lun, size)
        return target.units[lun]

    async def insert(self, target: Target, lun: int, name: str | None) -> LogicalUnit:
        """Nothing is inserted."""
        self._ask("insert", lun, name)
        return target.units[lun]

    async def eject(self, target: Target, lun: int, *, force: bool) -> LogicalUnit:
        """Nothing is ejected."""
        self._ask("eject", lun, force)
        return target.units[lun]

    async def protect(self, target: Target, lun: int, protected: bool) -> LogicalUnit:
        """Nothing is protected."""
        self._ask("protect", lun, protected)
        return target.units[lun]

    def ports(self, target: Target, lun: int) -> dict[int, str | None]:
        """Two, one of which is full."""
        self._ask("ports", lun)
        return {16: "A", 17: None}

    async def import_medium(self, target: Target, lun: int, name: str, *, force: bool) -> None:
        """Nothing comes."""
        self._ask("import", lun, name, force)

    async def export_medium(self, target: Target, lun: int, name: str, *, force: bool) -> None:
        """Nothing goes."""
        self._ask("export", lun, name, force)

    def _ask(self, *what: Any) -> None:
        self.asked.append(what)
        if self.error is not None:
            raise self.error

    def run(self, work: Coroutine[Any, Any, Any], ended: Callable[[Any], None]) -> None:
        """Keep it for later."""
        self.works.append((work, ended))

    def go_on(self) -> None:
        """Do what was kept: none of it waits."""
        works, self.works = self.works, []
        for work, ended in works:
            result: Any = None
            try:
                work.send(None)
            except StopIteration as done:
                result = done.value
            except Exception as error:
                result = error
            ended(result)


def wire(error: Exception | None = None) -> tuple[Wire, Control]:
    """A client, and the control that it reaches."""
    control = Control(error)
    target, _ = disk_target()
    return Wire(HttpPort((target,), control=control, run=control.run)), control


def test_change_add() -> None:
    """The response comes when the unit is there: 201, where, and what it is."""
    client, control = wire()
    client.send(encode("POST", UNITS, DISK, fields=JSON))
    assert client.received == b""
    control.go_on()
    client.fetch()
    answer = client.answer()

    assert control.asked == [("add", 5, "disk", "1M")]
    assert (answer.status, answer.json["lun"]) == (201, "5")
    assert answer.json == client.request("GET", answer.fields["location"]).json
    assert answer.json in client.request("GET", UNITS).json["units"]


def test_change_add_without_lun() -> None:
    """The control chooses."""
    client, control = wire(Conflict("full"))
    client.send(encode("POST", UNITS, b'{"unit": "tape", "value": ""}', fields=JSON))
    control.go_on()

    assert control.asked == [("add", None, "tape", "")]


def test_change_resize_and_remove() -> None:
    """200 with the unit, 204 with nothing; whole LUN fields are LUNs, too."""
    client, control = wire()
    client.send(encode("PATCH", UNIT, b'{"size": "2G"}', fields=JSON))
    control.go_on()
    client.fetch()
    assert client.answer().json["lun"] == "0"
    client.send(encode("DELETE", f"{UNITS}/c101000000000000"))
    control.go_on()
    client.fetch()
    answer = client.answer()

    assert (answer.status, answer.content) == (204, b"")
    assert control.asked == [("resize", 0, "2G"), ("remove", 0xC101 << 48)]
    assert unit_lun(0xC101 << 48) == 0xC101 << 48


@pytest.mark.parametrize(
    ("method", "path", "content", "asked", "status"),
    [
        ("PUT", f"{UNIT}/medium", b'{"name": "a b.iso"}', ("insert", 0, "a b.iso"), 200),
        ("PUT", f"{UNIT}/medium", b"{}", ("insert", 0, None), 200),
        ("DELETE", f"{UNIT}/medium", None, ("eject", 0, False), 200),
        ("DELETE", f"{UNIT}/medium?force=true", None, ("eject", 0, True), 200),
        ("PATCH", UNIT, b'{"write_protected": false}', ("protect", 0, False), 200),
        ("GET", f"{UNIT}/ports", None, ("ports", 0), 200),
        ("POST", f"{UNIT}/ports", b'{"name": "B"}', ("import", 0, "B", False), 204),
        ("DELETE", f"{UNIT}/ports/a%20b?force=true", None, ("export", 0, "a b", True), 204),
    ],
)
def test_change_of_media(method: str, path: str, content: bytes | None, asked: tuple[Any, ...], status: int) -> None:
    """What is asked of the control for each, and how it ends."""
    client, control = wire()
    client.send(encode(method, path, content, fields=JSON if content else {}))
    control.go_on()
    client.fetch()

    assert client.answer().status == status
    assert control.asked == [asked]


@pytest.mark.parametrize(
    ("error", "status", "detail"),
    [
        (Conflict("LUN 5 is in use"), 409, "LUN 5 is in use"),
        (ValueError("there is no unit 'disc'"), 400, "there is no unit 'disc'"),
        (LookupError("there is no such unit"), 404, "there is no such unit"),
        (RuntimeError("secret of the program"), 500, "this is a bug: the operator was told"),
    ],
)
def test_change_refused(error: Exception, status: int, detail: str) -> None:
    """The kind of error is the status code, its sentence the detail; the connection goes on."""
    client, control = wire(error)
    client.send(encode("POST", UNITS, DISK, fields=JSON))
    control.go_on()
    client.fetch()
    answer = client.answer()

    assert (answer.status, answer.json["detail"]) == (status, detail)
    assert client.request("GET", "/").status == 200


def test_change_without_control() -> None:
    """Where units stay as they are the methods are not there."""
    target, _ = disk_target()
    client = Wire(HttpPort((target,)))
    for method, path, content in (
        ("POST", UNITS, DISK), ("PATCH", UNIT, b'{"size": "1M"}'), ("DELETE", UNIT, None),
        ("PUT", f"{UNIT}/medium", b"{}"), ("DELETE", f"{UNIT}/medium", None), ("GET", f"{UNIT}/ports", None),
    ):
        answer = client.request(method, path, content, fields=JSON if content else {})
        assert (answer.status, answer.fields["allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize(
    ("method", "path", "content", "fields", "status"),
    [
        ("POST", UNITS, DISK, {"Content-Type": "text/plain"}, 415),
        ("PATCH", UNIT, b"{}", {"Content-Type": "application/octet-stream"}, 415),
        ("PATCH", UNIT, b"{}", {}, 415),
        ("PATCH", UNIT, None, JSON, 411),
        ("PATCH", UNIT, b"[]", JSON, 400),
        ("PATCH", UNIT, b'{"size": 1}', JSON, 400),
        ("PATCH", UNIT, b'{"size": "1", "lun": 1}', JSON, 400),
        ("PATCH", "/targets/0/units/x", b'{"size": "1"}', JSON, 404),
        ("PATCH", UNITS, b"{}", JSON, 405),
        ("DELETE", UNITS, None, {}, 405),
        ("PUT", f"{UNIT}/medium", b'{"name": 1}', JSON, 400),
        ("PUT", f"{UNIT}/medium", b"x", {"Content-Type": "application/octet-stream"}, 415),
        ("PUT", UNIT, b"{}", JSON, 405),
        ("DELETE", f"{UNIT}/medium?force=1", None, {}, 400),
        ("DELETE", f"{UNIT}/medium?forced=true", None, {}, 400),
        ("POST", f"{UNIT}/ports", b"{}", JSON, 400),
        ("DELETE", UNIT, b"content", {}, 413),
        ("POST", UNITS, b'{"unit": "disk"}', JSON, 400),
        ("POST", UNITS, b'{"unit": "disk", "value": "1M", "lun": "5"}', JSON, 400),
        ("POST", UNITS, b'{"unit": "disk", "value": "1M", "lun": true}', JSON, 400),
        ("POST", UNITS, b'{"unit": "disk", "value": "1M", "lun": 16384}', JSON, 400),
        ("POST", "/targets/1/units", DISK, JSON, 404),
    ],
)
def test_change_not_understood(
    method: str, path: str, content: bytes | None, fields: dict[str, str], status: int
) -> None:
    """What is not well formed never reaches the control."""
    client, control = wire()
    answer = client.request(method, path, content, fields=fields)

    assert answer.status == status
    assert control.asked == []


def test_change_client_goes() -> None:
    """A change goes on although its client has gone; nothing is sent to it."""
    client, control = wire()
    client.send(encode("POST", UNITS, DISK, fields=JSON))
    client.connection.closed()
    control.go_on()
    client.fetch()

    assert unit_lun(5) in client.port.targets[0].units
    assert client.received == b""
    assert client.port.held == 0

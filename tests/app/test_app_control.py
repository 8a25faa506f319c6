"""Units that come, change and go while the program serves them: by HTTP, seen by initiators of iSCSI and others."""

from __future__ import annotations

import argparse
import asyncio
import base64
import dataclasses
import http.client
import json
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from scsiemu.app.arguments import add_target_arguments
from scsiemu.app.configuration import configure
from scsiemu.app.loop import ServingLoop
from scsiemu.app.serving import Serving
from scsiemu.lun import unit_lun
from transports.iscsi.client import Client, connect
from transports.iscsi.codes import AsyncEvent
from transports.iscsi.initiator import AsyncReceived, CommandDone
from transports.vhost.codes import EventReason, EventType
from transports.vhost.front_end import FrontEnd

PROGRAM = [sys.executable, "-m", "scsiemu.app"]
SECONDS = 30
TEST_UNIT_READY = bytes(6)
READ_CAPACITY = b"\x25" + bytes(9)
READ_ONE = bytes.fromhex("28000000000000000100")
WRITE_ONE = bytes.fromhex("2a000000000000000100")
REPORT_LUNS = bytes.fromhex("a00000000000000001000000")
POWER_ON, CAPACITY_CHANGED, LUNS_CHANGED = b"\x06\x29\x00", b"\x06\x2a\x09", b"\x06\x3f\x0e"
CHANGED, PORT_ACCESSED, MODE_CHANGED = b"\x06\x28\x00", b"\x06\x28\x01", b"\x06\x2a\x01"
NO_MEDIUM, TRAY_CLOSED, TRAY_OPEN = b"\x02\x3a\x00", b"\x02\x3a\x01", b"\x02\x3a\x02"
PREVENT, WRITE_TAPE = bytes.fromhex("1e0000000100"), bytes.fromhex("0a0000020000")
MEDIA_EVENT = bytes.fromhex("4a010000100000000800")
MOVE_TO_DRIVE, MOVE_BACK = (bytes.fromhex(f"a5000000{way}00000000") for way in ("00100100", "01000010"))
NO_UNIT = b"\x05\x25\x00"
BLOCK = bytes(range(256)) * 2


class Curl:
    """A client of the socket that is HTTP's."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def request(self, method: str, path: str, content: Any = None) -> tuple[int, Any, dict[str, str]]:
        """Status, content and fields of a response."""
        connection = http.client.HTTPConnection("localhost")
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(SECONDS)
        connection.sock.connect(str(self._path))
        fields = {} if content is None else {"Content-Type": "application/json"}
        connection.request(method, path, None if content is None else json.dumps(content), fields)
        response = connection.getresponse()
        text = response.read()
        connection.close()
        return response.status, json.loads(text) if text else None, dict(response.getheaders())

    def begin(self, method: str, path: str) -> socket.socket:
        """Send a request without content; whoever gets the socket waits for the response, or does not."""
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(str(self._path))
        sock.sendall(f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        return sock

    def add(self, option: str, text: str, lun: int | None = None) -> int:
        """Add a unit; its LUN."""
        content = {"unit": option, "value": text, **({} if lun is None else {"lun": lun})}
        status, found, fields = self.request("POST", "/targets/0/units", content)
        assert status == 201, found
        assert fields["Location"] == found["path"]
        return int(found["lun"])

    def remove(self, lun: int) -> None:
        """Remove a unit."""
        assert self.request("DELETE", f"/targets/0/units/{lun}")[:2] == (204, None)

    def execute(self, lun: int, cdb: bytes, **members: Any) -> Any:
        """A command; what came of it, once the unit has said what it has to."""
        for _ in range(9):
            status, found, _ = self.request("POST", f"/targets/0/units/{lun}/commands", {"cdb": cdb.hex(), **members})
            assert status == 200, found
            if found["status"] != 2 or not found["sense"]["title"].startswith("UNIT ATTENTION"):
                return found
        raise AssertionError("attentions without end")


def serving(words: list[str], work: Callable[[Serving], object], *, first: str = "") -> list[str]:
    """Run blocking work in a thread while this process serves, by `first` first; what the operator was told."""
    parser = argparse.ArgumentParser()
    add_target_arguments(parser)
    reports: list[str] = []
    configuration = configure(parser.parse_args(words))
    services = tuple(sorted(configuration.services, key=lambda service: service.name != first))

    async def serve() -> None:
        async with Serving(dataclasses.replace(configuration, services=services), log=reports.append) as serving:
            await asyncio.to_thread(work, serving)

    with asyncio.Runner(loop_factory=ServingLoop) as runner:
        runner.run(serve())
    return reports


def attentions(session: Client, lun: int) -> list[bytes]:
    """Sense key, additional sense code and its qualifier of all that a unit has to say before it is ready."""
    found = []
    while (result := session.execute(lun, TEST_UNIT_READY)).status == 2:
        found.append(code(result.sense))
        assert len(found) < 9
    return found


def code(sense: bytes) -> bytes:
    """Sense key, additional sense code and its qualifier."""
    return bytes((sense[2] & 0x0F, sense[12], sense[13]))


def blocks(session: Client, lun: int) -> int:
    """The capacity that a unit tells."""
    result = session.execute(lun, READ_CAPACITY, data_in_length=8)
    assert result.status == 0
    return int.from_bytes(result.data_in[:4], "big") + 1


def test_control_unit_comes_and_goes(tmp_path: Path) -> None:
    """A disk is added while a session is open, which is told, writes, reads, and sees it go; the file is free then."""
    curl, image = Curl(tmp_path / "http"), tmp_path / "image"

    def work(served: Serving) -> None:
        with connect(served.units[0].url) as session:
            attentions(session, 0)
            assert curl.add("disk", f"{image},size=1M") == 1
            assert attentions(session, 0) == [LUNS_CHANGED]
            assert [event.event for event in session.events if isinstance(event, AsyncReceived)] == [
                AsyncEvent.SCSI_EVENT
            ]
            assert attentions(session, 1) == [POWER_ON]
            assert session.execute(1, WRITE_ONE, BLOCK).status == 0
            assert session.execute(1, READ_ONE, data_in_length=512).data_in == BLOCK
            listed = session.execute(0, REPORT_LUNS, data_in_length=256).data_in
            assert listed[8:24] == bytes(8) + unit_lun(1).to_bytes(8, "big")

            curl.remove(1)
            assert attentions(session, 0) == [LUNS_CHANGED]
            gone = session.execute(1, TEST_UNIT_READY)
            assert (gone.status, code(gone.sense)) == (2, NO_UNIT)
            assert curl.request("GET", "/targets/0/units/1")[0] == 404
            assert image.read_bytes()[:512] == BLOCK

            # The file is locked while it is open.
            assert curl.add("disk", str(image), lun=300) == 300
            attentions(session, 300)
            assert session.execute(300, READ_ONE, data_in_length=512).data_in == BLOCK
            assert curl.add("tape", "1M") == 1

    assert serving(["--disk", "1M", "--listen", "127.0.0.1:0", "--http", str(tmp_path / "http")], work) == []


def test_control_remove_with_command_in_flight(tmp_path: Path) -> None:
    """The unit is gone at once; its command ends when the store lets go, and only then is the removal answered."""
    curl = Curl(tmp_path / "http")
    ended: list[float] = []

    def remove() -> None:
        curl.remove(1)
        ended.append(time.monotonic())

    def work(served: Serving) -> None:
        with connect(served.units[0].url) as session:
            curl.add("disk", "1M,faulty=delay read seconds=1.5")
            attentions(session, 1)
            until, begun = time.monotonic() + SECONDS, time.monotonic()
            tag = session.session.execute(unit_lun(1), READ_ONE, data_in_length=512)
            session.flush(until)
            while curl.request("GET", "/targets/0/units/1")[1]["statistics"]["pending"] == 0:
                assert time.monotonic() < until
            remover = threading.Thread(target=remove)
            remover.start()
            while curl.request("GET", "/targets/0/units/1")[0] != 404:
                assert time.monotonic() < until
            assert curl.add("disk", "2M") == 1
            done = None
            while not isinstance(done, CommandDone):
                done = session.session.next_event()
                if done is None:
                    session.step(until)
            remover.join(SECONDS)

            assert done.tag == tag
            assert (done.result.status, code(done.result.sense)) == (2, NO_UNIT)
            assert ended[0] - begun >= 1.5
            attentions(session, 1)
            assert blocks(session, 1) == 4096

    assert serving(["--disk", "1M", "--listen", "127.0.0.1:0", "--http", str(tmp_path / "http")], work) == []


def test_control_resize(tmp_path: Path) -> None:
    """A disk grows and shrinks with its file; initiators get the unit attention and read the new capacity."""
    curl, image = Curl(tmp_path / "http"), tmp_path / "image"

    def work(served: Serving) -> None:
        with connect(served.units[0].url) as session:
            attentions(session, 0)
            for size, length in (("2M", 2 << 20), ("524288", 1 << 19)):
                status, found, _ = curl.request("PATCH", "/targets/0/units/0", {"size": size})
                assert (status, found["lun"]) == (200, "0")
                assert attentions(session, 0) == [CAPACITY_CHANGED]
                assert blocks(session, 0) == length // 512
                assert image.stat().st_size == length

    words = ["--disk", f"{image},size=1M", "--listen", "127.0.0.1:0", "--http", str(tmp_path / "http")]
    assert serving(words, work) == []


@pytest.mark.parametrize("first", ["http", "vhost", "vscsi", "iscsi"])
def test_control_late_answers_by_any_transport(tmp_path: Path, first: str) -> None:
    """Whichever transport has the stores fetches the late answers of a unit that was added, and forgets it again."""
    curl = Curl(tmp_path / "http")

    def work(served: Serving) -> None:
        assert next(iter(served.listeners)) == first
        for _ in range(2):
            assert curl.add("disk", "1M,faulty=delay any seconds=0.01") == 1
            data = base64.b64encode(BLOCK).decode()
            assert curl.execute(1, WRITE_ONE, data_out=data)["status_name"] == "GOOD"
            assert curl.execute(1, READ_ONE)["data_in"]["base64"] == data
            assert curl.request("PATCH", "/targets/0/units/1", {"size": "2M"})[0] == 200
            curl.remove(1)

    words = ["--disk", "1M", "--listen", "127.0.0.1:0"]
    for name in ("http", "vhost", "vscsi"):
        words += [f"--{name}", str(tmp_path / name)]
    assert serving(words, work, first=first) == []


@pytest.mark.parametrize(
    ("option", "text", "device_type"),
    [("disk", "1M", 0), ("tape", "{}/tape,size=1M", 1), ("optical", "{}/disc,blank=cd-r", 5), ("osd", "{}/osd", 17)],
)
def test_control_device_types(tmp_path: Path, option: str, text: str, device_type: int) -> None:
    """Units of every type come and go, with a state store too; their files are free for the next one."""
    curl = Curl(tmp_path / "http")

    def work(served: Serving) -> None:
        for lun in (3, 4):
            assert curl.add(option, text.format(tmp_path), lun=lun) == lun
            found = curl.request("GET", f"/targets/0/units/{lun}")[1]
            assert found["peripheral_device_type"] == device_type
            assert curl.execute(lun, bytes.fromhex("120000006000"))["status_name"] == "GOOD"
            curl.remove(lun)

    words = ["--disk", "1M", "--state", str(tmp_path / "state"), "--http", str(tmp_path / "http")]
    assert serving(words, work) == []


def test_control_guests_are_told(tmp_path: Path) -> None:
    """The guest of a virtio adapter has the events of a unit that comes, grows and goes."""
    curl = Curl(tmp_path / "http")

    def work(served: Serving) -> None:
        with FrontEnd(str(tmp_path / "vhost")) as guest:
            curl.add("disk", "1M", lun=5)
            came = guest.next_event()
            while guest.execute(5, TEST_UNIT_READY).status:
                pass
            assert curl.request("PATCH", "/targets/0/units/5", {"size": "2M"})[0] == 200
            grew = guest.next_event()
            curl.remove(5)
            went = guest.next_event()
        assert (came.type, came.reason) == (EventType.TRANSPORT_RESET, EventReason.RESCAN)
        assert (grew.type, grew.reason) == (EventType.PARAM_CHANGE, 0x2A | 0x09 << 8)
        assert (went.type, went.reason) == (EventType.TRANSPORT_RESET, EventReason.REMOVED)
        assert {event.lun[3] for event in (came, grew, went)} == {5}

    words = ["--disk", "1M", "--vhost", str(tmp_path / "vhost"), "--http", str(tmp_path / "http")]
    assert serving(words, work) == []


def test_control_discs(tmp_path: Path) -> None:
    """Discs of a folder are put in and taken out while a session is open, which is told. What an initiator prevents is
    not done, unless by force."""
    curl, medium = Curl(tmp_path / "http"), "/targets/0/units/0/medium"
    (tmp_path / "discs").mkdir()
    for name, size in (("a.iso", 1 << 20), ("b.iso", 1 << 21)):
        (tmp_path / "discs" / name).write_bytes(bytes(size))

    def size(session: Client) -> int:
        return int.from_bytes(session.execute(0, READ_CAPACITY, data_in_length=8).data_in[:4], "big")

    def work(served: Serving) -> None:
        with connect(served.units[0].url) as session:
            session.execute(0, TEST_UNIT_READY)
            assert code(session.execute(0, TEST_UNIT_READY).sense) == TRAY_CLOSED
            assert curl.request("PUT", medium, {"name": "c.iso"})[0] == 404
            assert curl.request("PUT", medium, {"name": "../http"})[0] == 404
            assert curl.request("PUT", medium, {"name": "a.iso"})[1]["ready"]
            assert attentions(session, 0) == [CHANGED]
            assert (size(session), session.execute(0, MEDIA_EVENT, data_in_length=8).data_in[4:6]) == (511, b"\2\2")
            assert session.execute(0, PREVENT).status == 0
            status, refused, _ = curl.request("DELETE", medium)
            assert (status, "by force" in refused["detail"]) == (409, True)
            assert session.execute(0, MEDIA_EVENT, data_in_length=8).data_in[4] == 1           # an eject request
            assert size(session) == 511
            found = curl.request("DELETE", f"{medium}?force=true")
            assert (found[0], found[1]["name"]) == (200, None)
            assert code(session.execute(0, TEST_UNIT_READY).sense) == TRAY_OPEN
            assert session.execute(0, MEDIA_EVENT, data_in_length=8).data_in[4] == 3           # removal
            assert curl.request("PUT", medium, {"name": "b.iso"})[1] == {
                "name": "b.iso", "ready": True, "not_ready": None,
            }
            assert attentions(session, 0) == [CHANGED]
            assert size(session) == 1023
            assert curl.request("PUT", medium, {"name": "a.iso"})[1]["detail"] == "'b.iso' is in it"

    words = ["--optical", f"{tmp_path}/discs,shelf", "--listen", "127.0.0.1:0", "--http", str(tmp_path / "http")]
    assert serving(words, work) == []


def test_control_media_that_stay(tmp_path: Path) -> None:
    """A tape, a disk and a disc without a shelf go out and in again; what protects them is seen by their initiators."""
    curl = Curl(tmp_path / "http")

    def work(served: Serving) -> None:
        with connect(served.units[0].url) as session:
            for lun, removed in ((0, NO_MEDIUM), (1, NO_MEDIUM), (2, TRAY_OPEN)):
                medium = f"/targets/0/units/{lun}/medium"
                attentions(session, lun)
                status, found, _ = curl.request("DELETE", medium)
                assert (status, found["ready"]) == (200, False)
                assert code(session.execute(lun, TEST_UNIT_READY).sense) == removed
                assert curl.request("PUT", medium, {})[1]["ready"]
                assert attentions(session, lun) == [CHANGED]
                assert curl.request("PUT", medium, {"name": "x"})[1]["detail"].startswith("it has no shelf")
                unit = f"/targets/0/units/{lun}"
                assert curl.request("PATCH", unit, {"write_protected": True})[0] == 200
                if lun < 2:
                    assert attentions(session, lun) == [MODE_CHANGED]
                write, length = ((WRITE_TAPE, 512), (WRITE_ONE, 512), (WRITE_ONE, 2048))[lun]
                refused = session.execute(lun, write, bytes(length))
                assert code(refused.sense)[:2] == b"\x07\x27", lun
                assert curl.request("PATCH", unit, {"write_protected": False})[0] == 200
                attentions(session, lun)
                assert session.execute(lun, write, bytes(length)).status == 0

    words = ["--tape", "1M", "--disk", "1M,removable", "--optical", "1M,blank=dvd-ram"]
    assert serving([*words, "--listen", "127.0.0.1:0", "--http", str(tmp_path / "http")], work) == []


def test_control_library(tmp_path: Path) -> None:
    """A cartridge comes into a library and leaves it through its door; a drive of the library unloads by hand, but
    the library alone moves its cartridges."""
    curl, library, ports = Curl(tmp_path / "http"), tmp_path / "library", "/targets/0/units/0/ports"

    def work(served: Serving) -> None:
        with connect(served.units[0].url) as session:
            attentions(session, 0)
            (library / "B00001L8").write_bytes(bytes(1 << 20))
            assert session.execute(0, PREVENT).status == 0
            assert curl.request("POST", ports, {"name": "B00001L8"})[0] == 409
            assert curl.request("POST", f"{ports}?force=true", {"name": "B00001L8"})[:2] == (204, None)
            assert attentions(session, 0) == [PORT_ACCESSED]
            assert curl.request("GET", ports)[1] == {"ports": [{"element": 16, "name": "B00001L8"}]}
            assert curl.request("POST", f"{ports}?force=true", {"name": "B00001L8"})[1]["detail"] == (
                "B00001L8 is in the library already"
            )
            assert attentions(session, 0) == [PORT_ACCESSED]
            assert session.execute(0, MOVE_TO_DRIVE).status == 0
            medium, until = "/targets/0/units/1/medium", time.monotonic() + SECONDS
            while not curl.request("GET", medium)[1]["ready"]:
                assert time.monotonic() < until
            assert curl.request("DELETE", medium)[1]["name"] == "B00001L8"
            assert "library at LUN 0" in curl.request("PUT", medium, {"name": "A00001L8"})[1]["detail"]
            assert session.execute(0, MOVE_BACK).status == 0
            assert curl.request("DELETE", f"{ports}/B00001L8?force=true")[:2] == (204, None)
            assert curl.request("DELETE", f"{ports}/B00001L8?force=true")[0] == 404
            assert curl.request("GET", ports)[1] == {"ports": [{"element": 16, "name": None}]}

    words = ["--library", f"{library},create=1,capacity=1M,drives=1,ports=1", "--listen", "127.0.0.1:0"]
    assert serving([*words, "--http", str(tmp_path / "http")], work) == []


def test_control_refusals(tmp_path: Path) -> None:
    """What cannot be done is refused in one sentence, that of the command line where it has one; nothing is changed."""
    curl, image = Curl(tmp_path / "http"), tmp_path / "image"
    image.write_bytes(bytes(1 << 20))
    units, unit = "/targets/0/units", "/targets/0/units/0"
    cases = [
        ("POST", units, {"unit": "disk", "value": "1M", "lun": 0}, 409, "LUN 0 is in use"),
        ("POST", units, {"unit": "disk", "value": "1M", "lun": 16384}, 400, "16383"),
        ("POST", units, {"unit": "disk", "value": "1M", "lun": -1}, 400, "16383"),
        ("POST", units, {"unit": "disk"}, 400, "value is missing"),
        ("POST", units, {"unit": "listen", "value": "1M"}, 400, "there is no unit 'listen'"),
        ("POST", units, {"unit": "disk", "value": "1M,nonsense"}, 400, "--disk 1M,nonsense: "),
        ("POST", units, {"unit": "disk", "value": "/no/such"}, 400, "does not exist"),
        ("POST", units, {"unit": "disk", "value": str(image)}, 400, str(image)),
        ("POST", units, {"unit": "disk", "value": "1M,block=500"}, 400, "block"),
        ("POST", units, {"unit": "library", "value": f"{tmp_path}/lib,create=1"}, 400, "one at a time"),
        ("POST", "/targets/9/units", {"unit": "disk", "value": "1M"}, 404, "no such target"),
        ("DELETE", "/targets/0/units/9", None, 404, "no such unit"),
        ("DELETE", "/targets/0/units/c101000000000000", None, 409, "well-known"),
        ("PATCH", "/targets/0/units/9", {"size": "1M"}, 404, "no such unit"),
        ("PATCH", unit, {}, 400, "one of size"),
        ("PATCH", unit, {"size": "1M", "write_protected": True}, 400, "one of size"),
        ("PATCH", unit, {"write_protected": 1}, 400, "write_protected is to be true or false"),
        ("PATCH", "/targets/0/units/c101000000000000", {"write_protected": True}, 409, "no medium"),
        ("GET", "/targets/0/units/c101000000000000/medium", None, 404, "no medium"),
        ("PUT", "/targets/0/units/c101000000000000/medium", {}, 404, "no medium"),
        ("PUT", f"{unit}/medium", {}, 409, "cannot be removed"),
        ("DELETE", f"{unit}/medium", None, 409, "cannot be removed"),
        ("DELETE", f"{unit}/medium?force=yes", None, 400, "force=true"),
        ("GET", f"{unit}/ports", None, 404, "no import/export"),
        ("POST", f"{unit}/ports", {"name": "x"}, 404, "no import/export"),
        ("POST", f"{unit}/ports", {}, 400, "name is missing"),
        ("DELETE", f"{unit}/ports/x", None, 404, "no import/export"),
        ("PATCH", unit, {"size": 5}, 400, "size is to be a text"),
        ("PATCH", unit, {"size": "big"}, 400, "big"),
        ("PATCH", unit, {"size": "0"}, 400, "whole blocks of 512"),
        ("PATCH", unit, {"size": "1000"}, 400, "whole blocks of 512"),
        ("PATCH", unit, {"size": "99999E"}, 400, "whole blocks of 512"),
        ("PATCH", "/targets/0/units/1", {"size": "2M"}, 409, "no size"),
        ("PATCH", "/targets/0/units/2", {"size": "2M"}, 409, "protection information"),
        ("PATCH", "/targets/0/units/3", {"size": "2M"}, 409, "cannot be made longer"),
        ("PATCH", "/targets/0/units/4", {"size": "2M"}, 409, "its store failed"),
    ]

    def work(served: Serving) -> None:
        before = [each["lun"] for each in curl.request("GET", units)[1]["units"]]
        for method, path, content, status, why in cases:
            found = curl.request(method, path, content)
            assert (found[0], found[1]["status"]) == (status, status), (method, path, content, found)
            assert why in found[1]["detail"], found
            assert "\n" not in found[1]["detail"]
        assert [each["lun"] for each in curl.request("GET", units)[1]["units"]] == before
        for lun in (0, 2, 3, 4):
            assert int.from_bytes(base64.b64decode(
                curl.execute(lun, READ_CAPACITY)["data_in"]["base64"]
            )[:4], "big") == 2047

    reports = serving([
        "--disk", "1M", "--tape", "1M", "--disk", "1M,pi=1", "--disk", f"{image},cow={tmp_path}/over",
        "--disk", "1M,faulty=fail resize", "--http", str(tmp_path / "http"),
    ], work)
    assert len(reports) == 1
    assert "LUN 4" in reports[0]


def test_control_at_the_same_time(tmp_path: Path) -> None:
    """Many clients at once: each gets a LUN of its own, and of two that want the same one gets it."""
    curl = Curl(tmp_path / "http")
    luns: list[int] = []
    statuses: list[int] = []

    def add() -> None:
        luns.append(curl.add("disk", "1M"))
        content = {"unit": "disk", "value": "1M", "lun": 100}
        statuses.append(curl.request("POST", "/targets/0/units", content)[0])

    def work(served: Serving) -> None:
        threads = [threading.Thread(target=add) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(SECONDS)

    assert serving(["--disk", "1M", "--http", str(tmp_path / "http")], work) == []
    assert sorted(luns) == list(range(1, 9))
    assert sorted(statuses) == [201] + [409] * 7


def test_control_end_while_a_unit_leaves(tmp_path: Path) -> None:
    """A store that never answers holds up the removal of its unit, not the end of the server."""
    curl = Curl(tmp_path / "http")

    sent: list[socket.socket] = []

    def work(served: Serving) -> None:
        curl.add("disk", "1M,faulty=delay read seconds=1000")
        curl.execute(1, TEST_UNIT_READY)
        until = time.monotonic() + SECONDS
        sent.append(curl.begin("POST", f"/targets/0/units/1/commands?cdb={READ_ONE.hex()}"))
        while curl.request("GET", "/targets/0/units/1")[1]["statistics"]["pending"] == 0:
            assert time.monotonic() < until
        sent.append(curl.begin("DELETE", "/targets/0/units/1"))
        while curl.request("GET", "/targets/0/units/1")[0] != 404:
            assert time.monotonic() < until

    begun = time.monotonic()
    assert serving(["--disk", "1M", "--http", str(tmp_path / "http")], work) == []
    assert time.monotonic() - begun < SECONDS
    for sock in sent:
        sock.close()


def test_control_of_the_program(tmp_path: Path) -> None:
    """The program itself: a disk is added to it, written, and is in its file when the program has ended."""
    curl, image = Curl(tmp_path / "http"), tmp_path / "image"
    command = [*PROGRAM, "serve", "--disk", "64M", "--http", str(tmp_path / "http"), "--exit-with-parent"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0)
    try:
        assert process.stdout is not None
        assert select.select([process.stdout], [], [], SECONDS)[0], "no line"
        process.stdout.readline()
        assert curl.add("disk", f"{image},size=1M", lun=5) == 5
        written = curl.execute(5, WRITE_ONE, data_out=base64.b64encode(BLOCK).decode())
        process.terminate()
        _, err = process.communicate(timeout=SECONDS)
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()

    assert written["status_name"] == "GOOD"
    assert (process.returncode, err) == (0, b"")
    assert image.read_bytes()[:512] == BLOCK

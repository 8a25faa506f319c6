"""`scsiemu osd` against `scsiemu serve --osd`: objects outlive the server, and Wireshark reads every command."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from scsiemu.app.main import main
from scsiemu.testing.served import IscsiTarget

SECONDS = 60
PUT_KIB = 100 << 10                 # the most that `put` takes, whatever it puts


def osd(*words: str, code: int = 0) -> str:
    """`scsiemu osd`, to its end; what it printed."""
    command = [sys.executable, "-m", "scsiemu.app", "osd", *words]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert ended.returncode == code, ended.stderr
    return ended.stdout


@pytest.mark.parametrize("version", [[], ["--osd1"]], ids=["osd2", "osd1"])
def test_osd_objects_outlive_server(version: list[str], tmp_path: Path) -> None:
    """Put, attributes, list, kill, get: what was answered is there after the server was killed."""
    data = bytes(range(256)) * 8000
    (tmp_path / "in").write_bytes(data)
    killed = IscsiTarget("--osd", str(tmp_path / "osd"))
    try:
        url = killed.url
        osd("format", url, *version)
        pid = osd("mkpart", url, *version).strip()
        oid = osd("put", url, pid, str(tmp_path / "in"), *version).strip()
        osd("attr", url, pid, oid, "0x10001", "1", "c0ffee", *version)
    finally:
        killed.process.kill()
        killed.process.communicate()
    with IscsiTarget("--osd", str(tmp_path / "osd")) as served:
        url = served.url

        assert osd("ls", url, *version) == f"{pid}\n"
        assert json.loads(osd("ls", url, pid, "--json", *version)) == {"ids": [oid]}
        assert osd("attr", url, pid, oid, "0x10001", "1", *version) == "c0ffee\n"
        osd("get", url, pid, oid, str(tmp_path / "out"), *version)
        assert (tmp_path / "out").read_bytes() == data
        osd("rm", url, pid, code=4)
        osd("rm", url, pid, oid, *version)
        osd("rm", url, pid, *version)
        assert osd("ls", url, *version) == ""


def test_osd_collections_and_snapshots(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Collections are queried, a snapshot gives back what was removed; everything is there as JSON, too."""

    def osd(*words: str, code: int = 0) -> str:
        assert main(["osd", *words]) == code
        return capsys.readouterr().out

    with IscsiTarget("--osd", str(tmp_path / "osd")) as served:
        url = served.url
        pid = osd("mkpart", url).strip()
        oids = []
        for size in (1, 2, 3):
            (tmp_path / "in").write_bytes(bytes(size))
            oids.append(osd("put", url, pid, str(tmp_path / "in")).strip())
        cid = osd("mkcoll", url, pid).strip()
        osd("join", url, pid, cid, *oids[1:])
        osd("attr", url, pid, oids[0], "0x10001", "1", "05")
        osd("attr", url, pid, oids[1], "0x10001", "1", "05")
        osd("attr", url, pid, oids[2], "0x10001", "1", "07")

        assert osd("ls", url, pid, cid).split() == oids[1:]
        assert osd("ls", url, pid, "0").split() == [cid]
        assert osd("query", url, pid, cid, "0x10001", "1", "04", "06").split() == [oids[1]]
        assert osd("query", url, pid, cid, "0x10001", "1", "06").split() == [oids[2]]
        assert json.loads(osd("query", url, pid, cid, "1", "0x82", "--json")) == {"ids": oids[1:]}
        assert {"page": "0x10001", "number": "0x1", "value": "05"} in json.loads(
            osd("attr", url, pid, oids[0], "--json")
        )["attributes"]
        for words in (["0x10001"], ["0x10001", "0xffffffff"], ["0xffffffff", "1"]):
            assert "0x10001 0x1 05" in osd("attr", url, pid, oids[0], *words).splitlines()
        assert osd("attr", url, pid, oids[0], "0x10001") == "0x10001 0x1 05\n"
        assert osd("attr", url, pid, oids[0], "0x10002", "0xffffffff") == ""

        snapshot = osd("snapshot", url, pid).strip()
        osd("rm", url, pid, oids[0])
        osd("rm", url, pid, cid, code=4)            # it has members
        assert osd("ls", url, pid).split() == oids[1:]
        osd("put", url, snapshot, str(tmp_path / "in"), code=4)
        osd("restore", url, pid, snapshot)
        assert osd("ls", url, pid).split() == oids
        osd("query", url, pid, cid, "1", "0x82", "--osd1", code=2)
        osd("attr", url, pid, oids[0], "1", "9", "no", code=2)
        osd("attr", url, pid, oids[0], "0x100000000", "1", code=2)
        osd("attr", url, pid, oids[0], "0x10001", "0x100000000", "05", code=2)
        osd("attr", url, pid, oids[0], "0x10001", "2", "05" * 65536, code=2)
        osd("query", url, pid, cid, "0x100000000", "1", code=2)
        osd("query", url, pid, cid, "0x10001", "1", "04" * 40000, "05" * 40000, code=2)

        osd("attr", url, pid, "0", "0x30000002", "1", "0000000000000002")      # the longest object
        osd("put", url, pid, str(tmp_path / "in"), code=4)
        assert osd("ls", url, pid).split() == oids                              # nothing is left of it


def test_osd_streams(tmp_path: Path) -> None:
    """What comes from a pipe goes on while it comes, and a large object does not have to fit into memory."""
    with IscsiTarget("--osd", str(tmp_path / "osd")) as served:
        pid = osd("mkpart", served.url).strip()
        command = [sys.executable, "-m", "scsiemu.app", "osd", "put", served.url, pid, "-", "--json"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=False) as putting:
            assert putting.stdin is not None
            assert putting.stdout is not None
            for turn in range(150):
                putting.stdin.write(bytes((turn,)) * (1 << 20))
            _, peak = Path(f"/proc/{putting.pid}/status").read_text().split("VmHWM:")
            putting.stdin.close()
            told = json.loads(putting.stdout.read())
        assert int(peak.split()[0]) < PUT_KIB
        assert told["length"] == 150 << 20
        osd("get", served.url, pid, told["id"], str(tmp_path / "out"))
        data = (tmp_path / "out").read_bytes()
        assert [data[at << 20] for at in range(150)] == list(range(150))
        assert len(data) == 150 << 20


def test_osd_get_cannot_write(tmp_path: Path) -> None:
    """A place without room is exit code 3 and named; a reader that has gone is none of our errors."""
    (tmp_path / "in").write_bytes(bytes(3 << 20))
    with IscsiTarget("--osd", ":memory:") as served:
        pid = osd("mkpart", served.url).strip()
        oid = osd("put", served.url, pid, str(tmp_path / "in")).strip()
        words = [sys.executable, "-m", "scsiemu.app", "osd", "get", served.url, pid, oid]

        def get(*more: str, stdout: int) -> tuple[int, str]:
            ended = subprocess.run(
                [*words, *more], stdout=stdout, stderr=subprocess.PIPE, text=True, timeout=SECONDS, check=False
            )
            return ended.returncode, ended.stderr

        with Path("/dev/full").open("wb") as full:
            told = get(stdout=full.fileno())
        assert told == (3, "scsiemu: osd get: stdout cannot be written: No space left on device\n")
        told = get("/dev/full", stdout=subprocess.DEVNULL)
        assert told == (3, "scsiemu: osd get: /dev/full cannot be written: No space left on device\n")
        reading, writing = os.pipe()
        os.close(reading)
        try:
            assert get(stdout=writing) == (0, "")
        finally:
            os.close(writing)


def test_osd_wrong_use() -> None:
    """Wrong words are exit code 2, no connection is 5."""
    osd("put", "iscsi://127.0.0.1:1/iqn.2026-11.example:a/0", code=2)
    osd("ls", "iscsi://127.0.0.1:1/iqn.2026-11.example:a/0", code=5)


@pytest.mark.oracle
@pytest.mark.parametrize("version", [[], ["--osd1"]], ids=["osd2", "osd1"])
def test_osd_wireshark(version: list[str], tmp_path: Path, require_tool: Callable[[str], str]) -> None:
    """Wireshark finds our service actions, ids and attributes where we put them, and nothing malformed."""

    def osd(*words: str) -> None:
        assert main(["osd", *words]) == 0

    tool = require_tool("tshark")
    if os.geteuid() != 0:
        pytest.skip("capturing on the loopback interface needs root")
    (tmp_path / "in").write_bytes(b"hello")
    capture = tmp_path / "capture.pcapng"
    with IscsiTarget("--osd", ":memory:") as served:
        port = served.portal.rpartition(":")[2]
        watcher = subprocess.Popen(
            [tool, "-q", "-i", "lo", "-f", f"tcp port {port}", "-w", str(capture)], stderr=subprocess.PIPE, text=True
        )
        try:
            assert watcher.stderr is not None
            for line in watcher.stderr:
                if "Capturing on" in line:
                    break
            time.sleep(1)
            osd("mkpart", served.url, "0x12345", *version)
            osd("put", served.url, "0x12345", str(tmp_path / "in"), "0x23456", *version)
            osd("attr", served.url, "0x12345", "0x23456", "0x10001", "7", "c0ffee", *version)
            osd("attr", served.url, "0x12345", "0x23456", "0x10001", "7", *version)
            osd("ls", served.url, "0x12345", *version)
            osd("mkcoll", served.url, "0x12345", "0x34567", *version)
            osd("join", served.url, "0x12345", "0x34567", "0x23456", *version)
            osd("ls", served.url, "0x12345", "0x34567", *version)
            if not version:
                osd("query", served.url, "0x12345", "0x34567", "0x10001", "7", "c0ff", "c1")
                osd("snapshot", served.url, "0x12345", "0x45678")
            osd("rm", served.url, "0x12345", "0x23456", *version)
            time.sleep(1)
        finally:
            watcher.terminate()
            watcher.wait(30)

    def fields(display: str, *names: str) -> list[list[str]]:
        kind = "scsi.decode_scsi_messages_as:Object Based Storage Device"       # no INQUIRY goes by
        command = [tool, "-r", str(capture), "-o", kind, "-d", f"tcp.port=={port},iscsi", "-Y", display, "-T", "fields"]
        for name in names:
            command += ["-e", name]
        output = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=True).stdout
        return [line.split("\t") for line in output.splitlines()]

    def sent(field: str) -> list[int]:
        found = fields(f"iscsi.opcode == 1 && {field}", field)
        return [int(word, 16) for (words,) in found for word in words.split(",")]

    base = 0x8800 if version else 0x8880
    found = fields("iscsi.opcode == 1 && scsi_osd.svcaction", "scsi_osd.svcaction")
    actions = [int(words.partition(",")[0], 0) - base for (words,) in found]
    new = [] if version else [0x20, 0x29]
    assert actions == [0x0B, 0x02, 0x06, 0x0F, 0x0E, 0x03, 0x15, 0x0E, 0x0F, 0x17, *new, 0x0E, 0x0A]
    assert set(sent("scsi_osd.partition_id")) == set(sent("scsi_osd.requested_partition_id")) == {0x12345}
    assert {0x23456} == set(sent("scsi_osd.user_object_id"))
    requested = sent("scsi_osd.requested_collection_object_id")
    assert {0x34567} == {*sent("scsi_osd.collection_object_id"), *requested}
    if not version:
        names = ("page", "number", "min_length", "max_length")
        entry = fields("scsi_osd2.query.type", *(f"scsi_osd2.query.entry.{name}" for name in names))
        assert [[int(word, 0) for word in row] for row in entry] == [[0x10001, 7, 2, 1]]
    # Set, asked for, answered: the lists in Data-Out and Data-In.
    lists = fields("scsi_osd.attribute.number == 7", "scsi_osd.attributes.page", "scsi_osd.attribute.length")
    assert lists[:3] == [["0x00010001", "3"], ["0x00010001", ""], ["0x00010001", "3"]]
    # A repeated segment of TCP, on a machine that is slow, is no data of ours.
    assert fields("_ws.malformed && !tcp.analysis.flags", "frame.number", "_ws.col.Info") == []
    wrong = (
        "scsi_osd.attributes_list.type.invalid", "scsi_osd.attribute_length.invalid", "scsi_osd2.invalid_offset",
        "scsi_osd2.object_descriptor_format.invalid", "scsi_osd2.cdb_continuation.format.unknown",
        "scsi_osd2.cdb_continuation.sa.mismatch", "scsi_osd2.cdb_continuation.desc.type.unknown",
        "scsi_osd2.cdb_continuation.desc.length.invalid", "scsi_osd2.cdb_continuation.length.invalid",
    )
    assert fields(" || ".join(wrong), "frame.number", "_ws.expert.message") == []


def test_osd_document(tmp_path: Path) -> None:
    """The commands of docs/osd.md do what they say."""
    document = Path(__file__).parents[2] / "docs" / "osd.md"
    (code,) = re.findall(r"^```sh\n(.*?)^```", document.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    (tmp_path / "scsiemu").write_text(f'#!/bin/sh\nexec {sys.executable} -m scsiemu.app "$@"\n')
    (tmp_path / "scsiemu").chmod(0o700)
    path = f"{tmp_path}:{os.environ['PATH']}"
    script = ["sh", "-eu", "-c", code]
    ended = subprocess.run(
        script, cwd=tmp_path, env={**os.environ, "PATH": path}, capture_output=True, text=True, timeout=SECONDS,
        check=False,
    )

    told = ["0x10000"] * 3 + ["68656c6c6f", "0x20000", "0x10000", "0x10001", "hello"]
    assert (ended.returncode, ended.stdout.split("\n")[:-1]) == (0, told), ended.stderr

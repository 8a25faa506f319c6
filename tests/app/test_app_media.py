"""`scsiemu media`: create, list, check, convert."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from scsiemu.app.main import main
from scsiemu.testing.served import ScsiTarget


def told(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> Any:
    """What it says as JSON."""
    assert main(["media", *words, "--json"]) == code
    return json.loads(capsys.readouterr().out)


@pytest.fixture(autouse=True)
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a folder of its own."""
    monkeypatch.chdir(tmp_path)


def test_media_create_cartridge(capsys: pytest.CaptureFixture[str]) -> None:
    """A blank cartridge is what its options say, and a drive takes it."""
    (made,) = told(
        capsys, "create", "W00001LT", "-o", "size=2M", "-o", "worm", "-o", "partitions=1:3", "-o", "protected"
    )["media"]

    assert made["format"] == "tape"
    assert (made["cartridge"], made["barcode"], made["capacity"]) == ("worm", "W00001LT", 2 << 20)
    assert (made["write_protected"], len(made["partitions"])) == (True, 2)
    with ScsiTarget("--tape", "W00001LT") as target:
        assert target.initiator.command("TEST UNIT READY").good
        assert not target.initiator.command("WRITE FILEMARKS(6)", filemark_count=1).good


def test_media_create_counted_for_library(capsys: pytest.CaptureFixture[str]) -> None:
    """Cartridges of a library's folder, named by counting up; the library has them in its slots."""
    Path("lib").mkdir()
    made = told(capsys, "create", "lib/A00009L8", "--count", "3", "-o", "size=1M")["media"]

    assert [each["barcode"] for each in made] == ["A00009L8", "A00010L8", "A00011L8"]
    assert [each["path"] for each in told(capsys, "list", "lib")["media"]] == [each["path"] for each in made]
    with ScsiTarget("--library", "lib,slots=4,drives=1") as target:
        move = {"source_address": 0x1001, "destination_address": 0x100}
        assert target.initiator.command("MOVE MEDIUM", **move).good


def write_tape(path: str) -> None:
    """Three blocks and two filemarks on a cartridge in a file."""
    with ScsiTarget("--tape", path) as target:
        for data in (b"one", b"two" * 1000, None, b"three", None):
            if data is None:
                result = target.initiator.command("WRITE FILEMARKS(6)", filemark_count=1)
            else:
                result = target.initiator.command("WRITE(6)", transfer_length=len(data), data_out=data)
            assert result.good


def test_media_convert_there_and_back(capsys: pytest.CaptureFixture[str]) -> None:
    """A cartridge becomes an image of SIMH, of AWS, of Hercules, and a cartridge again: nothing is lost."""
    told(capsys, "create", "A1", "-o", "size=1M")
    write_tape("A1")
    before = "A1"
    for name in ("b.tap", "c.aws", "d.het", "E1", "f.tap"):
        done = told(capsys, "convert", before, name)
        assert done["copied"] == {"blocks": 3, "filemarks": 2, "bytes": 3008}
        before = name

    assert Path("b.tap").read_bytes() == Path("f.tap").read_bytes()
    with ScsiTarget("--tape", "E1") as target:
        assert target.initiator.command("READ(6)", transfer_length=3, data_in=3).data == b"one"


def test_media_check(capsys: pytest.CaptureFixture[str]) -> None:
    """All of a medium is read; damage is exit code 6, and says where it is."""
    Path("a.tap").write_bytes(b"\3\0\0\0one\0\3\0\0\0" + bytes(4) + b"\5\0\0\0three\0\5\0\0\0" + bytes(4))
    told(capsys, "convert", "a.tap", "A1", "-o", "size=1M")
    assert told(capsys, "check", "A1")["media"][0]["good"]
    whole = Path("A1").read_bytes()
    Path("A1").write_bytes(whole.replace(b"three", b"THREE"))
    (checked,) = told(capsys, "check", "A1", code=6)["media"]

    assert not checked["good"]
    assert "object 2" in checked["damages"][0]
    assert (checked["read"]["blocks"], checked["read"]["filemarks"]) == (1, 2)


def test_media_convert_keeps_going(capsys: pytest.CaptureFixture[str]) -> None:
    """Damage ends a conversion and leaves nothing behind, unless it is to be left out."""
    bad = b"\2\0\0\x80ab\2\0\0\x80"
    Path("bad.tap").write_bytes(bad + b"\2\0\0\0ok\2\0\0\0")
    assert main(["media", "convert", "bad.tap", "A1"]) == 6
    assert "keep-going" in capsys.readouterr().err
    assert sorted(os.listdir()) == ["bad.tap"]

    done = told(capsys, "convert", "bad.tap", "A1", "--keep-going", "-o", "size=1M")
    assert done["copied"]["blocks"] == 1
    assert "error" in done["left_out"][0]


def test_media_list_of_folder_with_others(capsys: pytest.CaptureFixture[str]) -> None:
    """In a folder what is no medium is a line of its own; named alone it is an error."""
    Path("lib").mkdir()
    told(capsys, "create", "lib/A1", "-o", "size=1M")
    Path("lib/notes").write_text("no medium")

    found = told(capsys, "list", "lib")["media"]
    assert [each.get("format") for each in found] == ["tape", None]
    assert "no format" in found[1]["problem"]
    assert main(["media", "list", "lib/notes"]) == 3


@pytest.mark.parametrize(("words", "code", "why"), [
    (["list", "nowhere"], 3, "cannot be read"),
    (["list"], 2, "name a medium"),
    (["create"], 2, "name the new medium"),
    (["create", "there"], 3, "--force"),
    (["create", "x", "--as", "zip"], 2, "no format 'zip'"),
    (["create", "x", "-o", "colour=red"], 2, "no option 'colour'"),
    (["create", "x", "-o", "size=1"], 2, "too few"),
    (["create", "x", "-o", "worm", "-o", "cleaning"], 2, "not WORM"),
    (["create", "x", "--as", "aws"], 2, "no blank media"),
    (["create", "x", "--as", "mhvtl"], 2, "only be read"),
    (["create", "none/x"], 3, "none"),
    (["create", "plain", "--count", "3"], 2, "no number to count up"),
    (["create", "A98", "--count", "3"], 2, "do not fit"),
    (["convert", "there"], 2, "FROM TO"),
    (["convert", "there", "there"], 2, "onto itself"),
    (["convert", "junk.tap", "y"], 6, "no record length"),
    (["convert", "empty", "y", "--from", "simh"], 3, "is empty"),
    (["frobnicate"], 2, "invalid choice"),
])
def test_media_errors(capsys: pytest.CaptureFixture[str], words: list[str], code: int, why: str) -> None:
    """Each error is one sentence, its exit code, and nothing left behind."""
    assert main(["media", "create", "there", "-o", "size=1M"]) == 0
    Path("junk.tap").write_bytes(b"\xde\xad\xbe\xef" * 4)
    Path("empty").touch()
    capsys.readouterr()

    assert main(["media", *words]) == code
    said = capsys.readouterr().err
    assert why in said
    assert said.count("\n") == 1
    assert sorted(os.listdir()) == ["empty", "junk.tap", "there"]


def test_media_create_force(capsys: pytest.CaptureFixture[str]) -> None:
    """With --force what is there is replaced."""
    told(capsys, "create", "A1", "-o", "size=1M")
    assert told(capsys, "create", "A1", "-o", "size=2M", "--force")["media"][0]["capacity"] == 2 << 20


def test_media_in_use(capsys: pytest.CaptureFixture[str]) -> None:
    """A cartridge that a server has is not touched."""
    told(capsys, "create", "A1", "-o", "size=1M")
    with ScsiTarget("--tape", "A1"):
        assert main(["media", "check", "A1"]) == 6
        assert main(["media", "list", "A1"]) == 3
    assert "in use" in capsys.readouterr().err


def test_media_formats(capsys: pytest.CaptureFixture[str]) -> None:
    """All formats, with their options."""
    found = told(capsys, "formats")["formats"]

    assert {"tape", "simh", "aws", "het", "tgt", "mhvtl"} <= set(found)
    assert found["tape"]["writes"]
    assert not found["tgt"]["writes"]
    assert main(["media", "formats"]) == 0
    assert "-o size=SIZE" in capsys.readouterr().out


def test_media_progress_on_a_terminal() -> None:
    """A bar on a terminal, and nothing of it on stdout."""
    with open("big.tap", "wb") as file:
        for _ in range(64):
            file.write((1 << 20).to_bytes(4, "little") + os.urandom(1 << 20) + (1 << 20).to_bytes(4, "little"))
    ours, theirs = pty.openpty()
    try:
        done = subprocess.run(
            [sys.executable, "-m", "scsiemu.app", "media", "convert", "big.tap", "A1", "--json"],
            stdout=subprocess.PIPE, stderr=theirs, timeout=60, check=True,
        )
        shown = os.read(ours, 1 << 16)
    finally:
        os.close(ours)
        os.close(theirs)

    assert json.loads(done.stdout)["copied"]["blocks"] == 64
    # How often it is drawn is the clock's; the first time is at once.
    assert re.search(rb"\rbig\.tap \[#*\.*\] +[0-9]+% [0-9]+ MiB/s", shown)

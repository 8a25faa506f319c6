"""`scsiemu media` with discs: blanks, conversions, folders."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from devtypes.vmmc.profiles import KINDS, Recording
from scsiemu.app.main import main
from scsiemu.testing.served import ScsiTarget

BLANKS = [name for name, kind in KINDS.items() if not kind.pressed]


def told(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> Any:
    """What it says as JSON."""
    assert main(["media", *words, "--json"]) == code
    return json.loads(capsys.readouterr().out)


@pytest.fixture(autouse=True)
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a folder of its own, with an image of 40 sectors."""
    monkeypatch.chdir(tmp_path)
    sectors = [bytes((number,)) * 2048 for number in range(1, 41)]
    sectors[16] = b"\1CD001\1".ljust(2048, b"\0")
    Path("d.iso").write_bytes(b"".join(sectors))


@pytest.mark.parametrize("kind", BLANKS)
def test_media_blank_disc(capsys: pytest.CaptureFixture[str], kind: str) -> None:
    """A blank disc of each kind, which takes no room and which a drive knows."""
    (made,) = told(capsys, "create", "b.disc", "-o", f"kind={kind}")["media"]

    assert made["disc"] == kind
    assert Path("b.disc").stat().st_blocks * 512 < 1 << 21
    with ScsiTarget("--optical", "b.disc") as target:
        data = target.initiator.command("GET CONFIGURATION", rt=2, allocation_length=8, data_in=8).data
    assert int.from_bytes(data[6:8], "big") == KINDS[kind].profile


@pytest.mark.parametrize("kind", [*BLANKS, ""])
def test_media_iso_to_disc_and_back(capsys: pytest.CaptureFixture[str], kind: str) -> None:
    """An ISO image on a disc of each kind is read by the drive, and comes back as it was, zeros behind it."""
    told(capsys, "convert", "d.iso", "c.disc", *(("-o", f"kind={kind}") if kind else ()))
    image = Path("d.iso").read_bytes()
    with ScsiTarget("--optical", "c.disc") as target:
        read = target.initiator.command("READ(10)", transfer_length=40, data_in=40 * 2048)
    assert read.data == image

    if KINDS[kind or "cd-r"].recording == Recording.OVERWRITE:
        return      # all of it is converted: too many zeros to be read here
    told(capsys, "convert", "c.disc", "e.iso")
    with open("e.iso", "rb") as file:
        assert file.read(len(image)) == image
        assert not any(file.read(1 << 20))


def test_media_disc_too_small(capsys: pytest.CaptureFixture[str]) -> None:
    """What does not fit is one sentence, and nothing is left behind."""
    with open("large.iso", "wb") as file:
        file.truncate(800 << 20)
    assert main(["media", "convert", "large.iso", "c.disc", "-o", "kind=cd-r"]) == 3

    assert "do not fit onto a CD-R" in capsys.readouterr().err
    assert not list(Path().glob("*c.disc*"))


def test_media_tape_is_no_disc(capsys: pytest.CaptureFixture[str]) -> None:
    """A disc does not become a tape."""
    assert main(["media", "convert", "d.iso", "A1"]) == 3
    assert "format of tapes" in capsys.readouterr().err


@pytest.mark.oracle
def test_media_folder_becomes_iso(capsys: pytest.CaptureFixture[str], require_tool: Callable[[str], str]) -> None:
    """xorriso finds the files of a folder in the image that it became; links are left out."""
    pytest.importorskip("pycdlib", reason="the extra iso is not installed: it is what is tested")
    xorriso = require_tool("xorriso")
    Path("src/sub").mkdir(parents=True)
    Path("src/A long name.text").write_text("hello\n")
    Path("src/sub/same name 1.c").write_text("one\n")
    Path("src/sub/same name 2.c").write_text("two\n")
    Path("src/link").symlink_to("/etc/passwd")
    told(capsys, "convert", "src", "f.iso")
    found = subprocess.run(
        [xorriso, "-indev", "f.iso", "-find", "/", "-type", "f"], capture_output=True, text=True, timeout=60, check=True
    ).stdout.splitlines()
    subprocess.run(
        [xorriso, "-osirrox", "on", "-indev", "f.iso", "-extract", "/", "out"], capture_output=True, timeout=60,
        check=True,
    )

    assert sorted(found) == ["'/A long name.text'", "'/sub/same name 1.c'", "'/sub/same name 2.c'"]
    assert Path("out/sub/same name 2.c").read_text() == "two\n"
    assert told(capsys, "convert", "src", "f.disc")["from_format"] == "iso"

"""A folder as an ISO image: what `pycdlib` reads of it again, and what is left out or refused."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pycdlib
import pytest

from iohandlers.iso_folder import open_store
from scsiemu.io_requests import Read
from scsiemu.testing.io_handler_kit import check_read_only_io_handler, perform


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Files of several lengths and names, a folder in a folder, and what is no file."""
    top = tmp_path / "My disc"
    (top / "below" / "deeper").mkdir(parents=True)
    for name, content in {
        "empty": b"", "a long name, with a comma.text": b"long " * 999, "below/block": b"b" * 2048,
        "below/deeper/naïve.txt": "naïve".encode(), "Case.txt": b"one", "case.txt": b"two",
    }.items():
        (top / name).write_bytes(content)
    (top / "link").symlink_to("/etc/passwd")
    (top / "away").symlink_to("/etc", target_is_directory=True)
    os.mkfifo(top / "pipe")
    return top


def image_of(path: Path, **options: str) -> bytes:
    """The whole store of a folder."""
    store = open_store(path=path, **options)
    try:
        return bytes(perform(store, Read(0, store.capabilities.size)))
    finally:
        store.close()


def files_of(image: bytes, facade: str) -> dict[str, bytes]:
    """Every file of an image by its path, as Rock Ridge or Joliet names it."""
    disc = pycdlib.PyCdlib()
    disc.open_fp(io.BytesIO(image))
    found = {}
    for where, _, names in disc.walk(**{f"{facade}_path": "/"}):
        for name in names:
            path = f"{where.rstrip('/')}/{name}"
            data = io.BytesIO()
            disc.get_file_from_iso_fp(data, **{f"{facade}_path": path})
            found[path.removeprefix("/")] = data.getvalue()
    disc.close()
    return found


def test_check_read_only_io_handler(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The conformance kit. An image has the time at which it was made: that stands still."""
    monkeypatch.setattr("time.time", lambda: 1.7e9)

    check_read_only_io_handler(lambda: open_store(path=folder), image_of(folder))


@pytest.mark.parametrize("facade", ["rr", "joliet"])
def test_store_iso_folder_files(folder: Path, facade: str) -> None:
    """Regular files are there under their own names, with what is in them; links and pipes are not."""
    expected = {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*") if path.is_file() and not path.is_symlink()
    }

    assert files_of(image_of(folder), facade) == expected


def test_store_iso_folder_label(folder: Path) -> None:
    """The volume is named as asked for, else as the folder, in letters that ECMA-119 has for it."""
    assert image_of(folder)[16 * 2048 + 40 :][:32] == b"MY_DISC".ljust(32)
    assert image_of(folder, label="back-up 7")[16 * 2048 + 40 :][:32] == b"BACK_UP_7".ljust(32)


@pytest.mark.parametrize(("options", "message"), [
    ({}, "path"), ({"path": ""}, "path"), ({"path": "absent"}, "not a folder"), ({"path": "file"}, "not a folder"),
    ({"path": ".", "speed": 1}, "speed"),
])
def test_store_iso_folder_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, object], message: str
) -> None:
    """One sentence that says what is wrong."""
    (tmp_path / "file").write_bytes(b"x")
    monkeypatch.chdir(tmp_path)

    with pytest.raises((ValueError, OSError), match=message):
        open_store(**options)

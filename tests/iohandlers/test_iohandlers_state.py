"""The state store."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys

import pytest

from iohandlers.state import FILE_NAME, open_store
from scsiemu.errors import IoFault
from scsiemu.io_requests import PENDING, Flush, LoadState, Read, SaveState
from scsiemu.testing.io_handler_kit import collect, perform


@pytest.fixture
def folder(tmp_path):
    """Where the state goes: not there yet."""
    return tmp_path / "deep" / "state"


@pytest.fixture
def store(folder):
    """A new state store."""
    store = open_store(path=folder)
    yield store
    store.close()


def test_save_load(store):
    """What is saved is loaded, replaced whole, and forgotten by None."""
    assert perform(store, LoadState("lun0/pr")) is None
    for data in (b"first", b"", bytes(range(256)) * 1000):
        assert perform(store, SaveState("lun0/pr", data)) is None
        assert perform(store, LoadState("lun0/pr")) == data
    assert perform(store, LoadState("lun0")) is None
    assert perform(store, SaveState("lun0/pr", None)) is None
    assert perform(store, LoadState("lun0/pr")) is None


def test_load_behind_save(store):
    """A load that comes while a save is under way sees what was saved."""
    for number in range(20):
        assert store.submit(SaveState("key", bytes([number])), f"save {number}") is PENDING
    answer = store.submit(LoadState("key"), "load")
    answers = collect(store, 21)

    assert answer is PENDING
    assert answers["load"] == bytes([19])
    assert store.submit(LoadState("key"), "load") == bytes([19])


def test_save_reopen(store, folder):
    """Values outlive the store."""
    perform(store, SaveState("key", b"value"))
    store.close()
    again = open_store(path=folder)

    assert perform(again, LoadState("key")) == b"value"
    again.close()


def test_save_survives_kill(folder):
    """An answered save is there after the process was killed."""
    program = (
        "import os, select, signal, sys\n"
        "from iohandlers.state import open_store\n"
        "from scsiemu.io_requests import SaveState\n"
        "store = open_store(path=sys.argv[1])\n"
        "store.submit(SaveState('key', b'kept'), None)\n"
        "select.select([store.fileno()], [], [])\n"
        "assert [result for _, result in store.reap()] == [None]\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, folder], timeout=60, check=False)
    again = open_store(path=folder)

    assert done.returncode == -9
    assert perform(again, LoadState("key")) == b"kept"
    again.close()


def test_open_store_modes(store, folder):
    """Folder and file are for their owner only."""
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / FILE_NAME).stat().st_mode) == 0o600


def test_open_store_damaged(folder):
    """A file that is no database is refused in one sentence, and not touched."""
    folder.mkdir(parents=True)
    (folder / FILE_NAME).write_bytes(b"not a database" * 1000)
    with pytest.raises(ValueError, match="is damaged; move it away to begin anew"):
        open_store(path=folder)

    assert (folder / FILE_NAME).read_bytes() == b"not a database" * 1000


def test_open_store_damaged_inside(store, folder):
    """So is a database whose pages are overwritten."""
    for number in range(100):
        store.submit(SaveState(f"key {number}", os.urandom(3000)), number)
    collect(store, 100)
    store.close()
    with open(folder / FILE_NAME, "r+b") as file:
        file.seek(4096)
        file.write(b"\xa5" * 40_000)

    with pytest.raises(ValueError, match="is damaged"):
        open_store(path=folder)


def test_open_store_newer(folder):
    """A state of a later version is refused."""
    folder.mkdir(parents=True)
    database = sqlite3.connect(folder / FILE_NAME)
    database.execute("PRAGMA user_version=99")
    database.close()
    with pytest.raises(ValueError, match="has version 99, this program knows 1"):
        open_store(path=folder)


def test_open_store_refuses(tmp_path):
    """Missing and wrong places are refused in one sentence."""
    (tmp_path / "file").touch()
    (tmp_path / "folder" / FILE_NAME).mkdir(parents=True)
    with pytest.raises(ValueError, match="path= is missing"):
        open_store()
    with pytest.raises(ValueError, match="no option dir="):
        open_store(dir=tmp_path)
    with pytest.raises(NotADirectoryError, match="is not a folder"):
        open_store(path=tmp_path / "file")
    with pytest.raises(OSError, match="cannot be opened"):
        open_store(path=tmp_path / "folder")


def test_save_full(store):
    """A save for which there is no room fails so, and the old value stays."""
    perform(store, SaveState("key", b"old"))
    store._database.execute("PRAGMA max_page_count=4")      # no public way to fill a disk
    failure = perform(store, SaveState("key", bytes(1 << 20)))

    assert failure.fault == IoFault.NO_SPACE
    assert perform(store, LoadState("key")) == b"old"


def test_submit_others(store):
    """It answers no request of a byte store, and nothing after close."""
    for request in (Read(0, 1), Flush()):
        assert perform(store, request).fault == IoFault.UNSUPPORTED
    store.submit(SaveState("key", b"value"), "late")
    store.close()

    assert list(store.reap()) == [("late", None)]
    assert perform(store, LoadState("key")).fault == IoFault.GONE
    store.close()

"""The folder shelf."""

from __future__ import annotations

import os

import pytest

from iohandlers.folder import open_store
from scsiemu.errors import IoFailed, IoFault
from scsiemu.io_requests import PENDING, Flush, Read, Write
from scsiemu.media import ListMedia, Mount, Unmount
from scsiemu.testing.io_handler_kit import check_io_handler, perform


def ask(store, request):
    """The answer, a failure as a value."""
    try:
        return perform(store, request)
    except IoFailed as failure:
        return failure


@pytest.fixture
def shelf(tmp_path):
    """A folder with two cartridges; opens stores on it."""
    opened = []
    for name in ("A00001L8", "A00002L8"):
        (tmp_path / "lib").mkdir(exist_ok=True)
        (tmp_path / "lib" / name).write_bytes(bytes(8192))

    def make(**options):
        opened.append(open_store(path=tmp_path / "lib", **options))
        return opened[-1]

    yield make
    for store in opened:
        store.close()


def test_folder_conformance(tmp_path):
    """With a medium mounted it is a byte store as the engine wants it."""
    counter = iter(range(1000))

    def mounted(size, *, read_only=False):
        folder = tmp_path / str(next(counter))
        folder.mkdir()
        with (folder / "T").open("wb") as file:
            file.truncate(size)
        store = open_store(path=folder)
        assert ask(store, Mount("T", read_only=read_only)).size == size
        return store

    check_io_handler(mounted, read_only=lambda: mounted(1 << 20, read_only=True))


def test_list_media_regular_files_only(shelf, tmp_path):
    """Links, folders, FIFOs, hidden files and names that do not print are no media."""
    folder = tmp_path / "lib"
    (folder / "link").symlink_to(folder / "A00001L8")
    (folder / "out").symlink_to("/etc/passwd")
    (folder / "dir").mkdir()
    os.mkfifo(folder / "fifo")
    (folder / ".hidden").write_bytes(b"x")
    (folder / "new\nline").write_bytes(b"x")
    (folder / os.fsdecode(b"bad\xff")).write_bytes(b"x")

    assert ask(shelf(), ListMedia()) == ("A00001L8", "A00002L8")


@pytest.mark.parametrize("name", [
    "..", ".", "", "../lib/A00001L8", "/etc/passwd", "A00001L8\0", "link", "dir", "fifo", ".hidden", "A*",
])
def test_mount_reaches_nothing_else(shelf, tmp_path, name):
    """What is not in the listing cannot be mounted, however it is written."""
    folder = tmp_path / "lib"
    (folder / "link").symlink_to("/etc/passwd")
    (folder / "dir").mkdir()
    os.mkfifo(folder / "fifo")
    (folder / ".hidden").write_bytes(b"x")

    answer = ask(shelf(), Mount(name))
    assert isinstance(answer, IoFailed)
    assert answer.fault == IoFault.GONE


def test_mount_keeps_bytes(shelf, tmp_path):
    """What was written in one drive is in the file, and is read in another drive."""
    first, second = shelf(), shelf()
    ask(first, Mount("A00001L8"))
    ask(first, Write(100, 3, b"abc"))
    assert ask(first, Unmount()) is None

    assert (tmp_path / "lib" / "A00001L8").read_bytes()[100:103] == b"abc"
    assert ask(second, Mount("A00001L8")).size == 8192
    assert bytes(ask(second, Read(100, 3))) == b"abc"


def test_mount_in_one_drive_only(shelf):
    """A medium is in one drive, a drive has one medium; after Unmount both are free."""
    first, second = shelf(), shelf()
    ask(first, Mount("A00001L8"))

    assert isinstance(ask(second, Mount("A00001L8")), IoFailed)
    assert isinstance(ask(first, Mount("A00002L8")), IoFailed)
    ask(first, Unmount())
    assert ask(second, Mount("A00001L8")).size == 8192
    assert isinstance(ask(first, Read(0, 1)), IoFailed)
    assert ask(first, Flush()) is None


def test_mount_is_pending(shelf):
    """The loop does not wait for the folder."""
    store = shelf()

    assert store.submit(Mount("A00001L8"), object()) is PENDING
    assert isinstance(store.submit(Mount("A00002L8"), object()), IoFailed)


def test_mount_protected_file(shelf, tmp_path):
    """Mounted read-only, nothing is written."""
    store = shelf()

    assert ask(store, Mount("A00001L8", read_only=True)).read_only
    assert ask(store, Write(0, 1, b"x")).fault == IoFault.READ_ONLY
    assert ask(store, Unmount()) is None


def test_folder_is_owned_once(shelf):
    """A second server does not get a folder that one has; drives of the first do."""
    shelf(own=True)
    shelf()

    with pytest.raises(OSError, match="in use by another server"):
        shelf(own=True)


def test_folder_filled_when_empty(tmp_path):
    """Blank media are made in a folder without any, and never again."""
    names = ("B1", "B2")
    open_store(path=tmp_path / "new", own=True, blank=names, size=1 << 40).close()
    (tmp_path / "new" / "B1").unlink()
    open_store(path=tmp_path / "new", own=True, blank=names, size=1 << 40).close()

    assert [path.name for path in (tmp_path / "new").iterdir()] == ["B2"]
    assert (tmp_path / "new" / "B2").stat().st_size == 1 << 40


@pytest.mark.parametrize(("options", "text"), [
    ({}, "path= is missing"), ({"blank": ("x",), "size": 1}, "goes with own"),
    ({"own": True, "blank": ("../x",), "size": 1}, "names of files"), ({"wrong": 1}, "wrong"),
    ({"workers": 0}, "at least 1"),
])
def test_folder_options(tmp_path, options, text):
    """A wrong option is one sentence."""
    path = {} if text.startswith("path") else {"path": tmp_path}
    with pytest.raises(ValueError, match=text):
        open_store(**path, **options)


def test_folder_that_is_none(tmp_path):
    """A file is no folder."""
    (tmp_path / "file").write_bytes(b"")
    for own in (False, True):
        with pytest.raises(OSError, match="folder store"):
            open_store(path=tmp_path / "file", own=own)


def test_close_during_mount(shelf):
    """Who waits for a Mount hears that the store is closed, and no descriptor is left."""
    before = len(os.listdir("/proc/self/fd"))
    store = shelf()
    store.submit(Mount("A00001L8"), "ticket")
    store.close()

    answers = list(store.reap())
    assert [ticket for ticket, _ in answers] == ["ticket"]
    assert isinstance(answers[0][1], IoFailed)
    assert len(os.listdir("/proc/self/fd")) == before

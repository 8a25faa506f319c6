"""The shelf."""

from __future__ import annotations

import pytest

from iohandlers._shelf import Shelf
from iohandlers.memory import MemoryStore
from scsiemu.errors import IoFailed, IoFault
from scsiemu.io_requests import Flush, Read, Write
from scsiemu.media import ListMedia, Mount, Unmount
from scsiemu.testing.io_handler_kit import check_io_handler, perform


def shelf_of(sizes):
    return Shelf({name: MemoryStore(size) for name, size in sizes.items()})


def fault(answer):
    assert isinstance(answer, IoFailed), answer
    return answer.fault


def ask(store, request):
    """The answer, a failure as a value."""
    try:
        return perform(store, request)
    except IoFailed as failure:
        return failure


def mounted(size, *, read_only=False):
    store = shelf_of({"A00001L6": size}).drive()
    assert ask(store, Mount("A00001L6", read_only=read_only)).size == size
    return store


def test_shelf_conformance():
    """With a medium mounted it is a byte store as the engine wants it."""
    check_io_handler(mounted, read_only=lambda: mounted(1 << 20, read_only=True))


def test_mount_keeps_bytes():
    """What was written in one drive is read in another, and other media do not have it."""
    shelf = shelf_of({"A": 8192, "B": 4096})
    first, second = shelf.drive(), shelf.drive()
    ask(first, Mount("A"))
    assert ask(first, Write(100, 3, b"abc")) is None
    assert ask(first, Unmount()) is None

    assert ask(second, Mount("A", read_only=True)).size == 8192
    assert bytes(ask(second, Read(100, 3))) == b"abc"
    assert fault(ask(second, Write(0, 1, b"x"))) == IoFault.READ_ONLY
    assert ask(first, Mount("B")).size == 4096
    assert bytes(ask(first, Read(100, 3))) == bytes(3)


def test_mount_refused():
    """A medium is in one drive, a drive has one medium, and a refusal changes neither."""
    shelf = shelf_of({"A": 4096, "B": 4096})
    first, second = shelf.drive(), shelf.drive()
    ask(first, Mount("A"))
    assert fault(ask(second, Mount("A"))) == IoFault.GONE
    assert fault(ask(first, Mount("B"))) == IoFault.GONE
    assert ask(second, Mount("B")).size == 4096
    first.close()
    assert fault(ask(first, Mount("A"))) == IoFault.GONE
    assert ask(second, Unmount()) is None
    assert ask(second, Mount("A")).size == 4096


@pytest.mark.parametrize("name", ["", "a", "A ", "../A", "/A", "A\0", "A/.."])
def test_mount_unknown(name):
    """A name is looked up as it is: no other spelling of it finds the medium."""
    store = shelf_of({"A": 4096}).drive()
    assert fault(ask(store, Mount(name))) == IoFault.GONE
    assert ask(store, Mount("A")).size == 4096


def test_empty_drive():
    """Without a medium there is nothing to read, and nothing to flush."""
    store = shelf_of({"A": 4096}).drive()
    assert store.capabilities.size == 0
    assert fault(ask(store, Read(0, 1))) == IoFault.GONE
    assert ask(store, Flush()) is None
    assert ask(store, Unmount()) is None


def test_unmount_failed():
    """A medium that could not be flushed stays in its drive."""
    class Broken(MemoryStore):
        def submit(self, request, ticket):
            return IoFailed(IoFault.MEDIUM) if isinstance(request, Flush) else super().submit(request, ticket)

    shelf = Shelf({"A": Broken(4096)})
    first = shelf.drive()
    ask(first, Mount("A"))
    assert fault(ask(first, Unmount())) == IoFault.MEDIUM
    assert fault(ask(shelf.drive(), Mount("A"))) == IoFault.GONE
    assert bytes(ask(first, Read(0, 1))) == bytes(1)


def test_media_come_and_go():
    """A medium is added under a free name, and leaves unless it is mounted; drives see what there is now."""
    shelf = shelf_of({"A": 4096})
    drive = shelf.drive()
    shelf.add("B", MemoryStore(4096))
    assert ask(drive, ListMedia()) == ("A", "B")
    ask(drive, Mount("A"))

    with pytest.raises(ValueError, match="mounted"):
        shelf.take("A")
    with pytest.raises(ValueError, match="already"):
        shelf.add("A", MemoryStore(4096))
    shelf.take("B")
    assert ask(drive, ListMedia()) == ("A",)

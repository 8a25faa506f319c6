"""The null store."""

from __future__ import annotations

import pytest

from iohandlers.null import open_store
from scsiemu.io_requests import Extent, ExtentKind, Extents, Read, Write
from scsiemu.testing.io_handler_kit import check_io_handler, perform


def test_null_conformance():
    """It answers every verb, and keeps nothing."""
    check_io_handler(
        lambda size: open_store(size=size), read_only=lambda: open_store(size=1 << 20, read_only=True),
        keeps_data=False,
    )


def test_read_zeros():
    """Reads are zeros whatever was written, of any length, from one shared buffer."""
    store = open_store(size=1 << 60)
    assert perform(store, Write(0, 4, b"data")) is None

    assert perform(store, Read(0, 4)) == bytes(4)
    assert perform(store, Read(1 << 50, 3 << 20)) == bytes(3 << 20)
    assert perform(store, Read(0, 512)).obj is perform(store, Read(4096, 65536)).obj
    assert perform(store, Extents(0, 1 << 60)) == (Extent(0, 1 << 60, ExtentKind.HOLE),)


def test_open_store_options():
    """A wrong option is refused with a sentence that names it."""
    with pytest.raises(ValueError, match="null store: size= is missing"):
        open_store()
    with pytest.raises(ValueError, match="no option path="):
        open_store(size=1, path="x")

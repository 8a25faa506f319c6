"""The memory store."""

from __future__ import annotations

import pytest

from iohandlers.memory import CHUNK, open_store
from scsiemu.errors import IoFailed, IoFault
from scsiemu.io_requests import Discard, Extent, ExtentKind, Extents, Fill, Read, Resize, Write
from scsiemu.testing.io_handler_kit import check_io_handler, perform


def test_memory_conformance():
    """It is a byte store as the engine wants it."""
    check_io_handler(
        lambda size: open_store(size=size), read_only=lambda: open_store(size=1 << 20, read_only=True)
    )


@pytest.mark.parametrize("block", [512, 520, 4096, 4160])
def test_write_far(block):
    """2^64 logical blocks of any size are addressable and cost only what is written."""
    store = open_store(size=(1 << 64) * block)
    offset = ((1 << 64) - 1) * block
    data = bytes(range(1, 256)) * 17

    assert perform(store, Write(offset, block, data[:block])) is None
    assert perform(store, Read(offset, block)) == data[:block]
    assert store.allocated <= 2 * CHUNK
    assert perform(store, Discard(0, store.capabilities.size)) is None
    assert store.allocated == 0


def test_read_never_written():
    """Reads of never-written chunks allocate nothing: they share one object."""
    store = open_store(size=1 << 30)
    first = perform(store, Read(0, 4096))
    second = perform(store, Read(1 << 20, 4096))

    assert first.obj is second.obj
    assert first.readonly
    assert store.allocated == 0


def test_fill_shares():
    """A Fill whose pattern divides the chunk keeps one chunk for all."""
    store = open_store(size=1 << 24)

    assert perform(store, Fill(0, 1 << 24, b"ab")) is None
    assert perform(store, Read(4096, 4096)) is perform(store, Read(8192, 4096))


def test_discard_frees():
    """A chunk discarded in two halves is deallocated."""
    store = open_store(size=1 << 20)
    perform(store, Write(0, 8192, b"x" * 8192))
    perform(store, Discard(0, 2048))

    assert store.allocated == 8192
    perform(store, Discard(2048, 2048))
    assert perform(store, Extents(0, 1 << 20)) == (
        Extent(0, 4096, ExtentKind.HOLE), Extent(4096, 4096, ExtentKind.DATA),
        Extent(8192, (1 << 20) - 8192, ExtentKind.HOLE),
    )


def test_write_limit():
    """A write beyond the allocation limit fails for want of space and changes nothing."""
    store = open_store(size=1 << 20, limit=8192)
    assert perform(store, Write(0, 8192, b"x" * 8192)) is None
    failure = perform(store, Write(4096, 8192, b"y" * 8192))

    assert isinstance(failure, IoFailed)
    assert failure.fault == IoFault.NO_SPACE
    assert perform(store, Read(0, 12288)) == b"x" * 8192 + bytes(4096)
    assert perform(store, Write(0, 8192, b"z" * 8192)) is None


def test_resize_shrink_grow():
    """Bytes that a shrinking cut off are zeros when the store grows again."""
    store = open_store(size=10_000)
    perform(store, Write(0, 10_000, b"x" * 10_000))
    perform(store, Resize(5_000))
    perform(store, Resize(10_000))

    assert perform(store, Read(0, 10_000)) == b"x" * 5_000 + bytes(5_000)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "size= is missing"), ({"size": "10G"}, "whole number of bytes"), ({"size": 0}, "more than 0"),
        ({"size": 1, "sise": 2}, "no option sise="), ({"size": 1, "limit": -1}, "more than 0"),
        ({"size": True}, "whole number"),
    ],
)
def test_open_store_options(options, message):
    """A wrong option is refused with a sentence that names it."""
    with pytest.raises(ValueError, match=message):
        open_store(**options)

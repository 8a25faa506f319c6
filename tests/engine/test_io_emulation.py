"""Emulation of what a store lacks."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scsiemu.errors import IoFailed, IoFault
from scsiemu.io_emulation import PIECE, emulate
from scsiemu.io_requests import (
    Discard,
    Extent,
    ExtentKind,
    Extents,
    Fill,
    Flush,
    Read,
    Resize,
    StoreCapabilities,
    Write,
)

BARE = StoreCapabilities(size=1 << 40)
FULL = StoreCapabilities(size=1 << 40, discard=True, fill=True, fua=True, extents=True, resize=True)


def steps_of(request, capabilities, **options):
    """The requests that an emulation makes, each answered None, and its own answer."""
    steps = emulate(request, capabilities, **options)
    requests = []
    try:
        requests.append(next(steps))
        while True:
            requests.append(steps.send(None))
    except StopIteration as stop:
        return requests, stop.value


def written(requests):
    """(offset, bytes) that a run of Writes leaves behind, checked to have no gap, and bounded pieces."""
    start = requests[0].offset
    end = start
    for request in requests:
        assert type(request) is Write
        assert request.offset == end
        assert 0 < len(request.data) == request.length <= PIECE
        end += request.length
    return start, b"".join(request.data for request in requests)


@pytest.mark.parametrize(
    "request_",
    [
        Read(0, 1), Write(0, 1, b"x"), Write(0, 1, b"x", fua=True), Flush(), Discard(0, 1), Fill(0, 1, b"x"),
        Fill(0, 1, b"x", fua=True), Extents(0, 1), Resize(1),
    ],
    ids=repr,
)
def test_emulate_not_needed(request_):
    """What a store does itself is left to it."""
    assert emulate(request_, FULL) is None


def test_emulate_basics():
    """Read, Write without FUA, Flush and Resize are never emulated."""
    for request in (Read(0, 1), Write(0, 1, b"x"), Flush(), Resize(1)):
        assert emulate(request, BARE) is None


def test_write_fua():
    """FUA becomes a Flush after the Write, which keeps its data and whose it is."""
    request = Write(512, 4, b"data", fua=True, atom=4)
    request.owned = True
    (write, flush), answer = steps_of(request, BARE)

    assert (write.offset, write.length, write.data, write.fua) == (512, 4, b"data", False)
    assert (write.atom, write.owned) == (4, True)
    assert type(flush) is Flush
    assert answer is None
    assert request.fua


def test_write_fua_not_volatile():
    """A store that loses nothing needs no Flush."""
    assert emulate(Write(0, 1, b"x", fua=True), StoreCapabilities(size=1, volatile=False)) is None


def test_write_fua_failed():
    """A failed Write is not followed by a Flush."""
    steps = emulate(Write(0, 1, b"x", fua=True), BARE)
    next(steps)
    with pytest.raises(IoFailed):
        steps.throw(IoFailed(IoFault.MEDIUM))


@settings(max_examples=60, deadline=None)
@given(
    offset=st.integers(0, 1 << 50), repetitions=st.integers(1, 5000), pattern=st.binary(min_size=1, max_size=600)
)
def test_fill_writes(offset, repetitions, pattern):
    """A Fill becomes bounded Writes of the repeated pattern over exactly its range."""
    requests, _ = steps_of(Fill(offset, repetitions * len(pattern), pattern), BARE)

    assert written(requests) == (offset, pattern * repetitions)


def test_fill_large_pattern():
    """A pattern longer than a piece is written in pieces too."""
    pattern = bytes(range(251)) * 10_000
    requests, _ = steps_of(Fill(7, 2 * len(pattern), pattern), BARE)

    assert written(requests) == (7, pattern * 2)


def test_fill_empty():
    """A Fill of nothing is nothing."""
    assert steps_of(Fill(7, 0, b"x"), BARE) == ([], None)


def test_fill_fua():
    """FUA of a Fill is one Flush at its end, also where the store has Fill."""
    requests, _ = steps_of(Fill(0, 3 * PIECE, b"x", fua=True), BARE)
    assert [type(request) for request in requests] == [Write, Write, Write, Flush]
    (fill, flush), _ = steps_of(Fill(5, 6, b"x", fua=True), StoreCapabilities(size=11, fill=True))

    assert (fill.offset, fill.length, fill.pattern, fill.fua) == (5, 6, b"x", False)
    assert type(flush) is Flush


def test_discard_zeros():
    """A Discard becomes zeros: by Fill where there is one, else by Writes."""
    requests, _ = steps_of(Discard(100, 3 * PIECE + 5), BARE)
    assert written(requests) == (100, bytes(3 * PIECE + 5))
    (fill,), answer = steps_of(Discard(100, 7), StoreCapabilities(size=1 << 20, fill=True))

    assert (type(fill), fill.offset, fill.length, fill.pattern) == (Fill, 100, 7, b"\0")
    assert answer is None


def test_discard_nothing():
    """Where the caller promises no zeros a Discard may be nothing."""
    assert steps_of(Discard(0, 1 << 30), BARE, discard_zeroes=False) == ([], None)
    assert emulate(Discard(0, 1), FULL, discard_zeroes=False) is None


def test_extents_data():
    """Without a map everything is data."""
    assert steps_of(Extents(5, 10), BARE) == ([], (Extent(5, 10, ExtentKind.DATA),))


def test_fill_memory_bounded():
    """A huge Fill makes its pieces one by one, and all of them one object."""
    steps = emulate(Fill(0, 1 << 40, b"ab"), BARE)
    first = next(steps)
    second = steps.send(None)

    assert first.data is second.data
    assert len(first.data) == PIECE
    steps.close()

"""The copy-on-write filter."""

from __future__ import annotations

import itertools
import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from iohandlers import cow as cow_module
from iohandlers import faulty, file, memory
from iohandlers.cow import CLUSTER, open_store
from scsiemu.errors import IoFailed, IoFault
from scsiemu.io_requests import PENDING, Discard, Extents, Fill, Flush, Read, Write
from scsiemu.testing.io_handler_kit import check_io_handler, collect, perform

MIB = 1 << 20
PROJECT = Path(__file__).parents[2] / "pyproject.toml"


@pytest.fixture(autouse=True)
def declared_handlers(monkeypatch):
    """The entry points as the project declares them, installed or not."""
    declared = tomllib.loads(PROJECT.read_text())["project"]["entry-points"]["scsiemu.iohandlers"]

    def entry_points(*, group, name):
        return [EntryPoint(name, declared[name], group)] if name in declared else []

    monkeypatch.setattr(cow_module, "entry_points", entry_points)


@pytest.fixture
def base():
    """A base of 1 MiB of data."""
    base = memory.open_store(size=MIB)
    perform(base, Fill(0, MIB, bytes(range(256))))
    return base


CONTENT = bytes(range(256)) * 4096


def test_cow_conformance_memory():
    """Over memory it is a byte store as the engine wants it."""
    check_io_handler(lambda size: open_store(next_store=memory.open_store(size=size)))


def test_cow_conformance_file(tmp_path):
    """Over a file with a file for overlay: late answers of both stores pass through."""
    names = itertools.count()

    def factory(size):
        base = file.open_store(path=tmp_path / f"{next(names)}.base", size=size)
        return open_store(next_store=base, path=tmp_path / f"{next(names)}.overlay")

    check_io_handler(factory, examples=10)


def test_cow_conformance_delayed():
    """With every answer of both stores late, requests that touch one cluster still don't mix."""

    def slow(store):
        return faulty.open_store(next_store=store, rules="delay any seconds=0.00001")

    def factory(size):
        base = slow(memory.open_store(size=size))
        return open_store(next_store=base, overlay=slow(memory.open_store(size=2 * size + 65536)))

    check_io_handler(factory, examples=10, far=False)


def test_write_leaves_base(base):
    """Nothing that is done to the filter reaches the base."""
    store = open_store(next_store=base)
    for request in (Write(100, 5000, b"x" * 5000), Discard(100_000, 50_000), Flush()):
        assert perform(store, request) is None

    assert perform(base, Read(0, MIB)) == CONTENT
    assert perform(store, Read(0, 8192)) == CONTENT[:100] + b"x" * 5000 + CONTENT[5100:8192]
    assert perform(store, Read(100_000, 50_000)) == bytes(50_000)


def test_overlay_reopens(base, tmp_path):
    """Overlay and map are there when opened again, over any cluster state."""
    path = tmp_path / "overlay"
    store = open_store(next_store=base, path=path)
    perform(store, Write(5000, 10, b"0123456789"))
    perform(store, Discard(10 * CLUSTER, 3 * CLUSTER))
    perform(store, Flush())
    perform(store, Write(MIB - 3, 3, b"end"))
    expected = perform(store, Read(0, MIB))
    store.close()
    again_base = memory.open_store(size=MIB)
    perform(again_base, Fill(0, MIB, bytes(range(256))))
    again = open_store(next_store=again_base, path=path)

    assert perform(again, Read(0, MIB)) == expected
    assert expected[5000:5010] == b"0123456789"
    again.close()


def test_flush_order():
    """The map is written after the data it speaks of is stable, then made stable itself."""
    overlay = _Journal(memory.open_store(size=4 * MIB))
    store = open_store(next_store=memory.open_store(size=MIB), overlay=overlay)
    overlay.requests.clear()
    perform(store, Write(0, CLUSTER, b"x" * CLUSTER))
    perform(store, Flush())

    kinds = [type(request).__name__ for request in overlay.requests]
    assert kinds == ["Read", "Write", "Flush", "Write", "Flush"]
    assert overlay.requests[3].offset == CLUSTER
    overlay.requests.clear()
    perform(store, Flush())
    assert [type(request).__name__ for request in overlay.requests] == ["Flush"]


class _Journal:
    """A store that notes its requests."""

    def __init__(self, store):
        self.store = store
        self.requests = []
        self.reap, self.fileno, self.close = store.reap, store.fileno, store.close

    @property
    def capabilities(self):
        return self.store.capabilities

    def submit(self, request, ticket):
        self.requests.append(request)
        return self.store.submit(request, ticket)


@pytest.mark.parametrize("flushed", [0, 1, 2])
def test_power_loss(flushed):
    """What a cut without close finds is the base with what was flushed; neighbours in a cluster are never lost."""
    overlay = memory.open_store(size=4 * MIB)
    base = memory.open_store(size=MIB)
    perform(base, Fill(0, MIB, b"b"))
    store = open_store(next_store=base, overlay=overlay)
    model = bytearray(b"b" * MIB)
    for number in range(2):
        perform(store, Write(number * 8192 + 512, 512, bytes([number + 1]) * 512))
        if number < flushed:
            model[number * 8192 + 512:number * 8192 + 1024] = bytes([number + 1]) * 512
            perform(store, Flush())
    after = open_store(next_store=base, overlay=overlay)    # the first one's memory is lost

    assert perform(after, Read(0, MIB)) == model


def test_flush_failed_map_kept():
    """A flush that could not write the map leaves it to the next one."""
    overlay = memory.open_store(size=4 * MIB)
    broken = faulty.open_store(next_store=overlay, rules=f"fail write offset={CLUSTER}..{2 * CLUSTER - 1} count=1")
    base = memory.open_store(size=MIB)
    store = open_store(next_store=base, overlay=broken)
    perform(store, Write(0, 4, b"data"))

    assert isinstance(perform(store, Flush()), IoFailed)
    assert perform(store, Flush()) is None
    assert perform(open_store(next_store=base, overlay=overlay), Read(0, 4)) == b"data"


def test_write_same_cluster_late():
    """Two late writes to parts of one cluster both survive: the second waits for the first."""
    base = faulty.open_store(
        next_store=memory.open_store(size=MIB), rules="delay read seconds=1", manual_clock=True
    )
    store = open_store(next_store=base)
    assert store.submit(Write(0, 512, b"a" * 512), "a") is PENDING
    assert store.submit(Write(512, 512, b"b" * 512), "b") is PENDING
    assert store.submit(Write(CLUSTER, CLUSTER, b"c" * CLUSTER), "c") is None
    base.advance(1.0)
    assert collect(store, 2) == {"a": None, "b": None}

    assert perform(store, Read(0, 1024)) == b"a" * 512 + b"b" * 512


def test_extents_merged_view(base):
    """The map shows the base's extents where nothing was changed, data and holes of the overlay elsewhere."""
    perform(base, Discard(512 * 1024, 512 * 1024))
    store = open_store(next_store=base)
    perform(store, Discard(0, CLUSTER))
    perform(store, Write(MIB - CLUSTER, CLUSTER, b"x" * CLUSTER))

    assert [(extent.kind, extent.offset) for extent in perform(store, Extents(0, MIB))] == [
        ("hole", 0), ("data", CLUSTER), ("hole", 512 * 1024), ("data", MIB - CLUSTER),
    ]


def test_discard_frees_overlay(base):
    """A discard gives back what the overlay kept."""
    overlay = memory.open_store(size=4 * MIB)
    store = open_store(next_store=base, overlay=overlay)
    perform(store, Write(0, MIB, b"x" * MIB))
    before = overlay.allocated
    perform(store, Discard(0, MIB))

    assert overlay.allocated == before - MIB
    assert perform(store, Read(0, MIB)) == bytes(MIB)


def test_map_damaged(base):
    """A map with unknown states is a medium error, not an answer."""
    overlay = memory.open_store(size=4 * MIB)
    open_store(next_store=base, overlay=overlay)
    perform(overlay, Write(CLUSTER + 7, 1, b"\x09"))
    failure = perform(open_store(next_store=base, overlay=overlay), Read(0, 512))

    assert isinstance(failure, IoFailed)
    assert failure.fault == IoFault.MEDIUM


def test_base_failure(base):
    """A failure of the base is the answer, for reads and for writes that needed it."""
    broken = faulty.open_store(next_store=base, rules="fail read fault=medium")
    store = open_store(next_store=broken)

    assert perform(store, Read(0, 512)).fault == IoFault.MEDIUM
    assert perform(store, Write(1, 1, b"x")).fault == IoFault.MEDIUM
    assert perform(store, Write(0, CLUSTER, bytes(CLUSTER))) is None


def test_open_store_refuses(base, tmp_path):
    """Files that are no overlay of this base are refused in one sentence and stay as they are."""
    (tmp_path / "other").write_bytes(b"something else" * 1000)
    overlay = tmp_path / "overlay"
    open_store(next_store=memory.open_store(size=2 * MIB), path=overlay).close()
    near = memory.open_store(size=2 * MIB - 5)
    damaged = tmp_path / "damaged"
    damaged.write_bytes(b"scsiemu overlay\n" + b"\xff" * 100)

    with pytest.raises(ValueError, match="next_store= is missing"):
        open_store()
    with pytest.raises(ValueError, match="other is not an overlay"):
        open_store(next_store=base, path=tmp_path / "other")
    with pytest.raises(ValueError, match=f"belongs to a base of {2 * MIB} bytes, not {2 * MIB - 5}"):
        open_store(next_store=near, path=overlay)
    with pytest.raises(ValueError, match="unknown to us"):
        open_store(next_store=base, path=damaged)
    with pytest.raises(ValueError, match="no option file="):
        open_store(next_store=base, file="x")
    with pytest.raises(ValueError, match="two ways"):
        open_store(next_store=base, path="x", overlay=memory.open_store(size=1))

"""The file store."""

from __future__ import annotations

import errno
import itertools
import os
import socket
import stat
import threading

import pytest

from iohandlers import _file_store as file_module
from iohandlers.file import open_store
from scsiemu.errors import IoFailed, IoFault
from scsiemu.io_requests import PENDING, Discard, Extents, Fill, Flush, Read, Resize, Write
from scsiemu.testing.io_handler_kit import check_io_handler, collect, perform

MIB = 1 << 20


@pytest.fixture
def path(tmp_path):
    """Where a new image goes."""
    return tmp_path / "disk.img"


@pytest.fixture
def store(path):
    """A new file store of 4 MiB."""
    store = open_store(path=path, size=4 * MIB)
    yield store
    store.close()


def read_only_store(folder):
    """A read-only store with something in it."""
    image = folder / "read_only.img"
    image.write_bytes(b"content!" * 4096)
    return open_store(path=image, read_only=True)


def test_file_conformance(tmp_path):
    """It is a byte store as the engine wants it."""
    names = itertools.count()
    check_io_handler(
        lambda size: open_store(path=tmp_path / f"{next(names)}.img", size=size),
        read_only=lambda: read_only_store(tmp_path),
    )


@pytest.mark.skipif(not os.access("/dev/shm", os.W_OK), reason="no tmpfs to write to")
def test_file_conformance_tmpfs(tmp_path):
    """A file system without RWF_NOWAIT that lives in memory is read inline."""
    names = itertools.count()
    opened = []

    def factory(size):
        opened.append(f"/dev/shm/scsiemu-test-{os.getpid()}-{next(names)}")
        return open_store(path=opened[-1], size=size)

    try:
        check_io_handler(factory, examples=5)
        store = factory(MIB)
        assert store.submit(Read(0, 4096), None) == bytes(4096)
        store.close()
    finally:
        for name in opened:
            os.unlink(name)


def test_file_conformance_without_nowait(tmp_path, monkeypatch):
    """Where RWF_NOWAIT is not supported every read goes through the workers."""
    real = os.preadv

    def preadv(descriptor, buffers, offset, flags=0):
        if flags & os.RWF_NOWAIT:
            raise OSError(errno.EOPNOTSUPP, "Operation not supported")
        return real(descriptor, buffers, offset, flags)

    monkeypatch.setattr(os, "preadv", preadv)
    names = itertools.count()
    check_io_handler(lambda size: open_store(path=tmp_path / f"{next(names)}.img", size=size), examples=5)


def test_read_cached(store):
    """A page-cache hit is answered at once."""
    perform(store, Write(0, 8192, b"x" * 8192))

    assert store.submit(Read(100, 4096), None) == b"x" * 4096


def test_read_miss(store, monkeypatch):
    """A miss is answered late, also when only the first part was there."""
    real = os.preadv
    perform(store, Write(0, 8192, b"x" * 8192))

    def preadv(descriptor, buffers, offset, flags=0):
        if flags & os.RWF_NOWAIT and offset == 0:
            return real(descriptor, [memoryview(buffers[0])[:4096]], offset)
        if flags & os.RWF_NOWAIT:
            raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
        return real(descriptor, buffers, offset, flags)

    monkeypatch.setattr(os, "preadv", preadv)
    for ticket, offset in (("partly", 0), ("not at all", 4096)):
        assert store.submit(Read(offset, 8192 - offset), ticket) is PENDING
        assert collect(store, 1)[ticket] == b"x" * (8192 - offset)


def test_read_evicted(store, path):
    """A file that is not in the page cache is read without blocking submit."""
    perform(store, Write(0, 4 * MIB, b"y" * (4 * MIB)))
    perform(store, Flush())
    descriptor = os.open(path, os.O_RDONLY)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(descriptor)

    assert perform(store, Read(2 * MIB, 4096)) == b"y" * 4096


def test_read_shrunk(store, path):
    """A file that became shorter is an error, never a short or a zero answer."""
    os.truncate(path, MIB)
    failure = perform(store, Read(MIB - 4096, 8192))

    assert isinstance(failure, IoFailed)
    assert failure.fault == IoFault.OUT_OF_RANGE
    assert failure.offset == MIB
    assert perform(store, Read(0, 4096)) == bytes(4096)


def test_read_behind_end(path):
    """A read-only file shorter than size reads as zeros behind its end, and its map says hole there."""
    path.write_bytes(b"z" * 5000)
    store = open_store(path=path, size=MIB, read_only=True)

    assert perform(store, Read(4096, 8192)) == b"z" * 904 + bytes(7288)
    assert perform(store, Read(MIB - 10, 10)) == bytes(10)
    assert sum(extent.length for extent in perform(store, Extents(0, MIB))) == MIB
    assert perform(store, Extents(MIB // 2, 512))[0].kind == "hole"
    store.close()
    assert path.stat().st_size == 5000


def test_write_view_pending(store):
    """A view that a worker still has to write is copied before submit returns."""
    store.submit(Fill(0, MIB, b"ab"), "fill")     # holds back inline writes
    source = bytearray(b"w" * 4096)
    answer = store.submit(Write(2 * MIB, 4096, memoryview(source)), "write")
    source[:] = bytes(4096)

    assert answer is PENDING
    assert collect(store, 2) == {"fill": None, "write": None}
    assert perform(store, Read(2 * MIB, 4096)) == b"w" * 4096


def test_write_slow(store, monkeypatch):
    """After a write that the kernel throttled the next ones go to the workers."""
    clock = itertools.count(100.0, 0.02)
    monkeypatch.setattr(file_module, "monotonic", lambda: next(clock))

    assert store.submit(Write(0, 4096, bytes(4096)), "first") is None
    assert store.submit(Write(0, 4096, bytes(4096)), "second") is PENDING
    assert collect(store, 1) == {"second": None}


def test_write_slow_once(store, monkeypatch):
    """One slow write may be the scheduler's doing: soon writes are made inline again; if it happens again, later."""
    now = [100.0]
    took = [0.02]

    def monotonic():
        now[0] += took[0]
        return now[0]

    def rests():
        answer = store.submit(Write(0, 4096, bytes(4096)), "write")
        assert answer is None or collect(store, 1) == {"write": None}
        return answer is PENDING

    monkeypatch.setattr(file_module, "monotonic", monotonic)
    pauses = []
    for _ in range(7):
        took[0] = 0.02
        assert not rests()
        took[0] = 0.0
        begin = now[0]
        while rests():
            now[0] += 0.01
        pauses.append(round(now[0] - begin, 1))

    assert pauses[0] < 0.15 < 0.5 < pauses[-1] <= 1.1
    assert pauses == sorted(pauses)


def test_write_cold_page(store, monkeypatch):
    """A write of part of a page that is not cached would read it first: not in the loop's thread."""

    def preadv(descriptor, buffers, offset, flags=0):
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "preadv", preadv)
    assert store.submit(Write(512, 512, bytes(512)), "part") is PENDING
    assert store.submit(Write(4096, 4096, bytes(4096)), "whole") is None
    assert collect(store, 1) == {"part": None}


def test_flush_merges(store, monkeypatch):
    """Flushes and FUA writes that wait together share one fdatasync, begun after the last of them came."""
    calls = []
    begun, go_on = threading.Event(), threading.Event()

    def fdatasync(descriptor):
        calls.append(descriptor)
        begun.set()
        assert go_on.wait(30)

    monkeypatch.setattr(os, "fdatasync", fdatasync)
    assert store.submit(Flush(), 0) is PENDING
    assert begun.wait(30)
    for ticket in range(1, 20):
        request = Flush() if ticket % 2 else Write(0, 512, bytes(512), fua=True)
        assert store.submit(request, ticket) is PENDING
    go_on.set()

    assert collect(store, 20) == dict.fromkeys(range(20))
    assert len(calls) == 2


def test_flush_fails(store, monkeypatch):
    """A failed fdatasync fails the flush and each FUA write that waited for it."""

    def fdatasync(descriptor):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fdatasync", fdatasync)
    store.submit(Write(0, 512, bytes(512), fua=True), "write")
    store.submit(Flush(), "flush")
    answers = collect(store, 2)

    assert {answer.fault for answer in answers.values()} == {IoFault.MEDIUM}


def fail_next_fdatasync(monkeypatch):
    """The next fdatasync fails; later ones succeed, as Linux does: a lost write is reported once."""
    failures = iter([OSError(errno.EIO, "Input/output error")])

    def fdatasync(descriptor):
        for failure in failures:
            raise failure

    monkeypatch.setattr(os, "fdatasync", fdatasync)


@pytest.mark.parametrize(
    "again",
    [Flush(), Write(0, 512, bytes(512), fua=True), Fill(0, 4096, bytes(512), fua=True)],
    ids=["flush", "write", "fill"],
)
def test_flush_failure_is_remembered(store, monkeypatch, again):
    """What an fdatasync could not write is lost for good: a later one must not say that all is on the medium."""
    fail_next_fdatasync(monkeypatch)
    assert store.submit(Write(0, 4096, b"w" * 4096), 0) is None
    for ticket, request in enumerate((Flush(), again, again)):
        assert store.submit(request, ticket) is PENDING
        (answer,) = collect(store, 1).values()

        assert isinstance(answer, IoFailed)
        assert answer.fault == IoFault.MEDIUM
    assert "an earlier flush failed" in answer.message


def test_flush_failure_leaves_the_rest(store, monkeypatch):
    """After a failed flush reads and writes that promise nothing still work."""
    fail_next_fdatasync(monkeypatch)
    store.submit(Flush(), 0)
    collect(store, 1)

    assert store.submit(Write(0, 4096, b"w" * 4096), 1) is None
    assert store.submit(Read(0, 4096), 2) == b"w" * 4096


def test_flush_failure_at_close(store, monkeypatch):
    """A flush that is answered by closing fails after a failure, too."""
    begun, go_on = threading.Event(), threading.Event()

    def fdatasync(descriptor):
        if not begun.is_set():
            begun.set()
            assert go_on.wait(30)
            raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fdatasync", fdatasync)
    store.submit(Flush(), 0)
    assert begun.wait(30)
    store.submit(Flush(), 1)
    go_on.set()
    store.close()

    assert {ticket: answer.fault for ticket, answer in store.reap()} == dict.fromkeys((0, 1), IoFault.MEDIUM)


def test_flush_failure_ends_with_reopening(path, monkeypatch):
    """A store that is opened anew begins anew."""
    fail_next_fdatasync(monkeypatch)
    first = open_store(path=path, size=MIB)
    first.submit(Flush(), 0)
    failed = collect(first, 1)
    first.close()
    second = open_store(path=path)
    second.submit(Flush(), 0)
    answered = collect(second, 1)
    second.close()

    assert isinstance(failed[0], IoFailed)
    assert answered == {0: None}


@pytest.mark.parametrize(
    ("number", "fault"),
    [
        (errno.ENOSPC, IoFault.NO_SPACE), (errno.EDQUOT, IoFault.NO_SPACE), (errno.EIO, IoFault.MEDIUM),
        (errno.EROFS, IoFault.READ_ONLY), (errno.EACCES, IoFault.READ_ONLY), (errno.EBADF, IoFault.READ_ONLY),
        (errno.EREMOTEIO, IoFault.MEDIUM),
    ],
)
def test_write_errno(store, monkeypatch, number, fault):
    """Each errno becomes the fault that it means, with the offset of the failed byte."""
    real = os.pwrite

    def pwrite(descriptor, data, offset):
        if offset == 8192:
            raise OSError(number, os.strerror(number))
        return real(descriptor, data[:4096], offset)    # short: the rest is tried again

    monkeypatch.setattr(os, "pwrite", pwrite)
    failure = perform(store, Write(4096, 8192, bytes(8192)))

    assert isinstance(failure, IoFailed)
    assert (failure.fault, failure.offset) == (fault, 8192)


def test_read_error(store, monkeypatch):
    """EIO of a read is a medium error at its offset."""

    def preadv(descriptor, buffers, offset, flags=0):
        if flags & os.RWF_NOWAIT:
            raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "preadv", preadv)
    failure = perform(store, Read(4096, 512))

    assert (failure.fault, failure.offset) == (IoFault.MEDIUM, 4096)


def test_discard_punches(store, path):
    """Discard gives the blocks back to the file system."""
    if not store.capabilities.discard:
        pytest.skip("the file system cannot punch holes")
    perform(store, Write(0, 4 * MIB, b"x" * (4 * MIB)))
    perform(store, Flush())
    before = path.stat().st_blocks
    perform(store, Discard(MIB, 2 * MIB))

    assert path.stat().st_blocks <= before - 2 * MIB // 512
    assert path.stat().st_size == 4 * MIB
    assert perform(store, Extents(MIB, 2 * MIB))[0].kind == "hole"


def test_fill_zeros_allocates(store, path):
    """A long fill of zeros reserves its space."""
    perform(store, Fill(0, 4 * MIB, bytes(512)))
    perform(store, Flush())

    assert path.stat().st_blocks * 512 >= 4 * MIB
    assert perform(store, Read(0, 4 * MIB)) == bytes(4 * MIB)


def test_resize_file(store, path):
    """Resize changes the file."""
    perform(store, Resize(6 * MIB + 5))

    assert path.stat().st_size == 6 * MIB + 5
    assert store.capabilities.size == 6 * MIB + 5


def test_open_store_creates_sparse(store, path):
    """A new file is sparse and only for its owner."""
    assert path.stat().st_size == 4 * MIB
    assert path.stat().st_blocks * 512 < 65536
    assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0


def test_open_store_grows(path):
    """A shorter file grows to size, keeping its content."""
    path.write_bytes(b"old")
    store = open_store(path=path, size=MIB)

    assert perform(store, Read(0, 8)) == b"old" + bytes(5)
    store.close()
    assert path.stat().st_size == MIB


def test_open_store_reopens(path):
    """What was written is there when the file is opened again."""
    store = open_store(path=path, size=MIB)
    perform(store, Write(1000, 4, b"data"))
    store.close()
    again = open_store(path=path)

    assert again.capabilities.size == MIB
    assert perform(again, Read(1000, 4)) == b"data"
    again.close()


def test_open_store_lock(path):
    """A second server cannot open a file that one writes; readers share; share=True does without."""
    store = open_store(path=path, size=MIB)
    for read_only in (False, True):
        with pytest.raises(OSError, match="in use by another server"):
            open_store(path=path, read_only=read_only)
    open_store(path=path, share=True).close()
    store.close()
    first = open_store(path=path, read_only=True)
    second = open_store(path=path, read_only=True)
    with pytest.raises(OSError, match="in use"):
        open_store(path=path)
    first.close()
    second.close()


def test_open_store_kinds(tmp_path):
    """Directories, FIFOs, sockets and character devices are refused, and without waiting."""
    os.mkfifo(tmp_path / "fifo")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "socket"))
    kinds = {"a directory": tmp_path, "a FIFO": tmp_path / "fifo", "a socket": tmp_path / "socket",
             "a character device": "/dev/null"}
    for kind, where in kinds.items():
        with pytest.raises(OSError, match=f"is {kind}, not a regular file or block device"):
            open_store(path=where, size=MIB)
    listener.close()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({}, ValueError, "path= is missing"), ({"path": ""}, ValueError, "path= is missing"),
        ({"path": "absent"}, FileNotFoundError, "does not exist .give size="),
        ({"path": "absent", "size": 5, "read_only": True}, FileNotFoundError, "does not exist .and is read-only"),
        ({"path": "absent/deep", "size": 5}, FileNotFoundError, "cannot be created"),
        ({"path": "there", "size": 5}, ValueError, "has 10 bytes, more than size=5"),
        ({"path": "empty"}, ValueError, "is empty, give size="),
        ({"path": "there", "size": "1G"}, ValueError, "whole number of bytes"),
        ({"path": "there", "size": 1 << 63}, ValueError, "at most"),
        ({"path": "new", "size": (1 << 63) - 1}, OSError, "cannot hold|cannot be created"),
        ({"path": "there", "workers": 0}, ValueError, "workers= must be at least 1"),
        ({"path": "there", "readonly": True}, ValueError, "no option readonly=; it takes path=, size=, read_only="),
    ],
)
def test_open_store_options(tmp_path, monkeypatch, options, error, message):
    """Each wrong option is refused with a sentence, and leaves nothing behind."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").write_bytes(bytes(10))
    (tmp_path / "empty").touch()
    with pytest.raises(error, match=message):
        open_store(**options)

    assert sorted(os.listdir(tmp_path)) == ["empty", "there"]
    assert (tmp_path / "there").stat().st_size == 10


def test_open_store_cloexec(store):
    """A program that is started does not inherit descriptors of the store."""
    inheritable = [
        name for name in os.listdir("/proc/self/fd")
        if os.path.exists(f"/proc/self/fd/{name}") and int(name) > 2 and os.get_inheritable(int(name))
        and "disk.img" in os.readlink(f"/proc/self/fd/{name}")
    ]

    assert inheritable == []
    assert store.fileno() is not None
    assert not os.get_inheritable(store.fileno())


def test_close_ends_threads(store):
    """close waits for the workers and ends them."""
    before = threading.active_count()
    for index in range(20):
        store.submit(Extents(0, MIB), index)
    store.close()

    assert threading.active_count() <= before
    assert len(list(store.reap())) == 20
    assert store.fileno() is None

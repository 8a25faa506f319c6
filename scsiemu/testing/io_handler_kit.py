"""The conformance kit of byte stores: `check_io_handler(factory)` is a test that every io handler runs.

    def test_check_io_handler(tmp_path):
        check_io_handler(lambda size: open_store(path=..., size=size))

A handler whose stores can only be read runs `check_read_only_io_handler(factory, content)` instead.

What a store lacks is asked through `io_emulation`, as the engine does; late answers are waited for with
select on the store's fileno, a bounded time. It does NOT measure speed, nor cut the power: durability is the
store's own test.
"""

from __future__ import annotations

import gc
import os
import select
from collections.abc import Callable
from typing import Any, Final, cast

from scsiemu.command import Buffer
from scsiemu.errors import IoFailed, IoFault
from scsiemu.io_emulation import emulate
from scsiemu.io_requests import (
    PENDING,
    Discard,
    Extent,
    ExtentKind,
    Extents,
    Fill,
    Flush,
    IoRequest,
    Read,
    Resize,
    Store,
    Ticket,
    Write,
)

__all__ = ["check_io_handler", "check_read_only_io_handler", "collect", "perform"]

_PATIENCE: Final = 30.0         # seconds that an answer may take
_SIZE: Final = 1 << 20
_FAR: Final = (1 << 41) + (1 << 20)


class _Ticket:
    """What the kit hands in for a command; stores only hand it back."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"ticket of {self.name}"


def perform(store: Store, request: IoRequest[Any]) -> Any:
    """Carry out one request, emulated where the store lacks it; gives its answer, which may be an IoFailed."""
    steps = emulate(request, store.capabilities)
    if steps is None:
        return _submit(store, request)
    try:
        wanted = next(steps)
        while True:
            answer = _submit(store, wanted)
            wanted = steps.throw(answer) if isinstance(answer, IoFailed) else steps.send(answer)
    except StopIteration as stop:
        return stop.value
    except IoFailed as failure:
        return failure


def collect(store: Store, count: int) -> dict[Any, Any]:
    """Wait for `count` late answers: ticket to answer."""
    answers: dict[Any, Any] = {}
    while True:
        for ticket, answer in store.reap():
            assert ticket not in answers, f"{ticket} was answered twice"
            assert answer is not PENDING, f"{ticket} got PENDING as its late answer"
            answers[ticket] = answer
        if len(answers) >= count:
            assert len(answers) == count, f"{len(answers)} late answers instead of {count}"
            return answers
        descriptor = store.fileno()
        assert descriptor is not None, "PENDING from a store without fileno"
        ready, _, _ = select.select([descriptor], [], [], _PATIENCE)
        assert ready, f"no answer within {_PATIENCE} seconds, {count - len(answers)} missing"


def check_io_handler(
    factory: Callable[[int], Store],
    *,
    read_only: Callable[[], Store] | None = None,
    keeps_data: bool = True,
    far: bool = True,
    examples: int = 25,
) -> None:
    """Assert everything that the engine takes for granted of a byte store.

    Args:
        factory: makes a new store of so many bytes that was never written to.
        read_only: makes a read-only store, where the handler has such.
        keeps_data: False for a store that forgets what is written.
        far: whether a store of 2 TiB can be made.
        examples: how many random histories are compared with a bytearray.
    """
    descriptors = _descriptors()
    always = (_check_capabilities, _check_zeros, _check_range, _check_unsupported, _check_late, _check_close)
    for check in always:
        _with_store(factory, _SIZE, check)
    if keeps_data:
        for check in (_check_round_trip, _check_copies, _check_discard, _check_fill, _check_flush):
            _with_store(factory, _SIZE, check)
    for check in (_check_extents, _check_resize):
        _with_store(factory, _SIZE, check)
    if keeps_data:
        _check_model(factory, examples)
    if far:
        _with_store(factory, _FAR, _check_far if keeps_data else _check_zeros)
    if read_only is not None:
        store = read_only()
        try:
            _check_read_only(store)
        finally:
            store.close()
    _check_no_descriptors_since(descriptors)


def check_read_only_io_handler(factory: Callable[[], Store], content: Buffer) -> None:
    """Assert everything that the engine takes for granted of a byte store that is never written.

    Args:
        factory: opens the store.
        content: all that it holds, 16 KiB or more.
    """
    descriptors = _descriptors()
    for check in (_check_read_only, _check_read_only_range, _check_read_only_late, _check_close):
        _with_store(lambda _: factory(), len(content), check)
    _with_store(lambda _: factory(), len(content), lambda store: _check_content(store, bytes(content)))
    _check_no_descriptors_since(descriptors)


def _check_no_descriptors_since(before: set[tuple[int, str]]) -> None:
    gc.collect()
    leaked = _descriptors() - before
    assert not leaked, f"descriptors left open: {leaked}"


def _submit(store: Store, request: IoRequest[Any], ticket: _Ticket | None = None) -> Any:
    ticket = ticket or _Ticket(repr(request))
    answer = store.submit(request, cast(Ticket, ticket))  # opaque to stores
    if answer is not PENDING:
        return answer
    return collect(store, 1)[ticket]


def _same(found: Buffer, wanted: Buffer, what: str = "what was read") -> None:
    """Refuse bytes that differ, naming the first: a whole difference of megabytes would take minutes to print."""
    if found != wanted:
        pairs = enumerate(zip(found, wanted, strict=False))
        first = next((n for n, (one, other) in pairs if one != other), min(len(found), len(wanted)))
        raise AssertionError(f"{what}: {len(found)} bytes instead of {len(wanted)}, different from byte {first} on")


def _read(store: Store, offset: int, length: int) -> bytes:
    answer = perform(store, Read(offset, length))
    assert not isinstance(answer, IoFailed), f"Read({offset}, {length}) failed: {answer}"
    assert len(answer) == length, f"Read({offset}, {length}) gave {len(answer)} bytes"
    return bytes(answer)


def _write(store: Store, offset: int, data: Buffer, *, fua: bool = False) -> None:
    answer = perform(store, Write(offset, len(data), data, fua=fua))
    assert answer is None, f"Write({offset}, {len(data)}) was answered {answer!r}"


def _done(store: Store, request: IoRequest[Any]) -> None:
    answer = perform(store, request)
    assert answer is None, f"{request!r} was answered {answer!r}"


def _refused(store: Store, request: IoRequest[Any], *faults: str) -> None:
    answer = _submit(store, request)
    assert isinstance(answer, IoFailed), f"{request!r} was answered {answer!r}, not refused"
    assert answer.fault in faults, f"{request!r} failed with {answer.fault}, expected {faults}"
    assert answer.message, f"{request!r} was refused without a message"


def _map(store: Store, offset: int, length: int, limit: int = 1024) -> list[Extent]:
    """The whole map of a range, asked for as often as it takes; checks its form."""
    extents: list[Extent] = []
    end = offset + length
    while offset < end:
        answer = perform(store, Extents(offset, end - offset, limit))
        assert isinstance(answer, tuple), f"Extents gave {answer!r}"
        assert 1 <= len(answer) <= limit, f"{len(answer)} extents for a limit of {limit}"
        for extent in answer:
            assert extent.offset == offset, f"gap or overlap at {offset}: {extent}"
            assert extent.length > 0, f"empty extent: {extent}"
            assert extent.kind in (ExtentKind.DATA, ExtentKind.HOLE), f"of no known kind: {extent}"
            offset += extent.length
        extents += answer
    assert offset == end, f"the map reaches {offset}, past {end}"
    return extents


def _pattern(length: int, seed: int = 1) -> bytes:
    """Bytes without a zero among them, different at every offset of a page."""
    return bytes((index * 7 + index // 251 + seed) % 255 + 1 for index in range(length))


def _with_store(factory: Callable[[int], Store], size: int, check: Callable[[Store], None]) -> None:
    store = factory(size)
    try:
        check(store)
    finally:
        store.close()


def _descriptors() -> set[tuple[int, str]]:
    found = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            found.add((int(name), os.readlink(f"/proc/self/fd/{name}")))
        except OSError:     # the one of listdir itself
            continue
    return found


def _check_capabilities(store: Store) -> None:
    capabilities = store.capabilities
    assert capabilities.size == _SIZE
    assert not capabilities.read_only
    assert capabilities.block_size >= 1
    descriptor = store.fileno()
    assert descriptor is None or descriptor >= 0
    assert list(store.reap()) == []


def _check_zeros(store: Store) -> None:
    size = store.capabilities.size
    spans = ((0, 4096), (0, 1), (511, 4098), (size - 4096, 4096), (size - 1, 1), (size, 0), (0, 0))
    for offset, length in spans:
        _same(_read(store, offset, length), bytes(length), f"not zeros at {offset}")


def _check_range(store: Store) -> None:
    size = store.capabilities.size
    refused: tuple[IoRequest[Any], ...] = (
        Read(size, 1), Read(size - 1, 2), Read(-1, 1), Read(-4096, 4096), Read(1 << 80, 512),
        Read(0, size + 1),
        Write(size, 1, b"x"), Write(size - 1, 2, b"xy"), Write(-1, 1, b"x"), Write(1 << 80, 1, b"x"),
    )
    for request in refused:
        _refused(store, request, IoFault.OUT_OF_RANGE)
    if store.capabilities.discard:
        _refused(store, Discard(size - 512, 1024), IoFault.OUT_OF_RANGE)
        _refused(store, Discard(-1, 1), IoFault.OUT_OF_RANGE)
    if store.capabilities.fill:
        _refused(store, Fill(size - 512, 1024, bytes(512)), IoFault.OUT_OF_RANGE)
    if store.capabilities.extents:
        _refused(store, Extents(size - 512, 1024), IoFault.OUT_OF_RANGE)
    _same(_read(store, size - 4096, 4096), bytes(4096), "a refused request changed something")


def _check_unsupported(store: Store) -> None:
    capabilities = store.capabilities
    requests: tuple[tuple[bool, IoRequest[Any]], ...] = (
        (capabilities.discard, Discard(0, 4096)), (capabilities.fill, Fill(0, 4096, b"x")),
        (capabilities.extents, Extents(0, 4096)), (capabilities.resize, Resize(4096)),
        (False, _UnknownRequest()),
    )
    for supported, request in requests:
        if not supported:
            _refused(store, request, IoFault.UNSUPPORTED)


class _UnknownRequest(IoRequest[None]):
    __slots__ = ()


def _check_round_trip(store: Store) -> None:
    spans = (
        (0, 512), (512, 4096), (4095, 2), (8191, 4099), (65535, 131073), (300_000, 520), (400_000, 4160),
        (7, 1), (_SIZE - 1, 1), (_SIZE - 4097, 4096),
    )
    for seed, (offset, length) in enumerate(spans):
        for fua in (False, True):
            data = _pattern(length, seed + fua)
            before = _read(store, max(0, offset - 16), min(16, offset))
            _write(store, offset, data, fua=fua)
            _same(_read(store, offset, length), data, f"round trip of {length} bytes at {offset}")
            _same(_read(store, max(0, offset - 16), min(16, offset)), before, f"neighbours of {offset}")
    _write(store, 0, b"")
    for kind in (bytes, bytearray, memoryview):
        data = _pattern(1000, 77)
        _write(store, 3000, kind(data))
        _same(_read(store, 3000, 1000), data, f"data in a {kind.__name__}")
    whole = _pattern(_SIZE, 9)
    _write(store, 0, whole)
    _same(_read(store, 0, _SIZE), whole, "round trip of the whole store")


def _check_copies(store: Store) -> None:
    """The buffer of a Write is the caller's again when submit returns; an answer is a snapshot."""
    tickets = 0
    for index in range(64):
        source = bytearray(_pattern(1536, index))
        request = Write(index * 2048 + 100, 1536, memoryview(source), fua=index % 4 == 0)
        if request.fua and not store.capabilities.fua:
            request.fua = False
        answer = store.submit(request, cast(Ticket, _Ticket(f"write {index}")))  # opaque to stores
        source[:] = bytes(1536)
        tickets += answer is PENDING
        assert answer is None or answer is PENDING, f"write answered {answer!r}"
    answers = collect(store, tickets) if tickets else {}
    assert all(answer is None for answer in answers.values()), answers
    for index in range(64):
        _same(_read(store, index * 2048 + 100, 1536), _pattern(1536, index), "a kept view was overwritten")
    for offset, length in ((4096, 4096), (100, 1536), (0, 65536)):
        answer = perform(store, Read(offset, length))
        before = bytes(answer)
        _write(store, offset, _pattern(length, 200))
        _same(bytes(answer), before, "a later write changed an answer already given")


def _check_discard(store: Store) -> None:
    for offset, length in ((4096, 8192), (20_001, 3), (30_000, 50_000), (100_000, 65_536), (0, 512), (5, 0)):
        model = bytearray(_pattern(_SIZE))
        _write(store, 0, model)
        _done(store, Discard(offset, length))
        model[offset:offset + length] = bytes(length)
        _same(_read(store, 0, _SIZE), model, f"Discard({offset}, {length})")
    _done(store, Discard(0, _SIZE))
    _same(_read(store, 0, _SIZE), bytes(_SIZE))


def _check_fill(store: Store) -> None:
    cases = (
        (0, 4096, b"\xaa"), (511, 1024, b"ab"), (4095, 520 * 9, _pattern(520)), (70_000, 300_000, b"abc"),
        (12_345, 8192, bytes(4096)), (0, _SIZE, bytes(512)), (0, _SIZE, _pattern(4096)), (9, 0, b"x"),
    )
    model = bytearray(_SIZE)
    for index, (offset, length, pattern) in enumerate(cases):
        _done(store, Fill(offset, length, pattern, fua=index % 2 == 0))
        model[offset:offset + length] = pattern * (length // len(pattern))
        _same(_read(store, 0, _SIZE), model, f"Fill({offset}, {length}, {len(pattern)}-byte pattern)")


def _check_flush(store: Store) -> None:
    _done(store, Flush())
    _write(store, 123, b"durable")
    _done(store, Flush())
    _done(store, Flush())
    _same(_read(store, 123, 7), b"durable")


def _check_late(store: Store) -> None:
    """Many requests at once: each is answered exactly once."""
    waiting: dict[_Ticket, str] = {}
    for index in range(100):
        request: IoRequest[Any] = Read(index * 4096, 4096)
        if index % 3 == 1:
            request = Write(index * 4096, 4096, _pattern(4096, index))
        elif index % 3 == 2:
            request = Flush()
        ticket = _Ticket(f"{index}: {request!r}")
        answer = store.submit(request, cast(Ticket, ticket))  # opaque to stores
        assert not isinstance(answer, IoFailed), f"{ticket}: {answer}"
        if answer is PENDING:
            waiting[ticket] = "late"
    if waiting:
        answers = collect(store, len(waiting))
        assert answers.keys() == waiting.keys()
        assert not any(isinstance(answer, IoFailed) for answer in answers.values()), answers
    assert list(store.reap()) == []


def _check_close(store: Store) -> None:
    """Close with requests in flight: all are answered, later ones are GONE, closing twice is allowed."""
    waiting = set()
    for index in range(8):
        ticket = _Ticket(f"flush {index}")
        if store.submit(Flush(), cast(Ticket, ticket)) is PENDING:  # opaque to stores
            waiting.add(ticket)
    store.close()
    assert {cast(object, ticket) for ticket, _ in store.reap()} == waiting, "closing lost answers"
    requests: tuple[IoRequest[Any], ...] = (Read(0, 512), Read(0, 0), Write(0, 1, b"x"), Flush())
    for request in requests:
        _refused(store, request, IoFault.GONE)
    store.close()


def _check_extents(store: Store) -> None:
    assert sum(extent.length for extent in _map(store, 0, _SIZE)) == _SIZE
    for offset, length in ((0, 1), (4095, 2), (_SIZE - 1, 1), (12_345, 100_000)):
        _map(store, offset, length)
    for offset in (0, 65_536, 131_072 + 512, _SIZE - 4096):
        _write(store, offset, _pattern(4096, offset))
    content = _read(store, 0, _SIZE)
    for limit in (1, 2, 1024):
        for extent in _map(store, 0, _SIZE, limit):
            if extent.kind == ExtentKind.HOLE:
                hole = content[extent.offset:extent.offset + extent.length]
                assert not any(hole), f"data in a hole: {extent}"
    if store.capabilities.discard:
        _done(store, Discard(0, _SIZE))
        for extent in _map(store, 0, _SIZE):
            if extent.kind == ExtentKind.HOLE:
                _same(_read(store, extent.offset, extent.length), bytes(extent.length))


def _check_resize(store: Store) -> None:
    if not store.capabilities.resize:
        return
    _write(store, 0, _pattern(_SIZE))
    content = _read(store, 0, _SIZE)
    for size in (_SIZE - 1000, _SIZE // 2 + 7, 3 * _SIZE, _SIZE):
        old = store.capabilities.size
        _done(store, Resize(size))
        assert store.capabilities.size == size
        content = (content[:size] + bytes(max(0, size - old)))[:size]
        _same(_read(store, 0, size), content, f"after Resize({size})")
        _refused(store, Read(size, 1), IoFault.OUT_OF_RANGE)
    _refused(store, Resize(-1), IoFault.OUT_OF_RANGE)


def _check_far(store: Store) -> None:
    for offset in ((1 << 40) - 3, (1 << 40) + 4096, 1 << 41, _FAR - 4096):
        data = _pattern(4096, offset % 250)
        _write(store, offset, data)
        _same(_read(store, offset, 4096), data, f"round trip at {offset}")
    _same(_read(store, 1 << 39, 4096), bytes(4096))
    extents = _map(store, (1 << 41) - (1 << 20), 1 << 21)
    assert any(e.offset <= 1 << 41 < e.offset + e.length and e.kind == ExtentKind.DATA for e in extents)
    if store.capabilities.discard:
        _done(store, Discard(0, _FAR))
        _same(_read(store, 1 << 41, 4096), bytes(4096))


def _check_read_only(store: Store) -> None:
    assert store.capabilities.read_only
    content = _read(store, 0, store.capabilities.size)
    requests: tuple[IoRequest[Any], ...] = (Write(0, 4, b"data"), Write(0, 4, b"data", fua=True))
    for request in requests:
        _refused(store, request, IoFault.READ_ONLY)
    others: tuple[IoRequest[Any], ...] = (Discard(0, 4096), Fill(0, 512, b"x"), Resize(4096))
    for request in others:
        _refused(store, request, IoFault.READ_ONLY, IoFault.UNSUPPORTED)
    _done(store, Flush())
    _map(store, 0, store.capabilities.size)
    _same(_read(store, 0, store.capabilities.size), content)


def _check_read_only_range(store: Store) -> None:
    size = store.capabilities.size
    refused: tuple[IoRequest[Any], ...] = (
        Read(size, 1), Read(size - 1, 2), Read(-1, 1), Read(-4096, 4096), Read(1 << 80, 512), Read(0, size + 1),
    )
    for request in refused:
        _refused(store, request, IoFault.OUT_OF_RANGE)
    _refused(store, _UnknownRequest(), IoFault.UNSUPPORTED)
    if not store.capabilities.extents:
        _refused(store, Extents(0, 4096), IoFault.UNSUPPORTED)


def _check_read_only_late(store: Store) -> None:
    """Many requests at once: each is answered exactly once, with what it asked for."""
    size = store.capabilities.size
    wanted: dict[Any, int] = {}
    for index in range(100):
        offset = index * 4099 % (size - 8192)
        ticket = _Ticket(f"{index}: {offset}")
        answer = store.submit(Read(offset, 8192), cast(Ticket, ticket))  # opaque to stores
        assert not isinstance(answer, IoFailed), f"{ticket}: {answer}"
        if answer is PENDING:
            wanted[ticket] = offset
        else:
            _same(answer, _read(store, offset, 8192), f"{ticket} answered at once")
    answers = collect(store, len(wanted)) if wanted else {}
    assert answers.keys() == wanted.keys()
    for ticket, offset in wanted.items():
        assert not isinstance(answers[ticket], IoFailed), f"{ticket}: {answers[ticket]}"
        _same(answers[ticket], _read(store, offset, 8192), f"{ticket} answered late")
    assert list(store.reap()) == []


def _check_content(store: Store, content: bytes) -> None:
    """All of it in steps of many lengths, and pieces that begin and end anywhere."""
    size = len(content)
    assert store.capabilities.size == size
    for step in (size, 65_536, 12_345):
        for offset in range(0, size, step):
            length = min(step, size - offset)
            _same(_read(store, offset, length), content[offset : offset + length], f"{length} bytes at {offset}")
    for index in range(500):
        offset = index * 7919 % size
        length = min(index * 37 % 5000, size - offset)
        _same(_read(store, offset, length), content[offset : offset + length], f"{length} bytes at {offset}")


def _check_model(factory: Callable[[int], Store], examples: int) -> None:
    """Random histories against a bytearray."""
    import hypothesis  # the kit's only use of it: without hypothesis the module can still be imported
    from hypothesis import strategies as st

    size = 100_000
    span = st.tuples(st.integers(0, size), st.integers(0, 20_000)).map(
        lambda pair: (pair[0], min(pair[1], size - pair[0]))
    )
    step = st.tuples(
        st.sampled_from(["write", "write", "write", "fua", "discard", "fill", "flush", "map", "read"]),
        span, st.integers(1, 255), st.sampled_from([1, 2, 3, 512, 520]),
    )

    @hypothesis.settings(
        max_examples=examples, deadline=None, database=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(st.lists(step, max_size=20))
    def compare(history: list[tuple[str, tuple[int, int], int, int]]) -> None:
        store = factory(size)
        try:
            model = bytearray(size)
            for verb, (offset, length), seed, period in history:
                _step(store, model, verb, offset, length, _pattern(period, seed))
            _same(_read(store, 0, size), model)
        finally:
            store.close()

    compare()


def _step(store: Store, model: bytearray, verb: str, offset: int, length: int, pattern: bytes) -> None:
    """One step of a history, done to store and model."""
    end = offset + length
    if verb in ("write", "fua"):
        model[offset:end] = (pattern * (length // len(pattern) + 1))[:length]
        _write(store, offset, model[offset:end], fua=verb == "fua")
    elif verb == "discard":
        model[offset:end] = bytes(length)
        _done(store, Discard(offset, length))
    elif verb == "fill":
        length -= length % len(pattern)
        model[offset:offset + length] = pattern * (length // len(pattern))
        _done(store, Fill(offset, length, pattern))
    elif verb == "flush":
        _done(store, Flush())
    elif verb == "map":
        for extent in _map(store, offset, length):
            if extent.kind == ExtentKind.HOLE:
                hole = model[extent.offset:extent.offset + extent.length]
                assert not any(hole), f"data in a hole: {extent}"
    else:
        _same(_read(store, offset, length), model[offset:end])

"""The filter that fails by rule."""

from __future__ import annotations

import itertools
import time

import pytest

from iohandlers import file, memory
from iohandlers.faulty import open_store, parse_rules
from scsiemu.errors import IoFailed, IoFault
from scsiemu.io_requests import PENDING, Discard, Flush, Read, Write
from scsiemu.testing.io_handler_kit import check_io_handler, collect, perform

MIB = 1 << 20


def faulty(rules, **options):
    """A filter over 1 MiB of memory."""
    return open_store(next_store=memory.open_store(size=MIB), rules=rules, **options)


def test_faulty_conformance(tmp_path):
    """Without rules it is what its next store is; late answers pass through."""
    names = itertools.count()
    check_io_handler(lambda size: faulty_file(tmp_path / f"{next(names)}", size), examples=10)


def faulty_file(path, size):
    """A filter without rules over a file."""
    return open_store(next_store=file.open_store(path=path, size=size))


def test_faulty_conformance_delayed():
    """With delays every answer is late, and still right."""
    check_io_handler(
        lambda size: open_store(next_store=memory.open_store(size=size), rules="delay any seconds=0.00001"),
        examples=10,
    )


def test_fail_range():
    """Only requests that touch the range fail; the failure says where."""
    store = faulty("fail read fault=medium offset=4K..8191")

    assert perform(store, Read(0, 4096)) == bytes(4096)
    assert perform(store, Read(8192, 4096)) == bytes(4096)
    failure = perform(store, Read(0, 4097))
    assert (failure.fault, failure.offset) == (IoFault.MEDIUM, 4096)
    assert perform(store, Read(8191, 1)).offset == 8191
    assert perform(store, Write(4096, 1, b"x")) is None


def test_fail_nth_count():
    """nth is the first match that fails, count how many do."""
    store = faulty("fail flush fault=no-space nth=2 count=2")
    answers = [perform(store, Flush()) for _ in range(5)]

    assert [isinstance(answer, IoFailed) for answer in answers] == [False, True, True, False, False]
    assert answers[1].fault == IoFault.NO_SPACE
    assert (store.rules[0].matched, store.rules[0].hits) == (5, 2)


def test_fail_any():
    """any is every verb."""
    store = faulty("fail any fault=gone")

    for request in (Read(0, 1), Write(0, 1, b"x"), Flush(), Discard(0, 1)):
        assert store.submit(request, None).fault == IoFault.GONE


def test_rules_first_applies():
    """The first rule that applies is obeyed."""
    store = faulty("fail write fault=no-space count=1; fail write fault=medium")

    assert perform(store, Write(0, 1, b"x")).fault == IoFault.NO_SPACE
    assert perform(store, Write(0, 1, b"x")).fault == IoFault.MEDIUM


def test_delay_manual():
    """On the manual clock an answer comes when the clock says so, in the order of the due times."""
    store = faulty("delay write seconds=5", manual_clock=True)
    source = bytearray(b"data")
    assert store.submit(Write(0, 4, memoryview(source)), "late") is PENDING
    source[:] = b"none"
    store.advance(4.9)
    assert list(store.reap()) == []
    assert store.deadline() == 5.0
    assert perform(store, Read(0, 4)) == bytes(4)
    store.advance(5.0)

    assert collect(store, 1) == {"late": None}
    assert perform(store, Read(0, 4)) == b"data"
    assert store.deadline() is None


def test_delay_real():
    """On the real clock fileno becomes readable when it is time; submit does not wait."""
    store = faulty("delay read seconds=0.05")
    begin = time.monotonic()
    assert store.submit(Read(0, 4), "late") is PENDING
    assert time.monotonic() - begin < 0.04

    assert collect(store, 1) == {"late": bytes(4)}
    assert time.monotonic() - begin >= 0.05


def test_short_read():
    """A short read gives less than was asked for."""
    assert perform(faulty("short read bytes=100"), Read(0, 512)) == bytes(100)


def test_short_write():
    """A short write is a lie: GOOD, but only its beginning is there."""
    store = faulty("short write bytes=2")
    assert perform(store, Write(0, 4, b"abcd")) is None

    assert perform(store, Read(0, 4)) == b"ab\0\0"


def test_torn_write():
    """A torn write did its beginning, then failed there."""
    store = faulty("torn write bytes=1K fault=no-space")
    failure = perform(store, Write(512, 4096, b"x" * 4096))

    assert (failure.fault, failure.offset) == (IoFault.NO_SPACE, 1536)
    assert perform(store, Read(0, 4096)) == bytes(512) + b"x" * 1024 + bytes(2560)


def test_torn_write_late(tmp_path):
    """The same where the next store answers late."""
    store = open_store(
        next_store=file.open_store(path=tmp_path / "f", size=MIB), rules="torn write bytes=512; short read bytes=3"
    )
    failure = perform(store, Write(0, 4096, b"x" * 4096, fua=True))

    assert (failure.fault, failure.offset) == (IoFault.MEDIUM, 512)
    assert perform(store, Read(510, 8)) == b"xx\0"
    store.close()


def test_close_delayed():
    """Requests that still wait at close are answered GONE."""
    store = faulty("delay read seconds=1000")
    store.submit(Read(0, 1), "late")
    store.close()

    ((ticket, answer),) = store.reap()
    assert (ticket, answer.fault) == ("late", IoFault.GONE)


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ("explode read", "there is no action explode, only fail, delay, short, torn"),
        ("fail", "the verb is missing"), ("fail offset=1", "the verb is missing"),
        ("fail seek", "fail has no verb seek"), ("torn read bytes=1", "torn has no verb read, only write"),
        ("fail read fault=bad", "there is no fault bad, only medium, no-space"),
        ("fail read nth=0", "nth=0 is not a number of at least 1"),
        ("fail read count", "count is not of the form option=value"),
        ("fail read count=", "not of the form"), ("fail read seconds=1", "fail has no option seconds="),
        ("fail read nth=1 nth=2", "nth= is there twice"), ("delay read", "delay needs seconds="),
        ("delay read seconds=soon", "seconds=soon is not a time"), ("delay read seconds=nan", "not a time"),
        ("delay read seconds=-1", "not a time"), ("short read", "short needs bytes="),
        ("fail read offset=5..3", "ends before it begins"), ("fail read offset=x", "offset=x is not a number"),
        ("fail read offset=K", "is not a number"), ("fail read; nonsense", "rule 'nonsense'"),
    ],
)
def test_parse_rules_refuses(rules, message):
    """A rule that is wrong is refused with a sentence that quotes it."""
    with pytest.raises(ValueError, match=message):
        parse_rules(rules)


def test_parse_rules():
    """Sizes have suffixes, ranges may be open, empty rules are nothing."""
    first, second = parse_rules(" fail any offset=1M..2M ;; delay flush seconds=1.5 nth=3;")

    assert (first.first, first.last, first.fault, first.count) == (1 << 20, 2 << 20, IoFault.MEDIUM, None)
    assert (second.seconds, second.nth, second.first) == (1.5, 3, None)
    assert parse_rules("fail read offset=7..")[0].last is None
    assert parse_rules("fail read offset=7")[0].last == 7
    assert parse_rules("") == ()


def test_open_store_options():
    """A filter needs a next store."""
    with pytest.raises(ValueError, match="next_store= is missing"):
        open_store(rules="")
    with pytest.raises(ValueError, match="no option rule="):
        open_store(next_store=memory.open_store(size=1), rule="")

"""The native cartridge format, without a drive: records, positioning, overwriting, and cuts of power."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vt_store import CutStore, SpoiledStore, perform

from devtypes.vt import (
    Attribute,
    Block,
    CartridgeKind,
    Kind,
    MediumUnusable,
    NewCartridge,
    TapeMedium,
    Unusable,
)
from devtypes.vt.medium_layout import DATA_START, HEADER_SIZE, SLOT_SIZE, decode_header, decode_state
from scsiemu.errors import IoFailed, IoFault

_SIZE = DATA_START + (1 << 18)

# A tape as a list: bytes are blocks, None is a filemark.
Contents = list[bytes | None]


def _formatted(size: int = _SIZE, **options: Any) -> tuple[CutStore, TapeMedium]:
    store = CutStore(size)
    return store, perform(TapeMedium.format(store.capabilities, NewCartridge(**options)), store)


def _append(store: CutStore, medium: TapeMedium, contents: Contents, partition: int = 0) -> None:
    position = medium.end(partition)
    for each in contents:
        if each is None:
            position = perform(medium.write_marks(position, 1), store)
        else:
            position = perform(medium.write(position, [Block(each, len(each))]), store)


def _contents(store: CutStore, medium: TapeMedium, partition: int = 0) -> Contents:
    """Everything, read front to back."""
    found: Contents = []
    position = medium.beginning(partition)
    while (record := perform(medium.read(position), store)) is not None:
        assert record.before == position
        found.append(None if record.header.kind == Kind.FILEMARK else bytes(record.data))
        position = record.behind
    assert position == medium.end(partition)
    return found


def _reopened(store: CutStore) -> TapeMedium:
    return perform(TapeMedium.open(store.capabilities), store)


def test_medium_read_gives_what_was_written() -> None:
    """Blocks and filemarks come back in order, with their positions, forward and in reverse."""
    store, medium = _formatted()
    contents: Contents = [b"one", None, None, b"three" * 100, b"x", None]
    _append(store, medium, contents)

    assert _contents(store, medium) == contents
    position, backwards = medium.end(0), []
    while (record := perform(medium.read_before(position), store)) is not None:
        assert record.behind == position
        backwards.append(None if record.header.is_mark else bytes(record.data))
        position = record.before
    assert backwards == contents[::-1]
    assert position == medium.beginning(0)


def test_medium_locate_finds_every_object_and_mark() -> None:
    """Each object and each filemark is found from the end of data, with the filemarks before it."""
    store, medium = _formatted()
    contents: Contents = [None if n % 5 == 2 or n % 7 == 3 else bytes((n,)) * (n % 11 + 1) for n in range(200)]
    _append(store, medium, contents)

    marks = 0
    for number, each in enumerate(contents):
        position = perform(medium.locate(0, number), store)
        assert (position.object, position.marks) == (number, marks)
        if each is None:
            marks += 1
            found = perform(medium.locate_mark(0, marks), store)
            assert found is not None
            assert found.before == position
    assert perform(medium.locate_mark(0, marks + 1), store) is None
    assert perform(medium.locate(0, 5000), store) == medium.end(0)


def test_medium_positioning_costs_a_logarithm() -> None:
    """Any of many records is reached with O(log n) reads, after a fresh open too; opening does not read the tape."""
    count = 40_000
    store, medium = _formatted(DATA_START + count * (HEADER_SIZE + 8))
    position = medium.end(0)
    position = perform(medium.write(position, [Block(b"12345678", 8)] * count), store)
    perform(medium.close(), store)

    bound = 3 * math.ceil(math.log2(count))
    chance = random.Random(1)
    for _ in range(50):
        store.reads = store.read_bytes = 0
        fresh = _reopened(store)
        assert store.read_bytes < DATA_START + (2 << 20)
        store.reads = 0
        number = chance.randrange(count)
        assert perform(fresh.locate(0, number), store).object == number
        assert store.reads <= bound


def test_medium_overwrite_truncates() -> None:
    """Writing before the end of data makes what was written the last thing on the tape, now and after reopening."""
    store, medium = _formatted()
    _append(store, medium, [b"a", None, b"b", b"c", None])
    position = perform(medium.locate(0, 2), store)
    perform(medium.write(position, [Block(b"new", 3)]), store)

    assert _contents(store, medium) == [b"a", None, b"new"]
    assert _contents(store, _reopened(store)) == [b"a", None, b"new"]


def test_medium_partitions_are_apart() -> None:
    """Partitions hold their own objects; making them anew forgets all of them."""
    store, medium = _formatted(partitions=(1, 3))
    _append(store, medium, [b"zero", None], 0)
    _append(store, medium, [b"one"], 1)

    assert _contents(store, medium, 0) == [b"zero", None]
    assert _contents(store, medium, 1) == [b"one"]
    perform(medium.sync(), store)
    assert _contents(store, _reopened(store), 1) == [b"one"]
    perform(medium.repartition((1, 1, 2)), store)
    again = _reopened(store)
    assert [_contents(store, again, n) for n in range(again.partitions)] == [[], [], []]


def test_medium_room_is_to_the_byte() -> None:
    """`room` counts headers and data to the end of the partition."""
    store, medium = _formatted()
    before = medium.room(medium.end(0))
    _append(store, medium, [b"x" * 100, None])

    assert medium.room(medium.end(0)) == before - 100 - 2 * HEADER_SIZE
    assert before == medium.size(0)


def test_medium_state_keeps_attributes_and_counters() -> None:
    """Attributes, counters, kind and tab outlive a reopening."""
    store, medium = _formatted(kind=CartridgeKind.WORM, density=0x5E, medium_type=0x5C)
    medium.set_attribute(Attribute(0x0806, 1, b"A00001L7".ljust(32)))
    medium.set_attribute(Attribute(0x0803, 2, b"label"))
    medium.set_attribute(Attribute(0x0803, 2, b""))
    medium.loads, medium.bytes_written = 3, 1 << 40
    medium.protect(True)
    perform(medium.close(), store)

    again = _reopened(store)
    assert again.attributes() == (Attribute(0x0806, 1, b"A00001L7".ljust(32)),)
    assert (again.loads, again.bytes_written, again.worm) == (3, 1 << 40, True)
    assert (again.state.density, again.state.medium_type, again.state.write_protected) == (0x5E, 0x5C, True)


@pytest.mark.parametrize(
    ("data", "why"),
    [(b"", Unusable.BLANK), (b"#!/bin/sh\n", Unusable.FOREIGN)],
)
def test_medium_open_refuses_what_is_no_cartridge(data: bytes, why: str) -> None:
    """A store that was never written to is told from one that holds something else."""
    store = CutStore(_SIZE)
    store.now[: len(data)] = data

    with pytest.raises(MediumUnusable) as refused:
        _reopened(store)
    assert refused.value.why == why


def test_medium_open_refuses_later_versions() -> None:
    """A cartridge of a later version of the format is left alone."""
    store, _ = _formatted()
    for slot in (0, SLOT_SIZE):
        store.now[slot + 8 : slot + 10] = b"\x00\x09"

    with pytest.raises(MediumUnusable) as refused:
        _reopened(store)
    assert refused.value.why in (Unusable.NEWER, Unusable.FOREIGN)


def test_medium_damaged_block_is_told() -> None:
    """A flipped bit in a block is found, and the blocks around it can still be read."""
    store, medium = _formatted()
    _append(store, medium, [b"first", b"second", b"third"])
    position = perform(medium.locate(0, 1), store)
    store.now[position.offset + HEADER_SIZE] ^= 1
    perform(medium.close(), store)

    fresh = _reopened(store)
    with pytest.raises(MediumUnusable):
        perform(fresh.read(position), store)
    behind = perform(fresh.step_over(position), store)
    record = perform(fresh.read(behind), store)
    assert record is not None
    assert bytes(record.data) == b"third"


def _is_beginning(found: Contents, whole: Contents) -> bool:
    return whole[: len(found)] == found


def test_medium_survives_a_cut_at_every_byte() -> None:
    """Whatever byte the power goes at: the tape ends behind the last complete record, all before the sync is there."""
    store, medium = _formatted()
    synced: Contents = [b"kept", None]
    _append(store, medium, synced)
    perform(medium.sync(), store)
    later: Contents = [b"A" * 40, None, b"", b"B" * 13]
    _append(store, medium, later)

    lengths = [HEADER_SIZE + len(each or b"") for each in later]
    for keep in range(sum(lengths) + 1):
        after = store.cut(keep=keep)
        complete = sum(sum(lengths[: n + 1]) <= keep for n in range(len(lengths)))
        assert _contents(after, _reopened(after)) == synced + later[:complete]


def test_medium_survives_a_cut_while_overwriting() -> None:
    """A cut while the tape is cut off leaves the old tape, or the beginning of the new one: never a mixture."""
    old: Contents = [b"one", b"two", None, b"three", b"four"]
    store, medium = _formatted()
    _append(store, medium, old)
    perform(medium.sync(), store)
    new: Contents = [b"one", b"TWO", None, b"3"]
    position = perform(medium.locate(0, 1), store)
    steps = medium.write(position, [Block(b"TWO", 3)])
    chance = random.Random(2)
    answer = None
    while True:
        for _ in range(20):
            after = store.cut(chance)
            found = _contents(after, _reopened(after))
            assert found == old or (_is_beginning(found, new) and len(found) >= 1)
        try:
            answer = store.submit(steps.send(answer), None)
        except StopIteration:
            break


def test_medium_lost_records_do_not_come_back() -> None:
    """A record that lies behind a hole that a cut left is not found again when the hole is filled with the same."""
    store, medium = _formatted()
    perform(medium.sync(), store)
    _append(store, medium, [b"first", b"second", b"third"])
    after = store.cut(keep=0)
    for offset, data in (store.unflushed[0], store.unflushed[2]):
        after.now[offset : offset + len(data)] = data
    fresh = _reopened(after)
    assert _contents(after, fresh) == [b"first"]
    _append(after, fresh, [b"second"])

    assert _contents(after, _reopened(after)) == [b"first", b"second"]


class _Failing(CutStore):
    """Refuses the n-th write."""

    fail_at = -1

    def submit(self, request: Any, ticket: Any) -> Any:
        if type(request).__name__ == "Write":
            self.fail_at -= 1
            if self.fail_at == 0:
                offset, data = request.offset, bytes(request.data)
                self._write(offset, data[: len(data) // 2])
                return IoFailed(IoFault.MEDIUM)
        return super().submit(request, ticket)


@pytest.mark.parametrize("fail_at", range(1, 7))
def test_medium_goes_on_after_a_failed_write(fail_at: int) -> None:
    """After a write that failed the tape ends where it did, and can be written to."""
    store = _Failing(_SIZE)
    medium = perform(TapeMedium.format(store.capabilities), store)
    store.fail_at = fail_at
    wanted: Contents = []
    for number in range(8):
        block = bytes((number,)) * 20
        try:
            perform(medium.write(medium.end(0), [Block(block, 20), Block(block, 20)]), store)
        except IoFailed:
            continue
        wanted += [block, block]

    assert _contents(store, medium) == wanted
    assert _contents(store, _reopened(store)) == wanted


def test_medium_bad_spot_costs_no_more_than_its_record() -> None:
    """What is read ahead of need may be unreadable: records before a bad spot are read, in few attempts, and a
    cartridge opens that has one behind its last record."""
    store = SpoiledStore(_SIZE)
    medium = perform(TapeMedium.format(store.capabilities), store)
    _append(store, medium, [bytes((number,)) * 100 for number in range(100)])
    perform(medium.sync(checkpoint=True), store)
    bad = perform(medium.locate(0, 70), store)
    medium = _reopened(store)
    position = medium.beginning(0)
    store.spoiled = bad.offset + HEADER_SIZE + 50
    for number in range(70):
        record = perform(medium.read(position, 100 * 100), store)
        assert record is not None
        assert bytes(record.data) == bytes((number,)) * 100
        position = record.behind
    with pytest.raises(IoFailed):
        perform(medium.read(position, 100 * 100), store)
    assert store.refused < 60
    behind = perform(medium.step_over(position), store)
    assert (behind.object, perform(medium.read(behind), store) is not None) == (71, True)

    store.spoiled = medium.end(0).offset + 3 * HEADER_SIZE
    assert _reopened(store).end(0).object == 100


@settings(max_examples=60, deadline=None)
@given(st.data(), st.randoms(use_true_random=False))
def test_medium_survives_any_cut(data: st.DataObject, chance: random.Random) -> None:
    """After any row of writes, overwrites and syncs with cuts of reordered, torn and lost writes in between: the tape
    is the synced one, or one that the writes since then made on their way."""
    store = CutStore(_SIZE)
    medium = perform(TapeMedium.format(store.capabilities), store)
    contents: Contents = []
    possible: list[Contents] = [[]]
    for _ in range(data.draw(st.integers(1, 25))):
        step = data.draw(st.sampled_from(("block", "block", "mark", "sync", "overwrite", "cut")))
        if step == "sync":
            perform(medium.sync(checkpoint=data.draw(st.booleans())), store)
            possible = [list(contents)]
        elif step == "cut":
            store = store.cut(chance)
            medium = _reopened(store)
            contents = _contents(store, medium)
            assert contents in possible
            possible = [list(contents)]
        else:
            if step == "overwrite" and contents:
                contents = contents[: data.draw(st.integers(0, len(contents) - 1))]
                possible.append(list(contents))
            position = perform(medium.locate(0, len(contents)), store)
            block = None if step == "mark" else bytes((data.draw(st.integers(0, 255)),)) * data.draw(st.integers(0, 60))
            if block is None:
                perform(medium.write_marks(position, 1), store)
            else:
                perform(medium.write(position, [Block(block, len(block))]), store)
            contents.append(block)
            possible.append(list(contents))
    assert _contents(store, medium) == contents
    assert _contents(store, _reopened(store)) == contents


@given(st.binary(max_size=200))
def test_medium_headers_are_not_found_in_noise(noise: bytes) -> None:
    """Bytes that nobody wrote as a header or state are not taken for one, and raise nothing."""
    assert decode_header(noise, 0) is None
    assert decode_state(noise.ljust(SLOT_SIZE, b"\0")) is None

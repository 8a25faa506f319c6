"""The conformance kit of object stores: `check_object_store(factory)` is a test that every object store runs.

    def test_check_object_store():
        check_object_store(objects_memory.open_store, against=lambda: objects_sqlite.open_store(path=...))

Random histories of transactions, of which some are undone, go to the store and to another one that was written apart
from it; after each, everything that a transaction can ask has to be the same. It does NOT cut the power.
"""

from __future__ import annotations

import random
import select
from collections.abc import Callable
from typing import Any, Final, cast

from scsiemu.io_requests import PENDING, Flush, Store, Ticket
from scsiemu.object_requests import PRIVATE_PAGE, ObjectKind, ObjectTransaction, Rollback, Transact

__all__ = ["check_object_store", "transact"]

_PATIENCE: Final = 30.0         # seconds that an answer may take
_TICKET: Final = cast(Ticket, object())     # opaque to stores
_TOP: Final = (1 << 64) - 1
_PIDS: Final = (1 << 16, (1 << 16) + 1, _TOP)
_OIDS: Final = (1 << 16, (1 << 16) + 1, (1 << 16) + 2, 1 << 63, _TOP)
_PAGES: Final = (0, 0x10001, 0xFFFFFFFD, PRIVATE_PAGE)
_FAR: Final = (1 << 40) + 5


def transact(store: Store, work: Callable[[ObjectTransaction], Any]) -> Any:
    """The answer of one transaction."""
    return _ask(store, Transact(work))


def check_object_store(
    factory: Callable[[], Store], *, against: Callable[[], Store], examples: int = 20, seed: int = 0
) -> None:
    """Raises AssertionError where a store breaks the rules of `object_requests`.

    Args:
        factory: makes an empty store.
        against: makes an empty store of another kind, which is right.
        examples: histories of up to 20 transactions.
        seed: of the random choices.
    """
    chance = random.Random(seed)
    for _ in range(examples):
        store, other = factory(), against()
        for _ in range(chance.randrange(20)):
            work = _work(chance.random())
            before = transact(store, _objects)
            assert transact(store, work) == transact(other, work)
            assert transact(store, _everything) == transact(other, _everything)
            _check_changes(before, transact(store, _objects))
        assert _ask(store, Flush()) is None
        store.close()
        other.close()


def _ask(store: Store, request: Any) -> Any:
    answer: Any = store.submit(request, _TICKET)
    while answer is PENDING:
        descriptor = store.fileno()
        assert descriptor is not None
        assert select.select([descriptor], [], [], _PATIENCE)[0], f"{request!r} is not answered"
        answer = next((late for _, late in store.reap()), PENDING)
    return answer


def _work(seed: float) -> Callable[[ObjectTransaction], Any]:
    """A transaction of a few steps; with the same seed and the same objects it does the same."""

    def work(tx: ObjectTransaction) -> list[Any]:
        chance = random.Random(seed)
        told = [_step(tx, chance) for _ in range(chance.randrange(12))]
        if chance.random() < 0.25:
            raise Rollback(told)
        return told

    return work


def _step(tx: ObjectTransaction, chance: random.Random) -> Any:
    """One thing that is allowed with the objects that are there."""
    pid = chance.choice(_PIDS)
    if tx.kind(pid, 0) is None:
        tx.create(pid, 0, ObjectKind.PARTITION)
        return "partition"
    oid = chance.choice(_OIDS)
    kind = tx.kind(pid, oid)
    if kind is None:
        tx.create(pid, oid, chance.choice((ObjectKind.USER, ObjectKind.USER, ObjectKind.COLLECTION)))
        return "object"
    verb = chance.randrange(16)
    if verb == 0:
        return tx.remove(pid, oid)
    if verb < 4:
        value = None if chance.random() < 0.3 else chance.randbytes(chance.randrange(30))
        owner = chance.choice((0, oid))
        return tx.set_attribute(pid, owner, chance.choice(_PAGES), chance.randrange(4), value)
    if verb == 4 and chance.random() < 0.1:
        return tx.erase()
    if verb == 5:
        return _copy(tx, pid, oid, chance)
    if kind == ObjectKind.COLLECTION:
        users = tx.objects(pid, ObjectKind.USER, 0, 99)
        if not users:
            return None
        member = chance.choice(users)
        return tx.leave(pid, oid, member) if chance.random() < 0.4 else tx.join(pid, oid, member, chance.randrange(3))
    return _change(tx, pid, oid, chance)


def _copy(tx: ObjectTransaction, pid: int, oid: int, chance: random.Random) -> Any:
    other = chance.choice(_PIDS)
    if tx.kind(other, 0) is None:
        return tx.copy_partition(pid, other)
    target = chance.choice(_OIDS)
    if tx.kind(pid, oid) == ObjectKind.USER and tx.kind(other, target) is None:
        tx.create(other, target, ObjectKind.USER)
        return tx.copy_data(pid, oid, other, target)
    return None


def _change(tx: ObjectTransaction, pid: int, oid: int, chance: random.Random) -> Any:
    """Change the data of a user object."""
    length = tx.length(pid, oid)
    at = chance.choice((0, chance.randrange(20_000), 65536 * chance.randrange(4), chance.randrange(200_000), _FAR))
    size = chance.choice((chance.randrange(1, 9000), 4096, 65536, chance.randrange(1, 250_000)))
    verb = chance.randrange(3)
    if verb == 0:
        return tx.write(pid, oid, at, chance.randbytes(size))
    if verb == 1:
        return tx.truncate(pid, oid, at)
    at = min(at, length)
    return tx.clear(pid, oid, at, min(size, length - at))


def _everything(tx: ObjectTransaction) -> list[Any]:
    """All that a transaction can ask."""
    told: list[Any] = [tx.used(0, 0), tx.last(0), tx.attributes(0, 0, None), tx.free(0, 1 << 16, 2)]
    for pid in tx.objects(0, ObjectKind.PARTITION, 0, 99):
        told += [pid, tx.used(pid, 0), tx.last(pid), tx.attributes(pid, 0, None), tx.attributes(pid, 0, PRIVATE_PAGE)]
        for kind in (ObjectKind.COLLECTION, ObjectKind.USER):
            ids = tx.objects(pid, kind, 0, 99)
            told += [tx.free(pid, 1 << 16, 1), tx.free(pid, (1 << 64) - 2, 1), tx.free(pid, 1 << 63, 1 << 63)]
            told += [ids, tx.count(pid, kind), tx.count(pid, kind, 1 << 63), tx.objects(pid, kind, 1 << 63, 1)]
            for oid in ids:
                told += [oid, tx.kind(pid, oid), tx.attributes(pid, oid, None), tx.attribute(pid, oid, 0x10001, 1)]
                told += _members(tx, pid, oid) if kind == ObjectKind.COLLECTION else _data(tx, pid, oid)
    return told


def _objects(tx: ObjectTransaction) -> dict[int, tuple[int, list[Any]]]:
    """By partition id, 0 for partitions: the number of its changes, its objects with their memberships."""
    partitions = tx.objects(0, ObjectKind.PARTITION, 0, 99)
    told: dict[int, tuple[int, list[Any]]] = {0: (tx.changes(0), partitions)}
    for pid in _PIDS:
        there: list[Any] = []
        if pid in partitions:
            users = tx.objects(pid, ObjectKind.USER, 0, 99)
            there = [(oid, sorted(cid for _, cid in tx.memberships(pid, oid))) for oid in users]
            there += tx.objects(pid, ObjectKind.COLLECTION, 0, 99)
        told[pid] = (tx.changes(pid), there)
    return told


def _check_changes(before: dict[int, tuple[int, list[Any]]], after: dict[int, tuple[int, list[Any]]]) -> None:
    """What is not the same any more has changed, and no number becomes smaller."""
    for pid, (changes, there) in before.items():
        assert after[pid][0] > changes or (after[pid][0] == changes and after[pid][1] == there)


def _members(tx: ObjectTransaction, pid: int, cid: int) -> list[Any]:
    return [tx.members(pid, cid, 0, 99), tx.members(pid, cid, (1 << 16) + 1, 1), tx.member_count(pid, cid),
            tx.member_count(pid, cid, (1 << 16) + 1)]


def _data(tx: ObjectTransaction, pid: int, oid: int) -> list[Any]:
    length = tx.length(pid, oid)
    near = tx.read(pid, oid, 0, min(length, 500_000)) if length else b""
    far = tx.read(pid, oid, length - min(length, 9000), min(length, 9000)) if length else b""
    extents = tx.extents(pid, oid, 0, 99)
    return [tx.memberships(pid, oid), length, tx.used(pid, oid), near, far, extents, tx.extents(pid, oid, 5000, 2)]

"""Object stores: transactions, and data compared with a model, on a folder and in memory."""

from __future__ import annotations

import secrets
import select
from itertools import count
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from iohandlers.objects_memory import MemoryObjects
from iohandlers.objects_memory import open_store as open_memory
from iohandlers.objects_sqlite import open_store
from scsiemu.errors import IoFailed, IoFault
from scsiemu.io_requests import PENDING, ExtentKind, Flush, Ticket
from scsiemu.object_requests import ObjectKind, ObjectTransaction, Rollback, Transact
from scsiemu.testing.object_store_kit import check_object_store

TICKET = cast(Ticket, object())


def ask(store: Any, request: Any) -> Any:
    """Submit, and wait for the answer."""
    answer = store.submit(request, TICKET)
    while answer is PENDING:
        select.select([store.fileno()], [], [], 10)
        answer = next((late for _, late in store.reap()), PENDING)
    return answer


@pytest.mark.parametrize("kind", ["memory", "folder"])
def test_rollback_leaves_nothing(kind: str, tmp_path: Path) -> None:
    """A transaction that raises Rollback has its answer, and nothing else of it is there."""
    store = open_memory() if kind == "memory" else open_store(path=str(tmp_path / "osd"))

    def work(tx: ObjectTransaction) -> None:
        tx.create(1 << 16, 0, ObjectKind.PARTITION)
        tx.create(1 << 16, 1 << 16, ObjectKind.USER)
        tx.write(1 << 16, 1 << 16, 0, b"data")
        raise Rollback("refused")

    assert ask(store, Transact(work)) == "refused"
    assert ask(store, Transact(lambda tx: (tx.kind(1 << 16, 0), tx.used(0, 0), tx.count(0, 2)))) == (None, 0, 0)
    store.close()


@pytest.mark.parametrize("kind", ["memory", "folder"])
def test_lists_go_on_behind_the_highest_id(kind: str, tmp_path: Path) -> None:
    """Behind the highest id that there can be nothing follows: whoever goes through all ids may ask from there."""
    store = open_memory() if kind == "memory" else open_store(path=str(tmp_path / "osd"))
    most = (1 << 64) - 1

    def work(tx: ObjectTransaction) -> list[list[int]]:
        tx.create(most, 0, ObjectKind.PARTITION)
        tx.create(most, 1 << 16, ObjectKind.COLLECTION)
        tx.create(most, most, ObjectKind.USER)
        tx.join(most, 1 << 16, most, 1)
        found = []
        for start in (most, most + 1):
            found.append(tx.objects(0, ObjectKind.PARTITION, start, 9))
            found.append(tx.objects(most, ObjectKind.USER, start, 9))
            found.append(tx.members(most, 1 << 16, start, 9))
        return found

    assert ask(store, Transact(work)) == [[most]] * 3 + [[]] * 3
    store.close()


def test_folder_survives(tmp_path: Path) -> None:
    """What was answered is there when the folder is opened again; two cannot have it open."""
    path = str(tmp_path / "osd")
    store = open_store(path=path)
    ask(store, Transact(lambda tx: tx.create((1 << 64) - 1, 0, ObjectKind.PARTITION)))
    with pytest.raises(ValueError, match="another server"):
        open_store(path=path)
    ask(store, Flush())
    store.close()
    again = open_store(path=path)

    assert ask(again, Transact(lambda tx: tx.objects(0, ObjectKind.PARTITION, 0, 9))) == [(1 << 64) - 1]
    again.close()


_STEPS = st.lists(
    st.tuples(st.sampled_from(("write", "clear", "truncate")), st.integers(0, 20000), st.integers(0, 9000)), max_size=12
)


@pytest.mark.parametrize(("kind", "scale"), [("memory", 1), ("folder", 1), ("folder", 16)])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(_STEPS)
def test_data_model(kind: str, scale: int, tmp_path_factory: Any, steps: list[tuple[str, int, int]]) -> None:
    """Data is what a bytearray would hold; extents cover it; holes are zeros; pieces are counted."""
    store = open_memory() if kind == "memory" else open_store(path=str(tmp_path_factory.mktemp("osd")))
    steps = [(verb, offset * scale, length * scale) for verb, offset, length in steps]
    model = bytearray()
    pid, oid = 1 << 16, 1 << 17

    def work(tx: ObjectTransaction) -> None:
        tx.create(pid, 0, ObjectKind.PARTITION)
        tx.create(pid, oid, ObjectKind.USER)
        for turn, (verb, offset, length) in enumerate(steps):
            if verb == "write":
                if length:
                    tx.write(pid, oid, offset, bytes((turn + 1,)) * length)
                    model.extend(bytes(max(0, offset + length - len(model))))
                    model[offset : offset + length] = bytes((turn + 1,)) * length
            elif verb == "truncate":
                tx.truncate(pid, oid, offset)
                del model[offset:]
                model.extend(bytes(offset - len(model)))
            else:
                offset = min(offset, len(model))
                length = min(length, len(model) - offset)
                tx.clear(pid, oid, offset, length)
                model[offset : offset + length] = bytes(length)
            assert tx.length(pid, oid) == len(model)
            assert tx.read(pid, oid, 0, len(model)) == model
        at = data = 0
        for extent in tx.extents(pid, oid, 0, 1000):
            assert extent.offset == at
            at += extent.length
            if extent.kind == ExtentKind.HOLE:
                assert not any(model[extent.offset : at])
            else:
                data += -(-at // 4096) - extent.offset // 4096
        assert at == len(model)
        assert data * 4096 == tx.used(pid, oid) == tx.used(pid, 0) == tx.used(0, 0)

    answer = ask(store, Transact(work))
    store.close()

    assert answer is None, answer


LARGE = 65536                        # what goes into the file at once


def make(tx: ObjectTransaction, data: bytes) -> None:
    """A partition with an object that has this data."""
    tx.create(1 << 16, 0, ObjectKind.PARTITION)
    tx.create(1 << 16, 1 << 16, ObjectKind.USER)
    tx.write(1 << 16, 1 << 16, 0, data)


def whole(tx: ObjectTransaction) -> bytes:
    """The data of that object."""
    return tx.read(1 << 16, 1 << 16, 0, tx.length(1 << 16, 1 << 16))


def test_large_data_in_file(tmp_path: Path) -> None:
    """Large data lies in the file beside the database, small data does not; it survives; what is freed is used again
    after a flush, and the file is cut."""
    path = tmp_path / "osd"
    data = secrets.token_bytes(3 * LARGE + 100)
    store = open_store(path=str(path))
    ask(store, Transact(lambda tx: make(tx, data)))
    ask(store, Flush())
    assert (path / "objects.data").read_bytes() == data[: 3 * LARGE]
    store.close()

    again = open_store(path=str(path))
    assert ask(again, Transact(whole)) == data
    ask(again, Transact(lambda tx: tx.write(1 << 16, 1 << 16, 0, bytes(LARGE))))
    assert (path / "objects.data").stat().st_size == 4 * LARGE       # the old part is history not before a flush
    ask(again, Flush())
    ask(again, Transact(lambda tx: tx.write(1 << 16, 1 << 16, LARGE, bytes(LARGE))))
    assert (path / "objects.data").stat().st_size == 4 * LARGE
    ask(again, Transact(lambda tx: tx.erase()))
    ask(again, Flush())
    assert (path / "objects.data").stat().st_size == 0
    assert sorted(each.name for each in path.iterdir()) == [
        "lock", "objects.data", "objects.sqlite", "objects.sqlite-shm", "objects.sqlite-wal"
    ]
    again.close()


def test_large_data_undone(tmp_path: Path) -> None:
    """What is undone leaves what was there in the file, too."""
    data = secrets.token_bytes(2 * LARGE)
    store = open_store(path=str(tmp_path / "osd"))
    ask(store, Transact(lambda tx: make(tx, data)))

    def work(tx: ObjectTransaction) -> None:
        for _ in range(3):
            tx.write(1 << 16, 1 << 16, 0, bytes(2 * LARGE))
        raise Rollback("refused")

    assert ask(store, Transact(work)) == "refused"
    assert ask(store, Transact(whole)) == data
    store.close()


def test_large_data_damaged(tmp_path: Path) -> None:
    """Data in the file that is not what was written is a medium error; small writes over it and other objects go on."""
    path = tmp_path / "osd"
    store = open_store(path=str(path))
    ask(store, Transact(lambda tx: make(tx, bytes(2 * LARGE))))
    store.close()
    with (path / "objects.data").open("r+b") as file:
        file.write(b"x")
    again = open_store(path=str(path))

    failed = ask(again, Transact(whole))
    assert isinstance(failed, IoFailed)
    assert failed.fault == IoFault.MEDIUM
    assert ask(again, Transact(lambda tx: tx.read(1 << 16, 1 << 16, LARGE, 9))) == bytes(9)
    assert ask(again, Transact(lambda tx: tx.write(1 << 16, 1 << 16, 0, bytes(LARGE)))) is None
    assert ask(again, Transact(whole)) == bytes(2 * LARGE)
    again.close()


def test_large_data_shared(tmp_path: Path) -> None:
    """A copy of a partition shares what is in the file, until one of both is written."""
    path = tmp_path / "osd"
    store = open_store(path=str(path))
    ask(store, Transact(lambda tx: make(tx, bytes(2 * LARGE))))
    ask(store, Transact(lambda tx: tx.copy_partition(1 << 16, 1 << 17)))
    assert (path / "objects.data").stat().st_size == 2 * LARGE
    ask(store, Transact(lambda tx: tx.write(1 << 17, 1 << 16, 0, b"x" * LARGE)))

    assert ask(store, Transact(whole)) == bytes(2 * LARGE)
    assert ask(store, Transact(lambda tx: tx.read(1 << 17, 1 << 16, 0, 2 * LARGE))) == b"x" * LARGE + bytes(LARGE)
    store.close()


@pytest.mark.parametrize("seed", range(4))
def test_check_object_store(seed: int, tmp_path: Path) -> None:
    """Both stores, written apart from each other, do the same in the same histories."""
    names = count()
    check_object_store(
        open_memory, against=lambda: open_store(path=str(tmp_path / f"{next(names)}")), examples=15, seed=seed
    )


def test_check_object_store_finds(tmp_path: Path) -> None:
    """A store that forgets to undo is found."""

    class Careless(MemoryObjects):
        """Keeps what it should undo."""

        def submit(self, request: Any, ticket: Any, /) -> Any:
            """Perform."""
            self._transaction.undo = self._transaction.keep         # type: ignore[method-assign]  # the planted bug
            return super().submit(request, ticket)

    with pytest.raises(AssertionError):
        check_object_store(lambda: Careless(lambda: 0, 1 << 30), against=open_memory)

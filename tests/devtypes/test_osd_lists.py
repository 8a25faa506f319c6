"""LIST and LIST COLLECTION over several commands, and ids when the last one is in use."""

from __future__ import annotations

from typing import Any

import pytest
from osd_bench import PID, Osd, ids, ticking

from iohandlers.objects_memory import open_store
from scsiemu import asc

CID = 0x20000
LAST = (1 << 64) - 1
LSTCHG = 0x02


@pytest.fixture(name="osd")
def fixture_osd() -> Osd:
    """A unit with 20 objects."""
    osd = Osd().formatted()
    assert osd("CREATE", partition_id=PID, number_of_user_objects=20).good
    return osd


def page(osd: Osd, name: str = "LIST", **fields: int) -> tuple[list[int], dict[str, int]]:
    """Five ids, and the header."""
    data = osd(name, partition_id=PID, allocation_length=24 + 5 * 8, **fields).data
    return ids(data), {
        "length": int.from_bytes(data[:8], "big"), "following": int.from_bytes(data[8:16], "big"),
        "identifier": int.from_bytes(data[16:20], "big"), "changed": data[23] & LSTCHG,
    }


def rest(head: dict[str, int]) -> dict[str, int]:
    """Fields of the command that goes on."""
    return {"initial_object_id": head["following"], "list_identifier": head["identifier"]}


def test_list_pages(osd: Osd) -> None:
    """All pages have the same identifier, tell how much is left, and the last one has neither."""
    found, head = page(osd)
    identifiers, lengths = {head["identifier"]}, [head["length"]]
    while head["following"]:
        more, head = page(osd, **rest(head))
        found += more
        lengths.append(head["length"])
        identifiers |= {head["identifier"]} - {0}

    assert found == [PID + at for at in range(20)]
    assert lengths == [16 + 8 * left for left in (20, 15, 10, 5)]
    assert len(identifiers) == 1
    assert (head["identifier"], head["changed"]) == (0, 0)


@pytest.mark.parametrize(
    ("name", "fields", "changed"),
    [
        ("CREATE", {}, True), ("REMOVE", {"object_id": PID + 19}, True),
        ("CREATE PARTITION", {"partition_id": 0}, False),
        ("WRITE", {"object_id": PID, "length": 1}, False), ("CREATE COLLECTION", {}, True),
    ],
)
def test_list_changed(osd: Osd, name: str, fields: dict[str, int], changed: bool) -> None:
    """LSTCHG is told of objects that came or went since the first command, and the length is that of now."""
    _, head = page(osd)
    assert osd(name, *([b"x"] if name == "WRITE" else []), **{"partition_id": PID, **fields}).good

    for left in (15, 10, 5):
        _, head = page(osd, **rest(head))
        assert bool(head["changed"]) == changed
        now = left + {"CREATE": 1, "REMOVE": -1}.get(name, 0)
        assert head["length"] == 16 + 8 * now


def test_list_without_identifier(osd: Osd) -> None:
    """An id to begin with and no identifier is a list of its own: nothing has changed."""
    _, head = page(osd)
    osd("CREATE", partition_id=PID)

    found, head = page(osd, initial_object_id=head["following"])
    assert found == [PID + at for at in range(5, 10)]
    assert (head["length"], head["changed"]) == (16 + 8 * 16, 0)


def test_list_unknown_identifier(osd: Osd) -> None:
    """Whether a list that nobody knows has changed, nobody knows either."""
    _, head = page(osd)
    _, head = page(osd, initial_object_id=head["following"], list_identifier=head["identifier"] + 1)

    assert head["changed"]


def test_list_collection_pages(osd: Osd) -> None:
    """Members are counted from the id that the list goes on with."""
    assert osd("CREATE COLLECTION", partition_id=PID, object_id=CID).good
    for at in range(12):
        assert osd.set(PID, PID + at, (4, 1, CID.to_bytes(8, "big"))).good
    found, head = page(osd, "LIST COLLECTION", object_id=CID)
    second, after = page(osd, "LIST COLLECTION", object_id=CID, **rest(head))
    assert osd.set(PID, PID + 11, (4, 1, b"")).good
    third, end = page(osd, "LIST COLLECTION", object_id=CID, **rest(after))

    assert found + second + third == [PID + at for at in range(11)]
    assert [each["length"] for each in (head, after, end)] == [16 + 8 * left for left in (12, 7, 1)]
    assert [each["changed"] for each in (head, after, end)] == [0, 0, LSTCHG]


def test_list_pages_are_not_counted() -> None:
    """However many pages a list has, its objects are counted once."""
    counted = []
    store = open_store(clock=ticking())
    transaction = store.submit.__self__._transaction     # what the store hands to every transaction
    count = transaction.count
    transaction.count = lambda *given: counted.append(given) or count(*given)
    osd = Osd(store=store).formatted()
    assert osd("CREATE", partition_id=PID, number_of_user_objects=500).good
    counted.clear()
    head: dict[str, Any] = {"following": 0, "identifier": 0}
    found: list[int] = []
    while not found or head["following"]:
        more, head = page(osd, **rest(head))
        found += more

    assert len(found) == 500
    assert len(counted) == 1


@pytest.mark.parametrize("name", ["CREATE", "CREATE COLLECTION"])
def test_ids_wrap(osd: Osd, name: str) -> None:
    """Behind the last id there is the first one that is free."""
    assert osd(name, partition_id=PID, object_id=LAST).good
    assert osd(name, partition_id=PID, object_id=LAST - 1).good
    made = [osd.get(PID, 0, (0xFFFFFFFE, 4), name=name)[0] for _ in range(3)]

    assert [int.from_bytes(each, "big") for each in made] == [PID + 20, PID + 21, PID + 22]


def test_partition_ids_wrap(osd: Osd) -> None:
    """As those of objects."""
    assert osd("CREATE PARTITION", partition_id=LAST).good
    assert osd("CREATE PARTITION").good
    assert osd("CREATE SNAPSHOT", partition_id=PID).good

    assert ids(osd("LIST", allocation_length=4096).data) == [PID, PID + 1, PID + 2, LAST]


def test_ids_wrap_together(osd: Osd) -> None:
    """Several objects get consecutive ids, in a gap that has room for all; the search goes on where it was."""
    assert osd("CREATE", partition_id=PID, object_id=LAST).good
    assert osd("REMOVE", partition_id=PID, object_id=PID + 3).good
    for expected, number in ((PID + 20, 2), (PID + 22, 1), (PID + 23, 4)):
        assert osd("CREATE", partition_id=PID, number_of_user_objects=number).good
        there = ids(osd("LIST", partition_id=PID, initial_object_id=PID + 20, allocation_length=4096).data)
        assert there[-number - 1 :] == [*range(expected, expected + number), LAST]


def test_ids_exhausted() -> None:
    """More objects than there are consecutive ids are refused."""
    osd = Osd().formatted()
    for oid in range(PID, LAST, 1 << 59):
        assert osd("CREATE", partition_id=PID, object_id=oid).good
    assert osd("CREATE", partition_id=PID, object_id=LAST).good

    assert osd("CREATE", partition_id=PID, number_of_user_objects=9).good
    assert osd("CREATE", partition_id=PID, object_id=LAST).code == asc.INVALID_FIELD_IN_CDB

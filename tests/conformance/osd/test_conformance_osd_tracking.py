"""Spontaneous collections, commands that are answered before they are done (IMMED_TR), command tracking. Nothing on the
unit survives."""

from __future__ import annotations

from typing import Any

import pytest
from conformance import ConformanceUnit
from osd_clauses import about
from osd_unit import OID, PID, Osd, criterion, found_ids, number, pointer

from devtypes.osd.tracking import EVERY_OBJECT
from scsiemu import asc

CDB = asc.INVALID_FIELD_IN_CDB
LIST = asc.INVALID_FIELD_IN_PARAMETER_LIST
LINKED, TRACKING = OID + 100, OID + 101
MINE = 0x10001
_TURNS = 1000


def collection(cid: int) -> dict[str, Any]:
    """Its ids."""
    return {"partition_id": PID, "object_id": cid}


@pytest.fixture
def three(osd2: Osd) -> Osd:
    """Three objects, two of them in a linked collection."""
    osd2.good("CREATE", partition_id=PID, number_of_user_objects=2)
    osd2.collection(LINKED, OID, OID + 1)
    return osd2


@pytest.fixture
def everything(three: Osd) -> Osd:
    """The same, of a unit that has a spontaneous collection of all objects."""
    if three.execute("LIST COLLECTION", allocation_length=24, data_in=24, **collection(EVERY_OBJECT)).code == CDB:
        three.unit.not_supported("it has no spontaneous collection of this id")
    return three


def tracked(osd: Osd) -> list[int]:
    """The command tracking page when nothing is under way: ended service action, members, processed."""
    for _ in range(_TURNS):
        active, *rest = (
            int.from_bytes(each, "big")
            for each in osd.get(PID, TRACKING, *((0x60000004, at) for at in (2, 3, 0x10, 0x11)))
        )
        if not active:
            return rest
    raise AssertionError("a command without end")


@about("LIST COLLECTION", "information pages")
def test_spontaneous_members(unit: ConformanceUnit, everything: Osd) -> None:
    """All user objects of the partition are members, without anybody's doing; its type is EFh."""
    assert everything.ids("LIST COLLECTION", **collection(EVERY_OBJECT)) == [OID, OID + 1, OID + 2]
    everything.good("REMOVE", partition_id=PID, object_id=OID)
    assert everything.ids("LIST COLLECTION", **collection(EVERY_OBJECT)) == [OID + 1, OID + 2]
    assert everything.get(PID, EVERY_OBJECT, (0x60000001, 0x0A)) == [b"\xef"]


@about("CREATE COLLECTION", "REMOVE COLLECTION", "object ids")
def test_spontaneous_neither_made_nor_removed(unit: ConformanceUnit, everything: Osd) -> None:
    """It can neither be created nor removed nor joined."""
    everything.refused("CREATE COLLECTION", CDB, **collection(EVERY_OBJECT))
    everything.refused("REMOVE COLLECTION", CDB, fcr=1, **collection(EVERY_OBJECT))
    everything.refused("SET ATTRIBUTES", LIST, set=((4, 9, number(EVERY_OBJECT)),), partition_id=PID, object_id=OID)

    assert everything.ids("LIST COLLECTION", partition_id=PID) == [LINKED]


@about("QUERY")
def test_spontaneous_query(unit: ConformanceUnit, everything: Osd) -> None:
    """A query of it is one of the whole partition."""
    everything.set(PID, OID + 2, (MINE, 1, b"x"))

    assert found_ids(everything.query(EVERY_OBJECT, criterion(MINE, 1, b"x", b"x")).data) == [OID + 2]


@about("SET MEMBER ATTRIBUTES", "REMOVE MEMBER OBJECTS")
def test_spontaneous_all_members(unit: ConformanceUnit, everything: Osd) -> None:
    """Commands about all members are about all objects."""
    everything.good("SET MEMBER ATTRIBUTES", set=((MINE, 1, b"all"),), **collection(EVERY_OBJECT))
    assert [everything.get(PID, OID + at, (MINE, 1)) for at in range(3)] == [[b"all"]] * 3
    everything.good("REMOVE MEMBER OBJECTS", **collection(EVERY_OBJECT))

    assert everything.ids("LIST", partition_id=PID) == []


@about("CREATE USER TRACKING COLLECTION", "SET MEMBER ATTRIBUTES", "REMOVE MEMBER OBJECTS")
def test_immediate_tracked(unit: ConformanceUnit, three: Osd) -> None:
    """With IMMED_TR the tracking collection's page tells what was done: service action, members, how many processed."""
    three.good(
        "CREATE USER TRACKING COLLECTION", source_collection_id=LINKED, immed_tr=1, **collection(TRACKING)
    )
    assert tracked(three) == [0x8894, 2, 2]
    three.good("SET MEMBER ATTRIBUTES", set=((MINE, 1, b"new"),), immed_tr=1, **collection(TRACKING))
    assert tracked(three) == [0x88A3, 2, 2]
    assert [three.get(PID, OID + at, (MINE, 1)) for at in range(3)] == [[b"new"], [b"new"], [b""]]
    three.good("REMOVE MEMBER OBJECTS", immed_tr=1, **collection(TRACKING))

    assert tracked(three) == [0x88A1, 0, 2]
    assert three.ids("LIST", partition_id=PID) == [OID + 2]


@pytest.mark.parametrize("name", ["SET MEMBER ATTRIBUTES", "REMOVE MEMBER OBJECTS", "GET MEMBER ATTRIBUTES"])
@about("SET MEMBER ATTRIBUTES", "REMOVE MEMBER OBJECTS", "GET MEMBER ATTRIBUTES")
def test_immediate_refused(unit: ConformanceUnit, three: Osd, name: str) -> None:
    """IMMED_TR is refused where no page could tell of it: of a linked collection, and of what has to come back."""
    sense = three.refused(name, CDB, immed_tr=1, **collection(LINKED))

    assert (pointer(sense).byte, pointer(sense).bit) == (11, 7)
    assert three.ids("LIST", partition_id=PID) == [OID, OID + 1, OID + 2]


@about("QUERY")
def test_immediate_query(unit: ConformanceUnit, three: Osd) -> None:
    """QUERY with IMMED_TR needs a matches collection, whose page tells of it."""
    three.good("CREATE USER TRACKING COLLECTION", **collection(TRACKING))
    three.set(PID, OID, (MINE, 1, b"x"))
    assert three.query(LINKED, criterion(MINE, 1, b"x"), immed_tr=1).code == CDB
    assert three.query(LINKED, criterion(MINE, 1, b"x"), immed_tr=1, matches_collection_id=TRACKING).good

    assert tracked(three) == [0x88A0, 1, 2]
    assert three.ids("LIST COLLECTION", **collection(TRACKING)) == [OID]

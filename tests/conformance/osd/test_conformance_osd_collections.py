"""Collections, tracking collections, queries, commands about all members. Nothing on the unit survives."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from conformance import ConformanceUnit
from osd_clauses import about
from osd_unit import COMMAND, NAME, OBJECT, OID, PID, Osd, criterion, found_ids, number, pointer

from devtypes.osd.continuation import DescriptorType
from devtypes.osd.requests import parse_ids
from scsiemu import asc
from scsiemu.sense import SenseCode

CID = OID + 100
CDB = asc.INVALID_FIELD_IN_CDB
LIST = asc.INVALID_FIELD_IN_PARAMETER_LIST
LENGTH = asc.PARAMETER_LIST_LENGTH_ERROR
MINE = 0x10001                      # a page of an application
TYPE = (0x60000001, 0x0A)


def linked(cid: int = CID) -> dict[str, Any]:
    """The ids of a collection."""
    return {"partition_id": PID, "object_id": cid}


@pytest.fixture
def three(osd2: Osd) -> Osd:
    """Three objects with attributes a, b, c of one page and 1, 1, 2 of another number; a collection has them all."""
    osd2.good("CREATE", partition_id=PID, number_of_user_objects=2)
    osd2.collection(CID, OID, OID + 1, OID + 2)
    for at, (letter, digit) in enumerate(((b"a", b"1"), (b"b", b"1"), (b"c", b"2"))):
        osd2.set(PID, OID + at, (MINE, 1, letter), (MINE, 2, digit))
    return osd2


# --- linked collections ------------------------------------------------------------------------------------------


@about("CREATE COLLECTION", "current command attributes page")
def test_create_collection_id_chosen(unit: ConformanceUnit, osd: Osd) -> None:
    """Id 0 lets the unit choose one from 10000h on; the current command page tells it, with object type 40h."""
    kind, pid, cid = osd.attributes("CREATE COLLECTION", ((COMMAND, 2), (COMMAND, 3), (COMMAND, 4)), partition_id=PID)

    assert (kind, pid) == (b"\x40", number(PID))
    assert int.from_bytes(cid, "big") >= 0x10000
    assert osd.ids("LIST COLLECTION", partition_id=PID) == [int.from_bytes(cid, "big")]


@about("CREATE COLLECTION")
def test_create_collection_sets_attributes(unit: ConformanceUnit, osd: Osd) -> None:
    """Attributes of the command are those of the new collection."""
    osd.good("CREATE COLLECTION", set=((0x60000001, 9, b"shelf"),), **linked())

    assert osd.get(PID, CID, (0x60000001, 9)) == [b"shelf"]


@about("CREATE COLLECTION")
def test_create_collection_undone(unit: ConformanceUnit, osd: Osd) -> None:
    """Where an attribute cannot be set there is no collection."""
    osd.refused("CREATE COLLECTION", LIST, set=((0x60000001, 1, number(1)),), **linked())

    assert osd.ids("LIST COLLECTION", partition_id=PID) == []


@about("object ids")
def test_create_collection_shares_ids(unit: ConformanceUnit, osd: Osd) -> None:
    """User objects and collections of a partition have one space of ids."""
    osd.collection(CID)
    sense = osd.refused("CREATE", CDB, **linked())

    assert pointer(sense).byte == 24


@about("object ids")
def test_create_collection_other_partition(unit: ConformanceUnit, osd: Osd) -> None:
    """Another partition has a space of its own."""
    osd.good("CREATE PARTITION", partition_id=PID + 1)
    osd.good("CREATE COLLECTION", partition_id=PID + 1, object_id=OID)

    assert osd.ids("LIST COLLECTION", partition_id=PID + 1) == [OID]
    assert osd.ids("LIST COLLECTION", partition_id=PID) == []


@about("LIST COLLECTION")
def test_list_collection_empty(unit: ConformanceUnit, osd: Osd) -> None:
    """A collection without members is a header alone."""
    osd.collection(CID)
    data = osd.good("LIST COLLECTION", data_in=100, allocation_length=100, **linked())

    assert (len(data), data[:16]) == (24, struct.pack(">QQ", 16, 0))


@pytest.mark.parametrize("room", [32, 47, 64])
@about("LIST COLLECTION")
def test_list_collection_continues(unit: ConformanceUnit, osd: Osd, room: int) -> None:
    """Members that do not fit come when the list is gone on with at the continuation id."""
    osd.good("CREATE", partition_id=PID, number_of_user_objects=5)
    members = osd.ids("LIST", partition_id=PID)
    osd.collection(CID, *members)
    found: list[int] = []
    start = 0
    while True:
        data = osd.good(
            "LIST COLLECTION", data_in=room, allocation_length=room, initial_object_id=start, **linked()
        )
        some, start = parse_ids(data)
        found += some
        if not start:
            break

    assert found == members


@about("LIST COLLECTION")
def test_list_collection_initial_id(unit: ConformanceUnit, osd: Osd) -> None:
    """INITIAL OBJECT_ID leaves out what is below it, whether there is such an object or not."""
    osd.good("CREATE", partition_id=PID, object_id=OID + 9)
    osd.collection(CID, OID, OID + 9)

    assert osd.ids("LIST COLLECTION", initial_object_id=OID + 1, **linked()) == [OID + 9]


@about("LIST COLLECTION")
def test_list_collection_no_room(unit: ConformanceUnit, osd: Osd) -> None:
    """ALLOCATION LENGTH 0 is no data and no error."""
    osd.collection(CID, OID)

    assert osd.good("LIST COLLECTION", data_in=24, allocation_length=0, **linked()) == b""


@about("LIST COLLECTION")
def test_list_collection_format(unit: ConformanceUnit, osd: Osd) -> None:
    """Members are user objects: COLTN is zero in OSD-1, the object descriptor format 21h in OSD-2."""
    osd.collection(CID, OID)
    data = osd.good("LIST COLLECTION", data_in=99, allocation_length=99, **linked())

    assert data[23] == (0x21 << 2 if osd.version == 2 else 0)


@about("LIST COLLECTION")
def test_list_collection_attributes(unit: ConformanceUnit, osd2: Osd) -> None:
    """With LIST_ATTR every member has its attributes behind its id, and so has every collection."""
    osd2.collection(CID, OID)
    for ids, wanted, code, oid in ((linked(), (1, 2), 0x22, OID), ({"partition_id": PID}, (0x60000001, 2), 0x12, CID)):
        sent = osd2.request(
            "LIST COLLECTION", data_in=4096, allocation_length=4096, list_attr=1, get=(wanted,), **ids
        )
        data = unit.good(sent.cdb, sent.data_out, sent.data_in)

        assert data[23] == code << 2
        assert data[24:64] == struct.pack(">Q4xI", oid, 24) + struct.pack(">II6xHQ", *wanted, 8, oid)


@about("collections attributes page")
def test_collection_several(unit: ConformanceUnit, osd: Osd) -> None:
    """An object is in several collections, each under a number of its own; all numbers tell them all."""
    osd.collection(CID, OID, number=1)
    osd.collection(CID + 1, OID, number=7)
    sent = osd.request("GET ATTRIBUTES", get=((4, 0xFFFFFFFF),), **OBJECT)
    data = unit.good(sent.cdb, sent.data_out, sent.data_in)

    assert osd.get(PID, OID, (4, 1), (4, 7), (4, 2)) == [number(CID), number(CID + 1), b""]
    assert number(CID) in data
    assert number(CID + 1) in data


@about("collections attributes page")
def test_collection_left(unit: ConformanceUnit, osd: Osd) -> None:
    """A number that is set to nothing ends the membership, and no other."""
    osd.collection(CID, OID, number=1)
    osd.collection(CID + 1, OID, number=2)
    osd.set(PID, OID, (4, 1, b""))

    assert osd.ids("LIST COLLECTION", **linked()) == []
    assert osd.ids("LIST COLLECTION", **linked(CID + 1)) == [OID]


@about("collections attributes page")
def test_collection_elsewhere(unit: ConformanceUnit, osd: Osd) -> None:
    """A collection of another partition cannot be joined."""
    osd.good("CREATE PARTITION", partition_id=PID + 1)
    osd.good("CREATE COLLECTION", partition_id=PID + 1, object_id=CID)
    osd.refused("SET ATTRIBUTES", LIST, set=((4, 1, number(CID)),), **OBJECT)

    assert osd.get(PID, OID, (4, 1)) == [b""]


@about("CREATE", "collections attributes page")
def test_collection_joined_at_creation(unit: ConformanceUnit, osd: Osd) -> None:
    """CREATE with an attribute of the collections page makes members."""
    osd.collection(CID)
    osd.good("CREATE", partition_id=PID, number_of_user_objects=3, set=((4, 1, number(CID)),))

    assert osd.ids("LIST COLLECTION", **linked()) == osd.ids("LIST", partition_id=PID)[1:]


@about("REMOVE COLLECTION")
def test_remove_collection_gets_attributes(unit: ConformanceUnit, osd: Osd) -> None:
    """Attributes are set and got before it goes."""
    osd.collection(CID)
    name = (0x60000001, 9)

    assert osd.attributes("REMOVE COLLECTION", (name,), set=((*name, b"last"),), **linked()) == [b"last"]
    assert osd.ids("LIST COLLECTION", partition_id=PID) == []


@pytest.mark.parametrize("scope", [0, 1, 2])
@about("FLUSH COLLECTION")
def test_flush_collection(unit: ConformanceUnit, osd: Osd, scope: int) -> None:
    """Every scope is done."""
    osd.collection(CID, OID)
    osd.good("FLUSH COLLECTION", flush_scope=scope, **linked())


@about("information pages")
def test_collection_information(unit: ConformanceUnit, osd: Osd) -> None:
    """Ids and type of a collection; its page is none of a user object."""
    osd.collection(CID)

    assert osd.get(PID, CID, (0x60000001, 1), (0x60000001, 2), TYPE) == [number(PID), number(CID), b"\0"]
    assert osd.get(PID, CID, (1, 2)) == [b""]


# --- tracking collections ----------------------------------------------------------------------------------------


@about("CREATE USER TRACKING COLLECTION")
def test_tracking_empty(unit: ConformanceUnit, osd2: Osd) -> None:
    """Without a source it begins empty."""
    osd2.good("CREATE USER TRACKING COLLECTION", **linked())

    assert osd2.ids("LIST COLLECTION", **linked()) == []
    assert osd2.get(PID, CID, TYPE) == [b"\1"]


@about("CREATE USER TRACKING COLLECTION")
def test_tracking_source_absent(unit: ConformanceUnit, osd2: Osd) -> None:
    """A source that is no collection is refused at its field, and nothing is made."""
    for source in (0x77777, OID):
        sense = osd2.refused("CREATE USER TRACKING COLLECTION", CDB, source_collection_id=source, **linked())
        assert pointer(sense).byte == 40

    assert osd2.ids("LIST COLLECTION", partition_id=PID) == []


@about("CREATE USER TRACKING COLLECTION")
def test_tracking_id_in_use(unit: ConformanceUnit, osd2: Osd) -> None:
    """Its id is of the partition's one space of ids."""
    sense = osd2.refused("CREATE USER TRACKING COLLECTION", CDB, **OBJECT)

    assert pointer(sense).byte == 24


@about("CREATE USER TRACKING COLLECTION")
def test_tracking_stays(unit: ConformanceUnit, three: Osd) -> None:
    """What joins the source later is no member; what is removed is none any more."""
    three.good("CREATE USER TRACKING COLLECTION", source_collection_id=CID, **linked(CID + 1))
    three.good("CREATE", partition_id=PID, object_id=OID + 50, set=((4, 1, number(CID)),))
    three.good("REMOVE", **OBJECT)

    assert three.ids("LIST COLLECTION", **linked(CID + 1)) == [OID + 1, OID + 2]


@about("collections attributes page")
def test_tracking_not_joined(unit: ConformanceUnit, osd2: Osd) -> None:
    """Membership of a tracking collection is no attribute that can be set."""
    osd2.good("CREATE USER TRACKING COLLECTION", **linked())
    osd2.refused("SET ATTRIBUTES", LIST, set=((4, 1, number(CID)),), **OBJECT)

    assert osd2.ids("LIST COLLECTION", **linked()) == []


@about("CREATE USER TRACKING COLLECTION", "attributes pages")
def test_tracking_page(unit: ConformanceUnit, three: Osd) -> None:
    """The command tracking page tells the number of members; a linked collection has no such page."""
    three.good("CREATE USER TRACKING COLLECTION", source_collection_id=CID, **linked(CID + 1))

    assert three.get(PID, CID + 1, (0x60000004, 0x10)) == [number(3)]
    assert three.get(PID, CID, (0x60000004, 0x10)) == [b""]


# --- QUERY -------------------------------------------------------------------------------------------------------


@about("QUERY")
def test_query_any(unit: ConformanceUnit, three: Osd) -> None:
    """Query type 0 finds what one entry at least is true for."""
    answer = three.query(CID, criterion(MINE, 1, b"a", b"a"), criterion(MINE, 2, b"2", b"2"))

    assert (answer.good, found_ids(answer.data)) == (True, [OID, OID + 2])


@about("QUERY")
def test_query_every(unit: ConformanceUnit, three: Osd) -> None:
    """Query type 1 finds what all entries are true for."""
    answer = three.query(CID, criterion(MINE, 1, b"b"), criterion(MINE, 2, b"1", b"1"), every=True)

    assert found_ids(answer.data) == [OID + 1]


@about("QUERY")
def test_query_empty_list(unit: ConformanceUnit, three: Osd) -> None:
    """A query list without entries finds every member."""
    assert found_ids(three.query(CID).data) == [OID, OID + 1, OID + 2]


@about("QUERY")
def test_query_absent_attribute(unit: ConformanceUnit, three: Osd) -> None:
    """An object that lacks the attribute is not found, whatever the bounds."""
    three.set(PID, OID + 1, (MINE, 1, b""))

    assert found_ids(three.query(CID, criterion(MINE, 1)).data) == [OID, OID + 2]


@about("QUERY", "information pages")
def test_query_logical_length(unit: ConformanceUnit, three: Osd) -> None:
    """Attributes of the standard's pages can be asked for, too."""
    three.write(b"12345", object_id=OID + 2)

    assert found_ids(three.query(CID, criterion(1, 0x82, number(5), number(9))).data) == [OID + 2]


@about("QUERY")
def test_query_members_only(unit: ConformanceUnit, three: Osd) -> None:
    """What is not in the collection is not found."""
    three.good("CREATE", partition_id=PID, object_id=OID + 50, set=((MINE, 1, b"a"),))

    assert found_ids(three.query(CID, criterion(MINE, 1, b"a", b"a")).data) == [OID]


@pytest.mark.parametrize("room", [0, 8, 12, 20, 27])
@about("QUERY")
def test_query_cut(unit: ConformanceUnit, three: Osd, room: int) -> None:
    """ALLOCATION LENGTH cuts the data; ADDITIONAL LENGTH is that of all."""
    data = three.query(CID, room=room, data_in=99).data
    whole = struct.pack(">Q3xB3Q", 28, 0x21 << 2, OID, OID + 1, OID + 2)

    assert data == whole[:room]


@about("QUERY")
def test_query_into_collection(unit: ConformanceUnit, three: Osd) -> None:
    """With a matches collection the found objects become its members and no ids come."""
    three.good("CREATE USER TRACKING COLLECTION", **linked(CID + 1))
    answer = three.query(CID, criterion(MINE, 2, b"1", b"1"), matches_collection_id=CID + 1)

    assert (answer.good, found_ids(answer.data)) == (True, [])
    assert three.ids("LIST COLLECTION", **linked(CID + 1)) == [OID, OID + 1]


@about("QUERY")
def test_query_into_linked_collection(unit: ConformanceUnit, three: Osd) -> None:
    """The matches collection is a tracking collection, else it is refused at its field."""
    three.collection(CID + 1)
    answer = three.query(CID, criterion(MINE, 2, b"1"), matches_collection_id=CID + 1)

    assert answer.code == CDB
    assert answer.sense is not None
    assert pointer(answer.sense).byte == 40


@about("QUERY")
def test_query_page_of_another_kind(unit: ConformanceUnit, three: Osd) -> None:
    """Criteria are attributes of user objects."""
    assert three.query(CID, criterion(0x30000001, 9, b"a")).code == LIST


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (bytes((2, 0, 0, 0)), LIST), (bytes(4) + struct.pack(">2xHIIH", 12, MINE, 1, 99) + bytes(2), LENGTH),
        (bytes(4) + struct.pack(">2xHI", 12, MINE), LENGTH),
    ],
    ids=["query type", "value past the end", "entry cut"],
)
@about("QUERY", "CDB continuation")
def test_query_malformed(unit: ConformanceUnit, three: Osd, body: bytes, code: SenseCode) -> None:
    """A query list that is not well-formed."""
    answer = three.continued("QUERY", (DescriptorType.QUERY, body), allocation_length=99, data_in=99, **linked())

    assert answer.code == code


# --- all members -------------------------------------------------------------------------------------------------


@about("SET MEMBER ATTRIBUTES")
def test_set_member_attributes_undone(unit: ConformanceUnit, three: Osd) -> None:
    """Where the attribute of one member cannot be set none is."""
    three.set(PID, OID + 2, (2, 1, number(4)))          # maximum length
    three.refused("SET MEMBER ATTRIBUTES", asc.QUOTA_ERROR, set=((1, 0x82, number(5)),), **linked())

    assert [three.get(PID, OID + at, (1, 0x82)) for at in range(3)] == [[bytes(8)]] * 3


@about("SET MEMBER ATTRIBUTES", "multi-object retrieved attributes")
def test_set_member_attributes_gets(unit: ConformanceUnit, three: Osd) -> None:
    """It sets, then gets: a list of type Eh with an entry for each member."""
    sent = three.request("SET MEMBER ATTRIBUTES", set=((*NAME, b"new"),), get=(NAME,), **linked())
    data = unit.good(sent.cdb, sent.data_out, sent.data_in)
    entry = struct.pack(">II6xH", *NAME, 3) + b"new".ljust(8, b"\0")

    assert data == struct.pack(">B3xI", 0x0E, 3 * 40) + b"".join(
        struct.pack(">QB5xH", OID + at, 0x80, 24) + entry for at in range(3)
    )


@about("GET MEMBER ATTRIBUTES")
def test_get_member_attributes_then_sets(unit: ConformanceUnit, three: Osd) -> None:
    """It gets, then sets."""
    sent = three.request("GET MEMBER ATTRIBUTES", set=((MINE, 1, b"z"),), get=((MINE, 1),), **linked())
    data = unit.good(sent.cdb, sent.data_out, sent.data_in)

    assert [data[8 + 40 * at + 32 :][:1] for at in range(3)] == [b"a", b"b", b"c"]
    assert [three.get(PID, OID + at, (MINE, 1)) for at in range(3)] == [[b"z"]] * 3


@about("GET MEMBER ATTRIBUTES", "current command attributes page")
def test_get_member_attributes_command(unit: ConformanceUnit, three: Osd) -> None:
    """The current command page is about the collection, in the entries of all members."""
    sent = three.request("GET MEMBER ATTRIBUTES", get=((COMMAND, 2), (COMMAND, 4)), **linked())
    data = unit.good(sent.cdb, sent.data_out, sent.data_in)
    entries = struct.pack(">II6xHB7x", COMMAND, 2, 1, 0x40) + struct.pack(">II6xHQ", COMMAND, 4, 8, CID)

    assert data[8:] == b"".join(struct.pack(">QB5xH", OID + at, 0x80, 48) + entries for at in range(3))


@about("GET MEMBER ATTRIBUTES")
def test_get_member_attributes_none(unit: ConformanceUnit, osd2: Osd) -> None:
    """No members are an empty list."""
    osd2.collection(CID)
    sent = osd2.request("GET MEMBER ATTRIBUTES", get=(NAME,), **linked())

    assert unit.good(sent.cdb, sent.data_out, sent.data_in) == struct.pack(">B3xI", 0x0E, 0)


@about("REMOVE MEMBER OBJECTS")
def test_remove_member_objects_frees(unit: ConformanceUnit, three: Osd) -> None:
    """The ids are free, other collections forget them, the partition counts them no more."""
    three.collection(CID + 1, OID, number=2)
    three.good("REMOVE MEMBER OBJECTS", **linked())

    assert three.ids("LIST COLLECTION", **linked(CID + 1)) == []
    assert three.get(PID, 0, (0x30000001, 0xC1)) == [number(2)]
    three.good("CREATE", **OBJECT)

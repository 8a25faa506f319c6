"""Commands of user objects, partitions and collections. The unit is formatted: nothing on it survives."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from conformance import ConformanceUnit
from osd_clauses import about
from osd_unit import COMMAND, OBJECT, OID, PID, Osd, number, pointer

from devtypes.osd.continuation import DescriptorType
from devtypes.osd.requests import parse_ids
from scsiemu import asc

LATER = OID + 100


@about("CREATE")
def test_create_id_chosen(unit: ConformanceUnit, osd: Osd) -> None:
    """Id 0 lets the unit choose, which the current command page tells."""
    kind, pid, oid = osd.attributes("CREATE", ((COMMAND, 2), (COMMAND, 3), (COMMAND, 4)), partition_id=PID)

    assert (kind, pid) == (b"\x80", number(PID))
    assert int.from_bytes(oid, "big") in osd.ids("LIST", partition_id=PID)


@pytest.mark.parametrize("count", [1, 2, 7])
@about("CREATE")
def test_create_several(unit: ConformanceUnit, osd: Osd, count: int) -> None:
    """Several objects have consecutive ids; the page has the highest."""
    page = osd.page(COMMAND, PID, 0, "CREATE", number_of_user_objects=count)
    top = int.from_bytes(page[-24:-16] if osd.version == 2 else page[-16:-8], "big")

    assert osd.ids("LIST", partition_id=PID) == [OID, *range(top - count + 1, top + 1)]


@about("CREATE", "attributes lists", "multi-object retrieved attributes")
def test_create_several_attributes(unit: ConformanceUnit, osd: Osd) -> None:
    """A list has the attributes of every object: in OSD-2 of type Eh, by objects; in OSD-1 of type Fh, by entries."""
    osd.good("REMOVE", **OBJECT)
    sent = osd.request("CREATE", partition_id=PID, number_of_user_objects=3, get=((1, 2), (0x10001, 1), (COMMAND, 4)),
                       set=((0x10001, 1, b"mine"),))
    data = unit.good(sent.cdb, sent.data_out, sent.data_in)
    made = osd.ids("LIST", partition_id=PID)

    assert len(made) == 3
    if osd.version == 2:
        assert data == struct.pack(">B3xI", 0x0E, 3 * 88) + b"".join(
            struct.pack(">QB5xH", oid, 0x80, 72) + struct.pack(">II6xHQ", 1, 2, 8, oid)
            + struct.pack(">II6xH8s", 0x10001, 1, 4, b"mine") + struct.pack(">II6xHQ", COMMAND, 4, 8, made[-1])
            for oid in made
        )
    else:
        assert data == struct.pack(">BxH", 0x0F, 3 * 74) + b"".join(
            struct.pack(">QIIHQ", oid, 1, 2, 8, oid) + struct.pack(">QIIH4s", oid, 0x10001, 1, 4, b"mine")
            + struct.pack(">QIIHQ", oid, COMMAND, 4, 8, made[-1])
            for oid in made
        )


@about("CREATE", "get and set attributes parameters")
def test_create_several_page(unit: ConformanceUnit, osd: Osd) -> None:
    """A page of several objects cannot be got; none of them is created."""
    words = int.from_bytes(struct.pack(">7I", 3, 4096, 0, 0, 0, 0, 0), "big")
    sense = osd.refused(
        "CREATE", asc.INVALID_FIELD_IN_CDB, partition_id=PID, number_of_user_objects=2, cdbfmt=2, attributes=words,
        data_in=4096,
    )

    assert pointer(sense).byte == 52
    assert osd.ids("LIST", partition_id=PID) == [OID]


@about("CREATE")
def test_create_sets_attributes(unit: ConformanceUnit, osd: Osd) -> None:
    """Attributes are set on every object that was created."""
    osd.good("CREATE", partition_id=PID, number_of_user_objects=3, set=((0x10001, 1, b"mine"),))

    assert [osd.get(PID, oid, (0x10001, 1)) for oid in osd.ids("LIST", partition_id=PID)[1:]] == [[b"mine"]] * 3


@about("CREATE")
def test_create_undone(unit: ConformanceUnit, osd: Osd) -> None:
    """Where an attribute cannot be set no object is created."""
    osd.refused("CREATE", asc.INVALID_FIELD_IN_PARAMETER_LIST, partition_id=PID, set=((1, 0x81, number(0)),))

    assert osd.ids("LIST", partition_id=PID) == [OID]


@about("CREATE AND WRITE")
def test_create_and_write(unit: ConformanceUnit, osd: Osd) -> None:
    """The object is there with its data, at the offset."""
    fields: dict[str, Any] = {"partition_id": PID, "object_id": LATER}
    osd.good("CREATE AND WRITE", data=b"data", length=4, starting_byte_address=3, **fields)

    assert osd.read(7, object_id=LATER) == bytes(3) + b"data"


@pytest.mark.parametrize("at", [0, 1, 4095, 4096, 100_000])
@about("WRITE")
def test_write_read(unit: ConformanceUnit, osd: Osd, at: int) -> None:
    """What was written is read; what lies before it is zeros; the logical length ends with it."""
    osd.write(b"payload", at)

    assert osd.read(7, at) == b"payload"
    assert osd.read(min(at, 100), max(0, at - 100)) == bytes(min(at, 100))
    assert osd.get(PID, OID, (1, 0x82)) == [number(at + 7)]


@about("WRITE")
def test_write_over(unit: ConformanceUnit, osd: Osd) -> None:
    """A write into data changes that and not the length."""
    osd.write(b"0123456789")
    osd.write(b"ab", 4)

    assert osd.read(10) == b"0123ab6789"


@pytest.mark.parametrize("name", ["READ", "WRITE", "APPEND"])
@about("READ")
def test_zero_length(unit: ConformanceUnit, osd: Osd, name: str) -> None:
    """No data is no error, and changes no length."""
    osd.good(name, length=0, **OBJECT)

    assert osd.get(PID, OID, (1, 0x82)) == [bytes(8)]


@about("APPEND")
def test_append(unit: ConformanceUnit, osd: Osd) -> None:
    """APPEND writes behind the end and tells where in the current command page."""
    osd.write(b"abc")
    (where,) = osd.attributes("APPEND", ((COMMAND, 5),), data=b"defg", length=4, **OBJECT)

    assert (where, osd.read(7)) == (number(3), b"abcdefg")


@about("current command attributes page")
def test_change_in_used_capacity(unit: ConformanceUnit, osd: Osd) -> None:
    """Attribute 6 tells how the used capacity changed, and the information page agrees."""
    (grew,) = osd.attributes("WRITE", ((COMMAND, 6),), data=b"x" * 10_000, length=10_000, **OBJECT)

    assert [grew] == osd.get(PID, OID, (1, 0x81))
    assert int.from_bytes(grew, "big") >= 10_000


@pytest.mark.parametrize("name", ["REMOVE", "REMOVE COLLECTION"])
@about("REMOVE")
def test_remove(unit: ConformanceUnit, osd: Osd, name: str) -> None:
    """What is removed is gone, and its id can be used again."""
    if name == "REMOVE COLLECTION":
        osd.good("REMOVE", **OBJECT)
        osd.good("CREATE COLLECTION", **OBJECT)
    osd.good(name, **OBJECT)
    osd.refused("GET ATTRIBUTES", asc.INVALID_FIELD_IN_CDB, **OBJECT)
    osd.good("CREATE", **OBJECT)

    assert osd.get(PID, OID, (1, 0x82), (0x10001, 1)) == [bytes(8), b""]


@about("REMOVE")
def test_remove_gets_attributes_before(unit: ConformanceUnit, osd: Osd) -> None:
    """Attributes of what is removed are got before."""
    osd.write(b"12345")

    assert osd.attributes("REMOVE", ((1, 0x82),), **OBJECT) == [number(5)]


@pytest.mark.parametrize("name", ["FLUSH", "FLUSH PARTITION", "FLUSH OSD"])
@pytest.mark.parametrize("scope", [0, 1, 2])
@about("FLUSH")
def test_flush(unit: ConformanceUnit, osd: Osd, name: str, scope: int) -> None:
    """Every scope is done."""
    ids = {"FLUSH": OBJECT, "FLUSH PARTITION": {"partition_id": PID}, "FLUSH OSD": {}}
    fields: dict[str, Any] = ids[name]
    osd.good(name, flush_scope=scope, **fields)


@pytest.mark.parametrize(("at", "length", "left"), [(0, 2, b"234567"), (3, 2, b"012567"), (6, 2, b"012345")])
@about("PUNCH")
def test_punch(unit: ConformanceUnit, osd2: Osd, at: int, length: int, left: bytes) -> None:
    """What is behind the range moves into it."""
    osd2.write(b"01234567")
    osd2.good("PUNCH", starting_byte_address=at, length=length, **OBJECT)

    assert osd2.read(6) == left
    assert osd2.get(PID, OID, (1, 0x82)) == [number(6)]


@pytest.mark.parametrize(
    ("at", "length", "left"), [(0, 2, b"\0\x002345"), (4, 4, b"0123\0\0\0\0"), (8, 2, b"012345\0\0\0\0")]
)
@about("CLEAR")
def test_clear(unit: ConformanceUnit, osd2: Osd, at: int, length: int, left: bytes) -> None:
    """A range becomes zeros; the object grows to its end."""
    osd2.write(b"012345")
    osd2.good("CLEAR", starting_byte_address=at, length=length, **OBJECT)

    assert osd2.read(len(left)) == left


@pytest.mark.parametrize(("length", "left"), [(3, b"012"), (8, b"012345\0\0"), (0, b"")])
@about("information pages")
def test_logical_length(unit: ConformanceUnit, osd: Osd, length: int, left: bytes) -> None:
    """Setting it cuts the object or lets it grow."""
    osd.write(b"012345")
    osd.set(PID, OID, (1, 0x82, number(length)))

    assert osd.read(length) == left


@about("READ MAP")
def test_read_map(unit: ConformanceUnit, osd2: Osd) -> None:
    """Written ranges and holes cover the object, in order."""
    osd2.write(b"x" * 4096, 1 << 20)
    data = osd2.good("READ MAP", data_in=4096, allocation_length=4096, **OBJECT)
    at = 0
    for kind, length, offset in struct.iter_unpack(">2xHIQ", data[8:]):
        assert offset == at
        assert kind in (1, 2)
        at += length

    assert at == (1 << 20) + 4096
    assert data[10:12] == b"\0\2"
    assert int.from_bytes(data[:8], "big") == len(data) - 8


@pytest.mark.parametrize("map_type", [1, 2])
@about("READ MAP")
def test_read_map_type(unit: ConformanceUnit, osd2: Osd, map_type: int) -> None:
    """Only what was asked for is told."""
    osd2.write(b"x" * 4096, 1 << 20)
    data = osd2.good("READ MAP", data_in=4096, allocation_length=4096, map_type=map_type, **OBJECT)

    assert {kind for kind, _, _ in struct.iter_unpack(">2xHIQ", data[8:])} == {map_type}


@about("CDB continuation")
def test_scatter_gather(unit: ConformanceUnit, osd2: Osd) -> None:
    """Data goes to the ranges, and comes from them."""
    ranges = (DescriptorType.SCATTER_GATHER, struct.pack(">QQQQ", 50, 3, 10, 2))
    assert osd2.continued("WRITE", ranges, data=b"abcde", length=5, **OBJECT).good
    assert osd2.continued("READ", ranges, length=5, data_in=5, **OBJECT).data == b"abcde"

    assert osd2.read(3, 50) == b"abc"


@about("CREATE PARTITION")
def test_create_partition(unit: ConformanceUnit, osd: Osd) -> None:
    """Id 0 lets the unit choose one from 10000h on; another is taken as it is."""
    kind, chosen, oid = osd.attributes("CREATE PARTITION", ((COMMAND, 2), (COMMAND, 3), (COMMAND, 4)))
    osd.good("CREATE PARTITION", partition_id=0x54321)

    assert (kind, oid) == (b"\x02", bytes(8))
    assert osd.ids("LIST") == sorted({PID, int.from_bytes(chosen, "big"), 0x54321})


@about("REMOVE PARTITION")
def test_remove_partition(unit: ConformanceUnit, osd: Osd) -> None:
    """An empty one goes; its objects' ids are free."""
    osd.good("REMOVE", **OBJECT)
    osd.good("REMOVE PARTITION", partition_id=PID)

    assert osd.ids("LIST") == []


@pytest.mark.parametrize("scope", [1, 2])
@about("REMOVE PARTITION")
def test_remove_partition_scope(unit: ConformanceUnit, osd2: Osd, scope: int) -> None:
    """Scope 1 takes collections along, scope 2 everything."""
    osd2.good("CREATE COLLECTION", partition_id=PID, object_id=LATER)
    if scope == 1:
        osd2.good("REMOVE", **OBJECT)
    osd2.good("REMOVE PARTITION", partition_id=PID, remove_scope=scope)

    assert osd2.ids("LIST") == []


@about("FORMAT OSD")
def test_format(unit: ConformanceUnit, osd: Osd) -> None:
    """Nothing is there afterwards, the root's attributes neither."""
    osd.set(0, 0, (0x90000001, 9, b"name"))
    osd.good("FORMAT OSD")

    assert osd.ids("LIST") == []
    assert osd.get(0, 0, (0x90000001, 9), (0x90000001, 0xC0)) == [b"", bytes(8)]


@pytest.mark.parametrize("room", [24, 32, 40, 64, 100])
@about("LIST")
def test_list_continues(unit: ConformanceUnit, osd: Osd, room: int) -> None:
    """A list that does not fit says where to go on; all parts together are the list; the length is the whole's."""
    osd.good("CREATE", partition_id=PID, number_of_user_objects=9)
    found: list[int] = []
    start = 0
    for _ in range(12):
        data = osd.good("LIST", data_in=room, partition_id=PID, allocation_length=room, initial_object_id=start)
        some, start = parse_ids(data)
        if not found:
            assert int.from_bytes(data[:8], "big") == 16 + 80
        found += some
        if not start or room == 24:
            break

    assert found == ([] if room == 24 else osd.ids("LIST", partition_id=PID))
    assert room > 24 or start == OID


@about("LIST")
def test_list_format(unit: ConformanceUnit, osd: Osd) -> None:
    """What the ids are: OSD-1 by a bit, OSD-2 by OBJECT DESCRIPTOR FORMAT."""
    osd.good("CREATE COLLECTION", partition_id=PID, object_id=LATER)
    lists = (("LIST", {}), ("LIST", {"partition_id": PID}), ("LIST COLLECTION", {"partition_id": PID}))
    told = [osd.good(name, data_in=99, allocation_length=99, **ids)[23] for name, ids in lists]

    assert told == ([0x01 << 2, 0x21 << 2, 0x11 << 2] if osd.version == 2 else [1, 0, 1])


@about("LIST")
def test_list_no_room(unit: ConformanceUnit, osd: Osd) -> None:
    """Allocation length 0 is no data and no error."""
    assert osd.good("LIST", data_in=24, partition_id=PID, allocation_length=0) == b""


@about("LIST")
def test_list_attributes(unit: ConformanceUnit, osd2: Osd) -> None:
    """With LIST_ATTR every id has its attributes behind it."""
    osd2.write(b"12345")
    sent = osd2.request(
        "LIST", data_in=4096, partition_id=PID, allocation_length=4096, list_attr=1, get=((1, 0x82),)
    )
    data = unit.good(sent.cdb, sent.data_out, sent.data_in)

    assert data[23] == 0x22 << 2
    assert data[24:64] == struct.pack(">Q4xI", OID, 24) + struct.pack(">II6xH", 1, 0x82, 8) + number(5)


@about("CREATE COLLECTION")
def test_collection(unit: ConformanceUnit, osd: Osd) -> None:
    """Membership is an attribute of the member; LIST COLLECTION lists members; removing the member ends it."""
    osd.good("CREATE COLLECTION", partition_id=PID, object_id=LATER)
    osd.set(PID, OID, (4, 1, number(LATER)))
    assert osd.ids("LIST COLLECTION", partition_id=PID, object_id=LATER) == [OID]
    assert osd.get(PID, OID, (4, 1)) == [number(LATER)]
    assert osd.ids("LIST COLLECTION", partition_id=PID) == [LATER]
    assert LATER not in osd.ids("LIST", partition_id=PID)
    osd.good("REMOVE", **OBJECT)

    assert osd.ids("LIST COLLECTION", partition_id=PID, object_id=LATER) == []


@about("REMOVE COLLECTION")
def test_collection_with_members(unit: ConformanceUnit, osd: Osd) -> None:
    """It goes with FCR alone; members stay and are members no more."""
    osd.good("CREATE COLLECTION", partition_id=PID, object_id=LATER)
    osd.set(PID, OID, (4, 1, number(LATER)))
    full = asc.PARTITION_OR_COLLECTION_CONTAINS_USER_OBJECTS
    osd.refused("REMOVE COLLECTION", full, partition_id=PID, object_id=LATER)
    osd.good("REMOVE COLLECTION", partition_id=PID, object_id=LATER, fcr=1)

    assert osd.get(PID, OID, (4, 1)) == [b""]
    assert osd.ids("LIST", partition_id=PID) == [OID]


@about("collections attributes page")
def test_collection_once(unit: ConformanceUnit, osd: Osd) -> None:
    """An object is in a collection once; a number moves from one collection to another."""
    for cid in (LATER, LATER + 1):
        osd.good("CREATE COLLECTION", partition_id=PID, object_id=cid)
    osd.set(PID, OID, (4, 1, number(LATER)))
    twice = ((4, 2, number(LATER)),)
    osd.refused("SET ATTRIBUTES", asc.INVALID_FIELD_IN_PARAMETER_LIST, set=twice, **OBJECT)
    osd.set(PID, OID, (4, 1, number(LATER + 1)))

    assert osd.ids("LIST COLLECTION", partition_id=PID, object_id=LATER) == []
    assert osd.ids("LIST COLLECTION", partition_id=PID, object_id=LATER + 1) == [OID]


@about("REMOVE MEMBER OBJECTS")
def test_remove_member_objects(unit: ConformanceUnit, osd2: Osd) -> None:
    """Members go, others and the collection stay."""
    osd2.good("CREATE", partition_id=PID, object_id=OID + 1)
    osd2.good("CREATE COLLECTION", partition_id=PID, object_id=LATER)
    osd2.set(PID, OID, (4, 1, number(LATER)))
    osd2.good("REMOVE MEMBER OBJECTS", partition_id=PID, object_id=LATER)

    assert osd2.ids("LIST", partition_id=PID) == [OID + 1]
    assert osd2.ids("LIST COLLECTION", partition_id=PID) == [LATER]


@about("SET MEMBER ATTRIBUTES")
def test_set_member_attributes(unit: ConformanceUnit, osd2: Osd) -> None:
    """Members have the attribute, others have not."""
    osd2.good("CREATE", partition_id=PID, object_id=OID + 1)
    osd2.good("CREATE COLLECTION", partition_id=PID, object_id=LATER)
    osd2.set(PID, OID, (4, 1, number(LATER)))
    osd2.good("SET MEMBER ATTRIBUTES", partition_id=PID, object_id=LATER, set=((0x10001, 1, b"all"),))

    assert [osd2.get(PID, oid, (0x10001, 1)) for oid in (OID, OID + 1)] == [[b"all"], [b""]]


@about("GET MEMBER ATTRIBUTES")
def test_get_member_attributes(unit: ConformanceUnit, osd2: Osd) -> None:
    """A list of type Eh."""
    osd2.good("CREATE COLLECTION", partition_id=PID, object_id=LATER)
    osd2.set(PID, OID, (4, 1, number(LATER)))
    sent = osd2.request("GET MEMBER ATTRIBUTES", partition_id=PID, object_id=LATER, get=((1, 2),))
    data = unit.good(sent.cdb, sent.data_out, sent.data_in)

    assert data[:8] == struct.pack(">B3xI", 0x0E, 40)
    assert data[8:] == struct.pack(">QB5xH", OID, 0x80, 24) + struct.pack(">II6xHQ", 1, 2, 8, OID)


@pytest.mark.parametrize(
    ("least", "greatest", "found"), [(b"", b"", 3), (b"b", b"", 2), (b"", b"b", 2), (b"b", b"b", 1), (b"x", b"", 0)]
)
@about("QUERY")
def test_query(unit: ConformanceUnit, osd2: Osd, least: bytes, greatest: bytes, found: int) -> None:
    """Members within bounds, the bounds included."""
    osd2.good("CREATE", partition_id=PID, number_of_user_objects=2)
    osd2.good("CREATE COLLECTION", partition_id=PID, object_id=LATER)
    for oid, data in zip(osd2.ids("LIST", partition_id=PID), (b"a", b"b", b"c"), strict=True):
        osd2.set(PID, oid, (0x10001, 1, data), (4, 1, number(LATER)))
    text = struct.pack(">IIH", 0x10001, 1, len(least)) + least + struct.pack(">H", len(greatest)) + greatest
    criteria = (DescriptorType.QUERY, bytes(4) + struct.pack(">2xH", len(text)) + text)
    fields = {"partition_id": PID, "object_id": LATER, "allocation_length": 99}
    data = osd2.continued("QUERY", criteria, data_in=99, **fields).data

    assert data[:12] == struct.pack(">Q3xB", 4 + 8 * found, 0x21 << 2)
    assert len(data) == 12 + 8 * found


@about("CREATE USER TRACKING COLLECTION")
def test_tracking_collection(unit: ConformanceUnit, osd2: Osd) -> None:
    """It has the members of its source, and its type tells it apart."""
    osd2.good("CREATE COLLECTION", partition_id=PID, object_id=LATER)
    osd2.set(PID, OID, (4, 1, number(LATER)))
    fields = {"partition_id": PID, "object_id": LATER + 1, "source_collection_id": LATER}
    osd2.good("CREATE USER TRACKING COLLECTION", **fields)

    assert osd2.ids("LIST COLLECTION", partition_id=PID, object_id=LATER + 1) == [OID]
    assert osd2.get(PID, LATER + 1, (0x60000001, 0x0A)) == [b"\1"]
    assert osd2.get(PID, LATER, (0x60000001, 0x0A)) == [b"\0"]


@pytest.mark.parametrize("name", ["CREATE SNAPSHOT", "CREATE CLONE"])
@about("CREATE SNAPSHOT")
def test_snapshot_and_clone(unit: ConformanceUnit, osd2: Osd, name: str) -> None:
    """The copy has what the source had; of the two only the clone can be written."""
    osd2.write(b"before")
    (copy,) = osd2.attributes(name, ((COMMAND, 3),), partition_id=PID)
    pid = int.from_bytes(copy, "big")
    osd2.write(b"after!")
    assert osd2.read(6, partition_id=pid) == b"before"
    wrote = osd2.execute("WRITE", data=b"x", length=1, partition_id=pid, object_id=OID)

    assert wrote.good if name == "CREATE CLONE" else wrote.code == asc.WRITE_PROTECTED


@about("RESTORE PARTITION FROM SNAPSHOT")
def test_restore(unit: ConformanceUnit, osd2: Osd) -> None:
    """The partition is what it was."""
    osd2.write(b"before")
    (copy,) = osd2.attributes("CREATE SNAPSHOT", ((COMMAND, 3),), partition_id=PID)
    osd2.write(b"after!")
    osd2.good("RESTORE PARTITION FROM SNAPSHOT", partition_id=PID, other_partition_id=int.from_bytes(copy, "big"))

    assert osd2.read(6) == b"before"


@about("COPY USER OBJECTS")
def test_copy_user_objects(unit: ConformanceUnit, osd2: Osd) -> None:
    """A copy has the data."""
    osd2.write(b"data")
    source = (DescriptorType.COPY_SOURCE, struct.pack(">QQ4x", PID, OID))
    assert osd2.continued("COPY USER OBJECTS", source, partition_id=PID, object_id=LATER).good

    assert osd2.read(4, object_id=LATER) == b"data"


@about("OBJECT STRUCTURE CHECK")
def test_object_structure_check(unit: ConformanceUnit, osd2: Osd) -> None:
    """A sound partition is GOOD."""
    osd2.good("OBJECT STRUCTURE CHECK", partition_id=PID)


@about("READ MAPS AND COMPARE")
def test_read_maps_and_compare(unit: ConformanceUnit, osd2: Osd) -> None:
    """Equal objects differ nowhere."""
    osd2.write(b"data")
    osd2.good("CREATE AND WRITE", data=b"data", length=4, partition_id=PID, object_id=LATER)
    other = (DescriptorType.USER_OBJECT, struct.pack(">QQ", PID, LATER))
    fields: dict[str, Any] = {"allocation_length": 99, "data_in": 99, **OBJECT}

    assert osd2.continued("READ MAPS AND COMPARE", other, **fields).data == bytes(8)

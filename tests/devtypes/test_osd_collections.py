"""Tracking collections, QUERY and member commands of object storage (OSD-2)."""

from __future__ import annotations

import struct

import pytest
from osd_bench import PID, Osd, ids

from devtypes.osd.attribute_lists import encode_get_list, encode_set_list, parse_set_list
from devtypes.osd.continuation import DescriptorType, encode_segment
from devtypes.osd.requests import Attribute
from devtypes.osd.tracking import EVERY_OBJECT
from scsiemu import asc
from scsiemu.sense import FieldPointer
from scsiemu.testing.initiator import Result

FIRST = 0x10000
LINKED = FIRST + 100
TRACKING = FIRST + 101
APPLICATION = 0x10001


@pytest.fixture
def osd() -> Osd:
    """Ten objects, attribute 1 of an application page is their number; the first five are in a linked collection."""
    made = Osd().formatted()
    assert made("CREATE", partition_id=PID, number_of_user_objects=10).good
    assert made("CREATE COLLECTION", partition_id=PID, object_id=LINKED).good
    for number in range(10):
        assert made.set(PID, FIRST + number, (APPLICATION, 1, bytes((number,)))).good
        if number < 5:
            assert made.set(PID, FIRST + number, (4, 1, LINKED.to_bytes(8, "big"))).good
    return made


def query(
    osd: Osd, *criteria: tuple[int, int, bytes, bytes], every: bool = False, cid: int = LINKED, room: int = 4096,
    matches: int = 0,
) -> Result:
    """QUERY with a query list."""
    body = bytes((every, 0, 0, 0))
    for page, number, least, greatest in criteria:
        text = struct.pack(">IIH", page, number, len(least)) + least + struct.pack(">H", len(greatest)) + greatest
        body += struct.pack(">2xH", len(text)) + text
    segment = encode_segment(0x88A0, [(DescriptorType.QUERY, body)])
    return osd(
        "QUERY", segment, partition_id=PID, object_id=cid, allocation_length=room, matches_collection_id=matches,
        cdb_continuation_length=len(segment),
    )


def found(result: Result) -> list[int]:
    """Numbers of the objects that a query found."""
    assert result.good, result
    assert result.data[11] == 0x21 << 2
    return [each - FIRST for (each,) in struct.iter_unpack(">Q", result.data[12:])]


def members(osd: Osd, cid: int) -> list[int]:
    """Numbers of the objects in a collection."""
    data = osd("LIST COLLECTION", partition_id=PID, object_id=cid, allocation_length=4096).data
    return [each - FIRST for each in ids(data)]


def test_query_bounds(osd: Osd) -> None:
    """Least and greatest value are part of what matches; an empty bound is none; no criterion matches all."""
    assert found(query(osd, (APPLICATION, 1, b"\2", b"\3"))) == [2, 3]
    assert found(query(osd, (APPLICATION, 1, b"\3", b""))) == [3, 4]
    assert found(query(osd, (APPLICATION, 1, b"", b"\1"))) == [0, 1]
    assert found(query(osd)) == [0, 1, 2, 3, 4]
    assert found(query(osd, (APPLICATION, 9, b"", b""))) == []


def test_query_union_and_intersection(osd: Osd) -> None:
    """Any criterion is enough, or every one has to match; computed attributes count, too."""
    both = ((APPLICATION, 1, b"\3", b""), (1, 2, (FIRST + 4).to_bytes(8, "big"), b""))

    assert found(query(osd, *both)) == [3, 4]
    assert found(query(osd, *both, every=True)) == [4]


def test_query_cut(osd: Osd) -> None:
    """Data is cut at the allocation length, its length says how much there is."""
    result = query(osd, room=12 + 16)

    assert result.data[:8] == (4 + 8 * 5).to_bytes(8, "big")
    assert found(result) == [0, 1]


def test_query_matches_collection(osd: Osd) -> None:
    """Matches may go into a tracking collection; another kind of collection is refused."""
    assert osd("CREATE USER TRACKING COLLECTION", partition_id=PID, object_id=TRACKING).good
    assert found(query(osd, (APPLICATION, 1, b"\2", b"\3"), matches=TRACKING)) == []
    assert members(osd, TRACKING) == [2, 3]

    refused = query(osd, matches=LINKED)
    assert refused.code == asc.INVALID_FIELD_IN_CDB


@pytest.mark.parametrize("cid", [FIRST, FIRST + 999, 0])
def test_query_no_collection(osd: Osd, cid: int) -> None:
    """A user object, nothing, and 0 are no collection."""
    assert query(osd, cid=cid).code == asc.INVALID_FIELD_IN_CDB


def test_query_partition_page(osd: Osd) -> None:
    """Criteria are about attributes of user objects."""
    assert query(osd, (0x30000001, 1, b"", b"")).code == asc.INVALID_FIELD_IN_PARAMETER_LIST


def test_tracking_collection(osd: Osd) -> None:
    """It has the members that its source had; it is told apart by its type; objects do not know of it."""
    made = osd(
        "CREATE USER TRACKING COLLECTION", partition_id=PID, object_id=TRACKING, source_collection_id=LINKED
    )
    assert made.good, made
    assert members(osd, TRACKING) == [0, 1, 2, 3, 4]
    assert osd.get(PID, TRACKING, (0x60000001, 0x0A), (0x60000004, 0x10)) == [b"\1", (5).to_bytes(8, "big")]
    assert osd.get(PID, FIRST, (4, 0xFFFFFFFF))[1:] == [LINKED.to_bytes(8, "big")]
    refused = osd.set(PID, FIRST + 9, (4, 2, TRACKING.to_bytes(8, "big")))
    assert refused.code == asc.INVALID_FIELD_IN_PARAMETER_LIST

    assert osd("REMOVE COLLECTION", partition_id=PID, object_id=TRACKING).good
    assert members(osd, LINKED) == [0, 1, 2, 3, 4]


def test_set_member_attributes(osd: Osd) -> None:
    """Every member gets the attribute, nobody else; one that may not be set leaves nothing."""
    text = encode_set_list([Attribute(APPLICATION, 2, b"new")], version=2)
    fields = {"cdbfmt": 3, "attributes": int.from_bytes(struct.pack(">7I", 0, 0, 0, 0, len(text), 0, 0), "big")}
    assert osd("SET MEMBER ATTRIBUTES", text, partition_id=PID, object_id=LINKED, **fields).good
    assert [osd.get(PID, FIRST + n, (APPLICATION, 2))[0] for n in range(10)] == [b"new"] * 5 + [None] * 5
    text = encode_set_list([Attribute(APPLICATION, 2, b"bad"), Attribute(1, 0x81, bytes(8))], version=2)
    fields["attributes"] = int.from_bytes(struct.pack(">7I", 0, 0, 0, 0, len(text), 0, 0), "big")
    refused = osd("SET MEMBER ATTRIBUTES", text, partition_id=PID, object_id=LINKED, **fields)

    assert refused.code == asc.INVALID_FIELD_IN_PARAMETER_LIST
    assert osd.get(PID, FIRST, (APPLICATION, 2)) == [b"new"]


def test_get_member_attributes(osd: Osd) -> None:
    """A list of type Eh: id, kind and attributes of each member."""
    text = encode_get_list([(APPLICATION, 1)], version=2)
    fields = {"cdbfmt": 3, "attributes": int.from_bytes(struct.pack(">7I", len(text), 0, 4096, 0, 0, 0, 0), "big")}
    data = osd("GET MEMBER ATTRIBUTES", text, partition_id=PID, object_id=LINKED, **fields).data
    told = []
    at = 8
    while at < len(data):
        oid, kind, length = struct.unpack_from(">QB5xH", data, at)
        entry = struct.pack(">B3xI", 9, length) + data[at + 16 : at + 16 + length]
        told.append((oid - FIRST, kind, parse_set_list(entry, version=2)[0].value))
        at += 16 + length

    assert data[:8] == struct.pack(">B3xI", 0x0E, len(data) - 8)
    assert told == [(n, 0x80, bytes((n,))) for n in range(5)]


def test_remove_member_objects_tracking(osd: Osd) -> None:
    """What a tracking collection tracks is removed; the others stay."""
    osd("CREATE USER TRACKING COLLECTION", partition_id=PID, object_id=TRACKING, source_collection_id=LINKED)
    assert osd("REMOVE MEMBER OBJECTS", partition_id=PID, object_id=TRACKING).good

    assert ids(osd("LIST", partition_id=PID, allocation_length=999).data) == [FIRST + n for n in range(5, 10)]
    assert members(osd, TRACKING) == members(osd, LINKED) == []


@pytest.mark.parametrize("name", ["QUERY", "GET MEMBER ATTRIBUTES", "SET MEMBER ATTRIBUTES", "REMOVE MEMBER OBJECTS"])
def test_members_immediate_refused(osd: Osd, name: str) -> None:
    """IMMED_TR is refused at its bit where no tracking page tells of the command."""
    result = osd(name, partition_id=PID, object_id=LINKED, immed_tr=1)

    assert result.sense is not None
    assert result.sense.specific == FieldPointer(11, 7)


def tracked(osd: Osd) -> list[int]:
    """Percent complete, active and ended service action, members, processed, skipped twice."""
    numbers = ((0x60000004, number) for number in (1, 2, 3, 0x10, 0x11, 0x12, 0x13))
    return [int.from_bytes(each or b"", "big") for each in osd.get(PID, TRACKING, *numbers)]


def test_command_tracking(osd: Osd) -> None:
    """The page of a tracking collection tells of the last command about its members, with IMMED_TR or without."""
    osd(
        "CREATE USER TRACKING COLLECTION", partition_id=PID, object_id=TRACKING, source_collection_id=LINKED, immed_tr=1
    )
    assert tracked(osd) == [100, 0, 0x8894, 5, 5, 0, 0]
    text = encode_set_list([Attribute(APPLICATION, 2, b"new")], version=2)
    fields = {"cdbfmt": 3, "attributes": int.from_bytes(struct.pack(">7I", 0, 0, 0, 0, len(text), 0, 0), "big")}
    assert osd("SET MEMBER ATTRIBUTES", text, partition_id=PID, object_id=TRACKING, immed_tr=1, **fields).good
    assert tracked(osd) == [100, 0, 0x88A3, 5, 5, 0, 0]
    assert osd("REMOVE MEMBER OBJECTS", partition_id=PID, object_id=TRACKING, immed_tr=1).good
    assert tracked(osd) == [100, 0, 0x88A1, 0, 5, 0, 0]


def test_spontaneous_collection(osd: Osd) -> None:
    """Every partition has a collection of all its user objects: listed, queried, tracked; not set, not removed."""
    assert members(osd, EVERY_OBJECT) == list(range(10))
    assert osd.get(PID, EVERY_OBJECT, (0x60000001, 0x0A), (0x60000001, 2)) == [
        b"\xef", EVERY_OBJECT.to_bytes(8, "big")
    ]
    assert osd(
        "CREATE USER TRACKING COLLECTION", partition_id=PID, object_id=TRACKING, source_collection_id=EVERY_OBJECT
    ).good
    assert tracked(osd)[3:5] == [10, 10]
    for refused in (
        osd("REMOVE COLLECTION", partition_id=PID, object_id=EVERY_OBJECT, fcr=1),
        osd("CREATE COLLECTION", partition_id=PID, object_id=EVERY_OBJECT),
        osd("LIST COLLECTION", partition_id=PID + 9, object_id=EVERY_OBJECT, allocation_length=99),
    ):
        assert refused.code == asc.INVALID_FIELD_IN_CDB
    for attribute in ((0x60010001, 1, b"x"), (0x60000001, 9, b"name")):
        assert osd.set(PID, EVERY_OBJECT, attribute).code == asc.INVALID_FIELD_IN_PARAMETER_LIST
    assert osd.set(PID, FIRST, (4, 2, EVERY_OBJECT.to_bytes(8, "big"))).code == asc.INVALID_FIELD_IN_PARAMETER_LIST

    assert osd("REMOVE MEMBER OBJECTS", partition_id=PID, object_id=EVERY_OBJECT).good
    assert ids(osd("LIST", partition_id=PID, allocation_length=999).data) == []

"""Error rows of object commands. The unit is formatted: nothing on it survives."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from conformance import ConformanceUnit, clause
from osd_clauses import about
from osd_unit import OBJECT, OID, PID, Osd, number, pointer

from devtypes.osd.layouts import OSD_1, OSD_2
from scsiemu import asc
from scsiemu.sense import FieldPointer, SenseCode, SenseKey

CDB = asc.INVALID_FIELD_IN_CDB
LIST = asc.INVALID_FIELD_IN_PARAMETER_LIST
LENGTH = asc.PARAMETER_LIST_LENGTH_ERROR
FULL = asc.PARTITION_OR_COLLECTION_CONTAINS_USER_OBJECTS
NOWHERE = {"partition_id": 0x99999}
ABSENT = {"partition_id": PID, "object_id": 0x77777}

# name of the case, command, sense code, byte of the field pointer (None: not checked), fields.
ROWS: list[tuple[str, str, SenseCode, int | None, dict[str, Any]]] = [
    *(
        (f"{name}, no such partition", name, CDB, 16, {**NOWHERE, "object_id": OID, **extra})
        for name, extra in (
            ("READ", {"length": 1}), ("WRITE", {"length": 1, "data": b"x"}), ("APPEND", {"length": 1, "data": b"x"}),
            ("REMOVE", {}), ("FLUSH", {}), ("GET ATTRIBUTES", {}), ("SET ATTRIBUTES", {}), ("CREATE", {}),
            ("CREATE AND WRITE", {"length": 1, "data": b"x"}), ("CREATE COLLECTION", {}), ("REMOVE COLLECTION", {}),
            ("FLUSH COLLECTION", {}), ("LIST COLLECTION", {}),
        )
    ),
    ("REMOVE PARTITION, no such partition", "REMOVE PARTITION", CDB, 16, NOWHERE),
    ("FLUSH PARTITION, no such partition", "FLUSH PARTITION", CDB, 16, NOWHERE),
    ("LIST, no such partition", "LIST", CDB, 16, NOWHERE),
    *(
        (f"{name}, no such object", name, CDB, 24, {**ABSENT, **extra})
        for name, extra in (
            ("READ", {"length": 1}), ("WRITE", {"length": 1, "data": b"x"}), ("APPEND", {"length": 1, "data": b"x"}),
            ("REMOVE", {}), ("FLUSH", {}), ("GET ATTRIBUTES", {}), ("SET ATTRIBUTES", {}), ("REMOVE COLLECTION", {}),
            ("FLUSH COLLECTION", {}), ("LIST COLLECTION", {}),
        )
    ),
    *(
        (f"{name}, a user object is no collection", name, CDB, 24, OBJECT)
        for name in ("REMOVE COLLECTION", "FLUSH COLLECTION", "LIST COLLECTION")
    ),
    *(
        (f"{name}, timestamps control 01h", name, CDB, 12, {**OBJECT, "timestamps_control": 1})
        for name in ("READ", "CREATE", "REMOVE", "GET ATTRIBUTES", "CREATE COLLECTION")
    ),
    ("CREATE, id in use", "CREATE", CDB, 24, OBJECT),
    ("CREATE, reserved id", "CREATE", CDB, 24, {"partition_id": PID, "object_id": 0xFFFF}),
    ("CREATE, several with an id", "CREATE", CDB, 24, {**ABSENT, "number_of_user_objects": 2}),
    ("CREATE COLLECTION, id in use", "CREATE COLLECTION", CDB, 24, OBJECT),
    ("CREATE COLLECTION, reserved id", "CREATE COLLECTION", CDB, 24, {"partition_id": PID, "object_id": 1}),
    ("CREATE PARTITION, id in use", "CREATE PARTITION", CDB, 16, {"partition_id": PID}),
    ("CREATE PARTITION, reserved id", "CREATE PARTITION", CDB, 16, {"partition_id": 1}),
    ("REMOVE PARTITION, not empty", "REMOVE PARTITION", FULL, None, {"partition_id": PID}),
    ("FLUSH, scope 3", "FLUSH", CDB, 10, {**OBJECT, "flush_scope": 3}),
    ("FORMAT OSD, capacity that is not there", "FORMAT OSD", CDB, None, {"formatted_capacity": 1 << 63}),
    ("GET ATTRIBUTES, object id without partition", "GET ATTRIBUTES", CDB, 24, {"object_id": OID}),
    ("SET ATTRIBUTES, used capacity", "SET ATTRIBUTES", LIST, None, {**OBJECT, "set": ((1, 0x81, number(1)),)}),
    ("SET ATTRIBUTES, its own id", "SET ATTRIBUTES", LIST, None, {**OBJECT, "set": ((1, 2, number(1)),)}),
    ("SET ATTRIBUTES, a timestamp", "SET ATTRIBUTES", LIST, None, {**OBJECT, "set": ((3, 1, number(1, 6)),)}),
    ("SET ATTRIBUTES, length of a number", "SET ATTRIBUTES", LIST, None, {**OBJECT, "set": ((2, 1, b"x"),)}),
    ("SET ATTRIBUTES, a partition's page", "SET ATTRIBUTES", LIST, None, {**OBJECT, "set": ((0x30000001, 9, b"x"),)}),
    ("SET ATTRIBUTES, current command page", "SET ATTRIBUTES", LIST, None, {**OBJECT, "set": ((2**32 - 2, 1, b"x"),)}),
    ("SET ATTRIBUTES, page directory", "SET ATTRIBUTES", LIST, None, {**OBJECT, "set": ((0, 1, b"x"),)}),
    ("SET ATTRIBUTES, no collection", "SET ATTRIBUTES", LIST, None, {**OBJECT, "set": ((4, 1, number(OID)),)}),
    ("LIST, allocation length 23", "LIST", CDB, None, {"partition_id": PID, "allocation_length": 23, "data_in": 23}),
    ("READ, attributes without a format", "READ", CDB, 52, {**OBJECT, "attributes": 1}),
]


@pytest.mark.parametrize(("name", "code", "at", "fields"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
@about("sense data")
def test_error(
    unit: ConformanceUnit, osd: Osd, name: str, code: SenseCode, at: int | None, fields: dict[str, Any]
) -> None:
    """It is refused with its code, in descriptor format, with the object named and the field pointer at the field."""
    sense = osd.refused(name, code, **fields)
    (identification,) = (each for each in sense.descriptors if each[0] == 0x06)

    assert len(identification) == 32
    assert identification[16:24] == number(fields.get("partition_id", 0))
    if at is not None:
        assert pointer(sense).byte == at


ROWS_2: list[tuple[str, str, SenseCode, int | None, dict[str, Any]]] = [
    *(
        (f"{name}, no such object", name, CDB, 24, {**ABSENT, **extra})
        for name, extra in (
            ("PUNCH", {}), ("CLEAR", {}), ("READ MAP", {}), ("REMOVE MEMBER OBJECTS", {}),
            ("GET MEMBER ATTRIBUTES", {}), ("SET MEMBER ATTRIBUTES", {}),
        )
    ),
    ("OBJECT STRUCTURE CHECK, no such partition", "OBJECT STRUCTURE CHECK", CDB, 16, NOWHERE),
    ("CREATE SNAPSHOT, no such partition", "CREATE SNAPSHOT", CDB, 16, NOWHERE),
    ("CREATE CLONE, no such partition", "CREATE CLONE", CDB, 16, NOWHERE),
    ("CREATE CLONE, id in use", "CREATE CLONE", CDB, None, {"partition_id": PID, "other_partition_id": PID}),
    ("DETACH CLONE, no clone", "DETACH CLONE", CDB, 16, {"partition_id": PID}),
    ("REFRESH SNAPSHOT OR CLONE, no copy", "REFRESH SNAPSHOT OR CLONE", CDB, 16, {"partition_id": PID}),
    ("PUNCH, past the end", "PUNCH", CDB, 32, {**OBJECT, "length": 1}),
    ("QUERY, no query list", "QUERY", CDB, 48, OBJECT),
    ("COPY USER OBJECTS, no sources", "COPY USER OBJECTS", CDB, 48, {"partition_id": PID}),
    ("READ MAPS AND COMPARE, no object", "READ MAPS AND COMPARE", CDB, 48, OBJECT),
    ("READ, continuation of 40 bytes", "READ", CDB, 48, {**OBJECT, "cdb_continuation_length": 40}),
    ("READ, continuation of 50 bytes", "READ", CDB, 48, {**OBJECT, "cdb_continuation_length": 50}),
    ("CREATE, continuation", "CREATE", CDB, 48, {**ABSENT, "cdb_continuation_length": 48, "data": bytes(48)}),
    ("READ, isolation 7", "READ", CDB, 10, {**OBJECT, "isolation": 7}),
    ("READ, isolation 3", "READ", CDB, 10, {**OBJECT, "isolation": 3}),
    ("LIST, sort order", "LIST", CDB, 11, {"partition_id": PID, "sort_order": 1}),
    ("LIST, attributes without a list", "LIST", CDB, 11, {"partition_id": PID, "list_attr": 1}),
    ("REMOVE PARTITION, scope 3", "REMOVE PARTITION", CDB, 11, {"partition_id": PID, "remove_scope": 3}),
    ("REMOVE PARTITION, scope 1, objects", "REMOVE PARTITION", FULL, None, {"partition_id": PID, "remove_scope": 1}),
    *(
        (f"set one attribute, {what}", "SET ATTRIBUTES", CDB, at, {
            **OBJECT, "cdbfmt": 1,
            "attributes": int.from_bytes(struct.pack(">IIH18x", page, attribute, length), "big"),
        })
        for what, page, attribute, length, at in (
            ("page 0", 0, 1, 1, 52), ("all pages", 0xFFFFFFFF, 1, 1, 52), ("all numbers", 0x10001, 0xFFFFFFFF, 1, 56),
            ("19 bytes", 0x10001, 1, 19, 60),
        )
    ),
]


@pytest.mark.parametrize(("name", "code", "at", "fields"), [row[1:] for row in ROWS_2], ids=[row[0] for row in ROWS_2])
@about("sense data")
def test_error_osd2(
    unit: ConformanceUnit, osd2: Osd, name: str, code: SenseCode, at: int | None, fields: dict[str, Any]
) -> None:
    """As `test_error`, for what OSD-2 alone has."""
    sense = osd2.refused(name, code, **fields)

    assert any(each[:2] == b"\x06\x1e" for each in sense.descriptors)
    if at is not None:
        assert pointer(sense).byte == at


@about("READ")
def test_read_past_end(unit: ConformanceUnit, osd: Osd) -> None:
    """READ past the end is RECOVERED ERROR with the number of bytes read, and gives them."""
    osd.write(b"12345")
    code = asc.with_key(asc.READ_PAST_END_OF_USER_OBJECT, SenseKey.RECOVERED_ERROR)
    answer = osd.execute("READ", data_in=9, length=9, starting_byte_address=2, **OBJECT)

    assert (answer.code, answer.data) == (code, b"345")
    assert answer.sense is not None
    assert answer.sense.command_specific == 3
    assert osd.refused("READ", code, data_in=9, length=9, starting_byte_address=99, **OBJECT).command_specific == 0


@about("error identification sense data descriptor")
def test_object_is_named(unit: ConformanceUnit, osd: Osd) -> None:
    """The descriptor names the object that is not there."""
    sense = osd.refused("READ", CDB, data_in=9, length=9, **ABSENT)

    assert any(each[0] == 0x06 and each[16:32] == struct.pack(">QQ", PID, 0x77777) for each in sense.descriptors)


@about("sense data")
def test_attribute_is_named(unit: ConformanceUnit, osd: Osd) -> None:
    """Descriptor 08h names the attribute that could not be set; those before it are not set either."""
    sense = osd.refused("SET ATTRIBUTES", LIST, set=((0x10001, 1, b"x"), (1, 0x81, number(1))), **OBJECT)

    assert any(each[0] == 0x08 and each[8:16] == struct.pack(">II", 1, 0x81) for each in sense.descriptors)
    assert osd.get(PID, OID, (0x10001, 1)) == [b""]


@about("quotas pages")
def test_quota_length(unit: ConformanceUnit, osd: Osd) -> None:
    """A write past the maximum length is a quota error and writes nothing."""
    osd.set(PID, OID, (2, 1, number(4)))
    osd.refused("WRITE", asc.QUOTA_ERROR, data=b"12345", length=5, **OBJECT)
    osd.refused("APPEND", asc.QUOTA_ERROR, data=b"12345", length=5, **OBJECT)
    osd.refused("SET ATTRIBUTES", asc.QUOTA_ERROR, set=((1, 0x82, number(5)),), **OBJECT)
    osd.write(b"1234")

    assert osd.read(4) == b"1234"


@about("quotas pages")
def test_quota_objects(unit: ConformanceUnit, osd: Osd) -> None:
    """More objects than the partition may have are not created, none of them."""
    osd.set(PID, 0, (0x30000002, 0x10002, number(3)))
    osd.refused("CREATE", asc.QUOTA_ERROR, partition_id=PID, number_of_user_objects=3)
    osd.good("CREATE", partition_id=PID, number_of_user_objects=2)
    osd.refused("CREATE COLLECTION", asc.QUOTA_ERROR, partition_id=PID)


@about("quotas pages")
def test_quota_capacity(unit: ConformanceUnit, osd: Osd) -> None:
    """A partition keeps to its capacity quota."""
    osd.set(PID, 0, (0x30000002, 0x10001, number(1)))
    osd.refused("WRITE", asc.QUOTA_ERROR, data=b"x" * 5000, length=5000, **OBJECT)

    assert osd.get(PID, OID, (1, 0x82)) == [bytes(8)]


@about("quotas pages")
def test_quota_partitions(unit: ConformanceUnit, osd: Osd) -> None:
    """The root's partition count quota."""
    osd.set(0, 0, (0x90000002, 0x20002, number(1)))
    osd.refused("CREATE PARTITION", asc.QUOTA_ERROR)
    osd.set(0, 0, (0x90000002, 0x20002, b""))


@about("quotas pages")
def test_quota_collections(unit: ConformanceUnit, osd: Osd) -> None:
    """A user object is in no more collections than the partition's quota says."""
    for cid in (OID + 1, OID + 2):
        osd.good("CREATE COLLECTION", partition_id=PID, object_id=cid)
    osd.set(PID, 0, (0x30000002, 0x10081, number(1, 4)))
    osd.set(PID, OID, (4, 1, number(OID + 1)))
    osd.refused("SET ATTRIBUTES", asc.QUOTA_ERROR, set=((4, 2, number(OID + 2)),), **OBJECT)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (b"\x09\0\0\0\0\0\0\0" + bytes(8), LIST), (b"\x01\0\0\0\0\0\0\xff" + bytes(8), LENGTH),
        (b"\x01\0\0\0\0\0\0\0" + bytes(4), LENGTH),
    ],
    ids=["type of a set list", "length past the end", "half an entry"],
)
@about("attributes lists")
def test_get_list_refused(unit: ConformanceUnit, osd2: Osd, text: bytes, code: SenseCode) -> None:
    """A get list that is not well-formed."""
    words = struct.pack(">7I", len(text), 0, 4096, 0, 0, 0, 0)
    osd2.refused("GET ATTRIBUTES", code, data=text, cdbfmt=3, attributes=int.from_bytes(words, "big"), **OBJECT)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (b"\x01\0\0\0\0\0\0\0" + bytes(16), LIST), (b"\x09\0\0\0\0\0\0\0" + bytes(15), LENGTH),
        (b"\x09\0\0\0\0\0\0\0" + struct.pack(">II6xH", 0x10001, 1, 99), LENGTH),
    ],
    ids=["type of a get list", "half an entry", "value past the end"],
)
@about("attributes lists")
def test_set_list_refused(unit: ConformanceUnit, osd2: Osd, text: bytes, code: SenseCode) -> None:
    """A set list that is not well-formed changes nothing."""
    words = struct.pack(">7I", 0, 0, 0, 0, len(text), 0, 0)
    osd2.refused("SET ATTRIBUTES", code, data=text, cdbfmt=3, attributes=int.from_bytes(words, "big"), **OBJECT)

    assert osd2.get(PID, OID, (0x10001, 1)) == [b""]


@about("get and set attributes parameters")
def test_retrieved_over_data(unit: ConformanceUnit, osd2: Osd) -> None:
    """Retrieved attributes may not lie over the command's data."""
    osd2.write(b"x" * 64)
    words = struct.pack(">7I", 0xFFFFFFFE, 64, 0xB0000001, 0, 0, 0, 0)
    fields: dict[str, Any] = {"length": 64, "cdbfmt": 2, "attributes": int.from_bytes(words, "big"), **OBJECT}
    sense = osd2.refused("READ", CDB, data_in=256, **fields)

    assert pointer(sense).byte == 60


@pytest.mark.parametrize(
    ("change", "code"), [({9: 0x7F}, CDB), ({0: 0xBF}, asc.INVALID_COMMAND_OPERATION_CODE), ({7: 100}, CDB)],
    ids=["service action", "operation code", "additional length"],
)
@clause("SPC-4, variable length CDBs")
def test_unknown_command(unit: ConformanceUnit, osd: Osd, change: dict[int, int], code: SenseCode) -> None:
    """Another service action, operation code or length is refused."""
    cdb = bytearray(osd.request("READ", **OBJECT).cdb)
    for at, byte in change.items():
        cdb[at] = byte
    answer = unit.execute(bytes(cdb))

    assert answer.code == code


@pytest.mark.parametrize("base", [OSD_1, OSD_2], ids=["osd1", "osd2"])
@pytest.mark.parametrize("action", [0x1D, 0x26, 0x30, 0x7F])
@about("service action codes")
def test_service_action_not_there(unit: ConformanceUnit, base: int, action: int) -> None:
    """Service actions of no command are refused at the field."""
    length = 200 if base == OSD_1 else 236
    cdb = bytearray(length)
    cdb[0], cdb[7], cdb[8:10] = 0x7F, length - 8, (base + action).to_bytes(2, "big")

    assert unit.refused(bytes(cdb), CDB).specific == FieldPointer(8)


CAPABILITY = [
    ("object type", 48, 0x02, 128), ("permissions", 49, 0x00, 129), ("expired", 9, 1, 84), ("created time", 47, 1, 122),
    ("allowed partition", 79, 9, 152), ("allowed object", 87, 9, 160), ("format", 0, 3, 80),
    ("descriptor type", 55, 0x40, 135), ("policy access tag", 63, 1, 140),
]


@pytest.mark.parametrize(("at", "byte", "where"), [row[1:] for row in CAPABILITY], ids=[row[0] for row in CAPABILITY])
@about("capability format")
def test_capability_refused(unit: ConformanceUnit, osd2: Osd, at: int, byte: int, where: int) -> None:
    """A capability that does not allow the command is refused at its field."""
    raw = bytearray(104)
    raw[0], raw[48], raw[55] = 2, 0x80, 0x10
    raw[49:54] = b"\xff" * 5
    raw[72:88] = struct.pack(">QQ", PID, OID)
    osd2.good("READ", capability=int.from_bytes(raw, "big"), **OBJECT)
    raw[at] = byte
    sense = osd2.refused("READ", CDB, capability=int.from_bytes(raw, "big"), **OBJECT)

    assert pointer(sense).byte == where


@pytest.mark.parametrize(("start", "length"), [(1, 4), (0, 3)])
@about("capability format")
def test_capability_range(unit: ConformanceUnit, osd2: Osd, start: int, length: int) -> None:
    """A range that does not cover the data is refused."""
    raw = bytearray(104)
    raw[0], raw[48], raw[55] = 2, 0x80, 0x10
    raw[49:54] = b"\xff" * 5
    raw[72:104] = struct.pack(">QQQQ", PID, OID, length, start)
    osd2.write(b"12345")

    assert pointer(osd2.refused("READ", CDB, capability=int.from_bytes(raw, "big"), length=4, **OBJECT)).byte == 176

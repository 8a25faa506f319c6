"""Object storage: commands of both versions, as OSD-2 clause 6 describes them."""

from __future__ import annotations

import struct

import pytest
from osd_bench import COMMAND, PID, Osd, add_osd, ids

from scsiemu import asc
from scsiemu.sense import FieldPointer, SenseKey
from scsiemu.testing.device_type_kit import check_device_type

OID = 0x10000
PAST_END = asc.with_key(asc.READ_PAST_END_OF_USER_OBJECT, SenseKey.RECOVERED_ERROR)


@pytest.fixture(params=[1, 2], ids=["osd1", "osd2"])
def osd(request: pytest.FixtureRequest) -> Osd:
    """A formatted unit with one partition."""
    return Osd(request.param).formatted()


def test_osd_kit() -> None:
    """The unit keeps what every device type has to keep."""
    check_device_type(lambda target: add_osd(target), random_cdbs=4)


def test_create_write_read(osd: Osd) -> None:
    """What was written is read, and a hole before it reads as zeros."""
    assert osd("CREATE", partition_id=PID, object_id=OID).good
    assert osd("WRITE", b"hello", partition_id=PID, object_id=OID, length=5, starting_byte_address=10000).good
    result = osd("READ", partition_id=PID, object_id=OID, length=10005)

    assert result.good
    assert bytes(10000) + b"hello" == result.data


def test_read_past_end(osd: Osd) -> None:
    """READ past the logical length is a recovered error that tells how much was read."""
    osd("CREATE AND WRITE", b"12345", partition_id=PID, object_id=OID, length=5)
    result = osd("READ", partition_id=PID, object_id=OID, length=9, starting_byte_address=2)

    assert (result.code, result.data) == (PAST_END, b"345")
    assert result.sense is not None
    assert result.sense.command_specific == 3


def test_read_wholly_past_end(osd: Osd) -> None:
    """READ that begins past the end gives nothing, with 0 as what was read."""
    osd("CREATE", partition_id=PID, object_id=OID)
    result = osd("READ", partition_id=PID, object_id=OID, length=9, starting_byte_address=100)

    assert result.sense is not None
    assert (result.code, result.data, result.sense.command_specific) == (PAST_END, b"", 0)


def test_error_identification_descriptor(osd: Osd) -> None:
    """Every refusal names the object, in descriptor format, with the field pointer at its id."""
    result = osd("READ", partition_id=PID, object_id=0x77777, length=1)

    assert result.code == asc.INVALID_FIELD_IN_CDB
    assert result.sense is not None
    assert result.sense.specific == FieldPointer(24)
    assert result.sense.descriptors[0][16:32] == struct.pack(">QQ", PID, 0x77777)


def test_no_partition(osd: Osd) -> None:
    """A partition that is not there is the field at fault."""
    result = osd("READ", partition_id=0x99999, object_id=OID, length=1)

    assert result.sense is not None
    assert result.sense.specific == FieldPointer(16)


def test_create_several(osd: Osd) -> None:
    """CREATE makes consecutive objects; the current command page holds the highest id."""
    words = int.from_bytes(struct.pack(">7I", COMMAND, 76, 0, 0, 0, 0, 0), "big")
    data = osd("CREATE", partition_id=PID, number_of_user_objects=5, cdbfmt=2, attributes=words).data

    at = 40 if osd.version == 2 else 28
    assert data[at : at + 20] == struct.pack(">B3xQQ", 0x80, PID, OID + 4)
    assert ids(osd("LIST", partition_id=PID, allocation_length=4096).data) == [OID + n for n in range(5)]


@pytest.mark.parametrize(
    "fields", [{"object_id": 5}, {"object_id": OID}, {"object_id": OID + 9, "number_of_user_objects": 2}]
)
def test_create_refused(osd: Osd, fields: dict[str, int]) -> None:
    """Reserved ids, ids in use, and an id with a number are refused and leave nothing."""
    osd("CREATE", partition_id=PID, object_id=OID)

    assert osd("CREATE", partition_id=PID, **fields).code == asc.INVALID_FIELD_IN_CDB
    assert ids(osd("LIST", partition_id=PID, allocation_length=4096).data) == [OID]


def test_list_continuation(osd: Osd) -> None:
    """A list that does not fit says where to go on, and how long the whole is."""
    osd("CREATE", partition_id=PID, number_of_user_objects=10)
    first = osd("LIST", partition_id=PID, allocation_length=24 + 32).data
    rest = osd("LIST", partition_id=PID, allocation_length=4096, initial_object_id=OID + 4).data

    assert (int.from_bytes(first[:8], "big"), int.from_bytes(first[8:16], "big")) == (16 + 80, OID + 4)
    assert ids(first) + ids(rest) == [OID + n for n in range(10)]
    assert int.from_bytes(rest[8:16], "big") == 0


def test_list_partitions(osd: Osd) -> None:
    """LIST of partition 0 lists partitions."""
    osd("CREATE PARTITION")

    assert ids(osd("LIST", allocation_length=4096).data) == [PID, PID + 1]


def test_append_address(osd: Osd) -> None:
    """APPEND writes behind the end."""
    osd("CREATE AND WRITE", b"abc", partition_id=PID, object_id=OID, length=3)
    assert osd("APPEND", b"def", partition_id=PID, object_id=OID, length=3).good

    assert osd("READ", partition_id=PID, object_id=OID, length=6).data == b"abcdef"


def test_attributes_round_trip(osd: Osd) -> None:
    """Application attributes are kept, read back, and deleted by length 0."""
    osd("CREATE", partition_id=PID, object_id=OID)
    assert osd.set(PID, OID, (0x10001, 7, b"seven"), (1, 9, b"name")).good
    assert osd.get(PID, OID, (0x10001, 7), (1, 9), (0x10001, 8)) == [b"seven", b"name", None]
    osd.set(PID, OID, (0x10001, 7, b""))

    assert osd.get(PID, OID, (0x10001, 7)) == [None]


def test_attributes_undone(osd: Osd) -> None:
    """One attribute that may not be set undoes those before it, and is named in the sense data."""
    osd("CREATE", partition_id=PID, object_id=OID)
    result = osd.set(PID, OID, (0x10001, 7, b"seven"), (1, 0x81, bytes(8)))

    assert result.code == asc.INVALID_FIELD_IN_PARAMETER_LIST
    assert result.sense is not None
    assert result.sense.descriptors[1][8:16] == struct.pack(">II", 1, 0x81)
    assert osd.get(PID, OID, (0x10001, 7)) == [None]


def test_logical_length_set(osd: Osd) -> None:
    """Setting the logical length truncates and extends."""
    osd("CREATE AND WRITE", b"x" * 5000, partition_id=PID, object_id=OID, length=5000)
    osd.set(PID, OID, (1, 0x82, (3).to_bytes(8, "big")))
    osd.set(PID, OID, (1, 0x82, (6).to_bytes(8, "big")))

    assert osd("READ", partition_id=PID, object_id=OID, length=6).data == b"xxx\0\0\0"


def test_quota_length(osd: Osd) -> None:
    """A write past the maximum length is refused and leaves nothing."""
    osd("CREATE", partition_id=PID, object_id=OID)
    osd.set(PID, OID, (2, 1, (4).to_bytes(8, "big")))

    result = osd("WRITE", b"12345", partition_id=PID, object_id=OID, length=5)
    assert result.code == asc.QUOTA_ERROR
    assert osd.get(PID, OID, (1, 0x82)) == [bytes(8)]


def test_quota_objects(osd: Osd) -> None:
    """CREATE past the object count quota makes none of its objects."""
    osd.set(PID, 0, (0x30000002, 0x10002, (3).to_bytes(8, "big")))

    assert osd("CREATE", partition_id=PID, number_of_user_objects=4).code == asc.QUOTA_ERROR
    assert osd("CREATE", partition_id=PID, number_of_user_objects=3).good


def test_collection_membership(osd: Osd) -> None:
    """Membership is set by the collections page; LIST COLLECTION tells it; FCR removes a full collection."""
    osd("CREATE", partition_id=PID, object_id=OID)
    osd("CREATE COLLECTION", partition_id=PID, object_id=OID + 1)
    assert osd.set(PID, OID, (4, 1, (OID + 1).to_bytes(8, "big"))).good

    assert ids(osd("LIST COLLECTION", partition_id=PID, object_id=OID + 1, allocation_length=99).data) == [OID]
    assert ids(osd("LIST COLLECTION", partition_id=PID, allocation_length=99).data) == [OID + 1]
    refused = osd("REMOVE COLLECTION", partition_id=PID, object_id=OID + 1)
    assert refused.code == asc.PARTITION_OR_COLLECTION_CONTAINS_USER_OBJECTS
    assert osd("REMOVE COLLECTION", partition_id=PID, object_id=OID + 1, fcr=1).good
    assert osd.get(PID, OID, (4, 1)) == [None]


def test_collection_attributes(osd: Osd) -> None:
    """A collection has its own pages."""
    osd("CREATE COLLECTION", partition_id=PID, object_id=OID)
    osd.set(PID, OID, (0x60000001, 9, b"mine"))

    assert osd.get(PID, OID, (0x60000001, 9), (0x60000001, 2)) == [b"mine", OID.to_bytes(8, "big")]


def test_remove(osd: Osd) -> None:
    """REMOVE takes the object; a partition with objects is not removed, an empty one is."""
    osd("CREATE", partition_id=PID, object_id=OID)
    refused = osd("REMOVE PARTITION", partition_id=PID)
    assert refused.code == asc.PARTITION_OR_COLLECTION_CONTAINS_USER_OBJECTS
    assert osd("REMOVE", partition_id=PID, object_id=OID).good
    assert osd("REMOVE PARTITION", partition_id=PID).good

    assert ids(osd("LIST", allocation_length=99).data) == []


def test_timestamps_bypassed(osd: Osd) -> None:
    """TIMESTAMPS CONTROL 7Fh leaves timestamps; other values but 0 are refused."""
    osd("CREATE", partition_id=PID, object_id=OID, timestamps_control=0x7F)

    assert osd.get(PID, OID, (3, 1)) == [None]
    assert osd("READ", partition_id=PID, object_id=OID, timestamps_control=1).code == asc.INVALID_FIELD_IN_CDB


def test_security_methods_refused(osd: Osd) -> None:
    """A security method that is not there is refused, not ignored."""
    length = 104 if osd.version == 2 else 80
    capability = int.from_bytes(bytes((osd.version, 0, 1)).ljust(length, b"\0"), "big")

    result = osd("LIST", allocation_length=99, capability=capability)
    assert result.sense is not None
    assert result.sense.specific == FieldPointer(82, 3)


def test_read_map_holes() -> None:
    """READ MAP tells what was written and what is a hole (OSD-2)."""
    osd = Osd().formatted()
    osd("CREATE AND WRITE", b"x" * 4096, partition_id=PID, object_id=OID, length=4096, starting_byte_address=8192)
    data = osd("READ MAP", partition_id=PID, object_id=OID, allocation_length=4096).data

    assert struct.unpack(">Q", data[:8]) == (32,)
    assert list(struct.iter_unpack(">2xHIQ", data[8:])) == [(2, 8192, 0), (1, 4096, 8192)]


@pytest.mark.parametrize(("map_type", "first"), [(0, 1), (1, 1), (2, 2)])
def test_read_map_truncated(map_type: int, first: int) -> None:
    """ADDITIONAL LENGTH is that of all descriptors of the type, however few there is room for."""
    osd = Osd().formatted()
    osd("CREATE", partition_id=PID, object_id=OID)
    for at in range(0, 10 << 16, 1 << 16):
        osd("WRITE", b"x" * 4096, partition_id=PID, object_id=OID, length=4096, starting_byte_address=at)
    whole, short = (
        osd("READ MAP", partition_id=PID, object_id=OID, allocation_length=room, map_type=map_type).data
        for room in (4096, 8 + 3 * 16)
    )

    assert int.from_bytes(whole[:8], "big") == len(whole) - 8 == 16 * {0: 19, 1: 10, 2: 9}[map_type]
    assert short == whole[: 8 + 3 * 16]
    assert whole[11] == first


def test_read_map_long_hole() -> None:
    """A range that is longer than a descriptor tells takes several."""
    osd = Osd().formatted()
    osd("CREATE", partition_id=PID, object_id=OID)
    osd.set(PID, OID, (1, 0x82, (5 << 32).to_bytes(8, "big")))
    data = osd("READ MAP", partition_id=PID, object_id=OID, allocation_length=4096).data

    rows = list(struct.iter_unpack(">2xHIQ", data[8:]))
    assert [at for _, _, at in rows] == [number * 0xFFFFFFFF for number in range(6)]
    assert sum(size for _, size, _ in rows) == 5 << 32


def test_punch_and_clear() -> None:
    """PUNCH takes bytes out, CLEAR makes zeros."""
    osd = Osd().formatted()
    osd("CREATE AND WRITE", b"0123456789", partition_id=PID, object_id=OID, length=10)
    assert osd("PUNCH", partition_id=PID, object_id=OID, length=3, starting_byte_address=2).good
    assert osd("CLEAR", partition_id=PID, object_id=OID, length=2, starting_byte_address=6).good

    assert osd("READ", partition_id=PID, object_id=OID, length=8).data == b"015678\0\0"


@pytest.mark.parametrize(
    ("byte", "value", "pointer"), [(48, 0x02, 128), (49, 0x00, 129), (76, 9, 152), (4, 1, 84)],
)
def test_capability_fields(byte: int, value: int, pointer: int) -> None:
    """A capability that does not allow the command is refused at its field."""
    osd = Osd().formatted()
    osd("CREATE", partition_id=PID, object_id=OID)
    raw = bytearray(104)
    raw[0] = 2
    raw[48] = 0x80
    raw[49:54] = b"\xff" * 5
    raw[55] = 0x10
    raw[72:88] = struct.pack(">QQ", PID, OID)
    allowed = osd("READ", partition_id=PID, object_id=OID, capability=int.from_bytes(raw, "big"))
    raw[byte] = value
    if byte == 4:
        raw[4:10] = (1_600_000_000_000).to_bytes(6, "big")
    refused = osd("READ", partition_id=PID, object_id=OID, capability=int.from_bytes(raw, "big"))

    assert allowed.good
    assert refused.sense is not None
    assert refused.sense.specific == FieldPointer(pointer)


def test_remove_member_objects() -> None:
    """REMOVE MEMBER OBJECTS takes the members and leaves the others and the collection (OSD-2)."""
    osd = Osd().formatted()
    osd("CREATE", partition_id=PID, number_of_user_objects=3)
    osd("CREATE COLLECTION", partition_id=PID, object_id=OID + 9)
    for oid in (OID, OID + 2):
        osd.set(PID, oid, (4, 1, (OID + 9).to_bytes(8, "big")))
    assert osd("REMOVE MEMBER OBJECTS", partition_id=PID, object_id=OID + 9).good

    assert ids(osd("LIST", partition_id=PID, allocation_length=99).data) == [OID + 1]
    assert ids(osd("LIST COLLECTION", partition_id=PID, allocation_length=99).data) == [OID + 9]

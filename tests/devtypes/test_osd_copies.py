"""Snapshots, clones, copies, scatter/gather and comparison of object storage (OSD-2)."""

from __future__ import annotations

import struct

import pytest
from osd_bench import PID, Osd, ids

from devtypes.osd.continuation import DescriptorType, encode_segment
from iohandlers.objects_memory import open_store
from scsiemu import asc
from scsiemu.sense import FieldPointer, SenseKey
from scsiemu.testing.initiator import Result

OID = 0x10000
COPY = 0x20000


@pytest.fixture
def osd() -> Osd:
    """A partition with an object in a collection."""
    made = Osd().formatted()
    assert made("CREATE AND WRITE", b"before", partition_id=PID, object_id=OID, length=6).good
    assert made("CREATE COLLECTION", partition_id=PID, object_id=OID + 1).good
    assert made.set(PID, OID, (4, 1, (OID + 1).to_bytes(8, "big")), (0x10001, 1, b"mark")).good
    return made


def read(osd: Osd, pid: int, oid: int = OID, length: int = 6) -> bytes:
    """Data of an object."""
    return osd("READ", partition_id=pid, object_id=oid, length=length).data


def continued(osd: Osd, name: str, action: int, kind: int, body: bytes, data: bytes = b"", **fields: int) -> Result:
    """A command with one continuation descriptor, data behind it."""
    segment = encode_segment(action, [(kind, body)])
    return osd(name, segment + data, cdb_continuation_length=len(segment), **fields)


@pytest.mark.parametrize("name", ["CREATE SNAPSHOT", "CREATE CLONE"])
def test_copy_of_partition(osd: Osd, name: str) -> None:
    """A copy has objects, data, attributes, collections as they were; what the source does later is not in it."""
    assert osd(name, partition_id=PID, other_partition_id=COPY).good
    assert osd("WRITE", b"after!", partition_id=PID, object_id=OID, length=6).good
    collection = osd("LIST COLLECTION", partition_id=COPY, object_id=OID + 1, allocation_length=99)

    assert (read(osd, PID), read(osd, COPY)) == (b"after!", b"before")
    assert osd.get(COPY, OID, (0x10001, 1), (1, 1)) == [b"mark", COPY.to_bytes(8, "big")]
    assert ids(collection.data) == [OID]
    sizes = ((0x30000001, 0x81), (0x30000001, 0xC1))
    assert osd.get(COPY, 0, *sizes) == osd.get(PID, 0, *sizes)
    assert ids(osd("LIST", allocation_length=99).data) == [PID, COPY]


def test_snapshot_is_not_written(osd: Osd) -> None:
    """Nothing of a snapshot changes, timestamps neither; it can be removed."""
    osd("CREATE SNAPSHOT", partition_id=PID, other_partition_id=COPY)
    times = osd.get(COPY, OID, (3, 0xFFFFFFFF))
    write = osd("WRITE", b"x", partition_id=COPY, object_id=OID, length=1)
    assert write.code == osd("CREATE", partition_id=COPY).code == asc.WRITE_PROTECTED
    assert osd.set(COPY, OID, (0x10001, 1, b"x")).code == asc.WRITE_PROTECTED
    assert osd("REMOVE", partition_id=COPY, object_id=OID).code == asc.WRITE_PROTECTED
    read(osd, COPY)

    assert osd.get(COPY, OID, (3, 0xFFFFFFFF)) == times
    assert osd("FLUSH PARTITION", partition_id=COPY).good
    assert osd("REMOVE PARTITION", partition_id=COPY, remove_scope=2).good


def test_clone_is_written(osd: Osd) -> None:
    """A clone goes its own way, and its source does not see it."""
    osd("CREATE CLONE", partition_id=PID, other_partition_id=COPY)
    assert osd("WRITE", b"cloned", partition_id=COPY, object_id=OID, length=6).good

    assert (read(osd, PID), read(osd, COPY)) == (b"before", b"cloned")


def test_refresh_and_restore(osd: Osd) -> None:
    """REFRESH brings a copy to where its source is; RESTORE brings the source back to its snapshot."""
    osd("CREATE SNAPSHOT", partition_id=PID, other_partition_id=COPY)
    osd("WRITE", b"after!", partition_id=PID, object_id=OID, length=6)
    assert osd("REFRESH SNAPSHOT OR CLONE", partition_id=COPY).good
    assert read(osd, COPY) == b"after!"
    osd("WRITE", b"later!", partition_id=PID, object_id=OID, length=6)
    osd("CREATE", partition_id=PID, object_id=OID + 7)
    assert osd("RESTORE PARTITION FROM SNAPSHOT", partition_id=PID, other_partition_id=COPY).good

    assert read(osd, PID) == b"after!"
    assert ids(osd("LIST", partition_id=PID, allocation_length=99).data) == [OID]
    assert osd("WRITE", b"x", partition_id=PID, object_id=OID, length=1).good


def test_detach_clone(osd: Osd) -> None:
    """A detached clone is no copy any more: nothing refreshes it."""
    osd("CREATE CLONE", partition_id=PID, other_partition_id=COPY)
    assert osd("DETACH CLONE", partition_id=COPY).good

    assert osd("REFRESH SNAPSHOT OR CLONE", partition_id=COPY).code == asc.INVALID_FIELD_IN_CDB
    assert osd("DETACH CLONE", partition_id=COPY).code == asc.INVALID_FIELD_IN_CDB


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("CREATE SNAPSHOT", {"partition_id": 0x77777}), ("CREATE SNAPSHOT", {"other_partition_id": PID}),
        ("CREATE CLONE", {"other_partition_id": 5}), ("REFRESH SNAPSHOT OR CLONE", {}), ("DETACH CLONE", {}),
        ("RESTORE PARTITION FROM SNAPSHOT", {"other_partition_id": PID}),
        ("RESTORE PARTITION FROM SNAPSHOT", {"other_partition_id": 0x77777}),
    ],
)
def test_copies_refused(osd: Osd, name: str, fields: dict[str, int]) -> None:
    """Partitions that are not there, are there already, or are no copies."""
    assert osd(name, **{"partition_id": PID, **fields}).code == asc.INVALID_FIELD_IN_CDB
    assert ids(osd("LIST", allocation_length=99).data) == [PID]


def test_copies_capacity() -> None:
    """A copy for which there is no room is a quota error and leaves nothing."""
    osd = Osd(store=open_store(size=8192)).formatted()
    osd("CREATE AND WRITE", bytes(5000), partition_id=PID, object_id=OID, length=5000)

    assert osd("CREATE CLONE", partition_id=PID).code == asc.QUOTA_ERROR
    assert ids(osd("LIST", allocation_length=99).data) == [PID]


def copy(osd: Osd, *sources: tuple[int, int, int], **fields: int) -> Result:
    """COPY USER OBJECTS of (partition id, object id, flags)."""
    parts = [(DescriptorType.COPY_SOURCE, struct.pack(">QQBB2x", *each, 0)) for each in sources]
    segment = encode_segment(0x8893, parts)
    return osd("COPY USER OBJECTS", segment, cdb_continuation_length=len(segment), **fields)


def test_copy_user_objects(osd: Osd) -> None:
    """Copies get new ids, data with its holes, and on demand the attributes that an initiator set."""
    osd("CREATE AND WRITE", b"far", partition_id=PID, object_id=OID + 9, length=3, starting_byte_address=1 << 30)
    assert osd("CREATE PARTITION", partition_id=COPY).good
    assert copy(osd, (PID, OID, 1), (PID, OID + 9, 0), partition_id=COPY).good

    assert ids(osd("LIST", partition_id=COPY, allocation_length=99).data) == [OID, OID + 1]
    assert read(osd, COPY) == b"before"
    assert osd.get(COPY, OID, (0x10001, 1)) == [b"mark"]
    assert osd.get(COPY, OID + 1, (1, 0x82), (1, 0x81)) == osd.get(PID, OID + 9, (1, 0x82), (1, 0x81))


def test_copy_user_objects_refused(osd: Osd) -> None:
    """A source that is not there makes no copy at all; a requested id is for one source."""
    assert copy(osd, (PID, OID, 0), (PID, OID + 5, 0), partition_id=PID).code == asc.INVALID_FIELD_IN_PARAMETER_LIST
    two = copy(osd, (PID, OID, 0), (PID, OID, 0), partition_id=PID, object_id=OID + 50)
    assert two.code == asc.INVALID_FIELD_IN_PARAMETER_LIST
    assert osd("COPY USER OBJECTS", partition_id=PID).code == asc.INVALID_FIELD_IN_CDB
    assert ids(osd("LIST", partition_id=PID, allocation_length=99).data) == [OID]


def test_scatter_gather(osd: Osd) -> None:
    """WRITE scatters what READ gathers; past the end it ends with what was read."""
    ranges = struct.pack(">QQQQ", 100, 3, 10, 2)
    ids_ = {"partition_id": PID, "object_id": OID}
    scatter = (DescriptorType.SCATTER_GATHER, ranges)
    assert continued(osd, "WRITE", 0x8886, *scatter, b"abcde", length=5, **ids_).good
    gathered = continued(osd, "READ", 0x8885, *scatter, length=5, **ids_)
    assert (gathered.good, gathered.data) == (True, b"abcde")
    assert read(osd, PID, length=12) == b"before" + bytes(4) + b"de"
    past = continued(
        osd, "READ", 0x8885, DescriptorType.SCATTER_GATHER, struct.pack(">QQQQ", 10, 2, 101, 9), length=11, **ids_
    )

    assert past.code == asc.with_key(asc.READ_PAST_END_OF_USER_OBJECT, SenseKey.RECOVERED_ERROR)
    assert past.data == b"de" + b"bc"
    assert past.sense is not None
    assert past.sense.command_specific == 4


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({0: 2}, asc.INVALID_FIELD_IN_PARAMETER_LIST), ({3: 0x86}, asc.INVALID_FIELD_IN_PARAMETER_LIST),
        ({41: 2}, asc.INVALID_FIELD_IN_PARAMETER_LIST), ({47: 200}, asc.INVALID_FIELD_IN_PARAMETER_LIST),
        ({47: 8}, asc.PARAMETER_LIST_LENGTH_ERROR), ({63: 9}, asc.INVALID_FIELD_IN_PARAMETER_LIST),
    ],
)
def test_segment_refused(osd: Osd, change: dict[int, int], code: object) -> None:
    """Format, service action, descriptor type and length, number of entries, their sum."""
    segment = bytearray(encode_segment(0x8885, [(DescriptorType.SCATTER_GATHER, struct.pack(">QQ", 0, 5))]))
    for at, data in change.items():
        segment[at] = data
    fields = {"partition_id": PID, "object_id": OID, "length": 5}

    assert osd("READ", bytes(segment), cdb_continuation_length=len(segment), **fields).code == code


@pytest.mark.parametrize("length", [8, 40, 52, 1 << 31])
def test_segment_length(osd: Osd, length: int) -> None:
    """CDB CONTINUATION LENGTH is a multiple of 8 and at least 48, and not without end."""
    result = osd("READ", bytes(64), partition_id=PID, object_id=OID, cdb_continuation_length=length)

    assert result.sense is not None
    assert result.sense.specific == FieldPointer(48)


@pytest.mark.parametrize("name", ["CREATE", "REMOVE", "APPEND", "FLUSH", "SET ATTRIBUTES", "PUNCH"])
def test_segment_not_taken(osd: Osd, name: str) -> None:
    """Commands without descriptors take no continuation."""
    result = osd(name, bytes(48), partition_id=PID, object_id=OID, cdb_continuation_length=48)

    assert result.sense is not None
    assert result.sense.specific == FieldPointer(48)


def compare(osd: Osd, other: tuple[int, int], room: int = 4096, **fields: int) -> list[tuple[int, int]]:
    """(offset, length) of the ranges that READ MAPS AND COMPARE tells."""
    result = continued(
        osd, "READ MAPS AND COMPARE", 0x88B2, DescriptorType.USER_OBJECT, struct.pack(">QQ", *other),
        partition_id=PID, object_id=OID, allocation_length=room, **fields,
    )
    assert result.good, result
    whole = len(result.data) - (len(result.data) - 8) % 16
    return [(at, size) for _, size, at in struct.iter_unpack(">2xHIQ", result.data[8:whole])]


def test_read_maps_and_compare(osd: Osd) -> None:
    """Ranges that differ, and what one has behind the other's end; a far hole costs nothing."""
    assert copy(osd, (PID, OID, 0), partition_id=PID, object_id=OID + 5).good
    assert compare(osd, (PID, OID + 5)) == []
    osd("WRITE", b"x", partition_id=PID, object_id=OID + 5, length=1, starting_byte_address=3)
    assert compare(osd, (PID, OID + 5)) == [(0, 6)]
    osd.set(PID, OID + 5, (1, 0x82, (1 << 62).to_bytes(8, "big")))

    assert compare(osd, (PID, OID + 5))[0][0] == 0
    last = compare(osd, (PID, OID + 5), starting_byte_address=(1 << 62) - (6 << 32))
    assert (last[0][0], len(last)) == ((1 << 62) - (6 << 32), 7)        # a descriptor reaches less than 4 GiB
    assert compare(osd, (PID, OID + 5), starting_byte_address=1 << 62) == []
    assert compare(osd, (PID, OID + 5), starting_byte_address=(1 << 62) + 1) == []


def test_object_structure_check(osd: Osd) -> None:
    """A sound partition, and all of them, are GOOD; one that is not there is not."""
    assert osd("OBJECT STRUCTURE CHECK", partition_id=PID).good
    assert osd("OBJECT STRUCTURE CHECK").good

    assert osd("OBJECT STRUCTURE CHECK", partition_id=0x77777).code == asc.INVALID_FIELD_IN_CDB

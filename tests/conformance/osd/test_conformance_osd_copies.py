"""Snapshots, clones, copies of user objects, and what compares and checks. Nothing on the unit survives."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from conformance import Answer, ConformanceUnit
from osd_clauses import about
from osd_unit import COMMAND, NAME, OBJECT, OID, PID, Osd, number, pointer

from devtypes.osd.continuation import DescriptorType
from scsiemu import asc

COPY = PID + 5
CDB = asc.INVALID_FIELD_IN_CDB
LIST = asc.INVALID_FIELD_IN_PARAMETER_LIST
MINE = (0x10001, 7)
KINDS = pytest.mark.parametrize("name", ["CREATE SNAPSHOT", "CREATE CLONE"], ids=["snapshot", "clone"])


@KINDS
@about("CREATE SNAPSHOT", "CREATE CLONE")
def test_copy_partition_id_requested(unit: ConformanceUnit, osd2: Osd, name: str) -> None:
    """The requested id is taken; the current command page names the new partition."""
    kind, pid, oid = osd2.attributes(
        name, ((COMMAND, 2), (COMMAND, 3), (COMMAND, 4)), partition_id=PID, other_partition_id=COPY
    )

    assert (kind, pid, oid) == (b"\x02", number(COPY), bytes(8))
    assert osd2.ids("LIST") == [PID, COPY]


@KINDS
@about("CREATE SNAPSHOT", "CREATE CLONE")
def test_copy_partition_id_in_use(unit: ConformanceUnit, osd2: Osd, name: str) -> None:
    """An id that is in use or reserved is refused at its field, and nothing is made."""
    for wanted in (PID, 0xFFFF):
        sense = osd2.refused(name, CDB, partition_id=PID, other_partition_id=wanted)
        assert pointer(sense).byte == 24

    assert osd2.ids("LIST") == [PID]


@KINDS
@about("CREATE SNAPSHOT", "CREATE CLONE")
def test_copy_partition_attributes(unit: ConformanceUnit, osd2: Osd, name: str) -> None:
    """Attributes of the partition and of its objects are copied; ids are those of the copy."""
    osd2.set(PID, 0, (0x30000001, 9, b"name"))
    osd2.set(PID, OID, (*MINE, b"seven"))
    pid = osd2.copy(name)

    assert osd2.get(pid, 0, (0x30000001, 9), (0x30000001, 1)) == [b"name", number(pid)]
    assert osd2.get(pid, OID, MINE, (1, 1), (1, 2)) == [b"seven", number(pid), number(OID)]


@KINDS
@about("CREATE SNAPSHOT", "CREATE CLONE")
def test_copy_partition_collections(unit: ConformanceUnit, osd2: Osd, name: str) -> None:
    """Collections are copied with their members."""
    osd2.collection(OID + 100, OID)
    pid = osd2.copy(name)
    osd2.set(PID, OID, (4, 1, b""))

    assert osd2.ids("LIST COLLECTION", partition_id=pid, object_id=OID + 100) == [OID]
    assert osd2.get(pid, OID, (4, 1)) == [number(OID + 100)]


@KINDS
@about("CREATE SNAPSHOT", "CREATE CLONE")
def test_copy_partition_holes(unit: ConformanceUnit, osd2: Osd, name: str) -> None:
    """Holes stay holes: the copy's map is the source's."""
    osd2.write(b"x" * 4096, 1 << 20)
    pid = osd2.copy(name)
    maps = [
        osd2.good("READ MAP", data_in=999, allocation_length=999, partition_id=each, object_id=OID)
        for each in (PID, pid)
    ]

    assert maps[0] == maps[1]
    assert maps[0][10:12] == b"\0\2"


@KINDS
@about("CREATE SNAPSHOT", "CREATE CLONE")
def test_copy_partition_removed(unit: ConformanceUnit, osd2: Osd, name: str) -> None:
    """REMOVE PARTITION takes a copy away, and its source is what it was."""
    osd2.write(b"stays")
    pid = osd2.copy(name)
    osd2.good("REMOVE PARTITION", partition_id=pid, remove_scope=2)

    assert osd2.ids("LIST") == [PID]
    assert osd2.read(5) == b"stays"


@KINDS
@about("CREATE SNAPSHOT", "CREATE CLONE")
def test_copy_partition_outlives_source(unit: ConformanceUnit, osd2: Osd, name: str) -> None:
    """A copy is there when its source is gone."""
    osd2.write(b"data")
    pid = osd2.copy(name)
    osd2.good("REMOVE PARTITION", partition_id=PID, remove_scope=2)

    assert osd2.read(4, partition_id=pid) == b"data"


@KINDS
@about("CREATE SNAPSHOT", "CREATE CLONE", "quotas pages")
def test_copy_partition_quota(unit: ConformanceUnit, osd2: Osd, name: str) -> None:
    """A copy counts as a partition."""
    osd2.set(0, 0, (0x90000002, 0x20002, number(1)))
    osd2.refused(name, asc.QUOTA_ERROR, partition_id=PID)
    osd2.set(0, 0, (0x90000002, 0x20002, number(2)))

    assert len(osd2.ids("LIST")) == 1
    assert osd2.copy(name) in osd2.ids("LIST")
    osd2.set(0, 0, (0x90000002, 0x20002, b""))


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("WRITE", {"data": b"x", "length": 1}), ("APPEND", {"data": b"x", "length": 1}), ("PUNCH", {}),
        ("CLEAR", {"length": 1}), ("REMOVE", {}), ("SET ATTRIBUTES", {"set": ((*NAME, b"n"),)}),
        ("GET ATTRIBUTES", {"set": ((*NAME, b"n"),)}), ("CREATE", {"object_id": OID + 1}),
        ("CREATE AND WRITE", {"object_id": OID + 1, "data": b"x", "length": 1}),
        ("CREATE COLLECTION", {"object_id": OID + 1}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@about("CREATE SNAPSHOT")
def test_snapshot_write_protected(unit: ConformanceUnit, osd2: Osd, name: str, fields: dict[str, Any]) -> None:
    """No command changes a snapshot."""
    osd2.write(b"data")
    pid = osd2.copy("CREATE SNAPSHOT")
    osd2.refused(name, asc.WRITE_PROTECTED, **{**OBJECT, "partition_id": pid, **fields})

    assert osd2.read(4, partition_id=pid) == b"data"
    assert osd2.ids("LIST", partition_id=pid) == [OID]


@about("CREATE SNAPSHOT", "timestamps pages")
def test_snapshot_timestamps(unit: ConformanceUnit, osd2: Osd) -> None:
    """Reading a snapshot leaves its timestamps."""
    pid = osd2.copy("CREATE SNAPSHOT")
    stamps = tuple((3, each) for each in range(1, 6))
    before = osd2.get(pid, OID, *stamps)
    for _ in range(20):
        osd2.good("READ", partition_id=pid, object_id=OID)

    assert osd2.get(pid, OID, *stamps) == before


@about("CREATE SNAPSHOT")
def test_snapshot_of_snapshot(unit: ConformanceUnit, osd2: Osd) -> None:
    """A snapshot can be copied, and cloned into something that can be written."""
    osd2.write(b"data")
    first = osd2.copy("CREATE SNAPSHOT")
    second = osd2.copy("CREATE SNAPSHOT", first)
    third = osd2.copy("CREATE CLONE", second)
    osd2.write(b"DA", partition_id=third)

    assert [osd2.read(4, partition_id=pid) for pid in (PID, first, second, third)] == [b"data"] * 3 + [b"DAta"]


@about("REFRESH SNAPSHOT OR CLONE")
def test_refresh_snapshot(unit: ConformanceUnit, osd2: Osd) -> None:
    """The snapshot becomes what its source is now, objects and attributes; it stays a snapshot."""
    osd2.write(b"old")
    pid = osd2.copy("CREATE SNAPSHOT")
    osd2.write(b"new")
    osd2.good("CREATE", partition_id=PID, object_id=OID + 1, set=((*MINE, b"more"),))
    osd2.good("REFRESH SNAPSHOT OR CLONE", partition_id=pid)

    assert osd2.read(3, partition_id=pid) == b"new"
    assert osd2.get(pid, OID + 1, MINE) == [b"more"]
    osd2.refused("REMOVE", asc.WRITE_PROTECTED, partition_id=pid, object_id=OID)


@about("REFRESH SNAPSHOT OR CLONE")
def test_refresh_clone(unit: ConformanceUnit, osd2: Osd) -> None:
    """What was done to a clone is gone, and it can still be written."""
    osd2.write(b"source")
    pid = osd2.copy("CREATE CLONE")
    osd2.write(b"clone!", partition_id=pid)
    osd2.good("CREATE", partition_id=pid, object_id=OID + 1)
    osd2.good("REFRESH SNAPSHOT OR CLONE", partition_id=pid)

    assert osd2.read(6, partition_id=pid) == b"source"
    assert osd2.ids("LIST", partition_id=pid) == [OID]
    osd2.write(b"again", partition_id=pid)


@about("REFRESH SNAPSHOT OR CLONE")
def test_refresh_source_gone(unit: ConformanceUnit, osd2: Osd) -> None:
    """Without its source a copy cannot be refreshed and stays as it is."""
    osd2.write(b"data")
    pid = osd2.copy("CREATE SNAPSHOT")
    osd2.good("REMOVE PARTITION", partition_id=PID, remove_scope=2)
    osd2.refused("REFRESH SNAPSHOT OR CLONE", CDB, partition_id=pid)

    assert osd2.read(4, partition_id=pid) == b"data"


@about("DETACH CLONE")
def test_detach_clone(unit: ConformanceUnit, osd2: Osd) -> None:
    """A clone that was detached has its data, is no clone any more, and can neither be refreshed nor detached."""
    osd2.write(b"data")
    pid = osd2.copy("CREATE CLONE")
    osd2.good("DETACH CLONE", partition_id=pid)
    osd2.write(b"mine", partition_id=pid)

    assert (osd2.read(4, partition_id=pid), osd2.read(4)) == (b"mine", b"data")
    for name in ("DETACH CLONE", "REFRESH SNAPSHOT OR CLONE"):
        assert pointer(osd2.refused(name, CDB, partition_id=pid)).byte == 16


@about("DETACH CLONE")
def test_detach_snapshot(unit: ConformanceUnit, osd2: Osd) -> None:
    """A snapshot is no clone."""
    pid = osd2.copy("CREATE SNAPSHOT")
    osd2.write(b"later")

    assert osd2.execute("DETACH CLONE", partition_id=pid).code in (CDB, asc.WRITE_PROTECTED)
    assert osd2.get(pid, OID, (1, 0x82)) == [bytes(8)]


@about("RESTORE PARTITION FROM SNAPSHOT")
def test_restore_objects(unit: ConformanceUnit, osd2: Osd) -> None:
    """Objects that were made since are gone, those that were removed are back with attributes and memberships."""
    osd2.collection(OID + 100, OID)
    osd2.set(PID, OID, (*MINE, b"seven"))
    snapshot = osd2.copy("CREATE SNAPSHOT")
    osd2.good("REMOVE", **OBJECT)
    osd2.good("CREATE", partition_id=PID, object_id=OID + 7)
    osd2.good("RESTORE PARTITION FROM SNAPSHOT", partition_id=PID, other_partition_id=snapshot)

    assert osd2.ids("LIST", partition_id=PID) == [OID]
    assert osd2.get(PID, OID, MINE) == [b"seven"]
    assert osd2.ids("LIST COLLECTION", partition_id=PID, object_id=OID + 100) == [OID]


@about("RESTORE PARTITION FROM SNAPSHOT")
def test_restore_twice(unit: ConformanceUnit, osd2: Osd) -> None:
    """The snapshot is there afterwards, and the partition can be written and restored again."""
    osd2.write(b"good")
    snapshot = osd2.copy("CREATE SNAPSHOT")
    for _ in range(2):
        osd2.write(b"evil")
        osd2.good("RESTORE PARTITION FROM SNAPSHOT", partition_id=PID, other_partition_id=snapshot)
        assert osd2.read(4) == b"good"

    assert osd2.ids("LIST") == sorted((PID, snapshot))


@about("RESTORE PARTITION FROM SNAPSHOT")
def test_restore_from_another(unit: ConformanceUnit, osd2: Osd) -> None:
    """A clone, a snapshot of another partition and no partition at all are refused at the field."""
    osd2.good("CREATE PARTITION", partition_id=PID + 1)
    clone, other = osd2.copy("CREATE CLONE"), osd2.copy("CREATE SNAPSHOT", PID + 1)
    for source in (clone, other, 0x99999):
        sense = osd2.refused("RESTORE PARTITION FROM SNAPSHOT", CDB, partition_id=PID, other_partition_id=source)
        assert pointer(sense).byte == 24


# --- COPY USER OBJECTS -------------------------------------------------------------------------------------------


def copied(osd: Osd, *sources: tuple[int, int, int], **fields: Any) -> Answer:
    """COPY USER OBJECTS of (partition id, object id, flags)."""
    descriptors = [(DescriptorType.COPY_SOURCE, struct.pack(">QQB3x", *each)) for each in sources]
    return osd.continued("COPY USER OBJECTS", *descriptors, **{"partition_id": PID, **fields})


@pytest.mark.parametrize("flags", [0, 1], ids=["data", "attributes, too"])
@about("COPY USER OBJECTS")
def test_copy_user_objects_attributes(unit: ConformanceUnit, osd2: Osd, flags: int) -> None:
    """CPY_ATTR takes along what initiators set."""
    osd2.set(PID, OID, (*MINE, b"seven"), (*NAME, b"name"))
    assert copied(osd2, (PID, OID, flags), object_id=OID + 1).good

    assert osd2.get(PID, OID + 1, MINE, NAME) == ([b"seven", b"name"] if flags else [b"", b""])
    assert osd2.get(PID, OID + 1, (1, 2)) == [number(OID + 1)]


@about("COPY USER OBJECTS")
def test_copy_user_objects_other_partition(unit: ConformanceUnit, osd2: Osd) -> None:
    """A source may be in another partition; what is written to the copy is not in the source."""
    osd2.good("CREATE PARTITION", partition_id=PID + 1)
    osd2.write(b"data")
    assert copied(osd2, (PID, OID, 0), partition_id=PID + 1, object_id=OID).good
    osd2.write(b"COPY", partition_id=PID + 1)

    assert (osd2.read(4), osd2.read(4, partition_id=PID + 1)) == (b"data", b"COPY")


@about("COPY USER OBJECTS")
def test_copy_user_objects_id_chosen(unit: ConformanceUnit, osd2: Osd) -> None:
    """Without a requested id the unit chooses one."""
    osd2.write(b"data")
    assert copied(osd2, (PID, OID, 0)).good
    old, new = osd2.ids("LIST", partition_id=PID)

    assert (old, osd2.read(4, object_id=new)) == (OID, b"data")


@pytest.mark.parametrize(
    ("wanted", "byte"), [(OID, 24), (1, 24)], ids=["id in use", "reserved id"]
)
@about("COPY USER OBJECTS")
def test_copy_user_objects_id_refused(unit: ConformanceUnit, osd2: Osd, wanted: int, byte: int) -> None:
    """The requested id as CREATE has it."""
    answer = copied(osd2, (PID, OID, 0), object_id=wanted)

    assert answer.code == CDB
    assert answer.sense is not None
    assert pointer(answer.sense).byte == byte


@about("COPY USER OBJECTS")
def test_copy_user_objects_source_absent(unit: ConformanceUnit, osd2: Osd) -> None:
    """A source that is no user object is an error of the parameter list; no copy is left."""
    osd2.collection(OID + 100)
    for source in ((PID, 0x77777, 0), (0x99999, OID, 0), (PID, OID + 100, 0)):
        assert copied(osd2, source, object_id=OID + 1).code == LIST

    assert osd2.ids("LIST", partition_id=PID) == [OID]


@about("COPY USER OBJECTS", "quotas pages")
def test_copy_user_objects_quota(unit: ConformanceUnit, osd2: Osd) -> None:
    """The copy keeps to the partition's maximum length; what is refused leaves no object."""
    osd2.write(b"12345")
    osd2.set(PID, 0, (0x30000002, 1, number(4)))

    assert copied(osd2, (PID, OID, 0), object_id=OID + 1).code == asc.QUOTA_ERROR
    assert osd2.ids("LIST", partition_id=PID) == [OID]


# --- what compares and checks ------------------------------------------------------------------------------------


def compared(osd: Osd, other: tuple[int, int] = (PID, OID + 1), room: int = 4096, **fields: Any) -> Answer:
    """READ MAPS AND COMPARE of the object with another one."""
    descriptor = (DescriptorType.USER_OBJECT, struct.pack(">QQ", *other))
    return osd.continued(
        "READ MAPS AND COMPARE", descriptor, **{**OBJECT, "allocation_length": room, "data_in": room, **fields}
    )


@about("READ MAPS AND COMPARE")
def test_read_maps_and_compare_differs(unit: ConformanceUnit, osd2: Osd) -> None:
    """Descriptors cover what differs, in order, and no piece that does not."""
    osd2.write(bytes(1 << 20))
    osd2.good("CREATE", partition_id=PID, object_id=OID + 1)
    osd2.write(bytes(1 << 20), object_id=OID + 1)
    osd2.write(b"x", 500_000, object_id=OID + 1)
    data = compared(osd2).data
    found = list(struct.iter_unpack(">2xHIQ", data[8:]))

    assert int.from_bytes(data[:8], "big") == 16 * len(found) == 16
    ((_, length, start),) = found
    assert start <= 500_000 < start + length
    assert length < 1 << 20


@about("READ MAPS AND COMPARE")
def test_read_maps_and_compare_lengths(unit: ConformanceUnit, osd2: Osd) -> None:
    """What only one of them has differs."""
    osd2.write(b"data")
    osd2.good("CREATE AND WRITE", data=b"data, more", length=10, partition_id=PID, object_id=OID + 1)
    ((_, length, start),) = struct.iter_unpack(">2xHIQ", compared(osd2).data[8:])

    assert start <= 4
    assert start + length == 10


@about("READ MAPS AND COMPARE")
def test_read_maps_and_compare_from(unit: ConformanceUnit, osd2: Osd) -> None:
    """Nothing before the starting byte address is told."""
    osd2.write(b"x" * 100_000)
    osd2.good("CREATE AND WRITE", data=bytes(100_000), length=100_000, partition_id=PID, object_id=OID + 1)
    found = list(struct.iter_unpack(">2xHIQ", compared(osd2, starting_byte_address=65536).data[8:]))

    assert found[0][2] >= 65536
    assert sum(length for _, length, _ in found) == 100_000 - 65536


@about("READ MAPS AND COMPARE")
def test_read_maps_and_compare_absent(unit: ConformanceUnit, osd2: Osd) -> None:
    """Another object that is not there is an error of the parameter list."""
    assert compared(osd2, (PID, 0x77777)).code == LIST
    assert compared(osd2, (0x99999, OID)).code == LIST


@about("OBJECT STRUCTURE CHECK")
def test_object_structure_check_all(unit: ConformanceUnit, osd2: Osd) -> None:
    """Partition id 0 checks everything, also copies and what has holes."""
    osd2.write(b"x", 1 << 30)
    osd2.collection(OID + 100, OID)
    osd2.copy("CREATE CLONE")
    osd2.good("OBJECT STRUCTURE CHECK", partition_id=0)

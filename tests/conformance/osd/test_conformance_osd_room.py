"""Room: maps of what was written, quotas, capacities, counts. Nothing on the unit survives."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from conformance import ConformanceUnit
from osd_clauses import about
from osd_unit import COMMAND, OBJECT, OID, PID, Osd, number

from scsiemu import asc

CDB = asc.INVALID_FIELD_IN_CDB
ROOT_QUOTAS, QUOTAS = 0x90000002, 0x30000002
LENGTH = (1, 0x82)
FULL = asc.QUOTA_ERROR


def mapped(osd: Osd, room: int = 4096, **fields: Any) -> list[tuple[int, int, int]]:
    """READ MAP: kind, length, offset of each descriptor."""
    data = osd.good("READ MAP", **{**OBJECT, "allocation_length": room, "data_in": room, **fields})
    return [(kind, length, offset) for kind, length, offset in struct.iter_unpack(">2xHIQ", data[8:])]


def counted(osd: Osd, pid: int = PID) -> int:
    """NUMBER OF COLLECTIONS AND USER OBJECTS of a partition."""
    return int.from_bytes(osd.get(pid, 0, (0x30000001, 0xC1))[0], "big")


def used(osd: Osd, pid: int, oid: int, page: int) -> int:
    """USED CAPACITY."""
    return int.from_bytes(osd.get(pid, oid, (page, 0x81))[0], "big")


# --- READ MAP ----------------------------------------------------------------------------------------------------


@about("READ MAP")
def test_read_map_empty(unit: ConformanceUnit, osd2: Osd) -> None:
    """An object without data has no descriptors."""
    assert mapped(osd2) == []


@about("READ MAP")
def test_read_map_from(unit: ConformanceUnit, osd2: Osd) -> None:
    """It begins at the starting byte address; past the end there is nothing."""
    osd2.write(b"x" * 8192)

    assert mapped(osd2, starting_byte_address=4096) == [(1, 4096, 4096)]
    assert mapped(osd2, starting_byte_address=8192) == []
    assert mapped(osd2, starting_byte_address=1 << 40) == []


@pytest.mark.parametrize("room", [0, 4, 8, 24, 30])
@about("READ MAP")
def test_read_map_cut(unit: ConformanceUnit, osd2: Osd, room: int) -> None:
    """ALLOCATION LENGTH cuts the data."""
    osd2.write(b"x" * 4096, 1 << 20)
    data = osd2.good("READ MAP", allocation_length=room, data_in=99, **OBJECT)

    assert len(data) == min(room, 40)
    assert room < 24 or data[8:24] == struct.pack(">2xHIQ", 2, 1 << 20, 0)


@about("READ MAP", "CLEAR")
def test_read_map_cleared(unit: ConformanceUnit, osd2: Osd) -> None:
    """What CLEAR made zeros, and what a logical length made longer, is a hole."""
    osd2.write(b"x" * (3 << 20))
    osd2.good("CLEAR", starting_byte_address=1 << 20, length=1 << 20, **OBJECT)
    osd2.set(PID, OID, (*LENGTH, number(4 << 20)))

    assert mapped(osd2) == [(1, 1 << 20, 0), (2, 1 << 20, 1 << 20), (1, 1 << 20, 2 << 20), (2, 1 << 20, 3 << 20)]


@about("READ MAP")
def test_read_map_large_hole(unit: ConformanceUnit, osd2: Osd) -> None:
    """A hole of more than 4 GiB takes several descriptors, one behind the other."""
    osd2.write(b"x" * 4096, 9 << 30)
    at = 0
    for kind, length, offset in mapped(osd2):
        assert offset == at
        assert kind == (2 if offset < 9 << 30 else 1)
        at += length

    assert at == (9 << 30) + 4096


@about("READ MAP")
def test_read_map_type_refused(unit: ConformanceUnit, osd2: Osd) -> None:
    """A map type that is reserved."""
    osd2.refused("READ MAP", CDB, map_type=0x0100, allocation_length=64, data_in=64, **OBJECT)


@about("PUNCH", "READ MAP")
def test_punch_keeps_holes(unit: ConformanceUnit, osd2: Osd) -> None:
    """What PUNCH moves keeps its holes."""
    osd2.write(b"head", 0)
    osd2.write(b"x" * 4096, 1 << 20)
    osd2.good("PUNCH", starting_byte_address=0, length=8192, **OBJECT)

    assert osd2.get(PID, OID, LENGTH) == [number((1 << 20) + 4096 - 8192)]
    assert mapped(osd2) == [(2, (1 << 20) - 8192, 0), (1, 4096, (1 << 20) - 8192)]


# --- quotas ------------------------------------------------------------------------------------------------------


@about("quotas pages")
def test_quota_default_length(unit: ConformanceUnit, osd: Osd) -> None:
    """The partition's default maximum length is that of objects that are created later, not of those before."""
    osd.set(PID, 0, (QUOTAS, 1, number(4)))
    osd.good("CREATE", partition_id=PID, object_id=OID + 1)

    assert osd.get(PID, OID + 1, (2, 1)) == [number(4)]
    osd.refused("WRITE", FULL, data=b"12345", length=5, partition_id=PID, object_id=OID + 1)
    osd.write(b"12345")


@about("quotas pages")
def test_quota_root_defaults(unit: ConformanceUnit, osd: Osd) -> None:
    """The root's quotas are those of partitions that are created later."""
    given = ((1, number(4)), (0x10001, number(1 << 20)), (0x10002, number(2)), (0x10081, number(1, 4)))
    osd.set(0, 0, *((ROOT_QUOTAS, each, value) for each, value in given))
    osd.good("CREATE PARTITION", partition_id=PID + 1)
    osd.set(0, 0, *((ROOT_QUOTAS, each, b"") for each, _ in given))

    assert osd.get(PID + 1, 0, *((QUOTAS, each) for each, _ in given)) == [value for _, value in given]
    assert osd.get(PID, 0, (QUOTAS, 1)) == [b""]


@about("quotas pages")
def test_quota_below_use(unit: ConformanceUnit, osd: Osd) -> None:
    """A quota below what there is takes nothing away; it keeps more from coming."""
    osd.write(b"x" * 8192)
    osd.set(PID, 0, (QUOTAS, 0x10001, number(4096)))

    assert osd.read(8192) == b"x" * 8192
    osd.refused("APPEND", FULL, data=b"x" * 8192, length=8192, **OBJECT)
    osd.good("REMOVE", **OBJECT)
    osd.good("CREATE AND WRITE", data=b"x", length=1, **OBJECT)


@about("quotas pages")
def test_quota_removed(unit: ConformanceUnit, osd: Osd) -> None:
    """A quota that is set to nothing is none."""
    osd.set(PID, OID, (2, 1, number(4)))
    osd.set(PID, OID, (2, 1, b""))
    osd.write(b"12345")


@about("quotas pages", "CREATE AND WRITE")
def test_quota_create_and_write_undone(unit: ConformanceUnit, osd: Osd) -> None:
    """An object whose data does not fit is not created."""
    osd.set(PID, 0, (QUOTAS, 1, number(4)))
    osd.refused("CREATE AND WRITE", FULL, data=b"12345", length=5, partition_id=PID, object_id=OID + 1)

    assert osd.ids("LIST", partition_id=PID) == [OID]


@about("quotas pages", "CLEAR")
def test_quota_clear(unit: ConformanceUnit, osd2: Osd) -> None:
    """CLEAR past the maximum length is refused, and changes nothing."""
    osd2.write(b"1234")
    osd2.set(PID, OID, (2, 1, number(8)))
    osd2.refused("CLEAR", FULL, starting_byte_address=2, length=7, **OBJECT)

    assert osd2.read(4) == b"1234"


@about("quotas pages")
def test_quota_in_page_form(unit: ConformanceUnit, osd: Osd) -> None:
    """The pages in page form show what was set."""
    osd.set(PID, 0, (QUOTAS, 1, number(1)), (QUOTAS, 0x10001, number(1 << 40)), (QUOTAS, 0x10081, number(3, 4)))

    assert osd.page(QUOTAS, PID, 0) == struct.pack(">IIQQQI", QUOTAS, 28, 1, 1 << 40, 0, 3)


@about("quotas pages")
def test_quota_value_length(unit: ConformanceUnit, osd: Osd) -> None:
    """A quota of another length is refused, and the old one stays."""
    osd.set(PID, 0, (QUOTAS, 0x10002, number(7)))
    for value in (b"\x01", number(1, 9), number(1, 4)):
        osd.refused("SET ATTRIBUTES", asc.INVALID_FIELD_IN_PARAMETER_LIST, set=((QUOTAS, 0x10002, value),),
                    partition_id=PID)

    assert osd.get(PID, 0, (QUOTAS, 0x10002)) == [number(7)]


# --- counts and capacities ---------------------------------------------------------------------------------------


@about("FORMAT OSD", "information pages")
def test_formatted_capacity(unit: ConformanceUnit, osd: Osd) -> None:
    """FORMATTED CAPACITY is the total capacity, and no more than that is kept; 0 is all that there is."""
    total = (0x90000001, 0x80)
    (most,) = osd.get(0, 0, total)
    try:
        osd.good("FORMAT OSD", formatted_capacity=1 << 20)
        osd.good("CREATE PARTITION", partition_id=PID)
        assert osd.get(0, 0, total) == [number(1 << 20)]
        osd.good("CREATE", **OBJECT)
        osd.write(b"x" * (1 << 19))
        osd.refused("WRITE", FULL, data=b"x" * (1 << 20), length=1 << 20, starting_byte_address=1 << 19, **OBJECT)
        assert osd.get(PID, OID, LENGTH) == [number(1 << 19)]
    finally:
        osd.good("FORMAT OSD")

    assert osd.get(0, 0, total) == [most]


@about("information pages")
def test_count_follows(unit: ConformanceUnit, osd: Osd) -> None:
    """User objects and collections count, and count no more when they are removed."""
    osd.good("CREATE", partition_id=PID, number_of_user_objects=3)
    osd.good("CREATE COLLECTION", partition_id=PID, object_id=OID + 100)
    before = counted(osd)
    osd.good("REMOVE", **OBJECT)
    osd.good("REMOVE COLLECTION", partition_id=PID, object_id=OID + 100)

    assert (before, counted(osd)) == (5, 3)


@about("information pages")
def test_used_capacity_follows(unit: ConformanceUnit, osd: Osd) -> None:
    """Used capacities of object, partition and root grow and shrink together."""
    def now() -> tuple[int, int, int]:
        return used(osd, PID, OID, 1), used(osd, PID, 0, 0x30000001), used(osd, 0, 0, 0x90000001)

    before = now()
    osd.write(b"x" * 100_000)
    grown = now()
    osd.set(PID, OID, (*LENGTH, bytes(8)))

    assert all(new - old >= 100_000 for old, new in zip(before, grown, strict=True))
    assert now() == before


@about("current command attributes page")
def test_change_is_negative(unit: ConformanceUnit, osd: Osd) -> None:
    """The change in used capacity of a command that gives room back is negative."""
    osd.write(b"x" * 100_000)
    (change,) = osd.attributes("SET ATTRIBUTES", ((COMMAND, 6),), set=((*LENGTH, bytes(8)),), **OBJECT)

    assert int.from_bytes(change, "big", signed=True) <= -100_000


@about("information pages")
def test_hole_uses_nothing(unit: ConformanceUnit, osd: Osd) -> None:
    """A hole of a tebibyte fits: what was never written takes no capacity."""
    osd.set(PID, OID, (*LENGTH, number(1 << 40)))

    assert used(osd, PID, OID, 1) == 0
    assert osd.read(8, (1 << 40) - 8) == bytes(8)


@about("information pages")
def test_logical_length_odd(unit: ConformanceUnit, osd: Osd) -> None:
    """What was cut off is zeros when the object grows again."""
    osd.write(b"x" * 10_000)
    osd.set(PID, OID, (*LENGTH, number(4097)))
    osd.set(PID, OID, (*LENGTH, number(10_000)))

    assert osd.read(10_000) == b"x" * 4097 + bytes(10_000 - 4097)


@about("WRITE")
def test_write_past_all(unit: ConformanceUnit, osd: Osd) -> None:
    """A write beyond what lengths can tell is refused, and the object is as before."""
    for at in ((1 << 64) - 1, 1 << 63):
        osd.refused("WRITE", CDB, data=b"xy", length=2, starting_byte_address=at, **OBJECT)

    assert osd.get(PID, OID, LENGTH) == [bytes(8)]


@about("CREATE PARTITION", "object ids")
def test_partition_ids_far(unit: ConformanceUnit, osd: Osd) -> None:
    """The largest ids can be asked for, and found."""
    last = (1 << 64) - 2
    osd.good("CREATE PARTITION", partition_id=last)
    osd.good("CREATE", partition_id=last, object_id=last)

    assert osd.ids("LIST") == [PID, last]
    assert osd.ids("LIST", partition_id=last) == [last]
    osd.good("REMOVE", partition_id=last, object_id=last)
    osd.good("REMOVE PARTITION", partition_id=last)


@about("FLUSH", "FLUSH OSD", "FLUSH PARTITION")
def test_flush_with_attributes(unit: ConformanceUnit, osd: Osd) -> None:
    """FLUSH commands set and get attributes as others do."""
    mine = (0x10001, 1)
    for name, base, ids in (
        ("FLUSH", 0, OBJECT), ("FLUSH PARTITION", 0x30000000, {"partition_id": PID}), ("FLUSH OSD", 0x90000000, {}),
    ):
        page = (base + mine[0], mine[1])
        assert osd.attributes(name, (page,), set=((*page, b"flushed"),), **ids) == [b"flushed"]

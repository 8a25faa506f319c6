"""The standard's attribute pages, attribute by attribute: lengths, what may be set, pages in page form. Nothing on the
unit survives."""

from __future__ import annotations

import struct

import pytest
from conformance import ConformanceUnit
from osd_clauses import about
from osd_unit import OID, PID, Osd, number

from scsiemu import asc

ROOT, PARTITION, COLLECTION, USER = 0x90000000, 0x30000000, 0x60000000, 0
CID = OID + 50
IDS = {ROOT: (0, 0), PARTITION: (PID, 0), COLLECTION: (PID, CID), USER: (PID, OID)}
LIST = asc.INVALID_FIELD_IN_PARAMETER_LIST

# Page: number, and the lengths that its attribute may have; 0 where it may be absent.
LENGTHS: dict[int, dict[int, tuple[int, ...]]] = {
    ROOT + 1: {
        3: (20,), 4: (8,), 5: (16,), 6: (32,), 7: (4,), 0x0A: (4,), 0x80: (8,), 0x81: (8,), 0xC0: (8,), 0x100: (6,),
        0x110: (1,), 0x111: (32,), 0x120: (8,), 0x121: (8,), 0x122: (8,), 0x123: (1,), 0x1C1: (0, 4), 0x1C2: (0, 4),
        0x1CC: (0, 4),
    },
    PARTITION + 1: {1: (8,), 0x81: (8,), 0x84: (0, 8), 0xC1: (8,), 0xD1: (0, 8), 0xD2: (0, 8)},
    COLLECTION + 1: {1: (8,), 2: (8,), 0x0A: (1,), 0x81: (8,)},
    USER + 1: {1: (8,), 2: (8,), 0x81: (8,), 0x82: (8,), 0xD1: (0, 8), 0xD2: (0, 8)},
    ROOT + 2: {1: (0, 8), 0x10001: (0, 8), 0x10002: (0, 8), 0x10081: (0, 4), 0x20002: (0, 8)},
    PARTITION + 2: {1: (0, 8), 0x10001: (0, 8), 0x10002: (0, 8), 0x10081: (0, 4)},
    USER + 2: {1: (0, 8)},
    ROOT + 3: {2: (6,), 3: (6,), 0xFFFFFFFE: (0, 1)},
    PARTITION + 3: {**dict.fromkeys(range(1, 6), (6,)), 0xFFFFFFFE: (0, 1)},
    COLLECTION + 3: dict.fromkeys(range(1, 6), (6,)),
    USER + 3: dict.fromkeys(range(1, 6), (6,)),
    ROOT + 5: {
        1: (1,), 2: (0, 6), 3: (0, 6), 6: (1,), 7: (2,), 9: (0, 6), 0x7FFD: (0, 7), 0x7FFE: (0, 7),
        **{0x80000000 + each: (0, 1) for each in range(16)}, **{0x80000010 + each: (0, 1) for each in range(16)},
    },
    PARTITION + 5: {
        1: (0, 1), 2: (0, 6), 3: (0, 6), 4: (0, 2), 5: (0, 2), 0x7FFF: (0, 7),
        **{0x8000 + each: (0, 7) for each in range(16)}, 0x40000001: (0, 4), 0x40000002: (0, 4),
    },
    COLLECTION + 5: {0x40000001: (0, 4)},
    USER + 5: {0x40000001: (0, 4)},
}


def owner(page: int) -> tuple[int, int]:
    """Ids of the object whose page it is."""
    return IDS[max(base for base in IDS if base <= page)]


@pytest.fixture
def full(osd: Osd) -> Osd:
    """With a collection."""
    osd.collection(CID)
    return osd


@pytest.mark.parametrize("page", LENGTHS, ids=hex)
@about("attributes pages")
def test_attribute_lengths(unit: ConformanceUnit, full: Osd, page: int) -> None:
    """Each attribute of the standard has its length, or is absent where it may be."""
    wanted = LENGTHS[page]
    found = full.get(*owner(page), *((page, each) for each in wanted))

    assert [(hex(each), len(value)) for each, value in zip(wanted, found, strict=True) if len(value) not in wanted[each]
            ] == []


READ_ONLY = [
    (ROOT + 1, 3), (ROOT + 1, 4), (ROOT + 1, 0x80), (ROOT + 1, 0x81), (ROOT + 1, 0xC0), (ROOT + 1, 0x100),
    (ROOT + 3, 2), (ROOT + 5, 7), (ROOT + 5, 0x7FFE), (PARTITION + 1, 1), (PARTITION + 1, 0x81), (PARTITION + 1, 0xC1),
    (PARTITION + 3, 1), (PARTITION + 5, 0x8000), (COLLECTION + 1, 1), (COLLECTION + 1, 0x0A), (COLLECTION + 3, 5),
    (USER + 1, 1), (USER + 1, 2), (USER + 1, 0x81), (USER + 3, 5),
]


@pytest.mark.parametrize(("page", "attribute"), READ_ONLY, ids=[f"{page:x} {each:x}" for page, each in READ_ONLY])
@about("SET ATTRIBUTES", "attributes pages")
def test_attribute_not_settable(unit: ConformanceUnit, full: Osd, page: int, attribute: int) -> None:
    """What the unit keeps by itself is refused, by the list and out of the CDB, and stays."""
    pid, oid = owner(page)
    before = full.get(pid, oid, (page, attribute))
    value = before[0] or bytes(7)
    full.refused("SET ATTRIBUTES", LIST, set=((page, attribute, value),), partition_id=pid, object_id=oid)

    if (page, attribute) not in ((ROOT + 1, 0x100), (ROOT + 3, 2)):
        assert full.get(pid, oid, (page, attribute)) == before


@pytest.mark.parametrize(
    ("page", "attribute", "value"),
    [
        (ROOT + 1, 9, b"name"), (PARTITION + 1, 9, b"name"), (COLLECTION + 1, 9, b"name"), (USER + 1, 9, b"name"),
        (USER + 1, 0x82, number(77)), (USER + 2, 1, number(1 << 20)), (PARTITION + 2, 0x10002, number(9)),
        (PARTITION + 5, 0x40000001, number(5, 4)), (COLLECTION + 5, 0x40000001, number(6, 4)),
        (USER + 5, 0x40000001, number(7, 4)), (PARTITION + 3, 0xFFFFFFFE, b"\x01"), (PARTITION + 5, 3, number(9000, 6)),
    ],
    ids=lambda value: "" if isinstance(value, bytes) else hex(value),
)
@about("SET ATTRIBUTES", "attributes pages")
def test_attribute_settable(unit: ConformanceUnit, full: Osd, page: int, attribute: int, value: bytes) -> None:
    """What may be set is kept."""
    pid, oid = owner(page)
    full.set(pid, oid, (page, attribute, value))

    assert full.get(pid, oid, (page, attribute)) == [value]


@pytest.mark.parametrize("base", IDS, ids=["root", "partition", "collection", "user"])
@about("attributes pages")
def test_vendor_and_reserved_pages(unit: ConformanceUnit, full: Osd, base: int) -> None:
    """Pages of another kind of object, and those above C0000000h, are not an object's own."""
    pid, oid = IDS[base]
    for page in (0xC0000000, (base + 0x30000000) % 0xC0000000 + 0x10001):
        full.refused("SET ATTRIBUTES", LIST, set=((page, 1, b"x"),), partition_id=pid, object_id=oid)
        assert full.get(pid, oid, (page, 1)) == [b""]


@pytest.mark.parametrize("base", IDS, ids=["root", "partition", "collection", "user"])
@about("directory page")
def test_directory_grows(unit: ConformanceUnit, full: Osd, base: int) -> None:
    """A page of an application is in the directory, with its identification where that was set."""
    pid, oid = IDS[base]
    page, name = base + 0x10005, b"MINE    an application's page".ljust(40)
    full.set(pid, oid, (page, 0, name), (page, 1, b"x"))
    assert full.get(pid, oid, (base, page)) == [name]
    full.set(pid, oid, (page, 0, b""), (page, 1, b""))

    assert full.get(pid, oid, (base, page)) == [b""]


@pytest.mark.parametrize(
    ("page", "length"), [(ROOT + 5, 0x3F), (PARTITION + 5, 0x8F), (COLLECTION + 5, 4), (USER + 5, 4)]
)
@about("policy/security pages")
def test_security_page_form(unit: ConformanceUnit, full: Osd, page: int, length: int) -> None:
    """The policy/security pages in page form."""
    data = full.page(page, *owner(page))

    assert data[:8] == struct.pack(">II", page, length)
    assert len(data) == 8 + length


@pytest.mark.parametrize("changed", [False, True], ids=["same", "changed"])
@pytest.mark.parametrize("name", ["LIST", "LIST COLLECTION"])
@about("LIST", "LIST COLLECTION")
def test_list_changed(unit: ConformanceUnit, full: Osd, name: str, changed: bool) -> None:
    """LSTCHG of a list that is gone on with by its identifier tells whether it has changed since it was begun."""
    full.good("CREATE", partition_id=PID, object_id=OID + 1)
    full.good("CREATE", partition_id=PID, object_id=OID + 2)
    for oid in (OID, OID + 1, OID + 2):
        full.set(PID, oid, (4, 1, number(CID)))
    fields = {"partition_id": PID, "allocation_length": 32, "data_in": 32}
    if name == "LIST COLLECTION":
        fields["object_id"] = CID
    data = full.good(name, **fields)
    following, identifier, flags = struct.unpack_from(">QI3xB", data, 8)
    assert (following, flags & 2) == (OID + 1, 0)
    assert identifier
    if changed:
        full.good("REMOVE", partition_id=PID, object_id=OID + 2)
    data = full.good(name, initial_object_id=following, list_identifier=identifier, **fields)

    assert bool(data[23] & 2) == changed

"""The standard's attribute pages: which attributes they have, what they tell, what may be set (OSD-2 7.1.3)."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from osd_bench import PID, Osd
from osd_signer import SECRET

from devtypes.osd.attribute_lists import parse_set_list
from devtypes.osd.attribute_pages import page_form as encode_page
from devtypes.osd.capability import Permission
from devtypes.osd.objects import ObjectRef
from devtypes.osd.requests import capability, request
from iohandlers.objects_memory import open_store
from scsiemu import asc
from scsiemu.object_requests import ObjectKind
from scsiemu.testing.initiator import Result

OID = 0x10000
CID = 0x20000
ROOT, PARTITION, COLLECTION = 0x90000000, 0x30000000, 0x60000000
ALL = 0xFFFFFFFF

# Page, object, and the attributes with their lengths; None for any length.
PAGES: list[tuple[int, tuple[int, int], dict[int, int | None]]] = [
    (ROOT + 1, (0, 0), {
        0: 40, 3: 20, 4: 8, 5: 16, 6: 32, 7: 4, 8: None, 0xA: 4, 0x80: 8, 0x81: 8, 0xC0: 8, 0x100: 6, 0x110: 1,
        0x111: 32, 0x120: 8, 0x121: 8, 0x122: 8, 0x123: 1, 0x1C1: 4, 0x1C2: 4, 0x1CC: 4, 0x200: 4, 0x300: 4, 0x310: 4,
        0x311: 1, 0x7000001: 4, 0x7000002: 4, 0x7000100: 4, 0x7000101: 4, 0x700FFEE: 4,
    }),
    (PARTITION + 1, (PID, 0), {
        0: 40, 1: 8, 0x81: 8, 0x84: 8, 0xC1: 8, 0xD1: 8, 0xD2: 8, 0x200: 4, 0x201: 4, 0x300: 4, 0x301: 4,
    }),
    (COLLECTION + 1, (PID, CID), {0: 40, 1: 8, 2: 8, 0xA: 1, 0x81: 8}),
    (1, (PID, OID), {0: 40, 1: 8, 2: 8, 0x81: 8, 0x82: 8, 0xD1: 8, 0xD2: 8}),
    (ROOT + 3, (0, 0), {0: 40, 2: 6, 3: 6}),
    (PARTITION + 3, (PID, 0), {0: 40, 1: 6, 2: 6, 3: 6, 4: 6, 5: 6}),
    (COLLECTION + 3, (PID, CID), {0: 40, 1: 6, 2: 6, 3: 6, 4: 6, 5: 6}),
    (3, (PID, OID), {0: 40, 1: 6, 2: 6, 3: 6, 4: 6, 5: 6}),
    (ROOT + 5, (0, 0), {
        0: 40, 1: 1, 2: 6, 3: 6, 6: 1, 7: 2, 9: 6, **{0x80000000 + at: 1 for at in range(32)},
    }),
    (PARTITION + 5, (PID, 0), {0: 40, 1: 1, 2: 6, 3: 6, 4: 2, 5: 2, 0x40000001: 4}),
    (4, (PID, OID), {0: 40, 1: 8}),
    (0xFFFFFFFE, (PID, OID), {0: 40, 1: 32, 2: 1, 3: 8, 4: 8, 5: 8, 6: 8}),
]


@pytest.fixture(name="osd")
def fixture_osd() -> Osd:
    """A unit with a partition, a collection and an object that is its member."""
    osd = Osd(root_secret=SECRET).formatted()
    assert osd("CREATE COLLECTION", partition_id=PID, object_id=CID).good
    assert osd("CREATE", partition_id=PID, object_id=OID).good
    assert osd.set(PID, OID, (4, 1, CID.to_bytes(8, "big"))).good
    return osd


def every(osd: Osd, pid: int, oid: int, page: int) -> dict[int, bytes]:
    """All attributes of a page."""
    sent = request("GET ATTRIBUTES", get=((page, ALL),), partition_id=pid, object_id=oid)
    result = osd.initiator.execute(0, sent.cdb, sent.data_out, sent.data_in)
    assert result.good, result
    found = parse_set_list(result.data[sent.retrieved :], version=2)
    assert {each.page for each in found} == {page}
    return {each.number: each.value or b"" for each in found}


@pytest.mark.parametrize(("page", "ids", "wanted"), PAGES, ids=[f"{page:08X}" for page, _, _ in PAGES])
def test_page_attributes(osd: Osd, page: int, ids: tuple[int, int], wanted: dict[int, int | None]) -> None:
    """A page has its attributes, each with its length."""
    found = every(osd, *ids, page)

    assert {number: None if wanted.get(number, 0) is None else len(data) for number, data in found.items()} == wanted
    assert found[0][:8] == b"INCITS  "
    assert found[0][8:12] == b"T10 "


@pytest.mark.parametrize(
    ("base", "ids", "numbers"),
    [
        (ROOT, (0, 0), (0, 1, 2, 3, 5, 6)), (PARTITION, (PID, 0), (0, 1, 2, 3, 4, 5, 6)),
        (COLLECTION, (PID, CID), (0, 1, 3, 5, 6)), (0, (PID, OID), (0, 1, 2, 3, 4, 5, 6)),
    ],
)
def test_directory(osd: Osd, base: int, ids: tuple[int, int], numbers: tuple[int, ...]) -> None:
    """A directory page has an attribute for each page: an application's with the name that it has, if any."""
    title = b"ACME".ljust(8) + b"weights".ljust(32)
    assert osd.set(*ids, (base + 0x10001, 0, title), (base + 0x10002, 7, b"x")).good

    found = every(osd, *ids, base)
    assert set(found) == {0, *(base + each for each in numbers), base + 0x10001, base + 0x10002}
    assert found[base + 0x10001] == title
    assert found[base + 0x10002] == b" " * 8 + b"unidentified attributes page    "
    assert b"Timestamps" in found[base + 3]


@pytest.mark.parametrize(
    ("page", "ids", "length"),
    [
        (ROOT + 2, (0, 0), 0x24), (PARTITION + 2, (PID, 0), 0x1C), (2, (PID, OID), 8), (ROOT + 3, (0, 0), 0x0D),
        (PARTITION + 3, (PID, 0), 0x1F), (COLLECTION + 3, (PID, CID), 0x1E), (3, (PID, OID), 0x1E),
        (ROOT + 5, (0, 0), 0x3F), (PARTITION + 5, (PID, 0), 0x8F), (COLLECTION + 5, (PID, CID), 4), (5, (PID, OID), 4),
        (0xFFFFFFFE, (PID, OID), 0x44),
    ],
)
def test_page_form(osd: Osd, page: int, ids: tuple[int, int], length: int) -> None:
    """Pages in page form: number, length, fields."""
    data = page_form(osd, page, ids).data

    assert struct.unpack_from(">II", data) == (page, length)
    assert len(data) == 8 + length


def page_form(osd: Osd, page: int, ids: tuple[int, int]) -> Result:
    """GET ATTRIBUTES of a page."""
    words = struct.pack(">7I", page, 4096, 0, 0, 0, 0, 0)
    return osd(
        "GET ATTRIBUTES", partition_id=ids[0], object_id=ids[1], cdbfmt=2, attributes=int.from_bytes(words, "big")
    )


@pytest.mark.parametrize(("page", "ids"), [(ROOT + 1, (0, 0)), (1, (PID, OID)), (0x10001, (PID, OID)), (4, (PID, OID))])
def test_page_form_without(osd: Osd, page: int, ids: tuple[int, int]) -> None:
    """A page that has no page form is refused at its field."""
    result = page_form(osd, page, ids)

    assert (result.code, result.sense.specific.byte) == (asc.INVALID_FIELD_IN_CDB, 52)


def test_security_page_form_keys() -> None:
    """The valid bits tell which key identifiers are there: bit 0 for the partition's, for working keys by version."""
    found = {0x7FFF: b"parent.", 0x8001: b"working", 0x800F: b"another"}
    data = encode_page(ObjectRef(PID, 0, ObjectKind.PARTITION), PARTITION + 5, found) or b""
    assert data[29:32] == b"\x01\x80\x02"
    assert data[32:39] == b"parent."
    assert data[46:53] == b"working"

    data = encode_page(ObjectRef(0, 0, ObjectKind.ROOT), ROOT + 5, {0x7FFD: b"master.", 0x80000010: b"\x0e"}) or b""
    assert data[12] == 2
    assert data[25:32] == b"master."
    assert data[-16:] == b"\x0e" + bytes(15)


def test_user_object_policy_tag(osd: Osd) -> None:
    """New user objects have the policy access tag that their partition says."""
    tag = b"\x01\x02\x03\x04"
    assert osd.set(PID, 0, (PARTITION + 5, 0x40000002, tag)).good
    assert osd("CREATE", partition_id=PID, object_id=OID + 1).good

    assert osd.get(PID, OID + 1, (5, 0x40000001)) == [tag]
    assert osd.get(PID, OID, (5, 0x40000001)) == [None]


def test_adjustable_clock() -> None:
    """The clock of the unit is set by an attribute, survives FORMAT OSD, and is what objects are stamped with."""
    osd = Osd(store=open_store(clock=lambda: 1000)).formatted()
    when = (5_000_000).to_bytes(6, "big")
    assert osd.set(0, 0, (ROOT + 5, 9, when)).good
    assert not osd.set(0, 0, (ROOT + 5, 9, b"")).good

    assert osd.get(0, 0, (ROOT + 5, 9), (ROOT + 1, 0x100)) == [when, when]
    osd.formatted()
    assert osd.get(PID, 0, (PARTITION + 3, 1)) == [when]


def allowed(access: int) -> int:
    """A capability for the object with ALLOWED ATTRIBUTES ACCESS."""
    return capability(2, ObjectKind.USER, PID, OID, attributes_access=access)


@pytest.mark.parametrize(
    ("name", "wanted", "good"),
    [
        ("get", ((0x10001, 1),), True), ("get", ((0x10001, 2),), False), ("get", ((0x10002, 7),), True),
        ("get", ((0x10001, 1), (0xFFFFFFFE, 4)), True), ("get", ((0x10001, ALL),), False),
        ("get", ((0x10002, ALL),), True), ("get", ((ALL, ALL),), False), ("set", ((0x10001, 1, b"x"),), True),
        ("set", ((0x10001, 1, b"x"), (0x10003, 1, b"x")), False),
    ],
)
def test_attributes_access(osd: Osd, name: str, wanted: Any, good: bool) -> None:
    """ALLOWED ATTRIBUTES ACCESS names the attribute of the partition that lists what may be got and set."""
    listed = struct.pack(">4I", 0x10001, 1, 0x10002, ALL)
    assert osd.set(PID, 0, (PARTITION + 4, 3, listed)).good
    command = "GET ATTRIBUTES" if name == "get" else "SET ATTRIBUTES"
    sent = request(command, partition_id=PID, object_id=OID, capability=allowed(3), **{name: wanted})

    result = osd.initiator.execute(0, sent.cdb, sent.data_out, sent.data_in)
    assert result.good == good
    if not good:
        assert (result.code, result.sense.specific.byte) == (asc.INVALID_FIELD_IN_CDB, 80 + 56)


def test_attributes_access_page(osd: Osd) -> None:
    """An attribute that is not there allows nothing; entries have 8 bytes; POL/SEC is needed to set one."""
    sent = request("GET ATTRIBUTES", partition_id=PID, object_id=OID, capability=allowed(4), get=((0x10001, 1),))
    assert osd.initiator.execute(0, sent.cdb, sent.data_out, sent.data_in).code == asc.INVALID_FIELD_IN_CDB
    assert osd.set(PID, 0, (PARTITION + 4, 3, bytes(9))).code == asc.INVALID_FIELD_IN_PARAMETER_LIST
    mask = Permission.SET_ATTRIBUTES
    for permissions, good in ((mask, False), (mask | Permission.SECURITY, True)):
        sent = request(
            "SET ATTRIBUTES", partition_id=PID, set=((PARTITION + 4, 3, bytes(8)),),
            capability=capability(2, ObjectKind.PARTITION, PID, 0, permissions=permissions),
        )
        assert osd.initiator.execute(0, sent.cdb, sent.data_out, sent.data_in).good == good


@pytest.mark.parametrize("page", [0x7F, 0x80, 0x7FFF, 0x8000, 0xF000, 0xFFFF, 0xC0000000, 0x30010001, 0xFFFFFFFE])
def test_pages_not_set(osd: Osd, page: int) -> None:
    """Reserved pages, others' pages and those of other objects are not set."""
    assert osd.set(PID, OID, (page, 1, b"x")).code == asc.INVALID_FIELD_IN_PARAMETER_LIST


@pytest.mark.parametrize("page", [0x10000, 0x1FFFFFFF, 0x20000000, 0x2FFFFFFF, 0xF0000000, 0xFFFFFFFD])
def test_pages_set(osd: Osd, page: int) -> None:
    """Applications', vendors' and any object's pages take attributes; an empty value deletes."""
    assert osd.set(PID, OID, (page, 0xFFFFFFFE, b"value")).good
    assert osd.get(PID, OID, (page, 0xFFFFFFFE)) == [b"value"]
    assert osd.set(PID, OID, (page, 0xFFFFFFFE, b"")).good
    assert osd.get(PID, OID, (page, 0xFFFFFFFE)) == [None]

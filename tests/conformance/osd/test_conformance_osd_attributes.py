"""Attributes: pages, lists, order, timestamps, residuals. The unit is formatted: nothing on it survives."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from conformance import ConformanceUnit, clause
from osd_clauses import about
from osd_unit import COMMAND, NAME, OBJECT, OID, PID, Osd, number

from scsiemu import asc

ROOT, PARTITION, COLLECTION, USER = 0x90000000, 0x30000000, 0x60000000, 0
CID = OID + 50
EVERYTHING = 0xFFFFFFFF


def ids(base: int) -> tuple[int, int]:
    """Of an object whose pages begin there."""
    return {ROOT: (0, 0), PARTITION: (PID, 0), COLLECTION: (PID, CID), USER: (PID, OID)}[base]


BASES = pytest.mark.parametrize(
    "base", [ROOT, PARTITION, COLLECTION, USER], ids=["root", "partition", "collection", "user"]
)


@pytest.fixture
def full(osd: Osd) -> Osd:
    """With a collection."""
    osd.good("CREATE COLLECTION", partition_id=PID, object_id=CID)
    return osd


@BASES
@pytest.mark.parametrize("page", [0, 1, 3, 5])
@about("attributes pages")
def test_page_identification(unit: ConformanceUnit, full: Osd, base: int, page: int) -> None:
    """Attribute 0 of every page is vendor and name, 40 bytes."""
    (found,) = full.get(*ids(base), (base + page, 0))

    assert len(found) == 40
    assert found[:6] == b"INCITS"


@BASES
@about("directory page")
def test_directory(unit: ConformanceUnit, full: Osd, base: int) -> None:
    """The directory names the pages that are there."""
    sent = full.request("GET ATTRIBUTES", partition_id=ids(base)[0], object_id=ids(base)[1], get=((base, EVERYTHING),))
    data = unit.good(sent.cdb, sent.data_out, sent.data_in)

    assert len(data) > 8 + 3 * 40


@BASES
@pytest.mark.parametrize("length", [1, 8, 17, 255, 4000])
@about("attributes pages")
def test_application_attribute(unit: ConformanceUnit, full: Osd, base: int, length: int) -> None:
    """A value of any length is kept, and forgotten when it is set to nothing."""
    page = base + 0x10001
    full.set(*ids(base), (page, 7, b"v" * length))
    assert full.get(*ids(base), (page, 7)) == [b"v" * length]
    full.set(*ids(base), (page, 7, b""))

    assert full.get(*ids(base), (page, 7)) == [b""]


@BASES
@about("information pages")
def test_username(unit: ConformanceUnit, full: Osd, base: int) -> None:
    """USERNAME (of the root OSD NAME) can be set."""
    full.set(*ids(base), (base + 1, 9, b"some name"))

    assert full.get(*ids(base), (base + 1, 9)) == [b"some name"]


@about("information pages")
def test_root_information(unit: ConformanceUnit, osd: Osd) -> None:
    """Lengths of what the root tells, and that it counts partitions and bytes."""
    numbers = (3, 4, 5, 6, 7, 0x0A, 0x80, 0x81, 0xC0, 0x100)
    found = osd.get(0, 0, *((ROOT + 1, each) for each in numbers))

    assert [len(each) for each in found] == [20, 8, 16, 32, 4, 4, 8, 8, 8, 6]
    assert found[8] == number(1)
    assert found[7] <= found[6]


@about("information pages")
def test_partition_information(unit: ConformanceUnit, osd: Osd) -> None:
    """Its id, what it holds."""
    osd.write(b"x" * 5000)
    pid, used, objects = osd.get(PID, 0, (PARTITION + 1, 1), (PARTITION + 1, 0x81), (PARTITION + 1, 0xC1))

    assert (pid, objects) == (number(PID), number(1))
    assert int.from_bytes(used, "big") >= 5000


@about("information pages")
def test_user_information(unit: ConformanceUnit, osd: Osd) -> None:
    """Ids, used capacity, logical length."""
    osd.write(b"x" * 5000)
    pid, oid, used, length = osd.get(PID, OID, (1, 1), (1, 2), (1, 0x81), (1, 0x82))

    assert (pid, oid, length) == (number(PID), number(OID), number(5000))
    assert int.from_bytes(used, "big") >= 5000


@pytest.mark.parametrize(
    ("base", "page", "length"),
    [
        (ROOT, 2, 0x24), (PARTITION, 2, 0x1C), (USER, 2, 8), (ROOT, 3, 0x0D), (PARTITION, 3, 0x1F),
        (COLLECTION, 3, 0x1E), (USER, 3, 0x1E),
    ],
)
@about("attributes pages")
def test_page_form(unit: ConformanceUnit, full: Osd, base: int, page: int, length: int) -> None:
    """A page in page form: its number, its length, its fields."""
    data = full.page(base + page, *ids(base))

    assert data[:8] == struct.pack(">II", base + page, length)
    assert len(data) == 8 + length


@about("current command attributes page")
def test_current_command_page_form(unit: ConformanceUnit, osd: Osd) -> None:
    """Object type, ids, append address behind the integrity check value."""
    data = osd.page(COMMAND, PID, OID + 5, "CREATE")
    at = 40 if osd.version == 2 else 28

    assert data[at : at + 20] == struct.pack(">B3xQQ", 0x80, PID, OID + 5)


@pytest.mark.parametrize("page", [4, 0x10001, 0x30000002], ids=["collections", "application", "another kind's"])
@about("attributes pages")
def test_page_form_refused(unit: ConformanceUnit, osd: Osd, page: int) -> None:
    """Pages without a page form."""
    words = struct.pack(">7I", page, 4096, 0, 0, 0, 0, 0)
    osd.refused("GET ATTRIBUTES", asc.INVALID_FIELD_IN_CDB, cdbfmt=2, attributes=int.from_bytes(words, "big"), **OBJECT)


@about("get and set attributes parameters")
def test_set_one_out_of_cdb(unit: ConformanceUnit, osd2: Osd) -> None:
    """CDBFMT 1 sets one attribute of at most 18 bytes."""
    raw = struct.pack(">IIH18s", 0x10001, 3, 18, b"eighteen bytes....")
    osd2.good("SET ATTRIBUTES", cdbfmt=1, attributes=int.from_bytes(raw, "big"), **OBJECT)

    assert osd2.get(PID, OID, (0x10001, 3)) == [b"eighteen bytes...."]


@about("get and set attributes parameters")
def test_set_one_out_of_data(unit: ConformanceUnit, osd: Osd) -> None:
    """CDBFMT 2 sets one attribute out of Data-Out."""
    words = struct.pack(">7I", 0, 0, 0, 0x10001, 3, 5, 0)
    osd.good("SET ATTRIBUTES", data=b"value", cdbfmt=2, attributes=int.from_bytes(words, "big"), **OBJECT)

    assert osd.get(PID, OID, (0x10001, 3)) == [b"value"]


@about("GET ATTRIBUTES", "SET ATTRIBUTES")
def test_get_attributes_then_sets(unit: ConformanceUnit, osd: Osd) -> None:
    """GET ATTRIBUTES gets, then sets; SET ATTRIBUTES sets, then gets."""
    osd.set(PID, OID, (*NAME, b"old"))
    fields: dict[str, Any] = {"set": ((*NAME, b"new"),), **OBJECT}

    assert osd.attributes("GET ATTRIBUTES", (NAME,), **fields) == [b"old"]
    fields["set"] = ((*NAME, b"newer"),)
    assert osd.attributes("SET ATTRIBUTES", (NAME,), **fields) == [b"newer"]


@pytest.mark.parametrize("name", ["READ", "WRITE", "APPEND", "LIST"])
@about("get and set attributes parameters")
def test_attributes_after_command(unit: ConformanceUnit, osd: Osd, name: str) -> None:
    """Attributes are set and got when the command's own work is done."""
    base = PARTITION if name == "LIST" else USER
    fields: dict[str, Any] = {"partition_id": PID} if name == "LIST" else dict(OBJECT)
    data = b"12345" if name in ("WRITE", "APPEND") else b""
    if name != "LIST":
        fields["length"] = len(data)
    got = osd.attributes(name, ((base + 1, 9),), set=((base + 1, 9, b"set"),), data=data, **fields)

    assert got == [b"set"]
    assert name not in ("WRITE", "APPEND") or osd.get(PID, OID, (1, 0x82)) == [number(5)]


@about("attributes lists")
def test_everything(unit: ConformanceUnit, osd: Osd) -> None:
    """Page FFFFFFFFh with number FFFFFFFFh is every attribute, those of applications, too."""
    osd.set(PID, OID, (0x10001, 7, b"seven"))
    sent = osd.request("GET ATTRIBUTES", get=((EVERYTHING, EVERYTHING),), **OBJECT)
    data = unit.good(sent.cdb, sent.data_out, sent.data_in)

    assert b"seven" in data
    assert number(OID) in data


@pytest.mark.parametrize("room", [8, 16, 24, 30])
@about("attributes lists")
def test_retrieved_cut(unit: ConformanceUnit, osd2: Osd, room: int) -> None:
    """A list that does not fit is cut; lengths tell what the whole would be."""
    osd2.set(PID, OID, (*NAME, b"a long name"))
    text = struct.pack(">B3xI", 1, 8) + struct.pack(">II", *NAME)
    words = struct.pack(">7I", len(text), 0, room, 0, 0, 0, 0)
    fields: dict[str, Any] = {"cdbfmt": 3, "attributes": int.from_bytes(words, "big"), **OBJECT}
    data = osd2.good("GET ATTRIBUTES", data=text, data_in=room, **fields)

    whole = struct.pack(">B3xIII6xH", 9, 32, *NAME, 11) + b"a long name".ljust(16, b"\0")
    assert data == whole[:room]


@about("Data-In and Data-Out buffer offsets")
def test_gap_is_zero(unit: ConformanceUnit, osd2: Osd) -> None:
    """Between the command's data and the retrieved attributes there are zeros."""
    osd2.write(b"abc")
    sent = osd2.request("READ", data_in=3, length=3, get=(NAME,), **OBJECT)
    data = unit.good(sent.cdb, sent.data_out, sent.data_in)

    assert data[:8] == b"abc" + bytes(5)
    assert data[8] == 9


@pytest.mark.parametrize(
    ("name", "numbers"), [("READ", {2, 4}), ("WRITE", {3, 5}), ("SET ATTRIBUTES", {3}), ("GET ATTRIBUTES", {2})]
)
@about("timestamps control")
def test_timestamps(unit: ConformanceUnit, osd: Osd, name: str, numbers: set[int]) -> None:
    """What a command does is in the timestamps; with TIMESTAMPS CONTROL 7Fh nothing is."""
    stamps = tuple((3, each) for each in range(1, 6))
    quiet: dict[str, Any] = {"timestamps_control": 0x7F}
    before = osd.get(PID, OID, *stamps, **quiet)
    fields: dict[str, Any] = dict(OBJECT)
    if name == "WRITE":
        fields |= {"data": b"x", "length": 1}
    if name in ("WRITE", "SET ATTRIBUTES"):
        fields["set"] = ((*NAME, b"n"),)
    else:
        fields["get"] = (NAME,)
    osd.good(name, **fields, **quiet)
    assert osd.get(PID, OID, *stamps, **quiet) == before
    for _ in range(2000):
        osd.good(name, **fields)
        after = osd.get(PID, OID, *stamps, **quiet)
        changed = {at for at, (old, new) in enumerate(zip(before, after, strict=True), 1) if old != new}
        if changed == numbers:
            break

    assert changed == numbers


@pytest.mark.parametrize("owner", [PARTITION, ROOT], ids=["partition", "root"])
@about("timestamps pages")
def test_timestamps_bypassed(unit: ConformanceUnit, osd: Osd, owner: int) -> None:
    """Attribute FFFFFFFEh of the partition's or the root's page stops timestamps of what is in it."""
    osd.set(*ids(owner), (owner + 3, 0xFFFFFFFE, b"\1"))
    osd.good("CREATE", partition_id=PID, object_id=OID + 1)
    created = osd.get(PID, OID + 1, (3, 1))
    osd.set(*ids(owner), (owner + 3, 0xFFFFFFFE, b""))

    assert created == [b""]


@pytest.mark.parametrize(("ready", "residual"), [(64, 0), (65, 1), (100, 36)])
@clause("RFC 7143 11.4.5.1")
def test_residual_data_in(unit: ConformanceUnit, osd: Osd, ready: int, residual: int) -> None:
    """What of the room for Data-In was not used."""
    osd.write(b"x" * 64)
    answer = osd.execute("READ", data_in=ready, length=64, **OBJECT)

    assert (answer.good, answer.residual) == (True, residual)


@pytest.mark.parametrize("extra", [0, 8, 80])
@clause("RFC 7143 11.4.5.1")
def test_residual_bidirectional(unit: ConformanceUnit, osd2: Osd, extra: int) -> None:
    """A bidirectional command has a residual count each way."""
    sent = osd2.request("SET ATTRIBUTES", set=((*NAME, b"name"),), get=(NAME,), **OBJECT)
    answer = unit.execute(sent.cdb, sent.data_out + bytes(extra), sent.data_in)

    assert answer.good
    assert answer.residual == sent.data_in - len(answer.data)
    assert answer.residual_out == extra


@pytest.mark.parametrize("page", [0xB0, 0xB1])
@about("vital product data")
def test_vpd_pages(unit: ConformanceUnit, page: int) -> None:
    """The pages of object storage are there, and listed."""
    listed = unit.good(bytes((0x12, 1, 0, 0, 255, 0)), data_in=255)
    data = unit.good(bytes((0x12, 1, page, 0, 255, 0)), data_in=255)

    assert page in listed[4:]
    assert data[:2] == bytes((0x11, page))
    assert len(data) == 4 + int.from_bytes(data[2:4], "big")


@about("vital product data")
def test_security_token(unit: ConformanceUnit) -> None:
    """It has at least 16 bytes, stays what it is for a nexus, and is another for another nexus."""
    inquiry = bytes((0x12, 1, 0xB1, 0, 255, 0))
    token = unit.good(inquiry, data_in=255)[4:]

    assert len(token) >= 16
    assert unit.good(inquiry, data_in=255)[4:] == token
    assert unit.another().good(inquiry, data_in=255)[4:] != token

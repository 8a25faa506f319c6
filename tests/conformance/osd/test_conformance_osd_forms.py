"""Forms that commands share: CDB continuation segments, offsets, isolation, caching, attributes behind data. Nothing on
the unit survives."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from conformance import Answer, ConformanceUnit
from osd_clauses import about
from osd_unit import NAME, OBJECT, OID, PID, Osd, number, pointer

from devtypes.osd.continuation import DescriptorType, encode_segment
from devtypes.osd.requests import parse_attributes
from scsiemu import asc
from scsiemu.sense import FieldPointer, SenseCode, SenseKey

CDB = asc.INVALID_FIELD_IN_CDB
LIST = asc.INVALID_FIELD_IN_PARAMETER_LIST
LENGTH = asc.PARAMETER_LIST_LENGTH_ERROR
PAST_END = asc.with_key(asc.READ_PAST_END_OF_USER_OBJECT, SenseKey.RECOVERED_ERROR)
MINE = (0x10001, 7)
UNUSED = 0xFFFFFFFF


def ranges(*each: tuple[int, int]) -> tuple[int, bytes]:
    """A scatter/gather list of (offset, bytes)."""
    return DescriptorType.SCATTER_GATHER, b"".join(struct.pack(">QQ", *one) for one in each)


def parameters(*words: int) -> dict[str, Any]:
    """Get and set attributes parameters in list form: get length, offset, allocation, retrieved; set length, offset."""
    return {"cdbfmt": 3, "attributes": int.from_bytes(struct.pack(">7I", *words, *[0] * (7 - len(words))), "big")}


def get_list(*wanted: tuple[int, int], version: int = 2) -> bytes:
    """A list of type 1."""
    body = b"".join(struct.pack(">II", *each) for each in wanted)
    return (struct.pack(">B3xI", 1, len(body)) if version == 2 else struct.pack(">BxH", 1, len(body))) + body


# --- CDB continuation --------------------------------------------------------------------------------------------


def raw_segment(osd: Osd, segment: bytes, name: str = "READ", **fields: Any) -> Answer:
    """A command with this segment, whatever it is."""
    return osd.execute(
        name, data=segment, cdb_continuation_length=len(segment), **{**OBJECT, "length": 4, "data_in": 4, **fields}
    )


GOOD_SEGMENT = encode_segment(0x8885, [ranges((0, 4))])


@pytest.mark.parametrize(
    ("at", "value", "code", "byte"),
    [
        (0, 0x02, LIST, 0), (0, 0x00, LIST, 0), (3, 0x86, LIST, 2), (41, 0x99, LIST, 40), (41, 0x02, LIST, 40),
        (47, 0x0C, LIST, 44), (47, 0x20, LIST, 44), (46, 0xFF, LIST, 44),
    ],
    ids=["format 2", "format 0", "another service action", "unknown descriptor", "descriptor of QUERY",
         "descriptor length of 12", "past the end", "far past the end"],
)
@about("CDB continuation")
def test_continuation_field_refused(
    unit: ConformanceUnit, osd2: Osd, at: int, value: int, code: SenseCode, byte: int
) -> None:
    """A segment that is not well-formed is refused, the field pointer at the field in Data-Out."""
    osd2.write(b"data")
    assert raw_segment(osd2, GOOD_SEGMENT).data == b"data"
    segment = bytearray(GOOD_SEGMENT)
    segment[at] = value
    answer = raw_segment(osd2, bytes(segment))

    assert answer.code == code
    assert answer.sense is not None
    assert answer.sense.specific == FieldPointer(byte, in_cdb=False)


@about("CDB continuation", "QUERY")
def test_continuation_pad(unit: ConformanceUnit, osd2: Osd) -> None:
    """DESCRIPTOR LENGTH counts the body alone; pad bytes behind it fill up to a multiple of 8."""
    osd2.collection(OID + 100, OID)
    text = bytes(4) + struct.pack(">2xHIIHH", 12, 1, 0x82, 0, 0)
    fields: dict[str, Any] = {"partition_id": PID, "object_id": OID + 100, "allocation_length": 64, "data_in": 64}
    found = []
    for pad, length in ((4, len(text)), (0, len(text) + 4), (0, len(text))):
        segment = struct.pack(">BxH4x32x", 1, 0x88A0) + struct.pack(">HxBI", 2, pad, length) + text + bytes(4)
        answer = osd2.execute("QUERY", data=segment, cdb_continuation_length=len(segment), **fields)
        found.append(answer.code or len(answer.data))

    assert found == [20, 20, LIST]


@about("CDB continuation")
def test_continuation_no_descriptors(unit: ConformanceUnit, osd2: Osd) -> None:
    """A segment whose first descriptor says that there are no more changes nothing about the command."""
    osd2.write(b"data")

    assert raw_segment(osd2, encode_segment(0x8885, [])).data == b"data"


@about("CDB continuation")
def test_continuation_two_lists(unit: ConformanceUnit, osd2: Osd) -> None:
    """There is one scatter/gather list at most."""
    answer = osd2.continued("READ", ranges((0, 2)), ranges((2, 2)), length=4, data_in=4, **OBJECT)

    assert answer.code == LIST


@about("CDB continuation")
def test_continuation_half_an_entry(unit: ConformanceUnit, osd2: Osd) -> None:
    """A scatter/gather list has whole entries of 16 bytes."""
    answer = osd2.continued("READ", (DescriptorType.SCATTER_GATHER, bytes(24)), length=0, **OBJECT)

    assert answer.code == LENGTH


@about("CDB continuation")
def test_continuation_sum_of_lengths(unit: ConformanceUnit, osd2: Osd) -> None:
    """The ranges together have the bytes that LENGTH says."""
    for length in (3, 5):
        answer = osd2.continued("WRITE", ranges((0, 2), (9, 2)), data=b"x" * length, length=length, **OBJECT)
        assert answer.code == LIST

    assert osd2.get(PID, OID, (1, 0x82)) == [bytes(8)]


@about("CDB continuation", "READ")
def test_continuation_from_starting_address(unit: ConformanceUnit, osd2: Osd) -> None:
    """Ranges count from the starting byte address."""
    osd2.write(b"0123456789")
    answer = osd2.continued("READ", ranges((3, 2), (0, 1)), length=3, data_in=3, starting_byte_address=2, **OBJECT)

    assert answer.data == b"562"


@about("CDB continuation", "CREATE AND WRITE")
def test_continuation_create_and_write(unit: ConformanceUnit, osd2: Osd) -> None:
    """CREATE AND WRITE takes a scatter/gather list, too."""
    ids: dict[str, Any] = {"partition_id": PID, "object_id": OID + 1}
    assert osd2.continued("CREATE AND WRITE", ranges((4, 2), (0, 2)), data=b"abcd", length=4, **ids).good

    assert osd2.read(6, object_id=OID + 1) == b"cd\0\0ab"


@about("CDB continuation", "READ")
def test_continuation_past_end(unit: ConformanceUnit, osd2: Osd) -> None:
    """A range past the end is a recovered error with the bytes that were read before."""
    osd2.write(b"0123")
    answer = osd2.continued("READ", ranges((0, 2), (2, 9)), length=11, data_in=11, **OBJECT)

    assert (answer.code, answer.data) == (PAST_END, b"0123")
    assert answer.sense is not None
    assert answer.sense.command_specific == 4


@about("CDB continuation", "attributes lists")
def test_continuation_before_lists(unit: ConformanceUnit, osd2: Osd) -> None:
    """The segment is at the start of Data-Out, the data behind it, lists where their offsets say, from the start."""
    segment = encode_segment(0x8886, [ranges((0, 3))])
    attribute = struct.pack(">B3xIII6xH", 9, 24, *MINE, 5) + b"value\0\0\0"
    at = -(-(len(segment) + 3) // 8) * 8
    data = (segment + b"abc").ljust(at, b"\0") + attribute
    words = parameters(0, 0, 0, 0, len(attribute), 0xB0000000 | at // 8)
    osd2.good("WRITE", data=data, length=3, cdb_continuation_length=len(segment), **words, **OBJECT)

    assert osd2.read(3) == b"abc"
    assert osd2.get(PID, OID, MINE) == [b"value"]


@pytest.mark.parametrize(
    "name",
    ["APPEND", "CREATE", "CREATE COLLECTION", "CREATE PARTITION", "FLUSH", "FLUSH COLLECTION", "FLUSH OSD",
     "FLUSH PARTITION", "FORMAT OSD", "GET ATTRIBUTES", "PUNCH", "CLEAR", "REMOVE", "REMOVE COLLECTION",
     "REMOVE PARTITION", "SET ATTRIBUTES", "CREATE SNAPSHOT"],
)
@about("CDB continuation")
def test_continuation_not_taken(unit: ConformanceUnit, osd2: Osd, name: str) -> None:
    """Commands that have no segment refuse its length."""
    fields: dict[str, Any] = OBJECT
    if name in ("CREATE PARTITION", "FLUSH PARTITION", "REMOVE PARTITION", "CREATE SNAPSHOT"):
        fields = {"partition_id": PID}
    elif name in ("FLUSH OSD", "FORMAT OSD"):
        fields = {}
    sense = osd2.refused(name, CDB, data=bytes(48), cdb_continuation_length=48, **fields)

    assert pointer(sense).byte == 48


# --- offsets -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "at"),
    [(0x00000000, 0), (0xB0000000, 0), (0x70000000, 0), (0xB0000002, 16), (0xB0000020, 256), (0x00000001, 256),
     (0xC0000001, 16), (0xF0000003, 384), (0x10000001, 512)],
)
@about("Data-In and Data-Out buffer offsets")
def test_offset_osd2(unit: ConformanceUnit, osd2: Osd, field: int, at: int) -> None:
    """An offset is the mantissa shifted by the signed exponent and 8, in Data-In and in Data-Out."""
    wanted = get_list(NAME)
    osd2.set(PID, OID, (*NAME, b"name"))
    words = parameters(len(wanted), field, 4096, field)
    data = osd2.good("GET ATTRIBUTES", data=bytes(at) + wanted, data_in=at + 4096, **words, **OBJECT)

    assert data[:at] == bytes(at)
    assert data[at:] == struct.pack(">B3xIII6xH", 9, 24, *NAME, 4) + b"name\0\0\0\0"


@pytest.mark.parametrize(("field", "at"), [(0, 0), (0x00000001, 256), (0x00000003, 768), (0x10000001, 512)])
@about("Data-In and Data-Out buffer offsets")
def test_offset_osd1(unit: ConformanceUnit, osd: Osd, field: int, at: int) -> None:
    """Offsets that both versions have are the same in both."""
    wanted = get_list(NAME, version=osd.version)
    osd.set(PID, OID, (*NAME, b"name"))
    words = parameters(len(wanted), field, 4096, field)
    data = osd.good("GET ATTRIBUTES", data=bytes(at) + wanted, data_in=at + 4096, **words, **OBJECT)

    assert data[:at] == bytes(at)
    assert b"name" in data[at:]


@pytest.mark.parametrize(("word", "byte"), [(1, 56), (3, 64), (5, 72)], ids=["get list", "retrieved", "set list"])
@pytest.mark.parametrize("field", [0xA0000001, 0x80000001, UNUSED], ids=["exponent -6", "exponent -8", "unused"])
@about("Data-In and Data-Out buffer offsets")
def test_offset_refused(unit: ConformanceUnit, osd2: Osd, field: int, word: int, byte: int) -> None:
    """Exponents below -5, and an unused offset of something that has a length, are refused at their field."""
    wanted = get_list(NAME)
    attribute = struct.pack(">B3xIII6xH", 9, 24, *MINE, 5) + b"value\0\0\0"
    words = [len(wanted), 0, 4096, 0, len(attribute), 0xB0000000 | len(wanted) // 8]
    osd2.good("SET ATTRIBUTES", data=wanted + attribute, data_in=4096, **parameters(*words), **OBJECT)
    words[word] = field
    sense = osd2.refused("SET ATTRIBUTES", CDB, data=wanted + attribute, data_in=4096, **parameters(*words), **OBJECT)

    assert pointer(sense).byte == byte


@about("Data-In and Data-Out buffer offsets")
def test_offset_unused(unit: ConformanceUnit, osd: Osd) -> None:
    """An offset of nothing may be anything."""
    osd.good("GET ATTRIBUTES", **parameters(0, UNUSED, 0, UNUSED, 0, 0x80000001), **OBJECT)


@about("Data-In and Data-Out buffer offsets")
def test_offset_beyond_all(unit: ConformanceUnit, osd2: Osd) -> None:
    """An offset that no buffer has is refused, not gone to."""
    wanted = get_list(NAME)
    for field in (0x7FFFFFFF, 0x4FFFFFFF):
        answer = osd2.execute("GET ATTRIBUTES", data=wanted, data_in=99, **parameters(8, 0, 64, field), **OBJECT)
        assert answer.code is not None
        assert answer.code.key == SenseKey.ILLEGAL_REQUEST


# --- isolation and caching ---------------------------------------------------------------------------------------


@about("isolation")
def test_isolation_supported(unit: ConformanceUnit, osd2: Osd) -> None:
    """Attributes 110h and 111h of the root tell the default and what there is; all of that is taken, the rest not."""
    default, supported = osd2.get(0, 0, (0x90000001, 0x110), (0x90000001, 0x111))

    assert len(default) == 1
    assert len(supported) == 32
    assert default[0] in supported
    for method in range(8):
        answer = osd2.execute("READ", isolation=method, **OBJECT)
        assert answer.good == (method == 0 or method in supported), method


@pytest.mark.parametrize("fields", [{"fua": 1}, {"dpo": 1}, {"fua": 1, "dpo": 1}], ids=["FUA", "DPO", "both"])
@pytest.mark.parametrize("name", ["READ", "WRITE", "CREATE", "SET ATTRIBUTES"])
@about("caching control bits")
def test_caching_bits(unit: ConformanceUnit, osd: Osd, name: str, fields: dict[str, int]) -> None:
    """FUA and DPO change nothing about what is done."""
    rest: dict[str, Any] = {"WRITE": {"data": b"data", "length": 4}, "CREATE": {"object_id": OID + 1}}.get(name, {})
    osd.good(name, **{**OBJECT, **rest, **fields})

    assert name != "WRITE" or osd.read(4) == b"data"


@pytest.mark.parametrize("bit", [0x80, 0x40, 0x20], ids=hex)
@about("service action codes")
def test_reserved_bits_ignored_or_refused(unit: ConformanceUnit, osd: Osd, bit: int) -> None:
    """A reserved bit of the options byte is refused with INVALID FIELD IN CDB or ignored, nothing else."""
    cdb = bytearray(osd.request("READ", **OBJECT).cdb)
    cdb[10] |= bit

    assert unit.execute(bytes(cdb)).code in (None, CDB)


# --- attributes with commands ------------------------------------------------------------------------------------


@about("READ", "attributes lists")
def test_read_past_end_attributes(unit: ConformanceUnit, osd: Osd) -> None:
    """A recovered error does not keep attributes from being set and got."""
    osd.write(b"abc")
    sent = osd.request("READ", data_in=8, length=8, set=((*MINE, b"set"),), get=(MINE,), **OBJECT)
    answer = unit.execute(sent.cdb, sent.data_out, sent.data_in)

    assert answer.code == PAST_END
    assert answer.data[:8] == b"abc" + bytes(5)
    assert b"set" in answer.data[sent.retrieved :]
    assert osd.get(PID, OID, MINE) == [b"set"]


@about("REMOVE PARTITION", "attributes lists")
def test_remove_partition_gets_attributes(unit: ConformanceUnit, osd: Osd) -> None:
    """REMOVE PARTITION sets, gets, then removes."""
    osd.good("REMOVE", **OBJECT)
    page = (0x30000001, 9)

    assert osd.attributes("REMOVE PARTITION", (page,), set=((*page, b"bye"),), partition_id=PID) == [b"bye"]
    assert osd.ids("LIST") == []


@about("REMOVE PARTITION")
def test_remove_partition_refused_undone(unit: ConformanceUnit, osd: Osd) -> None:
    """Where it is refused its attributes are as before."""
    full = asc.PARTITION_OR_COLLECTION_CONTAINS_USER_OBJECTS
    osd.refused("REMOVE PARTITION", full, set=((0x30000001, 9, b"bye"),), partition_id=PID)

    assert osd.get(PID, 0, (0x30000001, 9)) == [b""]


@about("FORMAT OSD", "attributes lists")
def test_format_sets_attributes(unit: ConformanceUnit, osd: Osd) -> None:
    """FORMAT OSD sets and gets attributes of the root when it is done."""
    name = (0x90000001, 9)

    assert osd.attributes("FORMAT OSD", (name, (0x90000001, 0xC0)), set=((*name, b"disk"),)) == [b"disk", bytes(8)]


@about("CREATE PARTITION", "attributes lists")
def test_create_partition_undone(unit: ConformanceUnit, osd: Osd) -> None:
    """Where an attribute cannot be set there is no partition."""
    osd.refused("CREATE PARTITION", LIST, partition_id=PID + 1, set=((0x30000001, 1, number(1)),))

    assert osd.ids("LIST") == [PID]


@about("LIST", "attributes lists")
def test_list_partitions_attributes(unit: ConformanceUnit, osd2: Osd) -> None:
    """LIST_ATTR of the root gives attributes of partitions, format 02h."""
    sent = osd2.request("LIST", data_in=4096, allocation_length=4096, list_attr=1, get=((0x30000001, 1),))
    data = unit.good(sent.cdb, sent.data_out, sent.data_in)

    assert data[23] == 0x02 << 2
    assert data[24:64] == struct.pack(">Q4xI", PID, 24) + struct.pack(">II6xHQ", 0x30000001, 1, 8, PID)


@about("attributes lists")
def test_list_length_zero(unit: ConformanceUnit, osd: Osd) -> None:
    """A list length of zero in the header means as far as the CDB says."""
    wanted = bytearray(get_list(NAME, (1, 0x82), version=osd.version))
    at, size = (4, 4) if osd.version == 2 else (2, 2)
    wanted[at : at + size] = bytes(size)
    data = osd.good("GET ATTRIBUTES", data=bytes(wanted), data_in=512, **parameters(len(wanted), 0, 512, 0), **OBJECT)

    assert struct.pack(">II", 1, 0x82) in data
    assert int.from_bytes(data[at : at + size], "big") == len(data) - at - size


@about("attributes lists")
def test_list_absent_attribute(unit: ConformanceUnit, osd: Osd) -> None:
    """An attribute that is not there is told by length FFFFh in OSD-1, by length 0 in OSD-2."""
    wanted = get_list((0x10001, 99), version=osd.version)
    data = osd.good("GET ATTRIBUTES", data=wanted, data_in=512, **parameters(len(wanted), 0, 512, 0), **OBJECT)

    if osd.version == 2:
        assert data == struct.pack(">B3xIII6xH", 9, 16, 0x10001, 99, 0)
    else:
        assert data == struct.pack(">BxHIIH", 9, 10, 0x10001, 99, 0xFFFF)


@about("attributes lists")
def test_list_number_of_all_pages(unit: ConformanceUnit, osd: Osd) -> None:
    """Page FFFFFFFFh with a number is that attribute of every page that has it."""
    osd.set(PID, OID, (0x10001, 0x82, b"one"), (0x10002, 1, b"no"), (0x10003, 0x82, b"two"))
    sent = osd.request("GET ATTRIBUTES", get=((0xFFFFFFFF, 0x82),), **OBJECT)
    found = parse_attributes(sent, osd.good("GET ATTRIBUTES", get=((0xFFFFFFFF, 0x82),), **OBJECT), version=osd.version)

    assert [(each.page, each.number, each.value) for each in found] == [
        (1, 0x82, bytes(8)), (0x10001, 0x82, b"one"), (0x10003, 0x82, b"two")
    ]


@about("attributes lists")
def test_list_repeated_attribute(unit: ConformanceUnit, osd: Osd) -> None:
    """What is asked for twice is told twice; of two values the last one stays."""
    osd.set(PID, OID, (*MINE, b"one"), (*MINE, b"two"))

    assert osd.get(PID, OID, MINE, MINE) == [b"two", b"two"]


@about("get and set attributes parameters")
def test_page_form_gets_after_set(unit: ConformanceUnit, osd: Osd) -> None:
    """CDBFMT 2 sets one attribute, and gets a page that shows it."""
    words = struct.pack(">7I", 2, 64, 0, 2, 1, 8, 0)
    data = osd.good(
        "SET ATTRIBUTES", data=number(77), data_in=64, cdbfmt=2, attributes=int.from_bytes(words, "big"), **OBJECT
    )

    assert data == struct.pack(">IIQ", 2, 8, 77)


@about("get and set attributes parameters")
def test_page_form_cut(unit: ConformanceUnit, osd: Osd) -> None:
    """The allocation length cuts a page; its length field tells the whole."""
    words = struct.pack(">7I", 3, 10, 0, 0, 0, 0, 0)
    data = osd.good("GET ATTRIBUTES", data_in=64, cdbfmt=2, attributes=int.from_bytes(words, "big"), **OBJECT)

    assert (len(data), data[:8]) == (10, struct.pack(">II", 3, 0x1E))


@about("set one attribute using CDB fields")
def test_set_one_deletes(unit: ConformanceUnit, osd2: Osd) -> None:
    """Length 0 deletes the attribute."""
    osd2.set(PID, OID, (*MINE, b"value"))
    raw = struct.pack(">IIH18x", *MINE, 0)
    osd2.good("SET ATTRIBUTES", cdbfmt=1, attributes=int.from_bytes(raw, "big"), **OBJECT)

    assert osd2.get(PID, OID, MINE) == [b""]


@about("set one attribute using CDB fields")
def test_set_one_with_write(unit: ConformanceUnit, osd2: Osd) -> None:
    """Other commands have it, too."""
    raw = struct.pack(">IIH18s", *MINE, 3, b"abc")
    osd2.write(b"data", cdbfmt=1, attributes=int.from_bytes(raw, "big"))

    assert osd2.get(PID, OID, MINE) == [b"abc"]


@about("get and set attributes parameters")
def test_set_one_not_in_osd1(unit: ConformanceUnit, osd: Osd) -> None:
    """CDBFMT 1 is reserved in OSD-1."""
    raw = struct.pack(">IIH18s", *MINE, 3, b"abc")
    answer = osd.execute("SET ATTRIBUTES", cdbfmt=1, attributes=int.from_bytes(raw, "big"), **OBJECT)

    assert answer.good == (osd.version == 2)
    assert osd.version == 2 or answer.code == CDB

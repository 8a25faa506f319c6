"""The atomic commands of the OSC target, vendor specific: run where the unit has them. Nothing on it survives."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from conformance import ConformanceUnit, LocalUnit
from osd_clauses import about
from osd_unit import OBJECT, OID, PID, Osd, local_target, pointer

from devtypes.osd.attribute_lists import Attribute, encode_get_list, encode_set_list, parse_set_list
from devtypes.osd.config import OsdConfig
from scsiemu import asc

CDB = asc.INVALID_FIELD_IN_CDB
PAGE = 0x10001


@pytest.fixture
def local_unit() -> ConformanceUnit:
    """A unit in memory with the option."""
    return LocalUnit(local_target(OsdConfig(vendor_atomics=True)))


@pytest.fixture
def atomic(osd2: Osd) -> Osd:
    """A unit that has the commands."""
    answer = osd2.execute("FETCH AND ADD", data=bytes(8), data_in=8, length=8, **OBJECT)
    if answer.code == CDB and answer.sense is not None and pointer(answer.sense).byte == 8:
        osd2.unit.not_supported("it has no vendor specific atomic commands")
    assert answer.good, answer
    return osd2


def compare_and_swap(osd: Osd, compare: int, swap: int) -> int:
    """The value from before."""
    data = osd.good(
        "COMPARE AND SWAP", data=struct.pack(">QQ", compare, swap), data_in=8, length=8, **OBJECT
    )
    return int.from_bytes(data, "big")


def swapped(osd: Osd, name: str, *sets: tuple[int, bytes]) -> bytes | None:
    """CONDITIONAL SET ATTRIBUTES or GENERAL COMPARE AND SWAP with a set list of `PAGE`; the value from before."""
    text = encode_set_list([Attribute(PAGE, *each) for each in sets], version=2)
    wanted = encode_get_list([(PAGE, 99)], version=2)
    words = struct.pack(">7I", len(wanted), 0xB0000000 | len(text) // 8, 4096, 0, len(text), 0, 0)
    data = osd.good(
        name, data=text + wanted, data_in=4096, cdbfmt=3, attributes=int.from_bytes(words, "big"), **OBJECT
    )
    return parse_set_list(data, version=2)[0].value or None


BOTH = pytest.mark.parametrize(
    "name", ["CONDITIONAL SET ATTRIBUTES", "GENERAL COMPARE AND SWAP"], ids=["conditional", "general"]
)


@about("vendor specific service actions")
def test_compare_and_swap_equal(unit: ConformanceUnit, atomic: Osd) -> None:
    """Where it is what was expected it becomes the other operand; the value from before comes back."""
    assert [compare_and_swap(atomic, 0, 5), compare_and_swap(atomic, 5, 7), compare_and_swap(atomic, 7, 7)] == [0, 5, 7]


@about("vendor specific service actions")
def test_compare_and_swap_other(unit: ConformanceUnit, atomic: Osd) -> None:
    """Where it is something else it stays."""
    compare_and_swap(atomic, 0, 5)

    assert [compare_and_swap(atomic, 4, 9), compare_and_swap(atomic, 4, 9)] == [5, 5]


@pytest.mark.parametrize("terms", [(3, -5, 1), (1 << 62, 1 << 62, 1), (-1, 1)], ids=["signed", "past 63 bits", "zero"])
@about("vendor specific service actions")
def test_fetch_and_add_sum(unit: ConformanceUnit, atomic: Osd, terms: tuple[int, ...]) -> None:
    """The sum stays, modulo 2 to the 64th; the value from before comes back."""
    olds = []
    for each in terms:
        data = struct.pack(">Q", each % (1 << 64))
        olds.append(int.from_bytes(atomic.good("FETCH AND ADD", data=data, data_in=8, length=8, **OBJECT), "big"))

    assert olds == [sum(terms[:at]) % (1 << 64) for at in range(len(terms))]


@about("vendor specific service actions")
def test_atomic_data_in_offset(unit: ConformanceUnit, atomic: Osd) -> None:
    """The value from before is at the offset in Data-In, zeros before it."""
    atomic.good("FETCH AND ADD", data=struct.pack(">Q", 9), data_in=8, length=8, **OBJECT)
    data = atomic.good("FETCH AND ADD", data=bytes(8), data_in=24, length=8, data_in_offset=16, **OBJECT)

    assert data == bytes(16) + struct.pack(">Q", 9)


@pytest.mark.parametrize("name", ["COMPARE AND SWAP", "FETCH AND ADD"])
@about("vendor specific service actions")
def test_atomic_object_absent(unit: ConformanceUnit, atomic: Osd, name: str) -> None:
    """The object has to be there, and LENGTH has to be a whole number's."""
    fields: dict[str, Any] = {"data": bytes(16), "data_in": 8}

    assert pointer(atomic.refused(name, CDB, length=8, partition_id=PID, object_id=0x77777, **fields)).byte == 24
    assert pointer(atomic.refused(name, CDB, length=8, partition_id=0x99999, object_id=OID, **fields)).byte == 16
    assert pointer(atomic.refused(name, CDB, length=7, **OBJECT, **fields)).byte == 32


@BOTH
@about("vendor specific service actions")
def test_attribute_swap_equal(unit: ConformanceUnit, atomic: Osd, name: str) -> None:
    """The attribute becomes the second entry's value where it was the first's; the rest of the list is set."""
    atomic.set(PID, OID, (PAGE, 1, b"old"))
    before = swapped(atomic, name, (1, b"old"), (1, b"new"), (2, b"rest"))

    assert before == b"old"
    assert atomic.get(PID, OID, (PAGE, 1), (PAGE, 2)) == [b"new", b"rest"]


@BOTH
@about("vendor specific service actions")
def test_attribute_swap_other(unit: ConformanceUnit, atomic: Osd, name: str) -> None:
    """Where it was something else it stays; the rest is set by the general one alone."""
    atomic.set(PID, OID, (PAGE, 1, b"odd"))
    before = swapped(atomic, name, (1, b"old"), (1, b"new"), (2, b"rest"))

    assert before == b"odd"
    assert atomic.get(PID, OID, (PAGE, 1), (PAGE, 2)) == [
        b"odd", b"rest" if name == "GENERAL COMPARE AND SWAP" else b""
    ]


@BOTH
@about("vendor specific service actions")
def test_attribute_swap_absent(unit: ConformanceUnit, atomic: Osd, name: str) -> None:
    """An attribute that is not there equals an empty value."""
    assert swapped(atomic, name, (1, b""), (1, b"first")) is None
    assert atomic.get(PID, OID, (PAGE, 1)) == [b"first"]


@BOTH
@about("vendor specific service actions")
def test_attribute_swap_refused(unit: ConformanceUnit, atomic: Osd, name: str) -> None:
    """Two attributes, one entry, no list: refused, and nothing is set."""
    for sets, code in (
        ((((PAGE, 1, b"")), (PAGE, 2, b"x")), asc.INVALID_FIELD_IN_PARAMETER_LIST),
        (((PAGE, 1, b""),), asc.PARAMETER_LIST_LENGTH_ERROR),
    ):
        atomic.refused(name, code, set=sets, get=((PAGE, 1),), **OBJECT)
    atomic.refused(name, CDB, **OBJECT)

    assert atomic.get(PID, OID, (PAGE, 1), (PAGE, 2)) == [b"", b""]

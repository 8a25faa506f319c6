"""The vendor's atomic commands of object storage, which are there on demand."""

from __future__ import annotations

import struct

import pytest
from osd_bench import PID, Osd

from devtypes.osd.attribute_lists import encode_get_list, encode_set_list, parse_set_list
from devtypes.osd.requests import Attribute
from scsiemu import asc
from scsiemu.sense import FieldPointer

OID = 0x10000
PAGE = 0x10001


@pytest.fixture
def osd() -> Osd:
    """A unit with the commands and an object."""
    made = Osd(vendor_atomics=True).formatted()
    assert made("CREATE", partition_id=PID, object_id=OID).good
    return made


def test_atomics_on_demand() -> None:
    """Without the option their service actions are not there."""
    result = Osd().formatted()("COMPARE AND SWAP", bytes(16), partition_id=PID, length=8)

    assert result.sense is not None
    assert result.sense.specific == FieldPointer(8)


def test_compare_and_swap(osd: Osd) -> None:
    """It becomes the second operand where it was the first; what it was comes back at the offset."""
    olds = []
    for compare, swap in ((0, 5), (4, 9), (5, 7), (7, 7)):
        data = struct.pack(">QQ", compare, swap)
        result = osd("COMPARE AND SWAP", data, partition_id=PID, object_id=OID, length=8, data_in_offset=16)
        assert (result.good, result.data[:16]) == (True, bytes(16))
        olds.append(int.from_bytes(result.data[16:], "big"))

    assert olds == [0, 5, 5, 7]


def test_fetch_and_add(osd: Osd) -> None:
    """The sum stays, the value from before comes back; numbers are signed."""
    olds = []
    for add in (3, -5, 1):
        result = osd("FETCH AND ADD", struct.pack(">q", add), partition_id=PID, object_id=OID, length=8)
        olds.append(struct.unpack(">q", result.data)[0])

    assert olds == [0, 3, -2]


def swap(osd: Osd, name: str, *sets: tuple[int, bytes]) -> bytes | None:
    """The command with a set list of `PAGE`; the value from before."""
    text = encode_set_list([Attribute(PAGE, *each) for each in sets], version=2)
    wanted = encode_get_list([(PAGE, 9)], version=2)
    words = struct.pack(">7I", len(wanted), 0xB0000000 | len(text) // 8, 4096, 0, len(text), 0, 0)
    result = osd(
        name, text + wanted, partition_id=PID, object_id=OID, cdbfmt=3, attributes=int.from_bytes(words, "big")
    )
    assert result.good, result
    return parse_set_list(result.data, version=2)[0].value or None


@pytest.mark.parametrize(
    ("name", "after"),
    [("CONDITIONAL SET ATTRIBUTES", [b"one", b"also"]), ("GENERAL COMPARE AND SWAP", [b"one", b"more"])],
)
def test_attribute_swap(osd: Osd, name: str, after: list[bytes]) -> None:
    """An attribute is swapped where it was what it had to be; the rest depends on it, or does not."""
    assert swap(osd, name, (1, b""), (1, b"one"), (2, b"also")) is None
    assert swap(osd, name, (1, b"not"), (1, b"two"), (2, b"more")) == b"one"

    assert osd.get(PID, OID, (PAGE, 1), (PAGE, 2)) == after


@pytest.mark.parametrize("sets", [[(1, b"x")], [(1, b"x"), (2, b"y")]])
def test_attribute_swap_refused(osd: Osd, sets: list[tuple[int, bytes]]) -> None:
    """One entry alone, or two of different attributes."""
    text = encode_set_list([Attribute(PAGE, *each) for each in sets], version=2)
    words = struct.pack(">7I", 0, 0, 0, 0, len(text), 0, 0)
    result = osd(
        "GENERAL COMPARE AND SWAP", text, partition_id=PID, object_id=OID, cdbfmt=3,
        attributes=int.from_bytes(words, "big"),
    )

    assert result.code in (asc.PARAMETER_LIST_LENGTH_ERROR, asc.INVALID_FIELD_IN_PARAMETER_LIST)

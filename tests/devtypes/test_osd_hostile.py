"""Object commands that ask for more than a unit should do: each ends soon, with sense data, and changes nothing."""

from __future__ import annotations

import struct

import pytest
from osd_bench import PID, Osd

from scsiemu import asc

OID = 0x10000


@pytest.fixture
def osd() -> Osd:
    """A unit of OSD-2 with one object."""
    unit = Osd().formatted()
    unit("CREATE", partition_id=PID, object_id=OID)
    return unit


def test_hostile_length(osd: Osd) -> None:
    """A logical length that no store has is refused; the largest is taken and punched without end of loops."""
    assert osd.set(PID, OID, (1, 0x82, (1 << 63).to_bytes(8, "big"))).code == asc.INVALID_FIELD_IN_PARAMETER_LIST
    assert osd.set(PID, OID, (1, 0x82, ((1 << 63) - 1).to_bytes(8, "big"))).good
    assert osd("PUNCH", partition_id=PID, object_id=OID, length=7, starting_byte_address=3).good
    assert osd.get(PID, OID, (1, 0x82)) == [((1 << 63) - 8).to_bytes(8, "big")]


def test_hostile_everything_often(osd: Osd) -> None:
    """All attributes, asked for thousands of times, are SYSTEM RESOURCE FAILURE."""
    for number in range(16):
        assert osd.set(PID, OID, (0x10001, number, bytes(60000))).good
    text = struct.pack(">B3xI", 1, 8 * 4000) + b"\xff" * 8 * 4000
    attributes = struct.pack(">7I", len(text), 0, 65536, 0, 0, 0, 0)

    result = osd(
        "GET ATTRIBUTES", text, partition_id=PID, object_id=OID, cdbfmt=3, attributes=int.from_bytes(attributes, "big")
    )
    assert result.code == asc.SYSTEM_RESOURCE_FAILURE


def test_hostile_everything_of_all(osd: Osd) -> None:
    """So is more than one command moves, asked for of many objects."""
    text = struct.pack(">B3xI", 1, 8 * 60000) + struct.pack(">II", 1, 0x82) * 60000
    words = struct.pack(">7I", len(text), 0, 0xFFFFFFFF, 0, 0, 0, 0)
    fields = {"partition_id": PID, "cdbfmt": 3, "attributes": int.from_bytes(words, "big")}

    assert osd("CREATE", text, number_of_user_objects=100, **fields).code == asc.SYSTEM_RESOURCE_FAILURE
    assert osd.get(PID, 0, (0x30000001, 0xC1)) == [(1).to_bytes(8, "big")]


def test_hostile_value_length(osd: Osd) -> None:
    """A value that a list could not bring back is refused."""
    attributes = struct.pack(">7I", 0, 0, 0, 0x10001, 1, 0xFFFF, 0)

    result = osd(
        "SET ATTRIBUTES", bytes(0xFFFF), partition_id=PID, object_id=OID, cdbfmt=2,
        attributes=int.from_bytes(attributes, "big"),
    )
    assert result.code == asc.INVALID_FIELD_IN_CDB


@pytest.mark.parametrize("name", ["READ", "WRITE", "CLEAR", "PUNCH", "CREATE AND WRITE"])
def test_hostile_addresses(osd: Osd, name: str) -> None:
    """Addresses and lengths at the end of 64 bits."""
    for address, length in (((1 << 64) - 1, 1), (1 << 63, 4096), (0, (1 << 64) - 1), ((1 << 64) - 1, (1 << 64) - 1)):
        result = osd(
            name, b"x", partition_id=PID, object_id=OID + (name[:6] == "CREATE"), length=length,
            starting_byte_address=address,
        )
        assert result.code is not None
        assert result.code not in (asc.INTERNAL_TARGET_FAILURE, asc.WRITE_ERROR)
    assert osd.get(PID, OID, (1, 0x82)) == [bytes(8)]

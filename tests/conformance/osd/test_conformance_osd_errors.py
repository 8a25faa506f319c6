"""Error rows of object commands, in both versions of the command set. The unit is formatted: nothing on it survives."""

from __future__ import annotations

from typing import Any

import pytest
from conformance import ConformanceUnit, clause

from devtypes.osd.requests import Request, request
from scsiemu import asc
from scsiemu.sense import FieldPointer, Sense, SenseCode, SenseKey

PID = 0x10000
OID = 0x10000


class Osd:
    """Commands of one version to the unit under test."""

    def __init__(self, unit: ConformanceUnit, version: int) -> None:
        self.unit = unit
        self.version = version
        self.good("FORMAT OSD")
        self.good("CREATE PARTITION", partition_id=PID)
        self.good("CREATE", partition_id=PID, object_id=OID)

    def request(self, name: str, **rest: Any) -> Request:
        """The command."""
        return request(name, version=self.version, **rest)

    def good(self, name: str, **rest: Any) -> bytes:
        """A command that must end with GOOD."""
        sent = self.request(name, **rest)
        return self.unit.good(sent.cdb, sent.data_out, sent.data_in)

    def refused(self, name: str, code: SenseCode, **rest: Any) -> Sense:
        """A command that must be refused."""
        sent = self.request(name, **rest)
        return self.unit.refused(sent.cdb, code, sent.data_out, sent.data_in)


@pytest.fixture(params=[1, 2], ids=["osd1", "osd2"])
def osd(unit: ConformanceUnit, request: pytest.FixtureRequest) -> Osd:
    """A formatted unit with a partition and an object."""
    return Osd(unit, request.param)


@clause("OSD-2, READ")
def test_read_past_end(unit: ConformanceUnit, osd: Osd) -> None:
    """READ past the end is RECOVERED ERROR with the number of bytes read."""
    code = asc.with_key(asc.READ_PAST_END_OF_USER_OBJECT, SenseKey.RECOVERED_ERROR)
    sense = osd.refused("READ", code, data_in=9, partition_id=PID, object_id=OID, length=9)

    assert sense.command_specific == 0


@clause("OSD-2, error identification sense data descriptor")
def test_no_object(unit: ConformanceUnit, osd: Osd) -> None:
    """An object that is not there: the field pointer is at its id, the descriptor names it."""
    sense = osd.refused("READ", asc.INVALID_FIELD_IN_CDB, data_in=9, partition_id=PID, object_id=OID + 1, length=9)

    assert sense.specific == FieldPointer(24)
    assert any(each[0] == 0x06 and each[24:32] == (OID + 1).to_bytes(8, "big") for each in sense.descriptors)


@clause("OSD-2, REMOVE PARTITION")
def test_partition_not_empty(unit: ConformanceUnit, osd: Osd) -> None:
    """A partition with objects is not removed."""
    osd.refused("REMOVE PARTITION", asc.PARTITION_OR_COLLECTION_CONTAINS_USER_OBJECTS, partition_id=PID)
    osd.good("READ", partition_id=PID, object_id=OID)


@clause("OSD-2, quotas")
def test_quota(unit: ConformanceUnit, osd: Osd) -> None:
    """A write past the maximum length is a quota error and writes nothing."""
    osd.good("SET ATTRIBUTES", partition_id=PID, object_id=OID, set=((2, 1, (4).to_bytes(8, "big")),))
    osd.refused("WRITE", asc.QUOTA_ERROR, data=b"12345", partition_id=PID, object_id=OID, length=5)


@clause("OSD-2, user object information page")
def test_attribute_not_settable(unit: ConformanceUnit, osd: Osd) -> None:
    """USED CAPACITY cannot be set."""
    osd.refused(
        "SET ATTRIBUTES", asc.INVALID_FIELD_IN_PARAMETER_LIST, partition_id=PID, object_id=OID,
        set=((1, 0x81, bytes(8)),),
    )


@clause("OSD-2, CREATE")
def test_create_in_use(unit: ConformanceUnit, osd: Osd) -> None:
    """An id that is in use is an invalid field."""
    osd.refused("CREATE", asc.INVALID_FIELD_IN_CDB, partition_id=PID, object_id=OID)


@clause("OSD-2, timestamps control")
def test_timestamps_control(unit: ConformanceUnit, osd: Osd) -> None:
    """TIMESTAMPS CONTROL is 00h or 7Fh."""
    osd.refused("READ", asc.INVALID_FIELD_IN_CDB, partition_id=PID, object_id=OID, timestamps_control=1)

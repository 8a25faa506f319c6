"""Sense data of object commands, and what an OSD logical unit answers of other commands. Nothing on it survives."""

from __future__ import annotations

import struct

import pytest
from conformance import ConformanceUnit, clause
from osd_clauses import about
from osd_unit import OBJECT, OID, PID, Osd, number, pointer

from scsiemu import asc
from scsiemu.sense import SenseCode, SenseKey

CDB = asc.INVALID_FIELD_IN_CDB
INQUIRY = bytes((0x12, 0, 0, 0, 255, 0))
FORMATTING = SenseCode(SenseKey.NOT_READY, 0x04, 0x04)
ALL_FUNCTIONS = bytes((0xB0, 0x10, 0x30, 0x30))


@about("error identification sense data descriptor")
def test_sense_validation_failed(unit: ConformanceUnit, osd: Osd) -> None:
    """What is refused before it began says that no function was begun, and that none was completed."""
    sense = osd.refused("READ", CDB, partition_id=PID, object_id=0x77777)
    (found,) = (each for each in sense.descriptors if each[0] == 0x06)

    assert found[:2] == b"\x06\x1e"
    assert found[8:16] == ALL_FUNCTIONS + bytes(4)


@about("sense data")
def test_sense_two_attributes(unit: ConformanceUnit, osd: Osd) -> None:
    """Descriptor 08h has whole entries of page and number behind 8 bytes."""
    sense = osd.refused(
        "SET ATTRIBUTES", asc.INVALID_FIELD_IN_PARAMETER_LIST, set=((1, 0x81, number(1)), (1, 2, number(1))), **OBJECT
    )
    (found,) = (each for each in sense.descriptors if each[0] == 0x08)

    assert (len(found) - 8) % 8 == 0
    assert found[1] == len(found) - 2
    assert found[8:16] == struct.pack(">II", 1, 0x81)


@clause("SPC-5 4.4.2.1")
def test_sense_descriptor_format(unit: ConformanceUnit, osd: Osd) -> None:
    """REQUEST SENSE with DESC=1 gives the descriptor format, 72h."""
    data = unit.good(bytes((0x03, 1, 0, 0, 252, 0)), data_in=252)

    assert data[0] & 0x7F == 0x72


@about("FORMAT OSD", "sense data")
def test_format_in_progress(unit: ConformanceUnit, osd: Osd) -> None:
    """While a format goes on a command of another nexus waits, or is refused with NOT READY, FORMAT IN PROGRESS."""
    other = unit.another()
    osd.good("FORMAT OSD")
    for _ in range(1000):
        sent = osd.request("LIST", data_in=24, allocation_length=24)
        answer = other.execute(sent.cdb, b"", 24)
        if answer.code != FORMATTING:
            break

    assert answer.good, answer
    assert answer.data[:16] == struct.pack(">QQ", 16, 0)


@clause("SPC-5 5.14.11.2.2")
def test_reservations_released(unit: ConformanceUnit) -> None:
    """When a registrants only reservation is released the other registrants hear RESERVATIONS RELEASED."""
    other = unit.another()
    for each, key in ((unit, 1), (other, 2)):
        each.good(reserve_out(0), reserve_list(0, key))
    unit.good(reserve_out(1, 6), reserve_list(1))
    unit.good(reserve_out(2, 6), reserve_list(1))
    attentions = other.attentions()
    unit.good(reserve_out(3), reserve_list(1))

    assert attentions == [asc.RESERVATIONS_RELEASED]


def reserve_out(action: int, kind: int = 0) -> bytes:
    """PERSISTENT RESERVE OUT with a list of 24 bytes."""
    return bytes((0x5F, action, kind, 0, 0, 0, 0, 0, 24, 0))


def reserve_list(key: int, new: int = 0) -> bytes:
    """Its parameter list."""
    return struct.pack(">QQ8x", key, new)


@about("attributes lists", "sense data")
def test_system_resource_failure(unit: ConformanceUnit, osd: Osd) -> None:
    """A command that wants more than the unit has is refused with SYSTEM RESOURCE FAILURE, as a whole."""
    osd.set(PID, OID, (0x10001, 1, b"v" * 60_000))
    wanted = tuple((0x10001, 1) for _ in range(4000))
    answer = osd.execute("GET ATTRIBUTES", get=wanted, set=((0x10001, 2, b"set"),), **OBJECT)
    if answer.good:
        unit.not_supported("240 MB of attributes are not too much for it")

    assert answer.code == asc.SYSTEM_RESOURCE_FAILURE
    assert osd.get(PID, OID, (0x10001, 2)) == [b""]


@clause("SPC-5 6.7.2")
def test_inquiry_device_type(unit: ConformanceUnit) -> None:
    """Peripheral device type 11h, and a version descriptor of OSD or OSD-2."""
    data = unit.good(INQUIRY, data_in=255)
    versions = {word for (word,) in struct.iter_unpack(">H", data[58:74])}

    assert data[0] == 0x11
    assert any(0x0340 <= each <= 0x035F or 0x0440 <= each <= 0x045F for each in versions)


@pytest.mark.parametrize(
    ("cdb", "room"),
    [
        (bytes(6), 0), (bytes((0x03, 0, 0, 0, 18, 0)), 18), (INQUIRY, 255),
        (bytes((0xA0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0)), 256),
        (bytes((0xA3, 0x0C, 0, 0, 0, 0, 0, 0, 16, 0, 0, 0)), 4096),
        (bytes((0x5E, 0, 0, 0, 0, 0, 0, 0, 8, 0)), 8),
    ],
    ids=["TEST UNIT READY", "REQUEST SENSE", "INQUIRY", "REPORT LUNS", "REPORT SUPPORTED OPERATION CODES",
         "PERSISTENT RESERVE IN"],
)
@about("service action codes")
def test_other_commands(unit: ConformanceUnit, cdb: bytes, room: int) -> None:
    """What an OSD logical unit has besides object commands."""
    assert bool(unit.good(cdb, data_in=room)) == bool(room)


@clause("SPC-5 5.14.1")
def test_reservation_conflict(unit: ConformanceUnit, osd: Osd) -> None:
    """Where another nexus has reserved the unit exclusively object commands conflict; write exclusive lets reads by."""
    other = unit.another()
    other.good(reserve_out(0), reserve_list(0, 9))
    for kind, reads in ((3, False), (1, True)):
        other.good(reserve_out(1, kind), reserve_list(9))
        write, read = osd.request("WRITE", data=b"x", length=1, **OBJECT), osd.request("READ", **OBJECT)
        setting = osd.request("READ", set=((0x10001, 1, b"x"),), **OBJECT)
        unit.conflict(write.cdb, write.data_out)
        unit.conflict(setting.cdb, setting.data_out)
        if reads:
            unit.good(read.cdb)
        else:
            unit.conflict(read.cdb)
        other.good(reserve_out(2, kind), reserve_list(9))
    other.good(reserve_out(3), reserve_list(9))

    osd.write(b"x")


@about("sense data")
def test_pointer_bit(unit: ConformanceUnit, osd: Osd) -> None:
    """A field that is a part of a byte has the bit pointer at its highest bit."""
    sense = osd.refused("FLUSH", CDB, flush_scope=3, **OBJECT)

    assert (pointer(sense).byte, pointer(sense).bit) == (10, 1)

"""What a unit reports about itself, unit attentions, REQUEST SENSE: for a unit of any device type."""

from __future__ import annotations

import struct

import pytest
from conformance import ConformanceUnit, clause
from spc_commands import INQUIRY, inquiry_page

from scsiemu import asc
from scsiemu.sense import SenseKey

REQUEST_SENSE = bytes((0x03, 0, 0, 0, 252, 0))


def report_luns(select: int = 0, length: int = 4096) -> bytes:
    """REPORT LUNS."""
    return bytes((0xA0, 0, select, 0, 0, 0)) + length.to_bytes(4, "big") + bytes(2)


def operations(option: int, opcode: int = 0, action: int = 0, *, flags: int = 0) -> bytes:
    """REPORT SUPPORTED OPERATION CODES."""
    return struct.pack(">BBBBHIBB", 0xA3, 0x0C, flags | option, opcode, action, 65536, 0, 0)


def designators(data: bytes) -> list[tuple[int, int, int, bytes]]:
    """Of page 83h: code set, association, type, designator."""
    found, at = [], 4
    while at < len(data):
        length = data[at + 3]
        found.append((data[at] & 0xF, data[at + 1] >> 4 & 3, data[at + 1] & 0xF, data[at + 4 : at + 4 + length]))
        at += 4 + length
    assert at == len(data)
    return found


# --- INQUIRY -----------------------------------------------------------------------------------------------------


@clause("SPC-5 6.7.2")
def test_inquiry_standard_data(unit: ConformanceUnit) -> None:
    """Response data format 2, a version, names in ASCII, filled up with spaces."""
    data = unit.good(INQUIRY, data_in=255)

    assert data[0] >> 5 == 0
    assert data[3] & 0xF == 2
    assert data[2] in range(4, 8)
    assert all(0x20 <= byte < 0x7F for byte in data[8:36])
    assert data[8:16].strip()


@clause("SPC-5 7.7.1")
def test_inquiry_pages_header(unit: ConformanceUnit) -> None:
    """Each page has the device type, its code, and the length of what follows."""
    kind = unit.good(INQUIRY, data_in=255)[0]
    for page in unit.good(inquiry_page(0), data_in=1024)[4:]:
        data = unit.good(inquiry_page(page), data_in=65535)
        assert data[0] == kind
        assert data[1] == page
        assert int.from_bytes(data[2:4], "big") == len(data) - 4, hex(page)


@pytest.mark.parametrize("length", [0, 3, 4, 7])
@clause("SPC-5 4.2.5.6")
def test_inquiry_page_cut(unit: ConformanceUnit, length: int) -> None:
    """ALLOCATION LENGTH cuts a page and changes nothing in it."""
    whole = unit.good(inquiry_page(0x83), data_in=65535)

    assert unit.good(inquiry_page(0x83, length), data_in=255) == whole[:length]


@clause("SPC-5 7.7.17")
def test_inquiry_serial_number(unit: ConformanceUnit) -> None:
    """Page 80h has a serial number in ASCII, the same by every nexus."""
    data = unit.good(inquiry_page(0x80), data_in=255)

    assert data[4:].strip()
    assert all(0x20 <= byte < 0x7F for byte in data[4:])
    assert unit.another().good(inquiry_page(0x80), data_in=255) == data


@clause("SPC-5 7.7.6")
def test_inquiry_designators(unit: ConformanceUnit) -> None:
    """Page 83h has a designator of the unit, the same by every nexus: NAA, EUI-64, SCSI name or T10 vendor ID."""
    found = designators(unit.good(inquiry_page(0x83), data_in=65535))
    own = [each for each in found if each[1] == 0]
    other = designators(unit.another().good(inquiry_page(0x83), data_in=65535))

    assert any(kind in (1, 2, 3, 8) for _, _, kind, _ in own)
    assert own == [each for each in other if each[1] == 0]
    for _, _, kind, data in found:
        assert kind != 3 or len(data) in (8, 16)
        assert kind != 8 or len(data) % 4 == 0
        assert kind not in (4, 5) or len(data) == 4


@clause("SPC-5 7.7.7")
def test_inquiry_extended(unit: ConformanceUnit) -> None:
    """Page 86h has 64 bytes."""
    data = unit.good(inquiry_page(0x86), data_in=255)

    assert len(data) == 64


# --- REPORT LUNS -------------------------------------------------------------------------------------------------


@clause("SPC-5 6.33")
def test_report_luns(unit: ConformanceUnit) -> None:
    """A list of 8 bytes each whose length says so."""
    data = unit.good(report_luns(), data_in=4096)

    assert len(data) >= 16
    assert int.from_bytes(data[:4], "big") == len(data) - 8
    assert len(data) % 8 == 0
    assert unit.good(report_luns(length=16), data_in=16) == data[:16]


@pytest.mark.parametrize("select", [0x03, 0x0F, 0x7F])
@clause("SPC-5 6.33")
def test_report_luns_select_refused(unit: ConformanceUnit, select: int) -> None:
    """SELECT REPORT values that are reserved."""
    unit.refused(report_luns(select), asc.INVALID_FIELD_IN_CDB, data_in=64)


@clause("SPC-5 6.33")
def test_report_luns_selected(unit: ConformanceUnit) -> None:
    """Well known units alone, and all: the list of all is not shorter."""
    sizes = [len(unit.good(report_luns(select), data_in=4096)) for select in (0, 1, 2)]

    assert sizes[2] >= max(sizes[:2])


# --- REPORT SUPPORTED OPERATION CODES ----------------------------------------------------------------------------


@clause("SPC-5 6.34.2")
def test_operations_all(unit: ConformanceUnit) -> None:
    """Whole descriptors of 8 bytes, each command once, TEST UNIT READY, INQUIRY and itself among them."""
    data = unit.good(operations(0), data_in=65536)
    found = [
        (data[at], int.from_bytes(data[at + 2 : at + 4], "big"), data[at + 5] & 1) for at in range(4, len(data), 8)
    ]

    assert int.from_bytes(data[:4], "big") == len(data) - 4
    assert len(found) == len(set(found))
    assert {(0x00, 0, 0), (0x12, 0, 0), (0xA3, 0x0C, 1)} <= set(found)


@clause("SPC-5 6.34.2, 6.34.4")
def test_operations_timeouts(unit: ConformanceUnit) -> None:
    """RCTD adds a descriptor of 12 bytes to each that says so, and to one command's data."""
    data = unit.good(operations(0, flags=0x80), data_in=65536)
    at = 4
    while at < len(data):
        timed = data[at + 5] & 2
        if timed:
            assert data[at + 8 : at + 10] == b"\x00\x0a"
        at += 20 if timed else 8
    one = unit.good(operations(1, 0x12, flags=0x80), data_in=65536)

    assert at == len(data)
    assert len(one) == 4 + 6 + (12 if one[1] & 0x80 else 0)


@clause("SPC-5 6.34.3")
def test_operations_one_by_one(unit: ConformanceUnit) -> None:
    """Each that is listed is supported when it is asked for, its usage map as long as its CDB and with its codes."""
    data = unit.good(operations(0), data_in=65536)
    for at in range(4, len(data), 8):
        opcode, action, has_action = data[at], int.from_bytes(data[at + 2 : at + 4], "big"), data[at + 5] & 1
        length = int.from_bytes(data[at + 6 : at + 8], "big")
        one = unit.good(operations(2 if has_action else 1, opcode, action), data_in=65536)
        assert one[1] & 7 == 3, hex(opcode)
        assert int.from_bytes(one[2:4], "big") == length == len(one) - 4
        assert one[4] == opcode
        if opcode < 0x7E or opcode >= 0x80:
            assert length == {0: 6, 1: 10, 2: 10, 4: 16, 5: 12}[opcode >> 5]
        if has_action and opcode != 0x7F:
            assert one[5] & 0x1F == action


@clause("SPC-5 6.34.3")
def test_operations_not_there(unit: ConformanceUnit) -> None:
    """What is not there is SUPPORT 001b, and is refused when it is sent."""
    assert unit.good(operations(1, 0xC5), data_in=64)[1] & 7 == 1
    unit.refused(bytes((0xC5, *bytes(9))), asc.INVALID_COMMAND_OPERATION_CODE)


@pytest.mark.parametrize(
    ("option", "opcode"), [(1, 0xA3), (2, 0x12), (4, 0x12), (7, 0x12)],
    ids=["1 with service actions", "2 without", "4", "7"],
)
@clause("SPC-5 6.34.1")
def test_operations_option_refused(unit: ConformanceUnit, option: int, opcode: int) -> None:
    """Reporting options that do not go with the command, or are reserved."""
    unit.refused(operations(option, opcode), asc.INVALID_FIELD_IN_CDB, data_in=64)


@clause("SPC-5 6.35")
def test_task_management_functions(unit: ConformanceUnit) -> None:
    """4 bytes, with REPD 16; LOGICAL UNIT RESET and ABORT TASK are among them."""
    plain = unit.good(bytes((0xA3, 0x0D, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0)), data_in=16)
    more = unit.good(bytes((0xA3, 0x0D, 0x80, 0, 0, 0, 0, 0, 0, 16, 0, 0)), data_in=16)

    assert (len(plain), len(more), more[3]) == (4, 16, 0x0C)
    assert plain[0] & 0x88 == 0x88


# --- unit attentions and REQUEST SENSE ---------------------------------------------------------------------------


@clause("SPC-5 6.39")
def test_request_sense_nothing(unit: ConformanceUnit) -> None:
    """With nothing to tell it is GOOD, NO SENSE, in the format asked for; the allocation length cuts it."""
    fixed = unit.good(REQUEST_SENSE, data_in=252)
    described = unit.good(bytes((0x03, 1, 0, 0, 252, 0)), data_in=252)

    assert fixed[0] & 0x7F in (0x70, 0x72)
    assert described[0] & 0x7F == 0x72
    assert described[1] & 0xF in (0, 2)
    assert unit.good(bytes((0x03, 0, 0, 0, 4, 0)), data_in=252) == fixed[:4]
    assert unit.good(bytes((0x03, 0, 0, 0, 0, 0)), data_in=252) == b""


@clause("SPC-5 6.39, SAM-6 5.14")
def test_request_sense_takes_attention(unit: ConformanceUnit) -> None:
    """It tells a pending unit attention with status GOOD, and takes it."""
    unit.reset()
    data = unit.good(bytes((0x03, 1, 0, 0, 252, 0)), data_in=252)

    assert (data[1] & 0xF, data[2]) == (SenseKey.UNIT_ATTENTION, 0x29)
    assert unit.attentions() == []


@clause("SAM-6 5.14")
def test_attention_of_each_nexus(unit: ConformanceUnit) -> None:
    """A reset is told to every nexus, once, by the first command that is not exempt."""
    other = unit.another()
    unit.reset()
    for each in (unit, other):
        assert [code.asc for code in each.attentions()] == [0x29]
        assert each.attentions() == []


@pytest.mark.parametrize(
    ("cdb", "room"), [(INQUIRY, 255), (report_luns(), 4096)], ids=["INQUIRY", "REPORT LUNS"]
)
@clause("SAM-6 5.14")
def test_attention_exempt(unit: ConformanceUnit, cdb: bytes, room: int) -> None:
    """INQUIRY and REPORT LUNS are done whatever is pending, and leave it."""
    unit.reset()
    unit.good(cdb, data_in=room)

    assert [code.asc for code in unit.attentions()] == [0x29]


@clause("SAM-6 5.14")
def test_attention_before_reservation(unit: ConformanceUnit) -> None:
    """A command that is refused with the unit attention was not done: the next one is."""
    unit.reset()
    answer = unit.execute(bytes((0x5E, 0, 0, 0, 0, 0, 0, 0, 8, 0)), b"", 8)

    assert answer.code is not None
    assert answer.code.key == SenseKey.UNIT_ATTENTION
    assert answer.data == b""
    assert len(unit.good(bytes((0x5E, 0, 0, 0, 0, 0, 0, 0, 8, 0)), data_in=8)) == 8


# --- CDBs --------------------------------------------------------------------------------------------------------


@clause("SAM-6 5.2")
def test_control_naca(unit: ConformanceUnit) -> None:
    """NACA=1 is an invalid field where the standard data says that NORMACA is zero."""
    if unit.good(INQUIRY, data_in=255)[3] & 0x20:
        return
    unit.refused(bytes((0, 0, 0, 0, 0, 4)), asc.INVALID_FIELD_IN_CDB)


@pytest.mark.parametrize("opcode", [0x1F, 0xC0, 0xFE])
@clause("SPC-5 4.2.1")
def test_operation_code_unknown(unit: ConformanceUnit, opcode: int) -> None:
    """Operation codes of no command."""
    unit.refused(bytes((opcode, *bytes(15))), asc.INVALID_COMMAND_OPERATION_CODE)


@pytest.mark.parametrize("opcode", [0xA3, 0xA4], ids=["MAINTENANCE IN", "MAINTENANCE OUT"])
@clause("SPC-5 4.2.5.2")
def test_service_action_unknown(unit: ConformanceUnit, opcode: int) -> None:
    """A service action that is not there is an invalid field, the pointer at it."""
    sense = unit.refused(bytes((opcode, 0x1E, *bytes(10))), asc.INVALID_FIELD_IN_CDB)

    assert sense.specific is not None


@clause("SPC-5 6.36")
def test_target_port_groups(unit: ConformanceUnit) -> None:
    """Where TPGS says so, groups with a state and ports, whose lengths add up; exactly one has the port asked by."""
    if not unit.good(INQUIRY, data_in=255)[5] >> 4 & 3:
        return
    data = unit.good(bytes((0xA3, 0x0A, 0, 0, 0, 0, 0, 0, 16, 0, 0, 0)), data_in=4096)
    assert int.from_bytes(data[:4], "big") == len(data) - 4
    at, groups = 4, []
    while at < len(data):
        groups.append(int.from_bytes(data[at + 2 : at + 4], "big"))
        assert data[at] & 0xF in (0, 1, 2, 3, 4, 0xE, 0xF)
        at += 8 + 4 * data[at + 7]
    found = designators(unit.good(inquiry_page(0x83), data_in=65535))

    assert at == len(data)
    assert sum(int.from_bytes(each[3], "big") in groups for each in found if each[2] == 5) == 1

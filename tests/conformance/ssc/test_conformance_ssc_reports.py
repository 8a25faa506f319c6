"""What a drive tells of itself: INQUIRY and its pages, limits, densities, operations, log pages, attributes."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from conformance import clause
from ssc_tape import (
    END,
    TEST_UNIT_READY,
    Tape,
    block,
    inquiry,
    load,
    log_sense,
    prevent,
    read,
    read_attribute,
    report_density,
    rewind,
    space,
    write,
)

from scsiemu import asc
from scsiemu.sense import FieldPointer, SenseKey

READ_BLOCK_LIMITS = bytes((0x05, 0, 0, 0, 0, 0))
MAXIMUM_IDENTIFIER = bytes((0x05, 1, 0, 0, 0, 0))


def vpd(tape: Tape, page: int) -> bytes:
    """A VPD page that the list names; else the case ends."""
    if page not in tape.unit.good(inquiry(0), data_in=0xFFFF)[4:]:
        tape.unit.not_supported(f"no VPD page {page:02X}h")
    return tape.unit.good(inquiry(page), data_in=0xFFFF)


@clause("SPC-5 INQUIRY")
def test_inquiry_type(tape: Tape) -> None:
    """Peripheral device type 01h, removable medium."""
    data = tape.unit.good(inquiry(length=96), data_in=96)

    assert data[0] == 0x01
    assert data[1] & 0x80


@clause("SPC-5 Supported VPD Pages")
def test_vpd_list(tape: Tape) -> None:
    """The list is ascending, and has 00h and 83h."""
    codes = list(tape.unit.good(inquiry(0), data_in=0xFFFF)[4:])

    assert codes == sorted(set(codes))
    assert {0x00, 0x83} <= set(codes)


@clause("SPC-5 Supported VPD Pages")
def test_vpd_each(tape: Tape) -> None:
    """Every page of the list has its own code, the device type and a page length that counts."""
    for code in tape.unit.good(inquiry(0), data_in=0xFFFF)[4:]:
        data = tape.unit.good(inquiry(code), data_in=0xFFFF)
        assert (data[0], data[1]) == (0x01, code)
        assert int.from_bytes(data[2:4], "big") == len(data) - 4


@clause("SPC-5 INQUIRY")
def test_vpd_unknown(tape: Tape) -> None:
    """A page that is not in the list is refused."""
    tape.unit.refused(inquiry(0x7F), asc.INVALID_FIELD_IN_CDB, data_in=255)


@clause("SSC-5 Sequential-access Device Capabilities VPD page")
def test_vpd_capabilities(tape: Tape) -> None:
    """Page B0h has the WORM bit; reserved bits are zero."""
    data = vpd(tape, 0xB0)

    assert len(data) >= 6
    assert not data[4] & 0xFC


@clause("SSC-5 Manufacturer-assigned Serial Number VPD page")
def test_vpd_manufacturer_serial(tape: Tape) -> None:
    """Page B1h is printable ASCII."""
    serial = vpd(tape, 0xB1)[4:]

    assert serial
    assert all(0x20 <= byte < 0x7F for byte in serial)


@clause("SSC-5 TapeAlert Supported Flags VPD page")
def test_vpd_tape_alert(tape: Tape) -> None:
    """Page B2h has 64 flags in 8 bytes, and some of them."""
    data = vpd(tape, 0xB2)

    assert len(data) == 12
    assert any(data[4:])


@clause("SSC-5 Logical Block Protection VPD page")
def test_vpd_protection(tape: Tape) -> None:
    """Page B5h has whole descriptors, with methods that are defined."""
    data = vpd(tape, 0xB5)[8:]
    methods = []
    while data:
        methods.append(data[1])
        data = data[1 + data[0] :]

    assert set(methods) <= {1, 2} | set(range(0xF0, 0x100))


@clause("SSC-5 READ BLOCK LIMITS")
def test_block_limits(tape: Tape) -> None:
    """Six bytes: the shortest block is not longer than the longest; reserved bits are zero."""
    data = tape.unit.good(READ_BLOCK_LIMITS, data_in=64)

    assert len(data) == 6
    assert not data[0] & 0xE0
    assert 0 < int.from_bytes(data[4:6], "big") <= int.from_bytes(data[1:4], "big") or data[1:4] == bytes(3)


@clause("SSC-5 READ BLOCK LIMITS")
def test_block_limits_hold(tape: Tape) -> None:
    """The shortest block can be written, and one that is longer than the longest cannot."""
    data = tape.unit.good(READ_BLOCK_LIMITS, data_in=6)
    shortest = int.from_bytes(data[4:6], "big")
    longest = int.from_bytes(data[1:4], "big")
    tape.write(block(0, shortest))
    if 0 < longest < 4 << 20:
        tape.unit.refused(write(longest + 1), asc.INVALID_FIELD_IN_CDB, bytes(longest + 1))

    assert tape.at() == 1


@clause("SSC-5 READ BLOCK LIMITS")
def test_block_limits_maximum_identifier(tape: Tape) -> None:
    """With MLOI: 20 bytes, the highest logical object identifier in the last eight."""
    answer = tape.unit.execute(MAXIMUM_IDENTIFIER, data_in=64)
    if not answer.good:
        tape.unit.not_supported("no MLOI")

    assert len(answer.data) == 20
    assert answer.data[:12] == bytes(12)
    assert int.from_bytes(answer.data[12:], "big")


@clause("SSC-5 READ BLOCK LIMITS")
def test_block_limits_unloaded(tape: Tape) -> None:
    """Limits can be asked for without a medium, and are the same."""
    before = tape.unit.good(READ_BLOCK_LIMITS, data_in=6)
    tape.unit.good(load(load=0))

    assert tape.unit.good(READ_BLOCK_LIMITS, data_in=6) == before


def densities(data: bytes, length: int = 52) -> Iterator[bytes]:
    """The descriptors of REPORT DENSITY SUPPORT."""
    for at in range(4, len(data), length):
        yield data[at : at + length]


@clause("SSC-5 REPORT DENSITY SUPPORT")
def test_density_length(tape: Tape) -> None:
    """AVAILABLE DENSITY SUPPORT LENGTH counts what follows it, in whole descriptors of 52 bytes."""
    data = tape.unit.good(report_density(), data_in=0xFFFF)

    assert int.from_bytes(data[:2], "big") == len(data) - 2
    assert len(data) > 4
    assert (len(data) - 4) % 52 == 0


@clause("SSC-5 REPORT DENSITY SUPPORT")
def test_density_ascending(tape: Tape) -> None:
    """Descriptors come in ascending order of PRIMARY DENSITY CODE."""
    codes = [each[0] for each in densities(tape.unit.good(report_density(), data_in=0xFFFF))]

    assert codes == sorted(codes)


@clause("SSC-5 REPORT DENSITY SUPPORT")
def test_density_default(tape: Tape) -> None:
    """Exactly one density is the default (DEFLT) of the drive."""
    found = [each[2] & 0x20 for each in densities(tape.unit.good(report_density(), data_in=0xFFFF))]

    assert sum(map(bool, found)) == 1


@clause("SSC-5 REPORT DENSITY SUPPORT")
def test_density_of_medium(tape: Tape) -> None:
    """With MEDIA: densities of the medium, that of the block descriptor among them."""
    current = tape.unit.good(bytes((0x1A, 0, 0, 0, 12, 0)), data_in=12)[4]
    codes = [each[0] for each in densities(tape.unit.good(report_density(media=1), data_in=0xFFFF))]

    assert current in codes


@clause("SSC-5 REPORT DENSITY SUPPORT")
def test_density_medium_types(tape: Tape) -> None:
    """With MEDIUM TYPE: descriptors of 56 bytes whose DESCRIPTOR LENGTH is 52."""
    data = tape.unit.good(report_density(medium_type=1), data_in=0xFFFF)

    assert int.from_bytes(data[:2], "big") == len(data) - 2
    assert (len(data) - 4) % 56 == 0
    assert all(each[2:4] == b"\0\x34" for each in densities(data, 56))


@clause("SSC-5 REPORT DENSITY SUPPORT")
def test_density_allocation(tape: Tape) -> None:
    """ALLOCATION LENGTH cuts the data, not the length field."""
    whole = tape.unit.good(report_density(), data_in=0xFFFF)

    assert tape.unit.good(report_density(length=10), data_in=10) == whole[:10]


@clause("SPC-5 REPORT SUPPORTED OPERATION CODES")
def test_operations_mandatory(tape: Tape) -> None:
    """The mandatory commands of SSC-5 are among the supported ones."""
    data = tape.unit.good(bytes((0xA3, 0x0C, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF, 0, 0)), data_in=0xFFFF)
    at, opcodes = 4, set()
    while at < len(data):
        opcodes.add(data[at])
        at += 20 if data[at + 5] & 2 else 8

    assert {0x00, 0x01, 0x03, 0x05, 0x08, 0x0A, 0x10, 0x11, 0x12, 0x15, 0x19, 0x1A, 0x1B, 0x34, 0xA0} <= opcodes


@clause("SPC-5 REPORT SUPPORTED OPERATION CODES")
def test_operations_usage_of_read(tape: Tape) -> None:
    """The usage data of READ(6): the opcode, SILI and FIXED, the whole TRANSFER LENGTH."""
    data = tape.unit.good(bytes((0xA3, 0x0C, 1, 0x08, 0, 0, 0, 0, 0, 64, 0, 0)), data_in=64)

    assert data[1] & 7 == 3
    assert data[4:9] == bytes((0x08, 0x03, 0xFF, 0xFF, 0xFF))


@clause("SPC-5 REPORT SUPPORTED OPERATION CODES")
def test_operations_reserved_bits(tape: Tape) -> None:
    """A bit that the usage data has not is refused: bit 7 of byte 1 of READ(6)."""
    sense = tape.unit.refused(bytes((0x08, 0x80, 0, 0, 1, 0)), asc.INVALID_FIELD_IN_CDB, data_in=1)

    assert sense.specific is None or (isinstance(sense.specific, FieldPointer) and sense.specific.byte == 1)


@clause("SPC-5 invalid operation code")
def test_operations_unknown(tape: Tape) -> None:
    """A command of disks is refused: INVALID COMMAND OPERATION CODE."""
    tape.unit.refused(bytes((0x28,)) + bytes(9), asc.INVALID_COMMAND_OPERATION_CODE, data_in=512)


# --- log pages ------------------------------------------------------------------------------------------------------


def log_page(tape: Tape, page: int) -> dict[int, bytes]:
    """The parameters of a log page that the list names; else the case ends."""
    if page not in tape.unit.good(log_sense(0), data_in=0xFFFF)[4:]:
        tape.unit.not_supported(f"no log page {page:02X}h")
    data = tape.unit.good(log_sense(page), data_in=0xFFFF)
    assert data[0] & 0x3F == page
    assert int.from_bytes(data[2:4], "big") == len(data) - 4
    at, found = 4, {}
    while at < len(data):
        code, length = int.from_bytes(data[at : at + 2], "big"), data[at + 3]
        found[code] = data[at + 4 : at + 4 + length]
        at += 4 + length
    assert at == len(data)
    return found


def counter(parameters: dict[int, bytes], code: int) -> int:
    """A parameter as a number."""
    return int.from_bytes(parameters[code], "big")


@clause("SPC-5 Supported Log Pages")
def test_log_list(tape: Tape) -> None:
    """The list is ascending and names itself."""
    codes = list(tape.unit.good(log_sense(0), data_in=0xFFFF)[4:])

    assert codes == sorted(set(codes))
    assert codes[0] == 0


@clause("SPC-5 LOG SENSE")
def test_log_each(tape: Tape) -> None:
    """Each page of the list has parameters in ascending order that fill its length."""
    for page in tape.unit.good(log_sense(0), data_in=0xFFFF)[4:]:
        if page:
            codes = list(log_page(tape, page))
            assert codes == sorted(codes)


@clause("SPC-5 LOG SENSE")
def test_log_unknown(tape: Tape) -> None:
    """A page that is not in the list is refused."""
    tape.unit.refused(log_sense(0x3E), asc.INVALID_FIELD_IN_CDB, data_in=255)


@clause("SSC-5 TapeAlert log page")
def test_log_tape_alert(tape: Tape) -> None:
    """64 parameters, one for each flag, of one byte."""
    parameters = log_page(tape, 0x2E)

    assert list(parameters) == list(range(1, 65))
    assert {len(each) for each in parameters.values()} == {1}


@clause("SSC-5 TapeAlert log page")
def test_log_tape_alert_prevented_unload(tape: Tape) -> None:
    """An unload while removal is prevented sets flag 10; it is told once."""
    log_page(tape, 0x2E)
    tape.unit.good(prevent(1))
    tape.unit.refused(load(load=0), asc.MEDIUM_REMOVAL_PREVENTED)
    tape.unit.good(prevent(0))

    assert counter(log_page(tape, 0x2E), 10) == 1
    assert counter(log_page(tape, 0x2E), 10) == 0


@clause("SSC-5 Sequential-access device log page")
def test_log_data_counters(tape: Tape) -> None:
    """Bytes received from and given to initiators are counted exactly."""
    before = log_page(tape, 0x0C)
    tape.write(block(0, 3000))
    tape.unit.good(rewind())
    tape.read(3000)
    after = log_page(tape, 0x0C)

    assert counter(after, 0) - counter(before, 0) == 3000
    assert counter(after, 3) - counter(before, 3) == 3000


@clause("SPC-5 Write Error Counters log page")
def test_log_write_errors(tape: Tape) -> None:
    """TOTAL BYTES PROCESSED grows with what is written; there is no uncorrected error."""
    before = log_page(tape, 0x02)
    tape.write(block(0, 5000))
    after = log_page(tape, 0x02)

    assert counter(after, 5) >= counter(before, 5) + 1
    assert counter(after, 6) == counter(before, 6)


@clause("SPC-5 Read Error Counters log page")
def test_log_read_errors(tape: Tape) -> None:
    """The same of what is read."""
    tape.lay(5000)
    before = log_page(tape, 0x03)
    tape.read(5000)
    after = log_page(tape, 0x03)

    assert counter(after, 5) >= counter(before, 5) + 1
    assert counter(after, 6) == counter(before, 6)


@clause("SSC-5 Device Statistics log page")
def test_log_device_loads(tape: Tape) -> None:
    """A load is counted."""
    before = counter(log_page(tape, 0x14), 0)
    tape.unit.good(load(load=0))
    tape.unit.good(load())
    tape.settle()
    tape.unit.attentions()

    assert counter(log_page(tape, 0x14), 0) == before + 1


@clause("SSC-5 Volume Statistics log page")
def test_log_volume_valid(tape: Tape) -> None:
    """With a volume the page is valid, without one it is not, or has no parameters."""
    assert counter(log_page(tape, 0x17), 0) == 1
    tape.unit.good(load(load=0))
    answer = tape.unit.execute(log_sense(0x17), data_in=0xFFFF)

    if answer.good and len(answer.data) > 4:
        assert answer.data[8] == 0


# --- medium auxiliary memory ----------------------------------------------------------------------------------------


def attributes(tape: Tape, first: int = 0) -> dict[int, tuple[int, bytes]]:
    """Attributes from an identifier on: format byte and value."""
    tape.need(read_attribute(0))
    data = tape.unit.good(read_attribute(0, first=first), data_in=0xFFFF)
    assert int.from_bytes(data[:4], "big") == len(data) - 4
    at, found = 4, {}
    while at < len(data):
        number, flags, length = struct.unpack_from(">HBH", data, at)
        found[number] = (flags, data[at + 5 : at + 5 + length])
        at += 5 + length
    assert at == len(data)
    return found


def write_attribute(tape: Tape, *entries: tuple[int, int, bytes]) -> tuple[bytes, bytes]:
    """CDB and list of WRITE ATTRIBUTE."""
    tape.need(bytes((0x8D,)))
    body = b"".join(struct.pack(">HBH", number, flags, len(value)) + value for number, flags, value in entries)
    data = len(body).to_bytes(4, "big") + body
    return struct.pack(">BB8xIxx", 0x8D, 1, len(data)), data


@clause("SPC-5 READ ATTRIBUTE, ATTRIBUTE VALUES")
def test_attribute_values(tape: Tape) -> None:
    """Values come in ascending order; capacities of the partition are among them, read only, of 8 bytes."""
    found = attributes(tape)

    assert list(found) == sorted(found)
    for number in (0x0000, 0x0001):
        assert found[number][0] & 0x83 == 0x80
        assert len(found[number][1]) == 8


@clause("SPC-5 READ ATTRIBUTE, ATTRIBUTE LIST")
def test_attribute_list(tape: Tape) -> None:
    """The list names the attributes whose values there are."""
    found = attributes(tape)
    data = tape.unit.good(read_attribute(1), data_in=0xFFFF)

    assert [int.from_bytes(data[at : at + 2], "big") for at in range(4, len(data), 2)] == list(found)


@clause("SPC-5 READ ATTRIBUTE")
def test_attribute_first(tape: Tape) -> None:
    """Values begin with FIRST ATTRIBUTE IDENTIFIER."""
    found = attributes(tape)
    later = sorted(found)[2]

    assert list(attributes(tape, later)) == [number for number in found if number >= later]


@clause("SPC-5 READ ATTRIBUTE")
def test_attribute_first_missing(tape: Tape) -> None:
    """A first attribute that is not there is refused."""
    tape.need(read_attribute(0))

    tape.unit.refused(read_attribute(0, first=0xFFFF), asc.INVALID_FIELD_IN_CDB, data_in=64)


@clause("SPC-5 READ ATTRIBUTE, PARTITION LIST")
def test_attribute_partition_list(tape: Tape) -> None:
    """The partition list begins with partition 0 and counts the partitions."""
    tape.need(read_attribute(0))
    data = tape.unit.good(read_attribute(3), data_in=64)

    assert data == bytes((0, 2, 0, 1))


@clause("SPC-5 READ ATTRIBUTE")
def test_attribute_partition_missing(tape: Tape) -> None:
    """A partition that is not there is refused."""
    tape.need(read_attribute(0))

    tape.unit.refused(read_attribute(0, partition=63), asc.INVALID_FIELD_IN_CDB, data_in=64)


@clause("SPC-5 WRITE ATTRIBUTE")
def test_attribute_write(tape: Tape) -> None:
    """A host attribute comes back as it was written, also after the volume was unloaded."""
    value = b"conformance".ljust(160)
    cdb, data = write_attribute(tape, (0x0803, 2, value))
    tape.unit.good(cdb, data)
    tape.unit.good(load(load=0))
    tape.unit.good(load())
    tape.settle()
    tape.unit.attentions()

    assert attributes(tape)[0x0803] == (2, value)
    cdb, data = write_attribute(tape, (0x0803, 2, b""))
    tape.unit.good(cdb, data)
    assert 0x0803 not in attributes(tape)


@clause("SPC-5 WRITE ATTRIBUTE")
def test_attribute_write_read_only(tape: Tape) -> None:
    """An attribute of the medium cannot be written: INVALID FIELD IN PARAMETER LIST."""
    cdb, data = write_attribute(tape, (0x0000, 0, bytes(8)))

    tape.unit.refused(cdb, asc.INVALID_FIELD_IN_PARAMETER_LIST, data)


@clause("SPC-5 WRITE ATTRIBUTE")
def test_attribute_write_order(tape: Tape) -> None:
    """Attributes that are not in ascending order are refused, and none of them is written."""
    cdb, data = write_attribute(tape, (0x0803, 2, b"a".ljust(160)), (0x0801, 1, b"b".ljust(32)))
    tape.unit.refused(cdb, asc.INVALID_FIELD_IN_PARAMETER_LIST, data)

    assert 0x0801 not in attributes(tape)


@clause("SPC-5 READ ATTRIBUTE")
def test_attribute_remaining_capacity(tape: Tape) -> None:
    """REMAINING CAPACITY is at most MAXIMUM CAPACITY, and shrinks with what is written."""
    found = attributes(tape)
    before = int.from_bytes(found[0x0000][1], "big")
    for number in range(8):
        tape.write(block(number, 256 << 10))
    after = int.from_bytes(attributes(tape)[0x0000][1], "big")

    assert before <= int.from_bytes(found[0x0001][1], "big")
    assert after <= before


@clause("SPC-5 READ MEDIA SERIAL NUMBER")
def test_media_serial_number(tape: Tape) -> None:
    """The serial number's length is a multiple of four, and counts."""
    cdb = struct.pack(">BB4xIxx", 0xAB, 0x01, 0xFF)
    answer = tape.unit.execute(cdb, data_in=0xFF)
    if not answer.good:
        tape.unit.not_supported("no READ MEDIA SERIAL NUMBER")

    assert int.from_bytes(answer.data[:4], "big") == len(answer.data) - 4
    assert len(answer.data) % 4 == 0


@clause("SPC-5 REQUEST SENSE")
def test_request_sense_nothing(tape: Tape) -> None:
    """With nothing to tell: NO SENSE, and neither FILEMARK, EOM nor ILI, whatever the last command met."""
    tape.lay(None)
    tape.stopped(read(10), asc.FILEMARK_DETECTED, data_in=10, bits="F")
    data = tape.unit.good(bytes((0x03, 0, 0, 0, 18, 0)), data_in=18)

    assert data[2] == SenseKey.NO_SENSE
    assert data[12:14] == bytes(2)


@clause("SSC-5 4.2, position after commands that do not move")
def test_reports_do_not_move(tape: Tape) -> None:
    """No report moves the tape."""
    tape.lay(10, 10)
    tape.read(10)
    for cdb, length in (
        (TEST_UNIT_READY, 0), (inquiry(), 0xFFFF), (READ_BLOCK_LIMITS, 6), (report_density(), 0xFFFF),
        (log_sense(0), 0xFFFF), (bytes((0x1A, 0, 0x3F, 0, 255, 0)), 255),
    ):
        tape.unit.good(cdb, data_in=length)

    assert tape.read(10) == block(1, 10)
    tape.unit.good(space(END))

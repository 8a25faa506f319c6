"""READ ELEMENT STATUS, INITIALIZE ELEMENT STATUS, REPORT ELEMENT INFORMATION."""

from __future__ import annotations

import struct

from conformance import ConformanceUnit, clause
from smc_library import (
    ALL,
    DRIVE,
    PORT,
    SLOT,
    TRANSPORT,
    Library,
    elements,
    initialize,
    initialize_range,
    pages,
    read_status,
    report_information,
)

from scsiemu import asc
from scsiemu.sense import FieldPointer


@clause("SMC-3 6.10.2")
def test_status_header_first_address(library: Library) -> None:
    """FIRST ELEMENT ADDRESS REPORTED is the smallest address that meets the CDB."""
    data = library.status(SLOT)

    assert int.from_bytes(data[:2], "big") == library.ranges[SLOT][0]


@clause("SMC-3 6.10.2")
def test_status_header_number(library: Library) -> None:
    """NUMBER OF ELEMENTS AVAILABLE counts the elements of the type."""
    for kind in (TRANSPORT, SLOT, PORT, DRIVE):
        data = library.status(kind)
        assert int.from_bytes(data[2:4], "big") == library.ranges[kind][1]


@clause("SMC-3 6.10.2")
def test_status_header_byte_count(library: Library) -> None:
    """BYTE COUNT OF REPORT AVAILABLE counts what follows the header."""
    for kind in range(5):
        data = library.status(kind)
        assert int.from_bytes(data[5:8], "big") == len(data) - 8


@clause("SMC-3 6.10.2")
def test_status_header_alone(library: Library) -> None:
    """An ALLOCATION LENGTH of 8 brings the header alone, with the counts of the whole report."""
    whole = library.status(ALL, voltag=1)

    assert library.status(ALL, voltag=1, allocation=8) == whole[:8]


@clause("SMC-3 6.10.1")
def test_status_whole_descriptors(library: Library) -> None:
    """Only descriptors that fit whole are transferred."""
    whole = library.status(SLOT, voltag=1)
    (page,) = pages(whole)
    first = 16 + page.descriptor_length

    assert library.status(SLOT, voltag=1, allocation=first) == whole[:first]
    assert library.status(SLOT, voltag=1, allocation=first + page.descriptor_length - 1) == whole[:first]


@clause("SMC-3 6.10.1")
def test_status_allocation_zero(library: Library) -> None:
    """ALLOCATION LENGTH 0 is no error."""
    assert library.status(ALL, allocation=0) == b""


@clause("SMC-3 6.10.3")
def test_status_page_counts(library: Library) -> None:
    """BYTE COUNT OF DESCRIPTOR DATA AVAILABLE is whole descriptors, and does not depend on ALLOCATION LENGTH."""
    whole = library.status(SLOT)
    cut = library.status(SLOT, allocation=16)

    (page,) = pages(whole)
    assert page.byte_count == page.descriptor_length * library.ranges[SLOT][1]
    assert cut == whole[:16]


@clause("SMC-3 6.10.3")
def test_status_page_per_type(library: Library) -> None:
    """With element type 0 there are elements of every type, each in a page of its type."""
    kinds = {page.kind for page in pages(library.status())}

    assert kinds == {kind for kind, (_, count) in library.ranges.items() if count}


@clause("SMC-3 6.10.3")
def test_status_page_without_tags(library: Library) -> None:
    """Without VOLTAG neither PVOLTAG nor AVOLTAG is set, and descriptors have 16 bytes."""
    (page,) = pages(library.status(SLOT))

    assert page.flags & 0xC0 == 0
    assert page.descriptor_length == 16


@clause("SMC-3 6.10.3")
def test_status_page_with_tags(library: Library) -> None:
    """With VOLTAG descriptors are longer by the volume tag information, 36 bytes each."""
    (page,) = pages(library.status(SLOT, voltag=1))
    tags = (page.flags >> 7 & 1) + (page.flags >> 6 & 1)

    assert tags
    assert page.descriptor_length == 16 + 36 * tags


@clause("SMC-3 6.10.1")
def test_status_starting_address(library: Library) -> None:
    """No element below STARTING ELEMENT ADDRESS is reported."""
    first, count = library.ranges[SLOT]
    found = library.elements(SLOT, start=first + 2)

    assert [element.address for element in found] == list(range(first + 2, first + count))


@clause("SMC-3 6.10.1")
def test_status_starting_address_of_other_type(library: Library) -> None:
    """STARTING ELEMENT ADDRESS is a bound, whatever type has it."""
    start = max(first for first, count in library.ranges.values() if count)
    found = library.elements(ALL, start=start)

    assert all(element.address >= start for element in found)
    assert found


@clause("SMC-3 6.10.1")
def test_status_number_of_elements(library: Library) -> None:
    """NUMBER OF ELEMENTS is the most descriptors that are reported."""
    found = library.elements(SLOT, count=2)

    assert [element.address for element in found] == [library.ranges[SLOT][0], library.ranges[SLOT][0] + 1]


@clause("SMC-3 6.10.1")
def test_status_number_of_elements_over_types(library: Library) -> None:
    """NUMBER OF ELEMENTS counts over all types together."""
    assert len(library.elements(ALL, count=3)) == 3


@clause("SMC-3 6.10.1")
def test_status_ascending(library: Library) -> None:
    """Elements of a type are reported in ascending order of their addresses, each once."""
    for kind in (SLOT, PORT, DRIVE):
        addresses = [element.address for element in library.elements(kind)]
        assert addresses == sorted(set(addresses))


@clause("SMC-3 6.10.1")
def test_status_reserved_type(unit: ConformanceUnit) -> None:
    """An element type that is reserved is an invalid field, and the pointer is at it."""
    sense = unit.refused(read_status(5), asc.INVALID_FIELD_IN_CDB, data_in=255)

    assert sense.specific in (None, FieldPointer(1, 3), FieldPointer(1, None))


@clause("SMC-3 6.10.1")
def test_status_curdata(library: Library) -> None:
    """With CURDATA the same is reported."""
    assert library.status(SLOT, curdata=1) == library.status(SLOT)


@clause("SMC-3 6.10.6")
def test_status_full_slots(library: Library) -> None:
    """A full storage element has FULL, ACCESS and its volume tag; an empty one has no volume tag."""
    full = library.element(library.full[0], voltag=1)
    empty = library.element(library.empty[0], voltag=1)

    assert full.flags & 0x09 == 0x09
    assert full.tag
    assert not empty.flags & 0x01
    assert not empty.tag


@clause("SMC-3 4.5")
def test_status_tags_differ(library: Library) -> None:
    """No two volumes have the same volume tag."""
    tags = [element.tag for element in library.elements(ALL, voltag=1) if element.full]

    assert len(set(tags)) == len(tags)


@clause("SMC-3 6.10.4")
def test_status_tag_padding(library: Library) -> None:
    """The volume identifier is ASCII, padded with blanks, and two reserved bytes follow."""
    primary = library.element(library.full[0], voltag=1).primary

    assert all(0x20 <= code <= 0x7E for code in primary[:32])
    assert primary[32:34] == bytes(2)


@clause("SMC-3 6.10.5")
def test_status_transport_empty(library: Library) -> None:
    """A medium transport element holds nothing between commands."""
    assert not any(element.full for element in library.elements(TRANSPORT))


@clause("SMC-3 6.10.7")
def test_status_import_export_enabled(library: Library) -> None:
    """An import/export element says what it is for: INENAB or EXENAB."""
    element = library.element(library.address(PORT))

    assert element.flags & 0x30


@clause("SMC-3 6.10.8")
def test_status_drive_identifier(library: Library) -> None:
    """With DVCID a data transfer element has an identifier, with its code set and type."""
    element = library.element(library.address(DRIVE), dvcid=1)

    assert element.identifier
    assert element.code_set in (1, 2, 3)


@clause("SMC-3 6.10.8")
def test_status_drive_identifier_is_of_a_unit(library: Library) -> None:
    """The identifier is one of the designators in VPD page 83h of the drive."""
    drive = library.drive_unit(library.address(DRIVE))

    assert drive.good(bytes((0x12, 0, 0, 0, 0xFF, 0)), data_in=255)[0] & 0x1F != 0x08


@clause("SMC-3 6.10.8")
def test_status_no_identifier_without_dvcid(library: Library) -> None:
    """Without DVCID there is no identifier."""
    element = library.element(library.address(DRIVE))

    assert not element.identifier


@clause("SMC-3 6.10.8")
def test_status_drive_identifiers_differ(library: Library) -> None:
    """Each drive has an identifier of its own."""
    found = [element.identifier for element in library.elements(DRIVE, dvcid=1)]

    assert len(set(found)) == len(found)


@clause("SMC-3 6.10.8")
def test_status_dvcid_leaves_slots(library: Library) -> None:
    """DVCID adds nothing to storage elements."""
    assert library.status(SLOT, dvcid=1) == library.status(SLOT)


@clause("SMC-3 6.2")
def test_initialize_keeps_inventory(library: Library) -> None:
    """INITIALIZE ELEMENT STATUS looks at the elements and moves nothing."""
    before = library.status(ALL, voltag=1)
    library.unit.good(initialize())

    assert library.status(ALL, voltag=1) == before


@clause("SMC-3 6.3")
def test_initialize_range_keeps_inventory(library: Library) -> None:
    """INITIALIZE ELEMENT STATUS WITH RANGE of two storage elements moves nothing."""
    before = library.status(ALL, voltag=1)
    library.unit.good(initialize_range(library.ranges[SLOT][0], 2))

    assert library.status(ALL, voltag=1) == before


@clause("SMC-3 6.3")
def test_initialize_range_zero_elements(library: Library) -> None:
    """A range of no elements is no error."""
    library.unit.good(initialize_range(library.ranges[SLOT][0], 0))


@clause("SMC-3 6.3")
def test_initialize_range_bad_address(library: Library) -> None:
    """With RANGE the first element has to be there."""
    library.unit.refused(initialize_range(library.nowhere, 1), asc.INVALID_ELEMENT_ADDRESS)


@clause("SMC-3 6.3")
def test_initialize_range_unused_address(library: Library) -> None:
    """Without RANGE the address is not looked at."""
    library.unit.good(initialize_range(library.nowhere, 1, use_range=0))


@clause("SMC-3 6.3")
def test_initialize_fast(library: Library) -> None:
    """FAST is taken."""
    library.unit.good(initialize_range(library.ranges[SLOT][0], 1, fast=1))


@clause("SMC-3 6.12.2")
def test_information_supported_pages(library: Library) -> None:
    """Page 00h lists itself for each element type, in ascending order of types."""
    data = library.unit.good(report_information(0), data_in=4096)
    kinds = []
    at = 8
    while at < len(data):
        kind, length = struct.unpack_from(">BxH", data, at)
        kinds.append(kind)
        assert data[at + 4] == 0
        at += 4 + length

    assert data[0] == 0
    assert int.from_bytes(data[4:8], "big") == len(data) - 8
    assert kinds == sorted(kind for kind, (_, count) in library.ranges.items() if count)


@clause("SMC-3 6.12.3")
def test_information_static_covers_all(library: Library) -> None:
    """Static information names every element once."""
    data = library.unit.good(report_information(2), data_in=65536)
    size = int.from_bytes(data[2:4], "big")
    found = []
    for at in range(8, len(data), size):
        first, count, kind = struct.unpack_from(">IIB", data, at)
        found += [(kind & 0xF, first + number) for number in range(count)]

    wanted = [(kind, first + number) for kind, (first, count) in library.ranges.items() for number in range(count)]
    assert size % 4 == 0
    assert sorted(found) == sorted(wanted)


@clause("SMC-3 6.12.4")
def test_information_state_agrees_with_status(library: Library) -> None:
    """VOLUME PRESENT says the same as FULL of READ ELEMENT STATUS."""
    data = library.unit.good(report_information(3), data_in=1 << 20)
    size = int.from_bytes(data[2:4], "big")
    found = {int.from_bytes(data[at : at + 4], "big"): data[at + 5] >> 6 for at in range(8, len(data), size)}

    assert found == {element.address: 1 if element.full else 2 for element in library.elements()}


@clause("SMC-3 6.12.1")
def test_information_number_of_elements(library: Library) -> None:
    """With NEV the number of elements is obeyed."""
    data = library.unit.good(report_information(3, SLOT, count=2), data_in=4096)

    assert len(data) == 8 + 2 * int.from_bytes(data[2:4], "big")


@clause("SMC-3 6.12.1")
def test_information_truncated(library: Library) -> None:
    """ALLOCATION LENGTH cuts the page and changes nothing in it."""
    whole = library.unit.good(report_information(3), data_in=1 << 20)

    assert library.unit.good(report_information(3, allocation=11), data_in=4096) == whole[:11]


@clause("SMC-3 6.12.1")
def test_information_unknown_page(library: Library) -> None:
    """A page that there is not is an invalid field."""
    library.unit.refused(report_information(0x55), asc.INVALID_FIELD_IN_CDB, data_in=255)


@clause("SMC-3 6.10.1")
def test_status_reserved_bits(unit: ConformanceUnit) -> None:
    """A reserved bit that is one is an invalid field."""
    cdb = bytearray(read_status(SLOT))
    cdb[10] = 1
    unit.refused(bytes(cdb), asc.INVALID_FIELD_IN_CDB, data_in=255)


@clause("SMC-3 6.10.2")
def test_status_beyond_the_last(library: Library) -> None:
    """Where no element is left there is a header that counts none."""
    first, count = library.ranges[SLOT]
    data = library.status(SLOT, start=first + count)

    assert elements(data) == []
    assert data[2:] == bytes(6)

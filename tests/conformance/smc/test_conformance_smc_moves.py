"""MOVE MEDIUM, EXCHANGE MEDIUM, POSITION TO ELEMENT, import/export elements, prevention, reservations."""

from __future__ import annotations

from conformance import ConformanceUnit, clause
from smc_library import (
    DRIVE,
    PORT,
    TRANSPORT,
    Library,
    exchange,
    initialize,
    move,
    open_close,
    position,
    prevent,
    read_status,
    send_tag,
    settle,
    template,
)

from scsiemu import asc
from scsiemu.sense import FieldPointer

RESERVE = bytes((0x16, 0, 0, 0, 0, 0))
RELEASE = bytes((0x17, 0, 0, 0, 0, 0))
TEST_UNIT_READY = bytes(6)
UNLOAD = bytes((0x1B, 0, 0, 0, 0, 0))


@clause("SMC-3 6.6")
def test_move_slot_to_slot(library: Library) -> None:
    """The volume leaves the source and is in the destination, with its tag."""
    source, destination = library.full[0], library.empty[0]
    library.move(source, destination)

    assert not library.element(source).full
    assert library.element(destination, voltag=1).tag == library.tags[source]
    library.move(destination, source)


@clause("SMC-3 6.6")
def test_move_leaves_others(library: Library) -> None:
    """A movement changes the two elements that it names and no other."""
    before = {element.address: element for element in library.elements(voltag=1)}
    library.move(library.full[0], library.empty[0])
    after = {element.address: element for element in library.elements(voltag=1)}

    changed = {address for address, element in after.items() if element != before[address]}
    assert changed == {library.full[0], library.empty[0]}
    library.move(library.empty[0], library.full[0])


@clause("SMC-3 6.6")
def test_move_source_empty(library: Library) -> None:
    """An empty source is MEDIUM SOURCE ELEMENT EMPTY."""
    library.unit.refused(move(library.empty[0], library.empty[1]), asc.MEDIUM_SOURCE_ELEMENT_EMPTY)


@clause("SMC-3 6.6")
def test_move_destination_full(library: Library) -> None:
    """A full destination is MEDIUM DESTINATION ELEMENT FULL, and nothing moves."""
    before = library.status(voltag=1)
    library.unit.refused(move(library.full[0], library.full[1]), asc.MEDIUM_DESTINATION_ELEMENT_FULL)

    assert library.status(voltag=1) == before


@clause("SMC-3 6.6")
def test_move_source_nowhere(library: Library) -> None:
    """A source address without an element is INVALID ELEMENT ADDRESS."""
    sense = library.unit.refused(move(library.nowhere, library.empty[0]), asc.INVALID_ELEMENT_ADDRESS)

    assert sense.specific in (None, FieldPointer(4))


@clause("SMC-3 6.6")
def test_move_destination_nowhere(library: Library) -> None:
    """A destination address without an element is INVALID ELEMENT ADDRESS, and nothing moves."""
    sense = library.unit.refused(move(library.full[0], library.nowhere), asc.INVALID_ELEMENT_ADDRESS)

    assert sense.specific in (None, FieldPointer(6))
    assert library.element(library.full[0]).full


@clause("SMC-3 6.6")
def test_move_transport_nowhere(library: Library) -> None:
    """The medium transport element has to be one."""
    cdb = move(library.full[0], library.empty[0], transport=library.nowhere)

    library.unit.refused(cdb, asc.INVALID_ELEMENT_ADDRESS)


@clause("SMC-3 6.6")
def test_move_transport_by_address(library: Library) -> None:
    """A medium transport element may be named."""
    transport = library.address(TRANSPORT)
    library.unit.good(move(library.full[0], library.empty[0], transport=transport))

    library.move(library.empty[0], library.full[0])


@clause("SMC-3 6.6")
def test_move_invert_without_rotation(library: Library) -> None:
    """INVERT is refused where no medium transport element rotates."""
    library.unit.refused(move(library.full[0], library.empty[0], invert=1), asc.INVALID_FIELD_IN_CDB)


@clause("SMC-3 6.10.6")
def test_move_source_storage_address(library: Library) -> None:
    """SVALID and SOURCE STORAGE ELEMENT ADDRESS tell where the volume came from."""
    library.move(library.full[0], library.empty[0])

    assert library.element(library.empty[0]).source == library.full[0]
    library.move(library.empty[0], library.full[0])


@clause("SMC-3 6.6")
def test_move_reserved_bits(library: Library) -> None:
    """A reserved bit that is one is an invalid field."""
    cdb = bytearray(move(library.full[0], library.empty[0]))
    cdb[8] = 1
    library.unit.refused(bytes(cdb), asc.INVALID_FIELD_IN_CDB)


@clause("SMC-3 6.6")
def test_move_to_import_export(library: Library) -> None:
    """A volume that a medium transport element brought to an import/export element has IMPEXP zero."""
    port = library.address(PORT)
    library.move(library.full[0], port)
    element = library.element(port)

    assert element.full
    assert not element.flags & 0x02
    assert element.source == library.full[0]


@clause("SMC-3 6.6")
def test_move_loads_drive(library: Library) -> None:
    """A volume in a data transfer element makes the drive ready, which tells of it by a unit attention."""
    address = library.address(DRIVE)
    drive = library.drive_unit(address)
    other = drive.another()
    assert drive.execute(TEST_UNIT_READY).code == asc.MEDIUM_NOT_PRESENT
    library.load(library.full[0], drive, address)

    assert asc.NOT_READY_TO_READY_CHANGE_MEDIUM_MAY_HAVE_CHANGED in settle(other)


@clause("SMC-3 6.10.8")
def test_move_to_drive_keeps_source(library: Library) -> None:
    """The descriptor of a loaded drive has the volume tag, and the storage element that it came from."""
    address = library.address(DRIVE)
    library.move(library.full[1], address)
    element = library.element(address, voltag=1)

    assert element.tag == library.tags[library.full[1]]
    assert element.source == library.full[1]


@clause("SMC-3 6.6")
def test_move_from_drive_prevented(library: Library) -> None:
    """A drive whose medium removal is prevented keeps it."""
    address = library.address(DRIVE)
    drive = library.drive_unit(address)
    library.load(library.full[0], drive, address)
    drive.good(prevent(1))

    library.unit.refused(move(address, library.full[0]), asc.MEDIUM_REMOVAL_PREVENTED)
    drive.good(prevent(0))


@clause("SMC-3 6.6")
def test_move_from_unloaded_drive(library: Library) -> None:
    """After LOAD UNLOAD the volume can be taken, and the drive has none."""
    address = library.address(DRIVE)
    drive = library.drive_unit(address)
    library.load(library.full[0], drive, address)
    drive.good(UNLOAD)
    library.move(address, library.full[0])

    assert drive.execute(TEST_UNIT_READY).code == asc.MEDIUM_NOT_PRESENT


@clause("SMC-3 6.6")
def test_move_to_full_drive(library: Library) -> None:
    """A drive takes one volume."""
    address = library.address(DRIVE)
    library.move(library.full[0], address)

    library.unit.refused(move(library.full[1], address), asc.MEDIUM_DESTINATION_ELEMENT_FULL)


@clause("SMC-3 6.1")
def test_exchange_swaps(library: Library) -> None:
    """With the source as second destination two volumes change places."""
    first, second = library.full[:2]
    library.unit.good(exchange(first, second, first))

    assert library.element(first, voltag=1).tag == library.tags[second]
    assert library.element(second, voltag=1).tag == library.tags[first]
    library.unit.good(exchange(first, second, first))


@clause("SMC-3 6.1")
def test_exchange_three_elements(library: Library) -> None:
    """The volume of the first destination goes to the second."""
    first, second = library.full[:2]
    free = library.empty[0]
    library.unit.good(exchange(first, second, free))

    assert not library.element(first).full
    assert library.element(second, voltag=1).tag == library.tags[first]
    assert library.element(free, voltag=1).tag == library.tags[second]
    library.move(second, first)
    library.move(free, second)


@clause("SMC-3 6.1")
def test_exchange_source_empty(library: Library) -> None:
    """The source has to be full."""
    library.unit.refused(
        exchange(library.empty[0], library.full[0], library.empty[1]), asc.MEDIUM_SOURCE_ELEMENT_EMPTY
    )


@clause("SMC-3 6.1")
def test_exchange_first_destination_empty(library: Library) -> None:
    """The first destination has to be full."""
    library.unit.refused(
        exchange(library.full[0], library.empty[0], library.empty[1]), asc.MEDIUM_SOURCE_ELEMENT_EMPTY
    )


@clause("SMC-3 6.1")
def test_exchange_second_destination_full(library: Library) -> None:
    """The second destination has to be empty, unless it is the source; nothing moves."""
    if len(library.full) < 3:
        library.unit.not_supported("three full storage elements are needed")
    before = library.status(voltag=1)
    library.unit.refused(exchange(*library.full[:3]), asc.MEDIUM_DESTINATION_ELEMENT_FULL)

    assert library.status(voltag=1) == before


@clause("SMC-3 6.1")
def test_exchange_nowhere(library: Library) -> None:
    """Each of the three addresses has to be that of an element."""
    full, other, free = library.full[0], library.full[1], library.empty[0]
    for addresses in ((library.nowhere, other, free), (full, library.nowhere, free), (full, other, library.nowhere)):
        library.unit.refused(exchange(*addresses), asc.INVALID_ELEMENT_ADDRESS)


@clause("SMC-3 6.1")
def test_exchange_invert(library: Library) -> None:
    """INV1 and INV2 are refused where nothing rotates."""
    for inverted in (1, 2, 3):
        cdb = exchange(library.full[0], library.full[1], library.full[0], inverted=inverted)
        library.unit.refused(cdb, asc.INVALID_FIELD_IN_CDB)


@clause("SMC-3 6.8")
def test_position_to_slot(library: Library) -> None:
    """POSITION TO ELEMENT moves no volume."""
    before = library.status(voltag=1)
    library.unit.good(position(library.full[0]))

    assert library.status(voltag=1) == before


@clause("SMC-3 6.8")
def test_position_to_drive(library: Library) -> None:
    """Every element that volumes are moved to can be gone to."""
    library.unit.good(position(library.address(DRIVE)))


@clause("SMC-3 6.8")
def test_position_nowhere(library: Library) -> None:
    """The destination has to be an element."""
    library.unit.refused(position(library.nowhere), asc.INVALID_ELEMENT_ADDRESS)


@clause("SMC-3 6.8")
def test_position_transport_nowhere(library: Library) -> None:
    """The medium transport element has to be one."""
    library.unit.refused(position(library.full[0], transport=library.nowhere), asc.INVALID_ELEMENT_ADDRESS)


@clause("SMC-3 6.7")
def test_import_export_opened(library: Library) -> None:
    """Behind an open import/export element nothing is reached, and its descriptor says so."""
    port = library.address(PORT)
    library.unit.good(open_close(port, 0))
    refused = library.unit.execute(move(library.full[0], port))
    opened = library.element(port)
    library.unit.good(open_close(port, 1))

    assert refused.code == asc.MEDIUM_MAGAZINE_NOT_ACCESSIBLE
    assert not opened.flags & 0x08
    library.unit.attentions()
    assert library.element(port).flags & 0x08


@clause("SMC-3 6.7")
def test_import_export_attention(library: Library) -> None:
    """Every nexus hears that an import/export element was accessed."""
    port = library.address(PORT)
    other = library.unit.another()
    library.unit.good(open_close(port, 0))
    library.unit.good(open_close(port, 1))

    assert asc.IMPORT_OR_EXPORT_ELEMENT_ACCESSED in other.attentions()
    library.unit.attentions()


@clause("SMC-3 6.7")
def test_import_export_of_a_slot(library: Library) -> None:
    """A storage element has no door."""
    library.address(PORT)
    library.unit.refused(open_close(library.full[0], 0), asc.INVALID_ELEMENT_ADDRESS)


@clause("SMC-3 6.7")
def test_import_export_action_reserved(library: Library) -> None:
    """An action code that is reserved is an invalid field."""
    library.unit.refused(open_close(library.address(PORT), 2), asc.INVALID_FIELD_IN_CDB)


@clause("SPC-5 6.16")
def test_prevent_keeps_door_shut(library: Library) -> None:
    """While a nexus prevents removal the door stays shut."""
    port = library.address(PORT)
    library.unit.good(prevent(1))

    library.unit.refused(open_close(port, 0), asc.MEDIUM_REMOVAL_PREVENTED)
    library.unit.good(prevent(0))


@clause("SPC-5 6.16")
def test_prevent_by_another_nexus(library: Library) -> None:
    """Prevention of one nexus holds for all, and only that nexus ends it."""
    port = library.address(PORT)
    other = library.unit.another()
    other.good(prevent(1))
    library.unit.good(prevent(0))

    library.unit.refused(open_close(port, 0), asc.MEDIUM_REMOVAL_PREVENTED)
    other.good(prevent(0))


@clause("SPC-5 6.16")
def test_prevent_lets_move(library: Library) -> None:
    """Prevention is about the operator's doors: volumes move inside."""
    library.unit.good(prevent(1))
    library.move(library.full[0], library.empty[0])
    library.move(library.empty[0], library.full[0])
    library.unit.good(prevent(0))


@clause("SMC-3 table 5")
def test_reservation_stops_moves(library: Library) -> None:
    """RESERVE of another nexus stops movements, inventories and changes of tags."""
    other = library.unit.another()
    other.good(RESERVE)
    library.unit.conflict(move(library.full[0], library.empty[0]))
    library.unit.conflict(exchange(library.full[0], library.full[1], library.full[0]))
    library.unit.conflict(position(library.full[0]))
    library.unit.conflict(initialize())
    library.unit.conflict(send_tag(5), template("*"))
    other.good(RELEASE)

    assert library.element(library.full[0]).full


@clause("SMC-3 table 5")
def test_reservation_lets_cached_status(library: Library) -> None:
    """READ ELEMENT STATUS with CURDATA is let through by a reservation."""
    other = library.unit.another()
    other.good(RESERVE)
    answer = library.unit.execute(read_status(curdata=1), data_in=1 << 16)
    other.good(RELEASE)

    assert answer.good


@clause("SAM-5 6.3.3")
def test_reset_keeps_inventory(library: Library) -> None:
    """A LOGICAL UNIT RESET moves nothing, and ends prevention."""
    before = library.status(voltag=1)
    library.unit.good(prevent(1))
    library.unit.reset()
    library.unit.attentions()

    assert library.status(voltag=1) == before
    port = library.address(PORT)
    library.unit.good(open_close(port, 0))
    library.unit.good(open_close(port, 1))
    library.unit.attentions()


@clause("SPC-5 6.7")
def test_inquiry_is_changer(unit: ConformanceUnit) -> None:
    """PERIPHERAL DEVICE TYPE 08h, and RMB is one."""
    data = unit.good(bytes((0x12, 0, 0, 0, 0xFF, 0)), data_in=255)

    assert data[0] == 0x08
    assert data[1] & 0x80

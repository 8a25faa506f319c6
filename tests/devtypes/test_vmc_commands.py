"""The commands of a media changer, on drives that only know whether a cartridge is in them."""

from __future__ import annotations

import struct

import pytest
from vmc_bench import DRIVE, PORT, SLOT, Library

from iohandlers._shelf import Shelf
from iohandlers.memory import open_store
from scsiemu import asc
from scsiemu.sam import Status
from scsiemu.sense import CheckCondition, FieldPointer, SenseCode
from scsiemu.testing.initiator import Initiator


@pytest.fixture
def library() -> Library:
    """Four cartridges in six slots, two ports, two drives, all empty."""
    return Library()


# --- movements -----------------------------------------------------------------------------------------------------


def test_move_medium_loads_drive(library: Library) -> None:
    """A volume leaves its slot and is in the drive; other nexuses of the drive hear of it, the mover does not."""
    other = Initiator(library.target, "iqn.2026-11.org.example:other")

    assert library.move(SLOT, DRIVE).good
    assert library.places == {DRIVE: "A00001L8", SLOT + 1: "A00002L8", SLOT + 2: "A00003L8", SLOT + 3: "A00004L8"}
    assert library.drive(1).medium == "A00001L8"
    assert other.command("TEST UNIT READY", lun=1).code == asc.NOT_READY_TO_READY_CHANGE_MEDIUM_MAY_HAVE_CHANGED
    assert library.initiator.command("TEST UNIT READY", lun=1).good


def test_move_medium_remembers_source(library: Library) -> None:
    """SOURCE STORAGE ELEMENT ADDRESS is the last storage element that the volume was moved from."""
    library.move(SLOT, DRIVE)
    library.move(DRIVE, PORT)

    volume = library.changer.inventory.get(PORT)
    assert volume is not None
    assert (volume.source, volume.by_operator) == (SLOT, False)


@pytest.mark.parametrize(("source", "destination", "code", "byte"), [
    (SLOT + 5, DRIVE, asc.MEDIUM_SOURCE_ELEMENT_EMPTY, None),
    (SLOT, SLOT + 1, asc.MEDIUM_DESTINATION_ELEMENT_FULL, None),
    (0x0FFF, DRIVE, asc.INVALID_ELEMENT_ADDRESS, 4),
    (SLOT, 0x0102, asc.INVALID_ELEMENT_ADDRESS, 6),
    (SLOT, 0x0001, asc.INVALID_ELEMENT_ADDRESS, 6),
    (0x0001, SLOT + 5, asc.INVALID_ELEMENT_ADDRESS, 4),
])
def test_move_medium_refusals(
    library: Library, source: int, destination: int, code: SenseCode, byte: int | None
) -> None:
    """An empty source, a full destination, an address without an element: nothing moves, and sense says why."""
    before = library.places
    result = library.move(source, destination)

    assert result.code == code
    assert result.sense is not None
    assert result.sense.specific == (None if byte is None else FieldPointer(byte))
    assert library.places == before


def test_move_medium_unknown_transport(library: Library) -> None:
    """The medium transport element is 0, the default, or one that there is."""
    refused = library.move(SLOT, DRIVE, medium_transport_element_address=2)

    assert refused.code == asc.INVALID_ELEMENT_ADDRESS
    assert library.move(SLOT, DRIVE, medium_transport_element_address=1).good


def test_move_medium_invert(library: Library) -> None:
    """Nothing here rotates."""
    result = library.move(SLOT, DRIVE, invert=1)

    assert result.code == asc.INVALID_FIELD_IN_CDB
    assert result.sense is not None
    assert result.sense.specific == FieldPointer(10, 0)


def test_move_medium_busy_drive(library: Library) -> None:
    """A drive in use refuses, in its own words, and keeps its cartridge."""
    library.move(SLOT, DRIVE)
    library.drive(1).busy = True
    result = library.move(DRIVE, SLOT)

    assert result.code == asc.MEDIUM_REMOVAL_PREVENTED_BY_DATA_TRANSFER_ELEMENT
    assert library.drive(1).medium == "A00001L8"


def test_move_medium_same_element(library: Library) -> None:
    """From a full element to itself is no error."""
    assert library.move(SLOT, SLOT).good
    assert library.move(SLOT + 5, SLOT + 5).code == asc.MEDIUM_SOURCE_ELEMENT_EMPTY


def test_move_medium_drive_gone(library: Library) -> None:
    """Where the unit of a drive was removed nothing can go, and its element tells so."""
    library.target.remove_unit(2)
    library.initiator.clear_attentions()
    result = library.move(SLOT, DRIVE + 1)
    descriptor = library.status(element_type_code=4, starting_element_address=DRIVE + 1)[16:]

    assert result.code == asc.DATA_TRANSFER_DEVICE_REMOVED
    assert descriptor[:6] == bytes.fromhex("0101 04 00 3b 1a")


def test_exchange_medium(library: Library) -> None:
    """The source goes to the first destination, what was there to the second."""
    library.move(SLOT, DRIVE)

    assert library.exchange(SLOT + 1, DRIVE, SLOT).good
    assert library.places == {
        DRIVE: "A00002L8", SLOT: "A00001L8", SLOT + 2: "A00003L8", SLOT + 3: "A00004L8",
    }
    assert library.drive(1).medium == "A00002L8"


def test_exchange_medium_swaps(library: Library) -> None:
    """The second destination may be the source."""
    assert library.exchange(SLOT, SLOT + 1, SLOT).good
    assert library.places[SLOT] == "A00002L8"
    assert library.places[SLOT + 1] == "A00001L8"


@pytest.mark.parametrize(("addresses", "code"), [
    ((SLOT + 5, SLOT, SLOT + 4), asc.MEDIUM_SOURCE_ELEMENT_EMPTY),
    ((SLOT, SLOT + 5, SLOT + 4), asc.MEDIUM_SOURCE_ELEMENT_EMPTY),
    ((SLOT, SLOT + 1, SLOT + 2), asc.MEDIUM_DESTINATION_ELEMENT_FULL),
    ((SLOT, SLOT, SLOT + 4), asc.INVALID_FIELD_IN_CDB),
    ((SLOT, SLOT + 1, SLOT + 1), asc.INVALID_FIELD_IN_CDB),
    ((SLOT, SLOT + 1, 9), asc.INVALID_ELEMENT_ADDRESS),
])
def test_exchange_medium_refusals(library: Library, addresses: tuple[int, int, int], code: SenseCode) -> None:
    """Both sources must be full, the last destination empty."""
    before = library.places

    assert library.exchange(*addresses).code == code
    assert library.places == before


def test_position_to_element(library: Library) -> None:
    """The medium transport element goes before an element that there is."""
    assert library.do("POSITION TO ELEMENT", destination_element_address=SLOT + 3).good
    assert library.changer.position == SLOT + 3
    assert library.do("POSITION TO ELEMENT", destination_element_address=7).code == asc.INVALID_ELEMENT_ADDRESS


# --- doors ---------------------------------------------------------------------------------------------------------


def test_open_import_export_element(library: Library) -> None:
    """Behind the open door nothing can be reached; closing it tells every nexus."""
    other = Initiator(library.target, "iqn.2026-11.org.example:other")
    door = "OPEN/CLOSE IMPORT/EXPORT ELEMENT"

    assert library.do(door, element_address=PORT).good
    assert library.move(SLOT, PORT).code == asc.MEDIUM_MAGAZINE_NOT_ACCESSIBLE
    assert library.do(door, element_address=PORT, action_code=1).good
    assert other.command("TEST UNIT READY").code == asc.IMPORT_OR_EXPORT_ELEMENT_ACCESSED
    assert library.do("TEST UNIT READY").code == asc.IMPORT_OR_EXPORT_ELEMENT_ACCESSED
    assert library.move(SLOT, PORT).good
    assert library.do(door, element_address=SLOT).code == asc.INVALID_ELEMENT_ADDRESS
    assert library.do(door, element_address=PORT, action_code=2).code == asc.INVALID_FIELD_IN_CDB


def test_prevent_allow_keeps_doors_shut(library: Library) -> None:
    """As long as a nexus prevents removal neither a command nor an operator opens a door."""
    library.do("PREVENT ALLOW MEDIUM REMOVAL", prevent=1)

    assert library.do("OPEN/CLOSE IMPORT/EXPORT ELEMENT", element_address=PORT).code == asc.MEDIUM_REMOVAL_PREVENTED
    with pytest.raises(CheckCondition):
        library.changer.open_door()
    assert not library.changer.door_open
    library.do("PREVENT ALLOW MEDIUM REMOVAL")
    assert library.do("OPEN/CLOSE IMPORT/EXPORT ELEMENT", element_address=PORT).good


def test_door_open_is_not_ready(library: Library) -> None:
    """With the main door open nothing moves; closing it tells every nexus that all may have changed."""
    library.changer.open_door()

    assert library.move(SLOT, DRIVE).code == asc.LOGICAL_UNIT_NOT_READY_A_DOOR_IS_OPEN
    assert library.do("TEST UNIT READY").code == asc.LOGICAL_UNIT_NOT_READY_A_DOOR_IS_OPEN
    library.changer.close_door()
    assert library.do("TEST UNIT READY").code == asc.NOT_READY_TO_READY_CHANGE_MEDIUM_MAY_HAVE_CHANGED
    assert library.move(SLOT, DRIVE).good


def test_export_and_import(library: Library) -> None:
    """What an operator takes out stays out whatever is counted, until it is put in again: IMPEXP tells by whom."""
    library.move(SLOT, PORT)
    library.changer.open_ports()
    library.changer.export_volume(PORT)
    library.do("INITIALIZE ELEMENT STATUS")

    assert "A00001L8" not in library.places.values()
    library.changer.import_volume("A00001L8")
    library.changer.close_ports()
    library.initiator.clear_attentions()
    assert library.places[PORT] == "A00001L8"
    assert library.status(element_type_code=3, number_of_elements=1)[18] == 0x3B      # by an operator, enabled, full


# --- element status ------------------------------------------------------------------------------------------------


def test_read_element_status_exact(library: Library) -> None:
    """Byte for byte: three pages of one descriptor each, volume tags in all."""
    library.move(SLOT, DRIVE)
    data = library.status(element_type_code=4, voltag=1, number_of_elements=1)

    descriptor = bytes.fromhex("0100 09 00 00 00 000000 81 1000") + b"A00001L8".ljust(32) + bytes(8)
    page = bytes.fromhex("04 80 0034 00 000034")
    assert data == struct.pack(">HHxBH", DRIVE, 1, 0, 60) + page + descriptor


def test_read_element_status_all_types(library: Library) -> None:
    """Type 0: all elements by ascending address, a page for each type."""
    data = library.status()
    first, count = struct.unpack_from(">HH", data)
    pages = []
    at = 8
    while at < len(data):
        kind, _, length, size = struct.unpack_from(">BBHI", data, at)
        pages.append((kind, length, size))
        at += 8 + size

    assert (first, count, int.from_bytes(data[5:8], "big")) == (1, 11, len(data) - 8)
    assert pages == [(1, 16, 16), (3, 16, 32), (4, 16, 32), (2, 16, 96)]


def test_read_element_status_every_allocation_length(library: Library) -> None:
    """Whole descriptors and headers only, and byte counts that do not depend on the allocation length."""
    whole = library.status(voltag=1, dvcid=1)
    ends = {0, 1, 2, 3, 4, 5, 6, 7, 8}
    at = 8
    while at < len(whole):
        length, size = struct.unpack_from(">HI", whole, at + 2)
        ends |= set(range(at + 8, at + 9 + size, length))
        at += 8 + size

    for allocation in range(len(whole) + 2):
        cut = library.status(voltag=1, dvcid=1, allocation_length=allocation)
        assert cut == whole[: max(end for end in ends if end <= allocation)], allocation


def test_read_element_status_range(library: Library) -> None:
    """STARTING ELEMENT ADDRESS is a lower bound, NUMBER OF ELEMENTS counts descriptors."""
    data = library.status(element_type_code=2, starting_element_address=SLOT + 2, number_of_elements=2)
    nothing = library.status(element_type_code=2, starting_element_address=SLOT + 6)

    assert struct.unpack_from(">HH", data) == (SLOT + 2, 2)
    assert [data[at : at + 2] for at in (16, 32)] == [b"\x10\x02", b"\x10\x03"]
    assert nothing == bytes(8)
    assert library.status(number_of_elements=0) == bytes(8)


def test_read_element_status_reserved_type(library: Library) -> None:
    """Element types above 4 are reserved."""
    result = library.do("READ ELEMENT STATUS", element_type_code=5, number_of_elements=1, allocation_length=8)

    assert result.code == asc.INVALID_FIELD_IN_CDB
    assert result.sense is not None
    assert result.sense.specific == FieldPointer(1, 3)


def test_read_element_status_device_identifier(library: Library) -> None:
    """DVCID: the T10 vendor identification designator of the drive, as its VPD page 83h has it."""
    data = library.status(element_type_code=4, number_of_elements=1, dvcid=1)
    page = library.initiator.command("INQUIRY", lun=1, evpd=1, page_code=0x83).data
    code_set, kind, _, length = data[28:32]

    assert (code_set, kind) == (2, 1)
    assert data[32 : 32 + length] in page
    assert len(data) == 32 + length


def test_read_element_status_alternate_tags(library: Library) -> None:
    """AVOLTAG and the field are there once any volume has an alternate tag."""
    assert library.do(
        "SEND VOLUME TAG", element_address=SLOT, send_action_code=9, data_out=_template("BOX 7"),
    ).good
    data = library.status(element_type_code=2, voltag=1, number_of_elements=1)

    assert data[9] == 0xC0
    assert data[64:100] == b"BOX 7".ljust(32) + bytes(4)
    assert len(data) == 8 + 8 + 88


def test_initialize_element_status_new_cartridge() -> None:
    """What has come to the shelf is in the first free slot, what has gone is in none."""
    shelf = Shelf({f"A0000{n}L8": open_store(size=4096) for n in range(1, 5)})
    library = Library(shelf=shelf)
    shelf.add("B00001L8", shelf.take("A00002L8"))

    assert library.do("INITIALIZE ELEMENT STATUS").good
    assert library.places[SLOT + 1] == "B00001L8"
    assert "A00002L8" not in library.places.values()


def test_initialize_element_status_with_range_address(library: Library) -> None:
    """With RANGE the first element must be there; without, its address is not looked at."""
    name = "INITIALIZE ELEMENT STATUS WITH RANGE"

    assert library.do(name, range=1, starting_element_address=9).code == asc.INVALID_ELEMENT_ADDRESS
    assert library.do(name, range=1, starting_element_address=SLOT, number_of_elements=2).good
    assert library.do(name, starting_element_address=9).good


def test_read_element_status_reservations(library: Library) -> None:
    """CURDATA without DVCID is let through by any reservation, moving is not."""
    other = Initiator(library.target, "iqn.2026-11.org.example:other")
    other.command("RESERVE(6)")
    cached = library.do("READ ELEMENT STATUS", curdata=1, number_of_elements=1, allocation_length=8)
    looked = library.do("READ ELEMENT STATUS", number_of_elements=1, allocation_length=8)

    assert cached.good
    assert looked.status == Status.RESERVATION_CONFLICT
    assert library.move(SLOT, DRIVE).status == Status.RESERVATION_CONFLICT


# --- volume tags ---------------------------------------------------------------------------------------------------


def _template(text: str, low: int = 0, high: int = 0) -> bytes:
    return text.encode().ljust(32, b"\0") + struct.pack(">2xH2xH", low, high)


def _found(library: Library, **fields: int) -> list[int]:
    """Element addresses of REQUEST VOLUME ELEMENT ADDRESS."""
    fields = {"number_of_elements": 0xFFFF, "allocation_length": 65535, **fields}
    data = library.do("REQUEST VOLUME ELEMENT ADDRESS", **fields).data
    found = []
    at = 8
    while at < len(data):
        length, size = struct.unpack_from(">HI", data, at + 2)
        found += [int.from_bytes(data[there : there + 2], "big") for there in range(at + 8, at + 8 + size, length)]
        at += 8 + size
    return found


@pytest.mark.parametrize(("template", "slots"), [
    ("A00003L8", [2]), ("A0000?L8", [0, 1, 2, 3]), ("*3*", [2]), ("*", [0, 1, 2, 3]), ("A*4??", [3]), ("A00001", []),
    ("", []), ("?" * 8, [0, 1, 2, 3]), ("?" * 9, []), ("A" * 31 + "*", []),
])
def test_send_volume_tag_translate(library: Library, template: str, slots: list[int]) -> None:
    """`*` stands for any characters, `?` for one; blanks at the end do not count."""
    assert library.do("SEND VOLUME TAG", send_action_code=5, data_out=_template(template)).good
    assert _found(library) == [SLOT + slot for slot in slots]


def test_request_volume_element_address_once(library: Library) -> None:
    """Each element is reported once, in order, however many commands it takes; 8 bytes tell how many there are."""
    library.do("SEND VOLUME TAG", send_action_code=5, data_out=_template("*"))
    header = library.do("REQUEST VOLUME ELEMENT ADDRESS", number_of_elements=9, allocation_length=8).data

    assert header == struct.pack(">HHBBH", SLOT, 4, 5, 0, 72)
    assert _found(library, number_of_elements=3) == [SLOT, SLOT + 1, SLOT + 2]
    assert _found(library) == [SLOT + 3]
    assert _found(library) == []


def test_request_volume_element_address_alone(library: Library) -> None:
    """Without a SEND VOLUME TAG of this nexus there is nothing to report."""
    other = Initiator(library.target, "iqn.2026-11.org.example:other")
    other.command("SEND VOLUME TAG", send_action_code=5, data_out=_template("*"))

    result = library.do("REQUEST VOLUME ELEMENT ADDRESS", number_of_elements=1, allocation_length=8)
    assert result.code == asc.COMMAND_SEQUENCE_ERROR


def test_send_volume_tag_sequence(library: Library) -> None:
    """Sequence numbers count for translate actions 0 to 2, and not for 5 to 7."""
    library.do("SEND VOLUME TAG", send_action_code=10, element_address=SLOT, data_out=_template("A00001L8", 7, 7))
    found = []
    for action, low, high in ((1, 5, 9), (1, 8, 9), (6, 0, 0)):
        library.do("SEND VOLUME TAG", send_action_code=action, data_out=_template("A00001L8", low, high))
        found.append(_found(library))

    assert found == [[SLOT], [], [SLOT]]


def test_send_volume_tag_assert_replace_undefine(library: Library) -> None:
    """Assert wants an undefined tag, replace does not care, undefine leaves zeros; each reports its element."""
    def send(action: int, text: str = "") -> SenseCode | None:
        data = _template(text) if text else b""
        return library.do("SEND VOLUME TAG", send_action_code=action, element_address=SLOT, data_out=data).code

    assert send(8, "X1") == asc.INVALID_FIELD_IN_CDB
    assert send(12) is None
    assert library.status(element_type_code=2, voltag=1, number_of_elements=1)[28:64] == bytes(36)
    assert send(8, "X1") is None
    assert send(10, "X2") is None
    assert _found(library) == [SLOT]
    assert library.status(element_type_code=2, voltag=1, number_of_elements=1)[28:60] == b"X2".ljust(32)
    assert send(10, "A00002L8") == asc.DUPLICATE_VOLUME_IDENTIFIER
    assert send(10, "X*") == asc.VOLUME_IDENTIFIER_INVALID
    assert send(10, " ") == asc.VOLUME_IDENTIFIER_MISSING
    assert send(3, "X") == asc.INVALID_FIELD_IN_CDB


def test_send_volume_tag_refusals(library: Library) -> None:
    """A wrong length, an element that is empty or not there."""
    def send(**fields: int) -> SenseCode | None:
        return library.do("SEND VOLUME TAG", send_action_code=10, data_out=_template("X"), **fields).code

    assert library.do("SEND VOLUME TAG", send_action_code=5, data_out=bytes(39)).code == asc.PARAMETER_LIST_LENGTH_ERROR
    assert send(element_address=SLOT + 5) == asc.MEDIUM_SOURCE_ELEMENT_EMPTY
    assert send(element_address=5) == asc.INVALID_ELEMENT_ADDRESS
    assert send(element_address=SLOT, element_type_code=4) == asc.INVALID_ELEMENT_ADDRESS


# --- pages ---------------------------------------------------------------------------------------------------------


def test_mode_pages(library: Library) -> None:
    """1Dh has the addresses, 1Eh a transport that does not rotate, 1Fh every movement between what holds volumes."""
    def page(code: int) -> bytes:
        return library.do("MODE SENSE(6)", dbd=1, page_code=code).data[4:]

    assert page(0x1D) == bytes.fromhex("1d12 0001 0001 1000 0006 0010 0002 0100 0002 0000")
    assert page(0x1E) == bytes.fromhex("1e02 0000")
    assert page(0x1F) == bytes.fromhex("1f12 0e00 00 0e0e0e 00000000 00 0e0e0e 00000000")


def test_log_pages(library: Library) -> None:
    """Movements are counted; TapeAlert flags last as long as what they stand for."""
    library.move(SLOT, DRIVE)
    library.changer.open_ports()
    statistics = library.do("LOG SENSE", pc=1, page_code=0x14).data
    alerts = library.do("LOG SENSE", pc=1, page_code=0x2E).data

    assert statistics[4:12] == bytes.fromhex("0000 02 04 00000001")
    assert [flag + 1 for flag in range(64) if alerts[4 + flag * 5 + 4]] == [17]


def test_report_element_information(library: Library) -> None:
    """Static information in runs of like elements, and the state of each element."""
    name = "REPORT ELEMENT INFORMATION"
    static = library.do(name, page_code=2).data
    state = library.do(name, page_code=3, element_type_code=2, nev=1, number_of_elements=1).data

    runs = [struct.unpack_from(">IIB", static, at) for at in range(8, len(static), 12)]
    assert runs == [(1, 1, 1), (PORT, 2, 3), (DRIVE, 2, 4), (SLOT, 6, 2)]
    assert state == bytes.fromhex("03 00 0008 00000008 00001000 02 50 0000")
    assert library.do(name, page_code=1).code == asc.INVALID_FIELD_IN_CDB


@pytest.mark.parametrize("bits", [0x20, 0x80, 0xE0])
def test_lun_bits_ignored(library: Library, bits: int) -> None:
    """Bits 7 to 5 of byte 1 may have the LUN, as SCSI-2 had it: READ ELEMENT STATUS with VOLTAG and type 2."""
    cdb = bytes((0xB8, bits | 0x12, 0, 0, 0xFF, 0xFF, 0, 0, 0xFF, 0xFF, 0, 0))

    assert library.initiator.execute(0, cdb).good

"""SEND VOLUME TAG, REQUEST VOLUME ELEMENT ADDRESS, mode pages and log pages."""

from __future__ import annotations

from conformance import ConformanceUnit, clause
from smc_library import (
    DRIVE,
    PORT,
    SLOT,
    TRANSPORT,
    Library,
    log_sense,
    mode_sense,
    move,
    request_volume,
    send_tag,
    template,
)

from scsiemu import asc


def page_of(unit: ConformanceUnit, page: int, control: int = 0) -> bytes:
    """A mode page with its header."""
    data = unit.good(mode_sense(page, control=control), data_in=255)
    return data[4 + data[3] :]


@clause("SMC-3 6.14")
def test_translate_exact(library: Library) -> None:
    """A template without wildcards finds the volume with that tag."""
    assert library.translate(5, library.tags[library.full[0]]) == [library.full[0]]


@clause("SMC-3 6.14")
def test_translate_any(library: Library) -> None:
    """`*` finds every volume that has a tag."""
    assert set(library.translate(5, "*")) >= set(library.full)


@clause("SMC-3 6.14")
def test_translate_question_mark(library: Library) -> None:
    """`?` stands for one character."""
    tag = library.tags[library.full[0]]

    assert library.full[0] in library.translate(5, "?" * len(tag))
    assert library.full[0] not in library.translate(5, "?" * (len(tag) + 1))


@clause("SMC-3 6.14")
def test_translate_beginning(library: Library) -> None:
    """`*` at the end stands for any rest, none too."""
    tag = library.tags[library.full[0]]

    assert library.full[0] in library.translate(5, tag[:2] + "*")
    assert library.full[0] in library.translate(5, tag + "*")


@clause("SMC-3 6.14")
def test_translate_nothing(library: Library) -> None:
    """A template that no tag meets finds nothing, and that is no error."""
    assert library.translate(5, "~~~~") == []


@clause("SMC-3 6.14")
def test_translate_by_type(library: Library) -> None:
    """ELEMENT TYPE CODE bounds the search."""
    assert library.translate(5, "*", kind=DRIVE) == []
    assert library.translate(5, "*", kind=SLOT) == library.full


@clause("SMC-3 6.14")
def test_translate_from_address(library: Library) -> None:
    """ELEMENT ADDRESS is where the search begins."""
    assert library.translate(5, "*", kind=SLOT, address=library.full[1]) == library.full[1:]


@clause("SMC-3 6.14")
def test_translate_sequence_numbers(library: Library) -> None:
    """Actions 0 to 2 look at sequence numbers, 5 to 7 do not."""
    tag = library.tags[library.full[0]]

    assert library.translate(1, tag, low=1, high=9) == []
    assert library.translate(6, tag, low=1, high=9) == [library.full[0]]


@clause("SMC-3 6.14")
def test_translate_alternate(library: Library) -> None:
    """Alternate tags are searched by their own actions."""
    assert library.translate(7, library.tags[library.full[0]]) == []


@clause("SMC-3 6.11")
def test_request_reports_once(library: Library) -> None:
    """Each element is reported once, over several commands."""
    library.unit.good(send_tag(5, kind=SLOT), template("*"))

    assert library.requested(count=1) == library.full[:1]
    assert library.requested() == library.full[1:]
    assert library.requested() == []


@clause("SMC-3 6.11")
def test_request_header(library: Library) -> None:
    """The header counts the elements and tells the action; reading it alone reports none of them."""
    library.unit.good(send_tag(5, kind=SLOT), template("*"))
    header = library.unit.good(request_volume(allocation=8), data_in=8)

    assert int.from_bytes(header[2:4], "big") == len(library.full)
    assert header[4] & 0x1F == 5
    assert library.requested() == library.full


@clause("SMC-3 6.11")
def test_request_follows_moves(library: Library) -> None:
    """What is reported is where the volumes are."""
    tag = library.tags[library.full[0]]
    library.move(library.full[0], library.empty[0])

    assert library.translate(5, tag) == [library.empty[0]]
    library.move(library.empty[0], library.full[0])


@clause("SMC-3 6.14")
def test_send_tag_reserved_action(library: Library) -> None:
    """Action code 03h is reserved."""
    library.unit.refused(send_tag(3), asc.INVALID_FIELD_IN_CDB, template("*"))


@clause("SMC-3 6.14")
def test_send_tag_list_length(library: Library) -> None:
    """A parameter list is 40 bytes long."""
    library.unit.refused(send_tag(5, length=39), asc.PARAMETER_LIST_LENGTH_ERROR, bytes(39))


@clause("SMC-3 6.14")
def test_send_tag_no_list(library: Library) -> None:
    """PARAMETER LIST LENGTH 0 is no error."""
    library.unit.good(send_tag(5, length=0))


@clause("SMC-3 6.14")
def test_replace_and_restore_tag(library: Library) -> None:
    """Replace gives a volume another tag, by which it is found."""
    slot, tag = library.full[0], library.tags[library.full[0]]
    library.unit.good(send_tag(0x0A, kind=SLOT, address=slot), template("ZZ9"))
    found = library.translate(5, "ZZ9")
    library.unit.good(send_tag(0x0A, kind=SLOT, address=slot), template(tag))

    assert found == [slot]
    assert library.element(slot, voltag=1).tag == tag


@clause("SMC-3 6.14")
def test_tag_travels(library: Library) -> None:
    """A tag belongs to the volume, not to the element."""
    slot, tag = library.full[0], library.tags[library.full[0]]
    library.unit.good(send_tag(0x0A, kind=SLOT, address=slot), template("ZZ8"))
    library.move(slot, library.empty[0])
    moved = library.element(library.empty[0], voltag=1).tag
    library.move(library.empty[0], slot)
    library.unit.good(send_tag(0x0A, kind=SLOT, address=slot), template(tag))

    assert moved == "ZZ8"


@clause("SMC-3 6.14")
def test_undefine_and_assert_tag(library: Library) -> None:
    """Undefine leaves no tag, assert gives one where there is none, and only there."""
    slot, tag = library.full[0], library.tags[library.full[0]]
    library.unit.good(send_tag(0x0C, kind=SLOT, address=slot, length=0))
    without = library.element(slot, voltag=1).tag
    library.unit.good(send_tag(0x08, kind=SLOT, address=slot), template(tag))

    assert without == ""
    assert library.element(slot, voltag=1).tag == tag
    answer = library.unit.execute(send_tag(0x08, kind=SLOT, address=slot), template("ZZ7"))
    assert not answer.good


@clause("SMC-3 4.5")
def test_replace_by_duplicate(library: Library) -> None:
    """No two volumes get one tag."""
    taken = library.tags[library.full[1]]
    cdb = send_tag(0x0A, kind=SLOT, address=library.full[0])

    library.unit.refused(cdb, asc.DUPLICATE_VOLUME_IDENTIFIER, template(taken))


@clause("SMC-3 6.14")
def test_replace_with_wildcard(library: Library) -> None:
    """A wildcard is no part of a tag."""
    cdb = send_tag(0x0A, kind=SLOT, address=library.full[0])

    library.unit.refused(cdb, asc.VOLUME_IDENTIFIER_INVALID, template("ZZ*"))


@clause("SMC-3 6.14")
def test_replace_of_empty_element(library: Library) -> None:
    """An empty element has no volume whose tag could be changed."""
    cdb = send_tag(0x0A, kind=SLOT, address=library.empty[0])

    library.unit.refused(cdb, asc.MEDIUM_SOURCE_ELEMENT_EMPTY, template("ZZ6"))


@clause("SMC-3 7.3.4")
def test_element_address_assignment_page(unit: ConformanceUnit) -> None:
    """Page 1Dh has 20 bytes, and no two elements share an address."""
    page = page_of(unit, 0x1D)
    numbers = [int.from_bytes(page[at : at + 2], "big") for at in range(2, 18, 2)]
    used = [first + n for first, count in zip(numbers[::2], numbers[1::2], strict=True) for n in range(count)]

    assert (page[0] & 0x3F, page[1], len(page)) == (0x1D, 18, 20)
    assert len(set(used)) == len(used)


@clause("SMC-3 7.3.4")
def test_element_address_assignment_agrees(library: Library) -> None:
    """READ ELEMENT STATUS reports exactly the elements of page 1Dh."""
    for kind in (TRANSPORT, SLOT, PORT, DRIVE):
        first, count = library.ranges[kind]
        assert [element.address for element in library.elements(kind)] == list(range(first, first + count))


@clause("SMC-3 7.3.5")
def test_transport_geometry_page(library: Library) -> None:
    """Page 1Eh has two bytes for each medium transport element."""
    page = page_of(library.unit, 0x1E)

    assert page[1] == 2 * library.ranges[TRANSPORT][1] == len(page) - 2


@clause("SMC-3 7.3.2")
def test_device_capabilities_page(unit: ConformanceUnit) -> None:
    """Page 1Fh has 20 bytes; storage elements store, and volumes go between them and drives."""
    page = page_of(unit, 0x1F)

    assert (page[0] & 0x3F, page[1], len(page)) == (0x1F, 18, 20)
    assert page[2] & 0x02
    assert page[5] & 0x08
    assert page[7] & 0x02


@clause("SMC-3 7.3.2")
def test_device_capabilities_agree(library: Library) -> None:
    """A movement between storage elements is possible where page 1Fh says so."""
    able = bool(page_of(library.unit, 0x1F)[5] & 0x02)
    answer = library.unit.execute(move(library.full[0], library.empty[0]))

    assert answer.good == able
    if able:
        library.move(library.empty[0], library.full[0])


@clause("SPC-5 6.14")
def test_mode_pages_not_changeable(unit: ConformanceUnit) -> None:
    """What configuration decides cannot be changed by MODE SELECT, and says so."""
    for page in (0x1D, 0x1E, 0x1F):
        assert not any(page_of(unit, page, control=1)[2:])


@clause("SMC-3 7.2")
def test_log_tape_alert_page(unit: ConformanceUnit) -> None:
    """The TapeAlert page has the flags 1 to 64, of one byte each."""
    data = unit.good(log_sense(0x2E), data_in=65535)
    codes = [int.from_bytes(data[at : at + 2], "big") for at in range(4, len(data), 5)]

    assert codes == list(range(1, 65))


@clause("SMC-3 7.2")
def test_log_statistics_count_moves(library: Library) -> None:
    """Number of moves grows with each movement."""
    def moves() -> int:
        data = library.unit.good(log_sense(0x14), data_in=65535)
        return int.from_bytes(data[8 : 8 + data[7]], "big")

    before = moves()
    library.move(library.full[0], library.empty[0])
    library.move(library.empty[0], library.full[0])
    assert moves() == before + 2

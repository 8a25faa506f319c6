"""INQUIRY and its pages, for a unit of any device type."""

from __future__ import annotations

from conformance import ConformanceUnit, clause

from scsiemu import asc

INQUIRY = bytes((0x12, 0, 0, 0, 0xFF, 0))


def vpd(page: int, length: int = 0xFFFF) -> bytes:
    """INQUIRY for a vital product data page."""
    return bytes((0x12, 1, page)) + length.to_bytes(2, "big") + b"\0"


@clause("SPC-5 6.7.2")
def test_inquiry_standard_length(unit: ConformanceUnit) -> None:
    """ADDITIONAL LENGTH counts what follows it, and standard data has at least 36 bytes."""
    data = unit.good(INQUIRY, data_in=255)

    assert len(data) >= 36
    assert data[4] + 5 >= len(data)


@clause("SPC-5 4.2.5.6")
def test_inquiry_allocation_length_truncates(unit: ConformanceUnit) -> None:
    """ALLOCATION LENGTH cuts the data and changes nothing in it."""
    whole = unit.good(INQUIRY, data_in=255)
    data = unit.good(bytes((0x12, 0, 0, 0, 5, 0)), data_in=255)

    assert whole[:5] == data


@clause("SPC-5 4.2.5.6")
def test_inquiry_allocation_length_zero(unit: ConformanceUnit) -> None:
    """ALLOCATION LENGTH 0 is no error and brings no data."""
    assert unit.good(bytes((0x12, 0, 0, 0, 0, 0)), data_in=255) == b""


@clause("SPC-5 6.7.1")
def test_inquiry_page_code_without_evpd(unit: ConformanceUnit) -> None:
    """A PAGE CODE without EVPD is an invalid field."""
    unit.refused(bytes((0x12, 0, 0x83, 0, 0xFF, 0)), asc.INVALID_FIELD_IN_CDB, data_in=255)


@clause("SPC-5 7.7.16")
def test_inquiry_supported_pages_ascending(unit: ConformanceUnit) -> None:
    """Page 00h lists itself, page 83h and others in ascending order, and each of them is there."""
    data = unit.good(vpd(0), data_in=1024)
    pages = data[4:]

    assert list(pages) == sorted(set(pages))
    assert {0x00, 0x83} <= set(pages)
    assert [unit.good(vpd(page), data_in=65535)[1] for page in pages] == list(pages)


@clause("SPC-5 6.7.1")
def test_inquiry_unknown_page(unit: ConformanceUnit) -> None:
    """A page that is not listed is an invalid field."""
    listed = unit.good(vpd(0), data_in=1024)[4:]
    absent = next(page for page in range(0x7F, 0, -1) if page not in listed)

    unit.refused(vpd(absent), asc.INVALID_FIELD_IN_CDB, data_in=255)


@clause("SPC-5 5.11")
def test_inquiry_leaves_attention(unit: ConformanceUnit) -> None:
    """INQUIRY neither reports nor clears a unit attention."""
    unit.reset()

    unit.good(INQUIRY, data_in=255)
    assert unit.attentions()

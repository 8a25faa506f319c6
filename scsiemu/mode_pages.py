"""Mode pages: their declaration, their four sets of values, and mode parameter lists (SPC-5 7.5).

A device type lists `ModePage` declarations; `ModePages` keeps default, current and saved values of one unit,
shared by all I_T nexuses; `parse_mode_parameters` takes a MODE SELECT parameter list apart and refuses what
it must not change. The commands are in `spc_mode`, the pages that every device type has in `spc_mode_pages`.
There are no pages of the policies "per target port" and "per I_T nexus".
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from scsiemu import asc
from scsiemu._value import value
from scsiemu.cdb import CdbFields
from scsiemu.layout import PageLayout
from scsiemu.sense import CheckCondition, FieldPointer

__all__ = [
    "ModeFieldRefused", "ModeHeader", "ModePage", "ModePages", "PageControl", "PageValues",
    "parse_mode_parameters",
]

_PageKey = tuple[int, int]


class PageControl:
    """PC field of MODE SENSE (SPC-5 table 147)."""

    CURRENT: Final = 0
    CHANGEABLE: Final = 1
    DEFAULT: Final = 2
    SAVED: Final = 3


@value
class ModePage:
    """The declaration of a mode page.

    Args:
        page, subpage: its codes; subpage 0 has the page_0 format.
        name: as in the standard.
        layout: of the bytes after its header, with defaults and what may be changed.
        savable: may be kept in the state store.
        standard: where it is described.
    """

    page: int
    subpage: int
    name: str
    layout: PageLayout
    savable: bool = True
    standard: str = "SPC-5"

    @property
    def key(self) -> _PageKey:
        """Page code and subpage code."""
        return (self.page, self.subpage)

    @property
    def header_length(self) -> int:
        """2 bytes in the page_0 format, 4 in the sub_page format."""
        return 4 if self.subpage else 2

    def with_defaults(self, **values: int) -> ModePage:
        """The page with other default values."""
        layout = _copy(self.layout)
        layout.defaults = layout.replace(layout.defaults, **values)
        return dataclasses.replace(self, layout=layout)

    def with_changeable(self, *names: str) -> ModePage:
        """The page with exactly these fields changeable."""
        layout = _copy(self.layout)
        layout.changeable = layout.mask(*names)
        return dataclasses.replace(self, layout=layout)

    def encode(self, data: bytes, *, ps: bool) -> bytes:
        """The whole page with its header."""
        if self.subpage:
            length = len(data).to_bytes(2, "big")
            return bytes((ps << 7 | 0x40 | self.page, self.subpage)) + length + data
        return bytes((ps << 7 | self.page, len(data))) + data


@value
class ModeHeader:
    """The mode parameter header and block descriptors of a MODE SELECT.

    Args:
        medium_type, device_specific: fields of the header.
        block_descriptors: all of them, as they came.
        long: they are long LBA mode parameter block descriptors (16 bytes each, else 8).
        offset: of the block descriptors in the parameter list, for field pointers.
    """

    medium_type: int
    device_specific: int
    block_descriptors: bytes
    long: bool
    offset: int


class ModeFieldRefused(Exception):
    """A device server does not take the new value of a field of a mode page.

    Args:
        name: of the field in the page's layout.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


# New bytes of pages, by page code and subpage code.
PageValues = dict[_PageKey, bytes]


class ModePages:
    """The mode pages of one unit and their values.

    Args:
        pages: the declarations.
    """

    def __init__(self, pages: Iterable[ModePage]) -> None:
        # Ascending, page 00h (vendor specific) last (SPC-5 6.14.1).
        ordered = sorted(pages, key=lambda page: (page.page == 0, page.page, page.subpage))
        self.pages: dict[_PageKey, ModePage] = {page.key: page for page in ordered}
        self.default: PageValues = {key: page.layout.defaults for key, page in self.pages.items()}
        self.current: PageValues = dict(self.default)
        self.saved: PageValues = dict(self.default)

    def fields(self, page: int, subpage: int = 0) -> CdbFields:
        """The current values of a page. Raises KeyError."""
        return self.pages[page, subpage].layout.parse(self.current[page, subpage])

    def set(self, page: int, subpage: int = 0, **values: int) -> None:
        """Set current values, changeable by MODE SELECT or not. Raises KeyError, ValueError."""
        layout = self.pages[page, subpage].layout
        self.current[page, subpage] = layout.replace(self.current[page, subpage], **values)

    def select(self, page: int, subpage: int) -> list[ModePage]:
        """The pages that these fields of MODE SENSE ask for (SPC-5 table 149), empty where there is none."""
        if page == 0x3F:
            wanted = [p for p in self.pages.values() if subpage == 0xFF or p.subpage == 0]
            return wanted if subpage in (0x00, 0xFF) else []
        if subpage == 0xFF:
            return [p for p in self.pages.values() if p.page == page]
        return [p for p in self.pages.values() if p.key == (page, subpage)]

    def values(self, control: int, page: ModePage, live: Mapping[str, int]) -> bytes:
        """The bytes of a page for a value of `PageControl`; `live` are current values that state decides."""
        if control == PageControl.CHANGEABLE:
            return page.layout.changeable
        if control == PageControl.DEFAULT:
            return self.default[page.key]
        if control == PageControl.SAVED:
            return self.saved[page.key]
        return page.layout.replace(self.current[page.key], **live) if live else self.current[page.key]

    def revert(self) -> None:
        """Current values become the saved ones (logical unit reset), which are the defaults if none was
        saved."""
        self.current = dict(self.saved)

    def pack(self, values: PageValues) -> bytes:
        """Savable pages of `values` as one record for the state store."""
        records = [
            bytes((page, subpage)) + len(data).to_bytes(2, "big") + data
            for (page, subpage), data in values.items()
            if self.pages[page, subpage].savable
        ]
        return b"".join(records)

    def unpack(self, record: bytes) -> None:
        """Take saved values from a record, and make them current. What does not fit the pages is left out."""
        at = 0
        while at + 4 <= len(record):
            key = (record[at], record[at + 1])
            end = at + 4 + int.from_bytes(record[at + 2 : at + 4], "big")
            data = record[at + 4 : end]
            page = self.pages.get(key)
            if page is not None and page.savable and len(data) == page.layout.length:
                self.saved[key] = data
            at = end
        self.revert()


def parse_mode_parameters(
    pages: ModePages,
    parameter_list: bytes,
    *,
    ten: bool,
    live: Callable[[ModePage], Mapping[str, int]],
    check: Callable[[ModePage, CdbFields], Mapping[str, int]],
) -> tuple[ModeHeader, PageValues, bool]:
    """Take a MODE SELECT parameter list apart and check all of it, changing nothing.

    Args:
        pages: of the unit.
        parameter_list: at least one byte.
        ten: it has the header of MODE SELECT(10).
        live: current values that state decides, by page.
        check: the device server's opinion of the new values; it answers with those that it rounds, or raises
            `ModeFieldRefused`.

    Returns:
        the header, the new bytes of the pages, and whether one was rounded.

    Raises:
        CheckCondition: with the field pointer.
    """
    header, at = _parse_header(parameter_list, ten=ten)
    changes: PageValues = {}
    rounded = False
    while at < len(parameter_list):
        page, start = _page_at(pages, parameter_list, at)
        end = start + page.layout.length
        data = parameter_list[start:end]
        before = changes.get(page.key, pages.values(PageControl.CURRENT, page, live(page)))
        _check_unchangeable(page, before, data, start)
        try:
            adjusted = check(page, page.layout.parse(data))
        except ModeFieldRefused as refusal:
            raise _invalid(start, page.layout.field(refusal.name).pointer) from None
        if adjusted:
            data = page.layout.replace(data, **adjusted)
            rounded = True
        changes[page.key] = data
        at = end
    return header, changes, rounded


def _parse_header(data: bytes, *, ten: bool) -> tuple[ModeHeader, int]:
    """The header and where the pages start. MODE DATA LENGTH is reserved here, and is not looked at:
    initiators give back what MODE SENSE returned."""
    length = 8 if ten else 4
    if len(data) < length:
        raise CheckCondition(asc.PARAMETER_LIST_LENGTH_ERROR)
    if ten:
        if data[4] & 0xFE:
            raise _invalid(4, FieldPointer(0, 7))
        descriptors, long = int.from_bytes(data[6:8], "big"), bool(data[4] & 1)
        medium_type, device_specific = data[2], data[3]
    else:
        descriptors, long = data[3], False
        medium_type, device_specific = data[1], data[2]
    if descriptors % (16 if long else 8):
        raise _invalid(length - 2 if ten else 3, FieldPointer(0))
    if length + descriptors > len(data):
        raise CheckCondition(asc.PARAMETER_LIST_LENGTH_ERROR)
    block = data[length : length + descriptors]
    return ModeHeader(medium_type, device_specific, block, long, length), length + descriptors


def _page_at(pages: ModePages, data: bytes, at: int) -> tuple[ModePage, int]:
    """The page whose header is at an offset, and where its fields start. PS is reserved here (SPC-5 7.5.6), and is not
    looked at: initiators give back what MODE SENSE returned."""
    sub_page = bool(data[at] & 0x40)
    start = at + (4 if sub_page else 2)
    if start > len(data):
        raise CheckCondition(asc.PARAMETER_LIST_LENGTH_ERROR)
    code = data[at] & 0x3F
    subpage = data[at + 1] if sub_page else 0
    page = pages.pages.get((code, subpage))
    if page is None and any(key[0] == code for key in pages.pages):
        raise _invalid(at, FieldPointer(1) if sub_page else FieldPointer(0, 6))
    if page is None:
        raise _invalid(at, FieldPointer(0, 5))
    if sub_page and not page.subpage:
        raise _invalid(at, FieldPointer(0, 6))
    length = int.from_bytes(data[at + 2 : at + 4], "big") if sub_page else data[at + 1]
    if length != page.layout.length:
        raise _invalid(at, FieldPointer(2 if sub_page else 1))
    if start + length > len(data):
        raise CheckCondition(asc.PARAMETER_LIST_LENGTH_ERROR)
    return page, start


def _check_unchangeable(page: ModePage, before: bytes, after: bytes, start: int) -> None:
    """Refuse a change of a field that is not changeable (SPC-5 6.12)."""
    total = page.layout.length * 8
    fixed = ~int.from_bytes(page.layout.changeable, "big") & (1 << total) - 1
    wrong = (int.from_bytes(before, "big") ^ int.from_bytes(after, "big")) & fixed
    if not wrong:
        return
    bit = total - wrong.bit_length()
    field = next(f for f in page.layout.fields if f.start <= bit < f.start + f.width)
    raise _invalid(start, field.pointer)


def _invalid(start: int, pointer: FieldPointer) -> CheckCondition:
    """INVALID FIELD IN PARAMETER LIST at a pointer relative to `start`."""
    where = FieldPointer(start + pointer.byte, pointer.bit, in_cdb=False)
    return CheckCondition(asc.INVALID_FIELD_IN_PARAMETER_LIST, pointer=where)


def _copy(layout: PageLayout) -> PageLayout:
    """A layout that can be given other defaults and another mask."""
    copy = PageLayout(layout.text)
    copy.defaults = layout.defaults
    copy.changeable = layout.changeable
    return copy

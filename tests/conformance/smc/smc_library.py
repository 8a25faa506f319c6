"""A media changer by its commands: CDBs, element status taken apart, and volumes put back where they were."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from time import monotonic, sleep
from typing import Final

from conformance import Answer, ConformanceUnit

from scsiemu.sense import SenseCode, SenseKey

__all__ = [
    "ALL", "DRIVE", "PORT", "SLOT", "TRANSPORT", "Element", "Library", "Page", "exchange", "initialize",
    "initialize_range", "log_sense", "mode_sense", "move", "open_close", "position", "prevent", "read_status",
    "report_information", "request_volume", "send_tag", "settle", "template",
]

_PATIENCE: Final = 20.0

ALL: Final = 0
TRANSPORT: Final = 1
SLOT: Final = 2
PORT: Final = 3
DRIVE: Final = 4


def move(source: int, destination: int, *, transport: int = 0, invert: int = 0) -> bytes:
    """MOVE MEDIUM."""
    return struct.pack(">BxHHHxxBx", 0xA5, transport, source, destination, invert)


def exchange(source: int, first: int, second: int, *, transport: int = 0, inverted: int = 0) -> bytes:
    """EXCHANGE MEDIUM."""
    return struct.pack(">BxHHHHBx", 0xA6, transport, source, first, second, inverted)


def position(destination: int, *, transport: int = 0, invert: int = 0) -> bytes:
    """POSITION TO ELEMENT."""
    return struct.pack(">BxHHxxBx", 0x2B, transport, destination, invert)


def initialize() -> bytes:
    """INITIALIZE ELEMENT STATUS."""
    return bytes((0x07, 0, 0, 0, 0, 0))


def initialize_range(start: int, count: int, *, use_range: int = 1, fast: int = 0) -> bytes:
    """INITIALIZE ELEMENT STATUS WITH RANGE."""
    return struct.pack(">BBHxxHxx", 0x37, fast << 1 | use_range, start, count)


def read_status(
    kind: int = ALL, start: int = 0, count: int = 0xFFFF, *, voltag: int = 0, dvcid: int = 0, curdata: int = 0,
    allocation: int = 0xFFFFFF,
) -> bytes:
    """READ ELEMENT STATUS."""
    return struct.pack(
        ">BBHHBBHxx", 0xB8, voltag << 4 | kind, start, count, curdata << 1 | dvcid, allocation >> 16,
        allocation & 0xFFFF,
    )


def request_volume(
    kind: int = ALL, start: int = 0, count: int = 0xFFFF, *, voltag: int = 0, allocation: int = 0xFFFF
) -> bytes:
    """REQUEST VOLUME ELEMENT ADDRESS."""
    return struct.pack(">BBHHxBHxx", 0xB5, voltag << 4 | kind, start, count, allocation >> 16, allocation & 0xFFFF)


def send_tag(action: int, *, kind: int = ALL, address: int = 0, length: int = 40) -> bytes:
    """SEND VOLUME TAG."""
    return struct.pack(">BBHxBxxHxx", 0xB6, kind, address, action, length)


def template(text: str, low: int = 0, high: int = 0) -> bytes:
    """The parameter list of SEND VOLUME TAG."""
    return text.encode().ljust(32) + struct.pack(">2xH2xH", low, high)


def report_information(
    page: int, kind: int = ALL, start: int = 0, *, count: int | None = None, allocation: int = 0xFFFF
) -> bytes:
    """REPORT ELEMENT INFORMATION."""
    nev = count is not None
    return struct.pack(">BBBBxxIIBx", 0x9E, 0x10, page, nev << 5 | kind, start, allocation, count or 0)


def open_close(address: int, action: int) -> bytes:
    """OPEN/CLOSE IMPORT/EXPORT ELEMENT."""
    return struct.pack(">BxHBx", 0x1B, address, action)


def prevent(value: int) -> bytes:
    """PREVENT ALLOW MEDIUM REMOVAL."""
    return bytes((0x1E, 0, 0, 0, value, 0))


def mode_sense(page: int, *, control: int = 0, length: int = 0xFF) -> bytes:
    """MODE SENSE(6) without block descriptors."""
    return bytes((0x1A, 8, control << 6 | page, 0, length, 0))


def log_sense(page: int, subpage: int = 0) -> bytes:
    """LOG SENSE, cumulative values."""
    return bytes((0x4D, 0, 0x40 | page, subpage, 0, 0, 0, 0xFF, 0xFF, 0))


@dataclass(frozen=True)
class Element:
    """An element descriptor."""

    kind: int
    address: int
    flags: int
    sense: tuple[int, int]
    medium_type: int
    source: int | None
    primary: bytes
    alternate: bytes
    identifier: bytes
    code_set: int
    identifier_type: int

    @property
    def full(self) -> bool:
        """FULL."""
        return bool(self.flags & 1)

    @property
    def tag(self) -> str:
        """The primary volume identifier."""
        return self.primary[:32].decode("ascii").strip("\0 ")


@dataclass(frozen=True)
class Page:
    """An element status page."""

    kind: int
    flags: int
    descriptor_length: int
    byte_count: int
    descriptors: tuple[bytes, ...]


def pages(data: bytes) -> Iterator[Page]:
    """The pages of element status data, which must fill it exactly."""
    at = 8
    while at < len(data):
        kind, flags, length, size = struct.unpack_from(">BBHI", data, at)
        body = data[at + 8 : at + 8 + size]
        assert len(body) == size, "a page reaches past the end of the data"
        assert length, "an element descriptor without bytes"
        assert not size % length, f"{size} bytes are no whole descriptors of {length}"
        yield Page(kind, flags, length, size, tuple(body[n : n + length] for n in range(0, size, length)))
        at += 8 + size


def elements(data: bytes) -> list[Element]:
    """All elements of element status data."""
    found = []
    for page in pages(data):
        for raw in page.descriptors:
            at = 12
            tags = []
            for flag in (0x80, 0x40):
                tags.append(raw[at : at + 36] if page.flags & flag else b"")
                at += len(tags[-1])
            found.append(Element(
                page.kind, int.from_bytes(raw[:2], "big"), raw[2], (raw[4], raw[5]), raw[9] & 7,
                int.from_bytes(raw[10:12], "big") if raw[9] & 0x80 else None, tags[0], tags[1],
                raw[at + 4 : at + 4 + raw[at + 3]], raw[at] & 0xF, raw[at + 1] & 0xF,
            ))
    return found


def settle(drive: ConformanceUnit) -> list[SenseCode]:
    """Wait until a drive is ready: a movement ends before the medium is loaded. The unit attentions met on the way."""
    met = []
    until = monotonic() + _PATIENCE
    while monotonic() < until:
        answer = drive.execute(bytes(6))
        if answer.good:
            return met
        assert answer.code is not None
        if answer.code.key == SenseKey.UNIT_ATTENTION:
            met.append(answer.code)
        else:
            assert answer.code.key == SenseKey.NOT_READY, answer
            sleep(0.005)
    raise AssertionError(f"the drive is not ready after {_PATIENCE:g} seconds")


class Library:
    """The unit under test, with its geometry.

    Attributes:
        ranges: first address and count of the elements of each type.
        full, empty: addresses of storage elements, at least two of each.
    """

    def __init__(self, unit: ConformanceUnit) -> None:
        self.unit = unit
        data = unit.good(mode_sense(0x1D), data_in=255)
        page = data[4 + data[3] :]
        numbers = struct.unpack_from(">8H", page, 2)
        self.ranges = {kind: (numbers[2 * kind - 2], numbers[2 * kind - 1]) for kind in range(1, 5)}
        slots = self.elements(SLOT, voltag=1)
        self.full = [slot.address for slot in slots if slot.full]
        self.empty = [slot.address for slot in slots if not slot.full]
        self.tags = {slot.address: slot.tag for slot in slots if slot.full}
        if len(self.full) < 2 or len(self.empty) < 2:
            unit.not_supported("two full storage elements and two empty ones are needed")

    def status(self, kind: int = ALL, **options: int) -> bytes:
        """Element status data."""
        return self.unit.good(read_status(kind, **options), data_in=1 << 20)

    def elements(self, kind: int = ALL, **options: int) -> list[Element]:
        """Elements by READ ELEMENT STATUS."""
        return elements(self.status(kind, **options))

    def element(self, address: int, **options: int) -> Element:
        """One element."""
        (found,) = self.elements(start=address, count=1, **options)
        assert found.address == address
        return found

    def move(self, source: int, destination: int) -> None:
        """A movement that must succeed."""
        self.unit.good(move(source, destination))

    def load(self, source: int, drive: ConformanceUnit, address: int) -> list[SenseCode]:
        """A movement into a drive, and the wait until that is ready; the unit attentions met on the way."""
        self.move(source, address)
        return settle(drive)

    def address(self, kind: int, number: int = 0) -> int:
        """The address of an element of a type; ends the case where there is none."""
        first, count = self.ranges[kind]
        if number >= count:
            self.unit.not_supported(f"there is no element {number} of type {kind}")
        return first + number

    @property
    def nowhere(self) -> int:
        """An address without an element."""
        used = {first + n for first, count in self.ranges.values() for n in range(count)}
        return next(address for address in range(0xFFFF, 0, -1) if address not in used)

    def translate(self, action: int, text: str, *, low: int = 0, high: int = 0, **fields: int) -> list[int]:
        """Addresses that SEND VOLUME TAG and REQUEST VOLUME ELEMENT ADDRESS find."""
        self.unit.good(send_tag(action, **fields), template(text, low, high))
        return self.requested()

    def requested(self, **options: int) -> list[int]:
        """Addresses of REQUEST VOLUME ELEMENT ADDRESS."""
        data = self.unit.good(request_volume(**options), data_in=1 << 16)
        return [element.address for element in elements(data)]

    def drive_unit(self, address: int) -> ConformanceUnit:
        """The logical unit of a data transfer element, found by its designator among those of the target."""
        wanted = self.element(address, dvcid=1).identifier
        listed = self.unit.good(bytes((0xA0, 0, 0, 0, 0, 0, 0, 0, 0x10, 0, 0, 0)), data_in=4096)
        for at in range(8, len(listed), 8):
            lun = int.from_bytes(listed[at : at + 8], "big")
            if lun >> 56 == 0xC1:       # well known
                continue
            other = self.unit.at(lun)
            answer: Answer = other.execute(bytes((0x12, 1, 0x83, 0x0F, 0xFF, 0)), data_in=4095)
            if answer.good and wanted and wanted in answer.data:
                return other
        return self.unit.not_supported("no unit has the identifier of the drive")

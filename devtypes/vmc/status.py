"""READ ELEMENT STATUS and INITIALIZE ELEMENT STATUS (SMC-3 6.2, 6.3, 6.10).

Elements are reported in ascending order of their addresses. Descriptors of one page have one length, so a page ends
where the type or the length changes. Byte counts are of all that meets the CDB; only whole descriptors are
transferred. The status is always current: CURDATA makes no difference but for reservations.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Final

from devtypes.vmc import layouts
from devtypes.vmc.config import ElementType
from devtypes.vmc.inventory import Volume, medium_type
from devtypes.vmc.movement import Movement
from scsiemu import asc
from scsiemu._value import value
from scsiemu.cdb import CdbFields
from scsiemu.command import Command, Completion, Steps
from scsiemu.operations import DataDirection, Operation, ReservationClass, operation
from scsiemu.sense import CheckCondition, SenseCode

__all__ = ["ElementDescriptor", "ElementStatus", "encode_report"]

_HEAD: Final = struct.Struct(">HBxBB3xBH")              # descriptor up to the volume tags
_PAGE: Final = struct.Struct(">BBHI")                   # its last field has 24 bits, behind a reserved byte
_REPORT: Final = struct.Struct(">HHI")
_PVOLTAG: Final = 0x80
_AVOLTAG: Final = 0x40
_SVALID: Final = 0x80

# Byte 2 of descriptors.
_FULL: Final = 0x01
_IMPEXP: Final = 0x02
_EXCEPT: Final = 0x04
_ACCESS: Final = 0x08
_ENABLED: Final = 0x30                                  # EXENAB, INENAB
_OIR: Final = 0x80


@value
class ElementDescriptor:
    """An encoded element descriptor, with what its page says of it."""

    type: int
    address: int
    tags: int
    data: bytes


def encode_report(descriptors: list[ElementDescriptor], allocation: int, *, action: int = 0) -> bytes:
    """Element status data, or volume element address data with its `action` (SMC-3 tables 27, 47).

    Args:
        descriptors: of all elements that are to be reported, by address.
        allocation: bytes that may be transferred. Descriptors and page headers are transferred whole or not at all.
    """
    pages: list[list[ElementDescriptor]] = []
    for found in descriptors:
        last = pages[-1][0] if pages else None
        same = last is not None and (last.type, last.tags, len(last.data)) == (found.type, found.tags, len(found.data))
        if same:
            pages[-1].append(found)
        else:
            pages.append([found])
    parts = [
        (_PAGE.pack(page[0].type, page[0].tags, len(page[0].data), len(page) * len(page[0].data)), page)
        for page in pages
    ]
    total = sum(len(head) + sum(len(found.data) for found in page) for head, page in parts)
    first = descriptors[0].address if descriptors else 0
    report = bytearray(_REPORT.pack(first, len(descriptors), action << 24 | total))[:allocation]
    for head, page in parts:
        for piece in (head, *(found.data for found in page)):
            if len(report) + len(piece) > allocation:
                return bytes(report)
            report += piece
    return bytes(report)


class ElementStatus(Movement):
    """What is in which element."""

    def conflict_class(self, command: Command, operation: Operation, cdb: CdbFields) -> str:
        """SMC-3 table 5: READ ELEMENT STATUS of what is known already is let through by any reservation."""
        if operation.opcode == 0xB8:
            return ReservationClass.ALWAYS if cdb.curdata and not cdb.dvcid else ReservationClass.READ
        return super().conflict_class(command, operation, cdb)

    @operation(
        0x07, "INITIALIZE ELEMENT STATUS", layouts.INITIALIZE_ELEMENT_STATUS, needs_ready=True, exclusive=True,
        recommended_timeout=1800, standard="SMC-3 6.2",
    )
    def initialize_element_status(self, command: Command, cdb: CdbFields) -> Steps:
        """All elements are looked at."""
        yield from self.take_inventory()
        return Completion()

    @operation(
        0x37, "INITIALIZE ELEMENT STATUS WITH RANGE", layouts.INITIALIZE_ELEMENT_STATUS_WITH_RANGE, needs_ready=True,
        exclusive=True, recommended_timeout=1800, standard="SMC-3 6.3",
    )
    def initialize_element_status_with_range(self, command: Command, cdb: CdbFields) -> Steps:
        """The elements of a range are looked at, which takes no longer for all of them; with FAST only those whose
        state is not known, of which there are none."""
        if cdb.range and self.config.type_of(cdb.starting_element_address) is None:
            raise CheckCondition(asc.INVALID_ELEMENT_ADDRESS, field="starting_element_address")
        if not cdb.fast and (not cdb.range or cdb.number_of_elements):
            yield from self.take_inventory()
        return Completion()

    @operation(
        0xB8, "READ ELEMENT STATUS", layouts.READ_ELEMENT_STATUS, data=DataDirection.IN,
        conflict=ReservationClass.SPECIAL, recommended_timeout=300, standard="SMC-3 6.10",
    )
    def read_element_status(self, command: Command, cdb: CdbFields) -> Completion:
        """The status of the elements of a type from an address on, so many at most."""
        addresses = self.selected(cdb.element_type_code, cdb.starting_element_address)[: cdb.number_of_elements]
        descriptors = self.describe(command, addresses, voltag=bool(cdb.voltag), dvcid=bool(cdb.dvcid))
        return Completion(encode_report(descriptors, cdb.allocation_length))

    # --- for the other commands too ----------------------------------------------------------------------------

    def selected(self, element_type: int, start: int) -> list[int]:
        """Addresses of the elements of a type, or of all, from an address on. Raises CheckCondition."""
        if element_type > ElementType.DATA_TRANSFER:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="element_type_code")
        return sorted(
            address
            for part in self.config.ranges if element_type in (ElementType.ALL, part.type)
            for address in part.addresses if address >= start
        )

    def describe(
        self, command: Command, addresses: Iterable[int], *, voltag: bool, dvcid: bool
    ) -> list[ElementDescriptor]:
        """The descriptors of elements; alternate volume tags are there where a volume has one."""
        alternate = voltag and any(volume.alternate for volume in self.inventory.volumes.values())
        tags = _PVOLTAG * voltag | _AVOLTAG * alternate
        found = []
        for address in addresses:
            kind = self.config.type_of(address)
            assert kind is not None
            data = self._descriptor(command, address, kind, tags=tags, dvcid=dvcid)
            found.append(ElementDescriptor(kind, address, tags, data))
        return found

    def element_exception(self, address: int) -> SenseCode | None:
        """What is wrong with an element; None for nothing."""
        if self.config.type_of(address) == ElementType.DATA_TRANSFER and self.drive(address) is None:
            return asc.DATA_TRANSFER_DEVICE_REMOVED
        return None

    def is_accessible(self, command: Command, address: int) -> bool:
        """ACCESS: whether the medium transport element can take or bring a volume now."""
        kind = self.config.type_of(address)
        if self.door_open or (self.ports_open and kind == ElementType.IMPORT_EXPORT):
            return False
        if kind != ElementType.DATA_TRANSFER:
            return True
        drive = self.drive(address)
        if drive is None:
            return False
        try:
            if drive.medium is None:
                drive.check_insertion(command)
            else:
                drive.check_removal(command)
        except CheckCondition:
            return False
        return True

    def _descriptor(self, command: Command, address: int, kind: int, *, tags: int, dvcid: bool) -> bytes:
        volume = self.inventory.get(address)
        exception = self.element_exception(address)
        flags = _FULL if volume is not None else 0
        if exception is not None:
            flags |= _EXCEPT
        if kind != ElementType.MEDIUM_TRANSPORT and self.is_accessible(command, address):
            flags |= _ACCESS
        if kind == ElementType.IMPORT_EXPORT:
            flags |= _ENABLED | (_IMPEXP if volume is not None and volume.by_operator else 0)
            flags |= _OIR if self.ports_open else 0
        origin, source = 0, 0
        if volume is not None:
            origin = medium_type(volume)
            if volume.source is not None:
                origin, source = origin | _SVALID, volume.source
        sense = (exception.asc, exception.ascq) if exception is not None else (0, 0)
        head = _HEAD.pack(address, flags, *sense, origin, source)
        return head + _tags(volume, tags) + self._identifier(address, kind, dvcid=dvcid)

    def _identifier(self, address: int, kind: int, *, dvcid: bool) -> bytes:
        """CODE SET, IDENTIFIER TYPE, IDENTIFIER LENGTH and IDENTIFIER: of drives, where asked for."""
        designator = None
        if dvcid and kind == ElementType.DATA_TRANSFER:
            designator = self.drive_designator(address)
        if designator is None:
            return bytes(4)
        return bytes((designator.code_set, designator.type, 0, len(designator.data))) + designator.data


def _tags(volume: Volume | None, tags: int) -> bytes:
    """Volume tag information; zeros where there is no volume or its tag is not defined."""
    found = b""
    for flag, name in ((_PVOLTAG, "primary"), (_AVOLTAG, "alternate")):
        if tags & flag:
            tag = getattr(volume, name) if volume is not None else None
            found += tag.encode() if tag is not None else bytes(36)
    return found

"""REPORT ELEMENT INFORMATION (SMC-3 6.12): static information and state of elements, in pages.

There is no page of locations: a library made of numbers has none.
"""

from __future__ import annotations

import struct
from typing import Final

from devtypes.vmc import layouts
from devtypes.vmc.config import ElementType
from devtypes.vmc.tags import VolumeTags
from scsiemu import asc
from scsiemu.cdb import CdbFields
from scsiemu.command import Command, Completion
from scsiemu.operations import DataDirection, ReservationClass, operation
from scsiemu.sense import CheckCondition

__all__ = ["ElementInformation"]

_SUPPORTED: Final = 0x00
_STATIC: Final = 0x02
_STATE: Final = 0x03
_ALL_PAGES: Final = 0x7F

_PAGE: Final = struct.Struct(">BxHI")
_STATIC_DESCRIPTOR: Final = struct.Struct(">IIBB2x")
_STATE_DESCRIPTOR: Final = struct.Struct(">IBBBB")
_VOLUME: Final = 0x40               # VOLUME PRESENT 01b
_EMPTY: Final = 0x80                # 10b
_BY_TRANSPORT: Final = 0x10         # IMPORT 01b
_BY_OPERATOR: Final = 0x20          # 10b
_OIR: Final = 0x08
_MTAP: Final = 0x02
_SDV: Final = 0x01


class ElementInformation(VolumeTags):
    """What elements can do and how they are."""

    @operation(
        0x9E, "REPORT ELEMENT INFORMATION", layouts.REPORT_ELEMENT_INFORMATION, service_action=0x10,
        data=DataDirection.IN, conflict=ReservationClass.ALWAYS, allocation="allocation_length",
        recommended_timeout=60, standard="SMC-3 6.12",
    )
    def report_element_information(self, command: Command, cdb: CdbFields) -> Completion:
        """One page, or all of them, of the elements of a type from an address on."""
        addresses = self.selected(cdb.element_type_code, cdb.starting_element_address)
        if cdb.nev:
            addresses = addresses[: cdb.number_of_elements]
        wanted = (_SUPPORTED, _STATIC, _STATE) if cdb.page_code == _ALL_PAGES else (cdb.page_code,)
        data = b""
        for code in wanted:
            if code == _SUPPORTED:
                data += self._supported_page(cdb.element_type_code)
            elif code == _STATIC:
                data += self._static_page(addresses)
            elif code == _STATE:
                data += self._state_page(command, addresses)
            else:
                raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="page_code")
        return Completion(data)

    def _supported_page(self, element_type: int) -> bytes:
        codes = bytes((_SUPPORTED, _STATIC, _STATE, _ALL_PAGES))
        body = b"".join(
            struct.pack(">BxH", part.type, len(codes)) + codes
            for part in self.config.ranges if part.count and element_type in (ElementType.ALL, part.type)
        )
        return _PAGE.pack(_SUPPORTED, 0, len(body)) + body

    def _static_page(self, addresses: list[int]) -> bytes:
        """Elements of one type with addresses in a row are one descriptor: they are all alike. None is a source or
        destination only, none moves, can be disabled, or become an element of another type."""
        body = b""
        at = 0
        while at < len(addresses):
            first, kind = addresses[at], self.config.type_of(addresses[at])
            assert kind is not None
            count = 1
            while at + count < len(addresses) and self.config.type_of(addresses[at + count]) == kind:
                count += 1
            body += _STATIC_DESCRIPTOR.pack(first, count, kind, 0)
            at += count
        return _PAGE.pack(_STATIC, _STATIC_DESCRIPTOR.size, len(body)) + body

    def _state_page(self, command: Command, addresses: list[int]) -> bytes:
        body = b""
        for address in addresses:
            kind = self.config.type_of(address)
            assert kind is not None
            volume = self.inventory.get(address)
            flags = _EMPTY
            if volume is not None:
                flags = _VOLUME | (_BY_OPERATOR if volume.by_operator else _BY_TRANSPORT)
            if kind == ElementType.IMPORT_EXPORT and self.ports_open:
                flags |= _OIR
            if not self.is_accessible(command, address):
                flags |= _MTAP
            exception = self.element_exception(address)
            sense = (0, 0)
            if exception is not None:
                flags |= _SDV
                sense = (exception.asc, exception.ascq)
            body += _STATE_DESCRIPTOR.pack(address, kind, flags, *sense)
        return _PAGE.pack(_STATE, _STATE_DESCRIPTOR.size, len(body)) + body

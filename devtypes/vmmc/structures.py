"""READ DISC STRUCTURE: what is written in lead-ins, and what the drive knows of a disc (MMC-6 6.22).

A row of the table is a format: the media that have it, and what it returns. CD has no structures but the serial number
of media, which is not here.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Final

from devtypes.vmmc import layouts
from devtypes.vmmc.defects import spare_clusters, spares_left, supplementary_clusters
from devtypes.vmmc.disc import Disc
from devtypes.vmmc.information import Information
from devtypes.vmmc.layers import LAYER_STRUCTURES, layers_are_settled
from devtypes.vmmc.profiles import Family
from devtypes.vmmc.read import INCOMPATIBLE_MEDIUM
from scsiemu import asc
from scsiemu.cdb import CdbFields
from scsiemu.command import Command, Completion
from scsiemu.operations import DataDirection, ReservationClass, operation
from scsiemu.sense import CheckCondition

__all__ = ["DiscStructures", "WriteProtection"]

_DVD, _BD = 0, 1                        # MEDIA TYPE
_ALL_LAYERS: Final = 0xFF
# Physical sector number of LBA 0; of a DVD-RAM, whose lead-in is longer (ECMA-330).
_DATA_START, _RAM_DATA_START = 0x030000, 0x031000
# Linear and track density (MMC-6 table 407) of most discs, of two layers, of a DVD-RAM.
_DENSITY, _DENSITY_OF_TWO, _RAM_DENSITY = 0x00, 0x10, 0x42
_BD_START: Final = 0x100000
_MANUFACTURER: Final = b"SCSIEMU"

_Form = Callable[[Disc], bytes]


class WriteProtection:
    """Bits of the write protection status (format C0h), and of the medium status of a DVD-RAM (format 09h; no SWPP)."""

    SOFTWARE: Final = 0x01          # SWPP: until power down
    PERSISTENT: Final = 0x02        # PWP: on the medium


class DiscStructures(Information):
    """Disc structures."""

    @operation(
        0xAD, "READ DISC STRUCTURE", layouts.READ_DISC_STRUCTURE, data=DataDirection.IN,
        conflict=ReservationClass.READ, needs_ready=True, allocation="allocation_length", standard="MMC-6 6.22",
    )
    def read_disc_structure(self, command: Command, cdb: CdbFields) -> Completion:
        """A structure of the disc; FFh lists them."""
        disc = self.loaded
        if cdb.media_type > _BD:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="media_type")
        family = Family.BD if cdb.media_type == _BD else Family.DVD
        if cdb.format == _ALL_LAYERS:
            return Completion(_with_header(self._list(disc)))
        if disc.kind.family != family:
            raise CheckCondition(INCOMPATIBLE_MEDIUM)
        if cdb.layer >= disc.kind.layers:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="layer")
        form = self._forms(disc).get(cdb.format)
        if form is None:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="format")
        return Completion(_with_header(form(disc)))

    def _list(self, disc: Disc) -> bytes:
        return b"".join(
            struct.pack(">BBH", number, 0xC0 if _is_sent(disc, number) else 0x40, len(form(disc)) + 4)
            for number, form in self._forms(disc).items()
        )

    def _forms(self, disc: Disc) -> dict[int, _Form]:
        """Formats of a medium. A BD without a cartridge has zeros as the status of that."""
        forms: dict[int, _Form]
        if disc.kind.family == Family.BD:
            forms = {0x00: _bd_information, 0x08: _bd_defects, 0x09: lambda disc: bytes(4), 0x0A: _bd_spare}
            return forms if disc.kind.pressed else forms | {0xC0: self._write_protection}
        if disc.kind.family != Family.DVD:
            return {}
        forms = {0x00: self.dvd_physical, 0x01: lambda disc: bytes(4), 0x04: lambda disc: bytes(2048)}
        name = disc.kind.name
        if name == "dvd-ram":
            forms |= {0x08: lambda disc: bytes(2048), 0x09: _dvd_ram_status, 0x0A: _dvd_ram_spare}
        if name in ("dvd-r", "dvd-rw", "dvd-r-dl"):
            forms |= {0x0C: lambda disc: bytes(2052), 0x0D: _border, 0x0E: _prerecorded, 0x10: _control_data}
        if disc.kind.plus:
            forms |= {0x11: self._adip}
        if disc.kind.layers > 1:
            forms |= {0x20: _layer_boundary}
        if name == "dvd-r-dl":
            forms |= {
                0x21: _layer_boundary,
                0x22: lambda disc: struct.pack(">II", 0, disc.jump_interval),
                0x23: lambda disc: struct.pack(">II", 0, disc.manual_jump),
            }
        if not disc.kind.pressed:
            forms |= {0xC0: self._write_protection}
        return dict(sorted(forms.items()))

    def _write_protection(self, disc: Disc) -> bytes:
        return bytes((self.software_protected() * WriteProtection.SOFTWARE | _persistent(disc), 0, 0, 0))

    def dvd_physical(self, disc: Disc) -> bytes:
        """Physical format information; of a DVD-R or DVD-RW that of the last border, which says where data ends."""
        return _physical_format(disc, disc.capacity if disc.kind.plus else disc.capacity_end)

    def _adip(self, disc: Disc) -> bytes:
        """ADIP of DVD+R and DVD+RW: as the physical format, with maker and type of the medium."""
        fixed = bytearray(self.dvd_physical(disc)[:256])
        fixed[19:27] = _MANUFACTURER.ljust(8, b"\0")
        fixed[27:30] = disc.kind.name[:3].upper().encode()
        return bytes(fixed)


def _physical_format(disc: Disc, blocks: int) -> bytes:
    """Book type, size and rate, layers, density, where data begins and where so many blocks of it end."""
    kind = disc.kind
    ram = kind.name == "dvd-ram"
    start = _RAM_DATA_START if ram else _DATA_START
    layer_type = 1 if kind.pressed else 4 if kind.erasable else 2
    end, last = start + max(blocks - 1, 0), 0
    if kind.layers > 1:
        last = start + disc.capacity // 2 - 1
        if end > last:          # opposite track path: on layer 1 the numbers are those below, inverted
            end = 0xFFFFFF - (2 * last + 1 - end)
    fixed = struct.pack(
        ">BBBBIII", kind.book_type << 4 | (1 if kind.plus or kind.pressed else 5), 0x02 if kind.plus else 0x0F,
        (kind.layers - 1) << 5 | (0x10 if kind.layers > 1 else 0) | layer_type,
        _RAM_DENSITY if ram else _DENSITY_OF_TWO if kind.layers > 1 else _DENSITY, start, end, last,
    )
    return (fixed + b"\0\0").ljust(2048, b"\0")


def _control_data(disc: Disc) -> bytes:
    """Format information of the control data zone: data may be up to the end of the disc."""
    return _physical_format(disc, disc.capacity)


def _is_sent(disc: Disc, form: int) -> bool:
    """Whether SEND DISC STRUCTURE takes it, too."""
    return LAYER_STRUCTURES.get(form) == disc.kind.name or (form == 0xC0 and disc.takes_protection)


def _with_header(data: bytes) -> bytes:
    return (len(data) + 2).to_bytes(2, "big") + bytes(2) + data


def _layer_boundary(disc: Disc) -> bytes:
    """Whether the capacity of layer 0 was set, or is settled by what is recorded; the capacity, behind which is the
    middle area."""
    return struct.pack(">II", layers_are_settled(disc) << 31, disc.capacity // 2)


def _persistent(disc: Disc) -> int:
    return WriteProtection.PERSISTENT if disc.protected else 0


def _dvd_ram_status(disc: Disc) -> bytes:
    """Medium status: no cartridge, persistent write protection."""
    return bytes((_persistent(disc), 0, 0, 0))


def _dvd_ram_spare(disc: Disc) -> bytes:
    """Unused primary spare blocks, unused and all supplementary ones. Primary ones are used first."""
    step, supplementary = disc.kind.blocks, supplementary_clusters(disc)
    primary = max(disc.primary - disc.spares_used, 0)
    unused = spare_clusters(disc) - disc.spares_used - primary
    return struct.pack(">III", primary * step, unused * step, supplementary * step)


def _border(disc: Disc) -> bytes:
    """Border-out of the last border zone."""
    end = disc.sessions[-1].lead_out if disc.sessions else 0
    return struct.pack(">II", _DATA_START + end, 0)


def _prerecorded(disc: Disc) -> bytes:
    """Pre-recorded information of a DVD-R: fields 1 to 5 with their identifiers, maker as text."""
    text = _MANUFACTURER[:6].ljust(6, b"\0")
    return (
        bytes((1, 0x40, 0xC1, 0xFD, 0x9E, 0xD8, 0x52, 0)) + bytes((2, 0x85, 0x0D, 0x10, 0x88, 0x9B, 0x80, 0))
        + b"\x03" + text + b"\0" + b"\x04" + bytes(6) + b"\0" + b"\x05" + bytes(6) + b"\0"
    ).ljust(80, b"\0")


def _bd_information(disc: Disc) -> bytes:
    """Disc information units: the first one of each layer, "DI"."""
    kind = {"bd-rom": b"BDO", "bd-r": b"BDR", "bd-re": b"BDW"}[disc.kind.name]
    unit = bytearray(112)
    unit[0:8] = bytes((0x44, 0x49, 1, 0x08 if disc.kind.name == "bd-rom" else 0x10, 0, 0, 0, 98))
    unit[8:11] = kind
    unit[11] = 1 << 4 | 1 if disc.kind.name != "bd-rom" else 1 << 4 | 0
    unit[12] = disc.kind.layers << 4 | {"bd-rom": 1, "bd-r": 2, "bd-re": 4}[disc.kind.name]
    unit[24:28] = _BD_START.to_bytes(4, "big")
    unit[28:32] = (_BD_START + disc.capacity - 1).to_bytes(4, "big")
    unit[100:106] = _MANUFACTURER[:6]
    unit[106:109] = b"001"
    return bytes(unit).ljust(4096, b"\0")


def _bd_defects(disc: Disc) -> bytes:
    """Disc definition structure."""
    return b"DS\0\0".ljust(2048, b"\0")


def _bd_spare(disc: Disc) -> bytes:
    """Unused spare blocks, allocated spare blocks."""
    step = disc.kind.blocks
    return struct.pack(">III", 0, spares_left(disc) * step, supplementary_clusters(disc) * step)

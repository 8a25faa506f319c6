"""What the drive and its media can do: READ BLOCK LIMITS, REPORT DENSITY SUPPORT (SSC-5 7.5, 7.8)."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Final

from devtypes.vt import layouts
from devtypes.vt.formatting import Formatting
from devtypes.vt.layouts import tape_operation
from devtypes.vt.personality import Density, MediumKind
from scsiemu.cdb import CdbFields
from scsiemu.command import Command, Completion
from scsiemu.operations import DataDirection, ReservationClass

__all__ = ["Densities"]

_BLOCK_LIMITS: Final = struct.Struct(">B3sH")
_OBJECT_LIMIT: Final = struct.Struct(">12xQ")
_MOST_OBJECTS: Final = (1 << 63) - 1        # MAXIMUM LOGICAL OBJECT IDENTIFIER
_DENSITY: Final = struct.Struct(">BBBH3sHHI8s8s20s")
_MEDIUM: Final = struct.Struct(">BBHB9sHH2x8s8s20s")
_WRTOK: Final = 0x80
_DEFLT: Final = 0x20
_CODES: Final = 9                           # density codes in a medium type descriptor


class Densities(Formatting):
    """The commands that tell of densities, media and limits."""

    @tape_operation(
        0x05, "READ BLOCK LIMITS", layouts.READ_BLOCK_LIMITS, data=DataDirection.IN,
        conflict=ReservationClass.ALWAYS, standard="SSC-5 7.5",
    )
    def read_block_limits(self, command: Command, cdb: CdbFields) -> Completion:
        """Granularity, longest and shortest block; with MLOI the highest logical object identifier."""
        if cdb.mloi:
            return Completion(_OBJECT_LIMIT.pack(_MOST_OBJECTS))
        kind = self.kind
        longest = kind.longest_block.to_bytes(3, "big")
        return Completion(_BLOCK_LIMITS.pack(kind.granularity, longest, kind.shortest_block))

    @tape_operation(
        0x44, "REPORT DENSITY SUPPORT", layouts.REPORT_DENSITY_SUPPORT, data=DataDirection.IN,
        conflict=ReservationClass.ALWAYS, allocation="allocation_length", standard="SSC-5 7.8",
    )
    def report_density_support(self, command: Command, cdb: CdbFields) -> Completion:
        """Densities, or with MEDIUM TYPE kinds of media; of the drive, or with MEDIA of the cartridge in it."""
        if cdb.media:
            self.check_loaded()
        descriptors = self._media(medium=bool(cdb.media)) if cdb.medium_type else (
            self._densities(medium=bool(cdb.media))
        )
        body = b"".join(descriptors)
        return Completion((len(body) + 2).to_bytes(2, "big") + bytes(2) + body)

    def _densities(self, *, medium: bool) -> Iterable[bytes]:
        """Density descriptors in ascending order of their codes (SSC-5 7.8.3)."""
        state = self.cartridge.state if medium and self.cartridge is not None else None
        densities = sorted(self.kind.densities, key=lambda density: density.code)
        if state is not None:
            fitting = next((each for each in self.kind.media if each.medium_type == state.medium_type), None)
            codes = fitting.densities if fitting is not None else (state.density,)
            densities = [density for density in densities if density.code in codes]
        for density in densities:
            capacity = density.capacity
            if state is not None:
                capacity = -(-self.tape.usable // 1_000_000)
            yield self._density_descriptor(density, capacity)

    def _density_descriptor(self, density: Density, capacity: int) -> bytes:
        flags = (_WRTOK if density.writable else 0) | (_DEFLT if density == self.kind.density else 0)
        return _DENSITY.pack(
            density.code, density.code, flags, 0, density.bits_per_mm.to_bytes(3, "big"), density.width,
            density.tracks, min(capacity, 0xFFFFFFFF), _text(density.organization, 8), _text(density.name, 8),
            _text(density.description, 20),
        )

    def _media(self, *, medium: bool) -> Iterable[bytes]:
        """Medium type descriptors (SSC-5 7.8.4)."""
        for each in sorted(self.kind.media, key=lambda kind: kind.medium_type):
            if not medium or (self.cartridge is not None and each.medium_type == self.cartridge.state.medium_type):
                yield self._medium_descriptor(each)

    def _medium_descriptor(self, medium: MediumKind) -> bytes:
        codes = medium.densities[:_CODES]
        return _MEDIUM.pack(
            medium.medium_type, 0, _MEDIUM.size - 4, len(codes), bytes(sorted(codes)), medium.width, medium.length,
            _text(self.kind.vendor, 8), _text(medium.name, 8), _text(medium.description, 20),
        )


def _text(text: str, length: int) -> bytes:
    """Left-aligned ASCII."""
    return text.encode("ascii", "replace")[:length].ljust(length)

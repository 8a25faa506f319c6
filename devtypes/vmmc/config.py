"""What an optical drive is made of, and what is in it at first."""

from __future__ import annotations

from typing import Final

from devtypes.vmmc.profiles import KINDS
from scsiemu._value import value

__all__ = ["SECTOR_SIZES", "OpticalConfig"]

# Bytes of a sector in a plain image: user data, whole sectors, whole sectors with sub-channels.
SECTOR_SIZES: Final = (2048, 2352, 2448)


@value
class OpticalConfig:
    """An optical drive.

    Args:
        kind: of the disc, where its image does not say: a name of `KINDS`; empty: by its size.
        sector: bytes of a sector in a plain image, one of `SECTOR_SIZES`; 0: as it looks.
        audio: a plain image of 2352 or 2448 bytes a sector is an audio track.
        blank: make the store a blank disc of this kind, unless it is one already.
        tray_open: begin with the tray open, the disc in it.
        empty: begin without a disc.
        shelf: the store is a shelf of discs, mounted by name (`scsiemu.media`).
        name: of the disc that is in the drive at first.
        load_seconds: from closing the tray until the disc is ready.
        write_protect: the disc is write protected by the operator.
        region: DVD region of the drive, 1 to 8; 0: not set yet.
        long_seconds: BLANK, FORMAT UNIT and closing take at least so long.
    """

    kind: str = ""
    sector: int = 0
    audio: bool = False
    blank: str = ""
    tray_open: bool = False
    empty: bool = False
    shelf: bool = False
    name: str = "disc"
    load_seconds: float = 0.0
    write_protect: bool = False
    region: int = 0
    long_seconds: float = 0.0

    def __post_init__(self) -> None:
        for name in (self.kind, self.blank):
            if name and name not in KINDS:
                raise ValueError(f"there is no kind of disc {name!r}; there are {', '.join(KINDS)}")
        if self.blank and KINDS[self.blank].pressed:
            raise ValueError(f"a {KINDS[self.blank].title} is never blank")
        if self.sector not in (0, *SECTOR_SIZES):
            raise ValueError(f"sectors of {self.sector} bytes: 2048, 2352 or 2448")
        if not 0 <= self.region <= 8:
            raise ValueError("region: 1 to 8, 0 for not set")

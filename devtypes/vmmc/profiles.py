"""The kinds of disc and their profiles (MMC-6 5.3.1, table 93): one row for each, from which everything else follows.

A profile belongs to a disc in its present state: a DVD-RW is 14h as it comes from the shop and 13h once it is
formatted, a BD-R is 41h or 42h as it was formatted. `Disc.profile` knows.
"""

from __future__ import annotations

from typing import Final

from scsiemu._value import value

__all__ = ["KINDS", "PROFILE_NAMES", "RECORDABLE", "Family", "MediumKind", "Recording"]


class Family:
    """What the disc is physically."""

    CD: Final = "cd"
    DVD: Final = "dvd"
    BD: Final = "bd"


class Recording:
    """How a disc takes data."""

    PRESSED: Final = "pressed"          # not at all
    SEQUENTIAL: Final = "sequential"    # behind what is there, in tracks and sessions
    OVERWRITE: Final = "overwrite"      # anywhere, again and again


@value
class MediumKind:
    """A kind of disc.

    Args:
        name: as the user writes it.
        title: for people.
        profile: its profile number, as it comes from the shop.
        family: one of `Family`.
        recording: one of `Recording`, as it comes from the shop.
        capacity: blocks of the user area; of pressed discs the most that there can be.
        erasable: can be written again.
        blocks: of an ECC block: the unit that the medium is written in.
        book_type: Book Type of DVD physical format information, 0 for others.
        layers: recording layers.
        formatted: blocks after a format with default spare areas; 0: as `capacity`.
    """

    name: str
    title: str
    profile: int
    family: str
    recording: str
    capacity: int
    erasable: bool = False
    blocks: int = 1
    book_type: int = 0
    layers: int = 1
    formatted: int = 0

    @property
    def is_cd(self) -> bool:
        """Whether it has the sectors, tracks and sub-channels of a CD."""
        return self.family == Family.CD

    @property
    def pressed(self) -> bool:
        """Whether it came with its data and takes no other."""
        return self.recording == Recording.PRESSED

    @property
    def plus(self) -> bool:
        """Whether it is of the DVD+RW alliance's family."""
        return self.name.startswith("dvd+")


# 99:59:74 is the last address of a CD; 79:59:73 where an ordinary lead-out may begin.
_CD_MOST: Final = 449849
_CD_R: Final = 359847

_ROWS: Final = (
    MediumKind("cd-rom", "CD-ROM", 0x08, Family.CD, Recording.PRESSED, _CD_MOST),
    MediumKind("cd-r", "CD-R", 0x09, Family.CD, Recording.SEQUENTIAL, _CD_R),
    MediumKind("cd-rw", "CD-RW", 0x0A, Family.CD, Recording.SEQUENTIAL, _CD_R, erasable=True),
    MediumKind("dvd-rom", "DVD-ROM", 0x10, Family.DVD, Recording.PRESSED, 4173824, False, 16, 0x0),
    MediumKind("dvd-r", "DVD-R", 0x11, Family.DVD, Recording.SEQUENTIAL, 2298496, False, 16, 0x2),
    MediumKind("dvd-ram", "DVD-RAM", 0x12, Family.DVD, Recording.OVERWRITE, 2295072, True, 16, 0x1, 1, 2236704),
    MediumKind("dvd-rw", "DVD-RW", 0x14, Family.DVD, Recording.SEQUENTIAL, 2298496, True, 16, 0x3),
    MediumKind("dvd-r-dl", "DVD-R DL", 0x15, Family.DVD, Recording.SEQUENTIAL, 4171712, False, 16, 0x2, 2),
    MediumKind("dvd+rw", "DVD+RW", 0x1A, Family.DVD, Recording.OVERWRITE, 2295104, True, 16, 0x9),
    MediumKind("dvd+r", "DVD+R", 0x1B, Family.DVD, Recording.SEQUENTIAL, 2295104, False, 16, 0xA),
    MediumKind("dvd+r-dl", "DVD+R DL", 0x2B, Family.DVD, Recording.SEQUENTIAL, 4173824, False, 16, 0xE, 2),
    MediumKind("bd-rom", "BD-ROM", 0x40, Family.BD, Recording.PRESSED, 62500864, False, 32),
    MediumKind("bd-r", "BD-R", 0x41, Family.BD, Recording.SEQUENTIAL, 12219392, False, 32, 0, 1, 11826176),
    MediumKind("bd-re", "BD-RE", 0x43, Family.BD, Recording.OVERWRITE, 12219392, True, 32, 0, 1, 11826176),
)

# By name.
KINDS: Final = {kind.name: kind for kind in _ROWS}

# Every profile that the drive has, in the order of the profile list (best first, MMC-6 5.3.1).
PROFILE_NAMES: Final = {
    0x43: "BD-RE", 0x42: "BD-R random recording", 0x41: "BD-R sequential recording", 0x40: "BD-ROM",
    0x2B: "DVD+R dual layer", 0x1B: "DVD+R", 0x1A: "DVD+RW", 0x16: "DVD-R dual layer, layer jump recording",
    0x15: "DVD-R dual layer, sequential recording", 0x14: "DVD-RW sequential recording",
    0x13: "DVD-RW restricted overwrite", 0x12: "DVD-RAM", 0x11: "DVD-R sequential recording", 0x10: "DVD-ROM",
    0x0A: "CD-RW", 0x09: "CD-R", 0x08: "CD-ROM",
}

RECORDABLE: Final = frozenset(PROFILE_NAMES) - {0x08, 0x10, 0x40}

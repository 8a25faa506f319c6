"""Media that move: what a drive asks of the shelf that its cartridges or discs stand in, and a changer of a drive.

A *shelf* is a store that keeps many media, of which at most one is mounted. `Mount` and `Unmount` choose whose bytes
Read, Write and the other verbs mean. A name is looked up among what is there; it never becomes a path.

A *drive* is a device server with removable media. A changer (SMC-3) in the same target finds it by its LUN, sees
whether it is a `MediumDrive`, and moves media in and out. An operator does the same by hand, at an `AttendedDrive`.
Nothing here moves anything by itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol, runtime_checkable

from scsiemu.command import Command
from scsiemu.identity import Identity
from scsiemu.io_requests import IoRequest, StoreCapabilities
from scsiemu.sense import Sense

if TYPE_CHECKING:
    from scsiemu.logical_unit import BackgroundTask

__all__ = [
    "CUE_MAGIC", "MOST_CUE_BYTES", "AttendedDrive", "Automation", "ListMedia", "MediumDrive", "Mount", "Unmount",
]

# What a store that is a cue sheet with its files begins with; the length of the sheet (4 bytes), the sheet, the files
# follow. How long a sheet may be.
CUE_MAGIC: Final = b"SCSIEMU CUE 1\r\n\0"
MOST_CUE_BYTES: Final = 256 << 10


class ListMedia(IoRequest["tuple[str, ...]"]):
    """Asked of a shelf: the names of the media that it has, mounted or not, sorted."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "ListMedia()"


class Mount(IoRequest[StoreCapabilities]):
    """Asked of a shelf: the medium of this name is what requests mean from now on. Answered with what it can do.

    Fails with GONE where there is no such medium, or another is mounted.
    """

    __slots__ = ("name", "read_only")

    def __init__(self, name: str, *, read_only: bool = False) -> None:
        self.name = name
        self.read_only = read_only

    def __repr__(self) -> str:
        return f"Mount({self.name!r})"


class Unmount(IoRequest[None]):
    """Asked of a shelf: bring what was written to stable storage and let go of the medium."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "Unmount()"


@runtime_checkable
class Automation(Protocol):
    """A changer as its drives see it: a device server of the same target."""

    @property
    def identity(self) -> Identity:
        """Its names."""

    def element_of(self, drive: object) -> int | None:
        """The address of the element in which a device server is the drive; None where it is not one of its drives."""


@runtime_checkable
class MediumDrive(Protocol):
    """A drive as a changer sees it.

    A changer asks `check_removal` or `check_insertion` first, and moves nothing where they raise.
    """

    @property
    def medium(self) -> str | None:
        """The name of the medium inside, threaded or not; None where the drive is empty."""

    def check_removal(self, command: Command) -> None:
        """Raises CheckCondition while the medium cannot be taken: prevented, in use, or not unloaded."""

    def check_insertion(self, command: Command) -> None:
        """Raises CheckCondition while no medium can be put in."""

    def insert(self, name: str, *, by: Command | None = None) -> None:
        """A medium is put in: the drive loads it, and every nexus but that of `by` hears of it."""

    def remove(self, *, by: Command | None = None) -> str:
        """The medium is taken out; its name. `check_removal` was asked before."""


@runtime_checkable
class AttendedDrive(MediumDrive, Protocol):
    """A drive as somebody who stands before it has it. What was begun waits for commands, and has sense data as its
    result where it was refused.
    """

    @property
    def removable(self) -> bool:
        """Whether its medium can be removed at all."""

    def not_ready(self) -> Sense | None:
        """Why the medium cannot be had; None where it can."""

    def press_eject(self, *, force: bool = False) -> BackgroundTask:
        """Have the medium unloaded, so that it can be removed; with `force` although removal is prevented."""

    def press_load(self) -> BackgroundTask:
        """Have a medium loaded that is inside, or came out and was not removed."""

    def set_write_protect(self, protected: bool) -> BackgroundTask:
        """Write protect the medium, or lift that."""

"""A removable disk whose media stand on a shelf and come by name: `scsiemu.media.MediumDrive`.

Such a disk begins empty. What is put in is mounted and is as large as what it is kept in; START STOP UNIT with LOEJ
lets go of it, then it can be taken out, or loaded again (SBC-4 5.31).
"""

from __future__ import annotations

from typing import Any, Final

from devtypes.vd.medium import Medium
from scsiemu import asc
from scsiemu.command import Command, Completion, Steps
from scsiemu.errors import IoFailed
from scsiemu.io_requests import Sleep
from scsiemu.media import Mount, Unmount
from scsiemu.sense import CheckCondition

__all__ = ["ShelvedMedia"]

_POLL: Final = 0.01     # seconds


class ShelvedMedia(Medium):
    """Media that a changer or an operator puts in and takes out.

    Attributes:
        name: of the medium inside, loaded or ejected; None where there is none, or no shelf.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        self.name: str | None = None
        self._mounted = self._moving = False
        super().__init__(*args, **options)
        self._protected = self.config.write_protect
        if self.config.shelf:
            self.present = False
            self.refresh()

    @property
    def medium(self) -> str | None:
        """The name of the medium inside; None where the drive is empty, or its medium cannot leave it."""
        return self.name

    def check_removal(self, command: Command) -> None:
        """Raises CheckCondition while the medium cannot be taken: prevented, or not ejected."""
        self.check_not_prevented()
        if self.name is None:
            raise CheckCondition(asc.MEDIUM_SOURCE_ELEMENT_EMPTY)
        if self.present or self._mounted or self._moving:
            raise CheckCondition(asc.MEDIUM_REMOVAL_PREVENTED_BY_DATA_TRANSFER_ELEMENT)

    def check_insertion(self, command: Command) -> None:
        """Raises CheckCondition while there is a medium inside."""
        if self.name is not None or not self.config.shelf:
            raise CheckCondition(asc.MEDIUM_DESTINATION_ELEMENT_FULL)

    def insert(self, name: str, *, by: Command | None = None) -> None:
        """A medium is put in and loaded."""
        assert self.name is None
        self.name = name
        self._behind(self._mount_steps())

    def remove(self, *, by: Command | None = None) -> str:
        """The medium is taken out; its name. `check_removal` was asked before."""
        name = self.name
        assert name is not None
        self.name = None
        self.failure = None
        return name

    # --- loading and ejecting ----------------------------------------------------------------------------------

    def load(self, *, by: Command | None = None) -> None:
        if not self.config.shelf:
            super().load(by=by)
        elif self.name is None:
            raise CheckCondition(asc.MEDIUM_NOT_PRESENT)
        else:
            self._behind(self._mount_steps(by))

    def stop(self, *, eject: bool) -> None:
        super().stop(eject=eject)
        if eject and self._mounted:
            self._behind(self._unmount_steps())

    def settle_steps(self) -> Steps:
        while self._moving:
            yield from Sleep(_POLL)
        return Completion()

    def _behind(self, steps: Steps) -> None:
        if not self._moving:
            self._moving = True
            self.unit.start_background(steps, "medium")

    def _mount_steps(self, by: Command | None = None) -> Steps:
        """What is wrong with the medium becomes `failure`."""
        assert self.name is not None
        try:
            if not self._mounted:
                capabilities = yield from Mount(self.name)
                self._mounted = True
                self.config = self.config.on_medium(capabilities, write_protect=self._protected)
        except IoFailed:
            self.failure = asc.MEDIA_LOAD_OR_EJECT_FAILED
        except ValueError:
            self.failure = asc.CANNOT_READ_MEDIUM_UNKNOWN_FORMAT
        else:
            self.failure = None
            self.unreadable.clear()
            self.grown_defects.clear()
            self.take_geometry()
            super().load(by=by)
        finally:
            self._moving = False
        return Completion()

    def _unmount_steps(self) -> Steps:
        try:
            yield Unmount()
            self._mounted = False
        finally:
            self._moving = False
        return Completion()

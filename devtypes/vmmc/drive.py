"""The optical drive, put together from its parts."""

from __future__ import annotations

from typing import ClassVar

from devtypes.vmmc.formatting import Formatting
from devtypes.vmmc.profiles import PROFILE_NAMES, RECORDABLE

__all__ = ["OpticalDrive"]


class OpticalDrive(Formatting):
    """A CD, DVD and BD drive (MMC-6). Args are those of `OpticalBase`.

    Attributes:
        recordable_profiles: names of media that are written, by profile.
    """

    recordable_profiles: ClassVar[dict[int, str]] = {
        number: name for number, name in sorted(PROFILE_NAMES.items()) if number in RECORDABLE
    }

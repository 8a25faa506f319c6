"""The optical drive, put together from its parts."""

from __future__ import annotations

from devtypes.vmmc.formatting import Formatting

__all__ = ["OpticalDrive"]


class OpticalDrive(Formatting):
    """A CD, DVD and BD drive (MMC-6). Args are those of `OpticalBase`."""

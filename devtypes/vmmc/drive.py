"""The optical drive, put together from its parts."""

from __future__ import annotations

from devtypes.vmmc.modes import OpticalModes

__all__ = ["OpticalDrive"]


class OpticalDrive(OpticalModes):
    """A CD, DVD and BD drive (MMC-6). Args are those of `OpticalBase`."""

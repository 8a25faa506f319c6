"""The tape drive, put together from its parts."""

from __future__ import annotations

from devtypes.vt.density import Densities

__all__ = ["TapeDrive"]


class TapeDrive(Densities):
    """A tape drive (SSC-5). Args are those of `TapeBase`."""

"""The tape drive, put together from its parts."""

from __future__ import annotations

from devtypes.vt.access_order import AccessOrder

__all__ = ["TapeDrive"]


class TapeDrive(AccessOrder):
    """A tape drive (SSC-5). Args are those of `TapeBase`."""

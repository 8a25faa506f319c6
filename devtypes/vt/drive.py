"""The tape drive, put together from its parts."""

from __future__ import annotations

from devtypes.vt.attributes import Attributes

__all__ = ["TapeDrive"]


class TapeDrive(Attributes):
    """A tape drive (SSC-5). Args are those of `TapeBase`."""

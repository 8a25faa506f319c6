"""The tape drive, put together from its parts."""

from __future__ import annotations

from devtypes.vt.vpd_pages import TapeVpd

__all__ = ["TapeDrive"]


class TapeDrive(TapeVpd):
    """A tape drive (SSC-5). Args are those of `TapeBase`."""

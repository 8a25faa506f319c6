"""The tape drive, put together from its parts."""

from __future__ import annotations

from devtypes.vt.encryption import Encryption

__all__ = ["TapeDrive"]


class TapeDrive(Encryption):
    """A tape drive (SSC-5). Args are those of `TapeBase`."""

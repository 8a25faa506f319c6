"""The media changer, put together from its parts."""

from __future__ import annotations

from devtypes.vmc.modes import ChangerPages

__all__ = ["MediaChanger"]


class MediaChanger(ChangerPages):
    """A media changer (SMC-3). Args are those of `ChangerBase`."""

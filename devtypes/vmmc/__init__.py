"""Virtual CD, DVD and BD drive: a device type of scsiemu (MMC-6), and the discs that it reads."""

from __future__ import annotations

from devtypes.vmmc.config import OpticalConfig
from devtypes.vmmc.disc import Disc, DiscUnusable, Session, Track
from devtypes.vmmc.drive import OpticalDrive

__all__ = ["Disc", "DiscUnusable", "OpticalConfig", "OpticalDrive", "Session", "Track"]

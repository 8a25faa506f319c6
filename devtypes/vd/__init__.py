"""Virtual disk: a device type of scsiemu (SBC-4)."""

from __future__ import annotations

from devtypes.vd.config import DiskConfig
from devtypes.vd.disk import VirtualDisk

__all__ = ["DiskConfig", "VirtualDisk"]

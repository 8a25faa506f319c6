"""Virtual media changer: a device type of scsiemu (SMC-3). Its drives are other units of the same target."""

from __future__ import annotations

from devtypes.vmc.changer import MediaChanger
from devtypes.vmc.config import ChangerConfig, ElementRange, ElementType
from devtypes.vmc.inventory import Inventory, Volume, VolumeTag

__all__ = [
    "ChangerConfig", "ElementRange", "ElementType", "Inventory", "MediaChanger", "Volume", "VolumeTag",
]

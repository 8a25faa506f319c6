"""Virtual tape: a device type of scsiemu (SSC-5), and the cartridges that it reads and writes."""

from __future__ import annotations

from devtypes.vt.config import TapeConfig
from devtypes.vt.drive import TapeDrive
from devtypes.vt.medium import TapeMedium
from devtypes.vt.medium_layout import Attribute, Kind, MediumUnusable, Unusable
from devtypes.vt.medium_recovery import SMALLEST
from devtypes.vt.medium_values import Block, CartridgeKind, NewCartridge, Position, Record

__all__ = [
    "SMALLEST", "Attribute", "Block", "CartridgeKind", "Kind", "MediumUnusable", "NewCartridge", "Position", "Record",
    "TapeConfig", "TapeDrive", "TapeMedium", "Unusable",
]

"""Object storage (OSD-1 and OSD-2): see `server`."""

from __future__ import annotations

from devtypes.osd.server import ObjectStorageDevice

__all__ = ["ObjectStorageDevice"]

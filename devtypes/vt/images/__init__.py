"""Tapes in files: our own format and those of others, as formats of `scsiemu.media_formats`."""

from __future__ import annotations

from devtypes.vt.images.pieces import TapeBlock, TapeMark, TapePartition

__all__ = ["TapeBlock", "TapeMark", "TapePartition"]

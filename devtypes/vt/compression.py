"""Compression of blocks: deflate by the standard library, zstd where the `zstandard` package is there. Pure arithmetic.

A block that does not get smaller is kept as it is. What comes out of decompression has exactly the length that the
record says: a record that lies cannot make the drive hold more.
"""

from __future__ import annotations

import zlib
from typing import Any, Final

from devtypes.vt.medium_layout import COMPRESSED_DEFLATE, COMPRESSED_ZSTD
from scsiemu.command import Buffer

__all__ = ["COMPRESSED", "Incompressible", "compress", "decompress"]

COMPRESSED: Final = COMPRESSED_DEFLATE | COMPRESSED_ZSTD
_LEVEL: Final = 1


def _find_zstd() -> Any:
    """The package, which ships no types where it is not installed; None there."""
    try:
        import zstandard
    except ImportError:
        return None
    return zstandard


_ZSTD: Final = _find_zstd()
_ERRORS: Final[tuple[type[Exception], ...]] = (zlib.error,) if _ZSTD is None else (zlib.error, _ZSTD.ZstdError)


class Incompressible(Exception):
    """Compressed data cannot be turned back: it is damaged, or of a method that is not there."""


def compress(data: Buffer) -> tuple[Buffer, int]:
    """The data as it is stored, and the flag of what was done to it."""
    if _ZSTD is not None:
        packed, flag = _ZSTD.ZstdCompressor(level=_LEVEL).compress(bytes(data)), COMPRESSED_ZSTD
    else:
        packed, flag = zlib.compress(data, _LEVEL), COMPRESSED_DEFLATE
    return (packed, flag) if len(packed) < len(data) else (data, 0)


def decompress(data: Buffer, flags: int, length: int) -> bytes:
    """The block of compressed data. Raises Incompressible."""
    try:
        whole = _decompress(data, flags, length + 1)
    except _ERRORS as error:
        raise Incompressible(str(error)) from None
    if len(whole) != length:
        raise Incompressible(f"it has not {length} bytes")
    return whole


def _decompress(data: Buffer, flags: int, most: int) -> bytes:
    if flags & COMPRESSED_DEFLATE:
        inflating = zlib.decompressobj()
        found = inflating.decompress(data, most)
        if not inflating.eof:
            raise Incompressible("it has no end, or is longer than the record says")
        return found
    if _ZSTD is None:
        raise Incompressible("the zstandard package is not installed")
    with _ZSTD.ZstdDecompressor().stream_reader(bytes(data)) as reader:
        whole: bytes = reader.read(most)
    return whole

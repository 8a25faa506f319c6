"""Cartridges of mhvtl: folders with the files `data`, `indx` and `meta` (read only).

`indx` has a record of 512 bytes for each block or filemark, in the byte order of the machine that wrote it (taken to
be little-endian): offset in `data` (64 bits), then words of 32 bits: type (11 block, 3 filemark), flags (1 zlib, 2
encrypted, 4 LZO, 8 checksum), number, bytes of the block, bytes in `data`, CRC32C of the block. A block that is called
encrypted is not: only its key is kept beside it.
"""

from __future__ import annotations

import struct
import zlib
from typing import Final

from crc32c import crc32c

from devtypes.vt.images.lzo import LzoError, decompress
from devtypes.vt.images.pieces import ScanningReader, TapeBlock, TapeMark
from scsiemu.io_requests import Read, StoreCapabilities
from scsiemu.media import Mount, Unmount
from scsiemu.media_formats import Asking, Damage, MediaFormat, MediaReader, Piece, Scanner, unusable
from scsiemu.unit_options import UnitArgument

__all__ = ["MHVTL"]

_RECORD: Final = struct.Struct("<q6I")
_STRIDE: Final = 512
_AT_ONCE: Final = 2048              # index records that are read together
_MOST: Final = (1 << 24) - 1


class _Type:
    BLOCK: Final = 11
    FILEMARK: Final = 3


class _Flag:
    ZLIB: Final = 1
    ENCRYPTED: Final = 2
    LZO: Final = 4
    CHECKSUM: Final = 8


class _Reader(ScanningReader):
    """Index records are read many at a time: then `data` is mounted in place of `indx`."""

    def __init__(self, objects: int, size: int) -> None:
        super().__init__(Scanner(size), {"objects": objects})
        self._objects = objects
        self._number = 0
        self._index: bytes = b""

    def next(self) -> Asking[Piece | None]:
        if self._number >= self._objects:
            return None
        at = self._number % _AT_ONCE * _STRIDE
        if at == 0:
            yield from self._read_index()
        offset, kind, flags, number, size, stored, checksum = _RECORD.unpack_from(self._index, at)
        if number != self._number:
            raise unusable(f"record {self._number} of indx says that it is {number}")
        self._number += 1
        if kind == _Type.FILEMARK:
            return TapeMark()
        if kind != _Type.BLOCK or max(size, stored) > _MOST or not 0 <= offset <= self._scanner.size - stored:
            return Damage(f"object {number} has an impossible index record")
        self._scanner.go_to(offset)
        data = yield from self._scanner.take(stored)
        try:
            return TapeBlock(_block(data, flags, size, checksum))
        except ValueError as error:
            return Damage(f"object {number}: {error}")

    def _read_index(self) -> Asking[None]:
        yield Unmount()
        yield from Mount("indx", read_only=True)
        length = min(_AT_ONCE, self._objects - self._number) * _STRIDE
        self._index = bytes((yield from Read(self._number * _STRIDE, length)))
        yield Unmount()
        yield from Mount("data", read_only=True)


def _block(data: bytes, flags: int, size: int, checksum: int) -> bytes:
    """The block of what is stored. Raises ValueError, one sentence."""
    try:
        if flags & _Flag.LZO:
            data = decompress(data, size)
        elif flags & _Flag.ZLIB:
            data = zlib.decompressobj().decompress(data, size + 1)
    except (zlib.error, LzoError) as error:
        raise ValueError(f"it cannot be decompressed: {error}") from None
    if len(data) != size:
        raise ValueError(f"it has {len(data)} bytes instead of {size}")
    if flags & _Flag.CHECKSUM and crc32c(data) != checksum:
        raise ValueError("its checksum is wrong")
    return data


def _read(capabilities: StoreCapabilities, argument: UnitArgument) -> Asking[MediaReader]:
    index = yield from Mount("indx", read_only=True)
    yield Unmount()
    data = yield from Mount("data", read_only=True)
    if index.size % _STRIDE:
        raise unusable(f"indx has {index.size} bytes, no whole records of {_STRIDE}")
    return _Reader(index.size // _STRIDE, data.size)


MHVTL: Final = MediaFormat(
    "tape", "a cartridge of mhvtl, a folder (read only)", read=_read, files=("data", "indx", "meta")
)

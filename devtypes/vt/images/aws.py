"""AWSTAPE images of mainframe emulators, and HET: the same with compressed blocks (Hercules).

A block is one or more chunks: a header of six bytes, then data. The header has the length of the chunk and that of
the one before (16 bits each, little-endian), then two bytes of flags. In the first: 80h the first chunk of a block, 20h
the last, 40h a tape mark; in HET how the block, all its chunks together, is compressed: 01h zlib, 02h bzip2. In the
second 80h is zlib in images of Bus-Tech.
"""

from __future__ import annotations

import bz2
import struct
import zlib
from typing import Any, Final

from devtypes.vt.images.pieces import ScanningReader, TapeBlock, TapeMark, TapePartition
from scsiemu.io_requests import StoreCapabilities
from scsiemu.media_formats import Appender, Asking, MediaFormat, MediaReader, MediaWriter, Piece, Scanner, unusable
from scsiemu.unit_options import UnitArgument

__all__ = ["AWS", "HET"]

_HEADER: Final = struct.Struct("<HHBB")
_FIRST: Final = 0x80
_MARK: Final = 0x40
_LAST: Final = 0x20
_ZLIB: Final = 0x01
_BZIP2: Final = 0x02
_METHOD: Final = 0x03
_ZLIB_BUSTECH: Final = 0x80
_CHUNK: Final = 0xFFFF
_MOST: Final = (1 << 24) - 1        # bytes of a block on any tape of ours


class _Reader(ScanningReader):
    def __init__(self, capabilities: StoreCapabilities) -> None:
        super().__init__(Scanner(capabilities.size))
        self._before = 0

    def next(self) -> Asking[Piece | None]:
        begin = self._scanner.position
        if begin >= self._scanner.size:
            return None
        chunks: list[bytes] = []
        while True:
            at = self._scanner.position
            flags, more, data = yield from self._chunk()
            if flags & _MARK:
                if chunks:
                    raise unusable(f"the block at byte {begin} has no end")
                return TapeMark()
            if bool(flags & _FIRST) == bool(chunks):
                wrong = "begins a block within another" if chunks else "goes on with a block that did not begin"
                raise unusable(f"the chunk at byte {at} {wrong}")
            chunks.append(data)
            if sum(map(len, chunks)) > _MOST:
                raise unusable(f"the block at byte {begin} has more than {_MOST} bytes")
            if flags & _LAST:
                return TapeBlock(_unpacked(b"".join(chunks), flags & _METHOD, more, begin))

    def _chunk(self) -> Asking[tuple[int, int, bytes]]:
        at = self._scanner.position
        raw = yield from self._scanner.take(_HEADER.size)
        if len(raw) < _HEADER.size:
            raise unusable(f"the image ends within a chunk header, at byte {at}")
        length, before, flags, more = _HEADER.unpack(raw)
        if before != self._before:
            raise unusable(f"the chunk at byte {at} says that the one before has {before} bytes, it has {self._before}")
        self._before = length
        data = yield from self._scanner.take(length)
        if len(data) < length:
            raise unusable(f"the image ends within the chunk at byte {at}")
        return flags, more, data


def _unpacked(data: bytes, method: int, more: int, at: int) -> bytes:
    """The data of a block; one that would be longer than a block can be is refused before it is."""
    if more & ~_ZLIB_BUSTECH or (method and more) or method == _METHOD:
        raise unusable(f"the block at byte {at} is compressed by an unknown method, {method:02X}h and {more:02X}h")
    if not method and not more:
        return data
    try:
        if method == _BZIP2:
            whole = bz2.BZ2Decompressor().decompress(data, _MOST + 1)
        else:
            whole = zlib.decompressobj().decompress(data, _MOST + 1)
    except (zlib.error, OSError, EOFError) as error:
        raise unusable(f"the block at byte {at} cannot be decompressed: {error}") from None
    if len(whole) > _MOST:
        raise unusable(f"the block at byte {at} becomes longer than {_MOST} bytes")
    return whole


class _Writer:
    def __init__(self, capabilities: StoreCapabilities, *, compress: bool) -> None:
        self._image = Appender(capabilities)
        self._compress = compress
        self._before = 0

    def put(self, piece: Any) -> Asking[None]:
        if isinstance(piece, TapeMark):
            yield from self._chunk(_MARK, b"")
        elif isinstance(piece, TapeBlock):
            data, method = bytes(piece.data), 0
            if self._compress:
                packed = zlib.compress(data, 4)
                if len(packed) < len(data):
                    data, method = packed, _ZLIB
            for at in range(0, len(data), _CHUNK):
                flags = method | (_FIRST if at == 0 else 0) | (_LAST if at + _CHUNK >= len(data) else 0)
                yield from self._chunk(flags, data[at : at + _CHUNK])
        elif isinstance(piece, TapePartition):
            raise unusable("an AWS image has no partitions: read one, with -i partition=NUMBER")
        else:
            raise unusable("an AWS image has blocks and filemarks only")

    def _chunk(self, flags: int, data: bytes) -> Asking[None]:
        yield from self._image.append(_HEADER.pack(len(data), self._before, flags, 0), data)
        self._before = len(data)

    def finish(self) -> Asking[None]:
        yield from self._image.finish()


def _read(capabilities: StoreCapabilities, argument: UnitArgument) -> Asking[MediaReader]:
    yield from ()
    return _Reader(capabilities)


def _write_aws(capabilities: StoreCapabilities, argument: UnitArgument) -> Asking[MediaWriter]:
    yield from ()
    return _Writer(capabilities, compress=False)


def _write_het(capabilities: StoreCapabilities, argument: UnitArgument) -> Asking[MediaWriter]:
    yield from ()
    return _Writer(capabilities, compress=True)


AWS: Final = MediaFormat("tape", "an AWSTAPE image", (".aws",), read=_read, write=_write_aws)
HET: Final = MediaFormat("tape", "an AWSTAPE image with compressed blocks, of Hercules", (".het",), read=_read,
                         write=_write_het)

"""Tape images of the SIMH simulators, `.tap` (R. Supnik, "SIMH Magtape Representation and Handling").

A record is its length (32 bits, little-endian), its data, a byte of padding where the length is odd, and the length
again. Bits 24 to 30 of a length are zero, bit 31 says that the record was read with an error. Lengths of zero are tape
marks, FFFFFFFEh erase gaps, FFFFFFFFh the end of the medium. E11 images, which have no padding, are read, too.
"""

from __future__ import annotations

import struct
from typing import Any, Final

from devtypes.vt.images.pieces import ScanningReader, TapeBlock, TapeMark, TapePartition
from scsiemu.io_requests import StoreCapabilities
from scsiemu.media_formats import (
    Appender,
    Asking,
    Damage,
    MediaFormat,
    MediaReader,
    MediaWriter,
    Piece,
    Scanner,
    unusable,
)
from scsiemu.unit_options import UnitArgument

__all__ = ["SIMH"]

_WORD: Final = struct.Struct("<I")
_MARK: Final = 0
_GAP: Final = 0xFFFFFFFE
_END: Final = 0xFFFFFFFF
_HALF_GAP: Final = 0xFFFEFFFF           # a gap that was cut by a record of odd length
_ERROR: Final = 0x80000000
_LENGTH: Final = 0x00FFFFFF


class _Reader(ScanningReader):
    def __init__(self, capabilities: StoreCapabilities) -> None:
        super().__init__(Scanner(capabilities.size))
        self._number = 0

    def next(self) -> Asking[Piece | None]:
        while True:
            at = self._scanner.position
            raw = yield from self._scanner.take(_WORD.size)
            if not raw:
                return None
            if len(raw) < _WORD.size:
                raise unusable(f"the image ends within a record length, at byte {at}")
            (word,) = _WORD.unpack(raw)
            if word == _END:
                self._scanner.go_to(self._scanner.size)
                return None
            if word == _HALF_GAP:
                self._scanner.go_to(at + 2)
                continue
            if word == _GAP:
                continue
            self._number += 1
            if word == _MARK:
                return TapeMark()
            return (yield from self._record(at, word))

    def _record(self, at: int, word: int) -> Asking[Piece]:
        length = word & _LENGTH
        if word & ~(_LENGTH | _ERROR) or not length:
            raise unusable(f"{word:08X}h at byte {at} is no record length")
        data = yield from self._scanner.take(length)
        behind = self._scanner.position
        # With the padding of SIMH, or without, as E11 has it.
        tail = yield from self._scanner.take(_WORD.size + length % 2)
        if len(data) < length or len(tail) < _WORD.size:
            raise unusable(f"the image ends within the record at byte {at}")
        whole = len(tail) == _WORD.size + length % 2
        if not (whole and _WORD.unpack(tail[-_WORD.size :]) == (word,)):
            if _WORD.unpack_from(tail) != (word,):
                why = "has another length behind it than before it" if whole else "is where the image ends"
                raise unusable(f"the record at byte {at} {why}")
            self._scanner.go_to(behind + _WORD.size)
        if word & _ERROR:
            return Damage(f"object {self._number - 1} is marked as read with an error ({length} bytes)")
        return TapeBlock(data)


class _Writer:
    def __init__(self, capabilities: StoreCapabilities) -> None:
        self._image = Appender(capabilities)

    def put(self, piece: Any) -> Asking[None]:
        if isinstance(piece, TapeMark):
            yield from self._image.append(_WORD.pack(_MARK))
        elif isinstance(piece, TapeBlock):
            if len(piece.data) > _LENGTH:
                raise unusable(f"a SIMH record has at most {_LENGTH} bytes, this block has {len(piece.data)}")
            length = _WORD.pack(len(piece.data))
            yield from self._image.append(length, piece.data, bytes(len(piece.data) % 2), length)
        elif isinstance(piece, TapePartition):
            raise unusable("a SIMH image has no partitions: read one, with -i partition=NUMBER")
        else:
            raise unusable("a SIMH image has blocks and filemarks only")

    def finish(self) -> Asking[None]:
        yield from self._image.append(_WORD.pack(_END))
        yield from self._image.finish()


def _read(capabilities: StoreCapabilities, argument: UnitArgument) -> Asking[MediaReader]:
    yield from ()
    return _Reader(capabilities)


def _write(capabilities: StoreCapabilities, argument: UnitArgument) -> Asking[MediaWriter]:
    yield from ()
    return _Writer(capabilities)


SIMH: Final = MediaFormat("tape", "an image of the SIMH simulators", (".tap",), read=_read, write=_write, blank=True)

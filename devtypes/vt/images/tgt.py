"""Tape images of tgt's `ssc` backing store, version 2 (read only).

A list of headers, linked both ways, each before the data of its block; numbers are big-endian: checksum (not set),
bytes in the file, bytes of the block, type, number (64 bits), offsets of the header before, this one, the next. The
first is of the beginning of tape and is followed by the memory of the medium, whose first word is the version.
"""

from __future__ import annotations

import struct
from typing import Final

from devtypes.vt.images.pieces import ScanningReader, TapeBlock, TapeMark
from scsiemu.io_requests import Read, StoreCapabilities
from scsiemu.media_formats import Asking, Damage, MediaFormat, MediaReader, Piece, Scanner, unusable
from scsiemu.unit_options import UnitArgument

__all__ = ["TGT"]

_HEADER: Final = struct.Struct(">4xIIIQQQQ")
_MEMORY: Final = struct.Struct(">I4xQQ")           # version, remaining and greatest capacity
_VERSION: Final = 2
_MOST: Final = (1 << 24) - 1


class _Type:
    COMPRESSED: Final = 0x01
    DATA: Final = 0x02
    ENCRYPTED: Final = 0x04
    BEGIN: Final = 0x10
    END: Final = 0x20
    FILEMARK: Final = 0x40


class _Reader(ScanningReader):
    def __init__(self, size: int, first: int, capacity: int) -> None:
        super().__init__(Scanner(size, first), {"capacity": capacity})
        self._before = 0
        self._number = 0

    def next(self) -> Asking[Piece | None]:
        at = self._scanner.position
        raw = yield from self._scanner.take(_HEADER.size)
        if len(raw) < _HEADER.size:
            raise unusable(f"the image ends at byte {at}, before its end of data")
        stored, size, kind, _, before, here, behind = _HEADER.unpack(raw)
        if here != at or before != self._before:
            raise unusable(f"the header at byte {at} is not where it says, or follows on another")
        if kind == _Type.END:
            self._scanner.go_to(self._scanner.size)
            return None
        if behind != at + _HEADER.size + stored or stored > _MOST:
            raise unusable(f"the header at byte {at} has no next one")
        self._before = at
        number = self._number
        self._number += 1
        data = yield from self._scanner.take(stored)
        if kind == _Type.FILEMARK:
            return TapeMark()
        if kind == _Type.DATA and len(data) == stored == size:
            return TapeBlock(data)
        return Damage(f"object {number} at byte {at} is no plain block (type {kind:02X}h, {stored} of {size} bytes)")


def _read(capabilities: StoreCapabilities, argument: UnitArgument) -> Asking[MediaReader]:
    if capabilities.size < _HEADER.size + _MEMORY.size:
        raise unusable("it is too small for a tape of tgt")
    head = yield from Read(0, _HEADER.size + _MEMORY.size)
    if not _recognise(bytes(head), capabilities.size):
        raise unusable("it is no tape of tgt, version 2")
    fields = _HEADER.unpack_from(head)
    return _Reader(capabilities.size, fields[-1], _MEMORY.unpack_from(head, _HEADER.size)[2])


def _recognise(head: bytes, size: int) -> bool:
    if len(head) < _HEADER.size + _MEMORY.size:
        return False
    _, _, kind, _, _, here, behind = _HEADER.unpack_from(head)
    (version, *_) = _MEMORY.unpack_from(head, _HEADER.size)
    return bool(kind == _Type.BEGIN and here == 0 and _HEADER.size < behind < size and version == _VERSION)


TGT: Final = MediaFormat("tape", "a tape of tgt (read only)", recognise=_recognise, read=_read)

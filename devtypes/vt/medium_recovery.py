"""Opening a cartridge: its state, and the last record of a partition from the checkpoint on, while records are whole.

A record counts where its header is whole, of this volume and epoch, follows on the one before, and its data is
what it was. The first that does not count ends the tape: what a cut of power left behind it is gone.
"""

from __future__ import annotations

from typing import Final

from crc32c import crc32c

from devtypes.vt.medium_index import read_ahead, read_header
from devtypes.vt.medium_layout import (
    DATA_START,
    HEADER_SIZE,
    MOST_PARTITIONS,
    SLOT_SIZE,
    Asking,
    CartridgeState,
    MediumUnusable,
    PartitionState,
    RecordHeader,
    Unusable,
    decode_header,
    decode_state,
)
from scsiemu.command import Buffer
from scsiemu.io_requests import Read, StoreCapabilities

__all__ = ["SMALLEST", "divide", "find_last", "newest", "read_state"]

SMALLEST: Final = DATA_START + (64 << 10)      # of a store

_CHUNK: Final = 1 << 20


class _Reader:
    """Reads a partition front to back in large pieces."""

    def __init__(self, end: int) -> None:
        self._end = end
        self._base = 0
        self._data: Buffer = b""

    def take(self, offset: int, length: int) -> Asking[memoryview | None]:
        """Bytes at an offset; None where they are not inside the partition."""
        if offset + length > self._end:
            return None
        if not (self._base <= offset and offset + length <= self._base + len(self._data)):
            self._base = offset
            most = min(_CHUNK, self._end - offset)
            self._data = yield from read_ahead(offset, length, max(0, most - length))
        at = offset - self._base
        return memoryview(self._data)[at : at + length]


def find_last(saved: PartitionState, volume: int) -> Asking[RecordHeader | None]:
    """The last record of a partition that a state slot describes; None where it is empty.

    Raises:
        MediumUnusable: the record of the checkpoint is not there.
    """
    last: RecordHeader | None = None
    if saved.objects:
        last = yield from read_header(saved.checkpoint)
        if last.object != saved.objects - 1 or last.volume != volume:
            raise MediumUnusable(Unusable.DAMAGED, f"the record at {saved.checkpoint} is not the one expected")
    reader = _Reader(saved.start + saved.size)
    while True:
        following = yield from _next(reader, saved, volume, last)
        if following is None:
            return last
        last = following


def _next(
    reader: _Reader, saved: PartitionState, volume: int, last: RecordHeader | None
) -> Asking[RecordHeader | None]:
    """The record behind `last`, where it counts."""
    offset = saved.start if last is None else last.end
    head = yield from reader.take(offset, HEADER_SIZE)
    header = decode_header(head, offset) if head is not None else None
    if header is None or header.volume != volume or header.epoch != saved.epoch:
        return None
    number = 0 if last is None else last.object + 1
    previous = saved.start if last is None else last.offset
    if header.object != number or header.previous != previous:
        return None
    data = yield from reader.take(offset + HEADER_SIZE, header.stored)
    if data is None or crc32c(data) != header.data_crc:
        return None
    return header


def divide(start: int, capacity: int, shares: tuple[int, ...], epoch: int = 1) -> tuple[PartitionState, ...]:
    """Partitions of a capacity by shares. Raises ValueError."""
    if not 0 < len(shares) <= MOST_PARTITIONS or min(shares) <= 0:
        raise ValueError(f"1 to {MOST_PARTITIONS} partitions, each with a share of the capacity")
    total = sum(shares)
    sizes = [capacity * share // total for share in shares]
    if min(sizes) < HEADER_SIZE * 16:
        raise ValueError(f"a partition of {min(sizes)} bytes is too small")
    found = []
    for size in sizes:
        found.append(PartitionState(start, size, epoch, 0, start))
        start += size
    return tuple(found)


def newest(slots: Buffer) -> CartridgeState | None:
    """The state that counts."""
    view = memoryview(slots)
    states = [decode_state(view[at : at + SLOT_SIZE]) for at in (0, SLOT_SIZE)]
    valid = [state for state in states if state is not None]
    return max(valid, key=lambda state: state.sequence, default=None)


def read_state(capabilities: StoreCapabilities) -> Asking[CartridgeState]:
    """The state of the cartridge in a store. Raises MediumUnusable."""
    if capabilities.size < SMALLEST:
        raise MediumUnusable(Unusable.FOREIGN, f"{capabilities.size} bytes are too small for a cartridge")
    slots = yield from Read(0, DATA_START)
    state = newest(slots)
    if state is None:
        if not any(bytes(slots)):
            raise MediumUnusable(Unusable.BLANK, "nothing was ever written here")
        raise MediumUnusable(Unusable.FOREIGN, "this is not a cartridge")
    ends = [partition.start + partition.size for partition in state.partitions]
    if not ends or max(ends) > capabilities.size or state.partitions[0].start != DATA_START:
        raise MediumUnusable(Unusable.DAMAGED, "the cartridge is larger than its store")
    return state

"""A cartridge on any byte store: blocks, filemarks, partitions, attributes (docs/tape-format.md).

    medium = yield from TapeMedium.open(capabilities)
    position = yield from medium.locate(0, 17)
    record = yield from medium.read(position, 65536)

Everything that asks the store is a generator of its requests, so it serves a device server and a program alike
(`scsiemu media`). Records are appended; writing before the end of data cuts the tape off there. What was written
before the last `sync` is found again after a cut of power at any byte, and of what came later an unbroken beginning.

Opening reads the state and the records since its last checkpoint, which is never far. A cartridge is used by one
party at a time. It knows no sense data: the drive does.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Final

from crc32c import crc32c

from devtypes.vt.medium_index import (
    HeaderCache,
    Spine,
    find_mark,
    find_object,
    read_ahead,
    read_header,
    rebuild_spine,
)
from devtypes.vt.medium_layout import (
    ATTRIBUTE_SPACE,
    DATA_START,
    HEADER_SIZE,
    LONGEST_BLOCK,
    SLOT_SIZE,
    Asking,
    Attribute,
    CartridgeState,
    Kind,
    MediumUnusable,
    PartitionState,
    RecordHeader,
    Unusable,
    decode_header,
    encode_header,
    encode_state,
)
from devtypes.vt.medium_recovery import SMALLEST, divide, find_last, newest, read_state
from devtypes.vt.medium_values import Block, CartridgeKind, NewCartridge, Position, Record, record_of
from scsiemu.command import Buffer
from scsiemu.io_requests import Discard, Flush, Read, StoreCapabilities, Write

__all__ = ["TapeMedium"]

_WRITE_TOGETHER: Final = 1 << 20            # small records go to the store in writes of about this many bytes
_WINDOW_KEPT: Final = 1 << 20               # of what was read together so much is kept for the next record
# A checkpoint after so much: it bounds what `open` has to look through.
_CHECKPOINT_BYTES: Final = 64 << 20
_CHECKPOINT_RECORDS: Final = 8192
# A sync writes a checkpoint once it saves so much; before that looking through again is as cheap.
_WORTH_BYTES: Final = 4 << 20
_WORTH_RECORDS: Final = 256


class _Partition:
    """A partition: the record that is its last one, and what the next needs.

    Attributes:
        ready: records may be appended: nothing in the store behind the last one has this epoch.
    """

    __slots__ = ("checkpoint_end", "checkpoint_objects", "epoch", "last", "ready", "size", "spine", "start")

    def __init__(self, start: int, size: int, epoch: int) -> None:
        self.start = start
        self.size = size
        self.epoch = epoch
        self.last: RecordHeader | None = None
        self.spine = Spine(start)
        self.ready = False
        self.checkpoint_objects = 0
        self.checkpoint_end = start

    @property
    def objects(self) -> int:
        return 0 if self.last is None else self.last.object + 1

    @property
    def marks(self) -> int:
        return 0 if self.last is None else self.last.marks

    @property
    def end(self) -> int:
        return self.start if self.last is None else self.last.end

    def state(self) -> PartitionState:
        """What a state slot says of it now."""
        checkpoint = self.start if self.last is None else self.last.offset
        return PartitionState(self.start, self.size, self.epoch, self.objects, checkpoint)

    def checkpointed(self) -> None:
        """A state slot knows the last record."""
        self.checkpoint_objects, self.checkpoint_end = self.objects, self.end


class TapeMedium:
    """A cartridge. Made by `open` or `format`.

    Attributes:
        state: as it was last written or is to be written next; partitions and attributes are asked of the medium.
        read_only: the store takes no writes.
        loads, bytes_written, bytes_read: over the life of the cartridge; the drive counts, a `save` keeps.
    """

    def __init__(self, state: CartridgeState, capabilities: StoreCapabilities) -> None:
        self.state = state
        self.read_only = capabilities.read_only
        self._capabilities = capabilities
        self._attributes: list[dict[int, Attribute]] = [
            {attribute.identifier: attribute for attribute in attributes} for attributes in state.attributes
        ]
        self._partitions = [_Partition(p.start, p.size, p.epoch) for p in state.partitions]
        self._headers = HeaderCache()
        self._window: tuple[int, Buffer] = (0, b"")
        self._unflushed_state = False
        self.loads = state.loads
        self.bytes_written = state.bytes_written
        self.bytes_read = state.bytes_read

    # --- opening and formatting --------------------------------------------------------------------------------

    @classmethod
    def open(cls, capabilities: StoreCapabilities) -> Asking[TapeMedium]:
        """The cartridge in a store.

        Raises:
            MediumUnusable: there is none, or it is beyond use.
            IoFailed: the store's own troubles.
        """
        state = yield from read_state(capabilities)
        medium = cls(state, capabilities)
        for number, saved in enumerate(state.partitions):
            partition = medium._partitions[number]
            partition.last = yield from find_last(saved, state.volume)
            if partition.last is not None:
                partition.spine = yield from rebuild_spine(partition.last, saved.start, medium._header)
            partition.checkpoint_objects, partition.checkpoint_end = saved.objects, partition.end
        return medium

    @classmethod
    def format(cls, capabilities: StoreCapabilities, new: NewCartridge | None = None) -> Asking[TapeMedium]:
        """Make the store an empty cartridge, whatever was in it.

        Raises:
            ValueError: it is smaller than `SMALLEST`, or the partitions would be.
        """
        new = new or NewCartridge()
        if capabilities.size < SMALLEST:
            raise ValueError(f"{capabilities.size} bytes are too small for a cartridge: at least {SMALLEST}")
        before = yield from Read(0, DATA_START)
        try:
            old: CartridgeState | None = newest(before)
        except MediumUnusable:
            old = None
        # Records of earlier times must not be taken for ours: another volume number, from all that is known.
        seed = repr((new, capabilities.size)).encode()
        volume = crc32c(seed, crc32c(bytes(before)))
        capacity = capabilities.size - DATA_START
        partitions = divide(DATA_START, capacity, new.partitions)
        sequence = old.sequence + 1 if old is not None else 1
        attributes = (tuple(new.attributes), *(() for _ in partitions[1:]))
        state = CartridgeState(
            sequence, volume, capacity, new.density, new.medium_type, new.kind, new.write_protected, 0xFFFF,
            0, 0, 0, 1, partitions, attributes,
        )
        medium = cls(state, capabilities)
        medium._unflushed_state = True
        yield from medium.save()
        return medium

    def repartition(self, shares: Sequence[int], *, density: int | None = None) -> Asking[None]:
        """Forget all data and divide the capacity anew; attributes of partition 0 stay.

        Raises ValueError where a partition would be too small.
        """
        state = self.state
        epoch = 1 + max(partition.epoch for partition in self._partitions)
        partitions = divide(DATA_START, self.usable, tuple(shares), epoch)
        self.state = dataclasses.replace(
            state, density=state.density if density is None else density, partitions=partitions,
            formats=state.formats + 1,
        )
        self._partitions = [_Partition(p.start, p.size, p.epoch) for p in partitions]
        self._attributes = [self._attributes[0], *({} for _ in partitions[1:])]
        self._forget()
        yield from self.save()

    def set_proportion(self, proportion: int) -> Asking[None]:
        """Use so much of the capacity, of 65535 (SET CAPACITY): one empty partition.

        Raises ValueError where that is too small.
        """
        before = self.state
        self.state = dataclasses.replace(before, proportion=proportion)
        try:
            yield from self.repartition((1,))
        except ValueError:
            self.state = before
            raise

    # --- what there is -----------------------------------------------------------------------------------------

    @property
    def partitions(self) -> int:
        """How many."""
        return len(self._partitions)

    @property
    def usable(self) -> int:
        """Bytes for all partitions together."""
        return max(self.state.capacity * self.state.proportion // 0xFFFF, SMALLEST - DATA_START)

    @property
    def worm(self) -> bool:
        """Whether what is written stays."""
        return self.state.kind == CartridgeKind.WORM

    def size(self, partition: int) -> int:
        """Bytes of a partition, for data and headers."""
        return self._partitions[partition].size

    def used(self, partition: int) -> int:
        """Bytes up to the end of data."""
        part = self._partitions[partition]
        return part.end - part.start

    def logical_bytes(self, partition: int) -> int:
        """Bytes of all logical blocks of a partition."""
        last = self._partitions[partition].last
        return 0 if last is None else last.before + last.logical

    def room(self, position: Position) -> int:
        """Bytes from a position to the end of its partition."""
        part = self._partitions[position.partition]
        return part.start + part.size - position.offset

    def beginning(self, partition: int) -> Position:
        """The beginning of a partition."""
        start = self._partitions[partition].start
        return Position(partition, 0, 0, start, start)

    def end(self, partition: int) -> Position:
        """The end of data of a partition."""
        part = self._partitions[partition]
        previous = part.start if part.last is None else part.last.offset
        return Position(partition, part.objects, part.marks, part.end, previous)

    def at_end(self, position: Position) -> bool:
        """Whether nothing comes after a position."""
        return position.object >= self._partitions[position.partition].objects

    def blank(self) -> bool:
        """Whether nothing is on the tape."""
        return all(partition.last is None for partition in self._partitions)

    # --- positioning and reading -------------------------------------------------------------------------------

    def locate(self, partition: int, number: int) -> Asking[Position]:
        """The position before a logical object, at the end of data where there are not so many."""
        part = self._partitions[partition]
        if number <= 0:
            return self.beginning(partition)
        if part.last is None or number >= part.objects:
            return self.end(partition)
        header = yield from find_object(part.last, number, self._header)
        return Position(partition, number, header.marks_before, header.offset, header.previous)

    def locate_mark(self, partition: int, mark: int) -> Asking[Record | None]:
        """The filemark of a number counted from 1; None where there are not so many. Its data is empty."""
        part = self._partitions[partition]
        if part.last is None or not 0 < mark <= part.marks:
            return None
        header = yield from find_mark(part.last, mark, self._header)
        return record_of(partition, header, b"")

    def read(self, position: Position, expected: int = 0) -> Asking[Record | None]:
        """The record behind a position, None at the end of data.

        Args:
            expected: bytes of data that the caller will want from here on: they are read at once.

        Raises:
            MediumUnusable: the record cannot be read.
        """
        part = self._partitions[position.partition]
        if self.at_end(position):
            return None
        data, at = yield from self._fetch(position.offset, HEADER_SIZE, expected, part.end)
        header = decode_header(data, position.offset, at)
        if header is None or header.object != position.object:
            raise MediumUnusable(Unusable.DAMAGED, f"there is no record {position.object} at {position.offset}")
        record = yield from self._with_data(position.partition, header, part.end)
        if len(self._window[1]) > _WINDOW_KEPT:
            self._window = (0, b"")
        return record

    def read_before(self, position: Position) -> Asking[Record | None]:
        """The record before a position, None at the beginning of the partition."""
        if position.object == 0:
            return None
        header = yield from self._header(position.previous)
        if header.object != position.object - 1:
            raise MediumUnusable(Unusable.DAMAGED, f"there is no record {position.object - 1} at {position.previous}")
        return (yield from self._with_data(position.partition, header, self._partitions[position.partition].end))

    def step_over(self, position: Position) -> Asking[Position]:
        """The position behind a record that cannot be read."""
        part = self._partitions[position.partition]
        if part.last is None or position.object + 1 >= part.objects:
            return self.end(position.partition)
        return (yield from self.locate(position.partition, position.object + 1))

    def _with_data(self, partition: int, header: RecordHeader, end: int) -> Asking[Record]:
        """The record of a header."""
        if header.is_mark:
            return record_of(partition, header, b"")
        if header.end > end:
            raise MediumUnusable(Unusable.DAMAGED, f"the record at {header.offset} is too long")
        data, at = yield from self._fetch(header.offset + HEADER_SIZE, header.stored, 0, end)
        view = memoryview(data)[at : at + header.stored]
        if crc32c(view) != header.data_crc:
            raise MediumUnusable(Unusable.DAMAGED, f"the data of the record at {header.offset} is damaged")
        return record_of(partition, header, view)

    def _fetch(self, offset: int, length: int, more: int, end: int) -> Asking[tuple[Buffer, int]]:
        """Bytes of the store, and where in them `offset` is; up to `more` bytes further, for the reads that follow."""
        base, held = self._window
        if base <= offset and offset + length <= base + len(held):
            return held, offset - base
        most = min(end - offset, LONGEST_BLOCK)
        held = yield from read_ahead(offset, length, max(0, min(more, most - length)))
        self._window = (offset, held)
        return held, 0

    def _header(self, offset: int) -> Asking[RecordHeader]:
        """A header that a search comes across."""
        header = self._headers.get(offset)
        if header is None:
            header = yield from read_header(offset)
            self._headers.add(header)
        return header

    # --- writing -----------------------------------------------------------------------------------------------

    def write(self, position: Position, blocks: Iterable[Block]) -> Asking[Position]:
        """Write blocks from a position on; what was behind it is gone. The position behind them.

        The caller has seen that there is `room`.
        """
        part = yield from self.begin_writing(position)
        pieces: list[Buffer] = []
        headers: list[RecordHeader] = []
        size = 0
        for block in blocks:
            header = self._next(part, headers, Kind.BLOCK, block.flags, block.logical, block.data)
            headers.append(header)
            pieces += (encode_header(header), block.data)
            size += HEADER_SIZE + header.stored
            if size >= _WRITE_TOGETHER:
                yield from self._put(part, pieces, headers)
                pieces, headers, size = [], [], 0
        yield from self._put(part, pieces, headers)
        return self.end(position.partition)

    def write_marks(self, position: Position, count: int) -> Asking[Position]:
        """Write filemarks. As `write`."""
        part = yield from self.begin_writing(position)
        while count:
            some = min(count, _WRITE_TOGETHER // HEADER_SIZE)
            pieces: list[Buffer] = []
            headers: list[RecordHeader] = []
            for _ in range(some):
                header = self._next(part, headers, Kind.FILEMARK, 0, 0, b"")
                headers.append(header)
                pieces.append(encode_header(header))
            yield from self._put(part, pieces, headers)
            count -= some
        return self.end(position.partition)

    def truncate(self, position: Position) -> Asking[None]:
        """Make a position the end of data. What was behind it is gone when this returns, and cannot come back."""
        part = self._partitions[position.partition]
        last = None
        spine = Spine(part.start)
        if position.object > 0:
            last = yield from self._header(position.previous)
            spine = yield from rebuild_spine(last, part.start, self._header)
        part.ready = False
        part.epoch += 1
        before = part.last, part.spine
        part.last, part.spine = last, spine
        try:
            yield Flush()                       # the checkpoint names a record that must not be lost
            self._unflushed_state = False
            yield from self.save()
        except BaseException:
            part.last, part.spine = before      # it may or may not be so in the store: the next write does it again
            raise
        self._forget()
        part.ready = True

    def erase(self, position: Position) -> Asking[None]:
        """As `truncate`, and give back the room, where the store can."""
        yield from self.truncate(position)
        part = self._partitions[position.partition]
        length = part.start + part.size - part.end
        if self._capabilities.discard and length:
            yield Discard(part.end, length)

    def begin_writing(self, position: Position) -> Asking[_Partition]:
        """Make a position the end of data, where it is not. `write` does it by itself: apart from it a caller learns
        which of the two failed."""
        part = self._partitions[position.partition]
        if not part.ready or position.object != part.objects:
            yield from self.truncate(position)
        return part

    def _next(
        self, part: _Partition, pending: Sequence[RecordHeader], kind: int, flags: int, logical: int, data: Buffer
    ) -> RecordHeader:
        """The header of the record behind the last one, or behind those that are not written yet."""
        # The spine runs ahead of what the store has; after a write that fails `truncate` makes it anew.
        last = pending[-1] if pending else part.last
        jump_object, jump_marks, jump = part.spine.next_jump()
        number, marks, previous, offset, before = 0, 0, part.start, part.start, 0
        if last is not None:
            number, marks, previous, offset = last.object + 1, last.marks, last.offset, last.end
            before = last.before + last.logical
        header = RecordHeader(
            kind, flags, self.state.volume, part.epoch, number, marks + (kind == Kind.FILEMARK), len(data), logical,
            previous, jump, jump_object, jump_marks, before, crc32c(data), offset,
        )
        part.spine.append(number, header.marks, offset)
        return header

    def _put(self, part: _Partition, pieces: list[Buffer], headers: list[RecordHeader]) -> Asking[None]:
        """Write records together, then take them for written."""
        if not headers:
            return
        data = b"".join(pieces)
        write = Write(headers[0].offset, len(data), data)
        write.owned = True
        try:
            yield from write
        except BaseException:
            # The store may have any of it: nothing is appended before an epoch begins that it is not of.
            part.ready = False
            raise
        part.last = headers[-1]
        self._window = (0, b"")
        records = part.objects - part.checkpoint_objects
        if part.end - part.checkpoint_end >= _CHECKPOINT_BYTES or records >= _CHECKPOINT_RECORDS:
            yield from self.sync(checkpoint=True)

    def sync(self, *, checkpoint: bool = False) -> Asking[None]:
        """Bring all that was written to stable storage."""
        ends = [(part, part.objects, part.end) for part in self._partitions]
        yield Flush()
        self._unflushed_state = False
        if self.read_only:
            return
        worth = checkpoint or any(
            objects - part.checkpoint_objects >= _WORTH_RECORDS or end - part.checkpoint_end >= _WORTH_BYTES
            for part, objects, end in ends
        )
        if worth:
            yield from self._write_state()

    def save(self) -> Asking[None]:
        """Bring the state, attributes and all, to stable storage."""
        if self._unflushed_state:
            yield Flush()
        yield from self._write_state()
        yield Flush()
        self._unflushed_state = False

    def close(self) -> Asking[None]:
        """Leave everything so that opening has nothing to look for."""
        if self.read_only:
            return
        yield Flush()
        self._unflushed_state = False
        yield from self.save()

    def _write_state(self) -> Asking[None]:
        """Write the state into the slot that does not count. The last one has been flushed: one of them is whole."""
        attributes = tuple(tuple(each[key] for key in sorted(each)) for each in self._attributes)
        partitions = tuple(part.state() for part in self._partitions)
        self.state = dataclasses.replace(
            self.state, sequence=self.state.sequence + 1, partitions=partitions, attributes=attributes,
            loads=self.loads, bytes_written=self.bytes_written, bytes_read=self.bytes_read,
        )
        data = encode_state(self.state)
        self._unflushed_state = True
        write = Write(self.state.sequence % 2 * SLOT_SIZE, len(data), data)
        write.owned = True
        yield from write
        for part in self._partitions:
            part.checkpointed()

    def _forget(self) -> None:
        """Records have gone: what is known of them does not count."""
        self._headers.clear()
        self._window = (0, b"")

    # --- attributes and the tab --------------------------------------------------------------------------------

    def attributes(self, partition: int = 0) -> tuple[Attribute, ...]:
        """The attributes of a partition, by identifier."""
        held = self._attributes[partition]
        return tuple(held[identifier] for identifier in sorted(held))

    def attribute(self, identifier: int, partition: int = 0) -> Attribute | None:
        """One of them."""
        return self._attributes[partition].get(identifier)

    def attribute_room(self) -> int:
        """Bytes left for attributes."""
        used = sum(6 + len(attribute.value) for held in self._attributes for attribute in held.values())
        return ATTRIBUTE_SPACE - used

    def set_attribute(self, attribute: Attribute, partition: int = 0) -> None:
        """Set an attribute; an empty value removes it. Lasts from the next `save` on."""
        if attribute.value:
            self._attributes[partition][attribute.identifier] = attribute
        else:
            self._attributes[partition].pop(attribute.identifier, None)

    def replace_attributes(self, attributes: Sequence[tuple[Attribute, ...]]) -> None:
        """All attributes of all partitions anew."""
        self._attributes = [{each.identifier: each for each in some} for some in attributes]

    def contents_mark(self) -> tuple[tuple[int, int], ...]:
        """Something that is another when the contents of the tape are: what was cut off is counted, and objects."""
        return tuple((part.epoch if part.last is not None else 0, part.objects) for part in self._partitions)

    def protect(self, protected: bool) -> None:
        """Move the tab of the cartridge. Lasts from the next `save` on."""
        self.state = dataclasses.replace(self.state, write_protected=protected)

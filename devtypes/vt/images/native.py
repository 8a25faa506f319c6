"""Our own cartridges (docs/tape-format.md) as a format."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from devtypes.vt.compression import COMPRESSED, Incompressible, decompress
from devtypes.vt.images.pieces import TapeBlock, TapeMark, TapePartition
from devtypes.vt.medium import TapeMedium
from devtypes.vt.medium_layout import (
    DATA_START,
    ENCRYPTED,
    HEADER_SIZE,
    LONGEST_BLOCK,
    Attribute,
    MediumUnusable,
    Unusable,
)
from devtypes.vt.medium_recovery import SMALLEST
from devtypes.vt.medium_values import Block, CartridgeKind, NewCartridge, Record
from devtypes.vt.personality import DEFAULT_PERSONALITY, load_personality
from scsiemu.io_requests import StoreCapabilities
from scsiemu.media_formats import Asking, Damage, MediaFormat, MediaReader, MediaWriter, Piece, unusable
from scsiemu.unit_options import UnitArgument, UnitOption, parse_number, parse_size

__all__ = ["TAPE"]

_BARCODE: Final = 0x0806
_MAGIC: Final = b"SCSITAPE"
_DEFAULT_SIZE: Final = 1 << 30
_TOGETHER: Final = 1 << 20
_MOST_PENDING: Final = 4096
_KIND_NAMES: Final = {CartridgeKind.DATA: "data", CartridgeKind.WORM: "worm", CartridgeKind.CLEANING: "cleaning"}


class _Reader:
    def __init__(self, medium: TapeMedium, only: int | None) -> None:
        self._medium = medium
        self._partitions = list(range(medium.partitions)) if only is None else [only]
        self._first = self._partitions[0]
        self._position = medium.beginning(self._partitions.pop(0))
        self._before = 0
        self.total = sum(medium.used(number) for number in (self._first, *self._partitions))

    @property
    def facts(self) -> Mapping[str, Any]:
        medium, state = self._medium, self._medium.state
        barcode = medium.attribute(_BARCODE)
        return {
            "cartridge": _KIND_NAMES.get(state.kind, str(state.kind)),
            "barcode": barcode.value.decode("ascii", "replace").strip() if barcode is not None else "",
            "capacity": medium.usable,
            "density": state.density,
            "write_protected": bool(state.write_protected),
            "loads": medium.loads,
            "partitions": [
                {
                    "size": medium.size(number), "used": medium.used(number), "bytes": medium.logical_bytes(number),
                    "blocks": medium.end(number).object - medium.end(number).marks,
                    "filemarks": medium.end(number).marks,
                }
                for number in range(medium.partitions)
            ],
        }

    @property
    def done(self) -> int:
        return self._before + self._position.offset - self._medium.beginning(self._position.partition).offset

    def next(self) -> Asking[Piece | None]:
        at = self._position
        try:
            record = yield from self._medium.read(at, _TOGETHER)
        except MediumUnusable as damage:
            self._position = yield from self._medium.step_over(at)
            return Damage(f"partition {at.partition}, object {at.object}: {damage}")
        if record is None:
            if not self._partitions:
                return None
            self._before += self._medium.used(at.partition)
            self._position = self._medium.beginning(self._partitions.pop(0))
            return TapePartition(self._position.partition)
        self._position = record.behind
        if record.header.is_mark:
            return TapeMark()
        try:
            return TapeBlock(_plain(record))
        except ValueError as error:
            return Damage(f"partition {at.partition}, object {at.object}: {error}")


def _plain(record: Record) -> bytes:
    """The block of a record. Raises ValueError."""
    header = record.header
    if header.flags & ENCRYPTED:
        raise ValueError("it is encrypted, and keys are never in a cartridge")
    if not header.flags & COMPRESSED:
        return bytes(record.data)
    try:
        return decompress(record.data, header.flags, header.logical)
    except Incompressible as error:
        raise ValueError(f"it cannot be decompressed: {error}") from None


class _Writer:
    def __init__(self, medium: TapeMedium) -> None:
        self._medium = medium
        self._position = medium.beginning(0)
        self._blocks: list[Block] = []
        self._pending = 0

    def put(self, piece: Any) -> Asking[None]:
        if isinstance(piece, TapeBlock):
            if not 0 < len(piece.data) <= LONGEST_BLOCK:
                raise unusable(f"a block has 1 to {LONGEST_BLOCK} bytes, not {len(piece.data)}")
            self._check_room(HEADER_SIZE + len(piece.data))
            self._blocks.append(Block(piece.data, len(piece.data)))
            self._pending += HEADER_SIZE + len(piece.data)
            if self._pending >= _TOGETHER or len(self._blocks) >= _MOST_PENDING:
                yield from self._flush()
        elif isinstance(piece, TapeMark):
            yield from self._flush()
            self._check_room(HEADER_SIZE)
            self._position = yield from self._medium.write_marks(self._position, 1)
        elif isinstance(piece, TapePartition):
            yield from self._flush()
            if piece.number >= self._medium.partitions:
                raise unusable(
                    f"the new cartridge has {self._medium.partitions} partitions, the source has more: give it as "
                    "many, with -o partitions=1:1"
                )
            self._position = self._medium.beginning(piece.number)
        else:
            raise unusable("a cartridge has blocks and filemarks only")

    def _check_room(self, needed: int) -> None:
        if self._medium.room(self._position) < self._pending + needed:
            raise unusable("the cartridge is full: make it larger, with -o size=SIZE")

    def _flush(self) -> Asking[None]:
        if self._blocks:
            blocks, self._blocks, self._pending = self._blocks, [], 0
            self._position = yield from self._medium.write(self._position, blocks)

    def finish(self) -> Asking[None]:
        yield from self._flush()
        yield from self._medium.close()


def _read(capabilities: StoreCapabilities, argument: UnitArgument) -> Asking[MediaReader]:
    try:
        medium = yield from TapeMedium.open(capabilities)
    except MediumUnusable as why:
        if why.why == Unusable.BLANK:
            raise unusable("it is all zeros: a drive would make it a cartridge when it loads it") from None
        raise
    only = argument.get("partition")
    if only is not None and only >= medium.partitions:
        raise unusable(f"it has no partition {only}, only {medium.partitions}, counted from 0")
    return _Reader(medium, only)


def _write(capabilities: StoreCapabilities, argument: UnitArgument) -> Asking[MediaWriter]:
    kind = argument.get("personality") or load_personality(DEFAULT_PERSONALITY)
    shares = argument.get("partitions", (1,))
    if len(shares) > kind.most_partitions:
        raise ValueError(f"partitions: cartridges of {kind.name} have at most {kind.most_partitions}")
    what = CartridgeKind.WORM if argument.get("worm") else CartridgeKind.DATA
    if argument.get("cleaning"):
        if argument.get("worm"):
            raise ValueError("a cleaning cartridge is not WORM")
        what = CartridgeKind.CLEANING
    medium_kind = kind.medium(_KIND_NAMES[what])
    if medium_kind is None and "personality" in argument.options:
        raise ValueError(f"{kind.name} has no {_KIND_NAMES[what]} cartridges")
    barcode = argument.get("barcode", argument.subject.rpartition(".")[0] or argument.subject)
    attributes = (Attribute(_BARCODE, 1, barcode.encode("ascii", "replace")[:32].ljust(32)),) if barcode else ()
    new = NewCartridge(
        what, kind.density.code, medium_kind.medium_type if medium_kind is not None else 0, attributes, shares,
        bool(argument.get("protected")),
    )
    return _Writer((yield from TapeMedium.format(capabilities, new)))


def _size(argument: UnitArgument, source: int) -> int:
    # Small blocks become larger by their headers; what is not used is not kept.
    size: int = argument.get("size", max(_DEFAULT_SIZE, 4 * source))
    if size < SMALLEST - DATA_START:
        raise ValueError(f"size: {size} bytes are too few for a cartridge, at least {SMALLEST - DATA_START}")
    return size + DATA_START


def _shares(text: str) -> tuple[int, ...]:
    shares = tuple(parse_number(share) for share in text.split(":"))
    if not all(shares):
        raise ValueError("a share is 1 or more")
    return shares


def _barcode(text: str) -> str:
    if len(text) > 32 or not text.isascii() or not text.isprintable():
        raise ValueError("a bar code has at most 32 printable ASCII characters")
    return text


TAPE: Final = MediaFormat(
    "tape", "a cartridge of ours: docs/tape-format.md", (".tape",), lambda head, size: head.startswith(_MAGIC) or
    head[1 << 16 :].startswith(_MAGIC), _read, _write, _size,
    options=(
        UnitOption("size", "capacity (default 1G, or four times the source); the file is sparse", parse_size, "SIZE"),
        UnitOption("personality", "kind of drive that it is for", load_personality, "NAME"),
        UnitOption("barcode", "else the name of the file, less what follows its last point", _barcode, "TEXT"),
        UnitOption("partitions", "of such shares: 1:3", _shares, "N:N"),
        UnitOption("worm", "write once, read many"),
        UnitOption("cleaning", "a cleaning cartridge"),
        UnitOption("protected", "write protected by its tab"),
    ),
    read_options=(UnitOption("partition", "this one alone, counted from 0", parse_number, "NUMBER"),),
    blank=True,
)

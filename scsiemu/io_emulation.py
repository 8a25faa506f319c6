"""What a store lacks, emulated once: FUA, fill, discard and extents out of verbs that every byte store has.

`emulate` turns one request into several; whoever carries out the steps of an operation carries these out
the same way. `write_in_pieces` does so with a long write whose data is still to come. It does NOT invent space
(Resize) nor persistence (a store that cannot flush must not claim to).
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any, Final

from scsiemu.io_requests import (
    DataOut,
    Discard,
    Extent,
    ExtentKind,
    Extents,
    Fill,
    Flush,
    IoRequest,
    StoreCapabilities,
    Write,
)

if TYPE_CHECKING:
    from scsiemu.command import Command

__all__ = ["PIECE", "Emulation", "emulate", "write_in_pieces"]

# The longest Write that an emulated Fill is made of, bytes: bounds memory and the time that a store is busy.
PIECE: Final = 1 << 20
# A write whose data is still to come goes to the store in pieces of so many bytes: that needs less memory, and a
# processor's cache still has a piece when it is written.
_BURST: Final = 256 << 10
_EVEN: Final = 4096                 # a piece that ends elsewhere costs a store more


class Emulation:
    """Stands where an answer would: carry out these steps instead, their value is the answer."""

    __slots__ = ("steps",)

    def __init__(self, steps: Generator[IoRequest[Any], Any, Any]) -> None:
        self.steps = steps


def emulate(
    request: IoRequest[Any], capabilities: StoreCapabilities, *, discard_zeroes: bool = True
) -> Generator[IoRequest[Any], Any, Any] | None:
    """The requests that do what `request` asks, returning its answer; None where the store does it itself.

    Args:
        discard_zeroes: what a Discard does to a store without it: write zeros, or (False) nothing, for units
            that do not promise zeros in unmapped blocks.
    """
    cls = request.__class__
    if cls is Write:
        needs_flush = request.fua and not capabilities.fua  # type: ignore[attr-defined]  # a Write, and hot
        if needs_flush and capabilities.volatile:
            assert isinstance(request, Write)
            return _write_through(request)
        return None
    if isinstance(request, Fill):
        flush = request.fua and not capabilities.fua and capabilities.volatile
        if capabilities.fill and not flush:
            return None
        return _fill(request, native=capabilities.fill, flush=flush)
    if isinstance(request, Discard) and not capabilities.discard:
        return _discard(request, capabilities, zeroes=discard_zeroes)
    if isinstance(request, Extents) and not capabilities.extents:
        return _extents(request)
    return None


def _write_through(request: Write) -> Generator[IoRequest[Any], Any, None]:
    write = Write(request.offset, request.length, request.data, atom=request.atom)
    write.owned = request.owned
    yield write
    yield Flush()


def write_in_pieces(command: Command, request: Write) -> Generator[IoRequest[Any], Any, None] | None:
    """The requests that fetch a command's Data-Out and write it, which answer as `request` does; None where one write
    does it: all data has come, or it is short, or FUA, for which each piece would wait for the medium."""
    length = min(request.length, command.data_out_length)
    if length <= max(_BURST, request.atom) or len(command.data_out) >= length or request.fua:
        return None
    return _write_in_pieces(command, request, length - length % request.atom)


def _write_in_pieces(command: Command, request: Write, length: int) -> Generator[IoRequest[Any], Any, None]:
    command.wanted = request.length
    atom = request.atom
    come = len(command.data_out)
    # What came with the command goes first: alone where that costs no copy and no odd places.
    alone = come >= _BURST // 2 and not (come % atom or come % _EVEN)
    end = come if alone else max(come, _BURST)
    done = 0
    while done < length:
        end = min(-(-end // atom) * atom, length)
        data = yield DataOut(end - done, done)
        # Not owned: the next piece comes into the same buffer.
        yield Write(request.offset + done, end - done, data, atom=atom)
        done, end = end, end + _BURST


def _fill(request: Fill, *, native: bool, flush: bool) -> Generator[IoRequest[Any], Any, None]:
    if native:
        yield Fill(request.offset, request.length, request.pattern)
    else:
        yield from _fill_by_writes(request.offset, request.length, request.pattern)
    if flush:
        yield Flush()


def _fill_by_writes(offset: int, length: int, pattern: bytes) -> Generator[IoRequest[Any], Any, None]:
    if len(pattern) > PIECE:
        view = memoryview(pattern)
        pieces = [bytes(view[start:start + PIECE]) for start in range(0, len(pattern), PIECE)]
    else:
        pieces = [pattern * min(PIECE // len(pattern), -(-length // len(pattern)))] if length else []
    end = offset + length
    while offset < end:
        for piece in pieces:
            data = piece if len(piece) <= end - offset else piece[:end - offset]
            if not data:
                return
            write = Write(offset, len(data), data)
            write.owned = True  # bytes of ours, never changed
            yield write
            offset += len(data)


def _discard(
    request: Discard, capabilities: StoreCapabilities, *, zeroes: bool
) -> Generator[IoRequest[Any], Any, None]:
    if not zeroes:
        return
    if capabilities.fill:
        yield Fill(request.offset, request.length, bytes(1))
    else:
        yield from _fill_by_writes(request.offset, request.length, bytes(min(PIECE, request.length) or 1))


def _extents(request: Extents) -> Generator[IoRequest[Any], Any, tuple[Extent, ...]]:
    yield from ()
    return (Extent(request.offset, request.length, ExtentKind.DATA),)

"""What the engine may ask of a store, as values. A store sees only these: bytes and offsets, never a CDB.

Verbs follow the common ground of storage back ends: read, write, flush, discard, fill, extents, resize. A
request is answered with its result, with an `IoFailed`, or with `PENDING` and the answer later.

In a generator operation `data = yield from Read(offset, length)` asks and is typed: `__iter__` returns the
result.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Iterable
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeAlias, TypeVar

from scsiemu._value import value
from scsiemu.command import Buffer
from scsiemu.errors import IoFailed

if TYPE_CHECKING:
    from scsiemu.command import Command
    from scsiemu.logical_unit import LogicalUnit

__all__ = [
    "PENDING", "DataOut", "Discard", "Elsewhere", "Extent", "ExtentKind", "Extents", "Fill", "Flush", "IoRequest",
    "LoadState", "Pending", "Performer", "Read", "Resize", "SaveState", "Sleep", "Store", "StoreCapabilities", "Ticket",
    "UnitRequest", "Write",
]

R = TypeVar("R")


class Pending:
    """The answer "later": `Target.complete(ticket, result)` brings the real one."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "PENDING"


PENDING: Final = Pending()


class IoRequest(Generic[R]):
    """A request whose answer is an R."""

    __slots__ = ()

    def __iter__(self) -> Generator[IoRequest[Any], Any, R]:
        answer: R = yield self
        return answer


class Read(IoRequest[Buffer]):
    """Read exactly `length` bytes at byte `offset`. Never-written ranges read as zeros.

    The answer does not change afterwards: it may be sent long after a later write of the same range.
    """

    __slots__ = ("length", "offset")

    def __init__(self, offset: int, length: int) -> None:
        self.offset = offset
        self.length = length

    def __repr__(self) -> str:
        return f"Read({self.offset}, {self.length})"


class Write(IoRequest[None]):
    """Write `length` bytes at byte `offset`.

    An operation leaves `data` None to mean the command's Data-Out: the device server fetches it and sets
    `data` (cut to whole units of `atom` bytes where the initiator is ready to send less than `length`). A
    store always sees data. With `fua` the data is on stable storage when the answer comes. A view in `data`
    is valid during the call only: a store that answers PENDING copies it first, unless `owned` says that it
    may be kept.
    """

    __slots__ = ("atom", "data", "fua", "length", "offset", "owned")

    def __init__(
        self, offset: int, length: int, data: Buffer | None = None, fua: bool = False, atom: int = 1
    ) -> None:
        self.offset = offset
        self.length = length
        self.data = data
        self.fua = fua
        self.atom = atom
        self.owned = False

    def __repr__(self) -> str:
        return f"Write({self.offset}, {self.length}, fua={self.fua})"


class Flush(IoRequest[None]):
    """Bring every write answered so far to stable storage."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "Flush()"


class Discard(IoRequest[None]):
    """Deallocate a range. Afterwards it reads as zeros (a store that can't promise that lacks it)."""

    __slots__ = ("length", "offset")

    def __init__(self, offset: int, length: int) -> None:
        self.offset = offset
        self.length = length

    def __repr__(self) -> str:
        return f"Discard({self.offset}, {self.length})"


class Fill(IoRequest[None]):
    """Write `pattern` again and again over a range (`length` a multiple of the pattern's). Allocates it."""

    __slots__ = ("fua", "length", "offset", "pattern")

    def __init__(self, offset: int, length: int, pattern: bytes, *, fua: bool = False) -> None:
        self.offset = offset
        self.length = length
        self.pattern = pattern
        self.fua = fua

    def __repr__(self) -> str:
        return f"Fill({self.offset}, {self.length}, {len(self.pattern)}-byte pattern)"


class ExtentKind:
    """How a range of a store is kept."""

    DATA: Final = "data"    # allocated
    HOLE: Final = "hole"    # not allocated, reads as zeros


@value
class Extent:
    """A range of a store, `length` bytes from `offset`, of one kind (`ExtentKind`)."""

    offset: int
    length: int
    kind: str


class Extents(IoRequest[tuple[Extent, ...]]):
    """The map of a range: extents in order, without gap or overlap, from exactly `offset`; neighbours may be
    of one kind. At least one extent; the answer may stop early, after `limit` extents."""

    __slots__ = ("length", "limit", "offset")

    def __init__(self, offset: int, length: int, limit: int = 1024) -> None:
        self.offset = offset
        self.length = length
        self.limit = limit

    def __repr__(self) -> str:
        return f"Extents({self.offset}, {self.length})"


class Resize(IoRequest[None]):
    """Make the store `size` bytes long. New bytes read as zeros."""

    __slots__ = ("size",)

    def __init__(self, size: int) -> None:
        self.size = size

    def __repr__(self) -> str:
        return f"Resize({self.size})"


class LoadState(IoRequest["bytes | None"]):
    """Asked of the state store: the bytes kept under `key`, or None."""

    __slots__ = ("key",)

    def __init__(self, key: str) -> None:
        self.key = key

    def __repr__(self) -> str:
        return f"LoadState({self.key!r})"


class SaveState(IoRequest[None]):
    """Asked of the state store: keep `data` under `key`, on stable storage on answer. None forgets it."""

    __slots__ = ("data", "key")

    def __init__(self, key: str, data: bytes | None) -> None:
        self.key = key
        self.data = data

    def __repr__(self) -> str:
        return f"SaveState({self.key!r})"


class DataOut(IoRequest[Buffer]):
    """Asked of the transport: `length` bytes of the command's Data-Out, from byte `offset`. Answered with what the
    initiator is ready to send of it, which may be less. Each byte once, in order; what came with the command belongs
    to the first request."""

    __slots__ = ("length", "offset")

    def __init__(self, length: int, offset: int = 0) -> None:
        self.length = length
        self.offset = offset

    def __repr__(self) -> str:
        return f"DataOut({self.length}, {self.offset})"


class Elsewhere(IoRequest[R]):
    """A request for the store of another unit of the same target (third-party copy)."""

    __slots__ = ("request", "unit")

    def __init__(self, unit: LogicalUnit, request: IoRequest[R]) -> None:
        self.unit = unit
        self.request = request

    def __repr__(self) -> str:
        return f"Elsewhere({self.unit!r}, {self.request!r})"


class Sleep(IoRequest[None]):
    """Asked of the target's clock: wait `seconds`. 0 lets other commands run in between."""

    __slots__ = ("seconds",)

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def __repr__(self) -> str:
        return f"Sleep({self.seconds})"


# What a performer gets beside the request and gives back with a late answer. Opaque to stores.
Ticket: TypeAlias = "Command"


class UnitRequest(IoRequest[R], ABC):
    """What an operation asks of its own unit and no store can do."""

    __slots__ = ()

    @abstractmethod
    def perform(self, unit: LogicalUnit, command: Command) -> Any:
        """Do it for the command; the answer, or PENDING and later `unit.resume(command, answer)`."""


T_contra = TypeVar("T_contra", contravariant=True)


class Performer(Protocol):
    """Carries out requests: `performer(request, ticket)` answers with a result, an `IoFailed` or
    `PENDING`."""

    def __call__(self, request: IoRequest[Any], ticket: Ticket, /) -> Any: ...


@value
class StoreCapabilities:
    """What a byte store can do; the engine emulates the rest (`io_emulation`).

    Args:
        size: bytes, now.
        read_only: refuses Write, Fill, Discard, Resize.
        discard: has Discard.
        fill: has Fill.
        fua: Write and Fill obey `fua`; without it the engine adds a Flush.
        extents: has Extents; without it everything counts as data.
        resize: has Resize.
        volatile: answered writes may be lost before a Flush.
        block_size: offsets and lengths that the store likes best, bytes.
    """

    size: int
    read_only: bool = False
    discard: bool = False
    fill: bool = False
    fua: bool = False
    extents: bool = False
    resize: bool = False
    volatile: bool = True
    block_size: int = 4096


class Store(Protocol):
    """A byte store (io handler). `submit` is its performer; late answers are fetched with `reap`.

    `fileno()` becomes readable when `reap()` has something (None where answers are never late).
    """

    @property
    def capabilities(self) -> StoreCapabilities: ...

    def submit(self, request: IoRequest[Any], ticket: Ticket, /) -> Any: ...

    def reap(self) -> Iterable[tuple[Ticket, Any | IoFailed]]: ...

    def fileno(self) -> int | None: ...

    def close(self) -> None: ...

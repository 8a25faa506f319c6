"""A byte store that keeps nothing: reads are zeros, writes are taken and forgotten. For benches and tests.

Every verb is there and answered at once. It promises nothing of what a disk promises about data.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Final

from iohandlers._checks import check_size, refusal, refuse_unknown
from scsiemu.errors import IoFailed, IoFault
from scsiemu.io_requests import (
    Discard,
    Extent,
    ExtentKind,
    Extents,
    Fill,
    Flush,
    IoRequest,
    Read,
    Resize,
    StoreCapabilities,
    Ticket,
    Write,
)

__all__ = ["NullStore", "open_store"]

_ZEROS: Final = memoryview(bytes(1 << 20))


def open_store(*, size: int | None = None, read_only: bool = False, **unknown: object) -> NullStore:
    """Make a store of `size` bytes of nothing."""
    refuse_unknown("null", unknown, ("size", "read_only"))
    return NullStore(check_size("null", size), read_only=read_only)


class NullStore:
    """See the module; the arguments are those of `open_store`."""

    def __init__(self, size: int, *, read_only: bool = False) -> None:
        self._size = size
        self._read_only = read_only
        self._closed = False
        self._capabilities = StoreCapabilities(
            size=size, read_only=read_only, discard=True, fill=True, fua=True, extents=True, resize=True,
            volatile=False,
        )

    @property
    def capabilities(self) -> StoreCapabilities:
        if self._capabilities.size != self._size:
            self._capabilities = replace(self._capabilities, size=max(self._size, 0))
        return self._capabilities

    def submit(self, request: IoRequest[Any], ticket: Ticket, /) -> Any:  # hot
        cls = request.__class__
        if cls is Read:
            length = request.length     # type: ignore[attr-defined]  # a Read; isinstance costs more
            if 0 <= request.offset <= self._size - length and length >= 0:  # type: ignore[attr-defined]  # see above
                return _ZEROS[:length] if length <= len(_ZEROS) else bytes(length)
        elif cls is Write and not self._read_only:
            data = request.data         # type: ignore[attr-defined]  # a Write; see above
            if data is not None and 0 <= request.offset <= self._size - len(data):  # type: ignore[attr-defined]  # too
                return None
        failure = refusal(request, size=self._size, read_only=self._read_only, closed=self._closed)
        if failure is not None:
            return failure
        if cls is Write or cls is Flush or cls is Fill or cls is Discard:
            return None
        if isinstance(request, Extents):
            return (Extent(request.offset, request.length, ExtentKind.HOLE),)
        if isinstance(request, Resize):
            self._size = request.size
            return None
        return IoFailed(IoFault.UNSUPPORTED, f"a null store has no {cls.__name__}")

    def reap(self) -> Iterable[tuple[Ticket, Any | IoFailed]]:
        return ()

    def fileno(self) -> int | None:
        return None

    def close(self) -> None:
        self._closed = True
        self._size = -1

"""A shelf: many named media and, for each drive, a store that mounts one of them at a time.

The drives of a library share the shelf, so that a medium is never in two of them. A medium keeps its bytes while it
is out of a drive. For stores that answer at once, such as memory; no lock against another process.

Not a store by itself: the underscore keeps it out of the entry points.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

from iohandlers._checks import MUTATING
from scsiemu.errors import IoFailed, IoFault
from scsiemu.io_requests import Flush, IoRequest, Store, StoreCapabilities, Ticket
from scsiemu.media import ListMedia, Mount, Unmount

__all__ = ["Shelf", "ShelfDrive"]

_EMPTY: Final = StoreCapabilities(size=0)


class Shelf:
    """Media by name.

    Args:
        media: the store of each medium, by its name. They answer at once, never PENDING.
    """

    def __init__(self, media: Mapping[str, Store]) -> None:
        self._media = dict(media)
        self._mounted: set[str] = set()

    @property
    def names(self) -> tuple[str, ...]:
        """The media, mounted or not, sorted."""
        return tuple(sorted(self._media))

    def add(self, name: str, store: Store) -> None:
        """One more medium. Raises ValueError where there is one of that name."""
        if name in self._media:
            raise ValueError(f"there is a medium {name!r} already")
        self._media[name] = store

    def take(self, name: str) -> Store:
        """A medium leaves the shelf. Raises ValueError while it is mounted, KeyError where there is none."""
        if name in self._mounted:
            raise ValueError(f"medium {name!r} is mounted")
        return self._media.pop(name)

    def drive(self) -> ShelfDrive:
        """A store for one more drive, empty."""
        return ShelfDrive(self._media, self._mounted)


class ShelfDrive:
    """What one drive reads and writes: the medium mounted in it. Made by `Shelf.drive`."""

    def __init__(self, media: Mapping[str, Store], mounted: set[str]) -> None:
        self._media = media
        self._mounted = mounted     # the names in any drive of this shelf
        self._name: str | None = None
        self._store: Store | None = None
        self._read_only = False
        self._closed = False

    @property
    def capabilities(self) -> StoreCapabilities:
        if self._store is None:
            return _EMPTY
        return replace(self._store.capabilities, read_only=self._read_only or self._store.capabilities.read_only)

    def submit(self, request: IoRequest[Any], ticket: Ticket, /) -> Any:
        if self._closed:
            return IoFailed(IoFault.GONE, "the store is closed")
        if isinstance(request, Mount):
            return self._mount(request)
        if isinstance(request, ListMedia):
            return tuple(sorted(self._media))
        if isinstance(request, Unmount):
            flushed = None if self._store is None else self._store.submit(Flush(), ticket)
            if not isinstance(flushed, IoFailed):
                self._let_go()
            return flushed
        if self._store is None:
            return None if isinstance(request, Flush) else IoFailed(IoFault.GONE, "no medium is mounted")
        if self._read_only and isinstance(request, MUTATING):
            return IoFailed(IoFault.READ_ONLY, "the medium is mounted read-only")
        return self._store.submit(request, ticket)

    def reap(self) -> Iterable[tuple[Ticket, Any | IoFailed]]:
        return ()

    def fileno(self) -> int | None:
        return None

    def close(self) -> None:
        self._let_go()
        self._closed = True

    def _mount(self, request: Mount) -> StoreCapabilities | IoFailed:
        name = request.name
        if self._name is not None:
            return IoFailed(IoFault.GONE, f"medium {self._name!r} is mounted, {name!r} cannot be")
        store = self._media.get(name)
        if store is None:
            return IoFailed(IoFault.GONE, f"there is no medium {name!r}")
        if name in self._mounted:
            return IoFailed(IoFault.GONE, f"medium {name!r} is mounted in another drive")
        self._mounted.add(name)
        self._name, self._store, self._read_only = name, store, request.read_only
        return self.capabilities

    def _let_go(self) -> None:
        if self._name is not None:
            self._mounted.discard(self._name)
        self._name = self._store = None
        self._read_only = False

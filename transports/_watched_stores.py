"""The stores whose late answers a transport fetches: each tells by its file descriptor, in a loop. Not sans-IO.

It does NOT: open or close stores, or say what a late answer means for a transport (`answered`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable

from scsiemu.io_requests import Store
from scsiemu.target import Target

__all__ = ["WatchedStores"]


class WatchedStores:
    """Stores, watched from `start` to `stop`.

    Args:
        stores: the first ones.
        answered: called when late answers were given to their targets, with these.
    """

    def __init__(self, stores: Iterable[Store], answered: Callable[[Collection[Target]], None]) -> None:
        self._stores = list(stores)
        self._answered = answered
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Watch them."""
        self._loop = loop
        for store in self._stores:
            self._watch(store)

    def stop(self) -> None:
        """Watch them no more."""
        for store in self._stores:
            self._unwatch(store)
        self._loop = None

    def add(self, store: Store) -> None:
        """A unit was added live: watch its store, too."""
        self._stores.append(store)
        self._watch(store)

    def remove(self, store: Store) -> None:
        """The store is going to be closed."""
        self._stores.remove(store)
        self._unwatch(store)

    def _watch(self, store: Store) -> None:
        descriptor = store.fileno()
        if self._loop is not None and descriptor is not None:
            self._loop.add_reader(descriptor, self._reap, store)

    def _unwatch(self, store: Store) -> None:
        descriptor = store.fileno()
        if self._loop is not None and descriptor is not None:
            self._loop.remove_reader(descriptor)

    def _reap(self, store: Store) -> None:
        targets: dict[Target, None] = {}
        for ticket, answer in store.reap():
            target = ticket.unit.target
            targets[target] = None
            target.complete(ticket, answer)
        self._answered(targets)

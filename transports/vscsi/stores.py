"""Waiting for stores whose answers come late, where there is no event loop. Not sans-IO."""

from __future__ import annotations

import select
from collections.abc import Iterable

from scsiemu.io_requests import Store

__all__ = ["StorePump"]


class StorePump:
    """Brings late answers of stores to the targets that asked.

    Args:
        stores: those with a `fileno()` are waited for.
        seconds: that an answer may take.
    """

    def __init__(self, stores: Iterable[Store], *, seconds: float = 60.0) -> None:
        self._stores = tuple(stores)
        self._milliseconds = seconds * 1000

    def __call__(self) -> bool:
        """Wait for answers and deliver them. False: none came."""
        if self._reap():
            return True
        poll = select.poll()
        watched = False
        for store in self._stores:
            descriptor = store.fileno()
            if descriptor is not None:
                poll.register(descriptor, select.POLLIN)
                watched = True
        if not watched or not poll.poll(self._milliseconds):
            return False
        return self._reap()

    def _reap(self) -> bool:
        found = False
        for store in self._stores:
            for ticket, answer in store.reap():
                ticket.unit.target.complete(ticket, answer)
                found = True
        return found

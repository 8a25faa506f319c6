"""What filters (stores with a next store) have in common: one descriptor for several, waiting for a late answer.

Not a store.
"""

from __future__ import annotations

import select
from collections.abc import Iterable
from typing import Any, cast

from scsiemu.errors import IoFailed, IoFault
from scsiemu.io_requests import PENDING, IoRequest, Store, Ticket

__all__ = ["Readiness", "ask"]


class Readiness:
    """A descriptor that is readable when one of several is: an epoll of them where they are more than one."""

    def __init__(self, descriptors: Iterable[int | None]) -> None:
        some = [descriptor for descriptor in descriptors if descriptor is not None]
        self._epoll = None
        self._descriptor: int | None = some[0] if some else None
        if len(some) > 1:
            self._epoll = select.epoll(len(some))
            for descriptor in some:
                self._epoll.register(descriptor, select.EPOLLIN)
            self._descriptor = self._epoll.fileno()

    def fileno(self) -> int | None:
        return self._descriptor

    def wait(self, seconds: float) -> bool:
        """Whether it became readable in that time. Blocks: only for opening and closing."""
        return self._descriptor is not None and bool(select.select([self._descriptor], [], [], seconds)[0])

    def close(self) -> None:
        self._descriptor = None
        if self._epoll is not None:
            self._epoll.close()


def ask(store: Store, request: IoRequest[Any], *, patience: float = 60.0) -> Any:
    """Carry out one request of a store that nobody else uses yet, and wait. Raises IoFailed."""
    ticket = cast(Ticket, object())     # opaque to stores
    answer = store.submit(request, ticket)
    waiting = Readiness([store.fileno()]) if answer is PENDING else None
    while answer is PENDING:
        assert waiting is not None
        if not waiting.wait(patience):
            raise IoFailed(IoFault.GONE, f"{request!r} got no answer within {patience:g} seconds")
        for late, result in store.reap():
            if late is ticket:
                answer = result
    if isinstance(answer, IoFailed):
        raise answer
    return answer

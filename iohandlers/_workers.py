"""Worker threads for what would block a loop, with an eventfd back. Not a store.

A small fixed number of threads, each started when it is first needed. Results are fetched by the thread that
owns the store, so a store's own state needs no lock. A SimpleQueue with an eventfd costs 5 us for each call,
a thread pool with futures four times that.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

from scsiemu.errors import IoFailed, IoFault

__all__ = ["Workers"]

_T = TypeVar("_T")


class Workers(Generic[_T]):
    """Calls functions in threads; `reap` brings (ticket, result) of those that returned.

    Args:
        name: of the threads.
        threads: how many at most.
    """

    def __init__(self, name: str, threads: int) -> None:
        self._name = name
        self._limit = threads
        self._threads: list[threading.Thread] = []
        self._calls: SimpleQueue[tuple[_T, Callable[..., Any], tuple[Any, ...]] | None] = SimpleQueue()
        self._results: deque[tuple[_T, Any]] = deque()
        self._event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.outstanding = 0

    def fileno(self) -> int | None:
        """Readable when `reap` has something; None once stopped."""
        return self._event if self._event >= 0 else None

    def call(self, ticket: _T, function: Callable[..., Any], *arguments: Any) -> None:
        """Let a thread call `function(*arguments)`; its result, or the IoFailed it raises, is kept."""
        self.outstanding += 1
        if len(self._threads) < min(self._limit, self.outstanding):
            name = f"{self._name}-{len(self._threads)}"
            thread = threading.Thread(target=self._work, name=name, daemon=True)
            self._threads.append(thread)
            thread.start()
        self._calls.put((ticket, function, arguments))

    def reap(self) -> list[tuple[_T, Any]]:
        """The results that came since the last call."""
        if self._event >= 0:
            try:
                os.eventfd_read(self._event)
            except BlockingIOError:
                pass
        results = []
        while self._results:
            results.append(self._results.popleft())
        self.outstanding -= len(results)
        return results

    def stop(self) -> None:
        """Wait until all calls are done and end the threads. Results are still there for `reap`."""
        if self._event < 0:
            return
        for _ in self._threads:
            self._calls.put(None)
        for thread in self._threads:
            thread.join()
        self._threads.clear()
        os.close(self._event)
        self._event = -1

    def _work(self) -> None:
        while (job := self._calls.get()) is not None:
            ticket, function, arguments = job
            try:
                result = function(*arguments)
            except IoFailed as failure:
                result = failure
            except Exception as error:  # our bug; but a dead thread would leave its command without an end
                result = IoFailed(IoFault.ABORTED, f"the store failed inside: {error!r}")
                result.__cause__ = error
            self._results.append((ticket, result))
            os.eventfd_write(self._event, 1)
            del job, ticket, function, arguments, result  # keep no buffer alive while waiting

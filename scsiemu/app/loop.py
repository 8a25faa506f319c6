"""The event loop of the program: asyncio's, with a short way for sockets that are read all the time.

    asyncio.Runner(loop_factory=ServingLoop)
    loop.add_fast_reader(sock, callback)        # instead of add_reader, where a loop has it

asyncio makes, for each event, a tuple, a place in its queue and a run of a Handle in a context. For a request that is
answered at once that is as much work as the answer. Here the selector calls the callback of a fast reader as soon as
the kernel tells of it, and goes on waiting without a turn of the loop, unless the callback has asked asyncio for
something. All else goes asyncio's way, in order.

It does NOT: do without asyncio, or change what add_reader and its like mean.
"""

from __future__ import annotations

import asyncio
import select
from collections.abc import Callable, Iterator, Mapping
from contextvars import Context
from selectors import EVENT_READ, EVENT_WRITE, BaseSelector, SelectorKey
from time import monotonic
from typing import Any, Final, Protocol, TypeVarTuple, Unpack

__all__ = ["Afterwards", "ServingLoop"]

_Ts = TypeVarTuple("_Ts")

_EVENTS: Final = 64             # at a time: as many as malloc has a quick place for
_MANY: Final = 12               # readers: less are not worth to put off what they have to say
_NOT_WRITABLE: Final = ~select.EPOLLOUT
_NOT_READABLE: Final = ~select.EPOLLIN


class _HasFileno(Protocol):
    def fileno(self) -> int: ...


class Afterwards(Protocol):
    """Where a fast reader can put off what another process would be woken for, until all that are ready have read.

    Attributes:
        calls: what to call then; None where so few are ready that it would only be late.
    """

    calls: list[Callable[[], object]] | None


class ServingLoop(asyncio.SelectorEventLoop):
    """See the module. Linux only, as epoll is."""

    def __init__(self) -> None:
        self._fast = _FastSelector(self._fast_failed)
        super().__init__(self._fast)

    def add_fast_reader(self, file: _HasFileno, callback: Callable[[], object]) -> None:
        """Call `callback` whenever there is something to read. It must not be called for long, nor wait."""
        self._fast.add_fast(file.fileno(), callback)

    def remove_fast_reader(self, file: _HasFileno) -> None:
        """Call it no more. Does nothing where it was not added."""
        self._fast.remove_fast(file.fileno())

    @property
    def afterwards(self) -> Afterwards:
        """See `Afterwards`."""
        return self._fast

    # What a fast callback asks of asyncio must be seen to before the selector waits again.

    def call_soon(
        self, callback: Callable[[Unpack[_Ts]], object], *args: *_Ts, context: Context | None = None
    ) -> asyncio.Handle:
        self._fast.leave = True
        return super().call_soon(callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[[Unpack[_Ts]], object], *args: *_Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        self._fast.leave = True
        return super().call_at(when, callback, *args, context=context)

    def _fast_failed(self, error: Exception) -> None:
        self.call_exception_handler({"message": "Exception in a fast reader", "exception": error})


class _FastSelector(BaseSelector):
    """An epoll selector that calls fast readers itself.

    Attributes:
        leave: do not wait again before asyncio has had its turn.
        calls: see `Afterwards`.
    """

    def __init__(self, failed: Callable[[Exception], None]) -> None:
        self._epoll = select.epoll()
        self._keys: dict[int, SelectorKey] = {}
        self._readers: dict[int, Callable[[], object]] = {}
        self._masks: dict[int, int] = {}
        self._failed = failed
        self._map = _Map(self._keys)
        self.leave = False
        self.calls: list[Callable[[], object]] | None = None

    def add_fast(self, descriptor: int, callback: Callable[[], object]) -> None:
        self._readers[descriptor] = callback
        self._apply(descriptor)

    def remove_fast(self, descriptor: int) -> None:
        if self._readers.pop(descriptor, None) is not None:
            self._apply(descriptor)

    def select(self, timeout: float | None = None) -> list[tuple[SelectorKey, int]]:            # hot
        readers = self._readers
        poll = self._epoll.poll
        self.leave = False
        wait: float | None = timeout
        if timeout is not None:
            wait = max(timeout, 0.0)
        until = 0.0 if wait is None else monotonic() + wait
        while True:
            try:
                events = poll(wait, _EVENTS)
            except InterruptedError:
                return []
            ready = []
            if len(events) >= _MANY:
                self.calls = []
            for descriptor, mask in events:
                reader = readers.get(descriptor)
                if reader is not None:
                    if mask & _NOT_WRITABLE:
                        try:
                            reader()
                        except Exception as error:  # one connection must not end the loop
                            self._failed(error)
                    if not mask & select.EPOLLOUT:
                        continue
                key = self._keys.get(descriptor)
                if key is not None:
                    what = (EVENT_WRITE if mask & _NOT_READABLE else 0) | (EVENT_READ if mask & _NOT_WRITABLE else 0)
                    ready.append((key, what & key.events))
            if self.calls is not None:
                self._call()
            if ready or self.leave:
                return ready
            if wait is not None:
                wait = until - monotonic()
                if wait <= 0:
                    return ready

    def _call(self) -> None:
        calls, self.calls = self.calls, None
        for call in calls or ():
            try:
                call()
            except Exception as error:
                self._failed(error)

    # --- what asyncio asks of a selector -----------------------------------------------------------------------

    def register(self, fileobj: Any, events: int, data: Any = None) -> SelectorKey:
        descriptor = _descriptor(fileobj)
        if descriptor in self._keys:
            raise KeyError(f"{fileobj!r} is registered already")
        key = self._keys[descriptor] = SelectorKey(fileobj, descriptor, events, data)
        self._apply(descriptor)
        return key

    def unregister(self, fileobj: Any) -> SelectorKey:
        descriptor = _descriptor(fileobj)
        key = self._keys.pop(descriptor)
        self._apply(descriptor)
        return key

    def modify(self, fileobj: Any, events: int, data: Any = None) -> SelectorKey:
        descriptor = _descriptor(fileobj)
        old = self._keys[descriptor]
        key = self._keys[descriptor] = SelectorKey(old.fileobj, descriptor, events, data)
        self._apply(descriptor)
        return key

    def get_map(self) -> Mapping[Any, SelectorKey]:
        return self._map

    def close(self) -> None:
        self._epoll.close()
        self._keys.clear()
        self._readers.clear()

    def _apply(self, descriptor: int) -> None:
        """Tell the kernel what is wanted of a descriptor now."""
        key = self._keys.get(descriptor)
        wanted = 0 if key is None else key.events
        mask = select.EPOLLIN if wanted & EVENT_READ or descriptor in self._readers else 0
        if wanted & EVENT_WRITE:
            mask |= select.EPOLLOUT
        old = self._masks.get(descriptor)
        if not mask:
            if self._masks.pop(descriptor, None) is not None:
                try:
                    self._epoll.unregister(descriptor)
                except OSError:
                    pass            # it was closed before: the kernel has forgotten it
        elif old is None:
            self._masks[descriptor] = mask
            self._epoll.register(descriptor, mask)
        elif old != mask:
            self._masks[descriptor] = mask
            self._epoll.modify(descriptor, mask)


class _Map(Mapping[Any, SelectorKey]):
    """Keys by file object or descriptor."""

    def __init__(self, keys: dict[int, SelectorKey]) -> None:
        self._keys = keys

    def __getitem__(self, fileobj: Any) -> SelectorKey:
        return self._keys[_descriptor(fileobj)]

    def __len__(self) -> int:
        return len(self._keys)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._keys)


def _descriptor(fileobj: Any) -> int:
    if isinstance(fileobj, int):
        return fileobj
    descriptor = int(fileobj.fileno())
    if descriptor < 0:
        raise ValueError(f"{fileobj!r} is closed")
    return descriptor

"""A world served over TCP by a loop in a thread, for tests that need real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

from iscsi_world import IQN, World

from transports.iscsi.server import IscsiTransport

__all__ = ["TcpWorld", "served"]


class TcpWorld:
    """A world at work. Only `call` may touch it while it is served."""

    def __init__(self, world: World, loop: asyncio.AbstractEventLoop, transport: IscsiTransport) -> None:
        self.world = world
        self.transport = transport
        self.bound: list[tuple[str, int]] = []
        self.reports: list[str] = []
        self.errors: list[dict[str, Any]] = []      # exceptions that reached the loop
        self._loop = loop

    def url(self, index: int = 0, options: str = "") -> str:
        """The URL of LUN 0 at a portal."""
        host, port = self.bound[index]
        shown = f"[{host}]" if ":" in host else host
        return f"iscsi://{shown}:{port}/{IQN}/0{options}"

    def call(self, function: Callable[[], Any]) -> Any:
        """Call a function in the loop's thread."""

        async def run() -> Any:
            return function()

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(10)

    def post(self, function: Callable[[], object]) -> None:
        """Have a function called in the loop's thread; do not wait for it."""
        self._loop.call_soon_threadsafe(function)

    def stop(self) -> None:
        """Stop serving."""
        asyncio.run_coroutine_threadsafe(self.transport.stop(), self._loop).result(20)


@contextlib.contextmanager
def served(
    world: World | None = None, portals: tuple[tuple[str, int], ...] = (("127.0.0.1", 0),),
    loop_factory: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop,
) -> Iterator[TcpWorld]:
    """Serve a world; at the end no exception has reached the loop."""
    world = world if world is not None else World()
    loop = loop_factory()
    there = TcpWorld(world, loop, IscsiTransport(world.node, report=lambda line: there.reports.append(line)))
    loop.set_exception_handler(lambda _, context: there.errors.append(context))
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        there.bound = asyncio.run_coroutine_threadsafe(there.transport.start(portals), loop).result(10)
        yield there
    finally:
        there.stop()
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
    assert there.errors == []

"""The program's event loop: fast readers beside all that asyncio does."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import signal
import socket
from collections.abc import Awaitable, Callable, Iterator

import pytest

from scsiemu.app.loop import ServingLoop


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    near, far = socket.socketpair()
    with near, far:
        near.setblocking(False)
        far.setblocking(False)
        yield near, far


def run(main: Callable[[ServingLoop], Awaitable[object]]) -> None:
    async def start() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, ServingLoop)
        await asyncio.wait_for(main(loop), 20)

    with asyncio.Runner(loop_factory=ServingLoop) as runner:
        runner.run(start())


def test_fast_reader_reads(pair: tuple[socket.socket, socket.socket]) -> None:
    """A fast reader is called when there is something to read, until it is removed; a future that it sets is seen."""
    near, far = pair
    seen: list[bytes] = []

    async def main(loop: ServingLoop) -> None:
        done = loop.create_future()

        def readable() -> None:
            seen.append(near.recv(100))
            if len(seen) == 3:
                loop.remove_fast_reader(near)
                done.set_result(None)

        loop.add_fast_reader(near, readable)
        for _ in range(3):
            far.send(b"x")
            await asyncio.sleep(0.01)
        await done
        far.send(b"y")
        await asyncio.sleep(0.01)
        loop.remove_fast_reader(near)

    run(main)
    assert seen == [b"x"] * 3


def test_fast_reader_and_writer(pair: tuple[socket.socket, socket.socket]) -> None:
    """asyncio may wait for the same socket to take data, and both are told."""
    near, _ = pair
    written: list[int] = []
    read: list[bytes] = []

    async def main(loop: ServingLoop) -> None:
        loop.add_fast_reader(near, lambda: read.append(near.recv(100)))
        done = loop.create_future()

        def writable() -> None:
            written.append(1)
            loop.remove_writer(near)
            pair[1].send(b"z")
            loop.call_later(0.02, done.set_result, None)

        loop.add_writer(near, writable)
        await done
        loop.remove_fast_reader(near)

    run(main)
    assert written == [1]
    assert read == [b"z"]


def test_busy_fast_reader_starves_nobody(pair: tuple[socket.socket, socket.socket]) -> None:
    """Timers, signals and ordinary callbacks have their turn while a fast reader always has something to read."""
    near, far = pair
    rounds = [0]
    got: list[str] = []

    async def main(loop: ServingLoop) -> None:
        def again() -> None:
            rounds[0] += 1
            near.recv(1)
            far.send(b"x")

        loop.add_fast_reader(near, again)
        far.send(b"x")
        loop.add_signal_handler(signal.SIGUSR1, got.append, "signal")
        await asyncio.sleep(0.02)
        got.append("timer")
        os.kill(os.getpid(), signal.SIGUSR1)
        await asyncio.to_thread(got.append, "thread")
        await asyncio.sleep(0.02)
        loop.remove_fast_reader(near)

    run(main)
    assert sorted(got) == ["signal", "thread", "timer"]
    assert rounds[0] > 10


def test_fast_reader_fails(pair: tuple[socket.socket, socket.socket]) -> None:
    """What a fast reader raises goes to the loop's exception handler, and the loop goes on."""
    near, far = pair
    errors: list[object] = []

    async def main(loop: ServingLoop) -> None:
        def broken() -> None:
            near.recv(100)
            raise ZeroDivisionError("planted")

        loop.set_exception_handler(lambda _, context: errors.append(context["exception"]))
        loop.add_fast_reader(near, broken)
        far.send(b"x")
        await asyncio.sleep(0.02)
        far.send(b"x")
        await asyncio.sleep(0.02)
        loop.remove_fast_reader(near)

    run(main)
    assert [type(error) for error in errors] == [ZeroDivisionError] * 2


def test_closed_before_removed(pair: tuple[socket.socket, socket.socket]) -> None:
    """A socket that was closed first can still be removed by what asyncio knows of it."""
    near, _ = pair

    async def main(loop: ServingLoop) -> None:
        descriptor = near.fileno()
        loop.add_reader(near, lambda: None)
        near.close()
        assert loop.remove_reader(descriptor)
        with contextlib.closing(socket.socket()) as other:
            loop.add_fast_reader(other, lambda: None)
            loop.remove_fast_reader(other)

    run(main)


@pytest.mark.parametrize("count", [11, 12])
def test_fast_readers_put_off(count: int) -> None:
    """Where many are ready, what they put off is called once all of them have read, whatever one of them raises."""
    pairs = [socket.socketpair() for _ in range(count)]
    order: list[str] = []
    errors: list[object] = []

    async def main(loop: ServingLoop) -> None:
        def reader(near: socket.socket) -> None:
            near.recv(1)
            order.append("read")
            calls = loop.afterwards.calls
            if calls is None:
                order.append("sent")
            else:
                calls.append(sent)

        def sent() -> None:
            order.append("sent")
            if order.count("sent") == 1:
                raise ZeroDivisionError("planted")

        loop.set_exception_handler(lambda _, context: errors.append(context["exception"]))
        for near, far in pairs:
            loop.add_fast_reader(near, functools.partial(reader, near))
            far.send(b"x")
        await asyncio.sleep(0.02)
        for near, far in pairs:
            loop.remove_fast_reader(near)
            near.close()
            far.close()

    run(main)
    assert order == (["read", "sent"] * count if count < 12 else ["read"] * count + ["sent"] * count)
    assert len(errors) == (count == 12)

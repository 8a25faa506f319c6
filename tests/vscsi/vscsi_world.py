"""Targets for tests of virtual SCSI: by memory, and by a Unix socket served in a thread of its own."""

from __future__ import annotations

import asyncio
import tempfile
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from scsiemu.io_requests import Store
from scsiemu.target import Target
from transports.vscsi import FragmentRule, Loopback, VscsiLimits, VscsiPort, loopback
from transports.vscsi.client import Client, connect
from transports.vscsi.server import VscsiTransport
from transports.vscsi.stores import StorePump


class LoopbackBench:
    """The in-process carrier, for the kit."""

    def __init__(self, target: Target, stores: Sequence[Store], rule: FragmentRule | None = None) -> None:
        self.port = VscsiPort(target, limits=VscsiLimits(iu_length=512))
        self.pump = StorePump(stores, seconds=10.0)
        self.look = StorePump(stores, seconds=0.0)
        self.rule = rule

    def connect(self, number: int) -> Loopback:
        """Another pair of partitions."""
        return loopback(
            self.port.target, port=self.port, pump=self.pump, identity=number, rule=self.rule, memory=16 << 20
        )

    def go_on(self) -> None:
        """Deliver what stores have ready."""
        self.look()
        self.port.settle()

    def close(self) -> None:
        """Nothing is open."""


class SocketBench:
    """The Unix socket, served by a thread with its own loop."""

    def __init__(
        self, target: Target, stores: Sequence[Store] = (), rule: FragmentRule | None = None, iu_length: int = 256
    ) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.path = str(Path(self.folder.name) / "vscsi")
        self.rule = rule
        self.iu_length = iu_length
        self.reports: list[str] = []
        self.transport = VscsiTransport(
            VscsiPort(target, limits=VscsiLimits(iu_length=iu_length)), stores=stores, report=self.reports.append
        )
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.run(lambda: self.transport.start(self.path))

    def run(self, make: Callable[[], object]) -> None:
        """Run a coroutine in the loop."""
        asyncio.run_coroutine_threadsafe(make(), self.loop).result(10)  # type: ignore[arg-type]  # a coroutine

    def connect(self, number: int, **options: object) -> Client:
        """A client."""
        return connect(
            self.path, identity=number, rule=self.rule, iu_length=self.iu_length, seconds=10.0,
            **options,  # type: ignore[arg-type]  # as of `connect`
        )

    def go_on(self) -> None:
        """The thread does it."""

    def close(self) -> None:
        """End the server and its thread."""
        self.run(self.transport.stop)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)
        self.loop.close()
        self.folder.cleanup()

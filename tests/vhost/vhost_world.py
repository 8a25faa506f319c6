"""Targets for tests of vhost-user-scsi, served by a thread with a loop of its own."""

from __future__ import annotations

import asyncio
import tempfile
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from devtypes.vd import DiskConfig, VirtualDisk
from iohandlers.memory import open_store
from scsiemu.io_requests import Store
from scsiemu.target import Target
from scsiemu.testing.transport_kit import HeldStore
from scsiemu.well_known import REPORT_LUNS_LUN, ReportLunsUnit
from transports.vhost.front_end import FrontEnd
from transports.vhost.port import VhostLimits
from transports.vhost.server import VhostTransport

T = TypeVar("T")

READ_ONE = bytes.fromhex("28000000000000000100")
WRITE_ONE = bytes.fromhex("2a000000000000000100")


class VhostBench:
    """A Unix socket, served by a thread."""

    def __init__(
        self, targets: tuple[Target, ...], stores: Sequence[Store] = (), limits: VhostLimits | None = None,
        **options: Any,
    ) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.path = str(Path(self.folder.name) / "vhost")
        self.options = options
        self.reports: list[str] = []
        self.transport = VhostTransport(targets, stores=stores, report=self.reports.append, limits=limits)
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        asyncio.run_coroutine_threadsafe(self.transport.start(self.path), self.loop).result(10)

    def __enter__(self) -> VhostBench:
        return self

    def __exit__(self, *what: object) -> None:
        self.close()

    def call(self, work: Callable[[], T]) -> T:
        """Do something in the thread of the loop; guests are told what came of it."""

        async def run() -> T:
            found = work()
            self.transport.go_on()
            return found

        return asyncio.run_coroutine_threadsafe(run(), self.loop).result(10)

    def connect(self, number: int = 1, **options: Any) -> FrontEnd:
        """A guest."""
        return FrontEnd(self.path, **{**self.options, **options})

    def go_on(self) -> None:
        """The thread does it."""

    def close(self) -> None:
        """End the server and its thread."""
        asyncio.run_coroutine_threadsafe(self.transport.stop(), self.loop).result(10)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)
        self.loop.close()
        self.folder.cleanup()


def disk_target(name: str = "iqn.2026-11.test:vhost", *, blocks: int = 2048) -> tuple[Target, HeldStore]:
    """A target with a disk as LUN 0, and its store, which can be held."""
    store = HeldStore(open_store(size=blocks * 512))
    target = Target(name)
    add_disk(target, 0, store)
    target.add_unit(REPORT_LUNS_LUN, ReportLunsUnit())
    return target, store


def add_disk(target: Target, lun: int, store: Store) -> None:
    """Another disk."""
    target.add_unit(
        lun, VirtualDisk(DiskConfig.for_store(store.capabilities)), performer=store.submit,
        capabilities=lambda: store.capabilities,
    )


def ready(guest: FrontEnd, lun: int = 0) -> FrontEnd:
    """The same, its unit attentions cleared."""
    for _ in range(8):
        if not guest.execute(lun, bytes(6)).status:
            return guest
    raise AssertionError("the unit does not get ready")

"""A target whose units come, go and change while it is served, by a thread with a loop of its own."""

from __future__ import annotations

import asyncio
import secrets
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from devtypes.vd import DiskConfig, VirtualDisk
from iohandlers.memory import open_store
from scsiemu.target import Target
from scsiemu.well_known import REPORT_LUNS_LUN, ReportLunsUnit
from transports.iscsi.node import IscsiTarget, TargetNode
from transports.iscsi.server import IscsiTransport
from transports.vhost.server import VhostTransport

__all__ = ["LivingTarget"]

_Result = TypeVar("_Result")


class LivingTarget:
    """A target with one disk, LUN 0. Served by one transport at a time; all is done in the thread of the loop.

    Args:
        name: of the target.
        blocks: of 512 bytes, of LUN 0.

    Attributes:
        reports: lines for the operator.
        errors: exceptions that reached the loop.
    """

    def __init__(self, name: str, *, blocks: int = 65536) -> None:
        self.target = Target(name)
        self.reports: list[str] = []
        self.errors: list[dict[str, Any]] = []
        self._disks: dict[int, VirtualDisk] = {}
        self._transport: VhostTransport | IscsiTransport | None = None
        self._loop = asyncio.new_event_loop()
        self._loop.set_exception_handler(lambda _, context: self.errors.append(context))
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.add_disk(0, blocks)
        self.target.add_unit(REPORT_LUNS_LUN, ReportLunsUnit())

    def __enter__(self) -> LivingTarget:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()
        assert self.errors == []

    # --- ways in -----------------------------------------------------------------------------------------------

    def serve_vhost(self, path: Path) -> None:
        """Serve a virtio-scsi adapter."""
        self._transport = transport = VhostTransport((self.target,), report=self.reports.append)
        self._run(transport.start(str(path)))

    def serve_iscsi(self, port: int = 0) -> int:
        """Serve at a port of 127.0.0.1; the port."""
        node = TargetNode(random_bytes=secrets.token_bytes)
        node.add_target(IscsiTarget(self.target))
        self._transport = transport = IscsiTransport(node, report=self.reports.append)
        ((_, bound),) = self._run(transport.start([("127.0.0.1", port)]))
        return bound

    def stop(self) -> None:
        """Serve no more; over iSCSI, initiators are asked to log out before."""
        transport, self._transport = self._transport, None
        if transport is not None:
            self._run(transport.stop())

    def break_connections(self) -> None:
        """Close the sockets of initiators without a word."""
        def drop() -> None:
            assert isinstance(self._transport, IscsiTransport), "served over iSCSI"
            for connection in list(self._transport.node.connections):
                connection.drop("broken on purpose")

        self._call(drop)

    # --- changes -----------------------------------------------------------------------------------------------

    def add_disk(self, lun: int, blocks: int) -> None:
        """Another disk, in memory."""
        store = open_store(size=blocks * 512)
        disk = self._disks[lun] = VirtualDisk(DiskConfig.for_store(store.capabilities))
        self._call(lambda: self.target.add_unit(
            lun, disk, performer=store.submit, capabilities=lambda: store.capabilities
        ))

    def resize(self, lun: int, blocks: int) -> None:
        """The disk has another capacity."""
        self._call(lambda: self._disks[lun].resize(blocks))

    def remove(self, lun: int) -> None:
        """The unit is gone."""
        self._call(lambda: self.target.remove_unit(lun))
        del self._disks[lun]

    def _call(self, work: Callable[[], object]) -> None:
        async def run() -> None:
            work()
            if isinstance(self._transport, VhostTransport):
                self._transport.go_on()
            elif self._transport is not None:
                self._transport.node.settle_all(self.target)
                self._transport.flush()

        self._run(run())

    def _run(self, work: Coroutine[Any, Any, _Result]) -> _Result:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(20)

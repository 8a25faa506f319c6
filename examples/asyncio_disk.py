"""An asyncio program that serves a disk over iSCSI on a free port, until Ctrl-C or for so many seconds.

    python examples/asyncio_disk.py [SECONDS]
    iscsi-inq iscsi://127.0.0.1:PORT/iqn.2026-11.org.example:asyncio/0
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import sys

from devtypes.vd import DiskConfig, VirtualDisk
from iohandlers.memory import open_store
from scsiemu import Target
from transports.iscsi.node import IscsiTarget, TargetNode
from transports.iscsi.server import IscsiTransport


async def serve(seconds: float | None) -> None:
    """Serve a disk of 64 MiB in memory."""
    store = open_store(size=64 << 20)
    target = Target("iqn.2026-11.org.example:asyncio")
    target.add_unit(
        0,
        VirtualDisk(DiskConfig.for_store(store.capabilities)),
        performer=store.submit,
        capabilities=lambda: store.capabilities,
    )
    node = TargetNode(random_bytes=secrets.token_bytes)
    node.add_target(IscsiTarget(target))
    transport = IscsiTransport(node, stores=[store], report=print)
    ((host, port),) = await transport.start([("127.0.0.1", 0)])
    print(f"iscsi://{host}:{port}/{target.name}/0", flush=True)
    try:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.Event().wait(), seconds)     # the rest of your program
    finally:
        await transport.stop()
        store.close()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(float(sys.argv[1]) if len(sys.argv) > 1 else None))

"""A virtual disk on a memory store, and an initiator: what the tests of the virtual disk start with."""

from __future__ import annotations

from typing import Any

from devtypes.vd import DiskConfig, VirtualDisk
from iohandlers.memory import open_store
from scsiemu.events import InternalFailure
from scsiemu.logical_unit import LogicalUnit
from scsiemu.nexus import Protocol, TargetPort
from scsiemu.target import Target
from scsiemu.testing.initiator import Initiator

__all__ = ["Bench", "add_disk"]


def add_disk(target: Target, lun: int = 0, **options: Any) -> LogicalUnit:
    """Add a disk of 1 MiB, or of these options."""
    size = options.pop("size", 1 << 20)
    wrap = options.pop("wrap", None)
    state = options.pop("state", None)
    store = options.pop("store", None) or open_store(size=size)
    config = DiskConfig.for_store(store.capabilities, **options)
    submit = store.submit if wrap is None else wrap(store.submit)
    return target.add_unit(
        lun, VirtualDisk(config), performer=submit, capabilities=lambda: store.capabilities, state_performer=state
    )


class Bench:
    """A target with one disk, and one initiator."""

    def __init__(self, **options: Any) -> None:
        self.target = Target("iqn.2026-11.org.example:vd")
        self.target.add_port(TargetPort("iqn.2026-11.org.example:vd,t,0x0001", 1, 1, Protocol.ISCSI))
        self.unit = add_disk(self.target, **options)
        self.initiator = Initiator(self.target)
        self.do = self.initiator.command

    @property
    def disk(self) -> VirtualDisk:
        """The device server."""
        server = self.unit.server
        assert isinstance(server, VirtualDisk)
        return server

    def another(self, name: str = "iqn.2026-11.org.example:other") -> Initiator:
        """A second initiator."""
        return Initiator(self.target, name)

    def write(self, lba: int, data: bytes) -> None:
        """Write whole blocks with WRITE(16)."""
        blocks = len(data) // self.disk.block_size
        assert self.do("WRITE(16)", lba=lba, transfer_length=blocks, data_out=data).good

    def read(self, lba: int, blocks: int = 1) -> bytes:
        """Read blocks with READ(16)."""
        length = blocks * self.disk.block_size
        result = self.do("READ(16)", lba=lba, transfer_length=blocks, data_in=length)
        assert result.good, result
        return result.data

    def internal_failures(self) -> list[InternalFailure]:
        """Bugs that were reported as events."""
        found = []
        while (event := self.target.next_event()) is not None:
            if isinstance(event, InternalFailure):
                found.append(event)
        return found

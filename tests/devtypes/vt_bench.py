"""A tape drive on a memory store, and an initiator: what the tests of the drive start with."""

from __future__ import annotations

from typing import Any

from devtypes.vt import TapeConfig, TapeDrive
from devtypes.vt.medium_layout import DATA_START
from iohandlers.memory import open_store
from scsiemu.events import InternalFailure
from scsiemu.logical_unit import LogicalUnit
from scsiemu.nexus import Protocol, TargetPort
from scsiemu.target import Target
from scsiemu.testing.initiator import Initiator, Result

__all__ = ["Bench", "add_drive"]


def add_drive(target: Target, lun: int = 0, **options: Any) -> LogicalUnit:
    """Add a drive with a cartridge of 1 MiB, or of these options."""
    size = options.pop("size", 1 << 20)
    store = options.pop("store", None) or open_store(size=size + DATA_START)
    return target.add_unit(
        lun, TapeDrive(TapeConfig(**options)), performer=store.submit, capabilities=lambda: store.capabilities
    )


class Bench:
    """A target with one drive, and one initiator."""

    def __init__(self, **options: Any) -> None:
        self.target = Target("iqn.2026-11.org.example:vt")
        self.target.add_port(TargetPort("iqn.2026-11.org.example:vt,t,0x0001", 1, 1, Protocol.ISCSI))
        self.unit = add_drive(self.target, **options)
        self.initiator = Initiator(self.target)

    def do(self, name: str, **options: Any) -> Result:
        """Execute an operation by its name. What it does must not be an internal failure."""
        result = self.initiator.command(name, **options)
        while (event := self.target.next_event()) is not None:
            if isinstance(event, InternalFailure):
                raise event.error
        return result

    @property
    def drive(self) -> TapeDrive:
        """The device server."""
        server = self.unit.server
        assert isinstance(server, TapeDrive)
        return server

    def write(self, data: bytes) -> Result:
        """Write one variable block."""
        return self.do("WRITE(6)", transfer_length=len(data), data_out=data)

    def read(self, length: int = 65536, **fields: int) -> Result:
        """Read one variable block."""
        return self.do("READ(6)", transfer_length=length, data_in=length, **fields)

    def mark(self, count: int = 1) -> Result:
        """Write filemarks."""
        return self.do("WRITE FILEMARKS(6)", filemark_count=count)

    def rewind(self) -> None:
        """To the beginning."""
        assert self.do("REWIND").good

    def where(self) -> tuple[int, int, int]:
        """Partition, object and file, by READ POSITION."""
        data = self.do("READ POSITION", service_action=6).data
        partition, number, file = (int.from_bytes(data[a:b], "big") for a, b in ((4, 8), (8, 16), (16, 24)))
        return partition, number, file

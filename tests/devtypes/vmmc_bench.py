"""What the tests of the optical drive share: a drive with a disc, and commands by name."""

from __future__ import annotations

from typing import Any

from devtypes.vmmc import OpticalConfig, OpticalDrive
from iohandlers.memory import open_store
from scsiemu.io_requests import Write
from scsiemu.target import Target
from scsiemu.testing.initiator import Initiator, Result

__all__ = ["Bench", "image", "store_of"]

BLOCK = 2048


def image(blocks: int, size: int = BLOCK) -> bytes:
    """Sectors that can be told apart."""
    return b"".join(number.to_bytes(4, "big") * (size // 4) for number in range(blocks))


def store_of(data: bytes) -> Any:
    """A store with these bytes."""
    store = open_store(size=len(data))
    store.submit(Write(0, len(data), data), None)  # type: ignore[arg-type]  # the ticket is opaque
    return store


class Bench:
    """A drive with a disc in a target of its own, and a nexus.

    Args:
        data: the image, or its store.
        config: fields of `OpticalConfig`.
    """

    def __init__(self, data: bytes | Any = b"", **config: Any) -> None:
        self.store = store_of(data or image(64)) if isinstance(data, bytes) else data
        self.target = Target("iqn.2026-11.org.example:vmmc")
        self.drive = OpticalDrive(OpticalConfig(**config))
        self.target.add_unit(0, self.drive, performer=self.store.submit, capabilities=lambda: self.store.capabilities)
        self.initiator = Initiator(self.target)
        while self.target.next_event() is not None:
            pass

    def do(self, name: str, **fields: Any) -> Result:
        """Execute a command by the name of its operation."""
        return self.initiator.command(name, **fields)

    def data(self, name: str, **fields: Any) -> bytes:
        """The data of a command that ends with GOOD."""
        result = self.do(name, **fields)
        assert result.good, result
        return result.data

    def another(self) -> Initiator:
        """A second nexus."""
        return Initiator(self.target, "iqn.2026-11.org.example:other")

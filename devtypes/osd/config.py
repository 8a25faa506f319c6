"""What an object storage device is made of."""

from __future__ import annotations

from scsiemu._value import value

__all__ = ["OsdConfig"]


@value
class OsdConfig:
    """Settings of a unit.

    Args:
        max_transfer: bytes that one command moves at most each way; bounds the memory of a command.
        security: least security method where no attribute asks for another (0 NOSEC to 3 ALLDATA).
        vendor_atomics: it has the commands of `atomic_commands`, which no standard has.
        root_secret: what keys are made of and sealed with; empty for a unit without keys, which serves NOSEC alone.
    """

    max_transfer: int = 16 << 20
    security: int = 0
    root_secret: bytes = b""
    vendor_atomics: bool = False

    def __post_init__(self) -> None:
        if self.max_transfer < 4096:
            raise ValueError("max-transfer is at least 4096 bytes")
        if self.security and not self.root_secret:
            raise ValueError("security needs a root secret")
        if self.root_secret and len(self.root_secret) < 20:
            raise ValueError("a root secret has at least 20 bytes")

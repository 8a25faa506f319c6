"""What an object storage device is made of."""

from __future__ import annotations

from scsiemu._value import value

__all__ = ["OsdConfig"]


@value
class OsdConfig:
    """Settings of a unit.

    Args:
        max_transfer: bytes that one command moves at most each way; bounds the memory of a command.
    """

    max_transfer: int = 16 << 20

    def __post_init__(self) -> None:
        if self.max_transfer < 4096:
            raise ValueError("max-transfer is at least 4096 bytes")

"""How long a tape drive takes, on the target's clock: loading, positions along a serpentine, stopping and starting.

A tape is written in wraps, each from one end to the other and the next one back. So how far two positions are apart has
little to do with how much data lies between them. Seconds come out as Sleep requests; none where physics are off.
"""

from __future__ import annotations

from typing import Final

from devtypes.vt.medium_layout import Asking
from devtypes.vt.personality import Personality
from scsiemu.io_requests import Sleep

__all__ = ["Physics"]

_DEFAULT_LENGTH: Final = 960                # metres, where the personality's media do not say


class Physics:
    """The transport of one drive.

    Args:
        kind: speeds and times.
        active: else everything takes no time.

    Attributes:
        meters: of tape that have gone over the heads.
        stops: how often the tape had to be stopped, wound back and started again.
    """

    def __init__(self, kind: Personality, *, active: bool) -> None:
        self.active = active
        self.meters = 0.0
        self.stops = 0
        self._kind = kind
        medium = kind.medium("data")
        self._length = (medium.length if medium is not None else 0) or _DEFAULT_LENGTH
        self._streaming_until = 0.0

    def place(self, used: int, size: int) -> float:
        """Metres from the beginning of the tape where a byte of a partition lies."""
        wraps = self._kind.wraps
        along = min(used / max(size, 1), 1.0) * wraps
        wrap = min(int(along), wraps - 1)
        within = along - wrap
        return (within if wrap % 2 == 0 else 1.0 - within) * self._length

    def load(self) -> Asking[None]:
        """Take the cartridge in and thread the tape."""
        if self.active:
            yield Sleep(self._kind.load_seconds)

    def unload(self) -> Asking[None]:
        """Rewind and let go of it."""
        if self.active:
            yield Sleep(self._kind.unload_seconds)

    def move(self, before: int, after: int, size: int) -> Asking[None]:
        """Position from one byte of a partition to another."""
        if not self.active or before == after:
            return
        distance = abs(self.place(before, size) - self.place(after, size))
        self.meters += distance
        self._streaming_until = 0.0
        yield Sleep(self._kind.stop_seconds + distance / self._kind.speed)

    def transfer(self, length: int, now: float) -> Asking[None]:
        """Write or read so many bytes; a tape that had stopped since is wound back and started first."""
        if not self.active or not length:
            return
        seconds = length / self._kind.rate
        # The drive's buffer bridges a pause as long as what it holds takes, about a second.
        if now > self._streaming_until + 1.0:
            self.stops += 1
            seconds += self._kind.stop_seconds
        self.meters += length / self._kind.rate * self._kind.speed
        self._streaming_until = now + seconds
        yield Sleep(seconds)

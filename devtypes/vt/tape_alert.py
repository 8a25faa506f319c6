"""TapeAlert flags: which there are, which are set, and what each nexus has been told of (SSC-5 4.2.20, annex A)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from scsiemu.nexus import Nexus

__all__ = ["ALL_FLAGS", "TAPE_ALERT_COUNT", "TAPE_ALERT_FLAGS", "TapeAlerts"]

TAPE_ALERT_COUNT: Final = 64
ALL_FLAGS: Final = 32767                   # TEST FLAG NUMBER of all of them

# The flags that this drive can set, by what sets them.
TAPE_ALERT_FLAGS: Final[dict[int, str]] = {
    3: "hard error: a read or write that failed",
    4: "media: data cannot be read",
    5: "read failure",
    6: "write failure",
    9: "write protect: a write to a protected cartridge",
    10: "no removal: an unload while removal is prevented",
    11: "cleaning media: a cleaning cartridge is in the drive",
    12: "unsupported format: the cartridge is not one of ours",
    18: "tape directory corrupted on load",
    20: "clean now",
    22: "expired cleaning media",
    60: "WORM medium: overwrite attempted",
}


class TapeAlerts:
    """The flags of one drive.

    A flag stays set until what caused it has gone or the cartridge has; each nexus is told of it once in the TapeAlert
    log page, however often in the TapeAlert response page.

    Args:
        changed: called when flags were set, or cleared.
    """

    def __init__(self, changed: Callable[[], None]) -> None:
        self.active: set[int] = set()
        self._changed = changed
        self._told: dict[Nexus, set[int]] = {}

    def set(self, flag: int) -> None:
        """Something that a flag stands for has happened: everyone is told of it, again if need be."""
        assert flag in TAPE_ALERT_FLAGS
        fresh = flag not in self.active
        self.active.add(flag)
        for told in self._told.values():
            told.discard(flag)
        if fresh:
            self._changed()

    def clear(self, *flags: int) -> None:
        """What caused these flags has gone; all flags where none is named."""
        gone = self.active & set(flags) if flags else set(self.active)
        if not gone:
            return
        self.active -= gone
        for told in self._told.values():
            told &= self.active
        self._changed()

    def test(self, number: int) -> None:
        """Set the flag of this number, 1 to 64, or clear that of the negative of it; 32767 is all of them (SSC-5
        8.3.6)."""
        if -TAPE_ALERT_COUNT <= number <= -1:
            self.clear(-number)
            return
        flags = set(range(1, TAPE_ALERT_COUNT + 1)) if number == ALL_FLAGS else {number}
        self.active |= flags
        for told in self._told.values():
            told -= flags
        self._changed()

    def untold(self, nexus: Nexus | None) -> frozenset[int]:
        """The flags that a nexus has not been told of."""
        return frozenset(self.active - self._told.get(nexus, set())) if nexus is not None else frozenset(self.active)

    def tell(self, nexus: Nexus) -> frozenset[int]:
        """The same, and now it has."""
        flags = self.untold(nexus)
        self._told.setdefault(nexus, set()).update(flags)
        return flags

    @staticmethod
    def flags(numbers: Iterable[int]) -> bytes:
        """Flags as 64 bits, flag 1 first."""
        return sum(1 << TAPE_ALERT_COUNT - number for number in set(numbers)).to_bytes(8, "big")

    def forget(self, nexus: Nexus) -> None:
        """A nexus was lost."""
        self._told.pop(nexus, None)

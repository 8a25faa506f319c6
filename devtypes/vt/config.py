"""What a tape drive is made of: its personality and options, checked once."""

from __future__ import annotations

from typing import Final

from devtypes.vt.personality import DEFAULT_PERSONALITY, Personality, load_personality
from scsiemu._value import value

__all__ = ["LONGEST_TRANSFER", "TapeConfig"]

# The most bytes that one READ or WRITE moves: what a command can make the drive hold in memory.
LONGEST_TRANSFER: Final = 64 << 20


@value
class TapeConfig:
    """A tape drive.

    Args:
        personality: what kind of drive; None is the generic one.
        shelf: cartridges come and go by name (`scsiemu.media`); else the store is one cartridge, always in the drive.
        write_protect: by the operator, whatever the cartridge says.
        compression: DCE by default.
        early_warning: bytes before the end of a partition where writes begin to be warned; 0: a tenth, at most 64 MiB.
        barcode, worm, partitions: of the cartridge that a blank store becomes.
        physics: positioning, loading and stopping take the time that they take on a real drive.
    """

    personality: Personality | None = None
    shelf: bool = False
    write_protect: bool = False
    compression: bool = False
    early_warning: int = 0
    barcode: str = ""
    worm: bool = False
    partitions: tuple[int, ...] = (1,)
    physics: bool = False

    def __post_init__(self) -> None:
        if self.personality is None:
            object.__setattr__(self, "personality", load_personality(DEFAULT_PERSONALITY))  # frozen, not yet seen
        kind = self.kind
        if len(self.barcode) > 32 or not all(" " <= letter <= "~" for letter in self.barcode):
            raise ValueError("a barcode has at most 32 printable ASCII characters")
        if self.worm and not kind.worm:
            raise ValueError(f"{kind.name} takes no WORM cartridges")
        if len(self.partitions) > kind.most_partitions:
            raise ValueError(f"{kind.name} has at most {kind.most_partitions} partitions")
        if self.early_warning < 0:
            raise ValueError("early warning: bytes before the end")

    @property
    def kind(self) -> Personality:
        """The personality."""
        assert self.personality is not None
        return self.personality

"""Lines for people on stderr: what came from a peer is escaped, and a flood of lines is cut short."""

from __future__ import annotations

import sys
from collections.abc import Callable
from time import monotonic
from typing import Final

__all__ = ["LineLimiter", "escape", "say"]

_LONGEST: Final = 1000


def escape(text: object) -> str:
    """One line of printable ASCII, whatever the text has in it."""
    line = str(text)[:_LONGEST]
    if line.isascii() and line.isprintable():
        return line
    return "".join(letter if letter.isascii() and letter.isprintable() else _escaped(letter) for letter in line)


def _escaped(letter: str) -> str:
    number = ord(letter)
    if number < 0x100:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def say(text: object) -> None:
    """A line on stderr. A reader that has gone is not our trouble."""
    try:
        sys.stderr.write(f"scsiemu: {escape(text)}\n")
        sys.stderr.flush()
    except (OSError, ValueError):
        return


class LineLimiter:
    """Says lines as long as they are not too many; how many it kept back comes before the next that it says.

    Args:
        rate: lines for each second in the long run.
        burst: lines at once.
        out: takes the lines.
        clock: seconds.
    """

    def __init__(
        self,
        *,
        rate: float = 5.0,
        burst: int = 50,
        out: Callable[[str], None] = say,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._rate = rate
        self._burst = burst
        self._out = out
        self._clock = clock
        self._credit = float(burst)
        self._last = clock()
        self._dropped = 0

    def __call__(self, line: str) -> None:
        now = self._clock()
        self._credit = min(self._burst, self._credit + (now - self._last) * self._rate)
        self._last = now
        if self._credit < 1:
            self._dropped += 1
            return
        self._credit -= 1
        self.flush()
        self._out(line)

    def flush(self) -> None:
        """Say how many lines were kept back."""
        if self._dropped:
            self._out(f"({self._dropped} more lines were not logged: too many at once)")
            self._dropped = 0

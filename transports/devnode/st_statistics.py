"""What the tape driver counts of one drive: /sys/class/scsi_tape/stN/stats (Documentation/scsi/st.rst of Linux).

Time is the drive's: from giving a command to its end. What is under way counts in `in_flight` alone.
"""

from __future__ import annotations

from typing import Final

__all__ = ["NAMES", "TapeStatistics"]

_READ, _WRITE = 0x08, 0x0A
NAMES: Final = (
    "in_flight", "io_ns", "other_cnt", "read_byte_cnt", "read_cnt", "read_ns", "resid_cnt", "write_byte_cnt",
    "write_cnt", "write_ns",
)


class TapeStatistics:
    """Of all commands of one drive, whatever node they came by.

    Attributes:
        counts: by name; `..._ns` is nanoseconds, `..._byte_cnt` bytes that were transferred.
    """

    def __init__(self) -> None:
        self.counts = dict.fromkeys(NAMES, 0)

    def ended(self, operation: int, seconds: float, wanted: int, transferred: int) -> None:
        """A command has ended, of so many bytes. READ and WRITE alone count them; all else is `other_cnt`."""
        counts, nanoseconds = self.counts, round(seconds * 1e9)
        counts["io_ns"] += nanoseconds
        kind = {_READ: "read", _WRITE: "write"}.get(operation)
        if kind is None:
            counts["other_cnt"] += 1
            return
        counts[f"{kind}_cnt"] += 1
        counts[f"{kind}_ns"] += nanoseconds
        counts[f"{kind}_byte_cnt"] += transferred
        counts["resid_cnt"] += transferred != wanted

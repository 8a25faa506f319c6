"""What a tape drive counts for its log pages. Plain integers, added to by the commands."""

from __future__ import annotations

__all__ = ["TapeCounters"]


class TapeCounters:
    """Counters since they were last reset.

    Attributes:
        host_written, host_read: bytes that initiators sent and got.
        medium_written, medium_read: bytes of blocks as they are on the medium, compressed or not.
        compressible_written, compressible_read: bytes that went through the compressor, before and after are its ratio.
        compressed_written, compressed_read: the same bytes, compressed.
        write_errors, read_errors: uncorrected.
        marks_written: filemarks.
        locates, loads: how often the tape was positioned, cartridges loaded.
        cleanings: how often the drive was cleaned.
    """

    __slots__ = (
        "cleanings", "compressed_read", "compressed_written", "compressible_read", "compressible_written", "host_read",
        "host_written", "loads", "locates", "marks_written", "medium_read", "medium_written", "read_errors",
        "write_errors",
    )

    def __init__(self) -> None:
        self.cleanings = 0
        self.loads = 0
        self.reset()

    def reset(self) -> None:
        """What LOG SELECT resets."""
        self.host_written = self.host_read = self.medium_written = self.medium_read = 0
        self.compressible_written = self.compressible_read = self.compressed_written = self.compressed_read = 0
        self.write_errors = self.read_errors = self.marks_written = self.locates = 0

    def failed(self, *, reading: bool) -> None:
        """A read or write went wrong."""
        if reading:
            self.read_errors += 1
        else:
            self.write_errors += 1

    def wrote(self, logical: int, stored: int, *, compressed: bool) -> None:
        """A block was written."""
        self.host_written += logical
        self.medium_written += stored
        if compressed:
            self.compressible_written += logical
            self.compressed_written += stored

    def read(self, logical: int, stored: int, *, compressed: bool) -> None:
        """A block was read."""
        self.host_read += logical
        self.medium_read += stored
        if compressed:
            self.compressible_read += logical
            self.compressed_read += stored

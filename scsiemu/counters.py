"""What a device server counts for its log pages. Plain integers, added to on the hot path.

The device type adds to the counters of medium access; the engine to the others. Log pages only read them.
"""

from __future__ import annotations

__all__ = ["Counters"]


class Counters:
    """Counters since they were last reset, by power on or by LOG SELECT.

    Attributes:
        read_commands, write_commands: commands that transfer user data from or to the medium.
        blocks_read, blocks_written: logical blocks (of tape: bytes) that they transferred.
        read_seconds, write_seconds: the time that such commands were in the device server.
        non_medium_errors: recoverable errors other than read, write and verify errors.
        start_stop_cycles, load_unload_cycles: for the start-stop cycle counter page.
    """

    __slots__ = (
        "blocks_read", "blocks_written", "load_unload_cycles", "non_medium_errors", "read_commands",
        "read_seconds", "start_stop_cycles", "write_commands", "write_seconds",
    )

    def __init__(self) -> None:
        self.read_commands = 0
        self.write_commands = 0
        self.blocks_read = 0
        self.blocks_written = 0
        self.read_seconds = 0.0
        self.write_seconds = 0.0
        self.non_medium_errors = 0
        self.start_stop_cycles = 0
        self.load_unload_cycles = 0

    def reset_statistics(self) -> None:
        """Back to zero what the general statistics page reports."""
        self.read_commands = self.write_commands = self.blocks_read = self.blocks_written = 0
        self.read_seconds = self.write_seconds = 0.0

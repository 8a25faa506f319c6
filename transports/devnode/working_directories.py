"""Working directories that the kernel does not have: processes that went to a directory of ours.

A process that says chdir("/sys/class/scsi_generic") stays where it was for the kernel; here is where it believes to be.
Children inherit from their parent as it was when they started.

It does NOT follow CLONE_FS between processes.
"""

from __future__ import annotations

import os
from typing import Final

__all__ = ["WorkingDirectories", "thread_group"]

_TICKS: Final = os.sysconf("SC_CLK_TCK")
_MOST_GENERATIONS: Final = 32
_MOST_PROCESSES: Final = 4096


class WorkingDirectories:
    """By process; empty, and then quick, until one of them goes to a directory of ours."""

    def __init__(self) -> None:
        # Thread group and its start to (moment, path or None) in order.
        self._moves: dict[tuple[int, int], list[tuple[int, str | None]]] = {}

    def get(self, pid: int) -> str | None:
        """Where the process of a thread believes to be; None: where the kernel says."""
        if not self._moves:
            return None
        moves = self._of(pid)
        return moves[-1][1] if moves else None

    def set(self, pid: int, path: str | None) -> None:
        """It has gone there; None: the kernel knows."""
        if path is None and not self._moves:
            return
        facts = _facts(pid)
        if facts is None:
            return
        if len(self._moves) > _MOST_PROCESSES:
            self._forget()
        group, start, _ = facts
        moves = self._of(pid)
        self._moves[group, start] = [*moves[-16:], (_now(), path)]

    def _of(self, pid: int) -> list[tuple[int, str | None]]:
        facts = _facts(pid)
        born = None
        for _ in range(_MOST_GENERATIONS):
            if facts is None:
                return []
            group, start, parent = facts
            moves = self._moves.get((group, start))
            if moves is not None:
                return moves if born is None else [move for move in moves if move[0] <= born][-1:]
            born = start if born is None else min(born, start)
            facts = _facts(parent) if parent > 1 else None
        return []

    def _forget(self) -> None:
        """Drop processes that have ended."""
        for group, start in list(self._moves):
            facts = _facts(group)
            if facts is None or facts[1] != start:
                del self._moves[group, start]


def thread_group(pid: int) -> int:
    """The process that a thread belongs to."""
    try:
        with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as file:
            return next((int(line.split()[1]) for line in file if line.startswith("Tgid:")), pid)
    except OSError:
        return pid


def _now() -> int:
    """Ticks since the system started, as /proc counts."""
    with open("/proc/uptime", encoding="ascii") as file:
        return int(float(file.read().split()[0]) * _TICKS)


def _facts(pid: int) -> tuple[int, int, int] | None:
    """Thread group, its start in ticks, its parent."""
    try:
        with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as file:
            group = next(int(line.split()[1]) for line in file if line.startswith("Tgid:"))
        with open(f"/proc/{group}/stat", encoding="utf-8", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
        return group, int(fields[19]), int(fields[1])
    except (OSError, StopIteration, ValueError, IndexError):
        return None

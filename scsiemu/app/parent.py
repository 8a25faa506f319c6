"""Ending with the process that started us, so that a test run that is killed leaves no target behind."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Final

__all__ = ["ParentWatch"]

_INTERVAL: Final = 0.5      # seconds, where the kernel has no pidfd


class ParentWatch:
    """Watches the parent process from the moment this is made.

    By a pidfd: unlike PR_SET_PDEATHSIG it is about the process, not about the thread that started us.
    """

    def __init__(self) -> None:
        self._parent = os.getppid()
        self._descriptor = -1
        try:
            self._descriptor = os.pidfd_open(self._parent)
        except OSError:
            return      # an old kernel, or it has ended already

    def watch(self, loop: asyncio.AbstractEventLoop, ended: Callable[[], None]) -> None:
        """Call `ended` when it has."""
        if os.getppid() != self._parent:
            ended()
        elif self._descriptor >= 0:
            loop.add_reader(self._descriptor, self._end, loop, ended)
        else:
            loop.call_later(_INTERVAL, self.watch, loop, ended)

    def _end(self, loop: asyncio.AbstractEventLoop, ended: Callable[[], None]) -> None:
        loop.remove_reader(self._descriptor)
        ended()

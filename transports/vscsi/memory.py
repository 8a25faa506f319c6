"""The memory that a client has behind its window: its queue, its information units, and buffers for data.

    0           the queue, one page
    a page      information units, one for each request that can be outstanding
    the rest    buffers, by pages, first fit

Every page is mapped at the bus address that it has here.
"""

from __future__ import annotations

from bisect import insort
from typing import Final

from transports.vscsi.dma import PAGE

__all__ = ["QUEUE_LENGTH", "ClientMemory"]

QUEUE_LENGTH: Final = PAGE


class ClientMemory:
    """Memory of a client.

    Args:
        memory: all of it, whole pages.
        iu_length: of an information unit.
        units: how many of them.

    Raises ValueError where that does not fit.
    """

    def __init__(self, memory: memoryview, *, iu_length: int, units: int) -> None:
        size = 1 << (iu_length - 1).bit_length()        # so that none lies across pages that it could share
        first = QUEUE_LENGTH + (size * units + PAGE - 1 & -PAGE)
        if first + PAGE > len(memory) or len(memory) % PAGE:
            raise ValueError(f"{len(memory)} bytes of memory are too few for {units} information units")
        self.memory = memory
        self.capacity = len(memory) - first
        self._units = [QUEUE_LENGTH + index * size for index in range(units - 1, -1, -1)]
        self._free: list[tuple[int, int]] = [(first, self.capacity)]

    @property
    def used(self) -> int:
        """Bytes of the buffers that are in use."""
        return self.capacity - sum(size for _, size in self._free)

    def take_unit(self) -> int | None:
        """The address of an information unit; None: all are in use."""
        return self._units.pop() if self._units else None

    def give_unit(self, address: int) -> None:
        """It is not in use any more."""
        self._units.append(address)

    def allocate(self, length: int) -> int | None:
        """The address of a buffer; None: there is no room now."""
        wanted = length + PAGE - 1 & -PAGE
        for index, (address, size) in enumerate(self._free):
            if size >= wanted:
                if size == wanted:
                    del self._free[index]
                else:
                    self._free[index] = address + wanted, size - wanted
                return address
        return None

    def release(self, address: int, length: int) -> None:
        """A buffer is not in use any more."""
        free = self._free
        size = length + PAGE - 1 & -PAGE
        if free and free[0][0] == address + size:       # what was taken last
            free[0] = address, size + free[0][1]
            return
        insort(free, (address, size))
        merged = [free[0]]
        for start, extent in free[1:]:
            last, before = merged[-1]
            if last + before == start:
                merged[-1] = last, before + extent
            else:
                merged.append((start, extent))
        self._free = merged

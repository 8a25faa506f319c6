"""A DMA window: addresses on the virtual bus (IOBA) to pages of a partition's memory, through a table of TCEs.

A translation control entry is the page's address in the partition with two bits below: whether it may be read and
whether it may be written through the window. What is not mapped cannot be reached: `DmaError`, and no byte moves.

It does NOT: know who may use the window (hypervisor.py).
"""

from __future__ import annotations

from typing import Final

from scsiemu.errors import RemoteProtocolError

__all__ = ["PAGE", "TCE_READ", "TCE_WRITE", "DmaError", "DmaWindow"]

PAGE: Final = 4096
TCE_READ: Final = 1
TCE_WRITE: Final = 2

_SHIFT: Final = 12
_OFFSET: Final = PAGE - 1


class DmaError(RemoteProtocolError):
    """An address that the window does not map, or not for this."""


class DmaWindow:
    """A window on the memory of a partition.

    Args:
        liobn: logical I/O bus number, the name of the window.
        memory: of the partition, whole pages.
        size: bytes of bus addresses, from 0; the size of the memory where it is not told.
    """

    __slots__ = ("_memory", "_table", "liobn", "size")

    def __init__(self, liobn: int, memory: memoryview, *, size: int | None = None) -> None:
        self.liobn = liobn
        self.size = len(memory) if size is None else size
        self._memory = memory
        self._table = [0] * (self.size >> _SHIFT)

    def put_tce(self, address: int, tce: int, *, count: int = 1) -> bool:
        """Map `count` pages to successive ones of the memory; a `tce` of 0 unmaps them.

        False: an address is outside of the window, or the memory has no such page; nothing was changed then.
        """
        first = address >> _SHIFT
        pages = len(self._memory) >> _SHIFT
        start = tce >> _SHIFT
        if address & _OFFSET or address < 0 or count < 0 or first + count > len(self._table):
            return False
        if tce & _OFFSET & ~(TCE_READ | TCE_WRITE):
            return False
        if not tce & (TCE_READ | TCE_WRITE):
            self._table[first : first + count] = [0] * count
            return True
        if start + count > pages or start < 0:
            return False
        self._table[first : first + count] = range(tce, tce + count * PAGE, PAGE)
        return True

    def read(self, address: int, length: int) -> bytes:  # hot
        """A copy of `length` bytes. Raises DmaError."""
        offset = address & _OFFSET
        if offset + length <= PAGE and 0 <= address < self.size:
            tce = self._table[address >> _SHIFT]
            if tce & TCE_READ:
                start = (tce & ~_OFFSET) + offset
                return bytes(self._memory[start : start + length])
        return b"".join(self.views(address, length, TCE_READ))

    def read_into(self, address: int, target: memoryview) -> None:
        """Fill `target`. Raises DmaError before anything is moved."""
        at = 0
        for view in self.views(address, len(target), TCE_READ):
            target[at : at + len(view)] = view
            at += len(view)

    def write(self, address: int, data: bytes | bytearray | memoryview) -> None:  # hot
        """Write all of `data`. Raises DmaError before anything is moved."""
        length = len(data)
        offset = address & _OFFSET
        if offset + length <= PAGE and 0 <= address < self.size:
            tce = self._table[address >> _SHIFT]
            if tce & TCE_WRITE:
                start = (tce & ~_OFFSET) + offset
                self._memory[start : start + length] = data
                return
        at = 0
        source = memoryview(data)
        for view in self.views(address, length, TCE_WRITE):
            view[:] = source[at : at + len(view)]
            at += len(view)

    def check(self, address: int, length: int, access: int) -> None:
        """Raises DmaError where `views` would."""
        self.views(address, length, access)

    def views(self, address: int, length: int, access: int) -> list[memoryview]:
        """The memory behind a range of addresses, in as few pieces as there are. Raises DmaError.

        Args:
            access: TCE_READ, TCE_WRITE or both.
        """
        if not length:
            return []
        if address < 0 or length < 0 or address + length > self.size:
            raise DmaError(f"{length} bytes at {address:#x} are outside of the window")
        table, memory = self._table, self._memory
        end = address + length
        found: list[memoryview] = []
        start = stop = 0
        for page in range(address >> _SHIFT, (end + _OFFSET) >> _SHIFT):
            tce = table[page]
            if tce & access != access:
                raise DmaError(f"page {page << _SHIFT:#x} is not mapped for that")
            real = tce & ~_OFFSET
            if real != stop or not stop:
                if stop:
                    found.append(memory[start:stop])
                start = real
            stop = real + PAGE
        found.append(memory[start:stop])
        # Cut what is before the first byte and behind the last.
        found[0] = found[0][address & _OFFSET :]
        surplus = -end & _OFFSET
        if surplus:
            found[-1] = found[-1][:-surplus]
        return found

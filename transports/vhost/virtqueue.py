"""A split virtqueue, the device's side (Virtual I/O Device 1.2, 2.7): available chains out, used chains in.

The driver writes while we read: every number is read once and checked then. Indexes are read and written by views of
16-bit words, one access each, so that neither side sees half of one; `fence` orders them where a queue's two sides
look at what the other has written.

It does NOT: wait, signal, or know what is in the buffers. Little-endian machines only.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Final

from transports.vhost.codes import DescriptorFlags
from transports.vhost.memory import GuestMemory
from transports.vhost.messages import RingAddresses, VhostError

__all__ = ["QUEUE_SIZE_LIMIT", "Chain", "VirtQueue"]

QUEUE_SIZE_LIMIT: Final = 1024
_INDIRECT_LIMIT: Final = 1024           # descriptors of an indirect table
_NO_INTERRUPT: Final = 1
_DESCRIPTOR: Final = struct.Struct("<QIHH")


class Chain:
    """A chain of buffers of the driver.

    Args:
        head: its first descriptor: what it is given back by.
        readable, writable: what the device reads, then what it writes.
    """

    __slots__ = ("head", "readable", "writable")

    def __init__(self, head: int, readable: list[memoryview], writable: list[memoryview]) -> None:
        self.head = head
        self.readable = readable
        self.writable = writable


class VirtQueue:
    """A ring, from its set-up to its use.

    Args:
        index: which.
        memory: of the guest.
        fence: orders what was written before with what is read after.

    Attributes:
        size: descriptors; 0: not set.
        base: the available index that is taken next.
        addresses: of its parts; None: not set.
        event_index, indirect: were negotiated.
        enabled: by the front end.
        running: it was kicked off, and not stopped.
        in_flight: chains that were taken and are not given back.
    """

    def __init__(self, index: int, memory: GuestMemory, fence: Callable[[], object]) -> None:
        self.index = index
        self._memory = memory
        self.size = 0
        self.base = 0
        self.addresses: RingAddresses | None = None
        self.event_index = False
        self.indirect = False
        self.enabled = False
        self.running = False
        self.in_flight = 0
        self._fence = fence
        self._used_index = 0
        self._signalled = 0             # the used index at the last look whether to signal
        self._descriptors: memoryview | None = None
        self._available: memoryview
        self._used: memoryview
        self._entries: memoryview

    @property
    def ready(self) -> bool:
        """It can be worked on."""
        return self.enabled and self.running and self.addresses is not None and self.size > 0

    def unmap(self) -> None:
        """The memory has changed: find the parts anew."""
        if self._descriptors is not None:
            self._descriptors = None
            del self._available, self._used, self._entries

    def start(self) -> None:
        """Work on it from now on. Its used index goes on where the driver sees it."""
        self.unmap()
        self.running = True

    def stop(self) -> None:
        """Take nothing more."""
        self.running = False

    def abandon(self) -> None:
        """Chains that were taken are not given back."""
        self.in_flight = 0

    def _map(self) -> None:
        """Find the parts in memory. Raises VhostError."""
        memory = self._memory
        addresses, size = self.addresses, self.size
        if addresses is None or not size:
            raise VhostError(f"ring {self.index} has no address or no size")
        if addresses.descriptors % 16 or addresses.available % 2 or addresses.used % 4:
            raise VhostError(f"ring {self.index} is not aligned")
        available = memory.user(addresses.available, 6 + 2 * size)
        used = memory.user(addresses.used, 6 + 8 * size)
        descriptors = memory.user(addresses.descriptors, 16 * size)
        self._available = available.cast("H")
        self._used = used.cast("H")
        self._entries = used[4 : 4 + 8 * size].cast("I")
        self._descriptors = descriptors
        self._used_index = self._signalled = self._used[1]

    def take(self) -> Chain | None:  # hot
        """The next chain; None: there is none. Raises VhostError."""
        if self._descriptors is None:
            self._map()
        available = self._available
        count = (available[1] - self.base) & 0xFFFF
        if not count:
            if not self.event_index:
                return None
            # Ask for a kick at the next one, and look whether it came meanwhile (2.7.10.1).
            self._used[2 + 4 * self.size] = self.base
            self._fence()
            count = (available[1] - self.base) & 0xFFFF
            if not count:
                return None
        if count > self.size:
            raise VhostError(f"ring {self.index}: {count} chains are available in a ring of {self.size}")
        if self.in_flight >= self.size:
            raise VhostError(f"ring {self.index}: a descriptor is made available again before it was used")
        head = available[2 + self.base % self.size]
        chain = self._walk(head)
        self.base = (self.base + 1) & 0xFFFF
        self.in_flight += 1
        return chain

    def _walk(self, head: int) -> Chain:  # hot
        memory = self._memory
        table, size = self._descriptors, self.size
        assert table is not None, "mapped"
        readable: list[memoryview] = []
        writable: list[memoryview] = []
        number, left, inside = head, size, False
        while True:
            if number >= size:
                raise VhostError(f"ring {self.index}: descriptor {number} of {size}")
            if not left:
                raise VhostError(f"ring {self.index}: a chain without end")
            left -= 1
            address, length, flags, following = _DESCRIPTOR.unpack_from(table, number * 16)
            if flags & DescriptorFlags.INDIRECT:
                if inside or not self.indirect or flags & (DescriptorFlags.NEXT | DescriptorFlags.WRITE):
                    raise VhostError(f"ring {self.index}: an indirect descriptor with flags {flags:#x}")
                size = length // 16
                if length % 16 or not 0 < size <= _INDIRECT_LIMIT:
                    raise VhostError(f"ring {self.index}: an indirect table of {length} bytes")
                table = memoryview(memory.guest(address, length))
                number, left, inside = 0, size, True
                continue
            if flags & DescriptorFlags.WRITE:
                memory.append_guest(writable, address, length)
            elif writable:
                raise VhostError(f"ring {self.index}: a buffer to read behind one to write")
            else:
                memory.append_guest(readable, address, length)
            if not flags & DescriptorFlags.NEXT:
                return Chain(head, readable, writable)
            number = following

    def give(self, head: int, written: int) -> None:  # hot
        """Give a chain back with so many bytes written. Raises VhostError: the ring is in memory no more."""
        if self._descriptors is None:
            self._map()
        self.in_flight -= 1
        slot = self._used_index % self.size * 2
        self._entries[slot] = head
        self._entries[slot + 1] = written
        self._used_index = (self._used_index + 1) & 0xFFFF
        self._fence()
        self._used[1] = self._used_index

    def wants_signal(self) -> bool:  # hot
        """Whether the driver wants to hear of what was given back since the last call."""
        if self._descriptors is None or self._signalled == self._used_index:
            return False
        old, self._signalled = self._signalled, self._used_index
        self._fence()
        if not self.event_index:
            return not self._available[0] & _NO_INTERRUPT
        event = self._available[2 + self.size]
        return (self._used_index - event - 1) & 0xFFFF < (self._used_index - old) & 0xFFFF

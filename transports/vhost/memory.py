"""Guest memory as the front end shares it: regions over memoryviews, addressed in two ways.

Descriptors hold guest physical addresses, ring addresses are those of the front end's process. An address outside of
all regions gives VhostError, never bytes. It does NOT map anything (server.py).
"""

from __future__ import annotations

from typing import Final

from transports.vhost.messages import Region, VhostError

__all__ = ["SLOT_LIMIT", "GuestMemory"]

SLOT_LIMIT: Final = 32                  # regions


class GuestMemory:
    """The regions, each with the memory behind it."""

    def __init__(self) -> None:
        self._regions: list[tuple[int, int, int, memoryview]] = []      # guest address, size, user address, bytes

    def __len__(self) -> int:
        return len(self._regions)

    def clear(self) -> None:
        """Forget all. Who still has a view keeps its region mapped."""
        self._regions = []

    def add(self, region: Region, view: memoryview) -> None:
        """Another region, with its `size` bytes. Raises VhostError: it overlaps one, or there are too many."""
        if len(self._regions) >= SLOT_LIMIT:
            raise VhostError(f"more than {SLOT_LIMIT} memory regions")
        for guest, size, user, _ in self._regions:
            if region.guest < guest + size and guest < region.guest + region.size:
                raise VhostError(f"a memory region at {region.guest:#x} overlaps another")
            if region.user < user + size and user < region.user + region.size:
                raise VhostError(f"a memory region at user address {region.user:#x} overlaps another")
        self._regions.append((region.guest, region.size, region.user, view))

    def remove(self, region: Region) -> None:
        """Forget one. Raises VhostError where there is none like it."""
        key = (region.guest, region.size, region.user)
        kept = [entry for entry in self._regions if entry[:3] != key]
        if len(kept) == len(self._regions):
            raise VhostError(f"there is no memory region at {region.guest:#x}")
        self._regions = kept

    def append_guest(self, found: list[memoryview], address: int, length: int) -> None:  # hot
        """Append the bytes at a guest physical address to a list: one view, or more where regions meet."""
        while length:
            for guest, size, _, view in self._regions:
                at = address - guest
                if 0 <= at < size:
                    count = min(length, size - at)
                    found.append(view[at : at + count])
                    break
            else:
                raise VhostError(f"guest address {address:#x} is outside of memory")
            address += count
            length -= count

    def guest(self, address: int, length: int) -> bytes:
        """A copy of the bytes at a guest physical address."""
        found: list[memoryview] = []
        self.append_guest(found, address, length)
        return b"".join(found)

    def user(self, address: int, length: int) -> memoryview:
        """The bytes at an address of the front end's process, which must be in one region."""
        for _, size, user, view in self._regions:
            at = address - user
            if at >= 0 and at + length <= size:
                return view[at : at + length]
        raise VhostError(f"user address {address:#x} is outside of memory")

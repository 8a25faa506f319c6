"""Split virtqueues: chains arrive whole and come back, interrupts are those asked for; hostile rings end."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scsiemu.formats.virtio_scsi import DESCRIPTOR
from transports.vhost.memory import GuestMemory
from transports.vhost.messages import Region, RingAddresses, VhostError
from transports.vhost.virtqueue import VirtQueue

SIZE = 8
MEMORY = 8192
AVAILABLE = 128
USED = 192
BUFFERS = 1024
SPLIT = 4096                    # where one region ends and the next begins


class Ring:
    """A queue over memory in two regions, and the driver's writes."""

    def __init__(self, *, event_index: bool = False, base: int = 0) -> None:
        self.bytes = bytearray(MEMORY)
        view = memoryview(self.bytes)
        self.memory = GuestMemory()
        self.memory.add(Region(0, SPLIT, 1 << 40, 0), view[:SPLIT])
        self.memory.add(Region(SPLIT, MEMORY - SPLIT, 2 << 40, 0), view[SPLIT:])
        self.queue = VirtQueue(2, self.memory, lambda: None)
        self.queue.size = SIZE
        self.queue.base = base
        self.queue.indirect = True
        self.queue.event_index = event_index
        user = 1 << 40
        self.queue.addresses = RingAddresses(2, 0, user, user + USED, user + AVAILABLE, 0)
        self.index = base
        self.word(AVAILABLE + 2, base)
        self.word(USED + 2, base)

    def word(self, at: int, number: int) -> None:
        """Write sixteen bits."""
        self.bytes[at : at + 2] = (number & 0xFFFF).to_bytes(2, "little")

    def read(self, at: int, length: int) -> int:
        """Read a number."""
        return int.from_bytes(self.bytes[at : at + length], "little")

    def descriptor(self, number: int, address: int, length: int, flags: int = 0, following: int = 0) -> None:
        """Write a descriptor into the ring."""
        self.bytes[number * 16 : number * 16 + 16] = DESCRIPTOR.build(
            {"address": address, "length": length, "flags": flags, "next": following}
        )

    def offer(self, head: int, times: int = 1) -> None:
        """Make a chain available."""
        for _ in range(times):
            self.word(AVAILABLE + 4 + 2 * (self.index % SIZE), head)
            self.index = (self.index + 1) & 0xFFFF
        self.word(AVAILABLE + 2, self.index)


PIECES = st.lists(st.integers(1, 300), min_size=1, max_size=4)


@given(PIECES, PIECES, st.booleans(), st.integers(0, 0xFFFF), st.integers(SPLIT - 600, SPLIT))
def test_ring_chain(readable: list[int], writable: list[int], indirect: bool, base: int, place: int) -> None:
    """However a chain is cut, and where regions meet, one part is read and the other written."""
    ring = Ring(base=base)
    lengths = readable + writable
    rows = []
    at = place
    for number, length in enumerate(lengths):
        flags = (number + 1 < len(lengths)) | (2 if number >= len(readable) else 0)
        rows.append({"address": at, "length": length, "flags": flags, "next": number + 1})
        at += length
    ring.bytes[place:at] = bytes(index % 251 for index in range(at - place))
    if indirect:
        table = b"".join(DESCRIPTOR.build(row) for row in rows)
        ring.bytes[7000 : 7000 + len(table)] = table
        ring.descriptor(5, 7000, len(table), 4)
    else:
        for number, row in enumerate(rows):
            ring.descriptor(number, row["address"], row["length"], row["flags"], row["next"])
    ring.offer(5 if indirect else 0)
    expected = bytes(ring.bytes[place : place + sum(readable)])

    chain = ring.queue.take()
    assert chain is not None
    assert b"".join(chain.readable) == expected
    assert sum(map(len, chain.writable)) == sum(writable)
    for piece in chain.writable:
        piece[:] = b"\xee" * len(piece)
    assert bytes(ring.bytes[place + sum(readable) : at]) == b"\xee" * sum(writable)
    assert ring.queue.take() is None
    ring.queue.give(chain.head, 77)
    slot = USED + 4 + 8 * (base % SIZE)
    assert (ring.read(slot, 4), ring.read(slot + 4, 4)) == (chain.head, 77)
    assert ring.read(USED + 2, 2) == (base + 1) & 0xFFFF


@given(st.integers(0, 0xFFFF), st.integers(1, SIZE), st.integers(-3, SIZE + 3))
def test_ring_signals_by_index(base: int, count: int, event: int) -> None:
    """With EVENT_IDX the driver is signalled when the index that it named is passed, and only then (2.7.10)."""
    ring = Ring(event_index=True, base=base)
    ring.word(AVAILABLE + 4 + 2 * SIZE, base + event)
    ring.descriptor(0, BUFFERS, 8, 2)
    ring.offer(0, count)
    while (chain := ring.queue.take()) is not None:
        ring.queue.give(chain.head, 0)

    assert ring.queue.wants_signal() == (0 <= event < count)
    assert not ring.queue.wants_signal()
    assert ring.read(USED + 4 + 8 * SIZE, 2) == (base + count) & 0xFFFF, "it asks for a kick at the next chain"


@pytest.mark.parametrize(("flags", "signalled"), [(0, True), (1, False)])
def test_ring_signals_by_flag(flags: int, signalled: bool) -> None:
    """Without it the driver's flag decides."""
    ring = Ring()
    ring.word(AVAILABLE, flags)
    ring.descriptor(0, BUFFERS, 8, 2)
    ring.offer(0)
    chain = ring.queue.take()
    assert chain is not None
    ring.queue.give(chain.head, 0)

    assert ring.queue.wants_signal() is signalled


def write_faults() -> dict[str, tuple[tuple[int, int, int, int, int], ...]]:
    """Descriptors, by what is wrong with them: number, address, length, flags, next."""
    return {
        "a loop": ((0, BUFFERS, 8, 1, 1), (1, BUFFERS, 8, 1, 0)),
        "itself": ((0, BUFFERS, 8, 1, 0),),
        "a next that there is not": ((0, BUFFERS, 8, 1, SIZE),),
        "outside of memory": ((0, MEMORY - 4, 8, 0, 0),),
        "the end of the address space": ((0, (1 << 64) - 4, 8, 0, 0),),
        "four gigabytes": ((0, BUFFERS, 0xFFFF_FFFF, 2, 0),),
        "to read behind to write": ((0, BUFFERS, 8, 3, 1), (1, BUFFERS, 8, 0, 0)),
        "an odd table": ((0, BUFFERS, 24, 4, 0),),
        "an empty table": ((0, BUFFERS, 0, 4, 0),),
        "a huge table": ((0, BUFFERS, 16 * 1025, 4, 0),),
        "a table with a next": ((0, BUFFERS, 16, 5, 1),),
        "a table to write": ((0, BUFFERS, 16, 6, 0),),
        "a table of tables": ((0, 1 << 4, 16, 4, 0), (1, 1 << 4, 16, 4, 0)),
    }


@pytest.mark.parametrize("name", write_faults())
def test_ring_faults(name: str) -> None:
    """A chain that is wrong ends in VhostError."""
    ring = Ring()
    for row in write_faults()[name]:
        ring.descriptor(*row)
    ring.offer(0)

    with pytest.raises(VhostError):
        ring.queue.take()


def test_ring_faults_of_indexes() -> None:
    """More available than there are descriptors, a head that there is not, one that is still in use, no such place."""
    ring = Ring()
    ring.word(AVAILABLE + 2, SIZE + 1)
    with pytest.raises(VhostError, match="9 chains"):
        ring.queue.take()

    ring = Ring()
    ring.offer(SIZE)
    with pytest.raises(VhostError, match="descriptor 8"):
        ring.queue.take()

    ring = Ring()
    ring.descriptor(0, BUFFERS, 8)
    ring.offer(0, SIZE)
    for _ in range(SIZE):
        assert ring.queue.take() is not None
    ring.offer(0)
    with pytest.raises(VhostError, match="before it was used"):
        ring.queue.take()

    for addresses in (
        RingAddresses(2, 0, 0, 0, 0, 0),
        RingAddresses(2, 0, (1 << 40) + 8, (1 << 40) + USED, (1 << 40) + AVAILABLE, 0),
        RingAddresses(2, 0, (1 << 40) + SPLIT - 16, (1 << 40) + USED, (1 << 40) + AVAILABLE, 0),
    ):
        ring = Ring()
        ring.queue.addresses = addresses
        with pytest.raises(VhostError):
            ring.queue.take()


@given(st.binary(min_size=USED + 70, max_size=USED + 70), st.binary(max_size=512), st.booleans())
def test_ring_hostile(head: bytes, tables: bytes, event_index: bool) -> None:
    """Whatever is in memory, chains lie in memory, or it is VhostError."""
    ring = Ring(event_index=event_index)
    ring.bytes[: len(head)] = head
    ring.bytes[BUFFERS : BUFFERS + len(tables)] = tables
    try:
        for _ in range(SIZE + 1):
            chain = ring.queue.take()
            if chain is None:
                break
            assert sum(map(len, chain.readable + chain.writable)) <= MEMORY * 2048
            ring.queue.give(chain.head, 0)
            ring.queue.wants_signal()
    except VhostError:
        pass


def test_memory_regions() -> None:
    """Regions do not overlap, are not too many, and one that goes is no longer there."""
    memory = GuestMemory()
    view = memoryview(bytearray(4096))
    region = Region(0x1000, 4096, 0x9000, 0)
    memory.add(region, view)
    for other in (Region(0x1800, 4096, 0x20000, 0), Region(0x20000, 4096, 0x9800, 0)):
        with pytest.raises(VhostError, match="overlaps"):
            memory.add(other, view)
    with pytest.raises(VhostError, match="no memory region"):
        memory.remove(Region(0x1000, 4096, 0, 0))
    memory.remove(region)
    with pytest.raises(VhostError, match="outside"):
        memory.guest(0x1000, 1)
    for number in range(32):
        memory.add(Region(number << 16, 4096, number << 16, 0), view)
    with pytest.raises(VhostError, match="more than 32"):
        memory.add(Region(1 << 40, 4096, 1 << 40, 0), view)

"""Defect management: clusters that fail are replaced, hosts read what they wrote, and are told how much is left."""

from __future__ import annotations

import random
import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vmmc_bench import BLOCK, Bench

from devtypes.vmmc.disc_format import DATA_START, stored_size
from devtypes.vmmc.profiles import KINDS
from iohandlers.memory import MemoryStore
from scsiemu import asc
from scsiemu.errors import IoFailed, IoFault
from scsiemu.io_requests import Read, Write

ROOM = 4096
CLUSTERS = {"dvd-ram": 16, "bd-re": 32}
MEDIA = pytest.mark.parametrize("kind", CLUSTERS)


class Scratched(MemoryStore):
    """Blocks that cannot be written, and such that cannot be read, by address."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.unwritable: set[int] = set()
        self.unreadable: set[int] = set()

    def submit(self, request: Any, ticket: Any) -> Any:
        bad = {Write: self.unwritable, Read: self.unreadable}.get(type(request))
        if bad:
            first = (request.offset - DATA_START) // BLOCK
            if bad & set(range(first, first + -(-request.length // BLOCK))):
                return IoFailed(IoFault.MEDIUM, "scratched")
        return super().submit(request, ticket)


class Disc(Bench):
    """A drive with a disc that is formatted with spare areas."""

    def __init__(self, kind: str, store: Scratched | None = None) -> None:
        self.step = CLUSTERS[kind]
        fresh = store is None
        self.scratched = store or Scratched(stored_size(KINDS[kind], ROOM))
        super().__init__(self.scratched, blank=kind)
        if fresh:
            self.format()
        self.capacity = struct.unpack(">I", self.data("READ CAPACITY")[:4])[0] + 1

    def format(self, *, cmplst: int = 0) -> None:
        """With default spare areas."""
        capacities = self.data("READ FORMAT CAPACITIES", allocation_length=252)
        sent = bytes((0, 0, 0, 8)) + capacities[12:16] + bytes(4)
        assert self.do("FORMAT UNIT", fmtdata=1, cmplst=cmplst, format_code=1, data_out=sent).good

    def write(self, lba: int, data: bytes, name: str = "WRITE(10)") -> Any:
        """The sense code."""
        return self.do(name, lba=lba, transfer_length=len(data) // BLOCK, data_out=data).code

    def read(self, lba: int, count: int) -> bytes:
        """What a host gets."""
        return self.data("READ(10)", lba=lba, transfer_length=count, data_in=count * BLOCK)

    def spare(self) -> tuple[int, ...]:
        """Three numbers of spare blocks, as the medium has them."""
        media_type = int(self.step == 32)
        data = self.data("READ DISC STRUCTURE", media_type=media_type, format=0x0A, allocation_length=64)
        return struct.unpack(">III", data[4:16])

    def list(self) -> list[tuple[int, int]]:
        """Unusable areas of the secondary defect list."""
        data = self.data("GET PERFORMANCE", type=1, data_type=2, descriptors=100)
        return list(struct.iter_unpack(">II", data[8:]))

    def status(self) -> list[int]:
        """Addresses whose bit of the defect status is one."""
        data = self.data("GET PERFORMANCE", type=2, descriptors=100)
        assert int.from_bytes(data[:4], "big") == len(data) - 4
        found = []
        for at in range(8, len(data), 2048):
            start, end, step, first_bit = struct.unpack_from(">IIBB", data, at)
            assert (step, first_bit) == (self.step, 0)
            bits = int.from_bytes(data[at + 10 : at + 2048], "big")
            found += [
                start + n * step for n in range((end + 1 - start) // step) if bits >> (2038 * 8 - 1 - n) & 1
            ]
        return found


def drawn(blocks: int, seed: int = 1) -> bytes:
    """Blocks that can be told apart."""
    return random.Random(seed).randbytes(blocks * BLOCK)


@MEDIA
def test_defects_are_replaced(kind: str) -> None:
    """A cluster that cannot be written is replaced: the host notices nothing but that there is less to spare."""
    disc = Disc(kind)
    step = disc.step
    before = disc.spare()
    assert (disc.list(), disc.status()) == ([], [])
    disc.scratched.unwritable = {5 * step + 3, 7 * step}
    data = drawn(10 * step)
    assert disc.write(2 * step, data) is None
    assert disc.write(5 * step + 2, data[: 4 * BLOCK]) is None             # the next writes go there at once
    expected = bytearray(data)
    expected[(3 * step + 2) * BLOCK : (3 * step + 6) * BLOCK] = data[: 4 * BLOCK]

    assert disc.read(2 * step, 10 * step) == bytes(expected)
    assert disc.read(7 * step - 1, 3) == bytes(expected[(5 * step - 1) * BLOCK : (5 * step + 2) * BLOCK])
    assert disc.list() == [(5 * step, step), (7 * step, step)]
    assert disc.status() == [5 * step, 7 * step]
    assert sum(before[:2]) - sum(disc.spare()[:2]) == 2 * step
    assert disc.spare()[2] == before[2]


@MEDIA
def test_defects_part_of_a_cluster(kind: str) -> None:
    """A part of a cluster that fails takes the rest of it along; where that cannot be read, nothing is changed."""
    disc = Disc(kind)
    step = disc.step
    old = drawn(step)
    assert disc.write(0, old) is None
    disc.scratched.unwritable = {2}
    assert disc.write(1, drawn(3, 2)) is None
    assert disc.read(0, step) == old[:BLOCK] + drawn(3, 2) + old[4 * BLOCK :]

    assert disc.write(step, old) is None
    disc.scratched.unwritable, disc.scratched.unreadable = {step + 2}, {2 * step - 1}
    spare = disc.spare()
    assert disc.write(step + 1, drawn(3, 3)) == asc.UNRECOVERED_READ_ERROR
    disc.scratched.unreadable = set()
    assert disc.read(step, step) == old
    assert disc.spare() == spare


@MEDIA
def test_defects_unreadable(kind: str) -> None:
    """What cannot be read is an UNRECOVERED READ ERROR, and replaced when WRITE AND VERIFY finds it."""
    disc = Disc(kind)
    step = disc.step
    assert disc.write(0, drawn(4 * step)) is None
    disc.scratched.unreadable = {step + 1}
    assert disc.do("READ(10)", lba=0, transfer_length=2 * step).code == asc.UNRECOVERED_READ_ERROR
    assert disc.list() == []
    assert disc.write(0, drawn(4 * step, 2), "WRITE AND VERIFY(10)") is None

    assert disc.read(0, 4 * step) == drawn(4 * step, 2)
    assert disc.list() == [(step, step)]


@MEDIA
def test_defects_until_nothing_is_spare(kind: str) -> None:
    """Spare clusters may fail, too; when there is none left: NO DEFECT SPARE LOCATION AVAILABLE."""
    disc = Disc(kind)
    step = disc.step
    spare = sum(disc.spare()[:2]) // step
    assert spare > 2
    assert disc.write(0, drawn(1)) is None
    disc.scratched.unwritable = {0} | set(range(disc.capacity, ROOM, step))     # all of them that the format left
    primary = disc.spare()[0] // step
    for n in range(primary):
        assert disc.write(n * step, drawn(step, n)) is None
        disc.scratched.unwritable.add((n + 1) * step)
    code = disc.write(primary * step, drawn(step))

    assert code == asc.NO_DEFECT_SPARE_LOCATION_AVAILABLE
    assert disc.spare()[:2] == (0, 0)
    for n in range(primary):
        assert disc.read(n * step, step) == drawn(step, n)


@MEDIA
def test_defects_survive(kind: str) -> None:
    """Replacements are part of the disc: in another drive it is read as before. Without SYNCHRONIZE CACHE they are
    forgotten, as is everything that was written since."""
    disc = Disc(kind)
    step = disc.step
    disc.scratched.unwritable = {step}
    assert disc.write(0, drawn(3 * step)) is None
    assert disc.do("SYNCHRONIZE CACHE").good
    again = Disc(kind, disc.scratched)

    assert again.read(0, 3 * step) == drawn(3 * step)
    assert again.list() == [(step, step)]
    assert again.spare() == disc.spare()


@MEDIA
def test_defects_and_format(kind: str) -> None:
    """A format forgets them; with CMPLST it keeps the list that it has."""
    disc = Disc(kind)
    disc.scratched.unwritable = {disc.step}
    assert disc.write(0, drawn(3 * disc.step)) is None
    known = disc.list()
    disc.format(cmplst=1)
    assert disc.list() == known
    disc.format()

    assert disc.list() == []
    assert disc.write(0, drawn(3 * disc.step)) is None
    assert disc.list() == known


def test_defects_without_spare_area() -> None:
    """A BD-RE without spare areas, and media without defect management: WRITE ERROR."""
    store = Scratched(stored_size(KINDS["bd-re"], ROOM))
    disc = Bench(store, blank="bd-re")
    sent = bytes((0, 0, 0, 8)) + bytes((0xFF,)) * 4 + bytes((0x31 << 2, 0, 0, 0))
    assert disc.do("FORMAT UNIT", fmtdata=1, format_code=1, data_out=sent).good
    store.unwritable = {40}

    assert disc.do("WRITE(10)", lba=0, transfer_length=64, data_out=drawn(64)).code == asc.WRITE_ERROR
    assert disc.data("GET PERFORMANCE", type=2, descriptors=9) == bytes((0, 0, 0, 4, 0, 0, 0, 0))


def test_defects_of_an_older_disc() -> None:
    """A DVD-RAM whose store has no primary spare area is read and written; it has what a format leaves it."""
    full = Disc("dvd-ram")
    assert full.write(0, drawn(32)) is None
    assert full.do("SYNCHRONIZE CACHE").good
    store = Scratched(DATA_START + ROOM * BLOCK)
    store.submit(Write(0, DATA_START + ROOM * BLOCK, bytes(full.store.submit(
        Read(0, DATA_START + ROOM * BLOCK), None))), None)
    disc = Disc("dvd-ram", store)

    assert disc.read(0, 32) == drawn(32)
    assert disc.spare()[0] == 0
    assert disc.spare()[1] == disc.spare()[2] > 0


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(sorted(CLUSTERS)),
    st.lists(st.tuples(st.integers(0, 200), st.integers(1, 80), st.sets(st.integers(0, 250), max_size=2)), max_size=8),
)
def test_defects_against_a_model(kind: str, history: list[tuple[int, int, set[int]]]) -> None:
    """Writes anywhere while more and more blocks go bad, against bytes that have no defects."""
    disc = Disc(kind)
    model = bytearray(300 * BLOCK)
    for number, (lba, count, bad) in enumerate(history):
        disc.scratched.unwritable |= bad
        data = drawn(count, number)
        code = disc.write(lba, data)
        if code is not None:
            assert code == asc.NO_DEFECT_SPARE_LOCATION_AVAILABLE
            return
        model[lba * BLOCK : (lba + count) * BLOCK] = data

    assert disc.read(0, 300) == model
    assert disc.status() == [lba for lba, _ in disc.list()]


def formats(disc: Bench) -> list[tuple[int, int]]:
    """Format types that are listed, with their blocks."""
    data = disc.data("READ FORMAT CAPACITIES", allocation_length=252)
    return [(word >> 26, count) for count, word in struct.iter_unpack(">II", data[12:])]


def test_dvd_ram_formats() -> None:
    """With and without a supplementary spare area (00h), as it comes from the shop; and larger spare areas (01h)."""
    disc = Disc("dvd-ram")
    default, unit = 3984, 16
    assert formats(disc) == [(0, default), (0, ROOM), (1, default - unit), (1, default - 2 * unit)]
    sent = bytes((0, 0, 0, 8)) + struct.pack(">II", ROOM, 0x800)
    assert disc.do("FORMAT UNIT", fmtdata=1, format_code=1, data_out=sent).good

    assert disc.data("READ CAPACITY")[:4] == (ROOM - 1).to_bytes(4, "big")
    assert disc.spare()[2] == 0


def test_spare_area_expansion() -> None:
    """Format type 01h takes blocks at the end for spare ones: what is recorded before them stays (MMC-5 6.5.4.2.2)."""
    disc = Disc("dvd-ram")
    disc.scratched.unwritable = {16}
    data = drawn(64)
    assert disc.write(0, data) is None
    spare, capacity = disc.spare(), disc.capacity
    for fewer in (0, 8, 64, 32):
        sent = bytes((0, 0, 0, 8)) + struct.pack(">II", capacity - fewer, 1 << 26 | 0x800)
        code = disc.do("FORMAT UNIT", fmtdata=1, format_code=1, data_out=sent).code
        assert code == (None if fewer == 32 else asc.INVALID_FIELD_IN_PARAMETER_LIST)
    again = Disc("dvd-ram", disc.scratched)

    assert again.capacity == capacity - 32
    assert again.read(0, 64) == data
    assert again.spare() == (spare[0], spare[1] + 32, spare[2] + 32)
    assert again.list() == [(16, 16)]
    assert again.write(capacity - 32, drawn(16)) == asc.LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE


@pytest.mark.timeout(20)
@pytest.mark.parametrize("name", ["WRITE(10)", "WRITE AND VERIFY(10)"])
@pytest.mark.parametrize("length", [1, BLOCK - 1, BLOCK + 100, 17 * BLOCK + 5])
@pytest.mark.parametrize("kind", CLUSTERS)
def test_defects_short_transfer(kind: str, length: int, name: str) -> None:
    """Of data that ends within a block, because the host sends less than the CDB says, whole blocks are written: on a
    scratched cluster, too."""
    disc = Disc(kind)
    disc.scratched.unwritable.add(64)
    data = drawn(18)
    assert disc.do(name, lba=64, transfer_length=18, data_out=data[:length]).code is None

    whole = length // BLOCK
    assert disc.read(64, 18) == data[: whole * BLOCK] + bytes((18 - whole) * BLOCK)

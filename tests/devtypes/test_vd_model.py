"""The virtual disk against a bytearray: any sequence of its commands leaves the same bytes in both."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from vd_bench import Bench

from scsiemu import asc
from scsiemu.testing.initiator import Result

BLOCKS = 64
LBA = st.integers(0, BLOCKS + 1)
COUNT = st.integers(0, 20)


class DiskModel(RuleBasedStateMachine):
    """Commands of the disk, done to a bytearray as well."""

    @initialize(block_size=st.sampled_from([512, 520, 4096]), pi_type=st.integers(0, 3), cache=st.booleans())
    def start(self, block_size: int, pi_type: int, cache: bool) -> None:
        unit = block_size + (8 if pi_type else 0)
        self.bench = Bench(size=BLOCKS * unit, block_size=block_size, pi_type=pi_type, write_cache=cache)
        self.size = block_size
        self.model = bytearray(BLOCKS * block_size)

    def pattern(self, blocks: int, seed: int) -> bytes:
        return b"".join(bytes(((seed + n) % 256,)) * self.size for n in range(blocks))

    def expect(self, result: Result, lba: int, blocks: int) -> bool:
        if lba + blocks > BLOCKS:
            assert result.code == asc.LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE
            return False
        assert result.good, result
        return True

    @rule(
        name=st.sampled_from(["WRITE(10)", "WRITE(16)", "WRITE AND VERIFY(12)", "WRITE ATOMIC(16)"]),
        lba=LBA, blocks=COUNT, seed=st.integers(0, 255), fua=st.booleans(),
    )
    def write(self, name: str, lba: int, blocks: int, seed: int, fua: bool) -> None:
        data = self.pattern(blocks, seed)
        fields = {} if "VERIFY" in name else {"fua": int(fua)}
        result = self.bench.do(name, lba=lba, transfer_length=blocks, data_out=data, **fields)
        if self.expect(result, lba, blocks):
            self.model[lba * self.size : (lba + blocks) * self.size] = data

    @rule(lba=LBA, blocks=st.integers(1, 20), seed=st.integers(0, 255))
    def orwrite(self, lba: int, blocks: int, seed: int) -> None:
        data = self.pattern(blocks, seed)
        result = self.bench.do("ORWRITE(16)", lba=lba, transfer_length=blocks, data_out=data)
        if self.expect(result, lba, blocks):
            at = slice(lba * self.size, (lba + blocks) * self.size)
            self.model[at] = bytes(a | b for a, b in zip(self.model[at], data, strict=True))

    @rule(
        name=st.sampled_from(["WRITE SAME(10)", "WRITE SAME(16)"]), lba=LBA, blocks=COUNT, unmap=st.booleans(),
        byte=st.sampled_from([0, 0, 7]),
    )
    def write_same(self, name: str, lba: int, blocks: int, unmap: bool, byte: int) -> None:
        data = bytes((byte,)) * self.size
        result = self.bench.do(name, lba=lba, transfer_length=blocks, unmap=int(unmap), data_out=data)
        blocks = blocks or max(BLOCKS - lba, 1)     # zero: to the end, which has to be a block at least
        if self.expect(result, lba, blocks):
            self.model[lba * self.size : (lba + blocks) * self.size] = data * blocks

    @rule(ranges=st.lists(st.tuples(LBA, COUNT), max_size=4))
    def unmap(self, ranges: list[tuple[int, int]]) -> None:
        body = b"".join(lba.to_bytes(8, "big") + count.to_bytes(4, "big") + bytes(4) for lba, count in ranges)
        head = (len(body) + 6).to_bytes(2, "big") + len(body).to_bytes(2, "big") + bytes(4)
        result = self.bench.do("UNMAP", data_out=head + body)
        if any(lba + count > BLOCKS for lba, count in ranges):
            assert result.code == asc.LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE
            return
        assert result.good
        for lba, count in ranges:
            self.model[lba * self.size : (lba + count) * self.size] = bytes(count * self.size)

    @rule(lba=LBA, blocks=st.integers(1, 4), right=st.booleans(), seed=st.integers(0, 255))
    def compare_and_write(self, lba: int, blocks: int, right: bool, seed: int) -> None:
        at = slice(lba * self.size, (lba + blocks) * self.size)
        expected = bytes(self.model[at]).ljust(blocks * self.size, b"\0")
        if not right:
            expected = bytes((expected[0] ^ 0xFF,)) + expected[1:]
        new = self.pattern(blocks, seed)
        result = self.bench.do("COMPARE AND WRITE", lba=lba, transfer_length=blocks, data_out=expected + new)
        if lba + blocks <= BLOCKS and not right:
            assert result.code == asc.MISCOMPARE_DURING_VERIFY_OPERATION
        elif self.expect(result, lba, blocks):
            self.model[at] = new

    @rule(name=st.sampled_from(["READ(10)", "READ(12)", "READ(16)"]), lba=LBA, blocks=COUNT)
    def read(self, name: str, lba: int, blocks: int) -> None:
        result = self.bench.do(name, lba=lba, transfer_length=blocks, data_in=1 << 20)
        if self.expect(result, lba, blocks):
            assert result.data == self.model[lba * self.size : (lba + blocks) * self.size]

    @invariant()
    def everything_reads_as_the_model(self) -> None:
        if hasattr(self, "bench"):
            assert self.bench.read(0, BLOCKS) == self.model
            assert not self.bench.internal_failures()


DiskModel.TestCase.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)
TestDiskModel = DiskModel.TestCase

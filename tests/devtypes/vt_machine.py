"""A state machine that drives a tape drive and a model of a tape with the same commands and compares what they answer,
where they stand, and what is there after cuts of power."""

from __future__ import annotations

import random
from typing import Any, ClassVar, Final

from hypothesis import HealthCheck, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test
from vt_bench import Bench
from vt_model import Answer, Contents, TapeModel
from vt_store import CutStore

from devtypes.vt.medium_layout import DATA_START
from scsiemu.io_requests import PENDING, IoRequest
from scsiemu.testing.initiator import Result

__all__ = ["walk"]

_CAPACITY: Final = 64 << 10
_EARLY_WARNING: Final = 8 << 10
_FIRST_PARTITION: Final = 24_000            # bytes, where there are two
_LENGTHS: Final = st.sampled_from((1, 2, 16, 17, 512, 1000, 4096, 9000))
_READ_LENGTHS: Final = st.sampled_from((0, 0, 0, 1, 16, 512, 1000, 4096))
_BLOCK_LENGTHS: Final = st.sampled_from((0, 1, 16, 512, 512))
_COUNTS: Final = st.sampled_from((1, 1, 2, 3, 5))
_SIGNED: Final = st.sampled_from((1, 2, 3, 7, 40, -1, -2, -3, -7, -40, 0))
_PLACES: Final = st.integers(0, 500)
_DICE: Final = st.integers(0, 9)
# What is appended: a block of so many bytes, or so many filemarks.
_SCRIPTS: Final = st.lists(st.sampled_from((1, 16, 16, 512, 512, 512, 3000, 9000, -1, -1, -2)), max_size=8)
_SEEDS: Final = st.integers(0, 0xFFFF)


class _Store(CutStore):
    """Stops answering after some requests, as if the power had gone."""

    alive = 1 << 60

    def submit(self, request: IoRequest[Any], ticket: Any) -> Any:
        if self.alive <= 0:
            return PENDING
        self.alive -= 1
        return super().submit(request, ticket)


class TapeMachine(RuleBasedStateMachine):
    """A drive with a cartridge of 64 KiB, and the model."""

    taken: ClassVar[int] = 0

    def __init__(self) -> None:
        super().__init__()
        self.store = _Store(_CAPACITY + DATA_START)
        self.bench = Bench(store=self.store, early_warning=_EARLY_WARNING)
        self.model = TapeModel(_CAPACITY, _EARLY_WARNING)
        self._writes = 0

    # --- comparing ---------------------------------------------------------------------------------------------

    def _same(self, expected: Answer, result: Result) -> None:
        """The drive answered as the model did, and stands where it does."""
        TapeMachine.taken += 1
        sense = result.sense
        code = (sense.code.key, sense.code.asc, sense.code.ascq) if sense is not None else (0, 0, 0)
        information = sense.information if sense is not None else None
        if information is not None and information >> 31:
            information -= 1 << 32              # fixed format: 32 bits, signed with ILI (SSC-5 6.4)
        bits = "".join(
            letter for letter, there in zip("FEI", (sense.filemark, sense.eom, sense.ili), strict=True) if there
        ) if sense is not None else ""
        if expected.information is None:
            information = None
        assert expected == Answer(result.good, code, information, bits, result.data)
        self._stands()

    def _stands(self) -> None:
        """READ POSITION, long form."""
        model = self.model
        data = self.bench.do("READ POSITION", service_action=6).data
        assert data[0] == (0x80 if model.at == 0 else 0) | (0x40 if model.warned else 0)
        assert (data[7], int.from_bytes(data[8:16], "big"), int.from_bytes(data[16:24], "big")) == (
            model.partition, model.at, model.marks
        )

    # --- what is drawn, made to fit the tape -------------------------------------------------------------------

    def _place(self, number: int) -> int:
        """An object of the tape, or one or two behind its end."""
        return number % (len(self.model.here) + 3)

    def _partition(self, number: int) -> int:
        """A partition; seldom one that is not there."""
        return len(self.model.sizes) if number == 0 else number % len(self.model.sizes)

    def _fixed(self, number: int) -> bool:
        """Fixed blocks about every other time; seldom where the block length is not set."""
        return number % 2 == 1 if self.model.block_length else number == 0

    def _next_length(self, length: int, *, reverse: bool = False) -> int:
        """A length, where it is 0 that of the block which comes."""
        here, at = self.model.here, self.model.at - reverse
        return length or len((here[at] if 0 <= at < len(here) else None) or b"1")

    def _block(self, length: int) -> bytes:
        """A block that no other one is like, if it is long enough."""
        self._writes += 1
        return (self._writes.to_bytes(4, "big") * (length // 4 + 1))[:length]

    # --- writing -----------------------------------------------------------------------------------------------

    def _write_variable(self, length: int) -> None:
        block = self._block(length)
        expected = self.model.write([block], fixed=False)
        self._same(expected, self.bench.do("WRITE(6)", transfer_length=length, data_out=block))

    def _write_marks(self, count: int, *, immediate: bool) -> None:
        expected = self.model.write_marks(count, immediate=immediate)
        self._same(expected, self.bench.do("WRITE FILEMARKS(6)", filemark_count=count, immed=int(immediate)))

    @initialize(script=_SCRIPTS, length=_BLOCK_LENGTHS)
    def begin(self, script: list[int], length: int) -> None:
        """A tape with something on it."""
        self._set_mode(length, buffered=True)
        self._append(script)

    @rule(script=_SCRIPTS)
    def append(self, script: list[int]) -> None:
        """Blocks and filemarks behind the end of data."""
        self._same(self.model.space_end(), self.bench.do("SPACE(6)", code=3))
        self._append(script)

    def _append(self, script: list[int]) -> None:
        for what in script:
            if what > 0:
                self._write_variable(what)
            else:
                self._write_marks(-what, immediate=self.model.buffered)

    @rule(length=_LENGTHS, count=_COUNTS, fixed=_DICE)
    def write(self, length: int, count: int, fixed: int) -> None:
        """WRITE(6) of one block or of fixed ones."""
        if not self._fixed(fixed):
            self._write_variable(length)
            return
        blocks = [self._block(self.model.block_length) for _ in range(count)]
        expected = self.model.write(blocks, fixed=True)
        data = b"".join(blocks)
        self._same(expected, self.bench.do("WRITE(6)", fixed=1, transfer_length=count, data_out=data))

    @rule(partition=_DICE, number=_PLACES, length=_LENGTHS)
    def write_there(self, partition: int, number: int, length: int) -> None:
        """WRITE(16), which says where."""
        block = self._block(length)
        where = self._partition(partition), self._place(number)
        expected = self.model.address(*where)
        if expected.good:
            expected = self.model.write([block], fixed=False)
        self._same(expected, self.bench.do(
            "WRITE(16)", partition=where[0], logical_object_identifier=where[1], transfer_length=length, data_out=block
        ))

    @rule(count=st.sampled_from((0, 1, 1, 2, 3, 20)), immediate=st.booleans())
    def write_marks(self, count: int, immediate: bool) -> None:
        """WRITE FILEMARKS(6)."""
        self._write_marks(count, immediate=immediate)

    # --- reading -----------------------------------------------------------------------------------------------

    @rule(length=_READ_LENGTHS, count=_COUNTS, fixed=_DICE, quiet=_DICE)
    def read(self, length: int, count: int, fixed: int, quiet: int) -> None:
        """READ(6) of one block, or of fixed ones, where SILI is refused."""
        is_fixed = self._fixed(fixed)
        count = count if is_fixed else self._next_length(length)
        is_quiet = quiet == 0 if is_fixed else quiet % 2 == 1
        expected = self.model.read(count, fixed=is_fixed, quiet=is_quiet)
        self._same(expected, self.bench.do(
            "READ(6)", fixed=int(is_fixed), transfer_length=count, sili=int(is_quiet)
        ))

    @rule(partition=_DICE, number=_PLACES, length=_READ_LENGTHS)
    def read_there(self, partition: int, number: int, length: int) -> None:
        """READ(16), which says where."""
        where = self._partition(partition), self._place(number)
        expected = self.model.address(*where)
        length = self._next_length(length)
        if expected.good:
            expected = self.model.read(length, fixed=False)
        self._same(expected, self.bench.do(
            "READ(16)", partition=where[0], logical_object_identifier=where[1], transfer_length=length
        ))

    @rule(length=_READ_LENGTHS, count=_COUNTS, fixed=_DICE)
    def read_reverse(self, length: int, count: int, fixed: int) -> None:
        """READ REVERSE(6), with the bytes of each block in their order."""
        is_fixed = self._fixed(fixed)
        count = count if is_fixed else self._next_length(length, reverse=True)
        expected = self.model.read(count, fixed=is_fixed, reverse=True)
        self._same(expected, self.bench.do("READ REVERSE(6)", fixed=int(is_fixed), bytord=1, transfer_length=count))

    @rule(length=_READ_LENGTHS, count=_COUNTS, fixed=_DICE, marks=_DICE)
    def verify(self, length: int, count: int, fixed: int, marks: int) -> None:
        """VERIFY(6) of blocks or filemarks."""
        is_fixed = self._fixed(fixed) and marks != 0
        if marks == 0:
            expected = self.model.verify_marks(count)
        else:
            count = count if is_fixed else self._next_length(length)
            expected = self.model.read(count, fixed=is_fixed, data=False)
        self._same(expected, self.bench.do(
            "VERIFY(6)", fixed=int(is_fixed), vbf=int(marks == 0), verification_length=count
        ))

    # --- moving ------------------------------------------------------------------------------------------------

    @rule(code=st.integers(0, 3), count=_SIGNED, wide=st.booleans())
    def space(self, code: int, count: int, wide: bool) -> None:
        """SPACE(6) and (16)."""
        model = self.model
        if code == 3:
            expected = model.space_end()
        else:
            expected = (model.space_blocks, model.space_marks, model.space_sequential)[code](count)
        bits = 64 if wide else 24
        name = "SPACE(16)" if wide else "SPACE(6)"
        self._same(expected, self.bench.do(name, code=code, count=count & (1 << bits) - 1))

    @rule(partition=_DICE, number=_PLACES, wide=st.booleans(), change=st.booleans())
    def locate(self, partition: int, number: int, wide: bool, change: bool) -> None:
        """LOCATE(10) and (16) of an object."""
        wanted, number = self._partition(partition), self._place(number)
        expected = self.model.locate(wanted if change else self.model.partition, number)
        self._same(expected, self.bench.do(
            "LOCATE(16)" if wide else "LOCATE(10)", partition=wanted, cp=int(change),
            logical_object_identifier=number,
        ))

    @rule(partition=_DICE, number=st.integers(0, 6), end=st.booleans())
    def locate_file(self, partition: int, number: int, end: bool) -> None:
        """LOCATE(16) of a file or the end of data."""
        model = self.model
        wanted = self._partition(partition)
        if end:
            expected = model.locate(wanted, 0)
            expected = model.space_end() if expected.good else expected
        else:
            expected = model.locate_file(wanted, number)
        self._same(expected, self.bench.do(
            "LOCATE(16)", partition=wanted, cp=1, dest_type=3 if end else 1, logical_object_identifier=number
        ))

    # --- what is rarer -----------------------------------------------------------------------------------------

    @rule(what=st.integers(0, 11), length=_BLOCK_LENGTHS, chance=_SEEDS)
    def other(self, what: int, length: int, chance: int) -> None:
        """REWIND, LOAD UNLOAD, MODE SELECT, ERASE(6), FORMAT MEDIUM, a cut of power."""
        if what < 2:
            self._same(self.model.rewind(), self.bench.do("REWIND"))
        elif what < 4:
            self._set_mode(length, buffered=chance % 3 > 0)
        elif what == 4:
            self.model.reload()
            assert self.bench.do("LOAD UNLOAD").good
            self._same(Answer(), self.bench.do("LOAD UNLOAD", load=1))
        elif what == 5:
            self._same(self.model.erase(), self.bench.do("ERASE(6)", long=chance % 2))
        elif what == 6:
            self._format(two=chance % 3 > 0)
        elif what == 7:
            self._come_back(chance)

    def _set_mode(self, length: int, *, buffered: bool) -> None:
        """MODE SELECT(6) of block length and buffered mode."""
        self.model.block_length, self.model.buffered = length, buffered
        header = bytes((0, 0, int(buffered) << 4, 8)) + bytes(5) + length.to_bytes(3, "big")
        self._same(Answer(), self.bench.do("MODE SELECT(6)", pf=1, data_out=header))

    def _format(self, *, two: bool) -> None:
        """FORMAT MEDIUM to one partition, or to two with sizes in bytes."""
        model = self.model
        if model.at % 4:
            self._same(model.locate(0, 0), self.bench.do("LOCATE(10)", cp=1))
        if two:
            sizes = (_FIRST_PARTITION, _CAPACITY - _FIRST_PARTITION)
            page = bytes((0, 0, int(model.buffered) << 4, 0, 0x11, 14, 3, 1, 0x24, 3, 0, 0))
            page += b"".join(size.to_bytes(2, "big") for size in (_FIRST_PARTITION, 0xFFFF, 0, 0))
            assert self.bench.do("MODE SELECT(6)", pf=1, data_out=page).good
            self._same(model.format(sizes), self.bench.do("FORMAT MEDIUM", format=1))
        else:
            self._same(model.format((_CAPACITY,)), self.bench.do("FORMAT MEDIUM"))

    @precondition(lambda self: self.model.at % 3 == 0)
    @rule(chance=_SEEDS, requests=st.integers(0, 4), length=_LENGTHS, marks=st.booleans())
    def cut_power_meanwhile(self, chance: int, requests: int, length: int, marks: bool) -> None:
        """The power goes while a block or filemarks are written: a beginning of them may be there."""
        model = self.model
        before = model.possible[model.partition] | {model.here}
        block = b"" if marks else self._block(length)
        name, fields = "WRITE(6)", {"transfer_length": length}
        if marks:
            name, fields = "WRITE FILEMARKS(6)", {"filemark_count": 3}
            model.write_marks(3, immediate=False)
        else:
            model.write([block], fixed=False)
        possible = model.possible[model.partition]
        possible |= before | {model.here[:length] for length in range(model.at + 1)}
        self.store.alive = requests
        initiator = self.bench.initiator
        exchange = initiator.start(0, initiator.cdb(name, data_out=block, **fields), block)
        while initiator.turn():
            pass
        if exchange.result is not None and exchange.result.good and marks:
            model.synced()
        self._come_back(chance)

    def _come_back(self, chance: int) -> None:
        """Switched on again with what the cut left: read everything, from the beginning."""
        TapeMachine.taken += 1
        left = self.store.cut(random.Random(chance))
        store = _Store(len(left.now))
        store.now[:] = left.now
        store.durable[:] = left.durable
        self.store = store
        self.bench = Bench(store=self.store, early_warning=_EARLY_WARNING)
        found = [self._read_all(number) for number in range(len(self.model.sizes))]
        for contents, possible in zip(found, self.model.possible, strict=True):
            assert contents in possible
        self.model.lost_power(found)
        self._same(Answer(), self.bench.do("LOCATE(16)", cp=1))

    def _read_all(self, partition: int) -> Contents:
        found: list[bytes | None] = []
        assert self.bench.do("LOCATE(16)", cp=1, partition=partition).good
        while True:
            result = self.bench.do("READ(6)", transfer_length=16384, sili=1)
            if result.good:
                found.append(result.data)
                continue
            assert result.sense is not None
            if not result.sense.filemark:
                assert result.sense.code.key == 8
                return tuple(found)
            found.append(None)


def walk(steps: int, first_seed: int) -> int:
    """Walk until so many steps have been compared; how many were.

    Args:
        first_seed: of the first batch of walks; each batch takes the next one.

    Raises:
        AssertionError: the drive and the model differ; hypothesis prints the shortest walk that it found.
    """
    before, batches = TapeMachine.taken, 0
    while TapeMachine.taken < before + steps:
        run_state_machine_as_test(seed(first_seed + batches)(TapeMachine), settings=settings(
            max_examples=50, stateful_step_count=60, deadline=None, database=None,
            suppress_health_check=list(HealthCheck),
        ))
        batches += 1
    return TapeMachine.taken - before

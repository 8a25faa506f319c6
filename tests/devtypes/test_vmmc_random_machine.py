"""Media that are written anywhere, and what FORMAT UNIT makes of them, against a model; power fails among the steps."""

from __future__ import annotations

import copy
import random
import struct
from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from test_vmmc_recording import BLANK, Burner
from vmmc_bench import BLOCK
from vt_store import CutStore

from devtypes.vmmc.disc_format import stored_size
from devtypes.vmmc.profiles import KINDS
from scsiemu import asc

# Capacity, blocks that are written together.
DISCS = {
    "dvd+rw": (1600, 1), "dvd-ram": (1600, 1), "bd-re": (1600, 1), "bd-r": (1600, 32), "cd-rw": (1600, 32),
    "dvd-rw": (29600, 16),
}
FORMATS = {"dvd+rw": 0x26, "dvd-ram": 0x00, "bd-re": 0x31, "bd-r": 0x32, "cd-rw": 0x10}
GAP = 28672                                             # between the borders of a DVD-RW
FULL, GROW, ADD, QUICK_GROW, QUICK_ADD, QUICK = range(0x10, 0x16)
ZERO = bytes(BLOCK)


@dataclass
class Border:
    """From a block up to another; complete or in the intermediate state."""

    start: int
    end: int
    complete: bool = True


@dataclass
class Model:
    """A disc: its borders (one, of media that are no DVD-RW), and what is not zero of it.

    `cached`: blocks whose writing a cut may undo or tear; `doubtful`: blocks of which a cut has left anything.
    """

    kind: str
    borders: list[Border] = field(default_factory=list)
    blocks: dict[int, bytes] = field(default_factory=dict)
    cached: set[int] = field(default_factory=set)
    doubtful: set[int] = field(default_factory=set)
    written: set[int] = field(default_factory=set)      # clusters of a BD-R

    @property
    def whole(self) -> int:
        """Blocks that can be formatted."""
        capacity = DISCS[self.kind][0]
        if self.kind == "cd-rw":
            return capacity // 39 * 32
        return capacity - 64 if self.kind == "bd-r" else capacity       # two clusters are spare

    @property
    def last(self) -> Border:
        """The last border."""
        return self.borders[-1]

    @property
    def growing(self) -> bool:
        """Whether it is in the intermediate state."""
        return bool(self.borders) and not self.last.complete

    @property
    def capacity(self) -> int:
        """Behind the last block that is there."""
        return max((border.end for border in self.borders if border.end > border.start), default=0)

    def following(self) -> int:
        """Where a further border would begin."""
        start = self.last.end + GAP
        return start + -start % 16

    def formats(self) -> dict[int, int]:
        """Blocks by format type of a CD-RW or DVD-RW."""
        found = {FULL: self.whole}
        if self.kind == "dvd-rw":
            found |= {0x00: self.whole, QUICK: self.whole}
        if self.borders and not self.growing:
            more = self.whole - self.last.end
            found |= {GROW: more} if self.kind == "cd-rw" else {GROW: more, QUICK_GROW: more}
            room = self.whole - self.following()
            if self.kind == "dvd-rw" and room > 0:
                found |= {ADD: room, QUICK_ADD: room}
        return found

    def clear(self, start: int, end: int) -> None:
        """Zeros, which a cut may undo."""
        for lba in range(start, end):
            self.blocks.pop(lba, None)
            self.doubtful.discard(lba)
        self.cached |= set(range(start, end))


class RandomMachine(RuleBasedStateMachine):
    """A disc and its model. A cut leaves the borders as they were saved last, and of cached blocks anything."""

    burner: Burner
    seed = 0

    def _begin(self, kind: str) -> None:
        self.store = CutStore(stored_size(KINDS[kind], DISCS[kind][0]))
        self.disc = Model(kind)
        if kind == "dvd-ram":                           # comes formatted from the shop
            self.disc.borders = [Border(0, self.disc.whole)]
        self.burner = Burner(kind, store=self.store)
        self.safe = copy.deepcopy(self.disc.borders), set(self.disc.written)
        if kind in ("dvd+rw", "bd-re", "bd-r"):
            assert self._format(FORMATS[kind], self.disc.whole, subtype=2 * (kind == "bd-r")) is None
            self.disc.borders = [Border(0, self.disc.whole)]
            self.disc.cached = set(range(self.disc.whole))
            self._saved()

    def _saved(self) -> None:
        """The state of the disc has been saved."""
        self.safe = copy.deepcopy(self.disc.borders), set(self.disc.written)

    def _format(self, number: int, count: int, *, subtype: int = 0) -> object:
        listed = bytes((0, 0, 0, 8)) + struct.pack(">II", count, number << 26 | subtype << 24)
        return self.burner.do("FORMAT UNIT", fmtdata=1, format_code=1, data_out=listed).code

    # --- writing ---------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.disc.capacity > 64 or self.disc.growing)
    @rule(data=st.data(), length=st.integers(1, 3))
    def write(self, data: st.DataObject, length: int) -> None:
        """Blocks somewhere in a border; at the end of one that grows past it."""
        unit = DISCS[self.disc.kind][1]
        border = data.draw(st.sampled_from(self.disc.borders))
        most = border.end if border.complete else min(border.end + 2 * unit, self.disc.whole)
        starts = range(border.start, border.end + (not border.complete), unit)
        if not starts:
            return
        lba = data.draw(st.sampled_from([starts[0], starts[-1], *starts[-6:], *starts[:6]]))
        count = min(length * unit, most - lba)
        if count <= 0:
            return
        self.seed += 1
        new = [(self.seed * 1000 + at).to_bytes(4, "big") * 512 for at in range(count)]
        code = self.burner.write(lba, b"".join(new))
        clusters = {at // 32 for at in range(lba, lba + count)} if self.disc.kind == "bd-r" else set()
        if clusters & self.disc.written:
            assert code == asc.INVALID_ADDRESS_FOR_WRITE
            return
        assert code is None
        self.disc.written |= clusters
        for at, block in enumerate(new, lba):
            self.disc.blocks[at] = block
            self.disc.cached.add(at)
            self.disc.doubtful.discard(at)
        border.end = max(border.end, lba + count)

    @precondition(lambda self: bool(self.disc.borders))
    @rule(past=st.integers(0, 3))
    def write_past_the_end(self, past: int) -> None:
        """Behind the disc, or behind where a border grows, nothing is written."""
        unit = DISCS[self.disc.kind][1]
        if self.disc.growing:
            lba = self.disc.last.end + (past + 1) * unit
            expected = asc.INVALID_ADDRESS_FOR_WRITE if lba + unit <= self.disc.whole else (
                asc.LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE
            )
        else:
            lba, expected = self.disc.last.end + past * unit, asc.LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE
        assert self.burner.write(lba, bytes(unit * BLOCK)) == expected

    @rule()
    def synchronize(self) -> None:
        self.burner.sync()
        self.disc.cached.clear()
        self._saved()

    # --- the rest --------------------------------------------------------------------------------------------------

    @rule()
    def out_and_in(self) -> None:
        assert self.burner.do("START STOP UNIT", loej=1).good
        assert self.burner.do("START STOP UNIT", loej=1, start=1).good
        self._saved()

    @rule(seed=st.integers(0, 1 << 20))
    def cut(self, seed: int) -> None:
        """Power fails: borders are as they were saved, and nothing is known of blocks that were in the cache."""
        self.store = self.store.cut(random.Random(seed))
        disc = self.disc
        disc.borders, disc.written = copy.deepcopy(self.safe[0]), set(self.safe[1])
        disc.doubtful |= disc.cached
        disc.cached.clear()
        self.burner = Burner(disc.kind, store=self.store)

    @invariant()
    def tells_the_truth(self) -> None:
        disc = self.disc
        last = int.from_bytes(self.burner.data("READ CAPACITY")[:4], "big")
        assert last == max(disc.capacity - 1, 0)
        if not disc.borders:
            assert self.burner.disc() == (0, 0, 1)
            return
        state = (3, 3) if disc.kind == "dvd-ram" else (1, 1) if disc.growing else (2, 3)
        assert self.burner.disc() == (*state, len(disc.borders))
        for number, border in enumerate(disc.borders, 1):
            told = self.burner.track(number)
            assert (told["start"], told["session"]) == (border.start, number)
            assert told["size"] == (border.end if border.complete else disc.whole) - border.start
            assert (told["valid"], told["next"]) == (int(not border.complete), 0 if border.complete else border.end)

    @invariant()
    def reads_what_was_written(self) -> None:
        disc = self.disc
        for border in disc.borders:
            places = {border.start, border.end - 1, *(lba for lba in disc.blocks if border.start <= lba < border.end)}
            for lba in sorted(places - disc.doubtful):
                if border.start <= lba < border.end:
                    found = self.burner.data("READ(10)", lba=lba, transfer_length=1)
                    assert found == disc.blocks.get(lba, ZERO)


class OverwriteMachine(RandomMachine):
    """Media that are one piece, formatted once."""

    @initialize(kind=st.sampled_from(("bd-r", "bd-re", "dvd+rw", "dvd-ram")))
    def begin(self, kind: str) -> None:
        self._begin(kind)


class BorderMachine(RandomMachine):
    """Restricted overwrite: borders that are made, grow and end."""

    @initialize(data=st.data(), kind=st.sampled_from(("cd-rw", "dvd-rw", "dvd-rw")), formatted=st.booleans())
    def begin(self, data: st.DataObject, kind: str, formatted: bool) -> None:
        self._begin(kind)
        if formatted:
            self._format_one(data, sorted(self.disc.formats()))

    @precondition(lambda self: self.disc.capacity >= 64)
    @rule(offset=st.integers(1, 15))
    def write_no_whole_packets(self, offset: int) -> None:
        """Packets are written as a whole."""
        unit = DISCS[self.disc.kind][1]
        assert self.burner.write(offset, bytes(unit * BLOCK)) == asc.INVALID_PACKET_SIZE
        assert self.burner.write(0, bytes(offset * BLOCK)) == asc.INVALID_PACKET_SIZE

    @precondition(lambda self: len(self.disc.borders) > 1)
    @rule()
    def write_between_borders(self) -> None:
        """Between borders nothing is written, and nothing is read."""
        lba = self.disc.borders[0].end
        assert self.burner.write(lba, bytes(16 * BLOCK)) == asc.INVALID_ADDRESS_FOR_WRITE
        if lba < self.disc.capacity:
            assert self.burner.do("READ(10)", lba=lba, transfer_length=1).code == BLANK

    @rule(data=st.data())
    def format(self, data: st.DataObject) -> None:
        """One of the types that the medium takes now, with a number of blocks that is offered or one more."""
        self._format_one(data, sorted(self.disc.formats()))

    @precondition(lambda self: GROW in self.disc.formats())
    @rule(data=st.data())
    def grow(self, data: st.DataObject) -> None:
        """One of the types that want a complete border before."""
        self._format_one(data, sorted(set(self.disc.formats()) - {0x00, FULL, QUICK}))

    def _format_one(self, data: st.DataObject, numbers: list[int]) -> None:
        disc = self.disc
        number = data.draw(st.sampled_from(numbers))
        most = disc.formats()[number]
        unit = DISCS[disc.kind][1]
        count = data.draw(st.sampled_from(sorted({0, unit, 3 * unit, 10 * unit, most, most + unit})))
        code = self._format(number, count)
        if count > most or (number == ADD and not count):
            assert code == asc.INVALID_FIELD_IN_PARAMETER_LIST
            return
        assert code is None
        if number in (0x00, FULL):
            disc.borders = [Border(0, count or most)]
            disc.cached.clear()
            disc.blocks.clear()
            disc.doubtful.clear()
            disc.cached |= set(range(count or most))
        elif number == QUICK:
            disc.borders = [Border(0, count, complete=False)]
            disc.cached.clear()
            disc.blocks = {lba: block for lba, block in disc.blocks.items() if lba >= count}
            disc.clear(0, count)
        else:
            if number in (ADD, QUICK_ADD):
                disc.borders.append(Border(disc.following(), disc.following()))
            before = disc.last.end
            disc.last.end += count
            disc.clear(before, disc.last.end)
            disc.last.complete = number in (GROW, ADD)
            disc.cached.clear()                     # before the state was saved
        self._saved()

    @rule(number=st.sampled_from((0x00, 0x01, GROW, ADD, QUICK_GROW, QUICK_ADD, QUICK, 0x26, 0x3F)))
    def format_of_no_such_type(self, number: int) -> None:
        if number not in self.disc.formats():
            assert self._format(number, 32) == asc.INVALID_FIELD_IN_PARAMETER_LIST

    @precondition(lambda self: self.disc.kind == "dvd-rw" and bool(self.disc.borders))
    @rule()
    def close_session(self) -> None:
        """The intermediate state ends, where there is something in it."""
        code = self.burner.close(2)
        if self.disc.growing and self.disc.last.end == self.disc.last.start:
            assert code == asc.CURRENT_PROGRAM_AREA_IS_EMPTY
            return
        assert code is None
        self.disc.last.complete = True
        self.disc.cached.clear()
        self._saved()

    @precondition(lambda self: bool(self.disc.borders))
    @rule()
    def blank(self) -> None:
        assert self.burner.do("BLANK", type=1).good
        self.disc = Model(self.disc.kind)
        self._saved()

    @invariant()
    def lists_its_formats(self) -> None:
        data = self.burner.data("READ FORMAT CAPACITIES", allocation_length=252)
        rows = list(struct.iter_unpack(">II", data[4:]))
        assert {word >> 26: count for count, word in rows[1:]} == self.disc.formats()
        kind = 1 if not self.disc.borders else 3 if self.disc.growing else 2
        assert rows[0][1] >> 24 == kind


TestOverwriteMachine = OverwriteMachine.TestCase
TestOverwriteMachine.settings = settings(max_examples=20, stateful_step_count=20, deadline=None)
TestBorderMachine = BorderMachine.TestCase
TestBorderMachine.settings = settings(max_examples=30, stateful_step_count=25, deadline=None)

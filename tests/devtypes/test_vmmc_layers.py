"""Layer jump recording of a DVD-R DL against a model: where the next block goes, what is there, what a cut leaves."""

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

ROOM = 640                      # blocks, as many on each layer
ECC = 16
INTERVAL, MANUAL = 0x22, 0x23   # formats of SEND DISC STRUCTURE


@dataclass
class Model:
    """A disc: layer 0 has a piece from `begun` on, layer 1 the one above it, from the opposite end."""

    middle: int
    interval: int = 0
    manual: int = 0
    begun: int = 0              # of the layer jump block that is written
    jumped: int = 0             # where it ended on layer 0, once layer 1 is written
    upper: bool = False
    next: int = 0
    blocks: dict[int, bytes] = field(default_factory=dict)
    full: bool = False
    closed: bool = False

    def boundary(self) -> int:
        """Where the piece that is written now ends."""
        if self.upper:
            return 2 * self.middle - self.begun
        ends = [self.middle]
        if self.interval:
            ends.append(self.begun + self.interval)
        if self.manual and (end := self.manual + 1 + -(self.manual + 1) % ECC) > self.next:
            ends.append(end)
        return min(ends)

    def write(self, blocks: list[bytes]) -> None:
        """Blocks at `next`, not past the boundary; then the laser jumps."""
        boundary = self.boundary()
        for block in blocks:
            self.blocks[self.next] = block
            self.next += 1
        if self.next < boundary:
            return
        if self.upper:
            self.begun = self.next = self.jumped
            self.upper = False
            self.full = self.jumped == self.middle
        else:
            self.jumped = self.next
            self.next = 2 * self.middle - self.jumped
            self.upper = True

    def pad(self) -> None:
        """An ECC block that was begun is filled up."""
        if not self.full and self.next % ECC:
            self.write([bytes(BLOCK)] * (-self.next % ECC))


class LayerJumpMachine(RuleBasedStateMachine):
    """A disc that is recorded with layer jumps, and its model."""

    burner: Burner
    seed = 0

    @initialize(interval=st.sampled_from((0, 32, 48, 320)), smaller=st.sampled_from((0, 64, 160)))
    def begin(self, interval: int, smaller: int) -> None:
        self.store = CutStore(stored_size(KINDS["dvd-r-dl"], ROOM))
        self._open()
        self.disc = Model(smaller or ROOM // 2)
        if smaller:
            assert self._send(0x21, smaller) is None
        interval = min(interval, self.disc.middle)
        if interval:
            assert self._send(INTERVAL, interval) is None
        self.disc.interval = interval
        self.safe = copy.deepcopy(self.disc)

    def _open(self) -> None:
        self.burner = Burner("dvd-r-dl", store=self.store)
        self.burner.parameters(write_type=4)

    def _send(self, form: int, address: int) -> object:
        data = bytes(8) + address.to_bytes(4, "big")
        return self.burner.do("SEND DISC STRUCTURE", format=form, parameter_list_length=12, data_out=data).code

    def _room(self) -> bool:
        return not self.disc.full and not self.disc.closed

    @precondition(_room)
    @rule(count=st.integers(1, 48), exact=st.booleans())
    def write(self, count: int, exact: bool) -> None:
        """Blocks at the next writable address; a command that would cross the jump is refused."""
        room = self.disc.boundary() - self.disc.next
        count = min(count, room) if exact else count
        self.seed += 1
        new = [(self.seed * 1000 + at).to_bytes(4, "big") * 512 for at in range(count)]
        code = self.burner.write(self.disc.next, b"".join(new))
        if count > room:
            assert code == asc.INVALID_ADDRESS_FOR_WRITE
            return
        assert code is None
        self.disc.write(new)

    @precondition(_room)
    @rule(lba=st.integers(0, ROOM - 1))
    def write_elsewhere(self, lba: int) -> None:
        if lba != self.disc.next:
            assert self.burner.write(lba, bytes(BLOCK)) == asc.INVALID_ADDRESS_FOR_WRITE

    @precondition(lambda self: not self.disc.closed and bool(self.disc.blocks))
    @rule(ahead=st.integers(-3, 100))
    def jump_when_asked(self, ahead: int) -> None:
        """The manual jump address: on layer 0, at or behind the next block."""
        disc = self.disc
        address = max(disc.next + ahead, 1)
        code = self._send(MANUAL, address)
        if disc.upper or disc.full:
            assert code == asc.COMMAND_SEQUENCE_ERROR
        elif address < disc.next or address >= disc.middle:
            assert code == asc.INVALID_FIELD_IN_PARAMETER_LIST
        else:
            assert code is None
            disc.manual = address
            self.safe = copy.deepcopy(disc)

    @precondition(lambda self: bool(self.disc.blocks))
    @rule()
    def layers_are_settled(self) -> None:
        assert self._send(INTERVAL, 32) == asc.COMMAND_SEQUENCE_ERROR
        assert self._send(0x21, 32) == asc.COMMAND_SEQUENCE_ERROR

    @precondition(_room)
    @rule(count=st.integers(1, 16))
    def test_write(self, count: int) -> None:
        """Nothing of it stays."""
        count = min(count, self.disc.boundary() - self.disc.next)
        self.burner.parameters(test_write=1)
        assert self.burner.write(self.disc.next, bytes(count * BLOCK)) is None
        self.burner.parameters(test_write=0)

    @rule()
    def synchronize(self) -> None:
        self.burner.sync()
        self._pad()

    def _pad(self) -> None:
        if not self.disc.closed:
            self.disc.pad()
        self.safe = copy.deepcopy(self.disc)

    @precondition(lambda self: bool(self.disc.blocks) and not self.disc.closed)
    @rule(sure=st.integers(0, 3))
    def close_session(self, sure: int) -> None:
        if sure == 0:
            assert self.burner.close(2) is None
            self.disc.pad()
            self.disc.closed = True
            self.safe = copy.deepcopy(self.disc)

    @rule()
    def out_and_in(self) -> None:
        assert self.burner.do("START STOP UNIT", loej=1).good
        assert self.burner.do("START STOP UNIT", loej=1, start=1).good
        self._pad()

    @rule(seed=st.integers(0, 1 << 20))
    def cut(self, seed: int) -> None:
        self.store = self.store.cut(random.Random(seed))
        self.disc = copy.deepcopy(self.safe)
        self._open()

    @invariant()
    def tells_the_truth(self) -> None:
        disc = self.disc
        assert self.burner.disc()[0] == (2 if disc.closed else 1 if disc.blocks else 0)
        if disc.closed or disc.full:
            return
        told = self.burner.data("READ TRACK INFORMATION", address_type=1, address=1, allocation_length=48)
        following, free = struct.unpack(">II", told[12:20])
        assert following == disc.next
        assert free == 2 * disc.middle - len(disc.blocks)
        if disc.blocks:
            assert struct.unpack(">I", told[40:44])[0] == disc.boundary()

    @invariant()
    def reads_what_was_written(self) -> None:
        disc = self.disc
        end = int.from_bytes(self.burner.data("READ CAPACITY")[:4], "big")
        for lba in sorted({0, disc.next - 1, disc.next, disc.jumped, 2 * disc.middle - 1, *sorted(disc.blocks)[::7]}):
            if not 0 <= lba <= end or not end:
                continue
            result = self.burner.do("READ(10)", lba=lba, transfer_length=1)
            if lba in disc.blocks:
                assert result.data == disc.blocks[lba]
            else:
                assert result.code == BLANK


TestLayerJumpMachine = LayerJumpMachine.TestCase
TestLayerJumpMachine.settings = settings(max_examples=30, stateful_step_count=30, deadline=None)

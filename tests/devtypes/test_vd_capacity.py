"""The capacity of a virtual disk by mode parameter block descriptors (SBC-4 6.5.2), and after power cycles."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from vd_bench import Bench

from devtypes.vd import DiskConfig
from iohandlers.memory import open_store
from scsiemu import asc
from scsiemu.sam import TaskManagementFunction
from scsiemu.sense import FieldPointer
from scsiemu.testing.initiator import Result, StateDictionary

BLOCK = 512
CAPACITY = 2048
ALL = (1 << 64) - 1


def select(bench: Bench, blocks: int, size: int = BLOCK, *, long: bool = False, **fields: int) -> Result:
    """MODE SELECT(10) with a block descriptor alone."""
    if long:
        data = bytes((0, 0, 0, 0, 1, 0, 0, 16)) + struct.pack(">Q4xI", blocks, size)
    else:
        data = bytes(7) + b"\x08" + struct.pack(">II", min(blocks, 0xFFFFFFFF), size)
    return bench.do("MODE SELECT(10)", pf=1, data_out=data, **fields)


def capacity(bench: Bench) -> tuple[int, int]:
    """Blocks and block length of READ CAPACITY(16)."""
    last, size = struct.unpack_from(">QI", bench.do("READ CAPACITY(16)").data)
    return last + 1, size


def told(bench: Bench, *, pc: int = 0) -> tuple[int, int]:
    """Blocks and block length of MODE SENSE(10) with the long descriptor."""
    blocks, size = struct.unpack_from(">Q4xI", bench.do("MODE SENSE(10)", page_code=0x08, llbaa=1, pc=pc).data, 8)
    return blocks, size


@pytest.mark.parametrize("long", [False, True])
def test_mode_select_capacity_takes_effect_at_once(long: bool) -> None:
    """With the block length as it is, no FORMAT UNIT is needed; what lies beyond has no address, and its data is there
    again when the unit grows."""
    bench = Bench()
    bench.write(999, b"a" * BLOCK + b"b" * BLOCK)

    assert select(bench, 1000, long=long).good

    assert capacity(bench) == told(bench) == (1000, BLOCK)
    assert bench.do("READ CAPACITY(10)").data == struct.pack(">II", 999, BLOCK)
    result = bench.do("READ(10)", lba=999, transfer_length=2)
    assert result.code == asc.LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE
    assert result.sense is not None
    assert result.sense.information == 1000
    assert bench.read(999) == b"a" * BLOCK
    assert bench.do("TEST UNIT READY").good
    assert select(bench, ALL, long=long).good
    assert capacity(bench) == told(bench) == (CAPACITY, BLOCK)
    assert bench.read(999, 2) == b"a" * BLOCK + b"b" * BLOCK


@pytest.mark.parametrize("long", [False, True])
def test_mode_select_capacity_zero_changes_nothing(long: bool) -> None:
    """NUMBER OF LOGICAL BLOCKS zero keeps the capacity."""
    bench = Bench()
    assert select(bench, 1000).good
    other = bench.another()

    assert select(bench, 0, long=long).good

    assert capacity(bench) == told(bench) == (1000, BLOCK)
    assert other.command("TEST UNIT READY").good


@pytest.mark.parametrize("long", [False, True])
def test_mode_select_capacity_beyond_the_maximum(long: bool) -> None:
    """More blocks than there are: INVALID FIELD IN PARAMETER LIST, and the descriptor stays as it was."""
    bench = Bench()
    assert select(bench, 1000).good

    result = select(bench, CAPACITY + 1, long=long)

    assert result.code == asc.INVALID_FIELD_IN_PARAMETER_LIST
    assert result.sense is not None
    assert result.sense.specific == FieldPointer(8, in_cdb=False)
    assert capacity(bench) == told(bench) == (1000, BLOCK)


def test_mode_select_capacity_tells_the_others() -> None:
    """All other nexuses hear of the mode parameters and of the capacity (SPC-5 6.12, SBC-4 4.8)."""
    bench = Bench()
    other = bench.another()

    assert select(bench, 1000).good

    codes = {other.command("TEST UNIT READY").code for _ in range(2)}
    assert codes == {asc.MODE_PARAMETERS_CHANGED, asc.CAPACITY_DATA_HAS_CHANGED}
    assert other.command("TEST UNIT READY").good
    assert bench.do("TEST UNIT READY").good


def test_mode_select_block_length_waits_for_format() -> None:
    """With another block length the number of blocks waits for FORMAT UNIT too; MODE SENSE tells it."""
    bench = Bench()
    other = bench.another()

    assert select(bench, 100, 4096).good

    assert capacity(bench) == (CAPACITY, BLOCK)
    assert told(bench) == (100, 4096)
    assert other.command("TEST UNIT READY").code == asc.MODE_PARAMETERS_CHANGED
    assert other.command("TEST UNIT READY").good
    assert bench.do("FORMAT UNIT").good
    assert capacity(bench) == told(bench) == (100, 4096)
    assert select(bench, ALL, 4096).good
    assert capacity(bench) == told(bench) == (256, 4096)


@pytest.mark.parametrize("blocks", [0, ALL])
def test_mode_select_block_length_maximum(blocks: int) -> None:
    """Zero or all ones with another block length: as many of those as there is room for."""
    bench = Bench()
    assert select(bench, 10).good

    assert select(bench, blocks, 4096).good

    assert told(bench) == (256, 4096)
    assert bench.do("FORMAT UNIT").good
    assert capacity(bench) == (256, 4096)


def test_mode_select_block_length_taken_back() -> None:
    """The current block length again: nothing waits for FORMAT UNIT any more."""
    bench = Bench()
    assert select(bench, 0, 4096).good
    assert select(bench, 0, BLOCK).good

    assert told(bench) == (CAPACITY, BLOCK)
    assert bench.do("FORMAT UNIT").good
    assert capacity(bench) == (CAPACITY, BLOCK)


def test_format_keeps_a_capacity() -> None:
    """FORMAT UNIT after a MODE SELECT of fewer blocks leaves so many, with another protection type too."""
    bench = Bench(size=CAPACITY * 520, pi_type=1)
    assert select(bench, 1000).good

    assert bench.do("FORMAT UNIT", fmtdata=1, fmtpinfo=2, data_out=bytes(4)).good
    assert capacity(bench) == (1000, BLOCK)
    assert bench.do("FORMAT UNIT").good
    assert capacity(bench) == (1000, BLOCK)
    assert select(bench, ALL).good
    assert capacity(bench) == (CAPACITY * 520 // BLOCK, BLOCK)


def test_mode_sense_block_descriptor_defaults() -> None:
    """The default is the maximum, the saved value what outlives a power cycle: the capacity (SPC-5 6.14)."""
    bench = Bench(state=StateDictionary())
    assert select(bench, 1000).good

    assert told(bench, pc=2) == (CAPACITY, BLOCK)
    assert told(bench, pc=3) == (1000, BLOCK)


@pytest.mark.parametrize("kind", [1, 2, 3])
def test_capacity_leaves_protection_in_place(kind: int) -> None:
    """Protection information is not read from elsewhere after a change of the capacity."""
    bench = Bench(size=CAPACITY * 520, pi_type=kind, capacity=CAPACITY // 2)
    fields: dict[str, Any] = {"lba": 7, "transfer_length": 1}
    name = "READ(32)" if kind == 2 else "READ(16)"
    bench.write(7, b"x" * BLOCK)
    before = bench.do(name, protect=3, data_in=520, **fields)
    assert before.good

    for blocks in (8, CAPACITY, 100):
        assert select(bench, blocks).good
        if blocks != 8:
            bench.write(blocks - 1, b"y" * BLOCK)
        after = bench.do(name, protect=3, data_in=520, **fields)
        assert after.good
        assert after.data == before.data


def test_sanitize_reaches_blocks_beyond_the_capacity() -> None:
    """SANITIZE leaves nothing of blocks that the capacity hides, nor their protection information (SBC-4 4.11)."""
    bench = Bench(size=CAPACITY * 520, pi_type=1)
    bench.write(1500, b"s" * BLOCK)
    assert select(bench, 1000).good

    assert bench.do("SANITIZE (OVERWRITE)", data_out=struct.pack(">BxH", 1, 4) + b"abcd").good

    assert select(bench, ALL).good
    data = bench.do("READ(16)", lba=1500, transfer_length=1, protect=1, data_in=520).data
    assert data == b"abcd" * (BLOCK // 4) + b"\xff" * 8


def test_capacity_of_everything_that_tells_it() -> None:
    """GET LBA STATUS, REPORT REFERRALS, defect lists and ranges of commands follow the capacity."""
    bench = Bench()
    for lba in (10, 1500):
        assert bench.do("WRITE LONG(10)", lba=lba, wr_uncor=1).good
        assert bench.do("REASSIGN BLOCKS", data_out=struct.pack(">HHI", 0, 4, lba)).good
        assert bench.do("WRITE LONG(10)", lba=lba, wr_uncor=1).good

    assert select(bench, 1000).good

    status = bench.do("GET LBA STATUS(16)", lba=900).data
    assert struct.unpack_from(">QI", status, 8) == (900, 100)
    assert bench.do("GET LBA STATUS(16)", lba=1000).code == asc.LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE
    assert struct.unpack_from(">QQ", bench.do("REPORT REFERRALS").data, 8) == (0, 999)
    defects = bench.do("READ DEFECT DATA(12)", req_glist=1, defect_list_format=3).data
    assert defects[8:] == struct.pack(">Q", 10)
    pending = bench.do("LOG SENSE", page_code=0x15, subpage_code=0x01, pc=1).data
    assert struct.unpack_from(">I", pending, 8) == (1,)
    unmap = struct.pack(">HHxxxxQI4x", 22, 16, 999, 2)
    assert bench.do("UNMAP", data_out=unmap).code == asc.LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE
    assert select(bench, ALL).good
    sense = bench.do("READ(10)", lba=1500, transfer_length=1).sense
    assert sense is not None
    assert sense.information == 1500
    defects = bench.do("READ DEFECT DATA(12)", req_glist=1, defect_list_format=3).data
    assert defects[8:] == struct.pack(">QQ", 10, 1500)


def test_capacity_of_a_missing_medium() -> None:
    """Without a medium there is nothing whose capacity could be set."""
    bench = Bench(removable=True)
    bench.disk.press_eject()

    assert select(bench, 1000).code == asc.MEDIUM_NOT_PRESENT


# --- power cycles ----------------------------------------------------------------------------------------------


class Room:
    """What outlives a power cycle: the store and the saved state."""

    def __init__(self, size: int = CAPACITY * BLOCK) -> None:
        self.store = open_store(size=size)
        self.state = StateDictionary()

    def power_on(self, **options: Any) -> Bench:
        """The disk, made anew."""
        return Bench(store=self.store, state=self.state, **options)


def test_capacity_outlives_power_cycle() -> None:
    """SBC-4 6.5.2: retained through power cycles, whatever SP says, and through resets."""
    room = Room()
    bench = room.power_on()
    bench.write(1500, b"z" * BLOCK)
    assert select(bench, 1000, sp=0).good
    bench.initiator.manage(TaskManagementFunction.LOGICAL_UNIT_RESET)
    bench.initiator.clear_attentions()
    assert capacity(bench) == (1000, BLOCK)

    again = room.power_on()
    assert capacity(again) == told(again) == (1000, BLOCK)
    assert select(again, ALL).good
    assert again.read(1500) == b"z" * BLOCK
    assert capacity(room.power_on()) == (CAPACITY, BLOCK)


def test_format_outlives_power_cycle() -> None:
    """What FORMAT UNIT made of the medium is what is there after a power cycle."""
    room = Room(CAPACITY * 520)
    bench = room.power_on(pi_type=1)
    assert select(bench, 77, 4096).good
    assert bench.do("FORMAT UNIT", fmtdata=1, fmtpinfo=3, data_out=bytes(4)).good
    assert bench.do("WRITE(16)", lba=76, transfer_length=1, data_out=b"z" * 4096).good

    again = room.power_on(pi_type=1)
    assert capacity(again) == told(again) == (77, 4096)
    assert again.do("READ CAPACITY(16)").data[12] == 0x03
    assert again.read(76) == b"z" * 4096


def test_kept_capacity_of_other_settings_is_left() -> None:
    """Who starts the disk with another block length, protection or store gets what they ask for."""
    room = Room()
    assert select(room.power_on(), 1000).good

    assert capacity(room.power_on(block_size=4096)) == (256, 4096)
    assert capacity(room.power_on(pi_type=1)) == (CAPACITY * BLOCK // 520, BLOCK)
    room.store = open_store(size=4096 * BLOCK)
    assert capacity(room.power_on()) == (4096, BLOCK)


@pytest.mark.parametrize("record", [b"", b"x", bytes(27), b"\xff" * 27, b"\xff" * 26, b"\0" * 64])
def test_kept_capacity_damaged(record: bytes) -> None:
    """A record that is not ours, or cannot be, changes nothing."""
    room = Room()
    assert select(room.power_on(), 1000).good
    for key in [key for key in room.state.kept if "geometry" in key]:
        room.state.kept[key] = record

    assert capacity(room.power_on()) == (CAPACITY, BLOCK)


def test_resize_forgets_a_kept_capacity() -> None:
    """The operator's resize is the last word."""
    room = Room()
    bench = room.power_on()
    assert select(bench, 1000).good

    bench.disk.resize(1024)

    bench.initiator.clear_attentions()
    assert capacity(bench) == (1024, BLOCK)
    assert not any("geometry" in key for key in room.state.kept)


def test_config_maximum_capacity() -> None:
    """The protection information lies where it would with as many blocks as there is room for."""
    config = DiskConfig(capacity=10, store_size=100 * 520, pi_type=1)

    assert (config.max_capacity, config.pi_offset) == (100, 100 * BLOCK)


class CapacityModel(RuleBasedStateMachine):
    """Writes and changes of the capacity, and power cycles: a block reads as it was last written, at any capacity that
    has it."""

    @initialize(pi_type=st.integers(0, 3), block_size=st.sampled_from([512, 4096]))
    def start(self, pi_type: int, block_size: int) -> None:
        self.most, self.size, self.pi_type = 64, block_size, pi_type
        self.room = Room(64 * (block_size + (8 if pi_type else 0)))
        self.written: dict[int, bytes] = {}
        self.blocks = 64
        self.power_cycle()

    @rule()
    def power_cycle(self) -> None:
        self.bench = self.room.power_on(block_size=self.size, pi_type=self.pi_type)

    @rule(blocks=st.one_of(st.integers(0, 70), st.just(ALL)), long=st.booleans())
    def select(self, blocks: int, long: bool) -> None:
        result = select(self.bench, blocks, self.size, long=long)
        if self.most < blocks < ALL:
            assert result.code == asc.INVALID_FIELD_IN_PARAMETER_LIST
            return
        assert result.good
        self.blocks = {0: self.blocks, ALL: self.most}.get(blocks, blocks)

    @rule(lba=st.integers(0, 64), byte=st.integers(0, 255))
    def write(self, lba: int, byte: int) -> None:
        data = bytes((byte,)) * self.size
        result = self.bench.do("WRITE(16)", lba=lba, transfer_length=1, data_out=data)
        if lba < self.blocks:
            assert result.good
            self.written[lba] = data
        else:
            assert result.code == asc.LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE

    @invariant()
    def reads_as_written(self) -> None:
        if not hasattr(self, "bench"):
            return
        assert capacity(self.bench) == (self.blocks, self.size)
        expected = b"".join(self.written.get(lba, bytes(self.size)) for lba in range(self.blocks))
        assert self.bench.read(0, self.blocks) == expected
        assert not self.bench.internal_failures()


CapacityModel.TestCase.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)
TestCapacityModel = CapacityModel.TestCase

"""READ, WRITE, VERIFY and their kin on the virtual disk."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vd_bench import Bench

from devtypes.vd import VirtualDisk
from devtypes.vd.read_write import first_difference
from scsiemu import asc
from scsiemu.operations import DataDirection, OperationTable
from scsiemu.sam import Status
from scsiemu.sense import FieldPointer, SenseKey

BLOCK = 512
LAST = 2047         # of the 1 MiB disk

READS = ["READ(6)", "READ(10)", "READ(12)", "READ(16)"]
WRITES = ["WRITE(6)", "WRITE(10)", "WRITE(12)", "WRITE(16)"]
MOST_WRITES = [
    *WRITES[1:], "WRITE AND VERIFY(10)", "WRITE AND VERIFY(12)", "WRITE AND VERIFY(16)", "ORWRITE(16)",
    "WRITE ATOMIC(16)",
]


def pattern(blocks: int, seed: int = 1) -> bytes:
    """Blocks that differ."""
    return b"".join(bytes(((seed + n) & 0xFF,)) * BLOCK for n in range(blocks))


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("read", READS)
def test_write_then_read(write: str, read: str) -> None:
    """What one size of WRITE wrote, every size of READ returns (SBC-4 5.10 to 5.13, 5.41 to 5.44)."""
    bench = Bench()

    assert bench.do(write, lba=7, transfer_length=3, data_out=pattern(3)).good

    assert bench.do(read, lba=7, transfer_length=3).data == pattern(3)


def test_read_6_zero_means_256() -> None:
    """TRANSFER LENGTH zero of the 6-byte forms is 256 blocks (SBC-4 5.10)."""
    bench = Bench()
    bench.write(0, pattern(256))

    assert bench.do("READ(6)", data_in=1 << 20).data == pattern(256)


@pytest.mark.parametrize("name", [*READS[1:], "VERIFY(10)", "VERIFY(12)", "VERIFY(16)", "PRE-FETCH(16)"])
@pytest.mark.parametrize(("lba", "blocks"), [(LAST, 2), (LAST + 1, 1), (LAST + 2, 0), (0xFFFFFFFF, 0), (0, 2049)])
def test_read_beyond_end(name: str, lba: int, blocks: int) -> None:
    """LOGICAL BLOCK ADDRESS OUT OF RANGE, INFORMATION is the first block that is not there (SBC-4 4.18.1)."""
    result = Bench().do(name, lba=lba, transfer_length=blocks)

    assert result.code == asc.LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE
    assert result.sense is not None
    assert result.sense.information == max(lba, LAST + 1)


@pytest.mark.parametrize("name", MOST_WRITES)
@pytest.mark.parametrize(("lba", "blocks"), [(LAST, 2), (LAST + 1, 1), (0xFFFFFFFF, 1)])
def test_write_beyond_end_fetches_nothing(name: str, lba: int, blocks: int) -> None:
    """A write is refused before Data-Out is asked for: nothing was wanted."""
    bench = Bench()
    cdb = bench.initiator.cdb(name, lba=lba, transfer_length=blocks)

    result = bench.initiator.execute(0, cdb, pattern(blocks), solicited=True)

    assert result.code == asc.LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE
    assert bench.target.next_data_out_request() is None


@pytest.mark.parametrize("name", ["READ(16)", "WRITE(16)", "VERIFY(16)", "ORWRITE(16)", "WRITE AND VERIFY(16)"])
@pytest.mark.parametrize("lba", [1 << 63, (1 << 64) - 1])
def test_arithmetic_does_not_wrap(name: str, lba: int) -> None:
    """LBA plus length past 2^64 is out of range."""
    result = Bench().do(name, lba=lba, transfer_length=1)

    assert result.code == asc.LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE


@settings(max_examples=80, deadline=None)
@given(
    lba=st.one_of(st.integers(0, 2100), st.integers(0, (1 << 64) - 1)),
    blocks=st.one_of(st.integers(0, 2100), st.integers(0, (1 << 32) - 1)),
)
def test_read_16_range_is_big_integer_arithmetic(lba: int, blocks: int) -> None:
    """READ(16) succeeds where lba + blocks is at most the capacity, in integers without end."""
    result = Bench().do("READ(16)", lba=lba, transfer_length=blocks, data_in=1 << 21)

    if lba + blocks > LAST + 1:
        assert result.code == asc.LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE
    else:
        assert result.good
        assert len(result.data) == blocks * BLOCK


def test_capacity_of_2_to_64_blocks() -> None:
    """The last of 2^64 blocks can be written and read; READ CAPACITY(16) names it."""
    bench = Bench(size=(1 << 64) * 4160, block_size=4160, capacity=1 << 64)
    last = (1 << 64) - 1

    bench.write(last, b"z" * 4160)

    assert bench.read(last) == b"z" * 4160
    assert bench.read(0) == bytes(4160)
    assert bench.do("READ CAPACITY(16)").data[:12] == b"\xff" * 8 + (4160).to_bytes(4, "big")
    assert bench.do("READ CAPACITY(10)").data == b"\xff" * 4 + (4160).to_bytes(4, "big")


@pytest.mark.parametrize("name", ["READ(10)", "WRITE(10)", "VERIFY(10)"])
def test_maximum_transfer_length(name: str) -> None:
    """More than MAXIMUM TRANSFER LENGTH is INVALID FIELD IN CDB at TRANSFER LENGTH (SBC-4 6.6.4)."""
    bench = Bench(max_transfer=8)

    assert bench.do(name, transfer_length=8, data_out=bytes(8 * BLOCK)).good
    result = bench.do(name, transfer_length=9, data_out=bytes(9 * BLOCK))

    assert result.code == asc.INVALID_FIELD_IN_CDB
    assert result.sense is not None
    assert result.sense.specific == FieldPointer(7)


@pytest.mark.parametrize("name", ["READ(10)", "READ(12)", "READ(16)", "WRITE(10)", "VERIFY(16)", "WRITE SAME(16)"])
def test_protect_field_without_protection(name: str) -> None:
    """RDPROTECT and its kin must be zero on a disk without protection information (SBC-4 table 43)."""
    result = Bench().do(name, protect=1, transfer_length=1, data_out=bytes(520))

    assert result.code == asc.INVALID_FIELD_IN_CDB
    assert result.sense is not None
    assert result.sense.specific == FieldPointer(1, 7)


@pytest.mark.parametrize("name", WRITES)
def test_write_with_less_data_writes_whole_blocks(name: str) -> None:
    """With less Data-Out than the CDB asks for, the whole blocks of it are written, no more (SAM-5 5.4.3)."""
    bench = Bench()
    bench.write(0, b"a" * BLOCK * 3)

    result = bench.do(name, lba=0, transfer_length=3, data_out=b"b" * (BLOCK + 100))

    assert result.good
    assert bench.read(0, 3) == b"b" * BLOCK + b"a" * BLOCK * 2


@pytest.mark.parametrize("name", ["WRITE(10)", "WRITE(16)", "WRITE AND VERIFY(10)", "ORWRITE(16)"])
def test_write_solicited(name: str) -> None:
    """Data-Out that comes only when it is asked for is written as well."""
    bench = Bench()
    cdb = bench.initiator.cdb(name, lba=1, transfer_length=2)

    assert bench.initiator.execute(0, cdb, pattern(2), solicited=True).good

    assert bench.read(1, 2) == pattern(2)


@pytest.mark.parametrize("name", MOST_WRITES)
def test_write_protected(name: str) -> None:
    """A write protected medium refuses every write with DATA PROTECT (SBC-4 4.16)."""
    bench = Bench(write_protect=True)

    result = bench.do(name, transfer_length=1, data_out=bytes(BLOCK))

    assert result.code == asc.WRITE_PROTECTED


def test_software_write_protect() -> None:
    """SWP of the control mode page protects, the fast path too (SPC-5 7.5.10)."""
    bench = Bench()
    bench.disk.set_mode_fields(0x0A, swp=1)
    bench.initiator.clear_attentions()

    result = bench.do("WRITE(10)", transfer_length=1, data_out=bytes(BLOCK))

    assert result.code == asc.LOGICAL_UNIT_SOFTWARE_WRITE_PROTECTED
    assert bench.do("MODE SENSE(6)", page_code=0x08).data[2] & 0x80


@pytest.mark.parametrize("name", ["VERIFY(10)", "VERIFY(12)", "VERIFY(16)"])
def test_verify_compares(name: str) -> None:
    """BYTCHK 01b compares all data, 11b one block with each; MISCOMPARE tells the offset (SBC-4 5.36)."""
    bench = Bench()
    bench.write(5, b"x" * BLOCK * 4)

    assert bench.do(name, lba=5, transfer_length=4).good
    assert bench.do(name, lba=5, transfer_length=4, bytchk=1, data_out=b"x" * BLOCK * 4).good
    assert bench.do(name, lba=5, transfer_length=4, bytchk=3, data_out=b"x" * BLOCK).good
    different = b"x" * 1000 + b"y" + b"x" * 1047
    result = bench.do(name, lba=5, transfer_length=4, bytchk=1, data_out=different)
    assert result.code == asc.MISCOMPARE_DURING_VERIFY_OPERATION
    assert result.sense is not None
    assert result.sense.information == 1000
    result = bench.do(name, lba=4, transfer_length=2, bytchk=3, data_out=b"x" * BLOCK)
    assert result.code == asc.MISCOMPARE_DURING_VERIFY_OPERATION


@pytest.mark.parametrize(
    ("name", "wrong"), [("VERIFY(10)", 2), ("WRITE AND VERIFY(10)", 2), ("WRITE AND VERIFY(16)", 3)]
)
def test_bytchk_reserved(name: str, wrong: int) -> None:
    """Reserved values of BYTCHK are INVALID FIELD IN CDB."""
    result = Bench().do(name, bytchk=wrong, transfer_length=1, data_out=bytes(BLOCK))

    assert result.code == asc.INVALID_FIELD_IN_CDB


def test_compare_and_write_many_blocks() -> None:
    """Writes where all blocks compare, else MISCOMPARE with the offset, and nothing is written (SBC-4 5.3)."""
    bench = Bench()
    old, new = pattern(4), pattern(4, seed=50)
    bench.write(9, old)

    wrong = old[:1500] + b"\0" + old[1501:]
    result = bench.do("COMPARE AND WRITE", lba=9, transfer_length=4, data_out=wrong + new)
    assert result.code == asc.MISCOMPARE_DURING_VERIFY_OPERATION
    assert result.sense is not None
    assert result.sense.information == 1500
    assert bench.read(9, 4) == old

    assert bench.do("COMPARE AND WRITE", lba=9, transfer_length=4, data_out=old + new).good
    assert bench.read(9, 4) == new


@pytest.mark.parametrize("length", [0, 1, 512, 1023, 1025, 2048])
def test_compare_and_write_wrong_length(length: int) -> None:
    """Data-Out must be twice the blocks."""
    result = Bench().do("COMPARE AND WRITE", transfer_length=1, data_out=bytes(length))

    assert result.code == asc.INVALID_FIELD_IN_COMMAND_INFORMATION_UNIT


def test_compare_and_write_limit_and_zero() -> None:
    """MAXIMUM COMPARE AND WRITE LENGTH bounds it; zero blocks are no error, a count that wrapped is one."""
    bench = Bench(max_compare=2)

    assert bench.do("COMPARE AND WRITE", transfer_length=3, data_out=bytes(3072)).code == asc.INVALID_FIELD_IN_CDB
    assert bench.do("COMPARE AND WRITE", transfer_length=0).good
    assert bench.do("COMPARE AND WRITE", data_out=bytes(256 * 1024)).code == asc.INVALID_FIELD_IN_CDB


def test_orwrite() -> None:
    """The OR of what is there and what comes (SBC-4 5.9)."""
    bench = Bench()
    bench.write(0, b"\x0f" * BLOCK)

    assert bench.do("ORWRITE(16)", transfer_length=1, data_out=b"\xa0" * BLOCK).good

    assert bench.read(0) == b"\xaf" * BLOCK


def test_write_atomic_rules() -> None:
    """Alignment, granularity, boundary and length are checked against VPD B0h (SBC-4 5.50)."""
    bench = Bench(atomic_alignment=4, atomic_granularity=2, max_atomic=8)
    ok = {"lba": 4, "transfer_length": 2}

    assert bench.do("WRITE ATOMIC(16)", data_out=pattern(2), **ok).good
    for wrong in ({"lba": 2}, {"transfer_length": 3}, {"transfer_length": 10}, {"atomic_boundary": 2}):
        result = bench.do("WRITE ATOMIC(16)", data_out=bytes(5120), **{**ok, **wrong})
        assert result.code == asc.INVALID_FIELD_IN_CDB, wrong
    result = bench.do("WRITE ATOMIC(16)", data_out=bytes(BLOCK), **ok)
    assert result.code == asc.INVALID_FIELD_IN_COMMAND_INFORMATION_UNIT
    assert bench.read(4, 2) == pattern(2)


def test_streams() -> None:
    """WRITE STREAM needs an open stream; STREAM CONTROL opens and closes, GET STREAM STATUS lists (SBC-4 5.32).
    Identifiers are less than MAXIMUM NUMBER OF STREAMS (SBC-4 6.6.5)."""
    bench = Bench(max_streams=2)
    write = {"transfer_length": 1, "data_out": b"s" * BLOCK}

    assert bench.do("WRITE STREAM(16)", stream_identifier=1, **write).code == asc.STREAM_NOT_OPEN
    first = bench.do("STREAM CONTROL", stream_control=1).data
    assert first == bytes.fromhex("0700000000010000")
    assert bench.do("STREAM CONTROL", stream_control=1).data == bytes.fromhex("0700000000000000")
    full = bench.do("STREAM CONTROL", stream_control=1).code
    assert full == asc.with_key(asc.MAXIMUM_NUMBER_OF_STREAMS_OPEN, SenseKey.ILLEGAL_REQUEST)
    assert bench.do("WRITE STREAM(16)", stream_identifier=1, **write).good
    status = bench.do("GET STREAM STATUS", stream_identifier=1).data
    assert status == bytes.fromhex("0000000800000002" "0000000100000000")
    assert len(bench.do("GET STREAM STATUS").data) == 24
    assert bench.do("STREAM CONTROL", stream_control=2, stream_identifier=1).good
    assert bench.do("STREAM CONTROL", stream_control=2, stream_identifier=1).code == asc.STREAM_NOT_OPEN
    assert bench.do("GET STREAM STATUS", stream_identifier=3).code == asc.INVALID_FIELD_IN_CDB
    assert bench.read(0) == b"s" * BLOCK


def test_pre_fetch_condition_met() -> None:
    """PRE-FETCH of blocks that fit a cache ends with CONDITION MET (SBC-4 5.10)."""
    assert Bench().do("PRE-FETCH(10)", transfer_length=16).status == Status.CONDITION_MET


@pytest.mark.parametrize("immed", [0, 1])
def test_synchronize_cache(immed: int) -> None:
    """SYNCHRONIZE CACHE checks its range and flushes, before or after its status."""
    bench = Bench()

    assert bench.do("SYNCHRONIZE CACHE(10)", immed=immed).good
    assert bench.do("SYNCHRONIZE CACHE(16)", lba=LAST, transfer_length=1, immed=immed).good
    result = bench.do("SYNCHRONIZE CACHE(16)", lba=LAST, transfer_length=2, immed=immed)
    assert result.code == asc.LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE


def test_read_32_needs_type_2() -> None:
    """READ(32) and its kin are there for type 2 protection only (SBC-4 5.14)."""
    for name in ("READ(32)", "WRITE(32)", "VERIFY(32)", "WRITE AND VERIFY(32)", "WRITE SAME(32)"):
        assert Bench().do(name, transfer_length=0).code in (
            asc.INVALID_COMMAND_OPERATION_CODE, asc.INVALID_FIELD_IN_CDB,
        )
        assert Bench(pi_type=2).do(name, transfer_length=0, data_out=bytes(512)).good, name


def test_additional_cdb_length() -> None:
    """A 32-byte CDB says 18h additional bytes (SPC-5 4.2.3.2)."""
    result = Bench(pi_type=2).do("READ(32)", additional_cdb_length=0x17)

    assert result.code == asc.INVALID_FIELD_IN_CDB


@given(st.binary(min_size=1, max_size=64), st.integers(0, 63))
def test_first_difference(data: bytes, at: int) -> None:
    """The offset of the first byte that differs."""
    at %= len(data)
    other = data[:at] + bytes((data[at] ^ 1,)) + bytes(len(data) - at - 1)

    assert first_difference(data, other) == at


def test_every_write_is_write_protected() -> None:
    """The operations that change the medium are named exactly: every one that takes Data-Out or erases is either
    protected or known to leave the medium alone."""
    declared = OperationTable(VirtualDisk)
    names = {each.name for each in declared}
    harmless = ("MODE SELECT", "LOG SELECT", "SEND DIAGNOSTIC", "WRITE BUFFER", "PERSISTENT RESERVE", "SET ", "VERIFY(")

    assert VirtualDisk.medium_writers <= names
    others = {
        each.name for each in declared
        if each.data == DataDirection.OUT and each.name not in VirtualDisk.medium_writers
    }
    assert {name for name in others if not name.startswith(harmless)} == {
        # It checks the destination of each segment, which may be another unit.
        "EXTENDED COPY(LID1)",
        # They ask by themselves, because they change something before their first request; the last never does.
        "FORMAT UNIT", "WRITE LONG(10)", "WRITE LONG(16)", "SANITIZE (OVERWRITE)", "SANITIZE (BLOCK ERASE)",
        "SANITIZE (CRYPTOGRAPHIC ERASE)", "SANITIZE (EXIT FAILURE MODE)",
    }


@pytest.mark.parametrize(
    ("name", "fields", "data_out"),
    [
        ("FORMAT UNIT", {}, b""),
        ("SANITIZE (BLOCK ERASE)", {}, b""),
        ("SANITIZE (OVERWRITE)", {"parameter_list_length": 5}, b"\x01\0\0\x01\0"),
        ("WRITE LONG(10)", {"wr_uncor": 1}, b""),
        ("WRITE LONG(16)", {"wr_uncor": 1}, b""),
        ("WRITE LONG(10)", {"byte_transfer_length": BLOCK}, bytes(BLOCK)),
    ],
)
def test_write_protected_without_request(name: str, fields: dict[str, int], data_out: bytes) -> None:
    """What changes the medium before its first request is refused, and leaves nothing behind (SBC-4 4.16)."""
    bench = Bench(write_protect=True)

    assert bench.do(name, data_out=data_out, **fields).code == asc.WRITE_PROTECTED
    assert bench.do("TEST UNIT READY").good
    assert bench.read(0) == bytes(BLOCK)


def test_write_protected_after_cdb() -> None:
    """A CDB that is wrong anyway is told so: write protection comes after it, and before Data-Out is fetched."""
    bench = Bench(write_protect=True)

    past = bench.do("WRITE(10)", lba=0xFFFFFFF0, transfer_length=1, data_out=bytes(BLOCK))
    protect = bench.do("WRITE(10)", protect=1, transfer_length=1, data_out=bytes(BLOCK))

    assert past.code == asc.LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE
    assert protect.code == asc.INVALID_FIELD_IN_CDB
    assert bench.do("WRITE(10)", transfer_length=1, data_out=bytes(BLOCK)).code == asc.WRITE_PROTECTED

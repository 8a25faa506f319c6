"""FORMAT UNIT, SANITIZE, defects and long blocks of the virtual disk."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import pytest
from vd_bench import Bench

from scsiemu import asc
from scsiemu.errors import IoFailed, IoFault
from scsiemu.io_requests import Discard, Fill, Flush, Read, Write
from scsiemu.sam import Status, TaskManagementFunction
from scsiemu.sense import FieldPointer, Progress

BLOCK = 512
CAPACITY = 2048
SANITIZE_IN_PROGRESS = asc.LOGICAL_UNIT_NOT_READY_SANITIZE_IN_PROGRESS


def overwrite_list(pattern: bytes, *, count: int = 1, invert: bool = False, length: int | None = None) -> bytes:
    """The parameter list of SANITIZE OVERWRITE."""
    return struct.pack(">BxH", invert << 7 | count, len(pattern) if length is None else length) + pattern


def failing(fails: list[bool]) -> Callable[[Any], Any]:
    """Wraps a performer so that Fill and Discard fail while `fails` has true in it."""

    def wrap(submit: Any) -> Any:
        def perform(request: Any, ticket: Any) -> Any:
            if fails[0] and isinstance(request, (Fill, Discard)):
                return IoFailed(IoFault.MEDIUM, "planted")
            return submit(request, ticket)

        return perform

    return wrap


# --- FORMAT UNIT -----------------------------------------------------------------------------------------------


def test_format_unit_erases() -> None:
    """Without a parameter list every block reads as zeros afterwards (SBC-4 5.5)."""
    bench = Bench()
    bench.write(0, b"a" * BLOCK)
    bench.write(CAPACITY - 1, b"a" * BLOCK)

    assert bench.do("FORMAT UNIT").good

    assert bench.read(0) == bench.read(CAPACITY - 1) == bytes(BLOCK)


def test_format_unit_goes_on_during_aca() -> None:
    """An ACA condition holds commands of the task set, not what goes on in the background (SAM-5 5.9)."""
    bench = Bench(format_seconds=5.0)
    assert bench.do("FORMAT UNIT", fmtdata=1, data_out=bytes((0, 2, 0, 0))).good
    assert bench.do("READ(10)", transfer_length=1, control=4).status == Status.CHECK_CONDITION
    for _ in range(20):
        bench.target.advance(bench.target.now + 1.0)

    assert bench.do("TEST UNIT READY").status == Status.ACA_ACTIVE
    assert bench.initiator.manage(TaskManagementFunction.CLEAR_ACA)
    assert bench.do("TEST UNIT READY").good


def test_format_unit_block_size_of_mode_select() -> None:
    """MODE SELECT's block length is used by the next FORMAT UNIT; others hear of the new capacity (SBC-4 4.5)."""
    bench = Bench()
    other = bench.another()
    descriptor = struct.pack(">II", 0, 4096)

    assert bench.do("MODE SELECT(6)", pf=1, data_out=bytes(3) + b"\x08" + descriptor).good
    assert bench.do("READ CAPACITY(10)").data == struct.pack(">II", CAPACITY - 1, 512)
    assert bench.do("MODE SENSE(6)", page_code=0x08).data[9:12] == (4096).to_bytes(3, "big")
    other.clear_attentions()
    assert bench.do("FORMAT UNIT").good

    assert bench.do("READ CAPACITY(10)").data == struct.pack(">II", 255, 4096)
    assert other.command("TEST UNIT READY").code == asc.CAPACITY_DATA_HAS_CHANGED
    bench.write(255, b"z" * 4096)
    assert bench.read(255) == b"z" * 4096


@pytest.mark.parametrize("size", [0, 1, 256, 511, 513, 0xFFFFFF])
def test_mode_select_block_size_refused(size: int) -> None:
    """A block length that there is not is INVALID FIELD IN PARAMETER LIST."""
    bench = Bench()

    result = bench.do("MODE SELECT(6)", pf=1, data_out=bytes(3) + b"\x08" + struct.pack(">II", 0, size))

    assert result.code == asc.INVALID_FIELD_IN_PARAMETER_LIST
    assert result.sense is not None
    assert result.sense.specific == FieldPointer(9, in_cdb=False)


def test_format_unit_initialization_pattern() -> None:
    """An initialization pattern fills every block, repeated and cut (SBC-4 5.5.4.3)."""
    bench = Bench()
    pattern = b"abc"
    data = bytes((0, 0x88, 0, 0)) + bytes((0, 1)) + len(pattern).to_bytes(2, "big") + pattern

    assert bench.do("FORMAT UNIT", fmtdata=1, data_out=data).good

    assert bench.read(CAPACITY - 1) == (pattern * 171)[:BLOCK]


def test_format_unit_protection_type_changes() -> None:
    """FMTPINFO and PROTECTION FIELDS USAGE choose the type; READ(32) comes and goes with type 2 (SBC-4 table 39)."""
    bench = Bench(pi_type=1)

    assert bench.do("FORMAT UNIT", fmtpinfo=3, fmtdata=1, data_out=bytes(4)).good
    assert bench.do("READ CAPACITY(16)").data[12] == 3
    assert bench.do("READ(32)", transfer_length=1).good
    assert bench.do("FORMAT UNIT", fmtpinfo=3, fmtdata=1, data_out=bytes((1, 0, 0, 0))).good
    assert bench.do("READ CAPACITY(16)").data[12] == 5
    assert not bench.do("READ(32)", transfer_length=1).good
    assert bench.do("FORMAT UNIT", fmtdata=1, data_out=bytes(4)).good
    assert bench.do("READ CAPACITY(16)").data[12] == 0
    bench.write(0, b"p" * BLOCK)
    assert bench.read(0) == b"p" * BLOCK


def test_format_unit_tells_of_another_protection_type() -> None:
    """READ CAPACITY(16) says something else then, which the others hear (SBC-4 5.18)."""
    bench = Bench(pi_type=1)
    other = bench.another()
    other.clear_attentions()

    assert bench.do("FORMAT UNIT", fmtpinfo=2, fmtdata=1, data_out=bytes(4)).good
    assert other.command("TEST UNIT READY").good
    assert bench.do("FORMAT UNIT").good
    assert other.command("TEST UNIT READY").code == asc.CAPACITY_DATA_HAS_CHANGED
    assert bench.do("TEST UNIT READY").good


@pytest.mark.parametrize(
    ("fields", "data", "code"),
    [
        ({"fmtpinfo": 2}, b"", asc.INVALID_FIELD_IN_CDB),
        ({"fmtdata": 1, "fmtpinfo": 1}, bytes(4), asc.INVALID_FIELD_IN_CDB),
        ({"fmtdata": 1}, bytes((1, 0, 0, 0)), asc.INVALID_FIELD_IN_PARAMETER_LIST),
        ({"fmtdata": 1, "fmtpinfo": 2}, bytes(4), asc.INVALID_FIELD_IN_CDB),
        ({"fmtdata": 1, "defect_list_format": 5}, bytes(4), asc.INVALID_FIELD_IN_CDB),
        ({"fmtdata": 1}, b"", asc.PARAMETER_LIST_LENGTH_ERROR),
        ({"fmtdata": 1}, bytes(3), asc.PARAMETER_LIST_LENGTH_ERROR),
        ({"fmtdata": 1, "longlist": 1}, bytes(7), asc.PARAMETER_LIST_LENGTH_ERROR),
        ({"fmtdata": 1}, bytes((0, 0, 0, 4)), asc.PARAMETER_LIST_LENGTH_ERROR),
        ({"fmtdata": 1}, bytes((0, 0x08, 0, 0)), asc.INVALID_FIELD_IN_PARAMETER_LIST),
        ({"fmtdata": 1}, bytes((0, 0x88, 0, 0, 0, 2, 0, 1, 0)), asc.INVALID_FIELD_IN_PARAMETER_LIST),
        ({"fmtdata": 1}, bytes((0, 0x88, 0, 0, 0, 1, 2, 1)), asc.INVALID_FIELD_IN_PARAMETER_LIST),
    ],
)
def test_format_unit_refusals(fields: dict[str, int], data: bytes, code: object) -> None:
    """Fields of the CDB and of the parameter list are checked before anything is erased."""
    bench = Bench()
    bench.write(0, b"a" * BLOCK)

    assert bench.do("FORMAT UNIT", data_out=data, **fields).code == code

    assert bench.read(0) == b"a" * BLOCK


def grown(bench: Bench) -> list[int]:
    """The grown defect list."""
    data = bench.do("READ DEFECT DATA(12)", req_glist=1, defect_list_format=3).data
    return [int.from_bytes(data[at : at + 8], "big") for at in range(8, len(data), 8)]


def test_read_defect_data_10_of_many() -> None:
    """More than the length field holds: FFFFh (SBC-4 5.19)."""
    bench = Bench(size=16 << 20)
    defects = struct.pack(">16000I", *range(16000))
    assert bench.do("FORMAT UNIT", fmtdata=1, data_out=struct.pack(">xxH", len(defects)) + defects).good

    short = bench.do("READ DEFECT DATA(10)", req_glist=1, allocation_length=8).data
    assert short == struct.pack(">xBHI", 0x08, 64000, 0)
    long = bench.do("READ DEFECT DATA(10)", req_glist=1, defect_list_format=3, allocation_length=12).data
    assert long == struct.pack(">xBHQ", 0x0B, 0xFFFF, 0)


def test_format_unit_complete_list() -> None:
    """CMPLST discards the grown defects that there were; else the list adds to them (SBC-4 5.5)."""
    bench = Bench()
    short = struct.pack(">xxHI", 4, 7)
    assert bench.do("REASSIGN BLOCKS", data_out=struct.pack(">HHI", 0, 4, 5)).good

    assert bench.do("FORMAT UNIT", fmtdata=1, data_out=short).good
    assert grown(bench) == [5, 7]
    assert bench.do("FORMAT UNIT", fmtdata=1, cmplst=1, data_out=struct.pack(">xxHI", 4, 9)).good
    assert grown(bench) == [9]
    assert bench.do("FORMAT UNIT").good
    assert grown(bench) == [9]
    assert bench.do("FORMAT UNIT", fmtdata=1, cmplst=1, data_out=bytes(4)).good
    assert grown(bench) == []


@pytest.mark.parametrize("field", ["longlist", "cmplst"])
def test_format_unit_ignores_bits_of_a_list(field: str) -> None:
    """Without FMTDATA there is no list that LONGLIST or CMPLST could be about: both are ignored (SBC-4 5.5)."""
    bench = Bench()
    assert bench.do("REASSIGN BLOCKS", data_out=struct.pack(">HHI", 0, 4, 5)).good

    assert bench.do("FORMAT UNIT", **{field: 1}).good

    assert grown(bench) == [5]


@pytest.mark.parametrize("name", ["FORMAT UNIT", "SANITIZE (BLOCK ERASE)"])
def test_format_and_sanitize_of_a_stopped_unit(name: str) -> None:
    """A stopped unit has to be started before its medium is touched (SBC-4 4.20)."""
    bench = Bench()
    bench.write(0, b"a" * BLOCK)
    assert bench.do("START STOP UNIT", start=0).good

    assert bench.do(name).code == asc.LOGICAL_UNIT_NOT_READY_INITIALIZING_COMMAND_REQUIRED

    assert bench.do("START STOP UNIT", start=1).good
    assert bench.read(0) == b"a" * BLOCK
    assert bench.do(name).good


def test_format_unit_immed_progress() -> None:
    """With IMMED the status comes first; meanwhile TEST UNIT READY is 04/04 and REQUEST SENSE has the progress."""
    bench = Bench(format_seconds=16.0)

    assert bench.do("FORMAT UNIT", fmtdata=1, data_out=bytes((0, 2, 0, 0))).good

    result = bench.do("TEST UNIT READY")
    assert result.code == asc.LOGICAL_UNIT_NOT_READY_FORMAT_IN_PROGRESS
    bench.target.advance(bench.target.now + 1.01)
    bench.target.advance(bench.target.now + 1.01)
    sense = bench.do("REQUEST SENSE").data
    assert sense[2] & 0xF == 2
    assert 0 < int.from_bytes(sense[16:18], "big") < 0xFFFF
    assert bench.do("INQUIRY").good
    assert not bench.do("READ(10)", transfer_length=1).good
    for _ in range(20):
        bench.target.advance(bench.target.now + 1.01)
    assert bench.do("TEST UNIT READY").good


def test_format_unit_failure() -> None:
    """A store that fails leaves FORMAT COMMAND FAILED until a format succeeds."""
    fails = [True]
    bench = Bench(wrap=failing(fails))

    assert bench.do("FORMAT UNIT").code == asc.FORMAT_COMMAND_FAILED
    assert bench.do("TEST UNIT READY").code == asc.FORMAT_COMMAND_FAILED
    fails[0] = False
    assert bench.do("FORMAT UNIT").good
    assert bench.do("TEST UNIT READY").good


# --- SANITIZE --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["SANITIZE (BLOCK ERASE)", "SANITIZE (CRYPTOGRAPHIC ERASE)"])
def test_sanitize_erases(name: str) -> None:
    """Nothing that was written can be read afterwards (SBC-4 4.11)."""
    bench = Bench()
    bench.write(0, b"a" * BLOCK * 4)

    assert bench.do(name).good

    assert bench.read(0, 4) == bytes(4 * BLOCK)
    assert bench.do(name, data_out=bytes(8)).code == asc.INVALID_FIELD_IN_CDB


def test_sanitize_overwrite_passes() -> None:
    """The pattern is repeated in each block. With INVERT it is inverted between passes, of which the first is inverted
    where their count is even: the last leaves the pattern (SBC-4 5.30.3)."""
    passes: list[int] = []

    def wrap(submit: Any) -> Any:
        def perform(request: Any, ticket: Any) -> Any:
            if isinstance(request, Fill) and not request.offset:
                passes.append(request.pattern[0])
            return submit(request, ticket)

        return perform

    bench = Bench(wrap=wrap)

    assert bench.do("SANITIZE (OVERWRITE)", data_out=overwrite_list(b"\x12\x34")).good
    assert bench.read(CAPACITY - 1) == b"\x12\x34" * 256
    for count in (1, 2, 3):
        passes.clear()
        assert bench.do("SANITIZE (OVERWRITE)", data_out=overwrite_list(b"\x0f", count=count, invert=True)).good
        assert bench.read(0) == b"\x0f" * BLOCK
        assert passes == [0x0F, 0xF0, 0x0F][3 - count :]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", asc.INVALID_FIELD_IN_CDB),
        (bytes(4), asc.INVALID_FIELD_IN_CDB),
        (overwrite_list(bytes(BLOCK + 1)), asc.INVALID_FIELD_IN_CDB),
        (overwrite_list(b"a", count=0), asc.INVALID_FIELD_IN_PARAMETER_LIST),
        (overwrite_list(b"a", length=0), asc.INVALID_FIELD_IN_PARAMETER_LIST),
        (overwrite_list(b"a", length=2), asc.INVALID_FIELD_IN_PARAMETER_LIST),
        (overwrite_list(bytes(BLOCK), length=BLOCK + 4), asc.INVALID_FIELD_IN_PARAMETER_LIST),
    ],
)
def test_sanitize_overwrite_refusals(data: bytes, code: object) -> None:
    """The parameter list is checked first (SBC-4 5.30.2)."""
    bench = Bench()
    bench.write(0, b"a" * BLOCK)

    assert bench.do("SANITIZE (OVERWRITE)", data_out=data).code == code

    assert bench.read(0) == b"a" * BLOCK


def test_sanitize_progress_and_reset() -> None:
    """Commands get 04/1B with progress meanwhile; abort and logical unit reset do not stop it (SBC-4 4.11)."""
    bench = Bench(sanitize_seconds=16.0)
    cdb = bench.initiator.cdb("SANITIZE (OVERWRITE)", data_out=overwrite_list(b"s"))
    other = bench.another()
    exchange = bench.initiator.start(0, cdb, overwrite_list(b"s"))

    result = other.command("TEST UNIT READY")
    assert result.code == SANITIZE_IN_PROGRESS
    assert result.sense is not None
    assert isinstance(result.sense.specific, Progress)
    for name, fields in (("READ(10)", {"transfer_length": 1}), ("START STOP UNIT", {}), ("MODE SENSE(6)", {})):
        assert other.command(name, **fields).code == SANITIZE_IN_PROGRESS, name
    assert other.command("INQUIRY").good

    bench.target.manage(TaskManagementFunction.ABORT_TASK, bench.initiator.nexus, 0, tag=exchange.command.tag)
    bench.target.manage(TaskManagementFunction.LOGICAL_UNIT_RESET, other.nexus, 0)
    other.clear_attentions()
    assert other.command("TEST UNIT READY").code == SANITIZE_IN_PROGRESS
    for _ in range(40):
        bench.target.advance(bench.target.now + 1.0)
    bench.initiator.clear_attentions()
    assert bench.do("TEST UNIT READY").good
    assert bench.read(CAPACITY - 1) == b"s" * BLOCK


@pytest.mark.parametrize("ause", [0, 1])
def test_sanitize_failure_mode(ause: int) -> None:
    """After a failure everything is SANITIZE COMMAND FAILED; EXIT FAILURE MODE helps only with AUSE (SBC-4 5.30.5)."""
    fails = [True]
    bench = Bench(wrap=failing(fails))

    assert bench.do("SANITIZE (BLOCK ERASE)", ause=ause).code == asc.SANITIZE_COMMAND_FAILED
    assert bench.do("READ(10)", transfer_length=1).code == asc.SANITIZE_COMMAND_FAILED
    assert bench.do("START STOP UNIT", start=1).code == asc.SANITIZE_COMMAND_FAILED
    assert bench.do("SANITIZE (EXIT FAILURE MODE)").good == bool(ause)
    assert bench.do("TEST UNIT READY").good == bool(ause)
    fails[0] = False
    assert bench.do("SANITIZE (BLOCK ERASE)").good
    assert bench.do("TEST UNIT READY").good


def test_sanitize_write_protected() -> None:
    """Sanitize is a write (SBC-4 4.16)."""
    assert Bench(write_protect=True).do("SANITIZE (BLOCK ERASE)").code == asc.WRITE_PROTECTED


# --- defects ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["READ DEFECT DATA(10)", "READ DEFECT DATA(12)"])
def test_read_defect_data(name: str) -> None:
    """Empty lists have their header; REASSIGN BLOCKS makes grown defects (SBC-4 5.19, 5.24)."""
    bench = Bench()
    empty = bench.do(name, req_plist=1, req_glist=1).data
    assert empty == bytes((0, 0x18)) + bytes(2 if name.endswith("(10)") else 6)

    assert bench.do("REASSIGN BLOCKS", data_out=struct.pack(">HHI", 0, 4, 99)).good

    listed = bench.do(name, req_glist=1, defect_list_format=3).data
    assert listed[1] == 0x0B
    assert listed[-8:] == (99).to_bytes(8, "big")


@pytest.mark.parametrize("name", ["READ DEFECT DATA(10)", "READ DEFECT DATA(12)"])
def test_read_defect_data_format(name: str) -> None:
    """A format that we have not: the list in ours, with CHECK CONDITION, RECOVERED ERROR, DEFECT LIST NOT FOUND (SBC-4
    5.19.1); its sense key specific bytes are no field pointer (SPC-5 4.4.2.4)."""
    bench = Bench()
    assert bench.do("REASSIGN BLOCKS", data_out=struct.pack(">HHI", 0, 4, 99)).good

    answer = bench.do(name, req_plist=1, req_glist=1, defect_list_format=4)

    assert answer.code == asc.DEFECT_LIST_NOT_FOUND
    assert answer.sense is not None
    assert answer.sense.specific is None
    assert (answer.data[1], answer.data[-4:]) == (0x18, (99).to_bytes(4, "big"))


@pytest.mark.parametrize(
    ("fields", "data", "code"),
    [
        ({}, b"", None),
        ({}, bytes(3), asc.PARAMETER_LIST_LENGTH_ERROR),
        ({}, struct.pack(">HH", 0, 4), asc.PARAMETER_LIST_LENGTH_ERROR),
        ({}, struct.pack(">HHI", 0, 3, 0), asc.PARAMETER_LIST_LENGTH_ERROR),
        ({"longlba": 1}, struct.pack(">HHQ", 0, 8, CAPACITY), asc.LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE),
        ({"longlba": 1, "longlist": 1}, struct.pack(">IQ", 8, 5), None),
    ],
)
def test_reassign_blocks_list(fields: dict[str, int], data: bytes, code: object) -> None:
    """Lengths and addresses of the list (SBC-4 5.24.2)."""
    assert Bench().do("REASSIGN BLOCKS", data_out=data, **fields).code == code


@pytest.mark.parametrize("pi_type", [0, 1])
def test_reassign_blocks_keeps_data(pi_type: int) -> None:
    """A block keeps its data and protection information, and is mapped from then on (SBC-4 5.24.1)."""
    bench = Bench(pi_type=pi_type)
    bench.write(5, b"d" * BLOCK)
    before = bench.do("READ(16)", lba=5, transfer_length=1, protect=pi_type).data

    assert bench.do("REASSIGN BLOCKS", data_out=struct.pack(">HHII", 0, 8, 5, 99)).good

    assert bench.do("READ(16)", lba=5, transfer_length=1, protect=pi_type).data == before
    assert bench.read(99) == bytes(BLOCK)
    status = bench.do("GET LBA STATUS(16)", lba=99).data
    assert status[8:24] == struct.pack(">QIBBH", 99, struct.unpack_from(">I", status, 16)[0], 0, 0, 0)


def test_reassign_blocks_of_an_unreadable_medium() -> None:
    """Data that is lost is replaced (SBC-4 5.24.1): a block that cannot be read is what the command is for."""

    def wrap(submit: Any) -> Any:
        def perform(request: Any, ticket: Any) -> Any:
            bad = isinstance(request, Read) and request.offset == 5 * BLOCK and not written
            written.extend([5] if isinstance(request, Write) else [])
            return IoFailed(IoFault.MEDIUM, "planted") if bad else submit(request, ticket)

        return perform

    written: list[int] = []
    bench = Bench(wrap=wrap)
    assert bench.do("READ(16)", lba=5, transfer_length=1).code == asc.UNRECOVERED_READ_ERROR

    assert bench.do("REASSIGN BLOCKS", data_out=struct.pack(">HHI", 0, 4, 5)).good
    assert bench.read(5) == bytes(BLOCK)


def test_reassign_blocks_tells_what_is_left() -> None:
    """COMMAND-SPECIFIC INFORMATION is the first LBA that was not reassigned (SBC-4 5.24.1)."""

    def wrap(submit: Any) -> Any:
        def perform(request: Any, ticket: Any) -> Any:
            bad = isinstance(request, Write) and request.offset == 6 * BLOCK
            return IoFailed(IoFault.MEDIUM, "planted") if bad else submit(request, ticket)

        return perform

    bench = Bench(wrap=wrap)

    result = bench.do("REASSIGN BLOCKS", data_out=struct.pack(">HHIII", 0, 12, 5, 7, CAPACITY))
    assert result.code == asc.LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE
    assert result.sense is not None
    assert (result.sense.command_specific, grown(bench)) == (5, [])

    result = bench.do("REASSIGN BLOCKS", data_out=struct.pack(">HHIII", 0, 12, 5, 6, 7))
    assert result.code == asc.WRITE_ERROR
    assert result.sense is not None
    assert (result.sense.command_specific, grown(bench)) == (6, [5])

    wide = struct.pack(">HHQ", 0, 8, 1 << 40)
    result = bench.do("REASSIGN BLOCKS", longlba=1, data_out=wide)
    assert result.sense is not None
    assert (result.sense.information, result.sense.command_specific) == (None, 0xFFFFFFFF)
    bench.disk.set_mode_fields(0x0A, d_sense=1)
    bench.initiator.clear_attentions()
    result = bench.do("REASSIGN BLOCKS", longlba=1, data_out=wide)
    assert result.sense is not None
    assert (result.sense.information, result.sense.command_specific) == (1 << 40, 1 << 40)


@pytest.mark.parametrize("number", [10, 16])
def test_long_blocks_and_the_medium(number: int) -> None:
    """WRITE LONG ends when the medium has the block; READ LONG reads what the medium has (SBC-4 5.19, 5.50)."""
    seen: list[Any] = []

    def wrap(submit: Any) -> Any:
        def perform(request: Any, ticket: Any) -> Any:
            seen.append(request)
            return submit(request, ticket)

        return perform

    bench = Bench(wrap=wrap, write_cache=True)
    seen.clear()

    assert bench.do(f"WRITE LONG({number})", lba=3, byte_transfer_length=BLOCK, data_out=b"l" * BLOCK).good
    assert bench.do(f"READ LONG({number})", lba=3, byte_transfer_length=BLOCK).data == b"l" * BLOCK

    write, flush, read = seen
    assert (write.offset, write.fua, type(flush), read.offset) == (3 * BLOCK, True, Flush, 3 * BLOCK)


@pytest.mark.parametrize("number", [10, 16])
def test_write_long_uncorrectable(number: int) -> None:
    """WR_UNCOR marks a block: READ tells it with its LBA, until it is written again (SBC-4 4.18.2, 5.50)."""
    bench = Bench()

    assert bench.do(f"WRITE LONG({number})", lba=6, wr_uncor=1).good

    for name in ("READ(10)", "READ(16)", "VERIFY(10)"):
        result = bench.do(name, lba=4, transfer_length=4)
        assert result.code == asc.READ_ERROR_LBA_MARKED_BAD_BY_APPLICATION_CLIENT
        assert result.sense is not None
        assert result.sense.information == 6
    assert bench.read(4, 2) == bytes(2 * BLOCK)
    pending = bench.do("LOG SENSE", page_code=0x15, subpage_code=0x01, pc=1).data
    assert pending[-8:] == (6).to_bytes(8, "big")
    bench.write(6, b"a" * BLOCK)
    assert bench.read(4, 4) == bytes(2 * BLOCK) + b"a" * BLOCK + bytes(BLOCK)


@pytest.mark.parametrize("number", [10, 16])
def test_read_long_length(number: int) -> None:
    """A wrong length is told with ILI, INFORMATION is by how much (SBC-3 5.19)."""
    bench = Bench()
    bench.write(3, b"a" * BLOCK)
    name = f"READ LONG({number})"

    assert bench.do(name, lba=3, byte_transfer_length=BLOCK).data == b"a" * BLOCK
    assert bench.do(name, lba=3).data == b""
    for length, information in ((BLOCK + 4, 4), (BLOCK - 4, -4 & 0xFFFFFFFF)):
        result = bench.do(name, lba=3, byte_transfer_length=length)
        assert result.code == asc.INVALID_FIELD_IN_CDB
        assert result.sense is not None
        assert result.sense.ili
        assert result.sense.information is not None
        assert result.sense.information & 0xFFFFFFFF == information
    assert bench.do(name, lba=CAPACITY, byte_transfer_length=BLOCK).code == asc.LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE


def test_write_long_data_and_correct() -> None:
    """WRITE LONG writes a block; with COR_DIS it is kept as unreadable, READ LONG without CORRCT reads it all the
    same."""
    bench = Bench()
    data = b"l" * BLOCK

    assert bench.do("WRITE LONG(10)", lba=1, byte_transfer_length=BLOCK, data_out=data).good
    assert bench.read(1) == data
    assert bench.do("WRITE LONG(10)", lba=1, byte_transfer_length=BLOCK, cor_dis=1, data_out=data).good
    assert not bench.do("READ(10)", lba=1, transfer_length=1).good
    assert not bench.do("READ LONG(10)", lba=1, byte_transfer_length=BLOCK, correct=1).good
    assert bench.do("READ LONG(10)", lba=1, byte_transfer_length=BLOCK).data == data


def test_background_control() -> None:
    """BO_CTL 11b is reserved (SBC-4 5.2)."""
    bench = Bench()

    assert bench.do("BACKGROUND CONTROL", bo_ctl=1, bo_time=5).good
    assert bench.do("BACKGROUND CONTROL", bo_ctl=3).code == asc.INVALID_FIELD_IN_CDB


def test_medium_error_names_the_block() -> None:
    """A store that cannot read gives UNRECOVERED READ ERROR with the LBA, and log page 03h counts it."""

    def wrap(submit: Any) -> Any:
        def perform(request: Any, ticket: Any) -> Any:
            if type(request).__name__ == "Read" and request.offset <= 9 * BLOCK < request.offset + request.length:
                return IoFailed(IoFault.MEDIUM, "planted", offset=9 * BLOCK)
            return submit(request, ticket)

        return perform

    bench = Bench(wrap=wrap)
    result = bench.do("READ(10)", lba=8, transfer_length=4)

    assert result.status == Status.CHECK_CONDITION
    assert result.code == asc.UNRECOVERED_READ_ERROR
    assert result.sense is not None
    assert result.sense.information == 9
    counters = bench.do("LOG SENSE", page_code=0x03, pc=1).data
    assert counters[-8:] == (1).to_bytes(8, "big")

"""An sg file with memory that is a buffer: error numbers, residuals, sense, the queue. No kernel."""

from __future__ import annotations

import errno
from struct import pack

import pytest
from devnode_world import BSG, SG, FakeMemory
from hypothesis import given, settings
from hypothesis import strategies as st

from transports.devnode.abi import Flags, Ioctl, SgHeader, SgV4
from transports.devnode.request import HostStatus, Outcome, Refused
from transports.devnode.sg import SgFile
from transports.devnode.transfer import MOST_TRANSFER

BASE = 0x10000
HEADER, CDB, SENSE, DATA, VECTOR = BASE, BASE + 0x200, BASE + 0x400, BASE + 0x1000, BASE + 0x800


def v3(memory: FakeMemory, **fields: int) -> None:
    """Put a structure at HEADER: TEST UNIT READY unless told."""
    values = {
        "interface_id": 0x53, "dxfer_direction": -1, "cmd_len": 6, "mx_sb_len": 32, "cmdp": CDB, "sbp": SENSE,
        "timeout": 1000,
    } | fields
    header = SgHeader(bytes(88))
    for name, value in values.items():
        setattr(header, name, value)
    memory.write(HEADER, header.encode())


def refusal(memory: FakeMemory, file: SgFile) -> int:
    """The error number of SG_IO."""
    with pytest.raises(Refused) as caught:
        file.begin(memory, HEADER)
    return caught.value.number


@pytest.mark.parametrize(("fields", "number"), [
    ({"interface_id": 0x41}, errno.ENOSYS),
    ({"cmd_len": 5}, errno.EMSGSIZE),
    ({"cmd_len": 253}, errno.EMSGSIZE),
    ({"cmdp": 0}, errno.EMSGSIZE),
    ({"cmdp": 8}, errno.EFAULT),
    ({"dxfer_direction": 0, "dxfer_len": 8, "dxferp": DATA}, errno.EINVAL),
    ({"dxfer_direction": -6, "dxfer_len": 8, "dxferp": DATA}, errno.EINVAL),
    ({"dxfer_direction": -1, "dxfer_len": 1}, errno.EINVAL),
    ({"dxfer_direction": -2, "dxfer_len": 512}, errno.EINVAL),
    ({"dxfer_direction": -2, "dxfer_len": 512, "dxferp": 1 << 60}, errno.EFAULT),
    ({"dxfer_direction": -3, "dxfer_len": MOST_TRANSFER + 1, "dxferp": DATA}, errno.EINVAL),
    ({"dxfer_direction": -3, "dxfer_len": 0xFFFFFFFF, "dxferp": DATA}, errno.EINVAL),
    ({"dxfer_direction": -3, "dxfer_len": 8, "dxferp": DATA, "iovec_count": 1025}, errno.EINVAL),
    ({"dxfer_direction": -3, "dxfer_len": 8, "dxferp": 8, "iovec_count": 2}, errno.EFAULT),
    ({"dxfer_direction": -3, "dxfer_len": 8, "dxferp": VECTOR, "iovec_count": 2}, errno.EINVAL),
    ({"flags": Flags.MMAP_IO}, errno.ENOMEM),
])
def test_sg_io_refuses(fields: dict[str, int], number: int) -> None:
    """What is wrong in the structure has the error number that drivers/scsi/sg.c gives it."""
    memory = FakeMemory()
    v3(memory, **fields)

    assert refusal(memory, SgFile(SG)) == number


@pytest.mark.parametrize("direction", [-1, -2, -3, -4, -5, 0, 1])
@pytest.mark.parametrize("place", [0, DATA])
def test_sg_io_of_no_length(direction: int, place: int) -> None:
    """A command without data may have any direction: those of mtx have Data-Out, those of cdrdao none at all."""
    memory = FakeMemory()
    v3(memory, dxfer_direction=direction, dxfer_len=0, dxferp=place)
    request = SgFile(SG).begin(memory, HEADER)

    assert (request.task.data_out, request.task.data_in_length) == (b"", 0)


def test_sg_io_header_unreadable() -> None:
    """A bad pointer to the structure is EFAULT."""
    with pytest.raises(Refused) as caught:
        SgFile(SG).begin(FakeMemory(), 0)

    assert caught.value.number == errno.EFAULT


def test_sg_io_iovec_length_overflow() -> None:
    """A negative ssize_t in an iovec is EINVAL."""
    memory = FakeMemory()
    v3(memory, dxfer_direction=-3, dxfer_len=64, dxferp=VECTOR, iovec_count=1)
    memory.write(VECTOR, pack("=QQ", DATA, 1 << 63))

    assert refusal(memory, SgFile(SG)) == errno.EINVAL


def test_sg_io_scatters_data_in_and_counts_residual() -> None:
    """Data-In goes to the pieces in order; what did not come is the residual."""
    memory = FakeMemory()
    v3(memory, dxfer_direction=-3, dxfer_len=10, dxferp=VECTOR, iovec_count=3)
    memory.write(VECTOR, pack("=QQQQQQ", DATA, 3, DATA + 100, 0, DATA + 200, 100))
    request = SgFile(SG).begin(memory, HEADER)
    request.task.outcome = Outcome(data_in=b"abcdefg")

    request.finish(memory, HEADER, now=0.0)

    assert request.task.data_in_length == 10
    assert memory.read(DATA, 4) == b"abc\0"
    assert memory.read(DATA + 200, 5) == b"defg\0"
    assert int.from_bytes(memory.read(HEADER + 72, 4), "little") == 3


def test_sg_io_gathers_data_out() -> None:
    """Data-Out comes from the pieces; what was not wanted of it is the residual."""
    memory = FakeMemory()
    memory.write(DATA, b"abcdef")
    v3(memory, dxfer_direction=-2, dxfer_len=5, dxferp=VECTOR, iovec_count=2)
    memory.write(VECTOR, pack("=QQQQ", DATA + 3, 3, DATA, 100))
    request = SgFile(SG).begin(memory, HEADER)
    request.task.outcome = Outcome(data_out_residual=2)

    request.finish(memory, HEADER, now=0.0)

    assert request.task.data_out == b"defab"
    assert int.from_bytes(memory.read(HEADER + 72, 4), "little") == 2


@pytest.mark.parametrize(("room", "written"), [(32, 18), (4, 4), (0, 0)])
def test_sg_io_sense_is_cut(room: int, written: int) -> None:
    """Sense data is cut to mx_sb_len; driver_status says that there is some, info that something is to be checked."""
    memory = FakeMemory()
    v3(memory, mx_sb_len=room)
    request = SgFile(SG).begin(memory, HEADER)
    request.task.outcome = Outcome(status=2, sense=b"\x70\0\5\0\0\0\0\x0a" + bytes(10) + b"junk")

    request.finish(memory, HEADER, now=0.0)

    out = memory.read(HEADER + 64, 24)
    assert out[:2] == b"\x02\x01"
    assert out[3] == written
    assert int.from_bytes(out[6:8], "little") == (8 if written else 0)
    assert int.from_bytes(out[16:20], "little") == 1
    assert memory.read(SENSE, 32).rstrip(b"\0") == (b"\x70\0\5\0\0\0\0\x0a" + bytes(10))[:written].rstrip(b"\0")


def test_sg_io_host_status() -> None:
    """Trouble on the way is the host status; there is no SCSI status then."""
    memory = FakeMemory()
    v3(memory)
    request = SgFile(SG).begin(memory, HEADER)
    request.task.outcome = Outcome(host_status=HostStatus.TIME_OUT)

    request.finish(memory, HEADER, now=0.0)

    out = memory.read(HEADER + 64, 20)
    assert (out[0], out[4], out[16]) == (0, HostStatus.TIME_OUT, 1)


@pytest.mark.parametrize(("milliseconds", "seconds"), [(0, 60.0), (1500, 1.5), (0xFFFFFFFF, 2147483.647)])
def test_sg_io_timeout(milliseconds: int, seconds: float) -> None:
    """0 is the default of a minute; the longest is INT_MAX."""
    memory = FakeMemory()
    v3(memory, timeout=milliseconds)

    assert SgFile(SG).begin(memory, HEADER).task.seconds == seconds


@settings(max_examples=300)
@given(st.binary(min_size=160, max_size=160), st.sampled_from([b"S\0\0\0", b"Q\0\0\0", b""]), st.booleans())
def test_sg_io_any_bytes(raw: bytes, start: bytes, bsg: bool) -> None:
    """Whatever is in the structure: a request within bounds, or a refusal; nothing else."""
    memory = FakeMemory()
    memory.write(HEADER, start + raw[len(start) :])
    refused = 0
    try:
        task = SgFile(BSG if bsg else SG).begin(memory, HEADER).task
    except Refused as refusal_of_it:
        refused = refusal_of_it.number

    if refused:
        known = (errno.EFAULT, errno.EINVAL, errno.ENOSYS, errno.EMSGSIZE, errno.ENOMEM)
        assert refused in known
    else:
        assert 6 <= len(task.cdb) <= 260
        assert max(task.data_in_length, len(task.data_out)) <= MOST_TRANSFER


def v4(memory: FakeMemory, **fields: int) -> None:
    """Put a version 4 structure at HEADER."""
    values = {"guard": 0x51, "request_len": 6, "request": CDB, "response": SENSE, "max_response_len": 32} | fields
    header = SgV4(bytes(160))
    for name, value in values.items():
        setattr(header, name, value)
    memory.write(HEADER, header.encode())


@pytest.mark.parametrize("node", [SG, BSG])
def test_sg_v4_bidirectional(node: object) -> None:
    """Version 4 takes both directions at once, and long CDBs, on both kinds of node."""
    memory = FakeMemory()
    memory.write(DATA, b"out!")
    v4(memory, request_len=236, dout_xfer_len=4, dout_xferp=DATA, din_xfer_len=8, din_xferp=DATA + 64)
    request = SgFile(node).begin(memory, HEADER)  # type: ignore[arg-type]  # a Node
    request.task.outcome = Outcome(data_in=b"in", data_out_residual=1)

    request.finish(memory, HEADER, now=0.0)

    assert (len(request.task.cdb), request.task.data_out, request.task.data_in_length) == (236, b"out!", 8)
    assert memory.read(DATA + 64, 3) == b"in\0"
    assert [int.from_bytes(memory.read(HEADER + at, 4), "little") for at in (136, 140)] == [6, 1]


@pytest.mark.parametrize("fields", [
    {"protocol": 1}, {"subprotocol": 1}, {"request_len": 261}, {"request": 0}, {"din_xfer_len": MOST_TRANSFER + 1},
    {"dout_xfer_len": 0xFFFFFFFF},
])
def test_sg_v4_refuses(fields: dict[str, int]) -> None:
    """What is wrong is EINVAL."""
    memory = FakeMemory()
    v4(memory, **fields)

    assert refusal(memory, SgFile(BSG)) == errno.EINVAL


def test_bsg_refuses_version_3() -> None:
    """bsg has version 4 alone."""
    memory = FakeMemory()
    v3(memory)

    assert refusal(memory, SgFile(BSG)) == errno.EINVAL


# --- write and read ------------------------------------------------------------------------------------------------


def test_sg_write_queue_is_full() -> None:
    """The seventeenth request that nobody has read is EDOM."""
    memory, file = FakeMemory(), SgFile(SG)
    v3(memory)
    for _ in range(16):
        file.begin_write(memory, HEADER, 88)

    with pytest.raises(Refused) as caught:
        file.begin_write(memory, HEADER, 88)
    assert caught.value.number == errno.EDOM


def test_sg_read_by_pack_id() -> None:
    """With SG_SET_FORCE_PACK_ID a read gets the request of its pack_id, else the first that has ended."""
    memory, file = FakeMemory(), SgFile(SG)
    for pack_id in (7, 8):
        v3(memory, pack_id=pack_id)
        request = file.begin_write(memory, HEADER, 88)
        request.task.outcome = Outcome()
        file.ended(request)
    first = file.wanted_pack(memory, HEADER, 88)
    memory.write(DATA, pack("=i", 1))
    file.ioctl(memory, Ioctl.SG_SET_FORCE_PACK_ID, DATA, now=0.0)

    assert first == -1
    assert file.wanted_pack(memory, HEADER, 88) == 8
    assert file.take_ready(9) is None
    assert [file.take_ready(8).pack_id, file.take_ready(-1).pack_id] == [8, 7]  # type: ignore[union-attr]  # there


@pytest.mark.parametrize(("count", "number"), [(0, errno.EIO), (35, errno.EIO), (36, errno.EINVAL)])
def test_sg_write_short(count: int, number: int) -> None:
    """Less than struct sg_header is EIO, the beginning of a longer one EINVAL."""
    memory = FakeMemory()
    v3(memory)
    with pytest.raises(Refused) as caught:
        SgFile(SG).begin_write(memory, HEADER, count)

    assert caught.value.number == number


def test_sg_access_mode() -> None:
    """A file that was not opened for it can neither be written nor read."""
    memory = FakeMemory()
    v3(memory)
    with pytest.raises(Refused) as written:
        SgFile(SG, writable=False).begin_write(memory, HEADER, 88)
    with pytest.raises(Refused) as read:
        SgFile(SG, readable=False).wanted_pack(memory, HEADER, 88)

    assert (written.value.number, read.value.number) == (errno.EBADF, errno.EBADF)


# --- ioctls --------------------------------------------------------------------------------------------------------

GETS = {
    Ioctl.SG_GET_VERSION_NUM: 30536, Ioctl.SG_GET_RESERVED_SIZE: 32768, Ioctl.SG_EMULATED_HOST: 1,
    Ioctl.SG_GET_COMMAND_Q: 0, Ioctl.SG_GET_LOW_DMA: 0, Ioctl.SG_GET_PACK_ID: -1, Ioctl.SG_GET_NUM_WAITING: 0,
    Ioctl.SG_GET_SG_TABLESIZE: 128, Ioctl.SG_GET_KEEP_ORPHAN: 0, Ioctl.SG_GET_ACCESS_COUNT: 1,
    Ioctl.BLKSECTGET: MOST_TRANSFER, Ioctl.SCSI_GET_IDLUN: 0, Ioctl.SCSI_GET_BUS_NUMBER: 0,
}


@pytest.mark.parametrize(("number", "value"), GETS.items())
def test_sg_ioctl_gives(number: int, value: int) -> None:
    """Each ioctl that asks gives its number through the pointer; a bad pointer is EFAULT."""
    memory = FakeMemory()

    assert SgFile(SG).ioctl(memory, number, DATA, now=0.0) == 0
    assert int.from_bytes(memory.read(DATA, 4), "little", signed=True) == value
    with pytest.raises(Refused) as caught:
        SgFile(SG).ioctl(memory, number, 0, now=0.0)
    assert caught.value.number == errno.EFAULT


@pytest.mark.parametrize(("sets", "gets", "value", "expected"), [
    (Ioctl.SG_SET_RESERVED_SIZE, Ioctl.SG_GET_RESERVED_SIZE, 65536, 65536),
    (Ioctl.SG_SET_RESERVED_SIZE, Ioctl.SG_GET_RESERVED_SIZE, 1 << 30, MOST_TRANSFER),
    (Ioctl.SG_SET_COMMAND_Q, Ioctl.SG_GET_COMMAND_Q, 5, 1),
    (Ioctl.SG_SET_KEEP_ORPHAN, Ioctl.SG_GET_KEEP_ORPHAN, 1, 1),
])
def test_sg_ioctl_sets(sets: int, gets: int, value: int, expected: int) -> None:
    """What was set is given back."""
    memory, file = FakeMemory(), SgFile(SG)
    memory.write(DATA, pack("=i", value))
    file.ioctl(memory, sets, DATA, now=0.0)
    file.ioctl(memory, gets, DATA, now=0.0)

    assert int.from_bytes(memory.read(DATA, 4), "little") == expected


def test_sg_timeout_is_returned() -> None:
    """SG_GET_TIMEOUT returns the value instead of writing it."""
    memory, file = FakeMemory(), SgFile(SG)
    memory.write(DATA, pack("=i", 1234))
    before = file.ioctl(memory, Ioctl.SG_GET_TIMEOUT, 0, now=0.0)
    file.ioctl(memory, Ioctl.SG_SET_TIMEOUT, DATA, now=0.0)

    assert (before, file.ioctl(memory, Ioctl.SG_GET_TIMEOUT, 0, now=0.0)) == (6000, 1234)


@pytest.mark.parametrize(("number", "value", "refused"), [
    (Ioctl.SG_SET_TIMEOUT, -1, errno.EIO), (Ioctl.SG_SET_RESERVED_SIZE, -1, errno.EINVAL),
    (Ioctl.SG_NEXT_CMD_LEN, 253, errno.ENOMEM), (Ioctl.SG_SCSI_RESET, 5, errno.EINVAL), (0x5401, 0, errno.ENOTTY),
])
def test_sg_ioctl_refuses(number: int, value: int, refused: int) -> None:
    """Wrong values and unknown numbers have sg's error numbers."""
    memory = FakeMemory()
    memory.write(DATA, pack("=i", value))
    with pytest.raises(Refused) as caught:
        SgFile(SG).ioctl(memory, number, DATA, now=0.0)

    assert caught.value.number == refused


def test_sg_request_table() -> None:
    """Rows of what is under way and of what can be read, 16 in all."""
    memory, file = FakeMemory(), SgFile(SG)
    v3(memory, pack_id=3, usr_ptr=0xABC)
    done = file.begin_write(memory, HEADER, 88)
    file.begin_write(memory, HEADER, 88)
    done.task.outcome = Outcome(status=2)
    file.ended(done)
    file.ioctl(memory, Ioctl.SG_GET_REQUEST_TABLE, DATA, now=2.0)
    table = memory.read(DATA, 16 * 24)

    assert (table[0], table[3], table[24], table[27], table[48]) == (2, 1, 1, 0, 0)
    assert table[4:8] == pack("=i", 3)

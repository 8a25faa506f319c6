"""Versions 1 and 2 of the sg interface: the bytes of struct sg_header, and programs that write and read them."""

from __future__ import annotations

import ctypes
import errno
from struct import pack

import pytest
from devnode_world import SG, FakeMemory, run_python

from transports.devnode.abi import Ioctl
from transports.devnode.request import HostStatus, Outcome, Refused
from transports.devnode.sg import SgFile
from transports.devnode.sg_v2 import V2Request
from transports.devnode.transfer import MOST_TRANSFER

AT, BACK, WORD = 0x10000, 0x14000, 0x18000
INQUIRY, READ_10, WRITE_10 = bytes.fromhex("120000002400"), bytes((0x28, *bytes(9))), bytes((0x2A, *bytes(9)))
SENSE = bytes.fromhex("70000500000000 0a 00000000 2000 000000 00 0000")


class Header(ctypes.LittleEndianStructure):
    """struct sg_header as include/scsi/sg.h declares it."""

    _fields_ = (
        ("pack_len", ctypes.c_int), ("reply_len", ctypes.c_int), ("pack_id", ctypes.c_int), ("result", ctypes.c_int),
        ("twelve_byte", ctypes.c_uint, 1), ("target_status", ctypes.c_uint, 5), ("host_status", ctypes.c_uint, 8),
        ("driver_status", ctypes.c_uint, 8), ("other_flags", ctypes.c_uint, 10),
        ("sense_buffer", ctypes.c_ubyte * 16),
    )


def begin(
    cdb: bytes, out: bytes = b"", *, reply_len: int = 36, file: SgFile | None = None, twelve: bool = False,
    pack_id: int = 0,
) -> V2Request:
    """Write a request."""
    memory = FakeMemory()
    raw = bytes(Header(pack_len=99, reply_len=reply_len, pack_id=pack_id, twelve_byte=twelve)) + cdb + out
    memory.write(AT, raw)
    request = (file or SgFile(SG)).begin_write(memory, AT, len(raw))
    assert isinstance(request, V2Request)
    return request


def read_out(request: V2Request, outcome: Outcome, count: int = 4096) -> tuple[int, Header, bytes]:
    """What read(2) returns, the header and what is behind it."""
    memory = FakeMemory()
    memory.write(BACK, b"\xEE" * 4096)
    request.task.outcome = outcome
    returned = request.read_out(memory, BACK, count, now=0.0)
    raw = memory.read(BACK, 4096)
    return returned, Header.from_buffer_copy(raw), raw[36:]


def test_sg_v2_size() -> None:
    """The structure has 36 bytes."""
    assert ctypes.sizeof(Header) == 36 == V2Request.size


@pytest.mark.parametrize(("operation", "twelve", "length"), [
    (0x12, False, 6), (0x28, False, 10), (0x55, False, 10), (0x7F, False, 12), (0x88, False, 16), (0xA8, False, 12),
    (0xC0, False, 10), (0xFF, False, 10), (0xC0, True, 12), (0xFF, True, 12), (0x12, True, 6), (0x28, True, 10),
])
def test_sg_v2_cdb_length(operation: int, twelve: bool, length: int) -> None:
    """The group of the operation code says it; twelve_byte is heeded from C0h up, and given back where it was."""
    request = begin(bytes((operation, *range(1, length))), b"data", twelve=twelve)

    assert (request.task.cdb, request.task.data_out) == (bytes((operation, *range(1, length))), b"data")
    assert read_out(request, Outcome())[1].twelve_byte == (operation >= 0xC0 and length == 12)


def test_sg_v2_next_command_length() -> None:
    """SG_NEXT_CMD_LEN counts for one write."""
    memory, file = FakeMemory(), SgFile(SG)
    for number, value in ((Ioctl.SG_NEXT_CMD_LEN, 32), (Ioctl.SG_SET_COMMAND_Q, 1)):
        memory.write(WORD, pack("=i", value))
        file.ioctl(memory, number, WORD, now=0.0)

    assert [len(begin(bytes(32), file=file).task.cdb) for _ in range(2)] == [32, 6]


@pytest.mark.parametrize(("cdb", "out", "reply_len", "expected"), [
    (bytes(6), b"", 36, (b"", 0)), (bytes(6), b"", 0, (b"", 0)), (WRITE_10, b"x" * 512, 36, (b"x" * 512, 0)),
    (WRITE_10, b"x" * 512, 0, (b"x" * 512, 0)), (INQUIRY, b"", 36 + 96, (b"", 96)),
    (INQUIRY, b"more", 36 + 96, (b"", 96)), (INQUIRY, bytes(200), 36 + 96, (b"", 200)),
])
def test_sg_v2_direction(cdb: bytes, out: bytes, reply_len: int, expected: tuple[bytes, int]) -> None:
    """Bytes behind the CDB are Data-Out, a long reply is Data-In; where there is both it is a command that reads."""
    task = begin(cdb, out, reply_len=reply_len).task

    assert (task.data_out, task.data_in_length) == expected


def test_sg_v2_reply() -> None:
    """Header and Data-In, up to reply_len and to what is read; zeros where less was sent; pack_len is reply_len."""
    request = begin(INQUIRY, reply_len=36 + 8, pack_id=-7)

    returned, header, data = read_out(request, Outcome(data_in=b"abc"))
    assert (returned, data[:9]) == (44, b"abc\0\0\0\0\0\xEE")
    assert (header.pack_len, header.reply_len, header.pack_id, header.result) == (44, 44, -7, 0)
    assert (header.target_status, header.host_status, header.driver_status, bytes(header.sense_buffer)) == (
        0, 0, 0, bytes(16)
    )
    assert [read_out(request, Outcome(data_in=b"abcdefghij"), count)[0::2] for count in (36, 38)] == [
        (36, b"\xEE" * 4060), (38, b"ab" + b"\xEE" * 4058),
    ]
    assert read_out(begin(INQUIRY, b"wxyz", reply_len=44), Outcome(data_in=b"ab"))[2][:8] == b"abyz\0\0\0\0"


def test_sg_v2_sense() -> None:
    """CHECK CONDITION is 1 shifted, the driver byte says that there are sense data, of which 16 bytes fit."""
    _, header, _ = read_out(begin(bytes(6)), Outcome(status=2, sense=SENSE))
    assert (header.target_status, header.driver_status, header.result) == (1, 8, 0)
    assert bytes(header.sense_buffer) == SENSE[:16]

    _, header, _ = read_out(begin(bytes(6)), Outcome(status=0x18))
    assert (header.target_status, header.driver_status, bytes(header.sense_buffer)) == (0x0C, 0, bytes(16))


@pytest.mark.parametrize(("host", "result"), [
    (HostStatus.NO_CONNECT, errno.EBUSY), (HostStatus.BUS_BUSY, errno.EBUSY), (HostStatus.TIME_OUT, errno.EBUSY),
    (HostStatus.ABORT, errno.EIO), (HostStatus.RESET, errno.EIO), (HostStatus.ERROR, 0),
])
def test_sg_v2_host_status(host: int, result: int) -> None:
    """What went wrong on the way is an error number in the header; a read too short for it is EIO itself, or 0."""
    request = begin(bytes(6))
    _, header, _ = read_out(request, Outcome(host_status=host))

    assert (header.host_status, header.result, header.target_status) == (host, result, 0)
    if result:
        with pytest.raises(Refused) as caught:
            read_out(request, Outcome(host_status=host), 35)
        assert caught.value.number == errno.EIO
    else:
        assert read_out(request, Outcome(host_status=host), 35)[0] == 0


@pytest.mark.parametrize(("raw", "number"), [
    (bytes(35), errno.EIO), (bytes(41), errno.EIO),
    (bytes(36) + READ_10[:9], errno.EIO),
    (pack("=iiii", 0, 36 + MOST_TRANSFER + 1, 0, 0) + bytes(20) + INQUIRY, errno.ENOMEM),
    (pack("=ii", 0x53, -1) + bytes(79), errno.EINVAL),
])
def test_sg_v2_refuses(raw: bytes, number: int) -> None:
    """Less than header and CDB; more than the adapter can do; a direction below 0 is version 3, which is longer."""
    memory, file = FakeMemory(), SgFile(SG)
    memory.write(AT, raw)
    with pytest.raises(Refused) as caught:
        file.begin_write(memory, AT, len(raw))

    assert (caught.value.number, file.pending) == (number, [])


def test_sg_v2_queue() -> None:
    """One request at a time, until SG_SET_COMMAND_Q or a request of version 3 allows 16."""
    memory, file = FakeMemory(), SgFile(SG)
    begin(bytes(6), file=file)
    with pytest.raises(Refused) as caught:
        begin(bytes(6), file=file)
    memory.write(WORD, pack("=i", 1))
    file.ioctl(memory, Ioctl.SG_SET_COMMAND_Q, WORD, now=0.0)

    assert caught.value.number == errno.EDOM
    assert len([begin(bytes(6), file=file) for _ in range(15)]) == 15


def test_sg_v2_wanted_pack_and_timeout() -> None:
    """With SG_SET_FORCE_PACK_ID the header that read(2) finds says which; timeouts are ticks of SG_SET_TIMEOUT."""
    memory, file = FakeMemory(), SgFile(SG)
    for number, value in ((Ioctl.SG_SET_FORCE_PACK_ID, 1), (Ioctl.SG_SET_TIMEOUT, 250)):
        memory.write(WORD, pack("=i", value))
        file.ioctl(memory, number, WORD, now=0.0)
    memory.write(BACK, bytes(Header(reply_len=36, pack_id=1234)))

    assert [file.wanted_pack(memory, BACK, count) for count in (36, 88, 35)] == [1234, 1234, -1]
    assert begin(bytes(6), file=file).task.seconds == 2.5


def test_sg_v2_programs() -> None:
    """A program writes blocks and reads them back, out of order by pack_id, and finds sense data."""
    assert run_python("""
fd = os.open("/dev/sg0", os.O_RDWR)
def put(cdb, out=b"", reply=0, pack=0):
    raw = struct.pack("=iiiiI16x", 0, 36 + reply, pack, 0, 0) + cdb + out
    return os.write(fd, raw) == len(raw)
def get(reply=0, pack=0):
    found = bytearray(struct.pack("=iiiiI16x", 0, 36, pack, 0, 0) + bytes(reply))
    count = os.readv(fd, [found])
    return (count, *struct.unpack_from("=ii", found, 4), found[18], bytes(found[36:]), bytes(found[20:36]).hex())
lba = lambda number, operation: bytes((operation, 0, 0, 0, 0, number, 0, 0, 1, 0))
data = bytes(range(256)) * 2
print(put(lba(5, 0x2A), data), get()[:3])
fcntl.ioctl(fd, 0x2271, struct.pack("=i", 1)); fcntl.ioctl(fd, 0x227B, struct.pack("=i", 1))
print(put(lba(5, 0x28), reply=512, pack=1), put(bytes.fromhex("120000002400"), reply=36, pack=2))
count, reply, pack, _, inquiry, _ = get(36, 2); print(count, reply, pack, inquiry[8:16])
print(get(512, 1)[4] == data)
print(put(bytes((0x28, 0, 0xFF, 0, 0, 0, 0, 0, 1, 0)), reply=512, pack=3))
*_, sense = get(512, 3); print(sense[:6], sense[24:28])
os.set_blocking(fd, False)          # by FIONBIO
try: get()
except OSError as error: print(errno.errorcode[error.errno])
""").splitlines() == [
        "True (36, 36, 0)", "True True", "72 72 2 b'SCSIEMU '", "True", "True", "f00005 2100", "EAGAIN",
    ]

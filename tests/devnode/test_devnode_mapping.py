"""mmap(2) of /dev/sgN under a command: data by SG_FLAG_MMAP_IO, refusals, and the end of a file that was mapped."""

from __future__ import annotations

import errno

import pytest
from devnode_world import SG, FakeMemory, run_python

from transports.devnode.abi import Flags
from transports.devnode.request import Refused
from transports.devnode.sg import SgFile

MAP = """
import mmap, signal, time
fd = os.open("/dev/sg0", os.O_RDWR)
def move(cdb, length, direction, flags=4):
    hdr = header(bytes.fromhex(cdb), length, direction, flags=flags)
    return sg_io(fd, hdr), result(hdr)["status"], result(hdr)["resid"]
def name(action, *arguments, **more):
    try: return action(*arguments, **more)
    except OSError as error: return errno.errorcode[error.errno]
READ, WRITE = "28000000000500000200", "2a000000000500000200"
"""


def test_mapping_transfers() -> None:
    """Data-Out comes from the mapping, Data-In gets there, and dxferp means nothing."""
    text = run_python(MAP + """
area = mmap.mmap(fd, 32768)
area[:1024] = bytes(range(256)) * 4
print(move(WRITE, 1024, -2)); area[:1024] = bytes(1024)
print(move(READ, 1024, -3), area[:1024] == bytes(range(256)) * 4, area[1024:] == bytes(31744))
print(move("120000002400", 36, -3)[1:], area[8:15])
other = mmap.mmap(fd, 4096); print(other[8:15])
""")

    assert text.splitlines() == ["('ok', 0, 0)", "('ok', 0, 0) True True", "(0, 0) b'SCSIEMU'", "b'SCSIEMU'"]


def test_mapping_refusals() -> None:
    """More than the reserved buffer, an offset, a buffer that is mapped and changed, direct I/O."""
    text = run_python(MAP + """
print(name(mmap.mmap, fd, 65536), name(mmap.mmap, fd, 4096, offset=4096), move(READ, 1024, -3)[0])
fcntl.ioctl(fd, 0x2275, struct.pack("=i", 65536)); area = mmap.mmap(fd, 65536)
print(name(fcntl.ioctl, fd, 0x2275, struct.pack("=i", 4096)), move(READ, 65537, -3)[0], move(READ, 1024, -3, 5)[0])
""")

    assert text.splitlines() == ["ENOMEM EINVAL ENOMEM", "EBUSY ENOMEM EINVAL"]


def test_mapping_asynchronous() -> None:
    """write(2) and read(2) of a request work on a descriptor that was mapped, and poll(2) does not wait."""
    text = run_python(MAP + """
import select
area = mmap.mmap(fd, 4096)
hdr = header(bytes.fromhex("120000002400"), 36, -3, flags=4, pack=7)
print(os.write(fd, hdr)); poll = select.poll(); poll.register(fd, select.POLLIN)
print(len(poll.poll(1000)), struct.unpack_from("=i", os.read(fd, 88), 48), area[8:15])
""")

    assert text.splitlines() == ["88", "1 (7,) b'SCSIEMU'"]


@pytest.mark.parametrize("end", ["os.close(fd); area.close()", "area.close(); os.close(fd)", "os._exit(0)",
                                 "os.kill(os.getpid(), signal.SIGKILL)"])
def test_mapping_ends(end: str) -> None:
    """Whatever goes last, descriptor, mapping or process, is the close: who waits to open exclusively may then."""
    text = run_python(f"""
import mmap, signal, time
end, told = os.pipe()
if not (child := os.fork()):
    fd = os.open("/dev/sg0", os.O_RDWR | os.O_EXCL); area = mmap.mmap(fd, 4096)
    os.write(told, b"x"); time.sleep(0.1)
    {end}
    time.sleep(60)
os.read(end, 1)
fd = os.open("/dev/sg0", os.O_RDWR | os.O_EXCL)
print("opened")
os.kill(child, signal.SIGKILL)
""")

    assert text == "opened\n"


def test_mapping_of_a_copy() -> None:
    """A child that has the file from before cannot map it, too; what it does otherwise goes on."""
    text = run_python(MAP + """
ready, go = os.pipe()
if not (child := os.fork()):
    os.read(ready, 1)
    print(name(mmap.mmap, fd, 4096), move("000000000000", 0, -1, 0), flush=True); os._exit(0)
area = mmap.mmap(fd, 4096); os.write(go, b"x"); os.waitpid(child, 0)
print(move("120000002400", 36, -3)[1:], area[8:15])
""")

    assert text.splitlines() == ["EBUSY ('ok', 0, 0)", "(0, 0) b'SCSIEMU'"]


class Buffer(FakeMemory):
    """A mapped buffer."""

    def __init__(self) -> None:
        super().__init__(size=4096, base=0)
        self.size = 4096


def test_mapping_pieces_mean_nothing() -> None:
    """A scatter list is for the program's memory: with the flag it is not looked at; without a mapping it is ENOMEM."""
    memory, file = FakeMemory(), SgFile(SG)
    raw = bytearray(88)
    raw[0:1], raw[4:8], raw[8], raw[10] = b"S", (-3).to_bytes(4, "little", signed=True), 6, 255
    raw[12:16], raw[24:32] = (36).to_bytes(4, "little"), (0x11000).to_bytes(8, "little")
    raw[44] = Flags.MMAP_IO
    memory.write(0x10000, bytes(raw))
    with pytest.raises(Refused) as caught:
        file.begin(memory, 0x10000)
    assert caught.value.number == errno.ENOMEM

    file.mapping = Buffer()
    assert file.begin(memory, 0x10000).task.data_in_length == 36

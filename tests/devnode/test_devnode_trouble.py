"""Commands that take long, programs that are killed in the middle, random bytes from a program."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from devnode_world import run_python

from scsiemu.testing.served import IscsiTarget

OPEN = "fd = os.open('/dev/sg0', os.O_RDWR)\n"
SLOW = ("--disk", "8M,faulty=delay read seconds=2")
READ = """
data = ctypes.create_string_buffer(512)
def slow(timeout):
    return header(bytes.fromhex("28000000000000000100"), 512, -3, ctypes.addressof(data), timeout=timeout)
"""


@pytest.fixture(params=["here", "by URL"])
def slow_units(request: pytest.FixtureRequest) -> Iterator[tuple[str, ...]]:
    """A slow disk: in this process, or of a running target."""
    if request.param == "here":
        yield SLOW
        return
    with IscsiTarget(*SLOW) as there:
        yield ("--url", there.url)


def test_exec_late_answer(slow_units: tuple[str, ...]) -> None:
    """A store that answers late: SG_IO waits, other nodes and calls do not."""
    text = run_python(READ + """
import threading, time
os.stat("/dev/sg0")
fd = os.open("/dev/sg0", os.O_RDWR)
got = []
def work():
    hdr = slow(10000); got.append((sg_io(fd, hdr), result(hdr)["resid"]))
thread = threading.Thread(target=work); start = time.monotonic(); thread.start(); time.sleep(0.2)
print(sg_io(fd, header(bytes(6))), got, time.monotonic() - start < 1.5)
thread.join(); print(got, time.monotonic() - start > 1.8)
""", units=slow_units)

    assert text.splitlines() == ["ok [] True", "[('ok', 0)] True"]


def test_exec_timeout(slow_units: tuple[str, ...]) -> None:
    """A command that takes longer than its timeout is aborted: host status DID_TIME_OUT, and the node goes on."""
    text = run_python(OPEN + READ + """
hdr = slow(300)
print(sg_io(fd, hdr), result(hdr)["host"], result(hdr)["status"], result(hdr)["info"] & 1, sg_io(fd, header(bytes(6))))
""", units=slow_units)

    assert text == "ok 3 0 1 ok\n"


@pytest.mark.parametrize("scope", [1, 4])
def test_exec_reset_ends_what_is_under_way(slow_units: tuple[str, ...], scope: int) -> None:
    """SG_SCSI_RESET of the unit and of its target: a command under way is DID_RESET, the next one unit attention."""
    text = run_python(OPEN + READ + """
import threading, time
def work():
    hdr = slow(10000); print(sg_io(fd, hdr), result(hdr)["host"])
thread = threading.Thread(target=work); thread.start(); time.sleep(0.3)
fcntl.ioctl(fd, 0x2284, struct.pack("=i", SCOPE)); thread.join()
sense = ctypes.create_string_buffer(32)
hdr = header(bytes(6), sense=ctypes.addressof(sense), room=32)
print(sg_io(fd, hdr), result(hdr)["status"], "%x%x" % (sense.raw[2], sense.raw[12]))
""".replace("SCOPE", str(scope)), units=slow_units)

    assert text.splitlines() == ["ok 8", "ok 2 629"]


def test_exec_killed_in_the_middle(slow_units: tuple[str, ...]) -> None:
    """A program that is killed while its command is under way: the command is aborted, others go on."""
    text = run_python(READ + """
import signal, time
start = time.monotonic()
pid = os.fork()
if not pid:
    fd = os.open("/dev/sg0", os.O_RDWR)
    sg_io(fd, slow(10000))
    os._exit(0)
time.sleep(0.4)
os.kill(pid, signal.SIGKILL)
print(os.waitpid(pid, 0)[1], time.monotonic() - start < 1.5)
time.sleep(0.2)
fd = os.open("/dev/sg0", os.O_RDWR | os.O_EXCL | os.O_NONBLOCK)
print(sg_io(fd, header(bytes(6))))
""", units=slow_units)

    assert text.splitlines() == ["9 True", "ok"]


def test_exec_close_aborts_what_was_written() -> None:
    """A request that was written ends with the last descriptor of its file."""
    text = run_python(READ + """
import time
fd = os.open("/dev/sg0", os.O_RDWR)
print(os.write(fd, slow(10000)), struct.unpack("=i", fcntl.ioctl(fd, 0x227d, bytes(4))))
os.close(fd); time.sleep(0.2)
fd = os.open("/dev/sg0", os.O_RDWR | os.O_EXCL | os.O_NONBLOCK)
print(sg_io(fd, header(bytes(6))))
""", units=SLOW)

    assert text.splitlines() == ["88 (0,)", "ok"]


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="its system call numbers are those of x86_64")
def test_exec_any_bytes_and_arguments(tmp_path: Path) -> None:
    """Random structures, pointers, ioctls, reads, writes and paths: error numbers, and the nodes are still there."""
    text = run_python(f"os.chdir({str(tmp_path)!r})" + """      # where open(2) with random flags may make a file
import random
chooser = random.Random(7)
libc = ctypes.CDLL(None, use_errno=True)
fds = [os.open(path, os.O_RDWR | os.O_NONBLOCK) for path in ("/dev/sg0", "/dev/bsg/0:0:0:0")]
fds.append(os.open("/dev/bsg", os.O_RDONLY))
arena = ctypes.create_string_buffer(1 << 16)
def pointer():
    return chooser.choice([0, 8, chooser.getrandbits(64), ctypes.addressof(arena) + chooser.randrange(1 << 15)])
numbers = [0x2285, 0x2284, 0x2286, 0x2276, 0x2201, 0x5382, 0x5386, 0x5401, 0x2270]
for turn in range(3000):
    fill = chooser.choice([b"S\\0\\0\\0", b"Q\\0\\0\\0"]) + chooser.randbytes(156)
    at = chooser.randrange(1 << 15)
    ctypes.memmove(ctypes.addressof(arena) + at, fill, 160)
    place = ctypes.addressof(arena) + at
    fd = chooser.choice(fds)
    kind = turn % 8
    if kind < 3:
        libc.ioctl(fd, ctypes.c_ulong(chooser.choice(numbers)), ctypes.c_void_p(chooser.choice([place, pointer()])))
    elif kind == 3: libc.write(fd, ctypes.c_void_p(place), ctypes.c_size_t(chooser.choice([88, 160, 36, 1, 1 << 40])))
    elif kind == 4: libc.read(fd, ctypes.c_void_p(pointer()), ctypes.c_size_t(chooser.getrandbits(64)))
    elif kind == 5: libc.readv(fd, ctypes.c_void_p(pointer()), ctypes.c_long(chooser.getrandbits(40)))
    elif kind == 6: libc.syscall(ctypes.c_long(chooser.choice([217, 78, 5, 8, 79, 81, 32, 72])), ctypes.c_long(fd),
                                 ctypes.c_void_p(pointer()), ctypes.c_long(chooser.getrandbits(64)))
    else: libc.syscall(ctypes.c_long(chooser.choice([2, 4, 6, 21, 80, 89, 191])), ctypes.c_void_p(pointer()),
                       ctypes.c_void_p(pointer()), ctypes.c_long(chooser.getrandbits(64)))
fd = os.open("/dev/sg0", os.O_RDWR)
print([sg_io(fd, header(bytes(6))) for _ in range(4)][-1])
""", timeout=100)

    assert text == "ok\n"

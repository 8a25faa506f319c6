"""The driver for optical drives without a kernel: calls in, commands to a small drive, results out."""

from __future__ import annotations

import errno
import os
from struct import pack, unpack
from typing import TypeVar

import pytest
from devnode_world import FakeMemory
from fake_disc import FakeDisc
from hypothesis import given
from hypothesis import strategies as st

from transports.devnode.driver import Steps
from transports.devnode.request import Outcome, Refused, ScsiTask
from transports.devnode.sr import OpticalDrive
from transports.devnode.sr_codes import Capability, DiscStatus, DriveStatus, Ioctl

Result = TypeVar("Result")
BASE = 0x10000


class Station:
    """A drive with its driver, and a file that is open."""

    def __init__(self, kind: str = "rom", flags: int = os.O_RDONLY) -> None:
        self.disc = FakeDisc(kind)
        self.drive = OpticalDrive(0)
        self.memory = FakeMemory()
        self.open(flags)

    def open(self, flags: int = os.O_RDONLY) -> None:
        """Open it (again)."""
        self.handle = self.run(self.drive.open("/dev/sr0", flags))

    def run(self, steps: Steps[Result]) -> Result:
        """Execute what a call wants."""
        try:
            task = next(steps)
            while True:
                assert isinstance(task, ScsiTask)
                found = self.disc.execute(task.cdb, data_out=task.data_out, data_in_length=task.data_in_length)
                task = steps.send(Outcome(found.status, found.sense, found.data_in))
        except StopIteration as stop:
            result: Result = stop.value
            return result

    def read(self, count: int, position: int | None = None) -> bytes:
        """read(2), pread(2)."""
        return self.run(self.drive.read(self.handle, count, position))

    def write(self, data: bytes, position: int | None = None) -> int:
        """write(2), pwrite(2)."""
        return self.run(self.drive.write(self.handle, data, position))

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """lseek(2)."""
        return self.run(self.drive.seek(self.handle, offset, whence))

    def ioctl(self, number: int, argument: int = BASE) -> int:
        """ioctl(2)."""
        return self.run(self.drive.ioctl(self.handle, self.memory, number, argument))

    def asked(self, number: int, given: bytes = b"", length: int = 16) -> bytes:
        """What an ioctl leaves in its structure."""
        self.memory.write(BASE, given)
        self.ioctl(number)
        return self.memory.read(BASE, length)

    def close(self) -> None:
        """The last close(2)."""
        self.run(self.drive.flush(self.handle))
        self.drive.release(self.handle)


def refused(action: object, *arguments: object) -> int:
    """The error number of a call."""
    assert callable(action)
    with pytest.raises(Refused) as caught:
        action(*arguments)
    return caught.value.number


def test_open_refusals() -> None:
    """No disc is ENOMEDIUM but for O_NONBLOCK; a disc that is only read is EROFS; O_EXCL twice is EBUSY."""
    with pytest.raises(Refused) as caught:
        Station("none")
    assert caught.value.number == errno.ENOMEDIUM
    assert refused(Station, "rom", os.O_RDWR) == errno.EROFS
    station = Station("none", os.O_RDONLY | os.O_NONBLOCK | os.O_EXCL)
    assert station.ioctl(Ioctl.DRIVE_STATUS) == DriveStatus.NO_DISC
    assert station.read(10) == b""
    assert refused(station.ioctl, Ioctl.READTOCHDR) == errno.ENOMEDIUM
    assert refused(station.open, os.O_RDONLY | os.O_NONBLOCK | os.O_EXCL) == errno.EBUSY


def test_open_locks_the_door() -> None:
    """While it is open the door is locked; with O_NONBLOCK it is not."""
    station = Station()
    assert station.disc.prevented
    station.close()
    assert not station.disc.prevented
    station.open(os.O_RDONLY | os.O_NONBLOCK)
    assert not station.disc.prevented


def test_open_closes_the_tray() -> None:
    """An open tray is closed first."""
    station = Station()
    station.ioctl(Ioctl.EJECT)
    assert station.ioctl(Ioctl.DRIVE_STATUS) == DriveStatus.TRAY_OPEN
    station.close()
    station.open()

    assert station.read(1) == b"\0"


@given(st.integers(0, 64 * 2048), st.integers(0, 10000))
def test_read_any_bytes(position: int, count: int) -> None:
    """Any place and length, cut at the end of the disc."""
    station = Station()

    assert station.read(count, position) == bytes(station.disc.data[position : position + count])


def test_read_moves_on_and_ends() -> None:
    """The position goes on; behind the last byte there are none; lseek keeps within the disc."""
    station = Station()

    assert station.seek(-2050, os.SEEK_END) == 64 * 2048 - 2050
    assert station.read(3) == b"\x3e\x3e\x3f"
    assert len(station.read(5000)) == 2047
    assert station.read(5) == b""
    assert refused(station.seek, -1) == errno.EINVAL
    assert refused(station.seek, 1, os.SEEK_END) == errno.EINVAL


@given(st.integers(0, 64 * 2048 - 1), st.binary(min_size=1, max_size=5000))
def test_write_any_bytes(position: int, data: bytes) -> None:
    """What is around stays; the end of the disc cuts; the close flushes."""
    station = Station("ram", os.O_RDWR)
    expected = bytearray(station.disc.data)
    room = len(expected) - position
    expected[position : position + len(data)] = data[:room]

    assert station.write(data, position) == min(room, len(data))
    assert station.disc.data == expected
    station.close()
    assert 0x35 in [cdb[0] for cdb in station.disc.cdbs]


def test_write_at_the_end() -> None:
    """It is ENOSPC."""
    assert refused(Station("ram", os.O_RDWR).write, b"x", 64 * 2048) == errno.ENOSPC


def test_sizes() -> None:
    """The numbers of a block device."""
    station = Station()

    assert unpack("=Q", station.asked(Ioctl.BLKGETSIZE64, length=8)) == (131072,)
    assert unpack("=Q", station.asked(Ioctl.BLKGETSIZE, length=8)) == (256,)
    assert unpack("=i", station.asked(Ioctl.BLKSSZGET, length=4)) == (2048,)
    assert unpack("=i", station.asked(Ioctl.BLKROGET, length=4)) == (1,)


def test_table_of_contents() -> None:
    """Header, entries by LBA and MSF, sessions; a track that is not there is EIO, another format EINVAL."""
    station = Station()

    assert station.asked(Ioctl.READTOCHDR, length=2) == b"\1\2"
    assert station.asked(Ioctl.READTOCENTRY, b"\2\0\1", 9) == b"\2\1\1\0" + pack("=i", 64) + b"\0"
    assert station.asked(Ioctl.READTOCENTRY, b"\1\0\2", 9) == b"\1\x41\2\0\0\2\0\0\1"
    assert station.asked(Ioctl.READTOCENTRY, b"\xaa\0\1", 8)[4:] == pack("=i", 164)
    assert station.asked(Ioctl.MULTISESSION, b"\0\0\0\0\0\1", 5) == pack("=i", 64) + b"\1"
    assert refused(station.asked, Ioctl.READTOCENTRY, b"\5\0\1") == errno.EIO
    assert refused(station.asked, Ioctl.READTOCENTRY, b"\1\0\3") == errno.EINVAL
    assert station.ioctl(Ioctl.DISC_STATUS) == DiscStatus.MIXED


def test_audio_and_sectors() -> None:
    """SUBCHNL, READAUDIO and READRAW."""
    station = Station()

    assert station.asked(Ioctl.SUBCHNL, b"\2", 16).hex() == "02154102010000000102030000010200"
    station.asked(Ioctl.READAUDIO, pack("=ib3xi4xQ", 70, 1, 2, BASE + 100))
    assert station.memory.read(BASE + 100, 4705) == bytes((70,)) * 4704 + b"\0"
    assert station.asked(Ioctl.READRAW, b"\0\2\7", 2352) == b"\7" * 2352
    assert refused(station.asked, Ioctl.READAUDIO, pack("=ib3xi4xQ", 70, 1, 76, BASE)) == errno.EINVAL
    assert refused(station.asked, Ioctl.READRAW, b"\0\1\7") == errno.EINVAL


def test_packet() -> None:
    """SEND_PACKET: data, and where it fails EIO with sense and status."""
    station = Station()
    head = bytes.fromhex("250000000000000000000000").ljust(16, b"\0")
    station.asked(Ioctl.SEND_PACKET, head + pack("=QIiQB3xii", BASE + 200, 8, 0, BASE + 300, 2, 0, 1000) + bytes(8))

    assert station.memory.read(BASE + 200, 8) == (63).to_bytes(4, "big") + (2048).to_bytes(4, "big")
    station.memory.write(BASE, b"\xee")
    assert refused(station.ioctl, Ioctl.SEND_PACKET) == errno.EIO
    assert station.memory.read(BASE + 28, 4) == pack("=i", -errno.EIO)
    assert station.memory.read(BASE + 302, 1) == b"\5"
    station.memory.write(BASE + 24, pack("=I", 1 << 31))
    assert refused(station.ioctl, Ioctl.SEND_PACKET) == errno.EINVAL


def test_door_and_medium() -> None:
    """LOCKDOOR outlasts the file, and EJECT is refused as long; also from others; a change is told once."""
    station = Station()
    assert [station.ioctl(Ioctl.MEDIA_CHANGED) for _ in range(2)] == [1, 0]
    station.ioctl(Ioctl.LOCKDOOR, 1)
    station.close()
    assert station.disc.prevented
    station.open()
    other = station.handle
    station.open()
    assert refused(station.ioctl, Ioctl.EJECT) == errno.EBUSY
    station.drive.release(other)
    assert refused(station.ioctl, Ioctl.EJECT) == errno.EBUSY
    station.ioctl(Ioctl.LOCKDOOR, 0)
    station.ioctl(Ioctl.EJECT)
    assert station.disc.tray_open
    station.ioctl(Ioctl.CLOSETRAY)
    assert [station.ioctl(Ioctl.MEDIA_CHANGED) for _ in range(2)] == [1, 0]


def test_timed_media_change() -> None:
    """When a change was noticed, in milliseconds, and whether that is later than what the program knows of.

    As on Linux a change is noticed once for the drive, not for each file.
    """
    station = Station()

    def timed(known: int) -> tuple[int, int]:
        return unpack("=qQ", station.asked(Ioctl.TIMED_MEDIA_CHANGE, pack("=qQ", known, 99)))

    station.drive.now = 5.0
    assert timed(0) == (5000, 1)
    station.drive.now = 6.5
    assert [timed(5000), timed(4999)] == [(5000, 0), (5000, 1)]
    assert station.ioctl(Ioctl.MEDIA_CHANGED) == 0
    station.ioctl(Ioctl.EJECT)
    station.ioctl(Ioctl.CLOSETRAY)
    assert station.ioctl(Ioctl.MEDIA_CHANGED) == 1
    station.drive.now = 8.0
    assert timed(5000) == (6500, 1)


def test_capability_and_speed() -> None:
    """What the drive's page says; speeds in units of 177 kB/s."""
    station = Station()
    able = station.ioctl(Ioctl.GET_CAPABILITY)

    assert able & (Capability.DVD | Capability.DVD_RAM | Capability.CD_R) == Capability.DVD | Capability.DVD_RAM
    assert able & (Capability.PLAY_AUDIO | Capability.CLOSE_TRAY) == Capability.PLAY_AUDIO | Capability.CLOSE_TRAY
    station.ioctl(Ioctl.SELECT_SPEED, 4)
    assert station.disc.cdbs[-1][2:4] == (708).to_bytes(2, "big")


def reported(length: int) -> bytes:
    """What the drive of the tests answers to READ DISC STRUCTURE and REPORT KEY."""
    return bytes(at * 37 + 11 & 0xFF for at in range(length))


def test_volume() -> None:
    """VOLREAD has the ports' volumes; VOLCTRL changes the bits that can be, and leaves the rest of the page."""
    station = Station()
    assert station.asked(Ioctl.VOLREAD, length=4) == b"\x80\x81\x82\x83"
    station.asked(Ioctl.VOLCTRL, b"\x11\x22\x33\x44")

    assert station.disc.sent == [bytes(8) + b"\x0e\x0e\4\0\0\0\0\0\1\x11\2\x20\4\x33\x08\0"]
    assert station.disc.cdbs[-1] == bytes((0x55, 0x10, 0, 0, 0, 0, 0, 0, 24, 0))


def test_what_is_seldom_used() -> None:
    """PLAYBLK is PLAY AUDIO(10); RESET does nothing, as in Linux; there is one disc."""
    station = Station()
    assert refused(station.asked, Ioctl.PLAYBLK, pack("=IH2x", 0x01020304, 0x0506)) == errno.EIO
    assert station.disc.cdbs[-1] == bytes((0x45, 0, 1, 2, 3, 4, 0, 5, 6, 0))
    assert station.ioctl(Ioctl.RESET, 0) == 0
    assert refused(station.ioctl, Ioctl.SELECT_DISC, 0) == errno.ENOSYS


def test_dvd_structures() -> None:
    """Each type of DVD_READ_STRUCT: the command, and the fields of the union."""
    station = Station()
    data = reported(21)
    sector = [int.from_bytes(data[4 + at : 7 + at], "big") for at in (5, 9, 13)]
    layer = bytes((data[4], data[5], data[6] & 0x7F, data[7], data[20] >> 7, 0, 0, 0)) + pack("=III", *sector)
    assert station.asked(Ioctl.DVD_READ_STRUCT, b"\0\1" + bytes(82), 44) == b"\0\1\0\0" + bytes(20) + layer
    assert station.disc.cdbs[-1] == bytes((0xAD, 0, 0, 0, 0, 0, 1, 0, 0, 21, 0, 0))
    assert station.asked(Ioctl.DVD_READ_STRUCT, b"\1\0\xee\xee", 5) == b"\1\0" + reported(6)[4:] + b"\0"
    assert station.asked(Ioctl.DVD_READ_STRUCT, b"\2\3", 2050) == b"\2\3" + reported(2052)[4:]
    assert station.disc.cdbs[-1][10] == 0xC0
    for kind in (3, 4):
        found = station.asked(Ioctl.DVD_READ_STRUCT, bytes((kind, 0)) + bytes(40), 24)
        assert found == bytes((kind, 0, 0, 0)) + pack("=i", 16) + bytes(range(1, 17))
    assert refused(station.asked, Ioctl.DVD_READ_STRUCT, b"\0\4") == errno.EINVAL
    assert refused(station.asked, Ioctl.DVD_READ_STRUCT, b"\x0e\0") == errno.EINVAL


def test_dvd_keys() -> None:
    """Each type of DVD_AUTH: the command, the fields of the union, and the type of the next step."""
    station = Station()

    def asked(given: bytes, length: int) -> bytes:
        return station.asked(Ioctl.DVD_AUTH, given.ljust(16, b"\0"), length)

    assert asked(b"\0\0", 2) == bytes((0, reported(8)[7] >> 6))
    assert asked(b"\2\1", 7) == b"\2\1" + reported(12)[4:9]
    assert station.disc.cdbs[-1] == bytes((0xA4, *bytes(8), 12, 0x42, 0))
    assert asked(b"\3\2", 12) == b"\3\2" + reported(16)[4:14]
    title = reported(12)
    flags = title[4] >> 7 | (title[4] >> 6 & 1) << 1 | (title[4] >> 4 & 3) << 2
    assert asked(b"\7\0" + bytes(6) + pack("=i", 0x010203), 13)[2:7] == title[5:10]
    assert station.memory.read(BASE + 12, 1)[0] == flags
    assert station.disc.cdbs[-1][2:6] == b"\0\1\2\3"
    assert asked(b"\x08\3", 2) == bytes((8, 3 | (reported(8)[7] & 1) << 2))
    asked(b"\x09\2", 2)
    assert station.disc.cdbs[-1][10] == 0xBF
    state = reported(8)
    assert asked(b"\x0a", 3) == bytes((
        state[4] >> 6 | (state[4] >> 3 & 7) << 2 | (state[4] & 7) << 5, state[5], state[6],
    ))
    assert asked(b"\1\1" + bytes(range(10)), 1) == b"\2"
    assert asked(b"\4\1" + bytes(range(5)), 1) == b"\5"
    assert asked(b"\x0b\x3f", 1) == b"\x0b"
    assert station.disc.sent == [
        b"\0\x0e\0\0" + bytes(range(10)) + b"\0\0", b"\0\x0a\0\0" + bytes(range(5)) + bytes(3), b"\0\6\0\0\x3f\0\0\0",
    ]
    assert refused(asked, b"\x0c", 1) == errno.ENOTTY


@pytest.mark.parametrize("number", [number for number in Ioctl if number not in (
    Ioctl.PAUSE, Ioctl.RESUME, Ioctl.STOP, Ioctl.START, Ioctl.EJECT, Ioctl.EJECT_SW, Ioctl.CLOSETRAY, Ioctl.BLKFLSBUF,
    Ioctl.SET_OPTIONS, Ioctl.CLEAR_OPTIONS, Ioctl.SELECT_SPEED, Ioctl.MEDIA_CHANGED, Ioctl.DRIVE_STATUS,
    Ioctl.DISC_STATUS, Ioctl.CHANGER_NSLOTS, Ioctl.LOCKDOOR, Ioctl.GET_CAPABILITY, Ioctl.GET_MCN,
    Ioctl.NEXT_WRITABLE, Ioctl.LAST_WRITTEN, Ioctl.RESET, Ioctl.SELECT_DISC,
)])
def test_bad_pointer(number: Ioctl) -> None:
    """It is EFAULT."""
    assert refused(Station().ioctl, number, 8) == errno.EFAULT


def test_unknown_ioctl() -> None:
    """It is ENOTTY."""
    assert refused(Station().ioctl, 0x5397) == errno.ENOTTY

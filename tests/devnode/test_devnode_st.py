"""The tape driver without a kernel: calls in, commands to a small drive, results out."""

from __future__ import annotations

import errno
import os
from struct import pack
from typing import TypeVar

import pytest
from devnode_world import FakeMemory
from fake_tape import FakeTape
from hypothesis import given, settings
from hypothesis import strategies as st

from scsiemu.services import Outcome as Answered
from transports.devnode.driver import Pause, Steps
from transports.devnode.request import HostStatus, Outcome, Refused
from transports.devnode.st import TapeDrive
from transports.devnode.st_codes import MT_GET, MTIOCPOS, MTIOCTOP, Boolean, Gstat, Op, Options

Result = TypeVar("Result")
BASE = 0x10000


class Station:
    """A drive with its driver, and a file that is open."""

    def __init__(self, tape: FakeTape | None = None, *, path: str = "/dev/nst0", flags: int = os.O_RDWR) -> None:
        self.tape = tape or FakeTape()
        self.drive = TapeDrive(0)
        self.waited = 0.0
        self.seconds = 0.0              # that each command takes
        self.failing = Outcome()        # of commands that do not get to the drive
        self.open(path, flags)

    def open(self, path: str = "/dev/nst0", flags: int = os.O_RDWR) -> None:
        """Open it (again)."""
        self.handle = self.run(self.drive.open(path, flags))

    def run(self, steps: Steps[Result]) -> Result:
        """Execute what a call wants."""
        try:
            task = next(steps)
            while True:
                if isinstance(task, Pause):
                    self.waited += task.seconds
                    self.tape.time_passes()
                    task = steps.send(Outcome())
                    continue
                self.drive.now += self.seconds
                if self.failing.host_status:
                    task = steps.send(self.failing)
                    continue
                found = self.tape.execute(task.cdb, data_out=task.data_out, data_in_length=task.data_in_length)
                task = steps.send(Outcome(found.status, found.sense, found.data_in))
        except StopIteration as stop:
            result: Result = stop.value
            return result

    def write(self, data: bytes) -> int:
        """write(2)."""
        return self.run(self.drive.write(self.handle, data, None))

    def read(self, count: int) -> bytes:
        """read(2)."""
        return self.run(self.drive.read(self.handle, count, None))

    def op(self, op: int, count: int = 1) -> None:
        """MTIOCTOP."""
        memory = FakeMemory()
        memory.write(BASE, pack("=h2xi", op, count))
        self.run(self.drive.ioctl(self.handle, memory, MTIOCTOP, BASE))

    def close(self) -> None:
        """The last close(2)."""
        try:
            self.run(self.drive.flush(self.handle))
        finally:
            self.drive.release(self.handle)

    def place(self) -> tuple[int, int]:
        """File and block number that MTIOCGET gives."""
        *_, file, block = MT_GET.unpack(self.drive.status())
        return file, block

    def gstat(self) -> Gstat:
        """Its status bits."""
        return Gstat(MT_GET.unpack(self.drive.status())[3])


def refused(action: object, *arguments: object) -> int:
    """The error number of a call."""
    assert callable(action)
    with pytest.raises(Refused) as caught:
        action(*arguments)
    return caught.value.number


def written(*records: bytes | None) -> Station:
    """A tape with these blocks and filemarks, at its beginning."""
    station = Station()
    station.tape.records = list(records)
    return station


def test_open_takes_attentions_and_asks_the_drive() -> None:
    """open(2): unit attentions end, then READ BLOCK LIMITS once and MODE SENSE each time."""
    station = Station()
    station.close()
    station.open()

    assert [cdb[0] for cdb in station.tape.cdbs] == [0x00, 0x00, 0x05, 0x1A, 0x00, 0x1A]


def test_open_refusals() -> None:
    """A second open is EBUSY; no tape is ENOMEDIUM but for O_NONBLOCK; writing on a protected tape is EROFS."""
    station = Station()

    assert refused(station.open) == errno.EBUSY
    station.close()
    station.tape.protected = True
    assert refused(station.open) == errno.EROFS
    station.open(flags=os.O_RDONLY)
    assert station.gstat() & Gstat.WR_PROT
    station.close()
    station.tape.loaded = False
    assert refused(station.open) == errno.ENOMEDIUM
    station.open(flags=os.O_RDONLY | os.O_NONBLOCK)
    assert station.gstat() & (Gstat.DR_OPEN | Gstat.ONLINE) == Gstat.DR_OPEN
    assert refused(station.read, 10) == errno.ENOMEDIUM
    assert refused(station.op, Op.FSF) == errno.ENOMEDIUM


def test_open_waits_for_a_drive_that_is_becoming_ready() -> None:
    """A second between looks, two minutes at most, then EIO; with O_NONBLOCK it is open at once, and not ready."""
    station = Station()
    station.close()
    station.tape.becoming_ready = 3
    station.open()
    assert station.waited == 3
    assert station.gstat() & Gstat.ONLINE
    station.close()
    station.tape.becoming_ready = 200

    assert refused(station.open) == errno.EIO
    assert station.waited == 123
    station.open(flags=os.O_RDONLY | os.O_NONBLOCK)
    assert not station.gstat() & Gstat.ONLINE


def test_close_after_writing_is_not_excused_by_a_deferred_error() -> None:
    """Early warning at the filemark of close is good, but not where the sense data is of an earlier command."""
    for head, expected in (("f0", 0), ("f1", errno.EIO)):
        station = Station()
        station.write(b"block")
        sense = bytes.fromhex(f"{head}00400000000000a0000000000200000000")
        station.tape.answers[0x10] = Answered(2, sense)
        failed = 0
        try:
            station.close()
        except Refused as caught:
            failed = caught.number

        assert failed == expected


@pytest.mark.parametrize(("head", "key", "expected"), [
    ("70", 1, None), ("71", 1, errno.EIO), ("70", 3, errno.EIO), ("71", 3, errno.EIO),
])
def test_write_deferred_error(head: str, key: int, expected: int | None) -> None:
    """A recovered error is none; one that is deferred has kept the write from being done, and write(2) tells."""
    station = Station()
    station.tape.answers[0x0A] = Answered(2, bytes.fromhex(f"{head}00{key:02x}000000000a000000001701000000"))
    found = None
    try:
        assert station.write(b"block") == 5
    except Refused as caught:
        found = caught.number

    assert found == expected


@pytest.mark.parametrize(("old", "size", "page", "formats"), [
    # Sizes of all partitions, made by FORMAT MEDIUM (LTO).
    ("110e030014030000 0040000000000000", 10, "110e030134030000 ffff000a00000000", 1),
    ("110e030014030000 0040000000000000", -10, "110e030134030000 000affff00000000", 1),
    ("110e030014030000 0040000000000000", 70000, "110e03013c030900 ffff004600000000", 1),
    ("110e03001c030000 0040000000000000", 5000, "110e03013c030900 ffff000500000000", 1),
    ("110e030014030000 0040000000000000", 0, "", 0),
    # Two sizes, made by MODE SELECT.
    ("110a010010030000 00000000", 10, "110a010130030000 ffff000a", None),
    ("110a010110030000 00100010", 0, "110a010030030000 ffff0000", None),
    # Only partition 1 has a size (DDS).
    ("1108010010030000 0000", 10, "1108010130030000 000a", None),
])
def test_mkpart_page(old: str, size: int, page: str, formats: int | None) -> None:
    """MKPART: the medium partition page that MODE SELECT gets, and the format of FORMAT MEDIUM where that does it."""
    station = Station()
    station.tape.partition_page = bytes.fromhex(old)
    station.op(Op.SETDRVBUFFER, Options.SET_BOOLEANS | Boolean.CAN_PARTITIONS)
    station.op(Op.MKPART, size)

    assert [part.hex() for part in station.tape.selected] == [page.replace(" ", "")] * bool(page)
    assert [cdb[2] for cdb in station.tape.cdbs if cdb[0] == 0x04] == ([] if formats is None else [formats])


def test_mkpart_of_a_size_that_has_no_number() -> None:
    """A partition 0 of a size, where only partition 1 has one; more than 65534 GB."""
    station = Station()
    station.tape.partition_page = bytes.fromhex("11080100100300000000")
    assert refused(station.op, Op.MKPART, 10) == errno.EINVAL           # without can-partitions
    station.op(Op.SETDRVBUFFER, Options.SET_BOOLEANS | Boolean.CAN_PARTITIONS)

    assert refused(station.op, Op.MKPART, -10) == errno.EINVAL
    assert refused(station.op, Op.MKPART, 70_000_000) == errno.EINVAL


def test_attributes_in_sys() -> None:
    """What /sys/class/scsi_tape/stN says: options and defaults as set, -1 for those that are not."""
    drive = Station().drive
    names = ("defined", "options", "default_blksize", "default_density", "default_compression")
    assert [drive.attribute("/dev/nst0", name) for name in names] == ["1\n", "0x00000107\n", "-1\n", "-1\n", "-1\n"]
    assert drive.attribute("/dev/nst0l", "defined") == "0\n"
    station = Station()
    station.op(Op.SETDRVBUFFER, Options.SET_BOOLEANS | Boolean.TWO_FM)
    station.op(Op.SETDRVBUFFER, Options.DEFAULT_BLOCK_SIZE | 1024)
    station.op(Op.SETDRVBUFFER, Options.DENSITY | 0x5E)

    assert [station.drive.attribute("/dev/st0", name) for name in names[1:4]] == ["0x00000117\n", "1024\n", "0x5e\n"]


def statistics(station: Station, *names: str) -> list[int]:
    """Those of /sys/class/scsi_tape/st0m/stats."""
    return [int(station.drive.attribute("/dev/st0m", name)) for name in names]


def test_statistics_in_sys() -> None:
    """Commands by kind, bytes that were transferred, and reads that brought less than they asked for."""
    station = written(b"one", b"three", None)
    assert [station.read(100), station.read(5)] == [b"one", b"three"]
    station.write(b"behind")
    station.op(Op.REW, 1)

    assert statistics(station, "read_cnt", "read_byte_cnt", "resid_cnt") == [2, 8, 1]
    assert statistics(station, "write_cnt", "write_byte_cnt") == [1, 6]
    others = [cdb for cdb in station.tape.cdbs if cdb[0] not in (0x08, 0x0A)]
    assert others[-1][0] == 0x01
    assert statistics(station, "other_cnt", "in_flight") == [len(others), 0]


def test_statistics_of_time() -> None:
    """Nanoseconds of reads, of writes, and of all commands; a command under way counts in in_flight alone."""
    station = written(b"one", None)
    before = len(station.tape.cdbs)
    station.seconds = 0.25
    station.read(3)
    station.write(b"two")
    station.op(Op.REW, 1)
    steps = station.drive.read(station.handle, 3, None)
    next(steps)

    assert statistics(station, "read_ns", "write_ns", "in_flight") == [250_000_000, 250_000_000, 1]
    assert statistics(station, "io_ns", "read_cnt") == [(len(station.tape.cdbs) - before) * 250_000_000, 1]
    steps.close()
    assert statistics(station, "in_flight", "read_cnt") == [0, 1]


def test_statistics_of_a_lost_write() -> None:
    """What did not get to the drive is no byte of write_byte_cnt, but a residual."""
    station = Station()
    station.failing = Outcome(host_status=HostStatus.TIME_OUT)

    assert refused(station.write, b"lost") == errno.EIO
    assert statistics(station, "write_cnt", "write_byte_cnt", "resid_cnt") == [1, 0, 1]


def test_read_filemark_and_end_of_data() -> None:
    """At a filemark 0, behind the last one 0 once more, then EIO."""
    station = written(b"one", b"three", None)

    assert [station.read(100), station.read(100)] == [b"one", b"three"]
    assert station.place() == (0, 2)
    assert station.read(100) == b""
    assert station.place() == (1, 0)
    assert station.gstat() & Gstat.EOF
    assert station.read(100) == b""
    assert station.gstat() & Gstat.EOD
    assert refused(station.read, 100) == errno.EIO


def test_read_two_filemarks() -> None:
    """Each filemark is one read of 0 bytes, and the data behind them can be read."""
    station = written(b"one", None, None, b"two")

    assert [station.read(9) for _ in range(4)] == [b"one", b"", b"", b"two"]
    assert station.place() == (2, 1)


def test_read_end_of_data_without_filemark() -> None:
    """Where no filemark is before it, the end of data is EIO."""
    station = written(b"one")
    station.read(9)

    assert refused(station.read, 9) == errno.EIO


def test_read_block_larger_than_buffer() -> None:
    """It is ENOMEM, and the tape stands behind the block."""
    station = written(b"0123456789", b"two")

    assert refused(station.read, 4) == errno.ENOMEM
    assert station.place() == (0, 1)
    assert station.read(4) == b"two"


def test_read_fixed_blocks() -> None:
    """A filemark ends a read early; half a block leaves the rest for the next read."""
    station = written(b"aaaa", b"bbbb", b"cccc", None, b"dddd")
    station.op(Op.SETBLK, 4)

    assert station.read(2) == b"aa"
    assert station.read(4) == b"aabb"
    assert station.read(100) == b"bbcccc"
    assert station.read(100) == b""
    assert station.place() == (1, 0)
    assert station.read(100) == b"dddd"


def test_read_fixed_blocks_of_another_length() -> None:
    """Data before the odd block is delivered; at the block itself it is EIO, and the tape stays before it."""
    station = written(b"aaaa", b"odd", b"bbbb")
    station.op(Op.SETBLK, 4)

    assert station.read(8) == b"aaaa"
    assert refused(station.read, 8) == errno.EIO
    assert station.tape.at == 1


def test_write_checks_its_length() -> None:
    """Fixed: a multiple of the block size, else EINVAL; variable: within READ BLOCK LIMITS."""
    station = Station(FakeTape(least=4, most=100))

    assert refused(station.write, b"abc") == errno.EINVAL
    assert refused(station.write, bytes(101)) == errno.EINVAL
    assert refused(station.op, Op.SETBLK, 101) == errno.EINVAL
    station.op(Op.SETBLK, 4)
    assert refused(station.write, b"abcdef") == errno.EINVAL
    assert station.write(b"abcdefgh") == 8
    assert station.tape.records == [b"abcd", b"efgh"]


def test_write_early_warning() -> None:
    """The write that meets it succeeds, the next is ENOSPC, then trailers alternate with ENOSPC until the end."""
    station = Station(FakeTape(100))

    assert station.write(bytes(80)) == 80
    assert station.gstat() & Gstat.EOT
    assert refused(station.write, bytes(8)) == errno.ENOSPC
    assert station.write(bytes(8)) == 8
    assert refused(station.write, bytes(8)) == errno.ENOSPC
    assert station.write(bytes(8)) == 8
    assert refused(station.write, bytes(8)) == errno.ENOSPC
    assert refused(station.write, bytes(8)) == errno.ENOSPC
    station.close()
    assert station.tape.records == [bytes(80), bytes(8), bytes(8), None]


def test_write_fixed_blocks_over_the_end() -> None:
    """What has been written counts."""
    station = Station(FakeTape(40))
    station.op(Op.SETBLK, 10)

    assert station.write(bytes(60)) == 40
    assert station.place() == (0, 4)


@pytest.mark.parametrize(("options", "marks", "at"), [(0, 1, 2), (Boolean.TWO_FM, 2, 2)])
def test_close_after_write(options: int, marks: int, at: int) -> None:
    """One filemark; with TWO_FM two, and the tape stands between them."""
    station = Station()
    station.op(Op.SETDRVBUFFER, Options.SET_BOOLEANS | options)
    station.write(b"data")
    station.close()

    assert station.tape.records == [b"data"] + [None] * marks
    assert station.tape.at == at
    assert station.place() == (1, 0)


def test_close_rewinds() -> None:
    """/dev/st0 is rewound after its filemark; after OFFL there is nothing to rewind."""
    station = Station(path="/dev/st0")
    station.write(b"data")
    station.close()
    assert (station.tape.records, station.tape.at) == ([b"data", None], 0)
    station.open("/dev/st0")
    station.op(Op.OFFL)
    commands = len(station.tape.cdbs)
    station.close()

    assert len(station.tape.cdbs) == commands
    assert not station.tape.loaded


def test_close_after_reading_system_v() -> None:
    """System V: a close after reading goes to the next file; BSD stays."""
    for options, at in ((0, 1), (Boolean.SYSV, 3)):
        station = written(b"one", b"two", None, b"three")
        station.op(Op.SETDRVBUFFER, Options.SET_BOOLEANS | options)
        station.read(9)
        station.close()

        assert station.tape.at == at


def test_close_gives_fixed_blocks_back() -> None:
    """Whole blocks that the program has not taken are spaced back over."""
    station = written(b"aaaa", b"bbbb", None)
    station.op(Op.SETBLK, 4)
    station.read(100)
    station.close()

    assert station.tape.at == 2         # before the filemark that ended the read


@pytest.mark.parametrize(("op", "count", "at", "place"), [
    (Op.FSF, 1, 3, (1, 0)), (Op.FSF, 2, 5, (2, 0)), (Op.FSFM, 1, 2, (0, -1)), (Op.FSR, 2, 2, (0, 2)),
    (Op.EOM, 1, 6, (2, -1)), (Op.SEEK, 4, 4, (-1, -1)), (Op.NOP, 1, 0, (0, 0)), (Op.RETEN, 1, 0, (0, 0)),
])
def test_operation_moves(op: int, count: int, at: int, place: tuple[int, int]) -> None:
    """Where each operation leads, and what the driver says of it."""
    station = written(b"a", b"b", None, b"c", None, b"d")
    station.op(op, count)

    assert (station.tape.at, station.place()) == (at, place)


@pytest.mark.parametrize(("op", "count", "at", "place"), [
    (Op.BSF, 1, 4, (1, -1)), (Op.BSFM, 1, 5, (2, 0)), (Op.BSFM, 2, 3, (1, 0)), (Op.REW, 1, 0, (0, 0)),
])
def test_operation_moves_back(op: int, count: int, at: int, place: tuple[int, int]) -> None:
    """The same from the end."""
    station = written(b"a", b"b", None, b"c", None, b"d")
    station.op(Op.EOM)
    station.op(op, count)

    assert (station.tape.at, station.place()) == (at, place)


def test_operation_meets_ends() -> None:
    """Spacing into the beginning, the end, or blocks into a filemark is EIO; the place is known."""
    station = written(b"a", b"b", None, b"c")

    assert refused(station.op, Op.FSR, 3) == errno.EIO
    assert station.place() == (1, 0)
    assert refused(station.op, Op.BSR, 1) == errno.EIO
    assert station.tape.at == 2
    assert refused(station.op, Op.BSF, 1) == errno.EIO
    assert station.gstat() & Gstat.BOT
    assert refused(station.op, Op.FSF, 5) == errno.EIO
    assert station.gstat() & Gstat.EOD


def test_operation_after_write_ends_the_file() -> None:
    """Rewinding after a write writes the filemark first; FSR does not."""
    station = Station()
    station.write(b"data")
    station.op(Op.REW)

    assert station.tape.records == [b"data", None]
    station.close()
    assert station.tape.records == [b"data", None]


def test_operation_marks_and_erase() -> None:
    """WEOF, WEOFI (immediate) and ERASE; on a protected tape EACCES."""
    station = Station()
    station.op(Op.WEOF, 2)
    station.op(Op.WEOFI, 1)
    assert station.tape.cdbs[-1][:2] == b"\x10\x01"
    assert (station.tape.records, station.place()) == ([None] * 3, (3, 0))
    station.op(Op.REW)
    station.op(Op.ERASE, 1)
    assert station.tape.cdbs[-1][:2] == b"\x19\x01"
    assert station.tape.records == []
    station.close()
    station.tape.protected = True
    station.open(flags=os.O_RDONLY)
    assert refused(station.op, Op.WEOF) == errno.EACCES
    assert refused(station.op, Op.ERASE) == errno.EACCES


def test_operation_modes() -> None:
    """SETBLK, SETDENSITY, SETDRVBUFFER, COMPRESSION, LOCK and UNLOCK reach the drive."""
    station = Station()
    for op, count in (
        (Op.SETBLK, 1024), (Op.SETDENSITY, 0x44), (Op.SETDRVBUFFER, 0), (Op.COMPRESSION, 0), (Op.LOCK, 1),
    ):
        station.op(op, count)
    tape = station.tape

    assert (tape.block_size, tape.density, tape.buffered, tape.compression, tape.prevented) == (
        1024, 0x44, 0, 0x40, True,
    )
    station.op(Op.UNLOCK)
    assert not tape.prevented


def test_operation_unload_and_load() -> None:
    """After UNLOAD there is no tape; after LOAD it is a new session at the beginning."""
    station = written(b"a", None)
    station.op(Op.FSF)
    station.op(Op.LOCK)
    station.op(Op.UNLOAD)
    assert station.place() == (-1, -1)
    station.op(Op.LOAD)

    assert station.place() == (0, 0)
    assert station.gstat() & Gstat.ONLINE


@pytest.mark.parametrize("number", [0, 14, 19, 23, 36, 99, -1])
def test_operation_unknown(number: int) -> None:
    """It is ENOSYS."""
    assert refused(Station().op, number) == errno.ENOSYS


def test_reset_makes_the_position_unknown() -> None:
    """After a reset only what finds a position is allowed; all else is EIO."""
    station = written(b"a", b"b")
    station.tape.attentions = [(0x29, 0)]

    assert refused(station.read, 9) == errno.EIO
    assert refused(station.read, 9) == errno.EIO
    assert refused(station.op, Op.FSR) == errno.EIO
    station.op(Op.REW)
    assert station.read(9) == b"a"


def test_position() -> None:
    """MTIOCPOS is READ POSITION; the form that the options say."""
    station = written(b"a", b"b")
    station.op(Op.FSR, 2)
    memory = FakeMemory()
    station.run(station.drive.ioctl(station.handle, memory, MTIOCPOS, BASE))
    assert (memory.read(BASE, 8)[0], station.tape.cdbs[-1][:2]) == (2, b"\x34\x01")
    station.op(Op.SETDRVBUFFER, Options.SET_BOOLEANS | Boolean.SCSI2LOGICAL)
    station.run(station.drive.ioctl(station.handle, memory, MTIOCPOS, BASE))

    assert station.tape.cdbs[-1][:2] == b"\x34\x00"


def test_bad_pointers() -> None:
    """They are EFAULT; another ioctl is ENOTTY; a tape does not seek."""
    station = Station()
    drive, handle = station.drive, station.handle

    for number in (MTIOCTOP, MTIOCPOS, 0x80306D02):
        assert refused(station.run, drive.ioctl(handle, FakeMemory(), number, 8)) == errno.EFAULT
    assert refused(station.run, drive.ioctl(handle, FakeMemory(), 0x5331, 8)) == errno.ENOTTY
    assert refused(station.run, drive.seek(handle, 0, 0)) == errno.ESPIPE
    assert refused(station.run, drive.read(handle, 10, 0)) == errno.ESPIPE


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(
    st.sampled_from(["read", "write", "weof", "fsf", "bsf", "fsr", "bsr", "eom", "rew", "close"]),
    st.integers(1, 4),
), max_size=30))
def test_numbers_are_true(calls: list[tuple[str, int]]) -> None:
    """Whatever is called, a file and block number that the driver claims to know is where the tape stands."""
    station = Station(FakeTape(400))
    operations = {"weof": Op.WEOF, "fsf": Op.FSF, "bsf": Op.BSF, "fsr": Op.FSR, "bsr": Op.BSR, "eom": Op.EOM,
                  "rew": Op.REW}
    for name, count in calls:
        known = station.place()[1] >= 0
        try:
            if name in operations:
                station.op(operations[name], count)
            elif name == "close":
                station.close()
                station.open()
            elif name == "read":
                station.read(count * 8)
            else:
                station.write(bytes(count * 4))
        except Refused:
            if name == "bsr" and not known and not station.tape.at:
                return                  # Linux counts what is left from a number that it does not know
        before = station.tape.records[: station.tape.at]
        file, block = station.place()
        marks = [number for number, record in enumerate(before) if record is None]
        # A filemark that was read ahead is not counted yet.
        if station.drive.part.eof != 1:
            assert file in (-1, len(marks))
            assert block in (-1, len(before) - (marks[-1] + 1 if marks else 0))

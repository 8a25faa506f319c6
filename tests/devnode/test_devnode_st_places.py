"""Where Linux's st says that the tape is, and when it does not know: as seen of Linux 6.1 (test_oracle_linux_st.py)."""

from __future__ import annotations

import errno
import os

from devnode_world import FakeMemory
from test_devnode_st import BASE, refused, written

from scsiemu.services import Outcome
from transports.devnode.st_codes import MTIOCPOS, Boolean, Gstat, Op, Options


def test_read_end_of_data_after_spacing_to_a_file() -> None:
    """Behind the filemark that FSF found a read of the end of data is 0 bytes once; then the block is not known."""
    station = written(b"a", None)
    station.op(Op.FSF)

    assert station.read(10) == b""
    assert station.place() == (1, -1)
    assert station.gstat() & (Gstat.EOD | Gstat.EOF) == Gstat.EOD
    assert refused(station.read, 10) == errno.EIO


def test_operation_without_a_count() -> None:
    """WEOF of no filemarks makes the block number 0, as Linux says it; ERASE leaves both numbers as they are."""
    station = written(b"a", None, b"b")
    station.op(Op.EOM)
    station.op(Op.WEOF, 0)
    assert station.place() == (1, 0)
    station.op(Op.REW)
    station.op(Op.FSF)
    station.op(Op.ERASE)

    assert station.place() == (1, 0)


def test_operation_meets_the_beginning_from_an_unknown_place() -> None:
    """A file number that is not known stays so at the beginning; a block number is counted from -1."""
    station = written(b"a", b"b", None, b"c")
    station.op(Op.SEEK, 1)
    assert refused(station.op, Op.BSF, 3) == errno.EIO
    assert station.place() == (-1, 0)
    station.op(Op.SEEK, 1)
    assert refused(station.op, Op.BSR, 3) == errno.EIO
    assert station.place() == (-1, 1)
    station.op(Op.SEEK, 3)

    assert refused(station.op, Op.BSR, 3) == errno.EIO
    assert station.place() == (-2, -1)


def test_operation_load_leaves_the_place_unknown() -> None:
    """After LOAD there is no unit attention for who asked for it: nothing says that it is another cartridge."""
    station = written(b"a")
    station.op(Op.OFFL)
    station.close()
    station.open(flags=os.O_RDONLY | os.O_NONBLOCK)
    station.tape.loaded, station.tape.answers[0x1B] = True, Outcome(0)
    station.op(Op.LOAD)

    assert station.place() == (-1, -1)
    station.op(Op.REW)
    assert station.place() == (0, 0)


def test_operation_does_not_wait() -> None:
    """With NOWAIT rewinding, locating, erasing, loading and unloading are immediate."""
    station = written(b"a")
    station.op(Op.SETDRVBUFFER, Options.SET_BOOLEANS | Boolean.NOWAIT)
    station.tape.cdbs.clear()
    for op in (Op.REW, Op.SEEK, Op.ERASE, Op.OFFL, Op.LOAD):
        station.op(op, 0)

    assert [(cdb[0], cdb[1] & 3) for cdb in station.tape.cdbs if cdb[0] in (0x01, 0x2B, 0x19, 0x1B)] == [
        (0x01, 1), (0x2B, 1), (0x19, 2), (0x1B, 1), (0x1B, 1),
    ]


def test_open_meets_an_error() -> None:
    """An error other than an attention or a drive that is not ready is EIO, even with O_NONBLOCK; the place stays."""
    station = written(b"a", b"b")
    station.read(10)
    station.close()
    station.tape.answers[0x00] = Outcome(2, bytes((0x71, 0, 8, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0)))
    assert refused(station.open, "/dev/nst0", os.O_RDONLY | os.O_NONBLOCK) == errno.EIO
    del station.tape.answers[0x00]
    station.open()

    assert station.place() == (0, 1)


def test_position_at_the_beginning() -> None:
    """MTIOCPOS finds the beginning of the tape, where file and block are known again."""
    station = written(b"a", b"b")
    station.op(Op.SEEK, 1)
    assert refused(station.op, Op.BSF) == errno.EIO
    assert station.place() == (-1, 0)
    station.run(station.drive.ioctl(station.handle, FakeMemory(), MTIOCPOS, BASE))

    assert station.place() == (0, 0)


def test_read_end_of_data_behind_filemarks_of_our_own() -> None:
    """Behind a filemark of MTWEOF the end of data is an error at once; behind that of a close it is 0 bytes first."""
    station = written()
    station.op(Op.WEOF)
    assert refused(station.read, 10) == errno.EIO
    station.op(Op.REW)
    station.write(b"a")
    station.close()
    station.open()

    assert station.read(10) == b""


def test_read_end_of_data_beyond_early_warning() -> None:
    """With EOM the end of data is taken for the end of the medium: 0 bytes, and the block number stays."""
    station = written(b"a", None)
    station.op(Op.FSF)
    station.tape.answers[0x08] = Outcome(2, bytes((0xF0, 0, 0x48, 0, 0, 0, 10, 10, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0)))

    assert station.read(10) == b""
    assert station.place() == (1, 0)
    assert station.gstat() & Gstat.EOD


def test_close_system_v_without_a_next_file() -> None:
    """With SYSV a close after reading goes to the next file; where there is none it is EIO."""
    station = written(b"a", b"b")
    station.op(Op.SETDRVBUFFER, Options.SET_BOOLEANS | Boolean.SYSV)
    station.read(10)

    assert refused(station.close) == errno.EIO

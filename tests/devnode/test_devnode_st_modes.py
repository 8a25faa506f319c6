"""Modes of a tape drive: /dev/nst0l, m and a have options and defaults of their own."""

from __future__ import annotations

import errno

from devnode_world import FakeMemory
from test_devnode_st import BASE, Station, refused

from transports.devnode.st_codes import MTIOCGET, MTIOCPOS, Boolean, Op, Options


def test_modes_are_undefined_at_first() -> None:
    """A node of another mode can be opened, and everything is ENXIO; the first option defines it, as mode 0 is."""
    station = Station()
    station.op(Op.SETDRVBUFFER, Options.DEFAULT_BLOCK_SIZE | 512)
    station.close()
    station.open("/dev/nst0m")
    memory = FakeMemory()
    assert refused(station.write, b"data") == refused(station.read, 5) == refused(station.op, Op.REW) == errno.ENXIO
    for number in (MTIOCGET, MTIOCPOS):
        steps = station.drive.ioctl(station.handle, memory, number, BASE)
        assert refused(station.run, steps) == errno.ENXIO

    station.op(Op.SETDRVBUFFER, Options.DENSITY | 0x44)
    assert (station.tape.density, station.tape.block_size) == (0x44, 512)
    assert [station.drive.attribute(path, "defined") for path in ("/dev/nst0m", "/dev/st0m", "/dev/st0a")] == [
        "1\n", "1\n", "0\n"
    ]
    assert [station.drive.attribute(path, "default_density") for path in ("/dev/nst0m", "/dev/nst0")] == [
        "0x44\n", "-1\n"
    ]


def test_modes_change_the_drive() -> None:
    """Opening a node of another mode sets its block size and density; what MTSETBLK set lasts as long as the mode."""
    station = Station()
    station.op(Op.SETDRVBUFFER, Options.DEFAULT_BLOCK_SIZE | 0)
    station.close()
    station.open("/dev/nst0l")
    station.op(Op.SETDRVBUFFER, Options.DEFAULT_BLOCK_SIZE | 1024)
    station.op(Op.SETDRVBUFFER, Options.SET_BOOLEANS | Boolean.SYSV | Boolean.TWO_FM)
    station.close()
    sizes = []
    for path in ("/dev/nst0", "/dev/nst0l", "/dev/st0l"):
        station.open(path)
        sizes.append(station.tape.block_size)
        if path == "/dev/nst0l":
            station.op(Op.SETBLK, 2048)
        sizes.append(station.tape.block_size)
        station.close()
    station.open("/dev/nst0")

    assert sizes == [0, 0, 1024, 2048, 2048, 2048]
    assert station.tape.block_size == 0
    # The way of closing is the mode's, the number of filemarks the drive's.
    assert [station.drive.attribute(path, "options") for path in ("/dev/nst0", "/dev/nst0l")] == [
        "0x00000117\n", "0x00001117\n"
    ]


def test_modes_defaults_for_writes() -> None:
    """With MT_ST_DEF_WRITES the defaults count at the first write from the beginning of the tape on, not before."""
    station = Station()
    station.op(Op.SETDRVBUFFER, Options.SET_BOOLEANS | Boolean.DEF_WRITES)
    station.tape.attentions.append((0x28, 0))
    station.drive.modes[0].block_size = 512         # as an option set it that was there before the cartridge
    station.close()
    station.open()
    before = station.tape.block_size
    assert refused(station.write, b"x") == errno.EINVAL
    assert station.write(bytes(1024)) == 1024

    assert (before, station.tape.block_size, station.tape.records) == (0, 512, [bytes(512)] * 2)


def test_modes_compression() -> None:
    """The default is set at once, and again at the first write of a tape, but not over MTCOMPRESSION."""
    station = Station()
    station.op(Op.SETDRVBUFFER, Options.COMPRESSION | 1)
    assert station.tape.compression & 0x80
    station.tape.compression = 0x40
    station.close()
    station.tape.attentions.append((0x28, 0))
    station.open()
    assert not station.tape.compression & 0x80
    station.write(b"data")
    assert station.tape.compression & 0x80
    station.op(Op.REW)
    station.op(Op.COMPRESSION, 0)
    station.write(b"data")

    assert not station.tape.compression & 0x80

"""A tape by its commands: CDBs from the standard's tables, and what sense data must say."""

from __future__ import annotations

import struct
from time import monotonic, sleep
from typing import Final

from conformance import Answer, ConformanceUnit

from scsiemu.sam import Status
from scsiemu.sense import SenseCode, SenseKey

__all__ = [
    "BLOCKS", "END", "FILE", "MARKS", "OBJECT", "SEQUENTIAL", "TEST_UNIT_READY", "Tape", "block", "erase", "erase16",
    "format_medium", "inquiry", "load", "locate10", "locate16", "log_sense", "mode_select", "mode_sense",
    "mode_sense10", "mode_subpage", "prevent", "read", "read16", "read_attribute", "read_position", "report_density",
    "reverse", "reverse16", "rewind", "space", "space16", "verify", "verify16", "write", "write16",
    "write_marks", "write_marks16",
]

TEST_UNIT_READY: Final = bytes(6)

# CODE of SPACE; DEST_TYPE of LOCATE(16).
BLOCKS, MARKS, SEQUENTIAL, END = 0, 1, 2, 3
OBJECT, FILE = 0, 1

_PATIENCE: Final = 30.0


def _six(opcode: int, flags: int, count: int) -> bytes:
    return bytes((opcode, flags)) + (count & 0xFFFFFF).to_bytes(3, "big") + b"\0"


def _sixteen(opcode: int, flags: int, where: tuple[int, int], count: int) -> bytes:
    return struct.pack(">BBxBQ", opcode, flags, *where) + count.to_bytes(3, "big") + b"\0"


def read(length: int, *, fixed: int = 0, sili: int = 0) -> bytes:
    """READ(6)."""
    return _six(0x08, sili << 1 | fixed, length)


def read16(where: tuple[int, int], length: int, *, fixed: int = 0, sili: int = 0) -> bytes:
    """READ(16) of a partition and logical object identifier."""
    return _sixteen(0x88, sili << 1 | fixed, where, length)


def reverse(length: int, *, fixed: int = 0, sili: int = 0, bytord: int = 1) -> bytes:
    """READ REVERSE(6)."""
    return _six(0x0F, bytord << 2 | sili << 1 | fixed, length)


def reverse16(where: tuple[int, int], length: int, *, fixed: int = 0, sili: int = 0, bytord: int = 1) -> bytes:
    """READ REVERSE(16)."""
    return _sixteen(0x81, bytord << 2 | sili << 1 | fixed, where, length)


def write(length: int, *, fixed: int = 0) -> bytes:
    """WRITE(6)."""
    return _six(0x0A, fixed, length)


def write16(where: tuple[int, int], length: int, *, fixed: int = 0) -> bytes:
    """WRITE(16)."""
    return _sixteen(0x8A, fixed, where, length)


def verify(length: int, *, fixed: int = 0, bytcmp: int = 0, immed: int = 0, vbf: int = 0, vte: int = 0) -> bytes:
    """VERIFY(6)."""
    return _six(0x13, vte << 5 | vbf << 3 | immed << 2 | bytcmp << 1 | fixed, length)


def verify16(where: tuple[int, int], length: int, *, fixed: int = 0, bytcmp: int = 0) -> bytes:
    """VERIFY(16)."""
    return _sixteen(0x8F, bytcmp << 1 | fixed, where, length)


def write_marks(count: int, *, immed: int = 0) -> bytes:
    """WRITE FILEMARKS(6)."""
    return _six(0x10, immed, count)


def write_marks16(where: tuple[int, int], count: int, *, immed: int = 0) -> bytes:
    """WRITE FILEMARKS(16)."""
    return _sixteen(0x80, immed, where, count)


def erase(*, long: int = 0, immed: int = 0) -> bytes:
    """ERASE(6)."""
    return _six(0x19, immed << 1 | long, 0)


def erase16(where: tuple[int, int], *, long: int = 0) -> bytes:
    """ERASE(16)."""
    return _sixteen(0x93, long, where, 0)


def space(code: int, count: int = 0) -> bytes:
    """SPACE(6)."""
    return _six(0x11, code, count)


def space16(code: int, count: int = 0) -> bytes:
    """SPACE(16)."""
    return struct.pack(">BBxxqHxx", 0x91, code, count, 0)


def locate10(number: int, *, partition: int | None = None, bt: int = 0, immed: int = 0) -> bytes:
    """LOCATE(10); with a partition CP is set."""
    change = partition is not None
    return struct.pack(">BBxIxBx", 0x2B, bt << 2 | change << 1 | immed, number, partition or 0)


def locate16(number: int, *, kind: int = OBJECT, partition: int | None = None, bam: int = 0, immed: int = 0) -> bytes:
    """LOCATE(16)."""
    change = partition is not None
    return struct.pack(">BBBBQxxxx", 0x92, kind << 3 | change << 1 | immed, bam, partition or 0, number)


def rewind(*, immed: int = 0) -> bytes:
    """REWIND."""
    return _six(0x01, immed, 0)


def read_position(form: int = 0, allocation: int = 0) -> bytes:
    """READ POSITION: short 00h, long 06h, extended 08h."""
    return struct.pack(">BB5xHx", 0x34, form, allocation)


def load(*, load: int = 1, hold: int = 0, eot: int = 0, reten: int = 0, immed: int = 0) -> bytes:
    """LOAD UNLOAD."""
    return bytes((0x1B, immed, 0, 0, hold << 3 | eot << 2 | reten << 1 | load, 0))


def prevent(value: int) -> bytes:
    """PREVENT ALLOW MEDIUM REMOVAL."""
    return bytes((0x1E, 0, 0, 0, value, 0))


def format_medium(kind: int = 0, *, immed: int = 0, verify: int = 0) -> bytes:
    """FORMAT MEDIUM."""
    return bytes((0x04, verify << 1 | immed, kind, 0, 0, 0))


def mode_sense(page: int, *, control: int = 0, dbd: int = 0, length: int = 0xFF, subpage: int = 0) -> bytes:
    """MODE SENSE(6)."""
    return bytes((0x1A, dbd << 3, control << 6 | page, subpage, length, 0))


def mode_sense10(page: int, *, control: int = 0, dbd: int = 0, length: int = 0xFFFF, subpage: int = 0) -> bytes:
    """MODE SENSE(10)."""
    return struct.pack(">BBBBxxxHx", 0x5A, dbd << 3, control << 6 | page, subpage, length)


def mode_select(length: int, *, pf: int = 1, sp: int = 0) -> bytes:
    """MODE SELECT(6)."""
    return bytes((0x15, pf << 4 | sp, 0, 0, length, 0))


def mode_subpage(page: int, subpage: int, data: bytes) -> bytes:
    """A mode page with a subpage, for MODE SELECT."""
    return struct.pack(">BBH", 0x40 | page, subpage, len(data)) + data


def log_sense(page: int, *, subpage: int = 0, control: int = 1, length: int = 0xFFFF, parameter: int = 0) -> bytes:
    """LOG SENSE, of cumulative values unless told otherwise."""
    return struct.pack(">BBBBxHHx", 0x4D, 0, control << 6 | page, subpage, parameter, length)


def inquiry(page: int | None = None, length: int = 0xFFFF) -> bytes:
    """INQUIRY; with a page EVPD is set."""
    return struct.pack(">BBBHx", 0x12, page is not None, page or 0, length)


def report_density(*, media: int = 0, medium_type: int = 0, length: int = 0xFFFF) -> bytes:
    """REPORT DENSITY SUPPORT."""
    return struct.pack(">BB5xHx", 0x44, medium_type << 1 | media, length)


def read_attribute(action: int, *, first: int = 0, partition: int = 0, length: int = 0xFFFF) -> bytes:
    """READ ATTRIBUTE."""
    return struct.pack(">BB5xBHIxx", 0x8C, action, partition, first, length)


def block(number: int, length: int = 64) -> bytes:
    """A block that no other number has."""
    return ((number + 1).to_bytes(4, "big") * (length // 4 + 1))[:length]


class Tape:
    """The tape in the unit under test."""

    def __init__(self, unit: ConformanceUnit) -> None:
        self.unit = unit

    # --- the state that each case begins with ------------------------------------------------------------------

    def prepare(self) -> None:
        """Blank, one partition, variable blocks, buffered, at the beginning."""
        unit = self.unit
        unit.attentions()
        unit.execute(prevent(0))
        self.settle()
        if not unit.execute(TEST_UNIT_READY).good:
            unit.execute(load())
            self.settle()
        unit.attentions()
        if self.unit.execute(mode_sense(0, length=4), data_in=4).good:
            self.set_mode()
        if self.partitions > 1:
            unit.good(locate10(0, partition=0))
            unit.good(format_medium())
        unit.good(rewind())
        # ERASE is mandatory, but there are targets without it.
        if not unit.execute(erase()).good:
            unit.execute(format_medium())

    def settle(self, unit: ConformanceUnit | None = None) -> None:
        """Wait until nothing goes on any more."""
        until = monotonic() + _PATIENCE
        while monotonic() < until:
            code = (unit or self.unit).execute(TEST_UNIT_READY).code
            if code is None or code.key != SenseKey.NOT_READY or code.asc != 0x04:
                return
            sleep(0.01)
        raise AssertionError("not ready for too long")

    def set_mode(self, length: int = 0, *, buffered: int = 1, density: int = 0) -> None:
        """BLOCK LENGTH and BUFFERED MODE by MODE SELECT."""
        data = bytes((0, 0, buffered << 4, 8, density, 0, 0, 0, 0)) + length.to_bytes(3, "big")
        self.unit.good(mode_select(len(data)), data)

    @property
    def partitions(self) -> int:
        """How many there are: additional partitions defined of the medium partition page, and one."""
        answer = self.unit.execute(mode_sense(0x11, dbd=1), data_in=255)
        return answer.data[4 + 3] + 1 if answer.good else 1

    # --- what cases do -----------------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """One variable block."""
        self.unit.good(write(len(data)), data)

    def mark(self, count: int = 1) -> None:
        """Filemarks."""
        self.unit.good(write_marks(count))

    def lay(self, *things: int | None) -> None:
        """From the beginning: blocks of so many bytes, filemarks for None; and back to the beginning."""
        self.unit.good(rewind())
        for number, thing in enumerate(things):
            if thing is None:
                self.mark()
            else:
                self.write(block(number, thing))
        self.unit.good(rewind())

    def read(self, length: int, *, sili: int = 0) -> bytes:
        """One variable block."""
        return self.unit.good(read(length, sili=sili), data_in=length)

    def stopped(
        self, cdb: bytes, code: SenseCode, data_out: bytes = b"", data_in: int = 0, *, information: int | None = None,
        bits: str = "",
    ) -> Answer:
        """A command that must end with CHECK CONDITION, this code, exactly these bits (F filemark, E end of medium, I
        incorrect length), and INFORMATION where it is named: signed."""
        answer = self.unit.execute(cdb, data_out, data_in)
        assert answer.status == Status.CHECK_CONDITION, f"CDB {cdb.hex()}: {answer}"
        sense = answer.sense
        assert sense is not None
        assert sense.code == code, f"CDB {cdb.hex()}: {answer}, expected {code}"
        there = (sense.filemark, sense.eom, sense.ili)
        assert "".join(name for name, bit in zip("FEI", there, strict=True) if bit) == bits
        if information is not None:
            assert sense.information is not None, "VALID is not set"
            assert sense.information & 0xFFFFFFFF == information & 0xFFFFFFFF
        return answer

    def where(self) -> tuple[int, int, int]:
        """Partition, logical object identifier and logical file identifier, by the long form."""
        data = self.unit.good(read_position(6), data_in=32)
        return struct.unpack(">4xIQQ8x", data)

    def at(self) -> int:
        """The logical object identifier."""
        return self.where()[1]

    def page(self, page: int, *, control: int = 0, subpage: int = 0) -> bytes:
        """A mode page, from its page code on."""
        data = self.unit.good(mode_sense10(page, control=control, dbd=1, subpage=subpage), data_in=0xFFFF)
        return data[8:]

    def supports(self, cdb: bytes) -> bool:
        """Whether REPORT SUPPORTED OPERATION CODES knows the command (of its opcode, without service action)."""
        asked = struct.pack(">BBBBHIxx", 0xA3, 0x0C, 1, cdb[0], 0, 4)
        answer = self.unit.execute(asked, data_in=4)
        return answer.good and answer.data[1] & 7 in (3, 5)

    def need(self, cdb: bytes) -> None:
        """End a case where the target has not the command."""
        if not self.supports(cdb):
            self.unit.not_supported(f"opcode {cdb[0]:02X}h is not supported")

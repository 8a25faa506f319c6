"""The state of a tape drive as the Linux driver keeps it, and the commands that change the position.

Names and rules are those of drivers/scsi/st.c; the counts of files and blocks are the driver's own, -1 for unknown.
"""

from __future__ import annotations

import errno
from enum import IntEnum
from typing import Final

from scsiemu.sense import SenseKey
from transports.devnode.driver import Answer, Steps, answer_of
from transports.devnode.request import HostStatus, Refused, ScsiTask
from transports.devnode.st_codes import Boolean, Op
from transports.devnode.st_statistics import TapeStatistics

__all__ = ["Eof", "Partition", "Ready", "Rw", "TapeMode", "TapeState", "mode_header"]

_MOST_PARTITIONS: Final = 4
_MOST_MODES: Final = 4
_BLOCK_SIZE_MASK: Final = 0xFFFFFF
_TO_EOD_COUNT: Final = 0x7FFFFF
_SHORT: Final = 900.0
_LONG: Final = 14000.0
_RESET_ASC: Final = 0x29
_CHANGED_ASC: Final = 0x28

_TEST_UNIT_READY, _REZERO, _WRITE_FILEMARKS, _SPACE, _MODE_SELECT = 0x00, 0x01, 0x10, 0x11, 0x15
_ERASE, _MODE_SENSE, _LOAD_UNLOAD, _PREVENT, _LOCATE, _READ_POSITION = 0x19, 0x1A, 0x1B, 0x1E, 0x2B, 0x34


class Ready(IntEnum):
    """What the last look at the drive said."""

    READY = 0
    NOT_READY = 1
    NO_TAPE = 2


class Rw(IntEnum):
    """What was done last."""

    IDLE = 0
    READING = 1
    WRITING = 2


class Eof(IntEnum):
    """Where we stand with regard to marks and ends. The order matters: from EOM_OK on it is the end of something."""

    NOEOF = 0
    FM_HIT = 1          # a filemark was read that the program has not seen yet
    FM = 2              # behind a filemark
    EOM_OK = 3          # early warning: the next write is ENOSPC
    EOM_ERROR = 4
    EOM = 5             # after that ENOSPC: writes are allowed
    EOD_1 = 6
    EOD_2 = 7
    EOD = 8


class Partition:
    """What is kept for each partition."""

    def __init__(self) -> None:
        self.rw = Rw.IDLE
        self.eof = Eof.NOEOF
        self.at_setmark = False
        self.last_block: int | None = None
        self.block = 0
        self.file = 0


class TapeMode:
    """What the administrator has set for the nodes of one mode: /dev/stN, /dev/stNl, /dev/stNm, /dev/stNa.

    Attributes:
        defined: without, the nodes can be opened to set options, and for nothing else.
        options: those of `OF_MODE`.
        block_size, density, compression: defaults; None where the drive's are left.
    """

    OF_MODE: Final = (
        Boolean.BUFFER_WRITES | Boolean.ASYNC_WRITES | Boolean.READ_AHEAD | Boolean.DEF_WRITES | Boolean.SYSV
    )

    def __init__(self) -> None:
        self.defined = False
        self.options = Boolean.BUFFER_WRITES | Boolean.ASYNC_WRITES | Boolean.READ_AHEAD
        self.block_size: int | None = None
        self.density: int | None = None
        self.compression: bool | None = None

    def define_as(self, other: TapeMode) -> None:
        """The same settings, to begin with."""
        self.defined = True
        self.options = other.options
        self.block_size, self.density, self.compression = other.block_size, other.density, other.compression


# SPACE: code and sign of each operation, and whether the state of filemarks is to be forgotten.
_SPACING: Final = {
    Op.FSF: (1, 1), Op.FSFM: (1, 1), Op.BSF: (1, -1), Op.BSFM: (1, -1), Op.FSR: (0, 1), Op.BSR: (0, -1),
    Op.FSS: (4, 1), Op.BSS: (4, -1),
}


class TapeState:
    """State and commands; the calls of programs are in st.py.

    Args:
        unit: what the host calls the unit.
    """

    def __init__(self, unit: int) -> None:
        self.unit = unit
        self.now = 0.0
        self.drive_options = Boolean.CAN_BSR
        self.modes = [TapeMode() for _ in range(_MOST_MODES)]
        self.modes[0].defined = True
        self.mode_number = 0
        self.modes_defined = False      # of 1 to 3 any ever was
        self.ready = Ready.NOT_READY
        self.position_unknown = False
        self.write_protected = False
        self.density = 0
        self.block_size = 0
        self.drive_buffer = 0
        self.least_block = 0
        self.most_block = 0
        self.partitions = [Partition() for _ in range(_MOST_PARTITIONS)]
        self.partition = 0
        self.new_partition = 0
        self.partition_count = 0
        self.door_locked = False
        self.recovered = 0
        self.cleaning = False
        self.buffer = b""               # of a fixed-block read: what the program has not taken yet
        self.timeout = _SHORT
        self.long_timeout = _LONG
        self.statistics = TapeStatistics()

    @property
    def part(self) -> Partition:
        """Where the tape stands."""
        return self.partitions[self.partition]

    @property
    def mode(self) -> TapeMode:
        """That of the node by which the drive was opened last."""
        return self.modes[self.mode_number]

    def has(self, option: Boolean) -> bool:
        """Whether an option is set, of the drive or of the mode."""
        return bool((self.drive_options | self.mode.options) & option)

    # --- commands ----------------------------------------------------------------------------------------------

    def execute(
        self, cdb: tuple[int, ...], data_out: bytes = b"", data_in: int = 0, *, long: bool = False
    ) -> Steps[Answer]:
        """Execute a command; keep what its sense data tells of the drive."""
        raw = bytes(cdb)
        seconds = self.long_timeout if long else self.timeout
        counts, began = self.statistics.counts, self.now
        counts["in_flight"] += 1
        try:
            outcome = yield ScsiTask(self.unit, raw.ljust(_length(raw[0]), b"\0"), data_out, data_in, seconds)
        finally:
            counts["in_flight"] -= 1
        answer = answer_of(outcome)
        wanted = data_in or len(data_out)
        moved = len(answer.data) if data_in else len(data_out) - outcome.data_out_residual
        if outcome.host_status != HostStatus.OK:
            moved = 0
        self.statistics.ended(raw[0], self.now - began, wanted, min(moved, wanted))
        if answer.key == SenseKey.RECOVERED_ERROR:
            self.recovered += 1
        if answer.asc[0] == 0 and answer.asc[1] == 0x17:
            self.cleaning = True
        if answer.key == SenseKey.UNIT_ATTENTION and answer.asc[0] in (_RESET_ASC, _CHANGED_ASC):
            self.position_unknown = True
        return answer

    def mode_sense(self, page: int) -> Steps[bytes]:
        """Header, block descriptor and page. Raises Refused."""
        answer = yield from self.execute((_MODE_SENSE, 0, page, 0, 255), data_in=255)
        if not answer.good or len(answer.data) < 12:
            raise Refused(errno.EIO)
        return answer.data

    def mode_select(self, parameters: bytes) -> Steps[Answer]:
        """MODE SELECT(6) with PF."""
        return (yield from self.execute((_MODE_SELECT, 0x10, 0, 0, len(parameters)), parameters))

    def mode_header(self) -> bytes:
        """What goes before a page in MODE SELECT(6): all as it is."""
        return mode_header(self.block_size, self.density, self.drive_buffer)

    def set_mode(self, *, block_size: int, density: int, drive_buffer: int) -> Steps[bool]:
        """The block descriptor and BUFFERED MODE; whether the drive has taken them."""
        answer = yield from self.mode_select(mode_header(block_size, density, drive_buffer))
        if answer.good:
            self.block_size, self.density, self.drive_buffer = block_size, density, drive_buffer
        return answer.good

    def locate(self, block: int, partition: int, *, logical: bool) -> Steps[None]:
        """LOCATE(10). Raises Refused."""
        change = partition != self.partition
        flags = (0 if logical or self.has(Boolean.SCSI2LOGICAL) else 4) | (2 if change else 0)
        flags |= int(self.has(Boolean.NOWAIT))
        if change:
            found = yield from self.position(logical=True)
            self.part.last_block = found[0] if found is not None else None
        answer = yield from self.execute(
            (_LOCATE, flags, 0, *(block & 0xFFFFFFFF).to_bytes(4, "big"), 0, partition if change else 0), long=True
        )
        part = self.part
        part.block = part.file = -1
        part.eof = Eof.NOEOF
        part.at_setmark = False
        if change and answer.good:
            self.partition = partition
            part = self.part
        if not answer.good:
            raise Refused(errno.EIO)
        if not block:
            part.block = part.file = 0
        elif change:
            part.block = part.file = -1
        part.eof = Eof.NOEOF

    def position(self, *, logical: bool) -> Steps[tuple[int, int] | None]:
        """Block and partition by READ POSITION; None where the drive does not know them."""
        vendor = 0 if logical or self.has(Boolean.SCSI2LOGICAL) else 1
        answer = yield from self.execute((_READ_POSITION, vendor), data_in=20)
        data = answer.data
        if not answer.good or len(data) < 12 or data[0] & 0x04:
            return None
        if data[0] & 0x80 and not data[1]:          # BOP of partition 0: that is known then
            self.part.block = self.part.file = 0
        return int.from_bytes(data[4:8], "big"), data[1]

    def switch_partition(self) -> Steps[None]:
        """Go where SETPART said. Raises Refused."""
        if not self.has(Boolean.CAN_PARTITIONS) or self.partition == self.new_partition:
            return
        wanted = self.new_partition
        yield from self.locate(self.partitions[wanted].last_block or 0, wanted, logical=True)

    def prevent(self, *, lock: bool) -> Steps[bool]:
        """PREVENT ALLOW MEDIUM REMOVAL; whether the drive obeyed."""
        answer = yield from self.execute((_PREVENT, 0, 0, 0, int(lock)))
        if answer.good:
            self.door_locked = lock
        return answer.good

    def load(self, load: int, *, page: int = 0) -> Steps[bool]:
        """LOAD UNLOAD, of a cartridge of the loader where `page` says one."""
        immediate = int(self.has(Boolean.NOWAIT))
        return (yield from self.execute((_LOAD_UNLOAD, immediate, 0, page, load), long=True)).good

    # --- motion ------------------------------------------------------------------------------------------------

    def back_over_filemark(self, *, forward: bool = False) -> Steps[bool]:
        """SPACE one filemark; whether it went."""
        count = 1 if forward else 0xFFFFFF
        answer = yield from self.execute((_SPACE, 1, *count.to_bytes(3, "big")), long=True)
        return answer.good

    def move(self, op: Op, count: int) -> Steps[None]:
        """An operation that is one command. Raises Refused."""
        if self.ready != Ready.READY:
            raise Refused(errno.ENOMEDIUM if self.ready == Ready.NO_TAPE else errno.EIO)
        if op in _SPACING:
            yield from self._space(op, count)
        elif op in (Op.WEOF, Op.WEOFI, Op.WSM):
            yield from self._write_marks(op, count)
        elif op == Op.EOM:
            yield from self._to_end()
        elif op in (Op.REW, Op.RETEN, Op.ERASE):
            yield from self._to_start(op, count)

    def _space(self, op: Op, count: int) -> Steps[None]:
        code, sign = _SPACING[op]
        if not -(1 << 23) <= sign * count < 1 << 23:
            raise Refused(errno.EINVAL)
        answer = yield from self.execute((_SPACE, code, *(sign * count & 0xFFFFFF).to_bytes(3, "big")), long=True)
        part = self.part
        if answer.good:
            if code == 1:
                if part.file >= 0:
                    part.file += sign * count
                part.block = 0 if sign > 0 else -1
            elif code == 0:
                if part.block >= 0:
                    part.block += sign * count
            elif count:
                part.file = part.block = -1
            part.at_setmark = code == 4 if count else part.at_setmark
            if op not in (Op.FSFM, Op.BSFM):
                part.eof = Eof.FM if op == Op.FSF else Eof.NOEOF
            if op in (Op.FSFM, Op.BSFM):
                yield from self._space(Op.BSF if op == Op.FSFM else Op.FSF, 1)
            return
        self._missed(op, count, answer)
        raise Refused(errno.EIO)

    def _missed(self, op: Op, count: int, answer: Answer) -> None:
        """SPACE has not gone all the way: where are we?"""
        part = self.part
        undone = abs(answer.residual or 0)
        # Counting goes on from numbers that are not known, as it does there: -1 stands for them, and what is less.
        before = part.block
        if answer.sense is not None and answer.sense.eom:
            if op not in (Op.BSF, Op.BSFM, Op.BSR, Op.BSS):
                part.eof = Eof.EOM_OK
            part.block = 0
        filemark = answer.sense is not None and answer.sense.filemark
        match op:
            case Op.FSF | Op.FSFM:
                part.file += count - undone if part.file >= 0 else 0
                part.block = -1
                part.eof = Eof.NOEOF
            case Op.BSF | Op.BSFM:
                part.file -= count - undone if part.file >= 0 else 0
                part.block = 0
                part.eof = Eof.NOEOF
            case Op.FSR if filemark:
                part.file += part.file >= 0
                part.block = 0
                part.eof = Eof.FM
            case Op.FSR:
                part.block = before + count - undone if before >= 0 and before + count >= undone else -1
                part.eof = Eof.NOEOF
            case Op.BSR if filemark:
                part.file -= 1
                part.block = -1
                part.eof = Eof.NOEOF
            case Op.BSR:
                if part.block >= 0:
                    part.block = before - (count if before >= 0 else 0) + undone
                part.eof = Eof.NOEOF
            case _:
                part.block = part.file = -1
        if answer.sense is None:
            part.block = part.file = -1
        if answer.key == SenseKey.BLANK_CHECK:
            part.eof = Eof.EOD

    def _write_marks(self, op: Op, count: int) -> Steps[None]:
        if self.write_protected:
            raise Refused(errno.EACCES)
        if not 0 <= count < 1 << 24:
            raise Refused(errno.EINVAL)
        immediate = op == Op.WEOFI or (op == Op.WEOF and self.has(Boolean.NOWAIT_EOF))
        flags = (2 if op == Op.WSM else 0) | immediate
        answer = yield from self.execute((_WRITE_FILEMARKS, flags, *count.to_bytes(3, "big")))
        part = self.part
        undone = answer.residual or 0
        at_end = answer.sense is not None and answer.sense.eom
        written = answer.good or (at_end and answer.key in (SenseKey.NO_SENSE, SenseKey.RECOVERED_ERROR))
        done = count if written else max(0, count - undone)
        if op != Op.WSM:
            if part.file >= 0:
                part.file += done
            if done or answer.good:
                part.block = 0
        part.at_setmark = op == Op.WSM and written and bool(done)
        if written:
            part.eof = Eof.EOM_OK if at_end else Eof.NOEOF
            return
        part.eof = Eof.NOEOF
        raise Refused(errno.EIO)

    def _to_end(self) -> Steps[None]:
        part = self.part
        known = -1
        if not self.has(Boolean.FAST_MTEOM):
            # So as to count the filemarks; it ends at EOD.
            try:
                yield from self._space(Op.FSF, _TO_EOD_COUNT)
            except Refused:
                known = part.file
                if part.eof >= Eof.EOD_1:
                    return
        answer = yield from self.execute((_SPACE, 3), long=True)
        part.file, part.block = (known if answer.good else -1), -1
        part.eof = Eof.EOD
        if not answer.good:
            raise Refused(errno.EIO)

    def _to_start(self, op: Op, count: int) -> Steps[None]:
        immediate = 1 if self.has(Boolean.NOWAIT) else 0
        if op == Op.ERASE and self.write_protected:
            raise Refused(errno.EACCES)
        cdb = {
            Op.REW: (_REZERO, immediate), Op.RETEN: (_LOAD_UNLOAD, immediate, 0, 0, 3),
            Op.ERASE: (_ERASE, immediate << 1 | (count != 0)),
        }[op]
        answer = yield from self.execute(cdb, long=True)
        part = self.part
        if not answer.good:
            part.file = part.block = -1
            if answer.key == SenseKey.BLANK_CHECK:
                part.eof = Eof.EOD
            raise Refused(errno.EIO)
        if op != Op.ERASE:              # that leaves the tape where it is
            part.file = part.block = 0
            part.at_setmark = False
        part.eof = Eof.NOEOF
        self.buffer = b""


def mode_header(block_size: int, density: int, drive_buffer: int) -> bytes:
    """Header and block descriptor of MODE SELECT(6)."""
    return bytes((0, 0, drive_buffer << 4, 8, density, 0, 0, 0, 0)) + block_size.to_bytes(3, "big")


def _length(operation: int) -> int:
    return (6, 10, 10, 12, 16, 12, 10, 10)[operation >> 5]

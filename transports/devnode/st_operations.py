"""MTIOCTOP: the operations of mt(1), each in commands to the drive (st_ioctl of drivers/scsi/st.c)."""

from __future__ import annotations

import errno
from contextlib import suppress
from typing import Final

from transports.devnode.driver import Steps
from transports.devnode.request import Refused
from transports.devnode.st_codes import Boolean, Op, Options
from transports.devnode.st_session import PARTITION_PAGE, TapeHandle, TapeSession, mode_page
from transports.devnode.st_state import Eof, Ready, Rw

__all__ = ["TapeOperations"]

_LOADER_OFFSET: Final = 10000                   # MT_ST_HPLOADER_OFFSET
_DEFAULT: Final = 0xFFFFF
_FORMAT_MEDIUM: Final = 0x04
# Byte 4 of the medium partition page: IDP, PSUM, POFM.
_IDP: Final = 0x20
_PSUM: Final = 0x18
_POFM: Final = 0x04
_MEGABYTES, _UNITS = 0x10, 0x18
_GIGA: Final = 9                                # PARTITION UNITS: exponent of ten
_THE_REST: Final = 0xFFFF
_OPERATIONS: Final = frozenset(Op) - {Op.RESET, Op.TELL}

# Operations of which the buffer of a read needs no spacing back: they go elsewhere anyway.
_ELSEWHERE: Final = frozenset({
    Op.REW, Op.OFFL, Op.RETEN, Op.EOM, Op.LOCK, Op.LOAD, Op.FSF, Op.FSFM, Op.BSF, Op.BSFM, Op.COMPRESSION,
})
_STAYS: Final = frozenset({Op.NOP, Op.SETBLK, Op.SETDENSITY, Op.WSM, Op.SETDRVBUFFER, Op.SETPART})
_ENDS_FILE: Final = frozenset({Op.REW, Op.OFFL, Op.RETEN, Op.SEEK, Op.BSF, Op.BSFM, Op.UNLOAD})
_FINDS_POSITION: Final = frozenset({Op.REW, Op.OFFL, Op.RETEN, Op.ERASE, Op.SEEK, Op.EOM})


class TapeOperations(TapeSession):
    """See the module."""

    def operate(self, handle: TapeHandle, number: int, count: int) -> Steps[None]:
        """MTIOCTOP. Raises Refused."""
        if number == Op.SETDRVBUFFER and count & Options.MASK:
            yield from self._set_options(count & 0xFFFFFFFF)
            return
        # Linux lets every operation pass whose count looks like options; of these only those do something there.
        if number != Op.SETDRVBUFFER:
            self.must_be_defined()
        if number not in _OPERATIONS:
            raise Refused(errno.ENOSYS)
        op = Op(number)
        if self.position_unknown:
            if op not in _FINDS_POSITION:
                raise Refused(errno.EIO)
            self.position_unknown = False
            self.buffer = b""
        else:
            count = yield from self._before(op, count)
        if op not in _STAYS:
            self.part.rw = Rw.IDLE
        yield from self._operate(handle, op, count)

    def _before(self, op: Op, count: int) -> Steps[int]:
        """What reading and writing left to be done first; the count, with filemarks read ahead."""
        part = self.part
        if part.eof == Eof.FM_HIT and op in (Op.FSF, Op.FSFM, Op.EOM, Op.BSF, Op.BSFM):
            count += 1 if op in (Op.BSF, Op.BSFM) else -1
            part.file += part.file >= 0
            part.eof = Eof.FM
        seek_away = op == Op.SEEK and self.new_partition == self.partition
        yield from self.drop_buffer(elsewhere=op in _ELSEWHERE or seek_away)
        if part.rw == Rw.WRITING and op in _ENDS_FILE:
            yield from self.move(Op.WEOF, 1)
            count += op in (Op.BSF, Op.BSFM)
            part.rw = Rw.IDLE
        return count

    def _operate(self, handle: TapeHandle, op: Op, count: int) -> Steps[None]:
        match op:
            case Op.NOP:
                return
            case Op.SETPART:
                yield from self._set_partition(count)
            case Op.MKPART:
                yield from self._make_partitions(count)
            case Op.SEEK:
                self.must_be_ready()
                wanted = self.new_partition if self.has(Boolean.CAN_PARTITIONS) else self.partition
                yield from self.locate(count, wanted, logical=False)
            case Op.OFFL | Op.UNLOAD | Op.LOAD:
                yield from self._load_unload(handle, op, count)
            case Op.LOCK | Op.UNLOCK:
                if not (yield from self.prevent(lock=op == Op.LOCK)):
                    raise Refused(errno.EIO)
            case Op.COMPRESSION:
                self.must_be_ready()
                yield from self.compress(on=bool(count & 1))
            case Op.SETBLK | Op.SETDENSITY | Op.SETDRVBUFFER:
                yield from self._set_mode_field(op, count)
            case _:
                yield from self.switch_partition()
                yield from self.move(op, count)

    def _set_mode_field(self, op: Op, count: int) -> Steps[None]:
        self.must_be_ready()
        if self.buffer:
            raise Refused(errno.EIO)
        size, density, buffered = self.block_size, self.density, self.drive_buffer
        self.block_size_changed |= op == Op.SETBLK
        self.density_changed |= op == Op.SETDENSITY
        if op == Op.SETBLK:
            size = count & 0xFFFFFF
            if size and self.most_block and not self.least_block <= size <= self.most_block:
                raise Refused(errno.EINVAL)
        elif op == Op.SETDENSITY:
            density = count & 0xFF
        else:
            buffered = count & 7
        if not (yield from self.set_mode(block_size=size, density=density, drive_buffer=buffered)):
            raise Refused(errno.EIO)

    def _load_unload(self, handle: TapeHandle, op: Op, count: int) -> Steps[None]:
        load = op == Op.LOAD
        if not load:
            self.must_be_ready()
            if self.door_locked:
                yield from self.prevent(lock=False)
        page = count - _LOADER_OFFSET if load and count >= _LOADER_OFFSET else 0
        done = yield from self.load(int(load), page=page & 0xFF)
        if not done:
            self.part.file = self.part.block = -1
            raise Refused(errno.EIO)
        self.buffer = b""
        handle.rewinds = handle.auto_rewind and load
        yield from self.check(handle)

    def _set_partition(self, count: int) -> Steps[None]:
        if not self.has(Boolean.CAN_PARTITIONS) or not 0 <= count < len(self.partitions):
            raise Refused(errno.EINVAL)
        if count >= self.partition_count:
            self.partition_count = yield from self.count_partitions()
        if count >= self.partition_count:
            raise Refused(errno.EINVAL)
        self.new_partition = count

    def _make_partitions(self, size: int) -> Steps[None]:
        """MKPART: two partitions, of which number 1 has `size` MB (0 for one). Negative: number 0 has."""
        if not self.has(Boolean.CAN_PARTITIONS):
            raise Refused(errno.EINVAL)
        yield from self.move(Op.REW, 0)
        old = mode_page((yield from self.mode_sense(PARTITION_PAGE)), PARTITION_PAGE)
        by_format = bool(old[4] & _POFM)
        if size or not by_format:
            page = _partition_page(old, size, by_format=by_format)
            if not (yield from self.mode_select(self.mode_header() + page)).good:
                raise Refused(errno.EIO)
        if by_format and not (yield from self.execute((_FORMAT_MEDIUM, 0, int(bool(size))), long=True)).good:
            raise Refused(errno.EIO)
        self.new_session()
        self.partition_count = 1                # SETPART looks for more

    def _set_options(self, count: int) -> Steps[None]:
        """MT_ST_OPTIONS. A mode that has none is defined by its first, and begins as mode 0. Raises Refused."""
        if not self.mode.defined:
            self.mode.define_as(self.modes[0])
            self.modes_defined = True
        what, value = count & Options.MASK, count & 0xFFFFF
        booleans = Boolean(value & 0xFFFF)
        match what:
            case Options.BOOLEANS:
                self._set_booleans(booleans)
            case Options.SET_BOOLEANS:
                self._set_booleans(self.drive_options | self.mode.options | booleans)
            case Options.CLEAR_BOOLEANS:
                self._set_booleans((self.drive_options | self.mode.options) & ~booleans)
            case Options.DEFAULT_BLOCK_SIZE:
                self.mode.block_size = None if value == _DEFAULT else count & 0xFFFFFF
                self.block_size_changed = self.block_size_changed and self.mode.block_size is None
                yield from self._at_once()
            case Options.DEFAULTS:
                yield from self._set_default(count & 0xFFF00000, None if value == _DEFAULT else value)
            case Options.TIMEOUTS if value:
                if count & 0x100000:
                    self.long_timeout = float(value)
                else:
                    self.timeout = float(value)
            case Options.WRITE_THRESHOLD | Options.CLEANING:
                pass        # nothing is buffered; cleaning is known by sense data alone
            case _:
                raise Refused(errno.EIO)

    def _set_booleans(self, options: Boolean) -> None:
        self.mode.options = options & self.mode.OF_MODE
        self.drive_options = options & ~self.mode.OF_MODE

    def _set_default(self, which: int, value: int | None) -> Steps[None]:
        if which == Options.DENSITY:
            self.mode.density = value if value is None else value & 0xFF
            self.density_changed = self.density_changed and value is None
            yield from self._at_once()
        elif which == Options.COMPRESSION:
            self.mode.compression = value if value is None else bool(value & 0xFF)
            if value is not None and self.ready == Ready.READY:
                self.compression_changed = False
                yield from self.drop_buffer(elsewhere=False)
                with suppress(Refused):
                    yield from self.compress(on=bool(value & 0xFF))
        elif which == Options.DRIVE_BUFFER:
            self.default_drive_buffer = value if value is None else value & 7
            if value is not None and self.ready == Ready.READY:
                yield from self.set_mode(block_size=self.block_size, density=self.density, drive_buffer=value & 7)
        else:
            raise Refused(errno.EIO)

    def _at_once(self) -> Steps[None]:
        """A new default of the mode counts now; a drive that refuses it does not make the option fail."""
        if self.ready == Ready.READY:
            yield from self.drop_buffer(elsewhere=False)
            with suppress(Refused):
                yield from self.set_mode_defaults()


def _partition_page(old: bytes, size: int, *, by_format: bool) -> bytes:
    """The medium partition page of one partition more, of so many MB; none for zero. Raises Refused.

    Args:
        size: negative where partition 0 is of this size, and number 1 gets the rest.
        by_format: FORMAT MEDIUM makes the partitions, MODE SELECT only says which.
    """
    page = bytearray(old.ljust(12, b"\0"))
    wanted, units = abs(size), 0
    unit = _MEGABYTES
    most, described = page[2], 2 if by_format else (len(old) - 8) // 2
    if wanted >= _THE_REST - 1 or (page[4] & _PSUM == _UNITS and wanted and not wanted % 1000):
        wanted, unit, units = wanted // 1000, _UNITS, _GIGA
    if wanted >= _THE_REST or (size < 0 and described < 2):
        raise Refused(errno.EINVAL)
    at = 8
    page[8:] = bytes(len(page) - 8)
    # Drives that describe only the partitions past number 0 have no size for it.
    if size >= 0 and (described > most or most != 1):
        page[8:10] = _THE_REST.to_bytes(2, "big")
        at = 10
    page[at : at + 2] = wanted.to_bytes(2, "big")
    if size < 0:
        page[10:12] = _THE_REST.to_bytes(2, "big")
    page[3] = int(bool(size))
    page[0], page[1] = page[0] & 0x3F, max(len(old) - 2, 8) if size else len(old) - 2
    page[4], page[6] = _IDP | unit | page[4] & 0x07, page[6] & 0xF0 | units
    return bytes(page[: page[1] + 2])

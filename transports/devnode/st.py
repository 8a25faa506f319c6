"""The tape driver: what open, read, write, ioctl and close of /dev/stN and /dev/nstN do, in commands.

Semantics are those of Linux (drivers/scsi/st.c): variable and fixed blocks, filemarks and end of data, early warning,
the filemark at close after writing, BSD and System V closes, options by MT_ST_OPTIONS. Each write is one command that
has ended when the call returns, whatever BUFFER_WRITES and ASYNC_WRITES say, as there with try_direct_io, its default:
a fault is told by the call that met it. A deferred error counts as one of the command that brings it. A fixed-block
read of less than a block keeps the rest for the next (READ_AHEAD); no more blocks than asked for are read.

Modes 1 to 3 of a drive (nodes with l, m and a) have options and defaults of their own, once one was set.

It does NOT have the loader's codes of HP.
"""

from __future__ import annotations

import errno
from typing import Final

from scsiemu.sense import SenseKey
from transports.devnode.driver import NONBLOCK, Answer, Steps
from transports.devnode.request import Memory, Refused
from transports.devnode.st_codes import (
    MT_GET,
    MT_OP,
    MT_POS,
    MTIOCGET,
    MTIOCPOS,
    MTIOCTOP,
    Boolean,
    Gstat,
    Op,
)
from transports.devnode.st_operations import TapeOperations
from transports.devnode.st_session import TapeHandle
from transports.devnode.st_state import Eof, Ready, Rw
from transports.devnode.st_statistics import NAMES

__all__ = ["TapeDrive"]

_MOST_TAPE_TRANSFER: Final = (1 << 24) - 1       # TRANSFER LENGTH of READ(6)
_TYPE_SCSI2: Final = 0x72
_READ, _WRITE = 0x08, 0x0A
_MODES: Final = {"l": 1, "m": 2, "a": 3}
_DENSITIES: Final = {1: Gstat.D_800, 2: Gstat.D_1600, 3: Gstat.D_6250}


class TapeDrive(TapeOperations):
    """The driver of one drive (a `Driver`)."""

    def __init__(self, unit: int) -> None:
        super().__init__(unit)
        self._user: TapeHandle | None = None

    # --- open and close ----------------------------------------------------------------------------------------

    def open(self, path: str, flags: int) -> Steps[TapeHandle]:
        """open(2). Raises Refused: EBUSY, EIO, ENOMEDIUM, EROFS."""
        if self._user is not None:
            raise Refused(errno.EBUSY)
        handle = self._user = TapeHandle(flags, rewinds="/nst" not in path, mode=_mode(path))
        try:
            self.buffer = b""
            for part in self.partitions:
                part.rw = Rw.IDLE
            ready = yield from self.check(handle)
            if not ready and not flags & NONBLOCK:
                raise Refused(errno.ENOMEDIUM if self.ready == Ready.NO_TAPE else errno.EIO)
        except BaseException:
            self._user = None
            raise
        return handle

    def flush(self, handle: object) -> Steps[None]:
        """The last close(2): filemarks after writing, the place that closes want, rewinding. Raises Refused."""
        assert isinstance(handle, TapeHandle)
        if self.ready != Ready.READY:
            return
        failed: Refused | None = None
        try:
            yield from self._end_of_use(handle)
        except Refused as refused:
            failed = refused
        if handle.rewinds and self.ready == Ready.READY:
            try:
                yield from self.move(Op.REW, 1)
            except Refused as refused:
                failed = failed or refused
        if failed is not None:
            raise failed

    def _end_of_use(self, handle: TapeHandle) -> Steps[None]:
        part = self.part
        if part.rw == Rw.WRITING and not self.position_unknown:
            yield from self._close_written()
        elif not handle.rewinds:
            if not self.has(Boolean.SYSV) or part.rw != Rw.READING:
                if self.has(Boolean.CAN_BSR):
                    yield from self.drop_buffer(elsewhere=False)
                elif part.eof == Eof.FM_HIT:
                    if (yield from self.back_over_filemark()):
                        part.eof = Eof.FM
                    else:
                        part.file += part.file >= 0
                        part.block = 0
            elif part.eof in (Eof.FM_HIT, Eof.NOEOF):
                if part.eof == Eof.NOEOF and not (yield from self.back_over_filemark(forward=True)):
                    raise Refused(errno.EIO)
                part.file += part.file >= 0
                part.block = 0
                part.eof = Eof.FM
        part.rw = Rw.IDLE
        self.buffer = b""

    def _close_written(self) -> Steps[None]:
        yield from self.switch_partition()
        two = self.has(Boolean.TWO_FM)
        immediate = int(self.has(Boolean.NOWAIT_EOF))
        answer = yield from self.execute((0x10, immediate, 0, 0, 1 + two))
        part = self.part
        part.rw = Rw.IDLE
        sense = answer.sense
        at_end = (
            sense is not None and sense.eom and not sense.deferred
            and answer.key in (SenseKey.NO_SENSE, SenseKey.RECOVERED_ERROR)
        )
        if not answer.good and not (at_end and not answer.residual):
            raise Refused(errno.EIO)
        part.file += part.file >= 0
        part.block = 0
        if two:
            yield from self.back_over_filemark()
        part.eof = Eof.FM

    def release(self, handle: object) -> None:
        """The drive can be opened again."""
        if self._user is handle:
            self._user = None

    def attribute(self, path: str, name: str) -> str:
        """A file of /sys/class/scsi_tape/stN: of the node's mode."""
        mode = self.modes[_mode(path)]
        if name in NAMES:
            return f"{self.statistics.counts[name]}\n"
        found = {
            "defined": mode.defined, "options": self.drive_options | mode.options, "default_density": mode.density,
            "default_blksize": mode.block_size, "default_compression": mode.compression,
            "position_lost_in_reset": self.position_unknown,
        }[name]
        if found is None:
            return "-1\n"
        form = {"options": "#010x", "default_density": "#04x"}.get(name, "d")
        return f"{int(found):{form}}\n"

    # --- reading and writing ---------------------------------------------------------------------------------------

    def _check_transfer(self, count: int) -> Steps[None]:
        if self.ready != Ready.READY:
            raise Refused(errno.ENOMEDIUM if self.ready == Ready.NO_TAPE else errno.EIO)
        self.must_be_defined()
        if self.position_unknown:
            raise Refused(errno.EIO)
        yield from self.switch_partition()
        if not self.block_size and self.most_block and not self.least_block <= count <= self.most_block:
            raise Refused(errno.EINVAL)
        if self.has(Boolean.AUTO_LOCK) and not self.door_locked:
            yield from self.prevent(lock=True)

    def read(self, handle: object, count: int, position: int | None) -> Steps[bytes]:
        """read(2). Raises Refused."""
        if position is not None:
            raise Refused(errno.ESPIPE)
        if not count:
            return b""
        yield from self._check_transfer(count)
        size = self.block_size
        if size and count % size and not self.has(Boolean.READ_AHEAD):
            raise Refused(errno.EINVAL)
        part = self.part
        if not self.buffer and part.eof >= Eof.EOD_1:
            if part.eof < Eof.EOD:
                part.eof = Eof(part.eof + 1)
                return b""
            raise Refused(errno.EIO)
        part.rw = Rw.READING
        got = b""
        special = False
        while len(got) < count and not special:
            if not self.buffer:
                special = yield from self._fetch(count - len(got))
            wanted = count - len(got)
            got, self.buffer = got + self.buffer[:wanted], self.buffer[wanted:]
            if not size:
                self.buffer = b""
                break
        if got:
            if part.eof == Eof.FM:
                part.eof = Eof.NOEOF
        elif part.eof == Eof.FM_HIT:
            part.eof = Eof.FM
            part.block = 0
            part.file += part.file >= 0
        elif part.eof in (Eof.EOD_1, Eof.EOD_2):
            part.eof = Eof(part.eof + 1)
        part.at_setmark = False
        return got

    def _fetch(self, count: int) -> Steps[bool]:
        """One READ(6) into the buffer; whether something else than data was met. Raises Refused."""
        part = self.part
        if part.eof == Eof.FM_HIT:
            return True
        size = self.block_size
        blocks = min(-(-count // size), _MOST_TAPE_TRANSFER // size) if size else 1
        length = blocks * size if size else min(count, _MOST_TAPE_TRANSFER)
        flags = 1 if size else 2 if self.has(Boolean.SILI) else 0
        units = blocks if size else length
        answer = yield from self.execute((_READ, flags, *units.to_bytes(3, "big")), data_in=length)
        special = False
        taken = answer.data[:length]
        if not answer.good:
            special = True
            taken = yield from self._read_ended(answer, length, blocks)
        self.buffer = taken
        if part.block >= 0:
            part.block += len(taken) // size if size else int(bool(taken))
        return special

    def _read_ended(self, answer: Answer, length: int, blocks: int) -> Steps[bytes]:
        """READ(6) met a mark, an end or a block of another length: what it brought. Raises Refused."""
        part, size, sense = self.part, self.block_size, answer.sense
        residual = answer.residual or 0
        if sense is None:
            part.block = -1
            raise Refused(errno.EIO)
        ili = sense.ili and answer.key != SenseKey.BLANK_CHECK
        if answer.key == SenseKey.MEDIUM_ERROR:
            ili = False
            residual = residual if size else length
        done = answer.data[: max(0, (blocks - residual) * size if size else length - residual)]
        if ili and not size:
            if residual < 0:
                part.block += part.block >= 0
                raise Refused(errno.ENOMEM)
            return done
        if ili:
            # The block of another length has been passed: back before it, for the data before it count.
            nothing = residual == blocks
            if part.block >= 0:
                part.block += 1
            try:
                yield from self.move(Op.BSR, 1)
            except Refused:
                nothing = True
            if nothing:
                raise Refused(errno.EIO)
            return done
        if sense.filemark:
            part.eof = Eof.FM_HIT if part.eof != Eof.FM_HIT else Eof.EOD_2
            return done if size else b""
        if sense.eom:
            part.eof = Eof.EOD_1 if part.eof == Eof.FM else Eof.EOM_OK
            return done
        if answer.key == SenseKey.BLANK_CHECK and size and done and 0 < residual < blocks:
            part.eof = Eof.EOD_2        # what came before the end of data counts
            return done
        part.block = -1
        if answer.key == SenseKey.BLANK_CHECK and part.eof == Eof.FM:
            part.eof = Eof.EOD_2
            return b""
        raise Refused(errno.EIO)

    def write(self, handle: object, data: bytes, position: int | None) -> Steps[int]:
        """write(2). Raises Refused."""
        if position is not None:
            raise Refused(errno.ESPIPE)
        size = self.block_size
        if not data:
            return 0
        yield from self._check_transfer(len(data))
        if size and len(data) % size:
            raise Refused(errno.EINVAL)
        if self.write_protected:
            raise Refused(errno.EACCES)
        part = self.part
        if part.rw == Rw.READING:
            yield from self.drop_buffer(elsewhere=False)
        elif part.rw == Rw.IDLE and part.file == part.block == 0:
            yield from self.begin_writing()
            size = self.block_size
            if size and len(data) % size:
                raise Refused(errno.EINVAL)
        if part.eof == Eof.EOM_OK:
            part.eof = Eof.EOM
            raise Refused(errno.ENOSPC)
        if part.eof == Eof.EOM_ERROR:
            raise Refused(errno.EIO)
        part.rw = Rw.WRITING
        most = _MOST_TAPE_TRANSFER // size * size if size else _MOST_TAPE_TRANSFER
        if not size and len(data) > most:
            raise Refused(errno.EINVAL)
        at = 0
        part.at_setmark = False
        while at < len(data):
            piece = data[at : at + most]
            done, ended = yield from self._put(piece)
            at += done
            if ended:
                if not at:
                    # It counts as told: what comes next is the trailer.
                    raise Refused(errno.ENOSPC)
                break
        return at

    def _put(self, piece: bytes) -> Steps[tuple[int, bool]]:
        """One WRITE(6): bytes written, and whether the end is near. Raises Refused."""
        size, part = self.block_size, self.part
        units = len(piece) // size if size else len(piece)
        answer = yield from self.execute((_WRITE, int(bool(size)), *units.to_bytes(3, "big")), piece)
        if answer.good:
            part.eof = Eof.NOEOF
            if part.block >= 0:
                part.block += units if size else 1
            return len(piece), False
        if answer.sense is None or not answer.sense.eom:
            part.block = -1
            raise Refused(errno.EIO)
        undone = answer.residual
        if undone is None:
            undone = units if answer.key == SenseKey.VOLUME_OVERFLOW else 0
        if not 0 <= undone <= units:
            part.eof = Eof.EOM_ERROR
            raise Refused(errno.EIO)
        part.eof = Eof.EOM_OK
        done = (units - undone) * size if size else len(piece) - undone
        if part.block >= 0:
            part.block += done // size if size else int(bool(done))
        return done, True

    def seek(self, handle: object, offset: int, whence: int) -> Steps[int]:
        """A tape does not seek. Raises Refused."""
        yield from ()
        raise Refused(errno.ESPIPE)

    def synchronize(self, handle: object) -> Steps[None]:
        """Tapes have no fsync(2). Raises Refused."""
        yield from ()
        raise Refused(errno.EINVAL)

    # --- ioctl -----------------------------------------------------------------------------------------------------

    def ioctl(self, handle: object, memory: Memory, number: int, argument: int) -> Steps[int]:
        """ioctl(2). Raises Refused."""
        assert isinstance(handle, TapeHandle)
        if number != MTIOCTOP:
            self.must_be_defined()
        if number == MTIOCTOP:
            op, count = MT_OP.unpack(memory.read(argument, MT_OP.size))
            yield from self.operate(handle, op, count)
        elif number == MTIOCGET:
            yield from self.drop_buffer(elsewhere=False)
            yield from self.switch_partition()
            memory.write(argument, self.status())
            self.recovered = 0
        elif number == MTIOCPOS:
            if self.ready != Ready.READY:
                raise Refused(errno.ENOMEDIUM if self.ready == Ready.NO_TAPE else errno.EIO)
            yield from self.drop_buffer(elsewhere=False)
            yield from self.switch_partition()
            found = yield from self.position(logical=False)
            if found is None:
                raise Refused(errno.EIO)
            memory.write(argument, MT_POS.pack(found[0]))
        else:
            raise Refused(errno.ENOTTY)
        return 0

    def status(self) -> bytes:
        """struct mtget."""
        part = self.part
        flags = Gstat(0)
        if self.write_protected:
            flags |= Gstat.WR_PROT
        if part.block == 0:
            flags |= Gstat.BOT if part.file == 0 else Gstat.EOF
        if part.eof in (Eof.EOM_OK, Eof.EOM_ERROR):
            flags |= Gstat.EOT
        elif part.eof > Eof.EOM_OK:
            flags |= Gstat.EOD
        flags |= _DENSITIES.get(self.density, Gstat(0))
        if self.ready == Ready.READY:
            flags |= Gstat.ONLINE
        elif self.ready == Ready.NO_TAPE:
            flags |= Gstat.DR_OPEN
        if part.at_setmark:
            flags |= Gstat.SM
        buffers = self.has(Boolean.BUFFER_WRITES) and self.block_size
        if self.has(Boolean.ASYNC_WRITES) or buffers or self.drive_buffer:
            flags |= Gstat.IM_REP_EN
        if self.cleaning:
            flags |= Gstat.CLN
        return MT_GET.pack(
            _TYPE_SCSI2, self.partition, self.density << 24 | self.block_size, flags, min(self.recovered, 0xFFFF),
            part.file, part.block,
        )


def _mode(path: str) -> int:
    """That of a node, by its name."""
    return _MODES.get(path[-1], 0)

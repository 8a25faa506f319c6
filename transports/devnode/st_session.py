"""A cartridge in a drive, from the driver's point of view: looking what is there, defaults, what a read left over."""

from __future__ import annotations

import errno
from typing import Final

from scsiemu.sense import SenseKey
from transports.devnode.driver import ACCESS_MODE, NONBLOCK, READ_ONLY, Pause, Steps
from transports.devnode.request import Refused
from transports.devnode.st_codes import Boolean, Op
from transports.devnode.st_state import Eof, Partition, Ready, Rw, TapeState

__all__ = ["COMPRESSION_PAGE", "PARTITION_PAGE", "TapeHandle", "TapeSession", "mode_page"]

COMPRESSION_PAGE: Final = 0x0F
PARTITION_PAGE: Final = 0x11
_MOST_ATTENTIONS: Final = 10
_NO_MEDIUM: Final = 0x3A
_BECOMING_READY: Final = (0x04, 0x01)
_MOST_WAITS: Final = 120                 # ST_BLOCK_SECONDS
_READ_BLOCK_LIMITS: Final = 0x05


class TapeHandle:
    """What belongs to an open file.

    Attributes:
        rewinds: the tape is rewound when it is closed.
        mode: 0 to 3.
    """

    def __init__(self, flags: int, *, rewinds: bool, mode: int) -> None:
        self.flags = flags
        self.mode = mode
        self.auto_rewind = rewinds
        self.rewinds = rewinds


class TapeSession(TapeState):
    """See the module."""

    def __init__(self, unit: int) -> None:
        super().__init__(unit)
        self._limits_known = self._was_ready = False
        self.default_drive_buffer: int | None = None
        # An operation has set it in this session, so the mode's default does not count.
        self.block_size_changed = self.density_changed = self.compression_changed = False

    def check(self, handle: TapeHandle) -> Steps[bool]:
        """Look what is in the drive, a drive that is becoming ready for two minutes; whether it is. Raises Refused."""
        attentions = 0
        changes_mode, self.mode_number = handle.mode != self.mode_number, handle.mode
        waits = 0 if handle.flags & NONBLOCK else _MOST_WAITS
        while True:
            answer = yield from self.execute((0,))
            if answer.key == SenseKey.UNIT_ATTENTION and attentions < _MOST_ATTENTIONS:
                attentions += 1
            elif answer.key == SenseKey.NOT_READY and answer.asc == _BECOMING_READY and waits:
                waits -= 1
                yield Pause(1.0)
            else:
                break
        if not answer.good and answer.key != SenseKey.NOT_READY:
            raise Refused(errno.EIO)            # a deferred error, for one: what is known of the tape stays
        if not answer.good:
            no_tape = answer.asc[0] == _NO_MEDIUM
            self.ready = Ready.NO_TAPE if no_tape else Ready.NOT_READY
            self.density = self.block_size = 0
            self.write_protected = self.door_locked = False
            self.partitions[0].file = self.partitions[0].block = -1
            self.partition = self.new_partition = 0
            return False
        # A cartridge that came is told by a unit attention. After a LOAD of our own there is none, and the numbers of
        # file and block stay unknown. The one for the power on was taken before us.
        if attentions or not self._was_ready:
            self.new_session()
        self._was_ready = True
        self.ready = Ready.READY
        yield from self._parameters()
        if self.write_protected and handle.flags & ACCESS_MODE != READ_ONLY:
            raise Refused(errno.EROFS)
        if self.has(Boolean.CAN_PARTITIONS) and not self.partition_count:
            yield from self._find_partition()
        if attentions or changes_mode:
            yield from self._begin_mode()
        return True

    def new_session(self) -> None:
        self.position_unknown = False
        self.partition = self.new_partition = 0
        self.partition_count = 0
        self.door_locked = False
        self.buffer = b""
        self.partitions = [Partition() for _ in self.partitions]

    def _parameters(self) -> Steps[None]:
        if not self._limits_known and not self.has(Boolean.NO_BLKLIMS):
            answer = yield from self.execute((_READ_BLOCK_LIMITS,), data_in=6)
            if answer.good and len(answer.data) >= 6:
                self._limits_known = True
                self.most_block = int.from_bytes(answer.data[1:4], "big")
                self.least_block = int.from_bytes(answer.data[4:6], "big")
        answer = yield from self.execute((0x1A, 0, 0, 0, 12), data_in=12)
        data = answer.data
        if not answer.good or len(data) < 4:
            self.block_size = self.density = self.drive_buffer = 0
            self.write_protected = False
            return
        self.write_protected = bool(data[2] & 0x80)
        self.drive_buffer = data[2] >> 4 & 7
        if data[3] >= 8 and len(data) >= 12:
            self.density = data[4]
            self.block_size = int.from_bytes(data[9:12], "big")

    def _find_partition(self) -> Steps[None]:
        found = yield from self.position(logical=True)
        self.partition_count = yield from self.count_partitions()
        if found is not None and found[1] < len(self.partitions):
            self.partition = self.new_partition = found[1]

    def count_partitions(self) -> Steps[int]:
        try:
            page = mode_page((yield from self.mode_sense(PARTITION_PAGE)), PARTITION_PAGE)
        except Refused:
            return 1
        return min(page[3] + 1, len(self.partitions))

    def _begin_mode(self) -> Steps[None]:
        """After a new cartridge, or a change of mode: what the administrator has set as defaults. Raises Refused."""
        self.block_size_changed = self.density_changed = self.compression_changed = False
        if not self.has(Boolean.DEF_WRITES):
            yield from self.set_mode_defaults()
        if self.default_drive_buffer is not None:
            yield from self.set_mode(
                block_size=self.block_size, density=self.density, drive_buffer=self.default_drive_buffer
            )

    def set_mode_defaults(self) -> Steps[None]:
        """Block size and density of the mode, but for what an operation has changed since. Raises Refused(EINVAL)."""
        mode = self.mode
        size = self.block_size if self.block_size_changed or mode.block_size is None else mode.block_size
        density = self.density if self.density_changed or mode.density is None else mode.density
        if (size, density) != (self.block_size, self.density):
            done = yield from self.set_mode(block_size=size, density=density, drive_buffer=self.drive_buffer)
            if not done and self.modes_defined:
                raise Refused(errno.EINVAL)

    def begin_writing(self) -> Steps[None]:
        """Before the first write of a tape: what is set there are the defaults of the mode. Raises Refused."""
        yield from self.set_mode_defaults()
        wanted = self.mode.compression
        if wanted is None or self.compression_changed:
            return
        try:
            yield from self.compress(on=wanted)
        except Refused:
            if self.modes_defined:
                raise Refused(errno.EINVAL) from None

    def must_be_defined(self) -> None:
        """The mode of the node. Raises Refused(ENXIO)."""
        if not self.mode.defined:
            raise Refused(errno.ENXIO)

    def drop_buffer(self, *, elsewhere: bool) -> Steps[None]:
        """Forget what was read and not taken; space back over it, unless the tape goes elsewhere. Raises Refused."""
        part, size = self.part, self.block_size
        if part.rw == Rw.WRITING or not size:
            return
        whole = len(self.buffer) // size
        self.buffer = b""
        if elsewhere:
            if part.eof == Eof.FM_HIT:
                part.file += part.file >= 0
                part.block = 0
                part.eof = Eof.NOEOF
            return
        if part.eof == Eof.FM_HIT:
            if (yield from self.back_over_filemark()):
                part.eof = Eof.NOEOF
            else:
                part.file += part.file >= 0
                part.block = 0
                raise Refused(errno.EIO)
        if whole:
            yield from self.move(Op.BSR, whole)

    def must_be_ready(self) -> None:
        if self.ready != Ready.READY:
            raise Refused(errno.ENOMEDIUM if self.ready == Ready.NO_TAPE else errno.EIO)

    def compress(self, *, on: bool) -> Steps[None]:
        """DCE of the compression page. Raises Refused."""
        page = bytearray(mode_page((yield from self.mode_sense(COMPRESSION_PAGE)), COMPRESSION_PAGE))
        if not page[2] & 0x40:
            raise Refused(errno.EIO)
        page[0] &= 0x3F
        page[2] = page[2] | 0x80 if on else page[2] & 0x7F
        if not (yield from self.mode_select(self.mode_header() + bytes(page))).good:
            raise Refused(errno.EIO)
        self.compression_changed = True


def mode_page(data: bytes, code: int) -> bytes:
    """The page in MODE SENSE(6) data. Raises Refused."""
    at = 4 + data[3]
    page = data[at : at + 2 + data[at + 1]] if len(data) > at + 8 else b""
    if len(page) < 8 or page[0] & 0x3F != code:
        raise Refused(errno.EIO)
    return page

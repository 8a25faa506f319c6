"""The ioctls of /dev/srN: sizes of a block device, and CDROM_* of the uniform CD-ROM driver (drivers/cdrom/cdrom.c).

Those of DVDs, volume control, and what is seldom used are in sr_more.py.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from struct import pack, unpack_from
from typing import Final

from scsiemu.sense import SenseKey
from transports.devnode.driver import Answer, Steps, answer_of
from transports.devnode.request import Memory, Refused, ScsiTask
from transports.devnode.sr_codes import Capability, DiscStatus, DriveStatus, Ioctl

__all__ = ["OpticalHandle", "OpticalIoctls"]

_SECONDS: Final = 60.0
_MOST_ATTENTIONS: Final = 10
_SECTOR: Final = 2048
_RAW: Final = 2352
_LEAD_IN: Final = 150                   # frames before LBA 0
_LBA, _MSF = 1, 2                       # cdrom_te_format
_MOST_FRAMES: Final = 75
_MOST_PACKET: Final = 1 << 20
_SPEED_UNIT: Final = 177                # kB/s of single speed, as the driver has it
_DATA_TRACK: Final = 0x04
_OPTIONS: Final = 0x1F
_AUTO_EJECT: Final = 0x02
_AUTO_CLOSE_LOCK: Final = 0x1 | 0x4 | 0x8   # CDO_AUTO_CLOSE, CDO_USE_FFLAGS, CDO_LOCK
_SET_SPEED: Final = 0xBB
_START_STOP, _LOEJ, _START = 0x1B, 2, 1
# Bytes, sector type and READ CD flags of each way to read one sector.
_SECTOR_READS: Final = {
    Ioctl.READMODE1: (2048, 2, 0x10), Ioctl.READCOOKED: (2048, 2, 0x10), Ioctl.READMODE2: (2336, 3, 0x58),
    Ioctl.READRAW: (_RAW, 0, 0xF8),
}
# Commands without data: CDB.
_SIMPLE: Final = {
    Ioctl.PAUSE: (0x4B, *bytes(9)), Ioctl.RESUME: (0x4B, *bytes(7), 1, 0), Ioctl.STOP: (0x1B,),
    Ioctl.START: (0x1B, 0, 0, 0, 1), Ioctl.CLOSETRAY: (0x1B, 0, 0, 0, 3),
}
# Profiles whose discs are written like a disk: MO, DVD-RAM, DVD-RW restricted overwrite, DVD+RW, BD-RE.
_WRITABLE_PROFILES: Final = frozenset({0x02, 0x03, 0x12, 0x13, 0x1A, 0x43})


class OpticalHandle:
    """What belongs to an open file.

    Attributes:
        position: bytes.
        written: something was written since it was flushed.
    """

    def __init__(self, *, exclusive: bool) -> None:
        self.exclusive = exclusive
        self.position = 0
        self.written = False


class OpticalIoctls:
    """A drive: what the driver knows of it, and its ioctls.

    Args:
        unit: what the host calls the unit.

    Attributes:
        now: seconds of the clock, told by whoever runs the calls.
    """

    def __init__(self, unit: int) -> None:
        self.unit = unit
        self.users: list[OpticalHandle] = []
        self.size = 0
        self.block_size = _SECTOR
        self.writable = False
        self.locked = False
        self.keep_locked = False
        self.now = 0.0
        self.changed_at = 0             # milliseconds; as of the call that noticed
        self._changed = True
        self._out = False               # we have ejected the disc
        self._options = _AUTO_CLOSE_LOCK
        self.methods: dict[int, Callable[[Memory, int], Steps[int]]] = {
            Ioctl.READTOCHDR: self._toc_header, Ioctl.READTOCENTRY: self._toc_entry, Ioctl.EJECT: self._eject,
            Ioctl.PLAYMSF: self._play, Ioctl.PLAYTRKIND: self._play_track, Ioctl.SUBCHNL: self._subchannel,
            Ioctl.READAUDIO: self._read_audio, Ioctl.MULTISESSION: self._multisession, Ioctl.GET_MCN: self._mcn,
            Ioctl.SELECT_SPEED: self._speed, Ioctl.MEDIA_CHANGED: self.media_changed,
            Ioctl.DISC_STATUS: self._disc_status, Ioctl.LOCKDOOR: self._lock, Ioctl.GET_CAPABILITY: self._capability,
            Ioctl.SEND_PACKET: self._packet, Ioctl.NEXT_WRITABLE: self._next_writable,
            Ioctl.LAST_WRITTEN: self._last_written,
        }

    # --- commands ----------------------------------------------------------------------------------------------

    def execute(self, cdb: tuple[int, ...], data_out: bytes = b"", data_in: int = 0) -> Steps[Answer]:
        """Execute a command."""
        length = (6, 10, 10, 12, 16, 12, 10, 10)[cdb[0] >> 5]
        answer = answer_of((yield ScsiTask(self.unit, bytes(cdb).ljust(length, b"\0"), data_out, data_in, _SECONDS)))
        if answer.key == SenseKey.UNIT_ATTENTION and answer.asc[0] == 0x28:
            self._changed = True
        if cdb[0] == _START_STOP and answer.good and len(cdb) > 4 and cdb[4] & _LOEJ:
            # A change as well, though the drive tells only others by a unit attention.
            ejects = not cdb[4] & _START
            self._changed |= ejects or self._out
            self._out = ejects
        return answer

    def start_stop(self, bits: int) -> Steps[Answer]:
        """START STOP UNIT with LOEJ and START."""
        return (yield from self.execute((0x1B, 0, 0, 0, bits)))

    def lock_door(self, *, lock: bool) -> Steps[None]:
        """PREVENT ALLOW MEDIUM REMOVAL."""
        if (yield from self.execute((0x1E, 0, 0, 0, int(lock)))).good:
            self.locked = lock

    def drive_status(self) -> Steps[int]:
        """One of `DriveStatus`."""
        for _ in range(_MOST_ATTENTIONS):
            answer = yield from self.execute((0,))
            if answer.key != SenseKey.UNIT_ATTENTION:
                break
        if answer.good:
            return DriveStatus.DISC_OK
        if answer.key != SenseKey.NOT_READY or answer.asc[0] != 0x3A:
            return DriveStatus.NOT_READY
        if answer.asc[1]:
            return DriveStatus.TRAY_OPEN if answer.asc[1] == 2 else DriveStatus.NO_DISC
        event = yield from self.execute((0x4A, 1, 0, 0, 0x10, 0, 0, 0, 8), data_in=8)
        is_open = event.good and len(event.data) >= 6 and event.data[2] & 7 == 4 and event.data[5] & 1
        return DriveStatus.TRAY_OPEN if is_open else DriveStatus.NO_DISC

    def look_at_disc(self) -> Steps[None]:
        """Size, and whether it can be written like a disk."""
        answer = yield from self.execute((0x25,), data_in=8)
        if answer.good and len(answer.data) >= 8:
            last, size = unpack_from(">II", answer.data)
            self.block_size = size if size in (512, 1024, 2048, 4096) else _SECTOR
            self.size = (last + 1) * self.block_size
        else:
            self.size, self.block_size = 0, _SECTOR
        answer = yield from self.execute((0x46, 2, 0, 0x20, 0, 0, 0, 0, 16), data_in=16)
        self.writable = False
        if answer.good and len(answer.data) >= 8:
            profile = int.from_bytes(answer.data[6:8], "big")
            current = len(answer.data) >= 11 and answer.data[8:10] == b"\0\x20" and answer.data[10] & 1
            self.writable = profile in _WRITABLE_PROFILES or bool(current)

    def ask(self, cdb: tuple[int, ...], length: int, least: int) -> Steps[bytes]:
        """Data-In of a command; at least so many bytes. Raises Refused."""
        answer = yield from self.execute(cdb, data_in=length)
        if answer.key == SenseKey.UNIT_ATTENTION:
            answer = yield from self.execute(cdb, data_in=length)
        if not answer.good or len(answer.data) < least:
            no_disc = answer.key == SenseKey.NOT_READY and answer.asc[0] == 0x3A
            raise Refused(errno.ENOMEDIUM if no_disc else errno.EIO)
        return answer.data

    def do(self, cdb: tuple[int, ...]) -> Steps[int]:
        """A command without data. Raises Refused."""
        yield from self.ask(cdb, 0, 0)
        return 0

    # --- ioctls ------------------------------------------------------------------------------------------------

    def control(self, memory: Memory, number: int, argument: int) -> Steps[int]:
        """Any ioctl. Raises Refused."""
        numbers = self._block_number(number)
        if numbers is not None:
            memory.write(argument, numbers)
            return 0
        if number in self.methods:
            return (yield from self.methods[number](memory, argument))
        if number in _SIMPLE:
            return (yield from self.do(_SIMPLE[Ioctl(number)]))
        if number in _SECTOR_READS:
            return (yield from self._read_sector(Ioctl(number), memory, argument))
        match number:
            case Ioctl.BLKFLSBUF:
                return 0
            case Ioctl.CHANGER_NSLOTS:
                return 1
            case Ioctl.DRIVE_STATUS:
                return (yield from self.drive_status())
            case Ioctl.SET_OPTIONS:
                self._options |= argument & _OPTIONS
                return self._options
            case Ioctl.CLEAR_OPTIONS:
                self._options &= ~argument
                return self._options
            case Ioctl.EJECT_SW:
                self._options = self._options | _AUTO_EJECT if argument else self._options & ~_AUTO_EJECT
                return 0
        raise Refused(errno.ENOTTY)

    def _block_number(self, number: int) -> bytes | None:
        match number:
            case Ioctl.BLKGETSIZE64:
                return pack("=Q", self.size)
            case Ioctl.BLKGETSIZE:
                return pack("=Q", self.size // 512)
            case Ioctl.BLKSSZGET | Ioctl.BLKPBSZGET | Ioctl.BLKBSZGET | Ioctl.BLKIOMIN:
                return pack("=i", self.block_size)
            case Ioctl.BLKROGET:
                return pack("=i", not self.writable)
            case Ioctl.BLKIOOPT | Ioctl.BLKALIGNOFF:
                return pack("=i", 0)
            case Ioctl.BLKRAGET:
                return pack("=q", 256)
        return None

    def _toc_header(self, memory: Memory, argument: int) -> Steps[int]:
        data = yield from self.ask((0x43, 0, 0, 0, 0, 0, 0, 0, 12), 12, 4)
        memory.write(argument, data[2:4])
        return 0

    def _toc_entry(self, memory: Memory, argument: int) -> Steps[int]:
        track, _, wanted = memory.read(argument, 3)
        if wanted not in (_LBA, _MSF):
            raise Refused(errno.EINVAL)
        data = yield from self.ask((0x43, 2 if wanted == _MSF else 0, 0, 0, 0, 0, track, 0, 12), 12, 12)
        memory.write(argument + 1, bytes((_swap(data[5]),)))
        memory.write(argument + 4, _address(data[8:12], wanted))
        memory.write(argument + 8, bytes((int(bool(data[5] & _DATA_TRACK)),)))
        return 0

    def _multisession(self, memory: Memory, argument: int) -> Steps[int]:
        wanted = memory.read(argument + 5, 1)[0]
        if wanted not in (_LBA, _MSF):
            raise Refused(errno.EINVAL)
        data = yield from self.ask((0x43, 0, 1, 0, 0, 0, 0, 0, 12), 12, 12)
        lba = int.from_bytes(data[8:12], "big") if data[2] != data[3] else 0
        where = pack("=i", lba) if wanted == _LBA else bytes((*_to_msf(lba), 0))
        memory.write(argument, where + bytes((int(lba > 0),)))
        return 0

    def _subchannel(self, memory: Memory, argument: int) -> Steps[int]:
        wanted = memory.read(argument, 1)[0]
        if wanted not in (_LBA, _MSF):
            raise Refused(errno.EINVAL)
        data = yield from self.ask((0x42, 2 if wanted == _MSF else 0, 0x40, 1, 0, 0, 0, 0, 16), 16, 16)
        head = bytes((wanted, data[1], _swap(data[5]), data[6], data[7], 0, 0, 0))
        memory.write(argument, head + _address(data[8:12], wanted) + _address(data[12:16], wanted))
        return 0

    def _mcn(self, memory: Memory, argument: int) -> Steps[int]:
        data = yield from self.ask((0x42, 0, 0x40, 2, 0, 0, 0, 0, 24), 24, 24)
        memory.write(argument, (data[9:22] if data[8] & 0x80 else bytes(13)) + b"\0")
        return 0

    def _play(self, memory: Memory, argument: int) -> Steps[int]:
        return (yield from self.do((0x47, 0, 0, *memory.read(argument, 6))))

    def _play_track(self, memory: Memory, argument: int) -> Steps[int]:
        first, first_index, last, last_index = memory.read(argument, 4)
        return (yield from self.do((0x48, 0, 0, 0, first, first_index, 0, last, last_index)))

    def _read_sector(self, number: Ioctl, memory: Memory, argument: int) -> Steps[int]:
        size, kind, flags = _SECTOR_READS[number]
        lba = _from_msf(memory.read(argument, 3))
        if lba < 0:
            raise Refused(errno.EINVAL)
        data = yield from self.ask((0xBE, kind << 2, *lba.to_bytes(4, "big"), 0, 0, 1, flags), size, size)
        memory.write(argument, data[:size])
        return 0

    def _read_audio(self, memory: Memory, argument: int) -> Steps[int]:
        raw = memory.read(argument, 24)
        frames, = unpack_from("=i", raw, 8)
        buffer, = unpack_from("=Q", raw, 16)
        lba = _from_msf(raw) if raw[4] == _MSF else unpack_from("=i", raw)[0]
        if raw[4] not in (_LBA, _MSF) or lba < 0 or not 0 < frames <= _MOST_FRAMES:
            raise Refused(errno.EINVAL)
        size = frames * _RAW
        cdb = (0xBE, 1 << 2, *lba.to_bytes(4, "big"), *frames.to_bytes(3, "big"), 0xF8)
        memory.write(buffer, (yield from self.ask(cdb, size, size))[:size])
        return 0

    def _eject(self, memory: Memory, argument: int) -> Steps[int]:
        if len(self.users) > 1 or self.keep_locked:
            raise Refused(errno.EBUSY)
        if self.locked:
            yield from self.lock_door(lock=False)
        if not (yield from self.start_stop(2)).good:
            raise Refused(errno.EIO)
        self.size = 0
        return 0

    def _lock(self, memory: Memory, argument: int) -> Steps[int]:
        yield from self.lock_door(lock=bool(argument))
        if self.locked != bool(argument):
            raise Refused(errno.EIO)
        self.keep_locked = bool(argument)
        return 0

    def _speed(self, memory: Memory, argument: int) -> Steps[int]:
        speed = min(argument * _SPEED_UNIT, 0xFFFF) if argument else 0xFFFF
        return (yield from self.do((_SET_SPEED, 0, *speed.to_bytes(2, "big"), 0xFF, 0xFF)))

    def media_changed(self, memory: Memory, argument: int) -> Steps[int]:
        yield from self.execute((0,))
        changed, self._changed = self._changed, False
        if changed:
            self.changed_at = int(self.now * 1000)
        return int(changed)

    def _disc_status(self, memory: Memory, argument: int) -> Steps[int]:
        status = yield from self.drive_status()
        if status != DriveStatus.DISC_OK:
            return status
        try:
            data = yield from self.ask((0x43, 0, 0, 0, 0, 0, 0, 0x03, 0x24), 804, 4)
        except Refused:
            return DiscStatus.NO_INFO
        kinds = {bool(data[at + 1] & _DATA_TRACK) for at in range(4, len(data) - 7, 8) if data[at + 2] != 0xAA}
        if kinds == {True, False}:
            return DiscStatus.MIXED
        return DiscStatus.DATA_1 if True in kinds else DiscStatus.AUDIO if kinds else DiscStatus.NO_INFO

    def _capability(self, memory: Memory, argument: int) -> Steps[int]:
        able = Capability.LOCK | Capability.OPEN_TRAY | Capability.MEDIA_CHANGED | Capability.DRIVE_STATUS
        able |= Capability.MULTI_SESSION | Capability.GENERIC_PACKET | Capability.SELECT_SPEED
        try:
            data = yield from self.ask((0x5A, 8, 0x2A, 0, 0, 0, 0, 0, 128), 128, 16)
        except Refused:
            return able
        page = data[8 + int.from_bytes(data[6:8], "big") :].ljust(8, b"\0")
        if page[0] & 0x3F != 0x2A:
            return able
        for at, bit, capability in (
            (2, 0x08, Capability.DVD), (3, 0x01, Capability.CD_R), (3, 0x02, Capability.CD_RW),
            (3, 0x10, Capability.DVD_R), (3, 0x20, Capability.DVD_RAM), (4, 0x01, Capability.PLAY_AUDIO),
            (5, 0x40, Capability.MCN),
        ):
            able |= capability if page[at] & bit else 0
        able |= Capability.CLOSE_TRAY if page[6] >> 5 == 1 else 0
        return able | (Capability.RAM if self.writable else 0)

    def _packet(self, memory: Memory, argument: int) -> Steps[int]:
        """struct cdrom_generic_command."""
        raw = memory.read(argument, 64)
        buffer, length = unpack_from("=QI", raw, 16)
        sense_at, direction = unpack_from("=QB", raw, 32)
        milliseconds = unpack_from("=i", raw, 44)[0]
        if length > _MOST_PACKET:
            raise Refused(errno.EINVAL)
        out = memory.read(buffer, length) if direction == 1 and length else b""
        wanted = length if direction in (0, 2) else 0
        seconds = milliseconds / 1000 if milliseconds > 0 else _SECONDS
        outcome = yield ScsiTask(self.unit, raw[:12], out, wanted, seconds)
        answer = answer_of(outcome)
        if wanted and answer.data:
            memory.write(buffer, answer.data[:wanted])
        memory.write(argument + 28, pack("=i", 0 if answer.good else -errno.EIO))
        if sense_at and outcome.sense:
            memory.write(sense_at, bytes(outcome.sense[:64]))
        if not answer.good:
            raise Refused(errno.EIO)
        return 0

    def _next_writable(self, memory: Memory, argument: int) -> Steps[int]:
        data = yield from self.ask((0x52, 1, 0, 0, 0, 0xFF, 0, 0, 36), 36, 16)
        if not data[7] & 1:
            raise Refused(errno.EIO)
        memory.write(argument, pack("=q", int.from_bytes(data[12:16], "big")))
        return 0

    def _last_written(self, memory: Memory, argument: int) -> Steps[int]:
        header = yield from self.ask((0x43, 0, 0, 0, 0, 0, 0, 0, 12), 12, 4)
        data = yield from self.ask((0x52, 1, 0, 0, 0, header[3], 0, 0, 36), 36, 28)
        last = int.from_bytes(data[8:12], "big") + int.from_bytes(data[24:28], "big")
        if len(data) >= 32 and data[7] & 2:
            last = int.from_bytes(data[28:32], "big")
        memory.write(argument, pack("=q", last))
        return 0


def _swap(byte: int) -> int:
    """ADR and CONTROL: the structures have ADR in the low bits."""
    return byte >> 4 | (byte & 0x0F) << 4


def _address(raw: bytes, wanted: int) -> bytes:
    """union cdrom_addr: a number of the machine's, or minute, second and frame."""
    return pack("=i", int.from_bytes(raw, "big", signed=True)) if wanted == _LBA else raw[1:4] + b"\0"


def _to_msf(lba: int) -> tuple[int, int, int]:
    minutes, frames = divmod(lba + _LEAD_IN, 60 * 75)
    return (minutes & 0xFF, *divmod(frames, 75))


def _from_msf(raw: bytes) -> int:
    return (raw[0] * 60 + raw[1]) * 75 + raw[2] - _LEAD_IN

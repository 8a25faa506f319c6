"""More ioctls of /dev/srN: structures and authentication of DVDs, volume, what is left of CDROM_*.

Numbers, layouts and rules are those of the uniform CD-ROM driver of Linux (drivers/cdrom/cdrom.c, linux/cdrom.h). There
are no changers of several discs: CDROM_SELECT_DISC is ENOSYS, as there without one.
"""

from __future__ import annotations

import errno
from struct import pack, unpack_from
from typing import Final

from transports.devnode.driver import Steps
from transports.devnode.request import Memory, Refused
from transports.devnode.sr_codes import Capability, Ioctl
from transports.devnode.sr_ioctls import OpticalIoctls

__all__ = ["MoreIoctls"]

_READ_STRUCTURE, _REPORT_KEY, _SEND_KEY, _PLAY = 0xAD, 0xA4, 0xA3, 0x45
_MODE_SENSE, _MODE_SELECT, _AUDIO_PAGE = 0x5A, 0x55, 0x0E
_CHANGEABLE: Final = 0x40
_VOLUMES: Final = (9, 11, 13, 15)           # of ports 0 to 3, in the audio control page
_PAGE_SIZE: Final = 16
_MOST_LAYERS: Final = 4
_LAYER_SIZE: Final = 20
_BCA: Final = 188
_BLOCK: Final = 2048


class _Structure:
    """Types of DVD_READ_STRUCT."""

    PHYSICAL = 0
    COPYRIGHT = 1
    DISC_KEY = 2
    BCA = 3
    MANUFACTURER = 4


class _Key:
    """Types of DVD_AUTH."""

    AGID = 0
    HOST_CHALLENGE = 1
    KEY_1 = 2
    CHALLENGE = 3
    KEY_2 = 4
    ESTABLISHED = 5
    FAILURE = 6
    TITLE_KEY = 7
    ASF = 8
    INVALIDATE = 9
    RPC_STATE = 10
    SET_RPC_STATE = 11


class MoreIoctls(OpticalIoctls):
    """See the module."""

    def __init__(self, unit: int) -> None:
        super().__init__(unit)
        self.methods |= {
            Ioctl.VOLCTRL: self._set_volume, Ioctl.VOLREAD: self._volume, Ioctl.PLAYBLK: self._play_blocks,
            Ioctl.RESET: self._reset, Ioctl.SELECT_DISC: self._select_disc,
            Ioctl.TIMED_MEDIA_CHANGE: self._timed_change,
            Ioctl.DVD_READ_STRUCT: self._read_structure, Ioctl.DVD_AUTH: self._authenticate,
        }

    # --- audio -------------------------------------------------------------------------------------------------

    def _audio_page(self, control: int) -> Steps[bytearray]:
        """Page 0Eh without what is before it. Raises Refused."""
        data = yield from self.ask((_MODE_SENSE, 0, control | _AUDIO_PAGE, 0, 0, 0, 0, 0, 32), 32, 8)
        page = data[8 + int.from_bytes(data[6:8], "big") :][:_PAGE_SIZE]
        if len(page) < _PAGE_SIZE or page[0] & 0x3F != _AUDIO_PAGE or page[1] < _PAGE_SIZE - 2:
            raise Refused(errno.EINVAL)
        return bytearray(page)

    def _volume(self, memory: Memory, argument: int) -> Steps[int]:
        page = yield from self._audio_page(0)
        memory.write(argument, bytes(page[at] for at in _VOLUMES))
        return 0

    def _set_volume(self, memory: Memory, argument: int) -> Steps[int]:
        wanted = memory.read(argument, len(_VOLUMES))
        page = yield from self._audio_page(0)
        mask = yield from self._audio_page(_CHANGEABLE)
        for at, volume in zip(_VOLUMES, wanted, strict=True):
            page[at] = volume & mask[at]
        page[0] &= 0x3F
        parameters = bytes(8) + page
        if not (yield from self.execute((_MODE_SELECT, 0x10, *bytes(6), len(parameters)), parameters)).good:
            raise Refused(errno.EIO)
        return 0

    def _play_blocks(self, memory: Memory, argument: int) -> Steps[int]:
        start, count = unpack_from("=IH", memory.read(argument, 8))
        return (yield from self.do((_PLAY, 0, *start.to_bytes(4, "big"), 0, *count.to_bytes(2, "big"))))

    # --- the drive ---------------------------------------------------------------------------------------------

    def _timed_change(self, memory: Memory, argument: int) -> Steps[int]:
        """struct cdrom_timed_media_change_info: what the program knows; then the last change, and if it is later."""
        yield from self.media_changed(memory, argument)
        known, = unpack_from("=q", memory.read(argument, 16))
        memory.write(argument, pack("=qQ", self.changed_at, int(self.changed_at > known)))
        return 0

    def _reset(self, memory: Memory, argument: int) -> Steps[int]:
        yield from ()
        return 0                            # the driver does nothing either

    def _select_disc(self, memory: Memory, argument: int) -> Steps[int]:
        yield from ()
        raise Refused(errno.ENOSYS)

    # --- DVDs --------------------------------------------------------------------------------------------------

    def _must_be_dvd(self, memory: Memory, argument: int) -> Steps[None]:
        if not (yield from self.methods[Ioctl.GET_CAPABILITY](memory, argument)) & Capability.DVD:
            raise Refused(errno.ENOSYS)

    def _structure(self, kind: int, length: int, least: int, *, layer: int = 0, agid: int = 0) -> Steps[bytes]:
        cdb = (_READ_STRUCTURE, 0, 0, 0, 0, 0, layer, kind, *length.to_bytes(2, "big"), agid << 6)
        return (yield from self.ask(cdb, length, least))

    def _read_structure(self, memory: Memory, argument: int) -> Steps[int]:
        """union dvd_struct, of the type that its first byte says."""
        yield from self._must_be_dvd(memory, argument)
        kind, second = memory.read(argument, 2)
        match kind:
            case _Structure.PHYSICAL:
                if second >= _MOST_LAYERS:
                    raise Refused(errno.EINVAL)
                data = yield from self._structure(kind, 21, 21, layer=second)
                memory.write(argument + 4 + second * _LAYER_SIZE, _layer(data[4:]))
            case _Structure.COPYRIGHT:
                data = yield from self._structure(kind, 8, 6, layer=second)
                memory.write(argument + 2, data[4:6])
            case _Structure.DISC_KEY:
                data = yield from self._structure(kind, 4 + _BLOCK, 4 + _BLOCK, agid=second & 3)
                memory.write(argument + 2, data[4 : 4 + _BLOCK])
            case _Structure.BCA:
                data = yield from self._structure(kind, 4 + _BCA, 4)
                length = int.from_bytes(data[:2], "big")
                if not 12 <= length <= _BCA:
                    raise Refused(errno.EIO)
                memory.write(argument + 4, pack("=i", length) + data[4 : 4 + length])
            case _Structure.MANUFACTURER:
                data = yield from self._structure(kind, 4 + _BLOCK, 4)
                length = int.from_bytes(data[:2], "big")
                if length > _BLOCK:
                    raise Refused(errno.EIO)
                memory.write(argument + 4, pack("=i", length) + data[4 : 4 + length])
            case _:
                raise Refused(errno.EINVAL)
        return 0

    def _report_key(self, kind: int, length: int, *, agid: int = 0, lba: int = 0) -> Steps[bytes]:
        cdb = (_REPORT_KEY, 0, *lba.to_bytes(4, "big"), 0, 0, *length.to_bytes(2, "big"), kind | agid << 6)
        return (yield from self.ask(cdb, length, length))

    def _send_key(self, kind: int, content: bytes, *, agid: int) -> Steps[bool]:
        parameters = (len(content) + 2).to_bytes(2, "big") + bytes(2) + content
        length = len(parameters).to_bytes(2, "big")
        cdb = (_SEND_KEY, *bytes(7), *length, kind | agid << 6)
        return (yield from self.execute(cdb, parameters)).good

    def _authenticate(self, memory: Memory, argument: int) -> Steps[int]:
        """union dvd_authinfo, of the type that its first byte says."""
        yield from self._must_be_dvd(memory, argument)
        kind, second = memory.read(argument, 2)
        agid = second & 3
        match kind:
            case _Key.AGID:
                data = yield from self._report_key(0, 8)
                memory.write(argument + 1, bytes((second & ~3 | data[7] >> 6,)))
            case _Key.KEY_1:
                data = yield from self._report_key(2, 12, agid=agid)
                memory.write(argument + 2, data[4:9])
            case _Key.CHALLENGE:
                data = yield from self._report_key(1, 16, agid=agid)
                memory.write(argument + 2, data[4:14])
            case _Key.TITLE_KEY:
                lba, = unpack_from("=I", memory.read(argument + 8, 4))
                data = yield from self._report_key(4, 12, agid=agid, lba=lba)
                memory.write(argument + 2, data[5:10])
                memory.write(argument + 12, bytes((data[4] >> 7 | data[4] >> 5 & 2 | data[4] >> 2 & 0x0C,)))
            case _Key.ASF:
                data = yield from self._report_key(5, 8, agid=agid)
                memory.write(argument + 1, bytes((second & ~4 | (data[7] & 1) << 2,)))
            case _Key.INVALIDATE:
                yield from self._report_key(0x3F, 0, agid=agid)
            case _Key.RPC_STATE:
                data = yield from self._report_key(8, 8)
                state = data[4] >> 6 | (data[4] >> 3 & 7) << 2 | (data[4] & 7) << 5
                memory.write(argument, bytes((state, data[5], data[6])))
            case _:
                yield from self._send(memory, argument, kind, agid)
        return 0

    def _send(self, memory: Memory, argument: int, kind: int, agid: int) -> Steps[None]:
        """What goes to the drive; the type becomes that of the next step."""
        if kind == _Key.HOST_CHALLENGE:
            content = memory.read(argument + 2, 10) + bytes(2)
            good, after = (yield from self._send_key(1, content, agid=agid)), _Key.KEY_1
        elif kind == _Key.KEY_2:
            content = memory.read(argument + 2, 5) + bytes(3)
            good, after = (yield from self._send_key(3, content, agid=agid)), _Key.ESTABLISHED
            if not good:
                memory.write(argument, bytes((_Key.FAILURE,)))
        elif kind == _Key.SET_RPC_STATE:
            content = memory.read(argument + 1, 1) + bytes(3)
            good, after = (yield from self._send_key(6, content, agid=0)), kind
        else:
            raise Refused(errno.ENOTTY)
        if not good:
            raise Refused(errno.EIO)
        memory.write(argument, bytes((after,)))


def _layer(raw: bytes) -> bytes:
    """struct dvd_layer, whose bit fields fill bytes from the lowest bit on."""
    places = (int.from_bytes(raw[at : at + 3], "big") for at in (5, 9, 13))
    return bytes((raw[0], raw[1], raw[2] & 0x7F, raw[3], raw[16] >> 7, 0, 0, 0)) + pack("=III", *places)

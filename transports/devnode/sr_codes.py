"""Numbers of the Linux driver for optical drives (include/uapi/linux/cdrom.h, linux/fs.h), 64-bit layout."""

from __future__ import annotations

from enum import IntEnum, IntFlag

__all__ = ["Capability", "DiscStatus", "DriveStatus", "Ioctl"]


class Ioctl(IntEnum):
    """Numbers of ioctl(2)."""

    BLKROGET = 0x125E
    BLKGETSIZE = 0x1260
    BLKFLSBUF = 0x1261
    BLKRAGET = 0x1263
    BLKSSZGET = 0x1268
    BLKIOMIN = 0x1278
    BLKIOOPT = 0x1279
    BLKALIGNOFF = 0x127A
    BLKPBSZGET = 0x127B
    BLKBSZGET = 0x80081270
    BLKGETSIZE64 = 0x80081272
    PAUSE = 0x5301
    RESUME = 0x5302
    PLAYMSF = 0x5303
    PLAYTRKIND = 0x5304
    READTOCHDR = 0x5305
    READTOCENTRY = 0x5306
    STOP = 0x5307
    START = 0x5308
    EJECT = 0x5309
    VOLCTRL = 0x530A
    SUBCHNL = 0x530B
    READMODE2 = 0x530C
    READMODE1 = 0x530D
    READAUDIO = 0x530E
    EJECT_SW = 0x530F
    MULTISESSION = 0x5310
    GET_MCN = 0x5311
    RESET = 0x5312
    VOLREAD = 0x5313
    READRAW = 0x5314
    READCOOKED = 0x5315
    PLAYBLK = 0x5317
    CLOSETRAY = 0x5319
    SET_OPTIONS = 0x5320
    CLEAR_OPTIONS = 0x5321
    SELECT_SPEED = 0x5322
    SELECT_DISC = 0x5323
    MEDIA_CHANGED = 0x5325
    DRIVE_STATUS = 0x5326
    DISC_STATUS = 0x5327
    CHANGER_NSLOTS = 0x5328
    LOCKDOOR = 0x5329
    GET_CAPABILITY = 0x5331
    DVD_READ_STRUCT = 0x5390
    DVD_AUTH = 0x5392
    SEND_PACKET = 0x5393
    NEXT_WRITABLE = 0x5394
    TIMED_MEDIA_CHANGE = 0x5396
    LAST_WRITTEN = 0x5395


class DriveStatus(IntEnum):
    """What DRIVE_STATUS returns."""

    NO_DISC = 1
    TRAY_OPEN = 2
    NOT_READY = 3
    DISC_OK = 4


class DiscStatus(IntEnum):
    """What DISC_STATUS returns."""

    NO_INFO = 0
    AUDIO = 100
    DATA_1 = 101
    MIXED = 105


class Capability(IntFlag):
    """What GET_CAPABILITY returns."""

    CLOSE_TRAY = 0x1
    OPEN_TRAY = 0x2
    LOCK = 0x4
    SELECT_SPEED = 0x8
    MULTI_SESSION = 0x20
    MCN = 0x40
    MEDIA_CHANGED = 0x80
    PLAY_AUDIO = 0x100
    DRIVE_STATUS = 0x800
    GENERIC_PACKET = 0x1000
    CD_R = 0x2000
    CD_RW = 0x4000
    DVD = 0x8000
    DVD_R = 0x10000
    DVD_RAM = 0x20000
    MRW_W = 0x100000
    RAM = 0x200000

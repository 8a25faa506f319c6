"""Numbers of the Linux tape driver (include/uapi/linux/mtio.h), and its structures for 64-bit programs."""

from __future__ import annotations

from enum import IntEnum, IntFlag
from struct import Struct
from typing import Final

__all__ = ["MTIOCGET", "MTIOCPOS", "MTIOCTOP", "MT_GET", "MT_OP", "MT_POS", "Boolean", "Gstat", "Op", "Options"]

MTIOCTOP: Final = 0x40086D01
MTIOCGET: Final = 0x80306D02
MTIOCPOS: Final = 0x80086D03

MT_OP: Final = Struct("=h2xi")
# type resid dsreg gstat erreg fileno blkno
MT_GET: Final = Struct("=qqqqqii")
MT_POS: Final = Struct("=q")


class Op(IntEnum):
    """mt_op."""

    RESET = 0
    FSF = 1
    BSF = 2
    FSR = 3
    BSR = 4
    WEOF = 5
    REW = 6
    OFFL = 7
    NOP = 8
    RETEN = 9
    BSFM = 10
    FSFM = 11
    EOM = 12
    ERASE = 13
    SETBLK = 20
    SETDENSITY = 21
    SEEK = 22
    TELL = 23
    SETDRVBUFFER = 24
    FSS = 25
    BSS = 26
    WSM = 27
    LOCK = 28
    UNLOCK = 29
    LOAD = 30
    UNLOAD = 31
    COMPRESSION = 32
    SETPART = 33
    MKPART = 34
    WEOFI = 35


class Gstat(IntFlag):
    """mt_gstat."""

    EOF = 0x80000000
    BOT = 0x40000000
    EOT = 0x20000000
    SM = 0x10000000
    EOD = 0x08000000
    WR_PROT = 0x04000000
    ONLINE = 0x01000000
    D_6250 = 0x00800000
    D_1600 = 0x00400000
    D_800 = 0x00200000
    DR_OPEN = 0x00040000
    IM_REP_EN = 0x00010000
    CLN = 0x00008000


class Options:
    """The count of SETDRVBUFFER that sets options: the highest four bits say which."""

    MASK: Final = 0xF0000000
    BOOLEANS: Final = 0x10000000
    WRITE_THRESHOLD: Final = 0x20000000
    SET_BOOLEANS: Final = 0x30000000
    CLEAR_BOOLEANS: Final = 0x40000000
    DEFAULT_BLOCK_SIZE: Final = 0x50000000
    DEFAULTS: Final = 0x60000000
    TIMEOUTS: Final = 0x70000000
    CLEANING: Final = 0x80000000
    DENSITY: Final = 0x60100000
    COMPRESSION: Final = 0x60200000
    DRIVE_BUFFER: Final = 0x60300000
    LONG_TIMEOUT: Final = 0x70100000


class Boolean(IntFlag):
    """MT_ST_ booleans of `Options`."""

    BUFFER_WRITES = 0x1
    ASYNC_WRITES = 0x2
    READ_AHEAD = 0x4
    DEBUGGING = 0x8
    TWO_FM = 0x10
    FAST_MTEOM = 0x20
    AUTO_LOCK = 0x40
    DEF_WRITES = 0x80
    CAN_BSR = 0x100
    NO_BLKLIMS = 0x200
    CAN_PARTITIONS = 0x400
    SCSI2LOGICAL = 0x800
    SYSV = 0x1000
    NOWAIT = 0x2000
    SILI = 0x4000
    NOWAIT_EOF = 0x8000

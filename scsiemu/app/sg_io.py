"""Commands to a unit by a device node of this machine: the SG_IO ioctl of Linux, version 3 of its header.

Data-In only: for questions that change nothing. Nothing is retried; what the host adapter says is an OSError.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
from typing import Final

from scsiemu.services import Outcome

__all__ = ["SgIoUnit"]

_SG_IO: Final = 0x2285
_NO_DATA: Final = -1
_FROM_DEVICE: Final = -3
_SENSE: Final = 252
_DRIVER_SENSE: Final = 8


class _Header(ctypes.Structure):
    """struct sg_io_hdr."""

    _fields_ = [
        ("interface_id", ctypes.c_int), ("dxfer_direction", ctypes.c_int), ("cmd_len", ctypes.c_ubyte),
        ("mx_sb_len", ctypes.c_ubyte), ("iovec_count", ctypes.c_ushort), ("dxfer_len", ctypes.c_uint),
        ("dxferp", ctypes.c_void_p), ("cmdp", ctypes.c_void_p), ("sbp", ctypes.c_void_p), ("timeout", ctypes.c_uint),
        ("flags", ctypes.c_uint), ("pack_id", ctypes.c_int), ("usr_ptr", ctypes.c_void_p), ("status", ctypes.c_ubyte),
        ("masked_status", ctypes.c_ubyte), ("msg_status", ctypes.c_ubyte), ("sb_len_wr", ctypes.c_ubyte),
        ("host_status", ctypes.c_ushort), ("driver_status", ctypes.c_ushort), ("resid", ctypes.c_int),
        ("duration", ctypes.c_uint), ("info", ctypes.c_uint),
    ]


class SgIoUnit:
    """A unit behind a device node. Raises OSError where that cannot be opened.

    Args:
        path: /dev/sgN, or another node that takes SG_IO.
        seconds: that a command may take.
    """

    def __init__(self, path: str, *, seconds: float) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK)
        self._milliseconds = min(int(seconds * 1000), 0xFFFFFFFF)

    def execute(self, cdb: bytes, *, data_in_length: int = 0) -> Outcome:
        """Execute a command, and wait for its end. Raises OSError where the node or the host refuses it."""
        command = ctypes.create_string_buffer(cdb, len(cdb))
        data = ctypes.create_string_buffer(data_in_length)
        sense = ctypes.create_string_buffer(_SENSE)
        header = _Header(
            interface_id=ord("S"), dxfer_direction=_FROM_DEVICE if data_in_length else _NO_DATA, cmd_len=len(cdb),
            mx_sb_len=_SENSE, dxfer_len=data_in_length, cmdp=ctypes.addressof(command), sbp=ctypes.addressof(sense),
            timeout=self._milliseconds,
        )
        if data_in_length:                          # without data there may be no buffer
            header.dxferp = ctypes.addressof(data)
        fcntl.ioctl(self._descriptor, _SG_IO, header)
        if header.host_status or header.driver_status & ~_DRIVER_SENSE:
            raise OSError(errno.EIO, f"host status {header.host_status:02X}h, driver {header.driver_status:02X}h")
        taken = max(data_in_length - max(header.resid, 0), 0)
        return Outcome(header.status, sense.raw[: header.sb_len_wr], data.raw[:taken], max(header.resid, 0))

    def close(self) -> None:
        """Close the node."""
        os.close(self._descriptor)

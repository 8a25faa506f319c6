"""Structures and numbers of the Linux sg and bsg drivers (include/scsi/sg.h, uapi/linux/bsg.h), 64-bit layout.

Bytes to values and back. What the drivers do with them is in sg.py. 32-bit layouts are not here: programs of another
architecture are refused (bpf.py).
"""

from __future__ import annotations

from struct import Struct
from typing import Final

__all__ = [
    "IOVEC_LIMIT", "V2_SIZE", "V3_SIZE", "V4_SIZE", "Direction", "DriverStatus", "Flags", "Info", "Ioctl", "SgHeader",
    "SgV4", "request_info", "scsi_id",
]

V2_SIZE: Final = 36                 # struct sg_header, of versions 1 and 2
V3_SIZE: Final = 88
V4_SIZE: Final = 160
IOVEC_LIMIT: Final = 1024           # UIO_MAXIOV


class Ioctl:
    """Numbers of ioctl(2)."""

    SCSI_GET_IDLUN: Final = 0x5382
    SCSI_PROBE_HOST: Final = 0x5385
    SCSI_GET_BUS_NUMBER: Final = 0x5386
    BLKSECTGET: Final = 0x1267
    SG_SET_TIMEOUT: Final = 0x2201
    SG_GET_TIMEOUT: Final = 0x2202
    SG_EMULATED_HOST: Final = 0x2203
    SG_GET_COMMAND_Q: Final = 0x2270
    SG_SET_COMMAND_Q: Final = 0x2271
    SG_GET_RESERVED_SIZE: Final = 0x2272
    SG_SET_RESERVED_SIZE: Final = 0x2275
    SG_GET_SCSI_ID: Final = 0x2276
    SG_SET_FORCE_LOW_DMA: Final = 0x2279
    SG_GET_LOW_DMA: Final = 0x227A
    SG_SET_FORCE_PACK_ID: Final = 0x227B
    SG_GET_PACK_ID: Final = 0x227C
    SG_GET_NUM_WAITING: Final = 0x227D
    SG_SET_DEBUG: Final = 0x227E
    SG_GET_SG_TABLESIZE: Final = 0x227F
    SG_GET_VERSION_NUM: Final = 0x2282
    SG_NEXT_CMD_LEN: Final = 0x2283
    SG_SCSI_RESET: Final = 0x2284
    SG_IO: Final = 0x2285
    SG_GET_REQUEST_TABLE: Final = 0x2286
    SG_SET_KEEP_ORPHAN: Final = 0x2287
    SG_GET_KEEP_ORPHAN: Final = 0x2288
    SG_GET_ACCESS_COUNT: Final = 0x2289


class Direction:
    """dxfer_direction of sg_io_hdr."""

    NONE: Final = -1
    TO_DEVICE: Final = -2
    FROM_DEVICE: Final = -3
    TO_FROM_DEVICE: Final = -4      # from the device, into a buffer that was filled from the program's
    UNKNOWN: Final = -5


class Flags:
    """flags of sg_io_hdr."""

    DIRECT_IO: Final = 0x1
    MMAP_IO: Final = 0x4
    NO_TRANSFER: Final = 0x10000


class Info:
    """info of sg_io_hdr and sg_io_v4."""

    CHECK: Final = 0x1


class DriverStatus:
    """Driver byte: only this one is left in Linux."""

    SENSE: Final = 0x08


class SgHeader:
    """struct sg_io_hdr, version 3. Names are those of the header file."""

    __slots__ = (
        "cmd_len", "cmdp", "driver_status", "duration", "dxfer_direction", "dxfer_len", "dxferp", "flags",
        "host_status", "info", "interface_id", "iovec_count", "masked_status", "msg_status", "mx_sb_len", "pack_id",
        "resid", "sb_len_wr", "sbp", "status", "timeout", "usr_ptr",
    )

    cmd_len: int
    cmdp: int
    driver_status: int
    duration: int
    dxfer_direction: int
    dxfer_len: int
    dxferp: int
    flags: int
    host_status: int
    info: int
    interface_id: int
    iovec_count: int
    masked_status: int
    msg_status: int
    mx_sb_len: int
    pack_id: int
    resid: int
    sb_len_wr: int
    sbp: int
    status: int
    timeout: int
    usr_ptr: int

    _LAYOUT: Final = Struct("=iiBBHIQQQIIi4xQBBBBHHiII4x")

    def __init__(self, raw: bytes) -> None:
        (
            self.interface_id, self.dxfer_direction, self.cmd_len, self.mx_sb_len, self.iovec_count, self.dxfer_len,
            self.dxferp, self.cmdp, self.sbp, self.timeout, self.flags, self.pack_id, self.usr_ptr, *_,
        ) = self._LAYOUT.unpack(raw)
        self.status = self.masked_status = self.msg_status = self.sb_len_wr = 0
        self.host_status = self.driver_status = self.resid = self.duration = self.info = 0

    def encode(self) -> bytes:
        """The structure as the program gets it back."""
        return self._LAYOUT.pack(
            self.interface_id, self.dxfer_direction, self.cmd_len, self.mx_sb_len, self.iovec_count, self.dxfer_len,
            self.dxferp, self.cmdp, self.sbp, self.timeout, self.flags, self.pack_id, self.usr_ptr, self.status,
            self.masked_status, self.msg_status, self.sb_len_wr, self.host_status, self.driver_status, self.resid,
            self.duration, self.info,
        )


class SgV4:
    """struct sg_io_v4. Names are those of the header file."""

    __slots__ = (
        "device_status", "din_iovec_count", "din_resid", "din_xfer_len", "din_xferp", "dout_iovec_count",
        "dout_resid", "dout_xfer_len", "dout_xferp", "driver_status", "duration", "flags", "generated_tag", "guard",
        "info", "max_response_len", "protocol", "request", "request_attr", "request_extra", "request_len",
        "request_priority", "request_tag", "response", "response_len", "retry_delay", "spare_in", "subprotocol",
        "timeout", "transport_status", "usr_ptr",
    )

    device_status: int
    din_iovec_count: int
    din_resid: int
    din_xfer_len: int
    din_xferp: int
    dout_iovec_count: int
    dout_resid: int
    dout_xfer_len: int
    dout_xferp: int
    driver_status: int
    duration: int
    flags: int
    generated_tag: int
    guard: int
    info: int
    max_response_len: int
    protocol: int
    request: int
    request_attr: int
    request_extra: int
    request_len: int
    request_priority: int
    request_tag: int
    response: int
    response_len: int
    retry_delay: int
    spare_in: int
    subprotocol: int
    timeout: int
    transport_status: int
    usr_ptr: int

    _LAYOUT: Final = Struct("=iIIIQQIIIIQIIIIQQIIQIIIIIIIIiiQII")

    def __init__(self, raw: bytes) -> None:
        (
            self.guard, self.protocol, self.subprotocol, self.request_len, self.request, self.request_tag,
            self.request_attr, self.request_priority, self.request_extra, self.max_response_len, self.response,
            self.dout_iovec_count, self.dout_xfer_len, self.din_iovec_count, self.din_xfer_len, self.dout_xferp,
            self.din_xferp, self.timeout, self.flags, self.usr_ptr, self.spare_in, *_,
        ) = self._LAYOUT.unpack(raw)
        self.driver_status = self.transport_status = self.device_status = self.retry_delay = self.info = 0
        self.duration = self.response_len = self.din_resid = self.dout_resid = self.generated_tag = 0

    def encode(self) -> bytes:
        """The structure as the program gets it back."""
        return self._LAYOUT.pack(
            self.guard, self.protocol, self.subprotocol, self.request_len, self.request, self.request_tag,
            self.request_attr, self.request_priority, self.request_extra, self.max_response_len, self.response,
            self.dout_iovec_count, self.dout_xfer_len, self.din_iovec_count, self.din_xfer_len, self.dout_xferp,
            self.din_xferp, self.timeout, self.flags, self.usr_ptr, self.spare_in, self.driver_status,
            self.transport_status, self.device_status, self.retry_delay, self.info, self.duration, self.response_len,
            self.din_resid, self.dout_resid, self.generated_tag, 0, 0,
        )


_SCSI_ID: Final = Struct("=iiiiihhii")
_REQUEST_INFO: Final = Struct("=bbbbiQIi")


def scsi_id(host: int, channel: int, target: int, lun: int, device_type: int) -> bytes:
    """struct sg_scsi_id: one command for each LUN is what old drivers said, 32 deep is ours."""
    return _SCSI_ID.pack(host, channel, target, lun, device_type, 1, 32, 0, 0)


def request_info(state: int, *, owned: bool, problem: bool, pack_id: int, usr_ptr: int, duration: int) -> bytes:
    """struct sg_req_info. State: 0 unused, 1 under way, 2 ready to be read."""
    return _REQUEST_INFO.pack(state, 0, owned, problem, pack_id, usr_ptr, duration, 0)

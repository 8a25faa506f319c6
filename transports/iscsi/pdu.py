"""The PDUs of iSCSI as values: layouts of every basic header segment (RFC 7143 clause 11, RFC 7144).

One slots class for each opcode, with the field names of the RFC in lower case (ITT, TTT and the sequence
numbers by their abbreviations: `itt`, `ttt`, `cmd_sn`, `exp_stat_sn`, `stat_sn`, `exp_cmd_sn`, `max_cmd_sn`).

    pdu = decode_bhs(header)                               # any opcode; unknown ones become BadPdu
    header = pdu.bhs()                                     # 48 bytes; framing.encode() adds all the rest
    data_in_bhs(...) scsi_response_bhs(...) r2t_bhs(...)   # hot builders: one Struct.pack

A LUN is the 64-bit field as an integer. `data` of a received PDU is a memoryview that is valid only until the
next call of the reader (see framing.py): who keeps it, copies it.

It does NOT: cut streams into PDUs, check digests or lengths (framing.py, ahs.py); judge field values
(session, login); decode the text of Login and Text PDUs (keys.py).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from operator import attrgetter
from struct import Struct
from typing import ClassVar, Final, Self

from scsiemu.command import Buffer
from transports.iscsi.ahs import build_ahs
from transports.iscsi.codes import (
    BHS_LENGTH,
    NO_TAG,
    Flags,
    LogoutResponseCode,
    Opcode,
    RejectReason,
    ScsiResponseCode,
    TmfResponseCode,
)

__all__ = [
    "PDU_CLASSES",
    "R2T",
    "AsyncMessage",
    "BadPdu",
    "DataIn",
    "DataOut",
    "LoginRequest",
    "LoginResponse",
    "LogoutRequest",
    "LogoutResponse",
    "NopIn",
    "NopOut",
    "Pdu",
    "Reject",
    "ScsiCommand",
    "ScsiResponse",
    "Snack",
    "TaskManagementRequest",
    "TaskManagementResponse",
    "TextRequest",
    "TextResponse",
    "data_in_bhs",
    "decode_bhs",
    "pack_plain",
    "pack_response",
    "r2t_bhs",
    "scsi_response_bhs",
]

@dataclass(slots=True)
class Pdu:
    """What all PDUs have. `data` is the data segment without padding.

    Attributes:
        immediate: the I bit.
        data_digest_error: the data digest was wrong (answer: Reject 0x02, then discard).
    """

    OPCODE: ClassVar[int]
    _STRUCT: ClassVar[Struct]               # the whole BHS: opcode, bytes 1 to 3, lengths, the other fields
    _BEFORE: ClassVar[int] = 1              # how many fields are in bytes 1 to 3

    immediate: bool = field(default=False, kw_only=True)
    data: Buffer = field(default=b"", kw_only=True)
    data_digest_error: bool = field(default=False, kw_only=True)

    @classmethod
    def from_bhs(cls, bhs: Buffer, offset: int = 0) -> Self:
        """The PDU whose 48 bytes of BHS begin at `offset`; without data and AHS."""
        values = cls._STRUCT.unpack_from(bhs, offset)
        split = 1 + cls._BEFORE
        pdu = cls(*values[1:split], *values[split + 1:])
        if values[0] & Opcode.IMMEDIATE:
            pdu.immediate = True
        return pdu

    def bhs(self, *, ahs_words: int = 0, data_length: int | None = None) -> bytes:
        """The 48 bytes of its BHS. `data_length` is len(data) unless told."""
        length = len(self.data) if data_length is None else data_length
        values = _FIELDS[self.OPCODE](self)
        opcode = self.OPCODE | (Opcode.IMMEDIATE if self.immediate else 0)
        before = self._BEFORE
        return self._STRUCT.pack(opcode, *values[:before], ahs_words << 24 | length, *values[before:])


@dataclass(slots=True)
class BadPdu(Pdu):
    """A PDU whole on the wire that cannot be one of ours: answer Reject with `reason`, then discard it."""

    OPCODE = -1

    opcode: int
    header: bytes
    reason: int

    def bhs(self, *, ahs_words: int = 0, data_length: int | None = None) -> bytes:
        """The header as it came."""
        return self.header


@dataclass(slots=True)
class NopOut(Pdu):
    """NOP-Out (11.18)."""

    OPCODE = Opcode.NOP_OUT
    _STRUCT = Struct(">BBxxIQIIII16x")

    flags: int = Flags.FINAL
    lun: int = 0
    itt: int = NO_TAG
    ttt: int = NO_TAG
    cmd_sn: int = 0
    exp_stat_sn: int = 0


@dataclass(slots=True)
class NopIn(Pdu):
    """NOP-In (11.19)."""

    OPCODE = Opcode.NOP_IN
    _STRUCT = Struct(">BBxxIQIIIII12x")

    flags: int = Flags.FINAL
    lun: int = 0
    itt: int = NO_TAG
    ttt: int = NO_TAG
    stat_sn: int = 0
    exp_cmd_sn: int = 0
    max_cmd_sn: int = 0


@dataclass(slots=True)
class ScsiCommand(Pdu):
    """SCSI Command (11.3). `cdb` is 16 bytes, or as long as the extended CDB segment makes it (up to 260).

    Attributes:
        priority_byte: byte 2; command priority is its high nibble (RFC 7144 4.1).
        read_length: Bidirectional Read Expected Data Transfer Length of its AHS, None without one.
        ahs_flaw: bits of `codes.AhsFlaw`.
    """

    OPCODE = Opcode.SCSI_COMMAND
    _STRUCT = Struct(">BBBxIQIIII16s")
    _BEFORE = 2

    flags: int = Flags.FINAL
    priority_byte: int = 0
    lun: int = 0
    itt: int = 0
    expected_data_transfer_length: int = 0
    cmd_sn: int = 0
    exp_stat_sn: int = 0
    cdb: bytes = bytes(16)
    read_length: int | None = field(default=None, kw_only=True)
    ahs_flaw: int = field(default=0, kw_only=True)

    @property
    def priority(self) -> int:
        """Command priority, 0 for none (RFC 7144 4.1)."""
        return self.priority_byte >> 4

    def bhs(self, *, ahs_words: int = 0, data_length: int | None = None) -> bytes:
        """The 48 bytes of its BHS: the first 16 bytes of the CDB; the rest goes into the AHS."""
        length = len(self.data) if data_length is None else data_length
        return self._STRUCT.pack(
            Opcode.SCSI_COMMAND | (Opcode.IMMEDIATE if self.immediate else 0), self.flags, self.priority_byte,
            ahs_words << 24 | length, self.lun, self.itt, self.expected_data_transfer_length, self.cmd_sn,
            self.exp_stat_sn, self.cdb[:16],
        )

    def ahs(self) -> bytes:
        """Its additional header segments, empty where 16 bytes of CDB say it all."""
        if self.read_length is None and len(self.cdb) <= 16:
            return b""
        return build_ahs(self.cdb, self.read_length)


@dataclass(slots=True)
class ScsiResponse(Pdu):
    """SCSI Response (11.4). Its data is SenseLength (2 bytes), sense data, response data."""

    OPCODE = Opcode.SCSI_RESPONSE
    _STRUCT = Struct(">BBBBIH6xIIIIIIII")
    _BEFORE = 3

    flags: int = Flags.FINAL
    response: int = ScsiResponseCode.COMMAND_COMPLETED
    status: int = 0
    status_qualifier: int = 0               # RFC 7144 4.2
    itt: int = 0
    snack_tag: int = 0
    stat_sn: int = 0
    exp_cmd_sn: int = 0
    max_cmd_sn: int = 0
    exp_data_sn: int = 0
    bidi_residual_count: int = 0
    residual_count: int = 0


@dataclass(slots=True)
class TaskManagementRequest(Pdu):
    """Task Management Function Request (11.5)."""

    OPCODE = Opcode.TASK_MANAGEMENT_REQUEST
    _STRUCT = Struct(">BBxxIQIIIIII8x")

    flags: int = Flags.FINAL
    lun: int = 0
    itt: int = 0
    referenced_task_tag: int = NO_TAG
    cmd_sn: int = 0
    exp_stat_sn: int = 0
    ref_cmd_sn: int = 0
    exp_data_sn: int = 0

    @property
    def function(self) -> int:
        """One of `TmfCode`."""
        return self.flags & 0x7F


@dataclass(slots=True)
class TaskManagementResponse(Pdu):
    """Task Management Function Response (11.6)."""

    OPCODE = Opcode.TASK_MANAGEMENT_RESPONSE
    _STRUCT = Struct(">BBBxI3s5xI4xIII12x")
    _BEFORE = 2

    flags: int = Flags.FINAL
    response: int = TmfResponseCode.FUNCTION_COMPLETE
    additional_response_information: bytes = bytes(3)      # RFC 7144
    itt: int = 0
    stat_sn: int = 0
    exp_cmd_sn: int = 0
    max_cmd_sn: int = 0


@dataclass(slots=True)
class DataOut(Pdu):
    """SCSI Data-Out (11.7)."""

    OPCODE = Opcode.DATA_OUT
    _STRUCT = Struct(">BBxxIQII4xI4xII4x")

    flags: int = 0
    lun: int = 0
    itt: int = 0
    ttt: int = NO_TAG
    exp_stat_sn: int = 0
    data_sn: int = 0
    buffer_offset: int = 0


@dataclass(slots=True)
class DataIn(Pdu):
    """SCSI Data-In (11.7). `status` counts when flags has `Flags.STATUS`."""

    OPCODE = Opcode.DATA_IN
    _STRUCT = Struct(">BBxBIQIIIIIIII")
    _BEFORE = 2

    flags: int = 0
    status: int = 0
    lun: int = 0
    itt: int = 0
    ttt: int = NO_TAG
    stat_sn: int = 0
    exp_cmd_sn: int = 0
    max_cmd_sn: int = 0
    data_sn: int = 0
    buffer_offset: int = 0
    residual_count: int = 0


@dataclass(slots=True)
class R2T(Pdu):
    """Ready To Transfer (11.8)."""

    OPCODE = Opcode.R2T
    _STRUCT = Struct(">BBxxIQIIIIIIII")

    flags: int = Flags.FINAL
    lun: int = 0
    itt: int = 0
    ttt: int = 0
    stat_sn: int = 0
    exp_cmd_sn: int = 0
    max_cmd_sn: int = 0
    r2t_sn: int = 0
    buffer_offset: int = 0
    desired_data_transfer_length: int = 0


@dataclass(slots=True)
class AsyncMessage(Pdu):
    """Asynchronous Message (11.9). The ITT field is always 0xffffffff."""

    OPCODE = Opcode.ASYNC_MESSAGE
    _STRUCT = Struct(">BBxxIQI4xIIIBBHHH4x")

    flags: int = Flags.FINAL
    lun: int = 0
    itt: int = NO_TAG
    stat_sn: int = 0
    exp_cmd_sn: int = 0
    max_cmd_sn: int = 0
    async_event: int = 0
    async_vcode: int = 0
    parameter1: int = 0
    parameter2: int = 0
    parameter3: int = 0


@dataclass(slots=True)
class TextRequest(Pdu):
    """Text Request (11.10)."""

    OPCODE = Opcode.TEXT_REQUEST
    _STRUCT = Struct(">BBxxIQIIII16x")

    flags: int = Flags.FINAL
    lun: int = 0
    itt: int = 0
    ttt: int = NO_TAG
    cmd_sn: int = 0
    exp_stat_sn: int = 0


@dataclass(slots=True)
class TextResponse(Pdu):
    """Text Response (11.11)."""

    OPCODE = Opcode.TEXT_RESPONSE
    _STRUCT = Struct(">BBxxIQIIIII12x")

    flags: int = Flags.FINAL
    lun: int = 0
    itt: int = 0
    ttt: int = NO_TAG
    stat_sn: int = 0
    exp_cmd_sn: int = 0
    max_cmd_sn: int = 0


@dataclass(slots=True)
class LoginRequest(Pdu):
    """Login Request (11.12). It is always immediate."""

    OPCODE = Opcode.LOGIN_REQUEST
    _STRUCT = Struct(">BBBBI6sHIH2xII16x")
    _BEFORE = 3

    flags: int = 0
    version_max: int = 0
    version_min: int = 0
    isid: bytes = bytes(6)
    tsih: int = 0
    itt: int = 0
    cid: int = 0
    cmd_sn: int = 0
    exp_stat_sn: int = 0

    @property
    def current_stage(self) -> int:
        """CSG."""
        return self.flags >> 2 & 3

    @property
    def next_stage(self) -> int:
        """NSG."""
        return self.flags & 3


@dataclass(slots=True)
class LoginResponse(Pdu):
    """Login Response (11.13)."""

    OPCODE = Opcode.LOGIN_RESPONSE
    _STRUCT = Struct(">BBBBI6sHI4xIIIBB10x")
    _BEFORE = 3

    flags: int = 0
    version_max: int = 0
    version_active: int = 0
    isid: bytes = bytes(6)
    tsih: int = 0
    itt: int = 0
    stat_sn: int = 0
    exp_cmd_sn: int = 0
    max_cmd_sn: int = 0
    status_class: int = 0
    status_detail: int = 0

    @property
    def current_stage(self) -> int:
        """CSG."""
        return self.flags >> 2 & 3

    @property
    def next_stage(self) -> int:
        """NSG."""
        return self.flags & 3

    @property
    def status(self) -> int:
        """Class and detail as one number, 0x0201 for an authentication failure."""
        return self.status_class << 8 | self.status_detail


@dataclass(slots=True)
class LogoutRequest(Pdu):
    """Logout Request (11.14)."""

    OPCODE = Opcode.LOGOUT_REQUEST
    _STRUCT = Struct(">BBxxI8xIH2xII16x")

    flags: int = Flags.FINAL
    itt: int = 0
    cid: int = 0
    cmd_sn: int = 0
    exp_stat_sn: int = 0

    @property
    def reason(self) -> int:
        """One of `LogoutReason`."""
        return self.flags & 0x7F


@dataclass(slots=True)
class LogoutResponse(Pdu):
    """Logout Response (11.15)."""

    OPCODE = Opcode.LOGOUT_RESPONSE
    _STRUCT = Struct(">BBBxI8xI4xIII4xHH4x")
    _BEFORE = 2

    flags: int = Flags.FINAL
    response: int = LogoutResponseCode.CLOSED
    itt: int = 0
    stat_sn: int = 0
    exp_cmd_sn: int = 0
    max_cmd_sn: int = 0
    time2wait: int = 0
    time2retain: int = 0


@dataclass(slots=True)
class Snack(Pdu):
    """SNACK Request (11.16). `ttt` is the Target Transfer Tag or SNACK Tag."""

    OPCODE = Opcode.SNACK
    _STRUCT = Struct(">BBxxIQII4xI8xII")

    flags: int = Flags.FINAL
    lun: int = 0
    itt: int = 0
    ttt: int = NO_TAG
    exp_stat_sn: int = 0
    beg_run: int = 0
    run_length: int = 0

    @property
    def type(self) -> int:
        """One of `SnackType`."""
        return self.flags & 0x0F


@dataclass(slots=True)
class Reject(Pdu):
    """Reject (11.17). Its data is the complete header of the PDU in error."""

    OPCODE = Opcode.REJECT
    _STRUCT = Struct(">BBBxI8xI4xIIII8x")
    _BEFORE = 2

    flags: int = Flags.FINAL
    reason: int = 0
    itt: int = NO_TAG
    stat_sn: int = 0
    exp_cmd_sn: int = 0
    max_cmd_sn: int = 0
    data_sn: int = 0


PDU_CLASSES: Final[dict[int, type[Pdu]]] = {
    cls.OPCODE: cls
    for cls in (
        NopOut, ScsiCommand, TaskManagementRequest, LoginRequest, TextRequest, DataOut, LogoutRequest, Snack,
        NopIn, ScsiResponse, TaskManagementResponse, LoginResponse, TextResponse, DataIn, LogoutResponse, R2T,
        AsyncMessage, Reject,
    )
}

_FIELDS = {
    opcode: attrgetter(*(f.name for f in dataclasses.fields(cls) if not f.kw_only))
    for opcode, cls in PDU_CLASSES.items()
}


def decode_bhs(bhs: Buffer, offset: int = 0) -> Pdu:
    """The PDU whose 48 bytes of BHS begin at `offset`; `BadPdu` for an opcode that does not exist."""
    opcode = bhs[offset] & 0x3F
    cls = PDU_CLASSES.get(opcode)
    if cls is None:
        return BadPdu(opcode, bytes(bhs[offset:offset + BHS_LENGTH]), RejectReason.COMMAND_NOT_SUPPORTED)
    return cls.from_bhs(bhs, offset)


# One Struct for Data-In, SCSI Response and R2T. Its pack is bound once; the hottest code calls it itself.
pack_response = Struct(">BBBBIQIIIIIIII").pack
# The same for what ended with GOOD and came or goes in one PDU: opcode, flags, length, ITT, TTT, StatSN, ExpCmdSN,
# MaxCmdSN, residual count.
pack_plain = Struct(">BB2xI8xIIIII8xI").pack


def data_in_bhs(                                                                                # hot
    flags: int, status: int, length: int, itt: int, stat_sn: int, exp_cmd_sn: int, max_cmd_sn: int,
    data_sn: int, buffer_offset: int, residual: int = 0, lun: int = 0, ttt: int = NO_TAG,
) -> bytes:
    """BHS of a Data-In PDU with `length` bytes of data. `lun` and `ttt` count with the A bit only."""
    return pack_response(
        0x25, flags, 0, status, length, lun, itt, ttt, stat_sn, exp_cmd_sn, max_cmd_sn, data_sn,
        buffer_offset, residual,
    )


def scsi_response_bhs(                                                                          # hot
    flags: int, status: int, length: int, itt: int, stat_sn: int, exp_cmd_sn: int, max_cmd_sn: int,
    exp_data_sn: int = 0, residual: int = 0, bidi_residual: int = 0, response: int = 0,
    status_qualifier: int = 0,
) -> bytes:
    """BHS of a SCSI Response with `length` bytes of data (SenseLength and sense)."""
    return pack_response(
        0x21, flags, response, status, length, status_qualifier << 48, itt, 0, stat_sn, exp_cmd_sn,
        max_cmd_sn, exp_data_sn, bidi_residual, residual,
    )


def r2t_bhs(                                                                                    # hot
    lun: int, itt: int, ttt: int, stat_sn: int, exp_cmd_sn: int, max_cmd_sn: int, r2t_sn: int,
    buffer_offset: int, desired_length: int,
) -> bytes:
    """BHS of an R2T."""
    return pack_response(
        0x31, 0x80, 0, 0, 0, lun, itt, ttt, stat_sn, exp_cmd_sn, max_cmd_sn, r2t_sn, buffer_offset,
        desired_length,
    )

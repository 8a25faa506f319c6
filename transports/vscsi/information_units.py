"""The information units of SRP (rev 16a), both directions: values, their bytes, and back.

`encode()` of each gives its bytes; `decode(data)` any of them. What is shorter than its fixed part, or of a type that
there is not, is an `IuError`; a request whose tag is known but whose fields are unusable is an `InvalidFields`, which
is answered with REQUEST FIELDS INVALID. Tags are opaque: eight bytes as one number, echoed and never interpreted.

It does NOT: know about connections, credits or memory.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

from scsiemu._value import value
from scsiemu.command import Buffer
from scsiemu.errors import RemoteProtocolError
from transports.vscsi.codes import FormatMask, IuType, ResponseFlags
from transports.vscsi.descriptors import NO_DATA, DataDescriptor, DescriptorError, parse_descriptor

__all__ = [
    "COMMAND_LENGTH", "RESPONSE_LENGTH", "AerRequest", "AerResponse", "CommandIu", "CreditRequest", "CreditResponse",
    "InformationUnit", "InitiatorLogout", "InvalidFields", "IuError", "LoginReject", "LoginRequest", "LoginResponse",
    "ResponseIu", "TargetLogout", "TaskManagement", "decode", "decode_command", "decode_response",
]

COMMAND_LENGTH: Final = 48      # of an SRP_CMD, before additional CDB bytes and descriptors
RESPONSE_LENGTH: Final = 36     # of an SRP_RSP, before response data and sense data

_CDB_LENGTH: Final = 16
_ADDITIONAL_CDB_LIMIT: Final = 63 * 4

_LOGIN_REQ: Final = struct.Struct(">B7xQI4xHBxH2x16s16s")
_LOGIN_RSP: Final = struct.Struct(">B3xiQIIHB25x")
_LOGIN_REJ: Final = struct.Struct(">B3xIQ8xH6x")
_I_LOGOUT: Final = struct.Struct(">B7xQ")
_T_LOGOUT: Final = struct.Struct(">BBxxIQ")
_TSK_MGMT: Final = struct.Struct(">BB6xQ4xQxxBxQ8x")
_CMD: Final = struct.Struct(">BBxxxBBBQ4xQxBxB16s")
_RSP: Final = struct.Struct(">BBxxiQxxBBIIII")
_CREDIT_REQ: Final = struct.Struct(">BBxxiQ")
_TAG_ONLY: Final = struct.Struct(">B7xQ")
_AER_REQ: Final = struct.Struct(">BBxxiQ4xQI4x")


class IuError(RemoteProtocolError):
    """Bytes that are no information unit: the connection ends."""


class InvalidFields(RemoteProtocolError):
    """A request that has a tag and unusable fields.

    Args:
        tag: of the request.
    """

    def __init__(self, message: str, tag: int) -> None:
        super().__init__(message)
        self.tag = tag


@value
class LoginRequest:
    """SRP_LOGIN_REQ.

    Args:
        max_iu_length: REQUESTED INITIATOR TO TARGET IU LENGTH.
        formats: REQUIRED BUFFER FORMATS, of `FormatMask`.
        multichannel: MULTI-CHANNEL ACTION: 0 ends other channels, 1 keeps them.
    """

    tag: int
    max_iu_length: int
    formats: int = FormatMask.ALL
    multichannel: int = 0
    initiator_port: bytes = bytes(16)
    target_port: bytes = bytes(16)

    def encode(self) -> bytes:
        """Its 64 bytes."""
        return _LOGIN_REQ.pack(
            IuType.LOGIN_REQ, self.tag, self.max_iu_length, self.formats, self.multichannel & 3, 0,
            self.initiator_port, self.target_port,
        )


@value
class LoginResponse:
    """SRP_LOGIN_RSP.

    Args:
        request_limit_delta: how many requests the initiator may have outstanding.
        multichannel: MULTI-CHANNEL RESULT: 0 no other channels, 1 ended, 2 kept.
    """

    tag: int
    request_limit_delta: int
    max_initiator_iu: int
    max_target_iu: int
    formats: int = FormatMask.ALL
    multichannel: int = 0

    def encode(self) -> bytes:
        """Its 52 bytes."""
        return _LOGIN_RSP.pack(
            IuType.LOGIN_RSP, self.request_limit_delta, self.tag, self.max_initiator_iu, self.max_target_iu,
            self.formats, self.multichannel & 3,
        )


@value
class LoginReject:
    """SRP_LOGIN_REJ; `reason` is one of `LoginReason`."""

    tag: int
    reason: int
    formats: int = FormatMask.ALL

    def encode(self) -> bytes:
        """Its 32 bytes."""
        return _LOGIN_REJ.pack(IuType.LOGIN_REJ, self.reason, self.tag, self.formats)


@value
class InitiatorLogout:
    """SRP_I_LOGOUT."""

    tag: int

    def encode(self) -> bytes:
        """Its 16 bytes."""
        return _I_LOGOUT.pack(IuType.I_LOGOUT, self.tag)


@value
class TargetLogout:
    """SRP_T_LOGOUT."""

    tag: int
    reason: int = 0
    notification: int = 0

    def encode(self) -> bytes:
        """Its 16 bytes."""
        return _T_LOGOUT.pack(IuType.T_LOGOUT, self.notification, self.reason, self.tag)


@value
class TaskManagement:
    """SRP_TSK_MGMT.

    Args:
        function: one of `SrpTask`.
        task_tag: TAG OF TASK TO BE MANAGED.
        notification: byte 1, SOLICITED NOTIFICATION.
    """

    tag: int
    lun: int
    function: int
    task_tag: int = 0
    notification: int = 0

    def encode(self) -> bytes:
        """Its 48 bytes."""
        return _TSK_MGMT.pack(
            IuType.TSK_MGMT, self.notification, self.tag, self.lun, self.function, self.task_tag
        )


@dataclass(slots=True)
class CommandIu:
    """SRP_CMD.

    Args:
        cdb: 16 bytes, and with the additional CDB bytes up to 268, a multiple of four.
        attribute: one of `scsiemu.sam.TaskAttribute`.
        notification: byte 1, SOLICITED NOTIFICATION.
    """

    tag: int
    lun: int
    cdb: bytes
    data_out: DataDescriptor = NO_DATA
    data_in: DataDescriptor = NO_DATA
    attribute: int = 0
    notification: int = 0

    def encode(self) -> bytes:  # hot
        """Its bytes. Raises ValueError for a CDB that is too long."""
        cdb, out, in_ = self.cdb, self.data_out, self.data_in
        additional = b""
        if len(cdb) > _CDB_LENGTH:
            additional = cdb[_CDB_LENGTH:]
            additional += bytes(-len(additional) % 4)
            if len(additional) > _ADDITIONAL_CDB_LIMIT:
                raise ValueError(f"a CDB of {len(cdb)} bytes")
        head = _CMD.pack(
            IuType.CMD, self.notification, out.format << 4 | in_.format,
            len(out.segments) if out.table is not None else 0, len(in_.segments) if in_.table is not None else 0,
            self.tag, self.lun, self.attribute, len(additional), cdb[:_CDB_LENGTH],
        )
        if not additional and out is NO_DATA and in_ is NO_DATA:
            return head
        return head + additional + out.encode() + in_.encode()


@dataclass(slots=True)
class ResponseIu:
    """SRP_RSP. Response data goes before sense data.

    Args:
        request_limit_delta: credits that come back with it.
        flags: `ResponseFlags` of the residuals; RESPONSE_VALID and SENSE_VALID follow from the two below.
        response_code: one of `ResponseCode`; None: there is no response data.
    """

    tag: int
    status: int = 0
    request_limit_delta: int = 0
    flags: int = 0
    data_out_residual: int = 0
    data_in_residual: int = 0
    sense: bytes = b""
    response_code: int | None = None
    notification: int = 0

    def encode(self) -> bytes:  # hot
        """Its bytes."""
        sense = self.sense
        flags = self.flags
        response = b""
        if sense:
            flags |= ResponseFlags.SENSE_VALID
        if self.response_code is not None:
            flags |= ResponseFlags.RESPONSE_VALID
            response = bytes((0, 0, 0, self.response_code))
        head = _RSP.pack(
            IuType.RSP, self.notification, self.request_limit_delta, self.tag, flags, self.status,
            self.data_out_residual, self.data_in_residual, len(sense), len(response),
        )
        return head + response + sense if response or sense else head


@value
class CreditRequest:
    """SRP_CRED_REQ: the target changes the request limit."""

    tag: int
    request_limit_delta: int
    notification: int = 0

    def encode(self) -> bytes:
        """Its 16 bytes."""
        return _CREDIT_REQ.pack(IuType.CRED_REQ, self.notification, self.request_limit_delta, self.tag)


@value
class CreditResponse:
    """SRP_CRED_RSP."""

    tag: int

    def encode(self) -> bytes:
        """Its 16 bytes."""
        return _TAG_ONLY.pack(IuType.CRED_RSP, self.tag)


@value
class AerRequest:
    """SRP_AER_REQ: an asynchronous event, as sense data of a unit."""

    tag: int
    lun: int
    sense: bytes
    request_limit_delta: int = 0
    notification: int = 0

    def encode(self) -> bytes:
        """Its bytes."""
        head = _AER_REQ.pack(
            IuType.AER_REQ, self.notification, self.request_limit_delta, self.tag, self.lun, len(self.sense)
        )
        return head + self.sense


@value
class AerResponse:
    """SRP_AER_RSP."""

    tag: int

    def encode(self) -> bytes:
        """Its 16 bytes."""
        return _TAG_ONLY.pack(IuType.AER_RSP, self.tag)


InformationUnit: TypeAlias = (
    LoginRequest | LoginResponse | LoginReject | InitiatorLogout | TargetLogout | TaskManagement | CommandIu
    | ResponseIu | CreditRequest | CreditResponse | AerRequest | AerResponse
)


def decode(data: Buffer) -> InformationUnit:
    """Any information unit. Bytes behind it are ignored. Raises IuError and InvalidFields, nothing else."""
    if not data:
        raise IuError("an empty information unit")
    decoder = _DECODERS.get(data[0])
    if decoder is None:
        raise IuError(f"an information unit of type {data[0]:02X}h")
    try:
        return decoder(data)
    except struct.error:
        raise IuError(f"an information unit of type {data[0]:02X}h in {len(data)} bytes") from None


def decode_command(data: Buffer) -> CommandIu:  # hot
    """An SRP_CMD. Raises IuError where it is too short, or uses reserved bits of its length; and InvalidFields."""
    if len(data) < COMMAND_LENGTH:
        raise IuError(f"an SRP_CMD of {len(data)} bytes")
    _, notification, formats, out_count, in_count, tag, lun, attribute, additional, cdb = _CMD.unpack_from(data)
    if additional & 3:
        raise IuError("reserved bits in ADDITIONAL CDB LENGTH")
    attribute &= 7
    if not (formats or additional):
        return CommandIu(tag, lun, cdb, NO_DATA, NO_DATA, attribute, notification)
    at = COMMAND_LENGTH
    if additional:
        at += additional
        if at > len(data):
            raise InvalidFields("additional CDB bytes end behind the information unit", tag)
        cdb += bytes(data[COMMAND_LENGTH:at])
    try:
        data_out, at = parse_descriptor(data, at, formats >> 4, out_count)
        data_in, at = parse_descriptor(data, at, formats & 15, in_count)
    except DescriptorError as error:
        raise InvalidFields(str(error), tag) from None
    return CommandIu(tag, lun, cdb, data_out, data_in, attribute, notification)


def decode_response(data: Buffer) -> ResponseIu:  # hot
    """An SRP_RSP. Raises IuError."""
    if len(data) < RESPONSE_LENGTH:
        raise IuError(f"an SRP_RSP of {len(data)} bytes")
    _, notification, delta, tag, flags, status, out_residual, in_residual, sense_length, length = _RSP.unpack_from(data)
    response_code = None
    sense = b""
    at = RESPONSE_LENGTH
    if flags & ResponseFlags.RESPONSE_VALID:
        if length < 4 or at + length > len(data):
            raise IuError(f"{length} bytes of response data in an SRP_RSP of {len(data)} bytes")
        response_code = data[at + 3]
        at += length
    if flags & ResponseFlags.SENSE_VALID:
        if at + sense_length > len(data):
            raise IuError(f"{sense_length} bytes of sense data in an SRP_RSP of {len(data)} bytes")
        sense = bytes(data[at : at + sense_length])
    flags &= ~(ResponseFlags.RESPONSE_VALID | ResponseFlags.SENSE_VALID)
    return ResponseIu(tag, status, delta, flags, out_residual, in_residual, sense, response_code, notification)


def _login_request(data: Buffer) -> LoginRequest:
    _, tag, length, formats, flags, _, initiator, target = _LOGIN_REQ.unpack_from(data)
    return LoginRequest(tag, length, formats, flags & 3, initiator, target)


def _login_response(data: Buffer) -> LoginResponse:
    _, delta, tag, max_initiator, max_target, formats, flags = _LOGIN_RSP.unpack_from(data)
    return LoginResponse(tag, delta, max_initiator, max_target, formats, flags & 3)


def _login_reject(data: Buffer) -> LoginReject:
    _, reason, tag, formats = _LOGIN_REJ.unpack_from(data)
    return LoginReject(tag, reason, formats)


def _initiator_logout(data: Buffer) -> InitiatorLogout:
    return InitiatorLogout(_I_LOGOUT.unpack_from(data)[1])


def _target_logout(data: Buffer) -> TargetLogout:
    _, notification, reason, tag = _T_LOGOUT.unpack_from(data)
    return TargetLogout(tag, reason, notification)


def _task_management(data: Buffer) -> TaskManagement:
    _, notification, tag, lun, function, task_tag = _TSK_MGMT.unpack_from(data)
    return TaskManagement(tag, lun, function, task_tag, notification)


def _credit_request(data: Buffer) -> CreditRequest:
    _, notification, delta, tag = _CREDIT_REQ.unpack_from(data)
    return CreditRequest(tag, delta, notification)


def _credit_response(data: Buffer) -> CreditResponse:
    return CreditResponse(_TAG_ONLY.unpack_from(data)[1])


def _aer_request(data: Buffer) -> AerRequest:
    _, notification, delta, tag, lun, length = _AER_REQ.unpack_from(data)
    if _AER_REQ.size + length > len(data):
        raise IuError(f"{length} bytes of sense data in an SRP_AER_REQ of {len(data)} bytes")
    sense = bytes(data[_AER_REQ.size : _AER_REQ.size + length])
    return AerRequest(tag, lun, sense, delta, notification)


def _aer_response(data: Buffer) -> AerResponse:
    return AerResponse(_TAG_ONLY.unpack_from(data)[1])


_DECODERS: Final[dict[int, Callable[[Buffer], InformationUnit]]] = {
    IuType.LOGIN_REQ: _login_request,
    IuType.TSK_MGMT: _task_management,
    IuType.CMD: decode_command,
    IuType.I_LOGOUT: _initiator_logout,
    IuType.CRED_RSP: _credit_response,
    IuType.AER_RSP: _aer_response,
    IuType.T_LOGOUT: _target_logout,
    IuType.CRED_REQ: _credit_request,
    IuType.AER_REQ: _aer_request,
    IuType.LOGIN_RSP: _login_response,
    IuType.RSP: decode_response,
    IuType.LOGIN_REJ: _login_reject,
}

"""Sense data as a value, its two encodings, and the exception that refuses a command (SPC-5 4.4).

Operations raise `CheckCondition(NAMED_CONSTANT, ...)`; nobody else builds sense bytes.
"""

from __future__ import annotations

import struct
from typing import Final, TypeAlias

from scsiemu._value import value

__all__ = [
    "SENSE_KEY_NAMES", "CheckCondition", "FieldPointer", "Progress", "Refusal", "RetryCount", "Sense", "SenseCode",
    "SenseKey", "SenseKeySpecific", "decode_sense",
]


class SenseKey:
    """Sense keys (SPC-5 table 48)."""

    NO_SENSE: Final = 0x0
    RECOVERED_ERROR: Final = 0x1
    NOT_READY: Final = 0x2
    MEDIUM_ERROR: Final = 0x3
    HARDWARE_ERROR: Final = 0x4
    ILLEGAL_REQUEST: Final = 0x5
    UNIT_ATTENTION: Final = 0x6
    DATA_PROTECT: Final = 0x7
    BLANK_CHECK: Final = 0x8
    VENDOR_SPECIFIC: Final = 0x9
    COPY_ABORTED: Final = 0xA
    ABORTED_COMMAND: Final = 0xB
    VOLUME_OVERFLOW: Final = 0xD
    MISCOMPARE: Final = 0xE
    COMPLETED: Final = 0xF


SENSE_KEY_NAMES: Final[dict[int, str]] = {
    number: name.replace("_", " ") for name, number in vars(SenseKey).items() if not name.startswith("_")
}


@value
class SenseCode:
    """Sense key with additional sense code and qualifier: what a named constant of `asc` stands for."""

    key: int
    asc: int
    ascq: int


@value
class FieldPointer:
    """Which field was wrong (SPC-5 4.4.2.4.2), in the CDB or in the parameter list; bit None: no bit."""

    byte: int
    bit: int | None = None
    in_cdb: bool = True


@value
class Progress:
    """Progress indication (SPC-5 4.4.2.4.4): `done` of 65536."""

    done: int


@value
class RetryCount:
    """Actual retry count (SPC-5 4.4.2.4.3)."""

    count: int


SenseKeySpecific: TypeAlias = FieldPointer | Progress | RetryCount

_FIXED: Final = struct.Struct(">BBBIBIBBB3s")


@value
class Sense:
    """Sense data, whatever its encoding.

    Args:
        code: key, ASC and ASCQ.
        information: the INFORMATION field; may be up to 64 bits (the fixed format carries 32, else it is
            left invalid, SPC-5 4.4.3). Negative for the signed residuals of tape.
        command_specific: the COMMAND-SPECIFIC INFORMATION field.
        specific: sense key specific data.
        deferred: response codes 71h and 73h.
        filemark, eom, ili: the stream command bits of SSC (ILI also of READ LONG).
        fru: FIELD REPLACEABLE UNIT CODE.
        descriptors: further whole descriptors, for the descriptor format only (OSD).
    """

    code: SenseCode
    information: int | None = None
    command_specific: int | None = None
    specific: SenseKeySpecific | None = None
    deferred: bool = False
    filemark: bool = False
    eom: bool = False
    ili: bool = False
    fru: int = 0
    descriptors: tuple[bytes, ...] = ()

    def encode(self, *, descriptor: bool) -> bytes:
        """Sense data in descriptor format (72h, 73h) or fixed format (70h, 71h, 18 bytes)."""
        return self._descriptor() if descriptor else self._fixed()

    def _fixed(self) -> bytes:
        information = self.information
        valid = information is not None and -(1 << 31) <= information < 1 << 32
        specific = self.command_specific or 0
        return _FIXED.pack(
            (0x80 if valid else 0) | 0x70 | self.deferred,
            0,
            self.filemark << 7 | self.eom << 6 | self.ili << 5 | self.code.key,
            (information or 0) & 0xFFFFFFFF if valid else 0,
            10,
            specific if specific < 1 << 32 else 0,
            self.code.asc,
            self.code.ascq,
            self.fru,
            _encode_specific(self.specific),
        )

    def _descriptor(self) -> bytes:
        parts = []
        if self.information is not None:
            parts.append(struct.pack(">BBBxQ", 0x00, 0x0A, 0x80, self.information & (1 << 64) - 1))
        if self.command_specific is not None:
            parts.append(struct.pack(">BBxxQ", 0x01, 0x0A, self.command_specific))
        if self.specific is not None:
            parts.append(struct.pack(">BBxx3sx", 0x02, 0x06, _encode_specific(self.specific)))
        if self.fru:
            parts.append(struct.pack(">BBxB", 0x03, 0x02, self.fru))
        if self.filemark or self.eom or self.ili:
            # ILI comes in the stream commands descriptor (SSC-5), but alone with ILLEGAL REQUEST it is that of
            # READ LONG and WRITE LONG and comes in the block commands descriptor (SBC-4 4.18).
            block = self.code.key == SenseKey.ILLEGAL_REQUEST and not (self.filemark or self.eom)
            kind = 0x05 if block else 0x04
            parts.append(bytes((kind, 0x02, 0, self.filemark << 7 | self.eom << 6 | self.ili << 5)))
        parts.extend(self.descriptors)
        body = b"".join(parts)
        head = (0x72 | self.deferred, self.code.key, self.code.asc, self.code.ascq, 0, 0, 0, len(body))
        return bytes(head) + body


def _encode_specific(specific: SenseKeySpecific | None) -> bytes:
    """The three SENSE KEY SPECIFIC bytes, SKSV included."""
    match specific:
        case None:
            return b"\0\0\0"
        case FieldPointer(byte, bit, in_cdb):
            flags = 0x80 | in_cdb << 6 | (0 if bit is None else 0x08 | bit)
            return struct.pack(">BH", flags, min(byte, 0xFFFF))
        case Progress(done):
            return struct.pack(">BH", 0x80, min(done, 0xFFFF))
        case RetryCount(count):
            return struct.pack(">BH", 0x80, min(count, 0xFFFF))


def _decode_specific(key: int, raw: bytes) -> SenseKeySpecific | None:
    """The meaning of the SENSE KEY SPECIFIC bytes, which the sense key decides (SPC-5 table 45)."""
    if len(raw) < 3 or not raw[0] & 0x80:
        return None
    number = int.from_bytes(raw[1:3], "big")
    if key == SenseKey.ILLEGAL_REQUEST:
        return FieldPointer(number, raw[0] & 7 if raw[0] & 8 else None, bool(raw[0] & 0x40))
    if key in (SenseKey.NO_SENSE, SenseKey.NOT_READY):
        return Progress(number)
    if key in (SenseKey.RECOVERED_ERROR, SenseKey.MEDIUM_ERROR, SenseKey.HARDWARE_ERROR):
        return RetryCount(number)
    return None


def decode_sense(raw: bytes) -> Sense | None:
    """Sense data from bytes, None where it is in neither format. Truncated data gives what is there."""
    if not raw:
        return None
    response = raw[0] & 0x7F
    if response in (0x70, 0x71):
        return _decode_fixed(raw.ljust(18, b"\0"))
    if response in (0x72, 0x73):
        return _decode_descriptors(raw.ljust(8, b"\0"))
    return None


def _decode_fixed(raw: bytes) -> Sense:
    """Fixed format, `raw` at least 18 bytes."""
    first, _, flags, information, _, command_specific, asc, ascq, fru, specific = _FIXED.unpack_from(raw)
    return Sense(
        SenseCode(flags & 0xF, asc, ascq),
        information=information if first & 0x80 else None,
        command_specific=command_specific or None,
        specific=_decode_specific(flags & 0xF, specific),
        deferred=bool(first & 1),
        filemark=bool(flags & 0x80),
        eom=bool(flags & 0x40),
        ili=bool(flags & 0x20),
        fru=fru,
    )


def _decode_descriptors(raw: bytes) -> Sense:
    """Descriptor format, `raw` at least 8 bytes."""
    code = SenseCode(raw[1] & 0xF, raw[2], raw[3])
    information = command_specific = specific = None
    fru = stream = 0
    others = []
    at, end = 8, min(len(raw), 8 + raw[7])
    while at + 2 <= end:
        descriptor = raw[at : at + 2 + raw[at + 1]]
        at += 2 + raw[at + 1]
        match descriptor[0], len(descriptor):
            case 0x00, 12:
                information = int.from_bytes(descriptor[4:12], "big")
            case 0x01, 12:
                command_specific = int.from_bytes(descriptor[4:12], "big")
            case 0x02, 8:
                specific = _decode_specific(code.key, descriptor[4:7])
            case 0x03, 4:
                fru = descriptor[3]
            case (0x04 | 0x05), 4:
                stream = descriptor[3]
            case _:
                others.append(descriptor)
    return Sense(
        code,
        information=information,
        command_specific=command_specific,
        specific=specific,
        deferred=bool(raw[0] & 1),
        filemark=bool(stream & 0x80),
        eom=bool(stream & 0x40),
        ili=bool(stream & 0x20),
        fru=fru,
        descriptors=tuple(others),
    )


class Refusal(Exception):
    """An operation ends its command with something other than GOOD. One place turns it into a completion.

    Args:
        status: one of `sam.Status`, for example RESERVATION CONFLICT or BUSY.
    """

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class CheckCondition(Refusal):
    """Ends the command with CHECK CONDITION.

    Args:
        code: a named constant of `asc`.
        field: name of the CDB field at fault: the device server turns it into the field pointer.
        pointer: the field pointer itself, for parameter lists or single bits.
        data_in: data that goes out all the same.
        The others are fields of `Sense`.
    """

    def __init__(
        self,
        code: SenseCode,
        *,
        field: str | None = None,
        pointer: FieldPointer | None = None,
        information: int | None = None,
        command_specific: int | None = None,
        progress: int | None = None,
        filemark: bool = False,
        eom: bool = False,
        ili: bool = False,
        descriptors: tuple[bytes, ...] = (),
        data_in: bytes = b"",
    ) -> None:
        super().__init__(0x02)
        self.field = field
        self.data_in = data_in
        self.sense = Sense(
            code,
            information=information,
            command_specific=command_specific,
            specific=Progress(progress) if progress is not None else pointer,
            filemark=filemark,
            eom=eom,
            ili=ili,
            descriptors=descriptors,
        )

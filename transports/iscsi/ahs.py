"""Additional header segments (RFC 7143) of the SCSI Command PDU: extended CDB, bidirectional read length (11.2.2).

It does NOT: decide what the initiator is told about a flaw (session).
"""

from __future__ import annotations

from struct import Struct
from typing import Final

from scsiemu._value import value
from scsiemu.command import Buffer
from transports.iscsi.codes import AhsFlaw

__all__ = ["AhsType", "CommandAhs", "build_ahs", "parse_ahs"]


class AhsType:
    """AHSType (11.2.2.1)."""

    EXTENDED_CDB: Final = 1
    BIDI_READ_LENGTH: Final = 2


@value
class CommandAhs:
    """What the AHS of a command say.

    Args:
        cdb: the CDB from byte 16 on, empty without an extended CDB segment.
        read_length: Bidirectional Read Expected Data Transfer Length, None without that segment.
        flaw: bits of `AhsFlaw`.
    """

    cdb: bytes = b""
    read_length: int | None = None
    flaw: int = 0


def parse_ahs(ahs: Buffer) -> CommandAhs:
    """The segments in `ahs`, which is TotalAHSLength*4 bytes: in any order, unknown types skipped."""
    cdb, read_length, flaw = b"", None, 0
    position, end = 0, len(ahs)
    while position < end:
        length, kind = _SEGMENT.unpack_from(ahs, position)  # whole words are left, so 4 bytes are there
        following = position + (length + 6 & ~3)            # AHSLength counts from byte 3 on, without padding
        if following > end:
            return CommandAhs(cdb, read_length, flaw | AhsFlaw.MALFORMED)
        if kind == AhsType.EXTENDED_CDB:
            if cdb or not 1 < length <= _MAX_EXTENSION + 1:
                flaw |= AhsFlaw.MALFORMED if cdb else AhsFlaw.CDB_LENGTH
            else:
                cdb = bytes(ahs[position + 4:position + 3 + length])
        elif kind == AhsType.BIDI_READ_LENGTH:
            if read_length is not None or length != 5:
                flaw |= AhsFlaw.MALFORMED
            else:
                read_length = int.from_bytes(ahs[position + 4:position + 8], "big")
        else:
            flaw |= AhsFlaw.UNKNOWN_TYPE
        position = following
    return CommandAhs(cdb, read_length, flaw)


def build_ahs(cdb: Buffer, read_length: int | None) -> bytes:
    """AHS bytes for a CDB and a bidirectional read length, padded to words; empty where none is needed."""
    segments = b""
    if len(cdb) > 16:
        rest = bytes(cdb[16:])
        segments = _SEGMENT.pack(len(rest) + 1, AhsType.EXTENDED_CDB) + rest + bytes(-len(rest) % 4)
    if read_length is not None:
        segments += _SEGMENT.pack(5, AhsType.BIDI_READ_LENGTH) + read_length.to_bytes(4, "big")
    return segments


_SEGMENT = Struct(">HBx")
_MAX_EXTENSION = 260 - 16                   # SPC-5 4.2.3: a variable-length CDB has at most 260 bytes

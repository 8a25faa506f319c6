"""The answer to a command as PDUs: Data-In, and the status in the last of them or in a SCSI Response (RFC 7143 11.4).

The general form. What is plain, `Session.complete` answers itself. It does NOT decide anything about the command.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final

from scsiemu.command import Buffer, Command, Completion
from transports.iscsi.codes import Flags
from transports.iscsi.pdu import data_in_bhs, scsi_response_bhs

if TYPE_CHECKING:
    from transports.iscsi.session import Session

__all__ = ["respond"]

_SENSE_LENGTH: Final = Struct(">H")


def respond(session: Session, command: Command, completion: Completion, r2ts: int) -> None:
    """Data-In PDUs, then the status, in the last of them if it may ride there (11.4, 11.7)."""
    connection = session.connection
    status = completion.status
    data = completion.data_in
    expected = command.data_in_length
    length = min(len(data), expected)
    flags, residual = _residual(len(data), expected)
    alone = bool(status) or bool(command.data_out_length) or not length
    sent = _send_data_in(session, command, data, length, 0 if alone else flags | Flags.STATUS, residual)
    if not alone:
        return
    bidi_residual = 0
    offered, wanted = command.data_out_length, completion.data_out_wanted
    if (offered and expected) or (wanted and data):
        # 11.4.1: o and u are for the read part of a bidirectional command.
        bidi_residual, flags = residual, flags << 2
        more, residual = _residual(wanted, offered)
        flags |= more
    elif not expected and (offered or wanted):
        flags, residual = _residual(wanted, offered)
    sense = completion.sense_data
    segment: Buffer = b""
    if sense:
        sense = sense[: connection.max_send_data - 2]
        segment = _SENSE_LENGTH.pack(len(sense)) + sense
    connection.send_parts(
        scsi_response_bhs(
            Flags.FINAL | flags, status, len(segment), command.tag, connection.next_stat_sn(), session.exp_cmd_sn,
            session.max_cmd_sn, sent + r2ts, residual, bidi_residual, 0, completion.status_qualifier,
        ),
        segment,
    )


def _send_data_in(
    session: Session, command: Command, data: Buffer, length: int, last_flags: int, residual: int
) -> int:
    """Send `length` bytes as Data-In PDUs; the last one carries the status if `last_flags` has S. How many."""
    connection = session.connection
    view = memoryview(data)
    piece = connection.max_send_data
    burst = session.max_burst_length
    at = data_sn = 0
    while at < length:
        end = min(at + piece, length, at - at % burst + burst)
        if end == length:
            flags = Flags.FINAL | last_flags
        else:
            flags = Flags.FINAL if end % burst == 0 else 0
        status = flags & Flags.STATUS
        connection.send_parts(
            data_in_bhs(
                flags, 0, end - at, command.tag, connection.next_stat_sn() if status else 0, session.exp_cmd_sn,
                session.max_cmd_sn, data_sn, at, residual if status else 0,
            ),
            view[at:end],
        )
        data_sn += 1
        at = end
    return data_sn


def _residual(offered: int, expected: int) -> tuple[int, int]:
    """Flag and count of the residual: what was to be transferred against what the initiator expected (11.4.5)."""
    if offered > expected:
        return Flags.OVERFLOW, offered - expected
    if offered < expected:
        return Flags.UNDERFLOW, expected - offered
    return 0, 0

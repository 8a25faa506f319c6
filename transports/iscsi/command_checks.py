"""A SCSI Command PDU whose turn it is: what may be wrong with it, a reason to reject it, or the end of the command.

It does NOT: know CmdSN order, or answer (session.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from scsiemu import asc
from scsiemu.command import Command
from scsiemu.sam import TaskAttribute
from scsiemu.sense import SenseCode
from transports.iscsi.codes import NO_TAG, AhsFlaw, Flags, RejectReason
from transports.iscsi.pdu import ScsiCommand

if TYPE_CHECKING:
    from transports.iscsi.session import Session

__all__ = ["ATTRIBUTES", "command_of", "why_rejected", "wrong_data"]

# ATTR of the PDU to `TaskAttribute` (RFC 7143 11.3.1); -1 is reserved.
ATTRIBUTES: Final = (
    TaskAttribute.SIMPLE, TaskAttribute.SIMPLE, TaskAttribute.ORDERED, TaskAttribute.HEAD_OF_QUEUE,
    TaskAttribute.ACA, -1, -1, -1,
)
_IMMEDIATE_LIMIT: Final = 64            # immediate SCSI commands that one session may have


def why_rejected(session: Session, pdu: ScsiCommand, *, immediates: int) -> int:
    """The reason to reject a command whose turn it is, 0 for none."""
    if session.nexus is None:
        return RejectReason.COMMAND_NOT_SUPPORTED
    if pdu.itt in session.tasks:
        return RejectReason.TASK_IN_PROGRESS
    if pdu.itt == NO_TAG or ATTRIBUTES[pdu.flags & 7] < 0 or pdu.ahs_flaw & AhsFlaw.MALFORMED:
        return RejectReason.INVALID_PDU_FIELD
    if not pdu.flags & (Flags.FINAL | Flags.WRITE):
        return RejectReason.INVALID_PDU_FIELD       # 11.3.1: W and F cannot both be 0
    if len(pdu.data) > pdu.expected_data_transfer_length:
        return RejectReason.INVALID_PDU_FIELD
    if pdu.immediate and immediates >= _IMMEDIATE_LIMIT:
        return RejectReason.IMMEDIATE_COMMAND_REJECT
    return 0


def command_of(session: Session, pdu: ScsiCommand) -> Command:
    """The command that it is, of a session with a nexus."""
    assert session.nexus is not None
    length = pdu.expected_data_transfer_length
    flags = pdu.flags
    if flags & Flags.WRITE:
        out_length, in_length = length, (pdu.read_length or 0) if flags & Flags.READ else 0
    else:
        out_length, in_length = 0, length if flags & Flags.READ else 0
    return Command(
        session.nexus, pdu.lun, pdu.cdb, pdu.itt, ATTRIBUTES[flags & 7], pdu.data, out_length, in_length, session,
        pdu.priority,
    )


def wrong_data(session: Session, pdu: ScsiCommand, command: Command) -> SenseCode | None:
    """What is wrong with the data that came, or will come, without being asked for (11.4.7.2)."""
    if pdu.ahs_flaw & AhsFlaw.CDB_LENGTH:
        return asc.INVALID_FIELD_IN_CDB
    if pdu.data and (
        not command.data_out_length or not session.immediate_data or len(pdu.data) > session.first_burst_length
    ):
        return asc.WRITE_ERROR_UNEXPECTED_UNSOLICITED_DATA
    if not pdu.flags & Flags.FINAL and session.initial_r2t:
        return asc.WRITE_ERROR_UNEXPECTED_UNSOLICITED_DATA
    return None

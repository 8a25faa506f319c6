"""NOP-Out and NOP-In: the initiator's pings and ours (RFC 7143 11.18, 11.19). When to ask is connection.py's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from transports.iscsi.codes import NO_TAG, RejectReason
from transports.iscsi.pdu import NopIn, NopOut

if TYPE_CHECKING:
    from transports.iscsi.connection import TargetConnection
    from transports.iscsi.session import Session

__all__ = ["receive_nop_out", "send_nop_in"]


def receive_nop_out(connection: TargetConnection, session: Session, pdu: NopOut) -> None:
    """Answer a ping, or take the answer to ours."""
    if pdu.itt == NO_TAG:               # 11.18.2: the answer to a NOP-In of ours, or a sign of life
        if pdu.ttt != NO_TAG and pdu.ttt == connection.nop_ttt:
            connection.nop_ttt = 0
        return
    if not session.in_order(pdu, pdu.cmd_sn):
        return
    if pdu.ttt != NO_TAG or pdu.itt in session.tasks:
        session.reject(RejectReason.INVALID_PDU_FIELD, pdu)
        return
    if session.over_cap(pdu):
        return
    connection.send(
        NopIn(
            lun=pdu.lun, itt=pdu.itt, ttt=NO_TAG, stat_sn=connection.next_stat_sn(), exp_cmd_sn=session.exp_cmd_sn,
            max_cmd_sn=session.max_cmd_sn, data=bytes(pdu.data[: connection.max_send_data]),
        )
    )


def send_nop_in(connection: TargetConnection) -> None:
    """Ask whether somebody is there."""
    session = connection.session
    assert session is not None
    connection.nop_ttt = (connection.stat_sn & 0x7FFFFFFF) | 1
    # 11.19.1: StatSN is the next one, and is not advanced.
    connection.send(
        NopIn(
            itt=NO_TAG, ttt=connection.nop_ttt, stat_sn=connection.stat_sn, exp_cmd_sn=session.exp_cmd_sn,
            max_cmd_sn=session.max_cmd_sn,
        )
    )

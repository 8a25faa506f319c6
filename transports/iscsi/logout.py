"""Logout of a connection or its session (RFC 7143 11.14, 11.15). One connection a session, ErrorRecoveryLevel 0."""

from __future__ import annotations

from typing import TYPE_CHECKING

from transports.iscsi.codes import LogoutReason, LogoutResponseCode, RejectReason
from transports.iscsi.pdu import LogoutRequest, LogoutResponse

if TYPE_CHECKING:
    from transports.iscsi.connection import TargetConnection
    from transports.iscsi.session import Session

__all__ = ["log_out"]


def log_out(connection: TargetConnection, session: Session, pdu: LogoutRequest) -> None:
    """Answer a Logout Request; the connection is closed once the answer is sent, if it was granted."""
    if not session.in_order(pdu, pdu.cmd_sn):
        return
    code = LogoutResponseCode.CLOSED
    if pdu.reason == LogoutReason.REMOVE_FOR_RECOVERY:
        code = LogoutResponseCode.RECOVERY_NOT_SUPPORTED        # ErrorRecoveryLevel 2 only
    elif pdu.reason == LogoutReason.CLOSE_CONNECTION:
        if pdu.cid != connection.cid:
            code = LogoutResponseCode.CID_NOT_FOUND
    elif pdu.reason != LogoutReason.CLOSE_SESSION:
        session.reject(RejectReason.INVALID_PDU_FIELD, pdu)
        return
    if code == LogoutResponseCode.CLOSED:
        session.lost()              # 11.14: the commands end before the answer
    parameters = session.parameters
    connection.send(
        LogoutResponse(
            response=code, itt=pdu.itt, stat_sn=connection.next_stat_sn(), exp_cmd_sn=session.exp_cmd_sn,
            max_cmd_sn=session.max_cmd_sn, time2wait=parameters.default_time2wait, time2retain=0,
        )
    )
    if code == LogoutResponseCode.CLOSED:
        connection.close_when_sent("logout")

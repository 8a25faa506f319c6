"""Task management of iSCSI: functions, commands that the engine has not seen yet, responses (RFC 7143 11.5, 11.6).

A function reaches the commands of the session that still wait here (for their turn or their data) before it goes to
the target; RFC 7143 4.2.2.3.4 makes it wait for commands with a lower CmdSN that have not come. On one TCP connection
these are only such as were discarded for a digest or rejected, so they count as received and aborted.

It does NOT: abort anything in the engine (scsiemu.task_manager).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from scsiemu.sam import TaskManagementFunction as Function
from scsiemu.sam import TaskManagementResponse as ServiceResponse
from scsiemu.task_manager import ManagementResponse
from transports.iscsi.codes import NO_TAG, RejectReason, TmfCode, TmfResponseCode
from transports.iscsi.pdu import TaskManagementRequest, TaskManagementResponse

if TYPE_CHECKING:
    from transports.iscsi.session import Session

__all__ = ["FUNCTIONS", "PendingFunction", "manage_tasks", "respond"]

FUNCTIONS: Final[dict[int, Function]] = {
    TmfCode.ABORT_TASK: Function.ABORT_TASK,
    TmfCode.ABORT_TASK_SET: Function.ABORT_TASK_SET,
    TmfCode.CLEAR_ACA: Function.CLEAR_ACA,
    TmfCode.CLEAR_TASK_SET: Function.CLEAR_TASK_SET,
    TmfCode.LOGICAL_UNIT_RESET: Function.LOGICAL_UNIT_RESET,
    TmfCode.TARGET_WARM_RESET: Function.TARGET_WARM_RESET,
    TmfCode.TARGET_COLD_RESET: Function.TARGET_COLD_RESET,
    TmfCode.QUERY_TASK: Function.QUERY_TASK,
    TmfCode.QUERY_TASK_SET: Function.QUERY_TASK_SET,
    TmfCode.I_T_NEXUS_RESET: Function.I_T_NEXUS_RESET,
    TmfCode.QUERY_ASYNCHRONOUS_EVENT: Function.QUERY_ASYNCHRONOUS_EVENT,
}

_RESPONSES: Final[dict[ServiceResponse, int]] = {
    ServiceResponse.FUNCTION_COMPLETE: TmfResponseCode.FUNCTION_COMPLETE,
    ServiceResponse.FUNCTION_SUCCEEDED: TmfResponseCode.FUNCTION_SUCCEEDED,
    ServiceResponse.FUNCTION_REJECTED: TmfResponseCode.FUNCTION_REJECTED,
    ServiceResponse.INCORRECT_LOGICAL_UNIT_NUMBER: TmfResponseCode.LUN_DOES_NOT_EXIST,
    ServiceResponse.TASK_DOES_NOT_EXIST: TmfResponseCode.TASK_DOES_NOT_EXIST,
    ServiceResponse.SERVICE_DELIVERY_FAILURE: TmfResponseCode.FUNCTION_REJECTED,
}

# What of the session's own waiting commands a function drops: those of its LUN, or all.
_OF_ITS_LUN: Final = frozenset((TmfCode.ABORT_TASK_SET, TmfCode.CLEAR_TASK_SET, TmfCode.LOGICAL_UNIT_RESET))
_OF_ALL_LUNS: Final = frozenset((TmfCode.TARGET_WARM_RESET, TmfCode.TARGET_COLD_RESET, TmfCode.I_T_NEXUS_RESET))

# Functions that one session may have unanswered.
_PENDING_LIMIT: Final = 32


class PendingFunction:
    """A function that the target performs; the origin that its answer is found by."""

    __slots__ = ("itt", "session")

    def __init__(self, session: Session, itt: int) -> None:
        self.session = session
        self.itt = itt

    def answered(self, response: ManagementResponse) -> None:
        """The target has performed the function."""
        session = self.session
        session.pending_functions -= 1
        respond(session, self.itt, _RESPONSES[response.response], response.additional)
        if response.function is Function.TARGET_COLD_RESET and session.entry is not None:
            # 11.5.1: all sessions of the target are terminated.
            session.node.drop_sessions(session.entry, "target cold reset")


def manage_tasks(session: Session, pdu: TaskManagementRequest) -> None:
    """Perform the function of a request whose turn it is."""
    code = pdu.function
    if session.nexus is None or session.target is None:
        session.reject(RejectReason.COMMAND_NOT_SUPPORTED, pdu)
        return
    if pdu.itt == NO_TAG or pdu.itt in session.tasks:
        session.reject(RejectReason.INVALID_PDU_FIELD, pdu)
        return
    if session.pending_functions >= _PENDING_LIMIT:
        session.reject(RejectReason.IMMEDIATE_COMMAND_REJECT, pdu)
        return
    if code == TmfCode.TASK_REASSIGN:
        respond(session, pdu.itt, TmfResponseCode.REASSIGNMENT_NOT_SUPPORTED)
        return
    function = FUNCTIONS.get(code)
    if function is None:
        respond(session, pdu.itt, TmfResponseCode.FUNCTION_NOT_SUPPORTED)
        return
    tag = None
    if code in (TmfCode.ABORT_TASK, TmfCode.QUERY_TASK):
        answer = _one_task(session, pdu)
        if answer is not None:
            respond(session, pdu.itt, answer)
            return
        tag = pdu.referenced_task_tag
    elif code in _OF_ITS_LUN:
        session.drop_waiting(pdu.lun, pdu.cmd_sn)
    elif code in _OF_ALL_LUNS:
        session.drop_waiting(None, pdu.cmd_sn)
    elif code == TmfCode.QUERY_TASK_SET and any(command.lun == pdu.lun for command in session.waiting()):
        respond(session, pdu.itt, TmfResponseCode.FUNCTION_SUCCEEDED)
        return
    session.pending_functions += 1
    session.node.manage(
        session.target, function, session.nexus, pdu.lun, tag=tag, origin=PendingFunction(session, pdu.itt)
    )


def _one_task(session: Session, pdu: TaskManagementRequest) -> int | None:
    """ABORT TASK, QUERY TASK: the answer where the engine need not be asked (11.6.1), else None."""
    tag = pdu.referenced_task_tag
    abort = pdu.function == TmfCode.ABORT_TASK
    command = session.tasks.get(tag)
    if command is None:
        if not abort:
            return TmfResponseCode.FUNCTION_COMPLETE
        if session.abort_before_arrival(tag, pdu.ref_cmd_sn, pdu.cmd_sn):
            return TmfResponseCode.FUNCTION_COMPLETE
        return TmfResponseCode.TASK_DOES_NOT_EXIST
    if command.lun != pdu.lun:
        return TmfResponseCode.TASK_DOES_NOT_EXIST
    if command not in session.waiting():
        return None
    if not abort:
        return TmfResponseCode.FUNCTION_SUCCEEDED
    session.drop((command,))
    return TmfResponseCode.FUNCTION_COMPLETE


def respond(session: Session, itt: int, code: int, additional: bytes = b"\0\0\0") -> None:
    """Send a Task Management Function Response."""
    connection = session.connection
    connection.send(
        TaskManagementResponse(
            response=code, additional_response_information=additional, itt=itt, stat_sn=connection.next_stat_sn(),
            exp_cmd_sn=session.exp_cmd_sn, max_cmd_sn=session.max_cmd_sn,
        )
    )

"""Numbers of the SCSI architecture model: status codes, task attributes, task management (SAM-5, SAM-6).

Plain integers in namespaces, not enums: they are compared on the hot path. The `*_NAMES` tables are for
people.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

__all__ = [
    "STATUS_NAMES",
    "TASK_ATTRIBUTE_NAMES",
    "Status",
    "TaskAttribute",
    "TaskManagementFunction",
    "TaskManagementResponse",
]


class Status:
    """Status codes (SAM-5 table 34)."""

    GOOD: Final = 0x00
    CHECK_CONDITION: Final = 0x02
    CONDITION_MET: Final = 0x04
    BUSY: Final = 0x08
    RESERVATION_CONFLICT: Final = 0x18
    TASK_SET_FULL: Final = 0x28
    ACA_ACTIVE: Final = 0x30
    TASK_ABORTED: Final = 0x40


STATUS_NAMES: Final[dict[int, str]] = {
    Status.GOOD: "GOOD",
    Status.CHECK_CONDITION: "CHECK CONDITION",
    Status.CONDITION_MET: "CONDITION MET",
    Status.BUSY: "BUSY",
    Status.RESERVATION_CONFLICT: "RESERVATION CONFLICT",
    Status.TASK_SET_FULL: "TASK SET FULL",
    Status.ACA_ACTIVE: "ACA ACTIVE",
    Status.TASK_ABORTED: "TASK ABORTED",
}


class TaskAttribute:
    """Task attributes (SAM-5 8.6). Transports translate their own codes to these."""

    SIMPLE: Final = 0
    HEAD_OF_QUEUE: Final = 1
    ORDERED: Final = 2
    ACA: Final = 4


TASK_ATTRIBUTE_NAMES: Final[dict[int, str]] = {
    TaskAttribute.SIMPLE: "SIMPLE",
    TaskAttribute.HEAD_OF_QUEUE: "HEAD OF QUEUE",
    TaskAttribute.ORDERED: "ORDERED",
    TaskAttribute.ACA: "ACA",
}


class TaskManagementFunction(Enum):
    """Task management functions (SAM-5 clause 7, RFC 7143 and 7144 for the codes of iSCSI)."""

    ABORT_TASK = "ABORT TASK"
    ABORT_TASK_SET = "ABORT TASK SET"
    CLEAR_ACA = "CLEAR ACA"
    CLEAR_TASK_SET = "CLEAR TASK SET"
    LOGICAL_UNIT_RESET = "LOGICAL UNIT RESET"
    TARGET_WARM_RESET = "TARGET WARM RESET"
    TARGET_COLD_RESET = "TARGET COLD RESET"
    I_T_NEXUS_RESET = "I_T NEXUS RESET"
    QUERY_TASK = "QUERY TASK"
    QUERY_TASK_SET = "QUERY TASK SET"
    QUERY_ASYNCHRONOUS_EVENT = "QUERY ASYNCHRONOUS EVENT"


class TaskManagementResponse(Enum):
    """Service responses of a task management function (SAM-5 7.1)."""

    FUNCTION_COMPLETE = "FUNCTION COMPLETE"
    FUNCTION_SUCCEEDED = "FUNCTION SUCCEEDED"       # the QUERY functions: yes, there is such a task or event
    FUNCTION_REJECTED = "FUNCTION REJECTED"
    INCORRECT_LOGICAL_UNIT_NUMBER = "INCORRECT LOGICAL UNIT NUMBER"
    TASK_DOES_NOT_EXIST = "TASK DOES NOT EXIST"     # only asked for by transports that tell it from complete
    SERVICE_DELIVERY_FAILURE = "SERVICE DELIVERY OR TARGET FAILURE"

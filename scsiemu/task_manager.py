"""Task management functions (SAM-5 clause 7): whom they hit, what they leave behind, and when they answer.

    function             hits                                       others learn by
    -------------------  -----------------------------------------  --------------------------------------------
    ABORT TASK           the command of that tag                    -
    ABORT TASK SET       commands of the nexus at the unit          -
    CLEAR TASK SET       all commands in the nexus' task set        TASK ABORTED or COMMANDS CLEARED (TAS)
    LOGICAL UNIT RESET   all commands of the unit                   BUS DEVICE RESET FUNCTION OCCURRED
    I_T NEXUS RESET      commands of the nexus at every unit        I_T NEXUS LOSS OCCURRED, to the nexus itself
    TARGET WARM RESET    all commands of the target                 SCSI BUS RESET OCCURRED
    TARGET COLD RESET    the same                                   POWER ON, RESET, OR BUS DEVICE RESET OCCURRED

A function answers after its effects: when a store still works for an aborted command, not before that has come back.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias, runtime_checkable

from scsiemu import asc
from scsiemu.io_requests import PENDING, UnitRequest
from scsiemu.sam import TaskManagementFunction as Function
from scsiemu.sam import TaskManagementResponse as Response
from scsiemu.unit_attention import establish_attention

if TYPE_CHECKING:
    from scsiemu.command import Command
    from scsiemu.logical_unit import LogicalUnit
    from scsiemu.nexus import Nexus
    from scsiemu.target import Target

__all__ = ["SUPPORTED_FUNCTIONS", "FunctionOrigin", "Manage", "ManagementResponse", "manage"]


@runtime_checkable
class FunctionOrigin(Protocol):
    """The origin of a function where several transports serve one target: whoever fetches the answer hands it here."""

    def answered(self, response: ManagementResponse) -> None:
        """The function was performed."""


class ManagementResponse:
    """The answer to a task management function.

    Args:
        function: what was asked.
        nexus: by whom.
        origin: what the transport gave along.
        response: the service response.
        additional: ADDITIONAL RESPONSE INFORMATION of QUERY ASYNCHRONOUS EVENT, 3 bytes (SAM-5 7.10).
    """

    __slots__ = ("additional", "function", "nexus", "origin", "response")

    def __init__(
        self, function: Function, nexus: Nexus, origin: object, response: Response, additional: bytes = b"\0\0\0"
    ) -> None:
        self.function = function
        self.nexus = nexus
        self.origin = origin
        self.response = response
        self.additional = additional

    def __repr__(self) -> str:
        return f"ManagementResponse({self.function.value}, {self.response.value})"


_Answer: TypeAlias = Callable[..., None]

_TARGET_WIDE: Final = (Function.TARGET_WARM_RESET, Function.TARGET_COLD_RESET, Function.I_T_NEXUS_RESET)


def manage(
    target: Target, function: Function, nexus: Nexus, lun: int, tag: int | None, answer: _Answer
) -> None:
    """Perform a function; `answer(response, additional=...)` is called once, perhaps later."""
    if function in _TARGET_WIDE:
        units = list(target.units.values())
        if function is Function.I_T_NEXUS_RESET:
            units = [state.unit for state in nexus.units.values()]
        _reset_many(units, function, nexus, answer)
        return
    state = target.find_state(nexus, lun)
    if state is None:
        answer(Response.INCORRECT_LOGICAL_UNIT_NUMBER)
        return
    _FUNCTIONS[function](state.unit, nexus, tag, answer)


class Manage(UnitRequest[Response]):
    """Asked by an operation: perform a function for its nexus at its unit. It hits every command but the one that asks.

    Args:
        tag: of the command that the function is about, where it is about one.
    """

    __slots__ = ("function", "tag")

    def __init__(self, function: Function, tag: int | None = None) -> None:
        self.function = function
        self.tag = tag

    def __repr__(self) -> str:
        return f"Manage({self.function.value}, {self.tag})"

    def perform(self, unit: LogicalUnit, command: Command) -> Any:
        """See the class."""
        answers: list[Response] = []
        waiting = False

        def answer(response: Response, *, additional: bytes = b"") -> None:
            answers.append(response)
            if waiting:
                unit.resume(command, response)

        unit.task_set.remove(command)
        manage(unit.target, self.function, command.nexus, command.lun, self.tag, answer)
        unit.task_set.adopt(command)
        waiting = not answers
        return PENDING if waiting else answers[0]


def _finish_when_ended(unit: LogicalUnit, commands: list[Command], answer: _Answer) -> None:
    unit.when_ended(commands, lambda: answer(Response.FUNCTION_COMPLETE))
    unit.wake()


def _abort_task(unit: LogicalUnit, nexus: Nexus, tag: int | None, answer: _Answer) -> None:
    # SAM-5 7.2: FUNCTION COMPLETE also where there is no such command.
    command = unit.task_set.find(nexus, tag) if tag is not None else None
    victims = [command] if command is not None else []
    for victim in victims:
        unit.abort(victim)
    _finish_when_ended(unit, victims, answer)


def _abort_task_set(unit: LogicalUnit, nexus: Nexus, tag: int | None, answer: _Answer) -> None:
    victims = unit.task_set.of_nexuses((nexus,))
    for victim in victims:
        unit.abort(victim)
    _finish_when_ended(unit, victims, answer)


def _clear_task_set(unit: LogicalUnit, nexus: Nexus, tag: int | None, answer: _Answer) -> None:
    own = unit.server.control.tst == 1
    victims = unit.task_set.of_nexuses((nexus,)) if own else list(unit.task_set.commands.values())
    unit.abort_by(nexus, victims)
    _finish_when_ended(unit, victims, answer)


def _clear_aca(unit: LogicalUnit, nexus: Nexus, tag: int | None, answer: _Answer) -> None:
    # SAM-5 7.4: from another nexus than the faulted one it is rejected; without an ACA there is nothing to do.
    faulted = unit.task_set.faulted
    if faulted and nexus not in faulted and not unit.server.control.tst:
        answer(Response.FUNCTION_REJECTED)
        return
    # An ACA command still in the set is aborted with the condition (SAM-5 5.9.4).
    victims = [command for command in unit.task_set.of_nexuses((nexus,)) if command.attribute == 4]
    for victim in victims:
        unit.abort(victim)
    if nexus in faulted:
        unit.clear_aca(nexus)
    _finish_when_ended(unit, victims, answer)


def _logical_unit_reset(unit: LogicalUnit, nexus: Nexus, tag: int | None, answer: _Answer) -> None:
    _reset_many([unit], Function.LOGICAL_UNIT_RESET, nexus, answer)


_RESETS: Final = {
    Function.LOGICAL_UNIT_RESET: ("logical unit reset", asc.BUS_DEVICE_RESET_FUNCTION_OCCURRED),
    Function.TARGET_WARM_RESET: ("target reset", asc.SCSI_BUS_RESET_OCCURRED),
    Function.TARGET_COLD_RESET: ("target reset", asc.POWER_ON_RESET_OR_BUS_DEVICE_RESET_OCCURRED),
}


def _reset_many(units: list[LogicalUnit], function: Function, nexus: Nexus, answer: _Answer) -> None:
    left = len(units)

    def one_ended() -> None:
        nonlocal left
        left -= 1
        if not left:
            answer(Response.FUNCTION_COMPLETE)

    if not units:
        answer(Response.FUNCTION_COMPLETE)
    for unit in units:
        if function is Function.I_T_NEXUS_RESET:
            victims = unit.task_set.of_nexuses((nexus,))
            for victim in victims:
                unit.abort(victim)
            unit.clear_aca(nexus)
            state = unit.nexus_states[nexus]
            unit.server.nexus_lost(state)
            establish_attention(state.attentions, asc.I_T_NEXUS_LOSS_OCCURRED)
        else:
            victims = list(unit.task_set.commands.values())
            unit.reset(*_RESETS[function])
        unit.when_ended(victims, one_ended)
        unit.wake()


def _query_task(unit: LogicalUnit, nexus: Nexus, tag: int | None, answer: _Answer) -> None:
    there = tag is not None and unit.task_set.find(nexus, tag) is not None
    answer(Response.FUNCTION_SUCCEEDED if there else Response.FUNCTION_COMPLETE)


def _query_task_set(unit: LogicalUnit, nexus: Nexus, tag: int | None, answer: _Answer) -> None:
    there = bool(unit.task_set.of_nexuses((nexus,)))
    answer(Response.FUNCTION_SUCCEEDED if there else Response.FUNCTION_COMPLETE)


def _query_asynchronous_event(unit: LogicalUnit, nexus: Nexus, tag: int | None, answer: _Answer) -> None:
    pending = unit.nexus_states[nexus].attentions
    if not pending:
        answer(Response.FUNCTION_COMPLETE)
        return
    # SAM-5 table 50: UADE DEPTH (2: more than one pending) and sense key, then ASC and ASCQ.
    depth = 2 if len(pending) > 1 else 1
    code = pending[0]
    answer(Response.FUNCTION_SUCCEEDED, additional=bytes((depth << 4 | code.key, code.asc, code.ascq)))


_FUNCTIONS: Final[dict[Function, Callable[[LogicalUnit, Nexus, int | None, _Answer], None]]] = {
    Function.ABORT_TASK: _abort_task,
    Function.ABORT_TASK_SET: _abort_task_set,
    Function.CLEAR_TASK_SET: _clear_task_set,
    Function.CLEAR_ACA: _clear_aca,
    Function.LOGICAL_UNIT_RESET: _logical_unit_reset,
    Function.QUERY_TASK: _query_task,
    Function.QUERY_TASK_SET: _query_task_set,
    Function.QUERY_ASYNCHRONOUS_EVENT: _query_asynchronous_event,
}

# What REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS is derived from.
SUPPORTED_FUNCTIONS: Final = frozenset((*_FUNCTIONS, *_TARGET_WIDE))

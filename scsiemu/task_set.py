"""The task set of a logical unit: which commands may run now (SAM-5 clause 8), and ACA (SAM-5 5.9).

The rules as a table; "older" is in order of arrival, "set" is the unit's one task set, or with TST=001b the nexus' own.

    attribute       may start when
    --------------  ------------------------------------------------------------------
    SIMPLE          no HEAD OF QUEUE in the set, no older ORDERED
    ORDERED         no HEAD OF QUEUE in the set, nothing older
    HEAD OF QUEUE   at once
    ACA             at once (admitted during ACA from the faulted nexus only)

What the table does not say: while there is an ACA condition only the ACA command runs; commands whose blocks overlap
keep their order where one of them writes (QUEUE ALGORITHM MODIFIER 0 asks for it within a nexus; we do it for all,
which both values allow).

It decides and counts; LogicalUnit starts, ends and aborts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from scsiemu import asc
from scsiemu.command import Command, TaskState
from scsiemu.io_requests import IoRequest
from scsiemu.nexus import Nexus
from scsiemu.sam import Status, TaskAttribute
from scsiemu.sense import CheckCondition

__all__ = ["AbortCommands", "ControlParameters", "TaskSet"]

# PERSISTENT RESERVE OUT with PREEMPT AND ABORT is processed while another nexus' ACA is active (SAM-5 table 39).
_PERSISTENT_RESERVE_OUT: Final = 0x5F
_PREEMPT_AND_ABORT: Final = 0x05


class ControlParameters:
    """What the control mode pages say (SPC-5 7.5.10), as plain attributes for those who obey it.

    The mode pages own the values and set them here whenever they change.
    """

    __slots__ = (
        "d_sense", "dpicz", "nuar", "qerr", "queue_algorithm_modifier", "rlec", "swp", "tas", "tmf_only", "tst",
        "ua_intlck_ctrl",
    )

    def __init__(self) -> None:
        self.tst = 0
        self.tmf_only = 0
        self.dpicz = 0
        self.d_sense = 0
        self.rlec = 0
        self.queue_algorithm_modifier = 0
        self.nuar = 0
        self.qerr = 0
        self.ua_intlck_ctrl = 0
        self.swp = 0
        self.tas = 0


class AbortCommands(IoRequest[None]):
    """Asked of the task set by an operation: abort every other command of these nexuses, answered when all have
    ended (PREEMPT AND ABORT, SPC-5 5.14.11.2.6; SANITIZE, FORMAT). Clears the ACA conditions of these nexuses."""

    __slots__ = ("nexuses",)

    def __init__(self, nexuses: Iterable[Nexus]) -> None:
        self.nexuses = tuple(nexuses)

    def __repr__(self) -> str:
        return f"AbortCommands({self.nexuses!r})"


class TaskSet:
    """The commands of one unit that have not ended.

    Args:
        control: the unit's control mode page.
        limit: how many commands are held before TASK SET FULL or BUSY.
    """

    def __init__(self, control: ControlParameters, limit: int = 1024) -> None:
        self.control = control
        self.limit = limit
        self.commands: dict[tuple[Nexus | None, int], Command] = {}  # in order of arrival
        self.faulted: set[Nexus] = set()                      # nexuses with an ACA condition
        self.held: list[tuple[Command, Any]] = []             # answers of stores that came during an ACA
        self._dormant: dict[Command, None] = {}
        self._special = 0                                     # commands that are not SIMPLE
        self._writers = 0                                     # commands with an extent that write

    def __len__(self) -> int:
        return len(self.commands)

    def find(self, nexus: Nexus, tag: int) -> Command | None:
        """The command of that nexus and tag."""
        return self.commands.get((nexus, tag))

    def hinders_read(self, command: Command) -> bool:
        """Whether a SIMPLE command that changes nothing may have to wait, or be refused, for commands that are here."""
        return bool(
            self._special
            or self._writers
            or self._dormant
            or len(self.commands) >= self.limit
            or (command.nexus, command.tag) in self.commands
        )

    def of_nexuses(self, nexuses: Iterable[Nexus]) -> list[Command]:
        """The commands of these nexuses, in order of arrival."""
        wanted = set(nexuses)
        return [command for command in self.commands.values() if command.nexus in wanted]

    # --- arrival -----------------------------------------------------------------------------------------------

    def admit(self, command: Command) -> int:
        """Take a command in, DORMANT. Returns GOOD, or the status that refuses it.

        Raises CheckCondition: an ACA attribute out of place. (Overlapped tags are the unit's business: they
        abort other commands.)
        """
        status = self._aca_status(command)
        if status != Status.GOOD:
            return status
        if len(self.commands) >= self.limit:
            # SAM-5 5.3.1: TASK SET FULL only tells something to a nexus that has commands here.
            mine = any(other.nexus is command.nexus for other in self.commands.values())
            return Status.TASK_SET_FULL if mine else Status.BUSY
        self.commands[command.nexus, command.tag] = command
        command.state = TaskState.DORMANT
        self._dormant[command] = None
        self._special += command.attribute != TaskAttribute.SIMPLE
        self._writers += command.extent is not None and command.extent[2]
        return Status.GOOD

    def _aca_status(self, command: Command) -> int:
        """SAM-5 5.9.3 and table 39: what an ACA condition does to a new command."""
        if not self.faulted:
            if command.attribute == TaskAttribute.ACA:
                raise CheckCondition(asc.with_key(asc.INVALID_MESSAGE_ERROR, 0x05))
            return Status.GOOD
        if command.nexus in self.faulted:
            if command.attribute != TaskAttribute.ACA:
                return Status.ACA_ACTIVE
            busy = any(
                other.attribute == TaskAttribute.ACA and other.nexus is command.nexus
                for other in self.commands.values()
            )
            return Status.ACA_ACTIVE if busy else Status.GOOD
        if self.control.tst:
            if command.attribute == TaskAttribute.ACA:
                raise CheckCondition(asc.with_key(asc.INVALID_MESSAGE_ERROR, 0x05))
            return Status.GOOD
        cdb = command.cdb
        if cdb[0] == _PERSISTENT_RESERVE_OUT and len(cdb) > 1 and cdb[1] & 0x1F == _PREEMPT_AND_ABORT:
            return Status.GOOD
        return Status.ACA_ACTIVE if command.naca else Status.BUSY

    # --- order -------------------------------------------------------------------------------------------------

    def next_startable(self) -> Command | None:
        """The first dormant command that may start; it is ENABLED when this returns."""
        for command in self._dormant:
            if self._may_start(command):
                del self._dormant[command]
                command.state = TaskState.ENABLED
                return command
        return None

    def _may_start(self, command: Command) -> bool:
        if self.faulted and self._behind_aca(command):
            return False
        if command.attribute >= TaskAttribute.ACA or command.attribute == TaskAttribute.HEAD_OF_QUEUE:
            return True
        if self._special and self._held_by_attribute(command):
            return False
        extent = command.extent
        if extent is None or not (extent[2] or self._writers):
            return True
        return not self._overlaps(command)

    def _behind_aca(self, command: Command) -> bool:
        if command.nexus in self.faulted:
            return command.attribute != TaskAttribute.ACA
        if self.control.tst:
            return False
        return not (command.cdb[0] == _PERSISTENT_RESERVE_OUT and command.cdb[1] & 0x1F == _PREEMPT_AND_ABORT)

    def _set_of(self, command: Command) -> Iterator[Command]:
        """The commands of the same task set, in order of arrival."""
        if self.control.tst:
            return (other for other in self.commands.values() if other.nexus is command.nexus)
        return iter(self.commands.values())

    def _held_by_attribute(self, command: Command) -> bool:
        ordered = command.attribute == TaskAttribute.ORDERED
        older = True
        for other in self._set_of(command):
            if other is command:
                older = False
            elif other.attribute == TaskAttribute.HEAD_OF_QUEUE:
                return True
            elif older and (ordered or other.attribute == TaskAttribute.ORDERED):
                return True
        return False

    def _overlaps(self, command: Command) -> bool:
        """Whether an older command touches the same blocks and one of the two writes."""
        assert command.extent is not None
        first, end, writes = command.extent
        for other in self.commands.values():
            if other is command:
                return False
            if (
                other.extent is not None
                and (writes or other.extent[2])
                and other.extent[0] < end
                and first < other.extent[1]
            ):
                return True
        return False

    # --- the end -----------------------------------------------------------------------------------------------

    def adopt(self, command: Command) -> None:
        """Take in a command that the fast path has started already, ENABLED."""
        self.commands[command.nexus, command.tag] = command
        self._writers += command.extent is not None and command.extent[2]

    def remove(self, command: Command) -> None:
        """The command has ended."""
        if self.commands.get((command.nexus, command.tag)) is not command:
            return
        del self.commands[command.nexus, command.tag]
        self._dormant.pop(command, None)
        self._special -= command.attribute != TaskAttribute.SIMPLE
        self._writers -= command.extent is not None and command.extent[2]

    def clear_aca(self, nexus: Nexus) -> list[tuple[Command, Any]]:
        """End the ACA condition of a nexus; returns the answers that were held for it."""
        self.faulted.discard(nexus)
        released = [held for held in self.held if not self._behind_aca(held[0])] if self.faulted else self.held
        self.held = [held for held in self.held if held not in released] if self.faulted else []
        return released

    def holds(self, command: Command) -> bool:
        """Whether an ACA condition keeps a started command from going on (SAM-5 8.4.5, blocked)."""
        return bool(self.faulted) and self._behind_aca(command)

"""The task set of a logical unit: which commands may run now (SAM-5 clause 8), and ACA (SAM-5 5.9).

The rules as a table; "older" is in order of arrival, "set" is the unit's one task set, or with TST=001b the nexus' own.

    attribute       may start when
    --------------  ------------------------------------------------------------------
    SIMPLE          no HEAD OF QUEUE in the set, no older ORDERED
    ORDERED         no HEAD OF QUEUE in the set, nothing older
    HEAD OF QUEUE   at once
    ACA             at once (admitted during ACA from the faulted nexus only, and not with TMF_ONLY)

What the table does not say: while there is an ACA condition only the ACA command runs; commands whose blocks overlap
keep their order where one of them writes (QUEUE ALGORITHM MODIFIER 0 asks for it within a nexus; we do it for all,
which both values allow).

It decides and counts; LogicalUnit starts, ends and aborts.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from heapq import heappop, heappush
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

from scsiemu import asc
from scsiemu.command import Command, TaskState
from scsiemu.io_requests import PENDING, UnitRequest
from scsiemu.nexus import Nexus
from scsiemu.sam import Status, TaskAttribute
from scsiemu.sense import CheckCondition
from scsiemu.task_extents import TaskExtents

if TYPE_CHECKING:
    from scsiemu.logical_unit import LogicalUnit

__all__ = ["AbortCommands", "Alone", "ControlParameters", "TaskSet"]

# PERSISTENT RESERVE OUT with PREEMPT AND ABORT is processed while another nexus' ACA is active (SAM-5 table 39).
_PERSISTENT_RESERVE_OUT: Final = 0x5F
_PREEMPT_AND_ABORT: Final = 0x05

_arrival = attrgetter("arrival")


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


class AbortCommands(UnitRequest[None]):
    """Abort every other command of these nexuses, answered when all have ended (PREEMPT AND ABORT, SPC-5
    5.14.11.2.6; SANITIZE, FORMAT). Clears the ACA conditions of these nexuses."""

    __slots__ = ("nexuses",)

    def __init__(self, nexuses: Iterable[Nexus]) -> None:
        self.nexuses = tuple(nexuses)

    def __repr__(self) -> str:
        return f"AbortCommands({self.nexuses!r})"

    def perform(self, unit: LogicalUnit, command: Command) -> Any:
        """See the class."""
        victims = [other for other in unit.task_set.of_nexuses(self.nexuses) if other is not command]
        unit.abort_by(command.nexus, victims)
        for nexus in self.nexuses:
            unit.clear_aca(nexus)
        if all(victim.state == TaskState.ENDED for victim in victims):
            return None
        unit.when_ended(victims, lambda: unit.resume(command, None))
        return PENDING


class Alone(UnitRequest[None]):
    """Asked by work without a command: answered when the commands that are here have ended. Those that touch the medium
    and come later wait for the end of the work."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "Alone()"

    def perform(self, unit: LogicalUnit, command: Command) -> Any:
        """See the class."""
        others = unit.task_set.take_alone(command)
        if not others:
            return None
        unit.when_ended(others, lambda: unit.resume(command, None))
        return PENDING


class _Line:
    """Commands in order of arrival: all of them, the ORDERED ones, the HEAD OF QUEUE ones."""

    __slots__ = ("all", "heads", "ordered")

    def __init__(self) -> None:
        self.all: OrderedDict[Command, None] = OrderedDict()
        self.ordered: OrderedDict[Command, None] = OrderedDict()
        self.heads: OrderedDict[Command, None] = OrderedDict()

    def add(self, command: Command) -> None:
        self.all[command] = None
        if command.attribute == TaskAttribute.ORDERED:
            self.ordered[command] = None
        elif command.attribute == TaskAttribute.HEAD_OF_QUEUE:
            self.heads[command] = None

    def remove(self, command: Command) -> None:
        del self.all[command]
        self.ordered.pop(command, None)
        self.heads.pop(command, None)


class TaskSet:
    """The commands of one unit that have not ended.

    A dormant command waits for one that it may not pass, or for the end of an ACA, and is looked at again when that
    has come: what an event costs does not grow with the number of commands.

    Args:
        control: the unit's control mode page.
        limit: how many commands are held before TASK SET FULL or BUSY.
    """

    def __init__(self, control: ControlParameters, limit: int = 1024) -> None:
        self.control = control
        self.limit = limit
        self.commands: dict[tuple[Nexus | None, int], Command] = {}
        self.faulted: set[Nexus] = set()                      # nexuses with an ACA condition
        self.held: list[tuple[Command, Any]] = []             # answers of stores that came during an ACA
        self._arrivals = 0
        self._line = _Line()
        self._lines: dict[Nexus, _Line] = {}                  # the same of each nexus
        self._extents = TaskExtents()
        self._dormant: set[Command] = set()
        self._candidates: list[tuple[int, Command]] = []      # a heap by arrival: to be looked at
        self._behind: dict[Command, list[Command]] = {}       # dormant commands by the one that they wait for
        self._behind_aca: list[Command] = []                  # dormant commands that wait for the end of an ACA
        self._tst = control.tst
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
            self._special or self._writers or self._dormant or (command.nexus, command.tag) in self.commands
        )

    def of_nexuses(self, nexuses: Iterable[Nexus]) -> list[Command]:
        """The commands of these nexuses, in order of arrival."""
        found = [command for nexus in set(nexuses) if nexus in self._lines for command in self._lines[nexus].all]
        return sorted(found, key=_arrival)

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
            return Status.TASK_SET_FULL if command.nexus in self._lines else Status.BUSY
        self._take(command)
        command.state = TaskState.DORMANT
        self._dormant.add(command)
        heappush(self._candidates, (command.arrival, command))
        return Status.GOOD

    def adopt(self, command: Command) -> None:
        """Take in a command that the fast path has started already, ENABLED."""
        self._take(command)

    def take_alone(self, command: Command) -> list[Command]:
        """Take in work without a nexus, as if it wrote all blocks. Returns the commands that came before it."""
        others = list(self.commands.values())
        command.tag, command.extent = self._arrivals + 1, (0, 1 << 64, True)
        self._take(command)
        return others

    def _take(self, command: Command) -> None:
        command.arrival = self._arrivals = self._arrivals + 1
        self.commands[command.nexus, command.tag] = command
        self._line.add(command)
        line = self._lines.get(command.nexus)
        if line is None:
            self._lines[command.nexus] = line = _Line()
        line.add(command)
        self._special += command.attribute != TaskAttribute.SIMPLE
        if command.extent is not None:
            self._writers += command.extent[2]
            self._extents.add(command, command.extent)

    def _aca_status(self, command: Command) -> int:
        """SAM-5 5.9.3 and table 39: what an ACA condition does to a new command."""
        if not self.faulted:
            if command.attribute == TaskAttribute.ACA:
                raise CheckCondition(asc.with_key(asc.INVALID_MESSAGE_ERROR, 0x05))
            return Status.GOOD
        if command.nexus in self.faulted:
            if command.attribute != TaskAttribute.ACA or self.control.tmf_only:
                return Status.ACA_ACTIVE
            line = self._lines.get(command.nexus)
            busy = line is not None and any(other.attribute == TaskAttribute.ACA for other in line.all)
            return Status.ACA_ACTIVE if busy else Status.GOOD
        if self.control.tst:
            if command.attribute == TaskAttribute.ACA:
                raise CheckCondition(asc.with_key(asc.INVALID_MESSAGE_ERROR, 0x05))
            return Status.GOOD
        if _preempts_and_aborts(command):
            return Status.GOOD
        return Status.ACA_ACTIVE if command.naca else Status.BUSY

    # --- order -------------------------------------------------------------------------------------------------

    def next_startable(self) -> Command | None:
        """The first dormant command that may start; it is ENABLED when this returns."""
        if self._tst != self.control.tst:
            # Other rules: whatever somebody waited for, it may be something else now.
            self._tst = self.control.tst
            self._behind.clear()
            self._candidates = sorted((command.arrival, command) for command in self._dormant)
        candidates = self._candidates
        while candidates:
            arrival, command = heappop(candidates)
            if command not in self._dormant:
                continue
            if self.faulted and self._is_behind_aca(command):
                self._behind_aca.append(command)
                continue
            other = self._hindrance(command, newest=arrival == self._arrivals)
            if other is not None:
                self._behind.setdefault(other, []).append(command)
                continue
            self._dormant.discard(command)
            command.state = TaskState.ENABLED
            return command
        return None

    def _hindrance(self, command: Command, *, newest: bool) -> Command | None:
        """A command that this one may not pass; None where it may start.

        There may be several. Of those before it, the last is best waited for if it has just come: commands end
        in order more often than not. Later the first: that costs nothing if there is none.
        """
        attribute = command.attribute
        if attribute in (TaskAttribute.HEAD_OF_QUEUE, TaskAttribute.ACA):
            return None
        if self._special:
            line = self._lines[command.nexus] if self._tst else self._line
            if line.heads:
                return next(iter(line.heads))
            before = line.all if attribute == TaskAttribute.ORDERED else line.ordered
            for other in reversed(before) if newest else before:
                if other is command:
                    if newest:
                        continue
                    break
                if other.arrival < command.arrival:
                    return other
                break
        extent = command.extent
        return None if extent is None else self._extents.conflict(command, extent, newest=newest)

    def _is_behind_aca(self, command: Command) -> bool:
        if command.nexus in self.faulted:
            return command.attribute != TaskAttribute.ACA
        if self.control.tst:
            return False
        return not _preempts_and_aborts(command)

    # --- the end -----------------------------------------------------------------------------------------------

    def remove(self, command: Command) -> None:
        """The command has ended."""
        if self.commands.get((command.nexus, command.tag)) is not command:
            return
        del self.commands[command.nexus, command.tag]
        self._dormant.discard(command)
        self._line.remove(command)
        line = self._lines[command.nexus]
        line.remove(command)
        if not line.all:
            del self._lines[command.nexus]
        self._special -= command.attribute != TaskAttribute.SIMPLE
        if command.extent is not None:
            self._writers -= command.extent[2]
            self._extents.remove(command, command.extent)
        self._look_again(self._behind.pop(command, ()))

    def _look_again(self, commands: Iterable[Command]) -> None:
        """What these waited for has come."""
        for command in commands:
            heappush(self._candidates, (command.arrival, command))

    def clear_aca(self, nexus: Nexus) -> list[tuple[Command, Any]]:
        """End the ACA condition of a nexus; returns the answers that were held for it."""
        self.faulted.discard(nexus)
        waited, self._behind_aca = self._behind_aca, []
        self._look_again(waited)
        released = [held for held in self.held if not self._is_behind_aca(held[0])] if self.faulted else self.held
        self.held = [held for held in self.held if held not in released] if self.faulted else []
        return released

    def holds(self, command: Command) -> bool:
        """Whether an ACA condition keeps a started command from going on (SAM-5 8.4.5, blocked).

        What goes on in the background is no command of the task set: it does go on.
        """
        if not self.faulted or self.find(command.nexus, command.tag) is not command:
            return False
        return self._is_behind_aca(command)


def _preempts_and_aborts(command: Command) -> bool:
    """Whether it is a PERSISTENT RESERVE OUT with PREEMPT AND ABORT."""
    cdb = command.cdb
    return len(cdb) > 1 and cdb[0] == _PERSISTENT_RESERVE_OUT and cdb[1] & 0x1F == _PREEMPT_AND_ABORT

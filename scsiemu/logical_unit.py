"""A logical unit: device server, task set and stores put together (SAM-5 4.6).

It drives commands: admits them to the task set, has requests performed, ends them exactly once. What a command means
is the device server's part, what may run beside what is the task set's, whom an abort hits is the task manager's.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, Final

from scsiemu import asc
from scsiemu.command import Buffer, Command, Completion, DataOutRequest, Steps, TaskState
from scsiemu.errors import IoFailed, IoFault
from scsiemu.io_emulation import Emulation, emulate, write_in_pieces
from scsiemu.io_requests import (
    PENDING,
    DataOut,
    Elsewhere,
    IoRequest,
    LoadState,
    Performer,
    Read,
    SaveState,
    Sleep,
    StoreCapabilities,
    UnitRequest,
    Write,
)
from scsiemu.nexus import InitiatorPort, Nexus, TargetPort
from scsiemu.sam import Status
from scsiemu.sense import CheckCondition, Sense, SenseCode
from scsiemu.task_set import TaskSet
from scsiemu.unit_attention import PREVIOUS_STATUS, establish_attention

if TYPE_CHECKING:
    from scsiemu.device_server import DeviceServer
    from scsiemu.target import Target

__all__ = ["BackgroundTask", "LogicalUnit", "NexusState"]

# How many nexuses a unit remembers to have told of its power on; past it the oldest is told again.
_ACQUAINTANCES: Final = 4096

_ENDED: Final = TaskState.ENDED
_NOBODY: Final = Nexus(InitiatorPort("", b""), TargetPort("", 0))


class NexusState:
    """What a unit keeps for one I_T nexus that sees it.

    Attributes:
        attentions: pending unit attentions, most urgent first.
        read_only: the nexus may not change the medium.
        lun: the LUN by which the nexus knows the unit (64-bit form).
    """

    __slots__ = ("attentions", "lun", "nexus", "read_only", "unit")

    def __init__(self, nexus: Nexus, unit: LogicalUnit, lun: int, *, read_only: bool = False) -> None:
        self.nexus = nexus
        self.unit = unit
        self.lun = lun
        self.read_only = read_only
        self.attentions: list[SenseCode] = []


class BackgroundTask(Command):
    """Work that a unit goes on with after the command that began it has ended (format, sanitize, self-test).

    Attributes:
        name: for people.
        done: it has ended.
        completion: how, once it is done; None where it was stopped.
    """

    __slots__ = ("completion", "done", "name")

    def __init__(self, unit: LogicalUnit, name: str, steps: Steps) -> None:
        super().__init__(_NOBODY, unit.lun, b"")
        self.prepare()
        self.unit = unit
        self.nexus_state = NexusState(_NOBODY, unit, unit.lun)
        self.steps = steps
        self.name = name
        self.done = False
        self.completion: Completion | None = None


class LogicalUnit:
    """A unit of a target. Made by `Target.add_unit`.

    Args:
        target: it belongs to.
        lun: 64-bit form.
        server: its device server.
        performer: performs requests for the medium; None queues them for `Target.next_io`.
        state_performer: performs LoadState and SaveState; None where nothing outlives the process.
        capabilities: asked for what the medium's store can do, now.
        limit: commands that the task set holds.
    """

    def __init__(
        self,
        target: Target,
        lun: int,
        server: DeviceServer,
        *,
        performer: Performer | None,
        state_performer: Performer | None,
        capabilities: Callable[[], StoreCapabilities] | None,
        limit: int,
    ) -> None:
        self.target = target
        self.lun = lun
        self.server = server
        self.performer: Performer = performer or target.queue_io
        self.has_state_store = state_performer is not None
        self.removed = False
        self.nexus_states: dict[Nexus, NexusState] = {}
        self.task_set = TaskSet(server.control, limit)
        self.background: dict[BackgroundTask, None] = {}
        self.commands_started = 0
        self.commands_failed = 0
        self._capabilities = capabilities
        self._state_performer = state_performer
        self._acquainted: dict[tuple[bytes, int], None] = {}
        self._waiters: list[tuple[set[Command], Callable[[], None]]] = []
        self._waking = False
        self._restoring: BackgroundTask | None = None
        server.unit = self

    def __repr__(self) -> str:
        return f"LogicalUnit({self.lun:016x})"

    @property
    def now(self) -> float:
        """Seconds of the target's clock."""
        return self.target.now

    @property
    def capabilities(self) -> StoreCapabilities | None:
        """What the medium's store can do, None where it did not say."""
        return self._capabilities() if self._capabilities is not None else None

    @property
    def state_prefix(self) -> str:
        """What the keys of this unit's saved state begin with."""
        return f"{self.target.name}/{self.lun:016x}/"

    def start(self) -> None:
        """Power on: restore what outlived the process. Commands wait for it."""
        self.server.attached()
        steps = self.server.restore()
        if steps is not None:
            self._restoring = BackgroundTask(self, "restore", steps)
            self._run_background(self._restoring)

    # --- nexuses and attentions --------------------------------------------------------------------------------

    def add_nexus(self, nexus: Nexus, lun: int, *, read_only: bool) -> NexusState:
        """A nexus sees the unit from now on. Its first attention tells why (SAM-5 6.2, 6.3.5)."""
        state = NexusState(nexus, self, lun, read_only=read_only)
        self.nexus_states[nexus] = state
        key = nexus.key
        known = key in self._acquainted
        while len(self._acquainted) >= _ACQUAINTANCES and not known:
            del self._acquainted[next(iter(self._acquainted))]
        self._acquainted[key] = None
        # SAM-5 6.3.4: a port seen before lost its nexus; a new one hears of the power on.
        first = asc.I_T_NEXUS_LOSS_OCCURRED if known else asc.POWER_ON_RESET_OR_BUS_DEVICE_RESET_OCCURRED
        state.attentions.append(first)
        self.server.nexus_established(state)
        return state

    def lose_nexus(self, nexus: Nexus) -> None:
        """I_T nexus loss: its commands end without a word, its ACA ends (SAM-5 6.3.4)."""
        state = self.nexus_states.pop(nexus, None)
        if state is None:
            return
        if self.task_set.commands or self.task_set.faulted:     # most have nothing under way
            for command in self.task_set.of_nexuses((nexus,)):
                self.abort(command)
            self.clear_aca(nexus)
        self.server.nexus_lost(state)

    def attention(self, code: SenseCode, *, only: Nexus | None = None, but: Nexus | None = None) -> None:
        """Establish a unit attention for every nexus, for one, or for all but one."""
        news = False
        for nexus, state in self.nexus_states.items():
            if nexus is not but and (only is None or nexus is only):
                news |= establish_attention(state.attentions, code)
        if news:
            self.target.attention_established(self, code)

    # --- the way of a command ----------------------------------------------------------------------------------

    def execute(self, command: Command) -> Completion | Buffer | None:  # hot
        """A command for this unit, from a nexus that sees it. Never raises for what an initiator can send.

        Returns how it ended, where it has ended at once and nothing but it was touched: its completion, or its Data-In
        alone for GOOD (`Command.wanted` bytes of Data-Out were taken). None: its completion is, or will be, in the
        target's queue.
        """
        self.commands_started += 1
        server = self.server
        task_set = self.task_set
        # No attention, no ACA, no reservation, nothing to wait for: the operation's own checks are all there is.
        if not (
            command.nexus_state.attentions
            or task_set.faulted
            or command.attribute
            or server.reserved
            or self._restoring
            or (task_set.commands and (command.cdb[0] not in server.fast_reads or task_set.hinders_read(command)))
        ):
            fast = server.fast_operations[command.cdb[0]]
            if fast is not None:
                request = fast(command)
                if request is not None:
                    cls = request.__class__
                    if cls is Read:
                        answer = self.performer(request, command)  # type: ignore[arg-type]  # a Read
                        if answer is not PENDING and answer.__class__ is not IoFailed:
                            command.state = _ENDED
                            return answer  # type: ignore[no-any-return]  # a Buffer, what a Read is answered with
                        self._go_slow(command, request, answer)  # type: ignore[arg-type]  # a Read
                        return None
                    if cls is Completion:
                        command.state = _ENDED
                        return request  # type: ignore[return-value]  # by its class
                    return self._execute_write(command, request)  # type: ignore[arg-type]  # what is left
        self._submit_slow(command)
        return None

    def _execute_write(self, command: Command, request: IoRequest[Any]) -> Buffer | None:  # hot
        if request.__class__ is Write:
            length: int = request.length
            if len(command.data_out) != length or request.fua:
                self._adopt(command)
                self._run(command, request)
                return None
            request.data = command.data_out
            command.wanted = length
        answer = self.performer(request, command)
        if answer is PENDING or answer.__class__ is IoFailed:
            self._go_slow(command, request, answer)
            return None
        command.state = _ENDED
        return answer or b""

    def _go_slow(self, command: Command, request: IoRequest[Any], answer: Any) -> None:
        """The store is late with a fast command, or failed."""
        self._adopt(command)
        command.io_request = request
        command.state = TaskState.IO
        if answer is not PENDING:
            self.resume(command, answer)

    def _adopt(self, command: Command) -> None:
        """A fast command that needs something more: from here on it goes the ordinary way."""
        command.prepare()
        self.server.recognize(command)
        command.state = TaskState.ENABLED
        self.task_set.adopt(command)

    def _submit_slow(self, command: Command) -> None:
        command.prepare()
        server = self.server
        server.recognize(command)
        try:
            overlapped = self.task_set.find(command.nexus, command.tag)
            if overlapped is not None:
                # SAM-5 5.11: an overlapped command aborts all commands of the nexus.
                for other in self.task_set.of_nexuses((command.nexus,)):
                    self.abort(other)
                raise CheckCondition(asc.OVERLAPPED_COMMANDS_ATTEMPTED)
            status = self.task_set.admit(command)
        except CheckCondition as refusal:
            self._complete(command, Completion(status=refusal.status, sense=refusal.sense))
            return
        if status != Status.GOOD:
            self._complete(command, Completion(status=status))
            return
        self.wake()
        if command.state == TaskState.DORMANT:
            command.data_out = bytes(command.data_out)

    def wake(self) -> None:
        """Start what may start. Not re-entered: a command that ends inside only lets the loop go on."""
        if self._waking or self._restoring is not None:
            return
        self._waking = True
        try:
            while (command := self.task_set.next_startable()) is not None:
                self._run(command, self.server.begin(command))
        finally:
            self._waking = False

    def _run(self, command: Command, outcome: Completion | IoRequest[Any]) -> None:
        """Carry a command on until it ends or has to wait."""
        while outcome.__class__ is not Completion:
            command.io_request = outcome  # type: ignore[assignment]  # not a Completion: a request
            answer = self._perform(command, outcome)  # type: ignore[arg-type]  # see above
            if answer is PENDING:
                if not command.wanted:
                    # Data-Out that is asked for later must outlive the call of `submit`, which its view does not.
                    command.data_out = bytes(command.data_out)
                return
            if isinstance(answer, Emulation):
                outcome = self.server.emulate(command, answer.steps)
            else:
                outcome = self.server.resume(command, answer)
        assert isinstance(outcome, Completion)
        self._end(command, outcome)

    def _perform(self, command: Command, request: IoRequest[Any]) -> Any:
        """Have one request performed; the answer, PENDING, or an emulation."""
        cls = request.__class__
        command.state = TaskState.IO
        if cls is Read:
            return self.performer(request, command)
        if isinstance(request, Write):
            if request.data is None:
                pieces = write_in_pieces(command, request)
                return Emulation(pieces) if pieces else self._fetch(command, request.length, atom=request.atom)
        elif isinstance(request, DataOut):
            return self._fetch(command, request.length, request.offset, atom=1)
        elif isinstance(request, (LoadState, SaveState)):
            if self._state_performer is None:
                return IoFailed(IoFault.UNSUPPORTED, "there is no state store")
            return self._state_performer(request, command)
        elif isinstance(request, Sleep):
            self.target.sleep(command, request.seconds)
            return PENDING
        elif isinstance(request, UnitRequest):
            return request.perform(self, command)
        elif isinstance(request, Elsewhere):
            return request.unit.perform_for(request.request, command)
        return self._perform_or_emulate(command, request)

    def _perform_or_emulate(self, command: Command, request: IoRequest[Any]) -> Any:
        capabilities = self.capabilities
        if capabilities is not None and command.emulation is None:
            steps = emulate(request, capabilities)
            if steps is not None:
                return Emulation(steps)
        return self.performer(request, command)

    def perform_for(self, request: IoRequest[Any], command: Command) -> Any:
        """Perform a request for a command of another unit."""
        if self.removed:
            return IoFailed(IoFault.GONE, "the unit was removed")
        answer = self._perform_or_emulate(command, request)
        return Emulation(_at(self, answer.steps)) if isinstance(answer, Emulation) else answer

    def resume(self, command: Command, answer: Any) -> None:
        """The late answer to a command's request: from a store, the clock or the transport."""
        if command.state == TaskState.ABORTING:
            self._finish_abort(command)
        elif command.state not in (TaskState.IO, TaskState.DATA_OUT):
            return
        elif self.task_set.holds(command):
            self.task_set.held.append((command, answer))
        else:
            self._run(command, self.server.resume(command, answer))
            self.wake()

    # --- Data-Out ----------------------------------------------------------------------------------------------

    def _fetch(self, command: Command, length: int, offset: int = 0, *, atom: int) -> Any:
        """Data-Out of a command: at once where it came with it, else PENDING and a DataOutRequest."""
        end = offset + length
        command.wanted = max(command.wanted, end)
        available = min(end, command.data_out_length)
        available -= available % atom
        come = len(command.data_out)
        if come >= available:
            return self._with_data(command, memoryview(command.data_out)[offset:available])
        command.state = TaskState.DATA_OUT
        command.data_out = bytes(command.data_out) if offset < come else b""
        come = max(offset, come)
        if command.buffer is not None and len(command.buffer) != available - offset:
            command.buffer = None               # that of an earlier piece, else used again
        self.target.data_out_requests.append(DataOutRequest(command, offset, come, available - come))
        return PENDING

    def data_out(self, command: Command) -> None:
        """The buffer of the command's DataOutRequest is full."""
        if command.state == TaskState.DATA_OUT and command.buffer is not None:
            answer = self._with_data(command, memoryview(command.buffer))
            if answer is not PENDING:
                self.resume(command, answer)

    def _with_data(self, command: Command, data: memoryview) -> Any:
        """The request that waited for Data-Out has it: DataOut is answered, Write goes to the store."""
        request = command.io_request
        if not isinstance(request, Write):
            return data
        request.data = data
        request.length = len(data)
        request.owned = command.buffer is not None
        if not data:
            return None
        command.state = TaskState.IO
        answer = self._perform_or_emulate(command, request)
        if isinstance(answer, Emulation):
            self._run(command, self.server.emulate(command, answer.steps))
            return PENDING
        return answer

    # --- the end of a command ----------------------------------------------------------------------------------

    def _end(self, command: Command, completion: Completion) -> None:
        """A command has come to its end: leave the task set, complete, let others run."""
        if isinstance(command, BackgroundTask):
            self._end_background(command, completion)
            return
        self.task_set.remove(command)
        if completion.status == Status.CHECK_CONDITION:
            self._contingent(command)
        self._complete(command, completion)
        self._ended(command)
        self.wake()

    def _complete(self, command: Command, completion: Completion) -> None:
        command.state = TaskState.ENDED
        completion.command = command
        self.server.finish(command, completion)
        if completion.status:
            self.commands_failed += 1
            if self.server.control.ua_intlck_ctrl == 3 and completion.status in PREVIOUS_STATUS:
                establish_attention(command.nexus_state.attentions, PREVIOUS_STATUS[completion.status])
        self.target.completions.append(completion)

    def _contingent(self, command: Command) -> None:
        """What a CHECK CONDITION does to other commands: ACA (SAM-5 5.9) and QErr (SPC-5 7.5.10)."""
        control = self.server.control
        if command.naca:
            self.task_set.faulted.add(command.nexus)
        if control.qerr == 1:
            everything = self.task_set.commands.values()
            victims = [other for other in everything if not control.tst or other.nexus is command.nexus]
        elif control.qerr == 3:
            victims = self.task_set.of_nexuses((command.nexus,))
        else:
            return
        self.abort_by(command.nexus, victims)

    def abort_by(self, nexus: Nexus, victims: list[Command]) -> None:
        """Abort commands on behalf of a nexus; other nexuses are told by TAS or a unit attention (SAM-5 5.6)."""
        tas = bool(self.server.control.tas)
        told = set()
        for victim in victims:
            if victim.nexus is nexus:
                self.abort(victim)
                continue
            if not tas and victim.nexus not in told:
                told.add(victim.nexus)
                establish_attention(victim.nexus_state.attentions, asc.COMMANDS_CLEARED_BY_ANOTHER_INITIATOR)
            self.abort(victim, status=Status.TASK_ABORTED if tas else None)

    def abort(self, command: Command, *, status: int | None = None, sense: Sense | None = None) -> None:
        """Abort a command: at once, or when the store that works for it has answered.

        Without `status` the initiator is told nothing.
        """
        if command.state in (TaskState.ENDED, TaskState.ABORTING):
            return
        completion = Completion(status=Status.GOOD if status is None else status, sense=sense)
        completion.silent = status is None
        in_store = command.state == TaskState.IO and not self.target.forget_sleep(command)
        if in_store and not any(held is command for held, _ in self.task_set.held):
            command.state = TaskState.ABORTING
            command.parting = completion
            return
        self._abort_now(command, completion)

    def _finish_abort(self, command: Command) -> None:
        completion = command.parting
        assert completion is not None
        self._abort_now(command, completion)
        self.wake()

    def _abort_now(self, command: Command, completion: Completion) -> None:
        self.server.close(command)
        self.task_set.held = [held for held in self.task_set.held if held[0] is not command]
        if isinstance(command, BackgroundTask):
            self._end_background(command, None)
            return
        self.task_set.remove(command)
        self._complete(command, completion)
        self._ended(command)

    def when_ended(self, commands: list[Command], then: Callable[[], None]) -> None:
        """Call `then` once all these commands have ended; at once where they have."""
        waiting = {command for command in commands if command.state != TaskState.ENDED}
        if waiting:
            self._waiters.append((waiting, then))
        else:
            then()

    def _ended(self, command: Command) -> None:
        if not self._waiters:
            return
        due = []
        for waiting, then in self._waiters:
            waiting.discard(command)
            if not waiting:
                due.append(then)
        self._waiters = [waiter for waiter in self._waiters if waiter[0]]
        for then in due:
            then()

    def clear_aca(self, nexus: Nexus) -> None:
        """End the ACA condition of a nexus; what it held goes on."""
        for command, answer in self.task_set.clear_aca(nexus):
            self._run(command, self.server.resume(command, answer))
        self.wake()

    # --- background work ---------------------------------------------------------------------------------------

    def start_background(self, steps: Steps, name: str) -> BackgroundTask:
        """Go on with `steps` without a command. Its first request is made before this returns."""
        task = BackgroundTask(self, name, steps)
        self._run_background(task)
        return task

    def _run_background(self, task: BackgroundTask) -> None:
        self.background[task] = None
        task.state = TaskState.ENABLED
        self._run(task, self.server.resume(task, None))

    def _end_background(self, task: BackgroundTask, completion: Completion | None) -> None:
        task.state = TaskState.ENDED
        task.done = True
        task.completion = completion
        self.background.pop(task, None)
        self.task_set.remove(task)              # those that were alone are in it
        self._ended(task)
        if task is self._restoring:
            self._restoring = None
        self.wake()

    # --- reset, removal, reports -------------------------------------------------------------------------------

    def reset(self, kind: str, code: SenseCode) -> None:
        """A logical unit reset (SAM-5 6.3.3): commands and ACA end, every nexus gets the attention."""
        for command in list(self.task_set.commands.values()):
            self.abort(command)
        for nexus in list(self.task_set.faulted):
            self.clear_aca(nexus)
        self.server.reset(kind)
        self.attention(code)

    def remove(self, *, drain: bool) -> None:
        """Out of the target: no new commands; those in the set go on, or end with LOGICAL UNIT NOT SUPPORTED."""
        self.removed = True
        if not drain:
            gone = Sense(asc.LOGICAL_UNIT_NOT_SUPPORTED)
            for command in list(self.task_set.commands.values()):
                self.abort(command, status=Status.CHECK_CONDITION, sense=gone)
            for task in list(self.background):
                self.abort(task)
        everything = [*self.task_set.commands.values(), *self.background]
        self.when_ended(everything, lambda: self.target.unit_gone(self))

    def internal_failure(self, command: Command, error: Exception) -> None:
        """An operation of ours raised what it must not: told to the operator."""
        self.target.internal_failure(self, command, error)

    def store_failed(self, command: Command, request: IoRequest[Any], failure: IoFailed) -> None:
        """A store could not do a request: told to the operator."""
        self.target.store_failed(self, command, request, failure)

    def statistics(self) -> dict[str, int]:
        """Numbers of this unit."""
        return {
            "commands": self.commands_started,
            "failed": self.commands_failed,
            "pending": len(self.task_set),
            "nexuses": len(self.nexus_states),
            "background": len(self.background),
        }


def _at(unit: LogicalUnit, steps: Generator[IoRequest[Any], Any, Any]) -> Generator[IoRequest[Any], Any, Any]:
    """The same steps, each performed by the store of `unit`."""
    answer: Any = None
    while True:
        try:
            request = steps.throw(answer) if isinstance(answer, IoFailed) else steps.send(answer)
        except StopIteration as done:
            return done.value
        try:
            answer = yield Elsewhere(unit, request)
        except IoFailed as failure:
            answer = failure

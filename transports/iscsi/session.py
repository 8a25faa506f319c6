"""A session of the target: command order and window, commands and their ends (RFC 7143 4.2.2, 4.2.4, 11.3, 11.4, 11.7).

A SCSI Command PDU becomes a `Command` of the engine when it is its turn. It waits

    in `held`   for commands before it in CmdSN order that have not come (a gap),
    in `queue`  for its own unsolicited Data-Out, for a command before it that waits, or for the send queue of the
                connection to drain: reads are produced only as fast as the initiator takes them.

The window closes by itself: MaxCmdSN advances when a command ends, never when one arrives, so that no more than
`window` commands that are not immediate exist in a session.

It does NOT: cut PDUs, answer other requests (connection.py), or keep Data-Out (data_out.py). MaxConnections is 1.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from scsiemu.command import Command, Completion, DataOutRequest, completion_of
from scsiemu.nexus import Nexus
from scsiemu.sam import Status, TaskManagementFunction
from scsiemu.sense import Sense, SenseCode
from scsiemu.target import Target
from transports.iscsi.codes import NO_TAG, Flags, RejectReason
from transports.iscsi.command_checks import ATTRIBUTES, command_of, why_rejected, wrong_data
from transports.iscsi.data_out import DataOutTable
from transports.iscsi.framing import PlainCommand, seal
from transports.iscsi.held import HeldRequests, KeptData
from transports.iscsi.pdu import DataOut, Pdu, ScsiCommand, pack_plain, pack_response, r2t_bhs
from transports.iscsi.response import respond

if TYPE_CHECKING:
    from transports.iscsi.connection import TargetConnection
    from transports.iscsi.keys import OperationalParameters
    from transports.iscsi.node import IscsiTarget

__all__ = ["Session"]

_MASK: Final = 0xFFFFFFFF
_HALF: Final = 1 << 31

_PADDING: Final = (b"", bytes(3), bytes(2), bytes(1))


class Session:
    """A session in full feature phase.

    Args:
        connection: its connection.
        entry: the target that was logged in to, None for a discovery session.
        nexus: its I_T nexus, None for a discovery session.
        parameters: what was negotiated.
        initiator_name, isid, tsih: who it is.
        exp_cmd_sn: the CmdSN that comes next.
        window: how many commands it may have.

    Attributes:
        tasks: the commands that it has and that no gap holds back, by ITT.
        held, queue: see the module's docstring.
    """

    __slots__ = (
        "_data_out", "_immediates", "_kept", "_parting", "_pledged", "_spare", "connection", "data_pdu_in_order",
        "data_sequence_in_order", "entry", "exp_cmd_sn", "first_burst_length", "held", "immediate_data",
        "initial_r2t", "initiator_name", "isid", "max_burst_length", "max_cmd_sn", "max_outstanding_r2t", "nexus",
        "node", "parameters", "pending_functions", "queue", "target", "tasks", "tsih", "window",
    )

    def __init__(
        self,
        connection: TargetConnection,
        entry: IscsiTarget | None,
        nexus: Nexus | None,
        parameters: OperationalParameters,
        *,
        initiator_name: str,
        isid: bytes,
        tsih: int,
        exp_cmd_sn: int,
        window: int,
    ) -> None:
        self.connection = connection
        self.node = connection.node
        self.entry = entry
        self.target: Target | None = entry.target if entry is not None else None
        self.nexus = nexus
        self.parameters = parameters
        self.initiator_name = initiator_name
        self.isid = isid
        self.tsih = tsih
        self.exp_cmd_sn = exp_cmd_sn
        self.window = window
        self.max_cmd_sn = (exp_cmd_sn + window - 1) & _MASK
        self.initial_r2t: bool = parameters.initial_r2t
        self.immediate_data: bool = parameters.immediate_data
        self.first_burst_length: int = parameters.first_burst_length
        self.max_burst_length: int = parameters.max_burst_length
        self.max_outstanding_r2t: int = parameters.max_outstanding_r2t
        self.data_pdu_in_order: bool = parameters.data_pdu_in_order
        self.data_sequence_in_order: bool = parameters.data_sequence_in_order
        self.tasks: dict[int, Command] = {}
        self.pending_functions = 0                          # task management that the target has not answered
        self._pledged = 0                                   # bytes of Data-In that commands under way may bring
        self._spare: Command | None = None
        self._kept: KeptData | None = None      # once there is such a command
        # Made when first needed: most sessions are idle.
        self._data_out: DataOutTable | None = None
        self.queue: deque[Command] | None = None
        self.held: HeldRequests | None = None              # None where there are none
        self._immediates: set[int] | None = None            # ITTs of immediate commands
        self._parting: dict[int, SenseCode] | None = None   # ITTs of commands that we abort, with what to say

    @property
    def owed_data_out(self) -> bool:
        """Whether the initiator has Data-Out to send."""
        return self._data_out is not None and self._data_out.owed

    @property
    def discovery(self) -> bool:
        """Whether it is a discovery session."""
        return self.target is None

    @property
    def window_closed(self) -> bool:
        """Whether the next CmdSN is outside of the window: there are as many commands as there may be."""
        return self.max_cmd_sn + 1 & _MASK == self.exp_cmd_sn

    # --- order -------------------------------------------------------------------------------------------------

    def in_order(self, pdu: Pdu, cmd_sn: int) -> bool:
        """Whether it is the turn of a request that is not a SCSI command. One that comes too early is kept."""
        if pdu.immediate:
            return True
        if not self._expected(pdu, cmd_sn):
            return False
        self.max_cmd_sn = (self.max_cmd_sn + 1) & _MASK
        return True

    def reject(self, reason: int, pdu: Pdu) -> None:
        """Reject a request that `in_order` took. Its CmdSN counts as not received (11.17.1)."""
        if not pdu.immediate:
            self.exp_cmd_sn = (self.exp_cmd_sn - 1) & _MASK
            self.max_cmd_sn = (self.max_cmd_sn - 1) & _MASK
        self.connection.reject(reason, pdu)

    def over_cap(self, pdu: Pdu) -> bool:
        """Whether so much waits for the socket that a request with a long answer is rejected."""
        if self.connection.queued <= self.node.limits.queued_bytes:
            return False
        self.reject(RejectReason.IMMEDIATE_COMMAND_REJECT, pdu)
        return True

    def _expected(self, pdu: Pdu, cmd_sn: int) -> bool:
        """Whether a non-immediate request has the next CmdSN, which is then taken. Else it is kept or ignored."""
        if cmd_sn == self.exp_cmd_sn and not self.window_closed:
            self.exp_cmd_sn = (cmd_sn + 1) & _MASK
            return True
        ahead = (cmd_sn - self.exp_cmd_sn) & _MASK
        if 0 < ahead <= (self.max_cmd_sn - self.exp_cmd_sn) & _MASK < _HALF:
            if self.held is None:
                self.held = HeldRequests(self.node.data_out_budget)
            if not self.held.keep(cmd_sn, pdu):
                self.connection.drop("no memory for commands behind one that is missing")
        # RFC 7143 4.2.2.1: outside of the window, and a duplicate, are silently ignored.
        return False

    def next_held(self) -> Pdu | None:
        """A request that was kept and whose turn has come."""
        while (held := self.held) is not None and self.exp_cmd_sn in held.requests:
            pdu = held.release(self.exp_cmd_sn)
            if not held.requests:
                self.held = None
            if pdu is not None:
                return pdu
            self.exp_cmd_sn = (self.exp_cmd_sn + 1) & _MASK
            self.max_cmd_sn = (self.max_cmd_sn + 1) & _MASK
        return None

    # --- a command comes ---------------------------------------------------------------------------------------

    def plain_commands(self, commands: list[PlainCommand]) -> int:                              # hot
        """Take SCSI commands that are not immediate, have no AHS and no priority.

        Returns how many were taken: the next one is for `scsi_command`.
        """
        connection = self.connection
        target = self.target
        nexus = self.nexus
        # These are written back before anybody else looks at them.
        exp_cmd_sn, max_cmd_sn = self.exp_cmd_sn, self.max_cmd_sn
        if target is None or nexus is None or self.queue or max_cmd_sn + 1 & _MASK == exp_cmd_sn:
            return 0                    # a discovery session, commands that wait for their turn, or too many
        tasks = self.tasks
        execute = target.execute
        out = connection.out
        node = self.node
        limit = node.queue_limit
        longest = connection.plain_data_in
        most = self.first_burst_length if self.immediate_data else 0
        if node.immediate_budget.used:
            most = min(most, node.immediate_budget.room)
        digests = connection.digests
        first = len(out)                # from here on `out` has answers that miss their digests
        taken = 0
        stat_sn, queued = connection.stat_sn, connection.queued
        pledged = self._pledged
        command, self._spare = self._spare, None    # one that was answered here, to be used again
        for _, flags, lun, itt, expected, cmd_sn, cdb, data in commands:
            attribute = ATTRIBUTES[flags & 7]
            if (
                cmd_sn != exp_cmd_sn
                or flags < 0x80
                or itt in tasks
                or attribute < 0
                or itt == NO_TAG
                or pledged + queued > limit
            ):
                break
            direction = flags & 0x60
            if direction == 0x40 and not data:
                out_length, in_length = 0, expected
            elif direction == 0x20 and (not data or (len(data) <= expected and len(data) <= most)):
                out_length, in_length = expected, 0
            elif not (direction or data):
                out_length = in_length = 0
            else:
                break
            taken += 1
            if command is None:
                command = Command(nexus, lun, cdb, itt, attribute, data, out_length, in_length, self)
            else:
                command.renew(lun, cdb, itt, attribute, data, out_length, in_length)
            exp_cmd_sn = (cmd_sn + 1) & _MASK
            ended = execute(command)
            if ended is not None and ended.__class__ is not Completion:
                # GOOD at once, and nothing unusual: answered here, it was never among the tasks.
                length = len(ended)  # type: ignore[arg-type]  # by its class: a Buffer
                if length:
                    if direction == 0x40 and length <= longest and length <= expected:
                        max_cmd_sn = (max_cmd_sn + 1) & _MASK
                        out.append(pack_plain(
                            0x25, 0x81 if length == expected else 0x83,         # F, S; F, U, S
                            length, itt, NO_TAG, stat_sn, exp_cmd_sn, max_cmd_sn, expected - length,
                        ))
                        out.append(ended)  # type: ignore[arg-type]  # see above
                        if length & 3:
                            out.append(_PADDING[length & 3])
                            length += 4 - (length & 3)
                        stat_sn = (stat_sn + 1) & _MASK
                        queued += 48 + length
                        continue
                elif direction != 0x40 and command.wanted == command.data_out_length:
                    max_cmd_sn = (max_cmd_sn + 1) & _MASK
                    out.append(pack_plain(0x21, 0x80, 0, itt, 0, stat_sn, exp_cmd_sn, max_cmd_sn, 0))
                    stat_sn = (stat_sn + 1) & _MASK
                    queued += 48
                    continue
            if digests:
                queued += seal(out, first, connection.header_digest, connection.data_digest)
            self.exp_cmd_sn, self.max_cmd_sn = exp_cmd_sn, max_cmd_sn
            connection.stat_sn, connection.queued = stat_sn, queued
            tasks[itt] = command
            self._pledged += command.data_in_length
            if ended is not None:
                self.complete(completion_of(command, ended))
            elif data:
                self._keep(itt, len(data))
                most = min(most, node.immediate_budget.room)
            node.settle(target)
            exp_cmd_sn, max_cmd_sn = self.exp_cmd_sn, self.max_cmd_sn
            stat_sn, queued = connection.stat_sn, connection.queued
            pledged = self._pledged
            first = len(out)
            command = None
            if self.queue or connection.deaf or self.window_closed:
                break
        if digests:
            queued += seal(out, first, connection.header_digest, connection.data_digest)
        self.exp_cmd_sn, self.max_cmd_sn = exp_cmd_sn, max_cmd_sn
        connection.stat_sn, connection.queued = stat_sn, queued
        if command is not None:
            command.data_out = b""
            self._spare = command
        if out and not connection.dirty:
            connection.mark_dirty()
        return taken

    def scsi_command(self, pdu: ScsiCommand) -> None:
        """Take a SCSI Command PDU. Its data is used or copied before this returns."""
        plain = not (pdu.immediate or pdu.ahs_flaw or pdu.priority_byte)
        if plain and self.plain_commands([
            (0, pdu.flags, pdu.lun, pdu.itt, pdu.expected_data_transfer_length, pdu.cmd_sn, pdu.cdb, pdu.data)
        ]):
            return
        self._unusual_command(pdu)

    def _unusual_command(self, pdu: ScsiCommand) -> None:
        """Everything but a plain READ or WRITE whose turn it is."""
        itt = pdu.itt
        if not pdu.immediate and (pdu.cmd_sn != self.exp_cmd_sn or self.window_closed):
            self._expected(pdu, pdu.cmd_sn)
            return
        reason = why_rejected(self, pdu, immediates=len(self._immediates or ()))
        if reason:
            # 11.17.1: the CmdSN of a rejected command counts as not received.
            self.connection.reject(reason, pdu)
            return
        if pdu.immediate:
            if self._immediates is None:
                self._immediates = set()
            self._immediates.add(itt)
        else:
            self.exp_cmd_sn = (pdu.cmd_sn + 1) & _MASK
        command = command_of(self, pdu)
        self.tasks[itt] = command
        code = wrong_data(self, pdu, command)
        if code is not None:
            self._end_here(command, Status.CHECK_CONDITION, code)
            return
        if pdu.flags & Flags.FINAL:
            if pdu.data and not self._keep(itt, len(pdu.data)):
                self._end_here(command, Status.BUSY, None)
                return
            if pdu.immediate or not (self.queue or self._pledged + self.connection.queued > self.node.queue_limit):
                self._submit(command)
                return
        else:
            self._table().gather(command)
        command.data_out = bytes(command.data_out)
        if pdu.immediate:
            return                      # `gathered` submits it: no order holds it
        if self.queue is None:
            self.queue = deque()
        self.queue.append(command)

    def _keep(self, itt: int, size: int) -> bool:
        """Count the data of a command that has to wait. False: there is no memory for it."""
        if self._kept is None:
            self._kept = KeptData(self.node.immediate_budget)
        return self._kept.keep(itt, size)

    def _submit(self, command: Command) -> None:
        assert self.target is not None
        self._pledged += command.data_in_length
        self.target.submit(command)
        self.node.settle(self.target)

    def pump(self) -> None:
        """Submit what waits and need not wait any longer."""
        queue = self.queue
        while queue:
            command = queue[0]
            if self._data_out is not None and self._data_out.gathering(command.tag):
                return
            if self._pledged + self.connection.queued > self.node.queue_limit:
                return
            queue.popleft()
            self._submit(command)

    # --- Data-Out ----------------------------------------------------------------------------------------------

    def _table(self) -> DataOutTable:
        if self._data_out is None:
            self._data_out = DataOutTable(self, self.node.data_out_budget)
        return self._data_out

    def data_out_request(self, request: DataOutRequest) -> None:
        """The device server wants Data-Out."""
        if request.command.tag in self.tasks:
            self._table().begin(request)

    def place(self, pdu: DataOut, length: int) -> memoryview | None:
        """Where the data of a Data-Out PDU may be received."""
        if self._data_out is None:
            return None
        return self._data_out.place(pdu.itt, pdu.ttt, pdu.lun, pdu.data_sn, pdu.buffer_offset, length)

    def data_out(self, pdu: DataOut, *, in_place: bool) -> int:
        """Take a Data-Out PDU. Returns 0 or the reason of the Reject that it deserves."""
        table = self._data_out
        if table is None:
            return RejectReason.PROTOCOL_ERROR
        if pdu.data_digest_error:
            table.spoil(pdu.itt, pdu.ttt, pdu.flags & Flags.FINAL)
            return RejectReason.DATA_DIGEST_ERROR
        return table.receive(
            pdu.itt, pdu.ttt, pdu.lun, pdu.data_sn, pdu.buffer_offset, pdu.data, pdu.flags & Flags.FINAL, in_place
        )

    def send_r2t(self, command: Command, ttt: int, r2t_sn: int, offset: int, length: int) -> None:
        """Told by the Data-Out table: ask the initiator for data."""
        connection = self.connection
        # 11.8: StatSN is the next one, and is not advanced.
        connection.send_parts(
            r2t_bhs(
                command.lun, command.tag, ttt, connection.stat_sn, self.exp_cmd_sn, self.max_cmd_sn, r2t_sn, offset,
                length,
            ),
            b"",
        )
        connection.expect_data_out()

    def gathered(self, command: Command, *, kept: bool) -> None:
        """Told by the Data-Out table: the unsolicited data of a command is there."""
        queue = self.queue
        if not kept:
            if queue is not None and command in queue:
                queue.remove(command)
            self._end_here(command, Status.BUSY, None)
        elif queue is not None and command in queue:
            self.node.pump(self)
        else:
            self._submit(command)

    def data_out_complete(self, command: Command) -> None:
        """Told by the Data-Out table: the device server has the data that it wanted."""
        assert self.target is not None
        self.target.data_out(command)
        self.node.settle(self.target)

    def data_out_failed(self, command: Command, code: SenseCode) -> None:
        """Told by the Data-Out table: the initiator sent it wrong, the command ends."""
        if self.queue is not None and command in self.queue:
            self.queue.remove(command)
            self._end_here(command, Status.CHECK_CONDITION, code)
            return
        if command in self.waiting():
            self._end_here(command, Status.CHECK_CONDITION, code)
            return
        # The engine ends it without a word; the words are ours.
        if self._parting is None:
            self._parting = {}
        self._parting[command.tag] = code
        assert self.target is not None
        self.node.manage(
            self.target, TaskManagementFunction.ABORT_TASK, command.nexus, command.lun, tag=command.tag, origin=None
        )

    # --- a command ends ----------------------------------------------------------------------------------------

    def complete(self, completion: Completion) -> None:                                         # hot
        """The engine has ended a command."""
        command = completion.command
        itt = command.tag
        if self.tasks.pop(itt, None) is None:
            return                      # the session has ended
        self._pledged -= command.data_in_length
        if self._kept is not None and self._kept.sizes:
            self._kept.release(itt)
        if self._immediates and itt in self._immediates:
            self._immediates.discard(itt)
        else:
            self.max_cmd_sn = (self.max_cmd_sn + 1) & _MASK
        r2ts = 0
        if self._data_out is not None:
            if self.connection.sink_itt == itt:
                self.connection.abandon_sink()
            r2ts = self._data_out.forget(itt)
        if self.queue:
            self.node.pump_later(self)
        if completion.silent:
            self._silent(command, completion, r2ts)
            return
        data = completion.data_in
        length = len(data)
        expected = command.data_in_length
        connection = self.connection
        if 0 < length <= connection.plain_data_in and not (completion.status or command.data_out_length):
            if length == expected:
                flags, residual = 0x81, 0                   # F, S
            elif length < expected:
                flags, residual = 0x83, expected - length   # F, U, S
            else:
                respond(self, command, completion, r2ts)
                return
            stat_sn = connection.stat_sn
            connection.stat_sn = (stat_sn + 1) & _MASK
            header = pack_response(
                0x25, flags, 0, 0, length, 0, itt, NO_TAG, stat_sn, self.exp_cmd_sn, self.max_cmd_sn, 0, 0, residual
            )
            if connection.digests:
                connection.send_parts(header, data)
                return
            out = connection.out
            out.append(header)
            out.append(data)
            connection.queued += 48 + length
            if length & 3:
                out.append(_PADDING[length & 3])
                connection.queued += 4 - (length & 3)
            if not connection.dirty:
                connection.mark_dirty()
            return
        if not (
            length or expected or completion.status or completion.sense_data or completion.status_qualifier
            or completion.data_out_wanted != command.data_out_length
        ):
            stat_sn = connection.stat_sn
            connection.stat_sn = (stat_sn + 1) & _MASK
            header = pack_response(
                0x21, 0x80, 0, 0, 0, 0, itt, 0, stat_sn, self.exp_cmd_sn, self.max_cmd_sn, r2ts, 0, 0
            )
            if connection.digests:
                connection.send_parts(header, b"")
                return
            connection.out.append(header)
            connection.queued += 48
            if not connection.dirty:
                connection.mark_dirty()
            return
        respond(self, command, completion, r2ts)

    def _silent(self, command: Command, completion: Completion, r2ts: int) -> None:
        """A command was aborted: nobody is told, unless it was we who had it aborted."""
        if self._parting is None:
            return
        code = self._parting.pop(command.tag, None)
        if code is not None:
            completion.status = Status.CHECK_CONDITION
            completion.sense_data = Sense(code).encode(descriptor=False)
            respond(self, command, completion, r2ts)

    def _end_here(self, command: Command, status: int, code: SenseCode | None) -> None:
        """End a command that the engine has not seen."""
        completion = Completion(status=status)
        completion.command = command
        if code is not None:
            completion.sense_data = Sense(code).encode(descriptor=False)
        self._pledged += command.data_in_length
        self.complete(completion)
        self.node.pump(self)

    # --- aborts and the end ------------------------------------------------------------------------------------

    def waiting(self) -> list[Command]:
        """The commands that the engine has not seen yet."""
        commands = list(self.queue or ())
        if self._immediates and self._data_out is not None:
            gathering = self._data_out.gathering
            commands += [self.tasks[itt] for itt in self._immediates if gathering(itt)]
        return commands

    def drop(self, commands: Iterable[Command]) -> None:
        """Forget commands that the engine has not seen, without a word."""
        for command in commands:
            if self.queue is not None and command in self.queue:
                self.queue.remove(command)
            completion = Completion()
            completion.command = command
            completion.silent = True
            self._pledged += command.data_in_length
            self.complete(completion)
        self.node.pump(self)

    def drop_waiting(self, lun: int | None, before: int) -> None:
        """Forget the waiting commands of a LUN (None: of all) that come before a CmdSN."""
        self.drop([command for command in self.waiting() if lun is None or command.lun == lun])
        if self.held is not None:
            self.held.abort_commands(lun, before)

    def abort_before_arrival(self, itt: int, ref_cmd_sn: int, cmd_sn: int) -> bool:
        """ABORT TASK for a command that has not come, or that a gap holds back: its CmdSN counts as received (11.5.5).

        False where `ref_cmd_sn` is not in the window, or not before the function's own `cmd_sn`.
        """
        held = self.held if self.held is not None else HeldRequests(self.node.data_out_budget)
        if held.abort_task(itt):
            return True
        ahead = (ref_cmd_sn - self.exp_cmd_sn) & _MASK
        if ahead > (self.max_cmd_sn - self.exp_cmd_sn) & _MASK or not 0 < (cmd_sn - ref_cmd_sn) & _MASK < _HALF:
            return False
        if ref_cmd_sn in held.requests:
            return False                # another command has it
        held.abort(ref_cmd_sn)
        self.held = held
        return True

    def lost(self) -> None:
        """The connection is gone: the nexus is lost, every command ends."""
        self.tasks.clear()
        self.queue = None
        for part in (self.held, self._data_out, self._kept):
            if part is not None:
                part.close()
        self.held = self._data_out = self._kept = None
        if self.nexus is not None and self.target is not None and not self.nexus.lost:
            self.target.nexus_lost(self.nexus)

    def statistics(self) -> dict[str, object]:
        """Who it is and what it has under way."""
        return {
            "initiator": self.initiator_name,
            "isid": self.isid.hex(),
            "tsih": self.tsih,
            "target": self.entry.name if self.entry is not None else None,
            "commands": len(self.tasks),
            "queued": len(self.queue or ()),
        }

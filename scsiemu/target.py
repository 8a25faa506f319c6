"""The SCSI target device: ports, units, nexuses, and the ways in and out of the engine (SAM-5 4.6.2).

Four kinds of method. Told by the transport: `submit`, `data_out`, `manage`, `nexus_established`, `nexus_lost`. Told by
a store: `complete`. Told by the clock: `advance`. Asked: `next_completion`, `next_io`, `next_data_out_request`,
`next_management_response`, `next_event`, `deadline`, `statistics`. Nothing here waits, and nothing calls back out but
the performers handed in with the units.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final

from scsiemu import asc
from scsiemu.command import Buffer, Command, Completion, DataOutRequest, TaskState, completion_of
from scsiemu.device_server import DeviceServer
from scsiemu.errors import IoFailed, LocalProtocolError
from scsiemu.events import (
    AttentionEstablished,
    Event,
    InternalFailure,
    InventoryChanged,
    StoreFailed,
    UnitRemoved,
)
from scsiemu.incorrect_lun import answer_incorrect_lun
from scsiemu.io_requests import PENDING, Elsewhere, IoRequest, Pending, Performer, StoreCapabilities, Ticket, Write
from scsiemu.logical_unit import LogicalUnit, NexusState
from scsiemu.lun import AddressMethod, decode, encode, is_well_known, unit_lun
from scsiemu.nexus import InitiatorPort, Nexus, TargetPort
from scsiemu.sam import TaskManagementFunction, TaskManagementResponse
from scsiemu.sense import SenseCode
from scsiemu.task_manager import ManagementResponse, manage

__all__ = ["Target"]

# Events that nobody fetches must not pile up.
_EVENT_LIMIT: Final = 4096

_PLAIN_METHODS: Final = (AddressMethod.PERIPHERAL, AddressMethod.FLAT, AddressMethod.EXTENDED_FLAT)


class Target:
    """A SCSI target device.

    Args:
        name: its name, for iSCSI the iqn.
        now: seconds of the clock that `advance` will go on with.
        epoch: what that clock says at 1970-01-01 00:00 UT, for what has to outlive the process; None: not known.

    Attributes:
        now: what `advance` was told. While `timers` is empty there is nothing else to do than to set it.
        timers: what waits for a time, not all of it still.
    """

    def __init__(self, name: str, *, now: float = 0.0, epoch: float | None = None) -> None:
        self.name = name
        self.now = now
        self.epoch = epoch
        self.units: dict[int, LogicalUnit] = {}
        self.nexuses: dict[Nexus, None] = {}
        self.completions: deque[Completion] = deque()
        self.data_out_requests: deque[DataOutRequest] = deque()
        self._ports: dict[int, TargetPort] = {}
        self._masks: dict[Nexus, Mapping[int, int] | None] = {}
        self._read_only: set[Nexus] = set()
        self._io: deque[tuple[Ticket, IoRequest[Any]]] = deque()
        self._responses: deque[ManagementResponse] = deque()
        self._events: deque[Event] = deque(maxlen=_EVENT_LIMIT)
        self.timers: list[tuple[float, int, Command]] = []
        self._sleeping: dict[Command, int] = {}
        self._timer_count = 0

    def __repr__(self) -> str:
        return f"Target({self.name!r}, {len(self.units)} units)"

    # --- ports and units ---------------------------------------------------------------------------------------

    @property
    def ports(self) -> tuple[TargetPort, ...]:
        """Its ports in the order of their relative identifiers."""
        return tuple(self._ports[identifier] for identifier in sorted(self._ports))

    def add_port(self, port: TargetPort) -> None:
        """Make a port known. A port with the same relative identifier is replaced."""
        self._ports[port.relative_identifier] = port

    def port_of_protocol(self, protocol: int, name: str) -> TargetPort:
        """Its port of that protocol and name; a new one, with the next relative identifier, where there is none."""
        for port in self.ports:
            if (port.protocol, port.name) == (protocol, name):
                return port
        number = max(self._ports, default=0) + 1
        port = TargetPort(name, number, protocol=protocol, device_name=self.name)
        self.add_port(port)
        return port

    def add_unit(
        self,
        lun: int,
        server: DeviceServer,
        *,
        performer: Performer | None = None,
        state_performer: Performer | None = None,
        capabilities: Callable[[], StoreCapabilities] | None = None,
        limit: int = 1024,
    ) -> LogicalUnit:
        """Add a logical unit; every nexus that may see it gets REPORTED LUNS DATA HAS CHANGED.

        Args:
            lun: a plain number from 0 to 16383, or the 64-bit form.
            server: its device server, not used elsewhere.
            performer: performs its requests; None: they come out of `next_io`.
            state_performer: performs LoadState and SaveState.
            capabilities: what its store can do; asked again whenever it matters.
            limit: commands that its task set holds.

        Raises LocalProtocolError where the LUN is taken.
        """
        encoded = unit_lun(lun)
        if encoded in self.units:
            raise LocalProtocolError(f"LUN {lun} is taken")
        unit = LogicalUnit(
            self, encoded, server, performer=performer, state_performer=state_performer,
            capabilities=capabilities, limit=limit,
        )
        self.units[encoded] = unit
        for nexus in self.nexuses:
            self._show(nexus, unit)
        unit.start()
        self._inventory_changed(but=unit)
        return unit

    def remove_unit(self, lun: int, *, drain: bool = False) -> None:
        """Remove a unit. With `drain` its commands end as they would; else they are aborted and told so.

        UnitRemoved comes out of `next_event` when the last has ended. Raises KeyError where there is none.
        """
        unit = self.units.pop(unit_lun(lun))
        for nexus in self.nexuses:
            for seen in [seen for seen, state in nexus.units.items() if state.unit is unit]:
                del nexus.units[seen]
        unit.remove(drain=drain)
        self._inventory_changed(but=unit)

    def _inventory_changed(self, but: LogicalUnit) -> None:
        for unit in self.units.values():
            if unit is not but:
                unit.attention(asc.REPORTED_LUNS_DATA_HAS_CHANGED)
        for unit in list(self.units.values()):
            if unit is not but:
                unit.server.units_changed()
        self._events.append(InventoryChanged())

    def unit_gone(self, unit: LogicalUnit) -> None:
        """Told by a removed unit when it is idle. Its store may still be at work for third-party copies of others."""
        for other in self.units.values():
            lent = [
                command for command in (*other.task_set.commands.values(), *other.background)
                if isinstance(command.io_request, Elsewhere) and command.io_request.unit is unit
                and command.state in (TaskState.IO, TaskState.ABORTING)
            ]
            if lent:
                other.when_ended(lent, lambda: self.unit_gone(unit))
                return
        self._events.append(UnitRemoved(unit))

    def attention_established(self, unit: LogicalUnit, code: SenseCode) -> None:
        """Told by a unit: there is news for nexuses."""
        self._events.append(AttentionEstablished(unit, code))

    # --- told by the transport ---------------------------------------------------------------------------------

    def nexus_established(
        self,
        initiator_port: InitiatorPort,
        target_port: TargetPort,
        *,
        luns: Mapping[int, int] | None = None,
        read_only: bool = False,
    ) -> Nexus:
        """A new I_T nexus.

        Args:
            initiator_port: who.
            target_port: by which port; made known to the target if it is not.
            luns: LUN masking: the LUN that the nexus sees to the LUN of the unit (plain or 64-bit). None: all.
            read_only: the nexus may not change media.
        """
        if target_port.relative_identifier not in self._ports:
            self.add_port(target_port)
        nexus = Nexus(initiator_port, target_port)
        self.nexuses[nexus] = None
        if luns is not None:
            luns = {unit_lun(seen): unit_lun(real) for seen, real in luns.items()}
        self._masks[nexus] = luns
        if read_only:
            self._read_only.add(nexus)
        for unit in self.units.values():
            self._show(nexus, unit)
        return nexus

    def _show(self, nexus: Nexus, unit: LogicalUnit) -> None:
        """Let a nexus see a unit, as its mask says."""
        mask = self._masks[nexus]
        read_only = nexus in self._read_only
        if mask is None or is_well_known(unit.lun):
            nexus.units[unit.lun] = unit.add_nexus(nexus, unit.lun, read_only=read_only)
            return
        seen = [lun for lun, real in mask.items() if real == unit.lun]
        if seen:
            state = unit.add_nexus(nexus, seen[0], read_only=read_only)
            for lun in seen:
                nexus.units[lun] = state

    def nexus_lost(self, nexus: Nexus) -> None:
        """The nexus is gone; its commands end without completions (SAM-5 6.3.4). Twice does no harm."""
        if nexus not in self.nexuses:
            return
        del self.nexuses[nexus]
        nexus.lost = True
        del self._masks[nexus]
        self._read_only.discard(nexus)
        nexus.units.clear()
        for unit in list(self.units.values()):
            unit.lose_nexus(nexus)

    def submit(self, command: Command) -> None:
        """Take a command. Never raises for what an initiator can send."""
        ended = self.execute(command)
        if ended is None:
            return
        self.completions.append(completion_of(command, ended))

    def execute(self, command: Command) -> Completion | Buffer | None:  # hot
        """Take a command, as `submit` does, but return how it ended where it has ended at once.

        Returns its completion, or its Data-In alone where it ended with GOOD and took `command.wanted` bytes of
        Data-Out: a transport on its hot path does without an object then, and nobody but the caller has the command any
        more (`Command.renew`). None: `next_completion` brings it.
        """
        state = command.nexus.units.get(command.lun)
        if state is None:
            state = self.find_state(command.nexus, command.lun)
            if state is None:
                command.state = TaskState.ENDED
                return answer_incorrect_lun(self, command)
        command.nexus_state = state
        command.unit = unit = state.unit
        if not command.cdb:
            raise LocalProtocolError("a command without a CDB")
        return unit.execute(command)

    def find_state(self, nexus: Nexus, lun: int) -> NexusState | None:
        """What a unit keeps for the nexus that addresses it by this LUN, in any of its forms."""
        state = nexus.units.get(lun)
        if state is None:
            # SAM-5 4.7.7: the same number in another addressing method is the same unit.
            address = decode(lun)
            if address.method in _PLAIN_METHODS and not address.bus and lun == encode(address.number, address.method):
                state = nexus.units.get(encode(address.number))
        return state

    def data_out(self, command: Command) -> None:
        """The transport has filled the buffer of the command's DataOutRequest."""
        command.unit.data_out(command)

    def manage(
        self,
        function: TaskManagementFunction,
        nexus: Nexus,
        lun: int = 0,
        *,
        tag: int | None = None,
        origin: object = None,
    ) -> None:
        """Perform a task management function; the answer comes out of `next_management_response`."""

        def answer(response: TaskManagementResponse, *, additional: bytes = b"\0\0\0") -> None:
            self._responses.append(ManagementResponse(function, nexus, origin, response, additional))

        manage(self, function, nexus, lun, tag, answer)

    # --- told by stores and the clock --------------------------------------------------------------------------

    def complete(self, ticket: Ticket, result: Any) -> None:
        """The late answer of a performer to the request that it was given with this ticket."""
        ticket.unit.resume(ticket, result)

    def advance(self, now: float) -> bool:
        """The clock says `now`, seconds. What waited for it goes on: True if anything may have."""
        if now > self.now:
            self.now = now
        timers = self.timers
        if not timers:
            return False
        due = []
        while timers and timers[0][0] <= self.now:
            due.append(heapq.heappop(timers))
        for _, number, command in due:
            if self._sleeping.get(command) == number:
                del self._sleeping[command]
                command.unit.resume(command, None)
        return True

    def sleep(self, command: Command, seconds: float) -> None:
        """Asked by a unit: resume the command in `seconds`."""
        self._timer_count += 1
        self._sleeping[command] = self._timer_count
        heapq.heappush(self.timers, (self.now + seconds, self._timer_count, command))

    def forget_sleep(self, command: Command) -> bool:
        """Asked by a unit: do not resume it. False where it does not sleep."""
        return self._sleeping.pop(command, None) is not None

    def queue_io(self, request: IoRequest[Any], ticket: Ticket, /) -> Pending:
        """The performer of units that were added without one."""
        if isinstance(request, Write) and not request.owned and request.data is not None:
            # The answer comes later: the view does not last so long.
            request.data = bytes(request.data)
            request.owned = True
        self._io.append((ticket, request))
        return PENDING

    # --- asked -------------------------------------------------------------------------------------------------

    def next_completion(self) -> Completion | None:
        """The next command that has ended."""
        return self.completions.popleft() if self.completions else None

    def next_data_out_request(self) -> DataOutRequest | None:
        """The next Data-Out that a command wants. A command that has ended meanwhile wants it no more."""
        return self.data_out_requests.popleft() if self.data_out_requests else None

    def next_io(self) -> tuple[Ticket, IoRequest[Any]] | None:
        """The next request of a unit that has no performer; answered with `complete`."""
        return self._io.popleft() if self._io else None

    def next_management_response(self) -> ManagementResponse | None:
        """The next answer to a task management function."""
        return self._responses.popleft() if self._responses else None

    def next_event(self) -> Event | None:
        """The next thing that happened."""
        return self._events.popleft() if self._events else None

    def deadline(self) -> float | None:
        """When `advance` wants to be called at the latest; None for whenever."""
        while self.timers and self._sleeping.get(self.timers[0][2]) != self.timers[0][1]:
            heapq.heappop(self.timers)
        return self.timers[0][0] if self.timers else None

    def report_luns(self, nexus: Nexus, select: int) -> bytes | None:
        """REPORT LUNS parameter data for a nexus (SPC-5 6.33); None for a SELECT REPORT that we do not have."""
        all_luns = sorted(nexus.units)
        match select:
            case 0x00 | 0x11:
                # 11h: administrative units and those outside of a conglomerate, which all of ours are.
                luns = [lun for lun in all_luns if not is_well_known(lun)]
            case 0x01:
                luns = [lun for lun in all_luns if is_well_known(lun)]
            case 0x02:
                luns = all_luns
            case 0x10 | 0x12:
                # Administrative and subsidiary units of conglomerates (SPC-5 table 295): we have none.
                luns = []
            case _:
                return None
        return (len(luns) * 8).to_bytes(4, "big") + bytes(4) + b"".join(lun.to_bytes(8, "big") for lun in luns)

    def internal_failure(self, unit: LogicalUnit, command: Command, error: Exception) -> None:
        """Told by a unit: an operation raised what it must not."""
        self._events.append(InternalFailure(unit, command, error))

    def store_failed(
        self, unit: LogicalUnit, command: Command, request: IoRequest[Any], failure: IoFailed
    ) -> None:
        """Told by a unit: a store could not do a request."""
        self._events.append(StoreFailed(unit, command, f"{request!r}: {failure.message}"))

    def statistics(self) -> dict[str, Any]:
        """Numbers of the target and its units."""
        return {
            "name": self.name,
            "nexuses": len(self.nexuses),
            "units": {f"{lun:016x}": unit.statistics() for lun, unit in self.units.items()},
        }

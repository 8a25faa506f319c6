"""The target port of virtual SCSI: a target as virtual adapters serve it, and what all of them share.

    port = VscsiPort(target)
    client_unit, adapter = port.attach(hypervisor, client_window)
    adapter.start()
    ... adapter.process(), port.advance(now), port.deadline()

After anything was done to the target, here or elsewhere, `settle()` brings what came out of it to the tasks: the origin
of each command is its task. Other transports of the same target are routed to as well if their origins have the methods
`complete`, `data_out_request` and `answered`.

It does NOT: decide anything of the protocol (adapter.py), or drive stores.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any, Final

from scsiemu._value import value
from scsiemu.command import DataOutRequest
from scsiemu.nexus import InitiatorPort, Nexus, Protocol, TargetPort
from scsiemu.sam import TaskManagementFunction
from scsiemu.target import Target
from transports.vscsi.adapter import TargetAdapter
from transports.vscsi.codes import IU_LENGTH, OsType
from transports.vscsi.dma import PAGE, TCE_READ, TCE_WRITE, DmaWindow
from transports.vscsi.hypervisor import Hypervisor
from transports.vscsi.tasks import Task

__all__ = ["VscsiLimits", "VscsiPort"]

_QUEUE_BYTES: Final = PAGE
_SRP_TRANSPORT_ID: Final = bytes((Protocol.SRP, 0, 0, 0, 0, 0, 0, 0))
_SERVER_BUS: Final = 0x1000_0000        # added to the client's bus number


@value
class VscsiLimits:
    """What a client may ask for, and what it is told of us.

    Args:
        request_limit: requests that a client may have outstanding.
        iu_length: of information units. More than 256 is an extension that real partners do not know: with it a CDB of
            more than 200 bytes can have a descriptor each way.
        max_transfer: bytes of one command in one direction.
        data_out_bytes: of all commands together that hold Data-Out at a time.
        retry_seconds: after which a response that found the client's queue full is tried again.
        partition_name, partition_number, os_type: our adapter info. Clients first ask a server that says AIX for its
            capabilities.
    """

    request_limit: int = 128
    iu_length: int = IU_LENGTH
    max_transfer: int = 16 << 20
    data_out_bytes: int = 64 << 20
    retry_seconds: float = 0.02
    partition_name: str = "scsiemu"
    partition_number: int = 1
    os_type: int = OsType.LINUX


class VscsiPort:
    """A target port of protocol SRP.

    Args:
        target: whom to serve.
        limits: see `VscsiLimits`.
        luns: LUN masking of all its nexuses, the LUN that they see to the LUN of the unit; None: all as they are.
        read_only: they may not change media.

    Attributes:
        handed_over: something was given to the origin of another transport.
    """

    def __init__(
        self,
        target: Target,
        *,
        limits: VscsiLimits | None = None,
        luns: Mapping[int, int] | None = None,
        read_only: bool = False,
    ) -> None:
        self.target = target
        self.handed_over = False
        self.limits = limits if limits is not None else VscsiLimits()
        self.adapters: dict[TargetAdapter, None] = {}
        self.target_port = _port_of(target)
        self._luns = luns
        self._read_only = read_only
        self._waiting: deque[DataOutRequest] = deque()
        self._data_out_used = 0

    def attach(
        self, hypervisor: Hypervisor, window: DmaWindow, *, name: str = "client", identity: int = 1
    ) -> tuple[int, TargetAdapter]:
        """A virtual adapter for the client with this window; its unit address, and our adapter.

        Args:
            name: of the client's partition.
            identity: what the hypervisor knows the client by. With what the client says of itself in its login it
                makes the name of the initiator port.
        """
        memory = memoryview(bytearray(_QUEUE_BYTES))
        own = DmaWindow(window.liobn + _SERVER_BUS, memory)
        own.put_tce(0, TCE_READ | TCE_WRITE, count=_QUEUE_BYTES // PAGE)
        client, unit = hypervisor.connect(window, own)
        adapter = TargetAdapter(self, hypervisor, unit, memory, name=name, identity=identity)
        self.adapters[adapter] = None
        return client, adapter

    def forget(self, adapter: TargetAdapter) -> None:
        """Told by an adapter: it is closed."""
        self.adapters.pop(adapter, None)

    def free_identity(self) -> int:
        """The lowest identity that no initiator port of the target has."""
        taken = {
            int.from_bytes(nexus.initiator_port.transport_id[8:16], "big")
            for nexus in self.target.nexuses
            if nexus.initiator_port.transport_id[:8] == _SRP_TRANSPORT_ID
        }
        return next(number for number in range(1, len(taken) + 2) if number not in taken)

    # --- nexuses -----------------------------------------------------------------------------------------------

    def establish_nexus(self, adapter: TargetAdapter, identifier: bytes) -> Nexus | None:
        """The I_T nexus of a login; its TransportID has the initiator port identifier (SPC-5 7.6.4.5).

        None: there is one of these ports already.
        """
        port_identifier = adapter.identity.to_bytes(8, "big") + identifier[8:]
        transport_id = _SRP_TRANSPORT_ID + port_identifier
        key = transport_id, self.target_port.relative_identifier
        if any(nexus.key == key for nexus in self.target.nexuses):
            return None
        port = InitiatorPort(f"srp.{port_identifier.hex()}", transport_id, adapter.name)
        return self.target.nexus_established(port, self.target_port, luns=self._luns, read_only=self._read_only)

    def lose_nexus(self, nexus: Nexus) -> None:
        """A connection has ended; its commands end without a word."""
        self.target.nexus_lost(nexus)
        self.settle()

    def manage(
        self, function: TaskManagementFunction, nexus: Nexus, lun: int, *, tag: int | None, origin: object
    ) -> None:
        """Perform a task management function; its answer goes to `origin.answered`, where there is one."""
        self.target.manage(function, nexus, lun, tag=tag, origin=origin)

    # --- what the target gives out -----------------------------------------------------------------------------

    def settle(self) -> None:  # hot
        """Bring what the target has to its initiators."""
        target = self.target
        completions = target.completions
        while True:
            while completions:
                completion = completions.popleft()
                origin = completion.command.origin
                if origin.__class__ is Task:
                    origin.complete(completion)
                else:
                    self._tell(origin, "complete", completion)
            if target.data_out_requests:
                self._fetch()
            elif (response := target.next_management_response()) is not None:
                self._tell(response.origin, "answered", response)
            else:
                break

    def _fetch(self) -> None:
        while (request := self.target.next_data_out_request()) is not None:
            origin = request.command.origin
            if not isinstance(origin, Task):
                self._tell(origin, "data_out_request", request)
            elif origin.alive:
                if origin.held:         # an earlier piece, which is written
                    held, origin.held = origin.held, 0
                    self.released(held)
                if self._waiting or not self._room(request):
                    self._waiting.append(request)
                else:
                    self._hold(origin, request)

    def _tell(self, origin: object, method: str, what: Any) -> None:
        """Another transport's command or function; of nobody, where its origin cannot be told."""
        tell = getattr(origin, method, None)
        if tell is not None:
            self.handed_over = True
            tell(what)

    def _room(self, request: DataOutRequest) -> bool:
        used = self._data_out_used
        return not used or used + request.length <= self.limits.data_out_bytes

    def _hold(self, task: Task, request: DataOutRequest) -> None:
        task.held = request.length
        self._data_out_used += request.length
        task.data_out_request(request)

    def released(self, length: int) -> None:
        """Told by a task that has ended: it holds so many bytes of Data-Out no longer."""
        self._data_out_used -= length
        waiting = self._waiting
        while waiting and self._room(waiting[0]):
            request = waiting.popleft()
            task = request.command.origin
            if isinstance(task, Task) and task.alive:
                self._hold(task, request)

    def statistics(self) -> dict[str, object]:
        """Numbers of the port and its adapters."""
        return {
            "data_out_bytes": self._data_out_used,
            "waiting_for_buffers": len(self._waiting),
            "adapters": [adapter.statistics() for adapter in self.adapters],
        }

    # --- time --------------------------------------------------------------------------------------------------

    def advance(self, now: float) -> None:
        """The clock says `now`."""
        self.target.advance(now)
        self.settle()
        for adapter in list(self.adapters):
            adapter.retry()

    def deadline(self) -> float | None:
        """When `advance` wants to be called at the latest; None for whenever."""
        deadline = self.target.deadline()
        if any(adapter.waiting for adapter in self.adapters):
            retry = self.target.now + self.limits.retry_seconds
            deadline = retry if deadline is None else min(deadline, retry)
        return deadline


def _port_of(target: Target) -> TargetPort:
    """The target's port of protocol SRP, or a new one with the next relative identifier."""
    for port in target.ports:
        if port.protocol == Protocol.SRP:
            return port
    number = max((port.relative_identifier for port in target.ports), default=0) + 1
    # No SCSI name string (SPC-5 7.7.6.11): those belong to other protocols.
    port = TargetPort(f"srp,{number},{target.name}", number, protocol=Protocol.SRP, device_name=target.name)
    target.add_port(port)
    return port

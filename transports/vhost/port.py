"""The target ports of vhost-user: targets as guests see them, and what all connections share.

    port = VhostPort((target,))
    connection = VhostDevice(port, host, name="...")
    ... connection.handle(...), connection.process(queue), port.advance(now)

The targets are those of a virtio-scsi bus, numbered in their order. After anything was done to them, here or elsewhere,
`settle()` brings what came out to the requests, which are the origins of their commands, and to other transports'.

It does NOT: know the protocol (device.py), or drive stores.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final

from scsiemu._value import value
from scsiemu.command import DataOutRequest
from scsiemu.events import AttentionEstablished, Event, InventoryChanged
from scsiemu.nexus import InitiatorPort, Nexus, Protocol
from scsiemu.target import Target
from transports.vhost.requests import Request

if TYPE_CHECKING:
    from transports.vhost.device import VhostDevice

__all__ = ["VhostLimits", "VhostPort"]

_TARGET_LIMIT: Final = 256               # the LUN field has a byte for the target


@value
class VhostLimits:
    """What guests may ask for.

    Args:
        queues: in all: control, event, and request queues.
        requests: that one connection may have outstanding; further ones get BUSY.
        max_transfer: bytes of one request in one direction.
        data_out_bytes: of all requests together that hold Data-Out at a time.
        drain_seconds: how long a ring that is stopped waits for its requests.
    """

    queues: int = 66
    requests: int = 2048
    max_transfer: int = 64 << 20
    data_out_bytes: int = 128 << 20
    drain_seconds: float = 10.0


class VhostPort:
    """Targets, served to guests.

    Args:
        targets: at most 256. Raises ValueError for more.
        limits: see `VhostLimits`.

    Attributes:
        devices: connections at work.
        handed_over: something was given to the origin of another transport.
    """

    def __init__(self, targets: tuple[Target, ...], *, limits: VhostLimits | None = None) -> None:
        if len(targets) > _TARGET_LIMIT:
            raise ValueError(f"{len(targets)} targets: a virtio-scsi bus has at most {_TARGET_LIMIT}")
        self.targets = targets
        self.limits = limits if limits is not None else VhostLimits()
        self.devices: dict[VhostDevice, None] = {}
        self.handed_over = False
        # There is no protocol identifier for virtio-scsi (SPC-5 table 501).
        self._ports = tuple(
            target.port_of_protocol(Protocol.NONE, f"virtio-scsi,{target.name}") for target in targets
        )
        self._waiting: deque[DataOutRequest] = deque()
        self._data_out_used = 0

    def establish_nexuses(self, initiator: InitiatorPort) -> tuple[Nexus, ...]:
        """A nexus to each target."""
        return tuple(
            target.nexus_established(initiator, port) for target, port in zip(self.targets, self._ports, strict=True)
        )

    def lose_nexuses(self, nexuses: tuple[Nexus, ...]) -> None:
        """They are gone; their commands end without a word."""
        for target, nexus in zip(self.targets, nexuses, strict=True):
            target.nexus_lost(nexus)
        self.settle()

    # --- what the targets give out -----------------------------------------------------------------------------

    def settle(self) -> None:  # hot
        """Bring what the targets have to their initiators."""
        for target in self.targets:
            if target.completions or target.data_out_requests:
                self._settle(target)
            while (response := target.next_management_response()) is not None:
                self._tell(response.origin, "answered", response)
                self._settle(target)

    def _settle(self, target: Target) -> None:  # hot
        completions = target.completions
        while completions or target.data_out_requests:
            while completions:
                completion = completions.popleft()
                origin = completion.command.origin
                if origin.__class__ is Request:
                    origin.complete(completion)
                else:
                    self._tell(origin, "complete", completion)
            while (request := target.next_data_out_request()) is not None:
                self._fetch(request)

    def _tell(self, origin: object, method: str, what: Any) -> None:
        """Another transport's command or function; of nobody, where its origin cannot be told."""
        tell = getattr(origin, method, None)
        if tell is not None:
            self.handed_over = True
            tell(what)

    def _fetch(self, wanted: DataOutRequest) -> None:
        origin = wanted.command.origin
        if not isinstance(origin, Request):
            self._tell(origin, "data_out_request", wanted)
        else:
            self.fetch(origin, wanted)

    def fetch(self, request: Request, wanted: DataOutRequest) -> None:
        """Data-Out is wanted of a request: bring it, or keep it waiting while others hold too much."""
        if not request.alive:
            return
        if request.held:        # an earlier piece, which is written
            held, request.held = request.held, 0
            self.released(held)
        if self._waiting or not self._room(wanted):
            self._waiting.append(wanted)
        else:
            self._hold(request, wanted)

    def _room(self, wanted: DataOutRequest) -> bool:
        used = self._data_out_used
        return not used or used + wanted.length <= self.limits.data_out_bytes

    def _hold(self, request: Request, wanted: DataOutRequest) -> None:
        request.held = wanted.length
        self._data_out_used += wanted.length
        request.fill(wanted)

    def released(self, length: int) -> None:
        """Told by a request that has ended: it holds so many bytes of Data-Out no longer."""
        self._data_out_used -= length
        waiting = self._waiting
        while waiting and self._room(waiting[0]):
            wanted = waiting.popleft()
            request = wanted.command.origin
            if isinstance(request, Request) and request.alive:
                self._hold(request, wanted)

    # --- time and events ---------------------------------------------------------------------------------------

    def advance(self, now: float) -> None:
        """The clock says `now`."""
        for target in self.targets:
            target.advance(now)
        self.settle()
        for device in list(self.devices):
            device.advance(now)

    def deadline(self) -> float | None:
        """When `advance` wants to be called at the latest; None for whenever."""
        deadlines = [target.deadline() for target in self.targets]
        deadlines += [device.deadline() for device in self.devices]
        return min((deadline for deadline in deadlines if deadline is not None), default=None)

    def told(self, target: Target, event: Event) -> None:
        """Something happened in a target: tell guests that want to know."""
        if isinstance(event, InventoryChanged):
            for device in list(self.devices):
                device.inventory_changed(self.targets.index(target))
        elif isinstance(event, AttentionEstablished):
            for device in list(self.devices):
                device.attention_established(self.targets.index(target), event)

    def statistics(self) -> dict[str, object]:
        """Numbers of the port and its connections."""
        return {
            "data_out_bytes": self._data_out_used,
            "waiting_for_buffers": len(self._waiting),
            "devices": [device.statistics() for device in self.devices],
        }

"""The iSCSI node: which targets there are, who may use them, by which portals, and what all connections share.

    node = TargetNode(random_bytes=secrets.token_bytes)
    node.add_target(IscsiTarget(target))
    connection = node.accept(peer="192.0.2.7", local=("192.0.2.1", 3260), now=clock())   # None: too many
    ... connection.receive_data(view), connection.out, connection.data_sent(n), connection.lost()
    for connection in node.take_dirty(): ...            # those with something to send
    node.advance(now), node.deadline()

After any call into a target, here or by whoever else has it, `settle(target)` takes what came out and brings it to
the sessions: the origin of each command is its `Session`. Other transports of the same target are routed to as well
if their origins have the methods `complete` and `data_out_request`.

It does NOT: open sockets (server.py), or decide anything within a session.
"""

from __future__ import annotations

import ipaddress
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Final, TypeAlias

from scsiemu._value import value
from scsiemu.errors import LocalProtocolError
from scsiemu.events import Event, InventoryChanged
from scsiemu.nexus import InitiatorPort, Nexus, Protocol, TargetPort
from scsiemu.sam import TaskManagementFunction
from scsiemu.target import Target
from scsiemu.task_manager import FunctionOrigin
from scsiemu.transport_id import iscsi_transport_id
from transports.iscsi import task_management
from transports.iscsi.chap import ChapRequirement, OutstandingChallenges, RandomBytes
from transports.iscsi.connection import TargetConnection
from transports.iscsi.data_out import DataOutBudget
from transports.iscsi.keys import OperationalSettings
from transports.iscsi.login import LoginLimits
from transports.iscsi.names import normalise_name

if TYPE_CHECKING:
    from transports.iscsi.session import Session

__all__ = ["EVERYONE", "InitiatorAccess", "IscsiTarget", "NodeLimits", "Portal", "TargetNode"]

_Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
_Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

# Initiator name, ISID, target (None: discovery), portal group tag.
_Ports: TypeAlias = "tuple[str, bytes, IscsiTarget | None, int]"

_EVENT_LIMIT: Final = 4096


@value
class NodeLimits:
    """What the connections may cost, all together and each.

    Args:
        unauthenticated: connections that have not finished their login.
        unauthenticated_of_address: the same, of one address.
        sessions: in all.
        login_seconds: for the whole login, not for each PDU.
        queued_bytes: of one connection: while more waits for the socket, or is on its way, no command is begun.
        queued_bytes_total: of all connections, that sockets have not taken.
        data_out_bytes: Data-Out buffers of all sessions; as much again of data that came with commands which wait.
        window: commands of a session (MaxCmdSN).
        nop_interval: seconds of silence before a NOP-In asks whether somebody is there; 0: never.
        nop_timeout: seconds for the answer.
        send_seconds: how long a socket may take nothing.
        data_out_seconds: how long Data-Out that was asked for may be owed without a byte.
        logout_seconds: between asking for logout and closing.
    """

    unauthenticated: int = 64
    unauthenticated_of_address: int = 32
    sessions: int = 4096
    login_seconds: float = 15.0
    queued_bytes: int = 4 << 20
    queued_bytes_total: int = 64 << 20
    data_out_bytes: int = 64 << 20
    window: int = 128
    nop_interval: float = 30.0
    nop_timeout: float = 30.0
    send_seconds: float = 30.0
    data_out_seconds: float = 60.0
    logout_seconds: float = 2.0


@value
class Portal:
    """An address where the node listens, as it is told to initiators.

    Args:
        host: IPv4 or IPv6 address; a wildcard address stands for the one that a connection came to.
        port: TCP port.
        group: portal group tag.
    """

    host: str
    port: int = 3260
    group: int = 1


@value
class InitiatorAccess:
    """Initiators that may use a target, and how.

    Args:
        name: an initiator name, or the beginning of some with `*` at the end.
        networks: addresses that they may come from, in CIDR form; none: any.
        luns: LUN masking, the LUN that they see to the LUN of the unit; None: all units as they are.
        read_only: they may not write.
        chap: what they must prove, instead of what the target asks of everybody.

    Raises ValueError for a malformed network.
    """

    name: str = "*"
    networks: tuple[str, ...] = ()
    luns: Mapping[int, int] | None = None
    read_only: bool = False
    chap: ChapRequirement | None = None

    def __post_init__(self) -> None:
        for network in self.networks:
            ipaddress.ip_network(network, strict=False)     # raises ValueError

    def admits(self, name: str, address: _Address | None) -> bool:
        """Whether this is for that initiator."""
        wanted = self.name
        if not (name.startswith(wanted[:-1]) if wanted.endswith("*") else name == wanted):
            return False
        if not self.networks:
            return True
        if address is None:
            return False
        return any(address in ipaddress.ip_network(network, strict=False) for network in self.networks)


EVERYONE: Final = InitiatorAccess()


class IscsiTarget:
    """A target as the node offers it.

    Args:
        target: the engine's target; its name is the iSCSI name.
        access: the first entry that admits an initiator counts; none: it may not see the target.
        chap: what initiators must prove.
        settings: our part in the negotiation.
        alias: TargetAlias.
        groups: portal group tags by which it can be reached, each with its relative target port identifier and
            target port group.
        discoverable: told to initiators that may use it.
    """

    def __init__(
        self,
        target: Target,
        *,
        access: Iterable[InitiatorAccess] = (EVERYONE,),
        chap: ChapRequirement | None = None,
        settings: OperationalSettings | None = None,
        alias: str = "",
        groups: Mapping[int, tuple[int, int]] | None = None,
        discoverable: bool = True,
    ) -> None:
        name = normalise_name(target.name)
        if name is None:
            raise ValueError(f"{target.name!r} is not an iSCSI name")
        self.name = name
        self.target = target
        self.access = tuple(access)
        self.chap = chap
        self.settings = settings if settings is not None else OperationalSettings()
        self.alias = alias
        self.discoverable = discoverable
        self.ports: dict[int, TargetPort] = {}
        for tag, (identifier, group) in (groups or {1: (1, 1)}).items():
            port = TargetPort(f"{name},t,0x{tag:04x}", identifier, group, Protocol.ISCSI, name)
            self.ports[tag] = port
            target.add_port(port)

    def access_of(self, initiator_name: str, address: _Address | None) -> InitiatorAccess | None:
        """The terms of an initiator, None where it may not use the target."""
        for access in self.access:
            if access.admits(initiator_name, address):
                return access
        return None


class TargetNode:
    """All iSCSI targets of a process, and their connections.

    Args:
        random_bytes: bytes that nobody can foresee, for TSIHs and challenges.
        limits: see `NodeLimits`.
        discovery_chap: what initiators must prove for a discovery session.
        portals: told by SendTargets; more are added as they are opened.

    Attributes:
        login_limits: those of each login.
        queue_limit: bytes of Data-In that a session may have on its way before its commands wait.
        accepting: new logins are taken.
        dirty: what `take_dirty` would give.
    """

    def __init__(
        self,
        *,
        random_bytes: RandomBytes,
        limits: NodeLimits | None = None,
        discovery_chap: ChapRequirement | None = None,
        portals: Iterable[Portal] = (),
    ) -> None:
        self.limits = limits if limits is not None else NodeLimits()
        self.login_limits = LoginLimits(command_window=self.limits.window)
        self.random_bytes = random_bytes
        self.challenges = OutstandingChallenges()
        self.discovery_chap = discovery_chap
        self.portals: list[Portal] = list(portals)
        self.targets: dict[str, IscsiTarget] = {}
        self.connections: dict[TargetConnection, None] = {}
        self.sessions: dict[int, Session] = {}              # by TSIH
        self._by_ports: dict[_Ports, Session] = {}
        self.data_out_budget = DataOutBudget(self.limits.data_out_bytes)
        self.immediate_budget = DataOutBudget(self.limits.data_out_bytes)
        self.queue_limit = self.limits.queued_bytes
        self.accepting = True
        self.now = 0.0
        self.refused_connections = 0
        self._backlog = 0
        self._unauthenticated: dict[TargetConnection, None] = {}
        self.dirty: list[TargetConnection] = []
        self._ready: deque[Session] = deque()
        self._pumping = False
        self._events: deque[tuple[IscsiTarget, Event]] = deque(maxlen=_EVENT_LIMIT)

    # --- targets -----------------------------------------------------------------------------------------------

    def add_target(self, entry: IscsiTarget) -> None:
        """Offer a target. Raises LocalProtocolError where the name is taken."""
        if entry.name in self.targets:
            raise LocalProtocolError(f"there is a target {entry.name}")
        self.targets[entry.name] = entry

    def remove_target(self, name: str) -> None:
        """Offer it no longer; its sessions end. Raises KeyError."""
        self.drop_sessions(self.targets.pop(name), "the target was removed")

    def visible_targets(self, initiator_name: str, address: _Address | None) -> Iterator[IscsiTarget]:
        """The targets that discovery tells an initiator of."""
        for entry in self.targets.values():
            if entry.discoverable and entry.access_of(initiator_name, address) is not None:
                yield entry

    def addresses(self, entry: IscsiTarget, local: tuple[str, int]) -> Iterator[str]:
        """TargetAddress values of a target, as somebody who came to `local` can use them (RFC 7143 13.8)."""
        for portal in self.portals or [Portal(*local)]:
            if portal.group in entry.ports:
                host = local[0] if ipaddress.ip_address(portal.host).is_unspecified else portal.host
                shown = f"[{host}]" if ":" in host else host
                yield f"{shown}:{portal.port},{portal.group}"

    # --- connections -------------------------------------------------------------------------------------------

    def accept(self, *, peer: str, local: tuple[str, int], now: float, group: int = 1) -> TargetConnection | None:
        """A new TCP connection. None: there are too many that have not logged in; close it.

        Args:
            peer: the other side's address, empty for none (in memory).
            local: address and port that it came to.
            group: portal group tag of that portal.
        """
        self.now = max(self.now, now)
        waiting = self._unauthenticated
        limits = self.limits
        if len(waiting) >= limits.unauthenticated or (
            len(waiting) >= limits.unauthenticated_of_address
            and sum(connection.peer == peer for connection in waiting) >= limits.unauthenticated_of_address
        ):
            self.refused_connections += 1
            return None
        connection = TargetConnection(self, peer=peer, local=local, group=group, now=now)
        self.connections[connection] = None
        waiting[connection] = None
        return connection

    def logged_in(self, connection: TargetConnection) -> None:
        """Told by a connection: it does not count as unauthenticated any more."""
        self._unauthenticated.pop(connection, None)

    def forget(self, connection: TargetConnection) -> None:
        """Told by a connection: it is gone."""
        self._unauthenticated.pop(connection, None)
        self.connections.pop(connection, None)

    def forget_session(self, session: Session) -> None:
        """Told by a connection: its session has ended."""
        if self.sessions.get(session.tsih) is session:
            del self.sessions[session.tsih]
            del self._by_ports[_ports(session)]
            if session.target is not None:
                self.settle_all(session.target)

    def add_session(self, session: Session) -> None:
        """Told by a connection that has logged in."""
        self.sessions[session.tsih] = session
        self._by_ports[_ports(session)] = session

    def find_session(self, initiator_name: str, isid: bytes, entry: IscsiTarget | None, group: int) -> Session | None:
        """The session of these ports, if there is one: at most one may be (RFC 7143 4.4.3, ISID RULE)."""
        return self._by_ports.get((initiator_name, isid, entry, group))

    def new_tsih(self) -> int:
        """A TSIH that is not in use and cannot be guessed; 0 where there are too many sessions."""
        if len(self.sessions) >= min(self.limits.sessions, 32768):
            return 0
        while True:
            tsih = int.from_bytes(self.random_bytes(2), "big")
            if tsih and tsih not in self.sessions:
                return tsih

    def drop_sessions(self, entry: IscsiTarget, reason: str) -> None:
        """End all sessions of a target; what is queued for them is sent first."""
        for session in list(self.sessions.values()):
            if session.entry is entry:
                session.connection.close_when_sent(reason)

    def establish_nexus(
        self, entry: IscsiTarget, access: InitiatorAccess, initiator_name: str, isid: bytes, group: int
    ) -> Nexus:
        """The I_T nexus of a new session."""
        self.settle_all(entry.target)           # it need not hear of what happened before
        name = f"{initiator_name},i,0x{isid.hex()}"
        port = InitiatorPort(name, iscsi_transport_id(initiator_name, isid), initiator_name)
        return entry.target.nexus_established(
            port, entry.ports[group], luns=access.luns, read_only=access.read_only
        )

    # --- what targets give out ---------------------------------------------------------------------------------

    def settle(self, target: Target) -> None:                                                   # hot
        """Bring what the target has for its initiators to their sessions."""
        completions = target.completions
        while completions:
            completion = completions.popleft()
            origin = completion.command.origin
            if origin is not None:
                origin.complete(completion)  # type: ignore[attr-defined]  # a Session, see the module's docstring
        if target.data_out_requests:
            while (request := target.next_data_out_request()) is not None:
                origin = request.command.origin
                if origin is not None:
                    origin.data_out_request(request)  # type: ignore[attr-defined]  # see above
        if self._ready and not self._pumping:
            self._pump()

    def _pump(self) -> None:
        self._pumping = True
        try:
            while self._ready:
                self._ready.popleft().pump()
        finally:
            self._pumping = False

    def pump(self, session: Session) -> None:
        """Submit what waits in a session, now or when what goes on in it has come to its end."""
        self._ready.append(session)
        if not self._pumping:
            self._pump()

    def pump_later(self, session: Session) -> None:
        """The same, at the end of `settle`."""
        self._ready.append(session)

    def manage(
        self,
        target: Target,
        function: TaskManagementFunction,
        nexus: Nexus,
        lun: int,
        *,
        tag: int | None,
        origin: task_management.PendingFunction | None,
    ) -> None:
        """Have a target perform a task management function, for a session or (no origin) for ourselves."""
        target.manage(function, nexus, lun, tag=tag, origin=origin)
        self.settle_all(target)

    def settle_all(self, target: Target) -> None:
        """`settle`, then answers to task management and events, which are never in a hurry."""
        self.settle(target)
        while (response := target.next_management_response()) is not None:
            if isinstance(response.origin, FunctionOrigin):
                response.origin.answered(response)
        while (event := target.next_event()) is not None:
            entry = self._entry_of(target)
            if entry is not None:
                self._events.append((entry, event))
            self.take_event(target, event)
        self.settle(target)

    def _entry_of(self, target: Target) -> IscsiTarget | None:
        return next((entry for entry in self.targets.values() if entry.target is target), None)

    def take_event(self, target: Target, event: Event) -> None:
        """Something happened in a target: tell those sessions that want to know."""
        if isinstance(event, InventoryChanged):
            for session in list(self.sessions.values()):
                if session.target is target:
                    session.connection.tell_inventory_changed()

    def next_event(self) -> tuple[IscsiTarget, Event] | None:
        """The next thing that happened in a target, for the operator."""
        return self._events.popleft() if self._events else None

    # --- sending -----------------------------------------------------------------------------------------------

    def mark_dirty(self, connection: TargetConnection) -> None:
        """Told by a connection: it has something to send."""
        self.dirty.append(connection)

    def take_dirty(self) -> list[TargetConnection]:
        """The connections that have something to send, or are to be closed, since the last call."""
        dirty = self.dirty
        if dirty:
            self.dirty = []
            for connection in dirty:
                connection.dirty = False
        return dirty

    def backlog_changed(self, by: int) -> None:
        """Told by a connection: so many bytes more (or less) wait for its socket."""
        limit = self.limits.queued_bytes_total
        was_over = self._backlog > limit
        self._backlog += by
        over = self._backlog > limit
        self.queue_limit = 0 if over else self.limits.queued_bytes
        if was_over and not over:
            for session in list(self.sessions.values()):
                self.pump(session)

    # --- time, shutdown, reports -------------------------------------------------------------------------------

    def advance(self, now: float) -> None:
        """The clock says `now`: targets, logins, keep-alives."""
        self.now = max(self.now, now)
        for entry in list(self.targets.values()):
            entry.target.advance(now)
            self.settle_all(entry.target)
        for connection in list(self.connections):
            connection.advance(now)

    def deadline(self) -> float | None:
        """When `advance` wants to be called at the latest; None for whenever."""
        deadlines = [entry.target.deadline() for entry in self.targets.values()]
        deadlines += [connection.deadline() for connection in self.connections]
        return min((deadline for deadline in deadlines if deadline is not None), default=None)

    def request_logout(self, now: float) -> None:
        """Take no more logins; ask every session to log out, close what is left after `logout_seconds`."""
        self.accepting = False
        for connection in list(self.connections):
            connection.request_logout(now)

    def statistics(self) -> dict[str, object]:
        """Numbers of the node, its sessions and targets."""
        return {
            "connections": len(self.connections),
            "unauthenticated": len(self._unauthenticated),
            "refused_connections": self.refused_connections,
            "backlog_bytes": self._backlog,
            "data_out_bytes": self.data_out_budget.used + self.immediate_budget.used,
            "sessions": [session.statistics() for session in self.sessions.values()],
            "targets": {name: entry.target.statistics() for name, entry in self.targets.items()},
        }


def _ports(session: Session) -> _Ports:
    return session.initiator_name, session.isid, session.entry, session.connection.group

"""iSCSI as a service of the program: its limits, its URLs, and how it is opened from a `ServiceRequest`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Final

from scsiemu.events import Event
from scsiemu.io_requests import Store
from scsiemu.services import (
    AccessRule,
    Authentication,
    Client,
    ConnectRequest,
    Limit,
    Listener,
    Offer,
    ServiceDeclaration,
    ServiceRequest,
)
from scsiemu.target import Target
from transports.iscsi.chap import ChapCredentials, ChapRequirement
from transports.iscsi.names import normalise_name
from transports.iscsi.node import InitiatorAccess, IscsiTarget, NodeLimits, TargetNode
from transports.iscsi.server import IscsiTransport

__all__ = ["ISCSI", "IscsiService", "open_service"]

# Fields of NodeLimits by option name: help, and whether it is a number of bytes.
_LIMITS: Final[dict[str, tuple[str, str, bool]]] = {
    "max-unauthenticated": ("unauthenticated", "connections that have not logged in", False),
    "max-unauthenticated-per-address": ("unauthenticated_of_address", "the same, of one address", False),
    "max-sessions": ("sessions", "sessions in all", False),
    "login-timeout": ("login_seconds", "for a whole login", False),
    "max-queued": ("queued_bytes", "bytes of one connection that wait for its socket before commands wait", True),
    "max-queued-total": ("queued_bytes_total", "the same, of all connections together", True),
    "max-data-out": ("data_out_bytes", "bytes of write data that is being received, of all sessions", True),
    "queue-depth": ("window", "commands of one session", False),
    "nop-interval": ("nop_interval", "silence before a NOP-In asks whether the initiator is there, 0 for never", False),
    "nop-timeout": ("nop_timeout", "for its answer", False),
    "send-timeout": ("send_seconds", "how long a socket may take nothing", False),
    "data-out-timeout": ("data_out_seconds", "how long write data that was asked for may not come", False),
    "logout-timeout": ("logout_seconds", "for sessions to log out when the target ends", False),
}


class IscsiService:
    """The node at work.

    Attributes:
        listeners: where it listens, with real ports.
        transport: the sockets; its `node` has the sessions.
    """

    def __init__(self, transport: IscsiTransport, listeners: tuple[Listener, ...]) -> None:
        self.transport = transport
        self.listeners = listeners

    def told(self, target: Target, event: Event) -> None:
        """Another transport of the target fetched this event."""
        self.transport.node.take_event(target, event)
        self.transport.flush()

    def go_on(self) -> None:
        """Another transport has handed something to our sessions: send it."""
        self.transport.flush()

    def add_store(self, store: Store) -> None:
        """A unit was added: watch its store."""
        self.transport.add_store(store)

    def remove_store(self, store: Store) -> None:
        """Watch it no more."""
        self.transport.remove_store(store)

    async def close(self) -> None:
        """Ask everybody to log out, wait for that within bounds, close."""
        await self.transport.stop()


async def open_service(request: ServiceRequest) -> IscsiService:
    """Serve. Raises OSError (a portal cannot be opened) and ValueError (CHAP secrets, networks)."""
    node = TargetNode(
        random_bytes=os.urandom, limits=_limits(request.limits), discovery_chap=_chap(request.discovery)
    )
    for offer in request.offers:
        node.add_target(_entry(offer))

    def told(entry: IscsiTarget, event: Event) -> None:
        request.event(entry.target, event)

    transport = IscsiTransport(node, stores=request.stores, report=request.report, on_event=told)
    try:
        bound = await transport.start([(listener.host, listener.port) for listener in request.listeners])
    except OSError:
        await transport.stop()
        raise
    return IscsiService(transport, tuple(Listener(host, port) for host, port in bound))


def _limits(given: Mapping[str, float]) -> NodeLimits:
    fields: dict[str, Any] = {}
    memory = given.get(_MAX_MEMORY.name)
    if memory is not None:
        half = int(memory) // 2
        fields = {
            "queued_bytes": min(_DEFAULTS.queued_bytes, half), "queued_bytes_total": half, "data_out_bytes": half
        }
    for name, number in given.items():
        if name in _LIMITS:
            field = _LIMITS[name][0]
            fields[field] = type(getattr(_DEFAULTS, field))(number)
            if isinstance(fields[field], int) and not fields[field]:
                raise ValueError(f"--{name} must be at least 1")
    return NodeLimits(**fields)


def _entry(offer: Offer) -> IscsiTarget:
    return IscsiTarget(
        offer.target, access=tuple(_access(rule) for rule in offer.access), chap=_chap(offer.authentication)
    )


def _access(rule: AccessRule) -> InitiatorAccess:
    name = rule.name.casefold()
    if not name.endswith("*"):
        normal = normalise_name(name)
        if normal is None:
            raise ValueError(f"{rule.name!r} is not an iSCSI name")
        name = normal
    return InitiatorAccess(name, rule.networks, rule.luns, rule.read_only)


def _chap(authentication: Authentication | None) -> ChapRequirement | None:
    if authentication is None:
        return None
    own = authentication.own
    return ChapRequirement(
        authentication.users,
        mutual=ChapCredentials(*own) if own is not None else None,
        allow_weak=authentication.allow_weak,
    )


def _url(listener: Listener, name: str, lun: int) -> str:
    # libiscsi, and so QEMU, puts the number into the LUN field as it is: beyond 255 it has to be that of flat space.
    number = lun | 0x4000 if 256 <= lun < 1 << 14 else lun
    return f"iscsi://{listener}/{name}/{number}"


def _to_paste(listener: Listener, name: str, lun: int) -> tuple[str, ...]:
    url = _url(listener, name, lun)
    return (
        f"iscsi-ls iscsi://{listener}/",
        f"iscsi-inq {url}",
        f"qemu-img info {url}",
        f"iscsiadm -m discovery -t sendtargets -p {listener}",
        f"iscsiadm -m node -T {name} -p {listener} --login",
    )


def _check_name(name: str) -> str:
    normal = normalise_name(name)
    if normal is None:
        raise ValueError(f"{name!r} is not an iSCSI name (iqn.2026-01.org.example:name, eui. or naa.)")
    return normal


def _connect(request: ConnectRequest) -> Client:
    from transports.iscsi.service_client import connect_unit  # here: who serves has no need of it

    return connect_unit(request)


_DEFAULTS: Final = NodeLimits()

_MAX_MEMORY: Final = Limit(
    "max-memory", "data on its way, of all connections: half for answers, half for write data",
    _DEFAULTS.queued_bytes_total + _DEFAULTS.data_out_bytes, size=True,
)

ISCSI: Final = ServiceDeclaration(
    limits=(
        _MAX_MEMORY,
        *(Limit(name, text, getattr(_DEFAULTS, field), size) for name, (field, text, size) in _LIMITS.items()),
    ),
    url=_url,
    open=open_service,
    check_name=_check_name,
    connect=_connect,
    to_paste=_to_paste,
)

"""iSCSI as the program serves it: its limits as options, its own objects made from values that belong to no transport.

It does NOT: know the command line, or open stores.
"""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import Mapping
from typing import Any, Final

from scsiemu.events import Event
from scsiemu.services import Authentication, Limit, Listener, Offer, Service, ServiceDeclaration, ServiceRequest
from transports.iscsi.chap import ChapCredentials, ChapRequirement
from transports.iscsi.names import normalise_name
from transports.iscsi.node import InitiatorAccess, IscsiTarget, NodeLimits, TargetNode
from transports.iscsi.server import IscsiTransport

__all__ = ["ISCSI", "IscsiService"]

# Option, field of NodeLimits, what it is, whether it is bytes.
_LIMITS: Final = (
    ("max-logins", "unauthenticated", "connections that have not finished their login", False),
    ("max-logins-per-address", "unauthenticated_of_address", "the same, of one address", False),
    ("max-sessions", "sessions", "sessions in all", False),
    ("login-timeout", "login_seconds", "for a whole login", False),
    ("queue-limit", "queued_bytes", "answers waiting for the socket of one connection", True),
    ("total-queue-limit", "queued_bytes_total", "the same, of all connections", True),
    ("data-out-limit", "data_out_bytes", "buffers for Data-Out of all sessions", True),
    ("window", "window", "commands that a session may have (MaxCmdSN)", False),
    ("nop-interval", "nop_interval", "silence before a NOP-In asks whether somebody is there; 0 never asks", False),
    ("nop-timeout", "nop_timeout", "for the answer to it", False),
    ("send-timeout", "send_seconds", "for which a socket may take nothing", False),
    ("data-out-timeout", "data_out_seconds", "for which Data-Out that was asked for may stay away", False),
    ("logout-timeout", "logout_seconds", "between asking for logout and closing", False),
)


class IscsiService:
    """A transport at work, see `Service`."""

    def __init__(self, transport: IscsiTransport, listeners: tuple[Listener, ...]) -> None:
        self.transport = transport
        self._listeners = listeners

    @property
    def listeners(self) -> tuple[Listener, ...]:
        """Where it listens, with real ports."""
        return self._listeners

    async def close(self) -> None:
        """Ask for logout, wait a little, close."""
        await self.transport.stop()


async def _open(request: ServiceRequest) -> Service:
    """Begin to serve. Raises OSError and ValueError."""
    requirements = [_chap(offer.authentication) for offer in request.offers]
    node = TargetNode(
        random_bytes=secrets.token_bytes,
        limits=_limits(request.limits),
        # Where every target asks for CHAP, so does discovery, and any of their users will do.
        discovery_chap=_discovery_chap(requirements),
    )
    for offer, requirement in zip(request.offers, requirements, strict=True):
        node.add_target(_target(offer, requirement))

    def told(entry: IscsiTarget, event: Event) -> None:
        request.event(entry.target, event)

    transport = IscsiTransport(node, stores=request.stores, report=request.report, on_event=told)
    try:
        bound = await transport.start([(listener.host, listener.port) for listener in request.listeners])
    except OSError:
        await transport.stop()
        raise
    return IscsiService(transport, tuple(Listener(host, port) for host, port in bound))


def _target(offer: Offer, chap: ChapRequirement | None) -> IscsiTarget:
    access = []
    for rule in offer.access:
        name = rule.name if rule.name.endswith("*") else _check_name(rule.name)
        access.append(InitiatorAccess(name, rule.networks, rule.luns, rule.read_only))
    return IscsiTarget(offer.target, access=access, chap=chap)


def _chap(authentication: Authentication | None) -> ChapRequirement | None:
    if authentication is None:
        return None
    own = ChapCredentials(*authentication.own) if authentication.own is not None else None
    return ChapRequirement(authentication.users, mutual=own, allow_weak=authentication.allow_weak)


def _discovery_chap(requirements: list[ChapRequirement | None]) -> ChapRequirement | None:
    users: dict[str, bytes] = {}
    for requirement in requirements:
        if requirement is None:
            return None
        for user, secret in requirement.users.items():
            if users.setdefault(user, secret) != secret:
                raise ValueError(f"the CHAP user {user} has another secret at another target; give it another name")
    first = requirements[0]
    assert first is not None
    return ChapRequirement(users, mutual=first.mutual, allow_weak=first.allow_weak)


def _limits(given: Mapping[str, float]) -> NodeLimits:
    fields: dict[str, Any] = {}
    if _MAX_MEMORY.name in given:
        half = int(given[_MAX_MEMORY.name]) // 2
        fields = {"queued_bytes_total": half, "data_out_bytes": half}
        fields["queued_bytes"] = min(_DEFAULTS["queued_bytes"], half)
    fields |= {field: given[name] for name, field, _, _ in _LIMITS if name in given}
    for name, field, _, _ in _LIMITS:
        if isinstance(_DEFAULTS[field], int) and not fields.get(field, 1):
            raise ValueError(f"--{name} must be at least 1")
    return NodeLimits(**fields)


def _check_name(name: str) -> str:
    normal = normalise_name(name)
    if normal is None:
        raise ValueError(f"{name!r} is not an iSCSI name; write one such as iqn.2026-11.com.example:disk")
    return normal


def _url(listener: Listener, target: str, lun: int) -> str:
    """As libiscsi and QEMU have it; a percent sign would begin a password."""
    return f"iscsi://{listener}/{target}/{lun}"


_DEFAULTS: Final[dict[str, Any]] = {field.name: field.default for field in dataclasses.fields(NodeLimits)}

_MAX_MEMORY: Final = Limit(
    "max-memory", "data on its way, of all connections: half for answers, half for Data-Out",
    _DEFAULTS["queued_bytes_total"] + _DEFAULTS["data_out_bytes"], True,
)

ISCSI: Final = ServiceDeclaration(
    limits=(_MAX_MEMORY, *(Limit(name, text, _DEFAULTS[field], size) for name, field, text, size in _LIMITS)),
    url=_url,
    open=_open,
    check_name=_check_name,
)

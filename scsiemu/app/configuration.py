"""What `serve` and `run` are to serve, as values, made from the command line.

Options belong to a target by their place: those before the first `--target` are of the target that `--iqn` names, those
after a `--target` are of that one.
"""

from __future__ import annotations

import argparse
import ipaddress
from collections.abc import Mapping, Sequence
from typing import Final

from scsiemu._value import value
from scsiemu.app.failure import ExitCode, Failure
from scsiemu.app.secret_file import Credentials, read_credentials
from scsiemu.app.service_plugins import FIRST_SERVICE, other_services, service_declaration
from scsiemu.app.units import option_names, plan_units
from scsiemu.services import AccessRule, Authentication, Listener
from scsiemu.unit_options import UnitPlan

__all__ = [
    "DEFAULT_IQN", "DEFAULT_PORT", "ServeConfiguration", "ServiceConfiguration", "TargetConfiguration", "configure",
    "parse_listener",
]

DEFAULT_PORT: Final = 3260
DEFAULT_IQN: Final = "iqn.2026-11.example.scsiemu:target"
_HIGHEST_LUN: Final = 16383         # of the flat space addressing method (SAM-5 4.7.7.3)


@value
class TargetConfiguration:
    """A target: its name, its units in the order of their LUNs, who may use it."""

    name: str
    units: tuple[UnitPlan, ...]
    access: tuple[AccessRule, ...]
    authentication: Authentication | None


@value
class ServiceConfiguration:
    """A transport that is to serve, by the name of its entry point, and where it listens."""

    name: str
    listeners: tuple[Listener, ...]


@value
class ServeConfiguration:
    """All of it.

    Args:
        services: at least one.
        state: folder of the state store; empty for none.
        limits: of the transports, those given.
        discovery: what initiators must prove before they are told of targets.
    """

    services: tuple[ServiceConfiguration, ...]
    targets: tuple[TargetConfiguration, ...]
    state: str
    limits: Mapping[str, float]
    discovery: Authentication | None = None


class _Group:
    """What was said of one target."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.units: list[UnitPlan] = []
        self.users: dict[str, bytes] = {}
        self.own: Credentials | None = None
        self.initiators: list[str] = []
        self.readers: list[str] = []
        self.networks: list[str] = []
        self.masks: dict[str, Mapping[int, int]] = {}


def configure(arguments: argparse.Namespace, *, listen: Sequence[str] = ()) -> ServeConfiguration:
    """The configuration that parsed arguments ask for (`arguments.placed` has pairs of option and value, in order).

    Args:
        listen: the default of `--listen`; without, it has one where no other transport is asked for.

    Raises Failure.
    """
    group = _Group(arguments.iqn or DEFAULT_IQN)
    groups = [group]
    unit_options = frozenset(option_names())
    for option, text in arguments.placed:
        if option == "target":
            group = _Group(text)
            groups.append(group)
        elif option in unit_options:
            group.units += plan_units(option, text)
        else:
            _PLACED[option](group, text, arguments)
    if not groups[0].units and len(groups) > 1 and not arguments.iqn:
        del groups[0]
    names = [group.name for group in groups]
    for name in names:
        if names.count(name) > 1:
            raise Failure(f"two targets are named {name}; give each another name", ExitCode.USAGE)
    targets = tuple(_finish(group, arguments) for group in groups)
    return ServeConfiguration(
        _services(arguments, arguments.listen or listen), targets, arguments.state or "", arguments.limits,
        _discovery(arguments),
    )


def _services(arguments: argparse.Namespace, listen: Sequence[str]) -> tuple[ServiceConfiguration, ...]:
    """The transports that are asked for: that of `--listen` first, unless others serve instead of it."""
    others = []
    for name in other_services():
        option = service_declaration(name).listen if getattr(arguments, f"service_{name}") else None
        if option is None:
            continue
        try:
            listeners = tuple(option.parse(text) for text in getattr(arguments, f"service_{name}"))
        except ValueError as error:
            raise Failure(f"--{name}: {error}", ExitCode.USAGE) from None
        others.append(ServiceConfiguration(name, listeners))
    if not others and not listen:
        listen = (f"127.0.0.1:{DEFAULT_PORT}",)
    first = (ServiceConfiguration(FIRST_SERVICE, tuple(parse_listener(text) for text in listen)),) if listen else ()
    return (*first, *others)


def parse_listener(text: str) -> Listener:
    """`HOST:PORT`, `[IPv6]:PORT` or `HOST`, where HOST is an address or localhost. Raises Failure."""
    host, port_text = text, str(DEFAULT_PORT)
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise Failure(f"--listen {text}: write an IPv6 address as [::1]:{DEFAULT_PORT}", ExitCode.USAGE)
        port_text = rest[1:] or port_text
    elif text.count(":") == 1:
        host, _, port_text = text.partition(":")
    host = "127.0.0.1" if host == "localhost" else host
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        raise Failure(
            f"--listen {text}: {host!r} is not an IP address; write HOST:PORT, such as 127.0.0.1:{DEFAULT_PORT} "
            "or [::1]:0", ExitCode.USAGE,
        ) from None
    if not (port_text.isascii() and port_text.isdigit() and int(port_text) < 65536):
        raise Failure(f"--listen {text}: the port is a number from 0 to 65535", ExitCode.USAGE)
    return Listener(str(address), int(port_text))


def _discovery(arguments: argparse.Namespace) -> Authentication | None:
    users: dict[str, bytes] = {}
    for text in arguments.discovery_chap or ():
        found = _read(text, "--discovery-chap", arguments)
        if found.user in users:
            raise Failure(f"--discovery-chap: the user {found.user} is given twice", ExitCode.USAGE)
        users[found.user] = found.secret
    return Authentication(users, allow_weak=arguments.allow_weak_secrets) if users else None


def _finish(group: _Group, arguments: argparse.Namespace) -> TargetConfiguration:
    if not group.units:
        raise Failure(
            f"the target {group.name} has no unit; add one, for example --disk 64M", ExitCode.USAGE
        )
    if len(group.units) > _HIGHEST_LUN + 1:
        raise Failure(f"the target {group.name} has more than {_HIGHEST_LUN + 1} units", ExitCode.USAGE)
    authentication = None
    if group.users:
        own = (group.own.user, group.own.secret) if group.own is not None else None
        if own is not None and own[1] in group.users.values():
            raise Failure("--mutual-chap: its secret is also that of a --chap user; it needs its own (RFC 7143 9.2.1)")
        authentication = Authentication(group.users, own, arguments.allow_weak_secrets)
    elif group.own is not None:
        raise Failure(f"--mutual-chap needs a --chap for the target {group.name}", ExitCode.USAGE)
    for luns in group.masks.values():
        missing = [lun for lun in luns.values() if lun >= len(group.units)]
        if missing:
            raise Failure(f"--mask: the target {group.name} has no LUN {missing[0]}", ExitCode.USAGE)
    return TargetConfiguration(group.name, tuple(group.units), _access(group), authentication)


def _access(group: _Group) -> tuple[AccessRule, ...]:
    """Rules in the order in which they are looked at: the first that admits an initiator counts."""
    networks = tuple(group.networks)
    # Who is masked, or may read, is allowed; naming an initiator shuts out those that are not named.
    names = dict.fromkeys((*group.masks, *group.readers, *group.initiators))
    if not group.initiators:
        names["*"] = None
    # Names in full first, then beginnings, the longest of them first.
    ordered = sorted(names, key=lambda name: (name.endswith("*"), -len(name)))
    return tuple(AccessRule(name, networks, group.masks.get(name), name in group.readers) for name in ordered)


def _chap(group: _Group, text: str, arguments: argparse.Namespace) -> None:
    found = _read(text, "--chap", arguments)
    if found.user in group.users:
        raise Failure(f"--chap: the user {found.user} is given twice for {group.name}", ExitCode.USAGE)
    group.users[found.user] = found.secret


def _mutual_chap(group: _Group, text: str, arguments: argparse.Namespace) -> None:
    if group.own is not None:
        raise Failure(f"--mutual-chap is given twice for {group.name}", ExitCode.USAGE)
    group.own = _read(text, "--mutual-chap", arguments)


def _read(text: str, option: str, arguments: argparse.Namespace) -> Credentials:
    return read_credentials(
        text, option=option, insecure_permissions=arguments.insecure_permissions,
        allow_weak=arguments.allow_weak_secrets,
    )


def _allow_initiator(group: _Group, text: str, arguments: argparse.Namespace) -> None:
    group.initiators.append(text)


def _read_only_initiator(group: _Group, text: str, arguments: argparse.Namespace) -> None:
    group.readers.append(text)


def _allow_address(group: _Group, text: str, arguments: argparse.Namespace) -> None:
    try:
        group.networks.append(str(ipaddress.ip_network(text, strict=False)))
    except ValueError:
        raise Failure(
            f"--allow-address {text}: write an address or a network, such as 192.0.2.0/24", ExitCode.USAGE
        ) from None


def _mask(group: _Group, text: str, arguments: argparse.Namespace) -> None:
    """`INITIATOR=LUN[,LUN...]`, where a LUN may be `SEEN:REAL`."""
    name, equals, listed = text.rpartition("=")
    luns: dict[int, int] = {}
    try:
        if not (name and equals):
            raise ValueError("the name of the initiator is missing")
        for word in listed.split(","):
            seen_text, colon, real_text = word.partition(":")
            seen = _lun(seen_text)
            if seen in luns:
                raise ValueError(f"LUN {seen} is given twice")
            luns[seen] = _lun(real_text) if colon else seen
    except ValueError as error:
        raise Failure(f"--mask {text}: {error}; write INITIATOR=0,2 or INITIATOR=0:2", ExitCode.USAGE) from None
    if name in group.masks:
        raise Failure(f"--mask: {name} is given twice for {group.name}", ExitCode.USAGE)
    group.masks[name] = luns


def _lun(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) <= _HIGHEST_LUN):
        raise ValueError(f"{text!r} is not a LUN from 0 to {_HIGHEST_LUN}")
    return int(text)


_PLACED: Final = {
    "chap": _chap,
    "mutual-chap": _mutual_chap,
    "allow-initiator": _allow_initiator,
    "read-only-initiator": _read_only_initiator,
    "allow-address": _allow_address,
    "mask": _mask,
}

"""The options that `serve` and `run` share: targets, units, access, limits."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any, Final

from scsiemu.app.configuration import DEFAULT_IQN, DEFAULT_PORT
from scsiemu.app.failure import ExitCode, Failure
from scsiemu.app.service_plugins import other_services, service_declaration
from scsiemu.app.units import declaration, option_names
from scsiemu.services import Limit
from scsiemu.unit_options import parse_seconds, parse_size, quote

__all__ = ["add_target_arguments", "add_unit_arguments"]

# Options of a unit that may also stand behind it as options of their own.
_APART: Final = ("drives", "slots", "ports", "create")

_PLACED_HELP: Final = """Options of units and access belong to the target that the last --target before them names;
those before the first --target belong to the target of --iqn. Each unit gets the next LUN of its target, from 0."""


def add_target_arguments(parser: argparse.ArgumentParser) -> None:
    """Add them; `placed` of the namespace gets those whose place counts, `limits` what was limited."""
    parser.set_defaults(placed=[], limits={})
    add_unit_arguments(parser)
    targets = parser.add_argument_group("targets", _PLACED_HELP)
    targets.add_argument("--iqn", metavar="NAME", help=f"name of the first target (default {DEFAULT_IQN})")
    _add_placed(targets, "target", "NAME", "another target begins")
    _add_placed(targets, "chap", "USER:SECRETFILE", "initiators must authenticate; repeatable")
    _add_placed(targets, "mutual-chap", "USER:SECRETFILE", "how the target authenticates to them")
    _add_placed(targets, "allow-initiator", "NAME", "only these initiators (* at the end for any rest); repeatable")
    _add_placed(targets, "read-only-initiator", "NAME", "this initiator may read only; repeatable")
    _add_placed(targets, "allow-address", "ADDRESS[/BITS]", "only initiators from there; repeatable")
    _add_placed(
        targets, "mask", "INITIATOR=LUN,...",
        "the LUNs that this initiator sees, SEEN:REAL to give one another number; repeatable",
    )
    parser.add_argument(
        "--listen", action="append", metavar="HOST:PORT",
        help=f"where to listen, repeatable; port 0 lets the kernel choose (default 127.0.0.1:{DEFAULT_PORT}, where no "
        "other way in is asked for)",
    )
    ways = parser.add_argument_group("other ways in", "Beside --listen, or instead of it. Each is repeatable.")
    for name in other_services():
        ways.add_argument(f"--{name}", action="append", dest=f"service_{name}", metavar="WHERE", help=_WayHelp(name))
    parser.add_argument(
        "--discovery-chap", action="append", metavar="USER:SECRETFILE",
        help="initiators must authenticate to be told of targets; repeatable",
    )
    parser.add_argument("--state", metavar="DIR", help="keep saved pages, APTPL reservations and the like here")
    parser.add_argument(
        "--insecure-permissions", action="store_true", help="take secret files that others can read"
    )
    parser.add_argument("--allow-weak-secrets", action="store_true", help="take CHAP secrets of less than 96 bits")
    limits = parser.add_argument_group("limits")
    for limit in service_declaration().limits:
        limits.add_argument(
            f"--{limit.name}", action=_LimitAction, dest=limit.name, limit=limit, default=argparse.SUPPRESS,
            metavar="SIZE" if limit.size else "N" if isinstance(limit.default, int) else "SECONDS",
            help=f"{limit.help} (default {_shown(limit)})",
        )


def add_unit_arguments(parser: argparse.ArgumentParser) -> None:
    """The options that add units; `placed` of the namespace gets them."""
    units = parser.add_argument_group("units", "An option's value is followed by more by comma; ,, is a comma in one.")
    for name in option_names():
        units.add_argument(f"--{name}", action=_PlacedAction, metavar="VALUE[,OPTION...]", help=_UnitHelp(name))
    for name in _APART:
        units.add_argument(f"--{name}", action=_AmendAction, metavar="N", help=f"{name}=N of the unit before it")


def _add_placed(group: Any, name: str, metavar: str, text: str) -> None:
    group.add_argument(f"--{name}", action=_PlacedAction, metavar=metavar, help=text)


class _UnitHelp(str):
    """Help on a unit option, made when it is shown: it loads the device type's declaration."""

    __slots__ = ()

    def __mod__(self, arguments: Any) -> str:
        declared = declaration(str(self))
        options = ", ".join(
            option.name if option.convert is None else f"{option.name}={option.metavar}"
            for option in declared.options
        )
        return f"{declared.subject}: {declared.help}. Options: {options}"


class _WayHelp(str):
    """Help on the option of a transport, made when it is shown: it loads the transport's declaration."""

    __slots__ = ()

    def __mod__(self, arguments: Any) -> str:
        listen = service_declaration(str(self)).listen
        return f"{listen.metavar}: {listen.help}" if listen is not None else ""


class _PlacedAction(argparse.Action):
    """Keeps the option and its value in `placed`, in the order of the command line."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        # A new list: the default one belongs to the parser.
        namespace.placed = [*namespace.placed, (self.option_strings[0].removeprefix("--"), values)]


class _AmendAction(argparse.Action):
    """Adds an option to the unit that was placed last."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        name = self.option_strings[0].removeprefix("--")
        *before, last = namespace.placed or [("", "")]
        if last[0] not in option_names():
            raise Failure(f"--{name} stands behind the unit that it belongs to", ExitCode.USAGE)
        namespace.placed = [*before, (last[0], f"{last[1]},{name}={quote(str(values))}")]


class _LimitAction(argparse.Action):
    """Puts a converted value into `limits`."""

    def __init__(self, option_strings: Sequence[str], dest: str, *, limit: Limit, **options: Any) -> None:
        super().__init__(option_strings, dest, **options)
        self._limit = limit

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        text = str(values)
        try:
            given: float
            if isinstance(self._limit.default, int):
                given = parse_size(text) if self._limit.size else _count(text)
            else:
                given = parse_seconds(text)
        except ValueError as error:
            raise Failure(f"--{self._limit.name}: {error}", ExitCode.USAGE) from None
        namespace.limits = {**namespace.limits, self._limit.name: given}


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > 18:
        raise ValueError(f"{text!r} is not a number")
    return int(text)


def _shown(limit: Limit) -> str:
    if not limit.size:
        return f"{limit.default:g}"
    for suffix, shift in (("G", 30), ("M", 20), ("K", 10)):
        if limit.default and not int(limit.default) % (1 << shift):
            return f"{int(limit.default) >> shift}{suffix}"
    return str(limit.default)

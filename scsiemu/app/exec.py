"""Run a command that sees units as device nodes, then end with its exit code.

    scsiemu exec --disk 1G -- sg_inq /dev/sg0
    scsiemu exec --disk 1G --disk img.raw,ro -- sh -c 'sg_scan -i; sg_dd if=/dev/sg0 of=/dev/sg1 bs=512'
    scsiemu exec --url iscsi://HOST:PORT/TARGET/LUN -- sg_vpd -a /dev/sg0

Each unit is /dev/sgN and /dev/bsg/H:C:T:L, in the order of the command line, those of --url last; /sys and /proc show
them. With --initiators 2 there are two initiator ports, as of two host adapters: each sees all units, and the second's
nodes follow the first's. The environment has SCSIEMU_NODES, the /dev/sgN by comma. The command needs no privilege, and
its programs cannot gain any by set-user-ID. When it ends, what it left running is ended, too.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from time import monotonic
from typing import Any, Final, Protocol

from scsiemu import registry
from scsiemu.app.arguments import add_unit_arguments
from scsiemu.app.configuration import DEFAULT_IQN
from scsiemu.app.failure import ExitCode, Failure
from scsiemu.app.open_units import OpenUnits
from scsiemu.app.service_plugins import service_declaration
from scsiemu.app.terminal import LineLimiter, say
from scsiemu.app.units import plan_units
from scsiemu.events import InternalFailure, StoreFailed
from scsiemu.io_requests import Store
from scsiemu.services import Client, ConnectRequest
from scsiemu.target import Target

__all__ = ["add_arguments", "command"]

_NOT_EXECUTABLE: Final = 126        # as shells and env(1) have it
_NOT_FOUND: Final = 127
_MOST_INITIATORS: Final = 16


class _DeviceNodes(Protocol):
    """What the transport `devnode` gives."""

    @property
    def node_paths(self) -> tuple[str, ...]: ...

    def add_target(self, target: Target, stores: Sequence[Store], *, initiators: int = 1) -> None: ...

    def add_client(self, connect: Callable[[], Client]) -> None: ...

    def run(self, words: Sequence[str], environment: Mapping[str, str]) -> int: ...

    def close(self) -> None: ...


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `exec`."""
    parser.usage = "%(prog)s [options] --disk VALUE ... -- COMMAND [ARGUMENT ...]"
    parser.set_defaults(placed=[])
    add_unit_arguments(parser)
    parser.add_argument(
        "--url", action="append", default=[], metavar="URL", help="a unit of a running target, iscsi://...; repeatable"
    )
    parser.add_argument(
        "--initiators", type=_count, default=1, metavar="N", help="initiator ports that see the units (default 1)"
    )
    parser.add_argument(
        "--keep-attentions", action="store_true", help="leave the unit attentions of a new nexus to the command"
    )
    parser.add_argument(
        "--iqn", metavar="NAME", default=DEFAULT_IQN, help=f"name of the target (default {DEFAULT_IQN})"
    )
    parser.add_argument("--state", metavar="DIR", help="keep saved pages, APTPL reservations and the like here")


def command(arguments: argparse.Namespace) -> int:
    """Run it; the exit code of the command."""
    words = arguments.following
    if not words:
        raise Failure(
            "exec: put -- and the command behind the options: scsiemu exec --disk 1G -- COMMAND", ExitCode.USAGE
        )
    if not arguments.placed and not arguments.url:
        raise Failure("exec: no unit is given; add --disk SIZE or --url URL", ExitCode.USAGE)
    log = LineLimiter()
    nodes = _device_nodes(told=partial(_tell, log), keep_attentions=arguments.keep_attentions, warn=log)
    units = OpenUnits(log)
    try:
        code = _run(nodes, units, arguments, words)
    finally:
        nodes.close()
        units.close()
    if code in (_NOT_FOUND, _NOT_EXECUTABLE) and not _is_there(words[0]):
        say(f"exec: the command {words[0]} is not there, or cannot be run")
    return code


def _run(nodes: _DeviceNodes, units: OpenUnits, arguments: argparse.Namespace, words: list[str]) -> int:
    if arguments.state:
        units.open_state(arguments.state)
    target = Target(arguments.iqn, now=monotonic())
    plans = [plan for name, text in arguments.placed for plan in plan_units(name, text)]
    for lun, plan in enumerate(plans):
        units.start(target, lun, plan)
    if target.units:
        nodes.add_target(target, units.stores, initiators=arguments.initiators)
    for url in arguments.url:
        try:
            nodes.add_client(partial(service_declaration().connect, ConnectRequest(url)))
        except ValueError as error:
            raise Failure(f"--url: {error}", ExitCode.USAGE) from None
        except OSError as error:
            raise Failure(f"--url: {error.strerror or error}", ExitCode.NOT_CONNECTED) from None
    try:
        return nodes.run(words, {**os.environ, "SCSIEMU_NODES": ",".join(nodes.node_paths)})
    except OSError as error:
        raise Failure(f"exec: no device nodes: {error.strerror or error}") from None


def _device_nodes(**options: Any) -> _DeviceNodes:
    try:
        made: _DeviceNodes = registry.load(registry.TRANSPORTS, "devnode")(**options)
    except registry.PluginError as error:
        raise Failure(str(error)) from None
    return made


def _tell(log: Callable[[str], None], target: Target) -> None:
    """Lines for what went wrong in a target."""
    while (event := target.next_event()) is not None:
        if isinstance(event, StoreFailed):
            log(event.message)
        elif isinstance(event, InternalFailure):
            log(
                f"a bug of ours, please report it: CDB {bytes(event.command.cdb).hex()} raised "
                f"{type(event.error).__name__}: {event.error}"
            )


def _is_there(word: str) -> bool:
    folders = [""] if "/" in word else [f"{folder}/" for folder in os.get_exec_path()]
    return any(os.access(f"{folder}{word}", os.X_OK) for folder in folders)


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= _MOST_INITIATORS):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to {_MOST_INITIATORS}")
    return int(text)

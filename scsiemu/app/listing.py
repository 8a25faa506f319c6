"""List what is installed: device types, options that add units, io handlers (stores) and transports."""

from __future__ import annotations

import argparse
import json
from typing import Final

from scsiemu import registry
from scsiemu.app.failure import ExitCode
from scsiemu.app.units import declaration

__all__ = ["add_arguments", "command"]

_GROUPS: Final = {
    "device types": registry.DEVTYPES,
    "io handlers": registry.IOHANDLERS,
    "transports": registry.TRANSPORTS,
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `list`."""
    parser.add_argument("--json", action="store_true", help="as one JSON object")


def command(arguments: argparse.Namespace) -> int:
    """Print the list."""
    found = {title: list(registry.names(group)) for title, group in _GROUPS.items()}
    units = {name: declaration(name) for name in registry.names(registry.UNITS)}
    if arguments.json:
        options = {
            f"--{name}": {
                "subject": declared.subject, "help": declared.help,
                "options": {option.name: option.help for option in declared.options},
            }
            for name, declared in units.items()
        }
        print(json.dumps({**{title.replace(" ", "_"): names for title, names in found.items()}, "units": options}))
        return ExitCode.OK
    for title, names in found.items():
        print(f"{title}: {', '.join(names) or 'none'}")
    for name, declared in units.items():
        print(f"\n--{name} {declared.subject}[,OPTION...]\n    {declared.help}")
        for option in declared.options:
            shown = option.name if option.convert is None else f"{option.name}={option.metavar}"
            print(f"    {shown:<24} {option.help}")
    return ExitCode.OK

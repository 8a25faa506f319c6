"""Kinds of drives as data: which there are, what is in one, and a new one from a unit's answers.

    scsiemu personality list                       those that are shipped, for --tape 1G,personality=NAME
    scsiemu personality show NAME                  the file of one, to begin your own with
    scsiemu personality check FILE                 whether a file is right, for --tape 1G,personality-file=FILE
    scsiemu personality capture URL > FILE         ask a drive what it is and has; nothing on it is changed
    scsiemu personality capture /dev/sg0 > FILE    the same, a drive of this machine
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, cast

from scsiemu import registry
from scsiemu.app.failure import ExitCode, Failure
from scsiemu.app.send import clear_attentions, connect_unit
from scsiemu.app.sg_io import SgIoUnit
from scsiemu.personalities import Capture, PersonalityDeclaration
from scsiemu.services import Client
from scsiemu.unit_options import parse_seconds

__all__ = ["add_arguments", "command"]

_MOST_TEXT: Final = 1 << 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `personality`."""
    parser.add_argument("action", choices=sorted(_ACTIONS), metavar="ACTION", help=", ".join(sorted(_ACTIONS)))
    parser.add_argument("url", nargs="?", metavar="NAME|FILE|URL|NODE", help="see above")
    parser.add_argument("--name", metavar="TEXT", default="", help="of what is captured, for people")
    parser.add_argument("--initiator", metavar="NAME", default="", help="our iSCSI name")
    parser.add_argument("--chap", metavar="USER:SECRETFILE", help="how we authenticate")
    parser.add_argument("--mutual-chap", metavar="USER:SECRETFILE", help="how the target must")
    parser.add_argument("--timeout", metavar="SECONDS", default="30", help="for the login and for each command")
    parser.add_argument(
        "--insecure-permissions", action="store_true", help="take secret files that others can read"
    )
    parser.add_argument("--json", action="store_true", help="the list as one JSON object")


def command(arguments: argparse.Namespace) -> int:
    """Do it. Raises Failure."""
    act = _ACTIONS[arguments.action]
    if (arguments.url is None) != (act is _list):
        raise Failure(f"personality {arguments.action}: see scsiemu personality --help", ExitCode.USAGE)
    act(arguments)
    return ExitCode.OK


def _declarations() -> Iterator[PersonalityDeclaration]:
    for name in registry.names(registry.PERSONALITIES):
        try:
            # What the entry point group promises.
            yield cast(PersonalityDeclaration, registry.load(registry.PERSONALITIES, name))
        except registry.PluginError as error:
            raise Failure(str(error)) from None


def _list(arguments: argparse.Namespace) -> None:
    found = {
        name: declared.describe(declared.text(name)) for declared in _declarations() for name in declared.names()
    }
    if arguments.json:
        print(json.dumps(found))
        return
    for name, text in found.items():
        print(f"{name:<12} {text}")


def _show(arguments: argparse.Namespace) -> None:
    why = "no device type has personalities"
    for declared in _declarations():
        try:
            print(declared.text(arguments.url), end="")
            return
        except ValueError as error:
            why = str(error)
    raise Failure(f"personality show: {why}", ExitCode.USAGE)


def _check(arguments: argparse.Namespace) -> None:
    try:
        with Path(arguments.url).open(encoding="utf-8") as file:
            text = file.read(_MOST_TEXT)
    except OSError as error:
        raise Failure(f"personality check: {arguments.url}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise Failure(f"personality check: {arguments.url} is not text", ExitCode.REFUSED) from None
    print(_first(lambda declared: declared.describe(text), arguments.url))


def _capture(arguments: argparse.Namespace) -> None:
    unit = _unit(arguments)
    try:
        clear_attentions(unit)
        text = _first(lambda declared: _ask(unit, declared.capture(arguments.name)), arguments.url)
    except OSError as error:
        raise Failure(f"{arguments.url}: {error.strerror or error}", ExitCode.NOT_CONNECTED) from None
    finally:
        unit.close()
    print(text, end="")


def _unit(arguments: argparse.Namespace) -> Client | SgIoUnit:
    """The unit behind a URL or a device node. Raises Failure."""
    scheme, colon, _ = arguments.url.partition("://")
    if colon:
        return connect_unit(scheme, arguments)
    if not arguments.url.startswith("/"):
        raise Failure(f"{arguments.url} is neither a URL of a unit nor a device node: iscsi://HOST:PORT/TARGET/LUN, "
                      "/dev/sgN", ExitCode.USAGE)
    try:
        return SgIoUnit(arguments.url, seconds=parse_seconds(arguments.timeout))
    except ValueError as error:
        raise Failure(f"--timeout: {error}", ExitCode.USAGE) from None
    except OSError as error:
        raise Failure(f"{arguments.url}: {error.strerror or error}", ExitCode.NOT_CONNECTED) from None


def _first(act: Callable[[PersonalityDeclaration], str], subject: str) -> str:
    """What the first device type says that understands it."""
    why = "no device type has personalities"
    for declared in _declarations():
        try:
            return act(declared)
        except ValueError as error:
            why = str(error)
    raise Failure(f"{subject}: {why}", ExitCode.REFUSED)


def _ask(unit: Client | SgIoUnit, capture: Capture) -> str:
    """Ask all questions; the text of the personality. Raises ValueError."""
    try:
        question = next(capture)
        while True:
            question = capture.send(unit.execute(question.cdb, data_in_length=question.data_in))
    except StopIteration as done:
        return str(done.value)


_ACTIONS: Final = {"list": _list, "show": _show, "check": _check, "capture": _capture}

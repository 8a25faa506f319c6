"""The program `scsiemu`: its sub-commands, each imported when it is used, and how it ends.

Every error of a user is one sentence on stderr and an exit code of `ExitCode`. So is a bug of ours, unless
SCSIEMU_DEBUG is set: then its traceback is shown.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from types import ModuleType
from typing import Final, cast

from scsiemu.app.failure import ExitCode, Failure
from scsiemu.app.terminal import say

__all__ = ["main"]

# Sub-command: its module, whose `add_arguments(parser)` and `command(arguments)` are called, and a line of help.
_COMMANDS: Final = {
    "serve": ("scsiemu.app.serve", "serve units over iSCSI until SIGTERM or SIGINT"),
    "run": ("scsiemu.app.run", "serve units while a command runs: scsiemu run --disk 1G -- COMMAND {uri}"),
    "exec": ("scsiemu.app.exec", "run a command with device nodes: scsiemu exec --disk 1G -- sg_inq /dev/sg0"),
    "send": ("scsiemu.app.send", "log in to a unit, execute a CDB, print what comes back"),
    "osd": ("scsiemu.app.osd", "use an object storage device: format, mkpart, put, get, ls, attr, rm"),
    "personality": ("scsiemu.app.personality", "list, show and check kinds of drives, or capture one from a unit"),
    "media": ("scsiemu.app.media", "media in files: create, list, check and convert tapes and discs"),
    "decode": ("scsiemu.app.explain", "explain the bytes of a CDB, sense data, a PDU, or Data-In"),
    "list": ("scsiemu.app.listing", "list device types, unit options, io handlers and transports"),
}

_EXIT_CODES: Final = """exit codes:
  0   done, or ended by SIGTERM or SIGINT
  2   the command line is wrong
  3   something cannot be opened, bound or set up
  4   the unit answered with another status than GOOD (send, osd), or nothing could be decoded (decode)
  5   no connection, or the login was refused
  6   a medium is damaged (media check, convert)
  70  a bug in scsiemu
run and exec end with the exit code of their command, 126 or 127 where that cannot be run."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program with these arguments (default: those of the process); its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        return _run(words)
    except Failure as failure:
        say(failure)
        return failure.code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Whoever read our output has gone; nothing may be flushed at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.OK
    except Exception as error:
        if os.environ.get("SCSIEMU_DEBUG"):
            raise
        say(
            f"internal error: {type(error).__name__}: {error}; this is a bug: please report it "
            f"(SCSIEMU_DEBUG=1 shows where it happened)"
        )
        return ExitCode.INTERNAL


def _run(words: list[str]) -> int:
    if "--version" in words[:1]:
        print(f"scsiemu {_version()}", flush=True)
        return ExitCode.OK
    name = words[0] if words else ""
    if name in _COMMANDS:
        module = _load(_COMMANDS[name][0])
        parser = _Parser(
            prog=f"scsiemu {name}", description=module.__doc__, epilog=_EXIT_CODES, allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        # Each module of the table has these two functions.
        add_arguments = cast(Callable[[argparse.ArgumentParser], None], module.add_arguments)
        command = cast(Callable[[argparse.Namespace], int], module.command)
        rest = words[1:]
        following: list[str] | None = None
        if name in ("run", "exec") and "--" in rest:
            at = rest.index("--")
            rest, following = rest[:at], rest[at + 1 :]
        add_arguments(parser)
        arguments = parser.parse_args(rest)
        arguments.following = following
        del parser      # a command may last for months
        return command(arguments)
    return _overview(words)


def _load(name: str) -> ModuleType:
    """Import a sub-command. asyncio comes without TLS, which nothing here speaks: OpenSSL is 5 MiB of a server."""
    if "ssl" in sys.modules or "asyncio" in sys.modules:
        return import_module(name)
    sys.modules["ssl"] = None  # type: ignore[assignment]  # how Python is told that a module is not to be had
    try:
        return import_module(name)
    finally:
        del sys.modules["ssl"]


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, like all others."""

    def error(self, message: str) -> None:  # type: ignore[override]  # it does not return
        raise Failure(f"{self.prog.removeprefix('scsiemu ')}: {message}; see {self.prog} --help", ExitCode.USAGE)


def _overview(words: list[str]) -> int:
    """Help on all sub-commands, or the error that there is none of that name."""
    parser = _Parser(
        prog="scsiemu", description="SCSI targets in user space.", epilog=_EXIT_CODES, allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="store_true", help="print the version")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    for name, (_, text) in _COMMANDS.items():
        commands.add_parser(name, help=text.replace("%", "%%"))
    if any(word in ("-h", "--help") for word in words):
        parser.print_help()
        return ExitCode.OK
    known = ", ".join(_COMMANDS)
    if not words:
        raise Failure(f"no command is given; there are {known}; see scsiemu --help", ExitCode.USAGE)
    raise Failure(f"there is no command {words[0]!r}; there are {known}; see scsiemu --help", ExitCode.USAGE)


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("scsiemu")
    except PackageNotFoundError:
        return "(not installed)"


if __name__ == "__main__":
    sys.exit(main())

"""Serve units on a free port while a command runs, then end with its exit code.

    scsiemu run --disk 1G -- qemu-img info {uri}
    scsiemu run --disk 1G --disk img.raw,ro -- my-test {uri0} {uri1}

In the command {uri} is the URL of LUN 0 of the first target, {uri0}, {uri1} ... those of all units in order, {portal}
is HOST:PORT, {host} and {port} its parts, {iqn} the name of the first target. The environment has SCSIEMU_URI,
SCSIEMU_PORTAL and SCSIEMU_IQN.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import signal
from typing import Final

from scsiemu.app.arguments import add_target_arguments
from scsiemu.app.configuration import ServeConfiguration, configure
from scsiemu.app.failure import ExitCode, Failure
from scsiemu.app.loop import ServingLoop
from scsiemu.app.service_plugins import FIRST_SERVICE
from scsiemu.app.serving import Serving, shown_listener
from scsiemu.app.terminal import LineLimiter, say

__all__ = ["add_arguments", "command", "fill_in"]

_NOT_EXECUTABLE: Final = 126        # as shells and env(1) have it
_NOT_FOUND: Final = 127
_PLACE: Final = re.compile(r"\{(uri[0-9]*|portal|host|port|iqn)\}")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `run`."""
    add_target_arguments(parser)
    parser.usage = "%(prog)s [options] --disk VALUE ... -- COMMAND [ARGUMENT ...]"


def command(arguments: argparse.Namespace) -> int:
    """Run it; the exit code of the command."""
    following = arguments.following
    if not following:
        raise Failure(
            "run: put -- and the command behind the options: scsiemu run --disk 1G -- COMMAND {uri}", ExitCode.USAGE
        )
    with asyncio.Runner(loop_factory=ServingLoop) as runner:
        return runner.run(_run(configure(arguments, listen=("127.0.0.1:0",)), following))


def fill_in(word: str, places: dict[str, str]) -> str:
    """A word of the command with its places filled in. Raises Failure for a unit that is not there."""

    def found(match: re.Match[str]) -> str:
        name = match[1]
        if name not in places:
            units = sum(place.startswith("uri") for place in places) - 1
            raise Failure(f"run: there is no {match[0]}: the last unit is {{uri{units - 1}}}", ExitCode.USAGE)
        return places[name]

    return _PLACE.sub(found, word)


async def _run(configuration: ServeConfiguration, words: list[str]) -> int:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    # Ctrl-C goes to the command as well: we end when it does.
    loop.add_signal_handler(signal.SIGINT, lambda: None)
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    async with Serving(configuration, log=LineLimiter()) as serving:
        portal = shown_listener(serving.listeners[FIRST_SERVICE][0])
        places = {f"uri{number}": unit.url for number, unit in enumerate(serving.units)}
        places |= {
            "uri": serving.units[0].url, "portal": str(portal), "host": portal.host, "port": str(portal.port),
            "iqn": serving.units[0].target,
        }
        filled = [fill_in(word, places) for word in words]
        environment = {
            **os.environ,
            "SCSIEMU_URI": places["uri"], "SCSIEMU_PORTAL": places["portal"], "SCSIEMU_IQN": places["iqn"],
        }
        try:
            process = await asyncio.create_subprocess_exec(*filled, env=environment)
        except FileNotFoundError:
            say(f"run: the command {filled[0]} is not there; is it installed?")
            return _NOT_FOUND
        except OSError as error:
            say(f"run: the command {filled[0]} cannot be run: {error.strerror}")
            return _NOT_EXECUTABLE
        return await _wait(process, stop)


async def _wait(process: asyncio.subprocess.Process, stop: asyncio.Event) -> int:
    """The exit code of the command; it is told to end when we are."""
    ended = asyncio.create_task(process.wait())
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait((ended, stopped), return_when=asyncio.FIRST_COMPLETED)
    if not ended.done():
        process.terminate()
    code = await ended
    stopped.cancel()
    return code if code >= 0 else 128 - code

"""Serve units over iSCSI until SIGTERM or SIGINT. Then sessions are asked to log out, caches are flushed.

    scsiemu serve --disk 10G                      a disk in memory
    scsiemu serve --disk img.raw,size=1T          in a file, made if need be
    scsiemu serve --disk 1G,ro --disk 1G,block=4096 --target iqn.2026-11.example:other --disk 64M

With --json the first line on stdout is one JSON object, and nothing else goes there:

    {"portals": ["HOST:PORT"], "units": [{"lun": 0, "type": "vd", "url": "iscsi://HOST:PORT/NAME/0"}]}

`services` has where each transport listens, by name; `portals` and the URLs are of the first.
Everything else goes to stderr.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import signal
import sys

from scsiemu.app.allocator import keep_freed_memory
from scsiemu.app.arguments import add_target_arguments
from scsiemu.app.configuration import ServeConfiguration, configure
from scsiemu.app.failure import ExitCode
from scsiemu.app.loop import ServingLoop
from scsiemu.app.parent import ParentWatch
from scsiemu.app.serving import Serving
from scsiemu.app.terminal import LineLimiter

__all__ = ["add_arguments", "command"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `serve`."""
    add_target_arguments(parser)
    parser.add_argument("--json", action="store_true", help="tell portals and units as JSON, in one line")
    parser.add_argument("--exit-with-parent", action="store_true", help="end when the process that started this ends")


def command(arguments: argparse.Namespace) -> int:
    """Serve; the exit code."""
    parent = ParentWatch() if arguments.exit_with_parent else None
    configuration = configure(arguments)
    with asyncio.Runner(loop_factory=ServingLoop) as runner:
        runner.run(_serve(configuration, as_json=arguments.json, parent=parent))
    return ExitCode.OK


async def _serve(configuration: ServeConfiguration, *, as_json: bool, parent: ParentWatch | None) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        # One that is ignored was meant to be (nohup).
        if signal.getsignal(number) != signal.SIG_IGN:
            loop.add_signal_handler(number, stop.set)
    if parent is not None:
        parent.watch(loop, stop.set)
    log = LineLimiter()
    async with Serving(configuration, log=log) as serving:
        # Written before the collector is told to leave alone what lives as long as the process.
        text = _as_json(serving) if as_json else _as_text(serving, configuration)
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
        gc.collect()
        gc.freeze()
        keep_freed_memory()
        gc.set_threshold(50_000, 20, 20)
        await stop.wait()
        # A second Ctrl-C does not wait for anybody.
        loop.remove_signal_handler(signal.SIGINT)
    log.flush()


def _as_json(serving: Serving) -> str:
    return json.dumps({
        "portals": [str(listener) for listener in next(iter(serving.listeners.values()))],
        "services": {
            name: [str(listener) for listener in listeners] for name, listeners in serving.listeners.items()
        },
        "units": [
            {"lun": unit.lun, "type": unit.type, "url": unit.url, "target": unit.target} for unit in serving.units
        ],
    })


def _as_text(serving: Serving, configuration: ServeConfiguration) -> str:
    where = [str(listener) for listeners in serving.listeners.values() for listener in listeners]
    lines = [f"listening on {', '.join(where)}", ""]
    lines += [f"  {unit.url}  ({unit.type})" for unit in serving.units]
    if serving.to_paste:
        lines += ["", "to paste:", "", *(f"  {line}" for line in serving.to_paste)]
    if any(target.authentication for target in configuration.targets):
        lines += [
            "",
            "CHAP is required: libiscsi and QEMU take iscsi://USER%SECRET@HOST..., or LIBISCSI_CHAP_USERNAME and",
            "LIBISCSI_CHAP_PASSWORD in the environment; open-iscsi takes node.session.auth.* settings.",
        ]
    return "\n".join([*lines, "", "Ctrl-C ends it."])


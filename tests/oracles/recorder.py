"""The program, with a note of each operation that ends well for a foreign program: who really checks what.

    python recorder.py FOLDER serve --disk 1M ...

Writes lines `PROGRAM DEVICE-TYPE OPCODE[/ACTION]` into a file in FOLDER, each once; after the file is removed, again.
Where a medium with a profile is written, `OPCODE@PROFILE` too.
The program is the one whose system call it is (device nodes), else what the initiator port calls itself.
"""

from __future__ import annotations

import os
import re
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

from scsiemu import registry
from scsiemu.app.main import main
from scsiemu.logical_unit import LogicalUnit
from scsiemu.sam import Status

__all__ = ["run"]

# Who names itself so as an initiator.
INITIATORS = (
    (r"^http,", "curl"), (r"^vhost-user,.*linux-vhost|test:linux-guest", "Linux"),
    (r"^vhost-user,", "SeaBIOS"), (r"libiscsi.*iscsi-test", "iscsi-test-cu"),
    (r"libiscsi.*:(iscsi-\w+)", r"\1"), (r"linux-kvm|qemu", "QEMU"), (r"org\.ipxe", "iPXE"),
)

_DONE = (Status.GOOD, Status.CONDITION_MET)
_WRITES = (0x2A, 0x2E, 0xAA)
# Whose scripts they are, by what runs them.
_SCRIPTS = {"perl": "amanda"}
# Who runs beside the programs that use a node, and may be seen when one of these closes it.
_BYSTANDERS = ("bash", "cmp", "cp", "cut", "dash", "grep", "head", "mkdir", "rm", "sed", "sh", "stat", "tail")


class _Recorder:
    def __init__(self, folder: Path) -> None:
        self._path = folder / f"{os.getpid()}"
        self._types = {name: registry.load(registry.DEVTYPES, name) for name in registry.names(registry.DEVTYPES)}
        self._lines: set[str] = set()
        self.program = ""

    def note(self, unit: LogicalUnit, command: Any) -> None:
        """A command has ended GOOD or CONDITION MET."""
        program = self.program or _named(command.nexus.initiator_port.name)
        operation = unit.server.table.find(bytes(command.cdb))
        if operation is None or not program:
            return
        for name, kind in self._types.items():
            if isinstance(unit.server, kind):
                action = "" if operation.service_action is None else f"/{operation.service_action:02x}"
                self._write(f"{program} {name} {operation.opcode:02x}{action}")
                profile = getattr(unit.server, "current_profile", 0)
                if profile and operation.opcode in _WRITES:
                    self._write(f"{program} {name} {operation.opcode:02x}@{profile:02x}")

    def _write(self, line: str) -> None:
        if not self._path.exists():
            self._lines.clear()
        if line not in self._lines:
            self._lines.add(line)
            with self._path.open("a") as file:
                file.write(f"{line}\n")


@lru_cache
def _named(port: str) -> str:
    """The program that calls its initiator port so."""
    for pattern, program in INITIATORS:
        if found := re.search(pattern, port):
            return found.expand(program)
    return ""


def run(folder: Path, words: list[str]) -> int:
    """Run the program so; its exit code."""
    recorder = _Recorder(folder)
    execute = LogicalUnit.execute
    complete = LogicalUnit._complete

    def executed(unit: LogicalUnit, command: Any) -> Any:
        ended = execute(unit, command)
        if ended is not None and getattr(ended, "status", Status.GOOD) in _DONE:
            recorder.note(unit, command)
        return ended

    def completed(unit: LogicalUnit, command: Any, completion: Any) -> None:
        complete(unit, command, completion)
        if completion.status in _DONE:
            recorder.note(unit, command)

    # That is what this is for: the fast way ends in execute, the other in _complete.
    LogicalUnit.execute = executed  # type: ignore[method-assign]  # see above
    LogicalUnit._complete = completed  # type: ignore[method-assign]  # see above
    if words[0] == "exec":
        _watch_callers(recorder)
    return main(words)


def _watch_callers(recorder: _Recorder) -> None:
    """By device nodes commands come from programs: whose call was taken last."""
    from transports.devnode.seccomp import Listener

    receive = Listener.receive

    def noted(listener: Listener) -> Any:
        note = receive(listener)
        try:
            recorder.program = os.path.basename(os.readlink(f"/proc/{note.pid}/exe"))
            recorder.program = _SCRIPTS.get(recorder.program, recorder.program)
        except OSError:
            recorder.program = ""
        if recorder.program in _BYSTANDERS:
            recorder.program = ""
        return note

    Listener.receive = noted  # type: ignore[method-assign]  # as above


if __name__ == "__main__":
    sys.exit(run(Path(sys.argv[1]), sys.argv[2:]))

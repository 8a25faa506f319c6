"""The engine, a device type and the sans-IO half of iSCSI at work: nothing is opened, sent or asked of the
system.

An audit hook (PEP 578) cannot be taken away again, so it does nothing while its flag is down.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from scsiemu.lun import unit_lun
from scsiemu.operations import OperationTable
from scsiemu.sam import TaskManagementFunction
from scsiemu.target import Target
from scsiemu.testing.served import ScsiTarget
from transports.iscsi.initiator_login import LoginOffer
from transports.iscsi.loopback import Loopback
from transports.iscsi.node import IscsiTarget, TargetNode

FORBIDDEN = (
    "open", "socket.", "os.", "subprocess.", "shutil.", "tempfile.", "sqlite3.", "mmap.", "fcntl.", "time.sleep",
    "import", "glob.", "pathlib.", "_thread.", "signal.",
)
NAME = "iqn.2026-11.example.scsiemu:quiet"


class Watch:
    """What the hook has seen while it was up."""

    up = False
    seen: list[str] = []


def hook(event: str, arguments: tuple[Any, ...]) -> None:
    """Note forbidden events."""
    if Watch.up and event.startswith(FORBIDDEN):
        Watch.seen.append(f"{event} {arguments!r:.200}")


sys.addaudithook(hook)


@contextmanager
def quiet() -> Iterator[list[str]]:
    """Watch for I/O; gives what was seen."""
    Watch.seen = []
    Watch.up = True
    try:
        yield Watch.seen
    finally:
        Watch.up = False


def batch(here: ScsiTarget) -> int:
    """Commands of every kind: each operation with fields at random, data written and read, task
    management."""
    chooser = random.Random(1)
    server = here.initiator.nexus.units[unit_lun(0)].unit.server
    data = bytes(4096)
    ended = 0
    for operation in OperationTable(server):
        layout = operation.layout
        for _ in range(3):
            # Lengths small, so that no random length asks for gigabytes.
            values = {
                field.name: chooser.randrange(min(1 << field.width, 16))
                for field in layout.fields
                if field.name not in ("_", "control", "opcode", "service_action")
            }
            values["opcode"] = operation.opcode
            if operation.service_action is not None:
                values["service_action"] = operation.service_action
            here.initiator.execute(0, layout.build(**values), data, 4096)
            here.initiator.clear_attentions()
            ended += 1
    here.initiator.manage(TaskManagementFunction.LOGICAL_UNIT_RESET, 0)
    here.initiator.clear_attentions()
    return ended


def test_architecture_watch_sees_io(tmp_path: Any) -> None:
    """The hook works: opening a file under it is seen, after it is not."""
    with quiet() as seen:
        (tmp_path / "file").write_text("x")
    (tmp_path / "file").read_text()

    assert len(seen) == 1
    assert seen[0].startswith("open")


@pytest.mark.parametrize("units", [("--disk", "1M"), ("--disk", "1M,removable,block=4096"), ("--disk", "1M,pi=1")])
def test_architecture_commands_do_no_io(units: tuple[str, ...]) -> None:
    """Every operation of the disk runs without a file, a socket or a call to the system."""
    with ScsiTarget(*units) as first:
        batch(first)        # imports and caches that happen once
    with ScsiTarget(*units) as here, quiet() as seen:
        ended = batch(here)

    assert ended > 100
    assert seen == []


def test_architecture_engine_setup_does_no_io() -> None:
    """A target, a port and a nexus are made without I/O."""
    Target("warm")

    with quiet() as seen:
        target = Target(NAME)
        assert target.deadline() is None or target.deadline() is not None
        target.advance(1.0)

    assert seen == []


def counted(count: int) -> bytes:
    """Bytes that are no secret."""
    return bytes(range(1, count + 1))


def session(here: ScsiTarget) -> bytes:
    """Login, INQUIRY and logout over memory."""
    node = TargetNode(random_bytes=counted)
    node.add_target(IscsiTarget(here.target))
    link = Loopback(node, LoginOffer("iqn.2026-11.example:me", target_name=NAME), random_bytes=counted).login()
    link.execute(0, bytes(6))
    answer = link.execute(0, bytes.fromhex("120000006000"), data_in_length=96)
    node.advance(10.0)
    link.disconnect()
    return bytes(answer.data_in)


def test_architecture_iscsi_protocol_does_no_io() -> None:
    """The sans-IO half of iSCSI: a whole session, and nothing touches a socket."""
    with ScsiTarget("--disk", "1M", name=NAME) as first:
        session(first)
    with ScsiTarget("--disk", "1M", name=NAME) as here, quiet() as seen:
        answer = session(here)

    assert len(answer) >= 36
    assert seen == []

"""A device type that somebody else installs gets its command-line option without a line changed here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = [sys.executable, "-m", "scsiemu.app"]
SECONDS = 30.0

PLUGIN = '''
from scsiemu.spc import SpcDeviceServer
from scsiemu.unit_options import UnitDeclaration, UnitOption, UnitPlan, parse_number


class Toy(SpcDeviceServer):
    peripheral_device_type = 0x03


def plan(argument):
    if argument.subject == "broken":
        raise RuntimeError("a bug")
    return tuple(UnitPlan("toy", None, lambda store: Toy()) for _ in range(1 + argument.get("drives", 1)))


TOYBOX = UnitDeclaration("NAME", "a box and its drives", (UnitOption("drives", "how many", parse_number, "N"),), plan)
'''


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """The environment of a program that finds the plug-in."""
    (tmp_path / "toybox_plugin.py").write_text(PLUGIN)
    info = tmp_path / "toybox-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toybox\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[scsiemu.devtypes]\ntoy = toybox_plugin:Toy\n[scsiemu.units]\ntoybox = toybox_plugin:TOYBOX\n"
    )
    return {**os.environ, "PYTHONPATH": str(tmp_path)}


def run(environment: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    """The program, run to its end."""
    return subprocess.run(
        [*PROGRAM, *words], env=environment, capture_output=True, text=True, timeout=SECONDS, check=False
    )


def test_plugin_units_in_order(environment: dict[str, str]) -> None:
    """One option may add several units; LUNs follow the order of the command line."""
    command = [
        *PROGRAM, "serve", "--listen", "127.0.0.1:0", "--json", "--exit-with-parent",
        "--disk", "1M", "--toybox", "a,drives=2", "--disk", "2M",
    ]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE)
    assert process.stdout is not None
    told = json.loads(process.stdout.readline())
    process.terminate()

    assert process.wait(SECONDS) == 0
    process.stdout.close()
    assert [(unit["lun"], unit["type"]) for unit in told["units"]] == [
        (0, "vd"), (1, "toy"), (2, "toy"), (3, "toy"), (4, "vd"),
    ]


def test_plugin_unit_answers(environment: dict[str, str]) -> None:
    """The unit of the plug-in answers INQUIRY with its device type."""
    ended = run(
        environment, "run", "--toybox", "a", "--", *PROGRAM, "send", "{uri}", "12 00 00 00 24 00", "--json"
    )

    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["data_in"][:2] == "03"


def test_plugin_is_listed(environment: dict[str, str]) -> None:
    """`list` and help show it."""
    told = json.loads(run(environment, "list", "--json").stdout)

    assert told["units"]["--toybox"]["options"] == {"drives": "how many"}
    assert "toy" in told["device_types"]
    assert "a box and its drives" in run(environment, "serve", "--help").stdout


def test_internal_error_is_one_line(environment: dict[str, str]) -> None:
    """A bug is exit code 70 and one sentence; the traceback is for those who ask for it."""
    plain = run(environment, "serve", "--toybox", "broken")
    debugged = run({**environment, "SCSIEMU_DEBUG": "1"}, "serve", "--toybox", "broken")

    assert (plain.returncode, plain.stdout, plain.stderr.count("\n")) == (70, "", 1)
    assert "internal error: RuntimeError: a bug" in plain.stderr
    assert "Traceback" in debugged.stderr

"""mtx, loaderinfo and tapeinfo on the nodes of a library, mt and tar in its drives: they judge the changer."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from checked_by import program
from served import serve

sys.path.insert(0, str(Path(__file__).parents[1] / "devnode"))

from devnode_world import needs_nodes  # the harness of the nodes' tests

pytestmark = [pytest.mark.oracle, pytest.mark.timeout(120)]


@pytest.fixture(params=["in this process", "over iSCSI"])
def shell(
    request: pytest.FixtureRequest, require_tool: Callable[[str], str], tmp_path: Path
) -> Iterator[Callable[..., str]]:
    """Run a shell script that has a library of 4 cartridges in 6 slots as /dev/sg0; its output, errors too."""
    for tool in ("mtx", "mt"):
        require_tool(tool)
    needs_nodes()
    library = ("--library", f"{tmp_path}/lib,drives=2,slots=6,ports=2,create=4,capacity=8M")
    with contextlib.ExitStack() as ending:
        units = list(library)
        if request.param == "over iSCSI":
            served = ending.enter_context(serve(*library))
            units = [word for url in served.urls for word in ("--url", url)]

        def run(script: str, *, code: int = 0) -> str:
            done = subprocess.run(
                [*program(), "exec", *units, "--", "sh", "-c",
                 "export LC_ALL=C CHANGER=/dev/sg0 TAPE=/dev/nst0\nexec 2>&1\n" + script],
                capture_output=True, text=True, check=False, timeout=60, cwd=tmp_path,
            )
            assert done.returncode == code, done.stdout + done.stderr
            return done.stdout

        yield run


def full(status: str) -> dict[str, str]:
    """Where mtx says that volumes are: `drive 0`, `slot 3`."""
    found = {}
    for line in status.splitlines():
        match = re.match(
            r"\s*(Data Transfer|Storage) Element (\d+).*?:Full.*?VolumeTag ?= ?(\S+)", line
        )
        if match:
            found[f"{'drive' if match[1].startswith('Data') else 'slot'} {match[2]}"] = match[3]
    return found


START = {f"slot {number}": f"A0000{number}L8" for number in range(1, 5)}


def test_mtx_status(shell: Callable[..., str]) -> None:
    """Drives, slots and import/export elements, with their volume tags."""
    status = shell("mtx status")

    assert "/dev/sg0:2 Drives, 8 Slots ( 2 Import/Export )" in status
    assert full(status) == START
    assert status.count("IMPORT/EXPORT:Empty") == 2


@pytest.mark.parametrize(("script", "expected"), [
    ("mtx load 2 1", {"slot 2": None, "drive 1": "A00002L8"}),
    ("mtx load 1 0; mt offline; mtx unload 1 0", {}),
    ("mtx load 1 0; mt offline; mtx unload", {}),
    ("mtx transfer 1 6", {"slot 1": None, "slot 6": "A00001L8"}),
    ("mtx transfer 3 7", {"slot 3": None, "slot 7": "A00003L8"}),
    ("mtx exchange 1 2", {"slot 1": "A00002L8", "slot 2": "A00001L8"}),
    ("mtx first 0", {"slot 1": None, "drive 0": "A00001L8"}),
    ("mtx transfer 4 6; mtx last 0", {"slot 4": None, "drive 0": "A00004L8"}),
    ("mtx first 0; mt offline; mtx next 0", {"slot 2": None, "drive 0": "A00002L8"}),
    ("mtx load 3 0; mt offline; mtx previous 0", {"slot 2": None, "drive 0": "A00002L8"}),
    ("mtx inventory", {}),
    ("mtx position 3", {}),
])
def test_mtx_operation(shell: Callable[..., str], script: str, expected: dict[str, str | None]) -> None:
    """After each operation of mtx every cartridge is where it ought to be."""
    after = {place: tag for place, tag in {**START, **expected}.items() if tag is not None}

    assert full(shell(f"{script} || exit 1; mtx status")) == after


def test_mtx_busy_drive(shell: Callable[..., str]) -> None:
    """A drive in use keeps its cartridge, and mtx shows why."""
    output = shell("mtx load 1 0; mtx unload 1 0; mtx status")

    assert "Sense Key=Illegal Request" in output
    assert "Additional Sense Code = 53" in output
    assert full(output)["drive 0"] == "A00001L8"


def test_mtx_inquiry(shell: Callable[..., str]) -> None:
    """A medium changer by its INQUIRY data."""
    assert "Product Type: Medium Changer" in shell("mtx inquiry")


def test_loaderinfo(shell: Callable[..., str]) -> None:
    """The mode pages say how many elements there are and what goes where."""
    output = shell("loaderinfo -f /dev/sg0")

    for line in (
        "Number of Medium Transport Elements: 1", "Number of Storage Elements: 6",
        "Number of Import/Export Elements: 2", "Number of Data Transfer Elements: 2", "Invertable: No",
        "Storage: Data Transfer, Import/Export, Storage", "Transfer Medium Transport: None",
        "Transfer Storage: ->Data Transfer, ->Import/Export, ->Storage",
        "Exchange Data Transfer: <>Data Transfer, <>Import/Export, <>Storage",
    ):
        assert line in output


def test_tapeinfo_of_a_loaded_drive(shell: Callable[..., str]) -> None:
    """The drive is ready once the changer has loaded it. The tape driver waits for that, tapeinfo does not."""
    output = shell("tapeinfo -f /dev/sg1; mtx load 1 0; mt rewind; tapeinfo -f /dev/sg1")

    assert re.findall(r"Ready: (\w+)", output) == ["no", "yes"]
    assert "Product Type: Tape Drive" in output


def test_tar_over_two_cartridges(shell: Callable[..., str]) -> None:
    """What tar writes to two cartridges one after the other is read from each of them in the other drive."""
    output = shell("""
        set -e
        for n in 1 2; do
            echo $n > file$n
            mtx load $n 0 > /dev/null
            tar cf /dev/nst0 file$n
            mt offline
            mtx unload $n 0 > /dev/null
        done
        for n in 2 1; do
            mtx load $n 1 > /dev/null
            tar tf /dev/nst1
            mt -f /dev/nst1 offline
            mtx unload $n 1 > /dev/null
        done
        mtx status
    """)

    assert output.splitlines()[:2] == ["file2", "file1"]
    assert full(output) == START


def test_library_remembers(shell: Callable[..., str]) -> None:
    """Another process finds every cartridge where the last one left it, in drives too."""
    shell("echo kept > f; mtx load 3 1; tar cf /dev/nst1 f; mtx transfer 1 5")

    output = shell("mtx status; mt -f /dev/nst1 rewind; tar tf /dev/nst1")
    assert full(output) == {
        "slot 2": "A00002L8", "slot 4": "A00004L8", "slot 5": "A00001L8", "drive 1": "A00003L8",
    }
    assert output.splitlines()[-1] == "f"

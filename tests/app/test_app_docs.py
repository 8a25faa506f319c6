"""The documents tell the truth: their code runs, their commands do what they say."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from scsiemu import asc
from scsiemu.lun import unit_lun
from scsiemu.nexus import InitiatorPort, Protocol, TargetPort
from scsiemu.sam import Status
from scsiemu.target import Target
from scsiemu.testing.device_type_kit import check_device_type
from scsiemu.testing.initiator import Initiator
from scsiemu.testing.served import IscsiTarget
from scsiemu.transport_id import iscsi_transport_id

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs" / "front-and-back-ends.md"
README = ROOT / "README.md"
PROGRAM = [sys.executable, "-m", "scsiemu.app"]
SECONDS = 60


def blocks(path: Path, language: str = "python") -> list[str]:
    """Code blocks of a document."""
    return re.findall(rf"^```{language}\n(.*?)^```", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def block(part: str) -> str:
    """The python block of the guide that has this in it."""
    (found,) = (code for code in blocks(GUIDE) if part in code)
    return found


def run_code(code: str, names: dict[str, Any] | None = None) -> dict[str, Any]:
    """Run a block; its names."""
    names = dict(names or {}, __name__="guide")
    exec(compile(code, str(GUIDE), "exec"), names)
    return names


@pytest.fixture
def slate() -> Callable[[Target], Any]:
    """Adds the device type of the guide, on the store of the guide, to a target."""
    store = run_code(block("class Ram"))["open_store"](size=64 * 512)
    server_class = run_code(block("class Slate"))["Slate"]

    def add(target: Target) -> Any:
        return target.add_unit(
            0, server_class(64), performer=store.submit, capabilities=lambda: store.capabilities
        )

    store.submit(run_code("from scsiemu.io_requests import Write")["Write"](512, 512, b"s" * 512), None)
    return add


def test_guide_blocks_are_all_tried() -> None:
    """Each python block of the guide is run by a test here: a new one needs a test, too."""
    known = ("class Ram", "def test_ram", "class Slate", "target.nexus_established(InitiatorPort")

    assert [sum(part in code for part in known) for code in blocks(GUIDE)] == [1] * len(known)


def test_guide_store() -> None:
    """The store of the guide is a store, says the test of the guide."""
    names = run_code(block("class Ram"))

    run_code(block("def test_ram"), names)["test_ram"]()


def test_guide_device_type(slate: Callable[[Target], Any]) -> None:
    """The device type of the guide answers READ(10) and what SPC gives it."""
    target = Target("iqn.2026-11.org.example:guide")
    slate(target)
    initiator = Initiator(target)

    assert initiator.command("READ(10)", lba=1, transfer_length=1).data == b"s" * 512
    assert initiator.command("READ(10)", lba=64, transfer_length=1).code == asc.LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE
    assert initiator.command("INQUIRY").data[0] == 0


def test_guide_device_type_kit(slate: Callable[[Target], Any]) -> None:
    """The device type of the guide passes the kit that the guide names."""
    check_device_type(slate, random_cdbs=2)


def test_guide_transport(slate: Callable[[Target], Any]) -> None:
    """The calls of a transport, in the order of the guide, execute a command."""
    target = Target("iqn.2026-11.org.example:guide")
    slate(target)
    port = TargetPort(target.name, 1, 1, Protocol.ISCSI)
    told: list[Any] = []
    name = "iqn.2026-11.org.example:me"
    given = {
        "target": target, "InitiatorPort": InitiatorPort, "name": name, "target_port": port,
        "transport_id": iscsi_transport_id(name, bytes(6)), "lun": unit_lun(0), "cdb": bytes.fromhex("120000002400"),
        "tag": 1, "attribute": 0, "data_out": b"", "data_out_length": 0, "data_in_length": 36, "my_task": "mine",
        "told": told,
    }
    given |= run_code("from scsiemu.command import Command")
    code = block("target.nexus_established(InitiatorPort")
    run_code(re.sub(r"\.\.\.( +# completion)", r"told.append(completion)\1", code), given)

    (completion,) = told
    assert (completion.status, completion.command.origin, len(completion.data_in)) == (Status.GOOD, "mine", 36)
    assert target.statistics()["nexuses"] == 0


def use_lines() -> list[list[str]]:
    """The commands of README's section "Use"."""
    section = README.read_text(encoding="utf-8").partition("## Use")[2].partition("\n## ")[0]
    return [shlex.split(line, comments=True) for line in re.findall(r"^    (scsiemu .*)$", section, re.MULTILINE)]


def line_of(*words: str) -> list[str]:
    """The command of README that begins so; without the name of the program."""
    (found,) = (line[1:] for line in use_lines() if line[1 : 1 + len(words)] == list(words))
    return found


def run(*words: str) -> subprocess.CompletedProcess[str]:
    """The program, run to its end."""
    return subprocess.run([*PROGRAM, *words], capture_output=True, text=True, timeout=SECONDS, check=False)


def test_readme_decode() -> None:
    """`scsiemu decode sense` of README explains the sense data."""
    ended = run(*line_of("decode", "sense"))

    assert (ended.returncode, ended.stderr) == (0, "")
    assert "ILLEGAL REQUEST" in ended.stdout.upper()
    assert "INVALID FIELD IN CDB" in ended.stdout.upper()


def test_readme_send() -> None:
    """`scsiemu send` of README is a valid line for a served unit, and gets the device identification page."""
    words = line_of("send")
    with IscsiTarget("--disk", "1M", "--iqn", words[1].split("/")[3]) as served:
        ended = run("send", served.url, *words[2:])

    assert served.url.partition("/iqn")[2] == words[1].partition("/iqn")[2]
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "scsiemu" in ended.stdout.lower()


def test_readme_run(require_tool: Callable[[str], str]) -> None:
    """`scsiemu run` of README runs its command against the disk."""
    words = line_of("run")
    require_tool(words[words.index("--") + 1])
    ended = run(*words)

    assert ended.returncode == 0, ended.stderr
    assert "Vendor:SCSIEMU" in ended.stdout


def demo_line() -> list[str]:
    """What ./demo serves."""
    told = re.search(r"set -- (.+)", (ROOT / "demo").read_text(encoding="utf-8"))
    assert told is not None
    return ["scsiemu", "serve", *told[1].split()]


@pytest.mark.parametrize("line", [demo_line(), *(line for line in use_lines() if line[1] == "serve")], ids=" ".join)
def test_readme_serve(tmp_path: Path, line: list[str]) -> None:
    """Each `scsiemu serve` of README, and ./demo's, starts; on a free port and in a folder of its own."""
    words = line[2:]
    if "--listen" in words:
        at = words.index("--listen")
        del words[at : at + 2]
    if "--json" not in words:
        words.append("--json")
    process = subprocess.Popen(
        [*PROGRAM, "serve", "--listen", "127.0.0.1:0", "--exit-with-parent", *words],
        cwd=tmp_path, stdout=subprocess.PIPE, text=True,
    )
    try:
        assert process.stdout is not None
        told = process.stdout.readline()
    finally:
        process.terminate()
        process.communicate(timeout=SECONDS)

    assert told.startswith('{"portals": ["127.0.0.1:')
    assert process.returncode == 0


def test_readme_exec(require_tool: Callable[[str], str]) -> None:
    """`scsiemu exec` of README shows a node to an unmodified program."""
    words = line_of("exec")
    require_tool(words[words.index("--") + 1])
    ended = run(*words)
    if ended.returncode == 3:
        pytest.skip(f"this kernel cannot: {ended.stderr.strip()}")

    assert ended.returncode == 0, ended.stderr
    assert "SCSIEMU" in ended.stdout


def test_readme_names_every_command() -> None:
    """The commands shown are those of the program, and it is what pyproject installs."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    assert {line[0] for line in use_lines()} == set(project["scripts"])
    assert {line[1] for line in use_lines()} <= {"serve", "run", "exec", "send", "decode", "list"}

"""docs/ways-in.md: its three ways in, with the programs that they are for."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from checked_by import program
from served import serve
from test_oracle_qemu_boot import BOOT_SECTOR, MAGIC, boot
from test_oracle_sg3_tools import run_exec

DOCUMENT = Path(__file__).parents[2] / "docs" / "ways-in.md"
TEXT = DOCUMENT.read_text(encoding="utf-8")

pytestmark = pytest.mark.oracle


def lines(heading: str) -> list[str]:
    """The commands of a section."""
    section = TEXT.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    return re.findall(r"^(?:scsiemu|qemu).*$", section, re.MULTILINE)


def test_ways_in_loopback() -> None:
    """The example runs as it stands."""
    (block,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)

    exec(compile(block, str(DOCUMENT), "exec"), {})


def test_ways_in_nodes(require_tool: Callable[[str], str]) -> None:
    """Both lines, with what they must say."""
    require_tool("sg_inq")
    require_tool("lsscsi")
    one, two = (shlex.split(line) for line in lines("Device nodes"))
    told = []
    for words in (one, two):
        at = words.index("--")
        assert words[:2] == ["scsiemu", "exec"]
        done = run_exec(*words[at + 1 :], units=tuple(words[2:at]), program=program())
        assert done.returncode == 0, done.stderr
        told.append((done.stdout + done.stderr).decode())

    assert "Product identification: VIRTUAL DISK" in told[0]
    assert re.search(r"disk +SCSIEMU .*/dev/sg1", told[1])
    assert "Device size: 1073741824 bytes" in told[1]
    assert "8+0 records out" in told[1]


@pytest.mark.slow
def test_ways_in_vhost(require_tool: Callable[[str], str], tmp_path: Path) -> None:
    """A guest boots from the disk of the first line by the second."""
    tool = require_tool("qemu-system-x86_64")
    (tmp_path / "boot.img").write_bytes(BOOT_SECTOR + MAGIC.ljust(512, b"\0") + bytes(1 << 20))
    served, machine = (shlex.split(line.replace("/tmp/scsiemu-", f"{tmp_path}/")) for line in lines("vhost"))
    with serve(*served[2:]):
        boot([tool, *machine[1:]], tmp_path)


def test_ways_in_at_once(require_tool: Callable[[str], str], tmp_path: Path) -> None:
    """All ways at once: each socket is there, and HTTP and iSCSI show the same unit."""
    require_tool("curl")
    require_tool("iscsi-inq")
    (line,) = lines("Two at once")
    with serve(*shlex.split(line.replace("/tmp/scsiemu-", f"{tmp_path}/"))[2:]) as served:
        assert {path.name for path in tmp_path.iterdir()} == {"vhost", "vscsi", "http"}
        network = subprocess.run(["iscsi-inq", "-e", "1", "-c", "128", served.urls[0]], capture_output=True, text=True)
        local = subprocess.run(
            ["curl", "--silent", "--unix-socket", str(tmp_path / "http"), "http://localhost/targets/0/units/0"],
            capture_output=True, text=True,
        )

    serial = re.search(r'"serial": "([^"]+)"', local.stdout)
    assert serial is not None, local.stdout
    assert serial[1] in network.stdout

"""curl, an HTTP client of others, runs the commands of docs/http.md."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from checked_by import program
from served import serve

DOCUMENT = Path(__file__).parents[2] / "docs" / "http.md"
BLOCKS = re.findall(r"```sh\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)

pytestmark = pytest.mark.oracle


def run(script: str) -> str:
    """What it says; it must end well."""
    ended = subprocess.run(["bash", "-euo", "pipefail", "-c", script], capture_output=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stderr.decode()
    return ended.stdout.decode()


def test_curl_document(require_tool: Callable[[str], str], tmp_path: Path) -> None:
    """The document's commands over the Unix socket, one after the other, with what they must say."""
    require_tool("curl")
    server, client, *_ = (block.replace("/tmp/scsiemu-", f"{tmp_path}/") for block in BLOCKS)
    with serve(*shlex.split(server)[2:]):
        lines = client.replace("curl ", "curl --fail-with-body --silent --show-error ").splitlines()
        told = [run(line) for line in lines]
    targets, inquiry, beyond, _, written, compared, function, reserved, deleted, operations, metrics = told

    assert json.loads(targets)["targets"][0]["units"][0]["identity"]["vendor"] == "SCSIEMU"
    assert json.loads(inquiry)["data_in"]["decoded"]["title"] == "standard INQUIRY data"
    assert "UNIT ATTENTION: POWER ON" in json.loads(beyond)["sense"]["title"]
    assert json.loads(written)["status_name"] == "GOOD"
    assert compared == ""                   # cmp says nothing of what is the same
    assert json.loads(function)["response"] == "FUNCTION COMPLETE"
    assert "UNIT ATTENTION" in json.loads(reserved)["sense"]["title"]
    assert deleted == ""
    assert "READ(16)" in [row["name"] for row in json.loads(operations)["operations"]]
    assert metrics.endswith("# EOF\n")


def test_curl_document_units(require_tool: Callable[[str], str], tmp_path: Path) -> None:
    """The document's commands that change units: two are added, the second grows with its file and goes."""
    require_tool("curl")
    server, client = (BLOCKS[number].replace("/tmp/scsiemu-", f"{tmp_path}/") for number in (0, 3))
    with serve(*shlex.split(server)[2:]):
        lines = client.replace("curl ", "curl --fail-with-body --silent --show-error ").splitlines()
        added, second, grown, removed = (run(line) for line in lines)

    assert [json.loads(told)["lun"] for told in (added, second, grown)] == ["5", "1", "1"]
    assert removed == ""
    assert (tmp_path / "image").stat().st_size == 2 << 30


def test_curl_document_media(require_tool: Callable[[str], str], tmp_path: Path) -> None:
    """The document's commands that change media: discs by name, a cartridge that goes out and in, one of a library."""
    require_tool("curl")
    (tmp_path / "discs").mkdir()
    for name in ("a.iso", "b.iso"):
        (tmp_path / "discs" / name).write_bytes(bytes(1 << 20))
    server, *lines = BLOCKS[4].replace("/tmp/scsiemu-", f"{tmp_path}/").splitlines()
    with serve(*shlex.split(server)[2:]):
        told = [run(line.replace("curl ", "curl --fail-with-body --silent --show-error ")) for line in lines]
    media = [json.loads(text) for text in told[:6]]
    created, imported, ports, exported = told[7:]

    empty = "MEDIUM NOT PRESENT"
    assert media == [
        {"name": "a.iso", "ready": True, "not_ready": None},
        {"name": None, "ready": False, "not_ready": f"{empty} - TRAY OPEN"},
        {"name": "b.iso", "ready": True, "not_ready": None},
        {"name": "b.iso", "ready": True, "not_ready": None},
        {"name": "cartridge", "ready": False, "not_ready": empty},
        {"name": "cartridge", "ready": True, "not_ready": None},
    ]
    assert json.loads(told[6])["lun"] == "1"
    assert json.loads(ports) == {"ports": [{"element": 16, "name": "B00001L8"}]}
    assert created == imported == exported == ""


def test_curl_document_tcp(require_tool: Callable[[str], str], tmp_path: Path) -> None:
    """The document's commands over TCP: with the token of a file, and 401 without it."""
    require_tool("curl")
    token = tmp_path / "token"
    token.write_text("not-a-secret-not-a-secret\n")
    token.chmod(0o600)
    server, client = BLOCKS[2].replace("/tmp/scsiemu-", f"{tmp_path}/").replace(":8080", ":0").splitlines()
    with serving(shlex.split(server)[2:]) as where:
        client = client.replace("127.0.0.1:0", where).replace("curl ", "curl --silent ")
        assert "targets" in json.loads(run(client))
        assert json.loads(run(client.replace("Bearer ", "Bearer x")))["status"] == 401


def test_curl_token_told(require_tool: Callable[[str], str]) -> None:
    """Without a file the token is in the environment, or a new one is told once, on stderr."""
    require_tool("curl")
    words = ["--disk", "1M", "--http", "127.0.0.1:0"]
    told: list[str] = []
    with serving(words, told=told) as where:
        token = told[0].removeprefix("scsiemu: http: the token is ").strip()
        assert len(token) > 40
        assert "targets" in run(f"curl --silent --fail -H 'Authorization: Bearer {token}' http://{where}/targets")
    with serving(words, SCSIEMU_HTTP_TOKEN="from-the-environment") as where:
        run(f"curl --silent --fail -H 'Authorization: Bearer from-the-environment' http://{where}/targets")


def test_curl_expects_and_pipelines(require_tool: Callable[[str], str], tmp_path: Path) -> None:
    """A megabyte of Data-Out (curl sends Expect: 100-continue) and several requests over one connection."""
    require_tool("curl")
    path, block = tmp_path / "http", tmp_path / "block"
    block.write_bytes(os.urandom(2 << 20))
    base = f"--unix-socket {path} --silent --show-error --fail-with-body"
    url = "http://localhost/targets/0/units/0/commands"
    with serve("--disk", "16M", "--http", str(path)):
        run(f"curl {base} -X POST '{url}?cdb=000000000000'")
        told = run(
            f"curl -v {base} -H 'Content-Type: application/octet-stream' -H 'Expect: 100-continue' --data-binary "
            f"@{block} '{url}?cdb=2a000000000000100000' 2>&1"
        )
        assert "HTTP/1.1 100" in told
        assert '"status_name": "GOOD"' in told
        run(
            f"curl {base} -X POST -H 'Accept: application/octet-stream' '{url}?cdb=28000000000000100000' "
            f"| cmp - {block}"
        )
        told = run(f"curl -v {base} http://localhost/ http://localhost/targets --head http://localhost/metrics 2>&1")
        assert told.count("Re-using existing connection") == 2


def test_metrics_by_prometheus(require_tool: Callable[[str], str], tmp_path: Path) -> None:
    """The parser of the Prometheus project takes our metrics for OpenMetrics."""
    require_tool("curl")
    path = tmp_path / "http"
    with serve("--disk", "1M", "--disk", "2M", "--http", str(path)):
        run(f"curl --silent --fail --unix-socket {path} -X POST 'http://localhost/targets/0/units/0/commands?cdb=120000006000'")
        text = run(f"curl --silent --fail --unix-socket {path} http://localhost/metrics")
    parser = (
        "import sys\nfrom prometheus_client.openmetrics.parser import text_string_to_metric_families as parse\n"
        "for family in parse(sys.stdin.read()): print(family.name, family.type, len(family.samples))"
    )
    # Debian's own interpreter: the package python3-prometheus-client is not one of ours.
    ended = subprocess.run(["/usr/bin/python3", "-c", parser], input=text, capture_output=True, text=True, check=False)
    if "No module named" in ended.stderr and os.environ.get("CI") != "true":
        pytest.skip("python3-prometheus-client is not installed: it is the independent judge of this test")

    assert ended.returncode == 0, ended.stderr
    assert "scsiemu_commands counter 3" in ended.stdout.splitlines()
    assert "scsiemu_http_held_bytes gauge 1" in ended.stdout.splitlines()


@contextlib.contextmanager
def serving(words: list[str], *, told: list[str] | None = None, **environment: str) -> Iterator[str]:
    """`scsiemu serve` with these options: where HTTP listens. `told` gets a line of stderr, which has no other."""
    command = [*program(), "serve", "--json", "--exit-with-parent", *words]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **environment}
    )
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        where: str = json.loads(process.stdout.readline())["services"]["http"][0]
        if told is not None:
            told.append(process.stderr.readline())
        yield where
    finally:
        process.terminate()
        _, rest = process.communicate(timeout=30)
    assert (process.returncode, rest) == (0, "")

"""Several transports of the program at once: what one does to a unit, the initiators of another see."""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from scsiemu.app.arguments import add_target_arguments
from scsiemu.app.configuration import configure
from scsiemu.app.failure import Failure
from scsiemu.app.loop import ServingLoop
from scsiemu.app.main import main
from scsiemu.app.serving import Serving
from scsiemu.services import ConnectRequest
from transports.iscsi.service_client import connect_unit
from transports.vscsi.client import connect

RESERVE = bytes.fromhex("160000000000")
TEST_UNIT_READY = bytes(6)


def serving(words: list[str], work: Callable[[Serving], object]) -> None:
    """Run blocking work in a thread while this process serves."""


    parser = argparse.ArgumentParser()
    add_target_arguments(parser)
    reports: list[str] = []

    async def serve() -> None:
        async with Serving(configure(parser.parse_args(words)), log=reports.append) as serving:
            await asyncio.to_thread(work, serving)

    with asyncio.Runner(loop_factory=ServingLoop) as runner:
        runner.run(serve())
    assert reports == []


def test_services_beside_each_other(tmp_path: Path) -> None:
    """A reservation through one transport is a conflict for the other, and its end is seen."""
    path = str(tmp_path / "vscsi")

    def work(served: Serving) -> None:
        network = connect_unit(ConnectRequest(served.units[0].url))
        with connect(path, name="me", identity=7) as local:
            for _ in range(3):
                network.execute(TEST_UNIT_READY)
                local.execute(0, TEST_UNIT_READY)
            assert local.execute(0, RESERVE).status == 0
            assert network.execute(RESERVE).status == 0x18
        network.execute(TEST_UNIT_READY)
        assert network.execute(RESERVE).status == 0
        network.close()

    serving(["--disk", "1M", "--listen", "127.0.0.1:0", "--vscsi", path], work)
    assert not Path(path).exists()


def test_services_instead(tmp_path: Path) -> None:
    """Without --listen nothing listens on the network where another way in is asked for."""
    paths = [str(tmp_path / "first"), str(tmp_path / "second")]

    def work(served: Serving) -> None:
        assert list(served.listeners) == ["vscsi"]
        for path, blocks in zip(paths, (2048, 4096), strict=True):
            with connect(path) as client:
                client.execute(0, TEST_UNIT_READY)
                capacity = client.execute(0, b"\x25" + bytes(9), allocation=8)
                assert int.from_bytes(capacity.data[:4], "big") == blocks - 1

    serving(["--disk", "1M", "--target", "b", "--disk", "2M", "--vscsi", paths[0], "--vscsi", paths[1]], work)


def test_services_more_paths_than_targets(tmp_path: Path) -> None:
    """A path without a target is an error of the command line."""
    words = ["--disk", "1M", "--vscsi", str(tmp_path / "a"), "--vscsi", str(tmp_path / "b")]

    with pytest.raises(Failure, match="2 paths for 1 targets"):
        serving(words, lambda served: None)


def test_services_path_taken(tmp_path: Path) -> None:
    """A path that cannot be listened at is told with the option that chooses another; nothing else stays open."""
    words = ["--disk", "1M", "--listen", "127.0.0.1:0", "--vscsi", str(tmp_path / "no" / "such")]

    with pytest.raises(Failure, match="choose another --vscsi"):
        serving(words, lambda served: None)


def test_services_json(tmp_path: Path) -> None:
    """The JSON line of `serve` tells where each transport listens."""
    path = str(tmp_path / "vscsi")
    command = [
        sys.executable, "-m", "scsiemu.app", "serve", "--disk", "1M", "--vscsi", path, "--listen", "127.0.0.1:0",
        "--json", "--exit-with-parent",
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    told = json.loads(process.stdout.readline())
    process.terminate()

    assert process.wait(30) == 0
    process.stdout.close()
    assert told["services"] == {"iscsi": told["portals"], "vscsi": [path]}


def test_services_help(capsys: pytest.CaptureFixture[str]) -> None:
    """Help names the other ways in."""
    with pytest.raises(SystemExit):
        main(["serve", "--help"])

    assert "--vscsi WHERE" in capsys.readouterr().out

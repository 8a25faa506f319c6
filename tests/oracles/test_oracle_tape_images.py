"""Hercules' tools read and write images of tapes, AWSTAPE and HET: hetmap, hetget, hetupd, hetinit, tapemap."""

from __future__ import annotations

import random
import re
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.oracle

# The files of a tape. Hercules' blocks have up to 65535 bytes.
FILES = (
    (random.Random(1).randbytes(65535), bytes(65535), b"x" * 30000 + random.Random(2).randbytes(30000)),
    (b"one byte, and one", b"y"),
)


def simh_image() -> bytes:
    """The tape as an image of SIMH."""
    image = b""
    for blocks in FILES:
        for each in blocks:
            length = struct.pack("<I", len(each))
            image += length + each + bytes(len(each) % 2) + length
        image += bytes(4)
    return image + b"\xff" * 4            # end of medium


@pytest.fixture
def run(require_tool: Callable[..., str], tmp_path: Path) -> Callable[..., str]:
    """Run a command in a folder that has the tape as an image of SIMH; its output."""
    require_tool("hetmap", "hercules")
    (tmp_path / "tape.tap").write_bytes(simh_image())

    def command(*words: str) -> str:
        done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, (words, done.stdout, done.stderr)
        return done.stdout

    return command


def convert(run: Callable[..., str], source: str, made: str) -> None:
    """Have ours convert an image."""
    run(sys.executable, "-m", "scsiemu.app.main", "media", "convert", source, made, "--quiet")


@pytest.mark.parametrize("suffix", ["aws", "het"])
def test_hercules_reads_images(run: Callable[..., str], tmp_path: Path, suffix: str) -> None:
    """hetmap tells lengths before and after compression, tapemap those of AWSTAPE, hetget each file."""
    convert(run, "tape.tap", f"tape.{suffix}")
    told = run("hetmap", "-f", f"tape.{suffix}").partition("Summary")
    sizes = [sum(map(len, blocks)) for blocks in FILES]

    assert re.findall(r"^Blocks +: (\d+)$", told[0], re.MULTILINE) == ["3", "2"]
    assert re.findall(r"^Uncompressed bytes +: (\d+)$", told[0], re.MULTILINE) == [str(size) for size in sizes]
    reduction = re.search(r"^Reduction +: (\d+)$", told[2], re.MULTILINE)
    assert reduction is not None
    assert (int(reduction[1]) > 90000) == (suffix == "het")
    if suffix == "aws":
        assert "File 1: Blocks=3, block size min=60000, max=65535\n" in run("tapemap", "tape.aws")
    for number, blocks in enumerate(FILES, 1):
        run("hetget", "-n", f"tape.{suffix}", "got", str(number), "U", "0", "65535")
        assert (tmp_path / "got").read_bytes() == b"".join(blocks)


@pytest.mark.parametrize(
    ("options", "suffix"), [(("-z",), "het"), (("-d",), "aws"), (("-s",), "aws"), (("-c", "5000"), "het")],
    ids=["zlib", "uncompressed", "strict", "chunks"],
)
def test_hercules_writes_images(
    run: Callable[..., str], tmp_path: Path, options: tuple[str, ...], suffix: str
) -> None:
    """What hetupd makes of an image of ours is the same tape."""
    convert(run, "tape.tap", "ours.het")
    run("hetupd", *options, "ours.het", f"theirs.{suffix}")
    convert(run, f"theirs.{suffix}", "back.tap")

    assert (tmp_path / "back.tap").read_bytes() == simh_image()


@pytest.mark.parametrize("options", [(), ("-d",)], ids=["compressed", "uncompressed"])
def test_hercules_makes_labelled_tapes(run: Callable[..., str], tmp_path: Path, options: tuple[str, ...]) -> None:
    """The labels of hetinit: VOL1 and HDR1 in EBCDIC."""
    run("hetinit", *options, "new.het", "VOL001")
    convert(run, "new.het", "new.tap")
    image = (tmp_path / "new.tap").read_bytes()

    assert image[:4] == struct.pack("<I", 80)
    assert image[4:14].decode("cp500") == "VOL1VOL001"
    assert image[92:96].decode("cp500") == "HDR1"

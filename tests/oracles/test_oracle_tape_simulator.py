"""A PDP-11 of SIMH copies images of tapes, ours and its own; mtdump lists ours."""

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

_RANDOM = random.Random(6)
# The files of a tape: records of every small length, and the longest that the program below copies.
FILES = (
    tuple(_RANDOM.randbytes(length) for length in range(1, 40)),
    (b"alone",),
    (_RANDOM.randbytes(0o77777), bytes(0o100000), _RANDOM.randbytes(512)),
)

_START, _BUFFER, _ROOM = 0o1000, 0o10000, 0o100000
# The registers of a TM11: status, command, count (negative), memory address.
_STATUS, _COMMAND, _COUNT, _ADDRESS = 0o172520, 0o172522, 0o172524, 0o172526
_END_OF_FILE = 0o040000
_READ_0, _WRITE_1, _MARK_1 = 0o060003, 0o060405, 0o060407       # with the unit in its bits


def image(*, padded: bool = True) -> bytes:
    """The tape as an image of SIMH, or of E11, which has no padding; two filemarks at its end."""
    made = b""
    for records in FILES:
        for each in records:
            length = struct.pack("<I", len(each))
            made += length + each + bytes(len(each) % 2 * padded) + length
        made += bytes(4)
    return made + bytes(4)


def program() -> list[int]:
    """Words of PDP-11 code that copies unit 0 to unit 1 up to two filemarks, and halts with 2 in R2."""

    def put(number: int, register: int) -> list[int]:
        return [0o012737, number, register]                     # MOV #number,@#register

    def do(command: int) -> list[int]:
        # TSTB @#command; BPL: until the control unit is ready
        return [*put(command, _COMMAND), 0o105737, _COMMAND, 0o100375]

    check = [0o005737, _COMMAND, 0o100001, 0]                   # TST @#command; BPL over a HALT
    again = [0o000137, _START]                                  # JMP @#start
    copy = [
        *check,
        0o013701, _COUNT, 0o062701, _ROOM, 0o005401,            # R1: the length that was read
        0o010137, _COUNT, *put(_BUFFER, _ADDRESS), *do(_WRITE_1), *check,
        0o005002, *again,                                       # CLR R2
    ]
    mark = [*do(_MARK_1), 0o005202, 0o020227, 2, 0o001402, *again, 0]       # INC R2; CMP R2,#2; BEQ to a HALT
    read = [*put(0x10000 - _ROOM, _COUNT), *put(_BUFFER, _ADDRESS), *do(_READ_0)]
    return [*read, 0o032737, _END_OF_FILE, _STATUS, 0o001000 | len(copy), *copy, *mark]   # BIT; BNE to the mark


@pytest.fixture
def convert(tmp_path: Path) -> Callable[[str, str], bytes]:
    """Have ours convert an image; what it made."""

    def make(source: str, made: str) -> bytes:
        words = (sys.executable, "-m", "scsiemu.app.main", "media", "convert", source, made, "--quiet")
        subprocess.run(words, cwd=tmp_path, check=True, timeout=60)
        return (tmp_path / made).read_bytes()

    return make


@pytest.fixture
def simulate(require_tool: Callable[..., str], tmp_path: Path) -> Callable[[str, str, str], None]:
    """Have the PDP-11 copy an image to one of a format of its own."""
    pdp11 = require_tool("pdp11", "simh")

    def copy(source: str, made: str, form: str) -> None:
        script = [f"set tm1 format={form}", f"attach tm0 {source}", f"attach tm1 {made}", "deposit r2 0"]
        script += [f"deposit {_START + 2 * at:o} {word:o}" for at, word in enumerate(program())]
        script += [f"go {_START:o}", "examine r2", "detach all", "quit"]
        (tmp_path / "copy.ini").write_text("\n".join([*script, ""]))
        done = subprocess.run(
            (pdp11, "copy.ini"), cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60
        )
        assert "R2:\t000002" in done.stdout, (done.stdout, done.stderr)

    return copy


@pytest.mark.parametrize("form", ["simh", "e11"])
def test_pdp11_copies_images(
    convert: Callable[[str, str], bytes], simulate: Callable[[str, str, str], None], tmp_path: Path, form: str
) -> None:
    """An image of ours is the same tape to the PDP-11; what it writes, with whatever it pads, is the same to us."""
    (tmp_path / "first.tap").write_bytes(image())
    convert("first.tap", "tape.aws")
    convert("tape.aws", "ours.tap")
    simulate("ours.tap", "theirs.tap", form)
    convert("theirs.tap", "back.aws")

    assert (tmp_path / "theirs.tap").stat().st_size == len(image(padded=form == "simh"))
    assert convert("back.aws", "back.tap") == image() + b"\xff" * 4            # end of medium


def test_mtdump_lists_images(
    convert: Callable[[str, str], bytes], require_tool: Callable[..., str], tmp_path: Path
) -> None:
    """Each record of each file with its length, and the end."""
    mtdump = require_tool("mtdump", "simh")
    (tmp_path / "first.tap").write_bytes(image())
    convert("first.tap", "tape.aws")
    convert("tape.aws", "ours.tap")
    told = subprocess.run((mtdump, "ours.tap"), cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60)

    lengths = [len(record) for records in FILES for record in records]
    assert [int(length) for length in re.findall(r"length = (\d+) ", told.stdout)] == lengths
    assert re.findall(r"end of (?:tape file \d|logical tape)", told.stdout) == [
        "end of tape file 1", "end of tape file 2", "end of tape file 3", "end of logical tape",
    ]

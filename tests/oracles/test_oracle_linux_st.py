"""Linux's st in QEMU, and the driver of our tape nodes: the same programs on the same drive, step by step the same."""

from __future__ import annotations

import random
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest
from checked_by import program
from linux_guest import boot, packages
from served import serve
from test_oracle_linux_guest import MACHINE, QEMU

sys.path.insert(0, str(Path(__file__).parents[1] / "devnode"))

from devnode_world import needs_nodes  # the harness of the nodes' tests

pytestmark = [pytest.mark.oracle, pytest.mark.slow, pytest.mark.timeout(400)]

_TAPE: Final = "--tape", "512K,early-warning=100K"
_STEPS: Final = 260
_TOOLS: Final = ["mt", "dd", "cksum", "head", "sh"]

# What each step does, in a shell of both sides: `s` says where the driver thinks that the tape is.
FUNCTIONS: Final = r"""
s() { mt -f $TAPE status 2>&1 | sed -n -e 's/, partition.*//p' -e '/ONLINE/p' -e '/OPEN/p' -e '/block size/p'; }
m() { mt -f $TAPE "$@" 2>&1; echo "mt $?"; }
r() { dd if=$TAPE bs=$1 count=$2 2>&1 >/tmp/read | sed /copied/d; cksum </tmp/read; }
w() { head -c $(($1 * $2)) /tmp/pattern | dd of=$TAPE bs=$1 iflag=fullblock 2>&1 | sed /copied/d; }
"""

# Where the two once differed, and what is near to that.
FOUND: Final = """
m rewind | w 512 3 | m rewind | m fsf 1 | r 512 1 | r 512 1 | m bsfm 1 | r 512 1 | m rewind | m fsfm 1 | m fsf 1
r 512 1 | m bsf 1 | m bsr 9 | m seek 2 | m bsr 9 | m seek 2 | m bsr 1 | m seek 2 | m fsr 1 | m seek 2 | m fsr 9
m eod | m weof 0 | r 512 1 | m rewind | m fsf 1 | m setblk 512 | r 512 2 | m setblk 0 | m offline; m load
m rewind | m fsf 1 | m erase | r 512 1 | m bsf 1 | r 512 9 | m stsetoptions sysv | m rewind | r 512 1 | m fsf 1
r 512 1 | m rewind | m fsf 1 | w 512 2 | m rewind | r 512 1 | r 512 1 | r 512 1 | r 512 1 | r 512 1 | r 512 1
m stclearoptions can-bsr | m rewind | r 512 1 | r 512 1 | r 512 9 | m stclearoptions sysv | m rewind | r 512 9
r 512 9 | m bsf 2 | m stsetoptions two-fms | m eod | w 512 2 | m bsf 2 | r 512 3 | m eod | m bsfm 2 | m asf 1
m asf 9 | m retension | m seod | m fsf 3 | m wset 1 | m weof 3 | m bsf 9 | m fsr 3
"""


def steps(seed: int) -> Iterator[str]:
    """Reads, writes and operations of mt, drawn so that the tape has something on it most of the time; 0: `FOUND`."""
    chance = random.Random(seed)
    if not seed:
        yield from re.split(r"\n| \| ", FOUND.strip())
        return
    for number in range(_STEPS):
        kind, count = chance.randrange(20), chance.choice((1, 1, 1, 2, 3, 5))
        if number % 40 == 0:
            yield "m rewind"
            yield f"w {chance.choice((512, 1024, 3072))} {chance.randrange(2, 8)}"
        elif kind < 5:
            size = chance.choice((512, 1024, 1536, 5120, 10240))
            yield f"w {size} {count}"
        elif kind < 10:
            yield f"r {chance.choice((512, 1024, 1536, 5120, 10240, 100))} {count}"
        elif kind < 15:
            words = chance.choice(("fsf", "bsf", "fsr", "bsr", "fsfm", "bsfm", "bsf", "bsr"))
            yield f"m {words} {count}"
        elif kind == 15:
            yield chance.choice(("m rewind", "m eod", "m seod", "m retension", "m asf 1", "m rewind"))
        elif kind == 16:
            yield chance.choice((f"m weof {count}", "m weof 0", "m tell", f"m seek {chance.randrange(20)}", "m erase"))
        elif kind == 17:
            yield f"m setblk {chance.choice((0, 0, 512, 1024))}"
        elif kind == 18:
            option = chance.choice(("sili", "fast-eod", "two-fms", "sysv", "no-wait", "scsi2logical"))
            yield f"m {chance.choice(('stsetoptions', 'stclearoptions'))} {option}"
        else:
            yield chance.choice((
                "m offline; m load", "m lock; m unlock", "m nop", "w 10240 20", "TAPE=/dev/st0", "TAPE=/dev/nst0",
            ))


def script(seed: int, show: Callable[[int, str], str]) -> str:
    """The shell script of all steps."""
    return FUNCTIONS + "TAPE=/dev/nst0\n" + "\n".join(show(number, words) for number, words in enumerate(steps(seed)))


@pytest.mark.parametrize("seed", [0, 4, 5])
def test_linux_st_agrees(require_tool: Callable[[str], str], tmp_path: Path, seed: int) -> None:
    """After each of some hundred steps programs have got, and st says, what they get and it says under Linux."""
    for tool in (QEMU, *_TOOLS):
        require_tool(tool)
    needs_nodes()
    packages()
    pattern = random.Random(seed).randbytes(1 << 18)
    (tmp_path / "pattern").write_bytes(pattern)
    ours = script(seed, lambda number, words: f"echo '--- {number} {words}'; {words}; s").replace("/tmp/", "./")
    done = subprocess.run(
        [*program(), "exec", *_TAPE, "--", "sh", "-c", "exec 2>&1; export LC_ALL=C\n" + ours],
        capture_output=True, text=True, check=True, timeout=120, cwd=tmp_path,
    )
    path = tmp_path / "linux-vhost"
    theirs = script(seed, lambda number, words: f"echo '--- {number} {words}'; {words}; s")
    with serve("--vhost", str(path), *_TAPE):
        guest = boot(
            [*MACHINE, "-chardev", f"socket,id=scsi,path={path}", "-device", "vhost-user-scsi-pci,chardev=scsi"],
            "scan_hosts\nstep all /host/sh /all.sh\n", tmp_path,
            modules={"scsi_mod": "scan=manual", "st": "", "virtio_pci": "", "virtio_scsi": ""}, programs=_TOOLS,
            files={"all.sh": theirs.encode(), "tmp/pattern": pattern},
        )

    assert _split(done.stdout) == _split(guest["all"].text)


def _split(text: str) -> list[list[str]]:
    """What each step printed."""
    return [part.splitlines() for part in text.split("--- ")[1:]]

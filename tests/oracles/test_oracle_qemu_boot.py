"""SeaBIOS in QEMU, which has a virtio-scsi driver of its own, boots from our unit. No guest system is needed."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from served import serve

DOCUMENT = Path(__file__).parents[2] / "docs" / "vhost.md"
MAGIC = b"scsiemu: read by INT 13h from the second sector"
EXIT_CODE = 0x10 << 1 | 1               # of isa-debug-exit

# Reads the second sector by INT 13h, writes it to the debug port until a zero, and ends the machine.
BOOT_SECTOR = bytes.fromhex(
    "31c0 8ed8 8ec0"            # xor ax,ax; mov ds,ax; mov es,ax
    "b600 b80102 b90200"        # mov dh,0; mov ax,0201h; mov cx,2
    "bb007e cd13"               # mov bx,7E00h; int 13h
    "be007e fc"                 # mov si,7E00h; cld
    "ac 84c0 7404 e6e9 ebf7"    # lodsb; test al,al; jz +4; out E9h,al; jmp -9
    "ba0105 b010 ee f4 ebfd"    # mov dx,501h; mov al,10h; out dx,al; hlt; jmp -3
).ljust(510, b"\0") + b"\x55\xaa"


@pytest.mark.oracle
@pytest.mark.slow
def test_qemu_boots(require_tool: Callable[[str], str], tmp_path: Path) -> None:
    """The BIOS finds the disk, reads its first sector and runs it; that one reads another. By the document's lines."""
    program = require_tool("qemu-system-x86_64")
    image = tmp_path / "boot.img"
    image.write_bytes(BOOT_SECTOR + MAGIC.ljust(512, b"\0") + bytes(1 << 20))
    path = tmp_path / "vhost"
    served, machine = (
        shlex.split(line.replace("/tmp/scsiemu-vhost", str(path)).replace("boot.img", str(image)))
        for line in re.findall(r"```sh\n(.*)\n(.*)\n```", DOCUMENT.read_text(encoding="utf-8"))[0]
    )
    assert (served[:2], machine[0]) == (["scsiemu", "serve"], "qemu-system-x86_64")
    with serve(*served[2:]):
        boot([program, *machine[1:]], tmp_path)


def boot(machine: list[str], folder: Path) -> None:
    """Run the machine; it must read the second sector."""
    output = folder / "debug"
    ended = subprocess.run(
        [
            *machine, "-accel", "tcg", "-nodefaults", "-display", "none", "-no-reboot", "-debugcon", f"file:{output}",
            "-device", "isa-debug-exit",
        ],
        capture_output=True, text=True, timeout=60, check=False,
    )

    assert (ended.returncode, output.read_bytes()) == (EXIT_CODE, MAGIC), ended.stderr

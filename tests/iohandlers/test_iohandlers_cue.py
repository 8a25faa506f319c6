"""A cue sheet with its files as a store: what is where, and that nothing outside its folder is reached."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest

from iohandlers._filters import ask
from iohandlers.cue import open_store
from scsiemu.errors import IoFailed
from scsiemu.io_requests import Flush, Read, Write
from scsiemu.media import CUE_MAGIC
from scsiemu.testing.io_handler_kit import check_read_only_io_handler


def wave(samples: bytes, rate: int = 44100) -> bytes:
    """A WAVE file with a chunk before its samples."""
    body = b"WAVE" + b"LIST" + struct.pack("<I", 3) + b"abc\0"
    body += b"fmt " + struct.pack("<IHHIIHH", 16, 1, 2, rate, rate * 4, 4, 16) + b"data"
    return b"RIFF" + struct.pack("<I", len(body) + 4 + len(samples)) + body + struct.pack("<I", len(samples)) + samples


def test_store_cue_layout(tmp_path: Path) -> None:
    """The sheet comes first, in its FILE lines the place of each file; the files follow, WAVE as samples alone."""
    (tmp_path / "one file.bin").write_bytes(b"1" * 5000)
    (tmp_path / "two.wav").write_bytes(wave(b"2" * 7000))
    (tmp_path / "disc.cue").write_text('FILE "one file.bin" BINARY\n TRACK 01 AUDIO\nfile two.wav Wave\nREM x\n')
    store = open_store(path=tmp_path / "disc.cue")
    size = store.capabilities.size
    data = bytes(ask(store, Read(0, size)))
    length = int.from_bytes(data[16:20], "big")
    lines = data[20 : 20 + length].decode().split("\n")

    assert data[:16] == CUE_MAGIC
    assert lines[1::2] == [" TRACK 01 AUDIO", "REM x"]
    (one, two) = (line.split() for line in lines[::2])
    assert (one[3], two[3]) == ("BINARY", "BINARY")
    assert data[int(one[1]) :][: int(one[2])] == b"1" * 5000
    assert data[int(two[1]) :] == b"2" * 7000
    assert bytes(ask(store, Read(int(two[1]) - 3, 6))) == b"111222"
    assert ask(store, Flush()) is None
    with pytest.raises(IoFailed):
        ask(store, Write(0, 1, b"x"))
    store.close()


def test_check_read_only_io_handler(tmp_path: Path) -> None:
    """The conformance kit, over a sheet and three files: one of them WAVE, one of them empty."""
    pattern = bytes(index * 7 % 251 for index in range(40_000))
    (tmp_path / "one.bin").write_bytes(pattern)
    (tmp_path / "none.bin").write_bytes(b"")
    (tmp_path / "two.wav").write_bytes(wave(pattern[::-1]))
    (tmp_path / "disc.cue").write_text('FILE one.bin BINARY\nFILE none.bin BINARY\nREM two\nFILE two.wav WAVE\n')
    first = 20 + len("\n".join((f"FILE {0:020} {0:020} BINARY", f"FILE {0:020} {0:020} BINARY", "REM two",
                                f"FILE {0:020} {0:020} BINARY")))
    places = ((first, 40_000), (first + 40_000, 0), (first + 40_000, 40_000))
    lines = [f"FILE {at:020} {length:020} BINARY" for at, length in places]
    sheet = "\n".join((*lines[:2], "REM two", lines[2])).encode()
    content = CUE_MAGIC + len(sheet).to_bytes(4, "big") + sheet + pattern + pattern[::-1]

    check_read_only_io_handler(lambda: open_store(path=tmp_path / "disc.cue"), content)


@pytest.mark.parametrize("name", [
    "../outside.bin", "/etc/passwd", "below/inside.bin", "..", ".", "", "..\\outside.bin", "link.bin", "below", "pipe",
    "absent.bin",
])
def test_store_cue_names_files_of_its_folder_alone(tmp_path: Path, name: str) -> None:
    """Paths, links, folders and pipes are refused, in one sentence that names the sheet."""
    folder = tmp_path / "folder"
    (folder / "below").mkdir(parents=True)
    (tmp_path / "outside.bin").write_bytes(bytes(2352))
    (folder / "below" / "inside.bin").write_bytes(bytes(2352))
    (folder / "link.bin").symlink_to(tmp_path / "outside.bin")
    os.mkfifo(folder / "pipe")
    for line in (f'FILE "{name}" BINARY', f'CDTEXTFILE "{name}"'):
        (folder / "disc.cue").write_text(f"{line}\n  TRACK 01 AUDIO\n    INDEX 01 00:00:00\n")

        with pytest.raises((ValueError, OSError), match=r"disc\.cue"):
            open_store(path=folder / "disc.cue")


@pytest.mark.parametrize("content", [
    b"", b"RIFF", wave(b"", 48000), wave(b"")[:-8], b"RIFF\0\0\0\0WAVE" + b"\xff" * 64,
])
def test_store_cue_wave_that_is_none(tmp_path: Path, content: bytes) -> None:
    """A WAVE file that has not the samples of a CD is refused."""
    (tmp_path / "a.wav").write_bytes(content)
    (tmp_path / "disc.cue").write_text('FILE "a.wav" WAVE\n')

    with pytest.raises(ValueError, match=r"a\.wav"):
        open_store(path=tmp_path / "disc.cue")


def test_store_cue_bounds(tmp_path: Path) -> None:
    """A sheet that is too long, and one that names too many files, is refused; so are unknown options."""
    sheet = tmp_path / "disc.cue"
    (tmp_path / "a").write_bytes(b"a")
    sheet.write_bytes(b" " * (1 << 20))
    with pytest.raises(ValueError, match="too long"):
        open_store(path=sheet)
    sheet.write_text("FILE a BINARY\n" * 201)
    with pytest.raises(ValueError, match="one too many"):
        open_store(path=sheet)
    with pytest.raises(ValueError, match="speed"):
        open_store(path=sheet, speed=1)

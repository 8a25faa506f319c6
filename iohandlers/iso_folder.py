"""A read-only byte store that is a folder as an ISO 9660 image, with Joliet and Rock Ridge names (`pycdlib`).

The image is made when the store is opened, in a file without a name. Regular files and folders are taken, links and
others are left out.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any, Final

from iohandlers._checks import bad_option, refuse_unknown
from iohandlers._file_store import FileStore

__all__ = ["open_store"]

_OPTIONS: Final = ("path", "label", "workers")
_NAME: Final = 8        # characters of a plain ISO 9660 name


def open_store(
    *, path: str | os.PathLike[str] | None = None, label: str = "", workers: int = 2, **unknown: object
) -> FileStore:
    """Make the image of a folder; ValueError or OSError say in one sentence why not.

    Args:
        path: of the folder.
        label: volume identifier; else the name of the folder.
        workers: how many threads at most wait for the device.
    """
    refuse_unknown("iso_folder", unknown, _OPTIONS)
    if path is None or not os.fspath(path):
        raise bad_option("iso_folder", "path", "is missing")
    folder = Path(path)
    if not folder.is_dir():
        raise NotADirectoryError(f"iso_folder store: {folder} is not a folder")
    try:
        import pycdlib
    except ImportError:
        raise ValueError("a folder becomes a disc by the package pycdlib: pip install 'scsiemu[iso]'") from None
    image: Any = pycdlib.PyCdlib()
    name = (label or folder.resolve().name)[:32]
    image.new(interchange_level=3, joliet=3, rock_ridge="1.09", vol_ident=name.upper().encode("ascii", "replace")
              .decode().translate(_Plain()))
    try:
        _add(image, folder, "", "")
        with tempfile.TemporaryFile() as file:
            image.write_fp(file)
            file.flush()
            descriptor = os.dup(file.fileno())
    except pycdlib.pycdlibexception.PyCdlibException as error:
        raise ValueError(f"iso_folder store: {folder} cannot become an image: {error}") from None
    finally:
        image.close()
    length = os.lseek(descriptor, 0, os.SEEK_END)
    return FileStore(descriptor, str(folder), size=length, backed=length, read_only=True, workers=workers)


class _Plain(dict[int, str]):
    """Translates what an ISO 9660 name cannot have (ECMA-119 7.4.1)."""

    def __missing__(self, code: int) -> str:
        letter = chr(code)
        return letter if letter.isascii() and (letter.isupper() or letter.isdigit()) else "_"


def _add(image: Any, folder: Path, plain: str, joliet: str) -> None:
    """The entries of a folder: plain names are made unique by a number."""
    for number, entry in enumerate(sorted(folder.iterdir())):
        if entry.is_symlink() or not (entry.is_dir() or entry.is_file()):
            continue
        stem = entry.stem.upper().translate(_Plain())[: _NAME - 4] + f"{number:04d}"
        long = f"{joliet}/{entry.name}"
        if entry.is_dir():
            image.add_directory(f"{plain}/{stem}", joliet_path=long, rr_name=entry.name)
            _add(image, entry, f"{plain}/{stem}", long)
        else:
            suffix = entry.suffix[1:4].upper().translate(_Plain())
            image.add_file(str(entry), f"{plain}/{stem}.{suffix};1", joliet_path=long, rr_name=entry.name)

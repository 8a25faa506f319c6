"""Media in files for `scsiemu media`: which format a file is of, its store, its pieces, and how far one has come."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Any, Final, TypeVar

from scsiemu import registry
from scsiemu.app.failure import ExitCode, Failure
from scsiemu.app.steps import run_steps
from scsiemu.app.terminal import escape
from scsiemu.app.units import open_stores
from scsiemu.errors import IoFailed
from scsiemu.io_requests import IoRequest, Store
from scsiemu.media_formats import Damage, MediaFormat, MediaReader, Piece
from scsiemu.unit_options import StoreSpec, UnitArgument, UnitDeclaration, UnitOption, parse_unit

__all__ = [
    "OpenMedium", "Progress", "Tally", "asking", "find_format", "folder_format", "formats", "new_format",
    "parse_format", "reading", "unused_name",
]

T = TypeVar("T")

_HEAD: Final = 1 << 17              # bytes that a format is recognised by
_FOLDER: Final = "iso_folder"       # the store that makes a folder a disc image
_FOLDER_FORMAT: Final = "iso"
_BAR: Final = 30
_REDRAW: Final = 0.1                # seconds


def formats() -> dict[str, MediaFormat]:
    """All formats by name. Raises Failure for one that cannot be loaded."""
    try:
        return {name: registry.load(registry.MEDIA, name) for name in registry.names(registry.MEDIA)}
    except registry.PluginError as error:
        raise Failure(str(error)) from None


def parse_format(text: str, more: list[str], *, subject: str, reads: bool) -> tuple[str, MediaFormat, UnitArgument]:
    """`NAME[,option...]` and more options: the format and its argument. Raises Failure.

    Args:
        subject: name of the medium, which the argument gets.
        reads: the options are those of reading.
    """
    name = text.partition(",")[0]
    known = formats()
    if name not in known:
        raise Failure(f"there is no format {name!r}; there are {', '.join(known)}", ExitCode.USAGE)
    found = known[name]
    options: tuple[UnitOption, ...] = found.read_options if reads else found.options
    try:
        parsed = parse_unit(",".join([text, *more]), UnitDeclaration("FORMAT", "", options, lambda argument: ()))
    except ValueError as error:
        raise Failure(f"{name}: {error}", ExitCode.USAGE) from None
    return name, found, UnitArgument(subject, parsed.options)


def find_format(path: Path) -> str:
    """The name of the format that a file or folder is of, by its contents, then by its suffix. Raises Failure."""
    known = formats()
    try:
        if path.is_dir():
            return folder_format(path) or _FOLDER_FORMAT
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except OSError as error:
        raise Failure(f"{path} cannot be read: {error.strerror}") from None
    for name, each in known.items():
        if each.recognise(head, size):
            return name
    for name, each in known.items():
        if path.suffix.lower() in each.suffixes:
            return name
    raise Failure(f"{path} is of no format that can be recognised; say which: {', '.join(known)}")


def folder_format(path: Path) -> str | None:
    """The name of the format whose image a folder is; None for a folder of other things. Raises OSError."""
    there = {each.name for each in path.iterdir()}
    return next((name for name, each in formats().items() if each.files and there.issuperset(each.files)), None)


def new_format(path: Path) -> str:
    """The name of the format that a new file is to be of, by its suffix: else a cartridge. Raises Failure."""
    for name, each in formats().items():
        if path.suffix.lower() in each.suffixes and each.write is not None:
            return name
    return "tape"


class Tally:
    """What a medium was made of."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.bytes = 0
        self.damages: list[str] = []

    def add(self, piece: Piece) -> None:
        """Count a piece."""
        self.counts[piece.counted] += 1
        self.bytes += piece.size
        if isinstance(piece, Damage):
            self.damages.append(piece.text)

    @property
    def facts(self) -> dict[str, Any]:
        """As JSON values."""
        return {**self.counts, "bytes": self.bytes}


class OpenMedium:
    """A medium that is read."""

    def __init__(self, path: Path, name: str, store: Store, reader: MediaReader) -> None:
        self.path = path
        self.format = name
        self.store = store
        self.reader = reader

    def pieces(self, progress: Progress) -> Iterator[Piece]:
        """All pieces. Raises Failure where nothing more can be read."""
        while (piece := _doing(self.path, lambda: run_steps(self.store, self.reader.next()))) is not None:
            progress.show(self.reader.done, self.reader.total)
            yield piece
        progress.end()


@contextmanager
def reading(path: Path, text: str, more: list[str]) -> Iterator[OpenMedium]:
    """A medium, opened to be read; its format is found where `text` names none. Raises Failure."""
    name, found, argument = parse_format(text or find_format(path), more, subject=path.name, reads=True)
    if found.read is None:
        raise Failure(f"{path}: media of the format {name} can only be written", ExitCode.USAGE)
    store = open_stores(_store_of(path, found))
    read = found.read
    try:
        reader = _doing(path, lambda: run_steps(store, read(store.capabilities, argument)))
        yield OpenMedium(path, name, store, reader)
    finally:
        store.close()


def _store_of(path: Path, found: MediaFormat) -> StoreSpec:
    if not path.exists():
        raise Failure(f"{path} is not there")
    if found.files:
        return StoreSpec("folder", {"path": str(path)})
    if path.is_dir():
        return StoreSpec(_FOLDER, {"path": str(path)})
    if not path.stat().st_size:
        raise Failure(f"{path} is empty")
    return StoreSpec("file", {"path": str(path), "read_only": True})


def _doing(path: Path, act: Callable[[], T]) -> T:
    """What is wrong with a medium is one sentence that begins with its name."""
    try:
        return act()
    except IoFailed as failure:
        raise Failure(f"{path}: {failure}", ExitCode.DAMAGED) from None


def asking(path: Path, store: Store, steps: Generator[IoRequest[Any], Any, T]) -> T:
    """What a generator asks of the store of a medium that is made. Raises Failure."""
    try:
        return run_steps(store, steps)
    except IoFailed as failure:
        raise Failure(f"{path}: {failure}") from None
    except ValueError as error:
        raise Failure(f"{path}: {error}", ExitCode.USAGE) from None


class Progress:
    """A bar on stderr, where that is a terminal.

    Args:
        title: before it.
        wanted: False for none.
    """

    def __init__(self, title: str, *, wanted: bool) -> None:
        self._title = escape(title)
        self._wanted = wanted and sys.stderr.isatty()
        self._last = 0.0
        self._shown = False
        self._begun = monotonic()

    def show(self, done: int, total: int) -> None:
        """So much of the total is done."""
        now = monotonic()
        if not self._wanted or now - self._last < _REDRAW:
            return
        self._last = now
        self._shown = True
        part = min(done / total, 1.0) if total else 1.0
        filled = int(part * _BAR)
        rate = done / max(now - self._begun, 0.001) / (1 << 20)
        sys.stderr.write(
            f"\r{self._title} [{'#' * filled}{'.' * (_BAR - filled)}] {part:4.0%} {rate:.0f} MiB/s\x1b[K"
        )
        sys.stderr.flush()

    def end(self) -> None:
        """Take it away."""
        if self._shown:
            self._shown = False
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()


def unused_name(path: Path) -> Path:
    """Where a medium is made before it gets its name: beside it, no medium for anybody."""
    return path.with_name(f".{path.name}.{os.getpid()}.new")

"""Media in files: create, list, check and convert cartridges, tape images and discs.

    scsiemu media create A00001L8 -o size=10G -o personality=lto8      a blank cartridge
    scsiemu media create library/A00001L8 --count 8                    A00001L8 to A00008L8 of a library's folder
    scsiemu media create blank.img --as disc -o kind=dvd+r             a blank disc
    scsiemu media list library old.tap                                 what they are
    scsiemu media check library                                        read all of it
    scsiemu media convert old.tap A00002L8                             from one format to another
    scsiemu media convert FOLDER disc.iso                              an ISO 9660 image of files (needs pycdlib)
    scsiemu media formats                                              formats and their options

A format is recognised by the contents of a file, then by its suffix; --from and --as say which it is, -i and -o give
their options. A new medium gets its name when all of it is on stable storage; nothing is overwritten without --force.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from scsiemu.app.failure import ExitCode, Failure
from scsiemu.app.media_files import (
    OpenMedium,
    Progress,
    Tally,
    asking,
    folder_format,
    formats,
    new_format,
    parse_format,
    reading,
    unused_name,
)
from scsiemu.app.units import flush_store, open_stores
from scsiemu.errors import IoFailed
from scsiemu.media_formats import Damage
from scsiemu.unit_options import StoreSpec

__all__ = ["add_arguments", "command"]

_NUMBER: Final = re.compile(r"\d+(?=\D*$)")
_LABEL_NUMBER: Final = re.compile(r"\d{2,}")
_MOST: Final = 100_000
_SHOWN_DAMAGES: Final = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `media`."""
    parser.add_argument("action", choices=sorted(_ACTIONS), metavar="ACTION", help=", ".join(sorted(_ACTIONS)))
    parser.add_argument("paths", nargs="*", metavar="PATH", type=Path, help="media, or folders of them")
    parser.add_argument("--as", dest="to", default="", metavar="FORMAT[,OPTION...]", help="of the new medium")
    parser.add_argument("-o", action="append", default=[], dest="options", metavar="OPTION", help="of the new medium")
    parser.add_argument("--from", dest="source", default="", metavar="FORMAT[,OPTION...]", help="of what is read")
    parser.add_argument(
        "-i", action="append", default=[], dest="read_options", metavar="OPTION", help="of what is read"
    )
    parser.add_argument("--count", type=_count, default=1, metavar="N", help="create: so many, their names counted up")
    parser.add_argument("--force", action="store_true", help="overwrite what is there")
    parser.add_argument("--keep-going", action="store_true", help="convert: leave out what cannot be read")
    parser.add_argument("--json", action="store_true", help="as one JSON object")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")


def command(arguments: argparse.Namespace) -> int:
    """Do it. Raises Failure."""
    return _ACTIONS[arguments.action](arguments)


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= _MOST):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to {_MOST}")
    return int(text)


# --- create -----------------------------------------------------------------------------------------------------------


def _create(arguments: argparse.Namespace) -> int:
    if not arguments.paths:
        raise Failure("media create: name the new medium, for example A00001L8", ExitCode.USAGE)
    if arguments.count > 1 and len(arguments.paths) > 1:
        raise Failure("media create: --count goes with one name", ExitCode.USAGE)
    paths = _counted(arguments.paths[0], arguments.count) if arguments.count > 1 else arguments.paths
    made = []
    for path in paths:
        _make(path, arguments, None)
        with reading(path, "", []) as medium:
            made.append(_described(medium))
    _tell(arguments, {"media": made}, (f"{each['path']}: {each['format']}" for each in made))
    return ExitCode.OK


def _counted(path: Path, count: int) -> list[Path]:
    """The name, with its first number of several digits (else its last) counted up."""
    found = _LABEL_NUMBER.search(path.name) or _NUMBER.search(path.name)
    if found is None:
        raise Failure(f"media create: {path.name} has no number to count up, such as A00001L8", ExitCode.USAGE)
    first, width = int(found[0]), len(found[0])
    if len(str(first + count - 1)) > width:
        raise Failure(f"media create: {count} names do not fit into the {width} digits of {path.name}", ExitCode.USAGE)
    before, behind = path.name[: found.start()], path.name[found.end() :]
    return [path.with_name(f"{before}{number:0{width}}{behind}") for number in range(first, first + count)]


def _make(path: Path, arguments: argparse.Namespace, source: OpenMedium | None) -> Tally:
    """Make a medium, blank or of the pieces of another; what it was made of. Raises Failure."""
    name, found, argument = parse_format(
        arguments.to or new_format(path), arguments.options, subject=path.name, reads=False
    )
    if found.write is None:
        raise Failure(f"{name}: such media can only be read", ExitCode.USAGE)
    if source is None and not found.blank:
        raise Failure(f"{name}: there are no blank media of this format", ExitCode.USAGE)
    if source is not None and found.kind != formats()[source.format].kind:
        raise Failure(f"{source.path} is a {formats()[source.format].kind}, {name} is a format of {found.kind}s")
    if path.is_dir():
        raise Failure(f"{path} is a folder; name a file in it", ExitCode.USAGE)
    if path.exists() and not arguments.force:
        raise Failure(f"{path} is there already; --force overwrites it")
    place = unused_name(path)
    try:
        size = found.size(argument, source.reader.total if source is not None else 0)
    except ValueError as error:
        raise Failure(f"{path}: {error}", ExitCode.USAGE) from None
    tally = Tally()
    try:
        store = open_stores(StoreSpec("file", {"path": str(place), "size": size}))
        try:
            writer = asking(path, store, found.write(store.capabilities, argument))
            if source is not None:
                for piece in source.pieces(Progress(source.path.name, wanted=not arguments.quiet)):
                    tally.add(piece)
                    if not isinstance(piece, Damage):
                        asking(path, store, writer.put(piece))
                    elif not arguments.keep_going:
                        raise Failure(
                            f"{source.path}: {piece.text}; --keep-going leaves out what cannot be read",
                            ExitCode.DAMAGED,
                        )
            asking(path, store, writer.finish())
            flush_store(store)
        finally:
            store.close()
        place.replace(path)
    except (OSError, IoFailed) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise Failure(f"{path} cannot be made: {why}") from None
    finally:
        with contextlib.suppress(OSError):
            place.unlink()
    return tally


# --- convert ----------------------------------------------------------------------------------------------------------


def _convert(arguments: argparse.Namespace) -> int:
    if len(arguments.paths) != 2:
        raise Failure("media convert: name the medium and the new one: FROM TO", ExitCode.USAGE)
    source, path = arguments.paths
    if source.exists() and path.exists() and source.samefile(path):
        raise Failure("media convert: a medium cannot be converted onto itself; name another", ExitCode.USAGE)
    with reading(source, arguments.source, arguments.read_options) as medium:
        tally = _make(path, arguments, medium)
        told = {"from": str(source), "from_format": medium.format, "to": str(path), "copied": tally.facts,
                "left_out": tally.damages}
    _tell(arguments, told, [f"{source} -> {path}: {_listed(tally)}"])
    for text in tally.damages[:_SHOWN_DAMAGES]:
        sys.stderr.write(f"scsiemu: left out: {text}\n")
    return ExitCode.OK


# --- list and check ---------------------------------------------------------------------------------------------------


def _list(arguments: argparse.Namespace) -> int:
    found: list[dict[str, Any]] = []
    for path in _media(arguments):
        try:
            with reading(path, arguments.source, arguments.read_options) as medium:
                found.append(_described(medium))
        except Failure as failure:
            if path in arguments.paths:
                raise
            found.append({"path": str(path), "bytes": path.stat().st_size, "problem": str(failure)})
    _tell(arguments, {"media": found}, map(_line, found))
    return ExitCode.OK


def _check(arguments: argparse.Namespace) -> int:
    """Read all of each medium."""
    results = []
    for path in _media(arguments):
        tally = Tally()
        result: dict[str, Any] = {"path": str(path)}
        try:
            with reading(path, arguments.source, arguments.read_options) as medium:
                result["format"] = medium.format
                for piece in medium.pieces(Progress(path.name, wanted=not arguments.quiet)):
                    tally.add(piece)
        except Failure as failure:
            if failure.code == ExitCode.USAGE:
                raise
            tally.damages.append(str(failure))
        results.append({**result, "read": tally.facts, "damages": tally.damages, "good": not tally.damages})
        if not arguments.json:
            print(f"{path}: {'good' if not tally.damages else 'DAMAGED'}, {_listed(tally)}")
            for text in tally.damages[:_SHOWN_DAMAGES]:
                print(f"  {text}")
            if len(tally.damages) > _SHOWN_DAMAGES:
                print(f"  ... and {len(tally.damages) - _SHOWN_DAMAGES} more")
    _tell(arguments, {"media": results}, ())
    return ExitCode.OK if all(each["good"] for each in results) else ExitCode.DAMAGED


def _media(arguments: argparse.Namespace) -> list[Path]:
    """The media that are named: those of a folder, where it is no medium itself. Raises Failure."""
    if not arguments.paths:
        raise Failure(f"media {arguments.action}: name a medium or a folder of media", ExitCode.USAGE)
    found = []
    for path in arguments.paths:
        try:
            if not path.is_dir() or arguments.source or folder_format(path) is not None:
                found.append(path)
            else:
                found += sorted(each for each in path.iterdir() if each.is_file() and not each.name.startswith("."))
        except OSError as error:
            raise Failure(f"{path} cannot be read: {error.strerror}") from None
    return found


def _described(medium: OpenMedium) -> dict[str, Any]:
    size = medium.path.stat().st_size if medium.path.is_file() else medium.reader.total
    return {"path": str(medium.path), "format": medium.format, "bytes": size, **medium.reader.facts}


def _line(found: dict[str, Any]) -> str:
    if "problem" in found:
        return str(found["problem"])
    rest = {name: value for name, value in found.items() if name not in ("path", "format", "partitions", "tracks")}
    parts = [f"{name}={value}" for name, value in rest.items() if value not in ("", False)]
    for title in ("partitions", "tracks"):
        for number, each in enumerate(found.get(title, ())):
            shown = " ".join(f"{name}={value}" for name, value in each.items())
            parts.append(f"\n    {title[:-1]} {number}: {shown}")
    return f"{found['path']}: {found['format']} {' '.join(parts)}"


def _listed(tally: Tally) -> str:
    return ", ".join(f"{number} {name.replace('_', ' ')}" for name, number in tally.facts.items())


# --- formats ----------------------------------------------------------------------------------------------------------


def _formats(arguments: argparse.Namespace) -> int:
    known = formats()
    told = {
        name: {
            "kind": each.kind, "help": each.help, "suffixes": list(each.suffixes), "reads": each.read is not None,
            "writes": each.write is not None, "blank": each.blank,
            "options": {option.name: option.help for option in each.options},
            "read_options": {option.name: option.help for option in each.read_options},
        }
        for name, each in known.items()
    }
    lines = []
    for name, each in known.items():
        lines.append(f"{name:<8} {each.kind}: {each.help} {' '.join(each.suffixes)}".rstrip())
        for letter, options in (("-o", each.options), ("-i", each.read_options)):
            for option in options:
                shown = option.name if option.convert is None else f"{option.name}={option.metavar}"
                lines.append(f"    {letter} {shown:<22} {option.help}")
    _tell(arguments, {"formats": told}, lines)
    return ExitCode.OK


def _tell(arguments: argparse.Namespace, told: dict[str, Any], lines: Iterable[str]) -> None:
    if arguments.json:
        print(json.dumps(told))
        return
    for line in lines:
        print(line)


_ACTIONS: Final = {"create": _create, "list": _list, "check": _check, "convert": _convert, "formats": _formats}

"""How a device type declares itself to a command line: what `--disk 1G,removable` says, as values.

    disk = "devtypes.vd.options:DISK"       # entry point of group scsiemu.units: `--disk` and its UnitDeclaration

A value is a subject (for most types a size or a path), then options by comma; `,,` is a comma in one of them. The
declaration names the options and turns them into plans, one for each logical unit: what device server to make, on what
store. Nothing here opens a store: `app` does, so that device types stay free of files.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from scsiemu._value import value
from scsiemu.device_server import DeviceServer
from scsiemu.io_requests import StoreCapabilities

__all__ = [
    "BYTE_STORE_OPTIONS",
    "IDENTITY_OPTIONS",
    "OtherUnits",
    "StoreSpec",
    "UnitArgument",
    "UnitDeclaration",
    "UnitOption",
    "UnitPlan",
    "byte_store",
    "parse_number",
    "parse_seconds",
    "parse_size",
    "parse_switch",
    "parse_unit",
    "quote",
]

_SIZE: Final = re.compile(r"([0-9]{1,20})([KMGTPE]?)(?:i?B)?", re.IGNORECASE | re.ASCII)
_NUMBER: Final = re.compile(r"[0-9]{1,20}", re.ASCII)
_SECONDS: Final = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,9})?", re.ASCII)
_SHIFTS: Final = {"": 0, "K": 10, "M": 20, "G": 30, "T": 40, "P": 50, "E": 60}
# Splits at single commas; a doubled one belongs to the text.
_COMMA: Final = re.compile(r"(?<!,)(?:,,)*,(?!,)")


@value
class UnitOption:
    """One option of a unit.

    Args:
        name: as the user writes it.
        help: one line.
        convert: from the text behind `=`, raising ValueError; None for an option without value, which becomes True.
        metavar: what `help` calls the text.
        file: the text names a file, and `convert` gets what is in it.
    """

    name: str
    help: str
    convert: Callable[[str], Any] | None = None
    metavar: str = ""
    file: bool = False


@value
class StoreSpec:
    """A store to be opened by its io handler's `open_store(**options)`.

    Args:
        handler: name of the entry point.
        options: keyword arguments.
        next_store: the store under this one, where it is a filter; opened first and handed over by that name.
    """

    handler: str
    options: Mapping[str, Any]
    next_store: StoreSpec | None = None


@value
class UnitPlan:
    """One logical unit to be made.

    Args:
        type: name of the device type's entry point.
        store: what it keeps its medium in; None for units without a medium.
        make: makes the device server, told what the opened store can do (None where there is no store).
        state: a state store of its own, for what belongs to its media; None: that of the program, if it has one.
    """

    type: str
    store: StoreSpec | None
    make: Callable[[StoreCapabilities | None], DeviceServer]
    state: StoreSpec | None = None


@value
class OtherUnits:
    """In a plan: the units that another option would add here, `--OPTION TEXT`. Device types do not know each other.

    Args:
        option: without dashes.
        text: its value; `quote` what comes from a user.
    """

    option: str
    text: str


@value
class UnitArgument:
    """A parsed value: its subject, and the options that were given."""

    subject: str
    options: Mapping[str, Any]

    def get(self, name: str, default: Any = None) -> Any:
        """The value of an option, `default` where it was not given."""
        return self.options.get(name, default)

    @property
    def size(self) -> int | None:
        """The subject as a size in bytes; None where it is something else."""
        return parse_size(self.subject) if _SIZE.fullmatch(self.subject) else None


@value
class UnitDeclaration:
    """A device type on the command line.

    Args:
        subject: what the text before the first comma is, for help: `SIZE|PATH`.
        help: one line.
        options: that it takes.
        plan: the logical units that a value asks for, in the order of their LUNs. Raises ValueError.
    """

    subject: str
    help: str
    options: tuple[UnitOption, ...]
    plan: Callable[[UnitArgument], tuple[UnitPlan | OtherUnits, ...]]


def parse_size(text: str) -> int:
    """Bytes of `512`, `64K`, `64M`, `10G`, `1T` (powers of 1024; `MiB` and `MB` mean the same). Raises ValueError."""
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a size; write bytes, or a number with K, M, G, T, P or E, such as 64M")
    return int(match[1]) << _SHIFTS[match[2].upper()]


def parse_number(text: str) -> int:
    """A decimal number. Raises ValueError."""
    if not _NUMBER.fullmatch(text):
        raise ValueError(f"{text!r} is not a number")
    return int(text)


def parse_seconds(text: str) -> float:
    """A number of seconds, perhaps with a decimal point. Raises ValueError."""
    if not _SECONDS.fullmatch(text):
        raise ValueError(f"{text!r} is not a number of seconds")
    return float(text)


def parse_switch(text: str) -> bool:
    """`on` or `off`. Raises ValueError."""
    if text not in ("on", "off"):
        raise ValueError(f"{text!r} is neither on nor off")
    return text == "on"


def _no_files(path: str) -> str:
    raise ValueError("no file can be read here")


def parse_unit(
    text: str, declaration: UnitDeclaration, *, read_file: Callable[[str], str] = _no_files
) -> UnitArgument:
    """The parts of a value such as `1G,removable,serial=A1`. Raises ValueError, one sentence.

    Args:
        read_file: the text of a file, for options that name one; raises ValueError.
    """
    subject, *words = _split(text)
    if not subject:
        raise ValueError(f"it begins with {declaration.subject}")
    known = {option.name: option for option in declaration.options}
    options: dict[str, Any] = {}
    for word in words:
        name, equals, given = word.partition("=")
        option = known.get(name)
        if option is None:
            raise ValueError(f"there is no option {name!r}; it takes {', '.join(sorted(known))}")
        if name in options:
            raise ValueError(f"{name} is given twice")
        if option.convert is None:
            if equals:
                raise ValueError(f"{name} takes no value")
            options[name] = True
            continue
        if not equals:
            raise ValueError(f"{name} needs a value: {name}={option.metavar}")
        try:
            options[name] = option.convert(read_file(given) if option.file else given)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
    return UnitArgument(subject, options)


def quote(text: str) -> str:
    """The text as a part of a value: its commas doubled."""
    return text.replace(",", ",,")


def _split(text: str) -> list[str]:
    parts = []
    start = 0
    for comma in _COMMA.finditer(text):
        parts.append(text[start : comma.end() - 1])
        start = comma.end()
    parts.append(text[start:])
    return [part.replace(",,", ",") for part in parts]


def _text(text: str) -> str:
    if not text:
        raise ValueError("its value is empty")
    return text


def _hex_bytes(text: str) -> bytes:
    try:
        return bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        raise ValueError(f"{text!r} is not hexadecimal") from None


# Options that choose a byte store and its filters: see `byte_store`.
BYTE_STORE_OPTIONS: Final = (
    UnitOption("size", "length of a file, which is created or grows to it", parse_size, "SIZE"),
    UnitOption("ro", "read-only: the unit is write protected"),
    UnitOption("null", "keep nothing: reads are zeros"),
    UnitOption("limit", "bytes that a unit in memory may allocate before it is full", parse_size, "SIZE"),
    UnitOption("share", "open the file although another server has it open"),
    UnitOption("cow", "write to this overlay file, leave the other untouched", _text, "PATH"),
    UnitOption("faulty", "make the store fail as these rules say", _text, "RULES"),
)

# Options of the names that INQUIRY tells: the fields of `Identity`.
IDENTITY_OPTIONS: Final = (
    UnitOption("vendor", "T10 vendor identification, 8 characters", _text, "TEXT"),
    UnitOption("product", "product identification, 16 characters", _text, "TEXT"),
    UnitOption("revision", "product revision level, 4 characters", _text, "TEXT"),
    UnitOption("serial", "serial number; else made from target name and LUN", _text, "TEXT"),
    UnitOption("naa", "NAA designator, 16 or 32 hexadecimal digits", _hex_bytes, "HEX"),
    UnitOption("eui64", "EUI-64 designator, 16, 24 or 32 hexadecimal digits", _hex_bytes, "HEX"),
)


def byte_store(argument: UnitArgument, *, stored: Callable[[int], int] = int) -> StoreSpec:
    """The byte store that subject and `BYTE_STORE_OPTIONS` ask for: memory or null for a size, file for a path.

    Args:
        argument: with the options.
        stored: bytes of the store for a size that the user gave; more where the unit keeps something beside its data.

    Raises ValueError where options contradict each other.
    """
    read_only = argument.get("ro", False)
    overlay = argument.get("cow")
    size = argument.size
    if size is not None:
        _forbid(argument, ("size", "share", "cow"), "goes with a file; write ./NAME for a file whose name is a size")
        handler = "null" if argument.get("null") else "memory"
        options = {"size": stored(size), "read_only": read_only}
        if "limit" in argument.options:
            _forbid(argument, ("null",), "has no use beside limit")
            options["limit"] = argument.get("limit")
        spec = StoreSpec(handler, options)
    else:
        _forbid(argument, ("null", "limit"), "goes with a size, not with a file")
        given = argument.get("size")
        options = {"path": argument.subject, "read_only": read_only or overlay is not None}
        if given is not None:
            options["size"] = stored(given)
        if argument.get("share"):
            options["share"] = True
        spec = StoreSpec("file", options)
        if overlay is not None:
            _forbid(argument, ("ro",), "leaves nothing to do for cow")
            spec = StoreSpec("cow", {"path": overlay}, spec)
    rules = argument.get("faulty")
    if rules is not None:
        spec = StoreSpec("faulty", {"rules": rules}, spec)
    return spec


def _forbid(argument: UnitArgument, names: tuple[str, ...], why: str) -> None:
    for name in names:
        if name in argument.options:
            raise ValueError(f"{name} {why}")

"""Plug-ins: device types, io handlers and transports, found by entry point and loaded only when named.

A distribution declares `vd = "devtypes.vd:VirtualDisk"` in the entry point group `scsiemu.devtypes`; nothing here
knows a name in advance. Loading one imports its module and no other.

The files that installers leave (entry_points.txt of a dist-info, PyPA's entry points specification) are read here:
importlib.metadata, with what it imports, is 2 MiB of every server that idles. Of distributions within zip files
nothing is found.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from operator import attrgetter
from typing import Any, Final, NamedTuple

import scsiemu

__all__ = [
    "DEVTYPES", "IOHANDLERS", "MEDIA", "PERSONALITIES", "REQUESTS", "SERVICES", "TRANSPORTS", "UNITS", "PluginError",
    "load", "names",
]

DEVTYPES: Final = "scsiemu.devtypes"
IOHANDLERS: Final = "scsiemu.iohandlers"
TRANSPORTS: Final = "scsiemu.transports"
REQUESTS: Final = "scsiemu.requests"        # modules that build a device type's commands for an initiator
PERSONALITIES: Final = "scsiemu.personalities"  # kinds of a device as data: `personalities`
UNITS: Final = "scsiemu.units"              # how device types declare themselves to a command line: `unit_options`
SERVICES: Final = "scsiemu.services"        # how transports do: `services`
MEDIA: Final = "scsiemu.media"              # formats of media in files: `media_formats`

# Our distribution and the top-level packages that it installs: names so plain that others may use them, too.
_DISTRIBUTION: Final = "scsiemu"
_OWN_PACKAGES: Final = frozenset({"devtypes", "iohandlers", "transports"})


class PluginError(Exception):
    """A plug-in is not there or cannot be loaded. Its text is for the person who named it."""


def names(group: str) -> tuple[str, ...]:
    """The names of what is installed in a group, sorted. Loads nothing."""
    return tuple(sorted({point.name for point in _points(group)}))


def load(group: str, name: str) -> Any:
    """What the entry point `name` of a group stands for: a DeviceServer class, an `open_store`, a transport.

    Raises:
        PluginError: no such name, or its module cannot be imported.
    """
    # A name that two distributions declare is taken from the one found first on the path, as Python does.
    for point in _points(group):
        if point.name == name:
            return _load(group, point)
    known = ", ".join(names(group)) or "none: is the scsiemu distribution installed?"
    raise PluginError(f"{group} has no {name!r} (there are: {known})")


class _Point(NamedTuple):
    """A line of an entry_points.txt: `name = value`, where value is module:attribute or module."""

    distribution: str
    name: str
    value: str


def _points(group: str) -> Iterator[_Point]:
    """The entry points of a group. Of a distribution that is on the path twice, the first counts."""
    seen = set()
    for folder in sys.path:
        try:
            entries = sorted(os.listdir(folder or "."))
        except OSError:
            continue
        for entry in entries:
            name, dot, kind = entry.rpartition(".")
            distribution = re.sub(r"[-_.]+", "-", name.partition("-")[0]).lower()
            if not dot or kind not in ("dist-info", "egg-info") or distribution in seen:
                continue
            seen.add(distribution)
            try:
                with open(os.path.join(folder, entry, "entry_points.txt"), encoding="utf-8") as file:
                    lines = file.read().splitlines()
            except OSError:
                continue
            yield from _points_of(group, distribution, lines)


def _points_of(group: str, distribution: str, lines: list[str]) -> Iterator[_Point]:
    section = ""
    for line in map(str.strip, lines):
        if line.startswith("["):
            section = line.strip("[] ")
        elif section == group and "=" in line and not line.startswith(("#", ";")):
            name, _, value = line.partition("=")
            # Extras in brackets behind the object are of no use any more (entry points specification).
            yield _Point(distribution, name.strip(), value.partition("[")[0].strip())


def _load(group: str, point: _Point) -> Any:
    module, _, attribute = (part.strip() for part in point.value.partition(":"))
    try:
        found = import_module(module)
        return attrgetter(attribute)(found) if attribute else found
    except (ImportError, AttributeError) as error:
        package = module.partition(".")[0]
        ours = point.distribution == _DISTRIBUTION and package in _OWN_PACKAGES
        where = _foreign_place(package) if ours else None
        if where is not None:
            raise PluginError(
                f"cannot load {point.value}: another package named {package!r} ({where}) hides that of scsiemu; "
                "remove it or put scsiemu before it on the Python path"
            ) from error
        raise PluginError(f"cannot load {point.value} for {group} {point.name!r}: {error}") from error


def _foreign_place(package: str) -> str | None:
    """Where the package of this name lies, if that is not beside scsiemu; else None."""
    spec = find_spec(package)
    if spec is None:
        return None
    places = list(spec.submodule_search_locations or [spec.origin or ""])
    ours = {path.rpartition("/")[0] for path in scsiemu.__path__}
    return None if any(path.rpartition("/")[0] in ours for path in places) else places[0]

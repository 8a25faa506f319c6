"""Plug-ins: device types, io handlers and transports, found by entry point and loaded only when named.

A distribution declares `vd = "devtypes.vd:VirtualDisk"` in the entry point group `scsiemu.devtypes`; nothing here
knows a name in advance. Loading one imports its module and no other.
"""

from __future__ import annotations

from importlib import metadata
from importlib.util import find_spec
from typing import Any, Final

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
    return tuple(sorted({point.name for point in metadata.entry_points(group=group)}))


def load(group: str, name: str) -> Any:
    """What the entry point `name` of a group stands for: a DeviceServer class, an `open_store`, a transport.

    Raises:
        PluginError: no such name, or its module cannot be imported.
    """
    # A name that two distributions declare is taken from the one found first on the path, as Python does.
    for point in metadata.entry_points(group=group):
        if point.name == name:
            return _load(point)
    known = ", ".join(names(group)) or "none: is the scsiemu distribution installed?"
    raise PluginError(f"{group} has no {name!r} (there are: {known})")


def _load(point: metadata.EntryPoint) -> Any:
    try:
        return point.load()
    except (ImportError, AttributeError) as error:
        package = point.module.partition(".")[0]
        where = _foreign_place(package) if _is_ours(point) else None
        if where is not None:
            raise PluginError(
                f"cannot load {point.value}: another package named {package!r} ({where}) hides that of scsiemu; "
                "remove it or put scsiemu before it on the Python path"
            ) from error
        raise PluginError(f"cannot load {point.value} for {point.group} {point.name!r}: {error}") from error


def _is_ours(point: metadata.EntryPoint) -> bool:
    """Whether our own distribution declares it, in one of the packages that a foreign one may shadow."""
    dist = point.dist
    return dist is not None and dist.name == _DISTRIBUTION and point.module.partition(".")[0] in _OWN_PACKAGES


def _foreign_place(package: str) -> str | None:
    """Where the package of this name lies, if that is not beside scsiemu; else None."""
    spec = find_spec(package)
    if spec is None:
        return None
    places = list(spec.submodule_search_locations or [spec.origin or ""])
    ours = {path.rpartition("/")[0] for path in scsiemu.__path__}
    return None if any(path.rpartition("/")[0] in ours for path in places) else places[0]

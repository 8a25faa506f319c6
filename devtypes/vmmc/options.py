"""The optical drive on the command line: `--optical PATH|SIZE[,option...]`."""

from __future__ import annotations

import dataclasses
from typing import Any, Final

from devtypes.vmmc.config import SECTOR_SIZES, OpticalConfig
from devtypes.vmmc.disc_format import stored_size
from devtypes.vmmc.profiles import KINDS
from scsiemu.device_server import DeviceServer
from scsiemu.identity import Identity
from scsiemu.io_requests import StoreCapabilities
from scsiemu.unit_options import (
    BYTE_STORE_OPTIONS,
    IDENTITY_OPTIONS,
    StoreSpec,
    UnitArgument,
    UnitDeclaration,
    UnitOption,
    UnitPlan,
    byte_store,
    parse_number,
    parse_seconds,
)

__all__ = ["OPTICAL"]

_BLOCK: Final = 2048
_KINDS: Final = ", ".join(KINDS)

_BLANKS: Final = ", ".join(name for name, kind in KINDS.items() if not kind.pressed)


def _blank(name: str) -> str:
    if name not in KINDS or KINDS[name].pressed:
        raise ValueError(f"{name!r} is not one of {_BLANKS}")
    return name


_OPTIONS: Final = (
    UnitOption("kind", f"of disc, where its image does not say: {_KINDS}", str, "NAME"),
    UnitOption("blank", f"an empty store becomes a blank disc: {_BLANKS}", _blank, "NAME"),
    UnitOption("sector", "bytes of a sector in the image: " + ", ".join(map(str, SECTOR_SIZES)), parse_number, "BYTES"),
    UnitOption("audio", "the image is an audio track: samples of 16 bits, two channels, 44100 a second"),
    UnitOption("tray-open", "begin with the tray open, the disc in it"),
    UnitOption("empty", "begin without a disc"),
    UnitOption("shelf", "PATH is a folder of discs that are put in and taken out: by a changer, over HTTP"),
    UnitOption("load-seconds", "from closing the tray until the disc is ready", parse_seconds, "SECONDS"),
    UnitOption("long-seconds", "blanking, formatting and closing take so long", parse_seconds, "SECONDS"),
    UnitOption("region", "DVD region of the drive, 1 to 8", parse_number, "NUMBER"),
)

# Options that say what a plain image is.
_OF_IMAGES: Final = frozenset(("kind", "blank", "sector", "audio"))

# Options that are arguments of OpticalConfig as they are.
_CONFIG: Final = {
    "blank": "blank", "kind": "kind", "sector": "sector", "audio": "audio", "tray-open": "tray_open", "empty": "empty",
    "load-seconds": "load_seconds", "long-seconds": "long_seconds", "region": "region", "ro": "write_protect",
    "shelf": "shelf",
}


def _plan(argument: UnitArgument) -> tuple[UnitPlan, ...]:
    """One unit: the drive with its disc."""
    settings: dict[str, Any] = {
        _CONFIG[name]: given for name, given in argument.options.items() if name in _CONFIG
    }
    if argument.get("shelf"):
        settings["empty"] = True
    config = OpticalConfig(**settings)
    fields = {field.name for field in dataclasses.fields(Identity)}
    identity = Identity(**{name: given for name, given in argument.options.items() if name in fields})

    kind = KINDS.get(config.blank)
    if kind is not None and argument.size is None and "size" not in argument.options:
        argument = UnitArgument(argument.subject, {**argument.options, "size": kind.capacity * _BLOCK})

    def stored(size: int) -> int:
        # A size that the user gives is what can be recorded: more is kept beside it.
        return size if kind is None else stored_size(kind, size // _BLOCK)

    def make(store: StoreCapabilities | None) -> DeviceServer:
        from devtypes.vmmc.drive import OpticalDrive  # here, so that help does not load all of the drive

        return OpticalDrive(config, identity)

    if argument.get("shelf"):
        return (UnitPlan("vmmc", StoreSpec("folder", {"path": argument.subject}), make),)
    if argument.subject.lower().endswith(".cue"):
        beside = sorted(({option.name for option in BYTE_STORE_OPTIONS} | _OF_IMAGES) & set(argument.options) - {"ro"})
        if beside:
            raise ValueError(f"{beside[0]} does not go with a cue sheet")
        return (UnitPlan("vmmc", StoreSpec("cue", {"path": argument.subject}), make),)
    return (UnitPlan("vmmc", byte_store(argument, stored=stored), make),)


OPTICAL: Final = UnitDeclaration(
    "SIZE|PATH",
    "a CD, DVD and BD drive with a disc, in memory (SIZE), from an image or a cue sheet (PATH, *.cue)",
    _OPTIONS + BYTE_STORE_OPTIONS + IDENTITY_OPTIONS,
    _plan,
)

"""`--library DIR[,option...]`: a changer and its drives, whose cartridges are the files of a folder."""

from __future__ import annotations

import dataclasses
import re
from typing import Final

from scsiemu.device_server import DeviceServer
from scsiemu.identity import Identity
from scsiemu.io_requests import StoreCapabilities
from scsiemu.unit_options import (
    IDENTITY_OPTIONS,
    OtherUnits,
    StoreSpec,
    UnitArgument,
    UnitDeclaration,
    UnitOption,
    UnitPlan,
    parse_number,
    parse_size,
    quote,
)

__all__ = ["LIBRARY"]

_DRIVES: Final = 2
_SLOTS: Final = 24
_PORTS: Final = 4
_DRIVE: Final = "tape"
_CAPACITY: Final = 1 << 30
_MOST_DRIVES: Final = 64
_STATE: Final = ".scsiemu"              # in the folder; names with a point in front are no cartridges
_GENERATION: Final = re.compile(r"lto([5-9])")


def _word(text: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9-]*", text):
        raise ValueError(f"{text!r} is not a name")
    return text


def _drive(text: str) -> str:
    _word(text.partition(",")[0])
    return text


_OPTIONS: Final = (
    UnitOption("drives", f"how many drives it has (default {_DRIVES})", parse_number, "N"),
    UnitOption("slots", f"how many storage elements (default {_SLOTS})", parse_number, "N"),
    UnitOption("ports", f"how many import/export elements (default {_PORTS})", parse_number, "N"),
    UnitOption("create", "blank cartridges that a folder without any is filled with", parse_number, "N"),
    UnitOption("capacity", "of each of them (default 1G); the files are sparse", parse_size, "SIZE"),
    UnitOption(
        "drive", "the option whose units are the drives (default tape), which must take `shelf`, and options of it",
        _drive, "OPTION[,,OPTION...]",
    ),
    UnitOption("personality", "kind of the drives, such as lto8", _word, "NAME"),
)


def _plan(argument: UnitArgument) -> tuple[UnitPlan | OtherUnits, ...]:
    """The changer, then its drives in the LUNs behind it."""
    from devtypes.vmc.config import ChangerConfig  # here, so that help does not load the changer

    drives, slots = argument.get("drives", _DRIVES), argument.get("slots", _SLOTS)
    if drives > _MOST_DRIVES:
        raise ValueError(f"drives: at most {_MOST_DRIVES}")
    config = ChangerConfig(
        drives=tuple(range(1, drives + 1)), relative=True, slots=slots, ports=argument.get("ports", _PORTS), shelf=True
    )
    store = {"path": argument.subject, "own": True}
    count = argument.get("create", 0)
    if count > slots:
        raise ValueError(f"create: {count} cartridges do not fit into {slots} slots")
    if count:
        labels = _labels(count, argument.get("drive", _DRIVE), argument.get("personality", ""))
        store |= {"blank": labels, "size": argument.get("capacity", _CAPACITY)}
    elif "capacity" in argument.options:
        raise ValueError("capacity goes with create")
    fields = {field.name for field in dataclasses.fields(Identity)}
    identity = Identity(**{name: given for name, given in argument.options.items() if name in fields})

    def make(store: StoreCapabilities | None) -> DeviceServer:
        from devtypes.vmc.changer import MediaChanger

        return MediaChanger(config, identity)

    state = StoreSpec("state", {"path": f"{argument.subject}/{_STATE}"})
    option, *more = argument.get("drive", _DRIVE).split(",")
    words = [quote(argument.subject), "shelf", *more]
    if "personality" in argument.options:
        words.append(f"personality={argument.get('personality')}")
    drive = OtherUnits(option, ",".join(words))
    return (UnitPlan("vmc", StoreSpec("folder", store), make, state), *(drive,) * drives)


def _labels(count: int, drive: str, personality: str) -> tuple[str, ...]:
    """Bar codes of new media; those of tapes with the letters of their generation at the end."""
    generation = _GENERATION.fullmatch(personality)
    ending = f"L{generation[1] if generation else 8}" if drive.split(",")[0] == _DRIVE else ""
    return tuple(f"A{number:05d}{ending}" for number in range(1, count + 1))


LIBRARY: Final = UnitDeclaration(
    "DIR",
    "a library: a media changer and tape drives, whose cartridges are the files of a folder, named by their bar codes",
    _OPTIONS + IDENTITY_OPTIONS,
    _plan,
)

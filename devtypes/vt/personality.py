"""What kind of drive it is, as data: names, densities, media, limits, speeds. A personality is a JSON file in
`personalities/`, shipped with the package, or one of the user's own.

Its members are the fields of `Personality`; densities and media are lists of objects with the fields of `Density` and
`MediumKind`. Nothing here acts: the drive asks.
"""

from __future__ import annotations

import dataclasses
import json
from importlib import resources
from typing import Any, Final

from scsiemu._value import value

__all__ = [
    "DEFAULT_PERSONALITY", "Density", "MediumKind", "Personality", "encode_personality", "load_personality",
    "parse_personality", "personality_names", "personality_text",
]

DEFAULT_PERSONALITY: Final = "generic"
_FOLDER: Final = "personalities"
_SUFFIX: Final = ".json"


@value
class Density:
    """A density that the drive knows (SSC-5 7.x, REPORT DENSITY SUPPORT).

    Args:
        code: PRIMARY DENSITY CODE.
        name: DENSITY NAME, up to 8 characters.
        organization: ASSIGNING ORGANIZATION, up to 8.
        description: up to 20.
        bits_per_mm, width, tracks: BITS PER MM, MEDIA WIDTH in tenths of a millimetre, TRACKS.
        capacity: native, in units of 10^6 bytes.
        writable: WRTOK.
    """

    code: int
    name: str = ""
    organization: str = ""
    description: str = ""
    bits_per_mm: int = 0
    width: int = 127
    tracks: int = 0
    capacity: int = 0
    writable: bool = True

    def __post_init__(self) -> None:
        _check_texts((self.name, 8), (self.organization, 8), (self.description, 20))
        _check_numbers(
            (self.code, 1), (self.bits_per_mm, 3), (self.width, 2), (self.tracks, 2), (self.capacity, 4)
        )


@value
class MediumKind:
    """A kind of cartridge that fits the drive.

    Args:
        medium_type: MEDIUM TYPE of the mode parameter header.
        name: MEDIUM TYPE NAME, up to 8 characters.
        description: up to 20.
        densities: codes of the densities that it can have, the best first.
        width, length: in tenths of a millimetre, in metres.
        kind: "data", "worm" or "cleaning".
    """

    medium_type: int
    name: str = ""
    description: str = ""
    densities: tuple[int, ...] = ()
    width: int = 127
    length: int = 0
    kind: str = "data"

    def __post_init__(self) -> None:
        _check_texts((self.name, 8), (self.description, 20))
        _check_numbers(
            (self.medium_type, 1), (self.width, 2), (self.length, 2), *((code, 1) for code in self.densities)
        )
        if self.kind not in ("data", "worm", "cleaning"):
            raise ValueError(f"{self.kind!r} is no kind of medium: data, worm or cleaning")


@value
class Personality:
    """A kind of drive.

    Args:
        name: for people.
        vendor, product, revision: of INQUIRY.
        densities: the first is the default for writing.
        media: kinds of cartridges.
        without: names of operations that it has not.
        most_partitions: including the first.
        partition_units: in which the medium partition page tells sizes, as an exponent of 10; 0 for MiB.
        shortest_block, longest_block, granularity: READ BLOCK LIMITS; granularity is an exponent of 2.
        compression: capable of it (page 0Fh, DCC).
        compression_algorithm: COMPRESSION ALGORITHM that page 0Fh names.
        encryption: capable of it (needs the `cryptography` package).
        worm: capable of WORM media.
        protection: methods of logical block protection: 1 Reed-Solomon CRC, 2 CRC32C.
        mode_pages_without, log_pages_without, vpd_pages_without: codes of pages that it has not.
        wraps, speed, load_seconds, unload_seconds, stop_seconds: of the transport, for physics: wraps of the
            serpentine, metres a second, seconds to load and thread, to rewind off and unload, to stop and start again.
        rate: native data rate, bytes a second.
    """

    name: str
    vendor: str = "SCSIEMU"
    product: str = "VIRTUAL TAPE"
    revision: str = "0001"
    densities: tuple[Density, ...] = ()
    media: tuple[MediumKind, ...] = ()
    without: tuple[str, ...] = ()
    most_partitions: int = 4
    partition_units: int = 0
    shortest_block: int = 1
    longest_block: int = 0xFFFFFF
    granularity: int = 0
    compression: bool = True
    compression_algorithm: int = 0x03
    encryption: bool = True
    worm: bool = True
    protection: tuple[int, ...] = (1, 2)
    mode_pages_without: tuple[int, ...] = ()
    log_pages_without: tuple[int, ...] = ()
    vpd_pages_without: tuple[int, ...] = ()
    wraps: int = 136
    speed: float = 6.0
    load_seconds: float = 15.0
    unload_seconds: float = 20.0
    stop_seconds: float = 3.0
    rate: int = 300_000_000

    def __post_init__(self) -> None:
        _check_texts((self.vendor, 8), (self.product, 16), (self.revision, 4))
        if not self.densities or not self.media:
            raise ValueError("a personality has at least one density and one kind of medium")
        if not 1 <= self.most_partitions <= 64:
            raise ValueError("most_partitions: 1 to 64")
        if not 0 <= self.partition_units <= 15:
            raise ValueError("partition_units: an exponent of 10 of up to 15")
        if not 0 < self.shortest_block <= self.longest_block <= 0xFFFFFF:
            raise ValueError("blocks have 1 to FFFFFFh bytes")
        if not 0 <= self.granularity <= 16:
            raise ValueError("granularity: an exponent of 2 of up to 16")
        if not set(self.protection) <= {1, 2}:
            raise ValueError("methods of logical block protection are 1 and 2")
        _check_numbers((self.compression_algorithm, 4), (self.wraps, 2), (self.rate, 8))
        if min(self.wraps, self.speed, self.rate) <= 0 or min(
            self.load_seconds, self.unload_seconds, self.stop_seconds
        ) < 0:
            raise ValueError("wraps, speed and rate are more than zero, seconds are not less")

    def format_density(self, medium_type: int) -> int:
        """The code of the density that a kind of cartridge is written with: its own best, else that of the drive."""
        codes = next((medium.densities for medium in self.media if medium.medium_type == medium_type), ())
        known = (self.find_density(code) for code in codes)
        return next((density.code for density in known if density is not None and density.writable), self.density.code)

    @property
    def density(self) -> Density:
        """The density that it writes."""
        return self.densities[0]

    def find_density(self, code: int) -> Density | None:
        """The density of a code."""
        return next((density for density in self.densities if density.code == code), None)

    def medium(self, kind: str) -> MediumKind | None:
        """The best cartridge of a kind."""
        return next((medium for medium in self.media if medium.kind == kind), None)


def _check_texts(*texts: tuple[str, int]) -> None:
    """Raises ValueError for a text that is longer, or not of printable ASCII."""
    for text, limit in texts:
        if len(text) > limit or not all(" " <= letter <= "~" for letter in text):
            raise ValueError(f"{text!r} is not up to {limit} printable ASCII characters")


def _check_numbers(*numbers: tuple[int, int]) -> None:
    """Raises ValueError for a number that does not fit into so many bytes."""
    for number, size in numbers:
        if number.__class__ is not int or not 0 <= number < 1 << 8 * size:
            raise ValueError(f"{number!r} is not a number of {size} bytes")


def parse_personality(text: str | bytes) -> Personality:
    """A personality from the text of its file. Raises ValueError, one sentence."""
    try:
        found: Any = json.loads(text)
        if not isinstance(found, dict):
            raise ValueError("it is not an object")
        known = {field.name for field in dataclasses.fields(Personality)}
        unknown = sorted(set(found) - known)
        if unknown:
            raise ValueError(f"it has no member {unknown[0]!r}")
        found["densities"] = tuple(Density(**each) for each in found.get("densities", ()))
        found["media"] = tuple(_medium(each) for each in found.get("media", ()))
        fields: dict[str, Any] = {}
        for name, each in found.items():
            fields[name] = tuple(each) if isinstance(each, list) else each
        return Personality(**fields)
    except (TypeError, RecursionError) as error:
        raise ValueError(f"a member is wrong: {error}") from None


def _medium(found: dict[str, Any]) -> MediumKind:
    return MediumKind(**{**found, "densities": tuple(found.get("densities", ()))})


def personality_names() -> tuple[str, ...]:
    """The personalities of the package."""
    folder = resources.files(__package__) / _FOLDER
    return tuple(sorted(each.name.removesuffix(_SUFFIX) for each in folder.iterdir() if each.name.endswith(_SUFFIX)))


def personality_text(name: str) -> str:
    """The file of a personality of the package. Raises ValueError."""
    if name not in personality_names():
        raise ValueError(f"there is no personality {name!r}; there are: {', '.join(personality_names())}")
    return (resources.files(__package__) / _FOLDER / f"{name}{_SUFFIX}").read_text("utf-8")


def load_personality(name: str) -> Personality:
    """A personality of the package by its name. Raises ValueError."""
    return parse_personality(personality_text(name))


def encode_personality(personality: Personality) -> str:
    """The text of its file: what is as the defaults say is left out."""
    lines = [f'  "name": {json.dumps(personality.name)}']
    for name, found in _told(personality):
        if name in ("densities", "media"):
            rows = ",\n".join("    " + json.dumps(dict(_told(each))) for each in found)
            lines.append(f'  "{name}": [\n{rows}\n  ]')
        elif name != "name":
            lines.append(f'  "{name}": {json.dumps(found)}')
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _told(each: Any) -> list[tuple[str, Any]]:
    """The members of a value that are not as their defaults say."""
    pairs = ((field, getattr(each, field.name)) for field in dataclasses.fields(each))
    return [(field.name, found) for field, found in pairs if found != field.default]

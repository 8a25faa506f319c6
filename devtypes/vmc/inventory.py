"""Which volume is in which element: a value, so that a movement is one new inventory and one save.

A volume is in exactly one element, or outside, by construction: an inventory maps addresses to volumes, refuses to be
made with a name twice, and is replaced as a whole. Kept in the state store as JSON.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from scsiemu._value import value

__all__ = ["Inventory", "MediumType", "Volume", "VolumeTag", "medium_type"]

_VERSION: Final = 1
_LABEL: Final = 32
_WORM_LABELS: Final = frozenset(("LT", "LU", "LV", "LW", "LX", "LY", "LZ"))


class MediumType:
    """MEDIUM TYPE of element descriptors (SMC-3 table 30)."""

    UNSPECIFIED: Final = 0
    DATA: Final = 1
    CLEANING: Final = 2
    WORM: Final = 4


@value
class VolumeTag:
    """A volume tag: identifier of up to 32 ASCII characters, without the blanks at its end, and sequence number."""

    identifier: str
    sequence: int = 0

    def __post_init__(self) -> None:
        if not 0 < len(self.identifier) <= _LABEL or not all(" " <= letter <= "~" for letter in self.identifier):
            raise ValueError(f"{self.identifier!r} is not a volume identifier")
        if not 0 <= self.sequence <= 0xFFFF:
            raise ValueError("a volume sequence number has 16 bits")

    def encode(self) -> bytes:
        """Volume tag information, 36 bytes (SMC-3 table 37)."""
        return self.identifier.ljust(_LABEL).encode("ascii") + bytes(2) + self.sequence.to_bytes(2, "big")


@value
class Volume:
    """A volume (cartridge, disc) in an element.

    Args:
        name: of the medium on the shelf.
        primary, alternate: volume tags; None for undefined.
        source: address of the storage element that it was last moved from; None where it never was.
        by_operator: an operator put it where it is (IMPEXP), not a medium transport element.
    """

    name: str
    primary: VolumeTag | None = None
    alternate: VolumeTag | None = None
    source: int | None = None
    by_operator: bool = False

    @classmethod
    def labelled(cls, name: str, *, by_operator: bool = False) -> Volume:
        """A volume whose bar code is its name, less what a file has behind its last point."""
        label = (name.rpartition(".")[0] or name)[:_LABEL].rstrip()
        readable = bool(label) and all(" " <= letter <= "~" for letter in label)
        return cls(name, VolumeTag(label) if readable else None, by_operator=by_operator)


def medium_type(volume: Volume) -> int:
    """What its label says that it is, as the labels of LTO cartridges do: CLN..., and L, T to Z at the end for WORM."""
    label = volume.primary.identifier if volume.primary is not None else ""
    if label.startswith("CLN"):
        return MediumType.CLEANING
    if len(label) == 8 and label[6:] in _WORM_LABELS:
        return MediumType.WORM
    return MediumType.DATA if label else MediumType.UNSPECIFIED


class Inventory:
    """Volumes by element address, and the names of those that an operator took out. Never changes.

    Raises ValueError for a name that is twice in it.
    """

    __slots__ = ("_volumes", "outside")

    def __init__(self, volumes: Mapping[int, Volume] | None = None, outside: Iterable[str] = ()) -> None:
        self._volumes = dict(volumes or {})
        self.outside = frozenset(outside)
        names = [volume.name for volume in self._volumes.values()]
        if len(set(names)) != len(names) or self.outside.intersection(names):
            raise ValueError("a volume is in two places")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Inventory) and (self._volumes, self.outside) == (other._volumes, other.outside)

    def __hash__(self) -> int:
        return hash((frozenset(self._volumes.items()), self.outside))

    def __repr__(self) -> str:
        places = {address: volume.name for address, volume in sorted(self._volumes.items())}
        return f"Inventory({places}, outside={sorted(self.outside)})"

    def get(self, address: int) -> Volume | None:
        """The volume in an element; None where it is empty."""
        return self._volumes.get(address)

    @property
    def volumes(self) -> dict[int, Volume]:
        """All volumes by address."""
        return dict(self._volumes)

    def find(self, name: str) -> int | None:
        """Where a volume is; None where it is in no element."""
        return next((address for address, volume in self._volumes.items() if volume.name == name), None)

    @property
    def names(self) -> frozenset[str]:
        """The volumes in elements."""
        return frozenset(volume.name for volume in self._volumes.values())

    # --- another inventory -------------------------------------------------------------------------------------

    def placed(self, moves: Mapping[int, int], storage: range) -> Inventory:
        """After volumes were moved, all at once.

        Args:
            moves: source address to destination address, of full elements; every destination is empty then.
            storage: addresses of the storage elements.
        """
        volumes = dict(self._volumes)
        taken = {source: volumes.pop(source) for source in moves}
        for source, destination in moves.items():
            assert destination not in volumes, "a destination is full"
            volume = taken[source]
            kept = source if source in storage else volume.source
            volumes[destination] = Volume(volume.name, volume.primary, volume.alternate, kept)
        return Inventory(volumes, self.outside)

    def with_volume(self, address: int, volume: Volume) -> Inventory:
        """With a volume in an element, in place of what was there."""
        return Inventory({**self._volumes, address: volume}, self.outside - {volume.name})

    def without(self, address: int, *, outside: bool) -> Inventory:
        """With an element empty; with `outside` the volume is remembered as taken out."""
        volumes = dict(self._volumes)
        volume = volumes.pop(address)
        return Inventory(volumes, self.outside | {volume.name} if outside else self.outside)

    def reconciled(
        self, names: Iterable[str], *, slots: Iterable[int], keep: frozenset[int] = frozenset()
    ) -> tuple[Inventory, tuple[str, ...]]:
        """As the shelf has it: what is gone is gone, what is new comes into the first free slots, in order.

        Args:
            names: what is on the shelf.
            slots: addresses that new volumes may come to.
            keep: addresses whose volume stays whatever the shelf says.

        Returns:
            the inventory, and the names for which there was no slot.
        """
        there = set(names)
        volumes = {
            address: volume for address, volume in self._volumes.items() if volume.name in there or address in keep
        }
        outside = self.outside & there
        known = {volume.name for volume in volumes.values()} | outside
        free = iter([address for address in slots if address not in volumes])
        homeless = []
        for name in sorted(there - known):
            address = next(free, None)
            if address is None:
                homeless.append(name)
            else:
                volumes[address] = Volume.labelled(name)
        return Inventory(volumes, outside), tuple(homeless)

    # --- kept --------------------------------------------------------------------------------------------------

    def encode(self) -> bytes:
        """For the state store."""
        return json.dumps({
            "version": _VERSION,
            "volumes": [_to_json(address, volume) for address, volume in sorted(self._volumes.items())],
            "outside": sorted(self.outside),
        }).encode()

    @classmethod
    def decode(cls, data: bytes) -> Inventory:
        """From the state store. Raises ValueError for what is not an inventory."""
        try:
            record = json.loads(data)
            if record["version"] != _VERSION:
                raise ValueError(f"inventory version {record['version']}")
            volumes = dict(_from_json(entry) for entry in record["volumes"])
            if len(volumes) != len(record["volumes"]):
                raise ValueError("an element is there twice")
            return cls(volumes, record["outside"])
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not an inventory: {error!r}") from None


def _to_json(address: int, volume: Volume) -> dict[str, Any]:
    entry: dict[str, Any] = {"element": address, "name": volume.name}
    for key in ("primary", "alternate"):
        tag: VolumeTag | None = getattr(volume, key)
        if tag is not None:
            entry[key] = [tag.identifier, tag.sequence]
    if volume.source is not None:
        entry["source"] = volume.source
    if volume.by_operator:
        entry["by_operator"] = True
    return entry


def _from_json(entry: Mapping[str, Any]) -> tuple[int, Volume]:
    tags = {key: VolumeTag(*entry[key]) for key in ("primary", "alternate") if key in entry}
    name, address = entry["name"], entry["element"]
    if not isinstance(name, str) or not isinstance(address, int):
        raise ValueError("not an inventory: a name or an address is of another type")
    return address, Volume(
        name, tags.get("primary"), tags.get("alternate"), entry.get("source"), bool(entry.get("by_operator"))
    )

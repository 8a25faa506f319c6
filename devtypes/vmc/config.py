"""What a library is made of: its elements and their addresses (SMC-3 4.2), as values."""

from __future__ import annotations

from typing import Final

from scsiemu._value import value

__all__ = ["ELEMENT_TYPES", "ChangerConfig", "ElementRange", "ElementType"]


class ElementType:
    """ELEMENT TYPE CODE (SMC-3 table 11)."""

    ALL: Final = 0
    MEDIUM_TRANSPORT: Final = 1
    STORAGE: Final = 2
    IMPORT_EXPORT: Final = 3
    DATA_TRANSFER: Final = 4


ELEMENT_TYPES: Final = (
    ElementType.MEDIUM_TRANSPORT, ElementType.STORAGE, ElementType.IMPORT_EXPORT, ElementType.DATA_TRANSFER,
)

# First addresses by default: apart from each other by more than anybody has of a type, and easy to tell by eye.
_TRANSPORT: Final = 0x0001
_PORTS: Final = 0x0010
_DRIVES: Final = 0x0100
_SLOTS: Final = 0x1000


@value
class ElementRange:
    """The elements of one type: `count` addresses from `first`."""

    type: int
    first: int
    count: int

    def __contains__(self, address: object) -> bool:
        return isinstance(address, int) and self.first <= address < self.first + self.count

    @property
    def addresses(self) -> range:
        """All of them, ascending."""
        return range(self.first, self.first + self.count)


@value
class ChangerConfig:
    """A library.

    Args:
        drives: LUN of the drive (plain number or 64-bit form) in each data transfer element. They are units of the
            same target, and whatever is a `scsiemu.media.MediumDrive` will do.
        relative: these LUNs count from that of the changer: 1 is the next.
        slots: storage elements.
        ports: import/export elements; they share one door.
        shelf: the unit's store is a shelf, which knows what cartridges there are; else the inventory begins empty.
        first_transport, first_slot, first_port, first_drive: element addresses.
    """

    drives: tuple[int, ...] = ()
    relative: bool = False
    slots: int = 24
    ports: int = 4
    shelf: bool = False
    first_transport: int = _TRANSPORT
    first_slot: int = _SLOTS
    first_port: int = _PORTS
    first_drive: int = _DRIVES

    def __post_init__(self) -> None:
        if self.slots < 1:
            raise ValueError("a library has at least one slot")
        if self.ports < 0:
            raise ValueError("import/export elements: 0 or more")
        if len(set(self.drives)) != len(self.drives):
            raise ValueError("a drive is in one data transfer element only")
        used: set[int] = set()
        for part in self.ranges:
            if part.first < 0 or part.first + part.count > 0x10000:
                raise ValueError(f"{part.count} elements from address {part.first} do not fit into 16 bits")
            if used & set(part.addresses):
                raise ValueError("element addresses overlap")
            used.update(part.addresses)

    @property
    def ranges(self) -> tuple[ElementRange, ...]:
        """The elements of each type, in the order of the type codes."""
        return (
            ElementRange(ElementType.MEDIUM_TRANSPORT, self.first_transport, 1),
            ElementRange(ElementType.STORAGE, self.first_slot, self.slots),
            ElementRange(ElementType.IMPORT_EXPORT, self.first_port, self.ports),
            ElementRange(ElementType.DATA_TRANSFER, self.first_drive, len(self.drives)),
        )

    def range_of(self, element_type: int) -> ElementRange:
        """The elements of a type."""
        return self.ranges[element_type - 1]

    def type_of(self, address: int) -> int | None:
        """The type of the element at an address; None where there is no element."""
        for part in self.ranges:
            if address in part:
                return part.type
        return None

"""A library with drives that only know whether a cartridge is in them, and an initiator: what its tests start with."""

from __future__ import annotations

from typing import Any

from devtypes.vmc import ChangerConfig, MediaChanger
from iohandlers._shelf import Shelf
from iohandlers.memory import open_store
from scsiemu import asc
from scsiemu.command import Command
from scsiemu.events import InternalFailure
from scsiemu.logical_unit import LogicalUnit
from scsiemu.nexus import Protocol, TargetPort
from scsiemu.sense import CheckCondition
from scsiemu.spc import SpcDeviceServer
from scsiemu.target import Target
from scsiemu.testing.initiator import Initiator, Result, StateDictionary

__all__ = ["DRIVE", "PORT", "SLOT", "FakeDrive", "Library", "add_changer"]

SLOT, PORT, DRIVE = 0x1000, 0x10, 0x100


class FakeDrive(SpcDeviceServer):
    """A `MediumDrive` whose cartridge can be taken once `busy` is False."""

    peripheral_device_type = 0x01
    default_product = "FAKE DRIVE"

    def __init__(self) -> None:
        super().__init__()
        self.medium: str | None = None
        self.busy = False

    def check_removal(self, command: Command) -> None:
        if self.busy:
            raise CheckCondition(asc.MEDIUM_REMOVAL_PREVENTED_BY_DATA_TRANSFER_ELEMENT)

    def check_insertion(self, command: Command) -> None:
        if self.medium is not None:
            raise CheckCondition(asc.MEDIUM_DESTINATION_ELEMENT_FULL)

    def insert(self, name: str, *, by: Command | None = None) -> None:
        assert self.medium is None
        self.medium = name
        but = by.nexus if by is not None else None
        self.unit.attention(asc.NOT_READY_TO_READY_CHANGE_MEDIUM_MAY_HAVE_CHANGED, but=but)

    def remove(self, *, by: Command | None = None) -> str:
        assert self.medium is not None
        name, self.medium = self.medium, None
        return name


def add_changer(target: Target, **options: Any) -> LogicalUnit:
    """A changer with two drives and four cartridges, and its drives."""
    shelf = options.pop("shelf", None) or Shelf({f"A0000{n}L8": open_store(size=4096) for n in range(1, 5)})
    state = options.pop("state", None)
    options = {"drives": (1, 2), "slots": 6, "ports": 2, **options}
    store = shelf.drive()
    unit = target.add_unit(
        0, MediaChanger(ChangerConfig(shelf=True, **options)), performer=store.submit,
        capabilities=lambda: store.capabilities, state_performer=state or StateDictionary(),
    )
    for lun in options["drives"]:
        target.add_unit(lun, FakeDrive())
    return unit


class Library:
    """A target with a changer as LUN 0, two drives, and one initiator."""

    def __init__(self, **options: Any) -> None:
        self.target = Target("iqn.2026-11.org.example:library")
        self.target.add_port(TargetPort("iqn.2026-11.org.example:library,t,0x0001", 1, 1, Protocol.ISCSI))
        self.unit = add_changer(self.target, **options)
        self.initiator = Initiator(self.target)

    @property
    def changer(self) -> MediaChanger:
        """The device server."""
        server = self.unit.server
        assert isinstance(server, MediaChanger)
        return server

    def drive(self, number: int) -> FakeDrive:
        """The drive of a LUN."""
        server = next(unit.server for lun, unit in self.target.units.items() if lun >> 48 == number)
        assert isinstance(server, FakeDrive)
        return server

    def do(self, name: str, **options: Any) -> Result:
        """Execute an operation by its name. What it does must not be an internal failure."""
        result = self.initiator.command(name, **options)
        while (event := self.target.next_event()) is not None:
            if isinstance(event, InternalFailure):
                raise event.error
        return result

    def move(self, source: int, destination: int, **options: Any) -> Result:
        """MOVE MEDIUM."""
        return self.do("MOVE MEDIUM", source_address=source, destination_address=destination, **options)

    def exchange(self, source: int, first: int, second: int) -> Result:
        """EXCHANGE MEDIUM."""
        return self.do(
            "EXCHANGE MEDIUM", source_address=source, first_destination_address=first,
            second_destination_address=second,
        )

    def status(self, **fields: int) -> bytes:
        """Element status data."""
        fields = {"number_of_elements": 0xFFFF, "allocation_length": 65535, **fields}
        result = self.do("READ ELEMENT STATUS", **fields)
        assert result.good, result
        return result.data

    @property
    def places(self) -> dict[int, str]:
        """Names of volumes by element address, by the inventory."""
        return {address: volume.name for address, volume in sorted(self.changer.inventory.volumes.items())}

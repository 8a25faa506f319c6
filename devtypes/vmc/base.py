"""The state of a media changer and the checks that its commands share (SMC-3 4).

Inventory, doors and drives are here and nowhere else. Each change of the inventory is saved as one record before the
command that made it ends, so that after any cut a volume is in the element where it was, or where it went.
There are no physics: a medium transport element moves a volume at once and holds none between commands.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, ClassVar, Final

from devtypes.vmc.config import ChangerConfig, ElementType
from devtypes.vmc.inventory import Inventory, Volume
from scsiemu import asc
from scsiemu.cdb import CdbFields
from scsiemu.command import Command, Completion, Steps
from scsiemu.errors import IoFailed
from scsiemu.identity import Identity
from scsiemu.io_requests import IoRequest, LoadState, SaveState, Sleep
from scsiemu.logical_unit import BackgroundTask
from scsiemu.lun import decode, unit_lun
from scsiemu.media import ListMedia, MediumDrive
from scsiemu.operations import Operation
from scsiemu.sense import CheckCondition, Sense
from scsiemu.spc_removal import RemovalPrevention
from scsiemu.spc_vpd import VpdPages
from scsiemu.vpd import Designator, DesignatorType

__all__ = ["Asking", "ChangerBase", "ChangerCounters"]

# A part of an operation that asks stores; its value is not a completion.
Asking = Generator[IoRequest[Any], Any, None]

_POLL: Final = 0.01         # seconds between looks at whether another change of the inventory is done
_SMC_3: Final = 0x0480      # version descriptor


class ChangerCounters:
    """What the media changer statistics log page reports."""

    __slots__ = ("door_opens", "invalid_tags", "moves", "picks", "places", "port_opens", "scans", "tags_read")

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Back to zero."""
        self.moves = self.picks = self.places = self.tags_read = self.invalid_tags = 0
        self.door_opens = self.port_opens = self.scans = 0


class ChangerBase(RemovalPrevention):
    """Base of the mixins of a media changer.

    Args:
        config: what the library is made of.
        identity: names of the unit; what is empty is derived.

    Attributes:
        inventory: which volume is where.
        homeless: names on the shelf for which no slot was free at the last inventory.
        door_open: the main door: nothing moves.
        ports_open: the door of the import/export elements.
        position: element address that the medium transport element stands before.
        counted: for the log page.
    """

    peripheral_device_type: ClassVar[int] = 0x08
    # Linux's driver ch writes the LUN into every CDB, and so does mtx.
    lun_bits_ignored: ClassVar[bool] = True
    default_product: ClassVar[str] = "VIRTUAL LIBRARY"

    def __init__(self, config: ChangerConfig | None = None, identity: Identity | None = None) -> None:
        super().__init__(identity=identity)
        self.config = config or ChangerConfig()
        self.inventory = Inventory()
        self.homeless: tuple[str, ...] = ()
        self.door_open = False
        self.ports_open = False
        self.position = self.config.first_transport
        self.counted = ChangerCounters()
        self._changing = False
        self._restored = False

    @property
    def removable(self) -> bool:
        return True

    def version_descriptors(self) -> tuple[int, ...]:
        return (_SMC_3,)

    # --- readiness ---------------------------------------------------------------------------------------------

    def check_ready(self, command: Command, operation: Operation, cdb: CdbFields) -> None:
        if self.door_open:
            raise CheckCondition(asc.LOGICAL_UNIT_NOT_READY_A_DOOR_IS_OPEN)

    def pollable_sense(self, command: Command) -> Sense | None:
        if self.door_open:
            return Sense(asc.LOGICAL_UNIT_NOT_READY_A_DOOR_IS_OPEN)
        return super().pollable_sense(command)

    # --- drives ------------------------------------------------------------------------------------------------

    def drive(self, address: int) -> MediumDrive | None:
        """The drive in a data transfer element; None where its unit is not there."""
        lun = self.config.drives[address - self.config.first_drive]
        if self.config.relative:
            lun += decode(self.unit.lun).number
        unit = self.unit.target.units.get(unit_lun(lun))
        server: object = unit.server if unit is not None else None
        return server if isinstance(server, MediumDrive) else None

    def element_of(self, drive: object) -> int | None:
        """The data transfer element of a drive; None where it is another's (`scsiemu.media.Automation`)."""
        addresses = self.config.range_of(ElementType.DATA_TRANSFER).addresses
        return next((address for address in addresses if self.drive(address) is drive), None)

    def drive_designator(self, address: int) -> Designator | None:
        """How the drive names itself, with its serial number: the designator of its VPD page 83h."""
        server: object = self.drive(address)
        if not isinstance(server, VpdPages):
            return None
        found = server.designators()
        named = (designator for designator in found if designator.type == DesignatorType.T10_VENDOR_ID)
        return next(named, found[0] if found else None)

    def units_changed(self) -> None:
        """A drive may have come: what the inventory has in it is put in again."""
        super().units_changed()
        self._fill_drives()

    def _fill_drives(self) -> None:
        """Drives begin empty with each process; their volumes stayed where they were."""
        if not self._restored:
            return
        for address in self.config.range_of(ElementType.DATA_TRANSFER).addresses:
            volume = self.inventory.get(address)
            drive = self.drive(address)
            if volume is not None and drive is not None and drive.medium is None:
                drive.insert(volume.name)

    # --- the inventory -----------------------------------------------------------------------------------------

    @property
    def _inventory_key(self) -> str:
        return f"{self.unit.state_prefix}inventory"

    def restore(self) -> Steps:
        """The inventory as it was, and what has come to the shelf or gone from it."""
        earlier = super().restore()
        if earlier is not None:
            yield from earlier
        if self.unit.has_state_store:
            saved = yield from LoadState(self._inventory_key)
            if saved is not None:
                self.inventory = self._fitting(saved)
        try:
            yield from self.take_inventory()
        finally:
            self._restored = True
        self._fill_drives()
        return Completion()

    def _fitting(self, saved: bytes) -> Inventory:
        """A saved inventory, less what is in elements that this library does not have (any more)."""
        try:
            inventory = Inventory.decode(saved)
        except ValueError:
            return Inventory()
        volumes = {
            address: volume for address, volume in inventory.volumes.items()
            if self.config.type_of(address) not in (None, ElementType.MEDIUM_TRANSPORT)
        }
        return Inventory(volumes, inventory.outside)

    def take_inventory(self) -> Asking:
        """Look at the shelf: what has gone is gone, new volumes come into free slots."""
        if not self.config.shelf:
            return
        names = yield from ListMedia()
        drives = frozenset(
            address for address in self.config.range_of(ElementType.DATA_TRANSFER).addresses
            if (drive := self.drive(address)) is not None and drive.medium is not None
        )
        slots = self.config.range_of(ElementType.STORAGE).addresses
        found: list[tuple[str, ...]] = []

        def reconcile(inventory: Inventory) -> Inventory:
            changed, homeless = inventory.reconciled(names, slots=slots, keep=drives)
            found.append(homeless)
            return changed

        yield from self.change(reconcile)
        self.homeless = found[-1]
        self.counted.scans += 1
        tagged = sum(volume.primary is not None for volume in self.inventory.volumes.values())
        self.counted.tags_read += tagged
        self.counted.invalid_tags += len(self.inventory.volumes) - tagged

    def wait_for_turn(self) -> Asking:
        """Until nobody else is changing the inventory (an operator and a command may meet)."""
        while self._changing:
            yield from Sleep(_POLL)

    def change(self, make: Callable[[Inventory], Inventory]) -> Asking:
        """Replace the inventory: saved first, then believed. Raises IoFailed, and then nothing has changed."""
        yield from self.wait_for_turn()
        wanted = make(self.inventory)
        if wanted == self.inventory:
            return
        if self.unit.has_state_store:
            self._changing = True
            try:
                yield from SaveState(self._inventory_key, wanted.encode())
            except GeneratorExit:
                # Aborted while it was saved: it is, and a movement does not end half way.
                self.inventory = wanted
                raise
            finally:
                self._changing = False
        self.inventory = wanted

    # --- an operator -------------------------------------------------------------------------------------------

    def open_door(self) -> None:
        """The main door is opened: the unit is not ready. Raises CheckCondition while removal is prevented."""
        self.check_not_prevented()
        if not self.door_open:
            self.door_open = True
            self.counted.door_opens += 1

    def close_door(self) -> None:
        """The door is closed, volumes are counted, and every nexus hears that all may have changed."""
        if self.door_open:
            self.door_open = False
            self.unit.start_background(self._count_steps(), "inventory")
            self.unit.attention(asc.NOT_READY_TO_READY_CHANGE_MEDIUM_MAY_HAVE_CHANGED)

    def _count_steps(self) -> Steps:
        yield from self.take_inventory()
        return Completion()

    @property
    def ports(self) -> dict[int, str | None]:
        """The names of the volumes in the import/export elements, by address."""
        addresses = self.config.range_of(ElementType.IMPORT_EXPORT).addresses
        found = ((address, self.inventory.get(address)) for address in addresses)
        return {address: None if volume is None else volume.name for address, volume in found}

    def open_ports(self, *, force: bool = False) -> None:
        """The import/export door is opened. Raises CheckCondition while removal is prevented, but with `force`."""
        if not force:
            self.check_not_prevented()
        if not self.ports_open:
            self.ports_open = True
            self.counted.port_opens += 1

    def close_ports(self) -> None:
        """The import/export door is closed: every nexus hears that it was open."""
        if self.ports_open:
            self.ports_open = False
            self.unit.attention(asc.IMPORT_OR_EXPORT_ELEMENT_ACCESSED)

    def import_volume(self, name: str, address: int | None = None) -> BackgroundTask:
        """An operator puts a volume of the shelf into an import/export element: the first free one by default.

        Raises ValueError where the door is closed, the volume is in the library, or there is no room.
        """
        ports = self._opened()
        if self.inventory.find(name) is not None:
            raise ValueError(f"{name} is in the library already")
        if address is None:
            address = next((port for port in ports if self.inventory.get(port) is None), None)
        if address is None or address not in ports or self.inventory.get(address) is not None:
            raise ValueError("no such import/export element is free")
        volume = Volume.labelled(name, by_operator=True)
        where = address
        return self._operator(lambda inventory: inventory.with_volume(where, volume), "import")

    def export_volume(self, address: int) -> BackgroundTask:
        """An operator takes the volume out of an import/export element. Raises ValueError where that cannot be."""
        if address not in self._opened() or self.inventory.get(address) is None:
            raise ValueError("there is no volume in such an import/export element")
        return self._operator(lambda inventory: inventory.without(address, outside=True), "export")

    def _opened(self) -> range:
        if not self.ports_open:
            raise ValueError("the import/export door is closed")
        return self.config.range_of(ElementType.IMPORT_EXPORT).addresses

    def _operator(self, make: Callable[[Inventory], Inventory], name: str) -> BackgroundTask:
        def steps() -> Steps:
            try:
                yield from self.change(make)
            except (KeyError, ValueError):          # a robot was there first
                raise IoFailed("aborted", "the element has changed") from None
            return Completion()

        return self.unit.start_background(steps(), name)

"""Moving volumes: MOVE MEDIUM, EXCHANGE MEDIUM, POSITION TO ELEMENT, OPEN/CLOSE IMPORT/EXPORT ELEMENT (SMC-3 6)."""

from __future__ import annotations

from typing import Final

from devtypes.vmc import layouts
from devtypes.vmc.base import ChangerBase
from devtypes.vmc.config import ElementType
from scsiemu import asc
from scsiemu.cdb import CdbFields
from scsiemu.command import Command, Completion, Steps
from scsiemu.errors import IoFailed
from scsiemu.media import MediumDrive
from scsiemu.operations import operation
from scsiemu.sense import CheckCondition

__all__ = ["Movement"]

_MOVE_TIMEOUT: Final = 300      # recommended, seconds


class _ActionCode:
    """ACTION CODE of OPEN/CLOSE IMPORT/EXPORT ELEMENT."""

    OPEN: Final = 0
    CLOSE: Final = 1


class Movement(ChangerBase):
    """The medium transport element at work."""

    @operation(
        0xA5, "MOVE MEDIUM", layouts.MOVE_MEDIUM, needs_ready=True, exclusive=True, recommended_timeout=_MOVE_TIMEOUT,
        standard="SMC-3 6.6",
    )
    def move_medium(self, command: Command, cdb: CdbFields) -> Steps:
        """One volume from a full element to an empty one. From an element to itself nothing moves."""
        self._check_transport(cdb)
        source = self._address(cdb, "source_address")
        destination = self._address(cdb, "destination_address")
        if cdb.invert:                      # ROTATE of the transport geometry page is zero
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="invert")
        yield from self.wait_for_turn()
        self._check_full(source)
        if source == destination:
            self.position = source
            return Completion()
        yield from self._carry(command, {source: destination})
        return Completion()

    @operation(
        0xA6, "EXCHANGE MEDIUM", layouts.EXCHANGE_MEDIUM, needs_ready=True, exclusive=True,
        recommended_timeout=2 * _MOVE_TIMEOUT, standard="SMC-3 6.1",
    )
    def exchange_medium(self, command: Command, cdb: CdbFields) -> Steps:
        """The volume of the source goes to the first destination, what was there to the second, as one change."""
        self._check_transport(cdb)
        source = self._address(cdb, "source_address")
        first = self._address(cdb, "first_destination_address")
        second = self._address(cdb, "second_destination_address")
        for field in ("inv1", "inv2"):
            if getattr(cdb, field):
                raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field=field)
        if first == source:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="first_destination_address")
        if second == first:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="second_destination_address")
        yield from self.wait_for_turn()
        self._check_full(source)
        self._check_full(first)
        yield from self._carry(command, {source: first, first: second})
        return Completion()

    @operation(
        0x2B, "POSITION TO ELEMENT", layouts.POSITION_TO_ELEMENT, needs_ready=True,
        recommended_timeout=_MOVE_TIMEOUT, standard="SMC-3 6.8",
    )
    def position_to_element(self, command: Command, cdb: CdbFields) -> Completion:
        """The medium transport element goes before an element."""
        self._check_transport(cdb)
        destination = self._address(cdb, "destination_element_address")
        if cdb.invert:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="invert")
        self._check_reachable(destination)
        self.position = destination
        return Completion()

    @operation(
        0x1B, "OPEN/CLOSE IMPORT/EXPORT ELEMENT", layouts.OPEN_CLOSE_IMPORT_EXPORT_ELEMENT,
        available=lambda server: server.config.ports > 0, recommended_timeout=60, standard="SMC-3 6.7",
    )
    def open_close_import_export_element(self, command: Command, cdb: CdbFields) -> Completion:
        """The door of the import/export elements, whichever of them is named: they share it."""
        if self.config.type_of(cdb.element_address) != ElementType.IMPORT_EXPORT:
            raise CheckCondition(asc.INVALID_ELEMENT_ADDRESS, field="element_address")
        if cdb.action_code == _ActionCode.OPEN:
            self.open_ports()
        elif cdb.action_code == _ActionCode.CLOSE:
            self.close_ports()
        else:
            raise CheckCondition(asc.INVALID_FIELD_IN_CDB, field="action_code")
        return Completion()

    # --- checks ------------------------------------------------------------------------------------------------

    def _check_transport(self, cdb: CdbFields) -> None:
        """0 is the default medium transport element (SMC-3 4.2.2)."""
        transport = cdb.medium_transport_element_address
        if transport and self.config.type_of(transport) != ElementType.MEDIUM_TRANSPORT:
            raise CheckCondition(asc.INVALID_ELEMENT_ADDRESS, field="medium_transport_element_address")

    def _address(self, cdb: CdbFields, field: str) -> int:
        """An element that volumes can be moved to or from: any but a medium transport element."""
        address: int = getattr(cdb, field)
        if self.config.type_of(address) in (None, ElementType.MEDIUM_TRANSPORT):
            raise CheckCondition(asc.INVALID_ELEMENT_ADDRESS, field=field)
        return address

    def _check_full(self, address: int) -> None:
        if self.inventory.get(address) is None:
            raise CheckCondition(asc.MEDIUM_SOURCE_ELEMENT_EMPTY)

    def _check_reachable(self, address: int) -> None:
        """Behind the open import/export door nothing can be reached."""
        if self.ports_open and self.config.type_of(address) == ElementType.IMPORT_EXPORT:
            raise CheckCondition(asc.MEDIUM_MAGAZINE_NOT_ACCESSIBLE)

    def _drive_at(self, address: int) -> MediumDrive | None:
        """The drive in an element; None where it is no data transfer element."""
        if self.config.type_of(address) != ElementType.DATA_TRANSFER:
            return None
        drive = self.drive(address)
        if drive is None:
            raise CheckCondition(asc.DATA_TRANSFER_DEVICE_REMOVED)
        return drive

    def _check_moves(self, command: Command, moves: dict[int, int]) -> None:
        """Raises CheckCondition where one of the movements cannot be: nothing moves then."""
        if command.nexus_state.read_only:
            raise CheckCondition(asc.WRITE_PROTECTED)
        for address in (*moves, *moves.values()):
            self._check_reachable(address)
        for destination in moves.values():
            if destination not in moves and self.inventory.get(destination) is not None:
                raise CheckCondition(asc.MEDIUM_DESTINATION_ELEMENT_FULL)
        for source in moves:
            drive = self._drive_at(source)
            if drive is not None:
                if drive.medium is None:    # its cartridge is known here and not there: the drive lost it
                    raise CheckCondition(asc.DATA_TRANSFER_DEVICE_ERROR_UNLOAD_MISSING)
                drive.check_removal(command)
        for destination in moves.values():
            drive = self._drive_at(destination)
            if drive is not None and destination not in moves:
                drive.check_insertion(command)

    # --- the movement ------------------------------------------------------------------------------------------

    def _carry(self, command: Command, moves: dict[int, int]) -> Steps:
        """Take out of drives, save where everything will be, put into drives."""
        self._check_moves(command, moves)
        names = {}
        for source in moves:
            volume = self.inventory.get(source)
            assert volume is not None
            names[source] = volume.name
            drive = self._drive_at(source)
            if drive is not None:
                drive.remove(by=command)
        slots = self.config.range_of(ElementType.STORAGE).addresses
        try:
            yield from self.change(lambda inventory: inventory.placed(moves, slots))
        except IoFailed:
            for source, name in names.items():
                self._put(command, source, name)
            raise
        except GeneratorExit:
            self._arrive(command, moves, names)
            raise
        self._arrive(command, moves, names)
        return Completion()

    def _arrive(self, command: Command, moves: dict[int, int], names: dict[int, str]) -> None:
        self.counted.moves += 1
        for source, destination in moves.items():
            self.counted.picks += 1
            self.counted.places += 1
            self.position = destination
            self._put(command, destination, names[source])

    def _put(self, command: Command, address: int, name: str) -> None:
        """Into the drive where there is one. A drive that has gone meanwhile gets it when it comes back."""
        if self.config.type_of(address) != ElementType.DATA_TRANSFER:
            return
        drive = self.drive(address)
        if drive is not None and drive.medium is None:
            drive.insert(name, by=command)

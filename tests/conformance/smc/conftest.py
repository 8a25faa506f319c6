"""Our own unit for the SMC cases: a library of two tape drives, eight slots and two import/export elements."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from conformance import ConformanceUnit, LocalUnit
from smc_library import DRIVE, PORT, Library, settle

from devtypes.vmc import ChangerConfig, MediaChanger
from devtypes.vt import TapeConfig, TapeDrive
from iohandlers._shelf import Shelf
from iohandlers.memory import open_store
from scsiemu.device_server import DeviceServer
from scsiemu.nexus import Protocol, TargetPort
from scsiemu.target import Target
from scsiemu.testing.initiator import StateDictionary


@pytest.fixture
def local_unit() -> ConformanceUnit:
    """Four cartridges, in the first slots."""
    shelf = Shelf({f"C0000{number}L8": open_store(size=1 << 20) for number in range(1, 5)})
    target = Target("iqn.2026-11.org.example:smc")
    target.add_port(TargetPort("iqn.2026-11.org.example:smc,t,0x0001", 1, 1, Protocol.ISCSI))
    changer = MediaChanger(ChangerConfig(drives=(1, 2), slots=8, ports=2, shelf=True))
    servers: list[DeviceServer] = [changer, *(TapeDrive(TapeConfig(shelf=True)) for _ in range(2))]
    state = StateDictionary()
    for lun, server in enumerate(servers):
        store = shelf.drive()
        target.add_unit(
            lun, server, performer=store.submit, capabilities=lambda store=store: store.capabilities,
            state_performer=state,
        )
    return LocalUnit(target)


@pytest.fixture
def library(unit: ConformanceUnit) -> Iterator[Library]:
    """The unit with its geometry. What a case left in drives and import/export elements goes back to free slots, and
    what it locked is unlocked."""
    library = Library(unit)
    yield library
    unit.attentions()
    unit.execute(bytes((0x1E, 0, 0, 0, 0, 0)))
    for kind in (DRIVE, PORT):
        for element in library.elements(kind):
            if not element.full:
                continue
            if kind == DRIVE:
                drive = library.drive_unit(element.address)
                settle(drive)
                drive.execute(bytes((0x1E, 0, 0, 0, 0, 0)))
                drive.execute(bytes((0x1B, 0, 0, 0, 0, 0)))
            free = next(slot.address for slot in library.elements(2) if not slot.full)
            library.move(element.address, free)

"""A changer with tape drives that are units of the same target."""

from __future__ import annotations

import pytest
from vmc_bench import DRIVE, SLOT

from devtypes.vmc import ChangerConfig, MediaChanger
from devtypes.vt import TapeConfig, TapeDrive
from iohandlers._shelf import Shelf
from iohandlers.memory import open_store
from scsiemu import asc
from scsiemu.nexus import Protocol, TargetPort
from scsiemu.target import Target
from scsiemu.testing.initiator import Initiator, Result, StateDictionary


class Tapes:
    """Two drives, three blank cartridges."""

    def __init__(self, shelf: Shelf | None = None, state: StateDictionary | None = None) -> None:
        self.shelf = shelf or Shelf({f"T0000{n}L8": open_store(size=1 << 20) for n in range(3)})
        self.target = Target("iqn.2026-11.org.example:tapes")
        self.target.add_port(TargetPort("iqn.2026-11.org.example:tapes,t,0x0001", 1, 1, Protocol.ISCSI))
        servers = [MediaChanger(ChangerConfig(drives=(1, 2), slots=4, shelf=True))]
        servers += [TapeDrive(TapeConfig(shelf=True)) for _ in range(2)]
        for lun, server in enumerate(servers):
            store = self.shelf.drive()
            self.target.add_unit(
                lun, server, performer=store.submit, capabilities=lambda store=store: store.capabilities,
                state_performer=state,
            )
        self.initiator = Initiator(self.target)

    def do(self, name: str, lun: int = 0, **options: int | bytes) -> Result:
        """A command whose unit attentions are taken before."""
        self.initiator.clear_attentions()
        return self.initiator.command(name, lun=lun, **options)     # type: ignore[arg-type]  # fields and data

    def move(self, source: int, destination: int) -> Result:
        """MOVE MEDIUM."""
        return self.do("MOVE MEDIUM", source_address=source, destination_address=destination)


def test_tape_library_write_move_read() -> None:
    """What is written in one drive is read in the other; a drive gives its cartridge when it is unloaded."""
    tapes = Tapes()

    assert tapes.do("TEST UNIT READY", 1).code == asc.MEDIUM_NOT_PRESENT
    assert tapes.move(SLOT, DRIVE).good
    assert tapes.do("WRITE(6)", 1, transfer_length=5, data_out=b"hello").good
    assert tapes.move(DRIVE, DRIVE + 1).code == asc.MEDIUM_REMOVAL_PREVENTED_BY_DATA_TRANSFER_ELEMENT
    assert tapes.do("LOAD UNLOAD", 1).good
    assert tapes.move(DRIVE, DRIVE + 1).good
    assert tapes.do("READ(6)", 2, transfer_length=5, data_in=5).data == b"hello"
    assert tapes.do("TEST UNIT READY", 1).code == asc.MEDIUM_NOT_PRESENT


def test_tape_library_tells_every_nexus() -> None:
    """NOT READY TO READY CHANGE for each nexus of a drive that was loaded."""
    tapes = Tapes()
    other = Initiator(tapes.target, "iqn.2026-11.org.example:other")
    tapes.move(SLOT, DRIVE)

    ready = asc.NOT_READY_TO_READY_CHANGE_MEDIUM_MAY_HAVE_CHANGED
    assert other.command("TEST UNIT READY", lun=1).code == ready
    assert other.command("TEST UNIT READY", lun=2).code == asc.MEDIUM_NOT_PRESENT


def test_tape_library_prevented() -> None:
    """PREVENT ALLOW MEDIUM REMOVAL of the drive keeps its cartridge there."""
    tapes = Tapes()
    tapes.move(SLOT, DRIVE)
    tapes.do("PREVENT ALLOW MEDIUM REMOVAL", 1, prevent=1)

    assert tapes.move(DRIVE, SLOT).code == asc.MEDIUM_REMOVAL_PREVENTED


@pytest.mark.parametrize("number", [1, 2])
def test_tape_library_restarts_with_cartridge(number: int) -> None:
    """A cartridge that was in a drive is in it again after a restart, loaded."""
    state = StateDictionary()
    stores = {"T00000L8": open_store(size=1 << 20)}
    first = Tapes(Shelf(stores), state)
    first.move(SLOT, DRIVE + number - 1)
    first.do("WRITE(6)", number, transfer_length=3, data_out=b"abc")
    first.do("WRITE FILEMARKS(6)", number, filemark_count=1)
    again = Tapes(Shelf(stores), state)

    assert again.do("READ(6)", number, transfer_length=3, data_in=3).data == b"abc"


def test_tape_library_is_named_by_its_drives() -> None:
    """VPD page B3h of a drive has the serial number of the changer that it belongs to; one on its own has none."""
    tapes = Tapes()
    tapes.target.add_unit(3, TapeDrive(TapeConfig(shelf=True)))

    def page(code: int, lun: int) -> bytes:
        return tapes.do("INQUIRY", lun, evpd=1, page_code=code).data[4:]

    assert page(0xB3, 1) == page(0xB3, 2) == page(0x80, 0) != b""
    assert page(0xB3, 3) == b""


def test_tape_library_attributes_go_with_the_cartridge() -> None:
    """What is written into a cartridge's memory in one drive is read of it in another, and of no other cartridge."""
    tapes = Tapes()
    attribute = bytes.fromhex("0000000a 0808 02 0005") + b"daily"
    assert tapes.move(SLOT, DRIVE).good
    assert tapes.do("WRITE ATTRIBUTE", 1, data_out=attribute).good
    assert tapes.do("LOAD UNLOAD", 1).good
    assert tapes.move(DRIVE, DRIVE + 1).good
    assert tapes.move(SLOT + 1, DRIVE).good

    assert tapes.do("READ ATTRIBUTE", 2, first_attribute=0x0808).data == attribute
    assert tapes.do("READ ATTRIBUTE", 1, first_attribute=0x0808).code == asc.INVALID_FIELD_IN_CDB

"""The device type kit: the plain unit passes it, and it finds planted bugs."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from engine_spc_unit import PlainServer

from scsiemu.cdb import CdbFields, CdbLayout
from scsiemu.command import Command, Completion
from scsiemu.layout import PageLayout
from scsiemu.logical_unit import LogicalUnit
from scsiemu.mode_pages import ModePage
from scsiemu.operations import DataDirection, operation
from scsiemu.spc import SpcDeviceServer
from scsiemu.target import Target
from scsiemu.testing.device_type_kit import UnitFactory, check_device_type
from scsiemu.testing.initiator import Initiator, StateDictionary
from scsiemu.vpd import available_vpd_pages, vpd_page
from scsiemu.well_known import ReportLunsUnit, TargetLogPagesUnit

SIX = CdbLayout("opcode:8 _:8 length:16 _:8 control:8")


def unit(make: Callable[[], SpcDeviceServer], *, state: bool = False) -> UnitFactory:
    """A factory of units with this device server."""

    def factory(target: Target) -> LogicalUnit:
        return target.add_unit(0, make(), state_performer=StateDictionary() if state else None)

    return factory


@pytest.mark.parametrize("state", [False, True])
def test_check_device_type_plain(state: bool) -> None:
    """What SPC gives every device type passes, with a state store and without."""
    check_device_type(unit(PlainServer, state=state))


@pytest.mark.parametrize("make", [ReportLunsUnit, TargetLogPagesUnit])
def test_check_device_type_well_known(make: type[ReportLunsUnit]) -> None:
    """The well known units pass."""
    check_device_type(lambda target: target.add_unit(0, make()))


class Crashing(PlainServer):
    """Every second CDB of an operation raises."""

    @operation(0xC0, "CRASH", SIX)
    def crash(self, command: Command, cdb: CdbFields) -> Completion:
        return Completion(bytes(1 // (cdb.length % 2)))


class Unlisted(PlainServer):
    """A VPD page that page 00h does not list."""

    @vpd_page(0x00, "Supported VPD pages")
    def vpd_supported_pages(self, command: Command) -> bytes:
        return bytes(available_vpd_pages(self))[:-1]


class WrongAllocation(PlainServer):
    """A length in the data that follows the allocation length."""

    @operation(0xC1, "LENGTH", SIX, data=DataDirection.IN, allocation="length")
    def length(self, command: Command, cdb: CdbFields) -> Completion:
        return Completion(cdb.length.to_bytes(2, "big") + bytes(10))


class OddPages(PlainServer):
    """Changeable values of another length."""

    def mode_page_declarations(self) -> list[ModePage]:
        page = ModePage(0x20, 0, "Odd", PageLayout("a*:8 b:8"))
        page.layout.changeable = b"\xff"
        return [*super().mode_page_declarations(), page]


class WrongLogLists(PlainServer):
    """A log page that is listed, and not there."""

    def log_page_lists(self) -> dict[tuple[int, int], bytes]:
        lists = super().log_page_lists()
        return {**lists, (0, 0): lists[0, 0] + b"\x3e"}


class Lenient(PlainServer):
    """Obsolete bits that are declared reserved, and not refused."""

    def _check(self, command: Command) -> object:  # type: ignore[override]  # the planted bug
        cdb = bytearray(command.cdb)
        if cdb[0] == 0x00:
            cdb[1:5] = bytes(4)
            command.cdb = bytes(cdb)
        return super()._check(command)


@pytest.mark.parametrize("make", [Crashing, Unlisted, WrongAllocation, OddPages, WrongLogLists, Lenient])
def test_check_device_type_finds_planted_bugs(make: type[PlainServer]) -> None:
    """Each planted bug fails the kit."""
    with pytest.raises(AssertionError):
        check_device_type(unit(make))


def test_initiator_data_out_paths_agree() -> None:
    """Data-Out that comes with the command and Data-Out that is asked for have the same effect."""
    target = Target("iqn.2026-11.org.example:paths")
    target.add_unit(0, PlainServer())
    one = Initiator(target)
    cdb = one.cdb("WRITE BUFFER", mode=2, data_out=b"abcdef")

    assert one.execute(0, cdb, b"abcdef", solicited=True).good
    assert one.command("READ BUFFER(10)", mode=2, data_in=6).data == b"abcdef"

"""The optical drive passes the conformance kit of device types, and any command ends."""

from __future__ import annotations

from hypothesis import given, settings
from vmmc_bench import BLOCK, Bench, image, store_of

from devtypes.vmmc import OpticalConfig, OpticalDrive
from devtypes.vmmc.disc_format import stored_size
from devtypes.vmmc.profiles import KINDS
from iohandlers.memory import open_store
from scsiemu.logical_unit import LogicalUnit
from scsiemu.operations import OperationTable
from scsiemu.target import Target
from scsiemu.testing.device_type_kit import check_device_type
from scsiemu.testing.strategies import CommandCase, commands


def add_drive(target: Target, lun: int = 0) -> LogicalUnit:
    """A drive with a disc of 64 blocks."""
    store = store_of(image(64))
    return target.add_unit(
        lun, OpticalDrive(OpticalConfig()), performer=store.submit, capabilities=lambda: store.capabilities
    )


def test_drive_check_device_type() -> None:
    """Reserved bits, REPORT SUPPORTED OPERATION CODES, pages, allocation lengths, parameter lists, random CDBs."""
    check_device_type(add_drive)


@settings(max_examples=150, deadline=None)
@given(commands(OperationTable(OpticalDrive), block_size=BLOCK, most=4096))
def test_drive_any_command_ends(case: CommandCase) -> None:
    """Whatever is asked of a drive with a CD ends with a status, without an internal failure."""
    bench = Bench()

    bench.initiator.execute(0, case.cdb, case.data_out, case.data_in_length)
    assert bench.target.next_event() is None


@settings(max_examples=40, deadline=None)
@given(commands(OperationTable(OpticalDrive), block_size=BLOCK, most=256))
def test_drive_any_command_ends_on_blank_discs(case: CommandCase) -> None:
    """The same on media that can be recorded."""
    for kind in ("cd-rw", "dvd+r", "bd-re", "dvd-rw"):
        store = open_store(size=stored_size(KINDS[kind], 4096))
        bench = Bench(store, blank=kind)

        bench.initiator.execute(0, case.cdb, case.data_out, case.data_in_length)
        bench.initiator.execute(0, case.cdb, case.data_out, case.data_in_length)
        assert bench.target.next_event() is None

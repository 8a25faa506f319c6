"""The tape drive passes the conformance kit of device types, and any command ends."""

from __future__ import annotations

from hypothesis import given, settings
from vt_bench import Bench, add_drive

from devtypes.vt import TapeDrive
from scsiemu.operations import OperationTable
from scsiemu.testing.device_type_kit import check_device_type
from scsiemu.testing.strategies import CommandCase, commands


def test_drive_check_device_type() -> None:
    """Reserved bits, REPORT SUPPORTED OPERATION CODES, pages, allocation lengths, parameter lists, random CDBs."""
    check_device_type(add_drive)


@settings(max_examples=150, deadline=None)
@given(commands(OperationTable(TapeDrive), block_size=64, most=4096))
def test_drive_any_command_ends(case: CommandCase) -> None:
    """Whatever is asked of a tape with a few blocks ends with a status, without an internal failure."""
    bench = Bench()
    bench.write(b"one")
    bench.mark()
    bench.write(b"three")

    bench.initiator.execute(0, case.cdb, case.data_out, case.data_in_length)
    assert bench.target.next_event() is None

"""The media changer passes the conformance kit of device types, and any command ends."""

from __future__ import annotations

from hypothesis import given, settings
from vmc_bench import Library, add_changer

from devtypes.vmc import MediaChanger
from scsiemu.operations import OperationTable
from scsiemu.testing.device_type_kit import check_device_type
from scsiemu.testing.strategies import CommandCase, commands


def test_changer_check_device_type() -> None:
    """Reserved bits, REPORT SUPPORTED OPERATION CODES, pages, allocation lengths, parameter lists, random CDBs."""
    check_device_type(add_changer)


@settings(max_examples=150, deadline=None)
@given(commands(OperationTable(MediaChanger), block_size=64, most=4096))
def test_changer_any_command_ends(case: CommandCase) -> None:
    """Whatever is asked of a library ends with a status, without an internal failure."""
    library = Library()

    while library.target.next_event() is not None:
        pass
    library.initiator.execute(0, case.cdb, case.data_out, case.data_in_length)
    assert library.target.next_event() is None

"""The fixtures of the pytest plug-in, used as users use them."""

from __future__ import annotations

import subprocess
import sys

import pytest

from scsiemu.sam import Status
from scsiemu.testing.served import IscsiTarget, ScsiTarget


def test_fixture_scsi_target(scsi_target: ScsiTarget) -> None:
    """An initiator in this process writes to a disk in memory and reads back."""
    block = b"fixture!" * 64

    written = scsi_target.initiator.command("WRITE(10)", lba=5, transfer_length=1, data_out=block)
    read = scsi_target.initiator.command("READ(10)", lba=5, transfer_length=1)

    assert (written.status, read.status, read.data) == (Status.GOOD, Status.GOOD, block)


@pytest.mark.scsi_units("--disk", "1M,block=4096", "--disk", "2M,ro")
def test_fixture_scsi_target_units(scsi_target: ScsiTarget) -> None:
    """The marker says which units there are."""
    capacity = scsi_target.initiator.command("READ CAPACITY(10)", lun=0)
    refused = scsi_target.initiator.command("WRITE(10)", lun=1, transfer_length=1, data_out=bytes(512))

    assert capacity.data == (255).to_bytes(4, "big") + (4096).to_bytes(4, "big")
    assert refused.status == Status.CHECK_CONDITION


@pytest.mark.scsi_units("--disk", "1M,faulty=fail read offset=512..1023; delay write seconds=0.01")
def test_fixture_scsi_target_waits_for_stores(scsi_target: ScsiTarget) -> None:
    """A store that answers late is waited for; one that fails gives sense data."""
    written = scsi_target.initiator.command("WRITE(10)", lba=0, transfer_length=1, data_out=bytes(512))
    read = scsi_target.initiator.command("READ(10)", lba=1, transfer_length=1)

    assert written.good
    assert read.code is not None
    assert read.code.key == 3


@pytest.mark.scsi_units("--disk", "1M", "--disk", "2M")
def test_fixture_iscsi_target(iscsi_target: IscsiTarget) -> None:
    """A server in a process of its own has a URL for each unit."""
    ended = subprocess.run(
        [sys.executable, "-m", "scsiemu.app", "send", iscsi_target.urls[1], "00" * 6], timeout=30, check=False
    )

    assert ended.returncode == 0
    assert iscsi_target.url == f"iscsi://{iscsi_target.portal}/{iscsi_target.iqn}/0"
    assert [unit.lun for unit in iscsi_target.units] == [0, 1]


def test_fixture_iscsi_target_refuses_wrong_units() -> None:
    """A server that does not start says so at once."""
    with pytest.raises(RuntimeError, match="exit code 2"):
        IscsiTarget("--disk", "1M,wrong")


def test_plugin_loads_cheaply() -> None:
    """Loading the plug-in imports neither the engine nor the program."""
    code = (
        "import sys, scsiemu.testing.pytest_plugin; ours = ('scsiemu', 'devtypes', 'iohandlers', 'transports'); "
        "print(sorted(name for name in sys.modules if name.split('.')[0] in ours))"
    )

    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)

    assert ended.stdout.strip() == "['scsiemu', 'scsiemu.testing', 'scsiemu.testing.pytest_plugin']"


def test_package_names_are_there() -> None:
    """Every name that the package lists can be imported, and importing the package alone imports nothing."""
    code = (
        "import sys, scsiemu; before = [m for m in sys.modules if m.startswith('scsiemu.')]; "
        "from scsiemu import *; print(before, all(name in globals() for name in scsiemu.__all__))"
    )

    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)

    assert ended.stdout.strip() == "[] True"

"""smartctl reads health, counters and self-tests of a disk, a tape drive and a changer through their nodes."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from checked_by import program

sys.path.insert(0, str(Path(__file__).parents[1] / "devnode"))

from devnode_world import needs_nodes, run_exec  # the harness of the nodes' tests

pytestmark = pytest.mark.oracle

SCRIPT = """
sg_dd if=/dev/zero of=/dev/sg0 bs=512 count=2048 2>/dev/null
sg_dd if=/dev/sg0 of=/dev/null bs=512 count=4096 2>/dev/null
sg_write_long --lba=9 --wr_uncor --xfer_len=0 /dev/sg0; sg_dd if=/dev/sg0 of=/dev/null bs=512 skip=9 count=1 2>/dev/null
smartctl -d scsi -x /dev/sg0; echo ----
smartctl -d scsi -t short /dev/sg0; sleep 0.2; smartctl -d scsi -l selftest /dev/sg0; echo ----
smartctl -d scsi -a /dev/sg1
sg_prevent --prevent=1 /dev/sg1; sg_start --eject /dev/sg1 2>/dev/null; sg_prevent --allow /dev/sg1
for unit in 1 1 2; do echo ----; smartctl -d scsi -H -H /dev/sg$unit; done
"""


def test_smartctl(require_tool: Callable[[str], str], tmp_path: Path) -> None:
    """What smartctl says of each is what the unit has done; TapeAlert is read of the drive and the changer."""
    require_tool("smartctl")
    require_tool("sg_dd")
    needs_nodes()
    units = ("--disk", "8M,serial=SN-ONE,rpm=7200", "--tape", "64M", "--library", f"{tmp_path},drives=1,create=1")
    done = run_exec("sh", "-c", SCRIPT, units=units, program=program())
    disk, tests, tape, alert, told, changer = done.stdout.decode().split("----\n")

    for wanted in (
        r"Product: +VIRTUAL DISK", r"User Capacity: +8,388,608 bytes", r"Logical block size: +512 bytes",
        r"Rotation Rate: +7200 rpm", r"Serial number: +SN-ONE", r"SMART Health Status: OK",
        r"Writeback Cache is: +Enabled", r"read:( +0){5} +0\.00[0-9] +[1-9]", r"write:( +0){5} +0\.001 +0",
        r"Pending defect count: *1 ", r"Accumulated power on time, hours:minutes 0:00",
    ):
        assert re.search(wanted, disk), (wanted, disk)
    assert re.search(r"# 1 +Background short +Completed +- +0 +- \[- +- +-\]", tests), tests
    assert re.search(r"Device type: +tape(.|\n)*TapeAlert(.|\n)*Accumulated load-unload cycles: +1\n", tape), tape
    # The alert that removal was prevented, once.
    assert re.findall(r"\[0x(..)\]", alert) == ["0a"], alert
    assert "TapeAlert: OK" in told
    assert "TapeAlert: OK" in changer

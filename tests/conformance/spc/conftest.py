"""Our own unit for the SPC cases: any device type has to pass them; a disk is the one at hand."""

from __future__ import annotations

import pytest
from conformance import ConformanceUnit, LocalUnit

from devtypes.vd import DiskConfig, VirtualDisk
from iohandlers.memory import open_store
from scsiemu.nexus import Protocol, TargetPort
from scsiemu.target import Target


@pytest.fixture
def local_unit() -> ConformanceUnit:
    """A disk of 1 MiB."""
    store = open_store(size=1 << 20)
    target = Target("iqn.2026-11.org.example:spc")
    target.add_port(TargetPort("iqn.2026-11.org.example:spc,t,0x0001", 1, 1, Protocol.ISCSI))
    disk = VirtualDisk(DiskConfig.for_store(store.capabilities))
    target.add_unit(0, disk, performer=store.submit, capabilities=lambda: store.capabilities)
    return LocalUnit(target)

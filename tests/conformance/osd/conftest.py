"""Our own unit for the OSD cases, and a formatted one in both versions of the command set."""

from __future__ import annotations

import pytest
from conformance import ConformanceUnit, LocalUnit
from osd_unit import Osd

from devtypes.osd import ObjectStorageDevice
from iohandlers.objects_memory import open_store
from scsiemu.nexus import Protocol, TargetPort
from scsiemu.target import Target


@pytest.fixture
def local_unit() -> ConformanceUnit:
    """A unit in memory."""
    store = open_store()
    target = Target("iqn.2026-11.org.example:osd")
    target.add_port(TargetPort("iqn.2026-11.org.example:osd,t,0x0001", 1, 1, Protocol.ISCSI))
    target.add_unit(
        0, ObjectStorageDevice(), performer=store.submit, capabilities=lambda: store.capabilities
    )
    return LocalUnit(target)


@pytest.fixture(params=[1, 2], ids=["osd1", "osd2"])
def osd(unit: ConformanceUnit, request: pytest.FixtureRequest) -> Osd:
    """A formatted unit with a partition and an object, by one version."""
    return Osd(unit, request.param)


@pytest.fixture
def osd2(unit: ConformanceUnit) -> Osd:
    """The same for what OSD-2 alone has."""
    return Osd(unit, 2)

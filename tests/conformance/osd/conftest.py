"""Our own unit for the OSD cases, and a formatted one in both versions of the command set."""

from __future__ import annotations

import pytest
from conformance import ConformanceUnit, LocalUnit
from osd_manager import SECRET, Keys, Manager, master_key
from osd_unit import Osd, local_target

from devtypes.osd.security import initial_master_key

_remote: dict[str, Keys] = {}


@pytest.fixture
def local_unit() -> ConformanceUnit:
    """A unit in memory."""
    return LocalUnit(local_target())


@pytest.fixture(params=[1, 2], ids=["osd1", "osd2"])
def osd(unit: ConformanceUnit, request: pytest.FixtureRequest) -> Osd:
    """A formatted unit with a partition and an object, by one version."""
    return Osd(unit, request.param)


@pytest.fixture
def osd2(unit: ConformanceUnit) -> Osd:
    """The same for what OSD-2 alone has."""
    return Osd(unit, 2)


@pytest.fixture
def known(unit: ConformanceUnit, request: pytest.FixtureRequest) -> Keys:
    """The master key of a unit that has keys."""
    if request.config.getoption("--url") is None:
        return Keys(initial_master_key(SECRET))
    given: str | None = request.config.getoption("--osd-master-key")
    if given is None:
        unit.not_supported("its master key is not known: --osd-master-key")
    return _remote.setdefault(given, master_key(given))


@pytest.fixture(params=[1, 2], ids=["osd1", "osd2"])
def manager(unit: ConformanceUnit, known: Keys, request: pytest.FixtureRequest) -> Manager:
    """A security manager, of one version."""
    return Manager(unit, request.param, known)


@pytest.fixture
def manager2(unit: ConformanceUnit, known: Keys) -> Manager:
    """Of OSD-2."""
    return Manager(unit, 2, known)

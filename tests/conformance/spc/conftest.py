"""Our own units for the SPC cases: one of each device type, and every case with each of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from conformance import ConformanceUnit, LocalUnit

from scsiemu.testing.served import ScsiTarget

# As on the command line; {} is a folder that is not there yet.
UNITS: Final = {
    "disk": ("--disk", "1M"), "tape": ("--tape", "4M"), "changer": ("--library", "{}"),
    "optical": ("--optical", "{}/disc.iso"), "object storage": ("--osd", "1G"),
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Every case with each device type, unless there is a unit by its URL."""
    if "unit" in metafunc.fixturenames and metafunc.config.getoption("--url") is None:
        metafunc.fixturenames.append("device_type")
        metafunc.parametrize("device_type", UNITS)


@pytest.fixture
def local_unit(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ConformanceUnit]:
    """A unit of the case's device type."""
    (tmp_path / "disc.iso").write_bytes(bytes(1 << 20))
    chosen = UNITS[request.node.callspec.params["device_type"]]
    words = [word.format(tmp_path if "disc" in word else tmp_path / "folder") for word in chosen]
    with ScsiTarget(*words) as made:
        unit = LocalUnit(made.target)
        unit.attentions()
        yield unit

"""Fixtures for pytest, there as soon as the package is installed. Nothing is imported before a fixture is used.

    def test_mine(iscsi_target):                # a running server on a free port
        subprocess.run(["iscsi-inq", iscsi_target.url], check=True)

    def test_engine(scsi_target):               # in this process, without any I/O
        assert scsi_target.initiator.command("INQUIRY").good

    @pytest.mark.scsi_units("--disk", "1G,block=4096")      # other units than one disk of 64 MiB
    def test_other(iscsi_target): ...
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from scsiemu.testing.served import IscsiTarget, ScsiTarget

__all__ = ["iscsi_target", "pytest_configure", "scsi_target"]


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line(
        "markers", "scsi_units(*arguments): units of scsi_target and iscsi_target, as on the command line"
    )


@pytest.fixture
def scsi_target(request: pytest.FixtureRequest) -> Iterator[ScsiTarget]:
    """A `Target` in this process with a disk in memory, and an `Initiator` that is logged in to it."""
    from scsiemu.testing.served import ScsiTarget

    with ScsiTarget(*_units(request)) as target:
        yield target


@pytest.fixture
def iscsi_target(request: pytest.FixtureRequest) -> Iterator[IscsiTarget]:
    """A running iSCSI target on a free port of this machine: `.url`, `.urls`, `.portal`, `.iqn`."""
    from scsiemu.testing.served import IscsiTarget

    with IscsiTarget(*_units(request)) as target:
        yield target


def _units(request: pytest.FixtureRequest) -> tuple[str, ...]:
    marker = request.node.get_closest_marker("scsi_units")
    return tuple(str(word) for word in marker.args) if marker is not None else ("--disk", "64M")

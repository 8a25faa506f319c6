"""The virtual disk runs the conformance kit of device types, in the forms it is sold in."""

from __future__ import annotations

from typing import Any

import pytest
from vd_bench import add_disk

from scsiemu.testing.device_type_kit import check_device_type


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"thin": False, "write_protect": True},
        {"removable": True, "block_size": 4096, "physical_exponent": 0},
        {"pi_type": 1, "block_size": 520},
        {"pi_type": 2},
        {"pi_type": 3, "block_size": 4160},
    ],
    ids=["thin", "thick-ro", "removable", "pi1", "pi2", "pi3"],
)
def test_check_device_type(options: dict[str, Any]) -> None:
    """Reserved bits, REPORT SUPPORTED OPERATION CODES, pages, lengths and random CDBs, as the kit asks."""
    check_device_type(lambda target: add_disk(target, size=4 << 20, **options), random_cdbs=12)

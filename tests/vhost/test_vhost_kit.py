"""vhost-user-scsi runs the conformance kit of transports."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
from vhost_world import VhostBench, ready

from scsiemu.testing.served import ScsiTarget
from scsiemu.testing.transport_kit import check_transport
from transports.vhost.codes import Feature

PLAIN = Feature.VERSION_1 | Feature.PROTOCOL_FEATURES | Feature.INOUT


@pytest.mark.parametrize(
    "options",
    [
        {"base": 0xFFF0},
        {"queues": 4, "fragment": 8192, "size": 256},
        {"features": PLAIN, "fragment": 1 << 16, "size": 256},
        {"features": PLAIN & ~Feature.PROTOCOL_FEATURES, "indirect": False},
    ],
    ids=("all features", "several queues", "plain rings", "without protocol features"),
)
def test_transport_kit(options: dict[str, Any]) -> None:
    """The kit passes, whatever is negotiated. The residual count of both directions together is tested elsewhere."""
    check_transport(
        lambda target, stores: VhostBench((target,), stores, **options), bidirectional=False, longest_cdb=32,
        lun_bytes=6, counts_overflow=False,
    )


def test_tape_and_optical_units() -> None:
    """A tape is written and read back, a disc is read, as by any other way."""
    with tempfile.TemporaryDirectory() as folder:
        image = Path(folder) / "disc.iso"
        image.write_bytes(bytes(2048) + b"second block".ljust(2048, b"\0") + bytes(2048 * 30))
        with (
            ScsiTarget("--tape", "8M", "--optical", str(image)) as units,
            VhostBench((units.target,), units.stores) as bench, bench.connect() as guest,
        ):
            for lun in (0, 1):
                ready(guest, lun)
            guest.execute(0, bytes.fromhex("0a0000000500"), b"block")
            guest.execute(0, bytes.fromhex("010000000000"))
            block = guest.execute(0, bytes.fromhex("080000006400"), allocation=100)
            disc = guest.execute(1, bytes.fromhex("28000000000100000100"), allocation=2048)

    # A block that is shorter than asked for: ILI, and the difference.
    assert (block.data, block.sense[2], block.sense[3:7]) == (b"block", 0x20, (95).to_bytes(4, "big"))
    assert disc.data[:12] == b"second block"

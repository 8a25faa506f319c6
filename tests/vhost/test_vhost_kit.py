"""vhost-user-scsi runs the conformance kit of transports."""

from __future__ import annotations

from typing import Any

import pytest
from vhost_world import VhostBench

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

"""HTTP runs the conformance kit of transports."""

from __future__ import annotations

from http_world import HttpBench

from scsiemu.testing.transport_kit import check_transport
from transports.http.port import HttpLimits


def test_transport_kit() -> None:
    """The kit passes: a name is an initiator, which outlives its connections a little here."""
    limits = HttpLimits(initiator_seconds=0.2, connections=512)

    check_transport(lambda target, stores: HttpBench((target,), stores, limits=limits), longest_cdb=260)

"""Both carriers of virtual SCSI run the conformance kit of transports."""

from __future__ import annotations

import pytest
from vscsi_world import LoopbackBench, SocketBench

from scsiemu.testing.transport_kit import check_transport
from transports.vscsi import FragmentRule


@pytest.mark.parametrize(
    "rule", [FragmentRule(), FragmentRule(4096, 10), FragmentRule(1500, 0)], ids=("direct", "inline", "external")
)
def test_transport_kit_in_process(rule: FragmentRule) -> None:
    """The loopback passes, however buffers are described."""
    check_transport(lambda target, stores: LoopbackBench(target, stores, rule), longest_cdb=260)


def test_transport_kit_unix_socket() -> None:
    """The Unix socket passes."""
    check_transport(lambda target, stores: SocketBench(target, stores), longest_cdb=180)


def test_transport_kit_unix_socket_fragments() -> None:
    """The same with tables of descriptors in the client's memory."""
    check_transport(lambda target, stores: SocketBench(target, stores, FragmentRule(65536, 3)))

"""Both carriers of virtual SCSI run the conformance kit of transports."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from vscsi_world import LoopbackBench, SocketBench

from scsiemu.io_requests import Store
from scsiemu.target import Target
from scsiemu.testing.transport_kit import check_transport
from transports.vscsi import FragmentRule, Loopback, Request, Result


@pytest.mark.parametrize(
    "rule", [FragmentRule(), FragmentRule(4096, 10), FragmentRule(1500, 0)], ids=("direct", "inline", "external")
)
def test_transport_kit_in_process(rule: FragmentRule) -> None:
    """The loopback passes, however buffers are described."""
    check_transport(lambda target, stores: LoopbackBench(target, stores, rule), longest_cdb=260)


def test_transport_kit_unix_socket() -> None:
    """The Unix socket passes."""
    check_transport(lambda target, stores: SocketBench(target, stores), longest_cdb=208)


def test_transport_kit_unix_socket_fragments() -> None:
    """The same with tables of descriptors in the client's memory."""
    check_transport(lambda target, stores: SocketBench(target, stores, FragmentRule(65536, 3)))


class Broken:
    """An initiator whose transport loses something on the way."""

    def __init__(self, inner: Loopback, harm: Callable[[Result], None]) -> None:
        self.inner = inner
        self.harm = harm
        self.start = inner.start
        self.manage = inner.manage
        self.abandon = inner.abandon
        self.close = inner.close

    def finish(self, request: Request) -> Result:
        """The result, harmed."""
        result = self.inner.finish(request)
        self.harm(result)
        return result


class BrokenBench(LoopbackBench):
    """Makes such initiators."""

    harm: Callable[[Result], None]

    def connect(self, number: int) -> Any:
        """A broken one."""
        return Broken(super().connect(number), self.harm)


def lose_a_byte(result: Result) -> None:
    """One byte of long data is another."""
    if len(result.data) > 100_000:
        result.data = result.data[:70_000] + b"\xff" + result.data[70_001:]


def lose_sense(result: Result) -> None:
    """The ASC is gone, but for unit attentions."""
    if result.sense[2:3] == b"\5":
        result.sense = result.sense[:12] + bytes(6)


def lose_residual(result: Result) -> None:
    """A residual is not told."""
    result.data_out_residual = 0


def turn_residual(result: Result) -> None:
    """Over and under are mixed up."""
    result.data_in_residual = -result.data_in_residual


def lose_conflict(result: Result) -> None:
    """A status that is rare becomes GOOD."""
    if result.status == 0x18:
        result.status = 0


@pytest.mark.parametrize("harm", [lose_a_byte, lose_sense, lose_residual, turn_residual, lose_conflict])
def test_transport_kit_finds_faults(harm: Callable[[Result], None]) -> None:
    """A transport that does one thing wrong does not pass."""

    def factory(target: Target, stores: Sequence[Store]) -> BrokenBench:
        bench = BrokenBench(target, stores)
        bench.harm = harm
        return bench

    with pytest.raises(AssertionError):
        check_transport(factory)

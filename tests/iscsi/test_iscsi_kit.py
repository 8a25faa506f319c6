"""iSCSI runs the conformance kit of transports, over memory."""

from __future__ import annotations

from collections.abc import Sequence

from scsiemu.io_requests import Store
from scsiemu.lun import unit_lun
from scsiemu.sam import TaskManagementFunction, TaskManagementResponse
from scsiemu.target import Target
from scsiemu.testing.transport_kit import check_transport
from transports.iscsi.codes import TmfResponseCode
from transports.iscsi.initiator import CommandResult, FunctionDone
from transports.iscsi.initiator_login import LoginOffer
from transports.iscsi.loopback import Loopback
from transports.iscsi.node import IscsiTarget, TargetNode
from transports.iscsi.task_management import FUNCTIONS

_CODES = {function: code for code, function in FUNCTIONS.items()}
_ANSWERS = {
    TmfResponseCode.FUNCTION_COMPLETE: TaskManagementResponse.FUNCTION_COMPLETE,
    TmfResponseCode.LUN_DOES_NOT_EXIST: TaskManagementResponse.INCORRECT_LOGICAL_UNIT_NUMBER,
}


class KitResult:
    """A result as the kit wants it: residuals of each direction."""

    def __init__(self, result: CommandResult, wrote: int, read: int) -> None:
        self.status = result.status
        self.sense = result.sense
        self.data = bytes(result.data_in)
        plain = result.underflow - result.overflow
        bidi = result.bidi_underflow - result.bidi_overflow
        self.data_in_residual = bidi if wrote and read else (0 if wrote else plain)
        self.data_out_residual = plain if wrote else 0


class KitInitiator:
    """A session over memory."""

    def __init__(self, bench: IscsiBench, number: int) -> None:
        offer = LoginOffer(f"iqn.2026-11.test.scsiemu:initiator{number}", target_name=bench.target.name)
        self.bench = bench
        self.link = Loopback(
            bench.node, offer, isid=b"\x80\0\0\0\0" + bytes((number,)), random_bytes=bench.random_bytes
        ).login()

    def start(self, lun: int, cdb: bytes, data_out: bytes = b"", allocation: int = 0) -> tuple[int, int, int]:
        """Tag, and what was offered."""
        tag = self.link.start(lun, cdb, data_out=data_out, data_in_length=allocation)
        return tag, len(data_out), allocation

    def finish(self, request: tuple[int, int, int]) -> KitResult:
        """Its result."""
        tag, wrote, read = request
        for _ in range(3):
            if tag in self.link.results:
                return KitResult(self.link.results.pop(tag), wrote, read)
            self.bench.go_on()
            self.link.run()
        raise AssertionError("the command does not end")

    def manage(
        self, function: TaskManagementFunction, lun: int = 0, *, task: tuple[int, int, int] | None = None
    ) -> TaskManagementResponse:
        """Send the function and find its answer."""
        referenced = 0xFFFFFFFF if task is None else task[0]
        tag = self.link.session.manage(_CODES[function], unit_lun(lun), referenced=referenced, immediate=True)
        self.link.run()
        answers = (event for event in self.link.events if isinstance(event, FunctionDone))
        code = next(event.response for event in answers if event.tag == tag)
        return _ANSWERS.get(code, TaskManagementResponse.FUNCTION_REJECTED)

    def abandon(self) -> None:
        """Break the connection."""
        self.link.disconnect()

    def close(self) -> None:
        """The same: a logout ends the nexus no differently."""
        self.link.disconnect()


class IscsiBench:
    """A node and its target."""

    def __init__(self, target: Target, stores: Sequence[Store]) -> None:
        self.target = target
        self.stores = stores
        self.node = TargetNode(random_bytes=self.random_bytes)
        self.node.add_target(IscsiTarget(target))
        self._seed = 1

    def random_bytes(self, count: int) -> bytes:
        """Different each time."""
        self._seed += 1
        return (self._seed * 0x9E3779B97F4A7C15 % (1 << 64)).to_bytes(8, "big")[:count].ljust(count, b"\1")

    def connect(self, number: int) -> KitInitiator:
        """Another session."""
        return KitInitiator(self, number)

    def go_on(self) -> None:
        """Deliver late answers."""
        for store in self.stores:
            for ticket, answer in store.reap():
                self.target.complete(ticket, answer)
        self.node.settle_all(self.target)

    def close(self) -> None:
        """Nothing is open."""


def test_transport_kit_iscsi() -> None:
    """iSCSI passes what every transport must."""
    check_transport(IscsiBench, longest_cdb=260)

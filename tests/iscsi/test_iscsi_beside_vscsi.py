"""Two transports on one target: whoever fetches an answer hands it to the one that it belongs to."""

from __future__ import annotations

import os

from scsiemu.sam import Status, TaskManagementFunction, TaskManagementResponse
from scsiemu.testing.served import ScsiTarget
from scsiemu.testing.transport_kit import HeldStore
from transports import vscsi
from transports.iscsi.codes import TmfCode, TmfResponseCode
from transports.iscsi.initiator import FunctionDone
from transports.iscsi.initiator_login import LoginOffer
from transports.iscsi.loopback import Loopback
from transports.iscsi.node import IscsiTarget, TargetNode

READ = bytes.fromhex("28000000000000000100")


class World:
    """A target with a disk whose store can be held, an iSCSI session and a virtual SCSI client."""

    def __init__(self) -> None:
        self.here = ScsiTarget("--disk", "1M")
        self.held = HeldStore(self.here.stores[0])
        self.here.target.units[0].performer = self.held.submit
        self.node = TargetNode(random_bytes=os.urandom)
        self.node.add_target(IscsiTarget(self.here.target))
        offer = LoginOffer("iqn.2026-11.test.scsiemu:one", target_name=self.here.target.name)
        self.iscsi = Loopback(self.node, offer, random_bytes=os.urandom).login()
        self.vscsi = vscsi.loopback(self.here.target)
        while self.iscsi.execute(0, bytes(6)).status or self.vscsi.execute(0, bytes(6)).status:
            pass
        self.held.hold()

    def release(self) -> None:
        """The store answers."""
        self.held.release()
        for ticket, answer in self.held.reap():
            self.here.target.complete(ticket, answer)


def test_answers_of_iscsi_fetched_by_vscsi() -> None:
    """A READ and a function of the session end although the other transport empties the target's queues."""
    world = World()
    read = world.iscsi.start(0, READ, data_in_length=512)
    assert world.iscsi.manage(TmfCode.LOGICAL_UNIT_RESET) == -1
    world.release()
    assert world.vscsi.execute(0, bytes(6)).status == Status.CHECK_CONDITION

    world.iscsi.run()
    done = [event for event in world.iscsi.events if isinstance(event, FunctionDone)]
    assert [event.response for event in done] == [TmfResponseCode.FUNCTION_COMPLETE]
    assert read not in world.iscsi.results


def test_answers_of_vscsi_fetched_by_iscsi() -> None:
    """The other way round."""
    world = World()
    read = world.vscsi.start(0, READ, allocation=512)
    reset = world.vscsi.start_function(TaskManagementFunction.LOGICAL_UNIT_RESET)
    assert not reset.done
    world.release()
    assert world.iscsi.execute(0, bytes(6)).status == Status.CHECK_CONDITION
    world.node.settle_all(world.here.target)

    world.vscsi.wait(reset)
    assert reset.answer is TaskManagementResponse.FUNCTION_COMPLETE
    assert read.result is None

"""The engine inside another program: no socket, no thread, no clock. A disk on a store in memory, three commands."""

from __future__ import annotations

from devtypes.vd import DiskConfig, VirtualDisk
from iohandlers.memory import open_store
from scsiemu import Command, Completion, InitiatorPort, Status, Target, TargetPort

store = open_store(size=64 << 20)
target = Target("iqn.2026-11.org.example:embedded")
target.add_unit(0, VirtualDisk(DiskConfig.for_store(store.capabilities)), performer=store.submit)
nexus = target.nexus_established(InitiatorPort("me", b""), TargetPort("here"))


def execute(cdb: str, data_out: bytes = b"", data_in_length: int = 0) -> Completion:
    """Send a command and take its completion: a store in memory answers at once."""
    target.submit(Command(nexus, 0, bytes.fromhex(cdb), 0, 0, data_out, len(data_out), data_in_length))
    completion = target.next_completion()
    assert completion is not None
    return completion


inquiry = execute("12 00 00 00 60 00", data_in_length=96)
print("INQUIRY:", bytes(inquiry.data_in[8:32]).decode())
print("TEST UNIT READY:", execute("00 00 00 00 00 00").sense)      # a new nexus is told of the power on, once
assert execute("2a 00 00 00 00 08 00 00 01 00", b"hello".ljust(512, b".")).status == Status.GOOD
print("READ(10):", bytes(execute("28 00 00 00 00 08 00 00 01 00", data_in_length=512).data_in[:5]).decode())

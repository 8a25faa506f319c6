"""What a guest gets from vhost-user-scsi beside what the kit asserts: response codes, events, resets, stopped rings."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Iterator
from typing import Any

import pytest
from vhost_world import READ_ONE, WRITE_ONE, VhostBench, add_disk, disk_target, ready

from iohandlers.memory import open_store
from scsiemu import asc
from scsiemu.cdb import CdbFields, CdbLayout
from scsiemu.command import Command, Completion, Steps
from scsiemu.device_server import DeviceServer
from scsiemu.io_requests import DataOut
from scsiemu.lun import REPORT_LUNS_W_LUN
from scsiemu.operations import DataDirection, ReservationClass, operation
from scsiemu.sam import TaskManagementFunction as Function
from scsiemu.sam import TaskManagementResponse as Answer
from transports.vhost.codes import (
    FIRST_REQUEST_QUEUE,
    ControlType,
    EventReason,
    EventType,
    Feature,
    MessageRequest,
    Response,
)
from transports.vhost.front_end import FrontEnd
from transports.vhost.layouts import Event
from transports.vhost.messages import encode_u64
from transports.vhost.port import VhostLimits

LUN_0 = bytes.fromhex("0100400000000000")
# As REPORT LUNS has them, not as requests do: what Linux looks for and names a unit by.
REPORTED_0, REPORTED_5 = bytes.fromhex("0100000000000000"), bytes.fromhex("0100000500000000")
TEST_UNIT_READY = bytes(6)


class World:
    """A served target with a disk whose store can be held."""

    def __init__(self, limits: VhostLimits | None = None) -> None:
        self.target, self.store = disk_target()
        self.other, self.other_store = disk_target("iqn.2026-11.test:other", blocks=4096)
        self.bench = VhostBench((self.target, self.other), (self.store, self.other_store), limits)

    def guest(self, **options: Any) -> FrontEnd:
        """A guest, ready to work."""
        return ready(self.bench.connect(**options))

    def wait(self, condition: Any) -> None:
        """Until something is so in the target."""
        end = time.monotonic() + 10
        while not condition():
            assert time.monotonic() < end
            time.sleep(0.001)


@pytest.fixture
def world() -> Iterator[World]:
    """One, with short patience for rings that are stopped."""
    found = World(VhostLimits(drain_seconds=0.3))
    yield found
    found.store.release()
    found.bench.close()
    assert found.bench.reports == []


def test_request_targets(world: World) -> None:
    """Targets are numbered in their order, and there are no others."""
    with world.guest() as guest:
        capacities = []
        for number in (0, 1):
            guest.target = number
            capacities.append(ready(guest).execute(0, b"\x25" + bytes(9), allocation=8).data[:4])
        guest.target = 2
        nobody = guest.execute(0, TEST_UNIT_READY, allocation=10)

        assert [int.from_bytes(last, "big") for last in capacities] == [2047, 4095]
        assert (nobody.response, nobody.residual, nobody.data) == (Response.BAD_TARGET, 10, b"")


def test_request_well_known_lun(world: World) -> None:
    """REPORT LUNS is answered by its well-known unit."""
    with world.guest() as guest:
        guest.execute(REPORT_LUNS_W_LUN, TEST_UNIT_READY)
        cdb = bytes.fromhex("a00002000000000000400000")
        result = guest.execute(REPORT_LUNS_W_LUN, cdb, allocation=64)

    assert result.data[8:] == bytes(8) + REPORT_LUNS_W_LUN.to_bytes(8, "big")
    assert (result.response, result.residual) == (Response.OK, 64 - len(result.data))


def test_request_check_condition(world: World) -> None:
    """A CHECK CONDITION is response OK with status and sense data; no data was used."""
    with world.guest() as guest:
        result = guest.execute(0, bytes.fromhex("28000000ffff00000100"), allocation=512)

    assert (result.response, result.status, result.residual) == (Response.OK, 2, 512)
    assert (result.sense[2] & 15, result.sense[12]) == (5, 0x21)


def test_request_overrun(world: World) -> None:
    """More than fits is an overrun, with what does."""
    with world.guest() as guest:
        guest.execute(0, WRITE_ONE, bytes(range(256)) * 2)
        result = guest.execute(0, READ_ONE, allocation=100)

    assert (result.response, result.status, result.residual, result.data) == (
        Response.OVERRUN, 0, 0, bytes(range(100)),
    )


@pytest.mark.parametrize("attribute", [4, 255])
def test_request_unknown_attribute(world: World, attribute: int) -> None:
    """A task attribute that there is not is a failure."""
    with world.guest() as guest:
        result = guest.finish(guest.start(0, TEST_UNIT_READY, attribute=attribute))
        orders = [guest.finish(guest.start(0, TEST_UNIT_READY, attribute=known)).response for known in (0, 1, 2)]

    assert result.response == Response.FAILURE
    assert orders == [Response.OK] * 3


class Mirror(DeviceServer):
    """Answers Data-Out backwards."""

    peripheral_device_type = 0

    @operation(
        0x53, "MIRROR", CdbLayout("opcode:8 _:8 _:32 _:8 length:16 control:8"), data=DataDirection.BIDIRECTIONAL,
        conflict=ReservationClass.ALWAYS,
    )
    def mirror(self, command: Command, cdb: CdbFields) -> Steps:
        """What came, turned."""
        data = yield from DataOut(cdb.length)
        return Completion(bytes(data)[::-1])


def test_request_bidirectional(world: World) -> None:
    """Data both ways in one request; the residual count is that of both."""
    world.bench.call(lambda: world.target.add_unit(5, Mirror()))
    data = bytes(range(200)) * 500
    cdb = b"\x53" + bytes(6) + (60_000).to_bytes(2, "big") + b"\0"
    with world.bench.connect(fragment=1000) as guest:
        guest.execute(5, cdb, data, 60_000)        # its power on
        result = guest.execute(5, cdb, data[:60_010], 60_020)

    assert (result.response, result.status, result.residual) == (Response.OK, 0, 30)
    assert result.data == data[:60_000][::-1]


def test_request_bidirectional_not_negotiated(world: World) -> None:
    """Without INOUT it is a failure."""
    with world.guest(features=~Feature.INOUT) as guest:
        assert guest.execute(0, TEST_UNIT_READY, b"out", 5).response == Response.FAILURE


def test_request_too_long() -> None:
    """A request beyond the limit is a failure, and more requests than the limit are busy."""
    world = World(VhostLimits(max_transfer=4096, requests=3))
    try:
        with world.guest() as guest:
            assert guest.execute(0, TEST_UNIT_READY, bytes(4097)).response == Response.FAILURE
            world.store.hold()
            pending = [guest.start(0, READ_ONE, allocation=512) for _ in range(3)]
            busy = guest.execute(0, READ_ONE, allocation=512)
            world.store.release()

            assert (busy.response, busy.residual) == (Response.BUSY, 512)
            assert [guest.finish(handle).response for handle in pending] == [Response.OK] * 3
    finally:
        world.bench.close()


def test_functions_all(world: World) -> None:
    """Each task management function has its answer; one that there is not is rejected."""
    with world.guest() as guest:
        world.store.hold()
        pending = guest.start(0, READ_ONE, allocation=512)
        world.wait(lambda: world.store.kept == 1)
        assert guest.manage(Function.QUERY_TASK, 0, task=pending) is Answer.FUNCTION_SUCCEEDED
        assert guest.manage(Function.QUERY_TASK_SET, 0) is Answer.FUNCTION_SUCCEEDED
        world.store.release()
        assert guest.finish(pending).response == Response.OK
        for function in (
            Function.QUERY_TASK_SET, Function.ABORT_TASK, Function.ABORT_TASK_SET, Function.CLEAR_TASK_SET,
            Function.CLEAR_ACA, Function.LOGICAL_UNIT_RESET, Function.I_T_NEXUS_RESET,
        ):
            assert guest.manage(function, 0) is Answer.FUNCTION_COMPLETE, function
        assert guest.manage(Function.ABORT_TASK_SET, 9) is Answer.INCORRECT_LOGICAL_UNIT_NUMBER
        assert guest.control(bytes(4) + b"\x63\0\0\0" + LUN_0 + bytes(8), 1)[0] == Response.FUNCTION_REJECTED
        assert guest.control(b"\x09\0\0\0" + bytes(20), 1)[0] == Response.FUNCTION_REJECTED
        assert guest.control(bytes(4) + b"\5\0\0\0\1\7\x40" + bytes(13), 1)[0] == Response.BAD_TARGET


@pytest.mark.parametrize(
    ("function", "response"),
    [
        (Function.ABORT_TASK, Response.ABORTED),
        (Function.ABORT_TASK_SET, Response.ABORTED),
        (Function.LOGICAL_UNIT_RESET, Response.RESET),
        (Function.I_T_NEXUS_RESET, Response.RESET),
    ],
)
def test_functions_end_requests(world: World, function: Function, response: int) -> None:
    """A request that a function ends comes back, saying by what, before the function is answered."""
    with world.guest() as guest:
        world.store.hold()
        ahead = guest.start(0, WRITE_ONE, b"1" * 512)
        world.wait(lambda: world.store.kept == 1)
        behind = guest.start(0, WRITE_ONE, b"2" * 512)
        world.wait(lambda: world.target.units[0].statistics()["pending"] == 2)
        world.bench.loop.call_soon_threadsafe(world.bench.loop.call_later, 0.05, world.store.release)
        assert guest.manage(function, 0, task=behind) is Answer.FUNCTION_COMPLETE
        ended = guest.finish(behind)

        assert (ended.response, ended.residual) == (response, 512)
        if function is not Function.ABORT_TASK:
            assert guest.finish(ahead).response == response


def test_reset_by_another_nexus_ends_requests(world: World) -> None:
    """A request that the reset of another guest ends has the response RESET."""
    with world.guest() as guest, world.guest() as other:
        world.store.hold()
        ahead = guest.start(0, WRITE_ONE, b"1" * 512)
        world.wait(lambda: world.store.kept == 1)
        world.bench.loop.call_soon_threadsafe(world.bench.loop.call_later, 0.05, world.store.release)
        assert other.manage(Function.LOGICAL_UNIT_RESET, 0) is Answer.FUNCTION_COMPLETE

        assert guest.finish(ahead).response == Response.RESET
        assert guest.execute(0, TEST_UNIT_READY).sense[12:14] == b"\x29\x03"


@pytest.mark.parametrize("kind", [ControlType.NOTIFICATION_QUERY, ControlType.NOTIFICATION_SUBSCRIBE])
def test_notifications(world: World, kind: int) -> None:
    """There are no asynchronous notifications, and a unit that is not there is told so."""
    with world.guest() as guest:
        assert guest.notifications(kind, 0, 0x3F) == (0, Response.OK)
        assert guest.notifications(kind, 3, 0x3F) == (0, Response.INCORRECT_LUN)
        guest.target = 9
        assert guest.notifications(kind, 0, 0x3F) == (0, Response.BAD_TARGET)


def test_events_units(world: World) -> None:
    """A unit that comes is a rescan event, one that goes a removed event."""
    with world.guest() as guest:
        world.bench.call(lambda: add_disk(world.target, 5, open_store(size=1 << 20)))
        added = guest.next_event()
        world.bench.call(lambda: world.target.remove_unit(5))
        removed = guest.next_event()

    assert added == Event(EventType.TRANSPORT_RESET, REPORTED_5, EventReason.RESCAN)
    assert removed == Event(EventType.TRANSPORT_RESET, REPORTED_5, EventReason.REMOVED)


def test_events_parameters(world: World) -> None:
    """A capacity that changes is a parameter change event, once, beside the unit attention."""
    with world.guest() as guest:
        world.bench.call(lambda: world.target.units[0].attention(asc.CAPACITY_DATA_HAS_CHANGED))
        changed = guest.next_event()

        assert changed == Event(EventType.PARAM_CHANGE, REPORTED_0, 0x2A | 0x09 << 8)
        assert guest.execute(0, TEST_UNIT_READY).sense[12:14] == b"\x2a\x09"


def test_events_missed(world: World) -> None:
    """Events without a buffer are missed, which the next one says; also without another event."""
    with world.guest() as guest:
        for number in range(10, 14):
            world.bench.call(lambda number=number: add_disk(world.target, number, open_store(size=1 << 20)))
            assert guest.next_event(post=False).lun[3] == number
        world.bench.call(lambda: add_disk(world.target, 5, open_store(size=1 << 20)))
        guest.post_event_buffer()
        missed = guest.next_event()

    assert missed == Event(EventType.NO_EVENT | EventType.EVENTS_MISSED)


def test_events_not_negotiated(world: World) -> None:
    """Without HOTPLUG and CHANGE there are no events."""
    with world.guest(features=~(Feature.HOTPLUG | Feature.CHANGE), seconds=1.5) as guest:
        world.bench.call(lambda: add_disk(world.target, 5, open_store(size=1 << 20)))
        with pytest.raises(ConnectionResetError, match="no event"):
            guest.next_event()


def test_configuration_sizes(world: World) -> None:
    """The driver sets the sizes of CDB and sense data; they count from then on, until a reset."""
    with world.guest() as guest:
        before = guest.configuration()
        guest.set_sizes(sense=20, cdb=16)
        short = guest.execute(0, b"\xee" + bytes(9))
        after = guest.configuration()
        guest.tell(MessageRequest.RESET_DEVICE)
        reset = guest.configuration()

    assert (before.sense_size, before.cdb_size, before.max_target) == (96, 32, 1)
    assert (after.sense_size, after.cdb_size) == (20, 16)
    assert (len(short.sense), short.sense[2] & 15, short.sense[12]) == (18, 5, 0x20)
    assert reset == before


def test_ring_stop_drains(world: World) -> None:
    """A ring is stopped when its last request has ended, and goes on where it was."""
    with world.guest() as guest:
        index = FIRST_REQUEST_QUEUE
        guest.execute(0, WRITE_ONE, b"x" * 512)
        world.store.hold()
        pending = guest.start(0, READ_ONE, allocation=512)
        world.wait(lambda: world.store.kept == 1)
        world.bench.loop.call_soon_threadsafe(world.bench.loop.call_later, 0.05, world.store.release)
        base = guest.stop_ring(index)
        assert guest.finish(pending).data == b"x" * 512
        behind = guest.start(0, READ_ONE, allocation=512)
        guest.start_ring(index, base)

        assert guest.finish(behind).data == b"x" * 512


def test_ring_stop_gives_up(world: World) -> None:
    """A request that does not end in time does not keep a ring from being stopped."""
    with world.guest() as guest:
        world.store.hold()
        pending = guest.start(0, READ_ONE, allocation=512)
        world.wait(lambda: world.store.kept == 1)
        guest.stop_ring(FIRST_REQUEST_QUEUE)
        world.store.release()
        world.wait(lambda: world.target.units[0].statistics()["pending"] == 0)

        assert pending.written is None


def test_ring_signals_a_new_descriptor(world: World) -> None:
    """A ring at work signals by a new descriptor at once: answers may have been told to the one before it.

    QEMU sends the last one behind SET_VRING_ENABLE and waits for no reply: a guest's first request can be done before.
    """
    with world.guest() as guest:
        guest.wait(guest.start(0, TEST_UNIT_READY))
        call = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        try:
            guest.tell(MessageRequest.SET_VRING_CALL, encode_u64(FIRST_REQUEST_QUEUE), (call,))

            assert select.select([call], [], [], 5)[0] == [call]
        finally:
            os.close(call)


def test_reset_with_requests(world: World) -> None:
    """A device that is reset forgets its requests; the guest is a new nexus after that."""
    with world.guest() as guest:
        assert guest.execute(0, bytes.fromhex("160000000000")).status == 0      # RESERVE(6)
        world.store.hold()
        guest.start(0, WRITE_ONE, b"x" * 512)
        world.wait(lambda: world.store.kept == 1)
        guest.tell(MessageRequest.RESET_DEVICE)
        world.store.release()
        for index, ring in guest.queues.items():
            guest.start_ring(index, ring.available[1])
        attention = guest.execute(0, TEST_UNIT_READY)

        assert (attention.status, attention.sense[12]) == (2, 0x29)
        with world.guest() as second:
            assert second.execute(0, WRITE_ONE, b"y" * 512).status == 0, "the reservation is gone"


def test_memory_changes(world: World) -> None:
    """Memory may be replaced while requests are under way."""
    with world.guest() as guest:
        guest.execute(0, WRITE_ONE, b"z" * 512)
        world.store.hold()
        pending = guest.start(0, READ_ONE, allocation=512)
        world.wait(lambda: world.store.kept == 1)
        guest.replace_buffers_region()
        guest.share_memory()
        world.store.release()

        assert guest.finish(pending).data == b"z" * 512
        assert guest.execute(0, READ_ONE, allocation=512).data == b"z" * 512


def test_guests_one_after_another(world: World) -> None:
    """Who comes again after another is the same initiator: its registration is still there."""
    register = bytes.fromhex("5f000000000000001800")
    key = bytes(8) + (7).to_bytes(8, "big") + bytes(8)
    for turn in range(3):
        with world.guest() as guest:
            result = guest.execute(0, register, key if not turn else key[8:16] + key[8:])
            assert (result.response, result.status) == (Response.OK, 0), turn
    world.wait(lambda: not world.target.nexuses)


def test_target_shared_with_others(world: World) -> None:
    """Two guests at once are two initiators."""
    with world.guest() as first, world.guest() as second:
        first.execute(0, bytes.fromhex("160000000000"))
        assert second.execute(0, WRITE_ONE, bytes(512)).status == 0x18


def test_statistics(world: World) -> None:
    """Numbers of the port tell of connections."""
    with world.guest(queues=2):
        (device,) = world.bench.call(world.bench.transport.port.statistics)["devices"]      # type: ignore[misc]  # a list

    assert (device["rings"], device["regions"], device["requests"]) == ([0, 1, 2, 3], 2, 0)


def test_loaded_by_entry_point() -> None:
    """The transport is found by its name."""
    from scsiemu import registry
    from transports.vhost.server import VhostTransport

    assert registry.load(registry.TRANSPORTS, "vhost") is VhostTransport


def test_long_writes_in_pieces() -> None:
    """Of writes that are fetched in pieces one piece at a time is held, and none waits for ever for the others."""
    target, store = disk_target(blocks=4096)
    data = b"".join(n.to_bytes(4, "big") for n in range(1 << 17))
    bench = VhostBench((target,), (store,), VhostLimits(data_out_bytes=256 << 10))
    try:
        guest = ready(bench.connect())
        bench.call(store.hold)
        started = [
            guest.start(0, WRITE_ONE[:2] + lba.to_bytes(4, "big") + bytes.fromhex("00040000"), data)
            for lba in (0, 1024, 2048)
        ]
        bench.call(store.release)

        assert all(not guest.finish(handle).status for handle in started)

        cdb = READ_ONE[:2] + (2048).to_bytes(4, "big") + bytes.fromhex("00040000")
        assert guest.execute(0, cdb, allocation=len(data)).data == data
        assert bench.call(bench.transport.port.statistics)["data_out_bytes"] == 0
    finally:
        bench.close()

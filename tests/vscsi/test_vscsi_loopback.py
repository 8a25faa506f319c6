"""The loopback: one line for embedders, late stores, the clock, and a client whose partner misbehaves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from scsiemu.errors import LocalProtocolError
from scsiemu.sam import Status, TaskManagementFunction, TaskManagementResponse
from scsiemu.testing.served import ScsiTarget
from scsiemu.testing.transport_kit import HeldStore
from transports import vscsi
from transports.vscsi import VscsiLimits, VscsiPort
from transports.vscsi.codes import OsType, TransportEvent
from transports.vscsi.in_process import Loopback

READ = bytes.fromhex("28000000000000000800")
WRITE = bytes.fromhex("2a000000000000000800")
DATA = bytes(range(256)) * 16


def disk(**options: Any) -> tuple[ScsiTarget, Loopback]:
    """A target with a disk and its loopback, unit attentions taken."""
    here = ScsiTarget("--disk", "8M")
    link = vscsi.loopback(here.target, **options)
    while link.execute(0, bytes(6)).status:
        pass
    return here, link


def test_loopback_execute() -> None:
    """One line gives an initiator; results have status, sense, data and residuals."""
    here = ScsiTarget("--disk", "8M")
    with vscsi.loopback(here.target) as link:
        first = link.execute(0, bytes(6))
        assert (first.status, first.sense[2], first.sense[12]) == (Status.CHECK_CONDITION, 6, 0x29)
        assert link.execute(0, WRITE, DATA).good
        result = link.execute(0, READ, allocation=5000)
        assert (result.good, result.data, result.residuals) == (True, DATA, (904, 0))
        assert link.manage(TaskManagementFunction.LOGICAL_UNIT_RESET) is TaskManagementResponse.FUNCTION_COMPLETE
        assert link.manage(TaskManagementFunction.QUERY_TASK) is TaskManagementResponse.FUNCTION_REJECTED
    assert len(here.target.nexuses) == 1
    with pytest.raises(vscsi.VscsiError):
        link.execute(0, bytes(6))


@pytest.mark.parametrize("how", ["stores", "pump"])
def test_loopback_late_stores(how: str) -> None:
    """A store that answers late is waited for, with its descriptor or by the caller's pump."""
    here, plain = disk()
    plain.close()
    held = HeldStore(here.stores[0])
    unit = here.target.units[0]
    unit.performer = held.submit
    turns: list[int] = []

    def pump() -> bool:
        turns.append(1)
        held.release()
        for ticket, answer in held.reap():
            here.target.complete(ticket, answer)
        return True

    link = vscsi.loopback(here.target, **({"stores": [held]} if how == "stores" else {"pump": pump}))
    link.execute(0, bytes(6))
    held.hold()
    request = link.start(0, WRITE, DATA)
    assert not request.done
    if how == "stores":
        held.release()
    assert link.finish(request).good
    assert bool(turns) == (how == "pump")
    link.close()
    held.close()


def test_loopback_says_when_nothing_goes_on() -> None:
    """A command that waits for a store that nobody drives is an error, not a hang."""
    here, link = disk()
    held = HeldStore(here.stores[0])
    here.target.units[0].performer = held.submit
    held.hold()

    with pytest.raises(LocalProtocolError, match="waits for a store"):
        link.execute(0, READ, allocation=4096)
    held.close()


def test_loopback_clock() -> None:
    """The target's clock is moved where a command waits for it, or follows the clock that was given."""
    now = [5.0]
    here = ScsiTarget("--disk", "8M")
    link = vscsi.loopback(here.target, clock=lambda: now[0])
    link.execute(0, bytes(6))
    assert here.target.now == 5.0
    now[0] = 6.5
    link.execute(0, bytes(6))
    assert here.target.now == 6.5


def test_loopback_more_than_the_credits() -> None:
    """Commands beyond credits or memory wait in the client and go out in order."""
    here = ScsiTarget("--disk", "8M")
    port = VscsiPort(here.target, limits=VscsiLimits(request_limit=5, iu_length=512))
    link = vscsi.loopback(here.target, port=port, memory=1 << 20)
    while link.execute(0, bytes(6)).status:
        pass
    held = HeldStore(here.stores[0])
    here.target.units[0].performer = held.submit
    held.hold()
    requests = [link.start(0, WRITE, bytes((index,)) * 4096) for index in range(20)]
    assert link.client.statistics()["credits"] == 2
    assert link.client.statistics()["outstanding"] == 3
    held.release()
    for ticket, answer in held.reap():
        here.target.complete(ticket, answer)
    for request in requests:
        assert link.finish(request).good
    assert link.execute(0, READ, allocation=4096).data == b"\x13" * 4096
    held.close()


def test_loopback_too_long() -> None:
    """Data that the window can never hold is refused before anything is sent."""
    _, link = disk(memory=1 << 20)

    with pytest.raises(LocalProtocolError, match="window"):
        link.execute(0, READ, allocation=1 << 20)
    assert link.execute(0, READ, allocation=4096).good


def test_client_asks_aix_for_more() -> None:
    """A server that says AIX is asked for fast fail and capabilities before the login."""
    here = ScsiTarget("--disk", "8M")
    port = VscsiPort(here.target, limits=VscsiLimits(os_type=OsType.AIX, iu_length=512))
    link = vscsi.loopback(here.target, port=port)

    assert link.server.statistics()["fast fail"] is True
    assert link.client.server is not None
    assert link.client.server.os_type == OsType.AIX


def test_client_login_rejected() -> None:
    """A rejected login is told with its reason."""
    here = ScsiTarget("--disk", "8M")
    with pytest.raises(LocalProtocolError, match="00010002h"):
        vscsi.loopback(here.target, port=VscsiPort(here.target), iu_length=512)


def test_loopback_two_initiators() -> None:
    """Loopbacks of a target are different initiators by themselves; the same one twice is refused."""
    here, first = disk()
    second = vscsi.loopback(here.target)
    assert second.execute(0, bytes(6)).status == Status.CHECK_CONDITION
    assert len({nexus.key for nexus in here.target.nexuses}) == 3

    with pytest.raises(LocalProtocolError, match="00010000h"):
        vscsi.loopback(here.target, identity=1)
    first.close()
    assert vscsi.loopback(here.target, identity=1).execute(0, bytes(6)).status == Status.CHECK_CONDITION


def violated(link: Loopback) -> None:
    link.server.disconnect("for the test")


def migrated(link: Loopback) -> None:
    link.hypervisor.migrate(link.client_unit)


def restarted(link: Loopback) -> None:
    link.hypervisor.fail(link.server.unit)
    link.server.partner_lost()
    link.server.start()


@pytest.mark.parametrize("event", [violated, migrated, restarted])
def test_client_recovers(event: Callable[[Loopback], None]) -> None:
    """After a closed queue, a migration, a server that crashed: what was outstanding fails, the next login works."""
    here, link = disk()
    held = HeldStore(here.stores[0])
    here.target.units[0].performer = held.submit
    held.hold()
    request = link.start(0, READ, b"", 4096)
    event(link)
    link.run()

    assert request.done
    assert request.failure
    held.release()
    for ticket, answer in held.reap():
        here.target.complete(ticket, answer)
    assert link.client.state == "ready"
    while link.execute(0, bytes(6)).status:
        pass
    assert link.execute(0, READ, allocation=4096).good
    assert len(here.target.nexuses) == 2
    assert here.target.units[0].statistics()["pending"] == 0
    held.close()


def test_client_aborts() -> None:
    """What a function aborts of ours ends without a result, and its buffers and credits are there again."""
    here, link = disk()
    held = HeldStore(here.stores[0])
    here.target.units[0].performer = held.submit
    held.hold()
    ahead = link.start(0, WRITE, DATA)
    behind = [link.start(0, WRITE, DATA) for _ in range(3)]
    assert link.manage(TaskManagementFunction.ABORT_TASK, task=behind[1]) is TaskManagementResponse.FUNCTION_COMPLETE
    assert [request.done for request in behind] == [False, True, False]
    reset = link.start_function(TaskManagementFunction.ABORT_TASK_SET)
    assert not reset.done
    held.release()
    for ticket, answer in held.reap():
        here.target.complete(ticket, answer)
    link.wait(reset)

    assert all(request.done and request.failure for request in (ahead, *behind))
    assert link.client.statistics() == {
        "state": "ready", "credits": 128, "outstanding": 0, "waiting": 0, "buffer_bytes": 0
    }
    held.close()


def test_client_events() -> None:
    """A client that takes events answers them, and leaves a place for the next."""
    here = ScsiTarget("--disk", "8M")
    link = Loopback(here.target, events=True)
    for number in range(20):
        assert link.server.report_event(0, bytes((number,)))
        link.run()

    assert [event.sense for event in link.client.events] == [bytes((number,)) for number in range(20)]
    link.server.change_request_limit(10)
    link.run()
    assert link.client.statistics()["credits"] == 138
    link.hypervisor.announce(link.client_unit, TransportEvent.RESUMED)
    assert link.execute(0, bytes(6)).status in (0, 2)


def test_loopback_long_write() -> None:
    """A write that is fetched in pieces holds one of them at a time."""
    here = ScsiTarget("--disk", "8M")
    port = VscsiPort(here.target, limits=VscsiLimits(iu_length=512, data_out_bytes=256 << 10))
    link = vscsi.loopback(here.target, port=port, memory=4 << 20)
    while link.execute(0, bytes(6)).status:
        pass
    data = b"".join(n.to_bytes(4, "big") for n in range(1 << 18))

    assert link.execute(0, WRITE[:7] + (2048).to_bytes(2, "big") + b"\0", data).good

    assert link.execute(0, READ[:7] + (2048).to_bytes(2, "big") + b"\0", allocation=1 << 20).data == data
    assert port.statistics()["data_out_bytes"] == 0

"""Sessions over memory: commands, data both ways, order and window, task management, text, NOP, logout, timers."""

from __future__ import annotations

import pytest
from iscsi_world import IQN, ME, World, echo, inquiry, pattern, read, swap, tur, write

from scsiemu.sam import Status
from scsiemu.sense import decode_sense
from scsiemu.target import Target
from transports.iscsi import pdu as pdus
from transports.iscsi.codes import AsyncEvent, Flags, LogoutReason, LogoutResponseCode, RejectReason, TmfCode
from transports.iscsi.codes import TmfResponseCode as Tmf
from transports.iscsi.initiator import (
    AsyncReceived,
    FunctionDone,
    LoggedOut,
    NopDone,
    Rejected,
    TextDone,
)
from transports.iscsi.initiator_login import LoginFailed
from transports.iscsi.keys import OperationalSettings
from transports.iscsi.loopback import Loopback
from transports.iscsi.node import InitiatorAccess, IscsiTarget, NodeLimits

SMALL = OperationalSettings(
    max_recv_data_segment_length=1024, max_burst_length=3072, first_burst_length=2048, max_outstanding_r2t=2
)
# Ways in which the data of a WRITE travels.
MANNERS = {
    "immediate and unsolicited": OperationalSettings(),
    "immediate only": OperationalSettings(initial_r2t=True),
    "unsolicited only": OperationalSettings(immediate_data=False),
    "solicited": OperationalSettings(initial_r2t=True, immediate_data=False),
    "small": SMALL,
    "one R2T at a time": OperationalSettings(initial_r2t=True, immediate_data=False, max_outstanding_r2t=1),
    "digests": OperationalSettings(header_digest=("CRC32C",), data_digest=("CRC32C",)),
    "small with digests": OperationalSettings(
        header_digest=("CRC32C",), data_digest=("CRC32C",), max_recv_data_segment_length=1024,
        max_burst_length=3072, first_burst_length=2048,
    ),
    "any order": OperationalSettings(
        data_pdu_in_order=False, data_sequence_in_order=False, initial_r2t=True, max_recv_data_segment_length=1024,
    ),
}


@pytest.mark.parametrize("manner", MANNERS)
@pytest.mark.parametrize("blocks", [1, 3, 40, 700])
def test_write_every_way_of_data(manner: str, blocks: int) -> None:
    """What is written is read back, however it travels (RFC 7143 4.2.4.2)."""
    world = World(settings=MANNERS[manner])
    link = world.connect(settings=MANNERS[manner])
    data = pattern(blocks)

    written = link.execute(0, write(7, blocks), data_out=data)
    result = link.execute(0, read(7, blocks), data_in_length=len(data))

    assert (written.status, written.underflow, written.overflow) == (Status.GOOD, 0, 0)
    assert (result.status, result.data_in) == (Status.GOOD, data)
    assert world.medium[7 * 512 : (7 + blocks) * 512] == data
    assert world.node.data_out_budget.used == 0


@pytest.mark.parametrize("size", [1, 7, 48, 1000])
def test_connection_whole_and_pieces_give_the_same_bytes(size: int) -> None:
    """What goes out does not depend on how TCP cut what came in."""
    settings = OperationalSettings(max_recv_data_segment_length=8192, first_burst_length=16384)
    recorded = []
    for wire in (None, lambda data: [data[at : at + size] for at in range(0, len(data), size)]):
        world = World(settings=settings)
        link = world.connect(settings=settings, wire=wire)
        session = link.session
        session.execute(0, write(1, 100), data_out=pattern(100))
        session.nop(b"ping")
        session.execute(0, read(1, 100), data_in_length=51200)
        session.execute(0, inquiry(), data_in_length=100)
        session.execute(0, swap(1, 3), data_out=bytes(1536), data_in_length=1536)
        link.run()
        session.text([("SendTargets", "")])
        session.logout()
        link.run()
        recorded.append((bytes(link.sent), bytes(link.received)))

    assert recorded[0] == recorded[1]


def test_read_residuals() -> None:
    """Overflow and underflow of Data-In, data cut to what was expected (RFC 7143 11.4.5)."""
    link = World().connect()

    under = link.execute(0, read(0, 1), data_in_length=600)
    over = link.execute(0, read(0, 2), data_in_length=512)
    none = link.execute(0, read(0, 1), data_in_length=0)

    assert (under.underflow, under.overflow, len(under.data_in)) == (88, 0, 512)
    assert (over.underflow, over.overflow, len(over.data_in)) == (0, 512, 512)
    assert (none.underflow, none.overflow, none.data_in) == (0, 512, b"")


@pytest.mark.parametrize("claimed", [0, 200, 512, 1024, 10000])
def test_write_residuals(claimed: int) -> None:
    """A WRITE of one block with another expected length: the residual is their difference (RFC 7143 11.4.5)."""
    link = World().connect()

    result = link.execute(0, write(0, 1), data_out=bytes(claimed))

    assert result.status == Status.GOOD
    assert result.underflow - result.overflow == claimed - 512


def test_bidirectional_command() -> None:
    """Both directions with their own residuals, the read length in an AHS (RFC 7143 11.2.2.3, 11.4.1)."""
    world = World()
    link = world.connect()
    world.medium[0:1024] = pattern(2)

    result = link.execute(0, swap(0, 2), data_out=b"\x55" * 1024, data_in_length=1000)

    assert (result.status, result.data_in) == (Status.GOOD, pattern(2)[:1000])
    assert (result.bidi_overflow, result.underflow, result.overflow) == (24, 0, 0)
    assert world.medium[0:1024] == b"\x55" * 1024


def test_extended_cdb() -> None:
    """A CDB of 32 bytes comes whole (RFC 7143 11.2.2.4)."""
    link = World().connect()
    cdb = echo(0x0102030405060708090A0B0C0D0E0F101112131415)

    assert link.execute(0, cdb, data_in_length=32).data_in == cdb


def test_read_check_condition_has_sense() -> None:
    """Sense data comes with its length before it (RFC 7143 11.4.7)."""
    link = World().connect(clear=False)

    result = link.execute(0, tur())

    sense = decode_sense(result.sense)
    assert result.status == Status.CHECK_CONDITION
    assert sense is not None
    assert (sense.code.key, sense.code.asc) == (6, 0x29)


@pytest.mark.parametrize("first", [1, 0xFFFFFFF0, 0xFFFFFFFF])
def test_command_window_wraps(first: int) -> None:
    """CmdSN and StatSN are serial numbers: nothing happens at 2^32 (RFC 7143 4.2.2.1)."""
    link = World().connect(cmd_sn=first)

    statuses = [link.execute(0, tur()).status for _ in range(300)]

    assert set(statuses) == {Status.GOOD}
    assert link.session.cmd_sn == (first + 301) & 0xFFFFFFFF


def test_command_window_closes_and_opens() -> None:
    """No more than the window is taken at once; the rest waits at the initiator (RFC 7143 4.2.2.1)."""
    world = World(limits=NodeLimits(window=8))
    link = world.connect()
    world.store.slow = True

    tags = [link.start(0, read(n, 1), data_in_length=512) for n in range(20)]

    assert len(world.store.kept) == 8
    assert (link.session.max_cmd_sn + 1) & 0xFFFFFFFF == link.session.cmd_sn
    for _ in range(3):
        world.release()
        link.run()
    assert [link.results[tag].status for tag in tags] == [Status.GOOD] * 20


def test_command_gap_is_held_in_order() -> None:
    """Commands after a gap wait for it, then run in CmdSN order (RFC 7143 4.2.2.1)."""
    world = World()
    link = world.connect()
    session = link.session
    base = session.cmd_sn
    for ahead, tag in ((2, 0x102), (1, 0x101)):
        flags = Flags.FINAL | Flags.READ
        session.send(pdus.ScsiCommand(flags, 0, 0, tag, 512, base + ahead, 0, read(ahead, 1)))
    link.run()

    before = bytes(link.received)
    session.send(pdus.ScsiCommand(Flags.FINAL | Flags.READ, 0, 0, 0x100, 512, base, 0, read(0, 1)))
    while link.push():
        pass

    assert before == bytes(link.received)
    answered = b"".join(bytes(part) for part in link.connection.out)
    tags = [int.from_bytes(answered[at + 16 : at + 20], "big") for at in range(0, len(answered), 560)]
    assert tags == [0x100, 0x101, 0x102]


def test_immediate_command_is_not_numbered() -> None:
    """An immediate command takes no CmdSN and passes those that wait (RFC 7143 4.2.2.1)."""
    link = World().connect()
    before = link.session.cmd_sn

    assert link.execute(0, tur(), immediate=True).status == Status.GOOD
    assert link.session.cmd_sn == before
    assert link.session.exp_cmd_sn == before


def test_nop_out_echo() -> None:
    """The answer has the data (RFC 7143 11.18)."""
    link = World().connect()

    tag = link.session.nop(b"hello", immediate=True)
    link.run()

    assert link.events == [NopDone(tag, b"hello")]


def test_nop_in_keepalive() -> None:
    """Silence is asked about; an answer keeps the connection, none ends it (RFC 7143 11.19)."""
    world = World(limits=NodeLimits(nop_interval=10, nop_timeout=5))
    link = world.connect()
    node = world.node

    node.advance(1.0)                       # the login was heard
    assert node.deadline() == 11.0
    node.advance(11.0)
    link.run()                              # asked and answered
    node.advance(12.0)
    assert not link.connection.closed
    node.advance(30.0)
    assert link.connection.queued
    node.advance(45.0)

    assert link.connection.closed
    assert link.connection.close_reason == "no answer to NOP-In"


def test_abort_task_waiting_in_store() -> None:
    """It ends without a word; the answer comes after the store has (RFC 7143 11.5, 11.6)."""
    world = World()
    link = world.connect()
    world.store.slow = True
    tag = link.start(0, write(0, 1), data_out=bytes(512))

    assert link.manage(TmfCode.ABORT_TASK, referenced=tag) == -1
    world.release()
    link.run()

    assert [event.response for event in link.events if isinstance(event, FunctionDone)] == [Tmf.FUNCTION_COMPLETE]
    assert tag not in link.results
    world.store.slow = False
    assert link.execute(0, tur()).status == Status.GOOD


def test_abort_task_waiting_for_data_out() -> None:
    """An R2T is out: the command ends, its Data-Out is thrown away when it comes (RFC 7143 4.2.3.3)."""
    settings = OperationalSettings(initial_r2t=True, immediate_data=False)
    world = World(settings=settings)
    link = world.connect(settings=settings)
    session = link.session
    flags = Flags.FINAL | Flags.WRITE
    session.send(pdus.ScsiCommand(flags, 0, 0, 0x500, 512, session.cmd_sn, 0, write(0, 1)))
    session.cmd_sn += 1
    link.push()
    r2t = pdus.R2T.from_bhs(link.connection.out[0])
    link.run()

    response = link.manage(TmfCode.ABORT_TASK, referenced=0x500)
    session.send(pdus.DataOut(Flags.FINAL, 0, 0x500, r2t.ttt, 0, 0, 0, data=b"x" * 512))
    link.run()

    assert response == Tmf.FUNCTION_COMPLETE
    assert not any(isinstance(event, Rejected) for event in link.events)
    assert world.medium[:512] == bytes(512)
    assert world.node.data_out_budget.used == 0


def test_abort_task_unknown_or_not_arrived() -> None:
    """Outside of the window it does not exist; inside, its CmdSN counts as received (RFC 7143 11.6.1)."""
    link = World().connect()
    session = link.session
    unknown = link.manage(TmfCode.ABORT_TASK, referenced=0x999)
    missing = session.cmd_sn
    session.cmd_sn += 1                     # a command that got lost

    tag = session.manage(TmfCode.ABORT_TASK, referenced=0x888, ref_cmd_sn=missing)
    link.run()

    assert unknown == Tmf.TASK_DOES_NOT_EXIST
    assert FunctionDone(tag, Tmf.FUNCTION_COMPLETE, bytes(3)) in link.events
    assert link.execute(0, tur()).status == Status.GOOD


def test_task_management_responses() -> None:
    """Codes of functions that are not there, and of LUNs that are not (RFC 7143 11.6.1)."""
    link = World().connect()

    assert link.manage(TmfCode.TASK_REASSIGN) == Tmf.REASSIGNMENT_NOT_SUPPORTED
    assert link.manage(77) == Tmf.FUNCTION_NOT_SUPPORTED
    assert link.manage(TmfCode.LOGICAL_UNIT_RESET, 5) == Tmf.LUN_DOES_NOT_EXIST
    assert link.manage(TmfCode.LOGICAL_UNIT_RESET, 0) == Tmf.FUNCTION_COMPLETE
    assert link.manage(TmfCode.QUERY_ASYNCHRONOUS_EVENT, 0) == Tmf.FUNCTION_SUCCEEDED
    assert link.execute(0, tur()).status == Status.CHECK_CONDITION      # the reset's unit attention
    assert link.manage(TmfCode.QUERY_TASK_SET, 0) == Tmf.FUNCTION_COMPLETE
    assert link.manage(TmfCode.ABORT_TASK_SET, 0, immediate=False) == Tmf.FUNCTION_COMPLETE
    assert link.manage(TmfCode.CLEAR_TASK_SET, 0) == Tmf.FUNCTION_COMPLETE
    assert link.manage(TmfCode.CLEAR_ACA, 0) == Tmf.FUNCTION_COMPLETE
    assert link.manage(TmfCode.TARGET_WARM_RESET) == Tmf.FUNCTION_COMPLETE


def test_target_cold_reset_ends_all_sessions() -> None:
    """It is answered, then the connections of the target are closed (RFC 7143 11.5.1)."""
    world = World()
    one, other = world.connect(isid=1), world.connect(isid=2)

    assert one.manage(TmfCode.TARGET_COLD_RESET) == Tmf.FUNCTION_COMPLETE
    one.run()
    other.run()

    assert one.closed
    assert other.closed
    assert not world.node.sessions


def test_logical_unit_reset_ends_commands_of_others() -> None:
    """Commands of every session end, each at most once; the others get a unit attention (SAM-5 6.3.3)."""
    world = World()
    one, other = world.connect(isid=1), world.connect(isid=2)
    world.store.slow = True
    tags = [other.start(0, read(n, 1), data_in_length=512) for n in range(3)]

    one.session.manage(TmfCode.LOGICAL_UNIT_RESET, 0)
    one.run()
    world.release()
    one.run()
    other.run()
    world.store.slow = False

    assert [event.response for event in one.events if isinstance(event, FunctionDone)] == [0]
    assert not any(tag in other.results for tag in tags)
    assert other.execute(0, tur()).status == Status.CHECK_CONDITION


@pytest.mark.parametrize(
    ("reason", "cid", "response"),
    [
        (LogoutReason.CLOSE_SESSION, 0, LogoutResponseCode.CLOSED),
        (LogoutReason.CLOSE_CONNECTION, 0, LogoutResponseCode.CLOSED),
        (LogoutReason.CLOSE_CONNECTION, 9, LogoutResponseCode.CID_NOT_FOUND),
        (LogoutReason.REMOVE_FOR_RECOVERY, 0, LogoutResponseCode.RECOVERY_NOT_SUPPORTED),
    ],
)
def test_logout_reasons(reason: int, cid: int, response: int) -> None:
    """Each reason has its answer; after a success the connection is closed (RFC 7143 11.14, 11.15)."""
    world = World()
    link = world.connect()

    tag = link.session.logout(reason, cid=cid)
    link.run()

    assert link.events == [LoggedOut(tag, response)]
    assert link.closed == (response == LogoutResponseCode.CLOSED)
    assert len(world.target.nexuses) == (0 if link.closed else 1)


def test_send_targets_in_sessions() -> None:
    """All in discovery sessions only; a normal session may ask for its own target (RFC 7143 appendix C)."""
    world = World()
    link = world.connect()
    answers = {}
    for wanted in ("", "All", IQN, "iqn.2026-11.test.scsiemu:other"):
        tag = link.session.text([("SendTargets", wanted)])
        link.run()
        event = link.events.pop()
        assert isinstance(event, TextDone)
        assert event.tag == tag
        answers[wanted] = event.pairs

    mine = (("TargetName", IQN), ("TargetAddress", "127.0.0.1:3260,1"))
    assert answers == {
        "": mine, "All": (("SendTargets", "Reject"),), IQN: mine, "iqn.2026-11.test.scsiemu:other": (),
    }
    discovery = world.connect(target="")
    discovery.session.text([("SendTargets", "All")])
    discovery.run()
    event = discovery.events.pop()
    assert isinstance(event, TextDone)
    assert event.pairs == mine


def test_text_long_answer_in_pieces() -> None:
    """An answer longer than a data segment comes with the C bit (RFC 7143 11.11)."""
    settings = OperationalSettings(max_recv_data_segment_length=512)
    world = World()
    names = []
    for number in range(100):
        names.append(f"iqn.2026-11.test.scsiemu:many-{number:03}")
        world.node.add_target(IscsiTarget(Target(names[-1])))
    link = world.connect(target="", settings=settings)

    link.session.text([("SendTargets", "All")])
    link.run()

    event = link.events.pop()
    assert isinstance(event, TextDone)
    assert [text for key, text in event.pairs if key == "TargetName"] == [IQN, *names]


def test_text_long_request_and_other_keys() -> None:
    """Text cut by the C bit is joined; keys that are not understood are answered so (RFC 7143 6.2, 11.10)."""
    link = World().connect()
    session = link.session
    answers = []
    for flags, data in ((Flags.CONTINUE, b"X-org.example.a=1\0Bog"), (Flags.FINAL, b"us=2\0MaxBurstLength=512\0")):
        ttt = answers[-1][0].ttt if answers else 0xFFFFFFFF
        session.send(pdus.TextRequest(flags=flags, itt=0x77, ttt=ttt, cmd_sn=session.cmd_sn, data=data))
        session.cmd_sn += 1
        link.push()
        out = link.connection.out
        answers.append((pdus.TextResponse.from_bhs(out[0]), b"".join(bytes(part) for part in out[1:])))
        link.connection.data_sent(link.connection.queued)

    assert [answer.flags for answer, _ in answers] == [0, Flags.FINAL]
    text = b"X-org.example.a=NotUnderstood\0Bogus=NotUnderstood\0MaxBurstLength=Reject\0"
    assert answers[1][1].rstrip(b"\0") == text.rstrip(b"\0")


def test_session_reinstatement() -> None:
    """The same initiator port again: the old session ends, the new one works (RFC 7143 6.3.5)."""
    world = World()
    old = world.connect()

    new = world.connect()

    assert old.connection.closed
    old.run()
    assert new.execute(0, tur()).status == Status.GOOD
    assert len(world.node.sessions) == 1
    assert len(world.target.nexuses) == 1


def test_session_parallel_of_other_isid() -> None:
    """Another ISID is another nexus: both sessions live (RFC 7143 4.4.3)."""
    world = World()
    one, two = world.connect(isid=1), world.connect(isid=2)

    assert one.execute(0, tur()).status == two.execute(0, tur()).status == Status.GOOD


@pytest.mark.parametrize(
    ("access", "peer", "ok"),
    [
        (InitiatorAccess(ME), "127.0.0.1", True),
        (InitiatorAccess("iqn.2026-11.test.scsiemu:*"), "127.0.0.1", True),
        (InitiatorAccess("iqn.other:*"), "127.0.0.1", False),
        (InitiatorAccess("*", ("10.0.0.0/8", "fd00::/8")), "127.0.0.1", False),
        (InitiatorAccess("*", ("10.0.0.0/8", "fd00::/8")), "10.1.2.3", True),
        (InitiatorAccess("*", ("10.0.0.0/8", "fd00::/8")), "fd00::7", True),
    ],
)
def test_login_access_by_name_and_address(access: InitiatorAccess, peer: str, ok: bool) -> None:
    """Who is not admitted gets status 0x0202 and sees nothing in discovery (RFC 7143 11.13.5)."""
    world = World(access=(access,))

    if ok:
        assert world.connect(peer=peer).execute(0, tur()).status == Status.GOOD
    else:
        with pytest.raises(LoginFailed) as failed:
            world.connect(peer=peer)
        assert failed.value.status == 0x0202
    discovery = world.connect(target="", peer=peer)
    discovery.session.text([("SendTargets", "All")])
    discovery.run()
    event = discovery.events.pop()
    assert isinstance(event, TextDone)
    assert bool(event.pairs) == ok


def test_login_lun_masking() -> None:
    """The initiator sees the unit by the LUN of its mask only (SAM-5 4.7)."""
    world = World(access=(InitiatorAccess(luns={5: 0}),))
    link = world.connect(clear=False)

    link.execute(5, tur())
    assert link.execute(5, tur()).status == Status.GOOD
    assert link.execute(0, tur()).status == Status.CHECK_CONDITION


def test_discovery_session_takes_no_commands() -> None:
    """SCSI commands and task management are refused in a discovery session (RFC 7143 4.3)."""
    link = World().connect(target="")
    session = link.session

    session.execute(0, tur())
    session.manage(TmfCode.LOGICAL_UNIT_RESET)
    link.run()

    reasons = [event.reason for event in link.events if isinstance(event, Rejected)]
    assert reasons == [RejectReason.COMMAND_NOT_SUPPORTED] * 2


def test_inventory_change_is_told() -> None:
    """A unit that comes or goes: a SCSI asynchronous event, REPORTED LUNS DATA HAS CHANGED (RFC 7143 11.9)."""
    world = World()
    link = world.connect()

    world.target.add_unit(1, type(world.server)(), performer=world.store)
    world.node.settle_all(world.target)
    link.run()

    event = link.events.pop()
    assert isinstance(event, AsyncReceived)
    sense = decode_sense(event.data)
    assert event.event == AsyncEvent.SCSI_EVENT
    assert sense is not None
    assert (sense.code.asc, sense.code.ascq) == (0x3F, 0x0E)


def test_shutdown_asks_for_logout() -> None:
    """An asynchronous message asks; logins are refused; who stays is closed in time (RFC 7143 11.9.1)."""
    world = World(limits=NodeLimits(logout_seconds=2))
    polite, rude = world.connect(isid=1), world.connect(isid=2)

    world.node.request_logout(10.0)
    polite.run()
    assert [event.event for event in polite.events if isinstance(event, AsyncReceived)] == [AsyncEvent.LOGOUT_REQUEST]
    polite.session.logout()
    polite.run()
    with pytest.raises(LoginFailed) as refused:
        world.connect(isid=3)
    rude.run()
    world.node.advance(12.0)
    rude.run()

    assert refused.value.status == 0x0301
    assert polite.closed
    assert rude.closed


def test_connection_loss_ends_commands() -> None:
    """The nexus is lost with the connection; late answers of stores hurt nobody (SAM-5 6.3.4)."""
    world = World()
    link = world.connect()
    world.store.slow = True
    link.start(0, write(0, 4), data_out=bytes(2048))
    link.start(0, read(0, 4), data_in_length=2048)

    link.disconnect()
    world.release()

    assert not world.target.nexuses
    assert len(world.unit.task_set) == 0
    assert not world.node.connections


def test_data_out_budget_holds_r2ts_back() -> None:
    """R2Ts beyond the budget wait until it is free again; none is forgotten."""
    settings = OperationalSettings(initial_r2t=True, immediate_data=False)
    world = World(settings=settings, limits=NodeLimits(data_out_bytes=8192))
    links = [world.connect(settings=settings, isid=n) for n in range(1, 6)]
    for number, link in enumerate(links):
        link.session.execute(0, write(number * 16, 16), data_out=pattern(16, number * 16))
        link.push()

    assert world.node.data_out_budget.used == 8192
    for _ in range(5):
        for link in links:
            link.run()

    assert world.node.data_out_budget.used == 0
    assert [len(link.results) for link in links] == [1] * 5
    assert world.medium[: 80 * 512] == pattern(80)


def test_read_waits_for_the_socket() -> None:
    """While much waits for the socket, reads are not begun: they are produced as it drains."""
    world = World(limits=NodeLimits(queued_bytes=1 << 20))
    link = world.connect()
    tags = [link.session.execute(0, read(0, 1024), data_in_length=1 << 19) for _ in range(40)]

    link.push()

    assert link.connection.queued < (1 << 20) + (1 << 19) + 4096
    link.run()
    assert [link.results[tag].status for tag in tags] == [Status.GOOD] * 40


def test_loopback_refuses_where_the_node_does() -> None:
    """A node that takes no more connections says so."""
    world = World(limits=NodeLimits(unauthenticated=0))

    with pytest.raises(Exception, match="no more connections"):
        Loopback(world.node, None)  # type: ignore[arg-type]  # refused before the offer is looked at

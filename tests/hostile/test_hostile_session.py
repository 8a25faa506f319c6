"""Initiators that break the rules, over memory: rows F1 to F15 and C1 to C9 (but C3) of what a target must survive.

The oracle for all: no exception, no growth, no wrong byte, the session or at least the node goes on.
"""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from iscsi_world import IQN, ME, World, inquiry, pattern, read, swap, tur, write
from raw_pdus import R2T_ONLY, alive, begin_write, command, give, sent

from scsiemu.errors import RemoteProtocolError
from scsiemu.sam import Status
from transports.iscsi import pdu as pdus
from transports.iscsi.chap import ChapCredentials, ChapRequirement
from transports.iscsi.codes import NO_TAG, Flags, LogoutReason, RejectReason, TmfCode
from transports.iscsi.framing import encode
from transports.iscsi.initiator_login import LoginOffer
from transports.iscsi.keys import OperationalSettings
from transports.iscsi.loopback import Loopback
from transports.iscsi.node import NodeLimits

# --- F: before the login ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("opcode", [n for n in range(0x80) if n & 0x3F != 3])
def test_f5_any_other_pdu_first(opcode: int) -> None:
    """F5: every opcode but Login first: closed, without a word."""
    world = World()
    link = Loopback(world.node, LoginOffer(ME, target_name=IQN))

    link.inject(bytes((opcode, 0x80)) + bytes(46))

    assert link.connection.closed
    assert not link.connection.out
    alive(world)


@pytest.mark.parametrize(
    "data",
    [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" + bytes(64), bytes.fromhex("160301020001") + bytes(600), b"\xff" * 65536],
)
def test_f6_other_protocols(data: bytes) -> None:
    """F6: HTTP, TLS and noise are closed at once or by the login deadline."""
    world = World()
    link = Loopback(world.node, LoginOffer(ME, target_name=IQN))

    link.inject(data)
    world.node.advance(15.0)

    assert link.connection.closed
    alive(world)


@pytest.mark.parametrize("length", [8193, 0xFFFFFF])
def test_f3_login_too_long(length: int) -> None:
    """F3: a login with more than 8192 bytes is refused from its header: status 0x0200, then closed."""
    world = World()
    link = Loopback(world.node, LoginOffer(ME, target_name=IQN))

    link.inject(bytes((0x43, 0x87, 0, 0)) + length.to_bytes(4, "big") + bytes(40))

    (answer,) = sent(link)
    assert isinstance(answer, pdus.LoginResponse)
    assert answer.status == 0x0200
    assert link.connection.closed


def test_f10_slow_login() -> None:
    """F10: the deadline is for the whole login; a byte now and then does not move it."""
    world = World()
    link = Loopback(world.node, LoginOffer(ME, target_name=IQN))
    first = b"".join(bytes(part) for part in link.session.take_output())

    for second in range(15):
        assert not link.connection.closed
        link.inject(first[second : second + 1])
        world.node.advance(float(second))
    assert world.node.deadline() == 15.0
    world.node.advance(15.0)

    assert link.connection.closed


def test_f10_never_reads() -> None:
    """F10: an initiator that takes no byte of what we send is closed after the send timeout."""
    world = World(limits=NodeLimits(send_seconds=5, nop_interval=0))
    link = world.connect()
    world.node.advance(1.0)
    link.session.execute(0, read(0, 64), data_in_length=32768)
    link.push()

    world.node.advance(2.0)
    world.node.advance(5.9)
    assert not link.connection.closed
    world.node.advance(6.1)

    assert link.connection.closed
    alive(world)


def test_f11_connection_flood() -> None:
    """F11: connections without login are bounded, in all and for each address; sessions do not count."""
    world = World(limits=NodeLimits(unauthenticated=8, unauthenticated_of_address=4))
    session = world.connect()

    def flood(peer: str) -> int:
        accepted = [world.node.accept(peer=peer, local=("127.0.0.1", 1), now=0.0) for _ in range(20)]
        return sum(connection is not None for connection in accepted)

    assert [flood("10.0.0.1"), flood("10.0.0.2"), flood("10.0.0.3")] == [4, 4, 0]
    assert session.execute(0, tur()).status == Status.GOOD
    world.node.advance(20.0)
    assert sum(connection.closed for connection in world.node.connections) == 8


def test_f15_session_is_not_killed_without_authentication() -> None:
    """F15: who cannot prove who he is does not end the session of another by its ISID."""
    world = World(chap=ChapRequirement({"me": b"secret-secret"}))

    def log_in(secret: bytes) -> Loopback:
        offer = LoginOffer(ME, target_name=IQN, chap=ChapCredentials("me", secret))
        return Loopback(world.node, offer, random_bytes=world.random_bytes).login()

    victim = log_in(b"secret-secret")
    with pytest.raises(RemoteProtocolError):
        log_in(b"wrong-wrong-wrong")
    victim.execute(0, tur())

    assert victim.execute(0, tur()).status == Status.GOOD


@pytest.mark.parametrize("tsih", [1, 0x1234, 0xFFFF])
def test_f15_tsih_guess(tsih: int) -> None:
    """F15: a TSIH that is not ours is refused, and the session lives."""
    world = World()
    victim = world.connect()

    with pytest.raises(RemoteProtocolError):
        world.connect(tsih=tsih)

    assert victim.execute(0, tur()).status == Status.GOOD


# --- C1, C2: order and tags ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("ahead", [-1, -100, 128, 129, 1 << 31, (1 << 31) - 1])
def test_c1_command_outside_window(ahead: int) -> None:
    """C1: CmdSN below or above the window is ignored in silence (RFC 7143 4.2.2.1)."""
    world = World()
    link = world.connect()
    pdu = command(link, tur(), Flags.FINAL, 0)
    pdu.cmd_sn = (pdu.cmd_sn + ahead) & 0xFFFFFFFF
    link.session.cmd_sn -= 1

    assert give(link, pdu) == []
    assert link.execute(0, tur()).status == Status.GOOD


@pytest.mark.parametrize("what", ["command", "slow command", "NOP"])
def test_c1_closed_window(what: str) -> None:
    """C1: with as many commands as the window has, the next CmdSN is outside of it, and ignored (RFC 7143 4.2.2.1)."""
    world = World(limits=NodeLimits(window=4))
    link = world.connect()
    world.store.slow = True
    reads = [command(link, read(0, 1), Flags.FINAL | Flags.READ, 512, tag=tag) for tag in range(4)]
    assert give(link, *reads) == []
    expected = link.session.cmd_sn
    beyond: pdus.Pdu = pdus.NopOut(itt=9, ttt=NO_TAG, cmd_sn=expected)
    if what != "NOP":
        beyond = command(link, tur() if what == "command" else read(0, 1), Flags.FINAL, 0, tag=9)

    assert give(link, beyond) == []
    (ping,) = give(link, pdus.NopOut(itt=10, ttt=NO_TAG, cmd_sn=expected, immediate=True))
    assert isinstance(ping, pdus.NopIn)
    assert (ping.exp_cmd_sn, ping.max_cmd_sn) == (expected, expected - 1)
    world.store.slow = False
    world.release()
    assert [answer.itt for answer in sent(link) if isinstance(answer, pdus.DataIn)] == [0, 1, 2, 3]
    assert len(give(link, beyond)) == 1


def test_c1_duplicate_ahead_and_gap_flood() -> None:
    """C1: what waits for a gap is bounded by the window, and a CmdSN counts once."""
    world = World(limits=NodeLimits(window=16))
    link = world.connect()
    base = link.session.cmd_sn
    for number in range(1000):
        pdu = command(link, tur(), Flags.FINAL, 0, tag=0x1000 + number)
        pdu.cmd_sn = base + 1 + number % 64
        assert give(link, pdu) == []
    assert len(link.connection.session.held.requests) == 15

    filler = command(link, tur(), Flags.FINAL, 0, tag=0x10)
    filler.cmd_sn = base

    assert len(give(link, filler)) == 16


@pytest.mark.parametrize("end", ["filled", "aborted", "lost"])
def test_c1_data_behind_a_gap_is_counted(end: str) -> None:
    """C1: data of commands that wait for a gap counts as Data-Out buffers, until they have their turn or end."""
    world = World(limits=NodeLimits(data_out_bytes=4096))
    link = world.connect()
    base = link.session.cmd_sn
    for number in range(4):
        pdu = command(link, write(number * 2, 2), 0xA1, 1024, tag=0x100 + number, data=pattern(2, number))
        pdu.cmd_sn = base + 1 + number
        assert give(link, pdu) == []
    assert world.node.data_out_budget.used == 4096

    if end == "filled":
        filler = command(link, tur(), Flags.FINAL, 0, tag=0x10)
        filler.cmd_sn = base
        assert len(give(link, filler)) == 5
        assert world.medium[: 8 * 512] == b"".join(pattern(2, number) for number in range(4))
    elif end == "aborted":
        request = pdus.TaskManagementRequest(
            0x80 | TmfCode.LOGICAL_UNIT_RESET, 0, 0x10, cmd_sn=base + 5, immediate=True
        )
        give(link, request)
    else:
        link.connection.lost()

    assert world.node.data_out_budget.used == 0


def test_c1_too_much_data_behind_a_gap() -> None:
    """C1: past the bound of Data-Out buffers the connection ends, and others go on."""
    world = World(limits=NodeLimits(data_out_bytes=4096))
    link = world.connect()
    base = link.session.cmd_sn
    for number in range(5):
        pdu = command(link, write(0, 2), 0xA1, 1024, tag=0x100 + number, data=bytes(1024))
        pdu.cmd_sn = base + 1 + number
        give(link, pdu)

    assert link.connection.closed
    assert "no memory" in link.connection.close_reason
    assert world.node.data_out_budget.used == 0
    alive(world)


@pytest.mark.parametrize("immediate", [False, True])
@pytest.mark.parametrize("behind", ["store", "extent", "session"])
def test_c1_data_that_came_with_commands_is_counted(behind: str, immediate: bool) -> None:
    """C1: data of commands that wait for a store, for a command before them or for their turn is bounded: what is
    more ends with BUSY, and what was kept is free when they end."""
    world = World(limits=NodeLimits(data_out_bytes=4096, queued_bytes=1 << 20))
    link = world.connect()
    if behind == "session":
        give(link, command(link, write(0, 1), Flags.WRITE, 512))        # its data does not come
    else:
        world.store.slow = True
        if behind == "extent":
            give(link, command(link, read(0, 64), Flags.FINAL | Flags.READ, 32768))
    answers = []
    for number in range(6):
        pdu = command(link, write(number * 2, 2), 0xA1, 1024, tag=0x100 + number, data=pattern(2, number))
        pdu.immediate = immediate
        answers += give(link, pdu)
    if behind == "session" and immediate:
        assert len(answers) == 6        # no order holds them, and the store is fast
        return

    assert [answer.status for answer in answers if isinstance(answer, pdus.ScsiResponse)] == [Status.BUSY] * 2
    assert world.node.immediate_budget.used == 4096
    if behind == "session":
        link.connection.lost()
    else:
        world.store.slow = False
        world.release()
        assert len(sent(link)) >= 4
        assert world.medium[: 8 * 512] == b"".join(pattern(2, number) for number in range(4))
    assert world.node.immediate_budget.used == 0
    alive(world)


def test_c1_immediate_flood() -> None:
    """C1: immediate commands under way are bounded; the rest is rejected as too many (RFC 7143 11.17.1)."""
    world = World()
    link = world.connect()
    world.store.slow = True
    answers = []
    for number in range(200):
        pdu = command(link, read(0, 1), Flags.FINAL | Flags.READ, 512, tag=0x1000 + number)
        pdu.immediate = True
        answers += give(link, pdu)

    assert {answer.reason for answer in answers if isinstance(answer, pdus.Reject)} == {
        RejectReason.IMMEDIATE_COMMAND_REJECT
    }
    assert len(world.store.kept) == 64


def test_c2_tag_in_use() -> None:
    """C2: an ITT that is in use is rejected, and its owner goes on undisturbed."""
    world = World()
    link = world.connect()
    world.store.slow = True
    give(link, command(link, read(0, 1), Flags.FINAL | Flags.READ, 512, tag=7))

    (answer,) = give(link, command(link, tur(), Flags.FINAL, 0, tag=7))
    assert isinstance(answer, pdus.Reject)
    world.release()
    (data,) = sent(link)

    assert isinstance(data, pdus.DataIn)
    assert (data.itt, data.status, len(data.data)) == (7, Status.GOOD, 512)


def test_c2_reserved_tag() -> None:
    """C2: ITT 0xffffffff names no command."""
    world = World()
    link = world.connect()

    (answer,) = give(link, command(link, tur(), Flags.FINAL, 0, tag=NO_TAG))

    assert isinstance(answer, pdus.Reject)
    assert answer.reason == RejectReason.INVALID_PDU_FIELD


@pytest.mark.parametrize(
    "wrong",
    [
        pdus.NopOut(itt=1, ttt=2), pdus.TextRequest(flags=Flags.FINAL | Flags.CONTINUE, itt=1),
        pdus.LogoutRequest(flags=Flags.FINAL | 5, itt=1),
        pdus.TaskManagementRequest(flags=Flags.FINAL | TmfCode.ABORT_TASK, itt=NO_TAG),
        pdus.ScsiCommand(Flags.FINAL | 7, 0, 0, 1, 0, 0, 0, tur().ljust(16, b"\0")),
    ],
    ids=lambda wrong: type(wrong).__name__,
)
def test_c2_rejected_is_not_received(wrong: pdus.NopOut) -> None:
    """The CmdSN of whatever was rejected counts as not received: another request is sent with it (RFC 7143 11.17.1)."""
    world = World()
    link = world.connect()
    wrong.cmd_sn = expected = link.session.cmd_sn

    (answer,) = give(link, wrong)
    assert isinstance(answer, pdus.Reject)
    assert (answer.exp_cmd_sn, answer.max_cmd_sn - expected) == (expected, world.node.limits.window - 1)
    (answer,) = give(link, command(link, tur(), Flags.FINAL, 0))
    assert isinstance(answer, pdus.ScsiResponse)
    assert answer.exp_cmd_sn == expected + 1


def test_f4_header_digest_wrong() -> None:
    """F4: a wrong header digest ends the connection at ErrorRecoveryLevel 0."""
    digests = OperationalSettings(header_digest=("CRC32C",))
    world = World(settings=digests)
    link = world.connect(settings=digests)
    link.session.execute(0, tur())
    out = bytearray(b"".join(bytes(part) for part in link.session.take_output()))
    out[20] ^= 1

    link.inject(out)

    assert link.connection.closed
    alive(world)


# --- C4 to C9 -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [0, 1, 511, 0xFFFFFFFF])
@pytest.mark.parametrize("flags", [0, Flags.READ, Flags.WRITE, Flags.READ | Flags.WRITE])
def test_c4_expected_length_of_any_size(length: int, flags: int) -> None:
    """C4: an expected length that has nothing to do with the command allocates nothing and is answered."""
    world = World()
    link = world.connect()

    answers = give(link, command(link, inquiry(), Flags.FINAL | flags, length))

    assert len(answers) in (1, 2)
    assert world.node.data_out_budget.used == 0
    assert link.execute(0, tur()).status == Status.GOOD


@pytest.mark.parametrize(("cdb", "flags"), [(read(0, 1), Flags.WRITE), (write(0, 1), Flags.READ)])
def test_c4_wrong_direction(cdb: bytes, flags: int) -> None:
    """C4: nothing was transferred of what was expected in the other direction: U with all of it. The bits o and u are
    for bidirectional commands alone (RFC 7143 11.4.1, 11.4.5)."""
    link = World().connect()

    (answer,) = give(link, command(link, cdb, Flags.FINAL | flags, 512))

    assert isinstance(answer, pdus.ScsiResponse)
    assert (answer.flags, answer.residual_count, answer.bidi_residual_count) == (0x82, 512, 0)


def test_c5_abort_twice_and_itself() -> None:
    """C5: the second abort finds nothing; a function cannot be aborted."""
    world = World()
    link = world.connect()
    world.store.slow = True
    tag = link.start(0, read(0, 1), data_in_length=512)
    first = link.session.manage(TmfCode.ABORT_TASK, referenced=tag)
    second = link.session.manage(TmfCode.ABORT_TASK, referenced=tag)
    third = link.session.manage(TmfCode.ABORT_TASK, referenced=second)
    link.run()

    world.release()
    link.run()

    answered = {event.tag: event.response for event in link.events if hasattr(event, "response")}
    assert set(answered) == {first, second, third}
    assert tag not in link.results


@pytest.mark.parametrize("function", range(13))
def test_c5_every_function_during_a_write(function: int) -> None:
    """C5: whatever function hits a WRITE that waits for data: one end, one answer, and the unit works on."""
    world = World(settings=R2T_ONLY)
    link = world.connect(settings=R2T_ONLY)
    r2t = begin_write(link)

    request = pdus.TaskManagementRequest(
        Flags.FINAL | function, 0, 0x800, 0x700, link.session.cmd_sn, 0, link.session.cmd_sn - 1, immediate=True
    )
    answers = give(link, request)
    answers += give(link, pdus.DataOut(Flags.FINAL, 0, 0x700, r2t.ttt, 0, 0, 0, data=b"x" * 1024))

    assert sum(isinstance(answer, pdus.TaskManagementResponse) for answer in answers) == 1
    ends = sum(isinstance(answer, pdus.ScsiResponse) for answer in answers)
    assert ends == (0 if function in (1, 2, 4, 5, 6, 7, 11) else 1)
    assert bytes(world.medium[:1024]) == (b"x" * 1024 if ends else bytes(1024))
    assert len(world.unit.task_set) == 0
    alive(world)


def recorded_session() -> bytes:
    """What an initiator sends in a session with a bit of everything."""
    world = World(settings=R2T_ONLY)
    link = world.connect(settings=R2T_ONLY)
    link.execute(0, write(0, 3), data_out=pattern(3))
    link.execute(0, read(0, 3), data_in_length=1536)
    link.execute(0, swap(0, 1), data_out=bytes(512), data_in_length=512)
    link.session.nop(b"ping")
    link.manage(TmfCode.ABORT_TASK_SET)
    link.session.text([("SendTargets", "")])
    link.run()
    link.session.logout(LogoutReason.CLOSE_SESSION)
    link.run()
    return bytes(link.sent)


def test_c6_disconnect_at_every_byte() -> None:
    """C6: wherever the connection breaks, the nexus, its commands and their memory are gone."""
    record = recorded_session()
    world = World(settings=R2T_ONLY)
    for end in range(len(record) + 1):
        connection = world.node.accept(peer="127.0.0.1", local=("127.0.0.1", 3260), now=0.0)
        assert connection is not None
        connection.receive_data(memoryview(record[:end]))
        connection.data_sent(connection.queued)
        connection.lost()

        assert not world.target.nexuses
        assert len(world.unit.task_set) == 0
        assert not world.node.connections
        assert not world.node.sessions
        assert world.node.data_out_budget.used == 0
    alive(world)


@settings(max_examples=150, deadline=None)
@given(
    changes=st.lists(st.tuples(st.integers(0, 10000), st.integers(0, 255)), min_size=1, max_size=4),
    size=st.integers(1, 2000),
)
def test_f1_bytes_flipped_in_a_session(changes: list[tuple[int, int]], size: int) -> None:
    """F1, F2: any bytes of a session changed, and cut in pieces: no exception, and the node goes on."""
    record = bytearray(_RECORD)
    for place, byte in changes:
        record[place % len(record)] = byte
    world = World(settings=R2T_ONLY)
    connection = world.node.accept(peer="127.0.0.1", local=("127.0.0.1", 3260), now=0.0)
    assert connection is not None
    for at in range(0, len(record), size):
        connection.receive_data(memoryview(bytes(record[at : at + size])))
        connection.data_sent(connection.queued)
    connection.lost()

    assert not world.target.nexuses
    alive(world)


_RECORD = recorded_session()


@settings(max_examples=150, deadline=None)
@given(header=st.binary(min_size=47, max_size=47), opcode=st.integers(0, 255), data=st.binary(max_size=64))
def test_f2_any_header_in_a_session(header: bytes, opcode: int, data: bytes) -> None:
    """F2: any 48 bytes as a header, lengths made right: answered or closed, never raised."""
    world = World()
    link = world.connect()
    bhs = bytearray(bytes((opcode,)) + header)
    bhs[4] %= 4
    bhs[5:8] = len(data).to_bytes(3, "big")

    link.inject(bytes(bhs) + bytes(bhs[4] * 4) + data + bytes(-len(data) % 4))
    sent(link)
    link.disconnect()

    alive(world)


def test_c7_floods_are_bounded() -> None:
    """C7: NOP-Outs, texts and SNACKs without end are answered while the queue has room, then refused."""
    world = World(limits=NodeLimits(queued_bytes=65536))
    link = world.connect()
    session = link.session
    snack = give(link, pdus.Snack(itt=0x1, ttt=NO_TAG))
    assert [answer.reason for answer in snack if isinstance(answer, pdus.Reject)] == [RejectReason.SNACK_REJECT]

    for number in range(2000):
        nop = pdus.NopOut(itt=0x1000 + number, cmd_sn=session.cmd_sn, immediate=True, data=bytes(8192))
        if link.connection.wants_data:
            link.inject(b"".join(bytes(part) for part in encode(nop)))

    assert link.connection.queued < 65536 + 2 * 8192
    sent(link)


def test_c7_logout_flood() -> None:
    """C7: after the first logout nothing is taken any more."""
    world = World()
    link = world.connect()
    logout = b"".join(
        bytes(part) for part in encode(pdus.LogoutRequest(itt=1, cmd_sn=link.session.cmd_sn, immediate=True))
    )

    link.inject(logout * 1000)

    assert len(sent(link)) == 1
    assert link.connection.closed


@pytest.mark.parametrize("lun", [0x00FF << 48, 0x4001 << 48, 0xC101 << 48, 0xC1FF << 48, (1 << 64) - 1, 1, 0xE7 << 56])
def test_c8_lun_forms(lun: int) -> None:
    """C8: LUNs of every form that is not there: a status, for commands and functions alike."""
    world = World()
    link = world.connect()

    answers = give(link, command(link, tur(), Flags.FINAL, 0, lun=lun))
    answers += give(
        link, pdus.TaskManagementRequest(Flags.FINAL | 5, lun, 0x800, cmd_sn=link.session.cmd_sn, immediate=True)
    )

    assert isinstance(answers[0], pdus.ScsiResponse)
    assert isinstance(answers[1], pdus.TaskManagementResponse)


def test_c9_initiator_stops_reading() -> None:
    """C9: reads wait for the socket, for each connection and for all together; what is taken goes on."""
    world = World(limits=NodeLimits(queued_bytes=1 << 20, queued_bytes_total=2 << 20))
    links = [world.connect(isid=n) for n in range(1, 9)]
    for link in links:
        for number in range(50):
            link.session.execute(0, read(number, 1024), data_in_length=1 << 19)
        link.push()
        link.pull(100)

    total = sum(link.connection.queued for link in links)
    assert total <= (2 << 20) + 8 * (1 << 19) + 8 * 65536 + (1 << 20)
    for _ in range(3):
        for link in links:
            link.run()
    assert [len(link.results) for link in links] == [50] * 8

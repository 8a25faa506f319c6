"""Initiators that send Data-Out against the rules, over memory: row C3 of what a target must survive."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from iscsi_world import World, pattern, read, tur, write
from raw_pdus import R2T_ONLY, begin_write, command, give, sense_of, sent

from scsiemu.sam import Status
from transports.iscsi import pdu as pdus
from transports.iscsi.codes import NO_TAG, Flags, RejectReason
from transports.iscsi.framing import encode
from transports.iscsi.initiator import Rejected
from transports.iscsi.keys import OperationalSettings

Spoil = Callable[[pdus.DataOut], None]

SPOILS: dict[str, tuple[Spoil, bool]] = {
    # what is done to a good Data-Out, and whether it names the command at all
    "wrong DataSN": (lambda pdu: setattr(pdu, "data_sn", 1), True),
    "DataSN 0xffffffff": (lambda pdu: setattr(pdu, "data_sn", 0xFFFFFFFF), True),
    "wrong offset": (lambda pdu: setattr(pdu, "buffer_offset", 512), True),
    "offset beyond": (lambda pdu: setattr(pdu, "buffer_offset", 0xFFFFFE00), True),
    "too much": (lambda pdu: setattr(pdu, "data", b"x" * 1536), True),
    "F too early": (lambda pdu: setattr(pdu, "data", b"x" * 512), True),
    "no F at the end": (lambda pdu: setattr(pdu, "flags", 0), True),
    "another LUN": (lambda pdu: setattr(pdu, "lun", 1 << 48), True),
    "another ITT": (lambda pdu: setattr(pdu, "itt", 0x701), True),
    "unknown TTT": (lambda pdu: setattr(pdu, "ttt", 0x12345), False),
    "unsolicited": (lambda pdu: setattr(pdu, "ttt", NO_TAG), True),
}


@pytest.mark.parametrize("what", SPOILS)
def test_c3_data_out_wrong(what: str) -> None:
    """C3: the WRITE fails with ABORTED COMMAND or the PDU is rejected; the medium is as it was; the session lives."""
    world = World(settings=R2T_ONLY)
    link = world.connect(settings=R2T_ONLY)
    r2t = begin_write(link)
    good = pdus.DataOut(Flags.FINAL, 0, 0x700, r2t.ttt, 0, 0, 0, data=b"x" * 1024)
    spoil, named = SPOILS[what]
    bad = pdus.DataOut(Flags.FINAL, 0, 0x700, r2t.ttt, 0, 0, 0, data=b"x" * 1024)
    spoil(bad)

    answers = give(link, bad)

    assert world.medium[:1024] == bytes(1024)
    if not named:
        assert [answer.reason for answer in answers if isinstance(answer, pdus.Reject)] == [RejectReason.PROTOCOL_ERROR]
        answers = give(link, good)
        assert world.medium[:1024] == b"x" * 1024
    elif what == "unsolicited":
        answers = give(link, good)          # only then has the last burst ended
        assert sense_of(answers[-1])[0] == 0xB
        assert world.medium[:1024] == bytes(1024)
    else:
        assert sense_of(answers[-1])[0] == 0xB
    assert len(world.unit.task_set) == 0
    assert world.node.data_out_budget.used == 0


def test_c3_data_out_after_the_end() -> None:
    """C3: Data-Out after the F bit, or for a READ, is rejected."""
    world = World(settings=R2T_ONLY)
    link = world.connect(settings=R2T_ONLY)
    r2t = begin_write(link)
    data = pdus.DataOut(Flags.FINAL, 0, 0x700, r2t.ttt, 0, 0, 0, data=b"x" * 1024)
    (done,) = give(link, data)
    world.store.slow = True
    give(link, command(link, read(0, 2), Flags.FINAL | Flags.READ, 1024, tag=0x701))

    again = give(link, data)
    for_read = give(link, pdus.DataOut(Flags.FINAL, 0, 0x701, NO_TAG, 0, 0, 0, data=b"y" * 1024))

    assert isinstance(done, pdus.ScsiResponse)
    assert done.status == Status.GOOD
    assert [answer.reason for answer in again + for_read if isinstance(answer, pdus.Reject)] == [4, 4]
    assert world.medium[:1024] == b"x" * 1024


def test_c3_unsolicited_where_not_allowed() -> None:
    """C3: immediate data and announced unsolicited data against the negotiation: ABORTED COMMAND 0C/0C."""
    world = World(settings=R2T_ONLY)
    link = world.connect(settings=R2T_ONLY)

    (immediate,) = give(link, command(link, write(0, 1), Flags.FINAL | Flags.WRITE, 512, data=b"x" * 512))
    (announced,) = give(link, command(link, write(0, 1), Flags.WRITE, 512, tag=0x701))

    assert sense_of(immediate) == sense_of(announced) == (0xB, 0x0C, 0x0C)
    assert world.medium[:512] == bytes(512)


def test_c3_more_than_first_burst() -> None:
    """C3: unsolicited data beyond FirstBurstLength is refused, and nothing of it is written."""
    small = OperationalSettings(first_burst_length=1024, max_burst_length=4096)
    world = World(settings=small)
    link = world.connect(settings=small)

    give(link, command(link, write(0, 8), Flags.WRITE, 4096))
    answers = give(link, pdus.DataOut(Flags.FINAL, 0, 0x700, NO_TAG, 0, 0, 0, data=b"x" * 2048))

    assert sense_of(answers[-1])[0] == 0xB
    assert world.medium[:4096] == bytes(4096)
    assert world.node.data_out_budget.used == 0


def test_c3_unsolicited_flood() -> None:
    """C3: Data-Out for nobody: each is rejected, none is kept."""
    world = World()
    link = world.connect()
    flood = b"".join(
        bytes(part)
        for number in range(5000)
        for part in encode(pdus.DataOut(0, 0, number, NO_TAG, 0, 0, 0, data=b"x" * 16))
    )

    link.inject(flood)

    assert len([answer for answer in sent(link) if isinstance(answer, pdus.Reject)]) == 5000
    assert link.execute(0, tur()).status == Status.GOOD


@settings(max_examples=60, deadline=None)
@given(order=st.permutations(range(6)), duplicate=st.integers(0, 5), wrong=st.booleans())
def test_c3_data_out_in_any_order(order: list[int], duplicate: int, wrong: bool) -> None:
    """C3: with DataPDUInOrder=No offsets come in any order; a byte that comes twice fails the command."""
    free = OperationalSettings(
        initial_r2t=True, immediate_data=False, data_pdu_in_order=False, data_sequence_in_order=False
    )
    world = World(settings=free)
    link = world.connect(settings=free)
    r2t = begin_write(link, 6)
    data = pattern(6)
    offsets = [index * 512 for index in order]
    if wrong:
        offsets[5] = offsets[duplicate % 5]

    answers = []
    for number, offset in enumerate(offsets):
        flags = Flags.FINAL if number == 5 else 0
        answers += give(
            link, pdus.DataOut(flags, 0, 0x700, r2t.ttt, 0, number, offset, data=data[offset : offset + 512])
        )

    if wrong:
        assert sense_of(answers[-1])[0] == 0xB
        assert world.medium[:3072] == bytes(3072)
    else:
        assert [answer.status for answer in answers if isinstance(answer, pdus.ScsiResponse)] == [Status.GOOD]
        assert world.medium[:3072] == data


def test_c3_data_digest_wrong() -> None:
    """F4, C3: a Data-Out with a wrong data digest: Reject, and its command fails (RFC 7143 7.8)."""
    digests = OperationalSettings(initial_r2t=True, immediate_data=False, data_digest=("CRC32C",))
    world = World(settings=digests)
    link = world.connect(settings=digests)
    link.session.execute(0, write(0, 1), data_out=b"x" * 512)
    link.push()
    link.pull()
    out = bytearray(b"".join(bytes(part) for part in link.session.take_output()))
    out[60] ^= 1

    link.inject(out)
    link.run()

    assert [event.reason for event in link.events if isinstance(event, Rejected)] == [RejectReason.DATA_DIGEST_ERROR]
    assert [result.status for result in link.results.values()] == [Status.CHECK_CONDITION]
    assert world.medium[:512] == bytes(512)

"""Logins with the TSIH of a session: another connection in the place of its own (RFC 7143 6.3.4)."""

from __future__ import annotations

from iscsi_world import IQN, ME, World, pattern, tur, write
from raw_pdus import command, give

from scsiemu.sam import Status
from transports.iscsi import pdu as pdus
from transports.iscsi.codes import NO_TAG, Flags
from transports.iscsi.initiator_login import LoginOffer
from transports.iscsi.loopback import Loopback
from transports.iscsi.text import encode_text


def test_connection_reinstatement() -> None:
    """A login with the session's TSIH and CID takes the place of its connection (RFC 7143 6.3.4). What only a leading
    login negotiates holds on: this one does not speak of it."""
    world = World()
    old = world.connect()
    tsih = old.connection.session.tsih if old.connection.session is not None else 0
    link = Loopback(world.node, LoginOffer(ME, target_name=IQN), isid=b"\x80\0\0\0\0\1")
    text = {"InitiatorName": ME, "TargetName": IQN, "SessionType": "Normal", "HeaderDigest": "None"}
    link.session.take_output()
    (answer,) = give(link, pdus.LoginRequest(
        flags=Flags.TRANSIT | 1 << 2 | 3, isid=b"\x80\0\0\0\0\1", tsih=tsih, itt=1, cmd_sn=link.session.cmd_sn,
        immediate=True, data=encode_text(text.items()),
    ))

    assert isinstance(answer, pdus.LoginResponse)
    assert (answer.status, answer.tsih) == (0, tsih)
    assert old.connection.closed
    give(link, command(link, tur(), Flags.FINAL, 0))
    unsolicited = pdus.DataOut(flags=Flags.FINAL, itt=7, ttt=NO_TAG, data=pattern(1))
    (answer,) = give(link, command(link, write(0, 1), Flags.WRITE, 512, tag=7), unsolicited)
    assert isinstance(answer, pdus.ScsiResponse)
    assert answer.status == Status.GOOD
    assert world.medium[:512] == pattern(1)

"""Logins with the TSIH of a session: another connection in the place of its own (RFC 7143 6.3.4)."""

from __future__ import annotations

import pytest
from iscsi_world import IQN, ME, World, pattern, read, tur, write
from raw_pdus import command, give, sense_of

from scsiemu.sam import Status
from transports.iscsi import pdu as pdus
from transports.iscsi.codes import NO_TAG, Flags
from transports.iscsi.initiator_login import LoginOffer
from transports.iscsi.loopback import Loopback
from transports.iscsi.node import InitiatorAccess
from transports.iscsi.text import encode_text


def reinstate(world: World, old: Loopback) -> Loopback:
    """Another connection in the place of that one."""
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
    return link


def test_connection_reinstatement() -> None:
    """A login with the session's TSIH and CID takes the place of its connection (RFC 7143 6.3.4). What only a leading
    login negotiates holds on: this one does not speak of it. The nexus is not lost, its commands are (6.3.5.1)."""
    world = World()
    old = world.connect()
    ask = command(old, write(0, 1), Flags.FINAL | Flags.WRITE, 512, tag=7)
    assert isinstance(give(old, ask)[0], pdus.R2T)
    link = reinstate(world, old)
    (ready,) = give(link, command(link, tur(), Flags.FINAL, 0))
    assert isinstance(ready, pdus.ScsiResponse)
    assert ready.status == Status.GOOD
    unsolicited = pdus.DataOut(flags=Flags.FINAL, itt=7, ttt=NO_TAG, data=pattern(1))
    (answer,) = give(link, command(link, write(0, 1), Flags.WRITE, 512, tag=7), unsolicited)
    assert isinstance(answer, pdus.ScsiResponse)
    assert answer.status == Status.GOOD
    assert world.medium[:512] == pattern(1)


@pytest.mark.parametrize("why", ["store", "terms"])
def test_connection_reinstatement_loses_the_nexus(why: str) -> None:
    """While a store works for a command of it, whose tag may come again, and where another rule of access holds for the
    address that the connection comes from, the nexus is lost."""
    access = [InitiatorAccess("*", networks=("192.0.2.0/24",)), InitiatorAccess("*")]
    world = World(access=access)
    old = world.connect(peer="192.0.2.1" if why == "terms" else "")
    if why == "store":
        world.store.slow = True
        assert give(old, command(old, read(0, 1), Flags.FINAL | Flags.READ, 512, tag=7)) == []
    link = reinstate(world, old)
    (told,) = give(link, command(link, tur(), Flags.FINAL, 0))
    assert sense_of(told) == (6, 0x29, 7)
    world.release()

    (ready,) = give(link, command(link, tur(), Flags.FINAL, 0))
    assert isinstance(ready, pdus.ScsiResponse)
    assert ready.status == Status.GOOD

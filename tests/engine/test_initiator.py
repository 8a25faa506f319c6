"""The initiator for tests: the ports that it stands for."""

from __future__ import annotations

import pytest
from engine_spc_unit import World

from scsiemu.testing.initiator import Initiator
from scsiemu.transport_id import iscsi_transport_id, parse_transport_id

NAME = "iqn.2026-11.org.example:me"


@pytest.mark.parametrize(
    ("name", "isid"),
    [(NAME, "800000000001"), (f"{NAME},i,0x00023d000007", "00023d000007"), (f"{NAME},i,0x7", "000000000007")],
)
def test_initiator_transport_id(name: str, isid: str) -> None:
    """Its TransportID is one of an iSCSI port (SPC-5 7.6.4.6), in canonical form; a name may have an ISID."""
    port = Initiator(World().target, name).nexus.initiator_port

    assert port.transport_id == iscsi_transport_id(NAME, bytes.fromhex(isid))
    assert parse_transport_id(port.transport_id).canonical == port.transport_id
    assert (port.name, port.device_name) == (f"{NAME},i,0x{isid}", NAME)


@pytest.mark.parametrize("device", [False, True], ids=["port", "device"])
def test_initiator_spec_i_pt(device: bool) -> None:
    """REGISTER with SPEC_I_PT registers an initiator by its TransportID, or by the name of its device."""
    world = World()
    named = iscsi_transport_id(world.two.name) if device else world.two.nexus.initiator_port.transport_id
    parameters = bytes(8) + (7).to_bytes(8, "big") + bytes(4) + b"\x08" + bytes(3)
    parameters += len(named).to_bytes(4, "big") + named
    # The registration is for the target port of the one who asks.
    other = Initiator(world.target, world.two.name, port=world.ports[0])

    answer = world.one.command("PERSISTENT RESERVE OUT (REGISTER)", data_out=parameters)
    full = world.two.command("PERSISTENT RESERVE IN (READ FULL STATUS)").data

    assert answer.good, answer
    assert other.nexus.initiator_port.transport_id in full

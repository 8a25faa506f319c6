"""Data-Out of long writes, which the engine asks for piece by piece."""

from __future__ import annotations

from iscsi_world import World, pattern, write
from raw_pdus import command, give

from scsiemu.sam import Status
from transports.iscsi import pdu as pdus
from transports.iscsi.codes import Flags
from transports.iscsi.keys import OperationalSettings
from transports.iscsi.node import NodeLimits


def test_long_write_in_pieces() -> None:
    """R2TSN goes on from piece to piece, and never more than one piece is held (RFC 7143 11.8, 11.4.8)."""
    burst = 256 << 10
    settings = OperationalSettings(
        initial_r2t=True, immediate_data=False, max_outstanding_r2t=1, max_burst_length=burst // 2
    )
    world = World(settings=settings, limits=NodeLimits(data_out_bytes=burst))
    link = world.connect(settings=settings)
    data = pattern(2048)
    answers = give(link, command(link, write(0, 2048), Flags.FINAL | Flags.WRITE, len(data)))

    for number in range(8):
        (r2t,) = answers
        assert isinstance(r2t, pdus.R2T)
        assert (r2t.r2t_sn, r2t.buffer_offset) == (number, number * burst // 2)
        assert r2t.desired_data_transfer_length == burst // 2
        assert world.node.data_out_budget.used == burst
        assert world.medium[r2t.buffer_offset // burst * burst :] == bytes(
            len(world.medium) - r2t.buffer_offset // burst * burst
        )
        end = r2t.buffer_offset + r2t.desired_data_transfer_length
        answers = give(link, pdus.DataOut(
            Flags.FINAL, 0, 0x700, r2t.ttt, 0, 0, r2t.buffer_offset, data=data[r2t.buffer_offset : end]
        ))

    (response,) = answers
    assert isinstance(response, pdus.ScsiResponse)
    assert (response.status, response.residual_count, response.exp_data_sn) == (Status.GOOD, 0, 8)
    assert world.node.data_out_budget.used == 0
    assert world.medium[: len(data)] == data

"""Commands that come together: in which parts a connection answers them."""

from __future__ import annotations

import pytest
from iscsi_world import World, read, tur

from transports.iscsi import pdu as pdus


@pytest.mark.parametrize(("seen", "parts"), [(0, [4, 4, 2]), (1, [10])])
def test_connection_answers_in_parts_who_waits(seen: int, parts: list[int]) -> None:
    """Ten commands together: in parts where the initiator had seen all answers before, else all at once."""
    world = World()
    link = world.connect()
    link.execute(0, tur())
    connection = link.connection
    connection.at_once = 4
    batch = b"".join(
        pdus.ScsiCommand(
            0xC1, itt=100 + number, expected_data_transfer_length=512, cmd_sn=link.session.cmd_sn + number,
            exp_stat_sn=connection.stat_sn - seen, cdb=read(number, 1).ljust(16, b"\0"),
        ).bhs()
        for number in range(10)
    )
    answered = []

    connection.receive_data(memoryview(batch))
    while True:
        answered.append(len(connection.out) // 2)
        connection.data_sent(connection.queued)
        if not connection.rest:
            break
        connection.proceed()

    assert answered == parts

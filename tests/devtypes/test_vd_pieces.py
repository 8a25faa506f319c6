"""A long write whose data is still to come is fetched and written in pieces (scsiemu/io_emulation.py)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vd_bench import Bench

from scsiemu import asc
from scsiemu.command import Command
from scsiemu.errors import IoFailed, IoFault
from scsiemu.io_requests import PENDING, Write
from scsiemu.nexus import Nexus
from scsiemu.sam import Status, TaskManagementFunction

BLOCK = 512
BURST = 256 << 10
DATA = b"".join(n.to_bytes(4, "big") for n in range(1 << 18))


class Slow:
    """A store that answers writes when it is told."""

    def __init__(self, bench: Bench) -> None:
        self.performer = bench.unit.performer
        self.kept: list[tuple[Write, Any]] = []
        bench.unit.performer = self

    def __call__(self, request: Any, ticket: Any, /) -> Any:
        if not isinstance(request, Write):
            return self.performer(request, ticket)
        assert request.data is not None
        self.kept.append((Write(request.offset, request.length, bytes(request.data)), ticket))
        return PENDING


def write(bench: Bench, blocks: int, *, come: int = 0, offered: int | None = None, fua: bool = False) -> Command:
    """Submit WRITE(16) of blocks from LBA 0, of which `come` bytes come with the command."""
    cdb = bytes((0x8A, fua << 3)) + bytes(8) + blocks.to_bytes(4, "big") + bytes(2)
    nexus: Nexus = bench.initiator.nexus
    length = blocks * BLOCK if offered is None else offered
    received = bytearray(DATA[:come])
    command = Command(nexus, 0, cdb, 7, data_out=memoryview(received), data_out_length=length)
    bench.target.submit(command)
    received[:] = bytes(come)               # used again, as a transport's receive buffer is
    return command


def serve(bench: Bench) -> list[tuple[int, int]]:
    """Bring all that is asked for; (offset, length) of each request."""
    asked = []
    while (request := bench.target.next_data_out_request()) is not None:
        asked.append((request.offset, request.length))
        request.buffer[:] = DATA[request.offset : request.offset + request.length]
        bench.target.data_out(request.command)
    return asked


@pytest.mark.parametrize(
    ("come", "asked"),
    [
        (0, [(0, BURST), (BURST, BURST), (2 * BURST, BURST), (3 * BURST, BURST)]),
        (BURST, [(BURST, BURST), (2 * BURST, BURST), (3 * BURST, BURST)]),
        (BURST // 2, [(n * BURST // 2, BURST) for n in (1, 3, 5)] + [(7 * BURST // 2, BURST // 2)]),
        (8192, [(8192, BURST - 8192), (BURST, BURST), (2 * BURST, BURST), (3 * BURST, BURST)]),
        (BURST + 1, [(BURST + 1, 511), (BURST + 512, BURST), (2 * BURST + 512, BURST), (3 * BURST + 512, BURST - 512)]),
        (4 * BURST, []),
    ],
)
def test_what_is_asked_for(come: int, asked: list[tuple[int, int]]) -> None:
    """Never more than one piece at a time; what came with the command is never asked for."""
    bench = Bench()
    write(bench, 2048, come=come)

    assert serve(bench) == asked

    completion = bench.target.next_completion()
    assert completion is not None
    assert (completion.status, completion.data_out_wanted) == (Status.GOOD, 1 << 20)
    assert bench.read(0, 2048) == DATA


def test_fua_is_written_at_once() -> None:
    """With FUA one write makes all of it durable."""
    bench = Bench()
    write(bench, 2048, come=8192, fua=True)

    assert serve(bench) == [(8192, (1 << 20) - 8192)]
    assert bench.read(0, 2048) == DATA


@settings(max_examples=60, deadline=None)
@given(blocks=st.integers(1, 2048), come=st.integers(0, 1 << 20), less=st.one_of(st.just(0), st.integers(0, 1 << 20)))
def test_any_length(blocks: int, come: int, less: int) -> None:
    """Whole blocks of what the initiator is ready to send are written, the rest stays; the residual tells all."""
    bench = Bench()
    offered = max(blocks * BLOCK - less, 0)
    write(bench, blocks, come=min(come, offered), offered=offered)

    end = min(come, offered)
    for offset, length in serve(bench):
        assert offset == end
        assert 0 < length <= BURST
        end += length

    completion = bench.target.next_completion()
    assert completion is not None
    assert (completion.status, completion.data_out_wanted) == (Status.GOOD, blocks * BLOCK)
    whole = offered // BLOCK * BLOCK
    assert bench.read(0, 2048) == DATA[:whole] + bytes((1 << 20) - whole)


def test_a_late_store_is_waited_for() -> None:
    """The next piece is not asked for before the last one is written."""
    bench = Bench()
    slow = Slow(bench)
    write(bench, 2048, come=BURST)

    for number in range(4):
        assert bench.target.next_data_out_request() is None
        request, ticket = slow.kept[number]
        assert request.data == DATA[number * BURST : (number + 1) * BURST]
        bench.target.complete(ticket, None)
        assert len(serve(bench)) == (number < 3)

    completion = bench.target.next_completion()
    assert completion is not None
    assert completion.status == Status.GOOD


def test_a_piece_fails() -> None:
    """The command ends with the error, and no more is asked for."""
    bench = Bench()
    slow = Slow(bench)
    write(bench, 2048)
    serve(bench)

    bench.target.complete(slow.kept[0][1], None)
    serve(bench)
    bench.target.complete(slow.kept[1][1], IoFailed(IoFault.MEDIUM, "gone", offset=BURST + 1024))

    assert bench.target.next_data_out_request() is None
    completion = bench.target.next_completion()
    assert completion is not None
    assert completion.sense is not None
    assert completion.sense.code == asc.WRITE_ERROR
    assert completion.sense.information == BURST // BLOCK + 2


@pytest.mark.parametrize("late", [False, True])
def test_aborted_between_pieces(late: bool) -> None:
    """ABORT TASK ends it where it stands: what is written stays, nothing more is."""
    bench = Bench()
    slow = Slow(bench) if late else None
    command = write(bench, 2048)
    request = bench.target.next_data_out_request()
    assert request is not None
    request.buffer[:] = DATA[:BURST]
    bench.target.data_out(command)

    bench.target.manage(TaskManagementFunction.ABORT_TASK, bench.initiator.nexus, 0, tag=7)
    if slow is not None:
        bench.target.complete(slow.kept[0][1], None)
        assert len(slow.kept) == 1

    completion = bench.target.next_completion()
    assert completion is not None
    assert completion.silent
    bench.target.data_out(command)          # it crossed the end
    assert bench.target.next_completion() is None
    while bench.target.next_data_out_request() is not None:
        pass                                # of a command that has ended: nobody brings it
    if slow is None:
        assert bench.read(0, 2048) == DATA[:BURST] + bytes(3 * BURST)


def test_others_wait_for_the_whole() -> None:
    """A READ of the same blocks waits until the last piece is written."""
    bench = Bench()
    other = bench.another()
    other.clear_attentions()
    write(bench, 2048)
    exchange = other.start(0, bytes((0x88,)) + bytes(9) + (1).to_bytes(4, "big") + bytes(2), data_in=512)
    assert exchange.result is None
    request = bench.target.next_data_out_request()
    assert request is not None
    request.buffer[:] = DATA[:BURST]
    bench.target.data_out(request.command)
    assert exchange.result is None

    serve(bench)

    assert other.finish(exchange).data == DATA[:512]


def test_atomic_is_one_write() -> None:
    """WRITE ATOMIC is never cut (SBC-4 5.50)."""
    bench = Bench()
    slow = Slow(bench)
    cdb = bytes((0x9C,)) + bytes(11) + (2048).to_bytes(2, "big") + bytes(2)
    bench.target.submit(Command(bench.initiator.nexus, 0, cdb, data_out=DATA[:8192], data_out_length=1 << 20))

    assert serve(bench) == [(8192, (1 << 20) - 8192)]
    ((request, ticket),) = slow.kept
    bench.target.complete(ticket, None)

    assert request.data == DATA
    completion = bench.target.next_completion()
    assert completion is not None
    assert completion.status == Status.GOOD

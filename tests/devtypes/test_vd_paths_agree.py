"""The ways of a command agree: fast path, ordinary path, requests taken by hand, and stores that answer late.

The same sequence runs on four disks that differ only in who performs the requests. What the initiator sees and what
the stores hold in the end must be the same bytes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from devtypes.vd import DiskConfig, VirtualDisk
from iohandlers.memory import open_store
from scsiemu._value import value
from scsiemu.command import Command
from scsiemu.events import InternalFailure
from scsiemu.io_requests import PENDING, IoRequest, Pending, Read, Store, Ticket, Write
from scsiemu.nexus import InitiatorPort, Protocol, TargetPort
from scsiemu.operations import OperationTable
from scsiemu.sam import Status, TaskAttribute
from scsiemu.target import Target
from scsiemu.testing.strategies import commands

NAME = "iqn.2026-11.org.example:agree"
BLOCKS = 32
BLOCK = 512
PORT = TargetPort(f"{NAME},t,0x0001", 1, 1, Protocol.ISCSI)


@value
class Sent:
    """A command as one of the two initiators sends it.

    Args:
        nexus: which of them.
        data_out: all that it is ready to send.
        come: how much of that comes with the command; the rest is asked for.
        data_in: bytes that it is ready to receive.
    """

    nexus: int
    cdb: bytes
    data_out: bytes
    come: int
    data_in: int
    attribute: int


@value
class Seen:
    """What the initiator is told in the end."""

    status: int
    data_in: bytes
    sense: bytes
    data_in_length: int
    data_out_wanted: int
    silent: bool


class Disk:
    """A disk, two nexuses; derived classes say how requests get to the store."""

    fast = True

    def __init__(self, **options: Any) -> None:
        self.store: Store = open_store(size=BLOCKS * BLOCK)
        self.target = Target(NAME)
        self.target.add_port(PORT)
        self.server = VirtualDisk(DiskConfig.for_store(self.store.capabilities, **options))
        self.target.add_unit(
            0, self.server, performer=self.performer(), capabilities=lambda: self.store.capabilities
        )
        self.nexuses = [
            self.target.nexus_established(InitiatorPort(f"initiator {number}", bytes((0x0F, number))), PORT)
            for number in range(2)
        ]
        if not self.fast:
            self.server.fast_operations[:] = [None] * 256
        self.tag = 0
        self.seen: dict[int, Seen] = {}

    def performer(self) -> Callable[[IoRequest[Any], Ticket], Any] | None:
        """Who performs requests."""
        return self.store.submit

    def serve(self) -> bool:
        """Do one request that was put off; False where there is none."""
        return False

    def send(self, sent: Sent) -> None:
        """Submit a command. Its Data-Out is a view that is used again as soon as `submit` returns."""
        self.tag += 1
        received = bytearray(sent.data_out[: sent.come])
        command = Command(
            self.nexuses[sent.nexus], 0, sent.cdb, self.tag, sent.attribute, memoryview(received),
            len(sent.data_out), sent.data_in, origin=sent,
        )
        self.target.submit(command)
        received[:] = b"\xEE" * len(received)

    def settle(self) -> None:
        """Until nothing more happens: bring data, serve requests, let the clock run."""
        while True:
            if (wanted := self.target.next_data_out_request()) is not None:
                data_out = wanted.command.origin.data_out       # type: ignore[attr-defined]  # a Sent
                wanted.buffer[:] = data_out[wanted.offset : wanted.offset + wanted.length]
                self.target.data_out(wanted.command)
            elif (completion := self.target.next_completion()) is not None:
                assert completion.command.tag not in self.seen, "ended twice"
                data = bytes(completion.data_in)
                self.seen[completion.command.tag] = Seen(
                    completion.status, data[: completion.command.data_in_length], bytes(completion.sense_data),
                    len(data), completion.data_out_wanted, completion.silent,
                )
            elif not self.serve():
                deadline = self.target.deadline()
                if deadline is None:
                    return
                self.target.advance(deadline)

    def contents(self) -> bytes:
        """All bytes of the store."""
        return bytes(self.store.submit(Read(0, BLOCKS * BLOCK), None))      # type: ignore[arg-type]  # opaque to stores

    def internal_failures(self) -> list[Any]:
        """Bugs of ours."""
        found = []
        while (event := self.target.next_event()) is not None:
            if isinstance(event, InternalFailure):
                found.append(event.error)
        return found


class Slow(Disk):
    """Without the fast forms of READ and WRITE."""

    fast = False


class ByHand(Disk):
    """Without a performer: requests are taken with next_io() and completed in order."""

    def performer(self) -> None:
        return None

    def serve(self) -> bool:
        taken = self.target.next_io()
        if taken is None:
            return False
        ticket, request = taken
        self.target.complete(ticket, self.store.submit(request, ticket))
        return True


class Late(Disk):
    """A performer that answers PENDING to everything and completes in order, later."""

    def performer(self) -> Callable[[IoRequest[Any], Ticket], Any]:
        self.waiting: deque[tuple[Ticket, IoRequest[Any]]] = deque()
        return self.put_off

    def put_off(self, request: IoRequest[Any], ticket: Ticket, /) -> Pending:
        """Keep it; a view is copied, as a store has to."""
        if isinstance(request, Write) and not request.owned:
            assert request.data is not None
            request.data = bytes(request.data)
        self.waiting.append((ticket, request))
        return PENDING

    def serve(self) -> bool:
        if not self.waiting:
            return False
        ticket, request = self.waiting.popleft()
        self.target.complete(ticket, self.store.submit(request, ticket))
        return True


PATHS = (Disk, Slow, ByHand, Late)

OPERATIONS = {operation.name: operation for operation in OperationTable(VirtualDisk)}
MEDIUM = [
    OPERATIONS[f"{verb}({size})"] for verb in ("READ", "WRITE") for size in (6, 10, 12, 16)
]
# Everything else; what is never there on such a disk is left out by the table.
OTHERS = [operation for operation in OPERATIONS.values() if operation not in MEDIUM]
# MODE SELECT(10) of the caching page (WCE on and off) and of the control page (SWP, D_SENSE); UNMAP; WRITE SAME needs
# none. PERSISTENT RESERVE OUT with key 1.
LISTS = (
    bytes(8) + bytes.fromhex("0812 04" + "00" * 17),
    bytes(8) + bytes.fromhex("0812 00" + "00" * 17),
    bytes(8) + bytes.fromhex("0a0a 06 00 08 00 0000 0000 0000"),
    bytes.fromhex("0016 0010 00000000 0000000000000003 00000005 00000000"),
    bytes(8) + (1).to_bytes(8, "big") + bytes(8),
    (1).to_bytes(8, "big") + bytes(16),
)


@st.composite
def transfers(draw: st.DrawFn) -> Sent:
    """READ or WRITE of a few blocks, now and then past the end, with flags, with too little or too much data."""
    operation = draw(st.sampled_from(MEDIUM))
    lba = draw(st.integers(0, BLOCKS + 1) | st.integers(0, 8))
    blocks = draw(st.integers(0, 6))
    fields = {"opcode": operation.opcode, "lba": lba, "transfer_length": blocks}
    for flag in ("fua", "dpo", "group_number", "protect"):
        if flag in operation.layout and draw(st.integers(0, 7)) == 0:
            fields[flag] = 1
    cdb = operation.layout.build(**fields) + bytes(draw(st.sampled_from((0, 0, 16 - operation.layout.length))))
    wanted = blocks * BLOCK
    length = draw(st.sampled_from((wanted, wanted, wanted, max(0, wanted - BLOCK), max(0, wanted - 7), wanted + 9)))
    nexus = draw(st.integers(0, 1))
    if operation.name.startswith("READ"):
        return Sent(nexus, cdb, b"", 0, length, TaskAttribute.SIMPLE)
    data = bytes((draw(st.integers(0, 255)),)) * length
    # As patterns go: each block begins with its number, so that no two are alike.
    data = b"".join(bytes((at,)) + data[at * BLOCK + 1 : (at + 1) * BLOCK] for at in range(-(-length // BLOCK)))
    return Sent(nexus, cdb, data, draw(_come(len(data))), 0, TaskAttribute.SIMPLE)


def _come(length: int) -> st.SearchStrategy[int]:
    """How much of the Data-Out comes with the command: all, none or some."""
    return st.sampled_from((length, length, 0, length // 2, max(0, length - 1)))


@st.composite
def others(draw: st.DrawFn) -> Sent:
    """Any other command of the disk."""
    case = draw(commands(OTHERS, block_size=BLOCK, most=1 << 15, naca=True, valid=LISTS))
    return Sent(
        draw(st.integers(0, 1)), case.cdb, case.data_out, draw(_come(len(case.data_out))), case.data_in_length,
        TaskAttribute.SIMPLE,
    )


@st.composite
def attributed(draw: st.DrawFn, commands: st.SearchStrategy[Sent], attributes: tuple[int, ...]) -> Sent:
    """With another task attribute."""
    return replace(draw(commands), attribute=draw(st.sampled_from(attributes)))


def run(world: type[Disk], bursts: list[list[Sent]], **options: Any) -> tuple[dict[int, Seen], bytes]:
    """Send bursts, each when the one before has ended."""
    disk = world(**options)
    for burst in bursts:
        for sent in burst:
            disk.send(sent)
        disk.settle()
    assert disk.internal_failures() == []
    assert len(disk.seen) == sum(map(len, bursts)), "a command did not end"
    return disk.seen, disk.contents()


def agree(bursts: list[list[Sent]], **options: Any) -> dict[int, Seen]:
    """Run them on all paths; what they agreed upon."""
    seen, contents = run(Disk, bursts, **options)
    for world in PATHS[1:]:
        other_seen, other_contents = run(world, bursts, **options)
        assert other_seen == seen, world.__name__
        assert other_contents == contents, world.__name__
    return seen


ATTRIBUTES = (TaskAttribute.SIMPLE, TaskAttribute.SIMPLE, TaskAttribute.ORDERED, TaskAttribute.HEAD_OF_QUEUE,
              TaskAttribute.ACA)
CLEAR = [Sent(nexus, bytes(6), b"", 0, 0, TaskAttribute.SIMPLE) for nexus in (0, 1)]
OPTIONS = st.fixed_dictionaries({"write_cache": st.booleans()})


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(attributed(transfers() | transfers() | others(), ATTRIBUTES), min_size=1, max_size=14),
    OPTIONS,
)
def test_paths_agree_one_by_one(sequence: list[Sent], options: dict[str, Any]) -> None:
    """One command after the other, of any kind: status, data, sense, lengths for residuals, contents."""
    agree([CLEAR, *([sent] for sent in sequence)], **options)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(
        st.lists(
            attributed(transfers(), (TaskAttribute.SIMPLE, TaskAttribute.SIMPLE, TaskAttribute.ORDERED)),
            min_size=1, max_size=6,
        ),
        max_size=4,
    ),
    OPTIONS,
)
def test_paths_agree_at_once(bursts: list[list[Sent]], options: dict[str, Any]) -> None:
    """Several READs and WRITEs at once: those that overlap keep their order, whatever is late."""
    agree([CLEAR, *bursts], **options)


@pytest.mark.parametrize("world", PATHS)
def test_verify_data_out_outlives_a_flush(world: type[Disk]) -> None:
    """VERIFY asks for its data after a flush: a view that came with the command has been used again by then."""
    disk = world(write_cache=True)
    data = b"v" * BLOCK
    verify = OPERATIONS["VERIFY(10)"].layout.build(opcode=0x2F, bytchk=1, transfer_length=1)
    write = OPERATIONS["WRITE(10)"].layout.build(opcode=0x2A, transfer_length=1)
    for cdb in (bytes(6), write, verify):
        out = b"" if cdb == bytes(6) else data
        disk.send(Sent(0, cdb, out, len(out), 0, TaskAttribute.SIMPLE))
        disk.settle()

    assert disk.seen[3].status == Status.GOOD


def test_next_io_write_outlives_the_command_call() -> None:
    """A Write taken from next_io() has its data, though the view that came with the command is used again."""
    disk = ByHand()
    write = OPERATIONS["WRITE(10)"].layout.build(opcode=0x2A, transfer_length=1)
    disk.send(CLEAR[0])
    disk.settle()
    disk.send(Sent(0, write, b"w" * BLOCK, BLOCK, 0, TaskAttribute.SIMPLE))
    taken = disk.target.next_io()

    assert taken is not None
    assert isinstance(taken[1], Write)
    assert taken[1].data == b"w" * BLOCK


@pytest.mark.parametrize("world", PATHS)
def test_read_during_aca(world: type[Disk]) -> None:
    """During an ACA condition of its nexus a READ ends with ACA ACTIVE (SAM-5 5.9.3), also the fast one."""
    disk = world()
    refused = b"\xff" + bytes(15)        # no such opcode, and no CONTROL byte
    naca = OPERATIONS["READ(10)"].layout.build(opcode=0x28, lba=BLOCKS, transfer_length=1, control=0x04)
    read = OPERATIONS["READ(10)"].layout.build(opcode=0x28, transfer_length=1)
    for cdb in (bytes(6), refused, read, naca, read):
        disk.send(Sent(0, cdb, b"", 0, BLOCK, TaskAttribute.SIMPLE))
        disk.settle()

    assert [disk.seen[tag].status for tag in (3, 4, 5)] == [Status.GOOD, Status.CHECK_CONDITION, Status.ACA_ACTIVE]

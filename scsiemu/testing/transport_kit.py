"""The conformance kit of transports: `check_transport(factory)` is a test that every transport runs.

    def test_transport_kit():
        check_transport(lambda target, stores: MyBench(target, stores))

The factory serves a target over the transport, for initiators that the kit asks it for. The target has a disk in memory
(LUN 0, and again as LUN 300) and a unit that answers a bidirectional command (LUN 1). What the kit asserts is what the
engine promises and an initiator must see unharmed: status, sense data, every byte both ways, residuals, task
management, unit attentions, and the end of a nexus.

It does NOT: test what is the transport's own: its login, its framing, hostile bytes.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, Protocol, cast

from scsiemu import registry
from scsiemu.cdb import CdbFields, CdbLayout
from scsiemu.command import Command, Completion, Steps
from scsiemu.device_server import DeviceServer
from scsiemu.errors import IoFailed
from scsiemu.io_requests import PENDING, DataOut, IoRequest, Store, StoreCapabilities, Ticket, Write
from scsiemu.lun import REPORT_LUNS_W_LUN, unit_lun
from scsiemu.operations import DataDirection, ReservationClass, operation
from scsiemu.sam import Status, TaskManagementFunction, TaskManagementResponse
from scsiemu.sense import decode_sense
from scsiemu.target import Target
from scsiemu.unit_options import UnitDeclaration, UnitPlan, parse_unit

__all__ = ["HeldStore", "TransportBench", "TransportInitiator", "TransportResult", "check_transport"]

_NAME: Final = "iqn.2026-11.example.scsiemu:kit"
_SIZE: Final = 16 << 20
_BLOCK: Final = 512
_PATIENCE: Final = 20.0
_TUR: Final = bytes(6)
_INQUIRY: Final = bytes.fromhex("120000006000")
_LENGTHS: Final = (0, 1, 2, 7, 8, 9, 127, 128, 129, 1024, 2049, 8192)     # blocks of one transfer
_FAR_LUN: Final = 300
_ATTENTIONS: Final = 8


class TransportResult(Protocol):
    """How a command ended. Residuals: bytes offered and not used; negative: that many more were wanted."""

    @property
    def status(self) -> int: ...
    @property
    def sense(self) -> bytes: ...
    @property
    def data(self) -> bytes: ...
    @property
    def data_in_residual(self) -> int: ...
    @property
    def data_out_residual(self) -> int: ...


class TransportInitiator(Protocol):
    """An initiator that is logged in over the transport."""

    def start(self, lun: int, cdb: bytes, data_out: bytes = b"", allocation: int = 0) -> Any:
        """Send a command; a handle of it."""

    def finish(self, request: Any) -> TransportResult:
        """Wait for its end."""

    def manage(
        self, function: TaskManagementFunction, lun: int = 0, *, task: Any = None
    ) -> TaskManagementResponse:
        """Perform a task management function; `task` is the handle of a command."""

    def abandon(self) -> None:
        """Break the connection without a word."""

    def close(self) -> None:
        """Log out."""


class TransportBench(Protocol):
    """A target that is served over the transport."""

    def connect(self, number: int) -> TransportInitiator:
        """Log in as initiator `number`; different numbers are different initiators."""

    def go_on(self) -> None:
        """Deliver late answers of stores, where nothing else does that by itself."""

    def close(self) -> None:
        """Serve no more."""


class HeldStore:
    """A store that answers late when it is told to: between `hold` and `release`.

    Args:
        store: that does the work, at once.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._descriptor = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._holding = False
        self._kept: deque[tuple[IoRequest[Any], Ticket]] = deque()
        self._due: deque[tuple[Ticket, Any]] = deque()

    @property
    def capabilities(self) -> StoreCapabilities:
        return self._store.capabilities

    @property
    def kept(self) -> int:
        """Requests that wait for `release`."""
        return len(self._kept)

    def hold(self) -> None:
        """Answer nothing from now on."""
        self._holding = True

    def release(self) -> None:
        """Answer what was kept, and at once from now on."""
        self._holding = False
        while self._kept:
            request, ticket = self._kept.popleft()
            self._due.append((ticket, self._store.submit(request, ticket)))
        os.eventfd_write(self._descriptor, 1)

    def submit(self, request: IoRequest[Any], ticket: Ticket, /) -> Any:
        if not self._holding:
            return self._store.submit(request, ticket)
        if isinstance(request, Write) and request.data is not None:
            request.data = bytes(request.data)
        self._kept.append((request, ticket))
        return PENDING

    def reap(self) -> Iterable[tuple[Ticket, Any | IoFailed]]:
        try:
            os.eventfd_read(self._descriptor)
        except BlockingIOError:
            pass
        found = []
        while self._due:
            found.append(self._due.popleft())
        return found

    def fileno(self) -> int | None:
        return self._descriptor

    def close(self) -> None:
        self._store.close()
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def check_transport(
    factory: Callable[[Target, Sequence[Store]], TransportBench],
    *,
    bidirectional: bool = True,
    longest_cdb: int = 16,
    lun_bytes: int = 8,
    counts_overflow: bool = True,
) -> None:
    """Assert everything that an initiator may take for granted.

    Args:
        factory: serves a target over the transport; the stores are those whose late answers it must fetch.
        bidirectional: the transport has commands with data both ways.
        longest_cdb: bytes of CDB that it carries.
        lun_bytes: bytes of the LUN that it carries, from the first.
        counts_overflow: it tells how many bytes more were wanted; else only that it were more: a residual of -1.
    """
    checks = [
        _check_attention, _check_status_and_sense, _check_lengths, _check_short_data, _check_residuals_in,
        _check_residuals_out, _check_many, _check_luns, _check_two_nexuses, _check_abort, _check_functions, _check_loss,
        _check_return,
    ]
    if bidirectional:
        checks.append(_check_bidirectional)
    for check in checks:
        world = _World(factory, lun_bytes, counts_overflow)
        try:
            check(world)
        finally:
            world.close()
    if longest_cdb > 16:
        world = _World(factory, lun_bytes, counts_overflow)
        try:
            _check_long_cdb(world, longest_cdb)
        finally:
            world.close()


_TEN: Final = CdbLayout("opcode:8 _:8 _:32 _:8 length:16 control:8")
_LONG: Final = CdbLayout("opcode:8 control:8 _:40 additional_length:8 service_action:16 rest:176")


class _Mirror(DeviceServer):
    """Answers Data-Out backwards, and a CDB with itself."""

    peripheral_device_type = 0

    @operation(0x00, "TEST UNIT READY", CdbLayout("opcode:8 _:32 control:8"), conflict=ReservationClass.ALWAYS)
    def test_unit_ready(self, command: Command, cdb: CdbFields) -> Completion:
        return Completion()

    @operation(0x53, "MIRROR", _TEN, data=DataDirection.BIDIRECTIONAL, conflict=ReservationClass.ALWAYS)
    def mirror(self, command: Command, cdb: CdbFields) -> Steps:
        data = yield from DataOut(cdb.length)
        return Completion(bytes(data)[::-1])

    @operation(0x7F, "ECHO", _LONG, service_action=0x1234, data=DataDirection.IN, conflict=ReservationClass.ALWAYS)
    def echo(self, command: Command, cdb: CdbFields) -> Completion:
        return Completion(bytes(command.cdb))


class _World:
    """A target, served, and the initiators that were made."""

    def __init__(
        self, factory: Callable[[Target, Sequence[Store]], TransportBench], lun_bytes: int, counts_overflow: bool
    ) -> None:
        self.lun_bytes = lun_bytes
        self._counts_overflow = counts_overflow
        self.target = Target(_NAME)
        self._initiators: list[TransportInitiator] = []
        opened = registry.load(registry.IOHANDLERS, "memory")(size=_SIZE)
        self.store = HeldStore(cast(Store, opened))
        self._add_disk(0)
        self.target.add_unit(1, _Mirror())
        self._add_disk(_FAR_LUN)
        self._bench = factory(self.target, (self.store,))

    def _add_disk(self, lun: int) -> None:
        declared = cast(UnitDeclaration, registry.load(registry.UNITS, "disk"))
        (plan,) = declared.plan(parse_unit("16M", declared))
        assert isinstance(plan, UnitPlan)
        store = self.store
        self.target.add_unit(
            lun, plan.make(store.capabilities), performer=store.submit, capabilities=lambda: store.capabilities
        )

    def connect(self, number: int = 1, *, attentions: bool = False) -> TransportInitiator:
        """An initiator; its unit attentions are cleared unless told."""
        initiator = self._bench.connect(number)
        self._initiators.append(initiator)
        if not attentions:
            for lun in (0, 1, _FAR_LUN):
                _clear(initiator, lun)
        return initiator

    def over(self, length: int) -> int:
        """The residual where so many bytes more were wanted."""
        return -length if self._counts_overflow else -1

    def close(self) -> None:
        """End everything."""
        self.store.release()
        for initiator in self._initiators:
            initiator.close()
        self._bench.close()
        self.store.close()

    def wait(self, condition: Callable[[], bool], what: str) -> None:
        """Until something is so in the target, which may be served by another thread."""
        end = time.monotonic() + _PATIENCE
        while not condition():
            self._bench.go_on()
            assert time.monotonic() < end, f"after {_PATIENCE} seconds not: {what}"
            time.sleep(0.001)

    def idle(self) -> bool:
        """No unit has a command."""
        return all(unit.statistics()["pending"] == 0 for unit in self.target.units.values())


def _clear(initiator: TransportInitiator, lun: int) -> None:
    for _ in range(_ATTENTIONS):
        if _run(initiator, lun, _TUR).status == Status.GOOD:
            return
    raise AssertionError(f"LUN {lun} does not get ready")


def _run(
    initiator: TransportInitiator, lun: int, cdb: bytes, data_out: bytes = b"", allocation: int = 0
) -> TransportResult:
    return initiator.finish(initiator.start(lun, cdb, data_out, allocation))


def _read_cdb(lba: int, blocks: int) -> bytes:
    return b"\x88\0" + lba.to_bytes(8, "big") + blocks.to_bytes(4, "big") + b"\0\0"


def _write_cdb(lba: int, blocks: int) -> bytes:
    return b"\x8a\0" + lba.to_bytes(8, "big") + blocks.to_bytes(4, "big") + b"\0\0"


def _pattern(length: int, seed: int = 1) -> bytes:
    """Bytes that differ from block to block."""
    head = b"".join((seed + block).to_bytes(4, "big") + bytes(range(252)) * 2 + b"tail" for block in range(64))
    return (head * (length // len(head) + 1))[:length]


def _code(result: TransportResult) -> tuple[int, int, int]:
    """Sense key, ASC, ASCQ of a CHECK CONDITION."""
    assert result.status == Status.CHECK_CONDITION, f"status {result.status:02X}h"
    sense = decode_sense(result.sense)
    assert sense is not None, f"sense data {result.sense.hex()}"
    return sense.code.key, sense.code.asc, sense.code.ascq


def _good(result: TransportResult, *, residual_in: int = 0, residual_out: int = 0) -> bytes:
    """Its data; it must be GOOD with these residuals."""
    assert result.status == Status.GOOD, f"status {result.status:02X}h, sense {result.sense.hex()}"
    residuals = (result.data_in_residual, result.data_out_residual)
    assert residuals == (residual_in, residual_out), f"residuals {residuals}"
    return bytes(result.data)


def _check_attention(world: _World) -> None:
    """A new nexus is told of the power on, once, and INQUIRY does not take it away."""
    initiator = world.connect(attentions=True)
    assert _run(initiator, 0, _INQUIRY, allocation=96).status == Status.GOOD
    key, asc, _ = _code(_run(initiator, 0, _TUR))
    assert (key, asc) == (6, 0x29)
    assert _run(initiator, 0, _TUR).status == Status.GOOD
    assert _code(_run(initiator, _FAR_LUN, _TUR))[0] == 6, "attentions belong to a unit"


def _check_status_and_sense(world: _World) -> None:
    initiator = world.connect()
    beyond = _run(initiator, 0, _read_cdb(_SIZE // _BLOCK, 1), allocation=_BLOCK)
    assert _code(beyond) == (5, 0x21, 0)
    assert bytes(beyond.data) == b""
    assert beyond.data_in_residual == _BLOCK
    assert _code(_run(initiator, 0, bytes((0xEE, *bytes(9))))) == (5, 0x20, 0)
    refused = _run(initiator, 0, _write_cdb(_SIZE // _BLOCK, 1), bytes(_BLOCK))
    assert _code(refused) == (5, 0x21, 0)
    assert refused.data_out_residual == _BLOCK, "no Data-Out was wanted"
    _good(_run(initiator, 0, _TUR))


def _check_lengths(world: _World) -> None:
    """Every byte of transfers of many lengths."""
    initiator = world.connect()
    for seed, blocks in enumerate(_LENGTHS):
        data = _pattern(blocks * _BLOCK, seed + 1)
        _good(_run(initiator, 0, _write_cdb(3, blocks), data))
        assert _good(_run(initiator, 0, _read_cdb(3, blocks), allocation=len(data))) == data, f"{blocks} blocks"
        assert _good(_run(initiator, _FAR_LUN, _read_cdb(3, blocks), allocation=len(data))) == data


def _check_short_data(world: _World) -> None:
    """Data-In of odd lengths."""
    initiator = world.connect()
    whole = bytes(_run(initiator, 0, _INQUIRY, allocation=96).data)
    assert len(whole) >= 36
    for length in (1, 2, 3, 5, 36):
        cdb = bytes((0x12, 0, 0, 0, length, 0))
        assert _good(_run(initiator, 0, cdb, allocation=length)) == whole[:length]


def _check_residuals_in(world: _World) -> None:
    initiator = world.connect()
    data = _pattern(8 * _BLOCK)
    _good(_run(initiator, 0, _write_cdb(0, 8), data))
    read = _read_cdb(0, 8)
    assert _good(_run(initiator, 0, read, allocation=len(data) + 100), residual_in=100) == data
    assert _good(_run(initiator, 0, read, allocation=len(data) - 512), residual_in=world.over(512)) == data[:-512]
    assert _good(_run(initiator, 0, read, allocation=1), residual_in=world.over(len(data) - 1)) == data[:1]
    assert _good(_run(initiator, 0, read), residual_in=world.over(len(data))) == b""
    assert _good(_run(initiator, 0, _TUR, allocation=77), residual_in=77) == b""


def _check_residuals_out(world: _World) -> None:
    initiator = world.connect()
    data = _pattern(4 * _BLOCK, 7)
    _good(_run(initiator, 0, _write_cdb(0, 4), bytes(4 * _BLOCK)))
    _good(_run(initiator, 0, _write_cdb(0, 2), data), residual_out=2 * _BLOCK)
    assert _good(_run(initiator, 0, _read_cdb(0, 4), allocation=4 * _BLOCK)) == data[:1024] + bytes(1024)
    short = _run(initiator, 0, _write_cdb(0, 4), data[:_BLOCK])
    assert short.data_out_residual == world.over(3 * _BLOCK)
    _good(_run(initiator, 0, _TUR, b"unwanted"), residual_out=8)


def _check_many(world: _World) -> None:
    """Commands that are outstanding together, and end together."""
    initiator = world.connect()
    blocks = [_pattern(_BLOCK, 100 + index) for index in range(24)]
    world.store.hold()
    writes = [initiator.start(0, _write_cdb(index, 1), block) for index, block in enumerate(blocks)]
    world.wait(lambda: world.store.kept == len(blocks), "all writes are in the store")
    world.store.release()
    for request in writes:
        _good(initiator.finish(request))
    reads = [initiator.start(0, _read_cdb(index, 1), b"", _BLOCK) for index in range(len(blocks))]
    for request, block in zip(reversed(reads), reversed(blocks), strict=True):
        assert _good(initiator.finish(request)) == block


def _check_luns(world: _World) -> None:
    """LUNs in all their forms reach the right unit."""
    initiator = world.connect()
    serial = bytes.fromhex("12 01 80 00 ff 00")
    pages = {lun: bytes(_run(initiator, lun, serial, allocation=255).data) for lun in (0, _FAR_LUN)}
    flat = 0x4000_0000_0000_0000
    assert bytes(_run(initiator, flat, serial, allocation=255).data) == pages[0], "flat space addressing of LUN 0"
    far = (0x4000 | _FAR_LUN) << 48
    assert bytes(_run(initiator, far, serial, allocation=255).data) == pages[_FAR_LUN]
    report = b"\xa0" + bytes(5) + (4096).to_bytes(4, "big") + bytes(2)
    for lun in (0, REPORT_LUNS_W_LUN):
        result = _run(initiator, lun, report, allocation=4096)
        if result.status != Status.GOOD:        # the well-known unit has attentions of its own
            result = _run(initiator, lun, report, allocation=4096)
        assert result.status == Status.GOOD
        listed = [bytes(result.data[at : at + 8]) for at in range(8, len(result.data), 8)]
        assert listed == [bytes(8), b"\0\1" + bytes(6), far.to_bytes(8, "big")], "REPORT LUNS"
    nobody = (99, 0x00FF_0000_0000_0001, 0x3F05_0000_0000_0000, 0xFFFF_FFFF_FFFF_FFFF, 0xD200_004D_0000_0000)
    for lun in nobody:
        if unit_lun(lun) % (1 << 8 * (8 - world.lun_bytes)):
            continue
        inquiry = _run(initiator, lun, _INQUIRY, allocation=96)
        assert inquiry.status == Status.GOOD
        assert inquiry.data[0] == 0x7F, f"LUN {lun:x} has no unit"
        assert _code(_run(initiator, lun, _TUR)) == (5, 0x25, 0)


def _check_two_nexuses(world: _World) -> None:
    first, second = world.connect(1), world.connect(2)
    data = _pattern(_BLOCK, 5)
    _good(_run(first, 0, _write_cdb(9, 1), data))
    assert _good(_run(second, 0, _read_cdb(9, 1), allocation=_BLOCK)) == data
    _good(_run(first, 0, bytes.fromhex("160000000000")))
    assert _run(second, 0, _write_cdb(9, 1), data).status == Status.RESERVATION_CONFLICT
    _good(_run(first, 0, _TUR))
    nexuses = len(world.target.nexuses)
    first.close()
    world.wait(lambda: len(world.target.nexuses) == nexuses - 1, "a logout ends the nexus")
    _clear(second, 0)
    _good(_run(second, 0, _write_cdb(9, 1), data))


def _check_abort(world: _World) -> None:
    """ABORT TASK of a command that waits behind another."""
    initiator = world.connect()
    data = _pattern(_BLOCK, 3)
    world.store.hold()
    ahead = initiator.start(0, _write_cdb(0, 1), data)
    world.wait(lambda: world.store.kept == 1, "the write is in the store")
    behind = initiator.start(0, _write_cdb(0, 1), bytes(_BLOCK))
    world.wait(lambda: world.target.units[0].statistics()["pending"] == 2, "the second write has come")
    answer = initiator.manage(TaskManagementFunction.ABORT_TASK, 0, task=behind)
    assert answer is TaskManagementResponse.FUNCTION_COMPLETE
    assert world.target.units[0].statistics()["pending"] == 1
    world.store.release()
    _good(initiator.finish(ahead))
    assert _good(_run(initiator, 0, _read_cdb(0, 1), allocation=_BLOCK)) == data


def _check_functions(world: _World) -> None:
    first, second = world.connect(1), world.connect(2)
    for function in (TaskManagementFunction.ABORT_TASK_SET, TaskManagementFunction.CLEAR_TASK_SET):
        assert first.manage(function, 0) is TaskManagementResponse.FUNCTION_COMPLETE, function
    reset = TaskManagementFunction.LOGICAL_UNIT_RESET
    assert first.manage(reset, 0) is TaskManagementResponse.FUNCTION_COMPLETE
    for initiator in (first, second):
        assert _code(_run(initiator, 0, _TUR))[:2] == (6, 0x29), "everybody hears of a reset"
        _good(_run(initiator, 1, _TUR))
    wrong = first.manage(reset, 99)
    assert wrong is not TaskManagementResponse.FUNCTION_COMPLETE, "there is no LUN 99"


def _check_loss(world: _World) -> None:
    """An initiator breaks off with commands in the store and behind them."""
    first, second = world.connect(1), world.connect(2)
    world.store.hold()
    for index in range(8):
        first.start(0, _write_cdb(index // 2, 1), _pattern(_BLOCK, index))
    world.wait(lambda: world.target.units[0].statistics()["pending"] == 8, "all have come")
    nexuses = len(world.target.nexuses)
    first.abandon()
    world.wait(lambda: len(world.target.nexuses) == nexuses - 1, "the nexus is lost")
    world.store.release()
    _good(_run(second, 0, _TUR))
    world.wait(world.idle, "no command is left over")
    again = world.connect(1)
    _good(_run(again, 0, _write_cdb(0, 1), bytes(_BLOCK)))
    assert _good(_run(second, 0, _read_cdb(0, 1), allocation=_BLOCK)) == bytes(_BLOCK)


def _check_return(world: _World) -> None:
    """Logging in and out many times leaves nothing behind."""
    stays = world.connect(1)
    nexuses = len(world.target.nexuses)
    for _ in range(10):
        initiator = world.connect(2)
        _good(_run(initiator, 0, _TUR))
        initiator.close()
        world.wait(lambda: len(world.target.nexuses) == nexuses, "a logout ends the nexus")
    _good(_run(stays, 0, _TUR))


def _check_bidirectional(world: _World) -> None:
    initiator = world.connect()
    for length in (1, 511, 4096, 60_000):
        data = _pattern(length, 2)
        cdb = b"\x53" + bytes(6) + length.to_bytes(2, "big") + b"\0"
        assert _good(_run(initiator, 1, cdb, data, length)) == data[::-1]
        more = _run(initiator, 1, cdb, data + bytes(10), length + 20)
        assert _good(more, residual_in=20, residual_out=10) == data[::-1]
    less = _run(initiator, 1, b"\x53" + bytes(6) + b"\x10\x00\0", bytes(4096), 4000)
    assert _good(less, residual_in=world.over(96)) == bytes(4000)


def _check_long_cdb(world: _World, longest: int) -> None:
    initiator = world.connect()
    for length in {32, longest}:
        rest = bytes(index % 251 for index in range(length - 10))
        cdb = bytes((0x7F, 0, 0, 0, 0, 0, 0, length - 8)) + b"\x12\x34" + rest
        result = _run(initiator, 1, cdb, allocation=length)
        assert bytes(result.data)[:length] == cdb, f"a CDB of {length} bytes"

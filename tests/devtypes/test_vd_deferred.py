"""Deferred errors of the virtual disk: what fails behind a command that ended with GOOD (SPC-5 4.4.7, SBC-4 5.33)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from vd_bench import Bench

from scsiemu import asc
from scsiemu.errors import IoFailed, IoFault
from scsiemu.io_requests import Flush
from scsiemu.sam import TaskManagementFunction
from scsiemu.testing.initiator import Initiator, Result

BLOCK = 512
SYNCHRONIZE = ("SYNCHRONIZE CACHE(10)", {"immed": 1})
STOP = ("START STOP UNIT", {"start": 0, "immed": 1})


def failing(fails: list[bool]) -> Callable[[Any], Any]:
    """Wraps a performer so that Flush fails while `fails` has true in it."""

    def wrap(submit: Any) -> Any:
        def perform(request: Any, ticket: Any) -> Any:
            if fails[0] and isinstance(request, Flush):
                return IoFailed(IoFault.MEDIUM, "planted")
            return submit(request, ticket)

        return perform

    return wrap


def is_deferred(result: Result) -> bool:
    """WRITE ERROR, deferred."""
    return result.code == asc.WRITE_ERROR and result.sense is not None and result.sense.deferred


@pytest.fixture
def fails() -> list[bool]:
    """Whether flushes fail."""
    return [True]


@pytest.fixture
def bench(fails: list[bool]) -> Bench:
    """A disk whose flushes fail."""
    bench = Bench(wrap=failing(fails))
    bench.write(0, b"a" * BLOCK)
    return bench


@pytest.mark.parametrize(("name", "fields"), [
    ("READ(10)", {"transfer_length": 1}), ("TEST UNIT READY", {}), ("MODE SENSE(6)", {"page_code": 8}),
    ("WRITE(10)", {"transfer_length": 1}),
])
def test_deferred_error_of_a_flush(name: str, fields: dict[str, int], bench: Bench, fails: list[bool]) -> None:
    """The next command tells it instead of being performed, once; INQUIRY and REPORT LUNS tell nothing."""
    data = b"b" * BLOCK if "WRITE" in name else b""
    assert bench.do(SYNCHRONIZE[0], **SYNCHRONIZE[1]).good
    fails[0] = False

    assert bench.do("INQUIRY").good
    assert bench.do("REPORT LUNS").good
    assert is_deferred(bench.do(name, data_out=data, **fields))
    assert bench.read(0) == b"a" * BLOCK
    assert bench.do(name, data_out=data, **fields).good


def test_deferred_error_belongs_to_its_nexus(bench: Bench) -> None:
    """Another initiator hears nothing of it, before or after."""
    other = bench.another()
    assert bench.do(SYNCHRONIZE[0], **SYNCHRONIZE[1]).good

    assert other.command("READ(10)", transfer_length=1).good
    assert is_deferred(bench.do("READ(10)", transfer_length=1))
    assert other.command("READ(10)", transfer_length=1).good


def test_deferred_error_by_request_sense(bench: Bench) -> None:
    """REQUEST SENSE returns it as pollable sense data, with response code 71h, and that is all."""
    assert bench.do(SYNCHRONIZE[0], **SYNCHRONIZE[1]).good

    told = bench.do("REQUEST SENSE").data
    assert (told[0] & 0x7F, told[2] & 0xF, told[12], told[13]) == (0x71, 0x03, 0x0C, 0x00)
    assert bench.do("REQUEST SENSE").data[2] & 0xF == 0
    assert bench.do("TEST UNIT READY").good


def test_deferred_error_of_stop(bench: Bench) -> None:
    """START STOP UNIT with IMMED flushes after its status; a unit that is not ready says that first."""
    assert bench.do(STOP[0], **STOP[1]).good

    code = asc.LOGICAL_UNIT_NOT_READY_INITIALIZING_COMMAND_REQUIRED
    assert bench.do("TEST UNIT READY").code == code
    assert is_deferred(bench.do("START STOP UNIT", start=1))
    assert bench.do("START STOP UNIT", start=1).good
    assert bench.do("TEST UNIT READY").good


def test_deferred_error_of_switching_the_cache_off(bench: Bench) -> None:
    """What the cache held belongs to everyone: all nexuses hear of it."""
    other = bench.another()
    page = bench.do("MODE SENSE(6)", page_code=0x08, dbd=1).data[4:]
    off = bytes((page[0] & 0x7F, page[1], page[2] & ~0x04)) + page[3:]
    assert bench.do("MODE SELECT(6)", pf=1, data_out=bytes(4) + off).good
    other.clear_attentions()

    assert is_deferred(bench.do("READ(10)", transfer_length=1))
    assert is_deferred(other.command("READ(10)", transfer_length=1))
    assert bench.do("READ(10)", transfer_length=1).good


def test_deferred_error_ends_with_nexus_and_reset(bench: Bench) -> None:
    """A new nexus of the same initiator port, and a reset unit, have nothing to tell."""
    other = bench.another()
    assert other.command(SYNCHRONIZE[0], **SYNCHRONIZE[1]).good
    bench.target.nexus_lost(other.nexus)
    assert bench.do(SYNCHRONIZE[0], **SYNCHRONIZE[1]).good
    bench.initiator.manage(TaskManagementFunction.LOGICAL_UNIT_RESET)
    bench.initiator.clear_attentions()

    assert bench.do("READ(10)", transfer_length=1).good
    again = Initiator(bench.target, "iqn.2026-11.org.example:other")
    assert again.command("READ(10)", transfer_length=1).good
    assert not bench.internal_failures()

"""The strategies that are derived from operation tables reach what the tables declare."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from engine_spc_unit import PlainServer, World
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st

from devtypes.vd import VirtualDisk
from scsiemu.operations import DataDirection, Operation, OperationTable
from scsiemu.sam import Status
from scsiemu.testing.served import ScsiTarget
from scsiemu.testing.strategies import CommandCase, cdbs, commands, hostile_cdbs, numbers, parameter_lists

TABLE = OperationTable(VirtualDisk)
# The same examples each time: what is counted below does not change from run to run.
FIXED = settings(
    max_examples=1200, derandomize=True, database=None, deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
FEW = settings(max_examples=60, deadline=None)
# To find one is enough; it need not be the simplest.
ANY = settings(max_examples=2000, derandomize=True, database=None, phases=[Phase.generate])


def reach(strategy: st.SearchStrategy[Any], wanted: Callable[[Any], bool]) -> Any:
    """Something of the strategy that is as wanted."""
    return find(strategy, wanted, settings=ANY)


@pytest.mark.parametrize("operation", TABLE.operations, ids=lambda operation: operation.name)
def test_cdbs_are_of_their_operation(operation: Operation) -> None:
    """Every CDB is as long as the layout, and the table finds the operation by it."""

    @settings(max_examples=10, deadline=None)
    @given(cdbs(operation))
    def check(cdb: bytes) -> None:
        assert len(cdb) == operation.layout.length
        assert TABLE.find(cdb) is operation

    check()


@pytest.mark.parametrize("reserved", [False, True])
def test_cdbs_reserved_bits(reserved: bool) -> None:
    """Reserved bits are set now and then, or never."""
    seen: list[bool] = []

    @settings(FEW, derandomize=True, max_examples=200)
    @given(st.sampled_from(TABLE.operations).flatmap(
        lambda operation: st.tuples(st.just(operation), cdbs(operation, reserved=reserved))
    ))
    def look(drawn: tuple[Operation, bytes]) -> None:
        seen.append(drawn[0].layout.reserved_bit_set(drawn[1]) is not None)

    look()
    assert any(seen) == reserved
    assert not all(seen)


@pytest.mark.parametrize("width", [1, 2, 3, 8, 16, 32, 64])
def test_numbers_reach_edges(width: int) -> None:
    """Zero and the largest value of a field are both reached, and nothing larger."""
    most = (1 << width) - 1
    for edge in (0, most):
        assert reach(numbers(width), lambda number, edge=edge: number == edge) == edge

    @FEW
    @given(numbers(width))
    def check(number: int) -> None:
        assert 0 <= number <= most

    check()


def test_commands_reach_every_operation() -> None:
    """Each declared operation is drawn, and in most operations some command is performed and some is refused."""
    tried: Counter[str] = Counter()
    good: Counter[str] = Counter()
    refused: Counter[str] = Counter()

    @FIXED
    @given(commands(TABLE))
    def look(case: CommandCase) -> None:
        with ScsiTarget("--disk", "64K,removable") as here:
            result = here.initiator.execute(0, case.cdb, case.data_out, case.data_in_length)
        tried[case.operation.name] += 1
        good[case.operation.name] += result.status == Status.GOOD
        refused[case.operation.name] += result.status == Status.CHECK_CONDITION

    look()
    names = {operation.name for operation in TABLE}
    assert set(tried) == names
    assert sum(1 for name in names if good[name]) > len(names) * 2 // 3
    assert sum(1 for name in names if refused[name]) > len(names) * 2 // 3


@FEW
@given(commands(TABLE, most=4096))
def test_commands_are_bounded(case: CommandCase) -> None:
    """No more data than `most`; Data-Out only where the operation has some."""
    assert len(case.data_out) <= 4096
    assert case.data_in_length <= 4096
    if case.operation.data not in (DataDirection.OUT, DataDirection.BIDIRECTIONAL):
        assert case.data_out == b"" or case.operation.parameter_list is not None


def test_commands_parameter_lists_fit() -> None:
    """Lists of exactly the announced length occur, and such as are shorter and longer."""
    operation = next(each for each in TABLE if each.name == "MODE SELECT(10)")

    def difference(case: CommandCase) -> int:
        return len(case.data_out) - operation.layout.parse(case.cdb).parameter_list_length

    for wanted in (lambda n: n == 0, lambda n: n < 0, lambda n: n > 0):
        found = reach(
            commands([operation]), lambda case, wanted=wanted: bool(case.data_out) and wanted(difference(case))
        )
        assert wanted(difference(found))


@given(st.integers(0, 40).flatmap(lambda length: st.tuples(st.just(length), parameter_lists(length, valid=[b"valid"]))))
@FEW
def test_parameter_lists_length(drawn: tuple[int, bytes]) -> None:
    """With a length each list has it."""
    assert len(drawn[1]) == drawn[0]


def test_parameter_lists_near_valid() -> None:
    """A valid list comes as it is, cut short, with more behind it, and with a byte changed."""
    whole = bytes(range(16))
    lists = parameter_lists(valid=[whole])

    assert reach(lists, lambda data: data == whole) == whole
    assert reach(lists, lambda data: data == whole[:9]) == whole[:9]
    assert len(reach(lists, lambda data: data[:16] == whole and len(data) > 16)) > 16
    changed = reach(lists, lambda data: len(data) == 16 and sum(a != b for a, b in zip(data, whole, strict=True)) == 1)
    assert changed != whole


def test_hostile_cdbs_reach_corners() -> None:
    """CDBs of one byte, long ones, variable-length ones cut short, declared ones that are too short."""
    hostile = hostile_cdbs(TABLE)

    assert len(reach(hostile, lambda cdb: len(cdb) == 1)) == 1
    assert len(reach(hostile, lambda cdb: len(cdb) > 200)) > 200
    assert reach(hostile, lambda cdb: cdb[:1] == b"\x7f" and len(cdb) < 10)[0] == 0x7F
    short = reach(hostile, lambda cdb: bool(cdb) and cdb[0] in TABLE.opcodes and TABLE.find(cdb) is None)
    assert short[0] in TABLE.opcodes


@settings(max_examples=150, deadline=None)
@given(hostile_cdbs(OperationTable(PlainServer)), st.binary(max_size=64))
def test_hostile_cdbs_are_answered(cdb: bytes, data_out: bytes) -> None:
    """Whatever the bytes, a unit answers with a status and does not fail inside."""
    world = World()
    result = world.one.execute(0, cdb, data_out, 4096)

    assert result.status in vars(Status).values()
    assert result.code is None or result.code.asc != 0x44

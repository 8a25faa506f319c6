"""GENERATE and RECEIVE RECOMMENDED ACCESS ORDER: the list comes back, ordered along the serpentine when asked for."""

from __future__ import annotations

import struct

import pytest
from vt_bench import Bench

from devtypes.vt.personality import load_personality
from devtypes.vt.physics import Physics
from scsiemu import asc
from scsiemu.testing.initiator import Initiator, Result

BLOCK = 10_000


@pytest.fixture
def bench() -> Bench:
    """A tape with 200 blocks of 10 000 bytes."""
    bench = Bench(size=4 << 20)
    bench.do("MODE SELECT(6)", pf=1, data_out=bytes((0, 0, 0x10, 8)) + bytes(5) + BLOCK.to_bytes(3, "big"))
    bench.do("WRITE(6)", fixed=1, transfer_length=200, data_out=bytes(200 * BLOCK))
    bench.rewind()
    return bench


def segments(*wanted: tuple[bytes, int, int, int]) -> bytes:
    """A parameter list of name, partition, first, last."""
    body = b"".join(struct.pack(">H3x10sBQQ", 30, *each) for each in wanted)
    return bytes(4) + len(body).to_bytes(4, "big") + body


def generate(bench: Bench, data: bytes, process: int = 2, **fields: int) -> Result:
    """GENERATE RECOMMENDED ACCESS ORDER."""
    return bench.do("GENERATE RECOMMENDED ACCESS ORDER", process=process, data_out=data, **fields)


def received(bench: Bench, who: Initiator | None = None) -> tuple[int, list[bytes]]:
    """PROCESS and the names of the list, in order."""
    data = (who or bench.initiator).command("RECEIVE RECOMMENDED ACCESS ORDER").data
    assert int.from_bytes(data[4:8], "big") == len(data) - 8
    return data[0], [data[at + 5 : at + 15].rstrip(b"\0") for at in range(8, len(data), 32)]


def test_access_order_as_it_is(bench: Bench) -> None:
    """PROCESS 001b keeps the order; the segments come back as they were sent."""
    data = segments((b"b", 0, 100, 110), (b"a", 0, 5, 5))
    assert generate(bench, data, process=1).good
    answer = bench.do("RECEIVE RECOMMENDED ACCESS ORDER").data

    assert answer[0] == 1
    assert answer[4:] == data[4:]
    assert bench.do("RECEIVE RECOMMENDED ACCESS ORDER", rao_list_offset=40).data == answer[40:]
    assert bench.do("RECEIVE RECOMMENDED ACCESS ORDER", rao_list_offset=73).code == asc.INVALID_FIELD_IN_CDB


def test_access_order_is_shorter_than_that_of_numbers(bench: Bench) -> None:
    """The way along the tape in the recommended order is at most that in ascending order, and often much shorter."""
    wanted = [(b"%d" % number, 0, number, number) for number in range(3, 200, 13)]
    generate(bench, segments(*wanted))
    _, order = received(bench)
    physics = Physics(load_personality("generic"), active=True)
    size = bench.drive.tape.size(0)

    def way(numbers: list[int]) -> float:
        at, total = 0.0, 0.0
        for number in numbers:
            begin, end = (physics.place((BLOCK + 88) * each, size) for each in (number, number + 1))
            total, at = total + abs(begin - at), end
        return total

    ordered = [int(name) for name in order]
    assert sorted(ordered) == [first for _, _, first, _ in wanted]
    assert way(ordered) < way(sorted(ordered)) / 2


def test_access_order_is_of_a_nexus_and_a_cartridge(bench: Bench) -> None:
    """Another nexus has none; unloading forgets it. Before there is one the list is empty."""
    other = Initiator(bench.target, "iqn.2026-11.org.example:other")
    other.clear_attentions()
    assert received(bench) == (0, [])
    generate(bench, segments((b"a", 0, 5, 5)))
    assert received(bench) == (2, [b"a"])
    assert received(bench, other) == (0, [])
    bench.do("LOAD UNLOAD")
    bench.do("LOAD UNLOAD", load=1)
    assert received(bench) == (0, [])


def test_access_order_limits(bench: Bench) -> None:
    """UDS_LIMITS tells how many segments of what size; one more is refused."""
    count, size = struct.unpack(">HH", bench.do("RECEIVE RECOMMENDED ACCESS ORDER", uds_limits=1).data)
    assert size == 32
    assert generate(bench, segments(*[(b"", 0, 1, 1)] * count), process=1).good
    assert generate(bench, segments(*[(b"", 0, 1, 1)] * (count + 1))).code == asc.INVALID_FIELD_IN_PARAMETER_LIST


@pytest.mark.parametrize(
    ("data", "code", "fields"),
    [
        (segments((b"", 1, 1, 1)), asc.INVALID_FIELD_IN_PARAMETER_LIST, {}),
        (segments((b"", 0, 200, 200)), asc.INVALID_FIELD_IN_PARAMETER_LIST, {}),
        (segments((b"", 0, 5, 4)), asc.INVALID_FIELD_IN_PARAMETER_LIST, {}),
        (segments((b"", 0, 5, 5))[:-1], asc.PARAMETER_LIST_LENGTH_ERROR, {}),
        (bytes(7), asc.PARAMETER_LIST_LENGTH_ERROR, {}),
        (segments((b"", 0, 5, 5)), asc.INVALID_FIELD_IN_CDB, {"process": 0}),
        (segments((b"", 0, 5, 5)), asc.INVALID_FIELD_IN_CDB, {"process": 3}),
        (segments((b"", 0, 5, 5)), asc.INVALID_FIELD_IN_CDB, {"uds_type": 1}),
    ],
)
def test_access_order_refuses(bench: Bench, data: bytes, code: object, fields: dict[str, int]) -> None:
    """A segment that is not on the tape, a cut list, a process that there is not."""
    assert generate(bench, data, **fields).code == code
    assert received(bench) == (0, [])

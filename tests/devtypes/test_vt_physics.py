"""How long things take on the target's clock: loading, positions along a serpentine, stopping and starting again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from vt_bench import Bench

from devtypes.vt.personality import load_personality
from devtypes.vt.physics import Physics

KIND = load_personality("lto6")


class Clock:
    """A drive with physics, and how long a command takes."""

    def __init__(self, **options: object) -> None:
        self.bench = Bench(physics=True, personality=KIND, **options)
        self.now = 100.0
        self.bench.target.advance(self.now)
        self.bench.initiator.clear_attentions()

    def seconds(self, name: str, *, data_out: bytes = b"", data_in: int = 0, **fields: int) -> float:
        """Execute an operation, going on from deadline to deadline; how long it took."""
        cdb = self.bench.initiator.cdb(name, data_out=data_out, data_in=data_in, **fields)
        exchange = self.bench.initiator.start(0, cdb, data_out, data_in)
        begun = self.now
        while (deadline := self.bench.target.deadline()) is not None:
            self.now = max(self.now, deadline)
            self.bench.target.advance(self.now)
        result = self.bench.initiator.finish(exchange)
        assert result.good, result
        return self.now - begun

    def write(self, size: int) -> float:
        """WRITE one block."""
        return self.seconds("WRITE(6)", transfer_length=size, data_out=bytes(size))


def test_physics_load_and_unload() -> None:
    """Unloading and loading take what the personality says."""
    clock = Clock()

    assert clock.seconds("LOAD UNLOAD") == pytest.approx(KIND.unload_seconds)
    assert clock.seconds("LOAD UNLOAD", load=1) == pytest.approx(KIND.load_seconds)


def test_physics_stop_start_penalty() -> None:
    """Writes that follow on each other stream; one after a pause has the tape wound back and started first."""
    clock = Clock(size=64 << 20)
    block = 8_000_000
    clock.write(block)
    stops = clock.bench.drive.physics.stops
    assert clock.write(block) == pytest.approx(block / KIND.rate)
    clock.now += 10
    clock.bench.target.advance(clock.now)
    assert clock.write(block) == pytest.approx(block / KIND.rate + KIND.stop_seconds)
    assert clock.bench.drive.physics.stops == stops + 1


def test_physics_position_takes_its_way() -> None:
    """A LOCATE takes the distance along the tape; half the data away may be near, a quarter of a wrap is far."""
    clock = Clock(size=KIND.wraps * 40_000)
    tape = clock.bench.drive.tape
    for _ in range(100):
        clock.write(40_000)
    clock.seconds("REWIND")
    physics = clock.bench.drive.physics

    for number in (1, 50, 99, 2, 3):
        here = clock.bench.drive.position
        taken = clock.seconds("LOCATE(10)", logical_object_identifier=number)
        there = clock.bench.drive.position
        begin = tape.beginning(0).offset
        places = [physics.place(each.offset - begin, tape.size(0)) for each in (here, there)]
        assert taken == pytest.approx(KIND.stop_seconds + abs(places[0] - places[1]) / KIND.speed)
    meters = int.from_bytes(clock.bench.do("LOG SENSE", page_code=0x14, pc=1, parameter_pointer=4).data[8:16], "big")
    assert meters == int(physics.meters) > 0


@given(st.integers(0, 1 << 40), st.integers(0, 1 << 30))
def test_physics_place_is_on_the_tape(used: int, step: int) -> None:
    """A place is between both ends; a step of a thousandth of a wrap moves by that at most."""
    physics = Physics(KIND, active=True)
    size = 1 << 40
    length = KIND.media[0].length
    here, there = physics.place(used, size), physics.place(used + step, size)

    assert 0 <= here <= length
    assert abs(here - there) <= step / size * KIND.wraps * length + 1e-6


def test_physics_off_takes_no_time() -> None:
    """Without physics nothing waits."""
    bench = Bench()
    bench.write(bytes(100_000))
    for name in ("REWIND", "LOAD UNLOAD"):
        assert bench.do(name).good
    assert bench.target.deadline() is None

"""The fuzz harnesses, driven by hypothesis: seeds pass, random input passes, and a planted bug is found."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import HypothesisException

from fuzz.run import HARNESSES, harness, seeds

BUDGET = settings(
    max_examples=150, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate], database=None,
)
# For the planted bugs: always the same inputs, and enough of them; it stops at the first find.
SEARCH = settings(BUDGET, max_examples=2000, derandomize=True, report_multiple_bugs=False)


def seed_files() -> list[Path]:
    """Every seed."""
    return sorted(path for name in HARNESSES for path in seeds(name).iterdir())


def mutations(name: str) -> st.SearchStrategy[bytes]:
    """Seeds with some bytes changed, cut out or doubled; and plain noise."""
    known = [path.read_bytes() for path in sorted(seeds(name).iterdir())]

    @st.composite
    def mutated(draw: st.DrawFn) -> bytes:
        data = bytearray(draw(st.sampled_from(known)))
        for _ in range(draw(st.integers(0, 6))):
            at = draw(st.integers(0, len(data) - 1))
            data[at : at + draw(st.integers(0, 4))] = draw(st.binary(min_size=0, max_size=4))
            if not data:
                return b""
        return bytes(data)

    made = {"commands": rows, "osd": osd_rows, "optical": optical_rows}.get(name)
    return mutated() | (made() if made is not None else st.binary(max_size=300))


def rows() -> st.SearchStrategy[bytes]:
    """Input of the commands harness: every operation as often as another."""
    row = st.builds(
        lambda pick, attribute, seed, out: struct.pack(">HBHB18s", pick, attribute, len(out), 0, seed) + out,
        st.integers(0, 0xFFFF), st.integers(0, 4), st.binary(min_size=18, max_size=18), st.binary(max_size=64),
    )
    return st.lists(row, min_size=1, max_size=16).map(b"".join)


def osd_rows() -> st.SearchStrategy[bytes]:
    """Input of the osd harness: the same."""
    row = st.builds(
        lambda pick, seed, rest: struct.pack(">HHB", pick, len(rest), seed) + rest,
        st.integers(0, 0xFFFF), st.integers(0, 0xFF), st.binary(max_size=200),
    )
    return st.lists(row, min_size=1, max_size=16).map(b"".join)


def optical_rows() -> st.SearchStrategy[bytes]:
    """Input of the optical harness: which disc, how it is written, then as `rows`."""
    return st.tuples(st.binary(min_size=2, max_size=2), rows()).map(b"".join)


def drive(name: str, check: Callable[[bytes], None], budget: settings = BUDGET) -> None:
    """Run a harness over mutated seeds."""

    @budget
    @given(mutations(name))
    def run(data: bytes) -> None:
        check(data)

    run()


@pytest.mark.parametrize("path", seed_files(), ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_seed_passes(path: Path) -> None:
    """Every seed keeps its harness's invariant: also each crash that was ever found and kept."""
    harness(path.parent.name)(path.read_bytes())


@pytest.mark.parametrize("name", HARNESSES)
def test_harness_holds(name: str) -> None:
    """The invariant in the harness's docstring holds for input that hypothesis makes."""
    drive(name, harness(name))


def plant_framing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that loses the last byte of a piece of 14."""
    from transports.iscsi.framing import PduReader

    feed = PduReader.feed

    def broken(self: Any, data: Any) -> None:
        feed(self, data[:-1] if len(data) == 14 else data)

    monkeypatch.setattr(PduReader, "feed", broken)


def plant_login(monkeypatch: pytest.MonkeyPatch) -> None:
    """A text decoder that trips over a vendor's key."""
    from transports.iscsi import text

    decode = text.decode_text

    def broken(data: Any, **options: Any) -> Any:
        pairs = decode(data, **options)
        if any(key.startswith("X-") for key, _ in pairs):
            raise IndexError("planted")
        return pairs

    monkeypatch.setattr(text, "decode_text", broken)


def plant_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    """An operation that divides by a bit of its CDB."""
    from devtypes.vd import VirtualDisk

    original = VirtualDisk.request_sense

    def broken(self: Any, command: Any, cdb: Any) -> Any:
        assert 1 // (1 - cdb.desc)
        return original(self, command, cdb)

    monkeypatch.setattr(VirtualDisk, "request_sense", broken)


def plant_osd(monkeypatch: pytest.MonkeyPatch) -> None:
    """A list of attributes whose last entry is read though it is not whole."""
    from devtypes.osd import execution

    parse = execution.parse_get_list

    def broken(raw: bytes, *, version: int) -> Any:
        if len(raw) % 8 and raw[0] & 1:
            struct.unpack_from(">II", raw, len(raw) - 4)
        return parse(raw, version=version)

    monkeypatch.setattr(execution, "parse_get_list", broken)


def plant_vhost(monkeypatch: pytest.MonkeyPatch) -> None:
    """A device that trips over the well-known LUN."""
    from transports.vhost import device

    lun_of = device.lun_of

    def broken(field: bytes) -> Any:
        if field[0] == 0xC1:
            raise IndexError("planted")
        return lun_of(field)

    monkeypatch.setattr(device, "lun_of", broken)


def plant_optical(monkeypatch: pytest.MonkeyPatch) -> None:
    """An operation that trips over a data type."""
    from devtypes.vmmc import OpticalDrive

    original = OpticalDrive.read_disc_information

    def broken(self: Any, command: Any, cdb: Any) -> Any:
        assert cdb.data_type != 1
        return original(self, command, cdb)

    monkeypatch.setattr(OpticalDrive, "read_disc_information", broken)


def plant_cue(monkeypatch: pytest.MonkeyPatch) -> None:
    """A PREGAP that counts the other way."""
    from devtypes.vmmc import cue

    frames = cue._frames
    monkeypatch.setattr(cue, "_frames", lambda text: -frames(text) if text == "00:01:00" else frames(text))


@pytest.mark.parametrize(
    ("name", "plant"),
    [("framing", plant_framing), ("login", plant_login), ("commands", plant_commands), ("osd", plant_osd),
     ("vhost", plant_vhost), ("optical", plant_optical), ("cue", plant_cue)],
)
def test_harness_finds_planted_bug(
    name: str, plant: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A harness that cannot fail proves nothing: with a bug planted it does."""
    plant(monkeypatch)
    with pytest.raises(BaseException) as caught:  # noqa: PT011  # hypothesis groups several distinct failures
        drive(name, harness(name), SEARCH)

    assert not isinstance(caught.value, (HypothesisException, KeyboardInterrupt))

"""Hostile clients: whatever they put into the queue and their memory, nothing raises and nothing outside is touched."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from vscsi_raw import DATA, MAPPED, PAGES, READ_ONLY, UNITS, RawClient

from transports.vscsi.codes import CrqFormat, CrqValid, InitFormat
from transports.vscsi.crq import CrqElement
from transports.vscsi.descriptors import NO_DATA, DataDescriptor, Segment
from transports.vscsi.dma import PAGE
from transports.vscsi.information_units import CommandIu, InitiatorLogout, LoginRequest, ResponseIu, TaskManagement
from transports.vscsi.mad import Mad
from transports.vscsi.port import VscsiLimits

EDGES = [0, 1, UNITS, DATA, DATA + 511, MAPPED * PAGE - 512, MAPPED * PAGE - 1, MAPPED * PAGE, READ_ONLY - 10,
         PAGES * PAGE, (1 << 32) - 1, 1 << 32, (1 << 63), (1 << 64) - 1]
ADDRESS = st.one_of(st.sampled_from(EDGES), st.integers(0, (PAGES + 2) * PAGE))
LENGTH = st.one_of(st.sampled_from([0, 1, 16, 512, 4096, 65536, (1 << 31), (1 << 32) - 1]), st.integers(0, 20_000))
SEGMENT = st.builds(Segment, ADDRESS, LENGTH, st.just(0))
LUN = st.one_of(st.sampled_from([0, 1 << 48, 0x8000 << 48, 0xC101 << 48, (1 << 64) - 1]), st.integers(0, (1 << 64) - 1))
CDB = st.one_of(
    st.sampled_from([
        bytes.fromhex(text).ljust(16, b"\0") for text in (
            "28000000000000000800", "2a000000000000000800", "88000000000000000000000001000000", "120000006000",
            "8a00000000000000000000000010", "89000000000000000000000000010000", "1d0000ffff00",
            "a00000000000000010000000", "4200000000000000ff00", "5f00000000000000001800", "3b02000000000000ff00",
            "93000000000000000000000000100000",
        )
    ]),
    st.binary(min_size=16, max_size=16),
)


@st.composite
def descriptors(draw: st.DrawFn) -> DataDescriptor:
    """A descriptor whose parts need not agree."""
    kind = draw(st.integers(0, 2))
    if kind == 0:
        return NO_DATA
    if kind == 1:
        segment = draw(SEGMENT)
        return DataDescriptor(1, segment.length, (segment,))
    segments = tuple(draw(st.lists(SEGMENT, max_size=5)))
    total = draw(st.one_of(st.just(sum(segment.length for segment in segments)), LENGTH)) & 0xFFFF_FFFF
    table = draw(st.one_of(st.just(16 * len(segments)), LENGTH))
    return DataDescriptor(2, total, segments, Segment(draw(ADDRESS), table))


UNIT = st.one_of(
    st.builds(CommandIu, st.integers(0, 5), LUN, CDB, descriptors(), descriptors(), st.integers(0, 7), st.just(0)),
    st.builds(TaskManagement, st.integers(0, 9), LUN, st.sampled_from([1, 2, 4, 8, 0x40, 3]), st.integers(0, 5)),
    st.builds(LoginRequest, st.just(1), st.sampled_from([64, 256, 257])),
    st.builds(InitiatorLogout, st.just(2)),
)
MAD = st.builds(Mad, st.integers(0, 9), st.integers(0, 3), st.just(0), st.integers(0, 0xFFFF), ADDRESS)
ACTION = st.one_of(
    st.tuples(st.just("unit"), UNIT),
    st.tuples(st.just("mad"), MAD),
    st.tuples(st.just("bytes"), st.binary(max_size=260)),
    st.tuples(st.just("element"), st.builds(
        CrqElement, st.sampled_from([0x80, 0xC0, 0x90, 0xFF]), st.integers(0, 12), st.integers(0, 255), st.just(0),
        st.integers(0, 400), ADDRESS,
    )),
    st.tuples(st.just("read"), st.none()),
    st.tuples(st.just("again"), st.none()),
)


@settings(max_examples=80, deadline=None)
@given(st.lists(ACTION, max_size=25))
def test_hostile_client(actions: list[tuple[str, object]]) -> None:
    """Nothing raises, the canary stays, the queue can be used again, and at the end nothing is left over."""
    client = RawClient(limits=VscsiLimits(request_limit=8)).login()
    client.put(Segment(DATA, 512).address.to_bytes(8, "big") * 64, address=DATA)
    for kind, what in actions:
        if kind == "unit":
            data = what.encode()[:256]           # type: ignore[attr-defined]  # a unit
            client.post(data, address=client.put(data))
        elif kind == "mad":
            client.post(what.encode(), kind=CrqFormat.MAD)  # type: ignore[attr-defined]  # a datagram
        elif kind == "bytes":
            client.post(what)                    # type: ignore[arg-type]  # bytes
        elif kind == "element":
            assert isinstance(what, CrqElement)
            client.send(what)
        elif kind == "read":
            client.take()
        else:
            client.take()
            client.send(CrqElement(CrqValid.INIT, InitFormat.INIT))
            client.post(LoginRequest(1, 256).encode())
        client.assert_untouched()
    deadline = client.port.deadline()
    if deadline is not None:
        client.port.advance(deadline)
    client.take()
    client.hypervisor.fail(client.unit)
    client.run()

    client.assert_no_nexus()
    client.assert_untouched()
    assert client.port.statistics()["data_out_bytes"] == 0
    assert client.target.units[0].statistics()["pending"] == 0


@settings(max_examples=80, deadline=None)
@given(descriptors(), descriptors(), CDB)
def test_hostile_descriptors(out: DataDescriptor, in_: DataDescriptor, cdb: bytes) -> None:
    """A command with any descriptors ends with one response, or the connection does; memory out of reach stays so."""
    client = RawClient().login()
    client.put(b"".join(
        segment.address.to_bytes(8, "big") + bytes(4) + segment.length.to_bytes(4, "big")
        for segment in (Segment(DATA, 512), Segment(MAPPED * PAGE - 4, 8), Segment(0, 0))
    ), address=DATA)
    data = CommandIu(3, 0, cdb, out, in_).encode()
    client.post(data)
    elements = client.take()

    client.assert_untouched()
    if len(data) > 256:
        return
    deadline = client.port.deadline()
    if not elements and deadline is not None:       # a command that takes its time
        client.port.advance(deadline + 1000)
        elements = client.take()
    assert len(elements) == 1
    assert elements[0].iu_address == 3
    assert client.execute(bytes(6)).response_code is None, "the connection lives"


def test_hostile_data_in_gets_no_foreign_bytes() -> None:
    """Data-Out that reaches beyond the window is not written to the disk, not even its first part."""
    client = RawClient().login()
    cdb = bytes.fromhex("2a000000000000000800").ljust(16, b"\0")
    client.execute(cdb, data_out=DataDescriptor(1, 4096, (Segment(MAPPED * PAGE - 512, 4096),)))
    read = bytes.fromhex("28000000000000000800").ljust(16, b"\0")
    response = client.execute(read, data_in=DataDescriptor(1, 4096, (Segment(DATA, 4096),)))

    assert isinstance(response, ResponseIu)
    assert bytes(client.memory[DATA : DATA + 4096]) == bytes(4096)

"""PDU classes and framing: against the construct definitions, cut anywhere, with digests, AHS, sinks and limits."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import pytest
from crc32c import crc32c
from hypothesis import given, settings
from hypothesis import strategies as st

from scsiemu.command import Buffer
from scsiemu.errors import LocalProtocolError
from scsiemu.formats import iscsi as spec
from transports.iscsi.ahs import build_ahs, parse_ahs
from transports.iscsi.codes import NO_TAG, AhsFlaw, Opcode, RejectReason
from transports.iscsi.framing import FramingError, PduReader, encode, gather, seal
from transports.iscsi.pdu import (
    PDU_CLASSES,
    R2T,
    BadPdu,
    DataIn,
    DataOut,
    NopOut,
    Pdu,
    ScsiCommand,
    ScsiResponse,
    TextRequest,
    data_in_bhs,
    decode_bhs,
    r2t_bhs,
    scsi_response_bhs,
)

OPCODES = st.sampled_from(sorted(PDU_CLASSES))
U32 = st.integers(0, 2**32 - 1)
PARTS = st.lists(st.integers(1, 200), max_size=30)


@st.composite
def pdus(draw: st.DrawFn) -> Pdu:
    """Any PDU, with data, and with AHS where it is a command."""
    opcode = draw(OPCODES)
    pdu = decode_bhs(bytes([opcode | draw(st.sampled_from((0, 0x40)))]) + draw(st.binary(min_size=47, max_size=47)))
    pdu.data = draw(st.binary(max_size=300))
    if isinstance(pdu, ScsiCommand) and draw(st.booleans()):
        pdu.cdb += draw(st.binary(max_size=244))
        pdu.read_length = draw(st.none() | U32)
    return pdu


def field_names(pdu: Pdu) -> list[str]:
    return [f.name for f in dataclasses.fields(pdu) if not f.kw_only and f.name != "flags"]


def read(wire: bytes, cuts: Iterable[int] = (), **options: object) -> list[Pdu]:
    """What a reader makes of `wire` fed in pieces of these lengths, then the rest; data copied."""
    reader = PduReader(1 << 20)
    for name, value in options.items():
        setattr(reader, name, value)
    pieces, position = [], 0
    for cut in cuts:
        pieces.append(wire[position:position + cut])
        position += cut
    pieces.append(wire[position:])
    got = []
    for piece in pieces:
        reader.feed(piece)
        while (pdu := reader.next_pdu()) is not None:
            pdu.data = bytes(pdu.data)
            got.append(pdu)
    return got


@pytest.mark.parametrize("opcode", sorted(PDU_CLASSES))
@settings(max_examples=25, deadline=None)
@given(rest=st.binary(min_size=47, max_size=47), immediate=st.booleans())
def test_bhs_decodes_as_its_construct_definition(opcode: int, rest: bytes, *, immediate: bool) -> None:
    """The fast parser and the readable definition find the same value in every field of any 48 bytes."""
    bhs = bytes([opcode | immediate << 6]) + rest
    fast, slow = decode_bhs(bhs), spec.BHS[opcode].parse(bhs)

    assert {name: getattr(fast, name) for name in field_names(fast)} == {
        name: slow[name] for name in field_names(fast)
    }
    assert (fast.immediate, fast.flags) == (bool(slow.byte0.immediate), bhs[1])


@pytest.mark.parametrize("opcode", sorted(PDU_CLASSES))
@settings(max_examples=25, deadline=None)
@given(rest=st.binary(min_size=47, max_size=47))
def test_bhs_encodes_as_its_construct_definition(opcode: int, rest: bytes) -> None:
    """What the fast side builds is what the definition builds from the same fields, reserved bytes being zero."""
    bhs = bytes([opcode]) + rest
    slow = spec.BHS[opcode].parse(bhs)
    for name, value in slow.items():
        if name.startswith("reserved"):
            slow[name] = bytes(len(value))
    expected = spec.BHS[opcode].build(slow)

    built = decode_bhs(bhs).bhs(ahs_words=bhs[4], data_length=int.from_bytes(bhs[5:8], "big"))

    assert built == expected


@given(pdu=pdus())
@settings(max_examples=100, deadline=None)
def test_bhs_round_trip(pdu: Pdu) -> None:
    """Encoding and reading a PDU gives it back, AHS and data included."""
    assert read(b"".join(encode(pdu))) == [pdu]


@given(st.lists(pdus(), max_size=5), PARTS, st.booleans(), st.booleans())
@settings(max_examples=150, deadline=None)
def test_framing_splits_do_not_matter(sent: list[Pdu], parts: list[int], header: bool, data: bool) -> None:
    """Whole, in random pieces or byte by byte: the same PDUs, with any combination of digests (F1)."""
    wire = b"".join(b"".join(encode(pdu, header_digest=header, data_digest=data)) for pdu in sent)
    options = {"header_digest": header, "data_digest": data}

    assert read(wire, **options) == sent
    assert read(wire, parts, **options) == sent
    assert read(wire, [1] * len(wire), **options) == sent


@given(pdus(), st.booleans(), st.booleans())
@settings(max_examples=60, deadline=None)
def test_framing_agrees_with_the_construct_definition(pdu: Pdu, header: bool, data: bool) -> None:
    """The definition of a whole PDU on the wire takes what encode() makes: AHS, digests, padding."""
    wire = b"".join(encode(pdu, header_digest=header, data_digest=data))
    layout = spec.pdu(pdu.OPCODE, header_digest=header, data_digest=data)
    slow = layout.parse(wire)

    assert layout.build(slow) == wire
    assert slow.data == pdu.data
    if header:
        assert slow.header_digest == crc32c(wire[:48 + len(slow.ahs)])
    if data and pdu.data:
        assert slow.data_digest == crc32c(slow.data + slow.padding)


@pytest.mark.parametrize("digests", [False, True])
def test_framing_truncated_at_each_length(*, digests: bool) -> None:
    """A PDU that is cut short anywhere is no PDU, and the reader says that it is in the middle of one."""
    pdu = ScsiCommand(itt=1, cdb=bytes(range(32)), read_length=7, data=b"immediate")
    wire = b"".join(encode(pdu, header_digest=digests, data_digest=digests))
    for length in range(len(wire)):
        reader = PduReader()
        reader.header_digest = reader.data_digest = digests
        reader.feed(wire[:length])

        assert reader.next_pdu() is None
        assert reader.idle == (length == 0)
        reader.feed(wire[length:])
        assert reader.next_pdu() == pdu
        assert reader.idle


@given(st.binary(max_size=400), PARTS)
@settings(max_examples=200, deadline=None)
def test_framing_random_bytes(noise: bytes, parts: list[int]) -> None:
    """Of any bytes come PDUs, silence, or FramingError: the same ones however they are cut."""
    def outcome(cuts: list[int]) -> tuple[list[Pdu], str]:
        reader, got = PduReader(), []
        position = 0
        for cut in [*cuts, len(noise)]:
            reader.feed(noise[position:position + cut])
            position += cut
            try:
                while (pdu := reader.next_pdu()) is not None:
                    pdu.data = bytes(pdu.data)
                    got.append(pdu)
            except FramingError as error:
                assert reader.next_pdu() is None
                return got, str(error)
        return got, ""

    whole = outcome([])
    assert outcome(parts) == whole
    assert outcome([1] * len(noise)) == whole


def test_framing_too_long_data_is_refused_from_the_header() -> None:
    """A DataSegmentLength beyond the limit ends the stream before a byte of data is taken (F3)."""
    for length in (8193, 0xFFFFFF):
        reader = PduReader()
        header = TextRequest().bhs(data_length=length)
        reader.feed(header)

        with pytest.raises(FramingError) as error:
            reader.next_pdu()
        assert (error.value.reason, error.value.header) == (RejectReason.PROTOCOL_ERROR, header)
        assert reader.wants() is None
        reader.feed(bytes(48))
        assert reader.next_pdu() is None


def test_framing_limit_is_what_was_declared() -> None:
    """Exactly MaxRecvDataSegmentLength bytes are taken; the limit holds from the next PDU on."""
    reader = PduReader()
    wire = b"".join(encode(NopOut())) + b"".join(encode(DataOut(data=bytes(9000))))
    reader.feed(wire)

    assert isinstance(reader.next_pdu(), NopOut)
    reader.max_data_segment_length = 9000
    pdu = reader.next_pdu()
    assert pdu is not None
    assert len(pdu.data) == 9000


def test_framing_whole_pdu_is_not_copied() -> None:
    """The data of a PDU that lies in the fed buffer as a whole is a view of that buffer."""
    buffer = bytearray(b"".join(encode(DataOut(data=b"abcd"))))
    reader = PduReader()
    reader.feed(memoryview(buffer))
    pdu = reader.next_pdu()
    assert pdu is not None
    buffer[48:52] = b"ABCD"

    assert bytes(pdu.data) == b"ABCD"


@pytest.mark.parametrize("digest", [False, True])
@pytest.mark.parametrize("bad", [False, True])
def test_framing_sink_receives_in_place(*, digest: bool, bad: bool) -> None:
    """Data that is not all there goes straight into the sink's buffer, by feed and by wants()."""
    wire = bytearray(b"".join(encode(DataOut(itt=7, data=bytes(range(101))), data_digest=digest)))
    if bad:
        wire[60] ^= 1
    target = bytearray(101)
    asked: list[tuple[int, int]] = []

    def sink(pdu: Pdu, length: int) -> memoryview:
        assert isinstance(pdu, DataOut)
        asked.append((pdu.itt, length))
        return memoryview(target)

    reader = PduReader()
    reader.sink = sink
    reader.data_digest = digest
    reader.feed(wire[:58])
    assert reader.next_pdu() is None
    wanted = reader.wants()
    assert wanted is not None
    assert len(wanted) == 91
    wanted[:50] = wire[58:108]
    reader.received(50)
    assert reader.next_pdu() is None
    reader.feed(wire[108:])
    pdu = reader.next_pdu()

    assert asked == [(7, 101)]
    assert pdu is not None
    assert pdu.data == target == bytes(wire[48:149])
    assert pdu.data_digest_error == (digest and bad)


def test_framing_abandoned_sink_is_left_alone() -> None:
    """After abandon_sink() not a byte goes into the sink's buffer, and the stream goes on."""
    wire = b"".join(encode(DataOut(data=b"x" * 100)))
    target = bytearray(100)
    reader = PduReader()
    reader.sink = lambda pdu, length: memoryview(target)
    reader.feed(wire[:60])
    assert reader.next_pdu() is None
    reader.abandon_sink()
    reader.feed(wire[60:] + NopOut().bhs())

    assert isinstance(reader.next_pdu(), DataOut)
    assert reader.next_pdu() == NopOut()
    assert target == b"x" * 12 + bytes(88)


def test_framing_hold_frees_the_buffer() -> None:
    """After hold() the fed buffer may be overwritten, and what was in it still comes."""
    buffer = bytearray(NopOut(itt=1).bhs() + NopOut(itt=2).bhs())
    reader = PduReader()
    reader.feed(memoryview(buffer))
    assert reader.next_pdu() == NopOut(itt=1)
    with pytest.raises(LocalProtocolError):
        reader.feed(b"x")
    reader.hold()
    buffer[:] = bytes(96)
    reader.feed(NopOut(itt=3).bhs())

    assert [reader.next_pdu(), reader.next_pdu(), reader.next_pdu()] == [NopOut(itt=2), NopOut(itt=3), None]


@pytest.mark.parametrize("cuts", [[], [1] * 200])
def test_framing_header_digest_error_ends_the_stream(cuts: list[int]) -> None:
    """A wrong header digest is fatal: nothing in that header can be trusted (F4)."""
    wire = bytearray(b"".join(encode(NopOut(data=b"abcde"), header_digest=True)))
    wire[20] ^= 0x10

    with pytest.raises(FramingError) as error:
        read(bytes(wire), cuts, header_digest=True)
    assert error.value.header_digest


@pytest.mark.parametrize("cuts", [[], [1] * 200])
def test_framing_data_digest_error_marks_the_pdu(cuts: list[int]) -> None:
    """A wrong data digest marks its PDU; the next PDU is read (F4)."""
    wire = bytearray(b"".join(encode(NopOut(data=b"abcde"), data_digest=True)))
    wire[50] ^= 0x10
    first, second = read(bytes(wire) + NopOut().bhs(), cuts, data_digest=True)

    assert (first.data_digest_error, second.data_digest_error) == (True, False)


@given(
    st.lists(st.sampled_from((0, 0, 0, 1, 47, 48, 100)), min_size=1, max_size=9)
    | st.builds(lambda length, count: [length] * count, st.sampled_from((1, 48, 512)), st.integers(2, 9)),
    st.booleans(), st.booleans(), st.data(),
)
@settings(max_examples=300, deadline=None)
def test_framing_one_wrong_bit_among_plain_commands(
    lengths: list[int], header: bool, data: bool, draw: st.DataObject
) -> None:
    """Of commands that came together, those before a wrong bit are taken and the one with it is not (F4)."""
    sent = [
        ScsiCommand(0x80, itt=itt, cmd_sn=itt, cdb=bytes([itt]) * 16, data=bytes([itt]) * length)
        for itt, length in enumerate(lengths)
    ]
    wires = [b"".join(encode(pdu, header_digest=header, data_digest=data)) for pdu in sent]
    victim = draw.draw(st.none() | st.integers(0, len(sent) - 1))
    wire = bytearray(b"".join(wires))
    bad_header = bad_data = False
    if victim is not None:
        at = draw.draw(st.integers(0, len(wires[victim]) - 1))
        bad_header = header and at < 52 and at != 4     # a longer AHS waits for bytes
        bad_data = data and at >= 48 + 4 * header
        if not (bad_header or bad_data):
            victim = None
        else:
            wire[sum(map(len, wires[:victim])) + at] ^= 1 << draw.draw(st.integers(0, 7))
    reader = PduReader(1 << 20)
    reader.header_digest, reader.data_digest = header, data

    commands = reader.plain_commands(memoryview(wire))

    assert [(itt, cdb, bytes(came)) for _, _, _, itt, _, _, cdb, came in commands] == [
        (pdu.itt, pdu.cdb, pdu.data) for pdu in sent[:victim]
    ]
    if bad_header:
        with pytest.raises(FramingError):
            reader.next_pdu()
    elif victim is not None:
        pdu = reader.next_pdu()
        assert pdu is not None
        assert pdu.data_digest_error
        assert len(reader.plain_commands()) == len(sent) - victim - 1


@given(st.lists(st.none() | st.binary(min_size=1, max_size=9), max_size=8), st.booleans(), st.booleans())
def test_framing_sealed_answers_are_gathered_ones(answers: list[bytes | None], header: bool, data: bool) -> None:
    """Digests that are put in afterwards, for many answers at once, make the same bytes."""
    sealed: list[Buffer] = [b"before"]
    gathered: list[Buffer] = [b"before"]
    size = 0
    for itt, payload in enumerate(answers):
        bhs = scsi_response_bhs(0x80, 0, 0, itt, 1, 2, 3)
        if payload is not None:
            bhs = data_in_bhs(0x81, 0, len(payload), itt, 1, 2, 3, 0, 0)
        size += gather(sealed, bhs, payload or b"", False, False)
        gather(gathered, bhs, payload or b"", header, data)

    size += seal(sealed, 1, header, data)

    assert b"".join(sealed) == b"".join(gathered)
    assert size + len(b"before") == len(b"".join(sealed))


def test_framing_digest_bytes_are_those_of_the_rfc() -> None:
    """RFC 7143 appendix: 32 zero bytes have the digest aa 36 91 8a on the wire."""
    wire = b"".join(encode(NopOut(data=bytes(32)), data_digest=True))

    assert wire[-4:] == bytes.fromhex("aa36918a")


def test_framing_padding_is_not_judged() -> None:
    """Padding that is not zero is taken (it SHOULD be zero), and counts in the digest (F4)."""
    wire = NopOut().bhs(data_length=3) + b"abcX"
    digest = crc32c(b"abcX").to_bytes(4, "little")

    assert read(wire)[0].data == b"abc"
    assert not read(wire + digest, data_digest=True)[0].data_digest_error


@pytest.mark.parametrize("opcode", [c for c in range(64) if c not in PDU_CLASSES])
def test_framing_unknown_opcode(opcode: int) -> None:
    """An opcode that does not exist comes as BadPdu with reason and header; its data is skipped (F5)."""
    header = bytes([opcode]) + bytes(6) + b"\5" + bytes(40)
    first, second = read(header + b"hello\0\0\0" + NopOut().bhs())

    assert isinstance(first, BadPdu)
    assert (first.opcode, first.reason, first.header) == (opcode, RejectReason.COMMAND_NOT_SUPPORTED, header)
    assert second == NopOut()


@pytest.mark.parametrize("opcode", sorted(set(PDU_CLASSES) - {Opcode.SCSI_COMMAND}))
def test_framing_ahs_where_none_may_be(opcode: int) -> None:
    """AHS on a PDU that has none are skipped, the PDU is a BadPdu (F2)."""
    header = bytes([opcode, 0, 0, 0, 2]) + bytes(43)
    first, second = read(header + bytes(8) + NopOut().bhs())

    assert isinstance(first, BadPdu)
    assert (first.opcode, first.reason) == (opcode, RejectReason.INVALID_PDU_FIELD)
    assert second == NopOut()


@given(st.binary(max_size=255 * 4).map(lambda data: data[:len(data) & ~3]))
@settings(max_examples=200, deadline=None)
def test_ahs_any_bytes(ahs: bytes) -> None:
    """Whatever the AHS say, a parsed CDB extension has at most 244 bytes and comes of those bytes (F2)."""
    parsed = parse_ahs(ahs)

    assert len(parsed.cdb) <= 244
    assert parsed.cdb in ahs


@given(st.binary(min_size=17, max_size=260), st.none() | U32, st.booleans())
@settings(max_examples=100, deadline=None)
def test_ahs_round_trip_in_any_order(cdb: bytes, read_length: int | None, swapped: bool) -> None:
    """Extended CDB and read length are found in either order, as construct finds them."""
    first, second = build_ahs(cdb, None), build_ahs(b"", read_length)
    ahs = second + first if swapped else first + second
    parsed = parse_ahs(ahs)
    segments = {segment.ahs_type: segment.content for segment in spec.AHS.parse(ahs)}

    assert (parsed.cdb, parsed.read_length, parsed.flaw) == (cdb[16:], read_length, 0)
    assert segments[1].extended_cdb == cdb[16:]
    if read_length is not None:
        assert segments[2].bidi_read_length == read_length


@pytest.mark.parametrize(("ahs", "flaw"), [
    ("0000 0100", AhsFlaw.CDB_LENGTH),                              # no reserved byte, no CDB
    ("0001 0100", AhsFlaw.CDB_LENGTH),                              # no CDB
    ("0009 0100 11111111", AhsFlaw.MALFORMED),                      # says more than there is
    ("ffff 0100", AhsFlaw.MALFORMED),
    ("0005 0200 00000001 0005 0200 00000002", AhsFlaw.MALFORMED),   # twice
    ("0005 0100 11111111 0005 0100 22222222", AhsFlaw.MALFORMED),
    ("0004 0200 00000001", AhsFlaw.MALFORMED),                      # not the length of that type
    ("0001 3f00", AhsFlaw.UNKNOWN_TYPE),
    ("0000 3f00", AhsFlaw.UNKNOWN_TYPE),
])
def test_ahs_flaws(ahs: str, flaw: int) -> None:
    """Each inconsistency has its flaw; none reads beyond the segments (F2)."""
    assert parse_ahs(bytes.fromhex(ahs)).flaw == flaw


def test_ahs_unknown_type_is_skipped() -> None:
    """What follows a segment of unknown type is still found."""
    parsed = parse_ahs(bytes.fromhex("0006 3f00 1111111111000000") + build_ahs(b"", 9))

    assert (parsed.read_length, parsed.flaw) == (9, AhsFlaw.UNKNOWN_TYPE)


def test_ahs_cdb_over_260_bytes() -> None:
    """A CDB of 261 bytes is refused, and the 16 bytes of the BHS stay (F2)."""
    command = ScsiCommand(cdb=bytes(16))
    ahs = build_ahs(bytes(261), None)
    (pdu,) = read(command.bhs(ahs_words=len(ahs) // 4) + ahs)

    assert isinstance(pdu, ScsiCommand)
    assert (pdu.ahs_flaw, len(pdu.cdb)) == (AhsFlaw.CDB_LENGTH, 16)


@given(st.tuples(*[U32] * 8), st.integers(0, 255), st.integers(0, 255), st.integers(0, 2**24 - 1))
@settings(max_examples=50, deadline=None)
def test_hot_builders_agree_with_the_classes(words: tuple[int, ...], flags: int, status: int, length: int) -> None:
    """The one-pack builders make what the PDU classes make."""
    a, b, c, d, e, f, g, h = words

    assert data_in_bhs(flags, status, length, a, b, c, d, e, f, g, h) == DataIn(
        flags, status, h, a, NO_TAG, b, c, d, e, f, g
    ).bhs(data_length=length)
    assert scsi_response_bhs(flags, status, length, a, b, c, d, e, f, g) == ScsiResponse(
        flags, 0, status, 0, a, 0, b, c, d, e, g, f
    ).bhs(data_length=length)
    assert r2t_bhs(a, b, c, d, e, f, g, h, length) == R2T(0x80, a, b, c, d, e, f, g, h, length).bhs()

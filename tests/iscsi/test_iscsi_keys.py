"""Text format and the key table: exact answers to every kind of offer."""

from __future__ import annotations

import base64
import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transports.iscsi.keys import (
    IRRELEVANT,
    KEYS,
    NOT_UNDERSTOOD,
    REJECT,
    Kind,
    Negotiation,
    OperationalParameters,
    OperationalSettings,
    Phase,
)
from transports.iscsi.text import (
    TextBuffer,
    TextError,
    decode_binary,
    decode_text,
    encode_binary,
    encode_text,
    parse_number,
)

NEGOTIATED = sorted(name for name, key in KEYS.items() if key.attribute and key.kind is not Kind.DECLARED_NUMBER)
KEY_NAMES = st.from_regex(r"[A-Za-z][A-Za-z0-9.\-+@_#]{0,62}", fullmatch=True)
VALUES = st.text(st.characters(categories=("L", "N", "P")), max_size=40)


def answer(
    *offers: tuple[str, str], phase: Phase = Phase.OPERATIONAL, discovery: bool = False, **own: object
) -> dict[str, str]:
    negotiation = Negotiation(dataclasses.replace(OperationalSettings(), **own))
    return dict(negotiation.answer(offers, phase, discovery=discovery))


@given(st.dictionaries(KEY_NAMES, VALUES, max_size=20))
@settings(max_examples=100, deadline=None)
def test_text_round_trip(pairs: dict[str, str]) -> None:
    """Pairs come out of the text as they went in, in order."""
    assert decode_text(encode_text(pairs.items())) == list(pairs.items())


@given(st.binary(max_size=300))
@settings(max_examples=300, deadline=None)
def test_text_any_bytes(data: bytes) -> None:
    """Any bytes are pairs or TextError; what is taken encodes to the same pairs."""
    try:
        pairs = decode_text(data)
    except TextError:
        return
    assert decode_text(encode_text(pairs)) == pairs


@given(st.dictionaries(KEY_NAMES, VALUES, max_size=5), st.lists(st.integers(0, 60), max_size=10))
@settings(max_examples=100, deadline=None)
def test_text_cut_by_the_c_bit(pairs: dict[str, str], cuts: list[int]) -> None:
    """Text in several PDUs, cut anywhere, is the same as in one."""
    text = encode_text(pairs.items())
    buffer = TextBuffer()
    for cut in cuts:
        assert buffer.add(text[:cut], more=True) is None
        text = text[cut:]

    assert buffer.add(text, more=False) == list(pairs.items())


@pytest.mark.parametrize("data", [
    b"Key", b"Key\0", b"Key=1", b"=1\0", b"Key=1\0x\0", b"1Key=1\0", b"K ey=1\0", b"Key=\xff\0", b"Key=a\nb\0",
    b"Key=1\0Key=2\0", b"K" * 64 + b"=1\0", b"Key=" + b"x" * 8193 + b"\0", b"K\xc3\xa4y=1\0", b"Key=\x1b[31m\0",
    b"".join(b"K%d=1\0" % n for n in range(65)),
], ids=str)
def test_text_malformed(data: bytes) -> None:
    """What breaks RFC 7143 6.1 is a TextError, never another exception (F7)."""
    with pytest.raises(TextError):
        decode_text(data)


def test_text_longest_key_and_value() -> None:
    """A key of 63 bytes and a value of 8192 bytes are within the format."""
    pairs = [("K" * 63, "x" * 8192), ("Empty", "")]

    assert decode_text(encode_text(pairs)) == pairs


@pytest.mark.parametrize(("text", "number"), [
    ("0", 0), ("1", 1), ("262144", 262144), ("0x40000", 262144), ("0X1f", 31), ("18446744073709551615", 2**64 - 1),
    ("18446744073709551616", None), ("0x10000000000000000", None), ("007", None), ("+1", None), ("-1", None),
    (" 1", None), ("1 ", None), ("1\n", None), ("", None), ("0x", None), ("0b11", None), ("1" * 40, None),
    ("1_000", None), ("٣", None), ("1.0", None), ("1e3", None),
])
def test_number_forms(text: str, number: int | None) -> None:
    """6.1: decimal without leading zero or 0x hex, below 2^64; nothing that int() would take besides (F8)."""
    assert parse_number(text) == number


@given(st.binary(min_size=1, max_size=64))
def test_binary_forms(data: bytes) -> None:
    """Binary values are read in hex and in base64, with or without its padding."""
    encoded = base64.b64encode(data).decode()

    assert decode_binary(encode_binary(data), max_length=64) == data
    assert decode_binary("0X" + data.hex().upper(), max_length=64) == data
    assert decode_binary("0b" + encoded, max_length=64) == data
    assert decode_binary("0B" + encoded.rstrip("="), max_length=64) == data


@pytest.mark.parametrize("text", [
    "", "0x", "0b", "abcd", "0xgg", "0b!!", "0bA", "0bAAAAA", "0x" + "00" * 17, "0b" + "A" * 40, "0x 0", "0b====",
    "0bAA=A", "12", "0bQUJ D",
])
def test_binary_malformed(text: str) -> None:
    """Odd alphabets, impossible lengths and more than was allowed are refused (F12)."""
    assert decode_binary(text, max_length=16) is None


def test_binary_hex_of_odd_length() -> None:
    """6.1: a hex constant of an odd number of digits has a leading zero left out."""
    assert decode_binary("0xabc", max_length=2) == b"\x0a\xbc"


@pytest.mark.parametrize(("name", "offer", "expected"), [
    ("HeaderDigest", "CRC32C,None", "CRC32C"), ("HeaderDigest", "None,CRC32C", "None"),
    ("HeaderDigest", "X-other,CRC32C", "CRC32C"), ("HeaderDigest", "X-other", REJECT), ("HeaderDigest", "", REJECT),
    ("DataDigest", "None", "None"), ("DataDigest", "CRC32C", "CRC32C"), ("DataDigest", "crc32c", REJECT),
    ("MaxConnections", "1", "1"), ("MaxConnections", "8", "1"), ("MaxConnections", "65535", "1"),
    ("MaxConnections", "65536", REJECT), ("MaxConnections", "0", REJECT),
    ("InitialR2T", "Yes", "Yes"), ("InitialR2T", "No", "No"), ("InitialR2T", "yes", REJECT),
    ("ImmediateData", "Yes", "Yes"), ("ImmediateData", "No", "No"), ("ImmediateData", "None", REJECT),
    ("MaxBurstLength", "16776192", "1048576"), ("MaxBurstLength", "0x1000", "4096"),
    ("MaxBurstLength", "511", REJECT), ("MaxBurstLength", "512", "512"), ("MaxBurstLength", "16777215", "1048576"),
    ("MaxBurstLength", "16777216", REJECT), ("MaxBurstLength", "65536~131072", REJECT),
    ("FirstBurstLength", "65536", "65536"), ("FirstBurstLength", "16777215", "262144"),
    ("FirstBurstLength", "1,2", REJECT),
    ("DefaultTime2Wait", "2", "2"), ("DefaultTime2Wait", "3600", "3600"), ("DefaultTime2Wait", "3601", REJECT),
    ("DefaultTime2Retain", "20", "0"), ("DefaultTime2Retain", "-1", REJECT),
    ("MaxOutstandingR2T", "1", "1"), ("MaxOutstandingR2T", "65535", "8"), ("MaxOutstandingR2T", "0", REJECT),
    ("DataPDUInOrder", "No", "Yes"), ("DataPDUInOrder", "Yes", "Yes"), ("DataSequenceInOrder", "No", "Yes"),
    ("ErrorRecoveryLevel", "0", "0"), ("ErrorRecoveryLevel", "2", "0"), ("ErrorRecoveryLevel", "9", REJECT),
    ("TaskReporting", "FastAbort,ResponseFence,RFC3720", "RFC3720"), ("TaskReporting", "FastAbort", REJECT),
    ("iSCSIProtocolLevel", "2", "2"), ("iSCSIProtocolLevel", "31", "2"), ("iSCSIProtocolLevel", "1", "1"),
    ("iSCSIProtocolLevel", "32", REJECT),
    ("OFMarker", "Yes", "No"), ("IFMarker", "No", "No"), ("OFMarkInt", "2048~8192", REJECT), ("IFMarkInt", "1", REJECT),
    ("X-com.example.key", "1", NOT_UNDERSTOOD), ("X#key", "1", NOT_UNDERSTOOD), ("Whatever", "1", NOT_UNDERSTOOD),
    ("TargetAlias", "me", REJECT), ("TargetAddress", "x", REJECT), ("SendTargets", "All", REJECT),
    ("AuthMethod", "None", REJECT), ("MaxRecvDataSegmentLength", "0", REJECT),
    ("MaxRecvDataSegmentLength", "511", REJECT), ("MaxRecvDataSegmentLength", "16777216", REJECT),
])
def test_negotiation_answers(name: str, offer: str, expected: str) -> None:
    """The exact answer to each offer in operational negotiation (F8)."""
    assert answer((name, offer)) == {name: expected}


@pytest.mark.parametrize("name", [key.name for key in KEYS.values() if key.normal_only])
def test_negotiation_irrelevant_in_discovery(name: str) -> None:
    """Keys of normal sessions are Irrelevant in a discovery session, and change nothing (F8)."""
    offer = "Yes" if KEYS[name].kind in (Kind.AND, Kind.OR) else "1"

    assert answer((name, offer), discovery=True) == {name: IRRELEVANT}


@pytest.mark.parametrize("word", [REJECT, IRRELEVANT, NOT_UNDERSTOOD])
@pytest.mark.parametrize("name", ["HeaderDigest", "InitialR2T", "MaxBurstLength", "X-any"])
def test_negotiation_reserved_words_as_offers(name: str, word: str) -> None:
    """6.2: Reject, Irrelevant and NotUnderstood as proposed values are protocol errors (F8)."""
    with pytest.raises(TextError):
        answer((name, word))


def test_negotiation_twice_in_a_login() -> None:
    """A key is negotiated once in a login (F8)."""
    negotiation = Negotiation(OperationalSettings())
    negotiation.answer([("MaxBurstLength", "65536")], Phase.OPERATIONAL, discovery=False)

    with pytest.raises(TextError):
        negotiation.answer([("MaxBurstLength", "1024")], Phase.OPERATIONAL, discovery=False)


@pytest.mark.parametrize("name", NEGOTIATED)
def test_negotiation_after_login(name: str) -> None:
    """What is for the login only is answered Reject in full feature phase, and keeps its value (F8)."""
    negotiation = Negotiation(OperationalSettings())
    before = negotiation.parameters.as_dict()

    assert negotiation.answer([(name, "1")], Phase.FULL_FEATURE, discovery=False) == [(name, REJECT)]
    assert negotiation.parameters.as_dict() == before


def test_negotiation_maximum_length_declared_anew() -> None:
    """MaxRecvDataSegmentLength may be declared at any time, again and again; a declaration has no answer."""
    negotiation = Negotiation(OperationalSettings())
    for length in ("4096", "65536"):
        assert negotiation.answer(
            [("MaxRecvDataSegmentLength", length)], Phase.FULL_FEATURE, discovery=False
        ) == []

    assert negotiation.parameters.max_send_data_segment_length == 65536


@pytest.mark.parametrize("name", NEGOTIATED)
def test_negotiation_operational_keys_wait_for_their_stage(name: str) -> None:
    """Operational keys in the security stage are answered Reject and keep their default."""
    assert answer((name, "1"), phase=Phase.SECURITY) == {name: REJECT}


@pytest.mark.parametrize("offers", [
    (("FirstBurstLength", "262144"), ("MaxBurstLength", "4096")),
    (("MaxBurstLength", "4096"), ("FirstBurstLength", "262144")),
])
def test_negotiation_first_burst_within_max_burst(offers: tuple[tuple[str, str], ...]) -> None:
    """FirstBurstLength never exceeds MaxBurstLength, whichever comes first; answers keep the order (F8)."""
    negotiation = Negotiation(OperationalSettings())
    answers = negotiation.answer(offers, Phase.OPERATIONAL, discovery=False)

    assert [name for name, _ in answers] == [name for name, _ in offers]
    assert dict(answers) == {"FirstBurstLength": "4096", "MaxBurstLength": "4096"}


def test_negotiation_default_first_burst_within_max_burst() -> None:
    """A FirstBurstLength that is not negotiated is held to the negotiated MaxBurstLength."""
    negotiation = Negotiation(OperationalSettings())
    negotiation.answer([("MaxBurstLength", "512")], Phase.OPERATIONAL, discovery=False)

    assert negotiation.parameters.first_burst_length == 512


def test_negotiation_first_burst_irrelevant_without_unsolicited_data() -> None:
    """13.14: FirstBurstLength is irrelevant when InitialR2T=Yes and ImmediateData=No."""
    answers = answer(("FirstBurstLength", "65536"), ("InitialR2T", "Yes"), ("ImmediateData", "No"))

    assert answers["FirstBurstLength"] == IRRELEVANT


def test_negotiation_long_values() -> None:
    """Values of what is no list are held to 255 bytes (F7)."""
    with pytest.raises(TextError):
        answer(("MaxBurstLength", "1" * 256))
    assert answer(("HeaderDigest", "X," * 4000 + "None")) == {"HeaderDigest": "None"}


OFFERS = st.lists(
    st.tuples(
        st.sampled_from([*sorted(KEYS), "X-a", "Zzz"]),
        st.sampled_from(("Yes", "No", "None", "CRC32C", "", "0", "1", "512", "8192", "65536", "16777215", "0x200"))
        | st.text(st.characters(codec="utf-8", exclude_categories=("C",)), max_size=12),
    ),
    max_size=40,
    unique_by=lambda pair: pair[0],
)


@given(OFFERS, st.sampled_from(Phase), st.booleans())
@settings(max_examples=300, deadline=None)
def test_negotiation_any_offers_keep_the_invariants(
    offers: list[tuple[str, str]], phase: Phase, discovery: bool
) -> None:
    """Whatever is offered: legal parameters, at most one answer for each offer, and never beyond our own part."""
    own = OperationalSettings()
    negotiation = Negotiation(own)
    try:
        answers = negotiation.answer(offers, phase, discovery=discovery)
    except TextError:
        return
    parameters = negotiation.parameters

    assert [name for name, _ in answers] == [name for name, _ in offers if name in dict(answers)]
    assert 512 <= parameters.first_burst_length <= parameters.max_burst_length < 1 << 24
    assert 512 <= parameters.max_send_data_segment_length < 1 << 24
    assert (parameters.error_recovery_level, parameters.max_connections) == (0, 1)
    assert 1 <= parameters.max_outstanding_r2t <= own.max_outstanding_r2t
    assert parameters.header_digest in ("None", "CRC32C")
    assert parameters.data_pdu_in_order
    assert parameters.data_sequence_in_order


SETTINGS = st.builds(
    OperationalSettings,
    header_digest=st.sampled_from((("None",), ("CRC32C", "None"), ("None", "CRC32C"))),
    data_digest=st.sampled_from((("None",), ("CRC32C", "None"))),
    initial_r2t=st.booleans(),
    immediate_data=st.booleans(),
    max_recv_data_segment_length=st.integers(512, 2**24 - 1),
    max_burst_length=st.integers(512, 2**24 - 1),
    first_burst_length=st.integers(512, 2**24 - 1),
    default_time2wait=st.integers(0, 3600),
    default_time2retain=st.integers(0, 3600),
    max_outstanding_r2t=st.integers(1, 65535),
    data_pdu_in_order=st.booleans(),
    data_sequence_in_order=st.booleans(),
    protocol_level=st.integers(0, 31),
)


@given(SETTINGS, SETTINGS, st.booleans())
@settings(max_examples=200, deadline=None)
def test_negotiation_both_sides_agree(
    initiator: OperationalSettings, target: OperationalSettings, discovery: bool
) -> None:
    """Two sides of any settings come to the same parameters, each declaring its own maximum length."""
    theirs, ours = Negotiation(initiator), Negotiation(target)
    answers = ours.answer(theirs.propose(discovery=discovery), Phase.OPERATIONAL, discovery=discovery)
    theirs.accept(answers + ours.declare())
    seen, held = theirs.parameters.as_dict(), ours.parameters.as_dict()
    seen["max_recv_data_segment_length"], seen["max_send_data_segment_length"] = (
        seen["max_send_data_segment_length"], seen["max_recv_data_segment_length"]
    )

    assert seen == held


@pytest.mark.parametrize("pair", [
    ("MaxBurstLength", "16777215"), ("InitialR2T", "perhaps"), ("ErrorRecoveryLevel", "1"), ("HeaderDigest", "MD5"),
    ("MaxRecvDataSegmentLength", "1"), ("ImmediateData", "1"), ("DataPDUInOrder", "No"),
])
def test_negotiation_impossible_answers(pair: tuple[str, str]) -> None:
    """An initiator refuses an answer that no target's value can give."""
    negotiation = Negotiation(OperationalSettings())
    negotiation.propose(discovery=False)

    with pytest.raises(TextError):
        negotiation.accept([pair])


def test_negotiation_rejected_keys_keep_their_defaults() -> None:
    """An initiator that is answered Reject, Irrelevant or NotUnderstood keeps the default."""
    negotiation = Negotiation(OperationalSettings())
    negotiation.propose(discovery=False)
    negotiation.accept([("MaxBurstLength", REJECT), ("iSCSIProtocolLevel", NOT_UNDERSTOOD), ("InitialR2T", IRRELEVANT)])

    defaults = OperationalParameters()
    assert negotiation.parameters.max_burst_length == defaults.max_burst_length
    assert negotiation.parameters.protocol_level == defaults.protocol_level
    assert negotiation.parameters.initial_r2t


def test_key_table_has_a_clause_for_each_key() -> None:
    """Every row says where its rule is; every negotiated key has a default and a setting."""
    parameters, own = OperationalParameters(), OperationalSettings()
    for key in KEYS.values():
        assert key.clause
        if key.attribute:
            assert hasattr(parameters, key.attribute)
        if key.name in NEGOTIATED:
            assert hasattr(own, key.attribute)

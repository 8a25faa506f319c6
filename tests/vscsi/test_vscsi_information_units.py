"""Information units, queue elements and datagrams: against their construct definitions, round trip, truncation."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from scsiemu.formats import srp
from transports.vscsi import mad
from transports.vscsi.codes import ResponseFlags
from transports.vscsi.crq import CrqElement
from transports.vscsi.descriptors import NO_DATA, DataDescriptor, Segment, direct, indirect
from transports.vscsi.information_units import (
    AerRequest,
    AerResponse,
    CommandIu,
    CreditRequest,
    CreditResponse,
    InformationUnit,
    InitiatorLogout,
    InvalidFields,
    IuError,
    LoginReject,
    LoginRequest,
    LoginResponse,
    ResponseIu,
    TargetLogout,
    TaskManagement,
    decode,
)

U8 = st.integers(0, 0xFF)
U16 = st.integers(0, 0xFFFF)
U32 = st.integers(0, 0xFFFF_FFFF)
U64 = st.integers(0, 0xFFFF_FFFF_FFFF_FFFF)
S32 = st.integers(-(1 << 31), (1 << 31) - 1)
PORT = st.binary(min_size=16, max_size=16)
SEGMENT = st.builds(Segment, U64, st.integers(0, 1 << 20), U32)


@st.composite
def descriptors(draw: st.DrawFn) -> DataDescriptor:
    """A data descriptor of any kind."""
    match draw(st.integers(0, 2)):
        case 0:
            return NO_DATA
        case 1:
            return direct(draw(U64), draw(U32))
    segments = tuple(draw(st.lists(SEGMENT, min_size=1, max_size=12)))
    inline = draw(st.one_of(st.none(), st.integers(0, len(segments))))
    return indirect(segments, draw(U64), inline=inline)


@st.composite
def commands(draw: st.DrawFn) -> CommandIu:
    """A command with or without additional CDB bytes."""
    cdb = draw(st.binary(min_size=16, max_size=16)) + draw(st.binary(max_size=63)) * 4
    return CommandIu(
        draw(U64), draw(U64), cdb[: 16 + (len(cdb) - 16) // 4 * 4], draw(descriptors()), draw(descriptors()),
        draw(st.integers(0, 7)), draw(U8),
    )


RESPONSES = st.builds(
    ResponseIu, U64, U8, S32,
    st.sampled_from([0, ResponseFlags.DATA_IN_UNDER, ResponseFlags.DATA_OUT_OVER | ResponseFlags.DATA_IN_OVER]),
    U32, U32, st.binary(max_size=252), st.one_of(st.none(), U8), U8,
)

UNITS: st.SearchStrategy[InformationUnit] = st.one_of(
    commands(),
    RESPONSES,
    st.builds(LoginRequest, U64, U32, U16, st.integers(0, 3), PORT, PORT),
    st.builds(LoginResponse, U64, S32, U32, U32, U16, st.integers(0, 3)),
    st.builds(LoginReject, U64, U32, U16),
    st.builds(InitiatorLogout, U64),
    st.builds(TargetLogout, U64, U32, U8),
    st.builds(TaskManagement, U64, U64, U8, U64, U8),
    st.builds(CreditRequest, U64, S32, U8),
    st.builds(CreditResponse, U64),
    st.builds(AerRequest, U64, U64, st.binary(max_size=252), S32, U8),
    st.builds(AerResponse, U64),
)


@settings(max_examples=300)
@given(UNITS)
def test_iu_round_trip(unit: InformationUnit) -> None:
    """What was encoded is decoded, also from a view and with bytes behind it."""
    raw = unit.encode()

    assert decode(raw) == unit
    assert decode(memoryview(raw + b"behind")) == unit


@settings(max_examples=300)
@given(UNITS)
def test_iu_oracle(unit: InformationUnit) -> None:
    """The construct definition reads what we write, field by field, and writes the same."""
    raw = unit.encode()
    parsed = srp.IU[raw[0]].parse(raw)

    assert srp.IU[raw[0]].build(parsed) == raw
    assert parsed.tag == unit.tag
    compare(unit, parsed)


def compare(unit: InformationUnit, parsed: Any) -> None:
    """Fields of a unit against those of the definition."""
    match unit:
        case CommandIu():
            assert (parsed.lun, parsed.attribute.code) == (unit.lun, unit.attribute)
            assert parsed.cdb + parsed.additional_cdb == unit.cdb
            assert parsed.formats.data_out == unit.data_out.format
            assert parsed.formats.data_in == unit.data_in.format
            for descriptor, found in ((unit.data_out, parsed.data_out), (unit.data_in, parsed.data_in)):
                if descriptor.table is not None:
                    assert found.table.data_length == descriptor.table.length
                    assert found.total_length == descriptor.length
                    assert [entry.virtual_address for entry in found.partial_list] == [
                        segment.address for segment in descriptor.segments
                    ]
                elif descriptor.segments:
                    assert found.virtual_address == descriptor.segments[0].address
                    assert found.data_length == descriptor.length
        case ResponseIu():
            flags = parsed.flags
            assert (parsed.status, parsed.request_limit_delta) == (unit.status, unit.request_limit_delta)
            assert flags.diunder == bool(unit.flags & 0x20)
            assert flags.diover == bool(unit.flags & 0x10)
            assert flags.dounder == bool(unit.flags & 0x08)
            assert flags.doover == bool(unit.flags & 0x04)
            assert (parsed.sense or b"") == unit.sense
            assert (None if parsed.response_data is None else parsed.response_data[3]) == unit.response_code
            assert (parsed.data_out_residual, parsed.data_in_residual) == (
                unit.data_out_residual, unit.data_in_residual,
            )
        case LoginRequest():
            assert parsed.requested_iu_length == unit.max_iu_length
            assert parsed.required_buffer_formats == unit.formats
            assert parsed.flags.multichannel_action == unit.multichannel
            assert parsed.initiator_port_identifier == unit.initiator_port
            assert parsed.target_port_identifier == unit.target_port
        case LoginResponse():
            assert parsed.request_limit_delta == unit.request_limit_delta
            assert parsed.max_initiator_iu_length == unit.max_initiator_iu
            assert parsed.max_target_iu_length == unit.max_target_iu
            assert parsed.supported_buffer_formats == unit.formats
        case LoginReject() | TargetLogout():
            assert parsed.reason == unit.reason
        case TaskManagement():
            assert (parsed.lun, parsed.function, parsed.task_tag) == (unit.lun, unit.function, unit.task_tag)
        case AerRequest():
            assert (parsed.lun, parsed.sense) == (unit.lun, unit.sense)
        case CreditRequest():
            assert parsed.request_limit_delta == unit.request_limit_delta
        case _:
            pass


@settings(max_examples=150)
@given(UNITS)
def test_iu_truncation(unit: InformationUnit) -> None:
    """At each shorter length it is a unit or one of the two errors; where a tag is known it is the right one."""
    raw = unit.encode()
    tags = set()
    for length in range(len(raw)):
        try:
            tags.add(decode(raw[:length]).tag)
        except InvalidFields as error:
            tags.add(error.tag)
        except IuError:
            continue

    assert tags <= {unit.tag}


@settings(max_examples=400)
@given(st.binary(max_size=300))
@example(b"\x02" + bytes(4) + b"\x22\xff\xff" + bytes(400))
@example(b"\xc1" + bytes(17) + b"\x03" + bytes(5) + b"\xff" * 12)
def test_iu_hostile(data: bytes) -> None:
    """Any bytes are a unit or an error of ours."""
    try:
        unit = decode(data)
    except (IuError, InvalidFields):
        return

    assert unit.tag == int.from_bytes(data[8:16], "big")


@pytest.mark.parametrize(
    ("length", "count", "total", "good"),
    [(16, 1, 512, True), (16, 1, 511, False), (24, 1, 512, False), (16, 2, 512, False), (0, 0, 0, True),
     (32, 1, 9999, True), (4097 * 16, 0, 512, False)],
)
def test_iu_indirect_descriptor_fields(length: int, count: int, total: int, good: bool) -> None:
    """A table is whole descriptors, not more than there may be; inline they make the total length."""
    iu = bytearray(CommandIu(7, 0, bytes(16)).encode())
    iu[5], iu[7] = 0x02, count
    iu += (0x1000).to_bytes(8, "big") + bytes(4) + length.to_bytes(4, "big") + total.to_bytes(4, "big")
    iu += (bytes(12) + (512).to_bytes(4, "big")) * 2

    if good:
        assert isinstance(decode(iu), CommandIu)
    else:
        with pytest.raises(InvalidFields) as caught:
            decode(iu)
        assert caught.value.tag == 7


def test_iu_additional_cdb_reserved_bits() -> None:
    """Reserved bits of ADDITIONAL CDB LENGTH are no information unit."""
    iu = bytearray(CommandIu(7, 0, bytes(20)).encode())
    iu[31] |= 1

    with pytest.raises(IuError):
        decode(iu)


@given(st.builds(CrqElement, U8, U8, U8, U16, U16, U64))
def test_crq_element_oracle(element: CrqElement) -> None:
    """Elements are what their definition says, and come back."""
    raw = element.encode()
    parsed = srp.CRQ_ELEMENT.parse(raw)

    assert CrqElement.decode(raw) == element
    assert srp.CRQ_ELEMENT.build(parsed) == raw
    assert (parsed.valid, parsed.format, parsed.status, parsed.timeout) == element[:4]
    assert (parsed.iu_length, parsed.iu_data_pointer) == element[4:]


NAMES = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=30)


@given(st.integers(0, 7), U64, U16, U16, U64)
def test_mad_oracle(kind: int, tag: int, status: int, length: int, buffer: int) -> None:
    """Datagrams are what their definition says, and come back."""
    value = mad.Mad(kind, tag, status, length, buffer)
    parsed = srp.MAD.parse(value.encode())

    assert mad.decode_mad(value.encode()) == value
    assert (parsed.type, parsed.tag, parsed.status, parsed.length, parsed.buffer) == (kind, tag, status, length, buffer)


@given(NAMES, U32, U32, st.lists(U32, min_size=8, max_size=8))
def test_mad_adapter_info_oracle(name: str, number: int, os_type: int, ports: list[int]) -> None:
    """ADAPTER INFO is 148 bytes of these fields."""
    info = mad.AdapterInfo(name, number, os_type, tuple(ports))
    raw = info.encode()
    parsed = srp.ADAPTER_INFO.parse(raw)

    assert len(raw) == 148
    assert mad.decode_adapter_info(raw) == info
    assert (parsed.partition_number, parsed.os_type, list(parsed.port_max_transfer)) == (number, os_type, ports)
    assert parsed.partition_name.rstrip(b"\0").decode() == name


@given(U32, NAMES, st.lists(st.builds(mad.Capability, U32, U16, U32), max_size=5))
def test_mad_capabilities_oracle(flags: int, name: str, entries: list[mad.Capability]) -> None:
    """CAPABILITIES is a head and a list."""
    value = mad.Capabilities(flags, name, "", tuple(entries))
    parsed = srp.CAPABILITIES.parse(value.encode())

    assert mad.decode_capabilities(value.encode()) == value
    assert [(entry.type, entry.server_support) for entry in parsed.list] == [
        (entry.type, entry.support) for entry in entries
    ]


@given(st.binary(max_size=200))
def test_mad_hostile(data: bytes) -> None:
    """Any bytes are a datagram, a buffer, or an error of ours."""
    for parse in (mad.decode_mad, mad.decode_adapter_info, mad.decode_capabilities):
        try:
            parse(data)
        except mad.MadError:
            continue

"""Sense data: both encodings against construct, against sg_decode_sense, cut at every length."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scsiemu import asc
from scsiemu.formats.sense import DESCRIPTOR_SENSE, FIELD_POINTER, FIXED_SENSE
from scsiemu.sense import (
    CheckCondition,
    FieldPointer,
    Progress,
    RetryCount,
    Sense,
    SenseCode,
    SenseKey,
    decode_sense,
)

KEYS_WITH_POINTER = (SenseKey.ILLEGAL_REQUEST,)
KEYS_WITH_PROGRESS = (SenseKey.NO_SENSE, SenseKey.NOT_READY)
KEYS_WITH_RETRIES = (SenseKey.RECOVERED_ERROR, SenseKey.MEDIUM_ERROR, SenseKey.HARDWARE_ERROR)


@st.composite
def senses(draw: st.DrawFn) -> Sense:
    """Sense values that both formats can carry whole."""
    key = draw(st.integers(0, 15))
    specifics: list[st.SearchStrategy[FieldPointer | Progress | RetryCount]] = []
    number = st.integers(0, 0xFFFF)
    if key in KEYS_WITH_POINTER:
        bit = st.none() | st.integers(0, 7)
        specifics.append(st.builds(FieldPointer, number, bit, st.booleans()))
    if key in KEYS_WITH_PROGRESS:
        specifics.append(st.builds(Progress, number))
    if key in KEYS_WITH_RETRIES:
        specifics.append(st.builds(RetryCount, number))
    return Sense(
        SenseCode(key, draw(st.integers(0, 255)), draw(st.integers(0, 255))),
        information=draw(st.none() | st.integers(0, 0xFFFF_FFFF)),
        command_specific=draw(st.none() | st.integers(1, 0xFFFF_FFFF)),
        specific=draw(st.none() | st.one_of(specifics)) if specifics else None,
        deferred=draw(st.booleans()),
        filemark=draw(st.booleans()),
        eom=draw(st.booleans()),
        ili=draw(st.booleans()),
        fru=draw(st.integers(0, 255)),
    )


@given(senses(), st.booleans())
def test_sense_round_trip(sense: Sense, descriptor: bool) -> None:
    """What was encoded is decoded, in either format."""
    assert decode_sense(sense.encode(descriptor=descriptor)) == sense


@given(senses(), st.booleans())
@settings(max_examples=50)
def test_sense_cut_at_every_length(sense: Sense, descriptor: bool) -> None:
    """Cut sense data never raises; from four bytes (14 in the fixed format) on the code is right."""
    raw = sense.encode(descriptor=descriptor)

    for length in range(len(raw)):
        found = decode_sense(raw[:length])
        if length >= (4 if descriptor else 14):
            assert found is not None
            assert found.code == sense.code


@given(st.binary(max_size=300))
def test_sense_decode_any_bytes(raw: bytes) -> None:
    """Any bytes are sense data or are not; none raise."""
    found = decode_sense(raw)

    assert (found is None) == (not raw or raw[0] & 0x7F not in (0x70, 0x71, 0x72, 0x73))


@given(senses())
def test_sense_fixed_is_construct(sense: Sense) -> None:
    """The fixed format, field by field, as construct reads it."""
    raw = sense.encode(descriptor=False)

    found = FIXED_SENSE.parse(raw)

    assert len(raw) == 18
    assert found.additional_sense_length == 10
    assert (found.sense_key, found.additional_sense_code, found.additional_sense_code_qualifier) == (
        sense.code.key, sense.code.asc, sense.code.ascq,
    )
    assert found.response_code == 0x70 + sense.deferred
    assert found.valid == (sense.information is not None)
    assert found.information == (sense.information or 0)
    assert found.command_specific_information == (sense.command_specific or 0)
    assert (found.filemark, found.eom, found.ili) == (sense.filemark, sense.eom, sense.ili)
    assert found.field_replaceable_unit_code == sense.fru
    assert found.sksv == (sense.specific is not None)
    assert FIXED_SENSE.build(found) == raw


@given(senses())
def test_sense_descriptor_is_construct(sense: Sense) -> None:
    """The descriptor format: header, and each descriptor once with its fields, as construct reads them."""
    raw = sense.encode(descriptor=True)

    found = DESCRIPTOR_SENSE.parse(raw)

    assert found.header.additional_sense_length == len(raw) - 8
    assert found.header.response_code == 0x72 + sense.deferred
    assert (found.header.sense_key, found.header.additional_sense_code) == (sense.code.key, sense.code.asc)
    by_type = {descriptor.descriptor_type: descriptor.data for descriptor in found.descriptors}
    assert len(by_type) == len(found.descriptors)
    assert (0x00 in by_type) == (sense.information is not None)
    if sense.information is not None:
        assert (by_type[0].valid, by_type[0].information) == (True, sense.information)
    assert (0x01 in by_type) == (sense.command_specific is not None)
    if sense.command_specific is not None:
        assert by_type[1].command_specific_information == sense.command_specific
    assert (0x02 in by_type) == (sense.specific is not None)
    assert (0x03 in by_type) == bool(sense.fru)
    assert DESCRIPTOR_SENSE.build(found) == raw


@given(st.integers(0, 0xFFFF), st.none() | st.integers(0, 7), st.booleans())
def test_sense_field_pointer_is_construct(byte: int, bit: int | None, in_cdb: bool) -> None:
    """The field pointer's bits are where SPC-5 table 51 has them, in both formats."""
    sense = Sense(asc.INVALID_FIELD_IN_CDB, specific=FieldPointer(byte, bit, in_cdb))

    fixed = FIELD_POINTER.parse(sense.encode(descriptor=False)[15:18])
    descriptor = FIELD_POINTER.parse(sense.encode(descriptor=True)[12:15])

    assert fixed == descriptor
    assert (fixed.sksv, fixed.command_data, fixed.field_pointer) == (True, in_cdb, byte)
    assert (fixed.bpv, fixed.bit_pointer) == (bit is not None, bit or 0)


def test_sense_information_too_long_for_fixed() -> None:
    """SPC-5 4.4.3: information that 32 bits cannot hold leaves VALID zero; the descriptor has 64 bits."""
    sense = Sense(asc.UNRECOVERED_READ_ERROR, information=1 << 40)

    assert FIXED_SENSE.parse(sense.encode(descriptor=False)).valid is False
    assert decode_sense(sense.encode(descriptor=True)) == sense


@pytest.mark.parametrize(("descriptor", "expected"), [(False, 0xFFFF_FFFE), (True, 0xFFFF_FFFF_FFFF_FFFE)])
def test_sense_information_negative(descriptor: bool, expected: int) -> None:
    """SSC-5: the residual of a tape is signed, in two's complement of the field's width."""
    found = decode_sense(Sense(asc.FILEMARK_DETECTED, information=-2).encode(descriptor=descriptor))

    assert found is not None
    assert found.information == expected


def test_sense_ili_descriptor_type() -> None:
    """ILI of a tape is in the stream commands descriptor, that of READ LONG in the block commands one."""
    tape = Sense(asc.NO_ADDITIONAL_SENSE_INFORMATION, ili=True).encode(descriptor=True)
    disk = Sense(asc.INVALID_FIELD_IN_CDB, ili=True).encode(descriptor=True)

    assert tape[8:12] == bytes.fromhex("04020020")
    assert disk[8:12] == bytes.fromhex("05020020")


def test_sense_check_condition_carries_sense() -> None:
    """The exception's arguments are the fields of its sense."""
    refused = CheckCondition(asc.LOGICAL_UNIT_NOT_READY_FORMAT_IN_PROGRESS, progress=0x8000, information=1)

    assert refused.status == 0x02
    assert refused.sense == Sense(
        asc.LOGICAL_UNIT_NOT_READY_FORMAT_IN_PROGRESS, information=1, specific=Progress(0x8000)
    )


@pytest.mark.oracle
@pytest.mark.parametrize("descriptor", [False, True])
def test_sense_sg_decode_sense_agrees(descriptor: bool, require_tool: Callable[[str], str]) -> None:
    """sg_decode_sense reads key, code, information, field pointer and progress as they were meant."""
    tool = require_tool("sg_decode_sense")
    cases = [
        (
            Sense(asc.INVALID_FIELD_IN_CDB, specific=FieldPointer(7, 2)),
            [r"Illegal Request", r"Invalid field in cdb", r"byte 7 bit 2"],
        ),
        (
            Sense(asc.UNRECOVERED_READ_ERROR, information=0x1234),
            [r"Medium Error", r"Unrecovered read error", r"0x0*1234"],
        ),
        (
            Sense(asc.LOGICAL_UNIT_NOT_READY_FORMAT_IN_PROGRESS, specific=Progress(0x8000)),
            [r"Not Ready", r"(?i)format in progress", r"50\.\d*%|Progress indication: 50"],
        ),
        (Sense(asc.FILEMARK_DETECTED, filemark=True, eom=True), [r"Filemark detected", r"(?i)fmk|filemark", r"EOM"]),
        (Sense(asc.INVALID_FIELD_IN_CDB, ili=True), [r"ILI|Incorrect Length Indicator"]),
        (Sense(asc.WRITE_ERROR, deferred=True), [r"deferred"]),
    ]

    for sense, patterns in cases:
        command = [tool, *sense.encode(descriptor=descriptor).hex(" ").split()]
        out = subprocess.run(command, capture_output=True, text=True, check=False).stdout
        for pattern in patterns:
            assert re.search(pattern, out), out

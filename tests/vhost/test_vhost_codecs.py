"""Codecs of vhost-user and virtio-scsi: against construct definitions, truncated at each length, and hostile."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scsiemu.formats import virtio_scsi as formats
from scsiemu.lun import REPORT_LUNS_W_LUN, encode
from transports.vhost.layouts import (
    Configuration,
    ControlRequest,
    Event,
    RequestHeader,
    decode_configuration,
    decode_control,
    decode_event,
    decode_notification_response,
    decode_request,
    decode_response,
    encode_notification_response,
    encode_response,
    lun_field,
    lun_of,
)
from transports.vhost.messages import (
    PAYLOAD_LIMIT,
    ConfigPayload,
    Region,
    RingAddresses,
    RingState,
    VhostError,
    decode_config,
    decode_header,
    decode_region,
    decode_ring_addresses,
    decode_ring_state,
    decode_table,
    decode_u64,
    encode_config,
    encode_message,
    encode_region,
    encode_table,
    encode_u64,
)

U8, U16, U32, U64 = (st.integers(0, (1 << bits) - 1) for bits in (8, 16, 32, 64))
LUN = st.binary(min_size=8, max_size=8)
REGIONS = st.builds(
    Region, st.integers(0, 1 << 62), st.integers(1, 1 << 40), st.integers(0, 1 << 62), st.integers(0, 1 << 40)
)


@given(LUN, U64, U8, U8, U8, st.binary(min_size=32, max_size=32))
def test_request_oracle(lun: bytes, tag: int, attribute: int, priority: int, crn: int, cdb: bytes) -> None:
    """A request is what the definition says."""
    built = formats.REQUEST.build(
        {"lun": lun, "tag": tag, "task_attribute": attribute, "priority": priority, "crn": crn, "cdb": cdb}
    )
    header = RequestHeader(lun, tag, attribute, priority, crn)

    assert header.encode(cdb) == built
    assert decode_request(built) == (header, cdb)


@given(U8, U8, U32, st.binary(max_size=120), U16)
def test_response_oracle(response: int, status: int, residual: int, sense: bytes, qualifier: int) -> None:
    """A response is what the definition says; sense data is cut at its size."""
    kept = sense[:96]
    built = formats.RESPONSE.build({
        "sense_length": len(kept), "residual": residual, "status_qualifier": qualifier, "status": status,
        "response": response, "sense": kept.ljust(96, b"\0"),
    })

    assert encode_response(response, status, residual, sense, qualifier) == built
    assert decode_response(built) == (response, status, residual, qualifier, kept)


@given(LUN, U32, U64, st.sampled_from((1, 2)), U32, U32)
def test_control_oracle(lun: bytes, function: int, tag: int, kind: int, events: int, reason: int) -> None:
    """Requests of the control queue, their responses, and events are what the definitions say."""
    managed = formats.TASK_MANAGEMENT.build({"type": 0, "subtype": function, "lun": lun, "tag": tag})
    asked = formats.NOTIFICATION.build({"type": kind, "lun": lun, "event_requested": events})
    event = formats.EVENT.build({"event": events, "lun": lun, "reason": reason})

    assert decode_control(managed) == ControlRequest(0, lun, function, tag)
    assert ControlRequest(0, lun, function, tag).encode() == managed
    assert decode_control(asked) == ControlRequest(kind, lun, events=events)
    assert ControlRequest(kind, lun, events=events).encode() == asked
    assert decode_event(event) == Event(events, lun, reason)
    assert Event(events, lun, reason).encode() == event
    answer = formats.NOTIFICATION_RESPONSE.build({"event_actual": events, "response": 12})
    assert encode_notification_response(events, 12) == answer
    assert decode_notification_response(answer) == (events, 12)
    for data in (managed, asked):
        assert all(decode_control(data[:length]) is None for length in range(len(data)))


@given(st.lists(U32, min_size=8, max_size=8), U16, U16)
def test_configuration_oracle(numbers: list[int], channel: int, target: int) -> None:
    """The configuration space is what the definition says."""
    configuration = Configuration(*numbers[:7], channel, target, numbers[7])
    fields = dict(zip(configuration._fields, configuration, strict=True))

    assert configuration.encode() == formats.CONFIGURATION.build(fields)
    assert decode_configuration(configuration.encode()) == configuration


@given(U32, st.binary(max_size=64), st.sampled_from((0, 8)))
def test_message_oracle(request: int, payload: bytes, flags: int) -> None:
    """A message is what the definition says."""
    built = formats.MESSAGE.build({"request": request, "flags": flags | 1, "size": len(payload), "payload": payload})

    assert encode_message(request, payload, flags) == built
    header = decode_header(built[:12])
    assert (header.request, header.size, header.need_reply) == (request, len(payload), bool(flags & 8))


@given(U32, U32, st.lists(U64, min_size=4, max_size=4), st.lists(REGIONS, min_size=1, max_size=8))
def test_payloads_oracle(ring: int, flags: int, numbers: list[int], regions: list[Region]) -> None:
    """Ring addresses and memory tables are what the definitions say; the others are read as they were written."""
    addresses = RingAddresses(ring, flags, *numbers)
    table = encode_table(tuple(regions))

    assert addresses.encode() == formats.RING_ADDRESSES.build(dict(zip(addresses._fields, addresses, strict=True)))
    assert decode_ring_addresses(addresses.encode()) == addresses
    assert table == formats.MEMORY_TABLE.build(
        {"count": len(regions), "regions": [dict(zip(Region._fields, region, strict=True)) for region in regions]}
    )
    assert decode_table(table) == tuple(regions)
    assert decode_region(encode_region(regions[0])) == regions[0]
    assert decode_ring_state(RingState(ring, flags).encode()) == (ring, flags)
    assert decode_u64(encode_u64(numbers[0])) == numbers[0]
    config = ConfigPayload(20, 0, bytes(8))
    assert decode_config(encode_config(config)) == config


DECODERS: tuple[tuple[Any, bytes], ...] = (
    (decode_u64, bytes(8)),
    (decode_ring_state, bytes(8)),
    (decode_ring_addresses, bytes(40)),
    (decode_table, encode_table((Region(0, 4096, 0, 0),))),
    (decode_region, encode_region(Region(0, 4096, 0, 0))),
    (decode_config, encode_config(ConfigPayload(0, 0, bytes(8)))),
)


@pytest.mark.parametrize(("decode", "payload"), DECODERS)
def test_payload_truncated(decode: Any, payload: bytes) -> None:
    """A payload that is cut short at any length is an error of the front end."""
    decode(payload)
    for length in range(len(payload)):
        with pytest.raises(VhostError):
            decode(payload[:length])


@given(st.sampled_from([decode for decode, _ in DECODERS]), st.binary(max_size=300))
def test_payload_hostile(decode: Any, payload: bytes) -> None:
    """Any bytes are a payload or an error of the front end."""
    try:
        decode(payload)
    except VhostError:
        pass


@given(st.binary(min_size=12, max_size=12))
def test_header_hostile(data: bytes) -> None:
    """A header that is taken has a payload within bounds."""
    try:
        header = decode_header(data)
    except VhostError:
        return
    assert header.size <= PAYLOAD_LIMIT


@given(st.integers(0, 255), st.integers(0, 16383))
def test_lun_round_trip(target: int, number: int) -> None:
    """A LUN goes out by the flat space method, and comes back as the same unit's."""
    field = lun_field(target, encode(number))

    assert field == bytes((1, target, 0x40 | number >> 8, number & 0xFF, 0, 0, 0, 0))
    assert lun_of(field) == (target, (0x4000 | number) << 48)


def test_lun_forms() -> None:
    """The well-known LUN has a form of its own; a first byte that is neither is nobody's."""
    assert lun_of(bytes.fromhex("c101000000000000")) == (0, REPORT_LUNS_W_LUN)
    assert lun_of(bytes.fromhex("0105c10100000000")) == (5, REPORT_LUNS_W_LUN)
    assert lun_of(bytes.fromhex("0100000700000000")) == (0, encode(7))
    assert lun_of(bytes(8)) is None
    assert lun_of(bytes.fromhex("c102000000000000")) is None
    with pytest.raises(ValueError, match="six bytes"):
        lun_field(0, 1)

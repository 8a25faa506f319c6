"""Structures of sg and bsg against the same ones laid out by the C rules of ctypes."""

from __future__ import annotations

import ctypes as c

from hypothesis import given, settings
from hypothesis import strategies as st

from transports.devnode.abi import V3_SIZE, V4_SIZE, SgHeader, SgV4, request_info, scsi_id


class CHeader(c.Structure):
    """struct sg_io_hdr as scsi/sg.h declares it."""

    _fields_ = (
        ("interface_id", c.c_int), ("dxfer_direction", c.c_int), ("cmd_len", c.c_ubyte), ("mx_sb_len", c.c_ubyte),
        ("iovec_count", c.c_ushort), ("dxfer_len", c.c_uint), ("dxferp", c.c_void_p), ("cmdp", c.c_void_p),
        ("sbp", c.c_void_p), ("timeout", c.c_uint), ("flags", c.c_uint), ("pack_id", c.c_int),
        ("usr_ptr", c.c_void_p), ("status", c.c_ubyte), ("masked_status", c.c_ubyte), ("msg_status", c.c_ubyte),
        ("sb_len_wr", c.c_ubyte), ("host_status", c.c_ushort), ("driver_status", c.c_ushort), ("resid", c.c_int),
        ("duration", c.c_uint), ("info", c.c_uint),
    )


class CV4(c.Structure):
    """struct sg_io_v4 as linux/bsg.h declares it."""

    _fields_ = (
        ("guard", c.c_int32), ("protocol", c.c_uint32), ("subprotocol", c.c_uint32), ("request_len", c.c_uint32),
        ("request", c.c_uint64), ("request_tag", c.c_uint64), ("request_attr", c.c_uint32),
        ("request_priority", c.c_uint32), ("request_extra", c.c_uint32), ("max_response_len", c.c_uint32),
        ("response", c.c_uint64), ("dout_iovec_count", c.c_uint32), ("dout_xfer_len", c.c_uint32),
        ("din_iovec_count", c.c_uint32), ("din_xfer_len", c.c_uint32), ("dout_xferp", c.c_uint64),
        ("din_xferp", c.c_uint64), ("timeout", c.c_uint32), ("flags", c.c_uint32), ("usr_ptr", c.c_uint64),
        ("spare_in", c.c_uint32), ("driver_status", c.c_uint32), ("transport_status", c.c_uint32),
        ("device_status", c.c_uint32), ("retry_delay", c.c_uint32), ("info", c.c_uint32), ("duration", c.c_uint32),
        ("response_len", c.c_uint32), ("din_resid", c.c_int32), ("dout_resid", c.c_int32),
        ("generated_tag", c.c_uint64), ("spare_out", c.c_uint32), ("padding", c.c_uint32),
    )


@settings(max_examples=50)
@given(st.binary(min_size=V3_SIZE, max_size=V3_SIZE))
def test_sg_header_decodes_as_c(raw: bytes) -> None:
    """Each field that a program fills in is where the C structure has it."""
    ours, theirs = SgHeader(raw), CHeader.from_buffer_copy(raw)

    inputs = [name for name, _ in CHeader._fields_[:13]]
    assert {name: getattr(ours, name) for name in inputs} == {name: getattr(theirs, name) or 0 for name in inputs}
    assert c.sizeof(CHeader) == V3_SIZE


def test_sg_header_encodes_as_c() -> None:
    """Each field that a program reads is where the C structure has it."""
    ours = SgHeader(bytes(V3_SIZE))
    outputs = {name: number for number, (name, _) in enumerate(CHeader._fields_[13:], 1)}
    for name, number in outputs.items():
        setattr(ours, name, number)
    theirs = CHeader.from_buffer_copy(ours.encode())

    assert {name: getattr(theirs, name) for name in outputs} == outputs


@settings(max_examples=50)
@given(st.binary(min_size=V4_SIZE, max_size=V4_SIZE))
def test_sg_v4_decodes_as_c(raw: bytes) -> None:
    """Each field that a program fills in is where the C structure has it."""
    ours, theirs = SgV4(raw), CV4.from_buffer_copy(raw)

    inputs = [name for name, _ in CV4._fields_[:21]]
    assert {name: getattr(ours, name) for name in inputs} == {name: getattr(theirs, name) for name in inputs}
    assert c.sizeof(CV4) == V4_SIZE


def test_sg_v4_encodes_as_c() -> None:
    """Each field that a program reads is where the C structure has it."""
    ours = SgV4(bytes(V4_SIZE))
    outputs = {name: number for number, (name, _) in enumerate(CV4._fields_[21:31], 1)}
    for name, number in outputs.items():
        setattr(ours, name, number)
    theirs = CV4.from_buffer_copy(ours.encode())

    assert {name: getattr(theirs, name) for name in outputs} == outputs


def test_sg_small_structures_sizes() -> None:
    """struct sg_scsi_id has 32 bytes, struct sg_req_info 24."""
    assert len(scsi_id(1, 2, 3, 4, 0)) == 32
    assert len(request_info(2, owned=False, problem=True, pack_id=-5, usr_ptr=1 << 63, duration=7)) == 24

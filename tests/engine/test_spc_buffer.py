"""READ BUFFER and WRITE BUFFER."""

from __future__ import annotations

import pytest
from engine_spc_unit import World
from hypothesis import given, settings
from hypothesis import strategies as st

from scsiemu import asc
from scsiemu.sense import FieldPointer
from scsiemu.spc_buffer import BUFFER_CAPACITY, ECHO_CAPACITY

DATA, DESCRIPTOR, ECHO, ECHO_DESCRIPTOR, ERROR_HISTORY = 0x02, 0x03, 0x0A, 0x0B, 0x1C


def test_read_buffer_descriptor() -> None:
    """The descriptor tells the capacity of buffer 0; other buffers are described by zeros."""
    one = World().one

    for name in ("READ BUFFER(10)", "READ BUFFER(16)"):
        assert one.command(name, mode=DESCRIPTOR).data == bytes((0, 1, 0, 0))
        assert one.command(name, mode=DESCRIPTOR, buffer_id=1).data == bytes(4)


@given(st.lists(st.tuples(st.integers(0, BUFFER_CAPACITY), st.binary(max_size=40)), max_size=6))
@settings(max_examples=40, deadline=None)
def test_write_buffer_data_model(writes: list[tuple[int, bytes]]) -> None:
    """The buffer is what a bytearray of zeros would be; a write past its end is refused and changes nothing."""
    one = World().one
    model = bytearray(BUFFER_CAPACITY)
    for offset, data in writes:
        result = one.command("WRITE BUFFER", mode=DATA, buffer_offset=offset, data_out=data)
        assert result.good == (offset + len(data) <= BUFFER_CAPACITY)
        if result.good:
            model[offset : offset + len(data)] = data

    assert one.command("READ BUFFER(10)", mode=DATA, data_in=BUFFER_CAPACITY).data == model
    assert one.command("READ BUFFER(16)", mode=DATA, buffer_offset=7, data_in=9).data == model[7:16]


def test_read_buffer_data_bounds() -> None:
    """Reading stops at the end of the buffer; an offset beyond it is refused."""
    one = World().one

    assert one.command("READ BUFFER(10)", mode=DATA, buffer_offset=BUFFER_CAPACITY - 3, data_in=10).data == bytes(3)
    result = one.command("READ BUFFER(10)", mode=DATA, buffer_offset=BUFFER_CAPACITY + 1, data_in=10)
    assert result.code == asc.INVALID_FIELD_IN_CDB
    assert result.sense is not None
    assert result.sense.specific == FieldPointer(3)


def test_read_buffer_echo() -> None:
    """The echo buffer gives back what the same nexus wrote, and no other nexus can overwrite it (EBOS)."""
    world = World()

    assert world.one.command("READ BUFFER(10)", mode=ECHO).code == asc.COMMAND_SEQUENCE_ERROR
    assert world.one.command("WRITE BUFFER", mode=ECHO, data_out=b"hello").good
    assert world.two.command("WRITE BUFFER", mode=ECHO, data_out=b"other").good
    assert world.one.command("READ BUFFER(10)", mode=ECHO).data == b"hello"
    assert world.one.command("READ BUFFER(10)", mode=ECHO, data_in=2).data == b"he"
    assert world.one.command("READ BUFFER(10)", mode=ECHO_DESCRIPTOR).data == bytes((1, 0, 0x10, 0))


def test_write_buffer_echo_too_long() -> None:
    """More than the echo buffer holds is refused."""
    one = World().one

    assert one.command("WRITE BUFFER", mode=ECHO, data_out=bytes(ECHO_CAPACITY)).good
    assert one.command("WRITE BUFFER", mode=ECHO, data_out=bytes(ECHO_CAPACITY + 1)).code == asc.INVALID_FIELD_IN_CDB


def test_read_buffer_error_history_directory() -> None:
    """The error history directory has its vendor, no snapshot, and itself as only entry."""
    data = World().one.command("READ BUFFER(10)", mode=ERROR_HISTORY).data

    assert len(data) == 40
    assert data[:8] == b"SCSIEMU "
    assert data[30:] == bytes.fromhex("0008 00000000 00000028")


def test_read_buffer_error_history_ids() -> None:
    """00h to 03h give the directory, FEh and FFh clear and give nothing, others are not there (SPC-5 6.19.8)."""
    one = World().one
    directory = one.command("READ BUFFER(10)", mode=ERROR_HISTORY).data

    for buffer_id in range(256):
        result = one.command("READ BUFFER(16)", mode=ERROR_HISTORY, buffer_id=buffer_id)
        if buffer_id in (0, 1, 2, 3):
            assert result.data == directory
        elif buffer_id in (0xFE, 0xFF):
            assert (result.good, result.data) == (True, b"")
        else:
            assert result.code == asc.INVALID_FIELD_IN_CDB


@pytest.mark.parametrize("mode", [0x00, 0x01, 0x04, 0x05, 0x06, 0x07, 0x0D, 0x0E, 0x0F, 0x1A])
def test_write_buffer_refuses_modes(mode: int) -> None:
    """Microcode cannot be downloaded: the mode is refused at its field."""
    result = World().one.command("WRITE BUFFER", mode=mode, data_out=bytes(4))

    assert result.code == asc.INVALID_FIELD_IN_CDB
    assert result.sense is not None
    assert result.sense.specific == FieldPointer(1, 4)


def test_write_buffer_reset() -> None:
    """A reset empties the buffers."""
    world = World()
    world.one.command("WRITE BUFFER", mode=DATA, data_out=b"x")
    world.one.command("WRITE BUFFER", mode=ECHO, data_out=b"x")
    world.server.reset("logical unit reset")

    assert world.one.command("READ BUFFER(10)", mode=DATA, data_in=1).data == b"\0"
    assert world.one.command("READ BUFFER(10)", mode=ECHO).code == asc.COMMAND_SEQUENCE_ERROR

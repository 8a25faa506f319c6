"""Cartridge memory: READ and WRITE ATTRIBUTE, what is kept, whose it is, what is refused."""

from __future__ import annotations

import struct

import pytest
from vt_bench import Bench, add_drive

from iohandlers._shelf import Shelf
from iohandlers.memory import open_store
from scsiemu import asc
from scsiemu.testing.initiator import Result

SIZE = (2 << 20) + 131072


def encode(*attributes: tuple[int, int, bytes]) -> bytes:
    """A parameter list of identifier, format, value."""
    body = b"".join(struct.pack(">HBH", number, form, len(value)) + value for number, form, value in attributes)
    return len(body).to_bytes(4, "big") + body


def write(bench: Bench, data: bytes, **fields: int) -> Result:
    """WRITE ATTRIBUTE."""
    return bench.do("WRITE ATTRIBUTE", data_out=data, **fields)


def values(bench: Bench, **fields: int) -> dict[int, tuple[int, bytes]]:
    """READ ATTRIBUTE values: READ ONLY and FORMAT as one byte, and the value, by identifier."""
    result = bench.do("READ ATTRIBUTE", **fields)
    assert result.good, result
    assert int.from_bytes(result.data[:4], "big") == len(result.data) - 4
    found, at = {}, 4
    while at < len(result.data):
        number, flags, length = struct.unpack_from(">HBH", result.data, at)
        found[number] = (flags, result.data[at + 5 : at + 5 + length])
        at += 5 + length
    assert list(found) == sorted(found)
    return found


def test_attribute_host_values_come_back_and_stay() -> None:
    """Text, ASCII and binary host attributes, from the next READ on and in another drive."""
    store = open_store(size=SIZE)
    bench = Bench(store=store)
    wanted = encode((0x0801, 1, b"backup".ljust(32)), (0x0803, 2, "Bänder".encode()), (0x0805, 0, b"\x81"))
    assert write(bench, wanted).good
    expected = {0x0801: (1, b"backup".ljust(32)), 0x0803: (2, "Bänder".encode()), 0x0805: (0, b"\x81")}
    assert values(bench, first_attribute=0x0801) == expected
    again = Bench(store=store)

    assert values(again, first_attribute=0x0801) == expected
    assert write(again, encode((0x0803, 2, b""))).good
    assert set(values(again, first_attribute=0x0801)) == {0x0801, 0x0805}


def test_attribute_values_begin_where_asked_and_are_cut() -> None:
    """FIRST ATTRIBUTE IDENTIFIER has to exist; ALLOCATION LENGTH cuts, the length does not change."""
    bench = Bench()
    assert set(values(bench)) >= {0, 1, 2, 3, 4, 5, 6, 7, 9, 0x20A, 0x220, 0x221, 0x222, 0x223, *range(0x400, 0x406)}
    assert min(values(bench, first_attribute=0x0400)) == 0x0400
    assert bench.do("READ ATTRIBUTE", first_attribute=8).code == asc.INVALID_FIELD_IN_CDB
    whole = bench.do("READ ATTRIBUTE").data
    assert bench.do("READ ATTRIBUTE", data_in=17).data == whole[:17]


def test_attribute_lists() -> None:
    """The list, the logical volumes, the partitions, and what is supported; other service actions are none."""
    bench = Bench(partitions=(1, 1))
    listed = bench.do("READ ATTRIBUTE", service_action=1).data
    assert [int.from_bytes(listed[at : at + 2], "big") for at in range(4, len(listed), 2)] == list(values(bench))
    assert bench.do("READ ATTRIBUTE", service_action=2).data == bytes((0, 2, 0, 1))
    assert bench.do("READ ATTRIBUTE", service_action=3).data == bytes((0, 2, 0, 2))
    supported = bench.do("READ ATTRIBUTE", service_action=5).data
    codes = {int.from_bytes(supported[at : at + 2], "big") for at in range(4, len(supported), 2)}
    assert codes >= {*values(bench), *range(0x0800, 0x080D)}
    for action in (4, 6, 31):
        assert bench.do("READ ATTRIBUTE", service_action=action).code == asc.INVALID_FIELD_IN_CDB


def test_attribute_per_partition() -> None:
    """VOLUME COHERENCY INFORMATION is each partition's own, MEDIA POOL is the cartridge's; capacities differ."""
    bench = Bench(partitions=(1, 3), size=8 << 20)
    for number in (0, 1):
        assert write(bench, encode((0x080C, 0, b"coherent %d" % number)), partition=number).good
    assert write(bench, encode((0x0808, 2, b"pool")), partition=1).good
    for number in (0, 1):
        found = values(bench, partition=number)
        assert found[0x080C] == (0, b"coherent %d" % number)
        assert found[0x0808] == (2, b"pool")
        assert int.from_bytes(found[1][1], "big") == (2, 6)[number]
    assert bench.do("READ ATTRIBUTE", partition=2).code == asc.INVALID_FIELD_IN_CDB
    assert write(bench, encode((0x080C, 0, b"x")), partition=2).code == asc.INVALID_FIELD_IN_CDB


def test_attribute_made_from_state() -> None:
    """Capacity, loads, bytes, density and who loaded it; they are read only."""
    store = open_store(size=8 << 20)
    bench = Bench(store=store, barcode="A00001L8")
    bench.write(bytes(3 << 20))
    bench.mark()
    found = values(bench)
    assert all(flags & 0x80 for number, (flags, _) in found.items() if number < 0x0800)
    assert found[0x0000][1] == (4).to_bytes(8, "big")
    assert found[0x0003][1] == (1).to_bytes(8, "big")
    assert found[0x0006][1] == found[0x0405][1] == b"\x5e"
    assert found[0x0220][1] == found[0x0222][1] == (3).to_bytes(8, "big")
    assert found[0x0806] == (1, b"A00001L8".ljust(32))
    me = found[0x020A][1]
    assert me.startswith(b"SCSIEMU ")
    bench.do("LOAD UNLOAD")
    bench.do("LOAD UNLOAD", load=1)
    again = values(bench)

    assert again[0x0003][1] == (2).to_bytes(8, "big")
    assert again[0x020A][1] == again[0x020B][1] == me
    assert again[0x0222][1] == bytes(8)
    assert again[0x0220][1] == (3).to_bytes(8, "big")


@pytest.mark.parametrize("told", [0, 17, 1000])
def test_attribute_data_length_is_ignored(told: int) -> None:
    """What PARAMETER DATA LENGTH says of a list does not count: LTFS has four too many in it."""
    bench = Bench()
    assert write(bench, told.to_bytes(4, "big") + encode((0x0800, 1, b"vendor  "))[4:]).good
    assert values(bench)[0x0800] == (1, b"vendor  ")


def test_attribute_volume_change_reference() -> None:
    """It changes with what is on the tape, and with nothing else."""
    bench = Bench()

    def reference() -> bytes:
        return values(bench)[9][1]

    empty = reference()
    write(bench, encode((0x0808, 2, b"pool")))
    assert reference() == empty
    bench.write(b"one")
    one = reference()
    assert one != empty
    bench.rewind()
    bench.read()
    assert reference() == one
    bench.rewind()
    bench.write(b"two")
    assert reference() not in (one, empty)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"\0\0\0", asc.PARAMETER_LIST_LENGTH_ERROR),
        (encode((0x0801, 1, b"x" * 32))[:-1], asc.PARAMETER_LIST_LENGTH_ERROR),
        (encode((0x0400, 1, b"x" * 8)), asc.INVALID_FIELD_IN_PARAMETER_LIST),           # read only
        (encode((0x0850, 0, b"x")), asc.INVALID_FIELD_IN_PARAMETER_LIST),               # there is none
        (encode((0x0801, 0, b"x" * 32)), asc.INVALID_FIELD_IN_PARAMETER_LIST),          # its format is ASCII
        (encode((0x0801, 1, b"x" * 31)), asc.INVALID_FIELD_IN_PARAMETER_LIST),          # its length is 32
        (encode((0x0803, 2, b"x" * 161)), asc.INVALID_FIELD_IN_PARAMETER_LIST),
        (encode((0x0801, 1, b"x" * 32), (0x0800, 1, b"x" * 8)), asc.INVALID_FIELD_IN_PARAMETER_LIST),   # order
        (encode(*((0x1400 + n, 0, b"x" * 4096) for n in range(15))), asc.AUXILIARY_MEMORY_OUT_OF_SPACE),
    ],
)
def test_attribute_refused_list_changes_nothing(data: bytes, code: object) -> None:
    """A list with something wrong in it is refused as a whole."""
    bench = Bench()
    first = encode((0x0800, 1, b"good    "))
    mixed = len(first[4:] + data[4:]).to_bytes(4, "big") + first[4:] + data[4:] if len(data) > 4 else data
    before = values(bench)

    assert write(bench, data).code == code
    assert not write(bench, mixed).good
    assert values(bench) == before


def test_attribute_needs_a_cartridge_but_not_its_tape() -> None:
    """Held, the memory can be read and written; without a cartridge there is none."""
    bench = Bench()
    bench.do("LOAD UNLOAD", hold=1)
    ready = bench.do("TEST UNIT READY")
    assert ready.code == asc.MEDIUM_NOT_PRESENT_MEDIUM_AUXILIARY_MEMORY_ACCESSIBLE
    assert write(bench, encode((0x0808, 2, b"pool"))).good
    assert values(bench)[0x0808] == (2, b"pool")
    bench.do("LOAD UNLOAD")
    assert bench.do("READ ATTRIBUTE").code == asc.MEDIUM_NOT_PRESENT


def test_attribute_lives_with_the_cartridge() -> None:
    """What one drive of a shelf writes into the memory, the next drive reads."""
    shelf = Shelf({"A00001": open_store(size=SIZE), "A00002": open_store(size=SIZE)})
    bench = Bench(store=shelf.drive(), shelf=True)
    other = add_drive(bench.target, 1, store=shelf.drive(), shelf=True)
    bench.drive.insert("A00001")
    bench.initiator.clear_attentions()
    assert write(bench, encode((0x0808, 2, b"mine"))).good
    assert values(bench)[0x0806] == (1, b"A00001".ljust(32))
    bench.do("LOAD UNLOAD")
    name = bench.drive.remove()
    other.server.insert(name)  # type: ignore[attr-defined]  # a tape drive
    for _ in range(4):
        bench.do("TEST UNIT READY", lun=1)          # takes its attentions away
    result = bench.do("READ ATTRIBUTE", lun=1, first_attribute=0x0808)
    assert result.data[4:] == struct.pack(">HBH", 0x0808, 2, 4) + b"mine"
    bench.drive.insert("A00002")
    bench.initiator.clear_attentions()
    assert 0x0808 not in values(bench)


def test_media_serial_number() -> None:
    """READ MEDIA SERIAL NUMBER and attribute 0401h agree."""
    bench = Bench()
    data = bench.do("READ MEDIA SERIAL NUMBER").data

    assert int.from_bytes(data[:4], "big") == len(data) - 4
    assert data[4:] == values(bench)[0x0401][1]

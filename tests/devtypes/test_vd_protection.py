"""Protection information of the virtual disk: kept, made and checked (SBC-4 4.21)."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from vd_bench import Bench

from devtypes.vd.protection import crc_t10, interleave, invert, make_protection, separate
from scsiemu import asc
from scsiemu.sense import SenseCode, SenseKey

BLOCK = 512


def slow_crc(data: bytes) -> int:
    """The CRC bit by bit, from its polynomial 18BB7h."""
    crc = 0
    for byte in data:
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1 ^ 0x18BB7) if crc & 0x8000 else crc << 1
    return crc


def protected(data: bytes, lba: int, *, guard: int | None = None, tag: int = 0, reference: int | None = None) -> bytes:
    """One block as it is transferred with protection information."""
    tags = struct.pack(
        ">HHI", crc_t10(data) if guard is None else guard, tag, lba if reference is None else reference
    )
    return data + tags


@pytest.mark.parametrize(
    ("data", "crc"),
    [(bytes(32), 0x0000), (b"\xff" * 32, 0xA293), (bytes(range(32)), 0x0224), (b"\xff\xff" + bytes(30), 0x21B8)],
)
def test_crc_examples_of_the_standard(data: bytes, crc: int) -> None:
    """SBC-4 table 22."""
    assert crc_t10(data) == crc


@given(st.binary(max_size=64).map(lambda data: data + data))
def test_crc_against_bits(data: bytes) -> None:
    """The table's CRC is the polynomial's."""
    assert crc_t10(data) == slow_crc(data)


@given(st.integers(1, 5), st.binary(min_size=16, max_size=16))
def test_interleave_round_trip(blocks: int, seed: bytes) -> None:
    """`separate` undoes `interleave`, `invert` undoes itself."""
    data, tags = seed * blocks, seed[:8] * blocks

    assert separate(interleave(data, tags, 16), 16) == (data, tags)
    assert invert(invert(tags)) == tags


def test_read_capacity_and_inquiry_tell() -> None:
    """PROT_EN, P_TYPE, PROTECT, SPT and the check bits."""
    for kind in (1, 2, 3):
        bench = Bench(pi_type=kind)
        assert bench.do("READ CAPACITY(16)").data[12] == (kind - 1) << 1 | 1
        assert bench.do("INQUIRY").data[5] & 1
        assert bench.do("INQUIRY", evpd=1, page_code=0x86).data[4] & 0x3F == 0x3F
    assert not Bench().do("INQUIRY").data[5] & 1


@pytest.mark.parametrize("kind", [1, 2, 3])
def test_never_written_reads_ff(kind: int) -> None:
    """Protection information that was never written, or was deallocated, is FFh bytes and is not checked."""
    bench = Bench(pi_type=kind)
    name, fields = ("READ(32)", {}) if kind == 2 else ("READ(16)", {})

    assert bench.do(name, transfer_length=2, protect=1, **fields).data == (bytes(BLOCK) + b"\xff" * 8) * 2
    bench.write(0, b"a" * BLOCK * 8)
    assert bench.do("WRITE SAME(16)", transfer_length=8, unmap=1, data_out=bytes(BLOCK)).good
    assert bench.do(name, transfer_length=1, protect=1, **fields).data == bytes(BLOCK) + b"\xff" * 8


def test_type_1_made_by_the_device_server() -> None:
    """WRPROTECT 000b: guard and, of type 1, the LBA as reference tag."""
    bench = Bench(pi_type=1)
    bench.write(5, b"a" * BLOCK)

    data = bench.do("READ(10)", lba=5, transfer_length=1, protect=1).data

    assert data == protected(b"a" * BLOCK, 5)
    assert bench.read(5) == b"a" * BLOCK


@pytest.mark.parametrize("name", ["WRITE(10)", "WRITE(12)", "WRITE(16)", "WRITE AND VERIFY(10)", "WRITE ATOMIC(16)"])
@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"guard": 1}, asc.LOGICAL_BLOCK_GUARD_CHECK_FAILED),
        ({"reference": 9}, asc.LOGICAL_BLOCK_REFERENCE_TAG_CHECK_FAILED),
    ],
)
def test_type_1_write_checks(name: str, wrong: dict[str, int], code: object) -> None:
    """WRPROTECT 001b checks guard and reference tag; INFORMATION is the LBA, and nothing is written."""
    bench = Bench(pi_type=1)
    data = protected(b"a" * BLOCK, 7) + protected(b"b" * BLOCK, 8, **wrong)

    result = bench.do(name, lba=7, transfer_length=2, protect=1, data_out=data)

    assert result.code == code
    assert result.sense is not None
    assert result.sense.information == 8
    assert bench.read(7, 2) == bytes(2 * BLOCK)


@pytest.mark.parametrize(
    ("protect", "bad_guard", "bad_reference"),
    [(1, False, False), (2, True, False), (3, True, True), (4, False, True), (5, False, False)],
)
def test_type_1_protect_values(protect: int, bad_guard: bool, bad_reference: bool) -> None:
    """Which fields each value of WRPROTECT checks (SBC-4 table 82): these wrong ones pass, others don't."""
    for guard, reference in ((1, None), (None, 77), (1, 77)):
        bench = Bench(pi_type=1)
        block = protected(b"a" * BLOCK, 3, guard=guard, reference=reference)
        good = (guard is None or bad_guard) and (reference is None or bad_reference)
        assert bench.do("WRITE(16)", lba=3, transfer_length=1, protect=protect, data_out=block).good == good


@pytest.mark.parametrize("protect", [6, 7])
def test_protect_reserved(protect: int) -> None:
    """Values 110b and 111b are reserved."""
    for kind, name in ((1, "READ(16)"), (2, "READ(32)"), (3, "WRITE(10)")):
        result = Bench(pi_type=kind).do(name, transfer_length=1, protect=protect, data_out=bytes(520))
        assert result.code == asc.INVALID_FIELD_IN_CDB


def test_read_detects_a_wrong_guard() -> None:
    """Data with a wrong guard on the medium is found by READ, with or without RDPROTECT, but not by 011b or with
    DPICZ (SPC-5 7.5.10)."""
    bench = Bench(pi_type=1)
    block = protected(b"a" * BLOCK, 3, guard=1)
    assert bench.do("WRITE(16)", lba=3, transfer_length=1, protect=3, data_out=block).good

    for protect, code in ((0, asc.LOGICAL_BLOCK_GUARD_CHECK_FAILED), (1, asc.LOGICAL_BLOCK_GUARD_CHECK_FAILED)):
        result = bench.do("READ(16)", lba=3, transfer_length=1, protect=protect)
        assert result.code == code
        assert result.sense is not None
        assert result.sense.information == 3
    assert bench.do("READ(16)", lba=3, transfer_length=1, protect=3).data == block
    assert bench.do("VERIFY(16)", lba=3, transfer_length=1).code == asc.LOGICAL_BLOCK_GUARD_CHECK_FAILED
    bench.disk.set_mode_fields(0x0A, dpicz=1)
    bench.initiator.clear_attentions()
    assert bench.read(3) == b"a" * BLOCK


def test_type_2_short_forms_refused() -> None:
    """Type 2: a PROTECT field other than zero needs the 32-byte form (SBC-4 5.11)."""
    bench = Bench(pi_type=2)

    for name in ("READ(10)", "READ(16)", "WRITE(10)", "VERIFY(12)", "WRITE SAME(16)"):
        result = bench.do(name, transfer_length=1, protect=1, data_out=bytes(520))
        assert result.code == asc.INVALID_COMMAND_OPERATION_CODE
    assert bench.do("WRITE(10)", transfer_length=1, data_out=bytes(512)).good


def test_type_2_expected_tags() -> None:
    """Type 2: the CDB says which reference and application tags to expect, the latter with a mask and only where ATO
    gives them to the application client (SBC-4 5.14)."""
    bench = Bench(pi_type=2)
    first = protected(b"a" * BLOCK, 0, tag=0x1234, reference=1000)
    data = first + protected(b"b" * BLOCK, 0, tag=0x1234, reference=1001)
    fields = {"lba": 9, "transfer_length": 2, "protect": 1, "expected_reference_tag": 1000}

    assert bench.do("WRITE(32)", data_out=data, **fields).good
    assert bench.do("READ(32)", **fields).data == data
    result = bench.do("READ(32)", **{**fields, "expected_reference_tag": 999})
    assert result.code == asc.LOGICAL_BLOCK_REFERENCE_TAG_CHECK_FAILED
    tags = {"expected_application_tag": 0x1299, "application_tag_mask": 0xFF00}
    assert bench.do("READ(32)", **fields, **{**tags, "application_tag_mask": 0xFFFF}).good
    bench.disk.set_mode_fields(0x0A, ato=1)
    bench.initiator.clear_attentions()
    assert bench.do("READ(32)", **fields, **tags).good
    result = bench.do("READ(32)", **fields, **{**tags, "application_tag_mask": 0xFFFF})
    assert result.code == asc.LOGICAL_BLOCK_APPLICATION_TAG_CHECK_FAILED
    assert bench.do("VERIFY(32)", **fields, bytchk=1, data_out=data).good


def miscompare(code: SenseCode) -> SenseCode:
    """The code of a check that failed, as VERIFY tells it of a comparison (SBC-4 5.36)."""
    return asc.with_key(code, SenseKey.MISCOMPARE)


@pytest.mark.parametrize(("protect", "wrong", "code"), [
    (1, {}, None),
    (1, {"guard": 1}, asc.LOGICAL_BLOCK_GUARD_CHECK_FAILED),
    (1, {"reference": 9}, asc.LOGICAL_BLOCK_REFERENCE_TAG_CHECK_FAILED),
    (2, {"guard": 1}, None),
    (2, {"reference": 9}, asc.LOGICAL_BLOCK_REFERENCE_TAG_CHECK_FAILED),
    (3, {}, None),
    (3, {"guard": 1}, miscompare(asc.LOGICAL_BLOCK_GUARD_CHECK_FAILED)),
    (3, {"reference": 9}, miscompare(asc.LOGICAL_BLOCK_REFERENCE_TAG_CHECK_FAILED)),
    (3, {"tag": 5}, None),
    (4, {"guard": 1}, asc.LOGICAL_BLOCK_GUARD_CHECK_FAILED),
    (4, {"reference": 9}, miscompare(asc.LOGICAL_BLOCK_REFERENCE_TAG_CHECK_FAILED)),
    (5, {"guard": 1}, asc.LOGICAL_BLOCK_GUARD_CHECK_FAILED),
])
def test_verify_compares_protection(protect: int, wrong: dict[str, int], code: SenseCode | None) -> None:
    """With BYTCHK what is received is checked as by a write, then compared field by field; ATO zero: the application
    tag is the device server's own and is not compared (SBC-4 5.36)."""
    bench = Bench(pi_type=1)
    bench.write(7, b"v" * BLOCK)
    data = protected(b"v" * BLOCK, 7, **wrong)

    result = bench.do("VERIFY(16)", lba=7, transfer_length=1, bytchk=1, protect=protect, data_out=data)

    assert result.code == code


def test_verify_compares_application_tag_of_its_owner() -> None:
    """With ATO one the application tag is compared; in type 3 the reference tag then is not."""
    for kind, wrong, code in (
        (1, {"tag": 5}, miscompare(asc.LOGICAL_BLOCK_APPLICATION_TAG_CHECK_FAILED)),
        (3, {"tag": 5}, miscompare(asc.LOGICAL_BLOCK_APPLICATION_TAG_CHECK_FAILED)), (3, {"reference": 5}, None),
    ):
        bench = Bench(pi_type=kind)
        bench.disk.set_mode_fields(0x0A, ato=1)
        bench.initiator.clear_attentions()
        fields = {"lba": 7, "transfer_length": 1, "protect": 3}
        assert bench.do("WRITE(16)", data_out=protected(b"v" * BLOCK, 7, tag=1), **fields).good

        result = bench.do("VERIFY(16)", bytchk=1, data_out=protected(b"v" * BLOCK, 7, **{"tag": 1, **wrong}), **fields)

        assert result.code == code


def test_verify_with_protection_leaves_the_medium_unchecked() -> None:
    """What is received with its protection information stands for the check of what is on the medium: with a wrong
    guard in both they are the same (SBC-4 5.36)."""
    bench = Bench(pi_type=1)
    block = protected(b"a" * BLOCK, 3, guard=1)
    fields = {"lba": 3, "transfer_length": 1}
    assert bench.do("WRITE(16)", protect=3, data_out=block, **fields).good

    assert bench.do("VERIFY(16)", bytchk=1, protect=3, data_out=block, **fields).good
    result = bench.do("VERIFY(16)", bytchk=1, data_out=b"a" * BLOCK, **fields)
    assert result.code == asc.LOGICAL_BLOCK_GUARD_CHECK_FAILED


def test_verify_one_block_with_protection() -> None:
    """BYTCHK 11b: the block is repeated as by WRITE SAME, with reference tags that count."""
    bench = Bench(pi_type=1)
    assert bench.do("WRITE SAME(16)", lba=4, transfer_length=3, data_out=b"s" * BLOCK).good
    fields = {"lba": 4, "transfer_length": 3, "bytchk": 3, "protect": 1}

    assert bench.do("VERIFY(16)", data_out=protected(b"s" * BLOCK, 4), **fields).good
    bench.write(6, b"s" * 511 + b"t")
    result = bench.do("VERIFY(16)", data_out=protected(b"s" * BLOCK, 4), **fields)
    assert result.code == asc.MISCOMPARE_DURING_VERIFY_OPERATION
    assert result.sense is not None
    assert result.sense.information == 2 * 520 + 511


def test_type_1_write_same_counts() -> None:
    """WRITE SAME makes reference tags that follow the LBA in type 1 (SBC-4 5.51)."""
    bench = Bench(pi_type=1)

    assert bench.do("WRITE SAME(16)", lba=4, transfer_length=3, data_out=b"s" * BLOCK).good

    data = bench.do("READ(16)", lba=4, transfer_length=3, protect=1).data
    assert data == b"".join(protected(b"s" * BLOCK, lba) for lba in (4, 5, 6))


@pytest.mark.parametrize("protect", [0, 1])
@pytest.mark.parametrize("pi_type", [1, 2, 3])
def test_write_same_without_data(pi_type: int, protect: int) -> None:
    """NDOB stands for zeros with FFh in all of the protection information (SBC-4 5.52), which READ accepts."""
    bench = Bench(pi_type=pi_type)
    size = "32" if pi_type == 2 else "16"
    for lba in (4, 5, 6):
        bench.write(lba, b"s" * BLOCK)

    assert bench.do(f"WRITE SAME({size})", lba=4, transfer_length=3, ndob=1, protect=protect).good

    data = bench.do(f"READ({size})", lba=4, transfer_length=3, protect=1).data
    assert data == (bytes(BLOCK) + b"\xff" * 8) * 3


def test_write_same_unmaps_what_reads_the_same() -> None:
    """UNMAP of zeros unmaps where no protection information came, or FFh; else it is written (SBC-4 5.51)."""
    bench = Bench(pi_type=1)
    kept = protected(bytes(BLOCK), 4)
    fields: dict[str, int] = {"lba": 4, "transfer_length": 2, "unmap": 1}

    assert bench.do("WRITE SAME(16)", protect=1, data_out=kept, **fields).good
    assert bench.do("READ(16)", lba=4, transfer_length=2, protect=1).data == kept + protected(bytes(BLOCK), 5)
    for protect, block in ((1, bytes(BLOCK) + b"\xff" * 8), (0, bytes(BLOCK))):
        assert bench.do("WRITE SAME(16)", protect=protect, data_out=block, **fields).good
        data = bench.do("READ(16)", lba=4, transfer_length=2, protect=1).data
        assert data == (bytes(BLOCK) + b"\xff" * 8) * 2


def test_escapes() -> None:
    """Application tag FFFFh switches checks off in types 1 and 2; in type 3 the reference tag must be all ones too."""
    one = Bench(pi_type=1)
    block = protected(b"a" * BLOCK, 0, guard=1, tag=0xFFFF, reference=9)
    assert one.do("WRITE(16)", transfer_length=1, protect=1, data_out=block).good
    assert one.read(0) == b"a" * BLOCK
    three = Bench(pi_type=3)
    result = three.do("WRITE(16)", transfer_length=1, protect=1, data_out=block)
    assert result.code == asc.LOGICAL_BLOCK_GUARD_CHECK_FAILED
    block = protected(b"a" * BLOCK, 0, guard=1, tag=0xFFFF, reference=0xFFFFFFFF)
    assert three.do("WRITE(16)", transfer_length=1, protect=1, data_out=block).good


def test_compare_and_write_and_orwrite_keep_protection() -> None:
    """Both leave protection information that READ accepts."""
    bench = Bench(pi_type=1)
    bench.write(2, b"\x01" * BLOCK)

    assert bench.do("ORWRITE(16)", lba=2, transfer_length=1, data_out=b"\x02" * BLOCK).good
    old, new = protected(b"\x03" * BLOCK, 2), protected(b"\x04" * BLOCK, 2)
    assert bench.do("COMPARE AND WRITE", lba=2, transfer_length=1, protect=1, data_out=old + new).good

    assert bench.do("READ(16)", lba=2, transfer_length=1, protect=1).data == new


def test_application_tag_mode_page() -> None:
    """With ATO and ATMPE the application tag mode page gives the tag that is written and checked (SBC-4 6.5.3)."""
    bench = Bench(pi_type=1)
    bench.disk.set_mode_fields(0x0A, ato=1, atmpe=1)
    bench.disk.set_mode_fields(0x0A, 0x02, last_0=1, application_tag_0=0xBEEF, lba_0=0, count_0=100)
    bench.initiator.clear_attentions()

    bench.write(1, b"a" * BLOCK)

    assert bench.do("READ(16)", lba=1, transfer_length=1, protect=1).data[-6:-4] == b"\xbe\xef"
    wrong = protected(b"a" * BLOCK, 1, tag=1)
    result = bench.do("WRITE(16)", lba=1, transfer_length=1, protect=1, data_out=wrong)
    assert result.code == asc.LOGICAL_BLOCK_APPLICATION_TAG_CHECK_FAILED


def test_make_protection_types() -> None:
    """Types 2 and 3 get a reference tag of all ones where none was received."""
    for kind, reference in ((1, 6), (2, 0xFFFFFFFF), (3, 0xFFFFFFFF)):
        tags = make_protection(bytes(BLOCK), BLOCK, pi_type=kind, lba=6, application_tag=0)
        assert tags == struct.pack(">HHI", 0, 0, reference)

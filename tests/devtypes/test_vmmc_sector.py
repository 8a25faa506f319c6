"""Sectors of CDs as ECMA-130 has them: checked by the codes' own definitions, not by how they are computed."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from devtypes.vmmc.sector import SYNC, bcd, descramble, from_bcd, lba_to_msf, mode_1_sector, msf_to_lba, xa_sector
from devtypes.vmmc.subchannel import crc_16


def _times(left: int, right: int) -> int:
    product = 0
    for bit in range(8):
        if right >> bit & 1:
            product ^= left << bit
    for bit in range(15, 7, -1):
        if product >> bit & 1:
            product ^= 0x11D << (bit - 8)
    return product


def _syndromes(word: bytes) -> tuple[int, int]:
    """The word as a polynomial at 1 and at the primitive element."""
    at_one = at_two = 0
    for byte in word:
        at_one ^= byte
        at_two = _times(at_two, 2) ^ byte
    return at_one, at_two


def _code_words(body: bytes) -> list[bytes]:
    """P and Q code words of bytes 12 to 2351 (ECMA-130 annex A)."""
    words = []
    for half in (0, 1):
        plane = body[half::2]
        words += [bytes(plane[column + 43 * row] for row in range(26)) for column in range(43)]
        for diagonal in range(26):
            data = bytes(plane[(44 * m + 43 * diagonal) % 1118] for m in range(43))
            words.append(data + bytes((plane[1118 + diagonal], plane[1144 + diagonal])))
    return words


def _remainder(data: bytes) -> int:
    """The division of EDC bit by bit: the first bit of a byte is its lowest."""
    polynomial = _polynomial_product((1 << 16 | 1 << 15 | 1 << 2 | 1), (1 << 16 | 1 << 2 | 1 << 1 | 1))
    value = 0
    for byte in data:
        for bit in range(8):
            value = value << 1 | (byte >> bit & 1)
            if value >> 32:
                value ^= polynomial
    return value


def _polynomial_product(left: int, right: int) -> int:
    product = 0
    while right:
        if right & 1:
            product ^= left
        left <<= 1
        right >>= 1
    return product


@settings(max_examples=5, deadline=None)
@given(st.binary(min_size=2048, max_size=2048), st.integers(0, 300000))
def test_sector_mode_1_codes_are_zero(data: bytes, lba: int) -> None:
    """EDC divides the sector, and every P and Q code word has syndromes of zero."""
    sector = mode_1_sector(lba, data)

    assert len(sector) == 2352
    assert sector[:12] == SYNC
    assert sector[16:2064] == data
    assert _remainder(sector[:2068]) == 0
    assert {_syndromes(word) for word in _code_words(sector[12:])} == {(0, 0)}


@settings(max_examples=5, deadline=None)
@given(st.binary(min_size=2048, max_size=2048), st.integers(0, 300000))
def test_sector_form_1_codes_are_zero(data: bytes, lba: int) -> None:
    """Form 1 leaves the header out of its codes: they hold wherever the sector is."""
    sector = xa_sector(lba, bytes((0, 0, 8, 0)) * 2 + data)

    assert sector[15] == 2
    assert _remainder(sector[16:2076]) == 0
    assert {_syndromes(word) for word in _code_words(bytes(4) + sector[16:])} == {(0, 0)}


def test_sector_form_2_has_edc_alone() -> None:
    """Form 2: 2324 bytes and EDC at the end."""
    sector = xa_sector(0, bytes((0, 0, 0x20, 0)) * 2 + b"x" * 2324)

    assert len(sector) == 2352
    assert _remainder(sector[16:]) == 0


@given(st.integers(-45150, 404849))
def test_sector_times_are_addresses(lba: int) -> None:
    """Every address has its time; 00:02:00 is address 0."""
    assert msf_to_lba(*lba_to_msf(lba)) == lba
    assert lba_to_msf(0) == (0, 2, 0)


@given(st.integers(0, 99))
def test_sector_bcd(number: int) -> None:
    """Two digits there and back."""
    assert from_bcd(bcd(number)) == number


def test_sector_scrambler_of_the_standard() -> None:
    """The sequence begins 01 80 00 60 00 28 (ECMA-130 annex B); scrambling twice is plain again."""
    plain = SYNC + bytes(2340)
    scrambled = descramble(plain)

    assert scrambled[12:18].hex() == "018000600028"
    assert descramble(scrambled) == plain


def test_subchannel_crc_is_ccitt() -> None:
    """The CRC of "123456789" with this polynomial and start is 31C3h, recorded inverted."""
    assert crc_16(b"123456789") == (0x31C3 ^ 0xFFFF).to_bytes(2, "big")

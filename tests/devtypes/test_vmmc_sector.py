"""Sectors of CDs as ECMA-130 has them: checked by the codes' own definitions, not by how they are computed."""

from __future__ import annotations

import pytest
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


# --- an encoder that follows the annexes step by step, and nothing else ---------------------------------------------


def _field() -> tuple[list[int], list[int]]:
    """Powers of the primitive element and their exponents: x^8 + x^4 + x^3 + x^2 + 1 (ECMA-130 annex A)."""
    powers, value = [], 1
    for _ in range(255):
        powers.append(value)
        value = value << 1 ^ (0x11D if value & 0x80 else 0)
    return powers, [powers.index(each) if each else 0 for each in range(256)]


POWERS, EXPONENTS = _field()


def _divided(word: bytes) -> bytes:
    """The two parity bytes of a code word: what is left of it times x^2, divided by (x - 1)(x - a)."""
    generator = (1, 1 ^ POWERS[1], POWERS[1])
    left = [*word, 0, 0]
    for at in range(len(word)):
        if factor := left[at]:
            for step, coefficient in enumerate(generator):
                left[at + step] ^= POWERS[(EXPONENTS[factor] + EXPONENTS[coefficient]) % 255]
    return bytes(left[-2:])


def _slow_parity(covered: bytes) -> bytes:
    """P and Q of bytes 12 to 2075: each of the two planes of the 1032 + 86 words (ECMA-130 annex A)."""
    planes = [bytearray(covered[half::2]) + bytes(138) for half in (0, 1)]
    for plane in planes:
        for n in range(43):
            plane[n + 43 * 24], plane[n + 43 * 25] = _divided(bytes(plane[n + 43 * m] for m in range(24)))
        for n in range(26):
            word = bytes(plane[(44 * m + 43 * n) % 1118] for m in range(43))
            plane[1118 + n], plane[1144 + n] = _divided(word)
    return bytes(byte for pair in zip(*planes, strict=True) for byte in pair)[2064:]


def _slow_edc(data: bytes) -> bytes:
    """The remainder times x^32, its bits in the order in which they are recorded."""
    left = _remainder(data + bytes(4))
    return bytes(sum((left >> (31 - 8 * byte - bit) & 1) << bit for bit in range(8)) for byte in range(4))


@settings(max_examples=10, deadline=None)
@given(st.binary(min_size=2336, max_size=2336), st.integers(0, 300000))
def test_sector_as_the_annexes_have_it(data: bytes, lba: int) -> None:
    """All three kinds of sector, against division by the generator polynomials word by word."""
    mode_1 = mode_1_sector(lba, data[:2048])
    head = mode_1[:2064]
    edc = _slow_edc(head) + bytes(8)
    assert mode_1 == head + edc + _slow_parity(head[12:] + edc)

    form_1 = bytes((1, 2, 8, 3)) * 2 + data[:2048]
    edc = _slow_edc(form_1)
    sector = xa_sector(lba, form_1)
    assert sector[16:] == form_1 + edc + _slow_parity(bytes(4) + form_1 + edc)

    form_2 = bytes((1, 2, 0x20, 3)) * 2 + data[:2324]
    assert xa_sector(lba, form_2)[16:] == form_2 + _slow_edc(form_2)


# What libedc (wodim -raw96r) and cdrdao (generic-mmc-raw) record behind user data: EDC, eight zeros in mode 1, P, Q.
COUNT = bytes(range(256)) * 10
RECORDED = {
    "zeros, 00:02:00": (
        mode_1_sector(0, bytes(2048))[2064:],
        "c513682b000000000000000000f700f50000000000000000000000000000000000000000000000000000000000000000000000000000"
        "00000000000000000000000000000000000000000000000000000000000000005235b87d000000000000000000f500f4000000000000"
        "000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000"
        "000000000000000000009726d0560000000000000000004100000000000000000000000000000000000000002d172e1bb148b2440000"
        "0000000000000000000000000000006500c200e600430000000000000000000000000000000000000000453c5375332b256200000000"
        "000000000000000000000000009000c10012",
    ),
    "count, 00:02:01": (
        mode_1_sector(1, COUNT[:2048])[2064:],
        "b6f2a9830000000000000000421332942172d586590a8ad9f5a6abf883d08fdca6f5e4b78cdf510263305201e9ba4e1d114288db3162"
        "edbe4d1e02516231c99a6c3f00530556dc8f134044174f1ca6f51447e0b36c3fe57986a85606e8b8a5f58fdf8edc2d8a1142d586693a"
        "eab9c596cb9893c0efbcb6e5a4f79ccf712273207221194a6e3de1b288dbc192cd9ebdee22717221e9ba7c2f40131546bcef03502477"
        "7f2cc6952477e0b35c0fb36a1d18b2e3feaf4d1c95c446e94486f12ae20b9d1046037ab2df131b2e5ed697d8da2e3bf328ef4c61269e"
        "81ae776bea90ff4967545276545e2211c7d479b4812ce62542982cc409850541f73eec20dbbf09805f111dc2f0030a55c167dd64351b"
        "d7caf58e9d2a0735a386d9d2ba7d987cbd23",
    ),
    "count, 00:06:19": (
        mode_1_sector(319, COUNT[:2048])[2064:],
        "b282f071000000000000000042e022942172d586590a8ad9f5a6abf883d08fdca6f5e4b78cdf510263305201e9ba4e1d114288db3162"
        "edbe4d1e02516231c99a6c3f00530556dc8f134044174f1ca6f51447e0b36c3fe9e96da35606e8b8a5f58fdf8e2b258a1142d586693a"
        "eab9c596cb9893c0efbcb6e5a4f79ccf712273207221194a6e3de1b288dbc192cd9ebdee22717221e9ba7c2f40131546bcef03502477"
        "7f2cc6952477e0b35c0fbb8aafe1b2e3feaf4d1c95c4466b4486f12ae20b9d1046037ab2df131b2e5ed697d8acb94019fa0e93fd269e"
        "81ae776bea90ff4967545276545e33114128eeca81aae62542982cc409850541f73eec20dbbf09805f1132a7649266dd161bdd64351b"
        "d7caf58e9d2a0735a386d9d2bb7d167332aa",
    ),
    "form 1": (
        xa_sector(0, bytes((0, 0, 8, 0)) * 2 + COUNT[:2048])[2072:],
        "e90cd05959ff7fd9a80e3f6242e43c612172d586590a8ad9f5a6abf883d08fdca6f5e4b78cdf510263305201e9ba4e1d114288db3162"
        "edbe4d1e02516231c99a6c3f00530556dc8f134044174f1ca6f51447e0b36c3f04660ddbbd1a69ce40e72d798e292a7e1142d586693a"
        "eab9c596cb9893c0efbcb6e5a4f79ccf712273207221194a6e3de1b288dbc192cd9ebdee22717221e9ba7c2f40131546bcef03502477"
        "7f2cc6952477e0b35c0f0d8befb113fd68aa3fe400e9a825a7e27fb7410b92b1a3abb0ee02ded53263f2bcc1853d426d928e5e24d164"
        "af8fac540699393f121308fa739dcb08528839d14fc3ce8a428bff3c8b9ad2e78309b96421c7c353e39fa71e220c233e93e847fdb764"
        "141eec81020d6161d387",
    ),
    "form 2": (xa_sector(1, bytes((0, 0, 0x20, 0)) * 2 + COUNT[:2324])[2348:], "bc8dd995"),
}


@pytest.mark.parametrize("name", RECORDED)
def test_sector_as_others_record_it(name: str) -> None:
    """Byte by byte what two programs that know nothing of each other compute."""
    computed, recorded = RECORDED[name]

    assert computed.hex() == recorded


# --- addresses, scrambler, sub-channel Q ----------------------------------------------------------------------------


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


@pytest.mark.parametrize("q", [
    "010101000000000002005a28", "01010000020000000000f0d9", "41010100041900000619cd69", "021234567890123000608777",
    "035154524c1234567020e02e",
])
def test_subchannel_crc_as_others_record_it(q: str) -> None:
    """Q of wodim and of cdrdao: position, catalogue number, ISRC."""
    recorded = bytes.fromhex(q)

    assert crc_16(recorded[:-2]) == recorded[-2:]

"""The arithmetic of OSD security against values that `openssl dgst -sha1 -mac HMAC` gave for the same bytes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from devtypes.osd.security import (
    KeyPair,
    SecurityMethod,
    capability_key,
    data_in_info,
    data_out_info,
    derived_keys,
    initial_master_key,
    request_icv,
    response_icv,
    unwrap,
    wrap,
)

ROOT_SECRET = bytes(range(16)) + b"\x10\x11\x12\x13"
MASTER = KeyPair(
    bytes.fromhex("8153d74d05479cbba2eecdaa22fd94c528462c0b"), bytes.fromhex("29051a0b0c1e6e6d7b1c254d15a37fb221cd0e58")
)
ROOT_KEY = KeyPair(
    bytes.fromhex("378c981ee27f51b0c1131cc29e1dee726566bb85"), bytes.fromhex("74423b50d212801d085c12a6a4b5d9aa032c7e4c")
)
KEY = bytes.fromhex("dc389714c4e658a2dc6274cae3dde57a4b03e98e")
NONCE = bytes.fromhex("0000000000ff010203040506")


def test_vector_keys() -> None:
    """Root secret, master key, root key of a seed, capability key."""
    assert initial_master_key(ROOT_SECRET) == MASTER
    assert derived_keys(MASTER, b"\x11" * 20) == ROOT_KEY
    assert capability_key(ROOT_KEY.authentication, b"\x5a" * 104, b"\xa5" * 20) == KEY


def test_vector_requests() -> None:
    """CAPKEY signs the token, CMDRSP the CDB with zeros for the value itself."""
    cdb = b"\x7f" * 184 + b"\xee" * 32 + b"\x33" * 20
    token = b"\x77" * 20

    capkey = request_icv(SecurityMethod.CAPKEY, KEY, cdb, token, version=2)
    cmdrsp = request_icv(SecurityMethod.CMDRSP, KEY, cdb, token, version=2)
    assert capkey == bytes.fromhex("7b3e95a9bab68565e2ad0277fa83e9bbb1234c98") + bytes(12)
    assert cmdrsp == bytes.fromhex("713468d65f70230671b41204ba97a58aecb729c4") + bytes(12)


def test_vector_responses_and_data() -> None:
    """Responses and data begin with the nonce; counts come before what they count."""
    response = response_icv(KEY, NONCE, 2, b"\xab\xcd\xef", version=1)
    out = data_out_info(KEY, NONCE, b"aaa", b"bb", b"c", version=1)
    came = data_in_info(KEY, NONCE, b"aaa", b"bb", version=1)

    assert response == bytes.fromhex("2b39b127eab945a3adcbd848ab9eb93a8d731b62")
    assert out[24:] == bytes.fromhex("081e2d9a0e2ab6c77a8db0dd548156a238f0fe3c")
    assert came[16:] == bytes.fromhex("392c83806e1fa09e820e0d61d96d6c0739a22599")


@given(st.binary(min_size=88, max_size=88), st.integers(0, 87), st.integers(1, 255))
def test_sealed_keys(noise: bytes, at: int, flip: int) -> None:
    """A sealed key opens with its secret and label alone, and not when any of its bytes was changed."""
    keys = KeyPair(noise[:20], noise[20:40])
    sealed = wrap(ROOT_SECRET, b"label", keys, noise[40:56])
    bent = bytearray(sealed)
    bent[at] ^= flip

    assert unwrap(ROOT_SECRET, b"label", sealed) == keys
    assert unwrap(ROOT_SECRET, b"other", sealed) is None
    assert unwrap(ROOT_SECRET + b"x", b"label", sealed) is None
    assert unwrap(ROOT_SECRET, b"label", bytes(bent)) is None
    assert keys.authentication not in sealed

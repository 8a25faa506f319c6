"""Encrypted blocks as they are stored: AES-256-GCM by the `cryptography` package. Pure computation.

The data of an encrypted record is a header of 28 bytes, the U-KAD, the A-KAD, the ciphertext, and a tag of 16 bytes.

| offset | length | field |
|---|---|---|
| 0 | 1 | 1 |
| 1 | 1 | bit 0: may be read in RAW mode |
| 2 | 1 | KAD FORMAT |
| 3 | 1 | bytes of U-KAD |
| 4 | 1 | bytes of A-KAD |
| 5 | 3 | 0 |
| 8 | 8 | key check: of SHA-256 over a constant, the nonce and the key |
| 16 | 12 | nonce |

The header and the A-KAD are authenticated. The nonce is made from the key, where the block is, and its plain text: it
is never used twice for different blocks.
"""

from __future__ import annotations

import hashlib
import struct
from typing import Any, Final

from devtypes.vt.encryption_pages import Parameters
from scsiemu._value import value
from scsiemu.command import Buffer

__all__ = ["SealedBlock", "WrongKey", "can_encrypt", "open_block", "parse_sealed", "seal_block"]

_HEAD: Final = struct.Struct(">BBBBB3x8s12s")
_VERSION: Final = 1
_TAG: Final = 16


def _find_aesgcm() -> Any:
    """The class, which has no types where the package is not installed; None there."""
    try:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    except ImportError:
        return None
    return AESGCM


_AESGCM: Final = _find_aesgcm()


def can_encrypt() -> bool:
    """Whether the `cryptography` package is there."""
    return _AESGCM is not None


class WrongKey(Exception):
    """A block was encrypted with another key; `damaged`: the key is right and the block is not what it was."""

    def __init__(self, *, damaged: bool) -> None:
        super().__init__()
        self.damaged = damaged


@value
class SealedBlock:
    """The parts of an encrypted block.

    Args:
        raw_readable: it may be read in RAW mode.
        kad_format, u_kad, a_kad: key-associated data.
        key_check, nonce: see the module.
        associated: what is authenticated beside the data.
        body: ciphertext and tag.
    """

    raw_readable: bool
    kad_format: int
    u_kad: bytes
    a_kad: bytes
    key_check: bytes
    nonce: bytes
    associated: bytes
    body: Buffer

    def has_key(self, key: bytes) -> bool:
        """Whether this is the key that it was encrypted with."""
        return len(key) > 0 and _key_check(self.nonce, key) == self.key_check


def seal_block(data: Buffer, parameters: Parameters, place: bytes) -> bytes:
    """A block encrypted with the key of the parameters.

    Args:
        place: which no two blocks of a cartridge's life share, but for the same data.
    """
    key = parameters.key
    nonce = hashlib.sha256(b"scsiemu nonce\0" + key + place + hashlib.sha256(data).digest()).digest()[:12]
    head = _HEAD.pack(
        _VERSION, parameters.raw_readable, parameters.kad_format, len(parameters.u_kad), len(parameters.a_kad),
        _key_check(nonce, key), nonce,
    )
    body: bytes = _AESGCM(key).encrypt(nonce, bytes(data), head + parameters.a_kad)
    return head + parameters.u_kad + parameters.a_kad + body


def parse_sealed(stored: Buffer) -> SealedBlock | None:
    """The parts of an encrypted block; None where it is not one that we know."""
    if len(stored) < _HEAD.size + _TAG:
        return None
    version, flags, kad_format, u_length, a_length, key_check, nonce = _HEAD.unpack_from(stored)
    at = _HEAD.size + u_length + a_length
    if version != _VERSION or len(stored) < at + _TAG:
        return None
    head, kads = bytes(stored[: _HEAD.size]), bytes(stored[_HEAD.size : at])
    u_kad, a_kad = kads[:u_length], kads[u_length:]
    return SealedBlock(bool(flags & 1), kad_format, u_kad, a_kad, key_check, nonce, head + a_kad, stored[at:])


def open_block(sealed: SealedBlock, key: bytes) -> bytes:
    """The plain text. Raises WrongKey."""
    if not sealed.has_key(key):
        raise WrongKey(damaged=False)
    try:
        plain: bytes = _AESGCM(key).decrypt(sealed.nonce, bytes(sealed.body), sealed.associated)
    except Exception as error:  # InvalidTag of a package that may not be there to be named
        raise WrongKey(damaged=True) from error
    return plain


def _key_check(nonce: bytes, key: bytes) -> bytes:
    return hashlib.sha256(b"scsiemu key check\0" + nonce + key).digest()[:8]

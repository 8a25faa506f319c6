"""The pages of tape data encryption: SECURITY PROTOCOL 20h (SSC-5 8.5)."""

from __future__ import annotations

import struct
from typing import Final

from scsiemu import asc
from scsiemu._value import value
from scsiemu.sense import CheckCondition, FieldPointer

__all__ = [
    "KEY_LENGTH", "MOST_A_KAD", "MOST_U_KAD", "CapabilityPages", "DecryptionMode", "EncryptionMode", "EncryptionScope",
    "Parameters", "capabilities", "encode_kads", "page", "parse_set_data_encryption",
]

KEY_LENGTH: Final = 32                      # AES-256
MOST_U_KAD: Final = 32
MOST_A_KAD: Final = 12
_ALGORITHM_INDEX: Final = 1
_AES_256_GCM_128: Final = 0x00010014        # SECURITY ALGORITHM CODE (SPC-5 table 105)
_SET: Final = struct.Struct(">HHBBBBBBB7xH")
_U_KAD: Final = 0x00
_A_KAD: Final = 0x01


class EncryptionScope:
    """SCOPE (SSC-5 table 159)."""

    PUBLIC: Final = 0
    LOCAL: Final = 1
    ALL_NEXUSES: Final = 2


class EncryptionMode:
    """ENCRYPTION MODE (SSC-5 table 162)."""

    DISABLE: Final = 0
    EXTERNAL: Final = 1
    ENCRYPT: Final = 2


class DecryptionMode:
    """DECRYPTION MODE (SSC-5 table 163)."""

    DISABLE: Final = 0
    RAW: Final = 1
    DECRYPT: Final = 2
    MIXED: Final = 3


@value
class Parameters:
    """Logical block encryption parameters. The key is in memory only; `repr` does not show it.

    Args:
        scope: one of `EncryptionScope`.
        encryption, decryption: modes.
        key: 32 bytes, empty where there is none.
        kad_format: KAD FORMAT.
        u_kad, a_kad: key-associated data, unauthenticated and authenticated.
        raw_readable: blocks that are written may be read in RAW mode (RDMC).
        check_mode: CEEM.
        lock: LOCK.
        clear_on_demount, clear_on_preempt, clear_on_loss: CKOD, CKORP, CKORL.
        instance: KEY INSTANCE COUNTER.
    """

    scope: int = EncryptionScope.PUBLIC
    encryption: int = EncryptionMode.DISABLE
    decryption: int = DecryptionMode.DISABLE
    key: bytes = b""
    kad_format: int = 0
    u_kad: bytes = b""
    a_kad: bytes = b""
    raw_readable: bool = False
    check_mode: int = 0
    lock: bool = False
    clear_on_demount: bool = False
    clear_on_preempt: bool = False
    clear_on_loss: bool = False
    instance: int = 0

    def __repr__(self) -> str:
        return f"<encryption parameters {self.instance}: modes {self.encryption} and {self.decryption}>"


def page(code: int, body: bytes) -> bytes:
    """A page with its header."""
    return code.to_bytes(2, "big") + len(body).to_bytes(2, "big") + body


class CapabilityPages:
    """Pages that tell what there is; the same for every drive that encrypts."""

    KEY_FORMATS: Final = b"\x00"                                      # plain text
    MANAGEMENT: Final = bytes((0x01, 0x07, 0x00, 0x07)) + bytes(8)    # LOCK; CKOD, CKORP, CKORL; all three scopes


def capabilities(*, mounted: bool) -> bytes:
    """Data encryption capabilities page (SSC-5 8.5.2.4), with AES-256-GCM as the one algorithm.

    MAC_C, DED_C, decryption and encryption by the device; nonces are made by it; U-KAD and A-KAD of up to so many
    bytes; EXTERNAL is not to be had; reading in RAW mode is off by default and can be controlled.

    Args:
        mounted: AVFMV and AVFCLP: the algorithm is valid for the cartridge, and where the tape stands.
    """
    algorithm = struct.pack(
        ">BxHBBHHHBBHHxxI", _ALGORITHM_INDEX, 20, 0xBA if mounted else 0x3A, 0x98 if mounted else 0x18, MOST_U_KAD,
        MOST_A_KAD, KEY_LENGTH, 0x10 | 4 << 1, 0, 0, 0, _AES_256_GCM_128,
    )
    return bytes((0x05,)) + bytes(15) + algorithm       # not by external control; can be configured here


def encode_kads(u_kad: bytes, a_kad: bytes, *, authenticated: int = 0) -> bytes:
    """Key-associated data descriptors (SSC-5 8.5.4.2). `authenticated`: AUTHENTICATED of the A-KAD."""
    found = b""
    for kind, data in ((_U_KAD, u_kad), (_A_KAD, a_kad)):
        if data:
            status = authenticated if kind == _A_KAD else min(authenticated, 1)
            found += bytes((kind, status)) + len(data).to_bytes(2, "big") + data
    return found


def parse_set_data_encryption(data: bytes) -> Parameters:
    """The parameters of a set data encryption page (SSC-5 8.5.3.2). Raises CheckCondition with the field at fault."""
    if len(data) < _SET.size:
        raise CheckCondition(asc.PARAMETER_LIST_LENGTH_ERROR)
    code, length, byte_4, byte_5, encryption, decryption, index, form, kad_format, key_length = _SET.unpack_from(data)
    if length != len(data) - 4:
        raise CheckCondition(asc.PARAMETER_LIST_LENGTH_ERROR)
    scope = byte_4 >> 5
    if code == 0x0010 and scope == EncryptionScope.PUBLIC and not byte_4 & 0x1E:
        return Parameters(lock=bool(byte_4 & 1))            # all other fields are ignored (SSC-5 table 159)
    encrypting, decrypting = encryption == EncryptionMode.ENCRYPT, decryption in (
        DecryptionMode.DECRYPT, DecryptionMode.MIXED
    )
    idle = encryption == EncryptionMode.DISABLE and decryption == DecryptionMode.DISABLE
    refusals = (
        (code != 0x0010, 0, None),
        (scope > EncryptionScope.ALL_NEXUSES, 4, 7),
        (byte_4 & 0x1E, 4, 4),
        (byte_5 & 0x08, 5, 3),                                  # SDK: no supplemental keys
        (byte_5 >> 4 & 3 == 1, 5, 5),                           # RDMC 01b is reserved
        (byte_5 & 0x80 and decryption == DecryptionMode.DISABLE, 5, 7),     # CEEM 1xb checks what is decrypted
        (encryption not in (EncryptionMode.DISABLE, EncryptionMode.ENCRYPT), 6, None),
        (decryption > DecryptionMode.MIXED, 7, None),
        (index != _ALGORITHM_INDEX and not (idle and index == 0), 8, None),
        (form, 9, None),
        (kad_format > 2, 10, None),
        (any(data[11:18]), 11, None),
        (key_length != KEY_LENGTH and (encrypting or decrypting or key_length), 18, None),
        (len(data) < _SET.size + key_length, 18, None),
    )
    for wrong, byte, bit in refusals:
        if wrong:
            raise _invalid(byte, bit)
    at = _SET.size + key_length
    key = data[_SET.size : at] if encrypting or decrypting else b""     # some send zeros with DISABLE
    u_kad, a_kad = _parse_kads(data, at, allowed=encrypting)
    return Parameters(
        scope, encryption, decryption, key, kad_format, u_kad, a_kad,
        raw_readable=byte_5 >> 4 & 3 == 2, check_mode=byte_5 >> 6, lock=bool(byte_4 & 1),
        clear_on_demount=bool(byte_5 & 4), clear_on_preempt=bool(byte_5 & 2), clear_on_loss=bool(byte_5 & 1),
    )


def _parse_kads(data: bytes, at: int, *, allowed: bool) -> tuple[bytes, bytes]:
    """Unauthenticated and authenticated key-associated data, in this order. Raises CheckCondition."""
    found = {_U_KAD: b"", _A_KAD: b""}
    last = -1
    while at < len(data):
        if at + 4 > len(data):
            raise CheckCondition(asc.PARAMETER_LIST_LENGTH_ERROR)
        kind, length = data[at], int.from_bytes(data[at + 2 : at + 4], "big")
        if kind not in found or kind <= last or not allowed:
            raise _invalid(at)
        if not 0 < length <= (MOST_U_KAD if kind == _U_KAD else MOST_A_KAD) or at + 4 + length > len(data):
            raise _invalid(at + 2)
        found[kind] = data[at + 4 : at + 4 + length]
        at, last = at + 4 + length, kind
    return found[_U_KAD], found[_A_KAD]


def _invalid(byte: int, bit: int | None = None) -> CheckCondition:
    return CheckCondition(asc.INVALID_FIELD_IN_PARAMETER_LIST, pointer=FieldPointer(byte, bit, in_cdb=False))

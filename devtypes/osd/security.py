"""The arithmetic of OSD security with HMAC-SHA1 (OSD-2 4.12): pure functions of keys and bytes, for both sides.

    secret keys    a tree: master, root, partition, working; each an authentication key and a generation key of 20 bytes
    capability key HMAC(authentication key, capability || OSD SYSTEM ID)
    CAPKEY         request ICV = HMAC(capability key, security token of the I_T nexus)
    CMDRSP         request ICV = HMAC(capability key, CDB with the ICV field zero); the response has an ICV, too
    ALLDATA        and the data of both directions has an ICV at the offsets that the CDB gives

What the standard's text leaves us unsure of, and what we do: integrity check values of data and of responses begin
with the request nonce, so that one command's cannot stand for another's. Fields longer than 20 bytes are filled up
with zeros. Every comparison takes the same time whatever differs.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from typing import Final

from scsiemu._value import value

__all__ = [
    "HMAC_SHA1", "KeyPair", "SecurityMethod", "capability_key", "data_in_info", "data_out_info", "derived_keys",
    "icv_length", "initial_master_key", "integrity", "request_icv", "response_icv", "same", "unwrap", "wrap",
]

HMAC_SHA1: Final = 1                # INTEGRITY CHECK VALUE ALGORITHM
_KEY: Final = 20
_TAG: Final = 32


class SecurityMethod:
    """SECURITY METHOD field of a capability."""

    NOSEC: Final = 0
    CAPKEY: Final = 1
    CMDRSP: Final = 2
    ALLDATA: Final = 3


@value
class KeyPair:
    """A secret key: what signs credentials, and what the keys below it are made with."""

    authentication: bytes
    generation: bytes


def integrity(key: bytes, *parts: bytes) -> bytes:
    """HMAC-SHA1 of all parts, one behind the other: 20 bytes."""
    return hmac.new(key, b"".join(parts), hashlib.sha1).digest()


def same(one: bytes, other: bytes) -> bool:
    """Compare in constant time."""
    return hmac.compare_digest(one, other)


def icv_length(version: int) -> int:
    """Bytes of an integrity check value field."""
    return 32 if version == 2 else 20


def initial_master_key(root_secret: bytes) -> KeyPair:
    """The master key of a unit that nobody has changed."""
    authentication = integrity(root_secret, b"OSD master authentication")
    return KeyPair(authentication, integrity(root_secret, b"OSD master generation"))


def derived_keys(parent: KeyPair, seed: bytes) -> KeyPair:
    """What SET KEY makes of a seed: its last bit is zero for the authentication key, one for the generation key."""
    head, last = seed[:-1], seed[-1]
    authentication = integrity(parent.generation, head, bytes((last & 0xFE,)))
    return KeyPair(authentication, integrity(parent.generation, head, bytes((last | 1,))))


def capability_key(authentication: bytes, capability: bytes, system_id: bytes) -> bytes:
    """The key that a credential gives to its holder."""
    return integrity(authentication, capability, system_id)


def request_icv(method: int, key: bytes, cdb: bytes, token: bytes, *, version: int) -> bytes:
    """REQUEST INTEGRITY CHECK VALUE as it stands in the CDB."""
    length = icv_length(version)
    if method == SecurityMethod.CAPKEY:
        return integrity(key, token).ljust(length, b"\0")
    at = 184 if version == 2 else 160
    return integrity(key, cdb[:at], bytes(length), cdb[at + length :]).ljust(length, b"\0")


def response_icv(key: bytes, nonce: bytes, status: int, content: bytes, *, version: int) -> bytes:
    """RESPONSE INTEGRITY CHECK VALUE.

    Args:
        content: sense data with zeros for the value itself; with GOOD, the current command page from the object type
            on, without its reserved bytes.
    """
    return integrity(key, nonce, bytes((status,)), content).ljust(icv_length(version), b"\0")


def data_out_info(key: bytes, nonce: bytes, data: bytes, setting: bytes, getting: bytes, *, version: int) -> bytes:
    """Data-out integrity information: the command's data, what is set, what is asked for."""
    head = struct.pack(">QQQ", len(data), len(setting), len(getting))
    return head + integrity(key, nonce, head, data, setting, getting).ljust(icv_length(version), b"\0")


def data_in_info(key: bytes, nonce: bytes, data: bytes, retrieved: bytes, *, version: int) -> bytes:
    """Data-in integrity information: the command's data, retrieved attributes."""
    head = struct.pack(">QQ", len(data), len(retrieved))
    return head + integrity(key, nonce, head, data, retrieved).ljust(icv_length(version), b"\0")


# --- keys at rest --------------------------------------------------------------------------------------------------


def wrap(root_secret: bytes, label: bytes, keys: KeyPair, salt: bytes) -> bytes:
    """A key pair so that nobody without the root secret can use it or put it in another's place.

    Args:
        label: whose key it is.
        salt: 16 random bytes, never the same twice.
    """
    plain = keys.authentication + keys.generation
    sealed = bytes(a ^ b for a, b in zip(plain, _stream(root_secret, salt), strict=False))
    return salt + sealed + hmac.digest(root_secret, b"seal" + label + salt + sealed, "sha256")


def unwrap(root_secret: bytes, label: bytes, sealed: bytes) -> KeyPair | None:
    """The key pair; None where it was not sealed with this secret and label."""
    salt, body, tag = sealed[:16], sealed[16:-_TAG], sealed[-_TAG:]
    if len(body) != 2 * _KEY or not same(tag, hmac.digest(root_secret, b"seal" + label + salt + body, "sha256")):
        return None
    plain = bytes(a ^ b for a, b in zip(body, _stream(root_secret, salt), strict=False))
    return KeyPair(plain[:_KEY], plain[_KEY:])


def _stream(root_secret: bytes, salt: bytes) -> bytes:
    return b"".join(hmac.digest(root_secret, b"stream" + salt + bytes((part,)), "sha256") for part in (0, 1))

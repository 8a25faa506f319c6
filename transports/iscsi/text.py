"""The text of Login and Text PDUs: key=value pairs, numbers and binary values in it (RFC 7143 6.1).

    pairs = decode_text(b"InitiatorName=iqn.2026-01.org.example:a\\0SessionType=Normal\\0")
    data = encode_text(pairs)

Whatever breaks the format is a `TextError`: at login the answer is status 0x0200, later a Reject (protocol error).

It does NOT: know keys (keys.py), or join text that was cut by the C bit (`TextBuffer` does).
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterable
from typing import Final

from scsiemu.command import Buffer
from scsiemu.errors import RemoteProtocolError

__all__ = [
    "MAX_KEY_LENGTH",
    "MAX_VALUE_LENGTH",
    "TextBuffer",
    "TextError",
    "decode_binary",
    "decode_text",
    "encode_binary",
    "encode_text",
    "parse_number",
]

MAX_KEY_LENGTH: Final = 63                  # 6.1: standard-label
MAX_VALUE_LENGTH: Final = 8192              # keys.py holds what is no list to 255


class TextError(RemoteProtocolError):
    """The text breaks RFC 7143 6.1 or 6.2."""


class TextBuffer:
    """Joins text that comes in several PDUs (C bit), within bounds.

    Args:
        max_length: of the text of all PDUs together, in bytes.
        max_pdus: how many PDUs one text may come in.
        max_keys: how many pairs all texts together may have.
        repeated: a key may come more than once, as in the answer to SendTargets.
    """

    __slots__ = ("_keys", "_length", "_max_keys", "_max_length", "_max_pdus", "_parts", "_repeated")

    def __init__(
        self, *, max_length: int = 8192, max_pdus: int = 16, max_keys: int = 64, repeated: bool = False
    ) -> None:
        self._max_length = max_length
        self._max_pdus = max_pdus
        self._max_keys = max_keys
        self._repeated = repeated
        self._parts: list[bytes] = []
        self._length = 0
        self._keys = 0

    def add(self, data: Buffer, *, more: bool) -> list[tuple[str, str]] | None:
        """Take the text of one PDU; the pairs once it is complete, None where `more` (the C bit) is set.

        Raises:
            TextError: a bound is exceeded, or the text is malformed.
        """
        self._length += len(data)
        if self._length > self._max_length:
            raise TextError("too much text")
        if len(self._parts) >= self._max_pdus:
            raise TextError("text in too many PDUs")
        self._parts.append(bytes(data))
        if more:
            return None
        text = b"".join(self._parts)
        self._parts.clear()
        pairs = decode_text(text, max_keys=self._max_keys - self._keys, repeated=self._repeated)
        self._keys += len(pairs)
        return pairs


def decode_text(data: Buffer, *, max_keys: int = 64, repeated: bool = False) -> list[tuple[str, str]]:
    """The pairs in a complete text, in order.

    Raises:
        TextError: no '=', no NUL at the end, not UTF-8, control characters, a key or value too long, a key
            twice, too many keys.
    """
    raw = bytes(data)
    if not raw:
        return []
    if raw[-1]:
        raise TextError("text does not end with NUL")
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        raise TextError("text is not UTF-8") from None
    if not _is_text(text):
        raise TextError("a key without '=', or a malformed key name")
    pairs: list[tuple[str, str]] = _pairs_in(text)
    if len(pairs) > max_keys:
        raise TextError("too many keys")
    if not (repeated or len(dict(pairs)) == len(pairs)):
        raise TextError("a key twice")
    if not text.replace("\0", "").isprintable():
        raise TextError("control characters in a value")
    if len(raw) > MAX_VALUE_LENGTH and any(len(value.encode()) > MAX_VALUE_LENGTH for _, value in pairs):
        raise TextError("value too long")
    return pairs


def encode_text(pairs: Iterable[tuple[str, str]]) -> bytes:
    """The text of these pairs."""
    return "".join([f"{key}={value}\0" for key, value in pairs]).encode()


def parse_number(text: str) -> int | None:
    """A numerical-value (6.1): decimal without leading zeros, or 0x and hex digits, below 2^64; else None."""
    if not _is_number(text):
        return None
    number = int(text, 16) if text[:2] in ("0x", "0X") else int(text)
    return number if number < 1 << 64 else None


def decode_binary(text: str, *, max_length: int) -> bytes | None:
    """A binary-value (6.1) in hex or base64 of at most `max_length` bytes; None for anything else.

    The length is judged before anything is decoded.
    """
    prefix, body = text[:2], text[2:]
    if prefix in ("0x", "0X"):
        if not body or len(body) > 2 * max_length or not _HEX.fullmatch(body):
            return None
        return bytes.fromhex(body if len(body) % 2 == 0 else "0" + body)
    if prefix in ("0b", "0B"):
        if not body or len(body) > (max_length + 2) // 3 * 4 or not _BASE64.fullmatch(body):
            return None
        try:
            decoded = binascii.a2b_base64(body + "=" * (-len(body) % 4), strict_mode=True)
        except binascii.Error:
            return None
        return decoded if len(decoded) <= max_length else None
    return None


def encode_binary(data: bytes) -> str:
    """A binary-value in hex."""
    return "0x" + data.hex()


# 6.1 standard-label: letters, digits and these marks. '#' is for X#, Y# and Z# keys; not all keys of the RFCs
# begin with a capital (iSCSIProtocolLevel), so that is not asked for.
_PAIR = rf"([A-Za-z][A-Za-z0-9.\-+@_#]{{0,{MAX_KEY_LENGTH - 1}}})=([^\0]*)"
_pairs_in = re.compile(_PAIR).findall
# More NULs than one: padding that was counted into the data segment length.
_is_text = re.compile(rf"\0*(?:{_PAIR}\0++)*+").fullmatch
_is_number = re.compile(r"0|[1-9][0-9]{0,19}|0[xX][0-9a-fA-F]{1,16}").fullmatch
_HEX = re.compile(r"[0-9a-fA-F]+")
_BASE64 = re.compile(r"[0-9A-Za-z+/]+={0,2}")

"""Bytes that a user writes as hexadecimal."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from scsiemu.app.failure import ExitCode, Failure

__all__ = ["parse_hex"]

_BETWEEN: Final = re.compile(r"[\s:,]+|\b0x|\b\\x", re.IGNORECASE)


def parse_hex(words: Iterable[str], *, what: str) -> bytes:
    """The bytes of `12 00 00`, `120000`, `12:00:00` or `0x12 0x0 0x0`. Raises Failure."""
    pieces = []
    for word in words:
        for piece in _BETWEEN.sub(" ", word).split():
            # A single digit is a byte of its own, as in "0 0 0".
            pieces.append(piece if len(piece) != 1 else f"0{piece}")
    text = "".join(pieces)
    try:
        data = bytes.fromhex(text)
    except ValueError:
        raise Failure(f"{what}: write bytes as hexadecimal, such as 12 00 00 00 24 00", ExitCode.USAGE) from None
    if not data:
        raise Failure(f"{what}: there are no bytes", ExitCode.USAGE)
    return data

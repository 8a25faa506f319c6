"""CRC32C of PDUs (RFC 7143 13.1), by a library that is imported with the first digest: it is 2 MiB of a process.

    digest.crc32c(data)                     # by this name of the module: it is another function after the first call
    digest.crc32c(more, so_far)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["crc32c"]


def _first(data: Any, so_far: int = 0) -> int:
    global crc32c
    from crc32c import crc32c as loaded

    crc32c = loaded
    return loaded(data, so_far)


crc32c: Callable[..., int] = _first

"""What every byte store refuses, and the options that every `open_store` takes apart.

Not a store: the underscore keeps it out of the entry points.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from scsiemu.errors import IoFailed, IoFault
from scsiemu.io_requests import Discard, Extents, Fill, IoRequest, Read, Resize, Write

__all__ = ["MUTATING", "bad_option", "check_size", "refusal", "refuse_unknown"]

# The requests that a read-only store refuses.
MUTATING: Final[tuple[type[IoRequest[Any]], ...]] = (Write, Fill, Discard, Resize)


def refusal(request: IoRequest[Any], *, size: int, read_only: bool, closed: bool) -> IoFailed | None:
    """Why a store must not even begin this request, None where nothing speaks against it."""
    if closed:
        return IoFailed(IoFault.GONE, "the store is closed")
    if read_only and isinstance(request, MUTATING):
        return IoFailed(IoFault.READ_ONLY, "the store is read-only")
    if isinstance(request, Resize):
        if request.size < 0:
            return IoFailed(IoFault.OUT_OF_RANGE, f"a store cannot be {request.size} bytes long")
        return None
    if isinstance(request, Write):
        length = request.length if request.data is None else len(request.data)
    elif isinstance(request, (Read, Discard, Fill, Extents)):
        length = request.length
    else:
        return None
    if request.offset < 0 or length < 0 or request.offset + length > size:
        return IoFailed(
            IoFault.OUT_OF_RANGE, f"{request!r} reaches past the end of the store, {size} bytes", offset=size
        )
    if isinstance(request, Extents) and not length:
        return IoFailed(IoFault.OUT_OF_RANGE, "a map of no bytes has no extent")
    if isinstance(request, Fill) and (not request.pattern or length % len(request.pattern)):
        return IoFailed(IoFault.UNSUPPORTED, f"{request!r} is not whole repetitions of its pattern")
    return None


def bad_option(store: str, option: str, why: str) -> ValueError:
    """The error for one wrong option, a sentence that names store and option."""
    return ValueError(f"{store} store: {option}= {why}")


def check_size(store: str, size: object, *, limit: int | None = None) -> int:
    """`size` as a number of bytes, or a ValueError that says what is wrong with it."""
    if size is None:
        raise bad_option(store, "size", "is missing")
    if isinstance(size, bool) or not isinstance(size, int):
        raise bad_option(store, "size", f"is a whole number of bytes, not {size!r}")
    if size <= 0:
        raise bad_option(store, "size", f"must be more than 0, not {size}")
    if limit is not None and size > limit:
        raise bad_option(store, "size", f"is at most {limit}, not {size}")
    return size


def refuse_unknown(store: str, unknown: Mapping[str, object], known: Iterable[str]) -> None:
    """Raise a ValueError that names the first unknown option and what there is instead."""
    for option in unknown:
        names = ", ".join(f"{name}=" for name in known)
        raise ValueError(f"{store} store: there is no option {option}=; it takes {names}")

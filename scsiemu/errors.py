"""The three roots of every error that the project raises on purpose (besides refusals, see `sense`)."""

from __future__ import annotations

from typing import Final

__all__ = ["IoFailed", "IoFault", "LocalProtocolError", "RemoteProtocolError"]


class LocalProtocolError(Exception):
    """The caller used an object of ours against its contract: a bug on this side of the wire."""


class RemoteProtocolError(Exception):
    """The peer broke its protocol. Transports derive from this and carry the answer that the peer gets."""


class IoFault:
    """What kind of trouble a store had. Device servers map each to sense data of their own command set."""

    MEDIUM: Final = "medium"            # this range cannot be read or written (EIO)
    NO_SPACE: Final = "no space"        # nothing left to allocate (ENOSPC, EDQUOT)
    READ_ONLY: Final = "read only"      # the store cannot be written at all (EROFS, EACCES)
    OUT_OF_RANGE: Final = "out of range"  # beyond the store's size: a bug or a store that shrank
    UNSUPPORTED: Final = "unsupported"  # a verb that the store's capabilities do not list
    GONE: Final = "gone"                # the store is closed or lost
    ABORTED: Final = "aborted"          # the store gave the request up


class IoFailed(Exception):
    """A store could not do a request. Returned (or raised) as the answer of that request.

    Args:
        fault: one of `IoFault`.
        message: one sentence for a person.
        offset: byte offset of the first byte that failed, where known.
    """

    def __init__(self, fault: str, message: str = "", *, offset: int | None = None) -> None:
        super().__init__(message or fault)
        self.fault = fault
        self.message = message or fault
        self.offset = offset

"""A byte store in a regular file or a block device (`_file_store` says what it does and does not do).

An advisory lock (flock) keeps a second server from writing the same file.
"""

from __future__ import annotations

import os
from typing import Final

from iohandlers._checks import bad_option, check_size, refuse_unknown
from iohandlers._file_open import open_file
from iohandlers._file_store import FileStore

__all__ = ["open_store"]

_OPTIONS: Final = ("path", "size", "read_only", "share", "workers")


def open_store(
    *,
    path: str | os.PathLike[str] | None = None,
    size: int | None = None,
    read_only: bool = False,
    share: bool = False,
    workers: int = 8,
    **unknown: object,
) -> FileStore:
    """Open a regular file or a block device; ValueError or OSError say in one sentence why not.

    Args:
        path: of the file. One that does not exist is created, sparse, where a size is given.
        size: bytes. A shorter file grows to it; a shorter read-only one reads as zeros behind its end.
        read_only: open it so; nothing is ever written.
        share: do without the lock that keeps a second server away.
        workers: how many threads at most wait for the device.
    """
    refuse_unknown("file", unknown, _OPTIONS)
    if path is None or not os.fspath(path):
        raise bad_option("file", "path", "is missing")
    if size is not None:
        check_size("file", size, limit=(1 << 63) - 1)
    if workers < 1:
        raise bad_option("file", "workers", f"must be at least 1, not {workers}")
    descriptor, length = open_file(os.fspath(path), size=size, read_only=read_only, share=share)
    return FileStore(
        descriptor, os.fspath(path), size=size or length, backed=length, read_only=read_only, workers=workers
    )

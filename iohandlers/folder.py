"""A shelf in a folder: each regular file is a medium of that name, of which one at a time is mounted in a drive.

A name is looked up in the listing of the folder, opened relative to it, and symbolic links are not followed: nothing
outside can be reached. Files whose name begins with a point are no media. Opening and listing are done by a worker
thread. A mounted file is locked (flock), so that no other drive and no other server has it; with `own` the folder is,
too. What a mounted medium does is in `_file_store`.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import select
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from iohandlers._checks import bad_option, check_size, refuse_unknown
from iohandlers._file_open import sync_folder
from iohandlers._file_store import FileStore
from iohandlers._workers import Workers
from scsiemu._value import value
from scsiemu.errors import IoFailed, IoFault
from scsiemu.io_requests import PENDING, Flush, IoRequest, StoreCapabilities, Ticket
from scsiemu.media import ListMedia, Mount, Unmount

__all__ = ["FolderStore", "open_store"]

_OPTIONS: Final = ("path", "own", "blank", "size", "workers")
_EMPTY: Final = StoreCapabilities(size=0, volatile=False)
_PROTECTED: Final = (errno.EACCES, errno.EROFS, errno.EPERM)


def open_store(
    *,
    path: str | os.PathLike[str] | None = None,
    own: bool = False,
    blank: Sequence[str] = (),
    size: int | None = None,
    workers: int = 4,
    **unknown: object,
) -> FolderStore:
    """Open a folder; ValueError or OSError say in one sentence why not.

    Args:
        path: of the folder. With `own` it is made where there is none.
        own: this store stands for the whole folder: no other server may have it.
        blank: names of blank media that a folder without any is filled with.
        size: bytes of each of them; the files are sparse.
        workers: how many threads at most wait for the device of a mounted medium.
    """
    refuse_unknown("folder", unknown, _OPTIONS)
    if path is None or not os.fspath(path):
        raise bad_option("folder", "path", "is missing")
    if blank:
        check_size("folder", size, limit=(1 << 63) - 1)
        if not own or not all(_is_name(name) for name in blank):
            raise bad_option("folder", "blank", "goes with own, and has names of files")
    if workers < 1:
        raise bad_option("folder", "workers", f"must be at least 1, not {workers}")
    text = os.fspath(path)
    if own:
        try:
            os.makedirs(text, mode=0o700, exist_ok=True)
        except OSError as error:
            raise OSError(error.errno, f"folder store: {text} cannot be made: {error.strerror}") from error
    try:
        descriptor = os.open(text, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise OSError(error.errno, f"folder store: {text} cannot be opened: {error.strerror}") from error
    try:
        if own:
            _lock(descriptor, text)
            if blank and not _list(descriptor):
                _fill(descriptor, blank, size or 0)
                sync_folder(Path(text))
    except BaseException:
        os.close(descriptor)
        raise
    return FolderStore(descriptor, text, workers=workers)


def _is_name(name: str) -> bool:
    """Whether a medium may be called so."""
    return bool(name) and not name.startswith(".") and "/" not in name and "\0" not in name and name.isprintable()


def _lock(descriptor: int, path: str) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            raise OSError(error.errno, f"folder store: {path} is in use by another server") from None
        # A file system without locks.


def _list(folder: int) -> tuple[str, ...]:
    """The media: regular files, links not followed."""
    with os.scandir(folder) as entries:
        return tuple(sorted(
            entry.name for entry in entries if _is_name(entry.name) and entry.is_file(follow_symlinks=False)
        ))


def _fill(folder: int, names: Sequence[str], size: int) -> None:
    for name in names:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(name, flags, 0o600, dir_fd=folder)
        try:
            os.ftruncate(descriptor, size)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@value
class _Opened:
    """A file that a worker has opened and locked."""

    descriptor: int
    name: str
    read_only: bool


class FolderStore:
    """What a drive, or a changer, has of a folder. Made by `open_store`; owns the descriptor."""

    def __init__(self, descriptor: int, path: str, *, workers: int) -> None:
        self._descriptor = descriptor
        self._path = path
        self._threads = workers
        self._medium: FileStore | None = None
        self._workers: Workers[Ticket] = Workers("folder-store", 1)
        # One descriptor for the loop, whatever is mounted: it is readable when one of those in it is.
        self._poll = select.epoll()
        self._poll.register(self._event(self._workers.fileno()), select.EPOLLIN)
        self._mounting: Ticket | None = None
        self._unmounting: Ticket | None = None
        self._left_over: list[tuple[Ticket, Any]] = []
        self._closed = False

    @staticmethod
    def _event(descriptor: int | None) -> int:
        assert descriptor is not None
        return descriptor

    @property
    def capabilities(self) -> StoreCapabilities:
        return self._medium.capabilities if self._medium is not None else _EMPTY

    def submit(self, request: IoRequest[Any], ticket: Ticket, /) -> Any:
        if self._closed:
            return IoFailed(IoFault.GONE, "the store is closed")
        if isinstance(request, Mount):
            if self._medium is not None or self._mounting is not None:
                return IoFailed(IoFault.GONE, f"a medium is mounted, {request.name!r} cannot be")
            self._mounting = ticket
            self._workers.call(ticket, self._open, request.name, request.read_only)
            return PENDING
        if isinstance(request, ListMedia):
            self._workers.call(ticket, self._names)
            return PENDING
        if isinstance(request, Unmount):
            return self._unmount(ticket)
        if self._medium is None:
            return None if isinstance(request, Flush) else IoFailed(IoFault.GONE, "no medium is mounted")
        return self._medium.submit(request, ticket)

    def reap(self) -> Iterable[tuple[Ticket, Any | IoFailed]]:
        answers, self._left_over = self._left_over, []
        for ticket, result in self._workers.reap():
            answers.append((ticket, self._mounted(result) if isinstance(result, _Opened) else result))
            if ticket is self._mounting:
                self._mounting = None
        if self._medium is not None:
            for ticket, result in self._medium.reap():
                answers.append((ticket, result))
                if ticket is self._unmounting:
                    self._unmounting = None
                    if not isinstance(result, IoFailed):
                        self._let_go()
        if self._left_over:
            answers += self._left_over
            self._left_over = []
        return answers

    def fileno(self) -> int | None:
        return None if self._closed else self._poll.fileno()

    def close(self) -> None:
        """End it. Waits for what the workers do; late answers not yet fetched are still there for `reap`."""
        if self._closed:
            return
        self._closed = True
        self._workers.stop()
        for ticket, result in self._workers.reap():
            if isinstance(result, _Opened):
                os.close(result.descriptor)
                result = IoFailed(IoFault.GONE, "the store is closed")
            self._left_over.append((ticket, result))
        self._let_go()
        self._poll.close()
        os.close(self._descriptor)

    # -- in a worker

    def _names(self) -> tuple[str, ...]:
        try:
            return _list(self._descriptor)
        except OSError as error:
            raise self._failure(error) from error

    def _open(self, name: str, read_only: bool) -> _Opened:
        try:
            if name not in _list(self._descriptor):
                raise IoFailed(IoFault.GONE, f"there is no medium {name!r} in {self._path}")
            descriptor, read_only = self._open_file(name, read_only=read_only)
        except OSError as error:
            raise self._failure(error) from error
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):      # it was, a moment ago
                raise IoFailed(IoFault.GONE, f"{name!r} is no regular file")
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                return _Opened(descriptor, name, read_only)         # a file system without locks
            os.close(descriptor)
            raise IoFailed(IoFault.GONE, f"medium {name!r} is mounted in another drive") from None
        except BaseException:
            os.close(descriptor)
            raise
        return _Opened(descriptor, name, read_only)

    def _open_file(self, name: str, *, read_only: bool) -> tuple[int, bool]:
        """A descriptor, and whether it is for reading only: a file that may not be written is a protected medium."""
        common = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
        if not read_only:
            try:
                return os.open(name, os.O_RDWR | common, dir_fd=self._descriptor), False
            except OSError as error:
                if error.errno not in _PROTECTED:
                    raise
        return os.open(name, os.O_RDONLY | common, dir_fd=self._descriptor), True

    def _failure(self, error: OSError) -> IoFailed:
        return IoFailed(IoFault.MEDIUM, f"{self._path}: {error.strerror}")

    # -- in the loop's thread

    def _mounted(self, opened: _Opened) -> StoreCapabilities:
        length = os.lseek(opened.descriptor, 0, os.SEEK_END)
        self._medium = FileStore(
            opened.descriptor, f"{self._path}/{opened.name}", size=length, backed=length,
            read_only=opened.read_only, workers=self._threads,
        )
        self._poll.register(self._event(self._medium.fileno()), select.EPOLLIN)
        return self._medium.capabilities

    def _unmount(self, ticket: Ticket) -> Any:
        if self._medium is None:
            return None
        flushed = None if self._medium.capabilities.read_only else self._medium.submit(Flush(), ticket)
        if flushed is PENDING:
            self._unmounting = ticket
        elif not isinstance(flushed, IoFailed):
            self._let_go()
        return flushed

    def _let_go(self) -> None:
        medium, self._medium = self._medium, None
        if medium is None:
            return
        with contextlib.suppress(OSError):              # closed descriptors leave by themselves
            self._poll.unregister(self._event(medium.fileno()))
        medium.close()
        self._left_over += medium.reap()

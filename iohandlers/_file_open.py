"""Opening what the file store keeps its bytes in: regular files and block devices, locked, of known size."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from pathlib import Path

__all__ = ["open_file", "sync_folder"]


def open_file(path: str, *, size: int | None, read_only: bool, share: bool) -> tuple[int, int]:
    """The descriptor of a file opened (created if need be) and the bytes that it has; OSError, ValueError."""
    created = False
    try:
        _check_kind(os.stat(path).st_mode, path)    # before open: opening some devices does something
        descriptor = os.open(path, _flags(read_only=read_only))
    except FileNotFoundError:
        if size is None or read_only:
            hint = "and is read-only" if read_only else "give size= to create it"
            raise FileNotFoundError(errno.ENOENT, f"file store: {path} does not exist ({hint})") from None
        try:
            descriptor = os.open(path, _flags(read_only=False) | os.O_CREAT | os.O_EXCL, 0o600)
        except OSError as error:
            raise OSError(error.errno, f"file store: {path} cannot be created: {error.strerror}") from error
        created = True
    except OSError as error:
        if error.errno is None or str(error.strerror).startswith("file store"):
            raise
        raise OSError(error.errno, f"file store: {path} cannot be opened: {error.strerror}") from error
    try:
        return descriptor, _prepare(descriptor, path, size, read_only=read_only, share=share, created=created)
    except BaseException:
        os.close(descriptor)
        if created:
            os.unlink(path)
        raise


def _flags(*, read_only: bool) -> int:
    # O_NONBLOCK: should the path have become a FIFO since stat, open must not wait for its other end.
    return (os.O_RDONLY if read_only else os.O_RDWR) | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK


def _check_kind(mode: int, path: str) -> None:
    if stat.S_ISREG(mode) or stat.S_ISBLK(mode):
        return
    kinds = (
        (stat.S_ISDIR, "a directory"), (stat.S_ISFIFO, "a FIFO"), (stat.S_ISSOCK, "a socket"),
        (stat.S_ISCHR, "a character device"),
    )
    kind = next((name for test, name in kinds if test(mode)), "of no known kind")
    raise OSError(errno.EINVAL, f"file store: {path} is {kind}, not a regular file or block device")


def _prepare(
    descriptor: int, path: str, size: int | None, *, read_only: bool, share: bool, created: bool
) -> int:
    mode = os.fstat(descriptor).st_mode
    _check_kind(mode, path)
    if not share:
        _lock(descriptor, path, read_only=read_only)
    length = os.lseek(descriptor, 0, os.SEEK_END)
    if size is None:
        if not length:
            raise ValueError(f"file store: {path} is empty, give size= to make it larger")
        return length
    if length > size:
        raise ValueError(f"file store: {path} has {length} bytes, more than size={size}; leave out size=")
    if length < size and not read_only:
        if not stat.S_ISREG(mode):
            raise ValueError(f"file store: {path} has {length} bytes and cannot grow to size={size}")
        try:
            os.ftruncate(descriptor, size)
        except OSError as error:
            why = f"file store: {path} cannot hold {size} bytes: {error.strerror}"
            raise OSError(error.errno, why) from error
        length = size
    if created:
        sync_folder(Path(path).absolute().parent)
    return length


def _lock(descriptor: int, path: str, *, read_only: bool) -> None:
    """Readers share a file, a writer has it alone. The lock goes with the descriptor."""
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if read_only else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
            return      # a file system without locks
        raise OSError(
            error.errno, f"file store: {path} is in use by another server; share=True opens it nevertheless"
        ) from None


def sync_folder(folder: Path) -> None:
    """What was just created in a folder must be found after a power loss."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:     # a file system that does not sync folders
            raise
    finally:
        os.close(descriptor)

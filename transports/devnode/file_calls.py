"""What system calls on a descriptor do, where the file is one of ours. All others go on in the kernel.

SG_IO and what else has to do with tasks is handed to the supervisor by a function.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from functools import partial
from struct import iter_unpack
from typing import Final

from transports.devnode.descriptors import Descriptors, OpenFile
from transports.devnode.driver_calls import DriverCalls, Vector
from transports.devnode.path_calls import GO_ON, LATER, PathCalls
from transports.devnode.request import Refused
from transports.devnode.seccomp import Listener, Notification, ProcessMemory, descriptor_of, read_directory
from transports.devnode.stat_layout import directory_entries, stat_bytes
from transports.devnode.syscalls import Architecture
from transports.devnode.tree import Directory, Tree, entry_mode
from transports.devnode.working_directories import WorkingDirectories

__all__ = ["FileCalls", "NodeCalls"]

_F_DUPFD: Final = 0
_F_DUPFD_CLOEXEC: Final = 1030
_OF_ALL_FILES: Final = frozenset((0x5421, 0x5450, 0x5451, 0x5452))      # FIONBIO, FIONCLEX, FIOCLEX, FIOASYNC
_MOST_LISTING: Final = 1 << 20
_VECTOR_SIZE: Final = 16
_STANDARD: Final = 3                # 0, 1 and 2 are watched
_MOST_PIECES: Final = 1024          # UIO_MAXIOV
# Name, whether it has a vector, whether it writes.
_AT_POSITION: Final = (
    ("pread64", False, False), ("pwrite64", False, True), ("preadv", True, False), ("pwritev", True, True),
    ("preadv2", True, False), ("pwritev2", True, True),
)


class NodeCalls:
    """What the supervisor does for nodes. Each gives a result, LATER, or raises Refused."""

    def ioctl(self, note: Notification, file: OpenFile) -> int:
        """ioctl(2)."""
        raise Refused(errno.ENOTTY)

    def read(self, note: Notification, file: OpenFile, address: int, count: int) -> int:
        """read(2)."""
        raise Refused(errno.EINVAL)

    def write(self, note: Notification, file: OpenFile, address: int, count: int) -> int:
        """write(2)."""
        raise Refused(errno.EINVAL)

    def map(self, note: Notification, file: OpenFile) -> int:
        """mmap(2)."""
        raise Refused(errno.ENODEV)

    def cover(self, note: Notification) -> None:
        """What the call returns is a descriptor of ours, perhaps below our range. Raises Refused."""
        raise Refused(errno.EMFILE)


class FileCalls:
    """The handlers of one supervisor."""

    def __init__(
        self,
        tree: Tree,
        architecture: Architecture,
        listener: Listener,
        descriptors: Descriptors,
        directories: WorkingDirectories,
        paths: PathCalls,
        nodes: NodeCalls,
        drivers: DriverCalls,
    ) -> None:
        self._tree = tree
        self._architecture = architecture
        self._listener = listener
        self._descriptors = descriptors
        self._directories = directories
        self._paths = paths
        self._nodes = nodes
        self._drivers = drivers
        self._extras = {
            path: children for path in tree.paths()
            if isinstance(entry := tree.find(path), Directory) and entry.merged and (children := tree.children(path))
        }
        self.handlers: dict[str, Callable[[Notification], int]] = {
            "ioctl": self._ioctl, "read": self._read, "write": self._write, "readv": self._read_vector,
            "writev": self._write_vector, "fstat": self._fstat, "close": self._close, "lseek": self._seek,
            "fcntl": self._fcntl, "fsync": self._synchronize, "fdatasync": self._synchronize,
            "dup": self._dup, "dup2": self._dup_onto, "dup3": self._dup_onto,
            "fchdir": self._fchdir, "getdents": self._list_old, "getdents64": self._list,
            "getcwd": self._getcwd, "mmap": self._map,
            **{name: partial(self._at_position, vectors, writes) for name, vectors, writes in _AT_POSITION},
        }

    def _file(self, note: Notification) -> OpenFile | None:                                      # hot
        return self._descriptors.find(note.pid, note.arguments[0] & 0xFFFFFFFF)

    def _ioctl(self, note: Notification) -> int:                                                 # hot
        file = self._file(note)
        if file is None or note.arguments[1] & 0xFFFFFFFF in _OF_ALL_FILES:
            return GO_ON
        if file.sg is None:
            raise Refused(errno.ENOTTY)
        return self._nodes.ioctl(note, file)

    def _read(self, note: Notification) -> int:
        if (file := self._file(note)) is not None and file.line is not None:
            return self._drivers.read(note, file, ((note.arguments[1], note.arguments[2]),), None)
        return self._move(note, self._nodes.read, note.arguments[1], note.arguments[2])

    def _write(self, note: Notification) -> int:
        if (file := self._file(note)) is not None and file.line is not None:
            return self._drivers.write(note, file, ((note.arguments[1], note.arguments[2]),), None)
        return self._move(note, self._nodes.write, note.arguments[1], note.arguments[2])

    def _read_vector(self, note: Notification) -> int:
        if (file := self._file(note)) is not None and file.line is not None:
            return self._drivers.read(note, file, self._pieces(note), None)
        return self._move_vector(note, self._nodes.read)

    def _write_vector(self, note: Notification) -> int:
        if (file := self._file(note)) is not None and file.line is not None:
            return self._drivers.write(note, file, self._pieces(note), None)
        return self._move_vector(note, self._nodes.write)

    def _move(
        self, note: Notification, mover: Callable[[Notification, OpenFile, int, int], int], address: int, count: int
    ) -> int:
        file = self._file(note)
        if file is None:
            return GO_ON
        if file.sg is None:
            raise Refused(errno.EISDIR)
        return mover(note, file, address, count)

    def _move_vector(self, note: Notification, mover: Callable[[Notification, OpenFile, int, int], int]) -> int:
        """readv and writev of sg are those of its one structure: of the first piece."""
        if self._file(note) is None:
            return GO_ON
        if not note.arguments[2]:
            return 0
        piece = ProcessMemory(self._listener, note).read(note.arguments[1], _VECTOR_SIZE)
        return self._move(note, mover, int.from_bytes(piece[:8], "little"), int.from_bytes(piece[8:], "little"))

    def _at_position(self, vectors: bool, writes: bool, note: Notification) -> int:
        """pread(2) and its like: only drivers have positions."""
        file = self._file(note)
        if file is None:
            return GO_ON
        if file.line is None:
            raise Refused(errno.ESPIPE)
        arguments = note.arguments
        position = arguments[3]
        if position >> 63:
            if not vectors or position != (1 << 64) - 1:
                raise Refused(errno.EINVAL)
            position = -1               # preadv2: where the file stands
        vector = self._pieces(note) if vectors else ((arguments[1], arguments[2]),)
        move = self._drivers.write if writes else self._drivers.read
        return move(note, file, vector, None if position < 0 else position)

    def _pieces(self, note: Notification) -> Vector:
        """The vector of readv(2). Raises Refused."""
        count = note.arguments[2]
        if count > _MOST_PIECES:
            raise Refused(errno.EINVAL)
        raw = ProcessMemory(self._listener, note).read(note.arguments[1], _VECTOR_SIZE * count) if count else b""
        pieces = list(iter_unpack("=QQ", raw))
        if any(size >> 63 for _, size in pieces):
            raise Refused(errno.EINVAL)
        return pieces

    def _close(self, note: Notification) -> int:
        file = self._file(note)
        if file is None or file.line is None:
            return GO_ON
        return self._drivers.close_file(note, file) if self._drivers.is_last(note, file) else GO_ON

    def _fstat(self, note: Notification) -> int:
        file = self._file(note)
        if file is None:
            return GO_ON
        status = self._paths.status(file.path, file.entry)
        memory = ProcessMemory(self._listener, note)
        memory.write(note.arguments[1], stat_bytes(status, self._architecture.name))
        return 0

    def _synchronize(self, note: Notification) -> int:
        file = self._file(note)
        if file is None:
            return GO_ON
        if file.line is None:
            raise Refused(errno.EINVAL)
        return self._drivers.synchronize(note, file)

    def _seek(self, note: Notification) -> int:
        file = self._file(note)
        if file is None:
            return GO_ON
        if file.line is not None:
            offset = note.arguments[1]
            offset -= (offset >> 63) << 64
            return self._drivers.seek(note, file, offset, note.arguments[2] & 0xFFFFFFFF)
        if file.sg is not None:
            raise Refused(errno.ESPIPE)
        if note.arguments[2] == os.SEEK_SET:
            file.position = max(0, min(note.arguments[1], 1 << 31))
        return file.position

    def _fcntl(self, note: Notification) -> int:
        command = note.arguments[1] & 0xFFFFFFFF
        if command not in (_F_DUPFD, _F_DUPFD_CLOEXEC):
            return GO_ON
        return self._duplicate(note, close_on_exec=command == _F_DUPFD_CLOEXEC)

    def _dup(self, note: Notification) -> int:
        return self._duplicate(note, close_on_exec=False)

    def _duplicate(self, note: Notification, *, close_on_exec: bool) -> int:
        """Any number will do: one of our range. Only the kernel can give one to a call that came by the tracer."""
        if self._file(note) is None:
            return GO_ON
        if note.caller is not None:
            self._nodes.cover(note)
            return GO_ON
        self._descriptors.duplicate(note, note.arguments[0] & 0xFFFFFFFF, close_on_exec=close_on_exec)
        return LATER

    def _dup_onto(self, note: Notification) -> int:
        """dup2(2): the kernel does it; below our range, but for the standard ones, calls have to be caught."""
        number = note.arguments[1] & 0xFFFFFFFF
        if _STANDARD <= number < self._descriptors.first and (file := self._file(note)) is not None:
            try:
                self._nodes.cover(note)
            except Refused:
                if file.line is not None:
                    raise
                # The ioctls of sg are caught at any number, and are all that most programs want of it.
        self._descriptors.number_changes(number)
        return GO_ON

    def _map(self, note: Notification) -> int:
        file = self._descriptors.find(note.pid, note.arguments[4] & 0xFFFFFFFF)
        return GO_ON if file is None else self._nodes.map(note, file)

    def _fchdir(self, note: Notification) -> int:
        file = self._file(note)
        if file is None:
            return GO_ON
        if file.sg is not None:
            raise Refused(errno.ENOTDIR)
        self._directories.set(note.pid, file.path)
        return 0

    def _getcwd(self, note: Notification) -> int:
        path = self._directories.get(note.pid)
        if path is None:
            return GO_ON
        raw = os.fsencode(path) + b"\0"
        if len(raw) > note.arguments[1]:
            raise Refused(errno.ERANGE)
        ProcessMemory(self._listener, note).write(note.arguments[0], raw)
        return len(raw)

    # --- directories -------------------------------------------------------------------------------------------

    def _list_old(self, note: Notification) -> int:
        file = self._file(note)
        return GO_ON if file is None else self._list_ours(note, file, old=True)

    def _list(self, note: Notification) -> int:
        file = self._file(note)
        if file is not None:
            return self._list_ours(note, file, old=False)
        try:
            path = os.readlink(f"/proc/{note.pid}/fd/{note.arguments[0] & 0xFFFFFFFF}")
        except OSError:
            return GO_ON
        return self._list_merged(note, path) if path in self._extras else GO_ON

    def _list_ours(self, note: Notification, file: OpenFile, *, old: bool) -> int:
        if file.sg is not None:
            raise Refused(errno.ENOTDIR)
        rows = [(".", self._tree.inodes[file.path], 0o040755), ("..", self._tree.inodes[file.path], 0o040755)]
        rows += self._rows(file.path)
        room = min(note.arguments[2] & 0xFFFFFFFF, _MOST_LISTING)
        data, count = directory_entries(rows[file.position :], room, old=old)
        if not count and file.position < len(rows):
            raise Refused(errno.EINVAL)
        ProcessMemory(self._listener, note).write(note.arguments[1], data)
        file.position += count
        return len(data)

    def _rows(self, path: str) -> list[tuple[str, int, int]]:
        start = path.rstrip("/")
        return [
            (name, self._tree.inodes[f"{start}/{name}"], entry_mode(entry))
            for name, entry in sorted(self._tree.children(path).items())
            if not (isinstance(entry, Directory) and entry.merged)
        ]

    def _list_merged(self, note: Notification, path: str) -> int:
        """A directory of the machine: what it has, without what is hidden, and before the first of it ours."""
        room = min(note.arguments[2] & 0xFFFFFFFF, _MOST_LISTING)
        fileno = descriptor_of(note.pid, note.arguments[0] & 0xFFFFFFFF)
        try:
            rows = self._rows(path) if os.lseek(fileno, 0, os.SEEK_CUR) == 0 else []
            data, count = directory_entries(rows, room // 2)
            if count < len(rows):
                return GO_ON            # no room for ours: a buffer so small is no listing
            while True:
                more = read_directory(self._architecture, fileno, room - len(data))
                kept = self._without_hidden(path, more)
                if data or kept or not more:
                    break
        finally:
            os.close(fileno)
        ProcessMemory(self._listener, note).write(note.arguments[1], data + kept)
        return len(data) + len(kept)

    def _without_hidden(self, path: str, data: bytes) -> bytes:
        start = path.rstrip("/")
        ours = self._extras[path]
        kept = bytearray()
        at = 0
        while at < len(data):
            length = int.from_bytes(data[at + 16 : at + 18], "little")
            name = os.fsdecode(data[at + 19 : at + length].partition(b"\0")[0])
            entry = ours.get(name)
            replaced = entry is not None and not (isinstance(entry, Directory) and entry.merged)
            if not replaced and not self._tree.hides(f"{start}/{name}"):
                kept += data[at : at + length]
            at += length
        return bytes(kept)

"""Open files of ours in other processes: each is one end of a socket pair, at a high descriptor number there.

The socket makes such a descriptor a real one: it is inherited, duplicated and closed by the kernel alone, poll(2)
works, and our end hears when the last copy is closed. Which file a descriptor is, says the socket's inode number.
"""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Final

from transports.devnode.mapped_memory import MappedMemory
from transports.devnode.nodes import Node
from transports.devnode.seccomp import Listener, Notification, descriptor_of
from transports.devnode.sg import SgFile
from transports.devnode.tree import Entry, Special

if TYPE_CHECKING:
    from transports.devnode.driver_calls import Line

__all__ = ["Descriptors", "OpenFile"]

_MOST_REMEMBERED: Final = 4096


class OpenFile:
    """One open(2) of ours.

    Attributes:
        path: of the tree.
        entry: what is there.
        sg: what an sg or bsg node does; None for directories.
        ours: our end of the socket pair.
        exclusive: opened with O_EXCL.
        position: of a directory: entries that were read.
        line: the drive, where the node has a driver (driver_calls.py).
        handle: what its driver keeps with the file; None where there is none, or it is closed.
    """

    __slots__ = ("entry", "exclusive", "handle", "line", "name", "ours", "path", "position", "sg")

    def __init__(self, path: str, entry: Entry, ours: socket.socket, name: str) -> None:
        self.path = path
        self.entry = entry
        self.ours = ours
        self.name = name
        self.exclusive = False
        self.position = 0
        self.sg: SgFile | None = None
        self.line: Line | None = None
        self.handle: object = None

    @property
    def node(self) -> Node | None:
        """The node, where it is one."""
        return self.entry.node if isinstance(self.entry, Special) else None


class Descriptors:
    """All open files of ours.

    Args:
        first, end: the range of descriptor numbers that they get.
    """

    def __init__(self, listener: Listener, first: int, end: int) -> None:
        self.first = first
        self.end = end
        self._listener = listener
        self._mappings = 0
        self._files: dict[str, OpenFile] = {}
        self._by_fileno: dict[int, OpenFile] = {}
        self._mapped: dict[str, OpenFile] = {}
        self._remembered: dict[tuple[int, int], OpenFile] = {}

    def files(self) -> list[OpenFile]:
        """All of them."""
        return list(self._files.values())

    def open(
        self, note: Notification, path: str, entry: Entry, *, sg: SgFile | None, nonblock: bool, close_on_exec: bool
    ) -> OpenFile:
        """Make a file and answer the call with its descriptor. Raises Refused, Gone and OSError."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            ours.setblocking(False)
            theirs.setblocking(not nonblock)
            name = f"socket:[{os.fstat(theirs.fileno()).st_ino}]"
            at = self._free_number(note.pid)
            self._listener.give(note, theirs.fileno(), at=at, close_on_exec=close_on_exec)
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        file = OpenFile(path, entry, ours, name)
        file.sg = sg
        self._files[name] = file
        self._by_fileno[ours.fileno()] = file
        self.number_changes(at)
        self._remember(note.pid, at, file)
        return file

    def duplicate(self, note: Notification, number: int, *, close_on_exec: bool) -> None:
        """Answer with another descriptor of the same file, again of our range. Raises Refused, Gone and OSError."""
        copy = descriptor_of(note.pid, number)
        try:
            at = self._free_number(note.pid)
            self._listener.give(note, copy, at=at, close_on_exec=close_on_exec)
        finally:
            os.close(copy)
        self.number_changes(at)

    def number_changes(self, number: int) -> None:
        """Another file gets this number, in whichever process or thread."""
        for key in [key for key in self._remembered if key[1] == number]:
            del self._remembered[key]

    def find(self, pid: int, number: int) -> OpenFile | None:                                    # hot
        """The file behind a descriptor of a process; None for what is none of ours."""
        file = self._remembered.get((pid, number))
        if file is not None:
            return file
        try:
            name = os.readlink(f"/proc/{pid}/fd/{number}")
        except OSError:
            return None
        file = self._files.get(name) or self._mapped.get(name)
        if file is not None and self.first <= number < self.end:
            self._remember(pid, number, file)
        return file

    def named(self, name: str) -> OpenFile | None:
        """The file whose descriptors are called that in /proc/PID/fd."""
        return self._files.get(name)

    def map(self, note: Notification, number: int, file: OpenFile, size: int) -> MappedMemory:
        """Put the memory of the file's reserved buffer in the place of a descriptor. Raises Gone and OSError."""
        self._mappings += 1
        flags = _flags(note.pid, number)
        mapping = MappedMemory(self._mappings, size, descriptor_of(note.pid, number))
        try:
            fileno = mapping.descriptor(flags & os.O_NONBLOCK)
            try:
                self._listener.replace(note, fileno, at=number, close_on_exec=bool(flags & os.O_CLOEXEC))
            finally:
                os.close(fileno)
        except BaseException:
            mapping.close()
            raise
        self._mapped[mapping.name] = file
        return mapping

    def unmap(self, mapping: MappedMemory) -> None:
        """All of it is closed."""
        del self._mapped[mapping.name]
        mapping.close()

    def of_socket(self, fileno: int) -> OpenFile | None:
        """The file of which this is our end."""
        return self._by_fileno.get(fileno)

    def forget(self, file: OpenFile) -> None:
        """The last copy is closed."""
        del self._files[file.name]
        del self._by_fileno[file.ours.fileno()]
        for key in [key for key, remembered in self._remembered.items() if remembered is file]:
            del self._remembered[key]
        file.ours.close()
        if file.sg is not None and isinstance(file.sg.mapping, MappedMemory):
            self.unmap(file.sg.mapping)

    def close(self) -> None:
        """Forget all."""
        for file in self.files():
            self.forget(file)

    def _remember(self, pid: int, number: int, file: OpenFile) -> None:
        if len(self._remembered) >= _MOST_REMEMBERED:
            self._remembered.clear()
        self._remembered[pid, number] = file

    def _free_number(self, pid: int) -> int:
        """The lowest number of our range that the process does not use. Past the range the kernel refuses."""
        for number in range(self.first, self.end):
            if not os.path.lexists(f"/proc/{pid}/fd/{number}"):
                return number
        return 1 << 30


def _flags(pid: int, number: int) -> int:
    """What a descriptor was opened with, and O_CLOEXEC."""
    try:
        with open(f"/proc/{pid}/fdinfo/{number}", encoding="ascii") as file:
            return int(next(line.split()[1] for line in file if line.startswith("flags:")), 8)
    except (OSError, StopIteration):
        return 0

"""What system calls with a path do, where the path is one of ours. All others go on in the kernel."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from typing import Final

from scsiemu._value import value
from transports.devnode.descriptors import Descriptors
from transports.devnode.paths import LONGEST_PATH, may_be_ours, resolve
from transports.devnode.request import Refused
from transports.devnode.seccomp import Listener, Notification, ProcessMemory, read_string
from transports.devnode.stat_layout import FileStatus, stat_bytes, statx_bytes
from transports.devnode.syscalls import Architecture, PathCall, Role
from transports.devnode.tree import Directory, Entry, Link, Reported, Special, Text, Tree, entry_mode
from transports.devnode.working_directories import WorkingDirectories, thread_group

__all__ = ["GO_ON", "LATER", "OpenNode", "PathCalls"]

GO_ON: Final = -1 << 40         # the kernel does it
LATER: Final = -2 << 40         # it was, or will be, answered elsewhere

_AT_FDCWD: Final = -100
_AT_SYMLINK_NOFOLLOW: Final = 0x100
_AT_EMPTY_PATH: Final = 0x1000
_AF_UNIX: Final = 1

# What every process has of its own.
_OWN: Final = ("/proc/", "/dev/fd/")

OpenNode = Callable[[Notification, str, Special, int], int]


@value
class _Place:
    """Where a path leads.

    Args:
        path: absolute, without symbolic links.
        entry: of the tree; None for what is not there, and what is the machine's.
        ours: it is not the machine's.
        kernel: the kernel would find the same; not so where the working directory is one of ours.
    """

    path: str
    entry: Entry | None
    ours: bool
    kernel: bool


class PathCalls:
    """The handlers of one supervisor.

    Args:
        open_node: opens a device node: note, path, entry, flags of open(2).
        report: what a file that tells of a drive says now.
    """

    def __init__(
        self,
        tree: Tree,
        architecture: Architecture,
        listener: Listener,
        descriptors: Descriptors,
        directories: WorkingDirectories,
        open_node: OpenNode,
        report: Callable[[Reported], bytes],
        *,
        now: int,
    ) -> None:
        self._tree = tree
        self._architecture = architecture
        self._listener = listener
        self._descriptors = descriptors
        self._directories = directories
        self._open_node = open_node
        self._report = report
        self._seconds = now
        self._owner = (os.getuid(), os.getgid())
        self._texts: dict[str, int] = {}
        self._roles: dict[str, Callable[[Notification, PathCall, _Place], int]] = {
            Role.OPEN: self._open, Role.STAT: self._stat, Role.ACCESS: self._access, Role.READLINK: self._readlink,
            Role.ATTRIBUTE: self._attribute, Role.DIRECTORY: self._change_directory, Role.WATCH: self._watch,
            Role.CREATE: self._create, Role.CHANGE: self._change, Role.BIND: self._create,
        }

    def close(self) -> None:
        """Close what was opened for files of text."""
        for fileno in self._texts.values():
            os.close(fileno)
        self._texts.clear()

    def handle(self, call: PathCall, note: Notification) -> int:                                 # hot
        """Do what the call says: its result, GO_ON or LATER. Raises Refused, Gone and OSError."""
        place = self._place(note, call, call.path, call.directory)
        if call.second is not None and (place is None or (place.kernel and not place.ours)):
            place = self._place(note, call, *call.second)
        if place is None:
            return GO_ON
        if not place.ours and place.kernel and call.role not in (Role.DIRECTORY, Role.READLINK):
            return GO_ON
        return self._roles[call.role](note, call, place)

    # --- where it leads ----------------------------------------------------------------------------------------

    def _place(self, note: Notification, call: PathCall, pointer: int, directory: int | None) -> _Place | None:  # hot
        """Where a path leads; None where it is surely the machine's."""
        arguments = note.arguments
        try:
            memory = ProcessMemory(self._listener, note)
            if call.role == Role.BIND:
                path = _socket_path(memory, arguments[pointer], arguments[2])
            else:
                path = os.fsdecode(read_string(memory, arguments[pointer], LONGEST_PATH))
        except Refused:
            return None             # the kernel finds the same fault
        number = _AT_FDCWD if directory is None else _signed(arguments[directory])
        if not path:
            return self._place_of_descriptor(note, call, number)
        # A slash at the end has a link followed in any case.
        follow = path.endswith("/") or self._follows(note, call)
        kernel, base, shown = True, "/", path
        if not path.startswith("/"):
            if number == _AT_FDCWD:
                believed = self._directories.get(note.pid)
                shown = f"/proc/{note.pid}/cwd"
            else:
                file = self._descriptors.find(note.pid, number) if number >= self._descriptors.first else None
                believed = file.path if file is not None else None
                shown = f"/proc/{note.pid}/fd/{number}"
            kernel = believed is None
            if believed is not None:
                base = believed
        if kernel and not may_be_ours(path, self._tree) and not path.startswith(_OWN) and not (
            follow and _is_link((path if shown == path else f"{shown}/{path}").rstrip("/"))
        ):
            return None
        if shown != path and kernel:
            try:
                base = os.readlink(shown)
            except OSError:
                return None
            if not base.startswith("/"):
                return None
        found = resolve(path, base=base, follow=follow, tree=self._tree, readlink=self._link_reader(note))
        entry = self._tree.find(found)
        if isinstance(entry, Directory) and entry.merged:
            return _Place(found, None, False, kernel)
        return _Place(found, entry, entry is not None or self._tree.hides(found), kernel)

    def _place_of_descriptor(self, note: Notification, call: PathCall, number: int) -> _Place | None:
        """An empty path: the file behind the descriptor, where the call allows that."""
        if call.flags is None or not note.arguments[call.flags] & _AT_EMPTY_PATH:
            return None
        if number == _AT_FDCWD:
            believed = self._directories.get(note.pid)
            if believed is None:
                return None
            return _Place(believed, self._tree.find(believed), self._tree.find(believed) is not None, False)
        file = self._descriptors.find(note.pid, number)
        return None if file is None else _Place(file.path, file.entry, True, False)

    def _follows(self, note: Notification, call: PathCall) -> bool:
        if call.role == Role.OPEN:
            flags = self._open_flags(note, call)
            return not flags & self._architecture.o_nofollow and flags & (os.O_CREAT | os.O_EXCL) != (
                os.O_CREAT | os.O_EXCL
            )
        if call.flags is not None and note.arguments[call.flags] & _AT_SYMLINK_NOFOLLOW:
            return False
        return call.follow

    def _link_reader(self, note: Notification) -> Callable[[str], str | None]:
        def read(path: str) -> str | None:
            if path.startswith("/proc/"):
                if path == "/proc/self":
                    return str(thread_group(note.pid))
                if path == "/proc/thread-self":
                    return f"{thread_group(note.pid)}/task/{note.pid}"
            try:
                target = os.readlink(path)
            except OSError:
                return None
            if path.startswith("/proc/") and not target.startswith("/"):
                file = self._descriptors.named(target)
                # Other names of that kind, such as pipe:[1], lead nowhere by name.
                return file.path if file is not None else target if "[" not in target else None
            return target

        return read

    # --- what is done there ------------------------------------------------------------------------------------

    def _open_flags(self, note: Notification, call: PathCall) -> int:
        if call.name == "creat":
            return os.O_CREAT | os.O_WRONLY | os.O_TRUNC
        if call.name == "openat2":
            memory = ProcessMemory(self._listener, note)
            return int.from_bytes(memory.read(note.arguments[2], 8), "little")
        assert call.flags is not None
        return note.arguments[call.flags]

    def _open(self, note: Notification, call: PathCall, place: _Place) -> int:
        flags = self._open_flags(note, call)
        entry = place.entry
        if not place.ours:
            mode = note.arguments[call.flags + 1] if call.flags is not None else 0
            return self._give(note, os.open(place.path, flags & 0x7FFFFFFF | os.O_CLOEXEC, mode & 0o7777), flags)
        if entry is None:
            raise Refused(errno.EACCES if flags & os.O_CREAT else errno.ENOENT)
        if flags & os.O_CREAT and flags & os.O_EXCL:
            raise Refused(errno.EEXIST)
        if isinstance(entry, Link):
            raise Refused(errno.ELOOP)
        if flags & self._architecture.o_directory and not isinstance(entry, Directory):
            raise Refused(errno.ENOTDIR)
        if isinstance(entry, Special):
            return self._open_node(note, place.path, entry, flags)
        writes = flags & os.O_ACCMODE != os.O_RDONLY
        if isinstance(entry, Text | Reported):
            if writes:
                raise Refused(errno.EACCES)
            return self._give(note, self._open_text(place.path, entry), flags)
        if writes or flags & os.O_CREAT:
            raise Refused(errno.EISDIR)
        self._descriptors.open(
            note, place.path, entry, sg=None, nonblock=True, close_on_exec=bool(flags & os.O_CLOEXEC)
        )
        return LATER

    def _give(self, note: Notification, fileno: int, flags: int) -> int:
        try:
            self._listener.give(note, fileno, close_on_exec=bool(flags & os.O_CLOEXEC))
        finally:
            os.close(fileno)
        return LATER

    def _open_text(self, path: str, entry: Text | Reported) -> int:
        """A descriptor of its own on the bytes, for reading alone."""
        kept = self._texts.get(path)
        if kept is None or isinstance(entry, Reported):
            fresh = os.memfd_create(path.rpartition("/")[2], os.MFD_CLOEXEC)
            os.write(fresh, entry.content if isinstance(entry, Text) else self._report(entry))
            os.fchmod(fresh, 0o444)
            if kept is not None:
                os.close(kept)
            kept = self._texts[path] = fresh
        return os.open(f"/proc/self/fd/{kept}", os.O_RDONLY | os.O_CLOEXEC)

    def _stat(self, note: Notification, call: PathCall, place: _Place) -> int:
        if not place.ours:
            status = self._host_status(place, follow=self._follows(note, call))
        elif place.entry is None:
            raise Refused(errno.ENOENT)
        else:
            status = self.status(place.path, place.entry)
        memory = ProcessMemory(self._listener, note)
        if call.name == "statx":
            memory.write(note.arguments[4], statx_bytes(status))
        else:
            at = 1 if call.directory is None else 2
            memory.write(note.arguments[at], stat_bytes(status, self._architecture.name))
        return 0

    def status(self, path: str, entry: Entry) -> FileStatus:
        """What stat(2) says of one of ours."""
        rdev = (entry.node.kind.major, entry.node.minor) if isinstance(entry, Special) else (0, 0)
        size = 0
        if isinstance(entry, Text | Reported):
            size = 4096             # as sysfs has it, whatever is in the file
        elif isinstance(entry, Link):
            size = len(entry.target)
        uid, gid = self._owner if isinstance(entry, Special) else (0, 0)
        links = 2 if isinstance(entry, Directory) else 1
        return FileStatus(entry_mode(entry), self._tree.inodes[path], uid, gid, size, rdev, links, self._seconds)

    def _host_status(self, place: _Place, *, follow: bool) -> FileStatus:
        found = os.stat(place.path, follow_symlinks=follow)
        rdev = (os.major(found.st_rdev), os.minor(found.st_rdev))
        return FileStatus(
            found.st_mode, found.st_ino, found.st_uid, found.st_gid, found.st_size, rdev, found.st_nlink,
            int(found.st_mtime),
        )

    def _access(self, note: Notification, call: PathCall, place: _Place) -> int:
        mode = note.arguments[1 if call.directory is None else 2] & 7
        if not place.ours:
            if not os.access(place.path, mode):
                raise Refused(errno.EACCES if os.path.lexists(place.path) else errno.ENOENT)
            return 0
        if place.entry is None:
            raise Refused(errno.ENOENT)
        allowed = os.R_OK | os.W_OK if isinstance(place.entry, Special) else os.R_OK
        if isinstance(place.entry, Directory):
            allowed |= os.X_OK
        if mode & ~allowed:
            raise Refused(errno.EACCES)
        return 0

    def _readlink(self, note: Notification, call: PathCall, place: _Place) -> int:
        target = None
        if isinstance(place.entry, Link):
            target = place.entry.target
        elif not place.ours:
            # /proc/PID/fd/N of a file of ours is called by its path.
            reader = self._link_reader(note)
            target = reader(place.path) if place.path.startswith("/proc/") else None
            if place.kernel and (target is None or self._tree.find(target) is None):
                return GO_ON
            if target is None:
                target = os.readlink(place.path)
        if target is None:
            raise Refused(errno.ENOENT if place.entry is None else errno.EINVAL)
        at = 1 if call.directory is None else 2
        raw = os.fsencode(target)[: max(0, _signed(note.arguments[at + 1]))]
        if not raw:
            raise Refused(errno.EINVAL)
        ProcessMemory(self._listener, note).write(note.arguments[at], raw)
        return len(raw)

    def _attribute(self, note: Notification, call: PathCall, place: _Place) -> int:
        raise Refused(errno.ENOENT if place.entry is None and place.ours else errno.EOPNOTSUPP)

    def _watch(self, note: Notification, call: PathCall, place: _Place) -> int:
        raise Refused(errno.ENOENT if place.entry is None else errno.EACCES)

    def _change_directory(self, note: Notification, call: PathCall, place: _Place) -> int:
        if not place.ours:
            if place.kernel:
                if os.path.isdir(place.path):
                    self._directories.set(note.pid, None)
                return GO_ON
            if not stat.S_ISDIR(os.stat(place.path).st_mode):
                raise Refused(errno.ENOTDIR)
        elif place.entry is None:
            raise Refused(errno.ENOENT)
        elif not isinstance(place.entry, Directory):
            raise Refused(errno.ENOTDIR)
        self._directories.set(note.pid, place.path)
        return 0

    def _create(self, note: Notification, call: PathCall, place: _Place) -> int:
        # Also where a relative path leads to the machine from a directory of ours: nothing is made in the wrong place.
        raise Refused(errno.EEXIST if place.entry is not None else errno.EACCES)

    def _change(self, note: Notification, call: PathCall, place: _Place) -> int:
        if place.ours and place.entry is None:
            raise Refused(errno.EACCES if call.second is not None else errno.ENOENT)
        raise Refused(errno.EPERM)


def _signed(argument: int) -> int:
    """An argument that is an int."""
    argument &= 0xFFFFFFFF
    return argument - (1 << 32) if argument >> 31 else argument


def _is_link(path: str) -> bool:
    try:
        os.readlink(path)
    except OSError:
        return False
    return True


def _socket_path(memory: ProcessMemory, address: int, length: int) -> str:
    """The path in a struct sockaddr_un; empty for other families and abstract names. Raises Refused."""
    raw = memory.read(address, min(length & 0xFFFFFFFF, 110))
    if int.from_bytes(raw[:2], "little") != _AF_UNIX:
        return ""
    return os.fsdecode(raw[2:].partition(b"\0")[0])

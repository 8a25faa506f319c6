"""The kernel's side: seccomp user notification, the memory of other processes, and what else only libc offers.

By ctypes and ioctl(2), see seccomp_unotify(2). It does NOT decide anything.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
from struct import Struct
from typing import Final, Protocol

from scsiemu.command import Buffer
from transports.devnode.request import Refused
from transports.devnode.syscalls import Architecture

__all__ = [
    "Caller", "Gone", "Listener", "Notification", "ProcessMemory", "descriptor_of", "install_filter",
    "no_new_privileges", "parent_death_signal", "read_directory", "read_string", "subreaper", "watch_closing",
]

_libc: Final = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36
_PR_SET_NO_NEW_PRIVS: Final = 38
_SET_MODE_FILTER: Final = 1
_NEW_LISTENER: Final = 8
_WAIT_KILLABLE: Final = 0x20

_RECV: Final = 0xC0502100
_SEND: Final = 0xC0182101
_ID_VALID: Final = 0x40082102
_ADDFD: Final = 0x40182103
_SET_FLAGS: Final = 0x40082104
_SYNC_WAKE_UP: Final = 1
_SETFD: Final = 1
_ADDFD_SEND: Final = 2
_CONTINUE: Final = 1

_NOTIFICATION: Final = Struct("=QII iIQ 6Q")
_RESPONSE: Final = Struct("=QqiI")
_ID: Final = Struct("=Q")
_ADD: Final = Struct("=QIIII")

_PIDFD_GETFD: Final = 438
_IN_CLOSE: Final = 0x18
_GETDENTS64: Final = {"x86_64": 217, "aarch64": 61}

_SMALL: Final = 4096
_PAGE: Final = 4096


class Gone(Exception):
    """Whoever made the call is not there any more, or was interrupted: nobody waits for an answer."""


class _Vector(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


# Without argtypes, and with arguments made beforehand: half a microsecond less for each call.
_vm_read = _libc.process_vm_readv
_vm_write = _libc.process_vm_writev
_vm_read.restype = _vm_write.restype = ctypes.c_ssize_t
_local: Final = _Vector()
_remote: Final = (_Vector * 2)()
_remote_first, _remote_second = _remote
_local_at: Final = ctypes.byref(_local)
_remote_at: Final = ctypes.byref(_remote)
_none, _one, _two = ctypes.c_ulong(0), ctypes.c_ulong(1), ctypes.c_ulong(2)
_small: Final = ctypes.create_string_buffer(_SMALL)
_small_at: Final = ctypes.addressof(_small)
_small_bytes: Final = memoryview(_small)


class Caller(Protocol):
    """A call that came by another way than the listener's."""

    def answer(self, value: int) -> None:
        """The call returns `value`, below 0 an error."""

    def go_on(self) -> None:
        """The kernel does what the call says."""

    def is_there(self) -> bool:
        """Whether the call still waits."""


class Notification:
    """A system call that waits for us.

    Attributes:
        id: of the kernel.
        pid: of the thread that made it.
        number: of the call.
        arguments: six of them, 64 bits each.
        caller: where the thread waits for its tracer, not for the listener: who is answered. Then `id` means nothing.
    """

    __slots__ = ("arguments", "caller", "id", "number", "pid")

    def __init__(
        self, identifier: int, pid: int, number: int, arguments: tuple[int, ...], caller: Caller | None = None
    ) -> None:
        self.id = identifier
        self.pid = pid
        self.number = number
        self.arguments = arguments
        self.caller = caller


class Listener:
    """The descriptor that notifications come from."""

    def __init__(self, fileno: int) -> None:
        self._fileno = fileno
        try:
            # Who waits for the other sleeps: let the kernel wake it on the CPU that gets free.
            fcntl.ioctl(fileno, _SET_FLAGS, _SYNC_WAKE_UP)
        except OSError:
            pass                    # before Linux 6.6; it is only slower
        self._zeros = bytes(_NOTIFICATION.size)
        self._buffer = bytearray(_NOTIFICATION.size)
        self._response = bytearray(_RESPONSE.size)
        self._id = bytearray(_ID.size)

    def fileno(self) -> int:
        """The descriptor: readable when `receive` has something."""
        return self._fileno

    def close(self) -> None:
        """Calls that come from now on fail with ENOSYS."""
        os.close(self._fileno)

    def receive(self) -> Notification:                                                           # hot
        """The next call. Raises Gone."""
        self._buffer[:] = self._zeros
        try:
            fcntl.ioctl(self._fileno, _RECV, self._buffer, True)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.EINTR):
                raise Gone from None
            raise
        fields = _NOTIFICATION.unpack(self._buffer)
        return Notification(fields[0], fields[1], fields[3], fields[6:])

    def answer(self, note: Notification, value: int) -> None:                                    # hot
        """The call returns `value`."""
        if note.caller is not None:
            note.caller.answer(value)
            return
        self._send(note.id, value, 0, 0)

    def refuse(self, note: Notification, number: int) -> None:
        """The call fails with an error number."""
        if note.caller is not None:
            note.caller.answer(-number)
            return
        self._send(note.id, 0, -number, 0)

    def go_on(self, note: Notification) -> None:                                                 # hot
        """The kernel does what the call says."""
        if note.caller is not None:
            note.caller.go_on()
            return
        self._send(note.id, 0, 0, _CONTINUE)

    def _send(self, identifier: int, value: int, error: int, flags: int) -> None:                  # hot
        _RESPONSE.pack_into(self._response, 0, identifier, value, error, flags)
        try:
            fcntl.ioctl(self._fileno, _SEND, self._response, True)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.EINPROGRESS):
                raise

    def is_valid(self, note: Notification) -> bool:                                              # hot
        """Whether the call still waits: then its pid means the same process as when it came."""
        if note.caller is not None:
            return note.caller.is_there()
        try:
            _ID.pack_into(self._id, 0, note.id)
            fcntl.ioctl(self._fileno, _ID_VALID, self._id, True)
        except OSError:
            return False
        return True

    def give(self, note: Notification, fileno: int, *, at: int | None = None, close_on_exec: bool = False) -> None:
        """The call returns a descriptor of this file, numbered `at`, or the lowest. Raises Refused."""
        flags = _ADDFD_SEND | (_SETFD if at is not None else 0)
        request = _ADD.pack(note.id, flags, fileno, at or 0, os.O_CLOEXEC if close_on_exec else 0)
        try:
            fcntl.ioctl(self._fileno, _ADDFD, request)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.EINPROGRESS):
                raise Gone from None
            # A number above RLIMIT_NOFILE is EBADF; for open(2) there are too many files then.
            raise Refused(errno.EMFILE if error.errno == errno.EBADF else error.errno or errno.EIO) from None

    def replace(self, note: Notification, fileno: int, *, at: int, close_on_exec: bool) -> None:
        """The process's descriptor `at` becomes one of this file; the call still waits. Raises Gone and OSError."""
        request = _ADD.pack(note.id, _SETFD, fileno, at, os.O_CLOEXEC if close_on_exec else 0)
        try:
            fcntl.ioctl(self._fileno, _ADDFD, request)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.EINPROGRESS):
                raise Gone from None
            raise


class ProcessMemory:
    """The memory of the process that a thread belongs to, as long as its call waits.

    Before the first write it is made sure that the call still waits: the pid could be another's by now.

    Args:
        also: address and length of what is going to be read next, as far as anybody can know: if so, it comes with
            the first read. Together with that no more than a page.
    """

    __slots__ = ("_also", "_found", "_guess", "_listener", "_note", "_pid", "_sure")

    def __init__(self, listener: Listener, note: Notification, also: tuple[int, int] | None = None) -> None:
        self._listener = listener
        self._note = note
        self._pid = note.pid
        self._sure = False
        self._also = also
        self._guess = (0, 0)
        self._found = b""

    def make_sure(self) -> None:                                                                 # hot
        """The call still waits: what was read is what it meant. Raises Gone."""
        if not self._listener.is_valid(self._note):
            raise Gone
        self._sure = True

    def read(self, address: int, length: int) -> bytes:                                          # hot
        """Exactly `length` bytes. Raises Refused(EFAULT)."""
        if address + length >= 1 << 63:
            raise Refused(errno.EFAULT)
        also = self._also
        if also is not None:
            self._also = None
            return self._read_both(address, length, also)
        if self._found and (address, length) == self._guess:
            return self._found
        if length <= _SMALL:
            _local.base = _small_at
        else:
            large = ctypes.create_string_buffer(length)
            _local.base = ctypes.addressof(large)
        _local.length = _remote_first.length = length
        _remote_first.base = address
        if _vm_read(self._pid, _local_at, _one, _remote_at, _one, _none) != length:
            raise Refused(errno.EFAULT)
        return bytes(_small_bytes[:length]) if length <= _SMALL else ctypes.string_at(_local.base, length)

    def _read_both(self, address: int, length: int, also: tuple[int, int]) -> bytes:              # hot
        """What is asked for, and what will be, where it is there: the kernel ends at the first address that is not."""
        _remote_first.base, _remote_first.length = address, length
        _remote_second.base, _remote_second.length = also
        _local.base, _local.length = _small_at, length + also[1]
        count = _vm_read(self._pid, _local_at, _one, _remote_at, _two, _none)
        if count < length:
            raise Refused(errno.EFAULT)
        if count == length + also[1]:
            self._guess, self._found = also, bytes(_small_bytes[length:count])
        return bytes(_small_bytes[:length])

    def write(self, address: int, data: Buffer) -> None:                                         # hot
        """Raises Refused(EFAULT), and Gone."""
        if not self._sure:
            self.make_sure()
        raw = data if data.__class__ is bytes else bytes(data)
        length = len(raw)
        if address + length >= 1 << 63:
            raise Refused(errno.EFAULT)
        if length <= _SMALL:
            ctypes.memmove(_small_at, raw, length)
            _local.base = _small_at
        else:
            _local.base = ctypes.cast(ctypes.c_char_p(raw), ctypes.c_void_p).value
        _local.length = _remote_first.length = length
        _remote_first.base = address
        if _vm_write(self._pid, _local_at, _one, _remote_at, _one, _none) != length:
            raise Refused(errno.EFAULT)


def read_string(memory: ProcessMemory, address: int, most: int) -> bytes:                        # hot
    """The null-terminated string there. Raises Refused: ENAMETOOLONG, EFAULT."""
    parts = []
    while most > 0:
        # Not over the end of a page: what is behind it may not be there.
        count = min(256, _PAGE - address % _PAGE, most)
        part, null, _ = memory.read(address, count).partition(b"\0")
        parts.append(part)
        if null:
            return b"".join(parts) if len(parts) > 1 else part
        address += count
        most -= count
    raise Refused(errno.ENAMETOOLONG)


def no_new_privileges() -> None:
    """What lets an ordinary user install a filter. Raises OSError."""
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def parent_death_signal(number: int) -> None:
    """This process gets the signal when its parent dies. Raises OSError."""
    _prctl(_PR_SET_PDEATHSIG, number)


def subreaper() -> None:
    """Orphans among our descendants become our children. Raises OSError."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def install_filter(architecture: Architecture, program: bytes) -> int:
    """Filter this process and what it starts; the listener's descriptor. Raises OSError.

    EINVAL: the kernel is older than 5.19. ENOSYS, EPERM, EACCES: seccomp is not allowed. EBUSY: we are below another
    listener.
    """
    filter_ = _Program(len(program) // 8, program)
    fileno = _libc.syscall(
        ctypes.c_long(architecture.seccomp), ctypes.c_long(_SET_MODE_FILTER),
        ctypes.c_long(_NEW_LISTENER | _WAIT_KILLABLE), ctypes.byref(filter_),
    )
    if fileno < 0:
        raise _error()
    return int(fileno)


def descriptor_of(pid: int, fileno: int) -> int:
    """A descriptor of ours for the file behind that of another process. Raises OSError."""
    pidfd = os.pidfd_open(pid)
    try:
        copy = _libc.syscall(
            ctypes.c_long(_PIDFD_GETFD), ctypes.c_long(pidfd), ctypes.c_long(fileno), ctypes.c_long(0)
        )
        if copy < 0:
            raise _error()
        return int(copy)
    finally:
        os.close(pidfd)


def watch_closing(path: str) -> int:
    """A descriptor that is readable when somebody has closed a file. Raises OSError."""
    fileno = int(_libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
    if fileno < 0:
        raise _error()
    if _libc.inotify_add_watch(fileno, os.fsencode(path), _IN_CLOSE) < 0:
        failed = _error()
        os.close(fileno)
        raise failed
    return fileno


def read_directory(architecture: Architecture, fileno: int, room: int) -> bytes:
    """What getdents64(2) gives. Raises OSError."""
    buffer = ctypes.create_string_buffer(room)
    count = _libc.syscall(
        ctypes.c_long(_GETDENTS64[architecture.name]), ctypes.c_long(fileno), buffer, ctypes.c_long(room)
    )
    if count < 0:
        raise _error()
    return buffer.raw[:count]


def _prctl(option: int, argument: int) -> None:
    if _libc.prctl(option, ctypes.c_ulong(argument), ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0)):
        raise _error()


def _error() -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))

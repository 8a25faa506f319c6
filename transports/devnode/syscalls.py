"""System calls that name a path or use a file descriptor: numbers of each architecture, and what each does with it.

`PATH_CALLS` is the whole list of calls that take a path and can make, change or look at what is there; a test holds it
against the kernel's header. What is left out on purpose is in `UNWATCHED`, with the reason.
"""

from __future__ import annotations

from typing import Final

from scsiemu._value import value

__all__ = ["ARCHITECTURES", "FILE_CALLS", "PATH_CALLS", "UNWATCHED", "Architecture", "PathCall", "Role"]


class Role:
    """What a call does with its path."""

    OPEN: Final = "open"
    STAT: Final = "stat"
    ACCESS: Final = "access"
    READLINK: Final = "readlink"
    ATTRIBUTE: Final = "attribute"      # extended attributes: our files have none
    DIRECTORY: Final = "directory"      # becomes the working directory
    WATCH: Final = "watch"
    CREATE: Final = "create"            # makes a name
    CHANGE: Final = "change"            # removes a name, or changes what is there
    BIND: Final = "bind"                # a socket address: a name of AF_UNIX is made


@value
class PathCall:
    """A call with a path.

    Args:
        path: number of the argument that points to it.
        directory: argument that the path is relative to; None for the working directory.
        flags: argument with AT_ or O_ flags; None for none.
        follow: a symbolic link at the end is followed (unless the flags say otherwise).
        second: path and directory arguments of a second path.
    """

    name: str
    role: str
    path: int = 0
    directory: int | None = None
    flags: int | None = None
    follow: bool = True
    second: tuple[int, int | None] | None = None


PATH_CALLS: Final = (
    PathCall("open", Role.OPEN, flags=1),
    PathCall("creat", Role.OPEN),
    PathCall("openat", Role.OPEN, 1, 0, 2),
    PathCall("openat2", Role.OPEN, 1, 0),
    PathCall("stat", Role.STAT),
    PathCall("lstat", Role.STAT, follow=False),
    PathCall("newfstatat", Role.STAT, 1, 0, 3),
    PathCall("statx", Role.STAT, 1, 0, 2),
    PathCall("access", Role.ACCESS),
    PathCall("faccessat", Role.ACCESS, 1, 0),
    PathCall("faccessat2", Role.ACCESS, 1, 0, 3),
    PathCall("readlink", Role.READLINK, follow=False),
    PathCall("readlinkat", Role.READLINK, 1, 0, follow=False),
    PathCall("getxattr", Role.ATTRIBUTE),
    PathCall("lgetxattr", Role.ATTRIBUTE, follow=False),
    PathCall("getxattrat", Role.ATTRIBUTE, 1, 0, 2),
    PathCall("listxattr", Role.ATTRIBUTE),
    PathCall("llistxattr", Role.ATTRIBUTE, follow=False),
    PathCall("listxattrat", Role.ATTRIBUTE, 1, 0, 2),
    PathCall("setxattr", Role.ATTRIBUTE),
    PathCall("lsetxattr", Role.ATTRIBUTE, follow=False),
    PathCall("setxattrat", Role.ATTRIBUTE, 1, 0, 2),
    PathCall("removexattr", Role.ATTRIBUTE),
    PathCall("lremovexattr", Role.ATTRIBUTE, follow=False),
    PathCall("removexattrat", Role.ATTRIBUTE, 1, 0, 2),
    PathCall("file_getattr", Role.ATTRIBUTE, 1, 0, 4),
    PathCall("file_setattr", Role.ATTRIBUTE, 1, 0, 4),
    PathCall("chdir", Role.DIRECTORY),
    PathCall("inotify_add_watch", Role.WATCH, 1),
    PathCall("mkdir", Role.CREATE, follow=False),
    PathCall("mkdirat", Role.CREATE, 1, 0, follow=False),
    PathCall("mknod", Role.CREATE, follow=False),
    PathCall("mknodat", Role.CREATE, 1, 0, follow=False),
    PathCall("symlink", Role.CREATE, 1, follow=False),
    PathCall("symlinkat", Role.CREATE, 2, 1, follow=False),
    PathCall("link", Role.CHANGE, follow=False, second=(1, None)),
    PathCall("linkat", Role.CHANGE, 1, 0, follow=False, second=(3, 2)),
    PathCall("rename", Role.CHANGE, follow=False, second=(1, None)),
    PathCall("renameat", Role.CHANGE, 1, 0, follow=False, second=(3, 2)),
    PathCall("renameat2", Role.CHANGE, 1, 0, follow=False, second=(3, 2)),
    PathCall("unlink", Role.CHANGE, follow=False),
    PathCall("unlinkat", Role.CHANGE, 1, 0, follow=False),
    PathCall("rmdir", Role.CHANGE, follow=False),
    PathCall("chmod", Role.CHANGE),
    PathCall("fchmodat", Role.CHANGE, 1, 0),
    PathCall("fchmodat2", Role.CHANGE, 1, 0, 3),
    PathCall("chown", Role.CHANGE),
    PathCall("lchown", Role.CHANGE, follow=False),
    PathCall("fchownat", Role.CHANGE, 1, 0, 4),
    PathCall("truncate", Role.CHANGE),
    PathCall("utime", Role.CHANGE),
    PathCall("utimes", Role.CHANGE),
    PathCall("futimesat", Role.CHANGE, 1, 0),
    PathCall("utimensat", Role.CHANGE, 1, 0, 3),
    PathCall("bind", Role.BIND, 1, follow=False),
)

# Calls that take a path and are left to the kernel, which finds nothing at ours: none of them makes a name.
UNWATCHED: Final[dict[str, str]] = {
    "execve": "a node cannot be executed", "execveat": "a node cannot be executed", "uselib": "gone from Linux",
    "chroot": "a process in another root has left the machine that we show", "pivot_root": "needs privilege",
    "mount": "needs privilege, and a mount point that is there", "umount2": "needs privilege",
    "mount_setattr": "needs privilege", "open_tree": "makes no name", "open_tree_attr": "makes no name",
    "move_mount": "needs privilege", "fspick": "needs privilege", "statfs": "only looks", "swapon": "needs privilege",
    "swapoff": "needs privilege", "acct": "needs privilege, and a file that is there", "quotactl": "needs privilege",
    "name_to_handle_at": "only looks", "fanotify_mark": "needs privilege", "connect": "needs a socket that is there",
}

# Calls on descriptors, watched where the descriptor is one of ours.
FILE_CALLS: Final = (
    "read", "write", "close", "readv", "writev", "pread64", "pwrite64", "preadv", "pwritev", "preadv2", "pwritev2",
    "ioctl", "fstat", "lseek", "fcntl", "dup", "dup2", "dup3", "fchdir", "mmap", "getdents", "getdents64", "getcwd",
    "fsync", "fdatasync", "io_uring_setup",
)


@value
class Architecture:
    """Numbers of an architecture.

    Args:
        name: as uname(2) has it.
        audit: AUDIT_ARCH_ value that seccomp shows.
        numbers: of system calls, those that it has.
        seccomp: number of seccomp(2).
        munmap: number of munmap(2).
        o_directory, o_nofollow: O_ flags that differ between architectures.
    """

    name: str
    audit: int
    numbers: dict[str, int]
    seccomp: int
    munmap: int
    o_directory: int
    o_nofollow: int

    @property
    def injected(self) -> dict[str, int]:
        """Numbers of what a traced process is made to call (tracing.py)."""
        return self.numbers | {"seccomp": self.seccomp, "munmap": self.munmap}


# Numbers from 424 on are the same everywhere.
_COMMON: Final = {
    "io_uring_setup": 425, "openat2": 437, "faccessat2": 439, "fchmodat2": 452, "setxattrat": 463,
    "getxattrat": 464, "listxattrat": 465, "removexattrat": 466, "file_getattr": 468, "file_setattr": 469,
}

ARCHITECTURES: Final = {
    "x86_64": Architecture("x86_64", 0xC000003E, _COMMON | {
        "read": 0, "write": 1, "open": 2, "close": 3, "stat": 4, "fstat": 5, "lstat": 6, "lseek": 8, "mmap": 9,
        "ioctl": 16, "pread64": 17, "pwrite64": 18, "readv": 19, "writev": 20, "access": 21, "dup": 32, "dup2": 33,
        "bind": 49, "fcntl": 72, "fsync": 74, "fdatasync": 75,
        "truncate": 76, "getdents": 78, "getcwd": 79, "chdir": 80, "fchdir": 81, "rename": 82, "mkdir": 83,
        "rmdir": 84, "creat": 85, "link": 86, "unlink": 87, "symlink": 88, "readlink": 89, "chmod": 90, "chown": 92,
        "lchown": 94, "utime": 132, "mknod": 133, "setxattr": 188, "lsetxattr": 189, "getxattr": 191,
        "lgetxattr": 192, "listxattr": 194, "llistxattr": 195, "removexattr": 197, "lremovexattr": 198,
        "getdents64": 217, "utimes": 235, "inotify_add_watch": 254, "openat": 257, "mkdirat": 258, "mknodat": 259,
        "fchownat": 260, "futimesat": 261, "newfstatat": 262, "unlinkat": 263, "renameat": 264, "linkat": 265,
        "symlinkat": 266, "readlinkat": 267, "fchmodat": 268, "faccessat": 269, "utimensat": 280, "dup3": 292,
        "preadv": 295, "pwritev": 296, "renameat2": 316, "preadv2": 327, "pwritev2": 328, "statx": 332,
    }, 317, 11, 0o200000, 0o400000),
    "aarch64": Architecture("aarch64", 0xC00000B7, _COMMON | {
        "setxattr": 5, "lsetxattr": 6, "getxattr": 8, "lgetxattr": 9, "listxattr": 11, "llistxattr": 12,
        "removexattr": 14, "lremovexattr": 15, "getcwd": 17, "dup": 23, "dup3": 24, "fcntl": 25,
        "inotify_add_watch": 27, "ioctl": 29, "mknodat": 33, "mkdirat": 34, "unlinkat": 35,
        "symlinkat": 36, "linkat": 37, "renameat": 38,
        "truncate": 45, "faccessat": 48, "chdir": 49, "fchdir": 50, "fchmodat": 53, "fchownat": 54, "openat": 56,
        "close": 57,
        "getdents64": 61, "lseek": 62, "read": 63, "write": 64, "readv": 65, "writev": 66, "pread64": 67,
        "pwrite64": 68, "preadv": 69, "pwritev": 70, "readlinkat": 78, "newfstatat": 79, "fstat": 80,
        "fsync": 82, "fdatasync": 83,
        "utimensat": 88, "bind": 200, "mmap": 222, "renameat2": 276, "preadv2": 286, "pwritev2": 287, "statx": 291,
    }, 277, 215, 0o40000, 0o100000),
}

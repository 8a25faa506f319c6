"""Listening at a path, for transports that serve other processes of the machine. Not sans-IO.

It does NOT: accept connections, or take the path away at the end (the listener's owner).
"""

from __future__ import annotations

import os
import socket
import stat

__all__ = ["listen_at_path"]

_BACKLOG = 64


def listen_at_path(path: str, kind: int = socket.SOCK_STREAM) -> socket.socket:
    """A listening socket that is its owner's alone (0600), and does not block. Raises OSError.

    A socket that was left there and that nobody listens at is replaced.
    """
    listener = socket.socket(socket.AF_UNIX, kind)
    try:
        listener.setblocking(False)
        os.fchmod(listener.fileno(), 0o600)     # what bind gives the path, so that there is no moment without
        try:
            listener.bind(path)
        except OSError:
            if not _is_stale(path, kind):
                raise
            os.unlink(path)
            listener.bind(path)
        listener.listen(_BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def _is_stale(path: str, kind: int) -> bool:
    """Whether a socket is left there that nobody listens at."""
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            return False
        with socket.socket(socket.AF_UNIX, kind) as probe:
            probe.connect(path)
    except ConnectionRefusedError:
        return True
    except OSError:
        return False
    return False

"""CHAP secrets: a file for each, never on the command line, never readable by others."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

from scsiemu._value import value
from scsiemu.app.failure import ExitCode, Failure

__all__ = ["Credentials", "read_credentials"]

_LONGEST: Final = 255
_SHORTEST: Final = 12       # RFC 7143 9.2.1: 96 bits


@value
class Credentials:
    """A CHAP user and the secret. Its text shows the user only."""

    user: str
    secret: bytes

    def __repr__(self) -> str:
        return f"Credentials({self.user!r})"


def read_credentials(
    text: str, *, option: str, insecure_permissions: bool = False, allow_weak: bool = False
) -> Credentials:
    """What `USER:SECRETFILE` stands for.

    Args:
        text: of the option; a user name cannot have a colon, a path can.
        option: its name, for the errors.
        insecure_permissions: take a file that others can read.
        allow_weak: take a secret shorter than 96 bits.

    Raises Failure.
    """
    user, colon, path = text.partition(":")
    if not (user and colon and path):
        # The text may be a secret by mistake: it is not repeated.
        raise Failure(f"{option} takes USER:SECRETFILE, the name and a file with the secret in it", ExitCode.USAGE)
    secret = _read(path, option, insecure_permissions=insecure_permissions)
    if not secret:
        raise Failure(f"{option}: {path} is empty; write the secret into it")
    if len(secret) > _LONGEST:
        raise Failure(f"{option}: the secret in {path} is longer than {_LONGEST} bytes")
    if len(secret) < _SHORTEST and not allow_weak:
        raise Failure(
            f"{option}: the secret in {path} is shorter than {_SHORTEST} bytes (RFC 7143 9.2.1); "
            f"take a longer one, or add --allow-weak-secrets"
        )
    return Credentials(user, secret)


def _read(path: str, option: str, *, insecure_permissions: bool) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError as error:
        raise Failure(f"{option}: the secret file {path} cannot be read: {error.strerror}") from None
    try:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            raise Failure(f"{option}: {path} is not a regular file")
        if mode & (stat.S_IRWXG | stat.S_IRWXO) and not insecure_permissions:
            raise Failure(
                f"{option}: others than its owner may use the secret file {path}; run chmod 600 "
                f"{Path(path).name}, or add --insecure-permissions"
            )
        return os.read(descriptor, 4096).rstrip(b"\r\n")
    finally:
        os.close(descriptor)

"""How the program ends: exit codes, and the error that becomes one clear sentence and one of them."""

from __future__ import annotations

from typing import Final

__all__ = ["ExitCode", "Failure"]


class ExitCode:
    """Exit codes of every sub-command. `run` ends with the code of its command instead, once that has started."""

    OK: Final = 0
    USAGE: Final = 2            # the command line is wrong
    CANNOT_START: Final = 3     # something could not be opened, bound or configured
    REFUSED: Final = 4          # the target refused the command (CHECK CONDITION and the like)
    NOT_CONNECTED: Final = 5    # no connection, or the login failed
    DAMAGED: Final = 6          # a medium is damaged
    INTERNAL: Final = 70        # a bug in this program (EX_SOFTWARE of sysexits.h)


class Failure(Exception):
    """What the user is told: one sentence with the cause and, where there is one, the next step.

    Args:
        message: the sentence, without program name.
        code: one of `ExitCode`.
    """

    def __init__(self, message: str, code: int = ExitCode.CANNOT_START) -> None:
        super().__init__(message)
        self.code = code
